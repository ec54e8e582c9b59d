/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of compressed bodies: the three formats at every cut, members, stumps, bombs (FAULTS 43). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/random.h"
#include "http/inflate.h"

#define GZIP 31
#define ZLIB 15
#define RAW (-15)

static size_t compress_to(char *out, size_t max, const char *text, size_t n, int bits, int level)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)text;
	z.avail_in = (unsigned)n;
	z.next_out = (unsigned char *)out;
	z.avail_out = (unsigned)max;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return max - z.avail_out;
}

/* Feeds one piece from memory of its own that is gone afterwards; with `hold` as early as possible. */
static enum rl_err feed(struct rl_inflate *inf, rl_str piece, bool hold, struct rl_buf *out)
{
	char *copy = malloc(piece.n ? piece.n : 1);
	enum rl_err err = RL_OK;
	rl_str text;

	memcpy(copy, piece.p, piece.n);
	rl_inflate_feed(inf, rl_str_make(copy, piece.n));
	if (hold) {
		assert_int_equal(rl_inflate_hold(inf), RL_OK);
		free(copy);
		copy = NULL;
	}
	while (err == RL_OK) {
		err = rl_inflate_next(inf, &text);
		if (err == RL_OK) {
			assert_true(text.n > 0);
			rl_buf_add(out, text);
		}
	}
	free(copy);
	return err;
}

static struct rl_inflate *make(const char *encoding)
{
	struct rl_inflate *inf = NULL;

	assert_int_equal(rl_inflate_new(rl_str_of(encoding), &inf), RL_OK);
	return inf;
}

static void formats_at_every_cut(void **state)
{
	static const struct {
		const char *encoding;
		int bits, level;
	} ways[] = {{"gzip", GZIP, 9},    {"x-gzip", GZIP, 0}, {"GZIP", GZIP, 1},  {"deflate", ZLIB, 9},
		    {"deflate", ZLIB, 0}, {"deflate", RAW, 9}, {"Deflate", RAW, 0}};
	static const char text[] = "the quick brown fox jumps over the lazy dog; the dog does not mind the fox.";
	char wire[512];

	(void)state;
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		size_t n = compress_to(wire, sizeof wire, text, sizeof text, ways[i].bits, ways[i].level);

		for (size_t cut = 0; cut <= n; cut++) {
			struct rl_inflate *inf = make(ways[i].encoding);
			struct rl_buf out;

			rl_buf_init(&out, 4096);
			assert_int_equal(feed(inf, rl_str_make(wire, cut), cut & 1, &out), RL_ERR_AGAIN);
			assert_int_equal(rl_inflate_ended(inf), cut == n || cut == 0);
			if (cut < n)
				assert_int_equal(feed(inf, rl_str_make(wire + cut, n - cut), cut & 2, &out),
						 RL_ERR_AGAIN);
			assert_true(rl_inflate_ended(inf));
			assert_int_equal(out.n, sizeof text);
			assert_memory_equal(out.p, text, sizeof text);
			rl_buf_fini(&out);
			rl_inflate_free(inf);
		}
	}
}

static void others_are_unsupported(void **state)
{
	static const char *const names[] = {"br", "zstd", "compress", "identity", "", "gzip, gzip", "gzi", "gzip "};
	struct rl_inflate *inf;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_int_equal(rl_inflate_new(rl_str_of(names[i]), &inf), RL_ERR_UNSUPPORTED);
	rl_inflate_free(NULL);
}

static void members_follow_each_other(void **state)
{
	char wire[512];
	size_t a = compress_to(wire, 256, "one ", 4, GZIP, 9), b = compress_to(wire + a, 256, "two", 3, GZIP, 9);

	(void)state;
	for (size_t cut = 0; cut <= a + b; cut++) {
		struct rl_inflate *inf = make("gzip");
		struct rl_buf out;

		rl_buf_init(&out, 64);
		assert_int_equal(feed(inf, rl_str_make(wire, cut), true, &out), RL_ERR_AGAIN);
		assert_int_equal(feed(inf, rl_str_make(wire + cut, a + b - cut), true, &out), RL_ERR_AGAIN);
		assert_true(rl_inflate_ended(inf));
		assert_int_equal(out.n, 7);
		assert_memory_equal(out.p, "one two", 7);
		rl_buf_fini(&out);
		rl_inflate_free(inf);
	}
}

