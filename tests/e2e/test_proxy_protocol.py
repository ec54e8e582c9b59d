# SPDX-License-Identifier: Apache-2.0
"""Listeners behind a balancer that speaks the PROXY protocol: who the client is, that nothing of it is lost or taken twice
however it is cut, before TLS too, and that nobody comes in without a head."""
import json
import socket
import ssl
import struct
import time

import pytest

import harness
from harness import SLOW, Client, raw
from hostile import Siege, answer_status, post
from kit import config, good

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'


def v1(source='192.0.2.7', destination='198.51.100.2', sport=4711, dport=443):
    family = 6 if ':' in source else 4
    return f'PROXY TCP{family} {source} {destination} {sport} {dport}\r\n'.encode()


def v2(source='192.0.2.7', sport=4711, tlvs=b'', command=1):
    kind, family = (2, socket.AF_INET6) if ':' in source else (1, socket.AF_INET)
    address = socket.inet_pton(family, source)
    block = address * 2 + struct.pack('>HH', sport, 443) + tlvs
    return SIGNATURE + bytes([0x20 | command, kind << 4 | 1]) + struct.pack('>H', len(block)) + block


REQUEST = post(body=b'{"model":"assistant","messages":[]}')


@pytest.fixture
def behind(gateway, provider):
    """behind(...) -> a gateway with a PROXY listener, and an ordinary one beside it"""
    def make(address='127.0.0.1:0', tls=None, **server):
        listen = {'address': address, 'proxy_protocol': True, **({'tls': tls} if tls else {})}
        return gateway(config([provider(good())], server={'listen': [listen, '127.0.0.1:0'], **server}))
    return make


def host(record):
    return record['peer'].rpartition(':')[0].strip('[]')


def peer(relais, count=1):
    return host(relais.access_log(count)[count - 1])


@pytest.mark.parametrize('head, client', [
    (v1(), '192.0.2.7'), (v2(), '192.0.2.7'), (v1('2001:db8::7', '2001:db8::8'), '2001:db8::7'), (v2('2001:db8::7'), '2001:db8::7'),
    (v2(tlvs=b'\x01\x00\x02h2' + b'\x04\x00\x08' + b'\0' * 8), '192.0.2.7'), (v2(tlvs=b'\x04\x02\x00' + b'x' * 505), '192.0.2.7'),
    (b'PROXY UNKNOWN\r\n', '127.0.0.1'), (b'PROXY UNKNOWN whatever this is\r\n', '127.0.0.1'),
    (v2(command=0), '127.0.0.1'), (SIGNATURE + b'\x20\0\0\0', '127.0.0.1'), (SIGNATURE + b'\x21\0\0\x03abc', '127.0.0.1'),
    (SIGNATURE + b'\x21\x31\0\xd8' + b'/tmp/x'.ljust(216, b'\0'), '127.0.0.1')],
    ids=['v1', 'v2', 'v1-ipv6', 'v2-ipv6', 'tlvs', 'longest', 'unknown', 'unknown-more', 'local-with-block', 'local', 'unspecified',
         'unix'])
def test_the_client_is_whom_the_head_names(behind, head, client):
    relais = behind()
    got = raw(*relais.data, head + REQUEST)
    assert answer_status(got.data) == 200, got
    assert peer(relais) == client


def test_every_cut(behind):
    relais = behind()
    for count, head in enumerate((v1(), v2(tlvs=b'\x04\x00\x01x')), 1):
        whole = head + REQUEST
        for cut in range(1, len(head) + 2):
            got = raw(*relais.data, pieces=[whole[:cut], whole[cut:]], gap_s=0.001)
            assert answer_status(got.data) == 200, (count, cut, got)
        got = raw(*relais.data, pieces=[whole[n:n + 1] for n in range(len(whole))])
        assert answer_status(got.data) == 200, got
    records = relais.access_log(len(v1()) + len(v2()) + 8)
    assert {host(r) for r in records} == {'192.0.2.7'} and {r['status'] for r in records} == {200}


def test_one_head_a_connection(behind):
    """What follows is the client's: a kept-alive connection goes on without, and a second head is no request."""
    relais = behind()
    with socket.create_connection(relais.data, timeout=10 * SLOW) as sock:
        client = Client.__new__(Client)
        client.sock, client.host, client.port, client.pending, client.within_s = sock, 'localhost', 80, b'', 10 * SLOW
        sock.sendall(v1())
        for _ in range(3):
            assert client.get('/v1/models').status == 200
    got = raw(*relais.data, v1() + v1('203.0.113.9') + REQUEST)
    assert got.closed and not got.data  # neither version of HTTP
    assert {host(r) for r in relais.access_log(3)} == {'192.0.2.7'}


