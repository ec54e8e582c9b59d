# SPDX-License-Identifier: Apache-2.0
"""Every route, and what is answered to a request that misses one: status, error code, headers, connection."""
import gzip
import json
import time

import pytest

import harness
from harness import chat_answer, http_answer
from kit import config, faults, good, header, latest, serving, whole

CHAT = {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'hi'}]}
JSON = [('Content-Type', 'application/json')]


@pytest.fixture
def relais(gateway, provider):
    relais = gateway(config([provider(good())]))
    return relais


def error(reply):
    """The error object, after a look at its shape."""
    body = reply.json()
    assert list(body) == ['error'] and set(body['error']) == {'message', 'type', 'param', 'code'}, body
    assert reply.header('content-type') == 'application/json'
    return body['error']


def test_chat(relais):
    reply = relais.chat()
    assert (reply.status, reply.json()) == (200, chat_answer('hello'))
    assert reply.header('x-relais-provider') == 'a' and reply.header('x-relais-model') == 'm'
    assert reply.header('x-relais-attempts') == '1'
    assert int(reply.header('x-relais-overhead-us')) < 1_000_000
    record = relais.access_log(1)[0]
    assert (record['route'], record['operation']) == ('/v1/chat/completions', 'chat')
    assert (record['provider'], record['model'], record['model_asked']) == ('a', 'm', 'assistant')
    assert (record['alias'], record['outcome'], record['status']) == ('assistant', 'ok', 200)


def test_chat_stream(relais):
    reply = relais.chat(stream=True)
    assert (reply.status, reply.stream_text(), reply.ended) == (200, 'hello', 'chunked')
    assert reply.header('content-type').split(';')[0] == 'text/event-stream'
    assert reply.header('cache-control') == 'no-cache, no-transform'
    assert reply.header('x-accel-buffering') == 'no'


def test_completions(gateway, provider):
    answer = {'id': 'cmpl-1', 'object': 'text_completion', 'created': 1, 'model': 'm',
              'choices': [{'index': 0, 'text': 'out', 'finish_reason': 'stop', 'logprobs': None}],
              'usage': {'prompt_tokens': 1, 'completion_tokens': 2, 'total_tokens': 3}}
    a = provider(http_answer(answer))
    relais = gateway(config([a]))
    reply = relais.post('/v1/completions', {'model': 'assistant', 'prompt': 'in'})
    assert (reply.status, reply.json()) == (200, answer)
    assert a.requests[0].line == 'POST /v1/completions HTTP/1.1'
    assert relais.access_log(1)[0]['tokens']['completion'] == 2


def test_completions_stream(gateway, provider):
    def event(text, finish=None):
        return b'data: ' + json.dumps({'id': 'c', 'object': 'text_completion', 'created': 1, 'model': 'm', 'choices': [
            {'index': 0, 'text': text, 'finish_reason': finish, 'logprobs': None}]}).encode() + b'\n\n'
    body = event('one ') + event('two') + event('', 'stop') + b'data: [DONE]\n\n'
    relais = gateway(config([provider(http_answer(body, content_type='text/event-stream'))], stream_usage=False))
    reply = relais.post('/v1/completions', {'model': 'assistant', 'prompt': 'in', 'stream': True})
    assert (reply.status, reply.body) == (200, body)


def test_embeddings_as_base64_are_untouched(gateway, provider):
    body = (b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAEAAAEBA' + b'Az' * 3000 +
            b'=="}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}\n ')
    a = provider(http_answer(body))
    relais = gateway(config([a]))
    sent = b'{"model":"assistant", "input":["a","b"], "encoding_format":"base64"}'
    reply = relais.post('/v1/embeddings', sent, JSON)
    assert (reply.status, reply.body) == (200, body)
    assert a.requests[0].body == sent.replace(b'"assistant"', b'"m"')
    assert relais.access_log(1)[0]['tokens']['prompt'] == 7


def test_models(gateway, provider):
    idle = provider(good())
    settings = config([idle, idle])
    settings['providers']['a']['models'] = ['m', 'deep/er/name', 'm:free']
    relais = gateway(settings)
    reply = relais.get('/v1/models')
    body = reply.json()
    assert body['object'] == 'list'
    assert [m['id'] for m in body['data']] == ['assistant', 'a/m', 'a/deep/er/name', 'a/m:free', 'b/m']
    assert all(m['object'] == 'model' and isinstance(m['created'], int) for m in body['data'])
    assert [m['owned_by'] for m in body['data']] == ['relais', 'a', 'a', 'a', 'b']
    for path, name in (('assistant', 'assistant'), ('a/deep/er/name', 'a/deep/er/name'),
                       ('a%2Fdeep%2fer%2Fname', 'a/deep/er/name'), ('a%2Fm%3Afree', 'a/m:free')):
        one = relais.get('/v1/models/' + path)
        assert (one.status, one.json()['id'], one.json()['object']) == (200, name, 'model')
    assert not idle.requests, 'listing models asks no provider'


