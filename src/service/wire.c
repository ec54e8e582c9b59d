/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer's bytes. Without a fault in them they are the server room's to frame;
 * else they are written here byte by byte (rl_exchange_raw), because no server
 * that is in order would make them. A raw answer always ends its connection.
 */
#include "service/simulator_priv.h"

#include <assert.h>
#include <stdio.h>

#define OUT_MAX_BYTES (64u << 20)
#define HEADERS_MAX 80u
#define HUGE_HEADER_MAX_BYTES (16u << 20)

bool rl_sim_wire_is_raw(const struct sim_request *rq)
{
	switch (rq->b.fault.kind) {
	case SIM_FAULT_BREAK:
	case SIM_FAULT_LENGTH_LONGER:
	case SIM_FAULT_LENGTH_SHORTER:
	case SIM_FAULT_NO_LENGTH:
	case SIM_FAULT_CHUNK_TRUNCATED:
	case SIM_FAULT_CHUNK_GARBAGE:
	case SIM_FAULT_GARBAGE_HEAD:
	case SIM_FAULT_INTERIM_STORM:
	case SIM_FAULT_HUGE_HEADERS:
	case SIM_FAULT_ENDLESS:
		return true;
	default:
		return rq->b.write_bytes > 0;
	}
}

/* ---- heads ---- */

