/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of OpenAI and of servers like it: their class, their text, ours as they are written; lists of models. */
#include "test_dialect_help.h"

static void classes(void **state)
{
	static const struct {
		uint16_t status;
		enum rl_fault_class cls;
		const char *body;
	} cases[] = {
		/* OpenAI */
		{429, RL_FAULT_RATE_LIMIT,
		 "{\"error\":{\"message\":\"Rate limit reached\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}"},
		{429, RL_FAULT_QUOTA,
		 "{\"error\":{\"message\":\"You exceeded your current quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}"},
		{429, RL_FAULT_QUOTA, "{\"error\":{\"code\":\"project_spend_limit_exceeded\",\"type\":\"requests\"}}"},
		{400, RL_FAULT_QUOTA, "{\"error\":{\"code\":\"billing_hard_limit_reached\"}}"},
		{503, RL_FAULT_OVERLOADED,
		 "{\"error\":{\"code\":\"server_is_overloaded\",\"type\":\"service_unavailable_error\"}}"},
		{503, RL_FAULT_OVERLOADED, "{\"error\":{\"code\":\"slow_down\"}}"},
		{429, RL_FAULT_RATE_LIMIT, "{\"error\":{\"code\":\"slow_down\"}}"},
		{500, RL_FAULT_SERVER_ERROR, "{\"error\":{\"type\":\"server_error\",\"message\":\"oops\"}}"},
		{400, RL_FAULT_CONTEXT_LENGTH,
		 "{\"error\":{\"message\":\"This model's maximum context length is 8 tokens.\",\"code\":\"context_length_exceeded\"}}"},
		{400, RL_FAULT_BAD_REQUEST,
		 "{\"error\":{\"message\":\"Invalid 'user': string too long. Expected a maximum length of 512\",\"code\":\"string_above_max_length\"}}"},
		{400, RL_FAULT_BAD_REQUEST,
		 "{\"error\":{\"message\":\"Unsupported parameter\",\"type\":\"invalid_request_error\",\"param\":\"max_tokens\",\"code\":\"unsupported_parameter\"}}"},
		{400, RL_FAULT_CONTENT_FILTER, "{\"error\":{\"code\":\"content_policy_violation\"}}"},
		{400, RL_FAULT_CONTENT_FILTER,
		 "{\"error\":{\"code\":\"invalid_prompt\",\"message\":\"flagged as potentially violating our usage policy\"}}"},
		{400, RL_FAULT_BAD_REQUEST,
		 "{\"error\":{\"code\":\"invalid_prompt\",\"message\":\"prompt must be text\"}}"},
		{401, RL_FAULT_AUTH, "{\"error\":{\"code\":\"invalid_api_key\",\"type\":\"invalid_request_error\"}}"},
		{404, RL_FAULT_NOT_FOUND, "{\"error\":{\"code\":\"model_not_found\"}}"},
		{400, RL_FAULT_NOT_FOUND, "{\"error\":{\"code\":\"model_not_found\"}}"},
		/* Azure */
		{400, RL_FAULT_CONTENT_FILTER,
		 "{\"error\":{\"code\":null,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"},\"message\":\"x\"}}"},
		{404, RL_FAULT_NOT_FOUND, "{\"error\":{\"code\":\"DeploymentNotFound\"}}"},
		{401, RL_FAULT_AUTH, "{\"statusCode\":401,\"message\":\"Access denied\"}"},
		/* others */
		{400, RL_FAULT_CONTEXT_LENGTH,
		 "{\"error\":{\"code\":400,\"message\":\"request (9 tokens) exceeds the available context size (8 tokens)\",\"type\":\"exceed_context_size_error\"}}"},
		{400, RL_FAULT_CONTEXT_LENGTH,
		 "{\"object\":\"error\",\"message\":\"This model's maximum context length is 8 tokens. However, you requested 9\",\"type\":\"BadRequestError\",\"code\":400}"},
		{400, RL_FAULT_CONTEXT_LENGTH,
		 "{\"error\":\"This model's MAXIMUM PROMPT LENGTH IS 100 but the request has 200\"}"},
		{400, RL_FAULT_CONTEXT_LENGTH,
		 "{\"error\":{\"message\":\"Please reduce the length of the messages or completion.\"}}"},
		{400, RL_FAULT_CONTEXT_LENGTH,
		 "[{\"error\":{\"code\":400,\"message\":\"The input token count (9) exceeds the maximum number of tokens allowed (8).\"}}]"},
		{413, RL_FAULT_BAD_REQUEST, "{\"error\":{\"message\":\"body too big\"}}"},
		{413, RL_FAULT_CONTEXT_LENGTH,
		 "{\"error\":{\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}}"},
		{400, RL_FAULT_INVALID_RESPONSE,
		 "{\"error\":{\"code\":\"tool_use_failed\",\"failed_generation\":\"x\"}}"},
		{402, RL_FAULT_QUOTA,
		 "{\"error\":{\"message\":\"Insufficient Balance\",\"code\":\"invalid_request_error\"}}"},
		{422, RL_FAULT_BAD_REQUEST, "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\"}]}"},
		{498, RL_FAULT_OVERLOADED, "{\"error\":{\"message\":\"flex capacity exceeded\"}}"},
		{529, RL_FAULT_OVERLOADED, ""},
		{524, RL_FAULT_TIMEOUT, "<html>"},
		/* an echoed prompt does not decide what the status says */
		{429, RL_FAULT_RATE_LIMIT, "{\"error\":{\"message\":\"Request too large: 'prompt is too long'\"}}"},
		{404, RL_FAULT_NOT_FOUND, "{\"error\":{\"message\":\"no 'maximum context length is' here\"}}"},
		/* status alone */
		{401, RL_FAULT_AUTH, ""},
		{403, RL_FAULT_AUTH, "<html><title>403 Forbidden</title></html>"},
		{404, RL_FAULT_NOT_FOUND, "Not Found"},
		{408, RL_FAULT_TIMEOUT, "{"},
		{409, RL_FAULT_BAD_REQUEST, "null"},
		{413, RL_FAULT_BAD_REQUEST, "\xFF\xFE"},
		{429, RL_FAULT_RATE_LIMIT, "[]"},
		{500, RL_FAULT_SERVER_ERROR, "\"text\""},
		{502, RL_FAULT_SERVER_ERROR, "<html>"},
		{503, RL_FAULT_OVERLOADED, "{\"error\":{}}"},
		{504, RL_FAULT_TIMEOUT, "{\"error\":7}"},
		{301, RL_FAULT_INVALID_RESPONSE, ""},
		{101, RL_FAULT_INVALID_RESPONSE, ""},
		{599, RL_FAULT_SERVER_ERROR, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enum rl_fault_class cls = openai()->classify(cases[i].status, rl_str_of(cases[i].body));
		if (cls != cases[i].cls)
			fail_msg("%u %s: is %s, wanted %s", cases[i].status, cases[i].body, rl_fault_class_name(cls),
				 rl_fault_class_name(cases[i].cls));
	}
}

