# SPDX-License-Identifier: Apache-2.0
"""FAULTS 15, 35, 95: what one client address may do. Addresses are given by X-Forwarded-For from a trusted loopback
proxy. Buckets fill while a slow machine works: so each test says how many may pass in the time that went by."""
import time

import pytest

import harness
from hostile import post as bytes_of
from kit import MEMORY, config, good
from test_callers import CHAT, JSON, bearer, new_key

TRUSTED = {'trusted_proxies': ['127.0.0.1/32'], 'workers': 2}
FEW = {'inference': {'rate': 1, 'burst': 5}, 'auth': {'rate': 1, 'burst': 5}}


def limited(gateway, provider, limits=FEW, **more):
    settings = config([provider(good())], server={**TRUSTED, 'rate_limit': limits})
    settings.update(more)
    return gateway(settings)


def forwarded(address):
    return ('X-Forwarded-For', address)


def count(statuses, status):
    return sum(1 for s in statuses if s == status)


class Timed:
    """How many a bucket may have let pass while the block ran."""

    def __init__(self, rate=1, burst=5):
        self.rate, self.burst = rate, burst

    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.most = self.burst + int((time.monotonic() - self.began) * self.rate) + 1

    def judge(self, passed, of):
        assert min(self.burst, of) <= passed <= min(self.most, of), f'{passed} of {of} passed, {self.most} may have'


def test_beyond_the_burst(gateway, provider):
    relais = limited(gateway, provider)
    with relais.client() as client, Timed() as timed:
        replies = [client.post('/v1/chat/completions', CHAT, [forwarded('203.0.113.1')]) for _ in range(40)]
    timed.judge(count([r.status for r in replies], 200), 40)
    refused = [r for r in replies if r.status != 200]
    for reply in refused:
        assert reply.status == 429 and reply.header('retry-after') == '1'
        error = reply.json()['error']
        assert error['code'] == 'rate_limit_exceeded' and 'server.rate_limit.inference' in error['message']
    records = [r for r in relais.access_log(40) if r['status'] == 429]
    assert len(records) == len(refused)
    assert {(r['outcome'], r['error'], r['peer'].partition(':')[0]) for r in records} == \
        {('refused', 'rate_limit', '203.0.113.1')}
    assert f'relais_rate_limited_total{{limit="inference"}} {len(refused)}' in relais.admin_request('GET', '/metrics').text
    # Nobody else pays for it, and after a while it may ask again.
    assert relais.chat(headers=[forwarded('203.0.113.2')]).status == 200
    harness.eventually(lambda: relais.chat(headers=[forwarded('203.0.113.1')]).status == 200, what='a token', every_s=0.3)


def test_pipelined_requests_count_each(gateway, provider):
    """15: a thousand requests in one write are a thousand requests."""
    relais = limited(gateway, provider)
    request = b'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n'
    with relais.client(within_s=30 * harness.SLOW) as client, Timed() as timed:
        client.sock.sendall(request * 1000)
        statuses = [client.read_reply().status for _ in range(1000)]
    timed.judge(count(statuses, 200), 1000)
    assert count(statuses, 200) + count(statuses, 429) == 1000


def test_connections_and_workers_share_one_bucket(gateway, provider):
    relais = limited(gateway, provider)
    clients = [relais.client() for _ in range(8)]
    with Timed() as timed:
        for client in clients * 4:
            client.send('GET', '/v1/models', None, [forwarded('203.0.113.1')])
        statuses = [client.read_reply().status for client in clients * 4]
    timed.judge(count(statuses, 200), 32)
    for client in clients:
        client.close()


@pytest.mark.parametrize('addresses', [
    [f'2001:db8:1:2:{i:x}::{i:x}' for i in range(1, 30)],  # one /64
    ['203.0.113.1', '[::ffff:203.0.113.1]:99', '203.0.113.1:1234', '6.6.6.6, 203.0.113.1'] * 7])
def test_spellings_of_one_client(gateway, provider, addresses):
    """95: neither a new address in one's own network nor a forged hop makes a new client."""
    relais = limited(gateway, provider)
    with relais.client() as client, Timed() as timed:
        statuses = [client.get('/v1/models', [forwarded(a)]).status for a in addresses]
    timed.judge(count(statuses, 200), len(addresses))


def test_each_client_has_its_own(gateway, provider):
    relais = limited(gateway, provider)
    addresses = [f'203.0.113.{i}' for i in range(100)] + [f'2001:db8:1:{i:x}::1' for i in range(100)]
    with relais.client() as client:
        for address in addresses * 3:
            assert client.get('/v1/models', [forwarded(address)]).status == 200


