# SPDX-License-Identifier: Apache-2.0
"""Providers behind an HTTP proxy: the way through it, which proxy is taken, and what becomes of one that fails."""
import base64
import json
import os
import socket
import tempfile
import threading

import pytest

import harness
from kit import config, good, header

NAME = 'provider.test'  # resolves nowhere: only the proxy knows where it is


def opening(to, answer=b'HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n', piece=None):
    """The script of a proxy that leads every CONNECT to the provider `to`."""
    def script(connection):
        request = connection.read_request()
        if not request:
            return
        with socket.create_connection((to.host, to.port), timeout=harness.WAIT_S) as beyond:
            connection.send(answer, piece=piece)
            back = threading.Thread(target=pump, args=(beyond, connection.sock), daemon=True)
            back.start()
            pump(connection.sock, beyond)
            back.join(harness.WAIT_S)
    return script


def pump(source, sink):
    try:
        source.settimeout(60)
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def via(proxy, credentials=''):
    return f'http://{credentials}{proxy.host}:{proxy.port}'


def behind(scheme='http', port=8000):
    return f'{scheme}://{NAME}:{port}/v1'


def content(reply):
    return reply.json()['choices'][0]['message']['content']


# --- the way through ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('piece', [None, 1])
def test_plain_http_goes_through_a_tunnel_too(gateway, provider, piece):
    """One CONNECT a connection, which is then kept alive; what is asked of the provider is as without a proxy."""
    a = provider(good('from far'))
    proxy = provider(opening(a, piece=piece))
    relais = gateway(config([behind()], proxy=via(proxy), server={'workers': 1}))
    for _ in range(3):
        assert content(relais.chat()) == 'from far'
        assert relais.chat(stream=True).stream_text() == 'from far'
    assert [r.line for r in proxy.requests] == [f'CONNECT {NAME}:8000 HTTP/1.1']
    assert header(proxy.requests[0], 'host') == f'{NAME}:8000'
    assert header(proxy.requests[0], 'proxy-authorization') is None
    assert len(a.connections) == 1
    request = a.requests[0]
    assert request.line == 'POST /v1/chat/completions HTTP/1.1' and header(request, 'host') == f'{NAME}:8000'
    assert header(request, 'proxy-authorization') is None


def test_tls_is_between_us_and_the_provider(gateway, provider, certificates):
    """The certificate is checked against the provider's name; the proxy sees none of what is said."""
    a = provider(good('sealed'), tls=certificates.server_context(name='behind', names=(NAME,)))
    heard = []

    def listening(connection):
        relay = opening(a)
        connection.sock = Overheard(connection.sock, heard)
        relay(connection)
    proxy = provider(listening)
    relais = gateway(config([behind('https')], proxy=via(proxy), ca_file=certificates.ca, api_key='sk-canary-1'))
    assert content(relais.chat('whisper')) == 'sealed'
    assert a.requests and b'whisper' in a.requests[0].body
    assert not any(b'whisper' in h or b'canary' in h for h in heard)


class Overheard:
    """A socket that writes down what comes in."""

    def __init__(self, sock, heard):
        self._sock, self._heard = sock, heard

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def recv(self, n):
        data = self._sock.recv(n)
        self._heard.append(data)
        return data


def test_a_wrong_certificate_behind_a_proxy(gateway, provider, certificates):
    a = provider(good(), tls=certificates.server_context())  # for localhost
    relais = gateway(config([behind('https')], proxy=via(provider(opening(a))), ca_file=certificates.ca))
    assert relais.chat().status == 502
    assert 'mismatch' in relais.access_log(1)[0]['attempts'][0]['reason']


def test_credentials_of_a_proxy(gateway, provider):
    """They reach the proxy and nobody else: no log, no status, no provider."""
    a = provider(good())
    proxy = provider(opening(a))
    relais = gateway(config([behind()], proxy=via(proxy, 'gate:canary%21pass@')))
    assert relais.chat().status == 200
    said = base64.b64decode(header(proxy.requests[0], 'proxy-authorization').removeprefix('Basic ')).decode()
    assert said == 'gate:canary!pass'
    seen = str(relais.status()) + str(relais.access_log(1)) + relais.output() + str(relais.metrics())
    assert 'canary' not in seen
    assert not any('canary' in v for _, v in a.requests[0].headers)


# --- which proxy ----------------------------------------------------------------------------------------------------

