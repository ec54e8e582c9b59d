/* SPDX-License-Identifier: Apache-2.0 */
/* See h2_rules.h. */
#include "http/h2_rules.h"

#include <assert.h>

#define WINDOW_MS 10000u
#define CREDIT_MAX 1000000u
#define CREDIT_PER_FRAME 2u /* a WINDOW_UPDATE for the stream and one for the connection */
#define CREDIT_BYTES 1024u  /* and one more for each of these: some give it back in small coin */
#define PADDING_MAX 256u    /* of a DATA frame: one no longer than this may hold nothing else */

#define FIELD_OVERHEAD_BYTES 32u /* of each field, by RFC 9113 §6.5.2 */
#define STATUS_DIGITS 3u
#define LENGTH_DIGITS_MAX 20u
#define OWN_FIELDS 4u /* :status, date, content-length, strict-transport-security */

/* ---- the guard ---- */

enum frame {
	DATA = 0,
	HEADERS = 1,
	CONTINUATION = 9,
};
enum { END_STREAM = 0x1, END_HEADERS = 0x4, PADDED = 0x8 };

void rl_h2_guard_init(struct rl_h2_guard *guard)
{
	*guard = (struct rl_h2_guard){.skip = RL_H2_PREFACE_BYTES};
}

static void turn_window(struct rl_h2_guard *guard, uint64_t now_ms)
{
	if (now_ms < guard->window_until_ms)
		return;
	guard->window_until_ms = now_ms + WINDOW_MS;
	guard->controls = guard->resets = guard->streams = 0;
	guard->credit /= 2; /* what answers the last frames sent may still be on its way */
}

void rl_h2_guard_sent(struct rl_h2_guard *guard, size_t n)
{
	size_t more = CREDIT_PER_FRAME + n / CREDIT_BYTES;

	guard->credit = more > CREDIT_MAX - guard->credit ? CREDIT_MAX : guard->credit + (uint32_t)more;
}

bool rl_h2_guard_reset(struct rl_h2_guard *guard, const struct rl_h2_guard_limits *limits, uint64_t now_ms)
{
	turn_window(guard, now_ms);
	guard->resets++;
	return guard->resets <= limits->max_resets || guard->resets <= guard->streams / 2;
}

static bool control(struct rl_h2_guard *guard, const struct rl_h2_guard_limits *limits)
{
	guard->controls++;
	return guard->controls <= (uint64_t)limits->max_control_frames + guard->credit;
}

static bool block(struct rl_h2_guard *guard, const struct rl_h2_guard_limits *limits, uint8_t flags)
{
	guard->block_bytes += guard->skip;
	guard->last = flags & END_HEADERS;
	guard->in_block = guard->skip || !guard->last;
	return guard->block_bytes <= limits->max_block_bytes;
}

/* The frame whose head is complete may pass. */
static bool judge(struct rl_h2_guard *guard, const struct rl_h2_guard_limits *limits)
{
	uint8_t flags = guard->head[4];
	bool hollow;

	guard->skip = (uint32_t)guard->head[0] << 16 | (uint32_t)guard->head[1] << 8 | guard->head[2];
	switch (guard->head[3]) {
	case DATA:
		hollow = !guard->skip || ((flags & PADDED) && guard->skip <= PADDING_MAX);
		return !hollow || (flags & END_STREAM) || control(guard, limits);
	case HEADERS:
		guard->streams++;
		guard->block_bytes = 0;
		return block(guard, limits, flags);
	case CONTINUATION:
		return control(guard, limits) && block(guard, limits, flags);
	default:
		return control(guard, limits);
	}
}

bool rl_h2_guard_pass(struct rl_h2_guard *guard, const struct rl_h2_guard_limits *limits, uint64_t now_ms, rl_str in,
		      size_t *n)
{
	size_t at = 0;

	turn_window(guard, now_ms);
	while (at < in.n) {
		if (guard->skip) {
			size_t most = in.n - at < guard->skip ? in.n - at : guard->skip;
			guard->skip -= (uint32_t)most;
			at += most;
			if (!guard->skip && guard->last)
				guard->in_block = false;
			continue;
		}
		assert(guard->n_head < RL_H2_FRAME_HEAD_BYTES);
		guard->head[guard->n_head++] = (uint8_t)in.p[at++];
		if (guard->n_head < RL_H2_FRAME_HEAD_BYTES)
			continue;
		guard->n_head = 0;
		if (!judge(guard, limits)) {
			*n = at;
			return false;
		}
	}
	*n = at;
	return true;
}

/* ---- requests ---- */

