# SPDX-License-Identifier: Apache-2.0
"""Life under a service manager: what it hears of us (sd_notify), the watchdog, and the sockets that it gives us."""
import ctypes
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest

import harness
from kit import config, good


class Manager:
    """The receiving end of $NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind('\0' + path[1:] if path[0] == '@' else path)

    def message(self, within_s=harness.WAIT_S):
        """The next message as a dict, signs of life left out; None if none comes."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                said = dict(line.split('=', 1) for line in self.sock.recv(4096).decode().split('\n'))
            except socket.timeout:
                return None
            if 'WATCHDOG' not in said:
                return said
        return None

    def beats(self, within_s):
        """How many signs of life come in that time."""
        end, n = time.monotonic() + within_s, 0
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                n += self.sock.recv(4096) == b'WATCHDOG=1'
            except socket.timeout:
                break
        return n

    def finish(self):
        self.sock.close()


@pytest.fixture(params=['path', 'abstract'])
def manager(request, products, tmp_path):
    path = str(tmp_path / 'notify') if request.param == 'path' else f'@relais-test-{os.getpid()}-{time.monotonic_ns()}'
    return products.add(Manager(path))


@pytest.fixture
def quiet_manager(products, tmp_path):
    return products.add(Manager(str(tmp_path / 'notify')))


def test_ready_reload_stop(gateway, provider, manager):
    settings = config([provider(good())])
    relais = gateway(settings, env={'NOTIFY_SOCKET': manager.path})
    assert manager.message() == {'READY': '1', 'STATUS': 'serving'}
    assert relais.chat().status == 200
    for reload in (lambda: relais.signal(signal.SIGHUP), lambda: relais.admin_request('POST', '/reload')):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        reload()
        said = manager.message()
        assert said.pop('RELOADING') == '1' and int(said.pop('MONOTONIC_USEC')) >= before and not said
        said = manager.message()
        assert said['READY'] == '1' and 'in use' in said['STATUS'] and 'rejected' not in said['STATUS']
    with open(relais.config_path, 'w', encoding='utf-8') as file:
        file.write('nonsense: [')
    relais.signal(signal.SIGHUP)
    assert manager.message()['RELOADING'] == '1'
    said = manager.message()
    assert said['READY'] == '1' and 'rejected' in said['STATUS'], 'a rejected reload must end, too'
    relais.signal(signal.SIGTERM)
    assert manager.message() == {'STOPPING': '1', 'STATUS': 'draining'}
    assert relais.wait() == 0
    assert manager.message(0.1) is None


def test_a_start_that_fails_is_never_ready(tmp_path, quiet_manager):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        (tmp_path / 'relais.yaml').write_text('server: {listen: "127.0.0.1:%d", admin: []}' % taken.getsockname()[1])
        done = harness.run('serve', env={'NOTIFY_SOCKET': quiet_manager.path}, folder=tmp_path)
    assert done.returncode == 1 and 'cannot listen' in done.stderr
    assert quiet_manager.message(0.1) is None


@pytest.mark.parametrize('path', ['', '/nonexistent/socket', 'rubbish', '@'])
def test_a_manager_that_is_not_there(gateway, provider, path):
    relais = gateway(config([provider(good())]), env={'NOTIFY_SOCKET': path, 'WATCHDOG_USEC': '20000'})
    time.sleep(0.1)
    relais.signal(signal.SIGHUP)
    assert relais.chat().status == 200


def test_signs_of_life(gateway, quiet_manager):
    relais = gateway(env={'NOTIFY_SOCKET': quiet_manager.path, 'WATCHDOG_USEC': '200000'})
    for _ in range(6):
        harness.eventually(lambda: quiet_manager.beats(0.2) > 0, what='the next signs of life')
    relais.stop()
    other = gateway(env={'NOTIFY_SOCKET': quiet_manager.path, 'WATCHDOG_USEC': '200000', 'WATCHDOG_PID': '1'})
    assert other.get('/health').status == 200
    quiet_manager.beats(0.1)  # the first one's last
    assert quiet_manager.beats(0.4) == 0


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


