# SPDX-License-Identifier: Apache-2.0
"""Before the commit point a target's trouble is nobody's but the target's: the next one is asked at once (FAULTS 51, 55-58)."""
import email.utils
import json
import socket
import time

import pytest

import harness
from harness import chat_answer, chunked, free_port, http_answer, sse_events, STREAM_HEAD
from kit import by_stream, config, good, serving, streamed, whole

JSON_HEAD = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
BODY = json.dumps(chat_answer()).encode()
ERROR = {'error': {'message': 'told to fail', 'type': 'server_error', 'param': None, 'code': None}}
RATE = {'error': {'message': 'slow down', 'type': 'requests', 'param': None, 'code': 'rate_limit_exceeded'}}
FIRST = sse_events(['x'], usage=False)[0]  # the role alone: no content yet


def ending(data, how='fin'):
    """Sends bytes in answer to a request, then breaks: fin, reset, or hang."""
    def play(connection, _):
        connection.send(data)
        if how == 'reset':
            time.sleep(0.02)  # what was sent must not be overtaken
            connection.reset()
        elif how == 'hang':
            connection.wait_for_peer_to_leave()
        return False
    return serving(play)


def reset_at_accept(connection):
    connection.reset()


def status(number, body=b'', kind='text/html', **more):
    return http_answer(body, status=f'{number} X', content_type=kind, **more)


