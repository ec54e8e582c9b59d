# SPDX-License-Identifier: Apache-2.0
"""A gateway under siege, for the tests of attacks: two scripted providers (one for the attackers, one for a polite
canary that asks all the while), planted secrets, and the oracle that must hold after every case of FAULTS.

    with Siege(...) as siege:
        siege.relais ...      # attack it
    # leaving checks: the canary saw no failure, descriptors are back, one log line a request, no secret anywhere
"""
import glob
import json
import os
import random
import threading
import time

import harness
from harness import (SLOW, WAIT_S, Client, Gateway, HttpError, RawServer, chat_answer, eventually, http_answer)

PROVIDER_KEY = 'sk-planted-provider-5f0c93'
CLIENT_KEY = 'rl-planted-client-7d21aa'
ADMIN_TOKEN = 'planted-admin-token-c4be10'
SECRETS = (PROVIDER_KEY, CLIENT_KEY, ADMIN_TOKEN)
CLIENT_KEY_SHA256 = 'sha256:' + __import__('hashlib').sha256(CLIENT_KEY.encode()).hexdigest()

BODY = b'{"model":"h/m","messages":[{"role":"user","content":"hi"}]}'
GOOD = http_answer(chat_answer('fine'))


class Attacks:
    """How many hostile requests and connections there were. Those of a test that passes were survived: its siege's oracle
    held."""

    def __init__(self):
        self.tried = 0

    def note(self, count=1):
        self.tried += count


attacks = Attacks()  # of this process; conftest.py hands them on


def raw(*args, **options):
    """harness.raw, counted as an attack."""
    attacks.note()
    return harness.raw(*args, **options)


def post(*lines, body=BODY, length=True, line=b'POST /v1/chat/completions HTTP/1.1', host=b'Host: 127.0.0.1',
         close=True, media=b'Content-Type: application/json'):
    """The bytes of a request; lines are added to its head as they are."""
    head = [line] + [x for x in (host, media) if x] + list(lines)
    if close:
        head.append(b'Connection: close')
    if length:
        head.append(b'Content-Length: %d' % len(body))
    return b'\r\n'.join(head) + b'\r\n\r\n' + body


def answer_status(data):
    """The status of the first answer among the bytes, 0 without one."""
    return int(data[9:12]) if data.startswith(b'HTTP/1.1 ') and len(data) > 12 else 0


def cuts(data, seed, count=4):
    """The bytes in up to count + 1 random pieces."""
    if len(data) < 2:
        return [data]
    places = sorted(random.Random(seed).sample(range(1, len(data)), min(count, len(data) - 1)))
    return [data[a:b] for a, b in zip([0] + places, places + [len(data)])]


class Canary:
    """A polite client: so many requests a second over kept-alive connections, some over new ones."""

    def __init__(self, relais, per_second, headers=(), give_up_s=5):
        self.relais, self.period = relais, 1.0 / per_second
        self.headers = list(headers)
        self.give_up_s = give_up_s * SLOW
        self.seconds, self.failures = [], []
        self.on_new_connections = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        client, number = None, 0
        body = {'model': 'canary', 'messages': [{'role': 'user', 'content': 'still there?'}]}
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                if client is None:
                    client = Client(*self.relais.data, within_s=self.give_up_s)
                reply = client.request('POST', '/v1/chat/completions', body, self.headers)
                if reply.status != 200 or reply.json()['choices'][0]['message']['content'] != 'fine':
                    self.failures.append(repr(reply))
                self.seconds.append(reply.seconds)
                number += 1
                if self.on_new_connections and number % 10 == 0:
                    client.close()
                    client = None
            except (OSError, HttpError) as problem:
                self.failures.append(repr(problem))
                if client:
                    client.close()
                client = None
            due = max(due + self.period, time.monotonic() - 0.5)
            self._stop.wait(max(0.0, due - time.monotonic()))
        if client:
            client.close()

    def slowest_s(self, share=0.99):
        ordered = sorted(self.seconds)
        return ordered[int(len(ordered) * share)] if ordered else 0.0

    def stop(self):
        """A while after the attack it still sings."""
        end, enough = time.monotonic() + 2 * SLOW, len(self.seconds) + 5
        while len(self.seconds) < enough and time.monotonic() < end:
            time.sleep(0.01)
        self._stop.set()
        self._thread.join(WAIT_S)


