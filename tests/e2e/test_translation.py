# SPDX-License-Identifier: Apache-2.0
"""Every client's dialect to every provider's: text, streams, tools, errors, usage, and what is said of what is lost (SPEC P2-P7)."""
import json
import types

import pytest

import harness
from harness import http_answer
from test_callers import new_key
from kit import Dechunker, header, latest, serving
import wording
from wording import CLIENTS, PROVIDERS, TOOL, ask, same_json

PAIRS = [(client, dialect) for client in CLIENTS for dialect in PROVIDERS]
pairs = pytest.mark.parametrize('client,dialect', PAIRS, ids=[f'{c.name}-{d}' for c, d in PAIRS])


def over(gateway, simulators, dialects):
    """An alias over these simulated providers, in this order."""
    return gateway({'providers': {f'p{i}': wording.provider(s, d) for i, (s, d) in enumerate(zip(simulators, dialects))},
                    'models': {'assistant': {'strategy': 'priority',
                                             'targets': [{'provider': f'p{i}', 'model': 'm'} for i in range(len(dialects))]}}})


@pairs
def test_text(gateway, sim, client, dialect):
    simulated = sim({'content': 'Grüße, "Welt"\n', 'prompt_tokens': 11})
    relais = over(gateway, [simulated], [dialect])
    reply = ask(relais, client)
    assert reply.status == 200, reply
    assert reply.header('content-type') == 'application/json'
    said = client.read(reply)
    assert (said['text'], said['finish'], said['calls']) == ('Grüße, "Welt"\n', 'stop', [])
    assert said['usage'][0] == 11 and said['usage'][1] > 0, said
    assert relais.access_log(1)[0]['tokens']['prompt'] == 11


@pairs
def test_stream(gateway, sim, client, dialect):
    simulated = sim({'content': 'Grüße, "Welt" und alle anderen\n', 'prompt_tokens': 11, 'usage': 'always'})
    relais = over(gateway, [simulated], [dialect])
    whole, streamed = ask(relais, client), ask(relais, client, stream=True)
    assert streamed.status == 200 and streamed.header('content-type').startswith('text/event-stream'), streamed
    said = client.read_stream(streamed)
    assert not said['error'], said
    assert said == client.read(whole)


@pairs
@pytest.mark.parametrize('stream', [False, True], ids=['whole', 'stream'])
def test_tool_call(gateway, sim, client, dialect, stream):
    simulated = sim({'tool_call': '*', 'tool_arguments': '{"city":"Zürich"}'})
    relais = over(gateway, [simulated], [dialect])
    reply = ask(relais, client, stream=stream, tools=True)
    assert reply.status == 200, reply
    said = client.read_stream(reply) if stream else client.read(reply)
    assert [name for name, _ in said['calls']] == [TOOL], said
    assert same_json(said['calls'][0][1], '{"city":"Zürich"}')
    assert (said['finish'], said['text']) == ('tool_calls', '')


@pairs
def test_cut_short(gateway, sim, client, dialect):
    """What stops at the limit says so, in either form."""
    relais = over(gateway, [sim({'finish_reason': 'length'})], [dialect])
    assert client.read(ask(relais, client))['finish'] == 'length'
    assert client.read_stream(ask(relais, client, stream=True))['finish'] == 'length'


@pairs
@pytest.mark.parametrize('status,expected', [(400, 400), (429, 429), (500, 502)])
def test_error(gateway, sim, client, dialect, status, expected):
    """A provider's error comes in the client's shape."""
    relais = over(gateway, [sim({'status': status, 'error_message': 'told to fail'})], [dialect])
    reply = ask(relais, client)
    assert reply.status == expected, reply
    assert 'told to fail' in client.error(reply)
    assert reply.header('content-type') == 'application/json'


@pairs
def test_error_event(gateway, sim, client, dialect):
    """A stream that breaks after its first words ends with an error event, and without a terminator."""
    simulated = sim({'content': 'one two three four five six', 'fault': 'error_event:3'})
    relais = over(gateway, [simulated], [dialect])
    with pytest.raises(harness.HttpError) as broken:
        ask(relais, client, stream=True)
    body = Dechunker().push(broken.value.raw.partition(b'\r\n\r\n')[2])
    said = client.read_stream(types.SimpleNamespace(body=body))
    assert said['error'] and said['text'] == 'one two three', body
    assert relais.access_log(1)[0]['outcome'] == 'cut'


@pairs
def test_failover(gateway, sim, client, dialect):
    """Any dialect may stand in for any other: the second target is of another one than the first."""
    for other in PROVIDERS:
        relais = over(gateway, [sim({'status': 503}), sim({'content': 'saved'})], [dialect, other])
        for stream in (False, True):
            reply = ask(relais, client, stream=stream)
            said = client.read_stream(reply) if stream else client.read(reply)
            assert said['text'] == 'saved' and reply.header('x-relais-provider') == 'p1', (other, reply)


