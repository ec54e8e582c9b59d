/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the Anthropic dialect: read and written again, from OpenAI's messages and to them. */
#include "test_anthropic_help.h"

/* Single quotes in a test's JSON stand for double ones. */
static const char *quoted(void **state, const char *text)
{
	rl_str copy = rl_arena_dup(*state, rl_str_of(text));

	assert_non_null(copy.p);
	for (char *c = (char *)(uintptr_t)copy.p; *c; c++)
		if (*c == '\'')
			*c = '"';
	return copy.p;
}

static void requests_go_round(void **state)
{
	static const char *const bodies[] = {
		"{'model':'m','max_tokens':5,'messages':[]}",
		"{'model':'m','max_tokens':5,'system':'Be brief.','messages':[{'role':'user','content':'Hi \\u00e9\\n'},"
		"{'role':'assistant','content':'Yes?'},{'role':'system','content':'Now in French.'},"
		"{'role':'user','content':[{'type':'text','text':'a','cache_control':{'type':'ephemeral','ttl':'1h'}},"
		"{'type':'text','text':'b'}]}]}",
		"{'model':'m','max_tokens':5,'system':[{'type':'text','text':'a'},{'type':'text','text':'b',"
		"'cache_control':{'type':'ephemeral'}}],'messages':[{'role':'user','content':["
		"{'type':'image','source':{'type':'base64','media_type':'image/png','data':'iVBORw0KGgo='}},"
		"{'type':'image','source':{'type':'url','url':'https://x.test/a.png'}},"
		"{'type':'image','source':{'type':'file','file_id':'file_1'}},"
		"{'type':'document','title':'T','context':'C','citations':{'enabled':true},'source':{'type':'base64',"
		"'media_type':'application/pdf','data':'JVBERi0x'}},"
		"{'type':'document','source':{'type':'text','media_type':'text/plain','data':'plain'}},"
		"{'type':'document','source':{'type':'content','content':[{'type':'text','text':'x'}]}},"
		"{'type':'search_result','source':'s','title':'t','content':[]}]}]}",
		"{'model':'m','max_tokens':5,'messages':[{'role':'user','content':'x'},{'role':'assistant','content':["
		"{'type':'thinking','thinking':'Hm','signature':'c2ln+/='},{'type':'thinking','thinking':'','signature':'s'},"
		"{'type':'redacted_thinking','data':'b64=='},{'type':'text','text':'t','citations':[{'type':"
		"'char_location','cited_text':'q','document_index':0,'document_title':null,'start_char_index':0,"
		"'end_char_index':1}]},{'type':'server_tool_use','id':'srvtoolu_1','name':'web_search','input':{'query':'q'}},"
		"{'type':'web_search_tool_result','tool_use_id':'srvtoolu_1','content':[]},"
		"{'type':'tool_use','id':'toolu_1','name':'f','input':{'a':1.50}},"
		"{'type':'tool_use','id':'toolu_2','name':'g','input':{}}]},{'role':'user','content':["
		"{'type':'tool_result','tool_use_id':'toolu_1','content':'1','cache_control':{'type':'ephemeral'}},"
		"{'type':'tool_result','tool_use_id':'toolu_2','is_error':true,'content':[{'type':'text','text':'a'},"
		"{'type':'image','source':{'type':'url','url':'u'}}]},{'type':'text','text':'and?'}]}]}",
		"{'model':'m','max_tokens':5,'messages':[{'role':'user','content':[{'type':'tool_result','tool_use_id':'t'}]}]}",
		"{'model':'m','max_tokens':5,'messages':[],'tools':[{'name':'f','description':'','strict':true,"
		"'input_schema':{'type':'object','minimum':1.50},'cache_control':{'type':'ephemeral'},"
		"'eager_input_streaming':true},{'type':'web_search_20250305','name':'web_search','max_uses':3}],"
		"'tool_choice':{'type':'any','disable_parallel_tool_use':true}}",
		"{'model':'m','max_tokens':5,'messages':[],'tool_choice':{'type':'tool','name':'f'}}",
		"{'model':'m','max_tokens':5,'messages':[],'tool_choice':{'type':'auto','disable_parallel_tool_use':false}}",
		"{'model':'m','max_tokens':5,'messages':[],'tool_choice':{'type':'new','x':1}}",
		"{'model':'m','max_tokens':5,'messages':[],'tools':[],'stop_sequences':[]}",
		"{'model':'m','max_tokens':5000,'messages':[],'thinking':{'type':'enabled','budget_tokens':2000,"
		"'display':'omitted'},'output_config':{'effort':'low','format':{'type':'json_schema','schema':{'a':1}},'x':1}}",
		"{'model':'m','max_tokens':5,'messages':[],'thinking':{'type':'adaptive','display':'summarized'},"
		"'output_config':{'format':{'type':'grammar'}}}",
		"{'model':'m','max_tokens':5,'messages':[],'thinking':{'type':'disabled'},'output_config':{'effort':'max'}}",
		"{'model':'m','max_tokens':5,'messages':[],'thinking':{'type':'between_tools','n':1},'metadata':{'user_id':'u'}}",
		"{'model':'m','max_tokens':0,'messages':[],'metadata':{'user_id':'u','x':1},'service_tier':'auto',"
		"'container':{'skills':[]},'cache_control':{'type':'ephemeral'},'temperature':0.10,'top_p':1e-1,'top_k':40,"
		"'stop_sequences':['a','\\n'],'stream':true}",
	};

	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		const char *body = quoted(state, bodies[i]);
		struct written w = translated(state, anthropic(), anthropic(), NULL, body);

		assert_int_equal(w.t.err, RL_OK);
		assert_dropped(&w, state, "");
		assert_true(json_same(w.text, rl_str_of(body)));
	}
}

