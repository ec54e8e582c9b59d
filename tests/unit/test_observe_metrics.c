/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics sink: what each kind of record counts as, which names become labels, and
 * the form of the whole text (with promtool too, where it is installed).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "observe/access_log.h"
#include "observe/metrics.h"
#include "observe/sink.h"

static struct rl_metrics *make(unsigned workers)
{
	struct rl_metrics *metrics;

	assert_int_equal(rl_metrics_new(workers, RL_STR("1.2.3"), &metrics), RL_OK);
	return metrics;
}

static char *text_of(const struct rl_metrics *metrics)
{
	struct rl_buf buf;

	rl_buf_init(&buf, RL_METRICS_TEXT_MAX);
	rl_metrics_write(metrics, &buf);
	rl_buf_byte(&buf, '\0');
	assert_true(rl_buf_ok(&buf));
	return buf.p;
}

static bool has_line(const char *text, const char *line)
{
	size_t n = strlen(line);

	for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
		if ((at == text || at[-1] == '\n') && at[n] == '\n')
			return true;
	return false;
}

static void expect(const struct rl_metrics *metrics, const char *line)
{
	char *text = text_of(metrics);

	if (!has_line(text, line))
		fail_msg("no line '%s' in:\n%s", line, text);
	free(text);
}

static void expect_no(const struct rl_metrics *metrics, const char *part)
{
	char *text = text_of(metrics);

	if (strstr(text, part))
		fail_msg("'%s' in:\n%s", part, text);
	free(text);
}

static struct rl_attempt_record attempt_ok = {
	.provider = RL_STR_INIT("openai"),
	.model = RL_STR_INIT("gpt-4o-mini"),
	.status = 200,
	.total_us = 40000,
};

/* A chat request that went well. */
static struct rl_record usual(void)
{
	return (struct rl_record){
		.wall_us = 1795348800123456,
		.request_id = RL_STR("req_0123456789abcdefghijkl"),
		.method = RL_STR("POST"),
		.path = RL_STR("/v1/chat/completions"),
		.operation = RL_OP_CHAT,
		.route = RL_STR("/v1/chat/completions"),
		.model_asked = RL_STR("assistant"),
		.alias = RL_STR("assistant"),
		.provider = attempt_ok.provider,
		.model = attempt_ok.model,
		.attempts = &attempt_ok,
		.n_attempts = 1,
		.status = 200,
		.outcome = RL_OUTCOME_OK,
		.committed = true,
		.bytes_in = 1200,
		.bytes_out = 1300,
		.usage = {.known = true, .prompt_tokens = 100, .completion_tokens = 20, .cached_tokens = 64},
		.first_byte_us = 42000,
		.total_us = 42100,
		.overhead_us = 35,
	};
}

static void consume(struct rl_metrics *metrics, unsigned worker, const struct rl_record *record)
{
	struct rl_sinks sinks = {0};

	rl_sinks_add(&sinks, &rl_metrics_sink, metrics);
	rl_sinks_consume(&sinks, worker, record);
}

