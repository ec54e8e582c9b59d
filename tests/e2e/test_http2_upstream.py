# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards providers: calls share connections, each has its own end, and nobody waits for another (FAULTS 28)."""
import gzip
import json
import socket
import threading
import time

import pytest

import h2peer
import harness
from harness import sse_events
from kit import config, faults, good, target
from test_proxy import NAME, behind, opening, pump, via

PATH = '/v1/chat/completions'
STREAM = {'model': 'assistant', 'stream': True, 'messages': []}
SOON_S = 0.1 * harness.SLOW


@pytest.fixture
def peer(products):
    """peer(play, ...) -> h2peer.Server"""
    return lambda *args, **options: products.add(h2peer.Server(*args, **options))


def listed(relais):
    """How many connections to "a" are open, and how many of them speak HTTP/2, by /status."""
    provider = next(p for p in relais.status()['providers'] if p['name'] == 'a')
    return provider['connections'], provider['http2_connections']


def together(n, act):
    """act(i) in n threads at once; their results, in order."""
    results, errors = [None] * n, []

    def one(i):
        try:
            results[i] = act(i)
        except BaseException as error:  # told below
            errors.append(error)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * harness.SLOW)
        assert not thread.is_alive(), 'a call does not end'
    if errors:
        raise errors[0]
    return results


def http2(providers, **options):
    return config(providers, http2=True, **options)


def mixed(a, b):
    """An HTTP/2 provider "a" before an HTTP/1 provider "b"."""
    made = config([a, b])
    made['providers']['a']['http2'] = True
    return made


# --- the request and the answer -------------------------------------------------------------------------------------

def test_the_request_arrives_as_fields(gateway, peer):
    provider = peer(h2peer.good('hello'))
    relais = gateway(http2([provider], api_key='sk-test', headers={'set': {'X-Own': 'Value One'}}))
    reply = relais.chat()
    assert reply.status == 200 and reply.json()['choices'][0]['message']['content'] == 'hello'
    stream, = provider.streams
    names = [n for n, _ in stream.fields]
    assert names[:4] == [':method', ':scheme', ':authority', ':path']
    headers = stream.headers
    assert (headers[':method'], headers[':scheme'], headers[':path']) == ('POST', 'http', '/v1/chat/completions')
    assert headers[':authority'] == f'127.0.0.1:{provider.port}'
    assert headers['x-own'] == 'Value One' and headers['authorization'] == 'Bearer sk-test'
    assert int(headers['content-length']) == len(stream.body) and json.loads(stream.body)['model'] == 'm'
    assert len(names) == len(set(names)) and not {'host', 'connection', 'transfer-encoding'} & set(names)
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['n_attempts']) == ('ok', 1)


def test_large_bodies_both_ways(gateway, peer):
    """Beyond every window: credit must flow in both directions."""
    said = 'x' * 3_000_000
    answer = json.dumps(harness.chat_answer(said)).encode()
    provider = peer(lambda stream: stream.respond(200, answer))
    relais = gateway(http2([provider]))
    asked = 'y' * 2_000_000
    reply = relais.post(PATH, {'model': 'assistant', 'messages': [{'role': 'user', 'content': asked}]})
    assert reply.status == 200 and reply.body == answer
    assert json.loads(provider.streams[0].body)['messages'][0]['content'] == asked


def test_event_by_event(gateway, peer):
    """Each event is the client's before the provider has made the next."""
    steps = [threading.Event() for _ in range(5)]
    events = sse_events(['a', 'b', 'c'])

    def play(stream):
        stream.head(200, (('content-type', 'text/event-stream'),))
        for step, event in zip(steps, events):
            stream.data(event)
            if not step.wait(harness.WAIT_S):
                return
        stream.data(b''.join(events[5:]), end=True)
    relais = gateway(http2([peer(play)]))
    with relais.client() as client:
        client.send('POST', PATH, STREAM)
        for i, step in enumerate(steps):
            if i:  # the first one waits for content
                assert read_until(client, events[i]), f'event {i} does not come'
            step.set()
        assert read_until(client, b'[DONE]')


