/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See metric.h. A series is published by the compare-and-swap that makes it the head
 * of its chain (release) and never leaves it; a reader that loads the head (acquire)
 * sees everything behind it. A worker publishes its cell in the series the same way.
 */
#include "base/metric.h"

#include <assert.h>
#include <stdlib.h>

#include "base/map.h"

#define CHAINS 128u
#define CELL_ALIGN 64u /* two workers' cells never share a cache line */

struct series {
	struct series *next; /* set before it is published */
	uint64_t hash;
	rl_str values[RL_METRIC_LABELS_MAX]; /* in the same allocation */
	_Atomic(void *) cells[];             /* by worker; NULL: nothing counted yet */
};

struct family {
	const struct rl_metric *row;
	size_t n_labels;
	struct series *other; /* has all its cells; for a metric without labels the only series */
	rl_metric_collect_f collect;
	void *user;
	_Atomic size_t n_series;
	_Atomic(struct series *) chains[CHAINS];
};

struct rl_metric_set {
	unsigned n_workers;
	size_t series_max, n;
	struct family families[];
};

struct rl_metric_out {
	struct rl_buf *buf;
	const struct family *family;
};

/* Label values as they are kept and shown. Only the unusual need memory. */
struct clean {
	rl_str values[RL_METRIC_LABELS_MAX];
	struct rl_buf buf;
};

const char *rl_metric_type_name(enum rl_metric_type type)
{
	static const char *const names[] = {"untyped", "counter", "gauge", "histogram"};

	return names[type];
}

static bool is_plain(rl_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7E)
			return false;
	return true;
}

/*
 * Values with bytes beyond printable ASCII are shown as a JSON string would show them: hostile bytes become
 * visible escapes, the rest stays UTF-8. Two raw values may then become one; hence before the look-up, not after.
 */
static void clean_values(struct clean *clean, const struct family *family, const rl_str *raw)
{
	size_t worst = RL_METRIC_LABELS_MAX * (RL_METRIC_VALUE_MAX * 6 + 2);

	rl_buf_init(&clean->buf, worst);
	for (size_t i = 0; i < family->n_labels; i++) {
		rl_str value = rl_str_sub(raw[i], 0, RL_METRIC_VALUE_MAX);

		/* All room at once: what values[] points to must not move. */
		if (!is_plain(value) && (clean->buf.p || rl_buf_reserve(&clean->buf, worst))) {
			size_t from = clean->buf.n;
			rl_buf_json(&clean->buf, value);
			assert(rl_buf_ok(&clean->buf));
			value = rl_str_make(clean->buf.p + from + 1, clean->buf.n - from - 2);
		} else if (!is_plain(value)) {
			value = RL_STR("other");
		}
		clean->values[i] = value;
	}
}

static uint64_t hash_values(const rl_str *values, size_t n)
{
	uint64_t hash = n;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ rl_hash(values[i])) * 0x9E3779B97F4A7C15u;
	return hash ^ hash >> 32;
}

static bool has_values(const struct series *series, const rl_str *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!rl_str_eq(series->values[i], values[i]))
			return false;
	return true;
}

/* From `at` up to, but not including, `end`. */
static struct series *chain_find(struct series *at, const struct series *end, uint64_t hash, const rl_str *values,
				 size_t n)
{
	for (; at != end; at = at->next)
		if (at->hash == hash && has_values(at, values, n))
			return at;
	return NULL;
}

static struct series *series_new(unsigned n_workers, const rl_str *values, size_t n, uint64_t hash)
{
	size_t size = sizeof(struct series) + n_workers * sizeof(void *), text = size;

	for (size_t i = 0; i < n; i++)
		size += values[i].n;
	struct series *series = calloc(1, size);

	if (!series)
		return NULL;
	series->hash = hash;
	for (size_t i = 0; i < n; i++) {
		char *copy = (char *)series + text;

		if (values[i].n)
			memcpy(copy, values[i].p, values[i].n);
		series->values[i] = rl_str_make(copy, values[i].n);
		text += values[i].n;
	}
	return series;
}

static void series_free(struct series *series, unsigned n_workers)
{
	for (unsigned i = 0; series && i < n_workers; i++)
		free(atomic_load_explicit(&series->cells[i], memory_order_relaxed));
	free(series);
}

