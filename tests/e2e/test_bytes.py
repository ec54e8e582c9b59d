# SPDX-License-Identifier: Apache-2.0
"""What passes is untouched: the bytes of bodies both ways, and the allow-lists of headers in both directions."""
import gzip
import json
import zlib

import pytest

import harness
from harness import chat_answer, chunked, http_answer, sse_events, STREAM_HEAD
from kit import by_stream, config, good, header, MEMORY, streamed, wants_stream, whole

JSON = [('Content-Type', 'application/json')]
ODD = ('\r\n {\t"messages" :[ {"role":"user","content":"\\u00e9 é 漢字 😀 \\ud83d\\ude00 \u2028 \\/ \\"q\\" "} ] ,"b":1e400,'
       '"n":-0.0, "big":123456789012345678901234567890,"e":1E+2,"f":1.10000 ,"model" : "assistant" , "a":{"model":"x",'
       '"stream":true,"z":[1 , 2,[ ]]},"":null,"tail":true }  \n').encode()


def test_a_request_is_forwarded_byte_for_byte(gateway, provider):
    """FAULTS 40, 41: white space, order of keys, escapes, numbers: nothing but the model's name changes."""
    a = provider(whole())
    relais = gateway(config([a]))
    assert relais.post('/v1/chat/completions', ODD, JSON).status == 200
    assert a.requests[0].body == ODD.replace(b'"assistant"', b'"m"')
    assert relais.access_log(1)[0]['bytes_in'] == len(ODD)


@pytest.mark.parametrize('spelling', ['"assistant"', '"\\u0061ssistant"', '"a/m"', '"m"', '"a\\/m"'])
def test_the_model_as_the_client_spells_it(gateway, provider, spelling):
    a = provider(whole())
    relais = gateway(config([a]))
    body = b'{"messages":[],"model":' + spelling.encode() + b'}'
    assert relais.post('/v1/chat/completions', body, JSON).status == 200
    assert json.loads(a.requests[0].body) == {'messages': [], 'model': 'm'}
    if spelling == '"m"':
        assert a.requests[0].body == body, 'nothing to change, nothing changed'


STREAM_BODIES = [
    # what the client sends, beside its messages, and the stream_options that arrive
    (b'{"model":"assistant","messages":[],"stream":true}', {'include_usage': True}),
    (b'{"stream" : true , "model":"assistant","messages":[]}', {'include_usage': True}),
    (b'{"model":"assistant","messages":[],"stream":true,"stream_options":{}}', {'include_usage': True}),
    (b'{"model":"assistant","messages":[],"stream":true,"stream_options":null}', {'include_usage': True}),
    (b'{"model":"assistant","messages":[],"stream":true,"stream_options":{"include_usage":false}}', {'include_usage': True}),
    (b'{"model":"assistant","messages":[],"stream":true,"stream_options":{ "x":1 }}', {'include_usage': True, 'x': 1}),
    (b'{"model":"assistant","messages":[],"stream":true,"stream_options":{"include_usage":true,"x":1}}', {'include_usage': True, 'x': 1}),
    (b'{"model":"assistant","messages":[],"stream":false}', None),
    (b'{"model":"assistant","messages":[]}', None),
]


@pytest.mark.parametrize('sent, options', STREAM_BODIES)
def test_usage_is_asked_for_in_streams(gateway, provider, sent, options):
    a = provider(by_stream(streamed(sse_events(['x'])), whole()))
    relais = gateway(config([a]))
    assert relais.post('/v1/chat/completions', sent, JSON).status == 200
    arrived = json.loads(a.requests[0].body)
    assert arrived.get('stream_options') == options
    expected = {**json.loads(sent), 'model': 'm'}
    expected.pop('stream_options', None)
    arrived.pop('stream_options', None)
    assert arrived == expected


@pytest.mark.parametrize('asked', [False, True])
def test_the_usage_event_goes_to_the_client_that_asked(gateway, provider, asked):
    events = sse_events(['one', 'two'])
    relais = gateway(config([provider(streamed(events))]))
    members = {'stream_options': {'include_usage': True}} if asked else {}
    reply = relais.chat(stream=True, **members)
    usage_event = events[-2]
    assert b'"usage"' in usage_event
    assert reply.body == b''.join(e for e in events if asked or e != usage_event)
    record = relais.access_log(1)[0]
    assert (record['tokens']['prompt'], record['tokens']['completion']) == (3, 2)
    assert record['events'] == len(reply.events())


