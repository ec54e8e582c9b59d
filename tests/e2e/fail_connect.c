/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before the C library into a program under test (LD_PRELOAD): while a file is there, no connection of IPv4 finds
 * a free port of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int connect(int fd, const struct sockaddr *addr, socklen_t n)
{
	const char *path = getenv("RELAIS_FAIL_CONNECT");

	if (path && addr->sa_family == AF_INET && access(path, F_OK) == 0) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	return (int)syscall(SYS_connect, fd, addr, n);
}
