/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to Anthropic requests. What this dialect read itself is written as it stood; a
 * message of another dialect is brought into the order that this API wants, and
 * whatever of it has no place here is dropped by name or refused.
 */
#include "anthropic/anthropic_write_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What the documentation and other clients use where nobody knows better. */
#define MAX_TOKENS_DEFAULT 4096
/* The least budget of thoughts. */
#define BUDGET_MIN 1024

/* --- messages of this dialect: as they stood --- */

static void write_content(struct rl_anthropic_writer *w, const struct rl_message *message, size_t index)
{
	if (rl_anthropic_is_plain_text(w, message->parts, message->n_parts)) {
		rl_build_text(w->out, "content", message->parts[0].text);
		return;
	}
	RL_BUF_LIT(w->out, ",\"content\":[");
	for (size_t i = 0; i < message->n_parts; i++) {
		struct rl_anthropic_place place = rl_anthropic_part_place(index, i);
		rl_anthropic_write_part(w, place, &message->parts[i], index, i);
	}
	RL_BUF_LIT(w->out, "]");
}

static void write_own_message(struct rl_anthropic_writer *w, const struct rl_message *message, size_t index)
{
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "role", rl_str_of(rl_role_name(message->role)));
	write_content(w, message, index);
	rl_build_extras(w->out, message->extras);
	RL_BUF_LIT(w->out, "}");
}

/* --- messages of other dialects: brought into this one's order --- */

static void remember_call(struct rl_anthropic_writer *w, const struct rl_tool_call *call, size_t message, size_t part)
{
	if (call->kind != RL_TOOL_KIND_HOSTED && w->n_calls < RL_ANTHROPIC_CALLS_MAX)
		w->calls[w->n_calls++] = (struct rl_anthropic_call){call->id, call->name, message, part, false};
}

/* The call that a result answers; results come in the order of the calls mostly, so the first open one is tried first. */
static struct rl_anthropic_call *find_call(struct rl_anthropic_writer *w, const struct rl_tool_result *result)
{
	for (size_t i = 0; i < w->n_calls; i++) {
		struct rl_anthropic_call *call = &w->calls[i];
		bool same = result->call_id.n ? rl_str_eq(call->id, result->call_id)
					      : !result->name.n || rl_str_eq(call->name, result->name);

		if (!call->answered && same)
			return call;
	}
	return NULL;
}

/* A result of a call that is not in the turn before: the API refuses it, so it is told as text. */
static void write_orphan(struct rl_anthropic_writer *w, struct rl_anthropic_place place, const struct rl_part *part)
{
	const struct rl_tool_result *result = &part->result;

	rl_drop(w->t, "messages[%zu].tool_call_id", place.index);
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{\"type\":\"text\",\"text\":\"Result of a tool");
	if (result->name.n) {
		RL_BUF_LIT(w->out, " (");
		rl_anthropic_add_inside(w->out, result->name);
		RL_BUF_LIT(w->out, ")");
	}
	RL_BUF_LIT(w->out, ":\"}");
	for (size_t i = 0; i < result->n_parts; i++)
		rl_anthropic_write_part(w, place, &result->parts[i], 0, i);
}

/* Calls that nobody answered: the API refuses them, so it is said that there was no answer. */
static void answer_the_rest(struct rl_anthropic_writer *w)
{
	for (size_t i = 0; i < w->n_calls; i++) {
		const struct rl_anthropic_call *call = &w->calls[i];

		if (call->answered)
			continue;
		rl_build_comma(w->out);
		RL_BUF_LIT(w->out, "{\"type\":\"tool_result\"");
		rl_anthropic_write_id(w->out, "tool_use_id", call->id, call->message, call->part);
		RL_BUF_LIT(w->out, ",\"content\":\"The tool gave no result.\",\"is_error\":true}");
		rl_drop(w->t, "messages[%zu].tool_calls", call->message);
	}
}

static bool is_system(const struct rl_message *message)
{
	return message->role == RL_ROLE_SYSTEM || message->role == RL_ROLE_DEVELOPER;
}

