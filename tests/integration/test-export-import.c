/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's policy on its way from one daemon to another: what comes into force there, and what is said
 * where it stops on the way.  What is refused before that is in test-import-refusals.c.
 */
#include "daemon/journal/base64.h"
#include "daemon/journal/export.h"
#include "tests/integration/migration.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INVALID_PARAMS (-32602)
#define STATUS(name)   (-32000 - KVMATTR_##name)
/* ---- Export -------------------------------------------------------------------------------- */

static struct export_header header_of(const struct image *image)
{
	struct export_header header;
	char text[256] = "";
	size_t offset;

	ck_assert_msg(
		export_check(image->data, image->size, &header, &offset, text, sizeof(text)) == 0,
		"%s", text);
	return header;
}

START_TEST(an_export_is_as_of_the_last_commit_and_always_the_same)
{
	struct image one = migration_export(control_here, NULL);
	struct image other = migration_export(control_here, NULL);
	struct export_header header = header_of(&one);

	ck_assert_str_eq(header.name, "guest");
	ck_assert_int_eq((int64_t)header.commit, migration_commit(control_here));
	ck_assert_uint_eq(one.size, other.size);
	ck_assert_mem_eq(one.data, other.data, one.size);
	image_destroy(&one);
	image_destroy(&other);
}
END_TEST

START_TEST(an_earlier_commit_is_exported_as_it_was)
{
	struct image then = migration_export(control_here, NULL), now, again;
	struct export_header header = header_of(&then);
	char cursor[32];

	expect_ok(source_agent, protect_range(source_agent, 1, KVMATTR_R, 2500, 5));
	now = migration_export(control_here, NULL);
	ck_assert(!migration_is_same_policy(&then, &now));
	snprintf(cursor, sizeof(cursor), "%llu:0", (unsigned long long)header.commit);
	again = migration_export(control_here, cursor);
	ck_assert_uint_eq(then.size, again.size);
	ck_assert_mem_eq(then.data, again.data, then.size);
	image_destroy(&then);
	image_destroy(&now);
	image_destroy(&again);
}
END_TEST

START_TEST(an_export_of_many_pieces_is_one_although_the_vm_goes_on)
{
	struct image image = { 0 };
	struct json_object *answer;
	struct export_header header;
	uint64_t gfns[PAGES / 2];
	char cursor[64] = "";
	int n_pieces = 0;

	simulated_vmm_stop(source);
	kvmattr_close(source_agent);
	source = simulated_vmm_start(
		here, &(struct simulated_vmm_options){ .n_views = 3, .n_pages = 1 << 20 });
	source_agent = simulated_vmm_open_agent(source, 2, 0);
	expect_ok(source_agent, kvmattr_enable_layer(source_agent, 1, KVMATTR_RWX, 0));
	expect_ok(source_agent, kvmattr_enable_layer(source_agent, 2, KVMATTR_RWX, 0));
	/* no two neighbours alike, over 512 MiB: more than an answer holds */
	for (uint64_t first = 0; first < 1 << 17; first += PAGES) {
		for (uint64_t i = 0; i < N(gfns); i++)
			gfns[i] = first + 2 * i;
		expect_ok(source_agent, kvmattr_protect(source_agent, 2, KVMATTR_ALL_LOWER,
							KVMATTR_R, gfns, (size_t)N(gfns), NULL));
	}
	do {
		const char *data;
		uint8_t *bytes;
		size_t n;

		answer = *cursor ? control_call(control_here, "vm.export",
						"{\"vm\":\"guest\",\"cursor\":\"%s\"}", cursor)
				 : control_call(control_here, "vm.export", "{\"vm\":\"guest\"}");
		data = json_text_at(answer, "data");
		bytes = malloc(BASE64_MAX_SIZE(strlen(data)));
		ck_assert(base64_decode(data, strlen(data), bytes, &n));
		image_add(&image, bytes, n);
		free(bytes);
		*cursor = '\0';
		if (json_has(answer, "cursor"))
			snprintf(cursor, sizeof(cursor), "%s", json_text_at(answer, "cursor"));
		json_object_put(answer);
		n_pieces++;
		expect_ok(source_agent, protect_range(source_agent, 1, KVMATTR_RX,
						      200000 + (uint64_t)n_pieces, 1));
	} while (*cursor);
	header = header_of(&image);
	ck_assert_str_eq(header.name, "guest");
	ck_assert_int_gt(n_pieces, 1);
	image_destroy(&image);
}
END_TEST

/* ---- Import -------------------------------------------------------------------------------- */

