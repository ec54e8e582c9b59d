/* SPDX-License-Identifier: Apache-2.0 */
/* The client's HTTP/1: calls one after the other. */
#include "client_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_client(data, size, false, 1);
}
