# SPDX-License-Identifier: Apache-2.0
"""What an attack costs the gateway against what it costs the attacker: less than ten times (FAULTS, "attack amplification").

Memory: how far the peak of resident memory rises while the attack lasts, by the bytes that the attacker sent.
CPU: the gateway's time for one byte of the attack, by its time for one byte of polite chat requests of 1.2 KB that the
same gateway was asked just before. Each attack sends a MiB or more, so that neither a page nor a tick decides.
"""
import json
import os
import re
import select
import socket
import time

import pytest

import h2kit
import harness
from h2kit import CONTINUATION, END_HEADERS, HEADERS, PING, SETTINGS, frame
from harness import SLOW, Client
from hostile import Siege, attacks

pytestmark = pytest.mark.skipif('san' in os.path.basename(harness.BUILD),
                                reason='what sanitizers add is neither the memory nor the time of the gateway')

MIB = 1 << 20
FACTOR_MAX = 10
POLITE = 400
CHAT = b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n'


def cpu_s(process):
    """As Process.cpu_s, but in nanoseconds instead of ticks (clock_getcpuclockid(3))."""
    return time.clock_gettime((~process.pid << 3) | 2)


class Peak:
    """The peak of resident memory since this was made (proc(5), clear_refs)."""

    def __init__(self, process):
        self.pid = process.pid
        with open(f'/proc/{self.pid}/clear_refs', 'w', encoding='ascii') as file:
            file.write('5')
        self.before = self.read()

    def read(self):
        with open(f'/proc/{self.pid}/status', encoding='ascii') as status:
            return int(re.search(r'VmHWM:\s+(\d+) kB', status.read()).group(1)) << 10

    def growth(self):
        return self.read() - self.before


def polite_s(siege):
    """The gateway's time for a byte of polite requests."""
    body = {'model': 'h/m', 'messages': [{'role': 'user', 'content': 'word ' * 220}]}
    with Client(*siege.relais.data) as client:
        size = len(client.head('POST', '/v1/chat/completions', [], json.dumps(body).encode())) + len(json.dumps(body))
        assert 1100 < size < 1400
        for number in range(POLITE + 20):
            if number == 20:
                before = cpu_s(siege.relais)
            assert client.request('POST', '/v1/chat/completions', body).status == 200
        return (cpu_s(siege.relais) - before) / (POLITE * size)


def pour(siege, loads, hold=False):
    """Sends each load on a connection of its own, all at the same time, and throws away what comes back, until the gateway
    closes them all (hold: or has got all of it). The bytes that were sent."""
    left, sent, end = {}, 0, time.monotonic() + 60 * SLOW
    for load in loads:
        attacks.note()
        sock = socket.create_connection(siege.relais.data, timeout=harness.WAIT_S)
        sock.setblocking(False)
        left[sock] = memoryview(load)
    try:
        while left and not (hold and not any(left.values())):
            assert time.monotonic() < end, f'{len(left)} connections still open'
            readable, writable, _ = select.select(list(left), [s for s in left if left[s]], [], 1)
            for sock in writable:
                try:
                    n = sock.send(left[sock][:65536])
                    left[sock], sent = left[sock][n:], sent + n
                except BlockingIOError:
                    pass
                except OSError:
                    sock.close()
                    del left[sock]
            for sock in readable:
                try:
                    over = sock in left and not sock.recv(1 << 18)
                except BlockingIOError:
                    over = False
                except OSError:
                    over = True
                if over:
                    sock.close()
                    del left[sock]
        if hold:
            time.sleep(0.3 * SLOW)  # what stands in the sockets is read, too
    finally:
        for sock in left:
            sock.close()
    return sent


def posts(body, count, at_once=4, lines=b''):
    """A load for pour: requests with this body, one behind the other."""
    one = CHAT + lines + (b'' if b'chunked' in lines else b'Content-Length: %d\r\n' % len(body))
    return [(one + b'\r\n' + body) * (count - 1) + one + b'Connection: close\r\n\r\n' + body] * at_once


def in_turns(siege, loads):
    """Load by load until a MiB is sent: for attacks that soon lose their connection."""
    sent = 0
    while sent < MIB:
        sent += pour(siege, loads)
    return sent


# --- HTTP/1 ---

def tiny_fields(siege):
    fields = b''.join(b'a:%d\r\n' % (i % 10) for i in range(80))
    one = b'GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\n' + fields
    return pour(siege, [(one + b'\r\n') * 700 + one + b'Connection: close\r\n\r\n'] * 4)


def too_many_fields(siege):
    return in_turns(siege, [b'GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\n' + b'a:b\r\n' * 3000 + b'\r\n'] * 20)


def unfinished_heads(siege):
    return pour(siege, [b'GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\n' + b'a:b\r\n' * 80] * 10 +
                [b'GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ' + b'x' * 12000] * 100, hold=True)


def long_fields(siege):
    one = b'GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ' + b'x' * 7000
    return pour(siege, [(one + b'\r\n\r\n') * 60 + one + b'\r\nConnection: close\r\n\r\n'] * 4)


def one_byte_chunks(siege):
    return pour(siege, posts(b'1\r\n \r\n' * 60000 + b'0\r\n\r\n', 1, lines=b'Transfer-Encoding: chunked\r\n'))


