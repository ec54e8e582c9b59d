/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one thread's server, pool, current snapshot and recycled requests, and
 * the way from the server's callbacks to the driver.
 */
#include "pipeline/translate.h"
#include "pipeline/upload.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "policy/cors.h"

#define FREE_MAX 1024u
/* The last event of a translated response repeats its whole text, up to 8 MiB, three times. */
#define OUT_BYTES_MAX (32u << 20)
#define HELD_BYTES_MAX (8u * RL_HOLD_BYTES_MAX)
#define HIGH_WATER_BYTES (128u * 1024)
#define KEEP_BYTES 16384u
#define HANDSHAKE_SAID_MS 10000u /* a line about failed handshakes each, of one worker */

/* ---- snapshots ---- */

struct rl_snapshot_hold *rl_snapshot_hold_new(struct rl_snapshot *snapshot)
{
	struct rl_snapshot_hold *hold = malloc(sizeof *hold);

	if (hold)
		*hold = (struct rl_snapshot_hold){.snapshot = rl_snapshot_ref(snapshot), .holders = 1};
	return hold;
}

void rl_snapshot_hold_put(struct rl_snapshot_hold **take)
{
	struct rl_snapshot_hold *hold = *take;

	*take = NULL;
	if (!hold || --hold->holders)
		return;
	rl_snapshot_unref(hold->snapshot);
	free(hold);
}

static void limits_of(const struct rl_config *config, struct rl_server_limits *out)
{
	const struct rl_cfg_server *s = &config->server;

	*out = (struct rl_server_limits){
		.keepalive_ms = s->keepalive_ms,
		.header_ms = s->header_ms,
		.body_idle_ms = s->body_idle_ms,
		.write_idle_ms = s->write_idle_ms,
		.max_header_bytes = s->max_header_bytes,
		.max_headers = 128,
		.hsts_s = s->hsts_ms / 1000,
		.high_water_bytes = HIGH_WATER_BYTES,
		.http2 =
			{
				.enabled = s->http2.enabled,
				.max_streams = s->http2.max_streams,
				.max_resets = s->http2.max_resets,
				.max_control_frames = s->http2.max_control_frames,
			},
	};
}

void rl_worker_set_snapshot(struct rl_worker *worker, struct rl_snapshot_hold *hold)
{
	struct rl_server_limits limits;

	rl_snapshot_hold_put(&worker->current);
	worker->current = hold;
	limits_of(hold->snapshot->config, &limits);
	rl_server_set_limits(worker->server, &limits);
	rl_pool_trim(worker->pool, false);
}

/* ---- requests ---- */

static void on_timer(struct rl_timer *timer)
{
	struct rl_request *rq = (struct rl_request *)(void *)((char *)timer - offsetof(struct rl_request, timer));

	rl_request_wake(rq, &(struct rl_wake_in){.kind = RL_WAKE_TIMER});
}

static struct rl_request *request_new(struct rl_worker *worker, struct rl_exchange *x)
{
	struct rl_request *rq = worker->free;
	struct rl_buf held;

	if (rq) {
		worker->free = rq->next_free;
		worker->n_free--;
	} else {
		rq = calloc(1, sizeof *rq);
		if (!rq)
			return NULL;
		rl_buf_init(&rq->held, HELD_BYTES_MAX);
	}
	held = rq->held;
	memset(rq, 0, offsetof(struct rl_request, attempts));
	memset(&rq->n_attempts, 0, sizeof *rq - offsetof(struct rl_request, n_attempts));
	rq->held = held;
	rq->held.max_bytes = HELD_BYTES_MAX;
	rl_buf_reset(&rq->held);
	rl_arena_init(&rq->arena, RL_REQUEST_ARENA_BYTES);
	rl_arena_init(&rq->body_arena, 1);
	rl_timer_init(&rq->timer, on_timer);
	rq->worker = worker;
	rq->x = x;
	rq->hold = worker->current;
	rq->hold->holders++;
	rq->begin_us = x->begin_us;
	rq->wall_us = rl_clock_wall_us();
	atomic_fetch_add_explicit(&worker->requests, 1, memory_order_relaxed);
	return rq;
}

