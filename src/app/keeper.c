/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: the main thread's life. It opens the doors (doors.c), serves the admin
 * plane, listens to signals, reloads, asks providers for their models, and drains at
 * the end.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/machine.h"
#include "app/program.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/health.h"
#include "provider/catalog.h"
#include "version.h"

#define UPKEEP_PERIOD_MS (10u * 60 * 1000)
#define PHASE_TICK_MS 20u
#define ABORT_GRACE_MS 2000u
#define MEMORY_TICK_MS 250u
#define MEMORY_TRIM_LOOKS 4u
#define FETCHING_MAX 256u /* calls at a time; who finds no room is asked the next time */

/* ---- mail to workers ---- */

struct worker_mail {
	struct rl_mail mail;
	struct rl_worker *worker;
	struct rl_snapshot_hold *hold; /* set_snapshot */
};

static void deliver_snapshot(struct rl_mail *mail, struct rl_loop *loop)
{
	struct worker_mail *m = (struct worker_mail *)(void *)mail;

	(void)loop;
	rl_worker_set_snapshot(m->worker, m->hold);
	free(m);
}

static void deliver_drain(struct rl_mail *mail, struct rl_loop *loop)
{
	struct worker_mail *m = (struct worker_mail *)(void *)mail;

	(void)loop;
	rl_server_drain(rl_worker_server(m->worker));
	free(m);
}

static void deliver_retire(struct rl_mail *mail, struct rl_loop *loop)
{
	struct worker_mail *m = (struct worker_mail *)(void *)mail;

	(void)loop;
	rl_server_retire(rl_worker_server(m->worker));
	free(m);
}

static void deliver_abort(struct rl_mail *mail, struct rl_loop *loop)
{
	struct worker_mail *m = (struct worker_mail *)(void *)mail;

	(void)loop;
	rl_server_abort(rl_worker_server(m->worker));
	free(m);
}

static bool post_to(struct rl_worker *worker, void (*run)(struct rl_mail *, struct rl_loop *))
{
	struct worker_mail *m = malloc(sizeof *m);

	if (!m)
		return false;
	*m = (struct worker_mail){.mail = {.run = run}, .worker = worker};
	rl_loop_post(rl_worker_loop(worker), &m->mail);
	return true;
}

static void post_to_all(struct rl_program *p, void (*run)(struct rl_mail *, struct rl_loop *))
{
	for (size_t i = 0; i < p->n_workers; i++)
		post_to(p->workers[i], run); /* without memory: the deadline ends it anyway */
}

/* ---- memory ---- */

/*
 * Short from nine tenths of the limit on, until a tenth less is used. What the allocator keeps for later is given back
 * first: it would count as used for ever, and nobody would be served again. That holds up workers, so it is done once
 * a second at most.
 */
static void on_memory(struct rl_timer *timer)
{
	struct rl_program *p = (struct rl_program *)(void *)((char *)timer - offsetof(struct rl_program, memory_timer));
	uint64_t most = p->snapshot->config->server.memory_limit_bytes / 10 * 9, used = rl_machine_resident_bytes();
	bool was = atomic_load_explicit(&p->gateway.memory_short, memory_order_relaxed), now;

	if (was)
		most -= most / 9;
	if (used > most && p->memory_looks++ % MEMORY_TRIM_LOOKS == 0) {
		malloc_trim(0);
		used = rl_machine_resident_bytes();
	}
	now = used > most;
	if (!now)
		p->memory_looks = 0;
	atomic_store_explicit(&p->gateway.memory_short, now, memory_order_relaxed);
	if (now && !was)
		RL_WARN("keeper", "%llu MiB are in use, nearly server.memory_limit: new requests are turned away",
			(unsigned long long)(used >> 20));
	if (was && !now)
		RL_INFO("keeper", "%llu MiB are in use: requests are served again", (unsigned long long)(used >> 20));
	if (now || rl_doors_connections(p))
		rl_timer_start(p->loop, timer, MEMORY_TICK_MS);
}

void rl_keeper_watch_memory(struct rl_program *p)
{
	if (!rl_timer_running(&p->memory_timer))
		rl_timer_start(p->loop, &p->memory_timer, MEMORY_TICK_MS);
}

