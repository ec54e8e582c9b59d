/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histograms with fixed buckets: one writer, any number of readers, no locks. The
 * writer stores with relaxed atomics; a reader adds one or more histograms into a
 * view of its own and takes count and quantiles from that, so that the count always
 * equals the sum of the buckets it has seen. Values are integers (microseconds,
 * tokens); `decimals` says how many of their digits stand behind the point.
 */
#ifndef RL_BASE_HISTOGRAM_H
#define RL_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RL_BUCKETS_MAX 20

struct rl_buckets {
	uint64_t bounds[RL_BUCKETS_MAX]; /* upper bounds, inclusive, rising */
	size_t n;
	unsigned decimals; /* 6: values are millionths of the unit that is shown */
};

/* Microseconds of whole requests, 1 ms to 10 min; of the gateway's own part, 10 us to 100 ms; tokens of an answer. */
extern const struct rl_buckets rl_buckets_latency, rl_buckets_overhead, rl_buckets_tokens;

/* Zeroed memory is an empty histogram. */
struct rl_histogram {
	_Atomic uint64_t sum;
	_Atomic uint64_t counts[RL_BUCKETS_MAX + 1]; /* the last one in use is above all bounds */
};

/* Added up by a reader. Zeroed memory is empty. */
struct rl_histogram_view {
	uint64_t sum, count;
	uint64_t counts[RL_BUCKETS_MAX + 1];
};

/* Which of counts[] a value belongs to, 0 to buckets->n. */
static inline size_t rl_buckets_find(const struct rl_buckets *buckets, uint64_t value)
{
	size_t at = 0;

	while (at < buckets->n && value > buckets->bounds[at])
		at++;
	return at;
}

/* Only its one writer may call this. */
static inline void rl_histogram_observe(struct rl_histogram *histogram, const struct rl_buckets *buckets,
					uint64_t value)
{
	_Atomic uint64_t *count = &histogram->counts[rl_buckets_find(buckets, value)];
	uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);

	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
	atomic_store_explicit(&histogram->sum, sum + value, memory_order_relaxed);
}

/* Adds what the histogram holds now to the view. Any thread. */
void rl_histogram_collect(const struct rl_histogram *histogram, struct rl_histogram_view *view);
/*
 * The value below which permille/1000 of the observations lie, interpolated within
 * its bucket; the highest bound if it lies above all of them; 0 without observations.
 */
uint64_t rl_histogram_quantile(const struct rl_histogram_view *view, const struct rl_buckets *buckets,
			       unsigned permille);

#endif
