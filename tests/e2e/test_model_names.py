# SPDX-License-Identifier: Apache-2.0
"""What a model's name means: an alias, provider/rest, a bare id by the catalogues in order, or nothing (CONTRACT)."""
import json

import pytest

import harness
from harness import http_answer
from kit import config, good, latest, serving, whole


@pytest.fixture
def named(gateway, provider):
    """Three providers; some names would fit several rules."""
    servers = [provider(good(n)) for n in 'abc']
    settings = config(servers)
    settings['providers']['a']['models'] = ['one', 'shared', 'org/deep/model:free']
    settings['providers']['b']['models'] = ['two', 'shared', 'aliased']
    settings['providers']['c']['models'] = ['three']
    settings['models'] = {
        'aliased': {'targets': [{'provider': 'c', 'model': 'three'}]},
        'a/one': {'targets': [{'provider': 'b', 'model': 'two'}]},  # an alias may look like a pinned name
    }
    relais = gateway(settings)
    relais.servers = dict(zip('abc', servers))
    return relais


NAMES = [
    # asked, provider, model there
    ('aliased', 'c', 'three'), ('a/one', 'b', 'two'), ('a/shared', 'a', 'shared'), ('b/shared', 'b', 'shared'),
    ('shared', 'a', 'shared'), ('two', 'b', 'two'), ('three', 'c', 'three'), ('b/aliased', 'b', 'aliased'),
    ('org/deep/model:free', 'a', 'org/deep/model:free'), ('a/org/deep/model:free', 'a', 'org/deep/model:free'),
    ('c/never/listed', 'c', 'never/listed'), ('c//', 'c', '/'), ('b/ü', 'b', 'ü'), ('b/a b', 'b', 'a b'),
]


@pytest.mark.parametrize('asked, provider_name, model', NAMES)
def test_a_name(named, asked, provider_name, model):
    reply = named.chat(model=asked)
    assert (reply.status, reply.header('x-relais-provider')) == (200, provider_name)
    assert json.loads(latest(named.servers[provider_name]).body)['model'] == model
    record = named.access_log(1)[0]
    assert (record['model_asked'], record['provider'], record['model']) == (asked, provider_name, model)
    assert record['alias'] == (asked if asked in ('aliased', 'a/one') else None)


@pytest.mark.parametrize('asked', ['four', 'A/one', 'd/one', 'a/', '/', '/one', 'ALIASED', 'aliased ', 'one/a'])
def test_a_name_that_means_nothing(named, asked):
    reply = named.chat(model=asked)
    error = reply.json()['error']
    assert (reply.status, error['code'], error['param']) == (404, 'model_not_found', 'model')
    assert not any(server.requests for server in named.servers.values())


@pytest.mark.parametrize('asked', ['', None, 7, ['a/one'], {'a': 1}, 'x' * 5000], ids=lambda v: repr(v)[:20])
def test_a_name_that_is_none(named, asked):
    reply = named.chat(model=asked)
    assert reply.status in (400, 404) and reply.json()['error']['param'] == 'model'


def test_ids_that_the_provider_lists_itself(gateway, provider):
    """Nobody waits for that list: until it has come, only pinned names are known."""
    listing = {'object': 'list', 'data': [{'id': 'fetched', 'object': 'model'}, {'id': 'org/other', 'object': 'model'}]}

    def play(connection, request):
        connection.send(http_answer(listing) if request.line.startswith('GET /v1/models ') else whole())
    a = provider(serving(play))
    settings = config([a])
    del settings['providers']['a']['models']
    relais = gateway(settings)
    harness.eventually(lambda: relais.chat(model='fetched').status == 200, what='the list of the provider')
    ids = [m['id'] for m in relais.get('/v1/models').json()['data']]
    assert ids == ['assistant', 'a/fetched', 'a/org/other']
    assert relais.chat(model='org/other').status == 200


@pytest.mark.parametrize('answer', [b'', http_answer('<html/>'), http_answer({'data': 'x'}), http_answer(b'{"data": [{"id": 1}, 2, {"id": ""}]}'),
                                    http_answer({'data': [{'id': 'x\n'}]}), http_answer(b'', status='500 X'), http_answer(b'x' * 9_000_000)],
                         ids=lambda v: repr(v[-40:]))
def test_a_provider_that_lists_nonsense(gateway, provider, answer):
    def play(connection, request):
        connection.send(answer if request.line.startswith('GET ') else whole())
        return bool(answer)
    a = provider(serving(play))
    settings = config([a])
    del settings['providers']['a']['models']
    relais = gateway(settings)
    harness.eventually(lambda: [r for r in a.requests if r.line.startswith('GET /v1/models ')], what='the question')
    assert relais.chat().status == 200
    ids = [m['id'] for m in relais.get('/v1/models').json()['data']]
    assert ids[0] == 'assistant' and all('\n' not in i for i in ids)
