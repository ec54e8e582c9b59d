/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on its way: the state that the steps hand on to each other, and the
 * table of the steps. Private to this room.
 *
 * Memory: `arena` lives as long as the request; `body_arena` holds the request's
 * body and is released at the commit point. Requests are recycled by their worker.
 */
#ifndef RL_PIPELINE_REQUEST_H
#define RL_PIPELINE_REQUEST_H

#include "http/inflate.h"
#include "frame/sse.h"
#include "pipeline/pipeline.h"
#include "pipeline/route.h"
#include "policy/plan.h"
#include "provider/redact.h"

/* step, does it, resumed by, on failure continue at */
#define RL_STEPS(X)                                                                                   \
	X(AUTH, auth_run, auth_wake, REPLY)            /* route, caller, what the head alone shows */ \
	X(LIMIT, limit_run, limit_wake, REPLY)         /* what its address may do */                  \
	X(READ, read_run, read_wake, REPLY)            /* body, envelope */                           \
	X(PLAN, plan_run, plan_wake, REPLY)            /* once: the ordered list of targets */        \
	X(ATTEMPT, attempt_run, attempt_wake, REPLY)   /* nothing committed: another may be tried */  \
	X(RELAY, relay_run, relay_wake, ACCOUNT)       /* bytes are out: nothing is retried */        \
	X(REPLY, reply_run, reply_wake, ACCOUNT)       /* an answer of our own */                     \
	X(ACCOUNT, account_run, account_wake, ACCOUNT) /* always, exactly once */

enum rl_step {
#define X(step, run, wake, on_failure) RL_STEP_##step,
	RL_STEPS(X)
#undef X
		RL_STEP_COUNT
};

/* What a step tells the driver. */
enum rl_move {
	RL_MOVE_NEXT = 0, /* on to the next step of the table */
	RL_MOVE_WAIT,     /* parked until something wakes it */
	RL_MOVE_JUMP,     /* rl_request_jump has set the step */
	RL_MOVE_FAIL,     /* to the step that the table names; `fault` is set */
	RL_MOVE_DONE,     /* the request is gone */
};

/* What can wake a parked request. A *_wake function switches over all of them. */
#define RL_WAKES(X)                                               \
	X(BODY)     /* a piece of the client's body: in->piece */ \
	X(BODY_END) /* the client's body is complete */           \
	X(DRAIN)    /* the client takes more again */             \
	X(GONE)     /* the client has left: in->err */            \
	X(HEAD)     /* head of the provider's answer: in->head */ \
	X(PIECE)    /* bytes of it: in->piece */                  \
	X(READ_END) /* all bytes of one read have come */         \
	X(END)      /* the provider's answer is complete */       \
	X(ROOM)     /* the call takes more of a streamed body */  \
	X(SHUT)     /* a tunnel: the provider sends no more */    \
	X(FAILED)   /* the call has failed: in->err */            \
	X(TIMER)    /* the request's timer */

enum rl_wake {
	RL_WAKE_NONE = 0,
#define X(id) RL_WAKE_##id,
	RL_WAKES(X)
#undef X
};

struct rl_wake_in {
	enum rl_wake kind;
	enum rl_err err;
	rl_str piece;
	const struct rl_response_head *head;
};

#define RL_ATTEMPTS_MAX 8u                /* targets tried for one request */
#define RL_HOLD_BYTES_MAX (256u * 1024)   /* of an answer before it is committed all the same */
#define RL_ERROR_BODY_MAX (64u * 1024)    /* of a provider's error that is read */
#define RL_EVENT_BYTES_MAX (1024u * 1024) /* of one event of a stream */
#define RL_TAIL_BYTES 4096u               /* of a long answer that is remembered for its usage */
#define RL_REQUEST_ARENA_BYTES (4u << 20) /* small things of one request; error bodies included */

/* How a provider's answer is being read. */
enum rl_reading {
	RL_READING_NOTHING = 0,
	RL_READING_WHOLE,  /* an answer in one piece */
	RL_READING_STREAM, /* server-sent events */
	RL_READING_BYTES,  /* whatever it is: passed on as it comes */
	RL_READING_ERROR,  /* an error's body */
};

/* One try at one target: its own call, its own line in the account. */
struct rl_attempt {
	struct rl_request *request;
	struct rl_candidate *candidate;
	const struct rl_provider_key *key; /* that the provider was shown; NULL: none */
	struct rl_call *call;              /* NULL when it has ended */
	enum rl_reading reading;
	uint16_t status;
	enum rl_fault_class fault;
	rl_str reason;
	int64_t retry_after_s; /* < 0: none */
	uint64_t begin_us, connected_us, head_us, end_us;
	bool reused, maybe_billed, settled;
	bool translated;              /* its target speaks another dialect than the client */
	struct rl_response_head head; /* what of it may be passed on; in the request's arena */
	rl_str upstream_request_id;
};

