/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal.status, journal.list, journal.log: which journals there are, how they do, what is in
 * them.
 */
#include "daemon/allocate.h"
#include "daemon/journal/catalogue.h"
#include "daemon/journal/history.h"
#include "json-put.h"
#include "method-words.h"
#include "methods.h"
#include "question.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

/* ---- journal.status ------------------------------------------------------------------------ */

static void put_trouble(struct json_object *result, const struct vm_journal_status *status)
{
	char text[160];

	if (!status->error) {
		json_put(result, "trouble", NULL);
		return;
	}
	snprintf(text, sizeof(text),
		 "the journal could not be written (%s): updates are refused until it can; make "
		 "room on its disk, or mend it",
		 strerror(status->error));
	json_put_text(result, "trouble", text);
}

static void method_journal_status(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	struct vm_journal_status status;
	struct json_object *result;

	if (!hosted->journal) {
		method_refuse(answer, KVMATTR_NO_VM, "VM %s is being released", hosted->name);
		return;
	}
	status = vm_journal_status(hosted->journal);
	result = method_result(answer);
	json_put_text(result, "vm", hosted->name);
	json_put_text(result, "journal", vm_journal_name(hosted->journal));
	json_put_text(result, "durability",
		      status.durability == DURABILITY_POWER ? "power" : "process");
	json_put_number(result, "segments", status.journal.n_segments);
	json_put_number(result, "bytes", status.journal.n_bytes + status.checkpoint_bytes);
	json_put_number(result, "first_number", status.journal.first_number);
	json_put_number(result, "next_number", status.journal.next_number);
	if (status.durability == DURABILITY_POWER)
		json_put_number(result, "durable_number", status.durable_number);
	else
		json_put(result, "durable_number", NULL);
	json_put_number(result, "first_commit", status.first_commit);
	json_put_number(result, "commit", vm_commit(hosted->vm));
	json_put_number(result, "checkpoints", status.n_checkpoints);
	json_put_number(result, "checkpoint_bytes", status.checkpoint_bytes);
	if (status.checkpoint)
		json_put_number(result, "checkpoint", status.checkpoint);
	else
		json_put(result, "checkpoint", NULL);
	json_put_boolean(result, "checkpointing", status.is_checkpointing);
	put_trouble(result, &status);
}

/* ---- journal.list -------------------------------------------------------------------------- */

struct list_question {
	struct question head;
	const struct daemon *daemon; /* for the event loop */
	uint8_t boot_id[16];
	char (*live)[VM_JOURNAL_NAME_SIZE];
	size_t n_live;
	struct catalogue_entry *entries;
	size_t n;
};

static const struct hosted_vm *find_by_journal(const struct daemon *daemon, const char *name)
{
	const struct hosted_vm *hosted;

	LIST_FOREACH (hosted, &daemon->vms, list)
		if (hosted->journal && !strcmp(vm_journal_name(hosted->journal), name))
			return hosted;
	return NULL;
}

/* In the archivist's thread. */
static bool was_live(void *context, const char *name)
{
	const struct list_question *list = context;

	for (size_t i = 0; i < list->n_live; i++)
		if (!strcmp(list->live[i], name))
			return true;
	return false;
}

static bool list_is_in_vain(void *context)
{
	const struct past_source *source = &((struct list_question *)context)->head.source;

	return source->is_cancelled(source->context);
}

static int list_work(struct question *question)
{
	struct list_question *list = (struct list_question *)question;
	const struct catalogue_source source = {
		.parent_fd = question->source.parent_fd,
		.boot_id = list->boot_id,
		.max_map_bytes = question->source.max_map_bytes,
		.is_live = was_live,
		.is_cancelled = list_is_in_vain,
		.context = list,
	};

	return catalogue_list(&source, &list->entries, &list->n, &question->error);
}

static void put_time(struct json_object *object, const char *name, uint64_t time_us)
{
	if (time_us)
		json_put_number(object, name, time_us);
	else
		json_put(object, name, NULL);
}

static void put_error(struct json_object *object, const struct journal_error *error)
{
	json_put_text(object, "file", error->file);
	json_put_number(object, "offset", error->offset);
	json_put_text(object, "text", error->text);
}

