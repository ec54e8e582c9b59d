/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events: the rules of WHATWG HTML on streams of our own, and the promise that what comes out does not
 * depend on where the stream was cut (FAULTS 44-46, 50).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/random.h"
#include <stdio.h>

#include "frame/sse.h"

/* What a stream came out as, written down so that two runs can be compared. */
struct transcript {
	struct rl_buf text, raw;
	unsigned events;
	enum rl_err end;
};

static void transcript_init(struct transcript *t)
{
	rl_buf_init(&t->text, 64 << 20);
	rl_buf_init(&t->raw, 64 << 20);
}

static void transcript_fini(struct transcript *t)
{
	rl_buf_fini(&t->text);
	rl_buf_fini(&t->raw);
}

static void take_events(struct transcript *t, struct rl_sse *sse)
{
	struct rl_sse_event e;

	while ((t->end = rl_sse_next(sse, &e)) == RL_OK) {
		rl_buf_printf(&t->text, "[%zu|%d|", e.raw.n, e.has_data);
		rl_buf_json(&t->text, e.name);
		rl_buf_json(&t->text, e.id);
		rl_buf_json(&t->text, e.data);
		RL_BUF_LIT(&t->text, "]");
		rl_buf_add(&t->raw, e.raw);
		t->events++;
	}
}

/* Feeds in pieces: of `cut` bytes, or with 0 of the lengths that rng gives. Pieces are copies, so that overruns show. */
static void run(struct transcript *t, rl_str stream, size_t first, size_t cut, struct rl_rng *rng, size_t max)
{
	struct rl_sse sse;

	rl_buf_reset(&t->text);
	rl_buf_reset(&t->raw);
	t->events = 0;
	rl_sse_init(&sse, max);
	for (size_t at = 0; at < stream.n;) {
		size_t n = at == 0 && first ? first : cut ? cut : 1 + (size_t)rl_rng_below(rng, 40);
		rl_str piece = rl_str_sub(stream, at, n);
		char *copy = test_malloc(piece.n);
		memcpy(copy, piece.p, piece.n);
		rl_sse_feed(&sse, rl_str_make(copy, piece.n));
		take_events(t, &sse);
		test_free(copy);
		at += piece.n;
		if (t->end != RL_ERR_AGAIN)
			break;
	}
	rl_str rest = rl_sse_rest(&sse);

	rl_buf_add(&t->raw, rest);
	rl_buf_printf(&t->text, "rest %zu", rest.n);
	rl_sse_fini(&sse);
}

struct expected {
	const char *data, *name, *id;
	bool has_data;
};

