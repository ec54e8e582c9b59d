/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Gemini dialect on bodies written here: requests there and back and to and from
 * OpenAI's, answers, streams in both forms, errors, paths, the border.
 */
#include "test_dialect_help.h"

static const struct rl_dialect *gemini(void)
{
	const struct rl_dialect *d = rl_dialect_find(RL_STR("gemini"));

	assert_non_null(d);
	return d;
}

/* Who reads what is written, by the model's name and peculiarities. */
static struct rl_translation *reader_of(struct rl_arena *arena, const char *model, uint64_t quirks)
{
	static struct rl_facts facts;
	static struct rl_translation t;

	facts = (struct rl_facts){.provider = RL_STR("google"), .model = rl_str_of(model), .quirks = quirks};
	rl_translation_init(&t, arena, &facts, false);
	return &t;
}

#define Q(name) (UINT64_C(1) << RL_QUIRK_##name)

/* A request of `from` as `to` writes it; the text lives in the arena. */
static rl_str convert(struct rl_arena *arena, const struct rl_dialect *from, const struct rl_dialect *to,
		      enum rl_operation op, const char *body, struct rl_translation *t)
{
	struct rl_chat_request request;
	struct rl_fault fault = {.status = 0};
	struct rl_buf out;

	if (from->parse_request(op, rl_str_of(body), arena, &request, &fault))
		fail_msg("%.*s", RL_STR_ARG(fault.message));
	if (!request.model.n)
		request.model = RL_STR("m");
	rl_buf_init(&out, 1 << 24);
	to->write_request(op, &request, t, &out);
	assert_true(rl_buf_ok(&out));
	rl_str text = rl_arena_dup(arena, rl_buf_str(&out));

	rl_buf_fini(&out);
	if (!t->err && rl_json_scan(text, NULL, 0, RL_JSON_STRICT_KEYS, NULL, NULL))
		fail_msg("not JSON: %.*s", RL_STR_ARG(text));
	return text;
}

static void same_request(struct rl_arena *arena, enum rl_operation op, const char *body)
{
	struct rl_translation *t = reader_of(arena, "gemini-3-pro", 0);
	rl_str text = convert(arena, gemini(), gemini(), op, body, t);

	assert_int_equal(t->err, RL_OK);
	assert_int_equal(t->n_dropped, 0);
	assert_true(json_same(text, rl_str_of(body)));
}

static void to_gemini(struct rl_arena *arena, const char *model, const char *body, const char *wanted,
		      const char *dropped)
{
	struct rl_translation *t = reader_of(arena, model, 0);
	rl_str text = convert(arena, openai(), gemini(), RL_OP_CHAT, body, t);

	if (t->err)
		fail_msg("%.*s", RL_STR_ARG(t->fault.message));
	assert_true(json_same(text, rl_str_of(wanted)));
	assert_text(rl_dropped_text(t, arena), dropped);
}

static void requests_go_round(void **state)
{
	same_request(*state, RL_OP_CHAT, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}]}]}");
	same_request(
		*state, RL_OP_CHAT,
		"{\"systemInstruction\":{\"role\":\"user\",\"parts\":[{\"text\":\"Be brief.\"}]},"
		"\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"},{\"inlineData\":{\"mimeType\":\"image/png\","
		"\"data\":\"AAAA\"}},{\"fileData\":{\"mimeType\":\"video/mp4\",\"fileUri\":\"gs://b/v.mp4\"},"
		"\"videoMetadata\":{\"fps\":1}}]},"
		"{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true,\"thoughtSignature\":\"AA==\"},"
		"{\"functionCall\":{\"id\":\"x1\",\"name\":\"f\",\"args\":{\"a\":1}},\"thoughtSignature\":\"BB==\"},"
		"{\"functionCall\":{\"name\":\"f\",\"args\":{}}},{\"executableCode\":{\"code\":\"1\"}}]},"
		"{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"x1\",\"name\":\"f\",\"response\":{\"output\":"
		"\"ok\"}}},{\"functionResponse\":{\"name\":\"f\",\"response\":{\"error\":\"no\"}}}]},"
		"{\"role\":\"model\",\"parts\":[{\"text\":\"done\"},{\"text\":\"\",\"thoughtSignature\":\"CC==\"}]}],"
		"\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"OBJECT\","
		"\"properties\":{\"a\":{\"type\":\"INTEGER\",\"nullable\":true}}},\"behavior\":\"BLOCKING\"}]},"
		"{\"googleSearch\":{}}],"
		"\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"VALIDATED\"},\"retrievalConfig\":{\"languageCode\":"
		"\"de\"}},"
		"\"generationConfig\":{\"temperature\":0.10,\"topP\":0.9,\"topK\":40,\"candidateCount\":2,"
		"\"maxOutputTokens\":100,\"stopSequences\":[\"x\",\"y\"],\"seed\":7,\"presencePenalty\":0.5,"
		"\"frequencyPenalty\":-0.5,\"responseLogprobs\":true,\"logprobs\":3,\"responseMimeType\":"
		"\"application/json\",\"responseSchema\":{\"type\":\"STRING\",\"enum\":[\"a\"]},"
		"\"responseModalities\":[\"TEXT\"],\"mediaResolution\":\"MEDIA_RESOLUTION_LOW\","
		"\"thinkingConfig\":{\"includeThoughts\":true,\"thinkingBudget\":-1,\"thinkingLevel\":\"LOW\"}},"
		"\"safetySettings\":[{\"category\":\"c\"}],\"cachedContent\":\"cachedContents/1\",\"labels\":{\"a\":\"b\"}}");
	same_request(*state, RL_OP_COUNT_TOKENS, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}]}]}");
	same_request(*state, RL_OP_EMBEDDING,
		     "{\"requests\":[{\"model\":\"models/gemini-3-pro\",\"content\":{\"parts\":[{\"text\":\"a\"}]},"
		     "\"taskType\":\"RETRIEVAL_QUERY\",\"outputDimensionality\":64},{\"model\":\"models/gemini-3-pro\","
		     "\"content\":{\"parts\":[{\"text\":\"b\"}]},\"taskType\":\"RETRIEVAL_QUERY\","
		     "\"outputDimensionality\":64}]}");
}

