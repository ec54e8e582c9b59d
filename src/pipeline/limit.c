/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LIMIT: whether there is memory for one more request, and what one client address
 * may do (policy/rate.h). It stands behind AUTH, so
 * that only requests count that could have been served, and before READ, so that a
 * refusal costs no body. The address is the client's own behind trusted proxies.
 *
 * Keys are guarded by a limit of their own, which AUTH asks: only what it refuses
 * with 401 is counted there, and an address that has used it up is refused before
 * its key is looked at. Otherwise the right guess would still be told from the wrong.
 */
#include "pipeline/request.h"

#include "base/clock.h"

static enum rl_move too_many(struct rl_request *rq, enum rl_rate_kind kind, const struct rl_cfg_rate *rule,
			     uint64_t wait_us)
{
	rl_str limit = rl_rate_kind_name(kind);
	int64_t wait_s = (int64_t)((wait_us + 999999u) / 1000000u);
	enum rl_move move = rl_request_fail(
		rq, RL_FAULT_RATE_LIMIT, 429, "rate_limit_exceeded", NULL,
		"Too many requests%s from this address: %u a second are allowed (server.rate_limit.%.*s). Try again in "
		"%lld s.",
		kind == RL_RATE_AUTH ? " with an unknown key" : "", (unsigned)rule->rate, RL_STR_ARG(limit),
		(long long)wait_s);

	rq->fault.retry_after_s = wait_s;
	return move;
}

static enum rl_move ask(struct rl_request *rq, enum rl_rate_kind kind, const struct rl_cfg_rate *rule,
			rl_rate_ask_f how)
{
	uint64_t wait_us;

	if (rl_rate_is_free(rq->x->peer, &rq->client_addr))
		return RL_MOVE_NEXT;
	wait_us = how(rq->worker->gateway->rate, kind, rule, rl_rate_id(&rq->client_addr), rl_clock_us());
	return wait_us ? too_many(rq, kind, rule, wait_us) : RL_MOVE_NEXT;
}

enum rl_move rl_limit_may_guess(struct rl_request *rq)
{
	return ask(rq, RL_RATE_AUTH, &rq->hold->snapshot->config->server.rate_auth, rl_rate_look);
}

enum rl_move rl_limit_guessed(struct rl_request *rq)
{
	return ask(rq, RL_RATE_AUTH, &rq->hold->snapshot->config->server.rate_auth, rl_rate_take);
}

/* What is under way goes on; what would only begin is better served by another gateway, or a little later. */
static enum rl_move no_room(struct rl_request *rq)
{
	enum rl_move move =
		rl_request_fail(rq, RL_FAULT_OVERLOADED, 503, "gateway_overloaded", NULL,
				"The gateway uses nearly as much memory as it may (server.memory_limit); try again.");

	rq->fault.retry_after_s = 1;
	return move;
}

enum rl_move limit_run(struct rl_request *rq)
{
	if (atomic_load_explicit(&rq->worker->gateway->memory_short, memory_order_relaxed))
		return no_room(rq);
	enum rl_move move =
		ask(rq, RL_RATE_INFERENCE, &rq->hold->snapshot->config->server.rate_inference, rl_rate_take);

	if (move != RL_MOVE_NEXT)
		return move;
	return rl_route_goes_on(rq->route) ? RL_MOVE_NEXT : rl_request_jump(rq, RL_STEP_PLAN);
}

enum rl_move limit_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	rl_request_stray(rq, in); /* LIMIT never waits */
}
