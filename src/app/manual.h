/* SPDX-License-Identifier: Apache-2.0 */
/* What `make install` asks the program for: its manual page and the shells' completions, from the table of commands. */
#ifndef RL_APP_MANUAL_H
#define RL_APP_MANUAL_H

/* Manual page of section 1 in the man macros, on standard output. */
void rl_manual_print(void);
/* Completion script for "bash" or "zsh", on standard output. An exit status: another shell is wrong usage. */
int rl_manual_completion(const char *shell);

#endif
