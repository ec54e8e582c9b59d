# SPDX-License-Identifier: Apache-2.0
"""The other routes of the OpenAI API: those whose JSON body names a model (responses, moderations, images, speech) go the
way of chat; those without a model (files, batches, assistants ...) go to one provider and pass as bytes, both ways."""
import hashlib
import json
import threading
import time

import pytest

from harness import SLOW, chunked, eventually, http_answer, Client, STREAM_HEAD
from kit import MEMORY, config, faults, header, latest, serving
from test_callers import bearer, new_key

JSON = [('Content-Type', 'application/json')]
TO_A, TO_B = [('x-relais-provider', 'a')], [('x-relais-provider', 'b')]
USAGE = {'input_tokens': 11, 'output_tokens': 7, 'total_tokens': 18, 'input_tokens_details': {'cached_tokens': 4},
         'output_tokens_details': {'reasoning_tokens': 2}}
RESPONSE = {'id': 'resp_1', 'object': 'response', 'status': 'completed', 'error': None, 'model': 'm',
            'output': [{'type': 'message', 'content': [{'type': 'output_text', 'text': 'hi'}]}], 'usage': USAGE}
BROKEN = http_answer({'error': {'message': 'down'}}, '500 X')


def code(reply):
    return reply.json()['error']['code']


def event(kind, **members):
    return b'event: ' + kind.encode() + b'\ndata: ' + json.dumps({'type': kind, **members}).encode() + b'\n\n'


# --- with a model ----------------------------------------------------------------------------------------------------

MODELLED = [
    ('/v1/moderations', {'model': 'assistant', 'input': ['bad', 'good']},
     {'id': 'modr-1', 'model': 'm', 'results': [{'flagged': True}, {'flagged': False}]}, 'moderation', None),
    ('/v1/images/generations', {'model': 'assistant', 'prompt': 'a cat', 'n': 1},
     {'created': 1, 'data': [{'b64_json': 'AAAA'}], 'usage': USAGE}, 'image', 11),
    ('/v1/responses', {'model': 'assistant', 'input': 'hello', 'stream': False}, RESPONSE, 'response', 11),
]


@pytest.mark.parametrize('path, body, answer, operation, tokens', MODELLED)
def test_with_a_model(gateway, provider, path, body, answer, operation, tokens):
    a, b = provider(BROKEN), provider(http_answer(answer))
    relais = gateway(config([a, b]))
    reply = relais.post(path, body)
    assert (reply.status, reply.json()) == (200, answer)
    assert reply.header('x-relais-provider') == 'b' and reply.header('x-relais-attempts') == '2'
    for server in (a, b):
        assert latest(server).line == f'POST {path} HTTP/1.1'
        assert json.loads(latest(server).body) == {**body, 'model': 'm'}
    record = relais.access_log(1)[0]
    assert (record['operation'], record['route'], record['outcome'], faults(record)) == (operation, path, 'ok', ['server_error'])
    if tokens:
        assert (record['tokens']['prompt'], record['tokens']['completion'], record['tokens']['cached']) == (11, 7, 4)


@pytest.mark.parametrize('path, body, param', [
    ('/v1/moderations', {'model': 'assistant'}, 'input'), ('/v1/moderations', {'model': 'assistant', 'input': 1}, 'input'),
    ('/v1/images/generations', {'model': 'assistant', 'prompt': ['x']}, 'prompt'),
    ('/v1/audio/speech', {'model': 'assistant', 'input': ['x']}, 'input'), ('/v1/audio/speech', {'input': 'x'}, 'model'),
    ('/v1/responses', {'model': 'assistant', 'input': {}}, 'input'), ('/v1/responses', {'model': 1, 'input': 'x'}, 'model')])
def test_a_bad_body(gateway, provider, path, body, param):
    a = provider(b'')
    relais = gateway(config([a]))
    reply = relais.post(path, body)
    assert (reply.status, reply.json()['error']['param']) == (400, param)
    assert not a.requests


@pytest.mark.parametrize('answer', [{'results': {}}, {'data': []}, {'error': {'message': 'no'}}, b'<html>', b'{"results":['])
def test_a_wrong_answer_leads_to_the_next_target(gateway, provider, answer):
    good = {'results': []}
    relais = gateway(config([provider(http_answer(answer)), provider(http_answer(good))]))
    reply = relais.post('/v1/moderations', {'model': 'assistant', 'input': 'x'})
    assert (reply.status, reply.json(), reply.header('x-relais-provider')) == (200, good, 'b')


