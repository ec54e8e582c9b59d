# SPDX-License-Identifier: Apache-2.0
"""FAULTS E, cases 42 and 43: the limit of one body, the budget of all bodies, compressed bodies, giant but lawful ones.
Sizes are what an attacker sends; memory is what the gateway keeps of it."""
import gzip
import json
import random
import signal
import socket
import threading
import time
import zlib

import pytest

from harness import SLOW, WAIT_S, chat_answer, chunked, eventually, http_answer, read_socket
from hostile import GOOD, Siege, answer_status, post, raw
from kit import MEMORY, config, serving
from test_json_bodies import Echo

MIB = 1 << 20
LIMIT = 256 * 1024


def padded(size, model=b'h/m'):
    """A good request of exactly so many bytes."""
    head, tail = b'{"model":"%s","messages":[],"pad":"' % model, b'"}'
    return head + b'x' * (size - len(head) - len(tail)) + tail


def head(*lines):
    return post(*lines, body=b'', length=False)[:-2] + b'\r\n'


def coded(body, piece, *lines):
    return head(b'Transfer-Encoding: chunked', *lines) + \
        b''.join(chunked(body[i:i + piece]) for i in range(0, len(body), piece)) + chunked(b'')


def test_the_limit_of_a_body():
    """42: at the limit it passes, one byte past it is 413, however it is framed and however it comes."""
    echo = Echo()
    with Siege(echo, server={'max_body': '256KiB'}) as siege:
        for size, status in ((LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413), (LIMIT + 70000, 413)):
            body = padded(size)
            for data in (post(body=body), coded(body, 1000), coded(body, size), coded(body, 65536)):
                received = raw(*siege.relais.data, data)
                assert answer_status(received.data) == status, (size, received.data[:300])
                assert received.closed
                if status == 413:
                    assert b'"request_too_large"' in received.data
        assert len(echo.bodies) == 8 and all(len(b) in (LIMIT - 3, LIMIT - 2) for b in echo.bodies)
        siege.expect_logged = 16


@pytest.mark.parametrize('length', [2 ** 40, 2 ** 62, 9223372036854775807])
def test_a_declared_giant_and_then_silence(length):
    """42: refused by its head alone; nothing is waited for and nothing allocated."""
    with Siege() as siege:
        before = siege.relais.memory_kib()
        for _ in range(50):
            received = raw(*siege.relais.data, head(b'Content-Length: %d' % length), within_s=2 * SLOW)
            assert answer_status(received.data) == 413 and received.closed
        assert siege.relais.memory_kib() - before < 4096 * SLOW
        siege.expect_logged = 50


def test_chunks_without_end():
    """42: ten gigabytes in chunks stop at the limit: 413, an end of the connection, and memory of one body at most."""
    with Siege(server={'max_body': '1MiB'}) as siege:
        before = siege.relais.memory_kib()
        with socket.create_connection(siege.relais.data, timeout=10 * SLOW) as sock:
            sock.sendall(head(b'Transfer-Encoding: chunked') + b'2800000000\r\n{"x":"')
            taken, piece = 0, b'y' * 65536
            try:
                while taken < 200 * MIB:
                    sock.sendall(piece)
                    taken += len(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            received = read_socket(sock, within_s=5 * SLOW)
        assert received.closed and taken < 50 * MIB, taken
        assert not received.data or answer_status(received.data) == 413
        assert siege.relais.memory_kib() - before < 8192 * SLOW
        siege.expect_logged = 1
    assert [r['status'] for r in siege.hostile_log()] == [413]


def test_ten_megabytes_of_digits():
    """40: a number has no bound but the body's; it goes on as it came."""
    echo = Echo()
    with Siege(echo, server={'max_body': '11MiB'}) as siege:
        digits = b'7' * (10 * MIB)
        started = time.monotonic()
        for value in (digits, b'-0.' + digits, b'1e' + digits):
            body = b'{"model":"h/m","x":' + value + b',"messages":[]}'
            assert siege.ask(body).status == 200
            assert echo.bodies.pop() == body.replace(b'"h/m"', b'"m"', 1)
        assert time.monotonic() - started < 5 * SLOW
        siege.expect_logged = 3


def test_giants_that_are_lawful():
    """42: a million messages, 100,000 tools, a data URL of 20 MB."""
    echo = Echo()
    bodies = [b'{"model":"h/m","messages":[' + b','.join([b'{}'] * 1_000_000) + b']}',
              b'{"model":"h/m","messages":[],"tools":[' + b','.join([b'{"type":"function"}'] * 100_000) + b']}',
              b'{"model":"h/m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:'
              b'image/png;base64,' + b'A' * (20 * MIB) + b'"}}]}]}']
    with Siege(echo, server={'max_body': '24MiB'}) as siege:
        for body in bodies:
            assert siege.ask(body).status == 200
            assert echo.bodies.pop() == body.replace(b'"h/m"', b'"m"', 1)
        siege.expect_logged = 3


# --- compressed bodies -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('codings, status', [
    (['br'], 415), (['zstd'], 415), (['compress'], 415), (['gzip2'], 415), (['gzip;q=1'], 415), (['"gzip"'], 415),
    (['gzip, gzip'], 400), (['gzip', 'gzip'], 400), (['identity, gzip'], 400), (['gzip', 'identity'], 400), (['gzip,'], 400)])
