/* SPDX-License-Identifier: Apache-2.0 */
/* The client: asking for a WebSocket, what may answer it, and the tunnel behind a 101 with its two ends. */
#include "http_client_kit.h"

#define SWITCH                                                                      \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: a, " \
	"Upgrade\r\nx-marker: m\r\n\r\n"

static const rl_str words[] = {RL_STR_INIT("one"), RL_STR_INIT("two")};

static void ask(struct rl_call_spec *spec)
{
	spec->method = RL_METHOD_GET;
	spec->body = NULL;
	spec->n_body = 0;
	spec->replayable = false;
	spec->streamed = spec->upgrade = true;
}

static void ask_impatiently(struct rl_call_spec *spec)
{
	ask(spec);
	spec->times.idle_ms = spec->times.send_ms = 50;
	spec->max_head_bytes = 4096;
}

static void asker_init(struct caller *c)
{
	caller_init(c);
	c->give = words;
	c->n_give = 2;
}

/* Our side ends first: what the other one says after that still comes. */
static void our_end_is_not_theirs(void **state)
{
	static const struct step whole[] = {{READ, NULL, 0},      {SAY, SWITCH "hello ", 0}, {SKIP, NULL, 6},
					    {AWAIT_EOF, NULL, 0}, {SAY, "and good-bye", 0},  {CLOSE, NULL, 0}};
	static const struct step bytes[] = {{READ, NULL, 0},      {SAY_EACH, SWITCH "hello ", 0}, {SKIP, NULL, 6},
					    {AWAIT_EOF, NULL, 0}, {SAY_EACH, "and good-bye", 0},  {CLOSE, NULL, 0}};

	(void)state;
	for (int way = 0; way < 4; way++) {
		struct caller c;

		asker_init(&c);
		c.pause = way & 2 ? WHEN_HEAD : WHEN_NEVER;
		once(&c, way & 1 ? bytes : whole, ask);
		assert_int_equal(c.end, END_OK);
		assert_int_equal(c.status, 101);
		assert_string_equal(c.marker, "m");
		assert_int_equal(c.given, 2);
		assert_int_equal(c.shuts, 0);
		assert_body(&c, "hello and good-bye");
		caller_fini(&c);
	}
}

