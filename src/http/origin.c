/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Origins: what all loops know together of one place to call. Counters are atomics;
 * the lock is taken only where a cap is set, or when a loop meets the origin for the
 * first time, and nothing but lists is touched under it.
 *
 * A slot is the right to have one connection open. Those who find none wait in one
 * fair queue over all loops; a freed slot goes to the first of them by mail, never
 * back to the counter while anybody waits. Idle connections hold slots too: whoever
 * starts to wait asks the other loops to give up theirs, and a loop whose connection
 * becomes idle looks at the queue after it has counted it (so one of both sees the other).
 */
#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

#include "http/client_priv.h"
#include "net/tunnel.h"

/* ---- TLS contexts, one for each trust store and identity in use ---- */

#define TLS_KEY_BYTES_MAX 65536u
#define TUNNEL_BYTES_MAX 8192u

struct rl_tls_shared {
	struct rl_tls_shared *next;
	struct rl_tls_client *tls;
	unsigned refs;
	struct rl_buf key;
};

static pthread_mutex_t tls_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rl_tls_shared *tls_list;

static void tls_free(struct rl_tls_shared *shared)
{
	rl_tls_client_free(shared->tls);
	rl_buf_fini(&shared->key);
	free(shared);
}

/* Takes over `fresh`, which has its key only. */
static enum rl_err tls_make(struct rl_tls_shared *fresh, const struct rl_tls_client_spec *spec, const char **why)
{
	enum rl_err err = rl_tls_client_new(spec, &fresh->tls, why);

	if (err != RL_OK) {
		tls_free(fresh);
		return err;
	}
	fresh->next = tls_list;
	tls_list = fresh;
	return RL_OK;
}

/*
 * A context costs megabytes: it is made at the first https origin and shared by all with the same files. Files that
 * have been renewed are read into another one, while the calls that run keep theirs.
 */
static enum rl_err tls_get(const struct rl_tls_client_spec *spec, struct rl_tls_shared **out, const char **why)
{
	struct rl_tls_shared *fresh = calloc(1, sizeof *fresh), *shared;
	enum rl_err err = RL_OK;

	if (!fresh)
		return RL_ERR_NOMEM;
	rl_buf_init(&fresh->key, TLS_KEY_BYTES_MAX);
	rl_tls_client_key(spec, &fresh->key);
	if (!rl_buf_ok(&fresh->key)) {
		tls_free(fresh);
		return RL_ERR_NOMEM;
	}
	pthread_mutex_lock(&tls_lock);
	for (shared = tls_list; shared; shared = shared->next)
		if (rl_str_eq(rl_buf_str(&shared->key), rl_buf_str(&fresh->key)))
			break;
	if (shared) {
		tls_free(fresh);
	} else {
		err = tls_make(fresh, spec, why);
		shared = fresh;
	}
	if (err == RL_OK) {
		shared->refs++;
		*out = shared;
	}
	pthread_mutex_unlock(&tls_lock);
	return err;
}

static void tls_put(struct rl_tls_shared *shared)
{
	if (!shared)
		return;
	pthread_mutex_lock(&tls_lock);
	assert(shared->refs > 0);
	if (--shared->refs == 0) {
		struct rl_tls_shared **at = &tls_list;

		while (*at != shared)
			at = &(*at)->next;
		*at = shared->next;
		tls_free(shared);
	}
	pthread_mutex_unlock(&tls_lock);
}

/* ---- life ---- */

/* Text that the origin keeps, into its own room at *at. */
static rl_str put(char **at, const char *end, const char *format, ...) __attribute__((format(printf, 3, 4)));

static rl_str put(char **at, const char *end, const char *format, ...)
{
	char *begin = *at;
	va_list args;

	va_start(args, format);
	int n = vsnprintf(begin, (size_t)(end - begin), format, args);
	va_end(args);
	assert(n >= 0 && n < end - begin);
	*at += n;
	return rl_str_make(begin, (size_t)n);
}

/* What it is called, and what Host says of it (RFC 9110 §7.2); `room` bytes of text suffice. */
static void write_names(struct rl_origin *origin, const struct rl_origin_spec *spec, size_t room)
{
	bool v6 = rl_str_find(spec->host, ':') != SIZE_MAX;
	bool usual = origin->port == (origin->https ? 443 : 80);
	char *at = origin->text, port[8] = "";
	const char *end = at + room;

	if (!usual)
		snprintf(port, sizeof port, ":%u", (unsigned)origin->port);
	origin->host = put(&at, end, "%.*s", RL_STR_ARG(spec->host));
	origin->authority = put(&at, end, "%s%.*s%s%s", v6 ? "[" : "", RL_STR_ARG(spec->host), v6 ? "]" : "", port);
	origin->dial = origin->host;
	origin->dial_port = origin->port;
	if (spec->unix_path.n)
		origin->dial = put(&at, end, "unix:%.*s", RL_STR_ARG(spec->unix_path));
	if (spec->proxy_host.n) {
		origin->dial = put(&at, end, "%.*s", RL_STR_ARG(spec->proxy_host));
		origin->dial_port = spec->proxy_port;
	}
}

