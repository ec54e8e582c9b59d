/* SPDX-License-Identifier: Apache-2.0 */
/* See notify.h. The words of the messages are those of sd_notify(3). */
#include "life/notify.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define MESSAGE_BYTES 512

static_assert(RL_NOTIFY_PATH_MAX == sizeof((struct sockaddr_un *)0)->sun_path, "what a socket address holds");

/* A number of the environment; 0 if it is none. */
static uint64_t number(const char *name)
{
	const char *text = getenv(name);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);

	return errno || *end ? 0 : value;
}

static socklen_t address_of(const char *path, struct sockaddr_un *out)
{
	size_t n = strlen(path);

	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(out->sun_path, path, n);
	if (*path == '@')
		out->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*path == '/'));
}

void rl_notify_open_at(struct rl_notify *notify, const char *path, uint64_t watchdog_ms)
{
	const struct timeval wait = {.tv_usec = RL_NOTIFY_WAIT_MS * 1000};

	*notify = (struct rl_notify){.path = ""};
	if (!path || !*path)
		return;
	if ((*path != '/' && *path != '@') || strlen(path) >= sizeof notify->path || !path[1]) {
		RL_WARN("notify", "NOTIFY_SOCKET is no address of a Unix socket: the service manager hears nothing");
		return;
	}
	notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify->fd < 0 || setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0) {
		RL_WARN("notify", "the service manager hears nothing: %s", strerror(errno));
		if (notify->fd >= 0)
			close(notify->fd);
		return;
	}
	snprintf(notify->path, sizeof notify->path, "%s", path);
	notify->watchdog_ms = watchdog_ms;
}

void rl_notify_open(struct rl_notify *notify)
{
	uint64_t pid = number("WATCHDOG_PID"), watchdog_us = number("WATCHDOG_USEC");

	if (pid && pid != (uint64_t)getpid())
		watchdog_us = 0; /* meant for another process */
	rl_notify_open_at(notify, getenv("NOTIFY_SOCKET"), watchdog_us / 1000);
}

void rl_notify_close(struct rl_notify *notify)
{
	if (*notify->path)
		close(notify->fd);
	*notify = (struct rl_notify){.path = ""};
}

static bool tell(const struct rl_notify *notify, const char *message, int flags)
{
	struct sockaddr_un to;

	if (!*notify->path)
		return false;
	socklen_t n = address_of(notify->path, &to);

	if (sendto(notify->fd, message, strlen(message), MSG_NOSIGNAL | flags, (const struct sockaddr *)&to, n) >= 0)
		return true;
	RL_WARN("notify", "the service manager does not hear us: %s", strerror(errno));
	return false;
}

/* Assignments are lines: a status is one line. */
static bool tell_with_status(const struct rl_notify *notify, const char *what, const char *status)
{
	char message[MESSAGE_BYTES];

	assert(!strchr(status, '\n'));
	snprintf(message, sizeof message, "%sSTATUS=%s", what, status);
	return tell(notify, message, 0);
}

bool rl_notify_ready(const struct rl_notify *notify, const char *status)
{
	return tell_with_status(notify, "READY=1\n", status);
}

/* The time tells the manager which of its requests this answers (Type=notify-reload). */
bool rl_notify_reloading(const struct rl_notify *notify)
{
	char message[MESSAGE_BYTES];
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_nsec / 1000u);
	return tell(notify, message, 0);
}

bool rl_notify_stopping(const struct rl_notify *notify, const char *status)
{
	return tell_with_status(notify, "STOPPING=1\n", status);
}

bool rl_notify_status(const struct rl_notify *notify, const char *status)
{
	return tell_with_status(notify, "", status);
}

bool rl_notify_main_pid(const struct rl_notify *notify, pid_t pid)
{
	char message[MESSAGE_BYTES];

	assert(pid > 0);
	snprintf(message, sizeof message, "MAINPID=%ld", (long)pid);
	return tell(notify, message, 0);
}

bool rl_notify_alive(const struct rl_notify *notify)
{
	return tell(notify, "WATCHDOG=1", MSG_DONTWAIT);
}
