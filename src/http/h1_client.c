/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's HTTP/1.1 codec (RFC 9112). One call at a time on a connection.
 *
 * Out: the head is written once into the call's buffer and goes out together with the
 * body's slices by one gathered write. In: reads go into the loop's scratch; a head is
 * copied once, when it is there to its end, and parsed in one go, by llhttp unless it
 * is as plain as most are; a body with a length is not parsed at all, of a chunked one
 * each chunk that is not plain and whole, by llhttp in place.
 *
 * What a provider sends is not trusted: any doubt about framing fails the call, and a
 * connection serves again only if the request was sent whole, the answer ended where
 * its framing said, both sides keep alive, and no byte came after it.
 *
 * `kept` holds raw bytes that came while the owner had paused: less than one read.
 */
#include <assert.h>
#include <limits.h>
#include <llhttp.h>
#include <stdlib.h>

#include "http/client_priv.h"
#include "http/h1_parse.h"

#define INTERIM_MAX 16u
#define HEADERS_MAX 256u
#define CHUNK_EXTENSION_MAX 4096u /* bytes, all chunks of an answer (FAULTS 5) */
#define CHUNK_SILENCE_MAX 16384u  /* framing bytes in a row without one of the body; bounds trailers too */
#define IOV_MAX_HERE 32
#define PLAIN_SIZE_DIGITS 5u

enum h1_state {
	H1_HEAD = 0,
	H1_LENGTH,
	H1_CHUNKED,
	H1_TO_CLOSE,
};

struct h1_conn {
	struct rl_conn conn; /* first */
	llhttp_t parser;
	enum h1_state state;
	struct rl_buf cut; /* the beginning of a head that came in several reads */
	struct rl_buf kept;
	uint64_t left;        /* H1_LENGTH: bytes of the body to come */
	struct rl_task again; /* read without an event, because writing has failed */
	enum rl_err late; /* the connection's end, seen while the owner had paused, or in a tunnel that is half open */

	/* The request: what is out. */
	size_t head_off, part, part_off;
	bool no_more;             /* it is not sent further */
	bool shut;                /* a tunnel: our side has ended */
	bool peer_shut;           /* and theirs, as the owner knows */
	enum rl_err write_failed; /* why */

	/* The head being parsed. */
	struct rl_response_head head;
	rl_str field;
	enum rl_err head_err;
	unsigned n_length, n_coding;
	bool chunked, in_head;
	bool complete; /* the last chunk and the trailers are through */
	bool between;  /* the parser stands before a chunk's size */

	bool keep_alive;
	unsigned interims;
	size_t extension_bytes, silence_bytes;
	size_t body_bytes; /* of this run of the parser */
};

static struct h1_conn *of(struct rl_conn *conn)
{
	return (struct h1_conn *)conn;
}

/* ---- the parser's callbacks ---- */

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
	struct h1_conn *h = parser->data;

	h->field = rl_str_make(at, n);
	return 0;
}

/* keep-alive: timeout=N (seconds): the provider will close it then, so we do a little before. */
static void heed_keep_alive(struct h1_conn *h, rl_str value)
{
	while (value.p) {
		rl_str part = rl_str_trim(rl_str_cut(&value, ','));
		uint64_t s = 0;

		if (part.n < 9 || part.n > 16 || !rl_str_ieq(rl_str_sub(part, 0, 8), RL_STR("timeout=")))
			continue;
		for (size_t i = 8; i < part.n && part.p[i] >= '0' && part.p[i] <= '9'; i++)
			s = s * 10 + (uint64_t)(part.p[i] - '0');
		uint64_t ms = s > 1 ? s * 1000 - 1000 : s * 500;

		if (ms < h->conn.idle_ms)
			h->conn.idle_ms = ms;
	}
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
	struct h1_conn *h = parser->data;
	rl_str value = rl_str_trim(rl_str_make(at, n));

	if (!h->in_head)
		return 0; /* trailers are dropped */
	enum rl_field field = rl_field_find(h->field);

	if (field == RL_H_CONTENT_LENGTH) {
		h->n_length++;
	} else if (field == RL_H_TRANSFER_ENCODING) {
		h->n_coding++;
		h->chunked = rl_str_ieq(value, RL_STR("chunked"));
	} else if (field == RL_H_KEEP_ALIVE) {
		heed_keep_alive(h, value);
	}
	h->head_err = h->head.headers.n < HEADERS_MAX
			      ? rl_headers_add(&h->head.headers, &h->conn.run->arena, field, h->field, value)
			      : RL_ERR_LIMIT;
	return h->head_err == RL_OK ? 0 : HPE_USER;
}

static int on_head_complete(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED;
}

