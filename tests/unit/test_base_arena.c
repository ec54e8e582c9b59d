/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas: limit one below, at and one above, alignment, reuse after a reset,
 * overflow of sizes. Holds in both builds (chunks, and a malloc an allocation);
 * only the chunk build promises alignment of sizes and reuse of memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"

static void limit_is_exact(void **state)
{
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 64);
	assert_null(rl_arena_alloc(&arena, 65));
	assert_int_equal(arena.used_bytes, 0);
	assert_non_null(rl_arena_alloc(&arena, 64));
	assert_int_equal(arena.used_bytes, 64);
	assert_null(rl_arena_alloc(&arena, 1));
	rl_arena_reset(&arena);
	assert_int_equal(arena.used_bytes, 0);
	assert_int_equal(arena.limit_bytes, 64);
	assert_non_null(rl_arena_alloc(&arena, 48));
	assert_null(rl_arena_alloc(&arena, 17));
	assert_non_null(rl_arena_alloc(&arena, 16));
	rl_arena_fini(&arena);
}

static void limit_holds_over_many_pieces(void **state)
{
	struct rl_arena arena;
	unsigned n = 0;

	(void)state;
	rl_arena_init(&arena, 1 << 20);
	while (rl_arena_alloc(&arena, 1024))
		n++;
	assert_int_equal(n, 1024);
	rl_arena_fini(&arena);
}

static void pieces_are_aligned_and_apart(void **state)
{
	struct rl_arena arena;
	unsigned char *pieces[200];
	size_t sizes[200];

	(void)state;
	rl_arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < 200; i++) {
		sizes[i] = (i * 37) % 700 + 1;
		pieces[i] = rl_arena_alloc(&arena, sizes[i]);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % 16, 0);
		memset(pieces[i], (int)i, sizes[i]);
	}
	for (size_t i = 0; i < 200; i++)
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(pieces[i][k], (unsigned char)i);
	rl_arena_fini(&arena);
}

static void larger_than_a_chunk(void **state)
{
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 1 << 24);
	char *small = rl_arena_alloc(&arena, 10);
	char *large = rl_arena_alloc(&arena, 1 << 20);
	char *after = rl_arena_alloc(&arena, 10);

	assert_true(small && large && after);
	memset(large, 1, 1 << 20);
	memset(small, 2, 10);
	memset(after, 3, 10);
	assert_int_equal(large[0], 1);
	assert_int_equal(large[(1 << 20) - 1], 1);
	rl_arena_fini(&arena);
}

static void empty_piece_is_not_a_failure(void **state)
{
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 64);
	assert_non_null(rl_arena_alloc(&arena, 0));
	assert_non_null(rl_arena_zalloc(&arena, 0, 8));
	rl_arena_fini(&arena);
}

static void zeroed_and_checked(void **state)
{
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 1 << 20);
	memset(rl_arena_alloc(&arena, 3000), 0xff, 3000);
	rl_arena_reset(&arena);

	unsigned char *p = rl_arena_zalloc(&arena, 100, 30);

	assert_non_null(p);
	for (size_t i = 0; i < 3000; i++)
		assert_int_equal(p[i], 0);
	assert_null(rl_arena_zalloc(&arena, SIZE_MAX / 2, 3));
	assert_null(rl_arena_zalloc(&arena, SIZE_MAX / 16 + 1, 16));
	volatile size_t huge = SIZE_MAX; /* volatile: or the compiler warns of just what is tested */

	assert_null(rl_arena_alloc(&arena, huge));
	assert_null(rl_arena_alloc(&arena, huge - 14));

	struct pair {
		long a, b;
	} *pairs = RL_NEW_ARRAY(&arena, struct pair, 3);

	assert_int_equal(pairs[2].b, 0);
	rl_arena_fini(&arena);
}

