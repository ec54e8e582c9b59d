/* SPDX-License-Identifier: Apache-2.0 */
/* Time: monotonic for durations and deadlines, wall time only for people and logs. */
#ifndef RL_BASE_CLOCK_H
#define RL_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t rl_clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static inline uint64_t rl_clock_wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

#define RL_CLOCK_RFC3339_LEN 24
/* "2026-11-22T12:00:00.123Z" (RFC 3339, UTC, milliseconds) and NUL into out. */
void rl_clock_rfc3339(uint64_t wall_us, char out[RL_CLOCK_RFC3339_LEN + 1]);

#endif
