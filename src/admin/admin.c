/* SPDX-License-Identifier: Apache-2.0 */
/* See admin.h. Its routes are one table. */
#include "admin/admin.h"

#include <stdlib.h>

#include "base/clock.h"

#include "policy/cors.h"
#include "policy/origin_rule.h"

#define ANSWER_BYTES_MAX RL_METRICS_TEXT_MAX
#define REPORT_BYTES_MAX 65536u
#define BODY_BYTES_MAX 65536u /* of a request's body, which no route needs */

struct rl_admin {
	struct rl_server *server;
	const struct rl_admin_hooks *hooks;
	void *self;
};

struct answer {
	uint16_t status;
	rl_str content_type;
	rl_str allow;
	uint64_t retry_after_s; /* 0: not said */
	struct rl_buf body;
};

/* ---- what the routes do ---- */

static void text(struct answer *a, uint16_t status, const char *words)
{
	a->status = status;
	a->content_type = RL_STR("text/plain; charset=utf-8");
	rl_buf_reset(&a->body);
	rl_buf_add(&a->body, rl_str_of(words));
}

static void get_health(struct rl_admin *admin, struct answer *a)
{
	(void)admin;
	text(a, 200, "OK\n");
}

static void get_ready(struct rl_admin *admin, struct answer *a)
{
	bool draining = atomic_load(&admin->hooks->view(admin->self)->gateway->draining);

	text(a, draining ? 503 : 200, draining ? "draining\n" : "ready\n");
}

static void get_metrics(struct rl_admin *admin, struct answer *a)
{
	a->content_type = RL_STR(RL_METRIC_CONTENT_TYPE);
	rl_metrics_write(admin->hooks->view(admin->self)->metrics, &a->body);
}

static void get_status(struct rl_admin *admin, struct answer *a)
{
	rl_status_write(admin->hooks->view(admin->self), &a->body);
}

/* {"reloaded": true|false, "report": [lines]} */
static void post_reload(struct rl_admin *admin, struct answer *a)
{
	struct rl_buf report;

	rl_buf_init(&report, REPORT_BYTES_MAX);
	enum rl_err err = admin->hooks->reload(admin->self, &report);
	rl_str rest = rl_buf_str(&report);
	bool first = true;

	a->status = err ? 422 : 200;
	rl_buf_printf(&a->body, "{\"reloaded\":%s,\"report\":[", err ? "false" : "true");
	while (rest.p) {
		rl_str line = rl_str_cut(&rest, '\n');
		if (!line.n)
			continue;
		if (!first)
			rl_buf_byte(&a->body, ',');
		first = false;
		rl_buf_json(&a->body, line);
	}
	rl_buf_add(&a->body, RL_STR("]}\n"));
	rl_buf_fini(&report);
}

static const struct {
	enum rl_method method;
	rl_str path;
	bool open; /* needs no token */
	void (*run)(struct rl_admin *admin, struct answer *a);
} routes[] = {
	{RL_METHOD_GET, RL_STR_INIT("/health"), true, get_health},
	{RL_METHOD_GET, RL_STR_INIT("/ready"), true, get_ready},
	{RL_METHOD_GET, RL_STR_INIT("/metrics"), false, get_metrics},
	{RL_METHOD_GET, RL_STR_INIT("/status"), false, get_status},
	{RL_METHOD_POST, RL_STR_INIT("/reload"), false, post_reload},
};

/* ---- serving ---- */

static void error(struct answer *a, uint16_t status, const char *words)
{
	a->status = status;
	a->content_type = RL_STR("application/json");
	rl_buf_reset(&a->body);
	rl_buf_add(&a->body, RL_STR("{\"error\":{\"message\":"));
	rl_buf_json(&a->body, rl_str_of(words));
	rl_buf_add(&a->body, RL_STR("}}\n"));
}

/* As client keys (pipeline/limit.c), from the same bucket. True: the address has guessed too often. */
static bool guesses(struct rl_admin *admin, const struct rl_exchange *x, rl_rate_ask_f ask, struct answer *a)
{
	const struct rl_admin_view *view = admin->hooks->view(admin->self);
	const struct rl_cfg_rate *rule = &view->snapshot->config->server.rate_auth;
	struct rl_addr client = rl_trusted_client(&view->snapshot->trusted, x->peer, &x->head.headers);

	if (rl_rate_is_free(x->peer, &client))
		return false;
	uint64_t wait_us = ask(view->gateway->rate, RL_RATE_AUTH, rule, rl_rate_id(&client), rl_clock_us());

	a->retry_after_s = (wait_us + 999999u) / 1000000u;
	return wait_us > 0;
}

/* The token where one is configured; without one the listener is on loopback, and web pages are refused. */
static const char *refuses(struct rl_admin *admin, const struct rl_exchange *x, struct answer *a)
{
	static const char too_often[] = "Too many requests without the admin token from this address.";
	struct rl_secret token = admin->hooks->view(admin->self)->snapshot->config->server.admin_token;
	rl_str presented = rl_caller_bearer(rl_headers_value(&x->head.headers, RL_H_AUTHORIZATION));

	a->status = 403;
	if (!rl_secret_is_set(token))
		return rl_open_listener_refuses(&x->head, x->peer->sa.ss_family != AF_UNIX, false);
	a->status = 429;
	if (guesses(admin, x, rl_rate_look, a))
		return too_often;
	if (rl_caller_secret_is(token, presented))
		return NULL;
	if (guesses(admin, x, rl_rate_take, a))
		return too_often;
	a->status = 401;
	return "The admin token is needed: send it as 'Authorization: Bearer TOKEN'.";
}