class Stopped:
    """One thread of a process stands still while the others go on."""

    def __init__(self, pid, name):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long
        for tid in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{tid}/comm', encoding='ascii') as comm:
                if comm.read().strip() == name:
                    self.tid = int(tid)

    def __enter__(self):
        if self.libc.ptrace(PTRACE_SEIZE, self.tid, None, None):
            pytest.skip(f'a thread cannot be stopped here: ptrace: {os.strerror(ctypes.get_errno())}')
        assert self.libc.ptrace(PTRACE_INTERRUPT, self.tid, None, None) == 0
        os.waitpid(self.tid, WALL)
        return self

    def __exit__(self, *_):
        assert self.libc.ptrace(PTRACE_DETACH, self.tid, None, None) == 0


def test_a_stuck_worker_ends_the_signs_of_life(gateway, quiet_manager):
    """FAULTS 70: a loop that has not turned for 5 s is what the watchdog is for."""
    relais = gateway({'server': {'workers': 2}}, env={'NOTIFY_SOCKET': quiet_manager.path, 'WATCHDOG_USEC': '400000'})
    harness.eventually(lambda: quiet_manager.beats(0.5) > 0, what='the first signs of life')
    with Stopped(relais.pid, 'worker-1'):
        started = time.monotonic()
        harness.eventually(lambda: 'worker-1 has not turned' in relais.stderr, 20 * harness.SLOW, 'the complaint')
        assert time.monotonic() - started > 4
        assert quiet_manager.message() == {'STATUS': 'a worker stands still'}
        quiet_manager.beats(0.1)  # those that were under way
        assert quiet_manager.beats(1) == 0
        assert relais.admin_request('GET', '/health').status == 200
    harness.eventually(lambda: quiet_manager.beats(0.5) > 0, what='the signs of life')


# --- sockets that are given -------------------------------------------------------------------------------------------

BECOME = """
import os, sys
pid, numbers, *command = sys.argv[1:]
for at, number in enumerate(map(int, numbers.split(','))):
    os.dup2(number, 3 + at)
    os.close(number)
os.environ['LISTEN_PID'] = pid or str(os.getpid())
os.execv(command[0], command)
"""


def activated(products, settings, sockets, names=None, pid=None, **options):
    """relais with these sockets as descriptors 3, 4, ..., as a service manager starts it."""
    env = {'LISTEN_FDS': len(sockets), **({'LISTEN_FDNAMES': names} if names else {})}
    relais = harness.Gateway(settings, env=env, start=False, **options)
    relais.pass_fds = [sock.fileno() for sock in sockets]
    relais.wrap = (sys.executable, '-Ic', BECOME, str(pid or ''), ','.join(map(str, relais.pass_fds)))
    products.add(relais)
    return relais


def high(sock):
    """At a number above those that the process shall see it at."""
    with sock:
        return socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 20))


def listening():
    return high(socket.create_server(('127.0.0.1', 0)))


def at(sock):
    return '%s:%d' % sock.getsockname()[:2]


def test_sockets_by_address(products, provider):
    data, admin = listening(), listening()
    early = harness.Client(*data.getsockname())
    early.send('GET', '/health')
    settings = config([provider(good())], server={'listen': at(data), 'admin': at(admin)})
    relais = activated(products, settings, [admin, data]).start()
    assert early.read_reply('GET').status == 200, 'who came before the process was there is served, too'
    early.close()
    assert relais.data == data.getsockname() and relais.admin == admin.getsockname()
    assert relais.chat().status == 200 and relais.status()['listeners']
    relais.stop()
    # The manager still has them: nobody is refused.
    with socket.create_connection(data.getsockname(), timeout=harness.WAIT_S):
        data.close(), admin.close()


