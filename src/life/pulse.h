/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether every loop of the process still turns (FAULTS 70: a stuck one is to be noticed). The keeper sends each worker's
 * loop a letter and counts its own ticks until the answer: ticks and not time, so that a process that was stopped as a
 * whole (SIGSTOP, a suspended machine) accuses nobody. No memory is taken per letter, and none is written while one
 * is still unanswered.
 */
#ifndef RL_LIFE_PULSE_H
#define RL_LIFE_PULSE_H

#include <stdatomic.h>

#include "loop/loop.h"

#define RL_PULSE_MAX 256u
#define RL_PULSE_STUCK_MS 5000u

struct rl_pulse_one {
	struct rl_mail mail; /* the loop's while `asked` */
	struct rl_loop *loop;
	_Atomic bool asked;
	unsigned ticks; /* since it was asked */
};

struct rl_pulse {
	struct rl_loop *loop; /* the keeper's */
	struct rl_timer timer;
	uint64_t period_ms;
	struct rl_pulse_one *ones;
	size_t n;
	bool stuck;
	/* Every period: whether all loops turn. Never from inside a call of the owner's. */
	void (*on_beat)(void *owner, bool all_turn);
	void *owner;
};

/* Asks every `period_ms`. The loops must live until rl_pulse_stop, and run or be freed before rl_pulse_fini. */
enum rl_err rl_pulse_start(struct rl_pulse *pulse, struct rl_loop *loop, uint64_t period_ms,
			   struct rl_loop *const *loops, size_t n, void (*on_beat)(void *owner, bool all_turn),
			   void *owner) RL_MUST_CHECK;
/* No further beats; harmless if it was never started. */
void rl_pulse_stop(struct rl_pulse *pulse);
/* Once the loops are gone, and their letters with them. */
void rl_pulse_fini(struct rl_pulse *pulse);

#endif
