# SPDX-License-Identifier: Apache-2.0
"""`relais serve --takeover` (FAULTS 70): the sockets go over, no request fails and no stream breaks; and whatever goes
wrong before the new process serves leaves the old one as it was."""
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

import harness
from h2kit import ACK, DATA, END_HEADERS, END_STREAM, frame, GOAWAY, HEADERS, PING, Raw
from harness import chunked, sse_events, STREAM_HEAD
from kit import config, good, serving, streamed, wants_stream, whole
from test_life import Manager

TAKEOVERS = int(os.environ.get('RELAIS_TEST_TAKEOVERS', '20'))
SOCKET = os.path.join('relais-data', 'control.sock')


@pytest.fixture
def successor(gateway):
    """successor(old, settings) -> a process that takes over from old, in its folder."""
    def make(old, settings, **options):
        return gateway(settings, folder=old.folder, args=['--takeover'], **options)
    return make


def failing(old, *arguments, env=None, within_s=harness.WAIT_S):
    """A takeover that must not succeed: its exit status and what it says."""
    done = harness.run('serve', '--takeover', *(arguments or ['--config', old.config_path]), folder=old.folder, env=env,
                       within_s=within_s)
    return done.returncode, done.stderr


def says(relais, text):
    """Waits until it has said so on standard error."""
    return harness.eventually(lambda: text in relais.stderr, what=f'{text!r}')


class Guest:
    """The other side of a running process's control socket, by hand."""

    def __init__(self, old, hello='relais takeover 1'):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(harness.WAIT_S)
        self.sock.connect(os.path.join(old.folder, SOCKET))
        self.fds = []
        assert self.hear() == 'relais'
        if hello:
            self.say(hello)

    def say(self, text):
        self.sock.send(text.encode())

    def hear(self):
        """The next letter; '' when the process has ended the conversation."""
        text, fds, _, _ = socket.recv_fds(self.sock, 4096, 4)
        self.fds += fds
        return text.decode()

    def hear_all(self):
        said = []
        while not said or said[-1] != 'end':
            said.append(self.hear())
            assert said[-1], said
        return said

    def finish(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Callers:
    """Clients that ask without pause, whole and streamed, on kept and on fresh connections; each failure is kept."""

    def __init__(self, relais, text, number=6, **options):
        self.relais, self.text, self.options = relais, text, options
        self.wrong, self.answered = [], 0
        self.stopping, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(number)]
        for thread in self.threads:
            thread.start()

    def _work(self, number):
        client, turn = None, 0
        while not self.stopping.is_set():
            turn += 1
            try:
                client = client or self.relais.client(**self.options)
                stream = number % 2 == 0
                reply = client.post('/v1/chat/completions', {'model': 'assistant', 'stream': stream, 'messages': []})
                text = reply.stream_text() if stream else reply.json()['choices'][0]['message']['content']
                if reply.status != 200 or text != self.text:
                    self.wrong.append(reply)
                with self.lock:
                    self.answered += 1
                if reply.header('connection') == 'close' or (number % 3 == 0 and turn % 4 == 0):
                    client.close()
                    client = None
            except Exception as problem:  # whatever it is, a client saw it
                self.wrong.append(problem)
                return
        if client:
            client.close()

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(harness.WAIT_S)


def paced(connection, request):
    """Streams take a while, so that each takeover meets some of them at every stage."""
    if not wants_stream(request):
        connection.send(whole('hello'))
        return
    connection.send(STREAM_HEAD)
    for event in sse_events(['h', 'e', 'l', 'l', 'o']):
        time.sleep(0.03)
        connection.send(chunked(event))
    connection.send(chunked(b''))


