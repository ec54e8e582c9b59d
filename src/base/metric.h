/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: a set is made from a table of descriptions and knows nothing of what
 * they mean. A series (a metric and the values of its labels) is made on first use
 * and stays; each worker has a cell of its own in it, which it alone writes, with
 * relaxed atomics. Any thread may write the whole set as text: it adds the cells up.
 * There is no lock: series hang in hash chains that only grow.
 *
 * Cardinality is bounded (FAULTS 91): beyond series_max a metric counts everything
 * new under one series whose values are all "other"; values are cut to
 * RL_METRIC_VALUE_MAX bytes and made valid, printable UTF-8.
 */
#ifndef RL_BASE_METRIC_H
#define RL_BASE_METRIC_H

#include "base/buf.h"
#include "base/err.h"
#include "base/histogram.h"

enum rl_metric_type { RL_UNTYPED, RL_COUNTER, RL_GAUGE, RL_HISTOGRAM };

#define RL_METRIC_LABELS_MAX 6
#define RL_METRIC_VALUE_MAX 128
#define RL_METRIC_SERIES_MAX 2000

/* A row of the table. */
struct rl_metric {
	const char *name, *help;
	enum rl_metric_type type;
	const char *labels[RL_METRIC_LABELS_MAX + 1]; /* ends with NULL */
	const struct rl_buckets *buckets;             /* RL_HISTOGRAM */
};

struct rl_metric_set;

/* The table is borrowed for the life of the set; a metric's id is its place in it. workers > 0. */
enum rl_err rl_metric_set_new(const struct rl_metric *table, size_t n, unsigned workers, size_t series_max,
			      struct rl_metric_set **out) RL_MUST_CHECK;
/* After the last use of any cell. Accepts NULL. */
void rl_metric_set_free(struct rl_metric_set *set);

/* A worker's part of a series. */
struct rl_counter {
	_Atomic uint64_t n;
};

/*
 * The worker's own cell of the series with these label values (as many as the metric
 * has labels; NULL for none). Never NULL: out of room or memory it is the one of the
 * series "other". Valid as long as the set. To be kept by whoever counts often.
 */
struct rl_counter *rl_metric_counter(struct rl_metric_set *set, unsigned worker, size_t metric, const rl_str *values);
struct rl_histogram *rl_metric_histogram(struct rl_metric_set *set, unsigned worker, size_t metric,
					 const rl_str *values);
/* Whether the series exists. Any thread. */
bool rl_metric_exists(const struct rl_metric_set *set, size_t metric, const rl_str *values);

/* Only the cell's worker may call this. */
static inline void rl_counter_add(struct rl_counter *counter, uint64_t n)
{
	uint64_t now = atomic_load_explicit(&counter->n, memory_order_relaxed);

	atomic_store_explicit(&counter->n, now + n, memory_order_relaxed);
}

/* Where a callback puts what it knows at the moment of a scrape. */
struct rl_metric_out;
typedef void (*rl_metric_collect_f)(void *user, struct rl_metric_out *out);
/* One value; each combination of label values at most once. */
void rl_metric_sample(struct rl_metric_out *out, const rl_str *values, double value);

/*
 * The metric's values come from a callback, on the thread of the scrape, in place of
 * series. Counters and gauges. To be called before the first scrape.
 */
void rl_metric_collect(struct rl_metric_set *set, size_t metric, rl_metric_collect_f collect, void *user);
bool rl_metric_is_collected(const struct rl_metric_set *set, size_t metric);

/*
 * All of it in Prometheus' text format 0.0.4 (prometheus.io, "Exposition formats"),
 * series in the order of their label values. Check rl_buf_ok.
 */
#define RL_METRIC_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
void rl_metric_write(const struct rl_metric_set *set, struct rl_buf *out);

/* "counter", "gauge", "histogram", "untyped". */
const char *rl_metric_type_name(enum rl_metric_type type);

#endif
