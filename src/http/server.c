/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See server.h and server_priv.h. The common path is short on purpose: one READ event, one read into the loop's
 * scratch, the codec, one write; no interest changes, no timer moves, no malloc.
 *
 * Bytes that cannot be taken are kept (one read's worth), and only then reading is switched off. All that tells an
 * owner of bad news comes from `kick`, at the end of the turn, so that no callback comes from inside a call.
 */
#include "http/server_priv.h"

#include <assert.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define POOL_MAX 256u                        /* structs kept for reuse, per server */
#define EXCHANGE_ARENA_MAX_BYTES (64u << 20) /* the owner's memory too */
#define OUT_MAX_BYTES (64u << 20)            /* queued by an owner that does not heed rl_exchange_full */
#define IN_KEEP_READS 3u                     /* reads' worth that a kept input may grow to, beside a head */
#define LAND_MAX_BYTES (256u * 1024)         /* of a body in one read: others wait meanwhile */

static void on_event(void *owner, struct rl_transport *transport, unsigned events);
static void on_timer(struct rl_timer *timer);
static void kick(struct rl_task *task);
static void update_want(struct rl_conn *conn);

/* ---- the server ---- */

static void reap(struct rl_task *task);

enum rl_err rl_server_new(struct rl_loop *loop, const struct rl_exchange_ops *ops, void *service,
			  const struct rl_server_limits *limits, struct rl_server **out)
{
	struct rl_server *server = calloc(1, sizeof *server);

	if (!server)
		return RL_ERR_NOMEM;
	server->loop = loop;
	server->ops = ops;
	server->service = service;
	rl_server_set_limits(server, limits);
	server->reap.run = reap;
	*out = server;
	return RL_OK;
}

void rl_server_set_limits(struct rl_server *server, const struct rl_server_limits *limits)
{
	int n = 0;

	server->limits = *limits;
	if (limits->hsts_s)
		n = snprintf(server->hsts_room, sizeof server->hsts_room, RL_HSTS_NAME ": max-age=%llu\r\n",
			     (unsigned long long)limits->hsts_s);
	assert(n >= 0 && (size_t)n < sizeof server->hsts_room);
	server->hsts_text = rl_str_make(server->hsts_room, (size_t)n);
}

void rl_server_set_always(struct rl_server *server, const struct rl_header *fields, size_t n)
{
	size_t at = 0;

	assert(!server->n_always);
	server->always = fields;
	server->n_always = n;
	for (size_t i = 0; i < n; i++) {
		int more = snprintf(server->always_room + at, RL_ALWAYS_BYTES_MAX - at, "%.*s: %.*s\r\n",
				    RL_STR_ARG(fields[i].name), RL_STR_ARG(fields[i].value));

		assert(more > 0 && (size_t)more < RL_ALWAYS_BYTES_MAX - at);
		at += (size_t)more;
	}
	server->always_text = rl_str_make(server->always_room, at);
}

size_t rl_server_connections(const struct rl_server *server)
{
	return server->n_conns;
}

static void drain_all(struct rl_server *server)
{
	for (struct rl_conn *conn = server->conns, *next; conn; conn = next) {
		next = conn->next;
		if (conn->state == RL_CONN_OPEN)
			conn->codec->drain(conn);
	}
}

void rl_server_drain(struct rl_server *server)
{
	server->draining = true;
	server->retiring = false;
	drain_all(server);
}

void rl_server_retire(struct rl_server *server)
{
	server->draining = server->retiring = true;
	drain_all(server);
}

/* The longest idle of the connections that are due to be looked at; NULL: none of them has been idle for long enough. */
static struct rl_conn *pick_idle(struct rl_server *server)
{
	uint64_t now = rl_loop_now_ms(server->loop), oldest = RL_NEVER;
	struct rl_conn *picked = NULL;
	size_t most = server->n_conns < RL_SHED_LOOK ? server->n_conns : RL_SHED_LOOK;

	for (size_t i = 0; i < most; i++) {
		struct rl_conn *conn = server->shed_at ? server->shed_at : server->last_conn;
		uint64_t since = conn->state == RL_CONN_OPEN && !conn->busy ? conn->codec->idle_since(conn) : RL_NEVER;

		server->shed_at = conn->prev;
		if (since < oldest && since + RL_SHED_IDLE_MS <= now) {
			oldest = since;
			picked = conn;
		}
	}
	return picked;
}

size_t rl_server_shed(struct rl_server *server, size_t n)
{
	for (size_t done = 0; done < n; done++) {
		struct rl_conn *conn = pick_idle(server);

		if (!conn)
			return done;
		conn->codec->let_go(conn);
	}
	return n;
}

void rl_server_abort(struct rl_server *server)
{
	for (struct rl_conn *conn = server->conns, *next; conn; conn = next) {
		next = conn->next;
		rl_conn_fail(conn, RL_ERR_SHUTDOWN);
	}
}

void rl_server_free(struct rl_server *server)
{
	if (!server)
		return;
	assert(server->n_conns == 0);
	rl_loop_undefer(server->loop, &server->reap);
	reap(&server->reap);
	while (server->free_xchgs) {
		struct rl_xchg *x = server->free_xchgs;
		server->free_xchgs = x->next;
		free(x);
	}
	while (server->free_conns) {
		struct rl_conn *conn = server->free_conns;
		server->free_conns = conn->next;
		free(conn);
	}
	free(server);
}

const char *rl_server_date(struct rl_server *server)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	uint64_t now_ms = rl_loop_now_ms(server->loop);

	if (now_ms < server->date_until_ms)
		return server->date;

	uint64_t wall_ms = rl_clock_wall_us() / 1000u;
	time_t t = (time_t)(wall_ms / 1000u);
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(server->date, sizeof server->date, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
		 tm.tm_mday % 100, months[tm.tm_mon % 12], (tm.tm_year + 1900) % 10000, tm.tm_hour % 100,
		 tm.tm_min % 100, tm.tm_sec % 100);
	server->date_until_ms = now_ms + 1000u - wall_ms % 1000u;
	return server->date;
}

