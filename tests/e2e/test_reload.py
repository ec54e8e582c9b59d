# SPDX-License-Identifier: Apache-2.0
"""A reload swaps the whole configuration or nothing, and no request notices (FAULTS 69, 70b)."""
import json
import os
import signal
import threading
import time

import pytest

import harness
from harness import chunked, sse_events, STREAM_HEAD
from kit import config, good, serving, streamed, target

RELOADS = int(os.environ.get('RELAIS_TEST_RELOADS', '200'))


def reload_by_signal(relais):
    before = relais.status()['config_generation']
    relais.signal(signal.SIGHUP)
    harness.eventually(lambda: relais.status()['config_generation'] > before, what='the next generation', every_s=0.002)


def reload_by_post(relais):
    reply = relais.admin_request('POST', '/reload')
    assert (reply.status, reply.json()['reloaded']) == (200, True), reply


class Load:
    """Clients that ask without pause, whole and streamed, over kept and fresh connections, until they are told to stop."""

    def __init__(self, relais, workers=4):
        self.relais, self.wrong, self.answered = relais, [], 0
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(workers)]
        for thread in self.threads:
            thread.start()

    def _work(self, number):
        client = self.relais.client()
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            try:
                if number % 2 and turn % 5 == 0:
                    client.close()
                    client = self.relais.client()
                stream = (turn + number) % 2 == 0
                reply = client.post('/v1/chat/completions', {'model': 'assistant', 'stream': stream, 'messages': []})
                text = reply.stream_text() if stream else reply.json()['choices'][0]['message']['content']
                if reply.status != 200 or text != 'hello':
                    self.wrong.append(reply)
                with self.lock:
                    self.answered += 1
            except Exception as problem:  # whatever it is, a client saw it
                self.wrong.append(problem)
                return
        client.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(harness.WAIT_S)
        return self.wrong


def test_reload_again_and_again_under_load(gateway, provider):
    a, b = provider(good()), provider(good())
    variants = [config([a, b], 'round_robin'), config([b], server={'keepalive': '60s'}),
                config([a, b, a], 'least_connections', headers={'set': {'X-Variant': '3'}})]
    relais = gateway(variants[0])
    load = Load(relais)
    descriptors = 0
    for number in range(RELOADS):
        relais.write_config(variants[number % 3])
        (reload_by_signal if number % 2 else reload_by_post)(relais)
        if number == 20:
            descriptors = relais.descriptors()
    assert not load.stop(), load.wrong[:3]
    status = relais.status()
    assert (status['config_generation'], status['reloads_ok'], status['reloads_rejected']) == (RELOADS + 1, RELOADS, 0)
    assert load.answered > 50
    harness.eventually(lambda: relais.descriptors() <= descriptors + 4, what='the end of unused connections')
    records = relais.access_log(load.answered)
    assert len(records) == load.answered and {r['outcome'] for r in records} == {'ok'}
    assert all(r['n_attempts'] == 1 for r in records)
    assert relais.metrics()['relais_config_reloads_total{result="ok"}'] == RELOADS


@pytest.mark.parametrize('broken', ['providers: [', 'nonsense: 1\n', 'providers: {a: {base_url: 7}}\nmodels: {x: {targets: []}}\n', '',
                                    'models: {x: {targets: [{provider: nobody, model: m}]}}\n', None])
def test_a_bad_configuration_changes_nothing(gateway, provider, broken):
    relais = gateway(config([provider(good())]))
    if broken is None:
        os.unlink(relais.config_path)
    else:
        with open(relais.config_path, 'w', encoding='utf-8') as file:
            file.write(broken)
    reply = relais.admin_request('POST', '/reload')
    if broken == '':  # an empty file is a configuration without providers: valid, and what it says
        assert reply.status in (200, 422)
        return
    body = reply.json()
    assert (reply.status, body['reloaded']) == (422, False) and body['report']
    if broken is not None:
        assert all('relais.yaml' in line for line in body['report'])
    relais.signal(signal.SIGHUP)
    harness.eventually(lambda: relais.status()['reloads_rejected'] == 2, what='the second refusal')
    harness.eventually(lambda: 'the configuration was not changed' in relais.output(), what='the warning')
    status = relais.status()
    assert (status['config_generation'], status['reloads_ok']) == (1, 0)
    assert relais.chat().status == 200


