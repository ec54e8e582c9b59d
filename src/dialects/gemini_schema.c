/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schemas of tools and answers between JSON Schema and the subset of OpenAPI 3.0 that
 * Gemini's `parameters` and `responseSchema` are: types in capitals, `nullable`, no
 * references, and an error for every unknown member. Both ways walk the text itself,
 * whose depth the scanner has bounded; references are followed at most REF_DEPTH_MAX
 * deep and into SUBSET_MAX_BYTES, so that one schema that names itself ends.
 */
#include "dialects/gemini_priv.h"

#include <assert.h>
#include <ctype.h>

#define REF_DEPTH_MAX 24u
#define SUBSET_MAX_BYTES ((size_t)1 << 20)

/* --- OpenAPI's subset to JSON Schema --- */

/* Names that the JSON form of protocol buffers also takes in snake case, and how JSON Schema spells them. */
static rl_str standard_name(rl_str key)
{
	static const struct {
		rl_str snake, name;
	} names[] = {
		{RL_STR_INIT("any_of"), RL_STR_INIT("anyOf")},
		{RL_STR_INIT("min_items"), RL_STR_INIT("minItems")},
		{RL_STR_INIT("max_items"), RL_STR_INIT("maxItems")},
		{RL_STR_INIT("min_length"), RL_STR_INIT("minLength")},
		{RL_STR_INIT("max_length"), RL_STR_INIT("maxLength")},
		{RL_STR_INIT("min_properties"), RL_STR_INIT("minProperties")},
		{RL_STR_INIT("max_properties"), RL_STR_INIT("maxProperties")},
		{RL_STR_INIT("property_ordering"), RL_STR_INIT("propertyOrdering")},
		{RL_STR_INIT("additional_properties"), RL_STR_INIT("additionalProperties")},
	};

	key = rl_str_sub(key, 1, key.n > 1 ? key.n - 2 : 0);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (rl_str_eq(key, names[i].snake))
			return names[i].name;
	return key;
}

static bool is_name(rl_str name, const char *wanted)
{
	return rl_str_eq(name, rl_str_of(wanted));
}

static void add_key(struct rl_buf *out, rl_str name)
{
	rl_build_comma(out);
	RL_BUF_LIT(out, "\"");
	rl_buf_add(out, name);
	RL_BUF_LIT(out, "\":");
}

static void to_json_schema(rl_str schema, struct rl_buf *out);

static void each_member(rl_str object, struct rl_buf *out)
{
	struct rl_json_iter iter;
	rl_str key, value;

	RL_BUF_LIT(out, "{");
	rl_json_iter_object(&iter, object);
	while (rl_json_iter_member(&iter, &key, &value)) {
		rl_build_comma(out);
		rl_buf_add(out, key);
		RL_BUF_LIT(out, ":");
		to_json_schema(value, out);
	}
	RL_BUF_LIT(out, "}");
}

static void each_element(rl_str array, struct rl_buf *out)
{
	struct rl_json_iter iter;
	rl_str element;

	RL_BUF_LIT(out, "[");
	rl_json_iter_array(&iter, array);
	while (rl_json_iter_next(&iter, &element)) {
		rl_build_comma(out);
		to_json_schema(element, out);
	}
	RL_BUF_LIT(out, "]");
}

/* "OBJECT" as "object"; with nullable a list of two. */
static void add_type(rl_str type, bool nullable, struct rl_buf *out)
{
	if (rl_json_type_of(type) != RL_JSON_STRING || rl_json_string_is(type, RL_STR("TYPE_UNSPECIFIED")))
		return;
	add_key(out, RL_STR("type"));
	if (nullable)
		RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < type.n; i++)
		rl_buf_byte(out, (char)tolower((unsigned char)type.p[i]));
	if (nullable)
		RL_BUF_LIT(out, ",\"null\"]");
}

