# SPDX-License-Identifier: Apache-2.0
"""The official Python clients of OpenAI and Anthropic, each to providers of every dialect, blocking and asynchronous."""
import json

import anthropic
import openai
import pydantic
import pytest

import scripted
from shared import DIALECTS, LEFT_WITHIN_S, best_of_three, each, seen_to_leave, settle, text_of, totals

TEXT = 'one two three four five'
HELLO = [{'role': 'user', 'content': TEXT}]
SCHEMA = {'type': 'object', 'properties': {'city': {'type': 'string'}}, 'required': ['city']}
FUNCTIONS = [{'type': 'function', 'function': {'name': 'weather', 'description': 'The weather.', 'parameters': SCHEMA}}]
TOOLS = [{'name': 'weather', 'description': 'The weather.', 'input_schema': SCHEMA}]
CITIES = [{'city': place} for place in scripted.PLACES]

every_dialect = pytest.mark.parametrize('dialect', DIALECTS)


def sim(**rows):
    return {'x-sim-' + name.replace('_', '-'): str(value) for name, value in rows.items()}


async def final(helper, name):
    """What a client's own stream helper makes of the stream in the end."""
    if hasattr(helper, '__aenter__'):
        async with helper as stream:
            return await getattr(stream, name)()
    with helper as stream:
        return getattr(stream, name)()


# --- openai ---

@every_dialect
async def test_openai_chat(dialects, client_for, dialect):
    answer = await settle(client_for(dialects.url).chat.completions.create(
        model=dialect, messages=[{'role': 'system', 'content': 'Be brief.'}] + HELLO, max_completion_tokens=100))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (TEXT, 'stop')
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


@every_dialect
async def test_openai_stream(dialects, client_for, dialect):
    stream = await settle(client_for(dialects.url).chat.completions.create(
        model=dialect, messages=HELLO, stream=True, stream_options={'include_usage': True}))
    chunks = [chunk async for chunk in each(stream)]
    assert text_of(chunks) == TEXT
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == 'stop'
    assert len({c.id for c in chunks}) == 1
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 5


@every_dialect
@pytest.mark.parametrize('streamed', [False, True])
async def test_openai_parallel_tools_and_their_results(dialects, client_for, dialect, streamed):
    """Two calls at once, then both results: the provider's second turn has the calls and what came of them."""
    completions = client_for(dialects.url).chat.completions
    asked = {'model': f'scripted-{dialect}/m', 'messages': HELLO, 'tools': FUNCTIONS}
    answer = await (final(completions.stream(**asked), 'get_final_completion') if streamed
                    else settle(completions.create(**asked)))
    assert answer.choices[0].finish_reason == 'tool_calls'
    calls = answer.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == CITIES
    results = [{'role': 'tool', 'tool_call_id': call.id, 'content': f'rain in {city["city"]}'}
               for call, city in zip(calls, CITIES)]
    message = answer.choices[0].message.model_dump(exclude_none=True, include={'role', 'content', 'tool_calls'})
    for call in message['tool_calls']:
        call['function'].pop('parsed_arguments', None)
    answer = await settle(completions.create(**{**asked, 'messages': HELLO + [message] + results}))
    seen = json.dumps(json.loads(answer.choices[0].message.content))
    for call, place in zip(calls, scripted.PLACES):
        assert seen.count(call.id) == 2 and f'rain in {place}' in seen, seen


@every_dialect
async def test_openai_json_schema(dialects, client_for, dialect):
    class Place(pydantic.BaseModel):
        city: str
    answer = await settle(client_for(dialects.url).chat.completions.parse(
        model=dialect, messages=[{'role': 'user', 'content': '{"city": "Bern"}'}], response_format=Place))
    assert answer.choices[0].message.parsed == Place(city='Bern')


@every_dialect
@pytest.mark.parametrize('stream', [False, True])
@pytest.mark.parametrize('status,kind', [(400, 'BadRequestError'), (404, 'NotFoundError'), (429, 'RateLimitError'),
                                         (500, 'InternalServerError')])
