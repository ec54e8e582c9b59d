/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms and metrics: bounds, text format, cardinality, hostile labels, and exact counts with four writers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/histogram.h"
#include "base/metric.h"

enum { HITS, WAIT, SIZE, PLAIN, LEVEL };

static const struct rl_metric table[] = {
	[HITS] = {"t_hits_total", "Hits, with a \\ and a\nline feed.", RL_COUNTER, {"who", "what"}, NULL},
	[WAIT] = {"t_wait_seconds", "Waits.", RL_HISTOGRAM, {"who"}, &rl_buckets_overhead},
	[SIZE] = {"t_size_tokens", "Sizes.", RL_HISTOGRAM, {NULL}, &rl_buckets_tokens},
	[PLAIN] = {"t_plain_total", "No labels.", RL_COUNTER, {NULL}, NULL},
	[LEVEL] = {"t_level", "From a callback.", RL_GAUGE, {"side"}, NULL},
};

static struct rl_metric_set *make(unsigned workers, size_t series_max)
{
	struct rl_metric_set *set;

	assert_int_equal(rl_metric_set_new(table, sizeof table / sizeof table[0], workers, series_max, &set), RL_OK);
	return set;
}

/* The whole text, NUL-terminated; the caller frees it. */
static char *text_of(const struct rl_metric_set *set)
{
	struct rl_buf buf;

	rl_buf_init(&buf, 16u << 20);
	rl_metric_write(set, &buf);
	rl_buf_byte(&buf, '\0');
	assert_true(rl_buf_ok(&buf));
	return buf.p;
}

static void expect_line(const char *text, const char *line)
{
	size_t n = strlen(line);

	for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
		if ((at == text || at[-1] == '\n') && at[n] == '\n')
			return;
	fail_msg("no line '%s' in:\n%s", line, text);
}

static uint64_t value_of(const char *text, const char *series)
{
	const char *at = strstr(text, series);

	if (!at)
		fail_msg("no '%s' in:\n%s", series, text);
	return strtoull(at + strlen(series), NULL, 10);
}

static void hit(struct rl_metric_set *set, unsigned worker, rl_str who, rl_str what)
{
	rl_counter_add(rl_metric_counter(set, worker, HITS, (rl_str[]){who, what}), 1);
}

static void bounds_are_inclusive_and_rising(void **state)
{
	const struct rl_buckets *all[] = {&rl_buckets_latency, &rl_buckets_overhead, &rl_buckets_tokens};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(all[i]->n > 0 && all[i]->n <= RL_BUCKETS_MAX);
		for (size_t k = 0; k < all[i]->n; k++) {
			if (k)
				assert_true(all[i]->bounds[k] > all[i]->bounds[k - 1]);
			assert_int_equal(rl_buckets_find(all[i], all[i]->bounds[k]), k);
			assert_int_equal(rl_buckets_find(all[i], all[i]->bounds[k] + 1), k + 1);
		}
		assert_int_equal(rl_buckets_find(all[i], 0), 0);
		assert_int_equal(rl_buckets_find(all[i], UINT64_MAX), all[i]->n);
	}
}

static void quantiles_interpolate(void **state)
{
	struct rl_histogram histogram = {0};
	struct rl_histogram_view view = {0};
	const struct rl_buckets *buckets = &rl_buckets_overhead;

	(void)state;
	assert_int_equal(rl_histogram_quantile(&view, buckets, 500), 0);
	for (uint64_t i = 1; i <= 100; i++)
		rl_histogram_observe(&histogram, buckets, i);
	rl_histogram_collect(&histogram, &view);
	assert_int_equal(view.count, 100);
	assert_int_equal(view.sum, 5050);
	assert_int_equal(rl_histogram_quantile(&view, buckets, 500), 50);
	assert_int_equal(rl_histogram_quantile(&view, buckets, 990), 99);
	assert_int_equal(rl_histogram_quantile(&view, buckets, 0), 0);
	assert_int_equal(rl_histogram_quantile(&view, buckets, 1000), 100);
	for (int i = 0; i < 1000; i++)
		rl_histogram_observe(&histogram, buckets, 5000000);
	view = (struct rl_histogram_view){0};
	rl_histogram_collect(&histogram, &view);
	assert_int_equal(rl_histogram_quantile(&view, buckets, 990), 100000); /* no more is known */
}

