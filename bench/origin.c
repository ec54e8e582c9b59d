/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The origin of `make bench` when the simulator would be in the way: one thread that does as little as can be done.
 * A request whose body asks for a stream gets --events events, one a write, --gap-us apart (0: each as soon as the
 * one before is out), then [DONE]; any other gets one fixed JSON answer of --bytes bytes. Heads and events look like
 * a provider's, so that proxies have the usual headers to handle.
 *
 * With --step 1 each event but a stream's first waits for a datagram to the port's UDP twin, which the load sends when
 * the event before has arrived: nothing is ever merged, however slowly the proxy is made to run.
 *
 * With --certificate and --key it speaks TLS.
 *
 * All streams have the same gap, so those that wait stand in a queue in the order of their time: no heap is needed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
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
#define IN_MAX (2u << 20)
#define ANSWER_MAX 65536u
#define EVENTS_A_TURN 256
#define COMMON_HEADERS                                                        \
	"x-request-id: req_5f3c0e6f2f0b4a5d9f0e7f6a8a1c2b3d\r\n"              \
	"openai-organization: bench\r\nopenai-processing-ms: 212\r\n"         \
	"openai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n" \
	"x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-requests: 6ms\r\n"

struct conn {
	int fd;
	SSL *tls;       /* NULL: plain */
	size_t n, room; /* of the request */
	char *in;
	unsigned events_left;
	bool streaming, usage;
	uint64_t due_ns;
	struct conn *next; /* in the queue of streams */
};

static struct {
	unsigned events;
	uint64_t gap_ns;
	size_t bytes;
	bool step;
	const char *certificate, *key;
} opt = {.events = 200, .bytes = 1300};

static int epoll_fd, step_fd;
static SSL_CTX *tls;
static struct conn *first, **last = &first;
static char answer[ANSWER_MAX], models[512];
static size_t answer_n, models_n;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* ---- what it says ---- */

static size_t with_head(char *out, size_t room, const char *body, size_t n)
{
	int head = snprintf(out, room,
			    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" COMMON_HEADERS
			    "Content-Length: %zu\r\n\r\n",
			    n);

	memcpy(out + head, body, n);
	return (size_t)head + n;
}

static void make_answers(void)
{
	static char body[ANSWER_MAX];
	static const char begin[] =
		"{\"id\":\"chatcmpl-BenchBenchBenchBench0000001\",\"object\":\"chat.completion\",\"created\":1730000000,"
		"\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
		"\"content\":\"";
	static const char end[] =
		"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":212,"
		"\"completion_tokens\":180,\"total_tokens\":392},\"system_fingerprint\":\"fp_0000000000\"}";
	static const char words[] = "So it goes on, word by word, with a line now and then.\\n";
	static const char list[] = "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o-mini\",\"object\":\"model\"}]}";
	size_t n = sizeof begin - 1, stop = opt.bytes - (sizeof end - 1);

	memcpy(body, begin, n);
	for (; n + sizeof words - 1 <= stop; n += sizeof words - 1)
		memcpy(body + n, words, sizeof words - 1);
	memset(body + n, '.', stop - n);
	memcpy(body + stop, end, sizeof end - 1);
	answer_n = with_head(answer, sizeof answer, body, opt.bytes);
	models_n = with_head(models, sizeof models, list, sizeof list - 1);
}

