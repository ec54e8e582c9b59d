/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer in time: it waits, thinks, speaks at its pace, breaks where it was
 * told to, and ends. drive() goes from phase to phase until something has to be
 * waited for: a timer, room in the connection, its turn among other streams.
 */
#include "service/simulator_priv.h"

#include <assert.h>
#include <zlib.h>

#define UNITS_PER_TURN 512u /* events of one stream before others have their turn */
#define RESET_DELAY_MS 20u  /* what was sent arrives before the reset does */

static void drive(struct sim_request *rq);

static rl_str stream_type(const struct sim_request *rq)
{
	rl_str type = rq->dialect->stream_type;

	return type.n ? type : RL_STR("text/event-stream; charset=utf-8");
}

/* ---- the end ---- */

static void unyield(struct sim_request *rq)
{
	struct sim_request **at = &rq->sim->yielded;

	while (rq->yielded && *at != rq)
		at = &(*at)->next_yielded;
	if (rq->yielded)
		*at = rq->next_yielded;
	rq->yielded = false;
}

void rl_sim_finish(struct sim_request *rq, enum sim_end end)
{
	assert(rq->phase != SIM_OVER);
	rq->phase = SIM_OVER;
	unyield(rq);
	rl_timer_stop(&rq->timer);
	if (end != SIM_END_NONE) {
		rq->entry.end = (uint8_t)end;
		rl_sim_ledger_add(&rq->sim->ledger, &rq->entry, rq->ending_said && end == SIM_END_WHOLE);
	}
	if (rq->encoding && rq->dialect->encoder_fini && rq->encoder.own)
		rq->dialect->encoder_fini(&rq->encoder);
	if (rq->encoding)
		rl_encoder_fini(&rq->encoder);
	rl_buf_fini(&rq->out);
	rl_buf_fini(&rq->body_more);
	rl_sim_scenario_free(rq->scenario);
	rl_sim_overrides_unref(rq->overrides);
	rq->scenario = NULL;
	rq->overrides = NULL;
}

/* The answer went as far as it should; was that all of it? */
static enum sim_end end_of(const struct sim_request *rq)
{
	switch (rq->b.fault.kind) {
	case SIM_FAULT_LENGTH_LONGER:
	case SIM_FAULT_CHUNK_TRUNCATED:
	case SIM_FAULT_CHUNK_GARBAGE:
	case SIM_FAULT_GARBAGE_HEAD:
	case SIM_FAULT_ERROR_EVENT:
		return SIM_END_CUT;
	default:
		return SIM_END_WHOLE;
	}
}

static void abort_now(struct sim_request *rq, bool reset, enum sim_end end)
{
	rl_exchange_abort(rq->x, reset);
	rl_sim_finish(rq, end);
}

/* ---- interruptions ---- */

static bool breaks_at(const struct sim_request *rq, enum sim_point point)
{
	const struct sim_fault *fault = &rq->b.fault;

	return fault->kind == SIM_FAULT_BREAK && fault->point == point && !rq->break_done;
}

/* The request may be over after this: the caller returns. */
static void interrupt(struct sim_request *rq)
{
	rq->break_due = false;
	rq->break_done = true;
	switch (rq->b.fault.action) {
	case SIM_ACT_RESET:
		if (!rq->sent) {
			abort_now(rq, true, SIM_END_CUT);
			break;
		}
		rq->phase = SIM_BREAKING;
		rl_timer_start(rq->sim->loop, &rq->timer, RESET_DELAY_MS);
		break;
	case SIM_ACT_FIN:
		abort_now(rq, false, SIM_END_CUT);
		break;
	case SIM_ACT_STALL:
		rq->resume = rq->phase;
		rq->phase = SIM_STALLED;
		if (rq->b.stall_for_ms)
			rl_timer_start(rq->sim->loop, &rq->timer, rq->b.stall_for_ms);
		break;
	case SIM_ACT_NONE:
		break;
	}
}

