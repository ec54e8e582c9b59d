/* SPDX-License-Identifier: Apache-2.0 */
/* The client's HTTP/2: several calls at once on shared connections. */
#include "client_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_client(data, size, true, OWNERS_MAX);
}
