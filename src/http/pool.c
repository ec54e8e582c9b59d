/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool is what one loop keeps between calls: a place for each origin it has met,
 * with the idle connections there (the one used last is taken first, so that the
 * others age and go), and the graves where ended things lie until the turn's end.
 *
 * An idle connection stays in the poll set for reading: whatever happens on it
 * (bytes nobody asked for, FIN, reset) closes it, at no cost while nothing happens.
 * What has happened may still stand further back in the poll's list when a call wants
 * the connection. So the call only reserves it, and sends at the turn's end
 * (client.c): bytes that were there before the request could pass for its answer.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "http/client_priv.h"
#include "http/share_priv.h"

#define FREE_RUNS_MAX 256u
#define FRESH_SKIPPED_MAX 32u     /* of the idle ones that were used in this very turn */
#define KEEP_REQUEST_BYTES 16384u /* of a request's head buffer, between calls */

/* ---- places ---- */

static size_t bucket_of(const struct rl_origin *origin)
{
	uintptr_t v = (uintptr_t)origin >> 6;

	return (v ^ v >> 6) % RL_POOL_BUCKETS;
}

/* Other loops' calls wait at the cap: close as many idle connections as that may help. */
static void shed_run(struct rl_mail *mail, struct rl_loop *loop)
{
	struct rl_shed *shed = (struct rl_shed *)mail;
	struct rl_place *place = shed->place;

	(void)loop;
	if (!place) {
		free(shed);
		return;
	}
	atomic_store(&shed->posted, false);
	while (place->idle && atomic_load(&place->origin->n_waiters) > 0)
		rl_conn_close(place->idle, false);
}

struct rl_place *rl_pool_place(struct rl_pool *pool, struct rl_origin *origin)
{
	struct rl_place **bucket = &pool->places[bucket_of(origin)];
	struct rl_place *place = *bucket;

	while (place && place->origin != origin)
		place = place->next;
	if (place)
		return place;
	place = calloc(1, sizeof *place);
	struct rl_shed *shed = calloc(1, sizeof *shed);

	if (!place || !shed) {
		free(place);
		free(shed);
		return NULL;
	}
	*shed = (struct rl_shed){.mail.run = shed_run, .place = place};
	place->pool = pool;
	place->origin = origin;
	place->streams = RL_STREAMS_MAX;
	place->shed = shed;
	place->next = *bucket;
	*bucket = place;
	rl_origin_join(origin, place);
	return place;
}

/* Unused, and nobody outside knows the origin any more (or the pool ends). */
static void place_free(struct rl_place *place)
{
	struct rl_place **at = &place->pool->places[bucket_of(place->origin)];

	assert(!place->idle && !place->shared && !place->queue && place->n_users == 0);
	while (*at != place)
		at = &(*at)->next;
	*at = place->next;

	struct rl_shed *shed = place->shed;

	/* After leaving, nobody can post it any more; if it has been, its mail frees it. */
	rl_origin_leave(place->origin, place);
	shed->place = NULL;
	if (!atomic_load(&shed->posted))
		free(shed);
	free(place);
}

static void place_unuse(struct rl_place *place)
{
	assert(place->n_users > 0);
	if (--place->n_users == 0 && atomic_load(&place->origin->users) == 0)
		place_free(place);
}

/* ---- graves ---- */

static void reap(struct rl_task *task)
{
	struct rl_pool *pool = (struct rl_pool *)((char *)task - offsetof(struct rl_pool, reap));

	while (pool->dead_runs) {
		struct rl_run *run = pool->dead_runs;
		struct rl_place *place = run->place;

		pool->dead_runs = run->next;
		rl_arena_fini(&run->arena);
		rl_inflate_free(run->inflate);
		rl_buf_fini(&run->rest);
		if (pool->n_free_runs >= FREE_RUNS_MAX || run->request.cap > KEEP_REQUEST_BYTES) {
			rl_buf_fini(&run->request);
			free(run);
		} else {
			run->next = pool->free_runs;
			pool->free_runs = run;
			pool->n_free_runs++;
		}
		place_unuse(place);
	}
	while (pool->dead_conns) {
		struct rl_conn *conn = pool->dead_conns;
		struct rl_place *place = conn->place;

		pool->dead_conns = conn->next;
		if (conn->codec)
			conn->codec->fini(conn);
		free(conn);
		place_unuse(place);
	}
	while (pool->dead_openings) {
		struct rl_opening *opening = pool->dead_openings;

		pool->dead_openings = rl_opening_free(opening);
	}
}

