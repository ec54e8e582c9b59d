/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI border on the way in: what is read of a request, what is refused, and how it is edited. */
#include "test_dialect_help.h"

static enum rl_err read_env(void **state, enum rl_operation op, const char *body, struct rl_envelope *env,
			    struct rl_fault *fault)
{
	memset(fault, 0, sizeof *fault);
	return openai()->read_envelope(op, rl_str_of(body), *state, env, fault);
}

static void reads_chat(void **state)
{
	struct rl_envelope env;
	struct rl_fault fault;

	assert_int_equal(read_env(state, RL_OP_CHAT,
				  "{\"messages\":[],\"model\":\"gpt-4o\",\"stream\":true,"
				  "\"stream_options\":{\"include_usage\":true}}",
				  &env, &fault),
			 RL_OK);
	assert_text(env.model, "gpt-4o");
	assert_true(env.stream);
	assert_true(env.usage_asked);
	assert_int_equal(env.stream_options_span.type, RL_JSON_OBJECT);

	assert_int_equal(read_env(state, RL_OP_CHAT,
				  " { \"model\" : \"a\\u002fb\" , \"messages\":[{}],\"stream\":null}", &env, &fault),
			 RL_OK);
	assert_text(env.model, "a/b");
	assert_false(env.stream);
	assert_false(env.usage_asked);
}

static void reads_completion_and_embedding(void **state)
{
	static const struct {
		enum rl_operation op;
		const char *body;
	} good[] = {
		{RL_OP_COMPLETION, "{\"model\":\"m\",\"prompt\":\"x\"}"},
		{RL_OP_COMPLETION, "{\"model\":\"m\",\"prompt\":[1,2]}"},
		{RL_OP_COMPLETION, "{\"model\":\"m\",\"prompt\":null}"},
		{RL_OP_EMBEDDING, "{\"model\":\"m\",\"input\":\"x\"}"},
		{RL_OP_EMBEDDING, "{\"model\":\"m\",\"input\":[\"x\"],\"stream_options\":null}"},
	};
	struct rl_envelope env;
	struct rl_fault fault;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_int_equal(read_env(state, good[i].op, good[i].body, &env, &fault), RL_OK);
}

static void refuses(void **state)
{
	static const struct {
		enum rl_operation op;
		const char *body, *param, *code, *says;
	} bad[] = {
		{RL_OP_CHAT, "", "", "invalid_json", "line 1, column 1"},
		{RL_OP_CHAT, "[]", "", "invalid_type", "must be a JSON object"},
		{RL_OP_CHAT, "{\"model\":\"m\",\n \"messages\":[]\n  \"x\":1}", "", "invalid_json", "line 3, column 3"},
		{RL_OP_CHAT, "{\"messages\":[]}", "model", "missing_required_parameter", "no 'model'"},
		{RL_OP_CHAT, "{\"model\":null,\"messages\":[]}", "model", "missing_required_parameter", "no 'model'"},
		{RL_OP_CHAT, "{\"model\":7,\"messages\":[]}", "model", "invalid_type", "a string"},
		{RL_OP_CHAT, "{\"model\":\"\",\"messages\":[]}", "model", "invalid_value", "1 to 256"},
		{RL_OP_CHAT, "{\"model\":\"a\\u0000b\",\"messages\":[]}", "model", "invalid_value", "control"},
		{RL_OP_CHAT, "{\"model\":\"\\ud800\",\"messages\":[]}", "model", "invalid_value", "name"},
		{RL_OP_CHAT, "{\"model\":\"m\"}", "messages", "missing_required_parameter", "no 'messages'"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":\"hi\"}", "messages", "invalid_type", "an array"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"stream\":\"true\"}", "stream", "invalid_type",
		 "true or false"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"stream_options\":[]}", "stream_options",
		 "invalid_type", "an object"},
		{RL_OP_COMPLETION, "{\"model\":\"m\"}", "prompt", "missing_required_parameter", "no 'prompt'"},
		{RL_OP_COMPLETION, "{\"model\":\"m\",\"prompt\":{}}", "prompt", "invalid_type", "a string or an array"},
		{RL_OP_EMBEDDING, "{\"model\":\"m\",\"input\":null}", "input", "invalid_type", "a string or an array"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"model\":\"n\",\"messages\":[]}", "model", "duplicate_parameter",
		 "twice"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"Model\":\"n\",\"messages\":[]}", "model", "duplicate_parameter",
		 "line 1"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"us\\u0065r\":\"x\"}", "user", "duplicate_parameter",
		 ""},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":1,\"max_tokens\":2}", "max_tokens",
		 "duplicate_parameter", ""},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct rl_envelope env;
		struct rl_fault fault;

		if (read_env(state, bad[i].op, bad[i].body, &env, &fault) == RL_OK)
			fail_msg("accepted: %s", bad[i].body);
		assert_int_equal(fault.status, 400);
		assert_int_equal(fault.cls, RL_FAULT_BAD_REQUEST);
		assert_text(fault.param, bad[i].param);
		assert_text(fault.code, bad[i].code);
		if (bad[i].says[0] && !text_has(fault.message, bad[i].says))
			fail_msg("%s: %.*s", bad[i].body, RL_STR_ARG(fault.message));
	}
}

