# SPDX-License-Identifier: Apache-2.0
"""Streams whose bytes come in two parts, cut at every byte, over each way that a provider can be reached: chunks of
HTTP/1, DATA of HTTP/2, and both within TLS records. What the client gets is what the provider sent, and one account.

One stream is made here and cut everywhere; recorded ones (../shared/fixtures, or RELAIS_FIXTURES) are cut at every
RELAIS_CUT_STEP-th byte, 97 unless told: `tools/check cuts` takes each.
"""
import glob
import itertools
import os

import pytest

import h2peer
import harness
from harness import chunked, sse_events, STREAM_HEAD
from kit import config, serving

ASKED = {'model': 'assistant', 'stream': True, 'stream_options': {'include_usage': True},
         'messages': [{'role': 'user', 'content': 'hi'}]}
STEP = int(os.environ.get('RELAIS_CUT_STEP', '97'))
EVENTS = sse_events(['Hi ', '漢😀', 'a\n"b"'])
MADE = b''.join([*EVENTS[:2], b': keep-alive\n\n', *EVENTS[2:]])


def recorded():
    """(name, bytes) of the recorded streams of this dialect."""
    folder = os.environ.get('RELAIS_FIXTURES', os.path.join(harness.TOP, '..', 'shared', 'fixtures'))
    found = []
    for path in sorted(glob.glob(os.path.join(folder, '**', '*.sse'), recursive=True)):
        with open(path, 'rb') as file:
            body = file.read().strip() + b'\n\n'  # who kept them has lost some blanks at the ends
        if b'"chat.completion.chunk"' in body:
            found.append((os.path.relpath(path, folder), body))
    return found


RECORDED = recorded()
STREAMS = {'made': MADE, **dict(RECORDED)} if RECORDED else {'made': MADE, 'recorded': None}


def over_http1(products, body, tls):
    pieces = [body[i:i + 97] for i in range(0, len(body), 97)]
    wire = STREAM_HEAD + b''.join(chunked(p) for p in pieces) + chunked(b'')
    cuts = itertools.cycle(range(1, len(wire), 1 if body is MADE else STEP))

    def play(connection, _):
        cut = next(cuts)
        connection.send(wire[:cut])
        connection.send(wire[cut:])
    return products.add(harness.RawServer(serving(play), tls=tls)), len(wire)


def over_http2(products, body, tls):
    cuts = itertools.cycle(range(1, len(body), 1 if body is MADE else STEP))
    if tls:
        tls.set_alpn_protocols(['h2'])

    def play(stream):
        cut = next(cuts)
        stream.head(200, [('content-type', 'text/event-stream')])
        if stream.data(body[:cut]):
            stream.data(body[cut:], end=True)
    return products.add(h2peer.Server(play, tls=tls)), len(body)


@pytest.mark.parametrize('name', STREAMS)
@pytest.mark.parametrize('secure', [False, True], ids=['plain', 'tls'])
@pytest.mark.parametrize('over', [over_http1, over_http2])
def test_cut_at_every_byte(gateway, products, certificates, over, secure, name):
    body = STREAMS[name]
    if body is None:
        pytest.skip('recorded streams are not there (RELAIS_FIXTURES, or ../shared/fixtures beside the repository)')
    tls = certificates.server_context() if secure else None
    provider, length = over(products, body, tls)
    relais = gateway(config([provider], max_fails=0, http2=over is over_http2, **({'ca_file': certificates.ca} if secure else {})))
    times = len(range(1, length, 1 if body is MADE else STEP))
    seen = set()
    with relais.client() as client:
        for _ in range(times):
            reply = client.post('/v1/chat/completions', ASKED)
            assert reply.status == 200, reply
            seen.add(reply.body)
    assert seen == {body}
    records = relais.access_log(times)
    assert len({(r['outcome'], r['events'], str(r['tokens'])) for r in records}) == 1
    assert records[0]['outcome'] == 'ok' and len(records) == times