/* ---- reload ---- */

static bool same_listeners(const struct rl_cfg_listen *a, size_t n_a, const struct rl_cfg_listen *b, size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (!rl_str_eq(a[i].address, b[i].address))
			return false;
	return true;
}

/* What a running process cannot change is said, not ignored in silence. */
static void note_unchangeable(const struct rl_config *old, const struct rl_config *new, struct rl_buf *report)
{
	const struct rl_cfg_server *a = &old->server, *b = &new->server;
	const struct {
		const char *key;
		bool same;
	} keys[] = {
		{"server.listen", same_listeners(a->listen, a->n_listen, b->listen, b->n_listen)},
		{"server.admin", same_listeners(a->admin, a->n_admin, b->admin, b->n_admin)},
		{"server.workers", a->workers == b->workers},
		{"server.max_connections", a->max_connections == b->max_connections},
		{"server.control", rl_str_eq(a->control, b->control)},
		{"log.access", rl_str_eq(old->log.access, new->log.access)},
	};

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (!keys[i].same)
			rl_buf_printf(report, "%.*s: warning: %s has changed; it takes effect with the next start\n",
				      RL_STR_ARG(new->path), keys[i].key);
}

/*
 * The loader has judged the addresses that the file names; what counts is where this process listens, which a reload
 * does not change.
 */
enum rl_err rl_keeper_check_open(const struct rl_program *p, const struct rl_config *config, struct rl_buf *report)
{
	const struct rl_cfg_server *s = &config->server;
	enum rl_err err = RL_OK;

	if (s->auth == RL_CFG_AUTH_AUTO && !config->n_clients && rl_doors_beyond_loopback(&p->data)) {
		rl_buf_printf(report,
			      "%.*s: server.listen: this process listens beyond loopback, which a reload does not "
			      "change, and would be open to everyone without client keys\n",
			      RL_STR_ARG(config->path));
		err = RL_ERR_RANGE;
	}
	if (!rl_secret_is_set(s->admin_token) && rl_doors_beyond_loopback(&p->admin_doors)) {
		rl_buf_printf(report,
			      "%.*s: server.admin: this process's admin plane listens beyond loopback, which a reload "
			      "does not change, and needs server.admin_token\n",
			      RL_STR_ARG(config->path));
		err = RL_ERR_RANGE;
	}
	return err;
}

static void start_fetches(struct rl_program *p);

static struct worker_mail *swap_mail_new(struct rl_worker *worker, struct rl_snapshot *next)
{
	struct worker_mail *m = malloc(sizeof *m);
	struct rl_snapshot_hold *hold = m ? rl_snapshot_hold_new(next) : NULL;

	if (!hold) {
		free(m);
		return NULL;
	}
	*m = (struct worker_mail){.mail = {.run = deliver_snapshot}, .worker = worker, .hold = hold};
	return m;
}

static enum rl_err take_over(struct rl_program *p, struct rl_snapshot *next)
{
	struct worker_mail *mails[RL_WORKERS_MAX];

	for (size_t i = 0; i < p->n_workers; i++) { /* all memory first: no worker swaps unless all do */
		mails[i] = swap_mail_new(p->workers[i], next);
		if (mails[i])
			continue;
		while (i) {
			rl_snapshot_hold_put(&mails[--i]->hold);
			free(mails[i]);
		}
		return RL_ERR_NOMEM;
	}
	for (size_t i = 0; i < p->n_workers; i++)
		rl_loop_post(rl_worker_loop(p->workers[i]), &mails[i]->mail);
	rl_snapshot_unref(p->snapshot);
	p->snapshot = next;
	rl_live_sweep(p->live);
	rl_pool_trim(p->pool, false);
	return RL_OK;
}

static enum rl_err reload(struct rl_program *p, struct rl_buf *report)
{
	struct rl_config *config = NULL;
	struct rl_snapshot *next = NULL;
	struct rl_door_locks locks = {.data = {NULL}};
	enum rl_err err = RL_ERR_NOT_FOUND;

