/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1 (RFC 9112) as a codec of server.c: one exchange at a time, the next request is looked at only when the answer
 * before it is out. A head is first found (line by line, going on where it stopped), then copied once into the
 * exchange's arena and parsed there in one go, so that every slice of it is whole and stays.
 */
#include <assert.h>

#include "base/clock.h"
#include "http/h1_parse.h"
#include "http/server_priv.h"

#define EMPTY_LINES_MAX 2u    /* before a request line (RFC 9112 §2.2) */
#define HEAD_FIXED_BYTES 256u /* of an answer's head: status line, date, framing, connection */
#define VEC_MAX 64

static void h1_init(struct rl_conn *conn)
{
	conn->h1 = (struct rl_h1){.phase = RL_H1_HEAD};
}

static uint64_t h1_body_left(const struct rl_conn *conn)
{
	return conn->h1.phase == RL_H1_LENGTH ? conn->h1.left : 0;
}

static bool is_idle(const struct rl_conn *conn)
{
	return !conn->x && conn->h1.phase == RL_H1_HEAD && !rl_conn_held(conn) && !rl_conn_queued(conn);
}

static void h1_drain(struct rl_conn *conn)
{
	if (is_idle(conn) && !conn->busy && !conn->server->retiring)
		rl_conn_fail(conn, RL_ERR_CLOSED);
}

static uint64_t h1_idle_since(const struct rl_conn *conn)
{
	const struct rl_server_limits *limits = &conn->server->limits;

	if (!is_idle(conn))
		return RL_NEVER;
	return rl_wait_began(conn->wait_until_ms, conn->h1.again ? limits->keepalive_ms : limits->header_ms);
}

static void h1_let_go(struct rl_conn *conn)
{
	rl_conn_fail(conn, RL_ERR_CLOSED);
}

static void next_request(struct rl_conn *conn)
{
	h1_init(conn);
	conn->h1.again = true;
	rl_conn_wait(conn, conn->server->limits.keepalive_ms);
}

/* ---- requests: the head ---- */

enum scan { PARTIAL, COMPLETE, BAD };

static enum scan bad(struct rl_h1_refusal *refusal, uint16_t status, const char *text)
{
	*refusal = (struct rl_h1_refusal){.status = status, .text = text};
	return BAD;
}

/*
 * Goes on looking for the empty line that ends the head; *n is the head's length then. Looks no further than the limits
 * go: how a request is refused must not depend on how it was cut on its way.
 */
static enum scan scan_head(struct rl_h1 *h1, const struct rl_server_limits *limits, rl_str all, size_t *n,
			   struct rl_h1_refusal *refusal)
{
	rl_str in = rl_str_sub(all, 0, (size_t)limits->max_header_bytes);
	const char *lf;

	while ((lf = memchr(in.p + h1->scanned, '\n', in.n - h1->scanned))) {
		size_t at = (size_t)(lf - in.p);
		rl_str line = rl_str_sub(in, h1->line, at - h1->line);

		if (!line.n || line.p[line.n - 1] != '\r')
			return bad(refusal, 400, "a line does not end in CRLF");
		if (line.n == 1) {
			*n = at + 1;
			return COMPLETE;
		}
		line.n--;
		if (!h1->lines && !rl_h1_version_ok(line, refusal))
			return BAD;
		if (line.p[0] == ' ' || line.p[0] == '\t')
			return bad(refusal, 400, "a header line begins with a blank");
		if (h1->lines > limits->max_headers)
			return bad(refusal, 431, "too many header fields");
		h1->lines++;
		h1->line = h1->scanned = at + 1;
	}
	if (all.n > in.n || in.n == limits->max_header_bytes)
		return bad(refusal, h1->lines ? 431 : 414, "the head of the request is too long");
	h1->scanned = in.n;
	return PARTIAL;
}

/* Empty lines that some clients send between requests. False: nothing to look at yet, or refused. */
static bool skip_empty_lines(struct rl_conn *conn, rl_str *in)
{
	while (in->n && in->p[0] == '\r') {
		if (in->n == 1)
			return false;
		if (in->p[1] != '\n' || ++conn->h1.empty_lines > EMPTY_LINES_MAX) {
			rl_conn_refuse(conn, 400, "empty lines instead of a request", RL_ERR_PROTOCOL);
			return false;
		}
		*in = rl_str_sub(*in, 2, SIZE_MAX);
	}
	if (in->n && !rl_header_name_ok(rl_str_sub(*in, 0, 1))) {
		rl_conn_refuse(conn, 400, "this is not a request", RL_ERR_PROTOCOL);
		return false;
	}
	return in->n > 0;
}

