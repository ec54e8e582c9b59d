/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was said, as items of the Responses API: the parts of messages, calls and
 * their results, thoughts.
 *
 * What comes from another dialect becomes items without ids: the API takes them so,
 * and an id would be looked for in what the provider keeps.
 */
#include "responses/responses_write_priv.h"

#include "base/map.h"

#include <assert.h>
#include <inttypes.h>

void rl_responses_refuse(const struct rl_responses_writer *w, const char *where, const char *what)
{
	if (!w->t)
		return;
	if (w->answer) { /* there is no other target to turn to any more */
		rl_drop(w->t, "%s", where);
		return;
	}
	rl_str param = rl_arena_dup(w->t->arena, rl_str_of(where));

	rl_refuse(w->t, param,
		  "The target %.*s/%.*s speaks the Responses API, which cannot take %s ('%s'). Leave it out, or choose "
		  "another model.",
		  RL_STR_ARG(w->t->facts->provider), RL_STR_ARG(w->t->facts->model), what, where);
}

/* --- content parts --- */

/* As inside a JSON string, which is open already. */
static void add_inside(struct rl_buf *out, rl_str text)
{
	size_t at = out->n;

	rl_buf_json(out, text);
	if (!rl_buf_ok(out))
		return;
	memmove(out->p + at, out->p + at + 1, out->n - at - 2);
	out->n -= 2;
}

static void data_url(struct rl_buf *out, const char *key, rl_str mime, rl_str data)
{
	rl_build_key(out, key);
	RL_BUF_LIT(out, "\"data:");
	add_inside(out, mime);
	RL_BUF_LIT(out, ";base64,");
	/* Base64 needs no escapes; what a client calls so may. */
	add_inside(out, data);
	RL_BUF_LIT(out, "\"");
}

static void write_image(const struct rl_responses_writer *w, const struct rl_media *media, const char *where)
{
	struct rl_buf *out = w->out;

	rl_build_text(out, "type", RL_STR("input_image"));
	/* Its type says that it must be there. */
	if (media->detail.p || !w->ours)
		rl_build_text(out, "detail", media->detail.n ? media->detail : RL_STR("auto"));
	if (media->source == RL_MEDIA_BASE64) {
		data_url(out, "image_url", media->mime.n ? media->mime : RL_STR("image/png"), media->data);
	} else if (media->source == RL_MEDIA_FILE) {
		rl_build_text(out, "file_id", media->data);
	} else {
		rl_build_text(out, "image_url", media->data);
		if (quirk(w, RL_QUIRK_NO_IMAGE_URL) && !rl_str_starts(media->data, RL_STR("data:")))
			rl_responses_refuse(w, where, "an image by its address");
	}
	if (!w->ours && media->name.n)
		DROP(w, "%s.name", where);
	else
		said(out, "filename", media->name);
}

static void write_file(const struct rl_responses_writer *w, const struct rl_media *media, const char *where)
{
	struct rl_buf *out = w->out;
	bool pdf = rl_str_eq(media->mime, RL_STR("application/pdf"));

	(void)where;
	rl_build_text(out, "type", RL_STR("input_file"));
	if (media->source == RL_MEDIA_FILE) {
		rl_build_text(out, "file_id", media->data);
	} else if (media->source == RL_MEDIA_URL) {
		rl_build_text(out, "file_url", media->data);
	} else if (media->mime.n) {
		data_url(out, "file_data", media->mime, media->data);
	} else {
		rl_build_text(out, "file_data", media->data);
	}
	if (media->name.p)
		rl_build_text(out, "filename", media->name);
	else if (!w->ours && media->source == RL_MEDIA_BASE64) /* data without a name is refused */
		rl_build_text(out, "filename", pdf ? RL_STR("document.pdf") : RL_STR("document"));
	said(out, "detail", media->detail);
}

