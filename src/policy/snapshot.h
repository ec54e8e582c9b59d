/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings made ready for use: providers, aliases with their targets, callers. A
 * snapshot is immutable, shared by all workers and counted; a reload builds a new
 * one whole and only then lets it take over, so that a failing reload changes
 * nothing. What must outlive it (load, failures, pools) is in provider/live.h.
 */
#ifndef RL_POLICY_SNAPSHOT_H
#define RL_POLICY_SNAPSHOT_H

#include "policy/caller.h"
#include "policy/trusted.h"
#include "provider/provider.h"

struct rl_strategy;

struct rl_target {
	const struct rl_provider *provider;
	rl_str model; /* the provider's own name for it */
	uint32_t weight;
	struct rl_target_live *live;
	struct rl_slot_live *slot;           /* NULL for a target that no alias names */
	const struct rl_cfg_timeouts *times; /* of provider and alias, merged */
};

struct rl_model {
	rl_str name; /* the alias, or the name as asked */
	const struct rl_strategy *strategy;
	struct rl_target *targets;
	size_t n_targets;
	struct rl_alias_live *live; /* NULL: a single target, nothing to balance */
};

struct rl_snapshot {
	_Atomic uint32_t refs;
	struct rl_config *config;
	struct rl_arena arena;
	struct rl_provider *providers; /* in config order */
	size_t n_providers;
	struct rl_model *models;
	size_t n_models;
	struct rl_map models_by_name;
	struct rl_callers callers;
	struct rl_trusted trusted;
	struct rl_cards cards; /* what is known of models: the file of `catalog:` over the built-in ones */
	uint64_t generation;   /* 1 for the first, then counted up by each reload */
	uint64_t loaded_s;     /* Unix time */
};

/*
 * Takes the config (frees it on failure too). `report` gets one line for each thing that is wrong, in the form of the
 * loader's. One reference to the caller.
 */
enum rl_err rl_snapshot_new(struct rl_config **take_config, struct rl_live *live, rl_str via, uint64_t generation,
			    struct rl_buf *report, struct rl_snapshot **out) RL_MUST_CHECK;
struct rl_snapshot *rl_snapshot_ref(struct rl_snapshot *snapshot);
void rl_snapshot_unref(struct rl_snapshot *snapshot); /* accepts NULL */

/* By its name in the config, or NULL. */
const struct rl_provider *rl_snapshot_provider(const struct rl_snapshot *snapshot, rl_str name);

/*
 * What a client means by `name` (docs/architecture.md, "Model names"): an alias; "provider/rest"; a bare id that a
 * provider's catalogue lists, in config order. *out is the alias, or made in `arena` for the two others.
 * RL_ERR_NOT_FOUND, RL_ERR_NOMEM.
 */
enum rl_err rl_snapshot_resolve(const struct rl_snapshot *snapshot, rl_str name, struct rl_arena *arena,
				const struct rl_model **out) RL_MUST_CHECK;

/*
 * A model of one target that no alias names, in `arena`. `id` is the provider's own name for it, or empty for a request
 * that names no model. RL_ERR_NOMEM.
 */
enum rl_err rl_snapshot_pin(const struct rl_provider *provider, rl_str name, rl_str id, struct rl_arena *arena,
			    const struct rl_model **out) RL_MUST_CHECK;

/* Every name that can be asked for: aliases, then provider/id. Calls each(ctx, id, owned_by). */
void rl_snapshot_each_model(const struct rl_snapshot *snapshot, void (*each)(void *ctx, rl_str id, rl_str owned_by),
			    void *ctx);

#endif