	if (!p->setup.path)
		rl_buf_add(report,
			   RL_STR("there is no configuration file to read again: this gateway was started from the "
				  "environment\n"));
	else
		err = rl_setup_load_config(p->setup.path, report, &config);
	if (!err)
		err = rl_keeper_check_open(p, config, report);
	if (!err)
		err = rl_door_locks_init(&locks, config, report);
	if (!err) {
		note_unchangeable(p->snapshot->config, config, report);
		err = rl_snapshot_new(&config, p->live, rl_str_of(p->via), p->snapshot->generation + 1, report, &next);
	}
	rl_config_free(config);
	if (!err && (err = take_over(p, next)))
		rl_snapshot_unref(next);
	if (err) {
		p->reloads_rejected++;
	} else {
		p->reloads_ok++;
		rl_doors_change_locks(p, p->snapshot->config, &locks);
		rl_setup_apply(p->snapshot->config);
		start_fetches(p);
	}
	rl_door_locks_fini(&locks);
	return err;
}

/* The manager hears of the end in any case: it waits for it. */
enum rl_err rl_keeper_reload(void *program, struct rl_buf *report)
{
	struct rl_program *p = program;
	char status[128];

	rl_notify_reloading(&p->notify);
	enum rl_err err = reload(p, report);

	snprintf(status, sizeof status, "%sconfiguration %llu is in use",
		 err ? "a changed configuration was rejected: " : "", (unsigned long long)p->snapshot->generation);
	rl_notify_ready(&p->notify, status);
	return err;
}

static void reload_by_signal(struct rl_program *p)
{
	struct rl_buf report;

	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	enum rl_err err = rl_keeper_reload(p, &report);
	rl_str rest = rl_buf_str(&report);

	while (rest.p) {
		rl_str line = rl_str_cut(&rest, '\n');
		if (line.n)
			RL_WARN("reload", "%.*s", RL_STR_ARG(line));
	}
	if (err)
		RL_ERROR("reload", "the configuration was not changed");
	else
		RL_INFO("reload", "configuration %llu is in use", (unsigned long long)p->snapshot->generation);
	rl_buf_fini(&report);
}

/* ---- models of the providers ---- */

struct rl_fetching {
	struct rl_fetching *prev, *next;
	struct rl_program *program;
	struct rl_snapshot *snapshot; /* keeps the provider alive */
	struct rl_catalog_call *call;
};

static void fetching_free(struct rl_fetching *f)
{
	struct rl_program *p = f->program;

	if (f->prev)
		f->prev->next = f->next;
	else
		p->fetching = f->next;
	if (f->next)
		f->next->prev = f->prev;
	p->n_fetching--;
	rl_snapshot_unref(f->snapshot);
	free(f);
}

static void on_fetched(void *ctx, const struct rl_provider *provider, enum rl_err result, size_t n)
{
	if (result)
		RL_DEBUG("catalog", "%.*s did not list its models: %s", RL_STR_ARG(provider->name),
			 rl_err_text(result));
	else
		RL_DEBUG("catalog", "%.*s lists %zu models", RL_STR_ARG(provider->name), n);
	fetching_free(ctx);
}

static void start_fetch(struct rl_program *p, const struct rl_provider *provider)
{
	struct rl_fetching *f = p->n_fetching < FETCHING_MAX ? malloc(sizeof *f) : NULL;

	if (!f)
		return;
	*f = (struct rl_fetching){.next = p->fetching, .program = p, .snapshot = rl_snapshot_ref(p->snapshot)};
	if (f->next)
		f->next->prev = f;
	p->fetching = f;
	p->n_fetching++;
	if (rl_catalog_fetch(p->pool, provider, on_fetched, f, &f->call))
		fetching_free(f);
}

/* Every provider that is on and whose ids are not given in the config. */
static void start_fetches(struct rl_program *p)
{
	for (size_t i = 0; i < p->snapshot->n_providers; i++) {
		const struct rl_provider *provider = &p->snapshot->providers[i];
		if (!provider->off.n && !provider->settings->n_models && provider->paths[RL_OP_MODELS].n)
			start_fetch(p, provider);
	}
}

