/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the control socket says, against what is known: each method, with its cursors and errors.
 *
 * JSON-RPC itself, and clients that misbehave, are in test-control-socket.c.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INVALID_PARAMS (-32602)
#define STATUS(name)   (-32000 - KVMATTR_##name)

/*
 * Two VMs, of which the first is in a state that is known to the page: layer 1 of "guest" allows
 * VTL 0 rx on pages 16 to 31 and nothing on 32 to 39; pages 100 to 109 are private, page 50 is
 * locked twice.
 */
static struct kvmattrd *d;
static struct control_client *control;
static struct simulated_vmm *guest, *second;
static struct kvmattr *agent;

static void start(void)
{
	const struct kvmattr_range locked = { 50, 1 };

	d = kvmattrd_start("[limits]\nmax-vms = 77\nmax-sessions = 99\n"
			   "max-updates-in-flight = 55\nmax-elements-per-batch = 4444\n"
			   "max-pages-per-call = 3333\nexecutor-deadline-ms = 2222\n");
	control = control_connect(d);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	second = simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = "other",
									 .abi = KVMATTR_ABI_V10NA,
									 .n_views = 3,
									 .n_pages = 64 });
	agent = simulated_vmm_open_agent(guest, 1, KVMATTR_RIGHT_VISIBILITY);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 16, 16));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_NONE, 32, 8));
	expect_ok(agent, set_visibility_of(agent, 1, 100, 10));
	expect_ok(guest->owner, kvmattr_lock(guest->owner, &locked, 1, NULL));
	expect_ok(guest->owner, kvmattr_lock(guest->owner, &locked, 1, NULL));
}

static void stop(void)
{
	kvmattr_close(agent);
	simulated_vmm_stop(guest);
	simulated_vmm_stop(second);
	control_close(control);
	kvmattrd_stop(d);
}

/* ---- The daemon and its VMs ---------------------------------------------------------------- */

START_TEST(daemon_get_says_what_was_configured_and_what_there_is)
{
	struct json_object *result = control_call(control, "daemon.get", "{}");

	ck_assert_int_eq(json_number_at(result, "pid"), d->pid);
	ck_assert_uint_gt(strlen(json_text_at(result, "version")), 0);
	ck_assert(json_boolean_at(result, "allow_simulated"));
	ck_assert_int_eq(json_number_at(result, "limits.max_vms"), 77);
	ck_assert_int_eq(json_number_at(result, "limits.max_sessions"), 99);
	ck_assert_int_eq(json_number_at(result, "limits.max_updates_in_flight"), 55);
	ck_assert_int_eq(json_number_at(result, "limits.max_elements_per_batch"), 4444);
	ck_assert_int_eq(json_number_at(result, "limits.max_pages_per_call"), 3333);
	ck_assert_int_eq(json_number_at(result, "limits.executor_deadline_ms"), 2222);
	ck_assert_int_eq(json_number_at(result, "counters.vms"), 2);
	ck_assert_int_eq(json_number_at(result, "counters.sessions"), 3);
	ck_assert_int_eq(json_number_at(result, "counters.vms_registered"), 2);
	ck_assert_int_eq(json_number_at(result, "counters.vms_released"), 0);
	ck_assert_int_eq(json_number_at(result, "counters.clients"), 1);
	json_object_put(result);
}
END_TEST

