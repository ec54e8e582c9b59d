#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does the bundle of `make dist` run where there is nothing but glibc? A root of its own gets the files of Debian's libc6
and the unpacked bundle; in there, as a user whom no file names, on a read-only file system and without /proc and /dev,
the program answers requests over TLS on both sides.

  tests/dist/try_bundle.py BUNDLE.tar.gz

Needs the right to chroot and to mount (root, or a user namespace); without it, it says so and succeeds.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tests', 'e2e'))
import harness  # noqa: E402  (needs the path above)
import kit  # noqa: E402  (needs it, too)

READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && root=$1 && shift && exec "$@"'


def enter(root, user=4242):
    """The words that run a command in the root; in a user namespace nobody can become yet another user."""
    if os.getuid() == 0:
        return ['unshare', '--mount', 'sh', '-c', READ_ONLY, 'sh', root, 'chroot', f'--userspec={user}:{user}', root]
    return ['unshare', '--map-root-user', '--mount', 'sh', '-c', READ_ONLY, 'sh', root, 'chroot', root]


def unpack_glibc(root):
    listed = subprocess.run(['dpkg-query', '-L', 'libc6'], capture_output=True, text=True, check=True).stdout.split('\n')
    for path in listed:
        if '/lib' not in path or '/share/' in path or '/gconv/' in path or os.path.isdir(path) or not os.path.exists(path):
            continue
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        shutil.copy2(path, root + path, follow_symlinks=not os.path.islink(path))


def check_sums(folder):
    with open(os.path.join(folder, 'SHA256SUMS'), encoding='ascii') as sums:
        listed = dict(reversed(line.split()) for line in sums)
    for path, wanted in listed.items():
        with open(os.path.join(folder, path), 'rb') as file:
            assert hashlib.sha256(file.read()).hexdigest() == wanted, path
    there = {os.path.join(at, name) for at, _, names in os.walk(folder) for name in names}
    assert {os.path.normpath(os.path.join(folder, path)) for path in listed} == there - {os.path.join(folder, 'SHA256SUMS')}


def start_gateway(wrap, root, certificates, provider):
    """In the root: TLS towards clients, TLS towards the provider."""
    certificate, key = certificates.make()
    for name in os.listdir(os.path.dirname(key)):
        os.chmod(os.path.join(os.path.dirname(key), name), 0o644)
    inside = {'certificate': certificate[len(root):], 'key': key[len(root):]}
    config = {'server': {'listen': {'address': '127.0.0.1:0', 'tls': inside}, 'admin': '127.0.0.1:0'},
              'log': {'access': 'stdout'},
              'providers': {'a': {'base_url': provider.base_url, 'models': ['m'], 'ca_file': certificates.ca[len(root):]}}}
    with open(os.path.join(root, 'relais.yaml'), 'w', encoding='utf-8') as file:
        file.write(json.dumps(config))
    relais = harness.Process(['serve', '--config', '/relais.yaml'], ready=('data', 'admin'), start=False)
    relais.wrap = wrap
    return relais


def try_requests(wrap, root, program='/relais/bin/relais', while_it_serves=lambda relais: None):
    harness.RELAIS = program
    os.mkdir(os.path.join(root, 'pki'))
    certificates = harness.Certificates(os.path.join(root, 'pki'))
    provider = harness.RawServer(kit.good(), tls=certificates.server_context())
    relais = start_gateway(wrap, root, certificates, provider)
    try:
        relais.start()
        with harness.Client(*relais.address('data'), tls=certificates.client_context()) as client:
            for stream in (False, True):
                reply = client.post('/v1/chat/completions', {'model': 'a/m', 'stream': stream, 'messages': []})
                text = reply.stream_text() if stream else reply.json()['choices'][0]['message']['content']
                assert reply.status == 200 and text == 'hello', reply
        assert 'no control socket' in relais.stderr, 'a read-only file system is said'
        while_it_serves(relais)
        relais.stop()
    finally:
        relais.abandon()
        provider.finish()


def may_not_enter(wrap, root):
    """Why nothing can be run in there; glibc's own loader is there in any case."""
    loader = next(os.path.join(at, n) for at, _, names in os.walk(root) for n in names if n.startswith('ld-linux'))
    tried = subprocess.run(wrap + [loader[len(root):], '--version'], capture_output=True, text=True, timeout=60, check=False)
    return tried.stderr.strip() or 'no reason given' if tried.returncode else None


def main():
    bundle = sys.argv[1]
    scratch = tempfile.mkdtemp(prefix='relais-dist-')
    root = os.path.join(scratch, 'root')
    try:
        os.chmod(scratch, 0o755)
        unpack_glibc(root)
        with tarfile.open(bundle) as tar:
            tar.extractall(root)
        name = next(n for n in os.listdir(root) if n.startswith('relais-'))
        os.rename(os.path.join(root, name), os.path.join(root, 'relais'))
        check_sums(os.path.join(root, 'relais'))
        wrap = enter(root)
        without = may_not_enter(wrap, root)
        if without:
            print('not tried in an empty root, which this machine does not allow:', without)
            return 0
        may = subprocess.run(wrap + ['/relais/bin/relais', 'version'], capture_output=True, text=True, timeout=60, check=False)
        assert may.returncode == 0 and may.stdout.startswith('relais '), may
        try_requests(wrap, root)
        print(f'{may.stdout.strip()} runs in a root of glibc alone, read-only, as user 4242')
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
