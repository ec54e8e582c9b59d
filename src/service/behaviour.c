/* SPDX-License-Identifier: Apache-2.0 */
/* Words and times of a behaviour: distributions, faults (see behaviour.h). */
#include "service/behaviour.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#define Z99 2.3263478740408408 /* the 99th percentile of the normal distribution */
#define TIME_MAX_MS 86400000.0
#define NAME_MAX_BYTES 40

/* ---- times ---- */

/* Digits, with a fraction perhaps; *text goes behind them. */
static bool parse_number(rl_str *text, double *out)
{
	double value = 0, scale = 0;
	size_t i = 0;

	for (; i < text->n; i++) {
		char c = text->p[i];

		if (c == '.' && scale == 0 && i) {
			scale = 1;
			continue;
		}
		if (c < '0' || c > '9')
			break;
		value = value * 10 + (c - '0');
		scale *= 10;
	}
	if (!i || i > 15)
		return false;
	*out = scale > 1 ? value / scale : value;
	*text = rl_str_sub(*text, i, SIZE_MAX);
	return true;
}

static bool parse_time(rl_str text, double *ms)
{
	static const struct {
		rl_str unit;
		double ms;
	} units[] = {{RL_STR_INIT("ms"), 1}, {RL_STR_INIT("s"), 1000}, {RL_STR_INIT("m"), 60000}};
	double number;

	text = rl_str_trim(text);
	if (!parse_number(&text, &number))
		return false;
	if (!text.n && number == 0) {
		*ms = 0;
		return true;
	}
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (rl_str_eq(text, units[i].unit)) {
			*ms = number * units[i].ms;
			return *ms <= TIME_MAX_MS;
		}
	}
	return false;
}

const char *rl_sim_dist_parse(struct rl_arena *arena, rl_str text, void *field)
{
	static const char wrong[] = "expected a time such as 20ms, 10ms..50ms or 100ms/1s";
	struct sim_dist *dist = field, read = {.kind = SIM_DIST_FIXED};
	size_t slash = rl_str_find(text, '/'), dots = 0;

	(void)arena;
	while (dots + 1 < text.n && !(text.p[dots] == '.' && text.p[dots + 1] == '.'))
		dots++;
	if (slash != SIZE_MAX) {
		read.kind = SIM_DIST_LOGNORMAL;
		if (!parse_time(rl_str_sub(text, 0, slash), &read.a) ||
		    !parse_time(rl_str_sub(text, slash + 1, SIZE_MAX), &read.b))
			return wrong;
	} else if (dots + 1 < text.n) {
		read.kind = SIM_DIST_UNIFORM;
		if (!parse_time(rl_str_sub(text, 0, dots), &read.a) ||
		    !parse_time(rl_str_sub(text, dots + 2, SIZE_MAX), &read.b))
			return wrong;
	} else if (!parse_time(text, &read.a)) {
		return wrong;
	}
	if (read.kind != SIM_DIST_FIXED && read.a > read.b)
		return "the second time must not be shorter than the first";
	if (read.kind == SIM_DIST_LOGNORMAL && read.a <= 0)
		return "the median must be longer than nothing";
	*dist = read;
	return NULL;
}

/* Normally distributed by the polar method (Marsaglia and Bray 1964). */
static double normal(struct rl_rng *rng)
{
	double u, v, s;

	do {
		u = 2 * rl_rng_unit(rng) - 1;
		v = 2 * rl_rng_unit(rng) - 1;
		s = u * u + v * v;
	} while (s >= 1 || s == 0);
	return u * sqrt(-2 * log(s) / s);
}

uint64_t rl_sim_dist_draw(const struct sim_dist *dist, struct rl_rng *rng)
{
	double ms = dist->a;

	if (dist->kind == SIM_DIST_UNIFORM)
		ms += (dist->b - dist->a) * rl_rng_unit(rng);
	else if (dist->kind == SIM_DIST_LOGNORMAL)
		ms *= exp(log(dist->b / dist->a) / Z99 * normal(rng));
	return (uint64_t)((ms > TIME_MAX_MS ? TIME_MAX_MS : ms) + 0.5);
}

/* ---- faults ---- */

static const struct {
	const char *name, *doc;
} actions[] = {
	[SIM_ACT_RESET] = {"reset", "The connection is reset (RST)"},
	[SIM_ACT_FIN] = {"fin", "The connection ends (FIN)"},
	[SIM_ACT_STALL] = {"stall", "Nothing more comes (see `stall_for`)"},
};

static const struct {
	const char *name;
	bool has_n;
	const char *doc;
} points[] = {
#define X(id, name, arg, doc) {name, arg, doc},
	SIM_POINTS(X)
#undef X
};

