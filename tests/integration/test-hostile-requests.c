/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Well-formed requests for what there is not or what the peer may not: each is refused with its
 * status and a text, and the connection goes on.
 */
#include "tests/integration/raw-peer.h"
#include "tests/integration/siege.h"

#include <check.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static _Alignas(8) uint8_t buffer[WIRE_MAX_MESSAGE];

/* ---- Updates ------------------------------------------------------------------------------- */

/* The update with this seqno failed so, after so many elements. */
static void expect_failure(int socket, uint64_t seqno, enum kvmattr_status status,
			   uint32_t n_in_force, const char *part)
{
	size_t n = raw_receive_type(socket, WIRE_ANSWER, buffer, NULL);
	struct wire_answer answer;
	struct wire_failure failure;

	ck_assert_ptr_null(wire_get_answer(buffer, n, &answer));
	ck_assert_uint_eq(answer.header.id, seqno);
	ck_assert_uint_eq(answer.n_failures, 1);
	ck_assert_ptr_null(wire_at_failure(buffer, 0, &failure));
	ck_assert_uint_eq(failure.seqno, seqno);
	ck_assert_msg(failure.status == status && strstr(failure.text, part),
		      "not %s with \"%s\", but %s: %s", kvmattr_status_name((int)status), part,
		      kvmattr_status_name((int)failure.status), failure.text);
	ck_assert_uint_eq(failure.n_in_force, n_in_force);
}

struct range_update {
	struct wire_update_list head;
	struct wire_update update;
	struct kvmattr_range ranges[2];
};

static struct range_update make_ranges(uint8_t kind, struct kvmattr_range one,
				       struct kvmattr_range other)
{
	return (struct range_update){
		.head = { .header = wire_header_make(WIRE_UPDATE, sizeof(struct range_update), 2),
			  .n_updates = 1 },
		.update = { .kind = kind,
			    .form = WIRE_FORM_RANGES,
			    .layer = kind == KVMATTR_PROTECT,
			    .value = kind == KVMATTR_PROTECT ? KVMATTR_RWX : 0,
			    .restricted = kind == KVMATTR_PROTECT ? KVMATTR_ALL_LOWER : 0,
			    .n_elements = 2 },
		.ranges = { one, other },
	};
}

static const struct {
	struct kvmattr_range range;
	const char *part;
} ranges[] = {
	{ { 0, 0 }, "no pages" },
	{ { 1024, 1 }, "is not RAM" },
	{ { 1000, 25 }, "GFN 0x400 is not RAM" },
	{ { 0, UINT64_MAX }, "past the last GFN" },
	{ { 1, UINT64_MAX }, "past the last GFN" },
	{ { UINT64_MAX, 1 }, "past the last GFN" },
	{ { UINT64_MAX, 2 }, "past the last GFN" },
	{ { UINT64_MAX - 5, UINT64_MAX }, "past the last GFN" },
	{ { UINT64_C(1) << 63, UINT64_C(1) << 63 }, "past the last GFN" },
	{ { KVMATTR_GFN_LIMIT, 1 }, "past the last GFN" },
	{ { KVMATTR_GFN_LIMIT - 1, 2 }, "past the last GFN" },
	{ { KVMATTR_GFN_LIMIT - 1, 1 }, "is not RAM" },
	{ { UINT64_C(1) << 52, 1 }, "past the last GFN" },
};
static const uint8_t range_kinds[] = { KVMATTR_PROTECT, KVMATTR_SET_VISIBILITY, KVMATTR_LOCK,
				       KVMATTR_REMOVE_RAM };

