/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: one per address, exclusive (no SO_REUSEPORT: a stale process must not share it in silence).
 * Out of descriptors (FAULTS 36) accepting rests for a while instead of being told again and again that there are none.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/listener.h"
#include "net/unix_socket.h"

#define ACCEPTS_PER_TURN 64u
#define REST_MS 100u

struct rl_listener {
	struct rl_loop *loop;
	struct rl_poll *poll;
	struct rl_timer rest; /* running while descriptors are short */
	rl_accept_f on_accept;
	void *arg;
	struct rl_addr addr;
	struct rl_unix_file file; /* of a Unix socket */
	bool owns_file;
	char text[RL_LISTENER_TEXT_MAX];
	int fd;
	bool accepting; /* the owner's wish */
	bool closed;
	struct rl_task task; /* frees it */
};

static void update(struct rl_listener *listener)
{
	bool on = listener->accepting && !rl_timer_running(&listener->rest);

	rl_poll_want(listener->poll, on ? RL_POLL_READ : 0);
}

static void on_rest_over(struct rl_timer *timer)
{
	update((struct rl_listener *)((char *)timer - offsetof(struct rl_listener, rest)));
}

/* What accept(2) may report of a connection that died in the queue, or of the network, is not the listener's end. */
static bool accept_one(struct rl_listener *listener)
{
	struct rl_addr peer = {.len = sizeof peer.sa};
	int fd = accept4(listener->fd, (struct sockaddr *)&peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		listener->on_accept(listener->arg, listener, fd, &peer);
		return true;
	}
	switch (errno) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		RL_WARN("net", "cannot accept a connection: %s; resting for %u ms", strerror(errno), REST_MS);
		rl_timer_start(listener->loop, &listener->rest, REST_MS);
		return false;
	default:
		return true;
	}
}

static void on_readable(void *owner, unsigned events)
{
	struct rl_listener *listener = owner;

	if (!(events & RL_POLL_READ))
		return;
	for (unsigned i = 0; i < ACCEPTS_PER_TURN && listener->accepting && !listener->closed; i++)
		if (!accept_one(listener))
			break;
	if (!listener->closed)
		update(listener);
}

static enum rl_err open_inet(struct rl_listener *listener)
{
	const struct sockaddr *sa = (const struct sockaddr *)&listener->addr.sa;
	const int on = 1;

	listener->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		return rl_err_from_errno(errno);
	if (setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    (sa->sa_family == AF_INET6 && setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0))
		return rl_err_from_errno(errno);
	if (bind(listener->fd, sa, listener->addr.len) < 0 || listen(listener->fd, SOMAXCONN) < 0)
		return errno == EADDRINUSE ? RL_ERR_BUSY : rl_err_from_errno(errno);
	listener->addr.len = sizeof listener->addr.sa;
	if (getsockname(listener->fd, (struct sockaddr *)&listener->addr.sa, &listener->addr.len) < 0)
		return rl_err_from_errno(errno);
	static_assert(RL_LISTENER_TEXT_MAX >= RL_ADDR_TEXT_MAX, "an address must fit");
	rl_addr_text(&listener->addr, listener->text);
	return RL_OK;
}

static enum rl_err open_socket(struct rl_listener *listener, rl_str address, unsigned mode, const char **why)
{
	rl_str path = rl_str_sub(address, strlen("unix:"), address.n);
	enum rl_err err;

	if (rl_str_starts(address, RL_STR("unix:"))) {
		*why = "not the path of a Unix socket: 1 to 107 bytes";
		if (!rl_addr_unix(path, &listener->addr))
			return RL_ERR_SYNTAX;
		err = rl_unix_listen(&listener->addr, mode, &listener->fd, why);
		rl_unix_known(&listener->addr, &listener->file, listener->text, sizeof listener->text);
		listener->owns_file = !err;
		return err;
	}
	*why = "not an address: write 127.0.0.1:8080, [::1]:8080 or unix:/path";
	err = rl_addr_parse(address, &listener->addr);
	if (err)
		return err;
	err = open_inet(listener);
	*why = err == RL_ERR_BUSY ? strerror(EADDRINUSE) : strerror(errno);
	return err;
}

