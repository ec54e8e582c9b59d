/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver against a name server of our own on loopback, which runs on the
 * same loop and counts what it is asked; and addresses as text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/dns_priv.h"

#define SERVFAIL 2u
#define NXDOMAIN 3u
#define TYPE_A 1u
#define TYPE_AAAA 28u

static struct {
	struct rl_loop *loop;
	struct rl_timer timer;
	struct rl_poll *poll;
	int fd;
	unsigned asked;   /* questions seen */
	unsigned failing; /* answer everything with this code */
	bool silent;
	unsigned mute; /* questions of this type get no answer */
	uint32_t ttl_s;
	unsigned done, expected;
	struct rl_dns_query query[40];
} d;

/* ---- the name server ---- */

/* The addresses of a host: letters of its first label say which. */
static unsigned addresses_of(const char *host, unsigned type, unsigned char out[4][16])
{
	unsigned count = 0;

	if (strncmp(host, "both", 4) == 0 || strncmp(host, "four", 4) == 0)
		count = type == TYPE_A ? 3 : 2;
	if (strncmp(host, "four", 4) == 0)
		count = type == TYPE_A ? 3 : 0;
	if (strncmp(host, "zero", 4) == 0)
		count = 1;
	for (unsigned i = 0; i < count; i++) {
		memset(out[i], 0, 16);
		if (host[0] == 'z')
			continue;
		memcpy(out[i], type == TYPE_A ? "\x7f\x00\x00" : "\xfd\x00\x00", 3);
		out[i][type == TYPE_A ? 3 : 15] = (unsigned char)(i + 1);
	}
	return count;
}

static size_t put(unsigned char *at, size_t n, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[n + i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
	return n + bytes;
}

static size_t reply(unsigned char packet[512], size_t got)
{
	unsigned char addrs[4][16];
	char host[256] = "";
	size_t at = 12, n = 0;

	while (at < got && packet[at]) {
		n += (size_t)snprintf(host + n, sizeof host - n, "%.*s.", packet[at], (char *)packet + at + 1);
		at += packet[at] + 1u;
	}
	unsigned type = (unsigned)packet[at + 1] << 8 | packet[at + 2];
	unsigned count = d.failing ? 0 : addresses_of(host, type, addrs);
	unsigned code = d.failing ? d.failing : strncmp(host, "none", 4) == 0 ? NXDOMAIN : 0;

	put(packet, 2, 0x8180u | code, 2);
	put(packet, 6, count, 2);
	put(packet, 8, 0, 4); /* no other records */
	n = at + 5;
	for (unsigned i = 0; i < count; i++) {
		unsigned size = type == TYPE_A ? 4 : 16;

		n = put(packet, n, 0xc00c, 2); /* the name of the question */
		n = put(packet, n, type, 2);
		n = put(packet, n, 1, 2);
		n = put(packet, n, d.ttl_s, 4);
		n = put(packet, n, size, 2);
		memcpy(packet + n, addrs[i], size);
		n += size;
	}
	return n;
}

static unsigned type_of(const unsigned char *packet, size_t got)
{
	size_t at = 12;

	while (at < got && packet[at])
		at += packet[at] + 1u;
	return at + 2 < got ? (unsigned)packet[at + 1] << 8 | packet[at + 2] : 0;
}

static void on_question(void *owner, unsigned events)
{
	unsigned char packet[512];
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	ssize_t got;

	(void)owner;
	(void)events;
	while ((got = recvfrom(d.fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &len)) > 12) {
		d.asked++;
		if (!d.silent && type_of(packet, (size_t)got) != d.mute)
			sendto(d.fd, packet, reply(packet, (size_t)got), 0, (struct sockaddr *)&from, len);
	}
}

/* ---- frame ---- */

static void stop(struct rl_timer *timer)
{
	(void)timer;
	rl_loop_stop(d.loop);
}

static int setup(void **state)
{
	struct rl_addr addr;
	char text[RL_ADDR_TEXT_MAX];

	(void)state;
	memset(&d, 0, sizeof d);
	d.ttl_s = 60;
	rl_timer_init(&d.timer, stop);
	assert_int_equal(rl_loop_new("dns", &d.loop), RL_OK);
	assert_int_equal(rl_addr_parse(RL_STR("127.0.0.1:0"), &addr), RL_OK);
	d.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(d.fd, (struct sockaddr *)&addr.sa, addr.len), 0);
	assert_int_equal(getsockname(d.fd, (struct sockaddr *)&addr.sa, &addr.len), 0);
	rl_addr_text(&addr, text);
	assert_int_equal(rl_dns_use_servers(d.loop, text, 200), RL_OK);
	assert_int_equal(rl_poll_new(d.loop, d.fd, on_question, NULL, &d.poll), RL_OK);
	rl_poll_want(d.poll, RL_POLL_READ);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rl_poll_free(d.poll);
	close(d.fd);
	rl_loop_free(d.loop);
	return 0;
}

