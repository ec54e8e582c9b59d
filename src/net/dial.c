/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to one of several addresses ("happy eyeballs", RFC 8305 §5): each
 * attempt has a head start of 250 ms before the next one joins it, and one that
 * fails hands over at once. The first to connect wins, the others are closed.
 *
 * Where the first family of addresses has lost to the other one, the latter goes first
 * for some minutes: with IPv6 that leads nowhere, each new connection would pay the
 * head start again. Only the family is remembered (RFC 6555 §4.2 asks for ten minutes),
 * so that names with several addresses still spread their load.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/transport_priv.h"

#define HEAD_START_MS 250u
#define MEMORY_MS (UINT64_C(600) * 1000)

struct attempt {
	struct rl_dial *dial;
	struct rl_poll *poll;
	int fd; /* -1: not running */
};

struct rl_dial {
	struct rl_transport *t;
	struct rl_timer timer; /* the next attempt */
	struct rl_addr addrs[RL_DNS_ADDRS_MAX];
	struct attempt attempts[RL_DNS_ADDRS_MAX];
	struct rl_dial_memory *memory; /* NULL: none */
	int usual;                     /* the family that would go first */
	unsigned n, next, running;
	enum rl_err last; /* why the last attempt failed */
};

static void attempt_close(struct attempt *attempt)
{
	if (attempt->fd < 0)
		return;
	rl_poll_free(attempt->poll);
	close(attempt->fd);
	attempt->poll = NULL;
	attempt->fd = -1;
	attempt->dial->running--;
}

void rl_dial_cancel(struct rl_dial *dial)
{
	if (!dial)
		return;
	rl_timer_stop(&dial->timer);
	for (unsigned i = 0; i < dial->n; i++)
		attempt_close(&dial->attempts[i]);
	free(dial);
}

/*
 * Connecting to a free port of this machine, the kernel may choose that very port
 * as ours and connect the socket to itself, which would look like a provider.
 */
static bool is_self_connected(int fd, const struct rl_addr *peer)
{
	struct rl_addr own = {.len = sizeof own.sa};

	if (!rl_addr_is_loopback(peer) || peer->sa.ss_family == AF_UNIX)
		return false;
	if (getsockname(fd, (struct sockaddr *)&own.sa, &own.len) != 0 || own.len != peer->len)
		return false;

	char a[RL_ADDR_TEXT_MAX], b[RL_ADDR_TEXT_MAX];

	rl_addr_text(&own, a);
	rl_addr_text(peer, b);
	return rl_str_eq(rl_str_of(a), rl_str_of(b));
}

/* ---- what is remembered ---- */

static bool is_known(const struct rl_dial *dial)
{
	return dial->memory && dial->memory->family && rl_loop_now_ms(dial->t->loop) < dial->memory->until_ms;
}

static void take_addr(struct rl_dial *dial, const struct rl_addr *addr)
{
	dial->attempts[dial->n] = (struct attempt){.dial = dial, .fd = -1};
	dial->addrs[dial->n++] = *addr;
}

/* In their order; but the first one of the family that answers goes before all. */
static void take_addrs(struct rl_dial *dial, const struct rl_addr *addrs, unsigned n)
{
	unsigned first = 0;

	if (n > RL_DNS_ADDRS_MAX)
		n = RL_DNS_ADDRS_MAX;
	dial->usual = n ? addrs[0].sa.ss_family : 0;
	while (is_known(dial) && first < n && addrs[first].sa.ss_family != dial->memory->family)
		first++;
	if (first < n)
		take_addr(dial, &addrs[first]);
	for (unsigned i = 0; i < n; i++)
		if (i != first)
			take_addr(dial, &addrs[i]);
}

/* `family` has answered first; 0: none has answered. */
static void learn(struct rl_dial *dial, int family)
{
	struct rl_dial_memory *memory = dial->memory;

	if (!memory)
		return;
	if (is_known(dial)) {
		if (memory->family != family)
			memory->family = 0; /* it is no better */
	} else {
		memory->family = family != dial->usual ? family : 0;
		memory->until_ms = rl_loop_now_ms(dial->t->loop) + MEMORY_MS;
	}
}

/* ---- attempts ---- */