def test_sockets_by_name(products, provider):
    data, more, admin = listening(), listening(), listening()
    settings = config([provider(good())], server={'listen': ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'], 'admin': '127.0.0.1:4'})
    relais = activated(products, settings, [data, admin, more], 'data:admin:data').start()
    harness.eventually(lambda: len(relais.addresses['data']) == 2, what='both data addresses')
    assert [relais.address('data', n) for n in (0, 1)] == [data.getsockname(), more.getsockname()]
    assert relais.admin == admin.getsockname() and relais.chat().status == 200
    for sock in (data, more, admin):
        sock.close()


def test_some_are_given_and_some_opened(products, provider):
    data = listening()
    settings = config([provider(good())], server={'listen': [at(data), '127.0.0.1:0']})
    relais = activated(products, settings, [data]).start()
    harness.eventually(lambda: len(relais.addresses['data']) == 2, what='both data addresses')
    assert relais.data == data.getsockname() and relais.chat().status == 200
    data.close()


def test_a_socket_that_nobody_wants(products, provider):
    data, other = listening(), listening()
    settings = config([provider(good())], server={'listen': at(data)})
    relais = activated(products, settings, [data, other], ready=()).start()
    assert relais.wait() == 1 and at(other) in relais.stderr
    data.close(), other.close()


def test_what_is_no_listening_socket(products, provider):
    plain = high(socket.socket())
    relais = activated(products, config([provider(good())]), [plain], ready=()).start()
    assert relais.wait() == 1 and 'LISTEN_FDS' in relais.stderr
    plain.close()


def test_sockets_of_another_process(products, provider):
    data = listening()
    relais = activated(products, config([provider(good())]), [data], 'data', pid=1).start()
    assert relais.data != data.getsockname() and relais.chat().status == 200
    data.close()


def test_a_given_socket_is_judged_by_where_it_is(products, provider):
    """CONTRACT: beyond loopback wants client keys, whatever address the configuration names."""
    data = high(socket.create_server(('0.0.0.0', 0)))
    relais = activated(products, config([provider(good())]), [data], 'data', ready=()).start()
    assert relais.wait() == 2 and 'client keys' in relais.stderr
    data.close()


def test_a_process_that_slept_accuses_nobody(gateway, quiet_manager):
    """FAULTS 70: stopped as a whole for longer than a loop may stand still."""
    relais = gateway({'server': {'workers': 2}}, env={'NOTIFY_SOCKET': quiet_manager.path, 'WATCHDOG_USEC': '400000'})
    harness.eventually(lambda: quiet_manager.beats(0.5) > 0, what='the first signs of life')
    relais.signal(signal.SIGSTOP)
    time.sleep(5.5)
    quiet_manager.beats(0.1)  # those that were under way
    relais.signal(signal.SIGCONT)
    harness.eventually(lambda: quiet_manager.beats(0.5) > 0, what='the signs of life')
    assert 'has not turned' not in relais.stderr


# --- what the machine allows ------------------------------------------------------------------------------------------

def wrapped(products, settings, *command, **options):
    """relais as a command of others starts it; skips where that command is not allowed."""
    tried = subprocess.run([*command, 'true'], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode:
        pytest.skip(f'{command[0]} is not allowed here: {tried.stderr.strip()}')
    relais = harness.Gateway(settings, start=False, **options)
    relais.wrap = command
    products.add(relais)
    return relais


def test_any_user_on_a_read_only_file_system(products, provider):
    """CONTRACT: a user without a line in any file, and nowhere to write: it serves, and says what it does without."""
    if os.getuid() != 0:
        pytest.skip('only root can become another user')
    settings = dict(config([provider(good())]), log={'access': 'stdout'})
    relais = wrapped(products, settings, 'unshare', '--mount', 'sh', '-c',
                     'mount --bind / / && mount -o remount,ro,bind / && cd "$PWD" && '
                     'exec setpriv --reuid=4242 --regid=4242 --clear-groups "$@"', 'sh')
    os.chmod(relais.folder, 0o755)
    relais.start()
    assert relais.chat().status == 200
    harness.eventually(lambda: 'Read-only file system' in relais.stderr or 'Permission denied' in relais.stderr)
    with open(f'/proc/{relais.pid}/status', encoding='ascii') as status:
        assert 'Uid:\t4242\t4242' in status.read()


def test_descriptors_up_to_the_hard_limit(products):
    relais = wrapped(products, None, 'prlimit', '--nofile=200:3000').start()
    soft, hard = resource.prlimit(relais.pid, resource.RLIMIT_NOFILE)
    assert soft == hard == 3000
    assert relais.get('/health').status == 200


def test_workers_by_affinity(products):
    one = min(os.sched_getaffinity(0))
    relais = wrapped(products, None, 'taskset', '-c', str(one)).start()
    assert len(relais.status()['workers']) == 1
