/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS transports against each other and against plain OpenSSL, with an authority
 * and certificates that are made here, so that none can expire in the repository.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/tls_priv.h"
#include "net/transport.h"

#define DAY_S 86400L
#define NAMES "DNS:localhost,DNS:*.good.test,IP:127.0.0.1"

/* ---- certificates ---- */

struct identity {
	X509 *cert;
	EVP_PKEY *key;
};

static struct identity authority, stranger;
static char ca_path[] = "/tmp/relais-test-ca-XXXXXX";

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* Signed by `issuer`, or by itself. `names` NULL: an authority. */
static struct identity identity_new(const char *common_name, const struct identity *issuer, const char *names,
				    long begins_s, long ends_s)
{
	static long serial;
	struct identity id = {X509_new(), EVP_EC_gen("P-256")};
	X509_NAME *name = X509_get_subject_name(id.cert);

	assert_non_null(id.key);
	X509_set_version(id.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(id.cert), begins_s);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), ends_s);
	X509_set_pubkey(id.cert, id.key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0);
	X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : name);
	extend(id.cert, issuer ? issuer->cert : id.cert, NID_basic_constraints,
	       names ? "CA:FALSE" : "critical,CA:TRUE");
	if (names)
		extend(id.cert, issuer ? issuer->cert : id.cert, NID_subject_alt_name, names);
	assert_true(X509_sign(id.cert, issuer ? issuer->key : id.key, EVP_sha256()) > 0);
	return id;
}

static void identity_free(struct identity *id)
{
	X509_free(id->cert);
	EVP_PKEY_free(id->key);
}

static rl_str pem_of(BIO *bio)
{
	char *p;
	long size = BIO_get_mem_data(bio, &p);

	return rl_str_make(p, (size_t)size);
}

static enum rl_err server_with(rl_str certificate, rl_str key, struct rl_tls_server **out, const char **why)
{
	const struct rl_tls_identity identity = {certificate, key};
	struct rl_tls_complaint complaint;
	enum rl_err err = rl_tls_server_new(&(struct rl_tls_server_spec){.identities = &identity, .n_identities = 1},
					    out, &complaint);

	*why = complaint.why;
	return err;
}

static enum rl_err server_of(const struct identity *id, struct rl_tls_server **out)
{
	BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
	const char *why;

	PEM_write_bio_X509(cert, id->cert);
	PEM_write_bio_X509(cert, authority.cert); /* a chain */
	PEM_write_bio_PrivateKey(key, id->key, NULL, NULL, 0, NULL, NULL);
	enum rl_err err = server_with(pem_of(cert), pem_of(key), out, &why);

	BIO_free(cert);
	BIO_free(key);
	return err;
}

static int make_authorities(void **state)
{
	int fd = mkstemp(ca_path);
	FILE *file = fdopen(fd, "w");

	(void)state;
	authority = identity_new("Test Authority", NULL, NULL, -DAY_S, DAY_S);
	stranger = identity_new("Other Authority", NULL, NULL, -DAY_S, DAY_S);
	PEM_write_X509(file, authority.cert);
	fclose(file);
	return 0;
}

static int drop_authorities(void **state)
{
	(void)state;
	identity_free(&authority);
	identity_free(&stranger);
	unlink(ca_path);
	return 0;
}

/* ---- two ends ---- */

struct end {
	struct rl_transport *t;
	unsigned seen, calls, hangups;
	size_t got, sent, to_send, piece; /* piece: bytes of one write and of one read; 0: as it comes */
	enum rl_err read_err;
	bool read_once; /* one read an event */
	bool stop_on_ready;
};

static struct {
	struct rl_loop *loop;
	struct rl_timer timer;
	struct rl_tls_client *client;
	struct rl_tls_sessions *sessions; /* of the client's connections, where a test makes them */
	struct rl_tls_server *server;
	struct identity id;
	struct end a, b; /* client, server */
	int listener;
	struct rl_addr addr;
	struct rl_poll *listening;
	char text[1 << 20];
} n;

static void stop(struct rl_timer *timer)
{
	(void)timer;
	rl_loop_stop(n.loop);
}

static void run_ms(uint64_t ms)
{
	rl_timer_start(n.loop, &n.timer, ms);
	rl_loop_run(n.loop);
	rl_timer_stop(&n.timer);
}

