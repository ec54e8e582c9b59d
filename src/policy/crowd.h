/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections each client address has open (FAULTS 35), over all workers:
 * the keeper counts them in, and whichever thread closes one counts it out. An
 * address that has none takes no memory, so the table is bounded by the connections
 * there are. One lock, held for a constant time, twice in a connection's life.
 */
#ifndef RL_POLICY_CROWD_H
#define RL_POLICY_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct rl_crowd;

enum rl_err rl_crowd_new(struct rl_crowd **out) RL_MUST_CHECK;
void rl_crowd_free(struct rl_crowd *crowd); /* accepts NULL; who is still in is forgotten */

/* One more of this address (rl_rate_id), unless it has `most` already or there is no memory: then false. */
bool rl_crowd_enter(struct rl_crowd *crowd, uint64_t id, uint32_t most);
/* One that has entered is gone. Any thread. */
void rl_crowd_leave(struct rl_crowd *crowd, uint64_t id);
/* Those in, and those that were not let in so far. Any thread. */
size_t rl_crowd_size(struct rl_crowd *crowd);
uint64_t rl_crowd_refused(struct rl_crowd *crowd);

#endif
