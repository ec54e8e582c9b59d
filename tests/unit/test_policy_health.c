/* SPDX-License-Identifier: Apache-2.0 */
/* The rule of max_fails and fail_timeout, in virtual time: what counts, when a target is down, who may probe it. */
#include "policy_kit.h"

#include <pthread.h>

#include "policy/health.h"

#define TIMEOUT_MS 10000u

struct bench {
	struct rl_cfg_provider settings;
	struct rl_provider provider;
	struct rl_target_live live;
	struct rl_target target;
};

static void init(struct bench *b, uint32_t max_fails)
{
	*b = (struct bench){.settings = {.max_fails = max_fails, .fail_timeout_ms = TIMEOUT_MS}};
	b->provider.settings = &b->settings;
	b->target = (struct rl_target){.provider = &b->provider, .live = &b->live};
}

/* Reports and tells what it changed: 0 nothing, -1 down, +1 up. */
static int report(struct bench *b, enum rl_fault_class fault, uint64_t now_ms)
{
	bool up = false;

	if (!rl_health_report(&b->target, fault, false, now_ms, &up))
		return 0;
	return up ? 1 : -1;
}

static int state_at(const struct bench *b, uint64_t now_ms)
{
	return (int)rl_health_state(&b->target, now_ms);
}

static void test_window(void **state)
{
	struct bench b;

	(void)state;
	init(&b, 3);
	assert_int_equal(state_at(&b, 0), RL_HEALTH_UP);
	assert_int_equal(report(&b, RL_FAULT_CONNECT, 1000), 0);
	assert_int_equal(report(&b, RL_FAULT_TIMEOUT, 1000 + TIMEOUT_MS - 1), 0);
	assert_int_equal(state_at(&b, 1000 + TIMEOUT_MS - 1), RL_HEALTH_UP);
	/* The third within the time. */
	assert_int_equal(report(&b, RL_FAULT_SERVER_ERROR, 1000 + TIMEOUT_MS), -1);
	assert_int_equal(state_at(&b, 1000 + TIMEOUT_MS), RL_HEALTH_DOWN);
	assert_int_equal(state_at(&b, 1000 + 2 * TIMEOUT_MS - 1), RL_HEALTH_DOWN);
	assert_int_equal(state_at(&b, 1000 + 2 * TIMEOUT_MS), RL_HEALTH_PROBE_DUE);
	assert_int_equal(atomic_load(&b.live.attempts), 3);
	assert_int_equal(atomic_load(&b.live.failures), 3);

	/* Too far apart: each time a new window. */
	init(&b, 2);
	for (uint64_t t = 1000; t < 1000000; t += TIMEOUT_MS + 1)
		assert_int_equal(report(&b, RL_FAULT_CONNECT, t), 0);
	/* A success between them: not in a row. */
	init(&b, 2);
	for (uint64_t t = 1000; t < 2000; t += 10) {
		assert_int_equal(report(&b, RL_FAULT_CONNECT, t), 0);
		assert_int_equal(report(&b, RL_FAULT_NONE, t + 1), 0);
	}
	/* 0: never. */
	init(&b, 0);
	for (uint64_t t = 1000; t < 2000; t++)
		assert_int_equal(report(&b, RL_FAULT_CONNECT, t), 0);
	assert_int_equal(state_at(&b, 2000), RL_HEALTH_UP);
	assert_int_equal(atomic_load(&b.live.failures), 1000);
	/* 1: at once. */
	init(&b, 1);
	assert_int_equal(report(&b, RL_FAULT_AUTH, 5), -1);
}

/* Another worker's clock may be a turn behind: its failure counts in the same window. */
static void test_clocks_differ(void **state)
{
	struct bench b;

	(void)state;
	init(&b, 3);
	report(&b, RL_FAULT_CONNECT, 1000);
	report(&b, RL_FAULT_CONNECT, 998);
	assert_int_equal(report(&b, RL_FAULT_CONNECT, 999), -1);
}