static int on_extension(llhttp_t *parser, const char *at, size_t n)
{
	struct h1_conn *h = parser->data;

	(void)at;
	h->extension_bytes += n;
	return h->extension_bytes <= CHUNK_EXTENSION_MAX ? 0 : HPE_USER;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
	struct h1_conn *h = parser->data;
	struct rl_run *run = h->conn.run;

	h->body_bytes += n;
	rl_run_on_body(run, rl_str_make(at, n));
	return h->conn.run != run || run->paused ? HPE_PAUSED : 0;
}

static int on_chunk_complete(llhttp_t *parser)
{
	struct h1_conn *h = parser->data;

	/* Told of the last one too, behind the trailers: there the message ends. */
	h->between = !(parser->flags & F_TRAILING);
	return h->between ? HPE_PAUSED : 0;
}

static int on_complete(llhttp_t *parser)
{
	struct h1_conn *h = parser->data;

	h->complete = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_head_complete,
	.on_chunk_extension_name = on_extension,
	.on_chunk_extension_value = on_extension,
	.on_body = on_body,
	.on_chunk_complete = on_chunk_complete,
	.on_message_complete = on_complete,
};

/* ---- the head of the answer ---- */

/* How the body is delimited (RFC 9112 §6.3), or what is wrong with the head. */
static const char *frame(struct h1_conn *h, bool bodiless)
{
	const llhttp_t *parser = &h->parser;

	if (h->n_length > 1)
		return "more than one content-length";
	if (h->n_coding && h->n_length)
		return "both content-length and transfer-encoding";
	if (h->n_coding && (h->n_coding > 1 || !h->chunked))
		return "unknown transfer-encoding";
	if (h->n_coding && parser->http_minor == 0)
		return "transfer-encoding in HTTP/1.0";
	if (h->n_length && parser->content_length > INT64_MAX)
		return "content-length out of range";
	h->head.content_length = h->n_length ? (int64_t)parser->content_length : -1;
	h->left = 0;
	if (bodiless) {
		h->state = H1_LENGTH;
		if (h->n_coding)
			h->keep_alive = false; /* it must not be there: who knows what follows */
	} else if (h->n_coding) {
		h->state = H1_CHUNKED;
	} else if (h->n_length) {
		h->state = H1_LENGTH;
		h->left = parser->content_length;
	} else {
		h->state = H1_TO_CLOSE;
	}
	return NULL;
}

/* Version and status; llhttp has seen to their form. */
static const char *check_start(const struct h1_conn *h)
{
	const llhttp_t *parser = &h->parser;

	if (parser->http_major != 1 || parser->http_minor > 1)
		return "HTTP version";
	if (parser->status_code < 100 || parser->status_code > 599)
		return "status out of range";
	if (parser->status_code == 101 && !h->conn.run->upgrade)
		return "switching protocols was not asked for";
	if (parser->status_code == 101 && !h->conn.run->all_sent)
		return "switching protocols before the request was sent";
	if (parser->status_code < 200 && h->interims >= INTERIM_MAX)
		return "too many interim answers";
	return NULL;
}

static void begin_head(struct h1_conn *h)
{
	llhttp_init(&h->parser, HTTP_RESPONSE, &settings);
	h->parser.data = h;
	h->state = H1_HEAD;
	h->head = (struct rl_response_head){.content_length = -1};
	h->head_err = RL_OK;
	h->n_length = h->n_coding = 0;
	h->chunked = h->complete = false;
}

/* A whole head of 200 and up: tells the owner. */
static void final_head(struct h1_conn *h, struct rl_run *run)
{
	const llhttp_t *parser = &h->parser;
	uint16_t status = parser->status_code;
	bool bodiless = status == 204 || status == 304 || run->method == RL_METHOD_HEAD;

	h->keep_alive = !(parser->flags & F_CONNECTION_CLOSE) &&
			(parser->http_minor == 1 || (parser->flags & F_CONNECTION_KEEP_ALIVE));
	const char *wrong = frame(h, bodiless);

	if (wrong) {
		rl_run_fail(run, RL_ERR_PROTOCOL, wrong);
		return;
	}
	if (!run->all_sent) {
		/* An early answer: whoever gives it does not want the rest. */
		h->no_more = true;
		h->keep_alive = false;
		rl_transport_want(h->conn.transport, true, false);
		rl_buf_reset(&run->rest);
		if (run->streamed && !run->ended && !run->upgrade)
			rl_run_on_drained(run);
	}
	if (bodiless && run->method != RL_METHOD_HEAD) /* of HEAD it is what GET would have */
		h->head.content_length = 0;
	h->head.status = status;
	rl_run_on_head(run, &h->head, bodiless || (h->state == H1_LENGTH && !h->left));
}

