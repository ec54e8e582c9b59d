/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the data plane: one row each. Everything else is 404, or 405 with what would be allowed. */
#ifndef RL_PIPELINE_ROUTE_H
#define RL_PIPELINE_ROUTE_H

#include "dialect/dialect.h"
#include "http/head.h"

enum rl_route_kind {
	RL_ROUTE_INFERENCE = 0, /* to a provider */
	RL_ROUTE_MODELS,        /* the list of models */
	RL_ROUTE_MODEL,         /* one of them: the rest of the path is its id */
	RL_ROUTE_HEALTH,
	RL_ROUTE_READY,
};

struct rl_route {
	rl_str pattern; /* as it stands in logs and metrics */
	rl_str path;    /* compared byte by byte; for RL_ROUTE_MODEL a prefix */
	enum rl_method method;
	enum rl_route_kind kind;
	enum rl_operation operation;
	rl_str dialect; /* of the client */
	bool open;      /* needs no key, and is not access-logged */
};

/* Ends with an entry whose path is empty. */
extern const struct rl_route rl_routes[];

/*
 * The route of a request, or NULL; then *other is a route of the same path with another method (405), or NULL (404).
 * HEAD is taken where GET is.
 */
const struct rl_route *rl_route_find(enum rl_method method, rl_str path, const struct rl_route **other);

#endif
