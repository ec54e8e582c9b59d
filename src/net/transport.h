/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's filter stack: a socket at the bottom, a way through a proxy and
 * TLS above it where asked, behind one vtable. A transport moves bytes and reports events; it knows no
 * protocol. It belongs to one loop. Reads and writes go straight to the
 * descriptor (TLS by SSL_set_fd): there is no buffer here but OpenSSL's own.
 *
 * Events: READY once (connected, handshake done), then READ/WRITE while wanted;
 * HANGUP when the peer has shut down its side or reset, reported even while
 * reading is not wanted; FAILED (reason in `reason`, text in `detail`) ends it.
 */
#ifndef RL_NET_TRANSPORT_H
#define RL_NET_TRANSPORT_H

#include <sys/uio.h>

#include "base/secret.h"
#include "loop/dns.h"
#include "loop/loop.h"
#include "net/tls.h"

enum { RL_EV_READY = 1, RL_EV_READ = 2, RL_EV_WRITE = 4, RL_EV_HANGUP = 8, RL_EV_FAILED = 16 };

struct rl_transport;
typedef void (*rl_transport_f)(void *owner, struct rl_transport *transport, unsigned events);

/* What was learned of reaching somebody: which family of addresses answers where the usual one does not. */
struct rl_dial_memory {
	int family; /* AF_*; 0: nothing is known */
	uint64_t until_ms;
};

/* Where to connect, and what lies between us and there. Borrowed for the call only. */
struct rl_transport_target {
	const struct rl_addr *addrs;
	unsigned n_addrs;
	struct rl_dial_memory *memory;    /* of the same loop, outlives the connection; NULL: none */
	struct rl_tls_client *tls;        /* NULL: no TLS */
	rl_str host;                      /* whom the certificate must be for */
	rl_str alpn;                      /* offered in place of what `tls` offers; empty: that */
	struct rl_tls_sessions *sessions; /* of this host with this `tls`; NULL: none are kept */
	struct rl_secret
		tunnel;    /* where `addrs` are a proxy's: what to ask of it (net/tunnel.h); unset: they are not */
	bool speaks_first; /* who is behind that proxy may say something before he is spoken to */
};

/* Connects to the first address that answers, one after the other with a head start of 250 ms each (RFC 8305);
 * then handshakes if there is TLS. No time-out of its own.
 * NOMEM, or SYNTAX for a `host` that no certificate could be for; all else arrives as FAILED. */
enum rl_err rl_transport_connect(struct rl_loop *loop, const struct rl_transport_target *target,
				 rl_transport_f on_event, void *owner, struct rl_transport **out) RL_MUST_CHECK;
/* Takes the accepted, non-blocking `fd` in any case (closes it on failure). */
enum rl_err rl_transport_accept(struct rl_loop *loop, int fd, struct rl_tls_server *tls, rl_transport_f on_event,
				void *owner, struct rl_transport **out) RL_MUST_CHECK;

/*
 * Right after rl_transport_accept: the connection begins with a PROXY head (net/proxy_protocol.h), before TLS too. READY
 * comes after it; what does not begin so has FAILED. No time-out of its own. NOMEM: the connection is to be closed.
 */
enum rl_err rl_transport_await_proxy(struct rl_transport *transport) RL_MUST_CHECK;
/* Whom the PROXY head named, or NULL. Once READY. */
const struct rl_addr *rl_transport_peer(const struct rl_transport *transport);

/* Bytes read > 0; 0 with *err = OK: nothing now, EOF (in order), TLS (cut without close_notify), RESET, IO. */
size_t rl_transport_read(struct rl_transport *transport, char *into, size_t n, enum rl_err *err);
/* Bytes taken (may be fewer than given, then wait for WRITE); on failure 0 and *err. */
size_t rl_transport_write(struct rl_transport *transport, const struct iovec *iov, int n, enum rl_err *err);
/* Interest in READ and WRITE. No system call when it does not change. */
void rl_transport_want(struct rl_transport *transport, bool read, bool write);
/*
 * A peer that has gone without a word (its machine, or a NAT's memory of the connection) is found out: what is sent is
 * not acknowledged for `silent_ms`, or probes are not, which the kernel sends while there is nothing to say. 0: never.
 */
void rl_transport_watch(struct rl_transport *transport, uint64_t silent_ms);
/* Is anything already decrypted waiting inside (no poll event will come for it)? */
bool rl_transport_pending(const struct rl_transport *transport);
/*
 * Sends FIN (over TLS close_notify before it); reading goes on. Nothing may be written from now on. False: the socket
 * does not take close_notify now; again at WRITE. TLS 1.2 lets the peer drop what it has still to say (RFC 5246 §7.2.1).
 */
bool rl_transport_shutdown(struct rl_transport *transport);
/* The peer has reset the connection, whatever of its may be left to read. */
bool rl_transport_is_reset(const struct rl_transport *transport);
/*
 * Closes: in order, or by RST (`abort`). No event after this; memory goes at the end of the turn. Accepts NULL.
 * In order, an accepted connection that has just been written to, or has unread input, first lingers in the
 * background (FIN at once, input dropped for at most two seconds), so that no reset overtakes what was written.
 */
void rl_transport_close(struct rl_transport *transport, bool abort);

/* The protocol that TLS agreed on (ALPN, RFC 7301), such as "h2"; empty without TLS or agreement. Once READY. */
rl_str rl_transport_alpn(const struct rl_transport *transport);
/* Of an accepted connection: why its handshake FAILED, or TIMEOUT while it has not come about; NONE where there is none. */
enum rl_tls_failure rl_transport_tls_failure(const struct rl_transport *transport);
/* The TLS session of an earlier connection was taken up again, without a certificate. Once READY. */
bool rl_transport_resumed(const struct rl_transport *transport);
struct rl_loop *rl_transport_loop(const struct rl_transport *transport);
int rl_transport_fd(const struct rl_transport *transport);
enum rl_err rl_transport_reason(const struct rl_transport *transport); /* why it FAILED */
/* The same for people ("certificate has expired"); never NULL, no secret; empty if it has not FAILED. */
const char *rl_transport_detail(const struct rl_transport *transport);

#endif
