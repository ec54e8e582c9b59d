# SPDX-License-Identifier: Apache-2.0
"""After the commit point: a stream that breaks ends with an error event in the client's dialect and an abnormal end of
the connection, never with a false terminator, and is never continued in silence (FAULTS 47-50)."""
import json
import time

import pytest

import harness
from harness import chat_answer, chunked, sse_events, STREAM_HEAD
from kit import config, good, read_broken, serving, streamed, target

EVENTS = sse_events(['one ', 'two ', 'three'], usage=False)
BEGUN = EVENTS[:3]  # the role and two with content
ERROR = {'error': {'message': 'overloaded now', 'type': 'server_error', 'param': None, 'code': None}}


def breaking(data, how='fin'):
    def play(connection, _):
        connection.send(data)
        if how == 'reset':
            time.sleep(0.05)  # so that the bytes are read before the reset
            connection.reset()
        elif how == 'hang':
            connection.wait_for_peer_to_leave()
        return False
    return serving(play)


def begun(*more):
    return streamed([*BEGUN, *more], end=False)


CUTS = {
    # what the provider does, the words that the reason holds, the class of the fault
    'reset': (breaking(begun(), 'reset'), 'reset', 'connect'),
    'FIN between chunks': (breaking(begun()), '', None),
    'FIN inside a chunk': (breaking(begun() + b'40\r\ndata: {"cho'), '', None),
    'FIN inside an event': (breaking(begun(b'data: {"choices": [{"index"')), '', None),
    'FIN without length': (breaking(STREAM_HEAD.replace(b'Transfer-Encoding: chunked\r\n', b'') + b''.join(BEGUN)), '', None),
    'the last chunk too early': (breaking(streamed(BEGUN)), 'complete', 'invalid_response'),
    'stall': (breaking(begun(), 'hang'), 'idle', 'timeout'),
    'stall inside an event': (breaking(begun(b'data: {"choices"'), 'hang'), 'idle', 'timeout'),
    'bad chunk': (breaking(begun() + b'zz\r\n'), '', 'invalid_response'),
    'chunk without end': (breaking(begun() + b'5\r\nabcdefgh\r\n'), '', 'invalid_response'),
    'malformed JSON': (breaking(begun(b'data: {"choices": [}\n\n', *EVENTS[3:])), 'malformed', 'invalid_response'),
    'invalid UTF-8': (breaking(begun(EVENTS[1].replace(b'one', b'\xff\xfe'), *EVENTS[3:])), 'malformed', 'invalid_response'),
    'giant event': (breaking(begun(b'data: "' + b'x' * 1_200_000, b'x' * 1_200_000), 'hang'), 'too long', 'invalid_response'),
}


def check_cut(relais, reply, body, reason='', fault=None, passed=b''.join(BEGUN)):
    """What the client saw, the log, the metric."""
    assert reply.status == 200
    assert body.startswith(passed), body[:2000]
    assert b'[DONE]' not in body
    reader = harness.SseParser()
    said = [e.json() for e in reader.push(body[len(passed):]) if e.data is not None]
    assert len(said) == 1 and set(said[0]) == {'error'}, body[len(passed):][:2000]
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['committed'], record['status'], record['stream']) == ('cut', True, 200, True)
    assert record['n_attempts'] == 1 and record['attempts'][0]['fault'] == record['error']
    if fault:
        assert record['error'] == fault, record
    assert reason in record['attempts'][0]['reason']
    time.sleep(0.05)
    assert len(relais.access_log()) == 1
    metrics = relais.metrics()
    assert sum(v for n, v in metrics.items() if n.startswith('relais_streams_cut_total')) == 1
    return said[0]['error'], record


def broken_stream(relais):
    """(reply head, all bytes of the body with the framing taken off, whether it ended in order)."""
    client = relais.client()
    reply, arrivals = client.stream('POST', '/v1/chat/completions',
                                    {'model': 'assistant', 'stream': True, 'messages': []}, within_s=30)
    body = b''
    try:
        for _, data in arrivals:
            body += data
        ended = True
    except harness.HttpError:
        ended = False
    client.close()
    return reply, body, ended


