/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a proxy is used, and which; and what is asked of it. */
#include "policy_kit.h"

#include "net/tunnel.h"
#include "provider/proxy.h"

static void test_no_proxy(void **state)
{
	static const struct {
		const char *list, *host;
		uint16_t port;
		bool bypassed;
	} cases[] = {
		{"", "api.test", 443, false},
		{"*", "api.test", 443, true},
		{"*", "10.1.2.3", 443, true},
		{"other.test, *", "api.test", 443, true},
		{"api.test", "api.test", 443, true},
		{"API.Test", "api.tesT", 443, true},
		{"api.test.", "api.test", 443, true},
		{"api.test", "api.test.", 443, true},
		{"api.test", "v1.api.test", 443, true},
		{".api.test", "v1.api.test", 443, true},
		{".api.test", "api.test", 443, true},
		{"*.api.test", "v1.api.test", 443, true},
		{"api.test", "myapi.test", 443, false},
		{"api.test", "api.test.evil", 443, false},
		{"api.test", "test", 443, false},
		{"test", "api.test", 443, true},
		{".", "api.test", 443, false},
		{"*.", "api.test", 443, false},
		{",, ,", "api.test", 443, false},
		{"a.test b.test\tapi.test", "api.test", 443, true},
		{"api.test:443", "api.test", 443, true},
		{"api.test:8443", "api.test", 443, false},
		{"*:443", "api.test", 443, true},
		{"*:80", "api.test", 443, false},
		{"api.test:", "api.test", 443, false},
		{"api.test:x", "api.test", 443, false},
		{":443", "api.test", 443, false},
		{"10.1.2.3", "10.1.2.3", 443, true},
		{"10.1.2.3", "10.1.2.30", 443, false},
		{"10.1.2.3:443", "10.1.2.3", 443, true},
		{"10.1.2.3:80", "10.1.2.3", 443, false},
		{"10.0.0.0/8", "10.1.2.3", 443, true},
		{"10.0.0.0/8", "11.1.2.3", 443, false},
		{"10.128.0.0/9", "10.127.2.3", 443, false},
		{"10.128.0.0/9", "10.200.2.3", 443, true},
		{"10.1.2.3/32", "10.1.2.3", 443, true},
		{"10.1.2.3/33", "10.1.2.3", 443, false},
		{"0.0.0.0/0", "10.1.2.3", 443, true},
		{"0.0.0.0/0", "fd00::1", 443, false},
		{"10.0.0.0/8", "api.test", 443, false},
		{"10.0.0.0/x", "10.1.2.3", 443, false},
		{"2.3", "10.1.2.3", 443, false}, /* an address has no names below it */
		{"fd00::1", "fd00::1", 443, true},
		{"fd00::1", "fd00:0::0001", 443, true},
		{"[fd00::1]", "fd00::1", 443, true},
		{"[fd00::1]:443", "fd00::1", 443, true},
		{"[fd00::1]:80", "fd00::1", 443, false},
		{"fd00::/8", "fd12::1", 443, true},
		{"fd00::/8", "fe80::1", 443, false},
		{"::/0", "fe80::1", 443, true},
		{"::1", "api.test", 443, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (rl_proxy_is_bypassed(rl_str_of(cases[i].list), rl_str_of(cases[i].host), cases[i].port) !=
		    cases[i].bypassed)
			fail_msg("NO_PROXY=%s for %s:%u", cases[i].list, cases[i].host, cases[i].port);
}

/* "host:port user:password", "" for straight, or "!" and the beginning of what is wrong. */
static void test_choice(void **state)
{
	static const struct {
		const char *url, *setting, *https, *http, *none;
		bool local;
		const char *proxy;
	} cases[] = {
		{"https://api.test/v1", "", "", "", "", false, ""},
		{"https://api.test/v1", "", "http://p:3128", "http://q:1", "", false, "p:3128"},
		{"http://api.test/v1", "", "http://p:3128", "http://q:1", "", false, "q:1"},
		{"http://api.test/v1", "", "http://p:3128", "", "", false, ""},
		{"https://api.test/v1", "", "p:3128", "", "", false, "p:3128"},
		{"https://api.test/v1", "", "http://p/", "", "", false, "p:80"},
		{"https://api.test/v1", "", "http://[fd00::1]:3128", "", "", false, "fd00::1:3128"},
		{"https://api.test/v1", "", "http://u:p%40ss@p:3128", "", "", false, "p:3128 u:p@ss"},
		{"https://api.test/v1", "", "http://u@p:3128", "", "", false, "p:3128 u"},
		{"https://api.test/v1", "", "http://a@b:c@p:3128", "", "", false, "p:3128 a@b:c"},
		{"https://api.test/v1", "", "http://p:3128", "", "api.test", false, ""},
		{"https://api.test/v1", "none", "http://p:3128", "", "", false, ""},
		{"https://api.test/v1", "http://own:1", "http://p:3128", "", "*", false, "own:1"},
		{"https://api.test/v1", "", "http://p:3128", "", "", true, ""},
		{"https://api.test/v1", "http://own:1", "", "", "", true, "own:1"},
		{"https://localhost/v1", "", "http://p:3128", "", "", false, ""},
		{"https://LOCALHOST./v1", "", "http://p:3128", "", "", false, ""},
		{"https://a.localhost/v1", "", "http://p:3128", "", "", false, ""},
		{"https://127.1.2.3/v1", "", "http://p:3128", "", "", false, ""},
		{"https://[::1]/v1", "", "http://p:3128", "", "", false, ""},
		{"https://128.0.0.1/v1", "", "http://p:3128", "", "", false, "p:3128"},
		{"http://localhost/v1", "http://own:1", "", "", "", false, "own:1"},
		{"unix:/run/x.sock", "", "", "http://p:3128", "", false, ""},
		{"unix:/run/x.sock", "none", "", "", "", false, ""},
		{"unix:/run/x.sock", "http://own:1", "", "", "", false, "!no proxy leads"},
		{"https://api.test/v1", "", "socks5://p:1", "", "", false, "!its proxy must be reached"},
		{"https://api.test/v1", "https://p:1", "", "", "", false, "!its proxy must be reached"},
		{"https://api.test/v1", "http://p:0", "", "", "", false, "!its proxy must be an"},
		{"https://api.test/v1", "http://p:1/x", "", "", "", false, "!its proxy must be an"},
		{"https://api.test/v1", "http://", "", "", "", false, "!its proxy must be an"},
		{"https://api.test/v1", "http://u:%zz@p:1", "", "", "", false, "!its proxy must be an"},
		{"https://api.test/v1", "http://u:%4@p:1", "", "", "", false, "!its proxy must be an"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rl_proxy_env env = {.https = rl_secret_make(rl_str_of(cases[i].https)),
					   .http = rl_secret_make(rl_str_of(cases[i].http)),
					   .none = rl_str_of(cases[i].none)};
		struct rl_arena arena;
		struct rl_proxy proxy;
		struct rl_url url;
		const char *why = "";
		char got[200] = "";

		rl_arena_init(&arena, 65536);
		assert_int_equal(rl_url_parse(rl_str_of(cases[i].url), &url, &why), RL_OK);
		enum rl_err err = rl_proxy_choose(rl_secret_make(rl_str_of(cases[i].setting)), &env, &url,
						  cases[i].local, &arena, &proxy, &why);
		rl_str secret = rl_secret_reveal(proxy.credentials);

		if (err)
			snprintf(got, sizeof got, "!%.*s", (int)strlen(cases[i].proxy) - 1, why);
		else if (proxy.host.n)
			snprintf(got, sizeof got, "%.*s:%u%s%.*s", RL_STR_ARG(proxy.host), proxy.port,
				 secret.n ? " " : "", RL_STR_ARG(secret));
		if (strcmp(got, cases[i].proxy) != 0)
			fail_msg("row %zu: %s, not %s", i, got, cases[i].proxy);
		rl_arena_fini(&arena);
	}
}

static void test_environment(void **state)
{
	(void)state;
	setenv("HTTPS_PROXY", "http://upper:1", 1);
	setenv("https_proxy", "", 1);
	setenv("HTTP_PROXY", "http://upper:2", 1);
	setenv("http_proxy", "http://lower:2", 1);
	setenv("NO_PROXY", "a", 1);
	struct rl_proxy_env env = rl_proxy_env_read();

	assert_str(rl_secret_reveal(env.https), "http://upper:1");
	assert_str(rl_secret_reveal(env.http), "http://lower:2");
	assert_str(env.none, "a");
	unsetenv("HTTPS_PROXY");
	env = rl_proxy_env_read();
	assert_false(rl_secret_is_set(env.https));
}

static void expect_request(const char *host, uint16_t port, const char *credentials, const char *wanted)
{
	struct rl_buf out;

	rl_buf_init(&out, 4096);
	assert_int_equal(rl_tunnel_request(rl_str_of(host), port, rl_secret_make(rl_str_of(credentials)), &out), RL_OK);
	assert_str(rl_buf_str(&out), wanted);
	rl_buf_fini(&out);
}

static void test_request(void **state)
{
	char secret[1026];
	struct rl_buf out;

	(void)state;
	expect_request("api.test", 443, "", "CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\r\n");
	expect_request("fd00::1", 80, "", "CONNECT [fd00::1]:80 HTTP/1.1\r\nhost: [fd00::1]:80\r\n\r\n");
	/* RFC 7617 §2 has this example; the two behind it end in one and in no sign of filling up (RFC 4648 §4). */
	expect_request("h", 1, "Aladdin:open sesame",
		       "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n"
		       "proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n");
	expect_request("h", 1, "ab:\xff?",
		       "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\nproxy-authorization: Basic YWI6/z8=\r\n\r\n");
	expect_request("h", 1, "ab:c\xfb>",
		       "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\nproxy-authorization: Basic YWI6Y/s+\r\n\r\n");
	memset(secret, 'x', 1025);
	secret[1025] = 0;
	rl_buf_init(&out, 4096);
	assert_int_equal(rl_tunnel_request(RL_STR("h"), 1, rl_secret_make(rl_str_of(secret)), &out), RL_ERR_LIMIT);
	rl_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_proxy),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