static void bad_requests_are_refused(void **state)
{
	static const struct {
		const char *body, *param;
	} cases[] = {
		{"[]", NULL},
		{"{", NULL},
		{"{'model':'m','max_tokens':1}", "messages"},
		{"{'max_tokens':1,'messages':[]}", "model"},
		{"{'model':'m','messages':[]}", "max_tokens"},
		{"{'model':'m','max_tokens':-1,'messages':[]}", "max_tokens"},
		{"{'model':'m','max_tokens':1,'messages':{}}", "messages"},
		{"{'model':'m','max_tokens':1,'messages':[1]}", "messages[0]"},
		{"{'model':'m','max_tokens':1,'messages':[{'role':'tool','content':'x'}]}", "messages[0].role"},
		{"{'model':'m','max_tokens':1,'messages':[{'role':'user'}]}", "messages[0].content"},
		{"{'model':'m','max_tokens':1,'messages':[{'role':'user','content':[{'type':'text'}]}]}",
		 "messages[0].content[0]"},
		{"{'model':'m','max_tokens':1,'messages':[{'role':'user','content':[{'type':'image','source':{'type':'url'}}]}]}",
		 "messages[0].content[0].source"},
		{"{'model':'m','max_tokens':1,'messages':[{'role':'user','content':[{'type':'image'}]}]}",
		 "messages[0].content[0].source"},
		{"{'model':'m','max_tokens':1,'messages':[{'role':'user','content':[{'type':'tool_result'}]}]}",
		 "messages[0].content[0]"},
		{"{'model':'m','max_tokens':1,'messages':[],'tools':[{}]}", "tools[0]"},
		{"{'model':'m','max_tokens':1,'messages':[],'tool_choice':{'type':'tool'}}", "tool_choice"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_chat_request request;
		struct rl_fault fault = {.status = 0};
		rl_str body = rl_str_of(quoted(state, cases[i].body));

		if (anthropic()->parse_request(RL_OP_CHAT, body, *state, &request, &fault) != RL_ERR_SYNTAX)
			fail_msg("accepted: %s", cases[i].body);
		assert_int_equal(fault.status, 400);
		if (cases[i].param)
			assert_text(fault.param, cases[i].param);
	}
}

/* One case of a translation: what comes out, and what is named as dropped. */
struct case_of {
	const char *in, *out, *dropped;
};

static void check_cases(void **state, const struct rl_dialect *from, const struct rl_dialect *to,
			const struct rl_facts *facts, const struct case_of *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct written w = translated(state, from, to, facts, quoted(state, cases[i].in));

		if (w.t.err)
			fail_msg("case %zu: %.*s", i, RL_STR_ARG(w.t.fault.message));
		assert_true(json_same(w.text, rl_str_of(quoted(state, cases[i].out))));
		assert_dropped(&w, state, cases[i].dropped ? cases[i].dropped : "");
	}
}

