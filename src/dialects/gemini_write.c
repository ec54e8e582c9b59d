/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to Gemini request bodies. Turns of one side are joined and a turn's results
 * come in the order of its calls, as the API wants them; a request that this dialect
 * read itself is written as it stood. Schemas go as JSON Schema unless the target only
 * knows OpenAPI's subset (gemini_schema.c).
 */
#include "dialects/gemini_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Google's word for "there is no signature": accepted where a later model demands one. */
#define NO_SEAL "skip_thought_signature_validator"

static bool is_ours(rl_str dialect)
{
	return rl_str_eq(dialect, RL_STR(RL_GEMINI_NAME));
}

static bool says_yes(enum rl_choice3 value)
{
	return value == RL_YES;
}

/* --- what a model is --- */

/* 3 for "gemini-3-pro-preview"; 0 for names that do not say, which are as new as can be. */
static unsigned generation(rl_str model)
{
	const char *slash = model.n ? memrchr(model.p, '/', model.n) : NULL;

	if (slash)
		model = rl_str_sub(model, (size_t)(slash + 1 - model.p), SIZE_MAX);
	if (!rl_str_starts(model, RL_STR("gemini-")) || model.n < 8 || model.p[7] < '0' || model.p[7] > '9')
		return 0;
	return (unsigned)(model.p[7] - '0');
}

static bool is_model(rl_str model, const char *part)
{
	return model.n && memmem(model.p, model.n, part, strlen(part)) != NULL;
}

/* --- parts --- */

rl_str rl_gemini_wrap_seal(rl_str seal, rl_str redacted, rl_str family, struct rl_arena *arena)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	rl_str inner = seal;

	if (!family.n || rl_str_eq(family, RL_STR(RL_GEMINI_NAME)))
		return seal.n ? seal : redacted;
	if (redacted.n)
		inner = rl_arena_printf(arena, "~%.*s", RL_STR_ARG(redacted));
	rl_str wrapped = rl_seal_wrap(inner, family, RL_STR(RL_GEMINI_NAME), arena);
	char *made = wrapped.p ? rl_arena_alloc(arena, (wrapped.n + 2) / 3 * 4) : NULL;
	size_t n = 0;

	for (size_t i = 0; made && i < wrapped.n; i += 3) {
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < wrapped.n ? (unsigned char)wrapped.p[i + k] : 0u);
		for (size_t k = 0; k < 4; k++)
			made[n++] = i + k > wrapped.n ? '=' : digits[bits >> (18 - 6 * k) & 63];
	}
	return rl_str_make(made, n);
}

/* Inside a part, before its brace is closed. */
static void add_seal(struct rl_gemini_writer *w)
{
	if (w->seal.n)
		rl_build_text(w->out, "thoughtSignature", w->seal);
	w->seal = rl_str_make(NULL, 0);
	w->seal_alone = false;
}

void rl_gemini_write_rest(struct rl_gemini_writer *w)
{
	if (!w->seal.n)
		return;
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{\"text\":\"\"");
	add_seal(w);
	RL_BUF_LIT(w->out, "}");
}

static void extras(struct rl_gemini_writer *w, struct rl_extras list)
{
	char place[48];

	if (w->ours) {
		rl_build_extras(w->out, list);
		return;
	}
	snprintf(place, sizeof place, w->answer ? "choices[%zu].message" : "messages[%zu]", w->message);
	rl_drop_extras(w->t, place, list);
}

static void write_text(struct rl_gemini_writer *w, rl_str text, struct rl_extras list)
{
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "text", text);
	add_seal(w);
	extras(w, list);
	RL_BUF_LIT(w->out, "}");
}

/* Thoughts of others and seals of others are of no use to Google; a client of ours keeps them, wrapped. */
static void write_reasoning(struct rl_gemini_writer *w, const struct rl_part *part)
{
	const struct rl_reasoning *r = &part->reasoning;
	rl_str seal = r->signature;

	if (!w->answer && !rl_str_eq(r->family, RL_STR(RL_GEMINI_NAME))) {
		rl_drop(w->t, "messages[%zu].reasoning", w->message);
		return;
	}
	rl_gemini_write_rest(w);
	if (w->answer && (r->signature.n || r->redacted.n)) {
		seal = rl_gemini_wrap_seal(r->signature, r->redacted, r->family, w->t->arena);
		if (!seal.p)
			rl_translation_nomem(w->t);
	}
	w->seal = seal;
	w->seal_alone = rl_str_eq(r->spelling, RL_STR(RL_GEMINI_ALONE));
	/* A foreign seal belongs to its thought, not to what comes behind it. */
	if (!r->text.p && !(w->answer && !rl_str_eq(r->family, RL_STR(RL_GEMINI_NAME))))
		return;
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "text", r->text);
	RL_BUF_LIT(w->out, ",\"thought\":true");
	add_seal(w);
	extras(w, part->extras);
	RL_BUF_LIT(w->out, "}");
}

