/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a connection for a call: a slot under the origin's cap (waiting for it if
 * need be), the name's addresses, the transport with its handshake. One timer bounds
 * all of it: the call's own, in client.c. An opening belongs to its call and lives
 * until there is a transport; from then on the connection itself has the call.
 */
#include <assert.h>
#include <stdlib.h>

#include "http/client_priv.h"
#include "http/share_priv.h"

struct rl_opening {
	struct rl_run *run; /* NULL: buried */
	struct rl_opening *next;
	struct rl_waiter *waiter; /* queued, or its grant is on its way */
	struct rl_dns_query query;
	bool has_slot;
};

struct rl_opening *rl_opening_free(struct rl_opening *opening)
{
	struct rl_opening *next = opening->next;

	free(opening);
	return next;
}

static void bury(struct rl_opening *opening)
{
	struct rl_pool *pool = opening->run->place->pool;

	assert(opening->run->opening == opening && !opening->waiter);
	opening->run->opening = NULL;
	opening->run = NULL;
	opening->next = pool->dead_openings;
	pool->dead_openings = opening;
	rl_loop_defer(pool->loop, &pool->reap);
}

static void waiter_free(struct rl_waiter *waiter)
{
	struct rl_origin *origin = waiter->origin;

	free(waiter);
	rl_origin_drop(origin);
}

void rl_opening_hand_over(struct rl_opening *opening, struct rl_run *heir)
{
	assert(opening->run->opening == opening && !heir->opening && !heir->conn);
	opening->run->opening = NULL;
	opening->run = heir;
	heir->opening = opening;
}

/* What was opened for `run`, and perhaps for others that wait with it, is not to be had. */
static void fail(struct rl_run *run, enum rl_err reason, const char *detail)
{
	if (run->queued)
		rl_share_failed(run, reason, detail);
	else
		rl_run_fail(run, reason, detail);
}

/* ---- the transport ---- */

/*
 * Over TLS both sides have agreed on it (RFC 9113 §3.2); else it is known beforehand (§3.3). A WebSocket has a connection
 * of its own, over which HTTP/2 was not offered: the extended CONNECT (RFC 8441) is what few providers have.
 */
static const struct rl_codec *choose(const struct rl_conn *conn)
{
	const struct rl_origin *origin = conn->place->origin;

	if (!origin->http2 || conn->run->upgrade)
		return &rl_h1_client;
	return !origin->https || rl_str_eq(rl_transport_alpn(conn->transport), RL_STR("h2")) ? &rl_h2_client
											     : &rl_h1_client;
}

/*
 * A request that the kernel has taken over goes on to a peer that may have vanished. As long as sending may rest is
 * what the kernel may take, too, and a little more: our own timer, which has a name for it, comes first.
 */
#define GRACE_MS 10000u

static void on_ready(struct rl_conn *conn)
{
	const struct rl_codec *codec = choose(conn);

	conn->peer.len = sizeof conn->peer.sa;
	if (getpeername(rl_transport_fd(conn->transport), (struct sockaddr *)&conn->peer.sa, &conn->peer.len) < 0)
		conn->peer.len = 0;
	if (conn->run->times.send_ms)
		rl_transport_watch(conn->transport, conn->run->times.send_ms + GRACE_MS);
	enum rl_err err = codec->init(conn);

	if (err != RL_OK) {
		fail(conn->run, err, NULL);
		return;
	}
	conn->codec = codec;
	conn->ready = true;
	if (codec->room)
		atomic_fetch_add_explicit(&conn->place->origin->http2_connections, 1, memory_order_relaxed);
	if (conn->run->queued)
		rl_share_ready(conn);
	else
		rl_run_on_conn(conn->run, conn);
}

static void on_event(void *owner, struct rl_transport *transport, unsigned events)
{
	struct rl_conn *conn = owner;

	if (conn->closed)
		return;
	if (conn->ready) {
		conn->codec->on_event(conn, events);
		return;
	}
	if (events & RL_EV_FAILED) {
		fail(conn->run, rl_transport_reason(transport), rl_transport_detail(transport));
		return;
	}
	if (events & RL_EV_READY)
		on_ready(conn);
}

