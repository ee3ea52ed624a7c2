/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's own statistics of a VM, as they are read from a KVM_GET_STATS_FD descriptor: how often its
 * TLBs were flushed, how many pages of which size are mapped, and whatever else this kernel counts.
 *
 * The descriptor can be read in any process, unlike KVM's ioctls.  Names and numbers are KVM's;
 * this room knows none of them.  What is read is bounded and looked at before it is used: it may
 * be anything, but reading must not block, so that descriptors come here by way of view-fds.h.
 */
#ifndef KVMATTRD_KVM_STATS_H
#define KVMATTRD_KVM_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A name with its NUL; Linux 6.12 has up to 48 bytes. */
#define KVM_STATS_NAME_SIZE 128
/* Of one VM; x86 has 15 or so, each of one value. */
#define KVM_STATS_MAX        256u
#define KVM_STATS_MAX_VALUES 1024u

enum kvm_statistic_kind {
	KVM_STATISTIC_NUMBER,
	KVM_STATISTIC_LINEAR,     /* bucket i: how often from i * bucket_size up */
	KVM_STATISTIC_LOGARITHMIC /* bucket 0: how often 0; bucket i: from 2^(i - 1) up */
};

struct kvm_statistic {
	char name[KVM_STATS_NAME_SIZE]; /* printable, not empty */
	enum kvm_statistic_kind kind;
	uint32_t bucket_size;
	uint32_t n_values; /* of a number 1 */
	const uint64_t *values;
};

struct kvm_stats {
	size_t n;
	struct kvm_statistic *all; /* those of kinds that are known */
	uint64_t *values;
};

/*
 * Reads them all.  The caller destroys them.  Returns false if they cannot be read, or are not
 * what KVM writes: then text says what is wrong.
 */
__attribute__((warn_unused_result)) bool kvm_stats_read(int fd, struct kvm_stats *ret, char *text,
							size_t text_size);
void kvm_stats_destroy(struct kvm_stats *stats);

#endif
