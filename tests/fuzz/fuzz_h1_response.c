/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client against any bytes in any cuts, over a transport of memory that stands
 * in for the real one. The first bytes of the input steer: how it is cut, when the
 * owner pauses, whether he cancels, how the connection ends. Two calls follow each other,
 * so that what one answer leaves behind would meet the next.
 *
 * Wrong would be: no end or two, a callback after the end or during a pause, a body
 * longer than its content-length, a slot that is not given back.
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

/* ---- the owner ---- */

static struct owner {
	struct rl_loop *loop;
	struct rl_call *call;
	struct rl_timer timer; /* so that nothing can hang, and to resume */
	int64_t length;
	uint64_t got;
	unsigned events;
	bool head, paused, over;
} owner;

static void over(void)
{
	CHECK(!owner.over);
	owner.over = true;
	rl_timer_stop(&owner.timer);
	rl_loop_stop(owner.loop);
}

static void resume(struct rl_task *task)
{
	(void)task;
	if (owner.paused && !owner.over) {
		owner.paused = false;
		rl_call_resume(owner.call);
	}
}

static struct rl_task resume_task = {.run = resume};

/* After each event the owner may cancel or pause, as the input says. */
static void react(void)
{
	owner.events++;
	if (in.cancel && owner.events == in.cancel) {
		rl_call_cancel(owner.call);
		over();
	} else if (in.pauses && (owner.events * 37u) % 8 < in.pauses % 8) {
		owner.paused = true;
		rl_call_pause(owner.call);
		rl_loop_defer(owner.loop, &resume_task);
	}
}

static void on_head(struct rl_call *call, const struct rl_response_head *head)
{
	CHECK(call == owner.call && !owner.over && !owner.head);
	CHECK(head->status >= 200 && head->status <= 599);
	for (uint32_t i = 0; i < head->headers.n; i++) {
		CHECK(rl_header_name_ok(head->headers.v[i].name));
		CHECK(rl_header_value_ok(head->headers.v[i].value));
	}
	owner.head = true;
	owner.length = head->content_length;
	react();
}

static void on_body(struct rl_call *call, rl_str piece)
{
	CHECK(call == owner.call && !owner.over && owner.head && !owner.paused && piece.n);
	owner.got += piece.n;
	CHECK(owner.length < 0 || owner.got <= (uint64_t)owner.length);
	react();
}

static void on_read_end(struct rl_call *call)
{
	CHECK(call == owner.call && !owner.over && owner.head);
}

static void on_end(struct rl_call *call)
{
	CHECK(call == owner.call && owner.head);
	CHECK(owner.length < 0 || owner.got == (uint64_t)owner.length);
	over();
}

static void on_fail(struct rl_call *call, enum rl_err reason)
{
	CHECK(call == owner.call && reason != RL_OK && call->detail);
	CHECK(reason != RL_ERR_TIMEOUT);
	over();
}

static const struct rl_call_ops ops = {"fuzz", on_head, on_body, on_read_end, on_end, on_fail};

static void on_timer(struct rl_timer *timer)
{
	(void)timer;
	abort(); /* the call hangs */
}

static void one_call(struct rl_loop *loop, struct rl_pool *pool, struct rl_origin *origin)
{
	static const rl_str body[] = {RL_STR_INIT("{}")};
	const struct rl_call_spec spec = {.origin = origin,
					  .method = RL_METHOD_POST,
					  .path = RL_STR("/"),
					  .body = body,
					  .n_body = 1,
					  .max_head_bytes = 4096,
					  .replayable = true};

	owner = (struct owner){.loop = loop};
	rl_timer_init(&owner.timer, on_timer);
	rl_timer_start(loop, &owner.timer, 20000);
	CHECK(rl_call_start(pool, &spec, &ops, NULL, &owner.call) == RL_OK);
	rl_loop_run(loop);
	CHECK(owner.over);
	rl_loop_undefer(loop, &resume_task);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rl_loop *loop;
	struct rl_origin_spec spec = {.host = RL_STR("127.0.0.1"), .port = 1, .max_idle = 4, .idle_ms = 60000};
	struct rl_origin *origin;
	struct rl_pool *pool;
	const char *why;

	if (size < 4)
		return 0;
	if (!loop)
		CHECK(rl_loop_new("fuzz", &loop) == RL_OK);
	in.cuts = data[0];
	in.pauses = data[1];
	in.cancel = data[2];
	in.ending = data[3];
	in.p = data + 4;
	in.n = size - 4;
	CHECK(rl_origin_new(&spec, &origin, &why) == RL_OK);
	CHECK(rl_pool_new(loop, &pool) == RL_OK);
	one_call(loop, pool, origin);
	one_call(loop, pool, origin);
	rl_pool_free(pool);
	CHECK(rl_origin_connections(origin) == 0 && open_transports == 0);
	rl_origin_unref(origin);
	return 0;
}