/* Counts are 64 bits wide, which the JSON form of protocol buffers writes in quotes. */
static bool is_count(rl_str name)
{
	return rl_str_starts(name, RL_STR("min")) || rl_str_starts(name, RL_STR("max"));
}

static void add_member(rl_str name, rl_str value, struct rl_buf *out)
{
	if (is_name(name, "nullable") || is_name(name, "type") || is_name(name, "propertyOrdering") ||
	    is_name(name, "example"))
		return;
	add_key(out, name);
	if (is_name(name, "properties"))
		each_member(value, out);
	else if (is_name(name, "anyOf") || is_name(name, "prefixItems"))
		each_element(value, out);
	else if (is_name(name, "items") || is_name(name, "additionalProperties"))
		to_json_schema(value, out);
	else if (is_count(name) && rl_json_type_of(value) == RL_JSON_STRING && value.n > 2)
		rl_buf_add(out, rl_str_sub(value, 1, value.n - 2));
	else
		rl_buf_add(out, value);
}

static void to_json_schema(rl_str schema, struct rl_buf *out)
{
	struct rl_json_iter iter;
	rl_str key, value;
	bool nullable = false;

	if (rl_json_type_of(schema) != RL_JSON_OBJECT) {
		rl_buf_add(out, schema);
		return;
	}
	rl_json_bool(rl_gemini_member(schema, "nullable"), &nullable);
	RL_BUF_LIT(out, "{");
	add_type(rl_gemini_member(schema, "type"), nullable, out);
	rl_json_iter_object(&iter, schema);
	while (rl_json_iter_member(&iter, &key, &value))
		add_member(standard_name(key), value, out);
	RL_BUF_LIT(out, "}");
}