START_TEST(vm_list_has_every_vm_at_a_glance)
{
	struct json_object *result = control_call(control, "vm.list", "{}");
	struct json_object *vm = NULL;

	ck_assert_uint_eq(json_object_array_length(json_at(result, "vms")), 2);
	for (int i = 0; i < 2; i++) {
		struct json_object *at =
			json_object_array_get_idx(json_at(result, "vms"), (size_t)i);

		if (!strcmp(json_text_at(at, "name"), "guest"))
			vm = at;
	}
	ck_assert_ptr_nonnull(vm);
	ck_assert(json_boolean_at(vm, "simulated"));
	ck_assert_str_eq(json_text_at(vm, "state"), "idle");
	ck_assert(!json_boolean_at(vm, "degraded"));
	ck_assert_str_eq(json_text_at(vm, "executor"), "vmm");
	ck_assert_int_eq(json_number_at(vm, "ram_pages"), 4096);
	ck_assert_int_eq(json_number_at(vm, "private_pages"), 10);
	ck_assert_int_eq(json_number_at(vm, "sessions"), 2);
	ck_assert_int_eq(json_number_at(vm, "queue"), 0);
	ck_assert_str_eq(
		json_object_to_json_string_ext(json_at(vm, "views"), JSON_C_TO_STRING_PLAIN),
		"[0,1]");
	ck_assert_str_eq(
		json_object_to_json_string_ext(json_at(vm, "layers"), JSON_C_TO_STRING_PLAIN),
		"[1]");
	json_object_put(result);
}
END_TEST

START_TEST(vm_get_says_all_about_one_vm)
{
	const struct kvmattr_range hole = { 1000, 24 };
	struct json_object *vm;
	bool has_owner = false, has_agent = false;

	expect_ok(guest->owner, kvmattr_remove_ram(guest->owner, &hole, 1, NULL));
	vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	ck_assert_int_eq(json_number_at(vm, "ram.pages"), 4096 - 24);
	ck_assert_int_eq(json_number_at(vm, "ram.private_pages"), 10);
	ck_assert_uint_eq(json_address_at(vm, "ram.start"), 0);
	ck_assert_uint_eq(json_address_at(vm, "ram.end"), 4096 * KVMATTR_PAGE_SIZE);
	ck_assert_uint_eq(json_object_array_length(json_at(vm, "ram.ranges")), 2);
	ck_assert_int_eq(json_number_at(vm, "ram.ranges.0.pages"), 1000);
	ck_assert_uint_eq(json_address_at(vm, "ram.ranges.1.gpa"), 1024 * KVMATTR_PAGE_SIZE);
	ck_assert_int_eq(json_number_at(vm, "views.1.vtl"), 1);
	ck_assert_str_eq(json_text_at(vm, "views.0.abi"), "deny");
	ck_assert_uint_eq(json_address_at(vm, "views.0.supported"), 0xf);
	ck_assert_int_eq(json_number_at(vm, "layers.0.layer"), 1);
	ck_assert_str_eq(json_text_at(vm, "layers.0.default"), "rwx");
	ck_assert(!json_boolean_at(vm, "layers.0.mbec"));
	for (size_t i = 0; i < 2; i++) {
		struct json_object *session = json_object_array_get_idx(json_at(vm, "sessions"), i);

		ck_assert_int_eq(json_number_at(session, "pid"), getpid());
		ck_assert_int_eq(json_number_at(session, "uid"), getuid());
		ck_assert(json_boolean_at(session, "connected"));
		if (!strcmp(json_text_at(session, "role"), "owner")) {
			has_owner = true;
			ck_assert_str_eq(json_text_at(session, "peer"), "test-vmm");
		} else {
			has_agent = true;
			ck_assert_str_eq(json_text_at(session, "peer"), "test-agent");
			ck_assert_int_eq(json_number_at(session, "vtl"), 1);
			ck_assert_str_eq(json_text_at(session, "rights.0"), "visibility");
			ck_assert_int_eq(json_number_at(session, "last_seqno"), 4);
		}
	}
	ck_assert(has_owner && has_agent);
	json_object_put(vm);
}
END_TEST

static void expect_json(struct json_object *object, const char *text)
{
	ck_assert_str_eq(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), text);
}

