# SPDX-License-Identifier: Apache-2.0
"""What is known of models: printed, and used where a provider's dialect needs it."""
import json
import re

import pytest

from harness import http_answer, run

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


def test_wrong():
    done = run('catalog', 'show', 'no-such-model')
    assert (done.returncode, done.stdout) == (1, '') and 'no-such-model' in done.stderr
    for wrong in (['catalog'], ['catalog', 'show'], ['catalog', 'list', 'gpt-4o'], ['catalog', 'other']):
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
