/* SPDX-License-Identifier: Apache-2.0 */
/* The program: everything is in the commands (command.c). */
#include "app/command.h"

int main(int argc, char **argv)
{
	return rl_command_main(argc, argv);
}