static void test_recovery(void **state)
{
	struct bench b;
	uint64_t t = 1000;

	(void)state;
	init(&b, 1);
	report(&b, RL_FAULT_CONNECT, t);
	assert_false(rl_health_take_probe(&b.target, t + TIMEOUT_MS - 1));
	t += TIMEOUT_MS;
	assert_true(rl_health_take_probe(&b.target, t));
	assert_false(rl_health_take_probe(&b.target, t)); /* one */
	assert_int_equal(state_at(&b, t), RL_HEALTH_DOWN);
	/* It fails: down for as long again, and nothing new to say. */
	assert_int_equal(report(&b, RL_FAULT_CONNECT, t + 50), 0);
	assert_int_equal(state_at(&b, t + TIMEOUT_MS), RL_HEALTH_DOWN);
	t += 50 + TIMEOUT_MS;
	assert_int_equal(state_at(&b, t), RL_HEALTH_PROBE_DUE);
	/* Its client leaves: nothing is known, the next probe is due in its time. */
	assert_true(rl_health_take_probe(&b.target, t));
	assert_int_equal(report(&b, RL_FAULT_CANCELLED, t + 1), 0);
	assert_int_equal(state_at(&b, t + 1), RL_HEALTH_DOWN);
	t += TIMEOUT_MS;
	assert_int_equal(state_at(&b, t), RL_HEALTH_PROBE_DUE);
	/* It answers. */
	assert_true(rl_health_take_probe(&b.target, t));
	assert_true(rl_health_answers(&b.target));
	assert_false(rl_health_answers(&b.target));
	assert_int_equal(state_at(&b, t), RL_HEALTH_UP);
	assert_false(rl_health_take_probe(&b.target, t + 10 * TIMEOUT_MS));
}

/* The end of an answer that began long ago says nothing about now; its breaking off does. */
static void test_answered_before(void **state)
{
	struct bench b;
	bool up = true;

	(void)state;
	init(&b, 1);
	report(&b, RL_FAULT_CONNECT, 1000);
	assert_false(rl_health_report(&b.target, RL_FAULT_NONE, true, 1001, &up));
	assert_int_equal(state_at(&b, 1001), RL_HEALTH_DOWN);
	init(&b, 1);
	assert_true(rl_health_report(&b.target, RL_FAULT_CONNECT, true, 1001, &up));
	assert_false(up);
	assert_int_equal(state_at(&b, 1001), RL_HEALTH_DOWN);
}

/* Only the provider's own faults; an error about the request shows that it works. */
static void test_what_counts(void **state)
{
	static const struct {
		enum rl_fault_class fault;
		int change; /* when up with max_fails 1; and -change is expected of those that show it works */
	} table[] = {
		{RL_FAULT_CONNECT, -1},
		{RL_FAULT_TIMEOUT, -1},
		{RL_FAULT_SERVER_ERROR, -1},
		{RL_FAULT_OVERLOADED, -1},
		{RL_FAULT_INVALID_RESPONSE, -1},
		{RL_FAULT_RATE_LIMIT, -1},
		{RL_FAULT_QUOTA, -1},
		{RL_FAULT_AUTH, -1},
		{RL_FAULT_NONE, 1},
		{RL_FAULT_BAD_REQUEST, 1},
		{RL_FAULT_CONTEXT_LENGTH, 1},
		{RL_FAULT_CONTENT_FILTER, 1},
		{RL_FAULT_NOT_FOUND, 1},
		{RL_FAULT_CANCELLED, 0},
		{RL_FAULT_INTERNAL, 0},
	};
	struct bench b;

	(void)state;
	assert_int_equal(sizeof table / sizeof table[0], RL_FAULT_CLASS_COUNT);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		enum rl_fault_class fault = table[i].fault;

		assert_int_equal(rl_health_counts(fault), table[i].change < 0);
		init(&b, 1);
		assert_int_equal(report(&b, fault, 1000), table[i].change < 0 ? -1 : 0);
		init(&b, 1);
		report(&b, RL_FAULT_CONNECT, 1000);
		assert_int_equal(report(&b, fault, 1001), table[i].change > 0 ? 1 : 0);
	}
}

static void *try_probe(void *arg)
{
	uintptr_t taken = 0;

	for (uint64_t t = 0; t < 200; t++)
		taken += rl_health_take_probe(arg, 1000 + TIMEOUT_MS + t);
	return (void *)taken;
}

static void test_one_probe_among_threads(void **state)
{
	struct bench b;

	(void)state;
	for (int round = 0; round < 200; round++) {
		pthread_t threads[4];
		uintptr_t sum = 0;
		void *taken;

		init(&b, 1);
		report(&b, RL_FAULT_CONNECT, 1000);
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, try_probe, &b.target), 0);
		for (int i = 0; i < 4; i++) {
			pthread_join(threads[i], &taken);
			sum += (uintptr_t)taken;
		}
		assert_int_equal(sum, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window),      cmocka_unit_test(test_clocks_differ),
		cmocka_unit_test(test_recovery),    cmocka_unit_test(test_answered_before),
		cmocka_unit_test(test_what_counts), cmocka_unit_test(test_one_probe_among_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
