/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "import.h"

#include "archivist.h"
#include "daemon/allocate.h"
#include "daemon/journal/export.h"
#include "daemon/journal/history-text.h"
#include "daemon/log.h"
#include "daemon/policy/image-updates.h"
#include "hosted-vm.h"
#include "json-put.h"
#include "memory.h"
#include "question.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* However little memory there is, a policy of an import may have so much, or it is not begun. */
#define MIN_POLICY_BYTES (UINT64_C(1) << 20)
/* Ranges in one update: what fits a message of a peer. */
#define MAX_RANGES 4092u

struct import {
	char vm[KVMATTR_NAME_SIZE];
	uint64_t size;
	struct image data; /* received so far */

	struct daemon *daemon;
	struct user_charge charge;

	/* Under way. */
	struct method_peer *peer; /* NULL: gone */
	struct archivist_job *job;
	char journal[VM_JOURNAL_NAME_SIZE]; /* of the VM, so that it is this one to the end */
	/* The archivist's while a job is under way. */
	struct past_source source;
	uint64_t max_own_bytes; /* of the VM's own policy */
	struct policy *policy;  /* to be brought about; NULL: it was not checked so far */
	struct export_header header;
	struct image_updates updates;
	bool is_over; /* there is no further update */
	struct policy_element element;
	struct kvmattr_range ranges[MAX_RANGES];
	uint32_t n_ranges;
	enum kvmattr_status status; /* why it cannot be */
	char text[512];
	/* The event loop's. */
	uint64_t n_updates; /* in force */
	uint64_t commit;
	LIST_ENTRY(import) list; /* of those under way */
};

/* One VM has one import at a time: two would make a policy that nobody exported. */
static LIST_HEAD(, import) under_way = LIST_HEAD_INITIALIZER(under_way);

/* ---- Receiving ----------------------------------------------------------------------------- */

void import_free(struct import *import)
{
	if (!import)
		return;
	image_destroy(&import->data);
	policy_free(import->policy);
	users_release(&import->daemon->users, &import->charge);
	free(import);
}

void import_receive_begin(struct daemon *daemon, struct method_peer *peer, const char *vm,
			  uint64_t size)
{
	import_free(peer->import);
	peer->import = allocate_one(struct import);
	peer->import->daemon = daemon;
	users_charge(&daemon->users, peer->who.uid, USER_IMPORT, &peer->import->charge);
	/* with the room that it is given when it grows */
	users_hold(&daemon->users, &peer->import->charge, 2 * size);
	snprintf(peer->import->vm, sizeof(peer->import->vm), "%s", vm);
	peer->import->size = size;
}

bool import_receive(struct method_peer *peer, const char *vm, uint64_t size, uint64_t offset,
		    const uint8_t *data, size_t n)
{
	struct import *import = peer->import;

	if (!import || strcmp(import->vm, vm) != 0 || import->size != size ||
	    import->data.size != offset || n > size - offset || (!n && size))
		return false;
	image_add(&import->data, data, n);
	return true;
}

bool import_has_memory(const struct method_call *call, uint64_t size, char *text, size_t text_size)
{
	const struct hosted_vm *hosted = method_vm(call, "vm");
	const struct import *import = call->peer->import;
	const uint64_t n_bytes = 2 * size + vm_memory(hosted->vm) + 2 * MIN_POLICY_BYTES;
	const uint64_t n_held = import ? import->charge.n_bytes : 0;

	return n_bytes <= n_held || memory_allow(call->daemon, call->peer->who.uid,
						 n_bytes - n_held, text, text_size, NULL);
}

/*
 * To check it takes the policy that was received, and the VM's own once more, which becomes like
 * it. How large that one is, is not known before: of what the user has left, it may take as much as
 * leaves as much for others.
 */
static void reserve(struct import *import, const struct hosted_vm *hosted)
{
	const struct daemon *daemon = import->daemon;
	const uint64_t own = vm_memory(hosted->vm);
	uint64_t max = memory_room(daemon, users_uid(&import->charge)) / 4;

	if (max > 2 * daemon->limits.max_map_bytes)
		max = 2 * daemon->limits.max_map_bytes;
	if (max < MIN_POLICY_BYTES)
		max = MIN_POLICY_BYTES;
	import->source.max_map_bytes = max;
	import->max_own_bytes = 2 * daemon->limits.max_map_bytes;
	users_hold(&import->daemon->users, &import->charge, import->data.capacity + own + 2 * max);
}

