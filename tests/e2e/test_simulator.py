# SPDX-License-Identifier: Apache-2.0
"""relais simulate, byte by byte: what it answers, every fault that it was told to make, its ledger and its control."""
import base64
import gzip
import json
import os
import re
import ssl
import struct
import time

import pytest

from harness import Client, HttpError, SLOW, eventually, raw, read_socket, run

HELLO = {'model': 'echo', 'messages': [{'role': 'user', 'content': 'hello there, how are you?'}]}
PIECES = ['hello', ' there,', ' how', ' are', ' you?']
CHAT = '/v1/chat/completions'


def client(provider, **options):
    return Client('127.0.0.1', provider.port, **options)


def post(provider, body=None, headers=(), path=CHAT, **members):
    with client(provider) as connection:
        return connection.post(path, {**(body or HELLO), **members}, headers)


def sim_headers(options):
    return [('x-sim-' + name.replace('_', '-'), str(value)) for name, value in options.items()]


def received(provider, stream=False, within_s=5 * SLOW, body=None, **options):
    """All bytes of one answer with these x-sim-* headers, and how the connection ended."""
    with client(provider) as connection:
        connection.send('POST', CHAT, {**(body or HELLO), 'stream': stream}, sim_headers(options))
        return read_socket(connection.sock, within_s=within_s)


def control(provider, method, path, body=None, headers=()):
    with client(provider) as connection:
        return connection.request(method, path, body, headers)


def last_entry(provider):
    return provider.ledger()['entries'][-1]


def without_date(data):
    return re.sub(rb'Date: [^\r]*', b'Date: -', data)


def same_id(data):
    return re.sub(rb'sim[0-9a-f]{16}', b'sim-id', data)


def without_chunks(data):
    return re.sub(rb'(?<=\n)[0-9a-f]+\r\n|(?<=\n\n)\r\n', b'', data)


# --- answers --------------------------------------------------------------------------------------------------------

def test_chat_echoes(sim):
    reply = post(sim())
    assert reply.status == 200 and reply.ended == 'length'
    assert reply.header('content-type') == 'application/json'
    assert reply.header('x-sim-name') == 'sim'
    answer = reply.json()
    assert answer['object'] == 'chat.completion' and answer['model'] == 'echo'
    assert answer['choices'][0]['message'] == {'role': 'assistant', 'content': 'hello there, how are you?', 'refusal': None}
    assert answer['choices'][0]['finish_reason'] == 'stop'
    usage = answer['usage']
    assert (usage['prompt_tokens'], usage['completion_tokens'], usage['total_tokens']) == (7, 5, 12)


def test_stream_has_one_chunk_an_event(sim):
    reply = post(sim(), stream=True, stream_options={'include_usage': True})
    assert reply.header('content-type') == 'text/event-stream; charset=utf-8' and reply.ended == 'chunked'
    chunks = reply.chunks()
    assert chunks[0]['choices'][0]['delta'] == {'role': 'assistant', 'content': '', 'refusal': None}
    assert [c['choices'][0]['delta']['content'] for c in chunks[1:6]] == PIECES
    assert chunks[6]['choices'][0]['finish_reason'] == 'stop'
    assert chunks[7]['choices'] == [] and chunks[7]['usage']['completion_tokens'] == 5
    assert len(chunks) == 8
    assert reply.raw.count(b'\r\ndata: ') == 9, 'each event is a chunk of its own'


def test_usage_only_when_asked_or_told(sim):
    provider = sim()
    assert all('usage' not in c for c in post(provider, stream=True).chunks())
    assert post(provider, stream=True, headers=sim_headers({'usage': 'always'})).chunks()[-1]['usage']
    never = sim_headers({'usage': 'never'})
    assert 'usage' not in post(provider, headers=never).json()
    asked = post(provider, stream=True, stream_options={'include_usage': True}, headers=never)
    assert all('usage' not in c for c in asked.chunks())


def test_default_text_has_as_many_tokens_as_told(sim):
    provider = sim({'tokens': 30})
    whole = post(provider, model='some-model').json()
    assert whole['usage']['completion_tokens'] == 30
    text = whole['choices'][0]['message']['content']
    assert len(text.split()) == 30
    stream = post(provider, model='some-model', stream=True)
    assert stream.stream_text() == text
    assert len(stream.chunks()) == 32