def test_usage_beside_content_is_not_taken_away(gateway, provider):
    """Some providers put usage into the last event with a choice; that event is content."""
    body = sse_events(['one'], usage=False, done=False)
    last = json.loads(body[-1][6:])
    last['usage'] = {'prompt_tokens': 9, 'completion_tokens': 8, 'total_tokens': 17}
    body[-1] = b'data: ' + json.dumps(last).encode() + b'\n\n'
    body.append(b'data: [DONE]\n\n')
    relais = gateway(config([provider(streamed(body))]))
    assert relais.chat(stream=True).body == b''.join(body)
    assert relais.access_log(1)[0]['tokens']['completion'] == 8


def test_stream_usage_can_be_left_alone(gateway, provider):
    a = provider(by_stream(streamed(sse_events(['x'])), whole()))
    relais = gateway(config([a], stream_usage=False))
    sent = b'{"model":"m","stream":true, "messages":[]}'
    assert relais.post('/v1/chat/completions', sent, JSON).status == 200
    assert a.requests[0].body == sent


def test_members_set_and_removed(gateway, provider):
    a = provider(whole())
    relais = gateway(config([a], body={'set': {'service_tier': 'flex', 'deep': {'a': [1, None]}, 'user': 'gateway'},
                                       'remove': ['seed', 'absent']}))
    sent = b'{"seed": 1, "messages":[],"model":"assistant" ,"user":"client","keep": 1.50,"seed2":2}'
    assert relais.post('/v1/chat/completions', sent, JSON).status == 200
    body = a.requests[0].body
    assert json.loads(body) == {'messages': [], 'model': 'm', 'user': 'gateway', 'keep': 1.5, 'seed2': 2, 'service_tier': 'flex',
                                'deep': {'a': [1, None]}}
    assert b'"keep": 1.50' in body
    assert body.count(b'"user"') == 1


def test_headers_set_and_removed(gateway, provider):
    a = provider(whole())
    relais = gateway(config([a], api_key='provider-key',
                            headers={'set': {'X-Own': 'yes', 'OpenAI-Organization': 'org-1', 'User-Agent': 'mine'},
                                     'remove': ['x-request-id', 'openai-beta']}))
    assert relais.chat(headers=[('OpenAI-Beta', 'b'), ('Content-Type', 'application/json')]).status == 200
    request = a.requests[0]
    assert header(request, 'x-own') == 'yes' and header(request, 'openai-organization') == 'org-1'
    assert header(request, 'authorization') == 'Bearer provider-key'
    assert header(request, 'x-request-id') is None and header(request, 'openai-beta') is None


UPSTREAM = {'host', 'authorization', 'content-type', 'content-length', 'accept', 'accept-encoding', 'via', 'user-agent',
            'x-request-id', 'traceparent', 'tracestate', 'openai-beta', 'connection'}


def test_what_of_a_client_reaches_a_provider(gateway, provider):
    """FAULTS 17, 88: an allow-list. Credentials, cookies, forwarding and hop-by-hop headers stay here."""
    a = provider(whole())
    relais = gateway(config([a], api_key='the-provider-key'))
    secret = 'client-secret-canary'
    mine = [('Authorization', f'Bearer {secret}'), ('Cookie', secret), ('X-Api-Key', secret), ('Api-Key', secret),
            ('X-Forwarded-For', '10.1.2.3'), ('Forwarded', f'for={secret}'), ('X-Real-IP', secret),
            ('OpenAI-Organization', secret), ('OpenAI-Project', secret), ('Proxy-Authorization', secret),
            ('X_Api_Key', secret), ('Origin', 'http://localhost'), ('Referer', secret), ('X-Anything', secret),
            ('Connection', 'keep-alive, Authorization, X-Request-Id'), ('Keep-Alive', secret), ('TE', 'trailers'),
            ('X-Sim-Status', '500'), ('X-Stainless-Lang', 'python'), ('Accept-Encoding', 'gzip, br'),
            ('Via', '1.1 somebody'), ('traceparent', '00-aa-bb-01'), ('tracestate', 'k=v'), ('OpenAI-Beta', 'assistants=v2')]
    assert relais.chat(headers=mine + JSON).status == 200
    request = a.requests[0]
    names = [n.lower() for n, _ in request.headers]
    assert set(names) <= UPSTREAM and len(names) == len(set(names)), names
    assert secret.encode() not in request.raw
    assert header(request, 'accept-encoding') == 'identity'
    assert header(request, 'authorization') == 'Bearer the-provider-key'
    assert (header(request, 'traceparent'), header(request, 'tracestate')) == ('00-aa-bb-01', 'k=v')
    assert header(request, 'openai-beta') == 'assistants=v2'
    assert header(request, 'host') == f'127.0.0.1:{a.port}'
    for text in (json.dumps(relais.access_log(1)), relais.output(), json.dumps(relais.status())):
        assert secret not in text and 'the-provider-key' not in text


