/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rate.h. A bucket is the moment at which it will be full again: empty ones lie
 * a whole burst ahead, and one that lies in the past is full and might as well be
 * forgotten. Zeroed memory is a table of full buckets, and stays untouched (and not
 * resident) as long as only loopback asks.
 */
#include "policy/rate.h"

#include <assert.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/map.h"

#define SETS (RL_RATE_ENTRIES / RL_RATE_WAYS)
#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_US UINT64_C(1000)

struct entry {
	uint64_t id;
	uint64_t full_ns[RL_RATE_KIND_COUNT]; /* when the bucket is full again */
};

struct lock {
	alignas(64) pthread_mutex_t mutex;
	uint64_t now_ns; /* the latest moment seen: threads read their clocks before they wait here */
};

struct rl_rate {
	struct lock locks[RL_RATE_LOCKS];
	_Atomic uint64_t refused[RL_RATE_KIND_COUNT];
	struct entry (*sets)[RL_RATE_WAYS];
};

rl_str rl_rate_kind_name(enum rl_rate_kind kind)
{
	static const rl_str names[] = {
#define X(id, name) [RL_RATE_##id] = RL_STR_INIT(name),
		RL_RATE_KINDS(X)
#undef X
	};

	assert(kind < RL_RATE_KIND_COUNT);
	return names[kind];
}

enum rl_err rl_rate_new(struct rl_rate **out)
{
	struct rl_rate *rate = aligned_alloc(alignof(struct rl_rate), sizeof *rate);

	if (!rate)
		return RL_ERR_NOMEM;
	memset(rate, 0, sizeof *rate);
	rate->sets = calloc(SETS, sizeof *rate->sets);
	if (!rate->sets) {
		free(rate);
		return RL_ERR_NOMEM;
	}
	for (size_t i = 0; i < RL_RATE_LOCKS; i++)
		pthread_mutex_init(&rate->locks[i].mutex, NULL);
	*out = rate;
	return RL_OK;
}

void rl_rate_free(struct rl_rate *rate)
{
	if (!rate)
		return;
	for (size_t i = 0; i < RL_RATE_LOCKS; i++)
		pthread_mutex_destroy(&rate->locks[i].mutex);
	free(rate->sets);
	free(rate);
}

bool rl_rate_is_free(const struct rl_addr *peer, const struct rl_addr *client)
{
	return rl_addr_is_loopback(peer) && rl_addr_is_loopback(client);
}

static uint64_t big_endian(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* IPv4 is told from a /64 by ff00::/8 above it, which is multicast and nobody's own address. */
static uint64_t id_of_v4(const unsigned char *bytes)
{
	return UINT64_C(0xffff) << 48 | big_endian(bytes, 4);
}

uint64_t rl_rate_id(const struct rl_addr *addr)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (addr->sa.ss_family == AF_INET)
		return id_of_v4((const unsigned char *)&((const struct sockaddr_in *)&addr->sa)->sin_addr);
	assert(addr->sa.ss_family == AF_INET6);
	const unsigned char *bytes = ((const struct sockaddr_in6 *)&addr->sa)->sin6_addr.s6_addr;

	return memcmp(bytes, mapped, sizeof mapped) == 0 ? id_of_v4(bytes + 12) : big_endian(bytes, 8);
}

/* Of all its buckets the one that is full last. */
static uint64_t full_at(const struct entry *entry)
{
	uint64_t last = 0;

	for (size_t i = 0; i < RL_RATE_KIND_COUNT; i++)
		if (entry->full_ns[i] > last)
			last = entry->full_ns[i];
	return last;
}

/* The address's own entry, or what it may have instead: the one with the most tokens. */
static struct entry *find(struct entry *set, uint64_t id)
{
	struct entry *best = set;

	for (size_t i = 0; i < RL_RATE_WAYS; i++) {
		if (set[i].id == id && full_at(&set[i]))
			return &set[i];
		if (full_at(&set[i]) < full_at(best))
			best = &set[i];
	}
	return best;
}

/* The bucket after one more token, if there is one (*wait_ns 0). */
static uint64_t spend(uint64_t full_ns, const struct rl_cfg_rate *rule, uint64_t now_ns, uint64_t *wait_ns)
{
	uint64_t each_ns = NS_PER_S / rule->rate, most_ns = now_ns + each_ns * rule->burst;

	if (full_ns < now_ns)
		full_ns = now_ns;
	*wait_ns = full_ns + each_ns > most_ns ? full_ns + each_ns - most_ns : 0;
	return full_ns + each_ns;
}

static uint64_t decide(struct rl_rate *rate, enum rl_rate_kind kind, const struct rl_cfg_rate *rule, uint64_t id,
		       uint64_t now_us, bool take)
{
	uint64_t hash = rl_hash(rl_str_make(&id, sizeof id));
	struct entry *set = rate->sets[hash % SETS];
	struct lock *lock = &rate->locks[hash % RL_RATE_LOCKS];
	uint64_t wait_ns;

	pthread_mutex_lock(&lock->mutex);
	if (now_us * NS_PER_US > lock->now_ns)
		lock->now_ns = now_us * NS_PER_US;

	struct entry *entry = find(set, id);
	bool known = entry->id == id;
	uint64_t empty_ns = lock->now_ns + NS_PER_S / rule->rate * rule->burst;

	/* Debt of a looser rule before a reload. Written, for what is refused would otherwise never come nearer. */
	if (known && entry->full_ns[kind] > empty_ns)
		entry->full_ns[kind] = empty_ns;
	uint64_t full_ns = spend(known ? entry->full_ns[kind] : 0, rule, lock->now_ns, &wait_ns);

	if (!wait_ns && take) {
		if (!known)
			*entry = (struct entry){.id = id};
		entry->full_ns[kind] = full_ns;
	}
	pthread_mutex_unlock(&lock->mutex);
	if (wait_ns)
		atomic_fetch_add_explicit(&rate->refused[kind], 1, memory_order_relaxed);
	return (wait_ns + NS_PER_US - 1) / NS_PER_US;
}

uint64_t rl_rate_take(struct rl_rate *rate, enum rl_rate_kind kind, const struct rl_cfg_rate *rule, uint64_t id,
		      uint64_t now_us)
{
	return rule->rate ? decide(rate, kind, rule, id, now_us, true) : 0;
}

uint64_t rl_rate_look(struct rl_rate *rate, enum rl_rate_kind kind, const struct rl_cfg_rate *rule, uint64_t id,
		      uint64_t now_us)
{
	return rule->rate ? decide(rate, kind, rule, id, now_us, false) : 0;
}

uint64_t rl_rate_refused(const struct rl_rate *rate, enum rl_rate_kind kind)
{
	return atomic_load_explicit(&rate->refused[kind], memory_order_relaxed);
}