def test_text_of_exact_length(sim):
    provider = sim({'content_bytes': 12345, 'tokens': 200})
    assert len(post(provider).json()['choices'][0]['message']['content']) == 12345
    stream = post(provider, stream=True)
    assert len(stream.stream_text()) == 12345 and len(stream.chunks()) == 202


def test_long_default_text_repeats_the_same_in_both_forms(sim):
    provider = sim({'tokens': 3000})
    text = post(provider, model='m').json()['choices'][0]['message']['content']
    assert len(text.split()) == 3000
    assert post(provider, model='m', stream=True).stream_text() == text


def test_limits_choices_and_finish_reason(sim):
    provider = sim()
    reply = post(provider, max_tokens=2).json()
    assert reply['choices'][0]['message']['content'] == 'hello there,'
    assert reply['choices'][0]['finish_reason'] == 'length'
    reply = post(provider, n=3).json()
    assert [c['index'] for c in reply['choices']] == [0, 1, 2] and reply['usage']['completion_tokens'] == 15
    chunks = post(provider, n=2, stream=True).chunks()
    for index in (0, 1):
        mine = [c['choices'][0] for c in chunks if c['choices'][0]['index'] == index]
        assert ''.join(c['delta'].get('content', '') for c in mine) == 'hello there, how are you?'
        assert mine[-1]['finish_reason'] == 'stop'
    assert post(provider, n=17).status == 400
    assert post(provider, headers=sim_headers({'finish_reason': 'content_filter'})).json()['choices'][0][
        'finish_reason'] == 'content_filter'


def test_tool_calls(sim):
    provider = sim()
    tools = [{'type': 'function', 'function': {'name': 'weather', 'parameters': {}}}]
    headers = sim_headers({'tool_call': '*', 'tool_arguments': '{"city": "Oslo", "days": 3}'})
    choice = post(provider, tools=tools, headers=headers).json()['choices'][0]
    assert choice['finish_reason'] == 'tool_calls'
    call = choice['message']['tool_calls'][0]
    assert call['function'] == {'name': 'weather', 'arguments': '{"city": "Oslo", "days": 3}'} and call['id']
    chunks = post(provider, tools=tools, headers=headers, stream=True).chunks()
    calls = [c['choices'][0]['delta']['tool_calls'][0] for c in chunks if 'tool_calls' in c['choices'][0]['delta']]
    assert calls[0]['function']['name'] == 'weather' and calls[0]['id'] == call['id']
    assert ''.join(c['function'].get('arguments', '') for c in calls) == '{"city": "Oslo", "days": 3}'
    assert chunks[-1]['choices'][0]['finish_reason'] == 'tool_calls'
    # Without a tool on offer, text.
    assert post(provider, headers=headers).json()['choices'][0]['message']['content'] == 'hello there, how are you?'


def test_completions(sim):
    provider = sim()
    body = {'model': 'echo', 'prompt': 'say it again'}
    reply = post(provider, body, path='/v1/completions').json()
    assert reply['object'] == 'text_completion' and reply['choices'][0]['text'] == 'say it again'
    chunks = post(provider, body, path='/v1/completions', stream=True).chunks()
    assert ''.join(c['choices'][0]['text'] for c in chunks) == 'say it again'


def test_embeddings_in_both_encodings(sim):
    provider = sim({'dimensions': 33})
    body = {'model': 'e', 'input': ['one', 'two', 'one']}
    reply = post(provider, body, path='/v1/embeddings').json()
    vectors = [e['embedding'] for e in reply['data']]
    assert [e['index'] for e in reply['data']] == [0, 1, 2] and len(vectors[0]) == 33
    assert vectors[0] == vectors[2] != vectors[1]
    assert abs(sum(v * v for v in vectors[0]) - 1) < 0.001
    packed = post(provider, body, path='/v1/embeddings', encoding_format='base64', dimensions=33).json()
    for vector, entry in zip(vectors, packed['data']):
        floats = struct.unpack('<33f', base64.b64decode(entry['embedding'], validate=True))
        assert floats == pytest.approx(vector, abs=1e-6)
    assert len(post(provider, body, path='/v1/embeddings', dimensions=5).json()['data'][0]['embedding']) == 5