def test_before_tls(behind, certificates):
    certificate, key = certificates.make()
    relais = behind(tls={'certificate': certificate, 'key': key})
    for head in (v1(), v2()):
        with socket.create_connection(relais.data, timeout=10 * SLOW) as sock:
            sock.sendall(head)
            with certificates.client_context().wrap_socket(sock, server_hostname='localhost') as secure:
                secure.sendall(REQUEST)
                assert answer_status(harness.read_socket(secure).data) == 200
    assert {host(r) for r in relais.access_log(2)} == {'192.0.2.7'}
    with pytest.raises((ssl.SSLError, ConnectionError)):  # a handshake is no head
        Client(*relais.data, tls=certificates.client_context())


def test_on_a_unix_socket(behind, tmp_path_factory):
    path = tmp_path_factory.mktemp('u') / 's'
    relais = behind(f'unix:{path}')
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10 * SLOW)
        sock.connect(str(path))
        sock.sendall(v2() + REQUEST)
        assert answer_status(harness.read_socket(sock).data) == 200
    assert peer(relais) == '192.0.2.7'


def test_it_is_the_hop_before_forwarding_headers(behind):
    """The head names who connected to the balancer; only if that is a trusted proxy its X-Forwarded-For counts."""
    relais = behind(trusted_proxies=['192.0.2.0/24'])
    for source, client in (('192.0.2.7', '203.0.113.9'), ('198.51.100.77', '198.51.100.77')):
        raw(*relais.data, v1(source) + post(b'X-Forwarded-For: 203.0.113.9', body=b'{"model":"assistant","messages":[]}'))
        records = relais.access_log(1 if client == '203.0.113.9' else 2)
        assert host(records[-1]) == client, json.dumps(records[-1])


def test_nobody_else_comes_in(gateway, provider):
    """Beyond this machine only trusted proxies: others are closed before a byte is read."""
    own = next((a for a in own_addresses() if not a.startswith('127.')), None)
    if not own:
        pytest.skip('this machine has no address but loopback')
    server = {'listen': [{'address': '0.0.0.0:0', 'proxy_protocol': True}], 'auth': 'none'}
    relais = gateway(config([provider(good())], server=server))
    port = relais.data[1]
    got = raw(own, port, v1() + REQUEST)
    assert got.closed and not got.data
    harness.eventually(lambda: f'{own}' in relais.stderr and 'trusted_proxies' in relais.stderr, what='the warning')
    relais.write_config(config([relais_provider(relais)], server={**server, 'listen': [
        {'address': '0.0.0.0:0', 'proxy_protocol': True}], 'trusted_proxies': [f'{own}/32']}))
    assert relais.admin_request('POST', '/reload').status == 200
    assert answer_status(raw(own, port, v1() + REQUEST).data) == 200


def relais_provider(relais):
    with open(relais.config_path, encoding='utf-8') as file:
        return json.load(file)['providers']['a']['base_url']


def own_addresses():
    """The address that this machine would use towards another; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(('192.0.2.1', 9))
            return [sock.getsockname()[0]]
        except OSError:
            return []


def test_what_is_no_head():
    """Closed at once and without a word, while a polite client beside it is served."""
    listen = ['127.0.0.1:0', {'address': '127.0.0.1:0', 'proxy_protocol': True}]
    with Siege(server={'listen': listen, 'header_timeout': '700ms'}) as siege:
        address = siege.relais.address('data', 1)
        bad = [REQUEST, b'\x16\x03\x01\x02\x00', b'PROXY\r\n', b'PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n', b'PROXY ' + b'x' * 200,
               b'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\n' + b'x' * 100, v1('1.2.3.4', '5.6.7.8', sport=70000), v2()[:12] + b'\x11' + v2()[13:],
               SIGNATURE + b'\x21\x11\xff\xff', SIGNATURE + b'\x21\x11\x02\x09', SIGNATURE + b'\x21\x12\0\x0c' + b'x' * 12,
               SIGNATURE + b'\x21\x11\0\x04abcd', b'\r\n\r\n\0\r\nQUIT\r']
        for first in bad:
            got = raw(*address, first, within_s=10 * SLOW)
            assert got.closed and not got.data, (first[:30], got)
        begin = time.monotonic()
        socks = [socket.create_connection(address, timeout=10 * SLOW) for _ in range(20)]
        for n, sock in enumerate(socks):
            sock.sendall(v2()[:n])  # and then nothing: the time-out of the head ends it
        for sock in socks:
            try:
                assert sock.recv(1) == b''
            except ConnectionResetError:
                pass
            sock.close()
        assert time.monotonic() - begin < 5 * SLOW
