/* SPDX-License-Identifier: Apache-2.0 */
/* Turns of a loop: tasks at the end, mail between threads, timers on the real clock, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <pthread.h>
#include <cmocka.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "loop/loop.h"

static struct rl_loop *new_loop(void)
{
	struct rl_loop *loop;

	assert_int_equal(rl_loop_new("test", &loop), RL_OK);
	return loop;
}

/* ---- tasks ---- */

static struct {
	struct rl_loop *loop;
	struct rl_task task[6];
	struct rl_timer timer;
	char order[16];
	unsigned n;
} d;

static void note(struct rl_task *task)
{
	d.order[d.n++] = (char)('a' + (task - d.task));
}

static void note_and_queue(struct rl_task *task)
{
	note(task);
	rl_loop_defer(d.loop, &d.task[4]);
	rl_loop_undefer(d.loop, &d.task[2]);
	rl_loop_defer(d.loop, task == &d.task[1] ? &d.task[5] : &d.task[1]);
}

static void note_and_stop(struct rl_task *task)
{
	note(task);
	rl_loop_stop(d.loop);
}

static void begin(void)
{
	memset(&d, 0, sizeof d);
	d.loop = new_loop();
	for (unsigned i = 0; i < 6; i++)
		d.task[i].run = note;
}

static void test_tasks_in_order(void **state)
{
	(void)state;
	begin();
	d.task[1].run = note_and_queue;
	d.task[5].run = note_and_stop;
	for (unsigned i = 0; i < 4; i++)
		rl_loop_defer(d.loop, &d.task[i]);
	rl_loop_defer(d.loop, &d.task[0]); /* queued: stays where it is */
	rl_loop_run(d.loop);
	assert_string_equal(d.order, "abdef");
	rl_loop_free(d.loop);
}

static void test_undefer_anywhere(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 4; i++)
		rl_loop_defer(d.loop, &d.task[i]);
	rl_loop_undefer(d.loop, &d.task[3]); /* the last */
	rl_loop_undefer(d.loop, &d.task[0]); /* the first */
	rl_loop_undefer(d.loop, &d.task[0]); /* harmless */
	d.task[5].run = note_and_stop;
	rl_loop_defer(d.loop, &d.task[5]);
	rl_loop_run(d.loop);
	assert_string_equal(d.order, "bcf");
	rl_loop_free(d.loop);
}

static void queue_from_timer(struct rl_timer *timer)
{
	(void)timer;
	d.task[0].run = note_and_stop;
	rl_loop_defer(d.loop, &d.task[0]);
}

/* The only timer queues the only task: the loop must not sleep on it. */
static void test_timer_queues_task(void **state)
{
	(void)state;
	begin();
	rl_timer_init(&d.timer, queue_from_timer);
	rl_timer_start(d.loop, &d.timer, 10);
	rl_loop_run(d.loop);
	assert_string_equal(d.order, "a");
	rl_loop_free(d.loop);
}

static void test_free_runs_what_is_left(void **state)
{
	(void)state;
	begin();
	rl_loop_defer(d.loop, &d.task[0]);
	rl_loop_free(d.loop);
	assert_string_equal(d.order, "a");
	rl_loop_free(NULL);
}

/* ---- the clock ---- */

static struct {
	struct rl_loop *loop;
	struct rl_timer timer[8];
	uint64_t began_us, due_ms[8], late_us[8];
	unsigned left;
} c;

static void on_time(struct rl_timer *timer)
{
	unsigned i = (unsigned)(timer - c.timer);
	uint64_t took_us = rl_clock_us() - c.began_us;

	assert_true(took_us >= c.due_ms[i] * 1000);
	c.late_us[i] = took_us - c.due_ms[i] * 1000;
	if (--c.left == 0)
		rl_loop_stop(c.loop);
}

static void test_never_early(void **state)
{
	(void)state;
	unsigned punctual = 0;

	c.loop = new_loop();
	c.began_us = rl_clock_us();
	c.left = 8;
	for (unsigned i = 0; i < 8; i++) {
		c.due_ms[i] = i * 17u;
		rl_timer_init(&c.timer[i], on_time);
		rl_timer_start(c.loop, &c.timer[i], c.due_ms[i]);
	}
	rl_loop_run(c.loop);
	for (unsigned i = 0; i < 8; i++)
		punctual += c.late_us[i] <= 2000u * RL_TIMER_TICK_MS;
	assert_true(punctual >= 4); /* a busy machine may delay some */
	rl_loop_free(c.loop);
}

/* ---- mail ---- */