/* The peers' socket buffers hold far more than is ever under way here: a short write is an error. */
static bool say(const struct conn *c, const char *p, size_t n)
{
	if (c->tls)
		return SSL_write(c->tls, p, (int)n) == (int)n;
	return send(c->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool say_event(const struct conn *c, const char *text, size_t n, const char *end)
{
	char chunk[1024];
	int all = snprintf(chunk, sizeof chunk, "%zx\r\n%s\r\n%s", n, text, end);

	return say(c, chunk, (size_t)all);
}

static bool say_next(struct conn *c)
{
	static const char usage[] =
		"data: {\"id\":\"chatcmpl-BenchBenchBenchBench0000001\",\"object\":\"chat.completion.chunk\","
		"\"created\":1730000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"system_fingerprint\":\"fp_0000000000\","
		"\"choices\":[],\"usage\":{\"prompt_tokens\":212,\"completion_tokens\":200,\"total_tokens\":412}}\n\n";
	static const char done[] = "data: [DONE]\n\n";
	char text[512];

	if (!c->events_left--) {
		c->streaming = false;
		return (!c->usage || say_event(c, usage, sizeof usage - 1, "")) &&
		       say_event(c, done, sizeof done - 1, "0\r\n\r\n");
	}
	int n = snprintf(text, sizeof text,
			 "data: {\"id\":\"chatcmpl-BenchBenchBenchBench0000001\",\"object\":\"chat.completion.chunk\","
			 "\"created\":1730000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"system_fingerprint\":"
			 "\"fp_0000000000\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word%03u\"},"
			 "\"logprobs\":null,\"finish_reason\":%s}]}\n\n",
			 c->events_left, c->events_left ? "null" : "\"stop\"");
	return say_event(c, text, (size_t)n, "");
}

/* ---- streams that wait ---- */

static void wait_turn(struct conn *c, uint64_t now)
{
	c->due_ns = now + opt.gap_ns;
	c->next = NULL;
	*last = c;
	last = &c->next;
}

static void leave_queue(struct conn *gone)
{
	for (struct conn **at = &first; *at; at = &(*at)->next) {
		if (*at != gone)
			continue;
		*at = gone->next;
		if (last == &gone->next)
			last = at;
		return;
	}
}

static void close_conn(struct conn *c)
{
	leave_queue(c);
	SSL_free(c->tls);
	close(c->fd);
	free(c->in);
	free(c);
}

/* Says what is due. Returns how long nothing else will be. */
static uint64_t say_due(void)
{
	uint64_t now = now_ns();

	while (first && first->due_ns <= now && !opt.step) {
		struct conn *c = first;
		first = c->next;
		if (!first)
			last = &first;
		if (!say_next(c))
			close_conn(c);
		else if (c->streaming)
			wait_turn(c, c->due_ns); /* by the schedule, not by when we woke */
	}
	return !first || opt.step ? 3600 * SECOND : first->due_ns > now ? first->due_ns - now : 0;
}

static void on_step(void)
{
	char byte;
	struct conn *c = first;

	if (recv(step_fd, &byte, 1, 0) < 0 || !c)
		return;
	first = c->next;
	if (!first)
		last = &first;
	if (!say_next(c))
		close_conn(c);
	else if (c->streaming)
		wait_turn(c, 0);
}

/* ---- requests ---- */

static bool start_stream(struct conn *c, const char *body)
{
	static const char head[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n" COMMON_HEADERS
		"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";

	c->streaming = true;
	c->events_left = opt.events;
	c->usage = strstr(body, "\"include_usage\":true");
	if (!say(c, head, sizeof head - 1))
		return false;
	if (opt.step && !say_next(c))
		return false;
	if (opt.gap_ns || opt.step) {
		wait_turn(c, now_ns());
		return true;
	}
	while (c->streaming)
		if (!say_next(c))
			return false;
	return true;
}

static bool serve(struct conn *c, const char *body)
{
	if (!strncmp(c->in, "GET ", 4))
		return say(c, models, models_n);
	if (strstr(body, "\"stream\":true"))
		return start_stream(c, body);
	return say(c, answer, answer_n);
}

/* Answers the request if it is complete; there is never more than one. */
static bool take_request(struct conn *c)
{
	c->in[c->n] = '\0';
	char *end = strstr(c->in, "\r\n\r\n");
	if (!end)
		return true;
	char *length = strcasestr(c->in, "\r\ncontent-length:");
	size_t body_n = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
	if (c->n < (size_t)(end + 4 - c->in) + body_n)
		return true;
	c->n = 0;
	return serve(c, end + 4);
}

/* As read(2); of a TLS connection's handshake, too. */
static ssize_t read_conn(const struct conn *c, char *into, size_t room)
{
	if (!c->tls)
		return read(c->fd, into, room);
	int n = SSL_read(c->tls, into, (int)room), why = SSL_get_error(c->tls, n);
	if (n > 0)
		return n;
	ERR_clear_error();
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
	return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static bool read_once(struct conn *c)
{
	if (c->n + 1 >= c->room) {
		if (c->room >= IN_MAX)
			return false;
		c->room = c->room ? 2 * c->room : 16384;
		c->in = realloc(c->in, c->room);
		if (!c->in)
			abort();
	}
	ssize_t n = read_conn(c, c->in + c->n, c->room - 1 - c->n);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	c->n += (size_t)n;
	return take_request(c);
}

static bool on_readable(struct conn *c)
{
	do {
		if (!read_once(c))
			return false;
	} while (c->tls && SSL_pending(c->tls)); /* of a record that is read already no event tells */
	return true;
}

static void on_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
	struct conn *c = calloc(1, sizeof *c);
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	if (fd < 0 || !c) {
		free(c);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->fd = fd;
	c->tls = tls ? SSL_new(tls) : NULL;
	if (c->tls && SSL_set_fd(c->tls, fd))
		SSL_set_accept_state(c->tls);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

/* The UDP twin of the port. */
static void take_steps(const struct sockaddr_in *addr)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &step_fd};

	step_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (step_fd < 0 || bind(step_fd, (const struct sockaddr *)addr, sizeof *addr) ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, step_fd, &ev)) {
		perror("origin: --step");
		exit(1);
	}
}

static int listen_anywhere(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event ev = {.events = EPOLLIN};

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0 || epoll_fd < 0 || bind(fd, (struct sockaddr *)&addr, n) || listen(fd, SOMAXCONN) ||
	    getsockname(fd, (struct sockaddr *)&addr, &n) || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
		perror("origin");
		exit(1);
	}
	if (opt.step)
		take_steps(&addr);
	printf("listening origin http://127.0.0.1:%u\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

static void start_tls(void)
{
	if (!opt.certificate || !opt.key)
		return;
	tls = SSL_CTX_new(TLS_server_method());
	if (!tls || SSL_CTX_use_certificate_chain_file(tls, opt.certificate) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, opt.key, SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "origin: %s, %s: no certificate and key\n", opt.certificate, opt.key);
		exit(2);
	}
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

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		unsigned long value = strtoul(argv[i + 1], NULL, 10);
		if (!strcmp(argv[i], "--events"))
			opt.events = (unsigned)value;
		else if (!strcmp(argv[i], "--gap-us"))
			opt.gap_ns = value * 1000;
		else if (!strcmp(argv[i], "--step"))
			opt.step = value;
		else if (!strcmp(argv[i], "--bytes") && value >= 600 && value <= ANSWER_MAX - 1024)
			opt.bytes = value;
		else if (!strcmp(argv[i], "--certificate"))
			opt.certificate = argv[i + 1];
		else if (!strcmp(argv[i], "--key"))
			opt.key = argv[i + 1];
		else
			return fprintf(stderr, "origin: [--events N] [--gap-us N] [--step 0|1] [--bytes 600...] "
					       "[--certificate FILE --key FILE]\n"),
			       2;
	}
	prctl(PR_SET_TIMERSLACK, 1UL);
	make_answers();
	start_tls();
	signal(SIGPIPE, SIG_IGN);
	raise_limit();
	int listener = listen_anywhere();
	for (;;) {
		struct epoll_event events[EVENTS_A_TURN];
		uint64_t wait = say_due();
		struct timespec ts = {.tv_sec = (time_t)(wait / SECOND), .tv_nsec = (long)(wait % SECOND)};
		int n = epoll_pwait2(epoll_fd, events, EVENTS_A_TURN, &ts, NULL);
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (!c)
				on_accept(listener);
			else if (events[i].data.ptr == &step_fd)
				on_step();
			else if (!on_readable(c))
				close_conn(c);
		}
	}
}
