/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AUTH: everything that the head alone decides, before a byte of the body is
 * read: route, method, loop, caller, media type, declared size.
 */
#include "pipeline/tunnel.h"

#include "base/random.h"
#include "policy/cors.h"
#include "policy/origin_rule.h"
#include "policy/path_rule.h"

static bool id_ok(rl_str id)
{
	if (!id.n || id.n > 128)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		      c == '_' || c == '.' || c == ':'))
			return false;
	}
	return true;
}

/* The answer may go out when the configuration is another. */
static bool remember_origin(struct rl_request *rq)
{
	const struct rl_cfg_server *server = &rq->hold->snapshot->config->server;

	if (!server->n_cors_origins)
		return true;
	rq->cors = true;
	rq->cors_origin = rl_arena_dup(&rq->arena, rl_cors_origin(server, &rq->x->head.headers));
	return rq->cors_origin.p != NULL;
}

/* Keeps what later steps need of the head, which belongs to the exchange. */
static bool remember(struct rl_request *rq)
{
	const struct rl_request_head *head = &rq->x->head;
	rl_str asked = rl_headers_value(&head->headers, RL_H_X_REQUEST_ID);
	char made[RL_ID_LEN + 1];

	if (!id_ok(asked)) {
		rl_random_id(made);
		asked = rl_str_make(made, RL_ID_LEN);
	}
	rq->id = rl_arena_dup(&rq->arena, asked);
	rq->http = rq->x->version;
	rq->method = head->method;
	rq->path = rl_arena_dup(&rq->arena, rl_str_sub(head->path, 0, 1024));
	rq->client_addr = rl_trusted_client(&rq->hold->snapshot->trusted, rq->x->peer, &head->headers);
	return rq->id.p && rq->path.p && remember_origin(rq);
}

/* What a query says under a name, as it is written; empty: nothing. */
static rl_str query_member(rl_str query, rl_str name)
{
	while (query.p) {
		rl_str value = rl_str_cut(&query, '&');
		rl_str key = rl_str_cut(&value, '=');

		if (rl_str_eq(key, name))
			return value;
	}
	return rl_str_make(NULL, 0);
}

/* The model's name between the route's path and its verb. */
static enum rl_move read_path_model(struct rl_request *rq)
{
	rl_str path = rl_str_sub(rq->path, rq->route->path.n, SIZE_MAX);

	path.n -= rq->route->verb.n;
	rq->path_stream = rq->route->stream;
	rq->path_array = rq->route->stream && !rl_str_eq(query_member(rq->x->head.query, RL_STR("alt")), RL_STR("sse"));
	rq->path_model = rl_path_decode(path, &rq->arena);
	if (rq->path_model.n)
		return RL_MOVE_NEXT;
	return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "invalid_path", NULL,
			       "The model's name in the request URL is malformed or too long.");
}

/* Two APIs have their list of models at one path; Anthropic's SDKs always name its version. */
static const struct rl_dialect *spoken(const struct rl_request *rq)
{
	enum rl_route_kind kind = rq->route->kind;

	if ((kind == RL_ROUTE_MODELS || kind == RL_ROUTE_MODEL) &&
	    rl_headers_named(&rq->x->head.headers, RL_STR("anthropic-version")).n)
		return rl_dialect_find(RL_STR("anthropic"));
	return rl_dialect_find(rq->route->dialect);
}

static enum rl_move find_route(struct rl_request *rq)
{
	const struct rl_request_head *head = &rq->x->head;
	unsigned allowed;

	rq->route = rl_route_find(head->method, head->path, &allowed);
	/* Paths of the table without an id are compared byte by byte: only others can be ambiguous. */
	const char *why = !rq->route || rq->route->kind == RL_ROUTE_PASS ? rl_path_refused(head->path) : NULL;

	if (why && head->path.p[0] == '/') {
		rq->route = NULL;
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "invalid_path", NULL,
				       "The request URL is refused: %s.", why);
	}
	if (rq->route) {
		rq->dialect = spoken(rq);
		return rq->route->verb.n ? read_path_model(rq) : RL_MOVE_NEXT;
	}
	if (!allowed)
		return rl_request_fail(
			rq, RL_FAULT_BAD_REQUEST, 404, "unknown_url", NULL,
			"Unknown request URL: %.*s %.*s. The routes are those of the OpenAI API, such as "
			"POST /v1/chat/completions, POST /v1/embeddings, GET /v1/models; docs/api.md "
			"lists them.",
			RL_STR_ARG(rl_method_name(head->method)), RL_STR_ARG(rq->path));
	rq->own.allow = rl_route_allow(allowed, &rq->arena);
	return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 405, "method_not_allowed", NULL,
			       "%.*s is not allowed for %.*s; use %.*s.", RL_STR_ARG(rl_method_name(head->method)),
			       RL_STR_ARG(rq->path), RL_STR_ARG(rq->own.allow));
}