/* The head stands at the beginning of `raw`, whole. */
static void begin(struct rl_conn *conn, rl_str raw)
{
	struct rl_xchg *x = rl_xchg_new(conn, conn->h1.begin_us);
	struct rl_h1_refusal refusal = {.status = 503, .text = "out of memory"};
	struct rl_h1_request request;

	if (x) {
		rl_str copy = rl_arena_dup(&x->pub.arena, raw);
		if (copy.p && rl_h1_parse(copy, conn->h1.lines - 1, &x->pub.arena, &x->pub.head, &request, &refusal)) {
			rl_xchg_show(x);
		} else {
			rl_xchg_release(x);
			x = NULL;
		}
	}
	if (!x) {
		rl_conn_refuse(conn, refusal.status, refusal.text, RL_ERR_PROTOCOL);
		return;
	}
	struct rl_h1 *h1 = &conn->h1;
	h1->http10 = request.http10;
	if (request.http10)
		x->pub.version = RL_HTTP_1_0;
	h1->keep_alive = request.keep_alive;
	h1->phase = request.chunked ? RL_H1_CHUNKED : RL_H1_LENGTH;
	h1->left = request.chunked ? 0 : (uint64_t)x->pub.head.content_length;
	if (request.chunked)
		rl_chunked_init(&h1->chunked);
	x->continue_due = x->pub.head.expects_continue;
	rl_conn_wait(conn, x->pub.head.content_length ? conn->server->limits.body_idle_ms : 0);
	conn->server->ops->on_request(&x->pub, conn->server->service);
}

/*
 * On an address of both versions whoever speaks neither was to begin with HTTP/2's preface, and an invalid one ends the
 * connection (RFC 9113 §3.4; without GOAWAY, since the client does not speak HTTP/2). What only lacks a version, or has
 * another one, is told so in HTTP/1.
 */
static bool is_no_preface(const struct rl_h1 *h1, rl_str in, const struct rl_h1_refusal *refusal)
{
	return h1->unsure && !h1->lines && refusal->status == 400 && rl_h1_is_foreign(rl_str_cut(&in, '\n'));
}

/* False: cannot go on now. */
static bool read_head(struct rl_conn *conn, rl_str *in)
{
	struct rl_h1 *h1 = &conn->h1;
	struct rl_h1_refusal refusal;
	size_t n = 0;

	if (conn->x || rl_conn_queued(conn)) {
		conn->blocked = true;
		return false;
	}
	if (!h1->scanned) {
		if (!skip_empty_lines(conn, in))
			return false;
		h1->begin_us = rl_clock_us();
	}
	bool fresh = !h1->scanned;

	switch (scan_head(h1, &conn->server->limits, *in, &n, &refusal)) {
	case BAD:
		if (is_no_preface(h1, *in, &refusal))
			rl_conn_fail(conn, RL_ERR_PROTOCOL);
		else
			rl_conn_refuse(conn, refusal.status, refusal.text, RL_ERR_PROTOCOL);
		return false;
	case PARTIAL:
		if (fresh)
			rl_conn_wait(conn, conn->server->limits.header_ms);
		return false;
	case COMPLETE:
		break;
	}
	rl_str raw = rl_str_sub(*in, 0, n);

	*in = rl_str_sub(*in, n, SIZE_MAX);
	begin(conn, raw);
	return true;
}

/* ---- requests: the body ---- */

static void body_complete(struct rl_conn *conn)
{
	struct rl_xchg *x = conn->x;

	conn->h1.phase = RL_H1_ANSWER;
	rl_conn_wait(conn, 0);
	if (!x) {
		next_request(conn);
		return;
	}
	x->body_done = true;
	x->continue_due = false;
	conn->server->ops->on_body_end(&x->pub);
}

static void body_piece(struct rl_conn *conn, rl_str piece)
{
	struct rl_xchg *x = conn->x;

	if (!x) {
		conn->h1.drained += piece.n;
		if (conn->h1.drained > RL_DRAIN_MAX_BYTES)
			rl_conn_finish(conn, RL_ABORT_FLUSH_MS, false);
		return;
	}
	rl_conn_progress(conn, piece.n, conn->server->limits.body_idle_ms);
	x->continue_due = false;
	x->pub.bytes_in += piece.n;
	if (x->land)
		x->land += piece.n;
	conn->server->ops->on_body(&x->pub, piece);
}

