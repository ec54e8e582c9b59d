/* SPDX-License-Identifier: Apache-2.0 */
/* See control.h. */
#include "life/control.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "life/letter_priv.h"

#define BACKLOG 8
#define LEAF "control.sock"

enum step {
	STEP_NONE = 0, /* nobody is there */
	STEP_HELLO,    /* connected, has said nothing */
	STEP_STARTS,   /* has our sockets */
	STEP_PAUSED,   /* is about to serve; we do not accept */
	STEP_GONE,     /* serves: there is nothing more to say */
};

struct rl_control {
	struct rl_loop *loop;
	const struct rl_control_ops *ops;
	void *owner;
	char path[RL_CONTROL_PATH_MAX];
	dev_t dev; /* of our file */
	ino_t ino;
	bool made_folder;
	int fd; /* -1 once another process has taken over */
	struct rl_poll *poll;

	enum step step;
	int peer; /* the one conversation's, -1 */
	pid_t peer_pid;
	struct rl_poll *peer_poll;
	struct rl_timer timer; /* limits each step */
};

/* ---- where ---- */

enum rl_err rl_control_path(rl_str configured, char out[RL_CONTROL_PATH_MAX])
{
	static const struct {
		const char *variable, *below;
	} places[] = {{"RUNTIME_DIRECTORY", ""}, {"STATE_DIRECTORY", ""}, {"XDG_STATE_HOME", "/relais"}};
	int n;

	*out = '\0';
	if (rl_str_eq(configured, RL_STR("off")))
		return RL_OK;
	if (!rl_str_eq(configured, RL_STR("auto"))) {
		n = snprintf(out, RL_CONTROL_PATH_MAX, "%.*s", RL_STR_ARG(configured));
		return n > 0 && (size_t)n < RL_CONTROL_PATH_MAX ? RL_OK : RL_ERR_LIMIT;
	}
	n = snprintf(out, RL_CONTROL_PATH_MAX, "relais-data/" LEAF);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		const char *value = getenv(places[i].variable);
		rl_str list = rl_str_of(value ? value : ""), first = rl_str_cut(&list, ':');

		if (!first.n)
			continue;
		n = snprintf(out, RL_CONTROL_PATH_MAX, "%.*s%s/" LEAF, RL_STR_ARG(first), places[i].below);
		break;
	}
	return n > 0 && (size_t)n < RL_CONTROL_PATH_MAX ? RL_OK : RL_ERR_LIMIT;
}

/* The folder of a path, into `out`; false if it has none. */
static bool folder_of(const char *path, char out[RL_CONTROL_PATH_MAX])
{
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return false;
	snprintf(out, RL_CONTROL_PATH_MAX, "%.*s", (int)(slash - path), path);
	return true;
}

