/* SPDX-License-Identifier: Apache-2.0 */
/* See pulse.h. */
#include "life/pulse.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"

static void answer(struct rl_mail *mail, struct rl_loop *loop)
{
	struct rl_pulse_one *one = (struct rl_pulse_one *)(void *)((char *)mail - offsetof(struct rl_pulse_one, mail));

	(void)loop;
	atomic_store_explicit(&one->asked, false, memory_order_release);
}

/* Whether this loop has turned lately; asks it again if it has answered. */
static bool turns(struct rl_pulse_one *one, uint64_t period_ms)
{
	if (atomic_load_explicit(&one->asked, memory_order_acquire))
		return ++one->ticks * period_ms < RL_PULSE_STUCK_MS;
	one->ticks = 0;
	atomic_store_explicit(&one->asked, true, memory_order_relaxed);
	rl_loop_post(one->loop, &one->mail);
	return true;
}

static void on_tick(struct rl_timer *timer)
{
	struct rl_pulse *pulse = (struct rl_pulse *)(void *)((char *)timer - offsetof(struct rl_pulse, timer));
	bool all = true;

	for (size_t i = 0; i < pulse->n; i++) {
		if (turns(&pulse->ones[i], pulse->period_ms))
			continue;
		if (!pulse->stuck)
			RL_ERROR("watchdog", "%s has not turned for %u ms", rl_loop_name(pulse->ones[i].loop),
				 RL_PULSE_STUCK_MS);
		all = false;
	}
	if (all && pulse->stuck)
		RL_WARN("watchdog", "all loops turn again");
	pulse->stuck = !all;
	rl_timer_start(pulse->loop, timer, pulse->period_ms);
	pulse->on_beat(pulse->owner, all);
}

enum rl_err rl_pulse_start(struct rl_pulse *pulse, struct rl_loop *loop, uint64_t period_ms,
			   struct rl_loop *const *loops, size_t n, void (*on_beat)(void *owner, bool all_turn),
			   void *owner)
{
	assert(on_beat && period_ms > 0 && n <= RL_PULSE_MAX);
	*pulse = (struct rl_pulse){.loop = loop, .period_ms = period_ms, .n = n, .on_beat = on_beat, .owner = owner};
	pulse->ones = calloc(n ? n : 1, sizeof *pulse->ones);
	if (!pulse->ones)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		pulse->ones[i].mail.run = answer;
		pulse->ones[i].loop = loops[i];
	}
	rl_timer_init(&pulse->timer, on_tick);
	rl_timer_start(loop, &pulse->timer, period_ms);
	return RL_OK;
}

void rl_pulse_stop(struct rl_pulse *pulse)
{
	rl_timer_stop(&pulse->timer);
}

void rl_pulse_fini(struct rl_pulse *pulse)
{
	assert(!rl_timer_running(&pulse->timer));
	free(pulse->ones);
	pulse->ones = NULL;
}
