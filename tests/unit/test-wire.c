/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every message of the protocol: well-formed it is taken, with a byte less or more or with a field
 * that makes no sense it is refused by that field's name, and no bytes whatever do harm.
 */
#include "protocol/wire.h"
#include "tests/unit/seeded-suite.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message on the heap, as long as it is, so that reading past it is seen. */
struct bytes {
	uint8_t *data;
	size_t size;
};

static struct bytes zeros(size_t size)
{
	struct bytes ret = { calloc(1, size ? size : 1), size };

	ck_assert_ptr_nonnull(ret.data);
	return ret;
}

/* ---- One reader for all types: the whole message, its parts and their end ---------------------- */

union fixed {
	struct wire_header header;
	struct wire_hello hello;
	struct wire_welcome welcome;
	struct wire_notice notice;
	struct wire_register registration;
	struct wire_registered registered;
	struct wire_update_list update_list;
	struct wire_answer answer;
	struct wire_query query;
	struct wire_runs runs;
	struct wire_explain explain;
	struct wire_explained explained;
	struct wire_open_agent open_agent;
	struct wire_probe probe;
	struct wire_probed probed;
	struct wire_calls calls;
	struct wire_called called;
};

static const char *read_register(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_register(data, size, &m->registration);
	struct wire_view view;
	struct wire_ram ram;

	for (uint32_t i = 0; !bad && i < m->registration.n_views; i++)
		bad = wire_at_register_view(data, &m->registration, i, &view);
	for (uint32_t i = 0; !bad && i < m->registration.n_ram; i++)
		bad = wire_at_register_ram(data, &m->registration, i, &ram);
	return bad;
}

static const char *read_registered(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_registered(data, size, &m->registered);
	struct wire_view view;

	for (uint32_t i = 0; !bad && i < m->registered.n_views; i++)
		bad = wire_at_registered_view(data, i, &view);
	return bad;
}

static const char *read_updates(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_update_list(data, size, &m->update_list);
	size_t offset = sizeof(m->update_list);

	for (uint32_t i = 0; !bad && i < m->update_list.n_updates; i++) {
		struct wire_update update;
		const uint8_t *elements;

		bad = wire_next_update(data, size, &offset, &update, &elements);
		if (bad)
			break;
		ck_assert_uint_le(offset, size);
		if (!update.n_elements)
			continue;
		/* The last one is within the message, too. */
		if (update.form == WIRE_FORM_PAGES)
			(void)wire_page_at(elements, update.n_elements - 1);
		else
			(void)wire_range_at(elements, update.n_elements - 1);
	}
	return bad ? bad : offset == size ? NULL : "n_updates";
}

static const char *read_answer(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_answer(data, size, &m->answer);
	struct wire_failure failure;

	for (uint32_t i = 0; !bad && i < m->answer.n_failures; i++)
		bad = wire_at_failure(data, i, &failure);
	return bad;
}

static const char *read_runs(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_runs(data, size, &m->runs);
	struct wire_run run;

	for (uint32_t i = 0; !bad && i < m->runs.n_runs; i++)
		bad = wire_at_run(data, i, &run);
	return bad;
}

static const char *read_probed(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_probed(data, size, &m->probed);
	struct wire_probe_result result;

	for (uint32_t i = 0; !bad && i < m->probed.n_targets; i++)
		bad = wire_at_probe_result(data, i, &result);
	return bad;
}

static const char *read_calls(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_calls(data, size, &m->calls);
	struct wire_call call;

	for (uint32_t i = 0; !bad && i < m->calls.n_calls; i++)
		bad = wire_at_call(data, i, &call);
	return bad;
}

