/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server on any bytes, in any cuts, with a client that reads in any portions. The loop and the transport are
 * played here, so that a run is exact and fast. What the server says must not depend on the cuts; everything that was
 * begun must end; what our own readers of heads and chunked bodies take, llhttp (strict) must take too, and as the
 * same fields and the same body.
 *
 * First byte: seed. The rest: what the client sends (when its lowest bit is set, also a chunked body).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <llhttp.h>

#include "base/random.h"
#include "http/h1_chunked.h"
#include "http/h1_parse.h"
#include "http/server.h"
#include "net/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
	struct rl_exchange *waiting; /* to be answered or resumed when all is quiet */
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

/* ---- the service: what it does is in the path ---- */

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
	must(body && play.begun == play.ended);
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
	must(piece.n > 0 && !play.waiting);
	rl_buf_add(x->owner, piece);
	if (deed(x) == 'p') {
		rl_exchange_pause(x);
		play.waiting = x;
	}
}

static void on_body_end(struct rl_exchange *x)
{
	struct rl_buf *body = x->owner;

	must(x->head.content_length < 0 || (size_t)x->head.content_length == body->n);
	if (deed(x) == 'l')
		play.waiting = x;
	else
		answer(x);
}

static void on_drain(struct rl_exchange *x)
{
	(void)x;
	must(false); /* nothing here waits for it */
}