static void drop_message_members(struct rl_anthropic_writer *w, const struct rl_message *message, size_t index)
{
	struct rl_anthropic_place place = {AT_MESSAGE, index, 0};

	if (message->name.n)
		rl_drop(w->t, "messages[%zu].name", index);
	rl_anthropic_drop_extras(w, place, message->extras);
}

/* The results of a run of user's messages, first of all in it. */
static void write_results(struct rl_anthropic_writer *w, size_t from, size_t to)
{
	for (size_t m = from; m < to; m++) {
		const struct rl_message *message = &w->request->messages[m];

		for (size_t i = 0; i < message->n_parts; i++) {
			const struct rl_part *part = &message->parts[i];
			struct rl_anthropic_place place = rl_anthropic_part_place(m, i);
			struct rl_anthropic_call *call;

			if (part->kind != RL_PART_TOOL_RESULT)
				continue;
			call = find_call(w, &part->result);
			if (!call && w->n_calls < RL_ANTHROPIC_CALLS_MAX)
				continue; /* told as text where it stands */
			if (call)
				call->answered = true;
			rl_anthropic_write_result(w, place, part, call);
		}
	}
	if (w->n_calls < RL_ANTHROPIC_CALLS_MAX)
		answer_the_rest(w);
}

/* Instructions in the middle: there is no such role, so the user's turn carries them, marked. */
static void write_instructions(struct rl_anthropic_writer *w, const struct rl_message *message, size_t index)
{
	rl_drop(w->t, "messages[%zu].role", index);
	for (size_t i = 0; i < message->n_parts; i++) {
		struct rl_anthropic_place place = rl_anthropic_part_place(index, i);
		const struct rl_part *part = &message->parts[i];

		if (part->kind != RL_PART_TEXT) {
			rl_anthropic_write_part(w, place, part, index, i);
			continue;
		}
		if (rl_anthropic_is_blank(part->text))
			continue;
		rl_build_comma(w->out);
		RL_BUF_LIT(w->out, "{\"type\":\"text\",\"text\":\"<system>\\n");
		rl_anthropic_add_inside(w->out, part->text);
		RL_BUF_LIT(w->out, "\\n</system>\"");
		rl_anthropic_write_cache(w, place, &part->cache);
		RL_BUF_LIT(w->out, "}");
	}
}

/* Whether a result was left for the text because it answers no call of the turn before. */
static bool is_orphan(const struct rl_anthropic_writer *w, const struct rl_part *part)
{
	if (w->n_calls == RL_ANTHROPIC_CALLS_MAX)
		return false;
	for (size_t i = 0; i < w->n_calls; i++)
		if (!part->result.call_id.n || rl_str_eq(w->calls[i].id, part->result.call_id))
			return false;
	return true;
}

static void write_user_parts(struct rl_anthropic_writer *w, const struct rl_message *message, size_t index)
{
	if (is_system(message)) {
		write_instructions(w, message, index);
		return;
	}
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];
		struct rl_anthropic_place place = rl_anthropic_part_place(index, i);

		if (part->kind != RL_PART_TOOL_RESULT)
			rl_anthropic_write_part(w, place, part, index, i);
		else if (is_orphan(w, part))
			write_orphan(w, place, part);
	}
}

/* The last turn of an assistant is what the model goes on with, and may not end in white space. */
static struct rl_part without_tail(const struct rl_part *part)
{
	struct rl_part trimmed = *part;

	while (trimmed.text.n && rl_anthropic_is_blank(rl_str_sub(trimmed.text, trimmed.text.n - 1, 1)))
		trimmed.text.n--;
	return trimmed;
}

static void write_assistant_parts(struct rl_anthropic_writer *w, const struct rl_message *message, size_t index)
{
	bool last = index + 1 == w->request->n_messages;

	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];
		struct rl_anthropic_place place = rl_anthropic_part_place(index, i);
		struct rl_part trimmed;

		if (part->kind == RL_PART_TOOL_CALL)
			remember_call(w, &part->call, index, i);
		if (last && i + 1 == message->n_parts && part->kind == RL_PART_TEXT) {
			trimmed = without_tail(part);
			part = &trimmed;
		}
		rl_anthropic_write_part(w, place, part, index, i);
	}
}