#define CASES(cases) cases, sizeof cases / sizeof cases[0]

static void conversations_are_put_in_order(void **state)
{
	static const struct case_of cases[] = {
		{"{'model':'m','messages':[{'role':'system','content':'S'},{'role':'user','content':'Hi'}]}",
		 "{'model':'m','max_tokens':4096,'system':'S','messages':[{'role':'user','content':[{'type':'text','text':'Hi'}]}]}",
		 NULL},
		/* two kinds of instructions, instructions in the middle, turns that follow one another */
		{"{'model':'m','messages':[{'role':'system','content':'S'},{'role':'developer','content':'D'},"
		 "{'role':'user','name':'ann','content':'a'},{'role':'user','content':'b'},{'role':'system','content':'M'}]}",
		 "{'model':'m','max_tokens':4096,'system':[{'type':'text','text':'S'},{'type':'text','text':'D'}],"
		 "'messages':[{'role':'user','content':[{'type':'text','text':'a'},{'type':'text','text':'b'},"
		 "{'type':'text','text':'<system>\\nM\\n</system>'}]}]}",
		 "messages[2].name, messages[4].role"},
		{"{'model':'m','messages':[{'role':'system','content':'only'}]}",
		 "{'model':'m','max_tokens':4096,'messages':[{'role':'user','content':[{'type':'text',"
		 "'text':'<system>\\nonly\\n</system>'}]}]}",
		 "messages[0].role"},
		/* results first, and together */
		{"{'model':'m','messages':[{'role':'user','content':'q'},{'role':'assistant','content':null,'tool_calls':["
		 "{'id':'c.1','type':'function','function':{'name':'f','arguments':'{\\\"a\\\":1}'}},"
		 "{'id':'c2','type':'function','function':{'name':'g','arguments':''}}]},"
		 "{'role':'tool','tool_call_id':'c2','content':'two'},{'role':'user','content':'wait'},"
		 "{'role':'tool','tool_call_id':'c.1','content':'one'},{'role':'assistant','content':' end \\n'}]}",
		 "{'model':'m','max_tokens':4096,'messages':[{'role':'user','content':[{'type':'text','text':'q'}]},"
		 "{'role':'assistant','content':[{'type':'tool_use','id':'toolu_relais_f6db3a190db79b1f','name':'f','input':{'a':1}},"
		 "{'type':'tool_use','id':'c2','name':'g','input':{}}]},{'role':'user','content':["
		 "{'type':'tool_result','tool_use_id':'c2','content':'two'},"
		 "{'type':'tool_result','tool_use_id':'toolu_relais_f6db3a190db79b1f','content':'one'},"
		 "{'type':'text','text':'wait'}]},{'role':'assistant','content':[{'type':'text','text':' end'}]}]}",
		 NULL},
		/* a result of nothing, a call without result, arguments that are no JSON */
		{"{'model':'m','messages':[{'role':'tool','tool_call_id':'x','content':'lost'},{'role':'assistant',"
		 "'content':'','tool_calls':[{'id':'c','type':'function','function':{'name':'f','arguments':'{oops'}}]},"
		 "{'role':'user','content':'go on'}]}",
		 "{'model':'m','max_tokens':4096,'messages':[{'role':'user','content':[{'type':'text','text':"
		 "'Result of a tool:'},{'type':'text','text':'lost'}]},{'role':'assistant','content':[{'type':'tool_use',"
		 "'id':'c','name':'f','input':{'arguments':'{oops'}}]},{'role':'user','content':[{'type':'tool_result',"
		 "'tool_use_id':'c','content':'The tool gave no result.','is_error':true},{'type':'text','text':'go on'}]}]}",
		 "messages[0].tool_call_id, messages[1].content[1].arguments, messages[1].tool_calls"},
		/* empty text is an error there, a thought without a seal too */
		{"{'model':'m','messages':[{'role':'user','content':[{'type':'text','text':' '},{'type':'text','text':'x'}]},"
		 "{'role':'assistant','content':'','reasoning_content':'Hm'},{'role':'user','content':''}]}",
		 "{'model':'m','max_tokens':4096,'messages':[{'role':'user','content':[{'type':'text','text':'x'}]}]}",
		 "messages[1].reasoning"},
	};

	check_cases(state, openai(), anthropic(), NULL, CASES(cases));
}