static void attempt_won(struct attempt *attempt, bool hung)
{
	struct rl_dial *dial = attempt->dial;
	struct rl_transport *t = dial->t;
	struct rl_poll *poll = attempt->poll;
	int fd = attempt->fd;

	learn(dial, dial->addrs[attempt - dial->attempts].sa.ss_family);
	attempt->fd = -1;
	rl_dial_cancel(dial);
	rl_poll_want(poll, 0);
	rl_transport_connected(t, fd, poll, hung);
}

/* The outcome of a connect(2) that was begun: OK, AGAIN (still going on), or why it failed. */
static enum rl_err outcome(const struct attempt *attempt, unsigned events)
{
	int bad = 0;
	socklen_t len = sizeof bad;

	if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &bad, &len) != 0)
		bad = errno;
	if (bad)
		return rl_err_from_errno(bad);
	if (!(events & RL_POLL_WRITE))
		return RL_ERR_AGAIN;
	const struct rl_dial *dial = attempt->dial;
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (!is_self_connected(attempt->fd, &dial->addrs[attempt - dial->attempts]))
		return RL_OK;
	/* By a reset, lest the port be held in TIME_WAIT from the server that wants it. */
	(void)setsockopt(attempt->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	return RL_ERR_REFUSED;
}

static void go_on(struct rl_dial *dial, bool later);

static void on_poll(void *owner, unsigned events)
{
	struct attempt *attempt = owner;
	struct rl_dial *dial = attempt->dial;
	enum rl_err err = outcome(attempt, events);

	if (err == RL_ERR_AGAIN)
		return;
	if (!err) {
		attempt_won(attempt, events & RL_POLL_HANGUP);
		return;
	}
	dial->last = err;
	attempt_close(attempt);
	go_on(dial, false);
}

/*
 * EADDRNOTAVAIL of IPv4: all ports of ours towards this address are taken (ip(7)), a shortage of this machine's. In IPv6 it
 * says as often that there is no address of that family here.
 */
static enum rl_err why_not(const struct rl_addr *addr, int errnum)
{
	if (errnum == EADDRNOTAVAIL && addr->sa.ss_family == AF_INET)
		return RL_ERR_BUSY;
	return errnum == EAGAIN ? RL_ERR_REFUSED : rl_err_from_errno(errnum); /* EAGAIN: unix(7), queue full */
}

static enum rl_err attempt_start(struct rl_dial *dial, unsigned i)
{
	struct attempt *attempt = &dial->attempts[i];
	const struct rl_addr *addr = &dial->addrs[i];
	const int on = 1;
	int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	enum rl_err err;

	if (fd < 0)
		return rl_err_from_errno(errno);
	if (addr->sa.ss_family != AF_UNIX)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(fd, (const struct sockaddr *)&addr->sa, addr->len) != 0 && errno != EINPROGRESS && errno != EINTR)
		err = why_not(addr, errno);
	else
		err = rl_poll_new(dial->t->loop, fd, on_poll, attempt, &attempt->poll);
	if (err) {
		close(fd);
		return err;
	}
	attempt->fd = fd;
	dial->running++;
	rl_poll_want(attempt->poll, RL_POLL_WRITE);
	return RL_OK;
}

/* Starts the next attempt; with none left and none running it is over. */
static void go_on(struct rl_dial *dial, bool later)
{
	rl_timer_stop(&dial->timer);
	while (dial->next < dial->n) {
		enum rl_err err = attempt_start(dial, dial->next++);

		if (!err) {
			if (dial->next < dial->n)
				rl_timer_start(dial->t->loop, &dial->timer, HEAD_START_MS);
			return;
		}
		dial->last = err;
	}
	if (dial->running > 0)
		return;

	struct rl_transport *t = dial->t;
	enum rl_err last = dial->last;

	learn(dial, 0);
	t->dial = NULL;
	rl_dial_cancel(dial);
	rl_transport_fail(t, last, NULL, later);
}

static void on_timer(struct rl_timer *timer)
{
	go_on((struct rl_dial *)((char *)timer - offsetof(struct rl_dial, timer)), false);
}

enum rl_err rl_dial_start(struct rl_transport *t, const struct rl_transport_target *target)
{
	struct rl_dial *dial = calloc(1, sizeof *dial);

	if (!dial)
		return RL_ERR_NOMEM;
	t->dial = dial;
	dial->t = t;
	dial->memory = target->memory;
	dial->last = RL_ERR_DNS; /* if there is no address at all */
	take_addrs(dial, target->addrs, target->n_addrs);
	rl_timer_init(&dial->timer, on_timer);
	go_on(dial, true);
	return RL_OK;
}
