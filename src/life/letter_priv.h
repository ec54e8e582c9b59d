/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a takeover: one line of text each, one of which may carry a descriptor (SOCK_SEQPACKET, SCM_RIGHTS). */
#ifndef RL_LIFE_LETTER_PRIV_H
#define RL_LIFE_LETTER_PRIV_H

#include <sys/un.h>

#include "life/control.h"

#define RL_LETTER_MAX 512u
#define RL_LETTER_HELLO "relais takeover "
#define RL_LETTER_VERSION "1"
#define RL_LETTER_WELCOME "relais"

struct rl_letter {
	char text[RL_LETTER_MAX]; /* NUL-terminated */
	int fd;                   /* -1: none; the receiver's */
};

/* fd -1: none goes with it. AGAIN: no room (or time); CLOSED, RESET: nobody is there. */
enum rl_err rl_letter_send(int to, int fd, const char *text) RL_MUST_CHECK;
/* AGAIN: none is there (in time); EOF: the other side has closed. PROTOCOL: too long, or of more than one descriptor. */
enum rl_err rl_letter_receive(int from, struct rl_letter *out) RL_MUST_CHECK;
/* Whether the other side is of our user, or root. */
bool rl_letter_trusts(int fd, pid_t *pid);
bool rl_letter_address(const char *path, struct sockaddr_un *out); /* false: too long */

#endif
