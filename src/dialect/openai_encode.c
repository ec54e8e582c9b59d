/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events to OpenAI streams: each event is written as the chunk or chunks that
 * OpenAI would send for it, in its order: a chunk with the role, pieces, a chunk
 * with the finish reason, the usage if it was asked for, [DONE]. What other
 * dialects say beyond it stands where vendors have put it (openai_thoughts.c).
 */
#include "dialect/openai_priv.h"

#include <assert.h>

/* A seal with its mark, and the arena's own needs. */
#define SEALED_MAX_BYTES (2048u * 1024)

static bool is_chat(const struct rl_encoder *codec)
{
	return codec->operation == RL_OP_CHAT;
}

static bool ours(const struct rl_event *event)
{
	return rl_str_eq(event->dialect, RL_STR(RL_OPENAI_NAME));
}

/* What all chunks begin with, up to their choices. */
static void write_head(struct rl_encoder *codec, const struct rl_event *start)
{
	struct rl_buf *head = &codec->head;

	rl_buf_reset(head);
	RL_BUF_LIT(head, "data: {");
	rl_build_text(head, "id", start->id);
	rl_build_text(head, "object", is_chat(codec) ? RL_STR("chat.completion.chunk") : RL_STR("text_completion"));
	rl_build_int(head, "created", start->created);
	rl_build_text(head, "model", start->name);
	if (ours(start))
		rl_build_extras(head, start->extras);
	RL_BUF_LIT(head, ",\"choices\":[");
}

static void add_head(struct rl_encoder *codec, struct rl_buf *out)
{
	static const struct rl_event nameless = {.kind = RL_EVENT_START};

	if (!codec->head.n)
		write_head(codec, &nameless);
	rl_buf_add(out, rl_buf_str(&codec->head));
	if (!rl_buf_ok(&codec->head))
		out->failed = true;
}

static void open_delta(struct rl_encoder *codec, uint32_t choice, struct rl_buf *out)
{
	add_head(codec, out);
	RL_BUF_LIT(out, "{\"index\":");
	rl_buf_u64(out, choice);
	RL_BUF_LIT(out, ",\"delta\":{");
}

/* Behind the choices. */
static void end_chunk(const struct rl_encoder *codec, struct rl_buf *out)
{
	if (codec->include_usage)
		RL_BUF_LIT(out, "],\"usage\":null}\n\n");
	else
		RL_BUF_LIT(out, "]}\n\n");
}

static void add_finish(struct rl_buf *out, const struct rl_event *event)
{
	if (event->kind != RL_EVENT_FINISH) {
		RL_BUF_LIT(out, ",\"finish_reason\":null");
	} else if (event->finish != RL_FINISH_OTHER) {
		rl_build_text(out, "finish_reason", rl_str_of(rl_finish_name(event->finish)));
	} else if (ours(event)) {
		rl_build_text(out, "finish_reason", event->finish_word);
	} else {
		rl_build_text(out, "finish_reason", RL_STR("stop"));
		rl_build_text(out, "native_finish_reason", event->finish_word);
	}
	if (event->stop_sequence.p)
		rl_build_text(out, "stop_reason", event->stop_sequence);
}

static void close_delta(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	RL_BUF_LIT(out, "}");
	rl_build_raw(out, "logprobs", event->logprobs.n ? event->logprobs : RL_STR("null"));
	add_finish(out, event);
	if (event->kind == RL_EVENT_EXTRA && event->extra_scope == RL_EXTRA_CHOICE)
		rl_build_extras(out, event->extras);
	RL_BUF_LIT(out, "}");
	end_chunk(codec, out);
}

