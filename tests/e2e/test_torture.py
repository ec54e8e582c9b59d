# SPDX-License-Identifier: Apache-2.0
"""Torture (STYLE.md; as curl and SQLite do it): each allocation on a request's path is made to fail in turn, alone and
with all that follow it for a while. The client gets an answer, an error or a closed connection, the next client gets a
good answer, the process lives, and nothing leaks.

`tools/check torture` runs it on a build in which each piece of an arena is an allocation of its own.
"""
import gzip
import mmap
import os
import struct
import subprocess
import tempfile

import pytest

import h2peer
import harness
import kit

pytestmark = pytest.mark.skipif('san' in os.path.basename(harness.BUILD), reason='sanitizers bring their own allocator')

LIMIT = 3000       # allocations of one request, at most: past it the test is wrong
A_ROW = 8          # failures in a row, in the second pass
LEAK_BLOCKS = 64   # what caches and a log line on its way may hold more than before


class Page:
    """What fail_alloc.c shares with us."""

    def __init__(self, folder):
        self.path = os.path.join(folder, 'page')
        with open(self.path, 'wb') as file:
            file.write(bytes(mmap.PAGESIZE))
        with open(self.path, 'r+b') as file:
            self.map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def get(self, word):
        return struct.unpack_from('<q', self.map, 8 * word)[0]

    def fail(self, at, row):
        struct.pack_into('<q', self.map, 8, row)
        struct.pack_into('<q', self.map, 16, 0)
        struct.pack_into('<q', self.map, 0, at)

    def stop(self):
        struct.pack_into('<q', self.map, 0, 0)

    failed = property(lambda self: self.get(2))
    live = property(lambda self: self.get(3))


@pytest.fixture(scope='module')
def library():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'fail_alloc.so')
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fail_alloc.c')
        subprocess.run(['cc', '-shared', '-fPIC', '-O1', '-o', path, source], check=True, timeout=60 * harness.SLOW)
        yield path


def chat(client, model='assistant', **members):
    return client.post('/v1/chat/completions', {
        'model': model, 'messages': [{'role': 'user', 'content': 'hello'}], **members})


def chunked(client):
    body = b'{"model":"assistant","messages":[{"role":"user","content":"hello"}]}'
    pieces = [harness.chunked(body[at:at + 9]) for at in range(0, len(body), 9)] + [harness.chunked(b'')]
    client.sock.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
                        b'Transfer-Encoding: chunked\r\n\r\n' + b''.join(pieces))
    return client.read_reply('POST')


def once(connection):
    """A provider that serves one request a connection: the next one is looked up, dialled and agreed on anew."""
    if connection.read_request(60):
        connection.send(kit.whole())


def h2_once(stream):
    """The same over HTTP/2, said before the next one could come."""
    stream.connection.goaway(stream.id)
    h2peer.good()(stream)


def packed(client):
    body = gzip.compress(b'{"model":"assistant","messages":[{"role":"user","content":"hello"}]}')
    return client.post('/v1/chat/completions', body, (('Content-Type', 'application/json'), ('Content-Encoding', 'gzip')))


REQUESTS = {
    'whole': chat,
    'stream': lambda client: chat(client, stream=True),
    'failover': lambda client: chat(client, 'limping'),
    'tls': lambda client: chat(client, 'secure'),
    'http2': lambda client: chat(client, 'multiplexed'),
    'http2 stream': lambda client: chat(client, 'multiplexed', stream=True),
    'tls door': chat,
    'chunked': chunked,
    'packed': packed,
    'unknown model': lambda client: chat(client, 'nobody'),
    'models': lambda client: client.get('/v1/models'),
}


def ask(relais, request, door, tls):
    """A request on a new connection: its status and whether the answer was whole and in order."""
    try:
        with harness.Client(*relais.address('data', door), tls=tls) as client:
            reply = request(client)
    except (harness.HttpError, OSError):
        return None
    if reply.status == 200 and reply.header('content-type', '').startswith('text/event-stream'):
        assert reply.events()[-1] == '[DONE]'
    elif reply.body:
        reply.json()
    return reply.status


@pytest.mark.parametrize('row', [1, A_ROW])
@pytest.mark.parametrize('name', REQUESTS)
def test_each_allocation_fails(gateway, sim, products, library, tmp_path, name, row):
    certificates = harness.Certificates(str(tmp_path))
    provider = sim()
    secure = products.add(harness.RawServer(once, tls=certificates.server_context()))
    refusing = f'http://127.0.0.1:{harness.free_port()}/v1'
    multiplexed = products.add(h2peer.Server(h2_once))
    certificate, key = certificates.make('door')
    made = {'server': {'workers': 1, 'listen': ['127.0.0.1:0', {
        'address': '127.0.0.1:0', 'tls': {'certificate': certificate, 'key': key}}]}, 'providers': {
        'good': {'base_url': provider.base_url, 'models': ['m'], 'max_fails': 0},
        'h2': {'base_url': multiplexed.base_url, 'http2': True, 'models': ['m'], 'max_fails': 0},
        'dead': {'base_url': refusing, 'models': ['m'], 'max_fails': 0},
        'tls': {'base_url': f'https://localhost:{secure.port}/v1', 'models': ['m'], 'max_fails': 0, 'ca_file': certificates.ca}},
        'models': {'assistant': {'targets': [{'provider': 'good', 'model': 'm'}]},
                   'limping': {'targets': [{'provider': p, 'model': 'm'} for p in ('dead', 'good')]},
                   'multiplexed': {'targets': [{'provider': 'h2', 'model': 'm'}]},
                   'secure': {'targets': [{'provider': 'tls', 'model': 'm'}]}}}
    page = Page(str(tmp_path))
    relais = gateway(made, env={'LD_PRELOAD': library, 'RELAIS_FAIL_ALLOC': page.path})
    door = (1, certificates.client_context()) if name == 'tls door' else (0, None)
    request = REQUESTS[name]
    usual = ask(relais, request, *door)
    for _ in range(5):
        assert ask(relais, request, *door) == usual
    live, spoiled = page.live, 0
    for at in range(1, LIMIT):
        page.fail(at, row)
        status = ask(relais, request, *door)
        failed = page.failed
        page.stop()
        spoiled += status != usual
        assert status is None or status == usual or status >= 500, f'allocation {at}: {status}'
        assert relais.running(), f'allocation {at} ended it:\n{relais.output()[-3000:]}'
        assert ask(relais, request, *door) == usual, f'the request after the failure of allocation {at}'
        if not failed:
            break
    else:
        raise AssertionError('it never ran out of allocations')
    print(f'torture: {name}: {at - 1} allocations failed in turn, {row} in a row; {spoiled} requests felt it')
    assert at > 3, 'nothing was tried'
    harness.eventually(lambda: page.live <= live + LEAK_BLOCKS,
                       what=f'the return of blocks (from {live}) after {at} failures')
