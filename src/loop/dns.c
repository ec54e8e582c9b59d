/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver of a loop: c-ares for the questions, a cache of hosts for the
 * answers. All who ask for one host wait on one entry and one lookup. An entry
 * outlives its time to live, so that its old addresses serve while the resolver
 * fails or is slow to answer (RFC 8767), but not when the name is known to be gone.
 *
 * Both families are asked for in one lookup, so that both are found under the same name
 * of a search list. There are name servers that never answer the question for IPv6:
 * after a while IPv4 is asked for alone, and what comes first serves (RFC 8305 §3).
 */
#include "loop/dns.h"

#include <ares.h>
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "loop/addr_priv.h"
#include "loop/dns_priv.h"
#include "loop/loop_priv.h"

#define ENTRIES_MAX 1024u
#define BUCKETS 256u
#define HOST_BYTES_MAX 254u /* RFC 1035 §2.3.4, with a last dot */
#define TRY_MS 1000
#define TRIES 4
#define NEGATIVE_MS 1000u                     /* how long a failure is kept */
#define STALE_MS ((uint64_t)24 * 3600 * 1000) /* how long old addresses may serve (RFC 8767 §5) */
#define PATIENCE_MS 1000u                     /* waiting for fresh ones before the old ones serve */
#define BOTH_MS 300u                          /* waiting for both families before IPv4 is asked for alone */
#define LOOK_MS 20u

struct entry {
	struct entry *chain;         /* of its bucket */
	struct entry *newer, *older; /* by last use */
	struct rl_dns *dns;
	struct rl_dns_query *waiting;
	struct rl_timer patience;
	uint64_t hash, fresh_until_ms, stale_until_ms;
	enum rl_err result; /* while fresh */
	bool asking;
	bool asking_v4;       /* alone, beside the other lookup or outliving it */
	bool looked_again;    /* since both have had their time */
	bool out_of_patience; /* while asking: the old addresses serve, or those of IPv4 alone */
	unsigned n_addrs;
	struct rl_addr addrs[RL_DNS_ADDRS_MAX];
	size_t host_n;
	char host[HOST_BYTES_MAX + 1];
};

struct sock {
	struct rl_dns *dns;
	struct sock *next;
	struct rl_poll *poll;
	ares_socket_t fd;
};

struct rl_dns {
	struct rl_loop *loop;
	ares_channel channel;
	struct rl_timer timer; /* c-ares's own time-outs */
	struct sock *socks;
	struct entry *buckets[BUCKETS], *newest, *oldest;
	unsigned n_entries;
};

/* ---- c-ares on the loop ---- */

static void retime(struct rl_dns *dns)
{
	struct timeval left;

	if (!ares_timeout(dns->channel, NULL, &left)) {
		rl_timer_stop(&dns->timer);
		return;
	}
	rl_timer_start(dns->loop, &dns->timer, (uint64_t)left.tv_sec * 1000 + (uint64_t)left.tv_usec / 1000);
}

static void on_timer(struct rl_timer *timer)
{
	struct rl_dns *dns = (struct rl_dns *)((char *)timer - offsetof(struct rl_dns, timer));

	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	retime(dns);
}

static void on_sock(void *owner, unsigned events)
{
	struct sock *sock = owner; /* may be gone after processing */
	struct rl_dns *dns = sock->dns;
	bool read = events & (RL_POLL_READ | RL_POLL_HANGUP), write = events & RL_POLL_WRITE;

	ares_process_fd(dns->channel, read ? sock->fd : ARES_SOCKET_BAD, write ? sock->fd : ARES_SOCKET_BAD);
	retime(dns);
}

static void sock_close(struct sock **at)
{
	struct sock *sock = *at;

	*at = sock->next;
	rl_poll_free(sock->poll);
	free(sock);
}

/* Without memory the socket goes unpolled, and the query ends by its time-out. */
static struct sock *sock_open(struct rl_dns *dns, ares_socket_t fd)
{
	struct sock *sock = calloc(1, sizeof *sock);

	if (!sock)
		return NULL;
	sock->dns = dns;
	sock->fd = fd;
	if (rl_poll_new(dns->loop, fd, on_sock, sock, &sock->poll)) {
		free(sock);
		return NULL;
	}
	sock->next = dns->socks;
	dns->socks = sock;
	return sock;
}

/* c-ares says what it waits for; neither of both: the socket is about to be closed. */
static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct rl_dns *dns = arg;
	struct sock **at = &dns->socks, *sock;

	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	if (!readable && !writable) {
		if (*at)
			sock_close(at);
		return;
	}
	sock = *at ? *at : sock_open(dns, fd);
	if (sock)
		rl_poll_want(sock->poll, (readable ? RL_POLL_READ : 0u) | (writable ? RL_POLL_WRITE : 0u));
}