def response_events(end='response.completed'):
    return [event('response.created', response={**RESPONSE, 'output': [], 'usage': None, 'status': 'in_progress'}),
            event('response.output_item.added', item={}), event('response.output_text.delta', delta='hel'),
            event('response.output_text.delta', delta='lo'), event('response.output_text.done', text='hello'),
            event(end, response=RESPONSE)]


@pytest.mark.parametrize('end', ['response.completed', 'response.incomplete'])
def test_a_response_stream(gateway, provider, end):
    """Its last event ends it; there is no [DONE]."""
    events = response_events(end)
    a = provider(STREAM_HEAD + b''.join(chunked(e) for e in events) + chunked(b''))
    relais = gateway(config([a]))
    reply = relais.post('/v1/responses', {'model': 'assistant', 'input': 'x', 'stream': True})
    assert (reply.status, reply.body, reply.ended) == (200, b''.join(events), 'chunked')
    assert b'stream_options' not in latest(a).body, 'its usage comes unasked'
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['tokens']['prompt'], record['tokens']['completion']) == ('ok', 11, 7)


def test_a_response_stream_that_fails_before_content(gateway, provider):
    failed = [event('response.created', response={}), event('response.failed', response={
        'error': {'code': 'server_error', 'message': 'boom'}})]
    broken = STREAM_HEAD + b''.join(chunked(e) for e in failed) + chunked(b'')
    events = response_events()
    relais = gateway(config([provider(broken), provider(STREAM_HEAD + b''.join(chunked(e) for e in events) + chunked(b''))]))
    reply = relais.post('/v1/responses', {'model': 'assistant', 'input': 'x', 'stream': True})
    assert (reply.status, reply.body, reply.header('x-relais-provider')) == (200, b''.join(events), 'b')


@pytest.mark.parametrize('keep', [2, 4])
def test_a_response_stream_that_is_cut(gateway, provider, keep):
    """Before content another target answers; after it the client sees no end that looks whole."""
    cut = STREAM_HEAD + b''.join(chunked(e) for e in response_events()[:keep])
    events = response_events()
    whole = STREAM_HEAD + b''.join(chunked(e) for e in events) + chunked(b'')
    a = provider(lambda connection: (connection.read_request(), connection.send(cut)))
    relais = gateway(config([a, provider(whole)]))
    with relais.client() as client:
        reply, arrivals = client.stream('POST', '/v1/responses', {'model': 'assistant', 'input': 'x', 'stream': True})
        if keep == 2:
            assert b''.join(piece for _, piece in arrivals) == b''.join(events)
        else:
            with pytest.raises(AssertionError):
                list(arrivals)
            assert reply.body.startswith(b''.join(events[:4])) and b'stream_interrupted' in reply.body
    assert relais.access_log(1)[0]['outcome'] == ('ok' if keep == 2 else 'cut')


@pytest.mark.parametrize('state', [{'previous_response_id': 'resp_0'}, {'conversation': 'conv_1'},
                                   {'conversation': {'id': 'c'}}, {'background': True}])
def test_a_response_that_builds_on_state_is_not_tried_elsewhere(gateway, provider, state):
    a, b = provider(BROKEN), provider(http_answer(RESPONSE))
    relais = gateway(config([a, b]))
    reply = relais.post('/v1/responses', {'model': 'assistant', 'input': 'x', **state})
    assert (reply.status, reply.header('x-relais-attempts')) == (502, '1')
    assert len(a.requests) == 1 and not b.requests


def test_speech(gateway, provider):
    """Bytes of any kind, committed by the first of them; before it another target is tried."""
    sound = bytes(range(256)) * 4096
    a, b = provider(BROKEN), provider(http_answer(sound, content_type='audio/mpeg'))
    relais = gateway(config([a, b]))
    reply = relais.post('/v1/audio/speech', {'model': 'assistant', 'input': 'hello', 'voice': 'alloy'})
    assert (reply.status, reply.body, reply.header('content-type')) == (200, sound, 'audio/mpeg')
    assert reply.header('x-relais-provider') == 'b' and reply.header('x-relais-model') == 'm'
    assert header(latest(b), 'accept') == '*/*'
    record = relais.access_log(1)[0]
    assert (record['operation'], record['outcome'], record['bytes_out']) == ('speech', 'ok', len(sound))