/* ---- whole answers ---- */

static bool is_error(const struct sim_request *rq)
{
	return rq->b.status >= 300 || rq->b.fault.kind == SIM_FAULT_ERROR_IN_200;
}

static void compress_body(struct rl_buf *body, struct rl_buf *into)
{
	z_stream z = {.next_in = (Bytef *)body->p, .avail_in = (uInt)body->n};

	rl_buf_reset(into);
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		into->failed = true;
		return;
	}
	size_t bound = deflateBound(&z, z.avail_in);

	z.next_out = (Bytef *)rl_buf_reserve(into, bound);
	z.avail_out = (uInt)bound;
	if (!z.next_out || deflate(&z, Z_FINISH) != Z_STREAM_END)
		into->failed = true;
	else
		into->n = bound - z.avail_out;
	deflateEnd(&z);
}

/* All events of a stream, for faults that need its length. */
static void render_stream(struct sim_request *rq, struct rl_buf *out)
{
	enum sim_unit unit;

	while ((unit = rl_sim_content_next(rq, out)) != SIM_UNIT_END && rl_buf_ok(out))
		rq->entry.events += unit == SIM_UNIT_CONTENT;
}

/* The body into sim->whole; its media type. */
static rl_str render(struct sim_request *rq)
{
	struct rl_buf *body = &rq->sim->whole;
	rl_str type = RL_STR("application/json");

	rl_buf_reset(body);
	if (is_error(rq)) {
		type = rl_sim_content_error(rq, body);
	} else if (rq->entry.stream) {
		type = stream_type(rq);
		render_stream(rq, body);
	} else {
		rl_sim_content_whole(rq, body);
	}
	switch (rq->b.fault.kind) {
	case SIM_FAULT_GARBAGE_BODY:
		for (size_t i = 0; i < body->n; i++)
			body->p[i] = (char)rl_rng_below(&rq->rng, 256);
		break;
	case SIM_FAULT_INVALID_JSON:
		body->n -= body->n / 3;
		break;
	case SIM_FAULT_GZIP:
		compress_body(body, &rq->sim->unit);
		rl_buf_reset(body);
		rl_buf_add(body, rl_buf_str(&rq->sim->unit));
		body->failed |= rq->sim->unit.failed;
		break;
	default:
		break;
	}
	return type;
}

/* Too much for the memory it may have: said, rather than cut. */
static void refuse_size(struct sim_request *rq)
{
	rq->entry.status = 500;
	rl_sim_reply(rq->x, 500, RL_STR("text/plain"), RL_STR("The simulator cannot make an answer that long.\n"));
	rl_sim_finish(rq, SIM_END_WHOLE);
}

static int64_t length_said(const struct sim_request *rq, size_t n)
{
	uint64_t by = rq->b.fault.n;

	switch (rq->b.fault.kind) {
	case SIM_FAULT_LENGTH_LONGER:
		return (int64_t)(n + by);
	case SIM_FAULT_LENGTH_SHORTER:
		return by < n ? (int64_t)(n - by) : 0;
	case SIM_FAULT_NO_LENGTH:
		return -2;
	case SIM_FAULT_CHUNK_TRUNCATED:
	case SIM_FAULT_CHUNK_GARBAGE:
	case SIM_FAULT_ENDLESS:
		return -1;
	default:
		return (int64_t)n;
	}
}

/* Where in a whole body it is to be interrupted; SIZE_MAX: not within it. */
static size_t break_offset(const struct sim_request *rq)
{
	size_t n = rq->whole;

	if (breaks_at(rq, SIM_AT_AFTER_HEAD))
		return 0;
	if (breaks_at(rq, SIM_AT_MID_EVENT))
		return n / 2;
	if (breaks_at(rq, SIM_AT_BEFORE_END))
		return n ? n - 1 : 0;
	if (breaks_at(rq, SIM_AT_AFTER_EVENTS))
		return rq->b.fault.n ? n : 0;
	return SIZE_MAX;
}

