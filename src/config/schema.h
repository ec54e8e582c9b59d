/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One declarative row per key of a YAML file, many uses: reading the value into a
 * field of a struct, its default, its bounds, the reference page, the JSON Schema
 * and the example file. relais.yaml and the simulator's scenarios are two tables
 * over this one engine. A table is static, constant data; the struct that it fills
 * is the caller's, and everything that it points to lives in the caller's arena.
 *
 * How values are read: `${NAME}` and `${NAME:-default}` are replaced inside scalar
 * values after the YAML has been parsed, so no variable can change the structure;
 * `$${` stands for `${`. Types come from the row, not from YAML: 'four: "4"' is an
 * integer where the row says so. Messages show a value as it is written in the file,
 * never what a variable or a secret's file gave.
 */
#ifndef RL_CONFIG_SCHEMA_H
#define RL_CONFIG_SCHEMA_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/* clang-format off */
/*     id         what the reference calls it    the field it fills */
#define RL_SCHEMA_TYPES(X)                                                                   \
	X(NONE,       "nothing")                                                             \
	X(BOOL,       "true or false")       /* bool */                                      \
	X(INT,        "integer")             /* uint32_t or uint64_t */                      \
	X(RATIO,      "number")              /* double; also written as a percentage */      \
	X(STRING,     "string")              /* rl_str */                                    \
	X(ENUM,       "word")                /* an enum: the index in row->words */          \
	X(WORD,       "word")                /* rl_str, one of row->words */                 \
	X(DURATION,   "duration")            /* uint64_t milliseconds: 250ms, 5s, 2m, 1h */  \
	X(SIZE,       "size")                /* uint64_t bytes: 65536, 64KiB, 10MiB, 1MB */  \
	X(SECRET,     "secret")              /* struct rl_secret; a value or file:/path */   \
	X(CUSTOM,     "string")              /* whatever row->parse makes of the text */     \
	X(JSON,       "any value")           /* rl_str: the value as JSON text */            \
	X(STRINGS,    "list of strings")     /* rl_str *, count */                           \
	X(SECTION,    "section")             /* fields of row->child at this offset */       \
	X(LIST,       "list")                /* an array of row->child's struct, count */    \
	X(MAP,        "map")                 /* the same; each entry has a name */

/* clang-format on */

enum rl_schema_type {
#define X(id, text) RL_SCHEMA_##id,
	RL_SCHEMA_TYPES(X)
#undef X
};

enum rl_schema_flag {
	RL_SCHEMA_REQUIRED = 1u << 0,
	RL_SCHEMA_AUTO = 1u << 1,        /* INT, SIZE: the word 'auto' stands for 0 */
	RL_SCHEMA_HIDDEN = 1u << 2,      /* the value never stands in a message (SECRET implies it) */
	RL_SCHEMA_MAY_LACK = 1u << 3,    /* SECRET: an unset variable is no error; its name goes to missing_at */
	RL_SCHEMA_ONE_OR_MANY = 1u << 4, /* LIST, STRINGS: a single element may stand for the list */
	RL_SCHEMA_ASIDE = 1u << 5,       /* the example file shows it commented out */
};

struct rl_schema;
struct rl_schema_cx;

struct rl_schema_row {
	const char *key;
	enum rl_schema_type type;
	unsigned flags;
	size_t at, size;          /* the field: offset in the struct, bytes */
	size_t count_at;          /* STRINGS, LIST, MAP: offset of its size_t */
	size_t missing_at;        /* MAY_LACK: offset of an rl_str */
	const char *initial;      /* the default, as it would be written; NULL: none */
	uint64_t min, max;        /* of the number, milliseconds, bytes, length or count; max 0: unbounded */
	const char *const *words; /* ENUM, WORD: ended by NULL */
	const struct rl_schema *child;
	/* STRING, STRINGS: NULL, or what is wrong with this value (without showing it). */
	const char *(*check)(rl_str value);
	/* CUSTOM: fills the field; NULL, or what is wrong (without showing it). */
	const char *(*parse)(struct rl_arena *arena, rl_str text, void *field);
	const char *type_text; /* instead of the type's own in the reference */
	const char *example;   /* as written in the example file; for a MAP the name of its entry */
	const char *doc;       /* one or two sentences; Markdown */
};

