# SPDX-License-Identifier: Apache-2.0
"""The account of a request: exactly one record, true in its figures, with nothing secret and nothing injected; and the
metrics, which say the same (FAULTS 90-92)."""
import json
import shutil
import subprocess
import time

import pytest

import harness
from harness import chunked, http_answer, sse_events, STREAM_HEAD
from kit import config, good, serving, streamed, whole

JSON = [('Content-Type', 'application/json')]
FIELDS = {'time', 'request_id', 'upstream_request_id', 'client', 'peer', 'http', 'method', 'path', 'route', 'operation', 'model_asked',
          'alias', 'provider', 'model', 'status', 'outcome', 'error', 'error_text', 'stream', 'committed', 'attempts',
          'n_attempts', 'bytes_in', 'bytes_out', 'events', 'tokens', 'ttfb_ms', 'total_ms', 'overhead_us'}


def requests(relais):
    """All that the metrics have counted."""
    return sum(v for n, v in relais.metrics().items() if n.startswith('relais_requests_total{'))


def test_the_figures_of_a_record(gateway, provider):
    def play(connection, _):
        time.sleep(0.1)
        connection.send(STREAM_HEAD)
        for event in sse_events(['one ', 'two']):
            connection.send(chunked(event))
            time.sleep(0.05)
        connection.send(chunked(b''))
    relais = gateway(config([f'http://127.0.0.1:{harness.free_port()}/v1', provider(serving(play))]))
    body = json.dumps({'model': 'assistant', 'stream': True, 'messages': []}).encode()
    reply = relais.post('/v1/chat/completions?x=secret', body, JSON)
    record = relais.access_log(1)[0]
    assert set(record) == FIELDS
    assert (record['bytes_in'], record['bytes_out']) == (len(body), len(reply.body))
    assert record['events'] == len(reply.events()) == 5
    assert record['tokens'] == {'prompt': 3, 'completion': 2, 'cached': 0, 'cache_write': 0, 'reasoning': 0}
    assert 100 <= record['ttfb_ms'] <= 1000 * reply.first_byte_s + 5
    assert record['ttfb_ms'] < record['total_ms'] <= 1000 * reply.seconds + 5
    assert record['overhead_us'] < 50_000 * harness.SLOW, 'waiting for a provider is not our own time'
    assert record['http'] == '1.1'
    assert record['method'] == 'POST' and record['path'] == '/v1/chat/completions' and 'secret' not in json.dumps(record)
    refused, answered = record['attempts']
    assert refused['status'] is None and refused['ttfb_ms'] is None and not refused['maybe_billed']
    assert answered['ttfb_ms'] >= 100 and answered['start_ms'] <= record['ttfb_ms'] and answered['reused'] is False


def test_every_kind_of_end_is_one_record(gateway, provider):
    """The log and the metrics count the same requests."""
    relais = gateway(config([provider(good())]))
    kinds = [('POST', '/v1/chat/completions', {'model': 'assistant', 'messages': []}), ('GET', '/v1/models', None),
             ('GET', '/nothing', None), ('PUT', '/v1/models', None), ('POST', '/v1/chat/completions', {'model': 'x', 'messages': []}),
             ('POST', '/v1/chat/completions', {}), ('HEAD', '/v1/models', None), ('GET', '/health', None), ('GET', '/ready', None)]
    for method, path, body in kinds * 3:
        relais.request(method, path, body)
    harness.raw(*relais.data, b'GET nonsense\r\n\r\n')
    records = relais.access_log(22)
    time.sleep(0.1)
    assert len(relais.access_log()) == 22
    assert len({r['request_id'] for r in records}) == 22
    assert requests(relais) == 22


NASTY = ['line\nbreak', 'tab\tand\x1b[31mcolour', '"quoted\\', '%n%s%x', '${jndi:ldap://x/y}', 'a/' + 'x' * 200, '\u2028', '=cmd|x',
         '\u0000nul', 'ünï', '\U0001f600']


def test_nothing_is_injected_into_log_headers_or_metrics(gateway, provider):
    """FAULTS 90, 91: names come from clients."""
    relais = gateway(config([provider(good())]))
    asked = []
    for text in NASTY:
        for model in (text, 'a/' + text):
            reply = relais.chat(model=model, headers=JSON + [('X-Request-Id', text.encode('ascii', 'replace').decode().replace('\n', ' '))])
            assert reply.status in (200, 400, 404), reply
            asked.append(model)
            assert all('\n' not in v and '\r' not in v and '\x1b' not in v for _, v in reply.headers)
    relais.get('/v1/models/%0a%1b[31m%22')
    with open(relais.access_path, 'rb') as file:
        harness.eventually(lambda: len(relais.access_log()) == len(asked) + 1)
        raw = file.read()
    assert all(byte >= 0x20 or byte == 0x0a for byte in raw) and b'\x7f' not in raw
    logged = {r['model_asked'] for r in relais.access_log() if r['model_asked']}
    assert logged <= set(asked) and len(logged) >= len(asked) - 4
    text = relais.admin_request('GET', '/metrics').text
    assert '\x1b' not in text and harness.parse_metrics(text)
    check_with_promtool(text)


