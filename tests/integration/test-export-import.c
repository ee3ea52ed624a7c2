/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's policy on its way from one daemon to another: what comes into force there, what is refused
 * before anything has changed, and what is said where it stops on the way.
 */
#include "daemon/journal/base64.h"
#include "daemon/journal/export.h"
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define INVALID_PARAMS (-32602)
#define STATUS(name)   (-32000 - KVMATTR_##name)
#define PAGES          4096

static struct kvmattrd *here, *there;
static struct control_client *control_here, *control_there;
static struct simulated_vmm *source, *target;
static struct kvmattr *agent;

static const struct simulated_vmm_options three_views = { .n_views = 3 };

/* A policy with something of everything, by an owner and an agent of VTL 2. */
static void impose(void)
{
	const struct kvmattr_range once = { 1000, 20 }, twice = { 1005, 3 };

	agent = simulated_vmm_open_agent(source, 2, KVMATTR_RIGHT_VISIBILITY);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, kvmattr_enable_layer(agent, 2, KVMATTR_RWX, 1));
	for (uint64_t gfn = 0; gfn < 200; gfn += 2)
		expect_ok(agent, protect_range(agent, 2, KVMATTR_R, gfn, 1));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_NONE, 300, 50));
	expect_ok(agent, protect_range(agent, 2, KVMATTR_RX, 320, 100));
	expect_ok(agent, protect_range(agent, 1, KVMATTR_RW, 2000, 1));
	expect_ok(agent, set_visibility_of(agent, 1, 3000, 30));
	expect_ok(source->owner, kvmattr_lock(source->owner, &once, 1, NULL));
	expect_ok(source->owner, kvmattr_lock(source->owner, &twice, 1, NULL));
}

static void start(void)
{
	here = kvmattrd_start(NULL);
	there = kvmattrd_start(NULL);
	control_here = control_connect(here);
	control_there = control_connect(there);
	source = simulated_vmm_start(here, &three_views);
	impose();
}

static void stop(void)
{
	kvmattr_close(agent);
	simulated_vmm_stop(source);
	if (target)
		simulated_vmm_stop(target);
	control_close(control_here);
	control_close(control_there);
	kvmattrd_stop(here);
	kvmattrd_stop(there);
}

/* ---- Export -------------------------------------------------------------------------------- */

/* All pieces, from that cursor on if there is one. */
static struct image export_from(struct control_client *control, const char *cursor)
{
	struct image image = { 0 };
	char params[96] = "{\"vm\":\"guest\"}";

	if (cursor)
		snprintf(params, sizeof(params), "{\"vm\":\"guest\",\"cursor\":\"%s\"}", cursor);
	for (;;) {
		struct json_object *answer = control_call(control, "vm.export", "%s", params);
		const char *data = json_text_at(answer, "data");
		uint8_t *bytes = malloc(BASE64_MAX_SIZE(strlen(data)));
		bool has_more = json_has(answer, "cursor");
		size_t n;

		ck_assert(base64_decode(data, strlen(data), bytes, &n));
		ck_assert_int_eq(json_number_at(answer, "offset"), (int64_t)image.size);
		ck_assert_str_eq(json_text_at(answer, "vm"), "guest");
		image_add(&image, bytes, n);
		free(bytes);
		if (has_more)
			snprintf(params, sizeof(params), "{\"vm\":\"guest\",\"cursor\":\"%s\"}",
				 json_text_at(answer, "cursor"));
		else
			ck_assert_int_eq(json_number_at(answer, "size"), (int64_t)image.size);
		json_object_put(answer);
		if (!has_more)
			return image;
	}
}

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

static int64_t commit_of(struct control_client *control)
{
	struct json_object *vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	int64_t commit = json_number_at(vm, "commit");

	json_object_put(vm);
	return commit;
}

/* The policies' images are the same, whatever the commits. */
static bool is_same_policy(const struct image *one, const struct image *other)
{
	return one->size == other->size && !memcmp(one->data + sizeof(struct export_header),
						   other->data + sizeof(struct export_header),
						   one->size - sizeof(struct export_header));
}

START_TEST(an_export_is_as_of_the_last_commit_and_always_the_same)
{
	struct image one = export_from(control_here, NULL);
	struct image other = export_from(control_here, NULL);
	struct export_header header = header_of(&one);

	ck_assert_str_eq(header.name, "guest");
	ck_assert_int_eq((int64_t)header.commit, commit_of(control_here));
	ck_assert_uint_eq(one.size, other.size);
	ck_assert_mem_eq(one.data, other.data, one.size);
	image_destroy(&one);
	image_destroy(&other);
}
END_TEST

