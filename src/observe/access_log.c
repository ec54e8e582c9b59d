/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See access_log.h. A worker makes its line in memory of its own and copies it into its
 * front buffer under a lock that the writer only holds to exchange front and back. The
 * writer sleeps until some front is no longer empty, gathers for a moment, then takes
 * all fronts and writes them: a few system calls a second, whatever the load.
 *
 * A back buffer that could not be written stays until it is (disk full, nobody reads);
 * meanwhile the front fills up, and then records are dropped and counted.
 */
#include "observe/access_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "observe/access_line.h"

#define GATHER_MS 100u      /* from the first line to the write */
#define URGENT_BYTES 65536u /* in one front: write now */
#define BUSY_MS 10u         /* between tries at a slow reader, each of which waits: */
#define POLL_MS 100         /* for a reader that is slow */
#define RETRY_MS 1000u      /* for a disk that is full */
#define CLOSE_MS 2000u      /* for the last lines */

/* A worker's part. */
struct lane {
	pthread_mutex_t lock;
	struct rl_buf front;               /* under the lock */
	struct rl_buf line;                /* the worker's */
	_Atomic uint64_t records, dropped; /* written by the worker */
	struct rl_buf back;                /* the writer's */
	size_t done;                       /* of back, written */
} __attribute__((aligned(64)));

enum target { TARGET_FILE, TARGET_STREAM /* pipe, terminal, other device */, TARGET_SOCKET };
enum progress { WRITTEN, BUSY /* nobody takes it now */, FULL /* no room for it now */ };

struct rl_access_log {
	bool off;
	char *path; /* NULL for standard output */
	pthread_t thread;

	/* Orders to the writer, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	bool idle;    /* it waits for the first line */
	bool pending; /* a front is not empty */
	bool urgent, reopen, stop;
	bool finished; /* the writer's answer to stop, told by `done` */

	/* The writer's. */
	int fd;
	enum target kind;               /* write(2) never waits for a reader */
	bool torn;                      /* what stands last in the file is half a line that was given up */
	bool failing;                   /* said so in the program's log */
	unsigned at;                    /* the lane to go on with */
	_Atomic uint64_t written, lost; /* lines */

	unsigned n_lanes;
	struct lane *lanes;
};

static uint64_t load(const _Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

/* By the one thread that writes it. */
static void add(_Atomic uint64_t *n, uint64_t more)
{
	atomic_store_explicit(n, load(n) + more, memory_order_relaxed);
}

/* ---- on the workers ---- */

static void writer_wake(struct rl_access_log *log, bool urgent)
{
	pthread_mutex_lock(&log->lock);
	bool signal_it = log->idle || urgent;

	log->pending = true;
	log->urgent |= urgent;
	pthread_mutex_unlock(&log->lock);
	if (signal_it)
		pthread_cond_signal(&log->wake);
}

static void consume(void *self, unsigned worker, const struct rl_record *record)
{
	struct rl_access_log *log = self;

	if (log->off)
		return;
	assert(worker < log->n_lanes);
	struct lane *lane = &log->lanes[worker];

	rl_buf_reset(&lane->line);
	rl_access_line(record, &lane->line);
	add(&lane->records, 1);
	if (!rl_buf_ok(&lane->line)) {
		add(&lane->dropped, 1);
		return;
	}
	pthread_mutex_lock(&lane->lock);
	size_t before = lane->front.n;

	rl_buf_add(&lane->front, rl_buf_str(&lane->line));
	lane->front.failed = false;
	size_t after = lane->front.n;

	pthread_mutex_unlock(&lane->lock);
	if (after == before)
		add(&lane->dropped, 1);
	else if (before == 0 || (before < URGENT_BYTES && after >= URGENT_BYTES))
		writer_wake(log, after >= URGENT_BYTES);
}

const struct rl_sink rl_access_log_sink = {.name = "access_log", .consume = consume};

/* ---- the file ---- */

/*
 * Standard output as a descriptor of our own. What it leads to is shared with other programs, so it cannot be made
 * non-blocking; a terminal, where one stopped by ^S would hold write(2) for ever, is therefore opened once more.
 */
static int stdout_open(void)
{
	char name[64];

	if (ttyname_r(STDOUT_FILENO, name, sizeof name) == 0) {
		int fd = open(name, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd >= 0)
			return fd;
	}
	return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

static enum rl_err target_open(const char *path, int *fd, enum target *kind)
{
	struct stat st;

	/* Not to wait for the reader of a named pipe, not to get a controlling terminal. */
	*fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640)
		   : stdout_open();
	if (*fd < 0)
		return rl_err_from_errno(errno);
	*kind = TARGET_STREAM;
	if (fstat(*fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode)))
		*kind = S_ISREG(st.st_mode) ? TARGET_FILE : TARGET_SOCKET;
	return RL_OK;
}