/* Whether a 101 says what was asked for, and nothing of a body, which it cannot have (RFC 9110 §15.2, §8.6). */
static const char *check_switch(const struct h1_conn *h)
{
	if (!rl_str_ieq(rl_headers_value(&h->head.headers, RL_H_UPGRADE), RL_STR("websocket")) ||
	    !(h->parser.flags & F_CONNECTION_UPGRADE))
		return "switching to a protocol that was not asked for";
	return h->n_length || h->n_coding ? "a body announced with 101" : NULL;
}

/* From here on all bytes are the tunnel's, and the connection serves nobody else. */
static void open_tunnel(struct h1_conn *h, struct rl_run *run)
{
	const char *wrong = check_switch(h);

	if (wrong) {
		rl_run_fail(run, RL_ERR_PROTOCOL, wrong);
		return;
	}
	h->state = H1_TO_CLOSE;
	h->keep_alive = false;
	h->head.status = 101;
	rl_run_on_head(run, &h->head, true);
	if (h->conn.run == run)
		rl_run_on_tunnel(run);
}

#ifdef RL_FUZZING
/* What parse_plain has taken, llhttp must take as well, with the same status, length and number of fields. */
static void agree_with_llhttp(struct h1_conn *h, rl_str raw)
{
	struct rl_response_head ours = h->head;
	uint64_t left = h->left;

	begin_head(h);
	h->in_head = true;
	llhttp_errno_t rc = llhttp_execute(&h->parser, raw.p, raw.n);

	h->in_head = false;
	assert(rc == HPE_PAUSED && h->head_err == RL_OK && llhttp_get_error_pos(&h->parser) == raw.p + raw.n);
	assert(h->parser.status_code == ours.status && h->parser.content_length == left && h->n_length == 1);
	assert(!h->n_coding && h->head.headers.n == ours.headers.n);
	for (uint32_t i = 0; i < ours.headers.n; i++)
		assert(rl_str_eq(h->head.headers.v[i].name, ours.headers.v[i].name) &&
		       rl_str_eq(h->head.headers.v[i].value, ours.headers.v[i].value));
	h->head = ours;
	h->state = H1_LENGTH;
	h->left = left;
}
#endif

/* A field of a plain answer; false: it says something about framing, or there are too many. */
static bool take_plain(struct h1_conn *h, const struct rl_header *f)
{
	if (f->field == RL_H_TRANSFER_ENCODING || f->field == RL_H_CONNECTION || f->field == RL_H_KEEP_ALIVE ||
	    f->field == RL_H_UPGRADE || h->head.headers.n == HEADERS_MAX)
		return false;
	if (f->field == RL_H_CONTENT_LENGTH && (h->n_length++ || !rl_h1_length(f->value, &h->head.content_length)))
		return false;
	return rl_headers_add(&h->head.headers, &h->conn.run->arena, f->field, f->name, f->value) == RL_OK;
}

/*
 * The head of nearly every answer in one piece: HTTP/1.1, a status that ends a call with a body, one Content-Length
 * and nothing about framing beside it. It is cut line by line, for a third of what llhttp's bytes cost. Whatever is
 * not just so, and all that is malformed, is left to llhttp. False: nothing has happened.
 */
static bool parse_plain(struct h1_conn *h, rl_str raw)
{
	struct rl_run *run = h->conn.run;
	rl_str head = raw, line = rl_str_cut(&head, '\n');
	int64_t status;

	if (line.n < 14 || !rl_str_starts(line, RL_STR("HTTP/1.1 ")) || line.p[12] != ' ' || !run->all_sent ||
	    run->method == RL_METHOD_HEAD || !rl_header_value_ok(rl_str_sub(line, 0, line.n - 1)))
		return false;
	if (!rl_h1_length(rl_str_sub(line, 9, 3), &status) || status < 200 || status > 599 || status == 204 ||
	    status == 304)
		return false;
	while (head.n > 2) {
		struct rl_header f;

		line = rl_str_cut(&head, '\n');
		if (line.p[0] == ' ' || line.p[0] == '\t' || !rl_h1_field(rl_str_sub(line, 0, line.n - 1), &f))
			goto other;
		if (!take_plain(h, &f))
			goto other;
	}
	if (h->n_length != 1)
		goto other;
	h->state = H1_LENGTH;
	h->left = (uint64_t)h->head.content_length;
	h->keep_alive = true;
	h->head.status = (uint16_t)status;
#ifdef RL_FUZZING
	agree_with_llhttp(h, raw);
#endif
	rl_run_on_head(run, &h->head, !h->left);
	return true;
other:
	begin_head(h);
	return false;
}

