/* SPDX-License-Identifier: Apache-2.0 */
/* The client: time-outs, cancelling, back-pressure, the cap on connections, decoding. */
#include "http_client_kit.h"

#include <zlib.h>

/* ---- time-outs ---- */

static char *large_body;
static rl_str large[1];
#define LARGE_BYTES (48u << 20)

static void make_large(struct rl_call_spec *spec)
{
	spec->body = large;
	spec->n_body = 1;
	spec->times.send_ms = 150;
}

static void short_times(struct rl_call_spec *spec)
{
	spec->times.first_byte_ms = 150;
	spec->times.idle_ms = 150;
}

/* Above any gap between drips even on a stalled machine, and still below their sum. */
static void patient_times(struct rl_call_spec *spec)
{
	short_times(spec);
	spec->times.idle_ms = 300;
}

static void expect_timeout(const struct step *script, void (*change)(struct rl_call_spec *), const char *detail)
{
	struct caller c;
	uint64_t from = rl_clock_us();

	caller_init(&c);
	once(&c, script, change);
	assert_int_equal(c.end, END_FAIL);
	assert_int_equal(c.reason, RL_ERR_TIMEOUT);
	assert_string_equal(c.detail, detail);
	assert_in_range(c.ended_us - from, 140000, 1500000);
	caller_fini(&c);
}

