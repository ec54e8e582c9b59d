/* SPDX-License-Identifier: Apache-2.0 */
/* What the server must refuse, and what it must not be misled by: every case of FAULTS A about requests is a row here. */
#include "http_rig.h"

/* ---- FAULTS A ---- */

/* clang-format off */
#define H "Host: a\r\n"
#define ROW(text, status)                 \
	{                                 \
		RL_STR_INIT(text), status \
	}

static const struct {
	rl_str raw;
	unsigned status;
} bad[] = {
	/* 1: two framings */
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: x\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
	/* 2: transfer codings */
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 501),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \xA0" "chunked\r\n\r\n0\r\n\r\n", 501),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
	/* 3: lengths */
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 2, 2\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: +2\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 0x2\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 2_0\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 2 0\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: \r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551618\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 000000000000000000002\r\n\r\nab", 400),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length : 2\r\n\r\nab", 400),
	/* 4, 5, 6: chunks (the whole list is in test_http_head) */
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n", 400),
	ROW("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: x\r\n\r\n", 400),
	/* 7: lines */
	ROW("GET / HTTP/1.1\nHost: a\n\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01" "b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7F" "b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX\xC3\xA4: b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n", 400),
	ROW("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	/* 8: the request line */
	ROW("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
	ROW("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET /\xC3\xA4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET / HTTP/1.1x\r\nHost: a\r\n\r\n", 400),
	ROW("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
	ROW("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
	ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
	ROW("GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET / HTTP/\r\nHost: a\r\n\r\n", 400),
	ROW("GET /\r\n", 400),
	ROW("GET\r\n", 400),
	ROW("HTTP/1.1\r\n", 400),
	ROW("GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("FROBNICATE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
	ROW("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
	/* 9: targets */
	ROW("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET http://a,b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	ROW("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
	ROW("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
	/* 10: Host */
	ROW("GET / HTTP/1.1\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
	ROW("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
	ROW("GET http://b/ HTTP/1.1\r\n\r\n", 400),
	ROW("GET http://b/ HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
	/* 12: expectations */
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: y 100-continue\r\n\r\nab", 417),
	ROW("POST / HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue, x\r\n\r\nab", 417),
};
/* clang-format on */
#define N_BAD (sizeof bad / sizeof bad[0])

static void client_bad(struct rig *rig)
{
	for (size_t i = 0; i < N_BAD; i++) {
		int fd = dial(rig);
		say(fd, bad[i].raw);
		char *a = hear(fd, NULL);
		if (status_of(a) != bad[i].status || !strstr(a, "Connection: close\r\n") ||
		    count(a, "\r\nDate: ") != 1 || (bad[i].status == 405) != (strstr(a, "Allow: GET") != NULL)) {
			printf("row %zu '%.*s': %s\n", i, RL_STR_ARG(bad[i].raw), a);
			atomic_fetch_add(&rig->failures, 1);
		}
		free(a);
		close(fd);
	}
	/* The same behind a good request: it is answered first. */
	for (size_t i = 0; i < N_BAD; i++) {
		struct rl_buf both;
		rl_buf_init(&both, 65536);
		RL_BUF_LIT(&both, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
		rl_buf_add(&both, bad[i].raw);
		char *a = ask(rig, rl_buf_str(&both));
		char *second = status_of(a) == 200 ? strstr(a + 9, "HTTP/1.1 ") : NULL;
		CHECK(rig, second && status_of(second) == bad[i].status);
		free(a);
		rl_buf_fini(&both);
	}
}

static void bad_requests_are_refused(void **state)
{
	(void)state;
	struct totals t = run(client_bad);

	assert_int_equal(t.refused, 2 * N_BAD);
}

static void client_limits(struct rig *rig)
{
	struct rl_buf b;

	rl_buf_init(&b, 1 << 20);
	/* One below, at and above the limit of a head (8,192 with the empty line). */
	for (size_t total = 8191; total <= 8193; total++) {
		rl_buf_reset(&b);
		RL_BUF_LIT(&b, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ");
		while (b.n < total - 4)
			rl_buf_byte(&b, 'x');
		RL_BUF_LIT(&b, "\r\n\r\n");
		char *a = ask(rig, rl_buf_str(&b));
		CHECK(rig, status_of(a) == (total <= 8192 ? 200 : 431));
		free(a);
	}
	for (unsigned n = 99; n <= 101; n++) { /* and of fields: 100 */
		rl_buf_reset(&b);
		RL_BUF_LIT(&b, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
		for (unsigned i = 2; i < n; i++)
			RL_BUF_LIT(&b, "X: y\r\n");
		RL_BUF_LIT(&b, "\r\n");
		char *a = ask(rig, rl_buf_str(&b));
		CHECK(rig, status_of(a) == (n <= 100 ? 200 : 431));
		free(a);
	}
	static const struct {
		const char *begin, *repeat;
		unsigned status;
	} endless[] = {{"GET /", "a", 414},
		       {"GET / HTTP/1.1\r\nHost: a\r\nX: ", "a", 431},
		       {"", "A", 414},
		       {"GET / HTTP/1.1\r\nHost: a\r\n", "X: y\r\n", 431}};
	for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
		rl_buf_reset(&b);
		rl_buf_add(&b, rl_str_of(endless[i].begin));
		while (b.n < 65536)
			rl_buf_add(&b, rl_str_of(endless[i].repeat));
		int fd = dial(rig);
		say(fd, rl_buf_str(&b));
		char *a = hear(fd, NULL);
		CHECK(rig, status_of(a) == endless[i].status);
		free(a);
		close(fd);
	}
	rl_buf_fini(&b);
}

static void heads_are_bounded(void **state)
{
	(void)state;
	run(client_limits);
}

static void client_targets(struct rig *rig)
{
	char *a = ask(rig, RL_STR("GET http://one.example:80/host HTTP/1.1\r\nHost: two.example\r\n\r\n" BYE));

	CHECK(rig, strstr(a, "\r\n\r\none.example:80HTTP/1.1"));
	free(a);
	/* An unknown wish to upgrade is ignored, what follows is the next request (FAULTS 14). */
	a = ask(rig, RL_STR("GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, foo\r\n"
			    "HTTP2-Settings: AAMAAABk\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n"
			    "Connection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" BYE));
	CHECK(rig, count(a, "HTTP/1.1 200 OK") == 3 && strstr(a, "\r\n\r\nhiHTTP"));
	free(a);
	a = ask(rig,
		RL_STR("DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /x HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: 1\r\n\r\nzHEAD /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz" BYE));
	CHECK(rig, strstr(a, "\r\n\r\nabcHTTP") && strstr(a, "\r\n\r\nzHTTP") && count(a, "HTTP/1.1 200") == 4);
	free(a);
}

static void targets_and_upgrades(void **state)
{
	(void)state;
	assert_int_equal(run(client_targets).requests, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(targets_and_upgrades),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
