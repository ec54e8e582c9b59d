# SPDX-License-Identifier: Apache-2.0
"""The official Python client through relais to llama.cpp's server: what relais understands of providers must not only
hold for the one that its own authors wrote. The model is generated, of random weights, and says words in random
order, or nothing at all: a test that wants words asks it to ignore its own end.
"""
import asyncio
import base64
import re
import socket
import struct
import time
import typing

import openai
import pydantic
import pytest

from shared import LEFT_WITHIN_S, ModelServer, best_of_three, each, get_json, harness, post_json, settle, text_of

HELLO = [{'role': 'user', 'content': 'hello horse'}]
ENDLESS = {'model': 'assistant', 'messages': HELLO, 'stream': True, 'max_tokens': 30000,
           'extra_body': {'ignore_eos': True}}


async def stops_working(server):
    """Seconds until it generates for nobody any more."""
    started = time.monotonic()
    while server.working():
        assert time.monotonic() - started < harness.WAIT_S, 'it works on for somebody who has left'
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def is_told_to_stop(server):
    """For an answer that is no stream. The server looks once a second whether the client is still there, and anything
    that it has to answer in between, such as a question whether it works, begins that second anew: so ask rarely."""
    for _ in range(3):
        await asyncio.sleep(2.5)
        if not server.working():
            return
    raise AssertionError('it works on for somebody who has left')


async def test_chat(served, client_for):
    """The same words through relais as from the server itself: same seed, no temperature."""
    fixed = {'model': 'tiny', 'messages': HELLO, 'max_tokens': 20, 'seed': 1, 'temperature': 0}
    answer = await settle(client_for(served.url).chat.completions.create(
        **dict(fixed, model='assistant'), extra_body={'ignore_eos': True}))
    direct = post_json(served.server.url + '/v1/chat/completions', dict(fixed, ignore_eos=True))
    assert re.fullmatch(r'( [a-z]+)+', answer.choices[0].message.content)
    assert answer.choices[0].message.content == direct['choices'][0]['message']['content']
    assert answer.choices[0].finish_reason == 'length'
    assert answer.usage.completion_tokens == direct['usage']['completion_tokens']


async def test_stream_with_usage(served, client_for):
    stream = await settle(client_for(served.url).chat.completions.create(
        model='assistant', messages=HELLO, max_tokens=20, stream=True, extra_body={'ignore_eos': True},
        stream_options={'include_usage': True}))
    chunks = [chunk async for chunk in each(stream)]
    assert len(text_of(chunks).split()) == 20
    assert chunks[-1].usage.completion_tokens == 20
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == 'length'


async def test_usage_is_accounted_though_the_client_did_not_ask(served, client_for):
    stream = await settle(client_for(served.url).chat.completions.create(
        model='assistant', messages=HELLO, max_tokens=7, stream=True, extra_body={'ignore_eos': True},
        extra_headers={'x-request-id': f'usage-{id(client_for)}'}))
    chunks = [chunk async for chunk in each(stream)]
    assert not any(c.usage for c in chunks)
    assert all(c.choices for c in chunks), 'the event that only carries usage is the gateway\'s own'

    def record():
        return [r for r in served.relais.access_log() if r['request_id'] == f'usage-{id(client_for)}']
    (found,) = harness.eventually(record)
    assert found['tokens']['completion'] == 7
    assert found['tokens']['prompt'] > 0


async def test_structured_answers(served, client_for):
    class Place(pydantic.BaseModel):
        city: typing.Literal['Berlin', 'Bern']
    answer = await settle(client_for(served.url).chat.completions.parse(
        model='assistant', messages=HELLO, response_format=Place, max_tokens=100))
    assert answer.choices[0].message.parsed.city in ('Berlin', 'Bern')


async def test_completions(served, client_for):
    wanted = {'model': 'assistant', 'prompt': 'the horse', 'max_tokens': 6, 'extra_body': {'ignore_eos': True}}
    client = client_for(served.url)
    answer = await settle(client.completions.create(**wanted))
    assert len(answer.choices[0].text.split()) == 6
    stream = await settle(client.completions.create(**wanted, stream=True))
    assert len(''.join([c.choices[0].text async for c in each(stream) if c.choices]).split()) == 6


@pytest.mark.parametrize('encoding', [None, 'float', 'base64'])
async def test_embeddings(served, client_for, encoding):
    texts = ['a horse', 'a letter']
    right = [item['embedding'] for item in post_json(served.server.url + '/v1/embeddings', {
        'model': 'tiny', 'input': texts})['data']]
    options = {'encoding_format': encoding} if encoding else {}
    answer = await settle(client_for(served.url).embeddings.create(model='assistant', input=texts, **options))
    for item, values in zip(answer.data, right, strict=True):
        got = item.embedding
        if encoding == 'base64':
            got = struct.unpack('<64f', base64.b64decode(got))
        assert got == pytest.approx(values, abs=1e-5)