/* ---- exchanges ---- */

struct rl_xchg *rl_xchg_new(struct rl_conn *conn, uint64_t begin_us)
{
	struct rl_server *server = conn->server;
	struct rl_xchg *x = server->free_xchgs;

	if (x) {
		server->free_xchgs = x->next;
		server->n_free_xchgs--;
	} else if (!(x = malloc(sizeof *x))) {
		return NULL;
	}
	*x = (struct rl_xchg){
		.pub = {.loop = server->loop,
			.server = server,
			.peer = &conn->peer,
			.version = conn->codec->version,
			.begin_us = begin_us},
		.conn = conn,
		.left = -1,
	};
	rl_arena_init(&x->pub.arena, EXCHANGE_ARENA_MAX_BYTES);
	return x;
}

static void unlink_xchg(struct rl_conn *conn, struct rl_xchg *x)
{
	if (x->prev)
		x->prev->next = x->next;
	else
		conn->x = x->next;
	if (x->next)
		x->next->prev = x->prev;
	x->prev = NULL;
}

void rl_xchg_release(struct rl_xchg *x)
{
	struct rl_conn *conn = x->conn;
	struct rl_server *server = conn->server;

	if (x->stream)
		conn->codec->part(x);
	if (x->shown) {
		unlink_xchg(conn, x);
		if (!conn->x && conn->out.p && !rl_conn_queued(conn)) {
			rl_buf_fini(&conn->out);
			conn->out_at = 0;
		}
		if (!conn->x && conn->state == RL_CONN_CLOSED)
			rl_loop_defer(server->loop, &conn->task);
	}
	x->conn = NULL;
	x->next = server->dead_xchgs;
	server->dead_xchgs = x;
	rl_loop_defer(server->loop, &server->reap);
}

/* At the end of the turn: an owner may still look at the arena of the exchange that it has just ended. */
static void reap(struct rl_task *task)
{
	struct rl_server *server = (struct rl_server *)((char *)task - offsetof(struct rl_server, reap));
	struct rl_xchg *x;

	while ((x = server->dead_xchgs)) {
		server->dead_xchgs = x->next;
		rl_arena_fini(&x->pub.arena);
		if (server->n_free_xchgs >= POOL_MAX) {
			free(x);
			continue;
		}
		x->next = server->free_xchgs;
		server->free_xchgs = x;
		server->n_free_xchgs++;
	}
}

static struct rl_xchg *xchg_of(struct rl_exchange *x)
{
	struct rl_xchg *own = (struct rl_xchg *)x;

