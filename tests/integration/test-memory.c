/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's memory is bounded, whatever its peers do, and nobody takes what is another's.
 *
 * Ann is hostile, Ben is not; the daemon may have 64 MiB, each of them 32.
 */
#include "tests/integration/limited-users.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB       (1024 * 1024)
#define LIMIT_MIB 64
/*
 * What there is besides: the program itself and its libraries (12 MiB), what the allocator keeps or
 * adds (an eighth), and what a batch, a record of the journal and a checkpoint of one of these VMs
 * (8 MiB of maps) need while they are under way.
 */
#define BESIDES_KIB (48 * 1024)

#define LIMIT_EXCEEDED (-32000 - KVMATTR_LIMIT_EXCEEDED)

/* 4 TiB, of which a page in each GiB costs a node and a leaf in every map that tells it. */
#define RAM_PAGES (UINT64_C(1) << 30)
#define FAR_APART (UINT64_C(1) << 18)
#define N_FAR     ((uint32_t)(RAM_PAGES / FAR_APART))
#define N_VMS     4

#define LIMITS                                                \
	"max-memory-mib = 64\nmax-memory-mib-per-user = 32\n" \
	"executor-deadline-ms = 600000\n"

static _Alignas(8) uint8_t answer[WIRE_MAX_MESSAGE];

static void expect_bounded(long before_kib)
{
	ck_assert_int_le(number_of("memory.held_bytes"), LIMIT_MIB * (int64_t)MIB);
	if (harness_patience() == 1)
		ck_assert_int_lt(kvmattrd_resident_kib(d),
				 before_kib + LIMIT_MIB * 1024 + BESIDES_KIB);
}

/* ---- VMs ------------------------------------------------------------------------------------ */

static struct raw_register make_large(const char *name)
{
	struct raw_register registration = raw_make_register(name);

	registration.ram[0].n_pages = RAM_PAGES;
	return registration;
}

static void send_update(int socket, uint64_t seqno, struct wire_update update, const void *elements)
{
	struct {
		struct wire_update_list head;
		struct wire_update update;
		uint8_t elements[8000 * sizeof(uint64_t)];
	} message = { .update = update };
	size_t n_bytes = update.n_elements * wire_element_size(update.form);
	size_t size = sizeof(message.head) + sizeof(message.update) + n_bytes;

	if (n_bytes)
		memcpy(message.elements, elements, n_bytes);
	message.head.header = wire_header_make(WIRE_UPDATE, size, seqno);
	message.head.n_updates = 1;
	raw_send(socket, &message, size);
}

/* Carries out what it takes.  The update's failure; status KVMATTR_OK if there is none. */
static struct wire_failure await_answer(struct raw_vm *vm, int socket)
{
	struct wire_failure failure = { 0 };

	raw_vm_answer_calls_until(vm, socket);
	raw_receive_type(socket, WIRE_ANSWER, answer, NULL);
	if (((const struct wire_answer *)answer)->n_failures)
		ck_assert_ptr_null(wire_at_failure(answer, 0, &failure));
	return failure;
}

static void expect_taken(struct raw_vm *vm, int socket)
{
	struct wire_failure failure = await_answer(vm, socket);

	ck_assert_msg(!failure.status, "%s", failure.text);
}

static struct raw_vm start_vm_as(uid_t uid, const char *name)
{
	const struct raw_register registration = make_large(name);
	struct raw_vm vm = begin_vm_as(uid, &registration);

	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	send_update(vm.owner, 1,
		    (struct wire_update){
			    .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX },
		    NULL);
	expect_taken(&vm, vm.owner);
	return vm;
}

/* Protects n pages far from all others. */
static struct wire_failure protect_far_pages(struct raw_vm *vm, uint64_t seqno, uint32_t n)
{
	static uint64_t gfns[N_FAR];

	for (uint32_t i = 0; i < n; i++)
		gfns[i] = i * FAR_APART + seqno;
	send_update(vm->owner, seqno,
		    (struct wire_update){ .kind = KVMATTR_PROTECT,
					  .form = WIRE_FORM_PAGES,
					  .layer = 1,
					  .value = KVMATTR_R,
					  .restricted = KVMATTR_ALL_LOWER,
					  .n_elements = n },
		    gfns);
	return await_answer(vm, vm->owner);
}

static void expect_full(struct wire_failure failure, const char *setting)
{
	ck_assert_uint_eq(failure.status, KVMATTR_LIMIT_EXCEEDED);
	ck_assert_msg(strstr(failure.text, setting), "%s", failure.text);
}

