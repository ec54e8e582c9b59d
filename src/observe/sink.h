/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sinks of the process in the order in which they see a record. wiring.c fills
 * the list before the workers start; it does not change while they run. The sinks
 * own themselves: whoever made one ends it, after the last record.
 */
#ifndef RL_OBSERVE_SINK_H
#define RL_OBSERVE_SINK_H

#include <assert.h>

#include "observe/record.h"

#define RL_SINKS_MAX 8u

struct rl_sinks {
	struct {
		const struct rl_sink *ops;
		void *self;
	} v[RL_SINKS_MAX];
	size_t n;
};

static inline void rl_sinks_add(struct rl_sinks *sinks, const struct rl_sink *ops, void *self)
{
	assert(sinks->n < RL_SINKS_MAX && ops->consume);
	sinks->v[sinks->n].ops = ops;
	sinks->v[sinks->n++].self = self;
}

/* On the worker whose request it was; once per request. */
static inline void rl_sinks_consume(const struct rl_sinks *sinks, unsigned worker, const struct rl_record *record)
{
	for (size_t i = 0; i < sinks->n; i++)
		sinks->v[i].ops->consume(sinks->v[i].self, worker, record);
}

#endif
