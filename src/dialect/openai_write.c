/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to OpenAI requests. What another dialect left as extras is named as
 * dropped, what it asks for and this one cannot say is refused; what this one left
 * is written where it stood. How the reader differs from OpenAI is in its quirks.
 */
#include "dialect/openai_priv.h"
#include "dialect/table.h"

#include <assert.h>

/* The API takes no more (2.5). */
#define STOPS_MAX 4u
#define SHORT_ID_BYTES 9u

static bool quirk(const struct rl_openai_writer *w, enum rl_quirk which)
{
	return rl_facts_quirk(w->t->facts, which);
}

/* --- saying what is left out --- */

/* "messages[2].<what>", or "answer.<what>". */
struct path {
	char text[96];
};

static struct path path_to(const struct rl_openai_writer *w, const char *what)
{
	struct path path;
	const char *dot = *what && *what != '[' ? "." : "";

	if (w->answer)
		snprintf(path.text, sizeof path.text, "answer%s%s", dot, what);
	else
		snprintf(path.text, sizeof path.text, "messages[%zu]%s%s", w->message, dot, what);
	return path;
}

static struct path part_path(const struct rl_openai_writer *w, size_t part)
{
	char what[32];

	snprintf(what, sizeof what, "content[%zu]", part);
	return path_to(w, what);
}

void rl_openai_drop(const struct rl_openai_writer *w, const char *what)
{
	rl_drop(w->t, "%s", path_to(w, what).text);
}

void rl_openai_put_extras(const struct rl_openai_writer *w, const char *place, struct rl_extras list)
{
	if (w->ours)
		rl_build_extras(w->out, list);
	else if (list.n)
		rl_drop_extras(w->t, path_to(w, place).text, list);
}

/* Of the request itself: `place` is the whole path. */
static void request_extras(const struct rl_openai_writer *w, const char *place, struct rl_extras list)
{
	if (w->ours)
		rl_build_extras(w->out, list);
	else
		rl_drop_extras(w->t, place, list);
}

static void refuse(const struct rl_openai_writer *w, const char *place, const char *what)
{
	rl_str param = rl_arena_dup(w->t->arena, rl_str_of(place));

	rl_refuse(w->t, param, "The target %.*s/%.*s cannot take %s. Leave it out, or use a model that can.",
		  RL_STR_ARG(w->t->facts->provider), RL_STR_ARG(w->t->facts->model), what);
}

static void number(struct rl_buf *out, const char *key, rl_str raw)
{
	if (raw.n)
		rl_build_raw(out, key, raw);
}

static void integer(struct rl_buf *out, const char *key, int64_t value)
{
	if (value != RL_UNSET)
		rl_build_int(out, key, value);
}

static void choice3(struct rl_buf *out, const char *key, enum rl_choice3 value)
{
	if (value != RL_UNSAID)
		rl_build_raw(out, key, value == RL_YES ? RL_STR("true") : RL_STR("false"));
}

/* Text that was said, even if it is empty. */
static void said(struct rl_buf *out, const char *key, rl_str text)
{
	if (text.p)
		rl_build_text(out, key, text);
}

/* --- parts --- */

/* As inside a JSON string, which is open already. */
void rl_openai_add_inside(struct rl_buf *out, rl_str text)
{
	size_t at = out->n;

	rl_buf_json(out, text);
	if (!rl_buf_ok(out))
		return;
	memmove(out->p + at, out->p + at + 1, out->n - at - 2);
	out->n -= 2;
}

void rl_openai_build_media_url(struct rl_buf *out, const char *key, const struct rl_media *media)
{
	if (media->source != RL_MEDIA_BASE64) {
		rl_build_text(out, key, media->data);
		return;
	}
	rl_build_key(out, key);
	RL_BUF_LIT(out, "\"data:");
	rl_openai_add_inside(out, media->mime);
	RL_BUF_LIT(out, ";base64,");
	rl_openai_add_inside(out, media->data);
	RL_BUF_LIT(out, "\"");
}

/* The API says "wav" and "mp3" where the rest of the world has media types. */
static rl_str audio_format(rl_str mime)
{
	if (rl_str_eq(mime, RL_STR("audio/mpeg")))
		return RL_STR("mp3");
	if (rl_str_eq(mime, RL_STR("audio/x-wav")) || rl_str_eq(mime, RL_STR("audio/wave")))
		return RL_STR("wav");
	return rl_str_starts(mime, RL_STR("audio/")) ? rl_str_sub(mime, 6, SIZE_MAX) : mime;
}