/* Our own pseudonym in Via means that a provider's address leads back to us. */
static bool loops(const struct rl_request *rq)
{
	const struct rl_headers *headers = &rq->x->head.headers;
	rl_str via = rq->worker->gateway->via;

	for (uint32_t i = 0; i < headers->n; i++) {
		const struct rl_header *h = &headers->v[i];
		if (h->field == RL_H_VIA && memmem(h->value.p, h->value.n, via.p, via.n))
			return true;
	}
	return false;
}

static rl_str presented_key(const struct rl_headers *headers)
{
	rl_str key = rl_caller_bearer(rl_headers_value(headers, RL_H_AUTHORIZATION));

	if (!key.n)
		key = rl_headers_value(headers, RL_H_X_API_KEY);
	return key.n ? key : rl_headers_named(headers, RL_STR("x-goog-api-key"));
}

static enum rl_move check_caller(struct rl_request *rq)
{
	const struct rl_callers *callers = &rq->hold->snapshot->callers;
	const struct rl_request_head *head = &rq->x->head;

	if (callers->open) {
		/* No web page reaches a Unix socket by a name of its own. */
		bool bound = callers->host_bound && rq->x->peer->sa.ss_family != AF_UNIX;
		const char *refusal = rl_open_listener_refuses(head, bound, rq->cors_origin.n > 0);
		return refusal ? rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 403, "forbidden_origin", NULL, "%s", refusal)
			       : RL_MOVE_NEXT;
	}
	enum rl_move move = rl_limit_may_guess(rq);

	if (move != RL_MOVE_NEXT)
		return move;
	rl_str key = presented_key(&head->headers);

	if (!key.n && rq->route->kind == RL_ROUTE_TUNNEL)
		key = rl_tunnel_key(&head->headers);
	if (!key.n && rq->route->verb.n) /* as Google's own API takes it; the query goes no further */
		key = query_member(head->query, RL_STR("key"));

	rq->client = rl_callers_find(callers, key);
	if (!rq->client) {
		move = rl_limit_guessed(rq);
		return move != RL_MOVE_NEXT
			       ? move
			       : rl_request_fail(
					 rq, RL_FAULT_BAD_REQUEST, 401, "invalid_api_key", NULL,
					 key.n ? "The API key is not known to this gateway."
					       : "An API key of this gateway is needed: send it as 'Authorization: "
						 "Bearer KEY'.");
	}
	rq->client_name = rl_arena_dup(&rq->arena, rq->client->name);
	return RL_MOVE_NEXT;
}

static enum rl_move check_body_head(struct rl_request *rq)
{
	const struct rl_request_head *head = &rq->x->head;
	uint64_t max = rq->hold->snapshot->config->server.max_body_bytes;
	rl_str type = rl_headers_value(&head->headers, RL_H_CONTENT_TYPE);

	if (rq->route->form)
		max = rq->hold->snapshot->config->server.max_upload_bytes;
	if (rq->route->kind != RL_ROUTE_INFERENCE && !rq->route->form && head->content_length == 0)
		return RL_MOVE_NEXT; /* no body, no media type */
	if (rq->route->form && !rl_media_is(type, RL_STR("multipart/form-data")))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 415, "unsupported_media_type", NULL,
				       "The Content-Type must be multipart/form-data, not '%.*s'.",
				       (int)(type.n < 100 ? type.n : 100), type.n ? type.p : "");
	if (!rq->route->form && !rl_media_is(type, RL_STR("application/json")))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 415, "unsupported_media_type", NULL,
				       "The Content-Type must be application/json, not '%.*s'.",
				       (int)(type.n < 100 ? type.n : 100), type.n ? type.p : "");
	if (head->content_length > 0 && (uint64_t)head->content_length > max)
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 413, "request_too_large", NULL,
				       "The request body of %lld bytes is larger than the limit of %llu bytes "
				       "(server.%s).",
				       (long long)head->content_length, (unsigned long long)max,
				       rq->route->form ? "max_upload" : "max_body");
	return RL_MOVE_NEXT;
}

