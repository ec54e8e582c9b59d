/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 (RFC 9113) as a codec of server.c, over nghttp2 in its form without I/O: bytes go in, callbacks note what they
 * mean, bytes come out.
 *
 * nghttp2 is never entered from its own callbacks, and no owner is called from them: they only write down in a stream
 * what has happened and put it on the list of ready ones. `work` then serves that list, sends, and sees whether the
 * connection is over. Owners' calls submit and send at once, so that each piece of an answer leaves as a DATA frame of
 * its own as long as the client's windows and the socket take it; what they do not take waits in its stream.
 *
 * A stream lives until nghttp2 has closed it and its exchange, if any, has been ended by the owner. Of a request's body
 * no more waits here than the stream's window (64 KiB), which the owner's progress moves; the connection's window is
 * given back at once, so that one stream cannot hold up the others. A window that keeps its owner waiting, which is one
 * that is too small for the way to the client, is doubled each time that it has been filled, within bounds.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/h2_rules.h"
#include "http/server_priv.h"

#define WINDOW_BYTES 65535                /* of a stream: the protocol's own initial value */
#define WINDOW_MAX_BYTES (512 * 1024)     /* what it may grow to: 10 MB/s over 50 ms, and one piece of an upload */
#define WIDER_MAX_BYTES (1 << 20)         /* by how much all streams of a connection may grow */
#define CONNECTION_WINDOW_BYTES (1 << 20) /* all streams together, on their way */
#define OUT_MARK_BYTES 65536u             /* no more frames are made while so much waits for the socket */
#define OUT_MAX_BYTES (64u << 20)         /* queued by an owner that does not heed rl_exchange_full */
#define GATHER_BYTES 8192u                /* small frames go out together */
#define KEEP_BYTES 65536u                 /* an emptied queue that is larger gives its memory back */
#define BLOCK_MS 5000u                    /* for a head that came in several frames, if header_timeout is longer */
#define SHUTDOWN_NOTICE_MS 1000u          /* a client that does not answer our PING by then is not waited for */
#define ROUNDS_MAX 4u                     /* of serving and sending in one go; the rest in the next turn */

struct rl_h2_stream {
	struct rl_conn *conn;
	struct rl_h2_stream *next, *prev, *next_ready;
	struct rl_xchg *x; /* NULL when its owner has ended it, or when there is none to be */
	struct rl_h2_head head;
	struct rl_buf in;  /* body bytes that the owner has not taken */
	struct rl_buf out; /* of the answer, from out_at on */
	size_t out_at;
	uint64_t read_until_ms, write_until_ms; /* for the body's next bytes; for the client to take some */
	int32_t window;                         /* that the client has for the body */
	size_t taken;                           /* by the owner, since the window was looked at last */
	bool starved;                           /* meanwhile the owner had nothing to take */
	int32_t id;
	uint32_t error; /* with which it closed */
	bool ready;     /* on the list */
	bool headed;    /* the request's head is whole */
	bool has_body;  /* and does not end the request */
	bool in_end;    /* the request is whole */
	bool closed;    /* nghttp2 knows it no more */
	bool answered;  /* the answer's head is with nghttp2 */
	bool eof;       /* what is queued ends the answer */
	bool aborting;  /* what is queued goes out, then it is reset */
	bool own_reset; /* by us, for no fault of the client's */
};

struct rl_h2 {
	nghttp2_session *session;
	struct rl_h2_guard guard;
	struct rl_h2_stream *streams;
	struct rl_h2_stream *ready, **ready_end;
	uint64_t idle_until_ms;   /* without a stream */
	uint64_t block_until_ms;  /* for the rest of a head */
	uint64_t notice_until_ms; /* for the answer to the PING behind the first GOAWAY */
	int32_t wider;            /* how much all windows have grown */
	int32_t last_id;          /* the last stream that was begun */
	enum rl_err reason;       /* why we gave the connection up */
	bool inside;              /* nghttp2 is running */
	bool working;
	bool greeted; /* the preface is here */
	bool over;    /* given up: nothing is read any more */
	bool calm;    /* the client must be told to be calmer */
	bool broken;  /* it broke a rule that nghttp2 does not watch */
	bool noticed; /* of the two GOAWAYs the first is sent */
};

static void work(struct rl_conn *conn);
static void flush(struct rl_conn *conn);

static uint64_t now_ms(const struct rl_conn *conn)
{
	return rl_loop_now_ms(conn->server->loop);
}

static struct rl_h2_guard_limits guard_limits(const struct rl_conn *conn)
{
	const struct rl_server_limits *limits = &conn->server->limits;

	return (struct rl_h2_guard_limits){
		.max_block_bytes = limits->max_header_bytes,
		.max_control_frames = limits->http2.max_control_frames,
		.max_resets = limits->http2.max_resets,
	};
}

/* ---- streams ---- */

static size_t queued(const struct rl_h2_stream *s)
{
	return s->out.n - s->out_at;
}