static const struct {
	const char *what;
	rl_str stream;
	struct expected e[5];
	unsigned n;
	rl_str rest;
} cases[] = {
	{"plain", RL_STR_INIT("data: one\n\ndata: two\n\n"), {{"one", "", "", 1}, {"two", "", "", 1}}, 2, {0}},
	{"crlf", RL_STR_INIT("data: one\r\n\r\ndata: two\r\n\r\n"), {{"one", "", "", 1}, {"two", "", "", 1}}, 2, {0}},
	{"cr", RL_STR_INIT("data: one\r\rdata: two\r\r"), {{"one", "", "", 1}, {"two", "", "", 1}}, 2, {0}},
	{"mixed ends",
	 RL_STR_INIT("data: a\rdata: b\ndata: c\r\n\ndata: d\n\r\ndata: e\r\r\ndata: f\r\n\r\n"),
	 {{"a\nb\nc", "", "", 1}, {"d", "", "", 1}, {"e", "", "", 1}, {"f", "", "", 1}},
	 4,
	 {0}},
	{"byte order mark",
	 RL_STR_INIT("\xEF\xBB\xBF"
		     "data: x\n\n\xEF\xBB\xBF"
		     "data: y\n\n"),
	 {{"x", "", "", 1}, {"", "", "", 0}},
	 2,
	 {0}},
	{"mark and blank line", RL_STR_INIT("\xEF\xBB\xBF\n\xEF\xBB\n\n"), {{"", "", "", 0}, {"", "", "", 0}}, 2, {0}},
	{"half a mark", RL_STR_INIT("\xEF\xBB\ndata: x\n\n"), {{"x", "", "", 1}}, 1, {0}},
	{"no space", RL_STR_INIT("data:x\ndata:  y\ndata\ndata:\n\n"), {{"x\n y\n\n", "", "", 1}}, 1, {0}},
	{"empty data",
	 RL_STR_INIT("data\n\ndata:\n\ndata: \n\n"),
	 {{"", "", "", 1}, {"", "", "", 1}, {"", "", "", 1}},
	 3,
	 {0}},
	{"two empty lines of data", RL_STR_INIT("data\ndata\n\n"), {{"\n", "", "", 1}}, 1, {0}},
	{"fields",
	 RL_STR_INIT("event: delta\nid: 7\nretry: 10\ndata: {\"a\":1}\nother: z\n\n"),
	 {{"{\"a\":1}", "delta", "7", 1}},
	 1,
	 {0}},
	{"last field wins",
	 RL_STR_INIT("event: a\nevent: b\nid: 1\nid: 2\ndata: x\nid\n\n"),
	 {{"x", "b", "", 1}},
	 1,
	 {0}},
	{"comments",
	 RL_STR_INIT(": hello\n\n:\ndata: x\n: in between\n\n"),
	 {{"", "", "", 0}, {"x", "", "", 1}},
	 2,
	 {0}},
	{"nul in id", RL_STR_INIT("id: a\ndata: x\nid: b\0c\n\n"), {{"x", "", "a", 1}}, 1, {0}},
	{"nul in data", RL_STR_INIT("data: a\0b\n\n"), {{NULL, "", "", 1}}, 1, {0}},
	{"unknown and misspelt", RL_STR_INIT("dat: x\nDATA: y\n data: z\ndata : w\n\n"), {{"", "", "", 0}}, 1, {0}},
	{"colons", RL_STR_INIT("data: a: b:c\n\n"), {{"a: b:c", "", "", 1}}, 1, {0}},
	{"utf-8",
	 RL_STR_INIT("data: \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80\n\n"),
	 {{"\xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80", "", "", 1}},
	 1,
	 {0}},
	{"no blank line at the end",
	 RL_STR_INIT("data: x\n\ndata: y\n"),
	 {{"x", "", "", 1}},
	 1,
	 RL_STR_INIT("data: y\n")},
	{"half a line at the end", RL_STR_INIT("data: x\n\nda"), {{"x", "", "", 1}}, 1, RL_STR_INIT("da")},
	{"extra blank lines",
	 RL_STR_INIT("\n\r\ndata: x\n\n\n"),
	 {{"", "", "", 0}, {"", "", "", 0}, {"x", "", "", 1}, {"", "", "", 0}},
	 4,
	 {0}},
	{"cr then waiting lf", RL_STR_INIT("data: x\n\r"), {{0}}, 0, RL_STR_INIT("data: x\n\r")},
	{"empty stream", RL_STR_INIT(""), {{0}}, 0, {0}},
};
#define N_CASES (sizeof cases / sizeof cases[0])

static void the_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_CASES; i++) {
		struct rl_sse sse;
		struct rl_sse_event e;
		enum rl_err err;
		unsigned n = 0;

		rl_sse_init(&sse, 4096);
		rl_sse_feed(&sse, cases[i].stream);
		while ((err = rl_sse_next(&sse, &e)) == RL_OK) {
			const struct expected *want = &cases[i].e[n++];
			if (n > cases[i].n || e.has_data != want->has_data ||
			    (want->data && !rl_str_eq(e.data, rl_str_of(want->data))) ||
			    !rl_str_eq(e.name, rl_str_of(want->name)) || !rl_str_eq(e.id, rl_str_of(want->id)))
				fail_msg("%s: event %u is '%.*s'", cases[i].what, n, RL_STR_ARG(e.data));
		}
		assert_int_equal(err, RL_ERR_AGAIN);
		if (n != cases[i].n || !rl_str_eq(rl_sse_rest(&sse), cases[i].rest))
			fail_msg("%s: %u events, rest '%.*s'", cases[i].what, n, RL_STR_ARG(rl_sse_rest(&sse)));
		rl_sse_fini(&sse);
	}
}

