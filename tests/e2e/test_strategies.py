# SPDX-License-Identifier: Apache-2.0
"""Who is asked: the four strategies, exact whatever the number of workers, and the first health rule."""
import collections
import threading
import time

import pytest

import harness
from harness import http_answer
from kit import config, good, serving, target, whole

NAMES = 'abcde'


def who(relais, n, model='assistant'):
    return ''.join(relais.chat(model=model).header('x-relais-provider') for _ in range(n))


def at_once(relais, n, **options):
    """n requests, 16 at a time, over kept connections; who answered each, counted."""
    found, lock = collections.Counter(), threading.Lock()

    def work(count):
        with relais.client() as client:
            for _ in range(count):
                reply = client.post('/v1/chat/completions', {'model': 'assistant', 'messages': []}, **options)
                assert reply.status == 200, reply
                with lock:
                    found[reply.header('x-relais-provider')] += 1
    threads = [threading.Thread(target=work, args=(n // 16,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30 * harness.SLOW)
    assert sum(found.values()) == n
    return found


def test_priority(gateway, provider):
    relais = gateway(config([provider(good())] * 3, 'priority'))
    assert who(relais, 10) == 'a' * 10


@pytest.mark.parametrize('n', [1, 2, 3, 5])
def test_round_robin(gateway, provider, n):
    relais = gateway(config([provider(good())] * n, 'round_robin'))
    assert who(relais, 4 * n) == NAMES[:n] * 4


def test_round_robin_is_exact_across_workers(gateway, provider):
    relais = gateway(config([provider(good())] * 4, 'round_robin', server={'workers': 2}))
    assert at_once(relais, 800) == {name: 200 for name in 'abcd'}


def weighted(providers, weights, **options):
    settings = config(providers, 'weighted', **options)
    for target_, weight in zip(settings['models']['assistant']['targets'], weights):
        target_['weight'] = weight
    return settings


@pytest.mark.parametrize('weights, turns', [((5, 1, 1), 'aabacaa'), ((1, 1), 'ab'), ((3, 2), 'ababa'), ((1, 1000000), 'b')])
def test_weighted_is_smooth(gateway, provider, weights, turns):
    """The sequence of smooth weighted round robin, worked out by hand."""
    relais = gateway(weighted([provider(good())] * len(weights), weights))
    assert who(relais, 3 * len(turns)) == turns * 3


def test_weighted_shares_are_exact_across_workers(gateway, provider):
    relais = gateway(weighted([provider(good())] * 3, (5, 2, 1), server={'workers': 2}))
    assert at_once(relais, 800) == {'a': 500, 'b': 200, 'c': 100}


def test_least_connections(gateway, provider):
    """Slow requests spread evenly over all targets, counted over both workers."""
    gate = threading.Event()

    def play(connection, _):
        gate.wait(harness.WAIT_S)
        connection.send(whole())
    relais = gateway(config([provider(serving(play))] * 4, 'least_connections', server={'workers': 2}))
    clients = [relais.client() for _ in range(40)]

    def loads():
        return [target(relais, n)['in_flight'] for n in 'abcd']
    for number, client in enumerate(clients):
        client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
        if number % 8 == 7:
            harness.eventually(lambda: sum(loads()) == number + 1, what=f'{number + 1} requests in flight')
            assert loads() == [(number + 1) // 4] * 4
    assert loads() == [10] * 4
    metrics = relais.metrics()
    assert metrics['relais_target_in_flight{provider="a",model="m"}'] == 10
    gate.set()
    found = collections.Counter(c.read_reply('POST').header('x-relais-provider') for c in clients)
    assert found == {n: 10 for n in 'abcd'}
    for client in clients:
        client.close()
    assert loads() == [0] * 4


def test_least_connections_prefers_the_free_one(gateway, provider):
    gate = threading.Event()

    def slow(connection, _):
        gate.wait(harness.WAIT_S)
        connection.send(whole())
    relais = gateway(config([provider(serving(slow)), provider(good())], 'least_connections'))
    with relais.client() as client:
        client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
        harness.eventually(lambda: target(relais, 'a')['in_flight'] == 1)
        assert who(relais, 9) == 'b' * 9
        gate.set()
        assert client.read_reply('POST').header('x-relais-provider') == 'a'


def test_the_others_follow_in_order(gateway, provider):
    """After the first choice has failed the rest of the strategy's order is tried."""
    bad = http_answer(b'', status='500 X')
    relais = gateway(config([provider(bad), provider(bad), provider(good()), provider(bad)], 'round_robin', max_fails=0,
                            server={'workers': 1}))  # records of several workers may change places
    tried = [''.join(a['provider'] for a in r['attempts']) for r in (who(relais, 4), relais.access_log(4))[1]]
    assert tried == ['abc', 'bc', 'c', 'dabc']


# --- max_fails, fail_timeout ------------------------------------------------------------------------------------------

class Switched:
    """A provider that answers well or with 500, as it is told."""

    def __init__(self, well=True):
        self.well, self.asked = well, 0

    def __call__(self, connection):
        while connection.read_request(60):
            self.asked += 1
            connection.send(whole() if self.well else http_answer(b'', status='500 X'))


def test_a_target_that_fails_is_left_alone_for_a_while(gateway, provider):
    a = Switched(well=False)
    relais = gateway(config([provider(a), provider(good())], max_fails=3, fail_timeout='1500ms'))
    assert target(relais, 'a')['state'] == 'up'
    began = time.monotonic()
    assert who(relais, 3) == 'bbb' and a.asked == 3
    assert target(relais, 'a')['state'] == 'down'
    assert relais.metrics()['relais_target_available{provider="a",model="m"}'] == 0
    assert who(relais, 5) == 'bbbbb'
    if time.monotonic() - began < 1.4:
        assert a.asked == 3, 'left alone'
    harness.eventually(lambda: target(relais, 'a')['state'] == 'probe_due', what='the time of the probe')
    assert who(relais, 1) == 'b' and a.asked == 4, 'one probe, with the others behind it'
    assert target(relais, 'a')['state'] == 'down'
    assert who(relais, 3) == 'bbb'
    a.well = True
    harness.eventually(lambda: target(relais, 'a')['state'] == 'probe_due', what='the time of the next probe')
    assert who(relais, 3) == 'aaa'
    assert target(relais, 'a')['state'] == 'up'
    assert relais.metrics()['relais_target_available{provider="a",model="m"}'] == 1
    assert 'a/m is down' in relais.output() and 'a/m is up again' in relais.output()


def test_exactly_one_probe(gateway, provider):
    """Many requests at the moment when the probe is due: one of them is it."""
    gate = threading.Event()
    asked = []

    def play(connection, _):
        asked.append(time.monotonic())
        if len(asked) > 2:
            gate.wait(harness.WAIT_S)
        connection.send(http_answer(b'', status='500 X'))
    relais = gateway(config([provider(serving(play)), provider(good())], max_fails=2, fail_timeout='500ms',
                            server={'workers': 2}))
    assert who(relais, 2) == 'bb'
    harness.eventually(lambda: target(relais, 'a')['state'] == 'probe_due', what='the time of the probe')
    clients = [relais.client() for _ in range(30)]
    for client in clients:
        client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
    time.sleep(0.2)
    assert len(asked) == 3
    gate.set()
    assert {c.read_reply('POST').header('x-relais-provider') for c in clients} == {'b'}
    for client in clients:
        client.close()


def test_all_targets_down_are_still_tried(gateway, provider):
    """FAULTS 59: nothing to lose: they stand at the end of the list, not outside of it."""
    a, b = Switched(well=False), Switched(well=False)
    relais = gateway(config([provider(a), provider(b)], max_fails=1, fail_timeout='1h'))
    assert relais.chat().status == 502
    assert (target(relais, 'a')['state'], target(relais, 'b')['state']) == ('down', 'down')
    b.well = True
    assert relais.chat().header('x-relais-provider') == 'b'
    assert target(relais, 'b')['state'] == 'up', 'an answer brings it back at once'
    assert who(relais, 3) == 'bbb'


def test_failures_that_are_no_failures(gateway, provider):
    """What is the client's own doing does not count against a target."""
    answers = http_answer({'error': {'message': 'x', 'type': 'invalid_request_error'}}, status='400 X')
    relais = gateway(config([provider(answers), provider(good())], max_fails=1, fail_timeout='1h'))
    for _ in range(3):
        assert relais.chat().status == 400
    assert target(relais, 'a')['state'] == 'up' and target(relais, 'a')['failures'] == 0


def test_failures_far_apart_do_not_add_up(gateway, provider):
    a = Switched(well=False)
    relais = gateway(config([provider(a), provider(good())], max_fails=2, fail_timeout='200ms'))
    for _ in range(3):
        assert who(relais, 1) == 'b'
        time.sleep(0.3)
    assert a.asked == 3 and target(relais, 'a')['state'] == 'up'


def test_max_fails_of_zero(gateway, provider):
    a = Switched(well=False)
    relais = gateway(config([provider(a), provider(good())], max_fails=0))
    assert who(relais, 10) == 'b' * 10
    assert a.asked == 10 and target(relais, 'a')['state'] == 'up'


def test_a_half_failing_provider_costs_nobody_an_answer(gateway, provider):
    """FAULTS 59: 30 % failures of one of two."""
    count = {'n': 0}

    def play(connection, _):
        count['n'] += 1
        connection.send(http_answer(b'', status='500 X') if count['n'] % 3 == 0 else whole())
    relais = gateway(config([provider(serving(play)), provider(good())], 'round_robin', max_fails=3, fail_timeout='100ms'))
    at_once(relais, 800)