/* Types that Google wants to be told and others leave to the address. */
static rl_str mime_of_name(rl_str name)
{
	static const struct {
		rl_str end, mime;
	} types[] = {
		{RL_STR_INIT(".png"), RL_STR_INIT("image/png")},
		{RL_STR_INIT(".jpg"), RL_STR_INIT("image/jpeg")},
		{RL_STR_INIT(".jpeg"), RL_STR_INIT("image/jpeg")},
		{RL_STR_INIT(".webp"), RL_STR_INIT("image/webp")},
		{RL_STR_INIT(".gif"), RL_STR_INIT("image/gif")},
		{RL_STR_INIT(".pdf"), RL_STR_INIT("application/pdf")},
		{RL_STR_INIT(".mp4"), RL_STR_INIT("video/mp4")},
		{RL_STR_INIT(".mp3"), RL_STR_INIT("audio/mp3")},
		{RL_STR_INIT(".wav"), RL_STR_INIT("audio/wav")},
		{RL_STR_INIT(".txt"), RL_STR_INIT("text/plain")},
	};
	size_t query = rl_str_find(name, '?');

	name = rl_str_sub(name, 0, query);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (name.n > types[i].end.n &&
		    rl_str_ieq(rl_str_sub(name, name.n - types[i].end.n, SIZE_MAX), types[i].end))
			return types[i].mime;
	return rl_str_make(NULL, 0);
}

static rl_str mime_of(const struct rl_part *part)
{
	const struct rl_media *media = &part->media;
	rl_str mime = media->mime;

	if (!mime.n)
		mime = mime_of_name(media->name.n ? media->name : media->data);
	if (mime.n)
		return mime;
	/* Unknown: the kind's usual one, which the API checks against the bytes. */
	return part->kind == RL_PART_IMAGE      ? RL_STR("image/jpeg")
	       : part->kind == RL_PART_DOCUMENT ? RL_STR("application/pdf")
	       : part->kind == RL_PART_AUDIO    ? RL_STR("audio/wav")
						: RL_STR("video/mp4");
}

static bool media_fits(struct rl_gemini_writer *w, const struct rl_media *media)
{
	rl_str param = rl_arena_printf(w->t->arena, "messages[%zu].content", w->message);

	if (media->source == RL_MEDIA_FILE && !w->ours) {
		rl_refuse(w->t, param, "The file '%.*s' lies at another provider. Send its content instead.",
			  (int)(media->data.n < 100 ? media->data.n : 100), media->data.p ? media->data.p : "");
		return false;
	}
	if (media->source == RL_MEDIA_URL && rl_facts_quirk(w->t->facts, RL_QUIRK_NO_IMAGE_URL)) {
		rl_refuse(w->t, param, "The target %.*s/%.*s takes no addresses of media. Send the content as base64.",
			  RL_STR_ARG(w->t->facts->provider), RL_STR_ARG(w->t->facts->model));
		return false;
	}
	return true;
}

static void write_media(struct rl_gemini_writer *w, const struct rl_part *part)
{
	const struct rl_media *media = &part->media;
	struct rl_buf *out = w->out;
	bool inlined = media->source == RL_MEDIA_BASE64;

	if (media->source == RL_MEDIA_TEXT) {
		if (media->name.n)
			rl_drop(w->t, "messages[%zu].content.title", w->message);
		write_text(w, media->data, part->extras);
		return;
	}
	if (!media_fits(w, media))
		return;
	rl_build_comma(out);
	rl_buf_add(out, inlined ? RL_STR("{\"inlineData\":{") : RL_STR("{\"fileData\":{"));
	if (!w->ours || media->mime.n)
		rl_build_text(out, "mimeType", w->ours ? media->mime : mime_of(part));
	rl_build_text(out, inlined ? "data" : "fileUri", media->data);
	if (w->ours && media->name.n)
		rl_build_text(out, "displayName", media->name);
	else if (media->name.n)
		rl_drop(w->t, "messages[%zu].content.filename", w->message);
	extras(w, media->extras);
	RL_BUF_LIT(out, "}");
	if (media->detail.n && !rl_str_eq(media->detail, RL_STR("auto")))
		rl_drop(w->t, "messages[%zu].content.detail", w->message);
	add_seal(w);
	extras(w, part->extras);
	RL_BUF_LIT(out, "}");
}

static bool is_object(rl_str text)
{
	return rl_json_type_of(text) == RL_JSON_OBJECT && rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK;
}

void rl_gemini_write_args(rl_str arguments, struct rl_buf *out)
{
	if (is_object(arguments)) {
		rl_buf_add(out, arguments);
		return;
	}
	RL_BUF_LIT(out, "{");
	/* What a model wrote wrongly, or freely, is kept as what it is: text. */
	if (arguments.n && !rl_str_eq(arguments, RL_STR("null")))
		rl_build_text(out, "input", arguments);
	RL_BUF_LIT(out, "}");
}

static void write_id(struct rl_buf *out, rl_str id)
{
	if (id.n && !rl_str_starts(id, RL_STR(RL_GEMINI_ID)))
		rl_build_text(out, "id", id);
}

static void write_call(struct rl_gemini_writer *w, const struct rl_part *part)
{
	const struct rl_tool_call *call = &part->call;
	struct rl_buf *out = w->out;

	if (call->kind == RL_TOOL_KIND_HOSTED) {
		rl_drop(w->t, w->answer ? "choices[%zu].message.tool_calls" : "messages[%zu].tool_calls", w->message);
		return;
	}
	rl_build_comma(out);
	RL_BUF_LIT(out, "{\"functionCall\":{");
	write_id(out, call->id);
	rl_build_text(out, "name", call->name);
	rl_build_key(out, "args");
	rl_gemini_write_args(call->arguments, out);
	extras(w, call->extras);
	RL_BUF_LIT(out, "}");
	/* The first call of a step is checked, the others are not. */
	if (!w->seal.n && !w->call_seen && w->needs_seal)
		w->seal = RL_STR(NO_SEAL);
	w->call_seen = true;
	add_seal(w);
	extras(w, part->extras);
	RL_BUF_LIT(out, "}");
}