static void expect_shape(unsigned int n_pages, unsigned int n_private, const char *layers)
{
	struct json_object *vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	struct json_object *list = control_call(control, "vm.layers", "{\"vm\":\"guest\"}");
	char ram[256];

	snprintf(ram, sizeof(ram),
		 "{\"pages\":%u,\"private_pages\":%u,\"start\":\"0x0\",\"end\":\"0x%x\","
		 "\"ranges\":[{\"gpa\":\"0x0\",\"pages\":%u}],\"more\":false}",
		 n_pages, n_private, n_pages * (unsigned int)KVMATTR_PAGE_SIZE, n_pages);
	expect_json(json_at(vm, "ram"), ram);
	expect_json(json_at(vm, "layers"), layers);
	expect_json(json_at(list, "layers"), layers);
	json_object_put(vm);
	json_object_put(list);
}

#define LAYER(is_mbec) "[{\"layer\":1,\"mbec\":" is_mbec ",\"default\":\"rwx\",\"restricts\":[0]}]"

/* One thing after the other: what is kept of it is printed anew for each. */
START_TEST(vm_get_tells_of_ram_and_layers_as_they_are_now)
{
	const struct kvmattr_range more = { 4096, 16 };

	for (int i = 0; i < 2; i++)
		expect_shape(4096, 10, LAYER("false"));
	expect_ok(agent, set_visibility_of(agent, 1, 200, 4));
	expect_shape(4096, 14, LAYER("false"));
	expect_ok(guest->owner, kvmattr_add_ram(guest->owner, &more, 1, 0, NULL));
	expect_shape(4112, 14, LAYER("false"));
	expect_ok(agent, kvmattr_reset_layer(agent, 1));
	expect_shape(4112, 14, "[]");
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 1));
	expect_shape(4112, 14, LAYER("true"));
	expect_ok(guest->owner, kvmattr_remove_ram(guest->owner, &more, 1, NULL));
	expect_shape(4096, 14, LAYER("true"));
}
END_TEST

/* Of the agent's session, in an answer. */
static struct json_object *session_of_agent(struct json_object *answer)
{
	struct json_object *sessions = json_at(answer, "sessions"), *found = NULL;

	for (size_t i = 0; i < json_object_array_length(sessions); i++)
		if (!strcmp(json_text_at(json_object_array_get_idx(sessions, i), "role"), "agent"))
			found = json_object_array_get_idx(sessions, i);
	ck_assert_ptr_nonnull(found);
	return found;
}

START_TEST(vm_get_tells_of_sessions_as_they_are_now)
{
	for (int i = 0; i < 3; i++) {
		struct json_object *vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
		struct json_object *list =
			control_call(control, "vm.sessions", "{\"vm\":\"guest\"}");
		struct json_object *session = session_of_agent(vm);

		ck_assert_int_eq(json_number_at(session, "last_seqno"), 4 + i);
		/* HELLO, and one for each update */
		ck_assert_int_eq(json_number_at(session, "messages"), 5 + i);
		ck_assert_int_eq(json_number_at(session, "in_flight"), 0);
		ck_assert_str_eq(json_object_to_json_string(session),
				 json_object_to_json_string(session_of_agent(list)));
		json_object_put(vm);
		json_object_put(list);
		expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 200 + i, 1));
	}
}
END_TEST

static void expect_part_of_vm_get(const char *method, const char *part)
{
	struct json_object *all = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	struct json_object *one = control_call(control, method, "{\"vm\":\"guest\"}");

	ck_assert_str_eq(json_text_at(one, "vm"), "guest");
	ck_assert_uint_gt(json_object_array_length(json_at(one, part)), 0);
	ck_assert_str_eq(json_object_to_json_string(json_at(one, part)),
			 json_object_to_json_string(json_at(all, part)));
	json_object_put(one);
	json_object_put(all);
}

START_TEST(vm_views_layers_and_sessions_are_those_of_vm_get)
{
	expect_part_of_vm_get("vm.views", "views");
	expect_part_of_vm_get("vm.layers", "layers");
	expect_part_of_vm_get("vm.sessions", "sessions");
}
END_TEST

