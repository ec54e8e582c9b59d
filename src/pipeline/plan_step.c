/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PLAN: what the model's name means, and the ordered list of targets to try. The
 * list of models, which needs no provider, is answered from here.
 */
#include "pipeline/request.h"

#define MODELS_MAX 20000u
#define MODELS_BYTES_MAX (8u << 20)

/* ---- the list of models ---- */

struct listing {
	struct rl_request *rq;
	struct rl_model_line *lines;
	size_t n, room; /* a list may grow between counting and copying: then its end is cut */
	rl_str wanted;  /* only this id; p == NULL: all */
};

static void add_line(void *ctx, rl_str id, rl_str owned_by)
{
	struct listing *l = ctx;

	if (l->n == l->room || (l->wanted.p && !rl_str_eq(l->wanted, id)) || !rl_caller_may_use(l->rq->client, id))
		return;
	l->lines[l->n] = (struct rl_model_line){
		.id = rl_arena_dup(&l->rq->body_arena, id),
		.owned_by = owned_by,
		.created = (int64_t)l->rq->hold->snapshot->loaded_s,
	};
	if (l->lines[l->n].id.p)
		l->n++;
}

static void count_line(void *ctx, rl_str id, rl_str owned_by)
{
	(void)id, (void)owned_by;
	++*(size_t *)ctx;
}

static enum rl_move no_such_model(struct rl_request *rq, rl_str name)
{
	return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 404, "model_not_found", "model",
			       "The model '%.*s' does not exist here. GET /v1/models lists the names; any model of a "
			       "configured provider can be asked for as provider/model.",
			       (int)(name.n < 256 ? name.n : 256), name.p);
}

static enum rl_move list_models(struct rl_request *rq)
{
	struct listing l = {.rq = rq, .room = 64};
	struct rl_buf out;

	rl_arena_init(&rq->body_arena, 4 * MODELS_BYTES_MAX);
	rl_snapshot_each_model(rq->hold->snapshot, count_line, &l.room);
	if (l.room > MODELS_MAX)
		l.room = MODELS_MAX;
	l.lines = RL_NEW_ARRAY(&rq->body_arena, struct rl_model_line, l.room);
	if (!l.lines)
		return rl_request_no_memory(rq);
	if (rq->route->kind == RL_ROUTE_MODEL) {
		l.wanted = rl_path_decode(rl_str_sub(rq->path, rq->route->path.n, SIZE_MAX), &rq->arena);
		if (!l.wanted.p)
			return no_such_model(rq, rl_str_sub(rq->path, rq->route->path.n, SIZE_MAX));
	}
	rl_snapshot_each_model(rq->hold->snapshot, add_line, &l);
	rl_buf_init(&out, MODELS_BYTES_MAX);
	if (rq->route->kind == RL_ROUTE_MODEL && !l.n) {
		const struct rl_model *model;
		/* A name that can be asked for without being listed: provider/anything, or a bare id. */
		if (rl_snapshot_resolve(rq->hold->snapshot, l.wanted, &rq->arena, &model) ||
		    !rl_caller_may_use(rq->client, l.wanted))
			return no_such_model(rq, l.wanted);
		l.lines[0] = (struct rl_model_line){.id = l.wanted,
						    .owned_by = model->targets[0].provider->name,
						    .created = (int64_t)rq->hold->snapshot->loaded_s};
	}
	if (rq->route->kind == RL_ROUTE_MODEL)
		rq->dialect->write_model(&l.lines[0], &out);
	else
		rq->dialect->write_models(l.lines, l.n, &out);
	rl_str body = rl_buf_ok(&out) ? rl_arena_dup(&rq->body_arena, rl_buf_str(&out)) : (rl_str){NULL, 0};

	rl_buf_fini(&out);
	if (!body.p)
		return rl_request_no_memory(rq);
	rq->own = (struct rl_own_answer){.status = 200, .content_type = RL_STR("application/json"), .body = body};
	return rl_request_jump(rq, RL_STEP_REPLY);
}

/* ---- targets ---- */

static enum rl_move nothing_eligible(struct rl_request *rq)
{
	const struct rl_model *model = rq->model;
	struct rl_buf why;

	rl_buf_init(&why, 600);
	for (size_t i = 0; i < model->n_targets && why.n < 400; i++) {
		const struct rl_provider *p = model->targets[i].provider;
		rl_str reason = p->off.n ? p->off : RL_STR("does not offer this operation");

		rl_buf_printf(&why, "%s%.*s: %s%.*s", i ? "; " : "", RL_STR_ARG(p->name), p->off.n ? "off, " : "",
			      RL_STR_ARG(reason));
	}
	enum rl_move move = rl_request_fail(rq, RL_FAULT_OVERLOADED, 503, "no_target_available", NULL,
					    "No target can serve this request (%.*s).", RL_STR_ARG(rl_buf_str(&why)));

	rl_buf_fini(&why);
	return move;
}

static enum rl_move resolve(struct rl_request *rq)
{
	rl_str name = rq->envelope.model;
	enum rl_err err = rl_snapshot_resolve(rq->hold->snapshot, name, &rq->arena, &rq->model);

	if (err == RL_ERR_NOT_FOUND || (!err && !rl_caller_may_use(rq->client, name)))
		return no_such_model(rq, name);
	return err ? rl_request_no_memory(rq) : RL_MOVE_NEXT;
}

enum rl_move plan_run(struct rl_request *rq)
{
	if (!rl_route_goes_on(rq->route))
		return list_models(rq);
	enum rl_move move = rq->envelope.model.n ? resolve(rq) : rl_pass_resolve(rq);

	if (move != RL_MOVE_NEXT)
		return move;
	if (rl_plan_make(rq->model, rq->route->operation, rl_loop_now_ms(rq->worker->loop), &rq->arena, &rq->plan))
		return rl_request_no_memory(rq);
	if (rq->envelope.stateful && rq->plan.n)
		rq->plan.n = 1; /* the first one is the only one that is claimed */
	if (rq->model->live)
		rq->alias = rl_arena_dup(&rq->arena, rq->model->name);
	return rq->plan.n ? RL_MOVE_NEXT : nothing_eligible(rq);
}

enum rl_move plan_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	rl_request_stray(rq, in); /* PLAN never waits */
}