static void make_ready(struct rl_h2_stream *s)
{
	struct rl_h2 *h2 = s->conn->h2;

	if (s->ready)
		return;
	s->ready = true;
	s->next_ready = NULL;
	*h2->ready_end = s;
	h2->ready_end = &s->next_ready;
}

/* The same outside of `work`, which would not look again by itself. */
static void wake(struct rl_h2_stream *s)
{
	make_ready(s);
	if (!s->conn->h2->working)
		rl_conn_wake(s->conn);
}

static struct rl_h2_stream *stream_new(struct rl_conn *conn, int32_t id)
{
	struct rl_h2_stream *s = calloc(1, sizeof *s);
	struct rl_h2 *h2 = conn->h2;

	if (!s)
		return NULL;
	if (!(s->x = rl_xchg_new(conn, rl_clock_us()))) {
		free(s);
		return NULL;
	}
	s->x->stream = s;
	s->conn = conn;
	s->id = id;
	s->read_until_ms = s->write_until_ms = RL_NEVER;
	s->window = WINDOW_BYTES;
	rl_buf_init(&s->in, 2 * WINDOW_MAX_BYTES);
	rl_buf_init(&s->out, OUT_MAX_BYTES);
	s->next = h2->streams;
	if (s->next)
		s->next->prev = s;
	h2->streams = s;
	h2->idle_until_ms = RL_NEVER;
	return s;
}

static void stream_free(struct rl_h2_stream *s)
{
	struct rl_h2 *h2 = s->conn->h2;

	assert(!s->x && !s->ready);
	if (s->prev)
		s->prev->next = s->next;
	else
		h2->streams = s->next;
	if (s->next)
		s->next->prev = s->prev;
	h2->wider -= s->window - WINDOW_BYTES;
	assert(h2->wider >= 0);
	rl_buf_fini(&s->in);
	rl_buf_fini(&s->out);
	free(s);
}

/* `own`: not the client's fault, so that it is not counted among what it made us reset. */
static void reset_stream(struct rl_h2_stream *s, uint32_t code, bool own)
{
	assert(!s->conn->h2->inside);
	s->own_reset |= own;
	if (!s->closed)
		(void)nghttp2_submit_rst_stream(s->conn->h2->session, NGHTTP2_FLAG_NONE, s->id, code);
}

/* The stream is of no more use; its owner learns the reason soon. */
static void lose(struct rl_h2_stream *s, uint32_t code, enum rl_err reason)
{
	reset_stream(s, code, true);
	if (s->x && s->x->lost == RL_OK)
		s->x->lost = reason;
	wake(s);
}

static void h2_part(struct rl_xchg *x)
{
	struct rl_h2_stream *s = x->stream;

	assert(s->x == x);
	s->x = NULL;
	x->stream = NULL;
	s->read_until_ms = RL_NEVER;
	rl_buf_fini(&s->in);
	if (s->closed)
		wake(s);
}

/* ---- what nghttp2 tells ---- */

static struct rl_h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct rl_conn *conn = user;
	struct rl_h2_stream *s;

	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (!(s = stream_new(conn, frame->hd.stream_id)))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	conn->h2->last_id = frame->hd.stream_id;
	(void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
	return 0;
}

/*
 * A stream that was passed over is closed for ever (RFC 9113 §5.1.1). nghttp2 still knows those that closed lately, whose
 * last frames may come after our RST_STREAM.
 */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
	struct rl_h2 *h2 = ((struct rl_conn *)user)->h2;

	if (hd->type == NGHTTP2_HEADERS && hd->stream_id <= h2->last_id &&
	    !nghttp2_session_find_stream(session, hd->stream_id))
		h2->broken = true;
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
		     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
	struct rl_h2_stream *s = stream_of(session, frame->hd.stream_id);
	const struct rl_server_limits *limits = &((struct rl_conn *)user)->server->limits;
	struct rl_h2_head_limits most = {.max_bytes = limits->max_header_bytes, .max_fields = limits->max_headers};

	(void)flags;
	if (!s || s->headed || !s->x)
		return 0; /* trailers are not looked at */
	rl_h2_head_add(&s->head, &s->x->pub.head, &s->x->pub.arena, &most, rl_str_make(name, name_n),
		       rl_str_make(value, value_n));
	return 0;
}

/* Left alone, nghttp2 would drop the field and go on. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
			     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
	(void)session, (void)frame, (void)name, (void)name_n, (void)value, (void)value_n, (void)flags, (void)user;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user)
{
	struct rl_h2_stream *s = stream_of(session, id);

	(void)flags, (void)user;
	(void)nghttp2_session_consume_connection(session, n);
	if (!s || !s->x || s->eof)
		return 0; /* its answer is there */
	rl_buf_add(&s->in, rl_str_make(data, n));
	if (!rl_buf_ok(&s->in))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	make_ready(s);
	return 0;
}

static void count_reset(struct rl_conn *conn)
{
	struct rl_h2_guard_limits limits = guard_limits(conn);

	if (!rl_h2_guard_reset(&conn->h2->guard, &limits, now_ms(conn)))
		conn->h2->calm = true;
}

