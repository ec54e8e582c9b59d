/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's HTTP/2 codec (RFC 9113), on nghttp2, which owns frames, header compression
 * and stream states. A connection carries up to RL_STREAMS_MAX calls, each on a slot.
 *
 * Out: everything is queued in nghttp2 and written once at the end of the turn (`flush`);
 * at most one buffer full waits for the socket. In: what nghttp2 finds in a read goes to
 * the owner at once. A stream's credit returns as its owner takes the bytes, so that a
 * paused call holds at most STREAM_WINDOW (`kept`); the connection's returns on arrival
 * and covers all streams, so that none can starve the others.
 *
 * Each call has its own end. A stream that the peer has not begun to work on (above the
 * last one of a GOAWAY, or refused) starts over without the owner's knowledge. Bytes that
 * wait for a paused owner are delivered first, whatever has become of the stream or of
 * the connection, which then goes only with the last of these calls.
 *
 * What belongs to a call that has left is recognised by its stream's number: nghttp2 may
 * know a stream longer than its slot does, but numbers are never used twice.
 */
#include <assert.h>
#include <nghttp2/nghttp2.h>

#include "http/client_priv.h"
#include "http/h1_parse.h"
#include "http/share_priv.h"

#define STREAM_WINDOW (128 * 1024)
#define CONN_WINDOW ((int32_t)RL_STREAMS_MAX * STREAM_WINDOW)
#define OUT_BYTES (64u * 1024) /* written down before the socket is asked; a frame may go beyond */
#define OUT_KEEP_BYTES 16384u
#define INTERIM_MAX 16u
#define FIELDS_MAX 256u
#define CONTINUATIONS_MAX 128u  /* nghttp2 counts reads of a frame's head, too: up to nine for one that dribbles */
#define QUIET_FRAMES_MAX 10000u /* in a row without a byte of a body or a head, either way (FAULTS 23) */

struct h2_stream {
	struct rl_run *run; /* NULL: free */
	int32_t id;
	bool opened; /* its head is out */
	bool gone;   /* nghttp2 has closed it */
	bool headed; /* the head of the answer is through */
	bool ended;  /* the answer is whole, though the owner may not have it yet */
	bool reset;  /* by the peer */
	bool refused, unsent;
	bool lost;         /* with its connection */
	enum rl_err late;  /* why it ends without being whole, once the owner has what came before */
	const char *why;   /* static */
	uint64_t since_ms; /* when it was given the connection */

	size_t part, part_off; /* of the request's body: what is out */
	uint64_t left;         /* of it, to come */

	struct rl_response_head head;
	unsigned n_length, interims;
	size_t head_bytes;
	struct rl_buf kept; /* of the body, while the owner has paused */
	size_t owed;        /* bytes that the owner has and the peer has no credit for yet */
};

struct h2_conn {
	struct rl_conn conn; /* first */
	nghttp2_session *session;
	struct rl_buf out;
	struct rl_task flush;
	uint64_t read_ms;
	unsigned quiet;
	enum rl_err write_failed; /* nothing more goes out; what has come in is read to its end */
	bool greeted;             /* the peer's SETTINGS have come */
	bool lost;                /* only calls that still have something to be delivered hold it */
	struct h2_stream *told;   /* its owner has been told something, and not yet that it may write on */
	struct h2_stream slots[RL_STREAMS_MAX];
};

static struct h2_conn *of(const struct rl_conn *conn)
{
	return (struct h2_conn *)(uintptr_t)conn;
}

/* The call on stream `id`, or NULL when it has left. */
static struct h2_stream *find(const struct h2_conn *h, int32_t id)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(h->session, id);

	return s && s->run && s->id == id ? s : NULL;
}

static void flush_soon(struct h2_conn *h)
{
	rl_loop_defer(h->conn.place->pool->loop, &h->flush);
}

/* ---- one owner after the other ---- */

/* The owner that was told something last may write on. */
static void tell_read_end(struct h2_conn *h)
{
	struct h2_stream *s = h->told;

	h->told = NULL;
	if (s)
		rl_run_on_read_end(s->run);
}

