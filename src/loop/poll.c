/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness of descriptors over uv_poll. What libuv polls for is brought in line
 * with what is wanted in a task at the turn's end, so that pausing and resuming
 * within one turn costs nothing.
 *
 * Polling is level-triggered: a peer that has gone would be reported for ever.
 * So HANGUP is reported once and then no longer asked for; and a descriptor
 * nobody wants to read or write is then not polled at all, since an error cannot
 * be masked (epoll_ctl(2): EPOLLERR, EPOLLHUP).
 */
#include <assert.h>
#include <stdlib.h>

#include "loop/loop_priv.h"

struct rl_poll {
	uv_poll_t uv;
	rl_poll_f on_event;
	void *owner;
	struct rl_loop *loop;
	struct rl_task task; /* brings `armed` in line */
	unsigned want;       /* RL_POLL_READ, RL_POLL_WRITE */
	int armed;           /* what libuv has been told */
	bool hung;           /* HANGUP has been reported */
	bool closed;
};

static int needed(const struct rl_poll *poll)
{
	return (poll->want & RL_POLL_READ ? UV_READABLE : 0) | (poll->want & RL_POLL_WRITE ? UV_WRITABLE : 0) |
	       (poll->hung ? 0 : UV_DISCONNECT);
}

static void arm_later(struct rl_poll *poll)
{
	if (needed(poll) != poll->armed)
		rl_loop_defer(poll->loop, &poll->task);
	else
		rl_loop_undefer(poll->loop, &poll->task);
}

static void on_uv_event(uv_poll_t *uv, int status, int events)
{
	struct rl_poll *poll = uv->data;
	bool gone = events & UV_DISCONNECT;
	unsigned out = 0;

	if (status < 0) {
		/* An error is pending on it, and libuv has stopped polling: reads and writes will tell which. */
		poll->armed = 0;
		out = poll->want;
		gone = true;
	}
	if (events & UV_READABLE)
		out |= RL_POLL_READ;
	if (events & UV_WRITABLE)
		out |= RL_POLL_WRITE;
	out &= poll->want;
	if (gone && !poll->hung) {
		poll->hung = true;
		out |= RL_POLL_HANGUP;
	}
	arm_later(poll);
	if (out)
		poll->on_event(poll->owner, out);
}

static void arm(struct rl_task *task)
{
	struct rl_poll *poll = (struct rl_poll *)((char *)task - offsetof(struct rl_poll, task));
	int events = needed(poll);

	if (events == poll->armed)
		return;
	/* Fails only if two polls are open on one descriptor. */
	int bad = events ? uv_poll_start(&poll->uv, events, on_uv_event) : uv_poll_stop(&poll->uv);

	assert(bad == 0);
	(void)bad;
	poll->armed = events;
}

enum rl_err rl_poll_new(struct rl_loop *loop, int fd, rl_poll_f on_event, void *owner, struct rl_poll **out)
{
	struct rl_poll *poll = calloc(1, sizeof *poll);
	int bad;

	assert(on_event);
	*out = NULL;
	if (!poll)
		return RL_ERR_NOMEM;
	bad = uv_poll_init(&loop->uv, &poll->uv, fd);
	if (bad) {
		free(poll);
		return rl_err_from_errno(-bad);
	}
	poll->uv.data = poll;
	poll->on_event = on_event;
	poll->owner = owner;
	poll->loop = loop;
	poll->task.run = arm;
	loop->n_polls++;
	arm_later(poll);
	*out = poll;
	return RL_OK;
}

void rl_poll_want(struct rl_poll *poll, unsigned events)
{
	assert(!poll->closed && !(events & ~(unsigned)(RL_POLL_READ | RL_POLL_WRITE)));
	if (poll->want == events)
		return;
	poll->want = events;
	arm_later(poll);
}

void rl_poll_hand_over(struct rl_poll *poll, rl_poll_f on_event, void *owner)
{
	assert(!poll->closed && on_event);
	poll->on_event = on_event;
	poll->owner = owner;
}

static void on_closed(uv_handle_t *uv)
{
	free(uv->data);
}

void rl_poll_free(struct rl_poll *poll)
{
	if (!poll)
		return;
	assert(!poll->closed);
	poll->closed = true;
	poll->loop->n_polls--;
	rl_loop_undefer(poll->loop, &poll->task);
	/* Takes the descriptor out of the poll set before it returns; the memory goes after this turn. */
	uv_close((uv_handle_t *)&poll->uv, on_closed);
}
