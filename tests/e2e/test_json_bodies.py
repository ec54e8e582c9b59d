# SPDX-License-Identifier: Apache-2.0
"""FAULTS E, cases 38 to 41: what JSON is let through, and that what was authorised is what is sent.

The families follow the well-known three kinds (must be accepted, must be refused, free to decide), made here anew. Every
value travels as a member of a chat request; what reaches the provider must be the client's bytes with nothing but the
model's name replaced, and Python's parser (and Node's, where there is one) must read the same from both."""
import json
import math
import shutil
import subprocess

import pytest

from harness import SLOW
from hostile import GOOD, Siege


def around(value, before=b'', after=b''):
    return b'{"model":"h/m","messages":[],' + before + b'"x":' + value + after + b'}'


def deep(n, left=b'[', right=b']', middle=b''):
    return left * n + middle + right * n


STRINGS = [b'"' + s + b'"' for s in (
    b'', b'a', b' ', b'\\u0061', b'\\u0000', b'\\uD83D\\ude00', b'\\uDBFF\\uDFFF', b'\\uD800\\uDC00', b'\\"', b'\\\\',
    b'\\/', b'/', b'\\b\\f\\n\\r\\t', b'\\u0022', b'\\u005C', b'\\\\u0061', b'\\\\n', b'\xc3\xa9', b'\xe2\x82\xac',
    b'\xf0\x9f\x98\x80', b'\xef\xbf\xbf', b'\xf4\x8f\xbf\xbf', b'\xe2\x80\xa8', b'\xe2\x80\xa9', b'\x7f', b'\xc2\x80',
    b'\xee\x80\x80', b'\xef\xb7\x90', b'\xef\xbf\xbd', b'\xef\xbb\xbf', b'\\uFFFE', b'\\ufdd0', b'null', b'{', b']',
    b'a/*b*/c', b'#', b"'", b'\\u200B', b'\\u2064', b'\\u00A0', b'\xed\x9f\xbf', b'\xe1\x80\x80', b'x' * 5000,
    b'\xe6\x97\xa5\xe6\x9c\xac' * 500)]
NUMBERS = [b'0', b'-0', b'1', b'-1', b'123', b'0.5', b'-0.0', b'1.5e3', b'1E22', b'1E-2', b'1e+2', b'0e+1', b'0e1',
           b'20e1', b'1.0', b'123.456e78', b'-1234567890', b'0.' + b'0' * 80 + b'1', b'9007199254740993',
           b'-9007199254740993', b'9223372036854775807', b'9223372036854775808', b'18446744073709551616',
           b'3.141592653589793238462643383279', b'100000000000000000000000000000001', b'1' * 400, b'1e5', b'1e-400']
VALUES = STRINGS + NUMBERS + [
    b'true', b'false', b'null', b'[]', b'{}', b'[ ]', b'{ }', b'[1]', b'[ 1 , 2 ]', b'[[],[[]],{}]', b'{"a":{"b":[]}}',
    b'{"":0}', b'{"a":1,"a":1}', b'{"a":1,"a":2}', b'{"\\u0000":1}', b'{"a\\"b":1}', b'[null,1,"a",true,{}]', b'\t[\n]\r ',
    b'[\n"a"\n]', b'{"min":-1.0e+28,"max":1.0e+28}', deep(120), deep(60, b'[{"a":', b'}]', b'1'),
    b'[' + b','.join(b'"%d"' % i for i in range(3000)) + b']', b'{"model":"other","stream":true,"Model":1}',
    b'[{"messages":1,"messages":2}]']

BAD_STRINGS = [b'"' + s + b'"' for s in (
    b'\\x00', b'\\a', b'\\', b'\\u', b'\\u00', b'\\u00A', b'\\u00G0', b'\\uD800\\u', b'\\uD800\\', b'\\U0061', b'\\\x00',
    b'\\\t', b'\t', b'\n', b'\r', b'\x00', b'\x1f', b'a\x00b', b'\\\xc3\xa9', b'\\u{61}', b'\\0', b"\\'", b'\\e')]
