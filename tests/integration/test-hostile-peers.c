/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Peers that want more than their share: they do not read, flood, stay silent, come by the
 * thousand, or have more memory than there is.  What they can make the daemon hold is bounded, and
 * a bystander's updates go on.
 */
#include "tests/integration/raw-peer.h"
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static _Alignas(8) uint8_t buffer[WIRE_MAX_MESSAGE];

static void expect_little_memory(const struct kvmattrd *d, long before_kib, long more_kib)
{
	long kib = kvmattrd_most_resident_kib(d);

	if (harness_patience() == 1)
		ck_assert_msg(kib - before_kib <= more_kib, "the daemon took %ld KiB, not %ld",
			      kib - before_kib, more_kib);
}

/* Sends without ever reading, until the socket takes no more for a while; returns how many. */
static unsigned int push(int socket, const void *message, size_t size, unsigned int limit)
{
	unsigned int n = 0;

	while (n < limit) {
		struct pollfd writable = { .fd = socket, .events = POLLOUT };

		if (send(socket, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
			n++;
			continue;
		}
		ck_assert_int_eq(errno, EAGAIN);
		if (poll(&writable, 1, 50) == 0)
			break;
	}
	return n;
}

/* ---- Not reading --------------------------------------------------------------------------- */

START_TEST(a_peer_that_never_reads_its_answers_is_not_read_either)
{
	enum { MORE_THAN_FITS = 200000 };
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	struct wire_query query = { .header = wire_header_make(WIRE_QUERY, sizeof(query), 3),
				    .n_pages = 1024 };
	long before_kib = kvmattrd_most_resident_kib(siege.daemon);

	ck_assert_uint_lt(push(vm.owner, &query, sizeof(query), MORE_THAN_FITS), MORE_THAN_FITS);
	bystander_expect_progress(siege.bystander);
	expect_little_memory(siege.daemon, before_kib, 4096);
	/* Once it reads, it is read again, and every answer is there. */
	raw_receive_type(vm.owner, WIRE_RUNS, buffer, NULL);
	raw_receive_type(vm.owner, WIRE_RUNS, buffer, NULL);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* Updates that fail cost the daemon a text each until they are read. */
START_TEST(an_agent_that_never_reads_what_failed_is_not_read_either)
{
	enum { MORE_THAN_FITS = 100000 };
	struct siege siege = siege_begin("[limits]\nmax-updates-in-flight = 64\n");
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	int agent = raw_vm_open_agent(&vm, 1, 0);
	long before_kib = kvmattrd_most_resident_kib(siege.daemon);
	unsigned int n;
	uint64_t answered = 0;

	for (n = 0; n < MORE_THAN_FITS; n++) {
		struct raw_update update = raw_make_update(n + 1);

		update.gfns[0] = UINT64_MAX;
		if (!push(agent, &update, sizeof(update), 1))
			break;
	}
	ck_assert_uint_lt(n, MORE_THAN_FITS);
	bystander_expect_progress(siege.bystander);
	expect_little_memory(siege.daemon, before_kib, 4096);
	/* All that was taken is answered, in order, when it reads. */
	while (answered < n) {
		struct wire_answer answer;
		size_t size = raw_receive_type(agent, WIRE_ANSWER, buffer, NULL);

		ck_assert_ptr_null(wire_get_answer(buffer, size, &answer));
		ck_assert_uint_gt(answer.header.id, answered);
		ck_assert_uint_eq(answer.n_failures, answer.header.id - answered);
		answered = answer.header.id;
	}
	ck_assert_uint_eq(answered, n);
	close(agent);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(an_agent_that_never_reads_while_its_executor_sleeps_is_bounded)
{
	enum { MORE_THAN_FITS = 100000 };
	struct siege siege = siege_begin("[limits]\nmax-updates-in-flight = 64\n");
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	int agent = raw_vm_open_agent(&vm, 1, 0);
	long before_kib = kvmattrd_most_resident_kib(siege.daemon);
	unsigned int n;

	for (n = 0; n < MORE_THAN_FITS; n++) {
		struct raw_update update = raw_make_update(n + 1);

		update.update.value = n % 2 ? KVMATTR_R : KVMATTR_RX;
		if (!push(agent, &update, sizeof(update), 1))
			break;
	}
	ck_assert_uint_lt(n, MORE_THAN_FITS);
	bystander_expect_progress(siege.bystander);
	expect_little_memory(siege.daemon, before_kib, 4096);
	close(agent);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_message_with_more_updates_than_may_be_under_way_is_answered_whole)
{
	enum { N_UPDATES = 3000 };
	static struct {
		struct wire_update_list head;
		struct wire_update updates[N_UPDATES];
	} message;
	struct siege siege = siege_begin("[limits]\nmax-updates-in-flight = 8\n");
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	uint64_t answered = 1, n_failures = 0;

	message.head.header = wire_header_make(WIRE_UPDATE, sizeof(message), 2);
	message.head.n_updates = N_UPDATES;
	for (int i = 0; i < N_UPDATES; i++) /* each but the first is one too many */
		message.updates[i] = (struct wire_update){ .kind = KVMATTR_ENABLE_LAYER,
							   .layer = 2,
							   .value = KVMATTR_RWX };
	raw_send(vm.owner, &message, sizeof(message));
	while (answered < N_UPDATES + 1) {
		struct wire_answer answer;
		size_t size = raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);

		ck_assert_ptr_null(wire_get_answer(buffer, size, &answer));
		n_failures += answer.n_failures;
		answered = answer.header.id;
	}
	ck_assert_uint_eq(answered, N_UPDATES + 1);
	ck_assert_uint_eq(n_failures, N_UPDATES - 1);
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* ---- Floods -------------------------------------------------------------------------------- */

/* In a process of its own, until it is killed. */
__attribute__((noreturn)) static void flood(int agent)
{
	struct wire_explain explain = { .header = wire_header_make(WIRE_EXPLAIN, sizeof(explain),
								   1) };

	for (uint64_t seqno = 1;; seqno++) {
		struct raw_update update = raw_make_update(seqno);

		update.gfns[0] = seqno % 1024;
		if (send(agent, &update, sizeof(update), MSG_NOSIGNAL) < 0)
			_exit(1);
		if (send(agent, &explain, sizeof(explain), MSG_NOSIGNAL) < 0)
			_exit(1);
		while (recv(agent, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
			;
	}
}

START_TEST(peers_that_flood_do_not_starve_the_others)
{
	enum { N_FLOODS = 6 };
	struct siege siege = siege_begin(NULL);
	struct simulated_vmm *vmm = simulated_vmm_start(
		siege.daemon, &(struct simulated_vmm_options){ .n_pages = 1024 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	long before_kib = kvmattrd_most_resident_kib(siege.daemon);
	uint64_t until_ms;
	pid_t pids[N_FLOODS];

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	for (int i = 0; i < N_FLOODS; i++) {
		int fd = -1;

		expect_ok(vmm->owner, kvmattr_open_agent(vmm->owner, 1, 0, &fd));
		raw_say_hello(fd);
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (!pids[i])
			flood(fd);
		close(fd);
	}
	until_ms = harness_now_ms() + 400;
	while (harness_now_ms() < until_ms) {
		/* The same VM's other agents, too. */
		expect_ok(agent, protect_range(agent, 1, KVMATTR_RX, 1000, 8));
		bystander_expect_progress(siege.bystander);
	}
	for (int i = 0; i < N_FLOODS; i++) {
		ck_assert_int_eq(waitpid(pids[i], NULL, WNOHANG), 0); /* it floods still */
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	expect_little_memory(siege.daemon, before_kib, 32768);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
	siege_end(&siege);
}
END_TEST

START_TEST(peers_that_come_and_go_leave_nothing_behind)
{
	enum { N_PEERS = 3000 };
	struct siege siege = siege_begin(NULL);
	struct wire_hello hello = raw_make_hello();

	for (int i = 0; i < N_PEERS; i++) {
		int peer = raw_connect(siege.daemon);

		if (i % 3)
			raw_send(peer, &hello, sizeof(hello));
		if (i % 3 == 2)
			raw_receive_type(peer, WIRE_WELCOME, buffer, NULL);
		close(peer);
	}
	siege_end(&siege);
}
END_TEST

/* ---- Limits -------------------------------------------------------------------------------- */

START_TEST(silent_peers_are_let_be_and_cost_nothing_but_their_places)
{
	enum { N_SILENT = 30 };
	struct siege siege = siege_begin("[limits]\nmax-sessions = 64\n");
	int peers[N_SILENT];

	for (int i = 0; i < N_SILENT; i++)
		peers[i] = i % 2 ? raw_greet(siege.daemon) : raw_connect(siege.daemon);
	bystander_expect_progress(siege.bystander);
	close(raw_greet(siege.daemon));
	for (int i = 0; i < N_SILENT; i++)
		close(peers[i]);
	siege_end(&siege);
}
END_TEST

/* Connects, and is told that there is no place. */
static void expect_no_place(const struct kvmattrd *d)
{
	int peer = raw_connect(d);
	struct wire_notice notice;
	size_t n = raw_receive_type(peer, WIRE_ERROR, buffer, NULL);

	ck_assert_ptr_null(wire_get_notice(buffer, n, &notice));
	ck_assert_uint_eq(notice.status, KVMATTR_LIMIT_EXCEEDED);
	ck_assert_uint_eq(notice.closing, 1);
	ck_assert_ptr_nonnull(strstr(notice.text, "max-sessions"));
	ck_assert_uint_eq(raw_receive(peer, buffer), 0);
	close(peer);
}

START_TEST(thousands_over_the_limit_are_told_so_and_the_places_are_free_again_afterwards)
{
	enum { N_PLACES = 64, N_TOO_MANY = 3000 };
	struct siege siege = siege_begin("[limits]\nmax-sessions = 64\n");
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	struct wire_open_agent open = { .header = wire_header_make(WIRE_OPEN_AGENT, sizeof(open),
								   5) };
	int peers[N_PLACES];
	int64_t n = N_PLACES - daemon_state_now(siege.daemon, siege.control).n_sessions;

	for (int i = 0; i < n; i++)
		peers[i] = raw_greet(siege.daemon);
	for (int i = 0; i < N_TOO_MANY; i++)
		expect_no_place(siege.daemon);
	raw_send(vm.owner, &open, sizeof(open));
	raw_expect_refusal(vm.owner, 5, KVMATTR_LIMIT_EXCEEDED, "max-sessions");
	raw_expect_alive(vm.owner);
	bystander_expect_progress(siege.bystander);
	for (int i = 0; i < n; i++)
		close(peers[i]);
	EVENTUALLY(5000, daemon_state_now(siege.daemon, siege.control).n_sessions < N_PLACES);
	close(raw_greet(siege.daemon));
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(libkvmattr_says_that_there_is_no_place)
{
	struct siege siege = siege_begin("[limits]\nmax-sessions = 4\n");
	int first = raw_greet(siege.daemon), second = raw_greet(siege.daemon);
	struct kvmattr *c = NULL;

	expect_refusal(NULL, kvmattr_connect(siege.daemon->agent_socket, "one-too-many", &c),
		       KVMATTR_LIMIT_EXCEEDED, "max-sessions");
	close(first);
	close(second);
	siege_end(&siege);
}
END_TEST

START_TEST(more_vms_than_may_be_are_refused)
{
	struct siege siege = siege_begin("[limits]\nmax-vms = 3\n");
	struct raw_vm vms[2] = { raw_vm_start(siege.daemon, "one"),
				 raw_vm_start(siege.daemon, "two") };
	struct raw_register message = raw_make_register("three");
	struct raw_vm third = raw_vm_begin(siege.daemon, &message);

	raw_expect_refusal(third.owner, 77, KVMATTR_LIMIT_EXCEEDED, "max-vms");
	raw_vm_close(&third);
	raw_vm_close(&vms[0]);
	EVENTUALLY(5000, daemon_state_now(siege.daemon, siege.control).n_vms == 2);
	third = raw_vm_start(siege.daemon, "three");
	raw_vm_close(&third);
	raw_vm_close(&vms[1]);
	siege_end(&siege);
}
END_TEST

/* ---- No descriptors left ------------------------------------------------------------------- */

static void limit_fds(const struct kvmattrd *d, unsigned int n)
{
	struct rlimit limit;

	ck_assert_int_eq(prlimit(d->pid, RLIMIT_NOFILE, NULL, &limit), 0);
	limit.rlim_cur = n ? n : limit.rlim_max;
	ck_assert_int_eq(prlimit(d->pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

START_TEST(a_daemon_without_descriptors_serves_those_it_has_and_takes_in_others_later)
{
	struct siege siege = siege_begin(NULL);
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	struct wire_open_agent open = { .header = wire_header_make(WIRE_OPEN_AGENT, sizeof(open),
								   5) };
	struct wire_hello hello = raw_make_hello();
	int waiting;

	limit_fds(siege.daemon, 4);
	waiting = raw_connect(siege.daemon);
	raw_send(waiting, &hello, sizeof(hello));
	raw_send(vm.owner, &open, sizeof(open));
	raw_expect_refusal(vm.owner, 5, KVMATTR_LIMIT_EXCEEDED, "no file descriptors left");
	raw_expect_alive(vm.owner);
	bystander_expect_progress(siege.bystander);
	EVENTUALLY(5000, kvmattrd_has_logged(siege.daemon, "raise LimitNOFILE"));
	limit_fds(siege.daemon, 0);
	raw_receive_type(waiting, WIRE_WELCOME, buffer, NULL);
	close(waiting);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(a_registration_without_descriptors_left_is_told_so)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	int peer = raw_greet(siege.daemon), sockets[2], fds[3];

	limit_fds(siege.daemon, 4);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	fds[0] = sockets[1];
	fds[1] = raw_make_vm_fd();
	fds[2] = raw_make_vm_fd();
	raw_send_with_fds(peer, &message, sizeof(message), fds, 3);
	/* The kernel has dropped them: the message cannot be understood any more. */
	raw_expect_closed(peer, KVMATTR_LIMIT_EXCEEDED, "no file descriptors left");
	limit_fds(siege.daemon, 0);
	close(sockets[0]);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	siege_end(&siege);
}
END_TEST

/* ---- More memory than there is ------------------------------------------------------------- */

START_TEST(a_vm_with_all_memory_that_can_be_costs_the_others_nothing)
{
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	long before_kib = kvmattrd_most_resident_kib(siege.daemon);
	struct raw_vm vm;

	message.ram[0].n_pages = KVMATTR_GFN_LIMIT;
	message.ram[0].private = (uint32_t)_i;
	vm = raw_vm_begin(siege.daemon, &message);
	raw_vm_answer_probe(&vm);
	/* KVM would have to be told in many calls; some of them are enough. */
	for (int i = 0; i < 50; i++)
		raw_vm_answer_calls(&vm);
	bystander_expect_progress(siege.bystander);
	expect_little_memory(siege.daemon, before_kib, 32768);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

/* Locks are the owner's, cost KVM nothing, and every range here is all of its RAM. */
START_TEST(an_owner_that_makes_its_own_maps_expensive_does_not_hold_up_the_others)
{
	enum { N_PAGES = 1 << 20, N_RANGES = 250 };
	static struct {
		struct wire_update_list head;
		struct wire_update update;
		uint64_t gfns[4000];
	} pages;
	static struct {
		struct wire_update_list head;
		struct wire_update update;
		struct kvmattr_range ranges[N_RANGES];
	} ranges;
	struct siege siege = siege_begin(NULL);
	struct raw_register message = raw_make_register("hostile");
	long before_kib = kvmattrd_most_resident_kib(siege.daemon);
	struct raw_vm vm;
	uint64_t seqno = 1, gfn = 0;

	message.ram[0].n_pages = N_PAGES;
	vm = raw_vm_begin(siege.daemon, &message);
	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	/* Every other page, so that no two neighbours are equal. */
	while (gfn < N_PAGES) {
		uint32_t n = 0;

		for (; n < N(pages.gfns) && gfn < N_PAGES; gfn += 2)
			pages.gfns[n++] = gfn;
		pages.head.n_updates = 1;
		pages.update = (struct wire_update){ .kind = KVMATTR_LOCK,
						     .form = WIRE_FORM_PAGES,
						     .n_elements = n };
		pages.head.header = wire_header_make(
			WIRE_UPDATE,
			sizeof(pages.head) + sizeof(pages.update) + n * sizeof(uint64_t), seqno++);
		raw_send(vm.owner, &pages, pages.head.header.size);
		raw_receive_type(vm.owner, WIRE_ANSWER, buffer, NULL);
	}
	ranges.head.header = wire_header_make(WIRE_UPDATE, sizeof(ranges), seqno);
	ranges.head.n_updates = 1;
	ranges.update = (struct wire_update){ .kind = KVMATTR_LOCK,
					      .form = WIRE_FORM_RANGES,
					      .n_elements = N_RANGES };
	for (int i = 0; i < N_RANGES; i++)
		ranges.ranges[i] = (struct kvmattr_range){ 0, N_PAGES };
	raw_send(vm.owner, &ranges, sizeof(ranges));
	for (int i = 0; i < 5; i++)
		bystander_expect_progress(siege.bystander);
	expect_little_memory(siege.daemon, before_kib, 256 * 1024);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *deaf = harness_make_case("not reading", 20);
	TCase *floods = harness_make_case("floods", 30);
	TCase *limits = harness_make_case("limits", 20);
	TCase *large = harness_make_case("large", 30);

	tcase_add_test(deaf, a_peer_that_never_reads_its_answers_is_not_read_either);
	tcase_add_test(deaf, an_agent_that_never_reads_what_failed_is_not_read_either);
	tcase_add_test(deaf, an_agent_that_never_reads_while_its_executor_sleeps_is_bounded);
	tcase_add_test(deaf, a_message_with_more_updates_than_may_be_under_way_is_answered_whole);
	tcase_add_test(floods, peers_that_flood_do_not_starve_the_others);
	tcase_add_test(floods, peers_that_come_and_go_leave_nothing_behind);
	tcase_add_test(limits, silent_peers_are_let_be_and_cost_nothing_but_their_places);
	tcase_add_test(
		limits,
		thousands_over_the_limit_are_told_so_and_the_places_are_free_again_afterwards);
	tcase_add_test(limits, libkvmattr_says_that_there_is_no_place);
	tcase_add_test(limits, more_vms_than_may_be_are_refused);
	tcase_add_test(limits,
		       a_daemon_without_descriptors_serves_those_it_has_and_takes_in_others_later);
	tcase_add_test(limits, a_registration_without_descriptors_left_is_told_so);
	tcase_add_loop_test(large, a_vm_with_all_memory_that_can_be_costs_the_others_nothing, 0, 2);
	tcase_add_test(large,
		       an_owner_that_makes_its_own_maps_expensive_does_not_hold_up_the_others);
	return harness_run("hostile peers", (TCase *const[]){ deaf, floods, limits, large, NULL });
}