/* Before a call's owner is told anything: the one before has had its moment. False: the call has left over that. */
static bool turn_to(struct h2_conn *h, struct h2_stream *s)
{
	const struct rl_run *run = s->run;

	if (h->told == s)
		return true;
	tell_read_end(h);
	if (s->run != run)
		return false;
	h->told = s;
	return true;
}

/* ---- streams that end ---- */

/* The call leaves the stream; what the peer still has to do for it is called off. */
static void detach(struct h2_conn *h, struct h2_stream *s, uint32_t code)
{
	struct rl_run *run = s->run;

	assert(run && h->conn.n_calls > 0);
	if (!s->gone && !(s->ended && run->all_sent)) {
		(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, code);
		flush_soon(h);
	}
	run->conn = NULL;
	rl_buf_fini(&s->kept);
	if (h->told == s)
		h->told = NULL;
	*s = (struct h2_stream){0};
	h->conn.n_calls--;
}

static void arrived(struct h2_conn *h, struct h2_stream *s)
{
	struct rl_run *run = s->run;

	if (!turn_to(h, s))
		return;
	h->conn.served++;
	detach(h, s, NGHTTP2_NO_ERROR);
	rl_share_freed(&h->conn);
	rl_run_on_arrived(run);
}

/* It has ended without an answer, or in the middle of it. */
static void failed(struct h2_conn *h, struct h2_stream *s)
{
	struct rl_run *run = s->run;
	enum rl_err reason = s->late;
	bool refused = s->refused, lost = s->lost;
	const char *why = s->why;

	if (!turn_to(h, s))
		return;
	if (lost && !why)
		why = run->answering ? "the answer was cut" : "closed before the answer";
	detach(h, s, NGHTTP2_CANCEL);
	rl_share_freed(&h->conn);
	if ((refused && rl_run_refused(run)) || (lost && rl_run_replay(run)))
		return;
	rl_run_fail(run, reason, why);
}

/* The answer is not to be trusted. */
static void refuse(struct h2_conn *h, struct h2_stream *s, const char *why)
{
	struct rl_run *run = s->run;

	if (!turn_to(h, s))
		return;
	detach(h, s, NGHTTP2_PROTOCOL_ERROR);
	rl_share_freed(&h->conn);
	rl_run_fail(run, RL_ERR_PROTOCOL, why);
}

static bool held(const struct rl_run *run)
{
	return (run->paused && run->phase == RL_PHASE_ANSWER) || run->inflating;
}

static void return_credit(struct h2_conn *h, struct h2_stream *s)
{
	if (s->owed && !s->gone && !s->ended) {
		(void)nghttp2_session_consume_stream(h->session, s->id, s->owed);
		flush_soon(h);
	}
	s->owed = 0;
}

/* Hands on what the owner wants now: bytes that were kept, then the end if it has come. */
static void settle(struct h2_conn *h, struct h2_stream *s)
{
	struct rl_run *run = s->run;

	if (s->kept.n && !held(run)) {
		if (!turn_to(h, s))
			return;
		struct rl_buf kept = s->kept;

		s->kept = (struct rl_buf){0};
		s->owed += kept.n;
		rl_run_on_body(run, rl_buf_str(&kept));
		rl_buf_fini(&kept);
		if (s->run != run)
			return;
	}
	if (held(run))
		return;
	return_credit(h, s);
	if (s->ended)
		arrived(h, s);
	else if (s->late != RL_OK)
		failed(h, s);
}

/* The connection is of no use any more, for any call. */
static void conn_lost(struct h2_conn *h, enum rl_err reason, const char *why)
{
	if (h->lost || h->conn.closed)
		return;
	h->lost = true;
	if (h->conn.shared)
		rl_share_unlink(&h->conn);
	rl_transport_close(h->conn.transport, true);
	h->conn.transport = NULL;
	for (unsigned i = 0; i < RL_STREAMS_MAX; i++) {
		struct h2_stream *s = &h->slots[i];

		if (!s->run)
			continue;
		if (!s->ended && s->late == RL_OK) {
			s->late = reason;
			s->why = why;
			s->lost = true;
		}
		s->gone = true;
		settle(h, s);
	}
	tell_read_end(h);
	if (!h->conn.n_calls)
		rl_conn_close(&h->conn, true);
}