struct rl_run *rl_run_get(struct rl_pool *pool)
{
	struct rl_run *run = pool->free_runs;

	if (!run)
		return calloc(1, sizeof *run);
	struct rl_buf request = run->request;

	pool->free_runs = run->next;
	pool->n_free_runs--;
	memset(run, 0, sizeof *run);
	run->request = request;
	return run;
}

void rl_run_bury(struct rl_pool *pool, struct rl_run *run)
{
	run->next = pool->dead_runs;
	pool->dead_runs = run;
	rl_loop_defer(pool->loop, &pool->reap);
}

/* ---- connections ---- */

static void idle_unlink(struct rl_conn *conn)
{
	struct rl_place *place = conn->place;

	if (conn->prev)
		conn->prev->next = conn->next;
	else
		place->idle = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	conn->prev = conn->next = NULL;
	conn->idle = false;
	atomic_store_explicit(&place->n_idle, atomic_load_explicit(&place->n_idle, memory_order_relaxed) - 1,
			      memory_order_relaxed);
	atomic_fetch_sub_explicit(&place->origin->idle, 1, memory_order_relaxed);
}

static void idle_link(struct rl_conn *conn)
{
	struct rl_place *place = conn->place;

	conn->rested_turn = rl_loop_turn(place->pool->loop);
	conn->prev = NULL;
	conn->next = place->idle;
	if (place->idle)
		place->idle->prev = conn;
	place->idle = conn;
	conn->idle = true;
	atomic_store(&place->n_idle, atomic_load_explicit(&place->n_idle, memory_order_relaxed) + 1);
}

void rl_conn_close(struct rl_conn *conn, bool abort)
{
	struct rl_pool *pool = conn->place->pool;

	if (conn->closed)
		return;
	conn->closed = true;
	if (conn->idle)
		idle_unlink(conn);
	if (conn->shared)
		rl_share_unlink(conn);
	conn->run = NULL;
	if (conn->keeper)
		conn->keeper->conn = NULL;
	conn->keeper = NULL;
	if (conn->ready && conn->codec->room)
		atomic_fetch_sub_explicit(&conn->place->origin->http2_connections, 1, memory_order_relaxed);
	rl_timer_stop(&conn->timer);
	rl_transport_close(conn->transport, abort);
	conn->transport = NULL;
	rl_origin_slot_free(conn->place->origin);
	conn->next = pool->dead_conns;
	pool->dead_conns = conn;
	rl_loop_defer(pool->loop, &pool->reap);
}

/* Fires for connections in use too: their timer is not stopped when they are taken, which is cheaper. */
void rl_conn_on_idle_timer(struct rl_timer *timer)
{
	struct rl_conn *conn = (struct rl_conn *)((char *)timer - offsetof(struct rl_conn, timer));

	if (conn->idle)
		rl_conn_close(conn, false);
}

/* Room under the process's cap on idle ones; counts it when there is. */
static bool idle_count(struct rl_origin *origin)
{
	if (atomic_fetch_add_explicit(&origin->idle, 1, memory_order_relaxed) < origin->max_idle)
		return true;
	atomic_fetch_sub_explicit(&origin->idle, 1, memory_order_relaxed);
	return false;
}

static bool alive(const struct rl_conn *conn)
{
	char c;
	ssize_t n = recv(rl_transport_fd(conn->transport), &c, 1, MSG_PEEK | MSG_DONTWAIT);

	return n < 0 ? errno == EAGAIN : n > 0 && conn->codec->room; /* HTTP/2 has things to say between calls too */
}