static void start_whole(struct sim_request *rq)
{
	if (rq->memo) {
		rl_sim_wire_reply(rq, rq->entry.status, RL_STR("application/json"), rl_sim_memo_answer(rq));
		rl_sim_finish(rq, SIM_END_WHOLE);
		return;
	}
	rl_str type = render(rq);
	struct rl_buf *body = &rq->sim->whole;

	if (!rl_buf_ok(body)) {
		refuse_size(rq);
		return;
	}
	if (!rq->raw) {
		rl_sim_memo_keep(rq, rl_buf_str(body));
		rl_sim_wire_reply(rq, rq->entry.status, type, rl_buf_str(body));
		rl_sim_finish(rq, SIM_END_WHOLE);
		return;
	}
	rq->whole = body->n;
	rq->rest = rl_arena_dup(&rq->x->arena, rl_buf_str(body));
	if (!rq->rest.p) {
		refuse_size(rq);
		return;
	}
	rl_sim_wire_head(rq, rq->entry.status, type, length_said(rq, body->n));
	if (rq->b.fault.kind == SIM_FAULT_GARBAGE_HEAD)
		rq->rest.n = 0;
	rq->phase = SIM_CONTENT;
}

/* A body without an end: there is always a next piece. */
static bool endless_content(struct sim_request *rq)
{
	rl_str piece = RL_STR("{\"endless\":\"");

	if (rq->sent)
		rl_sim_text_next(rq->sim, &rq->text, &piece);
	rl_sim_wire_body(rq, piece);
	return rl_sim_wire_pump(rq);
}

/* The next part of a raw whole body. */
static void whole_content(struct sim_request *rq)
{
	size_t offset = break_offset(rq), sent = rq->whole - rq->rest.n;

	if (rq->b.fault.kind == SIM_FAULT_CHUNK_GARBAGE && rq->rest.n) {
		rl_sim_wire_body(rq, rl_str_sub(rq->rest, 0, rq->rest.n / 2));
		RL_BUF_LIT(&rq->out, "zz\r\nno chunk\r\n");
		rq->rest.n = 0;
		rq->chunked = false;
	} else if (offset != SIZE_MAX && offset >= sent) {
		if (offset > sent)
			rl_sim_wire_body(rq, rl_str_sub(rq->rest, 0, offset - sent));
		rq->rest = rl_str_sub(rq->rest, offset - sent, SIZE_MAX);
		rq->break_due = true;
		return;
	} else if (rq->rest.n) {
		rl_sim_wire_body(rq, rq->rest);
		rq->rest.n = 0;
	}
	rl_sim_wire_end(rq);
	rq->phase = SIM_TAIL;
}

/* ---- streams ---- */

/* Lines may end in other ways than the dialect has it. The result lives in sim->whole. */
static rl_str with_line_ends(struct sim_request *rq, rl_str event)
{
	struct rl_buf *out = &rq->sim->whole;

	rl_buf_reset(out);
	for (size_t i = 0; i < event.n; i++) {
		if (event.p[i] != '\n')
			rl_buf_byte(out, event.p[i]);
		else
			rl_buf_add(out, rq->b.line_end == SIM_LINE_CR ? RL_STR("\r") : RL_STR("\r\n"));
	}
	return rl_buf_str(out);
}

static void put_event(struct sim_request *rq, rl_str event, bool last)
{
	rl_str comment = RL_STR(": keep-alive\n\n");
	bool as_it_is = rq->b.line_end == SIM_LINE_LF;

	if (rq->b.comments)
		rl_sim_wire_event(rq, as_it_is ? comment : with_line_ends(rq, comment), false);
	rl_sim_wire_event(rq, as_it_is ? event : with_line_ends(rq, event), last);
}

