/* SPDX-License-Identifier: Apache-2.0 */
/* See plan.h. */
#include "policy/plan.h"

#include "policy/health.h"
#include "policy/strategy.h"

void rl_candidate_claim(struct rl_candidate *candidate)
{
	if (candidate->claimed)
		return;
	candidate->claimed = true;
	atomic_fetch_add_explicit(&candidate->target->live->inflight, 1, memory_order_relaxed);
}

void rl_candidate_release(struct rl_candidate *candidate)
{
	if (!candidate->claimed)
		return;
	candidate->claimed = false;
	atomic_fetch_sub_explicit(&candidate->target->live->inflight, 1, memory_order_relaxed);
}

static bool usable(const struct rl_target *target, enum rl_operation operation)
{
	return !target->provider->off.n && rl_provider_operation(target->provider, operation) != RL_OP_NONE;
}

/*
 * Sorts usable targets into those that are up and those that are down (from the
 * other end of the same array). A target whose probe is due goes to the very
 * front, once: this request tests it, with the others behind it as a net.
 */
static size_t sift(const struct rl_model *model, enum rl_operation operation, uint64_t now_ms,
		   const struct rl_target **up, const struct rl_target **down, size_t *n_down,
		   const struct rl_target **probe)
{
	size_t n = 0;

	for (size_t i = 0; i < model->n_targets; i++) {
		const struct rl_target *t = &model->targets[i];
		enum rl_health health = rl_health_state(t, now_ms);

		if (!usable(t, operation))
			continue;
		if (health == RL_HEALTH_UP)
			up[n++] = t;
		else if (health == RL_HEALTH_PROBE_DUE && !*probe && rl_health_take_probe(t, now_ms))
			*probe = t;
		else
			down[(*n_down)++] = t;
	}
	return n;
}

static void fill(struct rl_plan *plan, const struct rl_target *const *targets, size_t n, bool down)
{
	for (size_t i = 0; i < n; i++)
		plan->list[plan->n++] = (struct rl_candidate){.target = targets[i], .down = down};
}

enum rl_err rl_plan_make(const struct rl_model *model, enum rl_operation operation, uint64_t now_ms,
			 struct rl_arena *arena, struct rl_plan *out)
{
	const struct rl_target **up = rl_arena_alloc(arena, 2 * model->n_targets * sizeof *up);
	const struct rl_target **down = up ? up + model->n_targets : NULL, *probe = NULL;
	size_t n_down = 0;

	out->n = 0;
	out->list = RL_NEW_ARRAY(arena, struct rl_candidate, model->n_targets);
	if (!up || !out->list)
		return RL_ERR_NOMEM;
	size_t n_up = sift(model, operation, now_ms, up, down, &n_down, &probe);

	if (probe)
		fill(out, &probe, 1, true);
	if (!model->live) { /* one target, nothing to balance */
		fill(out, up, n_up, false);
		fill(out, down, n_down, true);
		if (out->n)
			rl_candidate_claim(&out->list[0]);
		return RL_OK;
	}
	pthread_mutex_lock(&model->live->lock);
	if (n_up)
		model->strategy->order(model->live, up, n_up);
	fill(out, up, n_up, false);
	fill(out, down, n_down, true);
	if (out->n)
		rl_candidate_claim(&out->list[0]);
	pthread_mutex_unlock(&model->live->lock);
	return RL_OK;
}
