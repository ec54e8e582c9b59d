/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSockets (RFC 6455), as tunnels: what a request for one must be, what of it goes to
 * the provider, and the time between its 101 and the end. Before the 101 it is a request
 * like others, with targets tried one after the other; what answers otherwise answers
 * it. Behind it bytes pass both ways, and nobody here looks at frames.
 *
 * One piece of the client's is in flight at a time: the call asks for it (ROOM), and
 * the client is paused while there is none asked for. The other way goes as in RELAY.
 *
 * Each direction ends on its own: who sends no more is told to the other side behind all
 * that it has sent, and may listen on. The second end, or silence, ends the tunnel.
 */
#include "pipeline/tunnel.h"

#include <assert.h>

#include "base/clock.h"
#include "policy/path_rule.h"

#define NAME_MAX_BYTES 15u /* of "model" with each letter encoded */

static const rl_str key_item = RL_STR_INIT("openai-insecure-api-key.");
static const rl_str protocol_field = RL_STR_INIT("sec-websocket-protocol");

struct rl_tunnel {
	rl_str model; /* its value in the query, as it stands there; p == NULL: none */
	bool room;    /* the call takes a piece of the client's */
	bool said;    /* the client sends no more */
	bool told;    /* and the call knows */
	uint64_t idle_ms;
	uint64_t moved_ms; /* when one side said something last */
};

/* ---- the request ---- */

/* "%41+b" as forms write it, into `out`, which has room for text.n. SIZE_MAX: it is malformed, or holds a control. */
static size_t decode(rl_str text, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		int c = text.p[i] == '+' ? ' ' : (unsigned char)text.p[i];

		if (c == '%') {
			int high = i + 2 < text.n ? rl_hex_digit(text.p[i + 1]) : -1;
			int low = i + 2 < text.n ? rl_hex_digit(text.p[i + 2]) : -1;

			if (high < 0 || low < 0)
				return SIZE_MAX;
			c = high * 16 + low;
			i += 2;
		}
		if (c < 0x20 || c == 0x7F)
			return SIZE_MAX;
		out[n++] = (char)c;
	}
	return n;
}

static bool is_model(rl_str name)
{
	char out[NAME_MAX_BYTES];
	size_t n = name.n <= sizeof out ? decode(name, out) : SIZE_MAX;

	return n != SIZE_MAX && rl_str_eq(rl_str_make(out, n), RL_STR("model"));
}

static enum rl_move bad_query(struct rl_request *rq, const char *why)
{
	return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "invalid_query", "model", "The request is not taken: %s.",
			       why);
}

/* Which model the query names, if it does: rq->envelope.model, and where it stands. */
static enum rl_move read_model(struct rl_request *rq)
{
	rl_str query = rq->x->head.query, rest = query;
	rl_str *found = &rq->tunnel->model;

	while (rest.p) {
		rl_str value = rl_str_cut(&rest, '&'), name = rl_str_cut(&value, '=');

		if (!is_model(name) || !value.n)
			continue;
		if (found->p)
			return bad_query(rq, "its query names a model twice");
		*found = value;
	}
	if (!found->p)
		return RL_MOVE_NEXT;
	char *out = rl_arena_alloc(&rq->arena, found->n);
	size_t n = out ? decode(*found, out) : 0;

	if (!out)
		return rl_request_no_memory(rq);
	if (n == SIZE_MAX)
		return bad_query(rq, "the model in its query is malformed");
	rq->envelope.model = rl_str_make(out, n);
	return RL_MOVE_NEXT;
}

enum rl_move rl_tunnel_check(struct rl_request *rq)
{
	const char *why = rl_query_refused(rq->x->head.query);