@pytest.mark.parametrize('how, takeovers', [('plain', TAKEOVERS), ('tls', max(4, TAKEOVERS // 4))])
def test_again_and_again_under_load(gateway, provider, products, successor, certificates, how, takeovers):
    settings = config([provider(serving(paced))])
    if how == 'tls':
        certificate, key = certificates.make()
        settings['server']['listen'] = {'address': '127.0.0.1:0', 'tls': {'certificate': certificate, 'key': key}}
    options = {'tls': certificates.client_context()} if how == 'tls' else {}
    relais = gateway(settings)
    olds = []
    callers = products.add(Callers(relais, 'hello', **options))
    for number in range(takeovers):
        before = callers.answered
        olds.append(relais)
        relais = successor(relais, settings)
        assert relais.data == olds[0].data and relais.admin == olds[0].admin
        harness.eventually(lambda: callers.answered > before + 3 or callers.wrong, what='answers in between')
        assert not callers.wrong, (number, callers.wrong[:3])
    callers.finish()
    assert not callers.wrong, callers.wrong[:3]
    assert callers.answered > 3 * takeovers
    for old in olds:
        assert old.wait(30 * harness.SLOW) == 0, old.output()
        assert 'are cut' not in old.stderr
    outcomes = {r['outcome'] for r in relais.access_log(callers.answered)}
    assert outcomes == {'ok'}, 'all of them have their line, and none failed'
    assert len(relais.access_log()) == callers.answered


def test_a_stream_outlives_its_process_place(gateway, provider, successor):
    """The old process ends its stream while the new one answers everybody else."""
    gate = threading.Event()
    events = sse_events(['one ', 'two'])

    def play(connection, request):
        if not wants_stream(request):
            connection.send(whole())
            return
        connection.send(STREAM_HEAD + b''.join(chunked(e) for e in events[:2]))
        gate.wait(harness.WAIT_S)
        connection.send(b''.join(chunked(e) for e in events[2:]) + chunked(b''))
    settings = config([provider(serving(play))])
    old = gateway(settings)
    with old.client() as client:
        client.send('POST', '/v1/chat/completions', {'model': 'assistant', 'stream': True, 'messages': []})
        harness.eventually(lambda: old.status()['models'][0]['targets'][0]['in_flight'] == 1)
        new = successor(old, settings)
        assert new.chat().status == 200 and old.running()
        gate.set()
        assert client.read_reply('POST').stream_text() == 'one two'
    assert old.wait() == 0


def test_http2_is_told_by_goaway(gateway, provider, successor):
    """What runs is finished, what was on the way is served, and nothing waits for an idle connection."""
    gate = threading.Event()

    def play(connection, request):
        gate.wait(harness.WAIT_S)
        connection.send(whole())
    settings = config([provider(serving(play))], server={'drain': {'deadline': '120s'}})
    old = gateway(settings)
    with Raw(old.data) as busy, Raw(old.data) as idle:  # python3-h2 reads nothing behind a GOAWAY
        idle.headers(1, method='GET', path='/v1/models')
        assert idle.outcome(1) == ('answer', 200)
        busy.send(frame(HEADERS, END_HEADERS, 1, busy.head(('content-type', 'application/json'))))
        busy.send(frame(DATA, END_STREAM, 1, b'{"model":"assistant","messages":[]}'))
        harness.eventually(lambda: old.status()['models'][0]['targets'][0]['in_flight'] == 1)
        new = successor(old, settings)
        busy.read(lambda kind, *_: kind == GOAWAY)
        busy.headers(3, method='GET', path='/v1/models')  # on its way before the last word
        for client in (busy, idle):
            client.send(frame(PING, ACK, 0, client.first(PING)))
        assert idle.read() is None and old.running()
        gate.set()
        busy.read()
        assert {n for kind, flags, n, _ in busy.frames if kind in (DATA, HEADERS) and flags & END_STREAM} == {1, 3}
    assert old.wait() == 0 and new.chat().status == 200


def test_an_idle_connection_may_ask_once_more(gateway, provider, successor):
    settings = config([provider(good())], server={'drain': {'deadline': '60s'}})
    old = gateway(settings)
    with old.client() as idle, old.client() as other:
        assert idle.get('/health').status == 200 and other.get('/health').status == 200
        new = successor(old, settings)
        assert new.get('/ready').status == 200
        reply = idle.get('/ready')
        assert reply.status == 200 and reply.header('connection') == 'close' and idle.closed_by_peer()
        assert old.running() and not other.closed_by_peer(0.1)
        old.signal(signal.SIGTERM)  # told to end: it waits no longer
        assert other.closed_by_peer() and old.wait() == 0
    assert new.chat().status == 200


def test_idle_connections_are_not_waited_for_without_end(gateway, provider, successor):
    settings = config([provider(good())], server={'drain': {'deadline': '4s'}})
    old = gateway(settings)
    with old.client() as idle:
        assert idle.get('/health').status == 200
        successor(old, settings)
        assert idle.closed_by_peer() and old.wait() == 0
        assert 'are cut' not in old.stderr


def test_the_addresses_may_change(gateway, provider, successor):
    settings = config([provider(good())], server={'listen': ['127.0.0.1:0', '127.0.0.2:0']})
    old = gateway(settings)
    harness.eventually(lambda: len(old.addresses['data']) == 2, what='both addresses')
    settings['server'] = {'listen': ['127.0.0.3:0', '127.0.0.1:0']}
    new = successor(old, settings)
    harness.eventually(lambda: len(new.addresses['data']) == 2, what='both addresses')
    assert new.address('data', 1) == old.address('data', 0), 'the one that both name goes over'
    assert new.address('data', 0)[0] == '127.0.0.3'
    assert old.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(old.address('data', 1), timeout=1)
    for at in (0, 1):
        with harness.Client(*new.address('data', at)) as client:
            assert client.get('/ready').status == 200


def test_the_service_manager_hears_of_it(gateway, provider, products, successor, tmp_path):
    """MAINPID comes from the old process, and before the new one speaks; its end is not the service's."""
    manager = products.add(Manager(str(tmp_path / 'notify')))
    settings = config([provider(good())])
    old = gateway(settings, env={'NOTIFY_SOCKET': manager.path, 'WATCHDOG_USEC': '400000'})
    assert manager.message()['READY'] == '1'
    new = successor(old, settings)
    assert manager.message() == {'MAINPID': str(new.pid)}
    assert manager.message() == {'READY': '1', 'STATUS': 'serving'}, 'the old one told it where the manager is'
    assert old.wait() == 0
    harness.eventually(lambda: manager.beats(0.5) > 0, what='signs of life, of which the old one told, too')
    new.signal(signal.SIGTERM)
    assert manager.message()['STOPPING'] == '1'
    assert new.wait() == 0


# --- what goes wrong ----------------------------------------------------------------------------------------------------

def serves_on(old):
    assert old.running() and old.chat().status == 200 and old.get('/ready').status == 200
    with old.client() as client:
        reply = client.get('/health')
        assert reply.status == 200 and reply.header('connection') != 'close'


def test_a_bad_configuration_changes_nothing(gateway, provider, successor, tmp_path):
    settings = config([provider(good())])
    old = gateway(settings)
    bad = tmp_path / 'bad.yaml'
    bad.write_text('server: {lisen: x}')
    status, said = failing(old, '--config', bad)
    assert status == 2 and 'lisen' in said
    serves_on(old)
    successor(old, settings)
    assert old.wait() == 0


def test_a_start_that_fails_later_changes_nothing(gateway, provider, successor):
    """It has the sockets already when it finds that it cannot have another one."""
    settings = config([provider(good())])
    old = gateway(settings)
    with socket.create_server(('127.0.0.1', 0)) as taken:
        listen = ['127.0.0.1:0', '127.0.0.1:%d' % taken.getsockname()[1]]
        old.write_config(dict(settings, server={'listen': listen}))
        status, said = failing(old)
    assert status == 1 and 'cannot listen' in said
    says(old, 'does not take over')
    serves_on(old)
    successor(old, settings)
    assert old.wait() == 0


@pytest.mark.parametrize('words', [[], ['ready'], ['ready', 'nonsense'], ['serving'], ['x' * 4000]])
def test_one_that_goes_away_halfway(gateway, provider, products, successor, words):
    settings = config([provider(good())])
    old = gateway(settings)
    guest = products.add(Guest(old))
    said = guest.hear_all()
    assert [s.split()[0] for s in said] == ['socket', 'socket', 'end'] and len(guest.fds) == 2
    waiting = None
    for word in words:
        guest.say(word)
        if word == 'ready':
            assert guest.hear() == 'paused'
            waiting = old.client()
            waiting.send('GET', '/health')
            time.sleep(0.2)
            assert not waiting.closed_by_peer(0.05), 'nobody is refused meanwhile'
    if words and words[-1] != 'ready':
        assert guest.hear() == '', 'the old process has ended the conversation'
    guest.finish()
    says(old, 'does not take over')
    if waiting:
        assert waiting.read_reply('GET').status == 200
        waiting.close()
    serves_on(old)
    successor(old, settings)
    assert old.wait() == 0


def test_one_that_says_nothing(gateway, provider, products, successor):
    settings = config([provider(good())])
    old = gateway(settings)
    guest = products.add(Guest(old, hello=None))
    guest.sock.settimeout(10 + harness.WAIT_S)
    assert guest.hear() == '', 'it is given up'
    says(old, 'does not answer')
    serves_on(old)
    successor(old, settings)


def test_another_version(gateway, products):
    old = gateway()
    guest = products.add(Guest(old, 'relais takeover 2'))
    said = guest.hear()
    assert said.startswith('no ') and 'version 1' in said and guest.hear() == '' and not guest.fds
    guest = products.add(Guest(old, 'GET / HTTP/1.1'))
    assert guest.hear() == '' and not guest.fds
    assert old.get('/health').status == 200


def test_only_one_at_a_time(gateway, provider, products, successor):
    settings = config([provider(good())])
    old = gateway(settings)
    guest = products.add(Guest(old))
    guest.hear_all()
    status, said = failing(old)
    assert status == 1 and 'another takeover is under way' in said
    guest.finish()
    says(old, 'does not take over')
    successor(old, settings)


def test_nobody_is_there(gateway, provider, tmp_path):
    path = tmp_path / 'relais.yaml'
    path.write_text('server: {listen: "127.0.0.1:0", admin: []}')
    done = harness.run('serve', '--takeover', '--config', path, folder=tmp_path)
    assert done.returncode == 1 and SOCKET in done.stderr and 'no running process' in done.stderr
    path.write_text('server: {listen: "127.0.0.1:0", admin: [], control: "off"}')
    done = harness.run('serve', '--takeover', '--config', path, folder=tmp_path)
    assert done.returncode == 1 and 'server.control' in done.stderr


def test_the_socket_of_a_dead_process(gateway, provider, successor):
    settings = config([provider(good())])
    dead = gateway(settings)
    dead.kill()
    assert os.path.exists(os.path.join(dead.folder, SOCKET))
    status, said = failing(dead)
    assert status == 1 and 'no running process' in said
    old = gateway(settings, folder=dead.folder)  # it is replaced
    successor(old, settings)
    assert old.wait() == 0


def test_a_process_that_hangs(gateway, provider, successor):
    settings = config([provider(good())])
    old = gateway(settings)
    old.signal(signal.SIGSTOP)
    try:
        status, said = failing(old, within_s=10 + harness.WAIT_S)
        assert status == 1 and 'does not answer' in said
    finally:
        old.signal(signal.SIGCONT)
    serves_on(old)
    successor(old, settings)


def test_one_that_stops_is_not_taken_over(gateway, provider):
    old = gateway(config([provider(good())], server={'drain': {'delay': '30s'}}))
    old.signal(signal.SIGTERM)
    harness.eventually(lambda: old.get('/ready').status == 503, what='the begin of its end')
    status, said = failing(old)
    assert status == 1 and 'it is stopping' in said
    old.signal(signal.SIGTERM)
    assert old.wait() == 0


def old_by_hand(folder, steps):
    """A process that is taken over, by hand: steps(conversation, listening socket) plays it; at the end all is closed."""
    os.makedirs(os.path.join(folder, 'relais-data'))
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(os.path.join(folder, SOCKET))
    door.listen(1)
    door.settimeout(harness.WAIT_S)

    def play():
        with door, door.accept()[0] as talk, socket.create_server(('127.0.0.1', 0)) as listening:
            talk.settimeout(harness.WAIT_S)
            try:
                steps(talk, listening)
            except OSError:
                pass  # it has gone, which the test sees
    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    return thread


def hand(talk, *letters):
    """Welcomes it, and sends these letters with a descriptor each, if one is given."""
    talk.send(b'relais')
    talk.recv(100)
    for text, *descriptors in letters:
        socket.send_fds(talk, [text], descriptors)


@pytest.mark.parametrize('case', ['greeting', 'no socket', 'no descriptor', 'plane', 'no end', 'gone', 'deaf'])
def test_an_old_process_that_behaves_badly(tmp_path, case):
    """Whatever it says: an error, an exit status, and nothing served beside it."""
    def steps(talk, listening):
        fd = listening.fileno()
        if case == 'greeting':
            talk.send(b'220 smtp.example.org')
        elif case == 'no socket':
            hand(talk, (b'socket data by-address 127.0.0.1:0', 0))
        elif case == 'no descriptor':
            hand(talk, (b'socket data by-address 127.0.0.1:0',))
        elif case == 'plane':
            hand(talk, (b'socket x by-address 127.0.0.1:0', fd))
        elif case == 'no end':
            hand(talk, *[(b'socket data by-address 127.0.0.1:0', fd)] * 300)
        elif case == 'gone':
            hand(talk, (b'socket data by-address 127.0.0.1:0', fd))
            return
        else:  # it gives up between its last word and the other's
            hand(talk, (b'socket data by-address 127.0.0.1:0', fd), (b'end',))
            assert talk.recv(100) == b'ready'
            talk.shutdown(socket.SHUT_RD)
            talk.send(b'paused')
        talk.recv(100)
    thread = old_by_hand(tmp_path, steps)
    path = tmp_path / 'relais.yaml'
    path.write_text('server: {listen: "127.0.0.1:0", admin: []}')
    done = harness.run('serve', '--takeover', '--config', path, folder=tmp_path, within_s=10 + harness.WAIT_S)
    thread.join(harness.WAIT_S)
    assert done.returncode == 1 and 'cannot take over' in done.stderr and 'listening' not in done.stdout, done


# --- the control socket -------------------------------------------------------------------------------------------------

def test_the_file_is_ours_alone_and_goes_with_us(gateway):
    old = gateway()
    path = os.path.join(old.folder, SOCKET)
    found = os.stat(path)
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    old.stop()
    assert not os.path.exists(os.path.dirname(path))


def test_the_file_of_another_is_let_be(gateway):
    first = gateway()
    path = os.path.join(first.folder, SOCKET)
    inode = os.stat(path).st_ino
    second = gateway(folder=first.folder)
    assert says(second, 'another process') and second.get('/health').status == 200
    assert os.stat(path).st_ino == inode
    second.stop()
    assert os.stat(path).st_ino == inode
    Guest(first).finish()


def test_what_is_no_socket_is_let_be(gateway, tmp_path):
    path = tmp_path / 'precious'
    path.write_text('data')
    relais = gateway({'server': {'control': str(path)}})
    assert says(relais, 'something else') and relais.get('/health').status == 200
    relais.stop()
    assert path.read_text() == 'data'


@pytest.mark.parametrize('variable', ['RUNTIME_DIRECTORY', 'STATE_DIRECTORY', 'XDG_STATE_HOME'])
def test_where_it_stands(gateway, tmp_path, variable):
    relais = gateway(env={variable: str(tmp_path) + ('' if variable[0] == 'X' else ':/nonexistent')})
    below = 'relais/control.sock' if variable[0] == 'X' else 'control.sock'
    assert stat.S_ISSOCK(os.stat(tmp_path / below).st_mode)
    assert not os.path.exists(os.path.join(relais.folder, 'relais-data'))


def test_where_it_cannot_stand(gateway, provider):
    """CONTRACT: an unwritable state folder does not keep it from serving, and it says so."""
    relais = gateway(config([provider(good())]), env={'STATE_DIRECTORY': '/proc/nothing/here'})
    assert says(relais, 'no control socket') and relais.chat().status == 200
    off = gateway(config([provider(good())], server={'control': 'off'}))
    assert not os.path.exists(os.path.join(off.folder, 'relais-data')) and off.chat().status == 200


def test_another_user_is_turned_away(gateway):
    if os.getuid() != 0:
        pytest.skip('only root can become another user')
    old = gateway()
    path = os.path.join(old.folder, SOCKET)
    os.chmod(old.folder, 0o755)
    os.chmod(os.path.dirname(path), 0o755)
    os.chmod(path, 0o666)  # the mode alone would keep it out
    code = ('import os, socket, sys\nos.setgid(65534)\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n'
            's.settimeout(30)\ns.connect(sys.argv[1])\n'
            'try:\n s.send(b"relais takeover 1")\n print(s.recv(100))\nexcept OSError as problem:\n print(problem)')
    done = subprocess.run([sys.executable, '-Ic', code, path], capture_output=True, text=True, timeout=60, check=True)
    assert 'socket' not in done.stdout and 'relais' not in done.stdout
    says(old, 'another user')
    assert old.get('/health').status == 200