static void media_are_translated(void **state)
{
	static const struct case_of cases[] = {
		{"{'model':'m','messages':[{'role':'user','content':["
		 "{'type':'image_url','image_url':{'url':'data:image/jpg;base64,/9j/AA==','detail':'low'}},"
		 "{'type':'image_url','image_url':{'url':'https://x.test/a.png'}},"
		 "{'type':'file','file':{'filename':'a.pdf','file_data':'data:application/pdf;base64,JVBERi0x'}},"
		 "{'type':'file','file':{'filename':'a.txt','file_data':'data:text/plain;base64,aGVsbG8='}}]}]}",
		 "{'model':'m','max_tokens':4096,'messages':[{'role':'user','content':["
		 "{'type':'image','source':{'type':'base64','media_type':'image/jpeg','data':'/9j/AA=='}},"
		 "{'type':'image','source':{'type':'url','url':'https://x.test/a.png'}},"
		 "{'type':'document','title':'a.pdf','source':{'type':'base64','media_type':'application/pdf','data':'JVBERi0x'}},"
		 "{'type':'document','title':'a.txt','source':{'type':'text','media_type':'text/plain','data':'hello'}}]}]}",
		 "messages[0].content[0].detail"},
	};

	check_cases(state, openai(), anthropic(), NULL, CASES(cases));
}

static void tools_and_forms_are_translated(void **state)
{
	static const struct case_of cases[] = {
		{"{'model':'m','messages':[],'tools':[{'type':'function','function':{'name':'f','description':'d','strict':true,"
		 "'parameters':{'type':'object','properties':{}}}},{'type':'function','function':{'name':'g'}},"
		 "{'type':'function','function':{'name':'h','strict':false,'parameters':{'properties':{'a':{}}}}}],"
		 "'tool_choice':'required','parallel_tool_calls':false}",
		 "{'model':'m','max_tokens':4096,'messages':[],'tools':[{'name':'f','description':'d','strict':true,"
		 "'input_schema':{'type':'object','properties':{}}},{'name':'g','input_schema':{'type':'object',"
		 "'properties':{}}},{'name':'h','input_schema':{'type':'object','properties':{'a':{}}}}],"
		 "'tool_choice':{'type':'any','disable_parallel_tool_use':true}}",
		 NULL},
		{"{'model':'m','messages':[],'tools':[{'type':'function','function':{'name':'f'}},{'type':'function',"
		 "'function':{'name':'g'}}],'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'required','tools':["
		 "{'type':'function','function':{'name':'g'}}]}}}",
		 "{'model':'m','max_tokens':4096,'messages':[],'tools':[{'name':'g','input_schema':{'type':'object',"
		 "'properties':{}}}],'tool_choice':{'type':'any'}}",
		 NULL},
		{"{'model':'m','messages':[],'tools':[],'tool_choice':'auto','parallel_tool_calls':false}",
		 "{'model':'m','max_tokens':4096,'messages':[]}", NULL},
		{"{'model':'m','messages':[],'response_format':{'type':'json_schema','json_schema':{'name':'n',"
		 "'description':'d','schema':{'type':'object'}}}}",
		 "{'model':'m','max_tokens':4096,'messages':[],'output_config':{'format':{'type':'json_schema',"
		 "'schema':{'type':'object'}}}}",
		 "response_format.json_schema.description"},
		{"{'model':'m','messages':[],'response_format':{'type':'json_object'}}",
		 "{'model':'m','max_tokens':4096,'system':[{'type':'text','text':'Answer with one JSON object and nothing else: "
		 "no text around it, no code fence.'}],'messages':[]}",
		 "response_format"},
	};

	check_cases(state, openai(), anthropic(), NULL, CASES(cases));
}

