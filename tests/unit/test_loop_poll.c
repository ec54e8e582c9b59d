/* SPDX-License-Identifier: Apache-2.0 */
/* Readiness: who hangs up how, what is still readable then, and that nothing spins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/dns.h"
#include "loop/loop.h"

static struct {
	struct rl_loop *loop;
	struct rl_poll *poll;
	struct rl_timer timer;
	int mine, peer;
	unsigned calls, hangups, reads, writes;
	size_t got;
	int last_errno;
	bool eof, drain, free_inside, stop_at_end;
} p;

static void drain(void)
{
	char room[4096];
	ssize_t n;

	while ((n = read(p.mine, room, sizeof room)) > 0)
		p.got += (size_t)n;
	p.eof = n == 0;
	p.last_errno = n < 0 ? errno : 0;
	if (p.eof || (n < 0 && errno != EAGAIN))
		rl_poll_want(p.poll, 0);
}

static void on_event(void *owner, unsigned events)
{
	assert_ptr_equal(owner, &p);
	p.calls++;
	p.hangups += (events & RL_POLL_HANGUP) != 0;
	p.reads += (events & RL_POLL_READ) != 0;
	p.writes += (events & RL_POLL_WRITE) != 0;
	if (p.free_inside) {
		rl_poll_free(p.poll);
		p.poll = NULL;
		close(p.mine);
		return;
	}
	if ((events & RL_POLL_READ) && p.drain)
		drain();
}

static void stop(struct rl_timer *timer)
{
	(void)timer;
	rl_loop_stop(p.loop);
}

/* A connected pair over TCP, since only TCP has resets. */
static void pair(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	p.peer = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(p.peer, (struct sockaddr *)&at, sizeof at), 0);
	p.mine = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(p.mine >= 0);
	close(listener);
}

static void begin(unsigned want)
{
	memset(&p, 0, sizeof p);
	p.peer = -1;
	pair();
	assert_int_equal(rl_loop_new("poll", &p.loop), RL_OK);
	rl_timer_init(&p.timer, stop);
	assert_int_equal(rl_poll_new(p.loop, p.mine, on_event, &p, &p.poll), RL_OK);
	rl_poll_want(p.poll, want);
	p.drain = true;
}

static void run_ms(uint64_t ms)
{
	rl_timer_start(p.loop, &p.timer, ms);
	rl_loop_run(p.loop);
}

static void end(void)
{
	if (p.poll) {
		rl_poll_free(p.poll);
		close(p.mine);
	}
	if (p.peer >= 0)
		close(p.peer);
	rl_loop_free(p.loop);
}

