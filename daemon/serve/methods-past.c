/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal.state_at, journal.diff, journal.blame: what stood at a commit, what changed, and who it
 * was.
 */
#include "daemon/allocate.h"
#include "daemon/journal/blame.h"
#include "daemon/journal/history-text.h"
#include "json-put.h"
#include "method-words.h"
#include "methods.h"
#include "question.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

/* The last commit of a VM that is registered; then the answer's pages fit each other. */
static uint64_t last_commit(const struct method_call *call)
{
	const struct hosted_vm *hosted = method_vm(call, "journal");

	return hosted ? vm_commit(hosted->vm) : 0;
}

/* A page's attributes; null where it was no RAM. */
static void put_attributes(struct json_object *object, const char *name, uint8_t attributes)
{
	struct json_object *inner;

	if (attributes == PAST_NO_RAM) {
		json_put(object, name, NULL);
		return;
	}
	inner = json_put_new(object, name);
	json_put_text(inner, "protection",
		      kvmattr_protection_name(attributes & KVMATTR_PROTECTION));
	json_put_text(inner, "visibility", attributes & KVMATTR_PRIVATE ? "private" : "shared");
}

/* ---- journal.state_at, journal.diff -------------------------------------------------------- */

struct runs_question {
	struct question head;
	bool is_diff;
	uint64_t before; /* commit; of journal.diff */
	uint64_t commit;
	unsigned int vtl;
	bool has_start, has_end, has_cursor;
	uint64_t start, end, cursor; /* addresses */
	size_t max;
	/* found */
	uint64_t before_us, commit_us;
	struct past_run *runs;
	size_t n;
	uint64_t next; /* GFN */
	uint64_t limit;
};

/* The pages that were asked for: of all RAM, where nothing was said. */
static int find_range(struct runs_question *runs, const struct policy *before,
		      const struct policy *after, struct kvmattr_range *ret)
{
	struct kvmattr_range extent = past_extent(before, after);
	uint64_t start = runs->has_start ? runs->start >> KVMATTR_PAGE_SHIFT : extent.gfn;
	uint64_t end = extent.gfn + extent.n_pages;

	if (runs->has_end)
		end = (runs->end + KVMATTR_PAGE_SIZE - 1) >> KVMATTR_PAGE_SHIFT;
	else if (end < start)
		end = start;
	if (end < start) {
		snprintf(runs->head.error.text, sizeof(runs->head.error.text),
			 "the end, 0x%" PRIx64 ", is below the start, 0x%" PRIx64,
			 end << KVMATTR_PAGE_SHIFT, start << KVMATTR_PAGE_SHIFT);
		return -ERANGE;
	}
	runs->limit = end;
	if (runs->has_cursor) {
		uint64_t cursor = runs->cursor >> KVMATTR_PAGE_SHIFT;

		if (cursor < start || cursor > end) {
			snprintf(runs->head.error.text, sizeof(runs->head.error.text),
				 "the cursor, 0x%" PRIx64 ", is outside of start and end; it goes "
				 "with the start and end of the call that it came from",
				 runs->cursor);
			return -ERANGE;
		}
		start = cursor;
	}
	*ret = (struct kvmattr_range){ start, end - start };
	return 0;
}

static int runs_work(struct question *question)
{
	struct runs_question *runs = (struct runs_question *)question;
	const struct replay *before = NULL, *after = NULL;
	struct kvmattr_range range;
	int r = 0;

	if (runs->is_diff)
		r = past_state_at(question->states, &question->source, runs->before, &before,
				  &question->error);
	if (r == 0)
		r = past_state_at(question->states, &question->source, runs->commit, &after,
				  &question->error);
	if (r == 0)
		r = past_check_view(after->policy, runs->vtl, &question->error);
	if (r == 0)
		r = find_range(runs, before ? before->policy : NULL, after->policy, &range);
	if (r < 0)
		return r;
	runs->commit = after->commit;
	runs->commit_us = after->commit_us;
	runs->before_us = before ? before->commit_us : 0;
	runs->runs = allocate_zeroed(runs->max, sizeof(*runs->runs));
	runs->n = past_runs(before ? before->policy : NULL, after->policy, runs->vtl, range,
			    runs->runs, runs->max, &runs->next);
	return 0;
}

