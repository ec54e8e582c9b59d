/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known about providers and targets beyond their settings, kept by
 * identity for the whole process, so that a reload changes none of it: origins
 * (and with them connection counts and pools), failures, load, positions of the
 * balancers, fetched model ids. Entries are made when a snapshot is built and
 * stay; the hot path only follows pointers.
 */
#ifndef RL_PROVIDER_LIVE_H
#define RL_PROVIDER_LIVE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "http/client.h"

/* One target (provider and model, or provider alone for models not configured). */
struct rl_target_live {
	_Atomic uint32_t inflight;
	_Atomic uint32_t fails;         /* within the current window */
	_Atomic uint64_t window_ms;     /* start of that window */
	_Atomic uint64_t down_until_ms; /* 0 = up; passed = one probe is due */
	_Atomic uint64_t attempts, failures;
};

/* A target's place in one alias: the balancer's memory. Guarded by the alias's lock. */
struct rl_slot_live {
	int64_t current_weight; /* smooth weighted round robin */
	uint32_t load_seen;     /* least connections: the load when the choice began */
};

/* One alias. */
struct rl_alias_live {
	pthread_mutex_t lock; /* constant-time sections, no I/O */
	uint64_t turn;        /* round robin */
};

struct rl_provider_live {
	pthread_rwlock_t lock; /* guards the ids */
	struct rl_arena arena;
	rl_str *ids; /* fetched model ids */
	size_t n_ids;
	uint64_t fetched_s;        /* Unix time; 0 = never */
	_Atomic uint64_t key_turn; /* which key is next */
};

struct rl_live;
enum rl_err rl_live_new(struct rl_live **out) RL_MUST_CHECK;
void rl_live_free(struct rl_live *live); /* accepts NULL */

/* Each returns the entry of that identity, made on first use; NULL without memory. Thread-safe. */
struct rl_provider_live *rl_live_provider(struct rl_live *live, rl_str name);
struct rl_target_live *rl_live_target(struct rl_live *live, rl_str provider, rl_str model);
struct rl_alias_live *rl_live_alias(struct rl_live *live, rl_str alias);
struct rl_slot_live *rl_live_slot(struct rl_live *live, rl_str alias, rl_str provider, rl_str model);
/* The origin for these settings with a reference for the caller; the same settings give the same origin. */
enum rl_err rl_live_origin(struct rl_live *live, const struct rl_origin_spec *spec, struct rl_origin **out,
			   const char **why) RL_MUST_CHECK;
/*
 * Forgets the origins that no call of rl_live_origin asked for since the last sweep: call it when a new snapshot
 * has taken over. Those still in use live on until their last reference.
 */
void rl_live_sweep(struct rl_live *live);

#endif
