/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transports: states, events, closing; and the filter of a plain socket.
 *
 * An owner may close its transport inside any event, so reporting an event is
 * always the last thing done; the memory goes in a task of the turn's end.
 */
#include "net/transport.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/transport_priv.h"

/* A close this long after the last write no longer waits for the peer: what was written has arrived. */
#define WRITTEN_LATELY_MS 1000u

/* ---- events ---- */

void rl_transport_emit(struct rl_transport *t, unsigned events)
{
	assert(t->state != RL_TRANSPORT_CLOSED);
	if (events)
		t->on_event(t->owner, t, events);
}

static void emit_later(struct rl_transport *t, unsigned events)
{
	t->due |= events;
	rl_loop_defer(t->loop, &t->task);
}

static void run_task(struct rl_task *task)
{
	struct rl_transport *t = (struct rl_transport *)((char *)task - offsetof(struct rl_transport, task));
	unsigned due = t->due;

	if (t->state == RL_TRANSPORT_CLOSED) {
		free(t);
		return;
	}
	t->due = 0;
	if (!t->want_read || t->read_end || !t->filter->pending(t))
		due &= ~(unsigned)RL_EV_READ;
	rl_transport_emit(t, due);
}

void rl_transport_repoll(struct rl_transport *t)
{
	if (t->poll)
		rl_poll_want(t->poll, t->filter->interest(t));
}

/* Bytes that the filter holds already are announced by a task, since no poll event will come for them. */
static void announce_pending(struct rl_transport *t)
{
	if (t->state == RL_TRANSPORT_OPEN && t->want_read && !t->read_end && t->filter->pending(t))
		emit_later(t, RL_EV_READ);
}

static void on_poll(void *owner, unsigned events)
{
	struct rl_transport *t = owner;

	if (events & RL_POLL_HANGUP)
		t->hung = true;
	t->filter->on_poll(t, events);
}

void rl_transport_opened(struct rl_transport *t)
{
	t->state = RL_TRANSPORT_OPEN;
	rl_transport_repoll(t);
	announce_pending(t);
	rl_transport_emit(t, RL_EV_READY | (t->hung ? RL_EV_HANGUP : 0u));
}

void rl_transport_fail(struct rl_transport *t, enum rl_err reason, const char *detail, bool later)
{
	assert(reason != RL_OK);
	t->state = RL_TRANSPORT_FAILED;
	t->reason = reason;
	t->detail = detail;
	t->broken = true;
	rl_poll_free(t->poll);
	t->poll = NULL;
	if (later)
		emit_later(t, RL_EV_FAILED);
	else
		rl_transport_emit(t, RL_EV_FAILED);
}

/* ---- the plain socket ---- */

static unsigned plain_interest(const struct rl_transport *t)
{
	return (t->want_read && !t->read_end ? RL_POLL_READ : 0u) | (t->want_write ? RL_POLL_WRITE : 0u);
}

static void plain_on_poll(struct rl_transport *t, unsigned events)
{
	rl_transport_emit(t, (events & RL_POLL_READ ? RL_EV_READ : 0u) | (events & RL_POLL_WRITE ? RL_EV_WRITE : 0u) |
				     (events & RL_POLL_HANGUP ? RL_EV_HANGUP : 0u));
}

