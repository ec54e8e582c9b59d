/* SPDX-License-Identifier: Apache-2.0 */
/* See takeover.h. */
#include "life/takeover.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "life/letter_priv.h"

#define LETTERS_MAX (RL_INHERIT_MAX + 8u)

static enum rl_err wrong(struct rl_takeover *t, enum rl_err err, const char *what)
{
	snprintf(t->why, sizeof t->why, "%s", what);
	return err;
}

/* The next letter, or what became of the one who should write it. */
static enum rl_err await(struct rl_takeover *t, struct rl_letter *letter)
{
	enum rl_err err = rl_letter_receive(t->fd, letter);

	if (err == RL_ERR_AGAIN)
		return wrong(t, RL_ERR_TIMEOUT, "the running process does not answer");
	if (err)
		return wrong(t, err, "the running process has ended the conversation");
	if (strncmp(letter->text, "no ", 3) == 0) {
		snprintf(t->why, sizeof t->why, "the running process refuses: %s", letter->text + 3);
		return RL_ERR_BUSY;
	}
	return RL_OK;
}

static enum rl_err await_word(struct rl_takeover *t, const char *word)
{
	struct rl_letter letter;
	enum rl_err err = await(t, &letter);

	if (err)
		return err;
	if (letter.fd >= 0)
		close(letter.fd);
	return strcmp(letter.text, word) == 0 ? RL_OK
					      : wrong(t, RL_ERR_PROTOCOL, "the running process speaks in riddles");
}

static enum rl_err say(struct rl_takeover *t, const char *text)
{
	enum rl_err err = rl_letter_send(t->fd, -1, text);

	return err ? wrong(t, err, "the running process has ended the conversation") : RL_OK;
}

static enum rl_err dial(struct rl_takeover *t, const char *path)
{
	const struct timeval wait = {.tv_sec = RL_CONTROL_ANSWER_MS / 1000};
	struct sockaddr_un un;
	pid_t pid;

	if (!rl_letter_address(path, &un))
		return wrong(t, RL_ERR_LIMIT, "the path of the control socket is too long");
	t->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (t->fd < 0 || setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) ||
	    setsockopt(t->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) ||
	    connect(t->fd, (struct sockaddr *)&un, sizeof un)) {
		snprintf(t->why, sizeof t->why,
			 errno == ENOENT || errno == ECONNREFUSED
				 ? "no running process has its control socket at %s (%s)"
				 : "the running process cannot be reached at %s: %s",
			 path, strerror(errno));
		return RL_ERR_REFUSED;
	}
	if (!rl_letter_trusts(t->fd, &pid))
		return wrong(t, RL_ERR_REFUSED, "the running process is another user's");
	return RL_OK;
}

/* "socket PLANE HOW ADDRESS"; HOW is named, by-address, or own-file: by address, and its file becomes ours. */
static enum rl_err take_socket(struct rl_takeover *t, const struct rl_letter *letter, struct rl_inherit *into)
{
	rl_str rest = rl_str_of(letter->text);

	rl_str_cut(&rest, ' ');
	rl_str plane = rl_str_cut(&rest, ' '), how = rl_str_cut(&rest, ' ');
	bool data = rl_str_eq(plane, RL_STR("data")), named = rl_str_eq(how, RL_STR("named"));

	if (letter->fd < 0 || !rest.p || (!data && !rl_str_eq(plane, RL_STR("admin")))) {
		if (letter->fd >= 0)
			close(letter->fd);
		return wrong(t, RL_ERR_PROTOCOL, "the running process speaks in riddles");
	}
	if (rl_inherit_add(into, letter->fd, data ? RL_PLANE_DATA : RL_PLANE_ADMIN, named, rest.p))
		return wrong(t, RL_ERR_PROTOCOL, "the running process gives what is no listening socket");
	into->sockets[into->n - 1].own_file = rl_str_eq(how, RL_STR("own-file"));
	return RL_OK;
}

/* "notify WATCHDOG_MS PATH" */
static void take_notify(struct rl_takeover *t, const char *text)
{
	char *end;

	t->watchdog_ms = strtoull(text + strlen("notify "), &end, 10);
	if (*end == ' ' && strlen(end + 1) < sizeof t->notify)
		snprintf(t->notify, sizeof t->notify, "%s", end + 1);
}

enum rl_err rl_takeover_begin(struct rl_takeover *t, const char *path, struct rl_inherit *into)
{
	struct rl_letter letter;

	*t = (struct rl_takeover){.fd = -1};
	enum rl_err err = dial(t, path);

	if (!err)
		err = await_word(t, RL_LETTER_WELCOME);
	if (!err)
		err = say(t, RL_LETTER_HELLO RL_LETTER_VERSION);
	for (unsigned i = 0; !err; i++) {
		err = i < LETTERS_MAX ? await(t, &letter) : wrong(t, RL_ERR_LIMIT, "the running process has no end");
		if (!err && strcmp(letter.text, "end") == 0)
			return RL_OK;
		if (!err && strncmp(letter.text, "notify ", 7) == 0)
			take_notify(t, letter.text);
		else if (!err)
			err = take_socket(t, &letter, into);
	}
	rl_takeover_end(t);
	return err;
}

enum rl_err rl_takeover_ready(struct rl_takeover *t)
{
	assert(t->fd >= 0);
	enum rl_err err = say(t, "ready");

	return err ? err : await_word(t, "paused");
}

enum rl_err rl_takeover_serving(struct rl_takeover *t)
{
	assert(t->fd >= 0);
	enum rl_err err = say(t, "serving");

	t->told = !err;
	return err ? err : await_word(t, "bye");
}

void rl_takeover_end(struct rl_takeover *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}
