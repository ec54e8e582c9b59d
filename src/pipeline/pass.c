/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that name no model: files, batches, assistants and the rest of the OpenAI
 * API that acts on what one provider keeps. They go to the provider that the request
 * names (x-relais-provider), or else the configuration (server.passthrough_provider),
 * and to no other: state is nobody else's, and an action is not repeated. Their
 * answers pass as bytes, uninspected.
 */
#include "pipeline/request.h"

#include "policy/path_rule.h"

#define BEFORE_REST "/v1/" /* of our own paths; a provider's base address has its own */

static const rl_str choice_header = RL_STR_INIT("x-relais-provider");

bool rl_pass_uninspected(const struct rl_request *rq)
{
	if (rq->route->form)
		return true;
	switch (rq->route->operation) {
	case RL_OP_PASS:
	case RL_OP_SPEECH:
		return true;
	case RL_OP_IMAGE: /* its events are whole pictures */
		return rq->envelope.stream;
	default:
		return false;
	}
}

rl_str rl_pass_asked(const struct rl_request *rq, rl_str name)
{
	const struct rl_header *h = rl_headers_find(&rq->x->head.headers, name);

	return h ? h->value : rl_str_make(NULL, 0);
}

enum rl_move rl_pass_check(struct rl_request *rq)
{
	const struct rl_request_head *head = &rq->x->head;
	const char *why = rl_query_refused(head->query);

	if (why)
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "invalid_query", NULL,
				       "The request is not taken: %s.", why);
	if (!rl_caller_may_pass(rq->client))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 403, "route_not_allowed", NULL,
				       "This API key is limited to some models, and on this route none is named. "
				       "'passthrough: true' beside the key's models allows it.");
	if (head->method != RL_METHOD_POST && head->content_length != 0)
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "unexpected_body", NULL,
				       "A %.*s request has no body here.", RL_STR_ARG(rl_method_name(head->method)));
	return RL_MOVE_NEXT;
}

enum rl_move rl_pass_resolve(struct rl_request *rq)
{
	const struct rl_snapshot *snapshot = rq->hold->snapshot;
	rl_str name = rl_pass_asked(rq, choice_header);

	if (!rl_caller_may_pass(rq->client))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 403, "route_not_allowed", "model",
				       "This API key is limited to some models, and the request names none.");
	if (!name.n)
		name = snapshot->config->server.passthrough_provider;
	if (!name.n)
		return rl_request_fail(
			rq, RL_FAULT_BAD_REQUEST, 400, "provider_required", NULL,
			"This request names no model, so nothing says which provider it is for. Name one "
			"in the header x-relais-provider, or set server.passthrough_provider in the "
			"gateway's configuration.");
	const struct rl_provider *provider = rl_snapshot_provider(snapshot, name);

	if (!provider)
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "provider_not_found", "x-relais-provider",
				       "There is no provider '%.*s' here.", (int)(name.n < 128 ? name.n : 128), name.p);
	return rl_snapshot_pin(provider, rl_str_make("", 0), rl_str_make("", 0), &rq->arena, &rq->model)
		       ? rl_request_no_memory(rq)
		       : RL_MOVE_NEXT;
}

rl_str rl_pass_path(struct rl_request *rq, const struct rl_provider *provider, rl_str query)
{
	rl_str rest = rl_str_sub(rq->x->head.path, sizeof BEFORE_REST - 1, SIZE_MAX);
	rl_str base = provider->paths[RL_OP_PASS];
	char *path = rl_arena_alloc(&rq->arena, base.n + rest.n + 1 + query.n);

	if (!path)
		return rl_str_make(NULL, 0);
	memcpy(path, base.p, base.n);
	memcpy(path + base.n, rest.p, rest.n);
	if (!query.n)
		return rl_str_make(path, base.n + rest.n);
	path[base.n + rest.n] = '?';
	memcpy(path + base.n + rest.n + 1, query.p, query.n);
	return rl_str_make(path, base.n + rest.n + 1 + query.n);
}
