# SPDX-License-Identifier: Apache-2.0
"""FAULTS D, cases 34 to 37, and clients that leave in every phase: slow and idle peers are ended by their time-outs,
descriptors that run out pause accepting without burning time, and none of it is felt by a polite client."""
import os
import random
import resource
import select
import socket
import subprocess
import threading
import time

import pytest

import harness
import kit
from harness import (SLOW, STREAM_HEAD, Client, chunked, eventually, reset, sse_events)
from hostile import BODY, GOOD, Siege, answer_status, attacks, post, raw

HEAD = post(body=b'', length=False, close=False)[:-2]
LENGTH = HEAD + b'Content-Length: 100\r\n\r\n'
CODED = HEAD + b'Transfer-Encoding: chunked\r\n\r\n'
STREAM = b'{"model":"h/m","messages":[],"stream":true}'


def connect(siege, count, first=b''):
    socks = []
    attacks.note(count)
    for _ in range(count):
        sock = socket.create_connection(siege.relais.data, timeout=10 * SLOW)
        if first:
            sock.sendall(first)
        socks.append(sock)
    return socks


def drip(socks, piece, every_s, for_s):
    """One more piece to each, again and again; what has been closed meanwhile is left out."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        for sock in socks:
            try:
                sock.send(piece)
            except OSError:
                pass
        time.sleep(every_s)


def all_closed(socks, within_s):
    """Each answer's status, once every peer has closed."""
    found = []
    end = time.monotonic() + within_s
    for sock in socks:
        data = b''
        while True:
            sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                got = sock.recv(65536)
            except ConnectionResetError:
                break
            if not got:
                break
            data += got
        found.append(answer_status(data))
        sock.close()
    return found


def test_slowloris():
    """34: 300 heads that never end, each byte in time: the whole head has its time, then 408."""
    with Siege(server={'header_timeout': '1s'}) as siege:
        socks = connect(siege, 300, b'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX: ')
        drip(socks, b'y', 0.2, 1.4 * SLOW)
        assert set(all_closed(socks, 3 * SLOW)) == {408}
        siege.expect_logged = 300


def test_connections_that_say_nothing():
    """34: not one byte: closed without a word, and without a log line, since there was no request."""
    with Siege(server={'header_timeout': '1s'}) as siege:
        socks = connect(siege, 300)
        assert set(all_closed(socks, 4 * SLOW)) == {0}
        siege.expect_logged = 0


@pytest.mark.parametrize('head, piece', [(LENGTH, b'x'), (CODED, b'1\r\nx\r\n'), (CODED, b'0')],
                         ids=['body', 'chunks', 'chunk sizes'])
def test_slow_bodies(head, piece):
    """34: a body of a few bytes a second runs into its time-out although each byte comes in time."""
    with Siege(server={'body_idle': '1s'}) as siege:
        socks = connect(siege, 100, head)
        drip(socks, piece, 0.25, 2 * SLOW)
        found = set(all_closed(socks, 4 * SLOW))
        # Seventeen digits of a chunk's size are refused before their time is up.
        assert found <= {408, 400} and found, found
        assert len(siege.provider.requests) == 0
        siege.expect_logged = 100


def test_slow_reader():
    """34: who takes nothing of an endless stream is given up; its provider is paused, then left; memory stays flat."""
    sent, gone = [], threading.Event()

    def provider(connection):
        connection.read_request()
        connection.send(STREAM_HEAD + chunked(sse_events(['x'])[0]))
        event = chunked(sse_events(['y' * 4000])[1])
        try:
            while True:
                connection.send(event)
                sent.append(len(event))
        except OSError:
            gone.set()

    with Siege(provider, server={'write_idle': '1s'}) as siege:
        before = siege.relais.memory_kib()
        readers = []
        for _ in range(20):
            client = siege.client(receive_buffer=4096)
            client.send('POST', '/v1/chat/completions', STREAM, [('Content-Type', 'application/json')])
            readers.append(client)
        assert gone.wait(8 * SLOW), 'the provider was never left'
        eventually(lambda: all(c.ended.is_set() for c in siege.provider.connections), 5 * SLOW)
        assert siege.relais.memory_kib() - before < 30 * 1024 * SLOW
        for client in readers:
            client.close()
        siege.expect_logged = 20
    assert {(r['outcome'], r['model_asked']) for r in siege.hostile_log()} == {('left', 'h/m')}