static void on_upkeep_timer(struct rl_timer *timer)
{
	struct rl_program *p = (struct rl_program *)(void *)((char *)timer - offsetof(struct rl_program, upkeep_timer));

	start_fetches(p);
	rl_doors_rotate_tickets(p);
	rl_timer_start(p->loop, timer, UPKEEP_PERIOD_MS);
}

/* ---- the end ---- */

/* The admin plane's connections end while the loop still turns: their owners hear of it in its last turn. */
static void stop_loop(struct rl_program *p)
{
	rl_doors_close(&p->admin_doors);
	rl_admin_abort(p->admin);
	rl_loop_stop(p->loop);
}

static void enter_draining(struct rl_program *p)
{
	const struct rl_cfg_server *s = &p->snapshot->config->server;

	if (p->phase != RL_PHASE_RETIRING) /* whose deadline runs already */
		p->deadline_ms = rl_loop_now_ms(p->loop) + s->drain_deadline_ms;
	p->phase = RL_PHASE_DRAINING;
	rl_doors_close(&p->data);
	post_to_all(p, deliver_drain);
	rl_timer_start(p->loop, &p->phase_timer, PHASE_TICK_MS);
}

/*
 * Another process accepts in our place. A client that finds its idle connection closed while its request is on the way
 * would see a failure: so those have half of the deadline to ask once more, and are told then to come anew.
 */
static void enter_retiring(struct rl_program *p)
{
	uint64_t deadline_ms = p->snapshot->config->server.drain_deadline_ms;

	p->phase = RL_PHASE_RETIRING;
	p->deadline_ms = rl_loop_now_ms(p->loop) + deadline_ms;
	p->idle_until_ms = p->deadline_ms - deadline_ms / 2;
	rl_doors_close(&p->data);
	rl_doors_close(&p->admin_doors);
	post_to_all(p, deliver_retire);
	rl_timer_start(p->loop, &p->phase_timer, PHASE_TICK_MS);
}

static void enter_aborting(struct rl_program *p, const char *why)
{
	if (p->phase < RL_PHASE_DRAINING)
		rl_doors_close(&p->data);
	RL_WARN("drain", "%s: %u connections are cut", why, rl_doors_connections(p));
	p->phase = RL_PHASE_ABORTING;
	p->deadline_ms = rl_loop_now_ms(p->loop) + ABORT_GRACE_MS;
	post_to_all(p, deliver_abort);
	rl_timer_start(p->loop, &p->phase_timer, PHASE_TICK_MS);
}

static void begin_stop(struct rl_program *p, const char *signal_name)
{
	uint64_t delay = p->snapshot->config->server.drain_delay_ms;

	if (p->phase == RL_PHASE_RETIRING) {
		enter_draining(p);
		return;
	}
	if (p->phase != RL_PHASE_SERVING) {
		enter_aborting(p, "told to stop again");
		return;
	}
	RL_INFO("drain", "%s: draining, %u connections are open", signal_name, rl_doors_connections(p));
	rl_notify_stopping(&p->notify, "draining");
	atomic_store(&p->gateway.draining, true);
	p->phase = RL_PHASE_DELAY;
	if (delay)
		rl_timer_start(p->loop, &p->phase_timer, delay);
	else
		enter_draining(p);
}

static void on_phase_timer(struct rl_timer *timer)
{
	struct rl_program *p = (struct rl_program *)(void *)((char *)timer - offsetof(struct rl_program, phase_timer));
	bool late = rl_loop_now_ms(p->loop) >= p->deadline_ms;

	switch (p->phase) {
	case RL_PHASE_SERVING:
		return;
	case RL_PHASE_DELAY:
		enter_draining(p);
		return;
	case RL_PHASE_RETIRING:
		if (rl_loop_now_ms(p->loop) >= p->idle_until_ms) {
			enter_draining(p);
			return;
		}
		break;
	case RL_PHASE_DRAINING:
		if (late && rl_doors_connections(p)) {
			enter_aborting(p, "the deadline of draining has passed");
			return;
		}
		break;
	case RL_PHASE_ABORTING:
		break;
	}
	if (!rl_doors_connections(p) || (late && p->phase == RL_PHASE_ABORTING)) {
		stop_loop(p);
		return;
	}
	rl_timer_start(p->loop, timer, PHASE_TICK_MS);
}

/* ---- another process takes over ---- */