static void write_audio(const struct rl_responses_writer *w, const struct rl_media *media)
{
	struct rl_buf *out = w->out;
	bool named = rl_str_starts(media->mime, RL_STR("audio/"));

	rl_build_text(out, "type", RL_STR("input_audio"));
	RL_BUF_LIT(out, ",\"input_audio\":{");
	rl_build_text(out, "data", media->data);
	said(out, "format", named ? rl_str_sub(media->mime, 6, SIZE_MAX) : media->mime);
	rl_build_extras(out, media->extras);
	RL_BUF_LIT(out, "}");
}

void rl_responses_write_annotation(const struct rl_citation *citation, bool ours, struct rl_buf *out)
{
	rl_build_comma(out);
	if (ours) {
		rl_buf_add(out, citation->json);
		return;
	}
	RL_BUF_LIT(out, "{\"type\":\"url_citation\"");
	rl_build_int(out, "start_index", citation->start < 0 ? 0 : citation->start);
	rl_build_int(out, "end_index", citation->end < 0 ? 0 : citation->end);
	rl_build_text(out, "url", citation->url);
	rl_build_text(out, "title", citation->title);
	RL_BUF_LIT(out, "}");
}

static void write_text(struct rl_responses_writer *w, const struct rl_part *part, bool output, const char *where)
{
	struct rl_buf *out = w->out;
	bool logprobs = false;

	rl_build_text(out, "type", output ? RL_STR("output_text") : RL_STR("input_text"));
	rl_build_text(out, "text", part->text);
	if (!output)
		return;
	RL_BUF_LIT(out, ",\"annotations\":[");
	for (size_t i = 0; i < part->n_citations; i++) {
		if (w->ours || part->citations[i].url.n)
			rl_responses_write_annotation(&part->citations[i], w->ours, out);
		else
			DROP(w, "%s.citations", where);
	}
	RL_BUF_LIT(out, "]");
	for (size_t i = 0; w->ours && i < part->extras.n; i++)
		logprobs |= rl_json_string_is(part->extras.v[i].key, RL_STR("logprobs"));
	if (w->answer && !logprobs) {
		rl_build_raw(out, "logprobs", w->logprobs.n ? w->logprobs : RL_STR("[]"));
		w->logprobs = rl_str_make(NULL, 0);
	}
}

/* What an id of a file stands for is known to the provider that has the file; OpenAI's two dialects share theirs. */
static bool foreign_file(const struct rl_responses_writer *w, const struct rl_part *part)
{
	return (part->kind == RL_PART_IMAGE || part->kind == RL_PART_DOCUMENT) && part->media.source == RL_MEDIA_FILE &&
	       !w->ours && !w->related;
}

/* One element of a `content`; `output`: of the model's own words. */
static void write_part(struct rl_responses_writer *w, const struct rl_part *part, bool output, const char *where)
{
	struct rl_buf *out = w->out;

	if (part->kind == RL_PART_RAW) {
		if (!w->ours) {
			rl_responses_refuse(w, where, "a part that only its own dialect has");
			return;
		}
		rl_build_comma(out);
		rl_buf_add(out, part->json);
		return;
	}
	if (foreign_file(w, part))
		rl_responses_refuse(w, where, "a file by its id at another provider");
	if (!w->ours && (part->kind == RL_PART_AUDIO || part->kind == RL_PART_VIDEO))
		rl_responses_refuse(w, where, part->kind == RL_PART_AUDIO ? "audio" : "video");
	if (!w->ours && output && part->kind != RL_PART_TEXT && part->kind != RL_PART_REFUSAL)
		rl_responses_refuse(w, where, "anything but text in what the model said");
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	switch (part->kind) {
	case RL_PART_REFUSAL:
		if (output || w->ours) {
			rl_build_text(out, "type", RL_STR("refusal"));
			rl_build_text(out, "refusal", part->text);
			break;
		}
		write_text(w, part, output, where);
		break;
	case RL_PART_IMAGE:
		write_image(w, &part->media, where);
		break;
	case RL_PART_AUDIO:
	case RL_PART_VIDEO:
		write_audio(w, &part->media);
		break;
	case RL_PART_DOCUMENT:
		if (part->media.source == RL_MEDIA_TEXT) {
			struct rl_part text = {.kind = RL_PART_TEXT, .text = part->media.data};

			write_text(w, &text, output, where);
			if (part->media.name.n)
				DROP(w, "%s.title", where);
			break;
		}
		write_file(w, &part->media, where);
		break;
	default:
		write_text(w, part, output, where);
	}
	extras(w, where, part->extras);
	if (part->cache.set)
		DROP(w, "%s.cache", where);
	RL_BUF_LIT(out, "}");
}