BAD_UTF8 = [b'"' + s + b'"' for s in (
    b'\xff', b'\x80', b'\xe9', b'\xc0\xaf', b'\xc1\xbf', b'\xe0\x80\xaf', b'\xf0\x80\x80\xaf', b'\xed\xa0\x80', b'\xed\xbf\xbf',
    b'\xed\xa0\xbd\xed\xb8\x80', b'\xf4\x90\x80\x80', b'\xf5\x80\x80\x80', b'\xf8\x88\x80\x80\x80',
    b'\xfc\x83\xbf\xbf\xbf\xbf', b'\xe2\x82', b'\xf0\x9f\x98', b'a\xc3', b'\xc3(', b'\xfe', b'x' * 63 + b'\xff', b'\xc3\xa9' * 40 + b'\xff',
    b'x' * 31 + b'\xe2\x82')]
BAD_NUMBERS = [b'-', b'+1', b'01', b'-01', b'00', b'1.', b'-1.', b'.1', b'-.1', b'1.e1', b'1e', b'1e+', b'1E-', b'1eE2', b'0e',
               b'0e+', b'0.e1', b'1.2.3', b'1 000', b'1_000', b'0x1', b'0X1F', b'1a', b'1e1.5', b'--1', b'-+1', b'++1', b'- 1',
               b'Infinity', b'-Infinity', b'NaN', b'nan', b'inf', b'1d', b'\xef\xbc\x91', b'2.e3', b'-2.', b'1/2', b'1,2.3e']
BAD_VALUES = BAD_STRINGS + BAD_UTF8 + BAD_NUMBERS + [
    b'', b'tru', b'nul', b'fals', b'True', b'NULL', b'trueX', b'undefined', b"'a'", b'a', b'[', b'[1', b'[1,', b'[1,]', b'[,1]',
    b'[,]', b'[1 2]', b'[1,,2]', b'[1:2]', b'[1}', b']', b'[]]', b'{', b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}',
    b'{,}', b'{a:1}', b"{'a':1}", b'{"a" 1}', b'{"a"::1}', b'{"a":1 "b":2}', b'{"a":1,,"b":2}', b'{1:1}', b'{null:1}',
    b'{"a","b"}', b'{"a":1]', b'{[]:1}', b'{"a":/**/1}', b'[1/*x*/]', b'1//x', b'[1]#x', b'"a', b'"\\"', b'1 1', b'"a""b"',
    b'[\x00]', b'[\x0b1]', b'[\x0c1]', b'\xc2\xa0 1', b'\xe2\x80\x8b1', b'\xef\xbb\xbf1', b'[\xe2\x81\xa01]', b'<null>', b'*',
    b'$', b'[1\x001]', b'"a"b', deep(127), deep(128), deep(1000), deep(100000), b'[' * 100000, b'{"a":' * 100000,
    deep(70, b'[{"a":', b'}]', b'1')]

BAD_WHOLE = [
    b'[]', b'"model"', b'1', b'null', b'true', b' ', b'\xef\xbb\xbf' + around(b'1'), around(b'1') + b'x', around(b'1') + b'}',
    around(b'1') + around(b'1'), around(b'1') + b'\x00', b'\x00' + around(b'1'), around(b'1')[:-1], around(b'1')[1:],
    b'{', b'}', b'{}', b'{"model":"h/m"}', b'{"messages":[]}', b'{"model":null,"messages":[]}',
    b'{"model":1,"messages":[]}', b'{"model":["h/m"],"messages":[]}', b'{"model":"","messages":[]}',
    b'{"model":"h/m","messages":{}}', b'{"model":"h/m","messages":null}', b'{"model":"h/m","messages":[],"stream":"true"}',
    b'{"model":"h/m","messages":[],"stream":1}', b'{"model":"h/m","messages":[],"stream_options":[]}',
    b'{"model":"' + b'h/' + b'm' * 300 + b'","messages":[]}', b'{"model":"h/m\\u0000","messages":[]}',
    b'{"model":"h/m\\n","messages":[]}', b'{"model":"h/\\ud800","messages":[]}',
    around(b'1').decode().encode('utf-16'), around(b'1').decode().encode('utf-16-le'),
    around(b'1').decode().encode('utf-32'), b'--x\r\n\r\n{}', b'model=h/m']

