# SPDX-License-Identifier: Apache-2.0
"""The official Node clients: *.test.mjs run once each under node's own test runner; each of their tests is one here."""
import json
import os
import re
import shutil
import subprocess

import pytest

from shared import CACHE, DIALECTS, HERE, LEFT_WITHIN_S, SLOW

FOLDER = os.path.join(CACHE, 'node')  # the client is there, in node_modules
NODE = os.environ.get('RELAIS_INTEROP_NODE', 'node')
ENVIRONMENT = dict(os.environ, DIALECTS=' '.join(DIALECTS))


def names(program):
    shutil.copy(os.path.join(HERE, program), FOLDER)
    return subprocess.run([NODE, program], cwd=FOLDER, text=True, timeout=60 * SLOW, check=True,
                          stdout=subprocess.PIPE, env=dict(ENVIRONMENT, LIST='1')).stdout.split('\n')[:-1]


def run(program, **variables):
    """{name: None if it passed, else what it said} of the tests in a file, read from TAP."""
    done = subprocess.run([NODE, '--test', '--test-reporter=tap', program], cwd=FOLDER, text=True, timeout=180 * SLOW,
                          capture_output=True, check=False, env=dict(
                              ENVIRONMENT, SLOW=str(SLOW), LEFT_WITHIN_MS=str(1000 * LEFT_WITHIN_S), **variables))
    found, name = {}, None
    for line in done.stdout.split('\n'):
        verdict = re.match(r' *(not )?ok \d+ - (.*)', line)
        if verdict:
            name = re.sub(r'\\(.)', r'\1', verdict[2])
            found[name] = '' if verdict[1] else None
        elif name and found[name] is not None:
            found[name] += line + '\n'
    assert found, f'node ran no test:\n{done.stdout}\n{done.stderr}'
    return found


@pytest.fixture(scope='session')
def against_simulators(fleet, keyed):
    return run('simulator.test.mjs', RELAIS_URL=fleet.url, RELAIS_ADMIN='http://%s:%d' % fleet.relais.admin,
               RELAIS_KEYED_URL=keyed.url, RELAIS_KEY=keyed.key, SIM_A=fleet.a.url, SIM_B=fleet.b.url)


@pytest.fixture(scope='session')
def against_dialects(dialects, keyed):
    return run('dialects.test.mjs', RELAIS_URL=dialects.url, RELAIS_KEYED_URL=keyed.url, RELAIS_KEY=keyed.key,
               SIMS=json.dumps({name: simulated.url for name, simulated in dialects.sims.items()}))


@pytest.fixture(scope='session')
def against_model_server(served):
    return run('model.test.mjs', RELAIS_URL=served.url, MODEL_SERVER=served.server.url)


@pytest.mark.parametrize('name', names('simulator.test.mjs'))
def test_simulators(against_simulators, name):
    assert name in against_simulators, 'it did not run'
    assert against_simulators[name] is None, against_simulators[name]


@pytest.mark.parametrize('name', names('dialects.test.mjs'))
def test_dialects(against_dialects, name):
    assert name in against_dialects, 'it did not run'
    assert against_dialects[name] is None, against_dialects[name]


@pytest.mark.parametrize('name', names('model.test.mjs'))
def test_model_server(against_model_server, name):
    assert name in against_model_server, 'it did not run'
    assert against_model_server[name] is None, against_model_server[name]
