/* SPDX-License-Identifier: Apache-2.0 */
/* `relais status`: the running gateway's status document, as a table for people or as it is. */
#include <stdio.h>
#include <unistd.h>

#include "app/command.h"
#include "app/fetch.h"
#include "app/setup.h"
#include "json/scan.h"

enum { OPT_CONFIG, OPT_ADMIN, OPT_JSON };

#define STATUS_BYTES_MAX (64u << 20)

/* A member as text: strings without quotes (and control bytes made harmless), others as they are. */
static rl_str text_of(rl_str object, const char *key, struct rl_arena *arena)
{
	rl_str name = rl_str_of(key), out;
	struct rl_json_span span;

	rl_json_find(object, &name, 1, &span);
	if (span.type == RL_JSON_NONE)
		return RL_STR("");
	rl_str value = rl_json_span_text(object, &span);

	if (span.type != RL_JSON_STRING)
		return value;
	if (rl_json_unescape(value, arena, &out))
		return RL_STR("?");
	char *copy = rl_arena_alloc(arena, out.n + 1);

	for (size_t i = 0; copy && i < out.n; i++)
		copy[i] = (unsigned char)out.p[i] < 0x20 || out.p[i] == 0x7f ? '?' : out.p[i];
	return copy ? rl_str_make(copy, out.n) : RL_STR("?");
}

static rl_str list_of(rl_str object, const char *key)
{
	rl_str name = rl_str_of(key);
	struct rl_json_span span;

	rl_json_find(object, &name, 1, &span);
	return span.type == RL_JSON_ARRAY ? rl_json_span_text(object, &span) : RL_STR("[]");
}

static const char *paint(const char *colour)
{
	return isatty(STDOUT_FILENO) ? colour : "";
}

static void print_targets(rl_str model, struct rl_arena *arena)
{
	struct rl_json_iter it;
	rl_str target;

	rl_json_iter_array(&it, list_of(model, "targets"));
	while (rl_json_iter_next(&it, &target)) {
		rl_str state = text_of(target, "state", arena);
		rl_str name = rl_arena_printf(arena, "%.*s/%.*s", RL_STR_ARG(text_of(target, "provider", arena)),
					      RL_STR_ARG(text_of(target, "model", arena)));
		bool up = rl_str_eq(state, RL_STR("up"));

		printf("    %-36.*s %s%-9.*s%s %9.*s %10.*s %10.*s\n", RL_STR_ARG(name),
		       paint(up ? "\033[32m" : "\033[31m"), RL_STR_ARG(state), paint("\033[0m"),
		       RL_STR_ARG(text_of(target, "in_flight", arena)), RL_STR_ARG(text_of(target, "attempts", arena)),
		       RL_STR_ARG(text_of(target, "failures", arena)));
	}
}

static void print_table(rl_str doc, struct rl_arena *arena)
{
	struct rl_json_iter it;
	rl_str item;

	printf("relais %.*s  pid %.*s  up %.*s s  config %.*s (generation %.*s)%s\n",
	       RL_STR_ARG(text_of(doc, "version", arena)), RL_STR_ARG(text_of(doc, "pid", arena)),
	       RL_STR_ARG(text_of(doc, "uptime_s", arena)), RL_STR_ARG(text_of(doc, "config", arena)),
	       RL_STR_ARG(text_of(doc, "config_generation", arena)),
	       rl_str_eq(text_of(doc, "draining", arena), RL_STR("true")) ? "  DRAINING" : "");
	printf("\n%s%-24s %-10s %-6s %11s %7s%s\n", paint("\033[1m"), "provider", "dialect", "state", "connections",
	       "models", paint("\033[0m"));
	rl_json_iter_array(&it, list_of(doc, "providers"));
	while (rl_json_iter_next(&it, &item)) {
		bool on = rl_str_eq(text_of(item, "on", arena), RL_STR("true"));
		printf("%-24.*s %-10.*s %-6s %11.*s %7.*s  %.*s\n", RL_STR_ARG(text_of(item, "name", arena)),
		       RL_STR_ARG(text_of(item, "dialect", arena)), on ? "on" : "off",
		       RL_STR_ARG(text_of(item, "connections", arena)), RL_STR_ARG(text_of(item, "models", arena)),
		       RL_STR_ARG(text_of(item, "off_because", arena)));
	}
	rl_json_iter_array(&it, list_of(doc, "models"));
	while (rl_json_iter_next(&it, &item)) {
		rl_str name = text_of(item, "name", arena), strategy = text_of(item, "strategy", arena);
		printf("\n%s%.*s%s (%.*s)%*s %-9s %9s %10s %10s\n", paint("\033[1m"), RL_STR_ARG(name),
		       paint("\033[0m"), RL_STR_ARG(strategy),
		       (int)(name.n + strategy.n < 36 ? 36 - name.n - strategy.n : 0), "", "state", "in flight",
		       "attempts", "failures");
		print_targets(item, arena);
	}
}

