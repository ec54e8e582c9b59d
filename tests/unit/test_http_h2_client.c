/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's HTTP/2 against scripted bytes: what answers mean at every cut, which are refused, what happens to each
 * call when its stream or its connection ends. The frames are written by hand here (RFC 9113 §4.1, §6).
 */
#include "http_client_kit.h"

/* The client's preface, SETTINGS, WINDOW_UPDATE and the frame head of the first request, which come in one write. */
#define GREETING (24 + 9 + 18 + 13 + 9)

enum {
	DATA = 0,
	HEADERS = 1,
	RST_STREAM = 3,
	SETTINGS = 4,
	PUSH_PROMISE = 5,
	PING = 6,
	GOAWAY = 7,
	WINDOW_UPDATE = 8,
	CONTINUATION = 9
};
enum { NONE = 0, END_STREAM = 1, END_HEADERS = 4, BOTH = 5 };

#define STATUS_200 "\x88"
#define LENGTH(n, text) "\x0f\x0d" n text
#define MARKER                 \
	"\x00\x08x-marker\x01" \
	"a"

struct frame {
	uint8_t type, flags;
	uint32_t stream;
	const char *payload;
	size_t n; /* 0: strlen; NOTHING: none */
};
#define FRAMES_MAX 24
#define F(type, flags, stream, text)                        \
	{                                                   \
		type, flags, stream, text, sizeof(text) - 1 \
	}

struct wire {
	char *p;
	size_t n;
};

static void put_frame(struct wire *w, const struct frame *f)
{
	const unsigned char head[9] = {(unsigned char)(f->n >> 16),
				       (unsigned char)(f->n >> 8),
				       (unsigned char)f->n,
				       f->type,
				       f->flags,
				       (unsigned char)(f->stream >> 24),
				       (unsigned char)(f->stream >> 16),
				       (unsigned char)(f->stream >> 8),
				       (unsigned char)f->stream};

	w->p = realloc(w->p, w->n + 9 + f->n);
	memcpy(w->p + w->n, head, 9);
	if (f->n)
		memcpy(w->p + w->n + 9, f->payload, f->n);
	w->n += 9 + f->n;
}

/* The server's SETTINGS, then the frames up to the first without a payload pointer. */
static struct wire wire_of(const struct frame *frames)
{
	static const struct frame settings = F(SETTINGS, NONE, 0, "");
	struct wire w = {NULL, 0};

	put_frame(&w, &settings);
	for (; frames->payload; frames++)
		put_frame(&w, frames);
	return w;
}

static struct rl_origin *h2_origin(uint16_t port, uint32_t max_connections)
{
	struct rl_origin_spec spec = {.host = RL_STR("127.0.0.1"),
				      .port = port,
				      .max_connections = max_connections,
				      .max_idle = 32,
				      .idle_ms = 60000,
				      .http2 = true};
	struct rl_origin *origin = NULL;
	const char *why;

	assert_int_equal(rl_origin_new(&spec, &origin, &why), RL_OK);
	return origin;
}

/* One call over a provider with one script. */
static void once_h2(struct caller *c, const struct step *script, void (*change)(struct rl_call_spec *))
{
	struct provider *p = provider_open(1, &script);
	struct bench b;

	bench_open(&b, h2_origin(p->port, 0));
	struct rl_call_spec spec = post(&b);

	if (change)
		change(&spec);
	start(c, &b, &spec);
	run(&b);
	bench_close(&b);
	provider_close(p);
}

/* ---- good answers ---- */

struct answer {
	const char *body;
	uint16_t status;
	bool marked;
	struct frame frames[FRAMES_MAX];
};

