/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the dialect room share: the dialect, an arena for each test, JSON compared as values. */
#ifndef RL_TEST_DIALECT_HELP_H
#define RL_TEST_DIALECT_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <yyjson.h>

#include "dialect/dialect.h"

#define TEST_ARENA_BYTES ((size_t)64 << 20)

static inline const struct rl_dialect *openai(void)
{
	const struct rl_dialect *d = rl_dialect_find(RL_STR("openai"));

	assert_non_null(d);
	return d;
}

static inline int setup_arena(void **state)
{
	struct rl_arena *arena = malloc(sizeof *arena);

	if (!arena)
		return -1;
	rl_arena_init(arena, TEST_ARENA_BYTES);
	*state = arena;
	return 0;
}

static inline int drop_arena(void **state)
{
	rl_arena_fini(*state);
	free(*state);
	rl_arena_thread_fini();
	return 0;
}

#define arena_test(function) cmocka_unit_test_setup_teardown(function, setup_arena, drop_arena)

/* Both texts are JSON with the same value; members in any order. */
static inline bool json_same(rl_str a, rl_str b)
{
	yyjson_doc *x = yyjson_read(a.p, a.n, 0), *y = yyjson_read(b.p, b.n, 0);
	bool same = x && y && yyjson_equals(yyjson_doc_get_root(x), yyjson_doc_get_root(y));

	if (!same)
		print_error("not the same JSON:\n  %.*s\n  %.*s\n", (int)(a.n > 3000 ? 3000 : a.n), a.p,
			    (int)(b.n > 3000 ? 3000 : b.n), b.p);
	yyjson_doc_free(x);
	yyjson_doc_free(y);
	return same;
}

static inline void assert_text(rl_str is, const char *wanted)
{
	if (!rl_str_eq(is, rl_str_of(wanted)))
		fail_msg("is    '%.*s'\nwanted '%s'", RL_STR_ARG(is), wanted);
}

static inline bool text_has(rl_str text, const char *part)
{
	return text.n && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

/* A reader without peculiarities, who has nothing dropped in silence: the next call begins anew. */
static inline struct rl_translation *plain_reader(struct rl_arena *arena)
{
	static const struct rl_facts facts = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("m")};
	static struct rl_translation t;

	rl_translation_init(&t, arena, &facts, false);
	return &t;
}

#endif