/* Waits as long as it takes on a busy machine (but not for ever). */
#define RUN_UNTIL(condition)                                \
	do {                                                \
		bool is_;                                   \
		int i_ = 0;                                 \
		while (!(is_ = (condition)) && i_++ < 1000) \
			run_ms(5);                          \
		assert_true(is_);                           \
	} while (0)

static void end_send(struct end *end)
{
	while (end->sent < end->to_send) {
		size_t left = end->to_send - end->sent;
		struct iovec iov[3];
		enum rl_err err;

		if (end->piece && left > end->piece)
			left = end->piece;
		for (int i = 0; i < 3; i++)
			iov[i] = (struct iovec){n.text + end->sent + left / 3 * (size_t)i,
						i < 2 ? left / 3 : left - left / 3 * 2};
		size_t took = rl_transport_write(end->t, iov, 3, &err);

		assert_int_equal(err, RL_OK);
		if (took == 0)
			break;
		end->sent += took;
	}
	rl_transport_want(end->t, true, end->sent < end->to_send);
}

static void end_read(struct end *end)
{
	char room[20000];
	size_t got;

	do {
		got = rl_transport_read(end->t, room, end->piece ? end->piece : sizeof room, &end->read_err);
		assert_memory_equal(room, n.text + end->got, got);
		end->got += got;
	} while (got > 0 && !end->read_once);
}

static void on_event(void *owner, struct rl_transport *t, unsigned events)
{
	struct end *end = owner;

	assert_ptr_equal(end->t, t);
	end->calls++;
	end->seen |= events;
	end->hangups += (events & RL_EV_HANGUP) != 0;
	if ((events & RL_EV_READY) && end->stop_on_ready)
		rl_loop_stop(n.loop);
	if (events & RL_EV_READ)
		end_read(end);
	if (events & (RL_EV_WRITE | RL_EV_READY))
		end_send(end);
}

static void on_connection(void *owner, unsigned events)
{
	int fd = accept4(n.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)owner;
	(void)events;
	if (fd < 0)
		return;
	assert_int_equal(rl_transport_accept(n.loop, fd, n.server, on_event, &n.b, &n.b.t), RL_OK);
}

static int setup(void **state)
{
	const char *why;

	(void)state;
	memset(&n.a, 0, sizeof n.a);
	memset(&n.b, 0, sizeof n.b);
	for (size_t i = 0; i < sizeof n.text; i++)
		n.text[i] = (char)(i * 2654435761u >> 13);
	rl_timer_init(&n.timer, stop);
	assert_int_equal(rl_loop_new("tls", &n.loop), RL_OK);
	assert_int_equal(rl_addr_parse(RL_STR("127.0.0.1:0"), &n.addr), RL_OK);
	n.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(n.listener, (struct sockaddr *)&n.addr.sa, n.addr.len), 0);
	assert_int_equal(listen(n.listener, 8), 0);
	assert_int_equal(getsockname(n.listener, (struct sockaddr *)&n.addr.sa, &n.addr.len), 0);
	assert_int_equal(rl_poll_new(n.loop, n.listener, on_connection, NULL, &n.listening), RL_OK);
	rl_poll_want(n.listening, RL_POLL_READ);
	assert_int_equal(rl_tls_client_new(&(struct rl_tls_client_spec){.ca_file = rl_str_of(ca_path)}, &n.client,
					   &why),
			 RL_OK);
	n.id = identity_new("leaf", &authority, NAMES, -DAY_S, DAY_S);
	assert_int_equal(server_of(&n.id, &n.server), RL_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	/* Contexts first: live connections keep what they need. */
	rl_tls_client_free(n.client);
	rl_tls_server_unref(n.server);
	rl_tls_sessions_unref(n.sessions);
	n.sessions = NULL;
	rl_transport_close(n.a.t, false);
	rl_transport_close(n.b.t, false);
	identity_free(&n.id);
	rl_poll_free(n.listening);
	close(n.listener);
	rl_loop_free(n.loop);
	return 0;
}

static void dial(const char *host)
{
	const struct rl_transport_target target = {
		.addrs = &n.addr, .n_addrs = 1, .tls = n.client, .host = rl_str_of(host), .sessions = n.sessions};

	assert_int_equal(rl_transport_connect(n.loop, &target, on_event, &n.a, &n.a.t), RL_OK);
}

static void use_identity(struct identity id)
{
	rl_tls_server_unref(n.server);
	identity_free(&n.id);
	n.id = id;
	assert_int_equal(server_of(&n.id, &n.server), RL_OK);
}