static void put_commit(struct json_object *result, const char *name, uint64_t commit,
		       uint64_t time_us)
{
	struct json_object *object = json_put_new(result, name);

	json_put_number(object, "commit", commit);
	json_put_number(object, "time_us", time_us);
}

static void runs_answer(struct question *question, struct jsonrpc_answer *answer)
{
	const struct runs_question *runs = (const struct runs_question *)question;
	struct json_object *result = method_result(answer), *array, *object;

	json_put_text(result, "journal", question->journal);
	json_put_number(result, "vtl", runs->vtl);
	if (runs->is_diff) {
		put_commit(result, "from", runs->before, runs->before_us);
		put_commit(result, "to", runs->commit, runs->commit_us);
	} else {
		json_put_number(result, "commit", runs->commit);
		json_put_number(result, "time_us", runs->commit_us);
	}
	array = json_put_new_array(result, "runs");
	for (size_t i = 0; i < runs->n; i++) {
		const struct past_run *run = &runs->runs[i];

		object = json_put_next(array);
		json_put_address(object, "gpa", run->gfn << KVMATTR_PAGE_SHIFT);
		json_put_number(object, "pages", run->n_pages);
		if (runs->is_diff) {
			put_attributes(object, "before", run->before);
			put_attributes(object, "after", run->after);
			continue;
		}
		json_put_text(object, "protection",
			      kvmattr_protection_name(run->after & KVMATTR_PROTECTION));
		json_put_text(object, "visibility",
			      run->after & KVMATTR_PRIVATE ? "private" : "shared");
	}
	if (runs->next < runs->limit)
		json_put_address(result, "cursor", runs->next << KVMATTR_PAGE_SHIFT);
}

static void runs_free(struct question *question)
{
	free(((struct runs_question *)question)->runs);
	free(question);
}

static const struct question_kind runs_kind = {
	.work = runs_work,
	.answer = runs_answer,
	.free = runs_free,
};

static void ask_for_runs(const struct method_call *call, struct runs_question *runs,
			 struct jsonrpc_answer *answer)
{
	runs->vtl = (unsigned int)method_number(call, "vtl", 0);
	runs->has_start = method_is_given(call, "start");
	runs->has_end = method_is_given(call, "end");
	runs->has_cursor = method_is_given(call, "cursor");
	runs->start = method_number(call, "start", 0);
	runs->end = method_number(call, "end", 0);
	runs->cursor = method_number(call, "cursor", 0);
	runs->max = method_number(call, "limit", METHODS_DEFAULT_RUNS);
	question_ask(call, &runs->head, &runs_kind, method_argument(call, "journal")->journal,
		     answer);
}

static void method_journal_state_at(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct runs_question *runs = allocate_one(struct runs_question);

	(void)answer;
	runs->commit = method_number(call, "commit", last_commit(call));
	ask_for_runs(call, runs, answer);
}

static void method_journal_diff(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct runs_question *runs = allocate_one(struct runs_question);

	(void)answer;
	runs->is_diff = true;
	runs->before = method_number(call, "from", 0);
	runs->commit = method_number(call, "to", last_commit(call));
	ask_for_runs(call, runs, answer);
}

/* ---- journal.blame ------------------------------------------------------------------------- */

struct blame_of_page {
	struct question head;
	struct blame_question question;
	size_t max;
	struct blame_entry *entries;
	struct blame_answer answer;
};

static int blame_work(struct question *question)
{
	struct blame_of_page *blame = (struct blame_of_page *)question;

	blame->entries = allocate_zeroed(blame->max, sizeof(*blame->entries));
	return blame_page(&question->source, &blame->question, blame->entries, blame->max,
			  &blame->answer, &question->error);
}