static void snake_case_is_read(void **state)
{
	struct rl_translation *t = reader_of(*state, "gemini-3-pro", 0);
	rl_str text = convert(
		*state, gemini(), gemini(), RL_OP_CHAT,
		"{\"system_instruction\":{\"parts\":{\"text\":\"s\"}},\"contents\":[{\"parts\":[{\"inline_data\":"
		"{\"mime_type\":\"image/png\",\"data\":\"AA\"}}]}],\"generation_config\":{\"max_output_tokens\":5,"
		"\"response_mime_type\":\"text/plain\",\"thinking_config\":{\"thinking_budget\":0}},"
		"\"tool_config\":{\"function_calling_config\":{\"mode\":\"NONE\"}}}",
		t);

	assert_true(json_same(
		text,
		RL_STR("{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"contents\":[{\"role\":\"user\",\"parts\":["
		       "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AA\"}}]}],\"toolConfig\":"
		       "{\"functionCallingConfig\":{\"mode\":\"NONE\"}},\"generationConfig\":{\"maxOutputTokens\":5,"
		       "\"responseMimeType\":\"text/plain\",\"thinkingConfig\":{\"thinkingBudget\":0}}}")));
}

static void chat_becomes_contents(void **state)
{
	to_gemini(
		*state, "gemini-2.0-flash",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":["
		"{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
		"\"data:image/png;base64,AAAA\"}}]},{\"role\":\"user\",\"content\":\"b\"}],\"temperature\":0.5,"
		"\"max_tokens\":50,\"stop\":\"x\",\"n\":2,\"seed\":3,\"top_p\":1,\"user\":\"u\",\"logprobs\":true,"
		"\"top_logprobs\":2,\"logit_bias\":{\"5\":1}}",
		"{\"systemInstruction\":{\"parts\":[{\"text\":\"S\"}]},\"contents\":[{\"role\":\"user\",\"parts\":["
		"{\"text\":\"a\"},{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}},{\"text\":\"b\"}]}],"
		"\"generationConfig\":{\"maxOutputTokens\":50,\"candidateCount\":2,\"stopSequences\":[\"x\"],"
		"\"temperature\":0.5,\"topP\":1,\"seed\":3,\"responseLogprobs\":true,\"logprobs\":2}}",
		"user, logit_bias");
}

