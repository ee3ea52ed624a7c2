/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Besiegers that ask, and read what they are told; and agents that send updates and do not.
 */
#include "protocol/wire.h"
#include "tests/bench/besieger.h"
#include "tests/bench/hostile-vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_MS 10

/* ---- Questions ----------------------------------------------------------------------------- */

#define BATCH_CALLS 64u

/* The VMs of others: the lone agent's, and the one whose boot trace is played. */
static const char *const vms[] = { "bench", "simvm" };

static const struct {
	const char *method;
	const char *vm;   /* how it calls the parameter with the VM's name, if it has one */
	const char *more; /* parameters */
} questions[] = {
	{ "map.effective", "vm", ",\"limit\":1024" },
	{ "map.summary", "vm", ",\"buckets\":4096" },
	{ "journal.state_at", "journal", ",\"limit\":1024" },
	{ "journal.blame", "journal", ",\"gpa\":\"0x1000\",\"limit\":1024" },
	{ "journal.log", "journal", ",\"limit\":1024" },
	{ "vm.export", "vm", "" },
	{ "rpc.discover", NULL, NULL },
	{ "daemon.metrics", NULL, NULL },
};
#define N_QUESTIONS (sizeof(questions) / sizeof(questions[0]))

static size_t make_call(char *text, size_t size, size_t question, const char *vm)
{
	int n = snprintf(text, size, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"",
			 questions[question].method);

	if (questions[question].vm)
		n += snprintf(text + n, size - (size_t)n, ",\"params\":{\"%s\":\"%s\"%s}",
			      questions[question].vm, vm, questions[question].more);
	return (size_t)n + (size_t)snprintf(text + n, size - (size_t)n, "}");
}

static size_t make_batch(char *text, size_t size, size_t question, const char *vm)
{
	size_t n = 0;

	for (unsigned int i = 0; i < BATCH_CALLS; i++) {
		text[n++] = i ? ',' : '[';
		n += make_call(text + n, size - n, question, vm);
	}
	return n + (size_t)snprintf(text + n, size - n, "]\n");
}

/* To the end of one answer; false if the daemon closed. */
static bool read_answer(struct besieger *besieger, int fd)
{
	static char answer[1 << 16];

	for (;;) {
		ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);

		if (n <= 0)
			return false;
		answer[n] = '\0';
		besieger_count_errors(besieger, answer);
		if (answer[n - 1] == '\n')
			return true;
	}
}

static void ask_again_and_again(struct besieger *besieger)
{
	static char batch[BATCH_CALLS * 256];
	int fd = -1;

	for (size_t i = besieger->number / 2;; i++) {
		size_t n =
			make_batch(batch, sizeof(batch), i % N_QUESTIONS, vms[i / N_QUESTIONS % 2]);

		if (fd < 0)
			fd = besieger_connect_control(besieger);
		for (unsigned int call = 0; call < BATCH_CALLS; call++)
			besieger_count_attack(besieger);
		if (fd >= 0 && send(fd, batch, n, 0) == (ssize_t)n && read_answer(besieger, fd))
			continue;
		besieger_count_refusals(besieger, 1);
		if (fd >= 0)
			close(fd);
		fd = -1;
		besieger_rest(RETRY_MS);
	}
}

/* ---- A flood of updates -------------------------------------------------------------------- */

#define N_SMALL 8u /* pages in each: what most of a guest's lists have */

/* The VM is served as long as the agent's socket takes more. */
static void flood(struct hostile_vm *vm, int agent)
{
	struct wire_update update = { .kind = KVMATTR_PROTECT,
				      .form = WIRE_FORM_PAGES,
				      .layer = 1,
				      .restricted = KVMATTR_ALL_LOWER,
				      .n_elements = N_SMALL };
	uint64_t seqno = 1;

	do {
		update.value = seqno % 2 ? KVMATTR_R : KVMATTR_RX;
		for (unsigned int i = 0; i < N_SMALL; i++)
			hostile_elements.gfns[i] = besieger_throw(vm->besieger, HOSTILE_VM_PAGES);
		while (hostile_send_update(agent, seqno, update)) {
			besieger_count_attack(vm->besieger);
			seqno++;
		}
	} while (hostile_vm_serve(vm, RETRY_MS));
}

static void flood_again_and_again(struct besieger *besieger)
{
	for (;;) {
		struct hostile_vm vm;

		if (hostile_vm_start(&vm, besieger, "flood")) {
			int agent = hostile_vm_open_agent(&vm);

			if (agent >= 0) {
				flood(&vm, agent);
				close(agent);
			}
		}
		besieger_rest(RETRY_MS);
		hostile_vm_end(&vm);
	}
}

void besiege_with_questions(struct besieger *besieger)
{
	if (besieger->number % 2)
		flood_again_and_again(besieger);
	ask_again_and_again(besieger);
}
