/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine, or the container on it, gives us: processors, memory, descriptors. */
#ifndef RL_APP_MACHINE_H
#define RL_APP_MACHINE_H

#include <stdint.h>

/* min(affinity, cgroup quota rounded up), at least 1. */
unsigned rl_machine_cpus(void);
/* The smaller of physical memory and the cgroup's limit, bytes. */
uint64_t rl_machine_memory_bytes(void);
/* What the process has resident, bytes; 0 when the system does not say. */
uint64_t rl_machine_resident_bytes(void);
/* Raises RLIMIT_NOFILE to its hard limit; returns what it is then. */
uint64_t rl_machine_raise_descriptors(void);

/* What a process's control groups allow it. 0: no limit. */
struct rl_machine_limits {
	unsigned cpus; /* quota, rounded up */
	uint64_t memory_bytes;
};
/*
 * Limits of the groups that `self` names (the text of /proc/self/cgroup, see cgroups(7)) and of all above them, in the
 * hierarchies mounted below `root` (/sys/fs/cgroup); the smallest counts. Both versions of control groups.
 */
void rl_machine_read_limits(const char *root, const char *self, struct rl_machine_limits *out);

#endif
