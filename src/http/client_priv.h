/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the client: what its files share.
 *
 *   client.c     a call from start to its one end: phases, time-outs, what the owner sees
 *   pool.c       places (an origin as seen by one loop), idle connections, graves
 *   opening.c    opening a connection: slot, name, transport
 *   share.c      connections that carry several calls, and the calls that wait for one
 *   origin.c     the process-wide side: counts, the cap and those who wait at it, TLS contexts
 *   h1_client.c  the HTTP/1 codec
 *   h2_client.c  the HTTP/2 codec
 *
 * client.c knows no HTTP version: a connection has a codec (struct rl_codec), which
 * moves requests out and calls rl_run_* with what comes in. Which one is known when the
 * connection is ready (TLS may have to agree on it), so that a request is written down
 * before, in HTTP/1's form, which HTTP/2's codec turns into fields.
 *
 * Everything but origins is of one loop. Nothing is freed inside a callback: ended
 * calls, connections and openings go to the pool's graves, emptied at the turn's end.
 */
#ifndef RL_HTTP_CLIENT_PRIV_H
#define RL_HTTP_CLIENT_PRIV_H

#include <pthread.h>

#include "base/buf.h"
#include "http/client.h"
#include "http/inflate.h"
#include "net/transport.h"

struct rl_run;
struct rl_conn;
struct rl_place;
struct rl_waiter;

/* ---- codec ---- */

struct rl_codec {
	const char *name;
	size_t conn_bytes; /* of its connections: struct rl_conn and what is the codec's own, zero before `init` */
	/* The connection is ready and of this codec from now on; and just before its memory goes. */
	enum rl_err (*init)(struct rl_conn *conn);
	void (*fini)(struct rl_conn *conn);
	/* `run` has this connection, which is ready: send. Never calls the owner. */
	void (*send)(struct rl_conn *conn, struct rl_run *run);
	void (*on_event)(struct rl_conn *conn, unsigned events);
	/*
	 * More of a streamed body (`last`: with what ends it), and nothing that was given before waits. Never calls the owner.
	 */
	void (*write)(struct rl_conn *conn, struct rl_run *run, rl_str piece, bool last);
	/* The owner is ready for more after a pause; from a task. */
	void (*resume)(struct rl_conn *conn, struct rl_run *run);
	/* The call ends before its answer does; never calls the owner. */
	void (*leave)(struct rl_conn *conn, struct rl_run *run);
	/* How many more calls it takes now; NULL: it takes one at a time. */
	unsigned (*room)(const struct rl_conn *conn);
};
extern const struct rl_codec rl_h1_client;
extern const struct rl_codec rl_h2_client;

#define RL_REQUEST_HEAD_MAX_BYTES (1u << 20)

/* Writes down what of the request is not the body, as HTTP/1.1 (the spec's texts are the caller's). NOMEM or LIMIT. */
enum rl_err rl_run_prepare(struct rl_run *run, const struct rl_call_spec *spec);

/* ---- a call that runs ---- */

enum rl_phase {
	RL_PHASE_OPENING = 0, /* waiting at the cap, for the name, for the connection */
	RL_PHASE_SEND,
	RL_PHASE_FIRST_BYTE,
	RL_PHASE_ANSWER,
	RL_PHASE_DONE, /* ended or cancelled; waits for its grave */
};

struct rl_run {
	struct rl_call call; /* first: what the owner holds */
	const struct rl_call_ops *ops;
	struct rl_place *place;
	struct rl_conn *conn;       /* NULL: none yet, or the answer has arrived whole */
	struct rl_opening *opening; /* while OPENING, until there is a connection */
	struct rl_run *next;        /* free list, graves; the queue of a place */
	struct rl_run *prev;        /* the queue of a place */
	struct rl_timer timer;
	struct rl_task later; /* a failure to report, or the going on after a pause */
	struct rl_task drain; /* on_drain is due */
	enum rl_phase phase;
	struct rl_call_times times;
	enum rl_method method;
	size_t max_head_bytes;
	bool replayable, replayed;
	bool queued;       /* waits for a connection to share; OPENING */
	bool leads;        /* queued: the opening under way is its own */
	bool timed_out;    /* that is why it ends */
	unsigned refusals; /* how often the peer has said that it had not begun */
	unsigned slot;     /* HTTP/2: which of its connection's streams */
	bool paused;
	bool waiting_turn;   /* `later` will send on `conn`, or on another one should that end before */
	bool all_sent;       /* call.sent, but without waiting until a replay is out of the question */
	bool answering;      /* a byte of the answer has come */
	bool arrived;        /* the framing says that the answer is complete */
	bool streamed;       /* the body goes on by rl_call_write */
	bool chunked;        /* and its length is not known */
	bool asked;          /* on_drain has come: what follows cannot be had twice */
	bool ended;          /* the last piece of it was given */
	bool upgrade;        /* asks for a WebSocket */
	bool tunnel;         /* and has got it: bytes go both ways until both sides have ended */
	bool inflating;      /* decoded text may still wait in `inflate` */
	bool delivered;      /* something was handed to the owner since the last on_read_end */
	enum rl_err failure; /* to be reported by `later` */

