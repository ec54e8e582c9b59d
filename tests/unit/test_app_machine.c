/* SPDX-License-Identifier: Apache-2.0 */
/* What control groups allow, read from trees made on the spot: both versions, nested, and rubbish. */
#include "policy_kit.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/machine.h"

static char root[64];

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/relais-cgroup-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int gone(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(root, gone, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes root/name, and the folders on its way. */
static void put(const char *name, const char *content)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(content, f);
	assert_int_equal(fclose(f), 0);
}

static void limits_are(const char *self, unsigned cpus, uint64_t memory_bytes)
{
	struct rl_machine_limits limits;

	rl_machine_read_limits(root, self, &limits);
	assert_int_equal(limits.cpus, cpus);
	assert_int_equal(limits.memory_bytes, memory_bytes);
}

static void test_none(void **state)
{
	(void)state;
	limits_are("", 0, 0);
	limits_are("0::/\n", 0, 0);
	put("cpu.max", "max 100000\n");
	put("memory.max", "max\n");
	limits_are("0::/\n", 0, 0);
}

static void test_second_version(void **state)
{
	(void)state;
	/* A container: its own group is the root. */
	put("cpu.max", "150000 100000\n");
	put("memory.max", "536870912\n");
	limits_are("0::/\n", 2, 536870912);
	limits_are("", 2, 536870912);
	limits_are("0::/../../host/path/that/is/not/here\n", 2, 536870912);
	put("cpu.max", "100000 100000\n");
	limits_are("0::/\n", 1, 536870912);
	put("cpu.max", "1 100000\n");
	limits_are("0::/\n", 1, 536870912);
}

static void test_nested(void **state)
{
	(void)state;
	/* A unit in a slice: the tightest on the way up counts. */
	put("system.slice/relais.service/cpu.max", "800000 100000\n");
	put("system.slice/cpu.max", "300000 100000\n");
	put("system.slice/relais.service/memory.max", "1000\n");
	put("system.slice/memory.max", "max\n");
	put("user.slice/cpu.max", "100000 100000\n");
	limits_are("0::/system.slice/relais.service\n", 3, 1000);
	limits_are("0::/system.slice\n", 3, 0);
	limits_are("0::/user.slice/x\n", 1, 0);
	limits_are("12:pids:/a\n1:name=systemd:/b\n0::/system.slice/relais.service", 3, 1000);
}

static void test_first_version(void **state)
{
	(void)state;
	put("cpu/cpu.cfs_quota_us", "-1\n");
	put("cpu/cpu.cfs_period_us", "100000\n");
	put("cpu/job/cpu.cfs_quota_us", "250000\n");
	put("cpu/job/cpu.cfs_period_us", "100000\n");
	put("memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("memory/job/memory.limit_in_bytes", "4096\n");
	limits_are("5:cpu:/job\n4:memory:/job\n", 3, 4096);
	limits_are("5:cpu,cpuacct:/job\n4:memory:/\n", 3, 9223372036854771712u);
	limits_are("5:cpu:/\n", 0, 0);
}

static void test_rubbish(void **state)
{
	char *longest = malloc(20000);

	(void)state;
	put("cpu.max", "0 0\n");
	put("memory.max", "-5\n");
	memset(longest, 'a', 19999);
	longest[19999] = '\0';
	limits_are(longest, 0, 0);
	memcpy(longest, "0::/", 4);
	limits_are(longest, 0, 0);
	longest[4090] = '\n';
	limits_are(longest, 0, 0);
	limits_are("::\n:\n\n0:\n", 0, 0);
	put("cpu.max", "9223372036854775807 1\n");
	put("memory.max", "words\n");
	limits_are("0::/\n", 4294967295u, 0);
	put("cpu.max", "100000\n");
	limits_are("0::/\n", 0, 0);
	free(longest);
}

static void test_this_machine(void **state)
{
	(void)state;
	assert_in_range(rl_machine_cpus(), 1, 100000);
	assert_true(rl_machine_memory_bytes() >= 1u << 20);
	assert_true(rl_machine_raise_descriptors() >= 64);
	/* A block that is written to is resident, one that is only there is not. */
	uint64_t before = rl_machine_resident_bytes();
	char *block = malloc(64u << 20);

	assert_non_null(block);
	assert_true(before >= 1u << 16);
	assert_true(rl_machine_resident_bytes() < before + (32u << 20));
	memset(block, 1, 64u << 20);
	assert_true(rl_machine_resident_bytes() > before + (32u << 20));
	free(block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nested, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rubbish, setup, teardown),
		cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
