/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words: names of statuses, dialects and protections both ways, and what a VM may be called.
 */
#include "protocol/kvmattr-types.h"
#include "tests/unit/seeded-suite.h"

#include <string.h>

START_TEST(a_vm_has_a_name_of_1_to_63_letters_digits_dots_underscores_and_dashes)
{
	char longest[KVMATTR_NAME_SIZE + 1];

	memset(longest, 'x', sizeof(longest));
	longest[KVMATTR_NAME_SIZE] = '\0';
	ck_assert(!kvmattr_is_vm_name(longest));
	ck_assert(kvmattr_is_vm_name(longest + 1));
	ck_assert(kvmattr_is_vm_name("a"));
	ck_assert(kvmattr_is_vm_name("_Az09.-_"));
	ck_assert(!kvmattr_is_vm_name(""));
	ck_assert(!kvmattr_is_vm_name(".hidden"));
	ck_assert(!kvmattr_is_vm_name("-option"));
	ck_assert(!kvmattr_is_vm_name("a/b"));
	ck_assert(!kvmattr_is_vm_name("a b"));
	ck_assert(!kvmattr_is_vm_name("caf\xc3\xa9"));
}
END_TEST

START_TEST(every_status_has_a_name_of_its_own_and_a_text)
{
	for (int i = 0; i < KVMATTR_N_STATUSES; i++) {
		ck_assert_ptr_nonnull(kvmattr_status_name(i));
		ck_assert_str_ne(kvmattr_status_text(i), "unknown status");
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(kvmattr_status_name(i), kvmattr_status_name(j));
	}
	ck_assert_ptr_null(kvmattr_status_name(-1));
	ck_assert_ptr_null(kvmattr_status_name(KVMATTR_N_STATUSES));
	ck_assert_str_eq(kvmattr_status_text(KVMATTR_N_STATUSES), "unknown status");
	ck_assert_str_eq(kvmattr_status_text(-2), "No such file or directory");
	ck_assert_str_eq(kvmattr_status_text(-99999), "unknown status");
}
END_TEST

START_TEST(dialects_and_protections_are_found_by_their_names)
{
	for (unsigned int i = 0; i < KVMATTR_N_ABIS; i++)
		ck_assert_int_eq(kvmattr_abi_from_name(kvmattr_abi_name(i)), (int)i);
	ck_assert_ptr_null(kvmattr_abi_name(KVMATTR_N_ABIS));
	ck_assert_int_eq(kvmattr_abi_from_name("v11"), -1);
	for (unsigned int i = 0; i <= KVMATTR_PROTECTION; i++)
		ck_assert_int_eq(kvmattr_protection_from_name(kvmattr_protection_name(i)), (int)i);
	ck_assert_int_eq(kvmattr_protection_from_name("xr"), -1);
	ck_assert_int_eq(kvmattr_protection_from_name("rx"), KVMATTR_RX);
	ck_assert_int_eq(kvmattr_protection_from_name("none"), KVMATTR_NONE);
}
END_TEST

int main(void)
{
	TCase *all = tcase_create("types");

	tcase_add_test(all, a_vm_has_a_name_of_1_to_63_letters_digits_dots_underscores_and_dashes);
	tcase_add_test(all, every_status_has_a_name_of_its_own_and_a_text);
	tcase_add_test(all, dialects_and_protections_are_found_by_their_names);
	return seeded_suite_run("types", (TCase *[]){ all, NULL });
}
