# SPDX-License-Identifier: Apache-2.0
"""The least that must hold: it comes up, answers /health on both planes, keeps that out of the access log, and ends."""


def test_health_on_both_planes(gateway):
    relais = gateway()
    for reply in (relais.get('/health'), relais.admin_request('GET', '/health')):
        assert reply.status == 200
        assert reply.body == b'OK\n'
        assert reply.header('content-type').split(';')[0] == 'text/plain'
        assert reply.header('content-length') == '3'


def test_health_is_not_in_the_access_log(gateway):
    relais = gateway()
    for _ in range(3):
        assert relais.get('/health').status == 200
    assert relais.get('/v1/no-such-route').status == 404
    records = relais.access_log(1)
    relais.stop()
    assert len(relais.access_log()) == 1, 'only the request that is no health check'
    assert records[0]['status'] == 404


def test_health_keeps_the_connection(gateway):
    relais = gateway()
    with relais.client() as client:
        for _ in range(5):
            assert client.get('/health').body == b'OK\n'


def test_sigterm_ends_it_in_order(gateway):
    relais = gateway()
    assert relais.get('/health').status == 200
    relais.stop(status=0)