static void a_success_is_counted(void **state)
{
	struct rl_metrics *m = make(2);
	struct rl_record record = usual();

	(void)state;
	consume(m, 0, &record);
	consume(m, 0, &record); /* from the kept cells */
	consume(m, 1, &record);
	expect(m, "relais_requests_total{route=\"/v1/chat/completions\",alias=\"assistant\",provider=\"openai\","
		  "model=\"gpt-4o-mini\",code=\"200\",outcome=\"ok\"} 3");
	expect(m, "relais_attempts_total{provider=\"openai\",model=\"gpt-4o-mini\",result=\"ok\"} 3");
	expect(m, "relais_tokens_total{provider=\"openai\",model=\"gpt-4o-mini\",kind=\"prompt\"} 300");
	expect(m, "relais_tokens_total{provider=\"openai\",model=\"gpt-4o-mini\",kind=\"completion\"} 60");
	expect(m, "relais_tokens_total{provider=\"openai\",model=\"gpt-4o-mini\",kind=\"cached\"} 192");
	expect(m, "relais_request_tokens_bucket{kind=\"prompt\",le=\"64\"} 0");
	expect(m, "relais_request_tokens_bucket{kind=\"prompt\",le=\"256\"} 3");
	expect(m, "relais_time_to_first_byte_seconds_sum{provider=\"openai\",model=\"gpt-4o-mini\"} 0.126");
	expect(m, "relais_request_duration_seconds_bucket{route=\"/v1/chat/completions\",alias=\"assistant\","
		  "stream=\"false\",le=\"0.025\"} 0");
	expect(m, "relais_request_duration_seconds_bucket{route=\"/v1/chat/completions\",alias=\"assistant\","
		  "stream=\"false\",le=\"0.05\"} 3");
	expect(m, "relais_overhead_seconds_sum{route=\"/v1/chat/completions\"} 0.000105");
	expect(m, "relais_bytes_total{direction=\"in\"} 3600");
	expect(m, "relais_bytes_total{direction=\"out\"} 3900");
	expect_no(m, "reasoning\"");
	expect_no(m, "relais_failovers_total");
	expect_no(m, "relais_streams_cut_total");
	rl_metrics_free(m);
}

static void failover_is_counted_once_per_step(void **state)
{
	struct rl_metrics *m = make(1);
	struct rl_record record = usual();
	struct rl_attempt_record attempts[] = {
		{.provider = RL_STR("local"), .model = RL_STR("llama"), .fault = RL_FAULT_CONNECT},
		{.provider = RL_STR("local"),
		 .model = RL_STR("llama"),
		 .fault = RL_FAULT_TIMEOUT,
		 .maybe_billed = true},
		attempt_ok,
	};

	(void)state;
	record.attempts = attempts;
	record.n_attempts = 3;
	consume(m, 0, &record);
	expect(m, "relais_attempts_total{provider=\"local\",model=\"llama\",result=\"connect\"} 1");
	expect(m, "relais_attempts_total{provider=\"local\",model=\"llama\",result=\"timeout\"} 1");
	expect(m, "relais_attempts_total{provider=\"openai\",model=\"gpt-4o-mini\",result=\"ok\"} 1");
	/* The second try was the same target: a retry. */
	expect(m, "relais_failovers_total{alias=\"assistant\",provider=\"local\",reason=\"timeout\"} 1");
	expect_no(m, "reason=\"connect\"");
	expect(m, "relais_maybe_double_billed_total{provider=\"local\",model=\"llama\"} 1");
	rl_metrics_free(m);
}

static void streams_are_counted(void **state)
{
	struct rl_metrics *m = make(1);
	struct rl_record record = usual();

	(void)state;
	record.stream = true;
	record.events = 200;
	consume(m, 0, &record);
	record.outcome = RL_OUTCOME_CUT;
	record.events = 7;
	record.usage.known = false;
	consume(m, 0, &record);
	record.outcome = RL_OUTCOME_LEFT;
	record.status = 0;
	record.committed = false;
	record.events = 0;
	consume(m, 0, &record);
	expect(m, "relais_stream_events_total{provider=\"openai\",model=\"gpt-4o-mini\"} 207");
	expect(m, "relais_streams_cut_total{provider=\"openai\",model=\"gpt-4o-mini\"} 1");
	expect(m, "relais_request_tokens_count{kind=\"prompt\"} 1");
	expect(m, "relais_request_duration_seconds_count{route=\"/v1/chat/completions\",alias=\"assistant\","
		  "stream=\"true\"} 3");
	/* The client left before the answer: nothing to say about the provider's speed. */
	expect(m, "relais_time_to_first_byte_seconds_count{provider=\"openai\",model=\"gpt-4o-mini\"} 2");
	expect(m, "relais_requests_total{route=\"/v1/chat/completions\",alias=\"assistant\",provider=\"openai\","
		  "model=\"gpt-4o-mini\",code=\"0\",outcome=\"left\"} 1");
	rl_metrics_free(m);
}

