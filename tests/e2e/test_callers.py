# SPDX-License-Identifier: Apache-2.0
"""Who may call: client keys, open listeners, the admin token, loops, proxies in front."""
import json
import re

import pytest

import harness
from harness import run
from kit import config, good, header

JSON = [('Content-Type', 'application/json')]
CHAT = {'model': 'assistant', 'messages': []}


def new_key(name='team-a'):
    """(key, hash) as `relais keys new` makes them."""
    done = run('keys', 'new', '--name', name)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    return re.search(r'\brl-[A-Za-z0-9_-]{43}\b', text).group(0), re.search(r'sha256:[0-9a-f]{64}', text).group(0)


@pytest.fixture
def keyed(gateway, provider):
    """(gateway, key of team-a, key of team-b that may only use the alias "small")."""
    a_key, a_hash = new_key('team-a')
    b_key, b_hash = new_key('team-b')
    server = provider(good())
    settings = config([server])
    settings['models']['small'] = settings['models']['assistant']
    settings['clients'] = {'team-a': {'key': a_hash}, 'team-b': {'key': b_hash, 'models': ['small']}}
    relais = gateway(settings)
    relais.provider = server
    return relais, a_key, b_key


def bearer(key):
    return JSON + [('Authorization', f'Bearer {key}')]


def test_a_key(keyed):
    relais, key, _ = keyed
    for headers in (bearer(key), JSON + [('authorization', f'bearer {key}')], JSON + [('X-Api-Key', key)]):
        assert relais.post('/v1/chat/completions', CHAT, headers).status == 200
    records = relais.access_log(3)
    assert [r['client'] for r in records] == ['team-a'] * 3
    assert all(key not in json.dumps(r) for r in records)
    assert all(header(r, 'authorization') is None and key.encode() not in r.raw for r in relais.provider.requests)


@pytest.mark.parametrize('wrong', ['', 'Bearer', 'Bearer ', 'Bearer x', 'Basic dXNlcjpwYXNz', 'Bearer rl-' + 'A' * 43, '@KEY@',
                                   'Bearer @KEY@x', 'Bearer @HASH@', 'Bearer ' + 'k' * 9000])
def test_no_key_or_a_wrong_one(keyed, wrong):
    relais, key, _ = keyed
    value = wrong.replace('@KEY@', key).replace('@HASH@', 'sha256:' + '0' * 64)
    for path in ('/v1/chat/completions', '/v1/models'):
        reply = relais.request('POST' if 'chat' in path else 'GET', path, CHAT if 'chat' in path else None,
                               [('Authorization', value)] if wrong else [])
        assert reply.status == 401
        assert reply.json()['error']['code'] == 'invalid_api_key'
        assert reply.header('www-authenticate').startswith('Bearer')
    assert not relais.provider.requests
    assert all(key not in line for line in (json.dumps(relais.access_log(2)), relais.output()))


def test_the_refusal_comes_before_the_body(keyed):
    """FAULTS 12: nobody without a key makes the gateway read ten megabytes."""
    relais, _, _ = keyed
    received = harness.raw(*relais.data, b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
                                         b'Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n', until=b'}}', within_s=5)
    assert received.data.startswith(b'HTTP/1.1 401 ')


def test_health_needs_no_key(keyed):
    assert keyed[0].get('/health').status == 200 and keyed[0].get('/ready').status == 200


def test_a_client_with_some_models(keyed):
    """FAULTS 85: neither another alias, nor the target behind, nor a bare id."""
    relais, _, key = keyed
    assert relais.chat(model='small', headers=bearer(key)).status == 200
    for model in ('assistant', 'a/m', 'm', 'Small', 'small/x'):
        reply = relais.chat(model=model, headers=bearer(key))
        assert (reply.status, reply.json()['error']['code']) == (404, 'model_not_found'), model
        assert relais.get('/v1/models/' + model, bearer(key)).status == 404
    listed = relais.get('/v1/models', bearer(key)).json()['data']
    assert [m['id'] for m in listed] == ['small']
    assert len(relais.provider.requests) == 1


def test_a_key_from_standard_input():
    key, digest = new_key()
    done = run('keys', 'hash', stdin=key.encode() + b'\n')
    assert done.returncode == 0 and done.stdout.strip() == digest


