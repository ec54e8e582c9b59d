/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenarios from text and from request headers, by one table of rows; and what a
 * given request meets under one (see scenario.h).
 */
#include "service/scenario.h"

#include "base/map.h"
#include "config/schema.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TEXT_MAX_BYTES (1024u * 1024)
#define SCENARIO_MAX_BYTES (64u * 1024 * 1024)
#define HEADERS_MAX_BYTES 65536u

/* ---- the table ---- */

#define B(field) RL_SCHEMA_FIELD(struct sim_behaviour, field)
#define S(field) RL_SCHEMA_FIELD(struct rl_sim_scenario, field)

static const char *const error_words[] = {"openai", "html", "text", "empty", "garbage", NULL};
static const char *const usage_words[] = {"asked", "always", "never", NULL};
static const char *const line_words[] = {"lf", "crlf", "cr", NULL};

const char *rl_sim_check_header_value(rl_str value)
{
	return rl_header_value_ok(value) ? NULL : "a header cannot hold this";
}

const char *rl_sim_check_header(rl_str line)
{
	size_t colon = rl_str_find(line, ':');

	if (colon == SIZE_MAX || !rl_header_name_ok(rl_str_sub(line, 0, colon)))
		return "expected a header as 'name: value'";
	return rl_sim_check_header_value(rl_str_sub(line, colon + 1, SIZE_MAX));
}

static const struct rl_schema_row behaviour_rows[] = {
#include "service/behaviour_table.h"
};
#define N_BEHAVIOUR_ROWS COUNT(behaviour_rows)

static void check_step(struct rl_schema_cx *cx, void *object)
{
	struct sim_step *step = object;

	for (size_t i = 0; i < N_BEHAVIOUR_ROWS; i++)
		if (rl_schema_written(cx, behaviour_rows[i].key))
			step->written |= UINT64_C(1) << i;
}

static size_t row_index(const char *key)
{
	for (size_t i = 0; i < N_BEHAVIOUR_ROWS; i++)
		if (strcmp(behaviour_rows[i].key, key) == 0)
			return i;
	assert(false); /* a row of the table */
	return 0;
}

/* "ok", a status or a fault, into what it stands for. */
static const char *read_word(struct sim_step *step, rl_str word)
{
	unsigned status = 0;

	if (rl_str_eq(word, RL_STR("ok")))
		return NULL;
	if (word.n == 3 && word.p[0] >= '2' && word.p[0] <= '5') {
		for (size_t i = 0; i < 3 && word.p[i] >= '0' && word.p[i] <= '9'; i++)
			status = status * 10 + (unsigned)(word.p[i] - '0');
		if (status >= 200) {
			step->b.status = status;
			step->written |= UINT64_C(1) << row_index("status");
			return NULL;
		}
	}
	if (rl_sim_fault_parse(NULL, word, &step->b.fault))
		return "neither 'ok' nor a status nor a fault";
	step->written |= UINT64_C(1) << row_index("fault");
	return NULL;
}

static void check_sequence_step(struct rl_schema_cx *cx, void *object)
{
	struct sim_step *step = object;

	check_step(cx, object);
	const char *wrong = step->word.n ? read_word(step, step->word) : NULL;

	if (wrong)
		rl_schema_fail(cx, "step", "'%.*s' is %s", RL_STR_ARG(step->word), wrong);
}

static const struct rl_schema_row sequence_rows[] = {
#include "service/behaviour_table.h"
	{.key = "step",
	 .type = RL_SCHEMA_STRING,
	 RL_SCHEMA_FIELD(struct sim_step, word),
	 .doc = "`ok`, a status or a fault; such a word alone may stand for the whole step."},
};

static const struct rl_schema_row fault_rows[] = {
#include "service/behaviour_table.h"
	{.key = "rate",
	 .type = RL_SCHEMA_RATIO,
	 .flags = RL_SCHEMA_REQUIRED,
	 RL_SCHEMA_FIELD(struct sim_step, rate),
	 .max = 1,
	 .doc = "The share of requests that meet it, `0.3` or `30%`."},
};

static const struct rl_schema sequence_schema = {
	.size = sizeof(struct sim_step),
	.rows = sequence_rows,
	.n_rows = COUNT(sequence_rows),
	.scalar = "step",
	.check = check_sequence_step,
	.doc = "A step.",
};

