/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds the program out of its rooms and takes it apart again: the only file that
 * knows all of them. In order: config, snapshot, sinks, listeners, workers, threads;
 * the reverse at the end, so that a leak checker finds nothing.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/banner.h"
#include "app/command.h"
#include "app/machine.h"
#include "app/program.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "life/takeover.h"
#include "service/simulator.h"
#include "version.h"

#define DESCRIPTORS_RESERVED 64u /* for listeners, logs, DNS and the admin plane */

static int fail(const char *what, enum rl_err err)
{
	fprintf(stderr, "relais: %s: %s\n", what, rl_err_text(err));
	return RL_EXIT_FAILED;
}

/* ---- parts, in order ---- */

static int inherit(struct rl_program *p)
{
	const char *why = "";

	if (!rl_inherit_from_manager(&p->inherit, &why))
		return RL_EXIT_OK;
	fprintf(stderr, "relais: %s\n", why);
	return RL_EXIT_FAILED;
}

static int make_snapshot(struct rl_program *p)
{
	struct rl_buf report;
	unsigned char id[6];

	rl_random_bytes(id, sizeof id);
	snprintf(p->via, sizeof p->via, "relais-%02x%02x%02x%02x%02x%02x", id[0], id[1], id[2], id[3], id[4], id[5]);
	rl_setup_apply(p->setup.config);
	enum rl_err err = rl_live_new(&p->live);

	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	if (!err)
		err = rl_snapshot_new(&p->setup.config, p->live, rl_str_of(p->via), 1, &report, &p->snapshot);
	fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
	rl_buf_fini(&report);
	if (err == RL_ERR_NOMEM)
		return fail("cannot start", err);
	if (!err)
		rl_live_sweep(p->live); /* only marks: the next one finds what a reload no longer asks for */
	return err ? RL_EXIT_USAGE : RL_EXIT_OK;
}

static int make_sinks(struct rl_program *p)
{
	rl_str target = p->snapshot->config->log.access;
	enum rl_err err = rl_metrics_new((unsigned)p->n_workers, RL_STR(RL_VERSION), &p->metrics);

	if (!err)
		err = rl_access_log_open(target, (unsigned)p->n_workers, RL_ACCESS_LOG_BUFFER_BYTES, &p->access_log);
	if (err) {
		fprintf(stderr, "relais: log.access: cannot open %.*s: %s\n", RL_STR_ARG(target), rl_err_text(err));
		return RL_EXIT_FAILED;
	}
	p->gateway = (struct rl_gateway){.via = rl_str_of(p->via), .started_s = rl_clock_wall_us() / 1000000u};
	if (rl_rate_new(&p->gateway.rate) || rl_crowd_new(&p->gateway.crowd))
		return fail("cannot start", RL_ERR_NOMEM);
	rl_sinks_add(&p->gateway.sinks, &rl_access_log_sink, p->access_log);
	rl_sinks_add(&p->gateway.sinks, &rl_metrics_sink, p->metrics);
	return RL_EXIT_OK;
}

/*
 * A socket that was given and is not wanted would take connections that nobody answers. The former process's are dropped when
 * it has gone: the new configuration has them no more.
 */
static int check_inherited(struct rl_program *p)
{
	const struct rl_inherited *left = rl_inherit_left(&p->inherit);
	char text[RL_INHERIT_TEXT_MAX];

	if (!left || *left->address)
		return RL_EXIT_OK;
	rl_inherit_text(&left->addr, text);
	fprintf(stderr,
		"relais: the service manager gives a socket of %s (LISTEN_FDS), which stands neither in server.listen nor "
		"in server.admin\n",
		text);
	return RL_EXIT_FAILED;
}

/*
 * The configuration was judged by the addresses that it names, and its doors by what it says: sockets that were given may be
 * elsewhere.
 */
static int open_doors(struct rl_program *p)
{
	const struct rl_config *config = p->snapshot->config;
	struct rl_door_locks locks;
	struct rl_buf report;
	int status = RL_EXIT_USAGE;

	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	if (!rl_door_locks_init(&locks, config, &report))
		status = rl_doors_open(p, config, &locks);
	if (!status)
		status = check_inherited(p);
	if (!status && rl_keeper_check_open(p, config, &report))
		status = RL_EXIT_USAGE;
	fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
	rl_door_locks_fini(&locks);
	rl_buf_fini(&report);
	return status;
}

static void *work(void *arg)
{
	struct rl_crew *crew = arg;

	rl_loop_run(crew->loop);
	rl_worker_free(crew->worker);
	crew->worker = NULL;
	rl_arena_thread_fini();
	return NULL;
}

static enum rl_err start_worker(struct rl_program *p, unsigned i)
{
	struct rl_crew *crew = &p->crew[i];
	char name[16];

	snprintf(name, sizeof name, "worker-%u", i);
	enum rl_err err = rl_loop_new(name, &crew->loop);

	if (!err)
		err = rl_worker_new(&p->gateway, i, crew->loop, p->snapshot, &crew->worker);
	if (err)
		return err;
	p->workers[i] = crew->worker;
	int failed = pthread_create(&crew->thread, NULL, work, crew);

	if (failed)
		return rl_err_from_errno(failed);
	crew->started = true;
	pthread_setname_np(crew->thread, name);
	return RL_OK;
}

static int start_workers(struct rl_program *p)
{
	for (unsigned i = 0; i < p->n_workers; i++) {
		enum rl_err err = start_worker(p, i);
		if (err)
			return fail("cannot start a worker", err);
	}
	return RL_EXIT_OK;
}

