/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl export, import: a VM's policy into a file, and from a file into a VM.
 */
#include "client/kvmattrctl-file.h"
#include "client/kvmattrctl-operate.h"
#include "client/kvmattrctl-runs.h"
#include "client/kvmattrctl-terminal.h"
#include "daemon/journal/base64.h"
#include "daemon/journal/export.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of an import in one call: with base64 and the rest, less than a request may have. */
#define PIECE_SIZE (128u * 1024)
/* A policy is in force when KVM has it all: as long as that takes. */
#define PATIENCE_S 3600u

/* ---- export -------------------------------------------------------------------------------- */

/* Adds a piece to what was received; NULL, or what is wrong with it. */
static const char *take_piece(struct json_object *answer, struct image *received)
{
	const char *text = answer_text(answer, "data");
	size_t length = strlen(text), n;
	uint8_t *bytes;
	const char *wrong = NULL;

	if (answer_number(answer, "offset") != received->size)
		return "its pieces do not follow each other";
	bytes = terminal_there(malloc(BASE64_MAX_SIZE(length) + 1));
	if (!base64_decode(text, length, bytes, &n))
		wrong = "a piece is no base64";
	else if (!n)
		wrong = "a piece is empty";
	else
		image_add(received, bytes, n);
	free(bytes);
	return wrong;
}

static enum ctl_exit receive(const struct command_input *input, struct image *received)
{
	enum ctl_exit exit_code = CTL_OK;
	char cursor[64] = "", what[128];

	if (input->at)
		snprintf(cursor, sizeof(cursor), "%" PRIu64 ":0", input->at);
	snprintf(what, sizeof(what), "exporting %s", input->arguments[0]);
	do {
		struct json_object *params = terminal_there(json_object_new_object());
		struct json_object *answer = NULL;
		const char *wrong;

		params_add_text(params, "vm", input->arguments[0]);
		if (*cursor)
			params_add_text(params, "cursor", cursor);
		exit_code = rpc_call(input->rpc, "vm.export", params, &answer);
		if (exit_code != CTL_OK)
			break;
		wrong = take_piece(answer, received);
		if (wrong)
			exit_code = rpc_nonsense(input->rpc, wrong);
		snprintf(cursor, sizeof(cursor), "%s", answer_text(answer, "cursor"));
		terminal_progress(what, received->size, answer_number(answer, "size"));
		json_object_put(answer);
	} while (exit_code == CTL_OK && *cursor);
	terminal_end_progress();
	return exit_code;
}

static enum ctl_exit keep(const struct command_input *input, const struct image *received)
{
	const char *path = input->arguments[1];
	struct writer *writer = input->writer;
	struct export_header header;
	size_t offset;
	char text[256];
	int r = export_check(received->data, received->size, &header, &offset, text, sizeof(text));

	if (r < 0)
		return rpc_nonsense(input->rpc, text);
	r = file_make(path, received->data, received->size);
	if (r == -EEXIST) {
		terminal_complain("%s is there already, and stays as it is.\n"
				  "Give another name, or remove it.",
				  path);
		return CTL_UNREADABLE;
	}
	if (r < 0) {
		terminal_complain("%s cannot be written: %s.\nSay a file in a directory that this "
				  "user may write to, on a disk with room.",
				  path, strerror(-r));
		return CTL_UNREADABLE;
	}
	writer_begin_object(writer, NULL, NULL);
	writer_text(writer, "vm", "VM", header.name);
	writer_number(writer, "commit", "Commit", header.commit);
	writer_number(writer, "commit_us", NULL, header.commit_us);
	writer_text(writer, NULL, "of", terminal_time(text, header.commit_us));
	writer_text(writer, "file", "File", path);
	writer_bytes(writer, "bytes", "Size", received->size);
	writer_end_object(writer);
	return CTL_OK;
}

enum ctl_exit command_export(const struct command_input *input)
{
	struct image received = { 0 };
	enum ctl_exit exit_code = receive(input, &received);

	if (exit_code == CTL_OK)
		exit_code = keep(input, &received);
	image_destroy(&received);
	return exit_code;
}

/* ---- import -------------------------------------------------------------------------------- */

static enum ctl_exit send_pieces(const struct command_input *input, const uint8_t *data,
				 size_t size, struct json_object **ret_answer)
{
	char *text = terminal_there(malloc(BASE64_LENGTH(PIECE_SIZE) + 1)), what[128];
	enum ctl_exit exit_code = CTL_OK;
	size_t n;

	snprintf(what, sizeof(what), "sending the policy of %s", input->arguments[0]);
	for (size_t offset = 0; offset < size && exit_code == CTL_OK; offset += n) {
		struct json_object *params = terminal_there(json_object_new_object());

		n = size - offset < PIECE_SIZE ? size - offset : PIECE_SIZE;
		base64_encode(data + offset, n, text);
		params_add_text(params, "vm", input->arguments[0]);
		params_add_number(params, "size", size);
		params_add_number(params, "offset", offset);
		params_add_text(params, "data", text);
		json_object_put(*ret_answer);
		*ret_answer = NULL;
		terminal_progress(what, offset, size);
		if (offset + n == size) {
			terminal_end_progress();
			rpc_be_patient(input->rpc, PATIENCE_S);
		}
		exit_code = rpc_call(input->rpc, "vm.import", params, ret_answer);
	}
	terminal_end_progress();
	free(text);
	return exit_code;
}

/* Looks first, so that nothing is sent that would be refused. */
static enum ctl_exit check_file(const char *path, const uint8_t *data, size_t size,
				struct export_header *ret)
{
	size_t offset;
	char text[256];
	int r = export_check(data, size, ret, &offset, text, sizeof(text));

	if (r == 0)
		return CTL_OK;
	terminal_complain("%s cannot be imported, at byte %zu: %s", path, offset, text);
	return CTL_DAMAGED;
}

static bool is_import_meant(const struct command_input *input, const struct export_header *header)
{
	char *name = terminal_safe(input->arguments[0]), *from = terminal_safe(header->name);
	bool is_meant = operate_is_meant(
		input,
		"VM %s will be reset, and then get the policy that VM %s had as of commit %" PRIu64
		".\nUntil that is in force, less is protected.",
		name, from, header->commit);

	free(name);
	free(from);
	return is_meant;
}

enum ctl_exit command_import(const struct command_input *input)
{
	const char *path = input->arguments[1];
	struct json_object *answer = NULL;
	struct writer *writer = input->writer;
	struct export_header header;
	enum ctl_exit exit_code;
	uint8_t *data = NULL;
	size_t size = 0;
	int r = file_read(path, &data, &size);

	if (r < 0) {
		terminal_complain("%s cannot be read: %s.", path, strerror(-r));
		return CTL_UNREADABLE;
	}
	exit_code = check_file(path, data, size, &header);
	if (exit_code == CTL_OK && !is_import_meant(input, &header))
		exit_code = CTL_REFUSED;
	if (exit_code == CTL_OK)
		exit_code = send_pieces(input, data, size, &answer);
	free(data);
	if (exit_code == CTL_OK) {
		writer_begin_object(writer, NULL, NULL);
		writer_text(writer, "vm", "VM", answer_text(answer, "vm"));
		writer_text(writer, "from_vm", "Policy of VM", answer_text(answer, "from_vm"));
		writer_number(writer, "from_commit", "as of its commit",
			      answer_number(answer, "from_commit"));
		writer_number(writer, "updates", "Updates", answer_number(answer, "updates"));
		writer_number(writer, "commit", "In force at commit",
			      answer_number(answer, "commit"));
		writer_end_object(writer);
	}
	json_object_put(answer);
	return exit_code;
}