static void text_is_exact(void **state)
{
	struct rl_metric_set *set = make(2, 100);

	(void)state;
	hit(set, 0, RL_STR("b"), RL_STR("x"));
	hit(set, 1, RL_STR("a"), RL_STR("x"));
	hit(set, 1, RL_STR("b"), RL_STR("x"));
	struct rl_histogram *size = rl_metric_histogram(set, 1, SIZE, NULL);
	rl_histogram_observe(size, &rl_buckets_tokens, 4);
	rl_histogram_observe(size, &rl_buckets_tokens, 5);
	rl_histogram_observe(size, &rl_buckets_tokens, 2000000);
	char *text = text_of(set);
	static const char expected[] = "# HELP t_hits_total Hits, with a \\\\ and a\\nline feed.\n"
				       "# TYPE t_hits_total counter\n"
				       "t_hits_total{who=\"a\",what=\"x\"} 1\n"
				       "t_hits_total{who=\"b\",what=\"x\"} 2\n"
				       "# HELP t_size_tokens Sizes.\n"
				       "# TYPE t_size_tokens histogram\n"
				       "t_size_tokens_bucket{le=\"4\"} 1\n"
				       "t_size_tokens_bucket{le=\"16\"} 2\n"
				       "t_size_tokens_bucket{le=\"64\"} 2\n"
				       "t_size_tokens_bucket{le=\"256\"} 2\n"
				       "t_size_tokens_bucket{le=\"1024\"} 2\n"
				       "t_size_tokens_bucket{le=\"4096\"} 2\n"
				       "t_size_tokens_bucket{le=\"16384\"} 2\n"
				       "t_size_tokens_bucket{le=\"65536\"} 2\n"
				       "t_size_tokens_bucket{le=\"262144\"} 2\n"
				       "t_size_tokens_bucket{le=\"1048576\"} 2\n"
				       "t_size_tokens_bucket{le=\"+Inf\"} 3\n"
				       "t_size_tokens_sum 2000009\n"
				       "t_size_tokens_count 3\n"
				       "# HELP t_plain_total No labels.\n"
				       "# TYPE t_plain_total counter\n"
				       "t_plain_total 0\n";

	assert_string_equal(text, expected);
	free(text);
	rl_metric_set_free(set);
}

static void fractions_are_decimal(void **state)
{
	struct rl_metric_set *set = make(1, 100);
	struct rl_histogram *wait = rl_metric_histogram(set, 0, WAIT, (rl_str[]){RL_STR("q")});

	(void)state;
	rl_histogram_observe(wait, &rl_buckets_overhead, 10);
	rl_histogram_observe(wait, &rl_buckets_overhead, 3000040);
	char *text = text_of(set);

	expect_line(text, "t_wait_seconds_bucket{who=\"q\",le=\"0.00001\"} 1");
	expect_line(text, "t_wait_seconds_bucket{who=\"q\",le=\"0.1\"} 1");
	expect_line(text, "t_wait_seconds_bucket{who=\"q\",le=\"+Inf\"} 2");
	expect_line(text, "t_wait_seconds_sum{who=\"q\"} 3.00005");
	expect_line(text, "t_wait_seconds_count{who=\"q\"} 2");
	free(text);
	rl_metric_set_free(set);
}

