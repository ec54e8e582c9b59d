/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READ: the client's body, whole (it must be replayable until the commit point),
 * unpacked while it comes, within the limit of one body and the budget of all; then
 * its envelope.
 *
 * The budget counts bytes that have come, not lengths that were announced: an
 * announcement costs its sender nothing. So bodies may fill it that all wait for
 * their rest; then one of them, `body_ahead`, goes on beyond the budget until its
 * memory is given back. What is held is at most the budget and one body.
 */
#include "pipeline/translate.h"
#include "pipeline/upload.h"

#include "base/clock.h"

#define SLICE_BYTES (1u << 20) /* unpacked in one go, 2 ms or so */
#define WAIT_MS 50u            /* between looks at the budget of all bodies */
#define WAITS_MAX 100u         /* 5 s, then 503 */
#define BODY_SLACK 64u         /* arena rounding */
#define SMALL_BYTES 65536u     /* an eighth of the budget is kept for bodies up to this */

static uint64_t budget(const struct rl_request *rq)
{
	return rq->hold->snapshot->config->server.body_memory_bytes;
}

static void reserve(struct rl_request *rq, uint64_t n)
{
	atomic_fetch_add_explicit(&rq->worker->gateway->body_bytes, n, memory_order_relaxed);
	rq->body_reserved += n;
}

void rl_body_reserve(struct rl_request *rq, uint64_t n)
{
	if (n > rq->translate_reserved) {
		reserve(rq, n - rq->translate_reserved);
		rq->translate_reserved = n;
	}
}

static void unreserve(struct rl_request *rq)
{
	if (rq->body_reserved)
		atomic_fetch_sub_explicit(&rq->worker->gateway->body_bytes, rq->body_reserved, memory_order_relaxed);
	rq->body_reserved = rq->translate_reserved = 0;
	if (atomic_load_explicit(&rq->worker->gateway->body_ahead, memory_order_relaxed) == rq)
		atomic_store_explicit(&rq->worker->gateway->body_ahead, NULL, memory_order_relaxed);
}

void rl_body_release(struct rl_request *rq)
{
	unreserve(rq);
	rl_translate_release(rq);
	rl_arena_reset(&rq->body_arena);
	rl_buf_fini(&rq->chunked);
	rl_inflate_free(rq->inflate);
	rq->inflate = NULL;
	rq->body = (rl_str){NULL, 0};
}

/* A body whose size is known from the head, and can be held in one piece. */
static bool has_length(const struct rl_request *rq)
{
	return rq->x->head.content_length >= 0 && !rq->inflate;
}

static bool over_budget(struct rl_request *rq)
{
	struct rl_gateway *gateway = rq->worker->gateway;
	uint64_t size = has_length(rq) ? (uint64_t)rq->x->head.content_length : rq->body.n;
	const struct rl_cfg_server *limits = &rq->hold->snapshot->config->server;
	/* Even while one body goes on beyond the budget small ones pass: as much beyond it as that one may need. */
	uint64_t room = size <= SMALL_BYTES ? budget(rq) + limits->max_body_bytes : budget(rq) - budget(rq) / 8;
	struct rl_request *ahead = NULL;

	if (atomic_load_explicit(&gateway->body_bytes, memory_order_relaxed) <= room)
		return false;
	return !atomic_compare_exchange_strong(&gateway->body_ahead, &ahead, rq) && ahead != rq;
}

static enum rl_move too_large(struct rl_request *rq)
{
	return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 413, "request_too_large", NULL,
			       "The request body is larger than the limit of %llu bytes (server.max_body).",
			       (unsigned long long)rq->hold->snapshot->config->server.max_body_bytes);
}

/* Nothing is read while the budget of all bodies is used up. */
static enum rl_move hold_back(struct rl_request *rq)
{
	if (rq->body_waits++ >= WAITS_MAX) {
		enum rl_move move = rl_request_fail(
			rq, RL_FAULT_OVERLOADED, 503, "gateway_overloaded", NULL,
			"The gateway holds as many request bodies as it may (server.body_memory); try again.");
		rq->fault.retry_after_s = 1;
		return move;
	}
	rl_exchange_pause(rq->x);
	rl_timer_start(rq->worker->loop, &rq->timer, WAIT_MS);
	return RL_MOVE_WAIT;
}

static enum rl_move go_on(struct rl_request *rq)
{
	rl_exchange_resume(rq->x);
	rl_exchange_continue(rq->x);
	return RL_MOVE_WAIT;
}

