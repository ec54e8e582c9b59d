/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated provider: answers as a provider would, and fails as one can, by a scenario or by the request's own
 * headers. Demos, tests, benchmarks and rehearsals stand on it; the gateway starts two inside itself when nothing is
 * configured. Many may run in one process; each one lives on one loop, and shares nothing with the others.
 *
 * Everything that is drawn by lot comes from the seed and the request's number, so that a run can be repeated.
 */
#ifndef RL_SERVICE_SIMULATOR_H
#define RL_SERVICE_SIMULATOR_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "loop/loop.h"

struct rl_addr;
struct rl_sim;
struct rl_sim_scenario;

/* Which certificate it shows; all but OFF make an own authority in memory, at start. */
enum rl_sim_tls {
	RL_SIM_TLS_OFF = 0,
	RL_SIM_TLS_GOOD,
	RL_SIM_TLS_EXPIRED,
	RL_SIM_TLS_WRONG_NAME,
	RL_SIM_TLS_SELF_SIGNED,
};

struct rl_sim_options {
	rl_str listen;                    /* "127.0.0.1:0", "[::1]:9000" */
	rl_str name;                      /* what x-sim-only names; shown in answers' x-sim-name */
	struct rl_sim_scenario *scenario; /* taken, also on failure; NULL: the defaults */
	uint64_t seed;                    /* 0: the scenario's own */
	enum rl_sim_tls tls;
};

/* Opens the listener on this loop and serves on it. On failure why names what was wrong (static text). */
enum rl_err rl_sim_new(struct rl_loop *loop, const struct rl_sim_options *options, struct rl_sim **out,
		       const char **why) RL_MUST_CHECK;
/* Where it listens, with the port that the system chose. */
const struct rl_addr *rl_sim_addr(const struct rl_sim *sim);
/* The certificate of the authority that clients must trust, in PEM; empty without TLS. */
rl_str rl_sim_ca_pem(const struct rl_sim *sim);
/* Closes the listener and all connections. */
void rl_sim_stop(struct rl_sim *sim);
/* After the loop has run out. Accepts NULL. */
void rl_sim_free(struct rl_sim *sim);

/*
 * Scenarios: YAML or JSON text. Every error of the text is written to report, one line each
 * (name:line:column: path: what); report may be NULL.
 */
enum rl_err rl_sim_scenario_load(const char *path, struct rl_buf *report, struct rl_sim_scenario **out) RL_MUST_CHECK;
enum rl_err rl_sim_scenario_parse(rl_str text, const char *name, struct rl_buf *report,
				  struct rl_sim_scenario **out) RL_MUST_CHECK;
/* Accepts NULL. */
void rl_sim_scenario_free(struct rl_sim_scenario *scenario);
/* The table of keys and headers, Markdown; docs/simulator.md holds exactly this. */
void rl_sim_scenario_reference(struct rl_buf *out);

/* "off", "good", "expired", "wrong-name", "self-signed". */
enum rl_err rl_sim_tls_parse(rl_str name, enum rl_sim_tls *out);

#endif
