# SPDX-License-Identifier: Apache-2.0
"""The official Python client, blocking and asynchronous, through relais to simulated providers."""
import asyncio
import base64
import struct
import time

import openai
import pydantic
import pytest

from shared import (LEFT_WITHIN_S, SLOW, best_of_three, each, harness, post_json, seen_to_leave, settle, text_of,
                    totals)

HELLO = [{'role': 'user', 'content': 'one two three four five'}]
WEATHER = [{'type': 'function', 'function': {
    'name': 'weather', 'description': 'The weather in a city.',
    'parameters': {'type': 'object', 'properties': {'city': {'type': 'string'}}, 'required': ['city']}}}]


def sim(**rows):
    """Request headers that script the simulator."""
    return {'x-sim-' + name.replace('_', '-'): str(value) for name, value in rows.items()}


# --- what works ---

async def test_chat(fleet, client_for):
    answer = await settle(client_for(fleet.url).chat.completions.create(model='assistant', messages=HELLO))
    assert answer.choices[0].message.content == 'one two three four five'
    assert answer.choices[0].finish_reason == 'stop'
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5
    assert answer._request_id, 'the client finds the request id'


async def test_headers_tell_who_answered(fleet, client_for):
    raw = await settle(client_for(fleet.url).chat.completions.with_raw_response.create(model='single', messages=HELLO))
    assert raw.headers['x-relais-provider'] == 'a'
    assert raw.headers['x-relais-model'] == 'echo'
    assert raw.headers['x-relais-attempts'] == '1'
    assert raw.parse().choices[0].message.content


async def test_stream(fleet, client_for):
    stream = await settle(client_for(fleet.url).chat.completions.create(model='assistant', messages=HELLO, stream=True))
    chunks = [chunk async for chunk in each(stream)]
    assert text_of(chunks) == 'one two three four five'
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == 'stop'
    assert len({c.id for c in chunks}) == 1
    assert not any(c.usage for c in chunks), 'usage that nobody asked for'


async def test_moderations_and_images(fleet, client_for):
    client = client_for(fleet.url)
    answer = await settle(client.moderations.create(model='assistant', input='something'))
    assert answer.results[0].flagged is False
    answer = await settle(client.images.generate(model='assistant', prompt='a pixel'))
    assert base64.b64decode(answer.data[0].b64_json).startswith(b'\x89PNG') and answer.usage.total_tokens == 24
    answer = await settle(client.images.edit(model='assistant', prompt='a pixel', image=('a.png', b'\x89PNG', 'image/png')))
    assert answer.data[0].b64_json


async def test_audio(fleet, client_for):
    client = client_for(fleet.url)
    sound = ('a.mp3', b'\0' * 300_000, 'audio/mpeg')
    answer = await settle(client.audio.transcriptions.create(model='assistant', file=sound))
    assert answer.text == 'This is what was said.'
    raw = await settle(client.audio.translations.with_raw_response.create(model='single', file=sound))
    assert raw.parse().text == 'This is what was said.'
    assert raw.headers['x-relais-provider'] == 'a' and raw.headers['x-relais-model'] == 'echo'
    spoken = await settle(client.audio.speech.create(model='assistant', voice='alloy', input='hello'))
    assert spoken.content.startswith(b'RIFF')


async def test_files(fleet, client_for):
    client = client_for(fleet.url)
    there = {'x-relais-provider': 'a'}
    made = await settle(client.files.create(file=('x.txt', b'simulated text\n'), purpose='user_data', extra_headers=there))
    assert made.id == 'file-sim' and made.object == 'file'
    assert (await settle(client.files.retrieve('file-sim', extra_headers=there))).bytes == 15
    assert [f.id for f in (await settle(client.files.list(extra_headers=there))).data] == ['file-sim']
    assert (await settle(client.files.content('file-sim', extra_headers=there))).text == 'simulated text\n'
    assert (await settle(client.files.delete('file-sim', extra_headers=there))).deleted is True
    with pytest.raises(openai.BadRequestError) as caught:
        await settle(client.files.retrieve('file-sim'))
    assert caught.value.code == 'provider_required'