static void bounds_the_model_name(void **state)
{
	char body[400];
	struct rl_envelope env;
	struct rl_fault fault;

	for (int n = 255; n <= 258; n++) {
		snprintf(body, sizeof body, "{\"model\":\"%0*d\",\"messages\":[]}", n, 0);
		enum rl_err err = read_env(state, RL_OP_CHAT, body, &env, &fault);
		assert_int_equal(err == RL_OK, n <= 256);
	}
}

/* The edited body in one piece, checked to be what `wanted` says, as values. */
static size_t edited(void **state, const char *body, const struct rl_edit *edit, const char *wanted)
{
	rl_str parts[RL_BODY_PARTS_MAX];
	struct rl_envelope env;
	struct rl_fault fault;
	struct rl_buf whole;
	size_t n = 0;

	assert_int_equal(read_env(state, RL_OP_CHAT, body, &env, &fault), RL_OK);
	assert_int_equal(openai()->edit_body(rl_str_of(body), &env, edit, *state, parts, &n), RL_OK);
	assert_in_range(n, 1, RL_BODY_PARTS_MAX);
	rl_buf_init(&whole, 1 << 20);
	for (size_t i = 0; i < n; i++)
		rl_buf_add(&whole, parts[i]);
	assert_true(json_same(rl_buf_str(&whole), rl_str_of(wanted)));
	rl_buf_fini(&whole);
	return n;
}

static void leaves_alone_what_needs_no_edit(void **state)
{
	const char *body = " {\"model\":\"m\",\"messages\":[],\"temperature\":1.0e0} ";
	struct rl_edit edit = {.model = RL_STR("m"), .want_usage = true};

	assert_int_equal(edited(state, body, &edit, body), 1);
	body = "{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
	assert_int_equal(edited(state, body, &edit, body), 1);
}

static void renames(void **state)
{
	struct rl_edit edit = {.model = RL_STR("meta/llama-3")};

	edited(state, "{\"model\":\"m\",\"messages\":[]}", &edit, "{\"model\":\"meta/llama-3\",\"messages\":[]}");
	edited(state, "{\"messages\":[],\"model\":\"\\u006d\"}", &edit, "{\"messages\":[],\"model\":\"meta/llama-3\"}");
	edit.model = RL_STR("a\"b\\c\xC3\xA9");
	edited(state, "{\"model\":\"m\",\"messages\":[]}", &edit, "{\"model\":\"a\\\"b\\\\c\\u00e9\",\"messages\":[]}");
}

static void asks_for_usage(void **state)
{
	struct rl_edit edit = {.model = RL_STR("m"), .want_usage = true};
	static const char wanted[] =
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":true}}";

	edited(state, "{\"model\":\"m\",\"messages\":[],\"stream\":true}", &edit, wanted);
	edited(state, "{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":null}", &edit, wanted);
	edited(state, "{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":{ }}", &edit, wanted);
	edited(state, "{\"model\":\"m\",\"stream_options\":{\"include_usage\":false},\"messages\":[],\"stream\":true}",
	       &edit, wanted);
	edited(state,
	       "{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_obfuscation\":false}}",
	       &edit,
	       "{\"model\":\"m\",\"messages\":[],\"stream\":true,"
	       "\"stream_options\":{\"include_obfuscation\":false,\"include_usage\":true}}");
	/* Without a stream there is nothing to ask for. */
	edited(state, "{\"model\":\"m\",\"messages\":[],\"stream\":false}", &edit,
	       "{\"model\":\"m\",\"messages\":[],\"stream\":false}");
}

