# SPDX-License-Identifier: Apache-2.0
"""How the program starts and ends: exit statuses, draining, the second signal, the log's reopening (FAULTS 68)."""
import json
import os
import re
import resource
import select
import signal
import socket
import threading
import time

import pytest

import h2kit
import harness
from harness import chunked, run, sse_events, STREAM_HEAD
from kit import config, good, read_broken, serving

STREAM = {'model': 'assistant', 'stream': True, 'messages': []}
EVENTS = sse_events(['one ', 'two'], usage=False)


@pytest.fixture
def paused(gateway, provider):
    """make(**config) -> (gateway, client in the midst of a stream, gate that lets the stream go on)."""
    gate = threading.Event()

    def play(connection, request):
        connection.send(STREAM_HEAD + b''.join(chunked(e) for e in EVENTS[:2]))
        gate.wait(harness.WAIT_S)
        connection.send(b''.join(chunked(e) for e in EVENTS[2:]) + chunked(b''))

    def make(**server):
        relais = gateway(config([provider(serving(play))], server=server))
        client = relais.client()
        client.send('POST', '/v1/chat/completions', STREAM)
        harness.eventually(lambda: relais.status()['models'][0]['targets'][0]['in_flight'] == 1)
        harness.eventually(lambda: _readable(client), what='the begin of the stream')
        return relais, client, gate
    yield make
    gate.set()


def _readable(client):
    return select.select([client.sock], [], [], 0)[0]


def refused(relais):
    try:
        socket.create_connection(relais.data, timeout=1).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it waited in the backlog of a listener that was just being closed
        return False
    return False


def test_drain(paused):
    """What runs ends well, idle connections close, nobody new is accepted, and the status is 0."""
    relais, client, gate = paused()
    idle = relais.client()
    assert idle.get('/ready').status == 200
    relais.signal(signal.SIGTERM)
    assert idle.closed_by_peer(), 'an idle connection is not waited for'
    harness.eventually(lambda: refused(relais), what='the refusal of new connections')
    assert relais.running()
    assert relais.admin_request('GET', '/ready').status == 503
    assert relais.status()['draining'] is True
    gate.set()
    reply = client.read_reply('POST')
    assert reply.body == b''.join(EVENTS) and reply.ended == 'chunked'
    assert client.closed_by_peer()
    started = time.monotonic()
    assert relais.wait() == 0
    assert time.monotonic() - started < 1 * harness.SLOW
    assert [r['outcome'] for r in relais.access_log() if r['path'] != '/ready'] == ['ok']
    client.close(), idle.close()


def test_drain_closes_a_connection_after_its_answer(gateway, provider):
    gate = threading.Event()

    def play(connection, _):
        gate.wait(harness.WAIT_S)
        connection.send(harness.http_answer(harness.chat_answer()))
    relais = gateway(config([provider(serving(play))]))
    with relais.client() as client:
        client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
        harness.eventually(lambda: relais.status()['models'][0]['targets'][0]['in_flight'] == 1)
        relais.signal(signal.SIGTERM)
        harness.eventually(lambda: refused(relais))
        gate.set()
        reply = client.read_reply('POST')
        assert reply.status == 200 and reply.header('connection') == 'close'
        assert client.closed_by_peer()
    assert relais.wait() == 0


def test_the_deadline_of_draining(paused):
    relais, client, _ = paused(drain={'deadline': '300ms'})
    started = time.monotonic()
    relais.signal(signal.SIGTERM)
    body = read_broken(client)
    assert relais.wait() == 0
    assert 0.25 < time.monotonic() - started < 0.3 + 2.5 * harness.SLOW
    assert b'[DONE]' not in body and not body.endswith(b'0\r\n\r\n')
    assert len(relais.access_log()) == 1 and relais.access_log()[0]['outcome'] in ('cut', 'left')
    client.close()


def test_a_second_signal_cuts(paused):
    relais, client, _ = paused()
    relais.signal(signal.SIGTERM)
    harness.eventually(lambda: refused(relais))
    assert relais.running()
    relais.signal(signal.SIGTERM)
    body = read_broken(client)
    assert b'[DONE]' not in body
    assert relais.wait(5 * harness.SLOW) == 0
    client.close()