struct rl_schema {
	size_t size;        /* of the struct of a list's or map's entry */
	size_t name_at;     /* 1 + offset of the rl_str for a map entry's name; 0: none */
	size_t position_at; /* 1 + offset of `unsigned line, column`; 0: none */
	const struct rl_schema_row *rows;
	size_t n_rows;      /* at most 64 */
	const char *scalar; /* key that a value written instead of the section stands for */
	bool scalar_only;   /* any value at all is this key's: a map from names to values */
	bool extensions;    /* keys that begin with x- are left to the writer (a place for anchors) */
	/* Of a map's names: NULL, or what is wrong. */
	const char *(*check_name)(rl_str name);
	/*
	 * What no single row can know (references, contradictions). Called for each section, list and
	 * map entry after the whole file was read, inner ones first; uses the functions below.
	 */
	void (*check)(struct rl_schema_cx *cx, void *object);
	const char *doc;
};

/* The parts of a row that name its field. */
#define RL_SCHEMA_FIELD(type, field) .at = offsetof(type, field), .size = sizeof(((type *)0)->field)
#define RL_SCHEMA_MANY(type, field, n_field) RL_SCHEMA_FIELD(type, field), .count_at = offsetof(type, n_field)

/* Where variables and secrets come from. */
struct rl_schema_hooks {
	/* The value, or NULL when unset. */
	const char *(*variable)(void *user, const char *name);
	/* Appends the file's content; any error is told to the reader as "cannot be read". */
	enum rl_err (*read_secret)(void *user, const char *path, struct rl_buf *out);
	void *user;
};
/* The process's environment and files: what NULL hooks mean. */
extern const struct rl_schema_hooks rl_schema_system;

/*
 * Reads `text` by `root` into `object`, a zeroed struct; defaults first. Findings go to `report`
 * (file:line:column: path: what), all of them in one pass, in the file's order. `user` is for the
 * checks (rl_schema_user). RL_OK also with warnings; RL_ERR_SYNTAX with errors (object is then
 * partly filled and must not be used); RL_ERR_NOMEM beyond the arena's limit.
 */
enum rl_err rl_schema_parse(const struct rl_schema *root, rl_str text, const char *name,
			    const struct rl_schema_hooks *hooks, const void *user, struct rl_arena *arena, void *object,
			    struct rl_buf *report) RL_MUST_CHECK;
/*
 * The defaults of a section alone, into a zeroed struct. Takes no memory: strings are the table's own. Not for
 * tables with defaults of several values.
 */
void rl_schema_defaults(const struct rl_schema *schema, void *object);
/*
 * Reads a whole file of at most 1 MiB into `text` (initialised by the caller). What went wrong is
 * said in `report`. RL_ERR_NOT_FOUND, RL_ERR_IO, or RL_ERR_LIMIT when it is larger.
 */
enum rl_err rl_schema_read_file(const char *path, struct rl_buf *text, struct rl_buf *report) RL_MUST_CHECK;

/*
 * For checks. `key` names a row of the section being checked ("address"), or "key[3]" for an
 * element; NULL is the section itself. A key whose value was already found wrong is not
 * reported again. The format's arguments must not be secrets.
 */
void rl_schema_fail(struct rl_schema_cx *cx, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void rl_schema_warn(struct rl_schema_cx *cx, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* "unknown <what> 'value', did you mean ...?" with a near one of `names`. */
void rl_schema_fail_unknown(struct rl_schema_cx *cx, const char *key, const char *what, const rl_str *names,
			    size_t n_names);
/* Where the value of `key` stands in the file, and 0 if it does not: for what is found wrong later, outside the loader. */
void rl_schema_position(const struct rl_schema_cx *cx, const char *key, unsigned *line, unsigned *column);
/* Whether the key stands in the file (rather than having its default). */
bool rl_schema_written(const struct rl_schema_cx *cx, const char *key);
const void *rl_schema_user(const struct rl_schema_cx *cx);
void *rl_schema_root(const struct rl_schema_cx *cx);
/* For what a check must build. Sets the out-of-memory state by itself when it returns NULL. */
void *rl_schema_alloc(struct rl_schema_cx *cx, size_t count, size_t size);

/* The name nearest to `to` by edit distance, if it is near enough to be a slip; else p NULL. */
rl_str rl_schema_nearest(rl_str to, const rl_str *names, size_t n_names);

/* Documents made from a table. */
void rl_schema_reference(const struct rl_schema *root, struct rl_buf *out); /* Markdown, from heading level 2 */
void rl_schema_json(const struct rl_schema *root, const char *title, struct rl_buf *out);
void rl_schema_example(const struct rl_schema *root, struct rl_buf *out);

#endif