class Siege:
    """See the module. script: what the attackers' provider does (default: a good answer to each request)."""

    def __init__(self, script=GOOD, server=None, extra=None, per_second=100, prefix=(), keys=False, canary=True, **gateway):
        self.script, self.per_second, self.with_canary = script, per_second, canary
        self.server = {'workers': 2, **(server or {})}
        self.extra, self.prefix, self.keys, self.gateway_options = extra or {}, prefix, keys, gateway
        self.expect_logged = None  # set: exactly so many records besides the canary's
        self.expect_canary = True
        self.records = None

    def config(self):
        def provider(server):
            return {'dialect': 'openai', 'base_url': server.base_url, 'api_key': PROVIDER_KEY, 'models': ['m'],
                    'max_fails': 0}
        config = {'server': self.server, 'providers': {'h': provider(self.provider), 'c': provider(self.calm)},
                  'models': {'canary': {'targets': [{'provider': 'c', 'model': 'm'}]}}}
        if self.keys:
            config['clients'] = {'polite': {'key': CLIENT_KEY_SHA256}}
        for part, members in self.extra.items():
            config.setdefault(part, {}).update(members(self) if callable(members) else members)
        return config

    def __enter__(self):
        self.provider = RawServer(self.script, backlog=1024)
        self.calm = RawServer(GOOD)
        self.relais = None
        try:
            self.relais = PrefixedGateway(self.config(), prefix=self.prefix, **self.gateway_options)
            headers = [('Authorization', f'Bearer {CLIENT_KEY}')] if self.keys else []
            self.headers = headers
            with self.relais.client() as client:  # one of each before counting: pools, log file, both workers
                for _ in range(2):
                    assert client.request('POST', '/v1/chat/completions',
                                          {'model': 'canary', 'messages': []}, headers).status == 200
            self.warm = 2
            time.sleep(0.05)
            self.descriptors = self.relais.descriptors()
            self.canary = Canary(self.relais, self.per_second, headers) if self.with_canary else None
        except BaseException:
            self._abandon()
            raise
        return self

    def _abandon(self):
        for thing in (self.relais and self.relais.abandon, self.provider.close, self.calm.close):
            if thing:
                thing()

    def __exit__(self, kind, value, trace):
        try:
            if self.canary:
                self.canary.stop()
            if not self.relais.running():  # then whatever the test saw is only a consequence
                self.relais.kill()
                raise AssertionError(f'the gateway ended ({self.relais.exit_status}):\n{self.relais.output()[-20000:]}')
            if kind is None:
                self.check()
                self.provider.finish()
                self.calm.finish()
        finally:
            self._abandon()

    # --- attacking ---

    def client(self, **options):
        attacks.note()
        return Client(*self.relais.data, **options)

    def ask(self, body, headers=(), path='/v1/chat/completions', **options):
        """One POST on a connection of its own; body: bytes or JSON."""
        attacks.note()
        headers = list(headers) + self.headers
        if isinstance(body, bytes) and not any(n.lower() == 'content-type' for n, _ in headers):
            headers.append(('Content-Type', 'application/json'))
        return self.relais.post(path, body, headers, **options)

    # --- the oracle ---

    def hostile_log(self):
        """The attackers' records; also after the end of the siege."""
        return [r for r in self.log_records() if r['model_asked'] != 'canary']

    def log_records(self):
        if self.records is not None:
            return self.records
        with open(self.relais.access_path, 'rb') as file:
            text = file.read()
        return [json.loads(line) for line in text.split(b'\n')[:-1]]

    def check(self):
        relais = self.relais
        assert relais.running(), f'the gateway ended:\n{relais.output()[-5000:]}'
        if self.canary and self.expect_canary:
            assert not self.canary.failures, (f'{len(self.canary.failures)} of the canary failed: '
                                              f'{self.canary.failures[:3]}')
            assert len(self.canary.seconds) > 3, 'the canary hardly sang'
            assert self.canary.slowest_s() < 1.0 * SLOW, f'the canary waited {self.canary.slowest_s():.3f} s'
        # Connections to providers may rest in the pools: a handful, whatever the attack.
        idle = sum(1 for server in (self.provider, self.calm) for c in server.connections if not c.ended.is_set())
        eventually(lambda: relais.descriptors() <= self.descriptors + min(idle, 64), 10 * SLOW,
                   f'descriptors ({relais.descriptors()} now, {self.descriptors} before) did come back')
        metrics, status = relais_admin(relais, '/metrics'), relais_admin(relais, '/status')
        relais.stop()
        self.check_log()
        self.check_secrets(metrics, status)

    def check_log(self):
        with open(self.relais.access_path, 'rb') as file:
            text = file.read()
        bare = [b for b in set(text) if (b < 0x20 and b != 0x0a) or b == 0x7f]
        assert not bare, f'control bytes {bare} in the access log'
        self.records = records = self.log_records()
        if self.canary:
            polite = sum(1 for r in records if r['model_asked'] == 'canary')
            asked = len(self.canary.seconds) + len(self.canary.failures) + self.warm
            assert polite == asked or (self.canary.failures and polite <= asked), f'{polite} records of {asked} requests'
        if self.expect_logged is not None:
            hostile = self.hostile_log()
            assert len(hostile) == self.expect_logged, (
                f'{len(hostile)} records for {self.expect_logged} requests: '
                f'{[(r["status"], r["path"], r["error_text"]) for r in hostile[-5:]]}')

    def check_secrets(self, *texts):
        places = {'output': self.relais.output(), **{f'admin {i}': t for i, t in enumerate(texts)}}
        for path in glob.glob(os.path.join(self.relais.folder, '*.log*')):
            with open(path, encoding='utf-8', errors='replace') as file:
                places[path] = file.read()
        for where, text in places.items():
            for secret in SECRETS:
                assert secret not in text, f'{secret} stands in {where}'


def relais_admin(relais, path):
    reply = relais.admin_request('GET', path, None, [('Authorization', f'Bearer {ADMIN_TOKEN}')])
    assert reply.status == 200, reply
    return reply.text


class PrefixedGateway(Gateway):
    """A gateway started through another program, such as prlimit."""

    def __init__(self, config, prefix=(), **options):
        self.prefix = list(prefix)
        super().__init__(config, **options)

    def start(self):
        if self.prefix:
            import harness
            plain = harness.RELAIS
            try:
                harness.RELAIS = self.prefix[0]
                self.arguments = self.prefix[1:] + [plain] + self.arguments
                return super().start()
            finally:
                harness.RELAIS = plain
        return super().start()
