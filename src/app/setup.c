/* SPDX-License-Identifier: Apache-2.0 */
/* See setup.h. */
#include "app/setup.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/command.h"
#include "app/machine.h"
#include "base/log.h"
#include "dialect/dialect.h"
#include "policy/strategy.h"
#include "provider/discover.h"
#include "service/simulator.h"

#define DISCOVER_WAIT_MS 30u
#define NAMES_MAX 32

const struct rl_config_names *rl_setup_names(void)
{
	static rl_str dialects[NAMES_MAX], strategies[NAMES_MAX], quirks[RL_QUIRK_COUNT];
	static struct rl_config_names names = {.dialects = dialects, .strategies = strategies, .quirks = quirks};

	if (names.n_dialects)
		return &names;
	for (size_t i = 0; i < NAMES_MAX && rl_dialects[i]; i++)
		dialects[names.n_dialects++] = rl_dialects[i]->name;
	for (size_t i = 0; i < NAMES_MAX && rl_strategies[i].name.n; i++)
		strategies[names.n_strategies++] = rl_strategies[i].name;
	while (names.n_quirks < RL_QUIRK_COUNT) {
		quirks[names.n_quirks] = rl_str_of(rl_quirk_name((enum rl_quirk)names.n_quirks));
		names.n_quirks++;
	}
	return &names;
}

static void settle(struct rl_config *config)
{
	struct rl_cfg_server *server = &config->server;

	if (!server->memory_limit_bytes)
		server->memory_limit_bytes = rl_machine_memory_bytes();
	if (!server->body_memory_bytes)
		server->body_memory_bytes = server->memory_limit_bytes / 4;
}

void rl_setup_apply(const struct rl_config *config)
{
	char level[8];

	snprintf(level, sizeof level, "%.*s", RL_STR_ARG(config->log.level));
	if (rl_log_level_parse(level) >= 0)
		rl_log_set_level((enum rl_log_level)rl_log_level_parse(level));
}

enum rl_err rl_setup_load_config(const char *file, struct rl_buf *report, struct rl_config **out)
{
	enum rl_err err = rl_config_load(file, rl_setup_names(), report, out);

	if (err)
		return err;
	settle(*out);
	return RL_OK;
}

static int load_file(const char *path, struct rl_setup *out)
{
	struct rl_buf report;

	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	enum rl_err err = rl_setup_load_config(path, &report, &out->config);

	if (report.n)
		fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
	rl_buf_fini(&report);
	if (err)
		return RL_EXIT_USAGE;
	out->path = strdup(path);
	return out->path ? RL_EXIT_OK : RL_EXIT_FAILED;
}

/* Ports of our own default listeners, which discovery must not take for somebody else's. */
static size_t own_ports(const struct rl_config *config, uint16_t *out, size_t max)
{
	size_t n = 0;
	const struct rl_cfg_listen *lists[2] = {config->server.listen, config->server.admin};
	size_t counts[2] = {config->server.n_listen, config->server.n_admin};

	for (size_t l = 0; l < 2; l++)
		for (size_t i = 0; i < counts[l] && n < max; i++) {
			struct rl_addr addr;

			if (rl_addr_parse(lists[l][i].address, &addr) == RL_OK && addr.sa.ss_family == AF_INET)
				out[n++] = ntohs(((struct sockaddr_in *)&addr.sa)->sin_port);
		}
	return n;
}

static struct rl_cfg_provider *add_simulated(struct rl_setup *out, struct rl_loop *loop, size_t i)
{
	static const char *const names[] = {"sim-a", "sim-b"};
	struct rl_sim_options options = {.listen = RL_STR("127.0.0.1:0"), .name = rl_str_of(names[i]), .seed = i + 1};
	char text[RL_ADDR_TEXT_MAX], url[RL_ADDR_TEXT_MAX + 16];
	const char *why = "out of memory";

	/* Nobody compares accounts here: a short ledger keeps the process small. */
	if (rl_sim_scenario_parse(RL_STR("ledger_entries: 100\n"), "(built in)", NULL, &options.scenario) ||
	    rl_sim_new(loop, &options, &out->sims[i], &why)) {
		fprintf(stderr, "relais: cannot start a simulated provider: %s\n", why);
		return NULL;
	}
	rl_addr_text(rl_sim_addr(out->sims[i]), text);
	snprintf(url, sizeof url, "http://%s/v1", text);
	struct rl_cfg_provider *p = rl_discover_add(out->config, options.name, RL_STR("openai"), rl_str_of(url));

	if (!p)
		return NULL;
	p->simulated = p->local = true;
	p->models = RL_NEW(&out->config->arena, rl_str);
	if (!p->models)
		return NULL;
	p->models[0] = RL_STR("echo");
	p->n_models = 1;
	return p;
}

/* Two simulated providers, and the alias "echo" over both. */
static int simulate(struct rl_setup *out, struct rl_loop *loop)
{
	struct rl_config *config = out->config;

	for (size_t i = 0; i < 2; i++)
		if (!add_simulated(out, loop, i))
			return RL_EXIT_FAILED;
	struct rl_cfg_model *model = RL_NEW(&config->arena, struct rl_cfg_model);
	struct rl_cfg_target *targets = RL_NEW_ARRAY(&config->arena, struct rl_cfg_target, 2);

	if (!model || !targets)
		return RL_EXIT_FAILED;
	for (size_t i = 0; i < 2; i++)
		targets[i] = (struct rl_cfg_target){.provider = config->providers[i].name,
						    .model = RL_STR("echo"),
						    .weight = 1};
	rl_config_model_defaults(model);
	model->name = RL_STR("echo");
	model->strategy = RL_STR("round_robin");
	model->targets = targets;
	model->n_targets = 2;
	config->models = model;
	config->n_models = 1;
	return RL_EXIT_OK;
}

static int discover(struct rl_loop *loop, struct rl_setup *out)
{
	uint16_t ports[16];

	out->discovered = true;
	if (rl_config_defaults(&out->config) ||
	    rl_discover(out->config, ports, own_ports(out->config, ports, 16), DISCOVER_WAIT_MS)) {
		fprintf(stderr, "relais: out of memory\n");
		return RL_EXIT_FAILED;
	}
	settle(out->config);
	return out->config->n_providers ? RL_EXIT_OK : simulate(out, loop);
}

int rl_setup_load(const char *file, struct rl_loop *sim_loop, struct rl_setup *out)
{
	*out = (struct rl_setup){.path = NULL};
	if (!file && access("relais.yaml", F_OK) == 0)
		file = "relais.yaml";
	return file ? load_file(file, out) : discover(sim_loop, out);
}

void rl_setup_fini(struct rl_setup *setup)
{
	for (size_t i = 0; i < 2; i++)
		rl_sim_free(setup->sims[i]);
	rl_config_free(setup->config);
	free(setup->path);
}
