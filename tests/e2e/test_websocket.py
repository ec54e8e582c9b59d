# SPDX-License-Identifier: Apache-2.0
"""WebSockets: a tunnel behind the provider's 101, whatever passes in it, and ordinary answers before it."""
import hashlib
import json
import os
import signal
import socket
import ssl
import threading
import time

import pytest

import h2peer
import harness
from harness import SLOW, Client, HttpError, eventually, http_answer
from h2kit import H2Client
from kit import MEMORY, config, faults, header, latest
from test_callers import new_key

WISH = [('Connection', 'keep-alive, Upgrade'), ('Upgrade', 'websocket'), ('Sec-WebSocket-Version', '13'),
        ('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==')]
SWITCH = (b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nX-Inner: no\r\n'
          b'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: realtime\r\n\r\n')
PATH = '/v1/realtime?model=assistant'


def echo(connection):
    """Says 101, then whatever it hears."""
    if not connection.read_request():
        return
    connection.send(SWITCH)
    while True:
        got = connection.sock.recv(65536)
        if not got:
            return
        connection.sock.sendall(got)


def opened(relais, path=PATH, headers=(), **options):
    """A client whose tunnel is open."""
    client = Client(*relais.data, **options)
    reply = client.request('GET', path, None, WISH + list(headers))
    assert reply.status == 101, reply.text
    return client


def read(client, n):
    end = time.monotonic() + harness.WAIT_S
    while len(client.pending) < n:
        assert client._more(end), 'the tunnel ended early'
    data, client.pending = client.pending[:n], client.pending[n:]
    return data


def talk(client, data):
    """Sends and reads back as much."""
    sender = threading.Thread(target=client.sock.sendall, args=(data,), daemon=True)
    sender.start()
    assert read(client, len(data)) == data
    sender.join(harness.WAIT_S)


def ended(relais, count=1):
    record = relais.access_log(count)[count - 1]
    eventually(lambda: all(t['in_flight'] == 0 for t in relais.status()['models'][0]['targets']), what='no call in flight')
    return record


@pytest.mark.parametrize('path', [PATH, '/v1/responses?model=assistant'])
def test_echo(gateway, provider, path):
    a = provider(echo)
    relais = gateway(config([a]))
    client = Client(*relais.data)
    reply = client.request('GET', path, None, WISH + [('OpenAI-Beta', 'realtime=v1'), ('Sec-WebSocket-Protocol', 'realtime')])
    assert (reply.status, reply.header('upgrade'), reply.header('connection')) == (101, 'websocket', 'Upgrade')
    assert reply.header('sec-websocket-accept') == 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    assert (reply.header('sec-websocket-protocol'), reply.header('x-relais-provider')) == ('realtime', 'a')
    assert reply.header('content-length') is None and reply.header('transfer-encoding') is None
    assert reply.header('x-inner') is None
    total = 0
    for size in (1, 2, 125, 4096, 65535, 65536, 65537, 300_000, 3_000_000):
        talk(client, os.urandom(size))
        total += size
    assert eventually(lambda: relais.status()['models'][0]['targets'][0]['in_flight'] == 1)
    client.close()
    record = ended(relais)
    assert (record['status'], record['outcome'], record['stream']) == (101, 'ok', False)
    assert (record['bytes_in'], record['bytes_out'], record['route']) == (total, total, path.split('?')[0])
    request = latest(a)
    assert request.line == f'GET {path.replace("assistant", "m")} HTTP/1.1'
    assert (header(request, 'upgrade'), header(request, 'connection')) == ('websocket', 'Upgrade')
    assert (header(request, 'openai-beta'), header(request, 'sec-websocket-protocol')) == ('realtime=v1', 'realtime')
    assert header(request, 'sec-websocket-key') == WISH[3][1] and header(request, 'sec-websocket-version') == '13'
    assert header(request, 'content-length') is None and header(request, 'transfer-encoding') is None


def test_bytes_with_the_101(gateway, provider):
    def script(connection):
        connection.read_request()
        connection.send(SWITCH + b'at once')
        connection.wait_for_peer_to_leave()
    relais = gateway(config([provider(script)]))
    with opened(relais) as client:
        assert read(client, 7) == b'at once'


