# SPDX-License-Identifier: Apache-2.0
"""What the tests with official clients share: relais over two simulators, relais over a real model server, and one way
to write a test for both the blocking and the asynchronous client.

A test is an `async def`; it is given `client_for`, which makes one client or the other, and uses `settle` and `each`
for what one of them returns at once and the other has to be awaited for.
"""
import asyncio
import inspect
import types

import anthropic
import openai
import pytest

import scripted
from shared import DIALECTS, SLOW, ModelServer, harness, settle


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs tests that are coroutines, each in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters

    async def run():
        try:
            await asyncio.wait_for(pyfuncitem.obj(**{k: pyfuncitem.funcargs[k] for k in wanted}), 60 * SLOW)
        finally:  # a client belongs to its loop
            for client in getattr(pyfuncitem, 'clients', ()):
                await settle(client.close())
    asyncio.run(run())
    return True


@pytest.fixture(params=['sync', 'async'])
def client_for(request):
    """client_for(url, ...) is the official client, blocking or asynchronous, with nothing changed but the base URL.
    Without retries of its own unless a test wants them, so that it sees what the gateway said."""
    request.node.clients = []
    kind = openai.AsyncOpenAI if request.param == 'async' else openai.OpenAI

    def make(url, **options):
        request.node.clients.append(kind(**{'base_url': url, 'api_key': 'unused', 'max_retries': 0, **options}))
        return request.node.clients[-1]
    return make


@pytest.fixture(params=['sync', 'async'])
def anthropic_for(request):
    """The same of Anthropic's client; its base URL has no /v1."""
    request.node.clients = []
    kind = anthropic.AsyncAnthropic if request.param == 'async' else anthropic.Anthropic

    def make(url, **options):
        request.node.clients.append(kind(**{'base_url': url, 'api_key': 'unused', 'max_retries': 0, **options}))
        return request.node.clients[-1]
    return make


@pytest.fixture(scope='session')
def fleet():
    """relais over the simulators a and b. Aliases: `assistant` over both in turn, `single` over a alone, `impatient`
    over a with little time, `limping` over a port where nobody listens and then a, `dead` over that port alone."""
    a, b = harness.Sim(name='a', args=['--name', 'a']), harness.Sim(name='b', args=['--name', 'b'])
    simulated = {'simulated': True, 'max_fails': 0}

    def over(*names, strategy='priority', **more):
        return {'strategy': strategy, 'targets': [{'provider': n, 'model': 'echo'} for n in names], **more}
    relais = harness.Gateway({
        'providers': {
            'a': {'base_url': a.base_url, 'models': ['echo', 'words', 'vector'], **simulated},
            'b': {'base_url': b.base_url, 'models': ['echo', 'words', 'vector'], **simulated},
            'gone': {'base_url': f'http://127.0.0.1:{harness.free_port()}/v1', 'models': ['echo'], **simulated},
        },
        'models': {
            'assistant': over('a', 'b', strategy='round_robin'),
            'single': over('a'),
            'impatient': over('a', timeouts={'first_byte': '150ms', 'first_byte_stream': '150ms'}),
            'limping': over('gone', 'a'),
            'dead': over('gone'),
        }})
    yield types.SimpleNamespace(a=a, b=b, relais=relais, url=relais.base_url)
    for process in (relais, a, b):
        process.finish()


@pytest.fixture(scope='session')
def dialects():
    """relais over a simulator for each dialect of providers; the dialect is the provider's name, and an alias for its
    model `echo`. The provider `scripted-DIALECT` is the one of scripted.py. `root` is the base URL without its /v1."""
    sims, spoken = {name: harness.Sim(name=name) for name in DIALECTS}, scripted.provider()
    providers = {}
    for name, simulated in sims.items():
        providers[name] = {'dialect': name, 'base_url': simulated.url + DIALECTS[name], 'models': ['echo', 'words'],
                           'simulated': True, 'max_fails': 0}
        providers[f'scripted-{name}'] = {'dialect': name, 'base_url': spoken.base_url, 'models': ['m', 'think'],
                                         'local': True}
    relais = harness.Gateway({'providers': providers, 'models': {
        name: {'targets': [{'provider': name, 'model': 'echo'}]} for name in DIALECTS}})
    yield types.SimpleNamespace(sims=sims, relais=relais, url=relais.base_url, root=relais.base_url.removesuffix('/v1'))
    for process in (relais, spoken, *sims.values()):
        process.finish()


@pytest.fixture(scope='session')
def keyed():
    """relais that wants a client key, which is the attribute `key`."""
    made = harness.run('keys', 'new', '--name', 'team').stdout
    key = made.split('\n')[0].rpartition(' ')[2]
    hashed = made.partition('key: "')[2].partition('"')[0]
    assert key and hashed, made
    sim = harness.Sim()
    relais = harness.Gateway({'providers': {'a': {'base_url': sim.base_url, 'simulated': True, 'models': ['echo']}},
                              'models': {'assistant': {'targets': [{'provider': 'a', 'model': 'echo'}]}},
                              'clients': {'team': {'key': hashed}}})
    yield types.SimpleNamespace(url=relais.base_url, key=key)
    relais.finish()
    sim.finish()


@pytest.fixture(scope='session')
def served():
    """relais over a real model server, `server`. Aliases: `assistant`, and `limping` with a dead target before it."""
    server = ModelServer()
    relais = harness.Gateway({
        'providers': {'local': {'base_url': server.url + '/v1', 'local': True},
                      'gone': {'base_url': f'http://127.0.0.1:{harness.free_port()}/v1', 'models': ['tiny'],
                               'max_fails': 0}},
        'models': {'assistant': {'targets': [{'provider': 'local', 'model': 'tiny'}]},
                   'limping': {'targets': [{'provider': 'gone', 'model': 'tiny'},
                                           {'provider': 'local', 'model': 'tiny'}]}}})
    yield types.SimpleNamespace(server=server, relais=relais, url=relais.base_url)
    relais.finish()
    server.stop()
