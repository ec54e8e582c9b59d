# SPDX-License-Identifier: Apache-2.0
"""FAULTS E, cases 42 and 43: the limit of one body, the budget of all bodies, compressed bodies, giant but lawful ones.
Sizes are what an attacker sends; memory is what the gateway keeps of it."""
import json
import socket
import threading
import time

import pytest

from harness import SLOW, WAIT_S, chunked, eventually, raw, read_socket
from hostile import GOOD, Siege, answer_status, post
from test_json_bodies import Echo

MIB = 1 << 20
LIMIT = 256 * 1024


def padded(size, model=b'h/m'):
    """A good request of exactly so many bytes."""
    head, tail = b'{"model":"%s","messages":[],"pad":"' % model, b'"}'
    return head + b'x' * (size - len(head) - len(tail)) + tail


def head(*lines):
    return post(*lines, body=b'', length=False)[:-2] + b'\r\n'


def coded(body, piece):
    return head(b'Transfer-Encoding: chunked') + \
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


@pytest.mark.parametrize('coding', ['gzip', 'deflate', 'br', 'zstd', 'gzip, gzip', 'x-gzip', 'identity, gzip'])
def test_compressed_bodies_are_refused(coding):
    """43: 415 by the head alone: no bomb is ever opened."""
    with Siege(canary=False) as siege:
        received = raw(*siege.relais.data, head(b'Content-Encoding: ' + coding.encode(), b'Content-Length: 1000000'))
        assert answer_status(received.data) == 415 and b'unsupported_content_encoding' in received.data
        assert not siege.provider.requests


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
