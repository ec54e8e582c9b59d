# SPDX-License-Identifier: Apache-2.0
"""Forms with files: streamed to the provider that their model field names, wherever it stands; never held, never sent
twice. FAULTS 43, multipart."""
import hashlib
import os
import socket
import threading
import time

import h2.events
import pytest

import h2peer
from h2kit import H2Client
from harness import SLOW, WAIT_S, Client, chunked, eventually, free_port, http_answer, raw
from kit import MEMORY, config, header, latest, serving

TYPE = [('Content-Type', 'multipart/form-data; boundary=XyZ')]
TO_A = [('x-relais-provider', 'a')]
PATH = '/v1/audio/transcriptions'
ANSWER = http_answer({'text': 'hello', 'usage': {'type': 'tokens', 'input_tokens': 14, 'output_tokens': 3, 'total_tokens': 17}})


def part(name, value, extra=b''):
    return b'--XyZ\r\nContent-Disposition: form-data; name="' + name + b'"' + extra + b'\r\n\r\n' + value + b'\r\n'


def file_part(content, name=b'file', filename=b'a.mp3'):
    return part(name, content, b'; filename="' + filename + b'"\r\nContent-Type: audio/mpeg')


END = b'--XyZ--\r\n'
MODEL = part(b'model', b'assistant')


def form(*parts):
    return b''.join(parts) + END


def renamed(body):
    return body.replace(b'\r\n\r\nassistant\r\n', b'\r\n\r\nm\r\n')


