/* SPDX-License-Identifier: Apache-2.0 */
/* See cards.h. */
#include "catalog/cards.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES_MAX 512u /* longer ones are no model's */

static int compare(rl_str a, rl_str b)
{
	int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static const struct rl_card *search(const struct rl_cards *cards, rl_str id)
{
	size_t from = 0, to = cards->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int order = compare(id, cards->list[middle].id);

		if (!order)
			return &cards->list[middle];
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return NULL;
}

const struct rl_card *rl_cards_exact(const struct rl_cards *cards, rl_str id)
{
	const struct rl_card *hit = NULL;

	for (; id.n && cards && !hit; cards = cards->below)
		hit = search(cards, id);
	return hit;
}

/* Whether `s` ends in the pattern, of whose characters '0' stands for a digit. */
static bool ends_like(rl_str s, rl_str pattern)
{
	if (s.n <= pattern.n)
		return false;
	const char *p = s.p + (s.n - pattern.n);

	for (size_t i = 0; i < pattern.n; i++)
		if (pattern.p[i] == '0' ? p[i] < '0' || p[i] > '9' : p[i] != pattern.p[i])
			return false;
	return true;
}

/* Takes one of the usual endings off. */
static bool cut_ending(rl_str *name)
{
	static const rl_str endings[] = {RL_STR_INIT("-v0:0"), RL_STR_INIT("-latest"), RL_STR_INIT("-00000000"),
					 RL_STR_INIT("-0000-00-00"), RL_STR_INIT("@00000000")};

	for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
		if (!ends_like(*name, endings[i]))
			continue;
		name->n -= endings[i].n;
		return true;
	}
	return false;
}

/* Takes the first segment off, or a word of Bedrock's: small letters before a dot (so "gpt-4.1" stays whole). */
static bool cut_beginning(rl_str *name)
{
	size_t at = rl_str_find(*name, '/');

	if (at == SIZE_MAX) {
		for (at = 0; at < name->n && name->p[at] >= 'a' && name->p[at] <= 'z';)
			at++;
		if (at == 0 || at == name->n || name->p[at] != '.')
			return false;
	}
	*name = rl_str_sub(*name, at + 1, SIZE_MAX);
	return true;
}

const struct rl_card *rl_cards_find(const struct rl_cards *cards, rl_str name)
{
	if (name.n > NAME_BYTES_MAX)
		return NULL;
	do {
		const struct rl_card *hit = rl_cards_exact(cards, name);

		/* Twice at most: a date, then Bedrock's version before it is looked at; each time the exact id first. */
		for (rl_str rest = name; !hit && cut_ending(&rest);)
			hit = rl_cards_exact(cards, rest);
		if (hit)
			return hit;
	} while (cut_beginning(&name));
	return NULL;
}

const struct rl_card *rl_cards_find_at(const struct rl_cards *cards, rl_str provider, rl_str model)
{
	char name[NAME_BYTES_MAX];

	if (provider.n + model.n >= sizeof name)
		return rl_cards_find(cards, model);
	int n = snprintf(name, sizeof name, "%.*s/%.*s", RL_STR_ARG(provider), RL_STR_ARG(model));

	assert(n > 0 && (size_t)n < sizeof name);
	return rl_cards_find(cards, rl_str_make(name, (size_t)n));
}

static int by_id(const void *a, const void *b)
{
	return compare(((const struct rl_card *)a)->id, ((const struct rl_card *)b)->id);
}

void rl_cards_sort(struct rl_card *list, size_t n)
{
	if (n)
		qsort(list, n, sizeof *list, by_id);
}