static void on_gone(struct rl_exchange *x, enum rl_err reason)
{
	struct rl_buf *body = x->owner;

	must(reason != RL_OK);
	play.waiting = NULL;
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
	} else if (play.waiting) {
		struct rl_exchange *x = play.waiting;
		play.waiting = NULL;
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

static void run(rl_str input, struct rl_rng *rng, struct rl_buf *output)
{
	const struct rl_server_limits limits = {
		.keepalive_ms = 1000,
		.header_ms = 1000,
		.body_idle_ms = 1000,
		.write_idle_ms = 1000,
		.max_header_bytes = 2048,
		.max_headers = 20,
		.high_water_bytes = 1 << 20,
	};
	struct rl_addr nobody = {.len = 0};
	struct rl_server *server = NULL;
	static int loop; /* only its address is used */

	memset(&play, 0, sizeof play);
	play.tasks_end = &play.tasks;
	play.scratch = malloc(RL_LOOP_SCRATCH_BYTES);
	play.input = input;
	play.rng = rng;
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
	must(play.transport.closed && play.begun == play.ended && !play.waiting);
	must(rl_server_connections(server) == 0);
	rl_server_free(server);
	rl_arena_thread_fini();
	free(play.scratch);
	mask_dates(&play.output);
	*output = play.output;
}

/* ---- chunked bodies: llhttp as the judge ---- */

static int judge_body(llhttp_t *parser, const char *at, size_t n)
{
	rl_buf_add(parser->data, rl_str_make(at, n));
	return 0;
}

static int judge_done(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED;
}

static void judge_chunks(rl_str s)
{
	static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
	llhttp_settings_t settings = {.on_body = judge_body, .on_message_complete = judge_done};
	struct rl_chunked chunked;
	struct rl_buf ours, theirs;
	rl_str in = s, piece;
	enum rl_err err;
	llhttp_t parser;

	rl_buf_init(&ours, 1 << 24);
	rl_buf_init(&theirs, 1 << 24);
	rl_chunked_init(&chunked);
	while ((err = rl_chunked_next(&chunked, &in, &piece)) == RL_OK)
		rl_buf_add(&ours, piece);
	if (err == RL_ERR_EOF && !chunked.extension_bytes) {
		llhttp_init(&parser, HTTP_REQUEST, &settings);
		parser.data = &theirs;
		must(llhttp_execute(&parser, head, sizeof head - 1) == HPE_OK);
		must(llhttp_execute(&parser, s.p, s.n) == HPE_PAUSED);
		must(llhttp_get_error_pos(&parser) == in.p || llhttp_get_error_pos(&parser) == in.p - 1);
		must(rl_str_eq(rl_buf_str(&ours), rl_buf_str(&theirs)));
	}
	rl_buf_fini(&ours);
	rl_buf_fini(&theirs);
}

/* ---- heads: llhttp as the judge ---- */

/* What llhttp reads: "name:value" and a zero byte for each field. */
struct heard {
	struct rl_buf text;
	bool complete;
};

static int heard_bytes(llhttp_t *parser, const char *at, size_t n)
{
	rl_buf_add(&((struct heard *)parser->data)->text, rl_str_make(at, n));
	return 0;
}

static int heard_name(llhttp_t *parser)
{
	rl_buf_byte(&((struct heard *)parser->data)->text, ':');
	return 0;
}

/* llhttp leaves the blanks behind a value in it. */
static int heard_value(llhttp_t *parser)
{
	struct rl_buf *text = &((struct heard *)parser->data)->text;

	while (text->n && (text->p[text->n - 1] == ' ' || text->p[text->n - 1] == '\t'))
		text->n--;
	rl_buf_byte(text, '\0');
	return 0;
}

static int heard_all(llhttp_t *parser)
{
	((struct heard *)parser->data)->complete = true;
	return 1; /* no body */
}

/* A head whose lines are as the server's scan lets them through; their number behind the first, or -1. */
static int64_t count_lines(rl_str head)
{
	int64_t lines = -1;

	while (head.n > 2) {
		rl_str line = rl_str_cut(&head, '\n');

		if (!line.n || line.p[line.n - 1] != '\r' || line.p[0] == ' ' || line.p[0] == '\t' || line.n == 1)
			return -1;
		lines++;
	}
	return lines;
}

static void judge_head(rl_str input)
{
	static const llhttp_settings_t settings = {
		.on_header_field = heard_bytes,
		.on_header_field_complete = heard_name,
		.on_header_value = heard_bytes,
		.on_header_value_complete = heard_value,
		.on_headers_complete = heard_all,
	};
	const char *end = input.n ? memmem(input.p, input.n, "\r\n\r\n", 4) : NULL;
	rl_str raw = rl_str_make(input.p, end ? (size_t)(end - input.p) + 4 : 0);
	int64_t lines = end ? count_lines(raw) : -1;
	struct heard heard = {.complete = false};
	struct rl_request_head head = {.method = RL_METHOD_OTHER};
	struct rl_h1_request request;
	struct rl_h1_refusal refusal;
	struct rl_arena arena;
	struct rl_buf ours;
	llhttp_t parser;

	if (lines < 0 || !rl_h1_version_ok(rl_str_sub(raw, 0, rl_str_find(raw, '\n') - 1), &refusal))
		return;
	rl_arena_init(&arena, 1u << 20);
	rl_buf_init(&ours, 1u << 20);
	rl_buf_init(&heard.text, 1u << 20);
	if (rl_h1_parse(raw, (uint32_t)lines, &arena, &head, &request, &refusal)) {
		for (uint32_t i = 0; i < head.headers.n; i++) {
			rl_buf_add(&ours, head.headers.v[i].name);
			rl_buf_byte(&ours, ':');
			rl_buf_add(&ours, head.headers.v[i].value);
			rl_buf_byte(&ours, '\0');
		}
		llhttp_init(&parser, HTTP_REQUEST, &settings);
		parser.data = &heard;
		llhttp_errno_t err = llhttp_execute(&parser, raw.p, raw.n);

		/* It takes no tab behind the number, though blanks are either (RFC 9110 §5.6.3). */
		bool blind = err == HPE_INVALID_CONTENT_LENGTH && memchr(raw.p, '\t', raw.n);

		must(blind || err == HPE_OK || err == HPE_PAUSED_UPGRADE);
		must(blind || heard.complete);
		must(blind || rl_str_eq(rl_buf_str(&ours), rl_buf_str(&heard.text)));
	}
	rl_buf_fini(&ours);
	rl_buf_fini(&heard.text);
	rl_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rl_buf whole, cut;
	struct rl_rng rng;

	if (size < 1 || size > 60000)
		return 0;
	rl_str input = rl_str_make(data + 1, size - 1);

	rl_rng_seed(&rng, data[0]);
	run(input, NULL, &whole);
	run(input, &rng, &cut);
	must(rl_str_eq(rl_buf_str(&whole), rl_buf_str(&cut)));
	rl_buf_fini(&whole);
	rl_buf_fini(&cut);
	judge_head(input);
	if (data[0] & 1)
		judge_chunks(input);
	return 0;
}