def test_codings_that_are_not_taken(codings, status):
    """43: by the head alone, with no 100 before: no bomb is ever opened."""
    with Siege(canary=False) as siege:
        lines = [b'Content-Encoding: ' + c.encode() for c in codings]
        received = raw(*siege.relais.data, head(b'Expect: 100-continue', *lines, b'Content-Length: 1000000'))
        assert answer_status(received.data) == status and b'content_encoding' in received.data
        assert (b'accept-encoding: gzip, deflate\r\n' in received.data) == (status == 415)
        assert not siege.provider.requests


def gzipped(data, level=9):
    return gzip.compress(data, level)


def raw_deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


PACKERS = {'gzip': gzipped, 'x-gzip': gzipped, 'GZIP': gzipped, 'deflate': zlib.compress, 'Deflate': raw_deflated,
           'identity': bytes}


@pytest.mark.parametrize('coding', PACKERS)
def test_compressed_bodies_are_unpacked(coding):
    """43: at once, in chunks, byte by byte, in several members: the provider gets the body itself, and only that."""
    echo = Echo()
    body = padded(300000)
    packed = PACKERS[coding](body)
    line = b'Content-Encoding: ' + coding.encode()
    with Siege(echo) as siege:
        whole = post(line, body=packed)
        bodies = [[whole], [whole[i:i + 997] for i in range(0, len(whole), 997)],
                  [coded(packed, 50, line)]]
        small = post(line, body=PACKERS[coding](padded(100)))
        bodies.append([small[i:i + 1] for i in range(len(small))])
        if coding == 'gzip':
            bodies.append([post(line, body=gzipped(body[:1000]) + gzipped(body[1000:]))])
        for pieces in bodies:
            received = raw(*siege.relais.data, pieces=pieces)
            assert answer_status(received.data) == 200, received.data[:300]
            wanted = padded(100) if pieces is bodies[3] else body
            assert echo.bodies.pop() == wanted.replace(b'"h/m"', b'"m"', 1)
        siege.expect_logged = len(bodies)
    assert {r['bytes_in'] for r in siege.hostile_log()} >= {len(packed)}


BODY = padded(2000)
TORN = {
    'nothing': b'', 'cut in the head': gzipped(BODY)[:5], 'cut in the body': gzipped(BODY)[:-20],
    'cut in the check': gzipped(BODY)[:-3], 'wrong check': gzipped(BODY)[:-8] + b'\0' * 8, 'wrong magic': b'\x1f\x8c' + gzipped(BODY)[2:],
    'wrong method': b'\x1f\x8b\x07' + gzipped(BODY)[3:], 'not packed at all': BODY, 'zlib called gzip': zlib.compress(BODY),
    'rubbish behind it': gzipped(BODY) + b'rubbish', 'packed twice': gzipped(gzipped(BODY)),
    'a flipped bit': gzipped(BODY)[:40] + bytes([gzipped(BODY)[40] ^ 4]) + gzipped(BODY)[41:]}


