/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thoughts in chat completions. The API has no place for them; four have become usual, and all are read:
 *
 *  - the text as `reasoning_content` (DeepSeek and most) or `reasoning` (vLLM, Groq, OpenRouter), or both;
 *  - `reasoning_details` (OpenRouter): blocks with seals, an encrypted one may bear the id of a call that it belongs to;
 *  - `thinking_blocks` (LiteLLM): Anthropic's own blocks;
 *  - `extra_content.google.thought_signature` on a call (Google's compatible endpoint).
 *
 * The blocks become REASONING parts and keep their raw text, so that this dialect writes them as they were. Where one
 * of the first forms repeats the text of the blocks it is noted in their `spelling`, and not read twice.
 */
#include "dialect/openai_priv.h"
#include "dialect/table.h"

#define BOTH "both"

/* --- reading --- */

/* One block, of either kind. */
struct block {
	rl_str type;                                         /* raw */
	rl_str text, summary, data, signature, thinking, id; /* unescaped */
	int64_t index;
};

static void text_if_text(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_STRING)
		rl_read_text(p, at, value, field);
}

static void read_index(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	uint64_t number;

	(void)p, (void)at;
	if (rl_json_u64(value, &number) && number <= INT32_MAX)
		*(int64_t *)field = (int64_t)number;
}

static bool read_block(struct rl_reader *p, rl_str value, struct block *b)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct block, type, "type", rl_read_raw),
		RL_FIELD(struct block, text, "text", text_if_text),
		RL_FIELD(struct block, summary, "summary", text_if_text),
		RL_FIELD(struct block, data, "data", text_if_text),
		RL_FIELD(struct block, signature, "signature", text_if_text),
		RL_FIELD(struct block, thinking, "thinking", text_if_text),
		RL_FIELD(struct block, id, "id", text_if_text),
		RL_FIELD(struct block, index, "index", read_index),
	};

	*b = (struct block){.index = RL_UNSET};
	if (rl_json_type_of(value) == RL_JSON_OBJECT)
		rl_table_read(p, NULL, value, fields, RL_N_FIELDS(fields), b, NULL);
	return !p->err;
}

enum block_kind { BLOCK_NONE, BLOCK_TEXT, BLOCK_SUMMARY, BLOCK_ENCRYPTED, BLOCK_THINKING, BLOCK_REDACTED };

static enum block_kind kind_of(rl_str type)
{
	static const char *const words[] = {"reasoning.text", "reasoning.summary", "reasoning.encrypted", "thinking",
					    "redacted_thinking"};

	return (enum block_kind)rl_table_word(type, words, RL_N_FIELDS(words));
}

/* Whether a list holds nothing but blocks that are known. */
static bool all_known(rl_str list)
{
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(list) != RL_JSON_ARRAY)
		return false;
	rl_json_iter_array(&iter, list);
	while (rl_json_iter_next(&iter, &element))
		if (!kind_of(rl_table_type(element)))
			return false;
	return true;
}

/* The list under `key` if all of it is understood, taken out of the extras; else it stays there. */
static rl_str take_list(struct rl_extras *extras, rl_str key)
{
	rl_str list = rl_table_find(*extras, key);

	return rl_table_count(list) && all_known(list) ? rl_table_take(extras, key) : rl_str_make(NULL, 0);
}

size_t rl_openai_take_thoughts(struct rl_openai_thoughts *from, struct rl_extras *extras)
{
	from->details = take_list(extras, RL_STR("\"reasoning_details\""));
	/* One list is enough: with both, the second is carried as it is. */
	if (!from->details.p)
		from->blocks = take_list(extras, RL_STR("\"thinking_blocks\""));
	return rl_table_count(from->details.p ? from->details : from->blocks);
}

static rl_str join(struct rl_reader *p, rl_str a, rl_str b)
{
	if (!a.n)
		return b.p ? b : a;
	if (!b.n)
		return a;
	char *text = rl_arena_alloc(p->arena, a.n + b.n);

	if (!text) {
		rl_table_nomem(p);
		return a;
	}
	memcpy(text, a.p, a.n);
	memcpy(text + a.n, b.p, b.n);
	return rl_str_make(text, a.n + b.n);
}

/*
 * A client that keeps the pieces of a stream side by side sends one thought as several blocks: those of one number and
 * kind, up to the seal, are one. The seal of a summary stands in a block behind it, of the same id.
 */
