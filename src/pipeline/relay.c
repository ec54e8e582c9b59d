/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RELAY: the answer is committed and on its way to the client; nothing is tried
 * again. Streams go event by event: what one read of the provider brought is
 * written before the next read, nothing waits for more. An answer that breaks here
 * ends with an error event in the client's dialect and an abnormal end of the
 * connection, never with a false terminator.
 */
#include "pipeline/translate.h"
#include "pipeline/tunnel.h"

#include <assert.h>

#include "base/clock.h"

#define DIRECT_BYTES 16384u /* an event of this size is written where it lies */
#define AFTER_DONE_MS 1000u /* for the provider to end its stream after the terminator */
#define HELD_KEEP_BYTES 16384u

static void note_first_byte(struct rl_request *rq)
{
	if (!rq->first_byte_us)
		rq->first_byte_us = rl_clock_us() - rq->begin_us;
}

static void write_out(struct rl_request *rq, rl_str bytes)
{
	if (!bytes.n)
		return;
	note_first_byte(rq);
	rq->bytes_out += bytes.n;
	rl_exchange_write(rq->x, &bytes, 1);
}

static void flush(struct rl_request *rq)
{
	struct rl_buf *out = &rq->worker->out;

	write_out(rq, rl_buf_str(out));
	rl_buf_reset(out);
}

/* A slow client stops the reading of its provider. */
static void pace(struct rl_request *rq)
{
	if (!rq->paused && rq->attempt->call && rl_exchange_full(rq->x)) {
		rq->paused = true;
		rl_call_pause(rq->attempt->call);
	}
}

/* ---- the ends ---- */

static enum rl_move complete(struct rl_request *rq)
{
	rl_attempt_settle(rq->attempt, RL_FAULT_NONE, RL_STR(""));
	rl_exchange_end(rq->x);
	rq->x = NULL;
	rq->outcome = RL_OUTCOME_OK;
	return rl_request_jump(rq, RL_STEP_ACCOUNT);
}

/* The provider broke off. `tell`: the client has not been told in the stream itself. */
static enum rl_move cut(struct rl_request *rq, enum rl_fault_class cls, rl_str why, bool tell)
{
	struct rl_attempt *a = rq->attempt;

	flush(rq);
	rl_attempt_settle(a, cls, why);
	rq->outcome = RL_OUTCOME_CUT;
	rq->fault = (struct rl_fault){
		.cls = cls,
		.status = 502,
		.code = RL_STR("stream_interrupted"),
		.message = rl_arena_printf(
			&rq->arena,
			"The provider %.*s broke off its answer (%.*s). What was sent so far is incomplete.",
			RL_STR_ARG(a->candidate->target->provider->name), RL_STR_ARG(why)),
		.retry_after_s = -1,
	};
	if (a->reading == RL_READING_STREAM && tell) {
		if (a->translated)
			rl_translate_broken(rq, &rq->fault, &rq->worker->out);
		else
			rq->dialect->write_stream_error(&rq->fault, &rq->worker->out);
		if (!rl_buf_ok(&rq->worker->out))
			rl_buf_reset(&rq->worker->out); /* the abnormal end must do */
		flush(rq);
	}
	rl_exchange_abort(rq->x, false);
	rq->x = NULL;
	return rl_request_jump(rq, RL_STEP_ACCOUNT);
}

/* ---- streams ---- */

/* Events of one read go out together; large ones, or where there is no memory to gather them, at once. */
static void gather(struct rl_request *rq, rl_str raw)
{
	struct rl_buf *out = &rq->worker->out;

	/* Whoever gathered before has had his read end: nobody's events may go to another client. */
	assert(!out->n || rq->worker->out_of == rq);
	rq->worker->out_of = rq;
	if (raw.n < DIRECT_BYTES) {
		rl_buf_add(out, raw);
		if (rl_buf_ok(out) && out->n < DIRECT_BYTES)
			return;
		if (rl_buf_ok(out))
			raw.n = 0;
	}
	flush(rq);
	write_out(rq, raw);
}

static void send_event(struct rl_request *rq, rl_str raw)
{
	rq->events++;
	gather(rq, raw);
}

static enum rl_move relay_event(struct rl_request *rq, const struct rl_sse_event *event)
{
	struct rl_glance glance;

