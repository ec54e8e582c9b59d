/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of the program: one row each, with its options. From the table come
 * parsing, help, the man page and the shells' completions.
 */
#ifndef RL_APP_COMMAND_H
#define RL_APP_COMMAND_H

#include "base/buf.h"
#include "base/slice.h"

/* Exit statuses (docs: CONTRACT, Program). */
enum { RL_EXIT_OK = 0, RL_EXIT_FAILED = 1, RL_EXIT_USAGE = 2 };

#define RL_OPTIONS_MAX 12
#define RL_WORDS_MAX 4

struct rl_option {
	const char *name;  /* long form, without dashes */
	const char *value; /* what stands for its value in help; NULL: a switch */
	const char *about;
};

/* What was given: values in the order of the command's option table; switches are "" when given, NULL when not. */
struct rl_args {
	const char *values[RL_OPTIONS_MAX];
	const char *words[RL_WORDS_MAX]; /* what is not an option */
	int n_words;
};

struct rl_command {
	const char *name;
	const char *words; /* "[PROMPT]" or "" */
	const char *about;
	int max_words;
	struct rl_option options[RL_OPTIONS_MAX]; /* ends with a NULL name */
	int (*run)(const struct rl_args *args);   /* returns an exit status */
};

/* Ends with a NULL name. */
extern const struct rl_command rl_commands[];

/* Runs the program: argv as main has it. No command means serve. */
int rl_command_main(int argc, char **argv);

int rl_cmd_serve(const struct rl_args *args);
int rl_cmd_ask(const struct rl_args *args);
int rl_cmd_check(const struct rl_args *args);
int rl_cmd_config(const struct rl_args *args);
int rl_cmd_simulate(const struct rl_args *args);
int rl_cmd_status(const struct rl_args *args);
int rl_cmd_catalog(const struct rl_args *args);
int rl_cmd_keys(const struct rl_args *args);

/* The value of a named option of the running command, or NULL. */
const char *rl_args_value(const struct rl_command *command, const struct rl_args *args, const char *name);

#endif