void rl_keeper_open(struct rl_program *p)
{
	rl_doors_accepting(&p->data, !p->full && !p->handing_over);
	rl_doors_accepting(&p->admin_doors, !p->handing_over);
}

static const char *refuse_handover(void *owner)
{
	const struct rl_program *p = owner;

	return p->phase == RL_PHASE_SERVING ? NULL : "it is stopping";
}

static bool handed_socket(void *owner, size_t i, struct rl_inherited *out)
{
	const struct rl_program *p = owner;
	bool data = i < p->data.n;

	if (i >= p->data.n + p->admin_doors.n)
		return false;
	const struct rl_door *door = data ? &p->data.list[i] : &p->admin_doors.list[i - p->data.n];

	*out = (struct rl_inherited){.fd = rl_listener_fd(door->listener),
				     .plane = data ? RL_PLANE_DATA : RL_PLANE_ADMIN,
				     .by_name = door->by_name,
				     .own_file = rl_listener_owns_file(door->listener),
				     .addr = *rl_listener_addr(door->listener)};
	snprintf(out->address, sizeof out->address, "%s", door->address);
	return true;
}

static const struct rl_notify *handed_notify(void *owner)
{
	return &((struct rl_program *)owner)->notify;
}

static void pause_for_handover(void *owner, bool paused)
{
	struct rl_program *p = owner;

	p->handing_over = paused;
	rl_keeper_open(p);
}

/* The manager must know the other one before that speaks to it, and must not take our end for the service's. */
static void hand_over(void *owner, pid_t next)
{
	struct rl_program *p = owner;

	RL_INFO("takeover", "process %ld serves: draining, %u connections are open", (long)next,
		rl_doors_connections(p));
	if (next > 0)
		rl_notify_main_pid(&p->notify, next);
	rl_pulse_stop(&p->pulse);
	rl_notify_close(&p->notify);
	rl_doors_leave_files(p);
	if (p->phase == RL_PHASE_SERVING)
		enter_retiring(p);
}

void rl_keeper_open_control(struct rl_program *p, bool replace)
{
	static const struct rl_control_ops ops = {
		.name = "keeper",
		.refuse = refuse_handover,
		.socket = handed_socket,
		.notify = handed_notify,
		.pause = pause_for_handover,
		.gone = hand_over,
	};
	char path[RL_CONTROL_PATH_MAX];
	const char *why = "its path is too long";
	enum rl_err err = rl_control_path(p->snapshot->config->server.control, path);

	if (!err && !*path)
		return; /* switched off */
	if (!err)
		err = rl_control_open(p->loop, path, replace, &ops, p, &p->control, &why);
	if (err)
		RL_WARN("takeover", "no control socket at %s: %s; this process cannot be taken over (server.control)",
			path, why);
}

/* ---- signals ---- */

static void on_signal(void *owner, unsigned events)
{
	struct rl_program *p = owner;
	struct signalfd_siginfo info;

	(void)events;
	while (read(p->signal_fd, &info, sizeof info) == sizeof info) {
		switch (info.ssi_signo) {
		case SIGHUP:
			reload_by_signal(p);
			break;
		case SIGUSR1:
			rl_access_log_reopen(p->access_log);
			break;
		case SIGTERM:
			begin_stop(p, "SIGTERM");
			break;
		default:
			begin_stop(p, "SIGINT");
			break;
		}
	}
}

/* ---- what others ask ---- */

const struct rl_admin_view *rl_keeper_view(void *program)
{
	struct rl_program *p = program;
	struct rl_access_log_stats stats = {0};

	rl_access_log_stats(p->access_log, &stats);
	for (size_t i = 0; i < p->data.n; i++)
		p->data_addresses[i] = rl_str_of(rl_listener_text(p->data.list[i].listener));
	p->view = (struct rl_admin_view){
		.gateway = &p->gateway,
		.workers = p->workers,
		.n_workers = p->n_workers,
		.metrics = p->metrics,
		.snapshot = p->snapshot,
		.listeners = p->data_addresses,
		.n_listeners = p->data.n,
		.version = RL_STR(RL_VERSION),
		.access_log_dropped = stats.dropped,
		.reloads_ok = p->reloads_ok,
		.reloads_rejected = p->reloads_rejected,
	};
	return &p->view;
}

