/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/vmm-process.h"

#include "protocol/seqpacket.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- A VMM that may die -------------------------------------------------------------------- */

__attribute__((noreturn)) static void run_vmm(const struct kvmattrd *d,
					      const struct simulated_vmm_options *options,
					      int channel)
{
	struct simulated_vmm *vmm;
	char byte = 0;
	struct iovec part = { &byte, 1 };
	int fd = -1;

	harness_die_with_parent();
	vmm = simulated_vmm_start(d, options);
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	expect_ok(vmm->owner, kvmattr_open_agent(vmm->owner, 1, KVMATTR_RIGHT_VISIBILITY, &fd));
	ck_assert_int_eq(seqpacket_send(channel, &part, 1, &fd, 1, 0), 0);
	close(fd);
	for (;;)
		pause();
}

struct vmm_process vmm_process_start(const struct kvmattrd *d,
				     const struct simulated_vmm_options *options)
{
	struct vmm_process vmm = { 0 };
	struct seqpacket_fds fds;
	int channel[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
	vmm.pid = fork();
	ck_assert_int_ge(vmm.pid, 0);
	if (!vmm.pid) {
		close(channel[0]);
		run_vmm(d, options, channel[1]);
	}
	close(channel[1]);
	ck_assert_int_eq(seqpacket_receive(channel[0], &byte, 1, &fds, 0), 1);
	ck_assert_uint_eq(fds.n, 1);
	expect_ok(NULL, kvmattr_adopt(seqpacket_fds_take(&fds, 0), "test-agent", &vmm.agent));
	close(channel[0]);
	return vmm;
}

void vmm_process_end(struct vmm_process *vmm)
{
	kill(vmm->pid, SIGKILL);
	ck_assert_int_eq(waitpid(vmm->pid, NULL, 0), vmm->pid);
	kvmattr_close(vmm->agent);
}

/* ---- The bystander ------------------------------------------------------------------------- */

/*
 * The longest that it may have to wait for one answer: on a loaded machine the scheduler alone has
 * it wait for a second now and then.
 */
#define PATIENCE_MS 5000
#define PAUSE_NS    200000

struct bystander {
	pid_t pid;
	_Atomic uint64_t n_updates;
	_Atomic uint64_t slowest_ms;
	_Atomic bool is_to_stop;
};

static void be_a_bystander(struct bystander *bystander, const struct kvmattrd *d)
{
	static const unsigned int values[] = { KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW };
	struct simulated_vmm *vmm = simulated_vmm_start(
		d, &(struct simulated_vmm_options){ .name = "bystander", .n_pages = 1024 });
	struct kvmattr *agent = simulated_vmm_open_agent(vmm, 1, 0);
	uint64_t seed = 99;

	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	while (!atomic_load(&bystander->is_to_stop)) {
		uint64_t gfn = next_random(&seed) % (vmm->n_pages - 8);
		unsigned int value = values[next_random(&seed) % N(values)];
		uint64_t took_ms, started_ms = harness_now_ms();

		expect_ok(agent, protect_range(agent, 1, value, gfn, 8));
		expect_pages(vmm, 0, gfn, 8, value);
		took_ms = harness_now_ms() - started_ms;
		if (took_ms > atomic_load(&bystander->slowest_ms))
			atomic_store(&bystander->slowest_ms, took_ms);
		atomic_fetch_add(&bystander->n_updates, 1);
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	expect_agreement(vmm, agent, 0);
	kvmattr_close(agent);
	simulated_vmm_stop(vmm);
}

struct bystander *bystander_start(const struct kvmattrd *d)
{
	struct bystander *bystander = mmap(NULL, sizeof(*bystander), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	pid_t pid;

	ck_assert_ptr_ne(bystander, MAP_FAILED);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		harness_die_with_parent();
		be_a_bystander(bystander, d);
		_exit(EXIT_SUCCESS);
	}
	bystander->pid = pid;
	EVENTUALLY(5000, atomic_load(&bystander->n_updates) > 1);
	return bystander;
}

uint64_t bystander_count(const struct bystander *bystander)
{
	return atomic_load(&bystander->n_updates);
}

void bystander_expect_progress(const struct bystander *bystander)
{
	uint64_t before = bystander_count(bystander);

	EVENTUALLY(PATIENCE_MS, bystander_count(bystander) > before + 2);
}

void bystander_stop(struct bystander *bystander)
{
	int status = 0;

	bystander_expect_progress(bystander);
	atomic_store(&bystander->is_to_stop, true);
	ck_assert_int_eq(waitpid(bystander->pid, &status, 0), bystander->pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status),
		      "the bystander was disturbed: it ended with 0x%x", status);
	ck_assert_msg(
		atomic_load(&bystander->slowest_ms) < (uint64_t)PATIENCE_MS * harness_patience(),
		"the bystander waited %lu ms for an answer", atomic_load(&bystander->slowest_ms));
	munmap(bystander, sizeof(*bystander));
}
