/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole Gemini answers, both ways: candidates, counts of tokens, embeddings, and the
 * logprobs, which travel in the words of OpenAI's API. A blocked prompt is an answer
 * without candidates: to others one choice that a filter ended.
 */
#include "dialects/gemini_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* --- logprobs --- */

struct token {
	rl_str token, probability, id; /* raw */
};

static struct token read_token(rl_str object)
{
	struct token token = {rl_gemini_member(object, "token"), rl_gemini_member(object, "logProbability"),
			      rl_gemini_member(object, "tokenId")};

	if (!token.probability.n)
		token.probability = rl_gemini_member(object, "log_probability");
	if (rl_json_type_of(token.token) != RL_JSON_STRING)
		token.token = RL_STR("\"\"");
	if (rl_json_type_of(token.probability) != RL_JSON_NUMBER)
		token.probability = RL_STR("0");
	return token;
}

/* One token with its bytes left open, as OpenAI's API may: without them a client takes the text's. */
static void add_token(struct rl_buf *out, const struct token *token)
{
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_raw(out, "token", token->token);
	rl_build_raw(out, "logprob", token->probability);
	rl_build_raw(out, "bytes", RL_STR("null"));
	if (rl_json_type_of(token->id) == RL_JSON_NUMBER)
		rl_build_raw(out, "token_id", token->id); /* as vLLM has it */
}

rl_str rl_gemini_read_logprobs(struct rl_reader *p, rl_str result)
{
	rl_str chosen = rl_gemini_member(result, "chosenCandidates"), top = rl_gemini_member(result, "topCandidates");
	struct rl_json_iter iter, tops, inner;
	rl_str element, alternatives, other, made;
	struct rl_buf out;

	if (rl_json_type_of(chosen) != RL_JSON_ARRAY)
		return rl_str_make(NULL, 0);
	rl_buf_init(&out, 8 * result.n + 256);
	RL_BUF_LIT(&out, "{\"content\":[");
	rl_json_iter_array(&iter, chosen);
	rl_json_iter_array(&tops, top);
	while (rl_json_iter_next(&iter, &element)) {
		struct token token = read_token(element);

		add_token(&out, &token);
		RL_BUF_LIT(&out, ",\"top_logprobs\":[");
		rl_json_iter_array(&inner, rl_json_iter_next(&tops, &alternatives)
						   ? rl_gemini_member(alternatives, "candidates")
						   : rl_str_make(NULL, 0));
		while (rl_json_iter_next(&inner, &other)) {
			token = read_token(other);
			add_token(&out, &token);
			RL_BUF_LIT(&out, "}");
		}
		RL_BUF_LIT(&out, "]}");
	}
	RL_BUF_LIT(&out, "]}");
	made = rl_buf_ok(&out) ? rl_arena_dup(p->arena, rl_buf_str(&out)) : rl_str_make(NULL, 0);
	rl_buf_fini(&out);
	if (!made.p)
		rl_table_nomem(p);
	return made;
}

static void write_token(struct rl_buf *out, rl_str object)
{
	rl_str token = rl_gemini_member(object, "token"), id = rl_gemini_member(object, "token_id");
	rl_str probability = rl_gemini_member(object, "logprob");

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_raw(out, "token", token.n ? token : RL_STR("\"\""));
	if (id.n)
		rl_build_raw(out, "tokenId", id);
	rl_build_raw(out, "logProbability", probability.n ? probability : RL_STR("0"));
	RL_BUF_LIT(out, "}");
}

void rl_gemini_write_logprobs(rl_str logprobs, struct rl_buf *out)
{
	rl_str content = rl_gemini_member(logprobs, "content"), element, other;
	struct rl_json_iter iter, inner;

	RL_BUF_LIT(out, "{\"chosenCandidates\":[");
	rl_json_iter_array(&iter, content);
	while (rl_json_iter_next(&iter, &element))
		write_token(out, element);
	RL_BUF_LIT(out, "],\"topCandidates\":[");
	rl_json_iter_array(&iter, content);
	while (rl_json_iter_next(&iter, &element)) {
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"candidates\":[");
		rl_json_iter_array(&inner, rl_gemini_member(element, "top_logprobs"));
		while (rl_json_iter_next(&inner, &other))
			write_token(out, other);
		RL_BUF_LIT(out, "]}");
	}
	RL_BUF_LIT(out, "]}");
}

