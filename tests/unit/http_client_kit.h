/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the tests of the client: providers that play a script (a thread for each
 * connection, with blocking sockets, so that every byte and every end comes exactly
 * as written; see play()), and callers that note what happens to their call, on loops
 * of the test.
 */
#ifndef RL_TESTS_NET_CLIENT_KIT_H
#define RL_TESTS_NET_CLIENT_KIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "http/client.h"

/* ---- the provider ---- */

enum step_kind { STEP_END = 0, READ, READ_HEAD, SKIP, SAY, SAY_EACH, REPEAT, WAIT_MS, FIN, CLOSE, RESET, AWAIT_EOF };

struct step {
	enum step_kind kind;
	const char *text; /* SAY, SAY_EACH, REPEAT */
	size_t n;         /* length of text (0: strlen), milliseconds, bytes to skip, or how often */
};

#define CONNS_MAX 256

struct provider {
	int fd;
	uint16_t port;
	pthread_t acceptor, players[CONNS_MAX];
	const struct step *scripts[CONNS_MAX]; /* for each connection in order; the last one for all that follow */
	int n_scripts;
	atomic_int accepted, requests;
	_Atomic uint64_t eof_us; /* when AWAIT_EOF saw the end */
	atomic_bool eof_seen;
	char seen[65536]; /* the last request, head and body */
	size_t n_seen;
	pthread_mutex_t lock;
};

struct player {
	struct provider *provider;
	int fd, index;
};

/* Reads one request (or its head); false at the connection's end. */
static inline bool read_request(struct provider *p, int fd, bool head_only)
{
	char text[65536];
	size_t n = 0, want = SIZE_MAX;

	while (n < want) {
		ssize_t got = recv(fd, text + n, want == SIZE_MAX ? 1 : want - n, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
		assert(n < sizeof text);
		text[n] = '\0';
		if (want == SIZE_MAX && n >= 4 && memcmp(text + n - 4, "\r\n\r\n", 4) == 0) {
			const char *length = strstr(text, "content-length: ");
			size_t body = length && !head_only ? (size_t)strtoul(length + 16, NULL, 10) : 0;

			want = n + body;
		}
	}
	pthread_mutex_lock(&p->lock);
	memcpy(p->seen, text, n);
	p->seen[n] = '\0';
	p->n_seen = n;
	pthread_mutex_unlock(&p->lock);
	atomic_fetch_add(&p->requests, 1);
	return true;
}

static inline bool say(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		text += sent;
		n -= (size_t)sent;
	}
	return true;
}

static inline void read_past(int fd, size_t n)
{
	char c[65536];
	ssize_t got;

	for (; n && (got = recv(fd, c, n < sizeof c ? n : sizeof c, 0)) > 0; n -= (size_t)got)
		;
}

static inline void sleep_ms(unsigned ms)
{
	poll(NULL, 0, (int)ms);
}

static inline void await_eof(struct provider *p, int fd)
{
	char c[4096];

	while (recv(fd, c, sizeof c, 0) > 0)
		;
	atomic_store(&p->eof_us, rl_clock_us());
	atomic_store(&p->eof_seen, true);
}