	struct rl_buf request; /* head as it goes out */
	const rl_str *body;
	size_t n_body;
	struct rl_buf rest; /* of a streamed body: what was given and could not be written yet, framed */

	struct rl_arena arena; /* head of the answer */
	struct rl_inflate *inflate;
	char detail_text[128];
};

static inline bool rl_run_over(const struct rl_run *run)
{
	return run->phase == RL_PHASE_DONE;
}

/* From the codec, while bytes are read. After each the call may be paused or over. */
void rl_run_on_answer(struct rl_run *run); /* the first byte of it */
void rl_run_on_head(struct rl_run *run, struct rl_response_head *head, bool bodiless);
void rl_run_on_body(struct rl_run *run, rl_str piece);
/* The head was a 101 that was asked for, and the owner has been told: he may write. */
void rl_run_on_tunnel(struct rl_run *run);
/* In a tunnel the other side has shut down its own, and ours is still open. */
void rl_run_on_shut(struct rl_run *run);
/* The answer is whole and correct; the connection is no longer the call's. */
void rl_run_on_arrived(struct rl_run *run);
/* All bytes of one read have been delivered. */
void rl_run_on_read_end(struct rl_run *run);
/* All of a streamed body that was given is out, or no more is wanted; the owner is told by a task. */
void rl_run_on_drained(struct rl_run *run);
/* Progress of sending: some bytes (moves the time-out), then all. */
void rl_run_on_sent_some(struct rl_run *run);
void rl_run_on_sent(struct rl_run *run);
/*
 * The call cannot go on; its connection is closed. fail: reports at once (from an event). fail_later: in a task (we
 * may be inside an owner's call). `detail` is copied; NULL takes the reason's text.
 */
void rl_run_fail(struct rl_run *run, enum rl_err reason, const char *detail);
void rl_run_fail_later(struct rl_run *run, enum rl_err reason, const char *detail);
/* The connection died before a byte of the answer. Replays on a fresh one where allowed; false: fail it. */
bool rl_run_replay(struct rl_run *run);
/* The peer has not begun to work on it, and its connection is no longer the call's. Starts over; false: too often. */
bool rl_run_refused(struct rl_run *run);
/* The connection is ready for this call. */
void rl_run_on_conn(struct rl_run *run, struct rl_conn *conn);

/* ---- connections ---- */

struct rl_conn {
	const struct rl_codec *codec;
	struct rl_place *place;
	struct rl_transport *transport;
	struct rl_run *run;    /* the one who opens it, then HTTP/1's one call; NULL: idle */
	unsigned n_calls;      /* HTTP/2: calls on it */
	struct rl_run *keeper; /* HTTP/1: the call that sends at the turn's end, if nothing happens here until then */
	struct rl_conn *prev, *next; /* idle list or shared list; graves use next */
	uint64_t rested_turn;        /* rl_loop_turn when it became idle */
	struct rl_timer timer;       /* how long it may stay idle; runs on lazily while it is used */
	uint64_t idle_ms;            /* the origin's, or less where the provider says so (keep-alive: timeout=) */
	bool ready, closed;
	bool idle;       /* on the idle list */
	bool shared;     /* on the shared list */
	bool draining;   /* takes no more calls */
	unsigned served; /* answers */
	struct rl_addr peer;
};

/* Closes it now (RST where `abort`), gives its slot back, and buries it. Harmless when closed. */
void rl_conn_close(struct rl_conn *conn, bool abort);
/* No call is on it and it may serve again: to a waiting call of this loop, to the idle list, or closed. */
void rl_conn_rest(struct rl_conn *conn);
void rl_conn_on_idle_timer(struct rl_timer *timer);

/* ---- places and pools ---- */

/* What other threads ask of a place; outlives it when a request is under way. */
struct rl_shed {
	struct rl_mail mail;
	struct rl_place *place; /* NULL: gone; read and written on its loop only */
	_Atomic bool posted;
};

struct rl_place {
	struct rl_pool *pool;
	struct rl_origin *origin;
	struct rl_place *next;                      /* in the pool */
	struct rl_place *origin_prev, *origin_next; /* under the origin's lock */
	struct rl_conn *idle;                       /* newest first */
	struct rl_dial_memory memory;
	_Atomic unsigned n_idle; /* written by this loop */
	unsigned n_users;        /* runs, connections, openings */
	struct rl_shed *shed;
	/* Where the origin speaks HTTP/2 (share.c). */
	struct rl_conn *shared;            /* connections with calls and with room for more */
	struct rl_run *queue, *queue_last; /* calls that wait for one */
	unsigned n_queued, n_openings;     /* openings: under way for those calls */
	unsigned streams;                  /* how many calls one took, by the SETTINGS last seen */
	bool alone;                        /* the last one that was opened turned out to speak HTTP/1 */
	bool busy;                         /* the queue is being worked through */
};