/* Half of an event, then the interruption; the other half stays for afterwards. */
static void put_half(struct sim_request *rq, rl_str event)
{
	rl_sim_wire_body(rq, rl_str_sub(event, 0, event.n / 2));
	rq->rest = rl_arena_dup(&rq->x->arena, rl_str_sub(event, event.n / 2, SIZE_MAX));
	rq->break_due = true;
}

/* False: the stream is at its end. */
static bool put_content(struct sim_request *rq, rl_str event)
{
	const struct sim_fault *fault = &rq->b.fault;
	bool here = rq->entry.events == fault->n;

	if (!rq->begun_said) {
		rq->begun_said = true;
		rl_sim_ledger_begun(&rq->sim->ledger, &rq->entry);
	}
	if (fault->kind == SIM_FAULT_ERROR_EVENT && here) {
		struct rl_fault error = {.cls = RL_FAULT_SERVER_ERROR,
					 .status = 500,
					 .type = rq->b.error_type,
					 .code = rq->b.error_code,
					 .message = rq->b.error_message,
					 .retry_after_s = -1};

		rl_buf_reset(&rq->sim->unit);
		if (rq->encoding) /* in the midst of a stream: it may have numbers to go on with */
			rq->dialect->encode_event(&rq->encoder,
						  &(struct rl_event){.kind = RL_EVENT_ERROR, .fault = &error},
						  &rq->sim->unit);
		else
			rq->dialect->write_stream_error(&error, &rq->sim->unit);
		put_event(rq, rl_buf_str(&rq->sim->unit), true);
		return false;
	}
	if (breaks_at(rq, SIM_AT_MID_EVENT) && here)
		put_half(rq, event);
	else if (fault->kind == SIM_FAULT_INVALID_EVENT && here)
		put_event(rq, RL_STR("data: {\"id\":\"chatcmpl-broken\",\"choices\":[{\n\n"), false);
	else if (fault->kind == SIM_FAULT_CHUNK_GARBAGE && rq->entry.events == 1)
		RL_BUF_LIT(&rq->out, "zz\r\nno chunk\r\n");
	else
		put_event(rq, event, false);
	rq->entry.events++;
	if (breaks_at(rq, SIM_AT_AFTER_EVENTS) && rq->entry.events == fault->n)
		rq->break_due = true;
	return true;
}

static void say_ending(struct sim_request *rq)
{
	if (rq->ending_said || end_of(rq) != SIM_END_WHOLE)
		return;
	rq->ending_said = true;
	rl_sim_ledger_ending(&rq->sim->ledger, &rq->entry);
}

/* What comes after the last content. */
static void put_done(struct sim_request *rq, rl_str event)
{
	bool done = rl_str_eq(event, RL_STR("data: [DONE]\n\n"));

	if (!done) {
		put_event(rq, event, true);
		return;
	}
	say_ending(rq);
	if (rq->b.fault.kind == SIM_FAULT_NO_DONE)
		return;
	put_event(rq, event, true);
	if (rq->b.fault.kind == SIM_FAULT_TWO_DONES)
		put_event(rq, event, true);
	if (rq->b.fault.kind == SIM_FAULT_DATA_AFTER_DONE)
		put_event(rq,
			  RL_STR("data: {\"id\":\"late\",\"object\":\"chat.completion.chunk\",\"created\":0,"
				 "\"model\":\"late\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"late\"},"
				 "\"finish_reason\":null}]}\n\n"),
			  true);
}

/* The events of one unit, each in its turn. False: the stream is at its end. */
static bool put_unit(struct sim_request *rq, enum sim_unit unit)
{
	rl_str rest = rl_buf_str(&rq->sim->unit);

	while (rest.n) {
		const char *end = memmem(rest.p, rest.n, "\n\n", 2);
		size_t n = end ? (size_t)(end - rest.p) + 2 : rest.n;
		rl_str event = rl_str_sub(rest, 0, n);

		rest = rl_str_sub(rest, n, SIZE_MAX);
		if (unit == SIM_UNIT_CONTENT && !rest.n) {
			if (!put_content(rq, event))
				return false;
		} else if (unit == SIM_UNIT_DONE) {
			put_done(rq, event);
		} else {
			put_event(rq, event, unit == SIM_UNIT_FINISH);
		}
	}
	return unit != SIM_UNIT_DONE;
}

