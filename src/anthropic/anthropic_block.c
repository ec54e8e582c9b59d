/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of messages to Anthropic blocks, for requests and for answers, and whole answers.
 * The writer of requests (anthropic_write.c) sees to the order in which they stand.
 */
#include "anthropic/anthropic_write_priv.h"

#include <assert.h>
#include <stdio.h>

#define CACHE_MARKS_MAX 4
#define PLACE_BYTES 64

struct place_text {
	char p[PLACE_BYTES];
};

static struct place_text text_of(struct rl_anthropic_place place)
{
	struct place_text text;

	switch (place.what) {
	case AT_PART:
		snprintf(text.p, sizeof text.p, "messages[%zu].content[%zu]", place.index, place.part);
		break;
	case AT_MESSAGE:
		snprintf(text.p, sizeof text.p, "messages[%zu]", place.index);
		break;
	case AT_TOOL:
		snprintf(text.p, sizeof text.p, "tools[%zu]", place.index);
		break;
	case AT_ANSWER:
		snprintf(text.p, sizeof text.p, "answer.content[%zu]", place.index);
		break;
	case AT_TOP:
		snprintf(text.p, sizeof text.p, "request");
		break;
	}
	return text;
}

void rl_anthropic_drop_extras(const struct rl_anthropic_writer *w, struct rl_anthropic_place place,
			      struct rl_extras list)
{
	if (list.n)
		rl_drop_extras(w->t, text_of(place).p, list);
}

void rl_anthropic_extras(const struct rl_anthropic_writer *w, struct rl_anthropic_place place, struct rl_extras list)
{
	if (w->ours)
		rl_build_extras(w->out, list);
	else
		rl_anthropic_drop_extras(w, place, list);
}

void rl_anthropic_refuse_named(const struct rl_anthropic_writer *w, const char *name, const char *what)
{
	rl_str param = rl_arena_dup(w->t->arena, rl_str_of(name));

	rl_refuse(w->t, param, "'%s' is %s, which the target %.*s/%.*s cannot take.", name, what,
		  RL_STR_ARG(w->t->facts->provider), RL_STR_ARG(w->t->facts->model));
}

void rl_anthropic_refuse(const struct rl_anthropic_writer *w, struct rl_anthropic_place place, const char *what)
{
	rl_anthropic_refuse_named(w, text_of(place).p, what);
}

void rl_anthropic_write_cache(struct rl_anthropic_writer *w, struct rl_anthropic_place place,
			      const struct rl_cache_mark *mark)
{
	bool known = !mark->ttl.n || rl_str_eq(mark->ttl, RL_STR("5m")) || rl_str_eq(mark->ttl, RL_STR("1h"));

	if (!mark->set)
		return;
	if (!w->ours && ++w->cache_marks > CACHE_MARKS_MAX) {
		rl_drop(w->t, "%s.cache", text_of(place).p);
		return;
	}
	RL_BUF_LIT(w->out, ",\"cache_control\":{\"type\":\"ephemeral\"");
	if (mark->ttl.n && (known || w->ours))
		rl_build_text(w->out, "ttl", mark->ttl);
	else if (!known)
		rl_drop(w->t, "%s.cache.ttl", text_of(place).p);
	RL_BUF_LIT(w->out, "}");
}

void rl_anthropic_add_inside(struct rl_buf *out, rl_str text)
{
	size_t at = out->n;

	rl_buf_json(out, text);
	if (!rl_buf_ok(out))
		return;
	memmove(out->p + at, out->p + at + 1, out->n - at - 2);
	out->n -= 2;
}

/* Nothing but white space, which this API takes for an error. */
bool rl_anthropic_is_blank(rl_str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] != ' ' && text.p[i] != '\n' && text.p[i] != '\t' && text.p[i] != '\r')
			return false;
	return true;
}

/* --- media --- */

