/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS filter of a transport, and what all contexts have in common (tls_client.c, tls_server.c make them).
 *
 * OpenSSL reads and writes the transport's descriptor through a BIO of our own, so
 * that nothing is copied twice, a reset raises no SIGPIPE, and the errno of the
 * system call that failed is kept. A write of several small pieces becomes one
 * record. An end without close_notify is an error (RFC 8446 §6.1), so that an
 * answer that only its end delimits cannot be cut short unnoticed.
 */
#include "net/tls_priv.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/transport_priv.h"

#define RECORD_BYTES_MAX 16384u
#define HOST_BYTES_MAX 253u /* RFC 1035 §2.3.4, without the last dot */

/* ---- the descriptor as a BIO ---- */

static int bio_done(BIO *bio, ssize_t n, unsigned retry)
{
	struct rl_transport *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_flags(bio, (int)(retry | BIO_FLAGS_SHOULD_RETRY));
	else if (n < 0)
		t->sys_errno = errno;
	return (int)n;
}

static int bio_read(BIO *bio, char *into, int n)
{
	const struct rl_transport *t = BIO_get_data(bio);
	ssize_t got = recv(t->fd, into, (size_t)n, 0);

	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return bio_done(bio, got, BIO_FLAGS_READ);
}

static int bio_write(BIO *bio, const char *from, int n)
{
	const struct rl_transport *t = BIO_get_data(bio);

	return bio_done(bio, send(t->fd, from, (size_t)n, MSG_NOSIGNAL), BIO_FLAGS_WRITE);
}

static long bio_ctrl(BIO *bio, int command, long larg, void *parg)
{
	(void)larg;
	(void)parg;
	switch (command) {
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	case BIO_CTRL_FLUSH:
		return 1;
	default:
		return 0;
	}
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rl_transport");

	if (!method)
		return;
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	bio_method = method;
}

/* ---- what went wrong ---- */

/* The first error that OpenSSL noted, as static text. */
const char *rl_tls_error_text(const char *otherwise)
{
	unsigned long code = ERR_peek_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;

	return text ? text : otherwise;
}

/* Maps a failed call. AGAIN: retry when polled, the flag says for what. */
static enum rl_err failure(struct rl_transport *t, int result, bool *wants_other, int other)
{
	int why = SSL_get_error(t->ssl, result);

	switch (why) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		*wants_other = why == other;
		return RL_ERR_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return RL_ERR_EOF;
	case SSL_ERROR_SYSCALL:
		t->broken = true;
		t->detail = NULL;
		return t->sys_errno ? rl_err_from_errno(t->sys_errno) : RL_ERR_TLS;
	default:
		t->broken = true;
		t->detail = rl_tls_error_text("the TLS connection failed");
		return RL_ERR_TLS;
	}
}

/* ---- the filter ---- */

/* The client's handshake is done: since when its peer is known, and what of it serves again. */
static void remember(struct rl_transport *t)
{
	if (!t->sessions)
		return;
	if (!SSL_session_reused(t->ssl))
		t->checked_ms = rl_loop_now_ms(t->loop);
	else if (SSL_version(t->ssl) <= TLS1_2_VERSION)
		rl_tls_sessions_keep(t->sessions, SSL_get_session(t->ssl), t->checked_ms);
}

static void handshake(struct rl_transport *t)
{
	bool to_write = false;

	ERR_clear_error();
	int done = SSL_do_handshake(t->ssl);

	if (done == 1) {
		t->tls_failure = RL_TLS_FAILURE_NONE;
		remember(t);
		rl_transport_opened(t);
		return;
	}
	enum rl_err err = failure(t, done, &to_write, SSL_ERROR_WANT_WRITE);

	if (err == RL_ERR_AGAIN) {
		t->handshake_poll = to_write ? RL_POLL_WRITE : RL_POLL_READ;
		rl_transport_repoll(t);
		return;
	}
	long verdict = SSL_get_verify_result(t->ssl);

	if (err == RL_ERR_TLS && verdict != X509_V_OK)
		t->detail = X509_verify_cert_error_string(verdict);
	if (t->accepted) {
		t->tls_failure = rl_tls_classify(err);
		rl_tls_answer_plain(t);
	}
	rl_transport_fail(t, err, t->detail, false);
}

static void tls_begin(struct rl_transport *t)
{
	t->state = RL_TRANSPORT_HANDSHAKE;
	if (t->accepted)
		t->tls_failure = RL_TLS_FAILURE_TIMEOUT;
	handshake(t);
}