static bool is_content(const struct rl_part *part)
{
	switch (part->kind) {
	case RL_PART_TEXT:
	case RL_PART_REFUSAL:
	case RL_PART_IMAGE:
	case RL_PART_AUDIO:
	case RL_PART_VIDEO:
	case RL_PART_DOCUMENT:
		return true;
	case RL_PART_RAW: /* of a message's content, if it has a mark; else it was an item */
		return part->item.v != NULL;
	default:
		return false;
	}
}

/* --- items --- */

rl_str rl_responses_item_id(char room[64], const char *prefix, rl_str answer_id, uint32_t n)
{
	int length = snprintf(room, 64, "%s_%016" PRIx64 "%04" PRIx32, prefix, rl_hash(answer_id), n);

	assert(length > 0 && length < 64);
	return rl_str_make(room, (size_t)length);
}

/* What an item of an answer begins with where another dialect did not say it. */
static void write_item_head(struct rl_responses_writer *w, const char *prefix, rl_str own)
{
	char room[64];

	if (w->answer && !w->ours) {
		rl_build_text(w->out, "id", own.n ? own : rl_responses_item_id(room, prefix, w->answer_id, w->n_items));
		rl_build_text(w->out, "status", RL_STR("completed"));
	}
	w->n_items++;
}

/* Whether one plain text is all: then it is a string, as every server understands it. */
bool rl_responses_is_plain(const struct rl_responses_writer *w, const struct rl_part *parts, size_t n)
{
	return n == 1 && !w->answer && parts->kind == RL_PART_TEXT && !parts->item.v && !parts->n_citations &&
	       !(w->ours && parts->extras.n);
}

static void part_place(char place[96], const char *message, size_t i)
{
	snprintf(place, 96, "%s.content[%zu]", message, i);
}

static void write_message_item(struct rl_responses_writer *w, const struct rl_message *message, size_t from, size_t n,
			       const char *where)
{
	const struct rl_part *parts = &message->parts[from];
	enum rl_role role = message->role == RL_ROLE_TOOL ? RL_ROLE_USER : message->role;
	bool output = role == RL_ROLE_ASSISTANT;
	struct rl_buf *out = w->out;
	char place[96];

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	write_item_head(w, "msg", rl_str_make(NULL, 0));
	if (!w->ours && (w->answer || output))
		rl_build_text(out, "type", RL_STR("message"));
	rl_build_text(out, "role", rl_str_of(rl_role_name(role)));
	if (w->ours && n)
		rl_build_extras(out, parts->item);
	rl_build_key(out, "content");
	if (!n) {
		RL_BUF_LIT(out, "\"\"");
	} else if (rl_responses_is_plain(w, parts, n)) {
		rl_buf_json(out, parts->text);
		part_place(place, where, from);
		extras(w, place, parts->extras);
		if (parts->cache.set)
			DROP(w, "%s.cache", place);
	} else {
		RL_BUF_LIT(out, "[");
		for (size_t i = 0; i < n; i++) {
			part_place(place, where, from + i);
			write_part(w, &parts[i], output, place);
		}
		RL_BUF_LIT(out, "]");
	}
	RL_BUF_LIT(out, "}");
}

/* The id of a call, or the one that its place gives it: the results of the same history count alike. */
static void write_call_id(struct rl_responses_writer *w, rl_str id, uint32_t *counter)
{
	char room[32];

	if (id.n) {
		rl_build_text(w->out, "call_id", id);
		return;
	}
	snprintf(room, sizeof room, "call_%" PRIu32, ++*counter);
	rl_build_text(w->out, "call_id", rl_str_of(room));
}

