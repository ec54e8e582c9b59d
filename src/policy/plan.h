/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan is the ordered list of targets that a request may try, made once. The
 * first candidate is counted as in flight when the plan is made, under the same
 * lock that chose it, so that two workers never choose the same free target; the
 * others are counted when they are tried.
 */
#ifndef RL_POLICY_PLAN_H
#define RL_POLICY_PLAN_H

#include "policy/snapshot.h"

struct rl_candidate {
	const struct rl_target *target;
	bool claimed; /* counted in target->live->inflight */
	bool down;    /* here only because nothing better may be left */
};

struct rl_plan {
	struct rl_candidate *list;
	size_t n;
};

/*
 * Targets of `model` that can serve `operation`, best first, the ones that are down at the end. n == 0: none is
 * usable (each provider is off or lacks the operation). RL_ERR_NOMEM.
 */
enum rl_err rl_plan_make(const struct rl_model *model, enum rl_operation operation, uint64_t now_ms,
			 struct rl_arena *arena, struct rl_plan *out) RL_MUST_CHECK;
void rl_candidate_claim(struct rl_candidate *candidate);
void rl_candidate_release(struct rl_candidate *candidate);

#endif