static const char *target_name(const struct rl_access_log *log)
{
	return log->path ? log->path : "standard output";
}

static uint64_t count_lines(const char *p, size_t n)
{
	uint64_t lines = 0;

	for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
		lines++;
	return lines;
}

/* Back to the beginning of the line that is half out. */
static void lane_rewind(struct lane *lane)
{
	if (!lane->done)
		return;
	const char *end = memrchr(lane->back.p, '\n', lane->done);

	lane->done = end ? (size_t)(end - lane->back.p) + 1 : 0;
}

static void target_reopen(struct rl_access_log *log)
{
	enum target kind = TARGET_STREAM;
	int fd = -1;

	if (!log->path)
		return;
	enum rl_err err = target_open(log->path, &fd, &kind);

	if (err) {
		RL_WARN("access_log", "cannot reopen %s: %s; going on with the old file", log->path, rl_err_text(err));
		return;
	}
	close(log->fd);
	log->fd = fd;
	log->kind = kind;
	log->torn = false;
	/* A line is whole in the new file or whole in the old one. */
	for (unsigned i = 0; i < log->n_lanes; i++)
		lane_rewind(&log->lanes[i]);
}

/* How much to write at once: to pipes whole lines that the kernel takes as one piece or not at all (pipe(7), PIPE_BUF). */
static size_t piece(const struct rl_access_log *log, const char *p, size_t n)
{
	if (log->kind == TARGET_FILE || n <= PIPE_BUF)
		return n;
	const char *end = memrchr(p, '\n', PIPE_BUF);

	return end ? (size_t)(end - p) + 1 : PIPE_BUF;
}

/* write(2) that waits for a reader, but not for long: what poll(2) calls writable takes a piece without blocking. */
static ssize_t target_write(const struct rl_access_log *log, const char *p, size_t n)
{
	struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
	ssize_t wrote;

	if (log->kind != TARGET_FILE && poll(&ready, 1, POLL_MS) <= 0) {
		errno = EAGAIN;
		return -1;
	}
	do {
		wrote = log->kind == TARGET_SOCKET ? send(log->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL)
						   : write(log->fd, p, n);
	} while (wrote < 0 && errno == EINTR);
	return wrote;
}

static void say_failing(struct rl_access_log *log, int errnum)
{
	char text[128];

	if (log->failing)
		return;
	log->failing = true;
	RL_WARN("access_log", "cannot write to %s: %s; records that find no room are dropped and counted",
		target_name(log), strerror_r(errnum, text, sizeof text));
}

static void say_recovered(struct rl_access_log *log)
{
	if (!log->failing)
		return;
	log->failing = false;
	RL_INFO("access_log", "%s takes lines again", target_name(log));
}

/* Gives up what is left of a back buffer. */
static void lane_discard(struct rl_access_log *log, struct lane *lane)
{
	size_t done = lane->done;

	if (!lane->back.n)
		return;
	lane_rewind(lane);
	log->torn |= lane->done != done;
	add(&log->lost, count_lines(lane->back.p + lane->done, lane->back.n - lane->done));
	rl_buf_reset(&lane->back);
	lane->done = 0;
}

/* What a failed write means. A target that is gone for good costs the lines at once, the others are tried again. */
static enum progress failed_write(struct rl_access_log *log, struct lane *lane, int errnum)
{
	switch (errnum) {
	case EAGAIN:
		return BUSY;
	case ENOSPC:
	case EDQUOT:
	case EIO:
	case ENOMEM:
	case ENOBUFS:
		say_failing(log, errnum);
		return FULL;
	default:
		say_failing(log, errnum);
		lane_discard(log, lane);
		return WRITTEN;
	}
}

/* Writes the rest of the back buffer. WRITTEN: it is empty now. */
static enum progress lane_write(struct rl_access_log *log, struct lane *lane)
{
	while (lane->done < lane->back.n) {
		const char *p = log->torn ? "\n" : lane->back.p + lane->done;
		ssize_t n = target_write(log, p, log->torn ? 1 : piece(log, p, lane->back.n - lane->done));

		if (n <= 0) {
			enum progress progress = failed_write(log, lane, n ? errno : EAGAIN);
			if (progress != WRITTEN)
				return progress;
			break;
		}
		say_recovered(log);
		if (log->torn) {
			log->torn = false;
			continue;
		}
		add(&log->written, count_lines(p, (size_t)n));
		lane->done += (size_t)n;
	}
	rl_buf_reset(&lane->back);
	lane->done = 0;
	return WRITTEN;
}