async def test_openai_errors(dialects, client_for, dialect, status, kind, stream):
    with pytest.raises(getattr(openai, kind)) as caught:
        await settle(client_for(dialects.url).chat.completions.create(
            model=dialect, messages=HELLO, stream=stream,
            extra_headers=sim(status=status, error_message='As the provider says.')))
    assert 'As the provider says.' in caught.value.message
    assert caught.value.type, 'the error is in the words of its dialect'


@every_dialect
async def test_openai_broken_stream(dialects, client_for, dialect):
    stream = await settle(client_for(dialects.url).chat.completions.create(
        model=dialect, messages=HELLO, stream=True, extra_headers=sim(fault='reset_after_events:3')))
    texts = []
    with pytest.raises(openai.APIError) as caught:
        async for chunk in each(stream):
            texts += [c.delta.content for c in chunk.choices if c.delta.content]
    assert 1 <= len(texts) <= 4 and caught.value.code == 'stream_interrupted'


@every_dialect
@best_of_three
async def test_openai_leaving_a_stream(dialects, client_for, dialect):
    simulated = dialects.sims[dialect]
    before = totals(simulated)
    stream = await settle(client_for(dialects.url).chat.completions.create(
        model=f'{dialect}/words', messages=HELLO, stream=True, max_completion_tokens=100000,
        extra_headers=sim(tokens=100000, tokens_per_second=50)))
    async for chunk in each(stream):
        if chunk.choices and chunk.choices[0].delta.content:
            break
    await settle(stream.close())
    assert await seen_to_leave(simulated, before) < LEFT_WITHIN_S


# --- anthropic ---

@every_dialect
async def test_anthropic_message(dialects, anthropic_for, dialect):
    answer = await settle(anthropic_for(dialects.root).messages.create(
        model=dialect, max_tokens=100, system='Be brief.', messages=HELLO))
    assert [block.text for block in answer.content] == [TEXT]
    assert (answer.type, answer.role, answer.stop_reason) == ('message', 'assistant', 'end_turn')
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens == 5
    assert answer._request_id, 'the client finds the request id'


@every_dialect
async def test_anthropic_stream(dialects, anthropic_for, dialect):
    messages = anthropic_for(dialects.root).messages
    stream = await settle(messages.create(model=dialect, max_tokens=100, messages=HELLO, stream=True))
    types = [event.type async for event in each(stream)]
    assert (types[0], types[-1]) == ('message_start', 'message_stop')
    answer = await final(messages.stream(model=dialect, max_tokens=100, messages=HELLO), 'get_final_message')
    assert (answer.content[0].text, answer.stop_reason, answer.usage.output_tokens) == (TEXT, 'end_turn', 5)


@every_dialect
@pytest.mark.parametrize('streamed', [False, True])
async def test_anthropic_parallel_tools_and_their_results(dialects, anthropic_for, dialect, streamed):
    messages = anthropic_for(dialects.root).messages
    asked = {'model': f'scripted-{dialect}/m', 'max_tokens': 100, 'messages': HELLO, 'tools': TOOLS}
    answer = await (final(messages.stream(**asked), 'get_final_message') if streamed else settle(messages.create(**asked)))
    assert answer.stop_reason == 'tool_use'
    calls = [block for block in answer.content if block.type == 'tool_use']
    assert [call.input for call in calls] == CITIES
    results = [{'type': 'tool_result', 'tool_use_id': call.id, 'content': f'rain in {city["city"]}'}
               for call, city in zip(calls, CITIES)]
    conversation = HELLO + [{'role': 'assistant', 'content': answer.content}, {'role': 'user', 'content': results}]
    answer = await settle(messages.create(**{**asked, 'messages': conversation}))
    seen = json.dumps(json.loads(answer.content[0].text))
    for call, place in zip(calls, scripted.PLACES):
        assert seen.count(call.id) == 2 and f'rain in {place}' in seen, seen


