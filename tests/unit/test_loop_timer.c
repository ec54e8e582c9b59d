/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel against a model that keeps nothing but deadlines, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/random.h"
#include "loop/wheel_priv.h"

#define TIMERS 4000u

struct mock {
	struct rl_timer timer;
	uint64_t deadline_ms; /* 0: not running */
	unsigned fired;
};

static struct {
	struct rl_wheel wheel;
	struct mock mocks[TIMERS];
	struct rl_rng rng;
	uint64_t now_ms, late_max_ms;
	unsigned fired, running;
	bool restless; /* callbacks start and stop others */
} w;

#define ANY_LOOP ((struct rl_loop *)&w)

static void start(struct mock *mock, uint64_t after_ms)
{
	w.running += !mock->deadline_ms;
	mock->deadline_ms = w.now_ms + after_ms;
	rl_wheel_start(&w.wheel, ANY_LOOP, &mock->timer, w.now_ms, after_ms);
	assert_true(rl_timer_running(&mock->timer));
}

static void stop(struct mock *mock)
{
	if (!mock->deadline_ms)
		return;
	mock->deadline_ms = 0;
	w.running--;
	rl_wheel_stop(&w.wheel, &mock->timer);
	assert_false(rl_timer_running(&mock->timer));
}

static uint64_t some_ms(void)
{
	return rl_rng_below(&w.rng, UINT64_C(1) << rl_rng_below(&w.rng, 28));
}

static struct mock *some_mock(void)
{
	return &w.mocks[rl_rng_below(&w.rng, TIMERS)];
}

static void fire(struct rl_timer *timer)
{
	struct mock *mock = (struct mock *)timer;

	assert_false(rl_timer_running(timer));
	assert_true(mock->deadline_ms != 0);
	assert_true(w.now_ms >= mock->deadline_ms);
	if (w.now_ms - mock->deadline_ms > w.late_max_ms)
		w.late_max_ms = w.now_ms - mock->deadline_ms;
	mock->deadline_ms = 0;
	mock->fired++;
	w.fired++;
	w.running--;
	if (!w.restless)
		return;
	if (rl_rng_below(&w.rng, 4) == 0)
		start(mock, some_ms());
	if (rl_rng_below(&w.rng, 8) == 0)
		start(some_mock(), rl_rng_below(&w.rng, 20));
	if (rl_rng_below(&w.rng, 8) == 0)
		stop(some_mock());
}

static void begin(uint64_t seed, uint64_t now_ms, bool restless)
{
	w.now_ms = now_ms;
	w.late_max_ms = w.fired = w.running = 0;
	w.restless = restless;
	rl_rng_seed(&w.rng, seed);
	rl_wheel_init(&w.wheel, now_ms);
	for (unsigned i = 0; i < TIMERS; i++) {
		w.mocks[i] = (struct mock){0};
		rl_timer_init(&w.mocks[i].timer, fire);
	}
}

/* As a loop does: sleeps until the wheel asks to be woken, or until `at_ms`. */
static unsigned sleep_until(uint64_t at_ms)
{
	unsigned wakes = 0;

	while (rl_wheel_next_ms(&w.wheel) <= at_ms) {
		w.now_ms = rl_wheel_next_ms(&w.wheel) > w.now_ms ? rl_wheel_next_ms(&w.wheel) : w.now_ms;
		rl_wheel_advance(&w.wheel, w.now_ms);
		wakes++;
	}
	w.now_ms = at_ms;
	return wakes;
}

static void check_against_model(void)
{
	unsigned running = 0;

	for (unsigned i = 0; i < TIMERS; i++) {
		const struct mock *mock = &w.mocks[i];

		assert_int_equal(mock->deadline_ms != 0, rl_timer_running(&mock->timer));
		if (!mock->deadline_ms)
			continue;
		running++;
		assert_true(mock->timer.slot_ms <= mock->deadline_ms + RL_TIMER_TICK_MS);
		assert_true(mock->deadline_ms + RL_TIMER_TICK_MS >= w.now_ms);
	}
	assert_int_equal(running, w.running);
	assert_int_equal(running, w.wheel.n);
}