static bool cell_new(const struct family *family, struct series *series, unsigned worker)
{
	size_t size = family->row->type == RL_HISTOGRAM ? sizeof(struct rl_histogram) : sizeof(struct rl_counter);

	size = (size + CELL_ALIGN - 1) / CELL_ALIGN * CELL_ALIGN;
	void *cell = aligned_alloc(CELL_ALIGN, size);

	if (!cell)
		return false;
	memset(cell, 0, size);
	atomic_store_explicit(&series->cells[worker], cell, memory_order_release);
	return true;
}

/* The series of last resort is whole from the start, so that counting can never fail. */
static bool family_init(struct rl_metric_set *set, struct family *family, const struct rl_metric *row)
{
	rl_str other[RL_METRIC_LABELS_MAX];

	family->row = row;
	while (row->labels[family->n_labels])
		other[family->n_labels++] = RL_STR("other");
	assert(family->n_labels <= RL_METRIC_LABELS_MAX);
	assert((row->type == RL_HISTOGRAM) == (row->buckets != NULL));
	family->other = series_new(set->n_workers, other, family->n_labels, hash_values(other, family->n_labels));
	if (!family->other)
		return false;
	for (unsigned i = 0; i < set->n_workers; i++)
		if (!cell_new(family, family->other, i))
			return false;
	return true;
}

enum rl_err rl_metric_set_new(const struct rl_metric *table, size_t n, unsigned workers, size_t series_max,
			      struct rl_metric_set **out)
{
	assert(workers > 0);
	struct rl_metric_set *set = calloc(1, sizeof *set + n * sizeof set->families[0]);

	*out = NULL;
	if (!set)
		return RL_ERR_NOMEM;
	set->n_workers = workers;
	set->series_max = series_max;
	set->n = n;
	for (size_t i = 0; i < n; i++) {
		if (!family_init(set, &set->families[i], &table[i])) {
			rl_metric_set_free(set);
			return RL_ERR_NOMEM;
		}
	}
	*out = set;
	return RL_OK;
}

void rl_metric_set_free(struct rl_metric_set *set)
{
	for (size_t i = 0; set && i < set->n; i++) {
		struct family *family = &set->families[i];

		series_free(family->other, set->n_workers);
		for (size_t k = 0; k < CHAINS; k++) {
			struct series *at = atomic_load_explicit(&family->chains[k], memory_order_acquire);
			while (at) {
				struct series *next = at->next;
				series_free(at, set->n_workers);
				at = next;
			}
		}
	}
	free(set);
}

/* A new series if there is room for one more; NULL sends the caller to "other". */
static struct series *series_reserve(const struct rl_metric_set *set, struct family *family, const rl_str *values,
				     uint64_t hash)
{
	size_t before = atomic_fetch_add_explicit(&family->n_series, 1, memory_order_relaxed);
	struct series *series = NULL;

	if (before < set->series_max)
		series = series_new(set->n_workers, values, family->n_labels, hash);
	if (!series)
		atomic_fetch_sub_explicit(&family->n_series, 1, memory_order_relaxed);
	return series;
}

static struct series *series_get(const struct rl_metric_set *set, struct family *family, const rl_str *values)
{
	uint64_t hash = hash_values(values, family->n_labels);
	_Atomic(struct series *) *chain = &family->chains[hash % CHAINS];
	struct series *head = atomic_load_explicit(chain, memory_order_acquire);
	struct series *found = chain_find(head, NULL, hash, values, family->n_labels);

	/* A label that happens to say "other" everywhere is the series that exists already. */
	if (found || chain_find(family->other, NULL, hash, values, family->n_labels))
		return found ? found : family->other;
	struct series *series = series_reserve(set, family, values, hash);

	if (!series)
		return family->other;
	for (;;) {
		struct series *seen = head;

		series->next = head;
		if (atomic_compare_exchange_weak_explicit(chain, &head, series, memory_order_release,
							  memory_order_acquire))
			return series;
		/* Others came first; one of them may have made the same. */
		found = chain_find(head, seen, hash, values, family->n_labels);
		if (found) {
			series_free(series, set->n_workers);
			atomic_fetch_sub_explicit(&family->n_series, 1, memory_order_relaxed);
			return found;
		}
	}
}

static void *cell_get(struct rl_metric_set *set, unsigned worker, size_t metric, const rl_str *raw)
{
	assert(worker < set->n_workers && metric < set->n);
	struct family *family = &set->families[metric];
	struct series *series = family->other;

	if (family->n_labels) {
		struct clean clean;

		clean_values(&clean, family, raw);
		series = series_get(set, family, clean.values);
		rl_buf_fini(&clean.buf);
	}
	void *cell = atomic_load_explicit(&series->cells[worker], memory_order_relaxed);

	if (!cell && !cell_new(family, series, worker))
		series = family->other;
	return cell ? cell : atomic_load_explicit(&series->cells[worker], memory_order_relaxed);
}

