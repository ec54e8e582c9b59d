# SPDX-License-Identifier: Apache-2.0
"""Words that the tests with official clients share: one way to write a test for the blocking and the asynchronous
client, the simulators' ledgers, and the model server.
"""
import asyncio
import functools
import inspect
import json
import os
import subprocess
import sys
import time
import urllib.request

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), 'e2e'))
import harness  # noqa: E402  (needs the path above)

CACHE = os.environ.get('RELAIS_INTEROP_CACHE', os.path.join(harness.BUILD, 'interop'))
SLOW = harness.SLOW
DIALECTS = {'openai': '/v1', 'anthropic': '/v1'}  # what providers speak, and where their API begins at a simulator
LEFT_WITHIN_S = 0.2 * SLOW  # a client that leaves is noticed upstream by then: 100 ms, and the asking


async def settle(value):
    """The value, awaited for if it has to be."""
    return await value if inspect.isawaitable(value) else value


async def each(stream):
    if hasattr(stream, '__aiter__'):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


def best_of_three(test):
    """For a test that measures time: a busy machine may spoil it once or twice, a gateway at fault spoils it always."""
    @functools.wraps(test)
    async def tried(**fixtures):
        for _ in range(2):
            try:
                return await test(**fixtures)
            except AssertionError:
                await asyncio.sleep(0.5)
        return await test(**fixtures)
    return tried


def get_json(url):
    with urllib.request.urlopen(url, timeout=10 * SLOW) as reply:
        return json.load(reply)


def post_json(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {'content-type': 'application/json'})
    with urllib.request.urlopen(request, timeout=10 * SLOW) as reply:
        return json.load(reply)


def totals(sim):
    return get_json(sim.url + '/sim/ledger?summary=1')['totals']


async def seen_to_leave(sim, before, count=1):
    """Seconds until the simulator's ledger holds `count` more clients that left than `before` (its totals)."""
    started = time.monotonic()
    while (left := totals(sim)['client_left'] - before['client_left']) < count:
        assert time.monotonic() - started < harness.WAIT_S, f'only {left} of {count} were seen to leave'
        await asyncio.sleep(0.005)
    assert left == count
    return time.monotonic() - started


def text_of(chunks):
    return ''.join(c.choices[0].delta.content or '' for c in chunks if c.choices)


class ModelServer:
    """llama.cpp's server with the generated model, in a process of its own."""

    def __init__(self, port=0):
        why = os.environ.get('RELAIS_INTEROP_NO_MODEL')
        if why:
            pytest.skip(why)
        self.log = open(os.path.join(CACHE, 'model-server.log'), 'ab')
        self.proc = subprocess.Popen([sys.executable, os.path.join(HERE, 'model_server.py'),
                                      os.path.join(CACHE, 'tiny.gguf'), str(port)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        line = self.proc.stdout.readline().decode()
        assert line.startswith('listening '), f'the model server did not start; see {self.log.name}'
        self.url = line.split()[1]

    def working(self):
        """Whether it generates for anyone."""
        return any(slot['is_processing'] for slot in get_json(self.url + '/slots'))

    def stop(self):
        self.proc.stdin.close()
        self.proc.wait(10 * SLOW)
        self.proc.stdout.close()
        self.log.close()