# name of a member -> what some parser might take for it
POLICY = ['model', 'messages', 'stream', 'stream_options', 'max_tokens', 'max_completion_tokens', 'n', 'user', 'tools',
          'functions']
LOOKALIKES = [b'"Model"', b'"MODEL"', b'"mODEL"', b'"\\u006dodel"', b'"mod\\u0065l"', b'"\\u006D\\u006F\\u0064\\u0065\\u006C"',
              b'"\\u004dodel"', b'"Messages"', b'"message\xc5\xbf"', b'"me\\u017fsages"', b'"\xc5\xbftream"', b'"Stream"',
              b'"\\u017ftream"', b'"max_to\xe2\x84\xaaens"', b'"max_to\\u212Aens"', b'"max_to\\u212aens"', b'"Max_Tokens"',
              b'"MAX_COMPLETION_TOKENS"', b'"max_completion_to\xe2\x84\xaaens"', b'"N"', b'"\\u006e"', b'"U\\u0053er"',
              b'"tool\xc5\xbf"', b'"Functions"', b'"stream_Options"', b'"model\\u0000"', b'"model\\u0000x"']
HARMLESS = [b'"models"', b'"mode"', b'" model"', b'"model "', b'"mo\\ndel"', b'"m\xc3\xb6del"', b'"\\\\u006dodel"', b'"x_model"',
            b'"streams"', b'"nn"', b'""', b'"max-tokens"']

# FAULTS 41: where the standard leaves it open, this is what is done.
DECIDED = {
    'a lone high surrogate, escaped': (b'"\\uD800"', True),
    'a lone low surrogate, escaped': (b'"\\uDC00"', True),
    'two high surrogates': (b'"\\uD800\\uD800"', True),
    'high surrogate, then a letter': (b'"\\uD800x"', True),
    'high surrogate, then a newline escape': (b'"\\uD800\\n"', True),
    'reversed pair': (b'"\\uDC00\\uD800"', True),
    'a surrogate pair as a key': (b'{"\\uD800":1}', True),
    'a surrogate in UTF-8': (b'"\xed\xa0\x80"', False),
    'overlong': (b'"\xc0\x80"', False),
    'beyond Unicode': (b'"\xf4\x90\x80\x80"', False),
    'byte order mark inside': (b'\xef\xbb\xbf{}', False),
    'huge exponent': (b'1e400', True),
    'huge negative exponent': (b'-1e-1000000', True),
    'an exponent of many digits': (b'1e' + b'9' * 1000, True),
    'ten thousand digits': (b'1' * 10000, True),
    'minus zero': (b'-0', True),
    'integer beyond a double': (b'123123123123123123123123123123', True),
    'depth 127 in all': (deep(126), True),
    'depth 128 in all': (deep(127), True),
    'depth 129 in all': (deep(128), False),
    'a key repeated inside': (b'{"a":1,"a":2}', True),
    'U+2028': (b'"\xe2\x80\xa8"', True),
    'DEL': (b'"\x7f"', True),
    'noncharacter': (b'"\xef\xbf\xbe"', True),
}
BAD_VALUES = [v for v in BAD_VALUES if v != deep(127)]  # decided above


class Echo:
    """The provider: keeps the bodies in order."""

    def __init__(self):
        self.bodies = []

    def __call__(self, connection):
        while True:
            request = connection.read_request()
            if not request:
                return
            self.bodies.append(request.body)
            connection.send(GOOD)