def check_with_promtool(text):
    if shutil.which('promtool'):
        done = subprocess.run(['promtool', 'check', 'metrics'], input=text, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_that_nobody_serves_make_no_series(gateway, provider):
    """FAULTS 91: a bomb of labels: the provider refuses them, so they are counted without their names."""
    refusal = http_answer({'error': {'message': 'no such model', 'type': 'invalid_request_error', 'code': 'model_not_found'}}, status='404 X')
    relais = gateway(config([provider(refusal)]))
    relais.chat(model='a/first')
    harness.eventually(lambda: requests(relais) == 1, what='the first request in the metrics')
    before = len(relais.metrics())
    with relais.client() as client:
        for number in range(300):
            assert client.post('/v1/chat/completions', {'model': f'a/x{number}', 'messages': []}).status == 404
    harness.eventually(lambda: requests(relais) == 301, what='all requests in the metrics')
    assert len(relais.metrics()) <= before + 5


def test_no_secret_anywhere(gateway, provider):
    """FAULTS 92: canaries in each place where a secret may stand, at the most talkative level."""
    secrets = {name: f'canary-{name}-0123456789' for name in ('provider', 'client', 'cookie', 'query', 'header', 'prompt', 'admin')}
    bad = provider(http_answer({'error': {'message': 'wrong key', 'code': 'invalid_api_key'}}, status='401 X'))
    settings = config([bad, provider(http_answer(b'', status='500 X')), provider(good())], api_key=secrets['provider'],
                      headers={'set': {'X-Secret': secrets['header']}}, server={'admin_token': secrets['admin']})
    settings['log'] = {'level': 'debug'}
    relais = gateway(settings)
    admin = [('Authorization', 'Bearer ' + secrets['admin'])]
    reply = relais.post('/v1/chat/completions?key=' + secrets['query'],
                        {'model': 'assistant', 'messages': [{'role': 'user', 'content': secrets['prompt']}]},
                        [('Authorization', 'Bearer ' + secrets['client']), ('Cookie', secrets['cookie'])])
    assert reply.status == 200
    shown = [relais.chat(model='a/m').raw.decode(), json.dumps(relais.access_log(2)), relais.output()]
    shown += [relais.admin_request(m, p, headers=admin).text for m, p in (('GET', '/metrics'), ('GET', '/status'), ('POST', '/reload'))]
    relais.write_config('providers: {a: {api_key: "%s", nonsense: 1}}' % secrets['provider'])
    shown.append(relais.admin_request('POST', '/reload', headers=admin).text)
    for name, secret in secrets.items():
        assert not any(secret in text for text in shown), name


def test_metrics_say_what_happened(gateway, provider):
    relais = gateway(config([provider(http_answer(b'', status='500 X')), provider(good())], max_fails=0))
    for number in range(6):
        assert relais.chat(stream=number % 2 == 0).status == 200
    relais.get('/nothing')
    harness.eventually(lambda: requests(relais) == 7, what='seven requests in the metrics')
    metrics = relais.metrics()

    def total(start, *words):
        return sum(v for n, v in metrics.items() if n.startswith(start) and all(w in n for w in words))
    assert total('relais_requests_total{') == 7
    assert total('relais_requests_total{', 'outcome="ok"') == 6
    assert total('relais_attempts_total{', 'provider="a"') == 6 == total('relais_attempts_total{', 'provider="b"')
    assert total('relais_tokens_total{', 'completion') == 3 * 1 + 3 * 5
    check_with_promtool(relais.admin_request('GET', '/metrics').text)


@pytest.mark.parametrize('stream', [False, True])
def test_tokens_of_every_shape(gateway, provider, stream):
    usage = {'prompt_tokens': 10, 'completion_tokens': 20, 'total_tokens': 30, 'prompt_tokens_details': {'cached_tokens': 4},
             'completion_tokens_details': {'reasoning_tokens': 7}}
    events = sse_events(['x'], usage=False)
    last = b'data: ' + json.dumps({'choices': [], 'usage': usage}).encode() + b'\n\n'
    answer = streamed(events[:-1] + [last, events[-1]]) if stream else whole(**usage)
    relais = gateway(config([provider(answer)]))
    assert relais.chat(stream=stream).status == 200
    assert relais.access_log(1)[0]['tokens'] == {'prompt': 10, 'completion': 20, 'cached': 4, 'cache_write': 0, 'reasoning': 7}
