/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one set of results that functions of relais return. Everything that can
 * end a wait has its own value, so that a reason is never lost on its way up:
 * a closed connection or an ended request always carries one of these.
 */
#ifndef RL_BASE_ERR_H
#define RL_BASE_ERR_H

/* clang-format off */
/*     id           name             text for people */
#define RL_ERRS(X)                                                                   \
	X(OK,           "ok",            "done")                                     \
	X(AGAIN,        "again",         "would block")                              \
	X(NOMEM,        "out_of_memory", "out of memory")                            \
	X(LIMIT,        "limit",         "a configured bound was reached")           \
	X(SYNTAX,       "syntax",        "malformed input")                          \
	X(EOF,          "eof",           "the peer closed before the end")           \
	X(CLOSED,       "closed",        "the connection was closed in order")       \
	X(RESET,        "reset",         "the connection was reset")                 \
	X(REFUSED,      "refused",       "the connection was refused")               \
	X(UNREACHABLE,  "unreachable",   "the host or network cannot be reached")    \
	X(TIMEOUT,      "timeout",       "time ran out")                             \
	X(CANCELLED,    "cancelled",     "given up by the one who asked")            \
	X(DNS,          "dns",           "the name could not be resolved")           \
	X(TLS,          "tls",           "the TLS handshake or record layer failed") \
	X(PROXY,        "proxy",         "the proxy did not open a way")             \
	X(PROTOCOL,     "protocol",      "the peer broke the protocol")              \
	X(UNSUPPORTED,  "unsupported",   "not supported")                            \
	X(DUPLICATE,    "duplicate",     "given twice")                              \
	X(NOT_FOUND,    "not_found",     "not found")                                \
	X(RANGE,        "range",         "outside the allowed range")                \
	X(BUSY,         "busy",          "no capacity is free")                      \
	X(SHUTDOWN,     "shutdown",      "the program is stopping")                  \
	X(IO,           "io",            "the system call failed")
/* clang-format on */

enum rl_err {
#define X(id, name, text) RL_ERR_##id,
	RL_ERRS(X)
#undef X
		RL_ERR_COUNT
};
#define RL_OK RL_ERR_OK

#define RL_MUST_CHECK __attribute__((warn_unused_result))

/* The short name, as it stands in logs and metrics. Never NULL. */
const char *rl_err_name(enum rl_err err);
/* One sentence part for people. Never NULL. */
const char *rl_err_text(enum rl_err err);
/* What a system error number (errno) means here. */
enum rl_err rl_err_from_errno(int errnum);

#endif
