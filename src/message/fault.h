/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, without a dialect: the class decides what the gateway does
 * next, the rest is what the client is told. Classes follow the common ground of
 * the providers' documented errors (docs/architecture.md, "Error classes").
 */
#ifndef RL_MESSAGE_FAULT_H
#define RL_MESSAGE_FAULT_H

#include "base/slice.h"

/*     id                 name                       retry another target? */
#define RL_FAULT_CLASSES(X)                                 \
	X(NONE, "none", false)                              \
	X(RATE_LIMIT, "rate_limit", true)                   \
	X(QUOTA, "quota_exhausted", true)                   \
	X(OVERLOADED, "overloaded", true)                   \
	X(SERVER_ERROR, "server_error", true)               \
	X(TIMEOUT, "timeout", true)                         \
	X(CONNECT, "connect", true)                         \
	X(INVALID_RESPONSE, "invalid_response", true)       \
	X(AUTH, "provider_auth", true)                      \
	X(CONTEXT_LENGTH, "context_length_exceeded", false) \
	X(CONTENT_FILTER, "content_filtered", false)        \
	X(NOT_FOUND, "not_found", true)                     \
	X(BAD_REQUEST, "bad_request", false)                \
	X(CANCELLED, "cancelled", false)                    \
	X(INTERNAL, "internal", false)

enum rl_fault_class {
#define X(id, name, again) RL_FAULT_##id,
	RL_FAULT_CLASSES(X)
#undef X
		RL_FAULT_CLASS_COUNT
};

const char *rl_fault_class_name(enum rl_fault_class cls);
/* The machine code by which clients know such an error, in OpenAI's words; empty: there is none. */
rl_str rl_fault_class_code(enum rl_fault_class cls);
/* Whether another target may do better (before the commit point). */
bool rl_fault_class_failover(enum rl_fault_class cls);

/* An error as a client sees it. All text is borrowed. */
struct rl_fault {
	enum rl_fault_class cls;
	uint16_t status;       /* HTTP status towards the client */
	rl_str type;           /* the dialect's error type; empty: from the status */
	rl_str code;           /* machine code, or empty */
	rl_str param;          /* the offending field, or empty */
	rl_str message;        /* one or two sentences: what, where, what to do */
	int64_t retry_after_s; /* < 0: none */
};

#endif
