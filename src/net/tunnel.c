/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way through an HTTP proxy (CONNECT, RFC 9110 §9.3.6), as a stage of its own:
 * a filter that stands in for the real one until the proxy has said yes, then
 * hands the connection over to it as if it had just been made. What it has of the
 * connection's memory goes with that.
 *
 * Nothing but the head of the proxy's answer is read. Whoever is behind it speaks
 * only when spoken to, so bytes that follow a "yes" are a fault; but for HTTP/2
 * without TLS, whose server may begin (RFC 9113 §3.4): there they are left to the
 * filter beyond. The caller's time-out for connecting covers the tunnel, too.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/transport_priv.h"
#include "net/tunnel.h"

#define ANSWER_BYTES_MAX 8192u
#define CREDENTIALS_BYTES_MAX 1024u

struct rl_tunnel {
	const struct rl_filter *beyond; /* what the tunnel carries: TLS, or nothing */
	size_t request_n, sent, got;
	bool speaks_first; /* who is behind it may */
	char answer[ANSWER_BYTES_MAX];
	char request[]; /* may hold the proxy's password */
};

/* ---- what is asked ---- */

/* RFC 4648 §4. */
static void add_base64(struct rl_buf *out, rl_str in)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < in.n; i += 3) {
		uint32_t v = 0;

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (i + k < in.n ? (unsigned char)in.p[i + k] : 0u);
		for (size_t k = 0; k < 4; k++)
			rl_buf_byte(out, i + k <= in.n ? digits[v >> (18 - 6 * k) & 63] : '=');
	}
}

enum rl_err rl_tunnel_request(rl_str host, uint16_t port, struct rl_secret credentials, struct rl_buf *out)
{
	bool v6 = rl_str_find(host, ':') != SIZE_MAX;
	rl_str secret = rl_secret_reveal(credentials);
	char authority[300];
	int n = snprintf(authority, sizeof authority, "%s%.*s%s:%u", v6 ? "[" : "", RL_STR_ARG(host), v6 ? "]" : "",
			 (unsigned)port);

	if (n < 0 || (size_t)n >= sizeof authority || secret.n > CREDENTIALS_BYTES_MAX)
		return RL_ERR_LIMIT;
	rl_buf_printf(out, "CONNECT %s HTTP/1.1\r\nhost: %s\r\n", authority, authority);
	if (secret.n) {
		RL_BUF_LIT(out, "proxy-authorization: Basic "); /* RFC 7617 §2 */
		add_base64(out, secret);
		RL_BUF_LIT(out, "\r\n");
	}
	RL_BUF_LIT(out, "\r\n");
	return rl_buf_ok(out) ? RL_OK : RL_ERR_NOMEM;
}

/* ---- what is answered ---- */

static const char *refusal(unsigned status)
{
	switch (status) {
	case 401:
	case 407:
		return "the proxy wants other credentials";
	case 403:
	case 405:
		return "the proxy does not allow it";
	case 502:
	case 503:
		return "the proxy cannot reach the provider";
	case 504:
		return "the proxy has waited for the provider in vain";
	default:
		return status < 500 ? "the proxy refuses" : "the proxy has failed";
	}
}

/* The status of a whole line "HTTP/1.x NNN...", or 0. */
static unsigned status_of(rl_str line)
{
	unsigned status = 0;

	if (line.n < 12 || !rl_str_starts(line, RL_STR("HTTP/1.")) || line.p[8] != ' ')
		return 0;
	for (size_t i = 9; i < 12; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return 0;
		status = status * 10 + (unsigned)(line.p[i] - '0');
	}
	return (line.n > 12 && line.p[12] != ' ' && line.p[12] != '\r') || status < 100 ? 0 : status;
}

/* Whether the way is open: OK, AGAIN (more is to come), or PROXY and why not. */
static enum rl_err judge(const struct rl_tunnel *tunnel, const char **why)
{
	rl_str in = rl_str_make(tunnel->answer, tunnel->got);
	size_t line = rl_str_find(in, '\n');
	const char *end = in.n ? memmem(in.p, in.n, "\r\n\r\n", 4) : NULL;
	unsigned status;

	*why = "the proxy does not speak HTTP";
	if (memcmp(in.p, "HTTP/1.", in.n < 7 ? in.n : 7) != 0)
		return RL_ERR_PROXY;
	if (line != SIZE_MAX) {
		status = status_of(rl_str_sub(in, 0, line));
		if (status < 200 || status > 299) {
			*why = status ? refusal(status) : *why;
			return RL_ERR_PROXY;
		}
	}
	if (end && (size_t)(end - in.p) + 4 == in.n)
		return RL_OK;
	*why = end ? "the proxy says more than it was asked" : "the proxy's answer is too long";
	return end || in.n == ANSWER_BYTES_MAX ? RL_ERR_PROXY : RL_ERR_AGAIN;
}

