/* SPDX-License-Identifier: Apache-2.0 */
/* The small ones of the ground floor: clock, random, error names, secrets, the program's log. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/random.h"
#include "base/secret.h"

static void time_is_written(void **state)
{
	static const struct {
		uint64_t wall_us;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{999, "1970-01-01T00:00:00.000Z"},
		{1000, "1970-01-01T00:00:00.001Z"},
		{951782399999999, "2000-02-28T23:59:59.999Z"},
		{951782400000000, "2000-02-29T00:00:00.000Z"},
		{1795348800123456, "2026-11-22T12:00:00.123Z"},
		{1795348800999000, "2026-11-22T12:00:00.999Z"}, /* the same second: the kept part */
		{0, "1970-01-01T00:00:00.000Z"},
		{253402300799999999, "9999-12-31T23:59:59.999Z"},
	};
	char out[RL_CLOCK_RFC3339_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		rl_clock_rfc3339(cases[i].wall_us, out);
		assert_string_equal(out, cases[i].text);
	}
}

static void clocks_move(void **state)
{
	uint64_t before = rl_clock_us();

	(void)state;
	usleep(2000);
	assert_true(rl_clock_us() - before >= 2000);
	assert_true(rl_clock_wall_us() > 1700000000000000); /* after 2023 */
}

static void seeded_runs_repeat(void **state)
{
	struct rl_rng a, b, c;
	unsigned differ = 0;

	(void)state;
	rl_rng_seed(&a, 0);
	rl_rng_seed(&b, 0);
	rl_rng_seed(&c, 1);
	for (int i = 0; i < 1000; i++) {
		uint64_t v = rl_rng_next(&a);
		assert_true(v == rl_rng_next(&b));
		differ += v != rl_rng_next(&c);
	}
	assert_int_equal(differ, 1000);
}

