/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kvmattr-types.h"

#include <stddef.h>
#include <string.h>

#define EXPORT   __attribute__((visibility("default")))
#define N(array) (sizeof(array) / sizeof(*(array)))

static const struct {
	const char *name, *text;
} statuses[KVMATTR_N_STATUSES] = {
#define X(name, value, text) [value] = { #name, text },
	KVMATTR_STATUSES(X)
#undef X
};

static const char *const abis[KVMATTR_N_ABIS] = {
	[KVMATTR_ABI_PROBE] = "probe", [KVMATTR_ABI_MAINLINE] = "mainline",
	[KVMATTR_ABI_DENY] = "deny",   [KVMATTR_ABI_V10] = "v10",
	[KVMATTR_ABI_V10NA] = "v10na",
};

/* k and u: kernel or user execute alone; x: both. */
static const char *const protections[KVMATTR_PROTECTION + 1] = {
	"none", "r",  "w",  "rw",  "k", "rk", "wk", "rwk",
	"u",    "ru", "wu", "rwu", "x", "rx", "wx", "rwx",
};

EXPORT int kvmattr_is_vm_name(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strspn(name, allowed);

	return n && n < KVMATTR_NAME_SIZE && !name[n] && *name != '.' && *name != '-';
}

EXPORT const char *kvmattr_status_name(int status)
{
	return status >= 0 && status < KVMATTR_N_STATUSES ? statuses[status].name : NULL;
}

EXPORT const char *kvmattr_status_text(int status)
{
	const char *text = status < 0                    ? strerrordesc_np(-status)
			   : status < KVMATTR_N_STATUSES ? statuses[status].text
							 : NULL;

	return text ? text : "unknown status";
}

EXPORT const char *kvmattr_abi_name(unsigned int abi)
{
	return abi < N(abis) ? abis[abi] : NULL;
}

EXPORT int kvmattr_abi_from_name(const char *name)
{
	for (size_t i = 0; i < N(abis); i++)
		if (!strcmp(abis[i], name))
			return (int)i;
	return -1;
}

EXPORT const char *kvmattr_protection_name(unsigned int protection)
{
	return protections[protection & KVMATTR_PROTECTION];
}

EXPORT int kvmattr_protection_from_name(const char *name)
{
	for (size_t i = 0; i < N(protections); i++)
		if (!strcmp(protections[i], name))
			return (int)i;
	return -1;
}
