# SPDX-License-Identifier: Apache-2.0
"""FAULTS B, cases 18 to 27, by raw frames: HTTP/2 clients that break the rules, or keep them in bad faith. A polite client
over HTTP/1 sings through all of it, and after each case another one over HTTP/2 is served."""
import struct
import time

import pytest

import h2kit
from h2kit import (ACK, CALM, CANCEL, CHAT, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
                   FRAME_SIZE_ERROR, GOAWAY, HEADERS, NO_ERROR, PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
                   REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, H2Client, frame)
from harness import SLOW, STREAM_HEAD, chunked, eventually, sse_events
from hostile import Siege, attacks
from kit import MEMORY

BODY = b'{"model":"h/m","messages":[{"role":"user","content":"hi"}]}'
FRESH = b'\x82\x86\x84\x01\x01a'  # GET http / of "a", without any use of the table
JSON = ('content-type', 'application/json')


class Raw(h2kit.Raw):
    """A connection of an attacker."""

    def __init__(self, *args, **options):
        attacks.note()
        super().__init__(*args, **options)


def polite(siege):
    """One request over HTTP/2 that must be served."""
    with H2Client(siege.relais.data) as client:
        answer = client.finish(client.request('POST', CHAT, {'model': 'h/m', 'messages': []}))
        assert answer.status == 200, answer.body


@pytest.fixture(scope='module')
def besieged():
    """One gateway for all that it must simply refuse; it counts its own records."""
    with Siege() as siege:
        yield siege
        polite(siege)


def window(increment):
    return struct.pack('>I', increment)


# --- 19, 20: resets ---

def test_rapid_reset():
    """19, CVE-2023-44487: open and reset, again and again: ENHANCE_YOUR_CALM soon, and the provider never sees most of them."""
    with Siege(server={'http2': {'max_resets': 50}}) as siege:
        with Raw(siege.relais.data) as raw:
            for i in range(500):
                number = 2 * i + 1
                raw.send(frame(HEADERS, END_HEADERS, number, raw.head(JSON)) + frame(DATA, END_STREAM, number, BODY) +
                         frame(RST_STREAM, 0, number, struct.pack('>I', CANCEL)))
            assert raw.goaway() in (CALM, None)
            assert raw.read() is None
        polite(siege)
        eventually(lambda: len([r for r in siege.log_records() if r['model_asked'] != 'canary']) >= 1, 10 * SLOW, 'records')
        assert len(siege.hostile_log()) <= 52


def test_resets_of_a_few_are_no_attack():
    """A client that changes its mind about less than half of its requests goes on."""
    with Siege(server={'http2': {'max_resets': 5}}) as siege:
        with H2Client(siege.relais.data) as client:
            for _ in range(15):
                leaving = client.request('POST', CHAT, {'model': 'h/m', 'messages': []})
                client.reset(leaving)
                client.finish(*[client.request('POST', CHAT, {'model': 'h/m', 'messages': []}) for _ in range(2)])
            assert not client.goaways


@pytest.mark.parametrize('error', [
    lambda n: frame(WINDOW_UPDATE, 0, n, window(0)),
    lambda n: frame(WINDOW_UPDATE, 0, n, window(2**31 - 1)),
    lambda n: frame(PRIORITY, 0, n, struct.pack('>IB', n, 0)),
    lambda n: frame(DATA, END_STREAM, n, b'x'),
], ids=['window 0', 'window overflow', 'depends on itself', 'data behind the end'])
def test_made_you_reset(error):
    """20, CVE-2025-8671: frames that make the server reset the stream count as resets; where the rules allow it the whole
    connection ends at once."""
    with Siege(server={'http2': {'max_resets': 20}}) as siege:
        with Raw(siege.relais.data) as raw:
            for i in range(200):
                number = 2 * i + 1
                if not raw.send(frame(HEADERS, END_HEADERS | END_STREAM, number, raw.head(JSON, ('content-length', '0'))) + error(number)):
                    break
            assert raw.goaway() in (CALM, PROTOCOL_ERROR, STREAM_CLOSED, FLOW_CONTROL_ERROR)
            assert raw.read() is None
        assert len(siege.hostile_log()) <= 200


# --- 21, 22: heads ---