@pytest.mark.parametrize('path', ['nothing', 'c/m', 'a%2', 'a%zz', '%00', 'a%0a/m'])
def test_an_unknown_model(relais, path):
    reply = relais.get('/v1/models/' + path)
    assert reply.status == 404
    assert error(reply)['code'] == 'model_not_found'


def test_health_and_ready(relais):
    health = relais.get('/health')
    assert (health.status, health.body) == (200, b'OK\n')
    assert health.header('content-type').startswith('text/plain')
    for reply in (relais.get('/ready'), relais.admin_request('GET', '/ready')):
        assert reply.status == 200
    assert relais.chat().status == 200
    assert [r['path'] for r in relais.access_log(1)] == ['/v1/chat/completions']


@pytest.mark.parametrize('method, path, allow', [
    ('GET', '/v1/chat/completions', 'POST'), ('PUT', '/v1/completions', 'POST'), ('DELETE', '/v1/embeddings', 'POST'),
    ('POST', '/v1/models', 'GET'), ('DELETE', '/v1/models/a/m', 'GET'), ('POST', '/health', 'GET'),
    ('PATCH', '/ready', 'GET'), ('OPTIONS', '/v1/chat/completions', 'POST')])
def test_a_wrong_method(relais, method, path, allow):
    reply = relais.request(method, path)
    assert reply.status == 405
    assert allow in reply.header('allow')
    assert error(reply)['code'] == 'method_not_allowed'


@pytest.mark.parametrize('path', ['/v1//chat/completions', '/v1/chat/../chat/completions', '/v1/chat%2fcompletions',
                                  '/v1/%63hat/completions', '/v1/./models', '/v1/files/%2e%2e/models', '/v1/files/a%00',
                                  '/v1/files/a%5cb', '/v1/files/a;b', '/v1/files/a%252fb', '/v1/files/%ff'])
def test_an_ambiguous_path(relais, path):
    """FAULTS 75: what two parties could read differently is refused, before the caller is looked at."""
    for reply in (relais.get(path), relais.post(path, CHAT)):
        assert reply.status == 400
        assert error(reply)['code'] == 'invalid_path'


@pytest.mark.parametrize('path', ['/', '/v1', '/v1/', '/v1/chat/completions/', '/V1/chat/completions', '/v1/models/',
                                  '/v1/files/', '/v1/organization/users', '/metrics', '/status', '/reload'])
def test_an_unknown_route(relais, path):
    """FAULTS 75: one spelling of each route, and the admin plane is not on the data plane."""
    for reply in (relais.get(path), relais.post(path, CHAT)):
        assert reply.status == 404
        assert error(reply)['code'] == 'unknown_url'


def test_a_query_is_no_part_of_the_route(relais):
    assert relais.post('/v1/chat/completions?api-version=1', CHAT).status == 200
    assert relais.access_log(1)[0]['path'] == '/v1/chat/completions'


@pytest.mark.parametrize('media', ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x',
                                   'application/jsonp', '', None])
def test_a_wrong_media_type(relais, media):
    reply = relais.post('/v1/chat/completions', json.dumps(CHAT), [('Content-Type', media)] if media is not None else [])
    assert reply.status == 415
    assert error(reply)['code'] == 'unsupported_media_type'


@pytest.mark.parametrize('media', ['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/json ;charset=x'])
def test_spellings_of_the_right_media_type(relais, media):
    assert relais.post('/v1/chat/completions', json.dumps(CHAT), [('Content-Type', media)]).status == 200


def test_a_compressed_request(relais):
    coded = JSON + [('Content-Encoding', 'gzip')]
    assert relais.post('/v1/chat/completions', gzip.compress(json.dumps(CHAT).encode()), coded).status == 200
    reply = relais.post('/v1/chat/completions', b'\x1f\x8b', coded)
    assert (reply.status, error(reply)['code']) == (400, 'bad_content_encoding')
    reply = relais.post('/v1/chat/completions', b'', JSON + [('Content-Encoding', 'br'), ('Content-Length', '0')])
    assert (reply.status, error(reply)['code']) == (415, 'unsupported_content_encoding')
    assert reply.header('accept-encoding') == 'gzip, deflate'


