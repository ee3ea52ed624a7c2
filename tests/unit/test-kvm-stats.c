/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's statistics from a file that was made by hand, spoilt in every way; and a real VM's.
 */
#include "daemon/serve/kvm-stats.h"

#include "protocol/kvm-abi.h"
#include "tests/unit/seeded-suite.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME_SIZE 16

struct described {
	struct kvm_abi_stats_desc desc;
	char name[NAME_SIZE];
};

/* Two numbers, two histograms, and two statistics of kinds that no daemon knows yet. */
static const struct made {
	struct kvm_abi_stats_header header;
	char id[8];
	struct described described[6];
	uint64_t values[9];
} made = {
	.header = {
		.name_size = NAME_SIZE,
		.num_desc = 6,
		.id_offset = offsetof(struct made, id),
		.desc_offset = offsetof(struct made, described),
		.data_offset = offsetof(struct made, values),
	},
	.id = "kvm-77",
	.described = {
		{ { KVM_ABI_STATS_CUMULATIVE, 0, 1, 0, 0 }, "tlb_flush" },
		{ { KVM_ABI_STATS_INSTANT, 0, 1, 8, 0 }, "pages_of_a_kind" },
		{ { 9, 0, 1, 8, 0 }, "later" },
		{ { KVM_ABI_STATS_LINEAR_HIST, 0, 3, 16, 10 }, "linear" },
		{ { KVM_ABI_STATS_PEAK, 0, 2, 16, 0 }, "two_peaks" },
		/* With a unit and a base, in the bits above. */
		{ { 0x120 | KVM_ABI_STATS_LOG_HIST, -9, 4, 40, 0 }, "log" },
	},
	.values = { 12, UINT64_MAX, 1, 2, 3, 100, 0, 300, 400 },
};

static int make_file(const void *bytes, size_t size)
{
	int fd = memfd_create("statistics", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	return fd;
}

/* Reads a file of these bytes. */
static bool read_bytes(const void *bytes, size_t size, struct kvm_stats *ret, char *text,
		       size_t text_size)
{
	int fd = make_file(bytes, size);
	bool is_read = kvm_stats_read(fd, ret, text, text_size);

	close(fd);
	return is_read;
}

static void expect_refusal(const void *bytes, size_t size, const char *part)
{
	struct kvm_stats stats;
	char text[256] = "";

	ck_assert(!read_bytes(bytes, size, &stats, text, sizeof(text)));
	ck_assert_msg(strstr(text, part), "'%s' does not hold '%s'", text, part);
}

/* ---- What is well ---------------------------------------------------------------------------- */

START_TEST(each_statistic_has_its_name_its_kind_and_its_values)
{
	struct kvm_stats stats;
	char text[256];

	ck_assert(read_bytes(&made, sizeof(made), &stats, text, sizeof(text)));
	ck_assert_uint_eq(stats.n, 4);
	ck_assert_str_eq(stats.all[0].name, "tlb_flush");
	ck_assert_int_eq(stats.all[0].kind, KVM_STATISTIC_NUMBER);
	ck_assert_uint_eq(stats.all[0].n_values, 1);
	ck_assert_uint_eq(stats.all[0].values[0], 12);
	ck_assert_str_eq(stats.all[1].name, "pages_of_a_kind");
	ck_assert_int_eq(stats.all[1].kind, KVM_STATISTIC_NUMBER);
	ck_assert_uint_eq(stats.all[1].values[0], UINT64_MAX);
	ck_assert_str_eq(stats.all[2].name, "linear");
	ck_assert_int_eq(stats.all[2].kind, KVM_STATISTIC_LINEAR);
	ck_assert_uint_eq(stats.all[2].bucket_size, 10);
	ck_assert_uint_eq(stats.all[2].n_values, 3);
	ck_assert_mem_eq(stats.all[2].values, made.values + 2, 3 * sizeof(uint64_t));
	ck_assert_str_eq(stats.all[3].name, "log");
	ck_assert_int_eq(stats.all[3].kind, KVM_STATISTIC_LOGARITHMIC);
	ck_assert_uint_eq(stats.all[3].n_values, 4);
	ck_assert_mem_eq(stats.all[3].values, made.values + 5, 4 * sizeof(uint64_t));
	kvm_stats_destroy(&stats);
}
END_TEST

START_TEST(a_vm_without_statistics_has_none)
{
	const struct kvm_abi_stats_header header = { .name_size = 1 };
	struct kvm_stats stats;
	char text[256];

	ck_assert(read_bytes(&header, sizeof(header), &stats, text, sizeof(text)));
	ck_assert_uint_eq(stats.n, 0);
	kvm_stats_destroy(&stats);
}
END_TEST

static int open_real(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, _IO(KVM_ABI_IO, 0x01), 0); /* KVM_CREATE_VM */
	int stats = vm < 0 ? -1 : ioctl(vm, KVM_ABI_GET_STATS_FD, 0);

	if (vm >= 0)
		close(vm);
	if (kvm >= 0)
		close(kvm);
	return stats;
}

