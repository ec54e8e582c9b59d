/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane as the rest of the program sees it: a gateway (one in a process)
 * and its workers (one a thread). What happens to a request is in pipeline.c.
 */
#ifndef RL_PIPELINE_PIPELINE_H
#define RL_PIPELINE_PIPELINE_H

#include <stdatomic.h>

#include "http/client.h"
#include "http/server.h"
#include "observe/sink.h"
#include "policy/crowd.h"
#include "policy/rate.h"
#include "policy/snapshot.h"

struct rl_request;

/* Shared by all workers; filled by wiring before they start. */
struct rl_gateway {
	rl_str via;                  /* our pseudonym in Via, unique to this process */
	struct rl_sinks sinks;       /* where finished records go */
	struct rl_rate *rate;        /* what each address has used up */
	struct rl_crowd *crowd;      /* the connections of each address, while there is a cap */
	_Atomic bool memory_short;   /* new requests are turned away */
	_Atomic bool draining;       /* readiness is off */
	_Atomic uint64_t body_bytes; /* of request bodies held, all workers */
	_Atomic uint64_t no_handshakes[RL_TLS_FAILURE_COUNT];
	_Atomic uint64_t shed;                   /* idle connections closed in favour of new ones */
	_Atomic uint64_t spool_bytes;            /* of uploads in files, all workers */
	_Atomic(struct rl_request *) body_ahead; /* the one that may go on when they fill their budget; only compared */
	uint64_t started_s;                      /* Unix time */
};

struct rl_worker;

/* The loop, which is the worker's thread's, is driven by the caller; the worker lives as long as it does. */
enum rl_err rl_worker_new(struct rl_gateway *gateway, unsigned index, struct rl_loop *loop,
			  struct rl_snapshot *snapshot, struct rl_worker **out) RL_MUST_CHECK;
/* When no connection is left. Accepts NULL. */
void rl_worker_free(struct rl_worker *worker);
/*
 * One worker's share of a snapshot, counted without atomics from then on. Made before any worker takes over, so that
 * taking over cannot fail. NULL without memory.
 */
struct rl_snapshot_hold;
struct rl_snapshot_hold *rl_snapshot_hold_new(struct rl_snapshot *snapshot);
void rl_snapshot_hold_put(struct rl_snapshot_hold **take); /* on the worker's thread, or before a worker has it */
/* The next requests use this snapshot; takes the hold. On the worker's thread. */
void rl_worker_set_snapshot(struct rl_worker *worker, struct rl_snapshot_hold *hold);

struct rl_server *rl_worker_server(const struct rl_worker *worker);
struct rl_pool *rl_worker_pool(const struct rl_worker *worker);
struct rl_loop *rl_worker_loop(const struct rl_worker *worker);
/* Connections of clients on this worker and requests in progress; readable from any thread. */
uint32_t rl_worker_connections(const struct rl_worker *worker);
uint32_t rl_worker_requests(const struct rl_worker *worker);
/* A connection from a client, on the worker's thread (counted by rl_worker_reserve before it was posted). */
void rl_worker_accept(struct rl_worker *worker, const struct rl_arrival *in);
/* The same of a connection that has entered the gateway's crowd by this id; it leaves when it is closed. */
void rl_worker_accept_guest(struct rl_worker *worker, const struct rl_arrival *in, uint64_t id);
/* Closes up to `n` idle connections to make room (rl_server_shed); on the worker's thread. */
void rl_worker_shed(struct rl_worker *worker, size_t n);
/* Counts a connection that is on its way to the worker; from any thread. */
void rl_worker_reserve(struct rl_worker *worker);

#endif