/* ---- the head of the answer ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = frame->hd.type == NGHTTP2_HEADERS ? find(h, frame->hd.stream_id) : NULL;

	(void)session;
	if (!s)
		return 0;
	if (!s->run->answering)
		rl_run_on_answer(s->run);
	s->head_bytes = 0;
	if (!s->headed) {
		rl_arena_reset(&s->run->arena);
		s->head = (struct rl_response_head){.content_length = -1};
		s->n_length = 0;
	}
	return 0;
}

/* nghttp2 has seen to the form: names are tokens in lower case, the status is three digits, none twice. */
static const char *take_field(struct h2_stream *s, rl_str name, rl_str value)
{
	struct rl_response_head *head = &s->head;
	struct rl_arena *arena = &s->run->arena;
	int64_t status;

	if (rl_str_eq(name, RL_STR(":status"))) {
		if (!rl_h1_length(value, &status) || status < 100 || status > 599)
			return "status out of range";
		head->status = (uint16_t)status;
		return NULL;
	}
	if (!rl_header_name_ok(name) || !rl_header_value_ok(value))
		return "malformed field";
	if (head->headers.n == FIELDS_MAX)
		return "too many headers";
	enum rl_field field = rl_field_find(name);

	if (field == RL_H_CONTENT_LENGTH && (s->n_length++ || !rl_h1_length(value, &head->content_length)))
		return "content-length";
	name = field == RL_H_OTHER ? rl_arena_dup(arena, name) : rl_field_name(field);
	value = rl_arena_dup(arena, rl_str_trim(value));
	if (!name.p || !value.p || rl_headers_add(&head->headers, arena, field, name, value) != RL_OK)
		return "no memory for the head";
	return NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t n_name,
		     const uint8_t *value, size_t n_value, uint8_t flags, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = frame->hd.type == NGHTTP2_HEADERS ? find(h, frame->hd.stream_id) : NULL;
	const char *wrong = NULL;

	(void)session;
	(void)flags;
	if (!s)
		return 0;
	s->head_bytes += n_name + n_value + 4; /* as HTTP/1 would have it */
	if (s->head_bytes > s->run->max_head_bytes)
		wrong = "the head is too long";
	else if (!s->headed) /* trailers are dropped */
		wrong = take_field(s, rl_str_make((const char *)name, n_name),
				   rl_str_make((const char *)value, n_value));
	if (wrong)
		refuse(h, s, wrong);
	return 0;
}

static void final_head(struct h2_conn *h, struct h2_stream *s, bool ended)
{
	struct rl_run *run = s->run;
	uint16_t status = s->head.status;
	bool bodiless = ended || status == 204 || status == 304 || run->method == RL_METHOD_HEAD;

	if (bodiless && run->method != RL_METHOD_HEAD) /* of HEAD it is what GET would have */
		s->head.content_length = 0;
	s->headed = true;
	if (!turn_to(h, s))
		return;
	rl_run_on_head(run, &s->head, bodiless || !s->head.content_length);
}

/* A block of fields is complete: an interim answer's, the answer's, or its trailers. */
static void on_fields(struct h2_conn *h, struct h2_stream *s, bool ended)
{
	const struct rl_run *run = s->run;

	if (!s->headed && s->head.status < 200) {
		if (s->head.status == 101)
			refuse(h, s, "switching protocols was not asked for");
		else if (ended || ++s->interims > INTERIM_MAX)
			refuse(h, s, "too many interim answers");
		return;
	}
	if (!s->headed)
		final_head(h, s, ended);
	if (s->run != run || !ended)
		return;
	s->ended = true;
	settle(h, s);
}

/* ---- other frames ---- */

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = find(h, id);

	(void)flags;
	h->quiet = 0;
	if (nghttp2_session_consume_connection(session, n) != 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (!s || !n)
		return 0;
	struct rl_run *run = s->run;

	if (held(run) || s->kept.n) {
		if (!s->kept.max_bytes)
			rl_buf_init(&s->kept, STREAM_WINDOW);
		rl_buf_add(&s->kept, rl_str_make((const char *)data, n));
		if (!rl_buf_ok(&s->kept)) {
			if (!turn_to(h, s))
				return 0;
			detach(h, s, NGHTTP2_INTERNAL_ERROR);
			rl_share_freed(&h->conn);
			rl_run_fail(run, RL_ERR_NOMEM, NULL);
		}
		return 0;
	}
	if (!turn_to(h, s))
		return 0;
	s->owed += n;
	rl_run_on_body(run, rl_str_make((const char *)data, n));
	if (s->run == run && !held(run))
		return_credit(h, s);
	return 0;
}

