# SPDX-License-Identifier: Apache-2.0
"""C sources as the checks see them: the files of the project, text without comments and literals, functions."""
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_TOKEN = re.compile(r'//(?:[^\\\n]|\\.|\\\n)*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(*folders, ends=('.c', '.h'), top=TOP):
    """Paths relative to the top, sorted."""
    found = []
    for folder in folders:
        for at, names, leaves in os.walk(os.path.join(top, folder)):
            names[:] = [n for n in names if not n.startswith('.') and n not in ('__pycache__', 'corpus', 'node_modules')]
            found += [os.path.relpath(os.path.join(at, leaf), top) for leaf in leaves if leaf.endswith(ends)]
    return sorted(found)


def read(path, top=TOP):
    with open(os.path.join(top, path), encoding='utf-8') as file:
        return file.read()


def blank(text, keep_strings=False):
    """The text with comments (and literals) blanked out; lines stay where they are."""
    def empty(match):
        token = match.group(0)
        if token[0] == '/':
            return re.sub(r'[^\n]', ' ', token)
        return token if keep_strings else token[0] + ' ' * (len(token) - 2) + token[-1]
    return _TOKEN.sub(empty, text)


def without_preprocessor(text):
    """Blanked text without directives, their continued lines included."""
    return re.sub(r'^[ \t]*#(?:[^\n\\]|\\.|\\\n)*', lambda m: re.sub(r'[^\n]', ' ', m.group(0)), text, flags=re.M)


class Function:
    def __init__(self, path, name, line, lines, complexity, is_static):
        self.path, self.name, self.line, self.lines = path, name, line, lines
        self.complexity, self.is_static = complexity, is_static


def complexity(body):
    """McCabe's number with a switch counted once, however many cases it has (as pmccabe's 'modified' does)."""
    return 1 + len(re.findall(r'\b(?:if|for|while|switch)\b|&&|\|\||\?', body))


def functions(path, text):
    """Every function with a body. Lines are counted from the one that names it to its closing brace."""
    code = without_preprocessor(blank(text))
    found, depth, start, header_from = [], 0, 0, 0
    for at, char in enumerate(code):
        if char == '{':
            if depth == 0:
                start = at
            depth += 1
        elif char == '}':
            depth = max(0, depth - 1)
            if depth == 0:
                header = code[header_from:start]
                name = _function_name(header)
                if name:
                    first = header_from + header.rindex(name)
                    line = code.count('\n', 0, first) + 1
                    lines = code.count('\n', first, at) + 1
                    found.append(Function(path, name, line, lines, complexity(code[start:at]),
                                          re.search(r'\bstatic\b', header) is not None))
                header_from = at + 1
        elif char == ';' and depth == 0:
            header_from = at + 1
    return found


def _function_name(header):
    """The name in 'static int name(args)' and its like; None for initialisers, structs and enums."""
    header = re.sub(r'__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)', ' ', header).rstrip()
    if not header.endswith(')') or '=' in re.sub(r'\([^()]*\)', '', header):
        return None
    depth = 0
    for at in range(len(header) - 1, -1, -1):
        depth += (header[at] == ')') - (header[at] == '(')
        if depth == 0:
            name = re.search(r'(\w+)\s*$', header[:at])
            return name.group(1) if name else None
    return None