def test_sim_headers_reach_simulated_providers_only(gateway, provider):
    real, simulated = provider(whole()), provider(whole())
    settings = config([real, simulated])
    settings['providers']['b']['simulated'] = True
    relais = gateway(settings)
    for model, server in (('a/m', real), ('b/m', simulated)):
        assert relais.chat(model=model, headers=[('X-Sim-Status', '503'), ('x-sim-only', 'b')] + JSON).status == 200
        names = {n.lower(): v for n, v in server.requests[0].headers if n.lower().startswith('x-sim')}
        assert names == ({'x-sim-status': '503', 'x-sim-only': 'b'} if server is simulated else {})


def test_what_of_a_provider_reaches_a_client(gateway, provider):
    theirs = [('Set-Cookie', 'a=b'), ('Server', 'theirs'), ('Alt-Svc', 'h3=":443"'), ('Strict-Transport-Security', 'max-age=1'),
              ('Access-Control-Allow-Origin', '*'), ('X-Powered-By', 'x'), ('Location', 'http://elsewhere/'),
              ('X-Request-Id', 'req_theirs'), ('OpenAI-Processing-Ms', '12'), ('OpenAI-Version', '2020-10-01'),
              ('x-ratelimit-remaining-tokens', '99'), ('OpenAI-Organization', 'org-theirs'), ('Cache-Control', 'private'),
              ('Connection', 'X-Ratelimit-Remaining-Tokens, keep-alive'), ('Via', '1.1 edge'), ('x-relais-provider', 'forged'),
              ('x-should-retry', 'true'), ('X-RateLimit-Limit-Requests', '7')]
    relais = gateway(config([provider(http_answer(chat_answer(), headers=theirs)),]))
    reply = relais.chat()
    assert reply.status == 200
    names = {n.lower() for n, _ in reply.headers}
    assert names <= {'content-type', 'content-length', 'date', 'x-frame-options', 'x-request-id', 'x-relais-provider',
                     'x-content-type-options', 'x-relais-model',
                     'x-relais-attempts', 'x-relais-overhead-us', 'x-relais-upstream-request-id', 'openai-processing-ms',
                     'openai-version', 'x-ratelimit-remaining-tokens', 'x-ratelimit-limit-requests', 'connection'}, names
    assert reply.header('x-relais-upstream-request-id') == 'req_theirs'
    assert reply.header('x-relais-provider') == 'a'
    assert reply.header('x-ratelimit-remaining-tokens') == '99' and reply.header('openai-processing-ms') == '12'
    record = relais.access_log(1)[0]
    assert (record['upstream_request_id'], record['request_id']) == ('req_theirs', reply.header('x-request-id'))


def squeezed(data, coding):
    if coding == 'gzip':
        return gzip.compress(data)
    return zlib.compress(data)