static const struct rl_schema fault_schema = {
	.size = sizeof(struct sim_step),
	.rows = fault_rows,
	.n_rows = COUNT(fault_rows),
	.check = check_step,
	.doc = "A behaviour that some requests meet.",
};

static const struct rl_schema model_schema = {
	.size = sizeof(struct sim_step),
	.name_at = 1 + offsetof(struct sim_step, name),
	.rows = behaviour_rows,
	.n_rows = N_BEHAVIOUR_ROWS,
	.check = check_step,
	.doc = "A model's own behaviour.",
};

static const struct rl_schema header_schema = {
	.size = sizeof(struct sim_step),
	.rows = behaviour_rows,
	.n_rows = N_BEHAVIOUR_ROWS,
	.check = check_step,
	.doc = "Headers of a request.",
};

static const char *const accept_words[] = {"ok", "reset", "close", "hang", NULL};

static const char *check_accept(rl_str value)
{
	for (size_t i = 0; accept_words[i]; i++)
		if (rl_str_eq(value, rl_str_of(accept_words[i])))
			return NULL;
	return "expected ok, reset, close or hang";
}

static void check_scenario(struct rl_schema_cx *cx, void *object)
{
	struct rl_sim_scenario *scenario = object;

	scenario->accepts = rl_schema_alloc(cx, scenario->n_accept ? scenario->n_accept : 1, sizeof(enum sim_accept));
	for (size_t i = 0; scenario->accepts && i < scenario->n_accept; i++)
		while (!rl_str_eq(scenario->accept[i], rl_str_of(accept_words[scenario->accepts[i]])) &&
		       accept_words[scenario->accepts[i] + 1])
			scenario->accepts[i]++;
	scenario->plain = !scenario->n_sequence && !scenario->n_faults && !scenario->n_models;
}

static const struct rl_schema_row scenario_rows[] = {
#include "service/behaviour_table.h"
	{.key = "seed",
	 .type = RL_SCHEMA_INT,
	 S(seed),
	 .initial = "1",
	 .doc = "Where everything that is drawn by lot comes from; `--seed` wins over it."},
	{.key = "sequence",
	 .type = RL_SCHEMA_LIST,
	 RL_SCHEMA_MANY(struct rl_sim_scenario, sequence, n_sequence),
	 .max = 10000,
	 .child = &sequence_schema,
	 .doc = "Steps that the requests meet in turn, again and again: `ok`, a status, a fault, or a map of the keys above."},
	{.key = "faults",
	 .type = RL_SCHEMA_LIST,
	 RL_SCHEMA_MANY(struct rl_sim_scenario, faults, n_faults),
	 .max = 100,
	 .child = &fault_schema,
	 .doc = "What only some requests meet: each entry has a `rate` (`0.3`, `30%`) and the keys above. A request meets at "
		"most one of them."},
	{.key = "models",
	 .type = RL_SCHEMA_MAP,
	 RL_SCHEMA_MANY(struct rl_sim_scenario, models, n_models),
	 .max = 10000,
	 .child = &model_schema,
	 .doc = "Models by name, each with the keys above that are different for it. They stand in `/v1/models` beside `echo`."},
	{.key = "strict_models",
	 .type = RL_SCHEMA_BOOL,
	 S(strict_models),
	 .initial = "false",
	 .doc = "Answer 404 `model_not_found` for every model that is neither `echo` nor under `models`."},
	{.key = "accept",
	 .type = RL_SCHEMA_STRINGS,
	 RL_SCHEMA_MANY(struct rl_sim_scenario, accept, n_accept),
	 .flags = RL_SCHEMA_ONE_OR_MANY,
	 .max = 1000,
	 .check = check_accept,
	 .doc = "What connections meet in turn: `ok`, `reset` (at once), `close` (FIN at once) or `hang` (never read). The control "
		"routes need a connection that is `ok`."},
	{.key = "require_key",
	 .type = RL_SCHEMA_SECRET,
	 S(require_key),
	 .doc = "Answer 401 to requests without `Authorization: Bearer` and this key."},
	{.key = "ledger",
	 .type = RL_SCHEMA_STRING,
	 S(ledger),
	 .doc = "A file that the ledger is also appended to, so that it outlives a kill."},
	{.key = "ledger_entries",
	 .type = RL_SCHEMA_INT,
	 S(ledger_entries),
	 .initial = "200000",
	 .max = 10000000,
	 .doc = "How many of the last requests the ledger remembers; its totals count all."},
};

