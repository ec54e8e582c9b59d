/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call from its start to its one end, without a trace of an HTTP version.
 *
 * Phases: OPENING (cap, name, connection), SEND, FIRST_BYTE, ANSWER, DONE; one
 * timer, whose meaning is the phase. The owner is called from events and tasks only:
 * what goes wrong inside rl_call_start is kept and reported by the task `later`,
 * which also carries on after a pause. The end comes once, in finish() or cancel;
 * whoever has called the owner looks at rl_run_over() before he touches the call again.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/client_priv.h"
#include "http/share_priv.h"

#define MAX_HEAD_DEFAULT 65536u
#define REFUSALS_MAX 2u
#define MAX_REST_BYTES (1u << 20) /* of one piece of a streamed body */
#define HEADERS_BYTES 65536u      /* room in the arena for the array of headers, beside the head's text */

static struct rl_run *of(struct rl_call *call)
{
	return (struct rl_run *)call;
}

/* ---- time ---- */

static void set_timer(struct rl_run *run, uint64_t ms)
{
	if (ms)
		rl_timer_start(run->place->pool->loop, &run->timer, ms);
	else
		rl_timer_stop(&run->timer);
}

static void on_timer(struct rl_timer *timer)
{
	static const char *const words[] = {
		[RL_PHASE_OPENING] = "connect",
		[RL_PHASE_SEND] = "send",
		[RL_PHASE_FIRST_BYTE] = "first_byte",
		[RL_PHASE_ANSWER] = "idle",
	};
	struct rl_run *run = (struct rl_run *)((char *)timer - offsetof(struct rl_run, timer));

	assert(!rl_run_over(run));
	if (run->phase == RL_PHASE_ANSWER && run->paused)
		return; /* rests; resume starts it again */
	run->timed_out = true;
	rl_run_fail(run, RL_ERR_TIMEOUT, words[run->phase]);
}

/* ---- the end ---- */

/* Nothing of the world outside belongs to the call any more. */
static void let_go(struct rl_run *run)
{
	struct rl_conn *conn;

	rl_timer_stop(&run->timer);
	rl_loop_undefer(run->place->pool->loop, &run->later);
	rl_loop_undefer(run->place->pool->loop, &run->drain);
	if (run->queued)
		rl_share_leave(run);
	rl_opening_cancel(run->opening);
	conn = run->conn;
	run->conn = NULL;
	if (conn && conn->ready)
		conn->codec->leave(conn, run);
	else if (conn)
		rl_conn_close(conn, true);
}

static void finish(struct rl_run *run, enum rl_err reason)
{
	let_go(run);
	rl_run_on_read_end(run);
	if (rl_run_over(run))
		return; /* cancelled in there */
	let_go(run);
	run->phase = RL_PHASE_DONE;
	run->call.sent = run->all_sent;
	if (reason == RL_OK)
		run->ops->on_end(&run->call);
	else
		run->ops->on_fail(&run->call, reason);
	rl_run_bury(run->place->pool, run);
}

static void set_detail(struct rl_run *run, enum rl_err reason, const char *detail)
{
	snprintf(run->detail_text, sizeof run->detail_text, "%s", detail ? detail : rl_err_text(reason));
	run->call.detail = run->detail_text;
}

void rl_run_fail(struct rl_run *run, enum rl_err reason, const char *detail)
{
	assert(reason != RL_OK);
	if (rl_run_over(run))
		return;
	set_detail(run, reason, detail);
	run->arrived = run->inflating = false;
	finish(run, reason);
}

void rl_run_fail_later(struct rl_run *run, enum rl_err reason, const char *detail)
{
	assert(reason != RL_OK && !rl_run_over(run));
	set_detail(run, reason, detail);
	let_go(run);
	run->failure = reason;
	rl_loop_defer(run->place->pool->loop, &run->later);
}

void rl_call_cancel(struct rl_call *call)
{
	struct rl_run *run = of(call);

	if (!call || rl_run_over(run))
		return;
	let_go(run);
	run->phase = RL_PHASE_DONE;
	rl_run_bury(run->place->pool, run);
}

/* ---- what comes in ---- */

