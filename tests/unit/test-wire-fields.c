/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every field of every message that can make no sense: the message is refused by that field's name.
 */
#include "tests/unit/seeded-suite.h"
#include "tests/unit/wire-messages.h"

#include <stdlib.h>
#include <string.h>

/* ---- A field that makes no sense ------------------------------------------------------------------ */

/* So many bytes at an offset of a message become value; then it is refused by that name. */
static const struct wrong {
	uint16_t type;
	size_t offset;
	size_t size;
	uint64_t value;
	const char *field;
} wrongs[] = {
#define FIELD(type, structure, field, value, name)                                               \
	{                                                                                        \
		type, offsetof(struct structure, field), sizeof(((struct structure *)0)->field), \
			value, name                                                              \
	}
#define PART(type, message, part, structure, field, value, name)                          \
	{                                                                                 \
		type, offsetof(struct message, part) + offsetof(struct structure, field), \
			sizeof(((struct structure *)0)->field), value, name               \
	}
	FIELD(WIRE_HELLO, wire_header, reserved, 1, "header.reserved"),
	FIELD(WIRE_HELLO, wire_header, reserved, 0x8000, "header.reserved"),
	FIELD(WIRE_HELLO, wire_hello, magic, WIRE_MAGIC + 1, "magic"),
	FIELD(WIRE_HELLO, wire_hello, version_max, 0, "version_max"),
	FIELD(WIRE_HELLO, wire_hello, peer[3], 0x1b, "peer"),
	FIELD(WIRE_HELLO, wire_hello, peer[3], 0x7f, "peer"),
	FIELD(WIRE_HELLO, wire_hello, peer[3], 0x80, "peer"),
	FIELD(WIRE_HELLO, wire_hello, peer[3], '\n', "peer"),
	FIELD(WIRE_WELCOME, wire_welcome, role, 3, "role"),
	FIELD(WIRE_WELCOME, wire_welcome, vtl, 16, "vtl"),
	FIELD(WIRE_WELCOME, wire_welcome, rights, 2, "rights"),
	FIELD(WIRE_WELCOME, wire_welcome, max_message, 1u << 20, "max_message"),
	FIELD(WIRE_WELCOME, wire_welcome, max_updates_in_flight, 0, "max_updates_in_flight"),
	FIELD(WIRE_WELCOME, wire_welcome, vm[0], 7, "vm"),
	FIELD(WIRE_WELCOME, wire_welcome, daemon[0], 7, "daemon"),
	FIELD(WIRE_WELCOME, wire_welcome, agent_socket[0], 'r', "agent_socket"),
	FIELD(WIRE_ERROR, wire_notice, status, KVMATTR_N_STATUSES, "status"),
	FIELD(WIRE_ERROR, wire_notice, closing, 2, "closing"),
	FIELD(WIRE_BYE, wire_notice, status, UINT32_MAX, "status"),
	FIELD(WIRE_REGISTER, wire_register, name[0], '\n', "name"),
	FIELD(WIRE_REGISTER, wire_register, name[1], 0x7f, "name"),
	FIELD(WIRE_REGISTER, wire_register, name[1], 0xc3, "name"),
	FIELD(WIRE_REGISTER, wire_register, n_views, 0, "n_views"),
	FIELD(WIRE_REGISTER, wire_register, n_views, KVMATTR_N_VTLS + 1, "n_views"),
	FIELD(WIRE_REGISTER, wire_register, n_views, UINT32_MAX, "n_views"),
	FIELD(WIRE_REGISTER, wire_register, n_views, 1, "header.size"),
	FIELD(WIRE_REGISTER, wire_register, n_views, 3, "header.size"),
	FIELD(WIRE_REGISTER, wire_register, n_ram, 1, "header.size"),
	FIELD(WIRE_REGISTER, wire_register, n_ram, WIRE_MAX_RAM, "header.size"),
	FIELD(WIRE_REGISTER, wire_register, n_ram, WIRE_MAX_RAM + 1, "n_ram"),
	FIELD(WIRE_REGISTER, wire_register, n_ram, UINT32_MAX, "n_ram"),
	PART(WIRE_REGISTER, register_message, views[1], wire_view, vtl, 16, "view.vtl"),
	PART(WIRE_REGISTER, register_message, views[0], wire_view, abi, KVMATTR_N_ABIS, "view.abi"),
	PART(WIRE_REGISTER, register_message, views[1], wire_view, has_stats, 2, "view.has_stats"),
	PART(WIRE_REGISTER, register_message, views[0], wire_view, reserved, 1, "view.reserved"),
	PART(WIRE_REGISTER, register_message, views[1], wire_view, reserved2, 1, "view.reserved"),
	PART(WIRE_REGISTER, register_message, views[1], wire_view, supported, 1, "view.supported"),
	PART(WIRE_REGISTER, register_message, ram[1], wire_ram, private, 2, "ram.private"),
	PART(WIRE_REGISTER, register_message, ram[0], wire_ram, reserved, 1, "ram.reserved"),
	FIELD(WIRE_REGISTERED, wire_registered, executor, 0, "executor"),
	FIELD(WIRE_REGISTERED, wire_registered, executor, 3, "executor"),
	FIELD(WIRE_REGISTERED, wire_registered, n_views, 0, "n_views"),
	FIELD(WIRE_REGISTERED, wire_registered, n_views, UINT32_MAX, "n_views"),
	FIELD(WIRE_REGISTERED, wire_registered, n_views, 3, "header.size"),
	PART(WIRE_REGISTERED, registered_message, views[1], wire_view, vtl, 255, "view.vtl"),
	PART(WIRE_REGISTERED, registered_message, views[1], wire_view, abi, 0, "view.abi"),
	PART(WIRE_REGISTERED, registered_message, views[1], wire_view, abi, 5, "view.abi"),
	PART(WIRE_REGISTERED, registered_message, views[1], wire_view, has_stats, 1,
	     "view.has_stats"),
	PART(WIRE_REGISTERED, registered_message, views[1], wire_view, reserved, 9,
	     "view.reserved"),
	PART(WIRE_REGISTERED, registered_message, views[1], wire_view, reserved2, 9,
	     "view.reserved"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 0, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 2, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 4, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 1000, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, UINT32_MAX, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, reserved, 1, "reserved"),
	PART(WIRE_UPDATE, update_message, pages, wire_update, kind, 0, "update.kind"),
	PART(WIRE_UPDATE, update_message, pages, wire_update, kind, KVMATTR_N_UPDATE_KINDS,
	     "update.kind"),
	PART(WIRE_UPDATE, update_message, ranges, wire_update, kind, 255, "update.kind"),
	PART(WIRE_UPDATE, update_message, ranges, wire_update, form, 3, "update.form"),
	PART(WIRE_UPDATE, update_message, reset, wire_update, mbec, 2, "update.mbec"),
	PART(WIRE_UPDATE, update_message, reset, wire_update, reserved, 1, "update.reserved"),
	PART(WIRE_UPDATE, update_message, reset, wire_update, reserved2, 1, "update.reserved"),
	PART(WIRE_UPDATE, update_message, pages, wire_update, n_elements, 0, "update.n_elements"),
	PART(WIRE_UPDATE, update_message, pages, wire_update, form, 0, "update.n_elements"),
	PART(WIRE_UPDATE, update_message, reset, wire_update, n_elements, 1, "update.n_elements"),
	PART(WIRE_UPDATE, update_message, ranges, wire_update, n_elements, 4, "update.n_elements"),
	PART(WIRE_UPDATE, update_message, ranges, wire_update, n_elements, 0x10000000,
	     "update.n_elements"),
	PART(WIRE_UPDATE, update_message, ranges, wire_update, n_elements, UINT32_MAX,
	     "update.n_elements"),
	PART(WIRE_UPDATE, update_message, pages, wire_update, n_elements, 0x20000000,
	     "update.n_elements"),
	FIELD(WIRE_ANSWER, wire_answer, reserved, 1, "reserved"),
	FIELD(WIRE_ANSWER, wire_answer, n_failures, 0, "n_failures"),
	FIELD(WIRE_ANSWER, wire_answer, n_failures, 3, "n_failures"),
	FIELD(WIRE_ANSWER, wire_answer, n_failures, 0x2000002, "n_failures"), /* wraps 32 bits */
	PART(WIRE_ANSWER, answer_message, failures[1], wire_failure, status, 0, "failure.status"),
	PART(WIRE_ANSWER, answer_message, failures[1], wire_failure, status, 99, "failure.status"),
	FIELD(WIRE_RUNS, wire_runs, reserved, 1, "reserved"),
	FIELD(WIRE_RUNS, wire_runs, n_runs, 1, "n_runs"),
	FIELD(WIRE_RUNS, wire_runs, n_runs, UINT32_MAX, "n_runs"),
	PART(WIRE_RUNS, runs_message, runs[0], wire_run, attributes, 0x20, "run.attributes"),
	PART(WIRE_RUNS, runs_message, runs[1], wire_run, state, 3, "run.state"),
	FIELD(WIRE_EXPLAIN, wire_explain, access, 0x10, "access"),
	FIELD(WIRE_EXPLAIN, wire_explain, reserved, 1, "reserved"),
	FIELD(WIRE_EXPLAIN, wire_explain, reserved2, 1, "reserved"),
	FIELD(WIRE_EXPLAINED, wire_explained, allowed, 2, "allowed"),
	FIELD(WIRE_EXPLAINED, wire_explained, layer, 16, "layer"),
	FIELD(WIRE_EXPLAINED, wire_explained, attributes, 0x20, "attributes"),
	FIELD(WIRE_EXPLAINED, wire_explained, state, 3, "state"),
	FIELD(WIRE_EXPLAINED, wire_explained, reserved, 1, "reserved"),
	FIELD(WIRE_RESTARTED, wire_header, id, 0, "header.id"),
	FIELD(WIRE_RESUME, wire_resume, n_views, 0, "n_views"),
	FIELD(WIRE_RESUME, wire_resume, n_views, 3, "n_views"),
	FIELD(WIRE_RESUME, wire_resume, n_views, KVMATTR_N_VTLS + 1, "n_views"),
	FIELD(WIRE_RESUME, wire_resume, n_views, 0x10000002, "n_views"), /* wraps 32 bits */
	FIELD(WIRE_RESUME, wire_resume, reserved, 1, "reserved"),
	PART(WIRE_RESUME, resume_message, views[1], wire_view, vtl, 16, "view.vtl"),
	PART(WIRE_RESUME, resume_message, views[0], wire_view, abi, KVMATTR_N_ABIS, "view.abi"),
	PART(WIRE_RESUME, resume_message, views[0], wire_view, has_stats, 2, "view.has_stats"),
	PART(WIRE_RESUME, resume_message, views[0], wire_view, reserved, 1, "view.reserved"),
	PART(WIRE_RESUME, resume_message, views[1], wire_view, reserved2, 1, "view.reserved"),
	PART(WIRE_RESUME, resume_message, views[1], wire_view, supported, 1, "view.supported"),
	FIELD(WIRE_RESUMED, wire_resumed, executor, 0, "n_views"),
	FIELD(WIRE_RESUMED, wire_resumed, executor, 3, "executor"),
	FIELD(WIRE_RESUMED, wire_resumed, n_views, 0, "n_views"),
	FIELD(WIRE_RESUMED, wire_resumed, n_views, 1, "header.size"),
	FIELD(WIRE_RESUMED, wire_resumed, n_views, KVMATTR_N_VTLS + 1, "n_views"),
	FIELD(WIRE_RESUMED, wire_resumed, n_views, UINT32_MAX, "n_views"),
	PART(WIRE_RESUMED, resumed_message, views[1], wire_view, vtl, 16, "view.vtl"),
	PART(WIRE_RESUMED, resumed_message, views[1], wire_view, abi, 0, "view.abi"),
	PART(WIRE_RESUMED, resumed_message, views[1], wire_view, abi, 5, "view.abi"),
	PART(WIRE_RESUMED, resumed_message, views[0], wire_view, has_stats, 1, "view.has_stats"),
	PART(WIRE_RESUMED, resumed_message, views[0], wire_view, reserved, 9, "view.reserved"),
	PART(WIRE_RESUMED, resumed_message, views[0], wire_view, reserved2, 9, "view.reserved"),
	FIELD(WIRE_PROBE, wire_probe, n_targets, 0, "n_targets"),
	FIELD(WIRE_PROBE, wire_probe, n_targets, KVMATTR_N_VTLS + 1, "n_targets"),
	FIELD(WIRE_PROBE, wire_probe, reserved, 1, "reserved"),
	FIELD(WIRE_PROBED, wire_probed, n_targets, 0, "n_targets"),
	FIELD(WIRE_PROBED, wire_probed, n_targets, 3, "n_targets"),
	FIELD(WIRE_PROBED, wire_probed, n_targets, UINT32_MAX, "n_targets"),
	FIELD(WIRE_PROBED, wire_probed, reserved, 1, "reserved"),
	PART(WIRE_PROBED, probed_message, results[0], wire_probe_result, v10_errno, UINT32_MAX,
	     "result.v10_errno"),
	PART(WIRE_PROBED, probed_message, results[1], wire_probe_result, cap_errno, UINT32_MAX,
	     "result.cap_errno"),
	FIELD(WIRE_CALLS, wire_calls, reserved, 1, "reserved"),
	FIELD(WIRE_CALLS, wire_calls, n_calls, 0, "n_calls"),
	FIELD(WIRE_CALLS, wire_calls, n_calls, 1, "n_calls"),
	FIELD(WIRE_CALLS, wire_calls, n_calls, 0x8000002, "n_calls"), /* wraps 32 bits */
	PART(WIRE_CALLS, calls_message, calls[0], wire_call, abi, 0, "call.abi"),
	PART(WIRE_CALLS, calls_message, calls[0], wire_call, abi, 5, "call.abi"),
	PART(WIRE_CALLS, calls_message, calls[0], wire_call, size, 0, "call.size"),
	PART(WIRE_CALLS, calls_message, calls[0], wire_call, size, 4097, "call.size"),
	PART(WIRE_CALLS, calls_message, calls[0], wire_call, gpa, 1, "call.gpa"),
	PART(WIRE_CALLS, calls_message, calls[1], wire_call, size, 0x2000,
	     "call.gpa"), /* ends at 2^64 */
	PART(WIRE_CALLS, calls_message, calls[1], wire_call, size, UINT64_MAX - 0xfff, "call.gpa"),
	PART(WIRE_CALLS, calls_message, calls[1], wire_call, reserved, 1, "call.reserved"),
	FIELD(WIRE_CALLED, wire_called, error, UINT32_MAX, "error"),
	FIELD(WIRE_CALLED, wire_called, partial, 5, "partial"),
};

