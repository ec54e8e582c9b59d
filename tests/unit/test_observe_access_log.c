/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: exact lines, hostile text, and above all the account: every record is
 * one whole line or one dropped, whatever the target does.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/clock.h"
#include "observe/access_line.h"
#include "observe/access_log.h"
#include "observe/sink.h"

static char dir[] = "/tmp/relais-access-XXXXXX";
static char path[64], moved[64];

static struct rl_attempt_record tries[] = {
	{.provider = RL_STR_INIT("local"),
	 .model = RL_STR_INIT("llama"),
	 .fault = RL_FAULT_CONNECT,
	 .reason = RL_STR_INIT("refused"),
	 .start_us = 20,
	 .total_us = 431},
	{.provider = RL_STR_INIT("openai"),
	 .model = RL_STR_INIT("gpt-4o-mini"),
	 .status = 200,
	 .start_us = 460,
	 .connect_us = 1200,
	 .first_byte_us = 41234,
	 .total_us = 52000,
	 .reused = true},
};

static struct rl_addr peer_v4;

static struct rl_record usual(void)
{
	return (struct rl_record){
		.wall_us = 1795348800123456,
		.request_id = RL_STR("req_0123456789abcdefghijkl"),
		.upstream_request_id = RL_STR("up-1"),
		.peer = &peer_v4,
		.client = RL_STR("team-a"),
		.http = RL_STR("2"),
		.method = RL_STR("POST"),
		.path = RL_STR("/v1/chat/completions?key=sk-secret"),
		.operation = RL_OP_CHAT,
		.route = RL_STR("/v1/chat/completions"),
		.model_asked = RL_STR("assistant"),
		.alias = RL_STR("assistant"),
		.provider = tries[1].provider,
		.model = tries[1].model,
		.attempts = tries,
		.n_attempts = 2,
		.status = 200,
		.outcome = RL_OUTCOME_OK,
		.stream = true,
		.committed = true,
		.bytes_in = 1200,
		.bytes_out = 13000,
		.events = 200,
		.usage = {.known = true, .prompt_tokens = 100, .completion_tokens = 20, .cached_tokens = 64},
		.first_byte_us = 42005,
		.total_us = 52600,
		.overhead_us = 35,
	};
}

/* The line of a record, NUL in place of its line feed; the caller frees it. */
static char *line_of(const struct rl_record *record)
{
	struct rl_buf buf;

	rl_buf_init(&buf, RL_LINE_MAX);
	rl_access_line(record, &buf);
	assert_true(rl_buf_ok(&buf));
	assert_int_equal(buf.p[buf.n - 1], '\n');
	buf.p[buf.n - 1] = '\0';
	assert_int_equal(strlen(buf.p), buf.n - 1);
	return buf.p;
}

static void a_line_is_exact(void **state)
{
	struct rl_record record = usual();
	char *line = line_of(&record);

	(void)state;
	assert_string_equal(
		line,
		"{\"time\":\"2026-11-22T12:00:00.123Z\",\"request_id\":\"req_0123456789abcdefghijkl\","
		"\"upstream_request_id\":\"up-1\",\"client\":\"team-a\",\"peer\":\"127.0.0.1:54321\",\"http\":\"2\",\"method\":\"POST\","
		"\"path\":\"/v1/chat/completions\",\"route\":\"/v1/chat/completions\",\"operation\":\"chat\","
		"\"model_asked\":\"assistant\",\"alias\":\"assistant\",\"provider\":\"openai\",\"model\":\"gpt-4o-mini\","
		"\"status\":200,\"outcome\":\"ok\",\"error\":null,\"error_text\":null,\"stream\":true,\"committed\":true,"
		"\"n_attempts\":2,\"attempts\":["
		"{\"provider\":\"local\",\"model\":\"llama\",\"status\":null,\"fault\":\"connect\",\"reason\":\"refused\","
		"\"start_ms\":0.020,\"connect_ms\":null,\"ttfb_ms\":null,\"total_ms\":0.431,\"reused\":false,"
		"\"maybe_billed\":false},"
		"{\"provider\":\"openai\",\"model\":\"gpt-4o-mini\",\"status\":200,\"fault\":null,\"reason\":null,"
		"\"start_ms\":0.460,\"connect_ms\":1.200,\"ttfb_ms\":41.234,\"total_ms\":52.000,\"reused\":true,"
		"\"maybe_billed\":false}],"
		"\"bytes_in\":1200,\"bytes_out\":13000,\"events\":200,\"tokens\":{\"prompt\":100,\"completion\":20,"
		"\"cached\":64,\"cache_write\":0,\"reasoning\":0},\"ttfb_ms\":42.005,\"total_ms\":52.600,"
		"\"overhead_us\":35}");
	free(line);
}

