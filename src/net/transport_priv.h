/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a transport, for its filters (plain socket, TLS) and for the
 * dialling of a new connection. A filter moves bytes and says what to poll for;
 * states, events and closing are in transport.c.
 */
#ifndef RL_NET_TRANSPORT_PRIV_H
#define RL_NET_TRANSPORT_PRIV_H

#include "net/transport.h"

struct rl_filter {
	const char *name;
	/* The socket is connected: ends in rl_transport_opened, at once or after a handshake. */
	void (*begin)(struct rl_transport *t);
	void (*on_poll)(struct rl_transport *t, unsigned events);
	/* RL_POLL_* that serve what the owner wants. */
	unsigned (*interest)(const struct rl_transport *t);
	size_t (*read)(struct rl_transport *t, char *into, size_t n, enum rl_err *err);
	size_t (*write)(struct rl_transport *t, const struct iovec *iov, int n, enum rl_err *err);
	bool (*pending)(const struct rl_transport *t);
	bool (*finish)(
		struct rl_transport *t); /* says good-bye in its own words, then comes FIN; false: when WRITE is */
	void (*fini)(struct rl_transport *t);
};

enum rl_transport_state {
	RL_TRANSPORT_NONE = 0,
	RL_TRANSPORT_CONNECTING,
	RL_TRANSPORT_HANDSHAKE, /* the filter's own poll interest holds */
	RL_TRANSPORT_OPEN,
	RL_TRANSPORT_FAILED,
	RL_TRANSPORT_CLOSED, /* by the owner; freed by `task` */
};

struct rl_dial;
struct rl_proxy_stage;
struct rl_tunnel;
struct ssl_st;

struct rl_transport {
	const struct rl_filter *filter;
	struct rl_loop *loop;
	rl_transport_f on_event;
	void *owner;
	struct rl_poll *poll;
	struct rl_dial *dial;             /* while connecting */
	struct rl_tunnel *tunnel;         /* until the proxy has opened the way */
	struct rl_proxy_stage *proxy;     /* of a connection that began, or must begin, with a PROXY head */
	struct ssl_st *ssl;               /* of the TLS filter */
	struct rl_tls_sessions *sessions; /* of the TLS filter; NULL: none are kept */
	uint64_t checked_ms; /* when the peer's certificate was checked, for this session or the one it goes on from */
	int fd;              /* -1 while connecting */
	enum rl_transport_state state;
	struct rl_task task;     /* reports `due`, or frees a closed transport */
	unsigned due;            /* RL_EV_* to be reported at the turn's end */
	uint64_t written_ms;     /* when it last wrote, 0: never */
	unsigned handshake_poll; /* RL_POLL_* that the handshake waits for */
	enum rl_tls_failure
		tls_failure; /* TIMEOUT from the beginning of a client's handshake on, until more is known */
	int sys_errno;       /* of the TLS filter's last system call that failed */
	bool want_read, want_write;
	bool read_wants_write, write_wants_read; /* TLS (SSL_get_error(3)) */
	bool accepted;
	bool hung;     /* the peer has shut down or reset */
	bool read_end; /* EOF or an error was read: no more READ */
	bool broken;   /* after an error nothing more can be said to the peer */
	bool finished; /* FIN was sent */
	enum rl_err reason;
	const char *detail;
};

/* A filter's handshake is done: applies the owner's interest and reports READY. Last thing in a callback. */
void rl_transport_opened(struct rl_transport *t);
/* Reports FAILED, from a callback or (`later`) by a task. `detail` is static. Last thing in a callback. */
void rl_transport_fail(struct rl_transport *t, enum rl_err reason, const char *detail, bool later);
void rl_transport_emit(struct rl_transport *t, unsigned events);
/* Brings polling in line with filter->interest. */
void rl_transport_repoll(struct rl_transport *t);
/* The dialling has found a connection; `hung`: the peer has already shut down. */
void rl_transport_connected(struct rl_transport *t, int fd, struct rl_poll *poll, bool hung);

/* dial.c: starts connecting; ends in rl_transport_connected or rl_transport_fail, never inside this call. */
enum rl_err rl_dial_start(struct rl_transport *t, const struct rl_transport_target *target) RL_MUST_CHECK;
void rl_dial_cancel(struct rl_dial *dial); /* accepts NULL */

/* tunnel.c: puts the way through a proxy below the filter that is there. */
enum rl_err rl_tunnel_attach(struct rl_transport *t, const struct rl_transport_target *target) RL_MUST_CHECK;

/* tls.c: puts the TLS filter on a transport. */
enum rl_err rl_tls_attach_client(struct rl_transport *t, const struct rl_transport_target *target) RL_MUST_CHECK;
enum rl_err rl_tls_attach_server(struct rl_transport *t, struct rl_tls_server *tls) RL_MUST_CHECK;

#endif