/* ---- answers ---- */

static void run_done(struct rl_task *task)
{
	struct rl_dns_query *query = (struct rl_dns_query *)((char *)task - offsetof(struct rl_dns_query, task));

	query->loop = NULL;
	query->on_done(query); /* may start it again or free it */
}

static void answer(struct rl_dns_query *query, enum rl_err result, const struct rl_addr *addrs, unsigned n)
{
	query->result = result;
	query->n_addrs = result ? 0 : n;
	for (unsigned i = 0; i < query->n_addrs; i++) {
		struct rl_addr *addr = &query->addrs[i];

		*addr = addrs[i];
		if (addr->sa.ss_family == AF_INET6)
			((struct sockaddr_in6 *)&addr->sa)->sin6_port = htons(query->port);
		else if (addr->sa.ss_family == AF_INET)
			((struct sockaddr_in *)&addr->sa)->sin_port = htons(query->port);
	}
	rl_loop_defer(query->loop, &query->task);
}

static void unwait(struct rl_dns_query *query)
{
	struct entry *entry = query->entry;

	if (query->next)
		query->next->prev = query->prev;
	if (query->prev)
		query->prev->next = query->next;
	else
		entry->waiting = query->next;
	query->prev = query->next = NULL;
	query->entry = NULL;
}

static void answer_all(struct entry *entry, enum rl_err result)
{
	while (entry->waiting) {
		struct rl_dns_query *query = entry->waiting;

		unwait(query);
		answer(query, result, entry->addrs, entry->n_addrs);
	}
}

static bool is_stale_usable(const struct entry *entry)
{
	return entry->n_addrs > 0 && rl_loop_now_ms(entry->dns->loop) < entry->stale_until_ms;
}

static void ask_v4(struct entry *entry);

static void on_patience(struct rl_timer *timer)
{
	struct entry *entry = (struct entry *)((char *)timer - offsetof(struct entry, patience));

	if (!is_stale_usable(entry)) {
		/* A thread that was kept from running may find the answer now: it looks before it asks. */
		if (entry->looked_again)
			ask_v4(entry);
		else
			rl_timer_start(entry->dns->loop, &entry->patience, LOOK_MS);
		entry->looked_again = true;
		return;
	}
	entry->out_of_patience = true;
	answer_all(entry, RL_OK);
}

/* Whether the failure says that the resolver is in trouble, and not that the name does not exist. */
static bool is_resolver_trouble(int status)
{
	return status != ARES_ENOTFOUND && status != ARES_ENODATA && status != ARES_SUCCESS && status != ARES_EBADNAME;
}

static enum rl_err result_of(int status)
{
	if (status == ARES_SUCCESS)
		return RL_OK;
	if (status == ARES_ETIMEOUT)
		return RL_ERR_TIMEOUT;
	return status == ARES_ENOMEM ? RL_ERR_NOMEM : RL_ERR_DNS;
}

/* Takes the addresses over, families alternating from the first one's (RFC 8305 §4). Returns the time to live. */
static uint64_t take_addrs(struct entry *entry, const struct ares_addrinfo *info)
{
	const struct ares_addrinfo_node *node[2] = {info->nodes, info->nodes};
	int family[2] = {info->nodes ? info->nodes->ai_family : AF_INET};
	uint64_t ttl_s = RL_DNS_TTL_MAX_S;

	family[1] = family[0] == AF_INET ? AF_INET6 : AF_INET;
	entry->n_addrs = 0;
	for (unsigned turn = 0; (node[0] || node[1]) && entry->n_addrs < RL_DNS_ADDRS_MAX; turn ^= 1) {
		while (node[turn] && node[turn]->ai_family != family[turn])
			node[turn] = node[turn]->ai_next;
		const struct ares_addrinfo_node *at = node[turn];

		if (!at)
			continue;
		node[turn] = at->ai_next;
		struct rl_addr addr = {.len = at->ai_addrlen};

		if (addr.len > sizeof addr.sa)
			continue;
		memcpy(&addr.sa, at->ai_addr, addr.len);
		if (rl_addr_is_any(&addr))
			continue;
		entry->addrs[entry->n_addrs++] = addr;
		if (at->ai_ttl >= 0 && (uint64_t)at->ai_ttl < ttl_s)
			ttl_s = (uint64_t)at->ai_ttl;
	}
	return (ttl_s ? ttl_s : 1) * 1000;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct entry *entry = arg;
	uint64_t now_ms = rl_loop_now_ms(entry->dns->loop), fresh_ms = NEGATIVE_MS;

	(void)timeouts;
	entry->asking = entry->out_of_patience = false;
	rl_timer_stop(&entry->patience);
	entry->result = result_of(status);
	if (status == ARES_SUCCESS) {
		fresh_ms = take_addrs(entry, info);
		entry->stale_until_ms = now_ms + fresh_ms + STALE_MS;
		if (entry->n_addrs == 0) {
			entry->result = RL_ERR_DNS;
			fresh_ms = NEGATIVE_MS;
		}
	} else if (!is_resolver_trouble(status)) {
		entry->n_addrs = 0;
	} else if (is_stale_usable(entry)) {
		entry->result = RL_OK;
	}
	if (info)
		ares_freeaddrinfo(info);
	entry->fresh_until_ms = now_ms + fresh_ms;
	answer_all(entry, entry->result);
}

