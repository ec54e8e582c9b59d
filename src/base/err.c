/* SPDX-License-Identifier: Apache-2.0 */
/* Names of results, and the way from errno to them. */
#include "base/err.h"

#include <errno.h>

static const char *const names[] = {
#define X(id, name, text) [RL_ERR_##id] = name,
	RL_ERRS(X)
#undef X
};

static const char *const texts[] = {
#define X(id, name, text) [RL_ERR_##id] = text,
	RL_ERRS(X)
#undef X
};

const char *rl_err_name(enum rl_err err)
{
	return (unsigned)err < RL_ERR_COUNT ? names[err] : "unknown";
}

const char *rl_err_text(enum rl_err err)
{
	return (unsigned)err < RL_ERR_COUNT ? texts[err] : "unknown error";
}

enum rl_err rl_err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return RL_OK;
	case EAGAIN:
	case EINTR:
	case EINPROGRESS:
		return RL_ERR_AGAIN;
	case ENOMEM:
	case ENOBUFS:
		return RL_ERR_NOMEM;
	case ECONNRESET:
	case EPIPE:
		return RL_ERR_RESET;
	case ECONNREFUSED:
		return RL_ERR_REFUSED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return RL_ERR_UNREACHABLE;
	case ETIMEDOUT:
		return RL_ERR_TIMEOUT;
	case EMFILE:
	case ENFILE:
		return RL_ERR_BUSY;
	case ENOENT:
		return RL_ERR_NOT_FOUND;
	default:
		return RL_ERR_IO;
	}
}
