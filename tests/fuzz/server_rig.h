/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for fuzz targets: loop and transport are played (server_play.h); the service does what the path of a request
 * says. Whatever comes, everything that was begun must end.
 */
#include "server_play.h"

/* ---- the service: what it does is in the path ---- */

static void wait_with(struct rl_exchange *x)
{
	must(play.n_waiting < WAITING_MAX && (play.h2 || !play.n_waiting));
	play.waiting[play.n_waiting++] = x;
}

static bool stop_waiting(const struct rl_exchange *x)
{
	for (size_t i = 0; i < play.n_waiting; i++)
		if (play.waiting[i] == x) {
			play.waiting[i] = play.waiting[--play.n_waiting];
			return true;
		}
	return false;
}

static char deed(const struct rl_exchange *x)
{
	return x->head.path.n > 1 ? x->head.path.p[1] : '/';
}

static void answer(struct rl_exchange *x)
{
	struct rl_response_head head = {.status = 200};
	struct rl_buf *body = x->owner;
	rl_str all = rl_buf_str(body);

	play.ended++;
	if (deed(x) == 's') {
		head.content_length = -1;
		rl_exchange_start(x, &head);
		for (; all.n; all = rl_str_sub(all, 7, SIZE_MAX)) {
			rl_str part = rl_str_sub(all, 0, 7);
			rl_exchange_write(x, &part, 1);
		}
		rl_exchange_end(x);
	} else if (deed(x) == 'a') {
		rl_exchange_abort(x, false);
	} else {
		rl_exchange_reply(x, &head, &all, 1);
	}
	rl_buf_fini(body);
	free(body);
}

static void check_head(const struct rl_request_head *head)
{
	must(head->path.n > 0 && (head->path.p[0] == '/' || rl_str_eq(head->path, RL_STR("*"))));
	must(rl_header_value_ok(head->path) && rl_header_value_ok(head->query) && rl_header_value_ok(head->authority));
	must(rl_str_find(head->path, '?') == SIZE_MAX && rl_str_find(head->query, '#') == SIZE_MAX);
	for (uint32_t i = 0; i < head->headers.n; i++) {
		const struct rl_header *h = &head->headers.v[i];
		must(rl_header_name_ok(h->name) && rl_header_value_ok(h->value));
		must(h->field == rl_field_find(h->name));
	}
}

static void on_request(struct rl_exchange *x, void *service)
{
	struct rl_buf *body = malloc(sizeof *body);

	(void)service;
	must(body && (play.h2 || play.begun == play.ended));
	play.begun++;
	rl_buf_init(body, 1 << 24);
	x->owner = body;
	check_head(&x->head);
	if (deed(x) == 'c')
		rl_exchange_continue(x);
	if (deed(x) == 'e')
		answer(x);
}

static void on_body(struct rl_exchange *x, rl_str piece)
{
	must(piece.n > 0 && !stop_waiting(x));
	rl_buf_add(x->owner, piece);
	if (deed(x) == 'p') {
		rl_exchange_pause(x);
		wait_with(x);
	}
}

static void on_body_end(struct rl_exchange *x)
{
	struct rl_buf *body = x->owner;

	must(x->head.content_length < 0 || (size_t)x->head.content_length == body->n);
	if (deed(x) == 'l')
		wait_with(x);
	else
		answer(x);
}

static void on_drain(struct rl_exchange *x)
{
	(void)x;
	must(play.h2); /* nothing here waits for it */
}

static void on_gone(struct rl_exchange *x, enum rl_err reason)
{
	struct rl_buf *body = x->owner;

	must(reason != RL_OK);
	stop_waiting(x);
	play.ended++;
	rl_buf_fini(body);
	free(body);
	rl_exchange_abort(x, false);
}

static void on_bad_request(void *service, const struct rl_addr *peer, uint16_t status, const char *text,
			   struct rl_buf *body, rl_str *content_type)
{
	(void)service, (void)peer, (void)content_type;
	must(status >= 400 && status < 600 && *text);
	rl_buf_add(body, rl_str_of(text));
}

static const struct rl_exchange_ops ops = {
	.name = "fuzz",
	.on_request = on_request,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_gone = on_gone,
	.on_bad_request = on_bad_request,
};

/* ---- a run ---- */

static bool turn(void)
{
	struct rl_transport *t = &play.transport;
	unsigned events = 0;

	if (t->want_write)
		events |= RL_EV_WRITE;
	if (t->want_read && (play.input.n || play.eof))
		events |= RL_EV_READ;
	if (events) {
		t->on_event(t->owner, t, events);
	} else if (play.n_waiting) {
		struct rl_exchange *x = play.waiting[--play.n_waiting];
		if (deed(x) == 'p')
			rl_exchange_resume(x);
		else
			answer(x);
	} else {
		return false;
	}
	run_tasks();
	return true;
}

static void mask_dates(struct rl_buf *output)
{
	static const char mark[] = "\r\nDate: ";
	char *at = output->p, *end = output->n ? output->p + output->n : NULL;

	while (at && (at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1))) {
		at += sizeof mark - 1;
		if (end - at < 29)
			return; /* an echo of what the client wrote */
		memset(at, 'D', 29);
	}
}

static void run(rl_str input, struct rl_rng *rng, bool h2, struct rl_buf *output)
{
	const struct rl_server_limits limits = {
		.keepalive_ms = 1000,
		.header_ms = 1000,
		.body_idle_ms = 1000,
		.write_idle_ms = 1000,
		.max_header_bytes = 2048,
		.max_headers = 20,
		.high_water_bytes = h2 ? 100 : 1 << 20,
		.http2 = {.enabled = h2, .max_streams = 20, .max_resets = 10, .max_control_frames = 40},
	};
	struct rl_addr nobody = {.len = 0};
	struct rl_server *server = NULL;
	static int loop; /* only its address is used */

	memset(&play, 0, sizeof play);
	play.tasks_end = &play.tasks;
	play.scratch = malloc(RL_LOOP_SCRATCH_BYTES);
	play.input = input;
	play.rng = rng;
	play.h2 = h2;
	rl_buf_init(&play.output, 1 << 26);
	must(play.scratch && rl_server_new((struct rl_loop *)&loop, &ops, NULL, &limits, &server) == RL_OK);
	rl_server_accept(server, &(struct rl_arrival){.fd = -1, .peer = nobody}, NULL, NULL);
	play.transport.on_event(play.transport.owner, &play.transport, RL_EV_READY);
	run_tasks();
	while (!play.transport.closed && turn())
		;
	/* Quiet, and no answer owed but for half a request: now the client leaves. */
	play.eof = true;
	while (!play.transport.closed && turn())
		;
	must(play.transport.closed && play.begun == play.ended && !play.n_waiting);
	must(rl_server_connections(server) == 0);
	rl_server_free(server);
	rl_arena_thread_fini();
	free(play.scratch);
	mask_dates(&play.output);
	*output = play.output;
}
