# SPDX-License-Identifier: Apache-2.0
"""Counting instructions with callgrind: two runs of n and 2n requests, whose difference is what requests alone cost
(start and end drop out).
"""
import os
import re
import subprocess

from rig import Failure


def run(rig, case, requests, name='relais'):
    """One run, one request after the other; the path of its profile."""
    origin, port = rig.start_origin(case, step=bool(case.events))  # each event by itself
    out = os.path.join(rig.dir, f'callgrind.{name}.{requests}')
    proxy = rig.proxy('relais', case, port,
                      wrap=['valgrind', '--tool=callgrind', '--callgrind-out-file=' + out])
    result = rig.load(case, proxy.port, requests=requests, rate=0, conns=1, **({'step': port} if case.events else {}))
    rig.drop(proxy, patience=60)
    rig.stop(origin)
    if result['errors'] or not os.path.exists(out):
        raise Failure(f'under callgrind: {result["errors"]} errors {result["first_error"]}\n{proxy.said}')
    return out


def total(path):
    with open(path) as f:
        for line in f:
            if line.startswith('totals:'):
                return int(line.split()[1])
    raise Failure(f'{path} holds no total')


def per_function(path, inclusive=False):
    """{function: instructions of its own, or with all that it calls}; what was inlined counts where it was inlined."""
    out = subprocess.run(['callgrind_annotate', '--threshold=100', '--auto=no',
                          '--inclusive=' + ('yes' if inclusive else 'no'), path], capture_output=True, text=True,
                         check=True).stdout
    costs = {}
    for line in out.split('\n'):
        m = re.match(r'\s*([\d,]+) \([ \d.]+%\)  (.*?):([^:\[]+)( \[(.*)\])?$', line)
        if m:
            key = m[3].strip()
            if key.startswith('0x'):  # no name: at least whose it is
                key += ' in ' + os.path.basename(m[5] or '?')
            cost = int(m[1].replace(',', ''))
            costs[key] = max(costs.get(key, 0), cost) if inclusive else costs.get(key, 0) + cost
    return costs
