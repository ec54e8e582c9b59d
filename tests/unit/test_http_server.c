/* SPDX-License-Identifier: Apache-2.0 */
/* The server's service: framing, pipelining, cuts, early answers, clients that leave or are slow, draining; listeners. */
#include "http_rig.h"
#include "net/listener.h"

/* ---- plain service ---- */

static void client_plain(struct rig *rig)
{
	char *a = ask(rig, RL_STR("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" BYE));

	CHECK(rig, strncmp(a, "HTTP/1.1 200 OK\r\nDate: ", 23) == 0 && strstr(a, " GMT\r\n") == a + 48);
	CHECK(rig, strstr(a, "content-type: text/plain\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n"));
	CHECK(rig, strstr(a, "Content-Length: 3\r\nConnection: close\r\n\r\nbye"));
	CHECK(rig, !strstr(a, "Set-Cookie"));
	free(a);
	a = ask(rig, RL_STR("\r\n\r\nHEAD /x HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n"
			    "HEAD /stream?1 HTTP/1.1\r\nHost: a\r\n\r\n" BYE));
	CHECK(rig, count(a, "HTTP/1.1 200 OK\r\n") == 3 && strstr(a, "HTTP/1.1 204 No Content\r\n"));
	CHECK(rig, strstr(a, "Content-Length: 0\r\n\r\nHTTP/1.1 204") && !strstr(a, "block"));
	CHECK(rig, strstr(a, "Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 200"));
	free(a);
	a = ask(rig, RL_STR("GET /stream?2 HTTP/1.1\r\nHost: a\r\n\r\n" BYE));
	CHECK(rig, strstr(a, "Transfer-Encoding: chunked\r\n\r\n1000\r\nblock") && count(a, "\r\n1000\r\n") == 2);
	CHECK(rig, strstr(a, "\r\n0\r\n\r\nHTTP/1.1 200"));
	free(a);
}

static void answers_are_framed(void **state)
{
	(void)state;
	struct totals t = run(client_plain);

	assert_int_equal(t.requests, 8);
	assert_int_equal(t.gone, 0);
	assert_int_equal(t.refused, 0);
}

static void client_http10(struct rig *rig)
{
	char *a = ask(rig, RL_STR("GET /bye HTTP/1.0\r\n\r\n"));

	CHECK(rig, strstr(a, "Connection: close\r\n\r\nbye"));
	free(a);
	a = ask(rig, RL_STR("GET /bye HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /stream?1 HTTP/1.0\r\n"
			    "Connection: Keep-Alive\r\n\r\n"));
	CHECK(rig, strstr(a, "Connection: keep-alive\r\n\r\nbyeHTTP/1.1 200 OK"));
	CHECK(rig, strstr(a, "Connection: close\r\n\r\nblock") && !strstr(a, "chunked"));
	free(a);
}

static void http10_is_served(void **state)
{
	(void)state;
	assert_int_equal(run(client_http10).requests, 3);
}

enum { PIPELINED = 1000 };

static void client_pipeline(struct rig *rig)
{
	struct rl_buf all;
	size_t n;

	rl_buf_init(&all, 1 << 20);
	for (unsigned i = 0; i < PIPELINED; i++)
		rl_buf_printf(&all, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n<%06u>",
			      i % 100 == 7 ? "/late2" : "/x", i);
	RL_BUF_LIT(&all, "GET / HTTP/9.1\r\n\r\n" BYE);
	char *a = ask(rig, rl_buf_str(&all));
	const char *at = a;

	for (unsigned i = 0; i < PIPELINED; i++) {
		char want[16];
		snprintf(want, sizeof want, "<%06u>", i);
		at = at ? strstr(at, want) : NULL;
	}
	CHECK(rig, at && strstr(at, "HTTP/1.1 505 ") && strstr(at, "Connection: close\r\n"));
	CHECK(rig, count(a, "HTTP/1.1 200 OK") == PIPELINED && !strstr(a, "bye"));
	free(a);

	/* Answers that come later, and a client that reads only when all is asked: in order, one after the other. */
	rl_buf_reset(&all);
	for (unsigned i = 0; i < 20; i++)
		RL_BUF_LIT(&all, "GET /late HTTP/1.1\r\nHost: a\r\n\r\nGET /stream?200 HTTP/1.1\r\nHost: a\r\n\r\n");
	RL_BUF_LIT(&all, BYE);
	int fd = dial(rig);

	say(fd, rl_buf_str(&all));
	a = hear(fd, &n);
	CHECK(rig, n > 20u * 200 * 4096 && strstr(a + n - 8, "bye"));
	close(fd);
	free(a);
	rl_buf_fini(&all);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	(void)state;
	struct totals t = run(client_pipeline);

	assert_int_equal(t.requests, PIPELINED + 41);
	assert_int_equal(t.refused, 1);
}