static void time_runs_out(void **state)
{
	const struct step mute[] = {{READ, NULL, 0}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	const struct step interim[] = {{READ, NULL, 0},
				       {SAY, "HTTP/1.1 100 Continue\r\n\r\n", 0},
				       {AWAIT_EOF, NULL, 0},
				       {STEP_END, NULL, 0}};
	const struct step stalls[] = {{READ, NULL, 0},
				      {SAY, H "content-length: 5\r\n\r\nhe", 0},
				      {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	const struct step deaf[] = {{READ_HEAD, NULL, 0}, {WAIT_MS, NULL, 600}, {CLOSE, NULL, 0}};

	(void)state;
	expect_timeout(mute, short_times, "first_byte");
	expect_timeout(interim, short_times, "first_byte");
	expect_timeout(stalls, short_times, "idle");
	expect_timeout(deaf, make_large, "send");
}

/* Each gap is shorter than the time-out, the whole is longer. */
static void a_slow_stream_is_not_cut(void **state)
{
	const struct step drips[] = {{READ, NULL, 0},     {SAY, H "content-length: 5\r\n\r\nh", 0},
				     {WAIT_MS, NULL, 90}, {SAY, "e", 0},
				     {WAIT_MS, NULL, 90}, {SAY, "l", 0},
				     {WAIT_MS, NULL, 90}, {SAY, "l", 0},
				     {WAIT_MS, NULL, 90}, {SAY, "o", 0},
				     {CLOSE, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	once(&c, drips, patient_times);
	assert_int_equal(c.end, END_OK);
	assert_body(&c, "hello");
	assert_int_equal(c.pieces, 5);
	assert_int_equal(c.read_ends, 5);
	caller_fini(&c);
}

/* The idle time-out rests while the owner has paused, even with nothing to read. */
static void pausing_rests_the_idle_timeout(void **state)
{
	const struct step late[] = {{READ, NULL, 0},
				    {SAY, H "content-length: 5\r\n\r\n", 0},
				    {WAIT_MS, NULL, 450},
				    {SAY, "hello", 0},
				    {CLOSE, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	c.pause = WHEN_HEAD;
	c.timer_ms = 400;
	once(&c, late, short_times);
	assert_int_equal(c.end, END_OK);
	assert_body(&c, "hello");
	caller_fini(&c);
}

/* A TLS handshake that is never answered. */
static struct rl_origin *tls_origin_for(uint16_t port)
{
	struct rl_origin_spec spec = {
		.https = true, .host = RL_STR("127.0.0.1"), .port = port, .max_idle = 32, .idle_ms = 60000};
	struct rl_origin *origin = NULL;
	const char *why = NULL;

	if (rl_origin_new(&spec, &origin, &why) != RL_OK)
		fail_msg("TLS: %s", why);
	return origin;
}

static void connecting_takes_too_long(void **state)
{
	const struct step mute[] = {{AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	const struct step *scripts[] = {mute};
	struct provider *p = provider_open(1, scripts);
	struct bench b;
	struct caller c;

	(void)state;
	bench_open(&b, tls_origin_for(p->port));
	struct rl_call_spec spec = post(&b);

	spec.times.connect_ms = 150;
	caller_init(&c);
	start(&c, &b, &spec);
	run(&b);
	assert_int_equal(c.end, END_FAIL);
	assert_int_equal(c.reason, RL_ERR_TIMEOUT);
	assert_string_equal(c.detail, "connect");
	assert_false(c.begun);
	caller_fini(&c);
	bench_close(&b);
	provider_close(p);
}

/* ---- cancelling ---- */

struct phase {
	const char *name;
	const struct step *script;
	enum when cancel, pause;
	uint64_t timer_ms;
	bool tls;
	void (*change)(struct rl_call_spec *);
};

/* From outside the loop, which must not be told to stop before it runs. */
static void cancel_now(struct caller *c)
{
	c->cancelled_us = rl_clock_us();
	rl_call_cancel(c->call);
	rl_timer_stop(&c->timer);
	c->bench->running--;
}

/* In each phase: the socket is closed within 50 ms, nothing is called afterwards, nothing stays open. */
static void cancelled_in_each_phase(void **state)
{
	static const struct step mute[] = {{READ, NULL, 0}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	static const struct step silent[] = {{AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	static const struct step deaf[] = {{READ_HEAD, NULL, 0},
					   {WAIT_MS, NULL, 130},
					   {AWAIT_EOF, NULL, 0},
					   {STEP_END, NULL, 0}};
	static const struct step endless[] = {{READ, NULL, 0},
					      {SAY, H "\r\n", 0},
					      {REPEAT, "0123456789abcdef", 2000},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
	const struct phase phases[] = {
		{"handshake", silent, WHEN_TIMER, WHEN_NEVER, 60, true, NULL},
		{"sending", deaf, WHEN_TIMER, WHEN_NEVER, 60, false, make_large},
		{"waiting", mute, WHEN_TIMER, WHEN_NEVER, 60, false, NULL},
		{"head", endless, WHEN_HEAD, WHEN_NEVER, 0, false, NULL},
		{"body", endless, WHEN_BODY, WHEN_NEVER, 0, false, NULL},
		{"read end", endless, WHEN_READ_END, WHEN_NEVER, 0, false, NULL},
		{"reading", endless, WHEN_TIMER, WHEN_NEVER, 60, false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
		const struct phase *phase = &phases[i];
		struct provider *p = provider_open(1, &phase->script);
		struct bench b;
		struct caller c;

		bench_open(&b, phase->tls ? tls_origin_for(p->port) : origin_for(p->port, 0, 32));
		struct rl_call_spec spec = post(&b);

		if (phase->change)
			phase->change(&spec);
		caller_init(&c);
		c.cancel = phase->cancel;
		c.timer_ms = phase->timer_ms;
		start(&c, &b, &spec);
		run(&b);
		assert_int_equal(rl_origin_connections(b.origin), 0);
		linger(&b, 100); /* nothing may come */
		assert_int_equal(c.end, END_NONE);
		assert_true(atomic_load(&p->eof_seen));
		if (atomic_load(&p->eof_us) > c.cancelled_us + (phase->change ? 120000 : 50000))
			fail_msg("%s: closed after %llu us", phase->name,
				 (unsigned long long)(atomic_load(&p->eof_us) - c.cancelled_us));
		caller_fini(&c);
		bench_close(&b);
		provider_close(p);
	}
}

static void cancelled_at_once_and_while_paused(void **state)
{
	static const struct step endless[] = {{READ, NULL, 0},
					      {SAY, H "\r\n", 0},
					      {REPEAT, "0123456789abcdef", 200000},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
	const struct step *scripts[] = {endless};
	struct provider *p = provider_open(1, scripts);
	struct bench b;
	struct caller c;

	(void)state;
	bench_open(&b, origin_for(p->port, 0, 32));
	struct rl_call_spec spec = post(&b);

	/* Before anything could happen: while the name is being resolved. */
	caller_init(&c);
	start(&c, &b, &spec);
	cancel_now(&c);
	linger(&b, 30);
	assert_int_equal(rl_origin_connections(b.origin), 0);
	assert_int_equal(atomic_load(&p->accepted), 0);
	caller_fini(&c);

	caller_init(&c);
	c.pause = WHEN_BODY;
	c.timer_ms = 60000;
	start(&c, &b, &spec);
	linger(&b, 60);
	assert_true(c.paused);
	assert_int_equal(c.pieces, 1);
	cancel_now(&c);
	linger(&b, 60);
	assert_in_range((int64_t)(atomic_load(&p->eof_us) - c.cancelled_us), 0, 50000);
	caller_fini(&c);
	bench_close(&b);
	provider_close(p);
}

/* ---- early answers ---- */

static void an_early_answer_is_delivered(void **state)
{
	static const struct step refuses[] = {{READ_HEAD, NULL, 0},
					      {SAY, "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig", 0},
					      {WAIT_MS, NULL, 100},
					      {CLOSE, NULL, 0}};
	static const struct step at_once[] = {{READ_HEAD, NULL, 0},
					      {SAY, "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig", 0},
					      {CLOSE, NULL, 0}};
	const struct step *scripts[] = {refuses, at_once};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct caller c;

		caller_init(&c);
		once(&c, scripts[i], make_large);
		assert_int_equal(c.end, END_OK);
		assert_int_equal(c.status, 413);
		assert_body(&c, "big");
		assert_false(c.sent);
		assert_true(c.begun);
		caller_fini(&c);
	}
}

static void a_large_body_arrives_whole(void **state)
{
	static const struct step counts[] = {{READ_HEAD, NULL, 0},      {SAY, "HTTP/1.1 100 Continue\r\n\r\n", 0},
					     {SKIP, NULL, LARGE_BYTES}, {SAY, OK_2, 0},
					     {AWAIT_EOF, NULL, 0},      {STEP_END, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	once(&c, counts, make_large);
	assert_int_equal(c.end, END_OK);
	assert_true(c.sent);
	caller_fini(&c);
}

/* ---- back-pressure ---- */

#define KIB "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"

static void a_paused_body_waits(void **state)
{
	static const struct step by_length[] = {{READ, NULL, 0},
						{SAY, H "content-length: 10485760\r\n\r\n", 0},
						{REPEAT, KIB, 163840},
						{CLOSE, NULL, 0}};
	static const struct step chunked[] = {{READ, NULL, 0},
					      {SAY, CHUNKED, 0},
					      {REPEAT, "100\r\n" KIB KIB KIB KIB "\r\n", 40960},
					      {SAY, "0\r\n\r\n", 0},
					      {CLOSE, NULL, 0}};
	static const struct step to_close[] = {{READ, NULL, 0},
					       {SAY, H "\r\n", 0},
					       {REPEAT, KIB, 163840},
					       {CLOSE, NULL, 0}};
	const struct step *scripts[] = {by_length, chunked, to_close};

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct caller c;

		caller_init(&c);
		c.pause = WHEN_BODY;
		c.pause_each = i != 1; /* else each chunk of 256 bytes */
		once(&c, scripts[i], NULL);
		assert_int_equal(c.end, END_OK);
		assert_int_equal(c.body.n, 10485760);
		for (size_t at = 0; at < c.body.n; at += 64)
			assert_memory_equal(c.body.p + at, KIB, 64);
		caller_fini(&c);
	}
}

/* While it is paused nothing is read: the provider is stopped by its own full buffers. */
static void a_pause_holds_the_provider_back(void **state)
{
	static const struct step flood[] = {{READ, NULL, 0},
					    {SAY, H "\r\n", 0},
					    {REPEAT, KIB, 500000},
					    {CLOSE, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	c.pause = WHEN_BODY;
	c.timer_ms = 300;
	once(&c, flood, NULL);
	assert_int_equal(c.end, END_OK);
	assert_int_equal(c.body.n, 32000000);
	assert_in_range(c.ended_us - c.paused_us, 290000, 5000000);
	caller_fini(&c);
}

/* All of it, and the end, come while the owner has paused. */
static void a_hangup_while_paused_loses_nothing(void **state)
{
	static const struct step goes[] = {
		{READ, NULL, 0}, {SAY, H "\r\nfirst", 0}, {WAIT_MS, NULL, 30}, {SAY, " second", 0}, {CLOSE, NULL, 0}};
	struct caller c;

	(void)state;
	for (int pause = WHEN_HEAD; pause <= WHEN_BODY; pause++) {
		caller_init(&c);
		c.pause = (enum when)pause;
		c.timer_ms = 120;
		once(&c, goes, NULL);
		assert_int_equal(c.end, END_OK);
		assert_body(&c, "first second");
		caller_fini(&c);
	}
}

/* ---- the cap ---- */

static const struct step slow_ok[] = {
#define ONE                                  \
	{READ, NULL, 0}, {WAIT_MS, NULL, 3}, \
	{                                    \
		SAY, OK_2, 0                 \
	}
#define TEN ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE
	TEN, TEN, TEN, TEN, TEN, TEN, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};

#define EACH_LOOP 25

struct side {
	struct bench bench;
	struct caller callers[EACH_LOOP];
	pthread_t thread;
	uint32_t most;
};

static void *side_run(void *arg)
{
	struct side *side = arg;

	rl_timer_start(side->bench.loop, &side->bench.watchdog, 15000);
	rl_loop_run(side->bench.loop);
	rl_timer_stop(&side->bench.watchdog);
	rl_arena_thread_fini();
	return NULL;
}

/* Many calls of two loops over two connections: all are served, never over more than two at a time. */
static void calls_wait_at_the_cap(void **state)
{
	const struct step *scripts[] = {slow_ok};
	struct provider *p = provider_open(1, scripts);
	struct rl_origin *origin = origin_for(p->port, 2, 2);
	static struct side sides[2];

	(void)state;
	memset(sides, 0, sizeof sides);
	for (int i = 0; i < 2; i++) {
		bench_open(&sides[i].bench, i ? rl_origin_ref(origin) : origin);
		struct rl_call_spec spec = post(&sides[i].bench);

		spec.times.connect_ms = 10000;
		for (int k = 0; k < EACH_LOOP; k++) {
			caller_init(&sides[i].callers[k]);
			start(&sides[i].callers[k], &sides[i].bench, &spec);
			assert_in_range(rl_origin_connections(origin), 1, 2);
		}
	}
	for (int i = 0; i < 2; i++)
		pthread_create(&sides[i].thread, NULL, side_run, &sides[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(sides[i].thread, NULL);
	assert_in_range(rl_origin_connections(origin), 0, 2);
	for (int i = 0; i < 2; i++) {
		assert_false(sides[i].bench.late);
		for (int k = 0; k < EACH_LOOP; k++) {
			assert_int_equal(sides[i].callers[k].end, END_OK);
			caller_fini(&sides[i].callers[k]);
		}
	}
	/* The mail of one loop may still lie in the other's box: both go on until the pools are empty. */
	rl_pool_trim(sides[0].bench.pool, true);
	rl_pool_trim(sides[1].bench.pool, true);
	assert_int_equal(rl_origin_connections(origin), 0);
	rl_pool_free(sides[0].bench.pool);
	rl_pool_free(sides[1].bench.pool);
	rl_origin_unref(origin);
	rl_origin_unref(origin);
	rl_loop_free(sides[0].bench.loop);
	rl_loop_free(sides[1].bench.loop);
	provider_close(p);
}

/* The only connection lies idle on another loop, which gives it up. */
static void an_idle_connection_of_another_loop_is_given_up(void **state)
{
	const struct step *scripts[] = {slow_ok};
	struct provider *p = provider_open(1, scripts);
	struct rl_origin *origin = origin_for(p->port, 1, 32);
	struct side other;
	struct bench b;
	struct caller c;

	(void)state;
	memset(&other, 0, sizeof other);
	bench_open(&other.bench, rl_origin_ref(origin));
	struct rl_call_spec spec = post(&other.bench);

	caller_init(&other.callers[0]);
	start(&other.callers[0], &other.bench, &spec);
	run(&other.bench);
	assert_int_equal(other.callers[0].end, END_OK);
	assert_int_equal(rl_origin_connections(origin), 1);
	pthread_create(&other.thread, NULL, side_run, &other);

	bench_open(&b, origin);
	uint64_t from = rl_clock_us();

	caller_init(&c);
	start(&c, &b, &spec);
	run(&b);
	assert_int_equal(c.end, END_OK);
	assert_in_range(rl_clock_us() - from, 1, 500000);
	assert_int_equal(rl_origin_connections(origin), 1);
	rl_loop_stop(other.bench.loop);
	pthread_join(other.thread, NULL);
	caller_fini(&other.callers[0]);
	caller_fini(&c);
	rl_pool_free(b.pool);
	rl_pool_free(other.bench.pool);
	assert_int_equal(rl_origin_connections(origin), 0);
	rl_origin_unref(origin);
	rl_origin_unref(origin);
	rl_loop_free(b.loop);
	rl_loop_free(other.bench.loop);
	provider_close(p);
}

static void waiting_is_bounded_in_time_and_number(void **state)
{
	const struct step mute[] = {{READ, NULL, 0}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	const struct step *scripts[] = {mute};
	struct provider *p = provider_open(1, scripts);
	enum { N = 1026 }; /* one connected, 1,024 waiting, one too many */
	struct caller *c = calloc(N, sizeof *c);
	struct bench b;

	(void)state;
	bench_open(&b, origin_for(p->port, 1, 32));
	struct rl_call_spec spec = post(&b);

	spec.times.connect_ms = 200;
	spec.times.first_byte_ms = 0;
	for (int i = 0; i < N; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &spec);
	}
	linger(&b, 60);
	assert_int_equal(c[N - 1].end, END_FAIL);
	assert_int_equal(c[N - 1].reason, RL_ERR_BUSY);
	assert_int_equal(b.running, N - 1);
	linger(&b, 300);
	for (int i = 1; i < N - 1; i++) {
		assert_int_equal(c[i].end, END_FAIL);
		assert_int_equal(c[i].reason, RL_ERR_TIMEOUT);
		assert_string_equal(c[i].detail, "connect");
	}
	assert_int_equal(c[0].end, END_NONE);
	cancel_now(&c[0]);
	assert_int_equal(rl_origin_connections(b.origin), 0);
	for (int i = 0; i < N; i++)
		caller_fini(&c[i]);
	free(c);
	bench_close(&b);
	provider_close(p);
}

/* Those that wait, and those whose slot is on its way, can be cancelled; no slot is lost by it. */
static void waiting_can_be_cancelled(void **state)
{
	const struct step *scripts[] = {slow_ok};
	struct provider *p = provider_open(1, scripts);
	struct bench b;
	struct caller c[4];

	(void)state;
	bench_open(&b, origin_for(p->port, 1, 0)); /* nothing stays idle: each end frees a slot by mail */
	struct rl_call_spec spec = post(&b);

	for (int i = 0; i < 4; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &spec);
	}
	cancel_now(&c[1]);
	cancel_now(&c[0]); /* its slot is granted to c[2] by mail */
	cancel_now(&c[2]); /* while the mail lies in the box */
	run(&b);
	assert_int_equal(c[3].end, END_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(c[i].end, END_NONE);
	for (int i = 0; i < 4; i++)
		caller_fini(&c[i]);
	linger(&b, 10);
	assert_int_equal(rl_origin_connections(b.origin), 0);
	bench_close(&b);
	provider_close(p);
}

/* ---- decoding ---- */

static size_t compress_to(char *out, size_t max, const char *text, size_t n, int bits)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)text;
	z.avail_in = (unsigned)n;
	z.next_out = (unsigned char *)out;
	z.avail_out = (unsigned)max;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return max - z.avail_out;
}

/* head + compressed `text` into wire; returns its length. */
static size_t encoded(char *wire, size_t max, const char *encoding, const char *text, size_t n, int bits)
{
	char *body = malloc(max);
	size_t size = compress_to(body, max, text, n, bits);
	int head = snprintf(wire, max, H "content-type: text/x\r\ncontent-encoding: %s\r\ncontent-length: %zu\r\n\r\n",
			    encoding, size);

	assert_true((size_t)head + size < max);
	memcpy(wire + head, body, size);
	free(body);
	return (size_t)head + size;
}

static void compressed_answers_are_decoded(void **state)
{
	static const struct {
		const char *encoding;
		int bits;
	} ways[] = {{"gzip", 31}, {"X-GZip", 31}, {"deflate", 15}, {"deflate", -15}};
	size_t n = 300000;
	char *text = malloc(n), *wire = malloc(n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		text[i] = (char)('a' + (i * i / 7 + i / 100) % 23);
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
		for (int pause = WHEN_NEVER; pause <= WHEN_BODY; pause++) {
			size_t size = encoded(wire, n, ways[i].encoding, text, n, ways[i].bits);
			const struct step script[] = {{READ, NULL, 0},
						      {SAY, wire, size},
						      {AWAIT_EOF, NULL, 0},
						      {STEP_END, NULL, 0}};
			struct caller c;

			caller_init(&c);
			c.pause = (enum when)pause;
			c.pause_each = true;
			once(&c, script, NULL);
			assert_int_equal(c.end, END_OK);
			assert_int_equal(c.content_length, -1);
			assert_string_equal(c.encoding, "");
			assert_string_equal(c.type, "text/x");
			assert_int_equal(c.body.n, n);
			assert_memory_equal(c.body.p, text, n);
			caller_fini(&c);
		}
	free(text);
	free(wire);
}

static void bombs_and_stumps_fail(void **state)
{
	size_t n = 8u << 20, max = 1u << 20;
	char *zeros = calloc(1, n), *wire = malloc(max);
	size_t size = encoded(wire, max, "gzip", zeros, n, 31);
	const struct step bomb[] = {{READ, NULL, 0}, {SAY, wire, size}, {CLOSE, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	once(&c, bomb, NULL);
	assert_int_equal(c.end, END_FAIL);
	assert_int_equal(c.reason, RL_ERR_LIMIT);
	assert_string_equal(c.detail, "content-encoding");
	assert_in_range(c.body.n, 1, 2u << 20);
	caller_fini(&c);

	/* A body that is framed whole but whose compressed stream is not. */
	static const char stump[] =
		H "content-encoding: gzip\r\ncontent-length: 12\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c";
	const struct step cut[] = {{READ, NULL, 0}, {SAY, stump, sizeof stump - 1}, {CLOSE, NULL, 0}};

	caller_init(&c);
	once(&c, cut, NULL);
	assert_int_equal(c.end, END_FAIL);
	assert_int_equal(c.reason, RL_ERR_PROTOCOL);
	caller_fini(&c);
	free(zeros);
	free(wire);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_runs_out),
		cmocka_unit_test(a_slow_stream_is_not_cut),
		cmocka_unit_test(pausing_rests_the_idle_timeout),
		cmocka_unit_test(connecting_takes_too_long),
		cmocka_unit_test(cancelled_in_each_phase),
		cmocka_unit_test(cancelled_at_once_and_while_paused),
		cmocka_unit_test(an_early_answer_is_delivered),
		cmocka_unit_test(a_large_body_arrives_whole),
		cmocka_unit_test(a_paused_body_waits),
		cmocka_unit_test(a_pause_holds_the_provider_back),
		cmocka_unit_test(a_hangup_while_paused_loses_nothing),
		cmocka_unit_test(calls_wait_at_the_cap),
		cmocka_unit_test(an_idle_connection_of_another_loop_is_given_up),
		cmocka_unit_test(waiting_is_bounded_in_time_and_number),
		cmocka_unit_test(waiting_can_be_cancelled),
		cmocka_unit_test(compressed_answers_are_decoded),
		cmocka_unit_test(bombs_and_stumps_fail),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	large_body = calloc(1, LARGE_BYTES);
	large[0] = rl_str_make(large_body, LARGE_BYTES);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rl_arena_thread_fini();
	free(large_body);
	return failed;
}
