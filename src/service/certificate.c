/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates made in memory: an authority of the simulator's own, and a server's
 * certificate that is good, or wrong in one way. Nothing is kept on disk.
 */
#include "service/simulator_priv.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define DAY_S 86400L

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX cx;

	X509V3_set_ctx_nodb(&cx);
	X509V3_set_ctx(&cx, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &cx, nid, value);
	bool ok = extension && X509_add_ext(certificate, extension, -1);

	X509_EXTENSION_free(extension);
	return ok;
}

static bool set_name(X509 *certificate, const char *common_name)
{
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
					  (const unsigned char *)common_name, -1, -1, 0);
}

/* Everything but extensions and signature. */
static X509 *begin_certificate(EVP_PKEY *key, const char *common_name, long serial, long from_s, long to_s)
{
	X509 *certificate = X509_new();

	if (certificate && X509_set_version(certificate, 2) &&
	    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial) &&
	    X509_gmtime_adj(X509_getm_notBefore(certificate), from_s) &&
	    X509_gmtime_adj(X509_getm_notAfter(certificate), to_s) && X509_set_pubkey(certificate, key) &&
	    set_name(certificate, common_name))
		return certificate;
	X509_free(certificate);
	return NULL;
}

static X509 *make_authority(EVP_PKEY *key)
{
	X509 *ca = begin_certificate(key, "relais simulator authority", 1, -DAY_S, 30 * DAY_S);

	if (ca && X509_set_issuer_name(ca, X509_get_subject_name(ca)) &&
	    add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE") &&
	    add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(ca, ca, NID_subject_key_identifier, "hash") && X509_sign(ca, key, EVP_sha256()))
		return ca;
	X509_free(ca);
	return NULL;
}

/* localhost, its addresses, and the one that it listens on. */
static void alternative_names(enum rl_sim_tls kind, const struct rl_addr *addr, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "127.0.0.1";
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (addr->sa.ss_family == AF_INET) {
		memcpy(&v4, &addr->sa, sizeof v4);
		inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
	} else if (addr->sa.ss_family == AF_INET6) {
		memcpy(&v6, &addr->sa, sizeof v6);
		inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
	}
	if (kind == RL_SIM_TLS_WRONG_NAME)
		snprintf(out, size, "DNS:somebody-else.invalid");
	else
		snprintf(out, size, "DNS:localhost,IP:127.0.0.1,IP:::1,IP:%s", host);
}

static X509 *make_server(enum rl_sim_tls kind, const struct rl_addr *addr, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
	bool expired = kind == RL_SIM_TLS_EXPIRED, self = kind == RL_SIM_TLS_SELF_SIGNED;
	X509 *server = begin_certificate(key, "relais simulator", 2, expired ? -20 * DAY_S : -DAY_S,
					 expired ? -10 * DAY_S : 30 * DAY_S);
	X509 *issuer = self ? server : ca;
	char names[160];

	alternative_names(kind, addr, names, sizeof names);
	if (server && X509_set_issuer_name(server, X509_get_subject_name(issuer)) &&
	    add_extension(server, issuer, NID_basic_constraints, "CA:FALSE") &&
	    add_extension(server, issuer, NID_ext_key_usage, "serverAuth") &&
	    add_extension(server, issuer, NID_subject_alt_name, names) &&
	    /* RFC 5280 §4.2.1.1: strict clients (Python since 3.13) want the issuer's key named. */
	    (self || add_extension(server, issuer, NID_authority_key_identifier, "keyid")) &&
	    X509_sign(server, self ? key : ca_key, EVP_sha256()))
		return server;
	X509_free(server);
	return NULL;
}

/* What the BIO has taken. */
static rl_str text_of(BIO *bio)
{
	char *p = NULL;
	long n = BIO_get_mem_data(bio, &p);

	return rl_str_make(p, n > 0 ? (size_t)n : 0);
}

static enum rl_err serve_with(rl_str certificate, rl_str key, struct rl_tls_server **out, const char **why)
{
	const struct rl_tls_identity identity = {certificate, key};
	struct rl_tls_complaint complaint;
	enum rl_err err =
		rl_tls_server_new(&(struct rl_tls_server_spec){.identities = &identity, .n_identities = 1, .h2 = true},
				  out, &complaint);

	if (err)
		*why = complaint.why;
	return err;
}

enum rl_err rl_sim_certificate_make(enum rl_sim_tls kind, const struct rl_addr *addr, struct rl_buf *ca_pem,
				    struct rl_tls_server **out, const char **why)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
	X509 *ca = ca_key ? make_authority(ca_key) : NULL, *server = NULL;
	BIO *ca_text = BIO_new(BIO_s_mem()), *text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_mem());
	enum rl_err err = RL_ERR_TLS;

	assert(kind != RL_SIM_TLS_OFF);
	*out = NULL;
	*why = "the simulator's certificate cannot be made";
	if (ca && key)
		server = make_server(kind, addr, key, ca, ca_key);
	if (!server || !ca_text || !text || !key_text || !PEM_write_bio_X509(ca_text, ca) ||
	    !PEM_write_bio_X509(text, server) || !PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL))
		goto out;
	rl_buf_add(ca_pem, text_of(ca_text));
	err = rl_buf_ok(ca_pem) ? serve_with(text_of(text), text_of(key_text), out, why) : RL_ERR_NOMEM;
out:
	BIO_free(ca_text);
	BIO_free(text);
	BIO_free(key_text);
	X509_free(ca);
	X509_free(server);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	return err;
}