static size_t plain_read(struct rl_transport *t, char *into, size_t n, enum rl_err *err)
{
	ssize_t got;

	do
		got = recv(t->fd, into, n, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return (size_t)got;
	if (got == 0)
		*err = RL_ERR_EOF;
	else if (errno != EAGAIN)
		*err = rl_err_from_errno(errno);
	return 0;
}

/* A vector of pieces costs the kernel more than copying a small request or answer together does here. */
#define JOIN_BYTES_MAX 4096u

static size_t join(const struct iovec *iov, int n, char room[JOIN_BYTES_MAX])
{
	size_t at = 0;

	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > JOIN_BYTES_MAX - at)
			return 0;
		memcpy(room + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	return at;
}

static size_t plain_write(struct rl_transport *t, const struct iovec *iov, int n, enum rl_err *err)
{
	char room[JOIN_BYTES_MAX] __attribute__((uninitialized));
	size_t joined = n > 1 ? join(iov, n, room) : 0;
	struct iovec one = {.iov_base = room, .iov_len = joined};

	if (joined) {
		iov = &one;
		n = 1;
	}
	/* sendmsg does not write to the vector, but its type cannot say so. */
	struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
				 .msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX)};
	ssize_t sent;

	do
		sent = n == 1 ? send(t->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
			      : sendmsg(t->fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (size_t)sent;
	if (errno != EAGAIN)
		*err = rl_err_from_errno(errno);
	return 0;
}

static bool plain_pending(const struct rl_transport *t)
{
	(void)t;
	return false;
}

static bool plain_finish(struct rl_transport *t)
{
	(void)t;
	return true;
}

static void plain_nothing(struct rl_transport *t)
{
	(void)t;
}

static const struct rl_filter plain = {
	.name = "plain",
	.begin = rl_transport_opened,
	.on_poll = plain_on_poll,
	.interest = plain_interest,
	.read = plain_read,
	.write = plain_write,
	.pending = plain_pending,
	.finish = plain_finish,
	.fini = plain_nothing,
};

/* ---- opening ---- */

static struct rl_transport *transport_new(struct rl_loop *loop, rl_transport_f on_event, void *owner)
{
	struct rl_transport *t = calloc(1, sizeof *t);

	assert(on_event);
	if (!t)
		return NULL;
	t->filter = &plain;
	t->loop = loop;
	t->on_event = on_event;
	t->owner = owner;
	t->fd = -1;
	t->task.run = run_task;
	return t;
}

enum rl_err rl_transport_connect(struct rl_loop *loop, const struct rl_transport_target *target,
				 rl_transport_f on_event, void *owner, struct rl_transport **out)
{
	struct rl_transport *t = transport_new(loop, on_event, owner);
	enum rl_err err = RL_OK;

	*out = NULL;
	if (!t)
		return RL_ERR_NOMEM;
	t->state = RL_TRANSPORT_CONNECTING;
	if (target->tls)
		err = rl_tls_attach_client(t, target);
	if (!err && rl_secret_is_set(target->tunnel))
		err = rl_tunnel_attach(t, target);
	if (!err)
		err = rl_dial_start(t, target);
	if (err) {
		t->filter->fini(t);
		free(t);
		return err;
	}
	*out = t;
	return RL_OK;
}

void rl_transport_connected(struct rl_transport *t, int fd, struct rl_poll *poll, bool hung)
{
	assert(t->state == RL_TRANSPORT_CONNECTING);
	t->dial = NULL;
	t->fd = fd;
	t->poll = poll;
	t->hung = hung;
	rl_poll_hand_over(poll, on_poll, t);
	t->filter->begin(t);
}

enum rl_err rl_transport_accept(struct rl_loop *loop, int fd, struct rl_tls_server *tls, rl_transport_f on_event,
				void *owner, struct rl_transport **out)
{
	struct rl_transport *t = transport_new(loop, on_event, owner);
	enum rl_err err = t ? RL_OK : RL_ERR_NOMEM;
	const int on = 1;

	*out = NULL;
	if (!err)
		err = rl_poll_new(loop, fd, on_poll, t, &t->poll);
	if (!err && tls)
		err = rl_tls_attach_server(t, tls);
	if (err) {
		if (t)
			rl_poll_free(t->poll);
		free(t);
		close(fd);
		return err;
	}
	t->fd = fd;
	t->accepted = true;
	/* Answers go out as they are written. Fails on a Unix socket, which has no such delay. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (tls) {
		t->state = RL_TRANSPORT_HANDSHAKE;
		t->handshake_poll = RL_POLL_READ; /* the client speaks first */
		t->tls_failure = RL_TLS_FAILURE_TIMEOUT;
		rl_transport_repoll(t);
	} else {
		t->state = RL_TRANSPORT_OPEN;
		emit_later(t, RL_EV_READY);
	}
	*out = t;
	return RL_OK;
}

/* ---- use ---- */