/* The name of the call that a result answers, from the history before it. */
static rl_str name_of_call(const struct rl_gemini_writer *w, const struct rl_tool_result *result)
{
	if (result->name.n || !w->request)
		return result->name;
	for (size_t i = w->message + 1; i-- > 0;) {
		const struct rl_message *message = &w->request->messages[i];

		for (size_t k = message->n_parts; message->role == RL_ROLE_ASSISTANT && k-- > 0;)
			if (message->parts[k].kind == RL_PART_TOOL_CALL &&
			    rl_str_eq(message->parts[k].call.id, result->call_id))
				return message->parts[k].call.name;
	}
	return rl_str_make(NULL, 0);
}

/* All texts of a result in one; p == NULL without memory. */
static rl_str result_text(struct rl_gemini_writer *w, const struct rl_tool_result *result)
{
	rl_str text = RL_STR("");
	size_t texts = 0;

	for (size_t i = 0; i < result->n_parts; i++) {
		const struct rl_part *part = &result->parts[i];
		bool document = part->kind == RL_PART_DOCUMENT && part->media.source == RL_MEDIA_TEXT;

		if (part->kind != RL_PART_TEXT && part->kind != RL_PART_REFUSAL && !document)
			continue;
		rl_str more = document ? part->media.data : part->text;

		text = texts++ ? rl_arena_printf(w->t->arena, "%.*s\n%.*s", RL_STR_ARG(text), RL_STR_ARG(more)) : more;
	}
	if (texts && !text.p && texts > 1)
		rl_translation_nomem(w->t);
	return text;
}

static void write_result_media(struct rl_gemini_writer *w, const struct rl_tool_result *result)
{
	bool open = false;

	for (size_t i = 0; i < result->n_parts; i++) {
		const struct rl_part *part = &result->parts[i];
		bool media = part->kind == RL_PART_IMAGE || part->kind == RL_PART_AUDIO ||
			     part->kind == RL_PART_VIDEO || part->kind == RL_PART_DOCUMENT;

		if (part->kind == RL_PART_RAW && !w->ours)
			rl_drop(w->t, "messages[%zu].content", w->message);
		if ((!media || part->media.source == RL_MEDIA_TEXT) && !(part->kind == RL_PART_RAW && w->ours))
			continue;
		if (!open) {
			rl_build_key(w->out, "parts");
			RL_BUF_LIT(w->out, "[");
			open = true;
		}
		if (media) {
			write_media(w, part);
		} else {
			rl_build_comma(w->out);
			rl_buf_add(w->out, part->json);
		}
	}
	if (open)
		RL_BUF_LIT(w->out, "]");
}

static void write_result(struct rl_gemini_writer *w, const struct rl_part *part)
{
	const struct rl_tool_result *result = &part->result;
	rl_str name = name_of_call(w, result), text = result_text(w, result);
	struct rl_buf *out = w->out;

	if (!name.n) {
		rl_refuse(
			w->t, rl_arena_printf(w->t->arena, "messages[%zu].tool_call_id", w->message),
			"The result for '%.*s' answers no call of this conversation, and the target needs the name of "
			"the called tool. Send the call with it.",
			(int)(result->call_id.n < 100 ? result->call_id.n : 100),
			result->call_id.p ? result->call_id.p : "");
		return;
	}
	rl_build_comma(out);
	RL_BUF_LIT(out, "{\"functionResponse\":{");
	write_id(out, result->call_id);
	rl_build_text(out, "name", name);
	rl_build_key(out, "response");
	/* An object is what the API wants; the words for anything else are Google's own. */
	if (is_object(text) && !result->is_error) {
		rl_buf_add(out, text);
	} else {
		RL_BUF_LIT(out, "{");
		rl_build_text(out, result->is_error ? "error" : "output", text);
		RL_BUF_LIT(out, "}");
	}
	write_result_media(w, result);
	extras(w, part->extras);
	RL_BUF_LIT(out, "}}");
}

static void write_part(struct rl_gemini_writer *w, const struct rl_part *part)
{
	if (part->cache.set)
		rl_drop(w->t, "messages[%zu].cache_control", w->message);
	/* A seal on a text of its own does not move to what follows. */
	if (w->seal_alone)
		rl_gemini_write_rest(w);
	switch (part->kind) {
	case RL_PART_TEXT:
	case RL_PART_REFUSAL:
		/* An empty text says nothing, and other dialects have it where nothing is said. */
		if (part->text.n || w->seal.n || w->ours)
			write_text(w, part->text, part->extras);
		if (part->n_citations && w->answer)
			rl_drop(w->t, "choices[%zu].message.citations", w->message);
		break;
	case RL_PART_REASONING:
		write_reasoning(w, part);
		break;
	case RL_PART_IMAGE:
	case RL_PART_AUDIO:
	case RL_PART_VIDEO:
	case RL_PART_DOCUMENT:
		write_media(w, part);
		break;
	case RL_PART_TOOL_CALL:
		write_call(w, part);
		break;
	case RL_PART_TOOL_RESULT:
		write_result(w, part);
		break;
	case RL_PART_RAW:
		if (w->ours) {
			rl_gemini_write_rest(w);
			rl_build_comma(w->out);
			rl_buf_add(w->out, part->json);
		} else {
			rl_drop(w->t, w->answer ? "choices[%zu].message.content" : "messages[%zu].content", w->message);
		}
		break;
	case RL_PART_NONE:
	case RL_PART_COUNT:
		assert(part->kind != RL_PART_NONE);
	}
}

