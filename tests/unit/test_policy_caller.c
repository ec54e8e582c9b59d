/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call: client keys and their hashes, when no key is asked for, and what an open listener refuses. */
#include "policy_kit.h"

#include "policy/caller.h"
#include "policy/origin_rule.h"

static struct rl_callers callers_of(const struct rl_config *config)
{
	struct rl_callers callers;

	rl_callers_init(&callers, config);
	return callers;
}

static void test_find(void **state)
{
	char hash[2][RL_CLIENT_HASH_LEN + 1], text[1024];

	(void)state;
	rl_caller_hash(RL_STR("rl-alpha"), hash[0]);
	rl_caller_hash(RL_STR("rl-beta"), hash[1]);
	snprintf(text, sizeof text, "clients:\n  a: { key: '%s' }\n  b: { key: '%s', models: [echo, p/m] }\n", hash[0],
		 hash[1]);
	struct rl_config *config = kit_config(text);
	struct rl_callers callers = callers_of(config);

	assert_false(callers.open);
	assert_false(callers.host_bound);
	assert_str(rl_callers_find(&callers, RL_STR("rl-alpha"))->name, "a");
	assert_str(rl_callers_find(&callers, RL_STR("rl-beta"))->name, "b");
	assert_null(rl_callers_find(&callers, RL_STR("")));
	assert_null(rl_callers_find(&callers, RL_STR("rl-alph")));
	assert_null(rl_callers_find(&callers, RL_STR("rl-alpha ")));
	assert_null(rl_callers_find(&callers, RL_STR("RL-ALPHA")));
	assert_null(rl_callers_find(&callers, rl_str_of(hash[0]))); /* the hash is no key */

	const struct rl_cfg_client *a = rl_callers_find(&callers, RL_STR("rl-alpha"));
	const struct rl_cfg_client *b = rl_callers_find(&callers, RL_STR("rl-beta"));

	assert_true(rl_caller_may_use(a, RL_STR("anything")));
	assert_true(rl_caller_may_use(b, RL_STR("echo")));
	assert_true(rl_caller_may_use(b, RL_STR("p/m")));
	assert_false(rl_caller_may_use(b, RL_STR("p/other")));
	assert_false(rl_caller_may_use(b, RL_STR("")));
	assert_true(rl_caller_may_use(NULL, RL_STR("anything"))); /* an open listener */
	assert_true(rl_caller_may_pass(NULL) && rl_caller_may_pass(a));
	assert_false(rl_caller_may_pass(b)); /* where no model is named, none can be checked */
	rl_config_free(config);
}

static void test_open(void **state)
{
	char hash[RL_CLIENT_HASH_LEN + 1], client[160], text[512];
	static const struct {
		const char *server;
		bool client, open, host_bound;
	} table[] = {
		{"{}", false, true, true},
		{"{}", true, false, false},
		{"{ listen: '127.0.0.1:0' }", false, true, true},
		{"{ listen: 'localhost:0' }", false, true, true},
		{"{ listen: ['127.3.4.5:1', '[::1]:2'] }", false, true, true},
		{"{ auth: none }", true, true, true},
		{"{ auth: none, listen: '0.0.0.0:1' }", false, true, false},
		{"{ auth: none, listen: ['127.0.0.1:1', '[::]:2'] }", false, true, false},
		{"{ auth: keys }", true, false, false},
		{"{ listen: '192.0.2.1:1' }", true, false, false},
	};

	(void)state;
	rl_caller_hash(RL_STR("rl-alpha"), hash);
	snprintf(client, sizeof client, "clients: { a: { key: '%s' } }\n", hash);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		snprintf(text, sizeof text, "server: %s\n%s", table[i].server, table[i].client ? client : "");
		struct rl_config *config = kit_config(text);
		struct rl_callers callers = callers_of(config);

		if (callers.open != table[i].open || callers.host_bound != table[i].host_bound)
			fail_msg("%s: open %d, host_bound %d", table[i].server, callers.open, callers.host_bound);
		rl_config_free(config);
	}
}

