/* SPDX-License-Identifier: Apache-2.0 */
/* `relais simulate`: a simulated provider as a process of its own. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/command.h"
#include "app/machine.h"
#include "app/setup.h"
#include "service/simulator.h"

enum { OPT_LISTEN, OPT_SCENARIO, OPT_NAME, OPT_SEED, OPT_TLS, OPT_CA_OUT };

struct running {
	struct rl_loop *loop;
	struct rl_sim *sim;
	int signals;
};

static void on_signal(void *owner, unsigned events)
{
	struct running *r = owner;
	struct signalfd_siginfo info;

	(void)events;
	if (read(r->signals, &info, sizeof info) != sizeof info)
		return;
	rl_sim_stop(r->sim);
	rl_loop_stop(r->loop);
}

static int load_scenario(const char *path, struct rl_sim_scenario **out)
{
	struct rl_buf report;

	if (!path)
		return RL_EXIT_OK;
	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	enum rl_err err = rl_sim_scenario_load(path, &report, out);

	fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
	rl_buf_fini(&report);
	return err ? RL_EXIT_USAGE : RL_EXIT_OK;
}

static int write_ca(const struct rl_sim *sim, const char *path)
{
	rl_str pem = rl_sim_ca_pem(sim);
	FILE *f = path ? fopen(path, "we") : NULL;

	if (!path)
		return RL_EXIT_OK;
	if (!f || fwrite(pem.p, 1, pem.n, f) != pem.n || fclose(f)) {
		fprintf(stderr, "relais: cannot write %s: %s\n", path, strerror(errno));
		return RL_EXIT_FAILED;
	}
	return RL_EXIT_OK;
}

static int parse(const struct rl_args *args, struct rl_sim_options *options)
{
	const char *seed = args->values[OPT_SEED];
	char *end = NULL;

	*options = (struct rl_sim_options){
		.listen = rl_str_of(args->values[OPT_LISTEN] ? args->values[OPT_LISTEN] : "127.0.0.1:9000"),
		.name = rl_str_of(args->values[OPT_NAME] ? args->values[OPT_NAME] : "sim"),
		.seed = 0, /* the scenario's own, unless one is given */
	};
	if (seed)
		options->seed = strtoull(seed, &end, 10);
	if (seed && (!*seed || *end)) {
		fprintf(stderr, "relais: --seed takes a number, not '%s'\n", seed);
		return RL_EXIT_USAGE;
	}
	if (args->values[OPT_TLS] && rl_sim_tls_parse(rl_str_of(args->values[OPT_TLS]), &options->tls)) {
		fprintf(stderr, "relais: --tls takes good, expired, wrong-name or self-signed, not '%s'\n",
			args->values[OPT_TLS]);
		return RL_EXIT_USAGE;
	}
	return load_scenario(args->values[OPT_SCENARIO], &options->scenario);
}

static int serve(struct running *r, const struct rl_args *args, const struct rl_sim_options *options)
{
	char text[RL_ADDR_TEXT_MAX];
	struct rl_poll *poll = NULL;
	const char *why = "out of memory";

	if (rl_sim_new(r->loop, options, &r->sim, &why)) {
		fprintf(stderr, "relais: cannot listen on %.*s: %s\n", RL_STR_ARG(options->listen), why);
		return RL_EXIT_FAILED;
	}
	int status = write_ca(r->sim, args->values[OPT_CA_OUT]);

	if (!status && !rl_poll_new(r->loop, r->signals, on_signal, r, &poll)) {
		rl_poll_want(poll, RL_POLL_READ);
		rl_addr_text(rl_sim_addr(r->sim), text);
		printf("listening sim %s://%s\n", options->tls ? "https" : "http", text);
		fflush(stdout);
		rl_loop_run(r->loop);
	} else {
		rl_sim_stop(r->sim);
	}
	rl_poll_free(poll);
	return status;
}

int rl_cmd_simulate(const struct rl_args *args)
{
	struct rl_sim_options options;
	struct running r = {.loop = NULL};
	sigset_t set;
	int status = parse(args, &options);

	if (status)
		return status;
	signal(SIGPIPE, SIG_IGN);
	rl_machine_raise_descriptors();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (r.signals < 0 || rl_loop_new("sim", &r.loop)) {
		fprintf(stderr, "relais: cannot start: %s\n", strerror(errno));
		return RL_EXIT_FAILED;
	}
	status = serve(&r, args, &options);
	rl_loop_free(r.loop);
	rl_sim_free(r.sim);
	close(r.signals);
	return status;
}
