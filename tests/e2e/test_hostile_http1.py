# SPDX-License-Identifier: Apache-2.0
"""FAULTS A, cases 1 to 17, through the whole program: what a raw request is answered with, and what of it reached the
provider. Every request comes whole, in random pieces and byte by byte: how it was cut must change nothing."""
import re
import socket
import time

import pytest

from harness import (SLOW, Client, HttpError, RawServer, chat_answer, chunked, eventually, http_answer, reset)
from hostile import BODY, GOOD, PROVIDER_KEY, Siege, answer_status, cuts, post, raw

CHUNKED_BODY = chunked(BODY) + chunked(b'')
SMUGGLED = post(body=b'{"model":"h/smuggled","messages":[]}')


def te(*lines, value=b'chunked', body=CHUNKED_BODY, **options):
    return post(b'Transfer-Encoding: ' + value, *lines, body=body, length=False, **options)


def cl(value, body=BODY):
    return post(b'Content-Length:' + value, length=False, body=body)


def chunk_case(framing):
    return te(body=framing)


def get(*lines, target=b'/v1/models', method=b'GET', version=b'HTTP/1.1', host=b'Host: 127.0.0.1'):
    head = [b'%s %s %s' % (method, target, version)] + ([host] if host else []) + list(lines) + [b'Connection: close']
    return b'\r\n'.join(head) + b'\r\n\r\n'


N = len(BODY)
HALF = b'{"model":"h/m",'
REST = BODY[len(HALF):]
TWO = chunked(HALF) + chunked(REST) + chunked(b'')
assert HALF + REST == BODY

