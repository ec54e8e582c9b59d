/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scenario: how a simulated provider treats its requests. Immutable once parsed
 * and counted, since requests that began under one go on under it when another
 * takes its place. What a request meets is laid together from the layers in this
 * order, later ones winning: the scenario's own keys, its model's, the step of the
 * sequence, the fault that was drawn, the request's headers. Private to this room.
 */
#ifndef RL_SERVICE_SCENARIO_H
#define RL_SERVICE_SCENARIO_H

#include "base/secret.h"
#include "http/head.h"
#include "service/behaviour.h"
#include "service/simulator.h"

enum sim_accept { SIM_ACCEPT_OK = 0, SIM_ACCEPT_RESET, SIM_ACCEPT_CLOSE, SIM_ACCEPT_HANG };

struct rl_sim_scenario {
	struct sim_behaviour b; /* first: the rows of a behaviour count from here */
	uint64_t seed;
	struct sim_step *sequence;
	size_t n_sequence;
	struct sim_step *faults;
	size_t n_faults;
	struct sim_step *models;
	size_t n_models;
	bool strict_models;
	rl_str *accept;
	size_t n_accept;
	enum sim_accept *accepts; /* the same, as values */
	struct rl_secret require_key;
	rl_str ledger;
	uint32_t ledger_entries;

	bool plain; /* the scenario's own keys are all there is */
	unsigned refs;
	struct rl_arena arena;
};

/* As rl_sim_scenario_parse, without variables of the environment and without files: for text that came over HTTP. */
enum rl_err rl_sim_scenario_parse_closed(rl_str text, const char *name, struct rl_buf *report,
					 struct rl_sim_scenario **out) RL_MUST_CHECK;
struct rl_sim_scenario *rl_sim_scenario_ref(struct rl_sim_scenario *scenario);

/* The x-sim-* headers of a request, read. Counted. */
struct sim_overrides {
	struct sim_step step;
	unsigned refs;
	uint64_t text_hash;
	rl_str text; /* they themselves: the key of the cache */
	struct rl_arena arena;
};

#define SIM_HEADER_PREFIX "x-sim-"
/* Overrides seen lately: a client that scripts its requests sends the same headers again and again. */
#define SIM_OVERRIDES_KEPT 16u

struct sim_override_cache {
	struct sim_overrides *kept[SIM_OVERRIDES_KEPT];
	unsigned next;
	struct rl_buf text; /* scratch */
};

void rl_sim_overrides_init(struct sim_override_cache *cache);
void rl_sim_overrides_fini(struct sim_override_cache *cache);
/*
 * What the headers of a request to the simulator `name` state; *out is NULL when they state nothing, else the
 * caller's to unref. RL_ERR_SYNTAX: `report` says what is wrong with them.
 */
enum rl_err rl_sim_overrides_read(struct sim_override_cache *cache, const struct rl_headers *headers, rl_str name,
				  struct rl_buf *report, struct sim_overrides **out) RL_MUST_CHECK;
void rl_sim_overrides_unref(struct sim_overrides *overrides); /* accepts NULL */

/*
 * What request `number` (from 0) for `model` (empty: not known yet) meets. *rng is then where the request's
 * further draws come from. The result depends on nothing but scenario, seed, number, model and overrides.
 */
void rl_sim_scenario_resolve(const struct rl_sim_scenario *scenario, uint64_t seed, uint64_t number, rl_str model,
			     const struct sim_overrides *overrides, struct rl_rng *rng, struct sim_behaviour *out);
/* What happens to connection `number` (from 0). */
enum sim_accept rl_sim_scenario_accept(const struct rl_sim_scenario *scenario, uint64_t number);
/* By its name under `models`, or NULL. */
const struct sim_step *rl_sim_scenario_model(const struct rl_sim_scenario *scenario, rl_str model);

/* Rules of the table. */
const char *rl_sim_check_header_value(rl_str value);
const char *rl_sim_check_header(rl_str line);

#endif
