/* SPDX-License-Identifier: Apache-2.0 */
/* Plain transports: connecting over several addresses, events, closing without loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/transport.h"

struct end {
	struct rl_transport *t;
	unsigned seen, calls, readies, hangups;
	size_t got, to_send, sent;
	enum rl_err read_err;
	bool stop_on_ready, close_on_ready, close_on_read, close_when_sent;
};

static struct {
	struct rl_loop *loop;
	struct rl_timer timer;
	struct end a, b;
	struct rl_dial_memory *memory; /* of the connections that are made; NULL: none */
	char text[1 << 20];
} n;

static void stop(struct rl_timer *timer)
{
	(void)timer;
	rl_loop_stop(n.loop);
}

static void run_ms(uint64_t ms)
{
	rl_timer_start(n.loop, &n.timer, ms);
	rl_loop_run(n.loop);
	rl_timer_stop(&n.timer);
}

/* Waits as long as it takes on a busy machine (but not for ever). */
#define RUN_UNTIL(condition)                                \
	do {                                                \
		bool is_;                                   \
		int i_ = 0;                                 \
		while (!(is_ = (condition)) && i_++ < 1000) \
			run_ms(5);                          \
		assert_true(is_);                           \
	} while (0)

static void end_close(struct end *end, bool abort)
{
	struct rl_transport *t = end->t;

	end->t = NULL;
	rl_transport_close(t, abort);
}

static void end_send(struct end *end)
{
	while (end->sent < end->to_send) {
		struct iovec iov[3];
		size_t left = end->to_send - end->sent;
		enum rl_err err;

		for (int i = 0; i < 3; i++)
			iov[i] = (struct iovec){n.text + end->sent + left / 3 * (size_t)i,
						i < 2 ? left / 3 : left - left / 3 * 2};
		size_t took = rl_transport_write(end->t, iov, 3, &err);

		assert_int_equal(err, RL_OK);
		if (took == 0)
			break;
		end->sent += took;
	}
	rl_transport_want(end->t, true, end->sent < end->to_send);
	if (end->close_when_sent && end->sent == end->to_send)
		end_close(end, false);
}

static void end_read(struct end *end)
{
	char room[5000];
	size_t got;

	do {
		got = rl_transport_read(end->t, room, sizeof room, &end->read_err);
		assert_memory_equal(room, n.text + end->got, got);
		end->got += got;
	} while (got > 0);
}

static void on_event(void *owner, struct rl_transport *t, unsigned events)
{
	struct end *end = owner;

	assert_ptr_equal(end->t, t);
	end->calls++;
	end->seen |= events;
	end->readies += (events & RL_EV_READY) != 0;
	end->hangups += (events & RL_EV_HANGUP) != 0;
	if ((events & RL_EV_READY) && end->stop_on_ready)
		rl_loop_stop(n.loop);
	if (events & RL_EV_FAILED)
		rl_loop_stop(n.loop);
	if (((events & RL_EV_READY) && end->close_on_ready) || ((events & RL_EV_READ) && end->close_on_read)) {
		end_close(end, false);
		return;
	}
	if (events & RL_EV_READ)
		end_read(end);
	if (events & (RL_EV_WRITE | RL_EV_READY))
		end_send(end);
}

static struct rl_addr listen_at(const char *where, int *fd, int backlog)
{
	struct rl_addr addr;

	assert_int_equal(rl_addr_parse(rl_str_of(where), &addr), RL_OK);
	*fd = socket(addr.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&addr.sa, addr.len), 0);
	assert_int_equal(listen(*fd, backlog), 0);
	assert_int_equal(getsockname(*fd, (struct sockaddr *)&addr.sa, &addr.len), 0);
	return addr;
}

static struct rl_addr listen_on(int *fd, int backlog)
{
	return listen_at("127.0.0.1:0", fd, backlog);
}

/* An address where nobody listens. */
static struct rl_addr dead_addr(void)
{
	int fd;
	struct rl_addr addr = listen_on(&fd, 1);

	close(fd);
	return addr;
}

/* An address where connecting neither succeeds nor fails: the queue of the listener is full. */
static struct rl_addr stuck_at(const char *where, int fds[4])
{
	struct rl_addr addr = listen_at(where, &fds[0], 0);