static void random_walk(uint64_t seed, uint64_t now_ms)
{
	begin(seed, now_ms, true);
	for (unsigned step = 0; step < 30000; step++) {
		unsigned what = (unsigned)rl_rng_below(&w.rng, 10);

		if (what < 6)
			start(some_mock(), some_ms());
		else if (what < 8)
			stop(some_mock());
		else
			sleep_until(w.now_ms + rl_rng_below(&w.rng, 1000));
		if (step % 1000 == 0)
			check_against_model();
	}
	w.restless = false;
	sleep_until(w.now_ms + (UINT64_C(1) << 29));
	assert_int_equal(w.running, 0);
	check_against_model();
	assert_true(w.fired > 4000);
	assert_true(w.late_max_ms <= RL_TIMER_TICK_MS);
	assert_true(rl_wheel_next_ms(&w.wheel) == UINT64_MAX);
}

static void test_random(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++)
		random_walk(seed, seed * 0x123456789u % 100000000u);
}

/* A loop that is busy looks at its timers late: all that is due fires then, and nothing else. */
static void test_coarse_look(void **state)
{
	(void)state;
	begin(7, 5, false);
	for (unsigned i = 0; i < TIMERS; i++)
		start(&w.mocks[i], 1 + i * 13u);
	for (uint64_t at_ms = 5; w.running > 0; at_ms += 777) {
		w.now_ms = at_ms;
		rl_wheel_advance(&w.wheel, at_ms);
		for (unsigned i = 0; i < TIMERS; i++)
			if (w.mocks[i].deadline_ms)
				assert_true(w.mocks[i].deadline_ms + RL_TIMER_TICK_MS > at_ms);
	}
	for (unsigned i = 0; i < TIMERS; i++)
		assert_int_equal(w.mocks[i].fired, 1);
}

static void test_later_is_a_store(void **state)
{
	(void)state;
	begin(1, 1000, false);
	start(&w.mocks[0], 100);
	uint64_t slot_ms = w.mocks[0].timer.slot_ms;

	for (unsigned i = 0; i < 50; i++) {
		w.now_ms += 1;
		start(&w.mocks[0], 100 + i);
		assert_int_equal(w.mocks[0].timer.slot_ms, slot_ms);
	}
	start(&w.mocks[0], 5);
	assert_true(w.mocks[0].timer.slot_ms < slot_ms);
	sleep_until(w.now_ms + 20);
	assert_int_equal(w.mocks[0].fired, 1);
}

static void test_extremes(void **state)
{
	(void)state;
	begin(1, 3, false);
	start(&w.mocks[0], 0);
	start(&w.mocks[1], UINT64_MAX);
	sleep_until(11);
	assert_int_equal(w.mocks[0].fired, 1);
	/* A timer far away wakes the loop only when it passes from level to level. */
	w.mocks[1].deadline_ms = w.mocks[1].timer.deadline_ms;
	unsigned wakes = sleep_until(w.now_ms + RL_WHEEL_AHEAD_MAX_MS + 100);

	assert_int_equal(w.mocks[1].fired, 1);
	assert_true(wakes <= RL_WHEEL_LEVELS);
}

/* One idle time-out that is moved on with every event for an hour costs few wake-ups. */
static void test_few_wakes(void **state)
{
	(void)state;
	begin(1, 123456, false);
	unsigned wakes = 0;

	for (unsigned i = 0; i < 36000; i++) {
		start(&w.mocks[0], 120000);
		wakes += sleep_until(w.now_ms + 100);
	}
	assert_int_equal(w.fired, 0);
	assert_true(wakes < 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),           cmocka_unit_test(test_coarse_look),
		cmocka_unit_test(test_later_is_a_store), cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_few_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
