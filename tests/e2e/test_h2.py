# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 with clients, in plain text by prior knowledge: the same gateway as over HTTP/1, many requests a connection."""
import json
import shutil
import socket
import subprocess
import threading
import time

import pytest

from h2kit import (CALM, CANCEL, CHAT, INTERNAL_ERROR, NO_ERROR, PREFACE, H2Client, Raw, frame, DATA, END_HEADERS, END_STREAM,
                   GOAWAY, HEADERS, PING, SETTINGS, ACK)
from harness import (SLOW, STREAM_HEAD, chat_answer, chunked, eventually, http_answer, raw, sse_events)
from kit import config, good, serving, streamed, whole

BODY = json.dumps({'model': 'assistant', 'messages': [{'role': 'user', 'content': 'hi'}]}).encode()


def test_a_request_and_its_record(gateway, provider):
    relais = gateway(config([provider(good('over two'))]))
    with H2Client(relais.data) as client:
        answer = client.finish(client.chat())
        assert answer.status == 200 and answer.json()['choices'][0]['message']['content'] == 'over two'
        assert answer.headers['content-length'] == str(len(answer.body)) and answer.headers['x-relais-attempts'] == '1'
        assert 'connection' not in answer.headers and 'transfer-encoding' not in answer.headers and answer.headers['date']
        assert all(n == n.lower() for n in answer.headers)
        head = client.finish(client.request('HEAD', '/v1/models'))
        assert head.status == 200 and head.body == b'' and int(head.headers['content-length']) > 0
        missing = client.finish(client.request('GET', '/nothing'))
        assert missing.status == 404 and missing.json()['error']
    records = relais.access_log(3)
    assert [r['http'] for r in records] == ['2'] * 3 and [r['status'] for r in records] == [200, 200, 404]
    assert records[0]['bytes_in'] > 0 and records[0]['bytes_out'] == len(answer.body)


def test_curl_and_both_planes(gateway, provider):
    relais = gateway(config([provider(good())]))
    for host, port in (relais.data, relais.admin):
        out = subprocess.run(['curl', '-s', '--http2-prior-knowledge', '-w', '%{http_version} %{http_code}', '--max-time', '30',
                              f'http://{host}:{port}/health'], capture_output=True, timeout=60)
        assert out.stdout.endswith(b'2 200'), out
    # An offer to change is not taken: the request is answered as what it is (FAULTS 14).
    out = subprocess.run(['curl', '-s', '--http2', '-w', '%{http_version} %{http_code}', '--max-time', '30',
                          f'{relais.base_url}/v1/models'.replace('/v1/v1', '/v1')], capture_output=True, timeout=60)
    assert out.stdout.endswith(b'1.1 200'), out


def test_many_streams_at_once(gateway, provider):
    """Forty requests at once over one connection, each with its own answer, while one has none yet."""
    held = threading.Event()

    def play(connection, request):
        text = json.loads(request.body)['messages'][0]['content']
        if text == 'slow':
            held.wait(30)
        connection.send(http_answer(chat_answer('echo ' + text)))
    relais = gateway(config([provider(serving(play))]))
    with H2Client(relais.data) as client:
        slow = client.chat('slow')
        streams = [client.chat(f'number {i}') for i in range(40)]
        client.finish(*streams)
        for i, stream in enumerate(streams):
            assert stream.json()['choices'][0]['message']['content'] == f'echo number {i}'
        assert not slow.over
        held.set()
        assert client.finish(slow).json()['choices'][0]['message']['content'] == 'echo slow'


