/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm.export, vm.import: a VM's policy on its way out, and in.
 */
#include "daemon/allocate.h"
#include "daemon/journal/base64.h"
#include "daemon/journal/export.h"
#include "import.h"
#include "json-put.h"
#include "methods.h"
#include "question.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

/* Bytes in one answer: a millisecond or so of the event loop's. */
#define PIECE_SIZE (192u * 1024)

/* ---- vm.export ----------------------------------------------------------------------------- */

struct export_question {
	struct question head;
	uint64_t commit; /* 0: the last */
	uint64_t offset;
	/* made */
	char name[KVMATTR_NAME_SIZE];
	uint64_t size;
	uint64_t n; /* bytes of the piece */
	char *text;
};

static int refuse_offset(struct export_question *export, const char *why)
{
	snprintf(export->head.error.text, sizeof(export->head.error.text),
		 "%s; export it again from the start", why);
	return -ERANGE;
}

static int export_work(struct question *question)
{
	struct export_question *export = (struct export_question *)question;
	const struct replay *state;
	struct image image = { 0 };
	int r = past_state_at(question->states, &question->source, export->commit, &state,
			      &question->error);

	if (r < 0)
		return r;
	/* what was begun before the first commit cannot be gone on with behind it */
	if (export->offset && export->commit != state->commit)
		return refuse_offset(export, "the VM has gone on");
	export_write(state, &image);
	if (export->offset > image.size) {
		image_destroy(&image);
		return refuse_offset(export, "the cursor is behind the end");
	}
	export->commit = state->commit;
	snprintf(export->name, sizeof(export->name), "%s", state->facts.name);
	export->size = image.size;
	export->n =
		image.size - export->offset < PIECE_SIZE ? image.size - export->offset : PIECE_SIZE;
	export->text = allocate(BASE64_LENGTH(export->n) + 1);
	base64_encode(image.data + export->offset, export->n, export->text);
	image_destroy(&image);
	return 0;
}

static void export_answer(struct question *question, struct jsonrpc_answer *answer)
{
	const struct export_question *export = (const struct export_question *)question;
	struct json_object *result = method_result(answer);
	char cursor[48];

	json_put_text(result, "vm", export->name);
	json_put_number(result, "commit", export->commit);
	json_put_number(result, "size", export->size);
	json_put_number(result, "offset", export->offset);
	json_put_text(result, "data", export->text);
	if (export->offset + export->n == export->size)
		return;
	snprintf(cursor, sizeof(cursor), "%" PRIu64 ":%" PRIu64, export->commit,
		 export->offset + export->n);
	json_put_text(result, "cursor", cursor);
}

static void export_free(struct question *question)
{
	free(((struct export_question *)question)->text);
	free(question);
}

static const struct question_kind export_kind = { export_work, export_answer, export_free };

void method_vm_export(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct method_argument *cursor = method_argument(call, "cursor");
	const struct hosted_vm *hosted = method_vm(call, "vm");
	struct export_question *export;

	if (!hosted->journal) {
		method_refuse(answer, KVMATTR_NO_VM, "VM %s is being released", hosted->name);
		return;
	}
	export = allocate_one(struct export_question);
	export->commit = cursor->is_given ? cursor->number : vm_commit(hosted->vm);
	export->offset = cursor->second;
	question_ask(call, &export->head, &export_kind, vm_journal_name(hosted->journal));
}

/* ---- vm.import ----------------------------------------------------------------------------- */

void method_vm_import(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct method_argument *data = method_argument(call, "data");
	const char *vm = method_vm(call, "vm")->name;
	uint64_t size = method_number(call, "size", 0), offset = method_number(call, "offset", 0);
	uint64_t limit = call->daemon->limits.vm.max_map_bytes;
	struct json_object *result;

	if (limit && size > limit) {
		method_refuse(answer, KVMATTR_LIMIT_EXCEEDED,
			      "VM %s: an import has at most %" PRIu64 " bytes here, not %" PRIu64
			      "; raise max-map-mib",
			      vm, limit, size);
		return;
	}
	if (!offset)
		import_receive_begin(call->peer, vm, size);
	if (!import_receive(call->peer, vm, size, offset, data->data, data->n_data)) {
		method_refuse(answer, KVMATTR_INVALID_PARAMETER,
			      "VM %s: this piece does not go on where the one before it ended; "
			      "begin again with offset 0",
			      vm);
		return;
	}
	if (offset + data->n_data == size) {
		if (!import_start(call))
			method_refuse(answer, KVMATTR_OPERATION_DENIED,
				      "VM %s: another import is under way; wait for its end", vm);
		return;
	}
	result = method_result(answer);
	json_put_text(result, "vm", vm);
	json_put_number(result, "received", offset + data->n_data);
}