/* A pinned name (no alias) is a label only once a provider has answered for it. */
static void clients_do_not_choose_labels(void **state)
{
	struct rl_metrics *m = make(2);
	struct rl_record record = usual();
	struct rl_attempt_record attempt = attempt_ok;
	char name[64];

	(void)state;
	record.alias = (rl_str){NULL, 0};
	record.attempts = &attempt;
	record.committed = false;
	record.outcome = RL_OUTCOME_PASSED_ERROR;
	record.status = 404;
	record.usage.known = false;
	attempt.fault = RL_FAULT_NOT_FOUND;
	for (int i = 0; i < 5000; i++) {
		int n = snprintf(name, sizeof name, "bomb-%d", i);
		record.model = attempt.model = record.model_asked = rl_str_make(name, (size_t)n);
		consume(m, (unsigned)i & 1, &record);
	}
	expect_no(m, "bomb");
	expect_no(m, "\"other\"");
	expect(m, "relais_requests_total{route=\"/v1/chat/completions\",alias=\"\",provider=\"openai\",model=\"\","
		  "code=\"404\",outcome=\"passed_error\"} 5000");
	expect(m, "relais_attempts_total{provider=\"openai\",model=\"\",result=\"not_found\"} 5000");

	/* An answer vouches for the name, on whichever worker. */
	struct rl_record good = usual();

	good.alias = (rl_str){NULL, 0};
	consume(m, 0, &good);
	record.model = attempt.model = attempt_ok.model;
	consume(m, 1, &record);
	expect(m, "relais_requests_total{route=\"/v1/chat/completions\",alias=\"\",provider=\"openai\","
		  "model=\"gpt-4o-mini\",code=\"404\",outcome=\"passed_error\"} 1");
	expect(m, "relais_attempts_total{provider=\"openai\",model=\"gpt-4o-mini\",result=\"not_found\"} 1");
	rl_metrics_free(m);
}

static void unserved_requests_are_counted(void **state)
{
	struct rl_metrics *m = make(1);
	struct rl_record record = {.status = 401, .outcome = RL_OUTCOME_REFUSED, .fault = RL_FAULT_BAD_REQUEST};
	char long_name[600];

	(void)state;
	consume(m, 0, &record);
	expect(m, "relais_requests_total{route=\"\",alias=\"\",provider=\"\",model=\"\",code=\"401\","
		  "outcome=\"refused\"} 1");
	/* Names too long for the kept cells count all the same. */
	memset(long_name, 'n', sizeof long_name);
	record = usual();
	record.alias = rl_str_make(long_name, sizeof long_name);
	consume(m, 0, &record);
	consume(m, 0, &record);
	char line[800];

	snprintf(line, sizeof line,
		 "relais_requests_total{route=\"/v1/chat/completions\",alias=\"%.128s\",provider=\"openai\","
		 "model=\"gpt-4o-mini\",code=\"200\",outcome=\"ok\"} 2",
		 long_name);
	expect(m, line);
	rl_metrics_free(m);
}

/* More kinds of requests than the table of kept cells has places. */
static void many_kinds_share_the_table(void **state)
{
	struct rl_metrics *m = make(1);
	char name[32], line[256];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 500; i++) {
			struct rl_record record = usual();
			int n = snprintf(name, sizeof name, "alias-%d", i);
			record.alias = rl_str_make(name, (size_t)n);
			consume(m, 0, &record);
		}
	}
	for (int i = 0; i < 500; i += 99) {
		snprintf(line, sizeof line,
			 "relais_requests_total{route=\"/v1/chat/completions\",alias=\"alias-%d\",provider=\"openai\","
			 "model=\"gpt-4o-mini\",code=\"200\",outcome=\"ok\"} 3",
			 i);
		expect(m, line);
	}
	rl_metrics_free(m);
}