struct rl_counter *rl_metric_counter(struct rl_metric_set *set, unsigned worker, size_t metric, const rl_str *values)
{
	assert(metric < set->n && set->families[metric].row->type != RL_HISTOGRAM);
	return cell_get(set, worker, metric, values);
}

struct rl_histogram *rl_metric_histogram(struct rl_metric_set *set, unsigned worker, size_t metric,
					 const rl_str *values)
{
	assert(metric < set->n && set->families[metric].row->type == RL_HISTOGRAM);
	return cell_get(set, worker, metric, values);
}

bool rl_metric_exists(const struct rl_metric_set *set, size_t metric, const rl_str *values)
{
	assert(metric < set->n);
	const struct family *family = &set->families[metric];
	struct clean clean;

	clean_values(&clean, family, values);
	uint64_t hash = hash_values(clean.values, family->n_labels);
	struct series *head = atomic_load_explicit(&family->chains[hash % CHAINS], memory_order_acquire);
	bool exists = chain_find(head, NULL, hash, clean.values, family->n_labels) != NULL;

	rl_buf_fini(&clean.buf);
	return exists;
}

void rl_metric_collect(struct rl_metric_set *set, size_t metric, rl_metric_collect_f collect, void *user)
{
	assert(metric < set->n && set->families[metric].row->type != RL_HISTOGRAM);
	set->families[metric].collect = collect;
	set->families[metric].user = user;
}

bool rl_metric_is_collected(const struct rl_metric_set *set, size_t metric)
{
	assert(metric < set->n);
	return set->families[metric].collect != NULL;
}

/* ---- the text ---- */

/* In help texts and label values a backslash and a line feed are escaped, in the latter a quote too. */
static void write_escaped(struct rl_buf *out, rl_str s, bool quotes)
{
	size_t from = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\\' && s.p[i] != '\n' && (s.p[i] != '"' || !quotes))
			continue;
		rl_buf_add(out, rl_str_sub(s, from, i - from));
		rl_buf_byte(out, '\\');
		rl_buf_byte(out, s.p[i] == '\n' ? 'n' : s.p[i]);
		from = i + 1;
	}
	rl_buf_add(out, rl_str_sub(s, from, s.n - from));
}

/* value * 10^-decimals, without trailing zeros. */
static void write_scaled(struct rl_buf *out, uint64_t value, unsigned decimals)
{
	uint64_t unit = 1;

	for (unsigned i = 0; i < decimals; i++)
		unit *= 10;
	rl_buf_u64(out, value / unit);
	value %= unit;
	if (value)
		rl_buf_byte(out, '.');
	while (value) {
		unit /= 10;
		rl_buf_byte(out, (char)('0' + value / unit));
		value %= unit;
	}
}

/* "{a="1",b="2"", with `le` behind them if given (as "+Inf" for NULL bounds), and "}". */
static void write_labels(struct rl_buf *out, const struct family *family, const rl_str *values, bool le,
			 const uint64_t *bound)
{
	for (size_t i = 0; i < family->n_labels; i++) {
		rl_buf_byte(out, i ? ',' : '{');
		rl_buf_add(out, rl_str_of(family->row->labels[i]));
		RL_BUF_LIT(out, "=\"");
		write_escaped(out, values[i], true);
		rl_buf_byte(out, '"');
	}
	if (le) {
		rl_buf_add(out, family->n_labels ? RL_STR(",le=\"") : RL_STR("{le=\""));
		if (bound)
			write_scaled(out, *bound, family->row->buckets->decimals);
		else
			RL_BUF_LIT(out, "+Inf");
		rl_buf_byte(out, '"');
	}
	if (family->n_labels || le)
		rl_buf_byte(out, '}');
	rl_buf_byte(out, ' ');
}

static void write_name(struct rl_buf *out, const struct family *family, const char *suffix)
{
	rl_buf_add(out, rl_str_of(family->row->name));
	rl_buf_add(out, rl_str_of(suffix));
}

