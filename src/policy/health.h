/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first health rule: a target that failed max_fails times in a row within
 * fail_timeout is down for fail_timeout; then one request is its probe. A probe
 * that tells nothing (its client left) is followed by another one fail_timeout
 * later. "Down" means last in the list, not excluded: when all are down, one is
 * tried all the same, and whoever gets an answer brings the target back.
 */
#ifndef RL_POLICY_HEALTH_H
#define RL_POLICY_HEALTH_H

#include "message/fault.h"
#include "policy/snapshot.h"

enum rl_health { RL_HEALTH_UP = 0, RL_HEALTH_DOWN, RL_HEALTH_PROBE_DUE };

/* Looks only. */
enum rl_health rl_health_state(const struct rl_target *target, uint64_t now_ms);
/* Takes the one probe that is due; false if another request was quicker. The target is down again until it is reported. */
bool rl_health_take_probe(const struct rl_target *target, uint64_t now_ms);
/* Whether a fault is the provider's own and counts against it. */
bool rl_health_counts(enum rl_fault_class fault);
/*
 * The target answers: told at the commit point, since a stream may run for hours behind it. True when this brought
 * the target back.
 */
bool rl_health_answers(const struct rl_target *target);
/*
 * The outcome of an attempt, once. Returns true when this report changed the state (to say it in the log): *up is the
 * new one. `answered`: rl_health_answers was told of this attempt, so that its success is old news: a target that went
 * down since stays down.
 */
bool rl_health_report(const struct rl_target *target, enum rl_fault_class fault, bool answered, uint64_t now_ms,
		      bool *up);

#endif
