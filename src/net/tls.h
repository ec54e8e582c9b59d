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

/* How a client proves who it is, and whom it believes. Paths of PEM files; read when the context is made. */
struct rl_tls_client_spec {
	rl_str ca_file;          /* empty: the system's trust store */
	rl_str certificate_file; /* ours, then those that lead to its authority; empty: we show none */
	rl_str key_file;         /* of certificate_file, without a pass phrase */
	rl_str alpn;             /* protocols to offer, as RFC 7301 §3.1 writes them; empty: http/1.1 */
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

/* PEM texts. */
enum rl_err rl_tls_server_new(rl_str certificate_pem, rl_str key_pem, struct rl_tls_server **out,
			      const char **why) RL_MUST_CHECK;
void rl_tls_server_free(struct rl_tls_server *tls);

#endif