/* Several providers may be one place: its connections count once. */
static bool shares_origin(const struct rl_snapshot *s, size_t provider)
{
	for (size_t i = 0; i < provider; i++)
		if (s->providers[i].origin == s->providers[provider].origin)
			return true;
	return false;
}

static void collect_connections(void *user, struct rl_metric_out *out)
{
	const struct rl_program *p = user;
	uint32_t upstream = 0;

	for (size_t i = 0; i < p->snapshot->n_providers; i++)
		if (!shares_origin(p->snapshot, i))
			upstream += rl_origin_connections(p->snapshot->providers[i].origin);
	rl_metric_sample(out, &RL_STR("client"), rl_doors_connections(p));
	rl_metric_sample(out, &RL_STR("provider"), upstream);
}

static void collect_in_flight(void *user, struct rl_metric_out *out)
{
	const struct rl_program *p = user;
	uint32_t n = 0;

	for (size_t i = 0; i < p->n_workers; i++)
		n += rl_worker_requests(p->workers[i]);
	rl_metric_sample(out, NULL, n);
}

/* A target may stand in several aliases: its first place speaks for it. */
static bool seen_before(const struct rl_snapshot *s, size_t model, size_t target)
{
	const struct rl_target_live *live = s->models[model].targets[target].live;

	for (size_t m = 0; m <= model; m++)
		for (size_t t = 0; (m < model || t < target) && t < s->models[m].n_targets; t++)
			if (s->models[m].targets[t].live == live)
				return true;
	return false;
}

static void each_target(const struct rl_snapshot *s, struct rl_metric_out *out,
			double (*value)(const struct rl_target *))
{
	for (size_t m = 0; m < s->n_models; m++)
		for (size_t t = 0; t < s->models[m].n_targets; t++) {
			const struct rl_target *target = &s->models[m].targets[t];
			if (!seen_before(s, m, t))
				rl_metric_sample(out, (rl_str[]){target->provider->name, target->model}, value(target));
		}
}

static double target_in_flight(const struct rl_target *target)
{
	return atomic_load_explicit(&target->live->inflight, memory_order_relaxed);
}

static double target_available(const struct rl_target *target)
{
	return !target->provider->off.n && rl_health_state(target, rl_clock_us() / 1000) == RL_HEALTH_UP;
}

static void collect_target_in_flight(void *user, struct rl_metric_out *out)
{
	each_target(((struct rl_program *)user)->snapshot, out, target_in_flight);
}

static void collect_target_available(void *user, struct rl_metric_out *out)
{
	each_target(((struct rl_program *)user)->snapshot, out, target_available);
}

static void collect_reloads(void *user, struct rl_metric_out *out)
{
	const struct rl_program *p = user;

	rl_metric_sample(out, &RL_STR("ok"), (double)p->reloads_ok);
	rl_metric_sample(out, &RL_STR("rejected"), (double)p->reloads_rejected);
}

static void collect_rate_limited(void *user, struct rl_metric_out *out)
{
	const struct rl_program *p = user;

	for (enum rl_rate_kind kind = 0; kind < RL_RATE_KIND_COUNT; kind++) {
		rl_str name = rl_rate_kind_name(kind);

		rl_metric_sample(out, &name, (double)rl_rate_refused(p->gateway.rate, kind));
	}
}

static void collect_crowded_out(void *user, struct rl_metric_out *out)
{
	rl_metric_sample(out, NULL, (double)rl_crowd_refused(((struct rl_program *)user)->gateway.crowd));
}

static void collect_shed(void *user, struct rl_metric_out *out)
{
	rl_metric_sample(out, NULL, (double)atomic_load(&((struct rl_program *)user)->gateway.shed));
}

static void collect_no_handshakes(void *user, struct rl_metric_out *out)
{
	const struct rl_program *p = user;

	for (unsigned why = RL_TLS_FAILURE_NONE + 1; why < RL_TLS_FAILURE_COUNT; why++) {
		rl_str name = rl_tls_failure_name((enum rl_tls_failure)why);

		rl_metric_sample(out, &name, (double)atomic_load(&p->gateway.no_handshakes[why]));
	}
}