static void write_call(struct rl_responses_writer *w, const struct rl_part *part, const char *where)
{
	const struct rl_tool_call *call = &part->call;
	bool custom = call->kind == RL_TOOL_KIND_CUSTOM;
	struct rl_buf *out = w->out;

	if (call->kind == RL_TOOL_KIND_HOSTED) {
		rl_responses_refuse(w, where, "a call of a tool that its provider runs");
		return;
	}
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	write_item_head(w, custom ? "ctc" : "fc", rl_str_make(NULL, 0));
	rl_build_text(out, "type", custom ? RL_STR("custom_tool_call") : RL_STR("function_call"));
	write_call_id(w, call->id, &w->n_calls);
	rl_build_text(out, "name", call->name);
	if (custom)
		rl_build_text(out, "input", call->arguments);
	else
		rl_build_text(out, "arguments", call->arguments.n || w->ours ? call->arguments : RL_STR("{}"));
	if (w->ours)
		rl_build_extras(out, part->item);
	extras(w, where, part->extras);
	extras(w, where, call->extras);
	if (part->cache.set)
		DROP(w, "%s.cache", where);
	RL_BUF_LIT(out, "}");
}

static void write_result(struct rl_responses_writer *w, const struct rl_part *part, const char *where)
{
	const struct rl_tool_result *result = &part->result;
	bool custom = result->kind == RL_TOOL_KIND_CUSTOM;
	struct rl_buf *out = w->out;
	char place[128];

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "type", custom ? RL_STR("custom_tool_call_output") : RL_STR("function_call_output"));
	write_call_id(w, result->call_id, &w->n_results);
	rl_build_key(out, "output");
	if (!result->n_parts) {
		RL_BUF_LIT(out, "\"\"");
	} else if (rl_responses_is_plain(w, result->parts, result->n_parts)) {
		rl_buf_json(out, result->parts->text);
	} else {
		RL_BUF_LIT(out, "[");
		for (size_t i = 0; i < result->n_parts; i++) {
			snprintf(place, sizeof place, "%s[%zu]", where, i);
			write_part(w, &result->parts[i], false, place);
		}
		RL_BUF_LIT(out, "]");
	}
	if (w->ours)
		rl_build_extras(out, part->item);
	if (result->is_error)
		DROP(w, "%s.is_error", where);
	if (part->cache.set)
		DROP(w, "%s.cache", where);
	extras(w, where, part->extras);
	RL_BUF_LIT(out, "}");
	w->n_items++;
}

/* --- thoughts --- */

static void write_thought_list(const struct rl_responses_writer *w, const struct rl_part *parts, size_t n, bool summary)
{
	struct rl_buf *out = w->out;

	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < n; i++) {
		const struct rl_reasoning *thought = &parts[i].reasoning;
		/* To a client a thought of another family is what it can show: a summary. */
		bool is_summary = thought->summary || (w->answer && !w->ours);

		if (is_summary != summary || !thought->text.n)
			continue;
		rl_build_comma(out);
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "type", summary ? RL_STR("summary_text") : RL_STR("reasoning_text"));
		rl_build_text(out, "text", thought->text);
		RL_BUF_LIT(out, "}");
	}
	RL_BUF_LIT(out, "]");
}

static bool has_raw_thought(const struct rl_responses_writer *w, const struct rl_part *parts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!parts[i].reasoning.summary && parts[i].reasoning.text.n && (w->ours || !w->answer))
			return true;
	return false;
}

/* A seal as the reader can use it: a client gets other families' with their name. p == NULL: there is none. */
static rl_str seal_of(const struct rl_responses_writer *w, const struct rl_reasoning *thought)
{
	rl_str seal = thought->signature;

	if (!w->t)
		return seal;
	if (thought->redacted.n) {
		seal = rl_arena_printf(w->t->arena, RL_RESPONSES_REDACTED "%.*s", RL_STR_ARG(thought->redacted));
		if (!seal.p)
			rl_translation_nomem(w->t);
	}
	if (!seal.n)
		return rl_str_make(NULL, 0);
	seal = rl_seal_wrap(seal, thought->family, RL_STR(RL_RESPONSES_FAMILY), w->t->arena);
	if (!seal.p)
		rl_translation_nomem(w->t);
	return seal;
}