static void put_session(struct json_object *entry, const struct vm_record_session *session)
{
	struct json_object *object = json_put_new(entry, "session");

	json_put_number(object, "id", session->id);
	json_put_text(object, "role", session->role == WIRE_ROLE_OWNER ? "owner" : "agent");
	if (session->role == WIRE_ROLE_OWNER)
		json_put(object, "vtl", NULL);
	else
		json_put_number(object, "vtl", session->vtl);
	json_put_text(object, "peer", session->peer);
	json_put_integer(object, "pid", session->pid);
	json_put_number(object, "uid", session->uid);
}

/* What the element says, as far as its kind says it. */
static void put_element(struct json_object *object, const struct policy_element *element)
{
	bool has_layer = element->layer, has_pages = element->range.n_pages;
	bool has_protection =
		element->kind == KVMATTR_PROTECT || element->kind == KVMATTR_ENABLE_LAYER;

	json_put_text(object, "kind", history_kind_name(element->kind));
	if (has_layer)
		json_put_number(object, "layer", element->layer);
	else
		json_put(object, "layer", NULL);
	if (has_protection)
		json_put_text(object, "protection", kvmattr_protection_name(element->value));
	else
		json_put(object, "protection", NULL);
	if (element->kind == KVMATTR_SET_VISIBILITY || element->kind == KVMATTR_ADD_RAM)
		json_put_text(object, "visibility", element->value ? "private" : "shared");
	else
		json_put(object, "visibility", NULL);
	if (has_pages) {
		json_put_address(object, "gpa", element->range.gfn << KVMATTR_PAGE_SHIFT);
		json_put_number(object, "pages", element->range.n_pages);
	} else {
		json_put(object, "gpa", NULL);
		json_put(object, "pages", NULL);
	}
}

static void put_blame(struct json_object *object, const struct blame_entry *entry)
{
	json_put_number(object, "commit", entry->place.commit);
	json_put_number(object, "time_us", entry->time_us);
	json_put_text(object, "origin",
		      entry->has_session    ? "session"
		      : entry->is_operators ? "operator"
		      : entry->is_import    ? "import"
					    : "registration");
	if (entry->has_session)
		put_session(object, &entry->session);
	else
		json_put(object, "session", NULL);
	json_put_number(object, "update", entry->seqno);
	put_element(object, &entry->element);
	put_attributes(object, "before", entry->before);
	put_attributes(object, "after", entry->after);
}

static void blame_answer(struct question *question, struct jsonrpc_answer *answer)
{
	const struct blame_of_page *blame = (const struct blame_of_page *)question;
	const struct blame_answer *found = &blame->answer;
	struct json_object *result = method_result(answer), *entries;
	char cursor[48];

	json_put_text(result, "journal", question->journal);
	json_put_number(result, "vtl", blame->question.vtl);
	json_put_address(result, "gpa", blame->question.gfn << KVMATTR_PAGE_SHIFT);
	json_put_number(result, "commit", found->commit);
	put_attributes(result, "now", found->now);
	json_put_number(result, "from_commit", found->from_commit);
	entries = json_put_new_array(result, "entries");
	for (size_t i = 0; i < found->n; i++)
		put_blame(json_put_next(entries), &blame->entries[i]);
	if (!found->has_more)
		return;
	snprintf(cursor, sizeof(cursor), "%" PRIu64 ":%" PRIu64,
		 blame->entries[found->n - 1].place.commit, blame->entries[found->n - 1].place.i);
	json_put_text(result, "cursor", cursor);
}

static void blame_free(struct question *question)
{
	free(((struct blame_of_page *)question)->entries);
	free(question);
}

static const struct question_kind blame_kind = {
	.work = blame_work,
	.answer = blame_answer,
	.free = blame_free,
};