static const struct answer good[] = {
	{"ok", 200, false, {F(HEADERS, END_HEADERS, 1, STATUS_200), F(DATA, END_STREAM, 1, "ok")}},
	{"ok",
	 200,
	 true,
	 {F(HEADERS, END_HEADERS, 1, STATUS_200 MARKER LENGTH("\x01", "2")), F(DATA, END_STREAM, 1, "ok")}},
	{"", 200, false, {F(HEADERS, BOTH, 1, STATUS_200)}},
	{"", 200, false, {F(HEADERS, END_HEADERS, 1, STATUS_200), F(DATA, END_STREAM, 1, "")}},
	{"", 204, false, {F(HEADERS, BOTH, 1, "\x89")}},
	{"", 304, false, {F(HEADERS, BOTH, 1, "\x8b" LENGTH("\x02", "50"))}},
	/* Padding; several pieces, empty ones among them; a frame of no known type. */
	{"hello!",
	 200,
	 false,
	 {F(HEADERS, END_HEADERS | 8, 1, "\x02" STATUS_200 "\0\0"), F(DATA, 8, 1, "\x01hello\0"), F(DATA, NONE, 1, ""),
	  F(0x77, 0xff, 1, "what"), F(DATA, END_STREAM, 1, "!")}},
	/* Interim answers, trailers, a header block in two frames. */
	{"ok",
	 200,
	 true,
	 {F(HEADERS, END_HEADERS, 1,
	    "\x08\x03"
	    "100"),
	  F(HEADERS, END_HEADERS, 1,
	    "\x08\x03"
	    "103" MARKER),
	  F(HEADERS, NONE, 1, STATUS_200), F(CONTINUATION, END_HEADERS, 1, MARKER), F(DATA, NONE, 1, "ok"),
	  F(HEADERS, BOTH, 1, "\x00\x03x-t\x01v")}},
	/* Pings, settings and credit in between. */
	{"ok",
	 200,
	 false,
	 {F(PING, NONE, 0, "12345678"), F(HEADERS, END_HEADERS, 1, STATUS_200), F(SETTINGS, NONE, 0, "\0\x01\0\0\0\0"),
	  F(WINDOW_UPDATE, NONE, 0, "\0\0\0\x01"), F(DATA, END_STREAM, 1, "ok")}},
	/* A push crosses our wish for none. */
	{"ok",
	 200,
	 false,
	 {F(PUSH_PROMISE, END_HEADERS, 1,
	    "\0\0\0\x02\x82\x86\x84\x01\x01"
	    "a"),
	  F(HEADERS, BOTH, 2, STATUS_200), F(HEADERS, END_HEADERS, 1, STATUS_200), F(DATA, END_STREAM, 1, "ok")}},
	/* The rest of the request is not wanted: no failure. */
	{"ok",
	 200,
	 false,
	 {F(HEADERS, END_HEADERS, 1, STATUS_200), F(DATA, END_STREAM, 1, "ok"), F(RST_STREAM, NONE, 1, "\0\0\0\0")}},
	/* A last word that lets this stream finish. */
	{"ok",
	 200,
	 false,
	 {F(GOAWAY, NONE, 0, "\0\0\0\x01\0\0\0\0"), F(HEADERS, END_HEADERS, 1, STATUS_200),
	  F(DATA, END_STREAM, 1, "ok")}},
};
#define N_GOOD (sizeof good / sizeof good[0])

static void check_good(const struct answer *answer, const struct caller *c)
{
	if (c->end != END_OK)
		fail_msg("answer %d, pausing %d: %s: %s", (int)(answer - good), (int)c->pause, rl_err_text(c->reason),
			 c->detail);
	assert_int_equal(c->status, answer->status);
	assert_string_equal(c->marker, answer->marked ? "a" : "");
	assert_body(c, answer->body);
}

static void answers_at_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_GOOD; i++) {
		struct wire w = wire_of(good[i].frames);

		for (size_t k = 1; k < w.n; k++) {
			const struct step script[] = {{SKIP, NULL, GREETING}, {SAY, w.p, k},
						      {WAIT_MS, NULL, 1},     {SAY, w.p + k, w.n - k},
						      {AWAIT_EOF, NULL, 0},   {STEP_END, NULL, 0}};
			struct caller c;

			caller_init(&c);
			once_h2(&c, script, NULL);
			check_good(&good[i], &c);
			assert_true(c.begun && c.sent && !c.reused);
			caller_fini(&c);
		}
		free(w.p);
	}
}

