/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about TLS share: the filter (tls.c), contexts of both sides. */
#ifndef RL_NET_TLS_PRIV_H
#define RL_NET_TLS_PRIV_H

#include <openssl/ssl.h>

#include "net/tls.h"
#include "net/transport_priv.h"

struct rl_tls_client {
	SSL_CTX *ctx;
};

/* With what holds for both sides: versions, modes, nothing compressed or renegotiated. NULL: OpenSSL has noted why. */
SSL_CTX *rl_tls_ctx_new(const SSL_METHOD *method);
/* The first error that OpenSSL has noted, as static text. */
const char *rl_tls_error_text(const char *otherwise);
/* Puts the TLS filter on a transport. NOMEM. */
enum rl_err rl_tls_attach(struct rl_transport *t, SSL_CTX *ctx) RL_MUST_CHECK;
/* A server's handshake failed with OpenSSL's errors still queued: a client that spoke plain HTTP is told so. */
void rl_tls_answer_plain(struct rl_transport *t);
/* A server's handshake ended with `err`: what kind of failure that is, by OpenSSL's errors, which are still queued. */
enum rl_tls_failure rl_tls_classify(enum rl_err err);
/* A pem_password_cb: a key with a pass phrase is refused, rather than asked for on the terminal. */
int rl_tls_no_pass_phrase(char *buf, int size, int rwflag, void *arg);

/*
 * Keys of session tickets, counted and thread-safe (tls_ticket.c). rotate makes a new key when the present one has had its
 * time; the one before it goes on opening tickets. `use` is OpenSSL's callback.
 */
struct rl_tls_tickets;
struct rl_tls_tickets *rl_tls_tickets_new(uint64_t now_ms);
struct rl_tls_tickets *rl_tls_tickets_ref(struct rl_tls_tickets *tickets);
void rl_tls_tickets_unref(struct rl_tls_tickets *tickets); /* accepts NULL */
void rl_tls_tickets_rotate(struct rl_tls_tickets *tickets, uint64_t now_ms);
int rl_tls_tickets_use(struct rl_tls_tickets *tickets, SSL *ssl, unsigned char *name, unsigned char *iv,
		       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal);

/* The newest session that is still good, now the caller's, and when its certificate was checked; or NULL. */
SSL_SESSION *rl_tls_sessions_take(struct rl_tls_sessions *sessions, uint64_t now_ms, uint64_t *checked_ms);
/* Keeps a copy: OpenSSL goes on writing to the one of a living connection, maybe while another thread resumes it. */
void rl_tls_sessions_keep(struct rl_tls_sessions *sessions, SSL_SESSION *session, uint64_t checked_ms);

#endif