void rl_run_on_answer(struct rl_run *run)
{
	run->answering = true;
	run->call.sent = run->all_sent;
}

/* Takes the fields away that describe the encoded form. */
static void strip_encoding(struct rl_response_head *head)
{
	struct rl_headers *headers = &head->headers;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < headers->n; i++)
		if (headers->v[i].field != RL_H_CONTENT_ENCODING && headers->v[i].field != RL_H_CONTENT_LENGTH)
			headers->v[kept++] = headers->v[i];
	headers->n = kept;
	head->content_length = -1;
}

static enum rl_err decode_if_encoded(struct rl_run *run, struct rl_response_head *head)
{
	const struct rl_header *encoding = rl_headers_get(&head->headers, RL_H_CONTENT_ENCODING);

	if (!encoding || !encoding->value.n || rl_str_ieq(encoding->value, RL_STR("identity")))
		return RL_OK;
	enum rl_err err = rl_inflate_new(encoding->value, &run->inflate);

	if (err == RL_OK)
		strip_encoding(head);
	return err;
}

void rl_run_on_head(struct rl_run *run, struct rl_response_head *head, bool bodiless)
{
	run->phase = RL_PHASE_ANSWER;
	run->call.head_us = rl_clock_us();
	if (!bodiless) {
		enum rl_err err = decode_if_encoded(run, head);

		if (err != RL_OK) {
			rl_run_fail(run, err, "content-encoding");
			return;
		}
	}
	run->delivered = true;
	run->ops->on_head(&run->call, head);
	rl_arena_reset(&run->arena); /* the head was lent for that call only: an answer may go on for long */
}

static void deliver(struct rl_run *run, rl_str piece)
{
	run->delivered = true;
	run->ops->on_body(&run->call, piece);
}

/* Hands out decoded text until there is no more, or the owner wants none now. */
static void drain(struct rl_run *run)
{
	rl_str piece;
	enum rl_err err = RL_OK;

	while (run->inflating && !rl_run_over(run) && !run->paused) {
		err = rl_inflate_next(run->inflate, &piece);
		if (err == RL_OK)
			deliver(run, piece);
		else if (err == RL_ERR_AGAIN)
			run->inflating = false;
		else
			rl_run_fail(run, err, "content-encoding");
	}
	if (run->inflating && !rl_run_over(run)) {
		err = rl_inflate_hold(run->inflate);
		if (err != RL_OK)
			rl_run_fail(run, err, NULL);
	}
}

void rl_run_on_body(struct rl_run *run, rl_str piece)
{
	assert(!run->paused && !run->inflating && piece.n);
	if (!run->inflate) {
		deliver(run, piece);
		return;
	}
	rl_inflate_feed(run->inflate, piece);
	run->inflating = true;
	drain(run);
}

void rl_run_on_arrived(struct rl_run *run)
{
	run->conn = NULL;
	run->arrived = true;
	if (run->inflating) /* paused in the middle; the rest comes after resume */
		rl_run_on_read_end(run);
	else if (run->inflate && !rl_inflate_ended(run->inflate))
		rl_run_fail(run, RL_ERR_PROTOCOL, "the compressed body is cut short");
	else
		finish(run, RL_OK);
}

void rl_run_on_read_end(struct rl_run *run)
{
	if (run->delivered) {
		run->delivered = false;
		if (run->ops->on_read_end)
			run->ops->on_read_end(&run->call);
	}
	if (!rl_run_over(run) && run->conn && run->phase == RL_PHASE_ANSWER)
		set_timer(run, run->times.idle_ms);
}

/* ---- what goes out ---- */

void rl_run_on_conn(struct rl_run *run, struct rl_conn *conn)
{
	run->conn = conn;
	run->phase = RL_PHASE_SEND;
	run->call.reused = conn->served > 0;
	/* A pooled connection was there at once: one reading of the clock serves both. */
	run->call.connected_us = run->call.reused && !run->call.connected_us ? run->call.start_us : rl_clock_us();
	memcpy(&run->call.peer.sa, &conn->peer.sa, conn->peer.len);
	run->call.peer.len = conn->peer.len;
	conn->codec->send(conn, run);
}