/*
 * One coding at most: nested ones have no use but to be a bomb (FAULTS 43). What is sent on is the body itself.
 * RFC 9110 §8.4: "identity" is no coding; §12.5.3: an answer with 415 says which are taken.
 */
static enum rl_move open_coding(struct rl_request *rq)
{
	const struct rl_headers *headers = &rq->x->head.headers;
	rl_str coding = {NULL, 0};
	unsigned n = 0;

	for (uint32_t i = 0; i < headers->n; i++) {
		if (headers->v[i].field != RL_H_CONTENT_ENCODING)
			continue;
		for (rl_str rest = headers->v[i].value; rest.p;) {
			coding = rl_str_trim(rl_str_cut(&rest, ','));
			n++;
		}
	}
	if (n > 1)
		return rl_request_fail(
			rq, RL_FAULT_BAD_REQUEST, 400, "bad_content_encoding", NULL,
			"A request body may be compressed once; Content-Encoding names several codings.");
	if (!coding.n || rl_str_ieq(coding, RL_STR("identity")))
		return RL_MOVE_NEXT;
	switch (rl_inflate_new(coding, &rq->inflate)) {
	case RL_OK:
		return RL_MOVE_NEXT;
	case RL_ERR_UNSUPPORTED:
		rq->own.accept_encoding = RL_STR("gzip, deflate");
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 415, "unsupported_content_encoding", NULL,
				       "Request bodies may come as they are or compressed by gzip or deflate, not "
				       "otherwise.");
	default:
		return rl_request_no_memory(rq);
	}
}

enum rl_move read_run(struct rl_request *rq)
{
	if (rq->route->form)
		return rl_upload_begin(rq);
	enum rl_move move = open_coding(rq);

	if (move != RL_MOVE_NEXT)
		return move;
	if (has_length(rq))
		rl_arena_init(&rq->body_arena, (size_t)rq->x->head.content_length + BODY_SLACK);
	else
		rl_buf_init(&rq->chunked, rq->hold->snapshot->config->server.max_body_bytes + 1);
	return over_budget(rq) ? hold_back(rq) : go_on(rq);
}

static enum rl_move take_known(struct rl_request *rq, rl_str piece)
{
	size_t length = (size_t)rq->x->head.content_length;

	if (!rq->body.p) {
		rq->body.p = rl_arena_alloc(&rq->body_arena, length);
		rq->body_room = length;
		if (!rq->body.p)
			return rl_request_no_memory(rq);
	}
	if (piece.n > rq->body_room - rq->body.n)
		return too_large(rq); /* cannot be: the framing counts too */
	char *place = (char *)(uintptr_t)rq->body.p + rq->body.n;

	if (piece.p != place)
		memcpy(place, piece.p, piece.n);
	rq->body.n += piece.n;
	if (rq->body.n < length)
		rl_exchange_land(rq->x, place + piece.n);
	reserve(rq, piece.n);
	return rq->body.n < length && over_budget(rq) ? hold_back(rq) : RL_MOVE_WAIT;
}

enum rl_move rl_body_collect(struct rl_request *rq, rl_str piece)
{
	rl_buf_add(&rq->chunked, piece);
	if (!rl_buf_ok(&rq->chunked))
		return rl_request_no_memory(rq);
	reserve(rq, piece.n);
	rq->body = rl_buf_str(&rq->chunked);
	return over_budget(rq) ? hold_back(rq) : RL_MOVE_WAIT;
}

static enum rl_move take_unknown(struct rl_request *rq, rl_str piece)
{
	if (piece.n > rq->hold->snapshot->config->server.max_body_bytes - rq->chunked.n)
		return too_large(rq);
	return rl_body_collect(rq, piece);
}

static enum rl_move bad_coding(struct rl_request *rq, const char *what)
{
	return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "bad_content_encoding", NULL,
			       "The request body is not what its Content-Encoding says: %s.", what);
}

/* The next slice has a turn of its own. */
static void rest(struct rl_request *rq)
{
	rl_exchange_pause(rq->x);
	if (!rl_timer_running(&rq->timer))
		rl_timer_start(rq->worker->loop, &rq->timer, 1);
}

/*
 * What the decoder makes of the bytes it has. When the budget is used up the rest of them waits in it, so that a few
 * compressed bytes hold no more memory than others do; and so it does after SLICE_BYTES, since one read may unpack to
 * 200 times its size, for which nobody else of this worker should wait.
 */
static enum rl_move decode(struct rl_request *rq)
{
	enum rl_move move = RL_MOVE_WAIT;
	size_t made = 0;
	rl_str out;

