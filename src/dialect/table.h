/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a provider's JSON into structs by tables, for every dialect. An object is
 * walked once; a table says which member goes where and how it is read, and what no
 * table names is kept as an extra. No tree is built: text points into the body
 * wherever it has no escapes, schemas and other raw values always do.
 *
 * The body must have been accepted by rl_json_scan. null means "not said" for
 * everything that a table names. The first failure is kept (`err`) and the rest of
 * the body is then passed over, so that callers check once at the end.
 */
#ifndef RL_DIALECT_TABLE_H
#define RL_DIALECT_TABLE_H

#include "base/arena.h"
#include "base/err.h"
#include "json/scan.h"
#include "message/chat.h"
#include "message/fault.h"

/* Where in the body we are, for the `param` of an error; a list on the call stack, innermost first. */
struct rl_place {
	const struct rl_place *up;
	const char *key; /* NULL: an element */
	size_t index;
};

struct rl_reader {
	struct rl_arena *arena;
	struct rl_fault *fault; /* NULL for answers: nobody reads why a provider's is wrong */
	enum rl_err err;        /* the first failure; sticky */
};

/* Reads one value, never null, into the field. */
typedef void (*rl_read_f)(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);

struct rl_field {
	rl_str name;
	rl_read_f read;
	size_t offset;
};

/* For static tables: a member of a struct, or the struct itself for readers that fill several of its members. */
#define RL_FIELD(type, member, name, read)                      \
	{                                                       \
		RL_STR_INIT(name), read, offsetof(type, member) \
	}
#define RL_WHOLE(name, read)               \
	{                                  \
		RL_STR_INIT(name), read, 0 \
	}
#define RL_N_FIELDS(fields) (sizeof(fields) / sizeof(fields)[0])

/* One object by its table into the struct at `into`; the rest into *extras, which may be NULL. */
void rl_table_read(struct rl_reader *p, const struct rl_place *at, rl_str object, const struct rl_field *fields,
		   size_t n, void *into, struct rl_extras *extras);
/* The body is wrong at this place: "The member 'messages[2].role' <what>." RL_ERR_SYNTAX. */
void rl_table_fail(struct rl_reader *p, const struct rl_place *at, const char *what);
void rl_table_nomem(struct rl_reader *p);
/* Zeroed memory, one element at least; NULL, and the failure noted, when there is none. */
void *rl_table_make(struct rl_reader *p, size_t count, size_t size);
/* The raw value of the first member of this name, `key` in quotes; p == NULL if there is none. */
rl_str rl_table_find(struct rl_extras extras, rl_str key);
/* Takes a member out of a list that rl_table_read made: its raw value; p == NULL if it is not there. */
rl_str rl_table_take(struct rl_extras *extras, rl_str key);
/* How many elements an array has; 0 for anything else. */
size_t rl_table_count(rl_str array);
/* The raw value of an object's member "type"; empty when there is none. */
rl_str rl_table_type(rl_str object);
/* Which of the words a string is, counted from 1, as our enums count; 0 if it is none of them. */
unsigned rl_table_word(rl_str value, const char *const *words, unsigned n);

/* Readers of one value; the comment names the field's type. */
void rl_read_raw(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);  /* rl_str */
void rl_read_text(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field); /* rl_str, p never NULL */
void rl_read_number(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);  /* rl_str, raw */
void rl_read_int(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);     /* int64_t, >= 0 */
void rl_read_u32(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);     /* uint32_t */
void rl_read_bool(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);    /* bool */
void rl_read_choice3(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field); /* enum rl_choice3 */
/* int64_t: a Unix time in an answer; some send a fraction, and what is no number is left out. */
void rl_read_time(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);
/* Said so that it is no extra: what is clear from elsewhere. */
void rl_read_nothing(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field);

#endif
