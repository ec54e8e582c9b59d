/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input of a fuzz target of the client, and a transport of memory that plays it in
 * place of the real one, cut and ended as the input's first bytes say. What the client
 * says goes nowhere. There is no TLS here and no proxy.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "http/client.h"
#include "net/transport.h"
#include "net/tunnel.h"

#define CHECK(condition)          \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

/* ---- the input ---- */

static struct {
	const uint8_t *p;
	size_t n;
	uint8_t cuts, pauses, cancel, ending;
} in;

/* ---- a transport of memory ---- */

struct rl_transport {
	struct rl_loop *loop;
	rl_transport_f on_event;
	void *owner;
	struct rl_task task;
	bool ready, want_read, closed, end_told;
	size_t readable; /* bytes that have "arrived" */
};

static int open_transports;

static void tick(struct rl_task *task)
{
	struct rl_transport *t = (struct rl_transport *)((char *)task - offsetof(struct rl_transport, task));

	if (t->closed) {
		free(t);
		return;
	}
	if (!t->ready) {
		t->ready = true;
		t->on_event(t->owner, t, RL_EV_READY);
		return;
	}
	if (!t->want_read || t->end_told)
		return;
	t->readable = in.cuts ? 1 + (in.n * 7 + in.cuts) % in.cuts : SIZE_MAX;
	t->on_event(t->owner, t, RL_EV_READ);
	if (!t->closed)
		rl_loop_defer(t->loop, &t->task);
}

enum rl_err rl_transport_connect(struct rl_loop *loop, const struct rl_transport_target *target,
				 rl_transport_f on_event, void *owner, struct rl_transport **out)
{
	struct rl_transport *t = calloc(1, sizeof *t);

	(void)target;
	CHECK(t);
	*t = (struct rl_transport){.loop = loop, .on_event = on_event, .owner = owner, .task.run = tick};
	rl_loop_defer(loop, &t->task);
	open_transports++;
	*out = t;
	return RL_OK;
}

size_t rl_transport_read(struct rl_transport *t, char *into, size_t n, enum rl_err *err)
{
	static const enum rl_err endings[] = {RL_ERR_EOF, RL_ERR_RESET, RL_ERR_TLS, RL_ERR_IO};
	size_t take = in.n < n ? in.n : n;

	CHECK(!t->closed);
	*err = RL_OK;
	if (take > t->readable)
		take = t->readable;
	if (take) {
		memcpy(into, in.p, take);
		in.p += take;
		in.n -= take;
		t->readable -= take;
	} else if (!in.n) {
		*err = endings[in.ending % 4];
		t->end_told = true;
	}
	return take;
}

size_t rl_transport_write(struct rl_transport *t, const struct iovec *iov, int n, enum rl_err *err)
{
	size_t total = 0;

	CHECK(!t->closed);
	*err = RL_OK;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

void rl_transport_want(struct rl_transport *t, bool read, bool write)
{
	(void)write;
	CHECK(!t->closed);
	t->want_read = read;
	if (read)
		rl_loop_defer(t->loop, &t->task);
}

void rl_transport_watch(struct rl_transport *t, uint64_t silent_ms)
{
	(void)silent_ms;
	CHECK(!t->closed);
}

bool rl_transport_pending(const struct rl_transport *t)
{
	(void)t;
	return false;
}

void rl_transport_close(struct rl_transport *t, bool abort_it)
{
	(void)abort_it;
	if (!t)
		return;
	CHECK(!t->closed);
	t->closed = true;
	open_transports--;
	rl_loop_defer(t->loop, &t->task);
}

bool rl_transport_shutdown(struct rl_transport *t)
{
	CHECK(!t->closed);
	return true;
}

int rl_transport_fd(const struct rl_transport *t)
{
	(void)t;
	return -1;
}

enum rl_err rl_transport_reason(const struct rl_transport *t)
{
	(void)t;
	return RL_ERR_IO;
}

const char *rl_transport_detail(const struct rl_transport *t)
{
	(void)t;
	return "";
}

rl_str rl_transport_alpn(const struct rl_transport *t)
{
	(void)t;
	return RL_STR("");
}

enum rl_err rl_tls_client_new(const struct rl_tls_client_spec *spec, struct rl_tls_client **out, const char **why)
{
	(void)spec, (void)out, (void)why;
	return RL_ERR_UNSUPPORTED;
}

void rl_tls_client_key(const struct rl_tls_client_spec *spec, struct rl_buf *key)
{
	(void)spec, (void)key;
}

enum rl_err rl_tls_sessions_new(struct rl_tls_sessions **out)
{
	(void)out;
	return RL_ERR_UNSUPPORTED;
}

void rl_tls_sessions_unref(struct rl_tls_sessions *sessions)
{
	CHECK(!sessions);
}

enum rl_err rl_tunnel_request(rl_str host, uint16_t port, struct rl_secret credentials, struct rl_buf *out)
{
	(void)host, (void)port, (void)credentials, (void)out;
	return RL_ERR_UNSUPPORTED;
}

void rl_tls_client_free(struct rl_tls_client *tls)
{
	(void)tls;
}