def body_of(size):
    head, tail = b'{"model":"assistant","messages":[{"role":"user","content":"', b'"}]}'
    return head + b'x' * (size - len(head) - len(tail)) + tail


@pytest.mark.parametrize('chunked', [False, True])
def test_the_limit_of_a_body(gateway, provider, chunked):
    """FAULTS 42: at the limit it passes, one byte over it is 413, and the connection is not left in doubt."""
    a = provider(good())
    relais = gateway(config([a], server={'max_body': '100KiB'}))
    for size, status in ((102400, 200), (102401, 413)):
        body, headers = body_of(size), list(JSON)
        if chunked:
            body = b''.join(harness.chunked(body[i:i + 30000]) for i in range(0, size, 30000)) + harness.chunked(b'')
            headers.append(('Transfer-Encoding', 'chunked'))
        with relais.client() as client:
            reply = client.post('/v1/chat/completions', body, headers)
            assert reply.status == status, reply
            if status == 413:
                assert error(reply)['code'] == 'request_too_large'
    assert [len(r.body) for r in a.requests] == [102400 - len('assistant') + len('m')]


def test_a_declared_size_is_refused_before_the_body(gateway, provider):
    relais = gateway(config([provider(good())], server={'max_body': '1KiB'}))
    head = (b'POST /v1/chat/completions HTTP/1.1\r\nHost: x.localhost\r\nContent-Type: application/json\r\n'
            b'Content-Length: 1099511627776\r\n\r\n')
    received = harness.raw(*relais.data, head)
    assert received.data.startswith(b'HTTP/1.1 413 ') and received.closed


def test_a_missing_body(relais):
    for body in (None, b''):
        reply = relais.post('/v1/chat/completions', body, JSON)
        assert (reply.status, error(reply)['code']) == (400, 'missing_body')


@pytest.mark.parametrize('body, where', [
    (b'{"model": "assistant",\n "messages": [}', '2:15'), (b'[]', ''), (b'"text"', ''), (b'{"model": 1}', ''),
    (b'{"messages": []}', ''), (b'{"model": "assistant"} x', '1:24'), (b'{"model": "assistant", "stream": "yes"}', ''),
    (b'\xef\xbb\xbf{"model": "assistant"}', '1:1'), (b'{"model": "ass\xffistant"}', '1:15'),
    (b'{"model": "assistant", "model": "m"}', ''), (b'{"model": "assistant", "Model": "m"}', ''),
    (b'{"model": "assistant", "\\u006dodel": "m"}', '')])
def test_a_bad_body(relais, body, where):
    """FAULTS 38, 39, 41: refused with the place where it goes wrong, and nothing is forwarded."""
    reply = relais.post('/v1/chat/completions', body, JSON)
    assert reply.status == 400, reply
    message = error(reply)['message']
    if where:
        line, column = where.split(':')
        assert f'line {line}' in message and f'column {column}' in message or where in message, message
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['n_attempts'], record['status']) == ('refused', 0, 400)


def test_head_requests(relais):
    with relais.client() as client:
        for path in ('/health', '/ready', '/v1/models', '/v1/models/assistant'):
            reply = client.request('HEAD', path)
            assert (reply.status, reply.body) == (200, b'')
            assert int(reply.header('content-length')) == len(relais.get(path).body)
        assert client.request('HEAD', '/v1/chat/completions').status == 405
        assert client.get('/health').body == b'OK\n', 'no byte of a body was left on the connection'


def test_http_1_0(relais):
    """A client of HTTP/1.0 knows no chunks: its stream ends with the connection."""
    body = json.dumps({**CHAT, 'stream': True}).encode()
    head = b'POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n' % len(body)
    received = harness.raw(*relais.data, head + body)
    head, _, rest = received.data.partition(b'\r\n\r\n')
    assert received.closed and not received.reset
    assert b'transfer-encoding' not in head.lower()
    assert rest.startswith(b'data: {') and rest.endswith(b'data: [DONE]\n\n')
    received = harness.raw(*relais.data, b'GET /health HTTP/1.0\r\n\r\n')
    assert received.closed and received.data.endswith(b'OK\n')


def test_one_connection_for_many_requests(relais):
    with relais.client() as client:
        for number in range(20):
            reply = client.post('/v1/chat/completions', {**CHAT, 'stream': number % 2 == 0})
            assert reply.status == 200
    assert relais.status()['providers'][0]['connections'] == 1, 'upstream it is one connection, too'