static void write_media(const struct rl_openai_writer *w, const struct rl_part *part)
{
	const struct rl_media *media = &part->media;
	struct rl_buf *out = w->out;

	switch (part->kind) {
	case RL_PART_IMAGE:
		rl_build_text(out, "type", RL_STR("image_url"));
		RL_BUF_LIT(out, ",\"image_url\":{");
		rl_openai_build_media_url(out, "url", media);
		said(out, "detail", media->detail);
		break;
	case RL_PART_AUDIO:
		rl_build_text(out, "type", RL_STR("input_audio"));
		RL_BUF_LIT(out, ",\"input_audio\":{");
		rl_build_text(out, "data", media->data);
		said(out, "format", audio_format(media->mime));
		break;
	default:
		assert(part->kind == RL_PART_DOCUMENT);
		rl_build_text(out, "type", RL_STR("file"));
		RL_BUF_LIT(out, ",\"file\":{");
		if (media->source == RL_MEDIA_FILE)
			rl_build_text(out, "file_id", media->data);
		else
			rl_openai_build_media_url(out, "file_data", media);
		/* The API wants a name; dialects without one still have documents. */
		if (!w->ours && media->source == RL_MEDIA_BASE64 && !media->name.n)
			rl_build_text(out, "filename", RL_STR("document.pdf"));
		else
			said(out, "filename", media->name);
	}
	if (w->ours)
		rl_build_extras(out, media->extras);
	RL_BUF_LIT(out, "}");
}

/* As the client wrote it, or as the reader takes it; what it does not take is dropped. */
static void write_mark(const struct rl_openai_writer *w, const struct rl_cache_mark *mark, const char *place)
{
	struct rl_buf *out = w->out;

	if (!mark->set)
		return;
	if (w->ours && mark->json.n) {
		bool ephemeral = rl_json_string_is(rl_table_type(mark->json), RL_STR("ephemeral"));

		rl_build_raw(out, ephemeral ? "cache_control" : "prompt_cache_breakpoint", mark->json);
	} else if (quirk(w, RL_QUIRK_CACHE_CONTROL)) {
		rl_build_key(out, "cache_control");
		RL_BUF_LIT(out, "{\"type\":\"ephemeral\"");
		said(out, "ttl", mark->ttl);
		RL_BUF_LIT(out, "}");
	} else if (quirk(w, RL_QUIRK_CACHE_BREAKPOINT)) {
		/* Its times are others: the usual one stands for all. */
		rl_build_raw(out, "prompt_cache_breakpoint", RL_STR("{\"mode\":\"explicit\"}"));
	} else {
		rl_drop(w->t, "%s", place);
	}
}

/* A document that is text has no form here but text. */
static bool is_text_document(const struct rl_part *part)
{
	return part->kind == RL_PART_DOCUMENT && part->media.source == RL_MEDIA_TEXT;
}

static bool is_raw_thought(const struct rl_openai_writer *w, const struct rl_part *part)
{
	return w->ours && part->kind == RL_PART_REASONING && rl_str_eq(part->reasoning.spelling, RL_STR("thinking"));
}

/* One element of a `content` list, the `at`th part. */
static void write_part(const struct rl_openai_writer *w, const struct rl_part *part, size_t at)
{
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	if (part->kind == RL_PART_RAW || part->kind == RL_PART_REASONING) {
		rl_buf_add(out, part->kind == RL_PART_RAW ? part->json : part->reasoning.json);
		return;
	}
	RL_BUF_LIT(out, "{");
	if (part->kind == RL_PART_TEXT || part->kind == RL_PART_REFUSAL || is_text_document(part)) {
		bool refusal = part->kind == RL_PART_REFUSAL;

		rl_build_text(out, "type", refusal ? RL_STR("refusal") : RL_STR("text"));
		rl_build_text(out, refusal ? "refusal" : "text",
			      is_text_document(part) ? part->media.data : part->text);
	} else {
		write_media(w, part);
	}
	if (part->cache.set) {
		char what[48];

		snprintf(what, sizeof what, "content[%zu].cache_control", at);
		write_mark(w, &part->cache, path_to(w, what).text);
	}
	if (w->ours)
		rl_build_extras(out, part->extras);
	RL_BUF_LIT(out, "}");
}

static bool in_content(const struct rl_openai_writer *w, const struct rl_part *part)
{
	switch (part->kind) {
	case RL_PART_TEXT:
	case RL_PART_IMAGE:
	case RL_PART_AUDIO:
	case RL_PART_DOCUMENT:
		return true;
	case RL_PART_RAW:
		return w->ours;
	case RL_PART_REASONING:
		return is_raw_thought(w, part);
	default:
		return false;
	}
}

/* How many parts go into `content`; *only is the last of them. */
static size_t count_content(const struct rl_openai_writer *w, const struct rl_part *parts, size_t n,
			    const struct rl_part **only)
{
	size_t count = 0;

	*only = NULL;
	for (size_t i = 0; i < n; i++) {
		if (!in_content(w, &parts[i]))
			continue;
		*only = &parts[i];
		count++;
	}
	return count;
}

/* Whether a part must be an object to say all that it says. */
static bool is_bare_text(const struct rl_openai_writer *w, const struct rl_part *part)
{
	bool marked =
		part->cache.set && (w->ours || quirk(w, RL_QUIRK_CACHE_CONTROL) || quirk(w, RL_QUIRK_CACHE_BREAKPOINT));

	return (part->kind == RL_PART_TEXT && !marked && !(w->ours && part->extras.n)) ||
	       (is_text_document(part) && !marked);
}