/* Two runs of the same stream, cut in different ways, must come out the same, raw text included. */
static void same(rl_str stream, size_t max)
{
	struct transcript whole, cut;
	struct rl_rng rng;

	transcript_init(&whole);
	transcript_init(&cut);
	rl_rng_seed(&rng, stream.n);
	run(&whole, stream, 0, stream.n, NULL, max);
	assert_true(rl_str_eq(rl_buf_str(&whole.raw), stream));
	for (size_t at = 1; at < stream.n; at++) {
		run(&cut, stream, at, stream.n, NULL, max);
		assert_true(rl_str_eq(rl_buf_str(&cut.text), rl_buf_str(&whole.text)));
		assert_true(rl_str_eq(rl_buf_str(&cut.raw), stream));
	}
	for (size_t n = 1; n < 8; n++) {
		run(&cut, stream, 0, n, NULL, max);
		assert_true(rl_str_eq(rl_buf_str(&cut.text), rl_buf_str(&whole.text)));
		assert_true(rl_str_eq(rl_buf_str(&cut.raw), stream));
	}
	for (unsigned i = 0; i < 50; i++) {
		run(&cut, stream, 0, 0, &rng, max);
		assert_true(rl_str_eq(rl_buf_str(&cut.text), rl_buf_str(&whole.text)));
		assert_true(rl_str_eq(rl_buf_str(&cut.raw), stream));
	}
	transcript_fini(&whole);
	transcript_fini(&cut);
}

static void cut_everywhere(void **state)
{
	struct rl_buf all;

	(void)state;
	rl_buf_init(&all, 1 << 20);
	for (size_t i = 0; i < N_CASES; i++) {
		same(cases[i].stream, 4096);
		rl_buf_add(&all, cases[i].stream);
	}
	same(rl_buf_str(&all), 4096);
	rl_buf_reset(&all);
	for (unsigned i = 0; i < 12; i++)
		rl_buf_printf(&all,
			      "data: {\"id\":\"c-%u\",\"choices\":[{\"delta\":{\"content\":\"\xE2\x82\xAC %u\"}}]}%s",
			      i, i,
			      i % 3 == 0   ? "\r\n\r\n"
			      : i % 3 == 1 ? "\n\n"
					   : "\r\r");
	RL_BUF_LIT(&all, "data: [DONE]\n\n");
	same(rl_buf_str(&all), 4096);
	rl_buf_fini(&all);
}

/* Every stream of six bytes over the bytes that matter: the state machine has no untested corner. */
static void all_short_streams(void **state)
{
	static const char alphabet[] = {'\r', '\n', ':', 'd', (char)0xEF};
	struct transcript whole, cut;
	char stream[6];

	(void)state;
	transcript_init(&whole);
	transcript_init(&cut);
	for (unsigned code = 0; code < 15625; code++) {
		for (unsigned i = 0, v = code; i < sizeof stream; i++, v /= 5)
			stream[i] = alphabet[v % 5];
		rl_str s = rl_str_make(stream, sizeof stream);
		run(&whole, s, 0, s.n, NULL, 64);
		assert_true(rl_str_eq(rl_buf_str(&whole.raw), s));
		for (size_t n = 1; n < s.n; n++) {
			run(&cut, s, n, n == 1 ? 1 : s.n, NULL, 64);
			assert_true(rl_str_eq(rl_buf_str(&cut.text), rl_buf_str(&whole.text)));
		}
	}
	transcript_fini(&whole);
	transcript_fini(&cut);
}

/* Every end of a line of data: the short way, taken where the event is whole, and the long way agree. */
static void all_ends_of_data(void **state)
{
	static const char alphabet[] = {'\r', '\n', ':', ' ', 'x'};
	struct transcript whole, cut;
	char stream[32];

	(void)state;
	transcript_init(&whole);
	transcript_init(&cut);
	for (unsigned code = 0; code < 15625; code++) {
		size_t n = (size_t)snprintf(stream, sizeof stream, ": a\n\ndata:");

		for (unsigned i = 0, v = code; i < 6; i++, v /= 5)
			stream[n++] = alphabet[v % 5];
		memcpy(stream + n, "\n\ndata: y", 9);
		rl_str s = rl_str_make(stream, n + 9);
		run(&whole, s, 0, s.n, NULL, 16);
		run(&cut, s, 1, 1, NULL, 16);
		assert_true(rl_str_eq(rl_buf_str(&cut.text), rl_buf_str(&whole.text)));
		assert_true(rl_str_eq(rl_buf_str(&cut.raw), rl_buf_str(&whole.raw)));
	}
	transcript_fini(&whole);
	transcript_fini(&cut);
}

