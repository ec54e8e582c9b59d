/* SPDX-License-Identifier: Apache-2.0 */
/* See snapshot.h. */
#include "policy/snapshot.h"

#include <stdlib.h>

#include "base/clock.h"
#include "catalog/file.h"
#include "policy/strategy.h"
#include "provider/catalog.h"

#define SNAPSHOT_BYTES_MAX (64u << 20)

static void complain(struct rl_snapshot *s, struct rl_buf *report, unsigned line, unsigned column, const char *kind,
		     rl_str name, const char *what)
{
	rl_buf_printf(report, "%.*s:%u:%u: %s.%.*s: %s\n", RL_STR_ARG(s->config->path), line, column, kind,
		      RL_STR_ARG(name), what);
}

static enum rl_err build_providers(struct rl_snapshot *s, const struct rl_provider_env *env, struct rl_buf *report)
{
	const struct rl_config *config = s->config;
	enum rl_err result = RL_OK;

	s->providers = RL_NEW_ARRAY(&s->arena, struct rl_provider, config->n_providers + 1);
	if (!s->providers)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < config->n_providers; i++) {
		const struct rl_cfg_provider *settings = &config->providers[i];
		const char *why = "";
		enum rl_err err = rl_provider_init(&s->providers[i], settings, env, &why);

		if (err) {
			complain(s, report, settings->line, settings->column, "providers", settings->name, why);
			result = err;
		}
		s->n_providers++;
	}
	return result;
}

/* The alias's own time-outs win over the provider's where they are given. */
static const struct rl_cfg_timeouts *merge_times(struct rl_snapshot *s, const struct rl_cfg_timeouts *base,
						 const struct rl_cfg_timeouts *over)
{
	struct rl_cfg_timeouts *out = RL_NEW(&s->arena, struct rl_cfg_timeouts);

	if (!out)
		return NULL;
	*out = (struct rl_cfg_timeouts){
		.connect_ms = over->connect_ms ? over->connect_ms : base->connect_ms,
		.send_ms = over->send_ms ? over->send_ms : base->send_ms,
		.first_byte_ms = over->first_byte_ms ? over->first_byte_ms : base->first_byte_ms,
		.first_byte_stream_ms =
			over->first_byte_stream_ms ? over->first_byte_stream_ms : base->first_byte_stream_ms,
		.idle_ms = over->idle_ms ? over->idle_ms : base->idle_ms,
		.deadline_ms = over->deadline_ms ? over->deadline_ms : base->deadline_ms,
	};
	return out;
}

static enum rl_err build_targets(struct rl_snapshot *s, struct rl_live *live, const struct rl_cfg_model *settings,
				 struct rl_model *model)
{
	model->targets = RL_NEW_ARRAY(&s->arena, struct rl_target, settings->n_targets ? settings->n_targets : 1);
	if (!model->targets)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < settings->n_targets; i++) {
		const struct rl_cfg_target *t = &settings->targets[i];
		const struct rl_provider *provider = rl_snapshot_provider(s, t->provider);

		if (!provider)
			return RL_ERR_NOT_FOUND;
		model->targets[i] = (struct rl_target){
			.provider = provider,
			.model = t->model,
			.weight = t->weight ? t->weight : 1,
			.live = rl_live_target(live, t->provider, t->model),
			.slot = rl_live_slot(live, settings->name, t->provider, t->model),
			.times = merge_times(s, &provider->settings->timeouts, &settings->timeouts),
		};
		if (!model->targets[i].live || !model->targets[i].slot || !model->targets[i].times)
			return RL_ERR_NOMEM;
		model->n_targets++;
	}
	return RL_OK;
}

static enum rl_err build_model(struct rl_snapshot *s, struct rl_live *live, const struct rl_cfg_model *settings,
			       struct rl_model *model, const char **why)
{
	*model = (struct rl_model){
		.name = settings->name,
		.strategy = rl_strategy_find(settings->strategy),
		.live = rl_live_alias(live, settings->name),
	};
	*why = "out of memory";
	if (!model->strategy) {
		*why = "unknown strategy";
		return RL_ERR_NOT_FOUND;
	}
	enum rl_err err = model->live ? build_targets(s, live, settings, model) : RL_ERR_NOMEM;

	if (err == RL_ERR_NOT_FOUND)
		*why = "a target names a provider that does not exist";
	return err ? err : rl_map_put(&s->models_by_name, model->name, model);
}

static enum rl_err build_models(struct rl_snapshot *s, struct rl_live *live, struct rl_buf *report)
{
	const struct rl_config *config = s->config;
	enum rl_err result = RL_OK;

	s->models = RL_NEW_ARRAY(&s->arena, struct rl_model, config->n_models + 1);
	if (!s->models)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < config->n_models; i++) {
		const struct rl_cfg_model *settings = &config->models[i];
		const char *why = "";
		enum rl_err err = build_model(s, live, settings, &s->models[s->n_models++], &why);

		if (err) {
			complain(s, report, settings->line, settings->column, "models", settings->name, why);
			result = err;
		}
	}
	return result;
}

/* What is known of models; the built-in facts where no file is named. */
static enum rl_err load_cards(struct rl_snapshot *s, struct rl_buf *report)
{
	const char *why = "out of memory";
	rl_str path = rl_arena_dup(&s->arena, s->config->catalog);
	enum rl_err err;