	if (rq->done_seen)
		return RL_MOVE_WAIT; /* whatever comes after the terminator is nobody's */
	if (!event->has_data) {
		send_event(rq, event->raw);
		return RL_MOVE_WAIT;
	}
	if (rq->dialect->glance_event(rq->route->operation, event->name, event->data, &rq->form, &glance))
		return cut(rq, RL_FAULT_INVALID_RESPONSE, RL_STR("a malformed event"), true);
	rl_usage_take(&rq->usage, &glance.usage);
	rq->finish_seen |= glance.finish;
	rq->content_seen |= glance.content;
	rq->done_seen |= glance.done;
	if (glance.error) /* its bytes lie in a buffer of ours */
		rl_redact(rq->attempt->candidate->target->provider, (char *)(uintptr_t)event->raw.p, event->raw.n);
	if (!glance.usage_only || rq->envelope.usage_asked)
		send_event(rq, event->raw);
	if (glance.error)
		return cut(rq, glance.fault_class ? glance.fault_class : RL_FAULT_SERVER_ERROR,
			   rq->dialect->error_text(event->data, &rq->arena), false);
	return RL_MOVE_WAIT;
}

/* One event through two dialects; `last` as rl_translate_next has it. */
static enum rl_move relay_foreign(struct rl_request *rq, bool last)
{
	struct rl_buf *out = &rq->worker->out;
	struct rl_glance glance;
	rl_str text;
	enum rl_err err = RL_ERR_AGAIN;

	assert(!out->n || rq->worker->out_of == rq);
	rq->worker->out_of = rq;
	while (!rq->done_seen && !(err = rl_translate_next(rq, last, out, &glance, &text))) {
		if (glance.usage.known)
			rq->usage = glance.usage;
		rq->finish_seen |= glance.finish;
		rq->content_seen |= glance.content;
		rq->done_seen |= glance.done;
		rq->events++;
		if (glance.error)
			return cut(rq, glance.fault_class ? glance.fault_class : RL_FAULT_SERVER_ERROR,
				   rl_redact_copy(rq->attempt->candidate->target->provider, text, &rq->arena), true);
		if (out->n >= DIRECT_BYTES)
			flush(rq);
	}
	if (rq->done_seen || err == RL_ERR_AGAIN)
		return RL_MOVE_WAIT;
	if (err == RL_ERR_NOMEM)
		return cut(rq, RL_FAULT_INTERNAL, RL_STR("out of memory"), true);
	return cut(rq, RL_FAULT_INVALID_RESPONSE,
		   err == RL_ERR_LIMIT ? RL_STR("an event is too long") : RL_STR("a malformed event"), true);
}

static enum rl_move relay_events(struct rl_request *rq)
{
	struct rl_sse_event event;
	enum rl_err err;

	if (rq->attempt->translated)
		return relay_foreign(rq, false);

	while (!(err = rl_sse_next(&rq->sse, &event))) {
		enum rl_move move = relay_event(rq, &event);
		if (move != RL_MOVE_WAIT)
			return move;
	}
	if (err != RL_ERR_AGAIN)
		return cut(rq, RL_FAULT_INVALID_RESPONSE, RL_STR("an event is too long"), true);
	return RL_MOVE_WAIT;
}

/* The last event may lack its blank line when the stream ends. */
static enum rl_move relay_rest(struct rl_request *rq)
{
	if (rq->attempt->translated)
		return relay_foreign(rq, true);
	rl_str rest = rl_sse_rest(&rq->sse);

	if (!rest.n)
		return RL_MOVE_WAIT;
	char *whole = rl_arena_alloc(&rq->arena, rest.n + 2);

	if (!whole)
		return cut(rq, RL_FAULT_INTERNAL, RL_STR("out of memory"), true);
	memcpy(whole, rest.p, rest.n);
	whole[rest.n] = whole[rest.n + 1] = '\n';
	rl_sse_fini(&rq->sse);
	rl_sse_init(&rq->sse, RL_EVENT_BYTES_MAX);
	rl_sse_feed(&rq->sse, rl_str_make(whole, rest.n + 2));
	return relay_events(rq);
}

static enum rl_move stream_end(struct rl_request *rq)
{
	enum rl_move move = rq->done_seen ? RL_MOVE_WAIT : relay_rest(rq);

	if (move != RL_MOVE_WAIT)
		return move;
	if (!rq->done_seen && !rq->finish_seen)
		return cut(rq, RL_FAULT_INVALID_RESPONSE, RL_STR("the stream ended before the answer was complete"),
			   true);
	if (rq->attempt->translated) /* some dialects end without a word */
		rl_translate_done(rq, &rq->worker->out);
	flush(rq);
	return complete(rq);
}

/* ---- answers in one piece ---- */