	assert(own->conn && own->shown);
	return own;
}

/* The answer can still go out. */
static bool writable(const struct rl_xchg *x)
{
	return x->conn->state == RL_CONN_OPEN && x->lost == RL_OK;
}

void rl_exchange_pause(struct rl_exchange *pub)
{
	xchg_of(pub)->paused = true;
}

void rl_exchange_resume(struct rl_exchange *pub)
{
	struct rl_xchg *x = xchg_of(pub);

	if (!x->paused)
		return;
	x->paused = false;
	if (!x->body_done && writable(x))
		x->conn->codec->resume(x);
	rl_conn_wake(x->conn);
}

void rl_exchange_continue(struct rl_exchange *pub)
{
	struct rl_xchg *x = xchg_of(pub);

	if (x->continue_due && !x->started && !x->raw && writable(x))
		x->conn->codec->write_continue(x);
	x->continue_due = false;
}

static void end(struct rl_xchg *x)
{
	if (writable(x))
		x->conn->codec->end(x);
	rl_xchg_release(x);
}

void rl_exchange_reply(struct rl_exchange *pub, const struct rl_response_head *head, const rl_str *parts, size_t n)
{
	struct rl_xchg *x = xchg_of(pub);
	struct rl_response_head whole = *head;

	assert(!x->started && !x->raw);
	whole.content_length = 0;
	for (size_t i = 0; i < n; i++)
		whole.content_length += (int64_t)parts[i].n;
	x->started = true;
	if (writable(x)) {
		x->conn->codec->write_head(x, &whole);
		if (!x->bodiless)
			pub->bytes_out += (uint64_t)whole.content_length;
		x->conn->codec->write_body(x, parts, n, true);
	}
	end(x);
}

void rl_exchange_start(struct rl_exchange *pub, const struct rl_response_head *head)
{
	struct rl_xchg *x = xchg_of(pub);

	assert(!x->started && !x->raw);
	x->started = true;
	if (writable(x))
		x->conn->codec->write_head(x, head);
}

static bool has_token(rl_str list, rl_str wanted)
{
	while (list.p)
		if (rl_str_ieq(rl_str_trim(rl_str_cut(&list, ',')), wanted))
			return true;
	return false;
}

bool rl_exchange_asks_upgrade(const struct rl_exchange *pub)
{
	const struct rl_request_head *head = &pub->head;

	return pub->version == RL_HTTP_1_1 && head->method == RL_METHOD_GET && !head->content_length &&
	       has_token(rl_headers_value(&head->headers, RL_H_UPGRADE), RL_STR("websocket")) &&
	       has_token(rl_headers_value(&head->headers, RL_H_CONNECTION), RL_STR("upgrade"));
}

bool rl_exchange_upgrade(struct rl_exchange *pub, const struct rl_response_head *head)
{
	struct rl_xchg *x = xchg_of(pub);

	assert(!x->started && !x->raw && x->body_done && head->status == 101 && x->conn->codec->upgrade);
	assert(!x->conn->busy); /* else what came with the request is not kept yet */
	if (!writable(x)) {     /* its owner is about to be told */
		x->started = x->tunnel = true;
		return true;
	}
	if (!x->conn->codec->upgrade(x))
		return false;
	x->started = x->tunnel = true;
	if (!writable(x))
		return true;
	x->conn->codec->write_head(x, head);
	rl_exchange_flush(pub);
	rl_conn_wake(x->conn);
	return true;
}

/* Nothing is queued: FIN, as soon as the socket takes what TLS says before it. */
static void shut(struct rl_conn *conn)
{
	conn->shut_due = !rl_transport_shutdown(conn->transport);
}

void rl_exchange_shut(struct rl_exchange *pub)
{
	struct rl_xchg *x = xchg_of(pub);

	assert(x->tunnel && !x->shut);
	x->shut = true;
	if (!writable(x))
		return;
	x->conn->shut_due = true;
	if (!rl_conn_queued(x->conn))
		shut(x->conn);
	if (x->conn->shut_due)
		update_want(x->conn);
}

void rl_exchange_land(struct rl_exchange *pub, char *into)
{
	xchg_of(pub)->land = into;
}

void rl_exchange_forget(struct rl_exchange *pub)
{
	struct rl_xchg *x = xchg_of(pub);

	assert(x->started);
	x->forgets = true;
}

