/* SPDX-License-Identifier: Apache-2.0 */
/* See cors.h. */
#include "policy/cors.h"

#define ASKED_BYTES_MAX 4096u /* of the names that a preflight asks for */

const struct rl_header rl_browser_fields[RL_BROWSER_FIELDS] = {
	{RL_H_OTHER, RL_STR_INIT("X-Frame-Options"), RL_STR_INIT("SAMEORIGIN")},
	{RL_H_OTHER, RL_STR_INIT("X-Content-Type-Options"), RL_STR_INIT("nosniff")},
};

static rl_str named(const struct rl_headers *headers, rl_str name)
{
	const struct rl_header *h = rl_headers_find(headers, name);

	return h ? h->value : (rl_str){NULL, 0};
}

/* A browser names one; who names two wishes to be taken for either. */
static rl_str the_origin(const struct rl_headers *headers)
{
	rl_str origin = {NULL, 0};

	for (uint32_t i = 0; i < headers->n; i++) {
		if (headers->v[i].field != RL_H_ORIGIN)
			continue;
		if (origin.p)
			return (rl_str){NULL, 0};
		origin = headers->v[i].value;
	}
	return origin;
}

rl_str rl_cors_origin(const struct rl_cfg_server *server, const struct rl_headers *headers)
{
	rl_str origin = the_origin(headers);

	if (!origin.n || rl_str_eq(origin, RL_STR("null")))
		return (rl_str){NULL, 0};
	for (size_t i = 0; i < server->n_cors_origins; i++) {
		rl_str listed = server->cors_origins[i];

		if (rl_str_eq(listed, RL_STR("*")) || rl_str_eq(listed, origin))
			return listed;
	}
	return (rl_str){NULL, 0};
}

bool rl_cors_is_preflight(const struct rl_request_head *head)
{
	return head->method == RL_METHOD_OPTIONS &&
	       rl_headers_find(&head->headers, RL_STR("access-control-request-method"));
}

static enum rl_err add(struct rl_headers *out, struct rl_arena *arena, rl_str name, rl_str value)
{
	return rl_headers_add(out, arena, RL_H_OTHER, name, value);
}

enum rl_err rl_cors_fields(rl_str allowed, struct rl_headers *out, struct rl_arena *arena)
{
	/* On answers to other origins too: a cache must not give one origin what was said to another. */
	enum rl_err err = add(out, arena, RL_STR("Vary"), RL_STR("Origin"));

	if (err || !allowed.n)
		return err;
	err = add(out, arena, RL_STR("Access-Control-Allow-Origin"), allowed);
	/* "*" means every field, as no credentials are allowed; the names are for browsers that do not know it. */
	return err ? err
		   : add(out, arena, RL_STR("Access-Control-Expose-Headers"),
			 RL_STR("x-request-id, x-relais-provider, x-relais-model, x-relais-attempts, "
				"x-relais-overhead-us, x-relais-upstream-request-id, x-should-retry, retry-after, *"));
}

/* A list of field names and nothing else, so that it may be said back. */
static bool is_names(rl_str list)
{
	if (!list.n || list.n > ASKED_BYTES_MAX)
		return false;
	while (list.p)
		if (!rl_header_name_ok(rl_str_trim(rl_str_cut(&list, ','))))
			return false;
	return true;
}

enum rl_err rl_cors_preflight_fields(const struct rl_headers *asked, struct rl_headers *out, struct rl_arena *arena)
{
	rl_str names = named(asked, RL_STR("access-control-request-headers"));
	enum rl_err err =
		add(out, arena, RL_STR("Access-Control-Allow-Methods"), RL_STR("GET, HEAD, POST, PUT, PATCH, DELETE"));

	/* The official clients send a dozen fields of their own, which change: what is asked for is allowed. */
	if (!err && is_names(names))
		err = add(out, arena, RL_STR("Access-Control-Allow-Headers"), names);
	if (!err)
		err = add(out, arena, RL_STR("Access-Control-Max-Age"), RL_STR("7200"));
	return err ? err
		   : add(out, arena, RL_STR("Vary"),
			 RL_STR("Access-Control-Request-Method, Access-Control-Request-Headers"));
}
