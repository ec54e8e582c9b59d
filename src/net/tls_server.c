/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's half of TLS: one context for a listener, with as many certificates as
 * it has names. A client that names a host (SNI, RFC 6066 §3) gets the certificate
 * that is for it: an exact name before a wildcard, in the order given, else the first.
 *
 * A context never changes once it is made; a reload makes another one. What a live
 * connection needs of it (certificates, keys) hangs on OpenSSL's own count of the
 * context, so that owners may drop theirs at any time. Session tickets are sealed by
 * keys of the context's own, which it hands on to the one that follows it with the same
 * certificates: none is good at another listener, or after a change of what clients must
 * show.
 */
#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/tls_priv.h"

#define CHAIN_DEPTH_MAX 10
#define LEFTOVER_BYTES_MAX 65536u

struct rl_tls_server {
	SSL_CTX *ctx;
	_Atomic unsigned refs;
	unsigned char print[SHA256_DIGEST_LENGTH]; /* of the texts that it was made of */
};

struct identity {
	X509 *certificate;
	EVP_PKEY *key;
	STACK_OF(X509) * chain;
};

/* What the callbacks of a context's connections need; it goes with the context. */
struct keyring {
	struct rl_tls_tickets *tickets;
	/*
	 * Written after each look from outside, read before it goes: the context's own counter of references orders the two,
	 * but inside libcrypto, where ThreadSanitizer cannot see it.
	 */
	_Atomic unsigned looks;
	bool h2;
	rl_str plain_answer;
	size_t n;
	struct identity identities[];
};

static int keyring_index = -1;

static void keyring_free(struct keyring *ring)
{
	if (ring) {
		atomic_load_explicit(&ring->looks, memory_order_acquire);
		rl_tls_tickets_unref(ring->tickets);
	}
	for (size_t i = 0; ring && i < ring->n; i++) {
		X509_free(ring->identities[i].certificate);
		EVP_PKEY_free(ring->identities[i].key);
		sk_X509_pop_free(ring->identities[i].chain, X509_free);
	}
	free(ring);
}

static void on_ctx_freed(void *ctx, void *ring, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	(void)ctx;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	keyring_free(ring);
}

static void index_make(void)
{
	keyring_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_ctx_freed);
}

static const struct keyring *keyring_of(const SSL *ssl)
{
	return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keyring_index);
}

/* ---- what a handshake asks ---- */

static bool offered(rl_str list, rl_str name, const unsigned char **out, unsigned char *out_n)
{
	for (size_t i = 0; i < list.n; i += (unsigned char)list.p[i] + 1u) {
		rl_str entry = rl_str_sub(list, i + 1, (unsigned char)list.p[i]);

		if (!rl_str_eq(entry, name))
			continue;
		*out = (const unsigned char *)entry.p;
		*out_n = (unsigned char)entry.n;
		return true;
	}
	return false;
}

/* A client that offers protocols must offer one of ours (RFC 7301 §3.2). */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
		       unsigned in_n, void *arg)
{
	rl_str list = rl_str_make(in, in_n);

	(void)arg;
	if ((keyring_of(ssl)->h2 && offered(list, RL_STR("h2"), out, out_n)) ||
	    offered(list, RL_STR("http/1.1"), out, out_n))
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static const struct identity *identity_for(const struct keyring *ring, const char *name)
{
	static const unsigned strictness[] = {X509_CHECK_FLAG_NO_WILDCARDS, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS};

	for (size_t pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < ring->n; i++)
			if (X509_check_host(ring->identities[i].certificate, name, 0, strictness[pass], NULL) == 1)
				return &ring->identities[i];
	return &ring->identities[0];
}

static int choose_identity(SSL *ssl, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	const struct keyring *ring = keyring_of(ssl);
	const struct identity *id = name ? identity_for(ring, name) : &ring->identities[0];

	(void)arg;
	if (id == &ring->identities[0])
		return 1;
	SSL_certs_clear(ssl); /* the first one's may be of another kind of key, and would stay beside this */
	return SSL_use_cert_and_key(ssl, id->certificate, id->key, id->chain, 1);
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
		     int seal)
{
	return rl_tls_tickets_use(keyring_of(ssl)->tickets, ssl, name, iv, cipher, mac, seal);
}

void rl_tls_answer_plain(struct rl_transport *t)
{
	char room[1024] __attribute__((uninitialized));
	const struct keyring *ring = keyring_of(t->ssl);

	if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_HTTP_REQUEST || !ring->plain_answer.n)
		return;
	(void)send(t->fd, ring->plain_answer.p, ring->plain_answer.n, MSG_NOSIGNAL);
	(void)shutdown(t->fd, SHUT_WR);
	/* What is unread when the descriptor is closed would reset the connection, and the answer with it. */
	for (size_t n = 0; n < LEFTOVER_BYTES_MAX && recv(t->fd, room, sizeof room, 0) > 0; n += sizeof room)
		;
}

