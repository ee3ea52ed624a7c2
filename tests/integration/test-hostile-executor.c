/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executors that answer wrongly, unasked, or not at all: their own VM goes, its owner is told what
 * was wrong, and nobody else notices.
 */
#include "tests/integration/raw-peer.h"
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REGISTRATION_ID 77 /* of raw_make_register() */

/* Soon over, and long for the bystander's executor on a loaded machine. */
static const char impatient[] = "[limits]\nexecutor-deadline-ms = 2000\n";

static _Alignas(8) uint8_t buffer[WIRE_MAX_MESSAGE];

/* An update is under way, and its one call, of two pages, has come. */
struct scene {
	struct siege siege;
	struct raw_vm vm;
	struct wire_calls calls;
};

static struct scene set_scene(const char *configuration)
{
	struct scene scene = { .siege = siege_begin(configuration) };
	struct raw_update update = raw_make_update(2);
	struct wire_call call;
	size_t n;

	scene.vm = raw_vm_start(scene.siege.daemon, "hostile");
	raw_send(scene.vm.owner, &update, sizeof(update));
	n = raw_receive_type(scene.vm.executor, WIRE_CALLS, buffer, NULL);
	ck_assert_ptr_null(wire_get_calls(buffer, n, &scene.calls));
	ck_assert_uint_eq(scene.calls.n_calls, 1);
	ck_assert_ptr_null(wire_at_call(buffer, 0, &call));
	ck_assert_uint_eq(call.gpa, 5 * KVMATTR_PAGE_SIZE);
	ck_assert_uint_eq(call.size, 2 * KVMATTR_PAGE_SIZE);
	return scene;
}

static struct wire_called good_answer(const struct scene *scene)
{
	return (struct wire_called){
		.header = wire_header_make(WIRE_CALLED, sizeof(struct wire_called),
					   scene->calls.header.id),
		.n_done = 1,
	};
}

/* What was under way failed with the VM, and the owner is told why. */
static void expect_gone(struct scene *scene, const char *part)
{
	struct wire_failure failure;

	raw_receive_type(scene->vm.owner, WIRE_ANSWER, buffer, NULL);
	ck_assert_uint_eq(((const struct wire_answer *)buffer)->n_failures, 1);
	ck_assert_ptr_null(wire_at_failure(buffer, 0, &failure));
	ck_assert_uint_eq(failure.status, KVMATTR_NO_VM);
	raw_expect_closed(scene->vm.owner, KVMATTR_NO_VM, part);
	scene->vm.owner = -1;
	raw_vm_close(&scene->vm);
	siege_end(&scene->siege);
}

/* ---- Wrong answers ------------------------------------------------------------------------- */

#define AT(member) offsetof(struct wire_called, member), sizeof(((struct wire_called *)0)->member)

static const struct {
	struct wire_called answer; /* n_done, error and partial */
	size_t offset, width;      /* and this, where width is not 0 */
	uint64_t value;
	const char *field;
} answers[] = {
	{ { .n_done = 0 }, 0, 0, 0, "n_done" },
	{ { .n_done = 2 }, 0, 0, 0, "n_done" },
	{ { .n_done = UINT32_MAX }, 0, 0, 0, "n_done" },
	{ { .n_done = 1, .error = ENOMEM }, 0, 0, 0, "n_done" },
	{ { .n_done = 2, .error = ENOMEM }, 0, 0, 0, "n_done" },
	{ { .error = -ENOMEM }, 0, 0, 0, "error" },
	{ { .error = INT_MIN }, 0, 0, 0, "error" },
	{ { .error = ENOMEM, .partial = 8192 }, 0, 0, 0, "partial" },
	{ { .error = ENOMEM, .partial = 12288 }, 0, 0, 0, "partial" },
	{ { .error = ENOMEM, .partial = 4097 }, 0, 0, 0, "partial" },
	{ { .error = ENOMEM, .partial = -KVMATTR_PAGE_SIZE }, 0, 0, 0, "partial" },
	{ { .n_done = 1, .partial = 4096 }, 0, 0, 0, "partial" },
	{ { .n_done = 1 }, AT(header.id), 0, "header.id" },
	{ { .n_done = 1 }, AT(header.id), 1, "header.id" },
	{ { .n_done = 1 }, AT(header.id), UINT64_MAX, "header.id" },
	{ { .n_done = 1 }, AT(header.reserved), 1, "header.reserved" },
	{ { .n_done = 1 }, AT(header.size), 31, "header.size" },
	{ { .n_done = 1 }, AT(header.type), WIRE_PROBED, "header.type" },
	{ { .n_done = 1 }, AT(header.type), WIRE_CALLS, "header.type" },
	{ { .n_done = 1 }, AT(header.type), WIRE_ANSWER, "header.type" },
	{ { .n_done = 1 }, AT(header.type), 0, "header.type" },
};