def same(a, b):
    """Equal as Python's json reads it, types and signs included."""
    if isinstance(a, float) and isinstance(b, float):
        return math.copysign(1, a) == math.copysign(1, b) and a == b
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def node_agrees(pairs, folder):
    """JSON.parse of both sides gives the same but for the edits. True also where there is no node."""
    node = shutil.which('node')
    if not node:
        return True
    path = folder / 'pairs.json'
    path.write_text(json.dumps([[a.decode('utf-8'), b.decode('utf-8')] for a, b in pairs]), encoding='utf-8')
    program = '''
        const assert = require('assert'); let n = 0;
        for (const [a, b] of JSON.parse(require('fs').readFileSync(process.argv[1], 'utf8'))) {
            const x = JSON.parse(a), y = JSON.parse(b);
            assert.strictEqual(x.model, 'h/m'); assert.strictEqual(y.model, 'm');
            x.model = 'm'; assert.deepStrictEqual(y, x); n++;
        }
        console.log(n);'''
    done = subprocess.run([node, '-e', program, str(path)], capture_output=True, timeout=60 * SLOW, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert int(done.stdout) == len(pairs)
    return True


class Asker:
    """One kept-alive connection, made anew when an answer closed it."""

    def __init__(self, siege):
        self.siege, self.client, self.count = siege, None, 0

    def ask(self, body, path='/v1/chat/completions'):
        self.count += 1
        if not self.client:
            self.client = self.siege.client()
        reply = self.client.request('POST', path, body, [('Content-Type', 'application/json')])
        if (reply.header('connection') or '').lower() == 'close':
            self.client.close()
            self.client = None
        return reply

    def refused(self, body, what=None, status=400):
        reply = self.ask(body)
        assert reply.status == status, f'{body[:200]!r}: {reply}'
        error = reply.json()['error']
        assert error['type'] == 'invalid_request_error' and error['message'], error
        if what:
            assert what in error['message'], f'{body[:200]!r}: {error}'
        return error


def test_values_pass_byte_for_byte(tmp_path):
    echo, pairs = Echo(), []
    with Siege(echo) as siege:
        asker = Asker(siege)
        for value in VALUES + [v for v, passes in DECIDED.values() if passes]:
            body = around(value)
            reply = asker.ask(body)
            assert reply.status == 200, f'{body[:200]!r}: {reply}'
            assert echo.bodies[-1] == body.replace(b'"h/m"', b'"m"', 1), body[:200]
            pairs.append((body, echo.bodies[-1]))
        siege.expect_logged = asker.count
    assert len(pairs) > 110
    for sent, got in pairs:
        if len(sent) > 8000 and b'1' * 5000 in sent:
            continue  # Python refuses integers of so many digits
        a, b = json.loads(sent), json.loads(got)
        assert a.pop('model') == 'h/m' and b.pop('model') == 'm'
        assert same(a, b)
    assert node_agrees(pairs, tmp_path)


def test_what_is_no_json_is_refused():
    echo = Echo()
    with Siege(echo) as siege:
        asker = Asker(siege)
        for value in BAD_VALUES + [v for v, passes in DECIDED.values() if not passes]:
            error = asker.refused(around(value))
            assert 'line 1' in error['message'] or 'nested' in error['message'], f'{value[:100]!r}: {error}'
        for body in BAD_WHOLE:
            asker.refused(body)
        asker.refused(b'')
        assert len(BAD_VALUES) + len(BAD_WHOLE) > 180
        assert not echo.bodies
        siege.expect_logged = asker.count


def test_policy_keys_are_unambiguous():
    """38: twice, or in a spelling that some parser takes for the same, is refused wherever it stands; elsewhere it is free."""
    echo = Echo()
    values = {'model': b'"h/other"', 'messages': b'[]', 'stream': b'false', 'stream_options': b'{}', 'max_tokens': b'1',
              'max_completion_tokens': b'1', 'n': b'1', 'user': b'"u"', 'tools': b'[]', 'functions': b'[]'}
    with Siege(echo) as siege:
        asker = Asker(siege)
        for name in POLICY:
            member = b'"%s":%s' % (name.encode(), values[name])
            once = b'' if name in ('model', 'messages') else member + b','
            for body in (b'{' + member + b',' + once + b'"model":"h/m","messages":[]}',
                         b'{"model":"h/m","messages":[],' + once + member + b'}'):
                asker.refused(body, name)
        for key in LOOKALIKES:
            for body in (b'{' + key + b':1,"model":"h/m","messages":[]}', around(b'1', after=b',' + key + b':1'),
                         b'{' + key + b':"h/m","messages":[]}'):
                asker.refused(body)
        assert not echo.bodies
        for key in HARMLESS:
            body = around(b'1', before=key + b':1,')
            assert asker.ask(body).status == 200, body
            assert echo.bodies[-1] == body.replace(b'"h/m"', b'"m"', 1)
        for inside in LOOKALIKES:  # the client's own affair
            body = around(b'{' + inside + b':1}')
            assert asker.ask(body).status == 200, body
        siege.expect_logged = asker.count


@pytest.mark.parametrize('text', ['1e400', '1e1000000', '-0', '9007199254740993', '"100"', 'null', '-1', '1e99', '0.1'])
def test_limits_are_not_rewritten(text):
    """40: what stands in max_tokens goes on as it stands, whatever it is worth."""
    echo = Echo()
    with Siege(echo, canary=False) as siege:
        body = around(b'1', before=b'"max_tokens":%s,' % text.encode())
        assert siege.ask(body).status == 200
        assert echo.bodies == [body.replace(b'"h/m"', b'"m"', 1)]


def test_the_spliced_body_is_what_was_meant():
    """Names with escapes, odd spacing, options to join: both parsers read the edited request alike."""
    bodies = [
        b'{"model" : "h\\/m" , "messages":[]}', b'{"messages":[],"model":"\\u0068/m"}',
        b'\n{\t"messages"\r:\n[ ]\t,"model":"h/m"\n}\n', b'{"x":"\\"model\\":\\"h/m\\"","model":"h/m","messages":[]}',
        b'{"x":{"model":"h/m"},"model":"h/m","messages":[{"model":"h/m"}]}',
        b'{"model":"h/m","messages":[],"stream":true}', b'{"model":"h/m","messages":[],"stream":true,"stream_options":null}',
        b'{"model":"h/m","messages":[],"stream":true,"stream_options":{}}',
        b'{"model":"h/m","messages":[],"stream":true,"stream_options":{"include_usage":false,"x":[1]}}',
        b'{"stream_options":{"x":"}","include_usage":true},"model":"h/m","messages":[],"stream":true}',
        b'{"model":"h/m","messages":[],"stream":false,"stream_options":{"include_usage":false}}']
    echo = Echo()
    with Siege(echo, canary=False) as siege:
        for body in bodies:
            wanted = json.loads(body)
            siege.ask(body)
            got = json.loads(echo.bodies[-1])
            if wanted.get('stream'):
                options = got.pop('stream_options')
                assert options.pop('include_usage') is True
                before = wanted.pop('stream_options', None) or {}
                before.pop('include_usage', None)
                assert options == before, body
            assert wanted.pop('model') == 'h/m' and got.pop('model') == 'm', body
            assert got == wanted, body


def test_the_name_of_a_model_cannot_leave_its_string(tmp_path):
    """What the gateway writes itself: a model's name with quotes, escapes, other scripts."""
    names = ['m"x', 'm\\', 'm/é', 'm\u2028', 'm😀', '","stream":true,"x":"', "m'", 'm<script>', 'm\x80', '"', '\\"', '\\u0041']
    echo, pairs = Echo(), []
    with Siege(echo) as siege:
        for name in names:
            for ascii_only in (True, False):
                body = json.dumps({'model': 'h/' + name, 'messages': [], 'x': 1}, ensure_ascii=ascii_only).encode()
                reply = siege.ask(body)
                assert reply.status == 200, reply
                assert json.loads(echo.bodies[-1]) == {'model': name, 'messages': [], 'x': 1}
        siege.expect_logged = 2 * len(names)