static const char *read_message(uint16_t type, const void *data, size_t size)
{
	union fixed m;
	const char *bad = wire_get_header(data, size, &m.header);

	if (bad)
		return bad;
	switch (type) {
	case WIRE_HELLO:
		return wire_get_hello(data, size, &m.hello);
	case WIRE_WELCOME:
		return wire_get_welcome(data, size, &m.welcome);
	case WIRE_ERROR:
	case WIRE_BYE:
		return wire_get_notice(data, size, &m.notice);
	case WIRE_REGISTER:
		return read_register(data, size, &m);
	case WIRE_REGISTERED:
		return read_registered(data, size, &m);
	case WIRE_UPDATE:
		return read_updates(data, size, &m);
	case WIRE_ANSWER:
		return read_answer(data, size, &m);
	case WIRE_QUERY:
		return wire_get_query(data, size, &m.query);
	case WIRE_RUNS:
		return read_runs(data, size, &m);
	case WIRE_EXPLAIN:
		return wire_get_explain(data, size, &m.explain);
	case WIRE_EXPLAINED:
		return wire_get_explained(data, size, &m.explained);
	case WIRE_OPEN_AGENT:
		return wire_get_open_agent(data, size, &m.open_agent);
	case WIRE_PROBE:
		return wire_get_probe(data, size, &m.probe);
	case WIRE_PROBED:
		return read_probed(data, size, &m);
	case WIRE_CALLS:
		return read_calls(data, size, &m);
	case WIRE_CALLED:
		return wire_get_called(data, size, &m.called);
	default:
		return NULL; /* AGENT_OPENED is a header */
	}
}

/* ---- A well-formed message of each type -------------------------------------------------------- */

#define VIEW(v, a, s)                                    \
	{                                                \
		.vtl = (v), .abi = (a), .supported = (s) \
	}

static const struct {
	struct wire_register m;
	struct wire_view views[2];
	struct wire_ram ram[2];
} registration = {
	{ .name = "vm.0_A-z", .n_views = 2, .n_ram = 2 },
	{ VIEW(0, KVMATTR_ABI_PROBE, 0), VIEW(15, KVMATTR_ABI_V10NA, 0) },
	{ { .n_pages = 160 }, { .gfn = 0x100000, .n_pages = 4, .private = 1 } },
};

static const struct {
	struct wire_registered m;
	struct wire_view views[2];
} registered = {
	{ .executor = WIRE_EXECUTOR_DAEMON, .n_views = 2 },
	{ VIEW(0, KVMATTR_ABI_DENY, 0xf), VIEW(1, KVMATTR_ABI_MAINLINE, 8) },
};

static const struct {
	struct wire_update_list m;
	struct wire_update pages;
	uint64_t gfns[3];
	struct wire_update ranges;
	struct kvmattr_range range[2];
	struct wire_update reset;
} updates = {
	{ .n_updates = 3 },
	{ .kind = KVMATTR_PROTECT,
	  .form = WIRE_FORM_PAGES,
	  .layer = 1,
	  .restricted = 0xffff,
	  .value = KVMATTR_RX,
	  .n_elements = 3 },
	{ 5, 6, UINT64_MAX },
	{ .kind = KVMATTR_LOCK, .form = WIRE_FORM_RANGES, .n_elements = 2 },
	{ { 5, 6 }, { UINT64_MAX, UINT64_MAX } },
	{ .kind = KVMATTR_RESET_LAYER, .layer = 1 },
};

static const struct {
	struct wire_answer m;
	struct wire_failure failures[2];
} answer = {
	{ .commit = 7, .n_failures = 2 },
	{ { .seqno = 3, .status = KVMATTR_VERSION_MISMATCH, .text = "why" },
	  { .seqno = 4, .status = KVMATTR_INVALID_PARAMETER, .n_in_force = 4 } },
};

static const struct {
	struct wire_runs m;
	struct wire_run runs[2];
} runs = {
	{ .next_gfn = 9, .n_runs = 2 },
	{ { .gfn = 1, .n_pages = 2, .attributes = 0x1f, .state = WIRE_UNKNOWN },
	  { .gfn = 5, .n_pages = 1 } },
};

static const struct {
	struct wire_probed m;
	struct wire_probe_result results[2];
} probed = {
	{ .n_targets = 2 },
	{ { .v10_errno = 25, .cap = 0xf }, { .v10_supported = 0x1f, .cap_errno = 5 } },
};

static const struct {
	struct wire_calls m;
	struct wire_call calls[2];
} calls = {
	{ .n_calls = 2 },
	{ { .size = 4096, .attributes = 7, .abi = KVMATTR_ABI_MAINLINE },
	  { .gpa = UINT64_MAX - 0x1fff,
	    .size = 0x1000,
	    .target = 65535,
	    .abi = KVMATTR_ABI_V10NA } },
};