def test_dropped_and_strict(gateway, sim):
    """What the target lacks is named, and refused to those who say so."""
    relais = over(gateway, [sim()], ['anthropic'])
    body = {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'hi', 'name': 'bob'}], 'logit_bias': {'50256': -100}}
    reply = relais.post('/v1/chat/completions', body)
    assert reply.status == 200, reply
    assert set(reply.header('x-relais-dropped').split(', ')) == {'logit_bias', 'messages[0].name'}
    refused = relais.post('/v1/chat/completions', body, [('x-relais-strict', 'true')])
    assert refused.status == 400 and refused.json()['error']['code'] == 'unsupported_by_target', refused
    assert not relais.post('/v1/chat/completions', {**body, 'messages': [{'role': 'user', 'content': 'hi'}]},
                           [('x-relais-strict', 'true')]).status == 200
    del body['logit_bias'], body['messages'][0]['name']
    assert relais.post('/v1/chat/completions', body, [('x-relais-strict', 'true')]).status == 200


def test_refused_target_is_passed_over(gateway, sim):
    """A target that cannot say it at all is not asked; the next one that can is."""
    unable, able = sim(), sim({'content': 'two of them'})
    relais = over(gateway, [unable, able], ['anthropic', 'openai'])
    body = {'model': 'assistant', 'n': 2, 'messages': [{'role': 'user', 'content': 'hi'}]}
    reply = relais.post('/v1/chat/completions', body)
    assert reply.status == 200 and len(reply.json()['choices']) == 2, reply
    assert [a['fault'] for a in relais.access_log(1)[0]['attempts']] == ['bad_request', None]
    alone = relais.post('/v1/chat/completions', {**body, 'model': 'p0/m'})
    assert alone.status == 400 and alone.json()['error']['param'] == 'n', alone
    assert alone.header('x-should-retry') is None


def test_malformed_requests(gateway, sim):
    """Whoever sends what its own dialect does not allow hears it in its own words, and no provider hears it."""
    relais = over(gateway, [sim()], ['anthropic'])
    for body in ({'model': 'assistant', 'messages': 'hi'}, {'model': 'assistant', 'messages': [{'role': 'user', 'content': 7}]},
                 {'model': 'assistant', 'messages': [{'role': 'nobody', 'content': 'x'}]}):
        reply = relais.post('/v1/chat/completions', body)
        assert reply.status == 400 and 'messages' in reply.json()['error']['param'], reply
        assert reply.header('x-relais-attempts') == '0', reply.headers
    reply = relais.post('/v1/messages', {'model': 'assistant', 'max_tokens': 5, 'messages': {}})
    assert reply.status == 400 and reply.json()['type'] == 'error', reply
    assert json.loads(relais.post('/v1/messages', b'{').body)['type'] == 'error'


def test_models_in_both_forms(gateway, sim):
    relais = over(gateway, [sim()], ['anthropic'])
    assert relais.get('/v1/models').json()['object'] == 'list'
    listed = relais.get('/v1/models', [('anthropic-version', '2023-06-01')]).json()
    assert listed['has_more'] is False and [m['id'] for m in listed['data']][0] == 'assistant', listed
    assert {m['type'] for m in listed['data']} == {'model'}
    one = relais.get('/v1/models/assistant', [('anthropic-version', '2023-06-01')]).json()
    assert one['type'] == 'model' and one['id'] == 'assistant', one


def test_keys(gateway, provider):
    """A provider gets its key where its dialect wants it; a client shows its own in any of the usual places."""
    key, digest = new_key()
    upstream = provider(serving(lambda connection, request: connection.send(http_answer({'type': 'error'}, status='400 X'))))
    relais = gateway({'clients': {'app': {'key': digest}},
                      'providers': {'a': {'dialect': 'anthropic', 'base_url': upstream.base_url, 'models': ['m'],
                                          'api_key': 'provider-key-0123456789'}}})
    assert relais.post(f'/v1beta/models/a%2Fm:generateContent?key={key}', {'contents': []}).status == 400
    assert relais.post('/v1beta/models/a%2Fm:generateContent?key=wrong', {'contents': []}).status == 401
    for name, value in (('x-api-key', key), ('x-goog-api-key', key), ('Authorization', f'Bearer {key}')):
        assert ask(relais, CLIENTS[1], model='a/m', headers=[(name, value), ('anthropic-beta', 'x-1')]).status == 400
        seen = latest(upstream)
        assert header(seen, 'x-api-key') == 'provider-key-0123456789' and header(seen, 'authorization') is None
        assert header(seen, 'anthropic-version') == '2023-06-01' and header(seen, 'anthropic-beta') == 'x-1'
    assert ask(relais, CLIENTS[1], model='a/m', headers=[('x-api-key', 'wrong')]).status == 401