def test_a_slow_reader_holds_its_provider_back(gateway, provider):
    """10 MB each way; what nobody reads stays with who sends it."""
    size, data = 10_000_000, os.urandom(1 << 20)
    heard = hashlib.sha256()
    go = threading.Event()

    def script(connection):
        connection.read_request()
        connection.send(SWITCH)
        connection.sock.settimeout(harness.WAIT_S)
        for at in range(0, size, len(data)):
            connection.sock.sendall(data[:size - at])
        go.wait(harness.WAIT_S)
        left = size
        while left:
            got = connection.sock.recv(65536)
            assert got
            heard.update(got)
            left -= len(got)
        connection.sock.sendall(b'done')
    relais = gateway(config([provider(script)]))
    before = relais.memory_kib()
    with opened(relais, receive_buffer=16384) as client:
        time.sleep(0.5)
        assert relais.memory_kib() - before < 8192 * MEMORY
        whole = (data * (size // len(data) + 1))[:size]
        assert read(client, size) == whole
        sender = threading.Thread(target=client.sock.sendall, args=(whole,), daemon=True)
        sender.start()
        time.sleep(0.5)
        assert relais.memory_kib() - before < 8192 * MEMORY
        go.set()
        assert read(client, 4) == b'done'
        sender.join(harness.WAIT_S)
    assert heard.digest() == hashlib.sha256(whole).digest()


@pytest.mark.parametrize('status', ['400 Bad', '404 Not Found'])
def test_a_refusal_is_an_ordinary_answer(gateway, provider, status):
    refusal = {'error': {'message': 'no such thing', 'type': 'invalid_request_error', 'code': 'x'}}
    relais = gateway(config([provider(http_answer(refusal, status))]))
    with relais.client() as client:
        reply = client.request('GET', PATH, None, WISH)
        assert (reply.status, reply.json()) == (int(status[:3]), refusal)
        assert client.get('/v1/models').status == 200, 'the connection goes on'
    assert relais.access_log(1)[0]['outcome'] == 'passed_error'


def test_failover(gateway, provider):
    """A dead target, one that refuses our key, one that switches to something else: then one that answers."""
    other = b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n'
    bodied = SWITCH.replace(b'X-Inner: no', b'Content-Length: 5')
    relais = gateway(config([f'http://127.0.0.1:{harness.free_port()}/v1', provider(http_answer({}, '401 X')),
                             provider(other), provider(bodied), provider(echo)]))
    with opened(relais) as client:
        talk(client, b'hello')
    record = ended(relais)
    assert faults(record) == ['connect', 'provider_auth', 'invalid_response', 'invalid_response']
    assert (record['provider'], record['outcome']) == ('e', 'ok')


def test_nobody_answers(gateway, provider):
    relais = gateway(config([provider(http_answer({}, '401 X')), provider(http_answer({}, '503 X'))]))
    reply = relais.request('GET', PATH, None, WISH)
    assert (reply.status, reply.json()['error']['code']) == (502, 'provider_error')


class BothVersions:
    """A provider of HTTP/2 that answers HTTP/1.1, where a client comes with that, by 101 and an echo, or with `refusal`."""

    def __init__(self, products, tls=None, refusal=b''):
        self.offered, self.asked, self.open, self.refusal = [], [], [], refusal
        if tls:
            tls.set_alpn_protocols(['h2', 'http/1.1'])
        self.peer = products.add(h2peer.Server(h2peer.good('hello'), tls=tls, on_connection=self.look))
        self.base_url = self.peer.base_url

    def look(self, connection):
        """True: it is HTTP/2's."""
        sock = connection.sock
        if self.peer.tls:
            self.offered.append(sock.selected_alpn_protocol())
            if self.offered[-1] == 'h2':
                return True
        elif sock.recv(3, socket.MSG_PEEK) == b'PRI':
            return True
        self.open.append(sock)
        try:
            head = b''
            while not head.endswith(b'\r\n\r\n'):
                head += sock.recv(1) or b'\r\n\r\n'
            self.asked.append(head)
            sock.sendall(self.refusal or SWITCH)
            while got := sock.recv(65536):
                sock.sendall(got)
        finally:
            self.open.remove(sock)


@pytest.fixture(params=['plain', 'tls'])
def both(request, products, certificates):
    return lambda **options: BothVersions(products, certificates.server_context() if request.param == 'tls' else None,
                                          **options)


def test_a_provider_of_http2(gateway, both, certificates):
    """Its tunnels have connections of their own in HTTP/1.1; everything else stays HTTP/2."""
    a = both()
    relais = gateway(config([a], http2=True, ca_file=certificates.ca) | {'server': {'workers': 1}})
    assert relais.chat().status == 200
    with opened(relais) as client, opened(relais) as other:
        for size in (1, 70_000, 1_000_000):
            talk(client, os.urandom(size))
            talk(other, os.urandom(size))
        assert relais.chat('within', stream=True).stream_text() == 'hello'
        shown = next(p for p in relais.status()['providers'] if p['name'] == 'a')
        assert (shown['connections'], shown['http2_connections']) == (3, 1)
    eventually(lambda: not a.open, what='the end of the tunnels')
    assert relais.chat().status == 200
    assert a.offered in ([], ['h2', 'http/1.1', 'http/1.1'])
    assert len(a.peer.connections) == 3 and len(a.peer.streams) == 3
    for head in a.asked:
        assert head.startswith(b'GET /v1/realtime?model=m HTTP/1.1\r\n') and b'upgrade: websocket\r\n' in head
    assert relais.status()['models'][0]['targets'][0]['failures'] == 0


def test_a_refusal_of_a_provider_of_http2(gateway, both, certificates):
    """The connection that was asked for a tunnel serves no other call, since those are HTTP/2's."""
    a = both(refusal=b'HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}')
    relais = gateway(config([a], http2=True, ca_file=certificates.ca) | {'server': {'workers': 1}})
    assert relais.request('GET', PATH, None, WISH).status == 404
    eventually(lambda: a.asked and not a.open, what='the end of its connection')
    assert relais.chat().status == 200 and len(a.peer.streams) == 1


def test_a_tunnel_at_the_cap_of_a_provider_of_http2(gateway, both, certificates):
    """An idle connection makes way for it, and one with calls takes no more of them."""
    a = both()
    gate = threading.Event()
    answer = h2peer.good('hello')

    def play(stream):
        if b'wait' in stream.body:
            gate.wait(harness.WAIT_S)
        answer(stream)
    a.peer.play = play
    relais = gateway(config([a], http2=True, ca_file=certificates.ca, max_connections=1) | {'server': {'workers': 1}})
    assert relais.chat().status == 200
    with opened(relais) as client:
        talk(client, b'hello')
    eventually(lambda: not a.open, what='the end of the tunnel')
    replies = []
    callers = [threading.Thread(target=lambda: replies.append(relais.chat('wait').status)) for _ in range(2)]
    for caller in callers:
        caller.start()
    eventually(lambda: len(a.peer.streams) == 3, what='two calls under way')
    waiting = Client(*relais.data)
    waiting.send('GET', PATH, None, WISH)
    time.sleep(0.2)
    assert len(a.asked) == 1
    gate.set()
    assert waiting.read_reply().status == 101
    talk(waiting, b'hello again')
    waiting.close()
    for caller in callers:
        caller.join(harness.WAIT_S)
    assert replies == [200, 200]


def test_early_bytes_are_no_tunnels(gateway, provider):
    """FAULTS 14: what comes before our 101 reaches nobody, neither as bytes nor as a request."""
    a = provider(echo)
    relais = gateway(config([a]))
    with relais.client() as client:
        client.sock.sendall(client.head('GET', PATH, WISH, None) + b'GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n')
        reply = client.read_reply()
        assert (reply.status, reply.json()['error']['code']) == (400, 'websocket_too_early')
        assert reply.header('connection') == 'close' and client.closed_by_peer()
    assert a.connections[0].ended.wait(harness.WAIT_S) and not a.connections[0].pending
    assert [r['outcome'] for r in relais.access_log(1)] == ['refused']


def test_what_does_not_ask_for_one(gateway, provider):
    relais = gateway(config([provider(b'')]))
    for headers in ([], WISH[:1], WISH[1:], [WISH[0], ('Upgrade', 'h2c')]):
        reply = relais.get(PATH, headers)
        assert (reply.status, reply.json()['error']['code']) == (400, 'websocket_expected')
    reply = relais.request('GET', PATH, b'x', WISH)
    assert (reply.status, reply.json()['error']['code']) == (400, 'websocket_expected')
    assert relais.post('/v1/realtime', {}).status == 405
    with H2Client(relais.data) as client:
        reply = client.finish(client.request('GET', PATH))
        assert reply.status == 400 and b'need HTTP/1.1' in reply.body


@pytest.mark.parametrize('query', ['model=assistant&model=m', 'model=assistant&mod%65l=x', 'model=%zz', 'model=a%0d'])
def test_a_bad_query(gateway, provider, query):
    a = provider(echo)
    reply = gateway(config([a])).request('GET', f'/v1/realtime?{query}', None, WISH)
    assert (reply.status, reply.json()['error']['code']) == (400, 'invalid_query')
    assert not a.requests


@pytest.mark.parametrize('sent, got', [
    ('model=assistant', 'model=x%2Fy%20z'), ('a=1&model=assist%61nt&b=%2F', 'a=1&model=x%2Fy%20z&b=%2F'),
    ('mod%65l=assistant', 'mod%65l=x%2Fy%20z'), ('model=a%2Fx/y+z&intent=i', 'model=x%2Fy%20z&intent=i')])
def test_the_model_is_rewritten(gateway, provider, sent, got):
    a = provider(echo)
    settings = config([a])
    settings['models']['assistant']['targets'] = [{'provider': 'a', 'model': 'x/y z'}]
    relais = gateway(settings)
    opened(relais, f'/v1/realtime?{sent}').close()
    assert latest(a).line == f'GET /v1/realtime?{got} HTTP/1.1'


def test_without_a_model(gateway, provider):
    a, b = provider(b''), provider(echo)
    relais = gateway(config([a, b]))
    opened(relais, '/v1/realtime?call_id=c', [('x-relais-provider', 'b')]).close()
    assert latest(b).line == 'GET /v1/realtime?call_id=c HTTP/1.1' and not a.requests
    reply = relais.request('GET', '/v1/realtime', None, WISH)
    assert (reply.status, reply.json()['error']['code']) == (400, 'provider_required')
    assert relais.request('GET', '/v1/realtime?model=nobody', None, WISH).status == 404


def test_keys(gateway, provider):
    """The client's key, in Authorization or among the subprotocols, goes nowhere; the provider gets its own."""
    key, key_hash = new_key()
    small, small_hash = new_key('small')
    a = provider(echo)
    settings = config([a], api_key='${A_KEY}')
    settings['clients'] = {'team-a': {'key': key_hash}, 'small': {'key': small_hash, 'models': ['assistant']}}
    relais = gateway(settings, env={'A_KEY': 'sk-own'})
    ways = ([('Authorization', f'Bearer {key}')],
            [('Sec-WebSocket-Protocol', f'realtime, openai-insecure-api-key.{key}, openai-beta.realtime-v1')],
            [('Sec-WebSocket-Protocol', f'OpenAI-Insecure-API-Key.{key}')])
    for way in ways:
        with opened(relais, headers=way) as client:
            talk(client, b'hi')
        assert key.encode() not in latest(a).raw and header(latest(a), 'authorization') == 'Bearer sk-own'
        wanted = 'realtime, openai-beta.realtime-v1' if 'realtime,' in way[0][1] else None
        assert header(latest(a), 'sec-websocket-protocol') == wanted
    for way in ([], [('Sec-WebSocket-Protocol', 'openai-insecure-api-key.' + key[:-1])],
                [('Sec-WebSocket-Protocol', 'realtime')],
                [('Authorization', 'Bearer wrong'), ('Sec-WebSocket-Protocol', f'openai-insecure-api-key.{key}')]):
        assert relais.request('GET', PATH, None, WISH + way).status == 401
    assert relais.get('/v1/models', [('Sec-WebSocket-Protocol', f'openai-insecure-api-key.{key}')]).status == 401
    limited = [('Authorization', f'Bearer {small}')]
    opened(relais, headers=limited).close()
    for path in ('/v1/responses?model=assistant', '/v1/realtime'):
        assert relais.request('GET', path, None, WISH + limited).status == 403
    assert key not in json.dumps(relais.access_log(4))


def test_idle(gateway, provider):
    """Either direction keeps it open; silence of both ends it."""
    a = provider(echo)
    relais = gateway(config([a], server={'tunnel_idle': f'{int(2500 * SLOW)}ms'}))
    with opened(relais) as client:
        for _ in range(5):
            time.sleep(0.6 * SLOW)
            talk(client, b'.')
        with pytest.raises(HttpError):
            read_until_end(client)
    assert a.connections[0].ended.wait(harness.WAIT_S)
    record = ended(relais)
    assert (record['outcome'], record['bytes_in'], record['bytes_out']) == ('cut', 5, 5)
    assert 'tunnel_idle' in record['error_text']
    assert relais.status()['models'][0]['targets'][0]['failures'] == 0, 'that is not the target\'s fault'


def read_until_end(client):
    end = time.monotonic() + harness.WAIT_S
    while client._more(end):
        pass


@pytest.mark.parametrize('reset, outcome', [(False, 'ok'), (True, 'cut')])
def test_the_client_leaves(gateway, provider, reset, outcome):
    left = []

    def script(connection):
        connection.read_request()
        connection.send(SWITCH)
        connection.wait_for_peer_to_leave()
        left.append(time.monotonic())
    relais = gateway(config([provider(script)]))
    client = opened(relais)
    started = time.monotonic()
    client.reset() if reset else client.close()
    eventually(lambda: left, what='the end of the call')
    assert left[0] - started < 1 * SLOW
    assert ended(relais)['outcome'] == outcome


def test_the_last_words_of_a_client(gateway, provider):
    """What it sent just before it closed arrives."""
    heard = []

    def script(connection):
        connection.read_request()
        connection.send(SWITCH)
        data = b''
        while got := connection.sock.recv(65536):
            data += got
        heard.append(data)
    relais = gateway(config([provider(script)]))
    client = opened(relais)
    client.sock.sendall(b'bye' * 1000)
    client.sock.shutdown(socket.SHUT_WR)
    assert eventually(lambda: heard)[0] == b'bye' * 1000
    client.close()


@pytest.mark.parametrize('reset, outcome', [(False, 'ok'), (True, 'cut')])
def test_the_provider_leaves(gateway, provider, reset, outcome):
    go = threading.Event()

    def script(connection):
        connection.read_request()
        connection.send(SWITCH)
        if not reset:
            connection.send(b'bye')
        go.wait(harness.WAIT_S)
        if reset:
            connection.reset()
    relais = gateway(config([provider(script)]))
    with opened(relais) as client:
        go.set()
        if reset:
            with pytest.raises(HttpError):
                read_until_end(client)
        else:
            assert read(client, 3) == b'bye' and client.closed_by_peer()
    assert ended(relais)['outcome'] == outcome


def test_drain(gateway, provider):
    """A tunnel runs on until the deadline, then it is cut."""
    relais = gateway(config([provider(echo)], server={'drain': {'deadline': f'{int(3000 * SLOW)}ms'}}))
    with opened(relais) as client:
        relais.signal(signal.SIGTERM)
        eventually(lambda: relais.status()['draining'])
        talk(client, b'still here')
        with pytest.raises(HttpError):
            read_until_end(client)
    relais.wait()
    assert [r['outcome'] for r in relais.access_log(1)] == ['cut']


def test_a_reload_leaves_tunnels_open(gateway, provider):
    a = provider(echo)
    settings = config([a])
    relais = gateway(settings)
    with opened(relais) as client:
        talk(client, b'before')
        settings['models']['other'] = settings['models']['assistant']
        relais.reload(settings)
        eventually(lambda: len(relais.status()['models']) == 2)
        talk(client, b'after')
    assert relais.access_log(1)[0]['outcome'] == 'ok'


def test_over_tls(gateway, provider, certificates):
    a = provider(echo, tls=certificates.server_context())
    relais = gateway(config([a], ca_file=certificates.ca))
    with opened(relais) as client:
        for size in (1, 100_000, 2_000_000):
            talk(client, os.urandom(size))


# --- each direction has an end of its own ----------------------------------------------------------------------------

class HalfTls:
    """A TLS connection that can end its own direction alone, which ssl.SSLSocket cannot."""

    def __init__(self, sock, context, server_side, name=None):
        self.sock, self.into, self.out = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_side=server_side, server_hostname=name)
        self.act(self.tls.do_handshake)

    def act(self, what, *args):
        while True:
            try:
                done = what(*args)
            except ssl.SSLWantReadError:
                done = None
            if self.out.pending:
                self.sock.sendall(self.out.read())
            if done is not None or what == self.tls.unwrap:
                return done
            if what == self.tls.do_handshake and self.tls.version() and self.finished():
                return None
            got = self.sock.recv(65536)
            self.into.write(got) if got else self.into.write_eof()

    def finished(self):
        return self.tls.cipher() is not None and self.tls.get_channel_binding() is not None

    def sendall(self, data):
        for at in range(0, len(data), 16384):
            self.act(self.tls.write, data[at:at + 16384])

    def recv(self, n):
        try:
            return self.act(self.tls.read, n)
        except ssl.SSLZeroReturnError:
            return b''

    def end(self):
        """close_notify, and FIN."""
        self.act(self.tls.unwrap)
        self.sock.shutdown(socket.SHUT_WR)


class Half:
    def __init__(self, sock):
        self.sock, self.recv, self.sendall = sock, sock.recv, sock.sendall

    def end(self):
        self.sock.shutdown(socket.SHUT_WR)


def until_end(half):
    data = []
    while got := half.recv(65536):
        data.append(got)
    return b''.join(data)


def until_head_end(half):
    """The head; a byte at a time, so that nothing behind it is taken."""
    head = b''
    while not head.endswith(b'\r\n\r\n'):
        got = half.recv(1)
        assert got, head
        head += got
    return head


@pytest.fixture(params=['plain', 'tls'])
def ends(request, gateway, provider, certificates):
    """ends(script) -> (relais, a client with an open tunnel); script(half, seen) is the provider behind its 101."""
    tls = request.param == 'tls'

    def make(script, **server):
        context = certificates.server_context() if tls else None
        seen, errors = {}, []

        def serve(connection):
            try:
                connection.sock.settimeout(harness.WAIT_S)
                half = HalfTls(connection.sock, context, True) if tls else Half(connection.sock)
                until_head_end(half)
                half.sendall(SWITCH)
                script(half, seen)
            except BaseException as error:  # told by the test
                errors.append(error)
                raise
        a = provider(serve)
        if tls:
            a = f'https://localhost:{a.port}/v1'
            certificate, key = certificates.make()
            server['listen'] = {'address': '127.0.0.1:0', 'tls': {'certificate': certificate, 'key': key}}
        relais = gateway(config([a], ca_file=certificates.ca, server=server))
        sock = socket.create_connection(relais.data, timeout=harness.WAIT_S)
        client = HalfTls(sock, certificates.client_context(), False, 'localhost') if tls else Half(sock)
        client.sendall(f'GET {PATH} HTTP/1.1\r\nHost: localhost\r\n'.encode()
                       + ''.join(f'{n}: {v}\r\n' for n, v in WISH).encode() + b'\r\n')
        assert until_head_end(client).startswith(b'HTTP/1.1 101 ')
        return relais, client, seen, errors
    return make


MUCH = os.urandom(1 << 20) * 3


def test_the_client_ends_first(ends):
    """All of its last words arrive, then its end; what the provider says after that is the client's."""
    def script(half, seen):
        half.sendall(b'hello')
        time.sleep(0.3)  # its words queue up
        seen['heard'] = until_end(half)
        half.sendall(MUCH)
        half.end()
    relais, client, seen, errors = ends(script)
    assert client.recv(5) == b'hello'
    client.sendall(MUCH[::-1])
    client.end()
    assert until_end(client) == MUCH and not errors
    assert seen['heard'] == MUCH[::-1]
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['bytes_in'], record['bytes_out']) == ('ok', len(MUCH), len(MUCH) + 5)
    assert relais.status()['models'][0]['targets'][0]['failures'] == 0