static void method_journal_blame(const struct method_call *call, struct jsonrpc_answer *answer)
{
	const struct method_argument *cursor = method_argument(call, "cursor");
	uint64_t gfn = method_number(call, "gpa", 0) >> KVMATTR_PAGE_SHIFT;
	struct blame_of_page *blame;

	if (gfn >= KVMATTR_GFN_LIMIT) {
		method_refuse(answer, KVMATTR_INVALID_PARAMETER,
			      "there are no pages from 0x%" PRIx64 " on",
			      KVMATTR_GFN_LIMIT << KVMATTR_PAGE_SHIFT);
		return;
	}
	blame = allocate_one(struct blame_of_page);
	blame->question = (struct blame_question){
		.gfn = gfn,
		.vtl = (unsigned int)method_number(call, "vtl", 0),
		.older_than = { cursor->number, cursor->second },
	};
	blame->max = method_number(call, "limit", METHODS_DEFAULT_BLAME);
	question_ask(call, &blame->head, &blame_kind, method_argument(call, "journal")->journal,
		     answer);
}

/* ---- The table ----------------------------------------------------------------------------- */

#define JOURNAL_MEMBER                                                                    \
	{                                                                                 \
		.name = "journal", .value = VALUE_TEXT, .summary = "its directory's name" \
	}

/* What put_attributes() puts. */
static const struct method_member attributes_members[] = {
	PROTECTION_MEMBER,
	VISIBILITY_MEMBER,
	{},
};

#define ATTRIBUTES_MEMBER(its_name, its_summary)                                  \
	{                                                                         \
		.name = its_name, .value = VALUE_OBJECT, .flags = VALUE_NULLABLE, \
		.members = attributes_members, .summary = its_summary             \
	}

static const struct method_member past_run_members[] = {
	GPA_MEMBER, PAGES_MEMBER, PROTECTION_MEMBER, VISIBILITY_MEMBER, {},
};

static const struct method_member state_at_members[] = {
	JOURNAL_MEMBER,
	VTL_MEMBER,
	{ .name = "commit", .value = VALUE_NUMBER },
	{ .name = "time_us",
	  .value = VALUE_NUMBER,
	  .summary = "of that commit, in microseconds since the start of 1970" },
	{ .name = "runs",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = past_run_members,
	  .summary = "RAM only" },
	CURSOR_MEMBER,
	{},
};

static const struct method_member dated_commit_members[] = {
	{ .name = "commit", .value = VALUE_NUMBER },
	{ .name = "time_us",
	  .value = VALUE_NUMBER,
	  .summary = "microseconds since the start of 1970" },
	{},
};

static const struct method_member changed_run_members[] = {
	GPA_MEMBER,
	PAGES_MEMBER,
	ATTRIBUTES_MEMBER("before", "null where it was no RAM"),
	ATTRIBUTES_MEMBER("after", "null where it is no RAM"),
	{},
};

static const struct method_member diff_members[] = {
	JOURNAL_MEMBER,
	VTL_MEMBER,
	{ .name = "from", .value = VALUE_OBJECT, .members = dated_commit_members },
	{ .name = "to", .value = VALUE_OBJECT, .members = dated_commit_members },
	{ .name = "runs",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = changed_run_members,
	  .summary = "only pages that differ" },
	CURSOR_MEMBER,
	{},
};

static const char *const origin_words[] = { "session", "registration", "import", "operator", NULL };
static const char *const role_words[] = { "owner", "agent", NULL };

static const struct method_member author_members[] = {
	{ .name = "id", .value = VALUE_NUMBER },
	{ .name = "role", .value = VALUE_CHOICE, .choices = role_words },
	{ .name = "vtl",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "for which an agent spoke; null for the owner" },
	{ .name = "peer", .value = VALUE_TEXT, .summary = "what it called itself" },
	{ .name = "pid", .value = VALUE_INTEGER },
	{ .name = "uid", .value = VALUE_NUMBER },
	{},
};