static void close_socket(struct rl_listener *listener)
{
	if (listener->fd < 0)
		return;
	/* While it is open no other file can have its inode. */
	if (listener->owns_file)
		rl_unix_remove(&listener->addr, &listener->file);
	close(listener->fd);
}

static void release(struct rl_task *task)
{
	free((char *)task - offsetof(struct rl_listener, task));
}

static struct rl_listener *listener_new(struct rl_loop *loop, rl_accept_f on_accept, void *arg)
{
	struct rl_listener *listener = calloc(1, sizeof *listener);

	assert(on_accept);
	if (!listener)
		return NULL;
	listener->loop = loop;
	listener->on_accept = on_accept;
	listener->arg = arg;
	listener->fd = -1;
	listener->task.run = release;
	rl_timer_init(&listener->rest, on_rest_over);
	return listener;
}

enum rl_err rl_listener_open(struct rl_loop *loop, rl_str address, unsigned mode, rl_accept_f on_accept, void *arg,
			     struct rl_listener **out, const char **why)
{
	struct rl_listener *listener = listener_new(loop, on_accept, arg);
	enum rl_err err = RL_ERR_NOMEM;

	*out = NULL;
	*why = rl_err_text(err);
	if (!listener)
		return err;
	err = open_socket(listener, address, mode, why);
	if (!err) {
		err = rl_poll_new(loop, listener->fd, on_readable, listener, &listener->poll);
		*why = rl_err_text(err);
	}
	if (err) {
		close_socket(listener);
		free(listener);
		return err;
	}
	*why = NULL;
	*out = listener;
	return RL_OK;
}

enum rl_err rl_listener_adopt(struct rl_loop *loop, int fd, rl_accept_f on_accept, void *arg, struct rl_listener **out)
{
	struct rl_listener *listener = listener_new(loop, on_accept, arg);
	enum rl_err err = RL_OK;

	*out = NULL;
	if (!listener)
		return RL_ERR_NOMEM;
	listener->addr.len = sizeof listener->addr.sa;
	if (getsockname(fd, (struct sockaddr *)&listener->addr.sa, &listener->addr.len) < 0)
		err = rl_err_from_errno(errno);
	if (listener->addr.sa.ss_family == AF_UNIX)
		rl_unix_known(&listener->addr, &listener->file, listener->text, sizeof listener->text);
	else
		rl_addr_text(&listener->addr, listener->text);
	if (!err)
		err = rl_poll_new(loop, fd, on_readable, listener, &listener->poll);
	if (err) {
		free(listener);
		return err;
	}
	listener->fd = fd;
	*out = listener;
	return RL_OK;
}

void rl_listener_accepting(struct rl_listener *listener, bool on)
{
	listener->accepting = on;
	update(listener);
}

const struct rl_addr *rl_listener_addr(const struct rl_listener *listener)
{
	return &listener->addr;
}

const char *rl_listener_text(const struct rl_listener *listener)
{
	return listener->text;
}

bool rl_listener_owns_file(const struct rl_listener *listener)
{
	return listener->owns_file;
}

void rl_listener_own_file(struct rl_listener *listener, bool own)
{
	listener->owns_file = own && listener->addr.sa.ss_family == AF_UNIX;
}

int rl_listener_fd(const struct rl_listener *listener)
{
	return listener->fd;
}

void rl_listener_close(struct rl_listener *listener)
{
	if (!listener)
		return;
	assert(!listener->closed);
	listener->closed = true;
	rl_timer_stop(&listener->rest);
	rl_poll_free(listener->poll);
	close_socket(listener);
	/* It may be closed from inside on_accept. */
	rl_loop_defer(listener->loop, &listener->task);
}