	for (int i = 1; i < 4; i++) {
		fds[i] = socket(addr.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fds[i], (struct sockaddr *)&addr.sa, addr.len);
	}
	return addr;
}

static struct rl_addr stuck_addr(int fds[4])
{
	return stuck_at("127.0.0.1:0", fds);
}

static int setup(void **state)
{
	(void)state;
	memset(&n.a, 0, sizeof n.a);
	memset(&n.b, 0, sizeof n.b);
	n.memory = NULL;
	for (size_t i = 0; i < sizeof n.text; i++)
		n.text[i] = (char)(i * 2654435761u >> 13);
	rl_timer_init(&n.timer, stop);
	return rl_loop_new("net", &n.loop) != RL_OK;
}

static int teardown(void **state)
{
	(void)state;
	rl_transport_close(n.a.t, false);
	rl_transport_close(n.b.t, false);
	rl_loop_free(n.loop);
	return 0;
}

static void dial(const struct rl_addr *addrs, unsigned count)
{
	const struct rl_transport_target target = {.addrs = addrs, .n_addrs = count, .memory = n.memory};

	assert_int_equal(rl_transport_connect(n.loop, &target, on_event, &n.a, &n.a.t), RL_OK);
	assert_int_equal(n.a.calls, 0); /* never inside the call */
}

/* Connects, and says of which family the connection is (0: none) and how long it took. */
static int dial_family(const struct rl_addr *addrs, unsigned count, uint64_t *took_us)
{
	uint64_t began_us = rl_clock_us();
	struct rl_addr peer = {.len = sizeof peer.sa};

	memset(&n.a, 0, sizeof n.a);
	n.a.stop_on_ready = true;
	dial(addrs, count);
	rl_loop_run(n.loop);
	*took_us = rl_clock_us() - began_us;
	if (n.a.seen == RL_EV_READY)
		assert_int_equal(getpeername(rl_transport_fd(n.a.t), (struct sockaddr *)&peer.sa, &peer.len), 0);
	end_close(&n.a, true);
	run_ms(1);
	return peer.sa.ss_family;
}

static void accept_from(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(rl_transport_accept(n.loop, fd, NULL, on_event, &n.b, &n.b.t), RL_OK);
	rl_transport_want(n.b.t, true, false);
}

static void connect_pair(void)
{
	int listener;
	struct rl_addr addr = listen_on(&listener, 8);

	n.a.stop_on_ready = true;
	dial(&addr, 1);
	rl_loop_run(n.loop);
	accept_from(listener);
	close(listener);
}

static void test_both_ways(void **state)
{
	int nodelay;
	socklen_t len = sizeof nodelay;

	(void)state;
	n.a.to_send = 300000;
	n.b.to_send = sizeof n.text;
	connect_pair();
	RUN_UNTIL(n.b.got == 300000 && n.a.got == sizeof n.text);
	assert_int_equal(n.a.readies, 1);
	assert_int_equal(n.b.readies, 1);
	for (int i = 0; i < 2; i++) {
		int fd = rl_transport_fd(i ? n.a.t : n.b.t);

		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
		assert_int_equal(nodelay, 1);
	}
	/* Nothing to do: nothing is called. */
	unsigned calls = n.a.calls + n.b.calls;

	run_ms(50);
	assert_int_equal(n.a.calls + n.b.calls, calls);
}

static void test_half_close(void **state)
{
	(void)state;
	n.b.to_send = 10;
	connect_pair();
	rl_transport_shutdown(n.a.t);
	RUN_UNTIL(n.b.hangups && n.a.got == 10);
	run_ms(20);
	assert_int_equal(n.b.read_err, RL_ERR_EOF);
	assert_int_equal(n.b.hangups, 1);
	assert_int_equal(n.a.hangups, 0);
	assert_true(n.b.calls < 6);
}

static void test_reset(void **state)
{
	struct iovec iov = {n.text, 10};
	enum rl_err err = RL_OK;

	(void)state;
	connect_pair();
	run_ms(20);
	end_close(&n.a, true);
	RUN_UNTIL(n.b.hangups);
	run_ms(20);
	assert_int_equal(n.b.hangups, 1);
	assert_int_equal(n.b.read_err, RL_ERR_RESET);
	assert_int_equal(rl_transport_write(n.b.t, &iov, 1, &err), 0);
	assert_int_equal(err, RL_ERR_RESET);
	assert_true(n.b.calls < 6);
}

