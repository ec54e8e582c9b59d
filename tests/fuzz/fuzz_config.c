/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as relais.yaml: no crash, no leak, bounded work, and an answer that
 * agrees with itself (settings only without errors). Variables are a few fixed
 * ones; no file is ever opened.
 */
#include <stdlib.h>

#include "config/config.h"
#include "config/schema.h"

static const char *variable(void *user, const char *name)
{
	(void)user;
	return name[0] == 'U' ? NULL : name[0] == 'E' ? "" : "file:value";
}

static enum rl_err read_secret(void *user, const char *path, struct rl_buf *out)
{
	(void)user;
	rl_buf_add(out, rl_str_of(path));
	return path[0] == 'x' ? RL_ERR_IO : RL_OK;
}

static const struct rl_schema_hooks hooks = {.variable = variable, .read_secret = read_secret};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const rl_str dialects[] = {RL_STR_INIT("openai"), RL_STR_INIT("anthropic")};
	static const rl_str strategies[] = {RL_STR_INIT("priority"), RL_STR_INIT("weighted")};
	static const struct rl_config_names names = {dialects, 2, strategies, 2};
	struct rl_config *config;
	struct rl_buf report;

	rl_buf_init(&report, 1 << 20);
	enum rl_err err = rl_config_parse_with(rl_str_make(data, size), "f", &names, &hooks, &report, &config);

	if ((err == RL_OK) != (config != NULL) || (err != RL_OK && !report.n))
		abort();
	/* What was accepted has all that the rooms above rely on. */
	for (size_t i = 0; config && i < config->n_models; i++)
		if (!config->models[i].n_targets || !config->models[i].strategy.n || !config->models[i].name.n)
			abort();
	if (config && (!config->server.n_listen || !config->server.keepalive_ms || !config->log.level.n))
		abort();
	for (size_t i = 0; config && i < config->n_providers; i++)
		if (!config->providers[i].timeouts.connect_ms)
			abort();
	rl_config_free(config);
	rl_buf_fini(&report);
	rl_arena_thread_fini();
	return 0;
}
