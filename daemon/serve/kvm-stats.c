/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kvm-stats.h"

#include "daemon/allocate.h"
#include "protocol/kvm-abi.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of all values, with what may lie between them. */
#define MAX_DATA (64u * 1024)

struct reading {
	int fd;
	struct kvm_abi_stats_header header;
	uint8_t *descriptors; /* each with its name */
	uint8_t *data;
	size_t data_size; /* up to the end of the last value */
	size_t n_values;
	char *text;
	size_t text_size;
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct reading *reading,
							 const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reading->text, reading->text_size, format, arguments);
	va_end(arguments);
	return false;
}

static bool read_at(const struct reading *reading, const char *what, void *bytes, size_t size,
		    uint32_t offset)
{
	ssize_t n = pread(reading->fd, bytes, size, offset);

	if (n < 0)
		return refuse(reading, "KVM's statistics cannot be read: %s", strerror(errno));
	return (size_t)n == size || refuse(reading, "KVM's statistics end before their %s", what);
}

static bool read_header(struct reading *reading)
{
	const struct kvm_abi_stats_header *header = &reading->header;

	if (!read_at(reading, "header", &reading->header, sizeof(*header), 0))
		return false;
	if (header->flags)
		return refuse(reading, "KVM's statistics have flags that are not known: 0x%x",
			      header->flags);
	if (!header->name_size || header->name_size > KVM_STATS_NAME_SIZE)
		return refuse(reading, "KVM's statistics have names of %u bytes; up to %u are read",
			      header->name_size, KVM_STATS_NAME_SIZE);
	return header->num_desc <= KVM_STATS_MAX ||
	       refuse(reading, "KVM has %u statistics; up to %u are read", header->num_desc,
		      KVM_STATS_MAX);
}

/* The i-th, and its name, which need not end. */
static struct kvm_abi_stats_desc descriptor_at(const struct reading *reading, uint32_t i,
					       const char **ret_name)
{
	const uint8_t *bytes = reading->descriptors +
			       i * (sizeof(struct kvm_abi_stats_desc) + reading->header.name_size);
	struct kvm_abi_stats_desc descriptor;

	memcpy(&descriptor, bytes, sizeof(descriptor));
	*ret_name = (const char *)bytes + sizeof(descriptor);
	return descriptor;
}

/* It will be a member of JSON, and stand on terminals. */
static bool is_name(const char *name, size_t size)
{
	const char *end = memchr(name, '\0', size);

	for (const char *c = name; end && c < end; c++)
		if (*c < '!' || *c > '~')
			return false;
	return end && end > name;
}

static bool read_descriptors(struct reading *reading)
{
	const struct kvm_abi_stats_header *header = &reading->header;
	size_t size = header->num_desc * (sizeof(struct kvm_abi_stats_desc) + header->name_size);

	reading->descriptors = allocate(size);
	if (!read_at(reading, "descriptors", reading->descriptors, size, header->desc_offset))
		return false;
	for (uint32_t i = 0; i < header->num_desc; i++) {
		const char *name;
		const struct kvm_abi_stats_desc descriptor = descriptor_at(reading, i, &name);
		uint64_t end = descriptor.offset + (uint64_t)descriptor.size * sizeof(uint64_t);

		if (!is_name(name, header->name_size))
			return refuse(reading, "the name of KVM's statistic %u is none", i);
		if (end > MAX_DATA)
			return refuse(reading,
				      "the values of KVM's statistic '%s' end at %llu; up to %u "
				      "bytes are read",
				      name, (unsigned long long)end, MAX_DATA);
		if (end > reading->data_size)
			reading->data_size = (size_t)end;
		reading->n_values += descriptor.size;
	}
	return reading->n_values <= KVM_STATS_MAX_VALUES ||
	       refuse(reading, "KVM's statistics have %zu values; up to %u are read",
		      reading->n_values, KVM_STATS_MAX_VALUES);
}

static bool read_data(struct reading *reading)
{
	reading->data = allocate(reading->data_size);
	return read_at(reading, "values", reading->data, reading->data_size,
		       reading->header.data_offset);
}

/* What kind of statistic that is; false: one that this daemon does not know, from a later KVM. */
static bool find_kind(const struct kvm_abi_stats_desc *descriptor, enum kvm_statistic_kind *ret)
{
	switch (descriptor->flags & KVM_ABI_STATS_TYPE) {
	case KVM_ABI_STATS_CUMULATIVE:
	case KVM_ABI_STATS_INSTANT:
	case KVM_ABI_STATS_PEAK:
		*ret = KVM_STATISTIC_NUMBER;
		return descriptor->size == 1;
	case KVM_ABI_STATS_LINEAR_HIST:
		*ret = KVM_STATISTIC_LINEAR;
		return true;
	case KVM_ABI_STATS_LOG_HIST:
		*ret = KVM_STATISTIC_LOGARITHMIC;
		return true;
	default:
		return false;
	}
}

/* All was checked. */
static struct kvm_stats take(const struct reading *reading)
{
	struct kvm_stats stats = {
		.all = allocate_zeroed(reading->header.num_desc, sizeof(*stats.all)),
		.values = allocate_zeroed(reading->n_values, sizeof(*stats.values)),
	};
	uint64_t *values = stats.values;

	for (uint32_t i = 0; i < reading->header.num_desc; i++) {
		struct kvm_statistic *statistic = &stats.all[stats.n];
		const char *name;
		const struct kvm_abi_stats_desc descriptor = descriptor_at(reading, i, &name);

		if (!find_kind(&descriptor, &statistic->kind))
			continue;
		snprintf(statistic->name, sizeof(statistic->name), "%s", name);
		statistic->bucket_size = descriptor.bucket_size;
		statistic->n_values = descriptor.size;
		statistic->values = values;
		memcpy(values, reading->data + descriptor.offset,
		       descriptor.size * sizeof(*values));
		values += descriptor.size;
		stats.n++;
	}
	return stats;
}

bool kvm_stats_read(int fd, struct kvm_stats *ret, char *text, size_t text_size)
{
	struct reading reading = { .fd = fd, .text = text, .text_size = text_size };
	bool is_read = read_header(&reading) && read_descriptors(&reading) && read_data(&reading);

	if (is_read)
		*ret = take(&reading);
	free(reading.descriptors);
	free(reading.data);
	return is_read;
}

void kvm_stats_destroy(struct kvm_stats *stats)
{
	free(stats->all);
	free(stats->values);
	*stats = (struct kvm_stats){ 0 };
}