static const struct wire_hello hello = {
	.magic = WIRE_MAGIC, .version_min = 1, .version_max = 3, .peer = "a peer ~"
};
static const struct wire_welcome welcome = { .version = 1,
					     .role = WIRE_ROLE_AGENT,
					     .vtl = 15,
					     .rights = WIRE_RIGHTS,
					     .max_message = WIRE_MAX_MESSAGE,
					     .max_updates_in_flight = 1,
					     .vm = "vm",
					     .daemon = "kvmattrd 1" };
static const struct wire_notice notice = { .status = KVMATTR_VERSION_MISMATCH,
					   .closing = 1,
					   .text = "why" };
static const struct wire_query query = { .gfn = 1, .n_pages = 2 };
static const struct wire_explain explain = { .gfn = 1, .vtl = 3, .access = 0xf };
static const struct wire_explained explained = {
	.allowed = 1, .layer = 15, .denying = 0xffff, .attributes = 0x1f, .state = WIRE_UNKNOWN
};
static const struct wire_open_agent open_agent = { .vtl = 1, .rights = 1 };
static const struct wire_header agent_opened = { 0 };
static const struct wire_probe probe = { .n_targets = KVMATTR_N_VTLS };
static const struct wire_called called = { .n_done = 2, .error = 12, .partial = 0x3000 };

static const struct {
	uint16_t type;
	const char *name;
	const void *message;
	size_t size;
} messages[] = {
	{ WIRE_HELLO, "hello", &hello, sizeof(hello) },
	{ WIRE_WELCOME, "welcome", &welcome, sizeof(welcome) },
	{ WIRE_ERROR, "error", &notice, sizeof(notice) },
	{ WIRE_BYE, "bye", &notice, sizeof(notice) },
	{ WIRE_REGISTER, "register", &registration, sizeof(registration) },
	{ WIRE_REGISTERED, "registered", &registered, sizeof(registered) },
	{ WIRE_UPDATE, "update", &updates, sizeof(updates) },
	{ WIRE_ANSWER, "answer", &answer, sizeof(answer) },
	{ WIRE_QUERY, "query", &query, sizeof(query) },
	{ WIRE_RUNS, "runs", &runs, sizeof(runs) },
	{ WIRE_EXPLAIN, "explain", &explain, sizeof(explain) },
	{ WIRE_EXPLAINED, "explained", &explained, sizeof(explained) },
	{ WIRE_OPEN_AGENT, "open-agent", &open_agent, sizeof(open_agent) },
	{ WIRE_AGENT_OPENED, "agent-opened", &agent_opened, sizeof(agent_opened) },
	{ WIRE_PROBE, "probe", &probe, sizeof(probe) },
	{ WIRE_PROBED, "probed", &probed, sizeof(probed) },
	{ WIRE_CALLS, "calls", &calls, sizeof(calls) },
	{ WIRE_CALLED, "called", &called, sizeof(called) },
};

/* The i-th of them, with its header, cut or extended to size. */
static struct bytes make(size_t i, size_t size)
{
	struct wire_header header = wire_header_make(messages[i].type, messages[i].size, 77);
	struct bytes ret = zeros(size);

	memcpy(ret.data, messages[i].message, size < messages[i].size ? size : messages[i].size);
	if (size >= sizeof(header)) {
		header.size = (uint32_t)size; /* it does not lie about its size: that is easy */
		memcpy(ret.data, &header, sizeof(header));
	}
	return ret;
}

START_TEST(a_well_formed_message_is_taken)
{
	struct bytes whole = make((size_t)_i, messages[_i].size);
	const char *bad = read_message(messages[_i].type, whole.data, whole.size);

	ck_assert_msg(!bad, "%s: %s is wrong", messages[_i].name, bad);
	free(whole.data);
}
END_TEST

START_TEST(a_message_cut_anywhere_is_refused)
{
	for (size_t size = 0; size < messages[_i].size; size++) {
		struct bytes cut = make((size_t)_i, size);

		ck_assert_msg(read_message(messages[_i].type, cut.data, cut.size),
			      "%s of %zu bytes instead of %zu was taken", messages[_i].name, size,
			      messages[_i].size);
		free(cut.data);
	}
}
END_TEST

START_TEST(a_message_with_bytes_behind_it_is_refused)
{
	for (size_t more = 1; more < 300; more++) {
		struct bytes extended = make((size_t)_i, messages[_i].size + more);

		if (messages[_i].type != WIRE_AGENT_OPENED)
			ck_assert_msg(read_message(messages[_i].type, extended.data, extended.size),
				      "%s with %zu more bytes was taken", messages[_i].name, more);
		free(extended.data);
	}
}
END_TEST