/* `text` is a whole head, to its empty line; each of its lines ends in CRLF. */
static void parse_head(struct h1_conn *h, rl_str text)
{
	struct rl_run *run = h->conn.run;
	rl_str copy = rl_arena_dup(&run->arena, text);

	if (!copy.p) {
		rl_run_fail(run, RL_ERR_NOMEM, NULL);
		return;
	}
	if (parse_plain(h, copy))
		return;
	h->in_head = true;
	llhttp_errno_t rc = llhttp_execute(&h->parser, copy.p, copy.n);

	h->in_head = false;
	if (h->head_err != RL_OK) {
		rl_run_fail(run, h->head_err == RL_ERR_LIMIT ? RL_ERR_PROTOCOL : h->head_err, "too many headers");
		return;
	}
	if (rc != HPE_PAUSED || llhttp_get_error_pos(&h->parser) != copy.p + copy.n) {
		const char *reason = rc == HPE_OK || rc == HPE_PAUSED ? NULL : llhttp_get_error_reason(&h->parser);

		rl_run_fail(run, RL_ERR_PROTOCOL, reason && *reason ? reason : "malformed head");
		return;
	}
	const char *wrong = check_start(h);

	if (wrong) {
		rl_run_fail(run, RL_ERR_PROTOCOL, wrong);
	} else if (h->parser.status_code == 101) {
		open_tunnel(h, run);
	} else if (h->parser.status_code < 200) {
		h->interims++;
		rl_arena_reset(&run->arena);
		begin_head(h);
	} else {
		llhttp_resume(&h->parser);
		final_head(h, run);
	}
}

/*
 * Looks for the end of the head in `in`, of which `from` bytes were looked at before. Returns its length, 0 if it is
 * not there yet, SIZE_MAX at a line that ends without CR: it could hide an end from us.
 */
static size_t head_end(rl_str in, size_t from)
{
	size_t at = from;

	while (at < in.n) {
		const char *lf = memchr(in.p + at, '\n', in.n - at);

		if (!lf)
			return 0;
		at = (size_t)(lf - in.p) + 1;
		if (at < 2 || in.p[at - 2] != '\r')
			return SIZE_MAX;
		if (at >= 4 && in.p[at - 3] == '\n')
			return at;
	}
	return 0;
}

/* Garbage is told at its first bytes, not when a head's end fails to come. */
static bool looks_like_http(rl_str in)
{
	static const char start[] = "HTTP/1.";
	size_t n = in.n < sizeof start - 1 ? in.n : sizeof start - 1;

	return memcmp(in.p, start, n) == 0;
}

/* Takes bytes of a head off *in. */
static void feed_head(struct h1_conn *h, rl_str *in)
{
	struct rl_run *run = h->conn.run;
	size_t had = h->cut.n, max = run->max_head_bytes, end;
	rl_str text = *in;

	if (had) {
		size_t room = max + 1 - had; /* one byte too many tells that it is too long */

		rl_buf_add(&h->cut, rl_str_sub(*in, 0, room));
		if (!rl_buf_ok(&h->cut)) {
			rl_run_fail(run, RL_ERR_NOMEM, NULL);
			return;
		}
		text = rl_buf_str(&h->cut);
	}
	end = head_end(text, had);
	if (end == SIZE_MAX || !looks_like_http(text)) {
		rl_run_fail(run, RL_ERR_PROTOCOL, end == SIZE_MAX ? "bare LF in the head" : "not HTTP/1");
		return;
	}
	if (end > max || (!end && text.n > max)) {
		rl_run_fail(run, RL_ERR_PROTOCOL, "the head is too long");
		return;
	}
	if (!end) {
		if (!had) {
			rl_buf_init(&h->cut, max + 1);
			rl_buf_add(&h->cut, *in);
			if (!rl_buf_ok(&h->cut)) {
				rl_run_fail(run, RL_ERR_NOMEM, NULL);
				return;
			}
		}
		*in = rl_str_sub(*in, in->n, 0);
		return;
	}
	*in = rl_str_sub(*in, end - had, SIZE_MAX);
	text.n = end;
	parse_head(h, text);
	if (had)
		rl_buf_fini(&h->cut);
}

/* ---- the body ---- */

/* The answer is whole; the connection rests, or closes. `clean`: nothing came after it. */
static void arrived(struct h1_conn *h, bool clean)
{
	struct rl_run *run = h->conn.run;
	bool again = clean && h->keep_alive && run->all_sent && !rl_transport_pending(h->conn.transport);

	if (run->upgrade && h->conn.place->origin->http2)
		again = false; /* the other calls there are HTTP/2's */

	h->conn.run = NULL;
	h->conn.served++;
	run->conn = NULL;
	rl_buf_fini(&h->kept); /* all of it belonged to this answer */
	if (again)
		rl_conn_rest(&h->conn);
	else
		rl_conn_close(&h->conn, false);
	rl_run_on_arrived(run);
}

#ifdef RL_FUZZING
static int on_data(llhttp_t *parser, const char *at, size_t n)
{
	(void)at;
	*(size_t *)parser->data += n;
	return 0;
}

