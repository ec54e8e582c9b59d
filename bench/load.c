/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of `make bench`: one request, sent over keep-alive connections on a fixed schedule that no answer can slow
 * down (open loop), or one after the other (--rate 0, for the gates). Every answer's status, length and ending is
 * checked, events of streams are counted.
 *
 * Latency counts from the moment when a request was due, not from when it could be sent, so that a stalled proxy
 * can't hide its queue. CPU time of watched processes is read at both ends of the measured window, by this process,
 * so that requests and CPU time belong to the same window. The result is one JSON object on standard output.
 *
 * With several --port they take turns, --block-ms each, in changing order: what the machine does meanwhile happens to all
 * of them alike. The first fifth of a block is not measured, since the one whose turn it is finds cold caches.
 * --samples FILE then holds each latency that was measured: three numbers of 32 bits, which port, which block, how many
 * nanoseconds.
 *
 * With --tls 1 the connections are TLS ones; the certificate is not looked at, handshakes are made before the window.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define HEAD_MAX 4096u
#define READ_MAX 65536u
#define WATCH_MAX 8u
#define TARGETS_MAX 4u
#define SETTLING_SHARE 5u
#define EVENTS_A_TURN 256
#define OPEN_FIRST_MAX 1024u /* more connections than this are opened when their first request is due */
#define STALL_NS (30 * SECOND)
#define DRAIN_NS (10 * SECOND) /* for the answers that are still under way at the end */
#define DONE_MARK "data: [DONE]\n\n"

enum phase { HEAD = 0, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, COMPLETE };

/* Where requests go, and the connections to it. */
struct target {
	struct sockaddr_in to;
	struct conn *conns, *idle, **idle_end;
};

struct sample {
	uint32_t target, block, ns;
};

struct conn {
	int fd;
	struct target *target;
	SSL *tls; /* NULL: plain */
	bool busy;
	struct conn *next_idle;
	uint64_t due_ns;   /* when its request should have been sent */
	uint32_t block;    /* that this was in */
	bool settled;      /* and not in its first part */
	size_t sent;       /* bytes of the request that are out */
	uint64_t event_ns; /* when its last event came */
	enum phase phase;
	size_t head_n;
	uint64_t left; /* of the body, or of the chunk */
	size_t line_n; /* bytes of the present trailer line */
	uint64_t length;
	uint64_t events;
	unsigned status;
	char last;     /* byte of the body */
	char tail[16]; /* end of the body */
	size_t tail_n;
	char head[HEAD_MAX];
};

static struct {
	struct target targets[TARGETS_MAX];
	unsigned n_targets;
	uint64_t block_ns;
	const char *samples;
	uint64_t interval_ns; /* 0: one after the other */
	uint64_t warmup_ns, window_ns;
	uint64_t requests; /* stop after so many; 0: by time */
	unsigned n_conns;
	uint64_t expect_length, expect_events; /* 0: not checked */
	bool stream, tls;
	uint16_t step_port; /* of the origin that waits for word of each event; 0: it does not */
	int watch[WATCH_MAX];
	unsigned n_watch;
	char *request;
	size_t request_n;
} opt;

static struct {
	int epoll, step_fd;
	SSL_CTX *tls;
	uint64_t start_ns;
	uint64_t next;     /* number of the request to be sent next */
	uint64_t pending;  /* requests under way */
	uint64_t open_max; /* the most of them at once */
	bool measuring;
	/* Of the measured window: */
	uint64_t answers, events, reads, merged, late_ns, gap_ns;
	uint64_t cpu_ns[WATCH_MAX], own_cpu_ns, measured_ns;
	struct sample *samples;
	size_t n_samples, room_samples;
	/* Of the whole run: */
	uint64_t all_answers, errors, reconnects;
	char first_error[200];
} run;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list ap;

	fputs("load: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static void __attribute__((format(printf, 1, 2))) count_error(const char *format, ...)
{
	va_list ap;

	if (run.errors++)
		return;
	va_start(ap, format);
	vsnprintf(run.first_error, sizeof run.first_error, format, ap);
	va_end(ap);
	for (char *p = run.first_error; *p; p++) /* it goes into JSON as it is */
		if (*p < ' ' || *p == '"' || *p == '\\')
			*p = ' ';
}

/* ---- the scheduler's own account ---- */

/* Nanoseconds on a processor, of all threads of a process. */
static uint64_t cpu_of(int pid)
{
	char path[300], text[128];
	uint64_t all = 0;
	struct dirent *entry;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	if (!dir)
		die("process %d is gone", pid);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, entry->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* a thread that has just ended */
		ssize_t n = read(fd, text, sizeof text - 1);
		close(fd);
		if (n <= 0)
			continue;
		text[n] = '\0';
		all += strtoull(text, NULL, 10);
	}
	closedir(dir);
	return all;
}