@best_of_three
async def test_deltas_arrive_one_by_one(fleet, client_for):
    stream = await settle(client_for(fleet.url).chat.completions.create(
        model='a/words', messages=HELLO, stream=True, extra_headers=sim(tokens=10, tokens_per_second=20)))
    times = []
    async for chunk in each(stream):
        if chunk.choices and chunk.choices[0].delta.content:
            times.append(time.monotonic())
    gaps = [later - sooner for sooner, later in zip(times, times[1:])]
    assert len(times) == 10
    assert 0.35 < times[-1] - times[0] < 0.45 + 0.5 * SLOW, 'nine gaps of 50 ms'
    assert sum(gap > 0.02 for gap in gaps) >= 8, f'coalesced: {gaps}'


async def test_stream_with_usage(fleet, client_for):
    stream = await settle(client_for(fleet.url).chat.completions.create(
        model='assistant', messages=HELLO, stream=True, stream_options={'include_usage': True}))
    chunks = [chunk async for chunk in each(stream)]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 5
    assert not any(c.usage for c in chunks[:-1])


async def test_several_choices(fleet, client_for):
    answer = await settle(client_for(fleet.url).chat.completions.create(model='assistant', messages=HELLO, n=3))
    assert [c.index for c in answer.choices] == [0, 1, 2]


async def test_tools_whole(fleet, client_for):
    client = client_for(fleet.url)
    answer = await settle(client.chat.completions.create(
        model='assistant', messages=HELLO, tools=WEATHER, extra_headers=sim(tool_call='*')))
    assert answer.choices[0].finish_reason == 'tool_calls'
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ('weather', '{"city":"Berlin"}')
    conversation = HELLO + [answer.choices[0].message,
                            {'role': 'tool', 'tool_call_id': call.id, 'content': 'rain'},
                            {'role': 'user', 'content': 'so it rains'}]
    answer = await settle(client.chat.completions.create(model='assistant', messages=conversation, tools=WEATHER))
    assert answer.choices[0].message.content == 'so it rains'


async def test_tools_streamed(fleet, client_for):
    stream = await settle(client_for(fleet.url).chat.completions.create(
        model='assistant', messages=HELLO, tools=WEATHER, stream=True, extra_headers=sim(tool_call='weather')))
    name, arguments, finish = '', '', None
    async for chunk in each(stream):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                name += call.function.name or ''
                arguments += call.function.arguments or ''
            finish = choice.finish_reason or finish
    assert (name, arguments, finish) == ('weather', '{"city":"Berlin"}', 'tool_calls')


async def test_the_clients_own_stream_helper(fleet, client_for):
    helper = client_for(fleet.url).chat.completions.stream(
        model='assistant', messages=HELLO, tools=[dict(WEATHER[0], function=dict(WEATHER[0]['function']))],
        extra_headers=sim(tool_call='*'))
    if hasattr(helper, '__aenter__'):
        async with helper as stream:
            final = await stream.get_final_completion()
    else:
        with helper as stream:
            final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"city":"Berlin"}'


async def test_parsed_answers(fleet, client_for):
    class Place(pydantic.BaseModel):
        city: str
    answer = await settle(client_for(fleet.url).chat.completions.parse(
        model='assistant', messages=[{'role': 'user', 'content': '{"city": "Bern"}'}], response_format=Place))
    assert answer.choices[0].message.parsed == Place(city='Bern')


async def test_unknown_members_pass(fleet, client_for):
    answer = await settle(client_for(fleet.url).chat.completions.create(
        model='assistant', messages=HELLO, temperature=0.2, seed=7, metadata={'a': 'b'},
        extra_body={'x_new': {'y': [1]}}))
    assert answer.choices[0].message.content


async def test_long_text_in_many_scripts(fleet, client_for):
    text = 'Grüße 世界 🚲 \u2028 "quoted" \\ back </script> ' * 200
    text = text.strip()
    answer = await settle(client_for(fleet.url).chat.completions.create(
        model='assistant', messages=[{'role': 'user', 'content': text}]))
    assert answer.choices[0].message.content == text
    stream = await settle(client_for(fleet.url).chat.completions.create(
        model='assistant', messages=[{'role': 'user', 'content': text}], stream=True))
    assert text_of([chunk async for chunk in each(stream)]) == text


async def test_completions(fleet, client_for):
    client = client_for(fleet.url)
    answer = await settle(client.completions.create(model='assistant', prompt='the old api'))
    assert answer.choices[0].text == 'the old api'
    stream = await settle(client.completions.create(model='assistant', prompt='the old api', stream=True))
    assert ''.join([c.choices[0].text async for c in each(stream) if c.choices]) == 'the old api'