/* ---- Its end ------------------------------------------------------------------------------- */

static void end(struct import *import, struct jsonrpc_answer *answer)
{
	memory_give_back_soon(import->daemon->memory);
	LIST_REMOVE(import, list);
	if (import->peer)
		method_finish(import->peer, answer);
	import_free(import);
}

/* It goes no further; what is in force stays. */
static void stop(struct import *import, enum kvmattr_status status, const char *text)
{
	struct jsonrpc_answer answer = { 0 };

	if (import->n_updates)
		log_vm(LOG_LEVEL_WARNING, import->vm,
		       "import stopped after %" PRIu64 " update(s): %s", import->n_updates, text);
	if (!import->peer) {
		end(import, &answer);
		return;
	}
	if (import->n_updates)
		method_refuse(&answer, status,
			      "VM %s: the import stopped; its first %" PRIu64
			      " update(s) are in force, this one is not: %s",
			      import->vm, import->n_updates, text);
	else
		method_refuse(&answer, status, "VM %s: nothing was changed: %s", import->vm, text);
	json_put_number(answer.data, "updates", import->n_updates);
	json_put_number(answer.data, "commit", import->commit);
	end(import, &answer);
}

static void finish(struct import *import)
{
	struct log_about about = authority_about(&import->peer->who, "vm.import");
	struct jsonrpc_answer answer = { 0 };
	struct json_object *result = method_result(&answer);

	about.vm = import->vm;
	log_with_id(LOG_ID_OPERATOR_ACTED, about,
		    "imported the policy of VM %s as of its commit %" PRIu64 ": %" PRIu64
		    " updates, in force with commit %" PRIu64,
		    import->header.name, import->header.commit, import->n_updates, import->commit);
	json_put_text(result, "vm", import->vm);
	json_put_number(result, "commit", import->commit);
	json_put_number(result, "updates", import->n_updates);
	json_put_text(result, "from_vm", import->header.name);
	json_put_number(result, "from_commit", import->header.commit);
	json_put_number(result, "from_us", import->header.commit_us);
	end(import, &answer);
}

static void cancel(void *context)
{
	struct import *import = context;

	import->peer = NULL;
	if (import->job)
		archivist_cancel(import->job);
}

/* ---- In the archivist's thread: checking --------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void refuse(struct import *import,
							 enum kvmattr_status status,
							 const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(import->text, sizeof(import->text), format, arguments);
	va_end(arguments);
	import->status = status;
}

static bool is_in_vain(const struct import *import)
{
	return import->source.is_cancelled(import->source.context);
}

static void next_update(struct import *import)
{
	import->is_over = !image_updates_next(&import->updates, &import->element, import->ranges,
					      MAX_RANGES, &import->n_ranges);
}

/* Does the policy accept every update, in their order?  Which leaves it as the VM's is to be. */
static void try_updates(struct import *import, struct policy *target)
{
	static const struct policy_actor owner = { .is_owner = true };
	struct policy_undo_log *undo = policy_undo_log_new();
	struct page_ranges touched = { 0 };
	char text[256];

	image_updates_begin(&import->updates, import->policy, target);
	for (next_update(import); !import->is_over && !import->status; next_update(import)) {
		struct policy_element element = import->element;
		uint32_t i = 0;

		do {
			enum kvmattr_status status;

			if (import->n_ranges)
				element.range = import->ranges[i];
			status = policy_apply(target, &owner, &element, undo, &touched, text,
					      sizeof(text));
			if (status)
				refuse(import, status, "%s: %s", history_kind_name(element.kind),
				       text);
			policy_undo_log_clear(undo);
			page_ranges_clear(&touched);
		} while (++i < import->n_ranges && !import->status && !is_in_vain(import));
	}
	policy_undo_log_free(undo);
	page_ranges_destroy(&touched);
	image_updates_begin(&import->updates, import->policy, target);
}