START_TEST(those_of_a_real_vm_are_read)
{
	struct kvm_stats stats;
	unsigned int n_found = 0;
	char text[256];
	int fd = open_real();

	if (fd < 0) {
		printf("# skipped: those_of_a_real_vm_are_read: KVM makes no VM here, or has no "
		       "KVM_GET_STATS_FD\n");
		return;
	}
	ck_assert_msg(kvm_stats_read(fd, &stats, text, sizeof(text)), "%s", text);
	close(fd);
	/* In virt/kvm/kvm_main.c, for every architecture. */
	for (size_t i = 0; i < stats.n; i++)
		n_found += !strcmp(stats.all[i].name, "remote_tlb_flush") &&
			   stats.all[i].kind == KVM_STATISTIC_NUMBER;
	ck_assert_uint_eq(n_found, 1);
	kvm_stats_destroy(&stats);
}
END_TEST

/* ---- What is not ----------------------------------------------------------------------------- */

START_TEST(statistics_cut_anywhere_are_refused)
{
	for (size_t size = 0; size < sizeof(made); size++)
		expect_refusal(&made, size,
			       size < sizeof(made.header)             ? "end before their header"
			       : size < offsetof(struct made, values) ? "end before their desc"
								      : "end before their values");
}
END_TEST

/* Looks at all of it, so that a sanitizer does. */
static void expect_bounded(const struct kvm_stats *stats)
{
	size_t n_values = 0;
	uint64_t sum = 0;

	EXPECT(stats->n <= KVM_STATS_MAX, "%zu statistics", stats->n);
	for (size_t i = 0; i < stats->n; i++) {
		const struct kvm_statistic *statistic = &stats->all[i];

		n_values += statistic->n_values;
		EXPECT(memchr(statistic->name, '\0', sizeof(statistic->name)), "no end of a name");
		EXPECT(*statistic->name, "an empty name");
		EXPECT(statistic->kind != KVM_STATISTIC_NUMBER || statistic->n_values == 1,
		       "a number of %u values", statistic->n_values);
		for (uint32_t v = 0; v < statistic->n_values; v++)
			sum += statistic->values[v];
	}
	EXPECT(n_values <= KVM_STATS_MAX_VALUES, "%zu values, their sum is %ju", n_values,
	       (uintmax_t)sum);
}

START_TEST(whatever_a_byte_of_them_is_what_is_read_is_bounded)
{
	int fd = make_file(&made, sizeof(made));

	for (off_t at = 0; at < (off_t)sizeof(made); at++) {
		const uint8_t before = ((const uint8_t *)&made)[at];

		for (unsigned int value = 0; value < 256; value++) {
			const uint8_t byte = (uint8_t)value;
			struct kvm_stats stats;
			char text[256] = "";

			EXPECT(pwrite(fd, &byte, 1, at) == 1, "cannot write");
			if (kvm_stats_read(fd, &stats, text, sizeof(text))) {
				expect_bounded(&stats);
				kvm_stats_destroy(&stats);
			} else {
				EXPECT(*text, "byte %jd as 0x%x: refused without a word",
				       (intmax_t)at, value);
			}
		}
		EXPECT(pwrite(fd, &before, 1, at) == 1, "cannot write");
	}
	close(fd);
}
END_TEST

static const struct {
	size_t offset;
	size_t size;
	uint64_t value;
	const char *part;
} wrongs[] = {
#define WRONG(field, value, part)                                                              \
	{                                                                                      \
		offsetof(struct made, field), sizeof(((struct made *)0)->field), (value), part \
	}
	WRONG(header.flags, 1, "flags that are not known: 0x1"),
	WRONG(header.name_size, 0, "names of 0 bytes"),
	WRONG(header.name_size, KVM_STATS_NAME_SIZE + 1, "names of 129 bytes"),
	WRONG(header.name_size, UINT32_MAX, "names of 4294967295 bytes"),
	WRONG(header.name_size, NAME_SIZE - 1, "the name of KVM's statistic "),
	WRONG(header.num_desc, KVM_STATS_MAX + 1, "KVM has 257 statistics"),
	WRONG(header.num_desc, UINT32_MAX, "KVM has 4294967295 statistics"),
	WRONG(header.num_desc, KVM_STATS_MAX, "end before their descriptors"),
	WRONG(header.desc_offset, UINT32_MAX, "end before their descriptors"),
	WRONG(header.data_offset, UINT32_MAX, "end before their values"),
	WRONG(described[5].desc.offset, UINT32_MAX, "the values of KVM's statistic 'log' end at "),
	WRONG(described[5].desc.offset, 48, "end before their values"),
	WRONG(described[3].desc.size, UINT16_MAX, "the values of KVM's statistic 'linear' end at "),
	WRONG(described[0].name[0], 0, "the name of KVM's statistic 0 is none"),
	WRONG(described[1].name[15], 'x', "the name of KVM's statistic 1 is none"),
	WRONG(described[2].name[3], '\n', "the name of KVM's statistic 2 is none"),
	WRONG(described[3].name[3], ' ', "the name of KVM's statistic 3 is none"),
	WRONG(described[4].name[0], 0xff, "the name of KVM's statistic 4 is none"),
};

