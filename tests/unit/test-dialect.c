/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dialect against tables written down by hand: what a kernel's answers mean, and how each
 * effective attribute is said in each dialect, as the series and tests/kernel's patch have it.
 */
#include "daemon/policy/dialect.h"
#include "tests/unit/seeded-suite.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct answer {
	const char *name;
	struct wire_probe_result probe;
	int status;
	enum kvmattr_abi abi;
	uint64_t supported;
	const char *text; /* part of what is said where there is no dialect */
} answers[] = {
	{ "v10", { .v10_supported = 0xf, .cap = 0xf }, KVMATTR_OK, KVMATTR_ABI_V10, 0xf, NULL },
	{ "v10 with PRIVATE alone",
	  { .v10_supported = 8, .cap = 8 },
	  KVMATTR_OK,
	  KVMATTR_ABI_V10,
	  8,
	  NULL },
	{ "v10 on a kernel without the capability",
	  { .v10_supported = 0xf, .cap_errno = EINVAL },
	  KVMATTR_OK,
	  KVMATTR_ABI_V10,
	  0xf,
	  NULL },
	{ "v10na",
	  { .v10_supported = 0x1f, .cap = 0xf },
	  KVMATTR_OK,
	  KVMATTR_ABI_V10NA,
	  0x1f,
	  NULL },
	{ "deny", { .v10_errno = ENOTTY, .cap = 0xf }, KVMATTR_OK, KVMATTR_ABI_DENY, 0xf, NULL },
	{ "deny, where the other call is EINVAL",
	  { .v10_errno = EINVAL, .cap = 0xf },
	  KVMATTR_OK,
	  KVMATTR_ABI_DENY,
	  0xf,
	  NULL },
	{ "deny without PRIVATE",
	  { .v10_errno = ENOTTY, .cap = 7 },
	  KVMATTR_OK,
	  KVMATTR_ABI_DENY,
	  7,
	  NULL },
	{ "deny with NW alone",
	  { .v10_errno = ENOTTY, .cap = 2 },
	  KVMATTR_OK,
	  KVMATTR_ABI_DENY,
	  2,
	  NULL },
	{ "mainline",
	  { .v10_errno = ENOTTY, .cap = 8 },
	  KVMATTR_OK,
	  KVMATTR_ABI_MAINLINE,
	  8,
	  NULL },
	{ "no attributes on this type of VM",
	  { .v10_errno = ENOTTY, .cap = 0 },
	  KVMATTR_UNSUPPORTED,
	  0,
	  0,
	  "KVM_X86_SW_PROTECTED_VM" },
	{ "v10, but none on this type of VM",
	  { .v10_supported = 0, .cap = 0 },
	  KVMATTR_UNSUPPORTED,
	  0,
	  0,
	  "no memory attributes" },
	{ "v10 that supports none is not asked in another way",
	  { .v10_supported = 0, .cap = 0xf },
	  KVMATTR_UNSUPPORTED,
	  0,
	  0,
	  "no memory attributes" },
	{ "another process's VM",
	  { .v10_errno = EIO, .cap_errno = EIO },
	  KVMATTR_UNSUPPORTED,
	  0,
	  0,
	  "in the process that created the VM" },
	{ "no KVM at all",
	  { .v10_errno = ENOTTY, .cap_errno = ENOTTY },
	  KVMATTR_UNSUPPORTED,
	  0,
	  0,
	  "ENOTTY" },
	{ "a closed fd",
	  { .v10_errno = EBADF, .cap_errno = EBADF },
	  KVMATTR_UNSUPPORTED,
	  0,
	  0,
	  "EBADF" },
	{ "an errno that does not exist",
	  { .v10_errno = 9999, .cap_errno = 9999 },
	  KVMATTR_UNSUPPORTED,
	  0,
	  0,
	  "an unknown error" },
};

static struct dialect decide(const struct wire_probe_result *probe, enum kvmattr_abi pin)
{
	struct dialect dialect;
	char text[WIRE_TEXT_SIZE] = "";
	int status = dialect_decide(probe, pin, &dialect, text, sizeof(text));

	ck_assert_msg(status == KVMATTR_OK, "%s: %s", kvmattr_status_name(status), text);
	return dialect;
}

START_TEST(a_probes_answer_shows_the_dialect_or_what_is_missing)
{
	const struct answer *answer = &answers[_i];
	struct dialect dialect;
	char text[WIRE_TEXT_SIZE] = "";
	int status =
		dialect_decide(&answer->probe, KVMATTR_ABI_PROBE, &dialect, text, sizeof(text));

	ck_assert_msg(status == answer->status, "%s: status is %s", answer->name,
		      kvmattr_status_name(status));
	if (status) {
		ck_assert_msg(strstr(text, answer->text), "%s: \"%s\" does not say \"%s\"",
			      answer->name, text, answer->text);
		return;
	}
	ck_assert_msg(dialect.abi == answer->abi, "%s: dialect is %s", answer->name,
		      kvmattr_abi_name(dialect.abi));
	ck_assert_uint_eq(dialect.supported, answer->supported);
}
END_TEST

