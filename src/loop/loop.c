/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A turn of the loop on top of libuv's: alarms, tasks (prepare), poll with its
 * callbacks, mail, tasks (check). Tasks run at both places, so that those queued by
 * timers are done before the loop sleeps: it never sleeps with a task queued.
 */
#include "loop/loop.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop/loop_priv.h"

/* ---- the end of the turn ---- */

void rl_loop_defer(struct rl_loop *loop, struct rl_task *task)
{
	assert(task->run);
	if (task->queued)
		return;
	task->queued = true;
	task->next = NULL;
	*loop->tasks_end = task;
	loop->tasks_end = &task->next;
}

void rl_loop_undefer(struct rl_loop *loop, struct rl_task *task)
{
	if (!task->queued)
		return;
	struct rl_task **at = &loop->tasks;

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	if (loop->tasks_end == &task->next)
		loop->tasks_end = at;
	task->queued = false;
}

static void run_tasks(struct rl_loop *loop)
{
	while (loop->tasks) {
		struct rl_task *task = loop->tasks;

		loop->tasks = task->next;
		if (!loop->tasks)
			loop->tasks_end = &loop->tasks;
		task->queued = false;
		task->run(task); /* may free the task */
	}
}

/* ---- mail ---- */

void rl_loop_post(struct rl_loop *loop, struct rl_mail *mail)
{
	struct rl_mail *head = atomic_load_explicit(&loop->mail, memory_order_relaxed);

	assert(mail->run);
	do {
		mail->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&loop->mail, &head, mail, memory_order_release,
							memory_order_relaxed));
	/* The one who finds the box empty wakes; the receiver empties it once a turn. */
	if (!head)
		uv_async_send(&loop->wake);
}

static void run_mail(struct rl_loop *loop)
{
	if (!atomic_load_explicit(&loop->mail, memory_order_relaxed))
		return;
	struct rl_mail *newest = atomic_exchange_explicit(&loop->mail, NULL, memory_order_acquire), *oldest = NULL;

	while (newest) {
		struct rl_mail *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct rl_mail *next = oldest->next;

		oldest->run(oldest, loop);
		oldest = next;
	}
}

/* ---- timers ---- */

static void on_alarm(uv_timer_t *alarm);

