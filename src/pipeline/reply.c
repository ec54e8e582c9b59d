/* SPDX-License-Identifier: Apache-2.0 */
/* REPLY: an answer of our own, or a provider's error that is passed on. */
#include "pipeline/request.h"

#include "base/clock.h"
#include "policy/cors.h"

#define BODY_MAX (16u << 20)

static enum rl_err add(struct rl_request *rq, struct rl_response_head *head, enum rl_field field, rl_str name,
		       rl_str value)
{
	return rl_headers_add(&head->headers, &rq->arena, field, field ? rl_field_name(field) : name, value);
}

static void finish(struct rl_request *rq, const struct rl_response_head *head, rl_str body)
{
	rq->status = head->status;
	rq->bytes_out = rq->method == RL_METHOD_HEAD ? 0 : body.n;
	rq->first_byte_us = rl_clock_us() - rq->begin_us;
	rl_exchange_reply(rq->x, head, &body, 1);
	rq->x = NULL;
}

static bool is_json_object(rl_str body)
{
	struct rl_json_span none;

	return body.n && body.p[0] == '{' && rl_json_scan(body, NULL, 0, 0, &none, NULL) == RL_OK;
}

/* The provider's words as they came, if they are what the dialect says errors look like. */
static enum rl_err reply_passed(struct rl_request *rq, bool *sent)
{
	struct rl_response_head head;
	enum rl_err err;

	*sent = false;
	if (!rq->pass_error || rq->attempt->translated || !is_json_object(rl_buf_str(&rq->held)))
		return RL_OK;
	err = rl_answer_head(rq, &head);
	if (err)
		return err;
	finish(rq, &head, rl_buf_str(&rq->held));
	*sent = true;
	return RL_OK;
}

static enum rl_err fault_headers(struct rl_request *rq, struct rl_response_head *head)
{
	enum rl_err err = add(rq, head, RL_H_CONTENT_TYPE, RL_STR(""), RL_STR("application/json"));

	if (!err && rq->own.allow.n)
		err = add(rq, head, RL_H_OTHER, RL_STR("allow"), rq->own.allow);
	if (!err && rq->own.accept_encoding.n)
		err = add(rq, head, RL_H_ACCEPT_ENCODING, RL_STR(""), rq->own.accept_encoding);
	if (!err && rq->fault.retry_after_s >= 0)
		err = add(rq, head, RL_H_RETRY_AFTER, RL_STR(""),
			  rl_arena_printf(&rq->arena, "%lld", (long long)rq->fault.retry_after_s));
	if (!err && rq->fault.status == 401)
		err = add(rq, head, RL_H_OTHER, RL_STR("www-authenticate"), RL_STR("Bearer realm=\"relais\""));
	if (!err && rq->should_not_retry)
		err = add(rq, head, RL_H_X_SHOULD_RETRY, RL_STR(""), RL_STR("false"));
	return err;
}

static enum rl_err reply_fault(struct rl_request *rq)
{
	struct rl_response_head head = {.status = rq->fault.status};
	struct rl_buf body;
	enum rl_err err = fault_headers(rq, &head);

	if (!err)
		err = rl_answer_common(rq, &head.headers);
	if (err)
		return err;
	rl_buf_init(&body, BODY_MAX);
	rq->dialect->write_error(&rq->fault, &body);
	if (rl_buf_ok(&body))
		finish(rq, &head, rl_buf_str(&body));
	else
		err = RL_ERR_NOMEM;
	rl_buf_fini(&body);
	return err;
}

static enum rl_err reply_own(struct rl_request *rq)
{
	struct rl_response_head head = {.status = rq->own.status};
	enum rl_err err = rq->own.content_type.n
				  ? add(rq, &head, RL_H_CONTENT_TYPE, RL_STR(""), rq->own.content_type)
				  : rl_cors_preflight_fields(&rq->x->head.headers, &head.headers, &rq->arena);

	if (!err)
		err = rl_answer_common(rq, &head.headers);
	if (!err)
		finish(rq, &head, rq->own.body);
	return err;
}

/* The request was at fault, not a target or the gateway. */
static bool refused(const struct rl_request *rq)
{
	return rq->fault.status < 500 || rq->fault.cls == RL_FAULT_BAD_REQUEST;
}

enum rl_move reply_run(struct rl_request *rq)
{
	bool sent = false;
	enum rl_err err;

	rl_timer_stop(&rq->timer);
	if (rq->own.status) {
		err = reply_own(rq);
		rq->outcome = rq->own.status < 400 ? RL_OUTCOME_OK : RL_OUTCOME_REFUSED;
	} else {
		err = reply_passed(rq, &sent);
		if (!err && !sent)
			err = reply_fault(rq);
		if (!rq->outcome)
			rq->outcome = refused(rq) ? RL_OUTCOME_REFUSED : RL_OUTCOME_FAILED;
	}
	if (err) { /* not even an error can be said: ACCOUNT aborts the exchange */
		rq->outcome = RL_OUTCOME_FAILED;
		rq->fault.cls = RL_FAULT_INTERNAL;
	}
	return RL_MOVE_NEXT;
}

enum rl_move reply_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	rl_request_stray(rq, in); /* REPLY never waits */
}