static void the_same_values_are_the_same_cell(void **state)
{
	struct rl_metric_set *set = make(2, 100);
	char who[] = "me";
	struct rl_counter *a = rl_metric_counter(set, 0, HITS, (rl_str[]){rl_str_of(who), RL_STR("x")});

	(void)state;
	who[0] = 'w'; /* values are copied */
	assert_ptr_equal(a, rl_metric_counter(set, 0, HITS, (rl_str[]){RL_STR("me"), RL_STR("x")}));
	assert_ptr_not_equal(a, rl_metric_counter(set, 1, HITS, (rl_str[]){RL_STR("me"), RL_STR("x")}));
	assert_ptr_not_equal(a, rl_metric_counter(set, 0, HITS, (rl_str[]){RL_STR("mex"), RL_STR("")}));
	assert_true(rl_metric_exists(set, HITS, (rl_str[]){RL_STR("me"), RL_STR("x")}));
	assert_true(rl_metric_exists(set, HITS, (rl_str[]){RL_STR("mex"), {NULL, 0}}));
	assert_false(rl_metric_exists(set, HITS, (rl_str[]){RL_STR("we"), RL_STR("x")}));
	rl_metric_set_free(set);
}

static void cardinality_is_bounded(void **state)
{
	struct rl_metric_set *set = make(2, 10);
	char name[32];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		int n = snprintf(name, sizeof name, "bomb%u", i % 500);
		hit(set, i & 1, rl_str_make(name, (size_t)n), RL_STR("x"));
	}
	hit(set, 0, RL_STR("other"), RL_STR("other")); /* joins the overflow, is no second series of that name */
	char *text = text_of(set);
	size_t lines = 0;

	for (const char *at = text; (at = strstr(at, "\nt_hits_total{")) != NULL; at++)
		lines++;
	assert_int_equal(lines, 11);
	expect_line(text, "t_hits_total{who=\"bomb0\",what=\"x\"} 2");
	expect_line(text, "t_hits_total{who=\"other\",what=\"other\"} 981");
	free(text);
	rl_metric_set_free(set);
}

static void hostile_values_stay_inert(void **state)
{
	struct rl_metric_set *set = make(1, 100);
	size_t big_bytes = 1u << 20;
	char *big = malloc(big_bytes);

	(void)state;
	assert_non_null(big);
	memset(big, 'A', big_bytes);
	hit(set, 0, RL_STR("a\"b\\c"), RL_STR("1"));
	hit(set, 0, RL_STR("line\nt_hits_total 99"), RL_STR("2"));
	hit(set, 0, RL_STR("\x1b[31m%n\x7f"), RL_STR("3"));
	hit(set, 0, RL_STR("\xff\xc0\x80"), RL_STR("4"));
	hit(set, 0, RL_STR("caf\xc3\xa9"), RL_STR("5"));
	hit(set, 0, rl_str_make(big, big_bytes), RL_STR("6"));
	memset(big, 1, big_bytes);
	hit(set, 0, rl_str_make(big, big_bytes), rl_str_make(big, big_bytes)); /* the most that escapes can take */
	hit(set, 0, RL_STR("\xff"), RL_STR("7"));
	hit(set, 0, RL_STR("\xfe"), RL_STR("7")); /* another name, but shown alike: one series */
	char *text = text_of(set);

	expect_line(text, "t_hits_total{who=\"a\\\"b\\\\c\",what=\"1\"} 1");
	expect_line(text, "t_hits_total{who=\"line\\\\nt_hits_total 99\",what=\"2\"} 1");
	expect_line(text, "t_hits_total{who=\"\\\\u001b[31m%n\\\\u007f\",what=\"3\"} 1");
	expect_line(text, "t_hits_total{who=\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\",what=\"4\"} 1");
	expect_line(text, "t_hits_total{who=\"caf\xc3\xa9\",what=\"5\"} 1");
	expect_line(text, "t_hits_total{who=\"\xEF\xBF\xBD\",what=\"7\"} 2");
	for (const char *c = text; *c; c++)
		assert_true((unsigned char)*c >= 0x20 || *c == '\n');
	assert_true(strlen(text) < 8192);
	free(text);
	free(big);
	rl_metric_set_free(set);
}

