/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/restarts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kvmattrd *d;
struct control_client *control;

void start(const char *configuration)
{
	d = kvmattrd_start(configuration);
	control = control_connect(d);
}

void launch(const char *configuration)
{
	kvmattrd_launch(d, configuration);
	control = control_connect(d);
}

void kill_daemon(void)
{
	control_close(control);
	kvmattrd_kill(d);
}

void restart(void)
{
	kill_daemon();
	launch(NULL);
}

void stop(void)
{
	control_close(control);
	kvmattrd_stop(d);
}

/* ---- Looking ------------------------------------------------------------------------------- */

void expect_vm(const char *name, const char *state, bool is_recovered)
{
	struct json_object *result = control_call(control, "vm.get", "{\"vm\":\"%s\"}", name);

	ck_assert_str_eq(json_text_at(result, "state"), state);
	ck_assert_int_eq(json_boolean_at(result, "recovered"), is_recovered);
	json_object_put(result);
}

void expect_layer(const char *vm, uint64_t gfn, const char *protection, const char *source)
{
	struct json_object *result = control_call(
		control, "map.layer", "{\"vm\":\"%s\",\"layer\":1,\"start\":\"0x%lx\",\"limit\":1}",
		vm, gfn << KVMATTR_PAGE_SHIFT);

	ck_assert_str_eq(json_text_at(result, "runs.0.protection"), protection);
	ck_assert_str_eq(json_text_at(result, "runs.0.source"), source);
	json_object_put(result);
}

int64_t commit_of(const char *vm)
{
	struct json_object *result = control_call(control, "vm.get", "{\"vm\":\"%s\"}", vm);
	int64_t commit = json_number_at(result, "commit");

	json_object_put(result);
	return commit;
}

struct raw_vm make_vm(const char *name)
{
	struct raw_vm vm = raw_vm_start(d, name);
	struct raw_update update = raw_make_update(2);

	raw_send(vm.owner, &update, sizeof(update));
	ck_assert_uint_gt(raw_vm_answer_calls(&vm), 0);
	ck_assert_uint_eq(raw_receive_answer(vm.owner, 2, NULL), 0);
	return vm;
}

/* ---- Journals' files ----------------------------------------------------------------------- */

const char *journal_of(const char *vm)
{
	static char path[400];
	char directory[128];
	struct dirent **entries;
	int n;

	path[0] = '\0';
	snprintf(directory, sizeof(directory), "%s/vms", d->state_dir);
	n = scandir(directory, &entries, NULL, alphasort);
	ck_assert_int_ge(n, 0);
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (!strncmp(name, vm, strlen(vm)) && name[strlen(vm)] == '.') {
			ck_assert_str_eq(path, "");
			snprintf(path, sizeof(path), "%s/%s", directory, name);
		}
		free(entries[i]);
	}
	free(entries);
	return path;
}

const char *segment_of(const char *vm)
{
	static char path[440];

	snprintf(path, sizeof(path), "%s/%016x.journal", journal_of(vm), 1);
	return path;
}