	while (move == RL_MOVE_WAIT && !rl_timer_running(&rq->timer)) {
		switch (rl_inflate_next(rq->inflate, &out)) {
		case RL_OK:
			made += out.n;
			move = take_unknown(rq, out);
			if (move == RL_MOVE_WAIT && made >= SLICE_BYTES)
				rest(rq);
			break;
		case RL_ERR_AGAIN:
			return RL_MOVE_WAIT;
		case RL_ERR_LIMIT:
			return rl_request_fail(
				rq, RL_FAULT_BAD_REQUEST, 413, "request_too_large", NULL,
				"The request body grows more than %u times, or beyond %u MiB, when it is "
				"unpacked.",
				RL_INFLATE_MAX_RATIO, RL_INFLATE_MAX_BYTES >> 20);
		case RL_ERR_NOMEM:
			return rl_request_no_memory(rq);
		default:
			return bad_coding(rq, "it cannot be unpacked");
		}
	}
	return move == RL_MOVE_WAIT && rl_inflate_hold(rq->inflate) ? rl_request_no_memory(rq) : move;
}

static enum rl_move take(struct rl_request *rq, rl_str piece)
{
	if (has_length(rq))
		return take_known(rq, piece);
	if (!rq->inflate)
		return take_unknown(rq, piece);
	rl_inflate_feed(rq->inflate, piece);
	return decode(rq);
}

/* After a wait for the budget: first what the decoder still holds, then more from the client. */
static enum rl_move take_up(struct rl_request *rq)
{
	enum rl_move move = rq->inflate ? decode(rq) : RL_MOVE_WAIT;

	return move == RL_MOVE_WAIT && !rl_timer_running(&rq->timer) ? go_on(rq) : move;
}

/*
 * A seal of another family, which the provider of the client's own dialect would refuse. Chat completions are not looked
 * at: their seals stand in members that OpenAI's servers ignore.
 */
static bool holds_foreign_seal(const struct rl_request *rq)
{
	bool chat = rq->route->operation == RL_OP_CHAT && !rl_str_eq(rq->dialect->family, RL_STR("openai"));

	return (chat || rq->route->operation == RL_OP_RESPONSE) &&
	       memmem(rq->body.p, rq->body.n, RL_SEAL_MARK, sizeof RL_SEAL_MARK - 1);
}

static enum rl_move take_end(struct rl_request *rq)
{
	rl_timer_stop(&rq->timer);
	if (rq->inflate && !rl_inflate_ended(rq->inflate))
		return bad_coding(rq, "it ends too early");
	rl_inflate_free(rq->inflate);
	rq->inflate = NULL;
	rq->bytes_in = rq->x->bytes_in;
	rq->body_end_us = rl_clock_us();
	if (!rq->body.n && rq->route->kind != RL_ROUTE_INFERENCE)
		return RL_MOVE_NEXT;
	if (!rq->body.n)
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "missing_body", NULL,
				       "The request has no body; a JSON object is needed.");
	if (rq->dialect->read_envelope(rq->route->operation, rq->body, &rq->arena, &rq->envelope, &rq->fault))
		return RL_MOVE_FAIL;
	rq->envelope.sealed = holds_foreign_seal(rq);
	if (rq->path_model.n) {
		rq->envelope.model = rq->path_model;
		rq->envelope.stream = rq->path_stream;
		return RL_MOVE_NEXT;
	}
	/* It may stand in the body, which goes before the account is made. */
	rq->envelope.model = rl_arena_dup(&rq->arena, rq->envelope.model);
	return rq->envelope.model.p ? RL_MOVE_NEXT : rl_request_no_memory(rq);
}

enum rl_move read_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	switch (in->kind) {
	case RL_WAKE_BODY:
		return rq->upload ? rl_upload_read(rq, in->piece) : take(rq, in->piece);
	case RL_WAKE_BODY_END:
		return rq->upload ? rl_upload_read_end(rq) : take_end(rq);
	case RL_WAKE_TIMER:
		return over_budget(rq) ? hold_back(rq) : take_up(rq);
	case RL_WAKE_GONE:
		return rl_request_left(rq);
	case RL_WAKE_DRAIN:
		return RL_MOVE_WAIT;
	case RL_WAKE_SHUT:
	case RL_WAKE_NONE:
	case RL_WAKE_HEAD:
	case RL_WAKE_PIECE:
	case RL_WAKE_READ_END:
	case RL_WAKE_END:
	case RL_WAKE_ROOM:
	case RL_WAKE_FAILED:
		break; /* no call is running */
	}
	rl_request_stray(rq, in);
}
