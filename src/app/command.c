/* SPDX-License-Identifier: Apache-2.0 */
/* See command.h. */
#include "app/command.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/manual.h"
#include "version.h"

static int cmd_help(const struct rl_args *args);
static int cmd_version(const struct rl_args *args);

/* clang-format off */
const struct rl_command rl_commands[] = {
	{"serve", "", "Run the gateway (what relais does without a command)", 0,
	 {{"config", "FILE", "the configuration; without it ./relais.yaml if there is one, else what the environment offers"},
	  {"takeover", NULL, "take the listening sockets of the running process, which ends when its requests have"}},
	 rl_cmd_serve},
	{"ask", "PROMPT", "Stream one answer to the terminal; needs no running gateway", 1,
	 {{"model", "NAME", "an alias, or provider/model; default: the first there is"},
	  {"config", "FILE", "as for serve"},
	  {"system", "TEXT", "instructions that come before the prompt"},
	  {"json", NULL, "print one JSON object with answer, model and usage instead of streaming"}},
	 rl_cmd_ask},
	{"check", "[FILE]", "Check a configuration and say everything that is wrong with it", 1,
	 {{"json", NULL, "print a JSON object"}}, rl_cmd_check},
	{"config", "reference|schema|example|metrics", "Print a document made from the tables of the program", 1,
	 {{NULL, NULL, NULL}}, rl_cmd_config},
	{"simulate", "", "Run a simulated provider", 0,
	 {{"listen", "HOST:PORT", "where to listen (default 127.0.0.1:9000; port 0 picks one)"},
	  {"scenario", "FILE", "how it behaves (docs/simulator.md)"},
	  {"name", "NAME", "its name, for x-sim-only and the ledger (default sim)"},
	  {"seed", "N", "start of its pseudo-random choices (default: the scenario's)"},
	  {"tls", "KIND", "serve TLS with a certificate that is good, expired, wrong-name or self-signed"},
	  {"tls-ca-out", "FILE", "write the certificate authority that clients must trust"}},
	 rl_cmd_simulate},
	{"status", "", "Show the running gateway", 0,
	 {{"config", "FILE", "as for serve: where the admin plane listens and its token"},
	  {"admin", "HOST:PORT", "the admin plane's address (default 127.0.0.1:8081)"},
	  {"json", NULL, "print the status document as it is"}},
	 rl_cmd_status},
	{"keys", "new|hash", "Make a client key, or the hash of one that is read from standard input", 1,
	 {{"name", "NAME", "print the lines for the configuration under this name"}}, rl_cmd_keys},
	{"catalog", "list|show|import [MODEL|FILE]", "What is known of models: windows, limits, abilities, prices", 2,
	 {{"json", NULL, "print JSON; prices are nano-dollars per token there"},
	  {"file", "FILE", "of list and show: what import wrote, over the built-in facts"},
	  {"output", "FILE", "of import: write there (default: standard output) what `catalog:` of the configuration reads"}},
	 rl_cmd_catalog},
	{"version", "", "Print the version", 0, {{NULL, NULL, NULL}}, cmd_version},
	{"help", "[COMMAND]", "Explain a command", 1,
	 {{"man", NULL, "print the manual page (troff)"},
	  {"completion", "SHELL", "print completions for bash or zsh"}},
	 cmd_help},
	{.name = NULL},
};
/* clang-format on */

