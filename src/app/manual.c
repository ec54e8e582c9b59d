/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See manual.h. Texts of the table stand in three quotings here: troff, where a
 * hyphen is written \-; and the single quotes of both shells, where zsh gives
 * brackets and colons a meaning of their own. A command's words are either one
 * name ("PROMPT", "[FILE]") or a choice ("new|hash"), which completes.
 */
#include "app/manual.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "provider/preset.h"
#include "version.h"

/* ---- the manual page ---- */

static void man_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '-' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
}

static void man_command(const struct rl_command *c)
{
	printf(".TP\n\\fBrelais %s\\fR%s%s", c->name, c->options[0].name ? " [options]" : "", *c->words ? " " : "");
	man_text(c->words);
	printf("\n");
	man_text(c->about);
	printf(".\n");
	if (c->options[0].name)
		printf(".RS\n");
	for (int i = 0; i < RL_OPTIONS_MAX && c->options[i].name; i++) {
		printf(".TP\n\\fB\\-\\-");
		man_text(c->options[i].name);
		printf("\\fR%s%s\n", c->options[i].value ? " " : "", c->options[i].value ? c->options[i].value : "");
		man_text(c->options[i].about);
		printf("\n");
	}
	if (c->options[0].name)
		printf(".RE\n");
}

void rl_manual_print(void)
{
	printf(".TH RELAIS 1 \"\" \"relais %s\" \"User commands\"\n", RL_VERSION);
	printf(".SH NAME\nrelais \\- AI gateway\n.SH SYNOPSIS\n\\fBrelais\\fR [command] [options]\n.SH DESCRIPTION\n");
	printf("One program between applications and providers of AI models: it routes, fails over, meters and\n");
	printf("explains. Without a command it serves; without a configuration it uses what the environment offers.\n");
	printf(".SH COMMANDS\n");
	for (const struct rl_command *c = rl_commands; c->name; c++)
		man_command(c);
	printf(".SH ENVIRONMENT\nWithout a configuration, each of these that is set brings its provider:\n");
	for (const struct rl_preset *p = rl_presets; p->name.n; p++)
		if (p->env)
			printf("%s\\fB%s\\fR", p == rl_presets ? "" : ",\n", p->env);
	printf(".\n.SH FILES\n.TP\n\\fI./relais.yaml\\fR\nThe configuration if none is named.\n");
	printf("\\fBrelais config example\\fR prints one to start from,\n");
	printf("\\fBrelais config reference\\fR explains every key.\n");
	printf(".SH SIGNALS\nSIGHUP reads the configuration again, whole or not at all. SIGUSR1 opens the access log\n");
	printf("anew. SIGTERM and SIGINT drain and stop.\n");
	printf(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong configuration or usage.\n");
}

/* ---- completion ---- */

static bool is_choice(const struct rl_command *c)
{
	return strchr(c->words, '|') != NULL;
}

static void print_choices(const struct rl_command *c)
{
	for (const char *w = is_choice(c) ? c->words : ""; *w; w++)
		putchar(*w == '|' ? ' ' : *w);
}

static void print_names(void)
{
	for (const struct rl_command *c = rl_commands; c->name; c++)
		printf("%s%s", c == rl_commands ? "" : " ", c->name);
}

/* Files are offered for values and for words that may be files: all but a choice's and the first word. */
static void bash_completion(void)
{
	printf("# Completion of relais for bash, made by `relais help --completion bash`.\n");
	printf("_relais() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} options= words= files=-f\n\tCOMPREPLY=()\n");
	printf("\tcase ${COMP_WORDS[1]} in\n");
	for (const struct rl_command *c = rl_commands; c->name; c++) {
		printf("\t%s)\n\t\toptions='", c->name);
		for (int i = 0; i < RL_OPTIONS_MAX && c->options[i].name; i++)
			printf("%s--%s", i ? " " : "", c->options[i].name);
		printf("'\n");
		if (is_choice(c) || strcmp(c->name, "help") == 0) {
			printf("\t\tfiles= words='");
			if (is_choice(c))
				print_choices(c);
			else
				print_names();
			printf("'\n");
		}
		printf("\t\t;;\n");
	}
	printf("\tesac\n\t[ \"$COMP_CWORD\" != 1 ] || { files= options='--help --version'; words='");
	print_names();
	printf("'; }\n\tcase $cur in\n\t-*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n");
	printf("\t*) COMPREPLY=($(compgen $files -W \"$words\" -- \"$cur\")) ;;\n\tesac\n}\n");
	printf("complete -o filenames -F _relais relais\n");
}

static void zsh_text(const char *text, const char *special)
{
	for (; *text; text++) {
		if (*text == '\'') {
			printf("'\\''");
			continue;
		}
		if (strchr(special, *text))
			putchar('\\');
		putchar(*text);
	}
}

static void zsh_command(const struct rl_command *c)
{
	printf("%s)\n\t_arguments", c->name);
	for (int i = 0; i < RL_OPTIONS_MAX && c->options[i].name; i++) {
		const struct rl_option *o = &c->options[i];

		printf(" \\\n\t\t'--%s[", o->name);
		zsh_text(o->about, "[]:\\");
		printf("]%s", o->value ? ":" : "");
		zsh_text(o->value ? o->value : "", ":\\");
		printf("%s'", !o->value ? "" : strcmp(o->value, "FILE") == 0 ? ":_files" : ":");
	}
	if (is_choice(c)) {
		printf(" \\\n\t\t'1:what:(");
		print_choices(c);
		printf(")'");
	} else if (strcmp(c->name, "help") == 0) {
		printf(" \\\n\t\t'1:command:(");
		print_names();
		printf(")'");
	} else if (c->max_words) {
		printf(" \\\n\t\t'1:");
		zsh_text(c->words, ":\\");
		printf(":%s'", strstr(c->words, "FILE") ? "_files" : "");
	} else if (!c->options[0].name) {
		printf(" :"); /* no options at all: _arguments wants something */
	}
	printf("\n\t;;\n");
}

/* The words after the command are completed as if they were a command line of their own. */
static void zsh_completion(void)
{
	printf("#compdef relais\n# Completion of relais for zsh, made by `relais help --completion zsh`.\n");
	printf("local -a commands=(\n");
	for (const struct rl_command *c = rl_commands; c->name; c++) {
		printf("\t'%s:", c->name);
		zsh_text(c->about, "");
		printf("'\n");
	}
	printf(")\nif (( CURRENT == 2 )); then\n\t_describe command commands\n\treturn\nfi\n");
	printf("shift words\n(( CURRENT-- ))\ncase $words[1] in\n");
	for (const struct rl_command *c = rl_commands; c->name; c++)
		zsh_command(c);
	printf("esac\n");
}

int rl_manual_completion(const char *shell)
{
	if (strcmp(shell, "bash") == 0) {
		bash_completion();
	} else if (strcmp(shell, "zsh") == 0) {
		zsh_completion();
	} else {
		fprintf(stderr, "relais: completions are for bash and zsh, not '%s'\n", shell);
		return RL_EXIT_USAGE;
	}
	return RL_EXIT_OK;
}