/* ---- what went wrong in one ---- */

rl_str rl_tls_failure_name(enum rl_tls_failure failure)
{
	static const rl_str names[] = {
#define X(id, name) [RL_TLS_FAILURE_##id] = RL_STR_INIT(name),
		RL_TLS_FAILURES(X)
#undef X
	};

	assert(failure < RL_TLS_FAILURE_COUNT);
	return names[failure];
}

/* The client's alerts stand among the reasons too, by their own names. */
enum rl_tls_failure rl_tls_classify(enum rl_err err)
{
	static const struct {
		int reason;
		enum rl_tls_failure is;
	} known[] = {
		{SSL_R_UNSUPPORTED_PROTOCOL, RL_TLS_FAILURE_VERSION},
		{SSL_R_VERSION_TOO_LOW, RL_TLS_FAILURE_VERSION},
		{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, RL_TLS_FAILURE_VERSION},
		{SSL_R_NO_SHARED_CIPHER, RL_TLS_FAILURE_CIPHER},
		{SSL_R_NO_SUITABLE_KEY_SHARE, RL_TLS_FAILURE_CIPHER},
		{SSL_R_NO_SHARED_GROUPS, RL_TLS_FAILURE_CIPHER},
		{SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, RL_TLS_FAILURE_CIPHER},
		{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, RL_TLS_FAILURE_CIPHER},
		{SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, RL_TLS_FAILURE_CIPHER},
		{SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY, RL_TLS_FAILURE_CIPHER},
		{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, RL_TLS_FAILURE_CERTIFICATE},
		{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, RL_TLS_FAILURE_CERTIFICATE},
		{SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, RL_TLS_FAILURE_CERTIFICATE},
		{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, RL_TLS_FAILURE_CERTIFICATE},
		{SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, RL_TLS_FAILURE_CERTIFICATE},
		{SSL_R_TLSV1_ALERT_UNKNOWN_CA, RL_TLS_FAILURE_CERTIFICATE},
		{SSL_R_CERTIFICATE_VERIFY_FAILED, RL_TLS_FAILURE_CLIENT_CERTIFICATE},
		{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, RL_TLS_FAILURE_CLIENT_CERTIFICATE},
		{SSL_R_HTTP_REQUEST, RL_TLS_FAILURE_NOT_TLS},
		{SSL_R_HTTPS_PROXY_REQUEST, RL_TLS_FAILURE_NOT_TLS},
		{SSL_R_WRONG_VERSION_NUMBER, RL_TLS_FAILURE_NOT_TLS},
		{SSL_R_UNKNOWN_PROTOCOL, RL_TLS_FAILURE_NOT_TLS},
		{SSL_R_UNEXPECTED_EOF_WHILE_READING, RL_TLS_FAILURE_CLOSED},
	};
	unsigned long code = ERR_peek_error();

	if (err != RL_ERR_TLS || !code)
		return RL_TLS_FAILURE_CLOSED;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == known[i].reason)
			return known[i].is;
	return RL_TLS_FAILURE_OTHER;
}

/* ---- reading PEM ---- */

static BIO *bio_of(rl_str text)
{
	return text.n <= INT_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
}

/* The end of a PEM text looks like an error. */
static bool at_end(void)
{
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return false;
	ERR_clear_error();
	return true;
}

/* All further certificates of the text. NULL when one cannot be read. */
static STACK_OF(X509) * read_chain(BIO *pem)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *certificate;

	while (chain && (certificate = PEM_read_bio_X509(pem, NULL, rl_tls_no_pass_phrase, NULL))) {
		if (sk_X509_push(chain, certificate))
			continue;
		X509_free(certificate);
		sk_X509_pop_free(chain, X509_free);
		return NULL;
	}
	if (chain && at_end())
		return chain;
	sk_X509_pop_free(chain, X509_free);
	return NULL;
}

/* The server's certificate, then those that lead to its authority; and its key. Returns which of them is no good. */
static enum rl_tls_part read_identity(const struct rl_tls_identity *pem, struct identity *out)
{
	BIO *certificate = bio_of(pem->certificate_pem), *key = bio_of(pem->key_pem);
	enum rl_tls_part wrong = RL_TLS_PART_NONE;