/* Gives the connection away if calls wait for one: true if it is no longer the caller's. */
static bool give_to_waiter(struct rl_conn *conn)
{
	struct rl_origin *origin = conn->place->origin;

	if (!origin->max_connections || atomic_load(&origin->n_waiters) == 0)
		return false;
	if (!alive(conn)) { /* no poll has told of that yet; its slot goes to the first who waits */
		rl_conn_close(conn, false);
		return true;
	}
	struct rl_waiter *waiter = rl_origin_waiter_here(origin, conn->place->pool->loop);

	if (waiter)
		rl_opening_take(waiter, conn);
	else
		rl_conn_close(conn, false); /* its slot goes to the first who waits */
	return true;
}

void rl_conn_rest(struct rl_conn *conn)
{
	struct rl_place *place = conn->place;
	struct rl_origin *origin = place->origin;

	assert(!conn->closed && !conn->idle && !conn->shared && !conn->run);
	if (atomic_load_explicit(&origin->users, memory_order_relaxed) == 0) {
		rl_conn_close(conn, false);
		return;
	}
	if (give_to_waiter(conn))
		return;
	if (!conn->idle_ms || !idle_count(origin)) {
		rl_conn_close(conn, false);
		return;
	}
	idle_link(conn);
	rl_timer_start(place->pool->loop, &conn->timer, conn->idle_ms);
	/* Somebody may have begun to wait before he could see this one: see origin.c. */
	if (origin->max_connections && atomic_load(&origin->n_waiters) > 0)
		rl_conn_close(conn, false);
}

struct rl_conn *rl_place_take(struct rl_place *place)
{
	uint64_t now = rl_loop_turn(place->pool->loop);
	struct rl_conn *conn = place->idle;

	if (place->shared)
		return place->shared;
	for (unsigned i = 0; conn && conn->rested_turn == now && i < FRESH_SKIPPED_MAX; i++)
		conn = conn->next;
	if (!conn)
		conn = place->idle;
	if (conn)
		idle_unlink(conn);
	return conn;
}

size_t rl_conn_fill(struct rl_conn *conn, char *scratch, enum rl_err *err)
{
	size_t n = 0, got;

	do {
		*err = RL_OK;
		got = rl_transport_read(conn->transport, scratch + n, RL_LOOP_SCRATCH_BYTES - n, err);
		n += got;
	} while (got && n < RL_LOOP_SCRATCH_BYTES && rl_transport_pending(conn->transport));
	if (*err == RL_ERR_AGAIN)
		*err = RL_OK;
	return n;
}

bool rl_conn_is_quiet(const struct rl_conn *conn, bool check)
{
	bool polled = conn->rested_turn != rl_loop_turn(conn->place->pool->loop);

	/* What comes on HTTP/2 says itself whose it is. */
	return conn->shared || (!check && (polled || conn->codec->room)) || alive(conn);
}

/* ---- life ---- */

enum rl_err rl_pool_new(struct rl_loop *loop, struct rl_pool **out)
{
	struct rl_pool *pool = calloc(1, sizeof *pool);

	if (!pool)
		return RL_ERR_NOMEM;
	pool->loop = loop;
	pool->reap.run = reap;
	*out = pool;
	return RL_OK;
}

void rl_pool_trim(struct rl_pool *pool, bool all)
{
	for (size_t i = 0; i < RL_POOL_BUCKETS; i++) {
		struct rl_place *next;

		for (struct rl_place *place = pool->places[i]; place; place = next) {
			bool orphan = atomic_load(&place->origin->users) == 0;

			next = place->next;
			if (!all && !orphan)
				continue;
			while (place->idle)
				rl_conn_close(place->idle, false);
			if (orphan && place->n_users == 0)
				place_free(place); /* else the last one to be reaped does it */
		}
	}
}

void rl_pool_free(struct rl_pool *pool)
{
	if (!pool)
		return;
	rl_pool_trim(pool, true);
	rl_loop_undefer(pool->loop, &pool->reap);
	reap(&pool->reap);
	for (size_t i = 0; i < RL_POOL_BUCKETS; i++)
		while (pool->places[i])
			place_free(pool->places[i]);
	while (pool->free_runs) {
		struct rl_run *run = pool->free_runs;

		pool->free_runs = run->next;
		rl_buf_fini(&run->request);
		free(run);
	}
	free(pool);
}
