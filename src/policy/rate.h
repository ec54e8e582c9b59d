/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests an address may make: token buckets kept as one moment each
 * (GCRA, ITU-T I.371 annex A), shared by all workers, so that a limit is exact
 * however a client's connections are spread. One table for the process; it knows no
 * settings: the rule comes with each call, so a reload needs nothing of it.
 *
 * Bounded whatever is thrown at it: RL_RATE_ENTRIES addresses in sets of
 * RL_RATE_WAYS; a new one takes the place of the one in its set that has the most
 * tokens. That only ever forgives: who is over a limit stays known as long as
 * anybody better is there to be forgotten. Each call looks at one set, under one of
 * RL_RATE_LOCKS locks, for a constant time.
 */
#ifndef RL_POLICY_RATE_H
#define RL_POLICY_RATE_H

#include "base/err.h"
#include "config/config.h"
#include "loop/dns.h"

#define RL_RATE_ENTRIES 65536u
#define RL_RATE_WAYS 8u
#define RL_RATE_LOCKS 64u

/* What is counted apart. */
#define RL_RATE_KINDS(X)                                           \
	X(INFERENCE, "inference") /* requests of a known caller */ \
	X(AUTH, "auth")           /* requests whose key was not known */

enum rl_rate_kind {
#define X(id, name) RL_RATE_##id,
	RL_RATE_KINDS(X)
#undef X
		RL_RATE_KIND_COUNT
};
rl_str rl_rate_kind_name(enum rl_rate_kind kind);

struct rl_rate;

enum rl_err rl_rate_new(struct rl_rate **out) RL_MUST_CHECK;
void rl_rate_free(struct rl_rate *rate); /* accepts NULL */

typedef uint64_t (*rl_rate_ask_f)(struct rl_rate *rate, enum rl_rate_kind kind, const struct rl_cfg_rate *rule,
				  uint64_t id, uint64_t now_us); /* take or look */

/*
 * Who has no limit: only who is here and says so. A proxy's word about a client on its own loopback is not enough.
 * `peer` is who connected, `client` whom it stands for.
 */
bool rl_rate_is_free(const struct rl_addr *peer, const struct rl_addr *client);
/* One bucket's name: an IPv4 address (also as ::ffff:a.b.c.d), or the /64 of an IPv6 address. Not of Unix sockets. */
uint64_t rl_rate_id(const struct rl_addr *addr);
/*
 * Takes a token. 0, or the microseconds until there will be one; what is refused takes nothing. A rule whose rate is
 * 0 refuses nothing. now_us: rl_clock_us(); a moment before the latest one that was given counts as that one.
 */
uint64_t rl_rate_take(struct rl_rate *rate, enum rl_rate_kind kind, const struct rl_cfg_rate *rule, uint64_t id,
		      uint64_t now_us);
/* The same without taking. */
uint64_t rl_rate_look(struct rl_rate *rate, enum rl_rate_kind kind, const struct rl_cfg_rate *rule, uint64_t id,
		      uint64_t now_us);
/* How many of a kind have been refused by take or look; any thread. */
uint64_t rl_rate_refused(const struct rl_rate *rate, enum rl_rate_kind kind);

#endif