static void on_done(struct rl_dns_query *query)
{
	(void)query;
	if (++d.done == d.expected)
		rl_loop_stop(d.loop);
}

static void run_ms(uint64_t ms)
{
	rl_timer_start(d.loop, &d.timer, ms);
	rl_loop_run(d.loop);
	rl_timer_stop(&d.timer);
}

/* Asks and waits; the texts of the addresses, separated by blanks, or the name of the error. */
static const char *resolve(const char *host)
{
	static char out[RL_DNS_ADDRS_MAX * RL_ADDR_TEXT_MAX];
	size_t n = 0;

	d.done = 0;
	d.expected = 1;
	rl_dns_start(d.loop, &d.query[0], rl_str_of(host), 443, on_done);
	assert_int_equal(d.done, 0); /* never inside the call */
	run_ms(15000);
	assert_int_equal(d.done, 1);
	if (d.query[0].result)
		return rl_err_name(d.query[0].result);
	for (unsigned i = 0; i < d.query[0].n_addrs; i++) {
		char text[RL_ADDR_TEXT_MAX];

		rl_addr_text(&d.query[0].addrs[i], text);
		n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", i ? " " : "", text);
	}
	return out;
}

/* ---- answers ---- */

static void test_literals(void **state)
{
	(void)state;
	assert_string_equal(resolve("127.0.0.9"), "127.0.0.9:443");
	assert_string_equal(resolve("::1"), "[::1]:443");
	assert_string_equal(resolve("[fd00::2]"), "[fd00::2]:443");
	assert_string_equal(resolve("unix:/run/x.sock"), "unix");
	struct sockaddr_un sa;

	memcpy(&sa, &d.query[0].addrs[0].sa, sizeof sa);
	assert_string_equal(sa.sun_path, "/run/x.sock"); /* the port has gone nowhere */
	assert_int_equal(d.asked, 0);
}

static void test_localhost(void **state)
{
	(void)state;
	d.failing = SERVFAIL;
	const char *text = resolve("localhost");

	assert_true(strstr(text, "127.0.0.1:443") || strstr(text, "[::1]:443"));
	assert_non_null(strstr(resolve("LocalHost"), ":443"));
	for (unsigned i = 0; i < d.query[0].n_addrs; i++)
		assert_true(rl_addr_is_loopback(&d.query[0].addrs[i]));
	assert_int_equal(d.asked, 0);
}

static void test_families_alternate(void **state)
{
	(void)state;
	resolve("both.test");
	assert_int_equal(d.query[0].result, RL_OK);
	assert_int_equal(d.query[0].n_addrs, 5);
	/* Three of one family and two of the other. */
	for (unsigned i = 0; i < 4; i++)
		assert_int_not_equal(d.query[0].addrs[i].sa.ss_family, d.query[0].addrs[i + 1].sa.ss_family);
	assert_string_equal(resolve("four.test"), "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443");
}

static void test_cached(void **state)
{
	(void)state;
	resolve("four.test");
	assert_int_equal(d.asked, 2); /* A and AAAA */
	assert_string_equal(resolve("FOUR.Test"), "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443");
	assert_int_equal(d.asked, 2);
	rl_dns_age(d.loop, 59000);
	resolve("four.test");
	assert_int_equal(d.asked, 2);
	rl_dns_age(d.loop, 2000);
	resolve("four.test");
	assert_int_equal(d.asked, 4);
}

static void test_ttl_is_capped(void **state)
{
	(void)state;
	d.ttl_s = 1000000;
	resolve("four.test");
	rl_dns_age(d.loop, 1000u * (RL_DNS_TTL_MAX_S - 1));
	resolve("four.test");
	assert_int_equal(d.asked, 2);
	rl_dns_age(d.loop, 1001);
	resolve("four.test");
	assert_int_equal(d.asked, 4);
}

static void test_ttl_zero_is_a_second(void **state)
{
	(void)state;
	d.ttl_s = 0;
	resolve("four.test");
	resolve("four.test");
	assert_int_equal(d.asked, 2);
	rl_dns_age(d.loop, 1001);
	resolve("four.test");
	assert_int_equal(d.asked, 4);
}

static void test_no_such_name(void **state)
{
	(void)state;
	assert_string_equal(resolve("none.test"), "dns");
	unsigned asked = d.asked;

	assert_true(asked > 0);
	assert_string_equal(resolve("none.test"), "dns"); /* kept for a second */
	assert_int_equal(d.asked, asked);
	rl_dns_age(d.loop, 1001);
	assert_string_equal(resolve("none.test"), "dns");
	assert_true(d.asked > asked);
}

