/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager is told about this process: the datagrams of sd_notify(3), sent by hand, since the protocol is
 * one line of text a message. Without $NOTIFY_SOCKET nobody is told and nothing is opened. Nothing here can make the
 * program fail: a manager that does not listen is the manager's trouble.
 */
#ifndef RL_LIFE_NOTIFY_H
#define RL_LIFE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RL_NOTIFY_PATH_MAX 108u

struct rl_notify {
	char path[RL_NOTIFY_PATH_MAX]; /* "/path" or "@abstract", as in $NOTIFY_SOCKET; empty: nobody to tell */
	int fd;                        /* with a path */
	uint64_t watchdog_ms;          /* a sign of life is awaited this often; 0: none */
};

/* Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID. */
void rl_notify_open(struct rl_notify *notify);
/* The same from elsewhere (a process that takes over hears it from the one before it). `path` NULL or empty: nobody. */
void rl_notify_open_at(struct rl_notify *notify, const char *path, uint64_t watchdog_ms);
void rl_notify_close(struct rl_notify *notify);

/* Each waits at most RL_NOTIFY_WAIT_MS for room in the manager's queue; true when the message is there. */
#define RL_NOTIFY_WAIT_MS 500
bool rl_notify_ready(const struct rl_notify *notify, const char *status);
bool rl_notify_reloading(const struct rl_notify *notify);
bool rl_notify_stopping(const struct rl_notify *notify, const char *status);
bool rl_notify_status(const struct rl_notify *notify, const char *status);
bool rl_notify_main_pid(const struct rl_notify *notify, pid_t pid);
/* Does not wait: there is a next one. */
bool rl_notify_alive(const struct rl_notify *notify);

#endif