/* By the pace: whether the next content event is due; starts the timer if not. */
static bool is_due(struct sim_request *rq)
{
	double rate = rq->b.tokens_per_second;
	uint64_t now = rl_loop_now_ms(rq->sim->loop);

	if (rate <= 0 || rq->stage != SIM_UNIT_CONTENT)
		return true;
	if (!rq->paced) {
		rq->paced = true;
		rq->content_since_ms = now;
	}
	double at = (double)rq->entry.events * 1000.0 / rate, passed = (double)(now - rq->content_since_ms);

	if (at <= passed)
		return true;
	rl_timer_start(rq->sim->loop, &rq->timer, (uint64_t)(at - passed) + 1);
	return false;
}

static void yield(struct sim_request *rq)
{
	struct rl_sim *sim = rq->sim;

	if (rq->yielded)
		return;
	rq->yielded = true;
	rq->next_yielded = sim->yielded;
	sim->yielded = rq;
	if (!sim->mail_posted) {
		sim->mail_posted = true;
		rl_loop_post(sim->loop, &sim->mail);
	}
}

void rl_sim_on_mail(struct rl_mail *mail, struct rl_loop *loop)
{
	struct rl_sim *sim = (struct rl_sim *)((char *)mail - offsetof(struct rl_sim, mail));
	struct sim_request *list = sim->yielded;

	(void)loop;
	sim->mail_posted = false;
	sim->yielded = NULL;
	/* Driving one does not end another: the list stands. */
	while (list) {
		struct sim_request *rq = list;

		list = rq->next_yielded;
		rq->yielded = false;
		drive(rq);
	}
}

static void end_stream(struct sim_request *rq)
{
	say_ending(rq);
	rl_sim_wire_end(rq);
	if (!rq->raw) {
		rl_sim_finish(rq, end_of(rq));
		return;
	}
	rq->phase = SIM_TAIL;
}

/* One step of a stream. False: something has to be waited for, or it is over. */
static bool stream_content(struct sim_request *rq)
{
	if (rq->rest.n) {
		rl_sim_wire_body(rq, rq->rest);
		rq->rest.n = 0;
		return true;
	}
	if (rq->stage == SIM_UNIT_CONTENT && !rq->entry.events && breaks_at(rq, SIM_AT_AFTER_EVENTS) &&
	    !rq->b.fault.n) {
		rq->break_due = true;
		return true;
	}
	if (rl_exchange_full(rq->x) || !is_due(rq))
		return false;
	rl_buf_reset(&rq->sim->unit);
	enum sim_unit unit = rl_sim_content_next(rq, &rq->sim->unit);

	if (unit == SIM_UNIT_FINISH && breaks_at(rq, SIM_AT_BEFORE_END)) {
		rq->rest = rl_arena_dup(&rq->x->arena, rl_buf_str(&rq->sim->unit));
		rq->break_due = true;
		return true;
	}
	if (!rl_buf_ok(&rq->sim->unit)) {
		abort_now(rq, true, SIM_END_CUT);
		return false;
	}
	if (put_unit(rq, unit))
		return true;
	end_stream(rq);
	return rq->phase != SIM_OVER;
}

/* ---- the driver ---- */

static uint64_t thinking_ms(struct sim_request *rq)
{
	return rl_sim_dist_draw(&rq->b.first_token, &rq->rng);
}

/* A body of known length is made before its head goes out. */
static bool is_whole(const struct sim_request *rq)
{
	switch (rq->b.fault.kind) {
	case SIM_FAULT_LENGTH_LONGER:
	case SIM_FAULT_LENGTH_SHORTER:
	case SIM_FAULT_NO_LENGTH:
	case SIM_FAULT_GZIP:
	case SIM_FAULT_GARBAGE_BODY:
	case SIM_FAULT_GARBAGE_HEAD:
		return true;
	default:
		return is_error(rq) || !rq->entry.stream;
	}
}