static bool continues(const struct rl_part *last, int64_t last_index, const struct block *b, enum block_kind kind)
{
	const struct rl_reasoning *r = &last->reasoning;

	if (!last->kind || r->signature.n || r->redacted.n)
		return false;
	if (kind == BLOCK_ENCRYPTED)
		return r->summary && b->id.n && rl_str_eq(r->id, b->id);
	return last_index == b->index && (!b->id.n || rl_str_eq(r->id, b->id)) &&
	       ((kind == BLOCK_TEXT && !r->summary) || (kind == BLOCK_SUMMARY && r->summary));
}

static void fill(const struct block *b, enum block_kind kind, struct rl_reasoning *r)
{
	rl_str family = RL_STR(RL_OPENAI_NAME);

	r->id = b->id;
	switch (kind) {
	case BLOCK_TEXT:
		r->text = b->text.p ? b->text : RL_STR("");
		r->signature = b->signature;
		break;
	case BLOCK_SUMMARY:
		r->text = b->summary.p ? b->summary : RL_STR("");
		r->summary = true;
		break;
	case BLOCK_ENCRYPTED:
		/* With an id it seals something: a call, or a thought without text. Else it is a thought itself. */
		if (b->id.n)
			r->signature = b->data;
		else
			r->redacted = b->data;
		break;
	case BLOCK_THINKING:
		family = RL_STR("anthropic"); /* whose blocks these are by their form */
		r->text = b->thinking.p ? b->thinking : RL_STR("");
		r->signature = b->signature;
		break;
	default:
		family = RL_STR("anthropic");
		r->redacted = b->data;
	}
	if (r->signature.n)
		r->family = rl_seal_open(&r->signature, family);
	if (r->redacted.n)
		r->family = rl_seal_open(&r->redacted, family);
}

static void merge(struct rl_reader *p, const struct block *b, enum block_kind kind, struct rl_reasoning *r)
{
	if (kind == BLOCK_ENCRYPTED)
		r->signature = b->data;
	else
		r->signature = b->signature;
	if (r->signature.n)
		r->family = rl_seal_open(&r->signature, RL_STR(RL_OPENAI_NAME));
	if (kind != BLOCK_ENCRYPTED)
		r->text = join(p, r->text, r->summary ? b->summary : b->text);
}

/* The plain text beside the blocks: said with them, the text of a seal without one, or (false) a thought of its own. */
static bool settle_plain(const struct rl_openai_thoughts *from, struct rl_part *first, size_t n)
{
	rl_str plain = from->reasoning_content.p ? from->reasoning_content : from->reasoning;
	struct rl_part *bare = NULL;
	size_t bares = 0, texts = 0;

	for (size_t i = 0; i < n; i++) {
		const struct rl_reasoning *r = &first[i].reasoning;

		texts += r->text.n > 0;
		if (r->signature.n && r->text.p && !r->text.n) {
			bare = &first[i];
			bares++;
		}
	}
	if (!plain.p || (!texts && bares != 1 && plain.n))
		return false;
	if (!texts && bare)
		bare->reasoning.text = plain;
	first->reasoning.spelling = from->reasoning_content.p && from->reasoning.p ? RL_STR(BOTH)
				    : from->reasoning_content.p                    ? RL_STR("reasoning_content")
										   : RL_STR("reasoning");
	return true;
}

static bool read_blocks(struct rl_reader *p, const struct rl_openai_thoughts *from, rl_str list, struct rl_message *out)
{
	struct rl_part *first = &out->parts[out->n_parts], *last = NULL;
	struct rl_json_iter iter;
	int64_t last_index = RL_UNSET;
	struct block b;
	rl_str element;

	rl_json_iter_array(&iter, list);
	while (rl_json_iter_next(&iter, &element) && read_block(p, element, &b)) {
		enum block_kind kind = kind_of(b.type);

		if (last && continues(last, last_index, &b, kind)) {
			struct rl_reasoning *r = &last->reasoning;

			merge(p, &b, kind, r);
			r->json = rl_str_make(r->json.p, (size_t)(element.p + element.n - r->json.p));
			continue;
		}
		last = &out->parts[out->n_parts++];
		last->kind = RL_PART_REASONING;
		last->reasoning.json = element;
		last_index = b.index;
		fill(&b, kind, &last->reasoning);
	}
	return last && settle_plain(from, first, out->n_parts - (size_t)(first - out->parts));
}