static const char two_calls[] =
	"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"w\"},{\"role\":\"assistant\",\"content\":null,"
	"\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},"
	"{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"oops\"}}]},"
	"{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"two\"},"
	"{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"{\\\"x\\\":[1]}\"},"
	"{\"role\":\"user\",\"content\":\"go\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
	"\"parameters\":{\"type\":\"object\",\"properties\":{}}}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],"
	"\"tool_choice\":\"required\",\"parallel_tool_calls\":false}";

/* Results in the order of the calls, names from the history, wrong arguments kept, and the dummy seal on the first call. */
static void calls_and_results(void **state)
{
	to_gemini(
		*state, "gemini-3-pro", two_calls,
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"w\"}]},{\"role\":\"model\",\"parts\":["
		"{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{\"a\":1}},\"thoughtSignature\":"
		"\"skip_thought_signature_validator\"},{\"functionCall\":{\"id\":\"c2\",\"name\":\"g\",\"args\":"
		"{\"input\":\"oops\"}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"c1\",\"name\":\"f\","
		"\"response\":{\"x\":[1]}}},{\"functionResponse\":{\"id\":\"c2\",\"name\":\"g\",\"response\":{\"output\":"
		"\"two\"}}},{\"text\":\"go\"}]}],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\","
		"\"parametersJsonSchema\":{\"type\":\"object\",\"properties\":{}}},{\"name\":\"g\"}]}],"
		"\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\"}}}",
		"parallel_tool_calls");
}

static void choices_of_tools(void **state)
{
	static const struct {
		const char *choice, *wanted;
	} cases[] = {
		{"\"none\"", "{\"mode\":\"NONE\"}"},
		{"\"auto\"", "{\"mode\":\"AUTO\"}"},
		{"\"required\"", "{\"mode\":\"ANY\"}"},
		{"{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
		 "{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_translation *t = reader_of(*state, "gemini-2.5-flash", 0);
		rl_str body = rl_arena_printf(
			*state,
			"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"w\"}],\"tools\":[{\"type\":"
			"\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":%s}",
			cases[i].choice);
		rl_str wanted = rl_arena_printf(
			*state,
			"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"w\"}]}],\"tools\":[{"
			"\"functionDeclarations\":[{\"name\":\"f\"}]}],\"toolConfig\":{\"functionCallingConfig\":%s}}",
			cases[i].wanted);

		assert_true(json_same(convert(*state, openai(), gemini(), RL_OP_CHAT, body.p, t), wanted));
	}
}

static void thinking(void **state)
{
	static const struct {
		const char *model, *effort, *wanted, *dropped;
	} cases[] = {
		{"gemini-3-pro", "low", "{\"thinkingLevel\":\"LOW\"}", ""},
		{"gemini-3-pro", "none", "{\"thinkingLevel\":\"MINIMAL\"}", ""},
		{"gemini-3.1-flash", "max", "{\"thinkingLevel\":\"HIGH\"}", ""},
		{"gemini-flash-latest", "medium", "{\"thinkingLevel\":\"MEDIUM\"}", ""},
		{"gemini-2.5-flash", "none", "{\"thinkingBudget\":0}", ""},
		{"gemini-2.5-pro", "none", "{\"thinkingBudget\":128}", ""},
		{"gemini-2.5-pro", "high", "{\"thinkingBudget\":24576}", ""},
		{"gemini-2.0-flash", "high", NULL, "reasoning_effort"},
		{"gemini-3-pro", "galactic", NULL, "reasoning_effort"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		rl_str body = rl_arena_printf(*state,
					      "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"w\"}],"
					      "\"reasoning_effort\":\"%s\"}",
					      cases[i].effort);
		rl_str config = cases[i].wanted
					? rl_arena_printf(*state, ",\"generationConfig\":{\"thinkingConfig\":%s}",
							  cases[i].wanted)
					: RL_STR("");
		rl_str wanted =
			rl_arena_printf(*state, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"w\"}]}]%.*s}",
					RL_STR_ARG(config));

		to_gemini(*state, cases[i].model, body.p, wanted.p, cases[i].dropped);
	}
}

static void refuses(struct rl_arena *arena, uint64_t quirks, const char *body, const char *param)
{
	struct rl_translation *t = reader_of(arena, "gemini-3-pro", quirks);

	convert(arena, openai(), gemini(), RL_OP_CHAT, body, t);
	if (t->err != RL_ERR_UNSUPPORTED)
		fail_msg("not refused: %s", body);
	assert_text(t->fault.param, param);
	assert_true(t->fault.message.n > 10 && t->fault.status == 400);
}

#define USER "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"w\"}]"

static void what_cannot_be_kept_is_refused(void **state)
{
	refuses(*state, 0, USER ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"x\"}}]}", "tools[0]");
	refuses(*state, 0, USER ",\"tools\":[{\"type\":\"mcp\"}]}", "tools[0]");
	refuses(*state, 0,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"zz\",\"content\":\"x\"}]}",
		"messages[0].tool_call_id");
	refuses(*state, 0,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":"
		"\"file-1\"}}]}]}",
		"messages[0].content");
	refuses(*state, Q(NO_IMAGE_URL),
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
		"\"url\":\"https://x/y.png\"}}]}]}",
		"messages[0].content");
	refuses(*state, Q(NO_N), USER ",\"n\":2}", "n");
	refuses(*state, Q(NO_SCHEMA),
		USER ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\",\"schema\":{}}}}",
		"response_format");
	refuses(*state, Q(SCHEMA_SUBSET),
		USER
		",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\",\"schema\":{\"not\":{}}}}}",
		"response_format.schema");
	refuses(*state, Q(NO_TOOL_CHOICE),
		USER ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"x\"}}],\"tool_choice\":\"required\"}",
		"tool_choice");
}

static rl_str subset_of(struct rl_arena *arena, const char *schema, struct rl_translation **t)
{
	rl_str body =
		rl_arena_printf(arena,
				USER ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
				     "\"schema\":%s}}}",
				schema);
	static const rl_str config_key = RL_STR_INIT("generationConfig"), schema_key = RL_STR_INIT("responseSchema");
	struct rl_json_span span;

	*t = reader_of(arena, "gemini-1.5-pro", Q(SCHEMA_SUBSET));
	rl_str text = convert(arena, openai(), gemini(), RL_OP_CHAT, body.p, *t);

	rl_json_find(text, &config_key, 1, &span);
	text = rl_json_span_text(text, &span);
	rl_json_find(text, &schema_key, 1, &span);
	return rl_json_span_text(text, &span);
}

static void schemas_fit_the_subset(void **state)
{
	struct rl_translation *t;
	rl_str text = subset_of(
		*state,
		"{\"$schema\":\"s\",\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"a\":{\"type\":["
		"\"string\",\"null\"],\"format\":\"email\"},\"b\":{\"$ref\":\"#/$defs/B\"},\"c\":{\"const\":\"k\"},"
		"\"d\":{\"oneOf\":[{\"type\":\"integer\",\"exclusiveMinimum\":0},{\"type\":\"null\"}]},"
		"\"e\":{\"allOf\":[{\"type\":\"boolean\"}]},\"f\":{\"type\":[\"string\",\"number\"]}},"
		"\"required\":[\"a\"],\"$defs\":{\"B\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":"
		"\"date-time\"}}}}",
		&t);

	assert_int_equal(t->err, RL_OK);
	assert_true(json_same(
		text,
		RL_STR("{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"STRING\",\"nullable\":true},\"b\":{\"type\":"
		       "\"ARRAY\",\"items\":{\"type\":\"STRING\",\"format\":\"date-time\"}},\"c\":{\"enum\":[\"k\"]},\"d\":{"
		       "\"anyOf\":[{\"type\":\"INTEGER\",\"minimum\":0}],\"nullable\":true},\"e\":{\"type\":\"BOOLEAN\"},"
		       "\"f\":{\"anyOf\":[{\"type\":\"STRING\"},{\"type\":\"NUMBER\"}]}},\"required\":[\"a\"]}")));
	assert_text(rl_dropped_text(t, *state),
		    "response_format.schema.$schema, response_format.schema.additionalProperties, "
		    "response_format.schema.format, response_format.schema.exclusiveMinimum");
	/* A schema that holds itself ends in a refusal. */
	subset_of(*state, "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"},\"b\":{\"$ref\":\"#\"}}}", &t);
	assert_int_equal(t->err, RL_ERR_UNSUPPORTED);
	subset_of(*state, "{\"$ref\":\"#/$defs/none\"}", &t);
	assert_int_equal(t->err, RL_ERR_UNSUPPORTED);
	/* Another type than the six is refused, however it is spelled: an escape in capitals would be no JSON. */
	subset_of(*state, "{\"type\":\"\\bject\"}", &t);
	assert_int_equal(t->err, RL_ERR_UNSUPPORTED);
	subset_of(*state, "{\"type\":[\"null\",7]}", &t);
	assert_int_equal(t->err, RL_ERR_UNSUPPORTED);
}

/* OpenAPI's words in a tool reach others as JSON Schema. */
static void older_schemas_become_standard(void **state)
{
	struct rl_translation *t = plain_reader(*state);
	rl_str text = convert(
		*state, gemini(), openai(), RL_OP_CHAT,
		"{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\","
		"\"parameters\":{\"type\":\"OBJECT\",\"properties\":{\"type\":{\"type\":\"ARRAY\",\"min_items\":\"2\",\"items\":"
		"{\"type\":\"STRING\",\"nullable\":true}}},\"propertyOrdering\":[\"type\"]}}]}]}",
		t);

	assert_true(text_has(text, "\"parameters\":{\"type\":\"object\",\"properties\":{\"type\":{\"type\":\"array\","
				   "\"minItems\":2,\"items\":{\"type\":[\"string\",\"null\"]}}}}"));
}

static void contents_become_chat(void **state)
{
	struct rl_translation *t = plain_reader(*state);
	rl_str text = convert(
		*state, gemini(), openai(), RL_OP_CHAT,
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"w\"}]},{\"role\":\"model\",\"parts\":[{\"functionCall\":"
		"{\"name\":\"f\",\"args\":{\"a\":1}}},{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":2}}}]},{\"role\":\"user\","
		"\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":\"one\"}}},{\"functionResponse\":{"
		"\"name\":\"f\",\"response\":{\"r\":2}}}]}],\"generationConfig\":{\"imageConfig\":{\"aspectRatio\":\"1:1\"}}}",
		t);

	assert_true(text_has(text, "\"id\":\"call_gemini_0\""));
	assert_true(text_has(text, "\"tool_call_id\":\"call_gemini_0\""));
	assert_true(text_has(text, "\"tool_call_id\":\"call_gemini_1\""));
	assert_true(text_has(text, "\"content\":\"one\""));
	assert_true(text_has(text, "\"content\":\"{\\\"r\\\":2}\""));
	assert_text(rl_dropped_text(t, *state), "generationConfig.imageConfig");
}