/* ---- the writer's thread ---- */

/* Takes the front if the back is empty; whether there is something to write. */
static bool lane_take(struct lane *lane)
{
	if (lane->back.n)
		return true;
	pthread_mutex_lock(&lane->lock);
	struct rl_buf full = lane->front;

	lane->front = lane->back;
	pthread_mutex_unlock(&lane->lock);
	lane->back = full;
	return full.n > 0;
}

/* One round over the lanes, beginning where the last one got stuck. */
static enum progress write_round(struct rl_access_log *log)
{
	for (unsigned i = 0; i < log->n_lanes; i++) {
		struct lane *lane = &log->lanes[log->at];

		/* Behind a back that is left from before waits a front of which nobody will tell again. */
		for (int takes = lane->back.n ? 2 : 1; takes && lane_take(lane); takes--) {
			enum progress progress = lane_write(log, lane);
			if (progress != WRITTEN)
				return progress;
		}
		log->at = (log->at + 1) % log->n_lanes;
	}
	return WRITTEN;
}

static void deadline_in(unsigned ms, struct timespec *out)
{
	clock_gettime(CLOCK_MONOTONIC, out);
	out->tv_sec += ms / 1000;
	out->tv_nsec += (long)(ms % 1000) * 1000000;
	if (out->tv_nsec >= 1000000000) {
		out->tv_sec++;
		out->tv_nsec -= 1000000000;
	}
}

/* Sleeps until there is a reason to write. `last` is how the last round ended. Lock held. */
static void wait_for_lines(struct rl_access_log *log, enum progress last)
{
	static const unsigned pause_ms[] = {[WRITTEN] = GATHER_MS, [BUSY] = BUSY_MS, [FULL] = RETRY_MS};
	struct timespec deadline;

	log->idle = last == WRITTEN;
	while (log->idle && !log->pending && !log->stop && !log->reopen)
		pthread_cond_wait(&log->wake, &log->lock);
	log->idle = false;
	log->urgent &= last == WRITTEN; /* a full disk is not emptied by haste */
	deadline_in(pause_ms[last], &deadline);
	while (!log->stop && !log->reopen && !log->urgent)
		if (pthread_cond_timedwait(&log->wake, &log->lock, &deadline) == ETIMEDOUT)
			break;
}

/* The rounds after the last record: until all is out, nothing takes it, or time is up. */
static void write_last(struct rl_access_log *log)
{
	uint64_t deadline_us = rl_clock_us() + CLOSE_MS * 1000;
	enum progress progress;

	do {
		progress = write_round(log);
	} while (progress == BUSY && rl_clock_us() < deadline_us);
}

static void *writer_run(void *arg)
{
	struct rl_access_log *log = arg;
	enum progress last = WRITTEN;
	bool stop = false, reopen;

	while (!stop) {
		pthread_mutex_lock(&log->lock);
		wait_for_lines(log, last);
		log->pending = log->urgent = false;
		reopen = log->reopen;
		log->reopen = false;
		stop = log->stop;
		pthread_mutex_unlock(&log->lock);
		if (reopen)
			target_reopen(log);
		if (!stop)
			last = write_round(log);
	}
	write_last(log);
	pthread_mutex_lock(&log->lock);
	log->finished = true;
	pthread_cond_signal(&log->done);
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

/* Signals are the main thread's; a broken pipe shows as EPIPE, a file size limit as EFBIG. */
static int writer_start(struct rl_access_log *log)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int errnum = pthread_create(&log->thread, NULL, writer_run, log);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!errnum)
		pthread_setname_np(log->thread, "access-log");
	return errnum;
}

/* ---- opening and closing ---- */

static void log_free(struct rl_access_log *log)
{
	for (unsigned i = 0; log->lanes && i < log->n_lanes; i++) {
		struct lane *lane = &log->lanes[i];

		rl_buf_fini(&lane->front);
		rl_buf_fini(&lane->back);
		rl_buf_fini(&lane->line);
		pthread_mutex_destroy(&lane->lock);
	}
	if (log->fd >= 0)
		close(log->fd);
	pthread_cond_destroy(&log->wake);
	pthread_cond_destroy(&log->done);
	pthread_mutex_destroy(&log->lock);
	free(log->lanes);
	free(log->path);
	free(log);
}