/* A count in quotes that is none would break the text: then the schema stays what it was. */
rl_str rl_gemini_json_schema(rl_str schema, struct rl_arena *arena)
{
	struct rl_buf made;
	rl_str copy;

	rl_buf_init(&made, schema.n * 2 + 64);
	to_json_schema(schema, &made);
	copy = rl_buf_ok(&made) ? rl_arena_dup(arena, rl_buf_str(&made)) : rl_str_make(NULL, 0);
	rl_buf_fini(&made);
	if (copy.n && rl_json_scan(copy, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return schema;
	return copy;
}

/* --- JSON Schema to the subset --- */

struct subset {
	struct rl_translation *t;
	const char *place;
	struct rl_buf *out;
	rl_str root;
	size_t start;   /* of what is written */
	unsigned depth; /* of references */
};

static void subset(struct subset *s, rl_str schema);

static void cannot(struct subset *s, rl_str name)
{
	rl_refuse(s->t, rl_arena_printf(s->t->arena, "%s.schema", s->place),
		  "The target %.*s/%.*s knows a subset of JSON Schema, without '%.*s'. Simplify the schema, or ask a "
		  "newer model.",
		  RL_STR_ARG(s->t->facts->provider), RL_STR_ARG(s->t->facts->model), (int)(name.n < 60 ? name.n : 60),
		  name.n ? name.p : "");
}

static void leave_out(struct subset *s, rl_str name)
{
	rl_drop(s->t, "%s.schema.%.*s", s->place, (int)(name.n < 60 ? name.n : 60), name.n ? name.p : "");
}

/* "#/$defs/name" and the like in the whole schema; empty when it leads nowhere. */
static rl_str resolve(const struct subset *s, rl_str ref)
{
	rl_str at = s->root;

	if (!ref.n || ref.p[0] != '#')
		return rl_str_make(NULL, 0);
	ref = rl_str_sub(ref, 1, SIZE_MAX);
	while (ref.n && at.n) {
		if (ref.p[0] != '/')
			return rl_str_make(NULL, 0);
		ref = rl_str_sub(ref, 1, SIZE_MAX);
		size_t end = rl_str_find(ref, '/');
		rl_str step = rl_str_sub(ref, 0, end);
		struct rl_json_span span;

		ref = rl_str_sub(ref, step.n, SIZE_MAX);
		if (!step.n || rl_str_find(step, '"') != SIZE_MAX || rl_str_find(step, '\\') != SIZE_MAX)
			return rl_str_make(NULL, 0);
		rl_json_find(at, &step, 1, &span);
		at = rl_json_span_text(at, &span);
	}
	return at;
}

static void write_ref(struct subset *s, rl_str raw)
{
	rl_str ref = {NULL, 0};

	if (rl_json_unescape(raw, s->t->arena, &ref))
		ref = rl_str_make(NULL, 0);
	rl_str target = resolve(s, ref);

	/* A schema that holds itself has no end, and the subset has no names. */
	if (!target.n || s->depth >= REF_DEPTH_MAX || s->out->n - s->start > SUBSET_MAX_BYTES) {
		cannot(s, RL_STR("$ref"));
		RL_BUF_LIT(s->out, "{}");
		return;
	}
	s->depth++;
	subset(s, target);
	s->depth--;
}

/* One of the subset's six types, in its capitals; a type of any other name is none that it could keep. */
static void upper_type(struct subset *s, rl_str type)
{
	static const char *const words[] = {"string", "number", "integer", "boolean", "object", "array"};
	static const char *const upper[] = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "OBJECT", "ARRAY"};
	unsigned word = rl_table_word(type, words, 6);

	if (word)
		rl_build_text(s->out, "type", rl_str_of(upper[word - 1]));
	else
		cannot(s, RL_STR("type"));
}

/* A list of types: null makes the rest nullable, and several are alternatives. */
static void write_types(struct subset *s, rl_str list)
{
	struct rl_json_iter iter;
	rl_str element, only = {NULL, 0};
	bool nullable = false;
	size_t n = 0;

	rl_json_iter_array(&iter, list);
	while (rl_json_iter_next(&iter, &element)) {
		if (rl_json_string_is(element, RL_STR("null"))) {
			nullable = true;
			continue;
		}
		only = element;
		n++;
	}
	if (n == 1)
		upper_type(s, only);
	if (n > 1) {
		add_key(s->out, RL_STR("anyOf"));
		RL_BUF_LIT(s->out, "[");
		rl_json_iter_array(&iter, list);
		while (rl_json_iter_next(&iter, &element)) {
			if (rl_json_string_is(element, RL_STR("null")))
				continue;
			rl_build_comma(s->out);
			RL_BUF_LIT(s->out, "{");
			upper_type(s, element);
			RL_BUF_LIT(s->out, "}");
		}
		RL_BUF_LIT(s->out, "]");
	}
	if (nullable)
		rl_build_raw(s->out, "nullable", RL_STR("true"));
}

/* Values that are text; the subset has no others. null among them makes the whole nullable. */
static void write_enum(struct subset *s, rl_str list, bool single)
{
	struct rl_json_iter iter;
	rl_str element = list;
	bool nullable = false, more = true;

	add_key(s->out, RL_STR("enum"));
	RL_BUF_LIT(s->out, "[");
	rl_json_iter_array(&iter, list);
	if (!single)
		more = rl_json_iter_next(&iter, &element);
	while (more) {
		if (rl_json_type_of(element) == RL_JSON_STRING) {
			rl_build_comma(s->out);
			rl_buf_add(s->out, element);
		} else if (rl_json_type_of(element) == RL_JSON_NULL) {
			nullable = true;
		} else {
			cannot(s, single ? RL_STR("const of another type than string")
					 : RL_STR("enum of another type than string"));
		}
		more = !single && rl_json_iter_next(&iter, &element);
	}
	RL_BUF_LIT(s->out, "]");
	if (nullable)
		rl_build_raw(s->out, "nullable", RL_STR("true"));
}

static void write_properties(struct subset *s, rl_str object)
{
	struct rl_json_iter iter;
	rl_str key, value;

	add_key(s->out, RL_STR("properties"));
	RL_BUF_LIT(s->out, "{");
	rl_json_iter_object(&iter, object);
	while (rl_json_iter_member(&iter, &key, &value)) {
		rl_build_comma(s->out);
		rl_buf_add(s->out, key);
		RL_BUF_LIT(s->out, ":");
		subset(s, value);
	}
	RL_BUF_LIT(s->out, "}");
}

static bool is_null_schema(rl_str schema)
{
	return rl_json_string_is(rl_gemini_member(schema, "type"), RL_STR("null"));
}

static void write_alternatives(struct subset *s, rl_str list)
{
	struct rl_json_iter iter;
	rl_str element;
	bool nullable = false;

	add_key(s->out, RL_STR("anyOf"));
	RL_BUF_LIT(s->out, "[");
	rl_json_iter_array(&iter, list);
	while (rl_json_iter_next(&iter, &element)) {
		if (is_null_schema(element)) {
			nullable = true;
			continue;
		}
		rl_build_comma(s->out);
		subset(s, element);
	}
	RL_BUF_LIT(s->out, "]");
	if (nullable)
		rl_build_raw(s->out, "nullable", RL_STR("true"));
}

/* A format that the API knows; the rest are remarks. */
static void write_format(struct subset *s, rl_str value)
{
	static const char *const known[] = {"enum", "date-time", "int32", "int64", "float", "double"};

	if (rl_table_word(value, known, 6))
		rl_build_raw(s->out, "format", value);
	else
		leave_out(s, RL_STR("format"));
}

/* How each member of JSON Schema fares. */
enum fate {
	COPY,
	REMARK,
	REFUSE,
	FALSE_ONLY,
	TYPE,
	ENUM,
	CONST,
	PROPERTIES,
	ITEMS,
	ANY,
	ONE,
	ALL,
	REF,
	FORMAT,
	LOW,
	HIGH,
	SKIP
};

static enum fate fate_of(rl_str name)
{
	static const struct {
		rl_str name;
		enum fate fate;
	} fates[] = {
		{RL_STR_INIT("type"), TYPE},
		{RL_STR_INIT("properties"), PROPERTIES},
		{RL_STR_INIT("description"), COPY},
		{RL_STR_INIT("required"), COPY},
		{RL_STR_INIT("items"), ITEMS},
		{RL_STR_INIT("enum"), ENUM},
		{RL_STR_INIT("title"), COPY},
		{RL_STR_INIT("nullable"), COPY},
		{RL_STR_INIT("minItems"), COPY},
		{RL_STR_INIT("maxItems"), COPY},
		{RL_STR_INIT("minLength"), COPY},
		{RL_STR_INIT("maxLength"), COPY},
		{RL_STR_INIT("minProperties"), COPY},
		{RL_STR_INIT("maxProperties"), COPY},
		{RL_STR_INIT("minimum"), COPY},
		{RL_STR_INIT("maximum"), COPY},
		{RL_STR_INIT("pattern"), COPY},
		{RL_STR_INIT("propertyOrdering"), COPY},
		{RL_STR_INIT("format"), FORMAT},
		{RL_STR_INIT("const"), CONST},
		{RL_STR_INIT("anyOf"), ANY},
		{RL_STR_INIT("oneOf"), ONE},
		{RL_STR_INIT("allOf"), ALL},
		{RL_STR_INIT("$ref"), REF},
		{RL_STR_INIT("$defs"), SKIP}, /* what is used of it is written where it is used */
		{RL_STR_INIT("definitions"), SKIP},
		{RL_STR_INIT("exclusiveMinimum"), LOW},
		{RL_STR_INIT("exclusiveMaximum"), HIGH},
		{RL_STR_INIT("additionalProperties"), FALSE_ONLY},
		{RL_STR_INIT("not"), REFUSE},
		{RL_STR_INIT("if"), REFUSE},
		{RL_STR_INIT("then"), REFUSE},
		{RL_STR_INIT("else"), REFUSE},
		{RL_STR_INIT("patternProperties"), REFUSE},
		{RL_STR_INIT("propertyNames"), REFUSE},
		{RL_STR_INIT("dependentSchemas"), REFUSE},
		{RL_STR_INIT("dependentRequired"), REFUSE},
		{RL_STR_INIT("contains"), REFUSE},
		{RL_STR_INIT("prefixItems"), REFUSE},
		{RL_STR_INIT("$dynamicRef"), REFUSE},
	};

	for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++)
		if (rl_str_eq(name, fates[i].name))
			return fates[i].fate;
	return REMARK; /* $schema, $id, default, examples, uniqueItems, multipleOf, and what vendors add */
}