static void test_leaving_is_seen_while_paused(void **state)
{
	(void)state;
	connect_pair();
	run_ms(20);
	rl_transport_want(n.b.t, false, false);
	end_close(&n.a, false);
	RUN_UNTIL(n.b.hangups);
	run_ms(20);
	assert_int_equal(n.b.hangups, 1);
	assert_int_equal(n.b.calls, 2);
}

static void test_refused(void **state)
{
	struct rl_addr addr = dead_addr();

	(void)state;
	dial(&addr, 1);
	rl_loop_run(n.loop);
	assert_int_equal(n.a.seen, RL_EV_FAILED);
	assert_int_equal(n.a.calls, 1);
	assert_int_equal(rl_transport_reason(n.a.t), RL_ERR_REFUSED);
	assert_true(strlen(rl_transport_detail(n.a.t)) > 0);
}

static void test_no_address(void **state)
{
	(void)state;
	dial(NULL, 0);
	rl_loop_run(n.loop);
	assert_int_equal(n.a.seen, RL_EV_FAILED);
	assert_int_equal(rl_transport_reason(n.a.t), RL_ERR_DNS);
}

static void test_second_address(void **state)
{
	int listener;
	struct rl_addr addrs[2] = {dead_addr(), listen_on(&listener, 128)};
	uint64_t took_us = UINT64_MAX;

	(void)state;
	/* A refusal does not wait for its turn; this thread may have to wait for its own. */
	for (int i = 0; i < 50 && took_us >= 250000; i++)
		assert_int_equal(dial_family(addrs, 2, &took_us), AF_INET);
	assert_true(took_us < 250000);
	close(listener);
}

static void test_head_start(void **state)
{
	int fds[4], listener;
	struct rl_addr addrs[2] = {stuck_addr(fds), listen_on(&listener, 8)};
	uint64_t began_us = rl_clock_us();

	(void)state;
	n.a.stop_on_ready = true;
	dial(addrs, 2);
	rl_loop_run(n.loop);
	assert_int_equal(n.a.seen, RL_EV_READY);
	assert_true(rl_clock_us() - began_us >= 250000);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(listener);
}

/* ---- a family that leads nowhere (FAULTS 55) ---- */

static bool has_v6(void)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

