/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager hears, at addresses of both kinds; and that nothing comes of one that is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "life/notify.h"

static struct {
	int fd; /* the manager's */
	char path[64];
} m;

static int listen_at(bool abstract)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	static unsigned number;

	snprintf(m.path, sizeof m.path, "%srelais-notify-%ld-%u", abstract ? "@" : "/tmp/", (long)getpid(), number++);
	size_t n = strlen(m.path);

	memcpy(un.sun_path, m.path, n);
	if (abstract)
		un.sun_path[0] = '\0';
	m.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	return bind(m.fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

static void leave(void)
{
	close(m.fd);
	if (m.path[0] == '/')
		unlink(m.path);
}

/* The next message; "" if there is none. */
static const char *heard(void)
{
	static char text[1024];
	ssize_t n = recv(m.fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void test_messages(void **state)
{
	struct rl_notify notify;

	(void)state;
	for (int abstract = 0; abstract < 2; abstract++) {
		assert_int_equal(listen_at(abstract), 0);
		rl_notify_open_at(&notify, m.path, 3000);
		assert_int_equal(notify.watchdog_ms, 3000);
		assert_true(rl_notify_ready(&notify, "serving"));
		assert_string_equal(heard(), "READY=1\nSTATUS=serving");
		assert_true(rl_notify_reloading(&notify));
		assert_int_equal(strncmp(heard(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
		assert_true(rl_notify_stopping(&notify, "draining"));
		assert_string_equal(heard(), "STOPPING=1\nSTATUS=draining");
		assert_true(rl_notify_status(&notify, "as ever"));
		assert_string_equal(heard(), "STATUS=as ever");
		assert_true(rl_notify_main_pid(&notify, 4711));
		assert_string_equal(heard(), "MAINPID=4711");
		assert_true(rl_notify_alive(&notify));
		assert_string_equal(heard(), "WATCHDOG=1");
		rl_notify_close(&notify);
		assert_false(rl_notify_ready(&notify, "closed"));
		assert_string_equal(heard(), "");
		leave();
	}
}

static void test_environment(void **state)
{
	struct rl_notify notify;
	char pid[32];

	(void)state;
	assert_int_equal(listen_at(true), 0);
	unsetenv("WATCHDOG_PID");
	setenv("NOTIFY_SOCKET", m.path, 1);
	setenv("WATCHDOG_USEC", "30000000", 1);
	rl_notify_open(&notify);
	assert_int_equal(notify.watchdog_ms, 30000);
	rl_notify_close(&notify);
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	rl_notify_open(&notify);
	assert_int_equal(notify.watchdog_ms, 30000);
	rl_notify_close(&notify);
	setenv("WATCHDOG_PID", "1", 1);
	rl_notify_open(&notify);
	assert_int_equal(notify.watchdog_ms, 0);
	rl_notify_close(&notify);
	unsetenv("WATCHDOG_PID");
	static const char *const rubbish[] = {"", "-1", "x", "1s", "99999999999999999999999"};

	for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
		setenv("WATCHDOG_USEC", rubbish[i], 1);
		rl_notify_open(&notify);
		assert_int_equal(notify.watchdog_ms, 0);
		assert_true(rl_notify_alive(&notify));
		rl_notify_close(&notify);
	}
	unsetenv("WATCHDOG_USEC");
	unsetenv("NOTIFY_SOCKET");
	leave();
}

static void test_nobody(void **state)
{
	struct rl_notify notify, unopened = {.path = ""};
	char long_path[300];

	(void)state;
	rl_log_set_level(RL_LOG_ERROR);
	memset(long_path, 'x', sizeof long_path - 1);
	long_path[0] = '/';
	long_path[sizeof long_path - 1] = '\0';
	const char *const none[] = {NULL, "", "relative", "@", "/", "vsock:2:1234", long_path};

	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		rl_notify_open_at(&notify, none[i], 1000);
		assert_false(rl_notify_ready(&notify, "x"));
		assert_int_equal(notify.watchdog_ms, 0);
		rl_notify_close(&notify);
	}
	assert_false(rl_notify_alive(&unopened));
	rl_notify_close(&unopened);
	rl_notify_open_at(&notify, "/tmp/relais-there-is-no-such-socket", 0);
	assert_false(rl_notify_ready(&notify, "x"));
	rl_notify_close(&notify);
	rl_log_set_level(RL_LOG_INFO);
}

/* A manager that reads nothing holds us up for a bounded time, and a sign of life not at all. */
static void test_deaf(void **state)
{
	struct rl_notify notify;
	int sent = 0;

	(void)state;
	rl_log_set_level(RL_LOG_ERROR);
	assert_int_equal(listen_at(true), 0);
	rl_notify_open_at(&notify, m.path, 1000);
	while (sent < 100000 && rl_notify_alive(&notify))
		sent++;
	assert_in_range(sent, 1, 99999);
	assert_false(rl_notify_status(&notify, "full"));
	rl_notify_close(&notify);
	leave();
	rl_log_set_level(RL_LOG_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_deaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
