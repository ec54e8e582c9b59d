/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACCOUNT: the last step of every request, exactly once: what is still running is
 * ended, the finished-request record is made and given to the sinks, and the
 * request goes back to its worker.
 */
#include "pipeline/request.h"

#include "base/clock.h"

static uint64_t since(uint64_t later, uint64_t earlier)
{
	return later > earlier ? later - earlier : 0;
}

static void fill_attempts(const struct rl_request *rq, struct rl_attempt_record *out)
{
	for (size_t i = 0; i < rq->n_attempts; i++) {
		const struct rl_attempt *a = &rq->attempts[i];

		out[i] = (struct rl_attempt_record){
			.provider = a->candidate->target->provider->name,
			.model = a->candidate->target->model,
			.status = a->status,
			.fault = a->fault,
			.reason = a->reason,
			.start_us = since(a->begin_us, rq->begin_us),
			.connect_us = since(a->connected_us, a->begin_us),
			.first_byte_us = since(a->head_us, a->begin_us),
			.total_us = since(a->end_us, a->begin_us),
			.reused = a->reused,
			.maybe_billed = a->maybe_billed,
		};
	}
}

static void make_record(const struct rl_request *rq, struct rl_attempt_record *attempts, struct rl_record *out)
{
	uint64_t now_us = rl_clock_us();
	bool served = rq->attempt && (rq->committed || rq->pass_error);

	*out = (struct rl_record){
		.wall_us = rq->wall_us,
		.request_id = rq->id,
		.upstream_request_id = served ? rq->attempt->upstream_request_id : RL_STR(""),
		.peer = &rq->client_addr,
		.client = rq->client_name,
		.http = rl_http_version_name(rq->http),
		.method = rl_method_name(rq->method),
		.path = rq->path,
		.operation = rq->route ? rq->route->operation : RL_OP_NONE,
		.route = rq->route ? rq->route->pattern : RL_STR(""),
		.model_asked = rl_str_sub(rq->envelope.model, 0, 256),
		.alias = rq->alias,
		.provider = served ? rq->attempt->candidate->target->provider->name : RL_STR(""),
		.model = served ? rq->attempt->candidate->target->model : RL_STR(""),
		.attempts = attempts,
		.n_attempts = rq->n_attempts,
		.status = rq->status,
		.outcome = rq->outcome,
		.fault = rq->fault.cls,
		.error = rq->fault.message,
		.stream = rq->envelope.stream,
		.committed = rq->committed,
		.bytes_in = rq->bytes_in,
		.bytes_out = rq->bytes_out,
		.events = rq->events,
		.usage = rq->usage,
		.first_byte_us = rq->first_byte_us,
		.total_us = since(now_us, rq->begin_us),
		.overhead_us = rl_answer_overhead_us(rq, rq->first_byte_us ? rq->begin_us + rq->first_byte_us : now_us),
	};
}

static void end_everything(struct rl_request *rq)
{
	rl_timer_stop(&rq->timer);
	for (size_t i = 0; i < rq->n_attempts; i++) {
		rl_attempt_settle(&rq->attempts[i], RL_FAULT_CANCELLED, RL_STR("the client left"));
		rl_attempt_cancel(&rq->attempts[i]);
	}
	for (size_t i = 0; i < rq->plan.n; i++)
		rl_candidate_release(&rq->plan.list[i]);
	if (rq->x) {
		rl_exchange_abort(rq->x, false);
		rq->x = NULL;
	}
}

enum rl_move account_run(struct rl_request *rq)
{
	struct rl_attempt_record attempts[RL_ATTEMPTS_MAX] __attribute__((uninitialized));
	struct rl_record record;

	end_everything(rq);
	if (!rq->route || !rq->route->open) {
		fill_attempts(rq, attempts);
		make_record(rq, attempts, &record);
		rl_sinks_consume(&rq->worker->gateway->sinks, rq->worker->index, &record);
	}
	rl_request_free(rq);
	return RL_MOVE_DONE;
}

enum rl_move account_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	rl_request_stray(rq, in); /* ACCOUNT never waits */
}