def test_the_environment_decides(gateway, provider):
    a, b = provider(good('proxied')), provider(good('straight'))
    proxy = provider(opening(a))
    env = {'http_proxy': via(proxy), 'HTTPS_PROXY': 'http://127.0.0.1:9', 'NO_PROXY': 'elsewhere.test'}
    relais = gateway(config([behind()]), env=env)
    assert content(relais.chat()) == 'proxied'
    # What is on this machine is never reached by way of the environment's proxy.
    relais = gateway(config([b]), env=env)
    assert content(relais.chat()) == 'straight'
    # The provider's own setting goes before it.
    relais = gateway(config([behind()], proxy='none', timeouts={'connect': '2s'}), env=env)
    assert relais.chat().status in (502, 504)
    relais = gateway(config([behind()], timeouts={'connect': '2s'}), env={**env, 'NO_PROXY': '.test'})
    assert relais.chat().status in (502, 504)
    assert len(proxy.requests) == 1


def test_a_proxy_that_is_none():
    """Told when the file is read, at its place, and without the password."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'relais.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(config([behind()], proxy='socks5://u:canary@127.0.0.1:1'), file)
        done = harness.run('check', path)
    assert done.returncode == 2 and 'providers.a: its proxy must be reached by http://' in done.stdout + done.stderr
    assert 'canary' not in done.stdout + done.stderr


# --- proxies that fail ----------------------------------------------------------------------------------------------

FAILING = {
    'wants credentials': (b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno',
                          'wants other credentials'),
    'forbids': (b'HTTP/1.1 403 Forbidden\r\n\r\n', 'does not allow'),
    'cannot reach it': (b'HTTP/1.0 503 Service Unavailable\r\n\r\n', 'cannot reach the provider'),
    'has failed': (b'HTTP/1.1 500 Oops\r\n\r\n', 'has failed'),
    'redirects': (b'HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n', 'refuses'),
    'speaks something else': (b'SSH-2.0-OpenSSH_9.2\r\n', 'does not speak HTTP'),
    'has a strange status': (b'HTTP/1.1 2000 OK\r\n\r\n', 'does not speak HTTP'),
    'never ends its head': (b'HTTP/1.1 200 OK\r\n' + b'X-Filler: 0123456789\r\n' * 1000, 'too long'),
    'sends bytes of its own': (b'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n', 'more than it was asked'),
    'closes': (b'', 'closed before it answered'),
    'closes in its head': (b'HTTP/1.1 200 OK\r\nX-', 'closed before it answered'),
}


@pytest.mark.parametrize('kind', FAILING)
def test_a_proxy_that_fails(gateway, provider, kind):
    """Nothing of the request was sent: another target is tried at once, and the reason is told."""
    answer, said = FAILING[kind]

    def script(connection):
        if connection.read_request():
            connection.send(answer)
    settings = config([behind(), provider(good('in its stead'))])
    settings['providers']['a']['proxy'] = via(provider(script))
    relais = gateway(settings)
    for stream in (False, True):
        reply = relais.chat(stream=stream)
        assert (reply.status, reply.header('x-relais-provider')) == (200, 'b')
    for record in relais.access_log(2):
        bad = record['attempts'][0]
        assert bad['fault'] == 'connect' and said in bad['reason'] and not bad['maybe_billed'], bad


@pytest.mark.parametrize('kind', ['does not answer', 'drips'])
def test_a_proxy_that_is_slow(gateway, provider, kind):
    """The time to connect covers the proxy, however much it says."""
    def script(connection):
        if not connection.read_request():
            return
        if kind == 'drips':
            connection.send(b'HTTP/1.1 200 OK\r\n' + b'X-Drip: drop\r\n' * 200, gap_s=0.05, piece=3)
        connection.wait_for_peer_to_leave()
    settings = config([behind(), provider(good('in its stead'))], timeouts={'connect': '300ms'})
    settings['providers']['a']['proxy'] = via(provider(script))
    relais = gateway(settings)
    reply = relais.chat()
    assert (reply.status, reply.header('x-relais-provider')) == (200, 'b')
    assert 0.25 < reply.seconds < 0.3 + 1.5 * harness.SLOW
    bad = relais.access_log(1)[0]['attempts'][0]
    assert bad['fault'] == 'timeout' and 'connect' in bad['reason'], bad


def test_a_proxy_that_is_not_there(gateway, provider):
    settings = config([behind(), provider(good('in its stead'))])
    settings['providers']['a']['proxy'] = f'http://127.0.0.1:{harness.free_port()}'
    relais = gateway(settings)
    assert content(relais.chat()) == 'in its stead'
    assert 'refused' in relais.access_log(1)[0]['attempts'][0]['reason']
