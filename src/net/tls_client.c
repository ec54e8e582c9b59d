/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's TLS contexts: whom it believes, what it shows of itself; and the
 * sessions that it may take up again. A context is read from its files once, and
 * never changes: a file that was renewed makes another context.
 */
#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "net/tls_priv.h"

/* OpenSSL wants a path that ends in NUL. False if `path` cannot be one. */
static bool path_of(rl_str path, char out[PATH_MAX])
{
	if (path.n == 0 || path.n >= PATH_MAX || memchr(path.p, 0, path.n))
		return false;
	memcpy(out, path.p, path.n);
	out[path.n] = 0;
	return true;
}

/* "the client key cannot be used: key values mismatch", good until this thread's next one. */
static const char *complain(const char *what)
{
	static _Thread_local char text[256];
	unsigned long code = ERR_peek_error();
	const char *reason = !code                    ? NULL
			     : ERR_SYSTEM_ERROR(code) ? "it cannot be read"
						      : ERR_reason_error_string(code);

	snprintf(text, sizeof text, "the %s cannot be used: %s", what, reason ? reason : "OpenSSL does not say why");
	return text;
}

/* ---- sessions ---- */

#define SESSIONS_MAX 8u
/*
 * A resumed connection shows no certificate, and brings a new ticket: without a limit, a certificate that has been
 * revoked or has run out would be good for as long as somebody calls.
 */
#define SESSION_AGE_MAX_MS (UINT64_C(3600) * 1000)

struct rl_tls_sessions {
	_Atomic unsigned refs;
	pthread_mutex_t lock;
	unsigned n;
	struct {
		SSL_SESSION *session;
		uint64_t checked_ms;
	} kept[SESSIONS_MAX]; /* oldest first */
};

enum rl_err rl_tls_sessions_new(struct rl_tls_sessions **out)
{
	struct rl_tls_sessions *sessions = calloc(1, sizeof *sessions);

	if (!sessions)
		return RL_ERR_NOMEM;
	atomic_init(&sessions->refs, 1);
	pthread_mutex_init(&sessions->lock, NULL);
	*out = sessions;
	return RL_OK;
}

struct rl_tls_sessions *rl_tls_sessions_ref(struct rl_tls_sessions *sessions)
{
	unsigned before = atomic_fetch_add_explicit(&sessions->refs, 1, memory_order_relaxed);

	assert(before > 0);
	(void)before;
	return sessions;
}

void rl_tls_sessions_unref(struct rl_tls_sessions *sessions)
{
	if (!sessions || atomic_fetch_sub(&sessions->refs, 1) != 1)
		return;
	while (sessions->n)
		SSL_SESSION_free(sessions->kept[--sessions->n].session);
	pthread_mutex_destroy(&sessions->lock);
	free(sessions);
}

/*
 * Taken out, since a ticket of TLS 1.3 should serve once only (RFC 8446 §C.4), and one that does not please its server
 * shall not be shown for ever. A session of TLS 1.2 that has served comes back by rl_tls_sessions_keep.
 */
SSL_SESSION *rl_tls_sessions_take(struct rl_tls_sessions *sessions, uint64_t now_ms, uint64_t *checked_ms)
{
	SSL_SESSION *found = NULL;

	pthread_mutex_lock(&sessions->lock);
	while (sessions->n && !found) {
		unsigned i = --sessions->n;

		if (now_ms <
		    sessions->kept[i].checked_ms + SESSION_AGE_MAX_MS) { /* loops differ by some milliseconds */
			found = sessions->kept[i].session;
			*checked_ms = sessions->kept[i].checked_ms;
		} else {
			SSL_SESSION_free(sessions->kept[i].session);
		}
	}
	pthread_mutex_unlock(&sessions->lock);
	return found;
}

void rl_tls_sessions_keep(struct rl_tls_sessions *sessions, SSL_SESSION *session, uint64_t checked_ms)
{
	SSL_SESSION *copy = SSL_SESSION_is_resumable(session) ? SSL_SESSION_dup(session) : NULL, *dropped = NULL;

	if (!copy)
		return;
	pthread_mutex_lock(&sessions->lock);
	assert(sessions->n <= SESSIONS_MAX);
	if (sessions->n == SESSIONS_MAX) {
		dropped = sessions->kept[0].session;
		memmove(&sessions->kept[0], &sessions->kept[1], (SESSIONS_MAX - 1) * sizeof sessions->kept[0]);
		sessions->n--;
	}
	sessions->kept[sessions->n].session = copy;
	sessions->kept[sessions->n++].checked_ms = checked_ms;
	pthread_mutex_unlock(&sessions->lock);
	SSL_SESSION_free(dropped);
}