/* The opening has a slot and the addresses: both go over to the connection. */
static void connect_to(struct rl_opening *opening)
{
	struct rl_run *run = opening->run;
	struct rl_place *place = run->place;
	struct rl_origin *origin = place->origin;
	size_t bytes = rl_h1_client.conn_bytes;

	if (origin->http2 && bytes < rl_h2_client.conn_bytes)
		bytes = rl_h2_client.conn_bytes;
	struct rl_conn *conn = calloc(1, bytes);

	if (!conn) {
		fail(run, RL_ERR_NOMEM, NULL);
		return;
	}
	conn->place = place;
	conn->run = run;
	conn->idle_ms = origin->idle_ms;
	rl_timer_init(&conn->timer, rl_conn_on_idle_timer);
	const struct rl_transport_target target = {.addrs = opening->query.addrs,
						   .n_addrs = opening->query.n_addrs,
						   .memory = &place->memory,
						   .tls = origin->tls,
						   .host = origin->host,
						   .alpn = run->upgrade ? RL_STR(RL_ALPN_HTTP_1) : RL_STR(""),
						   .sessions = origin->tls_sessions,
						   .tunnel = rl_secret_make(rl_buf_str(&origin->tunnel)),
						   .speaks_first = origin->http2 && !origin->https && !run->upgrade};
	enum rl_err err = rl_transport_connect(place->pool->loop, &target, on_event, conn, &conn->transport);

	if (err != RL_OK) {
		free(conn);
		fail(run, err, NULL);
		return;
	}
	place->n_users++;
	run->conn = conn;
	opening->has_slot = false;
	bury(opening);
}

/* ---- the name ---- */

static void on_resolved(struct rl_dns_query *query)
{
	struct rl_opening *opening = (struct rl_opening *)((char *)query - offsetof(struct rl_opening, query));
	const char *detail = query->result == RL_ERR_TIMEOUT ? "no answer from the name servers" : NULL;

	if (!opening->run)
		return;
	if (query->result == RL_OK && query->n_addrs)
		connect_to(opening);
	else
		fail(opening->run, query->result == RL_ERR_NOMEM ? RL_ERR_NOMEM : RL_ERR_DNS, detail);
}

static void resolve(struct rl_opening *opening)
{
	struct rl_place *place = opening->run->place;

	assert(opening->has_slot);
	rl_dns_start(place->pool->loop, &opening->query, place->origin->dial, place->origin->dial_port, on_resolved);
}

/* ---- the slot ---- */

/* The slot has come by mail. */
static void on_granted(struct rl_mail *mail, struct rl_loop *loop)
{
	struct rl_waiter *waiter = (struct rl_waiter *)mail;
	struct rl_opening *opening = waiter->opening;

	(void)loop;
	if (opening) {
		opening->waiter = NULL;
		opening->has_slot = true;
		resolve(opening);
	} else {
		rl_origin_slot_free(waiter->origin);
	}
	waiter_free(waiter);
}

void rl_opening_take(struct rl_waiter *waiter, struct rl_conn *conn)
{
	struct rl_opening *opening = waiter->opening;
	struct rl_run *run = opening->run;

	opening->waiter = NULL;
	bury(opening);
	waiter_free(waiter);
	if (run->queued)
		rl_share_taken(run);
	rl_run_on_conn(run, conn);
}

static enum rl_err take_slot(struct rl_opening *opening)
{
	struct rl_place *place = opening->run->place;
	struct rl_origin *origin = place->origin;

	if (!origin->max_connections)
		return rl_origin_slot_take(origin, NULL);
	struct rl_waiter *waiter = calloc(1, sizeof *waiter);

	if (!waiter)
		return RL_ERR_NOMEM;
	waiter->mail.run = on_granted;
	waiter->origin = origin;
	waiter->loop = place->pool->loop;
	waiter->opening = opening;
	waiter->own = opening->run->upgrade;
	rl_origin_hold(origin);
	opening->waiter = waiter;
	enum rl_err err = rl_origin_slot_take(origin, waiter);

	if (err != RL_ERR_AGAIN) {
		opening->waiter = NULL;
		waiter_free(waiter);
	}
	return err;
}

void rl_opening_start(struct rl_run *run)
{
	struct rl_opening *opening = calloc(1, sizeof *opening);

	assert(!run->opening && !run->conn);
	if (!opening) {
		rl_run_fail_later(run, RL_ERR_NOMEM, NULL);
		return;
	}
	opening->run = run;
	run->opening = opening;
	enum rl_err err = take_slot(opening);

	if (err == RL_OK) {
		opening->has_slot = true;
		resolve(opening);
	} else if (err != RL_ERR_AGAIN) {
		bury(opening);
		rl_run_fail_later(run, err, err == RL_ERR_BUSY ? "too many calls wait for a connection" : NULL);
	}
}

void rl_opening_cancel(struct rl_opening *opening)
{
	if (!opening)
		return;
	if (opening->waiter) {
		if (rl_origin_waiter_remove(opening->waiter))
			waiter_free(opening->waiter);
		else
			opening->waiter->opening = NULL; /* on_granted passes the slot on */
		opening->waiter = NULL;
	} else if (opening->has_slot) {
		rl_dns_cancel(&opening->query);
		rl_origin_slot_free(opening->run->place->origin);
		opening->has_slot = false;
	}
	bury(opening);
}