@pytest.mark.parametrize('name', CUTS)
def test_a_stream_that_breaks(gateway, provider, name):
    script, reason, fault = CUTS[name]
    other = provider(good('never'))
    relais = gateway(config([provider(script), other], timeouts={'idle': '300ms'}))
    reply, body, ended = broken_stream(relais)
    assert not ended, 'the connection must not look whole'
    error, record = check_cut(relais, reply, body, reason, fault)
    assert error['code'] == 'stream_interrupted' and error['message'] and error['type']
    assert not other.requests, 'nothing is retried after the commit point'
    assert record['events'] == len(BEGUN)
    assert target(relais, 'a')['failures'] == 1


def test_an_error_event_of_the_provider(gateway, provider):
    """It is passed on as it came; a second one of ours would say it twice."""
    error = b'data: ' + json.dumps(ERROR).encode() + b'\n\n'
    relais = gateway(config([provider(breaking(begun(error, *EVENTS[3:]), 'hang')), provider(good())]))
    reply, body, ended = broken_stream(relais)
    assert not ended and body == b''.join(BEGUN) + error
    check_cut(relais, reply, body, 'overloaded now')


def test_an_error_event_that_says_our_key(gateway, provider):
    """FAULTS 92: neither the client nor the log hears it, although the stream has let go of its configuration."""
    key = 'sk-canary-0123456789'
    error = b'data: ' + json.dumps({'error': {**ERROR['error'], 'message': f'no more quota for {key}'}}).encode() + b'\n\n'
    relais = gateway(config([provider(breaking(begun(error), 'hang'))], api_key=key))
    _, body, ended = broken_stream(relais)
    stars = '*' * len(key)
    assert not ended and body == b''.join(BEGUN) + error.replace(key.encode(), stars.encode())
    record = relais.access_log(1)[0]
    assert f'no more quota for {stars}' in record['attempts'][0]['reason']
    assert key not in json.dumps(record) + relais.output()


def test_a_stream_that_only_lacks_its_terminator(gateway, provider):
    """FAULTS 49: with a finish reason the answer is whole; some providers send no [DONE]."""
    events = sse_events(['one'], usage=False, done=False)
    relais = gateway(config([provider(streamed(events))]))
    reply = relais.chat(stream=True)
    assert (reply.body, reply.ended) == (b''.join(events), 'chunked')
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['error']) == ('ok', None)


def test_a_last_event_without_its_blank_line(gateway, provider):
    events = sse_events(['one'], usage=False)
    relais = gateway(config([provider(streamed(events[:-1] + [b'data: [DONE]\n']))]))
    reply = relais.chat(stream=True)
    assert reply.stream_text() == 'one' and reply.ended == 'chunked'


def test_what_follows_the_terminator_is_not_forwarded(gateway, provider):
    """FAULTS 49: data after [DONE], two [DONE]."""
    events = sse_events(['one'], usage=False)
    late = [b'data: [DONE]\n\n', EVENTS[1], b': comment\n\n', b'data: {broken\n\n']
    relais = gateway(config([provider(streamed(events + late))]))
    reply = relais.chat(stream=True)
    assert (reply.body, reply.ended) == (b''.join(events), 'chunked')
    assert relais.access_log(1)[0]['outcome'] == 'ok'


@pytest.mark.parametrize('how', ['hang', 'reset', 'fin'])
def test_a_provider_that_does_not_end_after_the_terminator(gateway, provider, how):
    """The client is done within about a second, in order."""
    events = sse_events(['one'], usage=False)
    a = provider(breaking(streamed(events, end=False), how))
    relais = gateway(config([a]))
    reply = relais.chat(stream=True)
    assert (reply.body, reply.ended) == (b''.join(events), 'chunked')
    assert reply.seconds < 1 + 0.5 * harness.SLOW
    assert relais.access_log(1)[0]['outcome'] == 'ok'
    harness.eventually(lambda: a.connections[0].ended.is_set(), what='the end of the call')


def test_two_usage_events(gateway, provider):
    """FAULTS 54: the last one counts, and none reaches a client that asked for none."""
    events = sse_events(['one', 'two'])
    relais = gateway(config([provider(streamed(events[:-2] + [events[-2].replace(b'"completion_tokens": 2', b'"completion_tokens": 1'),
                                                             events[-2], events[-1]]))]))
    assert relais.chat(stream=True).body == b''.join(events[:-2] + events[-1:])
    assert relais.access_log(1)[0]['tokens']['completion'] == 2