static void nothing_known_is_null(void **state)
{
	struct rl_record record = {.outcome = RL_OUTCOME_LEFT, .fault = RL_FAULT_CANCELLED};
	char *line = line_of(&record);

	(void)state;
	assert_string_equal(
		line,
		"{\"time\":\"1970-01-01T00:00:00.000Z\",\"request_id\":null,\"upstream_request_id\":null,\"client\":null,"
		"\"peer\":null,\"http\":null,\"method\":null,\"path\":null,\"route\":null,\"operation\":null,\"model_asked\":null,"
		"\"alias\":null,\"provider\":null,\"model\":null,\"status\":null,\"outcome\":\"left\","
		"\"error\":\"cancelled\",\"error_text\":null,\"stream\":false,\"committed\":false,\"n_attempts\":0,"
		"\"attempts\":[],\"bytes_in\":0,\"bytes_out\":0,\"events\":0,\"tokens\":null,\"ttfb_ms\":null,"
		"\"total_ms\":0.000,\"overhead_us\":0}");
	free(line);
}

static void peers_of_all_families(void **state)
{
	struct rl_record record = usual();
	struct rl_addr peer = {.len = sizeof(struct sockaddr_in6)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	(void)state;
	memcpy(&peer.sa, &v6, sizeof v6);
	record.peer = &peer;
	char *line = line_of(&record);

	assert_non_null(strstr(line, "\"peer\":\"[::1]:80\""));
	free(line);
	peer = (struct rl_addr){.sa = {.ss_family = AF_UNIX}};
	line = line_of(&record);
	assert_non_null(strstr(line, "\"peer\":\"unix\""));
	free(line);
}

/* Every byte value alone, at each place of a word of eight, in a text that is otherwise plain. */
static void every_byte_is_valid_json(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 11; at++) {
			char text[11];
			struct rl_record record = usual();

			memset(text, 'a', sizeof text);
			text[at] = (char)c;
			record.client = rl_str_make(text, sizeof text);
			char *line = line_of(&record);
			yyjson_doc *doc = yyjson_read(line, strlen(line), 0);

			assert_non_null(doc);
			yyjson_val *client = yyjson_obj_get(yyjson_doc_get_root(doc), "client");
			if (c < 0x80) {
				assert_int_equal(yyjson_get_len(client), sizeof text);
				assert_memory_equal(yyjson_get_str(client), text, sizeof text);
			}
			yyjson_doc_free(doc);
			for (const char *p = line; *p; p++)
				assert_true((unsigned char)*p >= 0x20 && *p != 0x7F);
			free(line);
		}
	}
}

/* 1 MB of each kind of bad text in every field at once. */
static void hostile_text_is_cut_and_escaped(void **state)
{
	static const char *const evils[] = {
		"\n", "\x1b[2J", "\xff", "\"", "\\", "%n%s", "${jndi:ldap://x}", "\xe2\x80\xa8", "\xF0\x9F\x98\x80"};
	size_t big_bytes = 1u << 20;
	char *big = malloc(big_bytes);
	struct rl_attempt_record attempts[40];

	(void)state;
	assert_non_null(big);
	for (size_t e = 0; e < sizeof evils / sizeof evils[0]; e++) {
		size_t n = strlen(evils[e]);
		rl_str text = rl_str_make(big, big_bytes);

		for (size_t at = 0; at < big_bytes; at++)
			big[at] = evils[e][at % n];
		struct rl_record record = usual();

		record.request_id = record.upstream_request_id = record.client = record.method = record.path = text;
		record.route = record.model_asked = record.alias = record.provider = record.model = record.error = text;
		record.attempts = attempts;
		record.n_attempts = 40;
		for (size_t i = 0; i < 40; i++)
			attempts[i] = (struct rl_attempt_record){.provider = text, .model = text, .reason = text};
		char *line = line_of(&record);

		yyjson_doc *doc = yyjson_read(line, strlen(line), 0);
		assert_non_null(doc);
		yyjson_val *root = yyjson_doc_get_root(doc);
		assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "attempts")), RL_LINE_ATTEMPTS_MAX);
		assert_int_equal(yyjson_get_uint(yyjson_obj_get(root, "n_attempts")), 40);
		assert_true(yyjson_get_len(yyjson_obj_get(root, "client")) > 0);
		yyjson_doc_free(doc);
		for (const char *p = line; *p; p++)
			assert_true((unsigned char)*p >= 0x20 && *p != 0x7F);
		free(line);
	}
	free(big);
}

