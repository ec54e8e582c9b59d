/* SPDX-License-Identifier: Apache-2.0 */
/* See form.h. What stands before an open string ends with its quote, what stands behind begins with one. */
#include "json/form.h"

#include <assert.h>

#include "json/text_priv.h"

void rl_json_form_keep(struct rl_json_form *form, rl_str text, const rl_str *strings, size_t n)
{
	const char *p = text.p, *end = text.p + text.n;
	size_t used = 0;

	form->n_strings = 0;
	if (!n || n > RL_JSON_FORM_STRINGS)
		return;
	for (size_t i = 0; i <= n; i++) {
		const char *to = i < n ? strings[i].p + 1 : end;

		assert(to > p && to <= end);
		if ((size_t)(to - p) > sizeof form->bytes - used)
			return;
		memcpy(form->bytes + used, p, (size_t)(to - p));
		used += (size_t)(to - p);
		form->ends[i] = (uint16_t)used;
		if (i < n)
			p = strings[i].p + strings[i].n - 1;
	}
	form->n_strings = (uint16_t)n;
}

bool rl_json_form_fits(const struct rl_json_form *form, rl_str text)
{
	const char *p = text.p, *end = text.p + text.n;
	size_t from = 0;

	if (!form->n_strings)
		return false;
	for (unsigned i = 0;; i++) {
		size_t n = form->ends[i] - from;

		if ((size_t)(end - p) < n || memcmp(p, form->bytes + from, n) != 0)
			return false;
		p += n;
		from += n;
		if (i == form->n_strings)
			return p == end;
		const char *quote = rl_json_string_end(p, end);

		if (!quote || quote == p)
			return false;
		p = quote;
	}
}
