# SPDX-License-Identifier: Apache-2.0
"""What is said of a measurement: rows of one table, each with the figure to reach and whether it was reached."""
import sys

from stats import median, upper_bound

TOLERANCE = 0.05  # a ratio is reached when its bound is within this of the figure


def progress(text):
    print(f'  {text}', file=sys.stderr, flush=True)


def number(value, form):
    return '-' if value is None else format(value, form)


class Row:
    """One figure. reached: None when nothing was wanted, or nothing can be said (too few rounds, left out)."""

    def __init__(self, case, what, against='', measured='', bound='', wanted='', reached=None, short='', left_out=None):
        self.case, self.what, self.against, self.measured, self.bound = case, what, against, measured, bound
        self.wanted, self.reached, self.short, self.left_out = wanted, reached, short, left_out

    def verdict(self):
        if self.left_out:
            return f'left out: {self.left_out}'
        if self.reached is None:
            return 'too few rounds' if self.wanted else ''
        return 'reached' if self.reached else f'NOT REACHED{", by " + self.short if self.short else ""}'

    def cells(self):
        return [self.case, self.what, self.against, self.measured, self.bound, self.wanted, self.verdict()]


def errors_of(peer, result):
    """Of one run of the load; they make what it measured worthless."""
    return [f'{peer}: {result["errors"]} errors, the first: {result["first_error"]}'] if result['errors'] else []


def ratio_row(case, what, peer, values, wanted):
    """values: relais to the peer, one a round."""
    return bounded_row(case, what, peer, median(values), upper_bound(values), wanted)


def bounded_row(case, what, peer, middle, bound, wanted):
    """A ratio and its bound; None: too few rounds for one."""
    reached = None if wanted is None or bound is None else bound <= wanted + TOLERANCE
    return Row(case, what, f'x {peer}', f'{middle:.3f}', number(bound, '.3f'),
               '' if wanted is None else f'<= {wanted:.2f}', reached,
               '' if bound is None or wanted is None else f'{bound - wanted:.3f}')


def limit_row(case, what, value, limit, unit, form='.1f'):
    """One value that has to stay at or below a limit."""
    return Row(case, what, '', f'{value:{form}} {unit}', '', f'<= {limit:g} {unit}', value <= limit,
               f'{value - limit:{form}} {unit}')


HEADER = ['case', 'what', 'against', 'measured', '95 % bound', 'to reach', '']


def print_table(rows, markdown=False):
    lines = [HEADER, *[r.cells() for r in rows]]
    if markdown:
        lines[0][-1] = 'verdict'
        print('\n'.join('| ' + ' | '.join(line) + ' |' for line in [lines[0], ['---'] * len(HEADER), *lines[1:]]))
        return
    width = [max(len(line[i]) for line in lines) for i in range(len(HEADER) - 1)] + [0]
    for line in lines:
        print('  '.join(f'{cell:{w}}' for cell, w in zip(line, width)).rstrip())