static void a_cut_keeps_characters_whole(void **state)
{
	struct rl_record record = usual();
	char text[RL_LINE_NAME_MAX + 8];

	(void)state;
	memset(text, 'a', sizeof text);
	memcpy(text + RL_LINE_NAME_MAX - 1, "\xF0\x9F\x98\x80", 4);
	record.client = rl_str_make(text, sizeof text);
	char *line = line_of(&record);

	assert_null(strstr(line, "\xF0"));
	assert_null(strstr(line, "\xEF\xBF\xBD"));
	free(line);
}

/* ---- the writer ---- */

static struct rl_access_log *open_at(const char *target, unsigned workers, size_t buffer_bytes)
{
	struct rl_access_log *log;

	assert_int_equal(rl_access_log_open(rl_str_of(target), workers, buffer_bytes, &log), RL_OK);
	return log;
}

static void give(struct rl_access_log *log, unsigned worker, const struct rl_record *record)
{
	rl_access_log_sink.consume(log, worker, record);
}

static char *read_all(const char *name, size_t *n)
{
	FILE *file = fopen(name, "re");
	struct stat st;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	char *text = malloc((size_t)st.st_size + 1);
	assert_non_null(text);
	*n = fread(text, 1, (size_t)st.st_size, file);
	text[*n] = '\0';
	fclose(file);
	return text;
}

/* How many whole lines, each of them a JSON object; fails on anything else. */
static uint64_t lines_in(const char *text, size_t n)
{
	uint64_t lines = 0;

	for (const char *at = text, *end; at < text + n; at = end + 1) {
		end = memchr(at, '\n', (size_t)(text + n - at));
		assert_non_null(end);
		assert_int_equal(*at, '{');
		assert_int_equal(end[-1], '}');
		if (lines++ % 1000 == 0) {
			yyjson_doc *doc = yyjson_read(at, (size_t)(end - at), 0);
			assert_non_null(doc);
			yyjson_doc_free(doc);
		}
	}
	return lines;
}

static uint64_t lines_of_file(const char *name)
{
	size_t n;
	char *text = read_all(name, &n);
	uint64_t lines = lines_in(text, n);

	free(text);
	return lines;
}

static void a_file_is_made_and_appended_to(void **state)
{
	struct rl_record record = usual();
	struct rl_access_log_stats stats;
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	for (uint64_t i = 1; i <= 2; i++) {
		struct rl_access_log *log = open_at(path, 1, RL_ACCESS_LOG_BUFFER_BYTES);
		give(log, 0, &record);
		rl_access_log_close(log, &stats);
		assert_int_equal(stats.records, 1);
		assert_int_equal(stats.written, 1);
		assert_int_equal(stats.dropped, 0);
		assert_int_equal(lines_of_file(path), i);
	}
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	unlink(path);
}

static void lines_come_without_closing(void **state)
{
	struct rl_access_log *log = open_at(path, 2, RL_ACCESS_LOG_BUFFER_BYTES);
	struct rl_record record = usual();
	struct rl_access_log_stats stats = {0};

	(void)state;
	/* A second round, since the writer must come to rest and wake again. */
	for (uint64_t round = 1; round <= 2; round++) {
		give(log, 0, &record);
		give(log, 1, &record);
		uint64_t until_us = rl_clock_us() + 5000000;
		while (stats.written < 2 * round && rl_clock_us() < until_us) {
			usleep(5000);
			rl_access_log_stats(log, &stats);
		}
		assert_int_equal(stats.written, 2 * round);
		assert_int_equal(lines_of_file(path), 2 * round);
	}
	rl_access_log_close(log, NULL);
	unlink(path);
}