	if (!rl_exchange_asks_upgrade(rq->x))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "websocket_expected", NULL,
				       rq->http == RL_HTTP_2 ? "This route is a WebSocket, and those need HTTP/1.1."
							     : "This route is a WebSocket: ask for it by GET with "
							       "'Upgrade: websocket' and 'Connection: Upgrade'.");
	if (why)
		return bad_query(rq, why);
	/* There the messages name the model, which nobody here reads. */
	if (rl_str_eq(rq->route->path, RL_STR("/v1/responses")) && !rl_caller_may_pass(rq->client))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 403, "route_not_allowed", NULL,
				       "This API key is limited to some models, and a WebSocket of this route may ask "
				       "for any. 'passthrough: true' beside the key's models allows it.");
	if (!(rq->tunnel = RL_NEW(&rq->arena, struct rl_tunnel)))
		return rl_request_no_memory(rq);
	rq->tunnel->idle_ms = rq->hold->snapshot->config->server.tunnel_idle_ms;
	return read_model(rq);
}

static bool is_key(rl_str item)
{
	return rl_str_ieq(rl_str_sub(item, 0, key_item.n), key_item);
}

rl_str rl_tunnel_key(const struct rl_headers *headers)
{
	for (uint32_t i = 0; i < headers->n; i++) {
		rl_str list = headers->v[i].value;

		while (rl_str_ieq(headers->v[i].name, protocol_field) && list.p) {
			rl_str item = rl_str_trim(rl_str_cut(&list, ','));

			if (is_key(item))
				return rl_str_sub(item, key_item.n, SIZE_MAX);
		}
	}
	return rl_str_make(NULL, 0);
}

rl_str rl_tunnel_protocols(struct rl_request *rq)
{
	const struct rl_headers *headers = &rq->x->head.headers;
	rl_str all = rl_str_make("", 0);

	for (uint32_t i = 0; i < headers->n; i++) {
		rl_str list = headers->v[i].value;

		while (rl_str_ieq(headers->v[i].name, protocol_field) && list.p) {
			rl_str item = rl_str_trim(rl_str_cut(&list, ','));

			if (item.n && !is_key(item))
				all = rl_arena_printf(&rq->arena, "%.*s%s%.*s", RL_STR_ARG(all), all.n ? ", " : "",
						      RL_STR_ARG(item));
		}
	}
	return all;
}

static bool is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

rl_str rl_tunnel_query(struct rl_request *rq, const struct rl_target *target)
{
	static const char digits[] = "0123456789ABCDEF";
	rl_str query = rq->x->head.query, model = rq->tunnel->model;

	if (!model.p)
		return query;
	size_t before = (size_t)(model.p - query.p), after = query.n - before - model.n;
	char *out = rl_arena_alloc(&rq->arena, query.n + 3 * target->model.n), *at = out;

	if (!out)
		return rl_str_make(NULL, 0);
	memcpy(at, query.p, before);
	at += before;
	for (size_t i = 0; i < target->model.n; i++) {
		unsigned char c = (unsigned char)target->model.p[i];

		if (is_plain((char)c)) {
			*at++ = (char)c;
			continue;
		}
		*at++ = '%';
		*at++ = digits[c >> 4];
		*at++ = digits[c & 15];
	}
	memcpy(at, model.p + model.n, after);
	return rl_str_make(out, (size_t)(at - out) + after);
}

/* ---- the tunnel ---- */

static uint64_t now_ms(const struct rl_request *rq)
{
	return rl_loop_now_ms(rq->worker->loop);
}

/* It ends, and the account is made; what is left of both sides ends there. */
static enum rl_move end(struct rl_request *rq, enum rl_outcome outcome, const char *why)
{
	bool ok = outcome == RL_OUTCOME_OK;

	rl_attempt_settle(rq->attempt, ok ? RL_FAULT_NONE : RL_FAULT_CANCELLED, rl_str_of(why));
	rl_attempt_cancel(rq->attempt);
	rq->outcome = outcome;
	if (!ok)
		rq->fault =
			(struct rl_fault){.cls = RL_FAULT_CANCELLED, .message = rl_str_of(why), .retry_after_s = -1};
	return rl_request_jump(rq, RL_STEP_ACCOUNT);
}