def test_continuation_flood(besieged):
    """21, CVE-2024-27316: a head of ever more CONTINUATION frames, empty ones too, and one that is larger than allowed."""
    for piece in (b'', b'\x00\x01a\x01b' * 200):
        with Raw(besieged.relais.data) as raw:
            raw.send(frame(HEADERS, 0, 1, raw.head()))
            sent = 0
            for _ in range(3000):
                sent += len(piece)
                if not raw.send(frame(CONTINUATION, 0, 1, piece)):
                    break
            assert raw.goaway() in (CALM, None)
    polite(besieged)


def test_a_head_that_does_not_end():
    """21: HEADERS without END_HEADERS, then silence: not for longer than the time of a head; half a frame is the same."""
    with Siege(server={'header_timeout': '600ms'}) as siege:
        for first in (frame(HEADERS, 0, 1, b'\x82'), frame(HEADERS, END_HEADERS, 1, FRESH + b'\x00\x03x-a\x50' + b'y' * 80)[:50]):
            with Raw(siege.relais.data) as raw:
                start, raw.acknowledges = time.monotonic(), False  # nothing may stand inside a head
                raw.send(first)
                assert raw.goaway() == CALM
                assert 0.5 <= time.monotonic() - start < 5 * SLOW
        polite(siege)


def test_heads_beyond_the_limits(besieged):
    """21: 431 for a list that is too long or has too many fields, however small it was on the wire; the connection lives."""
    with Raw(besieged.relais.data) as raw:
        raw.headers(1, *[(f'x-{i}', 'y') for i in range(300)])
        assert raw.outcome(1) == ('answer', 431)
        # One entry of 3 KiB in the table, named forty times by one byte each.
        big = raw.encoder.encode([(':method', 'GET'), (':scheme', 'http'), (':path', '/'), (':authority', 'a')])
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, big + literal(b'x-bomb', b'z' * 3000) + b'\xbe' * 40))
        assert raw.outcome(3) == ('answer', 431)
        assert raw.alive()
    polite(besieged)


def literal(name, value):
    """A field that goes to the table (RFC 7541 §6.2.1)."""
    return b'\x40' + integer(len(name), 7) + name + integer(len(value), 7) + value