static void answers_byte_by_byte_and_paused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_GOOD; i++) {
		struct wire w = wire_of(good[i].frames);

		for (int pause = WHEN_NEVER; pause <= WHEN_BODY; pause++) {
			/* What came before the connection's end is the owner's, pause or not. */
			const struct step script[] = {{SKIP, NULL, GREETING},
						      {pause == WHEN_NEVER ? SAY_EACH : SAY, w.p, w.n},
						      {FIN, NULL, 0},
						      {AWAIT_EOF, NULL, 0},
						      {STEP_END, NULL, 0}};
			struct caller c;

			caller_init(&c);
			c.pause = (enum when)pause;
			c.pause_each = true;
			c.timer_ms = 20;
			once_h2(&c, script, NULL);
			check_good(&good[i], &c);
			caller_fini(&c);
		}
		free(w.p);
	}
}

static void make_head(struct rl_call_spec *spec)
{
	spec->method = RL_METHOD_HEAD;
	spec->body = NULL;
	spec->n_body = 0;
}

static void head_has_no_body(void **state)
{
	static const struct frame frames[] = {F(HEADERS, BOTH, 1, STATUS_200 LENGTH("\x01", "5")), {0}};
	struct wire w = wire_of(frames);
	const struct step script[] = {{SKIP, NULL, GREETING},
				      {SAY, w.p, w.n},
				      {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	once_h2(&c, script, make_head);
	assert_int_equal(c.end, END_OK);
	assert_int_equal(c.content_length, 5);
	assert_body(&c, "");
	caller_fini(&c);
	free(w.p);
}

/* ---- bad answers ---- */

static const struct {
	enum rl_err reason;
	struct frame frames[FRAMES_MAX];
} bad[] = {
	/* The stream, by the peer: before the answer, in it, after a part. */
	{RL_ERR_RESET, {F(RST_STREAM, NONE, 1, "\0\0\0\x02")}},
	{RL_ERR_RESET, {F(HEADERS, END_HEADERS, 1, STATUS_200), F(RST_STREAM, NONE, 1, "\0\0\0\x08")}},
	{RL_ERR_RESET,
	 {F(HEADERS, END_HEADERS, 1, STATUS_200), F(DATA, NONE, 1, "o"), F(RST_STREAM, NONE, 1, "\0\0\0\0")}},
	/* The stream, by us. */
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, STATUS_200 LENGTH("\x01", "3")), F(DATA, END_STREAM, 1, "ok")}},
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, STATUS_200 LENGTH("\x01", "1")), F(DATA, END_STREAM, 1, "ok")}},
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, STATUS_200 LENGTH("\x01", "1") LENGTH("\x01", "1"))}},
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, STATUS_200 LENGTH("\x02", "+1"))}},
	{RL_ERR_PROTOCOL,
	 {F(HEADERS, END_HEADERS, 1,
	    "\x08\x03"
	    "101")}},
	{RL_ERR_PROTOCOL,
	 {F(HEADERS, END_HEADERS, 1,
	    "\x08\x03"
	    "099")}},
	{RL_ERR_PROTOCOL,
	 {F(HEADERS, END_HEADERS, 1,
	    "\x08\x03"
	    "600")}},
	{RL_ERR_PROTOCOL,
	 {F(HEADERS, BOTH, 1,
	    "\x08\x03"
	    "100")}},
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, MARKER)}},
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, STATUS_200 STATUS_200)}},
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, STATUS_200 "\x00\x03X-T\x01v")}},
	{RL_ERR_PROTOCOL,
	 {F(HEADERS, END_HEADERS, 1,
	    STATUS_200 "\x00\x0a"
		       "connection\x05"
		       "close")}},
	{RL_ERR_PROTOCOL,
	 {F(HEADERS, END_HEADERS, 1,
	    STATUS_200 "\x00\x11transfer-encoding\x07"
		       "chunked")}},
	{RL_ERR_PROTOCOL, {F(DATA, END_STREAM, 1, "ok")}},
	/* The connection. */
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 3, STATUS_200)}},
	{RL_ERR_PROTOCOL, {F(HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff")}},
	{RL_ERR_PROTOCOL, {F(SETTINGS, NONE, 0, "\0\x04\xff\xff\xff\xff")}},
	{RL_ERR_PROTOCOL, {F(WINDOW_UPDATE, NONE, 0, "\x7f\xff\xff\xff")}},
	{RL_ERR_PROTOCOL, {F(PING, NONE, 0, "123")}},
};

static void bad_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct wire w = wire_of(bad[i].frames);
		const struct step script[] = {{SKIP, NULL, GREETING},
					      {SAY, w.p, w.n},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
		struct caller c;

		caller_init(&c);
		once_h2(&c, script, NULL);
		if (c.end != END_FAIL || c.reason != bad[i].reason)
			fail_msg("bad[%zu] ended as %d, %s (%s)", i, (int)c.end, rl_err_text(c.reason), c.detail);
		caller_fini(&c);
		free(w.p);
	}
}

static void garbage(void **state)
{
	static const char *const texts[] = {"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "SSH-2.0-x\r\n",
					    ("\x15\x03\x01\x00\x02\x02\x0a"
					     "xxxxxxxxxxxxxxxx")};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const struct step script[] = {{SKIP, NULL, GREETING},
					      {SAY, texts[i], 0},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
		struct caller c;

		caller_init(&c);
		once_h2(&c, script, NULL);
		assert_int_equal(c.end, END_FAIL);
		caller_fini(&c);
	}
}

static void cut_everywhere(void **state)
{
	static const struct frame frames[] = {F(HEADERS, END_HEADERS, 1, STATUS_200),
					      F(DATA, NONE, 1, "o"),
					      F(DATA, END_STREAM, 1, "k"),
					      {0}};
	struct wire w = wire_of(frames);

	(void)state;
	for (size_t k = 0; k < w.n; k++)
		for (int hard = 0; hard < 2; hard++) {
			const struct step script[] = {{SKIP, NULL, GREETING},
						      {k ? SAY : WAIT_MS, k ? w.p : NULL, k ? k : 1},
						      {WAIT_MS, NULL, 1},
						      {hard ? RESET : CLOSE, NULL, 0}};
			struct caller c;

			caller_init(&c);
			once_h2(&c, script, NULL);
			assert_int_equal(c.end, END_FAIL);
			assert_true(c.reason == RL_ERR_EOF || c.reason == RL_ERR_RESET);
			caller_fini(&c);
		}
	free(w.p);
}

/* ---- starting over ---- */

static const struct frame ok_frames[] = {F(HEADERS, END_HEADERS, 1, STATUS_200), F(DATA, END_STREAM, 1, "ok"), {0}};

static void not_replayable(struct rl_call_spec *spec)
{
	spec->replayable = false;
}

/* Connections that say `frames` come before a good one; how the call fares. */
static void after(const struct frame *frames, int times, struct caller *c, int *accepted)
{
	struct wire no = wire_of(frames), yes = wire_of(ok_frames);
	const struct step refusing[] = {{SKIP, NULL, GREETING},
					{SAY, no.p, no.n},
					{AWAIT_EOF, NULL, 0},
					{STEP_END, NULL, 0}};
	const struct step serving[] = {{SKIP, NULL, GREETING},
				       {SAY, yes.p, yes.n},
				       {AWAIT_EOF, NULL, 0},
				       {STEP_END, NULL, 0}};
	const struct step *scripts[8];
	struct bench b;

	for (int i = 0; i < times; i++)
		scripts[i] = refusing;
	scripts[times] = serving;
	struct provider *p = provider_open(times + 1, scripts);

	bench_open(&b, h2_origin(p->port, 1)); /* the slot comes back, too */
	struct rl_call_spec spec = post(&b);

	not_replayable(&spec);
	caller_init(c);
	start(c, &b, &spec);
	run(&b);
	bench_close(&b);
	*accepted = atomic_load(&p->accepted);
	provider_close(p);
	free(no.p);
	free(yes.p);
}

static void goaway_before_it_began_is_not_noticed(void **state)
{
	static const struct frame goaway[] = {F(GOAWAY, NONE, 0, "\0\0\0\0\0\0\0\0"), {0}};
	struct caller c;
	int accepted;

	(void)state;
	for (int times = 1; times <= 3; times++) {
		after(goaway, times, &c, &accepted);
		assert_int_equal(c.end, times <= 2 ? END_OK : END_FAIL);
		assert_int_equal(accepted, times <= 2 ? times + 1 : 3);
		if (c.end == END_OK)
			assert_body(&c, "ok");
		else
			assert_int_equal(c.reason, RL_ERR_RESET);
		caller_fini(&c);
	}
}

/* The same stream number cannot come again on that connection: it is refused, then served as stream 3. */
static void refused_stream_is_tried_again(void **state)
{
	static const struct frame frames[] = {F(RST_STREAM, NONE, 1, "\0\0\0\x07"), {0}};
	static const struct frame then[] = {F(HEADERS, END_HEADERS, 3, STATUS_200), F(DATA, END_STREAM, 3, "ok"), {0}};
	struct wire no = wire_of(frames), yes = wire_of(then);
	const struct step script[] = {{SKIP, NULL, GREETING}, {SAY, no.p, no.n},           {WAIT_MS, NULL, 50},
				      {SKIP, NULL, 60},       {SAY, yes.p + 9, yes.n - 9}, {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	once_h2(&c, script, not_replayable);
	if (c.end != END_OK)
		fail_msg("%s: %s", rl_err_text(c.reason), c.detail);
	assert_body(&c, "ok");
	caller_fini(&c);
	free(no.p);
	free(yes.p);
}

/* An idle connection that goes as it is used again: once more on a fresh one, where the call may be replayed. */
static void stale_connection(void **state)
{
	(void)state;
	for (int replayable = 0; replayable < 2; replayable++) {
		struct wire yes = wire_of(ok_frames);
		const struct step first[] = {{SKIP, NULL, GREETING},
					     {SAY, yes.p, yes.n},
					     {SKIP, NULL, 60},
					     {RESET, NULL, 0}};
		const struct step second[] = {{SKIP, NULL, GREETING},
					      {SAY, yes.p, yes.n},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
		const struct step *scripts[] = {first, second};
		struct provider *p = provider_open(2, scripts);
		struct bench b;
		struct caller c[2];

		bench_open(&b, h2_origin(p->port, 0));
		struct rl_call_spec spec = post(&b);

		spec.replayable = replayable;
		for (int i = 0; i < 2; i++) {
			caller_init(&c[i]);
			start(&c[i], &b, &spec);
			run(&b);
		}
		assert_int_equal(c[0].end, END_OK);
		assert_int_equal(c[1].end, replayable ? END_OK : END_FAIL);
		for (int i = 0; i < 2; i++)
			caller_fini(&c[i]);
		bench_close(&b);
		provider_close(p);
		free(yes.p);
	}
}

/* ---- many calls ---- */

#define MANY 20

static void calls_share_a_connection(void **state)
{
	struct wire w = {NULL, 0};
	struct caller c[MANY];
	struct bench b;

	(void)state;
	put_frame(&w, &(struct frame)F(SETTINGS, NONE, 0, ""));
	for (unsigned i = 0; i < MANY; i++) { /* the last one first */
		put_frame(&w, &(struct frame)F(HEADERS, END_HEADERS, 2 * (MANY - i) - 1, STATUS_200));
		put_frame(&w, &(struct frame)F(DATA, END_STREAM, 2 * (MANY - i) - 1, "ok"));
	}
	const struct step script[] = {{SKIP, NULL, GREETING},
				      {WAIT_MS, NULL, 200},
				      {SAY, w.p, w.n},
				      {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	const struct step *scripts[] = {script};
	struct provider *p = provider_open(1, scripts);

	bench_open(&b, h2_origin(p->port, 0));
	struct rl_call_spec spec = post(&b);

	for (int i = 0; i < MANY; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &spec);
	}
	run(&b);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(c[i].end, END_OK);
		assert_body(&c[i], "ok");
		caller_fini(&c[i]);
	}
	assert_int_equal(atomic_load(&p->accepted), 1);
	bench_close(&b);
	provider_close(p);
	free(w.p);
}

/* Some have ended, some are in their answers, some wait: the connection's end is each one's own. */
static void one_loss_many_fates(void **state)
{
	static const struct frame frames[] = {F(HEADERS, END_HEADERS, 1, STATUS_200),
					      F(DATA, END_STREAM, 1, "ok"),
					      F(HEADERS, END_HEADERS, 3, STATUS_200),
					      F(DATA, NONE, 3, "o"),
					      {0}};
	struct wire w = wire_of(frames);
	const struct step script[] = {
		{SKIP, NULL, GREETING}, {WAIT_MS, NULL, 200}, {SAY, w.p, w.n}, {WAIT_MS, NULL, 50}, {RESET, NULL, 0}};
	const struct step *scripts[] = {script};
	struct provider *p = provider_open(1, scripts);
	struct caller c[4];
	struct bench b;

	(void)state;
	bench_open(&b, h2_origin(p->port, 0));
	struct rl_call_spec spec = post(&b);

	for (int i = 0; i < 4; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &spec);
	}
	run(&b);
	assert_int_equal(c[0].end, END_OK);
	assert_int_equal(c[1].end, END_FAIL);
	assert_string_equal(c[1].detail, "the answer was cut");
	assert_int_equal(c[1].heads, 1);
	for (int i = 2; i < 4; i++) {
		assert_int_equal(c[i].end, END_FAIL);
		assert_int_equal(c[i].heads, 0);
	}
	for (int i = 0; i < 4; i++)
		caller_fini(&c[i]);
	bench_close(&b);
	provider_close(p);
	free(w.p);
}

static void cancels_leave_the_connection(void **state)
{
	static const struct frame frames[] = {F(HEADERS, END_HEADERS, 3, STATUS_200),
					      F(DATA, END_STREAM, 3, "ok"),
					      {0}};
	struct wire w = wire_of(frames);
	const struct step script[] = {{SKIP, NULL, GREETING},
				      {WAIT_MS, NULL, 300},
				      {SAY, w.p, w.n},
				      {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	const struct step *scripts[] = {script};
	struct provider *p = provider_open(1, scripts);
	struct caller c[2];
	struct bench b;

	(void)state;
	bench_open(&b, h2_origin(p->port, 0));
	struct rl_call_spec spec = post(&b);

	for (int i = 0; i < 2; i++)
		caller_init(&c[i]);
	c[0].cancel = WHEN_TIMER;
	c[0].timer_ms = 50;
	start(&c[0], &b, &spec);
	start(&c[1], &b, &spec);
	run(&b);
	assert_int_equal(c[0].end, END_NONE);
	assert_int_equal(c[1].end, END_OK);
	assert_int_equal(atomic_load(&p->accepted), 1);
	for (int i = 0; i < 2; i++)
		caller_fini(&c[i]);
	bench_close(&b);
	provider_close(p);
	free(w.p);
}

/* Nobody is there: all who waited for the one opening are told, and nobody waits for the others' time-outs. */
static void refused_connection_is_everybodys(void **state)
{
	struct caller c[MANY];
	struct bench b;
	static const struct step script[] = {{STEP_END, NULL, 0}};
	const struct step *scripts[] = {script};
	struct provider *p = provider_open(1, scripts);
	uint16_t port = p->port;

	(void)state;
	provider_close(p);
	bench_open(&b, h2_origin(port, 1));
	struct rl_call_spec spec = post(&b);

	for (int i = 0; i < MANY; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &spec);
	}
	run(&b);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(c[i].end, END_FAIL);
		assert_int_equal(c[i].reason, RL_ERR_REFUSED);
		caller_fini(&c[i]);
	}
	bench_close(&b);
}

/* The one who had begun to open it leaves; the others get what he began. */
static void a_leader_that_leaves(void **state)
{
	struct wire w = {NULL, 0};
	struct caller c[4];
	struct bench b;

	(void)state;
	put_frame(&w, &(struct frame)F(SETTINGS, NONE, 0, ""));
	for (unsigned i = 0; i < 2; i++) {
		put_frame(&w, &(struct frame)F(HEADERS, END_HEADERS, 2 * i + 1, STATUS_200));
		put_frame(&w, &(struct frame)F(DATA, END_STREAM, 2 * i + 1, "ok"));
	}
	const struct step script[] = {{SKIP, NULL, GREETING},
				      {WAIT_MS, NULL, 200},
				      {SAY, w.p, w.n},
				      {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	const struct step *scripts[] = {script};
	struct provider *p = provider_open(1, scripts);

	bench_open(&b, h2_origin(p->port, 0));
	struct rl_call_spec spec = post(&b);

	for (int i = 0; i < 4; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &spec);
	}
	cancel(&c[0]);
	cancel(&c[2]);
	run(&b);
	assert_int_equal(c[1].end, END_OK);
	assert_int_equal(c[3].end, END_OK);
	assert_int_equal(atomic_load(&p->accepted), 1);
	for (int i = 0; i < 4; i++)
		caller_fini(&c[i]);
	bench_close(&b);
	provider_close(p);
	free(w.p);
}

/* ---- floods ---- */

/* Frames without end that carry nothing end the connection, not the processor's time (FAULTS 23). */
static void flood(void **state)
{
	static const struct frame kinds[] = {F(PING, NONE, 0, "12345678"), F(SETTINGS, NONE, 0, ""),
					     F(WINDOW_UPDATE, NONE, 0, "\0\0\0\x01"), F(DATA, NONE, 1, ""),
					     F(CONTINUATION, NONE, 1, "")};

	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		const struct frame head[] = {F(HEADERS, kinds[i].type == CONTINUATION ? NONE : END_HEADERS, 1,
					       STATUS_200),
					     {0}};
		struct wire w = wire_of(head), all = {NULL, 0};

		for (int k = 0; k < 20000; k++)
			put_frame(&all, &kinds[i]);
		const struct step script[] = {{SKIP, NULL, GREETING},
					      {SAY, w.p, w.n},
					      {SAY, all.p, all.n},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
		struct caller c;

		caller_init(&c);
		once_h2(&c, script, NULL);
		assert_int_equal(c.end, END_FAIL);
		assert_int_equal(c.reason, RL_ERR_PROTOCOL);
		caller_fini(&c);
		free(w.p);
		free(all.p);
	}
}

/* What is in flight when the owner pauses is kept, up to the stream's credit; then the provider stands. */
static void a_pause_keeps_what_was_under_way(void **state)
{
	static const char full[16384];
	/* Our own SETTINGS hold once they are acknowledged. */
	static const struct frame head[] = {F(SETTINGS, 1, 0, ""), F(HEADERS, END_HEADERS, 1, STATUS_200), {0}};
	struct wire w = wire_of(head);

	(void)state;
	for (int k = 0; k < 8; k++)
		put_frame(&w, &(struct frame){DATA, k == 7 ? END_STREAM : NONE, 1, full, sizeof full});
	const struct step script[] = {{SKIP, NULL, GREETING},
				      {SAY, w.p, w.n},
				      {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	struct caller c;

	caller_init(&c);
	c.pause = WHEN_BODY;
	c.timer_ms = 300;
	once_h2(&c, script, NULL);
	assert_int_equal(c.end, END_OK);
	assert_int_equal(c.body.n, 8 * sizeof full);
	assert_true(c.pieces >= 2 && c.pieces <= 8);
	caller_fini(&c);
	/* One byte more than there is credit for is an error of the connection. */
	free(w.p);
	w = wire_of(head);
	for (int k = 0; k < 9; k++)
		put_frame(&w, &(struct frame){DATA, NONE, 1, full, sizeof full});
	const struct step more[] = {{SKIP, NULL, GREETING}, {SAY, w.p, w.n}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};

	caller_init(&c);
	c.pause = WHEN_HEAD;
	c.timer_ms = 300;
	once_h2(&c, more, NULL);
	assert_int_equal(c.end, END_FAIL);
	caller_fini(&c);
	free(w.p);
}

/* ---- time ---- */

static void idle_ones_are_closed(void **state)
{
	struct wire yes = wire_of(ok_frames);
	const struct step script[] = {{SKIP, NULL, GREETING},
				      {SAY, yes.p, yes.n},
				      {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	const struct step *scripts[] = {script};
	struct provider *p = provider_open(1, scripts);
	struct rl_origin_spec of = {
		.host = RL_STR("127.0.0.1"), .port = p->port, .max_idle = 32, .idle_ms = 100, .http2 = true};
	struct rl_origin *origin = NULL;
	struct caller c;
	struct bench b;
	const char *why;

	(void)state;
	assert_int_equal(rl_origin_new(&of, &origin, &why), RL_OK);
	bench_open(&b, origin);
	struct rl_call_spec spec = post(&b);

	caller_init(&c);
	start(&c, &b, &spec);
	run(&b);
	assert_int_equal(c.end, END_OK);
	assert_int_equal(rl_origin_connections(origin), 1);
	for (int i = 0; i < 100 && rl_origin_connections(origin); i++)
		linger(&b, 50);
	assert_int_equal(rl_origin_connections(origin), 0);
	caller_fini(&c);
	bench_close(&b);
	provider_close(p);
	free(yes.p);
}

static void timed_out(void **state)
{
	static const struct frame nothing[] = {{0}}, head[] = {F(HEADERS, END_HEADERS, 1, STATUS_200), {0}};
	static const struct {
		const struct frame *frames;
		const char *detail;
	} cases[] = {{nothing, "first_byte"}, {head, "idle"}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct wire w = wire_of(cases[i].frames);
		const struct step script[] = {{SKIP, NULL, GREETING},
					      {SAY, w.p, w.n},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
		const struct step *scripts[] = {script};
		struct provider *p = provider_open(1, scripts);
		struct caller c;
		struct bench b;

		bench_open(&b, h2_origin(p->port, 0));
		struct rl_call_spec spec = post(&b);

		spec.times.first_byte_ms = i == 0 ? 200 : 14000;
		spec.times.idle_ms = 200;
		caller_init(&c);
		start(&c, &b, &spec);
		run(&b);
		assert_int_equal(c.end, END_FAIL);
		assert_int_equal(c.reason, RL_ERR_TIMEOUT);
		assert_string_equal(c.detail, cases[i].detail);
		caller_fini(&c);
		bench_close(&b);
		provider_close(p);
		free(w.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_at_every_cut),
		cmocka_unit_test(answers_byte_by_byte_and_paused),
		cmocka_unit_test(head_has_no_body),
		cmocka_unit_test(bad_answers),
		cmocka_unit_test(garbage),
		cmocka_unit_test(cut_everywhere),
		cmocka_unit_test(goaway_before_it_began_is_not_noticed),
		cmocka_unit_test(refused_stream_is_tried_again),
		cmocka_unit_test(stale_connection),
		cmocka_unit_test(calls_share_a_connection),
		cmocka_unit_test(one_loss_many_fates),
		cmocka_unit_test(cancels_leave_the_connection),
		cmocka_unit_test(refused_connection_is_everybodys),
		cmocka_unit_test(a_leader_that_leaves),
		cmocka_unit_test(flood),
		cmocka_unit_test(a_pause_keeps_what_was_under_way),
		cmocka_unit_test(idle_ones_are_closed),
		cmocka_unit_test(timed_out),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
