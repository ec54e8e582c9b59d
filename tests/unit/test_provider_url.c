/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of providers taken apart, and the table of those that are known. */
#include "policy_kit.h"

#include "provider/preset.h"
#include "provider/provider.h"

static void good(const char *text, bool https, const char *host, unsigned port, const char *path)
{
	const char *why = NULL;
	struct rl_url url;

	if (rl_url_parse(rl_str_of(text), &url, &why))
		fail_msg("%s: %s", text, why);
	assert_int_equal(url.https, https);
	assert_str(url.host, host);
	assert_int_equal(url.port, port);
	assert_str(url.path, path);
}

static void test_good(void **state)
{
	(void)state;
	good("https://api.openai.com/v1", true, "api.openai.com", 443, "/v1");
	good("http://127.0.0.1:11434/v1", false, "127.0.0.1", 11434, "/v1");
	good("http://localhost", false, "localhost", 80, "");
	good("http://localhost/", false, "localhost", 80, "");
	good("https://h:1///", true, "h", 1, "");
	good("https://gateway.example/a/b/v1beta/openai/", true, "gateway.example", 443, "/a/b/v1beta/openai");
	good("http://[::1]:8000/v1", false, "::1", 8000, "/v1");
	good("http://[2001:db8::1]", false, "2001:db8::1", 80, "");
	good("http://[::ffff:127.0.0.1]:65535", false, "::ffff:127.0.0.1", 65535, "");
	good("unix:/run/llama.sock:/v1/", false, "localhost", 80, "/v1");
	good("unix:/run/llama.sock:", false, "localhost", 80, "");
	good("unix:/run/llama.sock", false, "localhost", 80, "");
	good("http://under_score-and-dash.local:8080/%7Euser", false, "under_score-and-dash.local", 8080, "/%7Euser");
}

/* 107 bytes with the slash in front are all that a Unix socket takes. */
#define LONG_PATH                                  \
	"0123456789012345678901234567890123456789" \
	"0123456789012345678901234567890123456789012345678901234567890123456"

static void test_unix(void **state)
{
	const char *why;
	struct rl_url url;

	(void)state;
	assert_int_equal(rl_url_parse(RL_STR("unix:/run/llama.sock:/v1"), &url, &why), RL_OK);
	assert_str(url.unix_path, "/run/llama.sock");
	assert_int_equal(rl_url_parse(RL_STR("http://localhost/"), &url, &why), RL_OK);
	assert_int_equal(url.unix_path.n, 0);
}

static void test_bad(void **state)
{
	static const char *const texts[] = {
		"",
		"unix:",
		"unix:/",
		"unix:run/llama.sock:/v1",
		"unix:/run/llama.sock:v1",
		"unix:/run/llama sock:/v1",
		"unix:/run/llama.sock:/v 1",
		"unix:/" LONG_PATH,
		"api.openai.com",
		"ftp://host/",
		"HTTP://host",
		"https:/host",
		"http://",
		"https://",
		"http:///v1",
		"http://:80",
		"http://host:",
		"http://host:0",
		"http://host:65536",
		"http://host:99999999999999999999",
		"http://host:8o",
		"http://host:-1",
		"http://user@host",
		"http://user:key@host",
		"http://[::1",
		"http://[]",
		"http://[::1]8000",
		"http://[::1]:",
		"http://[fe80::1%eth0]",
		"http://[host]",
		"http://::1/",
		"http://ho st/",
		"http://host/a b",
		"http://host/a\r\nx: y",
		"http://ho\nst",
		"http://host/?q=1",
		"http://host/v1#top",
		"http://host/\x7f",
		"http://h\xc3\xb6st/",
		"http://host\\x",
		"http://a,b",
	};
	char longest[400] = "http://";
	const char *why;
	struct rl_url url;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		why = NULL;
		if (!rl_url_parse(rl_str_of(texts[i]), &url, &why))
			fail_msg("accepted: %s", texts[i]);
		assert_non_null(why);
	}
	memset(longest + 7, 'a', 253);
	good(longest, false, longest + 7, 80, "");
	longest[7 + 253] = 'a';
	assert_int_equal(rl_url_parse(rl_str_of(longest), &url, &why), RL_ERR_SYNTAX);
}

static void test_presets(void **state)
{
	struct rl_url url;
	const char *why;
	size_t n = 0;

	(void)state;
	for (const struct rl_preset *p = rl_presets; p->name.n; p++, n++) {
		assert_ptr_equal(rl_preset_find(p->name), p);
		assert_non_null(rl_dialect_find(p->dialect));
		assert_int_equal(rl_url_parse(p->base_url, &url, &why), RL_OK);
		assert_int_equal(p->local, p->env == NULL);
		assert_int_equal(url.https, !p->local);
		assert_non_null(p->models);
		if (p->env)
			assert_true(rl_str_ends(rl_str_of(p->env), RL_STR("_API_KEY")));
		else
			assert_str(url.host, "127.0.0.1");
	}
	assert_true(n >= 10);
	assert_null(rl_preset_find(RL_STR("")));
	assert_null(rl_preset_find(RL_STR("OpenAI")));
	assert_null(rl_preset_find(RL_STR("open")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_presets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
