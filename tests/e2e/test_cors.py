# SPDX-License-Identifier: Apache-2.0
"""FAULTS 83: which web pages may call. Preflights before keys, exact origins, nothing reflected; and the fields of every
answer that browsers heed."""
import pytest

import harness
from hostile import post as bytes_of
from kit import config, good, header, sse_events, streamed, whole, by_stream
from test_callers import CHAT, bearer, new_key

PAGE = 'https://app.example'
OTHERS = ['http://app.example', 'https://app.example:8443', 'https://app.example.evil.example', 'https://evil-app.example',
          'https://xapp.example', 'https://app.example/', 'https://app.example ,https://evil.example', 'HTTPS://APP.EXAMPLE',
          'https://sub.app.example', 'https://app.exampl', 'null', '', '*', 'app.example', 'https://app.example\t.evil']


def over(gateway, provider, origins=(PAGE, 'http://localhost:3000'), keys=True):
    key, digest = new_key()
    settings = config([provider(by_stream(streamed(sse_events(['hello'])), whole()))])
    if origins is not None:
        settings['server']['cors'] = {'origins': origins}
    if keys:
        settings['clients'] = {'team': {'key': digest}}
    relais = gateway(settings)
    relais.key = bearer(key) if keys else []
    return relais


def preflight(relais, origin, method='POST', names='authorization,content-type,x-stainless-os', path='/v1/chat/completions'):
    asked = [('Origin', origin), ('Access-Control-Request-Method', method)]
    return relais.request('OPTIONS', path, None, asked + ([('Access-Control-Request-Headers', names)] if names else []))


def cors_fields(reply):
    return {n.lower(): v for n, v in reply.headers if n.lower().startswith('access-control-')}


def assert_nothing_allowed(reply):
    assert not cors_fields(reply), reply.headers


@pytest.mark.parametrize('path', ['/v1/chat/completions', '/v1/models', '/v1/models/a%2Fm'])
def test_a_preflight_needs_no_key(gateway, provider, path):
    relais = over(gateway, provider)
    reply = preflight(relais, PAGE, path=path)
    assert reply.status == 204 and not reply.body
    fields = cors_fields(reply)
    assert fields.pop('access-control-expose-headers')
    assert fields == {'access-control-allow-origin': PAGE, 'access-control-max-age': '7200',
                      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
                      'access-control-allow-headers': 'authorization,content-type,x-stainless-os'}
    assert {v.strip() for h in reply.header_all('vary') for v in h.split(',')} == {
        'Origin', 'Access-Control-Request-Method', 'Access-Control-Request-Headers'}
    record = relais.access_log(1)[0]
    assert (record['method'], record['status'], record['outcome']) == ('OPTIONS', 204, 'ok')


@pytest.mark.parametrize('origin', OTHERS)
def test_other_origins_are_allowed_nothing(gateway, provider, origin):
    relais = over(gateway, provider)
    reply = preflight(relais, origin)
    assert reply.status == 405
    assert_nothing_allowed(reply)
    # With a key the request itself is served: the browser keeps the answer from the page.
    reply = relais.post('/v1/chat/completions', CHAT, relais.key + [('Origin', origin)])
    assert reply.status == 200 and reply.header('vary') == 'Origin'
    assert_nothing_allowed(reply)


def test_answers_of_every_kind_are_readable(gateway, provider):
    relais = over(gateway, provider)
    mine = [('Origin', PAGE)]
    chat = '/v1/chat/completions'
    replies = {
        200: relais.post(chat, CHAT, relais.key + mine),
        401: relais.post(chat, CHAT, mine + [('Content-Type', 'application/json')]),
        404: relais.get('/nowhere', mine),
        405: relais.get(chat, mine),
        415: relais.post(chat, 'x', relais.key[1:] + mine + [('Content-Type', 'text/plain')]),
        400: relais.post(chat, b'{', relais.key + mine),
    }
    for status, reply in replies.items():
        assert reply.status == status, reply
        assert reply.header_all('access-control-allow-origin') == [PAGE], reply.headers
        assert 'x-request-id' in reply.header('access-control-expose-headers') and reply.header('vary') == 'Origin'
        assert reply.header('access-control-allow-credentials') is None
    with relais.client() as client:
        reply = client.request('POST', chat, {**CHAT, 'stream': True}, relais.key + mine)
        assert reply.header('content-type').startswith('text/event-stream')
        assert reply.header_all('access-control-allow-origin') == [PAGE]
    assert relais.get('/health', mine).header('access-control-allow-origin') == PAGE


def test_two_origins_are_none(gateway, provider):
    """A browser sends one; who sends two wants to be taken for the first."""
    relais = over(gateway, provider)
    received = harness.raw(*relais.data, b'OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n'
                           b'Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\nConnection: close\r\n\r\n')
    assert received.data.startswith(b'HTTP/1.1 4') and b'access-control' not in received.data.lower()


@pytest.mark.parametrize('names, said', [
    ('x-a', 'x-a'), ('x-a , X-B', 'x-a , X-B'), ('', None), ('x-a,', None), (',', None), ('x a', None), ('x-a;b', None),
    ('x-\u00e9', None), ('a' * 5000, None)])
def test_only_names_are_said_back(gateway, provider, names, said):
    reply = preflight(over(gateway, provider), PAGE, names=names)
    assert reply.status == 204 and reply.header('access-control-allow-headers') == said


