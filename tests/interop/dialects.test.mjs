// SPDX-License-Identifier: Apache-2.0
// The official Node clients of OpenAI and Anthropic, each to providers of every dialect. test_node_client.py starts this.
import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import Anthropic, * as anthropic from '@anthropic-ai/sdk';
import OpenAI, * as openai from 'openai';

// With LIST set the names of the tests are printed and nothing is run.
const test = (name, run) => (process.env.LIST ? console.log(name) : nodeTest(name, run));

const { RELAIS_URL, RELAIS_KEYED_URL, RELAIS_KEY, SLOW } = process.env;
const DIALECTS = process.env.DIALECTS.split(' ');
const SIMS = JSON.parse(process.env.SIMS ?? '{}');
const TEXT = 'one two three four five';
const HELLO = [{ role: 'user', content: TEXT }];
const PLACES = ['Bern', 'Wien']; // the cities that scripted.py asks about
const SCHEMA = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const FUNCTIONS = [{ type: 'function', function: { name: 'weather', parameters: SCHEMA } }];
const TOOLS = [{ name: 'weather', input_schema: SCHEMA }];
const ERRORS = { 400: 'BadRequestError', 404: 'NotFoundError', 429: 'RateLimitError', 500: 'InternalServerError' };

// Nothing but the base URL is changed, which has no /v1 for Anthropic's client; no retries of the clients' own.
const root = (url) => url?.replace(/\/v1$/, '');
const openaiClient = new OpenAI({ baseURL: RELAIS_URL, apiKey: 'unused', maxRetries: 0 });
const anthropicFor = (url, keys) => new Anthropic({ baseURL: root(url), maxRetries: 0, ...keys });
const { chat: { completions } } = openaiClient;
const { messages } = anthropicFor(RELAIS_URL, { apiKey: 'unused' });

function sim(rows) {
	const headers = Object.entries(rows).map(([name, value]) => [`x-sim-${name.replaceAll('_', '-')}`, String(value)]);
	return { headers: Object.fromEntries(headers) };
}

const totals = async (url) => (await (await fetch(`${url}/sim/ledger?summary=1`)).json()).totals;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function seenToLeave(url, before) {
	const started = performance.now();
	while ((await totals(url)).client_left === before.client_left) {
		assert.ok(performance.now() - started < 10000 * SLOW, 'nobody was seen to leave');
		await sleep(5);
	}
}

// What reached the provider in the second turn has both calls and what came of them.
function hasCallsAndResults(seen, ids) {
	ids.forEach((id, at) => {
		assert.equal(seen.split(id).length - 1, 2, seen);
		assert.ok(seen.includes(`rain in ${PLACES[at]}`), seen);
	});
}

