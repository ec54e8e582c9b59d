/* SPDX-License-Identifier: Apache-2.0 */
/* Maps: presence, replacement, growth through 100,000 keys, keys with NULs, the seeded hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/map.h"

static void empty_map(void **state)
{
	struct rl_map map;

	(void)state;
	rl_map_init(&map);
	assert_null(rl_map_get(&map, RL_STR("a")));
	rl_map_fini(&map);
	rl_map_fini(&map);
	rl_map_fini(NULL);
}

static void put_get_replace(void **state)
{
	struct rl_map map;
	int one, two, three;

	(void)state;
	rl_map_init(&map);
	assert_int_equal(rl_map_put(&map, RL_STR("a"), &one), RL_OK);
	assert_int_equal(rl_map_put(&map, RL_STR("b"), &two), RL_OK);
	assert_int_equal(map.n, 2);
	assert_ptr_equal(rl_map_get(&map, RL_STR("a")), &one);
	assert_ptr_equal(rl_map_get(&map, RL_STR("b")), &two);
	assert_null(rl_map_get(&map, RL_STR("A")));
	assert_null(rl_map_get(&map, RL_STR("")));

	assert_int_equal(rl_map_put(&map, RL_STR("a"), &three), RL_OK);
	assert_int_equal(map.n, 2);
	assert_ptr_equal(rl_map_get(&map, RL_STR("a")), &three);
	rl_map_fini(&map);
}

static void odd_keys(void **state)
{
	struct rl_map map;
	int empty, nul, longer;

	(void)state;
	rl_map_init(&map);
	assert_int_equal(rl_map_put(&map, (rl_str){NULL, 0}, &empty), RL_OK);
	assert_int_equal(rl_map_put(&map, RL_STR("\0"), &nul), RL_OK);
	assert_int_equal(rl_map_put(&map, RL_STR("\0\0"), &longer), RL_OK);
	assert_ptr_equal(rl_map_get(&map, RL_STR("")), &empty);
	assert_ptr_equal(rl_map_get(&map, RL_STR("\0")), &nul);
	assert_ptr_equal(rl_map_get(&map, RL_STR("\0\0")), &longer);
	rl_map_fini(&map);
}

static void many_keys(void **state)
{
	enum { COUNT = 100000, WIDTH = 16 };
	char *names = malloc((size_t)COUNT * WIDTH);
	struct rl_map map;

	(void)state;
	assert_non_null(names);
	rl_map_init(&map);
	for (int i = 0; i < COUNT; i++) {
		char *name = names + (size_t)i * WIDTH;
		int n = snprintf(name, WIDTH, "model-%d", i);
		assert_int_equal(rl_map_put(&map, rl_str_make(name, (size_t)n), name), RL_OK);
	}
	assert_int_equal(map.n, COUNT);
	for (int i = 0; i < COUNT; i++) {
		char *name = names + (size_t)i * WIDTH;
		assert_ptr_equal(rl_map_get(&map, rl_str_of(name)), name);
	}
	assert_null(rl_map_get(&map, RL_STR("model-100000")));
	assert_null(rl_map_get(&map, RL_STR("model-")));

	/* Replacing all of them adds none. */
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(rl_map_put(&map, rl_str_of(names + (size_t)i * WIDTH), &map), RL_OK);
	assert_int_equal(map.n, COUNT);
	assert_ptr_equal(rl_map_get(&map, RL_STR("model-99999")), &map);
	rl_map_fini(&map);
	free(names);
}

static void hash_takes_every_byte(void **state)
{
	char text[40] = {0};
	uint64_t seen[40 * 8 + 1];
	size_t n = 0;

	(void)state;
	seen[n++] = rl_hash(rl_str_make(text, sizeof text));
	assert_true(seen[0] == rl_hash(rl_str_make(text, sizeof text)));
	for (size_t i = 0; i < sizeof text * 8; i++) {
		text[i / 8] = (char)(1 << (i % 8));
		uint64_t hash = rl_hash(rl_str_make(text, sizeof text));

		for (size_t k = 0; k < n; k++)
			assert_true(hash != seen[k]);
		seen[n++] = hash;
		text[i / 8] = 0;
	}
	/* The length counts, too. */
	for (size_t len = 0; len + 1 < sizeof text; len++)
		assert_true(rl_hash(rl_str_make(text, len)) != rl_hash(rl_str_make(text, len + 1)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_map), cmocka_unit_test(put_get_replace),       cmocka_unit_test(odd_keys),
		cmocka_unit_test(many_keys), cmocka_unit_test(hash_takes_every_byte),
	};

	return cmocka_run_group_tests_name("base/map", tests, NULL, NULL);
}