void rl_gemini_write_parts(struct rl_gemini_writer *w, const struct rl_part *parts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		write_part(w, &parts[i]);
}

/* --- contents --- */

static bool is_system(const struct rl_message *message)
{
	return message->role == RL_ROLE_SYSTEM || message->role == RL_ROLE_DEVELOPER;
}

/* How many messages at the start are instructions; none where nothing else would be left to answer. */
static size_t count_system(const struct rl_chat_request *request)
{
	size_t n = 0;

	while (n < request->n_messages && is_system(&request->messages[n]))
		n++;
	return n == request->n_messages && !is_ours(request->dialect) ? 0 : n;
}

static void note_message(struct rl_gemini_writer *w, const struct rl_message *message)
{
	if (message->name.n)
		rl_drop(w->t, "messages[%zu].name", w->message);
	if (!w->ours)
		extras(w, message->extras);
}

static void write_system(struct rl_gemini_writer *w, size_t n)
{
	if (!n)
		return;
	rl_build_key(w->out, "systemInstruction");
	RL_BUF_LIT(w->out, "{\"parts\":[");
	for (w->message = 0; w->message < n; w->message++) {
		const struct rl_message *message = &w->request->messages[w->message];

		note_message(w, message);
		rl_gemini_write_parts(w, message->parts, message->n_parts);
	}
	rl_gemini_write_rest(w);
	RL_BUF_LIT(w->out, "]");
	if (w->ours)
		rl_build_extras(w->out, w->request->messages[0].extras);
	RL_BUF_LIT(w->out, "}");
}

static bool from_model(const struct rl_message *message)
{
	return message->role == RL_ROLE_ASSISTANT;
}

/* A result of the user's turn, and where its call stood in the turn before; SIZE_MAX: nowhere. */
struct placed {
	const struct rl_part *part;
	size_t message, at;
};

static int by_place(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Where the call of this id stands among the calls of messages [from, to). */
static size_t place_of_call(const struct rl_chat_request *request, size_t from, size_t to, rl_str id)
{
	size_t at = 0;

	for (size_t i = from; i < to; i++)
		for (size_t k = 0; k < request->messages[i].n_parts; k++) {
			const struct rl_part *part = &request->messages[i].parts[k];

			if (part->kind != RL_PART_TOOL_CALL)
				continue;
			if (rl_str_eq(part->call.id, id))
				return at;
			at++;
		}
	return SIZE_MAX;
}

/* The results of messages [from, to), in the order of the calls of [before, from): that is how the API pairs them. */
static void write_results(struct rl_gemini_writer *w, size_t before, size_t from, size_t to)
{
	const struct rl_chat_request *request = w->request;
	struct placed *list;
	size_t n = 0;

	for (size_t i = from; i < to; i++)
		for (size_t k = 0; k < request->messages[i].n_parts; k++)
			n += request->messages[i].parts[k].kind == RL_PART_TOOL_RESULT;
	list = n ? rl_arena_zalloc(w->t->arena, n, sizeof *list) : NULL;
	if (n && !list)
		rl_translation_nomem(w->t);
	if (!list)
		return;
	n = 0;
	for (size_t i = from; i < to; i++)
		for (size_t k = 0; k < request->messages[i].n_parts; k++) {
			const struct rl_part *part = &request->messages[i].parts[k];

			if (part->kind == RL_PART_TOOL_RESULT)
				list[n++] = (struct placed){part, i,
							    place_of_call(request, before, from, part->result.call_id)};
		}
	qsort(list, n, sizeof *list, by_place);
	for (size_t i = 0; i < n; i++) {
		w->message = list[i].message;
		rl_gemini_write_parts(w, list[i].part, 1);
	}
}

/* Messages [from, to), all of one side, as one content; [before, from) are the other side's. */
static void write_turn(struct rl_gemini_writer *w, size_t before, size_t from, size_t to)
{
	const struct rl_chat_request *request = w->request;
	bool model = from_model(&request->messages[from]);

	rl_build_comma(w->out);
	rl_buf_add(w->out, model ? RL_STR("{\"role\":\"model\"") : RL_STR("{\"role\":\"user\""));
	size_t role_end = w->out->n;

	RL_BUF_LIT(w->out, ",\"parts\":[");
	size_t start = w->out->n;

	w->call_seen = false;
	if (!model && !w->ours)
		write_results(w, before, from, to);
	for (w->message = from; w->message < to; w->message++) {
		const struct rl_message *message = &request->messages[w->message];

		note_message(w, message);
		if (is_system(message))
			rl_drop(w->t, "messages[%zu].role", w->message);
		for (size_t k = 0; k < message->n_parts; k++)
			if (w->ours || message->parts[k].kind != RL_PART_TOOL_RESULT)
				rl_gemini_write_parts(w, &message->parts[k], 1);
	}
	rl_gemini_write_rest(w);
	/* What came without parts goes without; in place of what was left out stands an empty text. */
	if (w->out->n > start || !w->ours) {
		if (w->out->n == start)
			RL_BUF_LIT(w->out, "{\"text\":\"\"}");
		RL_BUF_LIT(w->out, "]");
	} else if (rl_buf_ok(w->out)) {
		w->out->n = role_end;
	}
	if (w->ours)
		rl_build_extras(w->out, request->messages[from].extras);
	RL_BUF_LIT(w->out, "}");
}

static void write_contents(struct rl_gemini_writer *w, size_t from)
{
	const struct rl_chat_request *request = w->request;
	size_t before = from, to;

	rl_build_key(w->out, "contents");
	RL_BUF_LIT(w->out, "[");
	for (; from < request->n_messages; before = from, from = to) {
		to = from + 1;
		while (!w->ours && to < request->n_messages &&
		       from_model(&request->messages[to]) == from_model(&request->messages[from]))
			to++;
		write_turn(w, before, from, to);
	}
	RL_BUF_LIT(w->out, "]");
}

/* --- tools --- */

/* Whether a tool is among those that may be called. */
static bool allowed(const struct rl_tool_choice *choice, rl_str name)
{
	/* REQUIRED and NAMED have a list of their own in the API. */
	if (choice->mode != RL_TOOL_CHOICE_AUTO || !choice->n_names)
		return true;
	for (size_t i = 0; i < choice->n_names; i++)
		if (rl_str_eq(choice->names[i], name))
			return true;
	return false;
}

static void write_function(struct rl_gemini_writer *w, const struct rl_tool *tool, size_t at)
{
	struct rl_buf *out = w->out;
	char place[40];

	rl_build_comma(out);
	if (w->ours && tool->json.n) {
		rl_buf_add(out, tool->json);
		return;
	}
	snprintf(place, sizeof place, "tools[%zu]", at);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "name", tool->name);
	if (tool->description.n)
		rl_build_text(out, "description", tool->description);
	if (tool->schema.n && rl_facts_quirk(w->t->facts, RL_QUIRK_SCHEMA_SUBSET)) {
		rl_build_key(out, "parameters");
		rl_gemini_write_subset(tool->schema, w->t, place, out);
	} else if (tool->schema.n) {
		rl_build_raw(out, "parametersJsonSchema", tool->schema);
	}
	RL_BUF_LIT(out, "}");
	if (says_yes(tool->strict))
		rl_drop(w->t, "%s.strict", place);
	if (tool->cache.set)
		rl_drop(w->t, "%s.cache_control", place);
	rl_drop_extras(w->t, place, tool->inner);
	rl_drop_extras(w->t, place, tool->extras);
}