static void what_cannot_be_opened_is_refused(void **state)
{
	struct rl_access_log *log;

	(void)state;
	assert_int_equal(rl_access_log_open(rl_str_of(dir), 1, 4096, &log), RL_ERR_IO);
	assert_null(log);
	assert_int_not_equal(rl_access_log_open(RL_STR("/nowhere/at/all"), 1, 4096, &log), RL_OK);
	assert_null(log);
	rl_access_log_close(NULL, NULL);
}

static void off_is_quiet(void **state)
{
	struct rl_access_log *log = open_at("off", 1, 4096);
	struct rl_record record = usual();
	struct rl_access_log_stats stats;

	(void)state;
	give(log, 0, &record);
	rl_access_log_reopen(log);
	rl_access_log_close(log, &stats);
	assert_int_equal(stats.records + stats.written + stats.dropped, 0);
	assert_int_equal(access("off", F_OK), -1);
}

/* ---- several threads ---- */

#define THREADS 4u
#define ROUNDS 100000u

struct worker {
	struct rl_access_log *log;
	unsigned id, rounds;
};

static void *work(void *arg)
{
	const struct worker *worker = arg;
	struct rl_record record = usual();

	for (unsigned i = 0; i < worker->rounds; i++)
		give(worker->log, worker->id, &record);
	return NULL;
}

static void threads_start(pthread_t threads[THREADS], struct worker workers[THREADS], struct rl_access_log *log,
			  unsigned rounds)
{
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){log, i, rounds};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
}

static void threads_join(pthread_t threads[THREADS])
{
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void each_record_is_one_line_or_one_drop(void **state)
{
	/* The first has to drop, the second may. */
	static const size_t buffers[] = {4096, RL_ACCESS_LOG_BUFFER_BYTES};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct rl_access_log *log = open_at(path, THREADS, buffers[k]);
		struct rl_access_log_stats stats;
		struct worker workers[THREADS];
		pthread_t threads[THREADS];

		threads_start(threads, workers, log, ROUNDS);
		threads_join(threads);
		rl_access_log_close(log, &stats);
		assert_int_equal(stats.records, THREADS * ROUNDS);
		assert_int_equal(stats.written + stats.dropped, stats.records);
		assert_true(stats.written > 0);
		if (k == 0)
			assert_true(stats.dropped > 0);
		assert_int_equal(lines_of_file(path), stats.written);
		unlink(path);
	}
}

static void rotation_loses_nothing(void **state)
{
	struct rl_access_log *log = open_at(path, THREADS, RL_ACCESS_LOG_BUFFER_BYTES);
	struct rl_access_log_stats stats;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	uint64_t lines = 0;

	(void)state;
	threads_start(threads, workers, log, ROUNDS / 4);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(rename(path, moved), 0);
		rl_access_log_reopen(log);
		for (int k = 0; k < 1000 && access(path, F_OK) != 0; k++)
			usleep(5000);
		assert_int_equal(access(path, F_OK), 0);
		lines += lines_of_file(moved); /* nothing is written to it any more */
	}
	threads_join(threads);
	rl_access_log_close(log, &stats);
	lines += lines_of_file(path);
	assert_int_equal(stats.written + stats.dropped, THREADS * (ROUNDS / 4));
	assert_int_equal(lines, stats.written);
	unlink(path);
	unlink(moved);
}

static void a_failed_reopen_keeps_the_old_file(void **state)
{
	struct rl_access_log *log = open_at(path, 1, RL_ACCESS_LOG_BUFFER_BYTES);
	struct rl_record record = usual();
	struct rl_access_log_stats stats;

	(void)state;
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	rl_access_log_reopen(log);
	usleep(50000);
	give(log, 0, &record);
	rl_access_log_close(log, &stats);
	assert_int_equal(stats.written, 1);
	assert_int_equal(lines_of_file(moved), 1);
	rmdir(path);
	unlink(moved);
}

/* ---- targets that do not take lines ---- */