static void sampling_is_translated(void **state)
{
	static const struct case_of cases[] = {
		{"{'model':'m','messages':[],'max_tokens':9,'max_completion_tokens':7,'temperature':1.5,'stop':['a',' '],"
		 "'seed':1,'frequency_penalty':1,'presence_penalty':1,'logprobs':true,'top_logprobs':2,'user':'u','n':1,"
		 "'logit_bias':{'5':1},'stream':true,'stream_options':{'include_usage':true}}",
		 "{'model':'m','max_tokens':7,'messages':[],'temperature':1,'stop_sequences':['a'],'metadata':{'user_id':'u'},"
		 "'stream':true}",
		 "temperature, stop[1], seed, frequency_penalty, presence_penalty, logprobs, top_logprobs, logit_bias"},
		{"{'model':'m','messages':[],'top_p':0.5,'top_k':5}",
		 "{'model':'m','max_tokens':4096,'messages':[],'top_p':0.5,'top_k':5}", NULL},
		{"{'model':'m','messages':[],'temperature':0.20,'top_p':0.5}",
		 "{'model':'m','max_tokens':4096,'messages':[],'temperature':0.20}", "top_p"},
	};
	static const struct case_of newer[] = {
		{"{'model':'m','messages':[],'temperature':1,'top_k':5}", "{'model':'m','max_tokens':77,'messages':[]}",
		 "temperature, top_k"},
	};
	static const struct rl_facts facts = {.version = RL_STR_INIT("2026-10-21"), .default_max_tokens = 77};
	static const struct rl_facts plain = {.quirks = 1u << RL_QUIRK_NO_SAMPLING, .max_output_tokens = 77};

	check_cases(state, openai(), anthropic(), NULL, CASES(cases));
	check_cases(state, openai(), anthropic(), &facts, CASES(newer));
	check_cases(state, openai(), anthropic(), &plain, CASES(newer));
}

