/* SPDX-License-Identifier: Apache-2.0 */
/* See health.h. Atomics only: workers race here, and the worst that a race does is one probe more or less. */
#include "policy/health.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, v) atomic_store_explicit(&(field), (v), memory_order_relaxed)

enum rl_health rl_health_state(const struct rl_target *target, uint64_t now_ms)
{
	uint64_t until = LOAD(target->live->down_until_ms);

	if (!until)
		return RL_HEALTH_UP;
	return now_ms < until ? RL_HEALTH_DOWN : RL_HEALTH_PROBE_DUE;
}

bool rl_health_take_probe(const struct rl_target *target, uint64_t now_ms)
{
	uint64_t until = LOAD(target->live->down_until_ms);

	if (!until || now_ms < until)
		return false;
	return atomic_compare_exchange_strong(&target->live->down_until_ms, &until,
					      now_ms + target->provider->settings->fail_timeout_ms);
}

bool rl_health_counts(enum rl_fault_class fault)
{
	switch (fault) {
	case RL_FAULT_RATE_LIMIT:
	case RL_FAULT_QUOTA:
	case RL_FAULT_OVERLOADED:
	case RL_FAULT_SERVER_ERROR:
	case RL_FAULT_TIMEOUT:
	case RL_FAULT_CONNECT:
	case RL_FAULT_INVALID_RESPONSE:
	case RL_FAULT_AUTH:
		return true;
	case RL_FAULT_NONE:
	case RL_FAULT_CONTEXT_LENGTH:
	case RL_FAULT_CONTENT_FILTER:
	case RL_FAULT_NOT_FOUND:
	case RL_FAULT_BAD_REQUEST:
	case RL_FAULT_CANCELLED:
	case RL_FAULT_INTERNAL:
	case RL_FAULT_CLASS_COUNT:
		return false;
	}
	return false;
}

static bool report_failure(struct rl_target_live *live, const struct rl_cfg_provider *settings, uint64_t now_ms)
{
	if (!settings->max_fails)
		return false;
	uint64_t begin_ms = LOAD(live->window_ms);

	/* Workers' clocks differ by a turn: another one's window may begin after our now. */
	if (!begin_ms || (now_ms > begin_ms && now_ms - begin_ms > settings->fail_timeout_ms)) {
		STORE(live->window_ms, now_ms);
		STORE(live->fails, 0);
	}
	uint32_t fails = atomic_fetch_add_explicit(&live->fails, 1, memory_order_relaxed) + 1;
	bool was_down = LOAD(live->down_until_ms) != 0;

	if (!was_down && fails < settings->max_fails)
		return false;
	STORE(live->down_until_ms, now_ms + settings->fail_timeout_ms);
	return !was_down;
}

bool rl_health_answers(const struct rl_target *target)
{
	struct rl_target_live *live = target->live;

	if (LOAD(live->fails))
		STORE(live->fails, 0);
	return LOAD(live->down_until_ms) && atomic_exchange(&live->down_until_ms, 0) != 0;
}

bool rl_health_report(const struct rl_target *target, enum rl_fault_class fault, bool answered, uint64_t now_ms,
		      bool *up)
{
	struct rl_target_live *live = target->live;

	atomic_fetch_add_explicit(&live->attempts, 1, memory_order_relaxed);
	if (rl_health_counts(fault)) {
		atomic_fetch_add_explicit(&live->failures, 1, memory_order_relaxed);
		*up = false;
		return report_failure(live, target->provider->settings, now_ms);
	}
	/* An answer, even one that blames the client, shows that the target works; a client that left shows nothing. */
	if (answered || fault == RL_FAULT_CANCELLED || fault == RL_FAULT_INTERNAL)
		return false;
	*up = true;
	return rl_health_answers(target);
}