/* The first chunk of a choice. */
static void open_choice(struct rl_encoder *codec, uint32_t choice, struct rl_buf *out)
{
	static const struct rl_event nothing = {.kind = RL_EVENT_TEXT};

	if (!is_chat(codec) || rl_codec_mark(codec->opened, choice))
		return;
	open_delta(codec, choice, out);
	RL_BUF_LIT(out, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
	close_delta(codec, &nothing, out);
}

static void encode_call(const struct rl_event *event, struct rl_buf *out)
{
	bool start = event->kind == RL_EVENT_TOOL_CALL_START, custom = event->tool_kind == RL_TOOL_KIND_CUSTOM;
	bool legacy = event->tool_kind == RL_TOOL_KIND_LEGACY;

	if (legacy) {
		rl_build_key(out, "function_call");
	} else {
		RL_BUF_LIT(out, "\"tool_calls\":[{");
		rl_build_key(out, "index");
		rl_buf_u64(out, event->tool);
		if (start && event->id.n)
			rl_build_text(out, "id", event->id);
		if (start)
			rl_build_text(out, "type", custom ? RL_STR("custom") : RL_STR("function"));
		rl_build_key(out, custom ? "custom" : "function");
	}
	RL_BUF_LIT(out, "{");
	if (start)
		rl_build_text(out, "name", event->name);
	rl_build_text(out, custom ? "input" : "arguments", event->text);
	rl_buf_add(out, legacy ? RL_STR("}") : RL_STR("}}]"));
}

static void encode_reasoning(const struct rl_event *event, struct rl_buf *out)
{
	bool newer = rl_str_eq(event->spelling, RL_STR("reasoning"));
	bool both = rl_str_eq(event->spelling, RL_STR("both"));

	if (event->text.n && !newer)
		rl_build_text(out, "reasoning_content", event->text);
	if (event->text.n && (newer || both))
		rl_build_text(out, "reasoning", event->text);
	if (event->signature.n && ours(event))
		rl_build_text(out, "reasoning_signature", event->signature);
}

/* A chunk with one of `reasoning_details`; the seal, if any, gets its family's mark. */
static void encode_detail(struct rl_encoder *codec, uint32_t choice, const struct rl_reasoning *r, rl_str call_id,
			  uint32_t index, struct rl_buf *out)
{
	static const struct rl_event nothing = {.kind = RL_EVENT_REASONING};
	struct rl_arena arena;

	rl_arena_init(&arena, SEALED_MAX_BYTES);
	rl_str seal =
		rl_seal_wrap(r->redacted.n ? r->redacted : r->signature, r->family, RL_STR(RL_OPENAI_NAME), &arena);

	if (!seal.p && (r->redacted.n || r->signature.n))
		out->failed = true;
	open_choice(codec, choice, out);
	open_delta(codec, choice, out);
	if (r->text.n)
		rl_build_text(out, "reasoning_content", r->text);
	rl_build_key(out, "reasoning_details");
	RL_BUF_LIT(out, "[");
	rl_openai_write_detail(out, r, seal, call_id, index);
	RL_BUF_LIT(out, "]");
	close_delta(codec, &nothing, out);
	rl_arena_fini(&arena);
}

static void copy_word(char *to, size_t room, rl_str word)
{
	size_t n = word.n < room ? word.n : 0;

	if (n)
		memcpy(to, word.p, n);
	to[n] = '\0';
}

/* What is held goes out: on the call that follows it, or alone. */
static void release_seal(struct rl_encoder *codec, const struct rl_event *next, struct rl_buf *out)
{
	struct rl_codec_seal *held = &codec->seal;
	bool call = next->kind == RL_EVENT_TOOL_CALL_START && next->choice == held->choice && !held->text && next->id.n;
	struct rl_reasoning r = {.signature = rl_buf_str(&held->bytes),
				 .family = rl_str_of(held->family),
				 .id = rl_str_of(held->id),
				 .summary = held->summary};

	if (!held->held)
		return;
	held->held = false;
	if (!rl_buf_ok(&held->bytes)) {
		out->failed = true;
		return;
	}
	if (held->text && r.summary) /* the summary is out: its seal stands alone, by its id */
		r.summary = false;
	else if (held->text || (!call && !r.id.n))
		r.text = RL_STR("");
	encode_detail(codec, held->choice, &r, call ? next->id : rl_str_make(NULL, 0), held->part, out);
}

static void hold_seal(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_codec_seal *held = &codec->seal;

	if (held->held && (held->choice != event->choice || held->part != event->part))
		release_seal(codec, event, out);
	if (!held->held) {
		bool same = held->choice == event->choice && held->part == event->part;

		rl_buf_reset(&held->bytes);
		held->text = (same && held->text) || event->text.n;
		held->choice = event->choice;
		held->part = event->part;
		held->held = true;
	}
	held->summary = event->summary;
	if (event->family.n)
		copy_word(held->family, sizeof held->family, event->family);
	if (event->id.n || !held->text)
		copy_word(held->id, sizeof held->id, event->id);
	rl_buf_add(&held->bytes, event->signature);
}

/* A thought of another dialect: its text as it has become usual, and in blocks where there is a seal to keep it for. */
static void encode_foreign_thought(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	static const struct rl_event nothing = {.kind = RL_EVENT_REASONING};
	struct rl_codec_seal *held = &codec->seal;
	struct rl_reasoning r = {.text = event->text,
				 .redacted = event->redacted,
				 .id = event->id,
				 .family = event->family,
				 .summary = event->summary};

	if (event->text.n || event->redacted.n)
		release_seal(codec, &nothing, out);
	if (event->redacted.n || (event->text.n && (event->family.n || event->summary))) {
		encode_detail(codec, event->choice, &r, rl_str_make(NULL, 0), event->part, out);
	} else if (event->text.n) {
		open_choice(codec, event->choice, out);
		open_delta(codec, event->choice, out);
		rl_build_text(out, "reasoning_content", event->text);
		close_delta(codec, &nothing, out);
	}
	if (event->text.n) {
		held->text = true;
		held->choice = event->choice;
		held->part = event->part;
		copy_word(held->id, sizeof held->id, event->id);
	}
	if (event->signature.n)
		hold_seal(codec, event, out);
}

/* An event that is one chunk of one choice. */
static void encode_piece(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	if (event->kind == RL_EVENT_EXTRA && !ours(event)) {
		rl_encoder_lose(codec, "answer.extras");
		return;
	}
	if (event->logprobs.n && !ours(event))
		rl_encoder_lose(codec, "answer.logprobs");
	open_choice(codec, event->choice, out);
	open_delta(codec, event->choice, out);
	switch (event->kind) {
	case RL_EVENT_TEXT:
		rl_build_text(out, "content", event->text);
		break;
	case RL_EVENT_REFUSAL:
		rl_build_text(out, "refusal", event->text);
		break;
	case RL_EVENT_REASONING:
		encode_reasoning(event, out);
		break;
	case RL_EVENT_TOOL_CALL_START:
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		encode_call(event, out);
		break;
	case RL_EVENT_EXTRA:
		if (event->extra_scope == RL_EXTRA_DELTA)
			rl_build_extras(out, event->extras);
		break;
	default:
		assert(event->kind == RL_EVENT_FINISH);
	}
	close_delta(codec, event, out);
}

static void encode_citation(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	if (!is_chat(codec) || !(event->citation->url.n || (ours(event) && event->citation->json.n))) {
		rl_encoder_lose(codec, "answer.citations");
		return;
	}
	open_choice(codec, event->choice, out);
	open_delta(codec, event->choice, out);
	rl_build_key(out, "annotations");
	RL_BUF_LIT(out, "[");
	rl_openai_write_citation(out, event->citation, ours(event), 0);
	RL_BUF_LIT(out, "]");
	close_delta(codec, event, out);
}

/* A completion's chunk has text and an end, and nothing else. */
static void encode_text(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	if (event->kind != RL_EVENT_TEXT && event->kind != RL_EVENT_FINISH) {
		rl_encoder_lose(codec, "answer.parts");
		return;
	}
	add_head(codec, out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "text", event->text);
	rl_build_key(out, "index");
	rl_buf_u64(out, event->choice);
	rl_build_raw(out, "logprobs", event->logprobs.n && ours(event) ? event->logprobs : RL_STR("null"));
	add_finish(out, event);
	RL_BUF_LIT(out, "}");
	end_chunk(codec, out);
}

/* Members of the whole answer, in a chunk without choices. */
static void encode_answer_extras(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	if (!ours(event)) {
		rl_encoder_lose(codec, "answer.extras");
		return;
	}
	if (codec->head.n) {
		add_head(codec, out);
		RL_BUF_LIT(out, "]");
	} else {
		RL_BUF_LIT(out, "data: {\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[]");
	}
	rl_build_extras(out, event->extras);
	RL_BUF_LIT(out, "}\n\n");
}

static void keep_usage(struct rl_encoder *codec, const struct rl_event *event)
{
	if (!codec->include_usage || !event->usage.known)
		return;
	rl_buf_reset(&codec->usage);
	if (event->usage_json.n && ours(event))
		rl_buf_add(&codec->usage, event->usage_json);
	/* Also when a vendor's object is too large to be kept. */
	if (!codec->usage.n) {
		rl_buf_reset(&codec->usage);
		rl_openai_write_usage(&event->usage, &codec->usage);
	}
}

static void encode_done(struct rl_encoder *codec, struct rl_buf *out)
{
	if (codec->usage.n) {
		add_head(codec, out);
		RL_BUF_LIT(out, "],\"usage\":");
		rl_buf_add(out, rl_buf_str(&codec->usage));
		RL_BUF_LIT(out, "}\n\n");
	}
	RL_BUF_LIT(out, "data: [DONE]\n\n");
	codec->ended = true;
}

void rl_openai_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	if (codec->ended)
		return;
	if (event->kind != RL_EVENT_REASONING)
		release_seal(codec, event, out);
	switch (event->kind) {
	case RL_EVENT_START:
		write_head(codec, event);
		open_choice(codec, 0, out);
		break;
	case RL_EVENT_USAGE:
		keep_usage(codec, event);
		break;
	case RL_EVENT_DONE:
		encode_done(codec, out);
		break;
	case RL_EVENT_ERROR:
		rl_openai_write_stream_error(event->fault, out);
		codec->ended = true;
		break;
	case RL_EVENT_EXTRA:
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
	case RL_EVENT_REASONING:
	case RL_EVENT_TOOL_CALL_START:
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
	case RL_EVENT_FINISH:
		if (event->kind == RL_EVENT_EXTRA && event->extra_scope == RL_EXTRA_ANSWER)
			encode_answer_extras(codec, event, out);
		else if (is_chat(codec) && event->kind == RL_EVENT_REASONING && !ours(event))
			encode_foreign_thought(codec, event, out);
		else if (is_chat(codec))
			encode_piece(codec, event, out);
		else
			encode_text(codec, event, out);
		break;
	case RL_EVENT_CITATION:
		encode_citation(codec, event, out);
		break;
	case RL_EVENT_NONE:
	case RL_EVENT_COUNT:
		assert(event->kind != RL_EVENT_NONE);
	}
}