static void a_full_disk_is_only_drops(void **state)
{
	struct rl_access_log *log = open_at("/dev/full", THREADS, 65536);
	struct rl_access_log_stats stats;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];

	(void)state;
	threads_start(threads, workers, log, ROUNDS / 10);
	threads_join(threads);
	uint64_t begin_us = rl_clock_us();

	rl_access_log_close(log, &stats);
	assert_true(rl_clock_us() - begin_us < 1500000); /* does not wait for a miracle */
	assert_int_equal(stats.records, THREADS * (ROUNDS / 10));
	assert_int_equal(stats.written, 0);
	assert_int_equal(stats.dropped, stats.records);
}

/* Standard output is a pipe for a while; its ends come back. */
static int stdout_is_pipe(int *read_end)
{
	int ends[2], old = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);

	fflush(stdout);
	assert_true(old >= 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(dup2(ends[1], STDOUT_FILENO) >= 0);
	close(ends[1]);
	*read_end = ends[0];
	return old;
}

static void stdout_back(int old)
{
	dup2(old, STDOUT_FILENO);
	close(old);
}

/* What is in the pipe now, to its end or until it is dry. */
static uint64_t drain(int fd, char *text, size_t max, size_t *n)
{
	*n = 0;
	for (ssize_t got; *n < max && (got = read(fd, text + *n, max - *n)) > 0;)
		*n += (size_t)got;
	return lines_in(text, *n);
}

static void a_full_pipe_holds_nobody_up(void **state)
{
	struct rl_record record = usual();
	struct rl_access_log_stats stats;
	size_t max = 16u << 20, n;
	char *text = malloc(max);
	int read_end, old = stdout_is_pipe(&read_end);
	struct rl_access_log *log = open_at("stdout", 1, 131072);

	(void)state;
	for (unsigned i = 0; i < 5000; i++) /* 6 MB into 64 KiB of pipe and 2 * 128 KiB of buffers */
		give(log, 0, &record);
	uint64_t begin_us = rl_clock_us();

	rl_access_log_close(log, &stats);
	uint64_t took_us = rl_clock_us() - begin_us;

	stdout_back(old);
	assert_non_null(text);
	uint64_t lines = drain(read_end, text, max, &n);

	assert_true(took_us < 4000000);
	assert_int_equal(stats.records, 5000);
	assert_int_equal(stats.written + stats.dropped, 5000);
	assert_true(stats.written > 0 && stats.dropped > 0);
	assert_int_equal(lines, stats.written);
	close(read_end);
	free(text);
}

struct reader {
	int fd;
	uint64_t lines;
};

/* Takes little at a time, with rests: the writer meets short writes and a full pipe again and again. */
static void *read_slowly(void *arg)
{
	struct reader *reader = arg;
	char part[1777];

	for (ssize_t got; (got = read(reader->fd, part, sizeof part)) > 0;) {
		for (ssize_t i = 0; i < got; i++)
			reader->lines += part[i] == '\n';
		usleep(200);
	}
	return NULL;
}

static void a_slow_reader_gets_whole_lines(void **state)
{
	struct rl_record record = usual();
	struct rl_access_log_stats stats;
	struct reader reader = {0};
	pthread_t thread;
	int old = stdout_is_pipe(&reader.fd);
	struct rl_access_log *log = open_at("stdout", 2, 65536);

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
	for (unsigned i = 0; i < 2000; i++) {
		give(log, i & 1, &record);
		usleep(100);
	}
	rl_access_log_close(log, &stats);
	stdout_back(old); /* the last writing end: the reader sees the end */
	pthread_join(thread, NULL);
	assert_int_equal(stats.written + stats.dropped, 2000);
	assert_int_equal(reader.lines, stats.written);
	close(reader.fd);
}

static void a_reader_that_leaves_is_only_drops(void **state)
{
	struct rl_record record = usual();
	struct rl_access_log_stats stats;
	int read_end, old = stdout_is_pipe(&read_end);
	struct rl_access_log *log = open_at("stdout", 1, RL_ACCESS_LOG_BUFFER_BYTES);

	(void)state;
	close(read_end);
	for (unsigned i = 0; i < 1000; i++)
		give(log, 0, &record); /* SIGPIPE would kill the test */
	rl_access_log_close(log, &stats);
	stdout_back(old);
	assert_int_equal(stats.records, 1000);
	assert_int_equal(stats.written, 0);
	assert_int_equal(stats.dropped, 1000);
}