static void reasoning_is_translated(void **state)
{
	static const struct case_of adaptive[] = {
		{"{'model':'m','messages':[],'reasoning_effort':'high','temperature':0.5}",
		 "{'model':'m','max_tokens':4096,'messages':[],'thinking':{'type':'adaptive'},'output_config':{'effort':'high'}}",
		 "temperature"},
		{"{'model':'m','messages':[],'reasoning_effort':'minimal'}",
		 "{'model':'m','max_tokens':4096,'messages':[],'thinking':{'type':'adaptive'},'output_config':{'effort':'low'}}",
		 NULL},
		{"{'model':'m','messages':[],'reasoning_effort':'none'}",
		 "{'model':'m','max_tokens':4096,'messages':[],'thinking':{'type':'disabled'}}", NULL},
		{"{'model':'m','messages':[],'reasoning_effort':'strange'}",
		 "{'model':'m','max_tokens':4096,'messages':[]}", "reasoning_effort"},
		{"{'model':'m','messages':[],'reasoning_effort':'low','tools':[{'type':'function','function':{'name':'f'}}],"
		 "'tool_choice':{'type':'function','function':{'name':'f'}}}",
		 "{'model':'m','max_tokens':4096,'messages':[],'tools':[{'name':'f','input_schema':{'type':'object',"
		 "'properties':{}}}],'tool_choice':{'type':'tool','name':'f'}}",
		 "reasoning_effort"},
	};
	static const struct case_of budgets[] = {
		{"{'model':'m','messages':[],'reasoning_effort':'medium'}",
		 "{'model':'m','max_tokens':8192,'messages':[],'thinking':{'type':'enabled','budget_tokens':4096}}",
		 NULL},
		{"{'model':'m','messages':[],'reasoning_effort':'low','max_tokens':1024}",
		 "{'model':'m','max_tokens':1024,'messages':[]}", "reasoning_effort"},
		{"{'model':'m','messages':[],'reasoning_effort':'high','max_tokens':4000}",
		 "{'model':'m','max_tokens':4000,'messages':[],'thinking':{'type':'enabled','budget_tokens':3000}}",
		 NULL},
		/* in the middle of a loop of calls whose thoughts the client did not keep */
		{"{'model':'m','reasoning_effort':'high','messages':[{'role':'assistant','content':null,'tool_calls':["
		 "{'id':'c','type':'function','function':{'name':'f','arguments':'{}'}}]},{'role':'tool','tool_call_id':'c',"
		 "'content':'1'}]}",
		 "{'model':'m','max_tokens':4096,'messages':[{'role':'assistant','content':[{'type':'tool_use','id':'c',"
		 "'name':'f','input':{}}]},{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':'1'}]}]}",
		 "reasoning_effort"},
	};
	static const struct case_of own[] = {
		{"{'model':'m','max_tokens':8000,'messages':[],'thinking':{'type':'adaptive'}}",
		 "{'model':'m','max_tokens':8000,'messages':[],'thinking':{'type':'enabled','budget_tokens':4096}}",
		 NULL},
	};
	static const struct rl_facts older = {.quirks = 1u << RL_QUIRK_NO_ADAPTIVE_THINKING};

	check_cases(state, openai(), anthropic(), NULL, CASES(adaptive));
	check_cases(state, openai(), anthropic(), &older, CASES(budgets));
	check_cases(state, anthropic(), anthropic(), &older, CASES(own));
}

static void what_cannot_be_said_is_refused(void **state)
{
	static const struct {
		const char *body, *param;
	} cases[] = {
		{"{'model':'m','messages':[],'n':2}", "n"},
		{"{'model':'m','messages':[],'tools':[{'type':'custom','custom':{'name':'c'}}]}", "tools[0]"},
		{"{'model':'m','messages':[],'tools':[{'type':'web_search'}]}", "tools[0]"},
		{"{'model':'m','messages':[],'tools':[{'type':'function','function':{'name':'a.b'}}]}", "tools[0]"},
		{"{'model':'m','messages':[],'tool_choice':{'type':'mcp'}}", "tool_choice"},
		{"{'model':'m','messages':[],'response_format':{'type':'grammar'}}", "response_format"},
		{"{'model':'m','messages':[{'role':'user','content':[{'type':'input_audio','input_audio':{'data':'x',"
		 "'format':'wav'}}]}]}",
		 "messages[0].content[0]"},
		{"{'model':'m','messages':[{'role':'user','content':[{'type':'file','file':{'file_id':'f'}}]}]}",
		 "messages[0].content[0]"},
		{"{'model':'m','messages':[{'role':'user','content':[{'type':'image_url','image_url':{'url':"
		 "'data:image/bmp;base64,Qk0='}}]}]}",
		 "messages[0].content[0]"},
		{"{'model':'m','messages':[{'role':'user','content':[{'type':'video_url','video_url':{}}]}]}",
		 "messages[0].content[0]"},
	};
	static const struct rl_facts no_schema = {.quirks = 1u << RL_QUIRK_NO_SCHEMA};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct written w = translated(state, openai(), anthropic(), NULL, quoted(state, cases[i].body));

		assert_int_equal(w.t.err, RL_ERR_UNSUPPORTED);
		assert_text(w.t.fault.param, cases[i].param);
		assert_true(w.t.fault.message.n > 0);
	}
	struct written w =
		translated(state, openai(), anthropic(), &no_schema,
			   quoted(state, "{'model':'m','messages':[],'response_format':{'type':'json_schema',"
					 "'json_schema':{'name':'n','schema':{'type':'object'}}}}"));

	assert_int_equal(w.t.err, RL_ERR_UNSUPPORTED);
}