def test_each_event_is_a_frame_of_its_own(gateway, provider):
    """Nothing is held back or put together: every event that comes leaves at once."""
    events = sse_events([f'word {i} ' for i in range(30)], usage=False)
    gates = [threading.Event() for _ in events]

    def play(connection, _):
        connection.send(STREAM_HEAD)
        for gate, event in zip(gates, events):
            assert gate.wait(30)
            connection.send(chunked(event))
        connection.send(chunked(b''))
    relais = gateway(config([provider(serving(play))]))
    with H2Client(relais.data) as client:
        stream = client.chat(stream=True)
        for i, gate in enumerate(gates):
            gate.set()
            if i:  # the first says only who speaks: it is held until there is content
                client.until(lambda n=i: len(b''.join(stream.pieces)) >= len(b''.join(events[:n + 1])))
        client.finish(stream)
        assert stream.body == b''.join(events) and stream.reset is None
        assert len([p for p in stream.pieces if p]) >= len(events) - 1
        assert stream.headers['content-type'].startswith('text/event-stream')


def test_cut_at_every_byte(gateway, provider):
    """A request whose bytes come in two reads, cut anywhere; and the preface one byte at a time."""
    relais = gateway(config([provider(good('whole'))]))
    with Raw(relais.data) as first:
        block = first.head(('content-type', 'application/json'))
    request = (PREFACE + frame(SETTINGS) + frame(HEADERS, END_HEADERS, 1, block) +
               frame(DATA, 0, 1, BODY[:10]) + frame(DATA, 0, 1, BODY[10:20]) + frame(DATA, END_STREAM, 1, BODY[20:]))

    class Cut(Raw):
        def __init__(self, pieces):
            self.pieces = pieces
            super().__init__(relais.data, preface=b'')

        def send(self, data):
            if self.pieces:
                for piece in self.pieces:
                    super().send(piece)
                    time.sleep(0.001)
                self.pieces = None
                return True
            return super().send(data)
    for at in range(1, len(request)):
        with Cut([request[:at], request[at:]]) as client:
            assert client.outcome(1) == ('answer', 200), at
    with Cut([request[i:i + 1] for i in range(len(request))]) as client:
        assert client.outcome(1) == ('answer', 200)


@pytest.mark.parametrize('data', [
    PREFACE[:-1] + b'x', PREFACE[:16] + b'Host: a\r\n\r\n', b'INVALID CONNECTION PREFACE\r\n\r\n', b'SSH-2.0-x\r\n', b'\r\nget me\r\n',
], ids=['its end', 'its second line', 'its first line', 'another protocol', 'an empty line'])
def test_an_invalid_preface(gateway, provider, data):
    """What is neither HTTP/1 nor HTTP/2 ends the connection (RFC 9113 3.4), however it is cut; it is no request, and no record."""
    relais = gateway(config([provider(good())]))
    for pieces in ([data], [data[:9], data[9:]], [data[i:i + 1] for i in range(len(data))]):
        received = raw(*relais.data, pieces=pieces, gap_s=0.001, within_s=10 * SLOW)
        assert received.closed and b'HTTP/1.1' not in received.data, received
    for line in (b'GET /\r\n', b'GET\r\n', b'INVALID / HTTP/3.0\r\n', b'INVALID HTTP/1.1\r\n'):  # in what it has of HTTP/1
        assert b'HTTP/1.1 ' in raw(*relais.data, data=line + b'\r\n', within_s=10 * SLOW).data, line
    second = b'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nINVALID\r\n'  # and so later on
    assert raw(*relais.data, data=second, within_s=10 * SLOW).data.count(b'HTTP/1.1 400') == 1
    assert len(relais.access_log(5)) == 5


def test_bodies_of_all_sizes(gateway, provider):
    """Far beyond the windows: both ways."""
    def play(connection, request):
        connection.send(http_answer(json.dumps({'choices': [], 'n': len(request.body), 'pad': 'y' * 3_000_000}).encode()))
    relais = gateway(config([provider(serving(play))]))
    with H2Client(relais.data) as client:
        streams = [client.request('POST', CHAT, {'model': 'assistant', 'messages': [], 'x': 'x' * size})
                   for size in (0, 1, 16384, 65535, 65536, 1_000_000, 5_000_000)]
        for stream in client.finish(*streams):
            assert stream.status == 200 and len(stream.json()['pad']) == 3_000_000