void rl_request_free(struct rl_request *rq)
{
	struct rl_worker *worker = rq->worker;

	assert(!rq->x && !rl_timer_running(&rq->timer));
	rl_upload_end(rq);
	rl_translate_close(rq);
	rl_body_release(rq);
	if (rq->sse_used)
		rl_sse_fini(&rq->sse);
	if (rq->held.cap > KEEP_BYTES)
		rl_buf_fini(&rq->held);
	rl_arena_reset(&rq->arena);
	rl_snapshot_hold_put(&rq->hold);
	atomic_fetch_sub_explicit(&worker->requests, 1, memory_order_relaxed);
	if (worker->n_free >= FREE_MAX) {
		rl_buf_fini(&rq->held);
		free(rq);
		return;
	}
	rq->next_free = worker->free;
	worker->free = rq;
	worker->n_free++;
}

/* ---- from the server ---- */

static void on_request(struct rl_exchange *x, void *service)
{
	struct rl_request *rq = request_new(service, x);

	if (!rq) {
		rl_exchange_abort(x, true);
		return;
	}
	x->owner = rq;
	rl_request_begin(rq);
}

static void wake(struct rl_exchange *x, struct rl_wake_in in)
{
	rl_request_wake(x->owner, &in);
}

static void on_body(struct rl_exchange *x, rl_str piece)
{
	wake(x, (struct rl_wake_in){.kind = RL_WAKE_BODY, .piece = piece});
}

static void on_body_end(struct rl_exchange *x)
{
	wake(x, (struct rl_wake_in){.kind = RL_WAKE_BODY_END});
}

static void on_drain(struct rl_exchange *x)
{
	wake(x, (struct rl_wake_in){.kind = RL_WAKE_DRAIN});
}

static void on_gone(struct rl_exchange *x, enum rl_err reason)
{
	wake(x, (struct rl_wake_in){.kind = RL_WAKE_GONE, .err = reason});
}

static struct rl_fault refusal(uint16_t status, const char *text, struct rl_buf *body, rl_str *content_type)
{
	struct rl_fault fault = {.cls = RL_FAULT_BAD_REQUEST,
				 .status = status,
				 .code = RL_STR("bad_request"),
				 .message = rl_str_of(text),
				 .retry_after_s = -1};

	rl_dialect_find(RL_STR("openai"))->write_error(&fault, body);
	if (!rl_buf_ok(body))
		rl_buf_reset(body); /* the status must do */
	*content_type = RL_STR("application/json");
	return fault;
}

/* The server answers; on_gone, which follows, takes the request to ACCOUNT, and its line says how it was refused. */
static void on_bad_body(struct rl_exchange *x, uint16_t status, const char *text, struct rl_buf *body,
			rl_str *content_type)
{
	struct rl_request *rq = x->owner;

	rq->fault = refusal(status, text, body, content_type);
	rq->outcome = RL_OUTCOME_REFUSED;
	rq->status = status;
	rq->bytes_out = body->n;
}

/* A request that was never understood still has its line in the account. */
static void on_bad_request(void *service, const struct rl_addr *peer, uint16_t status, const char *text,
			   struct rl_buf *body, rl_str *content_type)
{
	struct rl_worker *worker = service;
	char id[RL_ID_LEN + 1];
	struct rl_fault fault = refusal(status, text, body, content_type);

	rl_random_id(id);
	struct rl_record record = {
		.wall_us = rl_clock_wall_us(),
		.request_id = rl_str_make(id, RL_ID_LEN),
		.peer = peer,
		.status = status,
		.outcome = RL_OUTCOME_REFUSED,
		.fault = RL_FAULT_BAD_REQUEST,
		.error = fault.message,
		.bytes_out = body->n,
	};

	rl_sinks_consume(&worker->gateway->sinks, worker->index, &record);
}

/* Who only connects and leaves is a probe more often than not, and nobody's trouble: that is counted and not logged. */
static void on_no_handshake(void *service, const struct rl_addr *peer, enum rl_tls_failure why, const char *detail)
{
	struct rl_worker *worker = service;
	uint64_t now_ms = rl_loop_now_ms(worker->loop);
	char who[RL_ADDR_TEXT_MAX];

	atomic_fetch_add_explicit(&worker->gateway->no_handshakes[why], 1, memory_order_relaxed);
	if (why == RL_TLS_FAILURE_CLOSED)
		return;
	if (worker->handshake_said_ms && now_ms - worker->handshake_said_ms < HANDSHAKE_SAID_MS) {
		worker->handshakes_unsaid++;
		return;
	}
	rl_addr_text(peer, who);
	RL_WARN("tls", "no handshake with %s: %.*s%s%s (%u more since the last such line)", who,
		RL_STR_ARG(rl_tls_failure_name(why)), *detail ? ": " : "", detail, worker->handshakes_unsaid);
	worker->handshake_said_ms = now_ms;
	worker->handshakes_unsaid = 0;
}