static void stop_listening(struct rl_control *c)
{
	rl_poll_free(c->poll);
	c->poll = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* ---- the conversation ---- */

static void end_conversation(struct rl_control *c)
{
	rl_timer_stop(&c->timer);
	rl_poll_free(c->peer_poll);
	c->peer_poll = NULL;
	if (c->peer >= 0)
		close(c->peer);
	c->peer = -1;
}

/* Whatever has happened before the other one serves: as if it had never come. */
static void give_up(struct rl_control *c, const char *why)
{
	bool paused = c->step == STEP_PAUSED;

	RL_WARN("takeover", "process %ld does not take over: %s", (long)c->peer_pid, why);
	end_conversation(c);
	c->step = STEP_NONE;
	if (paused)
		c->ops->pause(c->owner, false);
}

static void refuse(struct rl_control *c, const char *why)
{
	char text[RL_LETTER_MAX];

	snprintf(text, sizeof text, "no %s", why);
	if (rl_letter_send(c->peer, -1, text))
		RL_DEBUG("takeover", "the refusal was not heard");
	give_up(c, why);
}

static void on_late(struct rl_timer *timer)
{
	struct rl_control *c = (struct rl_control *)(void *)((char *)timer - offsetof(struct rl_control, timer));

	give_up(c, c->step == STEP_STARTS ? "it takes too long to start" : "it does not answer");
}

static bool send_socket(struct rl_control *c, const struct rl_inherited *s)
{
	char text[RL_LETTER_MAX];

	assert(s->plane != RL_PLANE_ANY);
	snprintf(text, sizeof text, "socket %s %s %s", s->plane == RL_PLANE_DATA ? "data" : "admin",
		 s->by_name    ? "named"
		 : s->own_file ? "own-file"
			       : "by-address",
		 s->address);
	return rl_letter_send(c->peer, s->fd, text) == RL_OK;
}

static bool send_all(struct rl_control *c)
{
	const struct rl_notify *notify = c->ops->notify(c->owner);
	struct rl_inherited s;
	char text[RL_LETTER_MAX];

	for (size_t i = 0; c->ops->socket(c->owner, i, &s); i++)
		if (!send_socket(c, &s))
			return false;
	if (*notify->path) {
		snprintf(text, sizeof text, "notify %llu %s", (unsigned long long)notify->watchdog_ms, notify->path);
		if (rl_letter_send(c->peer, -1, text))
			return false;
	}
	return rl_letter_send(c->peer, -1, "end") == RL_OK;
}

static void on_hello(struct rl_control *c, const char *text)
{
	const char *why = c->ops->refuse(c->owner);

	if (strncmp(text, RL_LETTER_HELLO, strlen(RL_LETTER_HELLO)) != 0) {
		give_up(c, "it wants something else");
		return;
	}
	if (strcmp(text + strlen(RL_LETTER_HELLO), RL_LETTER_VERSION) != 0)
		why = "it speaks version " RL_LETTER_VERSION
		      " of the takeover's protocol: stop it and start the new one";
	if (why) {
		refuse(c, why);
		return;
	}
	if (!send_all(c)) {
		give_up(c, "it does not take the sockets");
		return;
	}
	RL_INFO("takeover", "process %ld has our listening sockets and starts", (long)c->peer_pid);
	c->step = STEP_STARTS;
	rl_timer_start(c->loop, &c->timer, RL_CONTROL_START_MS);
}

static void on_ready(struct rl_control *c)
{
	const char *why = c->ops->refuse(c->owner);

	if (why) {
		refuse(c, why);
		return;
	}
	c->step = STEP_PAUSED;
	c->ops->pause(c->owner, true);
	if (rl_letter_send(c->peer, -1, "paused"))
		give_up(c, "it has gone");
	else
		rl_timer_start(c->loop, &c->timer, RL_CONTROL_ANSWER_MS);
}

static void on_serving(struct rl_control *c)
{
	c->step = STEP_GONE;
	rl_timer_stop(&c->timer);
	stop_listening(c); /* the path is the other one's from now on */
	c->ops->gone(c->owner, c->peer_pid);
	if (rl_letter_send(c->peer, -1, "bye"))
		RL_DEBUG("takeover", "nobody hears our goodbye");
	end_conversation(c);
}

static void on_letter(void *owner, unsigned events)
{
	struct rl_control *c = owner;
	struct rl_letter letter;
	enum rl_err err = rl_letter_receive(c->peer, &letter);

	(void)events;
	if (letter.fd >= 0)
		close(letter.fd); /* nobody asked for it */
	if (err == RL_ERR_AGAIN)
		return;
	if (err)
		give_up(c, err == RL_ERR_PROTOCOL ? "it speaks in riddles" : "it has ended");
	else if (c->step == STEP_HELLO)
		on_hello(c, letter.text);
	else if (c->step == STEP_STARTS && strcmp(letter.text, "ready") == 0)
		on_ready(c);
	else if (c->step == STEP_PAUSED && strcmp(letter.text, "serving") == 0)
		on_serving(c);
	else
		give_up(c, "it speaks in riddles");
}

/* ---- who comes ---- */

/* We speak first: a refusal that crossed the other's first letter would be lost with it when we close. */
static void turn_away(int fd, const char *why)
{
	if (rl_letter_send(fd, -1, why))
		RL_DEBUG("takeover", "the refusal was not heard");
	close(fd);
}

static void greet(struct rl_control *c, int fd)
{
	pid_t pid = 0;

	if (!rl_letter_trusts(fd, &pid)) {
		RL_WARN("takeover", "process %ld of another user is turned away", (long)pid);
		close(fd);
	} else if (c->step != STEP_NONE) {
		turn_away(fd, "no another takeover is under way");
	} else if (rl_letter_send(fd, -1, RL_LETTER_WELCOME)) {
		close(fd);
	} else if (rl_poll_new(c->loop, fd, on_letter, c, &c->peer_poll)) {
		turn_away(fd, "no it is out of memory");
	} else {
		c->peer = fd;
		c->peer_pid = pid;
		c->step = STEP_HELLO;
		rl_poll_want(c->peer_poll, RL_POLL_READ);
		rl_timer_start(c->loop, &c->timer, RL_CONTROL_ANSWER_MS);
	}
}

static void on_knock(void *owner, unsigned events)
{
	struct rl_control *c = owner;
	int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0)
		greet(c, fd);
}

