/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm.export, vm.import: a VM's policy on its way out, and in.
 */
#include "daemon/allocate.h"
#include "daemon/journal/base64.h"
#include "daemon/journal/export.h"
#include "import.h"
#include "json-put.h"
#include "method-words.h"
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

static const struct question_kind export_kind = {
	.work = export_work,
	.answer = export_answer,
	.free = export_free,
};

static void method_vm_export(const struct method_call *call, struct jsonrpc_answer *answer)
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
	question_ask(call, &export->head, &export_kind, vm_journal_name(hosted->journal), answer);
}

/* ---- vm.import ----------------------------------------------------------------------------- */

static void method_vm_import(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct method_argument *data = method_argument(call, "data");
	const char *vm = method_vm(call, "vm")->name;
	uint64_t size = method_number(call, "size", 0), offset = method_number(call, "offset", 0);
	uint64_t limit = call->daemon->limits.max_map_bytes;
	struct json_object *result;
	char text[256];

	if (limit && size > limit) {
		method_refuse(answer, KVMATTR_LIMIT_EXCEEDED,
			      "VM %s: an import has at most %" PRIu64 " bytes here, not %" PRIu64
			      "; raise max-map-mib",
			      vm, limit, size);
		return;
	}
	/* before it is received, and before it is checked, which takes more */
	if ((!offset || offset + data->n_data == size) &&
	    !import_has_memory(call, size, text, sizeof(text))) {
		method_refuse(answer, KVMATTR_LIMIT_EXCEEDED, "VM %s: not imported: %s", vm, text);
		return;
	}
	if (!offset)
		import_receive_begin(call->daemon, call->peer, vm, size);
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

/* ---- The table ----------------------------------------------------------------------------- */

static const struct method_member export_members[] = {
	VM_MEMBER,
	{ .name = "commit", .value = VALUE_NUMBER, .summary = "as of which it is" },
	{ .name = "size", .value = VALUE_NUMBER, .summary = "of the whole, in bytes" },
	{ .name = "offset", .value = VALUE_NUMBER, .summary = "of this piece" },
	{ .name = "data",
	  .value = VALUE_TEXT,
	  .summary = "in base64; the pieces together are what vm.import takes" },
	PLACE_MEMBER,
	{},
};

static const struct method_member import_members[] = {
	VM_MEMBER,
	{ .name = "received",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_OPTIONAL,
	  .summary = "bytes so far; of every piece but the last" },
	{ .name = "commit",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_OPTIONAL,
	  .summary = "this and all that follows: of the last piece, when all is in force" },
	{ .name = "updates",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_OPTIONAL,
	  .summary = "that it took" },
	{ .name = "from_vm",
	  .value = VALUE_TEXT,
	  .flags = VALUE_OPTIONAL,
	  .summary = "the VM that was exported" },
	{ .name = "from_commit", .value = VALUE_NUMBER, .flags = VALUE_OPTIONAL },
	{ .name = "from_us",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_OPTIONAL,
	  .summary = "when that commit was, in microseconds since the start of 1970" },
	{},
};

const struct method export_methods[] = {
	{
		.name = "vm.export",
		.summary = "The whole policy of a VM as of one commit, piece by piece",
		.members = export_members,
		.run = method_vm_export,
		.parameters = { VM_PARAMETER,
				{ .name = "cursor",
				  .type = METHOD_PLACE,
				  .summary =
					  "an earlier answer's cursor, for the next piece; \"N:0\" "
					  "begins with commit N instead of the last" } },
	},
	{
		.name = "vm.import",
		.summary = "Makes a VM's policy one that was exported; its RAM has to be the same",
		.members = import_members,
		.role = METHOD_OPERATOR,
		.run = method_vm_import,
		.parameters = { VM_PARAMETER,
				{ .name = "size",
				  .type = METHOD_INTEGER,
				  .is_required = true,
				  .minimum = 1,
				  .maximum = METHODS_MAX_IMPORT,
				  .summary = "bytes of the whole" },
				{ .name = "offset",
				  .type = METHOD_INTEGER,
				  .is_required = true,
				  .maximum = METHODS_MAX_IMPORT,
				  .summary = "where this piece goes; 0 begins anew" },
				{ .name = "data",
				  .type = METHOD_DATA,
				  .is_required = true,
				  .summary = "the piece, which goes on where the one before it "
					     "ended" } },
	},
	{},
};