static const struct fault_row {
	enum sim_fault_kind kind;
	const char *name, *unit;
	uint64_t initial;
	const char *doc;
} faults[] = {
#define X(id, name, arg, initial, doc) {SIM_FAULT_##id, name, arg, initial, doc},
	SIM_FAULTS(X)
#undef X
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool parse_count(rl_str text, uint64_t *out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.p[i] - '0');
	}
	*out = value;
	return text.n > 0 && text.n < 16;
}

/* "reset_after_events", "stall". */
static bool find_break(rl_str name, struct sim_fault *out)
{
	for (size_t act = SIM_ACT_RESET; act <= SIM_ACT_STALL; act++) {
		rl_str word = rl_str_of(actions[act].name);

		if (!rl_str_starts(name, word))
			continue;
		rl_str rest = rl_str_sub(name, word.n, SIZE_MAX);

		*out = (struct sim_fault){.kind = SIM_FAULT_BREAK, .action = (enum sim_action)act};
		if (!rest.n)
			return true;
		for (size_t at = 0; rest.p[0] == '_' && at < COUNT(points); at++) {
			out->point = (enum sim_point)at;
			if (rl_str_eq(rl_str_sub(rest, 1, SIZE_MAX), rl_str_of(points[at].name)))
				return true;
		}
	}
	return false;
}

/* Whether it takes a number, and the one that it has without. */
static bool takes_number(const struct sim_fault *fault, uint64_t *initial)
{
	*initial = 0;
	if (fault->kind == SIM_FAULT_BREAK)
		return points[fault->point].has_n;
	for (size_t i = 0; i < COUNT(faults); i++) {
		if (faults[i].kind == fault->kind) {
			*initial = faults[i].initial;
			return faults[i].unit != NULL;
		}
	}
	return false;
}

static bool find_fault(rl_str name, struct sim_fault *out)
{
	*out = (struct sim_fault){.kind = SIM_FAULT_NONE};
	if (rl_str_eq(name, RL_STR("none")))
		return true;
	if (rl_str_eq(name, RL_STR("cut")))
		return find_break(RL_STR("fin_after_bytes"), out);
	for (size_t i = 0; i < COUNT(faults); i++) {
		if (rl_str_eq(name, rl_str_of(faults[i].name))) {
			out->kind = faults[i].kind;
			return true;
		}
	}
	return find_break(name, out);
}

const char *rl_sim_fault_parse(struct rl_arena *arena, rl_str text, void *field)
{
	size_t colon = rl_str_find(text, ':');
	struct sim_fault read;
	uint64_t initial;

	(void)arena;
	if (!find_fault(rl_str_sub(text, 0, colon), &read))
		return "not a fault (the words are in docs/simulator.md)";
	bool number = takes_number(&read, &initial);

	read.n = initial;
	if (colon != SIZE_MAX && !number)
		return "this fault takes no number";
	if (colon != SIZE_MAX && !parse_count(rl_str_sub(text, colon + 1, SIZE_MAX), &read.n))
		return "what stands behind the colon must be a number";
	*(struct sim_fault *)field = read;
	return NULL;
}

void rl_sim_fault_text(const struct sim_fault *fault, char out[SIM_FAULT_TEXT_MAX])
{
	char name[NAME_MAX_BYTES] = "none";
	uint64_t initial;

	if (fault->kind == SIM_FAULT_BREAK)
		snprintf(name, sizeof name, "%s_%s", actions[fault->action].name, points[fault->point].name);
	for (size_t i = 0; i < COUNT(faults); i++)
		if (faults[i].kind == fault->kind)
			snprintf(name, sizeof name, "%s", faults[i].name);
	if (takes_number(fault, &initial))
		snprintf(out, SIM_FAULT_TEXT_MAX, "%.24s:%llu", name, (unsigned long long)fault->n);
	else
		snprintf(out, SIM_FAULT_TEXT_MAX, "%s", name);
}

void rl_sim_fault_reference(struct rl_buf *out)
{
	RL_BUF_LIT(out, "| Fault | What happens |\n|---|---|\n| `none` | nothing |\n");
	for (size_t act = SIM_ACT_RESET; act <= SIM_ACT_STALL; act++)
		for (size_t at = 0; at < COUNT(points); at++)
			rl_buf_printf(out, "| `%s_%s%s`%s%s%s | %s %s. |\n", actions[act].name, points[at].name,
				      points[at].has_n ? ":N" : "", at ? "" : " or `", at ? "" : actions[act].name,
				      at ? "" : "`", actions[act].doc, points[at].doc);
	RL_BUF_LIT(out, "| `cut:N` | The same as `fin_after_bytes:N`. |\n");
	for (size_t i = 0; i < COUNT(faults); i++) {
		rl_buf_printf(out, "| `%s%s`", faults[i].name, faults[i].unit ? ":N" : "");
		if (faults[i].unit)
			rl_buf_printf(out, " (%llu)", (unsigned long long)faults[i].initial);
		rl_buf_printf(out, " | %s. |\n", faults[i].doc);
	}
}