static void expect_refusal(const char *host, const char *detail)
{
	dial(host);
	RUN_UNTIL(n.a.seen);
	run_ms(20);
	assert_int_equal(n.a.seen, RL_EV_FAILED);
	assert_int_equal(n.a.calls, 1);
	assert_int_equal(rl_transport_reason(n.a.t), RL_ERR_TLS);
	assert_non_null(strstr(rl_transport_detail(n.a.t), detail));
	assert_int_equal(n.b.seen & RL_EV_READ, 0);
}

/* ---- certificates that are good, and that are not ---- */

static void expect_good(const char *host)
{
	n.a.to_send = 5;
	dial(host);
	RUN_UNTIL((n.a.seen & RL_EV_FAILED) || n.b.got == 5);
	assert_int_equal(n.a.seen & (RL_EV_READY | RL_EV_FAILED), RL_EV_READY);
	assert_int_equal(n.b.got, 5);
}

static void test_good_name(void **state)
{
	(void)state;
	expect_good("localhost");
}

static void test_good_address(void **state)
{
	(void)state;
	expect_good("127.0.0.1");
}

static void test_good_wildcard(void **state)
{
	(void)state;
	expect_good("api.good.test.");
}

static void test_wrong_name(void **state)
{
	(void)state;
	expect_refusal("good.test", "ostname mismatch");
}

static void test_wrong_address(void **state)
{
	(void)state;
	expect_refusal("[::1]", "IP address mismatch");
}

static void test_address_is_no_name(void **state)
{
	(void)state;
	use_identity(identity_new("127.0.0.1", &authority, "DNS:127.0.0.1", -DAY_S, DAY_S));
	expect_refusal("127.0.0.1", "IP address mismatch");
}

static void test_expired(void **state)
{
	(void)state;
	use_identity(identity_new("leaf", &authority, NAMES, -2 * DAY_S, -DAY_S));
	expect_refusal("localhost", "certificate has expired");
}

static void test_not_yet(void **state)
{
	(void)state;
	use_identity(identity_new("leaf", &authority, NAMES, DAY_S, 2 * DAY_S));
	expect_refusal("localhost", "not yet valid");
}

static void test_self_signed(void **state)
{
	(void)state;
	use_identity(identity_new("leaf", NULL, NAMES, -DAY_S, DAY_S));
	expect_refusal("localhost", "self-signed certificate");
}

static void test_unknown_authority(void **state)
{
	(void)state;
	use_identity(identity_new("leaf", &stranger, NAMES, -DAY_S, DAY_S));
	expect_refusal("localhost", "unable to get local issuer certificate");
}

static void test_system_store_does_not_know_us(void **state)
{
	const char *why;

	(void)state;
	rl_tls_client_free(n.client);
	assert_int_equal(rl_tls_client_new(&(struct rl_tls_client_spec){0}, &n.client, &why), RL_OK);
	expect_refusal("localhost", "certificate");
}

/* "localhost", then NUL and a name that its owner may well have a certificate for (FAULTS 31). */
static void test_name_with_nul(void **state)
{
	static const char name[] = "localhost\0.stranger.test";
	GENERAL_NAME *general = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	STACK_OF(GENERAL_NAME) *names = sk_GENERAL_NAME_new_null();
	struct identity id = identity_new("localhost", &authority, "DNS:x", -DAY_S, DAY_S);

	(void)state;
	ASN1_STRING_set(text, name, sizeof name - 1);
	GENERAL_NAME_set0_value(general, GEN_DNS, text);
	sk_GENERAL_NAME_push(names, general);
	assert_int_equal(X509_add1_ext_i2d(id.cert, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE), 1);
	assert_true(X509_sign(id.cert, authority.key, EVP_sha256()) > 0);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	use_identity(id);
	expect_refusal("localhost", "ostname mismatch");
}

static void test_nobody_to_check(void **state)
{
	const struct rl_transport_target target = {.addrs = &n.addr, .n_addrs = 1, .tls = n.client};

	(void)state;
	assert_int_not_equal(rl_transport_connect(n.loop, &target, on_event, &n.a, &n.a.t), RL_OK);
	assert_null(n.a.t);
}

