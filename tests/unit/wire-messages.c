/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/wire-messages.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct bytes bytes_zero(size_t size)
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
	struct wire_restarted restarted;
	struct wire_resume resume;
	struct wire_resumed resumed;
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

static const char *read_resume(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_resume(data, size, &m->resume);
	struct wire_view view;

	for (uint32_t i = 0; !bad && i < m->resume.n_views; i++)
		bad = wire_at_resume_view(data, i, &view);
	return bad;
}

static const char *read_resumed(const void *data, size_t size, union fixed *m)
{
	const char *bad = wire_get_resumed(data, size, &m->resumed);
	struct wire_view view;

	for (uint32_t i = 0; !bad && i < m->resumed.n_views; i++)
		bad = wire_at_resumed_view(data, i, &view);
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

const char *message_read(uint16_t type, const void *data, size_t size)
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
	case WIRE_RESTARTED:
		return wire_get_restarted(data, size, &m.restarted);
	case WIRE_RESUME:
		return read_resume(data, size, &m);
	case WIRE_RESUMED:
		return read_resumed(data, size, &m);
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

static const struct register_message registration = {
	{ .name = "vm.0_A-z", .n_views = 2, .n_ram = 2 },
	{ VIEW(0, KVMATTR_ABI_PROBE, 0), { .vtl = 15, .abi = KVMATTR_ABI_V10NA, .has_stats = 1 } },
	{ { .n_pages = 160 }, { .gfn = 0x100000, .n_pages = 4, .private = 1 } },
};

static const struct registered_message registered = {
	{ .executor = WIRE_EXECUTOR_DAEMON, .n_views = 2 },
	{ VIEW(0, KVMATTR_ABI_DENY, 0xf), VIEW(1, KVMATTR_ABI_MAINLINE, 8) },
};

static const struct resume_message resume = {
	{ .session = 7, .token = "a token", .answered = 8, .restarted = 9, .n_views = 2 },
	{ VIEW(0, KVMATTR_ABI_PROBE, 0), { .vtl = 15, .abi = KVMATTR_ABI_V10NA, .has_stats = 1 } },
};

static const struct resumed_message resumed = {
	{ .settled = 10, .executor = WIRE_EXECUTOR_VMM, .n_views = 2 },
	{ VIEW(0, KVMATTR_ABI_DENY, 0xf), VIEW(1, KVMATTR_ABI_MAINLINE, 8) },
};

const struct update_message updates = {
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

static const struct answer_message answer = {
	{ .commit = 7, .n_failures = 2 },
	{ { .seqno = 3, .status = KVMATTR_VERSION_MISMATCH, .text = "why" },
	  { .seqno = 4, .status = KVMATTR_INVALID_PARAMETER, .n_in_force = 4 } },
};

static const struct runs_message runs = {
	{ .next_gfn = 9, .n_runs = 2 },
	{ { .gfn = 1, .n_pages = 2, .attributes = 0x1f, .state = WIRE_UNKNOWN },
	  { .gfn = 5, .n_pages = 1 } },
};

static const struct probed_message probed = {
	{ .n_targets = 2 },
	{ { .v10_errno = 25, .cap = 0xf }, { .v10_supported = 0x1f, .cap_errno = 5 } },
};

const struct calls_message calls = {
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
					     .daemon = "kvmattrd 1",
					     .token = "a token",
					     .agent_socket = "/run/kvmattrd/agent.sock",
					     .resume_within_ms = 30000 };
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
static const struct wire_restarted restarted = { 0 };
static const struct wire_resumed agent_resumed = { .settled = UINT64_MAX };
static const struct wire_probe probe = { .n_targets = KVMATTR_N_VTLS };
static const struct wire_called called = { .n_done = 2, .error = 12, .partial = 0x3000 };

const struct wire_message messages[N_MESSAGES] = {
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
	{ WIRE_RESTARTED, "restarted", &restarted, sizeof(restarted) },
	{ WIRE_RESUME, "resume", &resume, sizeof(resume) },
	{ WIRE_RESUMED, "resumed", &resumed, sizeof(resumed) },
	{ WIRE_RESUMED, "agent's resumed", &agent_resumed, sizeof(agent_resumed) },
	{ WIRE_PROBE, "probe", &probe, sizeof(probe) },
	{ WIRE_PROBED, "probed", &probed, sizeof(probed) },
	{ WIRE_CALLS, "calls", &calls, sizeof(calls) },
	{ WIRE_CALLED, "called", &called, sizeof(called) },
};

struct bytes message_make(size_t i, size_t size)
{
	struct wire_header header = wire_header_make(messages[i].type, messages[i].size, 77);
	struct bytes ret = bytes_zero(size);

	memcpy(ret.data, messages[i].message, size < messages[i].size ? size : messages[i].size);
	if (size >= sizeof(header)) {
		header.size = (uint32_t)size; /* it does not lie about its size: that is easy */
		memcpy(ret.data, &header, sizeof(header));
	}
	return ret;
}

size_t message_find(uint16_t type)
{
	for (size_t i = 0; i < N_MESSAGES; i++)
		if (messages[i].type == type)
			return i;
	ck_abort_msg("type %u", type);
}
