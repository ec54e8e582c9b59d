/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client against any bytes in any cuts, over a transport of memory that stands
 * in for the real one. The first bytes of the input steer: how it is cut, when the
 * owners pause, whether one cancels, how the connection ends.
 *
 * Wrong would be: no end or two, a callback after the end or during a pause, a body
 * longer than its content-length, another call's callback before a read end, a slot
 * that is not given back.
 */
#include "memory_transport.h"

/* ---- the owners ---- */

#define OWNERS_MAX 6

static struct owner {
	struct rl_call *call;
	int64_t length;
	uint64_t got;
	unsigned events;
	bool head, paused, over;
	bool told; /* its read end is still to come */
} owners[OWNERS_MAX];

static struct {
	struct rl_loop *loop;
	struct rl_timer timer; /* so that nothing can hang */
	unsigned running, n;
} round_now;

static void over(struct owner *owner)
{
	CHECK(!owner->over);
	owner->over = true;
	owner->told = false;
	if (--round_now.running == 0)
		rl_loop_stop(round_now.loop);
}

/* What owners gather between read ends must not mix. */
static void told(struct owner *owner)
{
	for (unsigned i = 0; i < round_now.n; i++)
		CHECK(!owners[i].told || &owners[i] == owner);
	owner->told = true;
}

static void resume(struct rl_task *task)
{
	(void)task;
	for (unsigned i = 0; i < round_now.n; i++)
		if (owners[i].paused && !owners[i].over) {
			owners[i].paused = false;
			rl_call_resume(owners[i].call);
		}
}

static struct rl_task resume_task = {.run = resume};

/* After each event the owner may cancel (another call, too) or pause, as the input says. */
static void react(struct owner *owner)
{
	owner->events++;
	if (in.cancel && owner->events == (in.cancel & 15)) {
		struct owner *victim = &owners[(in.cancel >> 4) % round_now.n];

		if (!victim->over) {
			rl_call_cancel(victim->call);
			over(victim);
		}
	} else if (in.pauses && (owner->events * 37u) % 8 < in.pauses % 8) {
		owner->paused = true;
		rl_call_pause(owner->call);
		rl_loop_defer(round_now.loop, &resume_task);
	}
}

static void on_head(struct rl_call *call, const struct rl_response_head *head)
{
	struct owner *owner = call->owner;

	CHECK(call == owner->call && !owner->over && !owner->head);
	CHECK(head->status >= 200 && head->status <= 599);
	for (uint32_t i = 0; i < head->headers.n; i++) {
		CHECK(rl_header_name_ok(head->headers.v[i].name));
		CHECK(rl_header_value_ok(head->headers.v[i].value));
	}
	told(owner);
	owner->head = true;
	owner->length = head->content_length;
	react(owner);
}

static void on_body(struct rl_call *call, rl_str piece)
{
	struct owner *owner = call->owner;

	CHECK(call == owner->call && !owner->over && owner->head && !owner->paused && piece.n);
	told(owner);
	owner->got += piece.n;
	CHECK(owner->length < 0 || owner->got <= (uint64_t)owner->length);
	react(owner);
}

static void on_read_end(struct rl_call *call)
{
	struct owner *owner = call->owner;

	CHECK(call == owner->call && !owner->over && owner->head);
	owner->told = false;
}

static void on_end(struct rl_call *call)
{
	struct owner *owner = call->owner;

	CHECK(call == owner->call && owner->head && !owner->told);
	CHECK(owner->length < 0 || owner->got == (uint64_t)owner->length);
	told(owner);
	over(owner);
}

static void on_fail(struct rl_call *call, enum rl_err reason)
{
	struct owner *owner = call->owner;

	CHECK(call == owner->call && reason != RL_OK && call->detail && !owner->told);
	CHECK(reason != RL_ERR_TIMEOUT);
	told(owner);
	over(owner);
}

static const struct rl_call_ops ops = {"fuzz", on_head, on_body, on_read_end, on_end, on_fail, NULL, NULL};

static void on_timer(struct rl_timer *timer)
{
	(void)timer;
	abort(); /* a call hangs */
}

/* `n` calls at once, to their ends. */
static void calls(struct rl_pool *pool, struct rl_origin *origin, unsigned n)
{
	static const rl_str body[] = {RL_STR_INIT("{}")};
	const struct rl_call_spec spec = {.origin = origin,
					  .method = RL_METHOD_POST,
					  .path = RL_STR("/"),
					  .body = body,
					  .n_body = 1,
					  .max_head_bytes = 4096,
					  .replayable = true};

	memset(owners, 0, sizeof owners);
	round_now.n = round_now.running = n;
	rl_timer_init(&round_now.timer, on_timer);
	rl_timer_start(round_now.loop, &round_now.timer, 20000);
	for (unsigned i = 0; i < n; i++)
		CHECK(rl_call_start(pool, &spec, &ops, &owners[i], &owners[i].call) == RL_OK);
	rl_loop_run(round_now.loop);
	rl_timer_stop(&round_now.timer);
	for (unsigned i = 0; i < n; i++)
		CHECK(owners[i].over);
	rl_loop_undefer(round_now.loop, &resume_task);
}

/* Two rounds, so that what one leaves behind would meet the next. */
static int fuzz_client(const uint8_t *data, size_t size, bool http2, unsigned n)
{
	struct rl_origin_spec spec = {
		.host = RL_STR("127.0.0.1"), .port = 1, .max_idle = 4, .idle_ms = 60000, .http2 = http2};
	struct rl_origin *origin;
	struct rl_pool *pool;
	const char *why;

	if (size < 4)
		return 0;
	if (!round_now.loop)
		CHECK(rl_loop_new("fuzz", &round_now.loop) == RL_OK);
	in.cuts = data[0];
	in.pauses = data[1];
	in.cancel = data[2];
	in.ending = data[3];
	in.p = data + 4;
	in.n = size - 4;
	CHECK(rl_origin_new(&spec, &origin, &why) == RL_OK);
	CHECK(rl_pool_new(round_now.loop, &pool) == RL_OK);
	calls(pool, origin, n);
	calls(pool, origin, n);
	rl_pool_free(pool);
	CHECK(rl_origin_connections(origin) == 0 && open_transports == 0);
	rl_origin_unref(origin);
	return 0;
}