static void bad_requests(void **state)
{
	static const struct {
		const char *body, *param;
	} cases[] = {
		{"{}", "contents"},
		{"{\"contents\":1}", "contents"},
		{"{\"contents\":[1]}", "contents[0]"},
		{"{\"contents\":[{\"role\":\"robot\",\"parts\":[]}]}", "contents[0].role"},
		{"{\"contents\":[{\"parts\":[{\"text\":1}]}]}", "contents[0].parts[0].text"},
		{"{\"contents\":[],\"tools\":{}}", "tools"},
		{"{\"contents\":[],\"tools\":[{\"functionDeclarations\":[{}]}]}", "tools[0].functionDeclarations[0]"},
		{"{\"contents\":[],\"generationConfig\":{\"maxOutputTokens\":-1}}", "generationConfig.maxOutputTokens"},
		{"{\"contents\":[],\"generationConfig\":{\"thinkingConfig\":{\"thinkingLevel\":\"x\"}}}",
		 "generationConfig.thinkingConfig.thinkingLevel"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_chat_request request;
		struct rl_fault fault = {.status = 0};

		assert_int_equal(gemini()->parse_request(RL_OP_CHAT, rl_str_of(cases[i].body), *state, &request,
							 &fault),
				 RL_ERR_SYNTAX);
		assert_int_equal(fault.status, 400);
		assert_text(fault.param, cases[i].param);
	}
}

/* --- answers --- */

static rl_str answer_as(struct rl_arena *arena, const struct rl_dialect *from, const struct rl_dialect *to,
			enum rl_operation op, const char *body)
{
	struct rl_chat_response response;
	struct rl_buf out;

	assert_int_equal(from->parse_response(op, rl_str_of(body), arena, &response), RL_OK);
	rl_buf_init(&out, 1 << 24);
	to->write_response(op, &response, plain_reader(arena), &out);
	assert_true(rl_buf_ok(&out));
	rl_str text = rl_arena_dup(arena, rl_buf_str(&out));

	rl_buf_fini(&out);
	if (rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL))
		fail_msg("not JSON: %.*s", RL_STR_ARG(text));
	return text;
}

static void answers_go_round(void **state)
{
	static const char *const bodies[] = {
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"text\":\"Hi\"},{\"functionCall\":"
		"{\"name\":\"f\",\"args\":{}},\"thoughtSignature\":\"AA\"}],\"role\":\"model\"},\"finishReason\":\"STOP\","
		"\"index\":0,\"safetyRatings\":[],\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"Hi\",\"tokenId\":9,"
		"\"logProbability\":-1.0489701e-05}],\"topCandidates\":[{\"candidates\":[{\"token\":\"Hi\",\"logProbability\":"
		"-1}]}]}}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":5,"
		"\"totalTokenCount\":12,\"trafficType\":\"X\"},\"modelVersion\":\"gemini-x\",\"responseId\":\"r1\"}",
		"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":3},\"responseId\":\"r\"}",
		"{\"candidates\":[{\"content\":{\"role\":\"model\"},\"finishReason\":\"MAX_TOKENS\",\"index\":0}]}",
		"{\"candidates\":[{\"content\":{\"role\":\"model\"},\"finishReason\":\"RECITATION\",\"index\":0}]}",
	};

	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		assert_true(
			json_same(answer_as(*state, gemini(), gemini(), RL_OP_CHAT, bodies[i]), rl_str_of(bodies[i])));
	assert_true(json_same(answer_as(*state, gemini(), gemini(), RL_OP_EMBEDDING,
					"{\"embedding\":{\"values\":[0.1,2]}}"),
			      RL_STR("{\"embedding\":{\"values\":[0.1,2]}}")));
	assert_true(json_same(answer_as(*state, gemini(), gemini(), RL_OP_EMBEDDING,
					"{\"embeddings\":[{\"values\":[1]},{\"values\":[2]}]}"),
			      RL_STR("{\"embeddings\":[{\"values\":[1]},{\"values\":[2]}]}")));
	assert_true(json_same(answer_as(*state, gemini(), gemini(), RL_OP_COUNT_TOKENS, "{\"totalTokens\":31}"),
			      RL_STR("{\"totalTokens\":31}")));
}