static void test_bad_files(void **state)
{
	struct identity other = identity_new("other", &authority, NAMES, -DAY_S, DAY_S);
	struct identity mixed = {n.id.cert, other.key};
	struct rl_tls_server *server;
	struct rl_tls_client *client;
	struct rl_tls_client_spec spec = {0};
	const char *why = NULL;
	BIO *locked = BIO_new(BIO_s_mem()), *cert = BIO_new(BIO_s_mem());

	(void)state;
	assert_int_equal(server_with(RL_STR("nonsense"), RL_STR("nonsense"), &server, &why), RL_ERR_TLS);
	assert_non_null(why);
	assert_int_equal(server_of(&mixed, &server), RL_ERR_TLS);
	assert_null(server);
	PEM_write_bio_X509(cert, n.id.cert);
	PEM_write_bio_PrivateKey(locked, n.id.key, EVP_aes_128_cbc(), (const unsigned char *)"pass", 4, NULL, NULL);
	assert_int_equal(server_with(pem_of(cert), pem_of(locked), &server, &why), RL_ERR_TLS);
	why = NULL;
	spec.ca_file = RL_STR("/nonexistent/ca.pem");
	assert_int_equal(rl_tls_client_new(&spec, &client, &why), RL_ERR_TLS);
	assert_non_null(strstr(why, "ca_file"));
	spec.ca_file = rl_str_of(ca_path);
	spec.certificate_file = spec.key_file = rl_str_of(ca_path); /* a certificate, but no key */
	assert_int_equal(rl_tls_client_new(&spec, &client, &why), RL_ERR_TLS);
	assert_non_null(strstr(why, "client key"));
	spec.certificate_file = spec.key_file = RL_STR("/nonexistent/us.pem");
	assert_int_equal(rl_tls_client_new(&spec, &client, &why), RL_ERR_TLS);
	assert_non_null(strstr(why, "client certificate"));
	assert_null(client);
	BIO_free(locked);
	BIO_free(cert);
	identity_free(&other);
}

/* ---- contexts by what they are made of ---- */

static void expect_key(const struct rl_tls_client_spec *spec, struct rl_buf *key, bool same)
{
	struct rl_buf now;

	rl_buf_init(&now, 4096);
	rl_tls_client_key(spec, &now);
	assert_true(rl_buf_ok(&now));
	assert_int_equal(rl_str_eq(rl_buf_str(&now), rl_buf_str(key)), same);
	rl_buf_fini(key);
	*key = now;
}

static void test_a_renewed_file_makes_another_key(void **state)
{
	struct rl_tls_client_spec spec = {.ca_file = rl_str_of(ca_path)};
	char other[] = "/tmp/relais-test-ca-XXXXXX";
	int fd = mkstemp(other);
	struct rl_buf key;

	(void)state;
	rl_buf_init(&key, 4096);
	expect_key(&spec, &key, false);
	expect_key(&spec, &key, true);
	spec.alpn = RL_STR("\x02h2");
	expect_key(&spec, &key, false);
	spec.ca_file = rl_str_of(other);
	expect_key(&spec, &key, false);
	expect_key(&spec, &key, true);
	assert_int_equal(write(fd, "x", 1), 1);
	expect_key(&spec, &key, false);
	close(fd);
	unlink(other);
	expect_key(&spec, &key, false);
	rl_buf_fini(&key);
}

/* ---- sessions ---- */

/* Bytes both ways, so that what the server says of its own accord has been read; then both leave. */
static bool meet_and_part(const char *host)
{
	memset(&n.a, 0, sizeof n.a);
	memset(&n.b, 0, sizeof n.b);
	n.b.to_send = 5;
	expect_good(host);
	RUN_UNTIL(n.a.got == 5);
	bool resumed = rl_transport_resumed(n.a.t);

	assert_int_equal(rl_transport_resumed(n.b.t), resumed);
	rl_transport_close(n.a.t, false);
	rl_transport_close(n.b.t, false);
	n.a.t = n.b.t = NULL;
	run_ms(1);
	return resumed;
}

static void resume_again_and_again(int version)
{
	SSL_CTX_set_max_proto_version(n.client->ctx, version);
	assert_int_equal(rl_tls_sessions_new(&n.sessions), RL_OK);
	assert_false(meet_and_part("localhost"));
	for (int i = 0; i < 5; i++)
		assert_true(meet_and_part("localhost"));
	/* A server that does not know the ticket any more costs a whole handshake, not a failure. */
	use_identity(identity_new("leaf", &authority, NAMES, -DAY_S, DAY_S));
	assert_false(meet_and_part("localhost"));
	assert_true(meet_and_part("localhost"));
}

