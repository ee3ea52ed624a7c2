/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one peer might do to all others with little effort: descriptors that it
 * makes the daemon collect, memory out of all proportion to its messages, and messages that keep
 * the event loop from everyone else for seconds.
 */
#include "tests/integration/raw-peer.h"
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76 /* Linux 6.5; bookworm's libc does not know it */
#endif

#define N_PAGES (UINT64_C(1) << 22) /* 16 GiB */

static _Alignas(8) uint8_t buffer[WIRE_MAX_MESSAGE];

/* One update, with pages or with ranges. */
struct one_update {
	struct wire_update_list head;
	struct wire_update update;
	union {
		uint64_t gfns[8000];
		struct kvmattr_range ranges[4000];
	};
};

static struct one_update message;

static void send_update(int socket, uint64_t seqno, struct wire_update update)
{
	size_t size = sizeof(message.head) + sizeof(update) +
		      update.n_elements * wire_element_size(update.form);

	message.update = update;
	message.head =
		(struct wire_update_list){ .header = wire_header_make(WIRE_UPDATE, size, seqno),
					   .n_updates = 1 };
	raw_send(socket, &message, size);
}

/* Carries out what it takes, and returns how many updates of the next answer failed. */
static uint32_t await_answer(struct raw_vm *vm)
{
	raw_vm_answer_calls_until(vm, vm->owner);
	raw_receive_type(vm->owner, WIRE_ANSWER, buffer, NULL);
	return ((const struct wire_answer *)buffer)->n_failures;
}

static void enable_layer(struct raw_vm *vm, uint64_t seqno)
{
	send_update(vm->owner, seqno,
		    (struct wire_update){
			    .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX });
	ck_assert_uint_eq(await_answer(vm), 0);
}

static struct raw_vm start_large_vm(const struct kvmattrd *daemon)
{
	struct raw_register registration = raw_make_register("hostile");
	struct raw_vm vm;

	registration.ram[0].n_pages = N_PAGES;
	vm = raw_vm_begin(daemon, &registration);
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	enable_layer(&vm, 1);
	return vm;
}

/* Does update to every other page.  Returns the next seqno. */
static uint64_t fragment(struct raw_vm *vm, uint64_t seqno, struct wire_update update)
{
	update.form = WIRE_FORM_PAGES;
	for (uint64_t gfn = 0; gfn < N_PAGES;) {
		for (update.n_elements = 0; update.n_elements < 8000 && gfn < N_PAGES; gfn += 2)
			message.gfns[update.n_elements++] = gfn;
		send_update(vm->owner, seqno++, update);
		ck_assert_uint_eq(await_answer(vm), 0);
	}
	return seqno;
}

/* ---- Descriptors --------------------------------------------------------------------------- */

/* The VMM keeps the daemon's end of the executor's socket, too, and sets options on it. */
START_TEST(pidfds_that_come_with_an_executors_answers_are_closed)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register registration = raw_make_register("hostile");
	struct raw_vm vm = { .owner = raw_greet(siege.daemon),
			     .fds = { raw_make_vm_fd(), raw_make_vm_fd() } };
	unsigned int n_fds;
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	vm.executor = sockets[0];
	/* Kernels before 6.5 refuse it, and there is nothing to be seen. */
	if (setsockopt(sockets[1], SOL_SOCKET, SO_PASSPIDFD, &(int){ 1 }, sizeof(int)) < 0)
		ck_assert_int_eq(errno, ENOPROTOOPT);
	raw_send_with_fds(vm.owner, &registration, sizeof(registration),
			  (int[]){ sockets[1], vm.fds[0], vm.fds[1] }, 3);
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	enable_layer(&vm, 1);
	n_fds = kvmattrd_count_fds(siege.daemon);
	for (uint64_t seqno = 2; seqno < 50; seqno++) {
		struct raw_update update = raw_make_update(seqno);

		update.update.value = seqno % 2 ? KVMATTR_R : KVMATTR_RX;
		raw_send(vm.owner, &update, sizeof(update));
		ck_assert_uint_eq(await_answer(&vm), 0);
	}
	EVENTUALLY(5000, kvmattrd_count_fds(siege.daemon) <= n_fds);
	close(sockets[1]);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- Memory -------------------------------------------------------------------------------- */