static bool read_length_body(struct rl_conn *conn, rl_str *in)
{
	struct rl_h1 *h1 = &conn->h1;

	if (h1->left) {
		rl_str piece = rl_str_sub(*in, 0, h1->left);
		if (!piece.n)
			return false;
		*in = rl_str_sub(*in, piece.n, SIZE_MAX);
		h1->left -= piece.n;
		body_piece(conn, piece);
		return true;
	}
	body_complete(conn);
	return true;
}

static void bad_chunks(struct rl_conn *conn, const char *text, enum rl_err reason)
{
	/* Of a body that is only drained the answer has gone out: another one would be taken for the next request's. */
	if (conn->x)
		rl_conn_refuse(conn, 400, text, reason);
	else
		rl_conn_finish(conn, RL_ABORT_FLUSH_MS, false);
}

static bool read_chunked_body(struct rl_conn *conn, rl_str *in)
{
	rl_str piece;

	switch (rl_chunked_next(&conn->h1.chunked, in, &piece)) {
	case RL_OK:
		body_piece(conn, piece);
		return true;
	case RL_ERR_AGAIN:
		return false;
	case RL_ERR_EOF:
		body_complete(conn);
		return true;
	case RL_ERR_LIMIT:
		bad_chunks(conn, "chunk extensions or trailers are too long", RL_ERR_LIMIT);
		return false;
	default:
		bad_chunks(conn, "malformed chunked body", RL_ERR_PROTOCOL);
		return false;
	}
}

/*
 * What came before the tunnel is not its: a proxy in between, which has not seen our 101, has taken it for a request. So
 * the kernel is asked too.
 */
static bool h1_upgrade(struct rl_xchg *x)
{
	struct rl_conn *conn = x->conn;
	enum rl_err err = RL_OK;
	char early;

	assert(conn->h1.phase == RL_H1_ANSWER);
	if (rl_conn_held(conn) || rl_transport_read(conn->transport, &early, 1, &err)) {
		conn->h1.keep_alive = false;
		return false;
	}
	if (err != RL_OK && err != RL_ERR_AGAIN) /* it does not wait for an answer, either */
		rl_conn_fail(conn, err);
	conn->h1.phase = RL_H1_TUNNEL;
	return true;
}

static bool read_tunnel(struct rl_conn *conn, rl_str *in)
{
	rl_str piece = rl_str_sub(*in, 0, RL_LOOP_SCRATCH_BYTES);

	if (!piece.n || !conn->x)
		return false;
	*in = rl_str_sub(*in, piece.n, SIZE_MAX);
	conn->x->pub.bytes_in += piece.n;
	conn->server->ops->on_body(&conn->x->pub, piece);
	return true;
}

static bool step(struct rl_conn *conn, rl_str *in)
{
	switch (conn->h1.phase) {
	case RL_H1_HEAD:
		return read_head(conn, in);
	case RL_H1_LENGTH:
	case RL_H1_CHUNKED:
	case RL_H1_TUNNEL:
		if (conn->x && (conn->x->paused || conn->gone != RL_OK)) {
			conn->blocked = true;
			return false;
		}
		if (conn->h1.phase == RL_H1_TUNNEL)
			return read_tunnel(conn, in);
		return conn->h1.phase == RL_H1_LENGTH ? read_length_body(conn, in) : read_chunked_body(conn, in);
	case RL_H1_ANSWER:
		conn->blocked = true;
		return false;
	}
	return false;
}

static void h1_input(struct rl_conn *conn, rl_str *in)
{
	while (conn->state == RL_CONN_OPEN && step(conn, in))
		;
}

static void h1_timeout(struct rl_conn *conn)
{
	struct rl_xchg *x = conn->x;

	if (x && !x->body_done) {
		if (!x->paused)
			rl_conn_refuse(conn, 408, "the body of the request did not arrive in time", RL_ERR_TIMEOUT);
	} else if (!x && conn->h1.phase == RL_H1_HEAD && rl_conn_held(conn)) {
		rl_conn_refuse(conn, 408, "the head of the request did not arrive in time", RL_ERR_TIMEOUT);
	} else if (!x) {
		rl_conn_fail(conn, RL_ERR_TIMEOUT);
	}
}

/* ---- answers: the head ---- */

static inline char *put(char *at, rl_str s)
{
	rl_copy_short(at, s.p, s.n);
	return at + s.n;
}

static char *put_u64(char *at, uint64_t v)
{
	char digits[20];
	size_t n = sizeof digits;

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	memcpy(at, digits + n, sizeof digits - n);
	return at + sizeof digits - n;
}

