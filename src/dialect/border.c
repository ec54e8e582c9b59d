/* SPDX-License-Identifier: Apache-2.0 */
/* See border.h. */
#include "dialect/border.h"

#define MODEL_MAX_BYTES 256

enum rl_err rl_border_refuse(struct rl_fault *fault, rl_str param, const char *code, rl_str message)
{
	*fault = (struct rl_fault){
		.cls = RL_FAULT_BAD_REQUEST,
		.status = 400,
		.type = RL_STR("invalid_request_error"),
		.code = rl_str_of(code),
		.param = param,
		.message = message.p ? message : RL_STR("The request body is not valid."),
		.retry_after_s = -1,
	};
	return RL_ERR_SYNTAX;
}

enum rl_err rl_border_nomem(struct rl_fault *fault)
{
	*fault = (struct rl_fault){
		.cls = RL_FAULT_INTERNAL,
		.status = 500,
		.message = RL_STR("The gateway is out of memory for this request."),
		.retry_after_s = -1,
	};
	return RL_ERR_NOMEM;
}

void rl_border_json_fault(const struct rl_json_error *error, enum rl_err err, struct rl_arena *arena,
			  struct rl_fault *fault)
{
	rl_str message;

	if (err == RL_ERR_DUPLICATE) {
		message = rl_arena_printf(arena,
					  "The member '%.*s' of the request body is given twice, or in a spelling that "
					  "some parsers take for it, at line %u, column %u. Send it once.",
					  RL_STR_ARG(error->key), error->line, error->column);
		rl_border_refuse(fault, error->key, "duplicate_parameter", message);
		return;
	}
	message = rl_arena_printf(arena, "The request body is not valid JSON at line %u, column %u: %s.", error->line,
				  error->column, error->what);
	rl_border_refuse(fault, rl_str_make(NULL, 0), "invalid_json", message);
}

enum rl_err rl_border_missing(struct rl_arena *arena, struct rl_fault *fault, rl_str param)
{
	return rl_border_refuse(fault, param, "missing_required_parameter",
				rl_arena_printf(arena, "The request body has no '%.*s'.", RL_STR_ARG(param)));
}

enum rl_err rl_border_wrong_type(struct rl_arena *arena, struct rl_fault *fault, rl_str param, const char *wanted,
				 enum rl_json_type is)
{
	return rl_border_refuse(fault, param, "invalid_type",
				rl_arena_printf(arena, "The member '%.*s' must be %s, but it is of type %s.",
						RL_STR_ARG(param), wanted, rl_json_type_name(is)));
}

enum rl_err rl_border_read_model(rl_str body, const struct rl_json_span *span, bool needed, struct rl_arena *arena,
				 struct rl_envelope *out, struct rl_fault *fault)
{
	static const rl_str key = RL_STR_INIT("model");

	if (span->type == RL_JSON_NONE || span->type == RL_JSON_NULL)
		return needed ? rl_border_missing(arena, fault, key) : RL_OK;
	if (span->type != RL_JSON_STRING)
		return rl_border_wrong_type(arena, fault, key, "a string", span->type);
	enum rl_err err = rl_json_unescape(rl_json_span_text(body, span), arena, &out->model);

	if (err == RL_ERR_NOMEM)
		return rl_border_nomem(fault);
	if (err || !out->model.n || out->model.n > MODEL_MAX_BYTES)
		return rl_border_refuse(fault, key, "invalid_value",
					RL_STR("The member 'model' must be a name of 1 to 256 bytes."));
	for (size_t i = 0; i < out->model.n; i++)
		if ((unsigned char)out->model.p[i] < 0x20 || out->model.p[i] == 0x7F)
			return rl_border_refuse(fault, key, "invalid_value",
						RL_STR("The member 'model' holds a control character."));
	out->model_span = *span;
	return RL_OK;
}

/* Names that the scanner can look for, each once; the config room lets no others through. */
static bool names_fit(const rl_str *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!names[i].n)
			return false;
		for (size_t k = 0; k < names[i].n; k++)
			if (names[i].p[k] < 0x20 || names[i].p[k] == 0x7F || names[i].p[k] == '"' ||
			    names[i].p[k] == '\\')
				return false;
		for (size_t k = 0; k < i; k++)
			if (rl_str_ieq(names[i], names[k]))
				return false;
	}
	return true;
}