static void put_plain(rl_str text, rl_str signature, rl_str spelling, struct rl_message *out)
{
	struct rl_part *part = &out->parts[out->n_parts++];

	*part = (struct rl_part){.kind = RL_PART_REASONING,
				 .reasoning = {.text = text, .signature = signature, .spelling = spelling}};
	if (signature.n)
		part->reasoning.family = rl_seal_open(&part->reasoning.signature, RL_STR(RL_OPENAI_NAME));
}

void rl_openai_put_thoughts(struct rl_reader *p, const struct rl_openai_thoughts *from, struct rl_message *out)
{
	rl_str older = from->reasoning_content, newer = from->reasoning,
	       list = from->details.p ? from->details : from->blocks;

	if (list.p && read_blocks(p, from, list, out)) {
		if (from->signature.p)
			put_plain(rl_str_make(NULL, 0), from->signature, rl_str_make(NULL, 0), out);
		return;
	}
	if (older.p && newer.p && rl_str_eq(older, newer)) {
		put_plain(older, from->signature, RL_STR(BOTH), out);
		return;
	}
	if (older.p || (!newer.p && from->signature.p))
		put_plain(older, from->signature, rl_str_make(NULL, 0), out);
	if (newer.p)
		put_plain(newer, older.p ? rl_str_make(NULL, 0) : from->signature, RL_STR("reasoning"), out);
}

/* {"google":{"thought_signature":"..."}} and nothing else; else p == NULL. */
static rl_str call_seal(struct rl_reader *p, rl_str extra)
{
	static const struct rl_field seal[] = {RL_WHOLE("thought_signature", text_if_text)};
	static const struct rl_field google[] = {RL_WHOLE("google", rl_read_raw)};
	rl_str inner = {NULL, 0}, text = {NULL, 0};
	struct rl_extras more = {.n = 0}, inner_more = {.n = 0};

	if (rl_json_type_of(extra) == RL_JSON_OBJECT)
		rl_table_read(p, NULL, extra, google, 1, &inner, &more);
	if (rl_json_type_of(inner) == RL_JSON_OBJECT)
		rl_table_read(p, NULL, inner, seal, 1, &text, &inner_more);
	return more.n || inner_more.n ? rl_str_make(NULL, 0) : text;
}

void rl_openai_put_call_seal(struct rl_reader *p, struct rl_part *call, struct rl_message *out)
{
	static const rl_str key = RL_STR_INIT("\"extra_content\"");
	struct rl_reasoning thought = {.spelling = RL_STR("extra_content")};

	thought.json = rl_table_find(call->extras, key);
	thought.signature = call_seal(p, thought.json);
	if (!thought.signature.n)
		return;
	rl_table_take(&call->extras, key);
	thought.family = rl_seal_open(&thought.signature, RL_STR("gemini")); /* by its form */
	out->parts[out->n_parts++] = *call;
	out->parts[out->n_parts - 2] = (struct rl_part){.kind = RL_PART_REASONING, .reasoning = thought};
}

static bool seals_call(const struct rl_part *part, rl_str id)
{
	return part->kind == RL_PART_REASONING && !part->reasoning.text.p && rl_str_eq(part->reasoning.id, id);
}

/* Where the seal at `at` belongs: before its call, behind that one's other seals; `at` itself if it stands there. */
static size_t place_of_seal(const struct rl_message *message, size_t at)
{
	rl_str id = message->parts[at].reasoning.id;
	size_t call = at + 1, between = at + 1;

	while (call < message->n_parts &&
	       !(message->parts[call].kind == RL_PART_TOOL_CALL && rl_str_eq(message->parts[call].call.id, id)))
		call++;
	while (between < call && seals_call(&message->parts[between], id))
		between++;
	return call == message->n_parts || between == call ? at : call - 1;
}

/* Seals in encrypted blocks that name a call go directly before it, as part.h says; each moves once. */
void rl_openai_order_seals(struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts;) {
		struct rl_part part = message->parts[i];
		size_t to = i;

		if (part.kind == RL_PART_REASONING && part.reasoning.id.n && !part.reasoning.text.p)
			to = place_of_seal(message, i);
		if (to == i) {
			i++;
			continue;
		}
		memmove(&message->parts[i], &message->parts[i + 1], (to - i) * sizeof part);
		message->parts[to] = part;
	}
}

/* --- writing --- */

static bool is_plain(const struct rl_part *part)
{
	return part->kind == RL_PART_REASONING && !part->reasoning.json.n;
}

static bool is_block(const struct rl_part *part)
{
	return part->kind == RL_PART_REASONING && part->reasoning.json.n &&
	       !rl_str_eq(part->reasoning.spelling, RL_STR("extra_content")) &&
	       !rl_str_eq(part->reasoning.spelling, RL_STR("thinking"));
}

