/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side: connections in, exchanges out. An exchange is one request and
 * its answer, whatever HTTP version carries it; its owner (the pipeline, the
 * admin plane, the simulator) sees only what this header shows.
 *
 * Life: on_request makes the owner responsible. It must end the exchange exactly
 * once by rl_exchange_reply, rl_exchange_end or rl_exchange_abort, after which the
 * pointer is gone. Callbacks never come from inside a call of the owner's.
 */
#ifndef RL_HTTP_SERVER_H
#define RL_HTTP_SERVER_H

#include "base/buf.h"
#include "loop/dns.h"
#include "loop/loop.h"
#include "http/head.h"
#include "net/tls.h"

struct rl_exchange {
	struct rl_loop *loop;
	struct rl_server *server;
	const struct rl_addr *peer;
	enum rl_http_version version; /* for the record only */
	struct rl_request_head head;  /* in `arena` */
	struct rl_arena arena;        /* lives as long as the exchange; the owner may use it */
	uint64_t begin_us;            /* monotonic: first byte of the request seen */
	uint64_t bytes_in, bytes_out; /* of bodies, framing not counted */
	void *owner;                  /* the owner's */
};

struct rl_exchange_ops {
	const char *name;
	/* The head is complete. Body bytes come after it. */
	void (*on_request)(struct rl_exchange *x, void *service);
	/* A piece of the body, borrowed for the call. */
	void (*on_body)(struct rl_exchange *x, rl_str piece);
	/* The whole request is here (comes also when there is no body). In a tunnel once more: the client sends no more. */
	void (*on_body_end)(struct rl_exchange *x);
	/* What was queued has fallen below the low-water mark. */
	void (*on_drain)(struct rl_exchange *x);
	/* The client has gone (FIN, reset, time-out, malformed body); only rl_exchange_abort is left to do. */
	void (*on_gone)(struct rl_exchange *x, enum rl_err reason);
	/*
	 * A request that could not be understood (bad head, too large, time-out); there is no exchange. Makes the
	 * answer's body and its content type; the connection closes after it. `text` says what was wrong.
	 */
	void (*on_bad_request)(void *service, const struct rl_addr *peer, uint16_t status, const char *text,
			       struct rl_buf *body, rl_str *content_type);
	/*
	 * The same of a request whose body could not be understood, and that has no answer yet: what is made here goes
	 * out, then on_gone comes. NULL: on_bad_request is asked.
	 */
	void (*on_bad_body)(struct rl_exchange *x, uint16_t status, const char *text, struct rl_buf *body,
			    rl_str *content_type);
	/* A connection is about to end whose TLS handshake has come to nothing; `detail` may be empty. NULL: not told. */
	void (*on_no_handshake)(void *service, const struct rl_addr *peer, enum rl_tls_failure why, const char *detail);
};

/* Of an HTTP/2 connection; what is counted is counted within ten seconds. */
struct rl_http2_limits {
	bool enabled;
	uint32_t max_streams;        /* at one time */
	uint32_t max_resets;         /* streams reset before they were answered, if they are half of all */
	uint32_t max_control_frames; /* that answer nothing of ours: PING, SETTINGS, empty DATA and their like */
};
#define RL_HTTP2_LIMITS                                                                            \
	{                                                                                          \
		.enabled = true, .max_streams = 100, .max_resets = 200, .max_control_frames = 1000 \
	}

struct rl_server_limits {
	uint64_t keepalive_ms, header_ms, body_idle_ms, write_idle_ms;
	uint64_t max_header_bytes; /* of a request head, request line included */
	uint32_t max_headers;      /* fields in a head */
	uint64_t hsts_s;           /* Strict-Transport-Security of answers over TLS; 0: none */
	size_t high_water_bytes;   /* queued output of one exchange, above which rl_exchange_full says so */
	struct rl_http2_limits http2;
};

/* One per loop and service: the live connections of that loop. */
struct rl_server;
enum rl_err rl_server_new(struct rl_loop *loop, const struct rl_exchange_ops *ops, void *service,
			  const struct rl_server_limits *limits, struct rl_server **out) RL_MUST_CHECK;
/* A connection as it comes in. */
struct rl_arrival {
	int fd;
	struct rl_addr peer;
	struct rl_tls_server *tls; /* NULL: without; the connection keeps what it needs of it */
	bool proxied;              /* it must begin with a PROXY head, which may name another peer */
};
/* Takes in->fd in any case. On the loop's thread. `on_close`, if given, is called once when the connection is gone. */
void rl_server_accept(struct rl_server *server, const struct rl_arrival *in, void (*on_close)(void *arg), void *arg);
/* New limits for connections to come and for the next request of those that are. */
void rl_server_set_limits(struct rl_server *server, const struct rl_server_limits *limits);
/* Fields that each answer carries, refusals too; of static memory, at most RL_ALWAYS_BYTES_MAX as text. Called once. */
#define RL_ALWAYS_BYTES_MAX 256u
void rl_server_set_always(struct rl_server *server, const struct rl_header *fields, size_t n);
/* Idle connections close now, the others after their answers ("Connection: close"; HTTP/2: GOAWAY). */
void rl_server_drain(struct rl_server *server);
/*
 * The same for a server whose clients find another one at the same address: nothing closes that was not told so. The next
 * answer of an HTTP/1 connection says that it is the last; idle ones, and those whose answer has begun, may ask once
 * more until rl_server_drain. HTTP/2 has its GOAWAY for this.
 */
