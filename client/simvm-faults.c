/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/simvm-faults.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	enum simvm_fault_kind kind;
	int error;
} fault_kinds[] = {
	{ "enomem", SIMVM_FAULT_ERROR, ENOMEM }, { "eagain", SIMVM_FAULT_ERROR, EAGAIN },
	{ "einval", SIMVM_FAULT_ERROR, EINVAL }, { "dead", SIMVM_FAULT_DEAD, 0 },
	{ "exit", SIMVM_FAULT_EXIT, 0 },
};

#define N_FAULT_KINDS (sizeof(fault_kinds) / sizeof(fault_kinds[0]))

/* A positive decimal number, and nothing strtoull() would allow beside it. */
static bool parse_number(const char *text, const char **ret_end, uint64_t *ret)
{
	char *end;
	unsigned long long number;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || !number)
		return false;
	*ret_end = end;
	*ret = number;
	return true;
}

/* NAME@N or NAME@N:M */
static bool parse_at(const char *word, struct simvm_faults *faults)
{
	const char *at = strchr(word, '@');
	struct simvm_fault fault = { .n_calls = 1 };
	uint64_t second = 0;
	size_t i;

	if (!at || faults->n == SIMVM_MAX_FAULTS)
		return false;
	for (i = 0; i < N_FAULT_KINDS; i++)
		if (strlen(fault_kinds[i].name) == (size_t)(at - word) &&
		    !strncmp(fault_kinds[i].name, word, (size_t)(at - word)))
			break;
	if (i == N_FAULT_KINDS)
		return false;
	fault.kind = fault_kinds[i].kind;
	fault.error = fault_kinds[i].error;
	if (!parse_number(at + 1, &at, &fault.first))
		return false;
	if (*at == ':') {
		if (fault.kind == SIMVM_FAULT_EXIT || !parse_number(at + 1, &at, &second))
			return false;
		if (fault.kind == SIMVM_FAULT_DEAD)
			fault.timeout_ms = second;
		else
			fault.n_calls = second;
	}
	if (*at)
		return false;
	faults->fault[faults->n++] = fault;
	return true;
}

/* NAME=NUMBER */
static bool parse_setting(const char *word, const char *name, uint64_t *setting)
{
	size_t length = strlen(name);
	const char *end;

	return !strncmp(word, name, length) && word[length] == '=' &&
	       parse_number(word + length + 1, &end, setting) && !*end;
}

int simvm_faults_parse(const char *list, struct simvm_faults *faults, char *text, size_t text_size)
{
	struct simvm_faults parsed = *faults;
	const char *word = list;

	while (*word) {
		size_t length = strcspn(word, ",");
		char copy[64];

		snprintf(copy, sizeof(copy), "%.*s", (int)length, word);
		if (length >= sizeof(copy) ||
		    (!parse_at(copy, &parsed) &&
		     !parse_setting(copy, "partial", &parsed.partial_pages) &&
		     !parse_setting(copy, "slow", &parsed.slow_us))) {
			snprintf(
				text, text_size,
				"'%s' is no fault: say enomem@N, enomem@N:M, eagain@N:M, einval@N, "
				"dead@N, dead@N:MS, exit@N, partial=PAGES or slow=USEC, at most %d, "
				"separated by commas",
				copy, SIMVM_MAX_FAULTS);
			return -EINVAL;
		}
		word += length;
		if (*word)
			word++;
	}
	*faults = parsed;
	return 0;
}

const struct simvm_fault *simvm_faults_at(const struct simvm_faults *faults, uint64_t call)
{
	for (size_t i = 0; i < faults->n; i++)
		if (call >= faults->fault[i].first &&
		    call - faults->fault[i].first < faults->fault[i].n_calls)
			return &faults->fault[i];
	return NULL;
}
