# SPDX-License-Identifier: Apache-2.0
"""CPU time per request or event, beside peers: the cases whose figure is a ratio.

What is compared is the CPU time of the proxy (the scheduler's own account, all threads) per request or event answered,
at one fixed rate for all, which is chosen so that the machine stays a third idle. Rounds are interleaved, in turning
order, and each starts its proxy anew; ratios are taken within a round, where the machine's mood is the same.
"""
import time

from report import Row, number, progress, ratio_row
from rig import CASES, Failure, busy_ns
from stats import lower_bound, median, upper_bound

BUSY = 0.62       # of a processor, at most, for the slowest peer
PROBE_SECONDS = 1.5
MERGED_MAX = 1.1  # events in one read of the load, at most
RATE_MIN = 3000
QUICK_SHARE = 0.25  # of a case's first rate, where nothing is to be measured


# ---- how fast ----

class Pace:
    """A rate, as the load and the origin need it: requests a second, and the gap between the events of a stream."""

    def __init__(self, case, rate):
        self.rate = rate  # of what the case counts: requests or events
        self.gap_us = max(1, round(case.conns * 1e6 / rate)) if case.events else 0
        # Streams: as many at once as there are connections, with a little room for their beginning and end.
        self.requests = 0.97e6 / (self.gap_us * (case.events + 1)) * case.conns if case.events else rate


def costs(case, result, n_serving):
    """CPU microseconds per request or event: (the proxy's, the origin's, the load's)"""
    n = result['events' if case.events else 'answers']
    if not n:
        raise Failure(f'nothing was answered: {result["first_error"]}')
    cpu = result['cpu_ns']
    return sum(cpu[:n_serving]) / n / 1000, sum(cpu[n_serving:]) / n / 1000, result['own_cpu_ns'] / n / 1000


def one_round(rig, peer, case, pace, seconds, origin=None):
    """Starts the proxy, warms it, measures. An origin of its own where none is given."""
    process, port = origin or rig.start_origin(case, pace.gap_us)
    proxy = rig.proxy(peer, case, port)
    watch = [*proxy.serving, process.pid]
    before = [busy_ns(cpu) for cpu in rig.cpus[:1] + rig.cpus[2:]]
    begin = time.monotonic()
    result = rig.load(case, proxy.port, watch, rate=pace.requests, warmup=1, seconds=seconds)
    lasted_ns = (time.monotonic() - begin) * 1e9
    busy = [(busy_ns(cpu) - b) / lasted_ns for cpu, b in zip(rig.cpus[:1] + rig.cpus[2:], before)]
    proxy_us, origin_us, load_us = costs(case, result, len(proxy.serving))
    proxy_mib = proxy.resident_mib()[0]
    rig.drop(proxy)
    if not origin:
        rig.stop(process)
    return {
        'cpu_us': proxy_us, 'origin_us': origin_us, 'load_us': load_us, 'errors': result['errors'],
        'first_error': result['first_error'], 'latency_us': result['latency_us'], 'late_us': result['late_us'],
        'per_read': result['events'] / result['reads'] if case.events and result['reads'] else None,
        'gap_us': result['gap_us'], 'answers': result['answers'], 'events': result['events'],
        'busy': busy, 'loaded_mib': proxy_mib,
    }


def calibrate(rig, peers, case):
    """The rate at which the dearest of them leaves enough of its processor idle, and the load of its own."""
    rate = case.first_rate
    for _ in range(2):  # what costs little at ease costs less in a hurry: look again at about the right rate
        worst = 0
        for peer in peers:
            r = one_round(rig, peer, case, Pace(case, rate), PROBE_SECONDS)
            beside = r['origin_us'] + r['load_us'] if rig.cpus[1] == rig.cpus[2] else max(r['origin_us'], r['load_us'])
            worst = max(worst, r['cpu_us'], beside)
        rate = BUSY * 1e6 / worst
    # Events that wait for a proxy are read together, which makes them cheap: there must be time for each by itself.
    while case.events and max(one_round(rig, peer, case, Pace(case, rate), PROBE_SECONDS)['per_read']
                              for peer in peers) > MERGED_MAX and rate > RATE_MIN:
        rate *= 0.75
    step = 10 ** (len(str(int(rate))) - 2)
    return rate // step * step


# ---- rounds ----