enum rl_err rl_border_edit_configured(rl_str body, const struct rl_edit *edit, struct rl_json_splice *splice)
{
	rl_str keys[RL_JSON_EDITS_MAX];
	struct rl_json_span spans[RL_JSON_EDITS_MAX];

	if (edit->n_set > RL_JSON_EDITS_MAX || edit->n_remove > RL_JSON_EDITS_MAX)
		return RL_ERR_LIMIT;
	if (!names_fit(edit->remove, edit->n_remove))
		return RL_ERR_RANGE;
	enum rl_err err = rl_json_scan(body, edit->remove, edit->n_remove, RL_JSON_STRICT_KEYS, spans, NULL);

	for (size_t i = 0; !err && i < edit->n_remove; i++)
		rl_json_splice_remove(splice, &spans[i]);
	for (size_t i = 0; i < edit->n_set; i++)
		keys[i] = edit->set[i].name;
	if (!err && !names_fit(keys, edit->n_set))
		err = RL_ERR_RANGE;
	if (!err)
		err = rl_json_scan(body, keys, edit->n_set, RL_JSON_STRICT_KEYS, spans, NULL);
	for (size_t i = 0; !err && i < edit->n_set; i++)
		rl_json_splice_set(splice, &spans[i], keys[i], edit->set[i].json);
	return err;
}

bool rl_border_configured(const struct rl_edit *edit, rl_str name)
{
	for (size_t i = 0; i < edit->n_remove; i++)
		if (rl_str_eq(edit->remove[i], name))
			return true;
	for (size_t i = 0; i < edit->n_set; i++)
		if (rl_str_eq(edit->set[i].name, name))
			return true;
	return false;
}

/* A model's name as a JSON string; p == NULL without memory. Names rarely need an escape. */
static rl_str quoted(rl_str name, struct rl_arena *arena)
{
	struct rl_buf escaped;
	rl_str copy = {NULL, 0};

	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] >= 0x20 && name.p[i] < 0x7F && name.p[i] != '"' && name.p[i] != '\\')
			continue;
		rl_buf_init(&escaped, 2 + 6 * name.n);
		rl_buf_json(&escaped, name);
		if (rl_buf_ok(&escaped))
			copy = rl_arena_dup(arena, rl_buf_str(&escaped));
		rl_buf_fini(&escaped);
		return copy;
	}
	char *made = rl_arena_alloc(arena, name.n + 2);

	if (!made)
		return copy;
	made[0] = made[name.n + 1] = '"';
	if (name.n)
		memcpy(made + 1, name.p, name.n);
	return rl_str_make(made, name.n + 2);
}

enum rl_err rl_border_rename(const struct rl_envelope *env, const struct rl_edit *edit, struct rl_arena *arena,
			     struct rl_json_splice *splice)
{
	rl_str name = quoted(edit->model, arena);

	if (!name.p)
		return RL_ERR_NOMEM;
	rl_json_splice_set(splice, &env->model_span, RL_STR("model"), name);
	return RL_OK;
}

enum rl_err rl_border_edit_body(rl_str body, const struct rl_envelope *env, const struct rl_edit *edit,
				struct rl_arena *arena, rl_str parts[RL_BODY_PARTS_MAX], size_t *n)
{
	bool rename = env->model.n && !rl_str_eq(env->model, edit->model);
	struct rl_json_splice splice;
	enum rl_err err = RL_OK;

	if (!rename && !edit->n_set && !edit->n_remove) {
		parts[0] = body;
		*n = 1;
		return RL_OK;
	}
	rl_json_splice_init(&splice, body, arena);
	if (rename)
		err = rl_border_rename(env, edit, arena, &splice);
	if (!err && (edit->n_set || edit->n_remove))
		err = rl_border_edit_configured(body, edit, &splice);
	return err ? err : rl_json_splice_parts(&splice, parts, n, NULL);
}

/* ---- errors of providers ---- */

bool rl_border_text_has(rl_str text, rl_str needle)
{
	if (!text.p || text.n < needle.n)
		return false;
	for (size_t i = 0; i <= text.n - needle.n; i++)
		if ((text.p[i] | 0x20) == (needle.p[0] | 0x20) && strncasecmp(text.p + i, needle.p, needle.n) == 0)
			return true;
	return false;
}

