/* SPDX-License-Identifier: Apache-2.0 */
/* See letter_priv.h. */
#include "life/letter_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static enum rl_err from_errno(void)
{
	return errno == EAGAIN || errno == EINTR ? RL_ERR_AGAIN : rl_err_from_errno(errno);
}

enum rl_err rl_letter_send(int to, int fd, const char *text)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.room = {0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	assert(iov.iov_len > 0 && iov.iov_len < RL_LETTER_MAX);
	if (fd >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL) < 0 ? from_errno() : RL_OK;
}

enum rl_err rl_letter_receive(int from, struct rl_letter *out)
{
	struct iovec iov = {.iov_base = out->text, .iov_len = sizeof out->text - 1};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof control.room};

	out->fd = -1;
	out->text[0] = '\0';
	ssize_t n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return from_errno();
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof out->fd))
			memcpy(&out->fd, CMSG_DATA(c), sizeof out->fd);
	if (!n)
		return RL_ERR_EOF; /* no letter is empty */
	out->text[n] = '\0';
	if (!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return RL_OK;
	if (out->fd >= 0)
		close(out->fd);
	out->fd = -1;
	return RL_ERR_PROTOCOL;
}

bool rl_letter_trusts(int fd, pid_t *pid)
{
	struct ucred peer;
	socklen_t n = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n))
		return false;
	*pid = peer.pid;
	return peer.uid == 0 || peer.uid == geteuid();
}

bool rl_letter_address(const char *path, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	return (size_t)snprintf(out->sun_path, sizeof out->sun_path, "%s", path) < sizeof out->sun_path;
}
