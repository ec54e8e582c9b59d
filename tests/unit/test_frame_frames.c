/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framings besides SSE: lines of JSON, elements of an array, AWS's binary messages. What comes out does not depend
 * on where the stream was cut, and a broken one ends instead of being guessed at (FAULTS 44-46).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "frame/frames.h"

#define MAX_EVENT 4096u

struct seen {
	struct rl_buf text, raw;
	enum rl_err end; /* of the pieces; then of the stream */
};

static void write_event(struct seen *seen, const struct rl_sse_event *e)
{
	rl_buf_printf(&seen->text, "[%s|", e->has_data ? "" : "nothing");
	rl_buf_add(&seen->text, e->name);
	rl_buf_byte(&seen->text, '|');
	rl_buf_add(&seen->text, e->data);
	rl_buf_byte(&seen->text, ']');
	rl_buf_add(&seen->raw, e->raw);
}

/* Feeds a piece of `first` bytes, then pieces of `cut`; pieces are copies, so that overruns show. */
static void run(struct seen *seen, enum rl_framing framing, rl_str stream, size_t first, size_t cut, size_t max)
{
	struct rl_frames frames;
	struct rl_sse_event e;

	rl_buf_reset(&seen->text);
	rl_buf_reset(&seen->raw);
	seen->end = RL_ERR_AGAIN;
	rl_frames_init(&frames, framing, max);
	for (size_t at = 0; at < stream.n && seen->end == RL_ERR_AGAIN;) {
		rl_str piece = rl_str_sub(stream, at, at == 0 && first ? first : cut);
		char *copy = test_malloc(piece.n);

		memcpy(copy, piece.p, piece.n);
		rl_frames_feed(&frames, rl_str_make(copy, piece.n));
		while ((seen->end = rl_frames_next(&frames, &e)) == RL_OK)
			write_event(seen, &e);
		test_free(copy);
		at += piece.n;
	}
	if (seen->end == RL_ERR_AGAIN && (seen->end = rl_frames_last(&frames, &e)) == RL_OK)
		write_event(seen, &e);
	rl_frames_fini(&frames);
}

/* However it is cut, the stream gives this text and ends so. */
static void check(enum rl_framing framing, rl_str stream, const char *text, enum rl_err end)
{
	struct seen seen;

	rl_buf_init(&seen.text, 1 << 20);
	rl_buf_init(&seen.raw, 1 << 20);
	for (size_t first = 0; first <= stream.n; first++) {
		run(&seen, framing, stream, first, stream.n, MAX_EVENT);
		rl_buf_byte(&seen.text, '\0');
		assert_string_equal(seen.text.p, text);
		assert_int_equal(seen.end, end);
	}
	run(&seen, framing, stream, 0, 1, MAX_EVENT);
	rl_buf_byte(&seen.text, '\0');
	assert_string_equal(seen.text.p, text);
	assert_int_equal(seen.end, end);
	if (framing != RL_FRAMING_SSE) /* whose last event gets the blank line that is missing */
		assert_true(seen.raw.n <= stream.n && (!seen.raw.n || memcmp(seen.raw.p, stream.p, seen.raw.n) == 0));
	rl_buf_fini(&seen.text);
	rl_buf_fini(&seen.raw);
}

static void lines(void **state)
{
	(void)state;
	check(RL_FRAMING_NDJSON, RL_STR(""), "", RL_ERR_AGAIN);
	check(RL_FRAMING_NDJSON, RL_STR("{\"a\":1}\n{\"b\":\"\\n\"}\r\n"), "[||{\"a\":1}][||{\"b\":\"\\n\"}]",
	      RL_ERR_AGAIN);
	check(RL_FRAMING_NDJSON, RL_STR("\n  \n 1 \n"), "[nothing||][nothing||][||1]", RL_ERR_AGAIN);
	/* A server that closes without the last newline has said all the same. */
	check(RL_FRAMING_NDJSON, RL_STR("1\n{\"done\":true}"), "[||1][||{\"done\":true}]", RL_OK);
}