START_TEST(a_header_that_lies_about_the_size_is_refused)
{
	struct bytes whole = make((size_t)_i, messages[_i].size);
	static const uint32_t wrong[] = { 0, 1, 15, 16, WIRE_MAX_MESSAGE, UINT32_MAX };
	struct wire_header header, ignored;

	for (size_t w = 0; w < N(wrong); w++) {
		memcpy(&header, whole.data, sizeof(header));
		header.size = wrong[w];
		memcpy(whole.data, &header, sizeof(header));
		if (wrong[w] != whole.size)
			ck_assert_str_eq(wire_get_header(whole.data, whole.size, &ignored),
					 "header.size");
	}
	free(whole.data);
}
END_TEST

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
#define PART(type, message, part, structure, field, value, name)                               \
	{                                                                                      \
		type, offsetof(__typeof__(message), part) + offsetof(struct structure, field), \
			sizeof(((struct structure *)0)->field), value, name                    \
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
	FIELD(WIRE_ERROR, wire_notice, status, KVMATTR_N_STATUSES, "status"),
	FIELD(WIRE_ERROR, wire_notice, closing, 2, "closing"),
	FIELD(WIRE_BYE, wire_notice, status, UINT32_MAX, "status"),
	FIELD(WIRE_REGISTER, wire_register, name[0], 0, "name"),
	FIELD(WIRE_REGISTER, wire_register, name[0], '.', "name"),
	FIELD(WIRE_REGISTER, wire_register, name[0], '-', "name"),
	FIELD(WIRE_REGISTER, wire_register, name[1], '/', "name"),
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
	PART(WIRE_REGISTER, registration, views[1], wire_view, vtl, 16, "view.vtl"),
	PART(WIRE_REGISTER, registration, views[0], wire_view, abi, KVMATTR_N_ABIS, "view.abi"),
	PART(WIRE_REGISTER, registration, views[0], wire_view, reserved, 1, "view.reserved"),
	PART(WIRE_REGISTER, registration, views[1], wire_view, reserved2, 1, "view.reserved"),
	PART(WIRE_REGISTER, registration, views[1], wire_view, supported, 1, "view.supported"),
	PART(WIRE_REGISTER, registration, ram[1], wire_ram, private, 2, "ram.private"),
	PART(WIRE_REGISTER, registration, ram[0], wire_ram, reserved, 1, "ram.reserved"),
	FIELD(WIRE_REGISTERED, wire_registered, executor, 0, "executor"),
	FIELD(WIRE_REGISTERED, wire_registered, executor, 3, "executor"),
	FIELD(WIRE_REGISTERED, wire_registered, n_views, 0, "n_views"),
	FIELD(WIRE_REGISTERED, wire_registered, n_views, UINT32_MAX, "n_views"),
	FIELD(WIRE_REGISTERED, wire_registered, n_views, 3, "header.size"),
	PART(WIRE_REGISTERED, registered, views[1], wire_view, vtl, 255, "view.vtl"),
	PART(WIRE_REGISTERED, registered, views[1], wire_view, abi, 0, "view.abi"),
	PART(WIRE_REGISTERED, registered, views[1], wire_view, abi, 5, "view.abi"),
	PART(WIRE_REGISTERED, registered, views[1], wire_view, reserved, 9, "view.reserved"),
	PART(WIRE_REGISTERED, registered, views[1], wire_view, reserved2, 9, "view.reserved"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 0, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 2, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 4, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, 1000, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, n_updates, UINT32_MAX, "n_updates"),
	FIELD(WIRE_UPDATE, wire_update_list, reserved, 1, "reserved"),
	PART(WIRE_UPDATE, updates, pages, wire_update, kind, 0, "update.kind"),
	PART(WIRE_UPDATE, updates, pages, wire_update, kind, KVMATTR_N_UPDATE_KINDS, "update.kind"),
	PART(WIRE_UPDATE, updates, ranges, wire_update, kind, 255, "update.kind"),
	PART(WIRE_UPDATE, updates, ranges, wire_update, form, 3, "update.form"),
	PART(WIRE_UPDATE, updates, reset, wire_update, mbec, 2, "update.mbec"),
	PART(WIRE_UPDATE, updates, reset, wire_update, reserved, 1, "update.reserved"),
	PART(WIRE_UPDATE, updates, reset, wire_update, reserved2, 1, "update.reserved"),
	PART(WIRE_UPDATE, updates, pages, wire_update, n_elements, 0, "update.n_elements"),
	PART(WIRE_UPDATE, updates, pages, wire_update, form, 0, "update.n_elements"),
	PART(WIRE_UPDATE, updates, reset, wire_update, n_elements, 1, "update.n_elements"),
	PART(WIRE_UPDATE, updates, ranges, wire_update, n_elements, 4, "update.n_elements"),
	PART(WIRE_UPDATE, updates, ranges, wire_update, n_elements, 0x10000000,
	     "update.n_elements"),
	PART(WIRE_UPDATE, updates, ranges, wire_update, n_elements, UINT32_MAX,
	     "update.n_elements"),
	PART(WIRE_UPDATE, updates, pages, wire_update, n_elements, 0x20000000, "update.n_elements"),
	FIELD(WIRE_ANSWER, wire_answer, reserved, 1, "reserved"),
	FIELD(WIRE_ANSWER, wire_answer, n_failures, 0, "n_failures"),
	FIELD(WIRE_ANSWER, wire_answer, n_failures, 3, "n_failures"),
	FIELD(WIRE_ANSWER, wire_answer, n_failures, 0x2000002, "n_failures"), /* wraps 32 bits */
	PART(WIRE_ANSWER, answer, failures[1], wire_failure, status, 0, "failure.status"),
	PART(WIRE_ANSWER, answer, failures[1], wire_failure, status, 99, "failure.status"),
	FIELD(WIRE_RUNS, wire_runs, reserved, 1, "reserved"),
	FIELD(WIRE_RUNS, wire_runs, n_runs, 1, "n_runs"),
	FIELD(WIRE_RUNS, wire_runs, n_runs, UINT32_MAX, "n_runs"),
	PART(WIRE_RUNS, runs, runs[0], wire_run, attributes, 0x20, "run.attributes"),
	PART(WIRE_RUNS, runs, runs[1], wire_run, state, 3, "run.state"),
	FIELD(WIRE_EXPLAIN, wire_explain, access, 0x10, "access"),
	FIELD(WIRE_EXPLAIN, wire_explain, reserved, 1, "reserved"),
	FIELD(WIRE_EXPLAIN, wire_explain, reserved2, 1, "reserved"),
	FIELD(WIRE_EXPLAINED, wire_explained, allowed, 2, "allowed"),
	FIELD(WIRE_EXPLAINED, wire_explained, layer, 16, "layer"),
	FIELD(WIRE_EXPLAINED, wire_explained, attributes, 0x20, "attributes"),
	FIELD(WIRE_EXPLAINED, wire_explained, state, 3, "state"),
	FIELD(WIRE_EXPLAINED, wire_explained, reserved, 1, "reserved"),
	FIELD(WIRE_PROBE, wire_probe, n_targets, 0, "n_targets"),
	FIELD(WIRE_PROBE, wire_probe, n_targets, KVMATTR_N_VTLS + 1, "n_targets"),
	FIELD(WIRE_PROBE, wire_probe, reserved, 1, "reserved"),
	FIELD(WIRE_PROBED, wire_probed, n_targets, 0, "n_targets"),
	FIELD(WIRE_PROBED, wire_probed, n_targets, 3, "n_targets"),
	FIELD(WIRE_PROBED, wire_probed, n_targets, UINT32_MAX, "n_targets"),
	FIELD(WIRE_PROBED, wire_probed, reserved, 1, "reserved"),
	PART(WIRE_PROBED, probed, results[0], wire_probe_result, v10_errno, UINT32_MAX,
	     "result.v10_errno"),
	PART(WIRE_PROBED, probed, results[1], wire_probe_result, cap_errno, UINT32_MAX,
	     "result.cap_errno"),
	FIELD(WIRE_CALLS, wire_calls, reserved, 1, "reserved"),
	FIELD(WIRE_CALLS, wire_calls, n_calls, 0, "n_calls"),
	FIELD(WIRE_CALLS, wire_calls, n_calls, 1, "n_calls"),
	FIELD(WIRE_CALLS, wire_calls, n_calls, 0x8000002, "n_calls"), /* wraps 32 bits */
	PART(WIRE_CALLS, calls, calls[0], wire_call, abi, 0, "call.abi"),
	PART(WIRE_CALLS, calls, calls[0], wire_call, abi, 5, "call.abi"),
	PART(WIRE_CALLS, calls, calls[0], wire_call, size, 0, "call.size"),
	PART(WIRE_CALLS, calls, calls[0], wire_call, size, 4097, "call.size"),
	PART(WIRE_CALLS, calls, calls[0], wire_call, gpa, 1, "call.gpa"),
	PART(WIRE_CALLS, calls, calls[1], wire_call, size, 0x2000, "call.gpa"), /* ends at 2^64 */
	PART(WIRE_CALLS, calls, calls[1], wire_call, size, UINT64_MAX - 0xfff, "call.gpa"),
	PART(WIRE_CALLS, calls, calls[1], wire_call, reserved, 1, "call.reserved"),
	FIELD(WIRE_CALLED, wire_called, error, UINT32_MAX, "error"),
	FIELD(WIRE_CALLED, wire_called, partial, 5, "partial"),
};