START_TEST(stats_get_counts_what_was_done)
{
	struct json_object *before = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	struct json_object *after;
	uint64_t calls = simvm_kernel_statistics(guest->kernel).calls;

	ck_assert_int_eq(json_number_at(before, "vms.0.calls"), (int64_t)calls);
	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 200, 30));
	expect_status(agent, protect_range(agent, 1, KVMATTR_R, 50, 1), KVMATTR_OPERATION_DENIED);
	after = control_call(control, "stats.get", "{\"vm\":\"guest\"}");
	ck_assert_int_eq(json_number_at(after, "vms.0.updates"),
			 json_number_at(before, "vms.0.updates") + 2);
	ck_assert_int_eq(json_number_at(after, "vms.0.updates_failed"),
			 json_number_at(before, "vms.0.updates_failed") + 1);
	ck_assert_int_eq(json_number_at(after, "vms.0.pages"),
			 json_number_at(before, "vms.0.pages") + 30);
	ck_assert_int_eq(json_number_at(after, "vms.0.calls"), (int64_t)calls + 1);
	ck_assert_int_eq(json_number_at(after, "vms.0.call_pages"),
			 json_number_at(before, "vms.0.call_pages") + 30);
	ck_assert_int_eq(json_number_at(after, "vms.0.unknown_pages"), 0);
	json_object_put(before);
	json_object_put(after);
	after = control_call(control, "stats.get", "{}");
	ck_assert_uint_eq(json_object_array_length(json_at(after, "vms")), 2);
	json_object_put(after);
}
END_TEST

/* ---- Maps ---------------------------------------------------------------------------------- */

struct expected_run {
	uint64_t gfn, n_pages;
	const char *protection;
	const char *other; /* visibility, or source */
};

static const struct expected_run effective[] = {
	{ 0, 16, "rwx", "shared" },  { 16, 16, "rx", "shared" },    { 32, 8, "none", "shared" },
	{ 40, 60, "rwx", "shared" }, { 100, 10, "rwx", "private" }, { 110, 3986, "rwx", "shared" },
};

static void expect_runs(struct json_object *result, const struct expected_run *runs, size_t n,
			const char *other)
{
	ck_assert_msg(json_object_array_length(json_at(result, "runs")) == n, "not %zu: %s", n,
		      json_object_to_json_string(result));
	for (size_t i = 0; i < n; i++) {
		struct json_object *run = json_object_array_get_idx(json_at(result, "runs"), i);

		ck_assert_uint_eq(json_address_at(run, "gpa"), runs[i].gfn * KVMATTR_PAGE_SIZE);
		ck_assert_int_eq(json_number_at(run, "pages"), (int64_t)runs[i].n_pages);
		ck_assert_str_eq(json_text_at(run, "protection"), runs[i].protection);
		ck_assert_str_eq(json_text_at(run, other), runs[i].other);
		if (!strcmp(other, "visibility"))
			ck_assert_str_eq(json_text_at(run, "state"), "in-force");
	}
}

START_TEST(map_effective_is_the_kernels_page_table_in_runs)
{
	const struct expected_run vtl1[] = { { 0, 100, "rwx", "shared" },
					     { 100, 10, "rwx", "private" },
					     { 110, 3986, "rwx", "shared" } };
	struct json_object *result = control_call(control, "map.effective", "{\"vm\":\"guest\"}");

	ck_assert_str_eq(json_text_at(result, "vm"), "guest");
	ck_assert_int_eq(json_number_at(result, "vtl"), 0);
	expect_runs(result, effective, N(effective), "visibility");
	ck_assert(!json_has(result, "cursor"));
	json_object_put(result);
	result = control_call(control, "map.effective", "{\"vm\":\"guest\",\"vtl\":1}");
	expect_runs(result, vtl1, N(vtl1), "visibility");
	json_object_put(result);
	/* As a list: vm, vtl, start, end; addresses as text or numbers, within a page or not. */
	result = control_call(control, "map.effective", "[\"guest\",0,\"0x14fff\",131073]");
	expect_runs(result,
		    (const struct expected_run[]){ { 20, 12, "rx", "shared" },
						   { 32, 1, "none", "shared" } },
		    2, "visibility");
	json_object_put(result);
}
END_TEST