static void test_tls_1_3_resumes(void **state)
{
	(void)state;
	resume_again_and_again(TLS1_3_VERSION);
}

static void test_tls_1_2_resumes(void **state)
{
	(void)state;
	resume_again_and_again(TLS1_2_VERSION);
}

static void test_without_sessions_nothing_resumes(void **state)
{
	(void)state;
	assert_false(meet_and_part("localhost"));
	assert_false(meet_and_part("localhost"));
}

static void rotate_at(uint64_t begin_ms, uint64_t periods_ms)
{
	rl_tls_server_rotate(n.server, begin_ms + periods_ms);
}

/* A ticket is good for as long as a key seals, and no longer than two of them do. */
static void keys_come_and_go(int version)
{
	const uint64_t begin_ms = rl_clock_us() / 1000, period_ms = RL_TLS_TICKET_KEY_MS;

	SSL_CTX_set_max_proto_version(n.client->ctx, version);
	assert_int_equal(rl_tls_sessions_new(&n.sessions), RL_OK);
	assert_false(meet_and_part("localhost"));
	for (int i = 0; i < 3; i++)
		rotate_at(begin_ms, period_ms / 2); /* too early for another one */
	assert_true(meet_and_part("localhost"));
	for (uint64_t i = 1; i <= 3; i++) {
		rotate_at(begin_ms, i * period_ms);
		assert_true(meet_and_part("localhost")); /* by the key before, and sealed anew */
	}
	rotate_at(begin_ms, 4 * period_ms);
	rotate_at(begin_ms, 5 * period_ms);
	assert_false(meet_and_part("localhost"));
	assert_true(meet_and_part("localhost"));
	rotate_at(begin_ms, 7 * period_ms); /* nobody came for so long that what the last one sealed has had its time */
	assert_false(meet_and_part("localhost"));
}

static void test_ticket_keys_of_tls_1_3(void **state)
{
	(void)state;
	keys_come_and_go(TLS1_3_VERSION);
}

static void test_ticket_keys_of_tls_1_2(void **state)
{
	(void)state;
	keys_come_and_go(TLS1_2_VERSION);
}

/* A reload with the same certificates goes on with the same keys; with others, or without a word, it does not. */
static void test_a_context_that_follows(void **state)
{
	struct rl_tls_server *before = n.server;

	(void)state;
	assert_int_equal(rl_tls_sessions_new(&n.sessions), RL_OK);
	assert_false(meet_and_part("localhost"));
	assert_int_equal(server_of(&n.id, &n.server), RL_OK);
	rl_tls_server_succeed(n.server, before);
	rl_tls_server_succeed(n.server, NULL);
	rl_tls_server_unref(before);
	assert_true(meet_and_part("localhost"));

	before = rl_tls_server_ref(n.server);
	use_identity(identity_new("leaf", &authority, NAMES, -DAY_S, DAY_S));
	rl_tls_server_succeed(n.server, before);
	rl_tls_server_unref(before);
	assert_false(meet_and_part("localhost"));
	assert_true(meet_and_part("localhost"));
}

/* A connection outlives both its context and those who kept its sessions. */
static void test_a_connection_keeps_its_sessions(void **state)
{
	(void)state;
	assert_int_equal(rl_tls_sessions_new(&n.sessions), RL_OK);
	n.b.to_send = 5;
	expect_good("localhost");
	rl_tls_sessions_unref(n.sessions);
	n.sessions = NULL;
	RUN_UNTIL(n.a.got == 5);
}

static void keep_some(unsigned count, uint64_t checked_ms)
{
	for (unsigned i = 0; i < count; i++) {
		SSL_SESSION *session = SSL_SESSION_new();
		unsigned char id[4] = {1, 2, 3, (unsigned char)i};

		assert_int_equal(SSL_SESSION_set1_id(session, id, sizeof id), 1);
		rl_tls_sessions_keep(n.sessions, session, checked_ms + i);
		SSL_SESSION_free(session);
	}
}

