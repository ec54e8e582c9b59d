/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the data plane: one row each. Everything else is 404, or 405 with what would be allowed. */
#ifndef RL_PIPELINE_ROUTE_H
#define RL_PIPELINE_ROUTE_H

#include "base/arena.h"
#include "dialect/dialect.h"
#include "http/head.h"

enum rl_route_kind {
	RL_ROUTE_INFERENCE = 0, /* to a provider, by the model that the body names */
	RL_ROUTE_PASS,          /* no model: to the provider that the request or the configuration names */
	RL_ROUTE_TUNNEL,        /* a WebSocket, by the model that its query names, or else like PASS */
	RL_ROUTE_MODELS,        /* the list of models */
	RL_ROUTE_MODEL,         /* one of them: the rest of the path is its id */
	RL_ROUTE_HEALTH,
	RL_ROUTE_READY,
};

/* A set of methods. */
#define RL_METHOD_BIT(method) (1u << (method))

struct rl_route {
	rl_str pattern; /* as it stands in logs and metrics */
	/*
	 * Compared byte by byte. RL_ROUTE_MODEL: a prefix. RL_ROUTE_PASS: what precedes the first "{id}", each of which
	 * stands for one segment. With a verb: what precedes the model.
	 */
	rl_str path;
	unsigned methods;
	enum rl_route_kind kind;
	enum rl_operation operation;
	rl_str dialect; /* of the client */
	bool open;      /* needs no key, and is not access-logged */
	bool form;      /* its body is multipart/form-data, and streamed */
	rl_str verb;    /* ":generateContent": what stands behind the model's name in the path; or empty */
	bool stream;    /* the verb asks for a stream */
};

/* Ends with an entry whose path is empty. */
extern const struct rl_route rl_routes[];

/* Its requests go to a provider. */
static inline bool rl_route_goes_on(const struct rl_route *route)
{
	return route->kind <= RL_ROUTE_TUNNEL;
}

/*
 * The route of a request, or NULL; then *allowed is what the path's routes take (405), or 0 (404). HEAD is taken where
 * GET is.
 */
const struct rl_route *rl_route_find(enum rl_method method, rl_str path, unsigned *allowed);
/* A piece of a path without its percent-encoding, in the arena; p == NULL if it is malformed, or has control characters. */
rl_str rl_path_decode(rl_str raw, struct rl_arena *arena);
/* "GET, HEAD, POST" of a set, in the arena; p == NULL without memory. */
rl_str rl_route_allow(unsigned methods, struct rl_arena *arena);

#endif
