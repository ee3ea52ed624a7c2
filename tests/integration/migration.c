/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/migration.h"

#include "daemon/journal/base64.h"
#include "daemon/journal/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kvmattrd *here, *there;
struct control_client *control_here, *control_there;
struct simulated_vmm *source, *target;
struct kvmattr *source_agent;

const struct simulated_vmm_options three_views = { .n_views = 3 };

/* A policy with something of everything, by an owner and an agent of VTL 2. */
static void impose(void)
{
	const struct kvmattr_range once = { 1000, 20 }, twice = { 1005, 3 };

	source_agent = simulated_vmm_open_agent(source, 2, KVMATTR_RIGHT_VISIBILITY);
	expect_ok(source_agent, kvmattr_enable_layer(source_agent, 1, KVMATTR_RWX, 0));
	expect_ok(source_agent, kvmattr_enable_layer(source_agent, 2, KVMATTR_RWX, 1));
	for (uint64_t gfn = 0; gfn < 200; gfn += 2)
		expect_ok(source_agent, protect_range(source_agent, 2, KVMATTR_R, gfn, 1));
	expect_ok(source_agent, protect_range(source_agent, 1, KVMATTR_NONE, 300, 50));
	expect_ok(source_agent, protect_range(source_agent, 2, KVMATTR_RX, 320, 100));
	expect_ok(source_agent, protect_range(source_agent, 1, KVMATTR_RW, 2000, 1));
	expect_ok(source_agent, set_visibility_of(source_agent, 1, 3000, 30));
	expect_ok(source->owner, kvmattr_lock(source->owner, &once, 1, NULL));
	expect_ok(source->owner, kvmattr_lock(source->owner, &twice, 1, NULL));
}

void migration_start(void)
{
	here = kvmattrd_start(NULL);
	there = kvmattrd_start(NULL);
	control_here = control_connect(here);
	control_there = control_connect(there);
	source = simulated_vmm_start(here, &three_views);
	impose();
}

void migration_stop(void)
{
	kvmattr_close(source_agent);
	simulated_vmm_stop(source);
	if (target)
		simulated_vmm_stop(target);
	control_close(control_here);
	control_close(control_there);
	kvmattrd_stop(here);
	kvmattrd_stop(there);
}

struct image migration_export(struct control_client *control, const char *cursor)
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

int64_t migration_commit(struct control_client *control)
{
	struct json_object *vm = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	int64_t commit = json_number_at(vm, "commit");

	json_object_put(vm);
	return commit;
}

bool migration_is_same_policy(const struct image *one, const struct image *other)
{
	return one->size == other->size && !memcmp(one->data + sizeof(struct export_header),
						   other->data + sizeof(struct export_header),
						   one->size - sizeof(struct export_header));
}

char *migration_piece(const struct image *image, size_t offset, size_t n)
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

struct json_object *migration_import(struct control_client *control, const struct image *image,
				     size_t piece_size)
{
	struct json_object *answer = NULL;

	for (size_t offset = 0; offset < image->size;) {
		size_t n = image->size - offset < piece_size ? image->size - offset : piece_size;
		char *call = migration_piece(image, offset, n);

		json_object_put(answer);
		answer = control_call(control, "vm.import", "%s", call);
		free(call);
		offset += n;
		if (offset < image->size)
			ck_assert_int_eq(json_number_at(answer, "received"), (int64_t)offset);
	}
	return answer;
}

void migration_expect_refused(const struct image *image, int code, const char *part)
{
	char *call = migration_piece(image, 0, image->size);

	control_expect_error(control_there, "vm.import", call, code, part);
	free(call);
}

void migration_start_target(const struct simulated_vmm_options *options)
{
	target = simulated_vmm_start(there, options);
}

void migration_expect_same_kernels(void)
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
