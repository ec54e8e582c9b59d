/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that were given find their addresses: by address, by the plane's name, by what the former owner called them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "life/control.h"

static struct rl_inherit in;

static int listening(char text[RL_INHERIT_TEXT_MAX])
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct rl_addr addr = {.len = sizeof addr.sa};

	assert_int_equal(bind(fd, (struct sockaddr *)&v4, sizeof v4), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr.sa, &addr.len), 0);
	if (text)
		rl_inherit_text(&addr, text);
	return fd;
}

static int fresh(void **state)
{
	(void)state;
	rl_inherit_close(&in);
	in = (struct rl_inherit){.n = 0};
	return 0;
}

static int take(enum rl_plane plane, const char *address)
{
	return rl_inherit_take(&in, plane, rl_str_of(address));
}

static void test_by_address(void **state)
{
	char a[RL_INHERIT_TEXT_MAX], b[RL_INHERIT_TEXT_MAX];
	int fd_a = listening(a), fd_b = listening(b);

	(void)state;
	assert_int_equal(rl_inherit_add(&in, fd_a, RL_PLANE_ANY, false, ""), RL_OK);
	assert_int_equal(rl_inherit_add(&in, fd_b, RL_PLANE_ADMIN, false, ""), RL_OK);
	assert_int_equal(rl_inherit_named(&in, RL_PLANE_DATA), 0);
	assert_int_equal(take(RL_PLANE_DATA, "127.0.0.1:0"), -1);
	assert_int_equal(take(RL_PLANE_DATA, "127.0.0.1:1"), -1);
	assert_int_equal(take(RL_PLANE_DATA, b), -1); /* the other plane's */
	assert_int_equal(take(RL_PLANE_DATA, a), fd_a);
	assert_int_equal(take(RL_PLANE_DATA, a), -1);
	assert_non_null(rl_inherit_left(&in));
	assert_int_equal(take(RL_PLANE_ADMIN, b), fd_b);
	assert_null(rl_inherit_left(&in));
	assert_true(fcntl(fd_a, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd_a, F_GETFL) & O_NONBLOCK);
	close(fd_a);
	close(fd_b);
}

/* As a process that takes over has them: what its predecessor's configuration said, port 0 included. */
static void test_as_configured(void **state)
{
	int fds[2] = {listening(NULL), listening(NULL)};

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(rl_inherit_add(&in, fds[i], RL_PLANE_DATA, false, "127.0.0.1:0"), RL_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(take(RL_PLANE_DATA, "127.0.0.1:0"), fds[i]);
		close(fds[i]);
	}
	assert_int_equal(take(RL_PLANE_DATA, "127.0.0.1:0"), -1);
}

static void test_by_name(void **state)
{
	char text[RL_INHERIT_TEXT_MAX];
	int fd = listening(text), other = listening(NULL);

	(void)state;
	assert_int_equal(rl_inherit_add(&in, fd, RL_PLANE_DATA, true, ""), RL_OK);
	assert_int_equal(rl_inherit_add(&in, other, RL_PLANE_ANY, false, ""), RL_OK);
	assert_int_equal(rl_inherit_named(&in, RL_PLANE_DATA), 1);
	assert_int_equal(take(RL_PLANE_ADMIN, text), -1);
	assert_int_equal(take(RL_PLANE_DATA, "127.0.0.1:8080"), fd);
	assert_int_equal(take(RL_PLANE_DATA, "[::1]:8080"), -1);
	assert_ptr_equal(rl_inherit_left(&in), &in.sockets[1]);
	close(fd);
	rl_inherit_close(&in);
	assert_int_equal(fcntl(other, F_GETFD), -1);
}

static void test_spellings(void **state)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char text[RL_INHERIT_TEXT_MAX], path[64];

	(void)state;
	snprintf(path, sizeof path, "unix:/tmp/relais-inherit-%ld", (long)getpid());
	snprintf(un.sun_path, sizeof un.sun_path, "%s", path + 5);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(rl_inherit_add(&in, fd, RL_PLANE_ANY, false, ""), RL_OK);
	assert_int_equal(take(RL_PLANE_DATA, "unix:/tmp/other"), -1);
	assert_int_equal(take(RL_PLANE_DATA, path), fd);
	close(fd);
	unlink(un.sun_path);

	fd = socket(AF_INET6, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&v6, sizeof v6) || listen(fd, 1)) {
		close(fd);
		return; /* no IPv6 here */
	}
	assert_int_equal(rl_inherit_add(&in, fd, RL_PLANE_ANY, false, ""), RL_OK);
	rl_inherit_text(&in.sockets[1].addr, text);
	assert_int_equal(strncmp(text, "[::1]:", 6), 0);
	char longer[RL_INHERIT_TEXT_MAX + 16];

	snprintf(longer, sizeof longer, "[0:0::0:1]:%s", text + 6);
	assert_int_equal(take(RL_PLANE_DATA, longer), fd);
	close(fd);
}