static void end_of_request(struct rl_h2_stream *s, uint8_t flags)
{
	if (!s || !(flags & NGHTTP2_FLAG_END_STREAM))
		return;
	s->in_end = true;
	s->read_until_ms = RL_NEVER;
	make_ready(s);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct rl_conn *conn = user;
	struct rl_h2_stream *s = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (s && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
			s->headed = true;
			s->has_body = !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
			make_ready(s);
		}
		end_of_request(s, frame->hd.flags);
		break;
	case NGHTTP2_DATA:
		end_of_request(s, frame->hd.flags);
		break;
	case NGHTTP2_RST_STREAM:
		if (s && !s->answered)
			count_reset(conn);
		break;
	case NGHTTP2_PING:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && conn->h2->notice_until_ms != RL_NEVER)
			conn->h2->notice_until_ms = 0; /* `settle` goes on */
		break;
	default:
		break;
	}
	return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct rl_conn *conn = user;
	struct rl_h2_stream *s = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;

	if (frame->hd.type == NGHTTP2_DATA)
		rl_h2_guard_sent(&conn->h2->guard, frame->hd.length);
	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR && !(s && s->own_reset))
			count_reset(conn);
		return 0;
	}
	/* The answer is out, and the rest of the request is of no use to anybody (RFC 9113 §8.1). */
	if (s && s->answered && !s->in_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct rl_h2_stream *s = stream_of(session, id);

	(void)user;
	if (!s)
		return 0;
	s->closed = true;
	s->error = code;
	s->read_until_ms = s->write_until_ms = RL_NEVER;
	make_ready(s);
	return 0;
}

/* nghttp2 asks for as much of the answer as the windows and a frame take. */
static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *into, size_t cap, uint32_t *flags,
			   nghttp2_data_source *source, void *user)
{
	struct rl_h2_stream *s = source->ptr;
	const struct rl_server_limits *limits = &((struct rl_conn *)user)->server->limits;
	size_t n = queued(s) < cap ? queued(s) : cap;

	(void)session, (void)id;
	if (n) {
		memcpy(into, s->out.p + s->out_at, n);
		s->out_at += n;
		if (!s->aborting)
			s->write_until_ms = now_ms(s->conn) + limits->write_idle_ms;
	}
	if (s->x && s->x->full && queued(s) <= limits->high_water_bytes / 2)
		make_ready(s);
	if (queued(s))
		return (ssize_t)n;
	s->write_until_ms = RL_NEVER;
	s->out_at = 0;
	if (s->out.cap > KEEP_BYTES || s->eof)
		rl_buf_fini(&s->out);
	else
		rl_buf_reset(&s->out);
	if (s->eof)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	else if (!n)
		return s->aborting ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

/* ---- the session ---- */

static nghttp2_session *session_new(struct rl_conn *conn)
{
	nghttp2_session_callbacks *calls = NULL;
	nghttp2_option *option = NULL;
	nghttp2_session *session = NULL;

	if (nghttp2_session_callbacks_new(&calls) == 0 && nghttp2_option_new(&option) == 0) {
		nghttp2_option_set_no_auto_window_update(option, 1);
		nghttp2_session_callbacks_set_on_begin_frame_callback(calls, on_begin_frame);
		nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_begin_headers);
		nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
		nghttp2_session_callbacks_set_on_invalid_header_callback(calls, on_invalid_header);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
		nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
		nghttp2_session_callbacks_set_on_frame_send_callback(calls, on_sent);
		nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_stream_close);
		if (nghttp2_session_server_new2(&session, calls, conn, option) != 0)
			session = NULL;
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(calls);
	return session;
}

static bool greet(struct rl_conn *conn)
{
	const struct rl_server_limits *limits = &conn->server->limits;
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->http2.max_streams},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->max_header_bytes},
	};
	nghttp2_session *session = conn->h2->session;

	return nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]) ==
		       0 &&
	       nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES) == 0;
}

static void h2_fini(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;

	for (struct rl_h2_stream *s = h2->streams, *next; s; s = next) {
		next = s->next;
		if (s->x) /* its owner has never heard of it */
			rl_xchg_release(s->x);
		s->ready = false;
		stream_free(s);
	}
	nghttp2_session_del(h2->session);
	free(h2);
	conn->h2 = NULL;
}

