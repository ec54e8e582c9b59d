/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What server.c and the codecs share. server.c owns connections, the lives of
 * exchanges, the connection's queue and deadlines, and knows no protocol; a codec
 * (h1_server.c, h2_server.c) turns input into exchanges and answers into bytes.
 * HTTP/1 has one exchange a connection at most, HTTP/2 one a stream.
 *
 * A connection's struct lives until its transport is closed and its exchanges have
 * been ended by their owners, whichever comes later; it is freed at the end of a turn.
 */
#ifndef RL_HTTP_SERVER_PRIV_H
#define RL_HTTP_SERVER_PRIV_H

#include "http/h1_chunked.h"
#include "http/server.h"
#include "net/transport.h"

#define RL_DRAIN_MAX_BYTES 65536u    /* of a request body whose answer is already out; more closes the connection */
#define RL_BODY_MIN_BYTES_PER_S 256u /* a slower body runs into its time-out (slow POST) */
#define RL_NEVER UINT64_MAX
#define RL_ALLOW "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
#define RL_HSTS_NAME "Strict-Transport-Security"
#define RL_DATE_LEN 29u /* "Sun, 22 Nov 2026 12:00:00 GMT" */

struct rl_conn;
struct rl_xchg;

struct rl_server_codec {
	const char *name;
	enum rl_http_version version;
	/* A new connection, or one that has turned out to speak this. Failure shows in conn->state. */
	void (*init)(struct rl_conn *conn);
	/* The connection's struct goes: so does what the codec holds of its own. NULL: nothing. */
	void (*fini)(struct rl_conn *conn);
	/*
	 * Takes what it can off *in and calls the owner's callbacks. What it leaves is kept and given again with more;
	 * if it cannot go on for another reason than missing bytes it sets conn->blocked.
	 */
	void (*on_input)(struct rl_conn *conn, rl_str *in);
	/* The connection's deadline (conn->wait_until_ms) has passed while it was open. */
	void (*on_timeout)(struct rl_conn *conn);
	/* The socket has taken some of what was queued. */
	void (*on_sent)(struct rl_conn *conn);
	/* Renders and keeps the head of an answer. */
	void (*write_head)(struct rl_xchg *x, const struct rl_response_head *head);
	/*
	 * Sends the kept head, if any, parts, and with `last` what ends the body. What is not sent at once is copied:
	 * when x->held is empty afterwards, nothing refers to the exchange's arena any more.
	 */
	void (*write_body)(struct rl_xchg *x, const rl_str *parts, size_t n, bool last);
	void (*write_continue)(struct rl_xchg *x);
	/* Bytes as they are, in place of an answer (HTTP/2 cannot: the stream is reset). */
	void (*write_raw)(struct rl_xchg *x, rl_str bytes);
	/*
	 * The input becomes a tunnel's, unless the client turns out to have gone; false: some of it has come already. NULL:
	 * there are no tunnels.
	 */
	bool (*upgrade)(struct rl_xchg *x);
	/* The owner takes the body again. */
	void (*resume)(struct rl_xchg *x);
	/* The answer is complete (x still stands): on to the next request, or close. */
	void (*end)(struct rl_xchg *x);
	/* Bytes of a body that come next, with nothing between them. NULL: this codec cannot tell. */
	uint64_t (*body_left)(const struct rl_conn *conn);
	/* The answer ends abnormally, after what is queued or (`reset`) at once. */
	void (*abort)(struct rl_xchg *x, bool reset);
	/* The exchange leaves its stream. NULL: there are no streams. */
	void (*part)(struct rl_xchg *x);
	/*
	 * The server drains: closes if nothing is going on, else sees to it that nothing new begins. If it retires, nothing
	 * closes that the client has not been told of.
	 */
	void (*drain)(struct rl_conn *conn);
	/* Since when the connection has been waiting for a request, with nothing else going on; RL_NEVER: it is not. */
	uint64_t (*idle_since)(const struct rl_conn *conn);
	/* Ends one that is. */
	void (*let_go)(struct rl_conn *conn);
};

extern const struct rl_server_codec rl_h1_server_codec;
extern const struct rl_server_codec rl_h2_server_codec;
/* Of a plain connection that may speak either: HTTP/2's preface, or else HTTP/1. */
extern const struct rl_server_codec rl_sniff_codec;

