/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl vm freeze, thaw, verify, release: what an operator does to a VM.
 *
 * What cannot be taken back is asked about first, but only where somebody sits at a terminal: a
 * script has said what it wants.
 */
#include "client/kvmattrctl-operate.h"

#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Answered when it is done: as long as KVM takes for it. */
#define PATIENCE_S 3600u

bool operate_is_meant(const struct command_input *input, const char *consequence, ...)
{
	char *answer = NULL;
	va_list arguments;
	size_t size = 0;
	bool is_meant;

	if (input->is_sure || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return true;
	va_start(arguments, consequence);
	vfprintf(stderr, consequence, arguments);
	va_end(arguments);
	fputs("\nDo that? [y/N] ", stderr);
	is_meant = getline(&answer, &size, stdin) > 0 && (*answer == 'y' || *answer == 'Y');
	free(answer);
	if (!is_meant)
		fputs("Nothing was done.\n", stderr);
	return is_meant;
}

enum ctl_exit operate_call(const struct command_input *input, const char *method,
			   struct json_object *params, struct json_object **ret_answer)
{
	rpc_be_patient(input->rpc, PATIENCE_S);
	return rpc_call(input->rpc, method, params, ret_answer);
}

/* A call about one VM; CTL_OK: what it answers is *ret_answer, and *ret_name the VM for people. */
static enum ctl_exit act(const struct command_input *input, const char *method,
			 struct json_object **ret_answer, char **ret_name)
{
	struct json_object *params = params_about("vm", input->arguments[0]);
	enum ctl_exit exit_code;

	if (input->commit)
		params_add_number(params, "commit", input->commit);
	exit_code = operate_call(input, method, params, ret_answer);
	if (exit_code != CTL_OK)
		return exit_code;
	*ret_name = terminal_safe(answer_text(*ret_answer, "vm"));
	writer_begin_object(input->writer, NULL, NULL);
	writer_text(input->writer, "vm", NULL, answer_text(*ret_answer, "vm"));
	writer_number(input->writer, "commit", NULL, answer_number(*ret_answer, "commit"));
	return CTL_OK;
}

static enum ctl_exit end(const struct command_input *input, struct json_object *answer, char *name)
{
	writer_end_object(input->writer);
	json_object_put(answer);
	free(name);
	return CTL_OK;
}

enum ctl_exit command_vm_freeze(const struct command_input *input)
{
	struct json_object *answer = NULL;
	char *name;
	enum ctl_exit exit_code = act(input, "vm.freeze", &answer, &name);

	if (exit_code != CTL_OK)
		return exit_code;
	writer_say(input->writer,
		   "VM %s is frozen at commit %" PRIu64 ": nothing is under way, and updates that "
		   "arrive wait.\nGo on with: kvmattrctl vm thaw %s",
		   name, answer_number(answer, "commit"), name);
	writer_boolean(input->writer, "frozen", NULL, answer_boolean(answer, "frozen"));
	return end(input, answer, name);
}

enum ctl_exit command_vm_thaw(const struct command_input *input)
{
	struct json_object *answer = NULL;
	uint64_t n_waiting;
	char *name, number[32];
	enum ctl_exit exit_code = act(input, "vm.thaw", &answer, &name);

	if (exit_code != CTL_OK)
		return exit_code;
	n_waiting = answer_number(answer, "queue");
	writer_say(input->writer, "VM %s goes on from commit %" PRIu64 "; %s %s waited.", name,
		   answer_number(answer, "commit"),
		   n_waiting ? terminal_number(number, n_waiting) : "no",
		   n_waiting < 2 ? "update has" : "updates have");
	writer_boolean(input->writer, "frozen", NULL, answer_boolean(answer, "frozen"));
	writer_number(input->writer, "queue", NULL, n_waiting);
	return end(input, answer, name);
}

enum ctl_exit command_vm_verify(const struct command_input *input)
{
	struct writer *writer = input->writer;
	struct json_object *answer = NULL;
	char *name, pages[32], calls[32];
	uint64_t n_unknown;
	enum ctl_exit exit_code = act(input, "vm.verify", &answer, &name);

	if (exit_code != CTL_OK)
		return exit_code;
	n_unknown = answer_number(answer, "unknown_pages");
	writer_say(writer,
		   "KVM was told VM %s again, as of commit %" PRIu64
		   ": it took %s pages in %s calls.",
		   name, answer_number(answer, "commit"),
		   terminal_number(pages, answer_number(answer, "pages")),
		   terminal_number(calls, answer_number(answer, "calls")));
	if (n_unknown)
		writer_say(writer,
			   "Of %s pages it is not known what KVM enforces: it refuses them.\n"
			   "They are tried again; kvmattrctl events %s tells when that succeeds.",
			   terminal_number(pages, n_unknown), name);
	else
		writer_say(writer, "It enforces all of it.");
	writer_number(writer, "pages", NULL, answer_number(answer, "pages"));
	writer_number(writer, "calls", NULL, answer_number(answer, "calls"));
	writer_number(writer, "unknown_pages", NULL, n_unknown);
	end(input, answer, name);
	return n_unknown ? CTL_DEGRADED : CTL_OK;
}

enum ctl_exit command_vm_release(const struct command_input *input)
{
	struct json_object *answer = NULL;
	char *name = terminal_safe(input->arguments[0]);
	bool is_meant = operate_is_meant(
		input,
		"VM %s will be released: its VMM and its agents are disconnected,\n"
		"and can protect nothing any more.  KVM keeps what it was told last;\n"
		"the journal is kept as history.",
		name);
	enum ctl_exit exit_code;

	free(name);
	if (!is_meant)
		return CTL_REFUSED;
	exit_code = act(input, "vm.release", &answer, &name);
	if (exit_code != CTL_OK)
		return exit_code;
	writer_say(input->writer,
		   "VM %s is released, at commit %" PRIu64
		   ".  What KVM was told last stays in force.",
		   name, answer_number(answer, "commit"));
	return end(input, answer, name);
}