/* Only what this family sealed comes back to it, byte by byte; what a stranger sealed is named and left out. */
static void seals_stay_in_the_family(void **state)
{
	struct rl_part parts[] = {
		{.kind = RL_PART_REASONING,
		 .reasoning = {.text = RL_STR("a"), .signature = RL_STR("sig+/="), .family = RL_STR("anthropic")}},
		{.kind = RL_PART_REASONING, .reasoning = {.redacted = RL_STR("r=="), .family = RL_STR("anthropic")}},
		{.kind = RL_PART_REASONING,
		 .reasoning = {.text = RL_STR("b"), .signature = RL_STR("x"), .family = RL_STR("gemini")}},
	};
	struct rl_message message = {.role = RL_ROLE_ASSISTANT, .parts = parts, .n_parts = 3};
	struct rl_chat_request request;
	struct rl_choice choice = {.message = message, .finish = RL_FINISH_STOP};
	struct rl_chat_response response = {.dialect = RL_STR("gemini"),
					    .id = RL_STR("i"),
					    .model = RL_STR("m"),
					    .choices = &choice,
					    .n_choices = 1};
	struct rl_translation *t = plain_reader(*state);
	struct rl_buf out;

	rl_chat_request_init(&request);
	request.dialect = RL_STR("gemini");
	request.model = RL_STR("m");
	request.messages = &message;
	request.n_messages = 1;
	rl_buf_init(&out, 1 << 20);
	anthropic()->write_request(RL_OP_CHAT, &request, t, &out);
	assert_int_equal(t->err, RL_OK);
	assert_true(text_has(rl_buf_str(&out), "{\"type\":\"thinking\",\"thinking\":\"a\",\"signature\":\"sig+/=\"},"
					       "{\"type\":\"redacted_thinking\",\"data\":\"r==\"}]"));
	assert_text(rl_dropped_text(t, *state), "messages[0].reasoning");
	/* To a client a foreign seal goes with its family's name, and comes back with it. */
	rl_buf_reset(&out);
	anthropic()->write_response(RL_OP_CHAT, &response, plain_reader(*state), &out);
	assert_true(text_has(rl_buf_str(&out), "\"signature\":\"relais.gemini.x\""));
	rl_buf_fini(&out);
	request = request_of(state, anthropic(),
			     quoted(state, "{'model':'m','max_tokens':1,'messages':[{'role':'assistant','content':["
					   "{'type':'thinking','thinking':'','signature':'relais.gemini.x'},"
					   "{'type':'redacted_thinking','data':'relais.openai.y'}]}]}"));
	assert_text(request.messages[0].parts[0].reasoning.family, "gemini");
	assert_text(request.messages[0].parts[0].reasoning.signature, "x");
	assert_text(request.messages[0].parts[1].reasoning.family, "openai");
	assert_text(request.messages[0].parts[1].reasoning.redacted, "y");
}

static void requests_reach_a_stranger(void **state)
{
	struct written w = translated(
		state, anthropic(), openai(), NULL,
		quoted(state,
		       "{'model':'m','max_tokens':5,'system':'S','messages':[{'role':'user','content':'q'},"
		       "{'role':'assistant','content':[{'type':'text','text':'t'},{'type':'tool_use','id':'c','name':'f',"
		       "'input':{'a':1}}]},{'role':'user','content':[{'type':'tool_result','tool_use_id':'c',"
		       "'content':'1'},{'type':'text','text':'and?'}]}],'tools':[{'name':'f','input_schema':{'type':"
		       "'object'}}],'tool_choice':{'type':'any','disable_parallel_tool_use':true},"
		       "'stop_sequences':['x','y'],'temperature':0.5,'metadata':{'user_id':'u'}}"));

	assert_int_equal(w.t.err, RL_OK);
	assert_true(text_has(w.text, "\"role\":\"system\""));
	assert_true(text_has(w.text, "\"tool_call_id\":\"c\""));
	assert_true(text_has(w.text, "\"arguments\":\"{\\\"a\\\":1}\""));
	assert_true(text_has(w.text, "\"tool_choice\":\"required\""));
	assert_true(text_has(w.text, "\"parallel_tool_calls\":false"));
	assert_true(text_has(w.text, "\"stop\":[\"x\",\"y\"]"));
	assert_true(text_has(w.text, "\"user\":\"u\""));
}