static void test_sessions_are_few_and_young(void **state)
{
	uint64_t checked_ms = 0;
	SSL_SESSION *session;

	(void)state;
	assert_int_equal(rl_tls_sessions_new(&n.sessions), RL_OK);
	assert_null(rl_tls_sessions_take(n.sessions, 0, &checked_ms));
	keep_some(20, 1000);
	for (unsigned i = 0; i < 8; i++) { /* the newest first, each once */
		session = rl_tls_sessions_take(n.sessions, 2000, &checked_ms);
		assert_non_null(session);
		assert_int_equal(checked_ms, 1019 - i);
		SSL_SESSION_free(session);
	}
	assert_null(rl_tls_sessions_take(n.sessions, 2000, &checked_ms));
	keep_some(3, 1000); /* an hour after its certificate was checked, a session serves no more */
	session = rl_tls_sessions_take(n.sessions, 1001 + 3600 * 1000, &checked_ms);
	assert_int_equal(checked_ms, 1002);
	SSL_SESSION_free(session);
	assert_null(rl_tls_sessions_take(n.sessions, 1001 + 3600 * 1000, &checked_ms));
	keep_some(3, 1000);
}

/* ---- bytes ---- */

static void test_both_ways(void **state)
{
	(void)state;
	n.a.to_send = sizeof n.text;
	n.b.to_send = sizeof n.text;
	dial("localhost");
	RUN_UNTIL(n.a.got == sizeof n.text && n.b.got == sizeof n.text);
	unsigned calls = n.a.calls + n.b.calls;

	run_ms(50);
	assert_int_equal(n.a.calls + n.b.calls, calls);
}

static void test_small_records(void **state)
{
	(void)state;
	n.b.to_send = 3000;
	n.b.piece = 1;
	dial("localhost");
	RUN_UNTIL(n.a.got == 3000);
}

/* READ events alone are enough for an owner that reads a little at a time. */
static void test_reading_a_little(void **state)
{
	(void)state;
	n.b.to_send = 16000;
	n.a.piece = 10;
	n.a.read_once = true;
	dial("localhost");
	RUN_UNTIL(n.a.got == 16000);
}

/* The same, paused in the middle of a record. */
static void test_pause_inside_a_record(void **state)
{
	(void)state;
	n.b.to_send = 16000;
	n.a.piece = 10;
	n.a.read_once = true;
	n.a.stop_on_ready = true;
	dial("localhost");
	rl_loop_run(n.loop);
	rl_transport_want(n.a.t, false, false);
	enum rl_err err = RL_OK;
	char room[10];
	size_t got = 0;

	run_ms(50);
	assert_int_equal(n.a.got, 0);
	RUN_UNTIL(err || (got = rl_transport_read(n.a.t, room, sizeof room, &err)) > 0);
	assert_int_equal(got, 10);
	n.a.got = 10;
	assert_true(rl_transport_pending(n.a.t));
	run_ms(50);
	assert_int_equal(n.a.got, 10);
	rl_transport_want(n.a.t, true, false);
	RUN_UNTIL(n.a.got == 16000);
	assert_false(rl_transport_pending(n.a.t));
}

/* An event in three pieces is one record: header 5, type 1, tag 16 (RFC 8446 §5.2). */
static void test_one_write_is_one_record(void **state)
{
	int waiting = 0;
	enum rl_err err;

	(void)state;
	dial("localhost");
	RUN_UNTIL((n.a.seen & RL_EV_READY) && (n.b.seen & RL_EV_READY));
	run_ms(30); /* the session tickets are read */
	rl_transport_want(n.a.t, false, false);
	run_ms(20);
	const struct iovec iov[3] = {{n.text, 100}, {n.text + 100, 0}, {n.text + 100, 200}};

	assert_int_equal(rl_transport_write(n.b.t, iov, 3, &err), 300);
	RUN_UNTIL(ioctl(rl_transport_fd(n.a.t), FIONREAD, &waiting) == 0 && waiting > 0);
	assert_int_equal(waiting, 300 + 22);
}

/* ---- ends ---- */

static void test_orderly_end(void **state)
{
	(void)state;
	n.b.to_send = 1000;
	dial("localhost");
	RUN_UNTIL(n.a.got == 1000);
	rl_transport_shutdown(n.b.t);
	RUN_UNTIL(n.a.hangups);
	run_ms(30);
	assert_int_equal(n.a.read_err, RL_ERR_EOF);
	assert_int_equal(n.a.hangups, 1);
	assert_true(n.a.calls < 10);
}