	if (certificate)
		out->certificate = PEM_read_bio_X509_AUX(certificate, NULL, rl_tls_no_pass_phrase, NULL);
	if (!out->certificate || !(out->chain = read_chain(certificate)))
		wrong = RL_TLS_PART_CERTIFICATE;
	else if (!key || !(out->key = PEM_read_bio_PrivateKey(key, NULL, rl_tls_no_pass_phrase, NULL)))
		wrong = RL_TLS_PART_KEY;
	BIO_free(certificate);
	BIO_free(key);
	return wrong;
}

/*
 * Clients must show a certificate of one of these authorities that may be used by clients (RFC 5280 §4.2.1.12:
 * OpenSSL's purpose "sslclient", its default for a server).
 */
static bool demand_certificates(SSL_CTX *ctx, rl_str pem)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = bio_of(pem);
	STACK_OF(X509) *authorities = bio ? read_chain(bio) : NULL;
	bool ok = authorities && sk_X509_num(authorities) > 0;

	for (int i = 0; ok && i < sk_X509_num(authorities); i++) {
		X509 *authority = sk_X509_value(authorities, i);

		ok = X509_STORE_add_cert(store, authority) == 1 && SSL_CTX_add_client_CA(ctx, authority) == 1;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH_MAX);
	sk_X509_pop_free(authorities, X509_free);
	BIO_free(bio);
	return ok;
}

/* ---- contexts ---- */

static SSL_CTX *ctx_new(void)
{
	static const unsigned char session_context[] = "relais";
	SSL_CTX *ctx = rl_tls_ctx_new(TLS_server_method());

	/* In TLS 1.2 only what TLS 1.3 has too: forward secrecy, authenticated encryption. */
	if (!ctx || !SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") ||
	    !SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets only */
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_timeout(ctx, RL_TLS_TICKET_KEY_MS / 1000);
	SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
	SSL_CTX_set_cert_cb(ctx, choose_identity, NULL);
	return ctx;
}

/*
 * Strength, and whether the key is that of the certificate. The first becomes the context's own; the others are
 * tried on one that nobody uses, since a context keeps one certificate for each kind of key.
 */
static enum rl_tls_part try_identity(SSL_CTX *ctx, const struct identity *id, bool first)
{
	SSL_CTX *on = first ? ctx : rl_tls_ctx_new(TLS_server_method());
	enum rl_tls_part wrong = RL_TLS_PART_NONE;

	if (!on || SSL_CTX_use_certificate(on, id->certificate) != 1 || SSL_CTX_set1_chain(on, id->chain) != 1)
		wrong = RL_TLS_PART_CERTIFICATE;
	else if (SSL_CTX_use_PrivateKey(on, id->key) != 1 || SSL_CTX_check_private_key(on) != 1)
		wrong = RL_TLS_PART_KEY;
	if (!first)
		SSL_CTX_free(on);
	return wrong;
}

static void furnish(SSL_CTX *ctx, struct keyring *ring, const struct rl_tls_server_spec *spec,
		    struct rl_tls_complaint *complaint)
{
	for (size_t i = 0; i < spec->n_identities; i++) {
		struct identity *id = &ring->identities[i];

		ring->n = i + 1;
		complaint->part = read_identity(&spec->identities[i], id);
		if (!complaint->part)
			complaint->part = try_identity(ctx, id, i == 0);
		complaint->identity = i;
		if (complaint->part)
			return;
	}
	if (spec->client_ca_pem.n && !demand_certificates(ctx, spec->client_ca_pem))
		complaint->part = RL_TLS_PART_CLIENT_CA;
}

static struct keyring *keyring_new(const struct rl_tls_server_spec *spec)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct keyring *ring = calloc(1, sizeof *ring + spec->n_identities * sizeof ring->identities[0]);

	pthread_once(&once, index_make);
	if (ring)
		ring->tickets = rl_tls_tickets_new(rl_clock_us() / 1000);
	if (!ring || keyring_index < 0 || !ring->tickets) {
		keyring_free(ring);
		return NULL;
	}
	ring->h2 = spec->h2;
	ring->plain_answer = spec->plain_answer;
	return ring;
}

static bool print_add(EVP_MD_CTX *print, rl_str text)
{
	uint64_t n = text.n;

	return EVP_DigestUpdate(print, &n, sizeof n) == 1 && EVP_DigestUpdate(print, text.p, text.n) == 1;
}

/* Of texts and their lengths: others never give the same. */
static bool print_of(const struct rl_tls_server_spec *spec, unsigned char out[SHA256_DIGEST_LENGTH])
{
	EVP_MD_CTX *print = EVP_MD_CTX_new();
	bool ok = print && EVP_DigestInit_ex(print, EVP_sha256(), NULL) == 1 && print_add(print, spec->client_ca_pem);

	for (size_t i = 0; ok && i < spec->n_identities; i++)
		ok = print_add(print, spec->identities[i].certificate_pem) &&
		     print_add(print, spec->identities[i].key_pem);
	ok = ok && EVP_DigestFinal_ex(print, out, NULL) == 1;
	EVP_MD_CTX_free(print);
	return ok;
}

