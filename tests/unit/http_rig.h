/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server over real sockets for tests: the loop runs in the test's thread with a small service, a client speaks raw
 * bytes from a second one and notes what is wrong (CHECK); the test's thread then asserts that nothing was.
 */
#ifndef RL_TESTS_NET_RIG_H
#define RL_TESTS_NET_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http/server.h"

#define BYE "GET /bye HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define HUGE_TIME_MS 60000u

struct rig {
	struct rl_loop *loop;
	struct rl_server *server;
	struct rl_server_limits limits;
	void (*client)(struct rig *rig);
	unsigned connections; /* dialled */
	/* The loop's thread writes these; the client looks at them when it knows that nothing moves. */
	atomic_uint requests, gone, drained, refused, closed, ended;
	atomic_int reason;
	atomic_size_t queued_max, landed;
	atomic_uint failures;
};

#define CHECK(rig, cond)                                          \
	do {                                                      \
		if (!(cond)) {                                    \
			printf("line %d: %s\n", __LINE__, #cond); \
			atomic_fetch_add(&(rig)->failures, 1);    \
		}                                                 \
	} while (0)

/* ---- the service ---- */

struct visit {
	struct rl_exchange *x;
	struct rig *rig;
	struct rl_buf body;
	struct rl_timer timer;
	size_t left; /* of what /stream still has to send */
	unsigned paused;
};

static inline void reply(struct visit *v, uint16_t status, rl_str body)
{
	struct rl_response_head head = {.status = status};

	assert_int_equal(rl_headers_add(&head.headers, &v->x->arena, RL_H_CONTENT_TYPE, RL_STR(""),
					RL_STR("text/plain")),
			 RL_OK);
	assert_int_equal(rl_headers_add(&head.headers, &v->x->arena, RL_H_OTHER, RL_STR("x-evil"),
					RL_STR("a\r\nSet-Cookie: b")),
			 RL_OK);
	rl_timer_stop(&v->timer);
	atomic_fetch_add(&v->rig->ended, 1);
	rl_exchange_reply(v->x, &head, &body, 1);
	rl_buf_fini(&v->body);
	free(v);
}

static inline void stream_on(struct visit *v)
{
	static char block[4096];

	memset(block, ' ', sizeof block);
	memcpy(block, "block", 5);

	while (v->left && !rl_exchange_full(v->x)) {
		rl_str parts[2] = {rl_str_make(block, 1000), rl_str_make(block, sizeof block - 1000)};
		rl_exchange_write(v->x, parts, 2);
		v->left -= sizeof block;
	}
	if (v->left)
		return;
	atomic_fetch_add(&v->rig->ended, 1);
	rl_exchange_end(v->x);
	rl_buf_fini(&v->body);
	free(v);
}

/* A long answer whose request is needed no more. */
static inline void forget(struct visit *v)
{
	struct rl_response_head head = {.status = 200, .content_length = -1};
	rl_str part = RL_STR("no more of it");

	rl_exchange_start(v->x, &head);
	rl_exchange_forget(v->x);
	assert_true(v->x->arena.used_bytes > 0 && v->x->head.path.n > 0);
	for (unsigned i = 0; i < 2; i++) {
		rl_exchange_write(v->x, &part, 1);
		assert_true(v->x->arena.used_bytes == 0 && v->x->head.path.n == 0 && v->x->head.headers.n == 0);
	}
	atomic_fetch_add(&v->rig->ended, 1);
	rl_exchange_end(v->x);
	rl_buf_fini(&v->body);
	free(v);
}

static inline void on_timer(struct rl_timer *timer)
{
	struct visit *v = (struct visit *)((char *)timer - offsetof(struct visit, timer));

	if (rl_str_eq(v->x->head.path, RL_STR("/pause")) || rl_str_eq(v->x->head.path, RL_STR("/land")))
		rl_exchange_resume(v->x);
	else
		reply(v, 200, RL_STR("late"));
}

static inline void on_request(struct rl_exchange *x, void *service)
{
	struct rig *rig = service;
	struct visit *v = calloc(1, sizeof *v);
	struct rl_response_head head = {.status = 200, .content_length = -1};

	atomic_fetch_add(&rig->requests, 1);
	assert_non_null(v);
	*v = (struct visit){.x = x, .rig = rig};
	x->owner = v;
	rl_buf_init(&v->body, 64 << 20);
	rl_timer_init(&v->timer, on_timer);
	if (rl_str_eq(x->head.path, RL_STR("/early"))) {
		reply(v, 413, RL_STR("early"));
	} else if (rl_str_eq(x->head.path, RL_STR("/late"))) {
		rl_timer_start(rig->loop, &v->timer, 10);
	} else if (rl_str_eq(x->head.path, RL_STR("/stream"))) {
		v->left = (size_t)strtoul(x->head.query.p, NULL, 10) * 4096u;
		rl_exchange_start(x, &head);
		rl_exchange_flush(x);
		stream_on(v);
	} else if (rl_str_eq(x->head.path, RL_STR("/cut"))) {
		rl_str part = RL_STR("half an ans");
		rl_exchange_start(x, &head);
		rl_exchange_write(x, &part, 1);
		rl_exchange_abort(x, false);
		free(v);
	} else if (rl_str_eq(x->head.path, RL_STR("/raw"))) {
		rl_exchange_raw(x, RL_STR("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nraw"));
		rl_exchange_abort(x, false);
		free(v);
	} else if (rl_str_eq(x->head.path, RL_STR("/expect"))) {
		rl_exchange_continue(x);
	}
}

/* Of a body that is to be read to its place at once. */
static inline void take_landed(struct visit *v, rl_str piece)
{
	size_t whole = (size_t)v->x->head.content_length;

	if (!v->body.n)
		assert_non_null(rl_buf_reserve(&v->body, whole));
	char *place = v->body.p + v->body.n;

	if (piece.p == place)
		atomic_fetch_add(&v->rig->landed, piece.n);
	else
		memcpy(place, piece.p, piece.n);
	v->body.n += piece.n;
	if (v->body.n < whole)
		rl_exchange_land(v->x, place + piece.n);
}

static inline void on_body(struct rl_exchange *x, rl_str piece)
{
	struct visit *v = x->owner;

	bool land = rl_str_eq(x->head.path, RL_STR("/land"));

	if (land)
		take_landed(v, piece);
	else
		rl_buf_add(&v->body, piece);
	assert_int_equal(x->bytes_in, v->body.n);
	if ((land || rl_str_eq(x->head.path, RL_STR("/pause"))) && v->paused++ < 3) {
		rl_exchange_pause(x);
		rl_timer_start(v->rig->loop, &v->timer, 10);
	}
}

static inline void on_body_end(struct rl_exchange *x)
{
	struct visit *v = x->owner;
	rl_str path = x->head.path;

	if (rl_str_eq(path, RL_STR("/late")) || rl_str_eq(path, RL_STR("/hold")) || rl_str_eq(path, RL_STR("/stream")))
		return;
	if (rl_str_eq(path, RL_STR("/host")))
		reply(v, 200, rl_arena_dup(&x->arena, x->head.authority));
	else if (rl_str_eq(path, RL_STR("/bye")))
		reply(v, 200, RL_STR("bye"));
	else if (rl_str_eq(path, RL_STR("/forget")))
		forget(v);
	else if (rl_str_eq(path, RL_STR("/none")))
		reply(v, 204, RL_STR(""));
	else
		reply(v, 200, rl_buf_str(&v->body));
}

static inline void on_drain(struct rl_exchange *x)
{
	struct visit *v = x->owner;

	atomic_fetch_add(&v->rig->drained, 1);
	stream_on(v);
}

static inline void on_gone(struct rl_exchange *x, enum rl_err reason)
{
	struct visit *v = x->owner;

	atomic_fetch_add(&v->rig->gone, 1);
	atomic_store(&v->rig->reason, reason);
	rl_timer_stop(&v->timer);
	rl_exchange_abort(x, false);
	rl_buf_fini(&v->body);
	free(v);
}

static inline void on_bad_request(void *service, const struct rl_addr *peer, uint16_t status, const char *text,
				  struct rl_buf *body, rl_str *content_type)
{
	struct rig *rig = service;

	(void)peer;
	atomic_fetch_add(&rig->refused, 1);
	rl_buf_printf(body, "%u %s", (unsigned)status, text);
	*content_type = RL_STR("text/plain");
}

static const struct rl_exchange_ops service = {
	.name = "test",
	.on_request = on_request,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_gone = on_gone,
	.on_bad_request = on_bad_request,
};

/* ---- the loop's side ---- */

static inline void on_close(void *arg)
{
	struct rig *rig = arg;

	atomic_fetch_add(&rig->closed, 1);
}

struct order {
	struct rl_mail mail;
	struct rig *rig;
	int fd;
	void (*what)(struct rl_server *server);
};

static inline void obey(struct rl_mail *mail, struct rl_loop *loop)
{
	struct order *order = (struct order *)mail;
	struct rl_addr nobody = {.len = 0};

	if (order->fd >= 0)
		rl_server_accept(order->rig->server, &(struct rl_arrival){.fd = order->fd, .peer = nobody}, on_close,
				 order->rig);
	else if (order->what)
		order->what(order->rig->server);
	else
		rl_loop_stop(loop);
	free(order);
}

static inline void post(struct rig *rig, int fd, void (*what)(struct rl_server *server))
{
	struct order *order = malloc(sizeof *order);

	*order = (struct order){.mail = {.run = obey}, .rig = rig, .fd = fd, .what = what};
	rl_loop_post(rig->loop, &order->mail);
}

static inline void *client_main(void *arg)
{
	struct rig *rig = arg;

	rig->client(rig);
	/* Whatever is open still: the server must let go of all of it. */
	for (unsigned i = 0; i < 2000 && atomic_load(&rig->closed) < rig->connections; i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	CHECK(rig, atomic_load(&rig->closed) == rig->connections);
	post(rig, -1, rl_server_abort);
	post(rig, -1, NULL);
	return NULL;
}

/* What the loop's thread counted, after it is all over. */
struct totals {
	unsigned requests, gone, refused;
	enum rl_err reason;
};

static inline struct totals run_service(void (*client)(struct rig *), struct rl_server_limits limits,
					const struct rl_exchange_ops *ops)
{
	struct rig rig = {.client = client, .limits = limits};
	pthread_t thread;

	assert_int_equal(rl_loop_new("test", &rig.loop), RL_OK);
	assert_int_equal(rl_server_new(rig.loop, ops, &rig, &limits, &rig.server), RL_OK);
	assert_int_equal(pthread_create(&thread, NULL, client_main, &rig), 0);
	rl_loop_run(rig.loop);
	pthread_join(thread, NULL);
	assert_int_equal(rl_server_connections(rig.server), 0);
	rl_server_free(rig.server);
	rl_loop_free(rig.loop);
	rl_arena_thread_fini();
	assert_int_equal(atomic_load(&rig.failures), 0);
	return (struct totals){
		.requests = atomic_load(&rig.requests),
		.gone = atomic_load(&rig.gone),
		.refused = atomic_load(&rig.refused),
		.reason = (enum rl_err)atomic_load(&rig.reason),
	};
}

static inline struct totals run_limited(void (*client)(struct rig *), struct rl_server_limits limits)
{
	return run_service(client, limits, &service);
}

static const struct rl_server_limits usual = {
	.keepalive_ms = HUGE_TIME_MS,
	.header_ms = HUGE_TIME_MS,
	.body_idle_ms = HUGE_TIME_MS,
	.write_idle_ms = HUGE_TIME_MS,
	.max_header_bytes = 8192,
	.max_headers = 100,
	.high_water_bytes = 65536,
};

static inline struct totals run(void (*client)(struct rig *))
{
	return run_limited(client, usual);
}

/* ---- the client's side ---- */

/* A connection on which `first` has been sent (it must fit the socket), with a FIN behind it, before the server sees it. */
static inline int dial_with(struct rig *rig, rl_str first, bool fin)
{
	int pair[2];
	struct timeval patience = {.tv_sec = 30};

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	rig->connections++;
	if (first.n && send(pair[0], first.p, first.n, MSG_NOSIGNAL) != (ssize_t)first.n)
		abort();
	if (fin)
		shutdown(pair[0], SHUT_WR);
	post(rig, pair[1], NULL);
	return pair[0];
}

static inline int dial(struct rig *rig)
{
	return dial_with(rig, (rl_str){NULL, 0}, false);
}

static inline void say(int fd, rl_str s)
{
	while (s.n) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		s = rl_str_sub(s, (size_t)n, SIZE_MAX);
	}
}

/* Until the server closes; NUL-terminated, freed by the caller. */
static inline char *hear(int fd, size_t *n_out)
{
	size_t n = 0, cap = 1 << 16;
	char *text = malloc(cap + 1);

	for (;;) {
		ssize_t got = recv(fd, text + n, cap - n, 0);
		if (got <= 0)
			break;
		n += (size_t)got;
		if (n == cap)
			text = realloc(text, (cap *= 2) + 1);
	}
	text[n] = '\0';
	if (n_out)
		*n_out = n;
	return text;
}

/* Until `text` has come. */
static inline void hear_until(struct rig *rig, int fd, const char *text)
{
	char got[4096];
	size_t n = 0;

	while (n < sizeof got - 1) {
		ssize_t one = recv(fd, got + n, 1, 0);
		if (one <= 0)
			break;
		got[++n] = '\0';
		if (n >= strlen(text) && memcmp(got + n - strlen(text), text, strlen(text)) == 0)
			return;
	}
	got[n] = '\0';
	printf("waited for '%s', got '%s'\n", text, got);
	atomic_fetch_add(&rig->failures, 1);
}

static inline char *ask(struct rig *rig, rl_str request)
{
	int fd = dial(rig);

	say(fd, request);
	char *answer = hear(fd, NULL);
	close(fd);
	return answer;
}

static inline unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
		n++;
	return n;
}

static inline unsigned status_of(const char *answer)
{
	return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (unsigned)strtoul(answer + 9, NULL, 10) : 0;
}

/* Long enough for a machine that is lent to others for seconds. */
static inline void wait_for(struct rig *rig, atomic_uint *counter, unsigned value)
{
	for (unsigned i = 0; i < 4000 && atomic_load(counter) < value; i++)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	CHECK(rig, atomic_load(counter) == value);
}

#endif
