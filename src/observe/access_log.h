/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: a line for each record, to standard output or a file, written by a
 * thread of its own so that no worker ever waits for a disk or a reader. Every record
 * is either written as one whole line or counted as dropped; when nothing takes the
 * lines, at most two buffers a worker are kept and the newest records are dropped.
 */
#ifndef RL_OBSERVE_ACCESS_LOG_H
#define RL_OBSERVE_ACCESS_LOG_H

#include "base/metric.h"
#include "observe/record.h"

struct rl_access_log;

/* After rl_access_log_close: records == written + dropped. Before, the difference is under way. */
struct rl_access_log_stats {
	uint64_t records, written, dropped;
};

/* Of each of a worker's two buffers. */
#define RL_ACCESS_LOG_BUFFER_BYTES (1u << 20)

/*
 * target: "stdout", "off" (records are ignored), or the path of a file, which is made
 * with mode 0640 if missing and always appended to. An error of open(2) is returned
 * as rl_err_from_errno has it. Starts the writer's thread.
 */
enum rl_err rl_access_log_open(rl_str target, unsigned workers, size_t buffer_bytes,
			       struct rl_access_log **out) RL_MUST_CHECK;
/*
 * After the last record: writes what is left, as long as something takes it and for
 * 2 s at most; the rest counts as dropped. `final` (or NULL) gets the last account.
 * Accepts NULL.
 */
void rl_access_log_close(struct rl_access_log *log, struct rl_access_log_stats *final);
/*
 * The writer opens the path anew before it writes again (after a rotation; SIGUSR1).
 * If that fails the old file stays in use, with a warning. From any thread, not from a
 * signal handler.
 */
void rl_access_log_reopen(struct rl_access_log *log);

/* self: the struct rl_access_log. */
extern const struct rl_sink rl_access_log_sink;

/* Any thread. */
void rl_access_log_stats(const struct rl_access_log *log, struct rl_access_log_stats *stats);
/* For rl_metrics_collect; user: the struct rl_access_log. */
void rl_access_log_collect_records(void *user, struct rl_metric_out *out);
void rl_access_log_collect_dropped(void *user, struct rl_metric_out *out);

#endif