/* Takes back what was submitted and has not gone out: the peer will not begin on it. */
static void pull_back(struct h2_conn *h)
{
	for (unsigned i = 0; i < RL_STREAMS_MAX; i++) {
		struct h2_stream *s = &h->slots[i];

		if (!s->run || s->opened || s->late != RL_OK)
			continue;
		s->refused = true;
		s->late = RL_ERR_RESET;
		s->why = "the provider takes no more requests on this connection";
		settle(h, s);
	}
}

static void on_settings(struct h2_conn *h)
{
	uint32_t streams = nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	h->greeted = true;
	h->conn.place->streams = streams < 1 ? 1 : streams < RL_STREAMS_MAX ? streams : RL_STREAMS_MAX;
	rl_share_freed(&h->conn);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = frame->hd.stream_id ? find(h, frame->hd.stream_id) : NULL;
	bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (++h->quiet > QUIET_FRAMES_MAX)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (s)
			on_fields(h, s, ended);
		break;
	case NGHTTP2_DATA:
		if (s && ended) {
			s->ended = true;
			settle(h, s);
		}
		break;
	case NGHTTP2_RST_STREAM:
		if (s)
			s->reset = true;
		break;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
			on_settings(h);
		break;
	case NGHTTP2_PUSH_PROMISE: /* the peer has not read yet that we want none */
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->push_promise.promised_stream_id,
						NGHTTP2_REFUSED_STREAM);
		break;
	case NGHTTP2_GOAWAY:
		h->conn.draining = true;
		pull_back(h);
		rl_share_sort(&h->conn);
		break;
	default:
		break;
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = find(h, id);

	(void)session;
	if (!s)
		return 0;
	s->gone = true;
	if (s->ended || s->late != RL_OK)
		return 0; /* it is known, and waits for its owner */
	s->refused = code == NGHTTP2_REFUSED_STREAM || s->unsent;
	s->late = s->reset || s->refused ? RL_ERR_RESET : RL_ERR_PROTOCOL;
	s->why = s->refused ? "the provider refused the stream"
		 : s->reset ? nghttp2_http2_strerror(code)
			    : "malformed answer";
	settle(h, s);
	return 0;
}

/* ---- reading ---- */

static const char *garbage(const struct h2_conn *h)
{
	return h->greeted ? "HTTP/2 framing" : "not HTTP/2";
}

static void read_more(struct h2_conn *h)
{
	struct rl_loop *loop = h->conn.place->pool->loop;
	char *scratch = rl_loop_scratch(loop);
	enum rl_err err;
	size_t n = rl_conn_fill(&h->conn, scratch, &err);

	if (n) {
		h->read_ms = rl_loop_now_ms(loop);
		ssize_t took = nghttp2_session_mem_recv(h->session, (const uint8_t *)scratch, n);

		tell_read_end(h);
		if (h->conn.closed)
			return;
		if (took < 0) {
			conn_lost(h, RL_ERR_PROTOCOL, garbage(h));
			return;
		}
	}
	if (err == RL_OK && n < RL_LOOP_SCRATCH_BYTES)
		err = h->write_failed;
	if (err == RL_OK) {
		flush_soon(h);
		return;
	}
	const char *detail = rl_transport_detail(h->conn.transport);

	conn_lost(h, err == RL_ERR_CLOSED ? RL_ERR_EOF : err, err == RL_ERR_EOF || !*detail ? NULL : detail);
}

static void h2_resume(struct rl_conn *conn, struct rl_run *run)
{
	struct h2_conn *h = of(conn);

	settle(h, &h->slots[run->slot]);
	tell_read_end(h);
}

/* ---- the request ---- */

/* What HTTP/2 says otherwise (RFC 9113 §8.2.2, §8.3.1). */
static bool is_of_connection(enum rl_field field)
{
	return field == RL_H_HOST || field == RL_H_CONNECTION || field == RL_H_KEEP_ALIVE ||
	       field == RL_H_PROXY_CONNECTION || field == RL_H_TRANSFER_ENCODING || field == RL_H_UPGRADE ||
	       field == RL_H_TE;
}