/* What the codec has not sent it has copied: only the held head lay in the arena. */
static void forget(struct rl_xchg *x)
{
	struct rl_request_head *head = &x->pub.head;

	*head = (struct rl_request_head){.method = head->method, .content_length = head->content_length};
	rl_arena_reset(&x->pub.arena);
	x->forgets = false;
}

void rl_exchange_write(struct rl_exchange *pub, const rl_str *parts, size_t n)
{
	struct rl_xchg *x = xchg_of(pub);

	assert(x->started && !x->raw && !x->shut);
	if (!writable(x))
		return;
	if (!x->bodiless)
		for (size_t i = 0; i < n; i++)
			pub->bytes_out += parts[i].n;
	x->conn->codec->write_body(x, parts, n, false);
	if (x->forgets && !x->held.n)
		forget(x);
}

void rl_exchange_flush(struct rl_exchange *pub)
{
	struct rl_xchg *x = xchg_of(pub);

	if (x->held.n && writable(x))
		x->conn->codec->write_body(x, NULL, 0, false);
}

bool rl_exchange_full(const struct rl_exchange *pub)
{
	const struct rl_xchg *x = (const struct rl_xchg *)pub;

	return x->full;
}

void rl_exchange_end(struct rl_exchange *pub)
{
	struct rl_xchg *x = xchg_of(pub);

	assert(x->started && !x->raw);
	if (writable(x))
		x->conn->codec->write_body(x, NULL, 0, true);
	end(x);
}

void rl_exchange_abort(struct rl_exchange *pub, bool reset)
{
	struct rl_xchg *x = xchg_of(pub);

	if (writable(x))
		x->conn->codec->abort(x, reset);
	rl_xchg_release(x);
}

void rl_exchange_raw(struct rl_exchange *pub, rl_str bytes)
{
	struct rl_xchg *x = xchg_of(pub);

	x->held = (rl_str){NULL, 0};
	x->raw = x->sent = true;
	pub->bytes_out += bytes.n;
	if (bytes.n && writable(x))
		x->conn->codec->write_raw(x, bytes);
}

/* ---- connections: life ---- */

static struct rl_conn *conn_new(struct rl_server *server)
{
	struct rl_conn *conn = server->free_conns;

	if (conn) {
		server->free_conns = conn->next;
		server->n_free_conns--;
	} else if (!(conn = malloc(sizeof *conn))) {
		return NULL;
	}
	*conn = (struct rl_conn){.server = server, .codec = &rl_h1_server_codec, .next = server->conns};
	if (server->limits.http2.enabled)
		conn->codec = &rl_sniff_codec;
	if (conn->next)
		conn->next->prev = conn;
	else
		server->last_conn = conn;
	server->conns = conn;
	server->n_conns++;
	rl_timer_init(&conn->timer, on_timer);
	conn->task.run = kick;
	rl_buf_init(&conn->in, (size_t)server->limits.max_header_bytes + IN_KEEP_READS * RL_LOOP_SCRATCH_BYTES);
	rl_buf_init(&conn->out, OUT_MAX_BYTES);
	return conn;
}

static void conn_free(struct rl_conn *conn)
{
	struct rl_server *server = conn->server;
	void (*on_close)(void *) = conn->on_close;
	void *arg = conn->on_close_arg;

	assert(conn->state == RL_CONN_CLOSED && !conn->x && !rl_timer_running(&conn->timer));
	if (conn->h2)
		conn->codec->fini(conn);
	rl_buf_fini(&conn->in);
	rl_buf_fini(&conn->out);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		server->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	else
		server->last_conn = conn->prev;
	if (server->shed_at == conn)
		server->shed_at = conn->prev;
	server->n_conns--;
	if (server->n_free_conns < POOL_MAX) {
		conn->next = server->free_conns;
		server->free_conns = conn;
		server->n_free_conns++;
	} else {
		free(conn);
	}
	if (on_close)
		on_close(arg);
}