# name -> (bytes, statuses allowed, requests that reach the provider)
REFUSED, PASSES = 0, 1
CASES = {
    '1 content-length, then chunked': (post(b'Content-Length: %d' % len(CHUNKED_BODY), b'Transfer-Encoding: chunked',
                                            length=False, body=CHUNKED_BODY), {400}, 0),
    '1 chunked, then content-length': (te(b'Content-Length: %d' % len(CHUNKED_BODY)), {400}, 0),
    '1 length 0 hides a request': (te(b'Content-Length: 0', body=chunked(b'') + SMUGGLED), {400}, 0),
    '1 length 4 before chunks': (te(b'Content-Length: 4', body=b'5c\r\n' + SMUGGLED), {400}, 0),
    '1 identity and length': (te(b'Content-Length: %d' % N, value=b'identity', body=BODY), {400, 501}, 0),

    **{f'2 coding {v!r}': (te(value=v), {400, 501}, 0) for v in (
        b'xchunked', b',chunked', b'chunked, identity', b'gzip, chunked', b'chunked, chunked', b'identity', b'',
        b'"chunked"', b'chunked;q=1', b'chunked\x0b', b'\x0bchunked', b'\xa0chunked', b'chunked\x00', b'chun\tked')},
    '2 two lines': (te(b'Transfer-Encoding: chunked'), {400}, 0),
    '2 second line identity': (te(b'Transfer-Encoding: identity'), {400, 501}, 0),
    '2 in HTTP/1.0': (te(line=b'POST /v1/chat/completions HTTP/1.0'), {400}, 0),
    '2 blank before the colon': (post(b'Transfer-Encoding : chunked', length=False, body=CHUNKED_BODY), {400}, 0),
    '2 folded': (post(b'Transfer-Encoding:\r\n chunked', length=False, body=CHUNKED_BODY), {400}, 0),
    '2 upper case passes': (te(value=b'CHUNKED'), {200}, 1),
    '2 tab before the value passes': (te(value=b'\tchunked'), {200}, 1),

    '3 twice, equal': (post(b'Content-Length: %d' % N), {400}, 0),
    '3 twice, different': (post(b'Content-Length: 3'), {400}, 0),
    **{f'3 length {v!r}': (cl(v), {400}, 0) for v in (
        b' %d, %d' % (N, N), b' +%d' % N, b' -1', b' 0x%x' % N, b' 5_0', b'', b' ', b' %d' % (2 ** 64 + N),
        b' %d' % 2 ** 63, b' ' + b'0' * 21 + b'%d' % N, b' %d ;' % N, b' %d.0' % N, b' 1e2', b' \xb2', b' %d\x00' % N,
        b' 5 9', b' "%d"' % N)},

    **{f'4 chunk {v[:24]!r}': (chunk_case(v), {400}, 0) for v in (
        b'0x%x\r\n%s\r\n0\r\n\r\n' % (N, BODY), b'+%x\r\n%s\r\n0\r\n\r\n' % (N, BODY),
        b'-%x\r\n%s\r\n0\r\n\r\n' % (N, BODY), b' %x\r\n%s\r\n0\r\n\r\n' % (N, BODY),
        b'%x \r\n%s\r\n0\r\n\r\n' % (N, BODY), b'\r\n%s\r\n0\r\n\r\n' % BODY,
        b'1%016x\r\n%s\r\n0\r\n\r\n' % (N, BODY), b'0%016x\r\n%s\r\n0\r\n\r\n' % (N, BODY),
        b'ffffffffffffffff\r\n' + BODY, b'8000000000000000\r\n' + BODY, b'%x\r\n%sXX0\r\n\r\n' % (N, BODY),
        b'%x\n%s\r\n0\r\n\r\n' % (N, BODY), b'%x\r\n%s\n0\r\n\r\n' % (N, BODY), b'%x\r\n%s\r\n0\n\r\n' % (N, BODY),
        b'%x\r%s\r\n0\r\n\r\n' % (N, BODY), b'%x\r\n%s0\r\n\r\n' % (N, BODY), b'g\r\n', b'5,5\r\n',
        b'%x\r\n%s\r\n\r\n0\r\n\r\n' % (N, BODY))},
    '4 sixteen digits pass': (chunk_case(b'%016x\r\n%s\r\n0\r\n\r\n' % (N, BODY)), {200}, 1),
    '4 upper case digits pass': (chunk_case(b'%X\r\n%s\r\n000\r\n\r\n' % (N, BODY)), {200}, 1),
    '4 two chunks pass': (chunk_case(TWO), {200}, 1),

    **{f'5 extension {v[:24]!r}': (chunk_case(b'%x%s\r\n%s\r\n0\r\n\r\n' % (N, v, BODY)), {400}, 0) for v in (
        b';a\nb', b';a\rb', b';a="\r\n"', b';a="\n"', b';a\x00', b';a="\x00"', b'; a = 1', b';' + b'x' * 5000)},
    '5 many small extensions': (chunk_case(b''.join(b'1;aaaaaaa\r\n%c\r\n' % c for c in BODY + b' ' * 600)
                                           + b'0\r\n\r\n'), {400}, 0),
    '5 an extension passes': (chunk_case(b'%x;a=1;b="c;d"\r\n%s\r\n0;e\r\n\r\n' % (N, BODY)), {200}, 1),

    **{f'6 trailer {v[:24]!r}': (chunk_case(chunked(BODY) + b'0\r\n' + v + b'\r\n\r\n'), {400}, 0) for v in (
        b'Content-Length: 5', b'Transfer-Encoding: chunked', b'Host: other', b'Authorization: Bearer x',
        b'Content-Type: text/plain', b'no colon', b': x', b'a b: c', b'X: a\rb', b'X: a\nb', b'X: \x00',
        b' folded: x', b'x: ' + b'y' * 20000)},
    '6 an unknown trailer is dropped': (chunk_case(chunked(BODY) + b'0\r\nX-Trailing: boo\r\n\r\n'), {200}, 1),

    **{f'7 line {v[:24]!r}': (post(v), {400}, 0) for v in (
        b'X: a\nY: b', b'X: a\rY: b', b'X: a\r\n b', b'X: a\r\n\tb', b'X: a\x00b', b'X\x00: a', b'X: a\x01b',
        b'X: a\x7fb', b'X: a\x0bb', b'X\xe9: a', b': a', b'no colon', b'X : a', b'(X): a', b'X[: a', b'X"Y: a',
        b'X Y: a', b'\xffX: a')},
    '7 space before the first header': (post(line=b'POST /v1/chat/completions HTTP/1.1\r\n X: y'), {400}, 0),
    '7 bare LF everywhere': (post().replace(b'\r\n', b'\n'), {400}, 0),
    '7 LF at the end of the head': (post().replace(b'\r\n\r\n', b'\n\n', 1), {400}, 0),
    '7 LF CR LF': (post().replace(b'\r\n\r\n', b'\n\r\n', 1), {400}, 0),
    '7 method with @': (post(line=b'PO@ST /v1/chat/completions HTTP/1.1'), {400}, 0),
    '7 bytes above 127 in a value pass': (post(b'X-Name: caf\xc3\xa9'), {200}, 1),

    **{f'8 request line {v[:32]!r}': (post(line=v), {400, 405, 414, 431, 501, 505}, 0) for v in (
        b'POST\t/v1/chat/completions\tHTTP/1.1', b'POST  /v1/chat/completions HTTP/1.1',
        b'POST /v1/chat/completions  HTTP/1.1', b'POST /v1/chat /completions HTTP/1.1',
        b'POST /v1/chat\x01/completions HTTP/1.1', b'POST /v1/chat/completions\x00 HTTP/1.1',
        b'POST /v1/chat/completions HTTP/1.1x', b'POST /v1/chat/completions HTTP/1.1 ',
        b'POST /v1/chat/completions http/1.1', b'POST /v1/chat/completions HTTP/1.2',
        b'POST /v1/chat/completions HTTP/2.0', b'POST /v1/chat/completions HTTP/0.9',
        b'POST /v1/chat/completions HTTP/11', b'POST /v1/chat/completions HTTP/1.01', b'POST /v1/chat/completions',
        b'POST /v1/chat/completions\xe9 HTTP/1.1', b'POST /v1/chat/completions#x HTTP/1.1',
        b'post /v1/chat/completions HTTP/1.1', b'P' * 9216 + b' /v1/chat/completions HTTP/1.1',
        b'POST', b'POST HTTP/1.1', b' POST /v1/chat/completions HTTP/1.1', b'POST /v1/chat/completions HTTPS/1.1',
        b'\xef\xbb\xbfPOST /v1/chat/completions HTTP/1.1', b'\x16\x03\x01\x02\x00\x01')},
    '8 two empty lines before it pass': (b'\r\n\r\n' + post(), {200}, 1),
    '8 many empty lines': (b'\r\n' * 9 + post(), {400}, 0),

    '9 absolute form passes': (post(line=b'POST http://127.0.0.1/v1/chat/completions HTTP/1.1'), {200}, 1),
    '9 absolute form of a foreign host': (post(line=b'POST http://evil.example/v1/chat/completions HTTP/1.1'), {403}, 0),
    '9 the authority wins over Host': (post(line=b'POST http://127.0.0.1/v1/chat/completions HTTP/1.1',
                                            host=b'Host: evil.example'), {200}, 1),
    **{f'9 target {v!r}': (get(target=v), {400}, 0) for v in (
        b'http://user@127.0.0.1/v1/models', b'http://a:b@127.0.0.1/v1/models', b'127.0.0.1:80', b'*', b'v1/models',
        b'http:///v1/models', b'ftp://127.0.0.1/v1/models', b'http://127.0.0.1:99999/v1/models',
        b'http://127.0.0.1:/v1/models', b'//')[:9]},
    '9 CONNECT': (get(method=b'CONNECT', target=b'127.0.0.1:80'), {400, 405, 501}, 0),
    '9 TRACE': (get(method=b'TRACE'), {405}, 0),
    '9 an unknown method': (get(method=b'BREW'), {405, 501}, 0),

    '10 no Host': (post(host=b''), {400}, 0),
    '10 two': (post(b'Host: 127.0.0.1'), {400}, 0),
    '10 two, different': (post(b'Host: evil.example'), {400}, 0),
    **{f'10 Host {v!r}': (post(host=b'Host: ' + v), {400}, 0) for v in (
        b'', b'a b', b'127.0.0.1:', b'127.0.0.1:x', b'127.0.0.1:80:80', b'127.0.0.1:65536', b'127.0.0.1/x', b'a@b',
        b'[::1', b'[::1]x', b'::1', b'127.0.0.1,127.0.0.1', b'127.0.0.1\\', b'caf\xc3\xa9', b'%31', b'[g::]')},
    '10 a foreign Host': (post(host=b'Host: evil.example'), {403}, 0),
    '10 a foreign Host that begins as ours': (post(host=b'Host: 127.0.0.1.evil.example'), {403}, 0),

    '11 a long header line': (post(b'X: ' + b'y' * 70000), {431}, 0),
    '11 a long head': (post(*[b'X-%d: %s' % (i, b'y' * 1000) for i in range(70)]), {431}, 0),
    '11 2,000 headers': (post(*[b'X: y'] * 2000), {431}, 0),
    '11 a long URL': (post(line=b'POST /' + b'x' * 70000 + b' HTTP/1.1'), {414}, 0),
    '11 a long URL without end': (b'GET /' + b'x' * 70000, {414}, 0),
    '11 100 headers pass': (post(*[b'X: y'] * 100), {200}, 1),

    '12 an unknown expectation': (post(b'Expect: y 100-continue'), {417}, 0),
    '12 twice': (post(b'Expect: 100-continue', b'Expect: 100-continue'), {400}, 0),
    '12 too large: final answer, no 100': (post(b'Expect: 100-continue', b'Content-Length: 99999999999', length=False,
                                                body=b''), {413}, 0),
    '12 no media type: final answer': (post(b'Expect: 100-continue', media=b''), {415}, 0),

    '13 DELETE with a body': (post(line=b'DELETE /v1/chat/completions HTTP/1.1'), {405}, 0),
    '13 GET on the POST route': (get(target=b'/v1/chat/completions'), {405}, 0),
    '13 HEAD with a body': (post(line=b'HEAD /v1/models HTTP/1.1'), {200}, 0),

    '14 h2c': (post(b'Upgrade: h2c', b'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'), {200}, 1),
    '14 websocket': (post(b'Upgrade: websocket', b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='), {200}, 1),
}


def statuses(data):
    """Of all answers among the bytes, interim ones included. Only for bodies that hold no status line."""
    return [int(s) for s in re.findall(rb'HTTP/1\.1 (\d{3}) ', data)]


class Recorder:
    """The attackers' provider: remembers each request as it came."""

    def __init__(self):
        self.seen = []

    def __call__(self, connection):
        while True:
            request = connection.read_request()
            if not request:
                return
            self.seen.append(request)
            connection.send(GOOD)


def judge(siege, recorder, name, pieces):
    data, allowed, forwarded = CASES[name]
    before = len(recorder.seen)
    received = raw(*siege.relais.data, pieces=pieces, within_s=5 * SLOW)
    how = f'{name} in {len(pieces)} pieces: {received.data[:300]!r}'
    assert answer_status(received.data) in allowed, how
    assert received.closed, f'{how}: the connection stays open'
    assert len(statuses(received.data)) == 1, f'{how}: a second answer'
    new = recorder.seen[before:]
    assert len(new) == forwarded, f'{how}: {[r.line for r in new]} reached the provider'
    for request in new:
        assert request.line == 'POST /v1/chat/completions HTTP/1.1', request
        assert request.body == BODY.replace(b'"h/m"', b'"m"'), request
        framing = [v for n, v in request.headers if n.lower() in ('content-length', 'transfer-encoding')]
        assert framing == [str(len(request.body))], request
    return answer_status(received.data)


@pytest.mark.parametrize('part', ['1 2 3', '4 5 6', '7 8', '9 10 11 12 13 14'])
def test_framing_and_syntax(part):
    recorder = Recorder()
    names = [n for n in CASES if n.split(' ')[0] in part.split(' ')]
    assert len(names) > 20
    logged = 0
    with Siege(recorder) as siege:
        for name in names:
            data = CASES[name][0]
            first = judge(siege, recorder, name, [data])
            logged += 1
            variants = [cuts(data, seed) for seed in range(2)]
            if len(data) < 2000:
                variants.append([data[i:i + 1] for i in range(len(data))])
            for pieces in variants:
                assert judge(siege, recorder, name, pieces) == first, f'{name}: cut otherwise, answered otherwise'
                logged += 1
        siege.expect_logged = logged
        assert not any('smuggled' in r.raw.decode('latin-1') for r in recorder.seen)


def test_expect_is_answered_before_the_body():
    """12: 100 only when the body is wanted; then the request goes on."""
    recorder = Recorder()
    with Siege(recorder) as siege, siege.client() as client:
        head = post(b'Expect: 100-continue', body=b'', length=False, close=False)[:-2] + \
            b'Content-Length: %d\r\n\r\n' % N
        client.sock.sendall(head)
        client.sock.settimeout(5)
        assert client.sock.recv(65536) == b'HTTP/1.1 100 Continue\r\n\r\n'
        client.sock.sendall(BODY)
        assert client.read_reply().status == 200
        # "0.CL": a body that begins at once although 100 was asked for is this request's body, not the next request.
        client.sock.sendall(head + BODY + get())
        assert client.read_reply().status == 200
        assert client.read_reply().status == 200
        assert len(recorder.seen) == 2
        # Refused: the body that may follow is never taken for a request.
        received = raw(*siege.relais.data, pieces=[
            post(b'Expect: 100-continue', media=b'', body=b'', length=False, close=False)[:-2] +
            b'Content-Length: %d\r\n\r\n' % len(SMUGGLED), SMUGGLED], gap_s=0.05)
        assert statuses(received.data) == [415] and received.closed
        assert len(recorder.seen) == 2
        siege.expect_logged = 4


def test_early_answers_drain_or_close():
    """13: what follows a refused head is drained as body up to 64 KiB, or the connection ends; never a request."""
    recorder = Recorder()
    with Siege(recorder) as siege:
        small = SMUGGLED + b' ' * 2000
        received = raw(*siege.relais.data, until=b'"object":"list"',
                       data=post(body=small, media=b'Content-Type: text/plain', close=False) + get())
        assert statuses(received.data) == [415, 200], received.data[:500]
        received = raw(*siege.relais.data, post(body=SMUGGLED * 1000, media=b'Content-Type: text/plain', close=False)
                       + get())
        assert statuses(received.data) == [415] and received.closed
        endless = te(body=chunked(SMUGGLED) * 1000 + chunked(b''), media=b'Content-Type: text/plain', close=False)
        received = raw(*siege.relais.data, endless + get())
        assert statuses(received.data) == [415] and received.closed
        # What is only drained gets no answer of its own, not even when it is malformed.
        broken = te(body=chunked(b'{') + b'zz\r\n', media=b'Content-Type: text/plain', close=False)
        received = raw(*siege.relais.data, pieces=[broken[:-4], broken[-4:]], gap_s=0.1)
        assert statuses(received.data) == [415] and received.closed
        assert not recorder.seen
        siege.expect_logged = 5


def test_pipelining():
    """15: a thousand requests in one write, mixed: answers in order, and an end at the first bad one."""
    recorder = Recorder()
    with Siege(recorder) as siege:
        asked, wanted = [], []
        for i in range(1000):
            if i % 100 == 50:
                asked.append(post(body=b'{"model":"h/m%d","messages":[]}' % i, close=False))
                wanted.append(200)
            elif i % 3 == 0:
                asked.append(b'GET /nowhere/%d HTTP/1.1\r\nHost: localhost\r\n\r\n' % i)
                wanted.append(404)
            elif i % 3 == 1:
                asked.append(post(body=b'[%d]' % i, close=False))
                wanted.append(400)
            else:
                asked.append(b'GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n')
                wanted.append(200)
        with siege.client(within_s=20 * SLOW) as client:
            client.sock.settimeout(20 * SLOW)
            client.sock.sendall(b''.join(asked))
            for number, status in enumerate(wanted):
                reply = client.read_reply()
                assert reply.status == status, f'answer {number}: {reply}'
                if status == 404:
                    assert f'/nowhere/{number}' in reply.json()['error']['message']
        assert len(recorder.seen) == 10
        bad = b'GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'
        good = b'GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n'
        received = raw(*siege.relais.data, good * 3 + bad + good * 50)
        assert statuses(received.data) == [200, 200, 200, 400] and received.closed
        siege.expect_logged = 1004


def test_upgrade_never_tunnels():
    """14: what follows a request that wished to upgrade is the next request."""
    recorder = Recorder()
    with Siege(recorder) as siege:
        wish = b'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n'
        for protocol in (b'h2c', b'websocket', b'anything'):
            received = raw(*siege.relais.data, wish % protocol + post())
            assert statuses(received.data) == [200, 200]
        received = raw(*siege.relais.data, wish % b'h2c' + b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
        assert statuses(received.data) == [200, 505] and received.closed
        assert len(recorder.seen) == 3
        siege.expect_logged = 8


def test_hop_by_hop_and_forwarding_headers():
    """17: Connection strips nothing of ours; nothing of the client's forwarding fields goes on."""
    recorder = Recorder()
    with Siege(recorder) as siege:
        hostile = [b'Connection: Authorization, X-Request-Id, Content-Type, close', b'Keep-Alive: timeout=5',
                   b'X-Forwarded-For: 10.0.0.1', b'X-Forwarded-Host: evil', b'Forwarded: for=evil', b'Via: 1.1 someone',
                   b'Proxy-Authorization: Basic eDp5', b'Proxy-Connection: keep-alive', b'x_api_key: boo',
                   b'X-Api-Key: boo', b'Authorization: Bearer boo', b'Cookie: a=b', b'TE: trailers', b'Trailer: X',
                   b'OpenAI-Organization: boo', b'X-Sim-Status: 500', b'X-Real-IP: 10.0.0.1', b'Api-Key: boo']
        received = raw(*siege.relais.data, post(*hostile))
        assert statuses(received.data) == [200]
        names = {n.lower(): v for n, v in recorder.seen[0].headers}
        assert names['authorization'] == f'Bearer {PROVIDER_KEY}'
        assert names['content-type'] == 'application/json' and 'x-request-id' in names
        for name in ('connection', 'x-forwarded-for', 'x-forwarded-host', 'forwarded', 'proxy-authorization',
                     'x_api_key', 'x-api-key', 'cookie', 'te', 'trailer', 'openai-organization', 'x-sim-status',
                     'x-real-ip', 'api-key', 'keep-alive'):
            assert name not in names, f'{name}: {names[name]}'
        assert 'boo' not in recorder.seen[0].raw.decode('latin-1') and 'someone' not in names.get('via', '')
        siege.expect_logged = 1


# --- case 16: a provider that attacks ---------------------------------------------------------------------------------

POISON = http_answer(chat_answer('POISON'))
ANSWER = chat_answer('yes')
BODY_OF_ANSWER = GOOD.partition(b'\r\n\r\n')[2]
HEAD_200 = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'


def with_head(*lines, body=BODY_OF_ANSWER, length=True, start=HEAD_200):
    length_line = b'Content-Length: %d\r\n' % len(body) if length else b''
    return start + length_line + b''.join(line + b'\r\n' for line in lines) + b'\r\n' + body


# name -> bytes: each is refused, and the next target answers.
BAD_ANSWERS = {
    'length and chunked': with_head(b'Transfer-Encoding: chunked', body=chunked(BODY_OF_ANSWER) + chunked(b'')),
    'two lengths': with_head(b'Content-Length: 3'),
    'two equal lengths': with_head(b'Content-Length: %d' % len(BODY_OF_ANSWER)),
    'length list': with_head(b'Content-Length: 5, 5', length=False),
    'length +5': with_head(b'Content-Length: +5', length=False),
    'length too big': with_head(b'Content-Length: 99999999999999999999', length=False),
    'unknown coding': with_head(b'Transfer-Encoding: gzip', length=False),
    'chunked not last': with_head(b'Transfer-Encoding: chunked, gzip', length=False),
    'two codings': with_head(b'Transfer-Encoding: chunked', b'Transfer-Encoding: chunked', length=False,
                             body=chunked(BODY_OF_ANSWER) + chunked(b'')),
    'interim storm': b'HTTP/1.1 100 Continue\r\n\r\n' * 10000 + GOOD,
    'early hints storm': b'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n' * 10000 + GOOD,
    '101 unasked': b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n' + GOOD,
    '204': with_head(start=b'HTTP/1.1 204 No Content\r\n'),
    '304': with_head(start=b'HTTP/1.1 304 Not Modified\r\n'),
    'bare LF': GOOD.replace(b'\r\n', b'\n'),
    'bare LF in the head': with_head(b'X: a\nSet-Cookie: b'),
    'bare CR in the head': with_head(b'X: a\rY: b'),
    'NUL in the head': with_head(b'X: a\x00b'),
    'control in the head': with_head(b'X: a\x01b'),
    'folded': with_head(b'X: a\r\n b'),
    'blank before the colon': with_head(b'X : a'),
    'no colon': with_head(b'nonsense'),
    'status line of 64 KiB': b'HTTP/1.1 200 ' + b'x' * 65536 + b'\r\n\r\n',
    'status 2000': b'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n',
    'status 99': b'HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n',
    'HTTP/2 preface': b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'HTTP/1.2': b'HTTP/2.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    'not HTTP': b'SSH-2.0-OpenSSH_9.2\r\n',
    'a request': post(),
    'a head without end': HEAD_200 + b'X: y\r\n' * 20000,
    '2,000 headers': with_head(*[b'X: y'] * 2000),
    'bad chunk size': with_head(b'Transfer-Encoding: chunked', length=False, body=b'zz\r\n'),
    'chunk wrap': with_head(b'Transfer-Encoding: chunked', length=False, body=b'10000000000000005\r\nhello\r\n'),
    'chunk extensions without end': with_head(b'Transfer-Encoding: chunked', length=False, body=b'5;' + b'x' * 100000),
    'trailers without end': with_head(b'Transfer-Encoding: chunked', length=False,
                                      body=chunked(BODY_OF_ANSWER) + b'0\r\n' + b'X: y\r\n' * 20000),
    'nothing': b'',
    'half a body': GOOD[:-5],
    'html': http_answer('<html>hi</html>', content_type='text/html'),
    'an error with 200': http_answer({'error': {'message': 'no', 'type': 'server_error'}}),
    'no choices': http_answer({'object': 'chat.completion', 'choices': []}),
    'json cut': http_answer('{"choices":[{"mess'),
    'unasked gzip garbage': with_head(b'Content-Encoding: gzip'),
    'unknown encoding': with_head(b'Content-Encoding: rot13'),
    'redirect': b'HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n',
}


# Useless, but it ends where it says: the connection may be used again.
SOUND_FRAMING = {'html', 'an error with 200', 'no choices', 'json cut', 'unknown encoding', 'redirect'}


class Scripted:
    """Answers with whatever stands in .answer, then closes if told; notes which connection was asked for which case."""

    def __init__(self):
        self.answer, self.then_close, self.case = GOOD, True, ''
        self.asked = []

    def __call__(self, connection):
        while True:
            request = connection.read_request()
            if not request:
                return
            self.asked.append((id(connection), self.case))
            connection.send(self.answer)
            if self.then_close:
                return


def fallback_over(siege):
    return {'both': {'strategy': 'priority', 'targets': [{'provider': 'h', 'model': 'm'},
                                                         {'provider': 'c', 'model': 'm'}]}}


def test_bad_answers_are_refused_and_the_next_target_answers():
    script = Scripted()
    with Siege(script, extra={'models': fallback_over}) as siege:
        for name, answer in BAD_ANSWERS.items():
            for stream in (False, True):
                for close in (True, False):
                    if not close and name in ('nothing', 'half a body', 'a head without end', 'HTTP/1.2', '304', '204'):
                        continue  # these wait for more, as they should
                    script.answer, script.then_close, script.case = answer, close, name
                    body = {'model': 'both', 'messages': [], **({'stream': True} if stream else {})}
                    if stream:
                        # The canary's provider speaks no streams: both fail, and the body says what of.
                        reply = siege.ask(body)
                        assert reply.status == 502, f'{name}: {reply}'
                        error = reply.json()['error']
                        assert error['code'] == 'provider_error' and 'h/m: ' in error['message'], f'{name}: {error}'
                    else:
                        reply = siege.ask(body)
                        assert reply.status == 200, f'{name}: {reply}'
                        assert reply.header('x-relais-provider') == 'c', f'{name}: {reply}'
                        assert reply.header('x-relais-attempts') == '2', name
                    assert b'POISON' not in reply.raw and b'set-cookie' not in reply.raw.lower()
        used = [c for c, name in script.asked if name not in SOUND_FRAMING]
        assert len(used) == len(set(used)), 'a connection was used again after a bad answer'


# name -> bytes: a good answer with something behind it that is nobody's.
POISONED = {
    'an answer behind the length': GOOD + POISON,
    'an answer behind the chunks': with_head(b'Transfer-Encoding: chunked', length=False,
                                             body=chunked(BODY_OF_ANSWER) + chunked(b'') + POISON),
    'a byte behind the length': GOOD + b'x',
    'an interim answer behind it': GOOD + b'HTTP/1.1 100 Continue\r\n\r\n',
    'an answer before the request': None,
}


@pytest.mark.parametrize('when', ['at once', 'later'])
def test_extra_bytes_reach_nobody(when):
    """16: the bytes behind an answer end its connection; the next request gets a new one and its own answer."""
    script = Scripted()
    script.then_close = False
    late = {}

    def provider(connection):
        while True:
            request = connection.read_request()
            if not request:
                return
            script.asked.append((id(connection), late['name']))
            whole = POISONED[late['name']]
            if whole is None:
                connection.send(GOOD)
                time.sleep(0.02)
                connection.send(POISON)  # on the resting connection
            elif when == 'at once':
                connection.send(whole)
            else:
                cut = whole.index(b'"total_tokens": 8}}') + len(b'"total_tokens": 8}}')
                cut += len(b'\r\n0\r\n\r\n') if b'chunked' in whole else 0
                connection.send(whole[:cut])
                time.sleep(0.02)
                connection.send(whole[cut:])

    with Siege(provider) as siege, siege.client() as one, siege.client() as other:
        for name in POISONED:
            late['name'] = name
            for turn in range(4):
                for client in (one, other):
                    reply = client.post('/v1/chat/completions', {'model': 'h/m', 'messages': []})
                    assert reply.status == 200, f'{name}: {reply}'
                    assert reply.json()['choices'][0]['message']['content'] == 'fine', f'{name}: {reply}'
                    if when == 'later' or POISONED[name] is None:
                        time.sleep(0.06)  # the poison must have arrived before the next call chooses a connection
        used = [c for c, _ in script.asked]
        assert len(used) == len(set(used)), 'a poisoned connection was used again'


def test_header_injection_by_a_provider():
    """What a provider puts into its head reaches a client only by the allow-list."""
    script = Scripted()
    script.answer = with_head(b'Set-Cookie: a=b', b'Alt-Svc: h3=":1"', b'Strict-Transport-Security: max-age=1',
                              b'Access-Control-Allow-Origin: *', b'Server: evil', b'Connection: X-Request-Id',
                              b'X-Request-Id: ' + b'r' * 40, b'X-Relais-Provider: evil', b'X-Relais-Cost-Usd: 0',
                              b'X-Ratelimit-Remaining: 7', b'Location: http://evil', b'Refresh: 0', b'X-Evil: 1',
                              b'Trailer: X-Evil', b'Keep-Alive: timeout=1')
    with Siege(script) as siege:
        reply = siege.ask({'model': 'h/m', 'messages': []})
        assert reply.status == 200
        names = [n.lower() for n, _ in reply.headers]
        assert len(names) == len(set(names)), names
        assert set(names) <= {'date', 'content-type', 'content-length', 'x-request-id', 'x-relais-provider',
                              'x-relais-model', 'x-relais-attempts', 'x-relais-overhead-us', 'connection',
                              'x-relais-upstream-request-id', 'x-ratelimit-remaining', 'x-frame-options',
                              'x-content-type-options'}, names
        assert reply.header('x-relais-provider') == 'h'
        assert reply.header('x-relais-upstream-request-id') == 'r' * 40
        siege.expect_logged = 1