/* Both ends of the window: now minus what was counted before is what the window took. */
static void take_cpu(void)
{
	for (unsigned i = 0; i < opt.n_watch; i++)
		run.cpu_ns[i] = cpu_of(opt.watch[i]) - run.cpu_ns[i];
	run.own_cpu_ns = cpu_of(getpid()) - run.own_cpu_ns;
	run.measured_ns = now_ns() - run.measured_ns;
}

static void begin_window(void)
{
	run.answers = run.events = run.reads = run.merged = run.late_ns = run.gap_ns = 0;
	run.n_samples = 0;
	run.measuring = true;
	take_cpu();
}

static void end_window(void)
{
	take_cpu();
	run.measuring = false;
}

static void note_latency(const struct conn *c, uint64_t ns)
{
	if (run.n_samples == run.room_samples) {
		run.room_samples = run.room_samples ? 2 * run.room_samples : 65536;
		run.samples = realloc(run.samples, run.room_samples * sizeof *run.samples);
		if (!run.samples)
			die("out of memory");
	}
	run.samples[run.n_samples++] = (struct sample){.target = (uint32_t)(c->target - opt.targets),
						       .block = c->block,
						       .ns = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX};
}

/* ---- connections ---- */

static void go_idle(struct conn *c)
{
	c->busy = false;
	c->next_idle = NULL;
	*c->target->idle_end = c;
	c->target->idle_end = &c->next_idle;
}

static struct conn *take_idle(struct target *target)
{
	struct conn *c = target->idle;

	if (!c)
		return NULL;
	target->idle = c->next_idle;
	if (!target->idle)
		target->idle_end = &target->idle;
	return c;
}

/* The handshake, on a socket that still blocks. */
static bool open_tls(struct conn *c)
{
	c->tls = SSL_new(run.tls);
	if (!c->tls || !SSL_set_fd(c->tls, c->fd))
		die("out of memory");
	return SSL_connect(c->tls) == 1;
}

static void close_conn(struct conn *c)
{
	SSL_free(c->tls);
	c->tls = NULL;
	close(c->fd);
	c->fd = -1;
}

static ssize_t read_conn(struct conn *c, void *into, size_t room)
{
	if (!c->tls)
		return read(c->fd, into, room);
	int n = SSL_read(c->tls, into, (int)room), why = SSL_get_error(c->tls, n);
	if (n > 0 || why == SSL_ERROR_ZERO_RETURN)
		return n > 0 ? n : 0;
	ERR_clear_error();
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
	return -1;
}

static ssize_t write_conn(struct conn *c, const void *from, size_t n)
{
	if (!c->tls)
		return send(c->fd, from, n, MSG_NOSIGNAL);
	int sent = SSL_write(c->tls, from, (int)n), why = SSL_get_error(c->tls, sent);
	if (sent > 0)
		return sent;
	ERR_clear_error();
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
	return -1;
}

static void open_conn(struct conn *c)
{
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %s", strerror(errno));
	/* Loopback: the kernel connects at once or never. */
	if (connect(c->fd, (struct sockaddr *)&c->target->to, sizeof c->target->to)) {
		count_error("connect: %s", strerror(errno));
		close(c->fd);
		c->fd = -1;
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (opt.tls && !open_tls(c)) {
		count_error("the TLS handshake failed");
		close_conn(c);
		return;
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, c->fd, &ev))
		die("epoll_ctl: %s", strerror(errno));
}

static void end_request(struct conn *c)
{
	run.pending--;
	go_idle(c);
}

static void lose_conn(struct conn *c, const char *why)
{
	close_conn(c);
	run.reconnects++;
	if (!c->busy)
		return; /* closed between requests: nothing was lost */
	count_error("%s, in an answer's %s after %" PRIu64 " bytes of body", why, c->phase == HEAD ? "head" : "body",
		    c->length);
	end_request(c);
}

/* ---- reading answers ---- */

