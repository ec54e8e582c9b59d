/* SPDX-License-Identifier: Apache-2.0 */
/* What the resolver needs to know of addresses beyond dns.h. */
#ifndef RL_LOOP_ADDR_PRIV_H
#define RL_LOOP_ADDR_PRIV_H

#include "loop/dns.h"

/* A literal IPv4 or IPv6 address (the latter with or without brackets), or "unix:/path", which has no port. */
bool rl_addr_literal(rl_str host, uint16_t port, struct rl_addr *out);
/* 0.0.0.0, :: and ::ffff:0.0.0.0: "this host", which no name should point to. */
bool rl_addr_is_any(const struct rl_addr *addr);

#endif