START_TEST(a_cursor_goes_on_where_the_last_answer_ended)
{
	for (int limit = 1; limit <= N(effective) + 1; limit++) {
		struct json_object *result = control_call(control, "map.effective",
							  "{\"vm\":\"guest\",\"limit\":%d}", limit);
		size_t seen = 0;

		for (;;) {
			size_t n = json_object_array_length(json_at(result, "runs"));
			char *cursor;

			ck_assert_uint_le(n, (size_t)limit);
			ck_assert_uint_le(seen + n, N(effective));
			expect_runs(result, effective + seen, n, "visibility");
			seen += n;
			if (!json_has(result, "cursor"))
				break;
			cursor = strdup(json_text_at(result, "cursor"));
			json_object_put(result);
			result = control_call(control, "map.effective",
					      "{\"vm\":\"guest\",\"limit\":%d,\"cursor\":\"%s\"}",
					      limit, cursor);
			free(cursor);
		}
		ck_assert_uint_eq(seen, N(effective));
		json_object_put(result);
	}
}
END_TEST

START_TEST(map_layer_tells_entries_from_the_default)
{
	const struct expected_run layer[] = { { 0, 16, "rwx", "default" },
					      { 16, 16, "rx", "explicit" },
					      { 32, 8, "none", "explicit" },
					      { 40, 4056, "rwx", "default" } };
	struct json_object *result =
		control_call(control, "map.layer", "{\"vm\":\"guest\",\"layer\":1}");

	expect_runs(result, layer, N(layer), "source");
	ck_assert_str_eq(json_text_at(result, "default"), "rwx");
	ck_assert(!json_boolean_at(result, "mbec"));
	json_object_put(result);
}
END_TEST

START_TEST(map_summary_counts_every_page_once)
{
	int64_t rwx = 0, rx = 0, none = 0, private = 0;
	struct json_object *result =
		control_call(control, "map.summary", "{\"vm\":\"guest\",\"buckets\":7}");
	struct json_object *buckets = json_at(result, "buckets");

	ck_assert(!json_has(result, "cursor"));
	ck_assert_uint_eq(json_object_array_length(buckets), 7);
	ck_assert_int_eq(json_number_at(result, "bucket_pages"), (4096 + 6) / 7);
	for (size_t i = 0; i < 7; i++) {
		struct json_object *bucket = json_object_array_get_idx(buckets, i);

		ck_assert_int_eq(json_number_at(bucket, "bucket"), (int64_t)i);
		rwx += json_has(bucket, "pages.rwx") ? json_number_at(bucket, "pages.rwx") : 0;
		rx += json_has(bucket, "pages.rx") ? json_number_at(bucket, "pages.rx") : 0;
		none += json_has(bucket, "pages.none") ? json_number_at(bucket, "pages.none") : 0;
		private += json_number_at(bucket, "private");
		ck_assert_int_eq(json_number_at(bucket, "pending"), 0);
		ck_assert_int_eq(json_number_at(bucket, "unknown"), 0);
	}
	ck_assert_int_eq(rx, 16);
	ck_assert_int_eq(none, 8);
	ck_assert_int_eq(rwx, 4096 - 24);
	ck_assert_int_eq(private, 10);
	json_object_put(result);
}
END_TEST