def test_no_usage_at_all(gateway, provider):
    relais = gateway(config([provider(streamed(sse_events(['one'], usage=False)))]))
    assert relais.chat(stream=True).status == 200
    assert relais.access_log(1)[0]['tokens'] is None


def test_interleaved_tool_calls_pass_as_they_are(gateway, provider):
    """FAULTS 54."""
    def delta(index, **function):
        return b'data: ' + json.dumps({'choices': [{'index': 0, 'delta': {'tool_calls': [
            {'index': index, 'function': function}]}, 'finish_reason': None}]}).encode() + b'\n\n'
    events = [delta(0, name='f', arguments=''), delta(1, name='g', arguments='{"a'), delta(0, arguments='{"x":1'),
              delta(1, arguments='":2}'), delta(0, arguments='}'), *sse_events([], usage=False)[1:]]
    relais = gateway(config([provider(streamed(events))]))
    assert relais.chat(stream=True).body == b''.join(events)


@pytest.mark.parametrize('how', ['reset', 'fin', 'hang'])
@pytest.mark.parametrize('framing', ['length', 'chunked', 'close'])
def test_a_long_whole_answer_that_breaks(gateway, provider, how, framing):
    """Over 256 KiB are out: the client must be able to tell that the rest is missing."""
    body = json.dumps(chat_answer('x' * 900_000)).encode()[:600_000]
    head = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
    if framing == 'chunked':
        data = head + b'Transfer-Encoding: chunked\r\n\r\n' + chunked(body)
    elif framing == 'length':
        data = head + b'Content-Length: 900100\r\n\r\n' + body
    else:
        data = head + b'\r\n' + body
    relais = gateway(config([provider(breaking(data, how)), provider(good())], timeouts={'idle': '300ms'}))
    with pytest.raises(harness.HttpError):
        relais.chat()
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['n_attempts']) == ('cut', 1)


@pytest.mark.parametrize('chunks', [False, True])
def test_a_long_whole_answer_without_a_length(gateway, provider, chunks):
    """Its brackets say whether it is whole, those inside of strings do not count."""
    answer = json.dumps(chat_answer('}]"\\' * 200_000)).encode()
    head = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
    data = head + (b'Transfer-Encoding: chunked\r\n\r\n' + chunked(answer) + chunked(b'') if chunks else b'\r\n' + answer)
    relais = gateway(config([provider(breaking(data))]))
    reply = relais.chat()
    assert (reply.body, reply.ended) == (answer, 'chunked')
    assert relais.access_log(1)[0]['tokens']['completion'] == 5


def test_http_1_0_clients_see_a_cut_as_a_reset_or_by_the_event(gateway, provider):
    relais = gateway(config([provider(breaking(begun(), 'reset'))]))
    body = b'{"model":"assistant","stream":true,"messages":[]}'
    with relais.client() as client:
        client.sock.sendall(b'POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\n'
                            b'Content-Length: %d\r\n\r\n' % len(body) + body)
        received = read_broken(client)
    assert b'stream_interrupted' in received and b'[DONE]' not in received


def test_a_cut_stream_leaves_nothing_behind(gateway, provider):
    """FAULTS' oracle: descriptors, what is in flight, and the next request."""
    flaky = {'n': 0}

    def play(connection, request):
        flaky['n'] += 1
        connection.send(streamed(EVENTS) if flaky['n'] % 2 == 0 else begun())
        return flaky['n'] % 2 == 0
    relais = gateway(config([provider(serving(play))], max_fails=0))
    broken_stream(relais), broken_stream(relais)
    before = relais.descriptors()
    for _ in range(25):
        assert not broken_stream(relais)[2]
        assert broken_stream(relais)[2]
    harness.eventually(lambda: relais.descriptors() <= before + 1, what='the return of all descriptors')
    assert target(relais, 'a')['in_flight'] == 0
    records = relais.access_log(52)
    assert [r['outcome'] for r in records].count('cut') == 26 and len(records) == 52