def test_models_health_and_unknown_routes(sim):
    provider = sim({'models': {'small': {'tokens': 3}}, 'strict_models': True})
    assert [m['id'] for m in control(provider, 'GET', '/v1/models').json()['data']] == ['echo', 'small']
    assert control(provider, 'GET', '/health').body == b'OK\n'
    assert control(provider, 'GET', '/nowhere').status == 404
    assert control(provider, 'GET', '/sim/reset').status == 405
    assert post(provider, model='small').json()['usage']['completion_tokens'] == 3
    reply = post(provider, model='other')
    assert reply.status == 404 and reply.json()['error']['code'] == 'model_not_found'


def test_bad_requests(sim):
    provider = sim()
    reply = control(provider, 'POST', CHAT, '{"model": ', [('Content-Type', 'application/json')])
    assert reply.status == 400 and reply.json()['error']['message']
    reply = post(provider, headers=[('x-sim-statsu', '500')])
    assert reply.status == 400 and "did you mean 'status'?" in reply.json()['error']['message']
    assert post(provider, headers=[('x-sim-latency', 'soon')]).status == 400


def test_key(sim):
    provider = sim({'require_key': 'sk-good'})
    assert post(provider).status == 401
    assert post(provider, headers=[('Authorization', 'Bearer sk-bad!')]).json()['error']['code'] == 'invalid_api_key'
    assert post(provider, headers=[('Authorization', 'Bearer sk-good')]).status == 200
    assert control(provider, 'GET', '/sim/ledger').status == 200


def test_equal_seeds_give_equal_answers(sim):
    def answers(seed):
        provider = sim({'faults': [{'rate': 0.3, 'status': 500}, {'rate': 0.2, 'fault': 'garbage_body'}]},
                       args=['--seed', str(seed)])
        with client(provider) as connection:
            return [without_date(connection.post(CHAT, {**HELLO, 'model': 'm', 'stream': i % 2 == 0}).raw)
                    for i in range(40)]
    first = answers(3)
    assert answers(3) == first
    assert answers(4) != first
    assert 2 < sum(b'500 Internal' in a for a in first) < 25


def test_a_kept_answer_is_given_with_its_own_id(sim):
    provider = sim()
    with client(provider) as connection:
        replies = [connection.post(CHAT, HELLO, [('x-request-id', f'r{i}')]) for i in range(5)]
    assert len({r.json()['id'] for r in replies}) == 5
    assert len({same_id(r.body) for r in replies}) == 1
    entries = provider.ledger()['entries']
    assert [e['x_request_id'] for e in entries] == [f'r{i}' for i in range(5)]
    assert [e['number'] for e in entries] == list(range(5))
    assert all(e['completion_tokens'] == 5 and e['model'] == 'echo' for e in entries)
    control(provider, 'POST', '/sim/scenario', 'content: other words')
    assert post(provider).json()['choices'][0]['message']['content'] == 'other words'


# --- errors ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('form', ['3', '0', '-1', '1000000000000', 'soon'])
def test_retry_after_forms(sim, form):
    reply = post(sim(), headers=sim_headers({'status': 429, 'retry_after': form, 'retry_after_ms': '1500'}))
    assert reply.status == 429 and reply.header('retry-after') == form and reply.header('retry-after-ms') == '1500'
    assert reply.json()['error']['code'] == 'rate_limit_exceeded'


def test_retry_after_date(sim):
    from email.utils import parsedate_to_datetime
    reply = post(sim(), headers=sim_headers({'status': 503, 'retry_after': 'date+30'}))
    assert 27 <= parsedate_to_datetime(reply.header('retry-after')).timestamp() - time.time() <= 31


def test_error_bodies(sim):
    provider = sim()

    def error(kind, **options):
        return post(provider, headers=sim_headers({'status': 503, 'error_body': kind, **options}))
    answer = error('openai', error_type='overloaded', error_code='x1', error_message='busy').json()
    assert answer == {'error': {'message': 'busy', 'type': 'overloaded', 'param': None, 'code': 'x1'}}
    assert error('html').header('content-type') == 'text/html' and b'503 Service Unavailable' in error('html').body
    assert error('text', error_message='busy').body == b'busy\n'
    assert error('empty').body == b''
    assert len(error('garbage').body) == 256
    assert post(provider, headers=sim_headers({'status': 529}), stream=True).status == 529


