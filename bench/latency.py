# SPDX-License-Identifier: Apache-2.0
"""What a proxy adds to the time of a request: percentiles through it minus those without it.

Within a round the origin itself, nginx and relais are asked in turn, for BLOCK_MS each, in changing order, by one load
with connections to all of them. So whatever the machine does meanwhile happens to all three, and the difference of
their percentiles is theirs. Each round starts the proxies anew, in turning order.

A virtual processor that sleeps is woken by its host, which takes from 20 µs to a millisecond and has nothing to do with
any proxy. So on each processor a loop of the lowest priority (SCHED_IDLE) stays awake; whatever else wants to run there
takes its place at once.

The bound is that of a bootstrap in two stages: as many rounds as there were are drawn among them, with replacement, and
of each as many laps; the percentiles are taken of all that was drawn, 19 of 20 ratios lie below the bound.
"""
import array
import os
import random
import sys
from bisect import bisect_left
from itertools import accumulate

from report import Row, bounded_row, errors_of, progress
from rig import CASES

RATE, QUICK_RATE = 1000, 200
PEERS = ['nginx', 'relais']
DIRECT = 'without a proxy'
BLOCK_MS = 15
TIMES_LONGER = 2  # than other cases: a percentile needs many requests
SHARES = {'p50': 0.5, 'p99': 0.99}
DRAWS = 400
ROUNDS_MIN = 5    # fewer say nothing of how rounds differ
SPIN = '''
import os, time
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
parent = os.getppid()
while os.getppid() == parent:
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass
'''


class Sample:
    """All latencies through one of them, sorted, and which lap each belongs to."""

    def __init__(self, pairs):
        pairs.sort()
        self.ns, self.laps = [p[0] for p in pairs], [p[1] for p in pairs]

    def percentiles(self, weights):
        """{name: ns}, where each latency counts as often as its lap was drawn."""
        upto = list(accumulate(map(weights.__getitem__, self.laps)))
        return {name: self.ns[bisect_left(upto, share * upto[-1])] for name, share in SHARES.items()}


class Latencies:
    """What was measured in all rounds. rounds: the numbers of each round's laps."""

    def __init__(self, names):
        self.names, self.pairs, self.rounds, self.n_laps = names, {name: [] for name in names}, [], 0

    def add_round(self, order, samples):
        """samples: (place in the order, number of the block, ns), as the load writes them, one number after the other."""
        laps = {}
        for i in range(0, len(samples), 3):
            lap = laps.setdefault(samples[i + 1] // len(order), self.n_laps + len(laps))
            self.pairs[order[samples[i]]].append((samples[i + 2], lap))
        self.rounds.append(range(self.n_laps, self.n_laps + len(laps)))
        self.n_laps += len(laps)

    def added_us(self, samples, weights):
        """{proxy: {percentile: µs more than without a proxy}}"""
        all_of_it = {name: sample.percentiles(weights) for name, sample in samples.items()}
        return {name: {k: (ns - all_of_it[DIRECT][k]) / 1000 for k, ns in of.items()}
                for name, of in all_of_it.items() if name != DIRECT}

    def draw(self, dice):
        """How often each lap is drawn."""
        weights = [0] * self.n_laps
        for laps in dice.choices(self.rounds, k=len(self.rounds)):
            for lap in dice.choices(laps, k=len(laps)):
                weights[lap] += 1
        return weights

    def result(self):
        """(added µs, [added µs of each draw])"""
        samples, dice = {name: Sample(pairs) for name, pairs in self.pairs.items()}, random.Random(1)
        draws = DRAWS if len(self.rounds) >= ROUNDS_MIN else 0
        return (self.added_us(samples, [1] * self.n_laps),
                [self.added_us(samples, self.draw(dice)) for _ in range(draws)])


def ratio(added, share):
    """Less than a microsecond is less than is measured."""
    return max(1, added['relais'][share]) / max(1, added['nginx'][share])


def rows(name, rate, added, draws):
    out = [Row(name, f'{k} added at {rate:,}/s', p, f'{us:.0f} µs') for p, of in added.items() for k, us in of.items()]
    for share in SHARES if 'nginx' in added else ():
        drawn = sorted(ratio(draw, share) for draw in draws)
        bound = drawn[int(0.95 * len(drawn))] if drawn else None
        out.append(bounded_row(name, f'{share} added', 'nginx', ratio(added, share), bound, 1.0))
    return out


def one_round(rig, order, how):
    """(what the load says, its samples)"""
    case, path = CASES['chat'], os.path.join(rig.dir, 'samples')
    origin, port = rig.start_origin(case)
    proxies = [rig.proxy(peer, case, port) for peer in order[1:]]
    result = rig.load(case, [port, *(proxy.port for proxy in proxies)], block_ms=BLOCK_MS, samples=path, **how)
    for proxy in proxies:
        rig.drop(proxy)
    rig.stop(origin)
    samples = array.array('I')
    with open(path, 'rb') as f:
        samples.frombytes(f.read())
    return result, samples


def measure(rig, name, peers, args):
    peers = [p for p in peers if p in PEERS]
    measured, errors = Latencies([DIRECT, *peers]), []
    how = {'rate': QUICK_RATE if args.quick else RATE, 'warmup': 1,
           'seconds': args.seconds * (1 if args.quick else TIMES_LONGER * (1 + len(peers)))}
    awake = [rig.start([sys.executable, '-c', SPIN], cpu, rig.dir, f'awake.{cpu}') for cpu in sorted(set(rig.cpus))]
    for i in range(args.rounds):
        order = [DIRECT, *peers[i % len(peers):], *peers[:i % len(peers)]]
        result, samples = one_round(rig, order, how)
        errors += errors_of('all together', result)
        measured.add_round(order, samples)
        progress(f'{name}: round {i + 1} of {args.rounds}: {len(samples) // 3:,} requests')
    for process in awake:
        rig.stop(process)
    added, draws = measured.result()
    return {'case': name, 'rows': rows(name, how['rate'], added, draws), 'errors': errors, 'added_us': added,
            'draws': draws}