static void put_entry(struct json_object *object, const struct catalogue_entry *entry,
		      const struct hosted_vm *hosted)
{
	/* it was when the list was begun, and may be gone by now */
	bool has_gone = entry->state == CATALOGUE_LIVE && !hosted;
	enum catalogue_state state = has_gone ? CATALOGUE_OPEN : entry->state;

	json_put_text(object, "journal", entry->name);
	json_put_text(object, "vm", entry->vm);
	json_put_text(object, "life", entry->life);
	json_put_boolean(object, "this_boot", entry->is_of_this_boot);
	json_put_text(object, "state", catalogue_state_name(state));
	put_time(object, "registered_us", hosted ? hosted->registered_us : entry->registered_us);
	json_put_number(object, "commit",
			hosted && hosted->vm ? vm_commit(hosted->vm) : entry->commit);
	put_time(object, "commit_us", entry->commit_us);
	json_put_number(object, "bytes", entry->n_bytes);
	if (state == CATALOGUE_RELEASED) {
		struct json_object *released = json_put_new(object, "released");

		json_put_text(released, "status", kvmattr_status_name((int)entry->released.status));
		json_put_text(released, "text", entry->released.text);
	}
	if (state == CATALOGUE_DAMAGED)
		put_error(json_put_new(object, "damage"), &entry->error);
}

static void list_answer(struct question *question, struct jsonrpc_answer *answer)
{
	struct list_question *list = (struct list_question *)question;
	struct json_object *journals = json_put_new_array(method_result(answer), "journals");

	for (size_t i = 0; i < list->n; i++)
		put_entry(json_put_next(journals), &list->entries[i],
			  find_by_journal(list->daemon, list->entries[i].name));
}

static void list_free(struct question *question)
{
	struct list_question *list = (struct list_question *)question;

	free(list->live);
	free(list->entries);
	free(list);
}

static const struct question_kind list_kind = {
	.work = list_work,
	.answer = list_answer,
	.asks_daemon = true,
	.free = list_free,
};

static void method_journal_list(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct list_question *list = allocate_one(struct list_question);
	const struct hosted_vm *hosted;

	(void)answer;
	list->daemon = call->daemon;
	memcpy(list->boot_id, call->daemon->journals.boot_id, sizeof(list->boot_id));
	list->live = allocate_zeroed(call->daemon->n_vms, sizeof(*list->live));
	LIST_FOREACH (hosted, &call->daemon->vms, list)
		if (hosted->journal && list->n_live < call->daemon->n_vms)
			snprintf(list->live[list->n_live++], sizeof(*list->live), "%s",
				 vm_journal_name(hosted->journal));
	question_ask(call, &list->head, &list_kind, NULL, answer);
}

/* ---- journal.log --------------------------------------------------------------------------- */

struct log_question {
	struct question head;
	uint64_t from_commit;
	struct history_place place;
	size_t max;
	struct history_line *lines;
	size_t n;
	struct history_place next;
	bool has_more;
};

static int log_work(struct question *question)
{
	struct log_question *log = (struct log_question *)question;

	log->lines = allocate_zeroed(log->max, sizeof(*log->lines));
	return history_read(&question->source, log->from_commit, log->place, log->lines, log->max,
			    &log->n, &log->next, &log->has_more, &question->error);
}

static void put_line(struct json_object *object, const struct history_line *line)
{
	json_put_number(object, "record", line->number);
	json_put_text(object, "type", vm_record_type_name(line->type));
	json_put_number(object, "time_us", line->time_us);
	if (line->commit && !line->is_taken_back)
		json_put_number(object, "commit", line->commit);
	else
		json_put(object, "commit", NULL);
	if (line->session)
		json_put_number(object, "session", line->session);
	else
		json_put(object, "session", NULL);
	json_put_text(object, "text", line->text);
}

static void log_answer(struct question *question, struct jsonrpc_answer *answer)
{
	struct log_question *log = (struct log_question *)question;
	struct json_object *result = method_result(answer), *lines;
	char cursor[48];

	json_put_text(result, "journal", question->journal);
	lines = json_put_new_array(result, "lines");
	for (size_t i = 0; i < log->n; i++)
		put_line(json_put_next(lines), &log->lines[i]);
	if (!log->has_more)
		return;
	snprintf(cursor, sizeof(cursor), "%" PRIu64 ":%" PRIu64, log->next.number,
		 log->next.n_lines);
	json_put_text(result, "cursor", cursor);
}

static void log_free(struct question *question)
{
	free(((struct log_question *)question)->lines);
	free(question);
}

static const struct question_kind log_kind = {
	.work = log_work,
	.answer = log_answer,
	.free = log_free,
};