def read_until(client, wanted):
    """Reads on; all bytes so far once `wanted` is among them."""
    end = time.monotonic() + harness.WAIT_S
    seen = getattr(client, 'seen', b'')
    client.sock.settimeout(0.2)
    while wanted not in seen and time.monotonic() < end:
        try:
            piece = client.sock.recv(65536)
        except TimeoutError:
            continue
        if not piece:
            break
        seen += piece
    client.seen = seen
    return seen if wanted in seen else None


def whole_or_broken(relais):
    """The text of a stream, or None if it broke behind its commit point, and said so."""
    try:
        reply = relais.chat(stream=True)
    except harness.HttpError as broken:
        assert 'stream_interrupted' in str(broken)
        return None
    assert (reply.status, reply.ended) == (200, 'chunked')
    return reply.stream_text()


def test_a_stream_cut_at_every_byte(gateway, peer):
    """FAULTS 44 over DATA frames: wherever they begin and end, the client gets the same."""
    text = b''.join(sse_events(['Hi ', '\u6f22\U0001f600'])).replace(b'\\u6f22', '\u6f22'.encode())

    def play(stream):
        cut = int(json.loads(stream.body)['messages'][0]['content'])
        stream.head(200, (('content-type', 'text/event-stream'),))
        if cut:
            stream.data(text[:cut])
            stream.data(text[cut:], end=True)
            return
        for i in range(len(text)):  # a byte a frame
            stream.data(text[i:i + 1])
        stream.end()
    relais = gateway(http2([peer(play)]) | {'server': {'workers': 1}})
    want = None
    with relais.client() as client:
        for cut in range(len(text)):
            reply = client.request('POST', PATH, {'model': 'assistant', 'stream': True,
                                                  'stream_options': {'include_usage': True},
                                                  'messages': [{'role': 'user', 'content': str(cut)}]})
            assert reply.ended == 'chunked' and reply.status == 200
            want = want or reply.body
            assert reply.body == want == text, cut


def test_our_own_simulator(gateway, sim):
    """Both ends are ours here; the account of what was served must agree."""
    simulated = sim()
    relais = gateway(http2([simulated.base_url]) | {'server': {'workers': 2}})
    alone = relais.chat('count', stream=True).stream_text()
    replies = together(100, lambda i: relais.chat('count', stream=i % 2 == 0))
    assert all(r.status == 200 for r in replies)
    assert {r.stream_text() for r in replies[::2]} == {alone}
    connections, http2_connections = listed(relais)
    assert connections == http2_connections >= 1
    assert all(r['outcome'] == 'ok' and r['n_attempts'] == 1 for r in relais.access_log(101))


# --- many calls -----------------------------------------------------------------------------------------------------

def test_calls_share_connections_32_on_each(gateway, peer):
    gate = threading.Event()

    def play(stream):
        gate.wait(harness.WAIT_S)
        h2peer.good('hello')(stream)
    provider = peer(play)
    relais = gateway(http2([provider], max_connections=0) | {'server': {'workers': 1}})

    def ask(i):
        if i == 99:
            harness.eventually(lambda: len(provider.streams) >= 99, what='all requests at the provider')
            gate.set()
        return relais.chat().status
    assert together(100, ask) == [200] * 100
    assert len(provider.connections) == 4
    assert max(c.most_open for c in provider.connections) <= 32


def test_the_provider_may_allow_fewer(gateway, peer):
    """MAX_CONCURRENT_STREAMS comes after the first requests may have gone: refused ones go elsewhere."""
    provider = peer(h2peer.good('hello', wait_s=0.05), settings={'MAX_CONCURRENT_STREAMS': 3})
    relais = gateway(http2([provider]) | {'server': {'workers': 1}})
    assert relais.chat().status == 200
    assert together(12, lambda i: relais.chat().status) == [200] * 12
    assert max(c.most_open for c in provider.connections) <= 3
    assert all(r['n_attempts'] == 1 for r in relais.access_log(13))