/* A copy of a field, in a list that is made with its first. */
static bool keep_field(struct rl_request *rq, struct rl_headers **list, const struct rl_header *h)
{
	rl_str name = rl_arena_dup(&rq->arena, h->name), value = rl_arena_dup(&rq->arena, h->value);

	if (!*list && !(*list = RL_NEW(&rq->arena, struct rl_headers)))
		return false;
	return name.p && value.p && !rl_headers_add(*list, &rq->arena, RL_H_OTHER, name, value);
}

static bool is_forwarded(const struct rl_request *rq, rl_str name)
{
	for (const rl_str *f = rq->dialect->forwarded; f && f->n; f++)
		if (rl_str_ieq(*f, name))
			return true;
	return false;
}

/* Fields that go on to a provider, or only to a simulated one. */
static bool remember_forwarded(struct rl_request *rq)
{
	const struct rl_headers *headers = &rq->x->head.headers;
	struct rl_headers *sim = NULL, *own = NULL;

	for (uint32_t i = 0; i < headers->n; i++) {
		const struct rl_header *h = &headers->v[i];

		if (h->field != RL_H_OTHER)
			continue;
		if (rl_str_ieq(h->name, RL_STR("traceparent")))
			rq->traceparent = rl_arena_dup(&rq->arena, h->value);
		else if (rl_str_ieq(h->name, RL_STR("tracestate")))
			rq->tracestate = rl_arena_dup(&rq->arena, h->value);
		else if (rl_str_ieq(h->name, RL_STR("openai-beta")))
			rq->beta = rl_arena_dup(&rq->arena, h->value);
		else if (h->name.n > 6 && h->name.p[5] == '-' && strncasecmp(h->name.p, "x-sim-", 6) == 0) {
			if (!keep_field(rq, &sim, h))
				return false;
		} else if (rl_str_ieq(h->name, RL_STR("x-relais-strict"))) {
			rq->strict = rl_str_ieq(h->value, RL_STR("true")) || rl_str_eq(h->value, RL_STR("1"));
		} else if (rq->dialect->forwarded && is_forwarded(rq, h->name)) {
			if (!keep_field(rq, &own, h))
				return false;
		}
	}
	rq->sim_headers = sim;
	rq->own_headers = own;
	return true;
}

static enum rl_move own_text(struct rl_request *rq, uint16_t status, rl_str text)
{
	rq->own = (struct rl_own_answer){.status = status,
					 .content_type = RL_STR("text/plain; charset=utf-8"),
					 .body = text};
	return rl_request_jump(rq, RL_STEP_REPLY);
}

enum rl_move auth_run(struct rl_request *rq)
{
	rq->dialect = rl_dialect_find(RL_STR("openai")); /* for errors before the route is known */
	if (!remember(rq))
		return rl_request_no_memory(rq);
	if (rq->cors_origin.n && rl_cors_is_preflight(&rq->x->head)) { /* carries no key, and asks for nothing */
		rq->own.status = 204;
		return rl_request_jump(rq, RL_STEP_REPLY);
	}
	enum rl_move move = find_route(rq);

	if (move != RL_MOVE_NEXT)
		return move;
	if (rq->route->kind == RL_ROUTE_HEALTH)
		return own_text(rq, 200, RL_STR("OK\n"));
	if (rq->route->kind == RL_ROUTE_READY)
		return atomic_load(&rq->worker->gateway->draining) ? own_text(rq, 503, RL_STR("draining\n"))
								   : own_text(rq, 200, RL_STR("ready\n"));
	if (loops(rq))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 508, "loop_detected", NULL,
				       "This request came back to the gateway that sent it: a provider's base_url "
				       "points at this gateway.");
	move = check_caller(rq);
	if (move != RL_MOVE_NEXT)
		return move;
	if (rq->route->kind == RL_ROUTE_PASS)
		move = rl_pass_check(rq);
	else if (rq->route->kind == RL_ROUTE_TUNNEL)
		move = rl_tunnel_check(rq);
	else if (rq->route->kind != RL_ROUTE_INFERENCE)
		return RL_MOVE_NEXT;
	if (move != RL_MOVE_NEXT)
		return move;
	if (!remember_forwarded(rq))
		return rl_request_no_memory(rq);
	return check_body_head(rq);
}

enum rl_move auth_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	rl_request_stray(rq, in); /* AUTH never waits */
}
