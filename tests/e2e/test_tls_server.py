# SPDX-License-Identifier: Apache-2.0
"""TLS towards clients (FAULTS 29 and 32): versions and ciphers, names, client certificates, reloads, and peers that do
not speak it. Each test asks what Python's ssl, or the openssl command, sees of a running gateway."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import harness
from harness import SLOW, Client, eventually, raw, run
from hostile import Siege
from kit import config, good

CHAT = {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'hi'}]}


def pair(certificate, key):
    return {'certificate': certificate, 'key': key}


def tls_listener(tls):
    return {'address': '127.0.0.1:0', 'tls': tls}


@pytest.fixture
def secure(gateway, provider, certificates):
    """secure(tls map, server keys) -> a gateway whose first data listener speaks TLS"""
    def make(tls=None, **server):
        tls = tls or pair(*certificates.make())
        return gateway(config([provider(good())], server={'listen': tls_listener(tls), **server}))
    return make


def client_context(certificates, **options):
    context = certificates.client_context()
    context.check_hostname = False  # names are asked for by the tests themselves
    for name, value in options.items():
        setattr(context, name, value)
    return context


def handshake(relais, context, name=None, at=0):
    """A connected TLS socket."""
    sock = socket.create_connection(relais.address('data', at), timeout=10 * SLOW)
    try:
        return context.wrap_socket(sock, server_hostname=name)
    except BaseException:
        sock.close()
        raise


def refused(relais, context, name=None, at=0):
    """The reason by which a handshake, or the first answer after it (TLS 1.3), fails."""
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        with handshake(relais, context, name, at) as sock:
            sock.sendall(b'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
            assert not sock.recv(1), 'it was answered'
            raise ConnectionResetError('closed without a word')
    return str(caught.value).lower()


def shown(relais, context, name=None, at=0):
    """The certificate that a client gets, as PEM."""
    with handshake(relais, context, name, at) as sock:
        return ssl.DER_cert_to_PEM_cert(sock.getpeercert(True))


def leaf(path):
    with open(path, encoding='ascii') as file:
        text = file.read()
    return text[text.index('-----BEGIN'):text.index('-----END CERTIFICATE-----')].strip() + '\n-----END CERTIFICATE-----\n'


def s_client(relais, *arguments, stdin=b'', within_s=30):
    host, port = relais.data
    done = subprocess.run(['openssl', 's_client', '-connect', f'{host}:{port}', *arguments], input=stdin, check=False,
                          capture_output=True, timeout=within_s * SLOW)
    return (done.stdout + done.stderr).decode('utf-8', 'replace')


# --- what is spoken ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_and_streams(secure, certificates, version):
    relais = secure()
    assert relais.addresses['data'][0][0] == 'https'
    context = certificates.client_context()
    context.minimum_version = context.maximum_version = version
    with relais.client(tls=context) as client:
        assert client.sock.version() == version.name.replace('_', '.')
        assert client.sock.compression() is None
        name = client.sock.cipher()[0]
        assert 'GCM' in name or 'CHACHA20' in name, name
        assert version == ssl.TLSVersion.TLSv1_3 or name.startswith('ECDHE-'), name
        for stream in (False, True):
            reply = client.post('/v1/chat/completions', {**CHAT, 'stream': stream})
            assert reply.status == 200
            assert (reply.stream_text() if stream else reply.json()['choices'][0]['message']['content']) == 'hello'
    assert len(relais.access_log(2)) == 2


def test_old_versions_and_weak_ciphers_are_refused(secure, certificates):
    relais = secure(pair(*certificates.make(rsa=True)))
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = client_context(certificates)
        context.set_ciphers('ALL:@SECLEVEL=0')
        context.minimum_version = context.maximum_version = version
        assert 'version' in refused(relais, context)
    for ciphers in ('AES128-GCM-SHA256', 'AES256-SHA', 'ECDHE-RSA-AES128-SHA', 'ECDHE-RSA-AES256-SHA384',
                    'DHE-RSA-AES128-GCM-SHA256'):
        context = client_context(certificates)
        context.set_ciphers(f'{ciphers}:@SECLEVEL=0')
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert 'handshake failure' in refused(relais, context).replace('_', ' ')
    assert relais.client(tls=certificates.client_context()).get('/health').status == 200


def test_no_renegotiation_no_early_data(secure, certificates):
    relais = secure()
    said = s_client(relais, '-tls1_2', stdin=b'R\n')
    assert 'Secure Renegotiation IS supported' in said  # the protection of RFC 5746, not the act
    assert 'no renegotiation' in said or 'renegotiation' in said.lower().split('renegotiating', 1)[-1], said
    said = s_client(relais, '-tls1_3', '-ign_eof', stdin=b'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    assert '200' in said and 'Max Early Data: 0' in said, said
    assert relais.client(tls=certificates.client_context()).get('/health').status == 200


def test_alpn(secure, certificates):
    relais = secure()

    def agreed(*offer):
        context = client_context(certificates)
        if offer:
            context.set_alpn_protocols(list(offer))
        with handshake(relais, context) as sock:
            return sock.selected_alpn_protocol()
    assert agreed() is None
    assert agreed('http/1.1') == 'http/1.1'
    assert agreed('spdy/3', 'http/1.1') == 'http/1.1'
    assert agreed('http/1.1', 'h2') in ('http/1.1', 'h2')
    context = client_context(certificates)
    context.set_alpn_protocols(['spdy/3', 'http/1.0'])
    assert 'no application protocol' in refused(relais, context).replace('_', ' ')


def test_tickets_resume_on_the_same_listener_only(secure, certificates):
    authority, other = pair(*certificates.make()), pair(*certificates.make())
    relais = secure(authority, admin='127.0.0.1:0', listen=[tls_listener(authority), tls_listener(other)])
    context = client_context(certificates, maximum_version=ssl.TLSVersion.TLSv1_2)
    with handshake(relais, context) as sock:
        session = sock.session

    def resumes(at):
        sock = socket.create_connection(relais.address('data', at), timeout=10 * SLOW)
        with context.wrap_socket(sock, session=session) as sock:
            return sock.session_reused
    assert resumes(0)
    assert not resumes(1)


def test_tickets_outlive_a_reload_of_the_same_certificates(secure, certificates, tmp_path):
    """33: on every worker; a renewed certificate, or another demand, ends them."""
    served = str(tmp_path / 'served.pem'), str(tmp_path / 'served.key')
    for source, target in zip(certificates.make(), served):
        shutil.copy(source, target)
    relais = secure(pair(*served), workers=2)
    context = client_context(certificates, maximum_version=ssl.TLSVersion.TLSv1_2)
    with handshake(relais, context) as sock:
        session = sock.session

    def resumed():
        """By four connections at one time, which the workers share."""
        socks = [context.wrap_socket(socket.create_connection(relais.data, timeout=10 * SLOW), session=session) for _ in range(4)]
        answers = [sock.session_reused for sock in socks]
        for sock in socks:
            sock.close()
        return answers
    assert resumed() == [True] * 4
    for _ in range(3):
        reload(relais)
        assert resumed() == [True] * 4
    for source, target in zip(certificates.make(), served):
        shutil.copy(source, target)
    assert resumed() == [True] * 4  # not before it is told to
    reload(relais)
    assert resumed() == [False] * 4


FAILURES = 'relais_tls_handshake_failures_total{reason="%s"}'


def test_failed_handshakes_are_counted(secure, certificates, tmp_path):
    """By a reason of ours, and with one line a while that names the peer."""
    stranger = harness.Certificates(str(tmp_path))
    relais = secure({**pair(*certificates.make()), 'client_ca': certificates.ca}, header_timeout=f'{600 * SLOW:.0f}ms',
                    workers=1)
    mine, theirs = certificates.make('client', client=True), stranger.make('client', client=True)

    def context(chain=mine, old=False, ciphers=None, authorities=None):
        made = (authorities or certificates).client_context()
        made.load_cert_chain(*chain) if chain else None
        if old or ciphers:
            made.set_ciphers(ciphers or 'ALL:@SECLEVEL=0')
            made.minimum_version = ssl.TLSVersion.TLSv1_1 if old else ssl.TLSVersion.TLSv1_2
            made.maximum_version = made.minimum_version
        return made

    def silent(data):
        with socket.create_connection(relais.data, timeout=20 * SLOW) as sock:
            sock.sendall(data)
            while sock.recv(4096):
                pass

    cases = [('version', lambda: refused(relais, context(old=True), 'localhost')),
             ('cipher', lambda: refused(relais, context(ciphers='AES256-SHA:@SECLEVEL=0'), 'localhost')),
             ('certificate', lambda: refused(relais, context(authorities=stranger), 'localhost')),
             ('client_certificate', lambda: refused(relais, context(None), 'localhost')),
             ('client_certificate', lambda: refused(relais, context(theirs), 'localhost')),
             ('not_tls', lambda: harness.raw(*relais.data, data=b'GET / HTTP/1.1\r\n\r\n', within_s=10 * SLOW)),
             ('not_tls', lambda: harness.raw(*relais.data, data=b'SSH-2.0-x\r\n', within_s=10 * SLOW)),
             ('timeout', lambda: silent(b'\x16\x03\x01\x02\x00\x01')),
             ('timeout', lambda: silent(b'')),
             ('closed', lambda: socket.create_connection(relais.data, timeout=10).close()),
             ('closed', lambda: harness.raw(*relais.data, data=b'\x16\x03', shut=True, within_s=10 * SLOW)),
             ('other', lambda: harness.raw(*relais.data, data=b'\x16\x03\x01\x00\x04\x02\x00\x00\x00', within_s=10 * SLOW))]
    counted = dict.fromkeys({reason for reason, _ in cases}, 0)
    for reason, fail in cases:
        fail()
        counted[reason] += 1
        eventually(lambda now=dict(counted): now == {r: relais.metrics()[FAILURES % r] for r in now}, 10 * SLOW,
                   what=f'{counted} by {reason}')
    with relais.client(tls=context()) as client:
        assert client.get('/health').status == 200
    assert counted == {r: relais.metrics()[FAILURES % r] for r in counted}
    lines = [line for line in relais.stderr.split('\n') if 'no handshake with 127.0.0.1:' in line]
    assert 1 <= len(lines) <= 5, lines  # of ten that would be worth one
    assert 'version: ' in lines[0] and '(0 more' in lines[0], lines


# --- names ------------------------------------------------------------------------------------------------------------

def test_the_certificate_for_the_name(secure, certificates):
    first = certificates.make('localhost')
    a = certificates.make('a.test', names=['a.test'], rsa=True)
    wild = certificates.make('*.b.test', names=['*.b.test'])
    exact = certificates.make('x.b.test', names=['x.b.test', 'y.test'])
    relais = secure({**pair(*first), 'certificates': [pair(*a), pair(*wild), pair(*exact)]})
    context = client_context(certificates)
    wanted = {None: first, 'localhost': first, 'nobody.test': first, 'b.test': first, 'a.b.b.test': first,
              'a.test': a, 'A.TEST': a, 'z.b.test': wild, 'x.b.test': exact, 'y.test': exact}
    for name, (certificate, _) in wanted.items():
        assert shown(relais, context, name) == leaf(certificate), name
    for name in ('a.test', 'z.b.test', 'x.b.test', 'localhost'):  # and it is good for it
        with handshake(relais, certificates.client_context(), name) as sock:
            assert sock.getpeercert()
    # Only one kind of key in each handshake: a client that could take both gets the right one.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with handshake(relais, context, 'a.test') as sock:
        assert 'RSA' in sock.cipher()[0]
    with handshake(relais, context, 'x.b.test') as sock:
        assert 'ECDSA' in sock.cipher()[0]


def test_the_common_default(gateway, provider, certificates):
    common, own = certificates.make(), certificates.make()
    relais = gateway(config([provider(good())], server={
        'tls': pair(*common), 'admin': tls_listener(True),
        'listen': [tls_listener(True), tls_listener(pair(*own)), '127.0.0.1:0', tls_listener({'enabled': False}),
                   tls_listener({})]}))
    context = client_context(certificates)
    assert [scheme for scheme, _, _ in relais.addresses['data']] == ['https', 'https', 'http', 'http', 'https']
    assert shown(relais, context, at=0) == shown(relais, context, at=4) == leaf(common[0])
    assert shown(relais, context, at=1) == leaf(own[0])
    with Client(*relais.address('data', 2)) as client:
        assert client.post('/v1/chat/completions', CHAT).status == 200
    with Client(*relais.admin, tls=certificates.client_context()) as client:
        assert len(client.get('/status').json()['listeners']) == 5


def test_the_status_command_finds_a_plain_listener(gateway, provider, certificates, tmp_path_factory):
    tls, path = pair(*certificates.make()), tmp_path_factory.mktemp('u') / 's'
    relais = gateway(config([provider(good())], server={'admin': [tls_listener(tls), f'unix:{path}']}))
    done = run('status', '--config', relais.config_path)
    assert done.returncode == 0 and 'assistant' in done.stdout, done.stderr
    relais.write_config(config([provider(good())], server={'admin': [tls_listener(tls)]}))
    done = run('status', '--config', relais.config_path)
    assert done.returncode == 2 and 'without TLS' in done.stderr, done.stderr


# --- clients' certificates --------------------------------------------------------------------------------------------

def test_client_certificates(secure, certificates, tmp_path):
    relais = secure({**pair(*certificates.make()), 'client_ca': certificates.ca})
    stranger = harness.Certificates(str(tmp_path))

    def context(certificate, key):
        made = certificates.client_context()
        made.load_cert_chain(certificate, key)
        return made
    ours = context(*certificates.make('client', client=True))
    with relais.client(tls=ours) as client:
        for _ in range(3):
            assert client.post('/v1/chat/completions', CHAT).status == 200
    for bad in (certificates.client_context(), context(*certificates.make('client')),
                context(*stranger.make('client', client=True)),
                context(*certificates.make('client', client=True, expired=True)),
                context(*certificates.make('client', client=True, self_signed=True))):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            bad.maximum_version = version
            assert refused(relais, bad, 'localhost')
    assert relais.client(tls=ours).get('/health').status == 200
    assert len(relais.access_log(3)) == 3  # whom we did not let in asked nothing


def test_a_demand_made_by_a_reload_holds_for_old_tickets(secure, certificates):
    served = pair(*certificates.make())
    relais = secure(served)
    context = client_context(certificates, maximum_version=ssl.TLSVersion.TLSv1_2)
    with handshake(relais, context) as sock:
        session = sock.session
    with open(relais.config_path, encoding='utf-8') as file:
        text = file.read().replace('"tls": {', f'"tls": {{"client_ca": "{certificates.ca}", ')
    relais.write_config(text)
    assert relais.admin_request('POST', '/reload').status == 200
    sock = socket.create_connection(relais.data, timeout=10 * SLOW)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with context.wrap_socket(sock, session=session) as sock:
            sock.sendall(b'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
            assert not sock.recv(1)
            raise ConnectionResetError


# --- reloads ----------------------------------------------------------------------------------------------------------

def generation(relais):
    return relais.status()['config_generation']


def reload(relais):
    before = generation(relais)
    relais.signal(signal.SIGHUP)
    eventually(lambda: generation(relais) > before, what='the next generation', every_s=0.005)


def test_a_renewed_certificate(secure, certificates, tmp_path):
    old, new = certificates.make(), certificates.make()
    served = str(tmp_path / 'served.pem'), str(tmp_path / 'served.key')
    for source, target in zip(old, served):
        shutil.copy(source, target)
    relais = secure(pair(*served))
    context = client_context(certificates)
    with relais.client(tls=certificates.client_context()) as client:
        assert client.get('/health').status == 200
        for source, target in zip(new, served):
            shutil.copy(source, target)
        assert shown(relais, context) == leaf(old[0])  # not before it is told to
        reload(relais)
        assert shown(relais, context) == leaf(new[0])
        assert client.post('/v1/chat/completions', CHAT).status == 200  # on the old one
        assert ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(True)) == leaf(old[0])
    # What is no good changes nothing, and is named.
    shutil.copy(old[1], served[1])
    reply = relais.admin_request('POST', '/reload')
    assert reply.status == 422
    line = next(x for x in reply.json()['report'] if 'tls.key' in x)
    assert 'relais.yaml:' in line and 'not the key of' in line, line
    os.unlink(served[0])
    reply = relais.admin_request('POST', '/reload')
    assert any('server.listen.tls.certificate: the file is not there' in x for x in reply.json()['report'])
    assert shown(relais, context) == leaf(new[0])
    assert relais.status()['reloads_rejected'] == 2


def test_two_doors_at_port_0_keep_their_locks(gateway, provider, certificates):
    """The same address in the configuration, told apart by its order there."""
    certificate, key = certificates.make()
    listen = ['127.0.0.1:0', {'address': '127.0.0.1:0', 'tls': {'certificate': certificate, 'key': key}}]
    relais = gateway(config([provider(good())], server={'listen': listen}))
    for _ in range(2):
        with harness.Client(*relais.address('data', 0)) as client:
            assert client.get('/health').status == 200
        with harness.Client(*relais.address('data', 1), tls=certificates.client_context()) as client:
            assert client.get('/health').status == 200
        reload(relais)


def test_fifty_reloads_under_load(secure, certificates):
    relais = secure(workers=2)
    stopping, wrong, answered = threading.Event(), [], []

    def work(number):
        context = certificates.client_context()
        client = relais.client(tls=context)
        turn = 0
        while not stopping.is_set() and not wrong:
            turn += 1
            try:
                if turn % (3 + number) == 0:
                    client.close()
                    client = relais.client(tls=context)
                stream = (turn + number) % 2 == 0
                reply = client.post('/v1/chat/completions', {**CHAT, 'stream': stream})
                text = reply.stream_text() if stream else reply.json()['choices'][0]['message']['content']
                if reply.status != 200 or text != 'hello':
                    wrong.append(reply)
                answered.append(1)
            except Exception as problem:  # whatever it is, a client saw it
                wrong.append(problem)
        client.close()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    descriptors = 0
    try:
        for number in range(50):
            reload(relais)
            if number == 10:
                descriptors = relais.descriptors()
    finally:
        stopping.set()
        for thread in threads:
            thread.join(harness.WAIT_S)
    assert not wrong, wrong[:3]
    assert len(answered) > 20 and generation(relais) == 51
    eventually(lambda: relais.descriptors() <= descriptors + 4, what='the end of unused connections')
    records = relais.access_log(len(answered))
    assert len(records) == len(answered) and {r['outcome'] for r in records} == {'ok'}


# --- certificates that are no good ------------------------------------------------------------------------------------

def test_what_is_no_good_is_named(certificates, tmp_path):
    certificate, key = certificates.make()
    _, other_key = certificates.make()
    made = {'nonsense': b'nonsense\n', 'empty': b'', 'locked.key': None, 'small.key': None, 'small.pem': None}
    paths = {name: str(tmp_path / name) for name in made}
    for name, text in made.items():
        if text is not None:
            with open(paths[name], 'wb') as file:
                file.write(text)
    certificates.openssl('ec', '-in', key, '-aes128', '-passout', 'pass:secret', '-out', paths['locked.key'])
    certificates.openssl('req', '-x509', '-newkey', 'rsa:1024', '-nodes', '-subj', '/CN=small', '-days', '3',
                          '-keyout', paths['small.key'], '-out', paths['small.pem'])
    cases = [
        (pair('/nonexistent', key), 'certificate', 'is not there'),
        (pair(str(tmp_path), key), 'certificate', 'cannot be read'),
        (pair(certificate, '/nonexistent'), 'key', 'is not there'),
        (pair(paths['nonsense'], key), 'certificate', 'holds no certificate'),
        (pair(paths['empty'], key), 'certificate', 'holds no certificate'),
        (pair(key, key), 'certificate', 'holds no certificate'),
        (pair(certificate, paths['nonsense']), 'key', 'holds no private key'),
        (pair(certificate, other_key), 'key', 'not the key of'),
        (pair(certificate, paths['locked.key']), 'key', 'pass phrase'),
        (pair(paths['small.pem'], paths['small.key']), 'certificate', 'too weak'),
        ({**pair(certificate, key), 'certificates': [pair(certificate, other_key)]}, 'key', 'not the key of'),
        ({**pair(certificate, key), 'client_ca': paths['nonsense']}, 'client_ca', 'holds no'),
        ({**pair(certificate, key), 'client_ca': '/nonexistent'}, 'client_ca', 'is not there'),
    ]
    file = tmp_path / 'relais.yaml'
    for tls, where, what in cases:
        lines = '\n'.join(f'        {k}: {v if isinstance(v, str) else list(v)}' for k, v in tls.items())
        file.write_text(f'server:\n  admin: []\n  listen:\n    - address: 127.0.0.1:0\n      tls:\n{lines}\n'
                        'providers: {p: {base_url: "http://127.0.0.1:9"}}\n')
        at = 6 + list(tls).index(where) if where in tls and 'certificates' not in tls else 8
        for command in (['check', str(file)], ['serve', '--config', str(file)]):
            done = run(*command)
            said = done.stdout + done.stderr
            line = next((x for x in said.split('\n') if f'server.listen.tls.{where}' in x), said)
            assert done.returncode == 2 and f'{file}:{at}:' in line and what in line, (tls, said)


# --- peers that do not speak it ---------------------------------------------------------------------------------------

def test_plain_http_is_told_so(secure):
    relais = secure()
    for first in (b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n'
                  b'Content-Length: 100000\r\n\r\n' + b'x' * 5000):
        got = raw(*relais.data, first)
        assert got.data.startswith(b'HTTP/1.1 400 ') and b'https://' in got.data and got.closed
        head, body = got.data.split(b'\r\n\r\n', 1)
        assert f'content-length: {len(body)}'.encode() in head
    assert not relais.access_log()


def test_slow_and_strange_handshakes(certificates):
    """Whoever does not come to an end is gone after header_timeout, and a polite client notices nothing."""
    server = {'header_timeout': '700ms', 'listen': ['127.0.0.1:0', tls_listener(pair(*certificates.make()))]}
    with Siege(server=server) as siege:
        relais = siege.relais
        address = relais.address('data', 1)
        # One byte a write: slow for a network, not for a handshake.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        speaker = certificates.client_context().wrap_bio(incoming, outgoing, server_hostname='localhost')
        with pytest.raises(ssl.SSLWantReadError):
            speaker.do_handshake()
        hello = outgoing.read()
        with socket.create_connection(address, timeout=10 * SLOW) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for n in range(len(hello)):
                sock.sendall(hello[n:n + 1])
            assert sock.recv(1) == b'\x16'  # its ServerHello
        # Nothing, a part, the same again and again, noise: all end by the time-out or at once.
        idle = [socket.create_connection(address, timeout=10 * SLOW) for _ in range(20)]
        for n, sock in enumerate(idle[5:15]):
            sock.sendall(hello[:1 + n * 20])
        for first in (b'\x00' * 200, b'\xff' * 200, b'SSH-2.0-x\r\n', b'\x16\x03\x01\xff\xff' + b'\x01' * 300,
                      b'\x80\x2e\x01\x00\x02' + b'\0' * 60, b'\x15\x03\x01\x00\x02\x02\x28', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
                      hello[:60] + b'\xff' * 400, b'\x17\x03\x03\x00\x05hello'):
            got = raw(*address, first)
            assert got.closed and len(got.data) < 64, (first[:10], got)
        begin = time.monotonic()
        for sock in idle:
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            sock.close()
        assert time.monotonic() - begin < 5 * SLOW
        # A client that leaves in the middle of each step.
        for cut in range(0, len(hello), 40):
            with socket.create_connection(address, timeout=10 * SLOW) as sock:
                sock.sendall(hello[:cut])
        with Client(*address, tls=certificates.client_context()) as client:
            assert client.get('/health').status == 200