def integer(value, bits):
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out, value = [most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def test_hpack_bombs_take_no_memory():
    """22: a 4 KiB entry named sixteen thousand times in a head, on many connections: memory stays flat."""
    with Siege() as siege:
        bomb = literal(b'x-bomb', b'z' * 4000) + b'\xbe' * 16000
        raws = [Raw(siege.relais.data) for _ in range(20)]
        before = siege.relais.memory_kib()
        for raw in raws:
            for number in (1, 3, 5):
                raw.send(frame(HEADERS, END_HEADERS | END_STREAM, number, FRESH + bomb[:16000]))
        for raw in raws:
            assert raw.outcome(5) == ('answer', 431)
        assert siege.relais.memory_kib() - before < (20 * 64 + 2048) * MEMORY
        for raw in raws:
            raw.sock.close()
        polite(siege)


@pytest.mark.parametrize('block', [
    b'\x80', b'\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f', b'\x3f\xff\xff\xff\xff\xff\xff\x7f', b'\xfe', b'\x3f\xe1\x7f\x82',
    b'\x00\x81\xff\x01a', b'\x00\x84\xff\xff\xff\xff\x01a', b'\x40\x85\xff\xff\xff\xff\xff\x01a', b'\x82\x20',
], ids=['index 0', 'integer overflow', 'size overflow', 'no such entry', 'table too large', 'huffman padding', 'huffman EOS',
        'long padding', 'size change late'])
def test_hpack_errors(besieged, block):
    """22: COMPRESSION_ERROR, of the connection."""
    with Raw(besieged.relais.data) as raw:
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
        assert raw.goaway() == COMPRESSION_ERROR
        assert raw.read() is None


def test_hpack_table_flips(besieged):
    """22: the table's size goes up and down in each head: legal, and harmless."""
    with Raw(besieged.relais.data) as raw:
        for number in range(1, 61, 2):
            raw.encoder.header_table_size = 4096 if number % 4 == 1 else 0
            raw.headers(number, ('x-one', 'two' * 20), method='GET', path='/v1/models')
            assert raw.outcome(number) == ('answer', 200)


# --- 23: floods ---

FLOODS = {
    'ping': frame(PING, 0, 0, b'12345678'),
    'ping ack': frame(PING, ACK, 0, b'12345678'),
    'settings': frame(SETTINGS),
    'settings full': frame(SETTINGS, 0, 0, struct.pack('>HI', 4, 65535) * 10),
    'priority': frame(PRIORITY, 0, 1, struct.pack('>IB', 0, 1)),
    'window': frame(WINDOW_UPDATE, 0, 0, window(1)),
    'unknown': frame(0xbb, 0, 0, b'x'),
    'empty data': frame(DATA, 0, 1),
    'padded empty data': frame(DATA, PADDED, 1, b'\x05' + bytes(5)),
    'goaway': frame(GOAWAY, 0, 0, bytes(8)),
}


@pytest.mark.parametrize('kind', FLOODS)
def test_floods(besieged, kind):
    """23: CVE-2019-9512, -9515, -9518 and their like: ENHANCE_YOUR_CALM after the budget, with bounded memory."""
    with Raw(besieged.relais.data) as raw:
        raw.send(frame(HEADERS, END_HEADERS, 1, raw.head(JSON)))  # a request whose body is still to come
        before = besieged.relais.memory_kib()
        for _ in range(60):
            if not raw.send(FLOODS[kind] * 500):
                break
        assert raw.goaway() in (CALM, None)
        assert raw.read() is None
        assert besieged.relais.memory_kib() - before < 4096 * MEMORY
    polite(besieged)


def test_credit_for_answers_is_no_flood():
    """A client that gives credit back in small coin for a long answer is polite."""
    def script(connection):
        if connection.read_request() is None:
            return
        connection.send(STREAM_HEAD)
        for event in sse_events(['w' * 400] * 1500):
            connection.send(chunked(event))
        connection.send(chunked(b''))
    with Siege(server={'http2': {'max_control_frames': 50}}, script=script) as siege:
        with H2Client(siege.relais.data) as client:
            stream = client.request('POST', CHAT, {'model': 'h/m', 'messages': [], 'stream': True})
            seen = 0
            while not stream.over:
                client.pump(time.monotonic() + 30 * SLOW)
                for piece in stream.pieces[seen:]:
                    if piece and not stream.over:
                        client.sock.sendall(frame(WINDOW_UPDATE, 0, 0, window(1)))
                seen = len(stream.pieces)
            assert stream.ended and not client.goaways and stream.status == 200


# --- 24: slow readers ---

def test_data_dribble():
    """24, CVE-2019-9511, -9517: a hundred streams whose windows are never opened hold a bounded amount, and go in the end."""
    def script(connection):
        if connection.read_request() is None:
            return
        connection.send(STREAM_HEAD)
        try:
            for event in sse_events(['w' * 1000] * 3000):
                connection.send(chunked(event))
            connection.send(chunked(b''))
        except OSError:
            pass
    with Siege(server={'write_idle': '1500ms'}, script=script) as siege:
        with Raw(siege.relais.data, settings=struct.pack('>HI', 4, 1)) as raw:
            body = b'{"model":"h/m","messages":[],"stream":true}'
            for number in range(1, 61, 2):
                raw.send(frame(HEADERS, END_HEADERS, number, raw.head(JSON)) + frame(DATA, END_STREAM, number, body))
            for number in range(1, 61, 2):
                ended = [f for f in raw.frames if f[0] == RST_STREAM and f[2] == number]
                if not ended:
                    raw.read(lambda kind, flags, n, payload, want=number: kind == RST_STREAM and n == want)
            assert {f[3] for f in raw.frames if f[0] == RST_STREAM} == {struct.pack('>I', CANCEL)}
            assert siege.relais.memory_kib() < 100_000 * MEMORY
            assert raw.alive()
        polite_models(siege)


def polite_models(siege):
    with H2Client(siege.relais.data) as client:
        assert client.finish(client.request('GET', '/v1/models')).status == 200


def test_a_client_that_reads_nothing_at_all():
    """24: not even the socket: the connection goes."""
    def script(connection):
        if connection.read_request() is None:
            return
        connection.send(STREAM_HEAD)
        try:
            for event in sse_events(['w' * 50_000] * 400):
                connection.send(chunked(event))
        except OSError:
            pass
    with Siege(server={'write_idle': '1s'}, script=script) as siege:
        with H2Client(siege.relais.data, window=2**31 - 1, receive_buffer=4096) as client:
            client.h2.increment_flow_control_window(2**31 - 1 - 65535)
            client.flush()
            client.request('POST', CHAT, {'model': 'h/m', 'messages': [], 'stream': True})
            eventually(siege.hostile_log, 30 * SLOW, 'it was given up')
        assert siege.hostile_log()[0]['outcome'] == 'left'


# --- 25, 26: what must not be forwarded ---

MALFORMED = {
    'upper case': dict(extra=[('X-Upper', '1')]),
    'connection': dict(extra=[('connection', 'close')]),
    'keep-alive': dict(extra=[('keep-alive', '1')]),
    'proxy-connection': dict(extra=[('proxy-connection', 'x')]),
    'transfer-encoding': dict(extra=[('transfer-encoding', 'chunked')]),
    'upgrade': dict(extra=[('upgrade', 'h2c')]),
    'te': dict(extra=[('te', 'gzip')]),
    'a line end in a value': dict(extra=[('x-a', 'b\r\nx-evil: 1')]),
    'a zero byte in a value': dict(extra=[('x-a', 'b\0c')]),
    'a blank in a name': dict(extra=[('x a', 'b')]),
    'a colon in a name': dict(extra=[('x:a', 'b')]),
    'an empty name': dict(extra=[('', 'b')]),
    'another host': dict(extra=[('host', 'elsewhere.example')]),
    'two lengths': dict(extra=[('content-length', str(len(BODY))), ('content-length', '1')]),
    'a length that is none': dict(extra=[('content-length', '-1')]),
    'too short a body': dict(extra=[('content-length', str(len(BODY) + 1))]),
    'too long a body': dict(extra=[('content-length', str(len(BODY) - 1))]),
    'an empty path': dict(path=''),
    'no path': dict(path=None),
    'a path with a line end': dict(path='/v1/chat/completions\r\nx: y'),
    'a path with a blank': dict(path='/v1/chat/completions HTTP/1.1'),
    'an absolute path': dict(path='http://other/v1/chat/completions'),
    'no scheme': dict(scheme=None),
    'no method': dict(method=None),
    'an empty method': dict(method=''),
    'connect': dict(method='CONNECT'),
    'no host at all': dict(authority=None),
    'a user in the host': dict(authority='user@localhost'),
    'a list as host': dict(authority='a,b'),
    'pseudo-field twice': dict(extra=[(':path', '/v1/models')]),
    'pseudo-field late': dict(extra=[('x-a', 'b'), (':authority', 'x')]),
    'a pseudo-field of answers': dict(extra=[(':status', '200')]),
    'an unknown pseudo-field': dict(extra=[(':evil', '1')]),
}


@pytest.mark.parametrize('what', MALFORMED)
def test_malformed_requests_reach_nobody(besieged, what):
    """25, 26: a stream error, nothing at the provider; the connection goes on."""
    case = dict(MALFORMED[what])
    extra = case.pop('extra', [])
    with Raw(besieged.relais.data) as raw:
        before = len(besieged.provider.requests)
        raw.send(frame(HEADERS, END_HEADERS, 1, raw.head(*([JSON] if not extra or extra[0][0] != ':path' else []), *extra, **case)) +
                 frame(DATA, END_STREAM, 1, BODY))
        assert raw.outcome(1) == ('reset', PROTOCOL_ERROR)
        raw.headers(3, method='GET', path='/v1/models')
        assert raw.outcome(3) == ('answer', 200)
        assert len(besieged.provider.requests) == before


def test_trailers_that_are_none(besieged):
    """26: pseudo-fields in trailers, and trailers that do not end the request."""
    for flags, fields in ((END_HEADERS | END_STREAM, [(':path', '/')]), (END_HEADERS, [('x-a', 'b')])):
        with Raw(besieged.relais.data) as raw:
            raw.send(frame(HEADERS, END_HEADERS, 1, raw.head(JSON)) + frame(DATA, 0, 1, BODY[:5]) +
                     frame(HEADERS, flags, 1, raw.encoder.encode(fields)))
            assert raw.outcome(1) == ('reset', PROTOCOL_ERROR)


# --- 27: streams ---

def test_more_streams_than_allowed():
    """27: beyond max_streams: refused, and the others are served."""
    def script(connection):
        if connection.read_request() is None:
            return
        time.sleep(1)
        connection.send(STREAM_HEAD)
        for event in sse_events(['ok']):
            connection.send(chunked(event))
        connection.send(chunked(b''))
    with Siege(server={'http2': {'max_streams': 3}}, script=script) as siege:
        with Raw(siege.relais.data) as raw:  # before it can know the limit
            body = b'{"model":"h/m","messages":[],"stream":true}'
            for number in (1, 3, 5, 7, 9):
                raw.send(frame(HEADERS, END_HEADERS, number, raw.head(JSON)) + frame(DATA, END_STREAM, number, body))
            outcomes = {}
            raw.read(lambda *_: sum(1 for f in raw.frames if f[0] == RST_STREAM or (f[0] == DATA and f[1] & END_STREAM)) == 5)
            for kind, flags, number, payload in raw.frames:
                if kind == RST_STREAM:
                    outcomes[number] = int.from_bytes(payload, 'big')
                elif kind == DATA and flags & END_STREAM:
                    outcomes[number] = 'answer'
            assert outcomes == {1: 'answer', 3: 'answer', 5: 'answer', 7: REFUSED_STREAM, 9: REFUSED_STREAM}
        with H2Client(siege.relais.data) as client:
            client.until(lambda: client.h2.remote_settings.max_concurrent_streams == 3)


@pytest.mark.parametrize('bad, codes', [
    (lambda r: frame(HEADERS, END_HEADERS | END_STREAM, 2, r.head()), {PROTOCOL_ERROR}),
    (lambda r: frame(HEADERS, END_HEADERS | END_STREAM, 0, r.head()), {PROTOCOL_ERROR}),
    (lambda r: frame(HEADERS, END_HEADERS | END_STREAM, 1, r.head()), {STREAM_CLOSED, PROTOCOL_ERROR}),
    (lambda r: frame(HEADERS, END_HEADERS | END_STREAM, 3, r.head()), {PROTOCOL_ERROR}),
    (lambda r: frame(DATA, 0, 9, b'x'), {PROTOCOL_ERROR, STREAM_CLOSED}),
    (lambda r: frame(DATA, 0, 0, b'x'), {PROTOCOL_ERROR}),
    (lambda r: frame(RST_STREAM, 0, 9, bytes(4)), {PROTOCOL_ERROR}),
    (lambda r: frame(WINDOW_UPDATE, 0, 9, window(1)), {PROTOCOL_ERROR}),
    (lambda r: frame(WINDOW_UPDATE, 0, 0, window(0)), {PROTOCOL_ERROR}),
    (lambda r: frame(WINDOW_UPDATE, 0, 0, window(2**31 - 1)), {FLOW_CONTROL_ERROR}),
    (lambda r: frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), {PROTOCOL_ERROR}),
    (lambda r: frame(CONTINUATION, END_HEADERS, 1, b''), {PROTOCOL_ERROR}),
    (lambda r: frame(PING, 0, 0, b'short'), {FRAME_SIZE_ERROR}),
    (lambda r: frame(SETTINGS, ACK, 0, b'x' * 6), {FRAME_SIZE_ERROR}),
    (lambda r: frame(SETTINGS, 0, 0, struct.pack('>HI', 4, 2**31)), {FLOW_CONTROL_ERROR}),
    (lambda r: frame(SETTINGS, 0, 0, struct.pack('>HI', 5, 1)), {PROTOCOL_ERROR}),
    (lambda r: frame(HEADERS, PADDED | END_HEADERS, 7, b'\xff\x82'), {PROTOCOL_ERROR}),
    (lambda r: frame(0x0, 0, 7, b'x' * 17000), {FRAME_SIZE_ERROR}),
    (lambda r: frame(HEADERS, 0, 7, b'\x82') + frame(PING, 0, 0, bytes(8)), {PROTOCOL_ERROR}),
])
def test_broken_rules_end_the_connection(besieged, bad, codes):
    """18, 27: stream ids that go back or are not the client's, and frames that are not what they say."""
    with Raw(besieged.relais.data) as raw:
        for number in (1, 5):
            raw.headers(number, method='GET', path='/v1/models')
            assert raw.outcome(number) == ('answer', 200)
        raw.send(bad(raw))
        assert raw.goaway() in codes
        assert raw.read() is None


def test_the_last_stream_id(besieged):
    """27: 2^31-1 is a stream like any other; there is none after it."""
    with Raw(besieged.relais.data) as raw:
        raw.headers(2**31 - 1, method='GET', path='/v1/models')
        assert raw.outcome(2**31 - 1) == ('answer', 200)
        raw.headers(1, method='GET', path='/v1/models')
        assert raw.goaway() in (PROTOCOL_ERROR, STREAM_CLOSED, NO_ERROR)