def chunk_extensions(siege):
    return in_turns(siege, posts(b'1;a=b\r\n \r\n' * 60000 + b'0\r\n\r\n', 1, lines=b'Transfer-Encoding: chunked\r\n'))


# --- bodies ---

def in_body(what, count):
    return b'{"model":"h/m","messages":[{"role":"user","content":"hi"}],' + what + b'}', count


def nested(siege):
    body, count = in_body(b'"x":' + b'[' * 90 + b']' * 90, 1200)
    deep, _ = in_body(b'"x":' + b'[' * 100_000 + b']' * 100_000, 1)
    return pour(siege, posts(body, count)) + pour(siege, posts(deep, 2))


def many_members(siege):
    body, count = in_body(b','.join(b'"%x":1' % i for i in range(50000)), 1)
    same, _ = in_body(b','.join([b'"":1'] * 100_000), 1)
    return pour(siege, posts(body, count)) + pour(siege, posts(same, 1))


def many_values(siege):
    body, count = in_body(b'"x":[' + b','.join([b'1'] * 400_000) + b']', 2)
    return pour(siege, posts(body, count))


def tiny_parts_of_a_form(siege):
    head = b'POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n'
    body = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nh/m\r\n' + \
        b'--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n' * 8000 + b'--b--\r\n'
    return in_turns(siege, [head + b'Connection: close\r\nContent-Length: %d\r\n\r\n' % len(body) + body] * 4)


# --- translated ---

def translated(what):
    body = b'{"model":"t/m","max_tokens":9,' + what + b'}'
    return lambda siege: pour(siege, posts(body, 1))


CONTENT_PARTS = b'"messages":[{"role":"user","content":[' + b','.join([b'{"type":"text","text":"a"}'] * 40000) + b']}]'
MESSAGES = b'"messages":[' + b','.join([b'{"role":"user","content":"a"}'] * 40000) + b']'
STOPS = b'"messages":[{"role":"user","content":"a"}],"stop":[' + b','.join([b'"a"'] * 200_000) + b']'
TOOLS = b'"messages":[{"role":"user","content":"a"}],"tools":[' + \
    b','.join([b'{"type":"function","function":{"name":"a"}}'] * 30000) + b']'
CALLS = b'"messages":[{"role":"assistant","tool_calls":[' + \
    b','.join([b'{"id":"a","type":"function","function":{"name":"a","arguments":"{}"}}'] * 15000) + b']}]'


# --- HTTP/2 ---

def on_http2(kind):
    """frames(raw) gives pieces; they are sent on connection after connection until a MiB is sent."""
    def attack(siege):
        sent = 0
        while sent < MIB:
            attacks.note()
            with h2kit.Raw(siege.relais.data) as raw:
                sent += 60
                for piece in kind(raw):
                    if not raw.send(piece):
                        break
                    sent += len(piece)
                    drain(raw.sock)
        return sent
    return attack


def drain(sock):
    """Throws away what has come, so that nobody waits for us."""
    try:
        while len(sock.recv(1 << 18, socket.MSG_DONTWAIT)) == 1 << 18:
            pass
    except OSError:
        pass


FRESH = b'\x82\x86\x84\x01\x09127.0.0.1'  # GET http / of "127.0.0.1", without any use of the table


def continuation(raw):
    yield frame(HEADERS, 0, 1, FRESH)
    for _ in range(300):
        yield frame(CONTINUATION, 0, 1, b'\x00\x01a\x01b' * 3) * 20


def flood(one):
    def frames(raw):
        yield frame(HEADERS, END_HEADERS, 1, raw.head(('content-type', 'application/json')))
        for _ in range(200):
            yield one * 50
    return frames


ATTACKS = {
    'tiny fields': tiny_fields, 'too many fields': too_many_fields, 'unfinished heads': unfinished_heads,
    'long fields': long_fields, 'one byte chunks': one_byte_chunks, 'chunk extensions': chunk_extensions,
    'nested': nested, 'many members': many_members, 'many values': many_values, 'tiny parts of a form': tiny_parts_of_a_form,
    'translated parts': translated(CONTENT_PARTS), 'translated messages': translated(MESSAGES),
    'translated stops': translated(STOPS), 'translated tools': translated(TOOLS), 'translated calls': translated(CALLS),
    'h2 continuation': on_http2(continuation),
    'h2 pings': on_http2(flood(frame(PING, 0, 0, b'12345678'))), 'h2 settings': on_http2(flood(frame(SETTINGS))),
}


@pytest.mark.parametrize('name', ATTACKS)
def test_amplification(name, record_property):
    def translating(siege):
        return {'t': {'dialect': 'anthropic', 'base_url': siege.provider.base_url, 'api_key': 'sk', 'models': ['m'],
                      'max_fails': 0}}
    with Siege(canary=False, extra={'providers': translating}) as siege:
        honest = polite_s(siege)
        peak, before = Peak(siege.relais), cpu_s(siege.relais)
        sent = ATTACKS[name](siege)
        memory, cpu = peak.growth() / sent, (cpu_s(siege.relais) - before) / sent / honest
        print(f'amplification: {name}: {sent} bytes, memory {memory:.2f} x, CPU {cpu:.2f} x')
        assert sent >= MIB
        record_property('amplified_memory', f'{memory:.2f}')
        record_property('amplified_cpu', f'{cpu:.2f}')
        assert memory < FACTOR_MAX and cpu < FACTOR_MAX, (memory, cpu)