void rl_server_accept(struct rl_server *server, const struct rl_arrival *in, void (*on_close)(void *arg), void *arg)
{
	struct rl_conn *conn = conn_new(server);

	if (!conn) {
		close(in->fd);
		if (on_close)
			on_close(arg);
		return;
	}
	conn->peer = in->peer;
	conn->secure = in->tls != NULL;
	conn->on_close = on_close;
	conn->on_close_arg = arg;
	if (in->tls)
		conn->codec = &rl_h1_server_codec; /* unless the two agree on something else */
	conn->codec->init(conn);
	rl_conn_wait(conn, server->limits.header_ms);
	if (rl_transport_accept(server->loop, in->fd, in->tls, on_event, conn, &conn->transport) != RL_OK) {
		conn->transport = NULL;
		rl_conn_fail(conn, RL_ERR_NOMEM);
	} else if (in->proxied && rl_transport_await_proxy(conn->transport)) {
		rl_conn_fail(conn, RL_ERR_NOMEM);
	}
}

/* The transport goes now; the struct when no exchange needs it. */
static void conn_close(struct rl_conn *conn, bool reset)
{
	assert(conn->state != RL_CONN_CLOSED);
	conn->state = RL_CONN_CLOSED;
	rl_timer_stop(&conn->timer);
	rl_transport_close(conn->transport, reset);
	conn->transport = NULL;
	rl_loop_defer(conn->server->loop, &conn->task);
}

void rl_conn_fail(struct rl_conn *conn, enum rl_err reason)
{
	if (conn->state == RL_CONN_CLOSED)
		return;
	if (conn->gone == RL_OK)
		conn->gone = reason;
	/* An answer cut in the middle must not look like one that ended. */
	conn_close(conn, conn->x && conn->x->sent);
}

/* ---- connections: deadlines ---- */

static uint64_t deadline_ms(const struct rl_conn *conn)
{
	uint64_t at = conn->wait_until_ms;

	if (rl_conn_queued(conn) && conn->state == RL_CONN_OPEN && conn->write_until_ms < at)
		at = conn->write_until_ms;
	return at;
}

/* A timer that runs out too early costs a look at the clock; so only earlier deadlines move it. */
static void arm(struct rl_conn *conn)
{
	uint64_t at = deadline_ms(conn);

	if (at == RL_NEVER || (rl_timer_running(&conn->timer) && conn->timer.deadline_ms <= at))
		return;
	uint64_t now = rl_loop_now_ms(conn->server->loop);

	rl_timer_start(conn->server->loop, &conn->timer, at > now ? at - now : 0);
}

void rl_conn_wait(struct rl_conn *conn, uint64_t ms)
{
	conn->wait_until_ms = ms ? rl_loop_now_ms(conn->server->loop) + ms : RL_NEVER;
	arm(conn);
}

void rl_conn_wait_at(struct rl_conn *conn, uint64_t at_ms)
{
	if (at_ms >= conn->wait_until_ms)
		return;
	conn->wait_until_ms = at_ms;
	arm(conn);
}

void rl_conn_progress(struct rl_conn *conn, size_t n, uint64_t ms)
{
	uint64_t most = rl_loop_now_ms(conn->server->loop) + ms;
	uint64_t earned = (uint64_t)n * 1000u / RL_BODY_MIN_BYTES_PER_S;

	if (conn->wait_until_ms >= most || earned >= most - conn->wait_until_ms)
		conn->wait_until_ms = most;
	else
		conn->wait_until_ms += earned;
	arm(conn);
}

/* The client may read slowly without our queue moving, while the kernel's queue before it does. */
static bool kernel_moved(struct rl_conn *conn)
{
	int unsent = 0;

	if (ioctl(rl_transport_fd(conn->transport), SIOCOUTQ, &unsent) != 0)
		return false;
	bool moved = unsent < conn->unsent;

	conn->unsent = unsent;
	return moved;
}

static void note_write(struct rl_conn *conn)
{
	conn->write_until_ms = rl_loop_now_ms(conn->server->loop) + conn->server->limits.write_idle_ms;
	conn->unsent = INT32_MAX;
}

/* The connection is about to end. Before it was open, that is for want of a handshake, where there is one. */
static void tell_handshake(const struct rl_conn *conn)
{
	const struct rl_server *server = conn->server;
	const struct rl_addr *named = rl_transport_peer(conn->transport);
	enum rl_tls_failure why = rl_transport_tls_failure(conn->transport);

	if (why && server->ops->on_no_handshake)
		server->ops->on_no_handshake(server->service, named ? named : &conn->peer, why,
					     rl_transport_detail(conn->transport));
}