def test_the_delay_before_draining(gateway, provider):
    """Balancers see that it is not ready while it still accepts."""
    relais = gateway(config([provider(good())], server={'drain': {'delay': '600ms'}}))
    relais.signal(signal.SIGTERM)
    harness.eventually(lambda: relais.get('/ready').status == 503, what='not being ready')
    assert relais.get('/ready').body == b'draining\n'
    assert relais.get('/health').status == 200 and relais.chat().status == 200
    assert relais.wait() == 0


def test_interrupt_is_the_same(gateway):
    relais = gateway()
    relais.signal(signal.SIGINT)
    assert relais.wait() == 0


def test_the_log_is_opened_anew(gateway, provider):
    relais = gateway(config([provider(good())]))
    relais.chat()
    relais.access_log(1)
    os.rename(relais.access_path, relais.access_path + '.1')
    relais.chat()
    relais.signal(signal.SIGUSR1)
    harness.eventually(lambda: os.path.exists(relais.access_path), what='the new file')
    for _ in range(3):
        relais.chat()
    def lines():
        with open(relais.access_path + '.1', encoding='utf-8') as file:
            return len([json.loads(line) for line in file]) + len(relais.access_log())
    harness.eventually(lambda: lines() == 5, what='five records in both files')
    assert len(relais.access_log()) >= 3


def test_the_log_on_standard_output(gateway, provider):
    settings = config([provider(good())])
    settings['log'] = {'access': 'stdout'}
    relais = gateway(settings)
    relais.chat()
    line = harness.eventually(lambda: [l for l in relais.stdout.split('\n') if l.startswith('{')], what='the line')
    assert json.loads(line[0])['outcome'] == 'ok'


def test_nothing_to_write_the_log_to(tmp_path):
    path = tmp_path / 'relais.yaml'
    path.write_text(json.dumps({'server': {'listen': '127.0.0.1:0', 'admin': '127.0.0.1:0'}, 'log': {'access': '/nonexistent/log'}}))
    done = run('serve', '--config', path)
    assert done.returncode == 1 and '/nonexistent/log' in done.stderr


