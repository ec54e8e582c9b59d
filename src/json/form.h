/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of a text: what it says but for a string or two. The events of a stream are nearly all of one form, so one
 * that has the form of another, which was scanned, needs no scan: it is valid as that one was, and holds the same.
 */
#ifndef RL_JSON_FORM_H
#define RL_JSON_FORM_H

#include "base/slice.h"

#define RL_JSON_FORM_BYTES 448u
#define RL_JSON_FORM_STRINGS 2u

/* All zero: none. */
struct rl_json_form {
	uint16_t n_strings; /* that are left open; 0: no form is known */
	uint16_t ends[RL_JSON_FORM_STRINGS +
		      1]; /* in `bytes`, of what stands before each of them, and behind the last */
	char bytes[RL_JSON_FORM_BYTES];
};

/*
 * Keeps the form of `text`, which rl_json_scan has accepted, with n of its strings left open: slices of it, quotes included, in
 * their order, none empty. A text with more bytes or strings than there is room for leaves no form.
 */
void rl_json_form_keep(struct rl_json_form *form, rl_str text, const rl_str *strings, size_t n);

/* Whether `text` is of that form, with valid strings that are not empty where they are open. */
bool rl_json_form_fits(const struct rl_json_form *form, rl_str text);

#endif