static void ranges_are_kept(void **state)
{
	struct rl_rng rng;
	unsigned hits[10] = {0};
	double sum = 0;

	(void)state;
	rl_rng_seed(&rng, 42);
	assert_int_equal(rl_rng_below(&rng, 0), 0);
	assert_int_equal(rl_rng_below(&rng, 1), 0);
	for (int i = 0; i < 100000; i++) {
		uint64_t v = rl_rng_below(&rng, 10);
		assert_true(v < 10);
		hits[v]++;
		double u = rl_rng_unit(&rng);
		assert_true(u >= 0 && u < 1);
		sum += u;
	}
	for (int i = 0; i < 10; i++)
		assert_in_range(hits[i], 9500, 10500); /* 5 sigma of the binomial */
	assert_true(sum > 49500 && sum < 50500);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void ids_are_unique(void **state)
{
	enum { COUNT = 20000 };
	char(*ids)[RL_ID_LEN + 1] = malloc(sizeof *ids * COUNT);

	(void)state;
	assert_non_null(ids);
	for (size_t i = 0; i < COUNT; i++) {
		rl_random_id(ids[i]);
		assert_int_equal(strlen(ids[i]), RL_ID_LEN);
		assert_memory_equal(ids[i], "req_", 4);
		assert_int_equal(strspn(ids[i] + 4, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
				 RL_ID_LEN - 4);
	}
	qsort(ids, COUNT, sizeof *ids, by_text);
	for (size_t i = 1; i < COUNT; i++)
		assert_true(strcmp(ids[i - 1], ids[i]) != 0);
	free(ids);
}

static void system_randomness(void **state)
{
	unsigned char a[64] = {0}, b[64] = {0};

	(void)state;
	rl_random_bytes(a, 63);
	assert_int_equal(a[63], 0); /* no byte more than asked */
	rl_random_bytes(b, 64);
	assert_memory_not_equal(a, b, 63);
	rl_random_bytes(b, 0);
}

static void errors_have_names(void **state)
{
	int below = -1;

	(void)state;
	assert_int_equal(RL_OK, 0);
	assert_string_equal(rl_err_name(RL_OK), "ok");
	assert_string_equal(rl_err_name(RL_ERR_TIMEOUT), "timeout");
	for (int i = 0; i < RL_ERR_COUNT; i++) {
		assert_true(strlen(rl_err_name((enum rl_err)i)) > 0);
		assert_true(strlen(rl_err_text((enum rl_err)i)) > 0);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(rl_err_name((enum rl_err)i), rl_err_name((enum rl_err)k));
	}
	assert_string_equal(rl_err_name(RL_ERR_COUNT), "unknown");
	assert_string_equal(rl_err_text((enum rl_err)below), "unknown error");
}

static void errno_is_translated(void **state)
{
	static const struct {
		int errnum;
		enum rl_err err;
	} cases[] = {
		{0, RL_OK},
		{EAGAIN, RL_ERR_AGAIN},
		{ECONNRESET, RL_ERR_RESET},
		{EPIPE, RL_ERR_RESET},
		{ECONNREFUSED, RL_ERR_REFUSED},
		{EHOSTUNREACH, RL_ERR_UNREACHABLE},
		{ETIMEDOUT, RL_ERR_TIMEOUT},
		{EMFILE, RL_ERR_BUSY},
		{ENOMEM, RL_ERR_NOMEM},
		{ENOENT, RL_ERR_NOT_FOUND},
		{EBADF, RL_ERR_IO},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(rl_err_from_errno(cases[i].errnum), cases[i].err);
}

static void secrets_are_revealed_once(void **state)
{
	struct rl_secret unset = {{NULL, 0}};
	struct rl_secret key = rl_secret_make(RL_STR("sk-1"));

	(void)state;
	assert_false(rl_secret_is_set(unset));
	assert_false(rl_secret_is_set(rl_secret_make(RL_STR(""))));
	assert_true(rl_secret_is_set(key));
	assert_true(rl_str_eq(rl_secret_reveal(key), RL_STR("sk-1")));
}

/* What rl_log_write put on standard error, caught through a pipe. */
static void catch_log(char *out, size_t size, const char *hostile)
{
	int ends[2], kept = dup(STDERR_FILENO);

	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	close(ends[1]);
	RL_WARN("test", "name %s end", hostile);
	assert_true(dup2(kept, STDERR_FILENO) >= 0);
	close(kept);

	ssize_t n = read(ends[0], out, size - 1);

	assert_true(n >= 0);
	out[n] = '\0';
	close(ends[0]);
}

static void log_cannot_be_forged(void **state)
{
	char out[8192];

	(void)state;
	catch_log(out, sizeof out, "a\nb\033[31m\x7f");
	assert_non_null(strstr(out, " warn  test: name a\\x0ab\\x1b[31m\\x7f end\n"));
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void log_lines_are_bounded(void **state)
{
	char out[8192], hostile[3001];

	(void)state;
	memset(hostile, '\n', sizeof hostile - 1);
	hostile[sizeof hostile - 1] = '\0';
	catch_log(out, sizeof out, hostile);
	assert_true(strlen(out) <= 4096);
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void log_levels(void **state)
{
	char out[8192];

	(void)state;
	assert_int_equal(rl_log_level_parse("error"), RL_LOG_ERROR);
	assert_int_equal(rl_log_level_parse("debug"), RL_LOG_DEBUG);
	assert_int_equal(rl_log_level_parse("loud"), -1);
	assert_int_equal(rl_log_level_parse(""), -1);

	enum rl_log_level before = rl_log_level();

	rl_log_set_level(RL_LOG_ERROR);
	catch_log(out, sizeof out, "quiet");
	assert_string_equal(out, "");
	rl_log_set_level(before);
	assert_int_equal(rl_log_level(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_is_written),
		cmocka_unit_test(clocks_move),
		cmocka_unit_test(seeded_runs_repeat),
		cmocka_unit_test(ranges_are_kept),
		cmocka_unit_test(ids_are_unique),
		cmocka_unit_test(system_randomness),
		cmocka_unit_test(errors_have_names),
		cmocka_unit_test(errno_is_translated),
		cmocka_unit_test(secrets_are_revealed_once),
		cmocka_unit_test(log_cannot_be_forged),
		cmocka_unit_test(log_lines_are_bounded),
		cmocka_unit_test(log_levels),
	};

	return cmocka_run_group_tests_name("base/small", tests, NULL, NULL);
}