START_TEST(map_explain_says_who_denies_what_and_where_the_intercept_goes)
{
	static const char accesses[] = "rwx";
	struct json_object *result =
		control_call(control, "map.explain", "{\"vm\":\"guest\",\"gpa\":\"0x10fff\"}");

	ck_assert(json_boolean_at(result, "ram"));
	ck_assert_str_eq(json_text_at(result, "protection"), "rx");
	ck_assert_str_eq(json_text_at(result, "applied"), "rx");
	ck_assert_str_eq(json_text_at(result, "visibility"), "shared");
	ck_assert_str_eq(json_text_at(result, "state"), "in-force");
	ck_assert_uint_eq(json_address_at(result, "gpa"), 0x10000);
	ck_assert_str_eq(json_text_at(result, "layers.0.source"), "explicit");
	for (size_t i = 0; i < 3; i++) {
		struct json_object *access =
			json_object_array_get_idx(json_at(result, "accesses"), i);
		bool is_write = accesses[i] == 'w';

		ck_assert_int_eq(json_text_at(access, "access")[0], accesses[i]);
		ck_assert_int_eq(json_boolean_at(access, "allowed"), !is_write);
		ck_assert_uint_eq(json_object_array_length(json_at(access, "denying")), is_write);
		if (is_write)
			ck_assert_int_eq(json_number_at(access, "intercept"), 1);
		else
			ck_assert_ptr_null(json_at(access, "intercept"));
	}
	json_object_put(result);

	result = control_call(control, "map.explain", "[\"guest\",\"0x32000\",0,\"x\"]");
	ck_assert_int_eq(json_number_at(result, "locks"), 2);
	ck_assert_uint_eq(json_object_array_length(json_at(result, "accesses")), 1);
	ck_assert(json_boolean_at(result, "accesses.0.allowed"));
	json_object_put(result);
	result = control_call(control, "map.explain", "{\"vm\":\"guest\",\"gpa\":\"0xfffff000\"}");
	ck_assert(!json_boolean_at(result, "ram"));
	json_object_put(result);
}
END_TEST

static void note_nothing(void *context, const struct kvmattr_answer *answer)
{
	(void)context;
	ck_assert_int_eq(answer->status, KVMATTR_OK);
}

START_TEST(what_is_on_its_way_is_called_pending)
{
	const struct kvmattr_range range = { 300, 1 };
	const struct kvmattr_update update = { .kind = KVMATTR_PROTECT,
					       .layer = 1,
					       .value = KVMATTR_R,
					       .restricted = 1,
					       .ranges = &range,
					       .n = 1 };
	struct json_object *result;

	simulated_vmm_close_gate(guest);
	expect_ok(agent, kvmattr_submit(agent, &update, note_nothing, NULL, NULL));
	expect_ok(agent, kvmattr_flush(agent));
	simulated_vmm_await_call(guest);
	result = control_call(control, "map.explain", "{\"vm\":\"guest\",\"gpa\":\"0x12c000\"}");
	ck_assert_str_eq(json_text_at(result, "state"), "pending");
	ck_assert_str_eq(json_text_at(result, "protection"), "r");
	ck_assert_str_eq(json_text_at(result, "applied"), "rwx");
	json_object_put(result);
	result = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	ck_assert_str_eq(json_text_at(result, "state"), "executing");
	json_object_put(result);
	simulated_vmm_open_gate(guest);
	expect_ok(agent, kvmattr_wait(agent));
	result = control_call(control, "map.explain", "{\"vm\":\"guest\",\"gpa\":\"0x12c000\"}");
	ck_assert_str_eq(json_text_at(result, "state"), "in-force");
	ck_assert_str_eq(json_text_at(result, "applied"), "r");
	json_object_put(result);
}
END_TEST

/* ---- Errors -------------------------------------------------------------------------------- */