def test_keys_are_new_each_time():
    assert len({new_key()[0] for _ in range(5)}) == 5


# --- open listeners ---------------------------------------------------------------------------------------------------

OPEN = [
    # headers, answered
    ([('Host', 'localhost:8080')], True), ([('Host', '127.0.0.1')], True), ([('Host', '[::1]:1')], True),
    ([('Host', 'any.localhost')], True), ([('Host', 'LOCALHOST')], True),
    ([('Host', 'evil.example')], False), ([('Host', 'localhost.evil.example')], False), ([('Host', '127.0.0.1.evil.example')], False),
    ([('Host', '192.168.1.5:8080')], False), ([('Host', '0.0.0.0')], False),
    ([('Origin', 'http://localhost:3000')], True), ([('Origin', 'http://127.0.0.1:5173')], True),
    ([('Origin', 'https://evil.example')], False), ([('Origin', 'null')], False), ([('Origin', '')], False),
    ([('Origin', 'http://localhost.evil.example')], False), ([('Origin', 'https://evil.example/?localhost')], False),
    ([('Sec-Fetch-Site', 'cross-site')], False), ([('Sec-Fetch-Site', 'same-origin')], True), ([('Sec-Fetch-Site', 'none')], True),
]


@pytest.mark.parametrize('headers, allowed', OPEN)
def test_an_open_listener_on_loopback(gateway, provider, headers, allowed):
    """FAULTS 10, 81: a web page must not reach it, neither by DNS rebinding nor across sites."""
    server = provider(good())
    relais = gateway(config([server]))
    for reply in (relais.post('/v1/chat/completions', CHAT, headers + JSON), relais.get('/v1/models', headers)):
        assert reply.status == (200 if allowed else 403)
        if not allowed:
            assert reply.json()['error']['code'] == 'forbidden_origin'
    assert relais.admin_request('GET', '/status', headers=headers).status == (200 if allowed else 403)
    assert len(server.requests) == allowed