def measure(rig, name, peers, args):
    case = CASES[name]
    peers = [p for p in peers if not case.peers or p in case.peers or 'relais' in p]
    lack = rig.lacks(case) if case.tls else None
    if lack:
        return {'case': name, 'what': case.what, 'rows': [Row(name, case.what, left_out=lack)]}
    rate = args.rate or (QUICK_SHARE * case.first_rate if args.quick else calibrate(rig, peers, case))
    pace = Pace(case, rate)
    rounds = []
    for i in range(args.rounds):
        turn = peers[i % len(peers):] + peers[:i % len(peers)]
        rounds.append({peer: one_round(rig, peer, case, pace, args.seconds) for peer in turn})
        progress(f'{name}: round {i + 1} of {args.rounds}: ' +
                 ', '.join(f'{peer} {rounds[-1][peer]["cpu_us"]:.2f}' for peer in peers))
    out = {'case': name, 'what': case.what, 'per': case.per, 'rate': rate, 'gap_us': pace.gap_us,
           'conns': case.conns, 'rounds': rounds, 'peers': {p: summary(rounds, p) for p in peers}}
    out['rows'] = rows(out, case, rounds)
    out['errors'] = [f'{p}: {s["errors"]} errors, the first: {s["first_error"]}'
                     for p, s in out['peers'].items() if s['errors']]
    return out


def summary(rounds, peer):
    mine = [r[peer] for r in rounds]
    cpu = [r['cpu_us'] for r in mine]
    return {
        'cpu_us': median(cpu), 'cpu_us_low': lower_bound(cpu), 'cpu_us_high': upper_bound(cpu),
        'p50_us': median([r['latency_us']['p50'] for r in mine]),
        'p99_us': median([r['latency_us']['p99'] for r in mine]),
        'errors': sum(r['errors'] for r in mine),
        'first_error': next((r['first_error'] for r in mine if r['errors']), ''),
        'proxy_idle': 1 - median([r['busy'][0] for r in mine]),
        'load_idle': 1 - median([r['busy'][1] for r in mine]),
        'per_read': median([r['per_read'] for r in mine]) if mine[0]['per_read'] else None,
        'loaded_mib': median([r['loaded_mib'] for r in mine]),
    }


def rows(m, case, rounds):
    out = []
    for peer in m['peers']:
        if peer != 'relais' and 'relais' in m['peers']:
            values = [r['relais']['cpu_us'] / r[peer]['cpu_us'] for r in rounds]
            out.append(ratio_row(m['case'], f'CPU per {case.per}', peer, values, case.wanted.get(peer)))
    if not out:
        s = m['peers']['relais']
        out.append(Row(m['case'], f'CPU per {case.per}', measured=f'{s["cpu_us"]:.2f} µs'))
    return out


# ---- for people ----

def print_case(m):
    at = f'{m["rate"]:,.0f} {m["per"]}s/s, {m["conns"]} connections'
    print(f'\n{m["case"]}: {m["what"]}; {at}, {len(m["rounds"])} rounds')
    print(f'  {"":12} {"CPU µs/" + m["per"]:>15} {"median within":>15} {"p50 µs":>9} {"p99 µs":>9} {"idle %":>11}'
          f' {"errors":>7}' + (f' {"events/read":>12}' if m['gap_us'] else ''))
    for peer, s in m['peers'].items():
        within = f'{number(s["cpu_us_low"], ".2f")}..{number(s["cpu_us_high"], ".2f")}'
        idle = f'{100 * s["proxy_idle"]:.0f} / {100 * s["load_idle"]:.0f}'
        print(f'  {peer:12} {s["cpu_us"]:15.2f} {within:>15} {s["p50_us"]:9.0f} {s["p99_us"]:9.0f} {idle:>11}'
              f' {s["errors"]:7d}' + (f' {s["per_read"]:12.2f}' if m['gap_us'] else ''))
    if m['gap_us'] and max(s['per_read'] for s in m['peers'].values()) > 1.5 * MERGED_MAX:
        print('  events were merged on their way: the machine is too busy for these figures to mean much')


def print_markdown(m):
    """The table of docs/performance.md."""
    print(f'**{m["what"]}**, {m["conns"]} connections, {m["rate"]:,.0f} {m["per"]}s a second, {len(m["rounds"])} '
          f'rounds\n')
    print(f'| | CPU µs per {m["per"]} | p50 µs | p99 µs | errors |\n|---|--:|--:|--:|--:|')
    for peer, s in m['peers'].items():
        print(f'| {peer} | {s["cpu_us"]:.2f} | {s["p50_us"]:.0f} | {s["p99_us"]:.0f} | {s["errors"]} |')
    print()