static void collect_two_sides(void *user, struct rl_metric_out *out)
{
	(void)user;
	rl_metric_sample(out, (rl_str[]){RL_STR("client")}, 12);
	rl_metric_sample(out, (rl_str[]){RL_STR("provider")}, 3);
}

static void collect_one(void *user, struct rl_metric_out *out)
{
	(void)user;
	rl_metric_sample(out, NULL, 5);
}

static void collect_target(void *user, struct rl_metric_out *out)
{
	(void)user;
	rl_metric_sample(out, (rl_str[]){RL_STR("openai"), RL_STR("gpt-4o-mini")}, 1);
}

static void collect_result(void *user, struct rl_metric_out *out)
{
	(void)user;
	rl_metric_sample(out, (rl_str[]){RL_STR("ok")}, 2);
}

static void feed_all(struct rl_metrics *m, struct rl_access_log *log)
{
	rl_metrics_collect(m, RL_METRIC_CONNECTIONS, collect_two_sides, NULL);
	rl_metrics_collect(m, RL_METRIC_IN_FLIGHT, collect_one, NULL);
	rl_metrics_collect(m, RL_METRIC_TARGET_IN_FLIGHT, collect_target, NULL);
	rl_metrics_collect(m, RL_METRIC_TARGET_AVAILABLE, collect_target, NULL);
	rl_metrics_collect(m, RL_METRIC_RELOADS, collect_result, NULL);
	rl_metrics_collect(m, RL_METRIC_RATE_LIMITED, collect_result, NULL);
	rl_metrics_collect(m, RL_METRIC_CROWDED_OUT, collect_one, NULL);
	rl_metrics_collect(m, RL_METRIC_SHED, collect_one, NULL);
	rl_metrics_collect(m, RL_METRIC_TLS_FAILURES, collect_result, NULL);
	rl_metrics_collect(m, RL_METRIC_LOG_RECORDS, rl_access_log_collect_records, log);
	rl_metrics_collect(m, RL_METRIC_LOG_DROPPED, rl_access_log_collect_dropped, log);
}