static const struct rl_schema scenario_schema = {
	.size = sizeof(struct rl_sim_scenario),
	.rows = scenario_rows,
	.n_rows = COUNT(scenario_rows),
	.check = check_scenario,
	.extensions = true,
	.doc = "A scenario.",
};

/* ---- loading ---- */

static void drop(struct rl_sim_scenario *scenario)
{
	rl_arena_fini(&scenario->arena);
	free(scenario);
}

/* What comes over HTTP comes from anybody: it sees neither the environment nor files. */
static const char *no_variable(void *user, const char *name)
{
	(void)user;
	(void)name;
	return NULL;
}

static enum rl_err no_file(void *user, const char *path, struct rl_buf *out)
{
	(void)user;
	(void)path;
	(void)out;
	return RL_ERR_NOT_FOUND;
}

static const struct rl_schema_hooks closed = {no_variable, no_file, NULL};

static enum rl_err parse(rl_str text, const char *name, const struct rl_schema_hooks *hooks, struct rl_buf *report,
			 struct rl_sim_scenario **out)
{
	struct rl_sim_scenario *scenario = calloc(1, sizeof *scenario);
	struct rl_buf own;

	*out = NULL;
	if (!scenario)
		return RL_ERR_NOMEM;
	rl_buf_init(&own, HEADERS_MAX_BYTES);
	rl_arena_init(&scenario->arena, SCENARIO_MAX_BYTES);
	enum rl_err err = rl_schema_parse(&scenario_schema, text, name, hooks, NULL, &scenario->arena, scenario,
					  report ? report : &own);

	rl_buf_fini(&own);
	if (err != RL_OK) {
		drop(scenario);
		return err;
	}
	scenario->refs = 1;
	*out = scenario;
	return RL_OK;
}

enum rl_err rl_sim_scenario_parse(rl_str text, const char *name, struct rl_buf *report, struct rl_sim_scenario **out)
{
	return parse(text, name, NULL, report, out);
}

enum rl_err rl_sim_scenario_parse_closed(rl_str text, const char *name, struct rl_buf *report,
					 struct rl_sim_scenario **out)
{
	return parse(text, name, &closed, report, out);
}

enum rl_err rl_sim_scenario_load(const char *path, struct rl_buf *report, struct rl_sim_scenario **out)
{
	struct rl_buf text, own;

	*out = NULL;
	rl_buf_init(&text, TEXT_MAX_BYTES);
	rl_buf_init(&own, HEADERS_MAX_BYTES);
	enum rl_err err = rl_schema_read_file(path, &text, report ? report : &own);

	if (err == RL_OK)
		err = rl_sim_scenario_parse(rl_buf_str(&text), path, report, out);
	rl_buf_fini(&own);
	rl_buf_fini(&text);
	return err;
}

struct rl_sim_scenario *rl_sim_scenario_ref(struct rl_sim_scenario *scenario)
{
	scenario->refs++;
	return scenario;
}

void rl_sim_scenario_free(struct rl_sim_scenario *scenario)
{
	if (!scenario)
		return;
	assert(scenario->refs > 0);
	if (--scenario->refs == 0)
		drop(scenario);
}

/* ---- headers ---- */

void rl_sim_overrides_init(struct sim_override_cache *cache)
{
	*cache = (struct sim_override_cache){.next = 0};
	rl_buf_init(&cache->text, HEADERS_MAX_BYTES);
}

void rl_sim_overrides_unref(struct sim_overrides *overrides)
{
	if (!overrides)
		return;
	assert(overrides->refs > 0);
	if (--overrides->refs)
		return;
	rl_arena_fini(&overrides->arena);
	free(overrides);
}

void rl_sim_overrides_fini(struct sim_override_cache *cache)
{
	for (size_t i = 0; i < SIM_OVERRIDES_KEPT; i++)
		rl_sim_overrides_unref(cache->kept[i]);
	rl_buf_fini(&cache->text);
}

static bool is_sim_header(const struct rl_header *h)
{
	return h->field == RL_H_OTHER && h->name.n > sizeof SIM_HEADER_PREFIX - 1 &&
	       strncasecmp(h->name.p, SIM_HEADER_PREFIX, sizeof SIM_HEADER_PREFIX - 1) == 0;
}