/* What connections to it need: TLS, the proxy's request. On failure drop_ways cleans up. */
static enum rl_err make_ways(struct rl_origin *origin, const struct rl_origin_spec *spec, const char **why)
{
	struct rl_tls_client_spec tls = spec->tls;
	enum rl_err err = RL_OK;

	if (spec->http2)
		tls.alpn = RL_STR(RL_ALPN_HTTP_2);

	rl_buf_init(&origin->tunnel, TUNNEL_BYTES_MAX);
	if (spec->proxy_host.n)
		err = rl_tunnel_request(spec->host, spec->port, spec->proxy_credentials, &origin->tunnel);
	if (err != RL_OK)
		*why = rl_err_text(err);
	if (err != RL_OK || !spec->https)
		return err;
	err = rl_tls_sessions_new(&origin->tls_sessions);
	if (err == RL_OK)
		err = tls_get(&tls, &origin->tls_shared, why);
	if (err == RL_OK)
		origin->tls = origin->tls_shared->tls;
	return err;
}

static void drop_ways(struct rl_origin *origin)
{
	tls_put(origin->tls_shared);
	rl_tls_sessions_unref(origin->tls_sessions);
	rl_buf_fini(&origin->tunnel);
}

enum rl_err rl_origin_new(const struct rl_origin_spec *spec, struct rl_origin **out, const char **why)
{
	assert(spec->host.n > 0 && spec->host.n <= 255 && spec->port > 0);
	assert(spec->unix_path.n == 0 || spec->proxy_host.n == 0);
	size_t room = 2 * spec->host.n + spec->unix_path.n + spec->proxy_host.n + sizeof "[]:65535unix:";
	struct rl_origin *origin = calloc(1, sizeof *origin + room);

	*why = rl_err_text(RL_ERR_NOMEM);
	if (!origin)
		return RL_ERR_NOMEM;
	origin->https = spec->https;
	origin->http2 = spec->http2;
	origin->port = spec->port;
	origin->max_connections = spec->max_connections;
	origin->max_idle = spec->max_idle;
	origin->idle_ms = spec->idle_ms;
	enum rl_err err = make_ways(origin, spec, why);

	if (err != RL_OK) {
		drop_ways(origin);
		free(origin);
		return err;
	}
	write_names(origin, spec, room);
	atomic_init(&origin->refs, 1);
	atomic_init(&origin->users, 1);
	pthread_mutex_init(&origin->lock, NULL);
	*why = NULL;
	*out = origin;
	return RL_OK;
}

void rl_origin_hold(struct rl_origin *origin)
{
	unsigned before = atomic_fetch_add_explicit(&origin->refs, 1, memory_order_relaxed);

	assert(before > 0);
}

void rl_origin_drop(struct rl_origin *origin)
{
	if (atomic_fetch_sub(&origin->refs, 1) != 1)
		return;
	assert(!origin->first && !origin->places);
	assert(atomic_load(&origin->connections) == 0 && atomic_load(&origin->http2_connections) == 0);
	drop_ways(origin);
	pthread_mutex_destroy(&origin->lock);
	free(origin);
}

struct rl_origin *rl_origin_ref(struct rl_origin *origin)
{
	unsigned before = atomic_fetch_add_explicit(&origin->users, 1, memory_order_relaxed);

	assert(before > 0);
	return origin;
}

void rl_origin_unref(struct rl_origin *origin)
{
	if (origin && atomic_fetch_sub(&origin->users, 1) == 1)
		rl_origin_drop(origin);
}

uint32_t rl_origin_http2_connections(const struct rl_origin *origin)
{
	return atomic_load_explicit(&origin->http2_connections, memory_order_relaxed);
}

uint32_t rl_origin_connections(const struct rl_origin *origin)
{
	return atomic_load_explicit(&origin->connections, memory_order_relaxed);
}

/* ---- the loops that know it ---- */