static bool is_function(const struct rl_tool *tool)
{
	return tool->kind == RL_TOOL_KIND_FUNCTION || tool->kind == RL_TOOL_KIND_LEGACY;
}

static void check_tool(struct rl_gemini_writer *w, const struct rl_tool *tool, size_t at)
{
	if (is_function(tool) || w->ours)
		return;
	rl_refuse(w->t, rl_arena_printf(w->t->arena, "tools[%zu]", at),
		  "The target %.*s/%.*s takes functions only, but this tool is %s. Leave it out, or ask another model.",
		  RL_STR_ARG(w->t->facts->provider), RL_STR_ARG(w->t->facts->model),
		  tool->kind == RL_TOOL_KIND_HOSTED ? "one that runs at another provider" : "one of free text");
}

static void write_tools(struct rl_gemini_writer *w)
{
	const struct rl_chat_request *request = w->request;
	size_t functions = 0;

	for (size_t i = 0; i < request->n_tools; i++) {
		check_tool(w, &request->tools[i], i);
		functions += is_function(&request->tools[i]) && allowed(&request->tool_choice, request->tools[i].name);
	}
	if (!functions && !(w->ours && request->n_tools))
		return;
	rl_build_key(w->out, "tools");
	RL_BUF_LIT(w->out, "[");
	if (functions) {
		RL_BUF_LIT(w->out, "{\"functionDeclarations\":[");
		for (size_t i = 0; i < request->n_tools; i++)
			if (is_function(&request->tools[i]) && allowed(&request->tool_choice, request->tools[i].name))
				write_function(w, &request->tools[i], i);
		RL_BUF_LIT(w->out, "]}");
	}
	for (size_t i = 0; i < request->n_tools; i++) {
		if (is_function(&request->tools[i]))
			continue;
		rl_build_comma(w->out);
		rl_buf_add(w->out, request->tools[i].json);
	}
	RL_BUF_LIT(w->out, "]");
}

/* Extras under a path: those whose name begins with it and goes one step further. */
static void write_below(struct rl_gemini_writer *w, const char *prefix)
{
	size_t skip = 1 + strlen(prefix);

	for (size_t i = 0; w->ours && i < w->request->extras.n; i++) {
		rl_str key = w->request->extras.v[i].key, rest = rl_str_sub(key, skip, SIZE_MAX);

		if (key.n <= skip || memcmp(key.p + 1, prefix, skip - 1) != 0 || rl_str_find(rest, '.') != SIZE_MAX)
			continue;
		rl_build_comma(w->out);
		RL_BUF_LIT(w->out, "\"");
		rl_buf_add(w->out, rest);
		RL_BUF_LIT(w->out, ":");
		rl_buf_add(w->out, w->request->extras.v[i].json);
	}
}

