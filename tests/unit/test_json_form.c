/* SPDX-License-Identifier: Apache-2.0 */
/* What has the form of a text and what has not; what is too large leaves none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "json/form.h"

#define TEXT "{\"id\":\"x\",\"said\":\"Hello\",\"n\":1,\"pad\":\"abc\"}"

static struct rl_json_form form;

static rl_str part(rl_str text, const char *what)
{
	return rl_str_make(strstr(text.p, what), strlen(what));
}

static void keep(const char *first, const char *second)
{
	rl_str text = RL_STR(TEXT), open[] = {part(text, first), second ? part(text, second) : RL_STR("")};

	rl_json_form_keep(&form, text, open, second ? 2 : 1);
	assert_int_equal(form.n_strings, second ? 2 : 1);
}

static void expect(bool fits, const char *said, const char *pad)
{
	char text[200];

	snprintf(text, sizeof text, "{\"id\":\"x\",\"said\":\"%s\",\"n\":1,\"pad\":\"%s\"}", said, pad);
	if (rl_json_form_fits(&form, rl_str_of(text)) != fits)
		fail_msg("%s", text);
}

static void what_fits(void **state)
{
	static const char *const strings[] = {
		"x",       "a longer text than there was, of more than sixteen bytes", "\\\"", "\\u00e9\\n", "\xc3\xa9",
		"\\ud800",
	};
	static const char *const others[] = {
		"", "\"", "\\", "\\x", "\\u12", "a\nb", "\xff", "\xc3", "x\",\"said\":\"y",
	};

	(void)state;
	keep("\"Hello\"", "\"abc\"");
	for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
		expect(true, strings[i], "abc");
		expect(true, "Hello", strings[i]);
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		expect(false, others[i], "abc");
		expect(false, "Hello", others[i]);
	}
	keep("\"Hello\"", NULL);
	expect(true, "you", "abc");
	expect(false, "you", "abd");
}

/* Every text that is cut short, every one with another byte outside the open strings. */
static void what_does_not(void **state)
{
	rl_str text = RL_STR(TEXT);
	rl_str said = part(text, "Hello"), pad = part(text, "abc");

	(void)state;
	keep("\"Hello\"", "\"abc\"");
	assert_true(rl_json_form_fits(&form, text));
	for (size_t n = 0; n < text.n; n++) {
		char other[sizeof TEXT + 1] = TEXT;
		const char *at = text.p + n;

		assert_false(rl_json_form_fits(&form, rl_str_sub(text, 0, n)));
		other[n] ^= 1;
		if ((at < said.p || at >= said.p + said.n) && (at < pad.p || at >= pad.p + pad.n))
			assert_false(rl_json_form_fits(&form, rl_str_make(other, text.n)));
		memcpy(other, TEXT, sizeof TEXT);
		other[text.n] = ' ';
		assert_false(rl_json_form_fits(&form, rl_str_make(other, text.n + 1)));
	}
}

static void bounds(void **state)
{
	char text[RL_JSON_FORM_BYTES + 20];

	(void)state;
	for (size_t pad = RL_JSON_FORM_BYTES - 12; pad < RL_JSON_FORM_BYTES; pad++) {
		int n = snprintf(text, sizeof text, "[%*s\"text\"]", (int)pad, "");
		rl_str whole = rl_str_make(text, (size_t)n), open = part(whole, "\"text\"");

		rl_json_form_keep(&form, whole, &open, 1);
		assert_int_equal(form.n_strings, whole.n - 4 <= RL_JSON_FORM_BYTES);
		assert_int_equal(rl_json_form_fits(&form, whole), form.n_strings);
	}
	rl_json_form_keep(&form, RL_STR("[]"), NULL, 0);
	assert_false(rl_json_form_fits(&form, RL_STR("[]")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits),
		cmocka_unit_test(what_does_not),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