static void check_answer(const struct conn *c)
{
	run.all_answers++;
	if (c->status != 200)
		count_error("status %u", c->status);
	else if (opt.expect_length && c->length != opt.expect_length)
		count_error("%" PRIu64 " bytes instead of %" PRIu64, c->length, opt.expect_length);
	else if (opt.expect_events && c->events != opt.expect_events)
		count_error("%" PRIu64 " events instead of %" PRIu64, c->events, opt.expect_events);
	else if (opt.stream && (c->tail_n < sizeof DONE_MARK - 1 ||
				memcmp(c->tail + c->tail_n - (sizeof DONE_MARK - 1), DONE_MARK, sizeof DONE_MARK - 1)))
		count_error("a stream's end is not " DONE_MARK);
}

static void answer_complete(struct conn *c)
{
	check_answer(c);
	if (run.measuring) {
		run.answers++;
		if (c->settled)
			note_latency(c, now_ns() - c->due_ns);
	}
	end_request(c);
}

static void keep_tail(struct conn *c, const char *p, size_t n)
{
	if (n >= sizeof c->tail) {
		memcpy(c->tail, p + n - sizeof c->tail, sizeof c->tail);
		c->tail_n = sizeof c->tail;
		return;
	}
	size_t old = c->tail_n + n > sizeof c->tail ? sizeof c->tail - n : c->tail_n;
	memmove(c->tail, c->tail + c->tail_n - old, old);
	memcpy(c->tail + old, p, n);
	c->tail_n = old + n;
}

/* Events end in an empty line. */
static void count_events(struct conn *c, const char *p, size_t n)
{
	uint64_t before = c->events, now;
	char last = c->last;

	for (const char *end = p + n, *at = p; (at = memchr(at, '\n', (size_t)(end - at))); at++)
		c->events += (at > p ? at[-1] : last) == '\n';
	c->last = p[n - 1];
	keep_tail(c, p, n);
	if (c->events == before)
		return;
	now = now_ns();
	for (uint64_t i = before; i < c->events && opt.step_port; i++)
		if (send(run.step_fd, "", 1, 0) < 0)
			die("no word can be sent to the origin: %s", strerror(errno));
	if (run.measuring) {
		run.events += c->events - before;
		run.merged += c->events - before - 1;
		if (c->event_ns && now - c->event_ns > run.gap_ns)
			run.gap_ns = now - c->event_ns;
	}
	c->event_ns = now;
}

static void take_body(struct conn *c, const char *p, size_t n)
{
	c->length += n;
	if (opt.stream && n)
		count_events(c, p, n);
}

/* How the body is delimited: by a length, or in chunks. False when neither is told. */
static bool read_head(struct conn *c)
{
	const char *length = strcasestr(c->head, "\r\ncontent-length:");
	const char *chunked = strcasestr(c->head, "\r\ntransfer-encoding: chunked");

	if (strncmp(c->head, "HTTP/1.1 ", 9) != 0 || (!length && !chunked))
		return false;
	c->status = (unsigned)strtoul(c->head + 9, NULL, 10);
	c->phase = chunked ? CHUNK_SIZE : LENGTH;
	c->left = chunked ? 0 : strtoull(length + 17, NULL, 10);
	if (!chunked && !c->left)
		c->phase = COMPLETE;
	return true;
}

static size_t take_head(struct conn *c, const char *p, size_t n)
{
	size_t old = c->head_n, room = HEAD_MAX - 1 - old, take = n < room ? n : room;

	memcpy(c->head + old, p, take);
	c->head_n += take;
	c->head[c->head_n] = '\0';
	char *end = strstr(c->head + (old > 3 ? old - 3 : 0), "\r\n\r\n");
	if (!end) {
		if (take < n)
			die("an answer's head is longer than %u bytes", HEAD_MAX);
		return n;
	}
	end[2] = '\0';
	if (!read_head(c))
		die("an answer that can't be read: %s", c->head);
	return (size_t)(end + 4 - c->head) - old;
}

static size_t take_size(struct conn *c, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char ch = p[i];
		if (ch == '\n') {
			c->phase = c->left ? CHUNK_DATA : TRAILER;
			c->line_n = 0;
			return i + 1;
		}
		if (ch == '\r')
			continue;
		unsigned digit = ch <= '9' ? (unsigned)(ch - '0') : (unsigned)((ch | 32) - 'a') + 10;
		if (digit > 15)
			die("a chunk size that is none");
		c->left = c->left * 16 + digit;
	}
	return n;
}

