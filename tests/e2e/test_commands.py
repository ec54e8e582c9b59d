# SPDX-License-Identifier: Apache-2.0
"""What the program says on the terminal: ask, status, check, config, keys, help; and the start without a configuration."""
import json
import os
import re
import shutil
import socket
import subprocess

import pytest

import harness
from harness import free_port, http_answer, run
from kit import config, good, streamed


@pytest.fixture
def written(tmp_path):
    """written(settings) -> path of a configuration."""
    def write(settings):
        path = tmp_path / 'some.yaml'
        path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
        return str(path)
    return write


# --- no configuration -------------------------------------------------------------------------------------------------

OWN_NETWORK = ['unshare', '--user', '--map-root-user', '--net']
START = """
[ -z "$OWN" ] || ip link set lo up || exit 97
"$RELAIS" >out 2>err & pid=$!
n=0; until grep -q '^try:' out || [ $n = 200 ]; do sleep 0.02; n=$((n+1)); done
%s
kill -TERM $pid; wait $pid
"""


def bare(script, folder, env=None):
    """Runs a shell script beside a bare `relais`, as a newcomer starts it. The ports are then the documented ones, so
    this happens in a network of its own, or, where that is not allowed, only if nobody holds these ports."""
    own = bool(shutil.which('ip')) and subprocess.run(OWN_NETWORK + ['true'], capture_output=True, check=False).returncode == 0
    if not own and not (_free(8080) and _free(8081)):
        pytest.skip('a port of this machine is taken, and it allows no network of our own')
    clean = {'PATH': os.environ['PATH'], 'RELAIS': harness.RELAIS, 'HOME': str(folder), 'OWN': '1' if own else '', **(env or {})}
    clean.update({k: v for k, v in os.environ.items() if k.endswith('SAN_OPTIONS')})
    done = subprocess.run((OWN_NETWORK if own else []) + ['/bin/sh', '-c', START % script], capture_output=True, text=True,
                          timeout=30 * harness.SLOW, cwd=folder, env=clean, check=False)
    out, err = (folder / 'out').read_text(), (folder / 'err').read_text()
    assert done.returncode == 0 and not harness.SANITIZER_REPORT.search(err), (done, out, err)
    return done.stdout, out, err


def _free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not shutil.which('curl'), reason='curl is not installed')
def test_the_line_that_is_printed_works_when_pasted(tmp_path):
    """CONTRACT, No config: two simulated providers, said plainly."""
    got, said, _ = bare("""
        eval "$(grep '^ *curl ' out)"; echo
        curl -s http://127.0.0.1:8080/v1/models; echo
        for n in 1 2 3 4; do eval "$(grep '^ *curl ' out) -s -o /dev/null -D -" | grep -i '^x-relais-provider'; done
        curl -s -X POST http://127.0.0.1:8081/reload
        """, tmp_path)
    assert 'simulated' in said and 'OPENAI_API_KEY' in said
    answer, models, *providers, reload_answer = got.strip().split('\n')
    assert json.loads(answer)['choices'][0]['message']['content'] == 'Hello'
    assert [m['id'] for m in json.loads(models)['data']] == ['echo', 'sim-a/echo', 'sim-b/echo']
    assert sorted(p.split()[1] for p in providers) == ['sim-a', 'sim-a', 'sim-b', 'sim-b']
    assert 'environment' in reload_answer


@pytest.mark.skipif(not shutil.which('curl'), reason='curl is not installed')
def test_keys_of_the_environment_are_found(tmp_path):
    got, said, err = bare('curl -s http://127.0.0.1:8081/status; curl -s http://127.0.0.1:8080/v1/models', tmp_path, env={
        'OPENAI_API_KEY': 'sk-planted-canary', 'MISTRAL_API_KEY': 'other-canary', 'OPENAI_BASE_URL': 'http://127.0.0.1:8080/v1'})
    assert 'provider openai (OPENAI_API_KEY)' in said and 'provider mistral' in said and 'simulated' not in said
    assert '"openai/' in got, 'models are known before any provider has answered'
    assert 'canary' not in got + said + err


# --- ask --------------------------------------------------------------------------------------------------------------

def test_ask(written, provider):
    a = provider(streamed(harness.sse_events(['Hello ', 'wörld'])))
    done = run('ask', 'a question', '--config', written(config([a], api_key='k')))
    assert (done.returncode, done.stdout) == (0, 'Hello wörld\n'), done.stderr
    sent = json.loads(a.requests[0].body)
    assert sent['messages'] == [{'role': 'user', 'content': 'a question'}] and sent['stream'] is True
    assert dict((n.lower(), v) for n, v in a.requests[0].headers)['authorization'] == 'Bearer k'