START_TEST(a_field_that_makes_no_sense_is_refused_and_the_text_says_which)
{
	uint8_t bytes[sizeof(made)];

	memcpy(bytes, &made, sizeof(bytes));
	memcpy(bytes + wrongs[_i].offset, &wrongs[_i].value, wrongs[_i].size);
	expect_refusal(bytes, sizeof(bytes), wrongs[_i].part);
}
END_TEST

/* As many statistics as may be, each of so many values, all of them the same. */
static void make_many(uint8_t *bytes, uint16_t n_values)
{
	const struct kvm_abi_stats_header header = {
		.name_size = NAME_SIZE,
		.num_desc = KVM_STATS_MAX,
		.desc_offset = sizeof(header),
		.data_offset = sizeof(header) + KVM_STATS_MAX * sizeof(struct described),
	};
	const struct described described = {
		.desc = { .flags = KVM_ABI_STATS_LOG_HIST, .size = n_values },
		.name = "many",
	};

	memcpy(bytes, &header, sizeof(header));
	for (size_t i = 0; i < KVM_STATS_MAX; i++)
		memcpy(bytes + sizeof(header) + i * sizeof(described), &described,
		       sizeof(described));
}

START_TEST(there_may_be_256_statistics_of_1024_values_together_and_no_more)
{
	static uint8_t bytes[sizeof(struct kvm_abi_stats_header) +
			     KVM_STATS_MAX * sizeof(struct described) + 5 * sizeof(uint64_t)];
	struct kvm_stats stats;
	char text[256] = "";

	make_many(bytes, 4);
	ck_assert_msg(read_bytes(bytes, sizeof(bytes), &stats, text, sizeof(text)), "%s", text);
	ck_assert_uint_eq(stats.n, KVM_STATS_MAX);
	expect_bounded(&stats);
	kvm_stats_destroy(&stats);
	make_many(bytes, 5);
	expect_refusal(bytes, sizeof(bytes), "have 1280 values; up to 1024 are read");
}
END_TEST

START_TEST(what_cannot_be_read_is_refused_and_the_text_says_why)
{
	struct kvm_stats stats;
	char text[256] = "";
	int ends[2];

	/* A directory, and a pipe, which has no places to read from: it is not waited for. */
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert(!kvm_stats_read(fd, &stats, text, sizeof(text)));
	ck_assert_str_eq(text, "KVM's statistics cannot be read: Is a directory");
	close(fd);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert(!kvm_stats_read(ends[0], &stats, text, sizeof(text)));
	ck_assert_str_eq(text, "KVM's statistics cannot be read: Illegal seek");
	close(ends[0]);
	close(ends[1]);
}
END_TEST

int main(void)
{
	TCase *well = tcase_create("well");
	TCase *wrong = tcase_create("wrong");

	tcase_add_test(well, each_statistic_has_its_name_its_kind_and_its_values);
	tcase_add_test(well, a_vm_without_statistics_has_none);
	tcase_add_test(well, those_of_a_real_vm_are_read);
	tcase_set_timeout(wrong, 300);
	tcase_add_test(wrong, statistics_cut_anywhere_are_refused);
	tcase_add_test(wrong, whatever_a_byte_of_them_is_what_is_read_is_bounded);
	tcase_add_loop_test(wrong, a_field_that_makes_no_sense_is_refused_and_the_text_says_which,
			    0, N(wrongs));
	tcase_add_test(wrong, there_may_be_256_statistics_of_1024_values_together_and_no_more);
	tcase_add_test(wrong, what_cannot_be_read_is_refused_and_the_text_says_why);
	return seeded_suite_run("KVM's statistics", (TCase *[]){ well, wrong, NULL });
}