static size_t take_line_end(struct conn *c, const char *p, size_t n)
{
	const char *end = memchr(p, '\n', n);

	if (!end) {
		c->line_n += n - (p[n - 1] == '\r');
		return n;
	}
	if (c->phase == CHUNK_END) {
		c->phase = CHUNK_SIZE;
	} else {
		bool empty = c->line_n + (size_t)(end - p) - (end > p && end[-1] == '\r') == 0;
		c->phase = empty ? COMPLETE : TRAILER;
		c->line_n = 0;
	}
	return (size_t)(end + 1 - p);
}

static size_t take_data(struct conn *c, const char *p, size_t n)
{
	size_t take = n < c->left ? n : (size_t)c->left;

	take_body(c, p, take);
	c->left -= take;
	if (!c->left)
		c->phase = c->phase == LENGTH ? COMPLETE : CHUNK_END;
	return take;
}

static void take_bytes(struct conn *c, const char *p, size_t n)
{
	while (n && c->phase != COMPLETE) {
		size_t used = c->phase == HEAD                               ? take_head(c, p, n)
			      : c->phase == CHUNK_SIZE                       ? take_size(c, p, n)
			      : c->phase == CHUNK_END || c->phase == TRAILER ? take_line_end(c, p, n)
									     : take_data(c, p, n);
		p += used;
		n -= used;
	}
	if (n)
		die("%zu bytes after the end of an answer", n);
	if (c->phase == COMPLETE)
		answer_complete(c);
}

static void on_readable(struct conn *c)
{
	static char bytes[READ_MAX];
	ssize_t n = read_conn(c, bytes, sizeof bytes);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose_conn(c, n ? strerror(errno) : "closed");
		return;
	}
	if (!c->busy)
		die("%zd bytes that nobody asked for", n);
	run.reads += run.measuring;
	take_bytes(c, bytes, (size_t)n);
}

/* ---- sending ---- */

static void send_rest(struct conn *c)
{
	while (c->sent < opt.request_n) {
		ssize_t n = write_conn(c, opt.request + c->sent, opt.request_n - c->sent);
		if (n < 0 && errno == EAGAIN) {
			struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
			epoll_ctl(run.epoll, EPOLL_CTL_MOD, c->fd, &ev);
			return;
		}
		if (n < 0) {
			lose_conn(c, strerror(errno));
			return;
		}
		c->sent += (size_t)n;
	}
}

static void on_writable(struct conn *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	epoll_ctl(run.epoll, EPOLL_CTL_MOD, c->fd, &ev);
	send_rest(c);
}

static void send_request(struct conn *c, uint64_t due_ns, uint64_t now)
{
	if (c->fd < 0)
		open_conn(c);
	c->due_ns = due_ns;
	c->phase = HEAD;
	c->head_n = c->sent = c->tail_n = 0;
	c->length = c->events = c->left = c->event_ns = 0;
	c->last = '\0';
	c->busy = true;
	run.pending++;
	if (run.pending > run.open_max)
		run.open_max = run.pending;
	if (c->fd < 0) {
		end_request(c);
		return;
	}
	if (run.measuring && now - due_ns > run.late_ns)
		run.late_ns = now - due_ns;
	send_rest(c);
}

/*
 * Which of them has its turn when a request is due, and how it is to be counted. The order changes from lap to lap, so
 * that each comes equally often after each other (three of them: 012 120 201 021 210 102) and never after itself.
 */
static struct target *target_of(uint64_t due_ns, uint32_t *block, bool *settled)
{
	uint64_t since = due_ns - run.start_ns, number = opt.block_ns ? since / opt.block_ns : 0;
	unsigned n = opt.n_targets, place = (unsigned)(number % n), lap = (unsigned)(number / n % (UINT64_C(2) * n));
	bool forth = lap < n;

	*block = (uint32_t)number;
	*settled = !opt.block_ns || since % opt.block_ns >= opt.block_ns / SETTLING_SHARE;
	return &opt.targets[(forth ? lap + place : 3 * n - lap - place) % n];
}