static void answers_to_openai(void **state)
{
	rl_str text = answer_as(
		*state, gemini(), openai(), RL_OP_CHAT,
		"{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1}}}],\"role\":\"model\"},"
		"\"finishReason\":\"STOP\",\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"H\",\"logProbability\":-1}]}}],"
		"\"usageMetadata\":{\"promptTokenCount\":10,\"toolUsePromptTokenCount\":2,\"cachedContentTokenCount\":4,"
		"\"candidatesTokenCount\":3,\"thoughtsTokenCount\":5,\"totalTokenCount\":20},\"responseId\":\"r1\","
		"\"modelVersion\":\"gm\",\"createTime\":\"2026-05-19T14:59:42.780296Z\"}");

	assert_true(text_has(text, "\"finish_reason\":\"tool_calls\""));
	assert_true(text_has(text, "\"prompt_tokens\":12,\"completion_tokens\":8,\"total_tokens\":20"));
	assert_true(text_has(text, "\"cached_tokens\":4") && text_has(text, "\"reasoning_tokens\":5"));
	assert_true(text_has(text, "\"id\":\"call_gemini_") && text_has(text, "\"arguments\":\"{\\\"a\\\":1}\""));
	assert_true(text_has(text, "\"created\":1779202782"));
	assert_true(text_has(text, "\"logprobs\":{\"content\":[{\"token\":\"H\",\"logprob\":-1,\"bytes\":null,"
				   "\"top_logprobs\":[]}]}"));
	text = answer_as(*state, gemini(), openai(), RL_OP_CHAT,
			 "{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"}}");
	assert_true(text_has(text, "\"finish_reason\":\"content_filter\""));
	text = answer_as(*state, gemini(), openai(), RL_OP_CHAT,
			 "{\"candidates\":[{\"content\":{},\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}");
	assert_true(text_has(text, "\"finish_reason\":\"error\""));
	text = answer_as(*state, gemini(), openai(), RL_OP_EMBEDDING,
			 "{\"predictions\":[{\"embeddings\":{\"values\":[1,2],\"statistics\":{\"token_count\":5}}},"
			 "{\"embeddings\":{\"values\":[3],\"statistics\":{\"token_count\":6}}}]}");
	assert_true(text_has(text, "\"embedding\":[1,2]") && text_has(text, "\"prompt_tokens\":11"));
}

static void answers_from_openai(void **state)
{
	assert_true(json_same(
		answer_as(
			*state, openai(), gemini(), RL_OP_CHAT,
			"{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"gpt\",\"choices\":[{\"index\":0,"
			"\"message\":{\"role\":\"assistant\",\"content\":\"Hi\",\"refusal\":null,\"tool_calls\":[{\"id\":\"t\","
			"\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},\"logprobs\":null,"
			"\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7,"
			"\"total_tokens\":16,\"completion_tokens_details\":{\"reasoning_tokens\":3},"
			"\"prompt_tokens_details\":{\"cached_tokens\":2}}}"),
		RL_STR("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"},{\"functionCall\":{\"id\":\"t\",\"name\":\"f\","
		       "\"args\":{}}}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{"
		       "\"promptTokenCount\":9,\"candidatesTokenCount\":4,\"totalTokenCount\":16,\"cachedContentTokenCount\":2,"
		       "\"thoughtsTokenCount\":3},\"modelVersion\":\"gpt\",\"responseId\":\"c\"}")));
}

/* Seals of others reach a client as base64 and come back to their own family, and to nobody else. */
static void foreign_seals(void **state)
{
	struct rl_part parts[3] = {
		{.kind = RL_PART_REASONING,
		 .reasoning = {.text = RL_STR("t"), .signature = RL_STR("s+/="), .family = RL_STR("anthropic")}},
		{.kind = RL_PART_REASONING, .reasoning = {.redacted = RL_STR("rrr"), .family = RL_STR("anthropic")}},
		{.kind = RL_PART_TEXT, .text = RL_STR("a")}};
	struct rl_choice choice = {.finish = RL_FINISH_STOP,
				   .message = {.role = RL_ROLE_ASSISTANT, .parts = parts, .n_parts = 3}};
	struct rl_chat_response response = {.dialect = RL_STR("anthropic"), .choices = &choice, .n_choices = 1};
	struct rl_chat_response again;
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	gemini()->write_response(RL_OP_CHAT, &response, plain_reader(*state), &out);
	assert_true(text_has(rl_buf_str(&out), "\"thoughtSignature\":\"cmVsYWlz"));
	assert_false(text_has(rl_buf_str(&out), "relais."));
	assert_int_equal(gemini()->parse_response(RL_OP_CHAT, rl_buf_str(&out), *state, &again), RL_OK);
	assert_int_equal(again.choices[0].message.n_parts, 3);
	const struct rl_reasoning *one = &again.choices[0].message.parts[0].reasoning;
	const struct rl_reasoning *two = &again.choices[0].message.parts[1].reasoning;

	assert_text(one->signature, "s+/=");
	assert_text(one->family, "anthropic");
	assert_text(two->redacted, "rrr");
	assert_text(two->family, "anthropic");
	/* As history of a request to Google: dropped by name. */
	struct rl_chat_request request;
	struct rl_translation *t = reader_of(*state, "gemini-3-pro", 0);

	rl_chat_request_init(&request);
	request.dialect = RL_STR("gemini");
	request.messages = &again.choices[0].message;
	request.n_messages = 1;
	rl_buf_reset(&out);
	gemini()->write_request(RL_OP_CHAT, &request, t, &out);
	assert_text(rl_dropped_text(t, *state), "messages[0].reasoning");
	assert_false(text_has(rl_buf_str(&out), "thoughtSignature"));
	rl_buf_fini(&out);
}

/* --- streams --- */

struct relay {
	const struct rl_dialect *to;
	struct rl_encoder encoder;
	struct rl_buf out;
};

static enum rl_err pass_on(void *user, const struct rl_event *event)
{
	struct relay *relay = user;

	relay->to->encode_event(&relay->encoder, event, &relay->out);
	return RL_OK;
}

/* Events' data, one a line, from one dialect's stream to another's; the end is said. */
static rl_str relay_stream(struct rl_arena *arena, const struct rl_dialect *from, const struct rl_dialect *to,
			   const char *lines, bool array)
{
	static const struct rl_event end = {.kind = RL_EVENT_DONE};
	struct rl_decoder decoder;
	struct relay relay = {.to = to};
	rl_str rest = rl_str_of(lines);

	rl_decoder_init(&decoder);
	decoder.own = rl_arena_zalloc(arena, 1, from->decoder_bytes + 1);
	rl_encoder_init(&relay.encoder, RL_OP_CHAT, true);
	relay.encoder.own = rl_arena_zalloc(arena, 1, to->encoder_bytes + 1);
	relay.encoder.array = array;
	rl_buf_init(&relay.out, 1 << 24);
	while (rest.p) {
		rl_str data = rl_str_cut(&rest, '\n');

		if (data.n && from->decode_event(RL_OP_CHAT, &decoder, RL_STR(""), data, arena, pass_on, &relay))
			fail_msg("%.*s", RL_STR_ARG(data));
	}
	pass_on(&relay, &end);
	assert_true(rl_buf_ok(&relay.out));
	rl_str text = rl_arena_dup(arena, rl_buf_str(&relay.out));

	if (to->encoder_fini)
		to->encoder_fini(&relay.encoder);
	rl_encoder_fini(&relay.encoder);
	rl_buf_fini(&relay.out);
	return text;
}