for (const dialect of DIALECTS) {
	test(`openai to ${dialect}: chat and stream`, async () => {
		const answer = await completions.create({ model: dialect, messages: HELLO });
		assert.equal(answer.choices[0].message.content, TEXT);
		assert.deepEqual([answer.choices[0].finish_reason, answer.usage.completion_tokens], ['stop', 5]);
		const stream = completions.stream({ model: dialect, messages: HELLO, stream_options: { include_usage: true } });
		const final = await stream.finalChatCompletion();
		assert.equal(final.choices[0].message.content, TEXT);
		assert.deepEqual([final.choices[0].finish_reason, final.usage.completion_tokens], ['stop', 5]);
	});

	for (const streamed of [false, true]) {
		test(`openai to ${dialect}: parallel tools and their results${streamed ? ', streamed' : ''}`, async () => {
			const asked = { model: `scripted-${dialect}/m`, messages: HELLO, tools: FUNCTIONS };
			const answer = streamed ? await completions.stream(asked).finalChatCompletion() : await completions.create(asked);
			const { message, finish_reason } = answer.choices[0];
			assert.equal(finish_reason, 'tool_calls');
			assert.deepEqual(message.tool_calls.map((c) => JSON.parse(c.function.arguments).city), PLACES);
			const ids = message.tool_calls.map((c) => c.id);
			const results = ids.map((id, at) => ({ role: 'tool', tool_call_id: id, content: `rain in ${PLACES[at]}` }));
			const kept = { role: 'assistant', content: message.content, tool_calls: message.tool_calls.map((c) => (
				{ id: c.id, type: c.type, function: { name: c.function.name, arguments: c.function.arguments } })) };
			const second = await completions.create({ ...asked, messages: [...HELLO, kept, ...results] });
			hasCallsAndResults(second.choices[0].message.content, ids);
		});

		test(`openai to ${dialect}: errors${streamed ? ', streamed' : ''}`, async () => {
			for (const [status, kind] of Object.entries(ERRORS)) {
				await assert.rejects(completions.create({ model: dialect, messages: HELLO, stream: streamed },
					sim({ status, error_message: 'As the provider says.' })),
				(e) => e instanceof openai[kind] && e.message.includes('As the provider says.') && Boolean(e.type));
			}
		});

		test(`anthropic to ${dialect}: parallel tools and their results${streamed ? ', streamed' : ''}`, async () => {
			const asked = { model: `scripted-${dialect}/m`, max_tokens: 100, messages: HELLO, tools: TOOLS };
			const answer = streamed ? await messages.stream(asked).finalMessage() : await messages.create(asked);
			assert.equal(answer.stop_reason, 'tool_use');
			const calls = answer.content.filter((block) => block.type === 'tool_use');
			assert.deepEqual(calls.map((call) => call.input.city), PLACES);
			const content = calls.map((call, at) => (
				{ type: 'tool_result', tool_use_id: call.id, content: `rain in ${PLACES[at]}` }));
			const conversation = [...HELLO, { role: 'assistant', content: answer.content }, { role: 'user', content }];
			const second = await messages.create({ ...asked, messages: conversation });
			hasCallsAndResults(second.content[0].text, calls.map((call) => call.id));
		});

		test(`anthropic to ${dialect}: errors${streamed ? ', streamed' : ''}`, async () => {
			for (const [status, kind] of Object.entries(ERRORS)) {
				await assert.rejects(messages.create({ model: dialect, max_tokens: 100, messages: HELLO, stream: streamed },
					sim({ status, error_message: 'As the provider says.' })),
				(e) => e instanceof anthropic[kind] && e.message.includes('As the provider says.')
					&& e.error.type === 'error');
			}
		});
	}

	test(`openai to ${dialect}: JSON schema`, async () => {
		const answer = await completions.parse({
			model: dialect, messages: [{ role: 'user', content: '{"city": "Bern"}' }],
			response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true, schema: SCHEMA } },
		});
		assert.deepEqual(JSON.parse(answer.choices[0].message.content), { city: 'Bern' });
	});

	test(`openai to ${dialect}: a stream that breaks`, async () => {
		const stream = await completions.create({ model: dialect, messages: HELLO, stream: true },
			sim({ fault: 'reset_after_events:3' }));
		await assert.rejects(async () => { for await (const chunk of stream) assert.ok(chunk); }, openai.APIError);
	});

	test(`openai to ${dialect}: leaving a stream`, async () => {
		const before = await totals(SIMS[dialect]);
		const stream = await completions.create(
			{ model: `${dialect}/words`, messages: HELLO, stream: true, max_completion_tokens: 100000 },
			sim({ tokens: 100000, tokens_per_second: 50 }));
		for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) stream.controller.abort();
		await seenToLeave(SIMS[dialect], before);
	});

	test(`anthropic to ${dialect}: message and stream`, async () => {
		const asked = { model: dialect, max_tokens: 100, system: 'Be brief.', messages: HELLO };
		const both = [await messages.create(asked), await messages.stream(asked).finalMessage()];
		for (const answer of both) {
			assert.deepEqual(answer.content.map((block) => block.text), [TEXT]);
			assert.deepEqual([answer.stop_reason, answer.usage.output_tokens], ['end_turn', 5]);
		}
	});

	test(`anthropic to ${dialect}: a stream that breaks`, async () => {
		const stream = await messages.create({ model: dialect, max_tokens: 100, messages: HELLO, stream: true },
			sim({ fault: 'reset_after_events:3' }));
		await assert.rejects(async () => { for await (const event of stream) assert.ok(event); }, anthropic.APIError);
	});

	test(`anthropic to ${dialect}: leaving a stream`, async () => {
		const before = await totals(SIMS[dialect]);
		const stream = await messages.create(
			{ model: `${dialect}/words`, max_tokens: 100000, messages: HELLO, stream: true },
			sim({ tokens: 100000, tokens_per_second: 50 }));
		for await (const event of stream) if (event.type === 'content_block_delta') stream.controller.abort();
		await seenToLeave(SIMS[dialect], before);
	});
}

for (const streamed of [false, true]) {
	test(`anthropic: thoughts come back as they were${streamed ? ', streamed' : ''}`, async () => {
		const asked = {
			model: 'scripted-anthropic/think', max_tokens: 2048, messages: HELLO, tools: TOOLS,
			thinking: { type: 'enabled', budget_tokens: 1024 },
		};
		const answer = streamed ? await messages.stream(asked).finalMessage() : await messages.create(asked);
		const [thought, ...calls] = answer.content;
		assert.equal(thought.type, 'thinking');
		assert.ok(thought.thinking && thought.signature);
		const content = calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: 'rain' }));
		const conversation = [...HELLO, { role: 'assistant', content: answer.content }, { role: 'user', content }];
		const second = await messages.create({ ...asked, messages: conversation });
		assert.deepEqual(JSON.parse(second.content[0].text)[1].content[0], thought);
	});
}

test('anthropic: count_tokens', async () => {
	assert.ok((await messages.countTokens({ model: 'anthropic', messages: HELLO })).input_tokens > 0);
});

test('anthropic: a key as x-api-key and as Bearer', async () => {
	const asked = { model: 'assistant', max_tokens: 100, messages: HELLO };
	for (const right of [{ apiKey: RELAIS_KEY }, { apiKey: null, authToken: RELAIS_KEY }]) {
		const answer = await anthropicFor(RELAIS_KEYED_URL, right).messages.create(asked);
		assert.equal(answer.content[0].text, TEXT);
	}
	for (const wrong of [{ apiKey: 'unused' }, { apiKey: null, authToken: 'unused' }]) {
		await assert.rejects(anthropicFor(RELAIS_KEYED_URL, wrong).messages.create(asked),
			(e) => e instanceof anthropic.AuthenticationError && e.error.error.type === 'authentication_error');
	}
});