enum { RL_POOL_BUCKETS = 64 };

struct rl_pool {
	struct rl_loop *loop;
	struct rl_place *places[RL_POOL_BUCKETS];
	struct rl_run *free_runs;
	unsigned n_free_runs;
	struct rl_run *dead_runs;
	struct rl_conn *dead_conns;
	struct rl_opening *dead_openings;
	struct rl_task reap;
};

/* The origin as this loop sees it, made at first use; NULL without memory. */
struct rl_place *rl_pool_place(struct rl_pool *pool, struct rl_origin *origin);
/* One with room for another call, or the idle one used last (before any that was used in this very turn), or NULL. */
struct rl_conn *rl_place_take(struct rl_place *place);
/*
 * Whether a connection that was idle may serve again: nothing has come on it that has not been told. The poll tells
 * for nothing, once it has been asked; `check` asks the kernel in any case.
 */
bool rl_conn_is_quiet(const struct rl_conn *conn, bool check);
/* Reads as much as there is, up to the scratch: once, or for TLS as often as its records need. *err is not AGAIN. */
size_t rl_conn_fill(struct rl_conn *conn, char *scratch, enum rl_err *err);
/* Opens a connection for `run` (a slot under the cap, name, connect, handshake), ending in rl_run_on_conn or fail. */
void rl_opening_start(struct rl_run *run);
void rl_opening_cancel(struct rl_opening *opening); /* gives back what it has; accepts NULL */
void rl_opening_hand_over(struct rl_opening *opening, struct rl_run *heir);
/* The waiter (off the queue) gets a connection that has become idle instead of a slot. */
void rl_opening_take(struct rl_waiter *waiter, struct rl_conn *conn);
struct rl_opening *rl_opening_free(struct rl_opening *opening); /* from its grave; returns the next one */
struct rl_run *rl_run_get(struct rl_pool *pool);                /* zeroed but for kept memory; NULL without memory */
void rl_run_bury(struct rl_pool *pool, struct rl_run *run);

/* ---- origins ---- */

#define RL_WAITERS_MAX 1024u

/* A call that waits for a slot. Queued under the origin's lock; granted by mail to its loop. */
struct rl_waiter {
	struct rl_mail mail; /* first */
	struct rl_waiter *prev, *next;
	struct rl_origin *origin;
	struct rl_loop *loop;
	struct rl_opening *opening; /* NULL: given up while the grant was on its way; its loop's */
	bool queued;                /* under the lock */
	bool own;                   /* it must be a new connection; set before it is queued */
};

struct rl_origin {
	_Atomic unsigned refs;  /* places, and one for all users together */
	_Atomic unsigned users; /* references of the outside */
	_Atomic uint32_t connections, idle;
	_Atomic uint32_t http2_connections; /* among `connections`, of those that are ready */
	_Atomic unsigned n_waiters;
	uint32_t max_connections, max_idle;
	uint64_t idle_ms;
	bool https, http2;
	uint16_t port;
	rl_str host;
	rl_str dial; /* what is resolved and connected to: the host, "unix:/path", or the proxy's host */
	uint16_t dial_port;
	struct rl_buf tunnel; /* what is asked of the proxy, a secret; empty: there is none */
	rl_str authority;     /* as Host needs it: port where not the scheme's, IPv6 in brackets */
	struct rl_tls_client *tls;
	struct rl_tls_shared *tls_shared;
	struct rl_tls_sessions *tls_sessions;
	pthread_mutex_t lock;
	struct rl_waiter *first, *last;
	struct rl_place *places;
	char text[]; /* behind these names */
};

void rl_origin_hold(struct rl_origin *origin); /* a reference of a place */
void rl_origin_drop(struct rl_origin *origin);
void rl_origin_join(struct rl_origin *origin, struct rl_place *place);
void rl_origin_leave(struct rl_origin *origin, struct rl_place *place);
/* OK: the slot is taken. AGAIN: `waiter` is queued. BUSY: too many wait. */
enum rl_err rl_origin_slot_take(struct rl_origin *origin, struct rl_waiter *waiter) RL_MUST_CHECK;
/* To the first waiter, or back. */
void rl_origin_slot_free(struct rl_origin *origin);
/* The first waiter, taken off the queue, if it is of this loop and takes a connection that has served; else NULL. */
struct rl_waiter *rl_origin_waiter_here(struct rl_origin *origin, struct rl_loop *loop);
/* The first who waits for a slot is of another loop, or needs a connection of his own: nothing here serves him. */
bool rl_origin_wanted_elsewhere(struct rl_origin *origin, const struct rl_loop *loop);
/* True: it was queued and is the caller's again. False: the slot is on its way by mail. */
bool rl_origin_waiter_remove(struct rl_waiter *waiter);

#endif