START_TEST(an_earlier_commit_is_exported_as_it_was)
{
	struct image then = export_from(control_here, NULL), now, again;
	struct export_header header = header_of(&then);
	char cursor[32];

	expect_ok(agent, protect_range(agent, 1, KVMATTR_R, 2500, 5));
	now = export_from(control_here, NULL);
	ck_assert(!is_same_policy(&then, &now));
	snprintf(cursor, sizeof(cursor), "%llu:0", (unsigned long long)header.commit);
	again = export_from(control_here, cursor);
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
	kvmattr_close(agent);
	source = simulated_vmm_start(
		here, &(struct simulated_vmm_options){ .n_views = 3, .n_pages = 1 << 20 });
	agent = simulated_vmm_open_agent(source, 2, 0);
	expect_ok(agent, kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0));
	expect_ok(agent, kvmattr_enable_layer(agent, 2, KVMATTR_RWX, 0));
	/* no two neighbours alike, over 512 MiB: more than an answer holds */
	for (uint64_t first = 0; first < 1 << 17; first += PAGES) {
		for (uint64_t i = 0; i < N(gfns); i++)
			gfns[i] = first + 2 * i;
		expect_ok(agent, kvmattr_protect(agent, 2, KVMATTR_ALL_LOWER, KVMATTR_R, gfns,
						 (size_t)N(gfns), NULL));
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
		expect_ok(agent,
			  protect_range(agent, 1, KVMATTR_RX, 200000 + (uint64_t)n_pieces, 1));
	} while (*cursor);
	header = header_of(&image);
	ck_assert_str_eq(header.name, "guest");
	ck_assert_int_gt(n_pieces, 1);
	image_destroy(&image);
}
END_TEST

/* ---- Import -------------------------------------------------------------------------------- */

/* The call for a piece, as JSON text; the caller's to free. */
static char *piece(const struct image *image, size_t offset, size_t n)
{
	char *text = malloc(BASE64_LENGTH(n) + 1), *call;

	base64_encode(image->data + offset, n, text);
	ck_assert_int_gt(asprintf(&call,
				  "{\"vm\":\"guest\",\"size\":%zu,\"offset\":%zu,\"data\":\"%s\"}",
				  image->size, offset, text),
			 0);
	free(text);
	return call;
}

/* In pieces of so many bytes; the last one's result. */
static struct json_object *import(struct control_client *control, const struct image *image,
				  size_t piece_size)
{
	struct json_object *answer = NULL;

	for (size_t offset = 0; offset < image->size;) {
		size_t n = image->size - offset < piece_size ? image->size - offset : piece_size;
		char *call = piece(image, offset, n);

		json_object_put(answer);
		answer = control_call(control, "vm.import", "%s", call);
		free(call);
		offset += n;
		if (offset < image->size)
			ck_assert_int_eq(json_number_at(answer, "received"), (int64_t)offset);
	}
	return answer;
}

static void expect_refused_import(const struct image *image, int code, const char *part)
{
	char *call = piece(image, 0, image->size);

	control_expect_error(control_there, "vm.import", call, code, part);
	free(call);
}

static void start_target(const struct simulated_vmm_options *options)
{
	target = simulated_vmm_start(there, options);
}

/* Every page of every view is the same in both simulated kernels, and as the daemon says. */
static void expect_same_kernels(void)
{
	for (unsigned int vtl = 0; vtl < 3; vtl++) {
		for (uint64_t gfn = 0; gfn < PAGES; gfn++)
			ck_assert_msg(simulated_vmm_page(source, vtl, gfn) ==
					      simulated_vmm_page(target, vtl, gfn),
				      "VTL %u, page %d: 0x%x there, 0x%x here", vtl, (int)gfn,
				      simulated_vmm_page(target, vtl, gfn),
				      simulated_vmm_page(source, vtl, gfn));
		expect_agreement(target, target->owner, vtl);
	}
}

