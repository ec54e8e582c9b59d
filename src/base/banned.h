/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that are too easily used wrongly: naming one is a compile error. The
 * build puts this file in front of every source of ours (-include), so nothing
 * includes it by hand. The system's own headers come first, since they must
 * still be able to declare what is poisoned below. Instead of these: slices,
 * rl_buf and rl_arena for text, snprintf for a bounded line, strtoull with its
 * end pointer for numbers, posix_spawn for another program.
 */
#ifndef RL_BASE_BANNED_H
#define RL_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>

/* Some compilers get the fortified forms of these as macros. */
#undef sprintf
#undef vsprintf

/* alloca is missing here because a macro of libfyaml's header names it: -Walloca and tools/check see to it. */
#pragma GCC poison strcpy strncpy stpcpy strcat strncat sprintf vsprintf gets
#pragma GCC poison atoi atol atoll atof strtok strtok_r system popen
#pragma GCC poison ctime asctime localtime gmtime tmpnam mktemp

#endif