static void start_answer(struct sim_request *rq)
{
	if (is_whole(rq) && rq->b.fault.kind != SIM_FAULT_ENDLESS) {
		start_whole(rq);
		return;
	}
	rl_sim_wire_head(rq, rq->entry.status, rq->entry.stream ? stream_type(rq) : RL_STR("application/json"), -1);
	rq->phase = SIM_THINKING;
	if (breaks_at(rq, SIM_AT_AFTER_HEAD))
		rq->break_due = true;
}

/* False: nothing to do until something happens. */
static bool step(struct sim_request *rq)
{
	uint64_t ms;

	switch (rq->phase) {
	case SIM_HEAD_OUT:
		start_answer(rq);
		return rq->phase != SIM_OVER;
	case SIM_THINKING:
		rq->phase = SIM_CONTENT;
		ms = rq->entry.stream ? thinking_ms(rq) : 0;
		if (!ms)
			return true;
		if (!rq->raw)
			rl_exchange_flush(rq->x);
		rl_timer_start(rq->sim->loop, &rq->timer, ms);
		return false;
	case SIM_CONTENT:
		if (is_whole(rq) && rq->b.fault.kind == SIM_FAULT_ENDLESS)
			return endless_content(rq);
		if (is_whole(rq))
			whole_content(rq);
		else
			return stream_content(rq);
		return true;
	case SIM_TAIL:
		abort_now(rq, false, end_of(rq));
		return false;
	case SIM_READING:
	case SIM_WAITING:
	case SIM_STALLED:
	case SIM_BREAKING:
	case SIM_OVER:
		break;
	}
	return false;
}

static void drive(struct sim_request *rq)
{
	for (unsigned i = 0; i < UNITS_PER_TURN; i++) {
		if (rq->raw && !rl_sim_wire_pump(rq))
			return;
		if (rq->break_due) {
			interrupt(rq);
			return;
		}
		if (!step(rq))
			return;
	}
	yield(rq);
}

static void on_timer(struct rl_timer *timer)
{
	struct sim_request *rq = (struct sim_request *)((char *)timer - offsetof(struct sim_request, timer));

	rq->gap = false;
	switch (rq->phase) {
	case SIM_WAITING:
		rq->phase = SIM_HEAD_OUT;
		break;
	case SIM_STALLED:
		rq->phase = rq->resume;
		break;
	case SIM_BREAKING:
		abort_now(rq, true, SIM_END_CUT);
		return;
	default:
		break;
	}
	drive(rq);
}

void rl_sim_play_on(struct sim_request *rq)
{
	if (rq->phase == SIM_STALLED || rq->phase == SIM_BREAKING || rq->yielded || rl_timer_running(&rq->timer))
		return;
	drive(rq);
}

void rl_sim_play(struct sim_request *rq)
{
	uint64_t ms = rl_sim_dist_draw(&rq->b.latency, &rq->rng);

	rl_timer_init(&rq->timer, on_timer);
	rl_buf_init(&rq->out, SIM_WHOLE_MAX_BYTES + (16u << 20));
	rq->raw = rl_sim_wire_is_raw(rq);
	rq->phase = SIM_HEAD_OUT;
	if (!rq->entry.stream) {
		ms += thinking_ms(rq);
		if (rq->b.tokens_per_second > 0)
			ms += (uint64_t)((double)rq->entry.completion_tokens * 1000.0 / rq->b.tokens_per_second);
	}
	if (breaks_at(rq, SIM_AT_BEFORE_HEAD))
		rq->break_due = true;
	if (ms) {
		rq->phase = SIM_WAITING;
		rl_timer_start(rq->sim->loop, &rq->timer, ms);
		return;
	}
	drive(rq);
}
