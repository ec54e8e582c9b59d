# SPDX-License-Identifier: Apache-2.0
"""The benchmark's own arithmetic, requests and configs: a wrong ruler measures nothing."""
import json
import os
import shutil
import subprocess
import sys
from math import comb

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'bench'))
import latency  # noqa: E402  (needs the path above)
import report  # noqa: E402  (needs the path above)
import rig  # noqa: E402  (needs the path above)
import stats  # noqa: E402  (needs the path above)


def test_median():
    assert stats.median([3, 1, 2]) == 2
    assert stats.median([4, 1, 3, 2]) == 2.5


@pytest.mark.parametrize('n, k', [(5, 5), (10, 9), (20, 15), (30, 20)])
def test_upper_bound_is_the_order_statistic_of_the_sign_test(n, k):
    values = [x / 10 for x in range(n, 0, -1)]
    assert stats.upper_bound(values) == sorted(values)[k - 1]
    covered = [sum(comb(n, i) for i in range(m)) / 2 ** n for m in (k, k - 1)]
    assert covered[0] >= 0.95 > covered[1]


def test_too_few_rounds_have_no_bound():
    assert stats.upper_bound([1, 1, 1, 1]) is None
    assert stats.lower_bound([]) is None


def test_lower_bound_mirrors_the_upper_one():
    values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert stats.lower_bound(values) == 2


@pytest.mark.parametrize('name', rig.CASES)
def test_requests_are_json_of_exactly_the_size(name):
    case = rig.CASES[name]
    body = case.body()
    assert len(body) == case.request_bytes
    assert json.loads(body).get('stream', False) is bool(case.events)
    head, rest = case.request().split(b'\r\n\r\n', 1)
    assert rest == body and f'Content-Length: {len(body)}'.encode() in head


@pytest.mark.parametrize('peer', rig.PEERS)
@pytest.mark.parametrize('name', rig.CASES)
def test_configs_leave_no_name_unfilled(peer, name):
    template = rig.TEMPLATES.get(peer, 'haproxy.cfg')
    text = rig.read_file(os.path.join(rig.HERE, 'peers', template)).split('\n', 2)[2]
    values = dict(rig.settings_of(peer, rig.CASES[name]), PORT=1, ORIGIN=2, ADMIN=3, DIR='/dir', TLS='/tls')
    text = rig.fill(text, values)
    assert not [word for word in text.split() if word.startswith('@') and word.endswith('@')]


def test_committed_figures_are_there_for_every_case_of_the_gate():
    gate = rig.read_file(os.path.join(rig.HERE, 'gate'))
    figures = json.loads(rig.read_file(os.path.join(rig.HERE, 'gate.json')))
    assert figures['compiler'] and set(figures['cases']) >= {'chat', 'sse'}
    for name, case in figures['cases'].items():
        assert f"'{name}': (" in gate
        assert case['calls'] > 0 and case['instructions'] > 0


@pytest.mark.parametrize('values, reached', [([1.04] * 10, True), ([1.06] * 10, False), ([0.9] * 4, None)])
def test_a_ratio_is_reached_by_its_bound(values, reached):
    row = report.ratio_row('chat', 'CPU', 'nginx', values, 1.0)
    assert row.reached is reached and bool(row.cells()[-1])


def test_a_limit_that_is_passed_says_by_how_much():
    assert report.limit_row('rest', 'idle', 8, 8, 'MiB').reached
    row = report.limit_row('rest', 'idle', 9.5, 8, 'MiB')
    assert row.reached is False and 'NOT REACHED, by 1.5 MiB' in row.cells()


def latencies(rounds, more_ns):
    """Of rounds of 20 laps: 10 requests a block, 1 to 10 µs, beside that 100 µs through nginx and more_ns through relais;
    every fifth lap the machine is busy and takes 1 ms more of everybody."""
    measured = latency.Latencies([latency.DIRECT, 'nginx', 'relais'])
    for i in range(rounds):
        order = [latency.DIRECT, *(['nginx', 'relais'] if i % 2 else ['relais', 'nginx'])]
        samples, adds = [], {latency.DIRECT: 0, 'nginx': 100_000, 'relais': more_ns}
        for block in range(60):
            place = block % 3
            busy = 1_000_000 if block // 3 % 5 == 0 else 0
            for k in range(10):
                samples += [place, block, 1000 * (k + 1) + busy + adds[order[place]]]
        measured.add_round(order, samples)
    return measured


def test_added_latency_is_what_the_proxy_adds_not_what_the_machine_does():
    added, draws = latencies(10, 110_000).result()
    assert added == {'nginx': {'p50': 100, 'p99': 100}, 'relais': {'p50': 110, 'p99': 110}}
    assert len(draws) == latency.DRAWS
    p50, p99 = latency.rows('latency', 1000, added, draws)[-2:]
    assert p50.measured == p99.measured == '1.100' and not p50.reached and not p99.reached
    rows = latency.rows('latency', 1000, *latencies(10, 100_000).result())
    assert [row.reached for row in rows[-2:]] == [True, True]


def test_too_few_rounds_have_no_bound_of_latency():
    added, draws = latencies(latency.ROUNDS_MIN - 1, 100_000).result()
    assert not draws and added['relais'] == added['nginx']
    assert [row.reached for row in latency.rows('latency', 1000, added, draws)[-2:]] == [None, None]


@pytest.mark.parametrize('name', [*rig.CASES, 'streams', 'latency', 'long', 'rest'])
def test_every_case_still_works(name, tmp_path):
    peer = 'nginx' if shutil.which('nginx', path=rig.PATH) else 'none'
    out = tmp_path / 'measured.json'
    ran = subprocess.run([os.path.join(rig.HERE, 'run'), '--quick', '--case', name, '--peer', peer, '--json', out],
                         capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert name in ran.stdout
    measured = json.loads(out.read_text())['measured'][0]
    assert measured['case'] == name and measured['rows'] and not measured.get('errors')
    if name == 'streams':  # so few share what is the process's own: the figure is for 10,000
        assert measured['peers']['relais']['kib_each'] < 20