def test_more_headers(sim):
    reply = post(sim(), headers=[('x-sim-headers', 'Set-Cookie: a=b'), ('x-sim-headers', 'Alt-Svc: h3=":443"'),
                                 ('x-sim-content-type', 'application/problem+json')])
    assert reply.header('set-cookie') == 'a=b' and reply.header('alt-svc') == 'h3=":443"'
    assert reply.header('content-type') == 'application/problem+json'


# --- time -----------------------------------------------------------------------------------------------------------

def test_times(sim):
    provider = sim()
    options = sim_headers({'latency': '200ms', 'first_token': '200ms', 'tokens_per_second': 20})
    with client(provider) as connection:
        reply, events = connection.events('POST', CHAT, {**HELLO, 'stream': True}, options)
        times = [e.at_s for e in events]
    assert 0.19 <= reply.first_byte_s < 0.19 + 0.3 * SLOW
    assert times[1] >= 0.39, 'the first content waits for the first token'
    gaps = [b - a for a, b in zip(times[1:5], times[2:6])]
    assert sum(gaps) == pytest.approx(0.2, abs=0.08 * SLOW)
    whole = post(provider, headers=options)
    assert whole.seconds >= 0.64 and len(whole.json()['choices']) == 1


def test_batches(sim):
    reply = post(sim({'batch': 4}), stream=True)
    assert len(reply.chunks()) == 7
    assert reply.raw.count(b'\r\n\r\ndata') + len(re.findall(rb'\r\n[0-9a-f]+\r\ndata', reply.raw)) < 6


# --- interruptions --------------------------------------------------------------------------------------------------

def ended_as(action, got):
    if action == 'reset':
        return got.closed and got.reset
    if action == 'fin':
        return got.closed and not got.reset
    return not got.closed