def test_a_slow_reader_holds_back_its_own_stream_only(gateway, provider):
    """Window 0 (FAULTS 24): what a stream does not take is not drawn from the provider; the others go on."""
    sent = []

    def play(connection, request):
        if b'long' not in request.body:
            connection.send(http_answer(chat_answer('quick')))
            return
        event = sse_events(['z' * 1000], usage=False, done=False)[0]
        connection.send(STREAM_HEAD)
        try:
            for _ in range(20000):
                connection.send(chunked(event))
                sent.append(len(event))
        except OSError:
            pass
    relais = gateway(config([provider(serving(play))]))
    with H2Client(relais.data, credit=False) as client:
        stream = client.chat('long', stream=True)
        client.until(lambda: len(stream.body) >= 65535)
        before = -1
        while before != len(sent):  # until the provider is held
            before = len(sent)
            time.sleep(0.3 * SLOW)
        assert sum(sent) < 15_000_000, 'twenty megabytes are not simply buffered'
        client.h2.increment_flow_control_window(10_000_000)  # the connection's credit was used up too
        client.flush()
        assert client.finish(client.chat('short')).status == 200
        client.reset(stream)
        eventually(lambda: relais.access_log(2), 10 * SLOW, 'the end of the one that was reset')
    assert {r['outcome'] for r in relais.access_log(2)} == {'ok', 'left'}


def test_a_stream_that_takes_nothing_is_given_up(gateway, provider):
    """24: after write_idle that stream is reset, and the connection lives on."""
    relais = gateway(config([provider(streamed(sse_events(['w' * 50_000] * 4)))], server={'write_idle': '500ms'}))
    with H2Client(relais.data, window=1000) as client:
        client.credit = False
        stream = client.chat(stream=True)
        client.finish(stream)
        assert stream.reset == CANCEL and len(stream.body) == 1000
        models = client.finish(client.request('HEAD', '/v1/models'))
        assert models.status == 200
    assert {r['outcome'] for r in relais.access_log(2)} == {'left', 'ok'}


def test_a_client_that_leaves_ends_the_work(gateway, provider):
    """RST_STREAM, and the end of the connection: the provider sees its connection close, soon."""
    arrived, left = [], []

    def play(connection, _):
        connection.send(STREAM_HEAD)
        connection.send(chunked(sse_events(['one'])[0]))
        arrived.append(time.monotonic())
        connection.wait_for_peer_to_leave(30)
        left.append(time.monotonic())
    relais = gateway(config([provider(serving(play))]))
    for leave in (lambda c, s: c.reset(s), lambda c, s: c.sock.close()):
        del arrived[:], left[:]
        client = H2Client(relais.data)
        stream = client.chat(stream=True)
        eventually(lambda: arrived, 10 * SLOW, 'the request at the provider')
        start = time.monotonic()
        leave(client, stream)
        eventually(lambda: left, 10 * SLOW, 'the provider was left')
        assert left[0] - start < 0.1 * SLOW + 0.1
        client.sock.close()
    assert [r['outcome'] for r in relais.access_log(2)] == ['left', 'left']


def test_a_break_after_the_commit_point_is_a_reset(gateway, provider):
    def play(connection, _):
        connection.send(STREAM_HEAD)
        connection.send(chunked(sse_events(['one', 'two'])[1]))
        connection.reset()
    relais = gateway(config([provider(serving(play))]))
    with H2Client(relais.data) as client:
        stream = client.finish(client.chat(stream=True))
        assert stream.status == 200 and stream.reset == INTERNAL_ERROR and not stream.ended
        assert b'"error"' in stream.body and b'[DONE]' not in stream.body
        assert client.finish(client.request('GET', '/v1/models')).status == 200