/* What base64 begins like when the bytes begin as the format's do; empty: unknown. */
static rl_str sniffed(rl_str data)
{
	static const struct {
		rl_str start, mime;
	} formats[] = {
		{RL_STR_INIT("iVBORw0KGgo"), RL_STR_INIT("image/png")},
		{RL_STR_INIT("/9j/"), RL_STR_INIT("image/jpeg")},
		{RL_STR_INIT("R0lGOD"), RL_STR_INIT("image/gif")},
		{RL_STR_INIT("UklGR"), RL_STR_INIT("image/webp")},
		{RL_STR_INIT("JVBERi0"), RL_STR_INIT("application/pdf")},
	};

	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
		if (rl_str_starts(data, formats[i].start))
			return formats[i].mime;
	return rl_str_make(NULL, 0);
}

static void write_source(const struct rl_anthropic_writer *w, const struct rl_media *media, rl_str mime)
{
	static const rl_str kinds[] = {
		[RL_MEDIA_BASE64] = RL_STR_INIT("base64"),
		[RL_MEDIA_URL] = RL_STR_INIT("url"),
		[RL_MEDIA_FILE] = RL_STR_INIT("file"),
		[RL_MEDIA_TEXT] = RL_STR_INIT("text"),
	};
	bool inside = media->source == RL_MEDIA_BASE64 || media->source == RL_MEDIA_TEXT;
	struct rl_buf *out = w->out;

	assert(media->source != RL_MEDIA_NONE);
	RL_BUF_LIT(out, ",\"source\":{");
	rl_build_text(out, "type", kinds[media->source]);
	if (media->source == RL_MEDIA_TEXT && !mime.n)
		mime = RL_STR("text/plain");
	if (inside && mime.n)
		rl_build_text(out, "media_type", mime);
	rl_build_text(out, inside ? "data" : media->source == RL_MEDIA_URL ? "url" : "file_id", media->data);
	if (w->ours)
		rl_build_extras(out, media->extras);
	RL_BUF_LIT(out, "}");
}

static bool is_image_type(rl_str mime)
{
	return rl_str_eq(mime, RL_STR("image/png")) || rl_str_eq(mime, RL_STR("image/jpeg")) ||
	       rl_str_eq(mime, RL_STR("image/gif")) || rl_str_eq(mime, RL_STR("image/webp"));
}