static const struct {
	const char *method;
	const char *params;
	int code;
	const char *part;
} wrong[] = {
	{ "vm.get", "{}", INVALID_PARAMS, "params.vm" },
	{ "vm.get", "{\"vm\":7}", INVALID_PARAMS, "is an integer" },
	{ "vm.get", "{\"vm\":null}", INVALID_PARAMS, "params.vm" },
	{ "vm.get", "{\"vm\":\"nobody\"}", STATUS(NO_VM), "registered (2)" },
	{ "vm.get", "{\"vm\":\"guest\\u0000\"}", STATUS(NO_VM), "no VM is named" },
	{ "vm.get", "{\"vm\":\"guest\",\"extra\":1}", INVALID_PARAMS, "params.extra" },
	{ "vm.get", "[\"guest\",1]", INVALID_PARAMS, "params[1]" },
	{ "map.effective", "{\"vm\":\"guest\",\"vtl\":16}", INVALID_PARAMS, "params.vtl" },
	{ "map.effective", "{\"vm\":\"guest\",\"vtl\":-1}", INVALID_PARAMS, "params.vtl" },
	{ "map.effective", "{\"vm\":\"guest\",\"vtl\":0.5}", INVALID_PARAMS, "a fraction" },
	{ "map.effective", "{\"vm\":\"guest\",\"vtl\":2}", STATUS(INVALID_VTL_STATE),
	  "it has views of: 0, 1" },
	{ "map.effective", "{\"vm\":\"guest\",\"limit\":0}", INVALID_PARAMS, "params.limit" },
	{ "map.effective", "{\"vm\":\"guest\",\"limit\":1025}", INVALID_PARAMS, "params.limit" },
	{ "map.effective", "{\"vm\":\"guest\",\"start\":\"16\"}", INVALID_PARAMS, "params.start" },
	{ "map.effective", "{\"vm\":\"guest\",\"start\":-1}", INVALID_PARAMS, "params.start" },
	{ "map.effective", "{\"vm\":\"guest\",\"start\":\"0x10000000000001\"}", INVALID_PARAMS,
	  "params.start" },
	{ "map.effective", "{\"vm\":\"guest\",\"start\":\"0xfffffffffffffffff\"}", INVALID_PARAMS,
	  "params.start" },
	{ "map.effective", "{\"vm\":\"guest\",\"start\":8192,\"end\":4096}",
	  STATUS(INVALID_PARAMETER), "below the start" },
	{ "map.effective", "{\"vm\":\"guest\",\"end\":4096,\"cursor\":8192}",
	  STATUS(INVALID_PARAMETER), "the cursor" },
	{ "map.layer", "{\"vm\":\"guest\"}", INVALID_PARAMS, "params.layer" },
	{ "map.layer", "{\"vm\":\"guest\",\"layer\":0}", INVALID_PARAMS, "params.layer" },
	{ "map.layer", "{\"vm\":\"guest\",\"layer\":2}", STATUS(INVALID_VTL_STATE),
	  "layer 2 is not enabled; enabled: 1" },
	{ "map.layer", "{\"vm\":\"other\",\"layer\":2}", STATUS(INVALID_VTL_STATE),
	  "enabled: none" },
	{ "map.layer", "{\"vm\":\"guest\",\"layer\":1,\"vtl\":1}", STATUS(INVALID_PARAMETER),
	  "imposes nothing on VTL 1" },
	{ "map.summary", "{\"vm\":\"guest\",\"buckets\":0}", INVALID_PARAMS, "params.buckets" },
	{ "map.summary", "{\"vm\":\"guest\",\"buckets\":4097}", INVALID_PARAMS, "params.buckets" },
	{ "map.explain", "{\"vm\":\"guest\"}", INVALID_PARAMS, "params.gpa" },
	{ "map.explain", "{\"vm\":\"guest\",\"gpa\":\"0x10000000000000\"}",
	  STATUS(INVALID_PARAMETER), "no pages from" },
	{ "map.explain", "{\"vm\":\"guest\",\"gpa\":0,\"access\":\"rw\"}", INVALID_PARAMS,
	  "params.access" },
	{ "stats.get", "{\"vm\":\"nobody\"}", STATUS(NO_VM), "no VM is named" },
	{ "vm.nothing", "{}", -32601, "Method not found" },
};