/* FIN without close_notify: somebody between the two cut the answer short. */
static void test_truncated(void **state)
{
	(void)state;
	n.b.to_send = 1000;
	dial("localhost");
	RUN_UNTIL(n.a.got == 1000);
	assert_int_equal(shutdown(rl_transport_fd(n.b.t), SHUT_WR), 0);
	RUN_UNTIL(n.a.hangups);
	run_ms(30);
	assert_int_equal(n.a.read_err, RL_ERR_TLS);
	assert_true(n.a.calls < 10);
}

static void test_reset(void **state)
{
	struct iovec iov = {n.text, 10};
	enum rl_err err;

	(void)state;
	dial("localhost");
	RUN_UNTIL((n.a.seen & RL_EV_READY) && (n.b.seen & RL_EV_READY));
	rl_transport_close(n.b.t, true);
	n.b.t = NULL;
	RUN_UNTIL(n.a.read_err);
	assert_int_equal(n.a.read_err, RL_ERR_RESET);
	/* No SIGPIPE either. */
	assert_int_equal(rl_transport_write(n.a.t, &iov, 1, &err), 0);
	assert_int_not_equal(err, RL_OK);
}

static void test_close_in_order(void **state)
{
	(void)state;
	n.b.to_send = 100000;
	dial("localhost");
	RUN_UNTIL(n.b.sent == 100000);
	rl_transport_close(n.b.t, false);
	n.b.t = NULL;
	RUN_UNTIL(n.a.read_err);
	assert_int_equal(n.a.got, 100000);
	assert_int_equal(n.a.read_err, RL_ERR_EOF);
}

static void test_close_while_shaking_hands(void **state)
{
	(void)state;
	rl_poll_want(n.listening, 0); /* nobody answers */
	dial("localhost");
	run_ms(50);
	assert_int_equal(n.a.calls, 0);
	rl_transport_close(n.a.t, false);
	n.a.t = NULL;
	run_ms(20);
	assert_int_equal(n.a.calls, 0);
}

/* ---- other peers ---- */

static int raw_connect(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&n.addr.sa, n.addr.len), 0);
	return fd;
}

static void test_plain_text_client(void **state)
{
	int fd = raw_connect();

	(void)state;
	assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	RUN_UNTIL(n.b.seen);
	assert_int_equal(n.b.seen, RL_EV_FAILED);
	assert_int_equal(rl_transport_reason(n.b.t), RL_ERR_TLS);
	assert_string_equal(rl_transport_detail(n.b.t), "http request");
	close(fd);
}

static void test_client_leaves_early(void **state)
{
	int fd = raw_connect();

	(void)state;
	RUN_UNTIL(n.b.t);
	assert_int_equal(n.b.calls, 0);
	close(fd);
	RUN_UNTIL(n.b.seen);
	run_ms(20);
	assert_int_equal(n.b.seen, RL_EV_FAILED);
	assert_int_equal(n.b.calls, 1);
}

struct raw_client {
	int max_version;
	const char *alpn; /* with the length in front */
	bool update_key, ok;
	char chosen[32];
	size_t got;
};

static void *raw_client(void *arg)
{
	struct raw_client *raw = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int fd = raw_connect();
	const unsigned char *chosen;
	unsigned chosen_n;
	char room[5000];
	int got;

	SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, raw->max_version);
	SSL *ssl = SSL_new(ctx);

	if (raw->alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)raw->alpn, (unsigned)strlen(raw->alpn));
	SSL_set_fd(ssl, fd);
	raw->ok = SSL_connect(ssl) == 1;
	if (raw->ok) {
		SSL_get0_alpn_selected(ssl, &chosen, &chosen_n);
		memcpy(raw->chosen, chosen ? chosen : (const unsigned char *)"", chosen_n);
		if (raw->update_key)
			SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
		SSL_write(ssl, n.text, 100);
		while ((got = SSL_read(ssl, room, sizeof room)) > 0)
			raw->got += (size_t)got;
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return NULL;
}

static void meet_raw_client(struct raw_client *raw)
{
	pthread_t thread;

	n.b.to_send = 70000;
	assert_int_equal(pthread_create(&thread, NULL, raw_client, raw), 0);
	RUN_UNTIL((n.b.seen & RL_EV_FAILED) || (n.b.got == 100 && n.b.sent == n.b.to_send));
	rl_transport_close(n.b.t, false);
	n.b.t = NULL;
	run_ms(50);
	pthread_join(thread, NULL);
}