static void elements(void **state)
{
	(void)state;
	check(RL_FRAMING_ARRAY, RL_STR(" [ ] \n"), "", RL_ERR_AGAIN);
	check(RL_FRAMING_ARRAY, RL_STR("[{\"a\":[1,{}],\"s\":\"]},\\\"[\"}\n,\r\n{\"b\":2}]\n"),
	      "[||{\"a\":[1,{}],\"s\":\"]},\\\"[\"}][||{\"b\":2}]", RL_ERR_AGAIN);
	check(RL_FRAMING_ARRAY, RL_STR("[1,\"x\\\\\", null ,[[]]]"), "[||1][||\"x\\\\\"][||null][||[[]]]",
	      RL_ERR_AGAIN);
	check(RL_FRAMING_ARRAY, RL_STR("[{}"), "[||{}]", RL_ERR_SYNTAX);
	check(RL_FRAMING_ARRAY, RL_STR("[{\"a\":1},{\"b\""), "[||{\"a\":1}]", RL_ERR_SYNTAX);
	check(RL_FRAMING_ARRAY, RL_STR("{\"a\":1}"), "", RL_ERR_SYNTAX);
	check(RL_FRAMING_ARRAY, RL_STR("[{}{}]"), "[||{}]", RL_ERR_SYNTAX);
	check(RL_FRAMING_ARRAY, RL_STR("[{},,{}]"), "[||{}]", RL_ERR_SYNTAX);
	check(RL_FRAMING_ARRAY, RL_STR("[{}]x"), "[||{}]", RL_ERR_SYNTAX);
	check(RL_FRAMING_ARRAY, RL_STR(""), "", RL_ERR_SYNTAX);
}

/* --- messages --- */

static void add_message(struct rl_buf *out, rl_str name, rl_str payload)
{
	size_t at = rl_eventstream_open(out, name);

	rl_buf_add(out, payload);
	rl_eventstream_close(out, at);
}

static void put32(char *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (char)(v >> (24 - 8 * i));
}

/* A message with these raw headers, its sums right. */
static void add_raw(struct rl_buf *out, rl_str headers, rl_str payload)
{
	char *start = rl_buf_reserve(out, 16 + headers.n + payload.n), *p = start;

	assert_non_null(p);
	put32(p, (uint32_t)(16 + headers.n + payload.n));
	put32(p + 4, (uint32_t)headers.n);
	put32(p + 8, (uint32_t)crc32(0, (const unsigned char *)p, 8));
	memcpy(p + 12, headers.p, headers.n);
	memcpy(p + 12 + headers.n, payload.p, payload.n);
	p += 12 + headers.n + payload.n;
	put32(p, (uint32_t)crc32(0, (const unsigned char *)start, (unsigned)(p - start)));
	out->n += 16 + headers.n + payload.n;
}

static void messages(void **state)
{
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 1 << 16);
	add_message(&out, RL_STR("messageStart"), RL_STR("{\"role\":\"assistant\"}"));
	add_message(&out, RL_STR("empty"), RL_STR(""));
	add_message(&out, RL_STR("exception:throttlingException"), RL_STR("{\"message\":\"slow\"}"));
	check(RL_FRAMING_EVENTSTREAM, rl_buf_str(&out),
	      "[|messageStart|{\"role\":\"assistant\"}][nothing|empty|]"
	      "[|exception:throttlingException|{\"message\":\"slow\"}]",
	      RL_ERR_AGAIN);
	check(RL_FRAMING_EVENTSTREAM, rl_str_sub(rl_buf_str(&out), 0, out.n - 1),
	      "[|messageStart|{\"role\":\"assistant\"}][nothing|empty|]", RL_ERR_SYNTAX);
	rl_buf_fini(&out);
}

/* A message as the specification's own test vectors have it: no headers, and one of each type of header value. */
static void message_bytes(void **state)
{
	static const char empty[] = "\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2\x48\xeb\x7d\x98\xc8\xff";
	static const char typed[] = "\x01t\x00\x01"
				    "f\x01\x01"
				    "b\x02\x7f\x01s\x03\x01\x02\x01i\x04\x01\x02\x03\x04"
				    "\x01l\x05\x01\x02\x03\x04\x05\x06\x07\x08\x01y\x06\x00\x02xx\x01z\x07\x00\x00"
				    "\x01"
				    "d\x08\x01\x02\x03\x04\x05\x06\x07\x08\x01u\x09"
				    "0123456789abcdef"
				    "\x0b:event-type\x07\x00\x04"
				    "ping";
	struct rl_buf out;

	(void)state;
	check(RL_FRAMING_EVENTSTREAM, rl_str_make(empty, 16), "[nothing||]", RL_ERR_AGAIN);
	rl_buf_init(&out, 1 << 16);
	add_raw(&out, rl_str_make(typed, sizeof typed - 1), RL_STR("{}"));
	check(RL_FRAMING_EVENTSTREAM, rl_buf_str(&out), "[|ping|{}]", RL_ERR_AGAIN);
	rl_buf_reset(&out);
	add_raw(&out,
		RL_STR("\x0d:message-type\x07\x00\x05"
		       "error\x0b:error-code\x07\x00\x03"
		       "E-1\x0e:error-message\x07\x00\x02no"),
		RL_STR(""));
	check(RL_FRAMING_EVENTSTREAM, rl_buf_str(&out), "[|exception:E-1|{\"message\":\"no\"}]", RL_ERR_AGAIN);
	rl_buf_fini(&out);
}