@pytest.mark.parametrize('server, headers', [
    (TRUSTED, []), (TRUSTED, [('X-Forwarded-For', '127.0.0.1')]),
    ({}, [('X-Forwarded-For', '203.0.113.1')]), ({}, [('Forwarded', 'for=203.0.113.1')])])
def test_who_is_on_loopback_is_free(gateway, provider, server, headers):
    """Also with headers that nobody may send who is not a trusted proxy."""
    settings = config([provider(good())], server={**server, 'rate_limit': FEW})
    with gateway(settings).client() as client:
        assert {client.get('/v1/models', headers).status for _ in range(60)} == {200}


def test_health_is_free(gateway, provider):
    with limited(gateway, provider).client() as client:
        assert {client.get('/health', [forwarded('203.0.113.1')]).status for _ in range(60)} == {200}


def test_a_rate_of_zero_is_no_limit(gateway, provider):
    off = {'inference': {'rate': 0}, 'auth': {'rate': 0}}
    with limited(gateway, provider, off).client() as client:
        assert {client.get('/v1/models', [forwarded('203.0.113.1')]).status for _ in range(300)} == {200}


def test_the_refusal_comes_before_the_body(gateway, provider):
    relais = limited(gateway, provider, {'inference': {'rate': 1, 'burst': 1}})

    def refused():
        """With no 100 before it, unless a token came just then."""
        received = harness.raw(*relais.data, bytes_of(
            b'X-Forwarded-For: 203.0.113.1', b'Expect: 100-continue', b'Content-Length: 5000000', length=False, body=b''),
            until=b'\r\n\r\n')
        assert received.data[9:12] in (b'429', b'100')
        return received.data[9:12] == b'429'
    harness.eventually(refused, what='a refusal', every_s=0)


def test_guessing_keys(gateway, provider):
    """A 401 takes from a bucket of its own; when that is empty not even the right key is told from a wrong one."""
    key, digest = new_key()
    relais = limited(gateway, provider, {'auth': {'rate': 1, 'burst': 5}}, clients={'team': {'key': digest}})
    mine = [forwarded('203.0.113.1')]
    with relais.client() as client, Timed() as timed:
        statuses = [client.post('/v1/chat/completions', CHAT, mine + bearer(f'rl-guess-{i}')).status for i in range(40)]
        right = client.post('/v1/chat/completions', CHAT, mine + bearer(key))
    timed.judge(count(statuses, 401), 40)
    assert count(statuses, 401) + count(statuses, 429) == 40
    assert right.status in ({429} if timed.most == 6 else {200, 429})
    if right.status == 429:
        assert 'server.rate_limit.auth' in right.json()['error']['message'] and right.header('retry-after') == '1'
    # Who holds a key is not limited by it, however many requests there are.
    other = [forwarded('203.0.113.2')] + bearer(key)
    with relais.client() as client:
        assert {client.post('/v1/chat/completions', CHAT, other).status for _ in range(60)} == {200}
    metrics = relais.admin_request('GET', '/metrics').text
    refused = count(statuses, 429) + (right.status == 429)
    assert f'relais_rate_limited_total{{limit="auth"}} {refused}' in metrics


def test_guessing_the_admin_token(gateway, provider):
    """The same allowance guards it."""
    token = 'the-admin-token-0123456789'
    relais = gateway(config([provider(good())], server={**TRUSTED, 'admin_token': token,
                                                        'rate_limit': {'auth': {'rate': 1, 'burst': 5}}}))
    right = ('Authorization', f'Bearer {token}')

    def status(address, *headers):
        return relais.admin_request('GET', '/status', None, [forwarded(address), *headers])

    with Timed() as timed:
        replies = [status('203.0.113.1', ('Authorization', f'Bearer guess-{i}')) for i in range(40)]
        last = status('203.0.113.1', right)
    timed.judge(count([r.status for r in replies], 401), 40)
    assert {r.status for r in replies} == {401, 429}
    for reply in replies:
        assert (reply.header('retry-after') == '1') == (reply.status == 429)
        assert (reply.header('www-authenticate') is not None) == (reply.status == 401)
    assert last.status == 429 or timed.most > 6
    assert {status('203.0.113.2', right).status for _ in range(30)} == {200}
    # Who is on loopback can always look after it.
    assert {relais.admin_request('GET', '/status').status for _ in range(30)} == {401}
    assert relais.admin_request('GET', '/status', None, [right]).status == 200
    assert relais.admin_request('GET', '/health', None, [forwarded('203.0.113.1')]).status == 200