def test_ask_as_json_with_instructions_from_standard_input(written, provider):
    a = provider(streamed(harness.sse_events(['yes'])))
    done = run('ask', '-', '--json', '--system', 'be brief', '--model', 'a/any/model', '--config', written(config([a])), stdin='Is it?'.encode())
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer['provider'], answer['model'], answer['answer']) == ('a', 'any/model', 'yes')
    assert answer['usage'] == {'prompt_tokens': 3, 'completion_tokens': 1}
    assert json.loads(a.requests[0].body)['messages'] == [{'role': 'system', 'content': 'be brief'}, {'role': 'user', 'content': 'Is it?'}]


def test_ask_fails_over(written, provider):
    cut = harness.STREAM_HEAD + harness.chunked(harness.sse_events(['x'])[0])

    def breaks(connection):
        connection.read_request()
        connection.send(cut)
    settings = config([f'http://127.0.0.1:{free_port()}/v1', provider(http_answer(b'<html/>', status='500 X')), provider(breaks),
                       provider(streamed([b'data: {"error": {"message": "no"}}\n\n'])), provider(streamed(harness.sse_events(['there'])))])
    done = run('ask', 'anybody?', '--config', written(settings))
    assert (done.returncode, done.stdout) == (0, 'there\n'), done.stderr


def test_ask_in_vain(written, provider):
    refusal = http_answer({'error': {'message': 'The key is wrong.', 'type': 'x', 'code': 'invalid_api_key'}}, status='401 X')
    done = run('ask', 'hello', '--config', written(config([provider(refusal)])))
    assert done.returncode == 1 and done.stdout == ''
    assert '401' in done.stderr and 'The key is wrong.' in done.stderr and 'a/m' in done.stderr


def test_ask_and_the_answer_breaks_off(written, provider):
    """What was printed stays; the status and the reason tell that it is not all."""
    events = harness.sse_events(['half', ' more'], usage=False)[:2]

    def breaks(connection):
        connection.read_request()
        connection.send(streamed(events, end=False))
    done = run('ask', 'hello', '--config', written(config([provider(breaks), provider(good())])))
    assert (done.returncode, done.stdout) == (1, 'half\n')
    assert 'no complete answer' in done.stderr


def test_ask_a_simulator(written, sim):
    done = run('ask', 'Hello there', '--config', written(config([sim({'content': 'from the simulator'})])))
    assert (done.returncode, done.stdout) == (0, 'from the simulator\n'), done.stderr


@pytest.mark.parametrize('arguments, words', [(['ask'], 'prompt'), (['ask', ''], 'prompt'), (['ask', 'x', '--model', 'nobody/x'], 'nobody/x'),
                                              (['ask', 'x', 'y'], 'unexpected'), (['ask', 'x', '--nope'], 'unknown option')])
def test_ask_wrongly(written, provider, arguments, words):
    done = run(*arguments, '--config', written(config([provider(good())])))
    assert done.returncode == 2 and words in done.stderr, done.stderr


# --- status -----------------------------------------------------------------------------------------------------------

def test_status(gateway, provider):
    relais = gateway(config([provider(http_answer(b'', status='500 X')), provider(good())], max_fails=1))
    assert relais.chat().status == 200
    address = '%s:%d' % relais.admin
    done = run('status', '--admin', address)
    assert done.returncode == 0, done.stderr
    table = done.stdout
    assert re.search(r'^assistant \(priority\)', table, re.M)
    assert re.search(r'a/m\s+down\s+0\s+1\s+1\s*$', table, re.M) and re.search(r'b/m\s+up\s+0\s+1\s+0\s*$', table, re.M)
    assert '\033' not in table, 'no colours in a pipe'
    done = run('status', '--admin', address, '--json')
    assert json.loads(done.stdout)['models'][0]['targets'][0]['state'] == 'down'


def test_status_with_a_token(gateway, provider, written):
    settings = config([provider(good())], server={'admin_token': 'a-token-of-some-length'})
    relais = gateway(settings)
    address = '%s:%d' % relais.admin
    done = run('status', '--admin', address)
    assert done.returncode == 1 and 'token' in done.stderr
    settings['server']['admin'] = address
    done = run('status', '--config', written(settings))
    assert done.returncode == 0 and 'assistant' in done.stdout


def test_status_of_nobody():
    done = run('status', '--admin', f'127.0.0.1:{free_port()}')
    assert done.returncode == 1 and 'no gateway answers' in done.stderr


def test_status_of_somebody_else(provider):
    other = provider(http_answer(b'<html/>'))
    assert run('status', '--admin', f'127.0.0.1:{other.port}').returncode == 1


# --- check, config ----------------------------------------------------------------------------------------------------

def test_check(written):
    path = written(config(['http://127.0.0.1:1/v1', 'http://127.0.0.1:2/v1']))
    done = run('check', path)
    assert (done.returncode, done.stdout) == (0, f'{path}: ok, 2 providers, 1 model\n')
    assert json.loads(run('check', path, '--json').stdout) == {'ok': True, 'report': []}