/*
 * A single text is a string, as every server understands it; anything else is a
 * list. Only an assistant may say nothing by null.
 */
static void write_content(const struct rl_openai_writer *w, const struct rl_part *parts, size_t n, bool nullable)
{
	const struct rl_part *only;
	size_t count = count_content(w, parts, n, &only);

	if (!count) {
		rl_build_raw(w->out, "content", nullable ? RL_STR("null") : RL_STR("\"\""));
		return;
	}
	if (count == 1 && is_bare_text(w, only)) {
		rl_build_text(w->out, "content", is_text_document(only) ? only->media.data : only->text);
		if (only->cache.set)
			write_mark(w, &only->cache, path_to(w, "cache_control").text);
		return;
	}
	rl_build_key(w->out, "content");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < n; i++)
		if (in_content(w, &parts[i]))
			write_part(w, &parts[i], i);
	RL_BUF_LIT(w->out, "]");
}

/* --- what cannot be said here (messages of other dialects) --- */

static void judge_media(const struct rl_openai_writer *w, const struct rl_part *part, const char *place)
{
	const struct rl_media *media = &part->media;
	bool image = part->kind == RL_PART_IMAGE;

	if (media->source == RL_MEDIA_FILE)
		refuse(w, place, "a file that was uploaded to another provider");
	else if (part->kind == RL_PART_AUDIO && media->source != RL_MEDIA_BASE64)
		refuse(w, place, "audio by its address (send it as base64)");
	else if (part->kind == RL_PART_DOCUMENT && media->source == RL_MEDIA_URL)
		refuse(w, place, "a document by its address (send it as base64)");
	else if (image && media->source == RL_MEDIA_TEXT)
		refuse(w, place, "a picture that is text");
	if (is_text_document(part) && media->name.n)
		rl_drop(w->t, "%s.title", place);
	if (!w->ours)
		rl_drop_extras(w->t, place, media->extras);
}

static void judge_part(const struct rl_openai_writer *w, enum rl_role role, const struct rl_part *part,
		       const char *place);

static void judge_result(const struct rl_openai_writer *w, const struct rl_tool_result *result, const char *place)
{
	if (result->is_error)
		rl_drop(w->t, "%s.is_error", place);
	for (size_t i = 0; i < result->n_parts; i++) {
		char inner[128];

		snprintf(inner, sizeof inner, "%s.content[%zu]", place, i);
		judge_part(w, RL_ROLE_TOOL, &result->parts[i], inner);
	}
}

static bool role_takes(enum rl_role role, enum rl_part_kind kind)
{
	if (kind == RL_PART_IMAGE)
		return role == RL_ROLE_USER || role == RL_ROLE_TOOL;
	return role == RL_ROLE_USER;
}

static void judge_part(const struct rl_openai_writer *w, enum rl_role role, const struct rl_part *part,
		       const char *place)
{
	switch (part->kind) {
	case RL_PART_IMAGE:
	case RL_PART_AUDIO:
	case RL_PART_DOCUMENT:
		if (!role_takes(role, part->kind) && !is_text_document(part))
			refuse(w, place,
			       part->kind == RL_PART_IMAGE   ? "a picture in this role"
			       : part->kind == RL_PART_AUDIO ? "audio in this role"
							     : "a document in this role");
		judge_media(w, part, place);
		break;
	case RL_PART_VIDEO:
		refuse(w, place, "video");
		break;
	case RL_PART_RAW:
		/* What a model's own tool did is history; what the client says is the question. */
		if (role == RL_ROLE_ASSISTANT)
			rl_drop(w->t, "%s", place);
		else
			refuse(w, place, "a part that is known to another provider only");
		break;
	case RL_PART_TOOL_CALL:
		if (part->call.kind == RL_TOOL_KIND_HOSTED)
			rl_drop(w->t, "%s", place);
		rl_drop_extras(w->t, place, part->call.extras);
		if (part->cache.set)
			rl_drop(w->t, "%s.cache_control", place);
		break;
	case RL_PART_TOOL_RESULT:
		judge_result(w, &part->result, place);
		if (part->cache.set)
			rl_drop(w->t, "%s.cache_control", place);
		break;
	default:
		if (part->n_citations)
			rl_drop(w->t, "%s.citations", place);
	}
	rl_drop_extras(w->t, place, part->extras);
}

static void judge_message(const struct rl_openai_writer *w, const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		judge_part(w, message->role, &message->parts[i], part_path(w, i).text);
}

/* What a vendor cannot take although the dialect can: also in messages of its own. */
static void judge_quirks(const struct rl_openai_writer *w, const struct rl_message *message)
{
	if (!quirk(w, RL_QUIRK_NO_IMAGE_URL))
		return;
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_IMAGE && message->parts[i].media.source == RL_MEDIA_URL)
			refuse(w, part_path(w, i).text, "a picture by its address (send it as base64)");
}

