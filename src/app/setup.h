/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From command line and environment to a config: a file, or what discovery finds,
 * or two simulated providers inside this process. Used by serve, ask and check.
 */
#ifndef RL_APP_SETUP_H
#define RL_APP_SETUP_H

#include "config/config.h"
#include "loop/loop.h"
#include "provider/live.h"

#define RL_SETUP_REPORT_MAX 65536u

struct rl_sim;

struct rl_setup {
	char *path; /* of the config file; NULL without one */
	struct rl_config *config;
	struct rl_sim *sims[2]; /* simulated providers, NULL when there are real ones */
	bool discovered;        /* no file: from the environment */
};

/* Dialects and strategies that names in a config may refer to. */
const struct rl_config_names *rl_setup_names(void);

/*
 * Loads `file`, or ./relais.yaml, or discovers. Simulated providers, if it comes to that, are served on `sim_loop`.
 * Errors and warnings are printed to standard error. Returns an exit status (RL_EXIT_OK, _FAILED, _USAGE).
 */
int rl_setup_load(const char *file, struct rl_loop *sim_loop, struct rl_setup *out);
/* rl_config_load, and the defaults that depend on the machine. Results as there. */
enum rl_err rl_setup_load_config(const char *file, struct rl_buf *report, struct rl_config **out) RL_MUST_CHECK;
/* The settings of the process itself (log level), when a configuration takes over. */
void rl_setup_apply(const struct rl_config *config);
void rl_setup_fini(struct rl_setup *setup); /* after the sims' loop has stopped */

#endif