/* One turn of ours from a run of messages on the same side. A turn without blocks is taken back. */
static void write_turn(struct rl_anthropic_writer *w, size_t from, size_t to, bool assistant)
{
	struct rl_buf *out = w->out;
	size_t before = out->n;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "role", assistant ? RL_STR("assistant") : RL_STR("user"));
	RL_BUF_LIT(out, ",\"content\":[");
	size_t empty = out->n;

	if (assistant)
		w->n_calls = 0;
	else
		write_results(w, from, to);
	for (size_t m = from; m < to; m++) {
		const struct rl_message *message = &w->request->messages[m];

		drop_message_members(w, message, m);
		if (assistant)
			write_assistant_parts(w, message, m);
		else
			write_user_parts(w, message, m);
	}
	if (!assistant)
		w->n_calls = 0;
	if (out->n == empty)
		out->n = before;
	else
		RL_BUF_LIT(out, "]}");
}

static void write_foreign_messages(struct rl_anthropic_writer *w, size_t first)
{
	const struct rl_chat_request *request = w->request;

	for (size_t from = first, to; from < request->n_messages; from = to) {
		bool assistant = request->messages[from].role == RL_ROLE_ASSISTANT;

		for (to = from + 1; to < request->n_messages; to++)
			if ((request->messages[to].role == RL_ROLE_ASSISTANT) != assistant)
				break;
		write_turn(w, from, to, assistant);
	}
}

/* --- system --- */

/* How many messages stand before the conversation. One without any other is the conversation itself. */
static size_t count_leading(const struct rl_anthropic_writer *w)
{
	const struct rl_chat_request *request = w->request;
	size_t n = 0;

	while (n < request->n_messages && is_system(&request->messages[n]))
		n++;
	return n && n == request->n_messages && !w->ours ? n - 1 : n;
}

#define JSON_INSTRUCTION "Answer with one JSON object and nothing else: no text around it, no code fence."

static void write_system(struct rl_anthropic_writer *w, size_t leading)
{
	const struct rl_chat_request *request = w->request;
	bool json = request->format.kind == RL_FORMAT_JSON;
	struct rl_buf *out = w->out;
	size_t before = out->n;

	if (!leading && !json)
		return;
	if (leading == 1 && !json &&
	    rl_anthropic_is_plain_text(w, request->messages[0].parts, request->messages[0].n_parts) &&
	    (w->ours || !rl_anthropic_is_blank(request->messages[0].parts[0].text))) {
		rl_build_text(out, "system", request->messages[0].parts[0].text);
		if (!w->ours) {
			drop_message_members(w, &request->messages[0], 0);
			rl_drop_extras(w->t, "messages[0].content[0]", request->messages[0].parts[0].extras);
		}
		return;
	}
	rl_build_key(out, "system");
	RL_BUF_LIT(out, "[");
	size_t empty = out->n;

	for (size_t m = 0; m < leading; m++) {
		const struct rl_message *message = &request->messages[m];

		if (!w->ours)
			drop_message_members(w, message, m);
		for (size_t i = 0; i < message->n_parts; i++) {
			struct rl_anthropic_place place = rl_anthropic_part_place(m, i);
			rl_anthropic_write_part(w, place, &message->parts[i], m, i);
		}
	}
	if (json) {
		/* There is no such mode here: asking for it is the nearest. */
		rl_drop(w->t, "response_format");
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"type\":\"text\",\"text\":\"" JSON_INSTRUCTION "\"}");
	}
	if (out->n == empty && !w->ours)
		out->n = before;
	else
		RL_BUF_LIT(out, "]");
}

/* --- tools --- */

/* The choice may allow only some of the tools, which this API has no word for: the others are not offered. */
static bool is_allowed(const struct rl_tool_choice *choice, rl_str name)
{
	if ((choice->mode != RL_TOOL_CHOICE_AUTO && choice->mode != RL_TOOL_CHOICE_REQUIRED) || !choice->n_names)
		return true;
	for (size_t i = 0; i < choice->n_names; i++)
		if (rl_str_eq(choice->names[i], name))
			return true;
	return false;
}

