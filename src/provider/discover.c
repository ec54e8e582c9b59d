/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See discover.h. Local servers are asked for their list of models with blocking-free
 * sockets and one poll(2) loop: this runs once, before any loop does, and a port
 * where nothing listens answers at once on loopback.
 */
#include "provider/discover.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "provider/preset.h"
#include "provider/provider.h"

#define PROVIDERS_MAX 64u
#define ANSWER_MAX 512u

struct rl_cfg_provider *rl_discover_add(struct rl_config *config, rl_str name, rl_str dialect, rl_str base_url)
{
	size_t n = config->n_providers;
	struct rl_cfg_provider *list = RL_NEW_ARRAY(&config->arena, struct rl_cfg_provider, n + 1);

	if (!list || n >= PROVIDERS_MAX)
		return NULL;
	if (n)
		memcpy(list, config->providers, n * sizeof *list);
	rl_config_provider_defaults(&list[n]);
	list[n].name = rl_arena_dup(&config->arena, name);
	list[n].dialect = rl_arena_dup(&config->arena, dialect);
	list[n].base_url = rl_arena_dup(&config->arena, base_url);
	if (!list[n].name.p || !list[n].dialect.p || !list[n].base_url.p)
		return NULL;
	config->providers = list;
	config->n_providers = n + 1;
	return &list[n];
}

static enum rl_err add_keyed(struct rl_config *config, const struct rl_preset *preset, const char *key)
{
	struct rl_cfg_provider *p = rl_discover_add(config, preset->name, preset->dialect, preset->base_url);
	rl_str copy = rl_arena_dup(&config->arena, rl_str_of(key));

	if (!p || !copy.p || !(p->keys = RL_NEW(&config->arena, struct rl_cfg_key)))
		return RL_ERR_NOMEM;
	p->keys[0] = (struct rl_cfg_key){.value = rl_secret_make(copy), .weight = 1};
	p->n_keys = 1;
	return RL_OK;
}

/* ---- local servers ---- */

struct probe {
	const struct rl_preset *preset;
	int fd;
	bool sent;
	char answer[ANSWER_MAX];
	size_t n;
	bool found;
};

static uint16_t preset_port(const struct rl_preset *preset)
{
	struct rl_url url;
	const char *why;

	return rl_url_parse(preset->base_url, &url, &why) ? 0 : url.port;
}

static bool is_own(uint16_t port, const uint16_t *own, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (own[i] == port)
			return true;
	return false;
}

static void probe_close(struct probe *probe)
{
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
}

static void probe_open(struct probe *probe)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(preset_port(probe->preset))};

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	probe->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe->fd >= 0 && connect(probe->fd, (struct sockaddr *)&sa, sizeof sa) && errno != EINPROGRESS)
		probe_close(probe);
}

/* "HTTP/1.x 200" and a list of models: enough to tell a model server from anything else on that port. */
static void probe_judge(struct probe *probe)
{
	rl_str text = {probe->answer, probe->n};

	probe->found = text.n > 12 && rl_str_starts(text, RL_STR("HTTP/1.")) &&
		       rl_str_eq(rl_str_sub(text, 9, 3), RL_STR("200")) &&
		       memmem(text.p, text.n, "application/json", 16) != NULL;
	probe_close(probe);
}

static void probe_step(struct probe *probe)
{
	static const char request[] = "GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";

	if (!probe->sent) {
		probe->sent = true;
		if (send(probe->fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
			probe_close(probe);
		return;
	}
	ssize_t got = recv(probe->fd, probe->answer + probe->n, ANSWER_MAX - probe->n, 0);

	if (got > 0)
		probe->n += (size_t)got;
	if (got <= 0 || probe->n == ANSWER_MAX || memmem(probe->answer, probe->n, "\r\n\r\n", 4))
		probe_judge(probe);
}

static void probe_all(struct probe *probes, size_t n, unsigned wait_ms)
{
	uint64_t until = rl_clock_us() / 1000 + wait_ms;

	for (;;) {
		struct pollfd fds[PROVIDERS_MAX];
		size_t open = 0;

		for (size_t i = 0; i < n; i++) {
			fds[i] = (struct pollfd){probes[i].fd, probes[i].sent ? POLLIN : POLLOUT, 0};
			open += probes[i].fd >= 0;
		}
		uint64_t now = rl_clock_us() / 1000;

		if (!open || now >= until)
			break;
		if (poll(fds, n, (int)(until - now)) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		for (size_t i = 0; i < n; i++)
			if (probes[i].fd >= 0 && fds[i].revents)
				probe_step(&probes[i]);
	}
	for (size_t i = 0; i < n; i++)
		probe_close(&probes[i]);
}

enum rl_err rl_discover(struct rl_config *config, const uint16_t *own_ports, size_t n_own_ports, unsigned wait_ms)
{
	struct probe probes[PROVIDERS_MAX];
	size_t n = 0;

	for (const struct rl_preset *preset = rl_presets; preset->name.n; preset++) {
		const char *key = preset->env ? getenv(preset->env) : NULL;

		if (key && *key && !rl_header_value_ok(rl_str_of(key))) {
			RL_WARN("discover", "%s holds a line end or control character: it is not used", preset->env);
		} else if (key && *key) {
			enum rl_err err = add_keyed(config, preset, key);
			if (err)
				return err;
		}
		if (preset->local && n < PROVIDERS_MAX && !is_own(preset_port(preset), own_ports, n_own_ports)) {
			probes[n] = (struct probe){.preset = preset, .fd = -1};
			probe_open(&probes[n++]);
		}
	}
	probe_all(probes, n, wait_ms);
	for (size_t i = 0; i < n; i++) {
		if (!probes[i].found)
			continue;
		struct rl_cfg_provider *p = rl_discover_add(config, probes[i].preset->name, probes[i].preset->dialect,
							    probes[i].preset->base_url);
		if (!p)
			return RL_ERR_NOMEM;
		p->local = true;
	}
	return RL_OK;
}