void rl_keeper_feed_metrics(struct rl_program *p)
{
	rl_metrics_collect(p->metrics, RL_METRIC_CONNECTIONS, collect_connections, p);
	rl_metrics_collect(p->metrics, RL_METRIC_IN_FLIGHT, collect_in_flight, p);
	rl_metrics_collect(p->metrics, RL_METRIC_TARGET_IN_FLIGHT, collect_target_in_flight, p);
	rl_metrics_collect(p->metrics, RL_METRIC_TARGET_AVAILABLE, collect_target_available, p);
	rl_metrics_collect(p->metrics, RL_METRIC_RELOADS, collect_reloads, p);
	rl_metrics_collect(p->metrics, RL_METRIC_RATE_LIMITED, collect_rate_limited, p);
	rl_metrics_collect(p->metrics, RL_METRIC_CROWDED_OUT, collect_crowded_out, p);
	rl_metrics_collect(p->metrics, RL_METRIC_SHED, collect_shed, p);
	rl_metrics_collect(p->metrics, RL_METRIC_TLS_FAILURES, collect_no_handshakes, p);
	rl_metrics_collect(p->metrics, RL_METRIC_LOG_RECORDS, rl_access_log_collect_records, p->access_log);
	rl_metrics_collect(p->metrics, RL_METRIC_LOG_DROPPED, rl_access_log_collect_dropped, p->access_log);
}

/* ---- life ---- */

/* Without a sign of life the manager ends this process: so none while a loop is stuck. */
static void on_beat(void *owner, bool all_turn)
{
	struct rl_program *p = owner;

	if (all_turn)
		rl_notify_alive(&p->notify);
	if (all_turn == p->stuck)
		rl_notify_status(&p->notify, all_turn ? "serving" : "a worker stands still");
	p->stuck = !all_turn;
}

static enum rl_err start_pulse(struct rl_program *p)
{
	struct rl_loop *loops[RL_WORKERS_MAX];
	uint64_t period_ms = p->notify.watchdog_ms / 2;

	if (!p->notify.watchdog_ms)
		return RL_OK;
	for (size_t i = 0; i < p->n_workers; i++)
		loops[i] = rl_worker_loop(p->workers[i]);
	if (period_ms > RL_PULSE_STUCK_MS / 2)
		period_ms = RL_PULSE_STUCK_MS / 2;
	return rl_pulse_start(&p->pulse, p->loop, period_ms ? period_ms : 1, loops, p->n_workers, on_beat, p);
}

enum rl_err rl_keeper_start(struct rl_program *p)
{
	sigset_t set;

	rl_timer_init(&p->phase_timer, on_phase_timer);
	rl_timer_init(&p->upkeep_timer, on_upkeep_timer);
	rl_timer_init(&p->room_timer, rl_doors_on_room);
	rl_timer_init(&p->memory_timer, on_memory);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	p->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (p->signal_fd < 0)
		return rl_err_from_errno(errno);
	enum rl_err err = rl_poll_new(p->loop, p->signal_fd, on_signal, p, &p->signal_poll);

	if (!err)
		err = start_pulse(p);
	if (err)
		return err;
	rl_poll_want(p->signal_poll, RL_POLL_READ);
	start_fetches(p);
	rl_timer_start(p->loop, &p->upkeep_timer, UPKEEP_PERIOD_MS);
	return RL_OK;
}

void rl_keeper_stop(struct rl_program *p)
{
	rl_control_close(p->control);
	rl_doors_close(&p->data);
	rl_doors_close(&p->admin_doors);
	for (struct rl_fetching *f = p->fetching, *next; f; f = next) {
		next = f->next;
		rl_catalog_cancel(f->call);
		fetching_free(f);
	}
	rl_timer_stop(&p->phase_timer);
	rl_timer_stop(&p->upkeep_timer);
	rl_timer_stop(&p->room_timer);
	rl_timer_stop(&p->memory_timer);
	rl_pulse_stop(&p->pulse);
	rl_poll_free(p->signal_poll);
	if (p->signal_fd >= 0)
		close(p->signal_fd);
}