def test_pipelined_requests_are_answered_in_order(relais):
    """FAULTS 15: good ones, bad ones, streams and health checks, all in one write."""
    kinds = [('POST', '/v1/chat/completions', {**CHAT, 'stream': True}, 200), ('GET', '/health', None, 200),
             ('GET', '/v1/models/none', None, 404), ('POST', '/v1/chat/completions', CHAT, 200),
             ('POST', '/v1/embeddings', {'input': 'x'}, 400), ('DELETE', '/v1/models', None, 405),
             ('HEAD', '/v1/models', None, 200)] * 30
    with relais.client() as client:
        data = b''
        for number, (method, path, body, _) in enumerate(kinds):
            text = json.dumps(body).encode() if body is not None else None
            headers = (JSON if body is not None else []) + [('X-Request-Id', f'number-{number}')]
            data += client.head(method, path, headers, text) + (text or b'')
        client.sent_at = time.monotonic()
        client.sock.sendall(data)
        for number, (method, path, _, status) in enumerate(kinds):
            reply = client.read_reply(method)
            assert (reply.status, reply.header('x-request-id')) == (status, f'number-{number}'), path
    assert len(relais.access_log(180)) == 180


def test_expect_100_continue(relais):
    body = json.dumps(CHAT).encode()
    with relais.client() as client:
        client.sock.sendall(client.head('POST', '/v1/chat/completions', JSON + [('Expect', '100-continue')], body))
        reply = harness.Reply()
        client.read_head(time.monotonic() + harness.WAIT_S, reply)
        assert reply.status == 100
        client.sock.sendall(body)
        assert client.read_reply('POST').status == 200
        assert client.get('/health').status == 200


@pytest.mark.parametrize('headers, status', [
    ([('Content-Type', 'text/plain')], 415), (JSON + [('Content-Length', '99999999999')], 413)])
def test_expect_gets_the_refusal_first(relais, headers, status):
    """FAULTS 12: no 100 for a body that nobody will read."""
    with relais.client() as client:
        client.sock.sendall(client.head('POST', '/v1/chat/completions', headers + [('Expect', '100-continue')], b'x' * 9))
        reply = client.read_reply('POST')
        assert (reply.status, reply.interim) == (status, [])


def test_a_refused_request_with_its_body_leaves_the_connection_usable(relais):
    """FAULTS 13: the rest of a small body is drained."""
    with relais.client() as client:
        for _ in range(5):
            assert client.post('/nowhere', b'x' * 30000, JSON).status == 404
        assert client.get('/health').body == b'OK\n'


def test_the_request_id_is_kept_or_made(relais, gateway, provider):
    seen = provider(whole())
    relais = gateway(config([seen]))
    for given, kept in (('abc-1_2.3:4', True), ('x' * 128, True), ('x' * 129, False), ('a b', False), ('ä', False), ('', False)):
        reply = relais.chat(headers=[('X-Request-Id', given), ('Content-Type', 'application/json')])
        made = reply.header('x-request-id')
        assert (made == given) == kept and len(made) > 8, (given, made)
        assert header(latest(seen), 'x-request-id') == made
    assert len({r['request_id'] for r in relais.access_log(6)}) == 6


def test_the_whole_answer_of_an_unsure_length(gateway, provider):
    """An upstream answer that ends with its connection, and one in chunks, become whole answers with a length."""
    body = json.dumps(chat_answer()).encode()

    def play(connection, request):
        if b'close' in request.body:
            connection.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n' + body)
            return False
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n' +
                        b''.join(harness.chunked(body[i:i + 7]) for i in range(0, len(body), 7)) + harness.chunked(b''))
        return True
    relais = gateway(config([provider(serving(play))]))
    for text in ('close', 'chunks'):
        reply = relais.chat(text)
        assert (reply.status, reply.body, reply.ended) == (200, body, 'length')


def test_a_long_answer_passes_whole(gateway, provider):
    """Over 256 KiB an answer is committed before it is whole; its usage is found all the same."""
    answer = chat_answer('x' * 3_000_000)
    relais = gateway(config([provider(http_answer(answer))]))
    reply = relais.chat()
    assert reply.status == 200 and reply.json() == answer and reply.ended == 'length'
    record = relais.access_log(1)[0]
    assert record['tokens']['completion'] == 5 and record['outcome'] == 'ok' and not faults(record)
    assert record['bytes_out'] == len(reply.body)