/* The API wants an object at the top of every schema, and says so in `type`. */
static void write_schema(const struct rl_anthropic_writer *w, rl_str schema)
{
	static const rl_str key = RL_STR_INIT("type");
	struct rl_json_span type;
	struct rl_json_iter iter;
	rl_str name, value;

	rl_build_key(w->out, "input_schema");
	rl_json_iter_object(&iter, schema);
	bool some = rl_json_iter_member(&iter, &name, &value);

	if (w->ours && schema.n) {
		rl_buf_add(w->out, schema);
		return;
	}
	if (!some) {
		RL_BUF_LIT(w->out, "{\"type\":\"object\",\"properties\":{}}");
		return;
	}
	rl_json_find(schema, &key, 1, &type);
	if (type.type != RL_JSON_NONE) {
		rl_buf_add(w->out, schema);
		return;
	}
	RL_BUF_LIT(w->out, "{\"type\":\"object\",");
	rl_buf_add(w->out, rl_str_sub(schema, rl_str_find(schema, '{') + 1, SIZE_MAX));
}

static void write_tool(struct rl_anthropic_writer *w, const struct rl_tool *tool, size_t index)
{
	struct rl_anthropic_place place = {AT_TOOL, index, 0};

	if (tool->kind == RL_TOOL_KIND_HOSTED && w->ours) {
		rl_build_comma(w->out);
		rl_buf_add(w->out, tool->json);
		return;
	}
	if (tool->kind == RL_TOOL_KIND_HOSTED || tool->kind == RL_TOOL_KIND_CUSTOM) {
		rl_anthropic_refuse(w, place,
				    tool->kind == RL_TOOL_KIND_CUSTOM ? "a tool that takes free text"
								      : "a tool that runs at another provider");
		return;
	}
	if (!w->ours && (!rl_anthropic_is_id(tool->name) || tool->name.n > 128)) {
		rl_anthropic_refuse(w, place, "a tool whose name is not 1 to 128 letters, digits, '_' and '-'");
		return;
	}
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "name", tool->name);
	if (tool->description.p)
		rl_build_text(w->out, "description", tool->description);
	write_schema(w, tool->schema);
	if (tool->strict == RL_YES || (w->ours && tool->strict))
		rl_build_raw(w->out, "strict", tool->strict == RL_YES ? RL_STR("true") : RL_STR("false"));
	rl_anthropic_write_cache(w, place, &tool->cache);
	rl_anthropic_extras(w, place, tool->extras);
	rl_anthropic_extras(w, place, tool->inner);
	RL_BUF_LIT(w->out, "}");
}

/* Whether there are tools in what was written. */
static bool write_tools(struct rl_anthropic_writer *w)
{
	const struct rl_chat_request *request = w->request;
	size_t before = w->out->n;

	if (!request->tools || (!request->n_tools && !w->ours))
		return false;
	rl_build_key(w->out, "tools");
	RL_BUF_LIT(w->out, "[");
	size_t empty = w->out->n;

	for (size_t i = 0; i < request->n_tools; i++)
		if (is_allowed(&request->tool_choice, request->tools[i].name))
			write_tool(w, &request->tools[i], i);
	if (w->out->n == empty && !w->ours) {
		w->out->n = before;
		return false;
	}
	RL_BUF_LIT(w->out, "]");
	return true;
}

static void write_tool_choice(struct rl_anthropic_writer *w, bool tools)
{
	static const rl_str words[] = {
		[RL_TOOL_CHOICE_UNSAID] = RL_STR_INIT("auto"), [RL_TOOL_CHOICE_NONE] = RL_STR_INIT("none"),
		[RL_TOOL_CHOICE_AUTO] = RL_STR_INIT("auto"),   [RL_TOOL_CHOICE_REQUIRED] = RL_STR_INIT("any"),
		[RL_TOOL_CHOICE_NAMED] = RL_STR_INIT("tool"),
	};
	const struct rl_chat_request *request = w->request;
	const struct rl_tool_choice *choice = &request->tool_choice;
	enum rl_choice3 parallel = request->parallel_tool_calls;

	if (choice->mode == RL_TOOL_CHOICE_RAW) {
		if (w->ours)
			rl_build_raw(w->out, "tool_choice", choice->json);
		else
			rl_anthropic_refuse_named(w, "tool_choice", "a choice that only its own API has");
		return;
	}
	if (parallel == RL_YES && !w->ours)
		parallel = RL_UNSAID; /* as it is anyway */
	if ((!tools && !w->ours) || (choice->mode == RL_TOOL_CHOICE_UNSAID && !parallel))
		return;
	rl_build_key(w->out, "tool_choice");
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "type", words[choice->mode]);
	if (choice->mode == RL_TOOL_CHOICE_NAMED)
		rl_build_text(w->out, "name", choice->names[0]);
	if (parallel && (w->ours || choice->mode != RL_TOOL_CHOICE_NONE))
		rl_build_raw(w->out, "disable_parallel_tool_use", parallel == RL_NO ? RL_STR("true") : RL_STR("false"));
	RL_BUF_LIT(w->out, "}");
}

