/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Randomness of two kinds: from the system, for anything secret or unique, and a
 * small seeded generator (xoshiro256**, Blackman and Vigna 2018) for jitter and
 * for the simulator, whose runs must repeat.
 */
#ifndef RL_BASE_RANDOM_H
#define RL_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* n bytes from getrandom(2); aborts the process if the system has none to give. */
void rl_random_bytes(void *out, size_t n);

struct rl_rng {
	uint64_t s[4];
};

/* Any seed is good, 0 included (spread by splitmix64). */
void rl_rng_seed(struct rl_rng *rng, uint64_t seed);
uint64_t rl_rng_next(struct rl_rng *rng);
/* Uniform in [0, bound), without modulo bias worth speaking of; 0 for bound 0. */
uint64_t rl_rng_below(struct rl_rng *rng, uint64_t bound);
/* Uniform in [0, 1). */
double rl_rng_unit(struct rl_rng *rng);

/* A request id: 'req_' and 22 characters of base62, unique within and across processes. */
#define RL_ID_LEN 26
void rl_random_id(char out[RL_ID_LEN + 1]);

#endif