def test_speech_arrives_as_it_is_made(gateway, provider):
    go_on = threading.Event()

    def play(connection, _):
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n' + chunked(b'one'))
        assert go_on.wait(60)
        connection.send(chunked(b'two') + chunked(b''))
    relais = gateway(config([provider(serving(play))]))
    with relais.client() as client:
        _, arrivals = client.stream('POST', '/v1/audio/speech', {'model': 'assistant', 'input': 'x'})
        assert next(arrivals)[1] == b'one'
        go_on.set()
        assert b''.join(piece for _, piece in arrivals) == b'two'


def test_speech_that_breaks_off(gateway, provider):
    def play(connection, _):
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 1000\r\n\r\n' + b'x' * 500)
        return False
    b = provider(http_answer(b'y', content_type='audio/mpeg'))
    relais = gateway(config([provider(serving(play)), b]))
    with pytest.raises(AssertionError, match='early'):
        relais.post('/v1/audio/speech', {'model': 'assistant', 'input': 'x'})
    assert relais.access_log(1)[0]['outcome'] == 'cut' and not b.requests


def test_streamed_images(gateway, provider):
    """An event holds a whole picture: none is too large, and the usage at the end is still seen."""
    picture = 'A' * 3_000_000
    events = [event('image_generation.partial_image', b64_json=picture),
              event('image_generation.completed', b64_json=picture, usage=USAGE)]
    relais = gateway(config([provider(http_answer(b''.join(events), content_type='text/event-stream'))]))
    reply = relais.post('/v1/images/generations', {'model': 'assistant', 'prompt': 'x', 'stream': True})
    assert (reply.status, reply.body) == (200, b''.join(events))
    assert reply.header('cache-control') == 'no-cache, no-transform' and reply.header('x-accel-buffering') == 'no'
    assert relais.access_log(1)[0]['tokens']['completion'] == 7


def test_a_large_image(gateway, provider):
    answer = {'created': 1, 'data': [{'b64_json': 'A' * 2_000_000}], 'usage': USAGE}
    relais = gateway(config([provider(http_answer(answer))]))
    reply = relais.post('/v1/images/generations', {'model': 'assistant', 'prompt': 'x'})
    assert (reply.status, reply.json()) == (200, answer)
    assert relais.access_log(1)[0]['tokens']['prompt'] == 11


def test_without_its_model(gateway, provider):
    """Some operations may leave the model to the provider: then somebody must say which provider."""
    a = provider(http_answer({'results': []}))
    relais = gateway(config([a]))
    reply = relais.post('/v1/moderations', {'input': 'x'})
    assert (reply.status, code(reply)) == (400, 'provider_required')
    assert relais.post('/v1/moderations', {'input': 'x'}, TO_A).status == 200
    assert json.loads(latest(a).body) == {'input': 'x'}


# --- without a model -------------------------------------------------------------------------------------------------

FILE = {'id': 'file-1', 'object': 'file', 'bytes': 3, 'filename': 'x'}
CALLS = [
    ('GET', '/v1/files', None), ('GET', '/v1/files?after=file-0&limit=2&purpose=batch', None), ('GET', '/v1/files/file-1', None),
    ('DELETE', '/v1/files/file-1', None), ('POST', '/v1/batches', {'input_file_id': 'f', 'endpoint': '/v1/x', 'model': 7}),
    ('POST', '/v1/batches/batch_1/cancel', None), ('POST', '/v1/threads/t/runs', {'assistant_id': 'x', 'model': 'gpt'}),
    ('GET', '/v1/threads/t/runs/r/steps/s?include[]=a', None), ('POST', '/v1/fine_tuning/jobs', {'model': 'x'}),
    ('GET', '/v1/fine_tuning/jobs/ft:gpt:org::1/events', None), ('POST', '/v1/vector_stores', {}), ('DELETE', '/v1/responses/r', None),
    ('GET', '/v1/files/a%20b%C3%A9', None)]


