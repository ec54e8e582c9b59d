/* SPDX-License-Identifier: Apache-2.0 */
/* The loop and the transport of a server's fuzz targets (server_rig.h), played in memory: exact, fast, in any cuts. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "http/server.h"
#include "net/transport.h"

#define WAITING_MAX 128u

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- the loop and the transport, played ---- */

struct rl_transport {
	rl_transport_f on_event;
	void *owner;
	bool want_read, want_write, closed;
};

static struct {
	struct rl_task *tasks, **tasks_end;
	struct rl_transport transport;
	char *scratch;
	rl_str input;       /* what the client has still to send */
	struct rl_rng *rng; /* NULL: everything in one piece */
	bool eof;
	struct rl_buf output;
	unsigned begun, ended;
	struct rl_exchange *waiting[WAITING_MAX]; /* to be answered or resumed when all is quiet */
	size_t n_waiting;
	bool h2; /* many exchanges at once, and not everything is answered in one piece */
} play;

uint64_t rl_loop_now_ms(const struct rl_loop *loop)
{
	(void)loop;
	return 1;
}

char *rl_loop_scratch(struct rl_loop *loop)
{
	(void)loop;
	return play.scratch;
}

void rl_loop_defer(struct rl_loop *loop, struct rl_task *task)
{
	(void)loop;
	if (task->queued)
		return;
	task->queued = true;
	task->next = NULL;
	*play.tasks_end = task;
	play.tasks_end = &task->next;
}

void rl_loop_undefer(struct rl_loop *loop, struct rl_task *task)
{
	struct rl_task **at = &play.tasks;

	(void)loop;
	if (!task->queued)
		return;
	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	if (play.tasks_end == &task->next)
		play.tasks_end = at;
	task->queued = false;
}

static void run_tasks(void)
{
	while (play.tasks) {
		struct rl_task *task = play.tasks;
		play.tasks = task->next;
		if (!play.tasks)
			play.tasks_end = &play.tasks;
		task->queued = false;
		task->run(task);
	}
}

void rl_timer_init(struct rl_timer *timer, void (*fire)(struct rl_timer *timer))
{
	*timer = (struct rl_timer){.fire = fire};
}

void rl_timer_start(struct rl_loop *loop, struct rl_timer *timer, uint64_t after_ms)
{
	timer->loop = loop;
	timer->deadline_ms = 1 + after_ms;
}

void rl_timer_stop(struct rl_timer *timer)
{
	timer->loop = NULL;
}

enum rl_err rl_transport_await_proxy(struct rl_transport *t)
{
	(void)t;
	return RL_ERR_NOMEM; /* nobody asks for it here */
}

const struct rl_addr *rl_transport_peer(const struct rl_transport *t)
{
	(void)t;
	return NULL;
}

enum rl_err rl_transport_accept(struct rl_loop *loop, int fd, struct rl_tls_server *tls, rl_transport_f on_event,
				void *owner, struct rl_transport **out)
{
	(void)loop, (void)fd, (void)tls;
	play.transport = (struct rl_transport){.on_event = on_event, .owner = owner};
	*out = &play.transport;
	return RL_OK;
}

size_t rl_transport_read(struct rl_transport *transport, char *into, size_t n, enum rl_err *err)
{
	must(!transport->closed);
	*err = RL_OK;
	if (play.rng)
		n = 1 + (size_t)rl_rng_below(play.rng, rl_rng_below(play.rng, 4) ? 20 : 2000);
	rl_str piece = rl_str_sub(play.input, 0, n < RL_LOOP_SCRATCH_BYTES ? n : RL_LOOP_SCRATCH_BYTES);

	/* What is behind the bytes read must not be looked at. */
	memset(into, '\n', RL_LOOP_SCRATCH_BYTES < piece.n + 64 ? RL_LOOP_SCRATCH_BYTES : piece.n + 64);
	if (piece.n)
		memcpy(into, piece.p, piece.n);
	play.input = rl_str_sub(play.input, piece.n, SIZE_MAX);
	if (!piece.n && play.eof)
		*err = RL_ERR_EOF;
	return piece.n;
}

size_t rl_transport_write(struct rl_transport *transport, const struct iovec *iov, int n, enum rl_err *err)
{
	size_t most = play.rng && rl_rng_below(play.rng, 2) ? (size_t)rl_rng_below(play.rng, 100) : SIZE_MAX, taken = 0;

	must(!transport->closed);
	*err = RL_OK;
	for (int i = 0; i < n && taken < most; i++) {
		rl_str part = rl_str_sub(rl_str_make(iov[i].iov_base, iov[i].iov_len), 0, most - taken);
		rl_buf_add(&play.output, part);
		taken += part.n;
	}
	return taken;
}

void rl_transport_want(struct rl_transport *transport, bool read, bool write)
{
	must(!transport->closed);
	transport->want_read = read;
	transport->want_write = write;
}

void rl_transport_close(struct rl_transport *transport, bool abort_it)
{
	(void)abort_it;
	must(!transport->closed);
	transport->closed = true;
}

int rl_transport_fd(const struct rl_transport *transport)
{
	(void)transport;
	return -1;
}

rl_str rl_transport_alpn(const struct rl_transport *transport)
{
	(void)transport;
	return RL_STR("");
}

enum rl_err rl_transport_reason(const struct rl_transport *transport)
{
	(void)transport;
	return RL_ERR_IO;
}

const char *rl_transport_detail(const struct rl_transport *transport)
{
	(void)transport;
	return "";
}

bool rl_transport_is_reset(const struct rl_transport *transport)
{
	(void)transport;
	return false;
}

bool rl_transport_shutdown(struct rl_transport *transport)
{
	must(!transport->closed);
	return true;
}

enum rl_tls_failure rl_transport_tls_failure(const struct rl_transport *transport)
{
	(void)transport;
	return RL_TLS_FAILURE_NONE;
}
