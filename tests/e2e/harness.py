# SPDX-License-Identifier: Apache-2.0
"""What the whole-program tests stand on: relais and its simulator as processes, raw sockets in both roles, a small
HTTP/1 client that keeps every byte, and certificates. Python's standard library only.

Rules kept here, so that no test has to: every wait has an end, every process is stopped by its own pid, every port is
chosen by the system, and a sanitizer's report fails the test whose program wrote it.
"""
import collections
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get('RELAIS_BUILD', 'build'))
RELAIS = os.path.join(BUILD, 'relais')
# Sanitizer builds and busy machines are slower; what a test measures itself multiplies its limits by this, too.
SLOW = float(os.environ.get('RELAIS_TEST_SLOW', '1'))
WAIT_S = 10 * SLOW  # the usual end of a wait

SANITIZER_REPORT = re.compile(r'ERROR: AddressSanitizer|ERROR: LeakSanitizer|WARNING: ThreadSanitizer'
                              r'|: runtime error: |ERROR: UndefinedBehaviorSanitizer|Assertion `')


def eventually(check, within_s=WAIT_S, what='the condition', every_s=0.02):
    """Calls check() until it returns something true, and returns that; raises AssertionError when time is up."""
    end = time.monotonic() + within_s
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'{what} did not come true within {within_s:g} s; last value: {value!r}')
        time.sleep(every_s)


# --- processes ------------------------------------------------------------------------------------------------------