/* As many calls as are matched, and more: what is beyond passes as it is. */
static void long_turns_are_written(void **state)
{
	struct rl_buf body;

	rl_buf_init(&body, 1 << 20);
	RL_BUF_LIT(&body, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[");
	for (unsigned i = 0; i < 300; i++)
		rl_buf_printf(
			&body,
			"%s{\"id\":\"c%u\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}",
			i ? "," : "", i);
	RL_BUF_LIT(&body, "]}");
	for (unsigned i = 300; i-- > 0;)
		rl_buf_printf(&body, ",{\"role\":\"tool\",\"tool_call_id\":\"c%u\",\"content\":\"r%u\"}", i, i);
	RL_BUF_LIT(&body, "]}");
	rl_buf_byte(&body, 0);
	struct written w = translated(state, openai(), anthropic(), NULL, body.p);

	rl_buf_fini(&body);
	assert_int_equal(w.t.err, RL_OK);
	assert_true(text_has(w.text, "{\"type\":\"tool_result\",\"tool_use_id\":\"c299\",\"content\":\"r299\"}"));
	assert_true(text_has(w.text, "{\"type\":\"tool_result\",\"tool_use_id\":\"c0\",\"content\":\"r0\"}"));
	assert_false(text_has(w.text, "no result"));
}

static void tokens_are_counted(void **state)
{
	const char *body = quoted(state, "{'model':'m','system':'S','messages':[{'role':'user','content':'q'}]}");
	struct rl_chat_request request;
	struct rl_chat_response response;
	struct rl_fault fault;
	struct rl_buf out;

	assert_text(anthropic()->path(RL_OP_COUNT_TOKENS), "/messages/count_tokens");
	assert_int_equal(anthropic()->parse_request(RL_OP_COUNT_TOKENS, rl_str_of(body), *state, &request, &fault),
			 RL_OK);
	rl_buf_init(&out, 1 << 16);
	anthropic()->write_request(RL_OP_COUNT_TOKENS, &request, plain_reader(*state), &out);
	assert_true(json_same(rl_buf_str(&out), rl_str_of(body)));
	assert_int_equal(anthropic()->parse_response(RL_OP_COUNT_TOKENS, RL_STR("{\"input_tokens\":17}"), *state,
						     &response),
			 RL_OK);
	assert_int_equal(response.usage.prompt_tokens, 17);
	rl_buf_reset(&out);
	anthropic()->write_response(RL_OP_COUNT_TOKENS, &response, plain_reader(*state), &out);
	assert_text(rl_buf_str(&out), "{\"input_tokens\":17}");
	rl_buf_fini(&out);
	assert_int_equal(anthropic()->parse_response(RL_OP_COUNT_TOKENS, RL_STR("{}"), *state, &response),
			 RL_ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(requests_go_round),
		arena_test(bad_requests_are_refused),
		arena_test(conversations_are_put_in_order),
		arena_test(media_are_translated),
		arena_test(tools_and_forms_are_translated),
		arena_test(sampling_is_translated),
		arena_test(reasoning_is_translated),
		arena_test(what_cannot_be_said_is_refused),
		arena_test(seals_stay_in_the_family),
		arena_test(requests_reach_a_stranger),
		arena_test(long_turns_are_written),
		arena_test(tokens_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