static const char openai_stream[] =
	"{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt\",\"choices\":[{\"index\":0,\"delta\":"
	"{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n"
	"{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n"
	"{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t0\",\"function\":{\"name\":\"f\","
	"\"arguments\":\"\"}},{\"index\":1,\"id\":\"t1\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}]}}]}\n"
	"{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]}"
	"}]}\n"
	"{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"}\"}},{\"index\":"
	"0,\"function\":{\"arguments\":\":1}\"}}]}}]}\n"
	"{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n"
	"{\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n"
	"[DONE]\n";

#define TAIL ",\"modelVersion\":\"gpt\",\"responseId\":\"c\"}"
#define USED ",\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4,\"totalTokenCount\":7}"

/* Calls whole and in their order, whatever the pieces; the finish with the usage at the end. */
static void streams_from_openai(void **state)
{
	static const char piece[] =
		"{\"candidates\":[{\"content\":{\"parts\":[%s],\"role\":\"model\"}%s,\"index\":0}]%s" TAIL "%s";
	static const char *const parts[] = {"{\"text\":\"Hi\"}",
					    "{\"functionCall\":{\"id\":\"t0\",\"name\":\"f\",\"args\":{\"a\":1}}}",
					    "{\"functionCall\":{\"id\":\"t1\",\"name\":\"g\",\"args\":{}}}",
					    "{\"text\":\"\"}"};
	char sse[2048] = "", list[2048] = "[";

	for (size_t i = 0; i < 4; i++) {
		char one[512];

		snprintf(one, sizeof one, piece, parts[i], i == 3 ? ",\"finishReason\":\"STOP\"" : "",
			 i == 3 ? USED : "", "");
		snprintf(sse + strlen(sse), sizeof sse - strlen(sse), "data: %s\r\n\r\n", one);
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ",\r\n" : "", one);
	}
	snprintf(list + strlen(list), sizeof list - strlen(list), "]");
	assert_text(relay_stream(*state, openai(), gemini(), openai_stream, false), sse);
	assert_text(relay_stream(*state, openai(), gemini(), openai_stream, true), list);
}

#define PIECE(parts) \
	"{\"candidates\":[{\"content\":{\"parts\":[" parts "],\"role\":\"model\"},\"index\":0}],\"responseId\":\"r\"}\n"

static void streams_to_openai(void **state)
{
	rl_str text = relay_stream(
		*state, gemini(), openai(),
		PIECE("{\"text\":\"think\",\"thought\":true}") PIECE("{\"text\":\"Hi\"}") PIECE(
			"{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1}}},{\"functionCall\":{\"name\":\"f\",\"args\":{}}}") "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\",\"thoughtSignature\":\"AA\"}]},\"finishReason\":"
																  "\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":2,"
																  "\"thoughtsTokenCount\":3,\"totalTokenCount\":6},\"responseId\":\"r\"}\n",
		false);

	assert_true(text_has(text, "\"reasoning_content\":\"think\"") && text_has(text, "\"content\":\"Hi\""));
	assert_true(text_has(text, "\"index\":0,\"id\":\"call_gemini_") &&
		    text_has(text, "\"index\":1,\"id\":\"call_gemini_"));
	assert_true(text_has(text, "\"arguments\":\"{\\\"a\\\":1}\""));
	assert_true(text_has(text, "\"finish_reason\":\"tool_calls\""));
	assert_true(text_has(text, "\"prompt_tokens\":1,\"completion_tokens\":5"));
	assert_true(rl_str_ends(text, RL_STR("data: [DONE]\n\n")));
}

static rl_str arguments_of(struct rl_arena *arena, rl_str sse)
{
	rl_str rest = sse, all = RL_STR("");

	while (rest.p) {
		rl_str line = rl_str_cut(&rest, '\n');
		const char *at = line.n ? memmem(line.p, line.n, "\"arguments\":", 12) : NULL;
		rl_str value, text;

		if (!at)
			continue;
		value = rl_str_make(at + 12, (size_t)(line.p + line.n - at - 12));
		struct rl_json_iter iter;

		/* The string ends at its quote: read it as the only element of an array. */
		rl_str array = rl_arena_printf(arena, "[%.*s", RL_STR_ARG(value));

		rl_json_iter_array(&iter, array);
		assert_true(rl_json_iter_next(&iter, &value));
		assert_int_equal(rl_json_unescape(value, arena, &text), RL_OK);
		all = rl_arena_printf(arena, "%.*s%.*s", RL_STR_ARG(all), RL_STR_ARG(text));
	}
	return all;
}

#define ARG(path, value) \
	"{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"" path "\"," value "}],\"willContinue\":true}}"

static void arguments_by_path(void **state)
{
	rl_str text = relay_stream(
		*state, gemini(), openai(),
		PIECE("{\"functionCall\":{\"name\":\"f\",\"willContinue\":true}}") PIECE(
			ARG("$.a[0].b", "\"stringValue\":\"x\\\"\",\"willContinue\":true"))
			PIECE(ARG("$.a[0].b", "\"stringValue\":\"y\"")) PIECE(
				ARG("$.a[0]['c d']", "\"numberValue\":1.5")) PIECE(ARG("$.a[1].b",
										       "\"boolValue\":true"))
				PIECE(ARG("$.e", "\"nullValue\":\"NULL_VALUE\"")) PIECE(
					"{\"functionCall\":{}}") "{\"candidates\":[{\"finishReason\":\"STOP\"}]}\n",
		false);

	assert_text(arguments_of(*state, text), "{\"a\":[{\"b\":\"x\\\"y\",\"c d\":1.5},{\"b\":true}],\"e\":null}");
	assert_true(text_has(text, "\"finish_reason\":\"tool_calls\""));
	/* Without arguments, and without an end. */
	text = relay_stream(
		*state, gemini(), openai(),
		PIECE("{\"functionCall\":{\"name\":\"f\",\"willContinue\":true}}") "{\"candidates\":[{\"finishReason\":\"STOP\"}]}\n",
		false);
	assert_text(arguments_of(*state, text), "{}");
}