/* --- messages --- */

static bool is_short(rl_str id)
{
	for (size_t i = 0; i < id.n; i++)
		if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'z') ||
		      (id.p[i] >= 'A' && id.p[i] <= 'Z')))
			return false;
	return id.n == SHORT_ID_BYTES;
}

/* Nine letters and digits out of any id, the same for the same (FNV-1a, in base 62). */
static rl_str shorten(const struct rl_openai_writer *w, rl_str id)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint64_t hash = 14695981039346656037u;
	char text[SHORT_ID_BYTES];

	for (size_t i = 0; i < id.n; i++)
		hash = (hash ^ (unsigned char)id.p[i]) * 1099511628211u;
	for (size_t i = 0; i < SHORT_ID_BYTES; i++, hash /= 62)
		text[i] = digits[hash % 62];
	rl_str copy = rl_arena_dup(w->t->arena, rl_str_make(text, sizeof text));

	if (!copy.p)
		rl_translation_nomem(w->t);
	return copy;
}

static rl_str fit_id(const struct rl_openai_writer *w, rl_str id)
{
	return id.p && quirk(w, RL_QUIRK_SHORT_TOOL_IDS) && !is_short(id) ? shorten(w, id) : id;
}

/* For dialects whose calls have none: by place in the conversation, so that it is the same next time. */
static rl_str made_id(const struct rl_openai_writer *w, size_t message, size_t part)
{
	rl_str id = rl_arena_printf(w->t->arena, "call_%zu_%zu", message, part);

	if (!id.p)
		rl_translation_nomem(w->t);
	return id;
}

rl_str rl_openai_call_id(const struct rl_openai_writer *w, const struct rl_tool_call *call, size_t part)
{
	return fit_id(w, call->id.n || w->ours ? call->id : made_id(w, w->message, part));
}

/*
 * Of a result without an id: its call is the one of the same number among those without an id, in the last turn that
 * has any; `before` results without one stand earlier in the message.
 */
static rl_str result_id(const struct rl_openai_writer *w, const struct rl_tool_result *result, size_t before)
{
	const struct rl_chat_request *request = w->request;

	if (result->call_id.n || w->ours || !request)
		return fit_id(w, result->call_id);
	for (size_t m = w->message; m-- > 0;) {
		const struct rl_message *message = &request->messages[m];
		size_t calls = 0;

		for (size_t i = 0; i < message->n_parts; i++) {
			const struct rl_part *part = &message->parts[i];

			if (part->kind == RL_PART_TOOL_CALL && !part->call.id.n && calls++ == before)
				return fit_id(w, made_id(w, m, i));
			before += message->role != RL_ROLE_ASSISTANT && part->kind == RL_PART_TOOL_RESULT &&
				  !part->result.call_id.n;
		}
		if (calls)
			break;
	}
	return fit_id(w, RL_STR("call_unknown"));
}

static void write_call(const struct rl_openai_writer *w, const struct rl_message *message, size_t at)
{
	const struct rl_part *part = &message->parts[at];
	const struct rl_tool_call *call = &part->call;
	bool custom = call->kind == RL_TOOL_KIND_CUSTOM;
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	if (call->kind == RL_TOOL_KIND_HOSTED) {
		rl_buf_add(out, call->arguments);
		return;
	}
	RL_BUF_LIT(out, "{");
	said(out, "id", rl_openai_call_id(w, call, at));
	rl_build_text(out, "type", custom ? RL_STR("custom") : RL_STR("function"));
	rl_build_key(out, custom ? "custom" : "function");
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "name", call->name);
	/* No arguments are an empty object here, never an empty text. */
	rl_build_text(out, custom ? "input" : "arguments",
		      call->arguments.n || custom || w->ours ? call->arguments : RL_STR("{}"));
	if (w->ours)
		rl_build_extras(out, call->extras);
	RL_BUF_LIT(out, "}");
	rl_openai_write_call_seal(w, message, at);
	if (w->ours)
		rl_build_extras(out, part->extras);
	RL_BUF_LIT(out, "}");
}

static bool is_modern_call(const struct rl_openai_writer *w, const struct rl_part *part)
{
	return part->kind == RL_PART_TOOL_CALL && part->call.kind != RL_TOOL_KIND_LEGACY &&
	       (part->call.kind != RL_TOOL_KIND_HOSTED || w->ours);
}

void rl_openai_write_calls(const struct rl_openai_writer *w, const struct rl_message *message)
{
	struct rl_buf *out = w->out;
	bool open = false;

	for (size_t i = 0; i < message->n_parts; i++) {
		if (!is_modern_call(w, &message->parts[i]))
			continue;
		if (!open) {
			rl_build_key(out, "tool_calls");
			RL_BUF_LIT(out, "[");
			open = true;
		}
		write_call(w, message, i);
	}
	if (open)
		RL_BUF_LIT(out, "]");
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (part->kind != RL_PART_TOOL_CALL || part->call.kind != RL_TOOL_KIND_LEGACY)
			continue;
		rl_build_key(out, "function_call");
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "name", part->call.name);
		rl_build_text(out, "arguments", part->call.arguments);
		rl_openai_put_extras(w, "function_call", part->call.extras);
		RL_BUF_LIT(out, "}");
	}
}