@pytest.mark.parametrize('method, path, body', CALLS)
def test_without_a_model(gateway, provider, method, path, body):
    a, b = provider(http_answer(FILE, headers=[('x-request-id', 'up-1'), ('Set-Cookie', 'a=b')])), provider(b'')
    relais = gateway(config([a, b]))
    reply = relais.request(method, path, body, TO_A + [('OpenAI-Beta', 'assistants=v2'), ('Cookie', 'c=d')])
    assert (reply.status, reply.json()) == (200, FILE)
    request = latest(a)
    assert request.line == f'{method} {path} HTTP/1.1'
    assert request.body == (json.dumps(body).encode() if body is not None else b'')
    assert header(request, 'openai-beta') == 'assistants=v2' and header(request, 'cookie') is None
    assert header(request, 'x-relais-provider') is None
    assert (header(request, 'content-type') == 'application/json') == (body is not None)
    assert reply.header('x-relais-provider') == 'a' and reply.header('x-relais-upstream-request-id') == 'up-1'
    assert reply.header('set-cookie') is None and reply.header('x-relais-model') is None
    record = relais.access_log(1)[0]
    assert (record['operation'], record['outcome'], record['provider'], record['n_attempts']) == ('passthrough', 'ok', 'a', 1)
    assert '{id}' in record['route'] or record['route'] == path.partition('?')[0]
    assert not b.requests


def test_which_provider(gateway, provider):
    """CONTRACT, Size: x-relais-provider, else passthrough_provider, else 400 naming both."""
    a, b = provider(http_answer({'from': 'a'})), provider(http_answer({'from': 'b'}))
    relais = gateway(config([a, b]))
    reply = relais.get('/v1/files')
    assert (reply.status, code(reply)) == (400, 'provider_required')
    assert 'x-relais-provider' in reply.json()['error']['message'] and 'passthrough_provider' in reply.json()['error']['message']
    reply = relais.get('/v1/files', [('x-relais-provider', 'nobody')])
    assert (reply.status, code(reply), reply.json()['error']['param']) == (400, 'provider_not_found', 'x-relais-provider')
    relais = gateway(config([a, b], server={'passthrough_provider': 'b'}))
    assert relais.get('/v1/files').json() == {'from': 'b'}
    assert relais.get('/v1/files', TO_A).json() == {'from': 'a'}


@pytest.mark.parametrize('method, path, body, status, wanted', [
    ('GET', '/v1/files', b'x', 400, 'unexpected_body'), ('DELETE', '/v1/files/f', b'{}', 400, 'unexpected_body'),
    ('POST', '/v1/batches', b'{"a":', 400, 'invalid_json'), ('POST', '/v1/batches', b'[]', 400, 'invalid_type'),
    ('PUT', '/v1/batches', b'{}', 405, 'method_not_allowed'), ('PATCH', '/v1/files/f', None, 405, 'method_not_allowed'),
    ('GET', '/v1/files/..%2fmodels', None, 400, 'invalid_path'), ('GET', '/v1/files//content', None, 400, 'invalid_path')])
def test_what_is_refused(gateway, provider, method, path, body, status, wanted):
    a = provider(b'')
    relais = gateway(config([a], server={'passthrough_provider': 'a'}))
    reply = relais.request(method, path, body, JSON)
    assert (reply.status, code(reply)) == (status, wanted)
    assert not a.requests


def test_a_media_type_is_asked_for(gateway, provider):
    a = provider(http_answer({}))
    relais = gateway(config([a], server={'passthrough_provider': 'a'}))
    reply = relais.post('/v1/batches', b'a=b', [('Content-Type', 'application/x-www-form-urlencoded')])
    assert (reply.status, code(reply)) == (415, 'unsupported_media_type')
    assert relais.post('/v1/batches/b/cancel', b'').status == 200, 'where there is a body'
    assert len(a.requests) == 1


@pytest.mark.parametrize('status', [400, 404, 409, 413, 416, 422])
def test_a_clients_own_error_passes(gateway, provider, status):
    error = {'error': {'message': 'no', 'type': 'invalid_request_error', 'param': None, 'code': 'x'}}
    relais = gateway(config([provider(http_answer(error, f'{status} X'))]))
    reply = relais.get('/v1/files/f', TO_A)
    assert (reply.status, reply.json()) == (status, error)
    assert relais.access_log(1)[0]['outcome'] == 'passed_error'