def test_request_ids(gateway, provider):
    """Each dialect's clients find the request's id where they look, and a provider's own id is kept apart from it."""
    upstream = provider(serving(lambda connection, request: connection.send(http_answer(
        {'type': 'error', 'error': {'type': 'invalid_request_error', 'message': 'no'}}, status='400 X',
        headers=[('request-id', 'req_theirs')]))))
    relais = gateway({'providers': {'a': {'dialect': 'anthropic', 'base_url': upstream.base_url, 'models': ['m']}}})
    for client, name, other in ((CLIENTS[0], 'x-request-id', 'request-id'), (CLIENTS[1], 'request-id', None)):
        reply = ask(relais, client, model='a/m', headers=[('x-request-id', 'mine')])
        assert reply.status == 400 and reply.header(name) == 'mine', reply
        assert reply.header('x-relais-upstream-request-id') == 'req_theirs', reply.headers
        assert other is None or reply.header(other) is None
    assert relais.post('/v1/messages', b'{').header('request-id')


def test_foreign_seals(gateway, sim, provider):
    """A thought that one family sealed is not shown to another, even where the request could pass as it is."""
    seen = []
    upstream = provider(serving(lambda connection, request: (seen.append(request), connection.send(http_answer(
        {'id': 'msg_1', 'type': 'message', 'role': 'assistant', 'model': 'm', 'content': [{'type': 'text', 'text': 'ok'}],
         'stop_reason': 'end_turn', 'stop_sequence': None, 'usage': {'input_tokens': 1, 'output_tokens': 1}})))[1]))
    relais = gateway({'providers': {'a': {'dialect': 'anthropic', 'base_url': upstream.base_url, 'models': ['m']}}})

    def turn(signature):
        thought = {'type': 'thinking', 'thinking': 'hm', 'signature': signature}
        body = {'model': 'a/m', 'max_tokens': 9, 'messages': [
            {'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': [thought, {'type': 'text', 'text': 'x'}]},
            {'role': 'user', 'content': 'and?'}]}
        reply = relais.post('/v1/messages', body)
        assert reply.status == 200, reply
        return reply, seen[-1].body

    _, own = turn('EqQBCkYIAh')
    assert b'"EqQBCkYIAh"' in own
    reply, foreign = turn('relais.gemini.CsQB')
    assert b'CsQB' not in foreign and b'"x"' in foreign, foreign
    assert 'messages[1].reasoning' in reply.header('x-relais-dropped'), reply.headers
    reply, back = turn('relais.anthropic.EqQBCkYIAh')
    assert b'"EqQBCkYIAh"' in back and reply.header('x-relais-dropped') is None, back


@pytest.mark.parametrize('dialect', sorted(PROVIDERS))
def test_gemini_array(gateway, sim, dialect):
    """Without alt=sse a stream of Gemini's is one JSON array, whoever the provider is."""
    relais = over(gateway, [sim({'content': 'one two three'})], [dialect])
    reply = relais.post('/v1beta/models/assistant:streamGenerateContent', {'contents': [{'role': 'user', 'parts': [{'text': 'hi'}]}]})
    assert reply.status == 200 and reply.header('content-type') == 'application/json', reply
    parts = [p for answer in reply.json() for c in answer.get('candidates', []) for p in c.get('content', {}).get('parts', [])]
    assert ''.join(p.get('text', '') for p in parts) == 'one two three', reply.body


def test_large_embeddings(gateway, sim):
    """A whole answer is translated whole, whatever its length (here some 3 MiB)."""
    relais = over(gateway, [sim({'dimensions': 4096})], ['ollama'])
    reply = relais.post('/v1/embeddings', {'model': 'assistant', 'input': ['x'] * 80, 'encoding_format': 'float'})
    assert reply.status == 200, reply.body[:300]
    rows = reply.json()['data']
    assert [row['index'] for row in rows] == list(range(80)) and {len(row['embedding']) for row in rows} == {4096}
    assert relais.chat('and on').status == 200


def test_too_many_small_parts(gateway, sim):
    """What would take many times its size as a message is refused by name, and what is large but honest is not."""
    relais = over(gateway, [sim()], ['anthropic'])
    part = {'type': 'text', 'text': ''}
    body = {'model': 'assistant', 'messages': [{'role': 'user', 'content': [part] * 200000}]}
    reply = relais.post('/v1/chat/completions', body)
    assert reply.status == 413 and reply.json()['error']['code'] == 'request_too_complex', reply
    body['messages'][0]['content'] = [{'type': 'text', 'text': 'x' * 100}] * 20000
    assert relais.post('/v1/chat/completions', body).status == 200
