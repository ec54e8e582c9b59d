/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY heads, good and bad, whole and cut at every byte; what follows a head is never taken for a part of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/proxy_protocol.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define IPV4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb"
#define IPV6                                                                                   \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x08" \
	"\xff\xff\0\x50"
#define HEAD(text) RL_STR_INIT(text)

static const struct {
	rl_str bytes;
	const char *peer; /* NULL: nobody named */
} good[] = {
	{HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"), "192.0.2.1:12345"},
	{HEAD("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535"},
	{HEAD("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0:0"},
	{HEAD("PROXY TCP6 2001:db8::7 2001:db8::8 1 2\r\n"), "[2001:db8::7]:1"},
	{HEAD("PROXY UNKNOWN\r\n"), NULL},
	{HEAD("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
	      "65535\r\n"),
	 NULL}, /* the longest line of §2.1 */
	{HEAD(SIG "\x21\x11\0\x0c" IPV4), "192.0.2.1:12345"},
	{HEAD(SIG "\x21\x21\0\x24" IPV6), "[2001:db8::7]:65535"},
	{HEAD(SIG "\x21\x11\0\x10" IPV4 "\x04\0\x01x"), "192.0.2.1:12345"}, /* with a TLV */
	{HEAD(SIG "\x20\0\0\0"), NULL},                                     /* LOCAL */
	{HEAD(SIG "\x20\x11\0\x0c" IPV4), NULL},                            /* whatever it says */
	{HEAD(SIG "\x20\xff\0\x01x"), NULL},
	{HEAD(SIG "\x21\0\0\0"), NULL},
	{HEAD(SIG "\x21\0\0\x03xyz"), NULL},
};

static const rl_str bad[] = {
	HEAD("G"),
	HEAD("\x16\x03\x01"),
	HEAD("PRI * HTTP/2.0\r\n"),
	HEAD("POST / HTTP/1.1\r\n"),
	HEAD("proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n"),
	HEAD("PROXY\r\n"),
	HEAD("PROXY \r\n"),
	HEAD("PROXY \n"),
	HEAD("PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n"),
	HEAD("PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2\r\n"),
	HEAD("PROXY TCP4 192.0.2.1\r\n"),
	HEAD("PROXY TCP4\r\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n"),
	HEAD("PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n"),
	HEAD("PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n"),
	HEAD("PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n"),
	HEAD("PROXY TCP4 ::1 ::1 1 2\r\n"),
	HEAD("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n"),
	HEAD("PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n"),
	HEAD("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n"),
	HEAD("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n"),
	HEAD("PROXY UNKNOWNX\r\n"),
	HEAD("\r\n\r\n\0\r\nQUIX"),
	HEAD(SIG "\x11\x11\0\x0c" IPV4),
	HEAD(SIG "\x31\x11\0\x0c" IPV4),
	HEAD(SIG "\x22\x11\0\x0c" IPV4),
	HEAD(SIG "\x21\x12\0\x0c" IPV4),
	HEAD(SIG "\x21\x41\0\x0c" IPV4),
	HEAD(SIG "\x21\x13\0\x0c" IPV4),
	HEAD(SIG "\x21\x11\0\x0b" IPV4),
	HEAD(SIG "\x21\x21\0\x0c" IPV4),
	HEAD(SIG "\x21\x31\0\x0c" IPV4),
	HEAD(SIG "\x21\x11\x02\x09"),
	HEAD(SIG "\x20\0\xff\xff"),
};

/* In a block of exactly its size, so that a sanitizer sees every step beyond it. */
static enum rl_err parse(rl_str bytes, struct rl_proxy_head *out)
{
	char *copy = malloc(bytes.n ? bytes.n : 1);

	assert_non_null(copy);
	if (bytes.n)
		memcpy(copy, bytes.p, bytes.n);
	enum rl_err err = rl_proxy_parse(rl_str_make(copy, bytes.n), out);

	free(copy);
	return err;
}

static void test_good(void **state)
{
	struct rl_proxy_head head;
	char text[RL_ADDR_TEXT_MAX], longer[2048];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		rl_str bytes = good[i].bytes;

		for (size_t n = 0; n < bytes.n; n++)
			assert_int_equal(parse(rl_str_sub(bytes, 0, n), &head), RL_ERR_AGAIN);
		memset(longer, '\n', sizeof longer);
		memcpy(longer, bytes.p, bytes.n);
		for (size_t n = bytes.n; n < sizeof longer; n += 97) {
			assert_int_equal(parse(rl_str_make(longer, n), &head), RL_OK);
			assert_int_equal(head.n, bytes.n);
			assert_int_equal(head.named, good[i].peer != NULL);
			if (!good[i].peer)
				continue;
			rl_addr_text(&head.peer, text);
			assert_string_equal(text, good[i].peer);
		}
	}
}

static void test_bad(void **state)
{
	struct rl_proxy_head head;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		for (size_t n = 0; n < bad[i].n; n++)
			assert_int_not_equal(parse(rl_str_sub(bad[i], 0, n), &head), RL_OK);
		if (parse(bad[i], &head) != RL_ERR_SYNTAX)
			fail_msg("bad[%zu] is taken", i);
	}
}

static void test_bounds(void **state)
{
	struct rl_proxy_head head;
	char bytes[RL_PROXY_BYTES_MAX] = SIG "\x21\x11\x02\x08" IPV4;
	char line[RL_PROXY_V1_BYTES_MAX + 1] = "PROXY UNKNOWN ";

	(void)state;
	/* The largest head there may be: 520 bytes after the first 16. */
	for (size_t n = 0; n < sizeof bytes; n++)
		assert_int_equal(parse(rl_str_make(bytes, n), &head), RL_ERR_AGAIN);
	assert_int_equal(parse(rl_str_make(bytes, sizeof bytes), &head), RL_OK);
	assert_int_equal(head.n, sizeof bytes);
	/* A line of 107 bytes, and one of 108. */
	memset(line + 14, 'x', sizeof line - 14);
	assert_int_equal(parse(rl_str_make(line, RL_PROXY_V1_BYTES_MAX - 1), &head), RL_ERR_AGAIN);
	assert_int_equal(parse(rl_str_make(line, RL_PROXY_V1_BYTES_MAX), &head), RL_ERR_SYNTAX);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	assert_int_equal(parse(rl_str_make(line, sizeof line), &head), RL_ERR_SYNTAX);
	memcpy(line + sizeof line - 3, "\r\n", 2);
	assert_int_equal(parse(rl_str_make(line, sizeof line - 1), &head), RL_OK);
	assert_int_equal(head.n, RL_PROXY_V1_BYTES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