/* What is sent when it is not a provider's own answer. */
struct rl_own_answer {
	uint16_t status;
	rl_str content_type; /* empty: to a preflight, which has no body */
	rl_str body;
	rl_str allow;           /* for 405 */
	rl_str accept_encoding; /* for 415 */
};

struct rl_upload;
struct rl_tunnel;
struct rl_translate;

struct rl_snapshot_hold {
	struct rl_snapshot *snapshot;
	uint64_t holders; /* requests of this worker, and the worker itself while it is the current one */
};

struct rl_request {
	struct rl_request *next_free;
	struct rl_worker *worker;
	struct rl_exchange *x; /* NULL once the exchange has ended */
	struct rl_snapshot_hold *hold;
	enum rl_step step;
	struct rl_arena arena, body_arena;
	struct rl_timer timer;

	/* AUTH */
	const struct rl_route *route;
	const struct rl_dialect *dialect; /* of the client */
	enum rl_http_version http;
	enum rl_method method;
	rl_str path, id, traceparent, tracestate, beta;
	const struct rl_headers *sim_headers; /* x-sim-*, for simulated providers */
	const struct rl_headers *own_headers; /* of the client's dialect, for providers that speak it too */
	rl_str path_model;                    /* where the path names it; else empty */
	bool path_array;                      /* its stream is one JSON array (Gemini, without alt=sse) */
	bool path_stream, strict;             /* strict: nothing may be dropped in translation */
	struct rl_addr client_addr;
	rl_str client_name;
	bool cors;          /* origins are configured */
	rl_str cors_origin; /* the one that pages of may read the answer, "*", or empty */
	const struct rl_cfg_client *client;
	uint64_t wall_us, begin_us;

	/* READ */
	struct rl_inflate *inflate; /* of a compressed body */
	struct rl_buf chunked;      /* a body of unknown length */
	rl_str body;
	size_t body_room;            /* bytes allocated for a body of known length */
	uint64_t body_reserved;      /* counted in gateway.body_bytes */
	uint64_t translate_reserved; /* of these, for what translation made of the body */
	unsigned body_waits;
	struct rl_envelope envelope;
	uint64_t body_end_us;
	struct rl_upload *upload; /* a form that is streamed; NULL: a body that is held */

	/* PLAN */
	const struct rl_model *model;
	rl_str alias;
	struct rl_plan plan;
	size_t next_candidate;

	/* ATTEMPT */
	struct rl_attempt attempts[RL_ATTEMPTS_MAX];
	size_t n_attempts;
	struct rl_attempt *attempt; /* the one under way, then the one that answered */
	uint64_t deadline_ms;
	struct rl_buf held; /* of the answer, before the commit point */
	struct rl_sse sse;
	bool sse_used;
	struct rl_json_form form;       /* of the content events of this stream */
	struct rl_tunnel *tunnel;       /* of a request for a WebSocket; else NULL */
	rl_str dropped;                 /* what translation had to leave out, for the client */
	struct rl_translate *translate; /* NULL: no target so far spoke another dialect */

	/* RELAY */
	bool committed, whole, content_seen, finish_seen, done_seen, paused;
	bool tunnelled; /* bytes pass both ways behind a 101 */
	char *tail;     /* the end of a long answer, where its usage stands: RL_TAIL_BYTES of the arena */
	size_t tail_n;
	bool tail_wanted; /* of an answer that is not looked at otherwise: it may tell its usage */
	struct rl_nesting {
		int64_t depth;
		bool in_string, escaped;
	} nesting; /* of a long answer without a length */
	uint64_t events;
	struct rl_usage usage;

	/* REPLY, ACCOUNT */
	struct rl_fault fault;
	struct rl_own_answer own;
	enum rl_outcome outcome;
	uint16_t status;
	bool pass_error; /* the provider's own error goes to the client as it is */
	bool should_not_retry;
	uint64_t bytes_in, bytes_out, first_byte_us, waited_us;
};