#define SENDERS 4u
#define LETTERS 100000u

struct letter {
	struct rl_mail mail;
	unsigned sender, number;
};

static struct {
	struct rl_loop *loop;
	struct letter *letters[SENDERS];
	unsigned next[SENDERS];
	unsigned left;
} m;

static void on_letter(struct rl_mail *mail, struct rl_loop *loop)
{
	struct letter *letter = (struct letter *)mail;

	assert_ptr_equal(loop, m.loop);
	assert_int_equal(letter->number, m.next[letter->sender]++);
	letter->mail.next = NULL; /* the receiver's from now on */
	if (--m.left == 0)
		rl_loop_stop(loop);
}

static void *send_letters(void *arg)
{
	struct letter *letters = arg;

	for (unsigned i = 0; i < LETTERS; i++)
		rl_loop_post(m.loop, &letters[i].mail);
	return NULL;
}

static void test_mail(void **state)
{
	pthread_t thread[SENDERS];

	(void)state;
	memset(&m, 0, sizeof m);
	m.loop = new_loop();
	m.left = SENDERS * LETTERS;
	for (unsigned s = 0; s < SENDERS; s++) {
		m.letters[s] = calloc(LETTERS, sizeof *m.letters[s]);
		assert_non_null(m.letters[s]);
		for (unsigned i = 0; i < LETTERS; i++)
			m.letters[s][i] = (struct letter){.mail.run = on_letter, .sender = s, .number = i};
	}
	for (unsigned s = 0; s < SENDERS; s++)
		assert_int_equal(pthread_create(&thread[s], NULL, send_letters, m.letters[s]), 0);
	rl_loop_run(m.loop);
	for (unsigned s = 0; s < SENDERS; s++) {
		pthread_join(thread[s], NULL);
		assert_int_equal(m.next[s], LETTERS);
		free(m.letters[s]);
	}
	rl_loop_free(m.loop);
}

static void stop_by_mail(struct rl_mail *mail, struct rl_loop *loop)
{
	mail->next = NULL;
	rl_loop_stop(loop);
}

/* A loop with nothing to do sleeps: it uses no time of the processor. */
static void *post_later(void *arg)
{
	struct timespec nap = {.tv_nsec = 200000000};

	nanosleep(&nap, NULL);
	rl_loop_post(m.loop, arg);
	return NULL;
}

static void test_idle_sleeps(void **state)
{
	struct rl_mail mail = {.run = stop_by_mail};
	struct rusage before, after;
	pthread_t thread;

	(void)state;
	m.loop = new_loop();
	assert_string_equal(rl_loop_name(m.loop), "test");
	assert_int_equal(pthread_create(&thread, NULL, post_later, &mail), 0);
	getrusage(RUSAGE_THREAD, &before);
	rl_loop_run(m.loop);
	getrusage(RUSAGE_THREAD, &after);
	pthread_join(thread, NULL);
	assert_true(after.ru_nvcsw - before.ru_nvcsw <= 5);
	rl_loop_free(m.loop);
}

/* A stop that comes before the run ends it in its first turn; the next run is a new one. */
static void test_stop_before_run(void **state)
{
	(void)state;
	begin();
	rl_loop_stop(d.loop);
	rl_loop_run(d.loop);
	d.task[0].run = note_and_stop;
	rl_loop_defer(d.loop, &d.task[0]);
	rl_loop_run(d.loop);
	assert_string_equal(d.order, "a");
	rl_loop_free(d.loop);
}

static struct {
	struct rl_guest guest[3];
	struct rl_loop *loop;
	unsigned left;
} g;

static void on_leave(struct rl_guest *guest)
{
	rl_loop_guest_part(g.loop, guest);
	g.left--;
}

static void test_guests_leave(void **state)
{
	(void)state;
	g.loop = new_loop();
	g.left = 2;
	for (unsigned i = 0; i < 3; i++) {
		g.guest[i].leave = on_leave;
		assert_true(rl_loop_guest_join(g.loop, &g.guest[i]));
	}
	rl_loop_guest_part(g.loop, &g.guest[1]);
	rl_loop_free(g.loop);
	assert_int_equal(g.left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tasks_in_order),    cmocka_unit_test(test_undefer_anywhere),
		cmocka_unit_test(test_timer_queues_task), cmocka_unit_test(test_free_runs_what_is_left),
		cmocka_unit_test(test_never_early),       cmocka_unit_test(test_mail),
		cmocka_unit_test(test_idle_sleeps),       cmocka_unit_test(test_stop_before_run),
		cmocka_unit_test(test_guests_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