static void test_tls_1_2(void **state)
{
	struct raw_client raw = {.max_version = TLS1_2_VERSION, .alpn = "\x02h2\x08http/1.1"};

	(void)state;
	meet_raw_client(&raw);
	assert_true(raw.ok);
	assert_string_equal(raw.chosen, "http/1.1");
	assert_int_equal(n.b.got, 100);
	assert_int_equal(raw.got, 70000);
}

static void test_key_update(void **state)
{
	struct raw_client raw = {.max_version = TLS1_3_VERSION, .update_key = true};

	(void)state;
	meet_raw_client(&raw);
	assert_true(raw.ok);
	assert_int_equal(n.b.got, 100);
	assert_int_equal(raw.got, 70000);
}

static void test_tls_1_1(void **state)
{
	struct raw_client raw = {.max_version = TLS1_1_VERSION};

	(void)state;
	meet_raw_client(&raw);
	assert_false(raw.ok);
	assert_int_equal(n.b.seen, RL_EV_FAILED);
}

/* A server of our fathers' time (FAULTS 31): max_version is all that it speaks. */
static void *old_server(void *arg)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	struct pollfd waiting = {.fd = n.listener, .events = POLLIN};
	int fd = poll(&waiting, 1, 10000) == 1 ? accept(n.listener, NULL, NULL) : -1;
	struct raw_client *raw = arg;

	SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, raw->max_version);
	SSL_CTX_use_certificate(ctx, n.id.cert);
	SSL_CTX_use_PrivateKey(ctx, n.id.key);
	SSL *ssl = SSL_new(ctx);

	SSL_set_fd(ssl, fd);
	raw->ok = SSL_accept(ssl) == 1;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return NULL;
}

static void meet_old_server(struct raw_client *raw)
{
	pthread_t thread;

	rl_poll_want(n.listening, 0);
	run_ms(1);
	assert_int_equal(pthread_create(&thread, NULL, old_server, raw), 0);
	dial("localhost");
	RUN_UNTIL(n.a.seen);
	rl_transport_close(n.a.t, true);
	n.a.t = NULL;
	pthread_join(thread, NULL);
}

static void test_a_server_of_tls_1_0(void **state)
{
	struct raw_client raw = {.max_version = TLS1_VERSION};

	(void)state;
	meet_old_server(&raw);
	assert_int_equal(n.a.seen, RL_EV_FAILED);
	assert_false(raw.ok);
}

static void test_a_server_of_tls_1_1(void **state)
{
	struct raw_client raw = {.max_version = TLS1_1_VERSION};

	(void)state;
	meet_old_server(&raw);
	assert_int_equal(n.a.seen, RL_EV_FAILED);
	assert_false(raw.ok);
}

static void test_unknown_alpn(void **state)
{
	struct raw_client raw = {.max_version = TLS1_3_VERSION, .alpn = "\x05gemin"};

	(void)state;
	meet_raw_client(&raw);
	assert_false(raw.ok);
	assert_int_equal(n.b.seen, RL_EV_FAILED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_good_name),
		T(test_good_address),
		T(test_good_wildcard),
		T(test_wrong_name),
		T(test_wrong_address),
		T(test_address_is_no_name),
		T(test_expired),
		T(test_not_yet),
		T(test_self_signed),
		T(test_unknown_authority),
		T(test_system_store_does_not_know_us),
		T(test_name_with_nul),
		T(test_nobody_to_check),
		T(test_bad_files),
		T(test_a_renewed_file_makes_another_key),
		T(test_tls_1_3_resumes),
		T(test_tls_1_2_resumes),
		T(test_ticket_keys_of_tls_1_3),
		T(test_ticket_keys_of_tls_1_2),
		T(test_a_context_that_follows),
		T(test_without_sessions_nothing_resumes),
		T(test_a_connection_keeps_its_sessions),
		T(test_sessions_are_few_and_young),
		T(test_both_ways),
		T(test_small_records),
		T(test_reading_a_little),
		T(test_pause_inside_a_record),
		T(test_one_write_is_one_record),
		T(test_orderly_end),
		T(test_truncated),
		T(test_reset),
		T(test_close_in_order),
		T(test_close_while_shaking_hands),
		T(test_plain_text_client),
		T(test_client_leaves_early),
		T(test_tls_1_2),
		T(test_key_update),
		T(test_tls_1_1),
		T(test_a_server_of_tls_1_0),
		T(test_a_server_of_tls_1_1),
		T(test_unknown_alpn),
	};

	return cmocka_run_group_tests(tests, make_authorities, drop_authorities);
}