/* A terminal that nobody reads: write(2) itself may hang there. */
static void a_stopped_terminal_ends_in_time(void **state)
{
	struct rl_record record = usual();
	struct rl_access_log_stats stats;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char name[64];

	(void)state;
	if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
		print_message("there are no terminals here (/dev/pts)\n");
		skip();
	}
	assert_int_equal(ptsname_r(master, name, sizeof name), 0);
	int terminal = open(name, O_WRONLY | O_NOCTTY | O_CLOEXEC), old = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);

	fflush(stdout);
	assert_true(terminal >= 0 && old >= 0 && dup2(terminal, STDOUT_FILENO) >= 0);
	struct rl_access_log *log = open_at("stdout", 1, 65536);

	for (unsigned i = 0; i < 1000; i++)
		give(log, 0, &record);
	uint64_t begin_us = rl_clock_us();

	rl_access_log_close(log, &stats);
	uint64_t took_us = rl_clock_us() - begin_us;

	stdout_back(old);
	assert_true(took_us < 5000000);
	assert_int_equal(stats.written + stats.dropped, 1000);
	assert_true(stats.dropped > 0);
	close(terminal);
	close(master);
}

/* A disk that gives room again (a named pipe whose reader comes late) gets the lines that were kept. */
static void late_room_is_used(void **state)
{
	struct rl_record record = usual();
	struct rl_access_log_stats stats;
	size_t max = 1u << 20, n;
	char *text = malloc(max);

	(void)state;
	assert_non_null(text);
	assert_int_equal(mkfifo(path, 0600), 0);
	int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(reader >= 0);
	struct rl_access_log *log = open_at(path, 1, RL_ACCESS_LOG_BUFFER_BYTES);

	for (unsigned i = 0; i < 200; i++) /* 240 KB into 64 KiB */
		give(log, 0, &record);
	usleep(400000);
	rl_access_log_stats(log, &stats);
	assert_true(stats.written > 0 && stats.written < 200);
	uint64_t until_us = rl_clock_us() + 5000000;
	size_t got = 0;

	while (stats.written < 200 && rl_clock_us() < until_us) {
		ssize_t more = read(reader, text + got, max - got);
		got += more > 0 ? (size_t)more : 0;
		usleep(1000);
		rl_access_log_stats(log, &stats);
	}
	rl_access_log_close(log, &stats);
	drain(reader, text + got, max - got, &n);
	assert_int_equal(stats.written, 200);
	assert_int_equal(lines_in(text, got + n), 200);
	close(reader);
	unlink(path);
	free(text);
}

static int make_dir(void **state)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(54321), .sin_addr = {htonl(0x7F000001)}};

	(void)state;
	memcpy(&peer_v4.sa, &v4, sizeof v4);
	peer_v4.len = sizeof v4;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/access.log", dir);
	snprintf(moved, sizeof moved, "%s/access.log.1", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	unlink(moved);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_exact),
		cmocka_unit_test(nothing_known_is_null),
		cmocka_unit_test(peers_of_all_families),
		cmocka_unit_test(every_byte_is_valid_json),
		cmocka_unit_test(hostile_text_is_cut_and_escaped),
		cmocka_unit_test(a_cut_keeps_characters_whole),
		cmocka_unit_test(a_file_is_made_and_appended_to),
		cmocka_unit_test(lines_come_without_closing),
		cmocka_unit_test(what_cannot_be_opened_is_refused),
		cmocka_unit_test(off_is_quiet),
		cmocka_unit_test(each_record_is_one_line_or_one_drop),
		cmocka_unit_test(rotation_loses_nothing),
		cmocka_unit_test(a_failed_reopen_keeps_the_old_file),
		cmocka_unit_test(a_full_disk_is_only_drops),
		cmocka_unit_test(a_full_pipe_holds_nobody_up),
		cmocka_unit_test(a_slow_reader_gets_whole_lines),
		cmocka_unit_test(a_reader_that_leaves_is_only_drops),
		cmocka_unit_test(a_stopped_terminal_ends_in_time),
		cmocka_unit_test(late_room_is_used),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