/* OpenSSL's own words are about its inside; these are about the file. */
static const char *explain(enum rl_tls_part part)
{
	static const struct {
		int library, reason;
		const char *text;
	} known[] = {
		{ERR_LIB_PEM, PEM_R_BAD_PASSWORD_READ, "is protected by a pass phrase: give a key without one"},
		{ERR_LIB_PEM, PEM_R_PROBLEMS_GETTING_PASSWORD, "is protected by a pass phrase: give a key without one"},
		{ERR_LIB_X509, X509_R_KEY_VALUES_MISMATCH, "is not the key of its certificate"},
		{ERR_LIB_X509, X509_R_KEY_TYPE_MISMATCH, "is not the key of its certificate"},
		{ERR_LIB_SSL, SSL_R_EE_KEY_TOO_SMALL, "holds a certificate whose key is too weak"},
		{ERR_LIB_SSL, SSL_R_CA_KEY_TOO_SMALL, "holds an authority's certificate whose key is too weak"},
		{ERR_LIB_SSL, SSL_R_CA_MD_TOO_WEAK, "holds a certificate whose signature is too weak"},
	};
	static const char *const otherwise[] = {
		[RL_TLS_PART_CERTIFICATE] = "holds no certificate in PEM form that can be used",
		[RL_TLS_PART_KEY] = "holds no private key in PEM form that can be used",
		[RL_TLS_PART_CLIENT_CA] = "holds no authorities' certificates in PEM form",
	};

	for (unsigned long code; (code = ERR_get_error());)
		for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
			if (ERR_GET_LIB(code) == known[i].library && ERR_GET_REASON(code) == known[i].reason)
				return known[i].text;
	return otherwise[part];
}

enum rl_err rl_tls_server_new(const struct rl_tls_server_spec *spec, struct rl_tls_server **out,
			      struct rl_tls_complaint *complaint)
{
	struct rl_tls_server *tls = calloc(1, sizeof *tls);
	struct keyring *ring = keyring_new(spec);

	assert(spec->n_identities > 0);
	*out = NULL;
	*complaint = (struct rl_tls_complaint){.why = rl_err_text(RL_ERR_NOMEM)};
	if (tls) {
		atomic_init(&tls->refs, 1);
		tls->ctx = ctx_new();
	}
	if (!ring || !tls || !tls->ctx || !print_of(spec, tls->print) ||
	    !SSL_CTX_set_ex_data(tls->ctx, keyring_index, ring)) {
		keyring_free(ring);
		rl_tls_server_unref(tls);
		return RL_ERR_NOMEM;
	}
	ERR_clear_error();
	furnish(tls->ctx, ring, spec, complaint);
	if (complaint->part) {
		complaint->why = explain(complaint->part);
		rl_tls_server_unref(tls);
		return RL_ERR_TLS;
	}
	complaint->why = NULL;
	*out = tls;
	return RL_OK;
}

void rl_tls_server_succeed(struct rl_tls_server *tls, const struct rl_tls_server *before)
{
	if (!before || before == tls || CRYPTO_memcmp(tls->print, before->print, sizeof tls->print) != 0)
		return;
	struct keyring *ring = SSL_CTX_get_ex_data(tls->ctx, keyring_index);
	struct keyring *old = SSL_CTX_get_ex_data(before->ctx, keyring_index);
	struct rl_tls_tickets *own = ring->tickets;

	ring->tickets = rl_tls_tickets_ref(old->tickets);
	atomic_fetch_add_explicit(&old->looks, 1, memory_order_release);
	rl_tls_tickets_unref(own);
}

void rl_tls_server_rotate(struct rl_tls_server *tls, uint64_t now_ms)
{
	struct keyring *ring = tls ? SSL_CTX_get_ex_data(tls->ctx, keyring_index) : NULL;

	if (!ring)
		return;
	rl_tls_tickets_rotate(ring->tickets, now_ms);
	atomic_fetch_add_explicit(&ring->looks, 1, memory_order_release);
}

struct rl_tls_server *rl_tls_server_ref(struct rl_tls_server *tls)
{
	if (tls)
		atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
	return tls;
}

void rl_tls_server_unref(struct rl_tls_server *tls)
{
	if (!tls || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) > 1)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

enum rl_err rl_tls_attach_server(struct rl_transport *t, struct rl_tls_server *tls)
{
	enum rl_err err = rl_tls_attach(t, tls->ctx);

	if (err)
		return err;
	SSL_set_accept_state(t->ssl);
	return RL_OK;
}