@pytest.mark.parametrize('name', TORN)
def test_bodies_that_cannot_be_unpacked(name):
    with Siege() as siege:
        for pieces in ([post(b'Content-Encoding: gzip', body=TORN[name])],
                       [coded(TORN[name], 7, b'Content-Encoding: gzip')]):
            received = raw(*siege.relais.data, pieces=pieces)
            assert answer_status(received.data) == 400, (name, received.data[:300])
        assert not siege.provider.requests
        siege.expect_logged = 2


def bomb(size):
    """Few bytes that unpack to size spaces around a request."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block, out = b' ' * (1 << 20), [packer.compress(b'{"model":"h/m","messages":[]')]
    for _ in range(size >> 20):
        out.append(packer.compress(block))
    return b''.join(out) + packer.compress(b'}') + packer.flush()


@pytest.mark.parametrize('size', [9 << 20, 11 << 20, 1 << 30])
def test_bombs(size):
    """43: a thousand to one is refused before it fills the memory; the polite one does not feel it."""
    packed = bomb(size)
    with Siege() as siege:
        before = siege.relais.memory_kib()
        for framing in (post(b'Content-Encoding: gzip', body=packed), coded(packed, 500, b'Content-Encoding: gzip')):
            received = raw(*siege.relais.data, framing)
            assert answer_status(received.data) == 413 and b'request_too_large' in received.data, received.data[:300]
        assert siege.relais.memory_kib() - before < 24 * 1024 * MEMORY
        assert not siege.provider.requests


def test_the_limit_holds_for_what_is_unpacked():
    """One byte below, at and above server.max_body, of a body that packs well but is no bomb."""
    echo = Echo()
    with Siege(echo, server={'max_body': 100000}) as siege:
        for size, status in ((99999, 200), (100000, 200), (100001, 413)):
            received = raw(*siege.relais.data, post(b'Content-Encoding: gzip', body=gzipped(padded(size))))
            assert answer_status(received.data) == status, size
        siege.expect_logged = 3


def test_packed_bodies_share_the_budget():
    """Many that unpack to ten megabytes each, at once: the memory is that of the budget, and all are answered."""
    echo = Echo()
    noise = random.Random(5).randbytes(1 << 20).hex().encode()  # twice, so that it packs
    body = b'{"model":"h/m","messages":[{"role":"user","content":"' + noise * 4 + b'"}]}'
    packed = gzipped(body, 1)
    with Siege(echo, server={'body_memory': '16MiB', 'max_body': '10MiB'}) as siege:
        before = siege.relais.memory_kib()
        threads, statuses = [], []

        def ask():
            received = raw(*siege.relais.data, post(b'Content-Encoding: gzip', body=packed), within_s=30 * SLOW)
            statuses.append(answer_status(received.data))

        for _ in range(12):
            threads.append(threading.Thread(target=ask))
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {200, 503} and 200 in statuses, statuses
        assert siege.relais.memory_kib() - before < (16 + 3 * 10) * 1024 * MEMORY


@pytest.mark.parametrize('media', ['', 'text/plain', 'application/jsonp', 'application/x-www-form-urlencoded',
                                   'multipart/form-data; boundary=x', 'text/json', 'application/json-patch+json'])
def test_other_media_types_are_refused(media):
    """What a web page can send without asking first is never taken for JSON."""
    with Siege(canary=False) as siege:
        assert siege.ask(b'{}', [('Content-Type', media)]).status == 415
        assert siege.ask(padded(100), [('Content-Type', 'Application/JSON; charset=utf-8')]).status == 200


# --- server.body_memory ----------------------------------------------------------------------------------------------

BUDGET = {'max_body': '1MiB', 'body_memory': '8MiB'}


def open_body(siege, size, sent):
    """A request whose body stops after so many bytes."""
    sock = socket.create_connection(siege.relais.data, timeout=20 * SLOW)
    body = padded(size)
    try:
        sock.settimeout(1)
        sock.sendall(post(body=body)[:-size] + body[:sent])
    except OSError:
        pass  # not read: that is the point
    return sock, body[sent:]


def test_the_budget_of_all_bodies():
    """42: bodies that would not fit wait, then get 503 with Retry-After; small ones pass all the while."""
    with Siege(server=BUDGET) as siege:
        before = siege.relais.memory_kib()
        socks = [open_body(siege, MIB - 1, MIB - 10)[0] for _ in range(30)]
        statuses = []
        end = time.monotonic() + 12 * SLOW
        for sock in socks:
            sock.settimeout(0.2)
        waiting = dict(enumerate(socks))
        while time.monotonic() < end and len(statuses) < 15:
            for number, sock in list(waiting.items()):
                try:
                    data = sock.recv(65536)
                except socket.timeout:
                    continue
                except ConnectionResetError:
                    data = b''
                statuses.append((answer_status(data), b'retry-after: 1' in data.lower(), b'gateway_overloaded' in data))
                del waiting[number]
        assert siege.relais.memory_kib() - before < 20 * 1024 * SLOW
        assert statuses and set(statuses) == {(503, True, True)}, statuses
        assert len(waiting) >= 3, 'those that fitted are still welcome'
        for sock in socks:
            sock.close()
        # And it resumes.
        eventually(lambda: siege.ask(padded(MIB - 1)).status == 200, WAIT_S)
    assert {r['status'] for r in siege.hostile_log()} <= {503, 200, None}


def test_declared_lengths_take_nothing_from_others():
    """Heads that announce much and send nothing fill no budget: who sends is served at once."""
    with Siege(server=BUDGET) as siege:
        socks = [open_body(siege, MIB - 1, 0)[0] for _ in range(100)]
        for _ in range(5):
            started = time.monotonic()
            assert siege.ask(padded(MIB - 1)).status == 200
            assert time.monotonic() - started < 1 * SLOW
        for sock in socks:
            sock.close()


def test_many_at_once_are_all_served():
    """More bodies than fit come at the same time, in good faith: they wait for each other, and none is refused."""
    with Siege(server=BUDGET) as siege:
        found = []

        def one():
            found.append(siege.ask(padded(MIB - 1), within_s=20 * SLOW).status)
        threads = [threading.Thread(target=one) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30 * SLOW)
        assert found == [200] * 24, found
        siege.expect_logged = 24


def test_nobody_waits_for_the_unpacking_of_another_body(gateway, provider):
    """4 MiB from one read are unpacked in slices: a request that came after it overtakes it."""
    def play(connection, request):
        connection.send(http_answer(chat_answer()))
        return False  # each call has a connection of its own, and their order is that of the calls
    a = provider(serving(play))
    relais = gateway(config([a], server={'workers': 1, 'max_body': '16MiB'}))
    chance = random.Random(7)
    messages = [{'role': 'user', 'content': f'{chance.getrandbits(8):x}' + 'x' * 990} for _ in range(4000)]
    body = json.dumps({'model': 'assistant', 'messages': messages}).encode()
    packed = gzipped(body)
    assert len(packed) < 64000 and len(body) > 4_000_000 and len(body) / len(packed) < 190
    with relais.client() as first, relais.client() as second:
        for _ in range(3):
            assert first.get('/health').status == second.get('/health').status == 200
            relais.signal(signal.SIGSTOP)  # it finds both at once, in this order
            try:
                first.send('POST', '/v1/chat/completions', packed, [('Content-Type', 'application/json'), ('Content-Encoding', 'gzip')])
                second.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
            finally:
                relais.signal(signal.SIGCONT)
            assert second.read_reply().status == 200 and first.read_reply().status == 200
            sizes = [len(c.requests[0].body) for c in a.connections[-2:]]
            assert sizes[0] < sizes[1]