START_TEST(a_policy_comes_into_force_in_another_daemon)
{
	const struct kvmattr_range locked = { 1005, 1 };
	struct image image = migration_export(control_here, NULL), back;
	struct json_object *answer;

	migration_start_target(&three_views);
	answer = migration_import(control_there, &image, 100 + 999 * (size_t)_i);
	ck_assert_str_eq(json_text_at(answer, "from_vm"), "guest");
	ck_assert_int_eq(json_number_at(answer, "from_commit"), migration_commit(control_here));
	ck_assert_int_eq(json_number_at(answer, "commit"), migration_commit(control_there));
	ck_assert_int_gt(json_number_at(answer, "updates"), 5);
	json_object_put(answer);
	migration_expect_same_kernels();
	back = migration_export(control_there, NULL);
	ck_assert(migration_is_same_policy(&image, &back));
	/* locked as often as it was */
	expect_ok(target->owner, kvmattr_unlock(target->owner, &locked, 1, NULL));
	expect_status(target->owner, protect_range(target->owner, 1, KVMATTR_R, 1005, 1),
		      KVMATTR_OPERATION_DENIED);
	expect_ok(target->owner, kvmattr_unlock(target->owner, &locked, 1, NULL));
	expect_ok(target->owner, protect_range(target->owner, 1, KVMATTR_R, 1005, 1));
	image_destroy(&image);
	image_destroy(&back);
}
END_TEST

START_TEST(what_the_vm_had_before_is_gone)
{
	struct image image = migration_export(control_here, NULL), back;
	const struct kvmattr_range locked = { 7, 7 };
	struct kvmattr *other;

	migration_start_target(&three_views);
	other = simulated_vmm_open_agent(target, 2, KVMATTR_RIGHT_VISIBILITY);
	expect_ok(other, kvmattr_enable_layer(other, 2, KVMATTR_RX, 0));
	expect_ok(other, protect_range(other, 2, KVMATTR_NONE, 500, 600));
	expect_ok(target->owner, kvmattr_lock(target->owner, &locked, 1, NULL));
	json_object_put(migration_import(control_there, &image, 100000));
	migration_expect_same_kernels();
	back = migration_export(control_there, NULL);
	ck_assert(migration_is_same_policy(&image, &back));
	kvmattr_close(other);
	image_destroy(&image);
	image_destroy(&back);
}
END_TEST

START_TEST(what_was_imported_is_there_behind_a_crash)
{
	struct image image = migration_export(control_here, NULL), back;
	struct json_object *blame;

	migration_start_target(&three_views);
	json_object_put(migration_import(control_there, &image, 100000));
	control_close(control_there);
	kvmattrd_kill(there);
	kvmattrd_launch(there, NULL);
	control_there = control_connect(there);
	EVENTUALLY(10000, control_has_vm(control_there, "guest"));
	back = migration_export(control_there, NULL);
	ck_assert(migration_is_same_policy(&image, &back));
	migration_expect_same_kernels();
	blame = control_call(control_there, "journal.blame",
			     "{\"journal\":\"guest\",\"gpa\":\"0x7d0000\"}");
	ck_assert_str_eq(json_text_at(blame, "entries.0.origin"), "import");
	/* layer 2 comes after it, and allows all there */
	ck_assert_str_eq(json_text_at(blame, "entries.0.kind"), "enable-layer");
	ck_assert_str_eq(json_text_at(blame, "entries.1.origin"), "import");
	ck_assert_str_eq(json_text_at(blame, "entries.1.protection"), "rw");
	json_object_put(blame);
	image_destroy(&image);
	image_destroy(&back);
}
END_TEST

START_TEST(where_kvm_refuses_it_stops_and_says_what_is_in_force)
{
	struct image image = migration_export(control_here, NULL);

	migration_start_target(&three_views);
	simulated_vmm_fail_at(target, ENOMEM, 2000, 1);
	migration_expect_refused(&image, STATUS(INSUFFICIENT_MEMORY), "update(s) are in force");
	expect_agreement(target, target->owner, 0);
	/* and goes through when KVM takes it */
	simulated_vmm_fail(target, 0);
	json_object_put(migration_import(control_there, &image, 100000));
	migration_expect_same_kernels();
	image_destroy(&image);
}
END_TEST

/* A request for vm.import with the first n bytes of an image; the caller's to free. */
static char *import_request(const struct image *image, size_t n)
{
	char *call = migration_piece(image, 0, n), *line;

	ck_assert_int_gt(
		asprintf(&line,
			 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.import\",\"params\":%s}\n",
			 call),
		0);
	free(call);
	return line;
}