/* --- thinking and limits --- */

struct thinking {
	enum { THINK_UNSAID, THINK_DISABLED, THINK_ENABLED, THINK_ADAPTIVE } mode;
	int64_t budget; /* ENABLED */
	rl_str effort;  /* in this API's words, or empty */
	int64_t max_tokens;
};

/* What the efforts of all dialects mean here: a word, and a budget where only budgets exist (a convention). */
static const struct {
	rl_str effort, word;
	int64_t budget;
} efforts[] = {
	{RL_STR_INIT("minimal"), RL_STR_INIT("low"), 1024},   {RL_STR_INIT("low"), RL_STR_INIT("low"), 1024},
	{RL_STR_INIT("medium"), RL_STR_INIT("medium"), 4096}, {RL_STR_INIT("high"), RL_STR_INIT("high"), 16384},
	{RL_STR_INIT("xhigh"), RL_STR_INIT("xhigh"), 32768},  {RL_STR_INIT("max"), RL_STR_INIT("max"), 65536},
};
#define N_EFFORTS (sizeof efforts / sizeof efforts[0])

static size_t effort_of(rl_str word)
{
	size_t i = 0;

	while (i < N_EFFORTS && !rl_str_eq(word, efforts[i].effort))
		i++;
	return i;
}

/* The strongest effort whose budget is not above this one. */
static size_t effort_of_budget(int64_t budget)
{
	size_t i = N_EFFORTS;

	while (i > 2 && efforts[i - 1].budget > budget)
		i--;
	return i - 1;
}

/* The client's limit on thoughts and answer together; RL_UNSET: it gave none. */
static int64_t asked_limit(const struct rl_chat_request *request)
{
	int64_t a = request->max_tokens, b = request->max_completion_tokens;

	if (a == RL_UNSET || b == RL_UNSET)
		return a == RL_UNSET ? b : a;
	return a < b ? a : b;
}

static int64_t usual_limit(const struct rl_facts *facts)
{
	if (facts->default_max_tokens > 0)
		return facts->default_max_tokens;
	return facts->max_output_tokens > 0 ? facts->max_output_tokens : MAX_TOKENS_DEFAULT;
}

/*
 * With a budget the API wants every turn of a tool loop to begin with a sealed thought; one that came from a client
 * that does not keep them has none.
 */
static bool loop_without_thoughts(const struct rl_chat_request *request)
{
	size_t i = request->n_messages;
	bool call = false;

	while (i && request->messages[i - 1].role != RL_ROLE_ASSISTANT) {
		const struct rl_message *message = &request->messages[--i];

		if (message->n_parts && message->parts[0].kind != RL_PART_TOOL_RESULT)
			return false;
	}
	if (!i)
		return false;
	const struct rl_message *message = &request->messages[i - 1];

	for (size_t k = 0; k < message->n_parts; k++) {
		if (message->parts[k].kind == RL_PART_REASONING &&
		    rl_anthropic_is_sealed_here(&message->parts[k].reasoning))
			return false;
		call |= message->parts[k].kind == RL_PART_TOOL_CALL;
	}
	return call;
}

static bool is_forced(const struct rl_chat_request *request)
{
	return request->tool_choice.mode == RL_TOOL_CHOICE_REQUIRED ||
	       request->tool_choice.mode == RL_TOOL_CHOICE_NAMED;
}

