/* SPDX-License-Identifier: Apache-2.0 */
/* See table.h. */
#include "dialect/table.h"

#include "base/buf.h"

void rl_table_nomem(struct rl_reader *p)
{
	if (!p->err)
		p->err = RL_ERR_NOMEM;
}

/* "messages[2].content[0].type" */
static rl_str path_of(const struct rl_reader *p, const struct rl_place *at)
{
	const struct rl_place *way[8];
	struct rl_buf text;
	size_t n = 0;

	rl_buf_init(&text, 512);
	for (; at && n < 8; at = at->up)
		way[n++] = at;
	while (n--) {
		if (!way[n]->key)
			rl_buf_printf(&text, "[%zu]", way[n]->index);
		else
			rl_buf_printf(&text, "%s%s", text.n ? "." : "", way[n]->key);
	}
	rl_str path = rl_arena_dup(p->arena, rl_buf_str(&text));

	rl_buf_fini(&text);
	return path;
}

void rl_table_fail(struct rl_reader *p, const struct rl_place *at, const char *what)
{
	if (p->err)
		return;
	p->err = RL_ERR_SYNTAX;
	if (!p->fault)
		return;
	rl_str path = path_of(p, at);
	rl_str message = rl_arena_printf(p->arena, "The member '%.*s' %s.", RL_STR_ARG(path), what);

	*p->fault = (struct rl_fault){
		.cls = RL_FAULT_BAD_REQUEST,
		.status = 400,
		.type = RL_STR("invalid_request_error"),
		.code = RL_STR("invalid_value"),
		.param = path,
		.message = message.p ? message : RL_STR("A member of the request body has a wrong value."),
		.retry_after_s = -1,
	};
}

void *rl_table_make(struct rl_reader *p, size_t count, size_t size)
{
	/* At least one, so that NULL always means out of memory. */
	void *made = rl_arena_zalloc(p->arena, count ? count : 1, size);

	if (!made)
		rl_table_nomem(p);
	return made;
}

size_t rl_table_count(rl_str array)
{
	struct rl_json_iter iter;
	rl_str element;
	size_t n = 0;

	rl_json_iter_array(&iter, array);
	while (rl_json_iter_next(&iter, &element))
		n++;
	return n;
}

struct extras_list {
	struct rl_extra *v;
	size_t n, cap;
};

static void keep_extra(struct rl_reader *p, struct extras_list *list, rl_str key, rl_str json)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 4;
		struct rl_extra *v = rl_table_make(p, cap, sizeof *v);

		if (!v)
			return;
		if (list->n)
			memcpy(v, list->v, list->n * sizeof *v);
		list->v = v;
		list->cap = cap;
	}
	list->v[list->n++] = (struct rl_extra){key, json};
}

rl_str rl_table_find(struct rl_extras extras, rl_str key)
{
	for (size_t i = 0; i < extras.n; i++)
		if (rl_str_eq(extras.v[i].key, key))
			return extras.v[i].json;
	return (rl_str){NULL, 0};
}

rl_str rl_table_take(struct rl_extras *extras, rl_str key)
{
	struct rl_extra *v = (struct rl_extra *)(uintptr_t)extras->v; /* of the arena, made above */

	for (size_t i = 0; i < extras->n; i++) {
		rl_str json = v[i].json;

		if (!rl_str_eq(v[i].key, key))
			continue;
		memmove(&v[i], &v[i + 1], (extras->n - i - 1) * sizeof *v);
		extras->n--;
		return json;
	}
	return (rl_str){NULL, 0};
}

static const struct rl_field *field_of(const struct rl_field *fields, size_t n, rl_str key)
{
	for (size_t i = 0; i < n; i++)
		if (rl_str_eq(rl_str_sub(key, 1, key.n - 2), fields[i].name))
			return &fields[i];
	/* Another spelling by way of escapes is rare; most keys have none. */
	if (memchr(key.p, '\\', key.n))
		for (size_t i = 0; i < n; i++)
			if (rl_json_string_is(key, fields[i].name))
				return &fields[i];
	return NULL;
}

void rl_table_read(struct rl_reader *p, const struct rl_place *at, rl_str object, const struct rl_field *fields,
		   size_t n, void *into, struct rl_extras *extras)
{
	struct extras_list list = {.v = NULL};
	struct rl_json_iter iter;
	rl_str key, value;

	if (rl_json_type_of(object) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	rl_json_iter_object(&iter, object);
	while (!p->err && rl_json_iter_member(&iter, &key, &value)) {
		const struct rl_field *field = field_of(fields, n, key);

		if (field) {
			struct rl_place here = {at, field->name.p, 0};
			if (rl_json_type_of(value) != RL_JSON_NULL)
				field->read(p, &here, value, (char *)into + field->offset);
		} else if (extras) {
			keep_extra(p, &list, key, value);
		}
	}
	if (extras)
		*extras = (struct rl_extras){list.v, list.n};
}

void rl_read_raw(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	(void)p, (void)at;
	*(rl_str *)field = value;
}

void rl_read_nothing(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	(void)p, (void)at, (void)value, (void)field;
}

void rl_read_text(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) != RL_JSON_STRING) {
		rl_table_fail(p, at, "must be a string");
		return;
	}
	enum rl_err err = rl_json_unescape(value, p->arena, field);

	if (err == RL_ERR_NOMEM)
		rl_table_nomem(p);
	else if (err)
		rl_table_fail(p, at, "holds half of a UTF-16 surrogate pair, which no text can carry");
	else if (!((rl_str *)field)->p)
		*(rl_str *)field = RL_STR(""); /* empty, and yet said */
}

void rl_read_number(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_NUMBER)
		*(rl_str *)field = value;
	else
		rl_table_fail(p, at, "must be a number");
}

void rl_read_int(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	uint64_t number;

	if (rl_json_u64(value, &number) && number <= INT64_MAX)
		*(int64_t *)field = (int64_t)number;
	else
		rl_table_fail(p, at, "must be a whole number, not negative");
}

void rl_read_time(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	uint64_t seconds;
	size_t dot = rl_str_find(value, '.');

	(void)p, (void)at;
	if (rl_json_type_of(value) == RL_JSON_NUMBER && rl_json_u64(rl_str_sub(value, 0, dot), &seconds) &&
	    seconds <= INT64_MAX)
		*(int64_t *)field = (int64_t)seconds;
}

void rl_read_u32(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	uint64_t number;

	if (rl_json_u64(value, &number) && number <= UINT32_MAX)
		*(uint32_t *)field = (uint32_t)number;
	else
		rl_table_fail(p, at, "must be a small whole number, not negative");
}

void rl_read_bool(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (!rl_json_bool(value, field))
		rl_table_fail(p, at, "must be true or false");
}

void rl_read_choice3(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	bool yes = false;

	rl_read_bool(p, at, value, &yes);
	*(enum rl_choice3 *)field = yes ? RL_YES : RL_NO;
}

unsigned rl_table_word(rl_str value, const char *const *words, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (rl_json_string_is(value, rl_str_of(words[i])))
			return i + 1;
	return 0;
}

rl_str rl_table_type(rl_str object)
{
	static const rl_str key = RL_STR_INIT("type");
	struct rl_json_span span;

	rl_json_find(object, &key, 1, &span);
	return rl_json_span_text(object, &span);
}
