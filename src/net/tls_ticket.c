/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that seal session tickets (RFC 5077, RFC 8446 §4.6.1), for as long as the same certificates are served: one
 * that seals, and the one before it, which still opens. So a ticket is good for at least its own lifetime, and what was
 * recorded of a connection can be read with nobody's help once both are gone. They are in memory only.
 *
 * All threads' handshakes come here; the owner's clock decides when a key has had its time.
 */
#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_priv.h"

#define NAME_BYTES 16u /* OpenSSL's, of a key in a ticket */
#define KEY_BYTES 32u

struct key {
	unsigned char name[NAME_BYTES], cipher[KEY_BYTES], mac[KEY_BYTES];
};

struct rl_tls_tickets {
	pthread_mutex_t lock; /* of all but the count */
	struct key now, before;
	bool has_before;
	uint64_t since_ms; /* when `now` began to seal */
	_Atomic unsigned refs;
};

static bool key_make(struct key *key)
{
	return RAND_bytes(key->name, NAME_BYTES) == 1 && RAND_priv_bytes(key->cipher, KEY_BYTES) == 1 &&
	       RAND_priv_bytes(key->mac, KEY_BYTES) == 1;
}

struct rl_tls_tickets *rl_tls_tickets_new(uint64_t now_ms)
{
	struct rl_tls_tickets *tickets = calloc(1, sizeof *tickets);

	if (!tickets || !key_make(&tickets->now) || pthread_mutex_init(&tickets->lock, NULL) != 0) {
		free(tickets);
		return NULL;
	}
	tickets->since_ms = now_ms;
	atomic_init(&tickets->refs, 1);
	return tickets;
}

struct rl_tls_tickets *rl_tls_tickets_ref(struct rl_tls_tickets *tickets)
{
	atomic_fetch_add_explicit(&tickets->refs, 1, memory_order_relaxed);
	return tickets;
}

void rl_tls_tickets_unref(struct rl_tls_tickets *tickets)
{
	if (!tickets || atomic_fetch_sub_explicit(&tickets->refs, 1, memory_order_acq_rel) > 1)
		return;
	pthread_mutex_destroy(&tickets->lock);
	OPENSSL_cleanse(&tickets->now, sizeof tickets->now);
	OPENSSL_cleanse(&tickets->before, sizeof tickets->before);
	free(tickets);
}

void rl_tls_tickets_rotate(struct rl_tls_tickets *tickets, uint64_t now_ms)
{
	struct key next;

	pthread_mutex_lock(&tickets->lock);
	uint64_t age_ms = now_ms - tickets->since_ms;

	if (age_ms >= RL_TLS_TICKET_KEY_MS && key_make(&next)) {
		tickets->has_before =
			age_ms < 2 * RL_TLS_TICKET_KEY_MS; /* else nothing that it has sealed is still good */
		tickets->before = tickets->has_before ? tickets->now : next;
		tickets->now = next;
		tickets->since_ms = now_ms;
		OPENSSL_cleanse(&next, sizeof next);
	}
	pthread_mutex_unlock(&tickets->lock);
}

/* A copy of the key that seals (`name` NULL), or of the one of that name. False: there is none any more. */
static bool key_find(struct rl_tls_tickets *tickets, const unsigned char *name, struct key *out, bool *old)
{
	bool found = true;

	*old = false;
	pthread_mutex_lock(&tickets->lock);
	if (!name || CRYPTO_memcmp(name, tickets->now.name, NAME_BYTES) == 0) {
		*out = tickets->now;
	} else if (tickets->has_before && CRYPTO_memcmp(name, tickets->before.name, NAME_BYTES) == 0) {
		*out = tickets->before;
		*old = true;
	} else {
		found = false;
	}
	pthread_mutex_unlock(&tickets->lock);
	return found;
}

static bool key_use(const struct key *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
	static char digest[] = "SHA256";
	OSSL_PARAM how[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, KEY_BYTES),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, seal) == 1 &&
	       EVP_MAC_CTX_set_params(mac, how) == 1;
}

/*
 * SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 0 no key, 1 done, 2 done and the client is to get a new ticket; less is an
 * error. In TLS 1.3 a ticket serves once, so there is always a new one.
 */
int rl_tls_tickets_use(struct rl_tls_tickets *tickets, SSL *ssl, unsigned char *name, unsigned char *iv,
		       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
	struct key key;
	bool old;

	if (!key_find(tickets, seal ? NULL : name, &key, &old))
		return 0;
	bool ok = !seal || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1;

	ok = ok && key_use(&key, iv, cipher, mac, seal);
	if (seal)
		memcpy(name, key.name, NAME_BYTES);
	OPENSSL_cleanse(&key, sizeof key);
	if (!ok)
		return -1;
	return !seal && (old || SSL_version(ssl) >= TLS1_3_VERSION) ? 2 : 1;
}