def test_a_cap_on_connections_is_a_wait(gateway, peer):
    provider = peer(h2peer.good('hello', wait_s=0.05), settings={'MAX_CONCURRENT_STREAMS': 2})
    relais = gateway(http2([provider], max_connections=1) | {'server': {'workers': 1}})
    assert relais.chat().status == 200
    assert together(10, lambda i: relais.chat().status) == [200] * 10
    assert len(provider.connections) == 1 and provider.connections[0].most_open <= 2


def test_a_cap_that_two_workers_share(gateway, peer):
    """Nobody keeps the only connection for itself while the other waits."""
    provider = peer(h2peer.good('hello', wait_s=0.02))
    relais = gateway(http2([provider], max_connections=1) | {'server': {'workers': 2}})

    def ask(i):
        with relais.client() as client:
            return [client.request('POST', PATH, {'model': 'assistant', 'messages': []}).status for _ in range(10)]
    assert together(8, ask) == [[200] * 10] * 8


def test_streams_that_share_every_read_do_not_mix(gateway, peer):
    """Each client gets its own events and nobody else's, however the frames lie together."""
    n, rounds, ready = 16, 20, threading.Barrier(16, timeout=60 * harness.SLOW)

    def play(stream):
        connection = stream.connection
        name = json.loads(stream.body)['messages'][0]['content']
        mine = sse_events([f'{name}.{i} ' for i in range(rounds)])
        for i, event in enumerate(mine):
            with connection.changed:  # all that one round has for all streams goes out in one write
                if i == 0:
                    connection.h2.send_headers(stream.id, [(':status', '200'), ('content-type', 'text/event-stream')])
                connection.h2.send_data(stream.id, event, end_stream=i == len(mine) - 1)
            if ready.wait() == 0:
                connection.do(lambda c: None)
            ready.wait()
    relais = gateway(http2([peer(play)]) | {'server': {'workers': 1}})
    texts = together(n, lambda i: relais.chat(f'n{i}', stream=True).stream_text())
    assert texts == [''.join(f'n{i}.{k} ' for k in range(rounds)) for i in range(n)]


# --- each its own end -----------------------------------------------------------------------------------------------

def test_goaway_is_not_noticed(gateway, peer):
    """Streams above the last one are the provider's no more: they go to a new connection, and that is no attempt."""
    said = threading.Event()

    def play(stream):
        connection = stream.connection
        if connection.number == 0:
            if stream.id == 19:
                connection.goaway(9)
                said.set()
            if stream.id > 9:
                return
            said.wait(harness.WAIT_S)
        h2peer.good(f'{connection.number}')(stream)
    provider = peer(play)
    relais = gateway(http2([provider], max_fails=1) | {'server': {'workers': 1}})
    replies = together(10, lambda i: relais.chat())
    assert [r.status for r in replies] == [200] * 10
    said = sorted(r.json()['choices'][0]['message']['content'] for r in replies)
    assert said == ['0'] * 5 + ['1'] * 5
    assert all(r['n_attempts'] == 1 for r in relais.access_log(10))
    assert target(relais, 'a')['failures'] == 0
    harness.eventually(lambda: provider.connections[0].ended.is_set(), what='the old connection ending')


def test_goaway_on_every_connection_is_a_failure(gateway, peer, provider):
    """Not tried for ever; then another target is."""
    bad = peer(lambda stream: stream.connection.goaway(0))
    relais = gateway(mixed(bad, provider(good('other'))))
    reply = relais.chat()
    assert reply.json()['choices'][0]['message']['content'] == 'other'
    assert len(bad.connections) == 3
    record = relais.access_log(1)[0]
    assert record['n_attempts'] == 2 and faults(record) == ['connect']


