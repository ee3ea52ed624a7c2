/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print-methods methods|events: a section of kvmattr-rpc(7) in scdoc, from the table that the daemon
 * calls its methods by.
 *
 * So the page cannot say anything else than what is taken and answered.
 */
#include "daemon/serve/events.h"
#include "daemon/serve/method-words.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text in which nothing is scdoc's. */
static void print_plain(const char *text)
{
	for (char last = ' '; *text; last = *text++) {
		if (strchr("\\*", *text) || (*text == '_' && !isalnum((unsigned char)last)))
			putchar('\\');
		putchar(*text);
	}
}

static void print_choices(const char *const *choices)
{
	if (choices == method_protections) {
		printf("a protection");
		return;
	}
	if (choices == event_names) {
		printf("a kind of event");
		return;
	}
	for (size_t i = 0; choices[i]; i++) {
		printf("%s", i ? choices[i + 1] ? ", " : " or " : "");
		print_plain(choices[i]);
	}
}

/* ---- Parameters ---------------------------------------------------------------------------- */

static void print_type(const struct method_parameter *parameter)
{
	switch (parameter->type) {
	case METHOD_VM:
		printf("VM");
		return;
	case METHOD_NAME:
		printf("name of a VM");
		return;
	case METHOD_INTEGER:
		if (parameter->maximum == INT64_MAX)
			printf("number from %" PRIu64 " on", parameter->minimum);
		else
			printf("number, %" PRIu64 " to %" PRIu64, parameter->minimum,
			       parameter->maximum);
		return;
	case METHOD_ADDRESS:
		printf("address");
		return;
	case METHOD_JOURNAL:
		printf("journal");
		return;
	case METHOD_PLACE:
		printf("place");
		return;
	case METHOD_DATA:
		printf("base64");
		return;
	case METHOD_BOOLEAN:
		printf("boolean");
		return;
	case METHOD_CHOICE:
		print_choices(parameter->choices);
		return;
	case METHOD_CHOICES:
		print_choices(parameter->choices);
		printf("[]");
		return;
	case METHOD_VTLS:
		printf("VTL[]");
		return;
	case METHOD_RANGES:
		printf("range[]");
		return;
	}
	abort();
}

static void print_parameters(const struct method_parameter *parameter)
{
	printf("%s\n\n", parameter->name ? "Parameters:" : "No parameters.");
	if (!parameter->name)
		return;
	for (; parameter->name; parameter++) {
		printf("- *%s* (", parameter->name);
		print_type(parameter);
		printf("%s): ", parameter->is_required ? ", required" : "");
		print_plain(parameter->summary);
		putchar('\n');
	}
	putchar('\n');
}

/* ---- Members ------------------------------------------------------------------------------- */

static void print_value(const struct method_member *member)
{
	if (member->value == VALUE_CHOICE)
		print_choices(member->choices);
	else
		printf("%s", method_value_name(member->value));
	if (member->flags & VALUE_ARRAY)
		printf("[]");
	if (member->flags & VALUE_NULLABLE)
		printf(" or null");
	if (member->flags & VALUE_OPTIONAL)
		printf(", may be missing");
}

static void print_members(const struct method_member *member, unsigned int depth)
{
	for (; member->name; member++) {
		if (member->value == VALUE_INCLUDED) {
			print_members(member->members, depth);
			continue;
		}
		for (unsigned int i = 0; i < depth; i++)
			putchar('\t');
		printf("- *%s* (", member->name);
		print_value(member);
		putchar(')');
		if (member->summary) {
			printf(": ");
			print_plain(member->summary);
		}
		putchar('\n');
		if (member->members)
			print_members(member->members, depth + 1);
	}
}

static void print_method(const struct method *method)
{
	printf("## %s\n\n", method->name);
	print_plain(method->summary);
	printf(".%s\n\n", method->role == METHOD_OPERATOR ? " For operators." : "");
	print_parameters(method->parameters);
	printf("Result:\n\n");
	print_members(method->members, 0);
	putchar('\n');
}

/* ---- Events -------------------------------------------------------------------------------- */

static void print_events(void)
{
	static const char *const summaries[N_EVENTS] = {
#define X(name, text, summary) [EVENT_##name] = summary,
		EVENTS(X)
#undef X
	};

	for (unsigned int i = 0; i < N_EVENTS; i++) {
		printf("*%s*: ", event_names[i]);
		print_plain(summaries[i]);
		printf(".\n\n");
		print_members(event_members[i], 0);
		putchar('\n');
	}
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	if (!strcmp(what, "events")) {
		print_events();
	} else if (!strcmp(what, "methods")) {
		for (const struct method *const *room = methods_rooms; *room; room++)
			for (const struct method *method = *room; method->name; method++)
				print_method(method);
	} else {
		fprintf(stderr, "usage: print-methods methods|events\n");
		return EXIT_FAILURE;
	}
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