static void on_timer(struct rl_timer *timer)
{
	struct rl_conn *conn = (struct rl_conn *)((char *)timer - offsetof(struct rl_conn, timer));
	uint64_t now = rl_loop_now_ms(conn->server->loop);

	assert(conn->state != RL_CONN_CLOSED);
	if (now >= deadline_ms(conn)) {
		if (conn->state != RL_CONN_OPEN) {
			conn_close(conn, true);
			return;
		}
		if (now >= conn->wait_until_ms) {
			conn->wait_until_ms = RL_NEVER;
			tell_handshake(conn);
			conn->codec->on_timeout(conn);
		} else if (kernel_moved(conn)) {
			conn->write_until_ms = now + conn->server->limits.write_idle_ms;
		} else {
			rl_conn_fail(conn, RL_ERR_TIMEOUT);
		}
	}
	if (conn->state != RL_CONN_CLOSED)
		arm(conn);
}

/* ---- connections: output ---- */

static void update_want(struct rl_conn *conn)
{
	bool read = conn->state == RL_CONN_OPEN && !(conn->blocked && rl_conn_held(conn));

	if (conn->transport)
		rl_transport_want(conn->transport, read, rl_conn_queued(conn) > 0 || conn->shut_due);
}

static void queue(struct rl_conn *conn, const struct iovec *iov, int n, size_t skip)
{
	if (conn->out_at && conn->out_at >= conn->out.n / 2) {
		rl_buf_consume(&conn->out, conn->out_at);
		conn->out_at = 0;
	}
	for (int i = 0; i < n; i++) {
		rl_str part = rl_str_make(iov[i].iov_base, iov[i].iov_len);
		size_t cut = skip < part.n ? skip : part.n;
		skip -= cut;
		rl_buf_add(&conn->out, rl_str_sub(part, cut, SIZE_MAX));
	}
}

void rl_conn_send(struct rl_conn *conn, const struct iovec *iov, int n)
{
	size_t total = 0, taken = 0;
	enum rl_err err = RL_OK;

	if (conn->state != RL_CONN_OPEN)
		return;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	bool first = !rl_conn_queued(conn);

	if (first)
		taken = rl_transport_write(conn->transport, iov, n, &err);
	if (taken == total)
		return;
	if (err != RL_OK && err != RL_ERR_AGAIN) {
		rl_conn_fail(conn, err);
		return;
	}
	queue(conn, iov, n, taken);
	if (!rl_buf_ok(&conn->out)) {
		rl_conn_fail(conn, RL_ERR_LIMIT);
		return;
	}
	if (first || taken) {
		note_write(conn);
		update_want(conn);
		arm(conn);
	}
}

void rl_conn_finish(struct rl_conn *conn, uint64_t ms, bool reset)
{
	assert(conn->state == RL_CONN_OPEN);
	conn->state = RL_CONN_FLUSHING;
	conn->reset = reset;
	if (!rl_conn_queued(conn) || !ms) {
		conn_close(conn, reset);
		return;
	}
	rl_conn_wait(conn, ms);
	update_want(conn);
}

void rl_conn_refusal(struct rl_conn *conn, struct rl_xchg *x, uint16_t status, const char *text, struct rl_buf *body,
		     rl_str *type)
{
	struct rl_server *server = conn->server;

	*type = RL_STR("text/plain");
	if (x && server->ops->on_bad_body)
		server->ops->on_bad_body(&x->pub, status, text, body, type);
	else
		server->ops->on_bad_request(server->service, &conn->peer, status, text, body, type);
}

static void refusal(struct rl_conn *conn, uint16_t status, const char *text, struct rl_buf *answer)
{
	struct rl_server *server = conn->server;
	struct rl_buf body;
	rl_str type;

	rl_buf_init(&body, RL_REFUSAL_MAX_BYTES);
	rl_conn_refusal(conn, conn->x, status, text, &body, &type);
	rl_buf_printf(answer, "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %.*s\r\nContent-Length: %zu\r\n%s",
		      (unsigned)status, rl_status_text(status), rl_server_date(server), RL_STR_ARG(type), body.n,
		      status == 405 ? "Allow: " RL_ALLOW "\r\n" : "");
	rl_buf_add(answer, server->always_text);
	if (conn->secure)
		rl_buf_add(answer, server->hsts_text);
	rl_buf_add(answer, RL_STR("Connection: close\r\n\r\n"));
	rl_buf_add(answer, rl_buf_str(&body));
	rl_buf_fini(&body);
}