static void test_refused(void **state)
{
	int plain = socket(AF_INET, SOCK_STREAM, 0), pipes[2];
	char text[RL_INHERIT_TEXT_MAX + 8];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(rl_inherit_add(&in, plain, RL_PLANE_ANY, false, ""), RL_ERR_SYNTAX);
	assert_int_equal(rl_inherit_add(&in, pipes[0], RL_PLANE_ANY, false, ""), RL_ERR_SYNTAX);
	assert_int_equal(fcntl(plain, F_GETFD), -1);
	assert_int_equal(fcntl(pipes[0], F_GETFD), -1);
	close(pipes[1]);
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(rl_inherit_add(&in, listening(NULL), RL_PLANE_ANY, false, text), RL_ERR_LIMIT);
	for (size_t i = 0; i < RL_INHERIT_MAX; i++)
		assert_int_equal(rl_inherit_add(&in, listening(NULL), RL_PLANE_ANY, false, ""), RL_OK);
	assert_int_equal(rl_inherit_add(&in, listening(NULL), RL_PLANE_ANY, false, ""), RL_ERR_LIMIT);
}

static enum rl_err from_manager(const char *fds, const char *pid)
{
	const char *why = NULL;
	char own[32];

	snprintf(own, sizeof own, "%ld", (long)getpid());
	setenv("LISTEN_FDS", fds, 1);
	setenv("LISTEN_PID", pid ? pid : own, 1);
	enum rl_err err = rl_inherit_from_manager(&in, &why);

	assert_true(!err || why);
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	return err;
}

/* What is offered at descriptor 3 and above is tested with the whole program: here they are not ours. */
static void test_environment(void **state)
{
	const char *why = NULL;

	(void)state;
	assert_int_equal(rl_inherit_from_manager(&in, &why), RL_OK);
	assert_int_equal(from_manager("2", "1"), RL_OK);
	assert_int_equal(from_manager("2", "x"), RL_OK);
	assert_int_equal(from_manager("0", NULL), RL_OK);
	assert_int_equal(from_manager("x", NULL), RL_ERR_LIMIT);
	assert_int_equal(from_manager("-1", NULL), RL_ERR_LIMIT);
	assert_int_equal(from_manager("1000", NULL), RL_ERR_LIMIT);
	assert_int_equal(in.n, 0);
}

static const char *where(const char *configured)
{
	static char path[RL_CONTROL_PATH_MAX];

	return rl_control_path(rl_str_of(configured), path) ? "too long" : path;
}

static void test_control_path(void **state)
{
	static const char *const variables[] = {"XDG_STATE_HOME", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"};
	char longest[RL_CONTROL_PATH_MAX + 1];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		unsetenv(variables[i]);
	assert_string_equal(where("off"), "");
	assert_string_equal(where("/run/x"), "/run/x");
	assert_string_equal(where("auto"), "relais-data/control.sock");
	setenv("XDG_STATE_HOME", "/home/u/.local/state", 1);
	assert_string_equal(where("auto"), "/home/u/.local/state/relais/control.sock");
	setenv("STATE_DIRECTORY", "/var/lib/relais:/var/lib/other", 1);
	assert_string_equal(where("auto"), "/var/lib/relais/control.sock");
	setenv("RUNTIME_DIRECTORY", "/run/relais", 1);
	assert_string_equal(where("auto"), "/run/relais/control.sock");
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_string_equal(where(longest), "too long");
	setenv("RUNTIME_DIRECTORY", longest, 1);
	assert_string_equal(where("auto"), "too long");
	for (size_t i = 0; i < 3; i++)
		unsetenv(variables[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_by_address, fresh, fresh),
		cmocka_unit_test_setup_teardown(test_as_configured, fresh, fresh),
		cmocka_unit_test_setup_teardown(test_by_name, fresh, fresh),
		cmocka_unit_test_setup_teardown(test_spellings, fresh, fresh),
		cmocka_unit_test_setup_teardown(test_refused, fresh, fresh),
		cmocka_unit_test_setup_teardown(test_environment, fresh, fresh),
		cmocka_unit_test(test_control_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