@pytest.mark.parametrize('encoding', [None, 'float', 'base64'])
async def test_embeddings(fleet, client_for, encoding):
    """The client asks for base64 when nobody says otherwise, and decodes it; it gives what it got if somebody does."""
    texts = ['a horse', 'a letter']
    right = [item['embedding'] for item in post_json(fleet.a.base_url + '/embeddings', {
        'model': 'vector', 'input': texts, 'encoding_format': 'float', 'dimensions': 32})['data']]
    options = {'encoding_format': encoding} if encoding else {}
    answer = await settle(client_for(fleet.url).embeddings.create(
        model='a/vector', input=texts, dimensions=32, **options))
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens > 0
    for item, values in zip(answer.data, right):
        got = item.embedding
        if encoding == 'base64':
            assert isinstance(got, str)
            data = base64.b64decode(got)
            got = struct.unpack(f'<{len(data) // 4}f', data)
        assert len(got) == 32
        assert got == pytest.approx(values, abs=1e-6)
    assert right[0] != right[1]


async def test_models(fleet, client_for):
    client = client_for(fleet.url)
    ids = [model.id async for model in each(await settle_page(client.models.list()))]
    assert ids[:5] == ['assistant', 'single', 'impatient', 'limping', 'dead'], 'aliases first'
    assert {'a/echo', 'b/vector'} <= set(ids)
    assert (await settle(client.models.retrieve('assistant'))).id == 'assistant'
    assert (await settle(client.models.retrieve('a/words'))).id == 'a/words'


async def settle_page(page):
    """A page of the blocking client is there; the other's is iterated and awaited for by itself."""
    return page


# --- what fails ---

async def test_wrong_key(keyed, client_for):
    for key in ('unused', keyed.key[:-1] + ('x' if keyed.key[-1] != 'x' else 'y')):
        with pytest.raises(openai.AuthenticationError) as caught:
            await settle(client_for(keyed.url, api_key=key).chat.completions.create(model='assistant', messages=HELLO))
        assert caught.value.status_code == 401
        assert caught.value.code == 'invalid_api_key'
        assert keyed.key not in str(caught.value)


async def test_right_key(keyed, client_for):
    client = client_for(keyed.url, api_key=keyed.key)
    assert (await settle(client.chat.completions.create(model='assistant', messages=HELLO))).choices


async def test_unknown_model(fleet, client_for):
    client = client_for(fleet.url)
    with pytest.raises(openai.NotFoundError) as caught:
        await settle(client.chat.completions.create(model='nobody', messages=HELLO))
    assert caught.value.code == 'model_not_found'
    assert 'nobody' in caught.value.message
    with pytest.raises(openai.NotFoundError):
        await settle(client.models.retrieve('nobody/nothing'))


async def test_unknown_route(fleet, client_for):
    with pytest.raises(openai.NotFoundError) as caught:
        await settle(client_for(fleet.url).get('/nothing/here', cast_to=object))
    assert caught.value.code == 'unknown_url'


async def test_bad_request_of_ours(fleet, client_for):
    with pytest.raises(openai.BadRequestError) as caught:
        await settle(client_for(fleet.url).chat.completions.create(
            model='assistant', messages=HELLO, extra_body={'Model': 'other'}))
    assert "'model'" in caught.value.message


async def test_body_too_large(fleet, client_for):
    with pytest.raises(openai.APIStatusError) as caught:
        await settle(client_for(fleet.url).chat.completions.create(
            model='assistant', messages=[{'role': 'user', 'content': 'x' * (11 << 20)}]))
    assert (caught.value.status_code, caught.value.code) == (413, 'request_too_large')


# A model that one provider does not know may be known to the next: of these, 404 alone is asked of both.
@pytest.mark.parametrize('status,kind,asked', [(400, openai.BadRequestError, 1), (404, openai.NotFoundError, 2),
                                               (422, openai.UnprocessableEntityError, 1)])
async def test_a_providers_error_about_the_request(fleet, client_for, status, kind, asked):
    before = totals(fleet.a)['requests'] + totals(fleet.b)['requests']
    with pytest.raises(kind) as caught:
        await settle(client_for(fleet.url, max_retries=2).chat.completions.create(
            model='assistant', messages=HELLO, extra_headers=sim(status=status, error_message='As the provider says.')))
    assert 'As the provider says.' in caught.value.message
    assert totals(fleet.a)['requests'] + totals(fleet.b)['requests'] == before + asked, 'nobody tried again'


