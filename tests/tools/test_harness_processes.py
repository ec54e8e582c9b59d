# SPDX-License-Identifier: Apache-2.0
"""The harness as keeper of processes, on a stand-in for relais: it sees what it must see, and leaves nothing behind."""
import os
import socket
import time

import pytest

import harness


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(harness, 'RELAIS', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fake_relais.py'))


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_addresses_are_read_and_used():
    with harness.Gateway({'models': {}}) as relais:
        assert relais.data[1] != relais.admin[1] != 0
        assert relais.get('/health').body == b'OK\n'
        assert relais.metrics() == {'reloads': 0.0}
        assert relais.status() == {'up': True}
        pid, folder = relais.pid, relais.folder
    assert gone(pid) and not os.path.exists(folder)


def test_reload_and_access_log():
    with harness.Gateway() as relais:
        relais.reload({'server': {'workers': 1}})
        harness.eventually(lambda: relais.metrics()['reloads'] == 1)
        for _ in range(3):
            relais.get('/log')
        assert len(relais.access_log(3)) == 3
        with pytest.raises(AssertionError, match='4 access log records'):
            relais.access_log(4, within_s=0.2)


def test_the_environment_is_clean(monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-of-the-developer')
    with harness.Gateway(env={'EXTRA': 1}) as relais:
        seen = relais.get('/env').json()
    assert 'OPENAI_API_KEY' not in seen and seen['EXTRA'] == '1'


def test_a_simulator_comes_back_on_its_port():
    with harness.Sim({'seed': 1}) as sim:
        port, pid = sim.port, sim.pid
        assert sim.ledger() == {'served': 1}
        sim.kill()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', port), timeout=2)
        sim.restart()
        assert sim.port == port and sim.pid != pid
        assert sim.ledger() == {'served': 1}


@pytest.mark.parametrize('fault', ['mute', 'die'])
def test_what_does_not_come_up_is_told_with_its_output(fault, monkeypatch, tmp_path):
    limit_s = 5 * harness.SLOW
    if fault == 'mute':
        monkeypatch.setattr(harness, 'SLOW', 0.1)
    monkeypatch.setattr(harness.tempfile, 'tempdir', str(tmp_path))
    started = time.monotonic()
    with pytest.raises(AssertionError, match='no such option' if fault == 'die' else 'did not come up'):
        harness.Gateway(env={'FAKE': fault})
    assert time.monotonic() - started < limit_s
    assert not list(tmp_path.iterdir()), 'its folder stayed'


@pytest.mark.parametrize('fault, said', [('report', 'AddressSanitizer'), ('status', 'status 3, not 0')])
def test_bad_endings_fail_the_test(fault, said):
    relais = harness.Gateway(env={'FAKE': fault})
    with pytest.raises(AssertionError, match=said):
        relais.finish()


def test_what_does_not_end_is_killed_and_told():
    relais = harness.Gateway(env={'FAKE': 'deaf'})
    with pytest.raises(AssertionError, match='did not end within'):
        relais.stop(within_s=0.3)
    assert gone(relais.pid)


def test_a_failing_test_leaves_no_process():
    with pytest.raises(ZeroDivisionError):
        with harness.Gateway(env={'FAKE': 'deaf'}) as relais:
            _ = 1 / 0
    assert gone(relais.pid) and not os.path.exists(relais.folder)


def test_processes_tell_what_they_use():
    with harness.Sim() as sim:
        assert sim.memory_kib() > 1000
        assert sim.descriptors() > 3
        assert sim.cpu_s() >= 0
