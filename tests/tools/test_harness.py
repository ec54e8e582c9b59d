# SPDX-License-Identifier: Apache-2.0
"""The harness against itself, without relais: what its client accepts, refuses and measures, and what its scripted
provider does. A whole-program test can only be believed as far as these hold."""
import socket
import time

import pytest

import harness
from harness import Client, HttpError, RawServer, SseParser, chunked, http_answer, raw


def ask(answer, method='GET', within_s=5):
    with RawServer(lambda c: (c.read_request(), c.send(answer))) as server:
        with Client(server.host, server.port, within_s=within_s) as client:
            return client.request(method, '/x')


def test_length_framing_and_raw_bytes():
    reply = ask(http_answer(b'{"a":1}', headers=[('X-One', 'a'), ('x-one', 'b')]))
    assert (reply.status, reply.reason, reply.ended) == (200, 'OK', 'length')
    assert reply.json() == {'a': 1}
    assert reply.header('X-ONE') == 'a, b'
    assert reply.raw == http_answer(b'{"a":1}', headers=[('X-One', 'a'), ('x-one', 'b')])


def test_chunked_framing_with_trailers():
    reply = ask(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' + chunked(b'abc') + chunked(b'd' * 300)
                + b'0\r\nx-t: 1\r\n\r\n')
    assert reply.body == b'abc' + b'd' * 300
    assert reply.trailers == [('x-t', '1')]
    assert reply.ended == 'chunked'


def test_close_delimited_and_empty_answers():
    assert ask(b'HTTP/1.0 200 OK\r\n\r\nto the end').body == b'to the end'
    assert ask(b'HTTP/1.1 204 No Content\r\n\r\n').ended == 'none'
    assert ask(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n', 'HEAD').body == b''


def test_interim_answers_are_passed_over():
    reply = ask(b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n' + http_answer(b'{}'))
    assert reply.status == 200
    assert [i.status for i in reply.interim] == [100, 103]


@pytest.mark.parametrize('answer, why', [
    (b'', 'closed before'),
    (b'HTTP/1.1 200 OK\r\nContent-Len', 'inside a line'),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc', '2 bytes early'),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab', '3 bytes early'),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n', 'inside a line'),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n', 'no line end'),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n', 'both'),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc', 'bad Content-Length'),
    (b'hello\r\n\r\n', 'no status line'),
    (b'HTTP/1.1 200 OK\r\nno colon\r\n\r\n', 'no header line'),
])
def test_broken_answers_are_refused(answer, why):
    with pytest.raises(HttpError, match=why):
        ask(answer)


def test_a_silent_provider_ends_in_time():
    started = time.monotonic()
    with RawServer(lambda c: (c.read_request(), c.wait_for_peer_to_leave())) as server:
        with Client(server.host, server.port, within_s=0.3) as client, pytest.raises(HttpError, match='time is up'):
            client.request('GET', '/x')
    assert time.monotonic() - started < 3


def test_requests_are_seen_whole_and_pipelined():
    with RawServer(http_answer(b'{}')) as server:
        with Client(server.host, server.port) as client:
            client.send('POST', '/a', {'k': 'v'})
            client.send('POST', '/b', b'x' * 100000)
            assert client.read_reply().status == 200
            assert client.read_reply().status == 200
        first, second = server.requests
    assert first.line == 'POST /a HTTP/1.1' and first.body == b'{"k": "v"}'
    assert second.body == b'x' * 100000


def test_arrival_times_of_a_stream():
    def script(connection):
        connection.read_request()
        connection.send(harness.STREAM_HEAD)
        for event in harness.sse_events(['a', 'b'], usage=False):
            connection.send(chunked(event))
            time.sleep(0.05)
        connection.send(chunked(b''))
    with RawServer(script) as server, Client(server.host, server.port) as client:
        reply, events = client.events('POST', '/v1/chat/completions', {})
        events = list(events)
    assert events[-1].data == '[DONE]'
    gaps = [b.at_s - a.at_s for a, b in zip(events, events[1:])]
    assert all(0.03 < g < 2 for g in gaps), gaps
    assert reply.stream_text() == 'ab'


def test_events_are_the_same_however_they_are_cut():
    text = ('data: one\n\n: note\n\nevent: x\r\ndata: two\r\ndata:three\r\n\r\ndata\r\rid: 4\ndata: \u00e9\n\n').encode()

    def parse(pieces):
        parser = SseParser()
        found = [e for p in pieces for e in parser.push(p)] + parser.close()
        return [(e.data, e.event, e.id, e.comment) for e in found]
    whole = parse([text])
    assert whole == [('one', None, None, None), (None, None, None, 'note'), ('two\nthree', 'x', None, None),
                     ('', None, None, None), ('\u00e9', None, '4', None)]
    for cut in range(len(text)):
        assert parse([text[:cut], text[cut:]]) == whole, cut
    assert parse([text[i:i + 1] for i in range(len(text))]) == whole


def test_a_reset_is_told_from_a_close():
    with RawServer(lambda c: (c.read_request(), c.reset())) as server:
        received = raw(server.host, server.port, b'GET / HTTP/1.1\r\n\r\n')
    assert received.reset and received.closed
    with RawServer(lambda c: c.read_request()) as server:
        received = raw(server.host, server.port, b'GET / HTTP/1.1\r\n\r\n')
    assert received.closed and not received.reset


def test_the_provider_sees_its_peer_leave():
    left = []
    with RawServer(lambda c: (c.read_request(), left.append(c.wait_for_peer_to_leave()))) as server:
        client = Client(server.host, server.port)
        client.send('GET', '/x')
        harness.eventually(lambda: server.requests)
        client.close()
        harness.eventually(lambda: left)
    assert left == [True]


def test_a_script_that_fails_fails_the_test():
    def script(connection):
        connection.read_request()
        raise ValueError('a mistake')
    with pytest.raises(AssertionError, match='a mistake'):
        with RawServer(script) as server:
            raw(server.host, server.port, b'GET / HTTP/1.1\r\n\r\n')


def test_certificates(tmp_path):
    made = harness.Certificates(str(tmp_path))
    with RawServer(http_answer(b'{}'), tls=made.server_context()) as server:
        with Client(server.host, server.port, tls=made.client_context()) as client:
            assert client.get('/').status == 200
    for bad in ({'expired': True}, {'self_signed': True}, {'names': ['other.example']}):
        with RawServer(http_answer(b'{}'), tls=made.server_context(**bad)) as server:
            with pytest.raises(harness.ssl.SSLCertVerificationError):
                Client(server.host, server.port, tls=made.client_context())


def test_nobody_listens_on_a_free_port():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', harness.free_port()), timeout=2)


def test_metrics_are_read():
    assert harness.parse_metrics('# HELP a b\na 1\nb{x="y z"} 2.5\n') == {'a': 1.0, 'b{x="y z"}': 2.5}
    with pytest.raises(AssertionError):
        harness.parse_metrics('a 1\na 2\n')