/* A session or ticket has come: in TLS 1.2 during the handshake, in TLS 1.3 at any time after it. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	const struct rl_transport *t = BIO_get_data(SSL_get_rbio(ssl));

	if (t->sessions)
		rl_tls_sessions_keep(t->sessions, session, t->checked_ms);
	return 0; /* `session` stays OpenSSL's */
}

/* ---- what a context is made of ---- */

static bool trust(SSL_CTX *ctx, rl_str ca_file)
{
	char path[PATH_MAX];

	if (ca_file.n == 0)
		return SSL_CTX_set_default_verify_paths(ctx);
	return path_of(ca_file, path) && SSL_CTX_load_verify_file(ctx, path);
}

static bool show(SSL_CTX *ctx, rl_str certificate_file)
{
	char path[PATH_MAX];

	return certificate_file.n == 0 ||
	       (path_of(certificate_file, path) && SSL_CTX_use_certificate_chain_file(ctx, path) == 1);
}

static bool prove(SSL_CTX *ctx, rl_str key_file)
{
	char path[PATH_MAX];

	return key_file.n == 0 ||
	       (path_of(key_file, path) && SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1 &&
		SSL_CTX_check_private_key(ctx) == 1);
}

static bool offer(SSL_CTX *ctx, rl_str alpn)
{
	if (alpn.n == 0)
		alpn = RL_STR(RL_ALPN_HTTP_1);
	return SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn.p, (unsigned)alpn.n) == 0; /* 0 is success */
}

/* What of `spec` does not serve; NULL: all does. */
static const char *configure(SSL_CTX *ctx, const struct rl_tls_client_spec *spec)
{
	SSL_CTX_set_default_passwd_cb(ctx, rl_tls_no_pass_phrase);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	/* OpenSSL's own cache would never be asked: sessions are kept by host, in rl_tls_sessions. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	if (!offer(ctx, spec->alpn))
		return "list of protocols";
	if (!trust(ctx, spec->ca_file))
		return spec->ca_file.n ? "ca_file" : "system's trust store";
	if (!show(ctx, spec->certificate_file))
		return "client certificate";
	return prove(ctx, spec->key_file) ? NULL : "client key";
}

enum rl_err rl_tls_client_new(const struct rl_tls_client_spec *spec, struct rl_tls_client **out, const char **why)
{
	struct rl_tls_client *tls = calloc(1, sizeof *tls);

	assert((spec->certificate_file.n > 0) == (spec->key_file.n > 0));
	*out = NULL;
	*why = rl_err_text(RL_ERR_NOMEM);
	if (!tls)
		return RL_ERR_NOMEM;
	tls->ctx = rl_tls_ctx_new(TLS_client_method());
	const char *wrong = tls->ctx ? configure(tls->ctx, spec) : "TLS library";

	if (wrong) {
		*why = complain(wrong);
		rl_tls_client_free(tls);
		return RL_ERR_TLS;
	}
	*out = tls;
	return RL_OK;
}

/* ---- which context it is ---- */

static void add_file(struct rl_buf *key, rl_str file)
{
	char path[PATH_MAX];
	struct stat st;

	rl_buf_add(key, file);
	if (path_of(file, path) && stat(path, &st) == 0)
		rl_buf_printf(key, "\n%ju %ju %jd %jd.%ld", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
			      (intmax_t)st.st_size, (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	rl_buf_byte(key, '\n');
}

void rl_tls_client_key(const struct rl_tls_client_spec *spec, struct rl_buf *key)
{
	add_file(key, spec->ca_file);
	add_file(key, spec->certificate_file);
	add_file(key, spec->key_file);
	rl_buf_add(key, spec->alpn);
	rl_buf_byte(key, '\n');
}

void rl_tls_client_free(struct rl_tls_client *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}