# What the first target does, and how its attempt must be classed. 'stream': only for requests that want one.
BOTH = {
    'reset at accept': (reset_at_accept, 'connect'),
    'closed without a word': (ending(b''), 'connect'),
    'reset before the head': (ending(b'', 'reset'), 'connect'),
    'reset inside the head': (ending(b'HTTP/1.1 200 OK\r\nContent-', 'reset'), 'connect'),
    'silence': (ending(b'', 'hang'), 'timeout'),
    'half a head and silence': (ending(b'HTTP/1.1 200 OK\r\n', 'hang'), 'timeout'),
    'no HTTP': (ending(b'SSH-2.0-OpenSSH_9.2\r\n'), 'invalid_response'),
    'both lengths': (ending(JSON_HEAD + b'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}'), 'invalid_response'),
    'two lengths': (ending(JSON_HEAD + b'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}'), 'invalid_response'),
    'NUL in a header': (ending(JSON_HEAD + b'X: a\0b\r\nContent-Length: 2\r\n\r\n{}'), 'invalid_response'),
    'a head without end': (ending(JSON_HEAD + b'X: ' + b'x' * 200000), 'invalid_response'),
    '204': (ending(b'HTTP/1.1 204 No Content\r\n\r\n'), 'invalid_response'),
    '101': (ending(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'), 'invalid_response'),
    'redirect': (status(307, headers=[('Location', '@OTHER@')]), None),
    '429': (status(429, RATE, 'application/json'), 'rate_limit'),
    '429 html': (status(429, '<html>no</html>'), 'rate_limit'),
    'quota': (status(429, {'error': {'message': 'x', 'type': 'insufficient_quota', 'code': 'insufficient_quota',
                                     'param': None}}, 'application/json'), 'quota_exhausted'),
    '401': (status(401, {'error': {'message': 'bad key', 'type': 'invalid_request_error', 'code': 'invalid_api_key',
                                   'param': None}}, 'application/json'), 'provider_auth'),
    '403': (status(403, '<h1>Forbidden</h1>'), 'provider_auth'),
    '500': (status(500, ERROR, 'application/json'), 'server_error'),
    '500 empty': (status(500), 'server_error'),
    '502 html': (status(502, '<html><h1>502 Bad Gateway</h1></html>'), 'server_error'),
    '503 html': (status(503, '<html>busy</html>'), None),
    '529': (status(529, ERROR, 'application/json'), 'overloaded'),
    '500 huge': (status(500, b'x' * 3_000_000), 'server_error'),
    '500 without end': (ending(b'HTTP/1.1 500 X\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\nxx', 'hang'), 'server_error'),
    '200 html': (status(200, '<html>captive portal</html>'), 'invalid_response'),
    '200 no type': (ending(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'), 'invalid_response'),
    '200 empty': (http_answer(b''), 'invalid_response'),
    '200 garbage': (http_answer(b'\x00\xff{{{'), 'invalid_response'),
    '200 half JSON': (http_answer(BODY[:-9]), 'invalid_response'),
    '200 error': (http_answer(ERROR), 'server_error'),
    '200 rate limit': (http_answer(RATE), 'rate_limit'),
    '200 other JSON': (http_answer({'hello': 'world'}), 'invalid_response'),
    '200 list': (http_answer([]), 'invalid_response'),
    'body longer than said': (ending(JSON_HEAD + b'Content-Length: %d\r\n\r\n' % (len(BODY) + 5) + BODY), None),
    'body cut by a reset': (ending(JSON_HEAD + b'Content-Length: %d\r\n\r\n' % len(BODY) + BODY[:50], 'reset'), 'connect'),
    'body that stalls': (ending(JSON_HEAD + b'Content-Length: %d\r\n\r\n' % len(BODY) + BODY[:50], 'hang'), 'timeout'),
    'chunks cut off': (ending(JSON_HEAD + b'Transfer-Encoding: chunked\r\n\r\n' + chunked(BODY)), None),
    'bad chunk size': (ending(JSON_HEAD + b'Transfer-Encoding: chunked\r\n\r\n' + chunked(BODY) + b'xyz\r\n'), 'invalid_response'),
    'a storm of 100s': (ending(b'HTTP/1.1 100 Continue\r\n\r\n' * 5000 + JSON_HEAD), 'invalid_response'),
}
STREAMS = {
    'an error as first event': (streamed([b'data: ' + json.dumps(ERROR).encode() + b'\n\n']), 'server_error'),
    'an error after the role': (streamed([FIRST, b'data: ' + json.dumps(RATE).encode() + b'\n\n']), 'rate_limit'),
    'an error event by name': (streamed([b'event: error\ndata: ' + json.dumps(ERROR).encode() + b'\n\n']), 'server_error'),
    'an empty stream': (streamed([]), 'invalid_response'),
    'only DONE': (streamed([b'data: [DONE]\n\n']), 'invalid_response'),
    'only comments': (streamed([b': hello\n\n'] * 3), 'invalid_response'),
    'only the role': (streamed([FIRST]), 'invalid_response'),
    'broken JSON': (streamed([b'data: {"choices": [\n\n']), 'invalid_response'),
    'cut before content': (ending(streamed([FIRST], end=False)), None),
    'reset before content': (ending(streamed([FIRST], end=False), 'reset'), 'connect'),
    'stall before content': (ending(streamed([FIRST], end=False), 'hang'), 'timeout'),
    'stall inside the first event': (ending(streamed([FIRST, b'data: {"cho'], end=False), 'hang'), 'timeout'),
    'an event without end': (ending(STREAM_HEAD + chunked(b'data: ' + b'x' * 1_500_000), 'hang'), 'invalid_response'),
    'html as a stream': (status(200, '<html/>', 'text/event-stream'), 'invalid_response'),
}
CASES = [(name, False, *BOTH[name]) for name in BOTH] + [(name, True, *BOTH[name]) for name in BOTH] + \
        [(name, True, *STREAMS[name]) for name in STREAMS]
TIMES = {'timeouts': {'connect': '2s', 'first_byte': '300ms', 'first_byte_stream': '300ms', 'idle': '300ms'}}


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    """One gateway for all cases: what a bad answer leaves behind would show in the next."""
    servers, providers, models = [], {}, {}
    right = harness.RawServer(good('from b'))
    providers['b'] = {'base_url': right.base_url, 'models': ['m']}
    for number, (_, _, script, _) in enumerate(CASES):
        if isinstance(script, bytes):
            script = script.replace(b'@OTHER@', b'http://127.0.0.1:%d/v1/chat/completions' % right.port)
        server = harness.RawServer(script)
        servers.append(server)
        providers[f'p{number}'] = {'base_url': server.base_url, 'models': ['m'], 'max_fails': 0, **TIMES}
        models[f'case-{number}'] = {'targets': [{'provider': f'p{number}', 'model': 'm'}, {'provider': 'b', 'model': 'm'}]}
    with harness.Gateway({'providers': providers, 'models': models}) as relais:
        yield relais
        for server in servers:
            server.close()
        right.close()


@pytest.mark.parametrize('number', range(len(CASES)), ids=[f'{n}, {"streamed" if s else "whole"}' for n, s, _, _ in CASES])
def test_the_next_target_answers(shared, number):
    name, stream, _, fault = CASES[number]
    before = len(shared.access_log())
    reply = shared.chat(model=f'case-{number}', stream=stream)
    assert reply.status == 200, reply
    text = reply.stream_text() if stream else reply.json()['choices'][0]['message']['content']
    assert (text, reply.header('x-relais-provider'), reply.header('x-relais-attempts')) == ('from b', 'b', '2')
    assert reply.seconds < (0.3 + 0.6 * harness.SLOW if fault == 'timeout' or 'without end' in name else 0.5 * harness.SLOW)
    record = shared.access_log(before + 1)[before]
    assert record['outcome'] == 'ok' and record['n_attempts'] == 2
    bad, right = record['attempts']
    assert right['fault'] is None and right['status'] == 200
    assert bad['provider'] == f'p{number}' and bad['fault'] and bad['reason'], bad
    if fault:
        assert bad['fault'] == fault, bad
    else:
        assert bad['fault'] in ('server_error', 'connect', 'invalid_response', 'overloaded'), bad


def test_refused(gateway, provider):
    other = f'[::1]:{free_port("::1")}' if harness.has_ipv6() else f'127.0.0.2:{free_port("127.0.0.2")}'
    relais = gateway(config([f'http://127.0.0.1:{free_port()}/v1', f'http://{other}/v1', provider(good())]))
    for stream in (False, True):
        reply = relais.chat(stream=stream)
        assert (reply.status, reply.header('x-relais-attempts')) == (200, '3')
        assert reply.seconds < 0.5 * harness.SLOW
    for record in relais.access_log(2):
        assert [a['fault'] for a in record['attempts']] == ['connect', 'connect', None]
        assert all('refused' in a['reason'] for a in record['attempts'][:2]), record


def test_a_name_that_does_not_exist(gateway, provider):
    """FAULTS 55: .invalid never resolves (RFC 6761)."""
    relais = gateway(config(['http://nobody.invalid/v1', provider(good())], timeouts={'connect': '2s'}))
    reply = relais.chat()
    assert (reply.status, reply.header('x-relais-provider')) == (200, 'b')
    assert relais.access_log(1)[0]['attempts'][0]['fault'] in ('connect', 'timeout')


def test_a_host_that_does_not_take_the_connection(gateway, provider):
    """FAULTS 55: SYN and no answer: a listener whose backlog is full."""
    full = provider(b'', accept=False, backlog=0)
    held = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((full.host, full.port))
        held.append(sock)
    relais = gateway(config([full, provider(good())], timeouts={'connect': '300ms'}))
    reply = relais.chat()
    for sock in held:
        sock.close()
    assert (reply.status, reply.header('x-relais-provider')) == (200, 'b')
    assert 0.25 < reply.seconds < 0.3 + 0.6 * harness.SLOW
    bad = relais.access_log(1)[0]['attempts'][0]
    assert bad['fault'] == 'timeout' and 'connect' in bad['reason'] and not bad['maybe_billed'], bad


TLS = {'expired': dict(expired=True), 'wrong name': dict(name='other', names=('other.example',)),
       'self-signed': dict(name='own', self_signed=True)}


@pytest.mark.parametrize('kind', TLS)
def test_a_certificate_that_is_no_good(gateway, provider, certificates, kind):
    """FAULTS 31: there is no switch that makes these acceptable."""
    bad = provider(good('never'), tls=certificates.server_context(**TLS[kind]))
    right = provider(good('verified'), tls=certificates.server_context())
    relais = gateway(config([bad, right], ca_file=certificates.ca))
    reply = relais.chat()
    assert (reply.status, reply.header('x-relais-provider')) == (200, 'b')
    assert not bad.requests, 'nothing was sent to a server that did not prove its name'
    attempt = relais.access_log(1)[0]['attempts'][0]
    assert attempt['fault'] == 'connect'
    assert any(word in attempt['reason'] for word in ('expired', 'mismatch', 'self-signed')), attempt
    assert not attempt['maybe_billed']


def test_an_authority_that_is_not_trusted(gateway, provider, certificates):
    relais = gateway(config([provider(good('never'), tls=certificates.server_context()), provider(good('b'))]))
    assert relais.chat().header('x-relais-provider') == 'b'


def test_no_tls_where_tls_is_expected_and_the_reverse(gateway, provider, certificates):
    plain = provider(good())
    secret = provider(good(), tls=certificates.server_context())
    relais = gateway(config([plain.base_url.replace('http', 'https'), secret.base_url.replace('https', 'http'), provider(good('c'))],
                            timeouts={'connect': '1s', 'first_byte': '1s'}))
    reply = relais.chat()
    assert (reply.status, reply.header('x-relais-provider')) == (200, 'c')


def test_a_tls_provider_that_cuts_without_close_notify(gateway, provider, certificates):
    """FAULTS 31: a body that only the end of the connection ends must end with close_notify."""
    def cut(connection, _):
        connection.send(JSON_HEAD + b'\r\n' + BODY)
        connection.close()  # shutdown of the socket below TLS
        return False
    bad = provider(serving(cut), tls=certificates.server_context())
    relais = gateway(config([bad, provider(good('from b'))], ca_file=certificates.ca))
    reply = relais.chat()
    assert (reply.status, reply.header('x-relais-provider')) == (200, 'b')


# --- all fail ---------------------------------------------------------------------------------------------------------

def error(reply):
    return reply.json()['error']


def test_all_keys_refused(gateway, provider):
    refusal = status(401, {'error': {'message': 'Incorrect API key provided: sk-secret-canary', 'code': 'invalid_api_key'}},
                     'application/json')
    relais = gateway(config([provider(refusal), provider(status(403))], api_key='sk-secret-canary'))
    reply = relais.chat()
    assert (reply.status, error(reply)['code']) == (502, 'provider_auth')
    assert reply.header('x-should-retry') == 'false'
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['error'], record['n_attempts']) == ('failed', 'provider_auth', 2)


RETRY_AFTER = [
    # the headers of the two targets, and the answer's
    (['30', '7'], '7'), (['0', '7'], '0'), ([None, '9'], '9'), ([None, None], None), (['-5', 'soon'], None),
    (['1000000000000', None], '86400'), (['9' * 50, None], '86400'), (['2.5', '99'], '99'), (['@date', None], '@date'), (['Sun, 06 Nov 1994 08:49:37 GMT', None], '0'),
    (['', '12'], '12')]


@pytest.mark.parametrize('given, told', RETRY_AFTER)
def test_all_rate_limited(gateway, provider, given, told):
    """FAULTS 56: the smallest Retry-After of all; what is not understood counts as none."""
    def value(text):
        return email.utils.formatdate(time.time() + 20, usegmt=True) if text == '@date' else text
    answers = [status(429, RATE, 'application/json', headers=[('Retry-After', value(g))] if g is not None else []) for g in given]
    relais = gateway(config([provider(a) for a in answers]))
    reply = relais.chat()
    assert (reply.status, error(reply)['code']) == (429, 'rate_limit_exceeded')
    assert reply.header('x-should-retry') == 'false'
    if told == '@date':
        assert 18 <= int(reply.header('retry-after')) <= 20
    else:
        assert reply.header('retry-after') == told


@pytest.mark.parametrize('ms, seconds', [('1500', '2'), ('1', '1'), ('0', '0'), ('soon', None)])
def test_retry_after_ms(gateway, provider, ms, seconds):
    relais = gateway(config([provider(status(429, RATE, 'application/json', headers=[('retry-after-ms', ms)]))] * 2))
    assert relais.chat().header('retry-after') == seconds


def test_an_error_whose_body_does_not_come(gateway, provider):
    """A status says enough: nobody waits for the idle time-out, nor for the end of a body that trickles."""
    def trickle(connection, _):
        connection.send(b'HTTP/1.1 503 X\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n')
        while not connection.wait_for_peer_to_leave(0.1):
            connection.send(chunked(b'x'))
        return False
    cut = ending(b'HTTP/1.1 429 X\r\nRetry-After: 9\r\nContent-Length: 99\r\n\r\n{"error', 'reset')
    relais = gateway(config([provider(serving(trickle)), provider(cut), provider(good())]))
    reply = relais.chat()
    assert reply.header('x-relais-provider') == 'c' and reply.seconds < 1.2 + 0.6 * harness.SLOW
    attempts = relais.access_log(1)[0]['attempts']
    assert [(a['status'], a['fault']) for a in attempts] == [(503, 'overloaded'), (429, 'rate_limit'), (200, None)]
    assert not any(a['maybe_billed'] for a in attempts)
    relais = gateway(config([provider(cut), provider(cut)]))
    reply = relais.chat()
    assert (reply.status, reply.header('retry-after')) == (429, '9')


def test_one_target_alone_rate_limited(gateway, provider):
    relais = gateway(config([provider(status(429, RATE, 'application/json', headers=[('Retry-After', '3')]))]))
    reply = relais.chat()
    assert (reply.status, reply.header('retry-after')) == (429, '3')
    assert reply.header('x-should-retry') is None, 'nothing was retried here: the client may'


@pytest.mark.parametrize('stream', [False, True])
def test_all_time_out(gateway, provider, stream):
    relais = gateway(config([provider(ending(b'', 'hang')), provider(ending(b'', 'hang'))],
                            timeouts={'first_byte': '200ms', 'first_byte_stream': '200ms'}))
    reply = relais.chat(stream=stream)
    assert (reply.status, error(reply)['code']) == (504, 'provider_timeout')
    assert reply.seconds < 0.4 + 0.6 * harness.SLOW
    assert all(a['fault'] == 'timeout' and 'first_byte' in a['reason'] and a['maybe_billed']
               for a in relais.access_log(1)[0]['attempts'])


def test_all_fail_differently(gateway, provider):
    relais = gateway(config([provider(status(500, ERROR, 'application/json')), provider(status(429, RATE, 'application/json')),
                             f'http://127.0.0.1:{free_port()}/v1']))
    reply = relais.chat()
    assert (reply.status, error(reply)['code'], reply.header('x-relais-attempts')) == (502, 'provider_error', '3')
    message = error(reply)['message']
    for words in ('a/m', 'b/m', 'c/m', 'told to fail', 'slow down', 'refused', '429', '500'):
        assert words in message, message


def test_nothing_is_eligible(gateway, provider):
    settings = config([provider(good())])
    settings['providers']['a']['api_key'] = '${RELAIS_TEST_UNSET}'
    relais = gateway(settings)
    reply = relais.chat()
    assert (reply.status, error(reply)['code']) == (503, 'no_target_available')
    assert 'RELAIS_TEST_UNSET' in error(reply)['message']
    assert 'RELAIS_TEST_UNSET' in relais.output()
    listed = relais.status()['providers'][0]
    assert not listed['on'] and 'RELAIS_TEST_UNSET' in listed['off_because']


@pytest.mark.parametrize('code', [400, 404, 409, 413, 422])
@pytest.mark.parametrize('stream', [False, True])
def test_errors_about_the_request_pass_as_they_came(gateway, provider, code, stream):
    body = (b'{ "error": {"message": "This is \\u00e9 your fault", "type":"invalid_request_error",\n "param":"messages", '
            b'"code":"the_code" }, "extra":1 }\n')
    a, b = provider(status(code, body, 'application/json', headers=[('x-request-id', 'theirs')])), provider(good())
    relais = gateway(config([a] if code == 404 else [a, b]))
    reply = relais.chat(stream=stream)
    assert (reply.status, reply.body) == (code, body)
    assert reply.header('x-relais-provider') == 'a' and reply.header('x-relais-attempts') == '1'
    assert reply.header('x-relais-upstream-request-id') == 'theirs'
    assert not b.requests
    assert relais.access_log(1)[0]['outcome'] == 'passed_error'


def test_an_error_about_the_request_that_is_no_json(gateway, provider):
    relais = gateway(config([provider(status(400, '<html>bad</html>'))]))
    reply = relais.chat()
    assert reply.status == 400 and reply.header('content-type') == 'application/json'
    assert error(reply)['message']


def test_a_model_that_one_target_lacks(gateway, provider):
    """404 of one target leads to the next; of all, it is passed on."""
    gone = status(404, {'error': {'message': 'no such model', 'type': 'invalid_request_error', 'code': 'model_not_found',
                                  'param': None}}, 'application/json')
    relais = gateway(config([provider(gone), provider(good('from b'))]))
    assert relais.chat().header('x-relais-provider') == 'b'
    relais = gateway(config([provider(gone), provider(gone)]))
    reply = relais.chat()
    assert (reply.status, error(reply)['code'], reply.header('x-relais-attempts')) == (404, 'model_not_found', '2')


def test_a_deadline_over_all_attempts(gateway, provider):
    relais = gateway(config([provider(ending(b'', 'hang'))] * 5, model={'timeouts': {'deadline': '500ms'}},
                            timeouts={'first_byte': '200ms'}))
    reply = relais.chat()
    assert reply.status == 504 and 0.45 < reply.seconds < 0.5 + 0.6 * harness.SLOW
    assert relais.access_log(1)[0]['n_attempts'] == 3


def test_a_kept_connection_that_the_provider_closed(gateway, provider):
    """FAULTS 66: a pooled connection that died while idle costs nobody a request, also with one target alone."""
    def script(connection):
        connection.read_request(60)
        connection.send(whole())
    a = provider(script)  # one answer a connection, without saying so
    relais = gateway(config([a]))
    for _ in range(10):
        assert relais.chat().header('x-relais-attempts') == '1'
    assert len(a.connections) == 10


def test_a_kept_connection_that_is_reset_under_the_next_request(gateway, provider):
    def script(connection):
        connection.read_request(60)
        connection.send(whole())
        if connection.read_request(60):
            connection.requests.pop()
            connection.reset()
    a = provider(script)
    relais = gateway(config([a]))
    for _ in range(10):
        assert relais.chat().status == 200


def test_answers_that_overrun_their_length_reach_nobody_else(gateway, provider):
    """FAULTS 16: bytes behind an answer are not the next one's."""
    def play(connection, _):
        connection.send(whole('right') + http_answer(chat_answer('smuggled')))
        return True
    relais = gateway(config([provider(serving(play))]))
    with relais.client() as client:
        for _ in range(20):
            reply = client.post('/v1/chat/completions', {'model': 'assistant', 'messages': []})
            assert reply.json()['choices'][0]['message']['content'] == 'right'


def test_a_provider_is_told_once_what_it_need_not_do(gateway, provider):
    """The one that answers too late is given up: its connection closes."""
    slow = provider(ending(b'', 'hang'))
    relais = gateway(config([slow, provider(good())], timeouts={'first_byte': '100ms'}))
    assert relais.chat().header('x-relais-provider') == 'b'
    harness.eventually(lambda: slow.connections[0].peer_left_at, what='the close of the abandoned connection')


def test_targets_by_the_kind_of_request(gateway, provider):
    """A stream asked of a provider that answers whole is invalid; the same provider serves whole answers."""
    a = provider(by_stream(whole('no stream'), whole('fine')))
    relais = gateway(config([a, provider(good('from b'))]))
    assert relais.chat().header('x-relais-provider') == 'a'
    assert relais.chat(stream=True).header('x-relais-provider') == 'b'


def test_an_answer_that_trickles(gateway, provider):
    """FAULTS 58: each byte comes in time, the whole does not: the deadline to the commit point ends it."""
    def trickle(connection, _):
        connection.send(JSON_HEAD + b'Content-Length: %d\r\n\r\n' % len(BODY))
        for byte in BODY:
            connection.send(bytes([byte]))
            if connection.wait_for_peer_to_leave(0.05):
                return False
        return False
    relais = gateway(config([provider(serving(trickle))], model={'timeouts': {'deadline': '400ms'}}, timeouts={'idle': '300ms'}))
    reply = relais.chat()
    assert (reply.status, error(reply)['code']) == (504, 'provider_timeout')
    assert 0.35 < reply.seconds < 0.4 + 0.6 * harness.SLOW


def test_a_provider_that_does_not_take_the_request(gateway, provider):
    """The time to send; the body is far larger than what the kernels hold."""
    deaf = provider(lambda connection: time.sleep(1))
    deaf.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    relais = gateway(config([deaf, provider(good())], server={'max_body': '64MiB'}, timeouts={'send': '300ms'}))
    reply = relais.chat('x' * 8_000_000)
    assert (reply.status, reply.header('x-relais-provider')) == (200, 'b')
    assert reply.seconds < 0.9 * harness.SLOW
    bad = relais.access_log(1)[0]['attempts'][0]
    assert bad['fault'] == 'timeout' and 'send' in bad['reason'] and not bad['maybe_billed'], bad


def test_an_answer_before_the_request_is_sent(gateway, provider):
    """A provider that refuses a large body early: its answer counts, not the broken pipe."""
    def early(connection):
        connection.sock.recv(1000)
        connection.send(status(413, {'error': {'message': 'too large for me', 'type': 'invalid_request_error', 'code': None,
                                               'param': None}}, 'application/json'))
        time.sleep(0.2)
    relais = gateway(config([provider(early), provider(good())], server={'max_body': '64MiB'}))
    reply = relais.chat('x' * 8_000_000)
    assert (reply.status, error(reply)['message']) == (413, 'too large for me')


def test_interim_answers_are_skipped(gateway, provider):
    interim = b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'
    relais = gateway(config([provider(interim + whole('after'))]))
    with relais.client() as client:
        for _ in range(3):
            reply = client.post('/v1/chat/completions', {'model': 'assistant', 'messages': []})
            assert reply.json()['choices'][0]['message']['content'] == 'after' and not reply.interim


def test_a_provider_of_http_1_0(gateway, provider):
    old = provider(ending(b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n' + BODY))
    relais = gateway(config([old]))
    for _ in range(3):
        assert relais.chat().body == BODY


def test_over_tls(gateway, provider, certificates):
    """The same over TLS: whole, streamed, kept alive, and each byte a record of its own."""
    stream = streamed(sse_events(['漢 ', 'two'], usage=False))

    def play(connection, request):
        connection.send(stream if b'"stream": true' in request.body else whole('verified'), piece=1)
    a = provider(serving(play), tls=certificates.server_context())
    relais = gateway(config([a], ca_file=certificates.ca))
    for _ in range(3):
        assert relais.chat().json()['choices'][0]['message']['content'] == 'verified'
        assert relais.chat(stream=True).stream_text() == '漢 two'
    assert len(a.connections) <= 2 < len(a.requests)


def test_a_cap_of_connections_to_a_provider(gateway, provider):
    """CONTRACT: counted per process; a cap reached means a bounded wait, then the next target."""
    busy, most = [], []

    def play(connection, _):
        busy.append(1)
        most.append(len(busy))
        time.sleep(0.15)
        busy.pop()
        connection.send(whole('from a'))
    capped = provider(serving(play))
    relais = gateway(config([capped], max_connections=2, server={'workers': 2}))
    clients = [relais.client() for _ in range(8)]
    for client in clients:
        client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
    assert [c.read_reply('POST').status for c in clients] == [200] * 8
    assert max(most) == 2  # how often the two workers hand the connections to each other is theirs to choose
    for client in clients:
        client.close()
    settings = config([capped, provider(good('from b'))], max_connections=1, timeouts={'connect': '50ms'})
    relais = gateway(settings)
    with relais.client() as first, relais.client() as second:
        for client in (first, second):
            client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []})
            time.sleep(0.02)
        assert [c.read_reply('POST').header('x-relais-provider') for c in (first, second)] == ['a', 'b']
    assert relais.access_log(2)