static int bring_up(struct rl_program *p)
{
	static const struct rl_admin_hooks hooks = {rl_keeper_view, rl_keeper_reload};
	const struct rl_cfg_server *s = &p->snapshot->config->server;
	uint64_t descriptors = rl_machine_raise_descriptors();
	uint64_t room = descriptors > 2 * DESCRIPTORS_RESERVED ? (descriptors - DESCRIPTORS_RESERVED) / 2 : 64;

	p->n_workers = s->workers ? s->workers : rl_machine_cpus();
	if (p->n_workers > RL_WORKERS_MAX)
		p->n_workers = RL_WORKERS_MAX;
	p->max_connections = s->max_connections ? s->max_connections : room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;

	int status = make_sinks(p);

	if (!status)
		status = open_doors(p);
	if (!status && rl_admin_new(p->loop, &hooks, p, &p->admin))
		status = fail("cannot start the admin plane", RL_ERR_NOMEM);
	if (!status && rl_pool_new(p->loop, &p->pool))
		status = fail("cannot start", RL_ERR_NOMEM);
	if (!status)
		status = start_workers(p);
	if (!status) {
		rl_keeper_feed_metrics(p);
		enum rl_err err = rl_keeper_start(p);
		if (err)
			status = fail("cannot start", err);
	}
	return status;
}

static void take_down(struct rl_program *p)
{
	for (size_t i = 0; i < p->n_workers; i++) {
		struct rl_crew *crew = &p->crew[i];

		if (crew->started) {
			rl_loop_stop(crew->loop);
			pthread_join(crew->thread, NULL);
		}
		rl_worker_free(crew->worker);
		rl_loop_free(crew->loop);
	}
	rl_pulse_fini(&p->pulse);
	rl_admin_free(p->admin);
	rl_pool_free(p->pool);
	for (size_t i = 0; i < 2; i++)
		if (p->setup.sims[i])
			rl_sim_stop(p->setup.sims[i]);
	rl_loop_free(p->loop);
	rl_access_log_close(p->access_log, NULL);
	rl_metrics_free(p->metrics);
	rl_rate_free(p->gateway.rate);
	rl_crowd_free(p->gateway.crowd);
	rl_snapshot_unref(p->snapshot);
	rl_live_free(p->live);
	rl_setup_fini(&p->setup);
	rl_inherit_close(&p->inherit);
	rl_notify_close(&p->notify);
	rl_arena_thread_fini();
}

/* Signals are read from a descriptor by the keeper; no thread is ever interrupted. */
static int block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	return pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Asks the running process for what it has. Its service manager is ours, if we know none ourselves. */
static int begin_takeover(struct rl_program *p, struct rl_takeover *t)
{
	char path[RL_CONTROL_PATH_MAX];

	if (rl_control_path(p->snapshot->config->server.control, path) || !*path) {
		fprintf(stderr, "relais: cannot take over: server.control names no socket\n");
		return RL_EXIT_FAILED;
	}
	if (rl_takeover_begin(t, path, &p->inherit)) {
		fprintf(stderr, "relais: cannot take over: %s\n", t->why);
		return RL_EXIT_FAILED;
	}
	if (!*p->notify.path)
		rl_notify_open_at(&p->notify, t->notify, t->watchdog_ms);
	return RL_EXIT_OK;
}

static int open_to_all(struct rl_program *p, struct rl_takeover *t)
{
	if (t->fd < 0) {
		rl_keeper_open(p);
		return RL_EXIT_OK;
	}
	enum rl_err err = rl_takeover_ready(t);

	if (!err)
		err = rl_takeover_serving(t);
	if (err && !t->told) {
		fprintf(stderr, "relais: cannot take over: %s; it goes on\n", t->why);
		return RL_EXIT_FAILED;
	}
	rl_keeper_open(p);
	if (err) {
		RL_WARN("takeover", "%s: it may serve beside this one", t->why);
		rl_inherit_close(&p->inherit);
		return RL_EXIT_OK;
	}
	rl_doors_take_files(p);
	rl_inherit_drop(&p->inherit);
	return RL_EXIT_OK;
}

static int start(struct rl_program *p, const char *config_file, bool takeover)
{
	struct rl_takeover t = {.fd = -1};
	int status = rl_setup_load(config_file, p->loop, &p->setup);

	if (!status)
		status = make_snapshot(p);
	if (!status)
		status = takeover ? begin_takeover(p, &t) : inherit(p);
	if (!status)
		status = bring_up(p);
	if (!status)
		status = open_to_all(p, &t);
	rl_takeover_end(&t);
	return status;
}

int rl_program_run(const char *config_file, bool takeover)
{
	struct rl_program *p = calloc(1, sizeof *p);

	if (!p || block_signals() || rl_loop_new("keeper", &p->loop)) {
		free(p);
		return fail("cannot start", RL_ERR_NOMEM);
	}
	p->signal_fd = -1;
	rl_notify_open(&p->notify);
	int status = start(p, config_file, takeover);

	if (!status) {
		rl_keeper_open_control(p, takeover);
		rl_banner_print(p->snapshot, &p->data, &p->admin_doors, p->setup.discovered);
		rl_notify_ready(&p->notify, "serving");
		rl_loop_run(p->loop);
	}
	rl_keeper_stop(p);
	take_down(p);
	free(p);
	return status;
}

int rl_cmd_serve(const struct rl_args *args)
{
	return rl_program_run(args->values[0], args->values[1] != NULL);
}