static void write_histogram(struct rl_buf *out, const struct family *family, const struct series *series,
			    const struct rl_histogram_view *view)
{
	const struct rl_buckets *buckets = family->row->buckets;
	uint64_t below = 0;

	for (size_t i = 0; i <= buckets->n; i++) {
		below += view->counts[i];
		write_name(out, family, "_bucket");
		write_labels(out, family, series->values, true, i < buckets->n ? &buckets->bounds[i] : NULL);
		rl_buf_u64(out, below);
		rl_buf_byte(out, '\n');
	}
	write_name(out, family, "_sum");
	write_labels(out, family, series->values, false, NULL);
	write_scaled(out, view->sum, buckets->decimals);
	rl_buf_byte(out, '\n');
	write_name(out, family, "_count");
	write_labels(out, family, series->values, false, NULL);
	rl_buf_u64(out, below);
	rl_buf_byte(out, '\n');
}

/* Adds up the workers' cells. "other" is shown only once something was counted there. */
static void write_series(struct rl_buf *out, const struct rl_metric_set *set, const struct family *family,
			 const struct series *series)
{
	struct rl_histogram_view view = {0};
	bool hidden = series == family->other && family->n_labels;

	for (unsigned i = 0; i < set->n_workers; i++) {
		const void *cell = atomic_load_explicit(&series->cells[i], memory_order_acquire);

		if (cell && family->row->type == RL_HISTOGRAM)
			rl_histogram_collect(cell, &view);
		else if (cell)
			view.count += atomic_load_explicit(&((const struct rl_counter *)cell)->n, memory_order_relaxed);
	}
	if (hidden && view.count == 0)
		return;
	if (family->row->type == RL_HISTOGRAM) {
		write_histogram(out, family, series, &view);
		return;
	}
	write_name(out, family, "");
	write_labels(out, family, series->values, false, NULL);
	rl_buf_u64(out, view.count);
	rl_buf_byte(out, '\n');
}

static int compare_values(const rl_str a, const rl_str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_series(const void *left, const void *right)
{
	const struct series *a = *(const struct series *const *)left, *b = *(const struct series *const *)right;
	int order = 0;

	for (size_t i = 0; i < RL_METRIC_LABELS_MAX && !order; i++)
		order = compare_values(a->values[i], b->values[i]);
	return order;
}

/* Series may be added meanwhile: those beyond `max` show up in the next scrape. */
static size_t family_list(const struct family *family, const struct series **list, size_t max)
{
	size_t n = 0;

	for (size_t k = 0; k < CHAINS; k++) {
		const struct series *at = atomic_load_explicit(&family->chains[k], memory_order_acquire);
		for (; at && n < max; at = at->next)
			list[n++] = at;
	}
	qsort(list, n, sizeof *list, compare_series);
	return n;
}

static void family_head(struct rl_buf *out, const struct family *family)
{
	RL_BUF_LIT(out, "# HELP ");
	write_name(out, family, " ");
	write_escaped(out, rl_str_of(family->row->help), false);
	RL_BUF_LIT(out, "\n# TYPE ");
	write_name(out, family, " ");
	rl_buf_add(out, rl_str_of(rl_metric_type_name(family->row->type)));
	rl_buf_byte(out, '\n');
}

static void family_write(struct rl_buf *out, const struct rl_metric_set *set, const struct family *family)
{
	size_t max = atomic_load_explicit(&family->n_series, memory_order_relaxed) + 1;
	size_t head_from = out->n;

	family_head(out, family);
	size_t from = out->n;

	if (family->collect) {
		family->collect(family->user, &(struct rl_metric_out){out, family});
	} else if (!family->n_labels) {
		write_series(out, set, family, family->other);
	} else {
		const struct series **list = calloc(max, sizeof *list);

		if (!list) {
			out->failed = true;
			return;
		}
		size_t n = family_list(family, list, max);
		for (size_t i = 0; i < n; i++)
			write_series(out, set, family, list[i]);
		free(list);
		write_series(out, set, family, family->other);
	}
	/* Nothing to say yet: no head either. */
	if (out->n == from && rl_buf_ok(out))
		out->n = head_from;
}

void rl_metric_write(const struct rl_metric_set *set, struct rl_buf *out)
{
	for (size_t i = 0; i < set->n && rl_buf_ok(out); i++)
		family_write(out, set, &set->families[i]);
}

void rl_metric_sample(struct rl_metric_out *out, const rl_str *values, double value)
{
	struct clean clean;

	clean_values(&clean, out->family, values);
	write_name(out->buf, out->family, "");
	write_labels(out->buf, out->family, clean.values, false, NULL);
	rl_buf_printf(out->buf, "%.15g\n", value);
	rl_buf_fini(&clean.buf);
}