@pytest.mark.parametrize('streamed', [False, True])
async def test_anthropic_thoughts_come_back_as_they_were(dialects, anthropic_for, streamed):
    messages = anthropic_for(dialects.root).messages
    asked = {'model': 'scripted-anthropic/think', 'max_tokens': 2048, 'messages': HELLO, 'tools': TOOLS,
             'thinking': {'type': 'enabled', 'budget_tokens': 1024}}
    answer = await (final(messages.stream(**asked), 'get_final_message') if streamed else settle(messages.create(**asked)))
    thought = answer.content[0]
    assert (thought.type, thought.thinking, thought.signature) == ('thinking', scripted.THOUGHT, scripted.SEAL)
    results = [{'type': 'tool_result', 'tool_use_id': block.id, 'content': 'rain'} for block in answer.content[1:]]
    conversation = HELLO + [{'role': 'assistant', 'content': answer.content}, {'role': 'user', 'content': results}]
    answer = await settle(messages.create(**{**asked, 'messages': conversation}))
    assert json.loads(answer.content[0].text)[1]['content'][0] == {
        'type': 'thinking', 'thinking': scripted.THOUGHT, 'signature': scripted.SEAL}


async def test_anthropic_count_tokens(dialects, anthropic_for):
    counted = await settle(anthropic_for(dialects.root).messages.count_tokens(model='anthropic', messages=HELLO))
    assert counted.input_tokens > 0


@every_dialect
@pytest.mark.parametrize('stream', [False, True])
@pytest.mark.parametrize('status,kind', [(400, 'BadRequestError'), (404, 'NotFoundError'), (429, 'RateLimitError'),
                                         (500, 'InternalServerError')])
async def test_anthropic_errors(dialects, anthropic_for, dialect, status, kind, stream):
    with pytest.raises(getattr(anthropic, kind)) as caught:
        await settle(anthropic_for(dialects.root).messages.create(
            model=dialect, max_tokens=100, messages=HELLO, stream=stream,
            extra_headers=sim(status=status, error_message='As the provider says.')))
    assert 'As the provider says.' in caught.value.message
    assert caught.value.body['type'] == 'error', 'the error is in the words of its dialect'


@every_dialect
async def test_anthropic_broken_stream(dialects, anthropic_for, dialect):
    stream = await settle(anthropic_for(dialects.root).messages.create(
        model=dialect, max_tokens=100, messages=HELLO, stream=True, extra_headers=sim(fault='reset_after_events:3')))
    texts = []
    with pytest.raises(anthropic.APIError):
        async for event in each(stream):
            if event.type == 'content_block_delta':
                texts.append(event.delta.text)
    assert 1 <= len(texts) <= 4


@every_dialect
@best_of_three
async def test_anthropic_leaving_a_stream(dialects, anthropic_for, dialect):
    simulated = dialects.sims[dialect]
    before = totals(simulated)
    stream = await settle(anthropic_for(dialects.root).messages.create(
        model=f'{dialect}/words', max_tokens=100000, messages=HELLO, stream=True,
        extra_headers=sim(tokens=100000, tokens_per_second=50)))
    async for event in each(stream):
        if event.type == 'content_block_delta':
            break
    await settle(stream.close())
    assert await seen_to_leave(simulated, before) < LEFT_WITHIN_S


async def test_anthropic_keys(keyed, anthropic_for):
    """A key is taken as x-api-key and as Bearer; a wrong one is the client's AuthenticationError."""
    root = keyed.url.removesuffix('/v1')
    for right in ({'api_key': keyed.key}, {'api_key': None, 'auth_token': keyed.key}):
        answer = await settle(anthropic_for(root, **right).messages.create(
            model='assistant', max_tokens=100, messages=HELLO))
        assert answer.content[0].text == TEXT
    for wrong in ({'api_key': 'unused'}, {'api_key': None, 'auth_token': 'unused'}):
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await settle(anthropic_for(root, **wrong).messages.create(
                model='assistant', max_tokens=100, messages=HELLO))
        assert caught.value.body['error']['type'] == 'authentication_error'