def test_early_answers(gateway, provider):
    """To a body that has not been read: the answer, then RST_STREAM (NO_ERROR); the connection goes on."""
    relais = gateway(config([provider(good())], server={'max_body': '1KiB'}))
    with H2Client(relais.data) as client:
        stream = client.open('POST', CHAT, [('content-type', 'application/json'), ('content-length', '100000')], end=False)
        client.until(lambda: stream.reset is not None)
        assert stream.status == 413 and stream.json()['error'] and stream.ended and stream.reset == NO_ERROR
        unsized = client.open('POST', CHAT, [('content-type', 'application/json')], end=False)
        client.data(unsized, b'{' + b' ' * 4000)
        client.until(lambda: unsized.reset is not None)
        assert unsized.status == 413 and unsized.reset == NO_ERROR
        assert client.finish(client.chat()).status == 200


def test_expect_100_continue(gateway, provider):
    relais = gateway(config([provider(good())]))
    with H2Client(relais.data) as client:
        head = [('content-type', 'application/json'), ('content-length', str(len(BODY))), ('expect', '100-continue')]
        stream = client.open('POST', CHAT, head, end=False)
        client.until(lambda: stream.informational == ['100'])
        client.data(stream, BODY, end=True)
        assert client.finish(stream).status == 200
        for method, size in (('POST', True), ('HEAD', False)):
            other = client.finish(client.open(method, CHAT, [('expect', 'more')]))
            assert other.status == 417 and bool(other.body) is size


def test_trailers_are_ignored(gateway, provider):
    relais = gateway(config([provider(good())]))
    with H2Client(relais.data) as client:
        stream = client.open('POST', CHAT, [('content-type', 'application/json')], end=False)
        client.data(stream, BODY)
        client.h2.send_headers(stream.id, [('x-late', '1'), ('authorization', 'Bearer x')], end_stream=True)
        client.flush()
        assert client.finish(stream).status == 200


def test_slow_bodies_and_idle_connections(gateway, provider):
    relais = gateway(config([provider(good())], server={
        'body_idle': f'{1000 * SLOW:.0f}ms', 'keepalive': f'{2000 * SLOW:.0f}ms', 'header_timeout': f'{2000 * SLOW:.0f}ms'}))
    with H2Client(relais.data) as client:
        stream = client.open('POST', CHAT, [('content-type', 'application/json')], end=False)
        client.data(stream, BODY[:10])
        client.until(lambda: stream.ended)
        assert stream.status == 408 and stream.json()['error']
        client.wait_closed()
        assert client.goaways == [(NO_ERROR, 1)]
    with Raw(relais.data, preface=PREFACE[:10]) as half:  # and the first head has its own time
        assert half.goaway() is None


def test_drain_finishes_what_runs(gateway, provider):
    """SIGTERM: two GOAWAYs, what runs is finished, and a request that was on its way before the second is served."""
    go_on = threading.Event()

    def play(connection, request):
        connection.send(STREAM_HEAD)
        connection.send(chunked(sse_events(['one'])[0]))
        connection.send(chunked(sse_events(['one'])[1]))
        assert go_on.wait(60)
        for event in sse_events(['one'])[2:]:
            connection.send(chunked(event))
        connection.send(chunked(b''))
    relais = gateway(config([provider(serving(play))]))
    with Raw(relais.data) as client, Raw(relais.data) as idle:  # python3-h2 reads nothing behind a GOAWAY
        idle.headers(1, method='GET', path='/v1/models')
        assert idle.outcome(1) == ('answer', 200)
        client.send(frame(HEADERS, END_HEADERS, 1, client.head(('content-type', 'application/json'))))
        client.send(frame(DATA, END_STREAM, 1, b'{"model":"assistant","stream":true,"messages":[]}'))
        client.read(lambda kind, *_: kind == DATA)
        relais.signal(15)
        notice = client.read(lambda kind, *_: kind == GOAWAY)[3]
        client.headers(3, method='GET', path='/v1/models')
        ping = client.first(PING)
        client.send(frame(PING, ACK, 0, ping))
        last = client.read(lambda kind, *_: kind == GOAWAY)[3]
        assert notice == b'\x7f\xff\xff\xff' + bytes(4) and last == b'\0\0\0\x03' + bytes(4)
        client.headers(5, method='GET', path='/v1/models')  # too late: not even looked at
        ping = idle.first(PING)
        idle.send(frame(PING, ACK, 0, ping))
        assert idle.read() is None and [f[0] for f in idle.frames].count(GOAWAY) == 2
        go_on.set()
        client.read()
        ended = {number for kind, flags, number, _ in client.frames if kind in (DATA, HEADERS) and flags & END_STREAM}
        assert ended == {1, 3}
        body = b''.join(payload for kind, _, number, payload in client.frames if kind == DATA and number == 1)
        assert body.rstrip().endswith(b'[DONE]')
    assert relais.wait() == 0