void rl_server_retire(struct rl_server *server);
/* Closes everything that is left, calling on_gone(SHUTDOWN). */
void rl_server_abort(struct rl_server *server);
size_t rl_server_connections(const struct rl_server *server);
/*
 * Makes room: closes up to `n` connections that have been waiting for a request for RL_SHED_IDLE_MS or longer, and says
 * how many it found. Each is the longest idle of the next RL_SHED_LOOK connections, which are looked at in turn, so that
 * the price does not depend on how many there are.
 */
#define RL_SHED_IDLE_MS 1000u
#define RL_SHED_LOOK 64u
size_t rl_server_shed(struct rl_server *server, size_t n);
/* After rl_server_connections is 0. Accepts NULL. */
void rl_server_free(struct rl_server *server);

/* Body flow: after pause no on_body until resume (bytes stay in the kernel; HTTP/2: the stream gets no more credit). */
void rl_exchange_pause(struct rl_exchange *x);
void rl_exchange_resume(struct rl_exchange *x);
/* Sends 100 (Continue) if the client waits for one; harmless otherwise. */
void rl_exchange_continue(struct rl_exchange *x);

/*
 * A whole answer: head with its content-length set here, and body parts (borrowed for the call). Ends the exchange.
 * An answer before the body has arrived: the rest is drained up to 64 KiB, beyond that the connection closes (HTTP/2:
 * the stream is reset with NO_ERROR behind the answer).
 */
void rl_exchange_reply(struct rl_exchange *x, const struct rl_response_head *head, const rl_str *parts, size_t n);
/*
 * The head of an answer whose body follows by rl_exchange_write; content_length -1 when unknown (chunked, or
 * delimited by close towards HTTP/1.0). The head is copied and goes out with the first write (or end, or flush).
 */
void rl_exchange_start(struct rl_exchange *x, const struct rl_response_head *head);
/*
 * From within on_body: `into` has room for all of the body that is still to come, whose length is known, and it is best
 * read to there. on_body comes as ever; a piece that lies where it belongs need not be copied. What comes in another
 * way (kept before, HTTP/2) still lies elsewhere. The memory stays as long as the exchange, or until the body is whole.
 */
void rl_exchange_land(struct rl_exchange *x, char *into);
/*
 * The owner needs the request's head no more, nor what it has put into the arena: their memory goes with the first
 * write, because an answer may go on for long. After rl_exchange_start.
 */
void rl_exchange_forget(struct rl_exchange *x);
/* Parts are borrowed: written at once as far as the socket takes them, the rest is copied and queued. */
void rl_exchange_write(struct rl_exchange *x, const rl_str *parts, size_t n);
/* Sends a held head now. */
void rl_exchange_flush(struct rl_exchange *x);
/* Queued output is above the high-water mark: pause the source until on_drain. */
bool rl_exchange_full(const struct rl_exchange *x);
/* The answer is complete; ends the exchange in order. */
void rl_exchange_end(struct rl_exchange *x);
/*
 * Ends it abnormally: what is queued is still sent (at most RL_ABORT_FLUSH_MS), but no terminator, and the
 * connection closes (HTTP/2: RST_STREAM). `reset`: nothing more is sent, the connection is reset (HTTP/2: the stream).
 */
#define RL_ABORT_FLUSH_MS 1000u
void rl_exchange_abort(struct rl_exchange *x, bool reset);
/*
 * In place of rl_exchange_start: 101 with these fields, which opens a WebSocket's tunnel. From then on what the client
 * sends is on_body's, until on_body_end (which comes while paused, too, when there is nothing before it) or on_gone, and
 * rl_exchange_write sends bytes as they are; pausing, rl_exchange_full and the ends are as ever. Only for a request that
 * rl_exchange_asks_upgrade is true of, after on_body_end has returned. False: nothing was sent, because the client has
 * not waited for the answer. What it sent is neither the tunnel's nor another request: the owner answers as usual, and
 * the connection closes after that.
 */
bool rl_exchange_upgrade(struct rl_exchange *x, const struct rl_response_head *head) RL_MUST_CHECK;
/* In a tunnel: no more is written. The client sees the end behind what is queued, and may still send. */
void rl_exchange_shut(struct rl_exchange *x);
/* The request asks for a WebSocket, and its connection could become one (GET in HTTP/1.1, without a body). */
bool rl_exchange_asks_upgrade(const struct rl_exchange *x);
/*
 * For the simulator only: bytes as they are, in place of a framed answer, so that every fault of a provider can be
 * made. After the first call only raw writes and rl_exchange_abort are allowed. HTTP/2 has no such bytes: the stream is
 * reset (INTERNAL_ERROR) in their place.
 */
void rl_exchange_raw(struct rl_exchange *x, rl_str bytes);

#endif
