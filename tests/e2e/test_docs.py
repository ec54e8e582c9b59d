# SPDX-License-Identifier: Apache-2.0
"""The pages that come from the program's tables are what the program prints, and the examples load."""
import glob
import json
import os
import re
import subprocess

import pytest

from harness import RELAIS, TOP


def relais(*arguments):
    return subprocess.run([RELAIS, *arguments], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize('document, page', [('reference', 'configuration.md'), ('metrics', 'metrics.md')])
def test_generated_page_is_current(document, page):
    with open(os.path.join(TOP, 'docs', page), encoding='utf-8') as f:
        assert relais('config', document).stdout == f.read(), f'run `make docs`: docs/{page} is not what the tables say'


def test_schema_names_every_section():
    schema = json.loads(relais('config', 'schema').stdout)
    assert {'server', 'log', 'providers', 'models', 'clients'} <= set(schema['properties'])


@pytest.mark.parametrize('path', sorted(glob.glob(os.path.join(TOP, 'examples', '*.yaml'))))
def test_example_loads(path):
    got = relais('check', path)
    assert got.returncode == 0, got.stderr


def test_printed_example_loads(tmp_path):
    path = tmp_path / 'relais.yaml'
    path.write_text(relais('config', 'example').stdout)
    got = relais('check', str(path))
    assert got.returncode == 0, got.stderr


def test_links_between_pages_lead_somewhere():
    broken = []
    pages = glob.glob(os.path.join(TOP, 'docs', '*.md')) + [os.path.join(TOP, p) for p in ('README.md', 'CONTRIBUTING.md')]
    for page in pages:
        with open(page, encoding='utf-8') as f:
            for link in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', f.read()):
                if not os.path.exists(os.path.join(os.path.dirname(page), link)):
                    broken.append(f'{os.path.relpath(page, TOP)}: {link}')
    assert not broken


def test_the_proofs_of_attacks_exist():
    with open(os.path.join(TOP, 'docs', 'attacks.md'), encoding='utf-8') as f:
        named = re.findall(r'`(test_\w+)::(test_\w+)`', f.read())
    assert len(named) > 80
    for module, name in named:
        with open(os.path.join(TOP, 'tests', 'e2e', module + '.py'), encoding='utf-8') as f:
            assert f'\ndef {name}(' in f.read(), f'docs/attacks.md: there is no {module}::{name}'


def test_every_command_explains_itself():
    for line in relais('help').stdout.splitlines():
        said = re.match(r'  (\w+) +\S', line)
        if said:
            assert said.group(1) in relais('help', said.group(1)).stdout
