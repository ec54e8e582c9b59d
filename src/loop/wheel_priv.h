/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer wheel by itself, without a clock, so that tests can drive it through
 * years in a moment. Six levels of 64 slots: a timer stands in the level of the
 * highest 6-bit digit in which its tick differs from the present tick, so that
 * every occupied slot of a level is later than all of the levels below it
 * (hierarchical timing wheels, Varghese and Lauck 1987, scheme 7).
 *
 * Invariant: no occupied slot begins before `tick`.
 */
#ifndef RL_LOOP_WHEEL_PRIV_H
#define RL_LOOP_WHEEL_PRIV_H

#include "loop/loop.h"

#define RL_WHEEL_LEVELS 6u
#define RL_WHEEL_SLOTS 64u
/* No timer is set further ahead (about three years); a wheel lasts for 17. */
#define RL_WHEEL_AHEAD_MAX_MS ((uint64_t)100000000000)

struct rl_wheel {
	uint64_t base_ms;                   /* time of tick 0 */
	uint64_t tick;                      /* everything up to here has been fired */
	size_t n;                           /* timers running */
	bool advancing;                     /* inside rl_wheel_advance */
	uint64_t occupied[RL_WHEEL_LEVELS]; /* a bit for every slot that is not empty */
	struct rl_timer *slots[RL_WHEEL_LEVELS][RL_WHEEL_SLOTS];
};

void rl_wheel_init(struct rl_wheel *wheel, uint64_t now_ms);
/* (Re)starts it; `loop` only marks it as running. True if it was linked anew, so that the next wake-up may be earlier. */
bool rl_wheel_start(struct rl_wheel *wheel, struct rl_loop *loop, struct rl_timer *timer, uint64_t now_ms,
		    uint64_t after_ms);
void rl_wheel_stop(struct rl_wheel *wheel, struct rl_timer *timer);
/* Fires what is due. Callbacks may start and stop any timer. */
void rl_wheel_advance(struct rl_wheel *wheel, uint64_t now_ms);
/* When rl_wheel_advance has to be called next; UINT64_MAX if nothing is set. */
uint64_t rl_wheel_next_ms(const struct rl_wheel *wheel);

#endif