/* Sends the first GOAWAY, which names no stream, and a PING: what the client sent before its answer is still served. */
static void h2_drain(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;

	if (h2->noticed || h2->over)
		return;
	h2->noticed = true;
	h2->notice_until_ms = now_ms(conn) + SHUTDOWN_NOTICE_MS;
	(void)nghttp2_submit_shutdown_notice(h2->session);
	(void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
	rl_conn_wait_at(conn, h2->notice_until_ms);
	flush(conn);
}

static void h2_init(struct rl_conn *conn)
{
	struct rl_h2 *h2 = calloc(1, sizeof *h2);

	if (h2) {
		h2->ready_end = &h2->ready;
		h2->session = session_new(conn);
		conn->h2 = h2;
	}
	if (!h2 || !h2->session || !greet(conn)) {
		rl_conn_fail(conn, RL_ERR_NOMEM);
		return;
	}
	rl_h2_guard_init(&h2->guard);
	h2->block_until_ms = h2->notice_until_ms = RL_NEVER;
	h2->idle_until_ms = now_ms(conn) + conn->server->limits.header_ms;
	rl_conn_wait(conn, conn->server->limits.header_ms);
	flush(conn);
	if (conn->server->draining && conn->state == RL_CONN_OPEN)
		h2_drain(conn);
}

/* Ends the connection with a GOAWAY; what still runs is told `reason`. */
static void give_up(struct rl_conn *conn, uint32_t code, enum rl_err reason)
{
	struct rl_h2 *h2 = conn->h2;

	assert(!h2->inside);
	if (h2->over)
		return;
	h2->over = true;
	h2->reason = reason;
	if (nghttp2_session_terminate_session(h2->session, code) != 0)
		rl_conn_fail(conn, RL_ERR_NOMEM);
}

/* ---- input ---- */

static void feed(struct rl_conn *conn, rl_str in)
{
	struct rl_h2 *h2 = conn->h2;
	ssize_t n;

	h2->inside = true;
	n = nghttp2_session_mem_recv(h2->session, (const uint8_t *)in.p, in.n);
	h2->inside = false;
	if (n >= 0)
		return;
	if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		give_up(conn, NGHTTP2_PROTOCOL_ERROR, RL_ERR_PROTOCOL);
	else if (n == NGHTTP2_ERR_NOMEM || n == NGHTTP2_ERR_CALLBACK_FAILURE)
		give_up(conn, NGHTTP2_INTERNAL_ERROR, RL_ERR_NOMEM);
	else
		h2->calm = true; /* what nghttp2 itself takes for a flood; which, depends on its version */
}

/* A head that has begun must end soon, whatever streams run beside it. */
static void watch_block(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;
	uint64_t most = conn->server->limits.header_ms;

	if (!h2->guard.in_block) {
		h2->block_until_ms = RL_NEVER;
	} else if (h2->block_until_ms == RL_NEVER) {
		h2->block_until_ms = now_ms(conn) + (most < BLOCK_MS ? most : BLOCK_MS);
		rl_conn_wait_at(conn, h2->block_until_ms);
	}
}

static void h2_input(struct rl_conn *conn, rl_str *in)
{
	struct rl_h2 *h2 = conn->h2;
	struct rl_h2_guard_limits limits = guard_limits(conn);
	size_t n = 0;

	if (in->n && !h2->over) {
		bool calm = !rl_h2_guard_pass(&h2->guard, &limits, now_ms(conn), *in, &n);
		feed(conn, rl_str_sub(*in, 0, n));
		h2->calm |= calm;
		watch_block(conn);
		if (!h2->greeted && !h2->guard.skip) {
			h2->greeted = true;
			h2->idle_until_ms = RL_NEVER;
		}
	}
	*in = (rl_str){NULL, 0};
	work(conn);
}

/* ---- requests ---- */

static rl_str render(struct rl_h2_stream *s, struct rl_arena *arena, const struct rl_response_head *head,
		     int64_t length)
{
	struct rl_server *server = s->conn->server;
	struct rl_h2_own_fields own = {
		.length = length,
		.date = rl_str_make(rl_server_date(server), RL_DATE_LEN),
		.always = server->always,
		.n_always = server->n_always,
	};

	/* "name: value" and CRLF in HTTP/1 */
	if (s->conn->secure && server->hsts_text.n)
		own.hsts = rl_str_sub(server->hsts_text, sizeof RL_HSTS_NAME ": " - 1,
				      server->hsts_text.n - (sizeof RL_HSTS_NAME ": \r\n" - 1));
	return rl_h2_answer_head(head, &own, arena);
}

/* Answers without an owner's help; the stream ends with it. */
static void refuse(struct rl_h2_stream *s, struct rl_xchg *x, uint16_t status, const char *text)
{
	struct rl_response_head head = {.status = status};
	nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_answer};
	struct rl_arena *arena = &s->x->pub.arena;
	rl_str fields = {NULL, 0}, type;
	struct rl_buf body;

	rl_buf_init(&body, RL_REFUSAL_MAX_BYTES);
	rl_conn_refusal(s->conn, x, status, text, &body, &type);
	if (rl_headers_add(&head.headers, arena, RL_H_CONTENT_TYPE, RL_STR(""), type) == RL_OK &&
	    (status != 405 ||
	     rl_headers_add(&head.headers, arena, RL_H_OTHER, RL_STR("allow"), RL_STR(RL_ALLOW)) == RL_OK))
		fields = render(s, arena, &head, (int64_t)body.n);
	if (s->x->pub.head.method != RL_METHOD_HEAD)
		rl_buf_add(&s->out, rl_buf_str(&body));
	rl_buf_fini(&body);
	s->eof = s->answered = true;
	s->write_until_ms = now_ms(s->conn) + s->conn->server->limits.write_idle_ms;
	rl_conn_wait_at(s->conn, s->write_until_ms);
	if (!fields.p || !rl_buf_ok(&s->out) ||
	    nghttp2_submit_response(s->conn->h2->session, s->id, (const nghttp2_nv *)(const void *)fields.p,
				    fields.n / sizeof(nghttp2_nv), &provider) != 0)
		reset_stream(s, NGHTTP2_INTERNAL_ERROR, true);
}