struct rl_h2;        /* of h2_server.c: a session */
struct rl_h2_stream; /* and one of its streams */

struct rl_xchg {
	struct rl_exchange pub; /* first */
	struct rl_conn *conn;
	struct rl_xchg *next, *prev; /* in its connection's list, or (next) the server's of dead and free ones */
	struct rl_h2_stream *stream; /* HTTP/2: which carries it */
	rl_str held;                 /* a rendered head that has not been sent, in the codec's own form */
	int64_t left;                /* bytes of the answer's body still to come, -1 unknown */
	enum rl_err lost;            /* why its stream is gone while the connection stands */
	bool shown;                  /* the owner knows it, and it is in the connection's list */
	bool started;                /* the answer has a head */
	bool sent;                   /* a byte of the answer is out (or queued) */
	bool raw;
	bool tunnel;   /* 101 was sent: bytes as they are, both ways */
	bool shut;     /* and the owner writes no more */
	bool bodiless; /* HEAD, 204, 304 */
	bool chunked;
	bool close; /* the connection ends with this answer */
	bool paused;
	bool full;         /* the owner was told so, and waits for on_drain */
	bool gone_told;    /* on_gone has been called */
	bool continue_due; /* the client waits for a 100 */
	bool body_done;    /* the whole request has been read */
	char *land;        /* where the owner wants the next byte of the body; NULL: anywhere */
	bool forgets;      /* the arena goes as soon as `held` is out */
};

enum h1_phase { RL_H1_HEAD, RL_H1_LENGTH, RL_H1_CHUNKED, RL_H1_ANSWER, RL_H1_TUNNEL };

struct rl_h1 {
	enum h1_phase phase;
	bool http10;     /* of the present request */
	bool keep_alive; /* the client's wish */
	bool unsure;     /* no request has come yet, and the client might have meant HTTP/2 */
	bool again;      /* a request before this one has been answered */
	uint8_t empty_lines;
	uint32_t lines; /* complete lines of the head so far */
	size_t line;    /* offset of the unfinished line */
	size_t scanned; /* offset up to which no LF is */
	uint64_t begin_us;
	uint64_t left;    /* of a body with a length */
	uint64_t drained; /* of a body whose exchange has ended */
	struct rl_chunked chunked;
};

enum rl_conn_state {
	RL_CONN_OPEN,
	RL_CONN_FLUSHING, /* the last bytes go out, then it ends */
	RL_CONN_CLOSED,
};

struct rl_conn {
	struct rl_server *server;
	struct rl_transport *transport;
	const struct rl_server_codec *codec;
	struct rl_conn *prev, *next;
	struct rl_xchg *x; /* the exchanges alive, if any: a list, but in HTTP/1 no longer than one */
	enum rl_conn_state state;
	enum rl_err gone; /* why the client is gone; told to the owners at the end of the turn */
	bool busy;        /* within codec->on_input */
	bool blocked;     /* input cannot be taken now */
	bool reset;       /* close by RST after flushing */
	bool shut_due;    /* a tunnel: the end of our side goes out behind what is queued */
	bool secure;      /* over TLS */
	bool hung;        /* the client has shut down its side; what it sent before may still be unread */
	struct rl_buf in; /* bytes not taken yet, from in_at on; no memory when there are none */
	size_t in_at;
	struct rl_buf out; /* bytes not sent yet, from out_at on */
	size_t out_at;
	uint64_t wait_until_ms;  /* for input, or the end of flushing; UINT64_MAX none */
	uint64_t write_until_ms; /* for progress in sending; counts only while something is queued */
	int unsent;              /* bytes in the kernel's queue when it was last looked at */
	struct rl_timer timer;
	struct rl_task task;
	struct rl_addr peer;
	void (*on_close)(void *arg);
	void *on_close_arg;
	struct rl_h1 h1;
	struct rl_h2 *h2;
};

