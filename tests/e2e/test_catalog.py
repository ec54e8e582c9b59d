# SPDX-License-Identifier: Apache-2.0
"""What is known of models: printed, and used where a provider's dialect needs it."""
import json
import re

import pytest

from harness import eventually, http_answer, run

ANSWER = {'id': 'msg_1', 'type': 'message', 'role': 'assistant', 'model': 'm', 'content': [{'type': 'text', 'text': 'yes'}],
          'stop_reason': 'end_turn', 'stop_sequence': None, 'usage': {'input_tokens': 3, 'output_tokens': 1}}


def test_list():
    text, listed = run('catalog', 'list').stdout, json.loads(run('catalog', 'list', '--json').stdout)
    ids = [card['id'] for card in listed['models']]
    assert ids == sorted(set(ids)) and len(ids) > 100 and re.search(r'\d{4}-\d\d-\d\d', listed['source'])
    assert all(re.search(rf'^{re.escape(name)} ', text, re.M) for name in ids)


def test_show():
    """Under any usual spelling; what is not known is null, in text a dash."""
    card = json.loads(run('catalog', 'show', 'anthropic/claude-haiku-4-5-20251001', '--json').stdout)
    assert (card['id'], card['context_tokens'], card['max_output_tokens']) == ('claude-haiku-4-5', 200000, 64000)
    assert card['nusd_per_token'] == {'input': 1000, 'output': 5000, 'cached_input': 100, 'cache_write': 1250}
    assert card['abilities']['tools'] is True and card['abilities']['audio'] is False and card['abilities']['json_schema'] is None
    text = run('catalog', 'show', 'gpt-4o').stdout
    assert re.search(r'^USD/M input +2\.500$', text, re.M) and re.search(r'^USD/M cache_write +-$', text, re.M), text


LITELLM = {'sample_spec': {'max_tokens': 'explained', 'litellm_provider': 'one of'},
           'claude-haiku-4-5': {'litellm_provider': 'anthropic', 'mode': 'chat', 'max_output_tokens': 1234, 'input_cost_per_token': 1e-06},
           'a/claude-opus-4-1': {'litellm_provider': 'a', 'mode': 'chat', 'max_output_tokens': 77},
           'paints': {'litellm_provider': 'x', 'mode': 'image_generation'}}


@pytest.fixture
def imported(tmp_path):
    """A catalogue made from LiteLLM's table; and what was told about it."""
    (tmp_path / 'table.json').write_text(json.dumps(LITELLM))
    path = tmp_path / 'catalog.json'
    done = run('catalog', 'import', str(tmp_path / 'table.json'), '--output', str(path))
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    return path, done.stderr


def test_import(imported, tmp_path):
    path, told = imported
    assert 'LiteLLM: 2 models taken' in told and '1 skipped that make no text' in told
    assert [card['id'] for card in json.loads(path.read_text())['models']] == ['a/claude-opus-4-1', 'claude-haiku-4-5']
    assert run('catalog', 'import', str(tmp_path / 'table.json')).stdout == path.read_text()
    card = json.loads(run('catalog', 'show', 'claude-haiku-4-5', '--file', str(path), '--json').stdout)
    assert (card['max_output_tokens'], card['nusd_per_token']['input'], card['nusd_per_token']['output']) == (1234, 1000, None)
    assert len(json.loads(run('catalog', 'list', '--file', str(path), '--json').stdout)['models']) == 2


@pytest.mark.parametrize('text', ['', '{"a":', '[]', '{"relais_catalog":1,"models":[]}'])
def test_import_of_something_else(tmp_path, text):
    (tmp_path / 'table.json').write_text(text)
    done = run('catalog', 'import', str(tmp_path / 'table.json'), '--output', str(tmp_path / 'out'))
    assert (done.returncode, done.stdout) == (1, '') and 'table.json' in done.stderr and not (tmp_path / 'out').exists()
    assert run('catalog', 'import', str(tmp_path / 'none')).returncode == 1
    assert run('catalog', 'import', str(tmp_path)).returncode == 1


