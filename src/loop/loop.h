/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop per thread: descriptors, timers, work for the end of the turn, mail
 * from other threads. Everything but rl_loop_post and rl_loop_stop is called on
 * the loop's own thread. A turn is: poll, callbacks, mail, tasks of the turn's end.
 *
 * Rules that everything above relies on:
 *  - an operation never completes inside the call that started it;
 *  - nothing is freed under a caller's feet: owners free in a task (rl_loop_defer);
 *  - timers are coarse (RL_TIMER_TICK_MS) and cheap to move: pushing a deadline
 *    out costs a store.
 */
#ifndef RL_LOOP_LOOP_H
#define RL_LOOP_LOOP_H

#include "base/err.h"
#include "base/slice.h"

struct rl_loop;

enum rl_err rl_loop_new(const char *name, struct rl_loop **out) RL_MUST_CHECK;
/* After rl_loop_run has returned; every poll, timer and query must be closed. Accepts NULL. */
void rl_loop_free(struct rl_loop *loop);
/* Runs until rl_loop_stop. */
void rl_loop_run(struct rl_loop *loop);
/* From any thread; takes effect at the end of the turn. */
void rl_loop_stop(struct rl_loop *loop);
const char *rl_loop_name(const struct rl_loop *loop);
/* Monotonic time at the start of this turn's callbacks, milliseconds. */
uint64_t rl_loop_now_ms(const struct rl_loop *loop);
/* Counts the polls: what happened at another number has been followed by a poll, whose events are told within this one. */
uint64_t rl_loop_turn(const struct rl_loop *loop);
/* A buffer of RL_LOOP_SCRATCH_BYTES shared by everything on this loop; valid until the next callback. For read(2). */
#define RL_LOOP_SCRATCH_BYTES 65536u
char *rl_loop_scratch(struct rl_loop *loop);

/* ---- the end of the turn ---- */

struct rl_task {
	void (*run)(struct rl_task *task);
	struct rl_task *next;
	bool queued;
};
/* Queues once (a queued task stays where it is). Tasks may queue tasks: those run in the same turn. */
void rl_loop_defer(struct rl_loop *loop, struct rl_task *task);
/* Takes a queued task out again; harmless if it is not queued. */
void rl_loop_undefer(struct rl_loop *loop, struct rl_task *task);

/* ---- mail between threads ---- */

struct rl_mail {
	void (*run)(struct rl_mail *mail, struct rl_loop *loop);
	struct rl_mail *next;
};
/* From any thread; lock-free; in order per sender; at most one wake-up per turn of the receiver. Mail is the receiver's from then on. */
void rl_loop_post(struct rl_loop *loop, struct rl_mail *mail);

/* ---- timers ---- */

#define RL_TIMER_TICK_MS 8u

struct rl_timer {
	void (*fire)(struct rl_timer *timer);
	struct rl_loop *loop; /* set while it is running */
	struct rl_timer *prev, *next;
	uint64_t deadline_ms;
	uint64_t slot_ms; /* where it stands in the wheel; <= deadline_ms */
};
void rl_timer_init(struct rl_timer *timer, void (*fire)(struct rl_timer *timer));
/* (Re)starts it `after_ms` from now; fires once, never early, late by at most two ticks. Moving a deadline later is O(1) and touches no list. */
void rl_timer_start(struct rl_loop *loop, struct rl_timer *timer, uint64_t after_ms);
/* Harmless if it is not running. */
void rl_timer_stop(struct rl_timer *timer);
static inline bool rl_timer_running(const struct rl_timer *timer)
{
	return timer->loop != NULL;
}

/* ---- descriptors ---- */

enum {
	RL_POLL_READ = 1,
	RL_POLL_WRITE = 2,
	RL_POLL_HANGUP = 4 /* the peer has shut down or reset; also seen while reading is off */
};

struct rl_poll; /* heap, owned by the loop until closed */
typedef void (*rl_poll_f)(void *owner, unsigned events);

/* fd is non-blocking and stays the caller's. Starts with no interest but HANGUP. */
enum rl_err rl_poll_new(struct rl_loop *loop, int fd, rl_poll_f on_event, void *owner,
			struct rl_poll **out) RL_MUST_CHECK;
/* Sets the interest (READ, WRITE; HANGUP is always on). No system call when it does not change. */
void rl_poll_want(struct rl_poll *poll, unsigned events);
/* Another owner and callback from now on: a connection that has been made changes hands. */
void rl_poll_hand_over(struct rl_poll *poll, rl_poll_f on_event, void *owner);
/* No callback after this; `fd` may be closed by the caller at once. Accepts NULL. */
void rl_poll_free(struct rl_poll *poll);

/* ---- what lives on a loop without an owner (a closing socket that lingers) ---- */

struct rl_guest {
	void (*leave)(struct rl_guest *guest); /* the loop is being freed: close everything, now */
	struct rl_guest *prev, *next;
};
/* False if there are too many already (RL_LOOP_GUESTS_MAX). */
#define RL_LOOP_GUESTS_MAX 4096u
bool rl_loop_guest_join(struct rl_loop *loop, struct rl_guest *guest) RL_MUST_CHECK;
void rl_loop_guest_part(struct rl_loop *loop, struct rl_guest *guest);

#endif