static void write_refusal(const struct rl_openai_writer *w, const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++) {
		if (message->parts[i].kind != RL_PART_REFUSAL)
			continue;
		rl_build_text(w->out, "refusal", message->parts[i].text);
		return;
	}
}

/* Of this dialect's own messages, which bear them on the first text. */
static void write_annotations(const struct rl_openai_writer *w, const struct rl_message *message)
{
	bool open = false;

	for (size_t i = 0; i < message->n_parts && w->ours; i++) {
		const struct rl_part *part = &message->parts[i];

		for (size_t k = 0; part->kind == RL_PART_TEXT && k < part->n_citations; k++) {
			if (!open) {
				rl_build_key(w->out, "annotations");
				RL_BUF_LIT(w->out, "[");
				open = true;
			}
			rl_openai_write_citation(w->out, &part->citations[k], true, 0);
		}
	}
	if (open)
		RL_BUF_LIT(w->out, "]");
}

static rl_str role_name(const struct rl_openai_writer *w, enum rl_role role)
{
	if (role == RL_ROLE_DEVELOPER && quirk(w, RL_QUIRK_NO_DEVELOPER))
		role = RL_ROLE_SYSTEM;
	return rl_str_of(rl_role_name(role));
}

void rl_openai_write_members(const struct rl_openai_writer *w, const struct rl_message *message)
{
	rl_build_text(w->out, "role", role_name(w, message->role));
	if (message->name.n)
		rl_build_text(w->out, "name", message->name);
	write_content(w, message->parts, message->n_parts, message->role == RL_ROLE_ASSISTANT);
	write_refusal(w, message);
	rl_openai_write_thoughts(w, message);
	rl_openai_write_calls(w, message);
	write_annotations(w, message);
	rl_openai_put_extras(w, "", message->extras);
}

static void write_result(const struct rl_openai_writer *w, const struct rl_message *message,
			 const struct rl_tool_result *result, size_t idless)
{
	bool legacy = result->kind == RL_TOOL_KIND_LEGACY;
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "role", legacy ? RL_STR("function") : RL_STR("tool"));
	if (!legacy)
		rl_build_text(out, "tool_call_id", result_id(w, result, idless));
	if (w->ours)
		said(out, "name", result->name);
	write_content(w, result->parts, result->n_parts, false);
	if (message->role == RL_ROLE_TOOL)
		rl_openai_put_extras(w, "", message->extras);
	RL_BUF_LIT(out, "}");
}

/* Whether anything but results is in it that a message is written for. */
static bool says_more(const struct rl_openai_writer *w, const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++) {
		enum rl_part_kind kind = message->parts[i].kind;

		if (kind != RL_PART_TOOL_RESULT &&
		    (w->ours || message->role == RL_ROLE_ASSISTANT || in_content(w, &message->parts[i])))
			return true;
	}
	return w->ours && !message->n_parts;
}

/* Results first, each in a message of its own: that is where this API wants them. */
static void write_message(const struct rl_openai_writer *w, const struct rl_message *message)
{
	size_t idless = 0;

	if (!w->ours)
		judge_message(w, message);
	judge_quirks(w, message);
	for (size_t i = 0; i < message->n_parts; i++) {
		if (message->parts[i].kind != RL_PART_TOOL_RESULT)
			continue;
		write_result(w, message, &message->parts[i].result, idless);
		idless += !message->parts[i].result.call_id.n;
	}
	if (message->role == RL_ROLE_TOOL || !says_more(w, message))
		return;
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	rl_openai_write_members(w, message);
	RL_BUF_LIT(w->out, "}");
}

/* --- tools --- */

static void write_function(const struct rl_openai_writer *w, const struct rl_tool *tool, const char *place)
{
	struct rl_buf *out = w->out;

	RL_BUF_LIT(out, "{");
	rl_build_text(out, "name", tool->name);
	said(out, "description", tool->description);
	number(out, "parameters", tool->schema);
	choice3(out, "strict", tool->strict);
	request_extras(w, place, tool->inner);
	RL_BUF_LIT(out, "}");
}