/* The first listener of the admin plane that this command can speak to, or NULL. */
static const struct rl_cfg_listen *plain_admin(const struct rl_cfg_server *server)
{
	for (size_t i = 0; i < server->n_admin; i++)
		if (!server->admin[i].tls.on && !server->admin[i].proxied)
			return &server->admin[i];
	return NULL;
}

/* The admin plane of a configuration, if one is there. */
static int find_admin(const struct rl_args *args, struct rl_config **config, rl_str *address, struct rl_secret *token)
{
	const char *path = args->values[OPT_CONFIG];
	struct rl_buf report;

	*address = RL_STR("127.0.0.1:8081");
	if (!path && access("relais.yaml", F_OK) == 0)
		path = "relais.yaml";
	if (path) {
		rl_buf_init(&report, RL_SETUP_REPORT_MAX);
		enum rl_err err = rl_setup_load_config(path, &report, config);
		if (err)
			fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
		rl_buf_fini(&report);
		if (err)
			return RL_EXIT_USAGE;
		if (!(*config)->server.n_admin && !args->values[OPT_ADMIN]) {
			fprintf(stderr, "relais: %s has no admin plane (server.admin is empty)\n", path);
			return RL_EXIT_USAGE;
		}
		const struct rl_cfg_listen *plain = plain_admin(&(*config)->server);

		if (!plain && !args->values[OPT_ADMIN]) {
			fprintf(stderr,
				"relais: this command asks without TLS, and every listener of server.admin in %s speaks "
				"it or awaits a PROXY head: add one on loopback or a Unix socket without\n",
				path);
			return RL_EXIT_USAGE;
		}
		if (plain)
			*address = plain->address;
		*token = (*config)->server.admin_token;
	}
	if (args->values[OPT_ADMIN])
		*address = rl_str_of(args->values[OPT_ADMIN]);
	return RL_EXIT_OK;
}

static int show(const struct rl_args *args, rl_str address, struct rl_secret token)
{
	struct rl_buf doc;
	struct rl_arena arena;
	uint16_t status = 0;
	int result = RL_EXIT_FAILED;

	rl_buf_init(&doc, STATUS_BYTES_MAX);
	rl_arena_init(&arena, STATUS_BYTES_MAX);
	enum rl_err err = rl_fetch(address, RL_STR("/status"), token, &status, &doc);
	rl_str text = rl_buf_str(&doc);

	if (err)
		fprintf(stderr, "relais: no gateway answers at %.*s: %s\n", RL_STR_ARG(address), rl_err_text(err));
	else if (status != 200)
		fprintf(stderr, "relais: the gateway at %.*s answers %u%s\n", RL_STR_ARG(address), status,
			status == 401 ? ": its admin token is needed (server.admin_token of --config)" : "");
	else if (rl_json_scan(text, NULL, 0, 0, NULL, NULL))
		fprintf(stderr, "relais: what answers at %.*s is not a relais gateway\n", RL_STR_ARG(address));
	else
		result = RL_EXIT_OK;
	if (!result && args->values[OPT_JSON])
		fwrite(text.p, 1, text.n, stdout);
	else if (!result)
		print_table(text, &arena);
	rl_arena_fini(&arena);
	rl_buf_fini(&doc);
	return result;
}

int rl_cmd_status(const struct rl_args *args)
{
	struct rl_config *config = NULL;
	struct rl_secret token = {{NULL, 0}};
	rl_str address;
	int status = find_admin(args, &config, &address, &token);

	if (!status)
		status = show(args, address, token);
	rl_config_free(config);
	return status;
}
