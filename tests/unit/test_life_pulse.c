/* SPDX-License-Identifier: Apache-2.0 */
/* A loop that is stuck is noticed, and forgiven when it turns again; a whole process that slept accuses nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>

#include <cmocka.h>

#include "life/pulse.h"

#define WORKERS 2
#define PERIOD_MS 1000u /* of the pulse's own reckoning; the ticks are made faster below */

static struct {
	struct rl_loop *loop;
	struct rl_loop *workers[WORKERS];
	pthread_t threads[WORKERS];
	struct rl_pulse pulse;
	unsigned beats, bad;
	unsigned bad_to_see, good_to_see; /* the keeper's loop stops when both are reached */
	pthread_mutex_t jam;              /* what a stuck worker waits for */
	struct rl_mail jam_mail;
	_Atomic bool jammed;
} t;

static void *turn(void *loop)
{
	rl_loop_run(loop);
	return NULL;
}

static void get_stuck(struct rl_mail *mail, struct rl_loop *loop)
{
	(void)mail, (void)loop;
	pthread_mutex_lock(&t.jam);
	pthread_mutex_unlock(&t.jam);
	atomic_store(&t.jammed, false);
}

/* Ticks follow each other as fast as the wheel goes: what is counted are ticks of PERIOD_MS. */
static void on_beat(void *owner, bool all_turn)
{
	assert_ptr_equal(owner, &t);
	t.beats++;
	if (!all_turn)
		t.bad++;
	if (t.bad >= t.bad_to_see && t.beats - t.bad >= t.good_to_see) {
		rl_pulse_stop(&t.pulse);
		rl_loop_stop(t.loop);
		return;
	}
	rl_timer_start(t.loop, &t.pulse.timer, RL_TIMER_TICK_MS);
}

static int setup(void **state)
{
	(void)state;
	t.beats = t.bad = t.bad_to_see = t.good_to_see = 0;
	pthread_mutex_init(&t.jam, NULL);
	assert_int_equal(rl_loop_new("keeper", &t.loop), RL_OK);
	for (int i = 0; i < WORKERS; i++) {
		assert_int_equal(rl_loop_new("worker", &t.workers[i]), RL_OK);
		assert_int_equal(pthread_create(&t.threads[i], NULL, turn, t.workers[i]), 0);
	}
	assert_int_equal(rl_pulse_start(&t.pulse, t.loop, PERIOD_MS, t.workers, WORKERS, on_beat, &t), RL_OK);
	rl_timer_start(t.loop, &t.pulse.timer, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rl_pulse_stop(&t.pulse);
	for (int i = 0; i < WORKERS; i++) {
		rl_loop_stop(t.workers[i]);
		pthread_join(t.threads[i], NULL);
		rl_loop_free(t.workers[i]);
	}
	rl_pulse_fini(&t.pulse);
	rl_loop_free(t.loop);
	pthread_mutex_destroy(&t.jam);
	return 0;
}

static void test_all_turn(void **state)
{
	(void)state;
	t.good_to_see = 20;
	rl_loop_run(t.loop);
	assert_true(t.beats - t.bad >= 20);
}

static void test_stuck(void **state)
{
	(void)state;
	pthread_mutex_lock(&t.jam);
	atomic_store(&t.jammed, true);
	t.jam_mail.run = get_stuck;
	rl_loop_post(t.workers[1], &t.jam_mail);
	t.bad_to_see = 3;
	rl_loop_run(t.loop);
	assert_true(atomic_load(&t.jammed));
	assert_true(t.pulse.stuck);
	/* The beats before the first bad one: PERIOD_MS each, until RL_PULSE_STUCK_MS are full. */
	assert_in_range(t.beats - t.bad, RL_PULSE_STUCK_MS / PERIOD_MS, UINT32_MAX);
	pthread_mutex_unlock(&t.jam);
	t.good_to_see = t.beats - t.bad + 3;
	rl_timer_start(t.loop, &t.pulse.timer, 0);
	rl_loop_run(t.loop);
	assert_false(t.pulse.stuck);
}

/* Letters that nobody answers any more do no harm. */
static void test_ends_while_asked(void **state)
{
	(void)state;
	t.good_to_see = 1;
	rl_loop_run(t.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stuck, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_while_asked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