static void sync_init(struct rl_access_log *log)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&log->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&log->wake, &attr);
	pthread_cond_init(&log->done, &attr);
	pthread_condattr_destroy(&attr);
}

static bool lanes_init(struct rl_access_log *log, unsigned workers, size_t buffer_bytes)
{
	size_t size = workers * sizeof *log->lanes;

	log->lanes = aligned_alloc(_Alignof(struct lane), size);
	if (!log->lanes)
		return false;
	memset(log->lanes, 0, size);
	log->n_lanes = workers;
	for (unsigned i = 0; i < workers; i++) {
		struct lane *lane = &log->lanes[i];

		pthread_mutex_init(&lane->lock, NULL);
		rl_buf_init(&lane->front, buffer_bytes);
		rl_buf_init(&lane->back, buffer_bytes);
		rl_buf_init(&lane->line, RL_LINE_MAX);
	}
	return true;
}

enum rl_err rl_access_log_open(rl_str target, unsigned workers, size_t buffer_bytes, struct rl_access_log **out)
{
	assert(workers > 0 && target.n > 0);
	struct rl_access_log *log = calloc(1, sizeof *log);
	enum rl_err err = RL_ERR_NOMEM;

	*out = NULL;
	if (!log)
		return err;
	log->fd = -1;
	sync_init(log);
	log->off = rl_str_eq(target, RL_STR("off"));
	if (log->off) {
		*out = log;
		return RL_OK;
	}
	if (!rl_str_eq(target, RL_STR("stdout")) && !(log->path = strndup(target.p, target.n)))
		goto fail;
	err = target_open(log->path, &log->fd, &log->kind);
	if (err)
		goto fail;
	err = RL_ERR_NOMEM;
	if (!lanes_init(log, workers, buffer_bytes))
		goto fail;
	int errnum = writer_start(log);

	err = errnum ? rl_err_from_errno(errnum) : RL_OK;
	if (err)
		goto fail;
	*out = log;
	return RL_OK;
fail:
	log_free(log);
	return err;
}

/* False if the writer did not come back in time: it hangs in the kernel, on a file system that is gone. */
static bool writer_stop(struct rl_access_log *log)
{
	struct timespec deadline;

	deadline_in(CLOSE_MS + 500, &deadline);
	pthread_mutex_lock(&log->lock);
	log->stop = true;
	pthread_cond_signal(&log->wake);
	while (!log->finished)
		if (pthread_cond_timedwait(&log->done, &log->lock, &deadline) == ETIMEDOUT)
			break;
	bool finished = log->finished;

	pthread_mutex_unlock(&log->lock);
	if (finished)
		pthread_join(log->thread, NULL);
	else
		pthread_detach(log->thread);
	return finished;
}

void rl_access_log_close(struct rl_access_log *log, struct rl_access_log_stats *final)
{
	if (!log)
		return;
	bool finished = log->off || writer_stop(log);

	for (unsigned i = 0; finished && i < log->n_lanes; i++) {
		lane_discard(log, &log->lanes[i]);
		lane_take(&log->lanes[i]);
		lane_discard(log, &log->lanes[i]);
	}
	if (final) {
		rl_access_log_stats(log, final);
		if (!finished)
			final->dropped = final->records - final->written;
	}
	/* The memory of a writer that hangs stays its own until the process ends. */
	if (finished)
		log_free(log);
}

void rl_access_log_reopen(struct rl_access_log *log)
{
	pthread_mutex_lock(&log->lock);
	log->reopen = true;
	pthread_mutex_unlock(&log->lock);
	pthread_cond_signal(&log->wake);
}

void rl_access_log_stats(const struct rl_access_log *log, struct rl_access_log_stats *stats)
{
	*stats = (struct rl_access_log_stats){.written = load(&log->written), .dropped = load(&log->lost)};
	for (unsigned i = 0; i < log->n_lanes; i++) {
		stats->records += load(&log->lanes[i].records);
		stats->dropped += load(&log->lanes[i].dropped);
	}
}

void rl_access_log_collect_records(void *user, struct rl_metric_out *out)
{
	struct rl_access_log_stats stats;

	rl_access_log_stats(user, &stats);
	rl_metric_sample(out, NULL, (double)stats.records);
}

void rl_access_log_collect_dropped(void *user, struct rl_metric_out *out)
{
	struct rl_access_log_stats stats;

	rl_access_log_stats(user, &stats);
	rl_metric_sample(out, NULL, (double)stats.dropped);
}