static void sets_and_removes(void **state)
{
	const struct rl_body_member set[] = {{RL_STR_INIT("temperature"), RL_STR_INIT("0.5")},
					     {RL_STR_INIT("user"), RL_STR_INIT("\"u\"")}};
	const rl_str remove[] = {RL_STR_INIT("logit_bias"), RL_STR_INIT("stream_options"), RL_STR_INIT("user")};
	struct rl_edit edit = {
		.model = RL_STR("n"), .want_usage = true, .set = set, .n_set = 2, .remove = remove, .n_remove = 3};

	/* A removed stream_options is not put back for the usage. */
	edited(state,
	       "{\"logit_bias\":{},\"model\":\"m\",\"messages\":[1],\"temperature\":2,\"stream\":true,"
	       "\"stream_options\":{\"x\":1}}",
	       &edit, "{\"model\":\"n\",\"messages\":[1],\"temperature\":0.5,\"user\":\"u\",\"stream\":true}");
	edited(state, "{\"model\":\"m\",\"messages\":[],\"user\":\"me\"}", &edit,
	       "{\"model\":\"n\",\"messages\":[],\"user\":\"u\",\"temperature\":0.5}");
}

static void refuses_configured_members_twice(void **state)
{
	const struct rl_body_member set[] = {{RL_STR_INIT("top_k"), RL_STR_INIT("1")}};
	const rl_str twice[] = {RL_STR_INIT("a"), RL_STR_INIT("A")};
	struct rl_edit edit = {.model = RL_STR("m"), .set = set, .n_set = 1};
	rl_str body = RL_STR("{\"model\":\"m\",\"messages\":[],\"top_k\":1,\"top\\u005fk\":99}");
	rl_str parts[RL_BODY_PARTS_MAX];
	struct rl_envelope env;
	struct rl_fault fault;
	size_t n;

	assert_int_equal(openai()->read_envelope(RL_OP_CHAT, body, *state, &env, &fault), RL_OK);
	assert_int_equal(openai()->edit_body(body, &env, &edit, *state, parts, &n), RL_ERR_DUPLICATE);
	edit = (struct rl_edit){.model = RL_STR("m"), .remove = twice, .n_remove = 2};
	assert_int_equal(openai()->edit_body(body, &env, &edit, *state, parts, &n), RL_ERR_RANGE);
}

static void survives_a_full_arena(void **state)
{
	rl_str body = RL_STR("{\"model\":\"\\u006d\",\"messages\":[],\"stream\":true}");
	struct rl_edit edit = {.model = RL_STR("other"), .want_usage = true};
	rl_str parts[RL_BODY_PARTS_MAX];
	struct rl_envelope env;
	struct rl_fault fault;
	struct rl_arena tiny;
	size_t n;

	rl_arena_init(&tiny, 1);
	assert_int_equal(openai()->read_envelope(RL_OP_CHAT, body, &tiny, &env, &fault), RL_ERR_NOMEM);
	assert_int_equal(fault.status, 500);
	assert_int_equal(openai()->read_envelope(RL_OP_CHAT, RL_STR("nope"), &tiny, &env, &fault), RL_ERR_SYNTAX);
	assert_int_equal(fault.status, 400);
	assert_true(fault.message.n > 0);
	assert_int_equal(openai()->read_envelope(RL_OP_CHAT, body, *state, &env, &fault), RL_OK);
	assert_int_equal(openai()->edit_body(body, &env, &edit, &tiny, parts, &n), RL_ERR_NOMEM);
	rl_arena_fini(&tiny);
}

static void paths(void **state)
{
	(void)state;
	assert_text(openai()->path(RL_OP_CHAT), "/chat/completions");
	assert_text(openai()->path(RL_OP_COMPLETION), "/completions");
	assert_text(openai()->path(RL_OP_EMBEDDING), "/embeddings");
	assert_text(openai()->path(RL_OP_MODELS), "/models");
	assert_int_equal(openai()->path(RL_OP_NONE).n, 0);
	assert_string_equal(rl_operation_name(RL_OP_EMBEDDING), "embedding");
	assert_null(rl_dialect_find(RL_STR("klingon")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(reads_chat),
		arena_test(reads_completion_and_embedding),
		arena_test(refuses),
		arena_test(bounds_the_model_name),
		arena_test(leaves_alone_what_needs_no_edit),
		arena_test(renames),
		arena_test(asks_for_usage),
		arena_test(sets_and_removes),
		arena_test(refuses_configured_members_twice),
		arena_test(survives_a_full_arena),
		arena_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