START_TEST(a_field_that_makes_no_sense_is_named)
{
	const struct wrong *wrong = &wrongs[_i];
	size_t i = message_find(wrong->type);
	struct bytes whole = message_make(i, messages[i].size);
	const char *bad;

	memcpy(whole.data + wrong->offset, &wrong->value, wrong->size);
	bad = message_read(wrong->type, whole.data, whole.size);
	ck_assert_msg(bad && !strcmp(bad, wrong->field),
		      "%s, bytes at %zu 0x%llx: %s instead of %s", messages[i].name, wrong->offset,
		      (unsigned long long)wrong->value, bad ? bad : "taken", wrong->field);
	free(whole.data);
}
END_TEST

/* A text that ends with its field has no room for its NUL. */
START_TEST(a_text_without_an_end_is_refused)
{
	static const struct {
		uint16_t type;
		size_t offset, size;
		const char *field;
	} texts[] = {
		{ WIRE_HELLO, offsetof(struct wire_hello, peer), 40, "peer" },
		{ WIRE_WELCOME, offsetof(struct wire_welcome, vm), 64, "vm" },
		{ WIRE_WELCOME, offsetof(struct wire_welcome, daemon), 32, "daemon" },
		{ WIRE_WELCOME, offsetof(struct wire_welcome, agent_socket), 108, "agent_socket" },
		{ WIRE_ERROR, offsetof(struct wire_notice, text), 256, "text" },
		{ WIRE_REGISTER, offsetof(struct wire_register, name), 64, "name" },
		{ WIRE_ANSWER,
		  offsetof(struct answer_message, failures) + offsetof(struct wire_failure, text),
		  112, "failure.text" },
	};

	for (size_t t = 0; t < N(texts); t++) {
		size_t i = message_find(texts[t].type);
		struct bytes whole = message_make(i, messages[i].size);

		memset(whole.data + texts[t].offset, '/', texts[t].size);
		ck_assert_str_eq(message_read(texts[t].type, whole.data, whole.size),
				 texts[t].field);
		whole.data[texts[t].offset + texts[t].size - 1] = 0;
		ck_assert_ptr_null(message_read(texts[t].type, whole.data, whole.size));
		free(whole.data);
	}
}
END_TEST

int main(void)
{
	TCase *all = tcase_create("fields");

	tcase_add_loop_test(all, a_field_that_makes_no_sense_is_named, 0, N(wrongs));
	tcase_add_test(all, a_text_without_an_end_is_refused);
	return seeded_suite_run("wire-fields", (TCase *[]){ all, NULL });
}