/* ---- cuts ---- */

static const char CUT_ME[] = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "5\r\nhello\r\n6;e=1\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
			     "\r\nPOST /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlast" BYE;

static void check_cut(struct rig *rig, const char *answer)
{
	CHECK(rig, count(answer, "HTTP/1.1 200 OK") == 3);
	CHECK(rig,
	      strstr(answer, "\r\n\r\nhello worldHTTP/1.1 200 OK") && strstr(answer, "\r\n\r\nlastHTTP/1.1 200 OK"));
}

static void client_cuts(struct rig *rig)
{
	rl_str text = rl_str_of(CUT_ME);

	for (size_t at = 1; at < text.n; at++) {
		int fd = dial(rig);
		say(fd, rl_str_sub(text, 0, at));
		nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
		say(fd, rl_str_sub(text, at, SIZE_MAX));
		char *answer = hear(fd, NULL);
		check_cut(rig, answer);
		free(answer);
		close(fd);
	}
	int fd = dial(rig);

	for (size_t at = 0; at < text.n; at++) {
		say(fd, rl_str_sub(text, at, 1));
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
	char *answer = hear(fd, NULL);

	check_cut(rig, answer);
	free(answer);
	close(fd);
}

static void requests_may_be_cut_anywhere(void **state)
{
	(void)state;
	struct totals t = run(client_cuts);

	assert_int_equal(t.requests, 3 * (sizeof CUT_ME - 1));
	assert_int_equal(t.refused, 0);
	assert_int_equal(t.gone, 0);
}

/* ---- answers before the body, and 100 (Continue) ---- */

static void client_early(struct rig *rig)
{
	static char big[300000];

	memset(big, 'x', sizeof big);
	/* Small rests are drained, and the connection goes on. */
	char *a = ask(rig,
		      RL_STR("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /early HTTP/1.1\r\n"
			     "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" BYE));
	CHECK(rig, count(a, "HTTP/1.1 413") == 2 && strstr(a, "\r\n\r\nbye"));
	free(a);
	/* Announced as too big to drain: the connection closes, and says so. */
	int fd = dial(rig);

	say(fd, RL_STR("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"));
	say(fd, rl_str_make(big, sizeof big));
	a = hear(fd, NULL);
	CHECK(rig, status_of(a) == 413 && strstr(a, "Connection: close\r\n"));
	free(a);
	close(fd);
	/* Turns out to be so: the connection ends. */
	fd = dial(rig);
	say(fd, RL_STR("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n"));
	say(fd, rl_str_make(big, 262144));
	say(fd, RL_STR("\r\n0\r\n\r\n" BYE));
	a = hear(fd, NULL);
	CHECK(rig, status_of(a) == 413 && !strstr(a, "bye"));
	free(a);
	close(fd);
	/* Who waits for 100 and gets a final answer: closed, whether the body comes or not (FAULTS 12). */
	fd = dial(rig);
	say(fd, RL_STR("POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
	a = hear(fd, NULL);
	CHECK(rig, status_of(a) == 413 && strstr(a, "Connection: close\r\n") && !strstr(a, "100 Continue"));
	free(a);
	close(fd);
	fd = dial(rig);
	say(fd, RL_STR("POST /expect HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
	hear_until(rig, fd, "HTTP/1.1 100 Continue\r\n\r\n");
	say(fd, RL_STR("hello" BYE));
	a = hear(fd, NULL);
	CHECK(rig, status_of(a) == 200 && strstr(a, "\r\n\r\nhelloHTTP/1.1 200") && !strstr(a, "100 Continue"));
	free(a);
	close(fd);
	/* Who does not wait, or has no body, or speaks 1.0, gets no 100. */
	a = ask(rig, RL_STR("POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
			    "GET /expect HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"
			    "POST /expect HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"));
	CHECK(rig, count(a, "HTTP/1.1 200") == 3 && !strstr(a, "100 Continue"));
	free(a);
}

static void answers_may_come_before_the_body(void **state)
{
	(void)state;
	struct totals t = run(client_early);

	assert_int_equal(t.gone, 0);
	assert_int_equal(t.refused, 0);
}

/* ---- abnormal ends ---- */

static void client_cut_answers(struct rig *rig)
{
	char *a = ask(rig, RL_STR("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n" BYE));

	CHECK(rig, strstr(a, "\r\n\r\nb\r\nhalf an ans\r\n") && !strstr(a, "\r\n0\r\n") && !strstr(a, "bye"));
	free(a);
	a = ask(rig, RL_STR("GET /raw HTTP/1.1\r\nHost: a\r\n\r\n" BYE));
	CHECK(rig, strcmp(a, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nraw") == 0);
	free(a);
}

static void client_of_the_forgetful(struct rig *rig)
{
	char *a = ask(rig, RL_STR("GET /forget HTTP/1.1\r\nHost: a\r\n\r\n" BYE));

	CHECK(rig, strstr(a, "\r\n\r\nd\r\nno more of it\r\nd\r\nno more of it\r\n0\r\n\r\nHTTP/1.1 200"));
	CHECK(rig, strstr(a, "bye"));
	free(a);
}

static void a_long_answer_may_forget_its_request(void **state)
{
	(void)state;
	assert_int_equal(run(client_of_the_forgetful).requests, 2);
}

static void an_aborted_answer_has_no_end(void **state)
{
	(void)state;
	assert_int_equal(run(client_cut_answers).gone, 0);
}

static void client_leaves(struct rig *rig)
{
	static const struct {
		rl_str said;
		bool counts;   /* an exchange is alive then */
		bool answered; /* it leaves after the answer */
	} phases[] = {
		{RL_STR_INIT(""), false, false},
		{RL_STR_INIT("GET /ho"), false, false},
		{RL_STR_INIT("GET /x HTTP/1.1\r\nHost: a\r\n"), false, false},
		{RL_STR_INIT("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"), true, false},
		{RL_STR_INIT("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"), true, false},
		{RL_STR_INIT("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), true, false},
		{RL_STR_INIT("GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"), true, false},
		{RL_STR_INIT("GET /stream?100000 HTTP/1.1\r\nHost: a\r\n\r\n"), true, false},
		{RL_STR_INIT("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), false, true},
	};
	unsigned expected = 0;

	for (unsigned how = 0; how < 2; how++) {
		for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
			unsigned before = atomic_load(&rig->requests);
			int fd = dial(rig);
			say(fd, phases[i].said);
			if (phases[i].counts)
				wait_for(rig, &rig->requests, before + 1);
			else if (phases[i].answered)
				hear_until(rig, fd, "\r\n\r\n");
			else
				nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
			expected += phases[i].counts;
			if (how == 0) {
				close(fd);
				wait_for(rig, &rig->closed, rig->connections);
			} else { /* half of it: counts as leaving too */
				shutdown(fd, SHUT_WR);
				wait_for(rig, &rig->closed, rig->connections);
				close(fd);
			}
			wait_for(rig, &rig->gone, expected);
		}
	}
}

static void a_client_that_leaves_is_noticed_once(void **state)
{
	(void)state;
	struct totals t = run(client_leaves);

	assert_int_equal(t.gone, 10);
	assert_int_equal(t.refused, 0);
}

/*
 * The FIN lies behind a first read that ends within a head: no exchange is there to be told of it yet, and when one is,
 * reading is off because of the request behind it.
 */
static void client_leaves_behind_much(struct rig *rig)
{
	struct rl_buf all;

	rl_buf_init(&all, 1 << 20);
	while (all.n < RL_LOOP_SCRATCH_BYTES - 60)
		RL_BUF_LIT(&all, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
	RL_BUF_LIT(&all, "GET /hold HTTP/1.1\r\nHost: a\r\nX-Long: a value that goes on beyond the read\r\n\r\n"
			 "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
	CHECK(rig, all.n > RL_LOOP_SCRATCH_BYTES);
	int fd = dial_with(rig, rl_buf_str(&all), true);

	free(hear(fd, NULL));
	wait_for(rig, &rig->gone, 1);
	close(fd);
	rl_buf_fini(&all);
}

static void a_client_that_left_long_ago_is_noticed(void **state)
{
	(void)state;
	struct totals t = run(client_leaves_behind_much);

	assert_int_equal(t.gone, 1);
}

/* What came before the FIN is served as long as no answer is owed. */
static void client_asks_and_hangs_up(struct rig *rig)
{
	int fd = dial(rig);

	say(fd, RL_STR("GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /bye HTTP/1.1\r\nHost: a\r\n\r\n"));
	hear_until(rig, fd, "bye");
	shutdown(fd, SHUT_WR);
	char *a = hear(fd, NULL);

	CHECK(rig, *a == '\0');
	free(a);
	close(fd);
}

static void a_quiet_end_is_no_failure(void **state)
{
	(void)state;
	struct totals t = run(client_asks_and_hangs_up);

	assert_int_equal(t.gone, 0);
	assert_int_equal(t.requests, 2);
}

/* ---- time-outs ---- */

static void client_slow_head(struct rig *rig)
{
	char *a = ask(rig, RL_STR("GET / HTTP/1.1\r\nHost"));

	CHECK(rig, status_of(a) == 408);
	free(a);
	a = ask(rig, RL_STR("")); /* nothing at all: nothing to answer */
	CHECK(rig, *a == '\0');
	free(a);
	/* A byte now and then does not help. */
	int fd = dial(rig);

	for (unsigned i = 0; i < 20; i++) {
		say(fd, RL_STR("G"));
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	a = hear(fd, NULL);
	CHECK(rig, status_of(a) == 408);
	free(a);
	close(fd);
}

static void client_slow_body(struct rig *rig)
{
	char *a = ask(rig, RL_STR("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"));

	CHECK(rig, status_of(a) == 408);
	free(a);
	int fd = dial(rig);

	say(fd, RL_STR("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"));
	for (unsigned i = 0; i < 30; i++) {
		say(fd, RL_STR("x"));
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	a = hear(fd, NULL);
	CHECK(rig, status_of(a) == 408);
	free(a);
	close(fd);
	/* Ten kilobytes a second are fast enough, however long it takes. */
	fd = dial(rig);
	say(fd, RL_STR("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n"));
	for (unsigned i = 0; i < 30; i++) {
		char block[100];
		memset(block, 'y', sizeof block);
		say(fd, rl_str_make(block, sizeof block));
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	say(fd, RL_STR(BYE));
	a = hear(fd, NULL);
	CHECK(rig, status_of(a) == 200 && strstr(a, "bye"));
	free(a);
	close(fd);
}

static void client_idle(struct rig *rig)
{
	char *a = ask(rig, RL_STR("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"));

	CHECK(rig, status_of(a) == 200); /* and the server closed by itself */
	free(a);
}

static void client_never_reads(struct rig *rig)
{
	int fd = dial(rig);

	say(fd, RL_STR("GET /stream?100000 HTTP/1.1\r\nHost: a\r\n\r\n"));
	wait_for(rig, &rig->gone, 1);
	close(fd);
}

static void slow_clients_run_out_of_time(void **state)
{
	struct rl_server_limits limits = usual;

	(void)state;
	limits.header_ms = 100;
	assert_int_equal(run_limited(client_slow_head, limits).refused, 2);
	limits = usual;
	limits.body_idle_ms = 100;
	struct totals t = run_limited(client_slow_body, limits);
	assert_int_equal(t.refused, 2);
	assert_int_equal(t.gone, 2);
	assert_int_equal(t.reason, RL_ERR_TIMEOUT);
	limits = usual;
	limits.keepalive_ms = 100;
	assert_int_equal(run_limited(client_idle, limits).requests, 1);
	limits = usual;
	limits.write_idle_ms = 100;
	t = run_limited(client_never_reads, limits);
	assert_int_equal(t.reason, RL_ERR_TIMEOUT);
	assert_int_equal(t.gone, 1);
}

/* ---- back-pressure ---- */

static void client_reads_slowly(struct rig *rig)
{
	int fd = dial(rig);
	size_t n;

	say(fd, RL_STR("GET /stream?5000 HTTP/1.1\r\nHost: a\r\n\r\n" BYE));
	nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	CHECK(rig, atomic_load(&rig->ended) == 0); /* 20 MB are not simply buffered */
	char *a = hear(fd, &n);

	CHECK(rig, n > 5000u * 4096 && strcmp(a + n - 3, "bye") == 0);
	CHECK(rig, atomic_load(&rig->drained) > 10);
	free(a);
	close(fd);
}

static void a_slow_reader_holds_back_the_source(void **state)
{
	(void)state;
	run(client_reads_slowly);
}

static void client_big_bodies(struct rig *rig)
{
	enum { SIZE = 3000000 };
	static char body[SIZE];
	char head[128];
	size_t n;

	for (size_t i = 0; i < SIZE; i++)
		body[i] = (char)('a' + i % 26);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const paths[] = {"/x", "/pause", "/land"};
		int fd = dial(rig);
		snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", paths[i],
			 SIZE);
		say(fd, rl_str_of(head));
		say(fd, rl_str_make(body, SIZE));
		say(fd, RL_STR(BYE));
		char *a = hear(fd, &n);
		char *at = strstr(a, "\r\n\r\n");
		CHECK(rig, at && n > SIZE && memcmp(at + 4, body, SIZE) == 0 && strcmp(a + n - 3, "bye") == 0);
		free(a);
		close(fd);
	}
	CHECK(rig, atomic_load(&rig->landed) > 0);
}

static void big_bodies_pass_and_may_be_paused(void **state)
{
	(void)state;
	assert_int_equal(run(client_big_bodies).requests, 6);
}

/* ---- the end ---- */

static void client_drain(struct rig *rig)
{
	int idle = dial(rig), busy = dial(rig);

	say(idle, RL_STR("GET /bye HTTP/1.1\r\nHost: a\r\n\r\n"));
	hear_until(rig, idle, "bye");
	say(busy, RL_STR("GET /late HTTP/1.1\r\nHost: a\r\n\r\n"));
	wait_for(rig, &rig->requests, 2);
	post(rig, -1, rl_server_drain);
	char *a = hear(idle, NULL);

	CHECK(rig, *a == '\0');
	free(a);
	a = hear(busy, NULL);
	CHECK(rig, status_of(a) == 200 && strstr(a, "Connection: close\r\n") && strstr(a, "late"));
	free(a);
	close(idle);
	close(busy);
}

/* Reads a chunked answer to its last chunk, however long it is. */
static bool read_to_the_end(int fd)
{
	static const char end[] = "\r\n0\r\n\r\n";
	char got[65536 + sizeof end] = "";
	size_t kept = 0;

	for (;;) {
		ssize_t n = recv(fd, got + kept, sizeof got - kept, 0);

		if (n <= 0)
			return false;
		kept += (size_t)n;
		if (kept >= strlen(end) && memcmp(got + kept - strlen(end), end, strlen(end)) == 0)
			return true;
		size_t tail = kept < strlen(end) ? kept : strlen(end);

		memmove(got, got + kept - tail, tail);
		kept = tail;
	}
}

/* Nobody's connection closes without having been told: each may have sent its next request already. */
static void client_retire(struct rig *rig)
{
	int fds[2] = {dial(rig), dial(rig)};

	say(fds[0], RL_STR("GET /bye HTTP/1.1\r\nHost: a\r\n\r\n"));
	hear_until(rig, fds[0], "bye");
	say(fds[1], RL_STR("GET /stream?4000 HTTP/1.1\r\nHost: a\r\n\r\n"));
	hear_until(rig, fds[1], "\r\n\r\n");
	post(rig, -1, rl_server_retire);
	CHECK(rig, read_to_the_end(fds[1]));
	for (int i = 0; i < 2; i++) {
		say(fds[i], RL_STR("GET /bye HTTP/1.1\r\nHost: a\r\n\r\n"));
		char *a = hear(fds[i], NULL);

		CHECK(rig, status_of(a) == 200 && strstr(a, "Connection: close\r\n") && strstr(a, "bye"));
		free(a);
		close(fds[i]);
	}
}

static void client_abort(struct rig *rig)
{
	int fd = dial(rig);

	say(fd, RL_STR("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
	wait_for(rig, &rig->requests, 1);
	post(rig, -1, rl_server_abort);
	char *a = hear(fd, NULL);

	CHECK(rig, *a == '\0');
	free(a);
	close(fd);
}

static void a_server_drains_and_aborts(void **state)
{
	(void)state;
	assert_int_equal(run(client_drain).gone, 0);
	assert_int_equal(run(client_retire).gone, 0);
	struct totals t = run(client_abort);
	assert_int_equal(t.gone, 1);
	assert_int_equal(t.reason, RL_ERR_SHUTDOWN);
}

/* ---- listeners ---- */

struct accepted {
	struct rl_loop *loop;
	unsigned n;
	struct rl_addr peer;
};

static void on_accept(void *arg, struct rl_listener *listener, int fd, const struct rl_addr *peer)
{
	struct accepted *got = arg;

	(void)listener;
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	got->peer = *peer;
	close(fd);
	if (++got->n == 3)
		rl_loop_stop(got->loop);
}

static void a_listener_is_exclusive(void **state)
{
	struct rl_listener *one, *two;
	struct accepted got = {0};
	const char *why = NULL;
	char text[RL_ADDR_TEXT_MAX];
	int fds[3];

	(void)state;
	assert_int_equal(rl_loop_new("test", &got.loop), RL_OK);
	assert_int_equal(rl_listener_open(got.loop, RL_STR("nowhere"), 0, on_accept, &got, &one, &why), RL_ERR_SYNTAX);
	assert_non_null(why);
	assert_int_equal(rl_listener_open(got.loop, RL_STR("127.0.0.1:0"), 0, on_accept, &got, &one, &why), RL_OK);
	rl_addr_text(rl_listener_addr(one), text);
	assert_true(rl_str_starts(rl_str_of(text), RL_STR("127.0.0.1:")) && text[10] != '0');
	assert_int_equal(rl_listener_open(got.loop, rl_str_of(text), 0, on_accept, &got, &two, &why), RL_ERR_BUSY);
	assert_non_null(why);
	rl_listener_accepting(one, true);
	for (unsigned i = 0; i < 3; i++) {
		const struct rl_addr *addr = rl_listener_addr(one);
		fds[i] = socket(addr->sa.ss_family, SOCK_STREAM, 0);
		assert_int_equal(connect(fds[i], (const struct sockaddr *)&addr->sa, addr->len), 0);
	}
	rl_loop_run(got.loop);
	assert_int_equal(got.n, 3);
	assert_true(rl_addr_is_loopback(&got.peer));
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	rl_listener_close(one);
	rl_listener_close(NULL);
	rl_loop_free(got.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_framed),
		cmocka_unit_test(http10_is_served),
		cmocka_unit_test(pipelined_requests_are_answered_in_order),
		cmocka_unit_test(requests_may_be_cut_anywhere),
		cmocka_unit_test(answers_may_come_before_the_body),
		cmocka_unit_test(an_aborted_answer_has_no_end),
		cmocka_unit_test(a_long_answer_may_forget_its_request),
		cmocka_unit_test(a_client_that_leaves_is_noticed_once),
		cmocka_unit_test(a_client_that_left_long_ago_is_noticed),
		cmocka_unit_test(a_quiet_end_is_no_failure),
		cmocka_unit_test(slow_clients_run_out_of_time),
		cmocka_unit_test(a_slow_reader_holds_back_the_source),
		cmocka_unit_test(big_bodies_pass_and_may_be_paused),
		cmocka_unit_test(a_server_drains_and_aborts),
		cmocka_unit_test(a_listener_is_exclusive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