/* Each direction usually waits for its own kind of readiness, and for the other one while OpenSSL says so. */
static unsigned tls_interest(const struct rl_transport *t)
{
	bool read = t->want_read && !t->read_end;
	unsigned poll = 0;

	if (t->state == RL_TRANSPORT_HANDSHAKE)
		return t->handshake_poll;
	if (read)
		poll |= t->read_wants_write ? RL_POLL_WRITE : RL_POLL_READ;
	if (t->want_write)
		poll |= t->write_wants_read ? RL_POLL_READ : RL_POLL_WRITE;
	return poll;
}

static void tls_on_poll(struct rl_transport *t, unsigned events)
{
	unsigned read_on, write_on, out;

	if (t->state == RL_TRANSPORT_HANDSHAKE) {
		handshake(t);
		return;
	}
	read_on = t->read_wants_write ? RL_POLL_WRITE : RL_POLL_READ;
	write_on = t->write_wants_read ? RL_POLL_READ : RL_POLL_WRITE;
	out = (t->want_read && !t->read_end && (events & read_on) ? RL_EV_READ : 0u) |
	      (t->want_write && (events & write_on) ? RL_EV_WRITE : 0u) | (events & RL_POLL_HANGUP ? RL_EV_HANGUP : 0u);
	rl_transport_emit(t, out);
}

static size_t tls_read(struct rl_transport *t, char *into, size_t n, enum rl_err *err)
{
	bool wants_write = false;
	size_t got = 0;

	ERR_clear_error();
	int ok = SSL_read_ex(t->ssl, into, n, &got);

	if (!ok)
		*err = failure(t, ok, &wants_write, SSL_ERROR_WANT_WRITE);
	if (*err == RL_ERR_AGAIN)
		*err = RL_OK;
	if (wants_write != t->read_wants_write) {
		t->read_wants_write = wants_write;
		rl_transport_repoll(t);
	}
	return ok ? got : 0;
}

/*
 * The next piece to write: the rest of the first slice if it fills a record or is
 * all there is, else as many slices as go into one record, joined in `room`.
 * A piece is never shorter than the one that a blocked write was tried with, as
 * SSL_write(3) demands, since the owner comes back with at least the same bytes.
 */
