# SPDX-License-Identifier: Apache-2.0
"""The same question and its answer in the words of each dialect, for the tests that cross them.

A Wording asks (path, body of a request) and reads (text, calls, finish, usage of an answer, whole or streamed). Finish
reasons are given in OpenAI's words, usage as (prompt, completion).
"""
import json

SCHEMA = {'type': 'object', 'properties': {'city': {'type': 'string'}}, 'required': ['city']}
TOOL = 'get_weather'


class Said(dict):
    """text, calls [(name, arguments)], finish, usage; error: what an error event said."""

    def __init__(self):
        super().__init__(text='', calls=[], finish=None, usage=None, error=None)


def sse_objects(reply):
    """The events of a stream as (name, object); [DONE] is left out."""
    found = []
    for block in reply.body.decode().replace('\r\n', '\n').split('\n\n'):
        name, data = None, []
        for line in block.split('\n'):
            if line.startswith('event:'):
                name = line[6:].strip()
            elif line.startswith('data:'):
                data.append(line[5:].strip())
        if data and data != ['[DONE]']:
            found.append((name, json.loads('\n'.join(data))))
    return found


class OpenAI:
    name, base = 'openai', '/v1'

    @staticmethod
    def ask(model, text, stream=False, tools=False, **more):
        body = {'model': model, 'messages': [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': text}]}
        if stream:
            body.update(stream=True, stream_options={'include_usage': True})
        if tools:
            body['tools'] = [{'type': 'function', 'function': {'name': TOOL, 'parameters': SCHEMA}}]
        return '/v1/chat/completions', {**body, **more}

    @staticmethod
    def usage(usage):
        return (usage['prompt_tokens'], usage['completion_tokens'])

    @classmethod
    def read(cls, reply):
        answer, said = reply.json(), Said()
        choice = answer['choices'][0]
        said['text'] = choice['message']['content'] or ''
        said['calls'] = [(c['function']['name'], c['function']['arguments']) for c in choice['message'].get('tool_calls') or []]
        said['finish'], said['usage'] = choice['finish_reason'], cls.usage(answer['usage'])
        return said

    @classmethod
    def read_stream(cls, reply):
        said, calls = Said(), {}
        assert reply.body.endswith(b'data: [DONE]\n\n') or b'"error"' in reply.body, reply.body[-200:]
        for _, chunk in sse_objects(reply):
            if chunk.get('error'):
                said['error'] = chunk['error']['message']
                continue
            if chunk.get('usage'):
                said['usage'] = cls.usage(chunk['usage'])
            for choice in chunk['choices']:
                said['text'] += choice['delta'].get('content') or ''
                said['finish'] = choice['finish_reason'] or said['finish']
                for piece in choice['delta'].get('tool_calls') or []:
                    call = calls.setdefault(piece['index'], ['', ''])
                    call[0] += piece['function'].get('name') or ''
                    call[1] += piece['function'].get('arguments') or ''
        said['calls'] = [tuple(c) for c in calls.values()]
        return said

    @staticmethod
    def error(reply):
        return reply.json()['error']['message']


class Anthropic:
    name, base = 'anthropic', '/v1'
    finishes = {'end_turn': 'stop', 'stop_sequence': 'stop', 'max_tokens': 'length', 'tool_use': 'tool_calls',
                'refusal': 'content_filter'}

    @staticmethod
    def ask(model, text, stream=False, tools=False, **more):
        body = {'model': model, 'max_tokens': 512, 'system': 'Be brief.', 'messages': [{'role': 'user', 'content': text}]}
        if stream:
            body['stream'] = True
        if tools:
            body['tools'] = [{'name': TOOL, 'input_schema': SCHEMA}]
        return '/v1/messages', {**body, **more}

    @staticmethod
    def usage(usage):
        return (usage['input_tokens'] + usage.get('cache_read_input_tokens', 0) + usage.get('cache_creation_input_tokens', 0),
                usage['output_tokens'])

    @classmethod
    def read(cls, reply):
        answer, said = reply.json(), Said()
        assert answer['type'] == 'message' and answer['role'] == 'assistant', answer
        said['text'] = ''.join(b['text'] for b in answer['content'] if b['type'] == 'text')
        said['calls'] = [(b['name'], json.dumps(b['input'])) for b in answer['content'] if b['type'] == 'tool_use']
        said['finish'], said['usage'] = cls.finishes[answer['stop_reason']], cls.usage(answer['usage'])
        return said

    @classmethod
    def read_stream(cls, reply):
        said, blocks, opened, usage = Said(), {}, None, {}
        names = []
        for name, event in sse_objects(reply):
            assert name == event['type'], (name, event)
            names.append(name)
            if name == 'message_start':
                assert len(names) == 1, names
                usage.update(event['message']['usage'])
            elif name == 'content_block_start':
                assert opened is None, 'blocks must not interleave'
                opened, blocks[event['index']] = event['index'], [event['content_block'], '']
            elif name == 'content_block_delta':
                assert opened == event['index']
                delta = event['delta']
                blocks[opened][1] += delta.get('text') or delta.get('partial_json') or ''
            elif name == 'content_block_stop':
                assert opened == event['index']
                opened = None
            elif name == 'message_delta':
                said['finish'] = cls.finishes[event['delta']['stop_reason']]
                usage.update({k: v for k, v in event['usage'].items() if v is not None})
            elif name == 'error':
                said['error'] = event['error']['message']
        if not said['error']:
            assert names[-1] == 'message_stop' and opened is None, names
        if usage:
            said['usage'] = cls.usage(usage)
        said['text'] = ''.join(text for block, text in blocks.values() if block['type'] == 'text')
        said['calls'] = [(block['name'], text) for block, text in blocks.values() if block['type'] == 'tool_use']
        return said

    @staticmethod
    def error(reply):
        answer = reply.json()
        assert answer['type'] == 'error', answer
        return answer['error']['message']


class Gemini:
    name, base = 'gemini', '/v1beta'
    finishes = {'STOP': 'stop', 'MAX_TOKENS': 'length', 'SAFETY': 'content_filter'}

    @staticmethod
    def ask(model, text, stream=False, tools=False, **more):
        body = {'contents': [{'role': 'user', 'parts': [{'text': text}]}],
                'systemInstruction': {'parts': [{'text': 'Be brief.'}]}}
        if tools:
            body['tools'] = [{'functionDeclarations': [{'name': TOOL, 'parametersJsonSchema': SCHEMA}]}]
        verb = 'streamGenerateContent?alt=sse' if stream else 'generateContent'
        return f'/v1beta/models/{model}:{verb}', {**body, **more}

    @staticmethod
    def usage(usage):
        return (usage['promptTokenCount'], usage.get('candidatesTokenCount', 0) + usage.get('thoughtsTokenCount', 0))

    @classmethod
    def take(cls, answer, said):
        if answer.get('error'):
            said['error'] = answer['error']['message']
            return
        for candidate in answer.get('candidates', []):
            for part in candidate.get('content', {}).get('parts', []):
                said['text'] += part.get('text', '') if not part.get('thought') else ''
                if 'functionCall' in part:
                    said['calls'].append((part['functionCall']['name'], json.dumps(part['functionCall'].get('args', {}))))
            if candidate.get('finishReason'):
                said['finish'] = cls.finishes[candidate['finishReason']]
        if answer.get('usageMetadata'):
            said['usage'] = cls.usage(answer['usageMetadata'])
        if said['calls'] and said['finish'] == 'stop':
            said['finish'] = 'tool_calls'

    @classmethod
    def read(cls, reply):
        said = Said()
        cls.take(reply.json(), said)
        return said

    @classmethod
    def read_stream(cls, reply):
        said = Said()
        for _, answer in sse_objects(reply):
            cls.take(answer, said)
        return said

    @staticmethod
    def error(reply):
        return reply.json()['error']['message']


class Responses:
    name, base = 'responses', '/v1'

    @staticmethod
    def ask(model, text, stream=False, tools=False, **more):
        body = {'model': model, 'instructions': 'Be brief.', 'input': text, 'store': False}
        if stream:
            body['stream'] = True
        if tools:
            body['tools'] = [{'type': 'function', 'name': TOOL, 'parameters': SCHEMA, 'strict': False}]
        return '/v1/responses', {**body, **more}

    @classmethod
    def take(cls, answer, said):
        for item in answer['output']:
            if item['type'] == 'message':
                said['text'] += ''.join(p['text'] for p in item['content'] if p['type'] == 'output_text')
            elif item['type'] == 'function_call':
                said['calls'].append((item['name'], item['arguments']))
        if answer['status'] == 'completed':
            said['finish'] = 'tool_calls' if said['calls'] else 'stop'
        elif answer['status'] == 'incomplete':
            said['finish'] = {'max_output_tokens': 'length'}.get(answer['incomplete_details']['reason'], 'content_filter')
        if answer.get('usage'):
            said['usage'] = (answer['usage']['input_tokens'], answer['usage']['output_tokens'])

    @classmethod
    def read(cls, reply):
        said = Said()
        cls.take(reply.json(), said)
        return said

    @classmethod
    def read_stream(cls, reply):
        said, text, last = Said(), '', -1
        for name, event in sse_objects(reply):
            assert name == event['type'], (name, event)
            if 'sequence_number' in event:
                assert event['sequence_number'] > last
                last = event['sequence_number']
            if name == 'response.output_text.delta':
                text += event['delta']
            elif name in ('response.completed', 'response.incomplete'):
                cls.take(event['response'], said)
                assert said['text'] == text
            elif name == 'error':
                said['error'] = event.get('message') or event['error']['message']
            elif name == 'response.failed':
                said['error'] = said['error'] or event['response']['error']['message']
        said['text'] = text
        return said

    @staticmethod
    def error(reply):
        return reply.json()['error']['message']


CLIENTS = [OpenAI, Anthropic, Gemini, Responses]
# What a provider speaks: the dialect, and where its API begins at the simulator.
PROVIDERS = {'openai': '/v1', 'anthropic': '/v1', 'ollama': '', 'gemini': '/v1beta', 'responses': '/v1'}


def same_json(one, other):
    return json.loads(one) == json.loads(other)


def provider(sim, dialect):
    """The configuration of a simulated provider that speaks this dialect."""
    return {'dialect': dialect, 'base_url': sim.url + PROVIDERS[dialect], 'models': ['m'], 'local': True}


def ask(relais, wording, model='assistant', text='hello', headers=(), **options):
    path, body = wording.ask(model, text, **options)
    return relais.post(path, body, headers)