static void write_reasoning_item(struct rl_responses_writer *w, const struct rl_part *parts, size_t n)
{
	const struct rl_reasoning *last = &parts[n - 1].reasoning;
	rl_str seal = seal_of(w, last);
	struct rl_buf *out = w->out;
	char room[64];

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "type", RL_STR("reasoning"));
	if (last->id.n)
		rl_build_text(out, "id", last->id);
	else if (w->answer)
		rl_build_text(out, "id", rl_responses_item_id(room, "rs", w->answer_id, w->n_items));
	rl_build_key(out, "summary");
	write_thought_list(w, parts, n, true);
	if (has_raw_thought(w, parts, n)) {
		rl_build_key(out, "content");
		write_thought_list(w, parts, n, false);
	}
	if (seal.n)
		rl_build_text(out, "encrypted_content", seal);
	if (w->ours)
		rl_build_extras(out, parts->item);
	RL_BUF_LIT(out, "}");
	w->n_items++;
}

/* Whether a provider of this API can do anything with a thought of an earlier turn. */
static bool is_of_use(const struct rl_responses_writer *w, const struct rl_reasoning *thought)
{
	bool sealed = thought->signature.n || thought->redacted.n;

	if (w->answer)
		return true;
	if (sealed)
		return rl_str_eq(thought->family, RL_STR(RL_RESPONSES_FAMILY));
	return w->ours || quirk(w, RL_QUIRK_REASONING_BACK);
}

/* --- conversations --- */

/* How many parts from `from` on are one item: those with one mark, or, without any, what can stand together. */
static size_t run_of(const struct rl_message *message, size_t from, bool (*fits)(const struct rl_part *part),
		     bool together)
{
	const struct rl_part *first = &message->parts[from];
	size_t n = 1;

	while (from + n < message->n_parts && fits(&message->parts[from + n]) &&
	       message->parts[from + n].item.v == first->item.v && (first->item.v || together))
		n++;
	return n;
}

static bool is_thought(const struct rl_part *part)
{
	return part->kind == RL_PART_REASONING;
}

/* An empty text of a model is no item: servers that have none between two calls say "" there. */
static bool says_nothing(const struct rl_responses_writer *w, const struct rl_message *message,
			 const struct rl_part *part)
{
	return !w->ours && message->role == RL_ROLE_ASSISTANT && part->kind == RL_PART_TEXT && !part->text.n &&
	       message->n_parts > 1;
}

/* Writes the item that begins with this part; how many parts it took. */
static size_t write_item(struct rl_responses_writer *w, const struct rl_message *message, size_t i, const char *where)
{
	const struct rl_part *part = &message->parts[i];
	char place[96];
	size_t n = 1;

	part_place(place, where, i);
	if (is_content(part)) {
		n = run_of(message, i, is_content, true);
		if (n > 1 || !says_nothing(w, message, part))
			write_message_item(w, message, i, n, where);
		return n;
	}
	switch (part->kind) {
	case RL_PART_REASONING:
		n = run_of(message, i, is_thought, false);
		if (is_of_use(w, &message->parts[i + n - 1].reasoning)) {
			write_reasoning_item(w, part, n);
			break;
		}
		DROP(w, "%s.reasoning", where);
		break;
	case RL_PART_TOOL_CALL:
		write_call(w, part, place);
		break;
	case RL_PART_TOOL_RESULT:
		write_result(w, part, place);
		break;
	default:
		assert(part->kind == RL_PART_RAW);
		if (!w->ours) {
			rl_responses_refuse(w, place, "an item that only its own dialect has");
			break;
		}
		rl_build_comma(w->out);
		rl_buf_add(w->out, part->json);
	}
	return n;
}

void rl_responses_write_items(struct rl_responses_writer *w, const struct rl_message *message, const char *where)
{
	for (size_t i = 0; i < message->n_parts;)
		i += write_item(w, message, i, where);
	if (!message->n_parts && !w->answer && message->role == RL_ROLE_USER)
		write_message_item(w, message, 0, 0, where);
	if (message->name.n)
		DROP(w, "%s.name", where);
	extras(w, where, message->extras);
}