static nghttp2_nv field_of(rl_str name, rl_str value, uint8_t flags)
{
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.p,
			    .namelen = name.n,
			    .value = (uint8_t *)(uintptr_t)value.p,
			    .valuelen = value.n,
			    .flags = flags};
}

static void lower(rl_str name)
{
	char *p = (char *)(uintptr_t)name.p;

	for (size_t i = 0; i < name.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + ('a' - 'A'));
}

/*
 * The fields of a request that rl_run_prepare has written down: 0 if there are too many. Names are made lower case
 * where they stand, which is the same to HTTP/1, should the request go out there in the end.
 */
static size_t to_fields(const struct rl_run *run, nghttp2_nv nv[FIELDS_MAX])
{
	const struct rl_origin *origin = run->place->origin;
	rl_str rest = rl_buf_str(&run->request), line = rl_str_cut(&rest, '\n');
	rl_str method = rl_str_cut(&line, ' '), path = rl_str_cut(&line, ' ');
	size_t n = 0;

	nv[n++] = field_of(RL_STR(":method"), method, NGHTTP2_NV_FLAG_NONE);
	nv[n++] = field_of(RL_STR(":scheme"), origin->https ? RL_STR("https") : RL_STR("http"), NGHTTP2_NV_FLAG_NONE);
	nv[n++] = field_of(RL_STR(":authority"), origin->authority, NGHTTP2_NV_FLAG_NONE);
	nv[n++] = field_of(RL_STR(":path"), path, NGHTTP2_NV_FLAG_NONE);
	while (rest.n > 2) {
		line = rl_str_cut(&rest, '\n');
		line.n--; /* CR */
		rl_str name = rl_str_cut(&line, ':');
		enum rl_field field = rl_field_find(name);
		/* Keys are not to be guessed at by their effect on the compression (RFC 7541 §7.1.3). */
		bool secret = field == RL_H_AUTHORIZATION || field == RL_H_X_API_KEY;

		if (is_of_connection(field))
			continue;
		if (n == FIELDS_MAX)
			return 0;
		lower(name);
		nv[n++] = field_of(name, rl_str_trim(line), secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE);
	}
	return n;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *into, size_t n, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	const struct h2_stream *s = find(arg, id);

	(void)session;
	(void)into;
	(void)source;
	if (!s)
		return NGHTTP2_ERR_DEFERRED; /* its RST_STREAM is on the way */
	uint64_t left = s->run->streamed ? s->run->rest.n : s->left;

	if (!left && s->run->streamed && !s->run->ended)
		return NGHTTP2_ERR_DEFERRED; /* until there is more */
	*flags = NGHTTP2_DATA_FLAG_NO_COPY;
	if (n >= left) {
		n = (size_t)left;
		if (!s->run->streamed || s->run->ended)
			*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return (ssize_t)n;
}

static void copy_body(struct h2_conn *h, struct h2_stream *s, size_t n)
{
	if (s->run->streamed) {
		rl_buf_add(&h->out, rl_str_sub(rl_buf_str(&s->run->rest), 0, n));
		rl_buf_consume(&s->run->rest, n);
		return;
	}
	s->left -= n;
	while (n) {
		rl_str piece = rl_str_sub(s->run->body[s->part], s->part_off, n);

		rl_buf_add(&h->out, piece);
		n -= piece.n;
		s->part_off += piece.n;
		if (s->part_off == s->run->body[s->part].n) {
			s->part++;
			s->part_off = 0;
		}
	}
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
		     nghttp2_data_source *source, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = find(h, frame->hd.stream_id);

	(void)session;
	(void)source;
	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	h->quiet = 0;
	rl_buf_add(&h->out, rl_str_make((const char *)head, 9));
	copy_body(h, s, n);
	if (!rl_buf_ok(&h->out))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return h->out.n >= OUT_BYTES ? NGHTTP2_ERR_PAUSE : 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_stream *s = frame->hd.stream_id ? find(arg, frame->hd.stream_id) : NULL;

	(void)session;
	if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	struct rl_run *run = s->run;

	s->opened = run->call.body_begun = true;
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		rl_run_on_sent(run);
		run->call.sent = run->answering; /* until then it may have to be sent once more */
	} else if (run->streamed && !run->ended && !run->rest.n) {
		rl_run_on_drained(run);
	} else if (run->phase == RL_PHASE_SEND) {
		rl_run_on_sent_some(run);
	}
	return 0;
}