static size_t find_message(uint16_t type)
{
	for (size_t i = 0; i < N(messages); i++)
		if (messages[i].type == type)
			return i;
	ck_abort_msg("type %u", type);
}

START_TEST(a_field_that_makes_no_sense_is_named)
{
	const struct wrong *wrong = &wrongs[_i];
	size_t i = find_message(wrong->type);
	struct bytes whole = make(i, messages[i].size);
	const char *bad;

	memcpy(whole.data + wrong->offset, &wrong->value, wrong->size);
	bad = read_message(wrong->type, whole.data, whole.size);
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
		{ WIRE_ERROR, offsetof(struct wire_notice, text), 256, "text" },
		{ WIRE_REGISTER, offsetof(struct wire_register, name), 64, "name" },
		{ WIRE_ANSWER,
		  offsetof(__typeof__(answer), failures) + offsetof(struct wire_failure, text), 112,
		  "failure.text" },
	};

	for (size_t t = 0; t < N(texts); t++) {
		size_t i = find_message(texts[t].type);
		struct bytes whole = make(i, messages[i].size);

		memset(whole.data + texts[t].offset, 'a', texts[t].size);
		ck_assert_str_eq(read_message(texts[t].type, whole.data, whole.size),
				 texts[t].field);
		whole.data[texts[t].offset + texts[t].size - 1] = 0;
		ck_assert_ptr_null(read_message(texts[t].type, whole.data, whole.size));
		free(whole.data);
	}
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------------- */