/* --- answers in --- */

static const struct rl_field candidate_fields[] = {
	RL_FIELD(struct rl_gemini_candidate, content, "content", rl_read_raw),
	RL_FIELD(struct rl_gemini_candidate, index, "index", rl_read_int),
	RL_GEMINI_FIELD(struct rl_gemini_candidate, finish, "finishReason", "finish_reason", rl_read_text),
	RL_GEMINI_FIELD(struct rl_gemini_candidate, logprobs, "logprobsResult", "logprobs_result", rl_read_raw),
};

static const struct rl_field answer_fields[] = {
	RL_FIELD(struct rl_gemini_answer, candidates, "candidates", rl_read_raw),
	RL_GEMINI_FIELD(struct rl_gemini_answer, usage, "usageMetadata", "usage_metadata", rl_read_raw),
	RL_GEMINI_FIELD(struct rl_gemini_answer, id, "responseId", "response_id", rl_read_text),
	RL_GEMINI_FIELD(struct rl_gemini_answer, model, "modelVersion", "model_version", rl_read_text),
	RL_GEMINI_FIELD(struct rl_gemini_answer, created, "createTime", "create_time", rl_read_text),
};

int64_t rl_gemini_time(rl_str text)
{
	struct tm tm = {.tm_sec = 0};
	char zone[32];

	if (text.n < 19 || text.n >= sizeof zone)
		return 0;
	memcpy(zone, text.p, 19);
	zone[19] = '\0';
	const char *end = strptime(zone, "%Y-%m-%dT%H:%M:%S", &tm);

	return end && !*end ? (int64_t)timegm(&tm) : 0;
}

static bool has_call(const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_TOOL_CALL)
			return true;
	return false;
}

void rl_gemini_read_candidate(struct rl_reader *p, const struct rl_place *at, rl_str value,
			      struct rl_gemini_candidate *out)
{
	rl_table_read(p, at, value, candidate_fields, RL_N_FIELDS(candidate_fields), out, &out->extras);
	if (!p->err && out->index > UINT32_MAX)
		rl_table_fail(p, at, "has a wrong index");
}

void rl_gemini_read_answer(struct rl_reader *p, rl_str body, struct rl_gemini_answer *out)
{
	rl_table_read(p, NULL, body, answer_fields, RL_N_FIELDS(answer_fields), out, &out->extras);
}

static void read_candidate(struct rl_reader *p, const struct rl_place *at, rl_str value, rl_str id,
			   struct rl_choice *choice)
{
	struct rl_gemini_candidate raw = {.index = choice->index};

	rl_gemini_read_candidate(p, at, value, &raw);
	if (p->err)
		return;
	choice->index = (uint32_t)raw.index;
	choice->extras = raw.extras;
	rl_str parts = rl_gemini_member(raw.content, "parts");

	choice->message.parts = rl_table_make(p, rl_gemini_count_parts(parts), sizeof *choice->message.parts);
	if (!choice->message.parts)
		return;
	struct rl_gemini_calls calls = {.seed = id.p ? id : RL_STR(""), .choice = choice->index};

	rl_gemini_read_parts(p, at, parts, &calls, &choice->message);
	choice->finish = rl_gemini_finish(raw.finish);
	choice->finish_word = raw.finish;
	/* This API has no word of its own for having called a tool. */
	if (choice->finish == RL_FINISH_STOP && has_call(&choice->message))
		choice->finish = RL_FINISH_TOOL_CALLS;
	if (raw.logprobs.n)
		choice->logprobs = rl_gemini_read_logprobs(p, raw.logprobs);
}

