/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vm.import refuses before anything has changed: other VMs, damaged or impossible policies,
 * pieces out of order, callers who may not.
 */
#include "daemon/journal/export.h"
#include "tests/integration/migration.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define INVALID_PARAMS (-32602)
#define STATUS(name)   (-32000 - KVMATTR_##name)

START_TEST(a_vm_with_other_ram_or_views_or_kernel_is_refused_and_left_as_it_is)
{
	static const struct {
		struct simulated_vmm_options options;
		int code;
		const char *part;
	} others[] = {
		{ { .n_views = 3, .n_pages = PAGES - 1 },
		  STATUS(INVALID_PARAMETER),
		  "other RAM: GFN 0xfff is RAM that is shared from the start there, and no RAM "
		  "here" },
		{ { .n_views = 3, .is_private = true },
		  STATUS(INVALID_PARAMETER),
		  "RAM that is private from the start here" },
		{ { .n_views = 2 }, STATUS(INVALID_VTL_STATE), "a view of VTL 2" },
		{ { .n_views = 3, .abi = KVMATTR_ABI_V10 },
		  STATUS(UNSUPPORTED),
		  "cannot enforce none" },
		{ { .n_views = 3, .abi = KVMATTR_ABI_MAINLINE }, STATUS(UNSUPPORTED), "cannot" },
	};
	struct image image = migration_export(control_here, NULL);

	migration_start_target(&others[_i].options);
	expect_ok(target->owner, kvmattr_enable_layer(target->owner, 1, KVMATTR_RWX, 0));
	migration_expect_refused(&image, others[_i].code, others[_i].part);
	migration_expect_refused(&image, others[_i].code, "nothing was changed");
	/* the RAM, and the layer */
	ck_assert_int_eq(migration_commit(control_there), 2);
	image_destroy(&image);
}
END_TEST

START_TEST(bytes_that_are_no_export_are_refused_with_the_place)
{
	struct image image = migration_export(control_here, NULL);

	migration_start_target(&three_views);
	image.data[20] ^= 1;
	migration_expect_refused(&image, STATUS(INVALID_PARAMETER), "at byte 108");
	image.data[20] ^= 1;
	image.data[image.size - 1] ^= 1;
	migration_expect_refused(&image, STATUS(INVALID_PARAMETER), "does not match its checksum");
	image.size--;
	migration_expect_refused(&image, STATUS(INVALID_PARAMETER), "bytes behind its header");
	image.size = 10;
	migration_expect_refused(&image, STATUS(INVALID_PARAMETER), "ends within its header");
	ck_assert_int_eq(migration_commit(control_there), 1);
	image_destroy(&image);
}
END_TEST

START_TEST(an_image_that_no_policy_has_is_refused_whatever_its_checksums)
{
	struct image image = migration_export(control_here, NULL), first, last;

	migration_start_target(&three_views);
	/* the image's own checks are test-policy-image's; here, that they are asked */
	image.data[sizeof(struct export_header)] ^= 0xff;
	migration_expect_refused(&image, STATUS(INVALID_PARAMETER),
				 "no export that can be imported");
	first = migration_export(control_there, NULL);
	last = migration_export(control_there, NULL);
	ck_assert(migration_is_same_policy(&first, &last));
	image_destroy(&first);
	image_destroy(&last);
	image_destroy(&image);
}
END_TEST

START_TEST(pieces_that_do_not_follow_each_other_are_refused)
{
	struct image image = migration_export(control_here, NULL);
	char *first = migration_piece(&image, 0, 50), *second = migration_piece(&image, 50, 50);
	char *third = migration_piece(&image, 100, 50), *of_other_size;
	struct control_client *other = control_connect(there);

	migration_start_target(&three_views);
	control_expect_error(control_there, "vm.import", second, STATUS(INVALID_PARAMETER),
			     "begin again with offset 0");
	json_object_put(control_call(control_there, "vm.import", "%s", first));
	control_expect_error(control_there, "vm.import", third, STATUS(INVALID_PARAMETER),
			     "begin again");
	/* of another client */
	control_expect_error(other, "vm.import", second, STATUS(INVALID_PARAMETER), "begin again");
	json_object_put(control_call(control_there, "vm.import", "%s", second));
	control_expect_error(control_there, "vm.import", second, STATUS(INVALID_PARAMETER),
			     "begin again");
	image.size++;
	of_other_size = migration_piece(&image, 100, 50);
	image.size--;
	control_expect_error(control_there, "vm.import", of_other_size, STATUS(INVALID_PARAMETER),
			     "begin again");
	/* and whoever begins again gets through */
	json_object_put(migration_import(control_there, &image, 3000));
	migration_expect_same_kernels();
	control_close(other);
	free(first);
	free(second);
	free(third);
	free(of_other_size);
	image_destroy(&image);
}
END_TEST