/* ---- life ---- */

/* Whether somebody answers at the address: then it is not ours to take. */
static bool is_alive(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool alive = fd >= 0 && (!connect(fd, (const struct sockaddr *)un, sizeof *un) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return alive;
}

/*
 * Bound and listening under a name of its own first, then renamed: the path never shows a socket that does not answer, and
 * replaces another's in one step.
 */
static enum rl_err listen_at(struct rl_control *c, const struct sockaddr_un *un)
{
	struct sockaddr_un made;
	char temporary[RL_CONTROL_PATH_MAX + 24];
	struct stat st;

	snprintf(temporary, sizeof temporary, "%s.%ld", c->path, (long)getpid());
	if (!rl_letter_address(temporary, &made))
		return RL_ERR_LIMIT;
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return rl_err_from_errno(errno);
	unlink(temporary);
	if (bind(c->fd, (struct sockaddr *)&made, sizeof made))
		return rl_err_from_errno(errno);
	/* Nobody can connect before listen(2), so the mode is right from the first moment that counts. */
	if (chmod(temporary, 0600) || listen(c->fd, BACKLOG) || stat(temporary, &st) ||
	    rename(temporary, un->sun_path)) {
		int errnum = errno;

		unlink(temporary);
		return rl_err_from_errno(errnum);
	}
	c->dev = st.st_dev;
	c->ino = st.st_ino;
	return rl_poll_new(c->loop, c->fd, on_knock, c, &c->poll);
}

static enum rl_err open_at(struct rl_control *c, bool replace, const char **why)
{
	char folder[RL_CONTROL_PATH_MAX];
	struct sockaddr_un un;
	struct stat st;

	if (!rl_letter_address(c->path, &un)) {
		*why = "its path is too long";
		return RL_ERR_LIMIT;
	}
	if (folder_of(c->path, folder)) {
		c->made_folder = mkdir(folder, 0700) == 0;
		if (!c->made_folder && errno != EEXIST) {
			*why = strerror(errno);
			return rl_err_from_errno(errno);
		}
	}
	if (!lstat(c->path, &st) && !S_ISSOCK(st.st_mode)) {
		*why = "something else than a socket is there";
		return RL_ERR_BUSY;
	}
	if (!replace && is_alive(&un)) {
		*why = "another process's is there";
		return RL_ERR_BUSY;
	}
	errno = 0;
	enum rl_err err = listen_at(c, &un);

	if (err)
		*why = errno ? strerror(errno) : rl_err_text(err);
	return err;
}

enum rl_err rl_control_open(struct rl_loop *loop, const char *path, bool replace, const struct rl_control_ops *ops,
			    void *owner, struct rl_control **out, const char **why)
{
	struct rl_control *c = calloc(1, sizeof *c);

	*out = NULL;
	*why = rl_err_text(RL_ERR_NOMEM);
	if (!c)
		return RL_ERR_NOMEM;
	c->loop = loop;
	c->ops = ops;
	c->owner = owner;
	c->fd = c->peer = -1;
	rl_timer_init(&c->timer, on_late);
	snprintf(c->path, sizeof c->path, "%s", path);
	enum rl_err err = open_at(c, replace, why);

	if (err) {
		if (c->fd >= 0)
			close(c->fd);
		free(c);
		return err;
	}
	rl_poll_want(c->poll, RL_POLL_READ);
	*out = c;
	return RL_OK;
}

void rl_control_close(struct rl_control *control)
{
	char folder[RL_CONTROL_PATH_MAX];
	struct stat st;

	if (!control)
		return;
	end_conversation(control);
	/* While our socket is open its inode cannot be another's; once another process has taken over the path is not ours. */
	if (control->fd >= 0 && !stat(control->path, &st) && st.st_dev == control->dev && st.st_ino == control->ino) {
		unlink(control->path);
		if (control->made_folder && folder_of(control->path, folder))
			rmdir(folder); /* only if it is empty: what else is kept there stays */
	}
	stop_listening(control);
	free(control);
}
