/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategies put the targets of an alias in order. Each is one row of the table in
 * strategy.c: a name, what it is for, and a function that runs under the alias's
 * lock, so that its choice is exact across workers.
 */
#ifndef RL_POLICY_STRATEGY_H
#define RL_POLICY_STRATEGY_H

#include "policy/snapshot.h"

struct rl_strategy {
	rl_str name;
	rl_str about; /* one sentence for the reference */
	/* Reorders `targets` (n >= 1, given in config order, all usable), best first. Constant-time per target, no I/O. */
	void (*order)(struct rl_alias_live *live, const struct rl_target **targets, size_t n);
};

/* All of them; ends with an entry whose name is empty. */
extern const struct rl_strategy rl_strategies[];
const struct rl_strategy *rl_strategy_find(rl_str name); /* or NULL */

#endif