def test_every_origin(gateway, provider):
    relais = over(gateway, provider, '*')
    for origin in (PAGE, 'https://evil.example', 'moz-extension://a-b'):
        reply = preflight(relais, origin)
        assert reply.status == 204 and reply.header('access-control-allow-origin') == '*'
        reply = relais.post('/v1/chat/completions', CHAT, relais.key + [('Origin', origin)])
        assert reply.status == 200 and reply.header('access-control-allow-origin') == '*'
    reply = preflight(relais, 'null')
    assert reply.status == 405
    assert_nothing_allowed(reply)


def test_none_by_default(gateway, provider):
    relais = over(gateway, provider, None)
    reply = preflight(relais, PAGE)
    assert reply.status == 405
    assert_nothing_allowed(reply)
    assert relais.get('/health', [('Origin', PAGE)]).header('vary') is None


def test_an_open_listener(gateway, provider):
    """Its rule against pages of other sites makes way for a listed origin; the one against rebinding does not."""
    relais = over(gateway, provider, keys=False)
    site = [('Sec-Fetch-Site', 'cross-site')]
    assert preflight(relais, PAGE).status == 204
    reply = relais.post('/v1/chat/completions', CHAT, [('Origin', PAGE)] + site)
    assert reply.status == 200 and reply.header('access-control-allow-origin') == PAGE
    for headers in ([('Origin', 'https://evil.example')], [('Origin', 'null')], site,
                    [('Origin', PAGE), ('Host', 'evil.example')]):
        assert relais.post('/v1/chat/completions', CHAT, headers).status == 403, headers
    # Pages of this machine may call as before; to read what comes back they have to be listed.
    reply = relais.post('/v1/chat/completions', CHAT, [('Origin', 'http://127.0.0.1:5173')])
    assert reply.status == 200
    assert_nothing_allowed(reply)


def test_the_admin_plane_is_for_no_page(gateway, provider):
    relais = over(gateway, provider, '*', keys=False)
    for headers in ([('Origin', PAGE)], [('Origin', 'null')]):
        assert relais.admin_request('GET', '/status', None, headers).status == 403
    reply = relais.admin_request('OPTIONS', '/status', None, [('Origin', PAGE), ('Access-Control-Request-Method', 'GET')])
    assert reply.status in (403, 405)
    assert_nothing_allowed(reply)


def test_origins_go_to_no_provider(gateway, provider):
    server = provider(good())
    relais = gateway(config([server], server={'cors': {'origins': PAGE}}))
    assert relais.post('/v1/chat/completions', CHAT, [('Origin', PAGE)]).status == 200
    assert header(server.requests[0], 'origin') is None


def test_fields_that_browsers_heed(gateway, provider):
    """SPEC G2: on every answer, those to what is no request included."""
    relais = over(gateway, provider)
    replies = [relais.get('/health'), relais.get('/nowhere'), relais.post('/v1/chat/completions', CHAT, relais.key),
               relais.admin_request('GET', '/metrics'), relais.admin_request('GET', '/nowhere'),
               relais.post('/v1/chat/completions', {**CHAT, 'stream': True}, relais.key), preflight(relais, PAGE)]
    for reply in replies:
        assert reply.header_all('x-frame-options') == ['SAMEORIGIN'], reply.headers
        assert reply.header_all('x-content-type-options') == ['nosniff'], reply.headers
    broken = [b'GET nonsense\r\n\r\n', bytes_of(b'Transfer-Encoding: chunked', b'X-A: 1'),
              bytes_of(b'Transfer-Encoding: chunked', *[f'{n}: {v}'.encode() for n, v in relais.key if n == 'Authorization'],
                       length=False, body=b'zz\r\n')]
    for address in (relais.data, relais.admin):
        for data in broken:
            received = harness.raw(*address, data)
            assert received.data.count(b'X-Frame-Options: SAMEORIGIN\r\n') == 1, received.data
            assert received.data.count(b'X-Content-Type-Options: nosniff\r\n') == 1, received.data


def test_tls_only(gateway, provider, certificates):
    """Strict-Transport-Security stands on answers over TLS, in refusals too, and never on others (RFC 6797 §7.2)."""
    certificate, key = certificates.make()
    listen = ['127.0.0.1:0', {'address': '127.0.0.2:0', 'tls': {'certificate': certificate, 'key': key}}]
    settings = config([provider(good())], server={'listen': listen, 'hsts': '365d'})
    relais = gateway(settings)
    context = certificates.client_context()
    context.check_hostname = False
    plain, secure = relais.address('data', 0), relais.address('data', 1)
    broken = bytes_of(b'Transfer-Encoding: chunked', b'X-A: 1')
    for address, tls, wanted in ((plain, None, []), (secure, context, ['max-age=31536000'])):
        with harness.Client(*address, tls=tls) as client:
            for reply in (client.get('/health'), client.get('/nowhere'), client.post('/v1/chat/completions', CHAT)):
                assert reply.header_all('strict-transport-security') == wanted
        received = harness.raw(*address, broken, tls=tls)
        assert received.data.startswith(b'HTTP/1.1 400')
        assert received.data.count(b'Strict-Transport-Security: max-age=31536000\r\n') == len(wanted)
    assert relais.admin_request('GET', '/health').header('strict-transport-security') is None
    settings['server']['hsts'] = '0s'
    relais.reload(settings)

    def unsaid():
        with harness.Client(*secure, tls=context) as client:
            return client.get('/health').header('strict-transport-security') is None
    harness.eventually(unsaid, what='the reload')