static rl_str *pseudo_of(struct rl_h2_head *h, rl_str name)
{
	if (rl_str_eq(name, RL_STR(":method")))
		return &h->method;
	if (rl_str_eq(name, RL_STR(":path")))
		return &h->path;
	if (rl_str_eq(name, RL_STR(":authority")))
		return &h->authority;
	return NULL; /* :scheme; whether TLS is spoken here or before us, the gateway does the same */
}

/* Of a head that is too long nothing is of use: a bomb must not take memory until its stream is answered. */
static void give_back(struct rl_h2_head *h, struct rl_request_head *head, struct rl_arena *arena)
{
	*h = (struct rl_h2_head){.bytes = h->bytes, .over = true};
	*head = (struct rl_request_head){.method = RL_METHOD_OTHER};
	rl_arena_reset(arena);
}

void rl_h2_head_add(struct rl_h2_head *h, struct rl_request_head *head, struct rl_arena *arena,
		    const struct rl_h2_head_limits *limits, rl_str name, rl_str value)
{
	h->bytes += name.n + value.n + FIELD_OVERHEAD_BYTES;
	if (h->over || h->nomem)
		return;
	if (h->bytes > limits->max_bytes || h->fields == limits->max_fields) {
		give_back(h, head, arena);
		return;
	}

	bool pseudo = name.n && name.p[0] == ':';
	rl_str copy = value.n ? rl_arena_dup(arena, value) : RL_STR("");

	if (!copy.p) {
		h->nomem = true;
		return;
	}
	if (pseudo) {
		rl_str *slot = pseudo_of(h, name);
		if (slot)
			*slot = copy;
		return;
	}
	enum rl_field field = rl_field_find(name);
	rl_str kept = field == RL_H_OTHER ? rl_arena_dup(arena, name) : (rl_str){NULL, 0};

	h->fields++;
	if ((field == RL_H_OTHER && !kept.p) || rl_headers_add(&head->headers, arena, field, kept, copy) != RL_OK)
		h->nomem = true;
}

static enum rl_h2_verdict refuse(struct rl_h1_refusal *refusal, uint16_t status, const char *text)
{
	*refusal = (struct rl_h1_refusal){.status = status, .text = text};
	return RL_H2_REFUSED;
}

static unsigned count(const struct rl_headers *headers, enum rl_field field)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < headers->n; i++)
		n += headers->v[i].field == field;
	return n;
}

/* Who is asked: one value, whichever of the two names it (RFC 9113 §8.3.1), or it could be judged by one and used by the other. */
static bool authority_ok(const struct rl_h2_head *h, struct rl_request_head *head)
{
	const struct rl_header *host = rl_headers_get(&head->headers, RL_H_HOST);

	if (count(&head->headers, RL_H_HOST) > 1)
		return false;
	head->authority = h->authority.n ? h->authority : host ? host->value : (rl_str){NULL, 0};
	if (host && !rl_str_ieq(host->value, head->authority))
		return false;
	return rl_h1_authority_ok(head->authority);
}

/* Fields that belong to one hop (RFC 9113 §8.2.2), which would be read otherwise by who speaks HTTP/1 behind us. */
static bool no_hop_fields(const struct rl_headers *headers)
{
	for (uint32_t i = 0; i < headers->n; i++) {
		const struct rl_header *h = &headers->v[i];
		switch (h->field) {
		case RL_H_CONNECTION:
		case RL_H_KEEP_ALIVE:
		case RL_H_PROXY_CONNECTION:
		case RL_H_TRANSFER_ENCODING:
		case RL_H_UPGRADE:
			return false;
		case RL_H_TE:
			if (!rl_str_eq(h->value, RL_STR("trailers")))
				return false;
			break;
		default:
			break;
		}
	}
	return true;
}

static bool length_ok(struct rl_request_head *head, bool has_body)
{
	const struct rl_header *length = rl_headers_get(&head->headers, RL_H_CONTENT_LENGTH);

	head->content_length = has_body ? -1 : 0;
	if (!length)
		return true;
	return count(&head->headers, RL_H_CONTENT_LENGTH) == 1 && rl_h1_length(length->value, &head->content_length) &&
	       (has_body || head->content_length == 0);
}

static enum rl_h2_verdict judge_expect(struct rl_request_head *head, bool has_body, struct rl_h1_refusal *refusal)
{
	const struct rl_header *expect = rl_headers_get(&head->headers, RL_H_EXPECT);

	if (count(&head->headers, RL_H_AUTHORIZATION) > 1 || count(&head->headers, RL_H_EXPECT) > 1)
		return refuse(refusal, 400, "a field that may come once came twice");
	if (expect && !rl_str_ieq(expect->value, RL_STR("100-continue")))
		return refuse(refusal, 417, "the only expectation is '100-continue'");
	head->expects_continue = expect && has_body && head->content_length != 0;
	return RL_H2_GOOD;
}