size_t rl_transport_read(struct rl_transport *t, char *into, size_t n, enum rl_err *err)
{
	size_t got;

	assert(n > 0);
	*err = RL_OK;
	if (t->state != RL_TRANSPORT_OPEN) {
		*err = t->state == RL_TRANSPORT_FAILED ? t->reason : RL_OK;
		return 0;
	}
	got = t->filter->read(t, into, n, err);
	if (*err) {
		/* From here on the descriptor stays readable for ever: it is not polled for that any more. */
		t->read_end = true;
		t->broken |= *err != RL_ERR_EOF;
		rl_transport_repoll(t);
	} else {
		announce_pending(t);
	}
	return got;
}

size_t rl_transport_write(struct rl_transport *t, const struct iovec *iov, int n, enum rl_err *err)
{
	size_t taken;

	*err = RL_OK;
	if (t->state != RL_TRANSPORT_OPEN) {
		*err = t->state == RL_TRANSPORT_FAILED ? t->reason : RL_OK;
		return 0;
	}
	taken = t->filter->write(t, iov, n, err);
	t->written_ms = rl_loop_now_ms(t->loop);
	if (*err) {
		t->broken = true;
		taken = 0;
	}
	return taken;
}

void rl_transport_want(struct rl_transport *t, bool read, bool write)
{
	assert(t->state != RL_TRANSPORT_CLOSED);
	if (t->want_read == read && t->want_write == write)
		return;
	t->want_read = read;
	t->want_write = write;
	rl_transport_repoll(t);
	announce_pending(t);
}

#define PROBE_AFTER_S 30
#define PROBE_EVERY_S 10

