// SPDX-License-Identifier: Apache-2.0
// The official Node client through relais to a model server that others wrote.
import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import OpenAI, * as openai from 'openai';

// With LIST set the names of the tests are printed and nothing is run.
const test = (name, run) => (process.env.LIST ? console.log(name) : nodeTest(name, run));

const { RELAIS_URL, MODEL_SERVER, LEFT_WITHIN_MS } = process.env;
const client = new OpenAI({ baseURL: RELAIS_URL, apiKey: 'unused', maxRetries: 0 });
const HELLO = [{ role: 'user', content: 'hello horse' }];

const working = async () => (await (await fetch(`${MODEL_SERVER}/slots`)).json()).some((slot) => slot.is_processing);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

test('chat', async () => {
	const answer = await client.chat.completions.create({ model: 'assistant', messages: HELLO, max_tokens: 12, seed: 1,
		ignore_eos: true });
	assert.ok(answer.choices[0].message.content.trim());
	assert.ok(answer.usage.completion_tokens > 0 && answer.usage.completion_tokens <= 12);
});

test('stream with usage', async () => {
	let text = '', usage = null, finish = null;
	const stream = await client.chat.completions.create({
		model: 'assistant', messages: HELLO, max_tokens: 12, stream: true, ignore_eos: true,
		stream_options: { include_usage: true } });
	for await (const chunk of stream) {
		text += chunk.choices[0]?.delta?.content ?? '';
		finish = chunk.choices[0]?.finish_reason ?? finish;
		usage = chunk.usage ?? usage;
	}
	assert.ok(text.trim() && finish && usage.completion_tokens > 0);
});

test('embeddings, as the client likes them and as numbers', async () => {
	const input = ['a horse', 'a letter'];
	const usual = await client.embeddings.create({ model: 'local/tiny', input });
	const numbers = await client.embeddings.create({ model: 'local/tiny', input, encoding_format: 'float' });
	usual.data.forEach((item, at) => {
		assert.equal(item.embedding.length, 64);
		item.embedding.forEach((value, n) => assert.ok(Math.abs(value - numbers.data[at].embedding[n]) < 1e-5));
	});
});

test('its errors', async () => {
	await assert.rejects(client.chat.completions.create({ model: 'assistant', messages: [{ role: 'user' }] }),
		openai.BadRequestError);
});

test('abort: it stops working', async () => {
	const stream = await client.chat.completions.create(
		{ model: 'assistant', messages: HELLO, max_tokens: 30000, ignore_eos: true, stream: true });
	let got = 0;
	for await (const chunk of stream) if (chunk && ++got === 10) break;
	const left = performance.now();
	while (await working()) {
		assert.ok(performance.now() - left < 5 * LEFT_WITHIN_MS, 'it still works for somebody who has left');
		await sleep(5);
	}
});
