# SPDX-License-Identifier: Apache-2.0
"""A client that leaves ends its provider's work within 100 ms, in whatever phase it leaves and however (FAULTS 52)."""
import json
import socket
import threading
import time

import pytest

import harness
from harness import chunked, sse_events, STREAM_HEAD
from kit import config, good, serving, target

PATH = '/v1/chat/completions'
STREAM = {'model': 'assistant', 'stream': True, 'messages': []}
WHOLE = {'model': 'assistant', 'messages': []}
SOON_S = 0.1 * harness.SLOW
EVENTS = sse_events(['one'] * 3, usage=False)


class Watched:
    """A provider that stops at a point of its answer and notes when its peer leaves."""

    def __init__(self, begin):
        self.begin, self.reached, self.left_at = begin, threading.Event(), None

    def __call__(self, connection):
        connection.read_request(60)
        connection.send(self.begin)
        self.reached.set()
        if connection.wait_for_peer_to_leave():
            self.left_at = connection.peer_left_at


PHASES = {
    # what the provider sends before it stops; the request
    'waiting for the head': (b'', WHOLE),
    'waiting for the head of a stream': (b'', STREAM),
    'inside the head': (b'HTTP/1.1 200 OK\r\nContent-Ty', WHOLE),
    'before the commit point': (STREAM_HEAD + chunked(EVENTS[0]), STREAM),
    'inside a held answer': (b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"cho', WHOLE),
    'inside an error': (b'HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"err', WHOLE),
    'in the midst of a stream': (STREAM_HEAD + b''.join(chunked(e) for e in EVENTS[:3]), STREAM),
    'inside an event': (STREAM_HEAD + b''.join(chunked(e) for e in EVENTS[:3]) + chunked(b'data: {"c'), STREAM),
    'inside a long whole answer': (b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n'
                                   b'{"choices": "' + b'x' * 400_000, WHOLE),
}


@pytest.mark.parametrize('how', ['close', 'reset', 'half-close'])
@pytest.mark.parametrize('phase', PHASES)
def test_the_provider_sees_it_at_once(gateway, provider, phase, how):
    begin, request = PHASES[phase]
    watched = Watched(begin)
    other = provider(good('never'))
    relais = gateway(config([provider(watched), other]))
    client = relais.client()
    client.send('POST', PATH, request)
    assert watched.reached.wait(harness.WAIT_S)
    time.sleep(0.05)
    started = time.monotonic()
    if how == 'reset':
        client.reset()
    elif how == 'close':
        client.close()
    else:
        client.sock.shutdown(socket.SHUT_WR)
    harness.eventually(lambda: watched.left_at, what='the provider losing its peer', every_s=0.005)
    assert watched.left_at - started < SOON_S
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['error'], record['n_attempts']) == ('left', 'cancelled', 1)
    assert record['status'] == (200 if record['committed'] else None)
    assert not other.requests, 'nobody else is asked for a client that is gone'
    listed = target(relais, 'a')
    assert (listed['in_flight'], listed['failures']) == (0, 0), 'the target is not to blame'
    client.close()


def test_it_leaves_while_it_does_not_read(gateway, provider):
    """The gateway has paused the provider and reads neither side; it sees the client's end all the same."""
    state = {}

    def play(connection, _):
        connection.send(STREAM_HEAD)
        connection.sock.settimeout(0.3)
        block = chunked(EVENTS[1] * 100)
        try:
            while True:
                connection.sock.sendall(block)
        except TimeoutError:
            state['full'] = True
        # What was on its way is still read by nobody: only a reset or a close can wake this.
        connection.sock.settimeout(harness.WAIT_S)
        try:
            while True:
                connection.sock.sendall(block)
        except OSError:
            state['left_at'] = time.monotonic()
        return False
    relais = gateway(config([provider(serving(play))]))
    for how in ('reset', 'close'):
        state.clear()
        client = relais.client(receive_buffer=4096)
        client.send('POST', PATH, STREAM)
        harness.eventually(lambda: state.get('full'), what='the provider being paused')
        time.sleep(0.05)
        started = time.monotonic()
        client.reset() if how == 'reset' else client.close()
        harness.eventually(lambda: state.get('left_at'), what='the provider losing its peer', every_s=0.005)
        assert state['left_at'] - started < SOON_S, how
    assert [r['outcome'] for r in relais.access_log(2)] == ['left', 'left']


@pytest.mark.parametrize('chunked_body', [False, True])
def test_it_leaves_in_the_midst_of_its_own_body(gateway, provider, chunked_body):
    a = provider(good())
    relais = gateway(config([a]))
    before = relais.descriptors()
    for _ in range(20):
        client = relais.client()
        length = 'Transfer-Encoding: chunked\r\n\r\n5\r\n{"mod' if chunked_body else 'Content-Length: 1000\r\n\r\n{"model":'
        client.sock.sendall(f'POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}'.encode())
        client.close()
    records = relais.access_log(20)
    assert {(r['outcome'], r['status'], r['n_attempts']) for r in records} == {('left', None, 0)}
    assert not a.requests
    harness.eventually(lambda: relais.descriptors() <= before + 1, what='the return of the descriptors')
    harness.eventually(lambda: relais.status()['request_body_bytes'] == 0, what='the return of the body budget')


def test_it_leaves_with_requests_in_its_pipeline(gateway, provider):
    """The answer under way is given up; what was queued behind it is never begun."""
    watched = Watched(STREAM_HEAD + chunked(EVENTS[0]) + chunked(EVENTS[1]))
    a = provider(watched)
    relais = gateway(config([a]))
    client = relais.client()
    body = json.dumps(STREAM).encode()
    client.sock.sendall((client.head('POST', PATH, [('Content-Type', 'application/json')], body) + body) * 3)
    assert watched.reached.wait(harness.WAIT_S)
    time.sleep(0.05)
    client.reset()
    harness.eventually(lambda: watched.left_at, what='the provider losing its peer')
    relais.access_log(1)
    time.sleep(0.1)
    assert len(a.requests) == 1
    assert [r['outcome'] for r in relais.access_log()] == ['left']


def test_many_leave_at_once(gateway, provider):
    """Slots, descriptors and counters come back."""
    a = provider(Watched(STREAM_HEAD + chunked(EVENTS[0]) + chunked(EVENTS[1])))
    relais = gateway(config([a], model={'strategy': 'least_connections'}))
    assert relais.get('/health').status == 200
    before = relais.descriptors()
    clients = [relais.client() for _ in range(100)]
    for client in clients:
        client.send('POST', PATH, STREAM)
    harness.eventually(lambda: target(relais, 'a')['in_flight'] == 100, what='100 streams in flight')
    for number, client in enumerate(clients):
        client.reset() if number % 2 else client.close()
    harness.eventually(lambda: target(relais, 'a')['in_flight'] == 0, what='the end of all of them')
    harness.eventually(lambda: relais.descriptors() <= before + 1, what='the return of the descriptors')
    assert {r['outcome'] for r in relais.access_log(100)} == {'left'} and len(relais.access_log()) == 100
    assert relais.metrics()['relais_requests_in_flight'] == 0