void rl_conn_refuse(struct rl_conn *conn, uint16_t status, const char *text, enum rl_err reason)
{
	struct rl_buf answer;

	if (conn->state != RL_CONN_OPEN)
		return;
	if (conn->x && (conn->x->started || conn->x->raw)) {
		rl_conn_fail(conn, reason);
		return;
	}
	rl_buf_init(&answer, 2 * RL_REFUSAL_MAX_BYTES);
	refusal(conn, status, text, &answer);

	struct iovec iov = {.iov_base = answer.p, .iov_len = answer.n};

	if (rl_buf_ok(&answer))
		rl_conn_send(conn, &iov, 1);
	rl_buf_fini(&answer);
	if (conn->x) {
		conn->gone = reason;
		rl_loop_defer(conn->server->loop, &conn->task);
	}
	if (conn->state == RL_CONN_OPEN)
		rl_conn_finish(conn, RL_ABORT_FLUSH_MS, false);
}

/* ---- connections: input ---- */

/* Gives the codec what is kept and `fresh`, keeps what it leaves. */
static void input(struct rl_conn *conn, rl_str fresh)
{
	bool kept = rl_conn_held(conn) > 0;
	rl_str in = fresh;

	if (kept) {
		if (fresh.n && conn->in_at) {
			rl_buf_consume(&conn->in, conn->in_at);
			conn->in_at = 0;
		}
		rl_buf_add(&conn->in, fresh);
		if (!rl_buf_ok(&conn->in)) {
			rl_conn_fail(conn, RL_ERR_LIMIT);
			return;
		}
		in = rl_str_sub(rl_buf_str(&conn->in), conn->in_at, SIZE_MAX);
	}
	size_t given = in.n;

	conn->busy = true;
	conn->blocked = false;
	conn->codec->on_input(conn, &in);
	conn->busy = false;
	if (conn->state != RL_CONN_OPEN)
		return; /* what is kept goes with the connection */
	if (kept)
		conn->in_at += given - in.n;
	else if (in.n)
		rl_buf_add(&conn->in, in);
	if (!rl_buf_ok(&conn->in)) {
		rl_conn_fail(conn, RL_ERR_NOMEM);
		return;
	}
	if (!rl_conn_held(conn) && conn->in.p) {
		rl_buf_fini(&conn->in);
		conn->in_at = 0;
	}
	update_want(conn);
}

void rl_conn_wake(struct rl_conn *conn)
{
	conn->blocked = false;
	if (!conn->busy && conn->state == RL_CONN_OPEN)
		rl_loop_defer(conn->server->loop, &conn->task);
}

/* The client has gone, or half of it: who only waits for the end of an answer that is complete still gets it. */
static void hangup(struct rl_conn *conn, enum rl_err reason)
{
	struct rl_xchg *x = conn->x;

	if (reason == RL_ERR_EOF && x && x->tunnel)
		conn->server->ops->on_body_end(&x->pub);
	else if (reason == RL_ERR_EOF && !x && rl_conn_queued(conn))
		rl_conn_finish(conn, conn->server->limits.write_idle_ms, false);
	else
		rl_conn_fail(conn, reason);
}

/* Where the next read goes: the loop's scratch, or to the place of a body's next bytes, so that they are copied once. */
static char *read_to(struct rl_conn *conn, size_t *room)
{
	const struct rl_xchg *x = conn->x;
	uint64_t left = x && x->land && !x->paused && !rl_conn_held(conn) && conn->codec->body_left
				? conn->codec->body_left(conn)
				: 0;

	*room = left && left < LAND_MAX_BYTES ? (size_t)left : left ? LAND_MAX_BYTES : RL_LOOP_SCRATCH_BYTES;
	return left ? x->land : rl_loop_scratch(conn->server->loop);
}

static void read_some(struct rl_conn *conn)
{
	enum rl_err err = RL_OK;
	size_t room;

	if (conn->blocked && rl_conn_held(conn)) {
		update_want(conn);
		return;
	}
	char *into = read_to(conn, &room);
	size_t n = rl_transport_read(conn->transport, into, room, &err);

	if (n)
		input(conn, rl_str_make(into, n));
	else if (err != RL_OK && err != RL_ERR_AGAIN)
		hangup(conn, err);
}

