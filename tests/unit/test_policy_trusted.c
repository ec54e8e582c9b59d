/* SPDX-License-Identifier: Apache-2.0 */
/* Whose word about a client's address is taken: chains of proxies in both headers, networks, and rubbish. */
#include "policy_kit.h"

#include "policy/trusted.h"

static const char *const proxies[] = {"10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "2001:db8:1::/47", "127.0.0.0/9"};

struct fixture {
	struct rl_arena arena;
	struct rl_trusted trusted;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	rl_str list[sizeof proxies / sizeof proxies[0]];

	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
		list[i] = rl_str_of(proxies[i]);
	rl_arena_init(&f->arena, 65536);
	assert_int_equal(rl_trusted_init(&f->trusted, list, sizeof list / sizeof list[0], &f->arena), RL_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rl_arena_fini(&f->arena);
	free(f);
	return 0;
}

/* Up to four headers: "xff: ..." or "fwd: ...". */
static void client_is(const struct rl_trusted *trusted, const char *peer, const char *const *lines, const char *want)
{
	struct rl_header v[4];
	struct rl_headers headers = {.v = v};
	struct rl_addr addr;
	char got[RL_ADDR_TEXT_MAX];

	for (; *lines; lines++) {
		bool xff = strncmp(*lines, "xff:", 4) == 0;

		v[headers.n++] = (struct rl_header){xff ? RL_H_X_FORWARDED_FOR : RL_H_FORWARDED, RL_STR("h"),
						    rl_str_trim(rl_str_of(*lines + 4))};
	}
	assert_int_equal(rl_addr_parse(rl_str_of(peer), &addr), RL_OK);
	addr = rl_trusted_client(trusted, &addr, &headers);
	rl_addr_text(&addr, got);
	if (strcmp(got, want) != 0)
		fail_msg("%s, %s...: client is %s, not %s", peer, headers.n ? v[0].value.p : "-", got, want);
}
#define CLIENT(peer, want, ...) client_is(&f->trusted, peer, (const char *const[]){__VA_ARGS__ NULL}, want)

static void test_chains(void **state)
{
	struct fixture *f = *state;

	CLIENT("10.1.1.1:5", "10.1.1.1:5", );
	/* Who is not a trusted proxy is the client, whatever it says. */
	CLIENT("203.0.113.9:5", "203.0.113.9:5", "xff: 1.2.3.4", );
	CLIENT("[2001:db8:9::1]:5", "[2001:db8:9::1]:5", "xff: 1.2.3.4", );
	CLIENT("10.1.1.1:5", "1.2.3.4:0", "xff: 1.2.3.4", );
	/* The rightmost that is not trusted: what stands before it may be forged. */
	CLIENT("10.1.1.1:5", "1.2.3.4:0", "xff: 6.6.6.6, 1.2.3.4, 10.9.9.9", );
	CLIENT("10.1.1.1:5", "1.2.3.4:0", "xff: 127.0.0.1,1.2.3.4 ,\t192.0.2.7", );
	CLIENT("10.1.1.1:5", "192.0.2.8:0", "xff: 192.0.2.8, 192.0.2.7", );
	/* All trusted: the farthest. */
	CLIENT("10.1.1.1:5", "10.3.3.3:0", "xff: 10.3.3.3, 10.2.2.2", );
	/* Several headers are one list, the last header's end is nearest. */
	CLIENT("10.1.1.1:5", "5.5.5.5:0", "xff: 1.1.1.1", "xff: 5.5.5.5, 10.2.2.2", );
	CLIENT("10.1.1.1:5", "1.1.1.1:0", "xff: 7.7.7.7, 1.1.1.1", "xff: 10.3.3.3", "xff: 10.2.2.2", );
	/* Ports, brackets, IPv6. */
	CLIENT("10.1.1.1:5", "1.2.3.4:99", "xff: 1.2.3.4:99", );
	CLIENT("10.1.1.1:5", "[2001:db8:9::1]:0", "xff: 2001:db8:9::1", );
	CLIENT("10.1.1.1:5", "[2001:db8:9::1]:0", "xff: [2001:db8:9::1]", );
	CLIENT("10.1.1.1:5", "[2001:db8:9::1]:47011", "xff: [2001:db8:9::1]:47011", );
	CLIENT("[fd12::1]:5", "1.2.3.4:0", "xff: 1.2.3.4", );
	CLIENT("[2001:db8:1:ffff::1]:5", "1.2.3.4:0", "xff: 1.2.3.4", ); /* a /47 covers :0: and :1: */
	CLIENT("[2001:db8:0:1::1]:5", "1.2.3.4:0", "xff: 1.2.3.4", );
	CLIENT("[2001:db8:2::1]:5", "[2001:db8:2::1]:5", "xff: 1.2.3.4", );
	CLIENT("127.127.0.1:5", "1.2.3.4:0", "xff: 1.2.3.4", ); /* a /9 ends in the middle of a byte */
	CLIENT("127.128.0.1:5", "127.128.0.1:5", "xff: 1.2.3.4", );
	/* IPv4 in IPv6 is IPv4. */
	CLIENT("[::ffff:10.1.1.1]:5", "1.2.3.4:0", "xff: 1.2.3.4", );
	CLIENT("[::ffff:11.1.1.1]:5", "[::ffff:11.1.1.1]:5", "xff: 1.2.3.4", );
}

static void test_forwarded(void **state)
{
	struct fixture *f = *state;

	CLIENT("10.1.1.1:5", "1.2.3.4:0", "fwd: for=1.2.3.4", );
	CLIENT("10.1.1.1:5", "1.2.3.4:0", "fwd: For=1.2.3.4;proto=https;by=10.0.0.1", );
	CLIENT("10.1.1.1:5", "1.2.3.4:77", "fwd: proto=https; for=\"1.2.3.4:77\"", );
	CLIENT("10.1.1.1:5", "[2001:db8:cafe::17]:4711", "fwd: for=\"[2001:db8:cafe::17]:4711\"", );
	CLIENT("10.1.1.1:5", "1.2.3.4:0", "fwd: for=6.6.6.6, for=1.2.3.4, for=10.2.2.2;proto=http", );
	CLIENT("10.1.1.1:5", "1.2.3.4:0", "fwd: for=1.2.3.4", "fwd: for=10.2.2.2", );
	/* X-Forwarded-For wins where both stand. */
	CLIENT("10.1.1.1:5", "4.4.4.4:0", "fwd: for=1.2.3.4", "xff: 4.4.4.4", );
	/* Hidden or unknown: the last that is known. */
	CLIENT("10.1.1.1:5", "10.1.1.1:5", "fwd: for=unknown", );
	CLIENT("10.1.1.1:5", "10.2.2.2:0", "fwd: for=_hidden, for=10.2.2.2", );
	CLIENT("10.1.1.1:5", "10.1.1.1:5", "fwd: proto=https", );
}

static void test_rubbish(void **state)
{
	struct fixture *f = *state;
	static const char *const hops[] = {"",
					   ",",
					   " , ",
					   "unknown",
					   "-",
					   "1.2.3",
					   "1.2.3.4.5",
					   "1.2.3.4:",
					   "1.2.3.4:99999",
					   "1.2.3.4:x",
					   ":80",
					   "[",
					   "[]",
					   "[]:1",
					   "[::1",
					   "::1]",
					   "[1.2.3.4",
					   "1.2.3.4 5",
					   "<script>",
					   "%31.2.3.4",
					   "a.b.c.d",
					   "2001:db8:::1",
					   "\"1.2.3.4",
					   "1111111111111111111111111111111111111111111111111111111111111111111111111"};

	for (size_t i = 0; i < sizeof hops / sizeof hops[0]; i++) {
		char line[200];

		snprintf(line, sizeof line, "xff:1.2.3.4, %s", hops[i]);
		CLIENT("10.1.1.1:5", "10.1.1.1:5", line, );
		snprintf(line, sizeof line, "xff:1.2.3.4, %s, 10.2.2.2", hops[i]);
		CLIENT("10.1.1.1:5", "10.2.2.2:0", line, );
		snprintf(line, sizeof line, "fwd:for=1.2.3.4, for=%s", hops[i]);
		CLIENT("10.1.1.1:5", "10.1.1.1:5", line, );
	}
}

static void test_networks(void **state)
{
	static const char *const wrong[] = {"",
					    "/",
					    "10.0.0.0/33",
					    "10.0.0.0/",
					    "10.0.0.0/x",
					    "10.0.0.0/-1",
					    "10.0.0.0/8x",
					    "fd00::/129",
					    "example.com/8",
					    "10.0.0/8",
					    "10.0.0.0/99999999999999999999"};
	struct rl_arena arena;
	struct rl_trusted trusted;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		rl_str one = rl_str_of(wrong[i]);

		rl_arena_init(&arena, 4096);
		if (rl_trusted_init(&trusted, &one, 1, &arena) != RL_ERR_SYNTAX)
			fail_msg("accepted: '%s'", wrong[i]);
		rl_arena_fini(&arena);
	}
	rl_arena_init(&arena, 4096);
	assert_int_equal(rl_trusted_init(&trusted, NULL, 0, &arena), RL_OK);
	client_is(&trusted, "10.1.1.1:5", (const char *const[]){"xff: 1.2.3.4", NULL}, "10.1.1.1:5");
	rl_str all = RL_STR("0.0.0.0/0"), one = RL_STR("10.1.1.1");
	assert_int_equal(rl_trusted_init(&trusted, &all, 1, &arena), RL_OK);
	client_is(&trusted, "9.9.9.9:5", (const char *const[]){"xff: 1.2.3.4", NULL}, "1.2.3.4:0");
	client_is(&trusted, "[fd00::1]:5", (const char *const[]){"xff: 1.2.3.4", NULL}, "[fd00::1]:5");
	assert_int_equal(rl_trusted_init(&trusted, &one, 1, &arena), RL_OK);
	client_is(&trusted, "10.1.1.1:5", (const char *const[]){"xff: 1.2.3.4", NULL}, "1.2.3.4:0");
	client_is(&trusted, "10.1.1.2:5", (const char *const[]){"xff: 1.2.3.4", NULL}, "10.1.1.2:5");
	rl_arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_chains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forwarded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rubbish, setup, teardown),
		cmocka_unit_test(test_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