static void reset_layer(struct raw_vm *vm, uint64_t seqno)
{
	send_update(vm->owner, seqno,
		    (struct wire_update){ .kind = KVMATTR_RESET_LAYER, .layer = 1 }, NULL);
	expect_taken(vm, vm->owner);
}

/* As many VMs as it takes to have all that the user may have. */
static unsigned int fill_as(uid_t uid, struct raw_vm *vms, const char *setting)
{
	struct wire_failure failure = { 0 };
	unsigned int n = 0;
	char name[32];

	for (; !failure.status; n++) {
		ck_assert_uint_lt(n, N_VMS);
		snprintf(name, sizeof(name), "of-%u-%u", uid, n);
		vms[n] = start_vm_as(uid, name);
		failure = protect_far_pages(&vms[n], 2, N_FAR);
	}
	expect_full(failure, setting);
	return n;
}

static void expect_no_vm(uid_t uid, const char *setting)
{
	const struct raw_register registration = make_large("another");

	expect_refused_as(uid, &registration, KVMATTR_LIMIT_EXCEEDED, setting);
}

/* 2 MiB of it, at most, when it is parsed: a call, or no memory. */
static void expect_long_request(bool is_allowed)
{
	static char line[8192];
	size_t n = (size_t)sprintf(line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\","
					 "\"params\":[");
	struct json_object *answered;

	while (n < 4096)
		n += (size_t)sprintf(line + n, "[],");
	sprintf(line + n, "[]]}\n");
	answered = control_ask(control, line);
	ck_assert_int_eq(json_number_at(answered, "error.code"), is_allowed ? -32601 : -32600);
	json_object_put(answered);
}

/* ---- Maps ----------------------------------------------------------------------------------- */

START_TEST(a_user_s_VMs_take_what_it_may_have_and_others_go_on)
{
	struct raw_vm anns[N_VMS], bens, roots;
	unsigned int n;
	long before_kib;

	start_with(LIMITS);
	before_kib = kvmattrd_resident_kib(d);
	bens = start_vm_as(BEN, "bens");
	n = fill_as(ANN, anns, "max-memory-mib-per-user");
	expect_full(protect_far_pages(&anns[0], 3, N_FAR), "max-memory-mib-per-user");
	expect_no_vm(ANN, "max-memory-mib-per-user");
	expect_bounded(before_kib);
	/* the others, meanwhile */
	ck_assert_uint_eq(protect_far_pages(&bens, 2, 100).status, KVMATTR_OK);
	roots = start_vm_as(0, "roots");
	ck_assert_uint_eq(protect_far_pages(&roots, 2, 100).status, KVMATTR_OK);
	raw_vm_close(&roots);
	/* what is given back can be had again */
	for (unsigned int i = 0; i < n; i++)
		reset_layer(&anns[i], i ? 3 : 4);
	EVENTUALLY(PATIENCE_MS, number_of("memory.vms_bytes") < 8 * MIB);
	send_update(anns[0].owner, 5,
		    (struct wire_update){
			    .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX },
		    NULL);
	expect_taken(&anns[0], anns[0].owner);
	ck_assert_uint_eq(protect_far_pages(&anns[0], 6, 100).status, KVMATTR_OK);
	for (unsigned int i = 0; i < n; i++)
		raw_vm_close(&anns[i]);
	raw_vm_close(&bens);
	EVENTUALLY(PATIENCE_MS, number_of("memory.held_bytes") == 0);
	stop();
}
END_TEST

START_TEST(all_users_together_take_what_the_daemon_may_have)
{
	struct raw_vm anns[N_VMS], roots[N_VMS];
	struct json_object *list;
	unsigned int n_anns, n_roots;
	long before_kib;

	start_with(LIMITS);
	before_kib = kvmattrd_resident_kib(d);
	n_anns = fill_as(ANN, anns, "max-memory-mib-per-user");
	n_roots = fill_as(0, roots, "(7/8 of max-memory-mib)");
	expect_no_vm(BEN, "(7/8 of max-memory-mib)");
	expect_no_vm(0, "(7/8 of max-memory-mib)");
	expect_bounded(before_kib);
	/* costly questions, and what would become a policy */
	control_expect_error(control, "journal.list", "{}", LIMIT_EXCEEDED, "max-memory-mib");
	control_expect_error(control, "vm.import",
			     "{\"vm\": \"of-61011-0\", \"size\": 8000000, \"offset\": 0, "
			     "\"data\": \"AAAA\"}",
			     LIMIT_EXCEEDED, "max-memory-mib");
	expect_long_request(false);
	expect_bounded(before_kib);
	raw_vm_close(&anns[0]);
	EVENTUALLY(PATIENCE_MS, number_of("memory.vms_bytes") < 48 * (int64_t)MIB);
	list = control_call(control, "journal.list", "{}");
	json_object_put(list);
	expect_long_request(true);
	for (unsigned int i = 1; i < n_anns; i++)
		raw_vm_close(&anns[i]);
	for (unsigned int i = 0; i < n_roots; i++)
		raw_vm_close(&roots[i]);
	stop();
}
END_TEST

