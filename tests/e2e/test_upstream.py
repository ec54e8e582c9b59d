# SPDX-License-Identifier: Apache-2.0
"""How providers are reached: Unix sockets; authorities and certificates of one's own, sessions taken up again."""
import os
import shutil
import ssl

import harness
from kit import config, good, header, serving, whole


def once(connection, _):
    """One answer a connection."""
    connection.send(whole('over and out').replace(b'HTTP/1.1 200 OK\r\n', b'HTTP/1.1 200 OK\r\nConnection: close\r\n'))
    return False


# --- Unix sockets ---------------------------------------------------------------------------------------------------

def test_a_provider_on_a_unix_socket(gateway, provider, tmp_path):
    """Whole and streamed, kept alive, with a Host that every server takes; no server there is a refusal at once."""
    path = str(tmp_path / 'model.sock')
    a = provider(good('by file'), host=path)
    assert a.base_url == f'unix:{path}:/v1'
    relais = gateway(config([a, provider(good('by address'))], server={'workers': 1}))
    for _ in range(3):
        assert relais.chat().json()['choices'][0]['message']['content'] == 'by file'
        assert relais.chat(stream=True).stream_text() == 'by file'
    assert len(a.connections) == 1
    request = a.requests[0]
    assert request.line == 'POST /v1/chat/completions HTTP/1.1' and header(request, 'host') == 'localhost'
    a.close()
    for gone in (False, True):
        if gone:
            os.unlink(path)
        reply = relais.chat()
        assert reply.json()['choices'][0]['message']['content'] == 'by address'
        assert reply.seconds < 0.5 * harness.SLOW
    assert [r['attempts'][0]['fault'] for r in relais.access_log(8)[-2:]] == ['connect', 'connect']


# --- TLS ------------------------------------------------------------------------------------------------------------

def test_tls_sessions_are_taken_up_again(gateway, provider, certificates):
    """Each new connection but the first is spared the certificate, across workers and reloads."""
    resumed = []

    def play(connection, request):
        resumed.append(connection.sock.session_reused)
        return once(connection, request)
    a = provider(serving(play), tls=certificates.server_context())
    settings = config([a], ca_file=certificates.ca, server={'workers': 2})
    relais = gateway(settings)
    for _ in range(3):
        assert relais.chat().status == 200
    relais.reload(settings)
    harness.eventually(lambda: relais.status()['config_generation'] == 2)
    for _ in range(3):
        assert relais.chat().status == 200
    assert resumed == [False] + [True] * 5


def test_a_client_certificate(gateway, provider, certificates):
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca)
    certificate, key = certificates.make(name='gateway', names=('gateway',), client=True)
    a = provider(good('for your eyes'), tls=context)
    relais = gateway(config([a], ca_file=certificates.ca, client_certificate=certificate, client_key=key))
    assert relais.chat().json()['choices'][0]['message']['content'] == 'for your eyes'
    assert dict(pair[0] for pair in a.connections[0].sock.getpeercert()['subject'])['commonName'] == 'gateway'
    unknown = gateway(config([a], ca_file=certificates.ca, timeouts={'connect': '2s', 'first_byte': '2s'}))
    reply = unknown.chat()
    assert reply.status == 502, reply
    assert len(a.requests) == 1


def test_a_client_certificate_that_is_no_good(gateway, provider, certificates, tmp_path):
    """It is told when the file is loaded, with the provider's place; a reload with it changes nothing."""
    certificate, key = certificates.make(name='one', names=('one',))
    _, other = certificates.make(name='two', names=('two',))
    a = provider(good(), tls=certificates.server_context())
    relais = gateway(config([a], ca_file=certificates.ca))
    for wrong, said in ((other, 'the client key cannot be used'), (str(tmp_path / 'none'), 'the client key cannot be used')):
        relais.write_config(config([a], ca_file=certificates.ca, client_certificate=certificate, client_key=wrong))
        reply = relais.admin_request('POST', '/reload')
        assert reply.status == 422, reply
        assert any('providers.a: ' + said in line and 'relais.yaml:' in line for line in reply.json()['report']), reply.text
    assert relais.chat().status == 200


def test_files_renewed_under_their_names(gateway, provider, certificates, tmp_path):
    """ca_file, certificate and key are read again on reload; connections of before go on."""
    other = harness.Certificates(str(tmp_path))
    ca = tmp_path / 'trusted.pem'
    shutil.copy(other.ca, ca)
    a = provider(good(), tls=certificates.server_context())
    settings = config([a], ca_file=str(ca))
    relais = gateway(settings)
    assert relais.chat().status == 502
    shutil.copy(certificates.ca, ca)
    relais.reload(settings)
    harness.eventually(lambda: relais.status()['config_generation'] == 2)
    assert relais.chat().status == 200
    shutil.copy(other.ca, ca)
    relais.reload(settings)
    harness.eventually(lambda: relais.status()['config_generation'] == 3)
    assert relais.chat().status == 502