def test_own_facts_come_first(gateway, provider, imported):
    """Before the built-in ones, and those of provider/model before those of the model."""
    path, _ = imported
    a = provider(http_answer(json.dumps(ANSWER)))
    names = ['claude-haiku-4-5', 'claude-opus-4-1', 'claude-sonnet-4-5']
    relais = gateway({'catalog': str(path), 'providers': {'a': {'base_url': a.base_url, 'dialect': 'anthropic', 'models': names}}})

    def sent(model):
        reply = relais.post('/v1/chat/completions', {'model': f'a/{model}', 'messages': [{'role': 'user', 'content': 'hi'}]})
        assert reply.status == 200, reply
        return [b['max_tokens'] for b in (json.loads(r.body) for r in a.requests) if b['model'] == model]
    assert [sent(name) for name in names] == [[1234], [77], [64000]]


def test_reload(gateway, provider, imported):
    """The file is read again; one that is wrong by then changes nothing."""
    path, _ = imported
    a, name = provider(http_answer(json.dumps(ANSWER))), 'claude-haiku-4-5'
    relais = gateway({'catalog': str(path), 'providers': {'a': {'base_url': a.base_url, 'dialect': 'anthropic', 'models': [name]}}})

    asked = []

    def sent():
        asked.append(f'number {len(asked)}')  # connections keep no common order: found by what it says
        assert relais.post('/v1/chat/completions', {'model': name, 'messages': [{'role': 'user', 'content': asked[-1]}]}).status == 200
        return next(json.loads(r.body)['max_tokens'] for r in a.requests if f'"{asked[-1]}"'.encode() in r.body)
    assert sent() == 1234
    path.write_text(path.read_text().replace('1234', '1235'))
    relais.reload()
    eventually(lambda: sent() == 1235)
    path.write_text('{')
    relais.reload()
    eventually(lambda: relais.status()['reloads_rejected'] == 1)
    assert sent() == 1235


def test_wrong_file_in_the_configuration(tmp_path):
    for n, text in enumerate(['', '{"relais_catalog":1,"models":[{"id":"a","maker":"b","nusd_per_token":{"input":-1}}]}']):
        (tmp_path / f'{n}.json').write_text(text)
        (tmp_path / 'some.yaml').write_text(json.dumps({'catalog': str(tmp_path / f'{n}.json')}))
        done = run('check', str(tmp_path / 'some.yaml'))
        assert done.returncode == 2 and f'catalog: {tmp_path}/{n}.json: ' in done.stdout + done.stderr, done
    (tmp_path / 'some.yaml').write_text(json.dumps({'catalog': str(tmp_path / 'none.json')}))
    assert run('check', str(tmp_path / 'some.yaml')).returncode == 2


def test_wrong():
    done = run('catalog', 'show', 'no-such-model')
    assert (done.returncode, done.stdout) == (1, '') and 'no-such-model' in done.stderr
    for wrong in (['catalog'], ['catalog', 'show'], ['catalog', 'import'], ['catalog', 'list', 'gpt-4o'], ['catalog', 'other']):
        assert run(*wrong).returncode == 2


@pytest.mark.parametrize('model,asked,sent', [('claude-opus-4-1-20250805', None, 32000), ('claude-haiku-4-5', None, 64000),
                                              ('claude-haiku-4-5', 100, 100), ('never-heard-of', None, 4096)])
def test_limit_of_the_model_itself(gateway, provider, model, asked, sent):
    """Anthropic's dialect wants max_tokens: without the client's own it is the most that this model can answer."""
    a = provider(http_answer(json.dumps(ANSWER)))
    relais = gateway({'providers': {'a': {'base_url': a.base_url, 'dialect': 'anthropic', 'models': [model]}}})
    body = {'model': f'a/{model}', 'messages': [{'role': 'user', 'content': 'hi'}]}
    reply = relais.post('/v1/chat/completions', body if asked is None else {**body, 'max_tokens': asked})
    assert reply.status == 200, reply
    assert json.loads(a.requests[0].body)['max_tokens'] == sent