/* How servers without a code for it say that the prompt is too long; both halves must be there. */
static const struct {
	rl_str one, two;
} overflow_texts[] = {
	{RL_STR_INIT("prompt is too long"), {NULL, 0}},
	{RL_STR_INIT("input is too long for requested model"), {NULL, 0}},
	{RL_STR_INIT("exceeds the context window"), {NULL, 0}},
	{RL_STR_INIT("input token count"), RL_STR_INIT("exceeds the maximum")},
	{RL_STR_INIT("maximum prompt length is"), {NULL, 0}},
	{RL_STR_INIT("reduce the length of the messages"), {NULL, 0}},
	{RL_STR_INIT("maximum context length is"), {NULL, 0}},
	{RL_STR_INIT("token count"), RL_STR_INIT("exceeds the limit of")},
	{RL_STR_INIT("exceeds the available context size"), {NULL, 0}},
	{RL_STR_INIT("exceed context limit"), {NULL, 0}},
	{RL_STR_INIT("too large for model with"), {NULL, 0}},
	{RL_STR_INIT("prompt tokens ("), RL_STR_INIT("exceed model maximum")},
	{RL_STR_INIT("too many tokens:"), {NULL, 0}},
};

static const rl_str filter_texts[] = {
	RL_STR_INIT("content management policy"),
	RL_STR_INIT("content filtering policy"),
	RL_STR_INIT("violating our usage policy"),
	RL_STR_INIT("rejected as a result of our safety system"),
};

enum rl_fault_class rl_border_class_of_message(rl_str message)
{
	if (rl_json_type_of(message) != RL_JSON_STRING)
		return RL_FAULT_NONE;
	message = rl_str_sub(message, 0, RL_BORDER_SEARCH_BYTES);
	for (size_t i = 0; i < sizeof overflow_texts / sizeof overflow_texts[0]; i++)
		if (rl_border_text_has(message, overflow_texts[i].one) &&
		    (!overflow_texts[i].two.n || rl_border_text_has(message, overflow_texts[i].two)))
			return RL_FAULT_CONTEXT_LENGTH;
	for (size_t i = 0; i < sizeof filter_texts / sizeof filter_texts[0]; i++)
		if (rl_border_text_has(message, filter_texts[i]))
			return RL_FAULT_CONTENT_FILTER;
	return RL_FAULT_NONE;
}

enum rl_fault_class rl_border_class_of_status(uint16_t status)
{
	switch (status) {
	case 401:
	case 403:
		return RL_FAULT_AUTH;
	case 402:
		return RL_FAULT_QUOTA;
	case 404:
		return RL_FAULT_NOT_FOUND;
	case 408:
	case 504:
	case 524: /* a proxy gave up waiting for the provider (Cloudflare) */
		return RL_FAULT_TIMEOUT;
	case 429:
		return RL_FAULT_RATE_LIMIT;
	case 498: /* Groq: no flex capacity */
	case 503:
	case 529:
		return RL_FAULT_OVERLOADED;
	default:
		if (status < 400)
			return RL_FAULT_INVALID_RESPONSE;
		return status < 500 ? RL_FAULT_BAD_REQUEST : RL_FAULT_SERVER_ERROR;
	}
}

rl_str rl_border_html_title(rl_str page)
{
	for (size_t i = 0; i + 7 <= page.n; i++) {
		if (page.p[i] != '<' || strncasecmp(page.p + i, "<title>", 7) != 0)
			continue;
		rl_str title = rl_str_sub(page, i + 7, SIZE_MAX);
		size_t end = rl_str_find(title, '<');

		return rl_str_sub(title, 0, end);
	}
	return rl_str_make(NULL, 0);
}

static bool key_byte(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
	       c == '*' || c == '.';
}

/* Bytes of text that look like a provider's key, which some servers repeat when they refuse it; else 0. */
static size_t key_like(rl_str text)
{
	static const rl_str prefixes[] = {RL_STR_INIT("sk-"), RL_STR_INIT("gsk_"), RL_STR_INIT("xai-"),
					  RL_STR_INIT("AIza"), RL_STR_INIT("Bearer ")};

	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		size_t n = prefixes[i].n;

		if (!rl_str_starts(text, prefixes[i]))
			continue;
		while (n < text.n && key_byte(text.p[n]))
			n++;
		if (n >= prefixes[i].n + 4)
			return n;
	}
	return 0;
}

