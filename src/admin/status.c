/* SPDX-License-Identifier: Apache-2.0 */
/* The status document: what runs, from which config, which providers and targets it has and how they are. */
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "policy/health.h"
#include "policy/strategy.h"
#include "provider/catalog.h"

static void key(struct rl_buf *out, bool *first, const char *name)
{
	if (!*first)
		rl_buf_byte(out, ',');
	*first = false;
	rl_buf_json(out, rl_str_of(name));
	rl_buf_byte(out, ':');
}

static void put_text(struct rl_buf *out, bool *first, const char *name, rl_str value)
{
	key(out, first, name);
	rl_buf_json(out, value);
}

static void put_number(struct rl_buf *out, bool *first, const char *name, uint64_t value)
{
	key(out, first, name);
	rl_buf_u64(out, value);
}

static void put_bool(struct rl_buf *out, bool *first, const char *name, bool value)
{
	key(out, first, name);
	rl_buf_add(out, value ? RL_STR("true") : RL_STR("false"));
}

/* Between elements of a list. */
static void comma(struct rl_buf *out, size_t i)
{
	if (i)
		rl_buf_byte(out, ',');
}

static void count_id(void *ctx, rl_str id)
{
	(void)id;
	++*(size_t *)ctx;
}

static void put_provider(struct rl_buf *out, const struct rl_provider *p)
{
	bool first = true;
	size_t ids = 0;

	rl_catalog_each(p, count_id, &ids);
	rl_buf_byte(out, '{');
	put_text(out, &first, "name", p->name);
	put_text(out, &first, "dialect", p->dialect->name);
	put_bool(out, &first, "on", p->off.n == 0);
	if (p->off.n)
		put_text(out, &first, "off_because", p->off);
	put_bool(out, &first, "local", p->settings->local);
	put_bool(out, &first, "simulated", p->settings->simulated);
	put_number(out, &first, "connections", rl_origin_connections(p->origin));
	put_number(out, &first, "http2_connections", rl_origin_http2_connections(p->origin));
	put_number(out, &first, "keys", p->n_keys);
	put_number(out, &first, "models", ids);
	rl_buf_byte(out, '}');
}

static const char *health_name(enum rl_health health)
{
	return health == RL_HEALTH_UP ? "up" : health == RL_HEALTH_DOWN ? "down" : "probe_due";
}

static void put_target(struct rl_buf *out, const struct rl_target *t)
{
	bool first = true;
	uint64_t now_ms = rl_clock_us() / 1000;

	rl_buf_byte(out, '{');
	put_text(out, &first, "provider", t->provider->name);
	put_text(out, &first, "model", t->model);
	put_number(out, &first, "weight", t->weight);
	put_text(out, &first, "state",
		 t->provider->off.n ? RL_STR("off") : rl_str_of(health_name(rl_health_state(t, now_ms))));
	put_number(out, &first, "in_flight", atomic_load_explicit(&t->live->inflight, memory_order_relaxed));
	put_number(out, &first, "attempts", atomic_load_explicit(&t->live->attempts, memory_order_relaxed));
	put_number(out, &first, "failures", atomic_load_explicit(&t->live->failures, memory_order_relaxed));
	rl_buf_byte(out, '}');
}

static void put_model(struct rl_buf *out, const struct rl_model *m)
{
	bool first = true;

	rl_buf_byte(out, '{');
	put_text(out, &first, "name", m->name);
	put_text(out, &first, "strategy", m->strategy->name);
	key(out, &first, "targets");
	rl_buf_byte(out, '[');
	for (size_t i = 0; i < m->n_targets; i++) {
		comma(out, i);
		put_target(out, &m->targets[i]);
	}
	rl_buf_add(out, RL_STR("]}"));
}

static void put_workers(struct rl_buf *out, const struct rl_admin_view *view)
{
	rl_buf_byte(out, '[');
	for (size_t i = 0; i < view->n_workers; i++) {
		bool first = true;
		comma(out, i);
		rl_buf_byte(out, '{');
		put_number(out, &first, "connections", rl_worker_connections(view->workers[i]));
		put_number(out, &first, "requests", rl_worker_requests(view->workers[i]));
		rl_buf_byte(out, '}');
	}
	rl_buf_byte(out, ']');
}

static void put_lists(struct rl_buf *out, const struct rl_admin_view *view)
{
	const struct rl_snapshot *s = view->snapshot;

	rl_buf_add(out, RL_STR(",\"listeners\":["));
	for (size_t i = 0; i < view->n_listeners; i++) {
		comma(out, i);
		rl_buf_json(out, view->listeners[i]);
	}
	rl_buf_add(out, RL_STR("],\"workers\":"));
	put_workers(out, view);
	rl_buf_add(out, RL_STR(",\"providers\":["));
	for (size_t i = 0; i < s->n_providers; i++) {
		comma(out, i);
		put_provider(out, &s->providers[i]);
	}
	rl_buf_add(out, RL_STR("],\"models\":["));
	for (size_t i = 0; i < s->n_models; i++) {
		comma(out, i);
		put_model(out, &s->models[i]);
	}
	rl_buf_byte(out, ']');
}

void rl_status_write(const struct rl_admin_view *view, struct rl_buf *out)
{
	const struct rl_snapshot *s = view->snapshot;
	uint64_t now_s = rl_clock_wall_us() / 1000000u;
	bool first = true;

	rl_buf_byte(out, '{');
	put_text(out, &first, "version", view->version);
	put_number(out, &first, "pid", (uint64_t)getpid());
	put_number(out, &first, "started", view->gateway->started_s);
	put_number(out, &first, "uptime_s", now_s > view->gateway->started_s ? now_s - view->gateway->started_s : 0);
	put_bool(out, &first, "draining", atomic_load(&view->gateway->draining));
	put_text(out, &first, "config", s->config->path);
	put_number(out, &first, "config_generation", s->generation);
	put_number(out, &first, "config_loaded", s->loaded_s);
	put_number(out, &first, "reloads_ok", view->reloads_ok);
	put_number(out, &first, "reloads_rejected", view->reloads_rejected);
	put_number(out, &first, "clients", s->config->n_clients);
	put_number(out, &first, "request_body_bytes",
		   atomic_load_explicit(&view->gateway->body_bytes, memory_order_relaxed));
	put_number(out, &first, "access_log_dropped", view->access_log_dropped);
	put_lists(out, view);
	rl_buf_add(out, RL_STR("}\n"));
}
