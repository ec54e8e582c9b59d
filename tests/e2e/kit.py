# SPDX-License-Identifier: Apache-2.0
"""Short words of the whole-program tests: configurations over scripted providers, and the scripts that many need.

A provider here is a harness.RawServer, so each byte of both sides is the test's own. Names: the first provider of a
list is "a", the second "b" and so on; each offers the model "m"; the alias "assistant" stands over all of them.
"""
import string
import time

import harness
from harness import chat_answer, chunked, http_answer, sse_events, STREAM_HEAD

# Sanitizers keep what was freed for a while: limits of memory are wider with them.
MEMORY = 1 if harness.SLOW == 1 else 32


def config(providers, strategy='priority', server=None, model=None, **options):
    """The configuration over these providers; options go to each provider, model to the alias."""
    names = string.ascii_lowercase
    made = {names[i]: {'base_url': p if isinstance(p, str) else p.base_url, 'models': ['m'], **options}
            for i, p in enumerate(providers)}
    targets = [{'provider': name, 'model': 'm'} for name in made]
    return {'server': dict(server or {}), 'providers': made,
            'models': {'assistant': {'strategy': strategy, 'targets': targets, **(model or {})}}}


def wants_stream(request):
    return b'"stream":true' in request.body.replace(b' ', b'')


def whole(text='hello', **usage):
    """A whole chat completion with its head."""
    return http_answer(chat_answer(text, **usage))


def streamed(events, end=True):
    """A streamed answer, one chunk an event."""
    return STREAM_HEAD + b''.join(chunked(e) for e in events) + (chunked(b'') if end else b'')


def good(text='hello', wait_s=0.0):
    """A provider that answers as it is asked, streamed or whole."""
    stream, answer = streamed(sse_events([text])), whole(text)

    def script(connection):
        while True:
            request = connection.read_request(60)
            if not request:
                return
            if wait_s:
                time.sleep(wait_s)
            connection.send(stream if wants_stream(request) else answer)
    return script


def serving(play):
    """A provider that gives each request to play(connection, request); the connection ends when play returns False."""
    def script(connection):
        while True:
            request = connection.read_request(60)
            if not request or play(connection, request) is False:
                return
    return script


def by_stream(stream, answer):
    """Bytes for a streamed request, others for one that is not."""
    return serving(lambda connection, request: connection.send(stream if wants_stream(request) else answer))


def faults(record):
    """The classes of a log record's attempts that failed."""
    return [a['fault'] for a in record['attempts'] if a['fault']]


def target(relais, provider, model='assistant'):
    """What /status says of an alias's target."""
    models = {m['name']: m for m in relais.status()['models']}
    return next(t for t in models[model]['targets'] if t['provider'] == provider)


def header(request, name):
    """A header of a RawRequest, or None."""
    return next((v for n, v in request.headers if n.lower() == name.lower()), None)


class Dechunker:
    """Takes chunked coding off bytes that come in pieces of any size; whole is set when the last chunk has come."""

    def __init__(self):
        self.held, self.left, self.whole = b'', 0, False

    def push(self, data):
        data, out, at = self.held + data, [], 0
        while not self.whole:
            if self.left:  # of a chunk, its line end included
                piece = data[at:at + self.left]
                at += len(piece)
                self.left -= len(piece)
                out.append(piece if self.left >= 2 else piece[:max(0, len(piece) - 2 + self.left)])
                if self.left:
                    break
            end = data.find(b'\r\n', at)
            if end < 0:
                break
            size = int(data[at:end], 16)
            at = end + 2
            self.left, self.whole = size + 2, size == 0
        self.held = data[at:]
        return b''.join(out)


def latest(provider):
    """The request that a provider read last, over all its connections."""
    return max(provider.requests, key=lambda r: r.at)


def read_broken(client):
    """All that still comes on a connection that is expected to break; the bytes behind the head."""
    received = harness.read_socket(client.sock, within_s=harness.WAIT_S)
    assert received.closed, 'the connection did not end'
    return client.pending + received.data