/* Opens an object under a key, writes what it holds, and takes all back if it holds nothing. */
static size_t open_object(struct rl_buf *out, const char *key)
{
	size_t start = out->n;

	rl_build_key(out, key);
	RL_BUF_LIT(out, "{");
	return start;
}

static void close_object(struct rl_buf *out, size_t start)
{
	if (rl_buf_ok(out) && out->n > start && out->p[out->n - 1] == '{')
		out->n = start;
	else
		RL_BUF_LIT(out, "}");
}

static void write_calling(struct rl_gemini_writer *w)
{
	static const char *const modes[] = {
		[RL_TOOL_CHOICE_NONE] = "NONE",
		[RL_TOOL_CHOICE_AUTO] = "AUTO",
		[RL_TOOL_CHOICE_REQUIRED] = "ANY",
		[RL_TOOL_CHOICE_NAMED] = "ANY",
	};
	const struct rl_tool_choice *choice = &w->request->tool_choice;
	bool forced = choice->mode == RL_TOOL_CHOICE_REQUIRED || choice->mode == RL_TOOL_CHOICE_NAMED;

	if (w->ours && choice->json.n) {
		rl_build_raw(w->out, "functionCallingConfig", choice->json);
		return;
	}
	if (!choice->mode || !w->request->n_tools)
		return;
	if (choice->mode == RL_TOOL_CHOICE_RAW || (forced && choice->kind == RL_TOOL_KIND_CUSTOM) ||
	    (forced && rl_facts_quirk(w->t->facts, RL_QUIRK_NO_TOOL_CHOICE))) {
		rl_refuse(w->t, RL_STR("tool_choice"),
			  "The target %.*s/%.*s cannot be told to choose its tools in this way.",
			  RL_STR_ARG(w->t->facts->provider), RL_STR_ARG(w->t->facts->model));
		return;
	}
	size_t start = open_object(w->out, "functionCallingConfig");

	rl_build_text(w->out, "mode", rl_str_of(modes[choice->mode]));
	if (forced && choice->n_names) {
		rl_build_key(w->out, "allowedFunctionNames");
		RL_BUF_LIT(w->out, "[");
		for (size_t i = 0; i < choice->n_names; i++) {
			rl_build_comma(w->out);
			rl_buf_json(w->out, choice->names[i]);
		}
		RL_BUF_LIT(w->out, "]");
	}
	write_below(w, "toolConfig.functionCallingConfig.");
	close_object(w->out, start);
}

static void write_tool_config(struct rl_gemini_writer *w)
{
	size_t start = open_object(w->out, "toolConfig");

	write_calling(w);
	write_below(w, "toolConfig.");
	close_object(w->out, start);
	if (w->request->parallel_tool_calls == RL_NO && w->request->n_tools)
		rl_drop(w->t, "parallel_tool_calls");
}

/* --- generationConfig --- */

static void number(struct rl_gemini_writer *w, const char *key, const char *name, rl_str raw, bool takes)
{
	if (raw.n && takes)
		rl_build_raw(w->out, key, raw);
	else if (raw.n)
		rl_drop(w->t, "%s", name);
}

static void write_limits(struct rl_gemini_writer *w)
{
	const struct rl_chat_request *r = w->request;
	const struct rl_facts *facts = w->t->facts;
	int64_t most = r->max_completion_tokens;

	if (most == RL_UNSET || (r->max_tokens != RL_UNSET && r->max_tokens < most))
		most = r->max_tokens;
	if (most != RL_UNSET)
		rl_build_int(w->out, "maxOutputTokens", most);
	if (r->n > 1 && rl_facts_quirk(facts, RL_QUIRK_NO_N))
		rl_refuse(w->t, RL_STR("n"), "The target %.*s/%.*s gives one choice only.", RL_STR_ARG(facts->provider),
			  RL_STR_ARG(facts->model));
	else if (r->n != RL_UNSET && (r->n > 1 || w->ours))
		rl_build_int(w->out, "candidateCount", r->n);
	if (!r->n_stop)
		return;
	rl_build_key(w->out, "stopSequences");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < r->n_stop; i++) {
		rl_build_comma(w->out);
		rl_buf_json(w->out, r->stop[i]);
	}
	RL_BUF_LIT(w->out, "]");
}

static void write_sampling(struct rl_gemini_writer *w)
{
	const struct rl_chat_request *r = w->request;
	const struct rl_facts *facts = w->t->facts;
	bool sampling = !rl_facts_quirk(facts, RL_QUIRK_NO_SAMPLING);

	number(w, "temperature", "temperature", r->temperature, sampling);
	number(w, "topP", "top_p", r->top_p, sampling);
	number(w, "topK", "top_k", r->top_k, sampling);
	number(w, "presencePenalty", "presence_penalty", r->presence_penalty, sampling);
	number(w, "frequencyPenalty", "frequency_penalty", r->frequency_penalty, sampling);
	number(w, "seed", "seed", r->seed, !rl_facts_quirk(facts, RL_QUIRK_NO_SEED));
	if (says_yes(r->logprobs) && rl_facts_quirk(facts, RL_QUIRK_NO_LOGPROBS)) {
		rl_drop(w->t, "logprobs");
		return;
	}
	if (r->logprobs != RL_UNSAID)
		rl_build_raw(w->out, "responseLogprobs", says_yes(r->logprobs) ? RL_STR("true") : RL_STR("false"));
	if (r->top_logprobs != RL_UNSET)
		rl_build_int(w->out, "logprobs", r->top_logprobs);
}

