# SPDX-License-Identifier: Apache-2.0
"""OpenAI's clients answered by a provider that speaks Ollama's own API: whole, streamed, embedded, refused, dropped."""
import json

import harness
from kit import config, read_broken

TOOL = {'type': 'function', 'function': {'name': 'look', 'parameters': {'type': 'object', 'properties': {}}}}


def gateway(sim):
    provider = {'dialect': 'ollama', 'base_url': f'http://127.0.0.1:{sim.port}', 'api_key': 'k'}
    return harness.Gateway({'providers': {'local': provider},
                            'models': {'assistant': {'targets': [{'provider': 'local', 'model': 'llama'}]}}})


def test_answers_whole_and_streamed():
    with harness.Sim() as sim, gateway(sim) as relais:
        whole = relais.chat('hello')
        assert whole.status == 200, whole.text
        message = whole.json()
        assert message['object'] == 'chat.completion' and message['choices'][0]['finish_reason'] == 'stop'
        assert message['usage']['prompt_tokens'] > 0 and message['usage']['completion_tokens'] > 0
        text = message['choices'][0]['message']['content']
        assert text
        streamed = relais.chat('hello', stream=True, stream_options={'include_usage': True})
        assert streamed.status == 200 and streamed.header('content-type').startswith('text/event-stream')
        assert streamed.stream_text() == text
        assert streamed.text.rstrip().endswith('data: [DONE]')
        assert streamed.chunks()[-1]['usage']['completion_tokens'] == message['usage']['completion_tokens']


def test_what_it_lacks_is_said():
    with harness.Sim() as sim, gateway(sim) as relais:
        reply = relais.chat('hello', user='u', logit_bias={'1': 2})
        assert reply.status == 200
        assert reply.header('x-relais-dropped') == 'user, logit_bias'
        strict = relais.chat('hello', user='u', headers=[('x-relais-strict', 'true')])
        assert strict.status == 400 and 'user' in strict.text
        forced = relais.chat('hello', tools=[TOOL], tool_choice='required')
        assert forced.status == 400
        assert forced.json()['error']['param'] == 'tool_choice'


def test_embeddings():
    with harness.Sim() as sim, gateway(sim) as relais:
        body = json.dumps({'model': 'assistant', 'input': ['a', 'b'], 'encoding_format': 'float'}).encode()
        reply = relais.post('/v1/embeddings', body, [('content-type', 'application/json')])
        assert reply.status == 200, reply.text
        assert [len(one['embedding']) > 0 for one in reply.json()['data']] == [True, True]


def test_ask(tmp_path):
    """`relais ask` reads streams of any framing."""
    with harness.Sim({'content': 'from the simulator'}) as sim:
        provider = {'dialect': 'ollama', 'base_url': f'http://127.0.0.1:{sim.port}', 'api_key': 'k'}
        file = tmp_path / 'relais.yaml'
        file.write_text(json.dumps({'providers': {'local': provider}}))
        done = harness.run('ask', 'hello', '--model', 'local/llama', '--config', str(file))
        assert (done.returncode, done.stdout) == (0, 'from the simulator\n'), done.stderr
        provider['dialect'] = 'anthropic'
        provider['base_url'] += '/v1'
        file.write_text(json.dumps({'providers': {'local': provider}}))
        done = harness.run('ask', 'hello', '--model', 'local/claude', '--config', str(file))
        assert (done.returncode, done.stdout) == (0, 'from the simulator\n'), done.stderr


def lines(*members, end=True):
    """A stream of the server's own: a line an object, the last perhaps without its newline."""
    head = b'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n'
    text = b''.join(json.dumps({'model': 'm', 'created_at': '2026-01-01T00:00:00Z', **m}).encode() + b'\n' for m in members)
    return head + b''.join(harness.chunked(text[at:at + 7]) for at in range(0, len(text), 7)) + (
        harness.chunked(b'') if end else b'')


def said(text):
    return {'message': {'role': 'assistant', 'content': text}, 'done': False}


DONE = {'message': {'role': 'assistant', 'content': ''}, 'done': True, 'done_reason': 'stop', 'eval_count': 2}


def ask(relais, **members):
    return relais.chat('hello', stream=True, **members)


def cut_short(relais):
    """All bytes of a stream that ends with its connection."""
    with relais.client() as client:
        body = {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'hello'}], 'stream': True}
        client.send('POST', '/v1/chat/completions', json.dumps(body).encode(), [('content-type', 'application/json')])
        return read_broken(client)


def between(provider, *answers):
    """A gateway before providers that give these answers, in order of preference."""
    made = [provider(answer) for answer in answers]
    settings = config(made, dialect='ollama', api_key='k')
    for one, server in zip(settings['providers'].values(), made):
        one['base_url'] = server.base_url.removesuffix('/v1')
    return settings


def test_streams_that_break(gateway, provider):
    """Before the first byte another target answers; after it the stream ends with an error in the client's dialect."""
    relais = gateway(between(provider, lines({'error': 'out of memory'}), lines(said('from the'), said(' second'), DONE)))
    reply = ask(relais)
    assert reply.status == 200 and reply.stream_text() == 'from the second'
    assert reply.text.rstrip().endswith('data: [DONE]')
    relais = gateway(between(provider, lines(said('half'), {'error': 'out of memory'})))
    broken = cut_short(relais)
    assert b'half' in broken and b'"error":{"message":"' in broken and b'[DONE]' not in broken
    relais = gateway(between(provider, lines(said('half'))))
    broken = cut_short(relais)
    assert b'half' in broken and b'"error":{"message":"' in broken and b'[DONE]' not in broken
