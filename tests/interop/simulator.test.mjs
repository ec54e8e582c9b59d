// SPDX-License-Identifier: Apache-2.0
// The official Node client through relais to simulated providers. test_node_client.py starts those and this.
import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import OpenAI, * as openai from 'openai';

// With LIST set the names of the tests are printed and nothing is run.
const test = (name, run) => (process.env.LIST ? console.log(name) : nodeTest(name, run));

const { RELAIS_URL, RELAIS_ADMIN, RELAIS_KEYED_URL, RELAIS_KEY, SIM_A, SIM_B, LEFT_WITHIN_MS, SLOW } = process.env;
const HELLO = [{ role: 'user', content: 'one two three four five' }];
const WEATHER = [{
	type: 'function',
	function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
}];

const client = clientFor();

// Nothing but the base URL is changed; no retries of the client's own unless a test wants them.
function clientFor(options = {}) {
	return new OpenAI({ baseURL: RELAIS_URL, apiKey: 'unused', maxRetries: 0, ...options });
}

function sim(rows) {
	const headers = Object.entries(rows).map(([name, value]) => [`x-sim-${name.replaceAll('_', '-')}`, String(value)]);
	return { headers: Object.fromEntries(headers) };
}

async function collect(stream) {
	const items = [];
	for await (const item of stream) items.push(item);
	return items;
}

const textOf = (chunks) => chunks.map((c) => c.choices[0]?.delta?.content ?? '').join('');
const totals = async (url) => (await (await fetch(`${url}/sim/ledger?summary=1`)).json()).totals;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function post(url, body) {
	const headers = { 'content-type': 'application/json' };
	return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).json();
}

// For a test that measures time: a busy machine may spoil it once or twice, a gateway at fault spoils it always.
const bestOfThree = (run) => async () => {
	for (let tries = 0; tries < 2; tries++) {
		try {
			return await run();
		} catch (problem) {
			if (!(problem instanceof assert.AssertionError)) throw problem;
			await sleep(500);
		}
	}
	return run();
};

// Milliseconds until the simulator has seen one more client leave than `before`.
async function seenToLeave(url, before) {
	const started = performance.now();
	while ((await totals(url)).client_left === before.client_left) {
		assert.ok(performance.now() - started < 10000 * SLOW, 'nobody was seen to leave');
		await sleep(5);
	}
	return performance.now() - started;
}

test('chat', async () => {
	const answer = await client.chat.completions.create({ model: 'assistant', messages: HELLO });
	assert.equal(answer.choices[0].message.content, 'one two three four five');
	assert.equal(answer.choices[0].finish_reason, 'stop');
	assert.equal(answer.usage.completion_tokens, 5);
	assert.ok(answer._request_id, 'the client finds the request id');
});

test('headers tell who answered', async () => {
	const { response } = await client.chat.completions.create({ model: 'single', messages: HELLO }).withResponse();
	assert.equal(response.headers.get('x-relais-provider'), 'a');
	assert.equal(response.headers.get('x-relais-attempts'), '1');
});

test('stream', async () => {
	const chunks = await collect(await client.chat.completions.create(
		{ model: 'assistant', messages: HELLO, stream: true }));
	assert.equal(textOf(chunks), 'one two three four five');
	assert.equal(chunks.filter((c) => c.choices.length).at(-1).choices[0].finish_reason, 'stop');
	assert.ok(!chunks.some((c) => c.usage), 'usage that nobody asked for');
});

test('deltas arrive one by one', bestOfThree(async () => {
	const stream = await client.chat.completions.create(
		{ model: 'a/words', messages: HELLO, stream: true }, sim({ tokens: 10, tokens_per_second: 20 }));
	const times = [];
	for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) times.push(performance.now());
	const gaps = times.slice(1).map((time, at) => time - times[at]);
	assert.equal(times.length, 10);
	assert.ok(gaps.filter((gap) => gap > 20).length >= 8, `coalesced: ${gaps}`);
}));

test('stream with usage', async () => {
	const chunks = await collect(await client.chat.completions.create(
		{ model: 'assistant', messages: HELLO, stream: true, stream_options: { include_usage: true } }));
	assert.deepEqual(chunks.at(-1).choices, []);
	assert.equal(chunks.at(-1).usage.completion_tokens, 5);
});

test('tools', async () => {
	const answer = await client.chat.completions.create(
		{ model: 'assistant', messages: HELLO, tools: WEATHER }, sim({ tool_call: '*' }));
	assert.equal(answer.choices[0].finish_reason, 'tool_calls');
	assert.equal(answer.choices[0].message.tool_calls[0].function.arguments, '{"city":"Berlin"}');
});