static void test_keys_and_hashes(void **state)
{
	char key[RL_CLIENT_KEY_LEN + 1], other[RL_CLIENT_KEY_LEN + 1], hash[RL_CLIENT_HASH_LEN + 1];

	(void)state;
	/* FIPS 180-2, appendix B.1 */
	rl_caller_hash(RL_STR("abc"), hash);
	assert_string_equal(hash, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	rl_caller_hash(RL_STR(""), hash);
	assert_string_equal(hash, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (int i = 0; i < 100; i++) {
		rl_caller_new_key(key);
		rl_caller_new_key(other);
		assert_int_equal(strlen(key), RL_CLIENT_KEY_LEN);
		assert_memory_equal(key, "rl-", 3);
		assert_int_equal(strspn(key + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
				 43);
		assert_string_not_equal(key, other);
		/* 43 digits of 6 bits hold 258: the last two are zero. */
		assert_non_null(strchr("AEIMQUYcgkosw048", key[RL_CLIENT_KEY_LEN - 1]));
	}
}

static void test_secret_and_bearer(void **state)
{
	struct rl_secret right = rl_secret_make(RL_STR("token"));

	(void)state;
	assert_true(rl_caller_secret_is(right, RL_STR("token")));
	assert_false(rl_caller_secret_is(right, RL_STR("tokem")));
	assert_false(rl_caller_secret_is(right, RL_STR("toke")));
	assert_false(rl_caller_secret_is(right, RL_STR("token1")));
	assert_false(rl_caller_secret_is(right, (rl_str){NULL, 0}));
	/* An unset secret is nobody's, not everybody's. */
	assert_false(rl_caller_secret_is((struct rl_secret){{NULL, 0}}, (rl_str){NULL, 0}));
	assert_false(rl_caller_secret_is((struct rl_secret){{NULL, 0}}, RL_STR("x")));

	assert_str(rl_caller_bearer(RL_STR("Bearer abc")), "abc");
	assert_str(rl_caller_bearer(RL_STR("bearer   abc ")), "abc");
	assert_str(rl_caller_bearer(RL_STR("Bearer ")), "");
	assert_str(rl_caller_bearer(RL_STR("Bearer")), "");
	assert_str(rl_caller_bearer(RL_STR("Basic abc")), "");
	assert_str(rl_caller_bearer(RL_STR("abc")), "");
	assert_str(rl_caller_bearer((rl_str){NULL, 0}), "");
}

/* ---- open listeners ---- */

static void test_loopback_names(void **state)
{
	static const char *const yes[] = {"localhost",      "LocalHost:8080", "127.0.0.1",
					  "127.0.0.1:8080", "127.255.3.4",    "[::1]",
					  "[::1]:8080",     "app.localhost",  "a.b.LOCALHOST:1"};
	static const char *const no[] = {"",
					 "example.com",
					 "localhost.example.com",
					 "127.0.0.1.example.com",
					 "127.0.0.1x",
					 "128.0.0.1",
					 "1270.0.0.1",
					 "10.127.0.1",
					 "[::2]",
					 "[::1",
					 "::1",
					 ".localhost",
					 "notlocalhost",
					 "evil.com:127.0.0.1",
					 "localhost.",
					 "[::ffff:10.0.0.1]",
					 "127.1"};

	(void)state;
	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
		if (!rl_authority_is_loopback(rl_str_of(yes[i])))
			fail_msg("%s is loopback", yes[i]);
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
		if (rl_authority_is_loopback(rl_str_of(no[i])))
			fail_msg("%s is not loopback", no[i]);
}

static void test_origin_rule(void **state)
{
	static const struct {
		const char *host, *origin, *site;
		bool bound, refused;
	} table[] = {
		{"127.0.0.1:8080", NULL, NULL, true, false},      /* curl, an SDK */
		{"", NULL, NULL, true, false},                    /* HTTP/1.0 */
		{"rebound.example:8080", NULL, NULL, true, true}, /* DNS rebinding */
		{"rebound.example:8080", NULL, NULL, false, false},
		{"localhost:8080", "http://localhost:3000", NULL, true, false},
		{"localhost:8080", "http://127.0.0.1", NULL, true, false},
		{"localhost:8080", "http://[::1]:9", NULL, true, false},
		{"localhost:8080", "https://evil.example", NULL, true, true},
		{"localhost:8080", "http://localhost.evil.example", NULL, true, true},
		{"localhost:8080", "null", NULL, true, true}, /* a sandboxed frame, a file */
		{"localhost:8080", "", NULL, true, true},
		{"localhost:8080", "garbage", NULL, true, true},
		{"localhost:8080", "file://", NULL, true, true},
		{"localhost:8080", "http://localhost:3000", "same-site", true, false},
		{"localhost:8080", NULL, "cross-site", true, true},
		{"localhost:8080", "http://localhost:3000", "cross-site", true, true},
		{"localhost:8080", NULL, "none", true, false}, /* typed into the address bar */
		{"gateway.example", "https://gateway.example", NULL, false, false},
		{"gateway.example:80", "http://GATEWAY.example:80", "same-origin", false, false},
		{"gateway.example", "https://other.example", NULL, false, true},
		{"gateway.example:1", "https://gateway.example:2", NULL, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct rl_header v[2];
		struct rl_request_head head = {.authority = rl_str_of(table[i].host), .headers = {.v = v}};

		if (table[i].origin)
			v[head.headers.n++] =
				(struct rl_header){RL_H_ORIGIN, RL_STR("origin"), rl_str_of(table[i].origin)};
		if (table[i].site)
			v[head.headers.n++] = (struct rl_header){RL_H_SEC_FETCH_SITE, RL_STR("sec-fetch-site"),
								 rl_str_of(table[i].site)};
		if ((rl_open_listener_refuses(&head, table[i].bound, false) != NULL) != table[i].refused)
			fail_msg("row %zu: host '%s', origin '%s'", i, table[i].host,
				 table[i].origin ? table[i].origin : "-");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_keys_and_hashes),
		cmocka_unit_test(test_secret_and_bearer),
		cmocka_unit_test(test_loopback_names),
		cmocka_unit_test(test_origin_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