/* Whether this API takes it; what not is refused. `mime` is known as well as can be. */
static bool media_fits(const struct rl_anthropic_writer *w, struct rl_anthropic_place place, const struct rl_part *part,
		       rl_str mime)
{
	const struct rl_media *media = &part->media;
	bool inside = media->source == RL_MEDIA_BASE64;
	const char *what = NULL;

	if (w->ours)
		return true;
	if (media->source == RL_MEDIA_FILE)
		what = "a file that is kept at another provider";
	else if (part->kind == RL_PART_IMAGE && media->source == RL_MEDIA_URL &&
		 rl_facts_quirk(w->t->facts, RL_QUIRK_NO_IMAGE_URL))
		what = "a picture by its address";
	else if (media->source == RL_MEDIA_NONE || (part->kind == RL_PART_IMAGE && media->source == RL_MEDIA_TEXT))
		what = "a part without data";
	else if (part->kind == RL_PART_IMAGE && inside && !is_image_type(mime))
		what = "a picture that is neither PNG, JPEG, GIF nor WebP";
	else if (part->kind == RL_PART_DOCUMENT && inside && !rl_str_eq(mime, RL_STR("application/pdf")))
		what = "a document that is neither PDF nor text";
	if (what)
		rl_anthropic_refuse(w, place, what);
	return !what;
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

/* Text documents have no base64 here: the bytes that it stands for (RFC 4648), up to what is no base64. */
static rl_str decoded(struct rl_translation *t, rl_str data)
{
	char *bytes = rl_arena_alloc(t->arena, data.n / 4 * 3 + 3);
	uint32_t bits = 0;
	unsigned held = 0;
	size_t n = 0;

	if (!bytes) {
		rl_translation_nomem(t);
		return rl_str_make(NULL, 0);
	}
	for (size_t i = 0; i < data.n; i++) {
		int value = base64_value(data.p[i]);

		if (value < 0)
			break;
		bits = bits << 6 | (uint32_t)value;
		held += 6;
		if (held < 8)
			continue;
		held -= 8;
		bytes[n++] = (char)(bits >> held & 0xFF);
	}
	return rl_str_make(bytes, n);
}

static void write_media(struct rl_anthropic_writer *w, struct rl_anthropic_place place, const struct rl_part *part)
{
	struct rl_media media = part->media;
	bool image = part->kind == RL_PART_IMAGE;
	rl_str mime = media.mime;

	if (!mime.n && media.source == RL_MEDIA_BASE64)
		mime = sniffed(media.data);
	if (rl_str_eq(mime, RL_STR("image/jpg")))
		mime = RL_STR("image/jpeg");
	if (!w->ours && !image && media.source == RL_MEDIA_BASE64 && rl_str_starts(mime, RL_STR("text/"))) {
		media.source = RL_MEDIA_TEXT;
		media.data = decoded(w->t, media.data);
		mime = RL_STR("text/plain");
	}
	if (!w->ours && media.source == RL_MEDIA_TEXT)
		mime = RL_STR("text/plain");
	struct rl_part fitting = *part;

	fitting.media = media;
	if (!media_fits(w, place, &fitting, mime))
		return;
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "type", image ? RL_STR("image") : RL_STR("document"));
	write_source(w, &media, mime);
	if (media.name.p && !image)
		rl_build_text(w->out, "title", media.name);
	if (!w->ours) {
		rl_anthropic_drop_extras(w, place, media.extras);
		if (media.detail.n && !rl_str_eq(media.detail, RL_STR("auto")))
			rl_drop(w->t, "%s.detail", text_of(place).p);
	}
	rl_anthropic_write_cache(w, place, &part->cache);
	rl_anthropic_extras(w, place, part->extras);
	RL_BUF_LIT(w->out, "}");
}

/* --- text and thoughts --- */

static void write_text(struct rl_anthropic_writer *w, struct rl_anthropic_place place, const struct rl_part *part)
{
	if (!w->ours && rl_anthropic_is_blank(part->text)) {
		/* An empty block is an error here, and a mark on it would stand on nothing. */
		if (part->cache.set)
			rl_drop(w->t, "%s.cache", text_of(place).p);
		return;
	}
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{\"type\":\"text\"");
	rl_build_text(w->out, "text", part->text);
	if (part->n_citations && w->ours) {
		RL_BUF_LIT(w->out, ",\"citations\":[");
		for (size_t i = 0; i < part->n_citations; i++) {
			rl_build_comma(w->out);
			rl_buf_add(w->out, part->citations[i].json);
		}
		RL_BUF_LIT(w->out, "]");
	} else if (part->n_citations) {
		rl_drop(w->t, "%s.citations", text_of(place).p);
	}
	rl_anthropic_write_cache(w, place, &part->cache);
	rl_anthropic_extras(w, place, part->extras);
	RL_BUF_LIT(w->out, "}");
}

/* A thought as it is shown to a client of this dialect, whoever thought it. */
static void write_thought(struct rl_anthropic_writer *w, const struct rl_part *part)
{
	static const rl_str family = RL_STR_INIT(RL_ANTHROPIC_FAMILY);
	const struct rl_reasoning *r = &part->reasoning;
	rl_str seal = rl_seal_wrap(r->redacted.n ? r->redacted : r->signature, r->family, family, w->t->arena);

	if (!seal.p && (r->redacted.n || r->signature.n))
		rl_translation_nomem(w->t);
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	if (r->redacted.n) {
		rl_build_text(w->out, "type", RL_STR("redacted_thinking"));
		rl_build_text(w->out, "data", seal);
	} else {
		rl_build_text(w->out, "type", RL_STR("thinking"));
		rl_build_text(w->out, "thinking", r->text);
		rl_build_text(w->out, "signature", seal);
	}
	if (w->ours)
		rl_build_extras(w->out, part->extras);
	RL_BUF_LIT(w->out, "}");
}