static void test_dead_ipv6(void **state)
{
	struct rl_dial_memory memory = {0};
	struct rl_addr addrs[3];
	int fds[4], listener, alive;
	uint64_t took_us;

	(void)state;
	if (!has_v6())
		skip();
	addrs[0] = addrs[2] = stuck_at("[::1]:0", fds);
	addrs[1] = listen_on(&listener, 128);
	/* Without a memory the second time is no better than the first; with one, only the first connection pays. */
	for (int i = 0; i < 3; i++) {
		n.memory = i < 2 ? NULL : &memory;
		assert_int_equal(dial_family(addrs, 3, &took_us), AF_INET);
		assert_true(took_us >= 250000);
	}
	assert_int_equal(memory.family, AF_INET);
	uint64_t until_ms = memory.until_ms;

	/* Connecting to loopback is done in microseconds, but this thread may not get its turn. */
	for (int i = 0; i < 50 && took_us >= 250000; i++)
		assert_int_equal(dial_family(addrs, 3, &took_us), AF_INET);
	assert_true(took_us < 250000);
	assert_int_equal(memory.until_ms, until_ms); /* it ends, however often it is used */

	/* After some minutes the usual family gets its chance again, and keeps it if it answers. */
	memory.until_ms = 1;
	addrs[0] = listen_at("[::1]:0", &alive, 8);
	assert_int_equal(dial_family(addrs, 1, &took_us), AF_INET6);
	assert_int_equal(memory.family, 0);
	close(alive);
	close(listener);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

/* What was remembered fails in its turn: the other one follows, and it is forgotten. */
static void test_a_memory_that_is_wrong(void **state)
{
	const struct rl_dial_memory wrong = {.family = AF_INET, .until_ms = UINT64_MAX};
	struct rl_dial_memory memory = wrong;
	struct rl_addr addrs[2];
	int alive;
	uint64_t took_us;

	(void)state;
	if (!has_v6())
		skip();
	n.memory = &memory;
	addrs[0] = listen_at("[::1]:0", &alive, 8);
	addrs[1] = dead_addr();
	assert_int_equal(dial_family(addrs, 2, &took_us), AF_INET6);
	assert_int_equal(memory.family, 0);
	memory = wrong;
	assert_int_equal(dial_family(addrs, 1, &took_us), AF_INET6); /* none of that family is left */
	close(alive);
	memory = wrong;
	assert_int_equal(dial_family(addrs, 2, &took_us), 0);
	assert_int_equal(memory.family, 0);
}

/* Neither success nor failure: it is the owner's time-out that ends it. */
static void test_close_while_connecting(void **state)
{
	int fds[4];
	struct rl_addr addrs[2] = {stuck_addr(fds)};

	(void)state;
	addrs[1] = addrs[0];
	dial(addrs, 2);
	run_ms(300);
	assert_int_equal(n.a.calls, 0);
	end_close(&n.a, false);
	run_ms(20);
	assert_int_equal(n.a.calls, 0);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

static void test_close_at_once(void **state)
{
	int listener;
	struct rl_addr addr = listen_on(&listener, 8);
	struct rl_addr dead = dead_addr();

	(void)state;
	dial(&addr, 1);
	end_close(&n.a, false);
	dial(&dead, 1);
	end_close(&n.a, true);
	run_ms(30);
	assert_int_equal(n.a.calls, 0);
	close(listener);
}

static void test_close_inside_events(void **state)
{
	int listener;
	struct rl_addr addr = listen_on(&listener, 8);

	(void)state;
	n.a.close_on_ready = true;
	dial(&addr, 1);
	RUN_UNTIL(n.a.calls);
	run_ms(20);
	assert_int_equal(n.a.calls, 1);
	n.b.close_on_ready = true;
	accept_from(listener);
	run_ms(30);
	assert_int_equal(n.b.calls, 1);
	close(listener);
}

/* ---- a socket connected to itself ---- */

static unsigned port_of(int fd)
{
	struct sockaddr_in at;
	socklen_t len = sizeof at;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	return ntohs(at.sin_port);
}

/* A free port of the kind that connect(2) gives out (bind(2) chooses others). */
static struct rl_addr free_port(void)
{
	const struct linger now = {.l_onoff = 1};
	int listener, fd = socket(AF_INET, SOCK_STREAM, 0);
	struct rl_addr addr = listen_on(&listener, 1);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr.sa, addr.len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr.sa, &addr.len), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	close(fd);
	close(listener);
	return addr;
}

/* The kernel counts its ports up: tries until it comes close to the one tried. */
static void come_close(const struct rl_addr *addr)
{
	unsigned to = ntohs(((const struct sockaddr_in *)&addr->sa)->sin_port), at = 0;

	for (int i = 0; i < 40000 && !(at < to && to - at < 60); i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		(void)!connect(fd, (const struct sockaddr *)&addr->sa, addr->len);
		at = port_of(fd);
		close(fd);
	}
}

/*
 * Each round has about one chance in five to be given the very port that is tried;
 * what is seen then must still be that nobody listens there.
 */
static void test_not_to_oneself(void **state)
{
	(void)state;
	for (int round = 0; round < 25; round++) {
		struct rl_addr addr = free_port();

		come_close(&addr);
		for (int i = 0; i < 12; i++) {
			n.a = (struct end){.stop_on_ready = true};
			dial(&addr, 1);
			rl_loop_run(n.loop);
			assert_int_equal(n.a.seen, RL_EV_FAILED);
			assert_int_equal(rl_transport_reason(n.a.t), RL_ERR_REFUSED);
			end_close(&n.a, false);
		}
	}
}

/* ---- closing ---- */

struct slow_client {
	struct rl_addr addr;
	size_t to_send, got;
	int result; /* errno of its last read */
	atomic_bool finished;
};

/* Sends a lot without looking, then reads all there is: as a simple client does. */
static void *slow_client(void *arg)
{
	struct slow_client *client = arg;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct timespec nap = {.tv_nsec = 50000000};
	char room[4096];
	ssize_t got;

	if (connect(fd, (struct sockaddr *)&client->addr.sa, client->addr.len) != 0)
		abort();
	for (size_t sent = 0; sent < client->to_send;) {
		ssize_t some =
			send(fd, n.text, client->to_send - sent < 65536 ? client->to_send - sent : 65536, MSG_NOSIGNAL);
		if (some < 0)
			break;
		sent += (size_t)some;
	}
	nanosleep(&nap, NULL);
	while ((got = read(fd, room, sizeof room)) > 0)
		client->got += (size_t)got;
	client->result = got < 0 ? errno : 0;
	client->finished = true;
	close(fd);
	return NULL;
}

static void serve_slow_client(struct slow_client *client, size_t answer)
{
	int listener;
	pthread_t thread;
	struct pollfd waiting;

	client->addr = listen_on(&listener, 8);
	assert_int_equal(pthread_create(&thread, NULL, slow_client, client), 0);
	waiting = (struct pollfd){.fd = listener, .events = POLLIN};
	assert_int_equal(poll(&waiting, 1, 5000), 1);
	n.b.to_send = answer;
	n.b.close_when_sent = true;
	accept_from(listener);
	RUN_UNTIL(client->finished);
	pthread_join(thread, NULL);
	close(listener);
}

/* The answer is closed upon while the request is still coming: the client gets every byte of it. */
static void test_close_loses_nothing(void **state)
{
	struct slow_client client = {.to_send = 8u << 20};

	(void)state;
	serve_slow_client(&client, 20000);
	assert_int_equal(client.result, 0);
	assert_int_equal(client.got, 20000);
	assert_null(n.b.t);
}

static void test_abort_resets(void **state)
{
	char c;

	(void)state;
	connect_pair();
	run_ms(20);
	end_close(&n.b, true);
	RUN_UNTIL(n.a.read_err);
	assert_int_equal(n.a.read_err, RL_ERR_RESET);
	assert_int_equal(recv(rl_transport_fd(n.a.t), &c, 1, MSG_DONTWAIT), 0);
}

/* A peer that never closes is not waited for for ever, nor beyond the end of the loop. */
static void test_linger_ends(void **state)
{
	int listener, peer;
	struct rl_addr addr = listen_on(&listener, 8);
	char room[100];

	(void)state;
	peer = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(peer, (struct sockaddr *)&addr.sa, addr.len), 0);
	n.b.to_send = 50;
	n.b.close_when_sent = true;
	accept_from(listener);
	RUN_UNTIL(!n.b.t);
	assert_int_equal(read(peer, room, sizeof room), 50);
	assert_int_equal(read(peer, room, sizeof room), 0);
	assert_int_equal(send(peer, room, 10, MSG_NOSIGNAL), 10);
	run_ms(20);
	assert_int_equal(send(peer, room, 10, MSG_NOSIGNAL), 10); /* still taken */
	run_ms(2200);
	(void)!send(peer, room, 10, MSG_NOSIGNAL);
	run_ms(20);
	assert_int_equal(send(peer, room, 10, MSG_NOSIGNAL), -1);
	close(peer);
	/* Once more, and the loop is freed meanwhile (teardown). */
	peer = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(peer, (struct sockaddr *)&addr.sa, addr.len), 0);
	n.b = (struct end){.to_send = 50, .close_when_sent = true};
	accept_from(listener);
	RUN_UNTIL(!n.b.t);
	close(listener);
	teardown(NULL);
	assert_int_equal(read(peer, room, sizeof room), 50);
	assert_int_equal(read(peer, room, sizeof room), 0);
	close(peer);
	setup(NULL);
}

static void test_null(void **state)
{
	(void)state;
	rl_transport_close(NULL, true);
	run_ms(1);
	assert_ptr_equal(n.a.t, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_both_ways),
		T(test_half_close),
		T(test_reset),
		T(test_leaving_is_seen_while_paused),
		T(test_refused),
		T(test_no_address),
		T(test_second_address),
		T(test_head_start),
		T(test_dead_ipv6),
		T(test_a_memory_that_is_wrong),
		T(test_close_while_connecting),
		T(test_close_at_once),
		T(test_close_inside_events),
		T(test_not_to_oneself),
		T(test_close_loses_nothing),
		T(test_abort_resets),
		T(test_linger_ends),
		T(test_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
