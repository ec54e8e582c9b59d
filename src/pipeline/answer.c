/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of answers: what passes from a provider (an allow-list), and what the gateway adds. */
#include "pipeline/request.h"

#include "base/clock.h"
#include "policy/cors.h"

#define OWN_FIELDS_MAX 10u /* what we add to a provider's fields, so that their array need not grow */
#define UPSTREAM_ID_MAX 256u

/* A provider's fields that a client may see, beside the media type; a name ending in '-' is a prefix. */
static const rl_str passing[] = {
	RL_STR_INIT("x-ratelimit-"),
	RL_STR_INIT("openai-processing-ms"),
	RL_STR_INIT("openai-version"),
	RL_STR_INIT("openai-model"),
};

/* And those that belong to an answer that passes as bytes. */
static const rl_str passing_bytes[] = {
	RL_STR_INIT("accept-ranges"), RL_STR_INIT("content-disposition"), RL_STR_INIT("content-range"),
	RL_STR_INIT("etag"),          RL_STR_INIT("last-modified"),       RL_STR_INIT("openai-poll-after-ms"),
};

/* And those of a 101. */
static const rl_str passing_tunnel[] = {
	RL_STR_INIT("sec-websocket-accept"),
	RL_STR_INIT("sec-websocket-extensions"),
	RL_STR_INIT("sec-websocket-protocol"),
};

static bool is_among(const struct rl_header *h, const rl_str *names, size_t n)
{
	for (size_t i = 0; i < n && h->field == RL_H_OTHER; i++)
		if (rl_str_ieq(h->name, names[i]))
			return true;
	return false;
}
#define IS_AMONG(h, names) is_among((h), (names), sizeof(names) / sizeof(names)[0])

static bool passes(const struct rl_header *h)
{
	switch (h->field) {
	case RL_H_CONTENT_TYPE:
	case RL_H_RETRY_AFTER:
	case RL_H_RETRY_AFTER_MS:
		return true;
	case RL_H_OTHER:
		break;
	default:
		return false;
	}
	for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
		rl_str p = passing[i];
		bool prefix = p.p[p.n - 1] == '-';

		/* Most differ in their first letter, whatever its case. */
		if (h->name.n >= p.n && ((h->name.p[0] ^ p.p[0]) & ~0x20) == 0 && (prefix || h->name.n == p.n) &&
		    strncasecmp(h->name.p, p.p, p.n) == 0)
			return true;
	}
	return false;
}

static rl_str move_text(char **at, rl_str s)
{
	rl_str moved = {*at, s.n};

	rl_copy_short(*at, s.p, s.n);
	*at += s.n;
	return moved;
}

/* What the fields say, which belongs to the call, into one piece of memory that is large enough. */
static enum rl_err own_text(struct rl_headers *kept, rl_str *id, char *at)
{
	if (!at) {
		*id = (rl_str){NULL, 0};
		kept->n = 0;
		return RL_ERR_NOMEM;
	}
	*id = move_text(&at, *id);
	for (uint32_t i = 0; i < kept->n; i++) {
		struct rl_header *h = &kept->v[i];

		h->name = h->field ? rl_field_name(h->field) : move_text(&at, h->name);
		h->value = move_text(&at, h->value);
	}
	return RL_OK;
}

/* The provider's own id of the request, by its dialect's name for it or by the usual one. */
static bool is_id(const struct rl_header *h, rl_str id_header)
{
	if (h->value.n > UPSTREAM_ID_MAX)
		return false;
	return h->field == RL_H_X_REQUEST_ID || (id_header.n && rl_str_ieq(h->name, id_header));
}

enum rl_err rl_answer_keep(struct rl_request *rq, struct rl_attempt *attempt, const struct rl_response_head *head)
{
	struct rl_headers *kept = &attempt->head.headers;
	rl_str id_header = attempt->candidate->target->provider->dialect->id_header;
	struct rl_header *v = rl_arena_alloc(&rq->arena, (head->headers.n + OWN_FIELDS_MAX) * sizeof *v);
	bool bytes = rl_pass_uninspected(rq);
	size_t text = 0;

	if (!v)
		return RL_ERR_NOMEM;
	attempt->head.status = head->status;
	attempt->head.content_length = head->content_length;
	*kept = (struct rl_headers){.v = v, .cap = head->headers.n + OWN_FIELDS_MAX};
	for (uint32_t i = 0; i < head->headers.n; i++) {
		const struct rl_header *h = &head->headers.v[i];

		if (is_id(h, id_header)) {
			attempt->upstream_request_id = h->value;
		} else if (passes(h) || (bytes && IS_AMONG(h, passing_bytes)) ||
			   (head->status == 101 && IS_AMONG(h, passing_tunnel))) {
			v[kept->n++] = *h;
			text += h->value.n + (h->field ? 0 : h->name.n);
		}
	}
	return own_text(kept, &attempt->upstream_request_id,
			rl_arena_alloc(&rq->arena, text + attempt->upstream_request_id.n));
}