struct rl_worker {
	struct rl_gateway *gateway;
	unsigned index;
	struct rl_loop *loop;
	struct rl_server *server;
	struct rl_pool *pool;
	struct rl_snapshot_hold *current;
	struct rl_request *free;
	unsigned n_free;
	struct rl_buf out;               /* events on their way to a client, within one read */
	const struct rl_request *out_of; /* whose they are; only compared */
	struct rl_arena scratch;         /* of one event that is being translated */
	_Atomic uint32_t connections, requests;
	uint64_t handshake_said_ms; /* when a failed one was last logged, 0: never */
	unsigned handshakes_unsaid; /* since then */
};

/* pipeline.c */
void rl_request_wake(struct rl_request *rq, const struct rl_wake_in *in);
void rl_request_begin(struct rl_request *rq);
enum rl_move rl_request_jump(struct rl_request *rq, enum rl_step step);
const char *rl_step_name(enum rl_step step);
/* Sets the fault that REPLY will tell the client, with a formatted message; always RL_MOVE_FAIL. */
enum rl_move rl_request_fail(struct rl_request *rq, enum rl_fault_class cls, uint16_t status, const char *code,
			     const char *param, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* The usual fault of that kind: 503. */
enum rl_move rl_request_no_memory(struct rl_request *rq);
/* An event that cannot come in this step: net or the driver is wrong, and going on would be worse. Ends the process. */
_Noreturn void rl_request_stray(const struct rl_request *rq, const struct rl_wake_in *in);
/* The client has left, or was refused for a malformed body: nobody is there to answer. To ACCOUNT. */
enum rl_move rl_request_left(struct rl_request *rq);

#define X(step, run, wake, on_failure)           \
	enum rl_move run(struct rl_request *rq); \
	enum rl_move wake(struct rl_request *rq, const struct rl_wake_in *in);
RL_STEPS(X)
#undef X

/* attempt.c */
extern const struct rl_call_ops rl_attempt_ops;
/* The attempt is over: counters, health, its line in the account. Once. */
void rl_attempt_settle(struct rl_attempt *attempt, enum rl_fault_class fault, rl_str reason);
/* What it means for a target that a call to it ended so. */
enum rl_fault_class rl_attempt_class_of(enum rl_err err);
/* Ends its call if it is still running. */
void rl_attempt_cancel(struct rl_attempt *attempt);
/* The commit point: from here on nothing is retried. */
enum rl_move rl_attempt_commit(struct rl_request *rq);

/* answer.c: heads of answers to the client */
/* The head of a provider's answer: its own fields that may pass, and ours. */
enum rl_err rl_answer_head(struct rl_request *rq, struct rl_response_head *out) RL_MUST_CHECK;
/* Copies of what may be passed on of a provider's head, into the request's arena. */
enum rl_err rl_answer_keep(struct rl_request *rq, struct rl_attempt *attempt,
			   const struct rl_response_head *head) RL_MUST_CHECK;
/* The fields that every answer of ours carries. */
enum rl_err rl_answer_common(struct rl_request *rq, struct rl_headers *headers) RL_MUST_CHECK;
/* Our own time so far: not waiting for the client's body nor for a provider. */
uint64_t rl_answer_overhead_us(const struct rl_request *rq, uint64_t now_us);

/* pass.c */
/* The answer is passed on as bytes: nothing in it is looked for, and its first byte commits it. */
bool rl_pass_uninspected(const struct rl_request *rq);
/* A header of the client's by its name, or the empty slice. While the exchange is there. */
rl_str rl_pass_asked(const struct rl_request *rq, rl_str name);
/* What the head of a request for a route without a model must keep to. */
enum rl_move rl_pass_check(struct rl_request *rq);
/* Sets rq->model for a request that names none: the one provider that it is for. */
enum rl_move rl_pass_resolve(struct rl_request *rq);
/* The path at the provider with this query, in the request's arena; p == NULL without memory. */
rl_str rl_pass_path(struct rl_request *rq, const struct rl_provider *provider, rl_str query);

/* limit.c */
/* For AUTH: whether the address may still guess keys (nothing is taken), then that it has guessed wrong. NEXT or FAIL. */
enum rl_move rl_limit_may_guess(struct rl_request *rq);
enum rl_move rl_limit_guessed(struct rl_request *rq);

/* read.c */
/* Gives the request body's memory back. Once the call has been sent, or when nothing will be sent again. */
void rl_body_release(struct rl_request *rq);
/* Counts what was made of the body with it: `n` bytes in all so far. */
void rl_body_reserve(struct rl_request *rq, uint64_t n);
/* Adds to a body that is collected in rq->chunked, whose maximum is the caller's; waits while the budget is used up. */
enum rl_move rl_body_collect(struct rl_request *rq, rl_str piece);

/* worker.c */
void rl_request_free(struct rl_request *rq);

#endif