void rl_run_on_sent_some(struct rl_run *run)
{
	if (!run->tunnel)
		set_timer(run, run->times.send_ms);
}

void rl_run_on_tunnel(struct rl_run *run)
{
	assert(run->upgrade && !run->tunnel && run->phase == RL_PHASE_ANSWER);
	run->tunnel = true;
	run->times.idle_ms = 0; /* only the owner sees both directions */
	rl_timer_stop(&run->timer);
	rl_run_on_drained(run);
}

void rl_run_on_shut(struct rl_run *run)
{
	rl_run_on_read_end(run);
	if (!rl_run_over(run))
		run->ops->on_shut(&run->call);
}

void rl_run_on_sent(struct rl_run *run)
{
	run->all_sent = true;
	run->call.sent_us = rl_clock_us();
	if (run->phase == RL_PHASE_ANSWER) { /* HTTP/2: one that came early is not asked to be the last word */
		run->call.sent = true;
		return;
	}
	run->phase = RL_PHASE_FIRST_BYTE;
	/* While a replay is possible the body is still needed: the owner learns of it with the answer's first byte. */
	run->call.sent = !(run->replayable && run->call.reused);
	set_timer(run, run->times.first_byte_ms);
}

void rl_run_on_drained(struct rl_run *run)
{
	assert(run->streamed && !run->ended);
	if (run->phase == RL_PHASE_SEND)
		rl_timer_stop(&run->timer); /* now it is the owner's turn, and his time */
	rl_loop_defer(run->place->pool->loop, &run->drain);
}

static void open_one(struct rl_run *run)
{
	run->phase = RL_PHASE_OPENING;
	set_timer(run, run->times.connect_ms);
	if (run->place->origin->http2 && !run->upgrade)
		rl_share_wait(run);
	else
		rl_opening_start(run);
}

static void start_over(struct rl_run *run)
{
	assert(!run->conn && !run->answering && !run->asked);
	rl_loop_undefer(run->place->pool->loop, &run->drain);
	run->all_sent = run->call.sent = run->call.reused = false;
	run->call.connected_us = run->call.sent_us = 0;
	open_one(run);
}

bool rl_run_replay(struct rl_run *run)
{
	struct rl_conn *conn = run->conn;

	if (!run->call.reused || run->replayed || run->answering || run->asked ||
	    (!run->replayable && run->call.body_begun))
		return false;
	run->replayed = true;
	run->conn = NULL;
	if (conn)
		rl_conn_close(conn, true);
	start_over(run);
	return true;
}

bool rl_run_refused(struct rl_run *run)
{
	if (run->answering || run->asked || run->refusals >= REFUSALS_MAX)
		return false;
	run->refusals++;
	run->call.body_begun = false;
	start_over(run);
	return true;
}

/* ---- tasks ---- */

/* After a pause: first what is decoded or half decoded, then what the codec has kept, then the end. */
static void go_on(struct rl_run *run)
{
	if (run->paused)
		return;
	drain(run);
	if (rl_run_over(run))
		return;
	if (run->paused)
		rl_run_on_read_end(run);
	else if (run->arrived)
		rl_run_on_arrived(run);
	else if (run->conn && run->conn->ready)
		run->conn->codec->resume(run->conn, run);
}

/* The turn has ended: if the connection that was reserved is gone, or has something to say, then on another one. */
static void send_at_last(struct rl_run *run)
{
	struct rl_conn *conn = run->conn;

	run->waiting_turn = false;
	run->conn = NULL;
	if (conn)
		conn->keeper = NULL;
	else
		conn = rl_place_take(run->place);
	while (conn && !rl_conn_is_quiet(conn, !run->replayable)) {
		rl_conn_close(conn, false);
		conn = rl_place_take(run->place);
	}
	if (conn)
		rl_run_on_conn(run, conn);
	else
		open_one(run);
}

static void on_later(struct rl_task *task)
{
	struct rl_run *run = (struct rl_run *)((char *)task - offsetof(struct rl_run, later));

	assert(!rl_run_over(run));
	if (run->failure != RL_OK)
		finish(run, run->failure);
	else if (run->waiting_turn)
		send_at_last(run);
	else
		go_on(run);
}

