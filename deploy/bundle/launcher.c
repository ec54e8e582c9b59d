/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bin/relais of the bundle that `make dist` makes: becomes ../lib/relais/relais, which stands among its libraries. The
 * loader finds those by $ORIGIN, and $ORIGIN by /proc/self/exe; where no /proc is mounted (a bare chroot) it takes
 * LD_ORIGIN_PATH instead, which only somebody outside can set. That is all that this program is for; it needs glibc alone.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define PROGRAM "/lib/relais/relais"

/* Cuts the last part off a path; false if there is none. */
static int cut(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		return 0;
	*slash = '\0';
	return 1;
}

int main(int argc, char **argv)
{
	/* The name that was executed, not argv[0], which anybody may choose. */
	const char *name = (const char *)getauxval(AT_EXECFN);
	char path[PATH_MAX], program[PATH_MAX + sizeof PROGRAM];

	(void)argc;
	if (!name || !realpath(name, path) || !cut(path) || !cut(path)) { /* PREFIX/bin/relais */
		fprintf(stderr, "relais: the folder of this program cannot be found\n");
		return 1;
	}
	snprintf(program, sizeof program, "%s%s", path, PROGRAM);
	cut(program);
	setenv("LD_ORIGIN_PATH", program, 1);
	snprintf(program, sizeof program, "%s%s", path, PROGRAM);
	execv(program, argv);
	fprintf(stderr, "relais: %s: %s\n", program, strerror(errno));
	return 1;
}
