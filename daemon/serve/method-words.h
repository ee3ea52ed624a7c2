/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Words that the methods of several rooms share: parameters, members of answers, and the names
 * that either may be.
 *
 * Rows for their tables; what a method does with them is its own.
 */
#ifndef KVMATTRD_METHOD_WORDS_H
#define KVMATTRD_METHOD_WORDS_H

#include "methods.h"

/* Each is named by its value, so that the place of a choice is that value. */
extern const char *const method_protections[];
extern const char *const method_visibilities[]; /* 1: KVMATTR_PRIVATE */
extern const char *const method_durabilities[]; /* enum durability */
/* enum kvmattr_update_kind, from its first, KVMATTR_PROTECT, on: place 0. */
extern const char *const method_update_kinds[];

/* ---- Parameters ---------------------------------------------------------------------------- */

#define VM_PARAMETER                                                                             \
	{                                                                                        \
		.name = "vm", .type = METHOD_VM, .is_required = true, .summary = "the VM's name" \
	}
#define VTL_PARAMETER                                                                  \
	{                                                                              \
		.name = "vtl", .type = METHOD_INTEGER, .maximum = KVMATTR_N_VTLS - 1,  \
		.summary = "the VTL that is restricted, and has a view; 0 if left out" \
	}
#define PAGE_PARAMETER                                                      \
	{                                                                   \
		.name = "gpa", .type = METHOD_ADDRESS, .is_required = true, \
		.summary = "any address in the page"                        \
	}
#define START_PARAMETER                                                                     \
	{                                                                                   \
		.name = "start", .type = METHOD_ADDRESS,                                    \
		.summary = "from the page of this address on; the first of RAM if left out" \
	}
#define END_PARAMETER                                                                       \
	{                                                                                   \
		.name = "end", .type = METHOD_ADDRESS,                                      \
		.summary = "up to, not including, this address; the end of RAM if left out" \
	}
/* Where an answer's cursor is an address, and where it is a place. */
#define CURSOR_PARAMETER                                                                       \
	{                                                                                      \
		.name = "cursor", .type = METHOD_ADDRESS,                                      \
		.summary = "an earlier answer's cursor: go on there; all else as in that call" \
	}
#define PLACE_PARAMETER                                                                        \
	{                                                                                      \
		.name = "cursor", .type = METHOD_PLACE,                                        \
		.summary = "an earlier answer's cursor: go on there; all else as in that call" \
	}
#define LIMIT_PARAMETER                                                     \
	{                                                                   \
		.name = "limit", .type = METHOD_INTEGER, .minimum = 1,      \
		.maximum = METHODS_MAX_RUNS,                                \
		.summary = "at most so many in the answer; 256 if left out" \
	}
#define JOURNAL_PARAMETER                                                            \
	{                                                                            \
		.name = "journal", .type = METHOD_JOURNAL, .is_required = true,      \
		.summary = "the name of a VM that is registered, or of a journal's " \
			   "directory, as journal.list has it"                       \
	}
#define COMMIT_PARAMETER(its_name, required, its_summary)                                        \
	{                                                                                        \
		.name = its_name, .type = METHOD_INTEGER, .is_required = required, .minimum = 1, \
		.maximum = INT64_MAX, .summary = its_summary                                     \
	}

/* ---- Members of answers -------------------------------------------------------------------- */

#define VM_MEMBER                                                             \
	{                                                                     \
		.name = "vm", .value = VALUE_TEXT, .summary = "the VM's name" \
	}
#define COMMIT_MEMBER                                                                             \
	{                                                                                         \
		.name = "commit", .value = VALUE_NUMBER, .summary = "the VM's last commit number" \
	}
#define VTL_MEMBER                                                                            \
	{                                                                                     \
		.name = "vtl", .value = VALUE_NUMBER, .summary = "the VTL that is restricted" \
	}
#define GPA_MEMBER                                    \
	{                                             \
		.name = "gpa", .value = VALUE_ADDRESS \
	}
#define PAGES_MEMBER                                   \
	{                                              \
		.name = "pages", .value = VALUE_NUMBER \
	}
#define PROTECTION_MEMBER                                                                  \
	{                                                                                  \
		.name = "protection", .value = VALUE_CHOICE, .choices = method_protections \
	}
#define VISIBILITY_MEMBER                                                                   \
	{                                                                                   \
		.name = "visibility", .value = VALUE_CHOICE, .choices = method_visibilities \
	}
/* Where the cursor of an answer is an address, and where it is a place. */
#define CURSOR_MEMBER                                                              \
	{                                                                          \
		.name = "cursor", .value = VALUE_ADDRESS, .flags = VALUE_OPTIONAL, \
		.summary = "where there is more: where to go on"                   \
	}
#define PLACE_MEMBER                                                            \
	{                                                                       \
		.name = "cursor", .value = VALUE_TEXT, .flags = VALUE_OPTIONAL, \
		.summary = "where there is more: where to go on"                \
	}

#endif
