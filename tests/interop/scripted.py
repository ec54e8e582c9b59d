# SPDX-License-Identifier: Apache-2.0
"""A provider that says what the simulator does not: thoughts, and several calls of tools at once.

The first turn is answered by what the model's name asks for; a later one (there is an assistant's message in it) with
the conversation itself as JSON text, so that a test sees in the answer what reached the provider.
"""
import json

from shared import harness

PLACES = ['Bern', 'Wien']
THOUGHT, SEAL = 'It is about weather.', 'c2VhbGVkIGJ5IHRoZSBwcm92aWRlcg=='
USAGE = (9, 4)  # prompt, completion


def blocks(body):
    if any(message['role'] == 'assistant' for message in body['messages']):
        return [('text', json.dumps(body['messages'], ensure_ascii=False))]
    found = [('thinking', THOUGHT, SEAL)] if 'think' in body['model'] else []
    if 'tools' in body:
        return found + [('call', f'call_{place}', json.dumps({'city': place})) for place in PLACES]
    return found + [('text', 'Rain, I think.')]


# --- Anthropic Messages ---

def anthropic_block(block):
    if block[0] == 'thinking':
        return {'type': 'thinking', 'thinking': block[1], 'signature': block[2]}
    if block[0] == 'call':
        return {'type': 'tool_use', 'id': block[1], 'name': 'weather', 'input': json.loads(block[2])}
    return {'type': 'text', 'text': block[1]}


def anthropic_whole(said, model):
    return {'id': 'msg_1', 'type': 'message', 'role': 'assistant', 'model': model,
            'content': [anthropic_block(block) for block in said],
            'stop_reason': 'tool_use' if said[-1][0] == 'call' else 'end_turn', 'stop_sequence': None,
            'usage': {'input_tokens': USAGE[0], 'output_tokens': USAGE[1]}}


def anthropic_deltas(block):
    """What the block is when it starts, and its deltas."""
    if block[0] == 'thinking':
        return {'type': 'thinking', 'thinking': '', 'signature': ''}, [
            {'type': 'thinking_delta', 'thinking': block[1][:5]}, {'type': 'thinking_delta', 'thinking': block[1][5:]},
            {'type': 'signature_delta', 'signature': block[2]}]
    if block[0] == 'call':
        return {**anthropic_block(block), 'input': {}}, [
            {'type': 'input_json_delta', 'partial_json': block[2][:5]},
            {'type': 'input_json_delta', 'partial_json': block[2][5:]}]
    return {'type': 'text', 'text': ''}, [{'type': 'text_delta', 'text': block[1]}]


def anthropic_events(said, model):
    message = anthropic_whole(said, model)
    yield {'type': 'message_start', 'message': {**message, 'content': [], 'stop_reason': None,
                                                'usage': {**message['usage'], 'output_tokens': 1}}}
    for index, block in enumerate(said):
        start, deltas = anthropic_deltas(block)
        yield {'type': 'content_block_start', 'index': index, 'content_block': start}
        for delta in deltas:
            yield {'type': 'content_block_delta', 'index': index, 'delta': delta}
        yield {'type': 'content_block_stop', 'index': index}
    yield {'type': 'message_delta', 'usage': {'output_tokens': USAGE[1]},
           'delta': {'stop_reason': message['stop_reason'], 'stop_sequence': None}}
    yield {'type': 'message_stop'}


# --- OpenAI Chat Completions ---

def openai_calls(said):
    return [{'index': index, 'id': block[1], 'type': 'function', 'function': {'name': 'weather', 'arguments': block[2]}}
            for index, block in enumerate(block for block in said if block[0] == 'call')]


def openai_frame(kind, model, choices):
    return {'id': 'chatcmpl-1', 'object': kind, 'created': 1700000000, 'model': model, 'choices': choices}


def openai_parts(said):
    text, calls = ''.join(block[1] for block in said if block[0] == 'text'), openai_calls(said)
    usage = {'prompt_tokens': USAGE[0], 'completion_tokens': USAGE[1], 'total_tokens': sum(USAGE)}
    return text, calls, 'tool_calls' if calls else 'stop', usage


def openai_whole(said, model):
    text, calls, finish, usage = openai_parts(said)
    message = {'role': 'assistant', 'content': text or None}
    if calls:
        message['tool_calls'] = [{k: v for k, v in call.items() if k != 'index'} for call in calls]
    choice = {'index': 0, 'message': message, 'finish_reason': finish}
    return {**openai_frame('chat.completion', model, [choice]), 'usage': usage}


def openai_events(said, model):
    def chunk(delta, finish=None):
        return openai_frame('chat.completion.chunk', model, [{'index': 0, 'delta': delta, 'finish_reason': finish}])
    text, calls, finish, usage = openai_parts(said)
    yield chunk({'role': 'assistant', 'content': text})
    for call in calls:
        function = call['function']
        yield chunk({'tool_calls': [{**call, 'function': {**function, 'arguments': ''}}]})
        for piece in (function['arguments'][:5], function['arguments'][5:]):
            yield chunk({'tool_calls': [{'index': call['index'], 'function': {'arguments': piece}}]})
    yield chunk({}, finish)
    yield {**openai_frame('chat.completion.chunk', model, []), 'usage': usage}


# --- the provider ---

# By the path that is asked: the whole answer, the events of a stream, whether events have names, what ends them.
PATHS = {'/v1/messages': (anthropic_whole, anthropic_events, True, ''),
         '/v1/chat/completions': (openai_whole, openai_events, False, 'data: [DONE]\n\n')}


def answer(request):
    body = json.loads(request.body)
    whole, events, named, end = PATHS[request.line.split()[1]]
    said, model = blocks(body), body['model']
    if not body.get('stream'):
        return harness.http_answer(whole(said, model))
    text = ''.join((f'event: {event["type"]}\n' if named else '') + f'data: {json.dumps(event)}\n\n'
                   for event in events(said, model))
    return harness.http_answer(text + end, content_type='text/event-stream')


def script(connection):
    while request := connection.read_request(60 * harness.SLOW):
        connection.send(answer(request))


def provider():
    return harness.RawServer(script)
