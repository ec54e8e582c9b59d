# SPDX-License-Identifier: Apache-2.0
"""Listening on Unix sockets: both planes, who may open the file, whose file it is, and what becomes of it at the end."""
import os
import signal
import socket
import stat

import pytest

import harness
from harness import Client, eventually, run
from kit import config, good
from test_life import activated, high

CHAT = {'model': 'assistant', 'messages': [{'role': 'user', 'content': 'hi'}]}


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def ask(path, request='/health', headers=(), tls=None):
    with Client('localhost', 80, unix=str(path), tls=tls) as client:
        return client.post('/v1/chat/completions', CHAT, headers) if request == CHAT else client.get(request, headers)


def refuses_to_start(tmp_path, path, said):
    """A second process with this address ends at once and says why."""
    file = tmp_path / 'second.yaml'
    file.write_text(f'server: {{listen: "unix:{path}", admin: []}}\nproviders: {{p: {{base_url: "http://127.0.0.1:9"}}}}\n')
    done = run('serve', '--config', file)
    assert done.returncode == 1 and f'cannot listen on unix:{path}: ' in done.stderr and said in done.stderr, done.stderr


@pytest.fixture
def place(tmp_path_factory):
    """A path that is short enough for a socket."""
    return tmp_path_factory.mktemp('u') / 's'


@pytest.fixture
def listening(gateway, provider, place):
    def make(listen=None, **server):
        server = {'listen': listen or f'unix:{place}', **server}
        return gateway(config([provider(good())], server=server))
    return make


def test_both_planes(listening, place):
    admin = place.with_name('admin')
    relais = listening([f'unix:{place}', '127.0.0.1:0'], admin=f'unix:{admin}')
    assert [a[0] for a in relais.addresses['data']] == ['unix', 'http'] and relais.addresses['admin'][0][0] == 'unix'
    assert ask(place, CHAT).json()['choices'][0]['message']['content'] == 'hello'
    listeners = ask(admin, '/status').json()['listeners']
    assert listeners[0] == f'unix:{place}' and listeners[1].startswith('127.0.0.1:')
    assert relais.access_log(1)[0]['peer'] == 'unix'
    assert mode_of(place) == mode_of(admin) == 0o660
    relais.stop()
    assert not place.exists() and not admin.exists()


@pytest.mark.parametrize('mode', ['0600', '0666', '0777'])
def test_the_mode_is_what_is_written(listening, place, mode):
    listening({'address': f'unix:{place}', 'mode': mode})
    assert mode_of(place) == int(mode, 8)
    assert ask(place).status == 200


def test_tls(gateway, provider, place, certificates):
    certificate, key = certificates.make()
    gateway(config([provider(good())], server={'listen': {
        'address': f'unix:{place}', 'tls': {'certificate': certificate, 'key': key}}}))
    assert ask(place, CHAT, tls=certificates.client_context()).status == 200


def test_who_may_call(listening, place):
    """A Unix socket may be open without keys. The name in Host means nothing there; a web page is still refused."""
    relais = listening([f'unix:{place}', '127.0.0.1:0'])
    assert ask(place, CHAT, {'Host': 'relais.internal'}).status == 200
    assert ask(place, CHAT, {'Host': 'relais.internal', 'Origin': 'https://evil.example'}).status == 403
    host, port = relais.address('data', 1)
    with Client(host, port) as client:  # and the TCP listener beside it is as strict as ever
        assert client.post('/v1/chat/completions', CHAT, {'Host': 'evil.example'}).status == 403


def test_the_file_of_a_dead_process_is_replaced(listening, place):
    relais = listening()
    relais.proc.kill()
    relais.proc.wait(harness.WAIT_S)
    relais.abandon()
    assert place.exists()
    listening()
    assert ask(place, CHAT).status == 200


def test_the_file_of_a_living_process_is_not(listening, place, tmp_path):
    relais = listening()
    refuses_to_start(tmp_path, place, 'in use')
    assert ask(place, CHAT).status == 200
    relais.signal(signal.SIGSTOP)  # it lives, even if it does not answer
    try:
        refuses_to_start(tmp_path, place, 'in use')
    finally:
        relais.signal(signal.SIGCONT)
    assert ask(place, CHAT).status == 200


