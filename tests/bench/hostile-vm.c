/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/hostile-vm.h"

#include "protocol/kvm-abi.h"
#include "protocol/seqpacket.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 5000 /* for the next step of a registration, and for an answer */

static _Alignas(8) uint8_t received[WIRE_MAX_MESSAGE];

static struct {
	struct wire_update_list head;
	struct wire_update update;
	union hostile_elements elements;
} message;

union hostile_elements hostile_elements;

/* ---- Registration -------------------------------------------------------------------------- */

static struct wire_hello make_hello(void)
{
	return (struct wire_hello){ .header = wire_header_make(WIRE_HELLO,
							       sizeof(struct wire_hello), 1),
				    .magic = WIRE_MAGIC,
				    .version_min = WIRE_VERSION,
				    .version_max = WIRE_VERSION,
				    .peer = "besieger" };
}

/* The daemon goes by its name. */
static int make_view(void)
{
	int fd = memfd_create("kvmattr-simvm", MFD_CLOEXEC);

	if (fd < 0)
		err(EXIT_FAILURE, "memfd_create");
	return fd;
}

bool hostile_vm_begin(struct hostile_vm *vm, struct besieger *besieger, const char *kind)
{
	static unsigned int n_vms;
	struct {
		struct wire_register head;
		struct wire_view views[2];
		struct wire_ram ram;
	} registration = { .views = { { .vtl = 0 }, { .vtl = 1 } },
			   .ram = { .n_pages = HOSTILE_VM_PAGES } };
	struct wire_hello hello = make_hello();
	struct iovec part = { &registration, sizeof(registration) };
	int sockets[2], fds[3];
	bool is_sent;

	*vm = (struct hostile_vm){ .besieger = besieger,
				   .owner = besieger_connect_agent(besieger) };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		err(EXIT_FAILURE, "socketpair");
	vm->executor = sockets[0];
	fds[0] = sockets[1];
	fds[1] = make_view();
	fds[2] = make_view();
	registration.head = (struct wire_register){
		.header = wire_header_make(WIRE_REGISTER, sizeof(registration), 2),
		.n_views = 2,
		.n_ram = 1,
	};
	snprintf(registration.head.name, sizeof(registration.head.name), "%s-%u-%u", kind,
		 besieger->number, n_vms++);
	besieger_count_attack(besieger);
	is_sent = vm->owner >= 0 && hostile_send(vm->owner, &hello, sizeof(hello)) &&
		  seqpacket_send(vm->owner, &part, 1, fds, 3, 0) == 0;
	if (!is_sent)
		besieger_count_refusals(besieger, 1);
	for (unsigned int i = 0; i < 3; i++)
		close(fds[i]);
	return is_sent;
}

bool hostile_vm_start(struct hostile_vm *vm, struct besieger *besieger, const char *kind)
{
	if (!hostile_vm_begin(vm, besieger, kind))
		return false;
	while (!vm->is_registered)
		if (!hostile_vm_serve(vm, PATIENCE_MS))
			return false;
	return hostile_vm_update(vm, (struct wire_update){ .kind = KVMATTR_ENABLE_LAYER,
							   .layer = 1,
							   .value = KVMATTR_RWX }) &&
	       hostile_vm_finish(vm);
}

void hostile_vm_end(struct hostile_vm *vm)
{
	if (vm->owner >= 0)
		close(vm->owner);
	close(vm->executor);
}

/* ---- What the daemon says ------------------------------------------------------------------ */

static void take_owners(struct hostile_vm *vm, size_t size)
{
	struct wire_answer answer;

	switch (((const struct wire_header *)received)->type) {
	case WIRE_REGISTERED:
		vm->is_registered = true;
		break;
	case WIRE_ERROR:
	case WIRE_BYE:
		besieger_count_refusals(vm->besieger, 1);
		break;
	case WIRE_ANSWER:
		if (wire_get_answer(received, size, &answer))
			errx(EXIT_FAILURE, "the daemon's answer is malformed");
		vm->n_answered = answer.header.id;
		besieger_count_refusals(vm->besieger, answer.n_failures);
		break;
	default: /* WELCOME, and what was asked */
		break;
	}
}

static void answer_probe(struct hostile_vm *vm, uint64_t id)
{
	struct {
		struct wire_probed head;
		struct wire_probe_result results[2];
	} reply = { .head.n_targets = 2 };

	reply.head.header = wire_header_make(WIRE_PROBED, sizeof(reply), id);
	for (unsigned int i = 0; i < 2; i++)
		reply.results[i] =
			(struct wire_probe_result){ .v10_errno = ENOTTY,
						    .cap = KVM_ABI_DENY_ALL | KVM_ABI_PRIVATE };
	if (!hostile_send(vm->executor, &reply, sizeof(reply)))
		besieger_count_refusals(vm->besieger, 1);
}