static bool is_sealed(const struct rl_reasoning *r)
{
	return r->signature.n || r->redacted.n;
}

/* Whether a provider that reads this dialect can open it. */
static bool is_own(const struct rl_reasoning *r)
{
	return !r->family.n || rl_str_eq(r->family, RL_STR(RL_OPENAI_NAME)) ||
	       (r->json.n && !memmem(r->json.p, r->json.n, RL_SEAL_MARK, sizeof RL_SEAL_MARK - 1));
}

/* Whether a block of this dialect's own message can be written for the reader. */
static bool is_kept(const struct rl_openai_writer *w, const struct rl_part *part)
{
	return is_block(part) && (w->answer || !is_sealed(&part->reasoning) || is_own(&part->reasoning));
}

static bool any_kept(const struct rl_openai_writer *w, const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (is_kept(w, &message->parts[i]))
			return true;
	return false;
}

/* The texts of another dialect's thoughts as one. */
static void write_text(struct rl_buf *out, const char *key, const struct rl_message *message)
{
	rl_build_key(out, key);
	RL_BUF_LIT(out, "\"");
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_REASONING)
			rl_openai_add_inside(out, message->parts[i].reasoning.text);
	RL_BUF_LIT(out, "\"");
}

/* The text that stood beside the blocks: of those that stay, or of all where none does. */
static void write_beside(const struct rl_openai_writer *w, const char *key, const struct rl_message *message)
{
	bool some = any_kept(w, message);

	rl_build_key(w->out, key);
	RL_BUF_LIT(w->out, "\"");
	for (size_t i = 0; i < message->n_parts; i++)
		if (is_block(&message->parts[i]) && (!some || is_kept(w, &message->parts[i])))
			rl_openai_add_inside(w->out, message->parts[i].reasoning.text);
	RL_BUF_LIT(w->out, "\"");
}

static void write_spelled(const struct rl_openai_writer *w, rl_str spelling, const struct rl_message *message)
{
	bool both = rl_str_eq(spelling, RL_STR(BOTH));

	if (both || rl_str_eq(spelling, RL_STR("reasoning_content")))
		write_beside(w, "reasoning_content", message);
	if (both || rl_str_eq(spelling, RL_STR("reasoning")))
		write_beside(w, "reasoning", message);
}

/* Blocks as they were; all of a message are of one list. */
static void write_own_blocks(const struct rl_openai_writer *w, const struct rl_message *message)
{
	bool open = false;

	for (size_t i = 0; i < message->n_parts; i++)
		if (is_block(&message->parts[i]))
			write_spelled(w, message->parts[i].reasoning.spelling, message);
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (is_block(part) && !is_kept(w, part))
			rl_openai_drop(w, "reasoning");
		if (!is_kept(w, part))
			continue;
		if (!open) {
			bool details = kind_of(rl_table_type(part->reasoning.json)) <= BLOCK_ENCRYPTED;

			rl_build_key(w->out, details ? "reasoning_details" : "thinking_blocks");
			RL_BUF_LIT(w->out, "[");
		}
		open = true;
		rl_build_comma(w->out);
		rl_buf_add(w->out, part->reasoning.json);
	}
	if (open)
		RL_BUF_LIT(w->out, "]");
}

static void write_own(const struct rl_openai_writer *w, const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_reasoning *r = &message->parts[i].reasoning;

		if (!is_plain(&message->parts[i]))
			continue;
		bool newer = rl_str_eq(r->spelling, RL_STR("reasoning")), both = rl_str_eq(r->spelling, RL_STR(BOTH));

		if (r->text.p && !newer)
			rl_build_text(w->out, "reasoning_content", r->text);
		if (r->text.p && (newer || both))
			rl_build_text(w->out, "reasoning", r->text);
		if (r->signature.p && is_own(r))
			rl_build_text(w->out, "reasoning_signature", r->signature);
		else if (r->signature.p)
			rl_openai_drop(w, "reasoning");
	}
	write_own_blocks(w, message);
}

/* What OpenRouter calls the forms of the families that it knows; the mark on the seal says it for all. */
static rl_str format_of(rl_str family)
{
	static const struct {
		rl_str family, format;
	} formats[] = {
		{RL_STR_INIT("anthropic"), RL_STR_INIT("anthropic-claude-v1")},
		{RL_STR_INIT("gemini"), RL_STR_INIT("google-gemini-v1")},
		{RL_STR_INIT(RL_OPENAI_NAME), RL_STR_INIT("openai-responses-v1")},
	};

	for (size_t i = 0; i < RL_N_FIELDS(formats); i++)
		if (rl_str_eq(family, formats[i].family))
			return formats[i].format;
	return RL_STR("unknown");
}