	s->cards = *rl_cards_builtin();
	if (!s->config->catalog.n)
		return RL_OK;
	if (!path.p || memchr(path.p, '\0', path.n)) {
		why = path.p ? "holds a NUL" : why;
		err = path.p ? RL_ERR_SYNTAX : RL_ERR_NOMEM;
	} else {
		err = rl_catalog_load(path.p, &s->arena, &s->cards, &why);
	}
	if (err)
		rl_buf_printf(report, "%.*s: catalog: %.*s: %s\n", RL_STR_ARG(s->config->path),
			      RL_STR_ARG(s->config->catalog), why);
	return err;
}

enum rl_err rl_snapshot_new(struct rl_config **take_config, struct rl_live *live, rl_str via, uint64_t generation,
			    struct rl_buf *report, struct rl_snapshot **out)
{
	struct rl_config *config = *take_config;
	struct rl_snapshot *s = calloc(1, sizeof *s);

	*take_config = NULL;
	if (!s) {
		rl_config_free(config);
		return RL_ERR_NOMEM;
	}
	s->config = config;
	s->generation = generation;
	s->loaded_s = rl_clock_wall_us() / 1000000u;
	atomic_init(&s->refs, 1);
	rl_arena_init(&s->arena, SNAPSHOT_BYTES_MAX);
	rl_map_init(&s->models_by_name);

	struct rl_provider_env env = {.arena = &s->arena, .live = live, .via = via, .cards = &s->cards};
	enum rl_err err = load_cards(s, report);

	if (!err)
		err = build_providers(s, &env, report);

	if (!err)
		err = build_models(s, live, report);
	rl_callers_init(&s->callers, config);
	if (!err)
		err = rl_trusted_init(&s->trusted, config->server.trusted_proxies, config->server.n_trusted_proxies,
				      &s->arena);
	if (err) {
		rl_snapshot_unref(s);
		return err;
	}
	*out = s;
	return RL_OK;
}

struct rl_snapshot *rl_snapshot_ref(struct rl_snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
	return snapshot;
}

void rl_snapshot_unref(struct rl_snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < snapshot->n_providers; i++)
		rl_provider_fini(&snapshot->providers[i]);
	rl_map_fini(&snapshot->models_by_name);
	rl_arena_fini(&snapshot->arena);
	rl_config_free(snapshot->config);
	free(snapshot);
}

const struct rl_provider *rl_snapshot_provider(const struct rl_snapshot *snapshot, rl_str name)
{
	for (size_t i = 0; i < snapshot->n_providers; i++)
		if (rl_str_eq(snapshot->providers[i].name, name))
			return &snapshot->providers[i];
	return NULL;
}

enum rl_err rl_snapshot_pin(const struct rl_provider *provider, rl_str name, rl_str id, struct rl_arena *arena,
			    const struct rl_model **out)
{
	struct rl_model *model = RL_NEW(arena, struct rl_model);
	struct rl_target *target = RL_NEW(arena, struct rl_target);

	if (!model || !target)
		return RL_ERR_NOMEM;
	*target = (struct rl_target){
		.provider = provider,
		.model = id,
		.weight = 1,
		.live = provider->live_any,
		.times = &provider->settings->timeouts,
	};
	*model = (struct rl_model){.name = name, .targets = target, .n_targets = 1};
	*out = model;
	return RL_OK;
}

enum rl_err rl_snapshot_resolve(const struct rl_snapshot *snapshot, rl_str name, struct rl_arena *arena,
				const struct rl_model **out)
{
	const struct rl_model *alias = rl_map_get(&snapshot->models_by_name, name);

	if (alias) {
		*out = alias;
		return RL_OK;
	}
	size_t slash = rl_str_find(name, '/');

	if (slash != SIZE_MAX && slash + 1 < name.n) {
		const struct rl_provider *provider = rl_snapshot_provider(snapshot, rl_str_sub(name, 0, slash));
		if (provider)
			return rl_snapshot_pin(provider, name, rl_str_sub(name, slash + 1, SIZE_MAX), arena, out);
	}
	for (size_t i = 0; i < snapshot->n_providers; i++)
		if (!snapshot->providers[i].off.n && rl_catalog_has(&snapshot->providers[i], name))
			return rl_snapshot_pin(&snapshot->providers[i], name, name, arena, out);
	return RL_ERR_NOT_FOUND;
}

struct prefixed {
	const struct rl_provider *provider;
	void (*each)(void *ctx, rl_str id, rl_str owned_by);
	void *ctx;
};

static void each_prefixed(void *ctx, rl_str id)
{
	struct prefixed *p = ctx;
	char name[512];
	size_t n = p->provider->name.n + 1 + id.n;

	if (n > sizeof name)
		return;
	memcpy(name, p->provider->name.p, p->provider->name.n);
	name[p->provider->name.n] = '/';
	memcpy(name + p->provider->name.n + 1, id.p, id.n);
	p->each(p->ctx, rl_str_make(name, n), p->provider->name);
}

void rl_snapshot_each_model(const struct rl_snapshot *snapshot, void (*each)(void *ctx, rl_str id, rl_str owned_by),
			    void *ctx)
{
	for (size_t i = 0; i < snapshot->n_models; i++)
		each(ctx, snapshot->models[i].name, RL_STR("relais"));
	for (size_t i = 0; i < snapshot->n_providers; i++) {
		struct prefixed p = {&snapshot->providers[i], each, ctx};

		if (!p.provider->off.n)
			rl_catalog_each(p.provider, each_prefixed, &p);
	}
}
