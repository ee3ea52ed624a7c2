/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-page.h"

#include "client/kvmattrctl-terminal.h"

#include <json-c/json.h>

enum ctl_exit page_ask(const struct command_input *input, struct page_question *question)
{
	struct json_object *params;
	enum ctl_exit exit_code;
	uint64_t gpa;

	if (!command_parse_address(input->arguments[1], &gpa)) {
		terminal_complain(
			"GPA has to be an address such as 0x1f000, 4096 or 512M, not '%s'",
			input->arguments[1]);
		return CTL_USAGE;
	}
	params = params_about(question->subject, input->arguments[0]);
	params_add_number(params, "vtl", input->vtl);
	params_add_address(params, "gpa", gpa);
	if (input->access)
		params_add_text(params, "access", input->access);
	if (input->limit)
		params_add_number(params, "limit", input->limit);
	exit_code = rpc_call(input->rpc, question->method, params, &question->answer);
	if (exit_code != CTL_OK || answer_address(question->answer, "gpa", &question->gpa))
		return exit_code;
	json_object_put(question->answer);
	return rpc_nonsense(input->rpc, "the page has no address");
}