static rl_str next_piece(const struct iovec *iov, int n, size_t skip, char room[RECORD_BYTES_MAX])
{
	size_t have = 0;
	int i = 0;

	while (i < n && skip >= iov[i].iov_len)
		skip -= iov[i++].iov_len;
	if (i == n)
		return (rl_str){NULL, 0};
	if (iov[i].iov_len - skip >= RECORD_BYTES_MAX || i == n - 1)
		return rl_str_make((const char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
	for (; i < n && have < RECORD_BYTES_MAX; i++, skip = 0) {
		size_t take = iov[i].iov_len - skip;

		if (take > RECORD_BYTES_MAX - have)
			take = RECORD_BYTES_MAX - have;
		if (take > 0)
			memcpy(room + have, (const char *)iov[i].iov_base + skip, take);
		have += take;
	}
	return rl_str_make(room, have);
}

static size_t tls_write(struct rl_transport *t, const struct iovec *iov, int n, enum rl_err *err)
{
	char room[RECORD_BYTES_MAX] __attribute__((uninitialized));
	bool wants_read = false;
	size_t taken = 0;

	for (;;) {
		rl_str piece = next_piece(iov, n, taken, room);
		size_t wrote = 0;

		if (piece.n == 0)
			break;
		ERR_clear_error();
		int ok = SSL_write_ex(t->ssl, piece.p, piece.n, &wrote);

		if (!ok) {
			*err = failure(t, ok, &wants_read, SSL_ERROR_WANT_READ);
			break;
		}
		taken += wrote;
	}
	if (*err == RL_ERR_AGAIN)
		*err = RL_OK;
	else if (*err == RL_ERR_EOF)
		*err = RL_ERR_RESET; /* the peer has closed for good */
	if (wants_read != t->write_wants_read) {
		t->write_wants_read = wants_read;
		rl_transport_repoll(t);
	}
	return taken;
}

static bool tls_pending(const struct rl_transport *t)
{
	return t->ssl && SSL_pending(t->ssl) > 0;
}

/* close_notify; the peer's is not waited for. */
static bool tls_finish(struct rl_transport *t)
{
	ERR_clear_error();
	int done = SSL_shutdown(t->ssl);

	return done >= 0 || SSL_get_error(t->ssl, done) != SSL_ERROR_WANT_WRITE;
}

static void tls_fini(struct rl_transport *t)
{
	SSL_free(t->ssl);
	rl_tls_sessions_unref(t->sessions);
	t->ssl = NULL;
	t->sessions = NULL;
}

static const struct rl_filter tls_filter = {
	.name = "tls",
	.begin = tls_begin,
	.on_poll = tls_on_poll,
	.interest = tls_interest,
	.read = tls_read,
	.write = tls_write,
	.pending = tls_pending,
	.finish = tls_finish,
	.fini = tls_fini,
};

rl_str rl_transport_alpn(const struct rl_transport *t)
{
	const unsigned char *name = NULL;
	unsigned n = 0;

	if (t->ssl)
		SSL_get0_alpn_selected(t->ssl, &name, &n);
	return rl_str_make((const char *)name, n);
}

enum rl_tls_failure rl_transport_tls_failure(const struct rl_transport *t)
{
	return t->tls_failure;
}

bool rl_transport_resumed(const struct rl_transport *t)
{
	return t->ssl && SSL_session_reused(t->ssl);
}

enum rl_err rl_tls_attach(struct rl_transport *t, SSL_CTX *ctx)
{
	BIO *bio = BIO_new(bio_method);

	ERR_clear_error();
	t->ssl = SSL_new(ctx);
	if (!bio || !t->ssl) {
		BIO_free(bio);
		SSL_free(t->ssl);
		t->ssl = NULL;
		return RL_ERR_NOMEM;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	t->filter = &tls_filter;
	return RL_OK;
}

/* Whom the certificate must be for: an address (RFC 9110 §4.3.5) or a name, which is also what we ask for (SNI). */
static bool expect_host(SSL *ssl, rl_str host)
{
	char name[HOST_BYTES_MAX + 1];

	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = rl_str_sub(host, 1, host.n - 2);
	if (host.n > 0 && host.p[host.n - 1] == '.')
		host.n--;
	if (host.n == 0 || host.n > HOST_BYTES_MAX || memchr(host.p, 0, host.n))
		return false;
	memcpy(name, host.p, host.n);
	name[host.n] = 0;
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name))
		return true;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name);
}

/* Only what was checked for this very host is in `sessions`: a resumed handshake checks nothing. */
static void try_to_resume(struct rl_transport *t, struct rl_tls_sessions *sessions)
{
	uint64_t now_ms = rl_loop_now_ms(t->loop);

	t->checked_ms = now_ms;
	t->sessions = rl_tls_sessions_ref(sessions);
	SSL_SESSION *session = rl_tls_sessions_take(sessions, now_ms, &t->checked_ms);

	if (session)
		(void)SSL_set_session(t->ssl, session); /* else it is a whole handshake */
	SSL_SESSION_free(session);
}

enum rl_err rl_tls_attach_client(struct rl_transport *t, const struct rl_transport_target *target)
{
	enum rl_err err = rl_tls_attach(t, target->tls->ctx);

	if (err)
		return err;
	SSL_set_connect_state(t->ssl);
	/* A session says nothing of the protocol that is spoken within it (RFC 7301 §3.1). */
	if (target->alpn.n && SSL_set_alpn_protos(t->ssl, (const unsigned char *)target->alpn.p,
						  (unsigned)target->alpn.n) != 0) /* 0 is success */
		return RL_ERR_NOMEM;
	if (target->sessions)
		try_to_resume(t, target->sessions);
	/* Without somebody to check for, nobody would be checked: such a call is a mistake of the caller's. */
	return expect_host(t->ssl, target->host) ? RL_OK : RL_ERR_SYNTAX;
}

/* ---- contexts ---- */

/* A key with a pass phrase is refused, rather than asked for on the terminal. */
int rl_tls_no_pass_phrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

SSL_CTX *rl_tls_ctx_new(const SSL_METHOD *method)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	SSL_CTX *ctx;

	pthread_once(&once, bio_method_make);
	ERR_clear_error();
	ctx = bio_method ? SSL_CTX_new(method) : NULL;
	if (!ctx)
		return NULL;
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ctx, 0); /* so that SSL_pending tells all that is inside */
	return ctx;
}