static int on_chunk_end(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED;
}

/* What plain_chunk has taken is one chunk to llhttp too, with the same bytes of data. */
static void chunk_agrees_with_llhttp(const struct h1_conn *h, rl_str raw, size_t size)
{
	static const llhttp_settings_t chunk = {.on_body = on_data, .on_chunk_complete = on_chunk_end};
	llhttp_t copy = h->parser;
	size_t data = 0;

	copy.data = &data;
	copy.settings = (void *)(uintptr_t)&chunk;
	assert(llhttp_execute(&copy, raw.p, raw.n) == HPE_PAUSED && llhttp_get_error_pos(&copy) == raw.p + raw.n);
	assert(data == size && !(copy.flags & F_TRAILING));
}
#endif

/*
 * A chunk that is whole and as plain as most are, its size followed by CRLF, is taken past the parser, which stands
 * between two chunks and stays there. False: nothing has moved.
 */
static bool plain_chunk(struct h1_conn *h, rl_str *in)
{
	size_t size = 0, at = 0;
	int digit;

	while (at < in->n && at < PLAIN_SIZE_DIGITS && (digit = rl_hex_digit(in->p[at])) >= 0) {
		size = size << 4 | (size_t)digit;
		at++;
	}
	if (!size || in->n - at < size + 4)
		return false;
	const char *data = in->p + at + 2, *end = data + size;

	if (data[-2] != '\r' || data[-1] != '\n' || end[0] != '\r' || end[1] != '\n')
		return false;
#ifdef RL_FUZZING
	chunk_agrees_with_llhttp(h, rl_str_sub(*in, 0, at + size + 4), size);
#endif
	*in = rl_str_sub(*in, at + size + 4, SIZE_MAX);
	h->silence_bytes = 0;
	rl_run_on_body(h->conn.run, rl_str_make(data, size));
	return true;
}

static void feed_chunked(struct h1_conn *h, rl_str *in)
{
	struct rl_run *run = h->conn.run;

	if (h->between && plain_chunk(h, in))
		return;
	h->between = false;
	h->body_bytes = 0;
	llhttp_errno_t rc = llhttp_execute(&h->parser, in->p, in->n);

	if (h->conn.run != run)
		return;
	size_t used = rc == HPE_OK ? in->n : (size_t)(llhttp_get_error_pos(&h->parser) - in->p);

	if (rc != HPE_OK && rc != HPE_PAUSED) {
		const char *reason = llhttp_get_error_reason(&h->parser);

		rl_run_fail(run, RL_ERR_PROTOCOL, rc == HPE_USER || !reason ? "chunk extensions" : reason);
		return;
	}
	h->silence_bytes = h->body_bytes ? 0 : h->silence_bytes + used;
	if (h->silence_bytes > CHUNK_SILENCE_MAX) {
		rl_run_fail(run, RL_ERR_PROTOCOL, "chunk framing or trailers without end");
		return;
	}
	*in = rl_str_sub(*in, used, SIZE_MAX);
	if (rc == HPE_PAUSED) {
		llhttp_resume(&h->parser);
		if (h->complete)
			arrived(h, in->n == 0);
	}
}

static void feed_length(struct h1_conn *h, rl_str *in)
{
	struct rl_run *run = h->conn.run;
	rl_str piece = rl_str_sub(*in, 0, h->left);

	*in = rl_str_sub(*in, piece.n, SIZE_MAX);
	h->left -= piece.n;
	if (piece.n)
		rl_run_on_body(run, piece);
	if (h->conn.run == run && !h->left)
		arrived(h, in->n == 0);
}

static void feed_to_close(struct h1_conn *h, rl_str *in)
{
	rl_str piece = *in;

	*in = rl_str_sub(*in, in->n, 0);
	rl_run_on_body(h->conn.run, piece);
}

/*
 * Works through *in as far as the owner wants it; what is left in there is to be kept. False: the call has left this
 * connection (ended, failed, cancelled), which may already serve another.
 */
static bool feed(struct h1_conn *h, rl_str *in)
{
	static void (*const by_state[])(struct h1_conn *, rl_str *) = {
		[H1_HEAD] = feed_head,
		[H1_LENGTH] = feed_length,
		[H1_CHUNKED] = feed_chunked,
		[H1_TO_CLOSE] = feed_to_close,
	};
	struct rl_run *run = h->conn.run;

	do {
		if (!in->n && !(h->state == H1_LENGTH && !h->left))
			break;
		by_state[h->state](h, in);
		if (h->conn.run != run)
			return false;
	} while (h->state == H1_HEAD || !run->paused);
	return true;
}

/* ---- reading ---- */

