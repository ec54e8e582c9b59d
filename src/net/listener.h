/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket, of the acceptor's loop. One socket per address, exclusive: no
 * SO_REUSEPORT, so that a second process on the same port is an error and not a
 * silent sharer. What it accepts is non-blocking and belongs to the callback.
 */
#ifndef RL_NET_LISTENER_H
#define RL_NET_LISTENER_H

#include "loop/dns.h"
#include "loop/loop.h"

#define RL_LISTENER_TEXT_MAX 128

struct rl_listener;
/* Called for each accepted descriptor, which is the callee's. */
typedef void (*rl_accept_f)(void *arg, struct rl_listener *listener, int fd, const struct rl_addr *peer);
/*
 * "host:port" (port 0 picks one) or "unix:/path", whose file gets `mode`. Where another process listens already it is
 * RL_ERR_BUSY; the socket file of a process that has died is replaced. *why names the system's reason. Not yet
 * accepting.
 */
enum rl_err rl_listener_open(struct rl_loop *loop, rl_str address, unsigned mode, rl_accept_f on_accept, void *arg,
			     struct rl_listener **out, const char **why) RL_MUST_CHECK;
/*
 * The same on a socket that listens already and does not block: one of a service manager, or of the process that this one
 * takes over from. The listener's from then on; the caller's if it fails.
 */
enum rl_err rl_listener_adopt(struct rl_loop *loop, int fd, rl_accept_f on_accept, void *arg,
			      struct rl_listener **out) RL_MUST_CHECK;
/* Pauses (descriptor shortage, full) and resumes accepting; starts paused. Out of descriptors pauses by itself for a while. */
void rl_listener_accepting(struct rl_listener *listener, bool on);
const struct rl_addr *rl_listener_addr(const struct rl_listener *listener);
/* "127.0.0.1:8080" with the port that was picked, or "unix:/path". */
const char *rl_listener_text(const struct rl_listener *listener);
int rl_listener_fd(const struct rl_listener *listener); /* to be handed to another process; stays ours */
/* Whether it removes the file of its Unix socket when it closes: the one that made it does, one that adopts it does not. */
bool rl_listener_owns_file(const struct rl_listener *listener);
void rl_listener_own_file(struct rl_listener *listener,
			  bool own); /* another process is to do it, or has left it to us */
/* Removes the file that it owns, if it is still there. Accepts NULL. */
void rl_listener_close(struct rl_listener *listener);

#endif
