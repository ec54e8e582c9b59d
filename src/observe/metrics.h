/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's metrics: a sink that counts finished requests, values that other
 * rooms give at the moment of a scrape, and the text that Prometheus reads. One
 * object for the process; it outlives reloads, so that counters never go back.
 */
#ifndef RL_OBSERVE_METRICS_H
#define RL_OBSERVE_METRICS_H

#include "base/metric.h"
#include "observe/metric_table.h"
#include "observe/record.h"

enum rl_metric_id {
#define X(id, type, source, name, labels, buckets, help) RL_METRIC_##id,
	RL_METRICS(X)
#undef X
		RL_METRIC_COUNT
};

struct rl_metrics;

/* `version` is copied. The process_* and build rows are fed from the start. */
enum rl_err rl_metrics_new(unsigned workers, rl_str version, struct rl_metrics **out) RL_MUST_CHECK;
/* After the last record and the last scrape. Accepts NULL. */
void rl_metrics_free(struct rl_metrics *metrics);

/* self: the struct rl_metrics. Each worker counts into its own cells. */
extern const struct rl_sink rl_metrics_sink;

/* Feeds a CALLBACK row; before the first scrape. The callback runs on the thread of the scrape. */
void rl_metrics_collect(struct rl_metrics *metrics, enum rl_metric_id id, rl_metric_collect_f collect, void *user);
/* The name of the first CALLBACK row that nobody feeds, or NULL: for wiring's own test. */
const char *rl_metrics_unfed(const struct rl_metrics *metrics);

/*
 * Everything, as RL_METRIC_CONTENT_TYPE. Any one thread at a time. Check rl_buf_ok;
 * RL_METRICS_TEXT_MAX is room for a gateway with thousands of targets.
 */
#define RL_METRICS_TEXT_MAX (64u << 20)
void rl_metrics_write(const struct rl_metrics *metrics, struct rl_buf *out);
/* The reference page of all metrics, in Markdown. */
void rl_metrics_reference(struct rl_buf *out);

#endif