START_TEST(pages_far_apart_can_be_taken_away_again_when_there_is_no_memory)
{
	static struct kvmattr_range far[4000];
	struct wire_update update = { .kind = KVMATTR_ADD_RAM, .form = WIRE_FORM_RANGES };
	struct wire_failure failure = { 0 };
	struct raw_vm vm;
	uint64_t seqno = 2;

	start_with(LIMITS);
	vm = start_vm_as(ANN, "anns");
	update.n_elements = N(far);
	for (uint64_t i = 0; i < N(far); i++)
		far[i] = (struct kvmattr_range){ RAM_PAGES + i * FAR_APART + 7, 1 };
	send_update(vm.owner, seqno++, update, far);
	failure = await_answer(&vm, vm.owner);
	expect_full(failure, "max-memory-mib-per-user");
	ck_assert_uint_gt(failure.n_in_force, 100);
	update.kind = KVMATTR_REMOVE_RAM;
	update.n_elements = failure.n_in_force;
	send_update(vm.owner, seqno++, update, far);
	expect_taken(&vm, vm.owner);
	EVENTUALLY(PATIENCE_MS, number_of("memory.vms_bytes") < 4 * MIB);
	update.kind = KVMATTR_ADD_RAM;
	update.n_elements = 100;
	send_update(vm.owner, seqno, update, far);
	expect_taken(&vm, vm.owner);
	raw_vm_close(&vm);
	stop();
}
END_TEST

START_TEST(a_limit_that_is_raised_lets_updates_in_and_one_that_is_lowered_takes_nothing)
{
	struct raw_vm vms[N_VMS];
	unsigned int n;
	int64_t held;

	start_with(LIMITS);
	n = fill_as(ANN, vms, "max-memory-mib-per-user");
	reload_with(LIMITS "max-memory-mib-per-user = 60\n", "limits.max_memory_mib_per_user", 60);
	ck_assert_uint_eq(protect_far_pages(&vms[0], 3, 100).status, KVMATTR_OK);
	held = number_of("memory.held_bytes");
	reload_with(LIMITS "max-memory-mib-per-user = 16\n", "limits.max_memory_mib_per_user", 16);
	expect_full(protect_far_pages(&vms[0], 4, 100),
		    "of 14 MiB (7/8 of max-memory-mib-per-user)");
	ck_assert_int_ge(number_of("memory.held_bytes") + MIB, held);
	reset_layer(&vms[0], 5);
	for (unsigned int i = 0; i < n; i++)
		raw_vm_close(&vms[i]);
	stop();
}
END_TEST

START_TEST(a_recovered_VM_is_taken_back_whatever_there_is)
{
	struct raw_vm vms[N_VMS];
	unsigned int n;

	start_with(LIMITS);
	n = fill_as(ANN, vms, "max-memory-mib-per-user");
	restart_with(LIMITS "max-memory-mib-per-user = 16\n");
	ck_assert_int_eq(number_of("counters.vms_recovered"), n);
	ck_assert_int_gt(number_of("memory.vms_bytes"), 20 * MIB);
	as(ANN);
	raw_vm_resume(&vms[0], d, 2, 2);
	as(0);
	expect_full(protect_far_pages(&vms[0], 3, 100), "max-memory-mib-per-user");
	reset_layer(&vms[0], 4);
	for (unsigned int i = 0; i < n; i++)
		raw_vm_close(&vms[i]);
	stop();
}
END_TEST

/* ---- Messages ------------------------------------------------------------------------------- */

#define N_FLOODED 6
#define N_AGENTS  6

