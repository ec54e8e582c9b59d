/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client side: calls out over pooled connections. An origin is one place to
 * call (scheme, host, port or Unix socket, TLS settings); it is shared by all workers and counts
 * connections for the whole process. A pool is one worker's idle connections.
 *
 * A call ends by exactly one of on_end, on_fail or rl_call_cancel; the pointer is
 * gone when that callback returns, or with the cancel. Callbacks never come from
 * inside a call of the owner's.
 *
 * A reused connection that turns out dead before a byte of the answer came is
 * replaced once by a fresh one when `replayable`, without the owner noticing. The same
 * holds for a call of which an HTTP/2 peer says that it has not begun to work on it
 * (GOAWAY, REFUSED_STREAM), whether `replayable` or not.
 */
#ifndef RL_HTTP_CLIENT_H
#define RL_HTTP_CLIENT_H

#include <stdatomic.h>

#include "base/secret.h"
#include "loop/dns.h"
#include "loop/loop.h"
#include "http/head.h"
#include "net/tls.h"

struct rl_origin; /* counted; thread-safe */

struct rl_origin_spec {
	bool https;
	rl_str host; /* name or literal, no brackets */
	uint16_t port;
	rl_str unix_path;  /* of a Unix socket to connect to; host and port then only go into Host */
	rl_str proxy_host; /* an HTTP proxy that leads there by CONNECT; empty: none */
	uint16_t proxy_port;
	struct rl_secret proxy_credentials; /* "user:password", or unset */
	struct rl_tls_client_spec tls;      /* where https */
	uint32_t max_connections;           /* 0: unlimited; whole process */
	uint32_t max_idle;                  /* whole process */
	uint64_t idle_ms;                   /* how long an idle connection is kept, 60 s */
	bool http2;                         /* over TLS where the other side takes it (ALPN), else by prior knowledge */
};
/* One reference to the caller; *why on failure (TLS). Text is copied. */
enum rl_err rl_origin_new(const struct rl_origin_spec *spec, struct rl_origin **out, const char **why) RL_MUST_CHECK;
struct rl_origin *rl_origin_ref(struct rl_origin *origin);
void rl_origin_unref(struct rl_origin *origin);                       /* accepts NULL */
uint32_t rl_origin_connections(const struct rl_origin *origin);       /* open now, idle included */
uint32_t rl_origin_http2_connections(const struct rl_origin *origin); /* of these, speaking HTTP/2 */

/* One per loop. */
struct rl_pool;
enum rl_err rl_pool_new(struct rl_loop *loop, struct rl_pool **out) RL_MUST_CHECK;
/* Closes idle connections of origins that nobody else references (after a reload), or all of them. */
void rl_pool_trim(struct rl_pool *pool, bool all);
void rl_pool_free(struct rl_pool *pool); /* no call may be running. Accepts NULL */

struct rl_call_times {          /* milliseconds, 0 = none */
	uint64_t connect_ms;    /* name, connection (and waiting for one at the cap), handshake */
	uint64_t send_ms;       /* no progress in sending the request */
	uint64_t first_byte_ms; /* request sent -> head of the answer */
	uint64_t idle_ms;       /* gap within the answer while reading is not paused */
};

struct rl_call_spec {
	struct rl_origin *origin;
	enum rl_method method;
	rl_str path;                     /* with query */
	const struct rl_header *headers; /* Host and Content-Length are added here */
	size_t n_headers;
	const rl_str *body; /* slices; the array and the bytes are borrowed until the call ends or `sent` is true */
	size_t n_body;
	/*
	 * In place of slices the body comes by rl_call_write, from the first on_drain on. Such a call is not replayable. An
	 * answer that comes early ends the sending: what is written then is thrown away.
	 */
	bool streamed;
	int64_t content_length; /* of a streamed body; -1: not known (chunked) */
	/*
	 * Asks for a WebSocket, over a connection of its own in HTTP/1.1, whatever else the origin speaks. An
	 * answer of 101 opens the tunnel: from the first on_drain on bytes go out by rl_call_write, what comes is
	 * on_body's, and no time-out runs but the owner's. Each side ends on its own: ours with `last`, the other one with
	 * on_shut, and what ends second ends the call, by on_end. on_end alone comes if the other side has ended and takes
	 * nothing more.
	 * Any other answer is an ordinary one, and then on_drain does not come. With `streamed`, and no length.
	 */
	bool upgrade;
	struct rl_call_times times;
	size_t max_head_bytes; /* of the answer, 64 KiB */
	bool replayable;
};

/* What the owner may read at any time during the call and in its last callback. */
struct rl_call {
	void *owner;
	bool sent;       /* the whole request has been written, and no replay needs its body any more */
	bool reused;     /* over a connection that had served before */
	bool body_begun; /* at least one byte of the request was written */
	uint64_t start_us, connected_us, sent_us, head_us; /* monotonic; 0 = not yet */
	struct rl_addr peer;                               /* who answered */
	const char *detail; /* static or borrowed text on failure: "first_byte", "certificate has expired", ... */
};

struct rl_call_ops {
	const char *name;
	void (*on_head)(struct rl_call *call, const struct rl_response_head *head); /* borrowed for the call only */
	void (*on_body)(struct rl_call *call, rl_str piece); /* unasked gzip/deflate already decoded (capped) */
	/* All that one read brought for it has been delivered: a good moment to write on. It comes before any callback
	 * of another call, so that owners may gather in one place. May be NULL. */
	void (*on_read_end)(struct rl_call *call);
	void (*on_end)(struct rl_call *call); /* the answer is complete and was framed correctly */
	void (*on_fail)(struct rl_call *call, enum rl_err reason);
	/* A streamed body may begin, or go on: what was given is written (or not wanted). May be NULL where none is. */
	void (*on_drain)(struct rl_call *call);
	/* In a tunnel: the other side sends no more, while ours may. May be NULL where nobody asks for one. */
	void (*on_shut)(struct rl_call *call);
};

/* RL_ERR_NOMEM only; all else arrives in on_fail. */
enum rl_err rl_call_start(struct rl_pool *pool, const struct rl_call_spec *spec, const struct rl_call_ops *ops,
			  void *owner, struct rl_call **out) RL_MUST_CHECK;
/*
 * The next piece of a streamed body, at most 1 MiB and once for each on_drain; what is not written at once is copied.
 * `last`: the body is complete with this piece, which may be empty. While the owner has nothing to give no time-out
 * runs but the owner's.
 */
void rl_call_write(struct rl_call *call, rl_str piece, bool last);
/* After pause no on_body until resume; the idle time-out rests. */
void rl_call_pause(struct rl_call *call);
void rl_call_resume(struct rl_call *call);
/* The connection is closed (HTTP/2: RST_STREAM) unless the answer was complete. No callback after this. Accepts NULL. */
void rl_call_cancel(struct rl_call *call);

#endif