START_TEST(a_policy_comes_into_force_in_another_daemon)
{
	const struct kvmattr_range locked = { 1005, 1 };
	struct image image = export_from(control_here, NULL), back;
	struct json_object *answer;

	start_target(&three_views);
	answer = import(control_there, &image, 100 + 999 * (size_t)_i);
	ck_assert_str_eq(json_text_at(answer, "from_vm"), "guest");
	ck_assert_int_eq(json_number_at(answer, "from_commit"), commit_of(control_here));
	ck_assert_int_eq(json_number_at(answer, "commit"), commit_of(control_there));
	ck_assert_int_gt(json_number_at(answer, "updates"), 5);
	json_object_put(answer);
	expect_same_kernels();
	back = export_from(control_there, NULL);
	ck_assert(is_same_policy(&image, &back));
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
	struct image image = export_from(control_here, NULL), back;
	const struct kvmattr_range locked = { 7, 7 };
	struct kvmattr *other;

	start_target(&three_views);
	other = simulated_vmm_open_agent(target, 2, KVMATTR_RIGHT_VISIBILITY);
	expect_ok(other, kvmattr_enable_layer(other, 2, KVMATTR_RX, 0));
	expect_ok(other, protect_range(other, 2, KVMATTR_NONE, 500, 600));
	expect_ok(target->owner, kvmattr_lock(target->owner, &locked, 1, NULL));
	json_object_put(import(control_there, &image, 100000));
	expect_same_kernels();
	back = export_from(control_there, NULL);
	ck_assert(is_same_policy(&image, &back));
	kvmattr_close(other);
	image_destroy(&image);
	image_destroy(&back);
}
END_TEST

START_TEST(what_was_imported_is_there_behind_a_crash)
{
	struct image image = export_from(control_here, NULL), back;
	struct json_object *blame;

	start_target(&three_views);
	json_object_put(import(control_there, &image, 100000));
	control_close(control_there);
	kvmattrd_kill(there);
	kvmattrd_launch(there, NULL);
	control_there = control_connect(there);
	EVENTUALLY(10000, control_has_vm(control_there, "guest"));
	back = export_from(control_there, NULL);
	ck_assert(is_same_policy(&image, &back));
	expect_same_kernels();
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
	struct image image = export_from(control_here, NULL);

	start_target(&others[_i].options);
	expect_ok(target->owner, kvmattr_enable_layer(target->owner, 1, KVMATTR_RWX, 0));
	expect_refused_import(&image, others[_i].code, others[_i].part);
	expect_refused_import(&image, others[_i].code, "nothing was changed");
	/* the RAM, and the layer */
	ck_assert_int_eq(commit_of(control_there), 2);
	image_destroy(&image);
}
END_TEST

START_TEST(bytes_that_are_no_export_are_refused_with_the_place)
{
	struct image image = export_from(control_here, NULL);

	start_target(&three_views);
	image.data[20] ^= 1;
	expect_refused_import(&image, STATUS(INVALID_PARAMETER), "at byte 108");
	image.data[20] ^= 1;
	image.data[image.size - 1] ^= 1;
	expect_refused_import(&image, STATUS(INVALID_PARAMETER), "does not match its checksum");
	image.size--;
	expect_refused_import(&image, STATUS(INVALID_PARAMETER), "bytes behind its header");
	image.size = 10;
	expect_refused_import(&image, STATUS(INVALID_PARAMETER), "ends within its header");
	ck_assert_int_eq(commit_of(control_there), 1);
	image_destroy(&image);
}
END_TEST

START_TEST(an_image_that_no_policy_has_is_refused_whatever_its_checksums)
{
	struct image image = export_from(control_here, NULL), first, last;

	start_target(&three_views);
	/* the image's own checks are test-policy-image's; here, that they are asked */
	image.data[sizeof(struct export_header)] ^= 0xff;
	expect_refused_import(&image, STATUS(INVALID_PARAMETER), "no export that can be imported");
	first = export_from(control_there, NULL);
	last = export_from(control_there, NULL);
	ck_assert(is_same_policy(&first, &last));
	image_destroy(&first);
	image_destroy(&last);
	image_destroy(&image);
}
END_TEST

START_TEST(pieces_that_do_not_follow_each_other_are_refused)
{
	struct image image = export_from(control_here, NULL);
	char *first = piece(&image, 0, 50), *second = piece(&image, 50, 50);
	char *third = piece(&image, 100, 50), *of_other_size;
	struct control_client *other = control_connect(there);

	start_target(&three_views);
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
	of_other_size = piece(&image, 100, 50);
	image.size--;
	control_expect_error(control_there, "vm.import", of_other_size, STATUS(INVALID_PARAMETER),
			     "begin again");
	/* and whoever begins again gets through */
	json_object_put(import(control_there, &image, 3000));
	expect_same_kernels();
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

	start_target(&three_views);
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
	start_target(&three_views);
	control_expect_error(control_there, "vm.import",
			     "{\"vm\":\"guest\",\"size\":1048577,\"offset\":0,\"data\":\"Zm9v\"}",
			     STATUS(LIMIT_EXCEEDED), "max-map-mib");
}
END_TEST

