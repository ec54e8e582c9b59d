/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage at the bottom of an accepted connection that must begin with a PROXY head
 * (proxy_protocol.h): it takes exactly the head off the socket, byte for byte, and hands
 * the rest, untouched, to the filter above it (plain or TLS). The time for it is the
 * owner's, as that of a handshake is.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/proxy_protocol.h"
#include "net/transport_priv.h"

struct rl_proxy_stage {
	const struct rl_filter *above;
	struct rl_proxy_head head;
	size_t n;
	char bytes[RL_PROXY_BYTES_MAX]; /* gone when the head is known */
};

static void hand_up(struct rl_transport *t)
{
	struct rl_proxy_stage *smaller = realloc(t->proxy, offsetof(struct rl_proxy_stage, bytes));

	if (smaller)
		t->proxy = smaller;
	t->filter = t->proxy->above;
	t->filter->begin(t);
}

/*
 * Looks first and takes then, since only the parser knows where the head ends. What has been looked at and is not yet
 * a whole head belongs to it in any case.
 */
static void stage_on_poll(struct rl_transport *t, unsigned events)
{
	struct rl_proxy_stage *stage = t->proxy;
	char *at = stage->bytes + stage->n;
	ssize_t got = recv(t->fd, at, sizeof stage->bytes - stage->n, MSG_PEEK);

	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		rl_transport_fail(t, got ? rl_err_from_errno(errno) : RL_ERR_EOF, NULL, false);
		return;
	}
	enum rl_err err = rl_proxy_parse(rl_str_make(stage->bytes, stage->n + (size_t)got), &stage->head);

	if (err == RL_ERR_SYNTAX) {
		rl_transport_fail(t, RL_ERR_PROTOCOL, "the connection does not begin with a PROXY head", false);
		return;
	}
	size_t take = err == RL_OK ? stage->head.n - stage->n : (size_t)got;

	got = recv(t->fd, at, take, 0);
	assert(got == (ssize_t)take);
	stage->n += take;
	if (err == RL_OK)
		hand_up(t);
}

static unsigned stage_interest(const struct rl_transport *t)
{
	(void)t;
	return RL_POLL_READ;
}

static bool stage_pending(const struct rl_transport *t)
{
	(void)t;
	return false;
}

static void stage_fini(struct rl_transport *t)
{
	t->proxy->above->fini(t);
}

/* Neither reads, nor writes, nor ends in order: the transport is not open before the stage has gone. */
static const struct rl_filter stage_filter = {
	.name = "proxy",
	.on_poll = stage_on_poll,
	.interest = stage_interest,
	.pending = stage_pending,
	.fini = stage_fini,
};

enum rl_err rl_transport_await_proxy(struct rl_transport *t)
{
	assert(t->accepted && !t->proxy);
	t->proxy = calloc(1, sizeof *t->proxy);
	if (!t->proxy)
		return RL_ERR_NOMEM;
	t->proxy->above = t->filter;
	t->filter = &stage_filter;
	t->state = RL_TRANSPORT_HANDSHAKE;
	t->tls_failure = RL_TLS_FAILURE_NONE; /* it has not begun */
	t->due = 0;
	rl_loop_undefer(t->loop, &t->task);
	rl_transport_repoll(t);
	return RL_OK;
}

const struct rl_addr *rl_transport_peer(const struct rl_transport *t)
{
	return t->proxy && t->proxy->head.named ? &t->proxy->head.peer : NULL;
}