static void http_date(time_t at, char out[40])
{
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(out, 40, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static void add(struct sim_request *rq, struct rl_headers *headers, enum rl_field field, rl_str name, rl_str value)
{
	/* Beyond the arena's limit a header is missing; the answer is still one. */
	if (value.p && rl_headers_add(headers, &rq->x->arena, field, name, value) != RL_OK)
		return;
}

static void add_retry_after(struct sim_request *rq, struct rl_headers *headers)
{
	rl_str value = rq->b.retry_after;
	char date[40];

	if (rl_str_starts(value, RL_STR("date+"))) {
		time_t later = 0;

		for (size_t i = 5; i < value.n && value.p[i] >= '0' && value.p[i] <= '9' && later < 1000000000; i++)
			later = later * 10 + (value.p[i] - '0');
		http_date(time(NULL) + later, date);
		value = rl_arena_dup(&rq->x->arena, rl_str_of(date));
	}
	if (value.n)
		add(rq, headers, RL_H_RETRY_AFTER, RL_STR("retry-after"), value);
	if (rq->b.retry_after_ms.n)
		add(rq, headers, RL_H_RETRY_AFTER_MS, RL_STR("retry-after-ms"), rq->b.retry_after_ms);
}

static void add_stated(struct sim_request *rq, struct rl_headers *headers)
{
	for (size_t i = 0; i < rq->b.n_headers; i++) {
		rl_str line = rq->b.headers[i];
		size_t colon = rl_str_find(line, ':');
		rl_str name = rl_str_sub(line, 0, colon);

		add(rq, headers, rl_field_find(name), name, rl_str_trim(rl_str_sub(line, colon + 1, SIZE_MAX)));
	}
	if (rq->b.fault.kind == SIM_FAULT_HUGE_HEADERS) {
		uint64_t n = rq->b.fault.n < HUGE_HEADER_MAX_BYTES ? rq->b.fault.n : HUGE_HEADER_MAX_BYTES;
		char *huge = rl_arena_alloc(&rq->x->arena, (size_t)n + 1);

		if (huge)
			memset(huge, 'h', (size_t)n);
		add(rq, headers, RL_H_OTHER, RL_STR("x-huge"), rl_str_make(huge, huge ? (size_t)n : 0));
	}
}

static void collect_headers(struct sim_request *rq, rl_str media_type, struct rl_headers *headers)
{
	if (rq->b.content_type.n)
		media_type = rq->b.content_type;
	else if (rq->b.fault.kind == SIM_FAULT_WRONG_MEDIA_TYPE)
		media_type = RL_STR("text/html");
	add(rq, headers, RL_H_CONTENT_TYPE, RL_STR("content-type"), media_type);
	add(rq, headers, RL_H_X_REQUEST_ID, RL_STR("x-request-id"), rq->id);
	add(rq, headers, RL_H_OTHER, RL_STR("x-sim-name"), rl_str_of(rq->sim->name));
	if (rq->b.fault.kind == SIM_FAULT_GZIP)
		add(rq, headers, RL_H_CONTENT_ENCODING, RL_STR("content-encoding"), RL_STR("gzip"));
	add_retry_after(rq, headers);
	add_stated(rq, headers);
}

static void raw_head(struct sim_request *rq, uint16_t status, const struct rl_headers *headers, int64_t length)
{
	struct rl_buf *out = &rq->out;
	char date[40];

	for (uint64_t i = 0; rq->b.fault.kind == SIM_FAULT_INTERIM_STORM && i < rq->b.fault.n && rl_buf_ok(out); i++)
		RL_BUF_LIT(out, "HTTP/1.1 102 Processing\r\n\r\n");
	if (rq->b.fault.kind == SIM_FAULT_GARBAGE_HEAD) {
		RL_BUF_LIT(out, "\x16\x03\x01 this is no HTTP\r\n\xff\xfe\r\n\r\n");
		return;
	}
	http_date(time(NULL), date);
	rl_buf_printf(out, "HTTP/1.1 %u %s\r\nDate: %s\r\n", status, rl_status_text(status), date);
	for (uint32_t i = 0; i < headers->n; i++) {
		rl_buf_add(out, headers->v[i].name);
		RL_BUF_LIT(out, ": ");
		rl_buf_add(out, headers->v[i].value);
		RL_BUF_LIT(out, "\r\n");
	}
	if (length >= 0)
		rl_buf_printf(out, "Content-Length: %lld\r\n", (long long)length);
	else if (length == -1)
		RL_BUF_LIT(out, "Transfer-Encoding: chunked\r\n");
	RL_BUF_LIT(out, "Connection: close\r\n\r\n");
	rq->chunked = length == -1;
}

void rl_sim_wire_head(struct sim_request *rq, uint16_t status, rl_str media_type, int64_t length)
{
	struct rl_response_head head = {.status = status, .content_length = length};

	collect_headers(rq, media_type, &head.headers);
	if (rq->raw)
		raw_head(rq, status, &head.headers, length);
	else
		rl_exchange_start(rq->x, &head);
}

void rl_sim_wire_reply(struct sim_request *rq, uint16_t status, rl_str media_type, rl_str body)
{
	struct rl_response_head head = {.status = status};

	assert(!rq->raw);
	collect_headers(rq, media_type, &head.headers);
	rl_exchange_reply(rq->x, &head, &body, 1);
}

/* ---- bodies ---- */

void rl_sim_wire_body(struct sim_request *rq, rl_str piece)
{
	if (!rq->raw) {
		rl_exchange_write(rq->x, &piece, 1);
		return;
	}
	if (rq->chunked)
		rl_buf_printf(&rq->out, "%zx\r\n", piece.n);
	rl_buf_add(&rq->out, piece);
	if (rq->chunked)
		RL_BUF_LIT(&rq->out, "\r\n");
}

void rl_sim_wire_event(struct sim_request *rq, rl_str event, bool last)
{
	if (rq->raw || rq->b.batch <= 1) {
		rl_sim_wire_body(rq, event);
		return;
	}
	rl_buf_add(&rq->out, event);
	if (++rq->batched < rq->b.batch && !last)
		return;
	rl_str all = rl_buf_str(&rq->out);

	rl_exchange_write(rq->x, &all, 1);
	rl_buf_reset(&rq->out);
	rq->batched = 0;
}

void rl_sim_wire_end(struct sim_request *rq)
{
	if (!rq->raw) {
		rl_exchange_end(rq->x);
		return;
	}
	if (rq->b.fault.kind == SIM_FAULT_CHUNK_TRUNCATED)
		RL_BUF_LIT(&rq->out, "1000\r\ndata: {\"id\":");
	else if (rq->chunked)
		RL_BUF_LIT(&rq->out, "0\r\n\r\n");
}

/* ---- raw bytes on their way ---- */

/* How many bytes may still go out before the answer is cut. */
static uint64_t until_cut(const struct sim_request *rq)
{
	const struct sim_fault *fault = &rq->b.fault;

	if (fault->kind != SIM_FAULT_BREAK || fault->point != SIM_AT_AFTER_BYTES || rq->break_done)
		return UINT64_MAX;
	return fault->n - rq->sent;
}

static void start_gap(struct sim_request *rq)
{
	rq->gap = true;
	rl_timer_start(rq->sim->loop, &rq->timer, rq->b.write_gap_ms);
}

bool rl_sim_wire_pump(struct sim_request *rq)
{
	while (rq->out_at < rq->out.n || until_cut(rq) == 0) {
		rl_str next =
			rl_str_sub(rl_buf_str(&rq->out), rq->out_at, rq->b.write_bytes ? rq->b.write_bytes : SIZE_MAX);
		uint64_t most = until_cut(rq);

		if (most == 0) {
			rq->break_due = true;
			return true;
		}
		if (rq->gap || rl_exchange_full(rq->x))
			return false;
		next = rl_str_sub(next, 0, most > SIZE_MAX ? SIZE_MAX : (size_t)most);
		rl_exchange_raw(rq->x, next);
		rq->out_at += next.n;
		rq->sent += next.n;
		if (rq->b.write_bytes && rq->b.write_gap_ms)
			start_gap(rq);
	}
	rl_buf_reset(&rq->out);
	rq->out_at = 0;
	return !rq->gap;
}