START_TEST(a_call_that_cannot_be_made_says_which_parameter_is_wrong_and_what_is_right)
{
	for (int i = 0; i < N(wrong); i++)
		control_expect_error(control, wrong[i].method, wrong[i].params, wrong[i].code,
				     wrong[i].part);
}
END_TEST

START_TEST(rpc_methods_describes_every_method_as_it_behaves)
{
	struct json_object *result = control_call(control, "rpc.methods", "{}");
	struct json_object *methods = json_at(result, "methods");
	size_t n = json_object_array_length(methods);

	ck_assert_uint_ge(n, 9);
	for (size_t i = 0; i < n; i++) {
		struct json_object *method = json_object_array_get_idx(methods, i);
		struct json_object *parameters = json_at(method, "parameters");
		const char *name = json_text_at(method, "name");
		bool needs_some = false;

		for (size_t p = 0; p < json_object_array_length(parameters); p++)
			needs_some |= json_boolean_at(json_object_array_get_idx(parameters, p),
						      "required");
		control_expect_error(control, name, "{\"no-such-thing\":1}", INVALID_PARAMS,
				     "params.no-such-thing");
		if (needs_some)
			control_expect_error(control, name, "{}", INVALID_PARAMS, "is missing");
		else
			json_object_put(control_call(control, name, "{}"));
	}
	json_object_put(result);
}
END_TEST

START_TEST(a_vm_that_is_gone_is_gone_from_every_answer)
{
	struct json_object *result;

	kvmattr_close(agent);
	agent = NULL;
	simulated_vmm_stop(guest);
	EVENTUALLY(5000, !control_has_vm(control, "guest"));
	control_expect_error(control, "map.effective", "{\"vm\":\"guest\"}", STATUS(NO_VM),
			     "registered (1): other");
	result = control_call(control, "stats.get", "{}");
	ck_assert_uint_eq(json_object_array_length(json_at(result, "vms")), 1);
	json_object_put(result);
	result = control_call(control, "daemon.get", "{}");
	ck_assert_int_eq(json_number_at(result, "counters.vms_released"), 1);
	json_object_put(result);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
}
END_TEST

int main(void)
{
	TCase *vms = harness_make_case("VMs", 20);
	TCase *maps = harness_make_case("maps", 20);
	TCase *errors = harness_make_case("errors", 20);

	tcase_add_checked_fixture(vms, start, stop);
	tcase_add_test(vms, daemon_get_says_what_was_configured_and_what_there_is);
	tcase_add_test(vms, vm_list_has_every_vm_at_a_glance);
	tcase_add_test(vms, vm_get_says_all_about_one_vm);
	tcase_add_test(vms, vm_get_tells_of_ram_and_layers_as_they_are_now);
	tcase_add_test(vms, vm_get_tells_of_sessions_as_they_are_now);
	tcase_add_test(vms, vm_views_layers_and_sessions_are_those_of_vm_get);
	tcase_add_test(vms, stats_get_counts_what_was_done);
	tcase_add_checked_fixture(maps, start, stop);
	tcase_add_test(maps, map_effective_is_the_kernels_page_table_in_runs);
	tcase_add_test(maps, a_cursor_goes_on_where_the_last_answer_ended);
	tcase_add_test(maps, map_layer_tells_entries_from_the_default);
	tcase_add_test(maps, map_summary_counts_every_page_once);
	tcase_add_test(maps, map_explain_says_who_denies_what_and_where_the_intercept_goes);
	tcase_add_test(maps, what_is_on_its_way_is_called_pending);
	tcase_add_checked_fixture(errors, start, stop);
	tcase_add_test(errors,
		       a_call_that_cannot_be_made_says_which_parameter_is_wrong_and_what_is_right);
	tcase_add_test(errors, rpc_methods_describes_every_method_as_it_behaves);
	tcase_add_test(errors, a_vm_that_is_gone_is_gone_from_every_answer);
	return harness_run("control", (TCase *const[]){ vms, maps, errors, NULL });
}
