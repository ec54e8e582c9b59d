# SPDX-License-Identifier: Apache-2.0
"""Chat completions answered by a provider of the Responses API: whole, streamed, refused, and by the simulator."""
import json

from harness import STREAM_HEAD, chunked, http_answer, Sim
from kit import config, latest

USAGE = {'input_tokens': 11, 'output_tokens': 7, 'total_tokens': 18, 'input_tokens_details': {'cached_tokens': 4},
         'output_tokens_details': {'reasoning_tokens': 2}}
CALL = {'type': 'function_call', 'id': 'fc_1', 'call_id': 'call_1', 'name': 'f', 'arguments': '{"a":1}', 'status': 'completed'}
OUTPUT = [{'type': 'reasoning', 'id': 'rs_1', 'summary': []},
          {'type': 'message', 'id': 'msg_1', 'role': 'assistant', 'status': 'completed',
           'content': [{'type': 'output_text', 'text': 'hi', 'annotations': []}]}, CALL]
RESPONSE = {'id': 'resp_1', 'object': 'response', 'created_at': 7, 'status': 'completed', 'error': None, 'model': 'm',
            'output': OUTPUT, 'usage': USAGE}


def over(server):
    return config([server], dialect='responses', api_key='k')


def event(kind, **members):
    return b'event: ' + kind.encode() + b'\ndata: ' + json.dumps({'type': kind, **members}).encode() + b'\n\n'


def test_whole_answer(gateway, provider):
    server = provider(http_answer(RESPONSE))
    relais = gateway(over(server))
    reply = relais.chat('hello', seed=1, max_completion_tokens=50)
    assert reply.status == 200, reply
    assert latest(server).line == 'POST /v1/responses HTTP/1.1'
    assert json.loads(latest(server).body) == {'model': 'm', 'input': [{'role': 'user', 'content': 'hello'}],
                                               'max_output_tokens': 50, 'store': False}
    assert 'seed' in reply.header('x-relais-dropped')
    choice = reply.json()['choices'][0]
    assert (choice['message']['content'], choice['finish_reason']) == ('hi', 'tool_calls')
    assert choice['message']['tool_calls'][0]['function'] == {'name': 'f', 'arguments': '{"a":1}'}
    assert reply.json()['usage']['prompt_tokens'] == 11
    assert relais.access_log(1)[0]['tokens']['cached'] == 4


def test_stream(gateway, provider):
    events = [event('response.created', response={**RESPONSE, 'output': [], 'usage': None, 'status': 'in_progress'}),
              event('response.output_item.added', output_index=0, item={**OUTPUT[1], 'content': []}),
              event('response.output_text.delta', output_index=0, content_index=0, delta='h'),
              event('response.output_text.delta', output_index=0, content_index=0, delta='i'),
              event('response.output_item.done', output_index=0, item=OUTPUT[1]),
              event('response.output_item.added', output_index=1, item={**CALL, 'arguments': ''}),
              event('response.output_item.done', output_index=1, item=CALL),
              event('response.completed', response=RESPONSE)]
    server = provider(STREAM_HEAD + b''.join(chunked(e) for e in events) + chunked(b''))
    relais = gateway(over(server))
    reply = relais.chat('hello', stream=True)
    assert reply.stream_text() == 'hi'
    chunks = reply.chunks()
    calls = [call for chunk in chunks for choice in chunk['choices'] for call in choice['delta'].get('tool_calls', [])]
    assert ''.join(call['function']['arguments'] for call in calls) == '{"a":1}' and calls[0]['id'] == 'call_1'
    assert chunks[-1]['choices'][0]['finish_reason'] == 'tool_calls'
    assert reply.body.endswith(b'data: [DONE]\n\n')


def test_what_it_cannot_say_is_refused(gateway, provider):
    server = provider(http_answer(RESPONSE))
    relais = gateway(over(server))
    reply = relais.chat('hello', n=2)
    assert (reply.status, reply.json()['error']['code'], reply.json()['error']['param']) == (400, 'unsupported_by_target', 'n')
    assert not server.requests


def test_the_simulator_speaks_it(gateway):
    with Sim() as sim:
        relais = gateway(over(sim))
        reply = relais.chat('hello')
        assert reply.status == 200 and reply.json()['choices'][0]['message']['content'], reply
        assert relais.chat('hello', stream=True).stream_text()
