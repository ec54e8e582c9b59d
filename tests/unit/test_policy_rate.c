/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets by address: exact amounts, refill, both kinds apart, floods of addresses, a change of rules, threads. */
#include <pthread.h>

#include "policy_kit.h"

#include "policy/rate.h"

#define SECOND UINT64_C(1000000)
#define START (1000 * SECOND)

static const struct rl_cfg_rate rule = {.rate = 100, .burst = 200};

static int setup(void **state)
{
	struct rl_rate *rate = NULL;

	assert_int_equal(rl_rate_new(&rate), RL_OK);
	*state = rate;
	return 0;
}

static int teardown(void **state)
{
	rl_rate_free(*state);
	return 0;
}

static uint64_t id_of(const char *text)
{
	struct rl_addr addr;

	assert_int_equal(rl_addr_parse(rl_str_of(text), &addr), RL_OK);
	return rl_rate_id(&addr);
}

/* How many of n that come at one moment pass. */
static unsigned passing(struct rl_rate *rate, const struct rl_cfg_rate *with, uint64_t id, unsigned n, uint64_t now_us)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < n; i++)
		passed += rl_rate_take(rate, RL_RATE_INFERENCE, with, id, now_us) == 0;
	return passed;
}

static void test_burst_and_refill(void **state)
{
	struct rl_rate *rate = *state;
	uint64_t id = id_of("203.0.113.1:1");

	assert_int_equal(passing(rate, &rule, id, 1000, START), 200);
	assert_int_equal(rl_rate_refused(rate, RL_RATE_INFERENCE), 800);
	/* The next token comes after a hundredth of a second, and refusals have put nothing off. */
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, id, START), 10000);
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, id, START + 9999), 1);
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, id, START + 10000), 0);
	assert_int_equal(passing(rate, &rule, id, 100, START + SECOND / 2), 49);
	/* After long quiet one burst, not more; and steadily at the rate nothing is refused. */
	assert_int_equal(passing(rate, &rule, id, 1000, START + 3600 * SECOND), 200);
	for (uint64_t i = 1; i <= 1000; i++)
		assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, id, START + 3600 * SECOND + i * 10000),
				 0);
}

static void test_bounds_of_rules(void **state)
{
	struct rl_rate *rate = *state;
	static const struct rl_cfg_rate one = {1, 1}, fast = {1000000, 1000000}, third = {3, 1}, off = {0, 1};

	assert_int_equal(passing(rate, &one, 1, 5, START), 1);
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &one, 1, START), SECOND);
	assert_int_equal(passing(rate, &one, 1, 5, START + SECOND - 1), 0);
	assert_int_equal(passing(rate, &one, 1, 5, START + SECOND), 1);
	assert_int_equal(passing(rate, &fast, 2, 1000010, START), 1000000);
	assert_int_equal(passing(rate, &third, 3, 5, START), 1);
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &third, 3, START), 333334);
	assert_int_equal(passing(rate, &off, 4, 1000, START), 1000);
}

static void test_kinds_are_apart(void **state)
{
	struct rl_rate *rate = *state;
	static const struct rl_cfg_rate guesses = {.rate = 10, .burst = 20};

	assert_int_equal(passing(rate, &rule, 7, 201, START), 200);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(rl_rate_look(rate, RL_RATE_AUTH, &guesses, 7, START), 0); /* takes nothing */
		assert_int_equal(rl_rate_look(rate, RL_RATE_AUTH, &guesses, 7, START), 0);
		assert_int_equal(rl_rate_take(rate, RL_RATE_AUTH, &guesses, 7, START), 0);
	}
	assert_int_equal(rl_rate_look(rate, RL_RATE_AUTH, &guesses, 7, START), 100000);
	assert_int_equal(rl_rate_take(rate, RL_RATE_AUTH, &guesses, 7, START), 100000);
	assert_int_equal(rl_rate_refused(rate, RL_RATE_AUTH), 2);
	assert_int_equal(rl_rate_refused(rate, RL_RATE_INFERENCE), 1);
	assert_str(rl_rate_kind_name(RL_RATE_AUTH), "auth");
}

static void test_what_is_one_address(void **state)
{
	(void)state;
	assert_int_equal(id_of("203.0.113.1:1"), id_of("203.0.113.1:65535"));
	assert_int_equal(id_of("203.0.113.1:1"), id_of("[::ffff:203.0.113.1]:1"));
	assert_int_not_equal(id_of("203.0.113.1:1"), id_of("203.0.113.2:1"));
	assert_int_equal(id_of("[2001:db8:1:2::1]:1"), id_of("[2001:db8:1:2:ffff:ffff:ffff:ffff]:1"));
	assert_int_not_equal(id_of("[2001:db8:1:2::1]:1"), id_of("[2001:db8:1:3::1]:1"));
	assert_int_not_equal(id_of("[::1]:1"), id_of("0.0.0.0:1"));
}

/* FAULTS 95: a million addresses change nothing for who is over the limit, and refuse nobody who is not. */
static void test_a_flood_of_addresses(void **state)
{
	struct rl_rate *rate = *state;
	uint64_t debtor = id_of("203.0.113.1:1"), polite = id_of("198.51.100.1:1"), now = START;

	assert_int_equal(passing(rate, &rule, debtor, 300, now), 200);
	for (uint64_t i = 0; i < 1000000; i++) {
		assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, UINT64_C(0x20010db8) << 32 | i, now), 0);
		if (i % 100000 == 0) {
			now += 10000;
			assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, polite, now), 0);
			assert_int_equal(passing(rate, &rule, debtor, 5, now), 1);
		}
	}
}

static void test_a_tighter_rule_takes_over(void **state)
{
	struct rl_rate *rate = *state;
	static const struct rl_cfg_rate slow = {.rate = 1, .burst = 1000}, tight = {.rate = 10, .burst = 5};

	assert_int_equal(passing(rate, &slow, 9, 1001, START), 1000); /* 1,000 s of debt */
	/* By the new rule nobody owes more than its burst, and that is paid off although every try in between fails. */
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &tight, 9, START + i * 10000),
				 100000 - i * 10000);
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &tight, 9, START + 100000), 0);
	assert_int_equal(passing(rate, &tight, 9, 10, START + SECOND), 5);
}

static void test_time_does_not_go_back(void **state)
{
	struct rl_rate *rate = *state;

	assert_int_equal(passing(rate, &rule, 11, 200, START), 200);
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, 11, START + 10000), 0);
	/* A thread that read its clock earlier than the one before it: no more than the same wait. */
	assert_int_equal(rl_rate_take(rate, RL_RATE_INFERENCE, &rule, 11, START - SECOND), 10000);
}

struct racer {
	struct rl_rate *rate;
	pthread_t thread;
	unsigned passed;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	for (unsigned i = 0; i < 20; i++) /* in turns, so that all of them meet the end of the bucket */
		r->passed += passing(r->rate, &rule, 13, 10, START);
	return NULL;
}

static void test_exact_across_threads(void **state)
{
	struct racer racers[4];
	unsigned passed = 0;

	for (size_t i = 0; i < 4; i++) {
		racers[i] = (struct racer){.rate = *state};
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		pthread_join(racers[i].thread, NULL);
		passed += racers[i].passed;
	}
	assert_int_equal(passed, 200);
	assert_int_equal(rl_rate_refused(*state, RL_RATE_INFERENCE), 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_burst_and_refill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds_of_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds_are_apart, setup, teardown),
		cmocka_unit_test(test_what_is_one_address),
		cmocka_unit_test_setup_teardown(test_a_flood_of_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_tighter_rule_takes_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_time_does_not_go_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exact_across_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