START_TEST(where_kvm_refuses_it_stops_and_says_what_is_in_force)
{
	struct image image = export_from(control_here, NULL);

	start_target(&three_views);
	simulated_vmm_fail_at(target, ENOMEM, 2000, 1);
	expect_refused_import(&image, STATUS(INSUFFICIENT_MEMORY), "update(s) are in force");
	expect_agreement(target, target->owner, 0);
	/* and goes through when KVM takes it */
	simulated_vmm_fail(target, 0);
	json_object_put(import(control_there, &image, 100000));
	expect_same_kernels();
	image_destroy(&image);
}
END_TEST

START_TEST(whoever_imports_may_go_away_at_any_time)
{
	struct image image = export_from(control_here, NULL);
	struct daemon_state before;
	char *line;

	start_target(&three_views);
	before = daemon_state_now(there, control_there);
	for (int i = 0; i < 10; i++) {
		struct control_client *other = control_connect(there);
		char *call = piece(&image, 0, i % 2 ? image.size : image.size / 2);

		ck_assert_int_gt(asprintf(&line,
					  "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.import\","
					  "\"params\":%s}\n",
					  call),
				 0);
		control_send(other, line, strlen(line));
		if (i > 5)
			usleep(1000u * (unsigned int)i);
		control_close(other);
		free(line);
		free(call);
	}
	expect_state(there, control_there, &before);
	/* what has begun has come to an end, or comes to one */
	json_object_put(import(control_there, &image, 100000));
	expect_same_kernels();
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
	struct image image = export_from(control_here, NULL);
	char *call = piece(&image, 0, image.size), *line;
	struct json_object *answer;

	start_target(&three_views);
	simulated_vmm_close_gate(target);
	ck_assert_int_gt(
		asprintf(&line,
			 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.import\",\"params\":%s}\n",
			 call),
		0);
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

/* ---- Who may ------------------------------------------------------------------------------- */

START_TEST(only_an_operator_may_import)
{
	struct control_client *other;
	pid_t child;
	int status;

	if (geteuid() != 0)
		return; /* then whoever gets in is the daemon's user */
	start_target(&three_views);
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
	TCase *exports = harness_make_case("export", 40),
	      *imports = harness_make_case("import", 40);
	TCase *refusals = harness_make_case("refusals", 40);

	tcase_add_checked_fixture(exports, start, stop);
	tcase_add_test(exports, an_export_is_as_of_the_last_commit_and_always_the_same);
	tcase_add_test(exports, an_earlier_commit_is_exported_as_it_was);
	tcase_add_test(exports, an_export_of_many_pieces_is_one_although_the_vm_goes_on);
	tcase_add_checked_fixture(imports, start, stop);
	tcase_add_loop_test(imports, a_policy_comes_into_force_in_another_daemon, 0, 2);
	tcase_add_test(imports, what_the_vm_had_before_is_gone);
	tcase_add_test(imports, what_was_imported_is_there_behind_a_crash);
	tcase_add_test(imports, where_kvm_refuses_it_stops_and_says_what_is_in_force);
	tcase_add_test(imports, whoever_imports_may_go_away_at_any_time);
	tcase_add_test(imports, a_vm_that_goes_away_meanwhile_ends_its_import);
	tcase_add_checked_fixture(refusals, start, stop);
	tcase_add_loop_test(refusals,
			    a_vm_with_other_ram_or_views_or_kernel_is_refused_and_left_as_it_is, 0,
			    5);
	tcase_add_test(refusals, bytes_that_are_no_export_are_refused_with_the_place);
	tcase_add_test(refusals, an_image_that_no_policy_has_is_refused_whatever_its_checksums);
	tcase_add_test(refusals, pieces_that_do_not_follow_each_other_are_refused);
	tcase_add_test(refusals, parameters_of_an_import_are_checked);
	tcase_add_test(refusals, an_import_that_is_larger_than_any_map_is_refused);
	tcase_add_test(refusals, only_an_operator_may_import);
	return harness_run("export and import",
			   (TCase *const[]){ exports, imports, refusals, NULL });
}