bool rl_anthropic_is_sealed_here(const struct rl_reasoning *r)
{
	return (r->signature.n || r->redacted.n) && rl_str_eq(r->family, RL_STR(RL_ANTHROPIC_FAMILY));
}

/* Into a request only what this family sealed: the API refuses thoughts that it cannot verify. */
static void write_own_thought(struct rl_anthropic_writer *w, size_t message, const struct rl_part *part)
{
	if (rl_anthropic_is_sealed_here(&part->reasoning)) {
		write_thought(w, part);
		return;
	}
	rl_drop(w->t, "messages[%zu].reasoning", message);
}

/* --- calls and results --- */

/* Ids match ^[a-zA-Z0-9_-]+$ here. */
bool rl_anthropic_is_id(rl_str id)
{
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		      c == '-'))
			return false;
	}
	return id.n > 0;
}

/* An id that this API takes, the same for the same: made from the text (FNV-1a), or where there is none from the place. */
void rl_anthropic_write_id(struct rl_buf *out, const char *key, rl_str id, size_t message, size_t part)
{
	uint64_t hash = 0xcbf29ce484222325u;

	rl_build_key(out, key);
	if (rl_anthropic_is_id(id)) {
		rl_buf_json(out, id);
		return;
	}
	if (!id.n) {
		rl_buf_printf(out, "\"toolu_relais_%zu_%zu\"", message, part);
		return;
	}
	for (size_t i = 0; i < id.n; i++)
		hash = (hash ^ (unsigned char)id.p[i]) * 0x100000001b3u;
	rl_buf_printf(out, "\"toolu_relais_%016llx\"", (unsigned long long)hash);
}

static bool is_object(rl_str json)
{
	return rl_json_scan(json, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK && rl_json_type_of(json) == RL_JSON_OBJECT;
}

/* What a model wrote as arguments, as an object: the API takes no other. False: it was none, and is inside one now. */
static bool write_input(struct rl_buf *out, const struct rl_tool_call *call, bool ours)
{
	rl_str arguments = call->arguments;

	rl_build_key(out, "input");
	if (call->kind == RL_TOOL_KIND_CUSTOM) {
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "input", arguments);
		RL_BUF_LIT(out, "}");
		return true;
	}
	if (ours || is_object(arguments)) {
		rl_buf_add(out, arguments);
		return true;
	}
	if (rl_anthropic_is_blank(arguments)) {
		RL_BUF_LIT(out, "{}");
		return true;
	}
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "arguments", arguments);
	RL_BUF_LIT(out, "}");
	return false;
}

static void write_call(struct rl_anthropic_writer *w, struct rl_anthropic_place place, const struct rl_part *part,
		       size_t message, size_t at)
{
	const struct rl_tool_call *call = &part->call;

	if (call->kind == RL_TOOL_KIND_HOSTED) {
		rl_drop(w->t, "%s", text_of(place).p);
		return;
	}
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{\"type\":\"tool_use\"");
	rl_anthropic_write_id(w->out, "id", call->id, message, at);
	rl_build_text(w->out, "name", call->name);
	if (!write_input(w->out, call, w->ours))
		rl_drop(w->t, "%s.arguments", text_of(place).p);
	if (!w->ours)
		rl_anthropic_drop_extras(w, place, call->extras);
	rl_anthropic_write_cache(w, place, &part->cache);
	rl_anthropic_extras(w, place, part->extras);
	RL_BUF_LIT(w->out, "}");
}

bool rl_anthropic_is_plain_text(const struct rl_anthropic_writer *w, const struct rl_part *parts, size_t n)
{
	return n == 1 && parts->kind == RL_PART_TEXT && !parts->cache.set && !parts->n_citations &&
	       !(w->ours && parts->extras.n);
}

