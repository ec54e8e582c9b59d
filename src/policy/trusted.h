/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trusted proxies: whose word about the client's address is taken. The client is
 * the rightmost hop of X-Forwarded-For or Forwarded (RFC 7239) that is not itself
 * a trusted proxy; from anybody else those headers mean nothing.
 */
#ifndef RL_POLICY_TRUSTED_H
#define RL_POLICY_TRUSTED_H

#include "base/arena.h"
#include "loop/dns.h"
#include "http/head.h"

struct rl_cidr {
	unsigned char bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;           /* of 128 */
};

struct rl_trusted {
	struct rl_cidr *list;
	size_t n;
};

enum rl_err rl_trusted_init(struct rl_trusted *trusted, const rl_str *cidrs, size_t n,
			    struct rl_arena *arena) RL_MUST_CHECK;
/* Whether this address is one of a trusted proxy. */
bool rl_trusted_is(const struct rl_trusted *trusted, const struct rl_addr *addr);
/* The client's address: `peer` itself unless it is trusted and names another. */
struct rl_addr rl_trusted_client(const struct rl_trusted *trusted, const struct rl_addr *peer,
				 const struct rl_headers *headers);

#endif