class Process:
    """One relais process: its printed addresses, its standard error, its end."""

    wrap, pass_fds = (), ()  # a command that becomes relais in the end, and descriptors that it inherits

    def __init__(self, arguments, env=None, ready=(), folder=None, name='relais', start=True, inherit_env=False,
                 owns_folder=None):
        self.arguments = [str(a) for a in arguments]
        self.ready_kinds = ready
        self.name = name
        self.folder = folder or tempfile.mkdtemp(prefix='relais-test-')
        self.owns_folder = folder is None if owns_folder is None else owns_folder
        # A clean environment: a provider key of the developer's must not change what a test sees.
        self.env = dict(os.environ) if inherit_env else {
            k: v for k, v in os.environ.items() if k in ('PATH', 'LANG', 'TERM') or k.endswith('SAN_OPTIONS')}
        self.env.update(HOME=self.folder, TMPDIR=self.folder)
        self.env.update({k: str(v) for k, v in (env or {}).items()})
        self.addresses = {}  # kind -> list of (scheme, host, port)
        self.proc = None
        self.exit_status = None
        if start:
            self.start()

    def start(self):
        self.addresses, self.exit_status = {}, None
        self._out, self._err = [], []
        self._changed = threading.Condition()
        self._ended_streams = 0
        self.started_at = time.monotonic()
        self.proc = subprocess.Popen([*self.wrap, RELAIS] + self.arguments, cwd=self.folder, env=self.env,
                                     pass_fds=self.pass_fds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        for stream, lines in ((self.proc.stdout, self._out), (self.proc.stderr, self._err)):
            threading.Thread(target=self._collect, args=(stream, lines), daemon=True).start()
        if self.ready_kinds:
            try:
                self._await_listening()
            except BaseException:
                self.abandon()
                raise
        return self

    def _collect(self, stream, lines):
        for raw in stream:
            line = raw.decode('utf-8', 'replace').rstrip('\n')
            with self._changed:
                lines.append(line)
                said = re.match(r'listening (\w+) (\w+)://(\S+?)/?$', line)
                if said:
                    kind, scheme, rest = said.groups()
                    host, _, port = rest.rpartition(':')
                    address = (scheme, host.strip('[]'), int(port)) if port.isdigit() else (scheme, rest, 0)
                    self.addresses.setdefault(kind, []).append(address)
                self._changed.notify_all()
        with self._changed:
            self._ended_streams += 1
            self._changed.notify_all()

    def _await_listening(self):
        end = time.monotonic() + 5 * SLOW
        with self._changed:
            while not all(k in self.addresses for k in self.ready_kinds):
                if self._ended_streams == 2 or not self._changed.wait(max(0.0, end - time.monotonic())):
                    raise AssertionError(f'{self.name} {self.arguments} did not come up '
                                         f'(exit status {self.proc.poll()}):\n{self.output()}')

    def output(self):
        return '\n'.join(self._out + self._err)

    @property
    def stdout(self):
        return '\n'.join(self._out)

    @property
    def stderr(self):
        return '\n'.join(self._err)

    @property
    def pid(self):
        return self.proc.pid

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def address(self, kind, at=0):
        """(host, port) of a listening socket."""
        return self.addresses[kind][at][1:]

    def signal(self, number):
        self.proc.send_signal(number)

    def wait(self, within_s=WAIT_S):
        """The exit status. A process that does not end in time is killed and fails the test."""
        try:
            self.exit_status = self.proc.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f'{self.name} did not end within {within_s:g} s:\n{self.output()}') from None
        self._drain()
        return self.exit_status

    def _drain(self):
        end = time.monotonic() + WAIT_S
        with self._changed:
            while self._ended_streams < 2 and self._changed.wait(max(0.0, end - time.monotonic())):
                pass

    def kill(self):
        """SIGKILL: what a crash looks like to everybody else."""
        if self.running():
            self.proc.kill()
        if self.proc is not None:
            self.exit_status = self.proc.wait()
            self._drain()

    def check_reports(self):
        found = SANITIZER_REPORT.search(self.output())
        assert not found, f'{self.name} reported {found.group(0)!r}:\n{self.output()[-20000:]}'

    def stop(self, status=0, within_s=WAIT_S):
        """SIGTERM, then the exit status and the absence of sanitizer reports are checked."""
        if self.running():
            self.signal(signal.SIGTERM)
        if self.exit_status is None:
            self.wait(within_s)
        self.check_reports()
        assert self.exit_status == status, \
            f'{self.name} ended with status {self.exit_status}, not {status}:\n{self.output()[-20000:]}'

    def finish(self):
        """The end of a test: stops what still runs, and checks it. A process that the test ended itself is only
        searched for reports."""
        try:
            if self.running():
                self.stop()
            elif self.proc is not None:
                self._drain()
                self.check_reports()
        finally:
            self.abandon()

    def abandon(self):
        """No process and no folder stays; nothing is checked."""
        self.kill()
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.finish()
        else:
            self.abandon()

    def memory_kib(self):
        """Resident memory now."""
        with open(f'/proc/{self.pid}/status', encoding='ascii') as status:
            return int(re.search(r'VmRSS:\s+(\d+) kB', status.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def cpu_s(self):
        """User and system time used so far."""
        with open(f'/proc/{self.pid}/stat', encoding='ascii') as stat:
            fields = stat.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def run(*arguments, env=None, within_s=WAIT_S, folder=None, stdin=b''):
    """Runs a command of relais to its end: an object with returncode, stdout and stderr (text)."""
    clean = {k: v for k, v in os.environ.items() if k in ('PATH', 'LANG') or k.endswith('SAN_OPTIONS')}
    clean.update({k: str(v) for k, v in (env or {}).items()})
    done = subprocess.run([RELAIS] + [str(a) for a in arguments], env=clean, cwd=folder or TOP, input=stdin,
                          capture_output=True, timeout=within_s, check=False)
    done.stdout, done.stderr = (text.decode('utf-8', 'replace') for text in (done.stdout, done.stderr))
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


class Gateway(Process):
    """relais serve. The config is YAML text, or a dict in which listen, admin and log.access are filled in.

    gateway.get('/health'), gateway.post('/v1/chat/completions', {...}), gateway.client(), gateway.metrics() ...
    """

    def __init__(self, config=None, env=None, args=(), ready=('data', 'admin'), name='relais', folder=None, start=True):
        folder_given = folder
        folder = folder or tempfile.mkdtemp(prefix='relais-test-')
        self.config_path = os.path.join(folder, 'relais.yaml')
        self.access_path = os.path.join(folder, 'access.log')
        self.write_config(config)
        super().__init__(['serve', '--config', self.config_path, *args], env, ready, folder, name, start,
                         owns_folder=folder_given is None)

    def write_config(self, config):
        """Writes the file (whole, by rename); reload() makes the running gateway take it."""
        if isinstance(config, str):
            text = config.replace('@ACCESS_LOG@', self.access_path)
        else:
            config = json.loads(json.dumps(config or {}))  # a copy
            server = config.setdefault('server', {})
            server.setdefault('listen', '127.0.0.1:0')
            server.setdefault('admin', '127.0.0.1:0')
            config.setdefault('log', {}).setdefault('access', self.access_path)
            text = json.dumps(config, indent=1) + '\n'  # JSON is YAML
        with open(self.config_path + '.new', 'w', encoding='utf-8') as file:
            file.write(text)
        os.rename(self.config_path + '.new', self.config_path)

    @property
    def data(self):
        return self.address('data')

    @property
    def admin(self):
        return self.address('admin')

    @property
    def base_url(self):
        return f'http://{self.data[0]}:{self.data[1]}/v1'

    def client(self, **options):
        """A kept-alive connection to the data plane."""
        return Client(*self.data, **options)

    def request(self, method, path, body=None, headers=(), **options):
        """One exchange on a connection of its own."""
        with Client(*self.data) as client:
            return client.request(method, path, body, headers, **options)

    def get(self, path, headers=(), **options):
        return self.request('GET', path, None, headers, **options)

    def post(self, path, body, headers=(), **options):
        return self.request('POST', path, body, headers, **options)

    def chat(self, text='hello', model='assistant', headers=(), **members):
        """POST /v1/chat/completions with one user message; members join the request (stream=True ...)."""
        body = {'model': model, 'messages': [{'role': 'user', 'content': text}], **members}
        return self.post('/v1/chat/completions', body, headers)

    def admin_request(self, method, path, body=None, headers=(), **options):
        with Client(*self.admin) as client:
            return client.request(method, path, body, headers, **options)

    def metrics(self):
        """{'name{labels}': value} as Prometheus would read it."""
        reply = self.admin_request('GET', '/metrics')
        assert reply.status == 200, reply
        return parse_metrics(reply.text)

    def status(self):
        reply = self.admin_request('GET', '/status')
        assert reply.status == 200, reply
        return reply.json()

    def access_log(self, count=None, within_s=WAIT_S):
        """The records so far; with count, waits until that many are there (they are written off the workers)."""
        def read():
            if not os.path.exists(self.access_path):
                return []
            with open(self.access_path, encoding='utf-8') as file:
                return [json.loads(line) for line in file.read().split('\n')[:-1]]
        if count is None:
            return read()
        eventually(lambda: len(read()) >= count, within_s, f'{count} access log records')
        return read()

    def reload(self, config=None):
        """SIGHUP, with a new config if one is given. What it changes is seen by the caller (eventually)."""
        if config is not None:
            self.write_config(config)
        self.signal(signal.SIGHUP)


def parse_metrics(text):
    found = {}
    for line in text.split('\n'):
        if line and not line.startswith('#'):
            name, _, value = line.rpartition(' ')
            assert name not in found, f'metric given twice: {name}'
            found[name] = float(value)
    return found


class Sim(Process):
    """relais simulate: a provider whose behaviour the scenario (YAML text or a dict) scripts."""

    def __init__(self, scenario=None, name='sim', args=(), env=None, host='127.0.0.1', port=0):
        self.host = host
        self.scenario = scenario
        self.extra = list(args)
        folder = tempfile.mkdtemp(prefix='relais-sim-')
        super().__init__(self._command(folder, port), env, ('sim',), folder, name, owns_folder=True)

    def _command(self, folder, port):
        command = ['simulate', '--listen', f'{self.host}:{port}', *self.extra]
        if self.scenario is not None:
            path = os.path.join(folder, 'scenario.yaml')
            with open(path, 'w', encoding='utf-8') as file:
                file.write(self.scenario if isinstance(self.scenario, str) else json.dumps(self.scenario))
            command += ['--scenario', path]
        return command

    @property
    def port(self):
        return self.address('sim')[1]

    @property
    def url(self):
        scheme, host, port = self.addresses['sim'][0]
        return f'{scheme}://{host}:{port}'

    @property
    def base_url(self):
        """As a provider's base_url in the config."""
        return self.url + '/v1'

    def ledger(self):
        """What it served, by its own account."""
        with Client(*self.address('sim')) as client:
            reply = client.request('GET', '/sim/ledger')
        assert reply.status == 200, reply
        return reply.json()

    def restart(self, scenario=None):
        """The same port again, after a kill."""
        port = self.port
        self.kill()
        if scenario is not None:
            self.scenario = scenario
        self.arguments = [str(a) for a in self._command(self.folder, port)]
        return self.start()


# --- raw sockets ----------------------------------------------------------------------------------------------------

Received = collections.namedtuple('Received', 'data closed reset seconds pieces')
"""data: all bytes; closed: the peer ended (in order or not); reset: by a reset; seconds: until the end of reading;
pieces: [(seconds since the start, bytes)]."""


def raw(host, port, data=b'', until=None, within_s=WAIT_S, shut=False, pieces=None, gap_s=0.0, tls=None, keep=False):
    """Sends bytes as they are and reads until the peer closes, `until` bytes came by, or time is up.

    pieces: send these one by one with gap_s between them instead of data. shut: half-close after sending.
    tls: an ssl.SSLContext. keep: return (Received, open socket)."""
    try:
        sock = socket.create_connection((host, port), timeout=within_s)
    except ConnectionResetError:  # accepted and reset before we could look: not a refusal
        return Received(b'', True, True, 0.0, [])
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname=host)
    try:
        for number, piece in enumerate(pieces if pieces is not None else [data]):
            if number and gap_s:
                time.sleep(gap_s)
            try:
                sock.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break  # refused early: what it answered still counts
        if shut:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        received = read_socket(sock, until, within_s)
    except BaseException:
        sock.close()
        raise
    if keep:
        return received, sock
    sock.close()
    return received


def read_socket(sock, until=None, within_s=WAIT_S):
    started = time.monotonic()
    data, pieces, closed, reset = b'', [], False, False
    while True:
        left = started + within_s - time.monotonic()
        if left <= 0 or (until is not None and until in data):
            break
        sock.settimeout(left)
        try:
            got = sock.recv(65536)
        except (socket.timeout, ssl.SSLWantReadError):
            break
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            closed = reset = True
            break
        if not got:
            closed = True
            break
        pieces.append((time.monotonic() - started, got))
        data += got
    return Received(data, closed, reset, time.monotonic() - started, pieces)


def reset(sock):
    """Ends a connection by a reset instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def free_port(host='127.0.0.1'):
    """A port on which nobody listens (for refusals). Kept by nobody: another process may take it later."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


def has_ipv6():
    """Whether this machine has an IPv6 loopback address."""
    try:
        free_port('::1')
        return True
    except OSError:
        return False


# --- a small HTTP/1 client that keeps the bytes ---------------------------------------------------------------------

class HttpError(AssertionError):
    """The answer was no HTTP, or ended too early. .raw holds what came."""

    def __init__(self, what, received=b''):
        super().__init__(f'{what}; received {received[-2000:]!r}')
        self.raw = received


class Reply:
    """status, reason, version, headers (list of (name as sent, value)), body, raw (every byte, framing included),
    trailers, ended ('length', 'chunked', 'close', 'none'), first_byte_s, seconds."""

    def __init__(self):
        self.status, self.reason, self.version = 0, '', ''
        self.headers, self.trailers = [], []
        self.body = self.raw = b''
        self.ended = 'none'
        self.first_byte_s = self.seconds = 0.0
        self.interim = []  # 1xx answers before this one

    def header(self, name, default=None):
        """The value of a header given once; all values joined by ', ' if given more often."""
        values = self.header_all(name)
        return ', '.join(values) if values else default

    def header_all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode('utf-8')

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The data of each server-sent event of the body, '[DONE]' included."""
        reader = SseParser()
        return [event.data for event in reader.push(self.body) + reader.close()]

    def chunks(self):
        """The events as JSON, without the '[DONE]' that must end them."""
        events = self.events()
        assert events and events[-1] == '[DONE]', f'the stream does not end in [DONE]: {events[-2:]}'
        return [json.loads(e) for e in events[:-1]]

    def stream_text(self):
        """The streamed answer's text."""
        return ''.join(choice.get('delta', {}).get('content') or ''
                       for chunk in self.chunks() for choice in chunk.get('choices', []))

    def __repr__(self):
        return f'<Reply {self.status} {dict(self.headers)} {self.body[:2000]!r}>'


class Client:
    """One connection. request() sends and reads a whole answer; send() and read_reply() do halves of it (pipelining);
    stream() yields what arrives, with its time."""

    def __init__(self, host, port, within_s=WAIT_S, tls=None, receive_buffer=None, unix=None):
        self.host, self.port, self.within_s = host, port, within_s
        if unix:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(within_s)
            self.sock.connect(unix)
        elif receive_buffer:  # must be set before connecting to limit the window: a slow reader
            self.sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(within_s)
            self.sock.connect((host, port))
        else:
            self.sock = socket.create_connection((host, port), timeout=within_s)
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=host)
        self.pending = b''  # read, and not yet used
        self.sent_at = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        reset(self.sock)

    def head(self, method, path, headers, body):
        names = {n.lower() for n, _ in headers}
        lines = [f'{method} {path} HTTP/1.1']
        if 'host' not in names:
            lines.append(f'Host: [{self.host}]:{self.port}' if ':' in self.host else f'Host: {self.host}:{self.port}')
        lines += [f'{n}: {v}' for n, v in headers]
        if body is not None and not names & {'content-length', 'transfer-encoding'}:
            lines.append(f'Content-Length: {len(body)}')
        return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')

    def send(self, method, path, body=None, headers=()):
        """The request in one write. A dict or list becomes JSON, with its media type unless headers name one."""
        headers = list(headers.items() if isinstance(headers, dict) else headers)
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            if not any(n.lower() == 'content-type' for n, _ in headers):
                headers.append(('Content-Type', 'application/json'))
        elif isinstance(body, str):
            body = body.encode()
        self.sent_at = time.monotonic()
        self.sock.settimeout(self.within_s)
        self.sock.sendall(self.head(method, path, headers, body) + (body or b''))

    def request(self, method, path, body=None, headers=(), within_s=None):
        try:
            self.send(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # an answer may have come before all was sent
        return self.read_reply(method, within_s)

    def get(self, path, headers=(), **options):
        return self.request('GET', path, None, headers, **options)

    def post(self, path, body, headers=(), **options):
        return self.request('POST', path, body, headers, **options)

    def _more(self, end):
        """More bytes into pending; False at the end of the connection."""
        left = end - time.monotonic()
        if left <= 0:
            raise HttpError('time is up', self.pending)
        self.sock.settimeout(left)
        try:
            got = self.sock.recv(65536)
        except socket.timeout:
            raise HttpError('time is up', self.pending) from None
        except (ConnectionResetError, BrokenPipeError):
            raise HttpError('the connection was reset', self.pending) from None
        self.pending += got
        return bool(got)

    def _line(self, end, reply):
        while b'\r\n' not in self.pending:
            if not self._more(end):
                raise HttpError('the connection ended inside a line', reply.raw + self.pending)
        line, _, self.pending = self.pending.partition(b'\r\n')
        reply.raw += line + b'\r\n'
        return line

    def _exactly(self, n, end, reply):
        while len(self.pending) < n:
            if not self._more(end):
                reply.raw += self.pending
                raise HttpError(f'the connection ended {n - len(self.pending)} bytes early', reply.raw)
        data, self.pending = self.pending[:n], self.pending[n:]
        reply.raw += data
        return data

    def read_head(self, end, reply):
        reply.__init__()
        if not self.pending and not self._more(end):
            raise HttpError('the connection was closed before an answer')
        reply.first_byte_s = time.monotonic() - self.sent_at
        line = self._line(end, reply).decode('latin-1')
        found = re.fullmatch(r'(HTTP/1\.[01]) (\d{3}) ?(.*)', line)
        if not found:
            raise HttpError(f'no status line: {line!r}', reply.raw)
        reply.version, reply.status, reply.reason = found.group(1), int(found.group(2)), found.group(3)
        reply.headers = self._fields(end, reply)

    def _fields(self, end, reply):
        fields = []
        while True:
            line = self._line(end, reply).decode('latin-1')
            if not line:
                return fields
            name, colon, value = line.partition(':')
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise HttpError(f'no header line: {line!r}', reply.raw)
            fields.append((name, value.strip(' \t')))

    def read_reply(self, method='GET', within_s=None):
        end = time.monotonic() + (within_s or self.within_s)
        reply, interim = Reply(), []
        self.read_head(end, reply)
        while 100 <= reply.status < 200 and reply.status != 101:
            interim.append(reply)
            reply = Reply()
            self.read_head(end, reply)
        for kind, data in self._body(method, end, reply):
            if kind == 'data':
                reply.body += data
        reply.interim = interim
        reply.seconds = time.monotonic() - self.sent_at
        return reply

    def _body(self, method, end, reply):
        """Yields ('data', bytes) by the framing, and sets how it ended."""
        codings = reply.header_all('transfer-encoding')
        lengths = reply.header_all('content-length')
        if codings and lengths:
            raise HttpError('both Transfer-Encoding and Content-Length', reply.raw)
        if len(lengths) > 1 or (lengths and not re.fullmatch(r'[0-9]+', lengths[0])):
            raise HttpError(f'bad Content-Length {lengths}', reply.raw)
        if method == 'HEAD' or reply.status in (101, 204, 304):
            reply.ended = 'none'
        elif codings:
            if [c.lower() for c in codings] != ['chunked']:
                raise HttpError(f'unknown transfer coding {codings}', reply.raw)
            while True:
                size = self._line(end, reply).split(b';')[0].strip()
                if not re.fullmatch(rb'[0-9A-Fa-f]{1,8}', size):
                    raise HttpError(f'bad chunk size {size!r}', reply.raw)
                if int(size, 16) == 0:
                    break
                yield 'data', self._exactly(int(size, 16), end, reply)
                if self._exactly(2, end, reply) != b'\r\n':
                    raise HttpError('no line end behind a chunk', reply.raw)
            reply.trailers = self._fields(end, reply)
            reply.ended = 'chunked'
        elif lengths:
            left = int(lengths[0])
            while left:
                if not self.pending and not self._more(end):
                    raise HttpError(f'the connection ended {left} bytes early', reply.raw)
                data = self._exactly(min(left, len(self.pending)), end, reply)
                left -= len(data)
                yield 'data', data
            reply.ended = 'length'
        else:
            while self.pending or self._more(end):
                yield 'data', self._exactly(len(self.pending), end, reply)
            reply.ended = 'close'

    def stream(self, method, path, body=None, headers=(), within_s=None):
        """Sends a request and returns (reply with its head, iterator of (seconds since sending, bytes))."""
        self.send(method, path, body, headers)
        end = time.monotonic() + (within_s or self.within_s)
        reply = Reply()
        self.read_head(end, reply)

        def arrivals():
            for _, data in self._body(method, end, reply):
                reply.body += data
                yield time.monotonic() - self.sent_at, data
            reply.seconds = time.monotonic() - self.sent_at
        return reply, arrivals()

    def events(self, method, path, body=None, headers=(), within_s=None):
        """The same, as (reply, iterator of SseEvent with .at_s set)."""
        reply, arrivals = self.stream(method, path, body, headers, within_s)

        def parsed():
            reader = SseParser()
            for at_s, data in arrivals:
                for event in reader.push(data):
                    event.at_s = at_s
                    yield event
            yield from reader.close()
        return reply, parsed()

    def closed_by_peer(self, within_s=WAIT_S):
        """True once the peer has ended the connection; False if it is still open when time is up."""
        readable, _, _ = select.select([self.sock], [], [], within_s)
        if not readable:
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b''
        except ConnectionResetError:
            return True


class SseEvent:
    """One server-sent event: data, event (type), id, retry; comments are events with comment set."""

    def __init__(self):
        self.data, self.event, self.id, self.retry, self.comment = None, None, None, None, None
        self.at_s = None

    def json(self):
        return json.loads(self.data)

    def __repr__(self):
        return f'<SseEvent {self.event or ""} {self.data if self.data is not None else ":" + str(self.comment)!r}>'


class SseParser:
    """WHATWG HTML §9.2.6, fed with pieces of any size. Lines end in LF, CRLF or CR."""

    def __init__(self):
        self.held, self.lines = b'', []

    def push(self, data):
        self.held += data
        events = []
        while True:
            found = re.search(rb'\r\n|\n|\r(?=[^\n])', self.held)
            if not found:
                return events
            line, self.held = self.held[:found.start()], self.held[found.end():]
            if line:
                self.lines.append(line.decode('utf-8'))
            else:
                events += self._dispatch()

    def close(self):
        """What an event without its blank line would have been is dropped, as the standard says."""
        rest, self.held = self.held, b''
        if rest == b'\r':
            return self._dispatch()
        self.lines = []
        return []

    def _dispatch(self):
        lines, self.lines = self.lines, []
        event, seen = SseEvent(), False
        comments = []
        for line in lines:
            if line.startswith(':'):
                comments.append(line[1:].lstrip(' '))
                continue
            name, _, value = line.partition(':')
            value = value[1:] if value.startswith(' ') else value
            if name == 'data':
                event.data = value if event.data is None else event.data + '\n' + value
                seen = True
            elif name in ('event', 'id', 'retry'):
                setattr(event, name, value)
                seen = True
        if comments and not seen:
            event.comment = '\n'.join(comments)
            seen = True
        return [event] if seen else []


# --- a scripted provider --------------------------------------------------------------------------------------------

class RawServer:
    """A provider that does to each connection exactly what a test says, byte by byte.

    script(connection): called in a thread of its own with a RawConnection. Or give bytes: each request is read
    whole and answered with them. tls: an ssl.SSLContext for servers. backlog 0 with accept=False leaves
    connections unaccepted. A host that is a path is a Unix socket there."""

    def __init__(self, script, host='127.0.0.1', port=0, tls=None, accept=True, backlog=128):
        self.script = script if callable(script) else self._answer_with(script)
        self.tls = tls
        self.connections = []
        self.errors = []
        self._closing = False
        family = socket.AF_UNIX if host[0] == '/' else socket.AF_INET6 if ':' in host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(host if family == socket.AF_UNIX else (host, port))
        self.listener.listen(backlog)
        self.host, self.port = (host, 0) if family == socket.AF_UNIX else self.listener.getsockname()[:2]
        if accept:
            threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def _answer_with(answer):
        def script(connection):
            while connection.read_request():
                connection.send(answer)
        return script

    @property
    def base_url(self):
        if self.host[0] == '/':
            return f'unix:{self.host}:/v1'
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{"https" if self.tls else "http"}://{host}:{self.port}/v1'

    @property
    def requests(self):
        """All requests read so far, over all connections."""
        return [r for c in list(self.connections) for r in c.requests]

    def _accept(self):
        while not self._closing:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = RawConnection(sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.tls:
                connection.sock = self.tls.wrap_socket(connection.sock, server_side=True)
            self.script(connection)
        except (OSError, ssl.SSLError) as gone:
            connection.ended_by = gone  # the peer left: often just what a test wants to see
        except Exception as error:  # a mistake in the test itself; finish() tells
            self.errors.append(error)
        finally:
            if not connection.kept:
                connection.close()
            connection.ended.set()

    def close(self):
        self._closing = True
        # Closing alone does not wake a thread that waits in accept().
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in list(self.connections):
            connection.close()

    def finish(self):
        self.close()
        assert not self.errors, f'the script failed: {self.errors!r}'

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.finish()
        else:
            self.close()


RawRequest = collections.namedtuple('RawRequest', 'line headers body raw at')


class RawConnection:
    """The provider's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = []
        self.pending = b''
        self.kept = False  # a script that sets this leaves the connection open when it returns
        self.ended = threading.Event()
        self.ended_by = None
        self.peer_left_at = None

    def read_request(self, within_s=WAIT_S):
        """The next whole request, or None when the peer closes first."""
        self.sock.settimeout(within_s)
        while b'\r\n\r\n' not in self.pending:
            got = self.sock.recv(65536)
            if not got:
                return None
            self.pending += got
        head, _, rest = self.pending.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        headers = [(n, v.strip()) for n, _, v in (line.partition(':') for line in lines[1:])]
        length = int(next((v for n, v in headers if n.lower() == 'content-length'), '0'))
        chunked = any(n.lower() == 'transfer-encoding' for n, _ in headers)
        while (len(rest) < length) if not chunked else not rest.endswith(b'0\r\n\r\n'):
            got = self.sock.recv(65536)
            if not got:
                return None
            rest += got
        body, self.pending = (rest, b'') if chunked else (rest[:length], rest[length:])
        request = RawRequest(lines[0], headers, body, head + b'\r\n\r\n' + body, time.monotonic())
        self.requests.append(request)
        return request

    def send(self, data, gap_s=0.0, piece=None):
        """Bytes as they are; piece: in pieces of that many bytes with gap_s between."""
        self.sock.settimeout(WAIT_S)
        if not piece:
            self.sock.sendall(data)
            return
        for at in range(0, len(data), piece):
            self.sock.sendall(data[at:at + piece])
            if gap_s:
                time.sleep(gap_s)

    def wait_for_peer_to_leave(self, within_s=WAIT_S):
        """Reads until the peer ends the connection; True, and the time in peer_left_at, if it does in time."""
        end = time.monotonic() + within_s
        while True:
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            try:
                if self.sock.recv(65536) == b'':
                    break
            except socket.timeout:
                return False
            except OSError:
                break
        self.peer_left_at = time.monotonic()
        return True

    def reset(self):
        reset(self.sock)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def http_answer(body, status='200 OK', content_type='application/json', headers=()):
    """The bytes of an ordinary answer."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    body = body.encode() if isinstance(body, str) else body
    head = [f'HTTP/1.1 {status}', f'Content-Type: {content_type}', f'Content-Length: {len(body)}']
    head += [f'{n}: {v}' for n, v in headers]
    return '\r\n'.join(head).encode() + b'\r\n\r\n' + body


def chat_answer(text='hello', model='test', **usage):
    """A chat completion as OpenAI's API gives it."""
    usage = usage or {'prompt_tokens': 3, 'completion_tokens': 5, 'total_tokens': 8}
    return {'id': 'chatcmpl-1', 'object': 'chat.completion', 'created': 1700000000, 'model': model,
            'choices': [{'index': 0, 'message': {'role': 'assistant', 'content': text}, 'finish_reason': 'stop'}],
            'usage': usage}


def sse_events(texts, model='test', usage=True, done=True):
    """The events (bytes, one each) of a streamed chat completion."""
    def chunk(**members):
        body = {'id': 'chatcmpl-1', 'object': 'chat.completion.chunk', 'created': 1700000000, 'model': model, **members}
        return b'data: ' + json.dumps(body).encode() + b'\n\n'
    events = [chunk(choices=[{'index': 0, 'delta': {'role': 'assistant', 'content': ''}, 'finish_reason': None}])]
    events += [chunk(choices=[{'index': 0, 'delta': {'content': t}, 'finish_reason': None}]) for t in texts]
    events.append(chunk(choices=[{'index': 0, 'delta': {}, 'finish_reason': 'stop'}]))
    if usage:
        tokens = {'prompt_tokens': 3, 'completion_tokens': len(texts), 'total_tokens': 3 + len(texts)}
        events.append(chunk(choices=[], usage=tokens))
    if done:
        events.append(b'data: [DONE]\n\n')
    return events


def chunked(piece):
    """One chunk of chunked coding; chunked(b'') is the last."""
    return b'%x\r\n%s\r\n' % (len(piece), piece)


STREAM_HEAD = b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'


# --- certificates ---------------------------------------------------------------------------------------------------

class Certificates:
    """A certificate authority of the test's own, made with the openssl command. .ca is its file."""

    def __init__(self, folder):
        self.folder = folder
        self.ca, self.ca_key, self.made = os.path.join(folder, 'ca.pem'), os.path.join(folder, 'ca.key'), 0
        self.openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                      '-keyout', self.ca_key, '-out', self.ca, '-days', '30', '-subj', '/CN=relais test CA',
                      '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=keyCertSign,cRLSign')

    def openssl(self, *arguments):
        done = subprocess.run(['openssl', *arguments], capture_output=True, timeout=60, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stderr.decode()

    def make(self, name='localhost', names=('localhost', '127.0.0.1', '::1'), days=30, expired=False, self_signed=False,
             client=False, rsa=False):
        """(certificate file, key file) for these DNS names and addresses; others each time."""
        self.made += 1
        base = os.path.join(self.folder, f'{name.replace("*", "any")}-{self.made}')
        certificate, key, request, extra = (base + end for end in ('.pem', '.key', '.csr', '.ext'))
        alternatives = ','.join(('IP:' if re.fullmatch(r'[\d.]+|.*:.*', n) else 'DNS:') + n for n in names)
        with open(extra, 'w', encoding='ascii') as file:
            file.write(f'subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\nextendedKeyUsage={"client" if client else "server"}Auth\n')
        kind = ['rsa:2048'] if rsa else ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
        self.openssl('req', '-new', '-newkey', *kind, '-nodes',
                      '-keyout', key, '-out', request, '-subj', f'/CN={name}')
        signer = ['-signkey', key] if self_signed else ['-CA', self.ca, '-CAkey', self.ca_key, '-CAcreateserial']
        dates = ['-days', str(days)]
        if expired:  # openssl 3.0 takes no start date, but a negative number of days; 3.5 the other way round
            said = subprocess.run(['openssl', 'x509', '-help'], capture_output=True, timeout=60, check=False)
            dates = (['-not_before', '20200101000000Z', '-not_after', '20200201000000Z']
                     if b'-not_before' in said.stderr + said.stdout else ['-days', '-1'])
        self.openssl('x509', '-req', '-in', request, *signer, '-out', certificate, '-extfile', extra, *dates)
        return certificate, key

    def server_context(self, **options):
        certificate, key = self.make(**options)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def client_context(self):
        return ssl.create_default_context(cafile=self.ca)