def test_idle_keep_alives():
    """35: a thousand connections that have asked once and rest; they end by the keep-alive time."""
    with Siege(server={'keepalive': '2s'}) as siege:
        socks = connect(siege, 1000, b'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
        before = siege.relais.cpu_s()
        time.sleep(0.7)
        assert siege.relais.cpu_s() - before < 0.3 * SLOW, 'idle connections cost time'
        assert siege.relais.admin_request('GET', '/health').status == 200
        assert set(all_closed(socks, 6 * SLOW)) == {200}
        siege.expect_logged = 0  # /health is not logged


def test_as_many_idle_connections_as_may_be():
    """35: as many as the descriptors of this machine allow, fifty thousand at most, from several addresses: they cost next to
    nothing while they rest, the others do not feel them, and all that they held comes back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 50_000 if hard == resource.RLIM_INFINITY else min(50_000, hard - 2000)
    count = min(most, 2000) if 'san' in os.path.basename(harness.BUILD) else most
    request = b'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n'
    socks = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with Siege(server={'keepalive': '1h', 'max_connections': count + 500}) as siege:
            before_kib = siege.relais.memory_kib()
            for i in range(count):
                socks.append(socket.create_connection(siege.relais.data, timeout=20 * SLOW, source_address=(f'127.0.0.{2 + i % 8}', 0)))
                socks[-1].sendall(request)
            attacks.note(count)
            assert {answer_status(sock.recv(4096)) for sock in socks} == {200}
            assert siege.relais.metrics()['relais_connections{side="client"}'] >= count
            each = (siege.relais.memory_kib() - before_kib) * 1024 // count
            before = siege.relais.cpu_s()
            time.sleep(0.7)
            used = siege.relais.cpu_s() - before
            print(f'idle connections: {count} held, {each} bytes resident each, {used:.2f} s of a processor in 0.7 s')
            assert used < 0.3 * SLOW, 'idle connections cost time'
            assert siege.relais.get('/health').status == siege.relais.admin_request('GET', '/health').status == 200
            for sock in socks:
                sock.close()
            siege.expect_logged = 0
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thundering_reconnect():
    """37: hundreds come at the same moment, are cut off, and come again: all are served."""
    request = b'GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n'
    with Siege() as siege:
        for _ in range(4):
            socks = []
            for _ in range(400):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(siege.relais.data)
                socks.append(sock)
            attacks.note(len(socks))
            for sock in socks:
                sock.settimeout(30 * SLOW)
                select.select([], [sock], [], 30 * SLOW)
                sock.sendall(request)
            assert {answer_status(sock.recv(65536)) for sock in socks} == {200}
            for sock in socks:
                reset(sock)
        siege.expect_logged = 1600


@pytest.mark.skipif('san' in os.path.basename(harness.BUILD), reason='sanitizers must be loaded first')
def test_no_port_is_left(gateway, provider, tmp_path):
    """37: all local ports towards a provider are taken: 503 in the dialect, at once; idle connections still serve; then it is
    over by itself."""
    library, taken = str(tmp_path / 'fail_connect.so'), tmp_path / 'taken'
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fail_connect.c')
    subprocess.run(['cc', '-shared', '-fPIC', '-O1', '-o', library, source], check=True, timeout=60 * SLOW)
    relais = gateway(kit.config([provider(kit.good())], server={'workers': 1}),
                     env={'LD_PRELOAD': library, 'RELAIS_FAIL_CONNECT': str(taken)})
    taken.touch()
    for _ in range(3):
        reply = relais.chat()
        assert reply.status == 503 and reply.json()['error']['code'] == 'gateway_overloaded', reply.body
        assert reply.header('retry-after') == '1'
    taken.unlink()
    assert relais.chat().status == 200
    taken.touch()
    assert relais.chat().status == 200  # over the connection that is there
    taken.unlink()
    records = relais.access_log(5)
    assert [r['status'] for r in records] == [503, 503, 503, 200, 200]
    assert records[0]['attempts'][0]['status'] is None


def test_out_of_descriptors():
    """36: accepting pauses without spinning, running streams go on, and it recovers by itself."""
    done = threading.Event()

    def provider(connection):
        connection.read_request()
        connection.send(STREAM_HEAD)
        while not done.wait(0.05):
            connection.send(chunked(sse_events(['y'])[1]))
        connection.send(b''.join(chunked(e) for e in sse_events(['z'])[2:]) + chunked(b''))

    with Siege(provider, prefix=('/usr/bin/prlimit', '--nofile=256')) as siege:
        siege.canary.on_new_connections = False  # it has its connection; new ones wait in the queue
        time.sleep(0.3)
        with siege.client(within_s=20 * SLOW) as stream:
            reply, events = stream.events('POST', '/v1/chat/completions', STREAM,
                                          [('Content-Type', 'application/json')])
            assert reply.status == 200 and next(events)
            flood = []
            for _ in range(400):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(siege.relais.data)
                flood.append(sock)
            time.sleep(0.3)
            assert siege.relais.descriptors() <= 256
            before = siege.relais.cpu_s()
            time.sleep(1)
            spent = siege.relais.cpu_s() - before
            assert spent < 0.4 * SLOW, f'{spent:.2f} s of processor time in a second of rest'
            for _ in range(5):
                assert next(events).data  # the stream goes on
            assert siege.relais.admin_request('GET', '/health').status == 200, 'the admin plane keeps its reserve'
            for sock in flood:
                sock.close()
            eventually(lambda: answer_status(raw(*siege.relais.data, b'GET /health HTTP/1.1\r\nHost: localhost\r\n'
                                                 b'Connection: close\r\n\r\n', within_s=2).data) == 200, 5 * SLOW)
            done.set()
            assert [e.data for e in events][-1] == '[DONE]'
        siege.expect_logged = 1


def garbage(generator):
    kind = generator.randrange(6)
    if kind == 0:
        return generator.randbytes(generator.randrange(1, 2000))
    if kind == 1:
        return b'\x16\x03\x01' + generator.randbytes(200)
    if kind == 2:
        return b'\r\n' * generator.randrange(1, 50)
    if kind == 3:
        data = bytearray(post())
        for _ in range(3):
            data[generator.randrange(len(data))] = generator.randrange(256)
        return bytes(data)
    if kind == 4:
        return post()[:generator.randrange(1, 200)]
    return b'GET ' + b'/' * generator.randrange(1, 5000)


def test_floods_of_garbage():
    """Connections that send anything and go in any way; nobody else notices."""
    with Siege() as siege:
        def flood(seed):
            generator = random.Random(seed)
            for _ in range(400):
                try:
                    sock = socket.create_connection(siege.relais.data, timeout=5)
                    sock.sendall(garbage(generator))
                    end = generator.randrange(3)
                    if end == 0:
                        reset(sock)
                        continue
                    if end == 1:
                        sock.shutdown(socket.SHUT_WR)
                        sock.settimeout(0.05)
                        sock.recv(65536)
                    sock.close()
                except OSError:
                    sock.close()
        threads = [threading.Thread(target=flood, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * SLOW)
            assert not thread.is_alive()


class Staged:
    """A provider that stops at the phase the test names and waits there for the gateway to leave."""

    def __init__(self):
        self.phase, self.left_after_s = '', []

    def __call__(self, connection):
        request = connection.read_request()
        if not request:
            return
        if self.phase == 'answer head':
            connection.send(STREAM_HEAD)
        elif self.phase in ('stream', 'slow stream'):
            connection.send(STREAM_HEAD + b''.join(chunked(e) for e in sse_events(['a', 'b'])[:3]))
        elif self.phase == 'half answer':
            connection.send(GOOD[:-10])
        self.reached.set()
        if connection.wait_for_peer_to_leave(5 * SLOW):
            self.left_after_s.append(connection.peer_left_at - self.client_left_at)


PHASES = ['connect', 'request line', 'head', 'body', 'chunk', 'waiting', 'answer head', 'half answer', 'stream']


@pytest.mark.parametrize('how', ['reset', 'fin'])
def test_clients_leave_in_every_phase(how):
    """Each leaves a hundred milliseconds for the provider to be left, too; one log line for each that had a request."""
    script = Staged()
    logged = 0
    with Siege(script) as siege:
        for phase in PHASES:
            for _ in range(3):
                script.phase, script.reached = phase, threading.Event()
                sock = socket.create_connection(siege.relais.data, timeout=5)
                body = STREAM if phase in ('answer head', 'stream') else BODY
                sock.sendall({'connect': b'', 'request line': b'POST /v1/ch', 'head': HEAD, 'body': LENGTH + b'{',
                              'chunk': CODED + b'50\r\n{'}.get(phase) or
                             (post(body=body, close=False) if phase != 'connect' else b''))
                if phase in PHASES[5:]:
                    assert script.reached.wait(5 * SLOW), phase
                    if phase == 'stream':
                        sock.settimeout(5)
                        assert sock.recv(10).startswith(b'HTTP/1.1 2')
                time.sleep(0.03)
                script.client_left_at = time.monotonic()
                if how == 'reset':
                    reset(sock)
                else:
                    sock.close() if phase != 'stream' else reset(sock)
                if phase in PHASES[3:]:
                    logged += 1
                if phase in PHASES[5:]:
                    eventually(lambda: all(c.ended.is_set() for c in siege.provider.connections), 5 * SLOW,
                               f'the provider was left ({phase})')
        assert len(script.left_after_s) == 12, script.left_after_s
        assert max(script.left_after_s) < 0.1 * SLOW, script.left_after_s
        siege.expect_logged = logged
    assert {r['outcome'] for r in siege.hostile_log()} == {'left'}


# --- memory -----------------------------------------------------------------------------------------------------------

def test_memory_that_is_nearly_used_up():
    """37: from nine tenths of server.memory_limit on new requests get 503 with Retry-After; those under way are served,
    health answers, and when the memory is free again so is the way."""
    size = 16 << 20
    body = b'{"model":"h/m","messages":[],"pad":"' + b'x' * size + b'"}'
    with Siege(server={'body_memory': '256MiB', 'max_body': '32MiB', 'body_idle': '300s'}) as siege:
        siege.expect_canary = False  # it is turned away as well
        used = siege.relais.memory_kib() << 10
        siege.server['memory_limit'] = int((used + (40 << 20)) / 0.9)
        siege.relais.reload(siege.config())
        socks = []
        try:
            for _ in range(6):
                socks += connect(siege, 1, post(body=body)[:-10])
        except OSError:
            assert len(socks) >= 2  # the next one was turned away while it sent
        small = {'model': 'h/m', 'messages': []}
        reply = eventually(lambda: next((r for r in [siege.ask(small)] if r.status == 503), None),
                           what='an answer with 503', every_s=0.1)
        assert reply.json()['error']['code'] == 'gateway_overloaded' and reply.header('retry-after') == '1'
        assert siege.relais.get('/health').status == 200 and siege.relais.get('/ready').status == 200
        assert siege.relais.admin_request('GET', '/health').status == 200
        socks[0].sendall(body[-10:])
        assert all_closed(socks[:1], 30 * SLOW) == [200]
        for sock in socks[1:]:
            sock.close()
        if not any(name in os.path.basename(harness.BUILD) for name in ('asan', 'tsan')):  # these keep what was freed
            eventually(lambda: siege.ask(small).status == 200, what='an answer with 200', every_s=0.1)
            eventually(lambda: 'requests are served again' in siege.relais.output(), what='a word about it')