async def test_rate_limit_on_one_target_is_the_clients_to_retry(fleet, client_for):
    before = totals(fleet.a)['requests']
    with pytest.raises(openai.RateLimitError) as caught:
        await settle(client_for(fleet.url, max_retries=1).chat.completions.create(
            model='single', messages=HELLO, extra_headers=sim(status=429, retry_after=1)))
    assert caught.value.code == 'rate_limit_exceeded'
    assert caught.value.response.headers['retry-after'] == '1'
    assert 'x-should-retry' not in caught.value.response.headers
    assert totals(fleet.a)['requests'] == before + 2


async def test_no_retry_by_the_client_when_all_targets_were_tried(fleet, client_for):
    before = [totals(fleet.a)['requests'], totals(fleet.b)['requests']]
    with pytest.raises(openai.RateLimitError) as caught:
        await settle(client_for(fleet.url, max_retries=5).chat.completions.create(
            model='assistant', messages=HELLO, extra_headers=sim(status=429)))
    assert caught.value.response.headers['x-should-retry'] == 'false'
    assert [totals(fleet.a)['requests'], totals(fleet.b)['requests']] == [before[0] + 1, before[1] + 1]


@pytest.mark.parametrize('stream', [False, True])
async def test_server_errors(fleet, client_for, stream):
    client = client_for(fleet.url)
    for headers, code in ((sim(status=500), 502), (sim(status=503, error_body='html'), 502),
                          (sim(fault='garbage_head'), 502), (sim(fault='reset_before_head'), 502)):
        with pytest.raises(openai.InternalServerError) as caught:
            await settle(client.chat.completions.create(
                model='assistant', messages=HELLO, stream=stream, extra_headers=headers))
        assert caught.value.status_code == code
        assert 'a/echo' in caught.value.message and 'b/echo' in caught.value.message, 'which targets were tried'
    with pytest.raises(openai.InternalServerError) as caught:
        await settle(client.chat.completions.create(model='dead', messages=HELLO, stream=stream))
    assert caught.value.code == 'provider_error'


async def test_a_providers_keys_are_not_the_clients_fault(fleet, client_for):
    with pytest.raises(openai.InternalServerError) as caught:
        await settle(client_for(fleet.url).chat.completions.create(
            model='single', messages=HELLO, extra_headers=sim(status=401)))
    assert (caught.value.status_code, caught.value.code) == (502, 'provider_auth')


