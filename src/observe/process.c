/* SPDX-License-Identifier: Apache-2.0 */
/* See process_priv.h. Where /proc is missing (a strict sandbox) the values that need it are left out, not made up. */
#include "observe/process_priv.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "observe/metrics.h"

static void collect_cpu(void *user, struct rl_metric_out *out)
{
	struct rusage usage;

	(void)user;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		rl_metric_sample(out, NULL,
				 (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
					 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

/* Column 0 (whole) or 1 (resident) of /proc/self/statm, in pages; false without it. */
static bool statm(unsigned column, double *bytes)
{
	char text[128], *at = text;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return false;
	bool got = fgets(text, sizeof text, file) != NULL;

	fclose(file);
	for (unsigned i = 0; got && i < column; i++)
		strtoull(at, &at, 10);
	if (got)
		*bytes = (double)strtoull(at, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
	return got;
}

static void collect_resident(void *user, struct rl_metric_out *out)
{
	double bytes;

	(void)user;
	if (statm(1, &bytes))
		rl_metric_sample(out, NULL, bytes);
}

static void collect_virtual(void *user, struct rl_metric_out *out)
{
	double bytes;

	(void)user;
	if (statm(0, &bytes))
		rl_metric_sample(out, NULL, bytes);
}

static void collect_fds(void *user, struct rl_metric_out *out)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	(void)user;
	if (!dir)
		return;
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
		n += entry->d_name[0] != '.';
	closedir(dir);
	rl_metric_sample(out, NULL, n - 1); /* without the folder's own */
}

static void collect_max_fds(void *user, struct rl_metric_out *out)
{
	struct rlimit limit;

	(void)user;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		rl_metric_sample(out, NULL, (double)limit.rlim_cur);
}

static double started_s;

static void collect_start(void *user, struct rl_metric_out *out)
{
	(void)user;
	rl_metric_sample(out, NULL, started_s);
}

/* The kernel's own note of it: field 22 of /proc/self/stat, clock ticks after boot. Else: now. */
static double start_time(void)
{
	double now = (double)rl_clock_wall_us() / 1e6, ticks = 0;
	char text[1024];
	struct timespec boot;
	FILE *file = fopen("/proc/self/stat", "re");

	if (!file)
		return now;
	bool got = fgets(text, sizeof text, file) != NULL;
	fclose(file);
	/* Counted from the bracket behind the program's name, which may hold anything. */
	const char *at = got ? strrchr(text, ')') : NULL;

	for (int i = 2; at && i < 22; i++)
		at = strchr(at + 1, ' ');
	if (at)
		ticks = strtod(at, NULL);
	if (ticks <= 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
		return now;
	double age = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 - ticks / (double)sysconf(_SC_CLK_TCK);

	return age > 0 ? now - age : now;
}

void rl_process_metrics_add(struct rl_metric_set *set)
{
	static const struct {
		enum rl_metric_id id;
		rl_metric_collect_f collect;
	} rows[] = {
		{RL_METRIC_PROCESS_CPU, collect_cpu},         {RL_METRIC_PROCESS_RESIDENT, collect_resident},
		{RL_METRIC_PROCESS_VIRTUAL, collect_virtual}, {RL_METRIC_PROCESS_FDS, collect_fds},
		{RL_METRIC_PROCESS_MAX_FDS, collect_max_fds}, {RL_METRIC_PROCESS_START, collect_start},
	};

	started_s = start_time();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		rl_metric_collect(set, rows[i].id, rows[i].collect, NULL);
}
