/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where clients come in: the listeners of a plane, each with the TLS context that its
 * next connection gets. A reload makes the contexts of all doors first and only then
 * hangs them in, so that a bad certificate changes nothing; connections that are
 * open keep the context that they began with.
 */
#ifndef RL_APP_DOORS_H
#define RL_APP_DOORS_H

#include "config/config.h"
#include "net/listener.h"
#include "net/tls.h"

#define RL_CERTIFICATES_MAX 101u /* of one listener: the pair, and a list of 100 */
#define RL_DOORS_MAX 128u        /* of a plane: 64 addresses, each of which may be localhost's two */

struct rl_program;

struct rl_door {
	struct rl_program *program;
	struct rl_listener *listener;
	bool proxied;                       /* connections must begin with a PROXY head */
	struct rl_tls_server *tls;          /* NULL: without */
	char address[RL_LISTENER_TEXT_MAX]; /* as the configuration has it, which may say port 0 */
	bool by_name;                       /* where it is the service manager has decided */
};

struct rl_doors {
	struct rl_door list[RL_DOORS_MAX];
	size_t n;
};

/* The TLS contexts of a configuration, in the order of its lists. NULL where there is no TLS. */
struct rl_door_locks {
	struct rl_tls_server *data[RL_DOORS_MAX], *admin[RL_DOORS_MAX];
};

/*
 * Reads the certificates that a configuration names. `report` gets a line for each that is no good, in the form of the
 * loader's. Ends with rl_door_locks_fini in any case.
 */
enum rl_err rl_door_locks_init(struct rl_door_locks *locks, const struct rl_config *config,
			       struct rl_buf *report) RL_MUST_CHECK;
void rl_door_locks_fini(struct rl_door_locks *locks);

/*
 * Opens all listeners of a configuration, or takes those that program->inherit has; not yet accepting. Returns an exit
 * status; what failed is printed.
 */
int rl_doors_open(struct rl_program *program, const struct rl_config *config, const struct rl_door_locks *locks);
/* From now on the doors use these contexts, as far as the configuration still names them by the same address. */
void rl_doors_change_locks(struct rl_program *program, const struct rl_config *config,
			   const struct rl_door_locks *locks);
/* Another process goes on with our sockets: the files of Unix sockets are its own to remove. And the other side of it. */
void rl_doors_leave_files(struct rl_program *program);
void rl_doors_take_files(struct rl_program *program);
/* Keys of session tickets that have had their time are replaced. */
void rl_doors_rotate_tickets(struct rl_program *program);
void rl_doors_accepting(struct rl_doors *doors, bool on);
void rl_doors_close(struct rl_doors *doors);
bool rl_doors_beyond_loopback(const struct rl_doors *doors);

/* Connections of clients on all workers. */
uint32_t rl_doors_connections(const struct rl_program *program);
/* Of program->room_timer: accepting, paused because all places were taken, goes on when there is room again. */
void rl_doors_on_room(struct rl_timer *timer);

#endif