static void write_result_content(struct rl_anthropic_writer *w, struct rl_anthropic_place place,
				 const struct rl_tool_result *result)
{
	if (!result->n_parts)
		return;
	if (rl_anthropic_is_plain_text(w, result->parts, result->n_parts)) {
		rl_build_text(w->out, "content", result->parts[0].text);
		if (!w->ours)
			rl_anthropic_drop_extras(w, place, result->parts[0].extras);
		return;
	}
	RL_BUF_LIT(w->out, ",\"content\":[");
	for (size_t i = 0; i < result->n_parts; i++)
		rl_anthropic_write_part(w, place, &result->parts[i], 0, i);
	RL_BUF_LIT(w->out, "]");
}

void rl_anthropic_write_result(struct rl_anthropic_writer *w, struct rl_anthropic_place place,
			       const struct rl_part *part, const struct rl_anthropic_call *call)
{
	const struct rl_tool_result *result = &part->result;

	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{\"type\":\"tool_result\"");
	rl_anthropic_write_id(w->out, "tool_use_id", call ? call->id : result->call_id, call ? call->message : 0,
			      call ? call->part : 0);
	write_result_content(w, place, result);
	if (result->is_error)
		rl_build_raw(w->out, "is_error", RL_STR("true"));
	rl_anthropic_write_cache(w, place, &part->cache);
	rl_anthropic_extras(w, place, part->extras);
	RL_BUF_LIT(w->out, "}");
}

/* --- parts --- */

/* One block. Results are written by whoever knows the calls. */
void rl_anthropic_write_part(struct rl_anthropic_writer *w, struct rl_anthropic_place place, const struct rl_part *part,
			     size_t message, size_t at)
{
	switch (part->kind) {
	case RL_PART_TEXT:
	case RL_PART_REFUSAL:
		write_text(w, place, part);
		break;
	case RL_PART_REASONING:
		write_own_thought(w, message, part);
		break;
	case RL_PART_IMAGE:
	case RL_PART_DOCUMENT:
		write_media(w, place, part);
		break;
	case RL_PART_TOOL_CALL:
		write_call(w, place, part, message, at);
		break;
	case RL_PART_TOOL_RESULT:
		rl_anthropic_write_result(w, place, part, NULL);
		break;
	case RL_PART_AUDIO:
		rl_anthropic_refuse(w, place, "audio");
		break;
	case RL_PART_VIDEO:
		rl_anthropic_refuse(w, place, "video");
		break;
	case RL_PART_RAW:
		if (w->ours) {
			rl_build_comma(w->out);
			rl_buf_add(w->out, part->json);
		} else {
			rl_anthropic_refuse(w, place, "a part that only its own API has");
		}
		break;
	case RL_PART_NONE:
	case RL_PART_COUNT:
		assert(part->kind != RL_PART_NONE);
	}
}

/* --- answers --- */

rl_str rl_anthropic_stop_reason(enum rl_finish finish, rl_str word, bool sequence, bool refused)
{
	switch (finish) {
	case RL_FINISH_LENGTH:
		return word.n ? word : RL_STR("max_tokens");
	case RL_FINISH_TOOL_CALLS:
	case RL_FINISH_FUNCTION_CALL:
		return RL_STR("tool_use");
	case RL_FINISH_CONTENT_FILTER:
		return RL_STR("refusal");
	default:
		if (word.n)
			return word;
		return refused ? RL_STR("refusal") : sequence ? RL_STR("stop_sequence") : RL_STR("end_turn");
	}
}