START_TEST(a_message_may_be_as_large_as_its_parts_at_their_limits)
{
	struct bytes large = zeros(WIRE_MAX_MESSAGE);
	struct wire_calls most = { .n_calls = WIRE_MAX_CALLS };
	struct wire_register m = { .name = "a", .n_views = KVMATTR_N_VTLS, .n_ram = WIRE_MAX_RAM };
	struct wire_update_list list = { .n_updates = 1 };
	struct wire_update update = { .kind = KVMATTR_PROTECT, .form = WIRE_FORM_PAGES };
	size_t size;

	size = sizeof(most) + WIRE_MAX_CALLS * sizeof(struct wire_call);
	most.header = wire_header_make(WIRE_CALLS, size, 1);
	memcpy(large.data, &most, sizeof(most));
	for (size_t i = 0; i < WIRE_MAX_CALLS; i++)
		memcpy(large.data + sizeof(most) + i * sizeof(struct wire_call), &calls.calls[0],
		       sizeof(struct wire_call));
	ck_assert_ptr_null(read_message(WIRE_CALLS, large.data, size));

	memset(large.data, 0, large.size);
	size = sizeof(m) + m.n_views * sizeof(struct wire_view) + m.n_ram * sizeof(struct wire_ram);
	ck_assert_uint_le(size, WIRE_MAX_MESSAGE);
	m.header = wire_header_make(WIRE_REGISTER, size, 1);
	memcpy(large.data, &m, sizeof(m));
	ck_assert_ptr_null(read_message(WIRE_REGISTER, large.data, size));

	size = sizeof(list) + sizeof(update);
	update.n_elements = (uint32_t)((WIRE_MAX_MESSAGE - size) / sizeof(uint64_t));
	size += update.n_elements * sizeof(uint64_t);
	list.header = wire_header_make(WIRE_UPDATE, size, 1);
	memcpy(large.data, &list, sizeof(list));
	memcpy(large.data + sizeof(list), &update, sizeof(update));
	ck_assert_ptr_null(read_message(WIRE_UPDATE, large.data, size));
	free(large.data);
}
END_TEST