void rl_transport_watch(struct rl_transport *t, uint64_t silent_ms)
{
	const unsigned user_timeout_ms = silent_ms < INT_MAX ? (unsigned)silent_ms : INT_MAX;
	const int on = 1, after_s = PROBE_AFTER_S, every_s = PROBE_EVERY_S;

	if (!silent_ms || t->fd < 0)
		return;
	/* All fail on a Unix socket, whose peer cannot leave unseen. The first one ends the probing, too (tcp(7)). */
	(void)setsockopt(t->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
	(void)setsockopt(t->fd, IPPROTO_TCP, TCP_KEEPIDLE, &after_s, sizeof after_s);
	(void)setsockopt(t->fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
	(void)setsockopt(t->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

bool rl_transport_pending(const struct rl_transport *t)
{
	return t->filter->pending(t);
}

/* ---- lingering ---- */

/*
 * The lingering close: after our FIN the input is read and dropped until the peer
 * closes too, so that no reset overtakes the end of our answer (RFC 9112 §9.6).
 * Bounded in time, bytes and number (they are the loop's guests); nobody waits for it.
 */

#define LINGER_MS 2000u
#define LINGER_BYTES_MAX (16u * 1024 * 1024)
#define LINGER_READS_MAX 32u /* in one turn */

struct linger_end {
	struct rl_guest guest;
	struct rl_timer timer;
	struct rl_loop *loop;
	struct rl_poll *poll;
	int fd;
	size_t left_bytes;
};

/* Reads and drops; true when the peer is done, or has sent too much. */
static bool linger_drain(struct linger_end *end)
{
	/* Not the loop's scratch: the one who closes may still be reading from it. TCP does not even copy (tcp(7)). */
	char room[16384] __attribute__((uninitialized));

	for (unsigned i = 0; i < LINGER_READS_MAX; i++) {
		ssize_t got = recv(end->fd, room, sizeof room, MSG_TRUNC);

		if (got < 0)
			return errno != EAGAIN && errno != EINTR;
		if (got == 0 || (size_t)got >= end->left_bytes)
			return true;
		end->left_bytes -= (size_t)got;
	}
	return false;
}

static void linger_close(struct linger_end *end)
{
	rl_timer_stop(&end->timer);
	rl_poll_free(end->poll);
	close(end->fd);
	rl_loop_guest_part(end->loop, &end->guest);
	free(end);
}

static void linger_on_poll(void *owner, unsigned events)
{
	struct linger_end *end = owner;

	(void)events;
	if (linger_drain(end))
		linger_close(end);
}

static void linger_on_timer(struct rl_timer *timer)
{
	linger_close((struct linger_end *)((char *)timer - offsetof(struct linger_end, timer)));
}

static void linger_on_leave(struct rl_guest *guest)
{
	linger_close((struct linger_end *)((char *)guest - offsetof(struct linger_end, guest)));
}

static void linger_start(struct rl_loop *loop, int fd, struct rl_poll *poll)
{
	struct linger_end *end = calloc(1, sizeof *end);

	assert(poll && fd >= 0);
	(void)shutdown(fd, SHUT_WR);
	if (!end)
		goto at_once;
	*end = (struct linger_end){
		.guest.leave = linger_on_leave, .loop = loop, .poll = poll, .fd = fd, .left_bytes = LINGER_BYTES_MAX};
	rl_timer_init(&end->timer, linger_on_timer);
	if (linger_drain(end) || !rl_loop_guest_join(loop, &end->guest))
		goto at_once;
	rl_poll_hand_over(poll, linger_on_poll, end);
	rl_poll_want(poll, RL_POLL_READ);
	rl_timer_start(loop, &end->timer, LINGER_MS);
	return;
at_once:
	rl_poll_free(poll);
	close(fd);
	free(end);
}

/* ---- the end ---- */

bool rl_transport_shutdown(struct rl_transport *t)
{
	assert(t->state != RL_TRANSPORT_CLOSED);
	if (t->state != RL_TRANSPORT_OPEN || t->finished || t->broken)
		return true;
	if (!t->filter->finish(t))
		return false;
	t->finished = true;
	(void)shutdown(t->fd, SHUT_WR);
	return true;
}

bool rl_transport_is_reset(const struct rl_transport *t)
{
	struct pollfd look = {.fd = t->fd};

	return t->broken || (poll(&look, 1, 0) == 1 && (look.revents & POLLERR));
}

/*
 * Closing a socket with unread input, or before input that is still on its way,
 * makes the kernel send a reset, upon which the peer may lose the end of our answer
 * (RFC 9112 §9.6). A client has nothing to lose by that; an idle connection has
 * nothing on its way.
 */
static bool must_linger(const struct rl_transport *t)
{
	int unread = 0;

	if (!t->accepted || t->broken || t->state != RL_TRANSPORT_OPEN || t->written_ms == 0)
		return false;
	if (!t->hung && !t->read_end && rl_loop_now_ms(t->loop) - t->written_ms < WRITTEN_LATELY_MS)
		return true;
	return ioctl(t->fd, FIONREAD, &unread) == 0 && unread > 0;
}

static void close_fd(struct rl_transport *t, bool abort)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (!abort && must_linger(t)) {
		linger_start(t->loop, t->fd, t->poll);
		return;
	}
	rl_poll_free(t->poll);
	if (abort)
		(void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(t->fd);
}

void rl_transport_close(struct rl_transport *t, bool abort)
{
	if (!t)
		return;
	assert(t->state != RL_TRANSPORT_CLOSED);
	rl_dial_cancel(t->dial);
	if (t->state == RL_TRANSPORT_OPEN && !abort && !t->finished && !t->broken)
		(void)t->filter->finish(t);
	t->filter->fini(t);
	free(t->proxy);
	t->proxy = NULL;
	if (t->fd >= 0)
		close_fd(t, abort);
	t->dial = NULL;
	t->poll = NULL;
	t->fd = -1;
	t->state = RL_TRANSPORT_CLOSED;
	rl_loop_defer(t->loop, &t->task);
}

struct rl_loop *rl_transport_loop(const struct rl_transport *t)
{
	return t->loop;
}

int rl_transport_fd(const struct rl_transport *t)
{
	return t->fd;
}

enum rl_err rl_transport_reason(const struct rl_transport *t)
{
	return t->reason;
}

const char *rl_transport_detail(const struct rl_transport *t)
{
	if (t->detail)
		return t->detail;
	return t->reason ? rl_err_text(t->reason) : ""; /* an error that only read or write has told */
}