static void write_tool(const struct rl_openai_writer *w, const struct rl_tool *tool, size_t at)
{
	struct rl_buf *out = w->out;
	char place[32], mark[48];

	snprintf(place, sizeof place, "tools[%zu]", at);
	snprintf(mark, sizeof mark, "%s.cache_control", place);
	if (tool->kind == RL_TOOL_KIND_HOSTED && !w->ours) {
		refuse(w, place, "a tool that runs at another provider");
		return;
	}
	rl_build_comma(out);
	switch (tool->kind) {
	case RL_TOOL_KIND_HOSTED:
		rl_buf_add(out, tool->json);
		return;
	case RL_TOOL_KIND_LEGACY:
		write_function(w, tool, place);
		return;
	case RL_TOOL_KIND_CUSTOM:
		RL_BUF_LIT(out, "{\"type\":\"custom\",\"custom\":{");
		rl_build_text(out, "name", tool->name);
		said(out, "description", tool->description);
		number(out, "format", tool->format);
		request_extras(w, place, tool->inner);
		RL_BUF_LIT(out, "}");
		break;
	default:
		RL_BUF_LIT(out, "{\"type\":\"function\",\"function\":");
		write_function(w, tool, place);
	}
	write_mark(w, &tool->cache, mark);
	request_extras(w, place, tool->extras);
	RL_BUF_LIT(out, "}");
}

static void write_tools(const struct rl_openai_writer *w, const struct rl_chat_request *request)
{
	/* An empty list is an error to this API (DIALECTS 2.11, trap 22). */
	if (!request->n_tools)
		return;
	rl_build_key(w->out, request->tools[0].kind == RL_TOOL_KIND_LEGACY ? "functions" : "tools");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < request->n_tools; i++)
		write_tool(w, &request->tools[i], i);
	RL_BUF_LIT(w->out, "]");
}

static void write_named(struct rl_buf *out, const struct rl_tool_choice *choice)
{
	RL_BUF_LIT(out, "{");
	if (choice->kind == RL_TOOL_KIND_LEGACY) {
		rl_build_text(out, "name", choice->names[0]);
	} else {
		bool custom = choice->kind == RL_TOOL_KIND_CUSTOM;

		rl_build_text(out, "type", custom ? RL_STR("custom") : RL_STR("function"));
		rl_build_key(out, custom ? "custom" : "function");
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "name", choice->names[0]);
		RL_BUF_LIT(out, "}");
	}
	RL_BUF_LIT(out, "}");
}

static void write_allowed(struct rl_buf *out, const struct rl_tool_choice *choice, rl_str mode)
{
	RL_BUF_LIT(out, "{\"type\":\"allowed_tools\",\"allowed_tools\":{");
	rl_build_text(out, "mode", mode);
	RL_BUF_LIT(out, ",\"tools\":[");
	for (size_t i = 0; i < choice->n_names; i++) {
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"type\":\"function\",\"function\":{");
		rl_build_text(out, "name", choice->names[i]);
		RL_BUF_LIT(out, "}}");
	}
	RL_BUF_LIT(out, "]}}");
}

static void write_tool_choice(const struct rl_openai_writer *w, const struct rl_tool_choice *choice, size_t n_tools)
{
	static const rl_str modes[] = {
		[RL_TOOL_CHOICE_NONE] = RL_STR_INIT("none"),
		[RL_TOOL_CHOICE_AUTO] = RL_STR_INIT("auto"),
		[RL_TOOL_CHOICE_REQUIRED] = RL_STR_INIT("required"),
	};
	struct rl_buf *out = w->out;

	bool forced = choice->mode == RL_TOOL_CHOICE_REQUIRED || choice->mode == RL_TOOL_CHOICE_NAMED;

	/* Without tools it is an error to this API, and says nothing. */
	if (choice->mode == RL_TOOL_CHOICE_UNSAID || (!w->ours && !n_tools))
		return;
	if (choice->mode == RL_TOOL_CHOICE_RAW && !w->ours) {
		refuse(w, "tool_choice", "this choice of tools");
		return;
	}
	if (quirk(w, RL_QUIRK_NO_TOOL_CHOICE)) {
		if (forced || choice->n_names)
			refuse(w, "tool_choice", "a tool that must be used");
		return;
	}
	rl_build_key(out, choice->kind == RL_TOOL_KIND_LEGACY ? "function_call" : "tool_choice");
	if (choice->mode == RL_TOOL_CHOICE_NAMED)
		write_named(out, choice);
	else if (choice->json.n && w->ours)
		rl_buf_add(out, choice->json);
	else if (choice->n_names)
		write_allowed(out, choice, modes[choice->mode]);
	else if (choice->mode == RL_TOOL_CHOICE_REQUIRED && quirk(w, RL_QUIRK_TOOL_CHOICE_ANY))
		RL_BUF_LIT(out, "\"any\"");
	else
		rl_buf_json(out, modes[choice->mode]);
}

/* --- requests --- */