FATES = {
    # what the provider does instead of answering: how the attempt is classed
    'reset before the head': (lambda s: s.reset(), 'connect'),
    'refused for ever': (lambda s: s.reset(7), 'connect'),
    'cut before the head': (lambda s: s.connection.cut(), 'connect'),
    'hard cut before the head': (lambda s: s.connection.cut(reset=True), 'connect'),
    'reset behind the head': (lambda s: (s.head(), s.reset()), None),
    'cut in the body': (lambda s: (s.head(), s.data(b'{"choices": ['), s.connection.cut()), None),
    'a length that is not kept': (lambda s: (s.head(200, (('content-length', '99'),)), s.connection.raw(
        b'\0\0\x02\0\x01' + s.id.to_bytes(4, 'big') + b'ok')), None),
    'garbage': (lambda s: s.connection.raw(b'HTTP/1.1 400 Bad Request\r\n\r\n'), None),
    'server error': (lambda s: s.respond(500, b'{}'), 'server_error'),
}


@pytest.mark.parametrize('fate', FATES)
def test_another_target_is_asked(gateway, peer, provider, fate):
    play, fault = FATES[fate]
    bad, other = peer(play), provider(good('other'))
    relais = gateway(mixed(bad, other))
    reply = relais.chat()
    assert reply.status == 200 and reply.json()['choices'][0]['message']['content'] == 'other'
    record = relais.access_log(1)[0]
    assert record['n_attempts'] == 2 and len(faults(record)) == 1
    if fault:
        assert faults(record) == [fault]
    assert len(bad.streams) <= 3


def test_one_that_breaks_does_not_touch_the_others(gateway, peer):
    """A stream that is reset behind its commit point ends alone."""
    gate, events = threading.Event(), sse_events(['one', 'two'])

    def play(stream):
        stream.head(200, (('content-type', 'text/event-stream'),))
        stream.data(b''.join(events[:3]))
        gate.wait(harness.WAIT_S)
        if stream.id == 1:
            stream.reset()
        else:
            stream.data(b''.join(events[3:]), end=True)
    provider = peer(play)
    relais = gateway(http2([provider]) | {'server': {'workers': 1}})

    def ask(i):
        if i == 5:
            harness.eventually(lambda: len(provider.streams) == 5, what='all requests at the provider')
            gate.set()
            return None
        return whole_or_broken(relais)
    assert sorted(map(str, together(6, ask)[:5])) == ['None'] + ['onetwo'] * 4
    assert len(provider.connections) == 1
    outcomes = sorted(r['outcome'] for r in relais.access_log(5))
    assert outcomes.count('ok') == 4


def test_a_client_that_leaves_takes_only_its_stream(gateway, peer):
    events = sse_events(['one'] * 3, usage=False)

    def play(stream):
        stream.head(200, (('content-type', 'text/event-stream'),))
        stream.data(b''.join(events[:3]))
        stream.left.wait(harness.WAIT_S)
    provider = peer(play)
    relais = gateway(http2([provider]) | {'server': {'workers': 1}})
    clients = [relais.client() for _ in range(3)]
    for client in clients:
        client.send('POST', PATH, STREAM)
    harness.eventually(lambda: len(provider.streams) == 3, what='all requests at the provider')
    assert all(read_until(client, b'one') for client in clients)
    for client, stream in zip(clients[:2], provider.streams):
        started = time.monotonic()
        client.close()
        left = harness.eventually(lambda: [s for s in provider.streams if s.left_at and s.left_at >= started],
                                  what='the provider losing a stream', every_s=0.005)
        assert len(left) == 1 and left[0].left_at - started < SOON_S and left[0].reset_code == 8  # CANCEL
    assert len(provider.connections) == 1 and not provider.connections[0].ended.is_set()
    clients[2].close()


def test_a_slow_client_pauses_only_its_own_stream(gateway, peer):
    """Its stream's credit ends; the connection's does not."""
    big = b'data: ' + b'z' * 60_000 + b'\n\n'
    begun, stuck = sse_events(['one'], done=False, usage=False)[:2], threading.Event()
    sent = [0]

    def play(stream):
        if stream.id != 1:
            h2peer.good('quick')(stream)
            return
        stream.head(200, (('content-type', 'text/event-stream'),))
        stream.data(b''.join(begun))
        while stream.data(big, within_s=1.0 * harness.SLOW):
            sent[0] += len(big)
        stuck.set()
        stream.left.wait(60 * harness.SLOW)
    provider = peer(play)
    relais = gateway(http2([provider]) | {'server': {'workers': 1}})
    slow = relais.client()
    slow.send('POST', PATH, STREAM)
    assert stuck.wait(60 * harness.SLOW), 'the slow stream is never stopped'
    assert sent[0] < 24_000_000, 'what the kernel holds is the most of it'
    for _ in range(20):
        assert relais.chat(stream=True).status == 200
    big_answer = together(4, lambda i: relais.chat(stream=True).stream_text())
    assert big_answer == ['quick'] * 4
    assert len(provider.connections) == 1, 'all on the one connection'
    slow.close()
    harness.eventually(lambda: provider.streams[0].left.is_set(), what='the slow stream ending')


