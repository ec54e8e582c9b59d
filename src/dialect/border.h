/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the borders of all dialects share: refusing a body that is no good, reading
 * the model's name, the configured edits, and judging and tidying what providers say
 * when they fail. Nothing here knows a dialect; the words that are searched for in
 * messages are those of all of them, since compatible servers mix them.
 */
#ifndef RL_DIALECT_BORDER_H
#define RL_DIALECT_BORDER_H

#include "dialect/dialect.h"

/* An echoed prompt comes late in a message; what the server itself says comes first. */
#define RL_BORDER_SEARCH_BYTES 1000u
/* The longest text of an error that is shown. */
#define RL_BORDER_TEXT_BYTES 300u

/* ---- requests; all give RL_ERR_SYNTAX but nomem, which gives RL_ERR_NOMEM ---- */

/* A 400; `message` may have p == NULL when the arena was full. */
enum rl_err rl_border_refuse(struct rl_fault *fault, rl_str param, const char *code, rl_str message);
enum rl_err rl_border_nomem(struct rl_fault *fault);
enum rl_err rl_border_missing(struct rl_arena *arena, struct rl_fault *fault, rl_str param);
enum rl_err rl_border_wrong_type(struct rl_arena *arena, struct rl_fault *fault, rl_str param, const char *wanted,
				 enum rl_json_type is);
/* For a body that rl_json_scan refused with `err`. */
void rl_border_json_fault(const struct rl_json_error *error, enum rl_err err, struct rl_arena *arena,
			  struct rl_fault *fault);
/* The member "model" at `span` into the envelope: a name of 1 to 256 bytes, or absent where it is not needed. */
enum rl_err rl_border_read_model(rl_str body, const struct rl_json_span *span, bool needed, struct rl_arena *arena,
				 struct rl_envelope *out, struct rl_fault *fault);

/* ---- edits ---- */

/* The target's name in place of the client's. RL_ERR_NOMEM. */
enum rl_err rl_border_rename(const struct rl_envelope *env, const struct rl_edit *edit, struct rl_arena *arena,
			     struct rl_json_splice *splice);
/*
 * The configured members: set wins over remove, and both over what was noted before. They are looked for only here,
 * since few configurations have any. Errors are those of edit_body.
 */
enum rl_err rl_border_edit_configured(rl_str body, const struct rl_edit *edit, struct rl_json_splice *splice);
/* Whether the configuration decides this member itself. */
bool rl_border_configured(const struct rl_edit *edit, rl_str name);

/* The vtable's edit_body for dialects in which usage need not be asked for: the model and the configured members. */
enum rl_err rl_border_edit_body(rl_str body, const struct rl_envelope *env, const struct rl_edit *edit,
				struct rl_arena *arena, rl_str parts[RL_BODY_PARTS_MAX], size_t *n);

/* ---- errors of providers ---- */

/* ASCII case ignored; `needle` is in lower case and not empty. */
bool rl_border_text_has(rl_str text, rl_str needle);
/* What the message, a raw JSON value, tells of the two classes that many servers tell in no other way; else NONE. */
enum rl_fault_class rl_border_class_of_message(rl_str message);
enum rl_fault_class rl_border_class_of_status(uint16_t status);
/* What a client of ours is told, by class: a provider's trouble with us is a bad gateway to it. */
uint16_t rl_border_status_of_class(enum rl_fault_class cls);
/* The text of an HTML page's title, or of nothing else: pages are long and say little. */
rl_str rl_border_html_title(rl_str page);
/* One line of plain text in the arena, keys hidden, cut to RL_BORDER_TEXT_BYTES; empty without memory. Invalid UTF-8
 * is left to whoever escapes it. */
rl_str rl_border_tidy(rl_str text, struct rl_arena *arena);

/* ---- lists of models ---- */

/*
 * The strings under `key` of a list's objects, into the arena. RL_ERR_SYNTAX: `list`, of a text that was scanned, is
 * no array; RL_ERR_NOMEM.
 */
enum rl_err rl_border_read_ids(rl_str list, rl_str key, struct rl_arena *arena, rl_str **ids, size_t *n);

#endif
