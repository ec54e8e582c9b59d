/* SPDX-License-Identifier: Apache-2.0 */
/* See strategy.h. The caller counts the first target as in flight while it still holds the lock (plan.c). */
#include "policy/strategy.h"

#include <assert.h>

static void order_priority(struct rl_alias_live *live, const struct rl_target **targets, size_t n)
{
	(void)live, (void)targets, (void)n; /* config order is the order */
}

static void rotate(const struct rl_target **targets, size_t n, size_t by)
{
	/* Three reversals: in place, O(n). */
	const size_t spans[3][2] = {{0, by}, {by, n}, {0, n}};

	for (int s = 0; s < 3; s++)
		for (size_t i = spans[s][0], j = spans[s][1]; i + 1 < j; i++) {
			const struct rl_target *t = targets[i];
			targets[i] = targets[--j];
			targets[j] = t;
		}
}

static void order_round_robin(struct rl_alias_live *live, const struct rl_target **targets, size_t n)
{
	assert(n > 0);
	rotate(targets, n, (size_t)(live->turn++ % n));
}

/* Stable insertion sort: the lists are short and mostly in order. */
static void sort(const struct rl_target **targets, size_t n,
		 bool (*before)(const struct rl_target *a, const struct rl_target *b))
{
	for (size_t i = 1; i < n; i++) {
		const struct rl_target *t = targets[i];
		size_t j = i;

		for (; j > 0 && before(t, targets[j - 1]); j--)
			targets[j] = targets[j - 1];
		targets[j] = t;
	}
}

static bool heavier(const struct rl_target *a, const struct rl_target *b)
{
	return a->slot->current_weight > b->slot->current_weight;
}

/*
 * Smooth weighted round robin: each target gains its weight, the richest is
 * chosen and pays the sum of all, so that shares are exact and turns are spread.
 */
static void order_weighted(struct rl_alias_live *live, const struct rl_target **targets, size_t n)
{
	int64_t sum = 0;

	(void)live;
	for (size_t i = 0; i < n; i++) {
		targets[i]->slot->current_weight += targets[i]->weight;
		sum += targets[i]->weight;
	}
	sort(targets, n, heavier);
	targets[0]->slot->current_weight -= sum;
}

static bool freer(const struct rl_target *a, const struct rl_target *b)
{
	return (uint64_t)a->slot->load_seen * b->weight < (uint64_t)b->slot->load_seen * a->weight;
}

/*
 * Fewest requests in flight for its weight; equals take turns. Loads fall without the lock while this runs, so each is
 * read once: sorting by what changes in between could put a loaded target first.
 */
static void order_least_connections(struct rl_alias_live *live, const struct rl_target **targets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		targets[i]->slot->load_seen = atomic_load_explicit(&targets[i]->live->inflight, memory_order_relaxed);
	order_round_robin(live, targets, n);
	sort(targets, n, freer);
}

const struct rl_strategy rl_strategies[] = {
	{RL_STR_INIT("priority"), RL_STR_INIT("The first target that is up; the others only when it fails."),
	 order_priority},
	{RL_STR_INIT("round_robin"), RL_STR_INIT("Each target in turn."), order_round_robin},
	{RL_STR_INIT("weighted"), RL_STR_INIT("In turn, in proportion to their weights (smooth)."), order_weighted},
	{RL_STR_INIT("least_connections"), RL_STR_INIT("The target with the fewest requests in flight for its weight."),
	 order_least_connections},
	{.name = {NULL, 0}},
};

const struct rl_strategy *rl_strategy_find(rl_str name)
{
	for (const struct rl_strategy *s = rl_strategies; s->name.n; s++)
		if (rl_str_eq(s->name, name))
			return s;
	return NULL;
}