def test_a_full_queue_is_a_living_process(place, tmp_path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place))
        other.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(str(place))
        refuses_to_start(tmp_path, place, 'in use')
        for sock in waiting:
            sock.close()
    assert place.exists()


def test_what_is_no_socket_stays(place, tmp_path):
    place.write_text('mine')
    refuses_to_start(tmp_path, place, 'not a socket')
    assert place.read_text() == 'mine'
    target = place.with_name('target')
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(target))
    place.unlink()
    place.symlink_to(target)  # a link is not followed, not even to a dead socket
    refuses_to_start(tmp_path, place, 'not a socket')
    assert place.is_symlink() and target.exists()


def test_a_folder_that_is_not_there(place, tmp_path):
    refuses_to_start(tmp_path, place.parent / 'no' / 's', 'No such file')


def test_the_file_of_a_successor_is_left_alone(listening, place):
    first = listening()
    place.rename(place.with_name('moved'))  # somebody made room
    second = listening()
    first.stop()
    assert place.exists()
    assert ask(place, CHAT).status == 200
    second.stop()
    assert not place.exists()


def test_it_goes_when_draining_begins(listening, place):
    relais = listening(drain={'delay': '0s', 'deadline': '20s'})
    with Client('localhost', 80, unix=str(place)) as client:
        assert client.get('/health').status == 200
        relais.signal(signal.SIGTERM)
        eventually(lambda: not place.exists(), what='the end of the file')
    relais.wait()


def test_many_start_at_once(gateway, provider, place, tmp_path):
    """Of several processes that find a dead socket's file exactly one replaces it."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    started = [harness.Gateway(config([provider(good())], server={'listen': f'unix:{place}', 'admin': []}), ready=())
               for _ in range(4)]
    try:
        eventually(lambda: sum(not p.running() for p in started) == 3, what='three that gave up')
        assert ask(place, CHAT).status == 200
        alive = [p for p in started if p.running()]
        assert len(alive) == 1
        alive[0].stop()
        assert not place.exists()
    finally:
        for process in started:
            process.abandon()


def test_the_status_command(listening, place):
    relais = listening('127.0.0.1:0', admin=f'unix:{place}')
    for arguments in (['--config', relais.config_path], ['--admin', f'unix:{place}']):
        done = run('status', *arguments)
        assert done.returncode == 0 and 'assistant' in done.stdout, done.stderr


def test_a_takeover_hands_the_file_over(gateway, provider, place):
    settings = config([provider(good())], server={'listen': f'unix:{place}', 'drain': {'deadline': '1s'}})
    old = gateway(settings)
    inode = os.stat(place).st_ino
    for _ in range(2):
        new = gateway(settings, folder=old.folder, args=['--takeover'])
        old.wait()
        assert os.stat(place).st_ino == inode and ask(place, CHAT).status == 200
        old = new
    broken = old.folder + '/broken.yaml'
    with open(broken, 'w', encoding='ascii') as file:
        file.write('nonsense: 1\n')
    assert run('serve', '--takeover', '--config', broken, folder=old.folder).returncode == 2
    assert ask(place, CHAT).status == 200
    old.stop()
    assert not place.exists()


def test_a_takeover_that_drops_the_address_drops_the_file(gateway, provider, place):
    settings = config([provider(good())], server={'listen': ['127.0.0.1:0', f'unix:{place}'], 'drain': {'deadline': '1s'}})
    old = gateway(settings)
    taken = socket.create_server(('127.0.0.1', 0))
    settings['server']['listen'] = ['127.0.0.1:0', '127.0.0.1:%d' % taken.getsockname()[1]]
    old.write_config(settings)
    assert run('serve', '--takeover', '--config', old.config_path, folder=old.folder).returncode == 1
    assert ask(place, CHAT).status == 200, 'not before the new process serves'
    taken.close()
    gateway(settings, folder=old.folder, args=['--takeover'])
    assert old.wait() == 0 and not place.exists()


def test_the_file_of_a_service_manager_stays(products, provider, place):
    given = socket.socket(socket.AF_UNIX)
    given.bind(str(place))
    given.listen(8)
    given = high(given)
    relais = activated(products, config([provider(good())], server={'listen': f'unix:{place}'}), [given]).start()
    assert ask(place, CHAT).status == 200
    relais.stop()
    given.close()
    assert place.exists()
