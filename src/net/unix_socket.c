/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See unix_socket.h. Looking whether somebody listens, removing the file of one who does
 * not, and putting ours there are several steps; two processes that take them at once
 * could both believe that the place is theirs. So they are taken under a lock on the
 * folder (flock(2)), which goes with the process that holds it. Where the folder cannot be
 * locked (no right to read it, a file system without locks), it goes without.
 */
#include "net/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define RETRY_US 10000u

static const char *path_of(const struct rl_addr *addr)
{
	return ((const struct sockaddr_un *)(const void *)&addr->sa)->sun_path;
}

/* ---- the folder's lock ---- */

/* -1: not to be had, which `*busy` tells from a lock that another process holds for longer than anybody should. */
static int lock_folder(const char *path, bool *busy)
{
	char folder[sizeof(struct sockaddr_un)];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	uint64_t end_us = rl_clock_us() + RL_UNIX_WAIT_MS * 1000u;

	*busy = false;
	memcpy(folder, path, n);
	folder[n] = 0;
	int fd = open(n ? folder : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		*busy = errno == EWOULDBLOCK;
		if (errno == EINTR || (*busy && rl_clock_us() < end_us)) {
			usleep(RETRY_US);
			continue;
		}
		close(fd);
		return -1;
	}
	*busy = false;
	return fd;
}

static void unlock_folder(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- is somebody there? ---- */

/* OK: nobody listens, and no file is in the way any more. */
static enum rl_err clear_place(const struct rl_addr *addr, const char **why)
{
	struct stat st;
	int fd, failed = 0;

	if (lstat(path_of(addr), &st) < 0) {
		*why = strerror(errno);
		return errno == ENOENT ? RL_OK : rl_err_from_errno(errno);
	}
	*why = "a file that is not a socket is in the way";
	if (!S_ISSOCK(st.st_mode))
		return RL_ERR_BUSY;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr->sa, addr->len) < 0)
		failed = errno;
	if (fd >= 0)
		close(fd);
	/* Only this says that nobody has it open; a full queue, or a lack of rights, says nothing of the kind. */
	*why = strerror(EADDRINUSE);
	if (failed != ECONNREFUSED)
		return RL_ERR_BUSY;
	if (unlink(path_of(addr)) == 0 || errno == ENOENT)
		return RL_OK;
	*why = strerror(errno);
	return rl_err_from_errno(errno);
}

static enum rl_err bind_and_listen(int fd, const struct rl_addr *addr, mode_t mode, const char **why)
{
	bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)&addr->sa, addr->len) == 0;

	/* Until listen(2) nobody can connect, whatever the process's umask has made of the file. */
	if (bound && chmod(path_of(addr), mode) == 0 && listen(fd, SOMAXCONN) == 0)
		return RL_OK;
	enum rl_err err = errno == EADDRINUSE ? RL_ERR_BUSY : rl_err_from_errno(errno);

	*why = strerror(errno);
	if (bound)
		unlink(path_of(addr));
	return err;
}

enum rl_err rl_unix_listen(const struct rl_addr *addr, mode_t mode, int *fd, const char **why)
{
	bool busy;
	int lock = lock_folder(path_of(addr), &busy);

	*fd = -1;
	*why = "another process holds the lock of the socket's folder";
	if (busy)
		return RL_ERR_BUSY;
	enum rl_err err = clear_place(addr, why);

	if (!err) {
		*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		err = bind_and_listen(*fd, addr, mode, why);
	}
	if (err && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	unlock_folder(lock);
	return err;
}

void rl_unix_known(const struct rl_addr *addr, struct rl_unix_file *file, char *text, size_t n)
{
	struct stat st = {.st_ino = 0};

	/* A file that is not there has no inode 0 either: nothing will be taken for it. */
	if (lstat(path_of(addr), &st) < 0)
		st = (struct stat){.st_ino = 0};
	*file = (struct rl_unix_file){st.st_dev, st.st_ino};
	snprintf(text, n, "unix:%s", path_of(addr));
}

void rl_unix_remove(const struct rl_addr *addr, const struct rl_unix_file *file)
{
	bool busy;
	int lock = lock_folder(path_of(addr), &busy);
	struct stat st;

	if (lstat(path_of(addr), &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode)
		unlink(path_of(addr));
	unlock_folder(lock);
}