/* Something of our side of a tunnel waits for the socket: bytes, or its end. */
static bool tunnel_waits(const struct h1_conn *h, const struct rl_run *run)
{
	return run->tunnel && !h->no_more && (run->rest.n || (run->ended && !h->shut));
}

/* The other side of a tunnel sends no more, and takes what we send: `late` has the rest of the end. */
static void half_ended(struct h1_conn *h, struct rl_run *run)
{
	h->late = RL_ERR_EOF;
	if (h->peer_shut)
		return;
	h->peer_shut = true;
	rl_run_on_shut(run);
}

/* The connection has ended, in order or not. */
static void ended(struct h1_conn *h, enum rl_err err)
{
	struct rl_run *run = h->conn.run;

	if (err == RL_ERR_EOF && run->tunnel && !h->shut && !h->write_failed) {
		half_ended(h, run);
		return;
	}
	if (run->tunnel && h->write_failed &&
	    !h->peer_shut) /* a reset that writing has met looks like an end in order */
		err = h->write_failed;
	if (err == RL_ERR_EOF && h->state == H1_TO_CLOSE) {
		arrived(h, false);
		return;
	}
	if (!run->answering && rl_run_replay(run))
		return;
	const char *detail = rl_transport_detail(h->conn.transport);

	if (err == RL_ERR_EOF || !detail || !*detail)
		detail = run->answering ? "the answer was cut" : "closed before the answer";
	rl_run_fail(run, err == RL_ERR_CLOSED ? RL_ERR_EOF : err, detail);
}

static void read_more(struct h1_conn *h)
{
	struct rl_run *run = h->conn.run;
	char *scratch = rl_loop_scratch(h->conn.place->pool->loop);
	enum rl_err err;

	if (run->paused && run->phase == RL_PHASE_ANSWER) {
		rl_transport_want(h->conn.transport, false, tunnel_waits(h, run));
		return;
	}
	if (h->kept.n || run->inflating)
		return; /* what came before goes first: the call's task is on its way */
	rl_str in = rl_str_make(scratch, rl_conn_fill(&h->conn, scratch, &err));

	if (in.n) {
		if (!run->answering)
			rl_run_on_answer(run);
		if (!feed(h, &in))
			return;
		if (in.n) {
			if (!h->kept.max_bytes)
				rl_buf_init(&h->kept, RL_LOOP_SCRATCH_BYTES);
			rl_buf_add(&h->kept, in);
			if (!rl_buf_ok(&h->kept)) {
				rl_run_fail(run, RL_ERR_NOMEM, NULL);
				return;
			}
		}
	}
	if (err == RL_OK && h->write_failed && (!run->answering || run->tunnel))
		err = h->write_failed;
	if (err != RL_OK && run->paused)
		h->late = err;
	if (err != RL_OK && !run->paused)
		ended(h, err);
	else
		rl_run_on_read_end(run);
}

static void h1_resume(struct rl_conn *conn, struct rl_run *run)
{
	struct h1_conn *h = of(conn);
	rl_str in = rl_buf_str(&h->kept);
	size_t had = in.n;

	if (run->phase != RL_PHASE_ANSWER)
		return;
	/* With nothing kept too: an answer without a body may have been stopped at its head. */
	if (!feed(h, &in))
		return;
	rl_buf_consume(&h->kept, had - in.n);
	if (!h->kept.n)
		rl_buf_fini(&h->kept);
	if (!run->paused && h->late != RL_OK) {
		ended(h, h->late);
		return;
	}
	if (!run->paused)
		rl_transport_want(conn->transport, true, tunnel_waits(h, run));
	rl_run_on_read_end(run);
}

/* ---- writing ---- */

#define LITERAL(at, lit) (memcpy((at), (lit), sizeof(lit) - 1), (at) + sizeof(lit) - 1)

static char *append(char *at, rl_str s)
{
	if (s.n)
		memcpy(at, s.p, s.n);
	return at + s.n;
}

static void add_header(struct rl_buf *out, rl_str name, rl_str value)
{
	char *at = rl_buf_reserve(out, name.n + value.n + 4);

	if (!at)
		return;
	at = append(at, name);
	at = LITERAL(at, ": ");
	at = append(at, value);
	at[0] = '\r';
	at[1] = '\n';
	out->n += name.n + value.n + 4;
}

static bool has_body(enum rl_method method, uint64_t bytes)
{
	return bytes > 0 || method == RL_METHOD_POST || method == RL_METHOD_PUT || method == RL_METHOD_PATCH;
}

enum rl_err rl_run_prepare(struct rl_run *run, const struct rl_call_spec *spec)
{
	struct rl_buf *out = &run->request;
	rl_str method = rl_method_name(spec->method);
	uint64_t bytes = 0;