static void members(struct subset *s, rl_str schema);

static void write_member(struct subset *s, rl_str name, rl_str value)
{
	struct rl_json_iter iter;
	rl_str only;

	switch (fate_of(name)) {
	case TYPE:
		if (rl_json_type_of(value) == RL_JSON_ARRAY)
			write_types(s, value);
		else
			upper_type(s, value);
		break;
	case PROPERTIES:
		write_properties(s, value);
		break;
	case COPY:
		add_key(s->out, name);
		rl_buf_add(s->out, value);
		break;
	case ITEMS:
		add_key(s->out, name);
		subset(s, value);
		break;
	case ENUM:
		write_enum(s, value, false);
		break;
	case CONST:
		write_enum(s, value, true);
		break;
	case ANY:
	case ONE:
		write_alternatives(s, value);
		break;
	case ALL:
		/* One is itself; several would have to be made one, which is not always possible. */
		rl_json_iter_array(&iter, value);
		if (rl_table_count(value) == 1 && rl_json_iter_next(&iter, &only))
			members(s, only);
		else
			cannot(s, name);
		break;
	case FORMAT:
		write_format(s, value);
		break;
	case LOW:
	case HIGH:
		rl_build_raw(s->out, fate_of(name) == LOW ? "minimum" : "maximum", value);
		leave_out(s, name);
		break;
	case FALSE_ONLY:
		/* Said or not, the model keeps to the properties; a schema for the others is another thing. */
		if (rl_json_type_of(value) == RL_JSON_OBJECT)
			cannot(s, name);
		else if (rl_json_type_of(value) == RL_JSON_FALSE)
			leave_out(s, name);
		break;
	case REFUSE:
		cannot(s, name);
		break;
	case REMARK:
		leave_out(s, name);
		break;
	case REF:
	case SKIP:
		break;
	}
}

static void members(struct subset *s, rl_str schema)
{
	struct rl_json_iter iter;
	rl_str key, value;

	rl_json_iter_object(&iter, schema);
	while (!s->t->err && rl_json_iter_member(&iter, &key, &value))
		write_member(s, rl_str_sub(key, 1, key.n > 1 ? key.n - 2 : 0), value);
}

static void subset(struct subset *s, rl_str schema)
{
	rl_str ref = rl_gemini_member(schema, "$ref");

	if (rl_json_type_of(schema) == RL_JSON_FALSE)
		cannot(s, RL_STR("false"));
	if (rl_json_type_of(schema) != RL_JSON_OBJECT || s->t->err) {
		RL_BUF_LIT(s->out, "{}");
		return;
	}
	if (ref.n) {
		write_ref(s, ref);
		return;
	}
	RL_BUF_LIT(s->out, "{");
	members(s, schema);
	RL_BUF_LIT(s->out, "}");
}

void rl_gemini_write_subset(rl_str schema, struct rl_translation *t, const char *place, struct rl_buf *out)
{
	struct subset s = {.t = t, .place = place, .out = out, .root = schema, .start = out->n};

	assert(schema.n);
	subset(&s, schema);
}
