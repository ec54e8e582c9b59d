# SPDX-License-Identifier: Apache-2.0
"""What stands between a client and the first step, over HTTP/2: limits by address count streams (FAULTS 95), packed bodies
in DATA frames (43), pages of other origins (83), the fields that browsers heed."""
import json
import random

import pytest

from h2kit import CHAT, H2Client
from kit import MEMORY, config, good
from test_cors import PAGE
from test_json_bodies import Echo
from test_json_sizes import bomb, gzipped, padded
from test_limits import Timed, count, limited

MODELS = '/v1/models'


def over(gateway, provider, script, **server):
    """A gateway whose provider h offers m, as the bodies of other tests ask for it."""
    return gateway({'server': server, 'providers': {'h': {'base_url': provider(script).base_url, 'models': ['m']}}})


def packed(body, coding='gzip'):
    return 'POST', CHAT, body, [('content-encoding', coding)]


def test_streams_count_as_requests(gateway, provider):
    relais = limited(gateway, provider)
    with H2Client(relais.data) as client, Timed() as timed:
        streams = [client.request('GET', MODELS, None, [('x-forwarded-for', '203.0.113.1')]) for _ in range(60)]
        client.finish(*streams)
        statuses = [s.status for s in streams]
        assert client.finish(client.request('GET', MODELS, None, [('x-forwarded-for', '203.0.113.2')])).status == 200
    timed.judge(count(statuses, 200), 60)
    assert count(statuses, 200) + count(statuses, 429) == 60
    assert all(s.headers['retry-after'] == '1' for s in streams if s.status == 429)


def test_packed_bodies(gateway, provider):
    echo = Echo()
    relais = over(gateway, provider, echo)
    body = padded(300000)
    with H2Client(relais.data) as client:
        for _ in range(3):
            assert client.finish(client.request(*packed(gzipped(body)))).status == 200
            assert echo.bodies.pop() == body.replace(b'"h/m"', b'"m"', 1)
        stream = client.open('POST', CHAT, [('content-type', 'application/json'), ('content-encoding', 'gzip')], end=False)
        small = gzipped(padded(100))
        for i in range(len(small)):
            client.data(stream, small[i:i + 1], end=i + 1 == len(small))
        assert client.finish(stream).status == 200
        assert echo.bodies.pop() == padded(100).replace(b'"h/m"', b'"m"', 1)
        for wrong, coding, status in ((gzipped(body)[:-9], 'gzip', 400), (padded(100), 'gzip', 400), (b'x', 'br', 415),
                                      (gzipped(body), 'gzip, gzip', 400)):
            assert client.finish(client.request(*packed(wrong, coding))).status == status
        assert client.finish(client.chat(model='h/m')).status == 200  # the connection is as good as before


def test_bombs(gateway, provider):
    relais = over(gateway, provider, good())
    data = bomb(64 << 20)
    with H2Client(relais.data) as client:
        before = relais.memory_kib()
        streams = [client.request(*packed(data)) for _ in range(10)]
        client.finish(*streams)
        assert {s.status for s in streams} == {413}
        assert relais.memory_kib() - before < 32 * 1024 * MEMORY


def test_packed_bodies_wait_for_the_budget(gateway, provider):
    """Streams of one connection that together unpack to more than the budget: each is answered, and the memory is bounded."""
    relais = over(gateway, provider, Echo(), body_memory='4MiB', max_body='2MiB')
    body = json.dumps({'model': 'h/m', 'messages': [], 'pad': random.Random(5).randbytes(4096).hex() * 120}).encode()
    data = gzipped(body)
    assert 20 < len(body) / len(data) < 200
    with H2Client(relais.data) as client:
        before = relais.memory_kib()
        streams = [client.request(*packed(data)) for _ in range(30)]
        client.finish(*streams)
        assert {s.status for s in streams} <= {200, 503} and 200 in {s.status for s in streams}
        assert relais.memory_kib() - before < 32 * 1024 * MEMORY


def test_pages_of_other_origins(gateway, provider):
    relais = gateway(config([provider(good())], server={'cors': {'origins': [PAGE]}}))
    asked = [('origin', PAGE), ('access-control-request-method', 'POST'), ('access-control-request-headers', 'authorization')]
    with H2Client(relais.data) as client:
        answer = client.finish(client.request('OPTIONS', CHAT, None, asked))
        assert answer.status == 204 and 'content-length' not in answer.headers
        assert answer.headers['access-control-allow-origin'] == PAGE
        assert answer.headers['access-control-allow-headers'] == 'authorization'
        for stream in (client.chat(headers=[('origin', PAGE)]), client.request('GET', '/nowhere', None, [('origin', PAGE)])):
            assert client.finish(stream).headers['access-control-allow-origin'] == PAGE
        refused = client.finish(client.chat(headers=[('origin', 'https://evil.example')]))
        assert refused.status == 403 and 'access-control-allow-origin' not in refused.headers


@pytest.mark.parametrize('secure', [False, True])
def test_fields_that_browsers_heed(gateway, provider, certificates, secure):
    listen, context = '127.0.0.1:0', None
    if secure:
        certificate, key = certificates.make()
        listen = {'address': listen, 'tls': {'certificate': certificate, 'key': key}}
        context = certificates.client_context()
        context.check_hostname = False
        context.set_alpn_protocols(['h2'])
    relais = gateway(config([provider(good())], server={'listen': listen, 'hsts': '1h'}))
    with H2Client(relais.data, tls=context) as client:
        for stream in (client.chat(), client.request('GET', '/nowhere'), client.request('GET', '/health')):
            headers = client.finish(stream).headers
            assert (headers['x-frame-options'], headers['x-content-type-options']) == ('SAMEORIGIN', 'nosniff')
            assert headers.get('strict-transport-security') == ('max-age=3600' if secure else None)