START_TEST(ranges_that_wrap_or_leave_ram_are_invalid_and_what_was_before_them_is_in_force)
{
	struct siege siege = siege_begin(NULL);

	for (int i = 0; i < N(range_kinds); i++) {
		struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
		struct range_update update = make_ranges(
			range_kinds[i], (struct kvmattr_range){ 4, 4 }, ranges[_i].range);

		/* The first element of each changes nothing that KVM would have to be told. */
		raw_send(vm.owner, &update, sizeof(update));
		expect_failure(vm.owner, 2, KVMATTR_INVALID_PARAMETER, 1, ranges[_i].part);
		raw_expect_alive(vm.owner);
		raw_vm_close(&vm);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(pages_that_do_not_exist_are_invalid)
{
	static const uint64_t gfns[] = { 1024,
					 KVMATTR_GFN_LIMIT - 1,
					 KVMATTR_GFN_LIMIT,
					 UINT64_C(1) << 52,
					 UINT64_C(1) << 63,
					 UINT64_MAX };
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");

	for (uint64_t i = 0; i < N(gfns); i++) {
		struct raw_update update = raw_make_update(2 + i);

		update.gfns[0] = gfns[i];
		raw_send(vm.owner, &update, sizeof(update));
		expect_failure(vm.owner, 2 + i, KVMATTR_INVALID_PARAMETER, 0, "GFN 0x");
	}
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

static const struct {
	struct wire_update update;
	enum kvmattr_status status; /* for an agent of VTL 1 without rights */
	const char *part;
} forbidden[] = {
	{ { .kind = KVMATTR_PROTECT, .layer = 2, .restricted = 1 },
	  KVMATTR_ACCESS_DENIED,
	  "VTL 1 may not change layer 2" },
	{ { .kind = KVMATTR_PROTECT, .layer = 255, .restricted = 1 },
	  KVMATTR_INVALID_PARAMETER,
	  "layer 255" },
	{ { .kind = KVMATTR_PROTECT, .layer = 0, .restricted = 1 },
	  KVMATTR_INVALID_PARAMETER,
	  "layer 0" },
	{ { .kind = KVMATTR_PROTECT, .layer = 1, .restricted = 0 },
	  KVMATTR_INVALID_PARAMETER,
	  "restricted VTLs 0x0" },
	{ { .kind = KVMATTR_PROTECT, .layer = 1, .restricted = 0x8000 },
	  KVMATTR_INVALID_PARAMETER,
	  "restricted VTLs 0x8000" },
	{ { .kind = KVMATTR_PROTECT, .layer = 1, .restricted = 0x3 },
	  KVMATTR_INVALID_PARAMETER,
	  "restricted VTLs 0x3" },
	{ { .kind = KVMATTR_PROTECT, .layer = 1, .restricted = 1, .value = 0xff },
	  KVMATTR_INVALID_PARAMETER,
	  "protection 0xff" },
	{ { .kind = KVMATTR_PROTECT, .layer = 1, .restricted = 1, .mbec = 1 },
	  KVMATTR_INVALID_PARAMETER,
	  "takes no mbec" },
	{ { .kind = KVMATTR_SET_VISIBILITY, .value = 1 },
	  KVMATTR_ACCESS_DENIED,
	  "not granted visibility" },
	{ { .kind = KVMATTR_SET_VISIBILITY, .value = 2 },
	  KVMATTR_INVALID_PARAMETER,
	  "value of at most 1" },
	{ { .kind = KVMATTR_SET_VISIBILITY, .layer = 1 },
	  KVMATTR_INVALID_PARAMETER,
	  "takes no layer" },
	{ { .kind = KVMATTR_SET_VISIBILITY, .restricted = 1 },
	  KVMATTR_INVALID_PARAMETER,
	  "takes no restricted VTLs" },
	{ { .kind = KVMATTR_LOCK }, KVMATTR_ACCESS_DENIED, "only the VM's owner may lock" },
	{ { .kind = KVMATTR_UNLOCK }, KVMATTR_ACCESS_DENIED, "only the VM's owner may unlock" },
	{ { .kind = KVMATTR_ADD_RAM }, KVMATTR_ACCESS_DENIED, "only the VM's owner may add RAM" },
	{ { .kind = KVMATTR_REMOVE_RAM },
	  KVMATTR_ACCESS_DENIED,
	  "only the VM's owner may remove RAM" },
	{ { .kind = KVMATTR_ENABLE_LAYER, .layer = 1 },
	  KVMATTR_INVALID_PARAMETER,
	  "takes no pages" },
	{ { .kind = KVMATTR_RESET_LAYER, .layer = 1 },
	  KVMATTR_INVALID_PARAMETER,
	  "takes no pages" },
	{ { .kind = KVMATTR_RESET_VM },
	  KVMATTR_ACCESS_DENIED,
	  "only the VM's owner may reset the VM" },
};

START_TEST(what_an_agent_may_not_or_what_makes_no_sense_is_refused_with_its_status)
{
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	int agent = raw_vm_open_agent(&vm, 1, 0);
	struct raw_update update = raw_make_update(1);

	update.update = forbidden[_i].update;
	update.update.form = WIRE_FORM_PAGES;
	update.update.n_elements = 2;
	raw_send(agent, &update, sizeof(update));
	expect_failure(agent, 1, forbidden[_i].status, 0, forbidden[_i].part);
	raw_expect_alive(agent);
	close(agent);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(kinds_that_need_pages_are_refused_without)
{
	static const uint8_t kinds[] = {
		KVMATTR_PROTECT, KVMATTR_SET_VISIBILITY, KVMATTR_LOCK,
		KVMATTR_UNLOCK,  KVMATTR_ADD_RAM,        KVMATTR_REMOVE_RAM
	};
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");

	for (uint64_t i = 0; i < N(kinds); i++) {
		struct raw_update update = raw_make_update(2 + i);
		const size_t size = sizeof(update.head) + sizeof(update.update);

		update.head.header.size = (uint32_t)size;
		update.update = (struct wire_update){ .kind = kinds[i] };
		raw_send(vm.owner, &update, size);
		expect_failure(vm.owner, 2 + i, KVMATTR_INVALID_PARAMETER, 0, "needs pages");
	}
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(ram_that_wraps_or_is_there_already_is_not_added)
{
	static const struct {
		struct kvmattr_range range;
		const char *part;
	} ram[] = {
		{ { 1023, 2 }, "GFN 0x3ff is RAM already" },
		{ { 0, KVMATTR_GFN_LIMIT }, "is RAM already" },
		{ { 2048, UINT64_MAX }, "past the last GFN" },
		{ { 2048, KVMATTR_GFN_LIMIT - 2047 }, "past the last GFN" },
		{ { UINT64_MAX, UINT64_MAX }, "past the last GFN" },
	};
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");

	for (uint64_t i = 0; i < N(ram); i++) {
		struct range_update update =
			make_ranges(KVMATTR_ADD_RAM, ram[i].range, (struct kvmattr_range){ 0, 0 });

		update.head.header.id = 2 + i;
		raw_send(vm.owner, &update, sizeof(update));
		expect_failure(vm.owner, 2 + i, KVMATTR_INVALID_PARAMETER, 0, ram[i].part);
	}
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- Questions and agents ------------------------------------------------------------------ */

START_TEST(questions_about_what_there_is_not_are_refused)
{
	static const struct kvmattr_range wrong[] = { { KVMATTR_GFN_LIMIT + 1, 0 },
						      { 0, KVMATTR_GFN_LIMIT + 1 },
						      { UINT64_MAX, 2 },
						      { 1, UINT64_MAX } };
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	struct wire_query query = { .header = wire_header_make(WIRE_QUERY, sizeof(query), 3) };
	struct wire_explain explain = { .header = wire_header_make(WIRE_EXPLAIN, sizeof(explain),
								   4) };

	for (int i = 0; i < N(wrong); i++) {
		query.gfn = wrong[i].gfn;
		query.n_pages = wrong[i].n_pages;
		raw_send(vm.owner, &query, sizeof(query));
		raw_expect_refusal(vm.owner, 3, KVMATTR_INVALID_PARAMETER, "past the last GFN");
	}
	query = (struct wire_query){ .header = query.header, .vtl = UINT32_MAX };
	raw_send(vm.owner, &query, sizeof(query));
	raw_expect_refusal(vm.owner, 3, KVMATTR_INVALID_VTL_STATE, "VM 'hostile' has no view");
	query.vtl = 2;
	raw_send(vm.owner, &query, sizeof(query));
	raw_expect_refusal(vm.owner, 3, KVMATTR_INVALID_VTL_STATE, "no view of VTL 2");

	explain.vtl = 255;
	raw_send(vm.owner, &explain, sizeof(explain));
	raw_expect_refusal(vm.owner, 4, KVMATTR_INVALID_VTL_STATE, "no view of VTL 255");
	explain.vtl = 0;
	explain.gfn = UINT64_MAX;
	raw_send(vm.owner, &explain, sizeof(explain));
	raw_expect_refusal(vm.owner, 4, KVMATTR_INVALID_PARAMETER, "not RAM");
	explain.gfn = 1024;
	raw_send(vm.owner, &explain, sizeof(explain));
	raw_expect_refusal(vm.owner, 4, KVMATTR_INVALID_PARAMETER, "not RAM");
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_query_gives_at_most_the_runs_that_it_asked_for)
{
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	struct wire_query query = { .header = wire_header_make(WIRE_QUERY, sizeof(query), 3),
				    .n_pages = KVMATTR_GFN_LIMIT };
	struct raw_update update = raw_make_update(2);
	struct wire_runs runs;
	size_t n;

	raw_send(vm.owner, &update, sizeof(update));
	raw_vm_answer_calls(&vm);
	raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);
	for (uint32_t max = 0; max < 5; max++) {
		query.max_runs = max;
		raw_send(vm.owner, &query, sizeof(query));
		n = raw_receive_type(vm.owner, WIRE_RUNS, buffer, NULL);
		ck_assert_ptr_null(wire_get_runs(buffer, n, &runs));
		ck_assert_uint_eq(runs.n_runs, max && max < 3 ? max : 3);
	}
	query.max_runs = UINT32_MAX;
	raw_send(vm.owner, &query, sizeof(query));
	n = raw_receive_type(vm.owner, WIRE_RUNS, buffer, NULL);
	ck_assert_ptr_null(wire_get_runs(buffer, n, &runs));
	ck_assert_uint_eq(runs.n_runs, 3);
	ck_assert_uint_eq(runs.next_gfn, KVMATTR_GFN_LIMIT);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_peer_without_a_vm_has_nothing_to_ask_and_nothing_to_change)
{
	struct siege siege = siege_begin(NULL);
	struct wire_query query = { .header = wire_header_make(WIRE_QUERY, sizeof(query), 3),
				    .n_pages = 1 };
	struct wire_explain explain = { .header = wire_header_make(WIRE_EXPLAIN, sizeof(explain),
								   4) };
	struct wire_open_agent open = { .header = wire_header_make(WIRE_OPEN_AGENT, sizeof(open),
								   5) };
	struct raw_update update = raw_make_update(1);
	int peer = raw_greet(siege.daemon);

	raw_send(peer, &query, sizeof(query));
	raw_expect_refusal(peer, 3, KVMATTR_NO_VM, "this connection has no VM");
	raw_send(peer, &explain, sizeof(explain));
	raw_expect_refusal(peer, 4, KVMATTR_NO_VM, "this connection has no VM");
	raw_send(peer, &open, sizeof(open));
	raw_expect_refusal(peer, 5, KVMATTR_ACCESS_DENIED, "only a VM's owner");
	raw_send(peer, &update, sizeof(update));
	raw_expect_broken(peer, "updates need a VM");
	siege_end(&siege);
}
END_TEST

START_TEST(agents_are_opened_by_the_owner_for_vtls_and_rights_that_exist)
{
	static const struct {
		uint32_t vtl, rights;
	} wrong[] = { { 16, 0 }, { UINT32_MAX, 0 }, { 1, 2 }, { 1, UINT32_MAX } };
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	int agent = raw_vm_open_agent(&vm, 15, WIRE_RIGHT_VISIBILITY);
	struct wire_open_agent open = { .header = wire_header_make(WIRE_OPEN_AGENT, sizeof(open),
								   5) };

	for (int i = 0; i < N(wrong); i++) {
		open.vtl = wrong[i].vtl;
		open.rights = wrong[i].rights;
		raw_send(vm.owner, &open, sizeof(open));
		raw_expect_refusal(vm.owner, 5, KVMATTR_INVALID_PARAMETER, "VTL 0 to 15");
	}
	open.vtl = 1;
	open.rights = 0;
	raw_send(agent, &open, sizeof(open));
	raw_expect_refusal(agent, 5, KVMATTR_ACCESS_DENIED, "only a VM's owner");
	raw_expect_alive(agent);
	close(agent);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *updates = harness_make_case("updates", 20);
	TCase *questions = harness_make_case("questions", 20);

	tcase_add_loop_test(
		updates,
		ranges_that_wrap_or_leave_ram_are_invalid_and_what_was_before_them_is_in_force, 0,
		N(ranges));
	tcase_add_test(updates, pages_that_do_not_exist_are_invalid);
	tcase_add_loop_test(updates,
			    what_an_agent_may_not_or_what_makes_no_sense_is_refused_with_its_status,
			    0, N(forbidden));
	tcase_add_test(updates, kinds_that_need_pages_are_refused_without);
	tcase_add_test(updates, ram_that_wraps_or_is_there_already_is_not_added);
	tcase_add_test(questions, questions_about_what_there_is_not_are_refused);
	tcase_add_test(questions, a_query_gives_at_most_the_runs_that_it_asked_for);
	tcase_add_test(questions, a_peer_without_a_vm_has_nothing_to_ask_and_nothing_to_change);
	tcase_add_test(questions, agents_are_opened_by_the_owner_for_vtls_and_rights_that_exist);
	return harness_run("hostile requests", (TCase *const[]){ updates, questions, NULL });
}
