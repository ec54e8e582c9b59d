/* SPDX-License-Identifier: Apache-2.0 */
/* See inherit.h. */
#include "life/inherit.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "net/unix_socket.h"

#define MANAGER_FDS_START 3 /* sd_listen_fds(3) */

void rl_inherit_text(const struct rl_addr *addr, char out[RL_INHERIT_TEXT_MAX])
{
	struct sockaddr_un un = {.sun_family = AF_UNSPEC};

	static_assert(RL_INHERIT_TEXT_MAX >= RL_ADDR_TEXT_MAX, "an address fits");
	static_assert(RL_INHERIT_TEXT_MAX > sizeof un.sun_path + sizeof "unix:", "a path fits");
	if (addr->sa.ss_family != AF_UNIX) {
		rl_addr_text(addr, out);
		return;
	}
	memcpy(&un, &addr->sa, sizeof un);
	snprintf(out, RL_INHERIT_TEXT_MAX, "unix:%.*s", (int)sizeof un.sun_path, un.sun_path);
}

/* Whether the two name one place: as text, or as the address that the text means. */
static bool names(rl_str address, const struct rl_inherited *s)
{
	char text[RL_INHERIT_TEXT_MAX];
	struct rl_addr addr;

	if (*s->address && rl_str_eq(address, rl_str_of(s->address)))
		return true;
	rl_inherit_text(&s->addr, text);
	if (rl_str_eq(address, rl_str_of(text)))
		return true;
	if (rl_str_starts(address, RL_STR("unix:")) || rl_addr_parse(address, &addr))
		return false;
	char meant[RL_ADDR_TEXT_MAX]; /* [0:0::1]:80 and [::1]:80 are one */

	rl_addr_text(&addr, meant);
	return rl_str_eq(rl_str_of(meant), rl_str_of(text));
}

static bool is_listening(int fd)
{
	int on = 0, type = 0;
	socklen_t n = sizeof on, m = sizeof type;

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) && on &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &m) && type == SOCK_STREAM;
}

enum rl_err rl_inherit_add(struct rl_inherit *in, int fd, enum rl_plane plane, bool by_name, const char *address)
{
	struct rl_inherited s = {.fd = fd, .plane = plane, .by_name = by_name, .addr.len = sizeof s.addr.sa};
	enum rl_err err = RL_ERR_SYNTAX;

	assert(!by_name || plane != RL_PLANE_ANY);
	if (in->n == RL_INHERIT_MAX || strlen(address) >= sizeof s.address)
		err = RL_ERR_LIMIT;
	else if (is_listening(fd) && !getsockname(fd, (struct sockaddr *)&s.addr.sa, &s.addr.len) &&
		 !fcntl(fd, F_SETFD, FD_CLOEXEC) && !fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		err = RL_OK;
	if (err) {
		close(fd);
		return err;
	}
	snprintf(s.address, sizeof s.address, "%s", address);
	in->sockets[in->n++] = s;
	return RL_OK;
}

/* A number of the environment up to `max`; -1 if the variable is missing or holds something else. */
static long number(const char *name, long max)
{
	const char *text = getenv(name);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return -1;
	long value = strtol(text, &end, 10);

	return *end || value > max ? -1 : value;
}

enum rl_err rl_inherit_from_manager(struct rl_inherit *in, const char **why)
{
	const char *given = getenv("LISTEN_FDNAMES");
	rl_str left = rl_str_of(given ? given : "");
	enum rl_err err = RL_OK;

	if (!getenv("LISTEN_FDS") || number("LISTEN_PID", LONG_MAX - 1) != (long)getpid())
		return RL_OK; /* nothing, or meant for the process that started us */
	long n = number("LISTEN_FDS", RL_INHERIT_MAX);

	if (n < 0) {
		*why = "LISTEN_FDS is no number, or too large";
		return RL_ERR_LIMIT;
	}
	for (int fd = MANAGER_FDS_START; fd < MANAGER_FDS_START + n; fd++) {
		rl_str name = rl_str_cut(&left, ':');
		bool data = rl_str_eq(name, RL_STR("data")), admin = rl_str_eq(name, RL_STR("admin"));
		enum rl_plane plane = data ? RL_PLANE_DATA : admin ? RL_PLANE_ADMIN : RL_PLANE_ANY;
		enum rl_err one = rl_inherit_add(in, fd, plane, data || admin, "");

		err = err ? err : one;
	}
	if (err)
		*why = "one of the descriptors of LISTEN_FDS is not a listening stream socket";
	return err;
}

size_t rl_inherit_named(const struct rl_inherit *in, enum rl_plane plane)
{
	size_t n = 0;

	for (size_t i = 0; i < in->n; i++)
		n += in->sockets[i].by_name && in->sockets[i].plane == plane;
	return n;
}

int rl_inherit_take(struct rl_inherit *in, enum rl_plane plane, rl_str address)
{
	bool by_name = rl_inherit_named(in, plane) > 0;

	for (size_t i = 0; i < in->n; i++) {
		struct rl_inherited *s = &in->sockets[i];
		int fd = s->fd;

		if (fd < 0 || (s->plane != RL_PLANE_ANY && s->plane != plane) || s->by_name != by_name ||
		    (!by_name && !names(address, s)))
			continue;
		s->fd = -1;
		return fd;
	}
	return -1;
}

bool rl_inherit_with_file(const struct rl_inherit *in, enum rl_plane plane, rl_str address)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->sockets[i].own_file && in->sockets[i].plane == plane && names(address, &in->sockets[i]))
			return true;
	return false;
}

const struct rl_inherited *rl_inherit_left(const struct rl_inherit *in)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->sockets[i].fd >= 0)
			return &in->sockets[i];
	return NULL;
}

void rl_inherit_drop(struct rl_inherit *in)
{
	for (size_t i = 0; i < in->n; i++) {
		struct rl_inherited *s = &in->sockets[i];
		char text[RL_INHERIT_TEXT_MAX];
		struct rl_unix_file file;

		if (s->fd < 0)
			continue;
		rl_inherit_text(&s->addr, text);
		RL_INFO("takeover", "%s is not listened on any more", text);
		if (s->own_file) {
			rl_unix_known(&s->addr, &file, text, sizeof text);
			rl_unix_remove(&s->addr, &file);
		}
	}
	rl_inherit_close(in);
}

void rl_inherit_close(struct rl_inherit *in)
{
	for (size_t i = 0; i < in->n; i++) {
		if (in->sockets[i].fd >= 0)
			close(in->sockets[i].fd);
		in->sockets[i].fd = -1;
	}
}