/* The head is whole: a request, or not one. */
static void show(struct rl_h2_stream *s)
{
	struct rl_conn *conn = s->conn;
	struct rl_xchg *x = s->x;
	struct rl_h1_refusal refusal;

	switch (rl_h2_head_judge(&s->head, &x->pub.head, s->has_body, &refusal)) {
	case RL_H2_GOOD:
		break;
	case RL_H2_MALFORMED:
		reset_stream(s, NGHTTP2_PROTOCOL_ERROR, false);
		rl_xchg_release(x);
		return;
	case RL_H2_REFUSED:
		refuse(s, NULL, refusal.status, refusal.text);
		rl_xchg_release(x);
		return;
	}
	x->continue_due = x->pub.head.expects_continue;
	if (!s->in_end) {
		s->read_until_ms = now_ms(conn) + conn->server->limits.body_idle_ms;
		rl_conn_wait_at(conn, s->read_until_ms);
	}
	rl_xchg_show(x);
	conn->server->ops->on_request(&x->pub, conn->server->service);
}

/* Its owner knows it, and it can still go on. */
static bool alive(const struct rl_h2_stream *s)
{
	return s->x && s->x->shown && s->x->lost == RL_OK && s->conn->state == RL_CONN_OPEN;
}

/* A body earns its time as in HTTP/1 (rl_conn_progress). */
static void progress(struct rl_h2_stream *s, size_t n)
{
	uint64_t most = now_ms(s->conn) + s->conn->server->limits.body_idle_ms;
	uint64_t earned = (uint64_t)n * 1000u / RL_BODY_MIN_BYTES_PER_S;

	if (s->in_end)
		return;
	if (s->read_until_ms >= most || earned >= most - s->read_until_ms)
		s->read_until_ms = most;
	else
		s->read_until_ms += earned;
	rl_conn_wait_at(s->conn, s->read_until_ms);
}

/* Twice the window, as far as the bounds allow. */
static void widen(struct rl_h2_stream *s)
{
	struct rl_h2 *h2 = s->conn->h2;
	int32_t more = s->window, left = WINDOW_MAX_BYTES - s->window;

	if (left > WIDER_MAX_BYTES - h2->wider)
		left = WIDER_MAX_BYTES - h2->wider;
	if (more > left)
		more = left;
	if (more <= 0 || nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, s->id, s->window + more))
		return;
	s->window += more;
	h2->wider += more;
	assert(s->window <= WINDOW_MAX_BYTES && h2->wider <= WIDER_MAX_BYTES);
}

/*
 * The owner has taken `n` bytes. If it had to wait while a whole window came, more should have been on its way; if there
 * was always something to take, the owner is what is slow, and would only let more of it lie here.
 */
static void give_credit(struct rl_h2_stream *s, size_t n)
{
	(void)nghttp2_session_consume_stream(s->conn->h2->session, s->id, n);
	s->starved |= s->x && !s->x->paused;
	s->taken += n;
	if (s->taken < (size_t)s->window)
		return;
	if (s->starved && !s->in_end)
		widen(s);
	s->taken = 0;
	s->starved = false;
}

static void deliver(struct rl_h2_stream *s)
{
	struct rl_xchg *x = s->x;
	const struct rl_exchange_ops *ops = s->conn->server->ops;

	if (s->in.n && !x->paused) {
		struct rl_buf piece = s->in; /* the owner may end the exchange while it reads */

		rl_buf_init(&s->in, 2 * WINDOW_MAX_BYTES);
		progress(s, piece.n);
		x->continue_due = false;
		x->pub.bytes_in += piece.n;
		ops->on_body(&x->pub, rl_buf_str(&piece));
		if (!s->closed)
			give_credit(s, piece.n);
		rl_buf_fini(&piece);
	}
	if (alive(s) && s->in_end && !s->in.n && !x->paused && !x->body_done) {
		x->body_done = true;
		x->continue_due = false;
		ops->on_body_end(&x->pub);
	}
}

/* nghttp2 has closed it. */
static void closed(struct rl_h2_stream *s)
{
	struct rl_xchg *x = s->x;

	if (x && !x->shown)
		rl_xchg_release(x);
	else if (x && x->lost == RL_OK)
		x->lost = s->error == NGHTTP2_PROTOCOL_ERROR ? RL_ERR_PROTOCOL : RL_ERR_RESET;
}