static void answer_request(struct rl_admin *admin, const struct rl_exchange *x, struct answer *a)
{
	const struct rl_request_head *head = &x->head;
	enum rl_method method = head->method == RL_METHOD_HEAD ? RL_METHOD_GET : head->method;
	const char *refusal;

	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (!rl_str_eq(routes[i].path, head->path))
			continue;
		if (!routes[i].open && (refusal = refuses(admin, x, a))) {
			error(a, a->status, refusal);
			return;
		}
		if (routes[i].method != method) {
			a->allow = rl_method_name(routes[i].method);
			error(a, 405, "This path takes another method; see the Allow header.");
			return;
		}
		a->status = 200;
		a->content_type = RL_STR("application/json");
		routes[i].run(admin, a);
		if (!rl_buf_ok(&a->body))
			error(a, 503, "The answer does not fit into memory.");
		return;
	}
	error(a, 404, "Unknown path. The admin plane has GET /health, /ready, /metrics, /status and POST /reload.");
}

static enum rl_err add(struct rl_exchange *x, struct rl_response_head *head, rl_str name, rl_str value)
{
	return rl_headers_add(&head->headers, &x->arena, RL_H_OTHER, name, value);
}

static void send_answer(struct rl_exchange *x, const struct answer *a)
{
	struct rl_response_head head = {.status = a->status};
	rl_str body = rl_buf_str(&a->body);
	enum rl_err err = rl_headers_add(&head.headers, &x->arena, RL_H_CONTENT_TYPE, rl_field_name(RL_H_CONTENT_TYPE),
					 a->content_type);

	if (!err && a->allow.n)
		err = add(x, &head, RL_STR("allow"), a->allow);
	if (!err && a->retry_after_s)
		err = add(x, &head, RL_STR("retry-after"),
			  rl_arena_printf(&x->arena, "%llu", (unsigned long long)a->retry_after_s));
	if (!err && a->status == 401) /* RFC 9110 §15.5.2 */
		err = add(x, &head, RL_STR("www-authenticate"), RL_STR("Bearer realm=\"relais admin\""));
	if (err)
		rl_exchange_abort(x, false);
	else
		rl_exchange_reply(x, &head, &body, 1);
}

/* Bodies mean nothing here; the answer goes out when the request is whole. */
static void on_request(struct rl_exchange *x, void *service)
{
	x->owner = service;
	rl_exchange_continue(x);
}

static void on_body(struct rl_exchange *x, rl_str piece)
{
	struct answer a = {.status = 0};

	(void)piece;
	if (x->bytes_in <= BODY_BYTES_MAX)
		return;
	rl_buf_init(&a.body, ANSWER_BYTES_MAX);
	error(&a, 413, "No request of the admin plane needs a body.");
	send_answer(x, &a);
	rl_buf_fini(&a.body);
}

static void on_body_end(struct rl_exchange *x)
{
	struct answer a = {.status = 500};

	rl_buf_init(&a.body, ANSWER_BYTES_MAX);
	answer_request(x->owner, x, &a);
	send_answer(x, &a);
	rl_buf_fini(&a.body);
}

static void on_drain(struct rl_exchange *x)
{
	(void)x;
}

static void on_gone(struct rl_exchange *x, enum rl_err reason)
{
	(void)reason;
	rl_exchange_abort(x, false);
}

static void on_bad_request(void *service, const struct rl_addr *peer, uint16_t status, const char *words,
			   struct rl_buf *body, rl_str *content_type)
{
	(void)service, (void)peer, (void)status;
	rl_buf_add(body, RL_STR("{\"error\":{\"message\":"));
	rl_buf_json(body, rl_str_of(words));
	rl_buf_add(body, RL_STR("}}\n"));
	*content_type = RL_STR("application/json");
}

static const struct rl_exchange_ops exchange_ops = {
	.name = "admin",
	.on_request = on_request,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_gone = on_gone,
	.on_bad_request = on_bad_request,
};

enum rl_err rl_admin_new(struct rl_loop *loop, const struct rl_admin_hooks *hooks, void *self, struct rl_admin **out)
{
	static const struct rl_server_limits limits = {
		.keepalive_ms = 120000,
		.header_ms = 10000,
		.body_idle_ms = 10000,
		.write_idle_ms = 30000,
		.max_header_bytes = 65536,
		.max_headers = 128,
		.high_water_bytes = 1u << 20,
		.http2 = RL_HTTP2_LIMITS,
	};
	struct rl_admin *admin = calloc(1, sizeof *admin);

	if (!admin)
		return RL_ERR_NOMEM;
	admin->hooks = hooks;
	admin->self = self;
	enum rl_err err = rl_server_new(loop, &exchange_ops, admin, &limits, &admin->server);

	if (err) {
		free(admin);
		return err;
	}
	rl_server_set_always(admin->server, rl_browser_fields, RL_BROWSER_FIELDS);
	*out = admin;
	return RL_OK;
}

void rl_admin_accept(struct rl_admin *admin, const struct rl_arrival *in)
{
	rl_server_accept(admin->server, in, NULL, NULL);
}

void rl_admin_abort(struct rl_admin *admin)
{
	rl_server_abort(admin->server);
}

size_t rl_admin_connections(const struct rl_admin *admin)
{
	return rl_server_connections(admin->server);
}

void rl_admin_free(struct rl_admin *admin)
{
	if (!admin)
		return;
	rl_server_free(admin->server);
	free(admin);
}
