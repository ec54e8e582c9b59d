# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the whole-program tests: factories whose products are stopped and checked at the test's end.

    def test_x(gateway, sim):
        provider = sim({...})
        relais = gateway({'providers': {'a': {'dialect': 'openai', 'base_url': provider.base_url}}, ...})
        assert relais.chat('hi', model='a/m').status == 200
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402  (needs the path above)
from hostile import attacks  # noqa: E402  (needs the path above)


def pytest_configure(config):
    if not os.access(harness.RELAIS, os.X_OK):
        pytest.exit(f'{harness.RELAIS} is missing: run make first', returncode=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """How many attacks a test tried and survived goes into its report, where tools/test adds them up."""
    before = attacks.tried
    outcome = yield
    tried = attacks.tried - before
    if tried:
        survived = 0 if outcome.excinfo else tried
        item.user_properties += [('attacks_tried', tried), ('attacks_survived', survived)]


class Products:
    """Finishes everything that was made, newest first, and lets the first complaint through at the end."""

    def __init__(self):
        self.made = []

    def add(self, product):
        self.made.append(product)
        return product

    def finish(self):
        complaint = None
        for product in reversed(self.made):
            try:
                product.finish()
            except BaseException as problem:  # the others must end, too
                complaint = complaint or problem
        if complaint:
            raise complaint


@pytest.fixture
def products():
    kept = Products()
    yield kept
    kept.finish()


@pytest.fixture
def gateway(products):
    """gateway(config, ...) -> harness.Gateway"""
    return lambda *args, **options: products.add(harness.Gateway(*args, **options))


@pytest.fixture
def sim(products):
    """sim(scenario, ...) -> harness.Sim"""
    return lambda *args, **options: products.add(harness.Sim(*args, **options))


@pytest.fixture
def provider(products):
    """provider(script or bytes, ...) -> harness.RawServer"""
    return lambda *args, **options: products.add(harness.RawServer(*args, **options))


@pytest.fixture(scope='session')
def certificates(tmp_path_factory):
    return harness.Certificates(str(tmp_path_factory.mktemp('certificates')))