rl_str rl_gemini_block_reason(struct rl_extras extras)
{
	for (size_t i = 0; i < extras.n; i++) {
		rl_str reason = rl_gemini_member(extras.v[i].json, "blockReason");

		if (!rl_json_string_is(extras.v[i].key, RL_STR("promptFeedback")) &&
		    !rl_json_string_is(extras.v[i].key, RL_STR("prompt_feedback")))
			continue;
		return reason.n ? reason : rl_gemini_member(extras.v[i].json, "block_reason");
	}
	return rl_str_make(NULL, 0);
}

static void read_candidates(struct rl_reader *p, rl_str list, struct rl_chat_response *out)
{
	static const struct rl_place at = {NULL, "candidates", 0};
	struct rl_json_iter iter;
	rl_str element;

	out->choices = rl_table_make(p, rl_table_count(list), sizeof *out->choices);
	rl_json_iter_array(&iter, list);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {&at, NULL, out->n_choices};
		struct rl_choice *choice = &out->choices[out->n_choices];

		choice->index = (uint32_t)out->n_choices++;
		choice->message.role = RL_ROLE_ASSISTANT;
		read_candidate(p, &here, element, out->id, choice);
	}
	if (p->err || out->n_choices || !rl_gemini_block_reason(out->extras).n)
		return;
	out->n_choices = 1;
	out->choices[0] =
		(struct rl_choice){.finish = RL_FINISH_CONTENT_FILTER, .message = {.role = RL_ROLE_ASSISTANT}};
}

static void read_answer(struct rl_reader *p, rl_str body, struct rl_chat_response *out)
{
	struct rl_gemini_answer raw = {.candidates = {NULL, 0}};

	rl_gemini_read_answer(p, body, &raw);
	if (p->err)
		return;
	out->id = raw.id;
	out->model = raw.model;
	out->created = rl_gemini_time(raw.created);
	out->extras = raw.extras;
	if (rl_json_type_of(raw.usage) == RL_JSON_OBJECT) {
		rl_gemini_read_usage(raw.usage, &out->usage);
		out->usage_json = raw.usage;
	}
	read_candidates(p, raw.candidates, out);
	if (!p->err && !out->n_choices)
		p->err = RL_ERR_SYNTAX;
}

static void read_count(struct rl_reader *p, rl_str body, struct rl_chat_response *out)
{
	struct counted {
		int64_t total, cached;
	} counted = {.total = RL_UNSET};
	static const struct rl_field fields[] = {
		RL_GEMINI_FIELD(struct counted, total, "totalTokens", "total_tokens", rl_read_int),
		RL_GEMINI_FIELD(struct counted, cached, "cachedContentTokenCount", "cached_content_token_count",
				rl_read_int),
	};

	rl_table_read(p, NULL, body, fields, RL_N_FIELDS(fields), &counted, &out->extras);
	if (!p->err && counted.total == RL_UNSET)
		p->err = RL_ERR_SYNTAX;
	if (p->err)
		return;
	out->usage = (struct rl_usage){.known = true,
				       .prompt_tokens = (uint64_t)counted.total,
				       .cached_tokens = (uint64_t)counted.cached};
}

/* The array of numbers in an embedding of any of the three answers. */
static rl_str values_of(rl_str element)
{
	rl_str inner = rl_gemini_member(element, "embeddings"); /* Vertex */

	return rl_gemini_member(inner.n ? inner : element, "values");
}

static void add_embedding(struct rl_reader *p, rl_str element, struct rl_chat_response *out)
{
	struct rl_embedding *embedding = &out->embeddings[out->n_embeddings];
	rl_str inner = rl_gemini_member(element, "embeddings");
	rl_str statistics = rl_gemini_member(inner.n ? inner : element, "statistics");
	uint64_t tokens;

	embedding->index = (uint32_t)out->n_embeddings++;
	embedding->encoding = RL_ENCODING_FLOAT;
	embedding->data = values_of(element);
	if (rl_json_type_of(embedding->data) != RL_JSON_ARRAY)
		p->err = RL_ERR_SYNTAX;
	/* Vertex counts beside each one. */
	if (rl_json_u64(rl_gemini_member(statistics, "token_count"), &tokens)) {
		out->usage.known = true;
		out->usage.prompt_tokens += tokens;
	}
}

