/* SPDX-License-Identifier: Apache-2.0 */
/* See map.h. */
#include "base/map.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/random.h"

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_make(void)
{
	rl_random_bytes(seed, sizeof seed);
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
/* clang-format off */
#define SIPROUND(v)                                                                          \
	do {                                                                                 \
		v[0] += v[1]; v[1] = ROTL(v[1], 13); v[1] ^= v[0]; v[0] = ROTL(v[0], 32);    \
		v[2] += v[3]; v[3] = ROTL(v[3], 16); v[3] ^= v[2];                           \
		v[0] += v[3]; v[3] = ROTL(v[3], 21); v[3] ^= v[0];                           \
		v[2] += v[1]; v[1] = ROTL(v[1], 17); v[1] ^= v[2]; v[2] = ROTL(v[2], 32);    \
	} while (0)
/* clang-format on */

uint64_t rl_hash(rl_str s)
{
	pthread_once(&seed_once, seed_make);

	uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du, seed[0] ^ 0x6c7967656e657261u,
			 seed[1] ^ 0x7465646279746573u};
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		uint64_t m;
		memcpy(&m, s.p + i, 8);
		v[3] ^= m;
		SIPROUND(v);
		v[0] ^= m;
	}
	uint64_t last = (uint64_t)s.n << 56;

	for (size_t k = 0; i + k < s.n; k++)
		last |= (uint64_t)(unsigned char)s.p[i + k] << (8 * k);
	v[3] ^= last;
	SIPROUND(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	SIPROUND(v);
	SIPROUND(v);
	SIPROUND(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void rl_map_init(struct rl_map *map)
{
	*map = (struct rl_map){0};
}

void rl_map_fini(struct rl_map *map)
{
	if (!map)
		return;
	free(map->slots);
	rl_map_init(map);
}

/* The slot that holds key, or the free one where it belongs. cap > n. */
static struct rl_map_slot *find(const struct rl_map *map, rl_str key, uint64_t hash)
{
	for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
		struct rl_map_slot *slot = &map->slots[i];
		if (!slot->value || (slot->hash == hash && rl_str_eq(slot->key, key)))
			return slot;
	}
}

void *rl_map_get(const struct rl_map *map, rl_str key)
{
	return map->cap ? find(map, key, rl_hash(key))->value : NULL;
}

static enum rl_err grow(struct rl_map *map)
{
	struct rl_map bigger = {.cap = map->cap ? map->cap * 2 : 16, .n = map->n};

	bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
	if (!bigger.slots)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < map->cap; i++)
		if (map->slots[i].value)
			*find(&bigger, map->slots[i].key, map->slots[i].hash) = map->slots[i];
	free(map->slots);
	*map = bigger;
	return RL_OK;
}

enum rl_err rl_map_put(struct rl_map *map, rl_str key, void *value)
{
	assert(value);
	if (map->n * 4 >= map->cap * 3) {
		enum rl_err err = grow(map);
		if (err)
			return err;
	}
	uint64_t hash = rl_hash(key);
	struct rl_map_slot *slot = find(map, key, hash);

	if (!slot->value)
		map->n++;
	*slot = (struct rl_map_slot){.hash = hash, .key = key, .value = value};
	return RL_OK;
}