static const struct rl_command *find(const char *name)
{
	for (const struct rl_command *c = rl_commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

const char *rl_args_value(const struct rl_command *command, const struct rl_args *args, const char *name)
{
	for (int i = 0; i < RL_OPTIONS_MAX && command->options[i].name; i++)
		if (strcmp(command->options[i].name, name) == 0)
			return args->values[i];
	return NULL;
}

/* ---- help ---- */

static void print_options(FILE *to, const struct rl_command *c)
{
	for (int i = 0; i < RL_OPTIONS_MAX && c->options[i].name; i++) {
		char left[64];
		snprintf(left, sizeof left, "--%s%s%s", c->options[i].name, c->options[i].value ? " " : "",
			 c->options[i].value ? c->options[i].value : "");
		fprintf(to, "  %-22s %s\n", left, c->options[i].about);
	}
}

static void print_command(FILE *to, const struct rl_command *c)
{
	fprintf(to, "usage: relais %s%s%s%s\n\n%s.\n", c->name, c->options[0].name ? " [options]" : "",
		*c->words ? " " : "", c->words, c->about);
	if (c->options[0].name)
		fprintf(to, "\n");
	print_options(to, c);
}

static void print_all(FILE *to)
{
	bool colour = isatty(fileno(to));

	fprintf(to, "relais %s: an AI gateway\n\nusage: relais [command] [options]\n\n", RL_VERSION);
	for (const struct rl_command *c = rl_commands; c->name; c++)
		fprintf(to, "  %s%-10s%s %s\n", colour ? "\033[1m" : "", c->name, colour ? "\033[0m" : "", c->about);
	fprintf(to, "\n'relais help COMMAND' explains one. Without a command relais serves.\n");
}

static int cmd_help(const struct rl_args *args)
{
	if (args->values[0]) {
		rl_manual_print();
		return RL_EXIT_OK;
	}
	if (args->values[1])
		return rl_manual_completion(args->values[1]);
	if (!args->n_words) {
		print_all(stdout);
		return RL_EXIT_OK;
	}
	const struct rl_command *c = find(args->words[0]);

	if (!c) {
		fprintf(stderr, "relais: there is no command '%s'\n", args->words[0]);
		return RL_EXIT_USAGE;
	}
	print_command(stdout, c);
	return RL_EXIT_OK;
}

static int cmd_version(const struct rl_args *args)
{
	(void)args;
	printf("relais %s\n", RL_VERSION);
	return RL_EXIT_OK;
}

/* ---- parsing ---- */

static int usage(const struct rl_command *c, const char *what, const char *which)
{
	fprintf(stderr, "relais: %s '%s'\n", what, which);
	fprintf(stderr, "usage: relais %s%s%s%s; see 'relais help %s'\n", c->name,
		c->options[0].name ? " [options]" : "", *c->words ? " " : "", c->words, c->name);
	return RL_EXIT_USAGE;
}

static int run(const struct rl_command *c, int argc, char **argv)
{
	struct option longs[RL_OPTIONS_MAX + 2] = {{0}};
	struct rl_args args = {.n_words = 0};
	int n = 0, got;

	for (; n < RL_OPTIONS_MAX && c->options[n].name; n++)
		longs[n] = (struct option){c->options[n].name, c->options[n].value ? required_argument : no_argument,
					   NULL, n + 1};
	longs[n] = (struct option){"help", no_argument, NULL, 'h'};
	opterr = 0;
	optind = 1;
	while ((got = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (got == 'h') {
			print_command(stdout, c);
			return RL_EXIT_OK;
		}
		if (got == '?' || got == ':')
			return usage(c, got == ':' ? "a value is missing after" : "unknown option", argv[optind - 1]);
		args.values[got - 1] = optarg ? optarg : "";
	}
	for (; optind < argc; optind++) {
		if (args.n_words >= c->max_words)
			return usage(c, "unexpected argument", argv[optind]);
		args.words[args.n_words++] = argv[optind];
	}
	return c->run(&args);
}

int rl_command_main(int argc, char **argv)
{
	const struct rl_command *c;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_all(stdout);
		return RL_EXIT_OK;
	}
	if (argc > 1 && strcmp(argv[1], "--version") == 0)
		return cmd_version(NULL);
	if (argc < 2 || argv[1][0] == '-')
		return run(find("serve"), argc, argv);
	c = find(argv[1]);
	if (!c) {
		fprintf(stderr, "relais: there is no command '%s'; 'relais help' lists them\n", argv[1]);
		return RL_EXIT_USAGE;
	}
	return run(c, argc - 1, argv + 1);
}