static void on_v4_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct entry *entry = arg;

	(void)timeouts;
	entry->asking_v4 = false;
	if (status == ARES_SUCCESS && entry->asking) {
		uint64_t ttl_ms = take_addrs(entry, info);

		entry->stale_until_ms = rl_loop_now_ms(entry->dns->loop) + ttl_ms + STALE_MS;
		entry->out_of_patience = entry->n_addrs > 0;
	}
	if (info)
		ares_freeaddrinfo(info);
	if (entry->out_of_patience)
		answer_all(entry, RL_OK);
}

/* ---- the cache ---- */

static void lru_take(struct entry *entry)
{
	struct rl_dns *dns = entry->dns;

	*(entry->newer ? &entry->newer->older : &dns->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &dns->oldest) = entry->newer;
}

static void lru_put(struct entry *entry)
{
	struct rl_dns *dns = entry->dns;

	entry->newer = NULL;
	entry->older = dns->newest;
	*(dns->newest ? &dns->newest->newer : &dns->oldest) = entry;
	dns->newest = entry;
}

static void entry_free(struct entry *entry)
{
	struct entry **at = &entry->dns->buckets[entry->hash % BUCKETS];

	assert(!entry->waiting && !entry->asking && !entry->asking_v4 && !rl_timer_running(&entry->patience));
	while (*at != entry)
		at = &(*at)->chain;
	*at = entry->chain;
	lru_take(entry);
	entry->dns->n_entries--;
	free(entry);
}

static void evict(struct rl_dns *dns)
{
	struct entry *entry = dns->oldest;

	while (entry && (entry->asking || entry->asking_v4))
		entry = entry->newer;
	if (entry)
		entry_free(entry);
}

/* The entry of a host in lower case, made if need be; NULL without memory or with too many lookups running. */
static struct entry *entry_get(struct rl_dns *dns, rl_str host)
{
	uint64_t hash = rl_hash(host);
	struct entry *entry = dns->buckets[hash % BUCKETS];

	while (entry && !(entry->hash == hash && rl_str_eq(rl_str_make(entry->host, entry->host_n), host)))
		entry = entry->chain;
	if (entry) {
		lru_take(entry);
		lru_put(entry);
		return entry;
	}
	if (dns->n_entries >= ENTRIES_MAX)
		evict(dns);
	entry = dns->n_entries < ENTRIES_MAX ? calloc(1, sizeof *entry) : NULL;
	if (!entry)
		return NULL;
	entry->dns = dns;
	entry->hash = hash;
	entry->host_n = host.n;
	memcpy(entry->host, host.p, host.n);
	rl_timer_init(&entry->patience, on_patience);
	entry->chain = dns->buckets[hash % BUCKETS];
	dns->buckets[hash % BUCKETS] = entry;
	lru_put(entry);
	dns->n_entries++;
	return entry;
}

/* ---- the resolver ---- */

static void ares_begin(void)
{
	(void)ares_library_init(ARES_LIB_INIT_ALL);
}

static enum rl_err open_channel(struct rl_dns *dns, int try_ms)
{
	struct ares_options options = {.timeout = try_ms,
				       .tries = TRIES,
				       .sock_state_cb = on_sock_state,
				       .sock_state_cb_data = dns};
	int given = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;

#ifdef ARES_OPT_QUERY_CACHE
	/* Since 1.31 c-ares keeps answers, too, and would hide a change of address from our own cache. */
	options.qcache_max_ttl = 0;
	given |= ARES_OPT_QUERY_CACHE;
#endif
	return ares_init_options(&dns->channel, &options, given) == ARES_SUCCESS ? RL_OK : RL_ERR_NOMEM;
}

