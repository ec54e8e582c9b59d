/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: requests that ask for a WebSocket, when they get one, and the tunnel behind the 101 with its two ends.
 * The service here is the test's own: /ws opens a tunnel that echoes, other paths of a tunnel do what their row says.
 */
#include "http_rig.h"

#define WISH "Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
#define WS "GET /ws HTTP/1.1\r\n" WISH "\r\n"
#define MUCH_BYTES 3000000u

static struct tunnel {
	struct rl_exchange *x; /* the one that was asked for last */
	struct rl_task later;
	bool open, shut;
	size_t heard;
	atomic_uint asked, opened, said, refused; /* for the client's eyes */
	atomic_size_t took;
} t;

static void open_it(struct rl_server *server)
{
	struct rl_response_head head = {.status = 101};

	(void)server;
	rl_exchange_pause(t.x);
	if (!rl_exchange_upgrade(t.x, &head)) {
		rl_str why = RL_STR("too early");
		struct rl_response_head no = {.status = 400};

		atomic_fetch_add(&t.refused, 1);
		rl_exchange_reply(t.x, &no, &why, 1);
		t.x = NULL;
		return;
	}
	rl_exchange_forget(t.x);
	rl_exchange_resume(t.x);
	t.open = true;
	atomic_fetch_add(&t.opened, 1);
}

static void open_later(struct rl_task *task)
{
	(void)task;
	if (t.x)
		open_it(NULL);
}

static void hold(struct rl_server *server)
{
	(void)server;
	if (t.x)
		rl_exchange_pause(t.x);
}

static void go_on(struct rl_server *server)
{
	(void)server;
	if (t.x)
		rl_exchange_resume(t.x);
}

static void write_much(struct rl_server *server)
{
	static char text[MUCH_BYTES];
	rl_str piece = {text, sizeof text};

	(void)server;
	memset(text, 'm', sizeof text);
	rl_exchange_write(t.x, &piece, 1);
}

/* With all of it still queued. */
static void write_much_and_shut(struct rl_server *server)
{
	write_much(server);
	rl_exchange_shut(t.x);
	t.shut = true;
}

static void end_it(struct rl_server *server)
{
	(void)server;
	if (t.x)
		rl_exchange_end(t.x);
	t.x = NULL;
}

static void ws_request(struct rl_exchange *x, void *arg)
{
	struct rig *rig = arg;

	atomic_fetch_add(&rig->requests, 1);
	x->owner = rig;
	t.x = x;
	t.open = t.shut = false;
	t.heard = 0;
	atomic_store(&t.took, 0);
}

static void ws_body(struct rl_exchange *x, rl_str piece)
{
	assert_ptr_equal(x, t.x);
	if (!t.open)
		return; /* of a request that has one */
	t.heard += piece.n;
	atomic_store(&t.took, t.heard);
	if (t.heard < 100)
		rl_exchange_write(x, &piece, 1);
}

static void ws_body_end(struct rl_exchange *x)
{
	rl_str path = x->head.path, bye = RL_STR("bye");
	struct rl_response_head head = {.status = 200};

	assert_ptr_equal(x, t.x);
	if (t.open) { /* the client's end of the tunnel */
		atomic_fetch_add(&t.said, 1);
		if (!t.shut)
			rl_exchange_write(x, &bye, 1);
		end_it(NULL);
	} else if (!rl_exchange_asks_upgrade(x)) {
		rl_exchange_reply(x, &head, &path, 1);
	} else if (rl_str_eq(path, RL_STR("/ws"))) {
		rl_loop_defer(x->loop, &t.later); /* what came with the request is kept then */
	} else if (rl_str_eq(path, RL_STR("/refused"))) {
		head.status = 403;
		rl_exchange_reply(x, &head, &path, 1);
	} else {
		atomic_fetch_add(&t.asked, 1); /* until the client gives an order */
	}
}

static void ws_drain(struct rl_exchange *x)
{
	(void)x;
}

static void ws_gone(struct rl_exchange *x, enum rl_err reason)
{
	struct rig *rig = x->owner;

	atomic_store(&rig->reason, (int)reason);
	t.x = NULL;
	rl_exchange_abort(x, false);
	atomic_fetch_add(&rig->gone, 1);
}

static const struct rl_exchange_ops ws_service = {
	.name = "tunnels",
	.on_request = ws_request,
	.on_body = ws_body,
	.on_body_end = ws_body_end,
	.on_drain = ws_drain,
	.on_gone = ws_gone,
	.on_bad_request = on_bad_request,
};