static void garbage_fails(void **state)
{
	static const struct {
		const char *encoding, *wire;
		size_t n;
	} cases[] = {
		{"gzip", "plain text", 10},
		{"gzip", "\x1f\x8b\x07\0", 4},
		{"deflate", "\x78\x9c\xff\xff\xff", 5},
		{"deflate", "\x07\x07", 2},
	};
	char wire[256];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_inflate *inf = make(cases[i].encoding);
		struct rl_buf out;

		rl_buf_init(&out, 64);
		assert_int_equal(feed(inf, rl_str_make(cases[i].wire, cases[i].n), false, &out), RL_ERR_PROTOCOL);
		rl_buf_fini(&out);
		rl_inflate_free(inf);
	}
	/* A wrong check sum, and bytes behind the end. */
	for (int i = 0; i < 4; i++) {
		struct rl_inflate *inf = make(i & 1 ? "gzip" : "deflate");
		size_t n = compress_to(wire, sizeof wire, "text", 4, i & 1 ? GZIP : ZLIB, 9);
		struct rl_buf out;

		rl_buf_init(&out, 64);
		if (i & 2)
			wire[n++] = 'x';
		else
			wire[n - (i & 1 ? 5 : 1)] ^= 1;
		enum rl_err err = feed(inf, rl_str_make(wire, n), false, &out);

		/* Behind a gzip member another one might begin: then it is not ended. */
		if (i == 3)
			assert_true(err == RL_ERR_AGAIN && !rl_inflate_ended(inf));
		else
			assert_int_equal(err, RL_ERR_PROTOCOL);
		rl_buf_fini(&out);
		rl_inflate_free(inf);
	}
}

/* How far a body of `n` bytes at text comes; *got is what was given out. */
static enum rl_err all_of(const char *text, size_t n, size_t *got)
{
	char *wire = malloc(n + 1024);
	size_t size = compress_to(wire, n + 1024, text, n, GZIP, 1);
	struct rl_inflate *inf = make("gzip");
	enum rl_err err = RL_OK;
	rl_str piece;

	*got = 0;
	rl_inflate_feed(inf, rl_str_make(wire, size));
	while ((err = rl_inflate_next(inf, &piece)) == RL_OK)
		*got += piece.n;
	if (err == RL_ERR_AGAIN)
		assert_true(rl_inflate_ended(inf));
	rl_inflate_free(inf);
	free(wire);
	return err;
}

static void bombs_are_bounded(void **state)
{
	size_t n = RL_INFLATE_MAX_BYTES + 4096, got;
	char *text = calloc(1, n);
	struct rl_rng rng;

	(void)state;
	/* By ratio, but not before the first MiB: a small body of blanks is no bomb. */
	assert_int_equal(all_of(text, RL_INFLATE_FREE_BYTES, &got), RL_ERR_AGAIN);
	assert_int_equal(got, RL_INFLATE_FREE_BYTES);
	assert_int_equal(all_of(text, 4u << 20, &got), RL_ERR_LIMIT);
	assert_in_range(got, RL_INFLATE_FREE_BYTES, 2u << 20);

	/* By size: of a ratio that is allowed. */
	rl_rng_seed(&rng, 7);
	for (size_t i = 0; i < n; i += 128)
		for (size_t k = 0; k < 8; k++)
			text[i + k] = (char)rl_rng_next(&rng);
	assert_int_equal(all_of(text, 16u << 20, &got), RL_ERR_AGAIN);
	assert_int_equal(got, 16u << 20);
	assert_int_equal(all_of(text, n, &got), RL_ERR_LIMIT);
	assert_in_range(got, RL_INFLATE_MAX_BYTES - 32768, RL_INFLATE_MAX_BYTES);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_at_every_cut),      cmocka_unit_test(others_are_unsupported),
		cmocka_unit_test(members_follow_each_other), cmocka_unit_test(garbage_fails),
		cmocka_unit_test(bombs_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