static void on_drain(struct rl_task *task)
{
	struct rl_run *run = (struct rl_run *)((char *)task - offsetof(struct rl_run, drain));

	assert(!rl_run_over(run) && run->streamed);
	run->asked = true;
	run->ops->on_drain(&run->call);
}

/* ---- the owner's side ---- */

static void set_up(struct rl_run *run, const struct rl_call_spec *spec, const struct rl_call_ops *ops, void *owner)
{
	run->call.owner = owner;
	run->ops = ops;
	run->times = spec->times;
	run->method = spec->method;
	run->max_head_bytes = spec->max_head_bytes ? spec->max_head_bytes : MAX_HEAD_DEFAULT;
	run->replayable = spec->replayable;
	run->body = spec->body;
	run->n_body = spec->n_body;
	run->later.run = on_later;
	run->drain.run = on_drain;
	run->streamed = spec->streamed;
	run->chunked = spec->streamed && spec->content_length < 0;
	run->upgrade = spec->upgrade;
	if (spec->streamed)
		rl_buf_init(&run->rest, MAX_REST_BYTES);
	rl_timer_init(&run->timer, on_timer);
	rl_arena_init(&run->arena, run->max_head_bytes + HEADERS_BYTES);
	if (run->request.max_bytes)
		rl_buf_reset(&run->request);
	else
		rl_buf_init(&run->request, RL_REQUEST_HEAD_MAX_BYTES);
}

/*
 * HTTP/1 sends at the turn's end: until then all that the poll has found is told, and what has come on this connection
 * closes it (idle_event), since it would pass for our answer. HTTP/2 says itself which call it means.
 */
static void use_or_reserve(struct rl_run *run, struct rl_conn *conn)
{
	if (conn->codec->room && rl_conn_is_quiet(conn, !run->replayable)) {
		rl_run_on_conn(run, conn);
		return;
	}
	if (conn->codec->room) {
		rl_conn_close(conn, false);
		open_one(run);
		return;
	}
	assert(!conn->run && !conn->keeper && !conn->idle);
	run->conn = conn;
	run->waiting_turn = true;
	conn->keeper = run;
	rl_loop_defer(run->place->pool->loop, &run->later);
}

enum rl_err rl_call_start(struct rl_pool *pool, const struct rl_call_spec *spec, const struct rl_call_ops *ops,
			  void *owner, struct rl_call **out)
{
	struct rl_place *place = rl_pool_place(pool, spec->origin);
	struct rl_run *run = place ? rl_run_get(pool) : NULL;

	assert(ops->on_head && ops->on_body && ops->on_end && ops->on_fail);
	assert(!spec->streamed || (ops->on_drain && !spec->replayable && !spec->n_body));
	assert(!spec->upgrade || (spec->streamed && !spec->content_length && ops->on_shut));
	if (!run)
		return RL_ERR_NOMEM;
	set_up(run, spec, ops, owner);
	run->place = place;
	place->n_users++;
	run->call.start_us = rl_clock_us();
	enum rl_err err = rl_run_prepare(run, spec);

	struct rl_conn *conn = err == RL_OK && !spec->upgrade ? rl_place_take(place) : NULL;

	if (err != RL_OK)
		rl_run_fail_later(run, err, "request head");
	else if (conn)
		use_or_reserve(run, conn);
	else
		open_one(run);
	*out = &run->call;
	return RL_OK;
}

void rl_call_write(struct rl_call *call, rl_str piece, bool last)
{
	struct rl_run *run = of(call);

	assert(!rl_run_over(run) && run->asked && !run->ended && !run->rest.n);
	run->ended = last;
	if (run->conn) /* otherwise it has failed, and the owner will hear of it */
		run->conn->codec->write(run->conn, run, piece, last);
}

void rl_call_pause(struct rl_call *call)
{
	of(call)->paused = true;
}

void rl_call_resume(struct rl_call *call)
{
	struct rl_run *run = of(call);

	if (!run->paused || rl_run_over(run))
		return;
	run->paused = false;
	if (run->phase == RL_PHASE_ANSWER && run->conn)
		set_timer(run, run->times.idle_ms);
	rl_loop_defer(run->place->pool->loop, &run->later);
}