@pytest.mark.parametrize('coding', ['gzip', 'deflate'])
@pytest.mark.parametrize('stream', [False, True])
def test_compression_that_nobody_asked_for_is_decoded(gateway, provider, coding, stream):
    """FAULTS 51."""
    events = sse_events(['é漢😀'] * 50, usage=False)
    body = b''.join(events) if stream else json.dumps(chat_answer('é漢😀' * 500)).encode()
    packed = squeezed(body, coding)
    encoding = f'Content-Encoding: {coding}\r\n\r\n'.encode()
    if stream:
        answer = STREAM_HEAD[:-2] + encoding + b''.join(chunked(packed[i:i + 13]) for i in range(0, len(packed), 13)) + chunked(b'')
    else:
        answer = http_answer(packed)[:-len(packed) - 2] + encoding + packed
    relais = gateway(config([provider(answer)]))
    reply = relais.chat(stream=stream)
    assert (reply.status, reply.body) == (200, body)
    assert reply.header('content-encoding') is None


def test_a_compression_that_is_unknown_or_broken(gateway, provider):
    good_gzip = gzip.compress(json.dumps(chat_answer()).encode())
    for coding, body in (('br', b'xx'), ('gzip', b'no gzip at all'), ('gzip', good_gzip[:-12]), ('gzip, gzip', gzip.compress(good_gzip))):
        bad = provider(http_answer(body, headers=[('Content-Encoding', coding)]))
        relais = gateway(config([bad, provider(good('from b'))]))
        reply = relais.chat()
        assert (reply.status, reply.header('x-relais-provider')) == (200, 'b'), coding
        assert relais.access_log(1)[0]['attempts'][0]['fault'] == 'invalid_response'


@pytest.mark.parametrize('stream', [False, True])
def test_a_bomb_in_an_answer(gateway, provider, stream):
    """FAULTS 43: what unpacks a thousandfold is given up, with little memory."""
    plain = b': ' + b'x' * 50_000_000 if stream else b'{"choices":"' + b'x' * 200_000 + b'"' + b' ' * 50_000_000
    packed = gzip.compress(plain, 6)
    kind = 'text/event-stream' if stream else 'application/json'
    bomb = provider(http_answer(packed, content_type=kind, headers=[('Content-Encoding', 'gzip')]))
    relais = gateway(config([bomb, provider(good('from b'))]))
    before = relais.memory_kib()
    if stream:
        assert relais.chat(stream=True).header('x-relais-provider') == 'b'
    else:  # the bytes before the cap looked well and are out: the answer breaks off
        with pytest.raises(harness.HttpError):
            relais.chat()
        assert relais.access_log(1)[0]['outcome'] == 'cut'
    assert relais.memory_kib() - before < 16 * 1024 * MEMORY


def test_a_long_answer_is_looked_at_before_it_is_committed(gateway, provider):
    """What says to be JSON and is none is found out within the 256 KiB that are held."""
    for start in (b'data: ', b'<html>', b'[', b'{"choices":[}', b'{"a":1}}', b''):
        relais = gateway(config([provider(http_answer(start + b' ' * 300 + b'x' * 600_000)), provider(good())]))
        assert relais.chat().header('x-relais-provider') == 'b', start


def test_every_wish_of_an_event_stream_passes(gateway, provider):
    """FAULTS 45, 46: comments, ids, retry, CRLF, missing spaces, several data lines, unknown fields, as they came."""
    one = json.dumps({'choices': [{'index': 0, 'delta': {'content': '漢'}, 'finish_reason': None}]}, ensure_ascii=False).encode()
    two, three = one[:20], one[20:]
    end = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    body = (b'data: ' + one + b'\n\n: keep-alive\n\n:\n\nid: 7\nretry: 10\nevent: message\nunknown: x\ndata:' + one + b'\r\n\r\n' +
            b'data: ' + one + b'\r\rdata: ' + end + b'\n\ndata: [DONE]\n\n')
    assert two + three == one
    relais = gateway(config([provider(streamed([body], end=True))]))
    reply = relais.chat(stream=True)
    assert reply.body == body


def test_an_answer_of_a_request_that_wants_no_stream_is_never_streamed(gateway, provider):
    a = provider(streamed(sse_events(['x'])))
    b = provider(whole('from b'))
    relais = gateway(config([a, b]))
    assert relais.chat().json()['choices'][0]['message']['content'] == 'from b'
    assert not wants_stream(a.requests[0])
    assert harness.parse_metrics(relais.admin_request('GET', '/metrics').text)