static void test_this_host_is_refused(void **state)
{
	(void)state;
	assert_string_equal(resolve("zero.test"), "dns");
}

static void test_not_a_name(void **state)
{
	char huge[300];

	(void)state;
	memset(huge, 'a', sizeof huge - 1);
	huge[sizeof huge - 1] = 0;
	assert_string_equal(resolve(""), "dns");
	assert_string_equal(resolve("a b"), "dns");
	assert_string_equal(resolve("evil\r\n.test"), "dns");
	assert_string_equal(resolve(huge), "dns");
	assert_int_equal(d.asked, 0);
}

static void test_stale_on_error(void **state)
{
	(void)state;
	resolve("four.test");
	d.failing = SERVFAIL;
	rl_dns_age(d.loop, 61000);
	assert_string_equal(resolve("four.test"), "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443");
	assert_true(d.asked > 2);
	assert_string_equal(resolve("both.test"), "dns"); /* nothing old to fall back to */
	/* Known to be gone: the old addresses do not serve. */
	d.failing = NXDOMAIN;
	rl_dns_age(d.loop, 2000);
	assert_string_equal(resolve("four.test"), "dns");
	d.failing = 0;
	rl_dns_age(d.loop, 2000);
	assert_string_equal(resolve("four.test"), "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443");
}

static void test_too_stale(void **state)
{
	(void)state;
	resolve("four.test");
	d.failing = SERVFAIL;
	rl_dns_age(d.loop, (uint64_t)25 * 3600 * 1000);
	assert_string_equal(resolve("four.test"), "dns");
}

/* The resolver is silent: old addresses serve after a second; without them it is a time-out. */
static void test_silence(void **state)
{
	(void)state;
	resolve("four.test");
	d.silent = true;
	rl_dns_age(d.loop, 61000);
	assert_string_equal(resolve("four.test"), "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443");
	assert_string_equal(resolve("four.test"), "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443");
	assert_string_equal(resolve("both.test"), "timeout");
}

/* A name server that never answers for IPv6 (RFC 8305 §3): that question's end is not waited for. */
static void test_ipv6_is_not_answered(void **state)
{
	static const char wanted[] = "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443";
	uint64_t took_us = UINT64_MAX;

	(void)state;
	d.mute = TYPE_AAAA;
	/* Its lookup takes three seconds; this thread may be kept from running for as long, but not each time. */
	for (unsigned i = 0; i < 10 && took_us > 1500000; i++) {
		char host[40];
		uint64_t began_us = rl_clock_us();

		snprintf(host, sizeof host, "both%u.test", i);
		assert_string_equal(resolve(host), wanted);
		took_us = rl_clock_us() - began_us;
		assert_true(took_us >= 300000); /* both have had their chance */
	}
	assert_true(took_us <= 1500000);
	/* While the lookup goes on, and when it has ended without the other family. */
	assert_string_equal(resolve("both0.test"), wanted);
	for (unsigned i = 0; i < 100; i++)
		run_ms(50);
	assert_string_equal(resolve("both0.test"), wanted);
	rl_dns_age(d.loop, 61000);
	assert_string_equal(resolve("both0.test"), wanted);
}

/* It was only slow: who asks later gets both. */
static void test_ipv6_comes_late(void **state)
{
	(void)state;
	d.mute = TYPE_AAAA;
	assert_string_equal(resolve("both.test"), "127.0.0.1:443 127.0.0.2:443 127.0.0.3:443");
	d.mute = 0; /* it is asked for again */
	for (unsigned i = 0; i < 1000 && d.query[0].n_addrs == 3; i++) {
		run_ms(10);
		resolve("both.test");
	}
	assert_int_equal(d.query[0].n_addrs, 5);
}

/* Neither is: the question for IPv4 alone changes nothing. */
static void test_neither_is_answered(void **state)
{
	(void)state;
	d.silent = true;
	assert_string_equal(resolve("both.test"), "timeout");
	d.silent = false;
	rl_dns_age(d.loop, 2000);
	assert_true(strlen(resolve("both.test")) > 0);
	assert_int_equal(d.query[0].n_addrs, 5);
}

static void test_one_lookup_for_many(void **state)
{
	(void)state;
	d.expected = 40;
	for (unsigned i = 0; i < 40; i++)
		rl_dns_start(d.loop, &d.query[i], RL_STR("both.test"), (uint16_t)(1000 + i), on_done);
	run_ms(5000);
	assert_int_equal(d.done, 40);
	assert_int_equal(d.asked, 2);
	for (unsigned i = 0; i < 40; i++) {
		char text[RL_ADDR_TEXT_MAX], port[16];

		assert_int_equal(d.query[i].n_addrs, 5);
		rl_addr_text(&d.query[i].addrs[i % 5], text);
		snprintf(port, sizeof port, ":%u", 1000 + i);
		assert_true(rl_str_ends(rl_str_of(text), rl_str_of(port)));
	}
}

