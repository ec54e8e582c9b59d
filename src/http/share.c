/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that carry several calls, and the calls of one place that wait for one.
 *
 * A connection is on the place's shared list while it has calls and room for more, on
 * the idle list while it has none, on neither while it is full or draining. A call that
 * finds no room joins the queue. Only as many openings are under way as the queue needs;
 * each belongs to one of the queued calls, its leader, by whose connect time-out it is
 * bounded. A leader that leaves for another reason hands its opening to the next call in
 * the queue; one whose opening fails takes those with it that it would have carried.
 *
 * How many calls an opening will carry is known when TLS has agreed on HTTP/2 and the
 * peer's SETTINGS have come: until then it is what the last one turned out to carry.
 */
#include <assert.h>

#include "http/share_priv.h"

/* ---- lists ---- */

static void enqueue(struct rl_run *run)
{
	struct rl_place *place = run->place;

	assert(!run->queued && !run->conn && !run->opening);
	run->next = NULL;
	run->prev = place->queue_last;
	if (place->queue_last)
		place->queue_last->next = run;
	else
		place->queue = run;
	place->queue_last = run;
	run->queued = true;
	place->n_queued++;
}

static void unqueue(struct rl_run *run)
{
	struct rl_place *place = run->place;

	assert(run->queued && place->n_queued > 0);
	if (run->prev)
		run->prev->next = run->next;
	else
		place->queue = run->next;
	if (run->next)
		run->next->prev = run->prev;
	else
		place->queue_last = run->prev;
	run->prev = run->next = NULL;
	run->queued = false;
	place->n_queued--;
}

static void link_shared(struct rl_conn *conn)
{
	struct rl_place *place = conn->place;

	assert(!conn->idle && !conn->shared && !conn->closed);
	conn->prev = NULL;
	conn->next = place->shared;
	if (place->shared)
		place->shared->prev = conn;
	place->shared = conn;
	conn->shared = true;
}

void rl_share_unlink(struct rl_conn *conn)
{
	assert(conn->shared);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		conn->place->shared = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	conn->prev = conn->next = NULL;
	conn->shared = false;
}

/* ---- openings ---- */

static struct rl_run *follower(const struct rl_place *place)
{
	struct rl_run *run = place->queue;

	while (run && run->leads)
		run = run->next;
	return run;
}

/* How many calls the openings under way will probably carry. */
static unsigned coming(const struct rl_place *place)
{
	return place->n_openings * (place->alone ? 1 : place->streams);
}

/* Opens as much as the queue needs. Never calls an owner. */
static void refill(struct rl_place *place)
{
	struct rl_run *run;

	if (place->busy)
		return;
	place->busy = true;
	while (coming(place) < place->n_queued && (run = follower(place))) {
		run->leads = true;
		place->n_openings++;
		rl_opening_start(run);
	}
	place->busy = false;
}

/* The leader needs its opening no more: it goes to the next in the queue, or (`end`, or nobody there) is ended. */
static void resign(struct rl_run *run, bool end)
{
	struct rl_place *place = run->place;
	struct rl_conn *conn = run->conn;

	assert(run->leads && place->n_openings > 0);
	run->leads = false;
	struct rl_run *heir = end || (!conn && !run->opening) ? NULL : follower(place);

	run->conn = NULL;
	if (heir)
		heir->leads = true;
	else
		place->n_openings--;
	if (conn && heir) {
		conn->run = heir;
		heir->conn = conn;
	} else if (conn) {
		rl_conn_close(conn, true);
	} else if (run->opening && heir) {
		rl_opening_hand_over(run->opening, heir);
	} else {
		rl_opening_cancel(run->opening);
	}
}

/* ---- calls ---- */

void rl_share_wait(struct rl_run *run)
{
	struct rl_place *place = run->place;

	/* A replay is for connections that have gone while they were idle: no other one of those. */
	struct rl_conn *conn = run->replayed ? place->shared : rl_place_take(place);

	if (conn && !rl_conn_is_quiet(conn, !conn->codec->room)) {
		rl_conn_close(conn, false);
		conn = place->shared;
	}

	if (conn) {
		rl_run_on_conn(run, conn);
		return;
	}
	if (place->origin->max_connections && place->n_queued >= RL_WAITERS_MAX) {
		rl_run_fail_later(run, RL_ERR_BUSY, "too many calls wait for a connection");
		return;
	}
	enqueue(run);
	refill(place);
}

void rl_share_leave(struct rl_run *run)
{
	unqueue(run);
	if (run->leads)
		resign(run, run->timed_out);
	refill(run->place);
}

void rl_share_taken(struct rl_run *run)
{
	assert(run->leads && !run->opening && !run->conn);
	unqueue(run);
	run->leads = false;
	run->place->n_openings--;
	refill(run->place);
}

/* The first in the queue gets a stream of `conn`. */
static void give(struct rl_conn *conn)
{
	struct rl_run *run = conn->place->queue;

	unqueue(run);
	if (run->leads)
		resign(run, false);
	rl_run_on_conn(run, conn);
}

/* ---- openings that end ---- */

void rl_share_ready(struct rl_conn *conn)
{
	struct rl_place *place = conn->place;
	struct rl_run *leader = conn->run;

	assert(leader->queued && leader->leads && place->n_openings > 0);
	conn->run = NULL;
	leader->conn = NULL;
	leader->leads = false;
	place->n_openings--;
	place->alone = !conn->codec->room;
	if (!place->alone) {
		rl_share_freed(conn);
	} else {
		unqueue(leader);
		rl_run_on_conn(leader, conn);
	}
	refill(place);
}

void rl_share_failed(struct rl_run *leader, enum rl_err reason, const char *detail)
{
	struct rl_place *place = leader->place;
	struct rl_run *next;

	resign(leader, true);
	assert(!place->busy);
	place->busy = true; /* nothing is opened for those who are to fail */
	for (struct rl_run *run = place->queue; run; run = next) {
		next = run->next;
		if (place->n_queued <= coming(place) + 1)
			break;
		if (run != leader && !run->leads)
			rl_run_fail_later(run, reason, detail);
	}
	place->busy = false;
	rl_run_fail(leader, reason, detail);
}

/* ---- connections ---- */

void rl_share_sort(struct rl_conn *conn)
{
	if (conn->closed)
		return;
	bool room = conn->codec->room(conn) > 0;

	if (conn->shared && (!room || !conn->n_calls))
		rl_share_unlink(conn);
	if (!conn->n_calls && !room)
		rl_conn_close(conn, false);
	else if (!conn->n_calls && !conn->idle)
		rl_conn_rest(conn);
	else if (conn->n_calls && room && !conn->shared)
		link_shared(conn);
}

void rl_share_freed(struct rl_conn *conn)
{
	struct rl_place *place = conn->place;

	while (!conn->closed && place->queue && conn->codec->room(conn) > 0)
		give(conn);
	/* The cap counts for all loops: with others waiting this connection ends when its calls do. */
	if (!conn->closed && conn->n_calls && rl_origin_wanted_elsewhere(place->origin, place->pool->loop))
		conn->draining = true;
	rl_share_sort(conn);
}
