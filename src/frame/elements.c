/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See elements.h. One walk over the bytes with a state that survives any cut; what
 * stands between elements is carried with the element that follows.
 */
#include "frame/elements.h"

enum state {
	AT_ARRAY,   /* before the opening bracket */
	AT_FIRST,   /* before the first element, or the end of an empty array */
	AT_ELEMENT, /* behind a comma */
	IN_ELEMENT,
	AFTER_ELEMENT, /* a comma or the end */
	AT_END,        /* the array is closed: white space only */
};

void rl_elements_init(struct rl_elements *elements, size_t max_event_bytes)
{
	*elements = (struct rl_elements){.state = AT_ARRAY};
	rl_carry_init(&elements->carry, max_event_bytes);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* A byte outside of elements. False: it cannot stand there. */
static bool step_between(struct rl_elements *e, char c)
{
	enum state state = (enum state)e->state;

	if (is_space(c))
		return true;
	if (state == AT_ARRAY && c == '[') {
		e->state = AT_FIRST;
	} else if (c == ']' && (state == AT_FIRST || state == AFTER_ELEMENT)) {
		e->state = AT_END;
	} else if (c == ',' && state == AFTER_ELEMENT) {
		e->state = AT_ELEMENT;
	} else if ((state == AT_FIRST || state == AT_ELEMENT) && c != ',' && c != ']') {
		e->state = IN_ELEMENT;
		e->depth = 0;
		e->in_string = e->escaped = false;
		e->length = 0;
	} else {
		return false;
	}
	return true;
}

/* A byte of a string, or one that opens or closes something. */
static void step_inside(struct rl_elements *e, char c)
{
	if (e->escaped)
		e->escaped = false;
	else if (e->in_string && c == '\\')
		e->escaped = true;
	else if (c == '"')
		e->in_string = !e->in_string;
	else if (!e->in_string && (c == '{' || c == '['))
		e->depth++;
	else if (!e->in_string && (c == '}' || c == ']') && e->depth)
		e->depth--;
}

/* Whether this byte stands behind an element that has no bracket of its own to close it: a number, a word. */
static bool ends_scalar(const struct rl_elements *e, char c)
{
	return e->length && !e->depth && !e->in_string && (c == ',' || c == ']' || is_space(c));
}

/* Bytes of the piece up to the element's end; SIZE_MAX: it goes on. *err: SYNTAX. */
static size_t find_end(struct rl_elements *e, enum rl_err *err)
{
	rl_str in = e->carry.piece;

	for (size_t i = 0; i < in.n; i++) {
		if (e->state != IN_ELEMENT && !step_between(e, in.p[i])) {
			*err = RL_ERR_SYNTAX;
			return SIZE_MAX;
		}
		if (e->state != IN_ELEMENT) {
			e->before++;
			continue;
		}
		if (ends_scalar(e, in.p[i]))
			return i;
		step_inside(e, in.p[i]);
		e->length++;
		if (!e->depth && !e->in_string && (in.p[i] == '}' || in.p[i] == ']' || in.p[i] == '"'))
			return i + 1;
	}
	return SIZE_MAX;
}

/* Behind the array's end nothing is kept. */
static enum rl_err keep(struct rl_elements *e)
{
	if (e->state == AT_END) {
		e->carry.piece = (rl_str){NULL, 0};
		e->carry.whole = true;
		return RL_ERR_AGAIN;
	}
	return rl_carry_keep(&e->carry);
}

enum rl_err rl_elements_next(struct rl_elements *e, struct rl_sse_event *out)
{
	enum rl_err err = RL_OK;
	rl_str raw;

	if (e->carry.failed)
		return e->carry.failed;
	rl_carry_begin(&e->carry);
	if (!e->carry.piece.n)
		return RL_ERR_AGAIN;
	size_t n = find_end(e, &err);

	if (err)
		return rl_carry_fail(&e->carry, err);
	if (n == SIZE_MAX)
		return keep(e);
	err = rl_carry_take(&e->carry, n, &raw);
	if (err)
		return err;
	assert(raw.n == e->before + e->length);
	*out = (struct rl_sse_event){.raw = raw, .data = rl_str_sub(raw, e->before, e->length), .has_data = true};
	e->state = AFTER_ELEMENT;
	e->before = 0;
	return RL_OK;
}

enum rl_err rl_elements_last(const struct rl_elements *e)
{
	if (e->carry.failed)
		return e->carry.failed;
	return e->state == AT_END ? RL_ERR_AGAIN : RL_ERR_SYNTAX;
}