static struct totals tunnels(void (*client)(struct rig *))
{
	memset(&t, 0, sizeof t);
	t.later.run = open_later;
	return run_service(client, usual, &ws_service);
}

/* ---- asking ---- */

static void client_asks(struct rig *rig)
{
	static const struct {
		const char *text;
		bool granted;
	} rows[] = {
		{WS, true},
		{"GET /ws HTTP/1.1\r\nHost: a\r\nupgrade: h2c , websocket\r\nconnection: upgrade\r\n\r\n", true},
		{"GET /ws HTTP/1.1\r\n" WISH "Content-Length: 0\r\n\r\n", true},
		{"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", false},
		{"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n", false},
		{"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websockets\r\n\r\n", false},
		{"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgraded\r\nUpgrade: websocket\r\n\r\n", false},
		{"GET /ws HTTP/1.0\r\n" WISH "\r\n", false},
		{"POST /ws HTTP/1.1\r\n" WISH "Content-Length: 0\r\n\r\n", false},
		{"HEAD /ws HTTP/1.1\r\n" WISH "\r\n", false},
		{"GET /ws HTTP/1.1\r\n" WISH "Content-Length: 1\r\n\r\nx", false},
		{"GET /ws HTTP/1.1\r\n" WISH "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int fd = dial(rig);
		char line[13] = "";

		say(fd, rl_str_of(rows[i].text));
		recv(fd, line, sizeof line - 1, MSG_WAITALL);
		if (status_of(line) != (rows[i].granted ? 101 : 200))
			printf("case %zu: %s\n", i, line);
		CHECK(rig, status_of(line) == (rows[i].granted ? 101 : 200));
		shutdown(fd, SHUT_WR);
		free(hear(fd, NULL));
		close(fd);
	}
	/* Who has ended before the answer gets none. */
	int fd = dial_with(rig, RL_STR(WS), true);
	char *answer = hear(fd, NULL);

	CHECK(rig, !*answer);
	free(answer);
	close(fd);
}

static void what_asks_for_one(void **state)
{
	(void)state;
	tunnels(client_asks);
}

static void client_reads_the_head(struct rig *rig)
{
	int fd = dial(rig);

	say(fd, RL_STR(WS));
	hear_until(rig, fd, "\r\n\r\n");
	say(fd, RL_STR("ping"));
	hear_until(rig, fd, "ping");
	shutdown(fd, SHUT_WR);
	char *rest = hear(fd, NULL);

	CHECK(rig, strcmp(rest, "bye") == 0);
	free(rest);
	close(fd);
	fd = dial(rig);
	say(fd, RL_STR(WS));
	wait_for(rig, &t.opened, 2);
	shutdown(fd, SHUT_WR);
	char *answer = hear(fd, NULL);

	CHECK(rig, count(answer, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n") == 1);
	CHECK(rig, !strstr(answer, "Content-Length") && !strstr(answer, "Transfer-Encoding"));
	CHECK(rig, strstr(answer, "\r\n\r\nbye"));
	free(answer);
	close(fd);
}

static void a_tunnel_echoes_and_ends(void **state)
{
	(void)state;
	assert_int_equal(tunnels(client_reads_the_head).gone, 0);
}

/* A refusal is an ordinary answer, behind which the connection goes on; a head without end is none at all. */
static void client_is_refused(struct rig *rig)
{
	char *answer = ask(rig, RL_STR("GET /refused HTTP/1.1\r\n" WISH "\r\n" BYE));

	CHECK(rig, status_of(answer) == 403 && count(answer, "HTTP/1.1 200 OK") == 1 && strstr(answer, "/bye"));
	CHECK(rig, !strstr(answer, "Upgrade: websocket"));
	free(answer);

	struct rl_buf head;

	rl_buf_init(&head, 1 << 20);
	rl_buf_add(&head, RL_STR("GET /ws HTTP/1.1\r\n" WISH "X: "));
	while (head.n < 65536)
		rl_buf_byte(&head, 'x');
	rl_buf_add(&head, RL_STR("\r\n\r\n"));
	answer = ask(rig, rl_buf_str(&head));
	CHECK(rig, status_of(answer) == 431 && !strstr(answer, "websocket"));
	free(answer);
	rl_buf_fini(&head);
}

static void refusals(void **state)
{
	(void)state;
	assert_int_equal(tunnels(client_is_refused).requests, 2);
}

/* What comes before the 101 reaches nobody: neither read already, nor still in the kernel. */
static void client_hurries(struct rig *rig)
{
	for (unsigned way = 0; way < 3; way++) {
		bool behind = way == 2;
		int fd = dial_with(rig,
				   way == 0   ? RL_STR(WS BYE)
				   : way == 1 ? RL_STR("GET /wait HTTP/1.1\r\n" WISH "\r\n" BYE)
					      : RL_STR("GET /wait HTTP/1.1\r\n" WISH "\r\n"),
				   false);

		if (way) {
			wait_for(rig, &t.asked, way);
			if (behind)
				say(fd, RL_STR(BYE));
			post(rig, -1, open_it);
		}
		char *answer = hear(fd, NULL);

		CHECK(rig, status_of(answer) == 400 && strstr(answer, "too early"));
		CHECK(rig, count(answer, "HTTP/1.1") == 1 && strstr(answer, "\r\nConnection: close\r\n"));
		free(answer);
		close(fd);
	}
	CHECK(rig, atomic_load(&t.refused) == 3 && atomic_load(&t.opened) == 0);
}

static void early_bytes_are_nobodys(void **state)
{
	(void)state;
	assert_int_equal(tunnels(client_hurries).requests, 3);
}

/* ---- ends ---- */

static void say_much(int fd)
{
	static char text[MUCH_BYTES];

	say(fd, rl_str_make(text, sizeof text));
}

struct talker {
	pthread_t thread;
	int fd;
};

static void *talk(void *arg)
{
	const struct talker *talker = arg;

	say_much(talker->fd);
	shutdown(talker->fd, SHUT_WR);
	return NULL;
}

/* Its last words are more than a read, and arrive before its end, though nobody wants them for a while. */
static void client_ends_first(struct rig *rig)
{
	struct talker talker = {.fd = dial(rig)};

	say(talker.fd, RL_STR(WS));
	hear_until(rig, talker.fd, "\r\n\r\n");
	post(rig, -1, hold);
	pthread_create(&talker.thread, NULL, talk, &talker);
	post(rig, -1, go_on);
	char *rest = hear(talker.fd, NULL);

	CHECK(rig, strcmp(rest, "bye") == 0 && atomic_load(&t.took) == MUCH_BYTES);
	free(rest);
	pthread_join(talker.thread, NULL);
	close(talker.fd);
	/* While it is paused, and nothing else is to come. */
	int fd = dial(rig);

	say(fd, RL_STR(WS));
	hear_until(rig, fd, "\r\n\r\n");
	post(rig, -1, hold);
	shutdown(fd, SHUT_WR);
	wait_for(rig, &t.said, 2);
	rest = hear(fd, NULL);
	CHECK(rig, strcmp(rest, "bye") == 0);
	free(rest);
	close(fd);
}

static void the_client_ends_first(void **state)
{
	(void)state;
	assert_int_equal(tunnels(client_ends_first).gone, 0);
}

/* We end first: the client sees it behind all that was queued, and what it says then still comes. */
static void client_ends_second(struct rig *rig)
{
	size_t n;
	int fd = dial(rig);

	say(fd, RL_STR(WS));
	hear_until(rig, fd, "\r\n\r\n");
	post(rig, -1, write_much_and_shut);
	free(hear(fd, &n));
	CHECK(rig, n == MUCH_BYTES);
	say_much(fd);
	for (unsigned i = 0; i < 4000 && atomic_load(&t.took) < MUCH_BYTES; i++)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	CHECK(rig, atomic_load(&t.took) == MUCH_BYTES);
	post(rig, -1, end_it);
	close(fd);
}

static void we_end_first(void **state)
{
	(void)state;
	assert_int_equal(tunnels(client_ends_second).gone, 0);
}

/* A client that is gone for good is noticed, also while nobody reads. */
static void client_breaks_off(struct rig *rig)
{
	int fd = dial(rig);

	say(fd, RL_STR(WS));
	hear_until(rig, fd, "\r\n\r\n");
	post(rig, -1, hold);
	post(rig, -1, write_much);
	hear_until(rig, fd, "m");
	close(fd); /* with much unread, which a socket of this kind answers by a reset */
	wait_for(rig, &rig->gone, 1);
}

static void the_client_breaks_off(void **state)
{
	(void)state;
	struct totals totals = tunnels(client_breaks_off);

	assert_int_equal(totals.gone, 1);
	assert_int_equal(totals.reason, RL_ERR_RESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_asks_for_one),
		cmocka_unit_test(a_tunnel_echoes_and_ends),
		cmocka_unit_test(refusals),
		cmocka_unit_test(early_bytes_are_nobodys),
		cmocka_unit_test(the_client_ends_first),
		cmocka_unit_test(we_end_first),
		cmocka_unit_test(the_client_breaks_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
