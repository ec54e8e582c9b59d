# SPDX-License-Identifier: Apache-2.0
"""Tests of what checks the project: the harness of the whole-program tests, and the gates of tools/check."""
import os
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tests', 'e2e'))