@pytest.mark.parametrize('media', ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
def test_what_a_page_may_send_without_a_preflight_is_no_request_here(gateway, provider, media):
    server = provider(good())
    relais = gateway(config([server]))
    assert relais.post('/v1/chat/completions', json.dumps(CHAT), [('Content-Type', media)]).status == 415
    assert not server.requests


def test_beyond_loopback_somebody_must_be_named(gateway, provider, tmp_path):
    """FAULTS 81."""
    path = tmp_path / 'relais.yaml'
    for server, words in (({'listen': '0.0.0.0:0'}, 'listen'), ({'admin': '0.0.0.0:0'}, 'admin')):
        path.write_text(json.dumps(config(['http://127.0.0.1:9/v1'], server=server)))
        done = run('serve', '--config', path)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    relais = gateway(config([provider(good())], server={'listen': '0.0.0.0:0', 'auth': 'none'}))
    with harness.Client('127.0.0.1', relais.data[1]) as client:
        assert client.post('/v1/chat/completions', CHAT, [('Host', 'gateway.example')]).status == 200
        assert client.post('/v1/chat/completions', CHAT, [('Host', 'gateway.example'), ('Origin', 'https://evil.example')]).status == 403


def test_auth_none_beside_keys(gateway, provider):
    settings = config([provider(good())], server={'auth': 'none'})
    settings['clients'] = {'team-a': {'key': new_key()[1]}}
    assert gateway(settings).chat().status == 200


def test_auth_keys_without_keys(tmp_path):
    path = tmp_path / 'relais.yaml'
    path.write_text(json.dumps(config(['http://127.0.0.1:9/v1'], server={'auth': 'keys'})))
    assert run('check', path).returncode == 2


# --- the admin plane --------------------------------------------------------------------------------------------------

def test_the_admin_token(gateway, provider):
    relais = gateway(config([provider(good())], server={'admin_token': 'the-admin-token-0123456789'}))
    for method, path in (('GET', '/metrics'), ('GET', '/status'), ('POST', '/reload')):
        for headers in ([], [('Authorization', 'Bearer wrong')], [('Authorization', 'the-admin-token-0123456789')]):
            reply = relais.admin_request(method, path, headers=headers)
            assert reply.status == 401 and 'the-admin-token' not in reply.text
        assert relais.admin_request(method, path, headers=[('Authorization', 'Bearer the-admin-token-0123456789')]).status == 200
    for path in ('/health', '/ready'):
        assert relais.admin_request('GET', path).status == 200
    assert relais.status.__self__ is relais and 'the-admin-token' not in relais.output()


def test_the_admin_plane_is_no_data_plane(gateway, provider):
    relais = gateway(config([provider(good())]))
    assert relais.admin_request('POST', '/v1/chat/completions', CHAT).status == 404
    assert relais.admin_request('GET', '/v1/models').status == 404
    assert relais.admin_request('GET', '/reload').status == 405
    assert relais.admin_request('POST', '/status').status == 405
    assert relais.admin_request('HEAD', '/metrics').status == 200


# --- loops and proxies ------------------------------------------------------------------------------------------------

def test_a_provider_that_is_the_gateway_itself(gateway, provider):
    """Found out by Via at the first return, not after the descriptors are used up."""
    port = harness.free_port()
    settings = config([f'http://127.0.0.1:{port}/v1'], server={'listen': f'127.0.0.1:{port}'})
    settings['providers']['a']['models'] = ['m', 'assistant']
    relais = gateway(settings)
    reply = relais.chat(model='a/assistant')
    assert reply.status in (502, 508), reply
    records = {r['status']: r for r in relais.access_log(2)}
    assert set(records) == {508, reply.status} and len(relais.access_log()) == 2
    assert records[508]['outcome'] == 'refused'
    assert 'loop' in reply.json()['error']['message'] or 'came back' in reply.json()['error']['message']


def test_a_loop_with_another_target(gateway, provider):
    port = harness.free_port()
    relais = gateway(config([f'http://127.0.0.1:{port}/v1', provider(good())], server={'listen': f'127.0.0.1:{port}'}))
    assert relais.chat().header('x-relais-provider') == 'b'


def test_somebody_elses_via(gateway, provider):
    server = provider(good())
    relais = gateway(config([server]))
    assert relais.chat(headers=JSON + [('Via', '1.1 edge, 1.1 relais-000000000000')]).status == 200
    assert header(server.requests[0], 'via').startswith('1.1 relais-')


FORWARDED = [
    # trusted, headers, the address in the log
    ([], [('X-Forwarded-For', '203.0.113.7')], '127.0.0.1'),
    (['127.0.0.0/8'], [('X-Forwarded-For', '203.0.113.7')], '203.0.113.7'),
    (['127.0.0.0/8'], [], '127.0.0.1'),
    (['127.0.0.0/8', '10.0.0.0/8'], [('X-Forwarded-For', '203.0.113.7, 198.51.100.9, 10.1.1.1')], '198.51.100.9'),
    (['127.0.0.0/8'], [('X-Forwarded-For', '6.6.6.6'), ('X-Forwarded-For', '203.0.113.7')], '203.0.113.7'),
    (['127.0.0.0/8'], [('X-Forwarded-For', '2001:db8::5')], '2001:db8::5'),
    (['127.0.0.0/8'], [('Forwarded', 'for=6.6.6.6, for="[2001:db8::5]:99";proto=https')], '2001:db8::5'),
    (['127.0.0.0/8'], [('Forwarded', 'for=203.0.113.7;by=1.2.3.4')], '203.0.113.7'),
    (['127.0.0.0/8'], [('X-Forwarded-For', 'garbage')], '127.0.0.1'),
    (['192.0.2.0/24'], [('X-Forwarded-For', '203.0.113.7')], '127.0.0.1'),
]


@pytest.mark.parametrize('trusted, headers, peer', FORWARDED)
def test_the_client_behind_proxies(gateway, provider, trusted, headers, peer):
    """FAULTS 95: the rightmost hop that nobody trusted vouches for."""
    relais = gateway(config([provider(good())], server={'trusted_proxies': trusted}))
    assert relais.chat(headers=JSON + headers).status == 200
    logged = relais.access_log(1)[0]['peer']
    assert logged.rpartition(':')[0].strip('[]') == peer or logged.strip('[]') == peer, logged