/* How much a client of another dialect wants, as an index of `efforts`. */
static size_t wanted_effort(const struct rl_chat_request *request)
{
	size_t i = effort_of(request->effort);

	if (i < N_EFFORTS)
		return i;
	return request->reasoning_budget > 0 ? effort_of_budget(request->reasoning_budget)
					     : effort_of(RL_STR("medium"));
}

static void drop_thinking(struct rl_anthropic_writer *w, struct thinking *out)
{
	rl_drop(w->t, w->request->effort.n ? "reasoning_effort" : "reasoning");
	out->mode = THINK_UNSAID;
	out->effort = rl_str_make(NULL, 0);
}

/* A budget fits between the least one and the limit, and leaves a quarter of it for the answer; false: no room. */
static bool fit_budget(struct rl_anthropic_writer *w, struct thinking *out, int64_t budget)
{
	int64_t most = w->t->facts->max_output_tokens, asked = asked_limit(w->request);

	budget = budget < BUDGET_MIN ? BUDGET_MIN : budget;
	if (asked == RL_UNSET) {
		out->max_tokens = usual_limit(w->t->facts);
		if (out->max_tokens <= budget + budget / 4)
			out->max_tokens = budget + MAX_TOKENS_DEFAULT;
		if (most > 0 && out->max_tokens > most)
			out->max_tokens = most;
	}
	if (budget >= out->max_tokens)
		budget = out->max_tokens - out->max_tokens / 4;
	out->budget = budget;
	return budget >= BUDGET_MIN && budget < out->max_tokens;
}

static bool wants_thinking(const struct rl_chat_request *request)
{
	return request->reasoning == RL_YES || request->reasoning_budget > 0 ||
	       request->reasoning_budget == RL_BUDGET_AUTO || effort_of(request->effort) < N_EFFORTS;
}

/* What another dialect's words come to here (DIALECTS §2.6). */
static void plan_foreign_thinking(struct rl_anthropic_writer *w, struct thinking *out)
{
	const struct rl_chat_request *request = w->request;
	bool budgets = rl_facts_quirk(w->t->facts, RL_QUIRK_NO_ADAPTIVE_THINKING);

	if (request->reasoning == RL_NO || request->reasoning_budget == 0 ||
	    rl_str_eq(request->effort, RL_STR("none"))) {
		out->mode = THINK_DISABLED;
		return;
	}
	if (!wants_thinking(request)) {
		if (request->effort.n)
			rl_drop(w->t, "reasoning_effort");
		return;
	}
	size_t effort = wanted_effort(request);

	if (is_forced(request) || (budgets && loop_without_thoughts(request))) {
		drop_thinking(w, out);
	} else if (!budgets) {
		out->mode = THINK_ADAPTIVE;
		if (request->effort.n || request->reasoning_budget > 0)
			out->effort = efforts[effort].word;
	} else {
		out->mode = THINK_ENABLED;
		if (!fit_budget(w, out,
				request->reasoning_budget > 0 ? request->reasoning_budget : efforts[effort].budget))
			drop_thinking(w, out);
	}
}

/* Our own words, for a model that may know fewer of them. */
static void plan_own_thinking(struct rl_anthropic_writer *w, struct thinking *out)
{
	const struct rl_chat_request *request = w->request;

	out->effort = request->effort;
	if (request->reasoning == RL_NO) {
		out->mode = THINK_DISABLED;
	} else if (request->reasoning_budget == RL_BUDGET_AUTO) {
		out->mode = THINK_ADAPTIVE;
		if (!rl_facts_quirk(w->t->facts, RL_QUIRK_NO_ADAPTIVE_THINKING))
			return;
		out->mode = THINK_ENABLED;
		if (!fit_budget(w, out, efforts[wanted_effort(request)].budget))
			drop_thinking(w, out);
	} else if (request->reasoning == RL_YES) {
		out->mode = THINK_ENABLED;
		out->budget = request->reasoning_budget;
	}
}

static struct thinking plan_thinking(struct rl_anthropic_writer *w)
{
	struct thinking plan = {.budget = RL_UNSET, .max_tokens = asked_limit(w->request)};

	if (plan.max_tokens == RL_UNSET)
		plan.max_tokens = usual_limit(w->t->facts);
	if (w->ours)
		plan_own_thinking(w, &plan);
	else
		plan_foreign_thinking(w, &plan);
	return plan;
}

