/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "method-words.h"

#include <stddef.h>

const char *const method_protections[] = {
	"none", "r",  "w",   "rw", "k",  "rk", "wk",  "rwk", "u",
	"ru",   "wu", "rwu", "x",  "rx", "wx", "rwx", NULL,
};

const char *const method_visibilities[] = { "shared", "private", NULL };

const char *const method_durabilities[] = { "process", "power", NULL };

const char *const method_update_kinds[] = {
	"protect",    "set-visibility", "lock",        "unlock",   "add-ram",
	"remove-ram", "enable-layer",   "reset-layer", "reset-vm", NULL,
};
