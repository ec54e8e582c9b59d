/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS contexts (OpenSSL 3): TLS 1.2 and 1.3, certificates always verified on the
 * client side. Shared between threads after they are made; nothing of OpenSSL is
 * loaded before the first one is made, so that a plain-text gateway stays small.
 */
#ifndef RL_NET_TLS_H
#define RL_NET_TLS_H

#include "base/err.h"
#include "base/slice.h"

struct rl_tls_client;
struct rl_tls_server;

/* ca_file empty: the system's trust store. `why` gets a static or thread-local text on failure. */
enum rl_err rl_tls_client_new(rl_str ca_file, struct rl_tls_client **out, const char **why) RL_MUST_CHECK;
void rl_tls_client_free(struct rl_tls_client *tls); /* accepts NULL; live connections keep what they need */

/* PEM texts. */
enum rl_err rl_tls_server_new(rl_str certificate_pem, rl_str key_pem, struct rl_tls_server **out,
			      const char **why) RL_MUST_CHECK;
void rl_tls_server_free(struct rl_tls_server *tls);

#endif