static void bad_pieces(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"1",
		"{\"candidates\":[1]}",
		"{\"candidates\":[{\"index\":128}]}",
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":1}]}}]}",
	};
	static const char *const paths[] = {"", "a", "$", "$.", "$[0]", "$.a[", "$.a[x]", "$.a['b", "$..a"};
	struct relay relay = {.to = openai()};
	struct rl_decoder decoder;

	rl_encoder_init(&relay.encoder, RL_OP_CHAT, true);
	rl_buf_init(&relay.out, 1 << 20);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		rl_decoder_init(&decoder);
		decoder.own = rl_arena_zalloc(*state, 1, gemini()->decoder_bytes);
		assert_int_not_equal(gemini()->decode_event(RL_OP_CHAT, &decoder, RL_STR(""), rl_str_of(bad[i]), *state,
							    pass_on, &relay),
				     RL_OK);
	}
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		rl_str data = rl_arena_printf(
			*state,
			PIECE("{\"functionCall\":{\"name\":\"f\",\"willContinue\":true,\"partialArgs\":[{"
			      "\"jsonPath\":\"%s\",\"numberValue\":1}]}}"),
			paths[i]);

		rl_decoder_init(&decoder);
		decoder.own = rl_arena_zalloc(*state, 1, gemini()->decoder_bytes);
		assert_int_equal(gemini()->decode_event(RL_OP_CHAT, &decoder, RL_STR(""), data, *state, pass_on,
							&relay),
				 RL_ERR_SYNTAX);
	}
	rl_encoder_fini(&relay.encoder);
	rl_buf_fini(&relay.out);
}

static void errors_in_streams(void **state)
{
	rl_str text = relay_stream(
		*state, gemini(), gemini(),
		PIECE("{\"text\":\"Hi\"}") "{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\n",
		true);

	assert_true(text_has(text, ",\r\n{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\""));
	assert_true(rl_str_ends(text, RL_STR("}}]")));
	assert_int_equal(rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL), RL_OK);
}

/* --- the border --- */