/* With thousands of updates that may be under way, of 64 KiB each, it could be 256 MiB. */
START_TEST(long_messages_under_way_are_bounded_by_their_size)
{
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	int agent = raw_vm_open_agent(&vm, 1, 0);
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	uint64_t seqno;

	/* The first is under way for ever. */
	for (size_t i = 0; i < 8000; i++)
		message.gfns[i] = i % 1024;
	for (seqno = 1; seqno < 2000; seqno++) {
		struct pollfd writable = { .fd = agent, .events = POLLOUT };

		if (poll(&writable, 1, 200) == 0)
			break;
		send_update(agent, seqno,
			    (struct wire_update){ .kind = KVMATTR_PROTECT,
						  .form = WIRE_FORM_PAGES,
						  .layer = 1,
						  .value = KVMATTR_R,
						  .restricted = KVMATTR_ALL_LOWER,
						  .n_elements = 8000 });
	}
	ck_assert_uint_lt(seqno, 2000);
	if (harness_patience() == 1)
		ck_assert_int_lt(kvmattrd_resident_kib(siege.daemon) - before_kib, 16 * 1024);
	close(agent);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* A page far from all others costs some kilobytes in the map of RAM and in that of each view. */
START_TEST(maps_grow_up_to_their_limit_and_a_reset_is_still_taken)
{
	struct siege siege = siege_begin("[limits]\nmax-map-mib = 16\n");
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	struct wire_failure failure;

	for (uint64_t i = 0; i < 4000; i++)
		message.ranges[i] = (struct kvmattr_range){ (i + 1) << 28 | i << 9, 1 };
	send_update(vm.owner, 2,
		    (struct wire_update){ .kind = KVMATTR_ADD_RAM,
					  .form = WIRE_FORM_RANGES,
					  .n_elements = 4000 });
	ck_assert_uint_eq(await_answer(&vm), 1);
	ck_assert_ptr_null(wire_at_failure(buffer, 0, &failure));
	ck_assert_uint_eq(failure.status, KVMATTR_LIMIT_EXCEEDED);
	ck_assert_ptr_nonnull(strstr(failure.text, "max-map-mib"));
	ck_assert_uint_gt(failure.n_in_force, 0);
	if (harness_patience() == 1)
		ck_assert_int_lt(kvmattrd_resident_kib(siege.daemon) - before_kib, 64 * 1024);
	send_update(vm.owner, 3, (struct wire_update){ .kind = KVMATTR_RESET_VM });
	ck_assert_uint_eq(await_answer(&vm), 0);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- The event loop ------------------------------------------------------------------------ */

/* Each of these ranges is looked at page by page, and nothing changes: 10 s in one go. */
START_TEST(ranges_that_change_nothing_do_not_keep_the_loop)
{
	enum { N_UPDATES = 2000 };
	static struct {
		struct wire_update_list head;
		struct {
			struct wire_update update;
			struct kvmattr_range range;
		} updates[N_UPDATES];
	} many;
	const struct wire_update update = { .kind = KVMATTR_PROTECT,
					    .form = WIRE_FORM_RANGES,
					    .layer = 1,
					    .value = KVMATTR_RWX,
					    .restricted = KVMATTR_ALL_LOWER,
					    .n_elements = _i ? 1 : N_UPDATES };
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = start_large_vm(siege.daemon);
	uint64_t seqno = fragment(
		&vm, 2, (struct wire_update){ .kind = KVMATTR_SET_VISIBILITY, .value = 1 });

	for (int i = 0; i < N_UPDATES; i++) {
		many.updates[i].update = update;
		many.updates[i].range = (struct kvmattr_range){ 0, N_PAGES };
		message.ranges[i] = many.updates[i].range;
	}
	if (_i) {
		many.head.header = wire_header_make(WIRE_UPDATE, sizeof(many), seqno);
		many.head.n_updates = N_UPDATES;
		raw_send(vm.owner, &many, sizeof(many));
	} else {
		send_update(vm.owner, seqno, update);
	}
	for (int i = 0; i < 5; i++)
		bystander_expect_progress(siege.bystander);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* A change for every other page would be written down with 48 bytes each. */
START_TEST(one_range_over_a_fragmented_map_is_cheap_and_does_what_it_says)
{
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = start_large_vm(siege.daemon);
	uint64_t seqno = fragment(&vm, 2, (struct wire_update){ .kind = KVMATTR_LOCK });
	struct wire_update update = { .kind = KVMATTR_LOCK,
				      .form = WIRE_FORM_RANGES,
				      .n_elements = 1 };
	long before_kib = kvmattrd_resident_kib(siege.daemon);
	struct json_object *page;

	message.ranges[0] = (struct kvmattr_range){ 0, N_PAGES };
	send_update(vm.owner, seqno++, update);
	ck_assert_uint_eq(await_answer(&vm), 0);
	if (harness_patience() == 1)
		ck_assert_int_lt(kvmattrd_resident_kib(siege.daemon) - before_kib, 48 * 1024);
	update.kind = KVMATTR_UNLOCK;
	send_update(vm.owner, seqno++, update);
	ck_assert_uint_eq(await_answer(&vm), 0);
	/* What was locked once is unlocked, what was locked twice is locked once. */
	for (int gfn = 0; gfn < 3; gfn++) {
		page = control_call(siege.control, "map.explain",
				    "{\"vm\": \"hostile\", \"gpa\": \"0x%x\"}", gfn << 12);
		ck_assert_int_eq(json_number_at(page, "locks"), gfn % 2 ? 0 : 1);
		json_object_put(page);
	}
	message.gfns[0] = 1;
	update = (struct wire_update){ .kind = KVMATTR_PROTECT,
				       .form = WIRE_FORM_PAGES,
				       .layer = 1,
				       .value = KVMATTR_R,
				       .restricted = KVMATTR_ALL_LOWER,
				       .n_elements = 1 };
	send_update(vm.owner, seqno++, update);
	ck_assert_uint_eq(await_answer(&vm), 0);
	message.gfns[0] = 2;
	send_update(vm.owner, seqno++, update);
	ck_assert_uint_eq(await_answer(&vm), 1);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* Millions of runs of which it is not known what KVM holds: they are not counted one by one. */
START_TEST(looking_at_a_vm_that_is_stuck_is_cheap)
{
	struct siege siege = siege_begin("[limits]\nexecutor-deadline-ms = 2000\n");
	struct raw_vm vm = start_large_vm(siege.daemon);
	uint64_t started_ms,
		seqno = fragment(&vm, 2,
				 (struct wire_update){ .kind = KVMATTR_PROTECT,
						       .layer = 1,
						       .value = KVMATTR_R,
						       .restricted = KVMATTR_ALL_LOWER });
	struct json_object *vms;

	send_update(vm.owner, seqno,
		    (struct wire_update){ .kind = KVMATTR_RESET_LAYER, .layer = 1 });
	raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);
	started_ms = harness_now_ms();
	for (int i = 0; i < 20; i++) {
		vms = control_call(siege.control, "vm.list", "{}");
		json_object_put(vms);
	}
	ck_assert_uint_lt(harness_now_ms() - started_ms, 1000 * harness_patience());
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *descriptors = harness_make_case("descriptors", 20);
	TCase *memory = harness_make_case("memory", 20);
	TCase *loop = harness_make_case("loop", 60);

	tcase_add_test(descriptors, pidfds_that_come_with_an_executors_answers_are_closed);
	tcase_add_test(memory, long_messages_under_way_are_bounded_by_their_size);
	tcase_add_test(memory, maps_grow_up_to_their_limit_and_a_reset_is_still_taken);
	tcase_add_loop_test(loop, ranges_that_change_nothing_do_not_keep_the_loop, 0, 2);
	tcase_add_test(loop, one_range_over_a_fragmented_map_is_cheap_and_does_what_it_says);
	tcase_add_test(loop, looking_at_a_vm_that_is_stuck_is_cheap);
	return harness_run("hostile costs", (TCase *const[]){ descriptors, memory, loop, NULL });
}