static void write_format(struct rl_gemini_writer *w)
{
	const struct rl_format *format = &w->request->format;
	const struct rl_facts *facts = w->t->facts;

	if (format->kind == RL_FORMAT_UNSAID || (format->kind == RL_FORMAT_TEXT && !w->ours))
		return;
	if ((format->kind == RL_FORMAT_RAW && !w->ours) ||
	    (format->kind == RL_FORMAT_SCHEMA && !w->ours && rl_facts_quirk(facts, RL_QUIRK_NO_SCHEMA))) {
		rl_refuse(w->t, RL_STR("response_format"), "The target %.*s/%.*s cannot answer in this format.",
			  RL_STR_ARG(facts->provider), RL_STR_ARG(facts->model));
		return;
	}
	if (format->kind == RL_FORMAT_RAW)
		rl_build_raw(w->out, "responseMimeType", format->name);
	else
		rl_build_text(w->out, "responseMimeType",
			      format->kind == RL_FORMAT_TEXT ? RL_STR("text/plain") : RL_STR("application/json"));
	if (!w->ours) {
		rl_drop_extras(w->t, "response_format", format->extras);
		if (format->description.n)
			rl_drop(w->t, "response_format.description");
	}
	if (!format->schema.n)
		return;
	if (w->ours && format->json.n) {
		rl_build_raw(w->out, "responseSchema", format->json);
	} else if (!w->ours && rl_facts_quirk(facts, RL_QUIRK_SCHEMA_SUBSET)) {
		rl_build_key(w->out, "responseSchema");
		rl_gemini_write_subset(format->schema, w->t, "response_format", w->out);
	} else {
		rl_build_raw(w->out, "responseJsonSchema", format->schema);
	}
}

/* The words of an effort (DIALECTS 2.6), the level for newer models and the budget for 2.5. */
static const struct {
	rl_str effort, level;
	int budget, pro; /* of the smaller models, of Pro, which cannot be told not to think */
} efforts[] = {
	{RL_STR_INIT("none"), RL_STR_INIT("MINIMAL"), 0, 128},
	{RL_STR_INIT("minimal"), RL_STR_INIT("MINIMAL"), 1024, 1024},
	{RL_STR_INIT("low"), RL_STR_INIT("LOW"), 1024, 1024},
	{RL_STR_INIT("medium"), RL_STR_INIT("MEDIUM"), 8192, 8192},
	{RL_STR_INIT("high"), RL_STR_INIT("HIGH"), 24576, 24576},
	{RL_STR_INIT("xhigh"), RL_STR_INIT("HIGH"), 24576, 32768},
	{RL_STR_INIT("max"), RL_STR_INIT("HIGH"), 24576, 32768},
};

static void write_effort(struct rl_gemini_writer *w, rl_str effort)
{
	rl_str model = w->t->facts->model;
	bool by_budget = is_model(model, "gemini-2.5");

	for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; i++) {
		if (!rl_str_eq(effort, efforts[i].effort))
			continue;
		if (by_budget && !w->ours)
			rl_build_int(w->out, "thinkingBudget",
				     is_model(model, "pro") ? efforts[i].pro : efforts[i].budget);
		else
			rl_build_text(w->out, "thinkingLevel", efforts[i].level);
		return;
	}
	rl_drop(w->t, "reasoning_effort");
}

/* How much to think: a budget in tokens says it best, an effort next, and the wish alone last. */
static void write_thinking(struct rl_gemini_writer *w)
{
	const struct rl_chat_request *r = w->request;
	rl_str model = w->t->facts->model;
	unsigned born = generation(model);
	/* Models before 2.5 do not think, and refuse to be asked to. */
	bool thinks = w->ours || !(born && born < 3) || is_model(model, "gemini-2.5");
	size_t start = open_object(w->out, "thinkingConfig");

	if (!thinks) {
		if (r->effort.n && !rl_str_eq(r->effort, RL_STR("none")))
			rl_drop(w->t, "reasoning_effort");
		if (r->reasoning_budget != RL_UNSET && r->reasoning != RL_NO)
			rl_drop(w->t, "reasoning_budget");
	} else {
		if (r->reasoning_budget != RL_UNSET)
			rl_build_int(w->out, "thinkingBudget",
				     r->reasoning_budget == RL_BUDGET_AUTO ? -1 : r->reasoning_budget);
		if (r->effort.n && (w->ours || r->reasoning_budget == RL_UNSET))
			write_effort(w, r->effort);
		else if (r->reasoning == RL_NO && r->reasoning_budget == RL_UNSET)
			write_effort(w, RL_STR("none"));
		if (r->reasoning_shown != RL_UNSAID)
			rl_build_raw(w->out, "includeThoughts",
				     says_yes(r->reasoning_shown) ? RL_STR("true") : RL_STR("false"));
	}
	write_below(w, "generationConfig.thinkingConfig.");
	close_object(w->out, start);
}