START_TEST(a_pin_is_taken_only_where_the_probe_shows_the_same)
{
	const struct answer *answer = &answers[_i];
	struct dialect dialect;

	for (unsigned int pin = KVMATTR_ABI_PROBE; pin < KVMATTR_N_ABIS; pin++) {
		char text[WIRE_TEXT_SIZE] = "";
		bool is_right = pin == KVMATTR_ABI_PROBE || pin == answer->abi;
		int expected = answer->status ? answer->status
			       : is_right     ? KVMATTR_OK
					      : KVMATTR_ABI_MISMATCH;

		ck_assert_int_eq(dialect_decide(&answer->probe, (enum kvmattr_abi)pin, &dialect,
						text, sizeof(text)),
				 expected);
		if (expected == KVMATTR_ABI_MISMATCH) {
			ck_assert_ptr_nonnull(strstr(text, kvmattr_abi_name(pin)));
			ck_assert_ptr_nonnull(strstr(text, kvmattr_abi_name(answer->abi)));
		}
	}
}
END_TEST

START_TEST(a_text_is_cut_where_there_is_no_room)
{
	struct dialect dialect;
	char text[8] = "#######";

	ck_assert_int_eq(dialect_decide(&(struct wire_probe_result){ .v10_errno = ENOTTY },
					KVMATTR_ABI_PROBE, &dialect, text, 5),
			 KVMATTR_UNSUPPORTED);
	ck_assert_uint_eq(strlen(text), 4);
	ck_assert_int_eq(text[5], '#');
}
END_TEST

/* In the order of the tables. */
static const uint8_t protections[] = { KVMATTR_NONE, KVMATTR_R, KVMATTR_RW, KVMATTR_RX,
				       KVMATTR_RWX };

#define NO UINT64_MAX /* cannot be said */

/*
 * deny: NR 1, NW 2, NX 4, and NR needs the other two; PRIVATE 8, and none of them then.
 * v10: READ 1, WRITE 2, EXECUTE 4 allow; 0 is the default, all allowed; NO_ACCESS 16 of v10na.
 */
static const struct {
	const char *name;
	struct wire_probe_result probe;
	uint64_t shared[N(protections)]; /* none, r, rw, rx, rwx */
	uint64_t private[N(protections)];
} tables[] = {
	{ "mainline",
	  { .v10_errno = ENOTTY, .cap = 8 },
	  { NO, NO, NO, NO, 0 },
	  { NO, NO, NO, NO, 8 } },
	{ "deny", { .v10_errno = ENOTTY, .cap = 0xf }, { 7, 6, 4, 2, 0 }, { NO, NO, NO, NO, 8 } },
	{ "v10", { .v10_supported = 0xf }, { NO, 1, 3, 5, 0 }, { NO, 9, 0xb, 0xd, 0xf } },
	{ "v10na", { .v10_supported = 0x1f }, { 0x10, 1, 3, 5, 0 }, { NO, 9, 0xb, 0xd, 0xf } },
	/* Kernels that have some of the bits: what needs another one cannot be said. */
	{ "deny without PRIVATE",
	  { .v10_errno = ENOTTY, .cap = 7 },
	  { 7, 6, 4, 2, 0 },
	  { NO, NO, NO, NO, NO } },
	{ "deny with NW and PRIVATE",
	  { .v10_errno = ENOTTY, .cap = 0xa },
	  { NO, NO, NO, 2, 0 },
	  { NO, NO, NO, NO, 8 } },
	{ "deny with NX",
	  { .v10_errno = ENOTTY, .cap = 4 },
	  { NO, NO, 4, NO, 0 },
	  { NO, NO, NO, NO, NO } },
	{ "deny with NW and NX",
	  { .v10_errno = ENOTTY, .cap = 6 },
	  { NO, 6, 4, 2, 0 },
	  { NO, NO, NO, NO, NO } },
	{ "deny with NR",
	  { .v10_errno = ENOTTY, .cap = 1 },
	  { NO, NO, NO, NO, 0 },
	  { NO, NO, NO, NO, NO } },
	{ "v10 with PRIVATE",
	  { .v10_supported = 8 },
	  { NO, NO, NO, NO, 0 },
	  { NO, NO, NO, NO, 8 } },
	{ "v10 without PRIVATE",
	  { .v10_supported = 7 },
	  { NO, 1, 3, 5, 0 },
	  { NO, NO, NO, NO, NO } },
	/*
	 * A private page whose layers are reset is rwx again, so a kernel that cannot say that of
	 * a private page has no private pages.
	 */
	{ "v10 without WRITE",
	  { .v10_supported = 0xd },
	  { NO, 1, NO, 5, 0 },
	  { NO, NO, NO, NO, NO } },
	{ "v10 without READ",
	  { .v10_supported = 0xe },
	  { NO, NO, NO, NO, 0 },
	  { NO, NO, NO, NO, NO } },
	{ "v10na with NO_ACCESS alone",
	  { .v10_supported = 0x10 },
	  { 0x10, NO, NO, NO, 0 },
	  { NO, NO, NO, NO, NO } },
};