async def test_models(served, client_for):
    """Its list is asked for in the background; then its models are there, and known by their bare names."""
    client = client_for(served.url)

    async def listed():
        return [model.id async for model in each(client.models.list())]
    end = time.monotonic() + harness.WAIT_S
    while 'local/tiny' not in await listed():
        assert time.monotonic() < end, await listed()
        await asyncio.sleep(0.05)
    raw = await settle(client.chat.completions.with_raw_response.create(
        model='local/tiny', messages=HELLO, max_tokens=2))
    assert raw.headers['x-relais-provider'] == 'local'
    assert (await settle(client.chat.completions.create(model='tiny', messages=HELLO, max_tokens=2))).choices


async def test_its_errors(served, client_for):
    client = client_for(served.url)
    with pytest.raises(openai.BadRequestError) as caught:
        await settle(client.chat.completions.create(model='assistant', messages=[{'role': 'user'}]))
    assert 'content' in caught.value.message, 'its own words'
    with pytest.raises(openai.BadRequestError):
        await settle(client.chat.completions.create(model='assistant', messages=HELLO, stream=True, response_format={
            'type': 'json_schema', 'json_schema': {'name': 'x', 'schema': {'type': 'nonsense'}}}))
    with pytest.raises(openai.BadRequestError):  # longer than its context
        await settle(client.completions.create(model='assistant', prompt='horse ' * 40000, max_tokens=1))


@best_of_three
async def test_closing_a_stream(served, client_for):
    stream = await settle(client_for(served.url).chat.completions.create(**ENDLESS))
    got = 0
    async for _ in each(stream):
        got += 1
        if got == 10:
            break
    assert served.server.working()
    await settle(stream.close())
    assert await stops_working(served.server) < LEFT_WITHIN_S


async def test_the_clients_time_is_up(served, client_for):
    with pytest.raises(openai.APITimeoutError):
        await settle(client_for(served.url, timeout=0.5).chat.completions.create(**dict(ENDLESS, stream=False)))
    await is_told_to_stop(served.server)


@pytest.mark.parametrize('stream', [False, True])
async def test_failover_from_a_dead_target(served, client_for, stream):
    raw = await settle(client_for(served.url).chat.completions.with_raw_response.create(
        model='limping', messages=HELLO, max_tokens=5, stream=stream, extra_body={'ignore_eos': True}))
    assert (raw.headers['x-relais-attempts'], raw.headers['x-relais-provider']) == ('2', 'local')
    answer = await settle(raw.parse())
    text = text_of([c async for c in each(answer)]) if stream else answer.choices[0].message.content
    assert text.strip()


async def test_ten_streams_at_once(served):
    """More than it has slots for: some wait, none fails."""
    async with openai.AsyncOpenAI(base_url=served.url, api_key='unused', max_retries=0) as client:
        async def one():
            stream = await client.chat.completions.create(
                model='assistant', messages=HELLO, max_tokens=50, stream=True, extra_body={'ignore_eos': True})
            return text_of([chunk async for chunk in stream])
        for text in await asyncio.gather(*(one() for _ in range(10))):
            assert len(text.split()) == 50


def test_killed_in_mid_stream():
    """The server dies: what it was saying ends in an error, and what comes next is answered by the other."""
    server, spare = ModelServer(), ModelServer()
    providers = {name: {'base_url': s.url + '/v1', 'models': ['tiny']} for name, s in (('a', server), ('b', spare))}
    relais = harness.Gateway({'providers': providers, 'models': {'assistant': {
        'targets': [{'provider': 'a', 'model': 'tiny'}, {'provider': 'b', 'model': 'tiny'}]}}})
    with openai.OpenAI(base_url=relais.base_url, api_key='unused', max_retries=0) as client:
        stream = client.chat.completions.create(**ENDLESS)
        got = 0
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                got += 1
                if got == 10:
                    server.proc.kill()
        assert got >= 10
        assert caught.value.code == 'stream_interrupted'
        raw = client.chat.completions.with_raw_response.create(model='assistant', messages=HELLO, max_tokens=3)
        assert raw.headers['x-relais-provider'] == 'b'
    relais.finish()
    server.stop()
    spare.stop()


def free_usual_port():
    """A provider's name and its usual port, if one of them is free on this machine."""
    for name, port in (('vllm', 8000), ('lmstudio', 1234), ('ollama', 11434)):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(('127.0.0.1', port))
                return name, port
            except OSError:
                continue
    pytest.skip('all usual ports of model servers are taken on this machine')


def test_found_on_its_usual_port():
    """Without any config `relais ask` finds the server, learns its model, and streams its answer."""
    name, port = free_usual_port()
    server = ModelServer(port)
    assert get_json(f'http://127.0.0.1:{port}/v1/models')['data'][0]['id'] == 'tiny'
    done = harness.run('ask', '--model', f'{name}/tiny', 'hello horse')
    server.stop()
    assert done.returncode == 0, done.stderr
    assert re.match(r' ?[a-z]+( [a-z]+)*\s*$', done.stdout), done.stdout