START_TEST(elements_are_read_as_they_were_written)
{
	const uint8_t *pages = (const uint8_t *)updates.gfns;
	const uint8_t *ranges = (const uint8_t *)updates.range;
	uint8_t unaligned[1 + sizeof(updates.range)];

	ck_assert_uint_eq(wire_page_at(pages, 0), 5);
	ck_assert_uint_eq(wire_page_at(pages, 2), UINT64_MAX);
	ck_assert_uint_eq(wire_range_at(ranges, 0).n_pages, 6);
	ck_assert_uint_eq(wire_range_at(ranges, 1).gfn, UINT64_MAX);
	memcpy(unaligned + 1, ranges, sizeof(updates.range));
	ck_assert_uint_eq(wire_range_at(unaligned + 1, 0).gfn, 5);
	ck_assert_uint_eq(wire_element_size(WIRE_FORM_NONE), 0);
	ck_assert_uint_eq(wire_element_size(WIRE_FORM_PAGES), 8);
	ck_assert_uint_eq(wire_element_size(WIRE_FORM_RANGES), 16);
	ck_assert_uint_eq(wire_element_size(3), 0);
}
END_TEST

/* ---- Anything at all ------------------------------------------------------------------------------- */

/* The sanitizers and valgrind see a byte read that is not there. */
START_TEST(random_bytes_do_no_harm)
{
	uint64_t random = seeded_suite_random(_i);

	for (unsigned int round = 0; round < 3000; round++) {
		size_t size = random_below(&random, random_one_in(&random, 10) ? 3000 : 200);
		struct bytes any = zeros(size);

		for (size_t i = 0; i < size; i++)
			any.data[i] =
				random_one_in(&random, 3) ? 0 : (uint8_t)random_below(&random, 256);
		if (size >= sizeof(struct wire_header)) {
			struct wire_header header =
				wire_header_make(messages[_i].type, size, random);

			memcpy(any.data, &header, sizeof(header));
		}
		(void)read_message(messages[_i].type, any.data, any.size);
		free(any.data);
	}
}
END_TEST

START_TEST(a_message_with_some_bytes_changed_does_no_harm)
{
	uint64_t random = seeded_suite_random(100 + _i);

	for (unsigned int round = 0; round < 3000; round++) {
		struct bytes whole = make((size_t)_i, messages[_i].size);

		for (uint64_t n = 1 + random_below(&random, 4); n; n--)
			whole.data[random_below(&random, whole.size)] =
				random_one_in(&random, 2) ? 0xff
							  : (uint8_t)random_below(&random, 256);
		(void)read_message(messages[_i].type, whole.data, whole.size);
		free(whole.data);
	}
}
END_TEST

int main(void)
{
	TCase *whole = tcase_create("whole");
	TCase *fields = tcase_create("fields");
	TCase *limits = tcase_create("limits");
	TCase *anything = tcase_create("anything");

	tcase_add_loop_test(whole, a_well_formed_message_is_taken, 0, N(messages));
	tcase_add_loop_test(whole, a_message_cut_anywhere_is_refused, 0, N(messages));
	tcase_add_loop_test(whole, a_message_with_bytes_behind_it_is_refused, 0, N(messages));
	tcase_add_loop_test(whole, a_header_that_lies_about_the_size_is_refused, 0, N(messages));
	tcase_add_loop_test(fields, a_field_that_makes_no_sense_is_named, 0, N(wrongs));
	tcase_add_test(fields, a_text_without_an_end_is_refused);
	tcase_add_test(limits, a_message_may_be_as_large_as_its_parts_at_their_limits);
	tcase_add_test(limits, elements_are_read_as_they_were_written);
	tcase_add_loop_test(anything, random_bytes_do_no_harm, 0, N(messages));
	tcase_add_loop_test(anything, a_message_with_some_bytes_changed_does_no_harm, 0,
			    N(messages));
	return seeded_suite_run("wire", (TCase *[]){ whole, fields, limits, anything, NULL });
}