static uint64_t said(const struct dialect *dialect, unsigned int attributes)
{
	return dialect_can_express(dialect, attributes) ? dialect->bits[attributes] : NO;
}

START_TEST(every_effective_attribute_is_said_as_the_table_by_hand_says)
{
	struct dialect dialect = decide(&tables[_i].probe, KVMATTR_ABI_PROBE);
	uint32_t in_table = 0;

	for (size_t p = 0; p < N(protections); p++) {
		unsigned int attributes = protections[p];

		ck_assert_msg(said(&dialect, attributes) == tables[_i].shared[p], "%s, shared %s",
			      tables[_i].name, kvmattr_protection_name(attributes));
		in_table |= UINT32_C(1) << attributes;
		attributes |= KVMATTR_PRIVATE;
		ck_assert_msg(said(&dialect, attributes) == tables[_i].private[p], "%s, private %s",
			      tables[_i].name, kvmattr_protection_name(attributes));
		in_table |= UINT32_C(1) << attributes;
	}
	/* Write or execute without read, kernel without user execute: in no dialect. */
	for (unsigned int a = 0; a < DIALECT_N_ATTRIBUTES; a++)
		if (!(in_table >> a & 1))
			ck_assert_msg(!dialect_can_express(&dialect, a), "%s: 0x%x",
				      tables[_i].name, a);
}
END_TEST

/* What the policy relies on, of every kernel that there could be. */
START_TEST(whatever_bits_a_kernel_has_its_attributes_are_closed_under_intersection)
{
	for (uint64_t bits = 1; bits < 64; bits++) {
		struct wire_probe_result upstream = { .v10_errno = ENOTTY, .cap = bits };
		struct wire_probe_result v10 = { .v10_supported = bits };
		struct dialect dialect = decide(_i ? &v10 : &upstream, KVMATTR_ABI_PROBE);

		ck_assert(dialect_can_express(&dialect, KVMATTR_RWX));
		for (unsigned int a = 0; a < DIALECT_N_ATTRIBUTES; a++) {
			if (!dialect_can_express(&dialect, a))
				continue;
			ck_assert_uint_eq(dialect.bits[a] & ~bits, 0);
			ck_assert_msg(
				dialect_can_express(&dialect, (a & KVMATTR_PRIVATE) | KVMATTR_RWX),
				"bits 0x%x: 0x%x, but not all allowed", (unsigned int)bits, a);
			for (unsigned int b = 0; b < DIALECT_N_ATTRIBUTES; b++)
				if ((a ^ b) & KVMATTR_PRIVATE || !dialect_can_express(&dialect, b))
					continue;
				else
					ck_assert_msg(dialect_can_express(&dialect, a & b),
						      "bits 0x%x: 0x%x and 0x%x",
						      (unsigned int)bits, a, b);
		}
	}
}
END_TEST

START_TEST(no_two_attributes_are_said_alike)
{
	struct dialect dialect = decide(&tables[_i].probe, KVMATTR_ABI_PROBE);

	for (unsigned int a = 0; a < DIALECT_N_ATTRIBUTES; a++)
		for (unsigned int b = 0; b < a; b++)
			if (dialect_can_express(&dialect, a) && dialect_can_express(&dialect, b))
				ck_assert_uint_ne(dialect.bits[a], dialect.bits[b]);
}
END_TEST

int main(void)
{
	TCase *probe = tcase_create("probe");
	TCase *table = tcase_create("table");

	tcase_add_loop_test(probe, a_probes_answer_shows_the_dialect_or_what_is_missing, 0,
			    N(answers));
	tcase_add_loop_test(probe, a_pin_is_taken_only_where_the_probe_shows_the_same, 0,
			    N(answers));
	tcase_add_test(probe, a_text_is_cut_where_there_is_no_room);
	tcase_add_loop_test(table, every_effective_attribute_is_said_as_the_table_by_hand_says, 0,
			    N(tables));
	tcase_add_loop_test(table,
			    whatever_bits_a_kernel_has_its_attributes_are_closed_under_intersection,
			    0, 2);
	tcase_add_loop_test(table, no_two_attributes_are_said_alike, 0, N(tables));
	return seeded_suite_run("dialect", (TCase *[]){ probe, table, NULL });
}