static struct rl_dns *dns_get(struct rl_loop *loop, int try_ms)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct rl_dns *dns = loop->dns;

	if (dns)
		return dns;
	pthread_once(&once, ares_begin);
	dns = calloc(1, sizeof *dns);
	if (!dns)
		return NULL;
	dns->loop = loop;
	rl_timer_init(&dns->timer, on_timer);
	if (open_channel(dns, try_ms)) {
		free(dns);
		return NULL;
	}
	loop->dns = dns;
	return dns;
}

void rl_dns_free(struct rl_dns *dns)
{
	if (!dns)
		return;
	ares_destroy(dns->channel); /* ends lookups that nobody waits for any more */
	rl_timer_stop(&dns->timer);
	assert(!dns->socks);
	while (dns->newest)
		entry_free(dns->newest);
	dns->loop->dns = NULL;
	free(dns);
}

enum rl_err rl_dns_use_servers(struct rl_loop *loop, const char *servers, int try_ms)
{
	struct rl_dns *dns;

	assert(!loop->dns);
	dns = dns_get(loop, try_ms);
	if (!dns)
		return RL_ERR_NOMEM;
	return ares_set_servers_ports_csv(dns->channel, servers) == ARES_SUCCESS ? RL_OK : RL_ERR_SYNTAX;
}

void rl_dns_age(struct rl_loop *loop, uint64_t by_ms)
{
	if (!loop->dns)
		return;
	for (struct entry *entry = loop->dns->newest; entry; entry = entry->older) {
		entry->fresh_until_ms -= by_ms < entry->fresh_until_ms ? by_ms : entry->fresh_until_ms;
		entry->stale_until_ms -= by_ms < entry->stale_until_ms ? by_ms : entry->stale_until_ms;
	}
}

static void ask(struct entry *entry)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct rl_dns *dns = entry->dns;

	entry->asking = true;
	entry->looked_again = false;
	rl_timer_start(dns->loop, &entry->patience, is_stale_usable(entry) ? PATIENCE_MS : BOTH_MS);
	ares_getaddrinfo(dns->channel, entry->host, NULL, &hints, on_answer, entry); /* may answer at once */
	retime(dns);
}

static void ask_v4(struct entry *entry)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	struct rl_dns *dns = entry->dns;

	if (entry->asking_v4)
		return;
	entry->asking_v4 = true;
	ares_getaddrinfo(dns->channel, entry->host, NULL, &hints, on_v4_answer, entry); /* may answer at once */
	retime(dns);
}

static void wait_for(struct entry *entry, struct rl_dns_query *query)
{
	query->entry = entry;
	query->next = entry->waiting;
	if (query->next)
		query->next->prev = query;
	entry->waiting = query;
	if (!entry->asking)
		ask(entry);
}

/* The host in lower case, if it can be a name at all (letters, digits, '-', '_', '.'). */
static bool host_lower(rl_str host, char out[HOST_BYTES_MAX])
{
	if (host.n == 0 || host.n > HOST_BYTES_MAX)
		return false;
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return false;
		out[i] = c;
	}
	return true;
}

void rl_dns_start(struct rl_loop *loop, struct rl_dns_query *query, rl_str host, uint16_t port,
		  void (*on_done)(struct rl_dns_query *query))
{
	char lower[HOST_BYTES_MAX];
	struct rl_addr literal;
	struct rl_dns *dns;
	struct entry *entry;

	assert(on_done);
	*query = (struct rl_dns_query){.on_done = on_done, .loop = loop, .port = port, .task.run = run_done};
	if (rl_addr_literal(host, port, &literal)) {
		answer(query, RL_OK, &literal, 1);
		return;
	}
	if (!host_lower(host, lower)) {
		answer(query, RL_ERR_DNS, NULL, 0);
		return;
	}
	dns = dns_get(loop, TRY_MS);
	entry = dns ? entry_get(dns, rl_str_make(lower, host.n)) : NULL;
	if (!entry)
		answer(query, RL_ERR_NOMEM, NULL, 0);
	else if (rl_loop_now_ms(loop) < entry->fresh_until_ms)
		answer(query, entry->result, entry->addrs, entry->n_addrs);
	else if (entry->out_of_patience)
		answer(query, RL_OK, entry->addrs, entry->n_addrs);
	else
		wait_for(entry, query);
}

void rl_dns_cancel(struct rl_dns_query *query)
{
	if (!query->loop)
		return;
	if (query->entry)
		unwait(query);
	else
		rl_loop_undefer(query->loop, &query->task);
	query->loop = NULL;
}