test('tools, by the client\'s own stream helper', async () => {
	const stream = client.chat.completions.stream(
		{ model: 'assistant', messages: HELLO, tools: WEATHER }, sim({ tool_call: 'weather' }));
	const final = await stream.finalChatCompletion();
	assert.equal(final.choices[0].message.tool_calls[0].function.name, 'weather');
	assert.equal(final.choices[0].message.tool_calls[0].function.arguments, '{"city":"Berlin"}');
});

test('completions', async () => {
	const answer = await client.completions.create({ model: 'assistant', prompt: 'the old api' });
	assert.equal(answer.choices[0].text, 'the old api');
	const chunks = await collect(await client.completions.create(
		{ model: 'assistant', prompt: 'the old api', stream: true }));
	assert.equal(chunks.map((c) => c.choices[0]?.text ?? '').join(''), 'the old api');
});

for (const encoding_format of [undefined, 'float', 'base64']) {
	test(`embeddings, ${encoding_format ?? 'as the client likes them'}`, async () => {
		const input = ['a horse', 'a letter'];
		const right = await post(`${SIM_A}/v1/embeddings`,
			{ model: 'vector', input, encoding_format: 'float', dimensions: 32 });
		const options = encoding_format ? { encoding_format } : {};
		const answer = await client.embeddings.create({ model: 'a/vector', input, dimensions: 32, ...options });
		assert.equal(answer.data.length, 2);
		answer.data.forEach((item, at) => {
			let got = item.embedding;
			if (encoding_format === 'base64') {
				assert.equal(typeof got, 'string');
				const bytes = Buffer.from(got, 'base64');
				got = Array.from({ length: bytes.length / 4 }, (_, n) => bytes.readFloatLE(4 * n));
			}
			assert.equal(got.length, 32);
			got.forEach((value, n) => assert.ok(Math.abs(value - right.data[at].embedding[n]) < 1e-6));
		});
	});
}

test('models', async () => {
	const ids = (await collect(await client.models.list())).map((model) => model.id);
	assert.equal(ids[0], 'assistant');
	assert.ok(ids.includes('a/echo') && ids.includes('b/vector'));
	assert.equal((await client.models.retrieve('assistant')).id, 'assistant');
	assert.equal((await client.models.retrieve('a/words')).id, 'a/words'); // sent as a%2Fwords
});

test('wrong key, right key', async () => {
	const ask = (apiKey) => clientFor({ baseURL: RELAIS_KEYED_URL, apiKey }).chat.completions.create(
		{ model: 'assistant', messages: HELLO });
	await assert.rejects(ask('unused'), (e) => e instanceof openai.AuthenticationError && e.code === 'invalid_api_key');
	assert.ok((await ask(RELAIS_KEY)).choices.length);
});

test('unknown model, unknown route', async () => {
	await assert.rejects(client.chat.completions.create({ model: 'nobody', messages: HELLO }),
		(e) => e instanceof openai.NotFoundError && e.code === 'model_not_found');
	await assert.rejects(client.models.retrieve('nobody/nothing'), openai.NotFoundError);
	await assert.rejects(client.get('/nothing/here'),
		(e) => e instanceof openai.NotFoundError && e.code === 'unknown_url');
});

test('bad request', async () => {
	await assert.rejects(client.chat.completions.create({ model: 'assistant', messages: HELLO, Model: 'other' }),
		openai.BadRequestError);
	await assert.rejects(client.chat.completions.create({ model: 'assistant', messages: HELLO }, sim({ status: 422 })),
		openai.UnprocessableEntityError);
});

test('rate limit: one target is the client\'s to retry, all of them are not', async () => {
	const before = [await totals(SIM_A), await totals(SIM_B)];
	await assert.rejects(
		clientFor({ maxRetries: 1 }).chat.completions.create({ model: 'single', messages: HELLO },
			sim({ status: 429, retry_after: 1 })),
		(e) => e instanceof openai.RateLimitError && e.headers.get('retry-after') === '1');
	assert.equal((await totals(SIM_A)).requests, before[0].requests + 2);
	await assert.rejects(
		clientFor({ maxRetries: 5 }).chat.completions.create({ model: 'assistant', messages: HELLO }, sim({ status: 429 })),
		(e) => e instanceof openai.RateLimitError && e.headers.get('x-should-retry') === 'false');
	assert.equal((await totals(SIM_A)).requests, before[0].requests + 3);
	assert.equal((await totals(SIM_B)).requests, before[1].requests + 1);
});

