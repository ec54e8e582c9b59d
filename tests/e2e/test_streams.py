# SPDX-License-Identifier: Apache-2.0
"""Streams go event by event, without delay, whatever the cuts of the network, the number of events or the speed of the
client (FAULTS 44-47, 50, 53)."""
import itertools
import json
import threading
import time

import pytest

import harness
from harness import chunked, sse_events, STREAM_HEAD
from kit import config, Dechunker, good, latest, MEMORY, serving, streamed, whole

REQUEST = {'model': 'assistant', 'stream': True, 'messages': [{'role': 'user', 'content': 'hi'}]}
PATH = '/v1/chat/completions'


def test_events_arrive_when_they_are_sent(gateway, provider):
    """No event waits for another: the provider sends the next one only when the client has got this one."""
    got = threading.Semaphore(0)
    sent, came = [], []
    events = sse_events([f'{n} ' for n in range(200)], usage=False)

    def play(connection, _):
        connection.send(STREAM_HEAD + chunked(events[0]))  # the role: held until there is content
        for event in events[1:]:
            sent.append(time.monotonic())
            connection.send(chunked(event))
            assert got.acquire(timeout=harness.WAIT_S)
        connection.send(chunked(b''))
    relais = gateway(config([provider(serving(play))]))
    with relais.client() as client:
        for number, event in enumerate(client.events('POST', PATH, REQUEST)[1]):
            if number:
                came.append(client.sent_at + event.at_s)
                got.release()
    assert len(came) == len(sent) == 202
    late = sorted(c - s for c, s in zip(came, sent))
    assert late[len(late) // 2] < 0.005 * harness.SLOW, late


def test_comments_are_forwarded_at_once_when_content_has_begun(gateway, provider):
    """Keep-alives of the provider keep the client's side alive, too."""
    gate = threading.Event()

    def play(connection, _):
        connection.send(STREAM_HEAD + chunked(b': not yet\n\n'))
        events = sse_events(['one'], usage=False)
        connection.send(chunked(events[0]) + chunked(events[1]) + chunked(b': ping\n\n'))
        gate.wait(harness.WAIT_S)
        connection.send(b''.join(chunked(e) for e in events[2:]) + chunked(b''))
    relais = gateway(config([provider(serving(play))]))
    with relais.client() as client:
        reply, arrivals = client.stream('POST', PATH, REQUEST)
        for _, _ in arrivals:
            if b': ping\n\n' in reply.body:
                gate.set()
        assert gate.is_set() and b'not yet' not in reply.body
        assert reply.events()[-1] == '[DONE]'


def recorded(line_end=b'\n'):
    """A stream with what streams have: a role, CJK and emoji, a comment, an escape, usage, a terminator."""
    events = [e.replace(b'\\u6f22', '漢'.encode()).replace(b'\\ud83d\\ude00', '😀'.encode())
              for e in sse_events(['Hi ', '漢😀', 'a\\n"b"'])]
    events.insert(2, b': keep-alive\n\n')
    return b''.join(events).replace(b'\n', line_end)


@pytest.mark.parametrize('line_end', [b'\n', b'\r\n', b'\r'], ids=['LF', 'CRLF', 'CR'])
def test_cut_at_every_byte(gateway, provider, line_end):
    """FAULTS 44, 46: the provider's bytes in two parts at every point, head and chunk framing included."""
    body = recorded(line_end)
    pieces = [body[i:i + 97] for i in range(0, len(body), 97)]
    wire = STREAM_HEAD + b''.join(chunked(p) for p in pieces) + chunked(b'')
    cuts = itertools.count(1)

    def play(connection, _):
        cut = next(cuts)
        connection.send(wire[:cut])
        time.sleep(0.0004)
        connection.send(wire[cut:])
    a = provider(serving(play))
    relais = gateway(config([a], max_fails=0))
    asked = {**REQUEST, 'stream_options': {'include_usage': True}}
    seen = set()
    with relais.client() as client:
        for _ in range(1, len(wire)):
            reply = client.post(PATH, asked)
            assert reply.status == 200
            seen.add(reply.body)
    assert seen == {body}
    assert len(a.requests) == len(wire) - 1
    records = relais.access_log(len(wire) - 1)
    assert {(r['outcome'], r['tokens']['completion'], r['events']) for r in records} == {('ok', 3, 8)}


@pytest.mark.parametrize('line_end', [b'\n', b'\r\n'], ids=['LF', 'CRLF'])
def test_one_byte_a_write(gateway, provider, line_end):
    """FAULTS 44; the bytes also come one by one at the client's side of the provider's TLS record and chunk."""
    body = recorded(line_end)
    wire = STREAM_HEAD + b''.join(chunked(body[i:i + 1]) for i in range(len(body))) + chunked(b'')
    relais = gateway(config([provider(serving(lambda c, _: c.send(wire, piece=1)))]))
    asked = {**REQUEST, 'stream_options': {'include_usage': True}}
    assert relais.post(PATH, asked).body == body


def test_a_request_in_pieces(gateway, provider):
    """The client's side of the same: its request one byte a write."""
    a = provider(whole())
    relais = gateway(config([a]))
    with relais.client() as client:
        body = json.dumps({'model': 'assistant', 'messages': [{'role': 'user', 'content': '漢😀'}]}, ensure_ascii=False).encode()
        head = client.head('POST', PATH, [('Content-Type', 'application/json')], body)
        for byte in head + body:
            client.sock.send(bytes([byte]))
        assert client.read_reply('POST').status == 200
    assert latest(a).body == body.replace(b'"assistant"', b'"m"')


def test_big_events_pass(gateway, provider):
    """Below 1 MiB an event passes, whatever its size; the cap is tested in test_cut.py."""
    for size in (16383, 16384, 16385, 70_000, 1_000_000):
        events = sse_events(['x' * size, 'end'], usage=False)
        relais = gateway(config([provider(streamed(events))]))
        reply = relais.chat(stream=True)
        assert reply.body == b''.join(events), size


def test_a_million_events(gateway, sim):
    """FAULTS 50: memory does not grow with the length of a stream, and nothing of it is lost."""
    n = 1_000_000
    provider = sim({'tokens': n, 'batch': 64, 'usage': 'asked'})
    relais = gateway(config([provider]))
    framing = Dechunker()
    total = count = most = reads = 0
    tail, first = b'', None
    with relais.client() as client:
        client.send('POST', PATH, REQUEST)
        reply = harness.Reply()
        client.read_head(time.monotonic() + harness.WAIT_S, reply)
        data = framing.push(client.pending)
        while True:
            total += len(data)
            count += (tail[-1:] + data).count(b'\n\n')
            tail = (tail + data)[-64:]
            if framing.whole:
                break
            reads += 1
            if total > 10_000_000 and reads % 100 == 0:
                memory = relais.memory_kib()
                first, most = first or memory, max(most, memory)
            data = client.sock.recv(1 << 20)
            assert data, 'the stream was cut'
            data = framing.push(data)
    assert tail.endswith(b'data: [DONE]\n\n')
    record = relais.access_log(1)[0]
    assert record['outcome'] == 'ok' and record['bytes_out'] == total
    assert record['tokens']['completion'] == n
    assert n <= count == record['events'] <= n + 4
    assert most - first < 4096 * MEMORY, f'{first} KiB, then {most} KiB'
    ledger = provider.ledger()['totals']
    assert ledger['events'] == n and ledger['completed'] == 1, ledger


def test_a_slow_client_pauses_its_provider_and_nobody_else(gateway, provider):
    """FAULTS 53: what one client does not take is bounded, for the gateway and for the provider."""
    event = sse_events(['x' * 500], usage=False)[1]
    block = chunked(event * 64)
    taken = {}

    def play(connection, request):
        if b'endless' not in request.body:
            connection.send(streamed(sse_events(['quick'])))
            return True
        connection.send(STREAM_HEAD)
        taken['bytes'] = 0
        connection.sock.settimeout(0.2)
        try:
            while True:
                taken['bytes'] += connection.sock.send(block[taken['bytes'] % len(block):])
        except TimeoutError:
            taken['full'] = True
        connection.wait_for_peer_to_leave()
        return False
    relais = gateway(config([provider(serving(play))], server={'workers': 1}))
    before = relais.memory_kib()
    with relais.client(receive_buffer=4096) as slow:
        slow.send('POST', PATH, {**REQUEST, 'messages': [{'role': 'user', 'content': 'endless'}]})
        harness.eventually(lambda: taken.get('full'), what='the provider being paused')
        worst = 0
        for _ in range(30):
            slow.sock.recv(100)
            started = time.monotonic()
            assert relais.chat(stream=True).stream_text() == 'quick'
            worst = max(worst, time.monotonic() - started)
        assert worst < 0.1 * harness.SLOW
        # Kernel buffers on both sides hold up to a few MiB; the gateway itself holds 256 KiB.
        assert taken['bytes'] < 16_000_000
        assert relais.memory_kib() - before < 2048 * MEMORY
    record = harness.eventually(lambda: [r for r in relais.access_log() if r['outcome'] == 'left'], what='the record')
    assert len(record) == 1


def test_a_slow_client_gets_everything(gateway, provider):
    """Paused and resumed again and again, nothing is lost or doubled."""
    events = sse_events([f'{n} ' + 'x' * 900 for n in range(8000)], usage=False)
    relais = gateway(config([provider(streamed(events))]))
    with relais.client(receive_buffer=4096) as client:
        client.send('POST', PATH, REQUEST)
        time.sleep(0.3)
        reply = client.read_reply('POST', within_s=30 * harness.SLOW)
    assert reply.body == b''.join(events)


def test_many_streams_at_once(gateway, provider):
    """Each client gets its own events and no other's."""
    def play(connection, request):
        word = json.loads(request.body)['messages'][0]['content']
        connection.send(STREAM_HEAD)
        for event in sse_events([f'{word}-{n} ' for n in range(20)]):
            connection.send(chunked(event))
            time.sleep(0.002)
        connection.send(chunked(b''))
    relais = gateway(config([provider(serving(play))]))
    wrong = []

    def ask(number):
        text = relais.chat(f'word{number}', stream=True).stream_text()
        if text != ''.join(f'word{number}-{n} ' for n in range(20)):
            wrong.append((number, text))
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(harness.WAIT_S)
    assert not wrong
    assert len(relais.access_log(60)) == 60


def test_a_long_stream_is_not_cut_by_a_deadline(gateway, provider):
    """FAULTS 47: time-outs are for gaps; the deadline ends at the commit point."""
    def play(connection, _):
        connection.send(STREAM_HEAD)
        for event in sse_events(['x'] * 15):
            connection.send(chunked(event))
            time.sleep(0.1)
        connection.send(chunked(b''))
    relais = gateway(config([provider(serving(play)), provider(good())], model={'timeouts': {'deadline': '400ms'}},
                            timeouts={'idle': '400ms', 'first_byte': '400ms', 'first_byte_stream': '400ms'}))
    reply = relais.chat(stream=True)
    assert reply.stream_text() == 'x' * 15 and reply.seconds > 1.4
    assert reply.header('x-relais-provider') == 'a'
