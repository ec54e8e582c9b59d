/* SPDX-License-Identifier: Apache-2.0 */
/* See route.h. */
#include "pipeline/route.h"

#define OPENAI RL_STR_INIT("openai")
/* clang-format off */
#define INFERENCE(path, op) \
	{RL_STR_INIT(path), RL_STR_INIT(path), RL_METHOD_POST, RL_ROUTE_INFERENCE, RL_OP_##op, OPENAI, false}
/* clang-format on */

const struct rl_route rl_routes[] = {
	INFERENCE("/v1/chat/completions", CHAT),
	INFERENCE("/v1/completions", COMPLETION),
	INFERENCE("/v1/embeddings", EMBEDDING),
	{RL_STR_INIT("/v1/models"), RL_STR_INIT("/v1/models"), RL_METHOD_GET, RL_ROUTE_MODELS, RL_OP_MODELS, OPENAI,
	 false},
	{RL_STR_INIT("/v1/models/{id}"), RL_STR_INIT("/v1/models/"), RL_METHOD_GET, RL_ROUTE_MODEL, RL_OP_MODELS,
	 OPENAI, false},
	{RL_STR_INIT("/health"), RL_STR_INIT("/health"), RL_METHOD_GET, RL_ROUTE_HEALTH, RL_OP_NONE, OPENAI, true},
	{RL_STR_INIT("/ready"), RL_STR_INIT("/ready"), RL_METHOD_GET, RL_ROUTE_READY, RL_OP_NONE, OPENAI, true},
	{.path = {NULL, 0}},
};

static bool path_is(const struct rl_route *route, rl_str path)
{
	if (route->kind == RL_ROUTE_MODEL)
		return path.n > route->path.n && rl_str_starts(path, route->path);
	return rl_str_eq(path, route->path);
}

const struct rl_route *rl_route_find(enum rl_method method, rl_str path, const struct rl_route **other)
{
	*other = NULL;
	if (method == RL_METHOD_HEAD)
		method = RL_METHOD_GET;
	for (const struct rl_route *route = rl_routes; route->path.n; route++) {
		if (!path_is(route, path))
			continue;
		if (route->method == method)
			return route;
		*other = route;
	}
	return NULL;
}