def test_the_provider_ends_first(ends):
    def script(half, seen):
        half.sendall(MUCH)
        half.end()
        seen['heard'] = until_end(half)
    relais, client, seen, errors = ends(script)
    time.sleep(0.3)  # the provider's words queue up
    assert until_end(client) == MUCH
    client.sendall(MUCH[::-1])
    client.end()
    assert eventually(lambda: seen.get('heard')) == MUCH[::-1] and not errors
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['bytes_in'], record['bytes_out']) == ('ok', len(MUCH), len(MUCH))


def test_half_a_tunnel_may_be_idle_no_longer_than_a_whole_one(ends):
    over = threading.Event()

    def script(half, seen):
        until_end(half)
        over.wait(harness.WAIT_S)
    relais, client, _, _ = ends(script, tunnel_idle=f'{int(1000 * SLOW)}ms')
    client.end()
    try:
        assert until_end(client) == b''
    except OSError:
        pass  # it is an abnormal end
    record = relais.access_log(1)[0]
    over.set()
    assert record['outcome'] == 'cut' and 'tunnel_idle' in record['error_text']


def test_a_client_that_breaks_off_while_its_provider_does_not_read(gateway, provider):
    """What it sent last is not delivered first: a reset ends both."""
    go = threading.Event()
    left = []

    def script(connection):
        connection.read_request()
        connection.send(SWITCH)
        go.wait(harness.WAIT_S)
        try:
            while connection.sock.recv(65536):
                pass
        except OSError:
            pass
        left.append(True)
    relais = gateway(config([provider(script)]))
    client = opened(relais)
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        while True:
            client.sock.sendall(MUCH)
    client.reset()
    assert relais.access_log(1)[0]['outcome'] == 'cut'
    go.set()
    eventually(lambda: left, what='the end of the call')
