/* SPDX-License-Identifier: Apache-2.0 */
/* See random.h. */
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void rl_random_bytes(void *out, size_t n)
{
	char *at = out;

	while (n) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort(); /* no safe answer without randomness */
		at += got;
		n -= (size_t)got;
	}
}

void rl_rng_seed(struct rl_rng *rng, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = (seed += 0x9E3779B97F4A7C15u);
		z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
		z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
		rng->s[i] = z ^ (z >> 31);
	}
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t rl_rng_next(struct rl_rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t rl_rng_below(struct rl_rng *rng, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)rl_rng_next(rng) * bound) >> 64);
}

double rl_rng_unit(struct rl_rng *rng)
{
	return (double)(rl_rng_next(rng) >> 11) * 0x1.0p-53;
}

void rl_random_id(char out[RL_ID_LEN + 1])
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	static _Thread_local struct rl_rng rng;
	static _Thread_local int seeded;

	if (!seeded) {
		rl_random_bytes(&rng, sizeof rng);
		seeded = 1;
	}
	memcpy(out, "req_", 4);
	for (int half = 0; half < 2; half++) {
		uint64_t v = rl_rng_next(&rng);
		for (int i = 0; i < 11; i++, v /= 62)
			out[4 + half * 11 + i] = digits[v % 62];
	}
	out[RL_ID_LEN] = '\0';
}