static void close_peer(bool reset)
{
	const struct linger now = {.l_onoff = 1};

	if (reset)
		assert_int_equal(setsockopt(p.peer, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	close(p.peer);
	p.peer = -1;
}

static void test_read(void **state)
{
	(void)state;
	begin(RL_POLL_READ);
	assert_int_equal(write(p.peer, "hello", 5), 5);
	run_ms(30);
	assert_int_equal(p.got, 5);
	assert_int_equal(p.calls, 1);
	assert_int_equal(p.hangups, 0);
	end();
}

static void test_write_while_wanted(void **state)
{
	(void)state;
	begin(RL_POLL_WRITE);
	rl_poll_want(p.poll, 0);
	run_ms(30);
	assert_int_equal(p.calls, 0);
	p.free_inside = true;
	rl_poll_want(p.poll, RL_POLL_WRITE);
	run_ms(30);
	assert_int_equal(p.writes, 1);
	end();
}

/* The peer leaves while nobody reads: one HANGUP, no spinning, and the data is still there. */
static void test_fin_while_not_reading(void **state)
{
	(void)state;
	begin(0);
	assert_int_equal(write(p.peer, "rest", 4), 4);
	close_peer(false);
	run_ms(50);
	assert_int_equal(p.hangups, 1);
	assert_int_equal(p.calls, 1);
	rl_poll_want(p.poll, RL_POLL_READ);
	run_ms(50);
	assert_int_equal(p.hangups, 1);
	assert_int_equal(p.got, 4);
	assert_true(p.eof);
	assert_true(p.calls <= 3);
	end();
}

static void test_data_and_fin(void **state)
{
	(void)state;
	begin(RL_POLL_READ);
	assert_int_equal(write(p.peer, "rest", 4), 4);
	assert_int_equal(shutdown(p.peer, SHUT_WR), 0);
	run_ms(50);
	assert_int_equal(p.hangups, 1);
	assert_int_equal(p.got, 4);
	assert_true(p.eof);
	assert_true(p.calls <= 2);
	/* The other direction is still open. */
	assert_int_equal(write(p.mine, "x", 1), 1);
	end();
}

static void test_reset_while_not_reading(void **state)
{
	(void)state;
	begin(0);
	close_peer(true);
	run_ms(50);
	assert_int_equal(p.hangups, 1);
	assert_int_equal(p.calls, 1);
	rl_poll_want(p.poll, RL_POLL_READ);
	run_ms(50);
	assert_int_equal(p.last_errno, ECONNRESET);
	assert_int_equal(p.hangups, 1);
	assert_true(p.calls <= 3);
	end();
}

static void test_reset_while_reading(void **state)
{
	(void)state;
	begin(RL_POLL_READ);
	close_peer(true);
	run_ms(50);
	assert_int_equal(p.last_errno, ECONNRESET);
	assert_int_equal(p.hangups, 1);
	assert_int_equal(p.calls, 1);
	end();
}

/* FIN first, with reading off; then a reset: HANGUP has been said once, nothing spins. */
static void test_fin_then_reset(void **state)
{
	(void)state;
	begin(0);
	assert_int_equal(shutdown(p.peer, SHUT_WR), 0);
	run_ms(30);
	assert_int_equal(p.hangups, 1);
	close_peer(true);
	run_ms(50);
	assert_int_equal(p.calls, 1);
	end();
}

static void test_freed_inside(void **state)
{
	(void)state;
	begin(RL_POLL_READ);
	p.free_inside = true;
	assert_int_equal(write(p.peer, "x", 1), 1);
	run_ms(30);
	assert_int_equal(p.calls, 1);
	end();
}

/* The number of a closed descriptor is taken again at once: the old poll must not hear of it. */
static void test_number_taken_again(void **state)
{
	(void)state;
	begin(RL_POLL_READ);
	run_ms(10);
	int number = p.mine;

	rl_poll_free(p.poll);
	close(p.mine);
	close(p.peer);
	pair();
	assert_int_equal(p.mine < p.peer ? p.mine : p.peer, number < p.peer ? number : p.peer);
	assert_int_equal(rl_poll_new(p.loop, p.mine, on_event, &p, &p.poll), RL_OK);
	rl_poll_want(p.poll, RL_POLL_READ);
	assert_int_equal(write(p.peer, "again", 5), 5);
	run_ms(30);
	assert_int_equal(p.got, 5);
	assert_int_equal(p.calls, 1);
	end();
}

static void test_not_pollable(void **state)
{
	int fd = open("/dev/null", O_RDONLY);
	int closed = dup(fd);

	(void)state;
	begin(0);
	struct rl_poll *poll;

	close(closed);
	assert_int_not_equal(rl_poll_new(p.loop, closed, on_event, &p, &poll), RL_OK);
	assert_null(poll);
	close(fd);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_write_while_wanted),
		cmocka_unit_test(test_fin_while_not_reading),
		cmocka_unit_test(test_data_and_fin),
		cmocka_unit_test(test_reset_while_not_reading),
		cmocka_unit_test(test_reset_while_reading),
		cmocka_unit_test(test_fin_then_reset),
		cmocka_unit_test(test_freed_inside),
		cmocka_unit_test(test_number_taken_again),
		cmocka_unit_test(test_not_pollable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