/* Ours to say, whatever the owner's head holds; and nothing that would split the answer. */
static bool passes(const struct rl_header *h)
{
	switch (h->field) {
	case RL_H_CONNECTION:
	case RL_H_CONTENT_LENGTH:
	case RL_H_DATE:
	case RL_H_KEEP_ALIVE:
	case RL_H_TRANSFER_ENCODING:
		return false;
	case RL_H_OTHER:
		return rl_header_value_ok(h->name) && rl_header_value_ok(h->value);
	default:
		return rl_header_value_ok(h->value);
	}
}

static rl_str name_of(const struct rl_header *h)
{
	return h->field == RL_H_OTHER ? h->name : rl_field_name(h->field);
}

/* Does what is left of the request's body keep the connection from going on? */
static bool body_in_the_way(const struct rl_xchg *x)
{
	const struct rl_h1 *h1 = &x->conn->h1;

	return !x->body_done && (x->continue_due || (h1->phase == RL_H1_LENGTH && h1->left > RL_DRAIN_MAX_BYTES));
}

static void decide_framing(struct rl_xchg *x, const struct rl_response_head *head)
{
	struct rl_h1 *h1 = &x->conn->h1;
	bool no_body = head->status == 204 || head->status == 304;

	if (x->tunnel) {
		x->left = -1;
		x->close = true;
		return;
	}
	x->bodiless = no_body || x->pub.head.method == RL_METHOD_HEAD;
	x->left = no_body ? 0 : head->content_length;
	x->chunked = x->left < 0 && !h1->http10;
	x->close = !h1->keep_alive || x->conn->server->draining || body_in_the_way(x) ||
		   (x->left < 0 && h1->http10 && !x->bodiless);
}

static void h1_write_head(struct rl_xchg *x, const struct rl_response_head *head)
{
	rl_str reason = rl_str_of(rl_status_text(head->status));
	const struct rl_server *server = x->conn->server;
	size_t most = HEAD_FIXED_BYTES + server->always_text.n + server->hsts_text.n;
	char *begin_at, *at;

	assert((head->status >= 200 && head->status <= 999) || (head->status == 101 && x->tunnel));
	decide_framing(x, head);
	for (uint32_t i = 0; i < head->headers.n; i++)
		most += name_of(&head->headers.v[i]).n + head->headers.v[i].value.n + 4;
	if (!(begin_at = at = rl_arena_alloc(&x->pub.arena, most))) {
		rl_conn_fail(x->conn, RL_ERR_NOMEM);
		return;
	}
	at = put(at, RL_STR("HTTP/1.1 "));
	at = put_u64(at, head->status);
	*at++ = ' ';
	at = put(at, reason);
	at = put(at, RL_STR("\r\nDate: "));
	at = put(at, rl_str_make(rl_server_date(x->conn->server), RL_DATE_LEN));
	at = put(at, RL_STR("\r\n"));
	at = put(at, server->always_text);
	if (x->conn->secure)
		at = put(at, server->hsts_text);
	for (uint32_t i = 0; i < head->headers.n; i++) {
		const struct rl_header *h = &head->headers.v[i];
		if (!passes(h))
			continue;
		at = put(at, name_of(h));
		at = put(at, RL_STR(": "));
		at = put(at, h->value);
		at = put(at, RL_STR("\r\n"));
	}
	if (x->chunked) {
		at = put(at, RL_STR("Transfer-Encoding: chunked\r\n"));
	} else if (x->left >= 0 && head->status != 204 && head->status != 304) {
		at = put(at, RL_STR("Content-Length: "));
		at = put_u64(at, (uint64_t)x->left);
		at = put(at, RL_STR("\r\n"));
	}
	if (x->tunnel)
		at = put(at, RL_STR("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
	else if (x->close)
		at = put(at, RL_STR("Connection: close\r\n"));
	else if (x->conn->h1.http10)
		at = put(at, RL_STR("Connection: keep-alive\r\n"));
	at = put(at, RL_STR("\r\n"));
	assert((size_t)(at - begin_at) <= most);
	x->held = rl_str_make(begin_at, (size_t)(at - begin_at));
}

/* ---- answers: the body ---- */

static void send_answer(struct rl_xchg *x, const struct iovec *iov, int n)
{
	struct rl_conn *conn = x->conn;

	x->sent = true;
	rl_conn_send(conn, iov, n);
	if (conn->out.n && rl_conn_queued(conn) > conn->server->limits.high_water_bytes)
		x->full = true;
}

static void h1_sent(struct rl_conn *conn)
{
	struct rl_xchg *x = conn->x;

	if (!x || !x->full || rl_conn_queued(conn) > conn->server->limits.high_water_bytes / 2)
		return;
	x->full = false;
	if (!x->gone_told && conn->gone == RL_OK)
		conn->server->ops->on_drain(&x->pub);
}

struct vec {
	struct rl_xchg *x;
	int n;
	struct iovec iov[VEC_MAX];
};

/* Out of line, or vec_add would be too. */
static __attribute__((noinline)) void vec_send(struct vec *vec)
{
	send_answer(vec->x, vec->iov, vec->n);
	vec->n = 0;
}

static void vec_add(struct vec *vec, rl_str s)
{
	if (!s.n)
		return;
	if (vec->n == VEC_MAX)
		vec_send(vec);
	vec->iov[vec->n++] = (struct iovec){.iov_base = (void *)(uintptr_t)s.p, .iov_len = s.n};
}

static rl_str size_line(char *out, size_t cap, size_t v)
{
	static const char hex[] = "0123456789abcdef";
	size_t at = cap;

	out[--at] = '\n';
	out[--at] = '\r';
	do {
		out[--at] = hex[v & 15];
		v >>= 4;
	} while (v);
	return rl_str_make(out + at, cap - at);
}

static void h1_write_body(struct rl_xchg *x, const rl_str *parts, size_t n, bool last)
{
	struct vec vec __attribute__((uninitialized));

	vec.x = x;
	vec.n = 0;
	char size[20];
	size_t total = 0;

	for (size_t i = 0; i < n && !x->bodiless; i++)
		total += parts[i].n;
	if (!rl_xchg_keeps_length(x, total, last)) { /* bytes beyond it would be read as the next answer */
		rl_conn_fail(x->conn, RL_ERR_PROTOCOL);
		return;
	}
	vec_add(&vec, x->held);
	x->held = (rl_str){NULL, 0};
	if (total) {
		if (x->chunked)
			vec_add(&vec, size_line(size, sizeof size, total));
		for (size_t i = 0; i < n; i++)
			vec_add(&vec, parts[i]);
		if (x->chunked)
			vec_add(&vec, last ? RL_STR("\r\n0\r\n\r\n") : RL_STR("\r\n"));
	} else if (last && x->chunked && !x->bodiless) {
		vec_add(&vec, RL_STR("0\r\n\r\n"));
	}
	if (vec.n)
		send_answer(x, vec.iov, vec.n);
}

static void h1_write_continue(struct rl_xchg *x)
{
	rl_str line = RL_STR("HTTP/1.1 100 Continue\r\n\r\n");
	struct iovec iov = {.iov_base = (void *)(uintptr_t)line.p, .iov_len = line.n};

	send_answer(x, &iov, 1);
}

static void h1_write_raw(struct rl_xchg *x, rl_str bytes)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes.p, .iov_len = bytes.n};

	send_answer(x, &iov, 1);
}