@pytest.mark.parametrize('stream', [False, True], ids=['whole', 'stream'])
@pytest.mark.parametrize('action', ['reset', 'fin', 'stall'])
def test_interruptions(sim, action, stream):
    provider = sim()
    wait = {'within_s': 0.4 * SLOW} if action == 'stall' else {}
    full = received(provider, stream, write_bytes=1000000)
    assert full.closed and not full.reset
    for point in ('before_head', 'after_head', 'after_events:0', 'mid_event:1', 'after_events:2', 'before_end', 'after_bytes:77'):
        got = received(provider, stream, fault=f'{action}_{point}', **wait)
        assert ended_as(action, got), (point, got)
        # Cut inside an event the last chunk is shorter.
        data, whole = (without_chunks(without_date(same_id(d))) for d in (got.data, full.data))
        assert whole.startswith(data[:-20]), point
        head, _, body = got.data.partition(b'\r\n\r\n')
        if point == 'before_head':
            assert not got.data
        elif point == 'after_head' or (point == 'after_events:0' and not stream):
            assert got.data.endswith(b'\r\n\r\n') and not body
        elif point == 'after_bytes:77':
            assert len(got.data) == 77
        elif not stream:
            length = int(re.search(rb'Content-Length: (\d+)', head).group(1))
            assert len(body) == {'mid_event:1': length // 2, 'before_end': length - 1}.get(point, length)
        else:
            pieces = re.findall(rb'"content":"([^"]+)"', body)
            assert len(pieces) == {'after_events:0': 0, 'mid_event:1': 1, 'after_events:2': 2, 'before_end': 5}[point]
            assert b'finish_reason":"stop"' not in body and b'[DONE]' not in body and not body.endswith(b'0\r\n\r\n')
            assert body.endswith(b'\n\n\r\n') == (point != 'mid_event:1')
    ends = [(e['fault'].partition(':')[0], e['end']) for e in eventually(
        lambda: [e for e in provider.ledger()['entries'] if e['fault'] != 'none'][6:] and
        [e for e in provider.ledger()['entries'] if e['fault'] != 'none'])]
    assert {end for _, end in ends} == {'client_left' if action == 'stall' else 'cut'}


def test_cut_at_every_byte_of_the_head_and_more(sim):
    provider = sim()
    full = received(provider, True, write_bytes=1000000).data
    for n in list(range(0, 60)) + list(range(60, len(full), 97)):
        got = received(provider, True, fault=f'cut:{n}')
        assert len(got.data) == n and got.closed and not got.reset
        assert without_date(same_id(full)).startswith(without_date(same_id(got.data))[:30])


def test_a_stall_may_end(sim):
    provider = sim()
    for stream in (False, True):
        full = without_date(same_id(received(provider, stream, write_bytes=1000000).data))
        for point in ('before_head', 'after_head', 'after_bytes:100', 'after_events:1', 'before_end'):
            begun = time.monotonic()
            got = received(provider, stream, fault=f'stall_{point}', stall_for='150ms')
            assert got.closed and time.monotonic() - begun >= 0.145
            assert without_date(same_id(got.data)) == full, point
    assert {e['end'] for e in provider.ledger()['entries']} == {'whole'}


def test_stall_in_mid_event_goes_on(sim):
    reply = post(sim(), stream=True, headers=sim_headers({'fault': 'stall_mid_event:1', 'stall_for': '100ms'}))
    assert [c['choices'][0]['delta'].get('content') for c in reply.chunks()][1:6] == PIECES
    assert reply.seconds >= 0.095


def test_small_writes(sim):
    provider = sim()
    full = received(provider, True, write_bytes=1000000)
    got = received(provider, True, write_bytes=1)
    assert without_date(same_id(got.data)) == without_date(same_id(full.data))
    begun = time.monotonic()
    trickle = received(provider, write_bytes=40, write_gap='20ms')
    assert len(trickle.pieces) >= len(trickle.data) // 40 and time.monotonic() - begun > 0.2
    assert max(len(p) for _, p in trickle.pieces) <= 80


# --- broken answers -------------------------------------------------------------------------------------------------

def body_and_length(got):
    head, _, body = got.data.partition(b'\r\n\r\n')
    said = re.search(rb'Content-Length: (\d+)', head)
    return body, int(said.group(1)) if said else None


@pytest.mark.parametrize('stream', [False, True], ids=['whole', 'stream'])
def test_wrong_lengths(sim, stream):
    provider = sim()
    body, said = body_and_length(received(provider, stream, fault='length_longer:50'))
    assert said == len(body) + 50
    body, said = body_and_length(received(provider, stream, fault='length_shorter:50'))
    assert said == len(body) - 50
    got = received(provider, stream, fault='no_length')
    body, said = body_and_length(got)
    assert said is None and b'chunked' not in got.data and got.closed and not got.reset
    assert body.endswith(b'data: [DONE]\n\n') if stream else json.loads(body)


@pytest.mark.parametrize('stream', [False, True], ids=['whole', 'stream'])
def test_broken_chunks(sim, stream):
    provider = sim()
    got = received(provider, stream, fault='chunk_truncated')
    assert got.data.endswith(b'\r\n1000\r\ndata: {"id":') and got.closed and not got.reset
    with pytest.raises(HttpError):
        post(provider, stream=stream, headers=sim_headers({'fault': 'chunk_garbage'}))
    assert [e['end'] for e in provider.ledger()['entries']] == ['cut', 'cut']


@pytest.mark.parametrize('stream', [False, True], ids=['whole', 'stream'])
def test_wrong_content(sim, stream):
    provider = sim()

    def get(fault):
        return post(provider, stream=stream, headers=sim_headers({'fault': fault}))
    assert get('wrong_media_type').header('content-type') == 'text/html'
    reply = get('error_in_200')
    assert reply.status == 200 and 'error' in reply.json()
    reply = get('html_502')
    assert reply.status == 502 and reply.header('content-type') == 'text/html' and b'502 Bad Gateway' in reply.body
    reply = get('gzip')
    assert reply.header('content-encoding') == 'gzip'
    plain = gzip.decompress(reply.body)
    assert plain.endswith(b'data: [DONE]\n\n') if stream else json.loads(plain)['choices']
    garbage = get('garbage_body')
    assert garbage.status == 200 and b'choices' not in garbage.body and len(garbage.body) > 300
    assert len(get('huge_headers:100000').header('x-huge')) == 100000
    reply = get('interim_storm:50')
    assert reply.status == 200 and [r.status for r in reply.interim] == [102] * 50
    with pytest.raises(HttpError, match='no status line'):
        get('garbage_head')


def test_invalid_json(sim):
    with pytest.raises(json.JSONDecodeError):
        post(sim(), headers=sim_headers({'fault': 'invalid_json'})).json()


def test_strange_ends_of_streams(sim):
    provider = sim()

    def events(fault):
        return post(provider, stream=True, headers=sim_headers({'fault': fault})).events()
    plain = events('none')
    assert plain[-1] == '[DONE]' and len(plain) == 8
    assert '[DONE]' not in events('no_done') and len(events('no_done')) == 7
    assert events('two_dones')[-2:] == ['[DONE]', '[DONE]']
    late = events('data_after_done')
    assert late[-2] == '[DONE]' and json.loads(late[-1])['choices'][0]['delta']['content'] == 'late'
    broken = events('invalid_event:2')
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[3])
    assert json.loads(broken[4])['choices'][0]['delta']['content'] == ' are' and broken[-1] == '[DONE]'
    error = events('error_event:2')
    assert len(error) == 4 and 'error' in json.loads(error[3])
    assert last_entry(provider)['end'] == 'cut' and last_entry(provider)['events'] == 2
    first = events('error_event')
    assert 'error' in json.loads(first[1]) and len(first) == 2


