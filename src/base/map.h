/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map from slices to pointers: open addressing, seeded hash (SipHash-1-3,
 * Aumasson and Bernstein 2012), so that names chosen by a stranger cannot be made
 * to collide. Keys are borrowed: they must live as long as the map. One thread.
 */
#ifndef RL_BASE_MAP_H
#define RL_BASE_MAP_H

#include "base/err.h"
#include "base/slice.h"

struct rl_map_slot {
	uint64_t hash;
	rl_str key;
	void *value; /* NULL marks a free slot */
};

struct rl_map {
	struct rl_map_slot *slots;
	size_t n, cap;
};

void rl_map_init(struct rl_map *map);
void rl_map_fini(struct rl_map *map); /* accepts NULL; values are the caller's */
/* The value, or NULL. */
void *rl_map_get(const struct rl_map *map, rl_str key);
/* Sets key to a non-NULL value; replaces an old one. RL_ERR_NOMEM leaves it as it was. */
enum rl_err rl_map_put(struct rl_map *map, rl_str key, void *value) RL_MUST_CHECK;

/* The process's seeded 64-bit hash of s. Thread-safe after the first call. */
uint64_t rl_hash(rl_str s);

#endif
