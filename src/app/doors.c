/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doors (see doors.h): opening and closing them, their TLS contexts, and the way of an
 * accepted connection to the least loaded worker, or to the admin plane. All on the
 * keeper's thread but for the last step of that way, which is mail.
 */
#include "app/doors.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/program.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/schema.h"

#define ROOM_TICK_MS 100u
#define SHED_TICK_MS 10u /* the same while somebody waits */
#define SHED_MAX 64u     /* places asked for at a time */
#define FULL_SAID_MS 60000u
#define STRANGER_SAID_MS 60000u
#define PEM_BYTES_MAX (1u << 20)
#define PEM_BYTES_USUAL 65536u
#define PATH_BYTES_MAX 4096u /* the bound of the keys that hold one */

/* ---- from the door to a worker ---- */

struct connection_mail {
	struct rl_mail mail;
	struct rl_worker *worker;
	struct rl_arrival in; /* with a reference to its `tls`, until the connection has its own */
	bool guest;           /* it has entered the gateway's crowd */
	uint64_t id;
};

static void deliver(struct rl_mail *mail, struct rl_loop *loop)
{
	struct connection_mail *m = (struct connection_mail *)(void *)mail;

	(void)loop;
	if (m->guest)
		rl_worker_accept_guest(m->worker, &m->in, m->id);
	else
		rl_worker_accept(m->worker, &m->in);
	rl_tls_server_unref(m->in.tls);
	free(m);
}

uint32_t rl_doors_connections(const struct rl_program *p)
{
	uint32_t n = 0;

	for (size_t i = 0; i < p->n_workers; i++)
		n += rl_worker_connections(p->workers[i]);
	return n;
}

static struct rl_worker *least_loaded(const struct rl_program *p)
{
	struct rl_worker *best = p->workers[0];

	for (size_t i = 1; i < p->n_workers; i++)
		if (rl_worker_connections(p->workers[i]) < rl_worker_connections(best))
			best = p->workers[i];
	return best;
}

/*
 * A PROXY head is taken from trusted proxies, and from this machine. From others it could name any client, and without it
 * nobody is served here: so they are turned away before a byte is read.
 */
static bool may_come_in(const struct rl_door *door, const struct rl_addr *peer)
{
	static uint64_t said_ms;
	uint64_t now_ms = rl_loop_now_ms(door->program->loop);
	char text[RL_ADDR_TEXT_MAX];

	if (!door->proxied || rl_addr_is_loopback(peer) || rl_trusted_is(&door->program->snapshot->trusted, peer))
		return true;
	if (!said_ms || now_ms - said_ms > STRANGER_SAID_MS) {
		rl_addr_text(peer, text);
		RL_WARN("doors",
			"%s is not among server.trusted_proxies and may not use the proxy_protocol listener %s", text,
			door->address);
		said_ms = now_ms;
	}
	return false;
}

/* Whether the connections of this peer's address are counted: not those of a proxy, which are many clients'. */
static bool has_cap(const struct rl_door *door, const struct rl_addr *peer)
{
	const struct rl_program *p = door->program;

	return !door->proxied && p->snapshot->config->server.max_connections_per_address &&
	       peer->sa.ss_family != AF_UNIX && !rl_trusted_is(&p->snapshot->trusted, peer);
}

static struct rl_arrival arrival(const struct rl_door *door, int fd, const struct rl_addr *peer)
{
	return (struct rl_arrival){.fd = fd, .peer = *peer, .tls = door->tls, .proxied = door->proxied};
}

static void say_full(struct rl_program *p)
{
	uint64_t now_ms = rl_loop_now_ms(p->loop);

	if (p->full_said_ms && now_ms - p->full_said_ms < FULL_SAID_MS)
		return;
	p->full_said_ms = now_ms;
	RL_WARN("doors", "%u connections are open, as many as may be: idle ones make room, or accepting pauses",
		p->max_connections);
}