/* The stream is closed by nghttp2 right after this. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct h2_stream *s = frame->hd.stream_id ? find(arg, frame->hd.stream_id) : NULL;

	(void)session;
	if (s && frame->hd.type == NGHTTP2_HEADERS && error == NGHTTP2_ERR_START_STREAM_NOT_ALLOWED)
		s->unsent = true;
	return 0;
}

static enum rl_err submit(struct h2_conn *h, struct h2_stream *s)
{
	nghttp2_nv nv[FIELDS_MAX] __attribute__((uninitialized));
	const nghttp2_data_provider body = {.read_callback = read_body};
	size_t n = to_fields(s->run, nv);

	if (!n)
		return RL_ERR_LIMIT;
	for (size_t i = 0; i < s->run->n_body; i++)
		s->left += s->run->body[i].n;
	s->id = nghttp2_submit_request(h->session, NULL, nv, n, s->left || s->run->streamed ? &body : NULL, s);
	return s->id > 0 ? RL_OK : RL_ERR_NOMEM;
}

static void h2_send(struct rl_conn *conn, struct rl_run *run)
{
	struct h2_conn *h = of(conn);
	unsigned i = 0;

	assert(conn->ready && !h->lost);
	while (h->slots[i].run)
		i++;
	assert(i < RL_STREAMS_MAX);
	struct h2_stream *s = &h->slots[i];

	s->run = run;
	s->since_ms = rl_loop_now_ms(conn->place->pool->loop);
	run->slot = i;
	conn->n_calls++;
	enum rl_err err = submit(h, s);

	if (err != RL_OK) {
		s->gone = true;
		detach(h, s, NGHTTP2_NO_ERROR);
		rl_run_fail_later(run, err, err == RL_ERR_LIMIT ? "too many headers" : NULL);
	} else {
		rl_run_on_sent_some(run);
		flush_soon(h);
	}
	rl_share_sort(conn);
}

static void h2_write(struct rl_conn *conn, struct rl_run *run, rl_str piece, bool last)
{
	struct h2_conn *h = of(conn);
	struct h2_stream *s = &h->slots[run->slot];

	if (s->gone) { /* the peer wants no more */
		if (!last)
			rl_run_on_drained(run);
		return;
	}
	rl_buf_add(&run->rest, piece);
	if (!rl_buf_ok(&run->rest)) {
		rl_run_fail_later(run, RL_ERR_NOMEM, NULL);
		return;
	}
	if (run->phase == RL_PHASE_SEND)
		rl_run_on_sent_some(run);
	if (nghttp2_session_resume_data(h->session, s->id) == NGHTTP2_ERR_NOMEM)
		rl_run_fail_later(run, RL_ERR_NOMEM, NULL);
	else
		flush_soon(h);
}

/* ---- writing ---- */

static void take_out(struct h2_conn *h, const uint8_t *p, size_t n)
{
	if (!h->out.max_bytes)
		rl_buf_init(&h->out, 2 * OUT_BYTES);
	rl_buf_add(&h->out, rl_str_make((const char *)p, n));
}

/* Writes frames down until the buffer is full or there are none. False: the connection has ended in there. */
static bool fill_out(struct h2_conn *h)
{
	const uint8_t *p;
	ssize_t n = 1;

	take_out(h, NULL, 0);
	while (n > 0 && h->out.n < OUT_BYTES) {
		n = nghttp2_session_mem_send(h->session, &p);
		if (h->conn.closed)
			return false;
		if (n > 0)
			take_out(h, p, (size_t)n);
	}
	if (n < 0 || !rl_buf_ok(&h->out)) {
		conn_lost(h, n == NGHTTP2_ERR_NOMEM || !rl_buf_ok(&h->out) ? RL_ERR_NOMEM : RL_ERR_PROTOCOL, NULL);
		return false;
	}
	return true;
}

