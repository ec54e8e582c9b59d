/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to OpenAI answers: choices, usage, embeddings. An answer of another
 * dialect is said in this one's words and in those that vendors of it have added;
 * what is left is named. Embeddings change between numbers and base64 here, since
 * the official clients ask for base64 and not every server has it.
 */
#include "dialect/openai_priv.h"

#include <assert.h>
#include <stdlib.h>

void rl_openai_write_usage(const struct rl_usage *usage, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{");
	rl_build_key(out, "prompt_tokens");
	rl_buf_u64(out, usage->prompt_tokens);
	rl_build_key(out, "completion_tokens");
	rl_buf_u64(out, usage->completion_tokens);
	rl_build_key(out, "total_tokens");
	rl_buf_u64(out, usage->prompt_tokens + usage->completion_tokens);
	rl_build_key(out, "prompt_tokens_details");
	RL_BUF_LIT(out, "{");
	rl_build_key(out, "cached_tokens");
	rl_buf_u64(out, usage->cached_tokens);
	if (usage->cache_write_tokens) {
		rl_build_key(out, "cache_write_tokens");
		rl_buf_u64(out, usage->cache_write_tokens);
	}
	RL_BUF_LIT(out, "},\"completion_tokens_details\":{");
	rl_build_key(out, "reasoning_tokens");
	rl_buf_u64(out, usage->reasoning_tokens);
	RL_BUF_LIT(out, "}}");
}

/* A word that this API lacks: OpenRouter's member has it. */
static void write_finish(const struct rl_openai_writer *w, const struct rl_choice *choice)
{
	struct rl_buf *out = w->out;

	if (choice->finish == RL_FINISH_NONE) {
		rl_build_raw(out, "finish_reason", RL_STR("null"));
	} else if (choice->finish != RL_FINISH_OTHER) {
		rl_build_text(out, "finish_reason", rl_str_of(rl_finish_name(choice->finish)));
	} else if (w->ours) {
		rl_build_text(out, "finish_reason", choice->finish_word);
	} else {
		rl_build_text(out, "finish_reason", RL_STR("stop"));
		rl_build_text(out, "native_finish_reason", choice->finish_word);
	}
	/* vLLM's member: OpenAI does not say it. */
	if (choice->stop_sequence.p)
		rl_build_text(out, "stop_reason", choice->stop_sequence);
}

/* --- messages of other dialects --- */

bool rl_openai_write_citation(struct rl_buf *out, const struct rl_citation *citation, bool ours, int64_t shift)
{
	if (ours && citation->json.n) {
		rl_build_comma(out);
		rl_buf_add(out, citation->json);
		return true;
	}
	if (!citation->url.n)
		return false;
	rl_build_comma(out);
	RL_BUF_LIT(out, "{\"type\":\"url_citation\",\"url_citation\":{");
	rl_build_text(out, "url", citation->url);
	rl_build_text(out, "title", citation->title);
	if (citation->start >= 0 && citation->end >= citation->start) {
		rl_build_int(out, "start_index", citation->start + shift);
		rl_build_int(out, "end_index", citation->end + shift);
	}
	RL_BUF_LIT(out, "}}");
	return true;
}

/* Unicode characters, as positions count them. */
static int64_t characters(rl_str text)
{
	int64_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += ((unsigned char)text.p[i] & 0xC0) != 0x80;
	return n;
}

/* An answer's text is one string here, whatever number of parts it has elsewhere. */
static void write_joined(struct rl_buf *out, const struct rl_message *message)
{
	bool some = false;

	rl_build_key(out, "content");
	for (size_t i = 0; i < message->n_parts; i++) {
		if (message->parts[i].kind != RL_PART_TEXT)
			continue;
		if (!some)
			RL_BUF_LIT(out, "\"");
		some = true;
		rl_openai_add_inside(out, message->parts[i].text);
	}
	rl_buf_add(out, some ? RL_STR("\"") : RL_STR("null"));
}

static void write_annotations(const struct rl_openai_writer *w, const struct rl_message *message)
{
	int64_t shift = 0;
	bool open = false;
	size_t left = 0;

	for (size_t i = 0; i < message->n_parts; i++)
		left += message->parts[i].n_citations;
	for (size_t i = 0; left && i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (part->kind != RL_PART_TEXT)
			continue;
		for (size_t k = 0; k < part->n_citations; k++) {
			if (!open && part->citations[k].url.n) {
				rl_build_key(w->out, "annotations");
				RL_BUF_LIT(w->out, "[");
				open = true;
			}
			if (!rl_openai_write_citation(w->out, &part->citations[k], false, shift))
				rl_openai_drop(w, "citations");
		}
		left -= part->n_citations;
		shift += characters(part->text);
	}
	if (open)
		RL_BUF_LIT(w->out, "]");
}

/* Pictures that a model made stand where OpenRouter puts them. */
static void write_images(const struct rl_openai_writer *w, const struct rl_message *message)
{
	struct rl_buf *out = w->out;
	bool open = false;

	for (size_t i = 0; i < message->n_parts; i++) {
		if (message->parts[i].kind != RL_PART_IMAGE)
			continue;
		if (!open) {
			rl_build_key(out, "images");
			RL_BUF_LIT(out, "[");
			open = true;
		}
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"type\":\"image_url\",\"image_url\":{");
		rl_openai_build_media_url(out, "url", &message->parts[i].media);
		RL_BUF_LIT(out, "}}");
	}
	if (open)
		RL_BUF_LIT(out, "]");
}