static void write_some(struct rl_conn *conn)
{
	enum rl_err err = RL_OK;

	if (!rl_conn_queued(conn)) {
		if (conn->shut_due)
			shut(conn);
		update_want(conn);
		return;
	}
	struct iovec iov = {.iov_base = conn->out.p + conn->out_at, .iov_len = rl_conn_queued(conn)};
	size_t n = rl_transport_write(conn->transport, &iov, 1, &err);

	if (!n && err != RL_OK && err != RL_ERR_AGAIN) {
		rl_conn_fail(conn, err);
		return;
	}
	conn->out_at += n;
	if (n)
		note_write(conn);
	if (!rl_conn_queued(conn)) {
		rl_buf_reset(&conn->out);
		conn->out_at = 0;
		if (!conn->x)
			rl_buf_fini(&conn->out);
		if (conn->state == RL_CONN_FLUSHING) {
			conn_close(conn, conn->reset);
			return;
		}
		if (conn->shut_due)
			shut(conn);
		update_want(conn);
		/* The next request waits until the answer before it is out. */
		if (!conn->x && rl_conn_held(conn))
			rl_conn_wake(conn);
	}
	conn->codec->on_sent(conn);
}

/*
 * Without an exchange what was sent before the FIN is still read. The transport says HANGUP but once, and reading may be
 * off when the exchange begins (a pipelined request behind it): so it is remembered. A tunnel's other direction goes on,
 * and what was sent before the FIN is read when its owner takes it.
 */
static void heed_hangup(struct rl_conn *conn)
{
	if (!conn->hung || conn->state != RL_CONN_OPEN || !conn->x)
		return;
	if (!conn->x->tunnel)
		rl_conn_fail(conn, RL_ERR_EOF);
	else if (rl_transport_is_reset(conn->transport))
		rl_conn_fail(conn, RL_ERR_RESET);
}

/* Over TLS the two have agreed on a protocol by now (ALPN, RFC 9113 §3.2). */
static void ready(struct rl_conn *conn)
{
	if (conn->secure && conn->server->limits.http2.enabled &&
	    rl_str_eq(rl_transport_alpn(conn->transport), RL_STR("h2"))) {
		conn->codec = &rl_h2_server_codec;
		conn->codec->init(conn);
	}
	update_want(conn);
}

static void on_event(void *owner, struct rl_transport *transport, unsigned events)
{
	struct rl_conn *conn = owner;

	assert(conn->transport == transport && conn->state != RL_CONN_CLOSED);
	if (events & RL_EV_FAILED) {
		tell_handshake(conn);
		rl_conn_fail(conn, rl_transport_reason(transport));
		return;
	}
	if (events & RL_EV_READY) {
		if (rl_transport_peer(transport))
			conn->peer = *rl_transport_peer(transport);
		ready(conn);
		if (conn->state == RL_CONN_CLOSED)
			return;
	}
	if (events & RL_EV_WRITE)
		write_some(conn);
	if ((events & RL_EV_READ) && conn->state == RL_CONN_OPEN)
		read_some(conn);
	conn->hung |= (events & RL_EV_HANGUP) != 0;
	heed_hangup(conn);
}

static struct rl_xchg *not_told(const struct rl_conn *conn)
{
	struct rl_xchg *x = conn->x;

	while (x && x->gone_told)
		x = x->next;
	return x;
}

/* From the beginning each time: a callback may end any exchange. */
static void tell_gone(struct rl_conn *conn)
{
	struct rl_xchg *x;

	while ((x = not_told(conn))) {
		x->gone_told = true;
		conn->server->ops->on_gone(&x->pub, conn->gone);
	}
}

/* The end of a turn in which something was left to do. */
static void kick(struct rl_task *task)
{
	struct rl_conn *conn = (struct rl_conn *)((char *)task - offsetof(struct rl_conn, task));

	if (conn->gone != RL_OK)
		tell_gone(conn);
	if (conn->state == RL_CONN_OPEN && !conn->blocked) {
		input(conn, (rl_str){NULL, 0});
		heed_hangup(conn);
	}
	if (conn->state == RL_CONN_CLOSED && !conn->x) {
		rl_loop_undefer(conn->server->loop, task);
		conn_free(conn);
	}
}