static void copies_end_in_nul(void **state)
{
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 4096);
	char text[] = "provider";
	rl_str copy = rl_arena_dup(&arena, rl_str_of(text));

	text[0] = 'X';
	assert_string_equal(copy.p, "provider");
	assert_int_equal(copy.n, 8);

	rl_str empty = rl_arena_dup(&arena, (rl_str){NULL, 0});

	assert_non_null(empty.p);
	assert_string_equal(empty.p, "");
	assert_null(rl_arena_dup(&arena, (rl_str){text, SIZE_MAX}).p);
	rl_arena_fini(&arena);

	rl_arena_init(&arena, 16);
	assert_non_null(rl_arena_dup(&arena, RL_STR("fifteen bytes 5")).p);
	assert_null(rl_arena_dup(&arena, RL_STR("x")).p);
	rl_arena_fini(&arena);
}

static void printing(void **state)
{
	struct rl_arena arena;
	char wide[700];

	(void)state;
	rl_arena_init(&arena, 4096);
	rl_str s = rl_arena_printf(&arena, "%s/%d", "openai", 7);

	assert_string_equal(s.p, "openai/7");
	assert_int_equal(s.n, 8);

	/* Around the inner buffer's end. */
	for (size_t n = 250; n <= 260; n++) {
		memset(wide, 'w', n);
		wide[n] = '\0';
		s = rl_arena_printf(&arena, "%s", wide);
		assert_int_equal(s.n, n);
		assert_string_equal(s.p, wide);
	}
	rl_arena_fini(&arena);

	rl_arena_init(&arena, 16);
	assert_null(rl_arena_printf(&arena, "%s", wide).p);
	rl_arena_fini(&arena);
}

static void chunks_come_back(void **state)
{
	struct rl_arena arena;

	(void)state;
#ifdef RL_ARENA_MALLOC
	print_message("the arenas of this build have no chunks\n");
	skip();
#endif
	rl_arena_init(&arena, 1 << 20);
	void *first = rl_arena_alloc(&arena, 100);

	rl_arena_reset(&arena);
	assert_ptr_equal(rl_arena_alloc(&arena, 100), first);
	rl_arena_fini(&arena);
	rl_arena_thread_fini();
}

/* A long answer keeps its request's arena: what needs a little more than a chunk must not hold three times as much. */
static void the_second_chunk_is_small_too(void **state)
{
	struct rl_arena arena;
	void *pieces[4];

	(void)state;
#ifdef RL_ARENA_MALLOC
	print_message("the arenas of this build have no chunks\n");
	skip();
#endif
	rl_arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < 4; i++)
		pieces[i] = rl_arena_alloc(&arena, 2048);
	assert_ptr_equal((char *)pieces[3], (char *)pieces[2] + 2048);
	assert_ptr_equal(arena.at, arena.end);
	rl_arena_fini(&arena);
	rl_arena_thread_fini();
}

static void endings_are_harmless(void **state)
{
	struct rl_arena zero = {0};
	struct rl_arena unused;

	(void)state;
	rl_arena_fini(NULL);
	rl_arena_fini(&zero);
	rl_arena_init(&unused, 1);
	rl_arena_fini(&unused);
	rl_arena_fini(&unused);
	rl_arena_thread_fini();
	rl_arena_thread_fini();
}

static int give_back(void **state)
{
	(void)state;
	rl_arena_thread_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_is_exact),
		cmocka_unit_test(limit_holds_over_many_pieces),
		cmocka_unit_test(pieces_are_aligned_and_apart),
		cmocka_unit_test(larger_than_a_chunk),
		cmocka_unit_test(empty_piece_is_not_a_failure),
		cmocka_unit_test(zeroed_and_checked),
		cmocka_unit_test(copies_end_in_nul),
		cmocka_unit_test(printing),
		cmocka_unit_test(chunks_come_back),
		cmocka_unit_test(the_second_chunk_is_small_too),
		cmocka_unit_test(endings_are_harmless),
	};

	return cmocka_run_group_tests_name("base/arena", tests, NULL, give_back);
}