def test_line_ends_and_comments(sim):
    provider = sim()
    for line_end, mark in (('crlf', b'\r\n'), ('cr', b'\r')):
        reply = post(provider, stream=True, headers=sim_headers({'line_end': line_end, 'comments': 'true'}))
        assert b'[DONE]' + mark * 2 in reply.body
        assert reply.body.count(b': keep-alive' + mark * 2) == 8
        assert reply.body.replace(mark, b'').count(b'\n') == reply.body.replace(mark, b'').count(b'\r') == 0
        assert reply.body.count(mark * 2) == 16


def test_giant_event(sim):
    reply = post(sim(), stream=True, headers=sim_headers({'fault': 'giant_event:3000000'}))
    assert len(json.loads(reply.events()[1])['choices'][0]['delta']['content']) == 3000000


@pytest.mark.parametrize('stream', [False, True], ids=['whole', 'stream'])
def test_endless_answers_wait_for_their_reader(sim, stream):
    provider = sim()
    with client(provider) as connection:
        connection.send('POST', CHAT, {**HELLO, 'stream': stream}, sim_headers({'fault': 'endless'}))
        assert len(read_socket(connection.sock, within_s=0.3).data) > 10000
        # First the sockets' own buffers fill; from then on it rests.
        eventually(lambda: (lambda before: time.sleep(0.3) or provider.cpu_s() - before < 0.02)(provider.cpu_s()))
        before = provider.memory_kib()
        time.sleep(0.5)
        assert provider.memory_kib() <= before + 64
        others = post(provider)
        assert others.status == 200, 'it serves others meanwhile'
    entry = eventually(lambda: provider.ledger()['totals']['client_left'] and provider.ledger()['entries'][-1])
    assert entry['end'] == 'client_left' and entry['fault'] == 'endless'


def test_stalled_reading(sim):
    provider = sim()
    with client(provider) as connection:
        body = json.dumps({**HELLO, 'messages': [{'role': 'user', 'content': 'x' * 20_000_000}]}).encode()
        head = connection.head('POST', CHAT, [('x-sim-fault', 'stall_reading')], body)
        connection.sock.settimeout(0.5)
        with pytest.raises(OSError):
            connection.sock.sendall(head + body)
        connection.reset()  # a FIN would wait behind the bytes that nobody reads
    assert eventually(lambda: provider.ledger()['totals']['client_left']) == 1


# --- scripts --------------------------------------------------------------------------------------------------------

def test_sequence(sim):
    provider = sim({'sequence': ['ok', 500, {'status': 429, 'retry_after': '7'}, 'reset']})
    for _ in range(2):
        assert [post(provider).status for _ in range(3)] == [200, 500, 429]
        got = received(provider)
        assert got.closed and got.reset and not got.data