/* What the client sent before it had our 101 may be a request that someone between us has seen (FAULTS 14). */
static enum rl_move too_early(struct rl_request *rq)
{
	rl_attempt_settle(rq->attempt, RL_FAULT_CANCELLED, RL_STR("the client did not wait"));
	rl_attempt_cancel(rq->attempt);
	rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "websocket_too_early", NULL,
			"Bytes came before the WebSocket was accepted; wait for the answer 101.");
	return rl_request_jump(rq, RL_STEP_REPLY);
}

enum rl_move rl_tunnel_open(struct rl_request *rq)
{
	struct rl_response_head head;

	if (rl_answer_head(rq, &head))
		return rl_request_no_memory(rq);
	rl_exchange_pause(rq->x);
	if (!rl_exchange_upgrade(rq->x, &head))
		return too_early(rq);
	rl_exchange_forget(rq->x);
	rq->status = head.status;
	rq->first_byte_us = rl_clock_us() - rq->begin_us;
	rq->tunnelled = true;
	rq->tunnel->moved_ms = now_ms(rq);
	rl_timer_start(rq->worker->loop, &rq->timer, rq->tunnel->idle_ms);
	return RL_MOVE_WAIT;
}

void rl_tunnel_moved(struct rl_request *rq)
{
	rq->tunnel->moved_ms = now_ms(rq);
}

static enum rl_move pass_up(struct rl_request *rq, rl_str piece)
{
	assert(rq->tunnel->room);
	rl_tunnel_moved(rq);
	rq->bytes_in += piece.n;
	rq->tunnel->room = false;
	rl_exchange_pause(rq->x);
	rl_call_write(rq->attempt->call, piece, false);
	return RL_MOVE_WAIT;
}

/* The client sends no more. What it said last may still be in flight. */
static enum rl_move end_up(struct rl_request *rq)
{
	struct rl_tunnel *t = rq->tunnel;

	t->said = true;
	if (!t->room || t->told)
		return RL_MOVE_WAIT;
	t->told = true;
	rl_tunnel_moved(rq);
	rl_call_write(rq->attempt->call, rl_str_make("", 0), true);
	return RL_MOVE_WAIT;
}

bool rl_tunnel_was_over(const struct rl_request *rq, enum rl_err err)
{
	return rq->tunnelled && rq->tunnel->told && (err == RL_ERR_RESET || err == RL_ERR_TLS);
}

/* The timer is not moved with each piece: when it runs out, it looks how long both sides have been silent. */
static enum rl_move look_idle(struct rl_request *rq)
{
	uint64_t silent_ms = now_ms(rq) - rq->tunnel->moved_ms;

	if (silent_ms >= rq->tunnel->idle_ms)
		return end(rq, RL_OUTCOME_CUT, "neither side has said anything (server.tunnel_idle)");
	rl_timer_start(rq->worker->loop, &rq->timer, rq->tunnel->idle_ms - silent_ms);
	return RL_MOVE_WAIT;
}

enum rl_move rl_tunnel_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	assert(rq->tunnelled);
	switch (in->kind) {
	case RL_WAKE_ROOM:
		rq->tunnel->room = true;
		if (rq->tunnel->said)
			return end_up(rq);
		rl_exchange_resume(rq->x);
		return RL_MOVE_WAIT;
	case RL_WAKE_BODY:
		return pass_up(rq, in->piece);
	case RL_WAKE_BODY_END:
		return end_up(rq);
	case RL_WAKE_SHUT: /* all that it sent is written */
		rl_tunnel_moved(rq);
		rl_exchange_shut(rq->x);
		return RL_MOVE_WAIT;
	case RL_WAKE_TIMER:
		return look_idle(rq);
	case RL_WAKE_GONE:
		/* After its own end it may stop listening as it likes. */
		if (in->err == RL_ERR_EOF || (in->err == RL_ERR_RESET && rq->tunnel->said))
			return end(rq, RL_OUTCOME_OK, "");
		return end(rq, RL_OUTCOME_CUT,
			   in->err == RL_ERR_SHUTDOWN ? "the gateway ends" : "the client broke off");
	default:
		rl_request_stray(rq, in);
	}
}