static void h1_resume(struct rl_xchg *x)
{
	rl_conn_wait(x->conn, x->conn->server->limits.body_idle_ms);
}

static void h1_end(struct rl_xchg *x)
{
	struct rl_conn *conn = x->conn;

	/* Who was not told that the connection ends may have sent its next request already: a retiring server takes it. */
	if (x->close || (conn->server->draining && !conn->server->retiring) || body_in_the_way(x)) {
		rl_conn_finish(conn, conn->server->limits.write_idle_ms, false);
	} else if (x->body_done) {
		next_request(conn);
		if (rl_conn_held(conn))
			rl_conn_wake(conn);
	} else {
		/* The rest of the body is thrown away, within bounds of size and time. */
		conn->h1.drained = 0;
		rl_conn_wait(conn, conn->server->limits.body_idle_ms);
		rl_conn_wake(conn);
	}
}

static void h1_abort(struct rl_xchg *x, bool reset)
{
	/* Towards HTTP/1.0 the end of the connection is the end of the body: only a reset says that it is not. */
	bool endless = x->started && !x->raw && !x->chunked && x->left < 0 && !x->bodiless;

	rl_conn_finish(x->conn, reset ? 0 : RL_ABORT_FLUSH_MS, reset || endless);
}

const struct rl_server_codec rl_h1_server_codec = {
	.name = "http/1.1",
	.version = RL_HTTP_1_1,
	.init = h1_init,
	.on_input = h1_input,
	.on_timeout = h1_timeout,
	.on_sent = h1_sent,
	.write_head = h1_write_head,
	.write_body = h1_write_body,
	.write_continue = h1_write_continue,
	.write_raw = h1_write_raw,
	.upgrade = h1_upgrade,
	.resume = h1_resume,
	.end = h1_end,
	.abort = h1_abort,
	.body_left = h1_body_left,
	.drain = h1_drain,
	.idle_since = h1_idle_since,
	.let_go = h1_let_go,
};
