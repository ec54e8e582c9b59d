/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running gateway, whole. Built and taken apart by wiring.c, lived by keeper.c;
 * everything here belongs to the main thread (the keeper's) but for the workers'
 * loops, which other threads drive.
 */
#ifndef RL_APP_PROGRAM_H
#define RL_APP_PROGRAM_H

#include <pthread.h>

#include "admin/admin.h"
#include "app/doors.h"
#include "app/setup.h"
#include "life/control.h"
#include "life/notify.h"
#include "life/pulse.h"
#include "observe/access_log.h"
#include "observe/metrics.h"
#include "pipeline/pipeline.h"

#define RL_WORKERS_MAX 256u

enum rl_phase {
	RL_PHASE_SERVING = 0,
	RL_PHASE_DELAY,    /* readiness is off, still accepting */
	RL_PHASE_RETIRING, /* another process serves; idle connections may ask once more */
	RL_PHASE_DRAINING, /* no more connections; those that are finish */
	RL_PHASE_ABORTING, /* the deadline has passed */
};

struct rl_crew { /* a worker and its thread */
	struct rl_worker *worker;
	struct rl_loop *loop;
	pthread_t thread;
	bool started;
	struct rl_mail shed; /* asks for `to_shed` places; the worker's until it is no longer `asked` */
	size_t to_shed;
	_Atomic bool asked;
};

struct rl_program {
	struct rl_setup setup;
	char via[32];
	struct rl_live *live;
	struct rl_snapshot *snapshot; /* the current one */
	struct rl_gateway gateway;
	struct rl_metrics *metrics;
	struct rl_access_log *access_log;

	struct rl_loop *loop; /* the keeper's */
	struct rl_pool *pool; /* for its own calls */
	struct rl_admin *admin;
	struct rl_doors data, admin_doors;
	rl_str data_addresses[RL_DOORS_MAX]; /* for `view` */
	struct rl_crew crew[RL_WORKERS_MAX];
	struct rl_worker *workers[RL_WORKERS_MAX];
	size_t n_workers;
	uint32_t max_connections;

	int signal_fd;
	struct rl_poll *signal_poll;
	struct rl_timer phase_timer, upkeep_timer, room_timer, memory_timer;
	enum rl_phase phase;
	uint64_t deadline_ms;
	uint64_t idle_until_ms;       /* while retiring */
	bool full;                    /* accepting is paused: too many connections */
	uint64_t full_said_ms;        /* when that was last logged */
	size_t next_to_shed;          /* which worker is asked next for a place */
	unsigned memory_looks;        /* since memory became short */
	bool handing_over;            /* accepting is paused: another process is about to serve */
	struct rl_fetching *fetching; /* providers being asked for their models */
	unsigned n_fetching;
	uint64_t reloads_ok, reloads_rejected;

	struct rl_notify notify;   /* the service manager */
	struct rl_pulse pulse;     /* its watchdog's */
	bool stuck;                /* a worker's loop is, as the watchdog last saw */
	struct rl_inherit inherit; /* listening sockets that we did not open */
	struct rl_control *control;
	struct rl_admin_view view;
};

/* Serves until told to stop, or until another process has taken over; returns an exit status. */
int rl_program_run(const char *config_file, bool takeover);

/* keeper.c */
/* Why `config` must not be served where this process listens, in the report; RL_OK if it may. */
enum rl_err rl_keeper_check_open(const struct rl_program *program, const struct rl_config *config,
				 struct rl_buf *report) RL_MUST_CHECK;
enum rl_err rl_keeper_start(struct rl_program *program) RL_MUST_CHECK;
/* Accepts, but while all places are taken or another process is about to serve. */
void rl_keeper_open(struct rl_program *program);
/* The control socket, if there can be one: without it nobody can take over, and that is all. */
void rl_keeper_open_control(struct rl_program *program, bool replace);
void rl_keeper_stop(struct rl_program *program);
enum rl_err rl_keeper_reload(void *program, struct rl_buf *report);
const struct rl_admin_view *rl_keeper_view(void *program);
void rl_keeper_feed_metrics(struct rl_program *program);
/* A client has come: from now on memory is looked at. */
void rl_keeper_watch_memory(struct rl_program *program);

#endif