@pytest.mark.parametrize('key', ['listen', 'admin'])
def test_an_occupied_port(gateway, tmp_path, key):
    """CONTRACT: an error, never a silent second listener."""
    first = gateway()
    server = {'listen': '127.0.0.1:0', 'admin': '127.0.0.1:0', key: '127.0.0.1:%d' % first.data[1]}
    path = tmp_path / 'relais.yaml'
    path.write_text(json.dumps({'server': server}))
    done = run('serve', '--config', path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert str(first.data[1]) in done.stderr and 'use' in done.stderr
    assert first.get('/health').status == 200


@pytest.mark.parametrize('text', ['providers: [', 'server: {lisen: x}', 'server: {listen: nowhere}', 'server: {workers: -1}'])
def test_a_bad_configuration(tmp_path, text):
    path = tmp_path / 'relais.yaml'
    path.write_text(text)
    done = run('serve', '--config', path)
    assert done.returncode == 2 and re.search(r'relais\.yaml:[12]:\d+: ', done.stderr), done.stderr


def test_a_configuration_that_is_not_there():
    done = run('serve', '--config', '/nonexistent/relais.yaml')
    assert done.returncode == 2 and '/nonexistent/relais.yaml' in done.stderr


def test_a_configuration_in_the_folder_is_found(tmp_path, products, provider):
    settings = config([provider(good())], server={'listen': '127.0.0.1:0', 'admin': '127.0.0.1:0'})
    (tmp_path / 'relais.yaml').write_text(json.dumps(settings))
    relais = products.add(harness.Process([], ready=('data', 'admin'), folder=str(tmp_path)))
    with harness.Client(*relais.address('data')) as client:
        assert client.post('/v1/chat/completions', {'model': 'assistant', 'messages': []}).status == 200


@pytest.mark.parametrize('how', ['unset', 'empty'])
def test_a_provider_whose_key_is_missing(gateway, provider, how):
    """It is off, and said so at the start, in /status, and by whoever asks for it; the others serve."""
    settings = config([provider(good()), provider(good())])
    settings['providers']['a']['api_key'] = '${RELAIS_TEST_KEY}'
    relais = gateway(settings, env={} if how == 'unset' else {'RELAIS_TEST_KEY': ''})
    assert 'RELAIS_TEST_KEY' in relais.output()
    listed = {p['name']: p for p in relais.status()['providers']}
    assert (listed['a']['on'], listed['b']['on']) == (False, True)
    assert relais.chat().header('x-relais-provider') == 'b'
    reply = relais.chat(model='a/m')
    assert reply.status == 503 and 'RELAIS_TEST_KEY' in reply.text


def test_workers(gateway, provider):
    for workers in (1, 3):
        relais = gateway(config([provider(good())], server={'workers': workers}))
        assert len(relais.status()['workers']) == workers
        clients = [relais.client() for _ in range(6)]
        assert all(c.get('/ready').status == 200 for c in clients)
        assert [w['connections'] for w in relais.status()['workers']] == [6 // workers] * workers, 'spread evenly'
        for client in clients:
            client.close()


@pytest.mark.skipif(not harness.has_ipv6(), reason='this machine has no IPv6')
def test_several_listeners(gateway, provider):
    relais = gateway(config([provider(good())], server={'listen': ['127.0.0.1:0', '[::1]:0'], 'admin': ['127.0.0.1:0', '[::1]:0']}))
    harness.eventually(lambda: len(relais.addresses['data']) == len(relais.addresses['admin']) == 2, what='four addresses')
    for at in (0, 1):
        with harness.Client(*relais.address('data', at)) as client:
            assert client.post('/v1/chat/completions', {'model': 'assistant', 'messages': []}).status == 200
        with harness.Client(*relais.address('admin', at)) as client:
            assert client.get('/metrics').status == 200
    assert len(relais.status()['listeners']) == 2
    assert any(r['peer'].startswith('[::1]:') for r in relais.access_log(2))


def test_a_cap_of_connections(gateway, provider):
    """FAULTS 35: more wait in the kernel, none is lost, and there is room again when some leave."""
    relais = gateway(config([provider(good())], server={'max_connections': 4, 'header_timeout': '5m'}))
    clients = [relais.client() for _ in range(4)]
    assert all(c.get('/health').status == 200 for c in clients)
    for client in clients:  # not idle: those would make room
        client.sock.sendall(b'GET /hea')
    fifth = relais.client()
    fifth.send('GET', '/health')
    time.sleep(0.2)
    assert not fifth.closed_by_peer(0.1)
    clients.pop().close()
    assert fifth.read_reply('GET').status == 200
    for client in clients + [fifth]:
        client.close()


@pytest.mark.parametrize('workers', [1, 2])
def test_idle_connections_make_room(gateway, provider, workers):
    """FAULTS 35: all places are held by clients that rest; new ones are served soon, at the cost of those that rest longest."""
    relais = gateway(config([provider(good())], server={'max_connections': 6, 'workers': workers, 'keepalive': '1h',
                                                                'header_timeout': '5m'}))
    clients = [relais.client() for _ in range(4)]
    assert all(c.get('/health').status == 200 for c in clients)
    with h2kit.H2Client(relais.data) as second, relais.client() as busy:
        assert second.finish(second.request('GET', '/health')).status == 200
        busy.sock.sendall(b'GET /health HTTP/1.1\r\n')
        time.sleep(1.1)  # only then they count as idle
        new = [relais.client() for _ in range(5)]
        for client in new:
            assert client.get('/health').status == 200
        assert relais.metrics()['relais_connections_shed_total'] >= 5
        assert all(client.closed_by_peer() for client in clients)
        second.wait_closed()
        assert [code for code, _ in second.goaways] == [h2kit.NO_ERROR]
        busy.sock.sendall(b'Host: localhost\r\n\r\n')  # whoever is in the midst of something keeps its place
        assert busy.read_reply('GET').status == 200
        for client in clients + new:
            client.close()


def test_few_descriptors(gateway, provider):
    """FAULTS 36: accepting pauses; it neither spins nor breaks what runs, and recovers."""
    relais = gateway(config([provider(good())], server={'workers': 1}))
    hard = resource.prlimit(relais.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(relais.pid, resource.RLIMIT_NOFILE, (relais.descriptors() + 10, hard[1]))
    clients = [relais.client() for _ in range(30)]
    time.sleep(0.3)
    before = relais.cpu_s()
    assert clients[0].get('/health').status == 200
    time.sleep(0.5)
    assert relais.cpu_s() - before < 0.2 * harness.SLOW, 'it spins'
    for client in clients[:20]:
        client.close()
    assert clients[29].get('/health').status == 200
    for client in clients[20:]:
        client.close()
    assert relais.chat().status == 200
