/* SPDX-License-Identifier: Apache-2.0 */
/* Loading relais.yaml (see config.h): a file's bytes, the table of settings, and the documents made from it. */
#include "config/config.h"

#include "config/settings_priv.h"
#include "config/yaml_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_MAX_BYTES (64u * 1024 * 1024) /* of the typed settings */

static enum rl_err read_all(int fd, struct rl_buf *text)
{
	while (text->n <= YAML_TEXT_MAX) {
		char *at = rl_buf_reserve(text, 65536);
		ssize_t n = at ? read(fd, at, 65536) : -1;

		if (!at)
			return RL_ERR_NOMEM;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return RL_ERR_IO;
		if (n == 0)
			return RL_OK;
		text->n += (size_t)n;
	}
	return RL_ERR_LIMIT;
}

enum rl_err rl_schema_read_file(const char *path, struct rl_buf *text, struct rl_buf *report)
{
	/* Read with room for a block beyond the limit, so that "exactly 1 MiB" and "more" can be told apart. */
	struct rl_buf own;
	struct stat st;
	enum rl_err err = RL_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st) < 0) {
		err = errno == ENOENT ? RL_ERR_NOT_FOUND : RL_ERR_IO;
		rl_buf_printf(report, "%s: cannot be opened: %s\n", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return err;
	}
	rl_buf_init(&own, YAML_TEXT_MAX + 2 * 65536);
	if (S_ISDIR(st.st_mode)) {
		err = RL_ERR_IO;
		rl_buf_printf(report, "%s: is a directory\n", path);
	} else {
		err = read_all(fd, &own);
		if (err == RL_ERR_LIMIT)
			rl_buf_printf(report, "%s: larger than 1 MiB\n", path);
		else if (err != RL_OK)
			rl_buf_printf(report, "%s: cannot be read: %s\n", path, strerror(errno));
	}
	if (err == RL_OK) {
		rl_buf_add(text, rl_buf_str(&own));
		err = rl_buf_ok(text) ? RL_OK : RL_ERR_NOMEM;
	}
	rl_buf_fini(&own);
	close(fd);
	return err;
}

enum rl_err rl_config_parse_with(rl_str text, const char *name, const struct rl_config_names *names,
				 const struct rl_schema_hooks *hooks, struct rl_buf *report, struct rl_config **out)
{
	struct rl_config *config = calloc(1, sizeof *config);

	*out = NULL;
	if (!config)
		return RL_ERR_NOMEM;
	rl_arena_init(&config->arena, CONFIG_MAX_BYTES);
	config->path = rl_arena_dup(&config->arena, rl_str_of(name));
	enum rl_err err = rl_schema_parse(&rl_settings, text, name, hooks, names, &config->arena, config, report);

	if (err == RL_OK && !config->path.p)
		err = RL_ERR_NOMEM;
	if (err != RL_OK)
		rl_config_free(config);
	else
		*out = config;
	return err;
}

enum rl_err rl_config_parse(rl_str text, const char *name, const struct rl_config_names *names, struct rl_buf *report,
			    struct rl_config **out)
{
	return rl_config_parse_with(text, name, names, NULL, report, out);
}

enum rl_err rl_config_load(const char *path, const struct rl_config_names *names, struct rl_buf *report,
			   struct rl_config **out)
{
	struct rl_buf text;

	*out = NULL;
	rl_buf_init(&text, YAML_TEXT_MAX);
	enum rl_err err = rl_schema_read_file(path, &text, report);

	if (err == RL_OK)
		err = rl_config_parse(rl_buf_str(&text), path, names, report, out);
	rl_buf_fini(&text);
	return err;
}

enum rl_err rl_config_defaults(struct rl_config **out)
{
	struct rl_buf report;

	rl_buf_init(&report, 4096);
	enum rl_err err = rl_config_parse(rl_str_of(""), "(no file)", NULL, &report, out);

	rl_buf_fini(&report);
	return err;
}

void rl_config_provider_defaults(struct rl_cfg_provider *out)
{
	*out = (struct rl_cfg_provider){.line = 0};
	rl_schema_defaults(&rl_settings_provider, out);
}

void rl_config_model_defaults(struct rl_cfg_model *out)
{
	*out = (struct rl_cfg_model){.line = 0};
	rl_schema_defaults(&rl_settings_model, out);
}

void rl_config_free(struct rl_config *config)
{
	if (!config)
		return;
	rl_arena_fini(&config->arena);
	free(config);
}

void rl_config_reference(struct rl_buf *out)
{
	RL_BUF_LIT(
		out,
		"# Configuration\n\n"
		"<!-- Made by `relais config reference` from the table in src/config/settings.c: change that. -->\n\n"
		"All settings of `relais.yaml`. Every key is optional unless its default reads *required*. `relais "
		"check` reports all mistakes of a file at once, with line and column.\n\n"
		"- **Variables.** `${NAME}` and `${NAME:-default}` work inside any value, after the YAML was read, so "
		"a variable never changes the structure; the default also stands for an empty variable. `$${` "
		"writes `${`. An unset variable without a default is an error, except in a provider's keys.\n"
		"- **Secrets** may be written as `file:/path`: the file's content, without its line end.\n"
		"- **Durations** need a unit (`250ms`, `5s`, `2m`, `1h`, `1m30s`); `0` does not.\n"
		"- **Sizes** are bytes or carry a unit (`65536`, `64KiB`, `10MiB`, `1MB`).\n"
		"- **Paths** count from the folder that the program was started in.\n"
		"- Anchors and merge keys (`<<`) work; top-level keys that begin with `x-` are yours, a place for "
		"anchors.\n\n");
	rl_schema_reference(&rl_settings, out);
}

void rl_config_json_schema(struct rl_buf *out)
{
	rl_schema_json(&rl_settings, "relais.yaml", out);
}

void rl_config_example(struct rl_buf *out)
{
	RL_BUF_LIT(
		out,
		"# relais.yaml: every setting, with its default where it is commented out.\n"
		"# `relais check` tells what is wrong with a file; `relais config reference` explains each key.\n\n");
	rl_schema_example(&rl_settings, out);
}