/* Their side ends first, and is told so; what we say after that still goes. */
static void their_end_is_not_ours(void **state)
{
	static const struct step script[] = {
		{READ, NULL, 0}, {SAY, SWITCH "hello", 0}, {FIN, NULL, 0}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	const struct step *const scripts[] = {script};

	(void)state;
	for (int way = 0; way < 2; way++) {
		struct provider *p = provider_open(1, scripts);
		struct bench b;
		struct caller c;

		asker_init(&c);
		c.stays = true;
		c.pause = way ? WHEN_BODY : WHEN_NEVER;
		bench_open(&b, origin_for(p->port, 0, 32));
		struct rl_call_spec spec = post(&b);

		ask(&spec);
		start(&c, &b, &spec);
		run(&b);
		assert_int_equal(c.end, END_OK);
		assert_int_equal(c.shuts, 1);
		assert_body(&c, "hello");
		assert_non_null(strstr(p->seen, "GET /v1/x?y=1 HTTP/1.1\r\n"));
		assert_non_null(strstr(p->seen, "\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"));
		assert_null(strstr(p->seen, "content-length"));
		assert_null(strstr(p->seen, "transfer-encoding"));
		bench_close(&b);
		provider_close(p);
		caller_fini(&c);
	}
}

/* Who has ended and takes nothing more has ended in order; who ends by a reset has not. */
static void other_ends(void **state)
{
	static char block[65536];
	static const rl_str much[] = {{block, sizeof block}, {block, sizeof block}, {block, sizeof block},
				      {block, sizeof block}, {block, sizeof block}, {block, sizeof block}};
	const struct step closes[] = {{READ, NULL, 0}, {SAY, SWITCH "hello", 0}, {CLOSE, NULL, 0}};
	const struct step listens[] = {
		{READ, NULL, 0}, {SAY, SWITCH "hello", 0}, {FIN, NULL, 0}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	const struct step resets[] = {{READ, NULL, 0}, {SAY, SWITCH "hello", 0}, {SKIP, NULL, 3}, {RESET, NULL, 0}};
	struct caller c;

	(void)state;
	asker_init(&c);
	c.give = much;
	c.n_give = 6;
	c.stays = true;
	once(&c, closes, ask);
	assert_true(c.end == END_OK || c.reason == RL_ERR_RESET); /* whether the end or the reset is seen first */
	caller_fini(&c);

	asker_init(&c);
	c.stays = true;
	once(&c, resets, ask);
	assert_int_equal(c.end, END_FAIL);
	assert_int_equal(c.reason, RL_ERR_RESET);
	caller_fini(&c);

	asker_init(&c);
	c.stays = true;
	c.cancel = WHEN_SHUT;
	once(&c, listens, ask);
	assert_int_equal(c.end, END_NONE);
	assert_int_equal(c.shuts, 1);
	caller_fini(&c);
}

/* Only the owner sees both directions, so that silence of one ends nothing. */
static void silence_is_the_owners(void **state)
{
	const struct step script[] = {{READ, NULL, 0},        {SAY, SWITCH, 0}, {WAIT_MS, NULL, 300},
				      {SAY, "still here", 0}, {FIN, NULL, 0},   {AWAIT_EOF, NULL, 0},
				      {STEP_END, NULL, 0}};
	struct caller c;

	(void)state;
	asker_init(&c);
	once(&c, script, ask_impatiently);
	assert_int_equal(c.end, END_OK);
	assert_body(&c, "still here");
	caller_fini(&c);
}

/* What comes with the 101 is not lost when it is more than one read, and the owner is not ready. */
static void much_with_the_101(void **state)
{
	static char text[sizeof SWITCH + 300000];
	const struct step script[] = {{READ, NULL, 0}, {SAY, text, 0}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};
	struct caller c;

	(void)state;
	memcpy(text, SWITCH, sizeof SWITCH - 1);
	for (size_t i = sizeof SWITCH - 1; i + 1 < sizeof text; i++)
		text[i] = (char)('a' + i % 26);
	asker_init(&c);
	c.pause = WHEN_BODY;
	c.pause_each = true;
	once(&c, script, ask);
	assert_int_equal(c.end, END_OK);
	assert_body(&c, text + sizeof SWITCH - 1);
	caller_fini(&c);
}

/* Any other answer is an ordinary one, and its connection serves on; one that was a tunnel's does not. */
static void refusals_and_what_follows(void **state)
{
	static const struct step first[] = {{READ, NULL, 0},
					    {SAY,
					     "HTTP/1.1 426 Upgrade Required\r\nupgrade: x\r\nconnection: upgrade\r\n"
					     "content-length: 2\r\n\r\nno",
					     0},
					    {READ, NULL, 0},
					    {SAY, OK_2, 0},
					    {AWAIT_EOF, NULL, 0},
					    {STEP_END, NULL, 0}};
	static const struct step second[] = {{READ, NULL, 0},
					     {SAY, "HTTP/1.1 103 Early\r\n\r\n" SWITCH, 0},
					     {AWAIT_EOF, NULL, 0},
					     {STEP_END, NULL, 0}};
	const struct step *const scripts[] = {first, second};
	struct provider *p = provider_open(2, scripts);
	const struct {
		bool upgrade, reused;
		uint16_t status;
	} rows[] = {{true, false, 426}, {false, true, 200}, {true, false, 101}};
	struct bench b;

	(void)state;
	bench_open(&b, origin_for(p->port, 0, 32));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct rl_call_spec spec = post(&b);
		struct caller c;

		asker_init(&c);
		if (rows[i].upgrade)
			ask(&spec);
		start(&c, &b, &spec);
		run(&b);
		assert_int_equal(c.end, END_OK);
		assert_int_equal(c.status, rows[i].status);
		assert_int_equal(c.reused, rows[i].reused);
		assert_int_equal(c.given, rows[i].status == 101 ? 2 : 0);
		caller_fini(&c);
	}
	assert_int_equal(atomic_load(&p->accepted), 2);
	bench_close(&b);
	provider_close(p);
}

/* No tunnel opens by these, and nothing behind them is anybody's. */
static void bad_switches_fail(void **state)
{
#define S "HTTP/1.1 101 Switching Protocols\r\n"
#define UP "upgrade: websocket\r\n"
#define CO "connection: upgrade\r\n"
	static const char *const bad[] = {
		S "\r\nx",
		S UP "\r\nx",
		S CO "\r\nx",
		S CO "upgrade: h2c\r\n\r\nx",
		S CO "upgrade: websocket, h2c\r\n\r\nx",
		S UP "connection: close\r\n\r\nx",
		S UP CO "content-length: 1\r\n\r\nx",
		S UP CO "content-length: 0\r\n\r\nx",
		S UP CO "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
		S UP CO "a: b\nc: d\r\n\r\nx",
		S UP CO "a: b\r\n\nx",
		S UP " folded: x\r\n" CO "\r\nx",
		"HTTP/1.2 101 X\r\n" UP CO "\r\nx",
		"HTTP/2 101 X\r\n" UP CO "\r\nx",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		for (int way = 0; way < 2; way++) {
			const struct step script[] = {{READ, NULL, 0},
						      {way ? SAY_EACH : SAY, bad[i], 0},
						      {CLOSE, NULL, 0}};
			struct caller c;

			asker_init(&c);
			once(&c, script, ask);
			if (c.end != END_FAIL || c.reason != RL_ERR_PROTOCOL || c.heads)
				print_error("case %zu (%s): end %d, %s, %s\n", i, bad[i], c.end, rl_err_name(c.reason),
					    c.detail);
			assert_int_equal(c.end, END_FAIL);
			assert_int_equal(c.reason, RL_ERR_PROTOCOL);
			assert_int_equal(c.heads + c.pieces + (int)c.given, 0);
			caller_fini(&c);
		}
	}
}

static void heads_are_bounded(void **state)
{
	const struct step endless[] = {{READ, NULL, 0},
				       {SAY, S UP CO, 0},
				       {REPEAT, "a: bcdefghijklmnop\r\n", 100000},
				       {CLOSE, NULL, 0}};
	const struct step one_line[] = {{READ, NULL, 0},
					{SAY, S UP CO "a: ", 0},
					{REPEAT, "bcdefghijklmnop", 100000},
					{CLOSE, NULL, 0}};
	const struct step *const scripts[] = {endless, one_line};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct caller c;

		asker_init(&c);
		once(&c, scripts[i], ask_impatiently);
		assert_int_equal(c.end, END_FAIL);
		assert_int_equal(c.reason, RL_ERR_PROTOCOL);
		assert_string_equal(c.detail, "the head is too long");
		caller_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_end_is_not_theirs),
		cmocka_unit_test(their_end_is_not_ours),
		cmocka_unit_test(other_ends),
		cmocka_unit_test(silence_is_the_owners),
		cmocka_unit_test(much_with_the_101),
		cmocka_unit_test(refusals_and_what_follows),
		cmocka_unit_test(bad_switches_fail),
		cmocka_unit_test(heads_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