void rl_openai_write_detail(struct rl_buf *out, const struct rl_reasoning *r, rl_str seal, rl_str call_id, size_t index)
{
	bool encrypted = r->redacted.n || (!r->text.p && (call_id.n || r->id.n));
	rl_str id = call_id.n ? call_id : r->redacted.n ? rl_str_make(NULL, 0) : r->id;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	if (encrypted) {
		rl_build_text(out, "type", RL_STR("reasoning.encrypted"));
		rl_build_text(out, "data", seal);
	} else {
		rl_build_text(out, "type", r->summary ? RL_STR("reasoning.summary") : RL_STR("reasoning.text"));
		rl_build_text(out, r->summary ? "summary" : "text", r->text);
		if (seal.n && !r->summary)
			rl_build_text(out, "signature", seal);
	}
	if (id.n)
		rl_build_text(out, "id", id);
	rl_build_text(out, "format", format_of(r->family));
	rl_build_int(out, "index", (int64_t)index);
	RL_BUF_LIT(out, "}");
	/* A summary has no place for its seal. */
	if (seal.n && r->summary && !encrypted) {
		struct rl_reasoning alone = {.signature = seal, .id = r->id, .family = r->family};

		rl_openai_write_detail(out, &alone, seal, rl_str_make(NULL, 0), index);
	}
}

/* The blocks of another dialect's answer for a client of this one, each seal with its family's mark. */
static void write_details(const struct rl_openai_writer *w, const struct rl_message *message)
{
	rl_build_key(w->out, "reasoning_details");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i], *next = part + 1;
		const struct rl_reasoning *r = &part->reasoning;
		rl_str call_id = {NULL, 0};

		if (part->kind != RL_PART_REASONING)
			continue;
		if (!r->text.p && i + 1 < message->n_parts && next->kind == RL_PART_TOOL_CALL)
			call_id = rl_openai_call_id(w, &next->call, i + 1);
		rl_str seal = rl_seal_wrap(r->redacted.n ? r->redacted : r->signature, r->family,
					   RL_STR(RL_OPENAI_NAME), w->t->arena);

		if (!seal.p && is_sealed(r))
			rl_translation_nomem(w->t);
		rl_openai_write_detail(w->out, r, seal, call_id, i);
	}
	RL_BUF_LIT(w->out, "]");
}

static bool has_call(const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_TOOL_CALL)
			return true;
	return false;
}

/* Another dialect's thoughts: to a client all of them, to a provider the text, where it wants it back. */
static void write_foreign(const struct rl_openai_writer *w, const struct rl_message *message)
{
	bool text = false, sealed = false, some = false;
	bool back = !w->answer && rl_facts_quirk(w->t->facts, RL_QUIRK_REASONING_BACK);
	const char *name =
		!w->answer && rl_facts_quirk(w->t->facts, RL_QUIRK_REASONING_FIELD) ? "reasoning" : "reasoning_content";

	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_reasoning *r = &message->parts[i].reasoning;

		if (message->parts[i].kind != RL_PART_REASONING)
			continue;
		some = true;
		text |= r->text.n > 0;
		sealed |= is_sealed(r);
	}
	/* Who wants thoughts back refuses a call without them; none is one too. */
	if ((w->answer && text) || (back && (text || has_call(message))))
		write_text(w->out, name, message);
	if (w->answer && sealed)
		write_details(w, message);
	if (!w->answer && some && (sealed || !back))
		rl_openai_drop(w, "reasoning");
}

void rl_openai_write_thoughts(const struct rl_openai_writer *w, const struct rl_message *message)
{
	if (w->ours)
		write_own(w, message);
	else if (message->role == RL_ROLE_ASSISTANT)
		write_foreign(w, message);
}

void rl_openai_write_call_seal(const struct rl_openai_writer *w, const struct rl_message *message, size_t call)
{
	const struct rl_part *before = call ? &message->parts[call - 1] : NULL;

	if (!w->ours || !before || before->kind != RL_PART_REASONING ||
	    !rl_str_eq(before->reasoning.spelling, RL_STR("extra_content")))
		return;
	if (is_own(&before->reasoning))
		rl_build_raw(w->out, "extra_content", before->reasoning.json);
	else
		rl_openai_drop(w, "reasoning");
}