static void method_journal_log(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct log_question *log = allocate_one(struct log_question);
	const struct method_argument *cursor = method_argument(call, "cursor");

	(void)answer;
	log->from_commit = method_number(call, "from", 0);
	log->place = (struct history_place){ cursor->number, cursor->second };
	log->max = method_number(call, "limit", METHODS_DEFAULT_RUNS);
	question_ask(call, &log->head, &log_kind, method_argument(call, "journal")->journal,
		     answer);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const struct method_member status_members[] = {
	VM_MEMBER,
	{ .name = "journal", .value = VALUE_TEXT, .summary = "its directory's name" },
	{ .name = "durability",
	  .value = VALUE_CHOICE,
	  .choices = method_durabilities,
	  .summary = "what an answered update survives" },
	{ .name = "segments", .value = VALUE_NUMBER, .summary = "its files, but for checkpoints" },
	{ .name = "bytes", .value = VALUE_NUMBER, .summary = "checkpoints included" },
	{ .name = "first_number", .value = VALUE_NUMBER, .summary = "of its records" },
	{ .name = "next_number", .value = VALUE_NUMBER, .summary = "of its records" },
	{ .name = "durable_number",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "the last record that is on the disk; null with durability process" },
	{ .name = "first_commit",
	  .value = VALUE_NUMBER,
	  .summary = "the first that can be asked for" },
	{ .name = "commit", .value = VALUE_NUMBER, .summary = "the last that can be asked for" },
	{ .name = "checkpoints", .value = VALUE_NUMBER },
	{ .name = "checkpoint_bytes", .value = VALUE_NUMBER, .summary = "of all of them" },
	{ .name = "checkpoint",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "the record up to which the last one goes, or null" },
	{ .name = "checkpointing", .value = VALUE_BOOLEAN, .summary = "one is being written" },
	{ .name = "trouble",
	  .value = VALUE_TEXT,
	  .flags = VALUE_NULLABLE,
	  .summary = "why it cannot be written, or null" },
	{},
};

static const char *const journal_state_words[] = {
	"live", "open", "unfinished", "released", "other-boot", "damaged", NULL,
};

static const struct method_member released_members[] = {
	{ .name = "status", .value = VALUE_TEXT, .summary = "OK, or the name of a status" },
	{ .name = "text", .value = VALUE_TEXT },
	{},
};

static const struct method_member damage_members[] = {
	{ .name = "file", .value = VALUE_TEXT, .summary = "in its directory; may be empty" },
	{ .name = "offset", .value = VALUE_NUMBER, .summary = "in the file" },
	{ .name = "text", .value = VALUE_TEXT, .summary = "what is wrong" },
	{},
};

static const struct method_member listed_journal_members[] = {
	{ .name = "journal", .value = VALUE_TEXT, .summary = "its directory's name" },
	VM_MEMBER,
	{ .name = "life",
	  .value = VALUE_TEXT,
	  .summary = "which registration of a VM of that name it is" },
	{ .name = "this_boot",
	  .value = VALUE_BOOLEAN,
	  .summary = "written since the host was started" },
	{ .name = "state", .value = VALUE_CHOICE, .choices = journal_state_words },
	{ .name = "registered_us",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "microseconds since the start of 1970; null where not known" },
	{ .name = "commit",
	  .value = VALUE_NUMBER,
	  .summary = "the last one; 0 where not looked for" },
	{ .name = "commit_us",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "when that was; null where not looked for" },
	{ .name = "bytes", .value = VALUE_NUMBER },
	{ .name = "released",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_OPTIONAL,
	  .members = released_members,
	  .summary = "why its VM is gone, of one that was released" },
	{ .name = "damage",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_OPTIONAL,
	  .members = damage_members,
	  .summary = "of one that is damaged" },
	{},
};

static const struct method_member list_members[] = {
	{ .name = "journals",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = listed_journal_members },
	{},
};

static const struct method_member line_members[] = {
	{ .name = "record", .value = VALUE_NUMBER, .summary = "its number" },
	{ .name = "type", .value = VALUE_TEXT, .summary = "as in kvmattr-journal(5)" },
	{ .name = "time_us",
	  .value = VALUE_NUMBER,
	  .summary = "microseconds since the start of 1970" },
	{ .name = "commit",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "null where it is about none, or was taken back" },
	{ .name = "session",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "its number; null where it is about none" },
	{ .name = "text", .value = VALUE_TEXT },
	{},
};

static const struct method_member log_members[] = {
	{ .name = "journal", .value = VALUE_TEXT, .summary = "its directory's name" },
	{ .name = "lines", .value = VALUE_OBJECT, .flags = VALUE_ARRAY, .members = line_members },
	PLACE_MEMBER,
	{},
};

const struct method journal_methods[] = {
	{
		.name = "journal.status",
		.summary = "The journal of a VM: how long it is, how far back it goes, how it does",
		.members = status_members,
		.run = method_journal_status,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "journal.list",
		.summary = "All journals: of the VMs that are registered, and of those that were",
		.members = list_members,
		.run = method_journal_list,
	},
	{
		.name = "journal.log",
		.summary = "What happened to a VM, line by line: updates, sessions, refusals",
		.members = log_members,
		.run = method_journal_log,
		.parameters = { JOURNAL_PARAMETER,
				COMMIT_PARAMETER("from", false,
						 "from this commit on; from the start if left out"),
				PLACE_PARAMETER, LIMIT_PARAMETER },
	},
	{},
};