static void serve(struct rl_h2_stream *s)
{
	const struct rl_server *server = s->conn->server;

	if (s->closed)
		closed(s);
	if (s->x && s->headed && !s->x->shown && !s->closed && !s->answered)
		show(s);
	if (alive(s))
		deliver(s);
	if (alive(s) && s->x->full && queued(s) <= server->limits.high_water_bytes / 2) {
		s->x->full = false;
		server->ops->on_drain(&s->x->pub);
	}
	if (s->x && s->x->shown && s->x->lost != RL_OK && !s->x->gone_told) {
		s->x->gone_told = true;
		server->ops->on_gone(&s->x->pub, s->x->lost);
	}
}

/* Those that are ready now; who becomes ready meanwhile comes next time. */
static void serve_ready(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;
	struct rl_h2_stream *s = h2->ready;

	h2->ready = NULL;
	h2->ready_end = &h2->ready;
	while (s && conn->state == RL_CONN_OPEN) {
		struct rl_h2_stream *next = s->next_ready;

		s->ready = false;
		serve(s);
		if (s->closed && !s->x && !s->ready)
			stream_free(s);
		s = next;
	}
}

/* ---- output ---- */

static void send_two(struct rl_conn *conn, rl_str a, rl_str b)
{
	struct iovec iov[2];
	int n = 0;

	if (a.n)
		iov[n++] = (struct iovec){.iov_base = (void *)(uintptr_t)a.p, .iov_len = a.n};
	if (b.n)
		iov[n++] = (struct iovec){.iov_base = (void *)(uintptr_t)b.p, .iov_len = b.n};
	if (n)
		rl_conn_send(conn, iov, n);
}

static void flush(struct rl_conn *conn)
{
	char room[GATHER_BYTES] __attribute__((uninitialized));
	struct rl_h2 *h2 = conn->h2;
	size_t n = 0;
	ssize_t got = 0;

	assert(!h2->inside);
	while (conn->state == RL_CONN_OPEN && rl_conn_queued(conn) < OUT_MARK_BYTES) {
		const uint8_t *frame;

		h2->inside = true;
		got = nghttp2_session_mem_send(h2->session, &frame);
		h2->inside = false;
		if (got <= 0)
			break;
		if ((size_t)got <= sizeof room - n) {
			memcpy(room + n, frame, (size_t)got);
			n += (size_t)got;
		} else {
			send_two(conn, rl_str_make(room, n), rl_str_make(frame, (size_t)got));
			n = 0;
		}
	}
	send_two(conn, rl_str_make(room, n), (rl_str){NULL, 0});
	if (got < 0)
		rl_conn_fail(conn, RL_ERR_NOMEM);
	if (h2->ready && !h2->working)
		rl_conn_wake(conn);
}

static bool session_over(const struct rl_h2 *h2)
{
	return !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

/* The last GOAWAY names the last stream that was begun; when those are done, so is the connection. */
static void drain_on(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;

	if (h2->notice_until_ms > now_ms(conn))
		return;
	h2->notice_until_ms = RL_NEVER;
	(void)nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR, NULL, 0);
	flush(conn);
}

static void settle(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;

	if (h2->calm || h2->broken) {
		give_up(conn, h2->calm ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
			h2->calm ? RL_ERR_LIMIT : RL_ERR_PROTOCOL);
		h2->calm = h2->broken = false;
		flush(conn);
	}
	if (conn->state == RL_CONN_OPEN)
		drain_on(conn);
	if (conn->state != RL_CONN_OPEN)
		return;
	if (session_over(h2)) {
		if (conn->x) {
			conn->gone = h2->reason != RL_OK ? h2->reason : RL_ERR_PROTOCOL;
			rl_loop_defer(conn->server->loop, &conn->task);
		}
		rl_conn_finish(conn, RL_ABORT_FLUSH_MS, false);
		return;
	}
	if (!h2->streams && h2->greeted && h2->idle_until_ms == RL_NEVER) {
		h2->idle_until_ms = now_ms(conn) + conn->server->limits.keepalive_ms;
		rl_conn_wait_at(conn, h2->idle_until_ms);
	}
}

static void work(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;

	if (h2->working)
		return;
	h2->working = true;
	for (unsigned round = 0; round < ROUNDS_MAX && conn->state == RL_CONN_OPEN; round++) {
		serve_ready(conn);
		if (conn->state == RL_CONN_OPEN)
			flush(conn);
		if (!h2->ready)
			break;
	}
	if (conn->state == RL_CONN_OPEN)
		settle(conn);
	h2->working = false;
	if (conn->state == RL_CONN_OPEN && h2->ready)
		rl_conn_wait_at(conn, now_ms(conn));
}

static void h2_sent(struct rl_conn *conn)
{
	if (conn->state == RL_CONN_OPEN)
		work(conn);
}

/* ---- deadlines ---- */