/* Imports all at once; false where another import is under way, for whose end one has to wait. */
static bool imports_now(struct control_client *control, const struct image *image)
{
	char *line = import_request(image, image->size);
	struct json_object *answer = control_ask(control, line);
	const bool done = !json_has(answer, "error");

	if (!done)
		ck_assert_int_eq(json_number_at(answer, "error.code"), STATUS(OPERATION_DENIED));
	json_object_put(answer);
	free(line);
	return done;
}

START_TEST(whoever_imports_may_go_away_at_any_time)
{
	struct image image = migration_export(control_here, NULL);
	struct daemon_state before;

	migration_start_target(&three_views);
	before = daemon_state_now(there, control_there);
	for (int i = 0; i < 10; i++) {
		struct control_client *other = control_connect(there);
		char *line = import_request(&image, i % 2 ? image.size : image.size / 2);

		control_send(other, line, strlen(line));
		if (i > 5)
			usleep(1000u * (unsigned int)i);
		control_close(other);
		free(line);
	}
	expect_state(there, control_there, &before);
	/* what has begun goes on without whoever began it, and comes to an end */
	EVENTUALLY(20000, imports_now(control_there, &image));
	migration_expect_same_kernels();
	image_destroy(&image);
}
END_TEST

static void *open_gate_when_released(void *unused)
{
	struct control_client *other = control_connect(there);

	while (control_has_vm(other, "guest"))
		harness_pause();
	control_close(other);
	simulated_vmm_open_gate(target);
	return unused;
}

START_TEST(a_vm_that_goes_away_meanwhile_ends_its_import)
{
	pthread_t opener;
	struct image image = migration_export(control_here, NULL);
	char *call = migration_piece(&image, 0, image.size);
	char *line = import_request(&image, image.size);
	struct json_object *answer;

	migration_start_target(&three_views);
	simulated_vmm_close_gate(target);
	control_send(control_there, line, strlen(line));
	simulated_vmm_await_call(target);
	/* another import has to wait for it */
	{
		struct control_client *other = control_connect(there);

		control_expect_error(other, "vm.import", call, STATUS(OPERATION_DENIED),
				     "another import is under way");
		control_close(other);
	}
	/* closing waits for the executor, which waits at the gate */
	ck_assert_int_eq(pthread_create(&opener, NULL, open_gate_when_released, NULL), 0);
	kvmattr_close(target->owner);
	target->owner = NULL;
	ck_assert_int_eq(pthread_join(opener, NULL), 0);
	answer = control_receive(control_there);
	ck_assert(json_has(answer, "error"));
	json_object_put(answer);
	simulated_vmm_stop(target);
	target = NULL;
	free(call);
	free(line);
	image_destroy(&image);
}
END_TEST

/* Where its policy is looked at beside the event loop, it ends behind everything else. */
START_TEST(the_daemon_may_stop_at_any_time_of_an_import)
{
	struct image image = migration_export(control_here, NULL);
	char *line = import_request(&image, image.size);

	migration_start_target(&three_views);
	for (unsigned int i = 0; i < 10; i++) {
		control_send(control_there, line, strlen(line));
		usleep(300 * i);
		kvmattrd_terminate(there);
		control_close(control_there);
		kvmattrd_launch(there, NULL);
		control_there = control_connect(there);
		EVENTUALLY(10000, control_has_vm(control_there, "guest"));
	}
	EVENTUALLY(20000, imports_now(control_there, &image));
	migration_expect_same_kernels();
	free(line);
	image_destroy(&image);
}
END_TEST

int main(void)
{
	TCase *exports = harness_make_case("export", 40),
	      *imports = harness_make_case("import", 40);

	tcase_add_checked_fixture(exports, migration_start, migration_stop);
	tcase_add_test(exports, an_export_is_as_of_the_last_commit_and_always_the_same);
	tcase_add_test(exports, an_earlier_commit_is_exported_as_it_was);
	tcase_add_test(exports, an_export_of_many_pieces_is_one_although_the_vm_goes_on);
	tcase_add_checked_fixture(imports, migration_start, migration_stop);
	tcase_add_loop_test(imports, a_policy_comes_into_force_in_another_daemon, 0, 2);
	tcase_add_test(imports, what_the_vm_had_before_is_gone);
	tcase_add_test(imports, what_was_imported_is_there_behind_a_crash);
	tcase_add_test(imports, where_kvm_refuses_it_stops_and_says_what_is_in_force);
	tcase_add_test(imports, whoever_imports_may_go_away_at_any_time);
	tcase_add_test(imports, a_vm_that_goes_away_meanwhile_ends_its_import);
	tcase_add_test(imports, the_daemon_may_stop_at_any_time_of_an_import);
	return harness_run("export and import", (TCase *const[]){ exports, imports, NULL });
}