static void write_schema(const struct rl_openai_writer *w, const struct rl_format *format)
{
	struct rl_buf *out = w->out;

	if (quirk(w, RL_QUIRK_NO_SCHEMA)) {
		refuse(w, "response_format", "a JSON schema for the answer");
		return;
	}
	rl_build_key(out, "response_format");
	if (quirk(w, RL_QUIRK_JSON_OBJECT_SCHEMA)) {
		RL_BUF_LIT(out, "{\"type\":\"json_object\"");
		number(out, "schema", format->schema);
		RL_BUF_LIT(out, "}");
		return;
	}
	RL_BUF_LIT(out, "{\"type\":\"json_schema\",\"json_schema\":{");
	/* The API wants a name; dialects without one still have a schema. */
	rl_build_text(out, "name", format->name.n ? format->name : RL_STR("response"));
	said(out, "description", format->description);
	number(out, "schema", format->schema);
	choice3(out, "strict", format->strict);
	request_extras(w, "response_format", format->extras);
	RL_BUF_LIT(out, "}}");
}

static void write_format(const struct rl_openai_writer *w, const struct rl_format *format)
{
	switch (format->kind) {
	case RL_FORMAT_UNSAID:
		return;
	case RL_FORMAT_RAW:
		if (w->ours)
			rl_build_raw(w->out, "response_format", format->json);
		else
			refuse(w, "response_format", "this form of answers");
		return;
	case RL_FORMAT_SCHEMA:
		write_schema(w, format);
		return;
	default:
		rl_build_raw(w->out, "response_format",
			     format->kind == RL_FORMAT_JSON ? RL_STR("{\"type\":\"json_object\"}")
							    : RL_STR("{\"type\":\"text\"}"));
		if (!w->ours)
			rl_drop_extras(w->t, "response_format", format->extras);
	}
}

static void write_stop(const struct rl_openai_writer *w, const struct rl_chat_request *request)
{
	struct rl_buf *out = w->out;
	size_t n = request->n_stop;

	if (!n)
		return;
	for (; !w->ours && n > STOPS_MAX; n--)
		rl_drop(w->t, "stop[%zu]", n - 1);
	rl_build_key(out, "stop");
	if (n == 1) {
		rl_buf_json(out, request->stop[0]);
		return;
	}
	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < n; i++) {
		rl_build_comma(out);
		rl_buf_json(out, request->stop[i]);
	}
	RL_BUF_LIT(out, "]");
}

/*
 * The limits: both names have come to mean much the same, and readers differ in which they know. A request of another
 * dialect gets the one that OpenAI's present models want.
 */
static void write_limits(const struct rl_openai_writer *w, const struct rl_chat_request *request, bool chat)
{
	bool older = !chat || quirk(w, RL_QUIRK_MAX_TOKENS);
	bool newer = chat && (quirk(w, RL_QUIRK_MAX_COMPLETION) || !w->ours);
	int64_t a = request->max_tokens, b = request->max_completion_tokens;
	int64_t tighter = a == RL_UNSET || (b != RL_UNSET && b < a) ? b : a;

	if (older || newer) {
		integer(w->out, older ? "max_tokens" : "max_completion_tokens", tighter);
		return;
	}
	integer(w->out, "max_tokens", a);
	integer(w->out, "max_completion_tokens", b);
}

/* A member that some cannot take, and that can be left out. */
static void unless(const struct rl_openai_writer *w, enum rl_quirk which, const char *key, rl_str raw)
{
	if (raw.n && quirk(w, which))
		rl_drop(w->t, "%s", key);
	else
		number(w->out, key, raw);
}

static void write_stream(const struct rl_openai_writer *w, const struct rl_chat_request *request)
{
	struct rl_buf *out = w->out;

	if (!request->stream)
		return;
	rl_build_raw(out, "stream", RL_STR("true"));
	if (quirk(w, RL_QUIRK_NO_STREAM_OPTIONS) || (!request->include_usage && !(w->ours && request->stream_extras.n)))
		return;
	rl_build_key(out, "stream_options");
	RL_BUF_LIT(out, "{");
	if (request->include_usage)
		rl_build_raw(out, "include_usage", RL_STR("true"));
	request_extras(w, "stream_options", request->stream_extras);
	RL_BUF_LIT(out, "}");
}

static void write_sampling(const struct rl_openai_writer *w, const struct rl_chat_request *request, bool chat)
{
	struct rl_buf *out = w->out;

	write_limits(w, request, chat);
	if (request->n > 1 && quirk(w, RL_QUIRK_NO_N))
		refuse(w, "n", "more than one choice");
	else if (request->n != 1 || !quirk(w, RL_QUIRK_NO_N))
		integer(out, "n", request->n);
	unless(w, RL_QUIRK_NO_SAMPLING, "temperature", request->temperature);
	unless(w, RL_QUIRK_NO_SAMPLING, "top_p", request->top_p);
	if (request->top_k.n && !w->ours && !quirk(w, RL_QUIRK_TOP_K))
		rl_drop(w->t, "top_k");
	else
		unless(w, RL_QUIRK_NO_SAMPLING, "top_k", request->top_k);
	number(out, "frequency_penalty", request->frequency_penalty);
	number(out, "presence_penalty", request->presence_penalty);
	if (quirk(w, RL_QUIRK_RANDOM_SEED))
		number(out, "random_seed", request->seed);
	else
		unless(w, RL_QUIRK_NO_SEED, "seed", request->seed);
	write_stop(w, request);
	write_stream(w, request);
}

