/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of an HTTP proxy so that it opens a way to somebody else: see tunnel.c. */
#ifndef RL_NET_TUNNEL_H
#define RL_NET_TUNNEL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/*
 * Appends the request for a way to `host` (a name or a literal, without brackets), to be given to rl_transport_connect.
 * credentials: "user:password", or unset. LIMIT if that or the host is too long; NOMEM.
 */
enum rl_err rl_tunnel_request(rl_str host, uint16_t port, struct rl_secret credentials,
			      struct rl_buf *out) RL_MUST_CHECK;

#endif