@pytest.mark.parametrize('answer, status, wanted', [
    (BROKEN, 502, 'provider_error'), (http_answer({'error': {'message': 'k'}}, '401 X'), 502, 'provider_auth'),
    (http_answer({'error': {'message': 'slow'}}, '429 X'), 429, 'rate_limit_exceeded'), (b'HTTP/9', 502, 'provider_error')])
def test_a_providers_error(gateway, provider, answer, status, wanted):
    a, b = provider(answer), provider(http_answer({}))
    relais = gateway(config([a, b]))
    reply = relais.post('/v1/batches', {}, TO_A)
    assert (reply.status, code(reply)) == (status, wanted)
    assert 'Tried a: ' in reply.json()['error']['message']
    assert len(a.requests) == 1 and not b.requests


def test_a_request_that_was_written_is_not_sent_again(gateway, provider):
    """CONTRACT, Commit point: on a reused connection that dies under it, too."""
    seen = []

    def script(connection):
        while True:
            request = connection.read_request(60)
            if not request:
                return
            seen.append(request.line)
            if len(connection.requests) == 2:
                return  # without an answer
            connection.send(http_answer({}))
    relais = gateway(config([provider(script)], server={'workers': 1}))
    for status in (200, 502, 200):
        assert relais.post('/v1/batches', {}, TO_A).status == status
    assert len(seen) == 3


def test_a_large_file(gateway, provider):
    """Any size, any media type, with its length; the gateway holds none of it while the client is slow."""
    block = bytes(range(256)) * 4096
    total = 12  # far beyond what may be held; the client, which keeps every byte, needs the square of it

    def play(connection, _):
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; '
                        b'filename="a.bin"\r\nContent-Length: %d\r\n\r\n' % (len(block) * total))
        for _ in range(total):
            connection.sock.settimeout(60 * SLOW)
            connection.sock.sendall(block)
    relais = gateway(config([provider(serving(play))]))
    relais.get('/v1/files/f/content', TO_A)
    before = relais.memory_kib()
    with Client(*relais.data, within_s=60 * SLOW, receive_buffer=65536) as client:
        reply, arrivals = client.stream('GET', '/v1/files/f/content', headers=TO_A)
        assert int(reply.header('content-length')) == len(block) * total
        assert reply.header('content-disposition') == 'attachment; filename="a.bin"'
        digest, n = hashlib.sha256(), 0
        time.sleep(0.2)
        grown = relais.memory_kib() - before
        for _, piece in arrivals:
            digest.update(piece)
            n += len(piece)
            reply.body = b''
    assert n == len(block) * total
    assert digest.digest() == hashlib.sha256(block * total).digest()
    assert grown < 4096 * MEMORY, 'what a slow client does not take stays at the provider'


def test_a_range(gateway, provider):
    a = provider(http_answer(b'cde', '206 Partial Content', 'application/octet-stream',
                             [('Content-Range', 'bytes 2-4/10'), ('Accept-Ranges', 'bytes')]))
    relais = gateway(config([a]))
    reply = relais.get('/v1/files/f/content', TO_A + [('Range', 'bytes=2-4'), ('Accept', 'application/octet-stream')])
    assert (reply.status, reply.body, reply.header('content-range')) == (206, b'cde', 'bytes 2-4/10')
    assert header(latest(a), 'range') == 'bytes=2-4' and header(latest(a), 'accept') == 'application/octet-stream'