/* Sets the alarm for the wheel's next slot, if that is earlier than what it is set for. */
static void set_alarm(struct rl_loop *loop)
{
	uint64_t next_ms = rl_wheel_next_ms(&loop->wheel), now_ms = uv_now(&loop->uv);

	if (next_ms >= loop->alarm_ms)
		return;
	loop->alarm_ms = next_ms;
	uv_timer_start(&loop->alarm, on_alarm, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

static void on_alarm(uv_timer_t *alarm)
{
	struct rl_loop *loop = alarm->data;

	/* While timers fire, none of them needs to move the alarm. */
	loop->alarm_ms = 0;
	rl_wheel_advance(&loop->wheel, uv_now(&loop->uv));
	loop->alarm_ms = UINT64_MAX;
	set_alarm(loop);
}

void rl_timer_start(struct rl_loop *loop, struct rl_timer *timer, uint64_t after_ms)
{
	assert(!timer->loop || timer->loop == loop);
	if (!loop->running)
		uv_update_time(&loop->uv);
	if (rl_wheel_start(&loop->wheel, loop, timer, uv_now(&loop->uv), after_ms))
		set_alarm(loop);
}

void rl_timer_stop(struct rl_timer *timer)
{
	if (timer->loop)
		rl_wheel_stop(&timer->loop->wheel, timer);
}

/* ---- guests ---- */

bool rl_loop_guest_join(struct rl_loop *loop, struct rl_guest *guest)
{
	assert(guest->leave);
	if (loop->n_guests >= RL_LOOP_GUESTS_MAX)
		return false;
	loop->n_guests++;
	guest->prev = NULL;
	guest->next = loop->guests;
	if (guest->next)
		guest->next->prev = guest;
	loop->guests = guest;
	return true;
}

void rl_loop_guest_part(struct rl_loop *loop, struct rl_guest *guest)
{
	assert(loop->n_guests > 0);
	loop->n_guests--;
	if (guest->next)
		guest->next->prev = guest->prev;
	if (guest->prev)
		guest->prev->next = guest->next;
	else
		loop->guests = guest->next;
	guest->prev = guest->next = NULL;
}

/* ---- the turn ---- */

static void stop_if_asked(struct rl_loop *loop)
{
	if (atomic_load_explicit(&loop->stopping, memory_order_acquire))
		uv_stop(&loop->uv);
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct rl_loop *loop = prepare->data;

	run_tasks(loop);
	stop_if_asked(loop);
	loop->turn++;
}

static void on_check(uv_check_t *check)
{
	struct rl_loop *loop = check->data;

	run_mail(loop);
	run_tasks(loop);
	stop_if_asked(loop);
}

/* Only ends the sleep: mail is taken at its own place in the turn. */
static void on_wake(uv_async_t *wake)
{
	(void)wake;
}

enum rl_err rl_loop_new(const char *name, struct rl_loop **out)
{
	struct rl_loop *loop = calloc(1, sizeof *loop);
	char *scratch = malloc(RL_LOOP_SCRATCH_BYTES);

	*out = NULL;
	if (!loop || !scratch || uv_loop_init(&loop->uv))
		goto fail;
	if (uv_async_init(&loop->uv, &loop->wake, on_wake)) {
		uv_loop_close(&loop->uv);
		goto fail;
	}
	/* These cannot fail. */
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_check_init(&loop->uv, &loop->check);
	uv_timer_init(&loop->uv, &loop->alarm);
	loop->prepare.data = loop->check.data = loop->alarm.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_check_start(&loop->check, on_check);
	loop->scratch = scratch;
	loop->alarm_ms = UINT64_MAX;
	loop->tasks_end = &loop->tasks;
	rl_wheel_init(&loop->wheel, uv_now(&loop->uv));
	snprintf(loop->name, sizeof loop->name, "%s", name ? name : "loop");
	*out = loop;
	return RL_OK;
fail:
	free(scratch);
	free(loop);
	return RL_ERR_NOMEM;
}

/* What is left (mail nobody took, tasks that free things) is done, until it leaves no more. */
static void settle(struct rl_loop *loop)
{
	while (loop->tasks || loop->guests || atomic_load(&loop->mail)) {
		if (loop->guests)
			loop->guests->leave(loop->guests);
		run_mail(loop);
		run_tasks(loop);
	}
}

void rl_loop_free(struct rl_loop *loop)
{
	if (!loop)
		return;
	assert(!loop->running);
	settle(loop);
	rl_dns_free(loop->dns);
	settle(loop);
	assert(loop->wheel.n == 0 && loop->n_polls == 0);
	uv_close((uv_handle_t *)&loop->prepare, NULL);
	uv_close((uv_handle_t *)&loop->check, NULL);
	uv_close((uv_handle_t *)&loop->wake, NULL);
	uv_close((uv_handle_t *)&loop->alarm, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);

	int left = uv_loop_close(&loop->uv);

	assert(left == 0);
	(void)left;
	free(loop->scratch);
	free(loop);
}

void rl_loop_run(struct rl_loop *loop)
{
	assert(!loop->running);
	loop->running = true;
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	loop->running = false;
	atomic_store(&loop->stopping, false);
}

void rl_loop_stop(struct rl_loop *loop)
{
	atomic_store_explicit(&loop->stopping, true, memory_order_release);
	uv_async_send(&loop->wake);
}

const char *rl_loop_name(const struct rl_loop *loop)
{
	return loop->name;
}

uint64_t rl_loop_turn(const struct rl_loop *loop)
{
	return loop->turn;
}

uint64_t rl_loop_now_ms(const struct rl_loop *loop)
{
	return uv_now(&loop->uv);
}

char *rl_loop_scratch(struct rl_loop *loop)
{
	return loop->scratch;
}