	assert(method.n && spec->path.n && spec->path.p[0] == '/');
	rl_buf_add(out, method);
	rl_buf_byte(out, ' ');
	rl_buf_add(out, spec->path);
	RL_BUF_LIT(out, " HTTP/1.1\r\n");
	add_header(out, RL_STR("host"), run->place->origin->authority);
	for (size_t i = 0; i < spec->n_body; i++)
		bytes += spec->body[i].n;
	if (run->chunked) {
		RL_BUF_LIT(out, "transfer-encoding: chunked\r\n");
	} else if (has_body(spec->method, bytes)) {
		RL_BUF_LIT(out, "content-length: ");
		rl_buf_u64(out, spec->streamed ? (uint64_t)spec->content_length : bytes);
		RL_BUF_LIT(out, "\r\n");
	}
	for (size_t i = 0; i < spec->n_headers; i++) {
		const struct rl_header *header = &spec->headers[i];
		rl_str name = header->field == RL_H_OTHER ? header->name : rl_field_name(header->field);

#ifdef RL_ARENA_MALLOC /* the builds that look for faults; the caller answers for it */
		assert(rl_header_name_ok(name) && rl_header_value_ok(header->value));
#endif
		add_header(out, name, header->value);
	}
	if (run->upgrade)
		RL_BUF_LIT(out, "connection: Upgrade\r\nupgrade: websocket\r\n");
	RL_BUF_LIT(out, "\r\n");
	return rl_buf_ok(out) ? RL_OK : RL_ERR_LIMIT;
}

/* What is still to go, gathered; returns the number of slices. */
static int gather(const struct h1_conn *h, const struct rl_run *run, struct iovec *iov, size_t *total)
{
	size_t off = h->part_off;
	int n = 0;

	*total = 0;
	if (h->head_off < run->request.n) {
		iov[n++] = (struct iovec){run->request.p + h->head_off, run->request.n - h->head_off};
		*total = iov[0].iov_len;
	}
	for (size_t i = h->part; i < run->n_body && n < IOV_MAX_HERE; i++, off = 0) {
		const rl_str *part = &run->body[i];

		if (part->n == off)
			continue;
		iov[n].iov_base = (void *)(uintptr_t)(part->p + off);
		iov[n].iov_len = part->n - off;
		*total += iov[n++].iov_len;
	}
	if (run->rest.n && n < IOV_MAX_HERE) {
		iov[n++] = (struct iovec){run->rest.p, run->rest.n};
		*total += run->rest.n;
	}
	return n;
}

static void advance(struct h1_conn *h, struct rl_run *run, size_t n)
{
	size_t of_head = run->request.n - h->head_off;

	if (n < of_head)
		of_head = n;
	h->head_off += of_head;
	n -= of_head;
	while (n && h->part < run->n_body) {
		size_t rest = run->body[h->part].n - h->part_off;

		if (n < rest) {
			h->part_off += n;
			return;
		}
		n -= rest;
		h->part++;
		h->part_off = 0;
	}
	if (n)
		rl_buf_consume(&run->rest, n);
}

/* Writing fails when the peer has gone, perhaps after an answer: reading tells. */
static void stop_writing(struct h1_conn *h, enum rl_err err)
{
	h->no_more = true;
	h->write_failed = err;
	rl_transport_want(h->conn.transport, true, false);
	rl_loop_defer(h->conn.place->pool->loop, &h->again);
}

/* All of our side of a tunnel is out. */
static void end_tunnel(struct h1_conn *h)
{
	bool done = rl_transport_shutdown(h->conn.transport);

	rl_transport_want(h->conn.transport, true, !done);
	h->shut = done;
	if (done && h->peer_shut)
		rl_loop_defer(h->conn.place->pool->loop, &h->again);
}

static void write_more(struct h1_conn *h)
{
	struct rl_run *run = h->conn.run;
	struct iovec iov[IOV_MAX_HERE] __attribute__((uninitialized));
	size_t total;
	bool any = false;

	for (;;) {
		int n = gather(h, run, iov, &total);

		if (!n)
			break;
		any = true;
		enum rl_err err = RL_OK;
		size_t took = rl_transport_write(h->conn.transport, iov, n, &err);

		if (!took && err != RL_OK && err != RL_ERR_AGAIN) {
			stop_writing(h, err);
			return;
		}
		if (took)
			run->call.body_begun = true;
		advance(h, run, took);
		if (took < total) {
			rl_transport_want(h->conn.transport, true, true);
			rl_run_on_sent_some(run);
			return;
		}
	}
	rl_transport_want(h->conn.transport, true, false);
	if (run->tunnel && run->ended)
		end_tunnel(h);
	else if (!run->streamed || run->ended || (run->upgrade && !run->tunnel))
		rl_run_on_sent(run);
	else if (any)
		rl_run_on_drained(run);
}