/* The key that a header stands for: x-sim-first-token is first_token. */
static void key_text(rl_str name, struct rl_buf *out)
{
	rl_buf_byte(out, '"');
	for (size_t at = sizeof SIM_HEADER_PREFIX - 1; at < name.n; at++) {
		char c = name.p[at];

		rl_buf_byte(out, c == '-' ? '_' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
	}
	RL_BUF_LIT(out, "\": ");
}

/* All values of the header at `from`; more than one are a list. */
static void values_text(const struct rl_headers *headers, uint32_t from, struct rl_buf *out)
{
	rl_str name = headers->v[from].name;
	uint32_t n = 0;

	for (uint32_t i = from; i < headers->n; i++)
		n += rl_str_ieq(headers->v[i].name, name);
	if (n > 1)
		rl_buf_byte(out, '[');
	for (uint32_t i = from; i < headers->n; i++) {
		if (!rl_str_ieq(headers->v[i].name, name))
			continue;
		rl_buf_json(out, headers->v[i].value);
		if (--n)
			RL_BUF_LIT(out, ", ");
		else if (i > from && out->p)
			rl_buf_byte(out, ']');
	}
}

static bool is_first(const struct rl_headers *headers, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (rl_str_ieq(headers->v[i].name, headers->v[at].name))
			return false;
	return true;
}

/* A line of YAML for each header. False: they are for another simulator. */
static bool headers_text(const struct rl_headers *headers, rl_str simulator, struct rl_buf *out)
{
	for (uint32_t i = 0; i < headers->n; i++) {
		const struct rl_header *h = &headers->v[i];

		if (!is_sim_header(h))
			continue;
		if (rl_str_ieq(h->name, RL_STR(SIM_HEADER_PREFIX "only"))) {
			if (!rl_str_eq(h->value, simulator))
				return false;
		} else if (is_first(headers, i)) {
			key_text(h->name, out);
			values_text(headers, i, out);
			rl_buf_byte(out, '\n');
		}
	}
	return true;
}

static enum rl_err overrides_new(rl_str text, uint64_t hash, struct rl_buf *report, struct sim_overrides **out)
{
	struct sim_overrides *overrides = calloc(1, sizeof *overrides);

	if (!overrides)
		return RL_ERR_NOMEM;
	rl_arena_init(&overrides->arena, SCENARIO_MAX_BYTES);
	overrides->refs = 1;
	overrides->text_hash = hash;
	overrides->text = rl_arena_dup(&overrides->arena, text);
	enum rl_err err = !overrides->text.p ? RL_ERR_NOMEM
					     : rl_schema_parse(&header_schema, text, "x-sim headers", &closed, NULL,
							       &overrides->arena, &overrides->step, report);

	if (err != RL_OK) {
		rl_sim_overrides_unref(overrides);
		return err;
	}
	*out = overrides;
	return RL_OK;
}

static bool any_sim_header(const struct rl_headers *headers)
{
	for (uint32_t i = 0; i < headers->n; i++)
		if (is_sim_header(&headers->v[i]))
			return true;
	return false;
}

enum rl_err rl_sim_overrides_read(struct sim_override_cache *cache, const struct rl_headers *headers, rl_str name,
				  struct rl_buf *report, struct sim_overrides **out)
{
	*out = NULL;
	if (!any_sim_header(headers))
		return RL_OK;
	rl_buf_reset(&cache->text);
	if (!headers_text(headers, name, &cache->text) || !cache->text.n)
		return RL_OK;
	if (!rl_buf_ok(&cache->text))
		return RL_ERR_LIMIT;
	rl_str text = rl_buf_str(&cache->text);
	uint64_t hash = rl_hash(text);

	for (size_t i = 0; i < SIM_OVERRIDES_KEPT; i++) {
		struct sim_overrides *kept = cache->kept[i];

		if (kept && kept->text_hash == hash && rl_str_eq(kept->text, text)) {
			kept->refs++;
			*out = kept;
			return RL_OK;
		}
	}
	enum rl_err err = overrides_new(text, hash, report, out);

	if (err == RL_OK) {
		rl_sim_overrides_unref(cache->kept[cache->next]);
		cache->kept[cache->next] = *out;
		cache->next = (cache->next + 1) % SIM_OVERRIDES_KEPT;
		(*out)->refs++;
	}
	return err;
}

/* ---- what a request meets ---- */

void rl_sim_behaviour_apply(struct sim_behaviour *b, const struct sim_step *over)
{
	for (uint64_t left = over->written; left; left &= left - 1) {
		const struct rl_schema_row *row = &behaviour_rows[__builtin_ctzll(left)];

		memcpy((char *)b + row->at, (const char *)&over->b + row->at, row->size);
		if (row->type == RL_SCHEMA_STRINGS)
			memcpy((char *)b + row->count_at, (const char *)&over->b + row->count_at, sizeof(size_t));
	}
}

const struct sim_step *rl_sim_scenario_model(const struct rl_sim_scenario *scenario, rl_str model)
{
	for (size_t i = 0; i < scenario->n_models; i++)
		if (rl_str_eq(scenario->models[i].name, model))
			return &scenario->models[i];
	return NULL;
}

/* One fault at most, whose share of [0, 1) the draw falls into. */
static const struct sim_step *draw_fault(const struct rl_sim_scenario *scenario, struct rl_rng *rng)
{
	double at = scenario->n_faults ? rl_rng_unit(rng) : 0;

	for (size_t i = 0; i < scenario->n_faults; i++) {
		if (at < scenario->faults[i].rate)
			return &scenario->faults[i];
		at -= scenario->faults[i].rate;
	}
	return NULL;
}

void rl_sim_scenario_resolve(const struct rl_sim_scenario *scenario, uint64_t seed, uint64_t number, rl_str model,
			     const struct sim_overrides *overrides, struct rl_rng *rng, struct sim_behaviour *out)
{
	const struct sim_step *layers[4] = {NULL, NULL, NULL, NULL};

	rl_rng_seed(rng, seed ^ (number * 0xD1342543DE82EF95u));
	*out = scenario->b;
	layers[0] = rl_sim_scenario_model(scenario, model);
	if (scenario->n_sequence)
		layers[1] = &scenario->sequence[number % scenario->n_sequence];
	layers[2] = draw_fault(scenario, rng);
	layers[3] = overrides ? &overrides->step : NULL;
	for (size_t i = 0; i < COUNT(layers); i++)
		if (layers[i])
			rl_sim_behaviour_apply(out, layers[i]);
}

enum sim_accept rl_sim_scenario_accept(const struct rl_sim_scenario *scenario, uint64_t number)
{
	return scenario->n_accept ? scenario->accepts[number % scenario->n_accept] : SIM_ACCEPT_OK;
}

/* ---- the reference ---- */

static void reference_rows(const struct rl_schema_row *rows, size_t n, bool headers, struct rl_buf *out)
{
	for (size_t i = 0; i < n; i++) {
		const struct rl_schema_row *row = &rows[i];

		rl_buf_printf(out, "| `%s` | ", row->key);
		if (headers) {
			RL_BUF_LIT(out, "`" SIM_HEADER_PREFIX);
			for (const char *c = row->key; *c; c++)
				rl_buf_byte(out, *c == '_' ? '-' : *c);
			RL_BUF_LIT(out, "` | ");
		}
		rl_buf_printf(out, row->initial ? "`%s` | " : "%s | ", row->initial ? row->initial : "");
		for (size_t w = 0; row->words && row->words[w]; w++)
			rl_buf_printf(out, "%s`%s`", !w ? "" : row->words[w + 1] ? ", " : " or ", row->words[w]);
		rl_buf_printf(out, "%s%s |\n", row->words ? ". " : "", row->doc);
	}
}

void rl_sim_scenario_reference(struct rl_buf *out)
{
	RL_BUF_LIT(out,
		   "### Behaviour\n\nKeys at the top of a scenario, in a step, a fault or a model; and headers of a "
		   "request.\n\n| Key | Header | Default | Meaning |\n|---|---|---|---|\n");
	reference_rows(behaviour_rows, N_BEHAVIOUR_ROWS, true, out);
	RL_BUF_LIT(out, "\n### The scenario as a whole\n\n| Key | Default | Meaning |\n|---|---|---|\n");
	reference_rows(scenario_rows + N_BEHAVIOUR_ROWS, COUNT(scenario_rows) - N_BEHAVIOUR_ROWS, false, out);
	RL_BUF_LIT(out, "\n### Faults\n\nValues of `fault`. N may be left out; its default is then 0, or the number in "
			"brackets.\n\n");
	rl_sim_fault_reference(out);
}