struct rl_server {
	struct rl_loop *loop;
	const struct rl_exchange_ops *ops;
	void *service;
	struct rl_server_limits limits;
	bool draining;                     /* each answer is its connection's last */
	bool retiring;                     /* ... but for those that began before and did not say so */
	struct rl_conn *conns, *last_conn; /* the youngest and the oldest */
	struct rl_conn *shed_at;           /* where shedding goes on looking; NULL: at the oldest */
	size_t n_conns;
	struct rl_conn *free_conns;
	struct rl_xchg *free_xchgs, *dead_xchgs;
	size_t n_free_conns, n_free_xchgs;
	struct rl_task reap;
	const struct rl_header *always; /* of each answer */
	size_t n_always;
	rl_str always_text; /* the same as HTTP/1 lines */
	char always_room[RL_ALWAYS_BYTES_MAX];
	rl_str hsts_text; /* of answers over TLS; may be empty */
	char hsts_room[64];
	uint64_t date_until_ms;
	char date[RL_DATE_LEN + 1];
};

static inline size_t rl_conn_queued(const struct rl_conn *conn)
{
	return conn->out.n - conn->out_at;
}

/* Bytes received but not taken. */
static inline size_t rl_conn_held(const struct rl_conn *conn)
{
	return conn->in.n - conn->in_at;
}

/* When a wait began that ends at `until_ms` after `whole_ms`; a reload may have changed that in between. */
static inline uint64_t rl_wait_began(uint64_t until_ms, uint64_t whole_ms)
{
	return until_ms > whole_ms ? until_ms - whole_ms : 0;
}

/* A fresh exchange of the connection, begun at begin_us, not yet shown to the owner; NULL without memory. */
struct rl_xchg *rl_xchg_new(struct rl_conn *conn, uint64_t begin_us);
/* It is one of the connection's from now on, and its owner may be told of it. */
static inline void rl_xchg_show(struct rl_xchg *x)
{
	struct rl_conn *conn = x->conn;

	x->shown = true;
	x->next = conn->x;
	if (conn->x)
		conn->x->prev = x;
	conn->x = x;
}
/* Whether `total` more bytes, perhaps the last, keep to the length that was announced. Counts them. */
static inline bool rl_xchg_keeps_length(struct rl_xchg *x, size_t total, bool last)
{
	if (x->left < 0 || x->bodiless)
		return true;
	if (total > (uint64_t)x->left)
		return false;
	x->left -= (int64_t)total;
	return !last || !x->left;
}
/* Parts it from its connection; memory goes at the end of the turn. */
void rl_xchg_release(struct rl_xchg *x);

/* Sends, queueing what the socket does not take. Failure shows in conn->state. */
void rl_conn_send(struct rl_conn *conn, const struct iovec *iov, int n);
/* Waits for input until `ms` from now (0: no end). */
void rl_conn_wait(struct rl_conn *conn, uint64_t ms);
/* The deadline becomes `at_ms` if that is earlier: it may pass with nothing to do then. */
void rl_conn_wait_at(struct rl_conn *conn, uint64_t at_ms);
/* Input of `n` bytes came: the deadline moves, but no further than a slow trickle earns. */
void rl_conn_progress(struct rl_conn *conn, size_t n, uint64_t ms);
/* Sends what is queued within `ms`, then closes. */
void rl_conn_finish(struct rl_conn *conn, uint64_t ms, bool reset);
/* It is broken: closes at once; a living exchange learns the reason at the end of the turn. */
void rl_conn_fail(struct rl_conn *conn, enum rl_err reason);
/* What the service says of a request that cannot be served: with x, of that one's body. */
void rl_conn_refusal(struct rl_conn *conn, struct rl_xchg *x, uint16_t status, const char *text, struct rl_buf *body,
		     rl_str *type);
#define RL_REFUSAL_MAX_BYTES 65536u
/*
 * HTTP/1: answers a request that was not understood, by way of the service's on_bad_request, and closes. A living exchange
 * (malformed body) is told `reason`; if its answer had begun already, the connection just ends.
 */
void rl_conn_refuse(struct rl_conn *conn, uint16_t status, const char *text, enum rl_err reason);
/* Something that blocked the input has gone. */
void rl_conn_wake(struct rl_conn *conn);

/* IMF-fixdate (RFC 9110 §5.6.7), RL_DATE_LEN bytes, made once a second. */
const char *rl_server_date(struct rl_server *server);

#endif