static void answer_calls(struct hostile_vm *vm, const struct wire_calls *calls)
{
	const struct wire_called reply = { .header = wire_header_make(WIRE_CALLED, sizeof(reply),
								      calls->header.id),
					   .n_done = calls->n_calls };

	if (!hostile_send(vm->executor, &reply, sizeof(reply)))
		besieger_count_refusals(vm->besieger, 1);
}

static void take_executors(struct hostile_vm *vm, size_t size)
{
	struct wire_header header;
	struct wire_calls calls;

	if (wire_get_header(received, size, &header))
		errx(EXIT_FAILURE, "the daemon's message is malformed");
	if (header.type == WIRE_PROBE)
		answer_probe(vm, header.id);
	else if (!wire_get_calls(received, size, &calls))
		(vm->answer_calls ? vm->answer_calls : answer_calls)(vm, &calls);
}

/* Returns whether there was a message. */
static bool take_one(struct hostile_vm *vm, int fd, void (*take)(struct hostile_vm *, size_t))
{
	struct seqpacket_fds fds;
	ssize_t n = seqpacket_receive(fd, received, sizeof(received), &fds, MSG_DONTWAIT);

	if (n <= 0)
		return false;
	seqpacket_fds_close(&fds);
	take(vm, (size_t)n);
	return true;
}

bool hostile_vm_serve(struct hostile_vm *vm, int timeout_ms)
{
	struct pollfd fds[] = { { .fd = vm->executor, .events = POLLIN },
				{ .fd = vm->owner, .events = POLLIN } };
	bool is_served = false;

	if (poll(fds, 2, timeout_ms) <= 0)
		return false;
	if (fds[0].revents)
		is_served |= take_one(vm, vm->executor, take_executors);
	if (fds[1].revents)
		is_served |= take_one(vm, vm->owner, take_owners);
	return is_served;
}

/* ---- What it says -------------------------------------------------------------------------- */

bool hostile_send(int socket, const void *bytes, size_t size)
{
	struct iovec part = { (void *)bytes, size };

	return seqpacket_send(socket, &part, 1, NULL, 0, MSG_DONTWAIT) == 0;
}

bool hostile_send_update(int socket, uint64_t seqno, struct wire_update update)
{
	size_t n_bytes = update.n_elements * wire_element_size(update.form),
	       size = sizeof(message.head) + sizeof(update) + n_bytes;

	message.head =
		(struct wire_update_list){ .header = wire_header_make(WIRE_UPDATE, size, seqno),
					   .n_updates = 1 };
	message.update = update;
	memcpy(&message.elements, &hostile_elements, n_bytes);
	return hostile_send(socket, &message, size);
}

bool hostile_vm_update(struct hostile_vm *vm, struct wire_update update)
{
	besieger_count_attack(vm->besieger);
	while (!hostile_send_update(vm->owner, vm->n_sent + 1, update))
		if (!hostile_vm_serve(vm, PATIENCE_MS))
			return false;
	vm->n_sent++;
	return true;
}

bool hostile_vm_finish(struct hostile_vm *vm)
{
	while (vm->n_answered < vm->n_sent)
		if (!hostile_vm_serve(vm, PATIENCE_MS))
			return false;
	return true;
}

int hostile_vm_open_agent(struct hostile_vm *vm)
{
	const struct wire_open_agent open = {
		.header = wire_header_make(WIRE_OPEN_AGENT, sizeof(open), 3), .vtl = 1
	};
	const struct wire_hello hello = make_hello();
	struct pollfd readable = { .fd = vm->owner, .events = POLLIN };
	struct seqpacket_fds fds;
	ssize_t n;
	int agent;

	if (!hostile_vm_finish(vm) || !hostile_send(vm->owner, &open, sizeof(open)) ||
	    poll(&readable, 1, PATIENCE_MS) <= 0)
		return -1;
	n = seqpacket_receive(vm->owner, received, sizeof(received), &fds, MSG_DONTWAIT);
	if (n <= 0 || !fds.n)
		return -1;
	agent = seqpacket_fds_take(&fds, 0);
	seqpacket_fds_close(&fds);
	if (hostile_send(agent, &hello, sizeof(hello)))
		return agent;
	close(agent);
	return -1;
}