def test_check_says_all_errors_at_once(written):
    path = written('server:\n  listn: 127.0.0.1:1\nproviders:\n  a: {base_url: "ftp://x", max_fails: many}\nmodels:\n'
                   '  m: {targets: [{provider: b, model: x}], strategy: rounds}\n')
    done = run('check', path)
    assert done.returncode == 2
    for words in (':2:', 'did you mean', 'listen', ':4:', 'max_fails', ':6:', 'strategy'):
        assert words in done.stderr, done.stderr
    report = json.loads(run('check', path, '--json').stdout)
    assert report['ok'] is False and len(report['report']) >= 4


def test_the_example_of_this_repository():
    done = run('check', os.path.join(harness.TOP, 'examples', 'demo.yaml'))
    assert done.returncode == 0, done.stderr


def test_config_documents(written):
    reference = run('config', 'reference').stdout
    assert 'max_fails' in reference and 'base_url' in reference
    schema = json.loads(run('config', 'schema').stdout)
    assert schema['$schema'] and 'providers' in json.dumps(schema)
    example = run('config', 'example').stdout
    done = run('check', written(example), env={name: 'x' for name in re.findall(r'\$\{(\w+)\}', example)})
    assert done.returncode == 0, done.stderr
    assert '| `relais_requests_total`' in run('config', 'metrics').stdout or 'relais_requests_total' in run('config', 'metrics').stdout
    for wrong in (['config'], ['config', 'nonsense']):
        assert run(*wrong).returncode == 2


def test_keys(written, gateway, provider):
    """The lines that it prints work in a configuration."""
    done = run('keys', 'new', '--name', 'team-a')
    assert done.returncode == 0
    key = re.search(r'rl-[\w-]{43}', done.stdout + done.stderr).group(0)
    lines = done.stdout[done.stdout.index('clients:'):]
    text = json.dumps(config([provider(good())], server={'listen': '127.0.0.1:0', 'admin': '127.0.0.1:0'}))
    relais = gateway('---\n' + '\n'.join(f'{k}: {json.dumps(v)}' for k, v in json.loads(text).items()) + '\n' + lines + '\n')
    assert relais.chat(headers=[('Content-Type', 'application/json')]).status == 401
    assert relais.chat(headers=[('Content-Type', 'application/json'), ('Authorization', f'Bearer {key}')]).status == 200
    for wrong in (['keys'], ['keys', 'old']):
        assert run(*wrong).returncode == 2


# --- help -------------------------------------------------------------------------------------------------------------

COMMANDS = ('serve', 'ask', 'check', 'config', 'simulate', 'status', 'keys', 'catalog', 'version', 'help')


def test_help():
    text = run('help').stdout
    assert all(re.search(rf'^  {name} ', text, re.M) for name in COMMANDS)
    assert run('--help').stdout == text == run('-h').stdout
    for name in COMMANDS:
        done = run('help', name)
        assert done.returncode == 0 and done.stdout.startswith(f'usage: relais {name}')
        assert run(name, '--help').stdout == done.stdout
    assert run('help', 'nothing').returncode == 2
    for wrong in (['nothing'], ['--nope'], ['serve', 'x'], ['serve', '--config'], ['status', '--json=1']):
        done = run(*wrong)
        assert done.returncode == 2 and done.stderr.startswith('relais: '), (wrong, done.stderr)


def test_version():
    assert re.fullmatch(r'relais \d+\.\d+\.\d+\S*\n', run('version').stdout)
    assert run('--version').stdout == run('version').stdout


@pytest.mark.skipif(not shutil.which('bash'), reason='bash is not installed')
def test_completion():
    script = run('help', '--completion', 'bash').stdout
    line = script + '\nCOMP_WORDS=(relais st); COMP_CWORD=1; _relais; echo "${COMPREPLY[@]}"\n' \
                    'COMP_WORDS=(relais serve --c); COMP_CWORD=2; _relais; echo "${COMPREPLY[@]}"\n'
    done = subprocess.run(['bash', '-c', line], capture_output=True, text=True, timeout=harness.WAIT_S, cwd='/', check=False)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    assert done.stdout.split('\n')[:2] == ['status', '--config']
    assert run('help', '--completion', 'zsh').stdout.startswith('#compdef relais')
    assert run('help', '--completion', 'fish').returncode == 2


def test_the_manual_page():
    page = run('help', '--man').stdout
    assert page.startswith('.TH RELAIS 1')
    if shutil.which('man'):
        done = subprocess.run(['man', '--warnings', '-l', '-'], input=page, capture_output=True, text=True, timeout=30,
                              env={**os.environ, 'MANPAGER': 'cat', 'LANG': 'C.UTF-8'}, check=False)
        if done.returncode == 0:
            assert done.stderr == '' and 'SIGHUP' in done.stdout