static void cancel_next(struct rl_dns_query *query)
{
	rl_dns_cancel(query + 1);
	on_done(query);
}

static void test_cancel(void **state)
{
	(void)state;
	/* One that waits, one whose answer is on its way, one twice. */
	for (unsigned i = 0; i < 5; i++)
		rl_dns_start(d.loop, &d.query[i], RL_STR("both.test"), 1, on_done);
	rl_dns_start(d.loop, &d.query[5], RL_STR("127.0.0.1"), 1, on_done);
	rl_dns_cancel(&d.query[0]);
	rl_dns_cancel(&d.query[4]);
	rl_dns_cancel(&d.query[4]);
	rl_dns_cancel(&d.query[5]);
	d.expected = 3;
	run_ms(5000);
	assert_int_equal(d.done, 3);
	rl_dns_cancel(&d.query[1]); /* done: harmless */
	/* From inside another's callback. */
	d.done = 0;
	d.expected = 1;
	rl_dns_start(d.loop, &d.query[0], RL_STR("127.0.0.1"), 1, cancel_next);
	rl_dns_start(d.loop, &d.query[1], RL_STR("127.0.0.1"), 1, on_done);
	run_ms(50);
	assert_int_equal(d.done, 1);
	/* All who asked have left, and the loop ends with the lookup still running. */
	d.silent = true;
	rl_dns_start(d.loop, &d.query[0], RL_STR("four.test"), 1, on_done);
	run_ms(20);
	rl_dns_cancel(&d.query[0]);
}

/* More hosts than the cache holds: the oldest go. */
static void test_bounded(void **state)
{
	char host[40];

	(void)state;
	for (unsigned i = 0; i < 1100; i++) {
		snprintf(host, sizeof host, "four%u.test", i);
		assert_non_null(strstr(resolve(host), "127.0.0.1:443"));
	}
	unsigned asked = d.asked;

	resolve("four1099.test");
	assert_int_equal(d.asked, asked);
	resolve("four0.test");
	assert_int_equal(d.asked, asked + 2);
}

/* ---- addresses as text ---- */

static void test_addr_parse(void **state)
{
	static const char *const good[] = {"127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0", "[fd00::1]:65535"};
	static const char *const bad[] = {
		"",        ":80",      "127.0.0.1",      "127.0.0.1:",       "127.0.0.1:65536",
		"::1:80",  "[::1]",    "[127.0.0.1]:80", "localhost:80",     "127.0.0.1:8a",
		"[::1:80", "1.2.3:80", "127.0.0.1:-1",   "127.0.0.1:000080", "0x7f.1:80",
		"[]:80",   "127.1:80", "2130706433:80"};
	struct rl_addr addr;
	char text[RL_ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(rl_addr_parse(rl_str_of(good[i]), &addr), RL_OK);
		rl_addr_text(&addr, text);
		assert_string_equal(text, good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(rl_addr_parse(rl_str_of(bad[i]), &addr), RL_ERR_SYNTAX);
}

static void test_loopback(void **state)
{
	static const char *const yes[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"};
	static const char *const no[] = {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fd00::1]:1", "[::ffff:10.0.0.1]:1"};
	struct rl_addr addr;
	char text[RL_ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		assert_int_equal(rl_addr_parse(rl_str_of(yes[i]), &addr), RL_OK);
		assert_true(rl_addr_is_loopback(&addr));
	}
	for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
		assert_int_equal(rl_addr_parse(rl_str_of(no[i]), &addr), RL_OK);
		assert_false(rl_addr_is_loopback(&addr));
	}
	addr = (struct rl_addr){.sa.ss_family = AF_UNIX, .len = sizeof(struct sockaddr_un)};
	assert_true(rl_addr_is_loopback(&addr));
	rl_addr_text(&addr, text);
	assert_string_equal(text, "unix");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_literals),
		T(test_localhost),
		T(test_families_alternate),
		T(test_cached),
		T(test_ttl_is_capped),
		T(test_ttl_zero_is_a_second),
		T(test_no_such_name),
		T(test_this_host_is_refused),
		T(test_not_a_name),
		T(test_stale_on_error),
		T(test_too_stale),
		T(test_silence),
		T(test_ipv6_is_not_answered),
		T(test_ipv6_comes_late),
		T(test_neither_is_answered),
		T(test_one_lookup_for_many),
		T(test_cancel),
		T(test_bounded),
		cmocka_unit_test(test_addr_parse),
		cmocka_unit_test(test_loopback),
	};

	/* Names are asked for as they stand, whatever this machine's resolv.conf says. */
	setenv("RES_OPTIONS", "ndots:1", 1);
	setenv("LOCALDOMAIN", "search.test", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