/* Out with what there is, as far as the socket takes it. */
static void write_more(struct h2_conn *h)
{
	for (;;) {
		if (!fill_out(h))
			return;
		if (!h->out.n)
			break;
		struct iovec iov = {.iov_base = h->out.p, .iov_len = h->out.n};
		enum rl_err err = RL_OK;
		size_t took = rl_transport_write(h->conn.transport, &iov, 1, &err);

		if (!took && err != RL_OK && err != RL_ERR_AGAIN) {
			h->write_failed = err;
			read_more(h); /* it may have said why before it went */
			return;
		}
		rl_buf_consume(&h->out, took);
		if (h->out.n)
			break;
	}
	rl_transport_want(h->conn.transport, true, h->out.n > 0);
	if (h->out.n)
		return;
	if (h->out.cap > OUT_KEEP_BYTES)
		rl_buf_fini(&h->out);
	if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
		conn_lost(h, RL_ERR_PROTOCOL, garbage(h));
}

static void on_flush(struct rl_task *task)
{
	struct h2_conn *h = (struct h2_conn *)((char *)task - offsetof(struct h2_conn, flush));

	if (h->conn.closed || h->lost || h->write_failed)
		return;
	write_more(h);
	tell_read_end(h);
}

/* ---- the connection ---- */

static void h2_event(struct rl_conn *conn, unsigned events)
{
	struct h2_conn *h = of(conn);

	if (h->lost)
		return;
	if (events & RL_EV_FAILED) {
		conn_lost(h, rl_transport_reason(conn->transport), rl_transport_detail(conn->transport));
		return;
	}
	if (events & RL_EV_WRITE)
		flush_soon(h);
	if (events & (RL_EV_READ | RL_EV_HANGUP))
		read_more(h);
}

static void h2_leave(struct rl_conn *conn, struct rl_run *run)
{
	struct h2_conn *h = of(conn);
	struct h2_stream *s = &h->slots[run->slot];

	assert(s->run == run);
	/* Nothing has come for the longer part of a wait that was in vain: perhaps nobody is there. No more calls. */
	if (run->timed_out && h->read_ms < s->since_ms + (rl_loop_now_ms(conn->place->pool->loop) - s->since_ms) / 2)
		conn->draining = true;
	detach(h, s, NGHTTP2_CANCEL);
	rl_share_freed(conn);
}

static unsigned h2_room(const struct rl_conn *conn)
{
	const struct h2_conn *h = of(conn);
	uint32_t max;

	if (conn->draining || conn->closed || h->lost || !nghttp2_session_check_request_allowed(h->session))
		return 0;
	max = h->greeted ? nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
			 : conn->place->streams;
	if (max > RL_STREAMS_MAX)
		max = RL_STREAMS_MAX;
	return max > conn->n_calls ? max - conn->n_calls : 0;
}

static int make_session(struct h2_conn *h, nghttp2_session_callbacks *callbacks, nghttp2_option *option)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_sent);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
	nghttp2_option_set_max_send_header_block_length(option, RL_REQUEST_HEAD_MAX_BYTES);
	return nghttp2_session_client_new2(&h->session, callbacks, h, option);
}

static int greet(struct h2_conn *h)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 1u << 17},
	};
	int rc = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);

	return rc ? rc : nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
}

static enum rl_err h2_init(struct rl_conn *conn)
{
	struct h2_conn *h = of(conn);
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	bool ok = nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0 &&
		  make_session(h, callbacks, option) == 0;

	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	if (ok && greet(h) != 0) {
		nghttp2_session_del(h->session);
		h->session = NULL;
		ok = false;
	}
	h->flush.run = on_flush;
	return ok ? RL_OK : RL_ERR_NOMEM;
}

static void h2_fini(struct rl_conn *conn)
{
	struct h2_conn *h = of(conn);

	assert(!conn->n_calls);
	rl_loop_undefer(conn->place->pool->loop, &h->flush);
	nghttp2_session_del(h->session);
	rl_buf_fini(&h->out);
}

const struct rl_codec rl_h2_client = {
	.name = "h2",
	.conn_bytes = sizeof(struct h2_conn),
	.init = h2_init,
	.fini = h2_fini,
	.send = h2_send,
	.write = h2_write,
	.on_event = h2_event,
	.resume = h2_resume,
	.leave = h2_leave,
	.room = h2_room,
};
