/* SPDX-License-Identifier: Apache-2.0 */
/* See banner.h. */
#include "app/banner.h"

#include <stdio.h>

#include "provider/catalog.h"
#include "provider/preset.h"
#include "version.h"

static const char *scheme(const struct rl_door *door)
{
	return door->tls ? "https" : "http";
}

/* Of a Unix socket, or NULL. */
static const char *path_of(const struct rl_door *door)
{
	const char *text = rl_listener_text(door->listener);

	return rl_str_starts(rl_str_of(text), RL_STR("unix:")) ? text + strlen("unix:") : NULL;
}

static void print_doors(const char *plane, const struct rl_doors *doors)
{
	for (size_t i = 0; i < doors->n; i++) {
		const struct rl_door *door = &doors->list[i];
		const char *path = path_of(door);

		printf("listening %s %s://%s\n", plane, path ? "unix" : scheme(door),
		       path ? path : rl_listener_text(door->listener));
	}
}

static void first_id(void *ctx, rl_str id)
{
	rl_str *first = ctx;

	if (!first->p)
		*first = id;
}

static void print_provider(const struct rl_provider *p, bool discovered)
{
	const struct rl_preset *preset = rl_preset_find(p->name);

	printf("provider %.*s", RL_STR_ARG(p->name));
	if (p->off.n)
		printf(" is off: %.*s", RL_STR_ARG(p->off));
	else if (p->settings->simulated)
		printf(" (simulated)");
	else if (p->settings->local)
		printf(" (local server)");
	else if (discovered && preset && preset->env)
		printf(" (%s)", preset->env);
	printf("\n");
}

/* The name that the line to try asks for: the first alias, or the first model of the first provider that is on. */
static bool pick_model(const struct rl_snapshot *s, char *out, size_t n)
{
	if (s->n_models) {
		snprintf(out, n, "%.*s", RL_STR_ARG(s->models[0].name));
		return true;
	}
	for (size_t i = 0; i < s->n_providers; i++) {
		rl_str id = {NULL, 0};

		if (s->providers[i].off.n)
			continue;
		rl_catalog_each(&s->providers[i], first_id, &id);
		snprintf(out, n, "%.*s/%.*s", RL_STR_ARG(s->providers[i].name),
			 RL_STR_ARG(id.p ? id : RL_STR("MODEL")));
		return true;
	}
	return false;
}

static bool all_simulated(const struct rl_snapshot *s)
{
	for (size_t i = 0; i < s->n_providers; i++)
		if (!s->providers[i].settings->simulated)
			return false;
	return s->n_providers > 0;
}

void rl_banner_print(const struct rl_snapshot *s, const struct rl_doors *data, const struct rl_doors *admin,
		     bool discovered)
{
	char model[512];

	printf("relais %s\n", RL_VERSION);
	print_doors("data", data);
	print_doors("admin", admin);
	for (size_t i = 0; i < s->n_providers; i++)
		print_provider(&s->providers[i], discovered);
	if (all_simulated(s) && discovered)
		printf("No provider key is set and no local model server answers, so relais serves two simulated\n"
		       "providers: their answers are made up. Set OPENAI_API_KEY (or another provider's) and start again.\n");
	if (data->n && pick_model(s, model, sizeof model)) {
		const struct rl_door *door = &data->list[0];
		const char *path = path_of(door);

		printf("try:\n  curl %s%s%s%s://%s/v1/chat/completions -H 'content-type: application/json' %s-d "
		       "'{\"model\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n",
		       path ? "--unix-socket '" : "", path ? path : "", path ? "' " : "", scheme(door),
		       path ? "localhost" : rl_listener_text(door->listener),
		       s->callers.open ? "" : "-H \"authorization: Bearer $KEY\" ", model);
	}
	fflush(stdout);
}