def test_x_sim_only(sim):
    provider = sim(name='b', args=['--name', 'b'])
    assert post(provider, headers=[('x-sim-status', '500'), ('x-sim-only', 'a')]).status == 200
    assert post(provider, headers=[('x-sim-status', '500'), ('x-sim-only', 'b')]).status == 500


def test_connections_meet_what_they_are_told(sim):
    provider = sim({'accept': ['ok', 'reset', 'close', 'hang']})
    assert post(provider).status == 200
    got = raw('127.0.0.1', provider.port, within_s=2)
    assert got.closed and got.reset
    got = raw('127.0.0.1', provider.port, within_s=2)
    assert got.closed and not got.reset and not got.data
    got = raw('127.0.0.1', provider.port, b'GET /health HTTP/1.1\r\nHost: a\r\n\r\n', within_s=0.5)
    assert not got.closed and not got.data
    assert post(provider).status == 200


def test_mistakes_in_a_scenario_file(tmp_path):
    file = tmp_path / 'bad.yaml'
    file.write_text('statsu: 5\nlatency: soon\n')
    done = run('simulate', '--listen', '127.0.0.1:0', '--scenario', file)
    assert done.returncode == 2
    assert "bad.yaml:1:1: statsu: unknown key, did you mean 'status'?" in done.stderr
    assert 'bad.yaml:2:10: latency: ' in done.stderr


def test_examples_load(sim, tmp_path):
    folder = os.path.join(os.path.dirname(__file__), '..', '..', 'examples', 'scenarios')
    names = sorted(os.listdir(folder))
    assert len(names) >= 4
    for name in names:
        with open(os.path.join(folder, name), encoding='utf-8') as file:
            provider = sim(file.read())
        assert control(provider, 'GET', '/health').status == 200


# --- control and ledger ---------------------------------------------------------------------------------------------

def test_scenario_is_replaced_while_it_runs(sim):
    provider = sim()
    with client(provider) as connection:
        reply, events = connection.events('POST', CHAT, {**HELLO, 'stream': True}, sim_headers({'tokens_per_second': 20}))
        next(events)
        assert control(provider, 'POST', '/sim/scenario', '{"status": 503}').json() == {'ok': True}
        assert post(provider).status == 503
        assert [e.data for e in events][-1] == '[DONE]', 'what runs goes on'
    assert control(provider, 'POST', '/sim/scenario', 'tokens: [1\n').status == 400
    reply = control(provider, 'POST', '/sim/scenario', 'tokns: 1')
    assert reply.status == 400 and "did you mean 'tokens'" in reply.text
    assert control(provider, 'POST', '/sim/scenario', 'ledger: /tmp/never').status == 400
    assert control(provider, 'POST', '/sim/scenario', 'content: "${HOME}"').status == 400
    assert post(provider).status == 503, 'a wrong scenario changes nothing'
    assert control(provider, 'POST', '/sim/scenario', '', [('Origin', 'http://evil.example')]).status == 403
    assert control(provider, 'POST', '/sim/scenario', '').status == 200
    assert post(provider).status == 200


def test_refusing_for_a_time(sim):
    provider = sim()
    with client(provider) as kept:
        assert control(provider, 'POST', '/sim/refuse').status == 400
        assert control(provider, 'POST', '/sim/refuse?ms=400').status == 200
        time.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            client(provider)
        assert kept.get('/health').status == 200, 'open connections stay'

        def answers():
            try:
                return post(provider).status == 200
            except (ConnectionRefusedError, ConnectionResetError):
                return False
        eventually(answers)
        assert kept.post('/sim/refuse?ms=300&drop=1', '').status == 200
        assert kept.closed_by_peer(2)
    eventually(answers)


