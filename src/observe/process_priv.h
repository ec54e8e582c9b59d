/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of this process, as metrics (the process_* rows, in the usual names of Prometheus' clients). */
#ifndef RL_OBSERVE_PROCESS_PRIV_H
#define RL_OBSERVE_PROCESS_PRIV_H

#include "base/metric.h"

/* Feeds the process_* rows of the set. */
void rl_process_metrics_add(struct rl_metric_set *set);

#endif