static const struct rl_exchange_ops exchange_ops = {
	.name = "data",
	.on_request = on_request,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_gone = on_gone,
	.on_bad_request = on_bad_request,
	.on_bad_body = on_bad_body,
	.on_no_handshake = on_no_handshake,
};

/* ---- life ---- */

enum rl_err rl_worker_new(struct rl_gateway *gateway, unsigned index, struct rl_loop *loop,
			  struct rl_snapshot *snapshot, struct rl_worker **out)
{
	struct rl_worker *w = calloc(1, sizeof *w);
	struct rl_server_limits limits;

	if (!w)
		return RL_ERR_NOMEM;
	w->gateway = gateway;
	w->index = index;
	w->loop = loop;
	rl_buf_init(&w->out, OUT_BYTES_MAX);
	rl_arena_init(&w->scratch, 4 * RL_EVENT_BYTES_MAX);
	limits_of(snapshot->config, &limits);
	enum rl_err err = rl_server_new(loop, &exchange_ops, w, &limits, &w->server);

	if (!err) {
		rl_server_set_always(w->server, rl_browser_fields, RL_BROWSER_FIELDS);
		err = rl_pool_new(loop, &w->pool);
	}
	if (!err && !(w->current = rl_snapshot_hold_new(snapshot)))
		err = RL_ERR_NOMEM;
	if (err)
		rl_worker_free(w);
	else
		*out = w;
	return err;
}

void rl_worker_free(struct rl_worker *worker)
{
	if (!worker)
		return;
	while (worker->free) {
		struct rl_request *rq = worker->free;
		worker->free = rq->next_free;
		rl_buf_fini(&rq->held);
		free(rq);
	}
	rl_server_free(worker->server);
	rl_pool_free(worker->pool);
	rl_snapshot_hold_put(&worker->current);
	rl_buf_fini(&worker->out);
	rl_arena_fini(&worker->scratch);
	free(worker);
}

static void on_closed(void *arg)
{
	struct rl_worker *worker = arg;

	atomic_fetch_sub_explicit(&worker->connections, 1, memory_order_relaxed);
}

void rl_worker_reserve(struct rl_worker *worker)
{
	atomic_fetch_add_explicit(&worker->connections, 1, memory_order_relaxed);
}

void rl_worker_accept(struct rl_worker *worker, const struct rl_arrival *in)
{
	rl_server_accept(worker->server, in, on_closed, worker);
}

struct guest {
	struct rl_worker *worker;
	uint64_t id;
};

static void on_guest_closed(void *arg)
{
	struct guest *guest = arg;

	rl_crowd_leave(guest->worker->gateway->crowd, guest->id);
	on_closed(guest->worker);
	free(guest);
}

void rl_worker_accept_guest(struct rl_worker *worker, const struct rl_arrival *in, uint64_t id)
{
	struct guest *guest = malloc(sizeof *guest);

	if (guest) {
		*guest = (struct guest){.worker = worker, .id = id};
		rl_server_accept(worker->server, in, on_guest_closed, guest);
		return;
	}
	close(in->fd);
	rl_crowd_leave(worker->gateway->crowd, id);
	on_closed(worker);
}

void rl_worker_shed(struct rl_worker *worker, size_t n)
{
	atomic_fetch_add_explicit(&worker->gateway->shed, rl_server_shed(worker->server, n), memory_order_relaxed);
}

struct rl_server *rl_worker_server(const struct rl_worker *worker)
{
	return worker->server;
}

struct rl_pool *rl_worker_pool(const struct rl_worker *worker)
{
	return worker->pool;
}

struct rl_loop *rl_worker_loop(const struct rl_worker *worker)
{
	return worker->loop;
}

uint32_t rl_worker_connections(const struct rl_worker *worker)
{
	return atomic_load_explicit(&worker->connections, memory_order_relaxed);
}

uint32_t rl_worker_requests(const struct rl_worker *worker)
{
	return atomic_load_explicit(&worker->requests, memory_order_relaxed);
}
