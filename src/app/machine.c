/* SPDX-License-Identifier: Apache-2.0 */
/* See machine.h. Control groups of both versions are asked, by the files that the kernel documents. */
#include "app/machine.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_BYTES 4096

/* Up to two numbers of a small file; "max" counts as none. Returns how many. */
static int read_numbers(const char *path, long long out[2])
{
	FILE *f = fopen(path, "re");
	int n = 0;

	if (!f)
		return 0;
	while (n < 2 && fscanf(f, "%lld", &out[n]) == 1)
		n++;
	fclose(f);
	return n;
}

static void take_quota(struct rl_machine_limits *out, long long quota, long long period)
{
	if (quota <= 0 || period <= 0)
		return;
	unsigned long long cpus = ((unsigned long long)quota - 1) / (unsigned long long)period + 1;

	if (!out->cpus || cpus < out->cpus)
		out->cpus = cpus < UINT_MAX ? (unsigned)cpus : UINT_MAX;
}

static void take_memory(struct rl_machine_limits *out, long long bytes)
{
	if (bytes > 0 && (!out->memory_bytes || (uint64_t)bytes < out->memory_bytes))
		out->memory_bytes = (uint64_t)bytes;
}

/* The files of one group, of either version; those that are not there say nothing. */
static void look(const char *group, struct rl_machine_limits *out)
{
	char path[PATH_BYTES + 32];
	long long v[2], period[2];

	snprintf(path, sizeof path, "%s/cpu.max", group);
	if (read_numbers(path, v) == 2)
		take_quota(out, v[0], v[1]);
	snprintf(path, sizeof path, "%s/memory.max", group);
	if (read_numbers(path, v))
		take_memory(out, v[0]);
	snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", group);
	if (read_numbers(path, v)) {
		snprintf(path, sizeof path, "%s/cpu.cfs_period_us", group);
		if (read_numbers(path, period))
			take_quota(out, v[0], period[0]);
	}
	snprintf(path, sizeof path, "%s/memory.limit_in_bytes", group);
	if (read_numbers(path, v))
		take_memory(out, v[0]);
}

/* The group and all above it. In a container its path may be the host's: then only the root is there. */
static void climb(const char *root, const char *controller, const char *group, struct rl_machine_limits *out)
{
	char path[PATH_BYTES];
	int base = snprintf(path, sizeof path, "%s%s%s", root, *controller ? "/" : "", controller);
	int n = base < 0 ? -1
			 : snprintf(path, sizeof path, "%s%s%s%s", root, *controller ? "/" : "", controller, group);

	if (n < 0 || (size_t)n >= sizeof path)
		return;
	for (;;) {
		look(path, out);
		char *slash = strrchr(path, '/');
		if (!slash || slash - path < base)
			return;
		*slash = '\0';
	}
}

/* Lines "hierarchy:controllers:path"; the second version's has no controllers. */
void rl_machine_read_limits(const char *root, const char *self, struct rl_machine_limits *out)
{
	char line[PATH_BYTES];

	*out = (struct rl_machine_limits){.cpus = 0};
	look(root, out); /* also when nothing is known of the groups */
	for (const char *end; *self; self = *end ? end + 1 : end) {
		end = strchrnul(self, '\n');
		if ((size_t)(end - self) >= sizeof line)
			continue;
		memcpy(line, self, (size_t)(end - self));
		line[end - self] = '\0';
		char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		climb(root, controllers + 1, group, out);
		/* Joined controllers are mounted under their joined name, and linked under each one's. */
		if (strncmp(controllers + 1, "cpu,", 4) == 0)
			climb(root, "cpu", group, out);
	}
}

static void own_limits(struct rl_machine_limits *out)
{
	char self[4 * PATH_BYTES];
	FILE *f = fopen("/proc/self/cgroup", "re");
	size_t n = f ? fread(self, 1, sizeof self - 1, f) : 0;

	if (f)
		fclose(f);
	self[n] = '\0';
	rl_machine_read_limits("/sys/fs/cgroup", self, out);
}

unsigned rl_machine_cpus(void)
{
	struct rl_machine_limits limits;
	cpu_set_t set;
	unsigned cpus = 1;

	own_limits(&limits);
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		cpus = (unsigned)CPU_COUNT(&set);
	if (limits.cpus && limits.cpus < cpus)
		cpus = limits.cpus;
	return cpus ? cpus : 1;
}

uint64_t rl_machine_memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 1ull << 30;
	struct rl_machine_limits limits;

	own_limits(&limits);
	return limits.memory_bytes && limits.memory_bytes < all ? limits.memory_bytes : all;
}

uint64_t rl_machine_resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re"); /* pages: all, resident, ... (proc(5)) */
	char text[128], *at = text;
	uint64_t pages = 0;

	if (!file)
		return 0;
	if (fgets(text, sizeof text, file)) {
		strtoull(at, &at, 10);
		pages = strtoull(at, NULL, 10);
	}
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t rl_machine_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return getrlimit(RLIMIT_NOFILE, &limit) ? 1024 : (uint64_t)limit.rlim_cur;
}