static inline void *play(void *arg)
{
	struct player player = *(struct player *)arg;
	struct provider *p = player.provider;
	int which = player.index < p->n_scripts ? player.index : p->n_scripts - 1;
	struct linger hard = {1, 0};

	free(arg);
	for (const struct step *step = p->scripts[which]; step->kind != STEP_END; step++) {
		size_t n = step->text ? (step->n ? step->n : strlen(step->text)) : step->n;

		switch (step->kind) {
		case READ:
		case READ_HEAD:
			if (!read_request(p, player.fd, step->kind == READ_HEAD))
				goto out;
			break;
		case SAY:
			say(player.fd, step->text, n);
			break;
		case SAY_EACH: /* a byte a segment, nearly */
			for (size_t i = 0; i < n; i++) {
				say(player.fd, step->text + i, 1);
				if (i % 8 == 0)
					sleep_ms(1);
			}
			break;
		case REPEAT:
			for (size_t i = 0; i < step->n && say(player.fd, step->text, strlen(step->text)); i++)
				;
			break;
		case SKIP:
			read_past(player.fd, n);
			break;
		case WAIT_MS:
			sleep_ms((unsigned)n);
			break;
		case FIN: /* unlike CLOSE, this loses nothing when the client has said something since */
			shutdown(player.fd, SHUT_WR);
			break;
		case RESET:
			setsockopt(player.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
			goto out;
		case AWAIT_EOF:
			await_eof(p, player.fd);
			break;
		case CLOSE:
		case STEP_END:
			goto out;
		}
	}
out:
	close(player.fd);
	return NULL;
}

static inline void *accept_all(void *arg)
{
	struct provider *p = arg;
	int one = 1;

	for (;;) {
		int fd = accept(p->fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
		struct player *player = calloc(1, sizeof *player);

		int index = atomic_fetch_add(&p->accepted, 1);

		assert(index < CONNS_MAX);
		*player = (struct player){p, fd, index};
		pthread_create(&p->players[index], NULL, play, player);
	}
}

static inline struct provider *provider_open(int n, const struct step *const *scripts)
{
	struct provider *p = calloc(1, sizeof *p);
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof sa;

	p->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(p->fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(p->fd, 128), 0);
	getsockname(p->fd, (struct sockaddr *)&sa, &len);
	p->port = ntohs(sa.sin_port);
	for (int i = 0; i < n; i++)
		p->scripts[i] = scripts[i];
	p->n_scripts = n;
	pthread_mutex_init(&p->lock, NULL);
	pthread_create(&p->acceptor, NULL, accept_all, p);
	return p;
}

static inline void provider_close(struct provider *p)
{
	shutdown(p->fd, SHUT_RDWR);
	pthread_join(p->acceptor, NULL);
	close(p->fd);
	for (int i = 0; i < atomic_load(&p->accepted); i++)
		pthread_join(p->players[i], NULL);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- the caller ---- */

enum end { END_NONE = 0, END_OK, END_FAIL };
enum when { WHEN_NEVER = 0, WHEN_HEAD, WHEN_BODY, WHEN_READ_END, WHEN_TIMER, WHEN_SHUT };

struct bench {
	struct rl_loop *loop;
	struct rl_pool *pool;
	struct rl_origin *origin;
	int running;
	struct rl_timer watchdog;
	bool late;
};

struct caller {
	struct bench *bench;
	struct rl_call *call;
	enum end end;
	enum rl_err reason;
	char detail[128];
	uint16_t status;
	int64_t content_length;
	struct rl_buf body;
	int heads, pieces, read_ends, shuts;
	char marker[64], encoding[32], type[64];
	bool reused, sent, begun;
	uint64_t ended_us;
	/* What it does. */
	enum when cancel, pause;
	uint64_t timer_ms;
	bool pause_each; /* at every piece, for a moment */
	bool paused;
	struct rl_timer timer;
	void (*at_end)(struct caller *); /* called from on_end */
	struct caller *then;             /* started from on_end */
	const rl_str *give;              /* pieces of a streamed body */
	size_t n_give, given;
	bool stays, room; /* a tunnel: none of them is the last; more could be given */
	const struct rl_call_spec *then_spec;
	uint64_t cancelled_us, paused_us;
};

static inline void start(struct caller *c, struct bench *b, const struct rl_call_spec *spec);

static inline void one_done(struct caller *c)
{
	c->ended_us = rl_clock_us();
	rl_timer_stop(&c->timer);
	if (--c->bench->running == 0)
		rl_loop_stop(c->bench->loop);
}

static inline void cancel(struct caller *c)
{
	c->cancelled_us = rl_clock_us();
	rl_call_cancel(c->call);
	rl_call_cancel(NULL);
	one_done(c);
}

static inline void copy_header(char *out, size_t max, const struct rl_response_head *head, const char *name)
{
	const struct rl_header *header = rl_headers_find(&head->headers, rl_str_of(name));

	snprintf(out, max, "%.*s", header ? (int)header->value.n : 0, header ? header->value.p : "");
}

static inline void pause_now(struct caller *c)
{
	c->paused = true;
	c->paused_us = rl_clock_us();
	rl_call_pause(c->call);
	rl_timer_start(c->bench->loop, &c->timer, c->timer_ms ? c->timer_ms : 1);
}

static inline void on_head(struct rl_call *call, const struct rl_response_head *head)
{
	struct caller *c = call->owner;

	assert_int_equal(c->end, END_NONE);
	c->heads++;
	c->status = head->status;
	c->content_length = head->content_length;
	copy_header(c->marker, sizeof c->marker, head, "x-marker");
	copy_header(c->encoding, sizeof c->encoding, head, "content-encoding");
	copy_header(c->type, sizeof c->type, head, "content-type");
	if (c->cancel == WHEN_HEAD)
		cancel(c);
	else if (c->pause == WHEN_HEAD)
		pause_now(c);
}

static inline void on_body(struct rl_call *call, rl_str piece)
{
	struct caller *c = call->owner;

	assert_int_equal(c->end, END_NONE);
	assert_int_equal(c->heads, 1);
	assert_false(c->paused);
	assert_true(piece.n > 0);
	rl_buf_add(&c->body, piece);
	c->pieces++;
	if (c->cancel == WHEN_BODY)
		cancel(c);
	else if (c->pause == WHEN_BODY && (c->pause_each || c->pieces == 1))
		pause_now(c);
}

static inline void on_read_end(struct rl_call *call)
{
	struct caller *c = call->owner;

	assert_int_equal(c->end, END_NONE);
	c->read_ends++;
	if (c->cancel == WHEN_READ_END)
		cancel(c);
}

static inline void remember(struct caller *c, struct rl_call *call)
{
	assert_int_equal(c->end, END_NONE);
	assert_ptr_equal(c->call, call);
	c->reused = call->reused;
	c->sent = call->sent;
	c->begun = call->body_begun;
}

static inline void on_end(struct rl_call *call)
{
	struct caller *c = call->owner;

	remember(c, call);
	c->end = END_OK;
	assert_true(call->start_us && call->connected_us && call->head_us);
	assert_true(call->peer.len > 0);
	if (c->at_end)
		c->at_end(c);
	if (c->then)
		start(c->then, c->bench, c->then_spec);
	one_done(c);
}

static inline void on_fail(struct rl_call *call, enum rl_err reason)
{
	struct caller *c = call->owner;

	remember(c, call);
	c->end = END_FAIL;
	c->reason = reason;
	assert_non_null(call->detail);
	snprintf(c->detail, sizeof c->detail, "%s", call->detail);
	one_done(c);
}

/* The next piece of a streamed body. */
static inline void on_drain(struct rl_call *call)
{
	struct caller *c = call->owner;

	assert_int_equal(c->end, END_NONE);
	assert_true(c->stays ? !c->room : c->given < c->n_give);
	c->room = c->given == c->n_give;
	if (c->room)
		return;
	c->given++;
	rl_call_write(call, c->give[c->given - 1], !c->stays && c->given == c->n_give);
}

/* The other side of a tunnel has ended. */
static inline void on_shut(struct rl_call *call)
{
	struct caller *c = call->owner;

	assert_int_equal(c->end, END_NONE);
	assert_int_equal(c->shuts, 0);
	c->shuts++;
	if (c->cancel == WHEN_SHUT)
		cancel(c);
	else if (c->room)
		rl_call_write(call, RL_STR("bye"), true);
}

static const struct rl_call_ops ops = {"test", on_head, on_body, on_read_end, on_end, on_fail, on_drain, on_shut};

static inline void on_caller_timer(struct rl_timer *timer)
{
	struct caller *c = (struct caller *)((char *)timer - offsetof(struct caller, timer));

	if (c->paused) {
		c->paused = false;
		rl_call_resume(c->call);
	} else if (c->cancel == WHEN_TIMER) {
		cancel(c);
	}
}

static inline void on_watchdog(struct rl_timer *timer)
{
	struct bench *b = (struct bench *)((char *)timer - offsetof(struct bench, watchdog));

	b->late = true;
	rl_loop_stop(b->loop);
}

static inline struct rl_origin *origin_for(uint16_t port, uint32_t max_connections, uint32_t max_idle)
{
	struct rl_origin_spec spec = {.host = RL_STR("127.0.0.1"),
				      .port = port,
				      .max_connections = max_connections,
				      .max_idle = max_idle,
				      .idle_ms = 60000};
	struct rl_origin *origin = NULL;
	const char *why;

	assert_int_equal(rl_origin_new(&spec, &origin, &why), RL_OK);
	return origin;
}

static inline void bench_open(struct bench *b, struct rl_origin *origin)
{
	memset(b, 0, sizeof *b);
	assert_int_equal(rl_loop_new("test", &b->loop), RL_OK);
	assert_int_equal(rl_pool_new(b->loop, &b->pool), RL_OK);
	b->origin = origin;
	rl_timer_init(&b->watchdog, on_watchdog);
}

/* Runs until all calls have ended. */
static inline void run(struct bench *b)
{
	rl_timer_start(b->loop, &b->watchdog, 15000);
	rl_loop_run(b->loop);
	rl_timer_stop(&b->watchdog);
	assert_false(b->late);
	assert_int_equal(b->running, 0);
}

/* Runs for a while. */
static inline void linger(struct bench *b, uint64_t ms)
{
	rl_timer_start(b->loop, &b->watchdog, ms);
	rl_loop_run(b->loop);
	rl_timer_stop(&b->watchdog);
	b->late = false;
}

static inline void bench_close(struct bench *b)
{
	struct rl_origin *origin = b->origin;

	rl_pool_free(b->pool);
	assert_int_equal(rl_origin_connections(origin), 0);
	rl_origin_unref(origin);
	rl_loop_free(b->loop);
}

static const rl_str hello[] = {RL_STR_INIT("{\"a\":"), RL_STR_INIT("1}")};

static inline struct rl_call_spec post(struct bench *b)
{
	return (struct rl_call_spec){.origin = b->origin,
				     .method = RL_METHOD_POST,
				     .path = RL_STR("/v1/x?y=1"),
				     .body = hello,
				     .n_body = 2,
				     .replayable = true,
				     .times = {2000, 2000, 2000, 2000}};
}

static inline void caller_init(struct caller *c)
{
	memset(c, 0, sizeof *c);
	rl_buf_init(&c->body, 64u << 20);
}

static inline void start(struct caller *c, struct bench *b, const struct rl_call_spec *spec)
{
	c->bench = b;
	if (!c->timer.fire)
		rl_timer_init(&c->timer, on_caller_timer);
	assert_int_equal(rl_call_start(b->pool, spec, &ops, c, &c->call), RL_OK);
	assert_int_equal(c->end, END_NONE);
	assert_int_equal(c->heads, 0);
	b->running++;
	if (c->cancel == WHEN_TIMER)
		rl_timer_start(b->loop, &c->timer, c->timer_ms);
}

static inline void caller_fini(struct caller *c)
{
	rl_buf_fini(&c->body);
}

static inline void assert_body(const struct caller *c, const char *text)
{
	assert_int_equal(c->body.n, strlen(text));
	assert_memory_equal(c->body.p, text, strlen(text));
}

/* One call to a provider with one script; the caller's wishes are in *c. */
static inline void once(struct caller *c, const struct step *script, void (*change)(struct rl_call_spec *))
{
	struct provider *p = provider_open(1, &script);
	struct bench b;

	bench_open(&b, origin_for(p->port, 0, 32));
	struct rl_call_spec spec = post(&b);

	if (change)
		change(&spec);
	start(c, &b, &spec);
	run(&b);
	bench_close(&b);
	provider_close(p);
}

#define OK_2 "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#define H "HTTP/1.1 200 OK\r\n"
#define CHUNKED H "transfer-encoding: chunked\r\n\r\n"

#endif