/* How many of the first `n` bytes of text end on a character's end. */
static size_t whole_utf8(const char *text, size_t n)
{
	size_t back = 0;

	while (back < 3 && back < n && ((unsigned char)text[n - 1 - back] & 0xC0) == 0x80)
		back++;
	if (back == n)
		return 0;
	unsigned char lead = (unsigned char)text[n - 1 - back];
	size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;

	return want == back + 1 ? n : n - 1 - back;
}

rl_str rl_border_tidy(rl_str text, struct rl_arena *arena)
{
	static const char hidden[] = "[key]";
	char out[RL_BORDER_TEXT_BYTES];
	size_t n = 0, i = 0;

	while (i < text.n && n < sizeof out) {
		size_t key = i == 0 || !key_byte(text.p[i - 1]) ? key_like(rl_str_sub(text, i, SIZE_MAX)) : 0;

		if (key) {
			size_t room = sizeof out - n, take = room < sizeof hidden - 1 ? room : sizeof hidden - 1;

			memcpy(out + n, hidden, take);
			n += take;
			i += key;
			continue;
		}
		unsigned char c = (unsigned char)text.p[i++];
		bool space = c <= 0x20 || c == 0x7F;

		if (!space)
			out[n++] = (char)c;
		else if (n && out[n - 1] != ' ')
			out[n++] = ' ';
	}
	if (i < text.n)
		n = whole_utf8(out, n);
	if (n && out[n - 1] == ' ')
		n--;
	rl_str copy = rl_arena_dup(arena, rl_str_make(out, n));

	return copy.p ? copy : rl_str_make(NULL, 0);
}

uint16_t rl_border_status_of_class(enum rl_fault_class cls)
{
	switch (cls) {
	case RL_FAULT_RATE_LIMIT:
	case RL_FAULT_QUOTA:
		return 429;
	case RL_FAULT_OVERLOADED:
		return 503;
	case RL_FAULT_TIMEOUT:
		return 504;
	case RL_FAULT_CONTEXT_LENGTH:
	case RL_FAULT_CONTENT_FILTER:
	case RL_FAULT_BAD_REQUEST:
		return 400;
	case RL_FAULT_NOT_FOUND:
		return 404;
	default:
		return 502;
	}
}

/* ---- lists of models ---- */

/* More ids than any provider lists; an aggregator has some hundreds. */
#define MODELS_MAX 10000
#define MODEL_ID_MAX_BYTES 256

/* The id of one line; empty for a line without a usable one. */
static enum rl_err model_id(rl_str line, rl_str key, struct rl_arena *arena, rl_str *id)
{
	struct rl_json_span span;

	*id = rl_str_make(NULL, 0);
	rl_json_find(line, &key, 1, &span);
	if (span.type != RL_JSON_STRING || span.n > MODEL_ID_MAX_BYTES)
		return RL_OK;
	if (rl_json_unescape(rl_json_span_text(line, &span), arena, id) == RL_ERR_NOMEM)
		return RL_ERR_NOMEM;
	/* The body does not outlive the reader's call. */
	if (id->n)
		*id = rl_arena_dup(arena, *id);
	return id->n && !id->p ? RL_ERR_NOMEM : RL_OK;
}

enum rl_err rl_border_read_ids(rl_str list, rl_str key, struct rl_arena *arena, rl_str **ids, size_t *n)
{
	struct rl_json_iter iter;
	rl_str line;
	size_t count = 0;

	*ids = NULL;
	*n = 0;
	if (rl_json_type_of(list) != RL_JSON_ARRAY)
		return RL_ERR_SYNTAX;
	rl_json_iter_array(&iter, list);
	while (count < MODELS_MAX && rl_json_iter_next(&iter, &line))
		count++;
	*ids = RL_NEW_ARRAY(arena, rl_str, count ? count : 1);
	if (!*ids)
		return RL_ERR_NOMEM;
	rl_json_iter_array(&iter, list);
	while (count-- && rl_json_iter_next(&iter, &line)) {
		if (model_id(line, key, arena, &(*ids)[*n]))
			return RL_ERR_NOMEM;
		if ((*ids)[*n].n)
			++*n;
	}
	return RL_OK;
}