static void on_accept(void *arg, struct rl_listener *listener, int fd, const struct rl_addr *peer)
{
	struct rl_door *door = arg;
	struct rl_program *p = door->program;
	struct connection_mail *m = may_come_in(door, peer) ? malloc(sizeof *m) : NULL;

	assert(door->listener == listener);
	bool guest = m && has_cap(door, peer);
	uint64_t id = guest ? rl_rate_id(peer) : 0;

	if (!m ||
	    (guest && !rl_crowd_enter(p->gateway.crowd, id, p->snapshot->config->server.max_connections_per_address))) {
		free(m);
		close(fd);
		return;
	}
	*m = (struct connection_mail){.mail = {.run = deliver},
				      .guest = guest,
				      .id = id,
				      .worker = least_loaded(p),
				      .in = arrival(door, fd, peer)};
	rl_tls_server_ref(door->tls);
	rl_keeper_watch_memory(p);
	rl_worker_reserve(m->worker);
	rl_loop_post(rl_worker_loop(m->worker), &m->mail);
	if (rl_doors_connections(p) < p->max_connections || p->full)
		return;
	p->full = true;
	say_full(p);
	rl_keeper_open(p);
	rl_timer_start(p->loop, &p->room_timer, ROOM_TICK_MS);
}

/* ---- all places are taken ---- */

