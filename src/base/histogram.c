/* SPDX-License-Identifier: Apache-2.0 */
/* See histogram.h. The bounds are a 1-2.5-5 ladder: fine enough for percentiles, few enough for a scrape. */
#include "base/histogram.h"

#include <assert.h>

#define MS 1000u
#define S 1000000u

const struct rl_buckets rl_buckets_latency = {
	.bounds = {1 * MS, 2500, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1 * S, 2500 * MS,
		   5 * S, 10 * S, 20 * S, 30 * S, 60 * S, 120 * S, 300 * S, 600 * S},
	.n = 19,
	.decimals = 6,
};
const struct rl_buckets rl_buckets_overhead = {
	.bounds = {10, 20, 50, 100, 200, 500, 1 * MS, 2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS},
	.n = 13,
	.decimals = 6,
};
/* Powers of four, up to the largest contexts. */
const struct rl_buckets rl_buckets_tokens = {
	.bounds = {4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576},
	.n = 10,
};

void rl_histogram_collect(const struct rl_histogram *histogram, struct rl_histogram_view *view)
{
	for (size_t i = 0; i <= RL_BUCKETS_MAX; i++) {
		uint64_t n = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		view->counts[i] += n;
		view->count += n;
	}
	view->sum += atomic_load_explicit(&histogram->sum, memory_order_relaxed);
}

uint64_t rl_histogram_quantile(const struct rl_histogram_view *view, const struct rl_buckets *buckets,
			       unsigned permille)
{
	assert(permille <= 1000 && buckets->n > 0 && buckets->n <= RL_BUCKETS_MAX);
	/* In doubles, since count * 1000 may not fit; an estimate is all that it can be. */
	double rank = (double)view->count * permille / 1000.0, below = 0;

	if (view->count == 0)
		return 0;
	for (size_t i = 0; i < buckets->n; i++) {
		double here = (double)view->counts[i];
		uint64_t low = i ? buckets->bounds[i - 1] : 0;

		if (here > 0 && below + here >= rank)
			return low + (uint64_t)((double)(buckets->bounds[i] - low) * (rank - below) / here);
		below += here;
	}
	return buckets->bounds[buckets->n - 1];
}