static enum rl_err add(struct rl_request *rq, struct rl_headers *headers, rl_str name, rl_str value)
{
	return rl_headers_add(headers, &rq->arena, RL_H_OTHER, name, value);
}

static enum rl_err add_number(struct rl_request *rq, struct rl_headers *headers, rl_str name, uint64_t v)
{
	char *digits = rl_arena_alloc(&rq->arena, 24);

	if (!digits)
		return RL_ERR_NOMEM;
	char *at = digits + 24;
	do {
		*--at = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return add(rq, headers, name, rl_str_make(at, (size_t)(digits + 24 - at)));
}

uint64_t rl_answer_overhead_us(const struct rl_request *rq, uint64_t now_us)
{
	uint64_t since = rq->body_end_us ? rq->body_end_us : rq->begin_us;
	uint64_t spent = now_us > since ? now_us - since : 0;

	return spent > rq->waited_us ? spent - rq->waited_us : 0;
}

enum rl_err rl_answer_common(struct rl_request *rq, struct rl_headers *headers)
{
	const struct rl_attempt *served = rq->attempt;
	enum rl_err err =
		rl_headers_add(headers, &rq->arena, RL_H_X_REQUEST_ID, rl_field_name(RL_H_X_REQUEST_ID), rq->id);

	if (!err && rq->dialect->id_header.n)
		err = add(rq, headers, rq->dialect->id_header, rq->id);
	if (!err && rq->cors)
		err = rl_cors_fields(rq->cors_origin, headers, &rq->arena);
	if (err || !rq->route || !rl_route_goes_on(rq->route))
		return err;
	if (served && (rq->committed || rq->pass_error)) {
		err = add(rq, headers, RL_STR("x-relais-provider"), served->candidate->target->provider->name);
		/* A client may pin "provider/anything", so a model's name is not always fit for a header. */
		if (!err && served->candidate->target->model.n && rl_header_value_ok(served->candidate->target->model))
			err = add(rq, headers, RL_STR("x-relais-model"), served->candidate->target->model);
		if (!err && served->upstream_request_id.n)
			err = add(rq, headers, RL_STR("x-relais-upstream-request-id"), served->upstream_request_id);
	}
	if (!err && rq->dropped.n)
		err = add(rq, headers, RL_STR("x-relais-dropped"), rq->dropped);
	if (!err)
		err = add_number(rq, headers, RL_STR("x-relais-attempts"), rq->n_attempts);
	if (!err)
		err = add_number(rq, headers, RL_STR("x-relais-overhead-us"), rl_answer_overhead_us(rq, rl_clock_us()));
	return err;
}

/* Events that nobody here looks at are a stream all the same. */
static bool passes_events(const struct rl_attempt *served)
{
	rl_str type = rl_headers_value(&served->head.headers, RL_H_CONTENT_TYPE);

	return served->reading == RL_READING_BYTES && rl_media_is(type, RL_STR("text/event-stream"));
}

/* The provider's media type is that of its own words. */
static void rename_type(const struct rl_request *rq, struct rl_headers *headers)
{
	rl_str type = rq->dialect->stream_type.n ? rq->dialect->stream_type : RL_STR("text/event-stream");

	if (rq->attempt->reading != RL_READING_STREAM || rq->path_array)
		type = RL_STR("application/json");
	for (uint32_t i = 0; i < headers->n; i++)
		if (headers->v[i].field == RL_H_CONTENT_TYPE)
			headers->v[i].value = type;
}

enum rl_err rl_answer_head(struct rl_request *rq, struct rl_response_head *out)
{
	const struct rl_attempt *served = rq->attempt;
	enum rl_err err = RL_OK;

	/* The provider's fields are where they were kept, and ours go behind them: there is room, and one answer. */
	*out = (struct rl_response_head){.status = served->status,
					 .content_length = -1,
					 .headers = served->head.headers};
	if (served->translated)
		rename_type(rq, &out->headers);
	if (served->reading == RL_READING_STREAM || passes_events(served)) {
		err = rl_headers_add(&out->headers, &rq->arena, RL_H_CACHE_CONTROL, rl_field_name(RL_H_CACHE_CONTROL),
				     RL_STR("no-cache, no-transform"));
		if (!err)
			err = add(rq, &out->headers, RL_STR("x-accel-buffering"), RL_STR("no"));
	}
	return err ? err : rl_answer_common(rq, &out->headers);
}