/* Remembers the end of what passed: there stands the usage of a long answer. */
static void keep_tail(struct rl_request *rq, rl_str piece)
{
	size_t max = RL_TAIL_BYTES;

	if (!rq->tail && !(rq->tail = rl_arena_alloc(&rq->arena, max)))
		return; /* then its usage stays unknown */
	if (piece.n >= max) {
		memcpy(rq->tail, piece.p + piece.n - max, max);
		rq->tail_n = max;
		return;
	}
	size_t keep = rq->tail_n < max - piece.n ? rq->tail_n : max - piece.n;

	memmove(rq->tail, rq->tail + rq->tail_n - keep, keep);
	memcpy(rq->tail + keep, piece.p, piece.n);
	rq->tail_n = keep + piece.n;
}

/* The end of an answer without a length may be the end of its connection: only closed brackets tell it is whole. */
static void follow_nesting(struct rl_nesting *n, rl_str piece)
{
	for (size_t i = 0; i < piece.n; i++) {
		char c = piece.p[i];

		if (n->escaped)
			n->escaped = false;
		else if (n->in_string && c == '\\')
			n->escaped = true;
		else if (c == '"')
			n->in_string = !n->in_string;
		else if (!n->in_string && (c == '{' || c == '['))
			n->depth++;
		else if (!n->in_string && (c == '}' || c == ']'))
			n->depth--;
	}
}

/* A piece of a long answer that is no stream. */
static void pass_on(struct rl_request *rq, rl_str piece)
{
	bool whole = rq->attempt->reading == RL_READING_WHOLE;

	if (!piece.n)
		return;
	if (whole || rq->tail_wanted)
		keep_tail(rq, piece);
	if (whole && rq->attempt->head.content_length < 0)
		follow_nesting(&rq->nesting, piece);
	write_out(rq, piece);
}

/* The object that `text` begins with behind a colon, or nothing. */
static rl_str object_behind(rl_str text)
{
	struct rl_nesting nesting = {0};
	size_t from = 0;

	while (from < text.n && strchr(": \t\r\n", text.p[from]))
		from++;
	for (size_t i = from; i < text.n && text.p[from] == '{'; i++) {
		follow_nesting(&nesting, rl_str_sub(text, i, 1));
		if (!nesting.depth)
			return rl_str_sub(text, from, i + 1 - from);
	}
	return rl_str_make(NULL, 0);
}

/* "usage": {...} near the end of an answer that was too long to hold, or that nobody looked at. */
static void usage_from_tail(struct rl_request *rq)
{
	static const char key[] = "\"usage\"";
	rl_str tail = {rq->tail, rq->tail_n}, found = {NULL, 0};
	struct rl_glance glance;

	for (size_t i = 0; i + sizeof key - 1 <= tail.n; i++)
		if (memcmp(tail.p + i, key, sizeof key - 1) == 0)
			found = object_behind(rl_str_sub(tail, i + sizeof key - 1, SIZE_MAX));
	if (!found.n)
		return;
	rl_str doc = rl_arena_printf(&rq->arena, "{\"choices\":[{}],\"data\":[],\"output\":[],\"usage\":%.*s}",
				     RL_STR_ARG(found));

	if (doc.p && !rq->dialect->glance_answer(rq->route->operation, doc, &glance))
		rq->usage = glance.usage;
}

static enum rl_move relay_whole(struct rl_request *rq)
{
	struct rl_response_head head;
	rl_str body = rl_buf_str(&rq->held);

	if (rl_answer_head(rq, &head))
		return rl_request_no_memory(rq);
	rl_attempt_settle(rq->attempt, RL_FAULT_NONE, RL_STR(""));
	rq->status = head.status;
	rq->bytes_out = body.n;
	note_first_byte(rq);
	rl_exchange_reply(rq->x, &head, &body, 1);
	rq->x = NULL;
	rq->outcome = RL_OUTCOME_OK;
	return rl_request_jump(rq, RL_STEP_ACCOUNT);
}

/* ---- the step ---- */

static void drop_held(struct rl_request *rq)
{
	rl_buf_reset(&rq->held);
	if (rq->held.cap > HELD_KEEP_BYTES || !rq->whole)
		rl_buf_fini(&rq->held);
}

enum rl_move relay_run(struct rl_request *rq)
{
	struct rl_response_head head;
	struct rl_attempt *a = rq->attempt;