static void stream_timeout(struct rl_h2_stream *s, uint64_t now)
{
	if (s->read_until_ms <= now) {
		s->read_until_ms = RL_NEVER;
		if (!alive(s) || s->x->paused)
			return;
		if (!s->x->started && !s->x->raw) {
			refuse(s, s->x, 408, "the body of the request did not arrive in time");
			s->x->lost = RL_ERR_TIMEOUT;
			wake(s);
		} else {
			lose(s, NGHTTP2_CANCEL, RL_ERR_TIMEOUT);
		}
	} else if (s->write_until_ms <= now) {
		s->write_until_ms = RL_NEVER;
		lose(s, s->aborting ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL, RL_ERR_TIMEOUT);
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void h2_timeout(struct rl_conn *conn)
{
	struct rl_h2 *h2 = conn->h2;
	uint64_t now = now_ms(conn), next = RL_NEVER;

	/* Streams are only freed by `work`. */
	for (struct rl_h2_stream *s = h2->streams; s && conn->state == RL_CONN_OPEN; s = s->next)
		stream_timeout(s, now);
	if (h2->block_until_ms <= now)
		give_up(conn, NGHTTP2_ENHANCE_YOUR_CALM, RL_ERR_TIMEOUT);
	else if (h2->idle_until_ms <= now)
		give_up(conn, NGHTTP2_NO_ERROR, RL_ERR_TIMEOUT);
	if (h2->over)
		h2->block_until_ms = h2->idle_until_ms = RL_NEVER;
	if (conn->state == RL_CONN_OPEN)
		work(conn);
	if (conn->state != RL_CONN_OPEN)
		return;
	for (struct rl_h2_stream *s = h2->streams; s; s = s->next)
		next = earlier(next, earlier(s->read_until_ms, s->write_until_ms));
	next = earlier(earlier(next, h2->block_until_ms), earlier(h2->idle_until_ms, h2->notice_until_ms));
	rl_conn_wait_at(conn, next);
}

/* ---- answers ---- */

static void h2_write_head(struct rl_xchg *x, const struct rl_response_head *head)
{
	bool no_body = head->status == 204 || head->status == 304;

	x->bodiless = no_body || x->pub.head.method == RL_METHOD_HEAD;
	x->left = no_body ? 0 : head->content_length;
	x->held = render(x->stream, &x->pub.arena, head, no_body ? -1 : x->left);
	if (!x->held.p)
		lose(x->stream, NGHTTP2_INTERNAL_ERROR, RL_ERR_NOMEM);
}

static bool submit_head(struct rl_xchg *x, bool body_follows)
{
	struct rl_h2_stream *s = x->stream;
	nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_answer};
	const nghttp2_nv *fields = (const nghttp2_nv *)(const void *)x->held.p;
	size_t n = x->held.n / sizeof *fields;

	x->held = (rl_str){NULL, 0};
	s->answered = true;
	if (s->closed ||
	    nghttp2_submit_response(s->conn->h2->session, s->id, fields, n, body_follows ? &provider : NULL) == 0)
		return true;
	lose(s, NGHTTP2_INTERNAL_ERROR, RL_ERR_NOMEM);
	return false;
}

static bool queue_parts(struct rl_h2_stream *s, const rl_str *parts, size_t n)
{
	if (s->out_at && s->out_at >= s->out.n / 2) {
		rl_buf_consume(&s->out, s->out_at);
		s->out_at = 0;
	}
	for (size_t i = 0; i < n; i++)
		rl_buf_add(&s->out, parts[i]);
	if (rl_buf_ok(&s->out))
		return true;
	lose(s, NGHTTP2_INTERNAL_ERROR, RL_ERR_LIMIT);
	return false;
}

static void h2_write_body(struct rl_xchg *x, const rl_str *parts, size_t n, bool last)
{
	struct rl_h2_stream *s = x->stream;
	struct rl_conn *conn = x->conn;
	size_t total = 0;

	for (size_t i = 0; i < n && !x->bodiless; i++)
		total += parts[i].n;
	if (!rl_xchg_keeps_length(x, total, last)) {
		lose(s, NGHTTP2_INTERNAL_ERROR, RL_ERR_PROTOCOL);
		return;
	}
	if (x->held.n && !submit_head(x, !last || total))
		return;
	if (total && !queued(s)) {
		s->write_until_ms = now_ms(conn) + conn->server->limits.write_idle_ms;
		rl_conn_wait_at(conn, s->write_until_ms);
	}
	if (total && !queue_parts(s, parts, n))
		return;
	s->eof |= last;
	if (!s->closed)
		(void)nghttp2_session_resume_data(conn->h2->session, s->id);
	flush(conn);
	x->full = queued(s) > conn->server->limits.high_water_bytes;
}

static void h2_write_continue(struct rl_xchg *x)
{
	static const char name[] = ":status", value[] = "100";
	const nghttp2_nv field = {
		.name = (uint8_t *)(uintptr_t)name,
		.namelen = sizeof name - 1,
		.value = (uint8_t *)(uintptr_t)value,
		.valuelen = sizeof value - 1,
	};

	if (x->stream->closed)
		return;
	(void)nghttp2_submit_headers(x->conn->h2->session, NGHTTP2_FLAG_NONE, x->stream->id, NULL, &field, 1, NULL);
	flush(x->conn);
}

static void h2_write_raw(struct rl_xchg *x, rl_str bytes)
{
	(void)bytes;
	lose(x->stream, NGHTTP2_INTERNAL_ERROR, RL_ERR_UNSUPPORTED);
	flush(x->conn);
}

static void h2_resume(struct rl_xchg *x)
{
	struct rl_h2_stream *s = x->stream;

	s->starved |= !s->in.n;

	if (!s->in_end) {
		s->read_until_ms = now_ms(x->conn) + x->conn->server->limits.body_idle_ms;
		rl_conn_wait_at(x->conn, s->read_until_ms);
	}
	wake(s);
}

/* `on_sent` sees to a request that is not whole. */
static void h2_end(struct rl_xchg *x)
{
	assert(x->stream->eof);
}

static void h2_abort(struct rl_xchg *x, bool reset)
{
	struct rl_h2_stream *s = x->stream;

	if (reset || !queued(s)) {
		reset_stream(s, reset ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR, true);
	} else {
		s->aborting = s->own_reset = true;
		s->write_until_ms = now_ms(x->conn) + RL_ABORT_FLUSH_MS;
		rl_conn_wait_at(x->conn, s->write_until_ms);
	}
	flush(x->conn);
}

/* ---- connections without a stream ---- */

static uint64_t h2_idle_since(const struct rl_conn *conn)
{
	const struct rl_server_limits *limits = &conn->server->limits;
	const struct rl_h2 *h2 = conn->h2;

	if (h2->over || h2->streams || h2->idle_until_ms == RL_NEVER)
		return RL_NEVER;
	return rl_wait_began(h2->idle_until_ms, h2->greeted ? limits->keepalive_ms : limits->header_ms);
}

/* The GOAWAY says that no stream was begun that the client has not heard of: it may come anew with what is on its way. */
static void h2_let_go(struct rl_conn *conn)
{
	give_up(conn, NGHTTP2_NO_ERROR, RL_ERR_CLOSED);
	work(conn);
}

const struct rl_server_codec rl_h2_server_codec = {
	.name = "h2",
	.version = RL_HTTP_2,
	.init = h2_init,
	.fini = h2_fini,
	.on_input = h2_input,
	.on_timeout = h2_timeout,
	.on_sent = h2_sent,
	.write_head = h2_write_head,
	.write_body = h2_write_body,
	.write_continue = h2_write_continue,
	.write_raw = h2_write_raw,
	.resume = h2_resume,
	.end = h2_end,
	.abort = h2_abort,
	.part = h2_part,
	.drain = h2_drain,
	.idle_since = h2_idle_since,
	.let_go = h2_let_go,
};

/* ---- which of the two ---- */

static void speak(struct rl_conn *conn, const struct rl_server_codec *codec)
{
	conn->codec = codec;
	codec->init(conn);
}

static void sniff_init(struct rl_conn *conn)
{
	(void)conn;
}

/*
 * An HTTP/1 request differs from the preface (RFC 9113 §3.4) in its first line. What shares that and goes on otherwise is
 * HTTP/2's to refuse.
 */
static void sniff_input(struct rl_conn *conn, rl_str *in)
{
	static const char preface[] = RL_H2_PREFACE;
	size_t n = in->n < RL_H2_PREFACE_BYTES ? in->n : RL_H2_PREFACE_BYTES;
	bool differs = n && memcmp(in->p, preface, n) != 0;

	if (!differs && n < RL_H2_PREFACE_BYTES)
		return;
	if (!differs || (n >= RL_H2_LINE_BYTES && memcmp(in->p, preface, RL_H2_LINE_BYTES) == 0)) {
		speak(conn, &rl_h2_server_codec);
	} else {
		speak(conn, &rl_h1_server_codec);
		conn->h1.unsure = true;
	}
	if (conn->state == RL_CONN_OPEN)
		conn->codec->on_input(conn, in);
}

static void sniff_timeout(struct rl_conn *conn)
{
	speak(conn, &rl_h1_server_codec);
	conn->codec->on_timeout(conn);
}

static void sniff_sent(struct rl_conn *conn)
{
	(void)conn;
}

static void sniff_drain(struct rl_conn *conn)
{
	if (!rl_conn_held(conn) && !conn->busy && !conn->server->retiring)
		rl_conn_fail(conn, RL_ERR_CLOSED);
}

static uint64_t sniff_idle_since(const struct rl_conn *conn)
{
	return rl_conn_held(conn) ? RL_NEVER : rl_wait_began(conn->wait_until_ms, conn->server->limits.header_ms);
}

static void sniff_let_go(struct rl_conn *conn)
{
	rl_conn_fail(conn, RL_ERR_CLOSED);
}

const struct rl_server_codec rl_sniff_codec = {
	.name = "unknown",
	.init = sniff_init,
	.on_input = sniff_input,
	.on_timeout = sniff_timeout,
	.on_sent = sniff_sent,
	.drain = sniff_drain,
	.idle_since = sniff_idle_since,
	.let_go = sniff_let_go,
};