/* Of a part of an answer, to a client; true if something was written or dropped, false if it says nothing. */
static void write_answer_part(struct rl_anthropic_writer *w, const struct rl_part *part, size_t index, size_t *calls)
{
	struct rl_anthropic_place place = {AT_ANSWER, index, 0};

	switch (part->kind) {
	case RL_PART_REASONING:
		write_thought(w, part);
		break;
	case RL_PART_TOOL_CALL:
		write_call(w, place, part, 0, (*calls)++);
		break;
	case RL_PART_TEXT:
	case RL_PART_REFUSAL:
		write_text(w, place, part);
		break;
	default:
		if (w->ours)
			rl_anthropic_write_part(w, place, part, 0, index);
		else
			rl_drop(w->t, "%s", text_of(place).p);
	}
}

static void write_choice(struct rl_anthropic_writer *w, const struct rl_choice *choice)
{
	const struct rl_message *message = &choice->message;
	struct rl_buf *out = w->out;
	bool refused = false, called = false;
	size_t calls = 0;

	RL_BUF_LIT(out, ",\"content\":[");
	for (size_t i = 0; i < message->n_parts; i++) {
		write_answer_part(w, &message->parts[i], i, &calls);
		refused |= message->parts[i].kind == RL_PART_REFUSAL;
		called |= message->parts[i].kind == RL_PART_TOOL_CALL;
	}
	RL_BUF_LIT(out, "]");
	enum rl_finish finish = called && choice->finish == RL_FINISH_STOP ? RL_FINISH_TOOL_CALLS : choice->finish;

	if (finish == RL_FINISH_NONE && w->ours)
		rl_build_raw(out, "stop_reason", RL_STR("null"));
	else
		rl_build_text(out, "stop_reason",
			      rl_anthropic_stop_reason(finish, w->ours ? choice->finish_word : RL_STR(""),
						       choice->stop_sequence.p != NULL, refused));
	rl_build_key(out, "stop_sequence");
	if (choice->stop_sequence.p)
		rl_buf_json(out, choice->stop_sequence);
	else
		RL_BUF_LIT(out, "null");
	if (!w->ours) {
		rl_drop_extras(w->t, "answer", message->extras);
		rl_drop_extras(w->t, "answer", choice->extras);
		if (choice->logprobs.n && rl_json_type_of(choice->logprobs) != RL_JSON_NULL)
			rl_drop(w->t, "answer.logprobs");
	}
}

static void write_message(struct rl_anthropic_writer *w, const struct rl_chat_response *response)
{
	static const struct rl_choice none = {.finish = RL_FINISH_STOP};
	struct rl_buf *out = w->out;

	rl_build_text(out, "id", response->id.n ? response->id : RL_STR("msg_relais"));
	RL_BUF_LIT(out, ",\"type\":\"message\",\"role\":\"assistant\"");
	rl_build_text(out, "model", response->model);
	write_choice(w, response->n_choices ? &response->choices[0] : &none);
	if (response->n_choices > 1)
		rl_drop(w->t, "answer.choices[1]");
	rl_build_key(out, "usage");
	if (response->usage_json.n && w->ours)
		rl_buf_add(out, response->usage_json);
	else
		rl_anthropic_write_usage(&response->usage, out);
}

void rl_anthropic_write_response(enum rl_operation op, const struct rl_chat_response *response,
				 struct rl_translation *t, struct rl_buf *out)
{
	struct rl_anthropic_writer w;

	assert(op == RL_OP_CHAT || op == RL_OP_COUNT_TOKENS);
	w.out = out;
	w.t = t;
	w.request = NULL;
	w.ours = rl_str_eq(response->dialect, RL_STR(RL_ANTHROPIC_NAME));
	w.newer = false;
	w.cache_marks = 0;
	w.n_calls = 0;
	RL_BUF_LIT(out, "{");
	if (op == RL_OP_COUNT_TOKENS) {
		rl_build_key(out, "input_tokens");
		rl_buf_u64(out, response->usage.prompt_tokens);
	} else {
		write_message(&w, response);
	}
	if (w.ours)
		rl_build_extras(out, response->extras);
	else
		rl_drop_extras(t, "answer", response->extras);
	RL_BUF_LIT(out, "}");
}
