/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, versions 1 and 2: what a balancer in front of us writes before
 * the first byte of its client's, to say whose connection it is. A pure function over
 * what has arrived (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt).
 */
#ifndef RL_NET_PROXY_PROTOCOL_H
#define RL_NET_PROXY_PROTOCOL_H

#include "loop/dns.h"

#define RL_PROXY_V1_BYTES_MAX 107u /* §2.1, the line's end included */
#define RL_PROXY_BYTES_MAX 536u    /* of version 2: what §2.2 lets a sender count on, and all that we take */

struct rl_proxy_head {
	size_t n;            /* its length: what comes after it is the client's */
	bool named;          /* false: a connection of the balancer's own (LOCAL), or of unknown origin */
	struct rl_addr peer; /* the client, if named */
};

/* OK; AGAIN: good so far, more must come; SYNTAX: it will never be a head of ours. */
enum rl_err rl_proxy_parse(rl_str bytes, struct rl_proxy_head *out) RL_MUST_CHECK;

#endif
