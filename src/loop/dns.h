/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses by c-ares, with a cache per loop: kept for the record's own
 * time to live, at most RL_DNS_TTL_MAX_S; after that a failing resolver leaves the old
 * answer in use (stale on error). Literal addresses need no query. Answers always
 * come in a later task, never inside the call.
 */
#ifndef RL_LOOP_DNS_H
#define RL_LOOP_DNS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "loop/loop.h"

#define RL_DNS_TTL_MAX_S 300u
#define RL_DNS_ADDRS_MAX 8u

struct rl_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

struct rl_dns_query {
	/* Filled before on_done is called. */
	enum rl_err result;                     /* OK, DNS (no such name, no answer), TIMEOUT, NOMEM */
	struct rl_addr addrs[RL_DNS_ADDRS_MAX]; /* IPv6 and IPv4 alternating (RFC 8305 §4), port set */
	unsigned n_addrs;
	/* Private. */
	void (*on_done)(struct rl_dns_query *query);
	struct rl_loop *loop;
	struct rl_task task;
	struct rl_dns_query *prev, *next;
	void *entry;
	uint16_t port;
};

/*
 * `host`: a name, a literal address (IPv6 with or without brackets) or "unix:/path" (the port means nothing then);
 * borrowed for the call only.
 */
void rl_dns_start(struct rl_loop *loop, struct rl_dns_query *query, rl_str host, uint16_t port,
		  void (*on_done)(struct rl_dns_query *query));
/* on_done will not be called. Harmless when done. */
void rl_dns_cancel(struct rl_dns_query *query);

/* "host:port", "[v6]:port" to an address without asking anybody; RL_ERR_SYNTAX if it is not literal. */
enum rl_err rl_addr_parse(rl_str text, struct rl_addr *out) RL_MUST_CHECK;
/* The address of a Unix socket; false for a path that is empty, too long (107 bytes) or holds a NUL. */
bool rl_addr_unix(rl_str path, struct rl_addr *out);
/* "127.0.0.1:8080", "[::1]:8080"; NUL-terminated into out. */
#define RL_ADDR_TEXT_MAX 64
void rl_addr_text(const struct rl_addr *addr, char out[RL_ADDR_TEXT_MAX]);
bool rl_addr_is_loopback(const struct rl_addr *addr); /* Unix sockets count */

#endif