	if (rq->whole)
		return relay_whole(rq);
	if (a->status == 101)
		return rl_tunnel_open(rq);
	if (rl_answer_head(rq, &head))
		return rl_request_no_memory(rq);
	if (a->reading != RL_READING_STREAM)
		head.content_length = a->head.content_length;
	rq->status = head.status;
	rl_exchange_start(rq->x, &head);
	rl_exchange_forget(rq->x);
	if (a->reading != RL_READING_STREAM) {
		pass_on(rq, rl_buf_str(&rq->held));
		drop_held(rq);
		if (!a->call) /* an answer without a body */
			return complete(rq);
		pace(rq);
		return RL_MOVE_WAIT;
	}
	gather(rq, rl_buf_str(&rq->held));
	drop_held(rq);
	return relay_events(rq); /* the rest of the piece that brought the commit */
}

static enum rl_move wake_piece(struct rl_request *rq, rl_str piece)
{
	if (rq->attempt->reading == RL_READING_STREAM) {
		if (rq->attempt->translated)
			rl_frames_feed(&rq->translate->frames, piece);
		else
			rl_sse_feed(&rq->sse, piece);
		return relay_events(rq);
	}
	if (rq->tunnelled)
		rl_tunnel_moved(rq);
	pass_on(rq, piece);
	return RL_MOVE_WAIT;
}

static enum rl_move wake_read_end(struct rl_request *rq)
{
	flush(rq);
	if (rq->done_seen && !rl_timer_running(&rq->timer))
		rl_timer_start(rq->worker->loop, &rq->timer, AFTER_DONE_MS);
	if (rq->body_reserved && rq->attempt->call && rq->attempt->call->sent)
		rl_body_release(rq);
	pace(rq);
	return RL_MOVE_WAIT;
}

static enum rl_move wake_end(struct rl_request *rq)
{
	struct rl_attempt *a = rq->attempt;

	a->call = NULL;
	if (a->reading == RL_READING_STREAM) {
		rq->worker->out_of = rq->worker->out.n ? rq->worker->out_of : rq;
		return stream_end(rq);
	}
	if (rq->nesting.depth || rq->nesting.in_string)
		return cut(rq, RL_FAULT_INVALID_RESPONSE, RL_STR("the answer ended before it was complete"), false);
	if (rq->tail)
		usage_from_tail(rq);
	return complete(rq);
}

static enum rl_move wake_failed(struct rl_request *rq, enum rl_err err)
{
	struct rl_attempt *a = rq->attempt;
	const char *detail = a->call->detail;
	rl_str why = detail && *detail ? rl_arena_printf(&rq->arena, "%s (%.200s)", rl_err_name(err), detail)
				       : rl_str_of(rl_err_name(err));

	a->call = NULL;
	/* The terminator came, or the client has closed: how the connection ended does not matter any more. */
	if (rq->done_seen || rl_tunnel_was_over(rq, err)) {
		flush(rq);
		return complete(rq);
	}
	return cut(rq, rl_attempt_class_of(err), why, true);
}

enum rl_move relay_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	switch (in->kind) {
	case RL_WAKE_PIECE:
		return wake_piece(rq, in->piece);
	case RL_WAKE_READ_END:
		return wake_read_end(rq);
	case RL_WAKE_END:
		return wake_end(rq);
	case RL_WAKE_FAILED:
		return wake_failed(rq, in->err);
	case RL_WAKE_DRAIN:
		if (rq->paused && rq->attempt->call)
			rl_call_resume(rq->attempt->call);
		rq->paused = false;
		return RL_MOVE_WAIT;
	case RL_WAKE_TIMER:
		if (rq->tunnelled)
			return rl_tunnel_wake(rq, in);
		/* the terminator came and then nothing: the answer is complete all the same */
		return complete(rq);
	case RL_WAKE_GONE:
		return rq->tunnelled ? rl_tunnel_wake(rq, in) : rl_request_left(rq);
	case RL_WAKE_SHUT:
		return rl_tunnel_wake(rq, in);
	case RL_WAKE_ROOM:
		if (rq->tunnelled)
			return rl_tunnel_wake(rq, in);
		/* an answer that came before the form was whole: nobody needs the rest */
		rl_exchange_resume(rq->x);
		return RL_MOVE_WAIT;
	case RL_WAKE_BODY:
	case RL_WAKE_BODY_END:
		if (rq->tunnelled)
			return rl_tunnel_wake(rq, in);
		if (rq->upload)
			return RL_MOVE_WAIT;
		break;
	case RL_WAKE_NONE:
	case RL_WAKE_HEAD:
		break; /* all of them came before */
	}
	rl_request_stray(rq, in);
}
