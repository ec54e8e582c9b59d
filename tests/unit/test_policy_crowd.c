/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of each address: the cap, leaving, many addresses, threads. */
#include <pthread.h>

#include "policy_kit.h"

#include "policy/crowd.h"

static int setup(void **state)
{
	struct rl_crowd *crowd = NULL;

	assert_int_equal(rl_crowd_new(&crowd), RL_OK);
	*state = crowd;
	return 0;
}

static int teardown(void **state)
{
	rl_crowd_free(*state);
	return 0;
}

static void test_the_cap(void **state)
{
	struct rl_crowd *crowd = *state;

	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(rl_crowd_enter(crowd, 1, 3), i < 3);
	assert_true(rl_crowd_enter(crowd, 2, 3));
	assert_int_equal(rl_crowd_size(crowd), 4);
	assert_int_equal(rl_crowd_refused(crowd), 7);
	rl_crowd_leave(crowd, 1);
	assert_true(rl_crowd_enter(crowd, 1, 3));
	assert_false(rl_crowd_enter(crowd, 1, 3));
	/* Another cap after a reload: a lower one lets nobody in until enough have left. */
	assert_false(rl_crowd_enter(crowd, 1, 2));
	rl_crowd_leave(crowd, 1);
	assert_false(rl_crowd_enter(crowd, 1, 2));
	rl_crowd_leave(crowd, 1);
	assert_true(rl_crowd_enter(crowd, 1, 2));
}

static void test_many_addresses(void **state)
{
	struct rl_crowd *crowd = *state;

	for (uint64_t id = 0; id < 50000; id++)
		assert_true(rl_crowd_enter(crowd, id, 1));
	for (uint64_t id = 0; id < 50000; id++)
		assert_false(rl_crowd_enter(crowd, id, 1));
	for (uint64_t id = 0; id < 50000; id += 2)
		rl_crowd_leave(crowd, id);
	assert_int_equal(rl_crowd_size(crowd), 25000);
	for (uint64_t id = 0; id < 50000; id++)
		assert_int_equal(rl_crowd_enter(crowd, id, 1), id % 2 == 0);
	for (uint64_t id = 0; id < 40000; id++)
		rl_crowd_leave(crowd, id);
	assert_int_equal(rl_crowd_size(crowd), 10000); /* whom the end of the crowd forgets */
}

static void *come_and_go(void *arg)
{
	struct rl_crowd *crowd = arg;

	for (uint64_t i = 0; i < 20000; i++)
		if (rl_crowd_enter(crowd, i % 7, 2))
			rl_crowd_leave(crowd, i % 7);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, *state), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(rl_crowd_size(*state), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_cap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