static void collect_level(void *user, struct rl_metric_out *out)
{
	const double *level = user;

	rl_metric_sample(out, (rl_str[]){RL_STR("left")}, *level);
	rl_metric_sample(out, (rl_str[]){RL_STR("right\n")}, -2);
}

static void callbacks_give_values(void **state)
{
	struct rl_metric_set *set = make(1, 100);
	double level = 1795348800.25;

	(void)state;
	assert_false(rl_metric_is_collected(set, LEVEL));
	rl_metric_collect(set, LEVEL, collect_level, &level);
	assert_true(rl_metric_is_collected(set, LEVEL));
	char *text = text_of(set);

	expect_line(text, "# TYPE t_level gauge");
	expect_line(text, "t_level{side=\"left\"} 1795348800.25");
	expect_line(text, "t_level{side=\"right\\\\n\"} -2");
	free(text);
	rl_metric_set_free(set);
}

static void a_small_buffer_says_so(void **state)
{
	struct rl_metric_set *set = make(1, 100);
	struct rl_buf buf;

	(void)state;
	hit(set, 0, RL_STR("a"), RL_STR("b"));
	rl_buf_init(&buf, 64);
	rl_metric_write(set, &buf);
	assert_false(rl_buf_ok(&buf));
	rl_buf_fini(&buf);
	rl_metric_set_free(set);
}

/* ---- several threads ---- */

#define THREADS 4u
#define ROUNDS 50000u
#define NAMES 300u

struct writer {
	struct rl_metric_set *set;
	unsigned worker;
};

/* Every worker meets every name, so that they race to make the series; the table has room for some of them only. */
static void *count_up(void *arg)
{
	const struct writer *writer = arg;
	char name[16];

	for (unsigned i = 0; i < ROUNDS; i++) {
		int n = snprintf(name, sizeof name, "n%u", i % NAMES);
		hit(writer->set, writer->worker, rl_str_make(name, (size_t)n), RL_STR("x"));
		rl_histogram_observe(rl_metric_histogram(writer->set, writer->worker, SIZE, NULL), &rl_buckets_tokens,
				     i % 7);
	}
	return NULL;
}

static uint64_t sum_of_hits(const char *text)
{
	uint64_t sum = 0;

	for (const char *at = text; (at = strstr(at, "\nt_hits_total{")) != NULL; at++)
		sum += strtoull(strchr(at, '}') + 1, NULL, 10);
	return sum;
}

static void counts_are_exact(void **state)
{
	struct rl_metric_set *set = make(THREADS, 200);
	struct writer writers[THREADS];
	pthread_t threads[THREADS];
	uint64_t last = 0;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){set, i};
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, &writers[i]), 0);
	}
	for (int i = 0; i < 10; i++) { /* a scrape meanwhile: never backwards, buckets and count agree */
		char *text = text_of(set);
		uint64_t now = sum_of_hits(text);
		assert_true(now >= last);
		last = now;
		assert_int_equal(value_of(text, "t_size_tokens_bucket{le=\"+Inf\"} "),
				 value_of(text, "t_size_tokens_count "));
		free(text);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	char *text = text_of(set);

	assert_int_equal(sum_of_hits(text), THREADS * ROUNDS);
	assert_int_equal(value_of(text, "t_size_tokens_count "), THREADS * ROUNDS);
	assert_true(value_of(text, "t_hits_total{who=\"other\",what=\"other\"} ") > 0);
	free(text);
	rl_metric_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_are_inclusive_and_rising),
		cmocka_unit_test(quantiles_interpolate),
		cmocka_unit_test(text_is_exact),
		cmocka_unit_test(fractions_are_decimal),
		cmocka_unit_test(the_same_values_are_the_same_cell),
		cmocka_unit_test(cardinality_is_bounded),
		cmocka_unit_test(hostile_values_stay_inert),
		cmocka_unit_test(callbacks_give_values),
		cmocka_unit_test(a_small_buffer_says_so),
		cmocka_unit_test(counts_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