@pytest.mark.parametrize('stream', [False, True])
async def test_the_gateways_time_is_up(fleet, client_for, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        await settle(client_for(fleet.url).chat.completions.create(
            model='impatient', messages=HELLO, stream=stream, extra_headers=sim(latency='5s')))
    assert (caught.value.status_code, caught.value.code) == (504, 'provider_timeout')


@pytest.mark.parametrize('stream', [False, True])
@best_of_three
async def test_the_clients_time_is_up(fleet, client_for, stream):
    before = totals(fleet.a)
    with pytest.raises(openai.APITimeoutError):
        await settle(client_for(fleet.url, timeout=0.3).chat.completions.create(
            model='single', messages=HELLO, stream=stream, extra_headers=sim(latency='20s')))
    assert await seen_to_leave(fleet.a, before) < LEFT_WITHIN_S


# --- leaving, cuts, failover ---

@best_of_three
async def test_closing_a_stream_is_seen_at_the_provider(fleet, client_for):
    before = totals(fleet.a)
    stream = await settle(client_for(fleet.url).chat.completions.create(
        model='a/words', messages=HELLO, stream=True, extra_headers=sim(tokens=100000, tokens_per_second=50)))
    got = 0
    async for _ in each(stream):
        got += 1
        if got == 5:
            break
    await settle(stream.close())
    assert await seen_to_leave(fleet.a, before) < LEFT_WITHIN_S
    after = totals(fleet.a)
    assert after['events'] - before['events'] < 50


@best_of_three
async def test_closing_a_stream_that_pauses(fleet, client_for):
    before = totals(fleet.a)
    stream = await settle(client_for(fleet.url).chat.completions.create(
        model='a/words', messages=HELLO, stream=True, extra_headers=sim(tokens=10, fault='stall_after_events:3')))
    texts = 0
    async for chunk in each(stream):
        texts += bool(chunk.choices and chunk.choices[0].delta.content)
        if texts == 3:
            break
    await settle(stream.close())
    assert await seen_to_leave(fleet.a, before) < LEFT_WITHIN_S


@best_of_three
async def test_cancelling_a_task_is_seen_at_the_provider(fleet):
    async with openai.AsyncOpenAI(base_url=fleet.url, api_key='unused', max_retries=0) as client:
        before = totals(fleet.a)
        task = asyncio.create_task(client.chat.completions.create(
            model='single', messages=HELLO, extra_headers=sim(latency='20s')))
        end = time.monotonic() + harness.WAIT_S
        while not fleet.relais.metrics()['relais_requests_in_flight']:
            assert time.monotonic() < end, 'the request does not arrive'
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # it is now at the provider
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await seen_to_leave(fleet.a, before) < LEFT_WITHIN_S


@pytest.mark.parametrize('fault', ['reset_after_events:3', 'fin_after_events:3', 'reset_mid_event:3', 'fin_mid_event:3',
                                   'chunk_garbage', 'invalid_event:3'])
async def test_a_stream_that_is_cut_is_an_error(fleet, client_for, fault):
    """Behind the commit point nothing can be retried; a program must be told, or it takes half for a whole."""
    stream = await settle(client_for(fleet.url, max_retries=2).chat.completions.create(
        model='a/words', messages=HELLO, stream=True, extra_headers=sim(tokens=8, fault=fault)))
    texts = []
    with pytest.raises(openai.APIError) as caught:
        async for chunk in each(stream):
            texts += [c.delta.content for c in chunk.choices if c.delta.content]
    assert 1 <= len(texts) <= 4, 'what had come is there'
    assert caught.value.code == 'stream_interrupted'


async def test_an_error_that_the_provider_says_in_a_stream(fleet, client_for):
    stream = await settle(client_for(fleet.url).chat.completions.create(
        model='a/words', messages=HELLO, stream=True,
        extra_headers=sim(tokens=8, fault='error_event:3', error_message='The provider is sorry.')))
    with pytest.raises(openai.APIError) as caught:
        async for _ in each(stream):
            pass
    assert 'The provider is sorry.' in caught.value.message


@pytest.mark.parametrize('fault', ['reset_before_head', 'fin_after_head', 'reset_after_head', 'garbage_head',
                                   'html_502', 'error_in_200', 'wrong_media_type', 'garbage_body'])
@pytest.mark.parametrize('stream', [False, True])
async def test_failover_shows_nothing(fleet, client_for, fault, stream):
    client = client_for(fleet.url)
    for _ in range(2):  # one of them asks a first
        answer = await settle(client.chat.completions.create(
            model='assistant', messages=HELLO, stream=stream, extra_headers=sim(fault=fault, only='a')))
        text = text_of([c async for c in each(answer)]) if stream else answer.choices[0].message.content
        assert text == 'one two three four five'


async def test_failover_from_a_port_where_nobody_listens(fleet, client_for):
    raw = await settle(client_for(fleet.url).chat.completions.with_raw_response.create(model='limping', messages=HELLO))
    assert (raw.headers['x-relais-attempts'], raw.headers['x-relais-provider']) == ('2', 'a')


async def test_one_of_two_refuses(fleet, client_for):
    client = client_for(fleet.url)
    before = totals(fleet.b)['requests']
    post_json(fleet.a.url + '/sim/refuse?ms=1500&drop=1', {})
    for number in range(20):
        answer = await settle(client.chat.completions.create(model='assistant', messages=HELLO, stream=number % 2 == 0))
        text = text_of([c async for c in each(answer)]) if number % 2 == 0 else answer.choices[0].message.content
        assert text == 'one two three four five'
    assert totals(fleet.b)['requests'] == before + 20
    await until_listening(fleet.a)


async def until_listening(provider):
    end = time.monotonic() + harness.WAIT_S
    while True:
        try:
            return totals(provider)
        except OSError:
            assert time.monotonic() < end, 'it does not come back'
            await asyncio.sleep(0.05)


@best_of_three
async def test_fifty_streams_at_once(fleet):
    async def one(client, number):
        text = f'stream number {number} has its own words and no others'
        stream = await client.chat.completions.create(
            model='assistant', messages=[{'role': 'user', 'content': text}], stream=True,
            extra_headers=sim(tokens_per_second=25))
        got = [chunk async for chunk in stream]
        assert text_of(got) == text
    async with openai.AsyncOpenAI(base_url=fleet.url, api_key='unused', max_retries=0) as client:
        started = time.monotonic()
        await asyncio.gather(*(one(client, number) for number in range(50)))
        assert time.monotonic() - started < 3 * SLOW, 'ten words at 25 a second, all at the same time'
