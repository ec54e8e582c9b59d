# SPDX-License-Identifier: Apache-2.0
"""FAULTS 75, 81, 90 to 92 and the headers of those who call: names that try to be something else, in headers, logs,
metrics and paths; Host and Origin; Authorization in all its spellings; and secrets, which nothing may show."""
import json

import pytest

from harness import SLOW, chunked, http_answer, sse_events, STREAM_HEAD
from hostile import (ADMIN_TOKEN, BODY, CLIENT_KEY, PROVIDER_KEY, SECRETS, Siege, answer_status, post, raw,
                     relais_admin)
from test_json_bodies import Echo

NASTY = ['m\r\nSet-Cookie: a=b', 'm\nX: y', 'm\0x', 'm\x1b[31mred\x1b[0m', 'm\x7f', 'm\x08', 'm\x85', 'm\u2028x',
         '%n%n%s%x', '${jndi:ldap://127.0.0.1/a}', '=cmd|x', '"}\n{"forged":1}', "m'\";--", '../../etc/passwd', 'm\\',
         '</script>', 'x' * 250, '\u202eevil', 'é' * 100, '%00', 'a b', '{}', '😀']


def test_names_of_models():
    """90, 91: a name goes where names go: JSON-escaped, never into another header or line."""
    echo = Echo()
    with Siege(echo) as siege:
        logged = 0
        for name in NASTY:
            for prefix in ('', 'h/'):
                reply = siege.ask({'model': prefix + name, 'messages': []})
                logged += 1
                control = any(ord(c) < 0x20 or ord(c) == 0x7f for c in name)
                assert reply.status == (400 if control else 200 if prefix else 404), f'{name!r}: {reply}'
                names = [n.lower() for n, _ in reply.headers]
                assert 'set-cookie' not in names and 'x' not in names
                if reply.status == 200:
                    got = (reply.header('x-relais-model') or '').encode('latin-1').decode('utf-8')
                    assert got in (name, ''), f'{got!r} of {name!r}'
        assert siege.ask({'model': 'h/' + 'y' * 1_000_000, 'messages': []}).status == 400
        for request in (b'GET /v1/models/h%2F%0d%0aX:%20y', b'GET /v1/models/%1b%5b31m', b'GET /v1/models/h/%ff%fe',
                        b'GET /v1/models/%00', b'GET /v1/models/%', b'GET /v1/models/%zz', b'GET /v1/models/' + b'%41' * 900):
            received = raw(*siege.relais.data, request + b' HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
            assert answer_status(received.data) in (200, 404), received.data[:200]
            assert received.data.partition(b'\r\n\r\n')[2].decode('utf-8'), 'the body is text'
            json.loads(received.data.partition(b'\r\n\r\n')[2])
        siege.expect_logged = logged + 1 + 7
        metrics = relais_admin(siege.relais, '/metrics')
        assert not [c for c in metrics if ord(c) < 0x20 and c != '\n']
        assert 'forged' not in metrics or '{\\"forged' in metrics


@pytest.mark.parametrize('value, kept', [
    ('abc-1_2.3:4', True), ('a' * 128, True), ('a' * 129, False), ('a b', False), ('a\tb', False), ('{"x":1}', False),
    ('%n%s', False), ('café', False), ('', False), ('a,b', False), ('a' * 9000, False), ('"', False), ('<x>', False)])
def test_request_ids(value, kept):
    """91: an id of the client's is kept if it can do no harm, else replaced; in the answer, the log, the call."""
    echo = Echo()
    with Siege(echo, canary=False) as siege:
        reply = siege.ask({'model': 'h/m', 'messages': []}, [('X-Request-Id', value.encode().decode('latin-1'))])
        assert reply.status == 200
        used = reply.header('x-request-id')
        assert (used == value) == kept and 1 <= len(used) <= 128
        siege.expect_logged = 1
    assert [r['request_id'] for r in siege.hostile_log()] == [used]


def test_two_request_ids():
    with Siege(canary=False) as siege:
        received = raw(*siege.relais.data, post(b'X-Request-Id: one', b'X-Request-Id: two'))
        assert answer_status(received.data) == 200
        assert received.data.lower().count(b'x-request-id:') == 1


def test_what_goes_on_to_a_provider_stays_one_header():
    """90: the few fields that are forwarded cannot split into more."""
    echo_raw = []

    def provider(connection):
        request = connection.read_request()
        echo_raw.append(request)
        connection.send(http_answer({'choices': [{'message': {'content': 'fine'}}]}))

    with Siege(provider, canary=False) as siege:
        for name in (b'traceparent', b'tracestate', b'openai-beta'):
            for value, status in ((b'a\rX-Evil: 1', 400), (b'a\x00b', 400), (b'a\nX-Evil: 1', 400), (b'a\x0bb', 400),
                                  (b'%0d%0aX-Evil: 1', 200), (b'caf\xc3\xa9', 200), (b'x' * 20000, 200)):
                received = raw(*siege.relais.data, post(name + b': ' + value))
                assert answer_status(received.data) == status, (name, value[:20], received.data[:200])
        for request in echo_raw:
            names = [n.lower() for n, _ in request.headers]
            assert 'x-evil' not in names and len(names) == len(set(names)), names


def test_label_cardinality():
    """91: ten thousand unknown names are ten thousand requests of one series; a provider that answers to any name fills
    its metrics to their bound and no further."""
    echo = Echo()
    with Siege(echo) as siege, siege.client(within_s=30 * SLOW) as client:
        before = len(relais_admin(siege.relais, '/metrics').splitlines())
        names = iter(range(10000))
        for batch in range(100):
            client.sock.sendall(b''.join(
                post(body=b'{"model":"bomb-%d","messages":[]}' % next(names), close=False) for _ in range(100)))
            for _ in range(100):
                assert client.read_reply().status == 404
        lines = relais_admin(siege.relais, '/metrics').splitlines()
        assert len(lines) - before < 100
        assert not any('bomb-' in line for line in lines)
        for number in range(300):
            assert client.request('POST', '/v1/chat/completions', {'model': f'h/any-{number}', 'messages': []}).status == 200
        siege.expect_logged = 10300


def test_label_bound():
    """91: names that a provider does answer for are bounded by the series of a metric, not by the attacker's patience."""
    with Siege(Echo(), canary=False) as siege, siege.client(within_s=30 * SLOW) as client:
        before = siege.relais.memory_kib()
        for batch in range(25):
            client.sock.sendall(b''.join(
                post(body=b'{"model":"h/any-%d-%d","messages":[]}' % (batch, i), close=False) for i in range(100)))
            for _ in range(100):
                assert client.read_reply().status == 200
        text = relais_admin(siege.relais, '/metrics')
        series = {}
        for line in text.splitlines():
            if not line.startswith('#'):
                series.setdefault(line.partition('{')[0], []).append(line)
        assert max(len(v) for name, v in series.items() if not name.endswith('_bucket')) <= 2001
        assert siege.relais.memory_kib() - before < 32 * 1024 * SLOW
        siege.expect_logged = 2500


# --- who asks ---------------------------------------------------------------------------------------------------------

def test_host_and_origin_of_an_open_listener():
    """81, 83: a foreign name in Host (DNS rebinding) or Origin (another site's page) is refused on both planes."""
    with Siege() as siege:
        port = siege.relais.data[1]
        hosts = {'127.0.0.1': 200, f'127.0.0.1:{port}': 200, 'localhost': 200, 'LOCALHOST:1': 200, '[::1]': 200, '127.1.2.3': 200,
                 'app.localhost': 200, 'evil.example': 403, '127.0.0.1.evil.example': 403, 'localhost.evil.example': 403,
                 '0.0.0.0': 403, '10.0.0.1': 403, '2130706433': 403, '0x7f000001': 403, '127.1': 403, 'evillocalhost': 403,
                 '127.0.0.evil': 403, '[::ffff:127.0.0.1]': 403, '[::]': 403, '169.254.169.254': 403}
        origins = {None: 200, 'http://localhost': 200, 'http://localhost:3000': 200, 'http://127.0.0.1:5': 200, 'null': 403,
                   'http://evil.example': 403, 'http://127.0.0.1.evil.example': 403, 'http://localhost.evil.example': 403,
                   'https://evil.example:80': 403, 'http://localhost:80@evil.example': 403, 'http:/xlocalhost': 403,
                   'http://localhost@evil.example': 403, 'localhost': 403, 'http://[::1].evil.example': 403, '': 403,
                   'http://localhost/evil': 403, '//localhost': 403, 'file://': 403}
        asked = 0
        for host, status in hosts.items():
            received = raw(*siege.relais.data, post(host=b'Host: ' + host.encode()))
            assert answer_status(received.data) == status, (host, received.data[:300])
            asked += 1
            received = raw(*siege.relais.admin, b'GET /status HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % host.encode())
            assert answer_status(received.data) == status, (host, received.data[:300])
        for origin, status in origins.items():
            lines = [] if origin is None else [b'Origin: ' + origin.encode()]
            received = raw(*siege.relais.data, post(*lines))
            assert answer_status(received.data) == status, (origin, received.data[:300])
            asked += 1
            received = raw(*siege.relais.admin, b'\r\n'.join(
                [b'POST /reload HTTP/1.1', b'Host: localhost', b'Connection: close', b'Content-Length: 0', *lines]) + b'\r\n\r\n')
            assert answer_status(received.data) == status, (origin, received.data[:300])
        assert answer_status(raw(*siege.relais.data, post(b'Sec-Fetch-Site: cross-site')).data) == 403
        siege.expect_logged = asked + 1


AUTHORIZATIONS = [
    (b'Bearer KEY', 200), (b'bearer KEY', 200), (b'BEARER KEY', 200), (b'Bearer  KEY', 200), (b'Bearer KEY ', 200),
    (b'Bearer', 401), (b'Bearer ', 401), (b'', 401), (b' ', 401), (b'KEY', 401), (b'Basic KEY', 401), (b'Token KEY', 401),
    (b'BearerKEY', 401), (b'Bearer KEYx', 401), (b'Bearer xKEY', 401), (b'Bearer "KEY"', 401), (b'Bearer KEY, Bearer KEY', 401),
    (b'Bearer KEY KEY', 401), (b'Bearer\tKEY', 401), (b'Bearer Bearer KEY', 401), (b'Bearer KE', 401), (b'Bearer \xc2\xa0KEY', 401),
    (b'Bearer ' + b'x' * 8192, 401), (b'Bearer ' + b'x' * 60000, 401), (b'Bearer null', 401), (b'Bearer undefined', 401),
    (b'Bearer SHA', 401), (b'Bearer KEY\x00', 400), (b'Bearer ' + b'\xff' * 64, 401)]


def spelled(value, key):
    sha = __import__('hashlib').sha256(key.encode()).hexdigest().encode()
    return value.replace(b'KEY', key.encode()).replace(b'KE', key.encode()[:-1]).replace(b'SHA', sha)


def test_authorization():
    """The credential in every spelling, on both planes; two of them are refused, whichever is right."""
    with Siege(keys=True, server={'admin_token': ADMIN_TOKEN}) as siege:
        for value, status in AUTHORIZATIONS:
            received = raw(*siege.relais.data, post(b'Authorization: ' + spelled(value, CLIENT_KEY)))
            assert answer_status(received.data) == status, (value[:40], received.data[:300])
            received = raw(*siege.relais.admin, b'GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ' +
                           spelled(value, ADMIN_TOKEN) + b'\r\n\r\n')
            assert answer_status(received.data) == status, (value[:40], received.data[:300])
        good = b'Authorization: Bearer ' + CLIENT_KEY.encode()
        extra = 0
        for lines, status in (([good, good], 400), ([good, b'Authorization: Bearer x'], 400), ([b'Authorization: Bearer x', good], 400),
                              ([], 401), ([b'X-Api-Key: ' + CLIENT_KEY.encode()], 200), ([b'X-Api-Key: x'], 401),
                              ([b'Authorization: Bearer x', b'X-Api-Key: ' + CLIENT_KEY.encode()], 401),
                              ([good, b'X-Api-Key: x'], 200), ([b'Proxy-Authorization: Bearer ' + CLIENT_KEY.encode()], 401),
                              ([b'Api-Key: ' + CLIENT_KEY.encode()], 401), ([b'Cookie: Authorization=' + CLIENT_KEY.encode()], 401)):
            received = raw(*siege.relais.data, post(*lines))
            assert answer_status(received.data) == status, (lines, received.data[:300])
            extra += 1
        line = post(line=b'POST /v1/chat/completions?api_key=%s HTTP/1.1' % CLIENT_KEY.encode())
        assert answer_status(raw(*siege.relais.data, line).data) == 401  # and the query stays out of the log
        # Who is not known learns nothing of routes, models or bodies beyond that.
        for data in (post(body=b'{'), post(body=b'{"model":"nope","messages":[]}'), post(media=b'')):
            assert answer_status(raw(*siege.relais.data, data).data) == 401
        for request in siege.provider.requests:
            assert CLIENT_KEY not in request.raw.decode('latin-1')
        siege.expect_logged = len(AUTHORIZATIONS) + extra + 4


# --- paths ------------------------------------------------------------------------------------------------------------

TRICKS = ['//', '/./', '/x/../', '/%2e%2e/', '/%2e/', '/..;/', '/;x=y/', '/%2f', '/%5c', '/\\', '/%00/', '/%252e%252e/', '/.%2e/',
          '/%c0%ae%c0%ae/', '/..%2f', '/..%5c', '/.;/', '/~/', '/*/']


def paths_like(path):
    found = {path.upper(), path + '/', path + '.', path + '//', path + ';x=y', path + '%00', path + '%20', path + '%2f', path + '.json',
             path + '/.', path + '/..', path + '%09', path.replace('/', '//'), path.replace('/', '\\'), path.replace('/', '%2f'),
             '/' + path, '/%2e' + path, path[:-1] + '%' + format(ord(path[-1]), '02x')}
    found |= {trick + path.lstrip('/') for trick in TRICKS}
    found |= {'/v1/..' + path, '/health/..' + path, '/health%2f..' + path, '/health;' + path, '/health/../..' + path, '/v1/models/..' + path}
    return sorted(found - {path})


def test_paths_of_the_data_plane():
    """75: only the route itself is the route; everything like it is 404 (or 400), and asks for the key like all else."""
    with Siege(keys=True) as siege:
        asked = 0
        for path in ('/v1/chat/completions', '/v1/models'):
            for like in paths_like(path) + ['/admin', '/metrics', '/status', '/reload', '/v1/../metrics', '/v1/admin', '/debug']:
                for key in ([b'Authorization: Bearer ' + CLIENT_KEY.encode()], []):
                    received = raw(*siege.relais.data, post(*key, line=b'POST %s HTTP/1.1' % like.encode()))
                    asked += 1
                    status = answer_status(received.data)
                    assert status in (400, 401, 404, 405), (like, received.data[:300])
                    assert b'relais_' not in received.data
        assert not siege.provider.requests
        siege.expect_logged = asked


def test_paths_of_the_admin_plane():
    """75: no spelling of a path gets by the token."""
    with Siege(server={'admin_token': ADMIN_TOKEN}) as siege:
        def ask(target, method=b'GET', host=b'localhost', lines=()):
            data = b'\r\n'.join([method + b' ' + target + b' HTTP/1.1', b'Host: ' + host, b'Connection: close', *lines])
            return raw(*siege.relais.admin, data + b'\r\n\r\n')
        for path in ('/metrics', '/status', '/reload'):
            for like in [path, path + '?x=/health', path + '?token=' + ADMIN_TOKEN] + paths_like(path):
                for method in (b'GET', b'POST', b'HEAD', b'PUT', b'DELETE', b'PATCH', b'OPTIONS'):
                    received = ask(like.encode(), method)
                    exact = like.partition('?')[0] == path
                    assert answer_status(received.data) in ((401,) if exact else (400, 404)), (method, like, received.data[:200])
                    assert b'relais_' not in received.data and b'"providers"' not in received.data
        for target in (b'http://localhost/metrics', b'http://evil.example/metrics', b'http://localhost:1/status'):
            assert answer_status(ask(target).data) == 401
        for line in (b'X-HTTP-Method-Override: GET', b'X-Original-URL: /metrics', b'X-Rewrite-URL: /metrics', b'X-Forwarded-For: 127.0.0.1',
                     b'X-Forwarded-Host: localhost'):
            assert answer_status(ask(b'/metrics', lines=[line]).data) == 401
            assert answer_status(ask(b'/health', lines=[line]).data) == 200
        assert answer_status(ask(b'/status', lines=[b'Authorization: Bearer ' + ADMIN_TOKEN.encode()]).data) == 200
        siege.expect_logged = 0


def test_bodies_to_the_admin_plane():
    """What nobody asked for is not read without end."""
    with Siege() as siege:
        before = siege.relais.memory_kib()
        for line in (b'Content-Length: 1099511627776', b'Transfer-Encoding: chunked'):
            head = b'POST /nowhere HTTP/1.1\r\nHost: localhost\r\n' + line + b'\r\n\r\n'
            body = chunked(b'x' * 65536) if b'chunked' in line else b'x' * 65536
            received = raw(*siege.relais.admin, pieces=[head] + [body] * 1000, within_s=5 * SLOW)
            assert received.closed and answer_status(received.data) in (0, 404, 413)
        assert siege.relais.memory_kib() - before < 4096 * SLOW
        assert siege.relais.admin_request('GET', '/health').status == 200


# --- secrets ----------------------------------------------------------------------------------------------------------

def error(message, kind='invalid_request_error', code=None):
    return {'error': {'message': message, 'type': kind, 'param': None, 'code': code}}


ECHOES = {
    '401': http_answer(error(f'Incorrect API key provided: {PROVIDER_KEY}.', code='invalid_api_key'), '401 Unauthorized'),
    '403': http_answer(error(f'{PROVIDER_KEY} may not'), '403 Forbidden'),
    '400 that is passed on': http_answer(error(f'bad request with Authorization: Bearer {PROVIDER_KEY}'), '400 Bad Request'),
    '404 that is passed on': http_answer(error(f'no model for {PROVIDER_KEY}', code='model_not_found'), '404 Not Found'),
    '422 that is passed on': http_answer({'detail': [{'msg': f'{PROVIDER_KEY}'}]}, '422 Unprocessable Content'),
    '429': http_answer(error(f'slow down, {PROVIDER_KEY}'), '429 Too Many Requests'),
    '500': http_answer(error(f'boom {PROVIDER_KEY}'), '500 Internal Server Error'),
    '500 in HTML': http_answer(f'<html><title>{PROVIDER_KEY}</title></html>', '500 Internal Server Error', 'text/html'),
    '500 in text': http_answer(PROVIDER_KEY, '500 Internal Server Error', 'text/plain'),
    '200 with an error': http_answer(error(f'no {PROVIDER_KEY}', 'server_error')),
    '200 in another media type': http_answer('x', content_type=f'text/{PROVIDER_KEY}'),
    'a stream that begins with an error': STREAM_HEAD + chunked(
        b'data: ' + json.dumps(error(f'no {PROVIDER_KEY}', 'server_error')).encode() + b'\n\n') + chunked(b''),
    'garbage': b'HTTP/1.1 200 OK\r\n' + PROVIDER_KEY.encode() + b'\r\n\r\n',
}


def test_a_provider_that_tells_its_key():
    """92: the key goes to the provider and nowhere else, even if the provider says it aloud."""
    answers = iter(())

    def provider(connection):
        while connection.read_request():
            connection.send(state['answer'])

    state = {}
    with Siege(provider, extra={'log': {'level': 'debug'}}) as siege:
        for name, answer in ECHOES.items():
            state['answer'] = answer
            for stream in (False, True):
                reply = siege.ask({'model': 'h/m', 'messages': [], 'stream': stream})
                assert reply.status >= 400, f'{name}: {reply}'
                assert PROVIDER_KEY.encode() not in reply.raw, f'{name}: {reply}'
        assert all(f'Bearer {PROVIDER_KEY}' in r.raw.decode('latin-1') for r in siege.provider.requests)
        siege.expect_logged = 2 * len(ECHOES)


def test_secrets_of_callers_stay_out_of_everything():
    """92: keys in every place where a careless client puts them; the siege's own check looks through log and output."""
    with Siege(keys=True, server={'admin_token': ADMIN_TOKEN}, extra={'log': {'level': 'debug'}}) as siege:
        replies = [
            siege.ask({'model': 'h/m', 'messages': []}),
            siege.relais.post(f'/v1/chat/completions?key={CLIENT_KEY}', {'model': 'h/m'}, [('Authorization', f'Bearer {ADMIN_TOKEN}')]),
            siege.relais.get(f'/v1/nowhere?api_key={CLIENT_KEY}', [('Cookie', f'k={CLIENT_KEY}'), ('X-Api-Key', ADMIN_TOKEN)]),
            siege.relais.admin_request('GET', '/status', None, [('Authorization', f'Bearer {CLIENT_KEY}')]),
            siege.relais.admin_request('GET', '/metrics', None, [('Authorization', f'Bearer {ADMIN_TOKEN}')]),
            siege.relais.admin_request('POST', '/reload', None, [('Authorization', f'Bearer {ADMIN_TOKEN}')])]
        for reply in replies:
            for secret in SECRETS:
                assert secret.encode() not in reply.raw, reply
        # A config that does not load names the place, not the secret.
        siege.relais.write_config(f'server: {{admin_token: {ADMIN_TOKEN}, nonsense: 1}}\nproviders: {{h: {{api_key: [{PROVIDER_KEY}]}}}}\n')
        reply = siege.relais.admin_request('POST', '/reload', None, [('Authorization', f'Bearer {ADMIN_TOKEN}')])
        assert reply.status == 422 and not any(s in reply.text for s in SECRETS), reply