static void errors_are_judged(void **state)
{
	static const struct {
		uint16_t status;
		const char *body;
		enum rl_fault_class cls;
	} cases[] = {
		{429, "{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"m\"}}",
		 RL_FAULT_RATE_LIMIT},
		{429,
		 "{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"violations\":[{\"quotaId\":"
		 "\"GenerateRequestsPerDayPerProject\"}]}]}}",
		 RL_FAULT_QUOTA},
		{402, "{\"error\":{\"code\":402,\"status\":\"RESOURCE_EXHAUSTED\"}}", RL_FAULT_QUOTA},
		{400,
		 "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}",
		 RL_FAULT_AUTH},
		{400,
		 "{\"error\":{\"status\":\"INVALID_ARGUMENT\",\"message\":\"The input token count (9) exceeds the maximum number "
		 "of tokens allowed (8).\"}}",
		 RL_FAULT_CONTEXT_LENGTH},
		{400, "{\"error\":{\"status\":\"FAILED_PRECONDITION\",\"message\":\"Please enable billing\"}}",
		 RL_FAULT_QUOTA},
		{400, "{\"error\":{\"status\":\"INVALID_ARGUMENT\",\"message\":\"429\"}}", RL_FAULT_BAD_REQUEST},
		{503, "[{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}]", RL_FAULT_OVERLOADED},
		{500, "{\"error\":{\"status\":\"INTERNAL\"}}", RL_FAULT_SERVER_ERROR},
		{404, "{\"error\":{\"status\":\"NOT_FOUND\"}}", RL_FAULT_NOT_FOUND},
		{504, "<html>", RL_FAULT_TIMEOUT},
		{200, "{\"error\":{\"code\":403,\"status\":\"PERMISSION_DENIED\"}}", RL_FAULT_AUTH},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (gemini()->classify(cases[i].status, rl_str_of(cases[i].body)) != cases[i].cls)
			fail_msg("%s: %s", cases[i].body,
				 rl_fault_class_name(gemini()->classify(cases[i].status, rl_str_of(cases[i].body))));
	assert_text(gemini()->error_text(RL_STR("[{\"error\":{\"message\":\"so it is\"}}]"), *state), "so it is");
}

static void paths_name_the_model(void **state)
{
	static const struct {
		enum rl_operation op;
		bool stream;
		const char *model, *project, *wanted;
	} cases[] = {
		{RL_OP_CHAT, false, "gemini-3-pro", "", "/models/gemini-3-pro:generateContent"},
		{RL_OP_CHAT, true, "gemini-3-pro", "", "/models/gemini-3-pro:streamGenerateContent?alt=sse"},
		{RL_OP_CHAT, false, "tunedModels/a b?", "", "/tunedModels/a%20b%3F:generateContent"},
		{RL_OP_EMBEDDING, false, "e", "", "/models/e:batchEmbedContents"},
		{RL_OP_COUNT_TOKENS, false, "e", "", "/models/e:countTokens"},
		{RL_OP_MODELS, false, "", "", "/models"},
		{RL_OP_CHAT, true, "g", "p",
		 "/projects/p/locations/global/publishers/google/models/g:streamGenerateContent?alt=sse"},
		{RL_OP_EMBEDDING, false, "g", "p", "/projects/p/locations/global/publishers/google/models/g:predict"},
		{RL_OP_CHAT, false, "endpoints/7", "p", "/projects/p/locations/global/endpoints/7:generateContent"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_facts facts = {.model = rl_str_of(cases[i].model), .project = rl_str_of(cases[i].project)};
		struct rl_buf out;

		rl_buf_init(&out, 1024);
		gemini()->write_path(cases[i].op, &facts, cases[i].stream, &out);
		assert_text(rl_buf_str(&out), cases[i].wanted);
		rl_buf_fini(&out);
	}
}

static rl_str edited(struct rl_arena *arena, enum rl_operation op, const char *body, const char *from, const char *to)
{
	struct rl_edit edit = {.model = rl_str_of(to)};
	rl_str parts[RL_BODY_PARTS_MAX], whole = RL_STR("");
	struct rl_envelope env;
	struct rl_fault fault;
	size_t n = 0;

	assert_int_equal(gemini()->read_envelope(op, rl_str_of(body), arena, &env, &fault), RL_OK);
	assert_int_equal(env.model.n, 0);
	env.model = rl_str_of(from);
	assert_int_equal(gemini()->edit_body(rl_str_of(body), &env, &edit, arena, parts, &n), RL_OK);
	for (size_t i = 0; i < n; i++)
		whole = rl_arena_printf(arena, "%.*s%.*s", RL_STR_ARG(whole), RL_STR_ARG(parts[i]));
	return whole;
}

static void bodies_pass(void **state)
{
	struct rl_envelope env;
	struct rl_fault fault;

	assert_text(edited(*state, RL_OP_CHAT, "{\"contents\":[]}", "a", "b"), "{\"contents\":[]}");
	assert_text(edited(*state, RL_OP_EMBEDDING,
			   "{\"requests\":[{\"model\":\"models/a\",\"content\":{}},{\"content\":{}}]}", "a", "b"),
		    "{\"requests\":[{\"model\":\"models/b\",\"content\":{}},{\"content\":{}}]}");
	assert_text(edited(*state, RL_OP_COUNT_TOKENS, "{\"generateContentRequest\":{\"model\":\"models/a\"}}", "a",
			   "b"),
		    "{\"generateContentRequest\":{\"model\":\"models/b\"}}");
	assert_int_equal(gemini()->read_envelope(RL_OP_CHAT, RL_STR("{\"contents\":[],\"cached_content\":\"c\"}"),
						 *state, &env, &fault),
			 RL_OK);
	assert_true(env.stateful);
	assert_int_equal(
		gemini()->read_envelope(RL_OP_CHAT,
					RL_STR("{\"contents\":[],\"systemInstruction\":{},\"system_instruction\":{}}"),
					*state, &env, &fault),
		RL_ERR_SYNTAX);
	assert_text(fault.code, "duplicate_parameter");
	assert_int_equal(gemini()->read_envelope(RL_OP_CHAT, RL_STR("{}"), *state, &env, &fault), RL_ERR_SYNTAX);
	assert_text(fault.param, "contents");
}

static void glances(void **state)
{
	struct rl_json_form form = {.n_strings = 0};
	struct rl_glance g;

	(void)state;
	assert_int_equal(
		gemini()->glance_event(
			RL_OP_CHAT, RL_STR(""),
			RL_STR("{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]}"
			       ",\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":2,"
			       "\"candidatesTokenCount\":3}}"),
			&form, &g),
		RL_OK);
	assert_true(g.content && g.finish && g.finish_reason == RL_FINISH_TOOL_CALLS);
	assert_true(g.usage.known && g.usage.prompt_tokens == 2 && g.usage.completion_tokens == 3);
	assert_int_equal(gemini()->glance_event(
				 RL_OP_CHAT, RL_STR(""),
				 RL_STR("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\","
					"\"thoughtSignature\":\"AA\"}]}}],\"usageMetadata\":{\"trafficType\":\"X\"}}"),
				 &form, &g),
			 RL_OK);
	assert_false(g.content || g.finish || g.usage.known);
	assert_int_equal(gemini()->glance_answer(RL_OP_CHAT,
						 RL_STR("{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"), &g),
			 RL_OK);
	assert_int_equal(g.finish_reason, RL_FINISH_CONTENT_FILTER);
	assert_int_equal(gemini()->glance_answer(RL_OP_CHAT, RL_STR("{\"usageMetadata\":{}}"), &g), RL_ERR_SYNTAX);
	assert_int_equal(gemini()->glance_answer(RL_OP_EMBEDDING, RL_STR("{\"embedding\":{}}"), &g), RL_OK);
	assert_int_equal(gemini()->glance_answer(RL_OP_COUNT_TOKENS, RL_STR("{\"totalTokens\":1}"), &g), RL_OK);
}

static void lists_of_models(void **state)
{
	static const struct rl_model_line lines[] = {{.id = RL_STR_INIT("a\"b")}, {.id = RL_STR_INIT("c")}};
	struct rl_buf out;
	rl_str *ids;
	size_t n;

	rl_buf_init(&out, 4096);
	gemini()->write_models(lines, 2, &out);
	assert_int_equal(gemini()->read_models(rl_buf_str(&out), *state, &ids, &n), RL_OK);
	assert_int_equal(n, 2);
	assert_text(ids[0], "a\"b");
	assert_text(ids[1], "c");
	assert_int_equal(
		gemini()->read_models(RL_STR("{\"publisherModels\":[{\"name\":\"publishers/google/models/x\"}]}"),
				      *state, &ids, &n),
		RL_OK);
	assert_text(ids[0], "x");
	rl_buf_reset(&out);
	struct rl_fault fault = {.status = 429, .message = RL_STR("slow"), .code = RL_STR("c"), .retry_after_s = 7};

	gemini()->write_error(&fault, &out);
	assert_true(text_has(rl_buf_str(&out), "\"code\":429,\"message\":\"slow\",\"status\":\"RESOURCE_EXHAUSTED\""));
	assert_true(text_has(rl_buf_str(&out), "\"retryDelay\":\"7s\""));
	rl_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(requests_go_round),
		arena_test(snake_case_is_read),
		arena_test(chat_becomes_contents),
		arena_test(calls_and_results),
		arena_test(choices_of_tools),
		arena_test(thinking),
		arena_test(what_cannot_be_kept_is_refused),
		arena_test(schemas_fit_the_subset),
		arena_test(older_schemas_become_standard),
		arena_test(contents_become_chat),
		arena_test(bad_requests),
		arena_test(answers_go_round),
		arena_test(answers_to_openai),
		arena_test(answers_from_openai),
		arena_test(foreign_seals),
		arena_test(streams_from_openai),
		arena_test(streams_to_openai),
		arena_test(arguments_by_path),
		arena_test(bad_pieces),
		arena_test(errors_in_streams),
		arena_test(errors_are_judged),
		arena_test(paths_name_the_model),
		arena_test(bodies_pass),
		arena_test(glances),
		arena_test(lists_of_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