static void write_foreign_message(const struct rl_openai_writer *w, const struct rl_message *message)
{
	rl_build_text(w->out, "role", RL_STR("assistant"));
	write_joined(w->out, message);
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (part->kind == RL_PART_REFUSAL)
			rl_build_text(w->out, "refusal", part->text);
		else if (part->kind == RL_PART_AUDIO || part->kind == RL_PART_VIDEO || part->kind == RL_PART_DOCUMENT ||
			 part->kind == RL_PART_RAW)
			rl_openai_drop(w, rl_part_kind_name(part->kind));
		else if (part->kind == RL_PART_TOOL_CALL && part->call.kind == RL_TOOL_KIND_HOSTED)
			rl_openai_drop(w, "hosted_tool_call");
		rl_openai_put_extras(w, "", part->extras);
	}
	rl_openai_write_thoughts(w, message);
	rl_openai_write_calls(w, message);
	write_annotations(w, message);
	write_images(w, message);
	rl_openai_put_extras(w, "", message->extras);
}

static bool has_part(const struct rl_message *message, enum rl_part_kind kind)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == kind)
			return true;
	return false;
}

static void write_choice(const struct rl_openai_writer *w, enum rl_operation op, const struct rl_choice *choice)
{
	const struct rl_message *message = &choice->message;
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_int(out, "index", choice->index);
	if (op == RL_OP_CHAT) {
		rl_build_key(out, "message");
		RL_BUF_LIT(out, "{");
		if (w->ours)
			rl_openai_write_members(w, message);
		else
			write_foreign_message(w, message);
		if (!has_part(message, RL_PART_REFUSAL))
			rl_build_raw(out, "refusal", RL_STR("null"));
		RL_BUF_LIT(out, "}");
	} else {
		bool text = message->n_parts && message->parts[0].kind == RL_PART_TEXT;

		rl_build_text(out, "text", text ? message->parts[0].text : RL_STR(""));
	}
	bool passes = w->ours || op == RL_OP_CHAT; /* a completion's have a form of their own */

	if (choice->logprobs.n && !passes)
		rl_openai_drop(w, "logprobs");
	rl_build_raw(out, "logprobs", choice->logprobs.n && passes ? choice->logprobs : RL_STR("null"));
	write_finish(w, choice);
	rl_openai_put_extras(w, "", choice->extras);
	RL_BUF_LIT(out, "}");
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Little-endian float32 in base64 (RFC 4648 §4) as an array of numbers; stops at what is not base64. */
static void base64_to_floats(rl_str text, struct rl_buf *out)
{
	uint32_t bits = 0, word = 0;
	unsigned held = 0, bytes = 0;

	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < text.n; i++) {
		int value = base64_value(text.p[i]);
		float number_value;

		if (value < 0)
			break;
		bits = bits << 6 | (uint32_t)value;
		held += 6;
		if (held < 8)
			continue;
		held -= 8;
		word |= (bits >> held & 0xFF) << (8 * bytes);
		if (++bytes < 4)
			continue;
		memcpy(&number_value, &word, sizeof number_value);
		rl_build_comma(out);
		/* JSON has no infinities; nine digits bring every float32 back exactly. */
		if (number_value - number_value == 0)
			rl_buf_printf(out, "%.9g", (double)number_value);
		else
			RL_BUF_LIT(out, "null");
		word = bytes = 0;
	}
	RL_BUF_LIT(out, "]");
}