START_TEST(parameters_of_an_import_are_checked)
{
	static const struct {
		const char *params;
		int code;
		const char *part;
	} refused[] = {
		{ "{\"vm\":\"guest\",\"size\":4,\"offset\":0,\"data\":\"Zm9\"}", INVALID_PARAMS,
		  "params.data" },
		{ "{\"vm\":\"guest\",\"size\":4,\"offset\":0,\"data\":\"Zm9v\\n\"}", INVALID_PARAMS,
		  "params.data" },
		{ "{\"vm\":\"guest\",\"size\":4,\"offset\":0,\"data\":5}", INVALID_PARAMS,
		  "params.data" },
		{ "{\"vm\":\"guest\",\"size\":4,\"offset\":0}", INVALID_PARAMS, "params.data" },
		{ "{\"vm\":\"guest\",\"size\":0,\"offset\":0,\"data\":\"\"}", INVALID_PARAMS,
		  "params.size" },
		{ "{\"vm\":\"guest\",\"size\":9,\"offset\":0,\"data\":\"\"}",
		  STATUS(INVALID_PARAMETER), "begin again" },
		{ "{\"vm\":\"guest\",\"size\":2,\"offset\":0,\"data\":\"Zm9v\"}",
		  STATUS(INVALID_PARAMETER), "begin again" },
		{ "{\"vm\":\"guest\",\"size\":2,\"offset\":5,\"data\":\"Zm9v\"}",
		  STATUS(INVALID_PARAMETER), "begin again" },
		{ "{\"vm\":\"nobody\",\"size\":3,\"offset\":0,\"data\":\"Zm9v\"}", STATUS(NO_VM),
		  "nobody" },
	};

	migration_start_target(&three_views);
	for (int i = 0; i < N(refused); i++)
		control_expect_error(control_there, "vm.import", refused[i].params, refused[i].code,
				     refused[i].part);
}
END_TEST

START_TEST(an_import_that_is_larger_than_any_map_is_refused)
{
	control_close(control_there);
	kvmattrd_stop(there);
	there = kvmattrd_start("[limits]\nmax-map-mib = 1\n");
	control_there = control_connect(there);
	migration_start_target(&three_views);
	control_expect_error(control_there, "vm.import",
			     "{\"vm\":\"guest\",\"size\":1048577,\"offset\":0,\"data\":\"Zm9v\"}",
			     STATUS(LIMIT_EXCEEDED), "max-map-mib");
}
END_TEST

/* ---- Who may ------------------------------------------------------------------------------- */

START_TEST(only_an_operator_may_import)
{
	struct control_client *other;
	pid_t child;
	int status;

	if (geteuid() != 0)
		return; /* then whoever gets in is the daemon's user */
	migration_start_target(&three_views);
	ck_assert_int_eq(chmod(there->directory, 0755), 0);
	ck_assert_int_eq(chmod(there->runtime_dir, 0755), 0);
	ck_assert_int_eq(chmod(there->control_socket, 0666), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		other = control_connect(there);
		json_object_put(control_call(other, "vm.list", "{}"));
		control_expect_error(other, "vm.import",
				     "{\"vm\":\"guest\",\"size\":3,\"offset\":0,\"data\":\"Zm9v\"}",
				     STATUS(ACCESS_DENIED), "for operators");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	TCase *refusals = harness_make_case("refusals", 40);

	tcase_add_checked_fixture(refusals, migration_start, migration_stop);
	tcase_add_loop_test(refusals,
			    a_vm_with_other_ram_or_views_or_kernel_is_refused_and_left_as_it_is, 0,
			    5);
	tcase_add_test(refusals, bytes_that_are_no_export_are_refused_with_the_place);
	tcase_add_test(refusals, an_image_that_no_policy_has_is_refused_whatever_its_checksums);
	tcase_add_test(refusals, pieces_that_do_not_follow_each_other_are_refused);
	tcase_add_test(refusals, parameters_of_an_import_are_checked);
	tcase_add_test(refusals, an_import_that_is_larger_than_any_map_is_refused);
	tcase_add_test(refusals, only_an_operator_may_import);
	return harness_run("import refusals", (TCase *const[]){ refusals, NULL });
}