def test_a_flood_of_addresses(gateway, provider):
    """95: ten thousand clients that come but once take no memory, and put nobody off who is over the limit."""
    relais = limited(gateway, provider)
    line = b'GET /v1/models/a/m HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: %s\r\n\r\n'
    with relais.client(within_s=60 * harness.SLOW) as client, Timed() as timed:
        client.sock.sendall(line % b'203.0.113.1' * 20)
        passed = count([client.read_reply().status for _ in range(20)], 200)
        before = relais.memory_kib()
        for batch in range(100):
            client.sock.sendall(b''.join(line % b'2001:db8:%x:%x::1' % (batch, i) for i in range(100)))
            assert {client.read_reply().status for _ in range(100)} == {200}
        grown = relais.memory_kib() - before
        client.sock.sendall(line % b'203.0.113.1' * 20)
        passed += count([client.read_reply().status for _ in range(20)], 200)
    timed.judge(passed, 40)
    assert grown < 4096 * MEMORY


def test_a_reload_changes_the_limit(gateway, provider):
    relais = limited(gateway, provider, {'inference': {'rate': 1, 'burst': 1000000}})
    headers = JSON + [forwarded('203.0.113.1')]
    with relais.client() as client:
        assert {client.get('/v1/models', headers).status for _ in range(100)} == {200}  # 100 s of debt
        changed = config([relais.base_url], server={**TRUSTED, 'rate_limit': {'inference': {'rate': 2, 'burst': 1}}})
        relais.reload(changed)

        def refused():
            client.sock.sendall(b'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n' * 50)
            return 429 in [client.read_reply().status for _ in range(50)]
        harness.eventually(refused, what='the new limit')
        # By the new rule it owes at most half a second, not the hundred of before.
        harness.eventually(lambda: client.get('/v1/models', headers).status == 200, what='a token', every_s=0.05)


# --- connections ------------------------------------------------------------------------------------------------------

def test_connections_of_one_address(gateway, provider):
    """35: one more than the cap is closed at once; those that are there are served, and a place that is left is free."""
    relais = gateway(config([provider(good())], server={'max_connections_per_address': 5, 'workers': 2}))
    clients = [relais.client() for _ in range(5)]
    for client in clients:
        assert client.post('/v1/chat/completions', CHAT).status == 200
    for _ in range(20):
        with relais.client() as one_more:
            assert one_more.closed_by_peer()
    assert clients[0].get('/health').status == 200
    clients[1].close()

    def served():
        try:
            with relais.client() as client:
                return client.get('/health').status == 200
        except (OSError, harness.HttpError):
            return False
    harness.eventually(served, what='a free place')
    assert relais.metrics()['relais_connections_refused_total'] >= 20
    # The admin plane has no cap: who must look after a crowd gets in.
    assert {relais.admin_request('GET', '/health').status for _ in range(10)} == {200}
    # A reload changes it, for connections to come.
    relais.reload(config([relais.base_url], server={'max_connections_per_address': 100}))
    harness.eventually(lambda: relais.status()['config_generation'] == 2, what='the reload')
    more = [relais.client() for _ in range(20)]
    assert [c.get('/health').status for c in more] == [200] * 20
    for client in more + clients:
        client.close()


def test_a_trusted_proxy_has_no_cap(gateway, provider):
    relais = gateway(config([provider(good())], server={**TRUSTED, 'max_connections_per_address': 2}))
    clients = [relais.client() for _ in range(20)]
    assert [c.get('/health').status for c in clients] == [200] * 20
    for client in clients:
        client.close()


def test_the_client_that_a_proxy_names_in_its_head(gateway, provider):
    """By PROXY protocol as by X-Forwarded-For: the client is limited, over all connections of the proxy's."""
    listen = {'address': '127.0.0.1:0', 'proxy_protocol': True}
    relais = gateway(config([provider(good())], server={'listen': listen, 'workers': 2, 'rate_limit': FEW}))
    request = b'GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n'

    def statuses(address, n):
        with harness.Client(*relais.data) as client:
            client.sock.sendall(b'PROXY TCP4 %s 127.0.0.1 1 2\r\n' % address + request * n)
            return [client.read_reply().status for _ in range(n)]
    with Timed() as timed:
        answers = [status for _ in range(4) for status in statuses(b'203.0.113.1', 10)]
        assert statuses(b'203.0.113.2', 3) == [200] * 3
    timed.judge(count(answers, 200), 40)