static void read_embeddings(struct rl_reader *p, rl_str body, struct rl_chat_response *out)
{
	rl_str one = rl_gemini_member(body, "embedding"), list = rl_gemini_member(body, "embeddings"), element;
	rl_str usage = rl_gemini_member(body, "usageMetadata");
	struct rl_json_iter iter;

	if (!list.n)
		list = rl_gemini_member(body, "predictions");
	if (!one.n && rl_json_type_of(list) != RL_JSON_ARRAY) {
		p->err = RL_ERR_SYNTAX;
		return;
	}
	out->embeddings = rl_table_make(p, one.n ? 1 : rl_table_count(list), sizeof *out->embeddings);
	if (!out->embeddings)
		return;
	out->single_input = one.n > 0;
	if (one.n)
		add_embedding(p, one, out);
	rl_json_iter_array(&iter, list);
	while (!one.n && !p->err && rl_json_iter_next(&iter, &element))
		add_embedding(p, element, out);
	if (rl_json_type_of(usage) != RL_JSON_OBJECT)
		return;
	rl_gemini_read_usage(usage, &out->usage);
	out->usage_json = usage;
}

enum rl_err rl_gemini_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
				     struct rl_chat_response *out)
{
	struct rl_reader p = {.arena = arena};

	*out = (struct rl_chat_response){.dialect = RL_STR(RL_GEMINI_NAME)};
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	if (op == RL_OP_EMBEDDING)
		read_embeddings(&p, body, out);
	else if (op == RL_OP_COUNT_TOKENS)
		read_count(&p, body, out);
	else
		read_answer(&p, body, out);
	return p.err;
}

/* --- answers out --- */

static void count(struct rl_buf *out, const char *key, uint64_t n)
{
	rl_build_key(out, key);
	rl_buf_u64(out, n);
}

void rl_gemini_write_usage(const struct rl_usage *usage, struct rl_buf *out)
{
	uint64_t thoughts = usage->reasoning_tokens;

	/* A part cannot be more than its whole, whatever a provider says. */
	if (thoughts > usage->completion_tokens)
		thoughts = usage->completion_tokens;
	RL_BUF_LIT(out, "{");
	count(out, "promptTokenCount", usage->prompt_tokens);
	count(out, "candidatesTokenCount", usage->completion_tokens - thoughts);
	count(out, "totalTokenCount", usage->prompt_tokens + usage->completion_tokens);
	if (usage->cached_tokens)
		count(out, "cachedContentTokenCount", usage->cached_tokens);
	if (thoughts)
		count(out, "thoughtsTokenCount", thoughts);
	RL_BUF_LIT(out, "}");
}

static void write_choice(struct rl_gemini_writer *w, const struct rl_choice *choice)
{
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{\"content\":{");
	/* An answer that holds nothing has no list either. */
	if (choice->message.n_parts) {
		RL_BUF_LIT(out, "\"parts\":[");
		rl_gemini_write_parts(w, choice->message.parts, choice->message.n_parts);
		rl_gemini_write_rest(w);
		RL_BUF_LIT(out, "]");
	}
	rl_build_text(out, "role", RL_STR("model"));
	RL_BUF_LIT(out, "}");
	if (choice->finish)
		rl_build_text(out, "finishReason",
			      rl_gemini_finish_word(choice->finish,
						    w->ours ? choice->finish_word : rl_str_make(NULL, 0)));
	rl_build_int(out, "index", choice->index);
	if (choice->logprobs.n) {
		rl_build_key(out, "logprobsResult");
		rl_gemini_write_logprobs(choice->logprobs, out);
	}
	if (w->ours)
		rl_build_extras(out, choice->extras);
	else
		rl_drop_extras(w->t, "choices", choice->extras);
	RL_BUF_LIT(out, "}");
}