void rl_origin_join(struct rl_origin *origin, struct rl_place *place)
{
	rl_origin_hold(origin);
	pthread_mutex_lock(&origin->lock);
	place->origin_next = origin->places;
	if (origin->places)
		origin->places->origin_prev = place;
	origin->places = place;
	pthread_mutex_unlock(&origin->lock);
}

void rl_origin_leave(struct rl_origin *origin, struct rl_place *place)
{
	pthread_mutex_lock(&origin->lock);
	if (place->origin_prev)
		place->origin_prev->origin_next = place->origin_next;
	else
		origin->places = place->origin_next;
	if (place->origin_next)
		place->origin_next->origin_prev = place->origin_prev;
	pthread_mutex_unlock(&origin->lock);
	rl_origin_drop(origin);
}

/* ---- slots ---- */

static void queue(struct rl_origin *origin, struct rl_waiter *waiter)
{
	waiter->origin = origin;
	waiter->next = NULL;
	waiter->prev = origin->last;
	if (origin->last)
		origin->last->next = waiter;
	else
		origin->first = waiter;
	origin->last = waiter;
	waiter->queued = true;
	atomic_fetch_add(&origin->n_waiters, 1);
}

static void unqueue(struct rl_origin *origin, struct rl_waiter *waiter)
{
	if (waiter->prev)
		waiter->prev->next = waiter->next;
	else
		origin->first = waiter->next;
	if (waiter->next)
		waiter->next->prev = waiter->prev;
	else
		origin->last = waiter->prev;
	waiter->prev = waiter->next = NULL;
	waiter->queued = false;
	atomic_fetch_sub(&origin->n_waiters, 1);
}

/* Under the lock: asks the loops that keep idle connections to give up as many as are waited for. */
static void ask_to_shed(struct rl_origin *origin)
{
	for (struct rl_place *place = origin->places; place; place = place->origin_next)
		if (atomic_load(&place->n_idle) > 0 && !atomic_exchange(&place->shed->posted, true))
			rl_loop_post(place->pool->loop, &place->shed->mail);
}

enum rl_err rl_origin_slot_take(struct rl_origin *origin, struct rl_waiter *waiter)
{
	enum rl_err err = RL_OK;

	if (!origin->max_connections) {
		atomic_fetch_add_explicit(&origin->connections, 1, memory_order_relaxed);
		return RL_OK;
	}
	pthread_mutex_lock(&origin->lock);
	if (!origin->first && atomic_load(&origin->connections) < origin->max_connections) {
		atomic_fetch_add(&origin->connections, 1);
	} else if (atomic_load(&origin->n_waiters) >= RL_WAITERS_MAX) {
		err = RL_ERR_BUSY;
	} else {
		queue(origin, waiter);
		ask_to_shed(origin);
		err = RL_ERR_AGAIN;
	}
	pthread_mutex_unlock(&origin->lock);
	return err;
}

void rl_origin_slot_free(struct rl_origin *origin)
{
	if (!origin->max_connections) {
		atomic_fetch_sub_explicit(&origin->connections, 1, memory_order_relaxed);
		return;
	}
	pthread_mutex_lock(&origin->lock);
	struct rl_waiter *waiter = origin->first;

	if (waiter) {
		unqueue(origin, waiter);
		rl_loop_post(waiter->loop, &waiter->mail);
	} else {
		atomic_fetch_sub(&origin->connections, 1);
	}
	pthread_mutex_unlock(&origin->lock);
}

struct rl_waiter *rl_origin_waiter_here(struct rl_origin *origin, struct rl_loop *loop)
{
	pthread_mutex_lock(&origin->lock);
	struct rl_waiter *waiter = origin->first;

	if (waiter && waiter->loop == loop && !waiter->own)
		unqueue(origin, waiter);
	else
		waiter = NULL;
	pthread_mutex_unlock(&origin->lock);
	return waiter;
}

bool rl_origin_wanted_elsewhere(struct rl_origin *origin, const struct rl_loop *loop)
{
	if (!origin->max_connections || atomic_load(&origin->n_waiters) == 0)
		return false;
	pthread_mutex_lock(&origin->lock);
	bool elsewhere = origin->first && (origin->first->loop != loop || origin->first->own);

	pthread_mutex_unlock(&origin->lock);
	return elsewhere;
}

bool rl_origin_waiter_remove(struct rl_waiter *waiter)
{
	struct rl_origin *origin = waiter->origin;

	pthread_mutex_lock(&origin->lock);
	bool queued = waiter->queued;

	if (queued)
		unqueue(origin, waiter);
	pthread_mutex_unlock(&origin->lock);
	return queued;
}