START_TEST(an_answer_with_a_wrong_field_is_the_end_of_its_vm_and_the_owner_is_told_which)
{
	struct scene scene = set_scene(NULL);
	struct wire_called answer = answers[_i].answer;

	answer.header = good_answer(&scene).header;
	memcpy((char *)&answer + answers[_i].offset, &answers[_i].value, answers[_i].width);
	raw_send(scene.vm.executor, &answer, sizeof(answer));
	expect_gone(&scene, answers[_i].field);
}
END_TEST

START_TEST(an_answer_that_is_cut_is_the_end_of_its_vm)
{
	struct siege siege = siege_begin(NULL);

	for (size_t n = 1; n < sizeof(struct wire_called); n++) {
		struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
		struct raw_update update = raw_make_update(2);
		struct wire_called answer = { .n_done = 1 };

		raw_send(vm.owner, &update, sizeof(update));
		raw_receive_type(vm.executor, WIRE_CALLS, buffer, NULL);
		answer.header = wire_header_make(WIRE_CALLED, sizeof(answer),
						 ((const struct wire_calls *)buffer)->header.id);
		if (n >= sizeof(answer.header))
			answer.header.size = (uint32_t)n;
		raw_send(vm.executor, &answer, n);
		raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);
		raw_expect_closed(vm.owner, KVMATTR_NO_VM, "broke the protocol");
		vm.owner = -1;
		raw_vm_close(&vm);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(an_empty_or_a_huge_answer_is_the_end_of_its_vm)
{
	static const uint8_t huge[WIRE_MAX_MESSAGE + 1];
	struct scene scene = set_scene(NULL);

	raw_send(scene.vm.executor, huge, _i ? sizeof(huge) : 0);
	expect_gone(&scene, "the executor broke the protocol: field header.size");
}
END_TEST

START_TEST(messages_of_the_agent_socket_are_no_answers)
{
	struct wire_hello hello = raw_make_hello();
	struct raw_update update = raw_make_update(1);
	struct scene scene = set_scene(NULL);

	update.head.header.id = hello.header.id = scene.calls.header.id;
	if (_i)
		raw_send(scene.vm.executor, &hello, sizeof(hello));
	else
		raw_send(scene.vm.executor, &update, sizeof(update));
	expect_gone(&scene, "header.type");
}
END_TEST

START_TEST(what_an_idle_executor_says_was_not_asked_and_is_its_end)
{
	struct siege siege = siege_begin(NULL);

	/* Nothing was asked since; and the last answer, again. */
	for (uint64_t id = 0; id < 5; id++) {
		struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
		struct wire_called called = {
			.header = wire_header_make(WIRE_CALLED, sizeof(called), id), .n_done = 1
		};

		raw_send(vm.executor, &called, sizeof(called));
		raw_expect_closed(vm.owner, KVMATTR_NO_VM, "the executor broke the protocol");
		vm.owner = -1;
		raw_vm_close(&vm);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(an_answer_twice_is_one_too_many)
{
	struct scene scene = set_scene(NULL);
	struct wire_called answer = good_answer(&scene);

	raw_send(scene.vm.executor, &answer, sizeof(answer));
	raw_send(scene.vm.executor, &answer, sizeof(answer));
	/* The first was good. */
	raw_receive_type(scene.vm.owner, WIRE_ANSWER, buffer, NULL);
	ck_assert_uint_eq(((const struct wire_answer *)buffer)->n_failures, 0);
	raw_expect_closed(scene.vm.owner, KVMATTR_NO_VM, "the executor broke the protocol");
	scene.vm.owner = -1;
	raw_vm_close(&scene.vm);
	siege_end(&scene.siege);
}
END_TEST

START_TEST(descriptors_with_an_answer_are_not_kept)
{
	static const size_t numbers[] = { 1, 17, SEQPACKET_MAX_FDS };
	struct scene scene = set_scene(NULL);
	struct wire_called answer = good_answer(&scene);
	unsigned int n_fds = kvmattrd_count_fds(scene.siege.daemon);
	int fds[SEQPACKET_MAX_FDS];

	for (size_t i = 0; i < numbers[_i]; i++)
		fds[i] = raw_make_vm_fd();
	raw_send_with_fds(scene.vm.executor, &answer, sizeof(answer), fds, numbers[_i]);
	for (size_t i = 0; i < numbers[_i]; i++)
		close(fds[i]);
	/* Whether it is taken for an answer or for a broken protocol. */
	ck_assert_uint_gt(raw_receive(scene.vm.owner, buffer), 0);
	EVENTUALLY(5000, kvmattrd_count_fds(scene.siege.daemon) <= n_fds);
	raw_vm_close(&scene.vm);
	siege_end(&scene.siege);
}
END_TEST

START_TEST(an_executor_that_closes_with_a_call_under_way_takes_its_vm_along)
{
	struct scene scene = set_scene(NULL);

	close(scene.vm.executor);
	scene.vm.executor = -1;
	expect_gone(&scene, "executor");
}
END_TEST

START_TEST(an_executor_that_fails_every_call_makes_updates_fail_and_nothing_else)
{
	static const int errors[] = { EAGAIN, EINTR, EBUSY, ENOMEM, EINVAL, EIO, 4095, INT_MAX };
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	struct raw_update update = raw_make_update(2);
	struct pollfd fds[] = { { .fd = vm.owner, .events = POLLIN },
				{ .fd = vm.executor, .events = POLLIN } };
	unsigned int n_calls = 0;

	raw_send(vm.owner, &update, sizeof(update));
	for (;;) {
		struct wire_called answer = { .error = errors[_i] };

		ck_assert_int_gt(poll(fds, 2, 5000 * (int)harness_patience()), 0);
		if (fds[0].revents)
			break;
		raw_receive_type(vm.executor, WIRE_CALLS, buffer, NULL);
		answer.header = wire_header_make(WIRE_CALLED, sizeof(answer),
						 ((const struct wire_calls *)buffer)->header.id);
		raw_send(vm.executor, &answer, sizeof(answer));
		ck_assert_uint_lt(++n_calls, 100); /* bounded */
	}
	raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);
	ck_assert_uint_eq(((const struct wire_answer *)buffer)->n_failures, 1);
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- A daemon that is kept from its work --------------------------------------------------- */

/* As by a debugger, or while its control group is frozen; continued behind every deadline. */
static void stop_daemon(const struct siege *siege)
{
	ck_assert_int_eq(kill(siege->daemon->pid, SIGSTOP), 0);
}

static void continue_daemon(const struct siege *siege)
{
	usleep(2500000);
	ck_assert_int_eq(kill(siege->daemon->pid, SIGCONT), 0);
}

START_TEST(an_answer_that_came_in_time_is_in_time_whenever_the_daemon_hears_it)
{
	struct scene scene = set_scene(impatient);
	struct wire_called answer = good_answer(&scene);

	stop_daemon(&scene.siege);
	raw_send(scene.vm.executor, &answer, sizeof(answer));
	continue_daemon(&scene.siege);
	raw_receive_type(scene.vm.owner, WIRE_ANSWER, buffer, NULL);
	ck_assert_uint_eq(((const struct wire_answer *)buffer)->n_failures, 0);
	raw_vm_close(&scene.vm);
	siege_end(&scene.siege);
}
END_TEST

START_TEST(so_is_an_answer_to_the_probe)
{
	struct siege siege = siege_begin(impatient);
	struct raw_register message = raw_make_register("slow");
	struct raw_vm vm = raw_vm_begin(siege.daemon, &message);
	struct pollfd asked = { .fd = vm.executor, .events = POLLIN };

	EVENTUALLY(10000, poll(&asked, 1, 0) > 0);
	stop_daemon(&siege);
	raw_vm_answer_probe(&vm);
	continue_daemon(&siege);
	raw_vm_finish(&vm);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- Probes -------------------------------------------------------------------------------- */

struct probed {
	struct wire_probed head;
	struct wire_probe_result results[17];
};

static const struct {
	uint32_t n_targets; /* said */
	uint32_t n_results; /* sent */
	int32_t v10_errno, cap_errno;
	const char *part;
} probes[] = {
	{ 1, 1, ENOTTY, 0, "the executor broke the protocol" },
	{ 3, 3, ENOTTY, 0, "the executor broke the protocol" },
	{ 0, 0, ENOTTY, 0, "the executor broke the protocol" },
	{ 17, 17, ENOTTY, 0, "the executor broke the protocol" },
	{ 2, 1, ENOTTY, 0, "the executor broke the protocol" },
	{ 2, 3, ENOTTY, 0, "the executor broke the protocol" },
	{ UINT32_MAX, 2, ENOTTY, 0, "the executor broke the protocol" },
	{ 2, 2, -1, 0, "the executor broke the protocol" },
	{ 2, 2, ENOTTY, INT_MIN, "the executor broke the protocol" },
	{ 2, 2, ENOTTY, EIO, "KVM answers EIO" },
	{ 2, 2, ENOTTY, EBADF, "KVM_CHECK_EXTENSION fails with EBADF" },
	{ 2, 2, ENOTTY, INT_MAX, "KVM_CHECK_EXTENSION fails with an unknown error" },
};

START_TEST(an_answer_to_the_probe_that_is_wrong_fails_the_registration)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct raw_vm vm = raw_vm_begin(siege.daemon, &message);
	struct probed answer = { .head = { .n_targets = probes[_i].n_targets } };
	size_t size = sizeof(answer.head) + probes[_i].n_results * sizeof(answer.results[0]);

	raw_receive_type(vm.executor, WIRE_PROBE, buffer, NULL);
	answer.head.header =
		wire_header_make(WIRE_PROBED, size, ((const struct wire_probe *)buffer)->header.id);
	for (uint32_t i = 0; i < probes[_i].n_results; i++)
		answer.results[i] = (struct wire_probe_result){ .v10_errno = probes[_i].v10_errno,
								.cap_errno = probes[_i].cap_errno,
								.cap = 0xf };
	raw_send(vm.executor, &answer, size);
	raw_expect_refusal(vm.owner, REGISTRATION_ID,
			   *probes[_i].part == 'K' ? KVMATTR_UNSUPPORTED : KVMATTR_NO_VM,
			   probes[_i].part);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_kernel_that_claims_to_know_every_bit_is_told_only_those_that_we_know)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct raw_update update = raw_make_update(2);
	struct probed answer = { .head = { .n_targets = 2 } };
	const size_t size = sizeof(answer.head) + 2 * sizeof(answer.results[0]);
	struct raw_vm vm;
	struct wire_call call;

	message.ram[0].private = 1;
	vm = raw_vm_begin(siege.daemon, &message);
	raw_receive_type(vm.executor, WIRE_PROBE, buffer, NULL);
	answer.head.header =
		wire_header_make(WIRE_PROBED, size, ((const struct wire_probe *)buffer)->header.id);
	for (int i = 0; i < 2; i++)
		answer.results[i] = (struct wire_probe_result){
			.v10_errno = _i ? 0 : ENOTTY,
			.v10_supported = UINT64_MAX,
			.cap = UINT64_MAX,
		};
	raw_send(vm.executor, &answer, size);
	update.head.header.size = sizeof(update);
	raw_receive_type(vm.executor, WIRE_CALLS, buffer, NULL);
	ck_assert_ptr_null(wire_at_call(buffer, 0, &call));
	/* Private, and at most the three allow bits beside. */
	ck_assert_uint_eq(call.attributes & ~UINT64_C(7), 8);
	ck_assert_uint_eq(call.attributes & 7, _i ? 7 : 0);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_probe_that_is_not_answered_ends_the_registration_at_the_deadline)
{
	struct siege siege = siege_begin(impatient);
	struct raw_register message = raw_make_register("hostile");
	struct raw_vm vm = raw_vm_begin(siege.daemon, &message);

	raw_expect_refusal(vm.owner, REGISTRATION_ID, KVMATTR_EXECUTOR_STUCK,
			   "did not answer the probe");
	/* Too late. */
	raw_vm_answer_probe(&vm);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(an_owner_that_leaves_before_the_probes_answer_leaves_nothing_behind)
{
	struct siege siege = siege_begin(impatient);
	struct raw_register message = raw_make_register("hostile");
	struct raw_vm vm = raw_vm_begin(siege.daemon, &message);

	close(vm.owner);
	vm.owner = -1;
	/* The executor's socket and the views stay open on our side. */
	expect_state(siege.daemon, siege.control, &siege.before);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

static void try_again(const struct kvmattrd *d, const struct raw_vm *vm, const char *part)
{
	struct raw_register message = raw_make_register("again");
	int sockets[2], owner = raw_greet(d);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	raw_send_with_fds(owner, &message, sizeof(message),
			  (int[]){ sockets[1], vm->fds[0], vm->fds[1] }, 3);
	close(sockets[1]);
	if (part)
		raw_expect_refusal(owner, REGISTRATION_ID, KVMATTR_VM_EXISTS, part);
	else
		raw_receive_type(sockets[0], WIRE_PROBE, buffer, NULL);
	close(sockets[0]);
	close(owner);
}

/* Its calls could come after those that the new registration makes. */
START_TEST(a_vm_is_not_registered_anew_while_its_old_executor_has_calls_to_make)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	struct raw_vm vm;

	message.ram[0].private = 1;
	vm = raw_vm_begin(siege.daemon, &message);
	raw_vm_answer_probe(&vm);
	raw_receive_type(vm.executor, WIRE_CALLS, buffer, NULL);
	close(vm.owner);
	vm.owner = -1;
	EVENTUALLY(5000, daemon_state_now(siege.daemon, siege.control).n_vms == siege.before.n_vms);
	try_again(siege.daemon, &vm, "still makes calls");
	close(vm.executor);
	vm.executor = -1;
	try_again(siege.daemon, &vm, NULL);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- Tricks with the socket ---------------------------------------------------------------- */

/* The VMM keeps the end that it gave away. */
static struct raw_vm begin_keeping_end(const struct kvmattrd *d, int *ret_kept)
{
	struct raw_register message = raw_make_register("hostile");
	struct raw_vm vm = { .owner = raw_greet(d), .fds = { raw_make_vm_fd(), raw_make_vm_fd() } };
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	vm.executor = sockets[0];
	raw_send_with_fds(vm.owner, &message, sizeof(message),
			  (int[]){ sockets[1], vm.fds[0], vm.fds[1] }, 3);
	*ret_kept = sockets[1];
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	return vm;
}

START_TEST(a_tiny_send_buffer_is_the_vmms_own_loss)
{
	enum { N_UPDATES = 400 };
	static struct {
		struct wire_update_list head;
		struct {
			struct wire_update update;
			uint64_t gfn;
		} updates[N_UPDATES];
	} message;
	struct siege siege = siege_begin(impatient);
	const int tiny = 1;
	int kept;
	struct raw_vm vm = begin_keeping_end(siege.daemon, &kept);

	ck_assert_int_eq(setsockopt(kept, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny)), 0);
	message.head.header = wire_header_make(WIRE_UPDATE, sizeof(message), 1);
	message.head.n_updates = N_UPDATES;
	for (uint64_t i = 0; i < N_UPDATES; i++) {
		message.updates[i].update = raw_make_update(1).update;
		message.updates[i].update.n_elements = 1;
		message.updates[i].gfn = 2 * i;
	}
	message.updates[0].update = (struct wire_update){ .kind = KVMATTR_SET_VISIBILITY,
							  .form = WIRE_FORM_PAGES,
							  .n_elements = 1 };
	for (int i = 1; i < N_UPDATES; i++)
		message.updates[i].update = (struct wire_update){ .kind = KVMATTR_SET_VISIBILITY,
								  .form = WIRE_FORM_PAGES,
								  .value = 1,
								  .n_elements = 1 };
	raw_send(vm.owner, &message, sizeof(message));
	/* Hundreds of calls do not fit: the VM goes, or the daemon made room again. */
	for (;;) {
		struct pollfd fds[] = { { .fd = vm.owner, .events = POLLIN },
					{ .fd = vm.executor, .events = POLLIN } };

		ck_assert_int_gt(poll(fds, 2, 10000 * (int)harness_patience()), 0);
		if (fds[0].revents)
			break;
		raw_vm_answer_calls(&vm);
	}
	raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);
	close(kept);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_vmm_that_reads_its_own_answers_away_is_stuck_alone)
{
	struct siege siege = siege_begin(impatient);
	struct raw_update update = raw_make_update(1);
	int kept;
	struct raw_vm vm = begin_keeping_end(siege.daemon, &kept);
	struct wire_failure failure;

	update.update.kind = KVMATTR_SET_VISIBILITY;
	update.update.layer = 0;
	update.update.restricted = 0;
	update.update.value = 1;
	/* What the executor is told goes to the VMM's other hand. */
	raw_send(vm.owner, &update, sizeof(update));
	raw_receive_type(vm.executor, WIRE_CALLS, buffer, NULL);
	raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);
	ck_assert_uint_eq(((const struct wire_answer *)buffer)->n_failures, 1);
	ck_assert_ptr_null(wire_at_failure(buffer, 0, &failure));
	ck_assert_uint_eq(failure.status, KVMATTR_EXECUTOR_STUCK);
	raw_expect_alive(vm.owner);
	close(kept);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *wrong = harness_make_case("answers", 20);
	TCase *probing = harness_make_case("probes", 20);
	TCase *tricks = harness_make_case("tricks", 20);

	tcase_add_loop_test(
		wrong,
		an_answer_with_a_wrong_field_is_the_end_of_its_vm_and_the_owner_is_told_which, 0,
		N(answers));
	tcase_add_test(wrong, an_answer_that_is_cut_is_the_end_of_its_vm);
	tcase_add_loop_test(wrong, an_empty_or_a_huge_answer_is_the_end_of_its_vm, 0, 2);
	tcase_add_loop_test(wrong, messages_of_the_agent_socket_are_no_answers, 0, 2);
	tcase_add_test(wrong, what_an_idle_executor_says_was_not_asked_and_is_its_end);
	tcase_add_test(wrong, an_answer_twice_is_one_too_many);
	tcase_add_loop_test(wrong, descriptors_with_an_answer_are_not_kept, 0, 3);
	tcase_add_test(wrong, an_executor_that_closes_with_a_call_under_way_takes_its_vm_along);
	tcase_add_loop_test(
		wrong, an_executor_that_fails_every_call_makes_updates_fail_and_nothing_else, 0, 8);
	tcase_add_test(wrong, an_answer_that_came_in_time_is_in_time_whenever_the_daemon_hears_it);
	tcase_add_test(wrong, so_is_an_answer_to_the_probe);
	tcase_add_loop_test(probing, an_answer_to_the_probe_that_is_wrong_fails_the_registration, 0,
			    N(probes));
	tcase_add_loop_test(probing,
			    a_kernel_that_claims_to_know_every_bit_is_told_only_those_that_we_know,
			    0, 2);
	tcase_add_test(probing, a_probe_that_is_not_answered_ends_the_registration_at_the_deadline);
	tcase_add_test(probing,
		       an_owner_that_leaves_before_the_probes_answer_leaves_nothing_behind);
	tcase_add_test(probing,
		       a_vm_is_not_registered_anew_while_its_old_executor_has_calls_to_make);
	tcase_add_test(tricks, a_tiny_send_buffer_is_the_vmms_own_loss);
	tcase_add_test(tricks, a_vmm_that_reads_its_own_answers_away_is_stuck_alone);
	return harness_run("hostile executors", (TCase *const[]){ wrong, probing, tricks, NULL });
}
