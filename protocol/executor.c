/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor.h"

#include "kvm-abi.h"
#include "seqpacket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int answer(struct executor *executor, const void *message, size_t size)
{
	struct iovec part = { (void *)message, size };
	int r = seqpacket_send(executor->socket, &part, 1, NULL, 0, 0);

	return r < 0 ? r : 1;
}

static int answer_probe(struct executor *executor, const void *data, size_t size)
{
	struct {
		struct wire_probed head;
		struct wire_probe_result results[KVMATTR_N_VTLS];
	} reply = { 0 };
	struct wire_probe probe;
	size_t reply_size;

	if (wire_get_probe(data, size, &probe) || probe.n_targets != executor->n_targets)
		return -EPROTO;
	for (uint32_t i = 0; i < probe.n_targets; i++)
		executor->ops->probe(executor->context, i, &reply.results[i]);

	reply_size = sizeof(reply.head) + probe.n_targets * sizeof(reply.results[0]);
	reply.head.header = wire_header_make(WIRE_PROBED, reply_size, probe.header.id);
	reply.head.n_targets = probe.n_targets;
	return answer(executor, &reply, reply_size);
}

/* One call, gone on with for as long as it makes progress.  Moves *call past what is done. */
static int carry_out(struct executor *executor, struct wire_call *call)
{
	while (call->size) {
		uint64_t left = call->size;
		int error = executor->ops->set_attributes(executor->context, call->target,
							  (enum kvmattr_abi)call->abi, &call->gpa,
							  &call->size, call->attributes);

		if (error && error != EINTR)
			return error;
		/* A kernel that neither moves on nor fails would be asked forever. */
		if (!error && call->size >= left)
			return EIO;
	}
	return 0;
}

/* All of them, before any is made: a message that is not well-formed does nothing. */
static bool are_well_formed(const struct executor *executor, const void *data, uint32_t n_calls)
{
	struct wire_call call;

	for (uint32_t i = 0; i < n_calls; i++)
		if (wire_at_call(data, i, &call) || call.target >= executor->n_targets)
			return false;
	return true;
}

static int answer_calls(struct executor *executor, const void *data, size_t size)
{
	struct wire_called reply = { 0 };
	struct wire_calls calls;

	if (wire_get_calls(data, size, &calls) || !are_well_formed(executor, data, calls.n_calls))
		return -EPROTO;
	while (reply.n_done < calls.n_calls && !reply.error) {
		struct wire_call call;
		uint64_t whole;

		if (wire_at_call(data, reply.n_done, &call))
			return -EPROTO;
		whole = call.size;
		reply.error = carry_out(executor, &call);
		if (reply.error)
			reply.partial = whole - call.size;
		else
			reply.n_done++;
	}
	reply.header = wire_header_make(WIRE_CALLED, sizeof(reply), calls.header.id);
	return answer(executor, &reply, sizeof(reply));
}

int executor_dispatch(struct executor *executor, int flags)
{
	uint8_t buffer[WIRE_MAX_MESSAGE];
	struct seqpacket_fds fds;
	struct wire_header header;
	ssize_t n = seqpacket_receive(executor->socket, buffer, sizeof(buffer), &fds, flags);

	if (n <= 0)
		return (int)n;
	seqpacket_fds_close(&fds); /* none belong here */
	if (wire_get_header(buffer, (size_t)n, &header))
		return -EPROTO;
	switch (header.type) {
	case WIRE_PROBE:
		return answer_probe(executor, buffer, (size_t)n);
	case WIRE_CALLS:
		return answer_calls(executor, buffer, (size_t)n);
	default:
		return -EPROTO;
	}
}

static void kvm_probe(void *context, uint32_t target, struct wire_probe_result *ret)
{
	int fd = ((const int *)context)[target];
	uint64_t supported = 0;
	int cap;

	memset(ret, 0, sizeof(*ret));
	if (ioctl(fd, KVM_ABI_V10_GET_SUPPORTED_MEMORY_ATTRIBUTES, &supported))
		ret->v10_errno = errno;
	else
		ret->v10_supported = supported;
	cap = ioctl(fd, KVM_ABI_CHECK_EXTENSION, KVM_ABI_CAP_MEMORY_ATTRIBUTES);
	if (cap < 0)
		ret->cap_errno = errno;
	else
		ret->cap = (uint64_t)cap;
}

static int kvm_set_attributes(void *context, uint32_t target, enum kvmattr_abi abi, uint64_t *gpa,
			      uint64_t *size, uint64_t attributes)
{
	int fd = ((const int *)context)[target];
	struct kvm_abi_memory_attributes call = { .address = *gpa,
						  .size = *size,
						  .attributes = attributes };

	switch (abi) {
	case KVMATTR_ABI_MAINLINE:
	case KVMATTR_ABI_DENY:
		if (ioctl(fd, KVM_ABI_SET_MEMORY_ATTRIBUTES, &call))
			return errno;
		*gpa += *size; /* all or nothing */
		*size = 0;
		return 0;
	case KVMATTR_ABI_V10:
	case KVMATTR_ABI_V10NA:
		if (ioctl(fd, KVM_ABI_V10_SET_MEMORY_ATTRIBUTES, &call))
			return errno;
		/* Where the series left off, as it says; whatever makes no sense is no progress. */
		if (call.size < *size && call.address == *gpa + (*size - call.size) &&
		    call.size % KVMATTR_PAGE_SIZE == 0) {
			*gpa = call.address;
			*size = call.size;
		}
		return 0;
	default:
		return EINVAL;
	}
}

const struct executor_ops executor_kvm_ops = {
	.probe = kvm_probe,
	.set_attributes = kvm_set_attributes,
};