/* The text goes in by a pipe; the exit status comes back, or -1 if there is no promtool. */
static int promtool(const char *text)
{
	int in[2], status;

	assert_int_equal(pipe(in), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(in[0], STDIN_FILENO);
		close(in[0]);
		close(in[1]);
		execlp("promtool", "promtool", "check", "metrics", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	for (size_t at = 0, n = strlen(text); at < n;) {
		ssize_t wrote = write(in[1], text + at, n - at);
		if (wrote <= 0)
			break;
		at += (size_t)wrote;
	}
	close(in[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}

/* Every row of the table shows, fed or counted, and has the head that its row says. */
static void every_row_shows(void **state)
{
	struct rl_metrics *m = make(1);
	struct rl_record record = usual();
	struct rl_attempt_record attempts[] = {
		{.provider = RL_STR("a\"\\\n"), .model = RL_STR("b"), .fault = RL_FAULT_TIMEOUT, .maybe_billed = true},
		attempt_ok,
	};
	struct rl_access_log *log;
	static const char *const heads[] = {
#define X(id, type, source, name, labels, buckets, help) "# TYPE " name " ",
		RL_METRICS(X)
#undef X
	};

	(void)state;
	assert_int_equal(rl_access_log_open(RL_STR("off"), 1, RL_ACCESS_LOG_BUFFER_BYTES, &log), RL_OK);
	assert_non_null(rl_metrics_unfed(m));
	feed_all(m, log);
	assert_null(rl_metrics_unfed(m));
	record.attempts = attempts;
	record.n_attempts = 2;
	record.stream = true;
	record.events = 3;
	record.outcome = RL_OUTCOME_CUT;
	consume(m, 0, &record);
	char *text = text_of(m);

	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
		if (!strstr(text, heads[i]))
			fail_msg("no '%s' in:\n%s", heads[i], text);
	assert_true(has_line(text, "relais_build_info{version=\"1.2.3\"} 1"));
	assert_true(has_line(text, "relais_connections{side=\"client\"} 12"));
	int status = promtool(text);

	if (status < 0)
		print_message("promtool is not installed: its check is left out\n");
	else
		assert_int_equal(status, 0);
	free(text);
	rl_access_log_close(log, NULL);
	rl_metrics_free(m);
}

static double number_after(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	if (!at)
		fail_msg("no '%s' in:\n%s", name, text);
	return strtod(at + strlen(name), NULL);
}

static void the_process_is_described(void **state)
{
	struct rl_metrics *m = make(1);
	char *text = text_of(m);
	double now = (double)rl_clock_wall_us() / 1e6;

	(void)state;
	assert_true(number_after(text, "\nprocess_start_time_seconds ") <= now + 0.1);
	assert_true(number_after(text, "\nprocess_start_time_seconds ") > now - 60);
	assert_true(number_after(text, "\nprocess_resident_memory_bytes ") > 100000);
	assert_true(number_after(text, "\nprocess_virtual_memory_bytes ") >
		    number_after(text, "\nprocess_resident_memory_bytes "));
	assert_true(number_after(text, "\nprocess_cpu_seconds_total ") >= 0);
	double fds = number_after(text, "\nprocess_open_fds ");

	assert_true(number_after(text, "\nprocess_max_fds ") >= fds);
	free(text);
	int more[2];

	assert_int_equal(pipe(more), 0);
	text = text_of(m);
	assert_true(number_after(text, "\nprocess_open_fds ") == fds + 2);
	free(text);
	close(more[0]);
	close(more[1]);
	rl_metrics_free(m);
}

static void the_reference_has_every_row(void **state)
{
	struct rl_buf buf;
	static const char *const names[] = {
#define X(id, type, source, name, labels, buckets, help) "| `" name "` | ",
		RL_METRICS(X)
#undef X
	};

	(void)state;
	rl_buf_init(&buf, 1u << 20);
	rl_metrics_reference(&buf);
	rl_buf_byte(&buf, '\0');
	assert_true(rl_buf_ok(&buf));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_non_null(strstr(buf.p, names[i]));
	assert_non_null(strstr(buf.p, "- `relais_overhead_seconds`: 1e-05, 2e-05, 5e-05, 0.0001,"));
	rl_buf_fini(&buf);
}

/* ---- several threads ---- */

#define THREADS 4u
#define ROUNDS 20000u

struct worker {
	struct rl_metrics *metrics;
	unsigned id;
};

static void *work(void *arg)
{
	const struct worker *worker = arg;
	struct rl_record record = usual();
	char name[16];

	for (unsigned i = 0; i < ROUNDS; i++) {
		int n = snprintf(name, sizeof name, "m%u", i % 100);
		record.alias = rl_str_make(name, (size_t)n);
		consume(worker->metrics, worker->id, &record);
	}
	return NULL;
}

static void sums_are_exact(void **state)
{
	struct rl_metrics *m = make(THREADS);
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	char line[128];

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){m, i};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 5; i++)
		free(text_of(m));
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	snprintf(line, sizeof line, "relais_bytes_total{direction=\"in\"} %u", THREADS * ROUNDS * 1200u);
	expect(m, line);
	snprintf(line, sizeof line,
		 "relais_time_to_first_byte_seconds_count{provider=\"openai\",model=\"gpt-4o-mini\"} %u",
		 THREADS * ROUNDS);
	expect(m, line);
	rl_metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_success_is_counted),
		cmocka_unit_test(failover_is_counted_once_per_step),
		cmocka_unit_test(streams_are_counted),
		cmocka_unit_test(clients_do_not_choose_labels),
		cmocka_unit_test(unserved_requests_are_counted),
		cmocka_unit_test(many_kinds_share_the_table),
		cmocka_unit_test(every_row_shows),
		cmocka_unit_test(the_process_is_described),
		cmocka_unit_test(the_reference_has_every_row),
		cmocka_unit_test(sums_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