static void write_config(struct rl_gemini_writer *w)
{
	size_t start = open_object(w->out, "generationConfig");

	write_limits(w);
	write_sampling(w);
	write_format(w);
	write_thinking(w);
	write_below(w, "generationConfig.");
	close_object(w->out, start);
}

/* --- whole requests --- */

static void write_rest_of_request(struct rl_gemini_writer *w)
{
	const struct rl_chat_request *r = w->request;

	if (r->user.n)
		rl_drop(w->t, "user");
	if (r->cache.set)
		rl_drop(w->t, "cache_control");
	if (!w->ours) {
		rl_drop_extras(w->t, "", r->extras);
		rl_drop_extras(w->t, "stream_options", r->stream_extras);
		return;
	}
	for (size_t i = 0; i < r->extras.n; i++)
		if (rl_str_find(r->extras.v[i].key, '.') == SIZE_MAX)
			rl_build_extras(w->out, (struct rl_extras){&r->extras.v[i], 1});
}

static void write_resource(struct rl_buf *out, rl_str model, struct rl_arena *arena)
{
	rl_build_text(out, "model",
		      rl_arena_printf(arena, "%s%.*s", rl_str_find(model, '/') == SIZE_MAX ? "models/" : "",
				      RL_STR_ARG(model)));
}

static void write_chat(struct rl_gemini_writer *w)
{
	size_t first = count_system(w->request);

	write_system(w, first);
	write_contents(w, first);
	write_tools(w);
	write_tool_config(w);
}

/* A count of more than contents is asked for as of a whole request, which only the API itself wraps. */
static void write_count(struct rl_gemini_writer *w)
{
	bool wrap = !w->t->facts->project.n && (count_system(w->request) || w->request->n_tools);

	if (wrap) {
		rl_build_key(w->out, "generateContentRequest");
		RL_BUF_LIT(w->out, "{");
		write_resource(w->out, w->t->facts->model, w->t->arena);
	}
	write_chat(w);
	write_rest_of_request(w);
	if (wrap)
		RL_BUF_LIT(w->out, "}");
}

static rl_str task_of(rl_str purpose)
{
	if (rl_str_eq(purpose, RL_STR("query")))
		return RL_STR("RETRIEVAL_QUERY");
	if (rl_str_eq(purpose, RL_STR("document")))
		return RL_STR("RETRIEVAL_DOCUMENT");
	if (rl_str_eq(purpose, RL_STR("classification")))
		return RL_STR("CLASSIFICATION");
	return rl_str_eq(purpose, RL_STR("clustering")) ? RL_STR("CLUSTERING") : purpose;
}

static void write_input(struct rl_gemini_writer *w, const struct rl_input *input)
{
	const struct rl_chat_request *r = w->request;
	bool vertex = w->t->facts->project.n > 0;

	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	if (vertex) {
		rl_build_text(w->out, "content", input->text);
	} else {
		write_resource(w->out, w->t->facts->model, w->t->arena);
		RL_BUF_LIT(w->out, ",\"content\":{\"parts\":[{");
		rl_build_text(w->out, "text", input->text);
		RL_BUF_LIT(w->out, "}]}");
	}
	if (r->purpose.n)
		rl_build_text(w->out, vertex ? "task_type" : "taskType", task_of(r->purpose));
	if (r->dimensions != RL_UNSET && !vertex)
		rl_build_int(w->out, "outputDimensionality", r->dimensions);
	if (w->ours)
		rl_build_extras(w->out, r->extras);
	RL_BUF_LIT(w->out, "}");
}

static void write_embedding(struct rl_gemini_writer *w)
{
	const struct rl_chat_request *r = w->request;
	bool vertex = w->t->facts->project.n > 0;

	rl_build_key(w->out, vertex ? "instances" : "requests");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < r->n_inputs; i++) {
		if (r->inputs[i].is_tokens)
			rl_refuse(w->t, RL_STR("input"),
				  "The target %.*s/%.*s takes text, not tokens. Send the text itself.",
				  RL_STR_ARG(w->t->facts->provider), RL_STR_ARG(w->t->facts->model));
		write_input(w, &r->inputs[i]);
	}
	RL_BUF_LIT(w->out, "]");
	if (vertex && r->dimensions != RL_UNSET) {
		RL_BUF_LIT(w->out, ",\"parameters\":{");
		rl_build_int(w->out, "outputDimensionality", r->dimensions);
		RL_BUF_LIT(w->out, "}");
	}
	if (r->user.n)
		rl_drop(w->t, "user");
	if (!w->ours)
		rl_drop_extras(w->t, "", r->extras);
}

void rl_gemini_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			     struct rl_buf *out)
{
	unsigned born = generation(t->facts->model);
	struct rl_gemini_writer w = {.out = out, .t = t, .ours = is_ours(request->dialect), .request = request};

	w.needs_seal = !w.ours && (!born || born >= 3);
	RL_BUF_LIT(out, "{");
	switch (op) {
	case RL_OP_EMBEDDING:
		write_embedding(&w);
		break;
	case RL_OP_COUNT_TOKENS:
		write_count(&w);
		break;
	default:
		assert(op == RL_OP_CHAT); /* the others have no message */
		write_chat(&w);
		write_config(&w);
		write_rest_of_request(&w);
	}
	RL_BUF_LIT(out, "}");
}