def test_settings_that_change_under_way(gateway, peer):
    """A window that shrinks below nothing while a request is sent, and no table for compression."""
    def play(stream):
        stream.respond(200, json.dumps(harness.chat_answer(str(len(stream.body)))).encode())
    provider = peer(play)
    provider.on_request = lambda stream: stream.connection.settings(INITIAL_WINDOW_SIZE=1000, HEADER_TABLE_SIZE=0)
    relais = gateway(http2([provider]) | {'server': {'workers': 1}})
    asked = {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'y' * 300_000}]}
    for _ in range(3):
        reply = relais.post(PATH, asked)
        assert reply.status == 200
        assert int(reply.json()['choices'][0]['message']['content']) == len(provider.streams[-1].body) > 300_000
    assert len(provider.connections) == 1


def test_an_answer_to_an_unread_request(gateway, peer):
    """An early answer counts; what of the request is not wanted is not sent."""
    provider = peer(lambda stream: None, takes_bodies=False)
    error = json.dumps({'error': {'message': 'too much for me', 'type': 'invalid_request_error'}}).encode()

    def refuse(stream):
        stream.respond(413, error)
        stream.reset(0)  # NO_ERROR
    provider.on_request = lambda stream: threading.Thread(target=refuse, args=(stream,), daemon=True).start()
    relais = gateway(http2([provider]) | {'server': {'workers': 1}})
    reply = relais.post(PATH, {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'y' * 1_000_000}]})
    assert reply.status == 413 and b'too much for me' in reply.body
    assert len(provider.streams[0].body) < 1_000_000


def test_a_request_that_nobody_takes(gateway, peer):
    """No credit comes: the time-out of sending ends it, and the stream with it."""
    provider = peer(lambda stream: None, takes_bodies=False)
    relais = gateway(http2([provider], timeouts={'send': '300ms'}))
    reply = relais.post(PATH, {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'y' * 1_000_000}]})
    assert reply.status == 504 and 'send' in reply.text
    assert provider.streams[0].left.wait(harness.WAIT_S)


def test_packed_though_nobody_asked(gateway, peer):
    body = gzip.compress(json.dumps(harness.chat_answer('hello')).encode())
    provider = peer(lambda stream: stream.respond(200, body, (('content-type', 'application/json'),
                                                              ('content-encoding', 'gzip'))))
    reply = gateway(http2([provider])).chat()
    assert reply.status == 200 and reply.json()['choices'][0]['message']['content'] == 'hello'
    assert reply.header('content-encoding') is None
    assert provider.streams[0].headers['accept-encoding'] == 'identity'


def test_a_storm_of_resets(gateway, peer, provider):
    """Everything is reset at once, again and again: each call goes on to the next target."""
    bad = peer(lambda stream: None)
    bad.on_request = lambda stream: stream.connection.h2.reset_stream(stream.id, 1)
    relais = gateway(mixed(bad, provider(good('other'))))
    said = together(100, lambda i: relais.chat().json()['choices'][0]['message']['content'])
    assert said == ['other'] * 100
    assert target(relais, 'a')['in_flight'] == 0


