/* SPDX-License-Identifier: Apache-2.0 */
/* `relais check` and `relais config`: a configuration examined, and the documents that come from its table. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/command.h"
#include "app/doors.h"
#include "app/setup.h"
#include "config/config.h"
#include "observe/metrics.h"
#include "policy/snapshot.h"

#define DOCUMENT_MAX (4u << 20)

/* Beyond the file itself: certificates, addresses, trust stores, names, as serve would do it. */
static enum rl_err try_snapshot(struct rl_config **config, struct rl_buf *report)
{
	struct rl_live *live = NULL;
	struct rl_snapshot *snapshot = NULL;
	struct rl_door_locks locks;
	enum rl_err err = rl_door_locks_init(&locks, *config, report);

	rl_door_locks_fini(&locks);
	if (!err)
		err = rl_live_new(&live);
	if (!err)
		err = rl_snapshot_new(config, live, RL_STR("relais-check"), 1, report, &snapshot);
	rl_snapshot_unref(snapshot);
	rl_live_free(live);
	return err;
}

static void print_json(bool ok, rl_str report)
{
	struct rl_buf out;
	bool first = true;

	rl_buf_init(&out, DOCUMENT_MAX);
	rl_buf_printf(&out, "{\"ok\":%s,\"report\":[", ok ? "true" : "false");
	while (report.p) {
		rl_str line = rl_str_cut(&report, '\n');
		if (!line.n)
			continue;
		if (!first)
			rl_buf_byte(&out, ',');
		first = false;
		rl_buf_json(&out, line);
	}
	rl_buf_add(&out, RL_STR("]}\n"));
	fwrite(out.p, 1, out.n, stdout);
	rl_buf_fini(&out);
}

int rl_cmd_check(const struct rl_args *args)
{
	const char *path = args->n_words ? args->words[0] : "relais.yaml";
	bool json = args->values[0] != NULL;
	struct rl_config *config = NULL;
	struct rl_buf report;

	if (!args->n_words && access(path, F_OK) != 0) {
		fprintf(stderr,
			"relais: there is no %s here: name a file, or begin with 'relais config example > %s'\n", path,
			path);
		return RL_EXIT_USAGE;
	}
	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	enum rl_err err = rl_setup_load_config(path, &report, &config);
	size_t providers = config ? config->n_providers : 0, models = config ? config->n_models : 0;

	if (!err)
		err = try_snapshot(&config, &report);
	if (json) {
		print_json(!err, rl_buf_str(&report));
	} else {
		fprintf(err ? stderr : stdout, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
		if (!err)
			printf("%s: ok, %zu provider%s, %zu model%s\n", path, providers, providers == 1 ? "" : "s",
			       models, models == 1 ? "" : "s");
	}
	rl_config_free(config);
	rl_buf_fini(&report);
	return err ? RL_EXIT_USAGE : RL_EXIT_OK;
}

static const struct {
	const char *name;
	void (*write)(struct rl_buf *out);
} documents[] = {
	{"reference", rl_config_reference},
	{"schema", rl_config_json_schema},
	{"example", rl_config_example},
	{"metrics", rl_metrics_reference},
};

int rl_cmd_config(const struct rl_args *args)
{
	struct rl_buf out;

	for (size_t i = 0; args->n_words && i < sizeof documents / sizeof documents[0]; i++) {
		if (strcmp(args->words[0], documents[i].name) != 0)
			continue;
		rl_buf_init(&out, DOCUMENT_MAX);
		documents[i].write(&out);
		bool ok = rl_buf_ok(&out) && fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
		rl_buf_fini(&out);
		return ok ? RL_EXIT_OK : RL_EXIT_FAILED;
	}
	fprintf(stderr, "relais: 'config' takes one of: reference, schema, example, metrics\n");
	return RL_EXIT_USAGE;
}
