/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The finished-request record: everything that is known about a request when it
 * is over, made exactly once by the ACCOUNT step. Sinks (access log, metrics,
 * later traces, events and money) consume it and nothing else, so that they can
 * never disagree. All text is borrowed for the call.
 */
#ifndef RL_OBSERVE_RECORD_H
#define RL_OBSERVE_RECORD_H

#include "dialect/dialect.h"
#include "loop/dns.h"
#include "message/fault.h"
#include "message/usage.h"

/* How a request ended, seen from the client. */
/* clang-format off */
#define RL_OUTCOMES(X)                                                               \
	X(OK,          "ok")	       /* a complete answer of a provider, or of ours */ \
	X(REFUSED,     "refused")      /* our own 4xx: the request was not acceptable */ \
	X(PASSED_ERROR,"passed_error") /* a provider's 4xx about the client's request, passed on */ \
	X(FAILED,      "failed")       /* no target gave an answer */                    \
	X(CUT,         "cut")	       /* broke after the commit point */                \
	X(LEFT,        "left")	       /* the client went away first */
/* clang-format on */

enum rl_outcome {
	RL_OUTCOME_NONE = 0,
#define X(id, name) RL_OUTCOME_##id,
	RL_OUTCOMES(X)
#undef X
		RL_OUTCOME_COUNT
};
const char *rl_outcome_name(enum rl_outcome outcome);

/* One try at one target. */
struct rl_attempt_record {
	rl_str provider, model;
	uint16_t status;           /* of the provider's answer; 0 = none came */
	enum rl_fault_class fault; /* NONE: it answered the request */
	rl_str reason;     /* short text of why it failed ("refused", "first_byte", a provider's message); no secret */
	uint64_t start_us; /* after the request's begin */
	uint64_t connect_us, first_byte_us, total_us; /* after the attempt's start; 0 = not reached */
	bool reused;                                  /* over a pooled connection */
	bool maybe_billed; /* failed after the request was sent: the provider may have worked on it */
};

struct rl_record {
	uint64_t wall_us; /* when the request began */
	rl_str request_id;
	rl_str upstream_request_id;
	const struct rl_addr *peer;
	rl_str client; /* name of the client key; empty if none */
	rl_str http;   /* version: "1.1"; empty if unknown */
	rl_str method, path;
	enum rl_operation operation;
	rl_str route;           /* the route's pattern, or empty: a bounded set, fit for a metric label */
	rl_str model_asked;     /* as the client wrote it (cut to 256 bytes) */
	rl_str alias;           /* the configured model that it resolved to, or empty */
	rl_str provider, model; /* who served; empty if nobody */
	const struct rl_attempt_record *attempts;
	size_t n_attempts;
	uint16_t status; /* sent to the client; 0 = none */
	enum rl_outcome outcome;
	enum rl_fault_class fault; /* of the answer that the client got */
	rl_str error;              /* short text when it is not OK */
	bool stream;
	bool committed;
	uint64_t bytes_in, bytes_out; /* bodies as the client sent and got them */
	uint64_t events;              /* stream events forwarded */
	struct rl_usage usage;
	uint64_t first_byte_us; /* begin -> first byte of the answer to the client; 0 = none */
	uint64_t total_us;      /* begin -> end */
	uint64_t overhead_us;   /* of that, not spent waiting for client or provider up to the head of the answer */
};

/* A consumer of records. `consume` runs on a worker, must not block and must be quick. */
struct rl_sink {
	const char *name;
	void (*consume)(void *self, unsigned worker, const struct rl_record *record);
};

#endif