static void a_whole_event_is_not_copied(void **state)
{
	static const char stream[] = "event: a\ndata: one\n\ndata: two\n\n";
	struct rl_sse sse;
	struct rl_sse_event e;

	(void)state;
	rl_sse_init(&sse, 4096);
	rl_sse_feed(&sse, rl_str_of(stream));
	assert_int_equal(rl_sse_next(&sse, &e), RL_OK);
	assert_ptr_equal(e.raw.p, stream);
	assert_ptr_equal(e.data.p, stream + 15);
	assert_int_equal(rl_sse_next(&sse, &e), RL_OK);
	assert_ptr_equal(e.raw.p, stream + 20);
	assert_null(sse.carry.p);
	assert_null(sse.joined.p);
	rl_sse_fini(&sse);
	rl_sse_fini(NULL);
}

static void an_event_of_lone_cr_is_not_held_back(void **state)
{
	struct rl_sse sse;
	struct rl_sse_event e;

	(void)state;
	rl_sse_init(&sse, 4096);
	rl_sse_feed(&sse, RL_STR("data: x\r\r"));
	assert_int_equal(rl_sse_next(&sse, &e), RL_OK);
	assert_true(rl_str_eq(e.data, RL_STR("x")));
	assert_int_equal(rl_sse_next(&sse, &e), RL_ERR_AGAIN);
	rl_sse_fini(&sse);
}

static void too_long_is_refused(void **state)
{
	static const char stream[] = "data: 0123456789\n\ndata: 01234567890\n\n";
	struct transcript t;

	(void)state;
	transcript_init(&t);
	for (size_t cut = 1; cut < sizeof stream; cut++) {
		run(&t, rl_str_of(stream), 0, cut, NULL, 18);
		assert_int_equal(t.events, 1);
		assert_int_equal(t.end, RL_ERR_LIMIT);
	}
	transcript_fini(&t);

	struct rl_sse sse;
	struct rl_sse_event e;

	rl_sse_init(&sse, 4);
	rl_sse_feed(&sse, RL_STR("data: too long"));
	assert_int_equal(rl_sse_next(&sse, &e), RL_ERR_LIMIT);
	assert_int_equal(rl_sse_next(&sse, &e), RL_ERR_LIMIT); /* and stays so */
	rl_sse_fini(&sse);
}

/* 16 MiB in one event by small pieces, and 64 KiB pieces of empty lines: both in linear time (FAULTS 50). */
static void nothing_is_quadratic(void **state)
{
	enum { PIECE = 1024, PIECES = 16384 };
	static char piece[PIECE];
	struct rl_sse sse;
	struct rl_sse_event e;
	uint64_t begin_us = rl_clock_us();

	(void)state;
	memset(piece, 'x', sizeof piece);
	rl_sse_init(&sse, (size_t)PIECE * PIECES * 2);
	for (unsigned i = 0; i < PIECES; i++) {
		rl_sse_feed(&sse, rl_str_make(piece, sizeof piece));
		assert_int_equal(rl_sse_next(&sse, &e), RL_ERR_AGAIN);
	}
	rl_sse_feed(&sse, RL_STR("\n\n"));
	assert_int_equal(rl_sse_next(&sse, &e), RL_OK);
	assert_int_equal(e.raw.n, (size_t)PIECE * PIECES + 2);
	memset(piece, '\r', sizeof piece);
	unsigned n = 0;
	for (unsigned i = 0; i < 1024; i++) {
		rl_sse_feed(&sse, rl_str_make(piece, sizeof piece));
		while (rl_sse_next(&sse, &e) == RL_OK)
			n++;
	}
	assert_true(n >= 1024 * (PIECE - 1) && n <= 1024 * PIECE);
	assert_true(sse.carry.cap <= 65536);
	rl_sse_fini(&sse);
	assert_true(rl_clock_us() - begin_us < 5000000u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rules),
		cmocka_unit_test(cut_everywhere),
		cmocka_unit_test(all_short_streams),
		cmocka_unit_test(all_ends_of_data),
		cmocka_unit_test(a_whole_event_is_not_copied),
		cmocka_unit_test(an_event_of_lone_cr_is_not_held_back),
		cmocka_unit_test(too_long_is_refused),
		cmocka_unit_test(nothing_is_quadratic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