/* A piece as it goes out, in up to three slices that are not empty: as a chunk its size and its end stand around it. */
static int frame_piece(const struct rl_run *run, rl_str piece, bool last, char size[24], struct iovec iov[3])
{
	const char *end = !last ? "\r\n" : piece.n ? "\r\n0\r\n\r\n" : "0\r\n\r\n";
	int n = 0;

	if (run->chunked && piece.n)
		iov[n++] = (struct iovec){size, (size_t)snprintf(size, 24, "%zx\r\n", piece.n)};
	if (piece.n)
		iov[n++] = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
	if (run->chunked && (piece.n || last))
		iov[n++] = (struct iovec){(void *)(uintptr_t)end, strlen(end)};
	return n;
}

static void h1_write(struct rl_conn *conn, struct rl_run *run, rl_str piece, bool last)
{
	struct h1_conn *h = of(conn);
	struct iovec iov[3];
	char size[24];
	enum rl_err err = RL_OK;

	if (h->no_more) {
		if (!last)
			rl_run_on_drained(run);
		return;
	}
	int n = frame_piece(run, piece, last, size, iov);
	size_t took = n ? rl_transport_write(conn->transport, iov, n, &err) : 0;

	if (!took && err != RL_OK && err != RL_ERR_AGAIN) {
		stop_writing(h, err);
		return;
	}
	for (int i = 0; i < n; i++) {
		size_t out = took < iov[i].iov_len ? took : iov[i].iov_len;

		rl_buf_add(&run->rest, rl_str_make((const char *)iov[i].iov_base + out, iov[i].iov_len - out));
		took -= out;
	}
	if (!rl_buf_ok(&run->rest)) {
		rl_run_fail_later(run, RL_ERR_NOMEM, NULL);
	} else if (run->rest.n) {
		rl_transport_want(conn->transport, true, true);
		rl_run_on_sent_some(run);
	} else if (last && run->tunnel) {
		end_tunnel(h);
	} else if (last) {
		rl_run_on_sent(run);
	} else {
		rl_run_on_drained(run);
	}
}

static void h1_send(struct rl_conn *conn, struct rl_run *run)
{
	struct h1_conn *h = of(conn);

	assert(!h->kept.n && !h->cut.n);
	conn->run = run;
	begin_head(h);
	h->head_off = h->part = h->part_off = 0;
	h->no_more = h->shut = h->peer_shut = false;
	h->write_failed = h->late = RL_OK;
	h->interims = 0;
	h->extension_bytes = h->silence_bytes = 0;
	write_more(h);
}

/* ---- events ---- */

/* TLS may have something to say to itself on an idle connection (a session ticket); all else ends it. */
static void idle_event(struct h1_conn *h)
{
	char c;
	enum rl_err err = RL_OK;

	if (rl_transport_read(h->conn.transport, &c, 1, &err) || (err != RL_OK && err != RL_ERR_AGAIN))
		rl_conn_close(&h->conn, false);
}

static void h1_event(struct rl_conn *conn, unsigned events)
{
	struct h1_conn *h = of(conn);
	struct rl_run *run = conn->run;

	if (!run) {
		idle_event(h);
		return;
	}
	if (events & RL_EV_FAILED) {
		ended(h, rl_transport_reason(conn->transport));
		return;
	}
	if ((events & RL_EV_WRITE) && (!run->all_sent || run->tunnel) && !h->no_more)
		write_more(h);
	if (events & (RL_EV_READ | RL_EV_HANGUP))
		read_more(h);
}

static void on_again(struct rl_task *task)
{
	struct h1_conn *h = (struct h1_conn *)((char *)task - offsetof(struct h1_conn, again));

	if (h->conn.closed || !h->conn.run)
		return;
	if (h->peer_shut && !h->conn.run->paused)
		ended(h, h->late);
	else
		read_more(h);
}

static void h1_leave(struct rl_conn *conn, struct rl_run *run)
{
	/* A reset would take what the other side of a tunnel has not read yet. */
	rl_conn_close(conn, !run->tunnel);
}

static enum rl_err h1_init(struct rl_conn *conn)
{
	of(conn)->again.run = on_again;
	return RL_OK;
}

static void h1_fini(struct rl_conn *conn)
{
	struct h1_conn *h = of(conn);

	rl_loop_undefer(conn->place->pool->loop, &h->again);
	rl_buf_fini(&h->cut);
	rl_buf_fini(&h->kept);
}

const struct rl_codec rl_h1_client = {
	.name = "http/1.1",
	.conn_bytes = sizeof(struct h1_conn),
	.init = h1_init,
	.fini = h1_fini,
	.send = h1_send,
	.write = h1_write,
	.on_event = h1_event,
	.resume = h1_resume,
	.leave = h1_leave,
};