static void check_against(struct import *import, const struct past_source *source)
{
	const struct replay_request request = {
		.limit = REPLAY_ALL,
		.is_cancelled = source->is_cancelled,
		.context = source->context,
	};
	struct journal_error error = { 0 };
	struct replay_report report;
	struct replay replay;
	char text[256];
	int r;

	replay_init(&replay);
	replay.max_map_bytes = import->max_own_bytes;
	r = journal_replay(source->parent_fd, source->name, &request, &replay, &report, &error);
	if (r < 0) {
		refuse(import, KVMATTR_JOURNAL_FAILED,
		       "what it has now cannot be read from its journal %s: %s", source->name,
		       error.text);
	} else {
		enum kvmattr_status status =
			image_updates_check(import->policy, replay.policy, text, sizeof(text));

		if (status)
			refuse(import, status, "%s", text);
		else
			try_updates(import, replay.policy);
	}
	replay_destroy(&replay);
}

static void check(struct import *import)
{
	const struct image *data = &import->data;
	size_t offset = 0;
	char text[256];
	int r = export_check(data->data, data->size, &import->header, &offset, text, sizeof(text));

	if (r == 0) {
		r = policy_image_read(
			data->data + sizeof(import->header), data->size - sizeof(import->header),
			import->source.max_map_bytes, &import->policy, &offset, text, sizeof(text));
		offset += sizeof(import->header);
	}
	if (r < 0) {
		refuse(import, r == -E2BIG ? KVMATTR_LIMIT_EXCEEDED : KVMATTR_INVALID_PARAMETER,
		       "what was received is no export that can be imported, at byte %zu: %s",
		       offset, text);
		return;
	}
	image_destroy(&import->data);
	check_against(import, &import->source);
}

/* ---- Carrying out -------------------------------------------------------------------------- */

static bool job_is_in_vain(void *context)
{
	return archivist_is_cancelled(context);
}

/* In the archivist's thread: the next update, behind the check. */
static void prepare(void *context, struct archivist_job *job)
{
	struct import *import = context;

	import->source.is_cancelled = job_is_in_vain;
	import->source.context = job;
	if (!import->policy)
		check(import);
	if (!import->status)
		next_update(import);
}

static void on_prepared(void *context, bool was_run);

static void go_on(struct import *import)
{
	import->job = archivist_submit(import->daemon->journals.archivist, ARCHIVIST_AWAITED,
				       users_uid(&import->charge), prepare, on_prepared, import);
}

static void on_carried_out(void *context, enum kvmattr_status status, uint32_t n_in_force,
			   uint64_t commit, const char *text)
{
	struct import *import = context;
	char why[512];

	if (status) {
		snprintf(why, sizeof(why), "%s (%" PRIu32 " of its %" PRIu32 " ranges are): %s",
			 history_kind_name(import->element.kind), n_in_force, import->n_ranges,
			 text);
		stop(import, status, why);
		return;
	}
	import->n_updates++;
	import->commit = commit;
	go_on(import);
}

static void carry_out(struct import *import)
{
	struct hosted_vm *hosted = daemon_find_vm(import->daemon, import->vm);

	if (!hosted || hosted->is_doomed || !hosted->journal ||
	    strcmp(vm_journal_name(hosted->journal), import->journal) != 0) {
		stop(import, KVMATTR_NO_VM, "it is gone");
		return;
	}
	hosted_vm_update(hosted, false, &import->element, import->ranges, import->n_ranges,
			 on_carried_out, import);
}

static void on_prepared(void *context, bool was_run)
{
	struct import *import = context;

	import->job = NULL;
	if (import->policy)
		users_hold(&import->daemon->users, &import->charge, policy_memory(import->policy));
	if (!was_run)
		stop(import, KVMATTR_NO_VM, "the daemon stops, or whoever imports is gone");
	else if (import->status)
		stop(import, import->status, import->text);
	else if (!import->peer)
		stop(import, KVMATTR_NO_VM, "whoever imports is gone");
	else if (import->is_over)
		finish(import);
	else
		carry_out(import);
}

bool import_start(const struct method_call *call)
{
	struct import *import = call->peer->import, *other;
	const struct hosted_vm *hosted = method_vm(call, "vm");

	LIST_FOREACH (other, &under_way, list)
		if (!strcmp(other->vm, import->vm))
			return false;
	call->peer->import = NULL;
	LIST_INSERT_HEAD(&under_way, import, list);
	import->peer = call->peer;
	snprintf(import->journal, sizeof(import->journal), "%s",
		 hosted->journal ? vm_journal_name(hosted->journal) : "");
	import->source = (struct past_source){
		.parent_fd = call->daemon->journals.directory_fd,
		.name = import->journal,
	};
	reserve(import, hosted);
	method_answer_later(call, cancel, import);
	go_on(import);
	return true;
}