static void write_thinking(struct rl_anthropic_writer *w, const struct thinking *plan)
{
	static const rl_str types[] = {
		[THINK_DISABLED] = RL_STR_INIT("disabled"),
		[THINK_ENABLED] = RL_STR_INIT("enabled"),
		[THINK_ADAPTIVE] = RL_STR_INIT("adaptive"),
	};
	enum rl_choice3 shown = w->request->reasoning_shown;

	if (plan->mode == THINK_UNSAID)
		return;
	rl_build_key(w->out, "thinking");
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "type", types[plan->mode]);
	if (plan->mode == THINK_ENABLED && plan->budget != RL_UNSET)
		rl_build_int(w->out, "budget_tokens", plan->budget);
	if (shown && (w->ours || plan->mode != THINK_DISABLED))
		rl_build_text(w->out, "display", shown == RL_YES ? RL_STR("summarized") : RL_STR("omitted"));
	RL_BUF_LIT(w->out, "}");
}

/* --- form of the answer, sampling --- */

static void write_output_config(struct rl_anthropic_writer *w, const struct thinking *plan)
{
	const struct rl_format *format = &w->request->format;
	bool schema = format->kind == RL_FORMAT_SCHEMA && format->schema.n;
	bool own = w->ours && (format->kind == RL_FORMAT_RAW || format->extras.n);

	if (!w->ours && format->kind == RL_FORMAT_RAW)
		rl_anthropic_refuse_named(w, "response_format", "a form of answer that only its own API has");
	if (!w->ours && format->kind == RL_FORMAT_SCHEMA) {
		if (!schema || rl_facts_quirk(w->t->facts, RL_QUIRK_NO_SCHEMA))
			rl_anthropic_refuse_named(w, "response_format", schema ? "a schema" : "a schema that is empty");
		if (format->description.n)
			rl_drop(w->t, "response_format.json_schema.description");
		rl_drop_extras(w->t, "response_format.json_schema", format->extras);
	}
	if (!plan->effort.n && !schema && !own)
		return;
	rl_build_key(w->out, "output_config");
	RL_BUF_LIT(w->out, "{");
	if (plan->effort.n)
		rl_build_text(w->out, "effort", plan->effort);
	if (schema) {
		rl_build_key(w->out, "format");
		RL_BUF_LIT(w->out, "{\"type\":\"json_schema\"");
		rl_build_raw(w->out, "schema", format->schema);
		RL_BUF_LIT(w->out, "}");
	} else if (own && format->kind == RL_FORMAT_RAW) {
		rl_build_raw(w->out, "format", format->json);
	}
	if (w->ours)
		rl_build_extras(w->out, format->extras);
	RL_BUF_LIT(w->out, "}");
}

static double number_of(rl_str raw)
{
	char text[64];

	snprintf(text, sizeof text, "%.*s", raw.n < sizeof text ? (int)raw.n : (int)sizeof text - 1, raw.p);
	return strtod(text, NULL);
}

/* A parameter that the model or the version takes for an error goes, by name. */
static void write_sampling_number(struct rl_anthropic_writer *w, const char *key, rl_str raw, bool taken)
{
	if (!raw.n)
		return;
	if (taken)
		rl_build_raw(w->out, key, raw);
	else
		rl_drop(w->t, "%s", key);
}

static void write_temperature(struct rl_anthropic_writer *w, bool taken)
{
	rl_str raw = w->request->temperature;

	if (taken && raw.n && !w->ours && number_of(raw) > 1) {
		rl_drop(w->t, "temperature"); /* the scale ends at 1 here: clamped */
		raw = RL_STR("1");
	}
	write_sampling_number(w, "temperature", raw, taken);
}

static void write_stop(struct rl_anthropic_writer *w)
{
	const struct rl_chat_request *request = w->request;
	size_t before = w->out->n, empty;

	if (!request->stop)
		return;
	rl_build_key(w->out, "stop_sequences");
	RL_BUF_LIT(w->out, "[");
	empty = w->out->n;
	for (size_t i = 0; i < request->n_stop; i++) {
		if (!w->ours && rl_anthropic_is_blank(request->stop[i])) {
			rl_drop(w->t, "stop[%zu]", i);
			continue;
		}
		rl_build_comma(w->out);
		rl_buf_json(w->out, request->stop[i]);
	}
	if (w->out->n == empty && !w->ours)
		w->out->n = before;
	else
		RL_BUF_LIT(w->out, "]");
}

