#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does the image of tools/container hold what it promises? Not root, no shell, nothing but the program and what it needs;
it serves, and its health command tells whether it does.

  tests/dist/try_container.py IMAGE.tar

Its file system is entered by chroot, as try_bundle.py does; needs buildah, and root to mount the image.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import try_bundle

PROGRAM = '/usr/local/bin/relais'


def buildah(storage, *words):
    done = subprocess.run(['buildah', *storage, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.strip()


def check_config(config):
    assert config['User'] == '65532:65532' and config['Entrypoint'] == [PROGRAM], config
    assert config['Cmd'] == ['serve', '--config', '/etc/relais/relais.yaml'], config
    assert config['Healthcheck']['Test'][:2] == ['CMD', PROGRAM], config
    assert config['StopSignal'] == 'SIGTERM', config
    return config['Healthcheck']['Test'][1:]


def check_files(root):
    """What can be executed is relais and the loader; what can be written to is its folder and /tmp."""
    programs, writable = [], []
    for at, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(at, name)
            mode = os.lstat(path)
            assert not mode.st_mode & 0o6000, f'{path} changes its user'
            if name in names and mode.st_mode & 0o111 and '.so' not in name:
                programs.append(path[len(root):])
            if mode.st_uid == 65532 or mode.st_mode & 0o002:
                writable.append(path[len(root):])
    assert sorted(programs) == [PROGRAM, '/usr/local/lib/relais/relais'], programs
    assert sorted(writable) == ['/tmp', '/var/lib/relais'], writable


def try_health(wrap, root, health):
    """The health command with the configuration that try_bundle has written, whose ports are known only now."""
    def while_it_serves(relais):
        port = relais.address('admin')[1]
        ask = subprocess.run(wrap + health[:2] + ['--admin', f'127.0.0.1:{port}'], capture_output=True, timeout=60, check=False)
        assert ask.returncode == 0, ask
    try_bundle.try_requests(wrap, root, PROGRAM, while_it_serves)
    shutil.copy(os.path.join(root, 'relais.yaml'), os.path.join(root, 'etc', 'relais', 'relais.yaml'))
    gone = subprocess.run(wrap + health, capture_output=True, timeout=60, check=False)
    assert gone.returncode == 1, 'nothing serves any more'


def main():
    image, scratch = os.path.abspath(sys.argv[1]), tempfile.mkdtemp(prefix='relais-container-')
    storage = ['--root', scratch + '/storage', '--runroot', scratch + '/run', '--storage-driver', 'vfs']
    if os.getuid() != 0:
        print('not tried: an image is mounted by root only')
        return 0
    os.chmod(scratch, 0o755)
    container = None
    try:
        container = buildah(storage, 'from', 'docker-archive:' + image)
        health = check_config(json.loads(buildah(storage, 'inspect', container))['Docker']['config'])
        root = buildah(storage, 'mount', container)
        check_files(root)
        wrap = try_bundle.enter(root, 65532)
        without = try_bundle.may_not_enter(wrap, root)
        if without:
            print('the image is as it should be; not run, which this machine does not allow:', without)
            return 0
        try_health(wrap, root, health)
        print('the image serves as user 65532, without a shell, and its health command tells so')
    finally:
        if container:
            buildah(storage, 'rm', container)
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