def test_switched_off(gateway, provider):
    relais = gateway(config([provider(good())], server={'http2': {'enabled': False}}))
    answer = raw(*relais.data, PREFACE).data
    assert answer.startswith(b'HTTP/1.1 505 ') or answer.startswith(b'HTTP/1.1 400 ')
    assert relais.chat().status == 200


def test_over_tls(gateway, provider, certificates):
    """Where client and server agree on it (ALPN); a client that offers HTTP/1.1 gets that, and h2 is offered only if it is on."""
    certificate, key = certificates.make()
    listen = {'address': '127.0.0.1:0', 'tls': {'certificate': certificate, 'key': key}}
    relais = gateway(config([provider(good('secret'))], server={'listen': listen, 'hsts': '1d'}))
    context = certificates.client_context()
    context.set_alpn_protocols(['h2', 'http/1.1'])
    with H2Client(relais.data, tls=context) as client:
        answers = client.finish(*[client.chat('a' * size) for size in (1, 20_000, 200_000)])
        assert {a.status for a in answers} == {200} and answers[0].headers['strict-transport-security'] == 'max-age=86400'
    for offer in (['http/1.1'], ['h2']):
        one = certificates.client_context()
        one.set_alpn_protocols(offer)
        with socket.create_connection(relais.data) as sock, one.wrap_socket(sock, server_hostname='localhost') as tls:
            assert tls.selected_alpn_protocol() == offer[0]
    bad = certificates.client_context()
    bad.set_alpn_protocols(['h2'])
    with socket.create_connection(relais.data) as sock, bad.wrap_socket(sock, server_hostname='localhost') as tls:
        tls.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')  # agreed on, and not kept to
        tls.settimeout(30 * SLOW)
        assert b'\0\0\0\1' in b''.join(iter(lambda: tls.recv(4096), b''))
    off = gateway(config([provider(good())], server={'listen': listen, 'http2': {'enabled': False}}))
    with socket.create_connection(off.data) as sock, context.wrap_socket(sock, server_hostname='localhost') as tls:
        assert tls.selected_alpn_protocol() == 'http/1.1'


def test_the_simulator_speaks_it_too(sim):
    simulated = sim()
    with H2Client(('127.0.0.1', simulated.port)) as client:
        answer = client.finish(client.chat('one two', model='sim'))
        assert answer.status == 200 and answer.json()['choices']
        stream = client.finish(client.chat('one two', model='sim', stream=True))
        assert stream.ended and b'[DONE]' in stream.body


@pytest.mark.skipif(not shutil.which('h2load'), reason='h2load is not installed')
def test_h2load(gateway, provider):
    relais = gateway(config([provider(whole('fine'))]))
    out = subprocess.run(['h2load', '-n', '2000', '-c', '4', '-m', '50', f'http://{relais.data[0]}:{relais.data[1]}/v1/models'],
                         capture_output=True, text=True, timeout=120)
    assert 'requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed' in out.stdout, out.stdout
    assert CALM  # the gateway took none of it for an attack
