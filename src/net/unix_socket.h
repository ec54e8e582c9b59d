/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening Unix socket and its file. The file of a process that has died is replaced,
 * that of a living one is not; ours is removed at the end, unless it is somebody else's
 * by then.
 */
#ifndef RL_NET_UNIX_SOCKET_H
#define RL_NET_UNIX_SOCKET_H

#include <sys/stat.h>

#include "loop/dns.h"

/* Which file is ours. */
struct rl_unix_file {
	dev_t device;
	ino_t inode;
};

/*
 * Listens (non-blocking) on a path's address; may wait RL_UNIX_WAIT_MS for another process that is doing the same in that
 * folder. The file has `mode` from before the first connection can come. BUSY: another process listens there, or
 * what stands there is no socket. *why is a text for people.
 */
#define RL_UNIX_WAIT_MS 2000u
enum rl_err rl_unix_listen(const struct rl_addr *addr, mode_t mode, int *fd, const char **why) RL_MUST_CHECK;
/* The file of a listening socket, and its address as text ("unix:/path"). */
void rl_unix_known(const struct rl_addr *addr, struct rl_unix_file *file, char *text, size_t n);
/* Removes the file if it is still this one. */
void rl_unix_remove(const struct rl_addr *addr, const struct rl_unix_file *file);

#endif
