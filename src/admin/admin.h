/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin plane: metrics, status and reload over HTTP, on a listener of its own,
 * served by the keeper's loop so that it answers however busy the workers are.
 * Beyond loopback it asks for its token.
 */
#ifndef RL_ADMIN_ADMIN_H
#define RL_ADMIN_ADMIN_H

#include "observe/metrics.h"
#include "pipeline/pipeline.h"

/* What the admin plane is about; filled by wiring, on the keeper's thread. */
struct rl_admin_view {
	struct rl_gateway *gateway;
	struct rl_worker *const *workers;
	size_t n_workers;
	struct rl_metrics *metrics;
	const struct rl_snapshot *snapshot; /* the current one */
	const rl_str *listeners;            /* addresses of the data plane, as text */
	size_t n_listeners;
	rl_str version;
	uint64_t access_log_dropped;
	uint64_t reloads_ok, reloads_rejected;
};

struct rl_admin_hooks {
	/* The present view; borrowed for the call. */
	const struct rl_admin_view *(*view)(void *self);
	/* Reads the config again and lets it take over, or not at all. `report` gets errors and warnings. */
	enum rl_err (*reload)(void *self, struct rl_buf *report);
};

struct rl_admin;
enum rl_err rl_admin_new(struct rl_loop *loop, const struct rl_admin_hooks *hooks, void *self,
			 struct rl_admin **out) RL_MUST_CHECK;
void rl_admin_accept(struct rl_admin *admin, const struct rl_arrival *in);
void rl_admin_abort(struct rl_admin *admin); /* closes all connections */
size_t rl_admin_connections(const struct rl_admin *admin);
void rl_admin_free(struct rl_admin *admin); /* after the connections are gone. Accepts NULL */

/* The status document, JSON. */
void rl_status_write(const struct rl_admin_view *view, struct rl_buf *out);

#endif
