/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS contexts (OpenSSL 3): TLS 1.2 and 1.3, certificates always verified on the
 * client side. Shared between threads after they are made; nothing of OpenSSL is
 * loaded before the first one is made, so that a plain-text gateway stays small.
 */
#ifndef RL_NET_TLS_H
#define RL_NET_TLS_H

#include "base/buf.h"
#include "base/err.h"

struct rl_tls_client;
struct rl_tls_server;

/* As RFC 7301 §3.1 writes lists of protocols. */
#define RL_ALPN_HTTP_1 "\x08http/1.1"
#define RL_ALPN_HTTP_2 "\x02h2" RL_ALPN_HTTP_1 /* before HTTP/1.1 */

/* How a client proves who it is, and whom it believes. Paths of PEM files; read when the context is made. */
struct rl_tls_client_spec {
	rl_str ca_file;          /* empty: the system's trust store */
	rl_str certificate_file; /* ours, then those that lead to its authority; empty: we show none */
	rl_str key_file;         /* of certificate_file, without a pass phrase */
	rl_str alpn;             /* protocols to offer; empty: RL_ALPN_HTTP_1 */
};
/* `why` gets a static or thread-local text on failure. */
enum rl_err rl_tls_client_new(const struct rl_tls_client_spec *spec, struct rl_tls_client **out,
			      const char **why) RL_MUST_CHECK;
/*
 * Appends all that a context made of `spec` now would depend on: the texts, and which files stand under its paths
 * (inode, size, time of change). Equal keys: the same context. A renewed file gives another key.
 */
void rl_tls_client_key(const struct rl_tls_client_spec *spec, struct rl_buf *key);
void rl_tls_client_free(struct rl_tls_client *tls); /* accepts NULL; live connections keep what they need */

/*
 * The sessions that servers of one name have given us, for a shorter handshake next time (RFC 8446 §2.2, RFC 5077).
 * For connections of one context to one host only: whoever resumes is not asked for a certificate again. Counted, and
 * thread-safe.
 */
struct rl_tls_sessions;
enum rl_err rl_tls_sessions_new(struct rl_tls_sessions **out) RL_MUST_CHECK;
struct rl_tls_sessions *rl_tls_sessions_ref(struct rl_tls_sessions *sessions);
void rl_tls_sessions_unref(struct rl_tls_sessions *sessions); /* accepts NULL */

/* A certificate with the chain that leads to its authority, and its key: PEM texts. */
struct rl_tls_identity {
	rl_str certificate_pem, key_pem;
};

struct rl_tls_server_spec {
	const struct rl_tls_identity *identities; /* the first is for clients that name no host we know */
	size_t n_identities;                      /* at least 1 */
	rl_str client_ca_pem; /* given: only clients with a certificate of one of these authorities are let in */
	bool h2;              /* offers "h2" before "http/1.1" (ALPN) */
	rl_str plain_answer;  /* static: told to who speaks HTTP without TLS, then the connection closes; or empty */
};

/* Why a client's handshake has come to nothing. */
#define RL_TLS_FAILURES(X)                                               \
	X(NONE, "")                                                      \
	X(VERSION, "version")                                            \
	X(CIPHER, "cipher")                                              \
	X(CERTIFICATE, "certificate") /* ours: the client refuses it */  \
	X(CLIENT_CERTIFICATE, "client_certificate")                      \
	X(NOT_TLS, "not_tls")                                            \
	X(TIMEOUT, "timeout")                                            \
	X(CLOSED, "closed") /* the client has left in the midst of it */ \
	X(OTHER, "other")

enum rl_tls_failure {
#define X(id, name) RL_TLS_FAILURE_##id,
	RL_TLS_FAILURES(X)
#undef X
		RL_TLS_FAILURE_COUNT
};
rl_str rl_tls_failure_name(enum rl_tls_failure failure);

enum rl_tls_part { RL_TLS_PART_NONE = 0, RL_TLS_PART_CERTIFICATE, RL_TLS_PART_KEY, RL_TLS_PART_CLIENT_CA };

struct rl_tls_complaint {
	enum rl_tls_part part;
	size_t identity; /* whose certificate or key it is */
	const char *why; /* static; no secret */
};

/* NOMEM, or TLS with what is wrong in *complaint. One reference to the caller. */
enum rl_err rl_tls_server_new(const struct rl_tls_server_spec *spec, struct rl_tls_server **out,
			      struct rl_tls_complaint *complaint) RL_MUST_CHECK;
/*
 * `tls`, which nobody uses yet, goes on with the keys of `before` for session tickets, if both were made of the same texts:
 * then whoever may come in, and what they are shown, is the same. Accepts NULL for `before`.
 */
void rl_tls_server_succeed(struct rl_tls_server *tls, const struct rl_tls_server *before);
/*
 * Tickets are sealed with a new key when the present one is as old as this, by the monotonic clock; the one before it still
 * opens them, so that a ticket is good for as long. To be called more often than that. Accepts NULL.
 */
#define RL_TLS_TICKET_KEY_MS (2u * 60 * 60 * 1000)
void rl_tls_server_rotate(struct rl_tls_server *tls, uint64_t now_ms);
struct rl_tls_server *rl_tls_server_ref(struct rl_tls_server *tls); /* accepts NULL */
void rl_tls_server_unref(struct rl_tls_server *tls); /* accepts NULL; live connections keep what they need */

#endif