def test_head(gateway, provider):
    a = provider(b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12345\r\n\r\n')
    relais = gateway(config([a]))
    with relais.client() as client:
        for _ in range(2):
            reply = client.request('HEAD', '/v1/files/f/content', headers=TO_A)
            assert (reply.status, reply.body, reply.header('content-length')) == (200, b'', '12345')
    assert [r.line for r in a.requests] == ['HEAD /v1/files/f/content HTTP/1.1'] * 2
    assert len(a.connections) == 1


@pytest.mark.parametrize('answer', [b'HTTP/1.1 204 No Content\r\n\r\n', http_answer(b'', content_type='text/plain'),
                                    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'])
def test_an_answer_without_a_body(gateway, provider, answer):
    relais = gateway(config([provider(answer)]))
    with relais.client() as client:
        for _ in range(2):
            reply = client.request('DELETE', '/v1/files/f', headers=TO_A)
            assert (reply.status, reply.body) == (int(answer[9:12]), b'')
    assert [r['outcome'] for r in relais.access_log(2)] == ['ok', 'ok']


def test_streamed_runs(gateway, provider):
    """Events of an assistant come one by one; nobody looks at them."""
    go_on = threading.Event()
    events = [b'event: thread.run.created\ndata: {}\n\n', b'event: done\ndata: [DONE]\n\n']

    def play(connection, _):
        connection.send(STREAM_HEAD + chunked(events[0]))
        assert go_on.wait(60)
        connection.send(chunked(events[1]) + chunked(b''))
    relais = gateway(config([provider(serving(play))]))
    with relais.client() as client:
        reply, arrivals = client.stream('POST', '/v1/threads/t/runs', {'assistant_id': 'a', 'stream': True}, TO_A)
        assert next(arrivals)[1] == events[0]
        assert reply.header('cache-control') == 'no-cache, no-transform'
        go_on.set()
        assert b''.join(piece for _, piece in arrivals) == events[1]


def test_a_client_that_leaves(gateway, provider):
    left = threading.Event()

    def play(connection, _):
        if connection.wait_for_peer_to_leave(30 * SLOW):
            left.set()
        return False
    relais = gateway(config([provider(serving(play))]))
    with relais.client() as client:
        client.send('GET', '/v1/files', headers=TO_A)
        eventually(lambda: relais.status()['providers'][0]['connections'] == 1)
    assert left.wait(10 * SLOW)
    assert relais.access_log(1)[0]['outcome'] == 'left'


def test_the_simulator_serves_them(gateway, sim):
    """Enough for a demonstration: relais in front of a simulated provider."""
    relais = gateway(config([sim().base_url], server={'passthrough_provider': 'a'}))
    form = (b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nassistant\r\n--B\r\nContent-Disposition: form-data; '
            b'name="file"; filename="a"\r\n\r\nx\r\n--B--\r\n')
    forms = [('Content-Type', 'multipart/form-data; boundary=B')]
    assert relais.post('/v1/moderations', {'model': 'assistant', 'input': 'x'}).json()['results'][0]['flagged'] is False
    assert relais.post('/v1/images/generations', {'model': 'assistant', 'prompt': 'x'}).json()['data'][0]['b64_json']
    assert relais.post('/v1/audio/speech', {'model': 'assistant', 'input': 'x'}).body.startswith(b'RIFF')
    for path in ('/v1/audio/transcriptions', '/v1/audio/translations'):
        assert relais.post(path, form, forms).json()['text'] == 'This is what was said.'
    for path in ('/v1/images/edits', '/v1/images/variations'):
        assert relais.post(path, form, forms).json()['data']
    assert relais.post('/v1/files', form, forms).json()['id'] == 'file-sim'
    assert relais.get('/v1/files').json()['data'][0]['id'] == 'file-sim'
    assert relais.get('/v1/files/file-sim').json()['bytes'] == len(relais.get('/v1/files/file-sim/content').body)
    assert relais.request('DELETE', '/v1/files/file-sim').json()['deleted'] is True
    reply = relais.get('/v1/batches')
    assert reply.status == 404 and reply.header('x-relais-provider') == 'a'


def test_keys_limited_to_models(gateway, provider):
    """No model is named there, so no model is checked: a limited key may not, unless its owner says so."""
    a = provider(http_answer({'results': []}))
    keys = {name: new_key() for name in ('free', 'limited', 'allowed')}
    settings = config([a], server={'passthrough_provider': 'a'})
    settings['clients'] = {'free': {'key': keys['free'][1]}, 'limited': {'key': keys['limited'][1], 'models': ['assistant']},
                           'allowed': {'key': keys['allowed'][1], 'models': ['assistant'], 'passthrough': True}}
    relais = gateway(settings)
    for name, status in (('free', 200), ('limited', 403), ('allowed', 200)):
        for reply in (relais.get('/v1/files', bearer(keys[name][0])),
                      relais.post('/v1/moderations', {'input': 'x'}, bearer(keys[name][0]) + JSON)):
            assert reply.status == status, name
            if status == 403:
                assert code(reply) == 'route_not_allowed'
    assert relais.post('/v1/moderations', {'input': 'x', 'model': 'assistant'}, bearer(keys['limited'][0])).status == 200
    assert relais.get('/v1/files').status == 401 and relais.get('/v1/files/%2e').status == 400
