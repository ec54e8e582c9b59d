/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a request, whole: the table of steps is RL_STEPS in request.h, each
 * step is a file of its own name, and here is the driver. Steps never call each
 * other; only jump and drive write the step. A step either moves on or parks the
 * request; whatever ends its wait comes in through rl_request_wake.
 */
#include "pipeline/request.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static const struct {
	const char *name;
	enum rl_move (*run)(struct rl_request *rq);
	enum rl_move (*wake)(struct rl_request *rq, const struct rl_wake_in *in);
	enum rl_step on_failure;
} steps[] = {
#define X(step, run, wake, on_failure) [RL_STEP_##step] = {#step, run, wake, RL_STEP_##on_failure},
	RL_STEPS(X)
#undef X
};

const char *rl_step_name(enum rl_step step)
{
	return steps[step].name;
}

enum rl_move rl_request_jump(struct rl_request *rq, enum rl_step step)
{
	rq->step = step;
	return RL_MOVE_JUMP;
}

/* Carries the request as far as it goes without waiting. */
static void drive(struct rl_request *rq, enum rl_move move)
{
	for (;;) {
		switch (move) {
		case RL_MOVE_WAIT:
		case RL_MOVE_DONE:
			return;
		case RL_MOVE_NEXT:
			rq->step++;
			break;
		case RL_MOVE_FAIL:
			rq->step = steps[rq->step].on_failure;
			break;
		case RL_MOVE_JUMP:
			break;
		}
		assert(rq->step < RL_STEP_COUNT);
		move = steps[rq->step].run(rq);
	}
}

void rl_request_begin(struct rl_request *rq)
{
	rl_request_jump(rq, RL_STEP_AUTH);
	drive(rq, RL_MOVE_JUMP);
}

void rl_request_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	drive(rq, steps[rq->step].wake(rq, in));
}

enum rl_move rl_request_fail(struct rl_request *rq, enum rl_fault_class cls, uint16_t status, const char *code,
			     const char *param, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	rl_str message = rl_arena_dup(&rq->arena, rl_str_of(n < 0 ? "" : text));

	rq->fault = (struct rl_fault){
		.cls = cls,
		.status = status,
		.code = rl_str_of(code),
		.param = rl_str_of(param),
		.message = message.p ? message : RL_STR("out of memory"),
		.retry_after_s = -1,
	};
	return RL_MOVE_FAIL;
}

enum rl_move rl_request_no_memory(struct rl_request *rq)
{
	return rl_request_fail(rq, RL_FAULT_INTERNAL, 503, "out_of_memory", NULL, "The gateway is out of memory.");
}

void rl_request_stray(const struct rl_request *rq, const struct rl_wake_in *in)
{
	static const char *const names[] = {[RL_WAKE_NONE] = "NONE",
#define X(id) [RL_WAKE_##id] = #id,
					    RL_WAKES(X)
#undef X
	};

	RL_ERROR("pipeline", "%s in step %s", names[in->kind], rl_step_name(rq->step));
	abort();
}

enum rl_move rl_request_left(struct rl_request *rq)
{
	if (rq->outcome == RL_OUTCOME_REFUSED) /* the server has told it so, see on_bad_body: its body was malformed */
		return rl_request_jump(rq, RL_STEP_ACCOUNT);
	rq->outcome = RL_OUTCOME_LEFT;
	rq->fault.cls = RL_FAULT_CANCELLED;
	rq->fault.message = RL_STR("the client left");
	return rl_request_jump(rq, RL_STEP_ACCOUNT);
}
