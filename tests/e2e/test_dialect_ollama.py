# SPDX-License-Identifier: Apache-2.0
"""OpenAI's clients answered by a provider that speaks Ollama's own API: whole, streamed, embedded, refused, dropped."""
import json

import harness

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