def noise(size):
    """Bytes that hold line ends, dashes and beginnings of the boundary."""
    block = b'\r\n--XyY\r\n--Xy\r\r\n-\n--XyZ' + bytes(range(256)) + hashlib.sha256(b'%d' % size).digest()
    return (block * (size // len(block) + 1))[:size]


def code(reply):
    return reply.json()['error']['code']


def in_chunks(body, size=50000):
    return b''.join(chunked(body[i:i + size]) for i in range(0, len(body), size)) + chunked(b'')


def unchunk(data):
    out = b''
    while True:
        size, _, data = data.partition(b'\r\n')
        n = int(size, 16)
        if not n:
            return out
        out, data = out + data[:n], data[n + 2:]


@pytest.mark.parametrize('size', [0, 1000, 180_000, 300_000, 3_000_000])
@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('coding', ['length', 'chunked'])
def test_a_transcription(gateway, provider, size, first, coding):
    a = provider(ANSWER)
    relais = gateway(config([a]))
    sound = file_part(noise(size))
    body = form(*([MODEL, part(b'language', b'en'), sound] if first else [sound, part(b'language', b'en'), MODEL]))
    if coding == 'chunked':
        reply = relais.post(PATH, in_chunks(body), TYPE + [('Transfer-Encoding', 'chunked')])
    else:
        reply = relais.post(PATH, body, TYPE)
    assert (reply.status, reply.json()['text']) == (200, 'hello'), reply
    request = latest(a)
    assert request.line == f'POST {PATH} HTTP/1.1' and header(request, 'content-type') == TYPE[0][1]
    wanted = renamed(body)
    assert wanted != body
    if header(request, 'transfer-encoding'):
        assert coding == 'chunked' and unchunk(request.body) == wanted
    else:
        assert header(request, 'content-length') == str(len(wanted)) and request.body == wanted
    assert reply.header('x-relais-model') == 'm' and reply.header('x-relais-attempts') == '1'
    record = relais.access_log(1)[0]
    assert (record['operation'], record['outcome'], record['model_asked']) == ('transcription', 'ok', 'assistant')
    assert (record['bytes_in'], record['tokens']['prompt'], record['tokens']['completion']) == (len(body), 14, 3)


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('coding', ['length', 'chunked'])
def test_over_http_2(gateway, products, first, coding):
    """The same to a provider that speaks HTTP/2; its windows hold the client back."""
    a = products.add(h2peer.Server(lambda stream: stream.respond(body=b'{"text":"hello"}')))
    relais = gateway(config([a], http2=True))
    sound = file_part(noise(1_000_000))
    body = form(MODEL, sound) if first else form(sound, MODEL)
    for _ in range(2):
        if coding == 'chunked':
            reply = relais.post(PATH, in_chunks(body), TYPE + [('Transfer-Encoding', 'chunked')])
        else:
            reply = relais.post(PATH, body, TYPE)
        assert (reply.status, reply.json()) == (200, {'text': 'hello'})
    for stream in a.streams:
        assert stream.body == renamed(body) and stream.headers['content-type'] == TYPE[0][1]
        if coding == 'length' or not first:
            assert int(stream.headers['content-length']) == len(renamed(body))


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('coding', ['length', 'none'])
def test_from_an_http_2_client(gateway, provider, first, coding):
    """Several at once over one connection, each with its own credit; with and without a length."""
    a = provider(serving(lambda connection, request: connection.send(ANSWER)))
    relais = gateway(config([a]))
    sound = file_part(noise(700_000))
    body = form(MODEL, sound) if first else form(sound, MODEL)
    headers = [(n.lower(), v) for n, v in TYPE] + ([('content-length', str(len(body)))] if coding == 'length' else [])
    with H2Client(relais.data) as client:
        streams = [client.open('POST', PATH, headers, end=False) for _ in range(3)]
        for stream in streams:
            client.data(stream, body, end=True)
        client.finish(*streams)
        for stream in streams:
            assert (stream.status, stream.json()['text']) == (200, 'hello')
        bad = client.open('POST', PATH, [(n.lower(), v) for n, v in TYPE], end=False)
        client.data(bad, b'--XyZ\r\nnonsense', end=True)
        assert client.finish(bad).status == 400
    for request in a.requests:
        sent = unchunk(request.body) if header(request, 'transfer-encoding') else request.body
        assert sent == renamed(body)
    assert len(a.requests) == 3


@pytest.mark.parametrize('path', ['/v1/audio/translations', '/v1/images/edits', '/v1/images/variations'])
def test_the_other_forms_with_a_model(gateway, provider, path):
    a = provider(http_answer('1\n00:00 --> 00:01\nhi\n', content_type='text/plain'))
    relais = gateway(config([a]))
    reply = relais.post(path, form(file_part(b'x'), MODEL), TYPE)
    assert (reply.status, reply.text) == (200, '1\n00:00 --> 00:01\nhi\n')
    assert latest(a).body == renamed(form(file_part(b'x'), MODEL))


@pytest.mark.parametrize('path', ['/v1/files', '/v1/uploads/u/parts', '/v1/containers/c/files'])
def test_without_a_model(gateway, provider, path):
    a = provider(http_answer({'id': 'file-1'}))
    relais = gateway(config([a]))
    body = form(part(b'purpose', b'batch'), file_part(noise(2_000_000), filename=b'../../etc/passwd'), part(b'model', b'x'))
    assert code(relais.post(path, body, TYPE)) == 'provider_required'
    reply = relais.post(path, body, TYPE + TO_A)
    assert (reply.status, reply.json()) == (200, {'id': 'file-1'})
    assert latest(a).body == body, 'nothing is renamed where no model is resolved'


def test_the_official_clients_way(gateway, provider):
    """Expect: 100-continue, and pieces that end anywhere."""
    a = provider(ANSWER)
    relais = gateway(config([a]))
    body = form(file_part(noise(400_000)), MODEL)
    with relais.client() as client:
        client.send('POST', PATH, None, TYPE + [('Content-Length', str(len(body))), ('Expect', '100-continue')])
        client.sock.settimeout(10 * SLOW)
        assert client.sock.recv(100).startswith(b'HTTP/1.1 100 ')
        at = 0
        for size in (1, 7, 100, 65536, 3, 100_000, 10 ** 9):
            client.sock.sendall(body[at:at + size])
            at += size
        assert client.read_reply('POST').status == 200
    assert latest(a).body == renamed(body)


@pytest.mark.parametrize('first', [True, False])
def test_it_is_never_held_whole(gateway, provider, first):
    """64 MiB through a provider that reads slowly at first: memory stays, and nothing is left in the temporary folder."""
    go_on, seen = threading.Event(), {}

    def script(connection):
        data = b''
        connection.sock.settimeout(60 * SLOW)
        while b'\r\n\r\n' not in data:
            data += connection.sock.recv(65536)
        head, _, rest = data.partition(b'\r\n\r\n')
        length = int(next(line.split(b':')[1] for line in head.split(b'\r\n') if line.lower().startswith(b'content-length')))
        assert go_on.wait(60 * SLOW)
        digest, n = hashlib.sha256(rest), len(rest)
        while n < length:
            got = connection.sock.recv(1 << 20)
            digest.update(got)
            n += len(got)
        seen['digest'], seen['n'] = digest.digest(), n
        connection.send(ANSWER)
    relais = gateway(config([provider(script)]))
    sound = file_part(noise(64 << 20))
    body = form(MODEL, sound) if first else form(sound, MODEL)
    relais.get('/v1/models')
    before = relais.memory_kib()
    replies = []
    with Client(*relais.data, within_s=60 * SLOW) as client:
        sender = threading.Thread(target=lambda: replies.append(client.post(PATH, body, TYPE)))
        sender.start()
        sender.join(0.5)
        go_on.set()
        peak = 0
        while sender.is_alive():
            peak = max(peak, relais.memory_kib())
            sender.join(0.05)
    assert replies[0].status == 200
    wanted = renamed(body)
    assert seen == {'digest': hashlib.sha256(wanted).digest(), 'n': len(wanted)}
    assert peak - before < 4096 * MEMORY, f'{peak - before} KiB more'
    assert not [f for f in os.listdir(relais.folder) if f not in ('relais.yaml', 'access.log', 'relais-data')]


@pytest.mark.parametrize('first', [True, False])
def test_it_is_not_sent_twice(gateway, provider, first):
    """CONTRACT, Size: once something of it was sent, no other target gets it; before that, another may."""
    sound = file_part(noise(300_000))
    body = form(MODEL, sound) if first else form(sound, MODEL)
    a, b = provider(http_answer({'error': {'message': 'down'}}, '500 X')), provider(ANSWER)
    relais = gateway(config([a, b]))
    reply = relais.post(PATH, body, TYPE)
    assert (reply.status, reply.header('x-relais-attempts')) == (502, '1') and not b.requests
    relais = gateway(config([f'http://127.0.0.1:{free_port()}/v1', b]))
    reply = relais.post(PATH, body, TYPE)
    assert (reply.status, reply.header('x-relais-attempts')) == (200, '2')
    assert latest(b).body == renamed(body)


def test_an_early_answer(gateway, provider):
    """What the provider says while the form is still on its way is passed on."""
    error = {'error': {'message': 'too much', 'type': 'invalid_request_error', 'param': None, 'code': 'too_large'}}

    def script(connection):
        connection.sock.settimeout(30 * SLOW)
        connection.sock.recv(1000)
        connection.send(http_answer(error, '413 X'))
        connection.wait_for_peer_to_leave(30 * SLOW)
    relais = gateway(config([provider(script)]))
    with relais.client() as client:
        body = form(MODEL, file_part(noise(3_000_000)))
        client.send('POST', PATH, None, TYPE + [('Content-Length', str(len(body)))])
        client.sock.sendall(body[:100_000])
        reply = client.read_reply('POST')
    assert (reply.status, reply.json()) == (413, error)


LONG = b'x' * 5000
BAD = [
    ([('Content-Type', 'multipart/form-data')], form(MODEL, file_part(b'x'))),
    ([('Content-Type', 'multipart/form-data; boundary=')], form(MODEL)),
    ([('Content-Type', 'multipart/form-data; boundary=XyZ; boundary=B')], form(MODEL)),
    ([('Content-Type', 'multipart/form-data; boundary="Xy\x01Z"'.replace('\x01', '<'))], form(MODEL)),
    ([('Content-Type', 'multipart/form-data; boundary=' + 'B' * 71)], form(MODEL)),
    (TYPE, b''), (TYPE, b'--XyZ--\r\n'), (TYPE, b'--XyA\r\n'), (TYPE, b'preamble\r\n' + form(MODEL)),
    (TYPE, form(MODEL)[:-4]), (TYPE, MODEL), (TYPE, form(MODEL) + b'epilogue'), (TYPE, form(MODEL, MODEL)),
    (TYPE, form(MODEL, part(b'Model', b'm'))), (TYPE, form(part(b'mod\\el', b'm'), MODEL)), (TYPE, form(MODEL, part(b'%6dodel', b'm'))),
    (TYPE, form(part(b'model', b'assistant', b'; name*=UTF-8\'\'file'))), (TYPE, form(part(b'model', b'assistant', b'; name="file"'))),
    (TYPE, form(part(b'model', b'x' * 300), file_part(b'x'))), (TYPE, form(part(b'model', b'assistant', b'; filename="f"'))),
    (TYPE, form(MODEL, b'--XyZ\r\nContent-Type: a/b\r\n\r\nx\r\n')), (TYPE, form(MODEL, b'--XyZ\r\n\r\nx\r\n')),
    (TYPE, form(MODEL, part(b'a', b'x', b'\r\nX-Long: ' + LONG))), (TYPE, form(MODEL, part(b'a', b'x', b'\nX: y'))),
    (TYPE, form(MODEL, *[part(b'a%d' % i, b'') for i in range(10_000)])),
    (TYPE, b'--XyZ \r\n' + form(MODEL)[7:]), (TYPE, form(file_part(noise(300_000)), MODEL, MODEL)),
]


@pytest.mark.parametrize('number', range(len(BAD)))
def test_a_malformed_form(gateway, provider, number):
    """FAULTS 43: refused with the reason, and no provider has seen its end."""
    headers, body = BAD[number]
    whole = []

    def script(connection):
        if connection.read_request(30 * SLOW):
            whole.append(connection)
    relais = gateway(config([provider(script)]))
    with relais.client() as client:
        reply = client.post(PATH, body, headers)
        assert (reply.status, code(reply)) == (400, 'invalid_multipart'), reply
    record = relais.access_log(1)[0]
    assert (record['outcome'], record['status']) == ('refused', 400)
    assert not whole


def test_a_form_that_goes_wrong_late(gateway, provider):
    """The model was known, the provider has most of it: it never sees the end, and the client is told."""
    left = threading.Event()

    def script(connection):
        try:
            whole = connection.read_request(60 * SLOW)
        except OSError:
            whole = None
        if whole is None:
            left.set()
    relais = gateway(config([provider(script)]))
    reply = relais.post(PATH, MODEL + file_part(noise(500_000)) + MODEL + END, TYPE)
    assert (reply.status, code(reply)) == (400, 'invalid_multipart') and 'twice' in reply.json()['error']['message']
    eventually(left.is_set, 10 * SLOW)


@pytest.mark.parametrize('body, wanted', [
    (form(file_part(b'x')), 'missing_required_parameter'), (form(part(b'model', b''), file_part(b'x')), 'missing_required_parameter'),
    (form(part(b'model', b'a\x01b')), 'invalid_value'), (form(part(b'model', b'nobody'), file_part(b'x')), 'model_not_found')])
def test_a_model_that_is_none(gateway, provider, body, wanted):
    a = provider(ANSWER)
    relais = gateway(config([a]))
    reply = relais.post(PATH, body, TYPE)
    assert (reply.status, code(reply)) == (404 if wanted == 'model_not_found' else 400, wanted)
    assert not a.requests


@pytest.mark.parametrize('coding', ['length', 'chunked'])
@pytest.mark.parametrize('path, headers', [(PATH, TYPE), ('/v1/files', TYPE + TO_A)])
def test_the_limit(gateway, provider, coding, path, headers):
    a = provider(ANSWER)
    relais = gateway(config([a], server={'max_upload': '300KiB', 'max_body': '1KiB'}))
    frame = len(form(MODEL, file_part(b'')))
    for size, status in ((300 * 1024 - frame, 200), (300 * 1024 - frame + 1, 413)):
        body = form(MODEL, file_part(b'x' * size))
        more = [('Transfer-Encoding', 'chunked')] if coding == 'chunked' else []
        reply = relais.post(path, in_chunks(body) if more else body, headers + more)
        assert reply.status == status
        if status == 413:
            assert code(reply) == 'request_too_large' and 'max_upload' in reply.json()['error']['message']
    assert len(a.requests) == 1


@pytest.mark.parametrize('headers, status', [
    ([('Content-Type', 'application/json')], 415), ([], 415), ([('Content-Type', 'multipart/mixed; boundary=XyZ')], 415),
    (TYPE + [('Content-Encoding', 'gzip')], 415)])
def test_a_wrong_media_type(gateway, provider, headers, status):
    relais = gateway(config([provider(ANSWER)]))
    assert relais.post(PATH, form(MODEL), headers).status == status


def test_a_client_that_leaves(gateway, provider):
    left = threading.Event()

    def script(connection):
        connection.sock.settimeout(30 * SLOW)
        try:
            while connection.sock.recv(65536):
                pass
        except OSError:
            pass
        left.set()
    relais = gateway(config([provider(script)]))
    with relais.client() as client:
        body = form(MODEL, file_part(noise(1_000_000)))
        client.send('POST', PATH, None, TYPE + [('Content-Length', str(len(body)))])
        client.sock.sendall(body[:500_000])
        eventually(lambda: relais.status()['providers'][0]['connections'] == 1)
    assert left.wait(10 * SLOW)
    assert relais.access_log(1)[0]['outcome'] == 'left'


def test_without_a_temporary_folder(gateway, provider):
    """A read-only file system: forms whose model comes first need no file, others are refused with the reason."""
    relais = gateway(config([provider(ANSWER)]), env={'TMPDIR': '/nonexistent'})
    sound = file_part(noise(400_000))
    assert relais.post(PATH, form(MODEL, sound), TYPE).status == 200
    reply = relais.post(PATH, form(sound, MODEL), TYPE)
    assert (reply.status, code(reply)) == (503, 'upload_not_stored')


def test_many_at_once(gateway, provider):
    """Twenty forms, over connections that serve again."""
    def play(connection, request):
        connection.send(http_answer({'text': hashlib.sha256(request.body).hexdigest()}))
    a = provider(serving(play))
    relais = gateway(config([a]))
    wrong = []

    def one(number):
        body = form(MODEL, file_part(noise(200_000 + number * 20_011))) if number % 2 else form(file_part(noise(150_000 + number * 9001)), MODEL)
        with relais.client(within_s=30 * SLOW) as client:
            for _ in range(3):
                reply = client.post(PATH, body, TYPE)
                if reply.status != 200 or reply.json()['text'] != hashlib.sha256(renamed(body)).hexdigest():
                    wrong.append((number, reply))
    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120 * SLOW)
    assert not wrong and len(a.requests) == 60
    assert [r['outcome'] for r in relais.access_log(60)] == ['ok'] * 60


def test_a_provider_that_stops_reading(gateway, provider):
    """The time without progress in sending is bounded, and is the provider's fault."""
    held = []

    def script(connection):
        held.append(connection)
        connection.kept = True
    a = provider(script)
    relais = gateway(config([a], timeouts={'send': '300ms'}))
    body = form(MODEL, file_part(noise(30_000_000)))
    with Client(*relais.data, within_s=60 * SLOW) as client:
        client.send('POST', PATH, None, TYPE + [('Content-Length', str(len(body)))])
        client.sock.settimeout(60 * SLOW)
        try:
            client.sock.sendall(body)
        except OSError:
            pass
    record = relais.access_log(1, within_s=30 * SLOW)[0]
    assert record['attempts'][0]['fault'] == 'timeout'
    assert held
    for connection in held:
        connection.close()


def test_raw_garbage(gateway, provider):
    relais = gateway(config([provider(ANSWER)]))
    head = f'POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=XyZ\r\nContent-Length: 100\r\n\r\n'
    received = raw(*relais.data, head.encode() + b'--XyZ\r\nContent-Disposition: form-data; name="model"\r\n\r\nassis', shut=True)
    assert received.closed
    assert relais.access_log(1)[0]['outcome'] == 'left'


# --- the way from a client of HTTP/2 ---------------------------------------------------------------------------------

class Counting(H2Client):
    """Knows how much credit the server has given to each stream at most."""

    def __init__(self, *args, **options):
        self.given, self.used, self.most = {}, {}, {}
        super().__init__(*args, **options)

    def note(self, event):
        if isinstance(event, h2.events.WindowUpdated) and event.stream_id:
            number = event.stream_id
            self.given[number] = self.given.get(number, 65535) + event.delta
            self.most[number] = max(self.most.get(number, 0), self.given[number] - self.used.get(number, 0))
        super().note(event)

    def some(self, stream, data):
        """Sends as much of `data` as there is credit for; what is left."""
        room = min(self.h2.local_flow_control_window(stream.id), len(data))
        for at in range(0, room, 16384):
            piece = data[at:min(at + 16384, room)]
            self.h2.send_data(stream.id, piece)
            self.used[stream.id] = self.used.get(stream.id, 0) + len(piece)
        self.flush()
        return data[room:]

    def all_of(self, wanted):
        """Sends to several streams in turn: {stream: data}."""
        end = time.monotonic() + self.within_s
        while wanted:
            wanted = {s: rest for s, data in wanted.items() if (rest := self.some(s, data))}
            if wanted and all(self.h2.local_flow_control_window(s.id) == 0 for s in wanted):
                self.pump(end)


def upload(client, body):
    return client.open('POST', PATH, [*((n.lower(), v) for n, v in TYPE), ('content-length', str(len(body)))], end=False)


def test_the_window_of_an_upload_grows(gateway, provider):
    """A client that is far away would wait for credit most of its time: what a provider takes at once gets more."""
    a = provider(serving(lambda connection, request: connection.send(ANSWER)))
    relais = gateway(config([a]))
    body = form(MODEL, file_part(noise(6_000_000)))
    with Counting(relais.data) as client:
        stream = upload(client, body)
        client.all_of({stream: body})
        client.h2.end_stream(stream.id)
        client.flush()
        assert client.finish(stream).status == 200
        assert 256 * 1024 <= client.most[stream.id] <= 512 * 1024
    assert latest(a).body == renamed(body)


def test_the_windows_of_a_connection_are_bounded(gateway, provider):
    """All of them together grow by a MiB, and those that come after one has ended have its share."""
    gate = threading.Event()

    def play(connection, request):
        gate.wait(WAIT_S)  # all are open until all is sent
        connection.send(ANSWER)
    relais = gateway(config([provider(serving(play))]))
    body = form(MODEL, file_part(noise(1_500_000)))
    with Counting(relais.data) as client:
        for _ in range(2):
            streams = [upload(client, body) for _ in range(8)]
            client.all_of({s: body for s in streams})
            most = [client.most[s.id] for s in streams]
            assert max(most) > 100_000 and max(most) <= 512 * 1024
            assert sum(most) <= 8 * 65535 + (1 << 20)
            for stream in streams:
                client.h2.end_stream(stream.id)
            client.flush()
            gate.set()
            assert [s.status for s in client.finish(*streams)] == [200] * 8
            gate.clear()


def test_a_stalled_upload_keeps_little(gateway, provider):
    """Nothing is gained by credit for what only waits here."""
    go = threading.Event()

    def script(connection):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        go.wait(WAIT_S)
        connection.read_request()
        connection.send(ANSWER)
    relais = gateway(config([provider(script)]))
    before = relais.memory_kib()
    body = form(MODEL, file_part(noise(40_000_000)))
    with Counting(relais.data) as client:
        stream = upload(client, body)
        rest, quiet = body, 0
        while rest and quiet < 3:
            left = client.some(stream, rest)
            quiet = 0 if len(left) < len(rest) else quiet + 1
            rest = left
            try:
                client.pump(time.monotonic() + 0.3)
            except TimeoutError:
                pass
        assert rest, 'somebody has kept it all'
        assert client.most.get(stream.id, 0) <= 512 * 1024
        assert relais.memory_kib() - before < 8192 * MEMORY
        client.reset(stream)
    go.set()