static void huge_bodies_are_judged_by_status(void **state)
{
	size_t n = 4 << 20;
	char *body = malloc(n);

	(void)state;
	memset(body, '[', n);
	assert_int_equal(openai()->classify(500, rl_str_make(body, n)), RL_FAULT_SERVER_ERROR);
	assert_int_equal(openai()->classify(429, rl_str_make(body, n)), RL_FAULT_RATE_LIMIT);
	free(body);
}

static void texts(void **state)
{
	static const struct {
		const char *body, *text;
	} cases[] = {
		{"{\"error\":{\"message\":\"No such\\n  model.\",\"code\":\"x\"}}", "No such model."},
		{"{\"error\":\"plain\"}", "plain"},
		{"{\"error\":{\"code\":\"only_code\"}}", "only_code"},
		{"{\"error\":{\"code\":429}}", "429"},
		{"[{\"error\":{\"message\":\"in a list\"}}]", "in a list"},
		{"{\"message\":\"at the top\"}", "at the top"},
		{"{\"detail\":\"fastapi\"}", "fastapi"},
		{"<html><head><TITLE>502 Bad Gateway</title></head><body>long</body></html>", "502 Bad Gateway"},
		{"<html>nothing to say</html>", ""},
		{"upstream connect error", "upstream connect error"},
		{"{\"error\":{\"mess", ""},
		{"", ""},
		{"  \r\n ", ""},
		{"a\x1b[31mb\tc", "a [31mb c"},
		{"{\"error\":{\"message\":\"Incorrect API key provided: sk-abcd1234efgh. Fix it\"}}",
		 "Incorrect API key provided: [key] Fix it"},
		{"{\"error\":{\"message\":\"\\ud800\"}}", ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_text(openai()->error_text(rl_str_of(cases[i].body), *state), cases[i].text);
}

static void texts_are_cut_between_characters(void **state)
{
	for (size_t pad = 295; pad < 301; pad++) {
		char body[400];
		size_t n = pad;

		memset(body, 'x', pad);
		while (n + 3 < sizeof body) {
			memcpy(body + n, "\xE2\x82\xAC", 3);
			n += 3;
		}
		rl_str text = openai()->error_text(rl_str_make(body, n), *state);

		assert_in_range(text.n, 295, 300);
		assert_true(text.n < pad ? false : (text.n - pad) % 3 == 0 || text.n <= pad);
	}
}

static void writes(void (*write)(const struct rl_fault *, struct rl_buf *), const struct rl_fault *fault,
		   const char *wanted)
{
	struct rl_buf out;

	rl_buf_init(&out, 4096);
	write(fault, &out);
	assert_text(rl_buf_str(&out), wanted);
	rl_buf_fini(&out);
}

static void written_errors(void **state)
{
	struct rl_fault fault = {.status = 404,
				 .code = RL_STR("model_not_found"),
				 .param = RL_STR("model"),
				 .message = RL_STR("No \"x\".")};

	(void)state;
	writes(openai()->write_error, &fault,
	       "{\"error\":{\"message\":\"No \\\"x\\\".\",\"type\":\"invalid_request_error\",\"param\":\"model\","
	       "\"code\":\"model_not_found\"}}");
	fault = (struct rl_fault){.status = 429, .message = RL_STR("m")};
	writes(openai()->write_error, &fault,
	       "{\"error\":{\"message\":\"m\",\"type\":\"requests\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}");
	fault.status = 502;
	writes(openai()->write_stream_error, &fault,
	       "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n");
	fault.status = 401;
	writes(openai()->write_error, &fault,
	       "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_api_key\"}}");
	fault = (struct rl_fault){.status = 503, .type = RL_STR("t"), .message = RL_STR("m")};
	writes(openai()->write_error, &fault,
	       "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":null,\"code\":null}}");
}

static void model_lists(void **state)
{
	const struct rl_model_line models[] = {{RL_STR_INIT("a/b"), RL_STR_INIT("a"), 1700000000},
					       {RL_STR_INIT("echo"), RL_STR_INIT("relais"), 0}};
	struct rl_buf out;
	rl_str *ids;
	size_t n;

	rl_buf_init(&out, 4096);
	openai()->write_models(models, 2, &out);
	assert_text(
		rl_buf_str(&out),
		"{\"object\":\"list\",\"data\":[{\"id\":\"a/b\",\"object\":\"model\",\"created\":1700000000,"
		"\"owned_by\":\"a\"},{\"id\":\"echo\",\"object\":\"model\",\"created\":0,\"owned_by\":\"relais\"}]}");
	assert_int_equal(openai()->read_models(rl_buf_str(&out), *state, &ids, &n), RL_OK);
	assert_int_equal(n, 2);
	assert_text(ids[0], "a/b");
	assert_text(ids[1], "echo");
	rl_buf_reset(&out);
	openai()->write_models(models, 0, &out);
	assert_text(rl_buf_str(&out), "{\"object\":\"list\",\"data\":[]}");
	rl_buf_reset(&out);
	openai()->write_model(models, &out);
	assert_text(rl_buf_str(&out),
		    "{\"id\":\"a/b\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"a\"}");
	rl_buf_fini(&out);
}

static void strange_model_lists(void **state)
{
	rl_str *ids;
	size_t n;

	assert_int_equal(openai()->read_models(
				 RL_STR("[{\"id\":\"bare\"},7,{\"id\":null},{\"name\":\"x\"},{\"id\":\"\\u0062\"}]"),
				 *state, &ids, &n),
			 RL_OK);
	assert_int_equal(n, 2);
	assert_text(ids[0], "bare");
	assert_text(ids[1], "b");
	assert_int_equal(openai()->read_models(RL_STR("{\"data\":[]}"), *state, &ids, &n), RL_OK);
	assert_int_equal(n, 0);
	assert_int_equal(openai()->read_models(RL_STR("{\"data\":{}}"), *state, &ids, &n), RL_ERR_SYNTAX);
	assert_int_equal(openai()->read_models(RL_STR("<html>"), *state, &ids, &n), RL_ERR_SYNTAX);
	assert_int_equal(openai()->read_models(RL_STR("{}"), *state, &ids, &n), RL_ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test(huge_bodies_are_judged_by_status),
		arena_test(texts),
		arena_test(texts_are_cut_between_characters),
		cmocka_unit_test(written_errors),
		arena_test(model_lists),
		arena_test(strange_model_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