static void write_sampling(struct rl_anthropic_writer *w, const struct thinking *plan)
{
	const struct rl_chat_request *request = w->request;
	bool taken = !w->newer && !rl_facts_quirk(w->t->facts, RL_QUIRK_NO_SAMPLING);
	bool thinks = !w->ours && (plan->mode == THINK_ENABLED || plan->mode == THINK_ADAPTIVE);

	write_temperature(w, taken && !thinks);
	/* Newer models take one of the two; temperature is what people mean. */
	write_sampling_number(w, "top_p", request->top_p, taken && (w->ours || (!thinks && !request->temperature.n)));
	write_sampling_number(w, "top_k", request->top_k, taken && !thinks);
}

/* What no request of this API can say. */
static void drop_the_rest(struct rl_anthropic_writer *w)
{
	const struct rl_chat_request *request = w->request;

	if (request->n > 1)
		rl_anthropic_refuse_named(w, "n", "more than one answer");
	if (request->seed.n)
		rl_drop(w->t, "seed");
	if (request->frequency_penalty.n)
		rl_drop(w->t, "frequency_penalty");
	if (request->presence_penalty.n)
		rl_drop(w->t, "presence_penalty");
	if (request->logprobs == RL_YES)
		rl_drop(w->t, "logprobs");
	if (request->top_logprobs > 0)
		rl_drop(w->t, "top_logprobs");
	rl_drop_extras(w->t, "stream_options", request->stream_extras);
}

/* --- the whole request --- */

static void write_body(struct rl_anthropic_writer *w, bool counting)
{
	const struct rl_chat_request *request = w->request;
	struct rl_buf *out = w->out;
	size_t leading = count_leading(w);
	struct thinking plan = plan_thinking(w);

	if (!counting)
		rl_build_int(out, "max_tokens", plan.max_tokens);
	write_system(w, leading);
	rl_build_key(out, "messages");
	RL_BUF_LIT(out, "[");
	if (w->ours)
		for (size_t i = leading; i < request->n_messages; i++)
			write_own_message(w, &request->messages[i], i);
	else
		write_foreign_messages(w, leading);
	RL_BUF_LIT(out, "]");
	bool tools = write_tools(w);

	write_tool_choice(w, tools);
	write_thinking(w, &plan);
	write_output_config(w, &plan);
	rl_anthropic_write_cache(w, (struct rl_anthropic_place){AT_TOP, 0, 0}, &request->cache);
	if (counting)
		return;
	write_sampling(w, &plan);
	write_stop(w);
	if (request->user.p) {
		RL_BUF_LIT(out, ",\"metadata\":{");
		rl_build_text(out, "user_id", request->user);
		RL_BUF_LIT(out, "}");
	}
	if (request->stream)
		rl_build_raw(out, "stream", RL_STR("true"));
	drop_the_rest(w);
}

void rl_anthropic_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
				struct rl_buf *out)
{
	struct rl_anthropic_writer w;

	assert(op == RL_OP_CHAT || op == RL_OP_COUNT_TOKENS);
	/* Without its list of calls, which is long and filled as far as it is used. */
	w.out = out;
	w.t = t;
	w.request = request;
	w.ours = rl_str_eq(request->dialect, RL_STR(RL_ANTHROPIC_NAME));
	w.newer = t->facts->version.n == sizeof RL_ANTHROPIC_NO_SAMPLING - 1 &&
		  memcmp(t->facts->version.p, RL_ANTHROPIC_NO_SAMPLING, t->facts->version.n) >= 0;
	w.cache_marks = 0;
	w.n_calls = 0;
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "model", request->model);
	write_body(&w, op == RL_OP_COUNT_TOKENS);
	if (w.ours)
		rl_build_extras(out, request->extras);
	else
		rl_drop_extras(t, "", request->extras);
	RL_BUF_LIT(out, "}");
}
