# SPDX-License-Identifier: Apache-2.0
"""The gates see planted breaches, and the project itself passes them."""
import os
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPDX = '/* SPDX-License-Identifier: Apache-2.0 */\n'
FLOORS = '# floors\n0 base  ground\n1 json  text\n1 loop  turns\n2 net   wires\n'


def check(gate, tree):
    done = subprocess.run(['/usr/bin/python3', os.path.join(TOP, 'tools', gate), str(tree)], capture_output=True,
                          text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path):
    """A small project of four rooms that passes; plant(path, text) writes into it."""
    def plant(path, text):
        full = tmp_path / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)
        return tmp_path
    plant('src/FLOORS', FLOORS)
    for room in ('base', 'json', 'loop', 'net'):
        plant(f'src/{room}/{room}.h', SPDX)
        plant(f'src/{room}/{room}.c', SPDX + f'#include "{room}/{room}.h"\n#include "base/base.h"\n'
              f'#include <string.h>\n#include "version.h"\nint rl_{room}_do(void)\n{{\n\treturn 0;\n}}\n')
    plant('src/net/net.c', SPDX + '#include "json/json.h"\n#include "loop/loop.h"\n')
    plant.path = tmp_path
    return plant


@pytest.mark.parametrize('gate', ['check-floors', 'check-sizes', 'check-source'])
def test_a_sound_tree_passes(tree, gate):
    status, said = check(gate, tree.path)
    assert status == 0, said


@pytest.mark.parametrize('path, text, seen', [
    ('src/base/b.c', '#include "json/json.h"\n', 'src/base/b.c:1: "json/json.h" json (floor 1) is above base (floor 0)'),
    ('src/json/b.c', '\n#include "loop/loop.h"\n', 'src/json/b.c:2: "loop/loop.h" loop and json share floor 1'),
    ('src/json/b.h', '#  include "net/net.h"\n', 'net (floor 2) is above json'),
    ('src/json/b.c', '#include "json.h"\n', 'names no room'),
    ('src/json/b.c', '#include "../net/net.h"\n', '.. is no room'),
    ('src/json/b.c', '#include "base/none.h"\n', 'does not exist'),
    ('src/stray/b.c', '', 'src/stray: a room that src/FLOORS does not list'),
    ('src/FLOORS', FLOORS + '3 ghost  nobody\n', 'ghost is listed, and no such room'),
    ('src/FLOORS', FLOORS + '0 net  again\n', 'net is listed twice'),
    ('src/FLOORS', FLOORS + 'net 3\n', 'src/FLOORS:6: expected'),
])
def test_breaches_of_the_floors_are_seen(tree, path, text, seen):
    status, said = check('check-floors', tree(path, text))
    assert status == 1 and seen in said, said


def test_private_headers_are_seen(tree):
    tree('src/base/b_priv.h', SPDX)
    status, said = check('check-floors', tree('src/net/b.c', '#include "base/b_priv.h"\n'))
    assert status == 1 and 'is private to base' in said
    tree('src/net/b.c', '')
    assert check('check-floors', tree('src/base/c.c', '#include "base/b_priv.h"\n'))[0] == 0


def test_includes_in_comments_do_not_count(tree):
    status, said = check('check-floors', tree('src/base/b.c', '/*\n#include "net/net.h"\n*/\n// #include "net/net.h"\n'))
    assert status == 0, said


def body(lines, line='\trl_x();\n'):
    return SPDX + 'void rl_big(int a)\n{\n' + line * lines + '}\n'


@pytest.mark.parametrize('path, text, seen', [
    ('src/net/b.c', body(98), 'src/net/b.c:rl_big: 101 lines'),
    ('src/net/b.c', body(25, '\tif (a)\n\t\ta++;\n'), 'rl_big: complexity 26'),
    ('src/net/b.c', body(5, '\tif (a && a || a ? a : a && a)\n\t\ta++;\n'), 'rl_big: complexity 26'),
    ('src/net/b.c', SPDX + '\n' * 1200, '1201 lines, the gate is 1200'),
    ('src/net/b.h', SPDX + '\n' * 300, '301 lines, the gate is 300'),
    ('tests/unit/b.c', body(98), 'tests/unit/b.c:rl_big: 101 lines'),
])
def test_sizes_one_over_are_seen(tree, path, text, seen):
    status, said = check('check-sizes', tree(path, text))
    assert status == 1 and seen in said, said


def test_sizes_at_the_gate_pass(tree):
    tree('src/net/b.c', body(97))
    tree('src/net/c.c', body(24, '\tif (a) a++;\n') + body(3, '\tswitch (a) { case 1: case 2: case 3: case 4: ; }\n'))
    status, said = check('check-sizes', tree('src/net/d.h', SPDX + '\n' * 299))
    assert status == 0, said


def test_too_many_files_in_a_room_are_seen(tree):
    for number in range(16):
        tree(f'src/net/f{number}.c', SPDX)
    status, said = check('check-sizes', tree.path)
    assert status == 1 and 'src/net: 17 .c files' in said


def test_exceptions_need_a_reason_and_a_need(tree):
    tree('src/net/b.c', body(98))
    assert check('check-sizes', tree('tools/size-exceptions', 'src/net/b.c:rl_big one table\n'))[0] == 0
    assert check('check-sizes', tree('tools/size-exceptions', 'src/net/b.c:rl_big\n'))[0] == 1
    tree('src/net/b.c', body(9))
    status, said = check('check-sizes', tree('tools/size-exceptions', 'src/net/b.c:rl_big one table\n'))
    assert status == 1 and 'needs none' in said


@pytest.mark.parametrize('path, text, seen', [
    ('src/net/b.c', SPDX + 'void rl_f(void)\n{\n\tstrcpy (a, b);\n}\n', 'src/net/b.c:4: strcpy is banned'),
    ('tests/unit/b.c', SPDX + '#if 0\nx = atoi(y);\n#endif\n', 'atoi is banned'),
    ('src/net/b.c', '/* hello */\n', 'the first line must be'),
    ('src/net/b.c', SPDX + 'int f(void)\n{\n\treturn 0;\n}\n', 'f is visible outside its file'),
    ('src/net/b.c', SPDX + 'int a; \n', 'spaces at the end'),
    ('src/net/b.c', SPDX + '/* TO' + 'DO later */\n', 'unfinished work'),
    ('src/net/b.c', SPDX + 'int a; /* NOL' + 'INT */\n', 'needs its reason'),
    ('src/net/b.c', SPDX + 'int a; // cppcheck' + '-suppress unreadVariable\n', 'needs its reason'),
    ('tests/e2e/test_a.py', '# SPDX-License-Identifier: Apache-2.0\n@pytest.mark.sk' + 'ip\n', 'needs its reason'),
    ('tests/e2e/test_a.py', 'import os\n', 'no SPDX line'),
])
def test_sources_with_faults_are_seen(tree, path, text, seen):
    status, said = check('check-source', tree(path, text))
    assert status == 1 and seen in said, said


def test_sources_that_only_look_faulty_pass(tree):
    tree('src/net/b.c', SPDX + '/* strcpy(a, b) is bad */\nstatic const char *s = "atoi(x)";\n'
         'static int f(void)\n{\n\treturn p->system(1) + my_gets(2);\n}\n')
    tree('src/net/c.c', SPDX + 'int a; /* NOL' + 'INT(some-check): the library wants it so */\n')
    status, said = check('check-source', tree('src/net/d.c', SPDX + 'static bool\nf(void)\n{\n}\n'))
    assert status == 0, said


def test_the_floors_of_the_project_hold():
    status, said = check('check-floors', TOP)
    assert status == 0, said