static const struct method_member blame_entry_members[] = {
	{ .name = "commit", .value = VALUE_NUMBER },
	{ .name = "time_us",
	  .value = VALUE_NUMBER,
	  .summary = "microseconds since the start of 1970" },
	{ .name = "origin", .value = VALUE_CHOICE, .choices = origin_words },
	{ .name = "session",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_NULLABLE,
	  .members = author_members,
	  .summary = "null where the origin is another" },
	{ .name = "update", .value = VALUE_NUMBER, .summary = "its number in the session" },
	{ .name = "kind", .value = VALUE_CHOICE, .choices = method_update_kinds },
	{ .name = "layer",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "null where the kind has none" },
	{ .name = "protection",
	  .value = VALUE_CHOICE,
	  .flags = VALUE_NULLABLE,
	  .choices = method_protections,
	  .summary = "null where the kind has none" },
	{ .name = "visibility",
	  .value = VALUE_CHOICE,
	  .flags = VALUE_NULLABLE,
	  .choices = method_visibilities,
	  .summary = "null where the kind has none" },
	{ .name = "gpa",
	  .value = VALUE_ADDRESS,
	  .flags = VALUE_NULLABLE,
	  .summary = "of the element; null where the kind has no pages" },
	{ .name = "pages",
	  .value = VALUE_NUMBER,
	  .flags = VALUE_NULLABLE,
	  .summary = "of the element; null where the kind has none" },
	ATTRIBUTES_MEMBER("before", "of the page; null where it was no RAM"),
	ATTRIBUTES_MEMBER("after", "of the page; null where it was no RAM"),
	{},
};

static const struct method_member blame_members[] = {
	JOURNAL_MEMBER,
	VTL_MEMBER,
	{ .name = "gpa", .value = VALUE_ADDRESS, .summary = "of the page" },
	{ .name = "commit", .value = VALUE_NUMBER, .summary = "the last one" },
	ATTRIBUTES_MEMBER("now", "as of that commit; null where it is no RAM"),
	{ .name = "from_commit",
	  .value = VALUE_NUMBER,
	  .summary = "what came up to it is not known any more; 0: all is" },
	{ .name = "entries",
	  .value = VALUE_OBJECT,
	  .flags = VALUE_ARRAY,
	  .members = blame_entry_members },
	PLACE_MEMBER,
	{},
};

const struct method past_methods[] = {
	{
		.name = "journal.state_at",
		.summary = "What a VTL was allowed as of a commit: runs of equal attributes",
		.members = state_at_members,
		.run = method_journal_state_at,
		.parameters = { JOURNAL_PARAMETER,
				COMMIT_PARAMETER("commit", false,
						 "as of this one; of the last if left out"),
				VTL_PARAMETER, START_PARAMETER, END_PARAMETER, CURSOR_PARAMETER,
				LIMIT_PARAMETER },
	},
	{
		.name = "journal.diff",
		.summary = "What changed for a VTL between two commits",
		.members = diff_members,
		.run = method_journal_diff,
		.parameters = { JOURNAL_PARAMETER, COMMIT_PARAMETER("from", true, "one commit"),
				COMMIT_PARAMETER("to", false, "the other; the last if left out"),
				VTL_PARAMETER, START_PARAMETER, END_PARAMETER, CURSOR_PARAMETER,
				LIMIT_PARAMETER },
	},
	{
		.name = "journal.blame",
		.summary = "Who made a page what it is: all that set it, the newest first",
		.members = blame_members,
		.run = method_journal_blame,
		.parameters = { JOURNAL_PARAMETER,
				PAGE_PARAMETER,
				VTL_PARAMETER,
				PLACE_PARAMETER,
				{ .name = "limit",
				  .type = METHOD_INTEGER,
				  .minimum = 1,
				  .maximum = METHODS_MAX_RUNS,
				  .summary = "at most so many in the answer; 16 if left out" } },
	},
	{},
};