/* Clients in the kernel's queue. What Linux says in tcpi_unacked of a socket that listens is how many those are. */
static size_t waiting_at(const struct rl_door *door)
{
	struct pollfd look = {.fd = rl_listener_fd(door->listener), .events = POLLIN};
	struct tcp_info info = {0};
	socklen_t n = sizeof info;

	if (poll(&look, 1, 0) <= 0)
		return 0;
	if (getsockopt(look.fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0 || !info.tcpi_unacked)
		return 1; /* a Unix socket says only whether there are any */
	return info.tcpi_unacked;
}

static void shed(struct rl_mail *mail, struct rl_loop *loop)
{
	struct rl_crew *crew = (struct rl_crew *)(void *)((char *)mail - offsetof(struct rl_crew, shed));

	(void)loop;
	rl_worker_shed(crew->worker, crew->to_shed);
	atomic_store_explicit(&crew->asked, false, memory_order_release);
}

/* If anybody waits, one worker is asked to let go of as many idle connections; the next time another one. */
static bool make_room(struct rl_program *p)
{
	struct rl_crew *crew = &p->crew[p->next_to_shed];
	size_t waiting = 0;

	for (size_t i = 0; i < p->data.n; i++)
		waiting += waiting_at(&p->data.list[i]);
	if (!waiting)
		return false;
	p->next_to_shed = (p->next_to_shed + 1) % p->n_workers;
	if (atomic_load_explicit(&crew->asked, memory_order_acquire))
		return true;
	crew->to_shed = waiting < SHED_MAX ? waiting : SHED_MAX;
	crew->shed.run = shed;
	atomic_store_explicit(&crew->asked, true, memory_order_relaxed);
	rl_loop_post(crew->loop, &crew->shed);
	return true;
}

void rl_doors_on_room(struct rl_timer *timer)
{
	struct rl_program *p = (struct rl_program *)(void *)((char *)timer - offsetof(struct rl_program, room_timer));

	if (p->phase > RL_PHASE_DELAY)
		return;
	if (rl_doors_connections(p) >= p->max_connections) {
		rl_timer_start(p->loop, timer, make_room(p) ? SHED_TICK_MS : ROOM_TICK_MS);
		return;
	}
	p->full = false;
	rl_keeper_open(p);
}

static void on_admin_accept(void *arg, struct rl_listener *listener, int fd, const struct rl_addr *peer)
{
	struct rl_door *door = arg;

	assert(door->listener == listener);
	const struct rl_arrival in = arrival(door, fd, peer);

	if (may_come_in(door, peer))
		rl_admin_accept(door->program->admin, &in);
	else
		close(fd);
}

/* ---- opening and closing ---- */

/* The socket that was given to us for this address, or one that we open. */
static enum rl_err open_listener(struct rl_door *door, enum rl_plane plane, const struct rl_cfg_listen *at,
				 rl_accept_f on_connection, const char **why)
{
	struct rl_program *p = door->program;
	int fd = rl_inherit_take(&p->inherit, plane, at->address);

	if (fd < 0)
		return rl_listener_open(p->loop, at->address, at->mode, on_connection, door, &door->listener, why);
	enum rl_err err = rl_listener_adopt(p->loop, fd, on_connection, door, &door->listener);

	*why = rl_err_text(err);
	if (err)
		close(fd);
	return err;
}

static int open_door(struct rl_program *p, enum rl_plane plane, struct rl_doors *doors, const struct rl_cfg_listen *at,
		     struct rl_tls_server *tls)
{
	struct rl_door *door = &doors->list[doors->n];
	const char *why = "";

	assert(doors->n < RL_DOORS_MAX && at->address.n < sizeof door->address);
	*door = (struct rl_door){.program = p,
				 .proxied = at->proxied,
				 .by_name = rl_inherit_named(&p->inherit, plane) > 0};
	memcpy(door->address, at->address.p, at->address.n);
	enum rl_err err = open_listener(door, plane, at, plane == RL_PLANE_DATA ? on_accept : on_admin_accept, &why);

	if (!err) {
		door->tls = rl_tls_server_ref(tls);
		doors->n++;
		return RL_EXIT_OK;
	}
	if (at->tolerate_absence && err != RL_ERR_BUSY)
		return RL_EXIT_OK; /* this machine has no IPv6 */
	fprintf(stderr, "relais: cannot listen on %.*s: %s\n", RL_STR_ARG(at->address), why);
	return RL_EXIT_FAILED;
}

static int open_plane(struct rl_program *p, enum rl_plane plane, const struct rl_cfg_listen *list, size_t n,
		      struct rl_tls_server *const *locks)
{
	struct rl_doors *doors = plane == RL_PLANE_DATA ? &p->data : &p->admin_doors;
	size_t given = rl_inherit_named(&p->inherit, plane);
	int status = RL_EXIT_OK;

	if (given && given < n)
		n = given; /* the service manager decides where this plane is served */
	for (size_t i = 0; i < n && !status; i++)
		status = open_door(p, plane, doors, &list[i], locks[i]);
	return status;
}

int rl_doors_open(struct rl_program *p, const struct rl_config *config, const struct rl_door_locks *locks)
{
	const struct rl_cfg_server *s = &config->server;
	int status = open_plane(p, RL_PLANE_DATA, s->listen, s->n_listen, locks->data);

	return status ? status : open_plane(p, RL_PLANE_ADMIN, s->admin, s->n_admin, locks->admin);
}

void rl_doors_leave_files(struct rl_program *p)
{
	for (size_t i = 0; i < p->data.n; i++)
		rl_listener_own_file(p->data.list[i].listener, false);
	for (size_t i = 0; i < p->admin_doors.n; i++)
		rl_listener_own_file(p->admin_doors.list[i].listener, false);
}

static void take_files(const struct rl_inherit *in, enum rl_plane plane, struct rl_doors *doors)
{
	for (size_t i = 0; i < doors->n; i++)
		if (rl_inherit_with_file(in, plane, rl_str_of(doors->list[i].address)))
			rl_listener_own_file(doors->list[i].listener, true);
}

void rl_doors_take_files(struct rl_program *p)
{
	take_files(&p->inherit, RL_PLANE_DATA, &p->data);
	take_files(&p->inherit, RL_PLANE_ADMIN, &p->admin_doors);
}

static void rotate_tickets(struct rl_doors *doors, uint64_t now_ms)
{
	for (size_t i = 0; i < doors->n; i++)
		rl_tls_server_rotate(doors->list[i].tls, now_ms);
}

void rl_doors_rotate_tickets(struct rl_program *p)
{
	uint64_t now_ms = rl_clock_us() / 1000;

	rotate_tickets(&p->data, now_ms);
	rotate_tickets(&p->admin_doors, now_ms);
}

void rl_doors_accepting(struct rl_doors *doors, bool on)
{
	for (size_t i = 0; i < doors->n; i++)
		rl_listener_accepting(doors->list[i].listener, on);
}

void rl_doors_close(struct rl_doors *doors)
{
	for (size_t i = 0; i < doors->n; i++) {
		rl_listener_close(doors->list[i].listener);
		rl_tls_server_unref(doors->list[i].tls);
	}
	doors->n = 0;
}

bool rl_doors_beyond_loopback(const struct rl_doors *doors)
{
	for (size_t i = 0; i < doors->n; i++)
		if (!rl_addr_is_loopback(rl_listener_addr(doors->list[i].listener)))
			return true;
	return false;
}

/* ---- certificates ---- */

/* What a browser shows that was sent to this address by http://. */
static const char plain_answer[] = "HTTP/1.1 400 Bad Request\r\n"
				   "content-type: text/plain\r\n"
				   "content-length: 46\r\n"
				   "connection: close\r\n"
				   "\r\n"
				   "This address speaks TLS: ask it with https://\n";

struct locksmith {
	const struct rl_config *config;
	struct rl_buf *report;
	enum rl_err err; /* the last thing that was wrong; all of them are reported */
};

static void complain(struct locksmith *smith, struct rl_cfg_spot at, const char *section, const char *key,
		     const char *what)
{
	rl_buf_printf(smith->report, "%.*s:%u:%u: %s.%s: the file %s\n", RL_STR_ARG(smith->config->path), at.line,
		      at.column, section, key, what);
	smith->err = RL_ERR_TLS;
}

static rl_str read_pem(struct locksmith *smith, rl_str path, struct rl_cfg_spot at, const char *section,
		       const char *key, struct rl_buf *out)
{
	char name[PATH_BYTES_MAX + 1];

	assert(path.n < sizeof name);
	memcpy(name, path.p, path.n);
	name[path.n] = 0;
	rl_buf_init(out, PEM_BYTES_MAX);
	(void)rl_buf_reserve(out, PEM_BYTES_USUAL); /* so that a key is not copied about while it is read */
	enum rl_err err = rl_schema_system.read_secret(NULL, name, out);

	if (err)
		complain(smith, at, section, key, err == RL_ERR_NOT_FOUND ? "is not there" : "cannot be read");
	return rl_buf_str(out);
}

static void forget(struct rl_buf *text)
{
	if (text->p)
		explicit_bzero(text->p, text->cap);
	rl_buf_fini(text);
}

/* The texts of one context: certificate and key of each pair, then the clients' authorities. */
struct papers {
	size_t n;
	struct rl_tls_identity identities[RL_CERTIFICATES_MAX];
	struct rl_buf texts[2 * RL_CERTIFICATES_MAX + 1];
	rl_str client_ca;
};

static void read_papers(struct locksmith *smith, const struct rl_cfg_tls *tls, const char *section,
			struct papers *papers)
{
	for (; papers->n < tls->n_certificates; papers->n++) {
		const struct rl_cfg_certificate *pair = &tls->certificates[papers->n];
		struct rl_tls_identity *id = &papers->identities[papers->n];
		struct rl_buf *texts = &papers->texts[2 * papers->n];

		id->certificate_pem =
			read_pem(smith, pair->certificate, pair->certificate_at, section, "certificate", &texts[0]);
		id->key_pem = read_pem(smith, pair->key, pair->key_at, section, "key", &texts[1]);
	}
	if (tls->client_ca.n)
		papers->client_ca = read_pem(smith, tls->client_ca, tls->client_ca_at, section, "client_ca",
					     &papers->texts[2 * papers->n]);
}

static void complain_of(struct locksmith *smith, const struct rl_cfg_tls *tls, const char *section,
			const struct rl_tls_complaint *complaint)
{
	const struct rl_cfg_certificate *pair = &tls->certificates[complaint->identity];

	switch (complaint->part) {
	case RL_TLS_PART_CERTIFICATE:
		complain(smith, pair->certificate_at, section, "certificate", complaint->why);
		return;
	case RL_TLS_PART_KEY:
		complain(smith, pair->key_at, section, "key", complaint->why);
		return;
	case RL_TLS_PART_CLIENT_CA:
		complain(smith, tls->client_ca_at, section, "client_ca", complaint->why);
		return;
	case RL_TLS_PART_NONE:
		smith->err = RL_ERR_NOMEM;
	}
}

static struct rl_tls_server *make_lock(struct locksmith *smith, const struct rl_cfg_tls *tls, const char *section)
{
	struct papers *papers = calloc(1, sizeof *papers);
	struct rl_tls_complaint complaint;
	struct rl_tls_server *lock = NULL;
	enum rl_err before = smith->err;

	smith->err = RL_OK;
	assert(tls->n_certificates && tls->n_certificates <= RL_CERTIFICATES_MAX);
	if (papers)
		read_papers(smith, tls, section, papers);
	else
		smith->err = RL_ERR_NOMEM;
	if (!smith->err) {
		const struct rl_tls_server_spec spec = {
			.identities = papers->identities,
			.n_identities = papers->n,
			.client_ca_pem = papers->client_ca,
			.h2 = smith->config->server.http2.enabled,
			.plain_answer = RL_STR(plain_answer),
		};
		if (rl_tls_server_new(&spec, &lock, &complaint))
			complain_of(smith, tls, section, &complaint);
	}
	for (size_t i = 0; papers && i < sizeof papers->texts / sizeof papers->texts[0]; i++)
		forget(&papers->texts[i]);
	free(papers);
	if (!smith->err)
		smith->err = before;
	return lock;
}

/* Listeners that take all from server.tls, or are two families of one name, share a context and its tickets. */
static bool same_lock(const struct rl_cfg_tls *a, const struct rl_cfg_tls *b)
{
	return a->on && b->on && a->certificates == b->certificates && a->client_ca.p == b->client_ca.p;
}

static void make_locks(struct locksmith *smith, const char *section, const struct rl_cfg_listen *list, size_t n,
		       struct rl_tls_server **out)
{
	const struct rl_cfg_tls *common = &smith->config->server.tls;

	assert(n <= RL_DOORS_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct rl_cfg_tls *tls = &list[i].tls;
		size_t k = 0;

		while (k < i && !same_lock(tls, &list[k].tls))
			k++;
		if (k < i)
			out[i] = rl_tls_server_ref(out[k]);
		else if (tls->on)
			out[i] = make_lock(smith, tls,
					   tls->certificates == common->certificates ? "server.tls" : section);
	}
}

enum rl_err rl_door_locks_init(struct rl_door_locks *locks, const struct rl_config *config, struct rl_buf *report)
{
	const struct rl_cfg_server *s = &config->server;
	struct locksmith smith = {.config = config, .report = report};

	*locks = (struct rl_door_locks){.data = {NULL}};
	make_locks(&smith, "server.listen.tls", s->listen, s->n_listen, locks->data);
	make_locks(&smith, "server.admin.tls", s->admin, s->n_admin, locks->admin);
	return smith.err;
}

void rl_door_locks_fini(struct rl_door_locks *locks)
{
	for (size_t i = 0; i < RL_DOORS_MAX; i++) {
		rl_tls_server_unref(locks->data[i]);
		rl_tls_server_unref(locks->admin[i]);
	}
}

/* Where the configuration names this door, or n. Only addresses with port 0 may stand there twice: they keep their order. */
static size_t place_of(const struct rl_doors *doors, size_t d, const struct rl_cfg_listen *list, size_t n)
{
	rl_str address = rl_str_of(doors->list[d].address);
	size_t before = 0, i = 0;

	for (size_t k = 0; k < d; k++)
		before += rl_str_eq(rl_str_of(doors->list[k].address), address);
	while (i < n && !(rl_str_eq(list[i].address, address) && before-- == 0))
		i++;
	return i;
}

static void change_locks(struct rl_doors *doors, const struct rl_cfg_listen *list, size_t n,
			 struct rl_tls_server *const *locks)
{
	for (size_t d = 0; d < doors->n; d++) {
		struct rl_door *door = &doors->list[d];
		size_t i = place_of(doors, d, list, n);

		if (i == n)
			continue; /* no longer named: the start after this one will close it */
		rl_tls_server_unref(door->tls);
		door->tls = rl_tls_server_ref(locks[i]);
	}
}

/* Before any of the new contexts is used: one may be that of several doors. */
static void hand_on_tickets(struct rl_doors *doors, const struct rl_cfg_listen *list, size_t n,
			    struct rl_tls_server *const *locks)
{
	for (size_t d = 0; d < doors->n; d++) {
		size_t i = place_of(doors, d, list, n);

		if (i < n && locks[i])
			rl_tls_server_succeed(locks[i], doors->list[d].tls);
	}
}

void rl_doors_change_locks(struct rl_program *p, const struct rl_config *config, const struct rl_door_locks *locks)
{
	const struct rl_cfg_server *s = &config->server;

	hand_on_tickets(&p->data, s->listen, s->n_listen, locks->data);
	hand_on_tickets(&p->admin_doors, s->admin, s->n_admin, locks->admin);
	change_locks(&p->data, s->listen, s->n_listen, locks->data);
	change_locks(&p->admin_doors, s->admin, s->n_admin, locks->admin);
}