test('server errors', async () => {
	for (const rows of [{ status: 500 }, { fault: 'garbage_head' }, { fault: 'reset_before_head' }]) {
		for (const stream of [false, true]) {
			await assert.rejects(client.chat.completions.create({ model: 'assistant', messages: HELLO, stream }, sim(rows)),
				(e) => e instanceof openai.InternalServerError && e.status === 502
					&& /a\/echo.*b\/echo|b\/echo.*a\/echo/.test(e.message));
		}
	}
	await assert.rejects(client.chat.completions.create({ model: 'impatient', messages: HELLO }, sim({ latency: '5s' })),
		(e) => e instanceof openai.InternalServerError && e.status === 504);
});

test('the client\'s time is up', bestOfThree(async () => {
	const before = await totals(SIM_A);
	await assert.rejects(
		client.chat.completions.create({ model: 'single', messages: HELLO }, { ...sim({ latency: '20s' }), timeout: 500 }),
		openai.APIConnectionTimeoutError);
	assert.ok(await seenToLeave(SIM_A, before) < LEFT_WITHIN_MS);
}));

for (const how of ['break', 'abort', 'signal']) {
	test(`leaving a stream: ${how}`, bestOfThree(async () => {
		const before = await totals(SIM_A);
		const controller = new AbortController();
		const stream = await client.chat.completions.create({ model: 'a/words', messages: HELLO, stream: true },
			{ ...sim({ tokens: 100000, tokens_per_second: 50 }), signal: controller.signal });
		let got = 0;
		for await (const chunk of stream) {
			if (chunk && ++got < 5) continue;
			if (how === 'break') break;
			(how === 'abort' ? stream.controller : controller).abort();
		}
		assert.ok(got >= 5 && got < 50, `${got} chunks`);
		const ms = await seenToLeave(SIM_A, before);
		assert.ok(ms < LEFT_WITHIN_MS, `${ms} ms`);
	}));
}

test('aborting what has not begun to answer', bestOfThree(async () => {
	const before = await totals(SIM_A);
	const controller = new AbortController();
	const asked = client.chat.completions.create({ model: 'single', messages: HELLO },
		{ ...sim({ latency: '20s' }), signal: controller.signal });
	const left = assert.rejects(asked, openai.APIUserAbortError);
	const metrics = async () => (await fetch(`${RELAIS_ADMIN}/metrics`)).text();
	while (!/^relais_requests_in_flight [1-9]/m.test(await metrics())) await sleep(10);
	await sleep(100); // it is now at the provider
	controller.abort();
	await left;
	assert.ok(await seenToLeave(SIM_A, before) < LEFT_WITHIN_MS);
}));

for (const fault of ['reset_after_events:3', 'fin_after_events:3', 'fin_mid_event:3', 'chunk_garbage', 'error_event:3']) {
	test(`a stream that is cut is an error: ${fault}`, async () => {
		const stream = await client.chat.completions.create(
			{ model: 'a/words', messages: HELLO, stream: true }, sim({ tokens: 8, fault }));
		const texts = [];
		await assert.rejects(async () => {
			for await (const chunk of stream) {
				if (chunk.choices[0]?.delta?.content) texts.push(chunk.choices[0].delta.content);
			}
		}, openai.APIError);
		assert.ok(texts.length >= 1 && texts.length <= 4, `${texts.length} texts came before`);
	});
}

test('failover shows nothing', async () => {
	for (const fault of ['reset_before_head', 'fin_after_head', 'html_502', 'error_in_200', 'garbage_body']) {
		for (const stream of [false, true, false, true]) {
			const answer = await client.chat.completions.create(
				{ model: 'assistant', messages: HELLO, stream }, sim({ fault, only: 'a' }));
			const text = stream ? textOf(await collect(answer)) : answer.choices[0].message.content;
			assert.equal(text, 'one two three four five');
		}
	}
	const { response } = await client.chat.completions.create({ model: 'limping', messages: HELLO }).withResponse();
	assert.equal(response.headers.get('x-relais-attempts'), '2');
});

test('fifty streams at once', async () => {
	await Promise.all(Array.from({ length: 50 }, async (_, number) => {
		const content = `stream number ${number} has its own words and no others`;
		const stream = await client.chat.completions.create(
			{ model: 'assistant', messages: [{ role: 'user', content }], stream: true }, sim({ tokens_per_second: 25 }));
		assert.equal(textOf(await collect(stream)), content);
	}));
});