def test_ledger_counts_everything_once(sim):
    provider = sim()
    assert post(provider).status == 200
    assert len(post(provider, stream=True).chunks()) == 7
    assert post(provider, headers=sim_headers({'status': 500})).status == 500
    received(provider, True, fault='reset_after_events:2')
    received(provider, True, fault='reset_after_head')
    received(provider, False, fault='fin_mid_event')
    with client(provider) as connection:
        connection.send('POST', CHAT, {**HELLO, 'stream': True}, sim_headers({'tokens_per_second': 5}))
        read_socket(connection.sock, until=b'hello')
    assert control(provider, 'GET', '/health').status == 200
    totals = eventually(lambda: (lambda t: t['requests'] == 7 and t)(provider.ledger()['totals']))
    assert {k: totals[k] for k in ('completed', 'failed', 'cut_streams', 'client_left', 'streams')} == {
        'completed': 2, 'failed': 3, 'cut_streams': 1, 'client_left': 1, 'streams': 4}
    entries = provider.ledger()['entries']
    assert [e['end'] for e in entries] == ['whole'] * 3 + ['cut'] * 3 + ['client_left']
    assert entries[3]['events'] == 2 and entries[3]['fault'] == 'reset_after_events:2'
    assert totals['events'] == sum(e['events'] for e in entries)
    assert control(provider, 'GET', '/sim/ledger?summary=1').json() == {'name': 'sim', 'totals': totals}
    assert [e['number'] for e in control(provider, 'GET', '/sim/ledger?limit=2').json()['entries']] == [5, 6]
    control(provider, 'POST', '/sim/reset', '')
    assert provider.ledger()['totals']['requests'] == 0 and provider.ledger()['entries'] == []


def test_ledger_forgets_the_oldest(sim):
    provider = sim({'ledger_entries': 3})
    with client(provider) as connection:
        for _ in range(5):
            connection.post(CHAT, HELLO)
    ledger = provider.ledger()
    assert ledger['totals']['requests'] == 5 and [e['number'] for e in ledger['entries']] == [2, 3, 4]


def test_ledger_file_outlives_a_kill(sim, tmp_path):
    path = tmp_path / 'ledger.jsonl'
    provider = sim({'ledger': str(path)})

    def lines():
        return [json.loads(line) for line in path.read_text().splitlines()]
    assert post(provider, stream=True, headers=[('x-request-id', 'whole')]).chunks()
    with client(provider) as connection:
        connection.send('POST', CHAT, {**HELLO, 'stream': True},
                        [('x-request-id', 'killed')] + sim_headers({'fault': 'stall_after_events:2'}))
        read_socket(connection.sock, until=b' there,')
        provider.kill()
    ends = {}
    for line in lines():
        ends.setdefault(line.get('x_request_id'), []).append(line['end'])
    assert ends == {None: ['start'], 'whole': ['begun', 'whole'], 'killed': ['begun']}
    provider.restart()
    assert post(provider).status == 200
    eventually(lambda: lines()[-1]['end'] == 'whole')
    assert [line['end'] for line in lines()].count('start') == 2


# --- TLS ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('mode, complaint', [
    ('good', None), ('expired', 'expired'), ('wrong-name', 'IP address mismatch|Hostname mismatch'),
    ('self-signed', 'self.signed certificate')])
def test_certificates(sim, tmp_path, mode, complaint):
    ca = str(tmp_path / 'ca.pem')
    provider = sim(args=['--tls', mode, '--tls-ca-out', ca])
    assert provider.url.startswith('https://')
    context = ssl.create_default_context(cafile=ca)
    if complaint:
        with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
            client(provider, tls=context)
        return
    with client(provider, tls=context) as connection:
        assert connection.post(CHAT, HELLO).json()['choices'][0]['message']['content'] == 'hello there, how are you?'
    # Without the close_notify that a FIN comes behind.
    for action in ('reset', 'fin'):
        with client(provider) as connection:
            connection.sock = context.wrap_socket(connection.sock, server_hostname='127.0.0.1', suppress_ragged_eofs=False)
            connection.send('POST', CHAT, {**HELLO, 'stream': True}, sim_headers({'fault': action + '_after_events:1'}))
            got = read_socket(connection.sock)
            assert got.closed and got.reset == (action == 'reset') and b'hello' in got.data


# --- many -----------------------------------------------------------------------------------------------------------

def test_many_streams_at_once_are_all_whole(sim):
    provider = sim({'tokens': 700})
    connections = [client(provider) for _ in range(30)]
    for connection in connections:
        connection.send('POST', CHAT, {**HELLO, 'model': 'm', 'stream': True})
    texts = {connection.read_reply('POST').stream_text() for connection in connections}
    for connection in connections:
        connection.close()
    assert len(texts) == 1
    totals = provider.ledger()['totals']
    assert totals['completed'] == 30 and totals['events'] == 30 * 700