static void write_usage(struct rl_gemini_writer *w, const struct rl_chat_response *response)
{
	if (!response->usage.known && !(w->ours && response->usage_json.n))
		return;
	rl_build_key(w->out, "usageMetadata");
	if (w->ours && response->usage_json.n)
		rl_buf_add(w->out, response->usage_json);
	else
		rl_gemini_write_usage(&response->usage, w->out);
}

static void write_answer(struct rl_gemini_writer *w, const struct rl_chat_response *response)
{
	struct rl_buf *out = w->out;
	bool blocked = w->ours && rl_gemini_block_reason(response->extras).n && response->n_choices == 1 &&
		       !response->choices[0].message.n_parts && !response->choices[0].finish_word.n;

	if (!blocked) {
		RL_BUF_LIT(out, "\"candidates\":[");
		for (w->message = 0; w->message < response->n_choices; w->message++)
			write_choice(w, &response->choices[w->message]);
		RL_BUF_LIT(out, "]");
	}
	write_usage(w, response);
	if (response->model.n)
		rl_build_text(out, "modelVersion", response->model);
	if (response->id.n)
		rl_build_text(out, "responseId", response->id);
}

/* Little-endian float32 as an array of numbers; nine digits bring every one back exactly. */
static void write_floats(rl_str bytes, struct rl_buf *out)
{
	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i + 4 <= bytes.n; i += 4) {
		const unsigned char *b = (const unsigned char *)bytes.p + i;
		uint32_t word = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
		float value;

		memcpy(&value, &word, sizeof value);
		rl_build_comma(out);
		/* JSON has no infinities. */
		if (value - value == 0)
			rl_buf_printf(out, "%.9g", (double)value);
		else
			RL_BUF_LIT(out, "0");
	}
	RL_BUF_LIT(out, "]");
}

/* As numbers, since this API has no other form. */
static void write_values(struct rl_gemini_writer *w, const struct rl_embedding *embedding)
{
	rl_build_key(w->out, "values");
	if (embedding->encoding == RL_ENCODING_FLOAT)
		rl_buf_add(w->out, embedding->data);
	else
		write_floats(rl_gemini_decode64(embedding->data, w->t->arena), w->out);
}

static void write_embeddings(struct rl_gemini_writer *w, const struct rl_chat_response *response)
{
	struct rl_buf *out = w->out;
	bool one = response->single_input && response->n_embeddings == 1;

	rl_build_key(out, one ? "embedding" : "embeddings");
	if (!one)
		RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < response->n_embeddings; i++) {
		rl_build_comma(out);
		RL_BUF_LIT(out, "{");
		write_values(w, &response->embeddings[i]);
		RL_BUF_LIT(out, "}");
	}
	if (!one)
		RL_BUF_LIT(out, "]");
	write_usage(w, response);
}

void rl_gemini_write_response(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			      struct rl_buf *out)
{
	struct rl_gemini_writer w = {.out = out,
				     .t = t,
				     .ours = rl_str_eq(response->dialect, RL_STR(RL_GEMINI_NAME)),
				     .answer = true};

	RL_BUF_LIT(out, "{");
	if (op == RL_OP_EMBEDDING) {
		write_embeddings(&w, response);
	} else if (op == RL_OP_COUNT_TOKENS) {
		count(out, "totalTokens", response->usage.prompt_tokens);
		if (response->usage.cached_tokens)
			count(out, "cachedContentTokenCount", response->usage.cached_tokens);
	} else {
		assert(op == RL_OP_CHAT);
		write_answer(&w, response);
	}
	if (w.ours)
		rl_build_extras(out, response->extras);
	else
		rl_drop_extras(t, "", response->extras);
	RL_BUF_LIT(out, "}");
}
