/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A question about one page: a VM's or a journal's, which is the command's first argument, and its
 * GPA, the second.
 */
#ifndef KVMATTRCTL_PAGE_H
#define KVMATTRCTL_PAGE_H

#include "client/kvmattrctl-command.h"

#include <json-c/json_types.h>
#include <stdint.h>

struct page_question {
	const char *method;
	const char *subject; /* the parameter that the first argument is: "vm", "journal" */
	uint64_t gpa;        /* of the page, as the answer has it */
	struct json_object *answer;
};

/* With --vtl, --access and --limit, as far as the command has them.  CTL_OK: the answer is the caller's. */
__attribute__((warn_unused_result)) enum ctl_exit page_ask(const struct command_input *input,
							   struct page_question *question);

#endif