/* Sends all that is due. Returns how long nothing else will be; UINT64_MAX: until an answer comes. */
static uint64_t send_due(uint64_t now)
{
	for (;;) {
		uint64_t due = opt.interval_ns ? run.start_ns + run.next * opt.interval_ns : now;
		if (opt.requests && run.next >= opt.requests)
			return UINT64_MAX;
		if (due > now)
			return due - now;
		uint32_t block;
		bool settled;
		struct conn *c = take_idle(target_of(due, &block, &settled));
		if (!c)
			return UINT64_MAX;
		run.next++;
		c->block = block;
		c->settled = settled;
		send_request(c, due, now);
	}
}

/* ---- the run ---- */

static void turn(uint64_t wait_ns)
{
	struct epoll_event events[EVENTS_A_TURN];
	struct timespec ts = {.tv_sec = (time_t)(wait_ns / SECOND), .tv_nsec = (long)(wait_ns % SECOND)};
	int n = epoll_pwait2(run.epoll, events, EVENTS_A_TURN, &ts, NULL);

	if (n < 0 && errno != EINTR)
		die("epoll_pwait2: %s", strerror(errno));
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;
		if (c->fd >= 0 && events[i].events & EPOLLOUT)
			on_writable(c);
		if (c->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT)
			on_readable(c);
	}
}

/* True when everything that should be sent has been sent. */
static bool over(uint64_t now)
{
	if (opt.requests)
		return run.next >= opt.requests && !run.pending;
	return now >= run.start_ns + opt.warmup_ns + opt.window_ns;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void run_all(void)
{
	uint64_t now = run.start_ns = now_ns(), progress = 0, progress_ns = now;

	if (!opt.warmup_ns)
		begin_window();
	while (!over(now)) {
		if (run.all_answers + run.events + run.errors != progress)
			progress = run.all_answers + run.events + run.errors, progress_ns = now;
		if (now - progress_ns > STALL_NS)
			die("nothing has come for %" PRIu64 " s, after %" PRIu64 " answers and %" PRIu64 " events",
			    STALL_NS / SECOND, run.all_answers, run.events);
		uint64_t begin = run.start_ns + opt.warmup_ns;
		if (!run.measuring && now >= begin)
			begin_window();
		turn(least(send_due(now), least(now < begin ? begin - now : SECOND, SECOND / 10)));
		now = now_ns();
	}
	end_window();
	for (uint64_t until = now + DRAIN_NS; run.pending && now < until; now = now_ns())
		turn(SECOND / 10);
	if (run.pending)
		count_error("%" PRIu64 " requests were not answered", run.pending);
}

static int by_size(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return (x->ns > y->ns) - (x->ns < y->ns);
}

static uint32_t percentile(double share)
{
	return run.n_samples ? run.samples[(size_t)((double)(run.n_samples - 1) * share)].ns / 1000 : 0;
}

static void write_samples(void)
{
	FILE *f = fopen(opt.samples, "we");

	if (!f || fwrite(run.samples, sizeof *run.samples, run.n_samples, f) != run.n_samples || fclose(f))
		die("%s: %s", opt.samples, strerror(errno));
}

static void print_result(void)
{
	if (run.n_samples)
		qsort(run.samples, run.n_samples, sizeof *run.samples, by_size);
	printf("{\"answers\":%" PRIu64 ",\"all_answers\":%" PRIu64 ",\"events\":%" PRIu64 ",\"reads\":%" PRIu64
	       ",\"window_ns\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"reconnects\":%" PRIu64 ",\"first_error\":\"%s\"",
	       run.answers, run.all_answers, run.events, run.reads, run.measured_ns, run.errors, run.reconnects,
	       run.first_error);
	printf(",\"open_max\":%" PRIu64 ",\"merged\":%" PRIu64, run.open_max, run.merged);
	printf(",\"latency_us\":{\"p50\":%" PRIu32 ",\"p90\":%" PRIu32 ",\"p99\":%" PRIu32 ",\"p999\":%" PRIu32
	       ",\"max\":%" PRIu32 "},\"late_us\":%" PRIu64 ",\"gap_us\":%" PRIu64 ",\"own_cpu_ns\":%" PRIu64
	       ",\"cpu_ns\":[",
	       percentile(0.5), percentile(0.9), percentile(0.99), percentile(0.999), percentile(1.0),
	       run.late_ns / 1000, run.gap_ns / 1000, run.own_cpu_ns);
	for (unsigned i = 0; i < opt.n_watch; i++)
		printf("%s%" PRIu64, i ? "," : "", run.cpu_ns[i]);
	printf("]}\n");
}

/* ---- what it is told ---- */

static void load_request(const char *path)
{
	FILE *f = fopen(path, "re");

	if (!f || fseek(f, 0, SEEK_END))
		die("%s: %s", path, strerror(errno));
	opt.request_n = (size_t)ftell(f);
	opt.request = malloc(opt.request_n + 1);
	rewind(f);
	if (!opt.request || fread(opt.request, 1, opt.request_n, f) != opt.request_n)
		die("%s: cannot be read", path);
	fclose(f);
}

static void add_target(uint16_t port)
{
	struct target *target = &opt.targets[opt.n_targets];

	if (opt.n_targets == TARGETS_MAX)
		die("more than %u ports", TARGETS_MAX);
	target->to = (struct sockaddr_in){.sin_family = AF_INET,
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					  .sin_port = htons(port)};
	opt.n_targets++;
}

static void set_option(const char *name, const char *value)
{
	double number = strtod(value, NULL);

	if (!strcmp(name, "--port"))
		add_target((uint16_t)number);
	else if (!strcmp(name, "--block-ms"))
		opt.block_ns = (uint64_t)(number * 1e6);
	else if (!strcmp(name, "--samples"))
		opt.samples = value;
	else if (!strcmp(name, "--rate"))
		opt.interval_ns = number > 0 ? (uint64_t)((double)SECOND / number) : 0;
	else if (!strcmp(name, "--warmup"))
		opt.warmup_ns = (uint64_t)(number * (double)SECOND);
	else if (!strcmp(name, "--seconds"))
		opt.window_ns = (uint64_t)(number * (double)SECOND);
	else if (!strcmp(name, "--requests"))
		opt.requests = (uint64_t)number;
	else if (!strcmp(name, "--conns"))
		opt.n_conns = (unsigned)number;
	else if (!strcmp(name, "--length"))
		opt.expect_length = (uint64_t)number;
	else if (!strcmp(name, "--events"))
		opt.expect_events = (uint64_t)number, opt.stream = true;
	else if (!strcmp(name, "--tls"))
		opt.tls = number > 0;
	else if (!strcmp(name, "--step"))
		opt.step_port = (uint16_t)number;
	else if (!strcmp(name, "--watch") && opt.n_watch < WATCH_MAX)
		opt.watch[opt.n_watch++] = (int)number;
	else if (!strcmp(name, "--request"))
		load_request(value);
	else
		die("unknown option %s", name);
}

static void open_step(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(opt.step_port)};

	run.step_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (run.step_fd < 0 || connect(run.step_fd, (struct sockaddr *)&to, sizeof to))
		die("--step: %s", strerror(errno));
}