/* An array of numbers as base64 of little-endian float32. */
static void floats_to_base64(rl_str array, struct rl_buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct rl_json_iter iter;
	rl_str element;
	uint32_t bits = 0;
	unsigned held = 0, padding;

	RL_BUF_LIT(out, "\"");
	rl_json_iter_array(&iter, array);
	while (rl_json_iter_next(&iter, &element)) {
		/* The element ends in a comma, a space or a bracket: strtof stops there, within the array. */
		float value = rl_json_type_of(element) == RL_JSON_NUMBER ? strtof(element.p, NULL) : 0;
		uint32_t word;

		memcpy(&word, &value, sizeof word);
		for (unsigned i = 0; i < 4; i++) {
			bits = bits << 8 | (word >> (8 * i) & 0xFF);
			for (held += 8; held >= 6; held -= 6)
				rl_buf_byte(out, digits[bits >> (held - 6) & 63]);
		}
	}
	padding = held == 2 ? 2 : held == 4 ? 1 : 0;
	if (held)
		rl_buf_byte(out, digits[bits << (6 - held) & 63]);
	while (padding--)
		rl_buf_byte(out, '=');
	RL_BUF_LIT(out, "\"");
}

static void write_embedding(const struct rl_openai_writer *w, const struct rl_embedding *embedding,
			    enum rl_encoding wanted)
{
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "object", RL_STR("embedding"));
	rl_build_int(out, "index", embedding->index);
	rl_build_key(out, "embedding");
	if (wanted == RL_ENCODING_FLOAT && embedding->encoding == RL_ENCODING_BASE64)
		base64_to_floats(embedding->data, out);
	else if (wanted == RL_ENCODING_BASE64 && embedding->encoding == RL_ENCODING_FLOAT)
		floats_to_base64(embedding->data, out);
	else if (embedding->encoding == RL_ENCODING_BASE64)
		rl_buf_json(out, embedding->data);
	else
		rl_buf_add(out, embedding->data);
	rl_openai_put_extras(w, "", embedding->extras);
	RL_BUF_LIT(out, "}");
}

static void write_answer_usage(const struct rl_openai_writer *w, const struct rl_chat_response *response)
{
	if (!response->usage.known)
		return;
	rl_build_key(w->out, "usage");
	if (response->usage_json.n && w->ours)
		rl_buf_add(w->out, response->usage_json);
	else
		rl_openai_write_usage(&response->usage, w->out);
}

static void write_embeddings(const struct rl_openai_writer *w, const struct rl_chat_response *response)
{
	struct rl_buf *out = w->out;

	RL_BUF_LIT(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < response->n_embeddings; i++)
		write_embedding(w, &response->embeddings[i], response->encoding);
	RL_BUF_LIT(out, "]");
	rl_build_text(out, "model", response->model);
}

void rl_openai_write_response(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			      struct rl_buf *out)
{
	struct rl_openai_writer w = {.out = out,
				     .t = t,
				     .ours = rl_str_eq(response->dialect, RL_STR(RL_OPENAI_NAME)),
				     .answer = true};
	bool chat = op == RL_OP_CHAT;

	if (op == RL_OP_EMBEDDING) {
		write_embeddings(&w, response);
	} else {
		assert(chat || op == RL_OP_COMPLETION);
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "id", response->id);
		rl_build_text(out, "object", chat ? RL_STR("chat.completion") : RL_STR("text_completion"));
		rl_build_int(out, "created", response->created);
		rl_build_text(out, "model", response->model);
		RL_BUF_LIT(out, ",\"choices\":[");
		for (size_t i = 0; i < response->n_choices; i++) {
			w.message = i;
			write_choice(&w, op, &response->choices[i]);
		}
		RL_BUF_LIT(out, "]");
	}
	write_answer_usage(&w, response);
	rl_openai_put_extras(&w, "", response->extras);
	RL_BUF_LIT(out, "}");
}