def test_two_hundred_streams_with_cuts(gateway, peer, provider):
    """Resets, goaways and lost connections among 200 calls at once: each gets one whole answer from somewhere; only a
    stream that had begun may break, and says so."""
    def play(stream):
        connection = stream.connection
        time.sleep(0.01 * (stream.id % 7))
        kind = (stream.id // 2) % 11
        if kind == 3:
            stream.reset()
        elif kind == 5:
            stream.reset(7)
        elif kind == 7 and connection.number % 3 == 0:
            connection.goaway(max(0, stream.id - 2))
        elif kind == 9 and connection.number % 4 == 1:
            connection.cut()
        else:
            h2peer.good('hello')(stream)
    relais = gateway(mixed(peer(play), provider(good('hello'))))
    def ask(i):
        return whole_or_broken(relais) if i % 2 else relais.chat().json()['choices'][0]['message']['content']
    said = together(200, ask)
    assert set(said) <= {'hello', None}
    broken = said.count(None)
    assert broken < 100 and None not in said[::2]
    outcomes = [r['outcome'] for r in relais.access_log(200)]
    assert len(outcomes) == 200 and outcomes.count('ok') == 200 - broken
    assert target(relais, 'a')['in_flight'] == 0


# --- connections ----------------------------------------------------------------------------------------------------

def test_a_reload_drops_nothing(gateway, peer):
    events, gate = sse_events(['one', 'two']), threading.Event()

    def play(stream):
        stream.head(200, (('content-type', 'text/event-stream'),))
        stream.data(b''.join(events[:2]))
        gate.wait(harness.WAIT_S)
        stream.data(b''.join(events[2:]), end=True)
    provider = peer(play)
    made = http2([provider])
    relais = gateway(made)

    def ask(i):
        if i < 8:
            return relais.chat(stream=True)
        harness.eventually(lambda: len(provider.streams) == 8, what='all requests at the provider')
        for n in (40, 41, 42):
            made['providers']['a']['max_idle_connections'] = n  # another origin: the old one's connections go
            relais.write_config(made)
            assert relais.admin_request('POST', '/reload').status == 200
        gate.set()
        return None
    replies = together(9, ask)[:8]
    assert [(r.ended, r.stream_text()) for r in replies] == [('chunked', 'onetwo')] * 8
    for connection in provider.connections:
        harness.eventually(connection.ended.is_set, what='the connections of the old settings ending')


def test_tls_agrees_on_http2(gateway, peer, certificates):
    context = certificates.server_context()
    context.set_alpn_protocols(['h2', 'http/1.1'])
    provider = peer(h2peer.good('hello'), tls=context)
    relais = gateway(http2([provider], ca_file=certificates.ca) | {'server': {'workers': 1}})
    assert together(8, lambda i: relais.chat().status) == [200] * 8
    assert len(provider.connections) == 1 and provider.streams[0].headers[':scheme'] == 'https'
    assert listed(relais) == (1, 1)


@pytest.mark.parametrize('offers', [['http/1.1'], None])
def test_tls_falls_back_to_http1(gateway, provider, certificates, offers):
    context = certificates.server_context()
    if offers:
        context.set_alpn_protocols(offers)
    only = provider(good('hello', wait_s=0.05), tls=context)
    relais = gateway(http2([only], ca_file=certificates.ca))
    assert together(8, lambda i: relais.chat().status) == [200] * 8
    assert relais.chat(stream=True).stream_text() == 'hello'
    connections, http2_connections = listed(relais)
    assert connections >= 1 and http2_connections == 0


def test_without_the_key_nothing_is_negotiated(gateway, provider, certificates):
    context = certificates.server_context()
    context.set_alpn_protocols(['h2', 'http/1.1'])
    only = provider(good('hello'), tls=context)
    relais = gateway(config([only], ca_file=certificates.ca))
    assert relais.chat().status == 200


def test_a_silent_connection_gets_no_more_calls(gateway, peer):
    """Nothing comes while a call waits in vain: the next one has a connection of its own."""
    def play(stream):
        if stream.connection.number == 0:
            stream.left.wait(60 * harness.SLOW)
        else:
            h2peer.good('hello')(stream)
    provider = peer(play)
    relais = gateway(http2([provider], timeouts={'first_byte': '300ms'}) | {'server': {'workers': 1}})
    assert relais.chat().status == 504
    assert relais.chat().status == 200
    harness.eventually(provider.connections[0].ended.is_set, what='the silent connection ending')


# --- other ways there -----------------------------------------------------------------------------------------------

@pytest.fixture(params=['proxy', 'proxy, tls', 'unix'])
def way(request, provider, peer, certificates, tmp_path):
    """way(play) -> (the provider, what is configured of it, the proxy if there is one)."""
    def make(play):
        if request.param == 'unix':
            a = peer(play, path=str(tmp_path / 'model.sock'))
            return a, http2([a]), None
        tls = None
        if 'tls' in request.param:
            tls = certificates.server_context(name='behind', names=(NAME,))
            tls.set_alpn_protocols(['h2', 'http/1.1'])
        a = peer(play, tls=tls)
        proxy = provider(opening(a))
        return a, http2([behind('https' if tls else 'http')], proxy=via(proxy), ca_file=certificates.ca), proxy
    return make


def test_calls_share_a_connection_however_it_was_reached(gateway, way):
    gate = threading.Event()

    def play(stream):
        gate.wait(harness.WAIT_S)
        h2peer.good('hello')(stream)
    a, settings, proxy = way(play)
    relais = gateway(settings | {'server': {'workers': 1}})

    def ask(i):
        if i == 12:
            harness.eventually(lambda: len(a.streams) == 12, what='all requests at the provider')
            gate.set()
        return relais.chat(stream=i % 2 == 0).stream_text() if i % 2 == 0 else relais.chat().status
    assert together(13, ask) == ['hello', 200] * 6 + ['hello']
    assert relais.chat('y' * 300_000).status == 200
    assert len(a.connections) == 1 and listed(relais) == (1, 1)
    headers = a.streams[0].headers
    if proxy:
        assert [r.line for r in proxy.requests] == [f'CONNECT {NAME}:8000 HTTP/1.1']
        assert headers[':authority'] == f'{NAME}:8000' and 'proxy-authorization' not in headers
    else:
        assert (headers[':authority'], headers[':scheme']) == ('localhost', 'http')


def test_a_provider_behind_a_proxy_may_speak_first(gateway, provider, peer):
    """Its SETTINGS come together with the proxy's answer."""
    a = peer(h2peer.good('hello'))

    def script(connection):
        if not connection.read_request():
            return
        with socket.create_connection((a.host, a.port), timeout=harness.WAIT_S) as beyond:
            connection.send(b'HTTP/1.1 200 OK\r\n\r\n' + beyond.recv(65536))
            back = threading.Thread(target=pump, args=(beyond, connection.sock), daemon=True)
            back.start()
            pump(connection.sock, beyond)
            back.join(harness.WAIT_S)
    relais = gateway(http2([behind()], proxy=via(provider(script))) | {'server': {'workers': 1}})
    assert [relais.chat().status for _ in range(3)] == [200] * 3
    assert len(a.connections) == 1


def test_goaway_is_not_noticed_however_it_was_reached(gateway, way):
    """The streams above the last one go to a new connection, by the same way."""
    said = threading.Event()

    def play(stream):
        if stream.connection.number == 0:
            if stream.id == 11:
                stream.connection.goaway(5)
                said.set()
            if stream.id > 5:
                return
            said.wait(harness.WAIT_S)
        h2peer.good(f'{stream.connection.number}')(stream)
    a, settings, proxy = way(play)
    relais = gateway(settings | {'server': {'workers': 1}})
    replies = together(6, lambda i: relais.chat())
    assert [r.status for r in replies] == [200] * 6, [(r.status, r.body) for r in replies if r.status != 200] + relais.access_log(6)
    said_by = sorted(r.json()['choices'][0]['message']['content'] for r in replies)
    assert said_by == ['0'] * 3 + ['1'] * 3
    assert all(r['n_attempts'] == 1 for r in relais.access_log(6))
    assert len(a.connections) == 2 and (not proxy or len(proxy.requests) == 2)
    harness.eventually(a.connections[0].ended.is_set, what='the old connection ending')
