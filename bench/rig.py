# SPDX-License-Identifier: Apache-2.0
"""What the benchmark, the gate and the profile share: cases, the origin, the proxies, the load.

Who owns what: a Rig owns a scratch folder and every process that it started; leaving its `with` block ends them all.
Proxies run on the first processor that we may use, everything else on the others.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
PATH = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'  # where some distributions keep nginx and haproxy
CFLAGS = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra']
LIBS = ['-lssl', '-lcrypto']


class Failure(Exception):
    """Something that the user should read, without a traceback."""


# ---- cases ----

# As the official Python client sends it; the key is not looked at by anybody here.
HEADERS = '''\
Accept: application/json
Accept-Encoding: gzip, deflate
Content-Type: application/json
User-Agent: OpenAI/Python 1.99.0
X-Stainless-Lang: python
X-Stainless-Package-Version: 1.99.0
X-Stainless-OS: Linux
X-Stainless-Arch: x64
X-Stainless-Runtime: CPython
X-Stainless-Runtime-Version: 3.11.2
X-Stainless-Async: false
x-stainless-retry-count: 0
x-stainless-read-timeout: 600
Authorization: Bearer sk-bench-0123456789abcdef0123456789abcdef'''


class Case:
    """One kind of traffic. A new one is one more entry of CASES.

    first_rate: of requests (events) a second, for a first look at what they cost. peers: those worth a comparison, if
    not all. tls: on both sides. wanted: {peer: highest ratio of relais' CPU time to it}.
    """

    def __init__(self, what, request_bytes, answer_bytes=0, events=0, conns=32, first_rate=2000, tls=False, peers=None,
                 wanted=None):
        self.what, self.request_bytes, self.answer_bytes = what, request_bytes, answer_bytes
        self.events, self.conns, self.first_rate, self.tls = events, conns, first_rate, tls
        self.per = 'event' if events else 'request'
        self.peers, self.wanted = peers, wanted or {}

    def body(self):
        system = {'role': 'system', 'content': 'You are a helpful assistant. Answer in short, plain sentences.'}
        user = {'role': 'user', 'content': ''}
        body = {'model': 'assistant', 'messages': [system, user], 'temperature': 0.7, 'max_tokens': 512}
        if self.events:
            body['stream'] = True
        text = 'Tell me what a gateway does for those who call models through it.\n'

        def encode():
            return json.dumps(body, separators=(',', ':')).encode()
        room = self.request_bytes - len(encode())
        while len(encode()) < self.request_bytes:  # \n takes two bytes in JSON
            left = self.request_bytes - len(encode())
            user['content'] += text * max(1, left // (len(text) + 1)) if left > len(text) else '.' * left
        assert room > 0 and len(encode()) == self.request_bytes
        return encode()

    def request(self):
        body = self.body()
        head = f'POST /v1/chat/completions HTTP/1.1\nHost: 127.0.0.1\n{HEADERS}\nContent-Length: {len(body)}\n\n'
        return head.replace('\n', '\r\n').encode() + body


CASES = {
    'chat': Case('1.2 KB chat request, 1.3 KB answer', 1200, answer_bytes=1300,
                 wanted={'nginx': 1.0, 'haproxy': 1.0}),
    'body100k': Case('100 KB request, 1.3 KB answer', 100_000, answer_bytes=1300, first_rate=400, peers=['nginx'],
                     wanted={'nginx': 1.2}),
    'body1m': Case('1 MB request, 1.3 KB answer', 1_000_000, answer_bytes=1300, conns=16, first_rate=60,
                   peers=['nginx'], wanted={'nginx': 1.2}),
    'sse': Case('stream of 200 events, one a write', 1200, events=200, first_rate=4000, wanted={'nginx': 1.0}),
    'tls': Case('1.2 KB chat request, 1.3 KB answer, TLS on both sides', 1200, answer_bytes=1300, first_rate=1000,
                tls=True, peers=['nginx', 'haproxy'], wanted={'nginx': 1.0}),
}
# Of other measurements: many streams at once, each of few events far apart.
MANY = Case('streams open at once', 1200, events=10)


# ---- processors ----

def processors():
    """(the proxy's, the origin's, the load's)"""
    have = sorted(os.sched_getaffinity(0))
    if len(have) == 1:
        return have[0], have[0], have[0]
    return have[0], have[2] if len(have) > 2 else have[1], have[1]


def busy_ns(cpu):
    """Nanoseconds that this processor has not been idle, by /proc/stat (ticks of 10 ms)."""
    tick = 1_000_000_000 // os.sysconf('SC_CLK_TCK')
    with open('/proc/stat') as f:
        for line in f:
            if line.startswith(f'cpu{cpu} '):
                v = [int(x) for x in line.split()[1:9]]
                return (sum(v) - v[3] - v[4]) * tick
    raise Failure(f'/proc/stat does not know processor {cpu}')


# ---- processes ----

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def read_file(path):
    with open(path, errors='replace') as f:
        return f.read()


def resident_kib(pid):
    """What smaps_rollup says; VmRSS may be off by what each thread has not told yet."""
    for line in read_file(f'/proc/{pid}/smaps_rollup').split('\n'):
        if line.startswith('Rss:'):
            return int(line.split()[1])
    return 0


def children_of(pid):
    return [int(x) for x in read_file(f'/proc/{pid}/task/{pid}/children').split()]


def without_trust():
    """Of a client that looks at no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def health(port, tls=False):
    """True when GET /health is answered with 200."""
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=1) as s:
            if tls:
                s = without_trust().wrap_socket(s)
            s.sendall(b'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
            return s.recv(64).startswith(b'HTTP/1.1 200')
    except OSError:
        return False


def ask(port, case):
    """The body of one answer."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
    connection.request('POST', '/v1/chat/completions', case.body(), {'Content-Type': 'application/json'})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise Failure(f'the origin answers {response.status}: {body[:200]!r}')
    return body


class Process:
    """A process of ours, pinned; remembers when it was executed."""

    def __init__(self, argv, cpu, cwd, name, capture=False, env=None):
        self.name, self.log = name, os.path.join(cwd, name + '.out')
        read_end, write_end = os.pipe()

        def before_exec():
            os.sched_setaffinity(0, {cpu})
            os.write(write_end, struct.pack('d', time.monotonic()))
        with open(self.log, 'wb') as log:
            self.popen = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, stderr=log,
                                          stdout=subprocess.PIPE if capture else log, preexec_fn=before_exec,
                                          env=dict(os.environ, PATH=PATH, **(env or {})))
        self.executed = struct.unpack('d', os.read(read_end, 8))[0]
        os.close(read_end)
        os.close(write_end)
        self.pid = self.popen.pid

    def said(self):
        return read_file(self.log).strip()

    def stop(self, how=signal.SIGTERM, patience=10):
        if self.popen.poll() is None:
            self.popen.send_signal(how)
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.popen.wait()
        if self.popen.stdout:
            self.popen.stdout.close()


# ---- the proxies ----

PEERS = ['nginx', 'haproxy', 'haproxy+log', 'relais']
OTHER = 'other relais'  # another build of it, for comparisons of our own
VERSIONS = {'nginx': ['nginx', '-v'], 'haproxy': ['haproxy', '-v']}
# HAProxy writes no files itself. A ring that is backed by a file is its cheapest log that outlives it.
RING = 'ring log\n\tformat raw\n\tmaxlen 1024\n\tsize 33554432\n\tbacking-file @DIR@/haproxy.log'


# HTTP/1.1 and TLS 1.3 on both sides, kept alive: what is compared is the work on records, not handshakes.
PLAIN_SETTINGS = {'LISTEN': '127.0.0.1:@PORT@', 'NGINX_SSL': '', 'NGINX_TLS': '', 'BIND_TLS': '', 'SERVER_TLS': ''}
TLS_SETTINGS = {
    'LISTEN': '{address: "127.0.0.1:@PORT@", tls: {certificate: @TLS@/certificate.pem, key: @TLS@/key.pem}}',
    'NGINX_SSL': 'ssl',
    'NGINX_TLS': 'ssl_certificate @TLS@/certificate.pem; ssl_certificate_key @TLS@/key.pem;'
                 ' ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:bench:1m;'
                 ' proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_session_reuse on;',
    'BIND_TLS': 'ssl crt @TLS@/both.pem',
    'SERVER_TLS': 'ssl verify required ca-file @TLS@/certificate.pem',
}
TEMPLATES = {'nginx': 'nginx.conf', 'relais': 'relais.yaml', OTHER: 'relais.yaml'}


def fill(text, values):
    for _ in range(2):  # a value may hold a name
        for name, value in values.items():
            text = text.replace(f'@{name}@', str(value))
    return text


def version_of(peer):
    out = subprocess.run(VERSIONS[peer], capture_output=True, text=True, env=dict(os.environ, PATH=PATH))
    return (out.stdout + out.stderr).split('\n')[0].replace('nginx version: ', '').split(' - ')[0]


def settings_of(peer, case):
    """What differs between peers and cases in the templates of peers/."""
    logged = peer == 'haproxy+log'
    return {
        'USER': 'user root;' if os.geteuid() == 0 else '',
        'BUFFERING': 'off' if case.events else 'on',
        'STREAM': 'option http-no-delay' if case.events else '',
        'LOG_GLOBAL': 'log ring@log local0' if logged else '',
        'LOG_DEFAULTS': 'log global\n\toption httplog' if logged else '',
        'LOG_RING': RING if logged else '',
        'SCHEME': 'https' if case.tls else 'http',
        **(TLS_SETTINGS if case.tls else PLAIN_SETTINGS),
    }


class Proxy:
    """A running proxy. `serving` are the processes whose time counts."""

    def __init__(self, rig, peer, case, origin_port, wrap=()):
        self.peer, self.port, self.said, self.tls = peer, free_port(), '', case.tls
        self.dir = tempfile.mkdtemp(prefix='peer.', dir=rig.dir)
        config = self.write_config(rig, case, origin_port)
        argv = {
            'nginx': ['nginx', '-p', self.dir, '-e', 'error.log', '-c', config],
            'relais': [rig.relais, 'serve', '--config', config],
            OTHER: [rig.other, 'serve', '--config', config],
        }.get(peer, ['haproxy', '-db', '-f', config])
        # The origin's certificate signs itself: relais has it for the one it trusts.
        trust = {'SSL_CERT_FILE': os.path.join(rig.certificate(), 'certificate.pem')} if case.tls else {}
        self.process = rig.start([*wrap, *argv], rig.cpus[0], self.dir, 'proxy', env=trust)
        self.ready_ms = self.wait_until_ready(60 if wrap else 30)
        self.serving = children_of(self.process.pid) if peer == 'nginx' else [self.process.pid]

    def write_config(self, rig, case, origin_port):
        template = TEMPLATES.get(self.peer, 'haproxy.cfg')
        config = os.path.join(self.dir, template)
        values = dict(settings_of(self.peer, case), PORT=self.port, ORIGIN=origin_port, ADMIN=free_port(), DIR=self.dir,
                      TLS=rig.certificate() if case.tls else '')
        with open(config, 'w') as f:
            f.write(fill(read_file(os.path.join(HERE, 'peers', template)), values))
        return config

    def wait_until_ready(self, patience):
        while not health(self.port, self.tls):
            if self.process.popen.poll() is not None or time.monotonic() > self.process.executed + patience:
                raise Failure(f'{self.peer} does not serve:\n{self.process.said()}')
            time.sleep(0.0002)
        return (time.monotonic() - self.process.executed) * 1000

    def resident_mib(self):
        """(of the process that serves, of those beside it)"""
        beside = resident_kib(self.process.pid) if self.process.pid not in self.serving else 0
        return sum(resident_kib(pid) for pid in self.serving) / 1024, beside / 1024

    def stop(self, patience=10):
        self.process.stop(patience=patience)
        self.said = self.process.said()
        for pid in self.serving:  # nginx' worker, should its master have had to be killed
            if pid != self.process.pid and os.path.exists(f'/proc/{pid}'):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- the whole ----

class Rig:
    def __init__(self, origin='tiny', other=None):
        self.build = os.path.abspath(os.environ.get('RELAIS_BUILD') or os.path.join(TOP, 'build'))
        self.relais = os.path.join(self.build, 'relais')
        self.other = os.path.join(os.path.abspath(other), 'relais') if other else self.relais
        self.cpus, self.origin_kind, self.processes = processors(), origin, []
        for program in (self.relais, self.other):
            if not os.access(program, os.X_OK):
                raise Failure(f'{program} is not there: build it first (make)')

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='relais-bench.')
        self.tools = {name: self.compile(name) for name in ('load', 'origin')}
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop(patience=3)
        shutil.rmtree(self.dir, ignore_errors=True)

    def compile(self, name):
        """Others may be doing the same: the program is put there whole."""
        source, folder = os.path.join(HERE, name + '.c'), os.path.join(self.build, 'bench')
        program = os.path.join(folder, name)
        if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
            os.makedirs(folder, exist_ok=True)
            fresh = os.path.join(self.dir, name)
            subprocess.run([os.environ.get('CC', 'cc'), *CFLAGS, '-o', fresh, source, *LIBS], check=True)
            shutil.copy(fresh, f'{program}.{os.getpid()}')
            os.rename(f'{program}.{os.getpid()}', program)
        return program

    def certificate(self):
        """A folder with a certificate for loopback that signs itself (certificate.pem, key.pem, both.pem)."""
        folder = os.path.join(self.dir, 'tls')
        if not os.path.exists(folder):
            os.mkdir(folder)
            certificate, key = os.path.join(folder, 'certificate.pem'), os.path.join(folder, 'key.pem')
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
                            '-nodes', '-days', '2', '-subj', '/CN=localhost',
                            '-addext', 'subjectAltName=DNS:localhost,DNS:origin,IP:127.0.0.1',
                            '-keyout', key, '-out', certificate], check=True, capture_output=True)
            with open(os.path.join(folder, 'both.pem'), 'w') as f:
                f.write(read_file(certificate) + read_file(key))
        return folder

    def lacks(self, case):
        """Why this build of relais can't serve the case; None: it can."""
        config = os.path.join(self.dir, 'check.yaml')
        values = dict(settings_of('relais', case), PORT=1, ORIGIN=2, ADMIN=3, DIR=self.dir,
                      TLS=self.certificate() if case.tls else '')
        with open(config, 'w') as f:
            f.write(fill(read_file(os.path.join(HERE, 'peers', 'relais.yaml')), values))
        said = subprocess.run([self.relais, 'check', config], capture_output=True, text=True)
        # FILE:LINE:COLUMN: what it is about
        return None if said.returncode == 0 else 'relais refuses it: ' + said.stderr.split('\n')[0].split(': ', 1)[-1]

    def start(self, argv, cpu, cwd, name, capture=False, env=None):
        try:
            process = Process(argv, cpu, cwd, name, capture, env)
        except FileNotFoundError as e:
            raise Failure(f'{argv[0]} is not installed: tools/bootstrap bench') from e
        self.processes.append(process)
        return process

    def stop(self, process):
        process.stop()
        if process in self.processes:
            self.processes.remove(process)

    def start_origin(self, case, gap_us=0, step=False):
        """(process, port); with step, events wait for the load's word (its option of the same name)"""
        if self.origin_kind == 'sim' and not step and not case.tls:
            argv = [self.relais, 'simulate', '--listen', '127.0.0.1:0', '--scenario', self.scenario(case, gap_us)]
        else:
            argv = [self.tools['origin'], '--bytes', str(case.answer_bytes or 1300), '--events', str(case.events),
                    '--gap-us', str(gap_us), '--step', str(int(step))]
            if case.tls:
                folder = self.certificate()
                argv += ['--certificate', os.path.join(folder, 'certificate.pem'), '--key', os.path.join(folder, 'key.pem')]
        process = self.start(argv, self.cpus[1], self.dir, 'origin', capture=True)
        line = process.popen.stdout.readline().decode()
        if 'listening' not in line:
            raise Failure(f'the origin does not serve: {line}{process.said()}')
        port = int(line.rsplit(':', 1)[1].strip(' /\n'))
        # What every answer must then be like, from wherever it comes; and [DONE].
        self.answer_bytes, self.events = case.answer_bytes, case.events + 1
        if 'simulate' in argv:
            body = ask(port, case)
            self.answer_bytes, self.events = len(body), body.count(b'\n\n')
        return process, port

    def scenario(self, case, gap_us):
        """The simulator's script for this case, its path."""
        path = os.path.join(self.dir, 'scenario.yaml')
        with open(path, 'w') as f:
            if case.events:
                f.write(f'tokens: {case.events}\ntokens_per_second: {1e6 / gap_us if gap_us else 0:.0f}\n')
            else:  # what stands around the text takes about 395 bytes
                f.write(f'tokens: 150\ncontent_bytes: {case.answer_bytes - 395}\n')
        return path

    def proxy(self, peer, case, origin_port, wrap=()):
        return Proxy(self, peer, case, origin_port, wrap)

    def drop(self, proxy, patience=10):
        proxy.stop(patience)
        if proxy.process in self.processes:
            self.processes.remove(proxy.process)

    def load(self, case, port, watch=(), meanwhile=None, **options):
        """Runs the load to its end; its result, a dict. Errors of any kind are the caller's to judge.

        port: or several, which take turns (options block_ms and samples). meanwhile: called a few times a second while
        it runs.
        """
        path = os.path.join(self.dir, 'request')
        with open(path, 'wb') as f:
            f.write(case.request())
        argv = [self.tools['load'], '--request', path, '--tls', int(case.tls)]
        for one in port if isinstance(port, list) else [port]:
            argv += ['--port', one]
        if case.events:
            argv += ['--events', self.events]
        else:
            argv += ['--length', self.answer_bytes]
        for name, value in dict({'conns': case.conns}, **options).items():
            argv += ['--' + name.replace('_', '-'), value]
        for pid in watch:
            argv += ['--watch', pid]
        process = self.start([str(x) for x in argv], self.cpus[2], self.dir, 'load', capture=True)
        while meanwhile and process.popen.poll() is None:
            meanwhile()
            time.sleep(0.25)
        out = process.popen.stdout.read()
        process.popen.wait()
        if process.popen.returncode:
            raise Failure(f'the load failed: {process.said()}')
        self.stop(process)
        return json.loads(out)
