# SPDX-License-Identifier: Apache-2.0
"""Medians, and bounds of them that assume nothing about how the noise is distributed."""
from math import comb


def median(values):
    v = sorted(values)
    middle = len(v) // 2
    return v[middle] if len(v) % 2 else (v[middle - 1] + v[middle]) / 2


def upper_bound(values, confidence=0.95):
    """The least value of the sample that the median stays below with this confidence, or None if there are too few.

    The number of rounds below the true median is binomial(n, 1/2), whatever their distribution (the sign test), so the
    k-th smallest value bounds the median with the probability that fewer than k of them lie below it.
    """
    v, below = sorted(values), 0.0
    for k, value in enumerate(v, 1):
        below += comb(len(v), k - 1) / 2 ** len(v)
        if below >= confidence:
            return value
    return None


def lower_bound(values, confidence=0.95):
    bound = upper_bound([-x for x in values], confidence)
    return None if bound is None else -bound