static void start_tls(void)
{
	run.tls = SSL_CTX_new(TLS_client_method());
	if (!run.tls)
		die("no TLS");
	SSL_CTX_set_mode(run.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* As many descriptors as there may be: a connection takes one. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void open_conns(struct target *target)
{
	target->conns = calloc(opt.n_conns, sizeof *target->conns);
	if (!target->conns)
		die("out of memory");
	target->idle_end = &target->idle;
	for (unsigned i = 0; i < opt.n_conns; i++) {
		target->conns[i].fd = -1;
		target->conns[i].target = target;
		if (opt.n_conns <= OPEN_FIRST_MAX)
			open_conn(&target->conns[i]);
		go_idle(&target->conns[i]);
	}
}

int main(int argc, char **argv)
{
	opt.n_conns = 32;
	for (int i = 1; i + 1 < argc; i += 2)
		set_option(argv[i], argv[i + 1]);
	if (argc % 2 == 0 || !opt.request || !opt.n_targets || (!opt.requests && !opt.window_ns) || !opt.n_conns)
		die("--port N... --request FILE (--seconds S | --requests N) [--rate R] [--warmup S] [--conns N]\n"
		    "      [--block-ms MS] [--samples FILE] [--length BYTES] [--events N] [--step PORT] [--tls 1]\n"
		    "      [--watch PID]...");
	prctl(PR_SET_TIMERSLACK, 1UL);
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (run.epoll < 0)
		die("epoll_create1: %s", strerror(errno));
	if (opt.step_port)
		open_step();
	if (opt.tls)
		start_tls();
	signal(SIGPIPE, SIG_IGN);
	raise_limit();
	for (unsigned i = 0; i < opt.n_targets; i++)
		open_conns(&opt.targets[i]);
	run_all();
	print_result();
	if (opt.samples)
		write_samples();
	return 0;
}