/* ---- the filter ---- */

static void tunnel_free(struct rl_tunnel *tunnel)
{
	explicit_bzero(tunnel->request, tunnel->request_n);
	free(tunnel);
}

static enum rl_err send_request(struct rl_transport *t)
{
	struct rl_tunnel *tunnel = t->tunnel;

	while (tunnel->sent < tunnel->request_n) {
		ssize_t n = send(t->fd, tunnel->request + tunnel->sent, tunnel->request_n - tunnel->sent, MSG_NOSIGNAL);

		if (n < 0)
			return rl_err_from_errno(errno);
		tunnel->sent += (size_t)n;
	}
	return RL_OK;
}

/* How many of the `n` bytes that come next are the answer's. */
static size_t of_answer(const struct rl_tunnel *tunnel, size_t n)
{
	const char *end = memmem(tunnel->answer, tunnel->got + n, "\r\n\r\n", 4);

	return end && tunnel->speaks_first ? (size_t)(end - tunnel->answer) + 4 - tunnel->got : n;
}

static enum rl_err read_answer(struct rl_transport *t, const char **why)
{
	struct rl_tunnel *tunnel = t->tunnel;
	enum rl_err err = RL_ERR_AGAIN;

	while (err == RL_ERR_AGAIN) {
		assert(tunnel->got < ANSWER_BYTES_MAX);
		ssize_t n = recv(t->fd, tunnel->answer + tunnel->got, ANSWER_BYTES_MAX - tunnel->got, MSG_PEEK);

		if (n > 0)
			n = recv(t->fd, tunnel->answer + tunnel->got, of_answer(tunnel, (size_t)n), 0);
		if (n < 0)
			return rl_err_from_errno(errno);
		*why = "the proxy has closed before it answered";
		if (n == 0)
			return RL_ERR_PROXY;
		tunnel->got += (size_t)n;
		err = judge(tunnel, why);
	}
	return err;
}

static void step(struct rl_transport *t)
{
	const char *why = NULL;
	enum rl_err err = send_request(t);

	if (!err)
		err = read_answer(t, &why);
	if (err == RL_ERR_AGAIN) {
		t->handshake_poll = t->tunnel->sent < t->tunnel->request_n ? RL_POLL_WRITE : RL_POLL_READ;
		rl_transport_repoll(t);
		return;
	}
	if (err) {
		rl_transport_fail(t, err, err == RL_ERR_PROXY ? why : NULL, false);
		return;
	}
	t->filter = t->tunnel->beyond;
	tunnel_free(t->tunnel);
	t->tunnel = NULL;
	t->filter->begin(t);
}

static void tunnel_begin(struct rl_transport *t)
{
	t->state = RL_TRANSPORT_HANDSHAKE;
	step(t);
}

static void tunnel_on_poll(struct rl_transport *t, unsigned events)
{
	(void)events;
	step(t);
}

static unsigned tunnel_interest(const struct rl_transport *t)
{
	return t->handshake_poll;
}

static bool tunnel_pending(const struct rl_transport *t)
{
	(void)t;
	return false;
}

static void tunnel_fini(struct rl_transport *t)
{
	t->filter = t->tunnel->beyond;
	tunnel_free(t->tunnel);
	t->tunnel = NULL;
	t->filter->fini(t);
}

/* It is never OPEN, so nobody reads, writes or finishes. */
static const struct rl_filter tunnel_filter = {
	.name = "tunnel",
	.begin = tunnel_begin,
	.on_poll = tunnel_on_poll,
	.interest = tunnel_interest,
	.pending = tunnel_pending,
	.fini = tunnel_fini,
};

enum rl_err rl_tunnel_attach(struct rl_transport *t, const struct rl_transport_target *target)
{
	rl_str text = rl_secret_reveal(target->tunnel);
	struct rl_tunnel *tunnel = calloc(1, sizeof *tunnel + text.n);

	assert(!t->tunnel && text.n > 0);
	if (!tunnel)
		return RL_ERR_NOMEM;
	memcpy(tunnel->request, text.p, text.n);
	tunnel->request_n = text.n;
	tunnel->speaks_first = target->speaks_first;
	tunnel->beyond = t->filter;
	t->tunnel = tunnel;
	t->filter = &tunnel_filter;
	return RL_OK;
}