static void write_inputs(struct rl_buf *out, const char *key, const struct rl_chat_request *request)
{
	rl_build_key(out, key);
	if (!request->single_input)
		RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < request->n_inputs; i++) {
		const struct rl_input *input = &request->inputs[i];

		rl_build_comma(out);
		if (input->is_tokens)
			rl_buf_add(out, input->text);
		else
			rl_buf_json(out, input->text);
	}
	if (!request->single_input)
		RL_BUF_LIT(out, "]");
}

/* A budget in tokens as the nearest effort (2.6: budgets are conventions). */
static rl_str effort_of(int64_t budget)
{
	if (budget <= 0)
		return RL_STR("none");
	if (budget < 2048)
		return RL_STR("low");
	return budget <= 8192 ? RL_STR("medium") : RL_STR("high");
}

static void write_effort(const struct rl_openai_writer *w, const struct rl_chat_request *request)
{
	rl_str effort = request->effort;

	if (!effort.n && !w->ours && request->reasoning_budget >= 0 && request->reasoning != RL_NO)
		effort = effort_of(request->reasoning_budget);
	if (!effort.n && !w->ours && request->reasoning == RL_NO && quirk(w, RL_QUIRK_NO_EFFORT))
		return; /* there is nothing to be switched off */
	if (!effort.n && !w->ours && request->reasoning == RL_NO)
		effort = RL_STR("none");
	if (effort.n && quirk(w, RL_QUIRK_NO_EFFORT))
		rl_drop(w->t, "reasoning_effort");
	else if (effort.n || w->ours)
		said(w->out, "reasoning_effort", effort);
}

static void write_logprobs(const struct rl_openai_writer *w, const struct rl_chat_request *request)
{
	if (!quirk(w, RL_QUIRK_NO_LOGPROBS)) {
		choice3(w->out, "logprobs", request->logprobs);
		integer(w->out, "top_logprobs", request->top_logprobs);
	} else if (request->logprobs == RL_YES) {
		rl_drop(w->t, "logprobs");
	}
}

static void write_chat(const struct rl_openai_writer *w, const struct rl_chat_request *request)
{
	struct rl_openai_writer each = *w;
	struct rl_buf *out = w->out;

	rl_build_key(out, "messages");
	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < request->n_messages; i++) {
		each.message = i;
		write_message(&each, &request->messages[i]);
	}
	RL_BUF_LIT(out, "]");
	/* Who cannot be told to use none is not given any. */
	if (request->tool_choice.mode != RL_TOOL_CHOICE_NONE || !quirk(w, RL_QUIRK_NO_TOOL_CHOICE)) {
		write_tools(w, request);
		write_tool_choice(w, &request->tool_choice, request->n_tools);
	}
	if (w->ours || request->n_tools)
		choice3(out, "parallel_tool_calls", request->parallel_tool_calls);
	write_format(w, &request->format);
	write_effort(w, request);
	write_logprobs(w, request);
	if (request->cache.set)
		write_mark(w, &request->cache, "cache_control");
}

void rl_openai_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			     struct rl_buf *out)
{
	struct rl_openai_writer w = {.out = out,
				     .t = t,
				     .request = request,
				     .ours = rl_str_eq(request->dialect, RL_STR(RL_OPENAI_NAME))};

	RL_BUF_LIT(out, "{");
	rl_build_text(out, "model", request->model);
	switch (op) {
	case RL_OP_CHAT:
		write_chat(&w, request);
		write_sampling(&w, request, true);
		break;
	case RL_OP_COMPLETION:
		if (request->inputs)
			write_inputs(out, "prompt", request);
		write_sampling(&w, request, false);
		integer(out, "logprobs", request->top_logprobs);
		break;
	case RL_OP_EMBEDDING:
		write_inputs(out, "input", request);
		integer(out, "dimensions", request->dimensions);
		if (request->encoding)
			rl_build_text(out, "encoding_format",
				      request->encoding == RL_ENCODING_BASE64 ? RL_STR("base64") : RL_STR("float"));
		if (request->purpose.n)
			rl_drop(t, "input_type");
		break;
	case RL_OP_NONE:
	case RL_OP_MODELS:
	case RL_OP_MODERATION:
	case RL_OP_IMAGE:
	case RL_OP_SPEECH:
	case RL_OP_RESPONSE:
	case RL_OP_IMAGE_EDIT:
	case RL_OP_IMAGE_VARIATION:
	case RL_OP_TRANSCRIPTION:
	case RL_OP_TRANSLATION:
	case RL_OP_PASS:
	case RL_OP_COUNT_TOKENS:
	case RL_OP_COUNT:
		assert(op == RL_OP_CHAT); /* the others have no message */
	}
	said(out, "user", request->user);
	request_extras(&w, "", request->extras);
	RL_BUF_LIT(out, "}");
}
