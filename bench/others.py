# SPDX-License-Identifier: Apache-2.0
"""The cases whose figure is a limit: many streams, a long run, the program at rest.

Each is a function (rig, name, peers, args) that returns what it measured: a dict with its `rows` for the table, the
`errors` that make it worthless, and whatever else --json should hold.
"""
import os
import resource
import shutil
import subprocess

from report import Row, errors_of, limit_row, progress
from rig import CASES, MANY
from stats import median

STREAM_MAX_KIB = 16
STREAM_GAP_US = 2_000_000
STREAM_OPENINGS = 2000        # a second
LONG_SLICE = 100_000          # requests between two looks at the memory; the access log is emptied there
LONG_MAX_MIB = 1
IDLE_MAX_MIB, READY_MAX_MS, BINARY_MAX_MIB = 8, 50, 2


# ---- many streams ----

def streams_possible(wanted):
    """Two descriptors a stream are the proxy's; it has as many as our hard limit says, less some of its own."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, (hard - 200) // 2)


def open_streams(rig, peer, n, gap_us, openings):
    origin, port = rig.start_origin(MANY, gap_us)
    proxy = rig.proxy(peer, MANY, port)
    # What the first request makes the program load is not a stream's: one goes before.
    rig.load(MANY, port=proxy.port, requests=1, rate=0, conns=1)
    seen = [proxy.resident_mib()[0]]
    result = rig.load(MANY, proxy.port, conns=n, requests=n, rate=openings,
                      meanwhile=lambda: seen.append(proxy.resident_mib()[0]))
    rig.drop(proxy)
    rig.stop(origin)
    each = 1024 * (max(seen) - seen[0]) / max(1, result['open_max'])
    return dict(result, kib_each=each, before_mib=seen[0], most_mib=max(seen))


def streams(rig, name, peers, args):
    n = 200 if args.quick else streams_possible(args.streams)
    gap_us, openings = (200_000, 400) if args.quick else (STREAM_GAP_US, STREAM_OPENINGS)
    rows, errors, all_of_them = [], [], {}
    for peer in [p for p in peers if p == 'nginx' or 'relais' in p]:
        r = all_of_them[peer] = open_streams(rig, peer, n, gap_us, openings)
        progress(f'{name}: {peer}: {r["open_max"]:,} open at once, {r["kib_each"]:.1f} KiB each')
        errors += errors_of(peer, r)
        what = f'memory of each of {r["open_max"]:,} open at once'
        if peer != 'relais':
            rows.append(Row(name, what, peer, f'{r["kib_each"]:.1f} KiB'))
            continue
        rows.append(limit_row(name, what, r['kib_each'], STREAM_MAX_KIB, 'KiB'))
        rows.append(Row(name, f'events that came with another, of {r["events"]:,}', '', f'{r["merged"]:,}', '', '0',
                        r['merged'] == 0))
        rows.append(Row(name, f'longest gap between two events sent {gap_us / 1e6:g} s apart', '',
                        f'{r["gap_us"] / 1e6:.3f} s'))
        if r['open_max'] < n:
            errors.append(f'only {r["open_max"]:,} streams of {n:,} were open at once')
    return {'case': name, 'rows': rows, 'errors': errors, 'peers': all_of_them}


# ---- a long run ----

def long(rig, name, peers, args):
    """Closed loop, 32 connections. A tenth of the requests is warm-up."""
    case, total = CASES['chat'], 4000 if args.quick else args.requests
    piece = min(LONG_SLICE, total // 4)
    origin, port = rig.start_origin(case)
    proxy = rig.proxy('relais', case, port)
    log = os.path.join(proxy.dir, 'access.log')
    sizes, errors, done, last = [], [], 0, 0
    while done < total + total // 10 and not errors:
        result = rig.load(case, proxy.port, requests=piece, rate=0)
        errors += errors_of('relais', result)
        done += piece
        os.truncate(log, 0)
        sizes.append((done, proxy.resident_mib()[0]))
        if done - last >= total // 20:
            last = done
            progress(f'{name}: {done:,} requests of {total + total // 10:,}, {sizes[-1][1]:.2f} MiB')
    rig.drop(proxy)
    rig.stop(origin)
    warm = next(mib for n, mib in sizes if n >= total // 10)
    row = limit_row(name, f'growth over {total:,} requests after {total // 10:,} of warm-up', sizes[-1][1] - warm,
                    LONG_MAX_MIB, 'MiB', '.2f')
    return {'case': name, 'rows': [row], 'errors': errors, 'sizes': sizes}


# ---- at rest ----

def stripped_mib(rig):
    out = os.path.join(rig.dir, 'stripped')
    if not shutil.which('strip'):
        return None
    subprocess.run(['strip', '-o', out, rig.relais], check=True)
    return os.path.getsize(out) / 2 ** 20


def rest(rig, name, peers, args):
    """Started, asked once whether it is well, stopped."""
    case, seen = CASES['chat'], {p: [] for p in peers}
    for _ in range(args.rounds):
        for peer in peers:
            proxy = rig.proxy(peer, case, 1)  # nobody is asked there
            seen[peer].append((proxy.resident_mib()[0], proxy.ready_ms))
            rig.drop(proxy)
    rows = []
    for peer, values in seen.items():
        mib, ready = (median([v[i] for v in values]) for i in (0, 1))
        if peer == 'relais':
            rows += [limit_row(name, 'resident when idle', mib, IDLE_MAX_MIB, 'MiB'),
                     limit_row(name, 'ready after exec', ready, READY_MAX_MS, 'ms', '.0f')]
        else:
            rows += [Row(name, 'resident when idle', peer, f'{mib:.1f} MiB'),
                     Row(name, 'ready after exec', peer, f'{ready:.0f} ms')]
    size = stripped_mib(rig)
    rows.append(Row(name, 'stripped binary', left_out='strip is not installed') if size is None else
                limit_row(name, 'stripped binary', size, BINARY_MAX_MIB, 'MiB', '.2f'))
    return {'case': name, 'rows': rows, 'errors': [], 'seen': seen}