/* Long updates of nothing, until the socket takes no more.  Returns how many there were. */
static uint64_t flood(int socket, uint64_t seqno)
{
	static const uint64_t gfns[8000];
	const struct wire_update update = { .kind = KVMATTR_PROTECT,
					    .form = WIRE_FORM_PAGES,
					    .layer = 1,
					    .value = KVMATTR_R,
					    .restricted = KVMATTR_ALL_LOWER,
					    .n_elements = 8000 };
	uint64_t n = 0;

	for (;;) {
		struct pollfd writable = { .fd = socket, .events = POLLOUT };

		if (poll(&writable, 1, 50) == 0)
			return n;
		ck_assert_uint_lt(++n, 2000);
		send_update(socket, seqno++, update, gfns);
	}
}

static bool has_answer(int socket)
{
	struct pollfd readable = { .fd = socket, .events = POLLIN };

	return poll(&readable, 1, 0) == 1;
}

/* All of these updates are answered. */
static void expect_answers(struct raw_vm *vm, int socket, uint64_t last_seqno)
{
	uint64_t seqno = 0;

	while (seqno < last_seqno) {
		raw_vm_answer_calls_until(vm, socket);
		raw_receive_type(socket, WIRE_ANSWER, answer, NULL);
		ck_assert_uint_eq(((const struct wire_answer *)answer)->n_failures, 0);
		seqno = ((const struct wire_answer *)answer)->header.id;
	}
	ck_assert_uint_eq(seqno, last_seqno);
}

START_TEST(floods_of_messages_hold_up_who_sends_them_until_they_are_carried_out)
{
	struct raw_vm vms[N_FLOODED], idle, bens;
	int agents[N_FLOODED][N_AGENTS];
	uint64_t n_sent[N_FLOODED][N_AGENTS];
	long before_kib;
	char name[32];

	start_with(LIMITS);
	before_kib = kvmattrd_resident_kib(d);
	idle = start_vm_as(ANN, "idle");
	bens = start_vm_as(BEN, "bens");
	for (int i = 0; i < N_FLOODED; i++) {
		snprintf(name, sizeof(name), "flooded-%d", i);
		vms[i] = start_vm_as(ANN, name);
		for (int k = 0; k < N_AGENTS; k++)
			agents[i][k] = raw_vm_open_agent(&vms[i], 1, 0);
	}
	for (int i = 0; i < N_FLOODED; i++)
		for (int k = 0; k < N_AGENTS; k++)
			n_sent[i][k] = flood(agents[i][k], 1);
	/* the first update of each VM is under way, and stays so */
	expect_bounded(before_kib);
	/* an eighth of 32 MiB, and a message more, when the daemon has read them */
	EVENTUALLY(PATIENCE_MS, number_of("memory.sessions_bytes") >= 4 * MIB);
	ck_assert_int_lt(number_of("memory.sessions_bytes"), 5 * MIB);
	/* of this user, nobody is read now; of others, they are */
	send_update(idle.owner, 2, (struct wire_update){ .kind = KVMATTR_RESET_VM }, NULL);
	for (uint64_t seqno = 2; seqno < 10; seqno++)
		ck_assert_uint_eq(protect_far_pages(&bens, seqno, 10).status, KVMATTR_OK);
	ck_assert(!has_answer(idle.owner));
	for (int i = 0; i < N_FLOODED; i++)
		for (int k = 0; k < N_AGENTS; k++)
			expect_answers(&vms[i], agents[i][k], n_sent[i][k]);
	expect_taken(&idle, idle.owner);
	for (int i = 0; i < N_FLOODED; i++) {
		for (int k = 0; k < N_AGENTS; k++)
			close(agents[i][k]);
		raw_vm_close(&vms[i]);
	}
	EVENTUALLY(PATIENCE_MS, number_of("memory.sessions_bytes") == 0);
	raw_vm_close(&idle);
	raw_vm_close(&bens);
	stop();
}
END_TEST

int main(void)
{
	TCase *maps = harness_make_case("maps", 120);
	TCase *messages = harness_make_case("messages", 120);
	const char *why = other_users_why_not();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return EXIT_SUCCESS;
	}
	tcase_add_test(maps, a_user_s_VMs_take_what_it_may_have_and_others_go_on);
	tcase_add_test(maps, all_users_together_take_what_the_daemon_may_have);
	tcase_add_test(maps, pages_far_apart_can_be_taken_away_again_when_there_is_no_memory);
	tcase_add_test(
		maps, a_limit_that_is_raised_lets_updates_in_and_one_that_is_lowered_takes_nothing);
	tcase_add_test(maps, a_recovered_VM_is_taken_back_whatever_there_is);
	tcase_add_test(messages,
		       floods_of_messages_hold_up_who_sends_them_until_they_are_carried_out);
	return harness_run("memory", (TCase *const[]){ maps, messages, NULL });
}
