/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets that this process was given instead of opening them itself: by a service manager (socket activation,
 * sd_listen_fds(3)) or by the process that it takes over from. Each finds its place among the addresses of the
 * configuration; what finds none is an error of the manager's unit file, or an address that the new
 * configuration no longer has.
 *
 * A descriptor is this table's until it is taken.
 */
#ifndef RL_LIFE_INHERIT_H
#define RL_LIFE_INHERIT_H

#include "loop/dns.h"

#define RL_INHERIT_MAX 256u
#define RL_INHERIT_TEXT_MAX 128u

enum rl_plane { RL_PLANE_ANY = 0, RL_PLANE_DATA, RL_PLANE_ADMIN };

struct rl_inherited {
	int fd; /* -1: taken */
	enum rl_plane plane;
	/* Stands for the plane's next address, whatever that says: the manager called it "data" or "admin". */
	bool by_name;
	bool own_file;                     /* of a Unix socket: its former owner made the file, and leaves it to us */
	char address[RL_INHERIT_TEXT_MAX]; /* as its former owner's configuration wrote it; empty: not known */
	struct rl_addr addr;
};

struct rl_inherit {
	struct rl_inherited sockets[RL_INHERIT_MAX];
	size_t n;
};

/* What $LISTEN_FDS, $LISTEN_PID and $LISTEN_FDNAMES offer, if anything. On an error *why says what is wrong with it. */
enum rl_err rl_inherit_from_manager(struct rl_inherit *in, const char **why) RL_MUST_CHECK;
/* Takes fd, also when it fails: SYNTAX if it is no listening stream socket, LIMIT if there are too many. */
enum rl_err rl_inherit_add(struct rl_inherit *in, int fd, enum rl_plane plane, bool by_name,
			   const char *address) RL_MUST_CHECK;

/* The descriptor for this address of the plane, now the caller's; -1 if there is none. */
int rl_inherit_take(struct rl_inherit *in, enum rl_plane plane, rl_str address);
/* How many were given by the plane's name: if there are any, they are the only ones of that plane. */
size_t rl_inherit_named(const struct rl_inherit *in, enum rl_plane plane);
/* Whether the socket that was given for this address came with its file (own_file). */
bool rl_inherit_with_file(const struct rl_inherit *in, enum rl_plane plane, rl_str address);
/* A socket that nobody has taken, or NULL. */
const struct rl_inherited *rl_inherit_left(const struct rl_inherit *in);
void rl_inherit_close(struct rl_inherit *in); /* those that are left */
/* The same for good, said in the log: nobody listens there any more, and files that were left to us go, too. */
void rl_inherit_drop(struct rl_inherit *in);

/* "127.0.0.1:80", "[::1]:80" or "unix:/path", NUL-terminated. */
void rl_inherit_text(const struct rl_addr *addr, char out[RL_INHERIT_TEXT_MAX]);

#endif