def test_what_runs_on_is_not_touched(gateway, provider):
    """A stream, and a request still waiting for its head, end well although their provider is gone from the config."""
    gate = threading.Event()
    events = sse_events(['one ', 'two'], usage=False)

    def play(connection, request):
        if b'"stream": true' in request.body:
            connection.send(STREAM_HEAD + b''.join(chunked(e) for e in events[:2]))
            gate.wait(harness.WAIT_S)
            connection.send(b''.join(chunked(e) for e in events[2:]) + chunked(b''))
        else:
            gate.wait(harness.WAIT_S)
            connection.send(harness.http_answer(harness.chat_answer('late')))
    old, new = provider(serving(play)), provider(good('from the new one'))
    relais = gateway(config([old]))
    streaming, waiting = relais.client(), relais.client()
    streaming.send('POST', '/v1/chat/completions', {'model': 'assistant', 'stream': True, 'messages': []})
    waiting.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
    harness.eventually(lambda: target(relais, 'a')['in_flight'] == 2)
    settings = config([new])
    settings['providers'] = {'z': settings['providers']['a']}
    settings['models']['assistant']['targets'][0]['provider'] = 'z'
    relais.write_config(settings)
    for _ in range(3):
        reload_by_post(relais)
    harness.eventually(lambda: relais.chat().header('x-relais-provider') == 'z', what='the new configuration')
    assert [p['name'] for p in relais.status()['providers']] == ['z']
    gate.set()
    assert waiting.read_reply('POST').json()['choices'][0]['message']['content'] == 'late'
    assert streaming.read_reply('POST').stream_text() == 'one two'
    streaming.close(), waiting.close()
    records = [r for r in relais.access_log(3) if r['provider'] == 'a']
    assert {r['outcome'] for r in records} == {'ok'} and len(records) == 2


def test_what_a_target_did_survives(gateway, provider):
    """Failures, turns and what is in flight belong to the target, not to the file that names it."""
    settings = config([provider(harness.http_answer(b'', status='500 X')), provider(good())], max_fails=2, fail_timeout='1h')
    relais = gateway(settings)
    relais.chat(), relais.chat()
    assert target(relais, 'a')['state'] == 'down'
    reload_by_post(relais)
    assert (target(relais, 'a')['state'], target(relais, 'a')['failures']) == ('down', 2)


def test_round_robin_goes_on_where_it_was(gateway, provider):
    relais = gateway(config([provider(good())] * 3, 'round_robin'))
    turns = ''
    for _ in range(6):
        turns += relais.chat().header('x-relais-provider')
        reload_by_post(relais)
    assert turns == 'abcabc'


def test_keys_are_those_of_the_new_file(gateway, provider):
    a = provider(good())
    relais = gateway(config([a], api_key='old-key'))
    assert relais.chat().status == 200
    relais.write_config(config([a], api_key='new-key'))
    reload_by_post(relais)

    def key():
        assert relais.chat().status == 200
        return dict((n.lower(), v) for n, v in max(a.requests, key=lambda r: r.at).headers)['authorization']
    harness.eventually(lambda: key() == 'Bearer new-key', what='the new key')


def test_a_model_that_is_gone_is_gone(gateway, provider):
    settings = config([provider(good())])
    settings['models']['other'] = settings['models']['assistant']
    relais = gateway(settings)
    assert relais.chat(model='other').status == 200
    del settings['models']['other']
    relais.write_config(settings)
    reload_by_post(relais)
    harness.eventually(lambda: relais.chat(model='other').status == 404, what='the new configuration')
    assert 'other' not in [m['id'] for m in relais.get('/v1/models').json()['data']]


def test_what_cannot_change_is_said(gateway, provider):
    settings = config([provider(good())])
    relais = gateway(settings)
    relais.write_config({**settings, 'server': {'listen': '127.0.0.1:1', 'workers': 7}, 'log': {'access': '/nonexistent/x'}})
    reply = relais.admin_request('POST', '/reload')
    assert reply.status == 200
    report = '\n'.join(reply.json()['report'])
    for key in ('server.listen', 'server.workers', 'log.access'):
        assert key in report
    assert relais.chat().status == 200


def test_a_stream_of_reloads_with_streams_in_flight(gateway, provider):
    """Each stream began under another generation; all end whole."""
    gate = threading.Event()
    events = sse_events(['x'] * 3, usage=False)

    def play(connection, _):
        connection.send(STREAM_HEAD + b''.join(chunked(e) for e in events[:3]))
        gate.wait(harness.WAIT_S)
        connection.send(b''.join(chunked(e) for e in events[3:]) + chunked(b''))
    settings = config([provider(serving(play))])
    relais = gateway(settings)
    clients = []
    for _ in range(30):
        client = relais.client()
        client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'stream': True, 'messages': []})
        clients.append(client)
        reload_by_post(relais)
    gate.set()
    assert [c.read_reply('POST').body for c in clients] == [b''.join(events)] * 30
    for client in clients:
        client.close()