static void broken_messages(void **state)
{
	static const char *const headers[] = {"\x05x", "\x01x", "\x01x\x0a", "\x01x\x07", "\x01x\x04\x01\x02"};
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 1 << 16);
	add_message(&out, RL_STR("a"), RL_STR("{\"text\":\"0123456789\"}"));
	/* Every byte is under one of the sums. */
	for (size_t i = 0; i < out.n; i++) {
		out.p[i] ^= 0x10;
		check(RL_FRAMING_EVENTSTREAM, rl_buf_str(&out), "", RL_ERR_SYNTAX);
		out.p[i] ^= 0x10;
	}
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		rl_buf_reset(&out);
		add_raw(&out, rl_str_of(headers[i]), RL_STR("{}"));
		check(RL_FRAMING_EVENTSTREAM, rl_buf_str(&out), "", RL_ERR_SYNTAX);
	}
	/* Lengths that contradict each other, with a sum that is right. */
	static const uint32_t lengths[][2] = {{15, 0}, {0, 0}, {20, 5}, {16, UINT32_MAX}};

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		char prelude[20] = {0};

		put32(prelude, lengths[i][0]);
		put32(prelude + 4, lengths[i][1]);
		put32(prelude + 8, (uint32_t)crc32(0, (const unsigned char *)prelude, 8));
		check(RL_FRAMING_EVENTSTREAM, rl_str_make(prelude, sizeof prelude), "", RL_ERR_SYNTAX);
	}
	rl_buf_fini(&out);
}

/* An event longer than allowed ends the stream whatever its framing; nothing of that length is ever held. */
static void limits(void **state)
{
	struct seen seen;
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 1 << 16);
	rl_buf_init(&seen.text, 1 << 20);
	rl_buf_init(&seen.raw, 1 << 20);
	for (size_t cut = 1; cut < 300; cut += 37) {
		static const char line[] = "{\"a\":\"0123456789012345678901234567890123456789\"}\n";
		static const char list[] = "[{},{\"a\":\"0123456789012345678901234567890123456789\"}]";

		run(&seen, RL_FRAMING_NDJSON, rl_str_of(line), 0, cut, 40);
		assert_int_equal(seen.end, RL_ERR_LIMIT);
		run(&seen, RL_FRAMING_ARRAY, rl_str_of(list), 0, cut, 40);
		assert_int_equal(seen.end, RL_ERR_LIMIT);
		rl_buf_reset(&out);
		add_message(&out, RL_STR("long"), rl_str_of(line));
		run(&seen, RL_FRAMING_EVENTSTREAM, rl_buf_str(&out), 0, cut, out.n - 1);
		assert_int_equal(seen.end, RL_ERR_LIMIT);
		run(&seen, RL_FRAMING_EVENTSTREAM, rl_buf_str(&out), 0, cut, out.n);
		assert_int_equal(seen.end, RL_ERR_AGAIN);
	}
	rl_buf_fini(&out);
	rl_buf_fini(&seen.text);
	rl_buf_fini(&seen.raw);
}

/* SSE behind the same door: a last event may lack its blank line. */
static void events(void **state)
{
	(void)state;
	check(RL_FRAMING_SSE, RL_STR("event: a\ndata: 1\n\ndata: 2"), "[|a|1][||2]", RL_OK);
	check(RL_FRAMING_SSE, RL_STR("data: 1\n\n"), "[||1]", RL_ERR_AGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),           cmocka_unit_test(elements),      cmocka_unit_test(messages),
		cmocka_unit_test(events),          cmocka_unit_test(message_bytes), cmocka_unit_test(limits),
		cmocka_unit_test(broken_messages),
	};

	return cmocka_run_group_tests_name("frame/frames", tests, NULL, NULL);
}