enum rl_h2_verdict rl_h2_head_judge(const struct rl_h2_head *h, struct rl_request_head *head, bool has_body,
				    struct rl_h1_refusal *refusal)
{
	if (h->nomem)
		return refuse(refusal, 503, "out of memory");
	if (h->over)
		return refuse(refusal, 431, "the head of the request is too long");
	if (rl_str_eq(h->method, RL_STR("CONNECT")))
		return RL_H2_MALFORMED;
	for (uint32_t i = 0; i < head->headers.n; i++)
		if (!rl_header_name_ok(head->headers.v[i].name) || !rl_header_value_ok(head->headers.v[i].value))
			return RL_H2_MALFORMED;
	if (!no_hop_fields(&head->headers) || !authority_ok(h, head) || !length_ok(head, has_body))
		return RL_H2_MALFORMED;
	if (!h->path.n || (h->path.p[0] != '/' && h->path.p[0] != '*'))
		return RL_H2_MALFORMED;
	if (!rl_h1_method(h->method, head, refusal))
		return refusal->status == 400 ? RL_H2_MALFORMED : RL_H2_REFUSED;
	if (!rl_h1_target(h->path, head, refusal))
		return RL_H2_MALFORMED;
	return judge_expect(head, has_body, refusal);
}

/* ---- answers ---- */

/* Ours to say, of HTTP/1 alone, or what could split an answer further on. */
static bool passes(const struct rl_header *h)
{
	switch (h->field) {
	case RL_H_CONNECTION:
	case RL_H_CONTENT_LENGTH:
	case RL_H_DATE:
	case RL_H_KEEP_ALIVE:
	case RL_H_PROXY_CONNECTION:
	case RL_H_TE:
	case RL_H_TRANSFER_ENCODING:
	case RL_H_UPGRADE:
		return false;
	case RL_H_OTHER:
		return rl_header_name_ok(h->name) && rl_header_value_ok(h->value);
	default:
		return rl_header_value_ok(h->value);
	}
}

static nghttp2_nv entry(rl_str name, rl_str value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.p,
		.namelen = name.n,
		.value = (uint8_t *)(uintptr_t)value.p,
		.valuelen = value.n,
		.flags = NGHTTP2_NV_FLAG_NONE, /* copied when they are submitted */
	};
}

/* Names go out in lower case (RFC 9113 §8.2.1). */
static rl_str lower(rl_str name, struct rl_arena *arena)
{
	rl_str copy = rl_arena_dup(arena, name);
	char *p = (char *)(uintptr_t)copy.p;

	for (size_t i = 0; p && i < copy.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] | 0x20);
	return copy;
}

static rl_str digits(char *room, size_t cap, uint64_t v)
{
	size_t at = cap;

	do {
		room[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return rl_str_make(room + at, cap - at);
}

rl_str rl_h2_answer_head(const struct rl_response_head *head, const struct rl_h2_own_fields *own,
			 struct rl_arena *arena)
{
	size_t most = OWN_FIELDS + own->n_always + head->headers.n;
	nghttp2_nv *v = rl_arena_alloc(arena, most * sizeof *v);
	char *room = rl_arena_alloc(arena, STATUS_DIGITS + LENGTH_DIGITS_MAX);
	rl_str when = rl_arena_dup(arena, own->date);
	rl_str hsts = rl_arena_dup(arena, own->hsts);
	size_t n = 0;

	assert(head->status >= 200 && head->status <= 999);
	if (!v || !room || !when.p || !hsts.p)
		return (rl_str){NULL, 0};
	v[n++] = entry(RL_STR(":status"), digits(room, STATUS_DIGITS, head->status));
	v[n++] = entry(RL_STR("date"), when);
	if (hsts.n)
		v[n++] = entry(RL_STR("strict-transport-security"), hsts);
	for (size_t i = 0; i < own->n_always + head->headers.n; i++) {
		const struct rl_header *h = i < own->n_always ? &own->always[i] : &head->headers.v[i - own->n_always];
		rl_str name;

		if (!passes(h))
			continue;
		name = h->field == RL_H_OTHER ? lower(h->name, arena) : rl_field_name(h->field);
		if (!name.p)
			return (rl_str){NULL, 0};
		v[n++] = entry(name, h->value);
	}
	if (own->length >= 0)
		v[n++] = entry(RL_STR("content-length"),
			       digits(room + STATUS_DIGITS, LENGTH_DIGITS_MAX, (uint64_t)own->length));
	assert(n <= most);
	return rl_str_make(v, n * sizeof *v);
}
