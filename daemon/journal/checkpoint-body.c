/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "checkpoint-body.h"

#include "daemon/allocate.h"
#include "directory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEEP_IT "keep the file, and if the VM is not recovered without it, register it anew"

/*
 * Followed by struct vm_record_registered with its views, n_sessions sessions, n_doubtful struct
 * kvmattr_range, and the policy's image up to the end.
 */
struct body_facts {
	uint64_t registered_us;
	uint64_t commit_us;
	uint64_t released_us;
	uint64_t max_session;
	uint64_t n_doubtful;
	uint32_t n_sessions;
	uint8_t is_ready;
	uint8_t is_released;
	uint16_t reserved;
	struct vm_record_released released; /* all 0 where is_released is */
};
_Static_assert(sizeof(struct body_facts) == 312, "layout");

/* Followed by n_failures struct wire_failure. */
struct body_session {
	struct vm_record_session facts;
	uint64_t settled_seqno;
	uint64_t forgotten_seqno;
	uint64_t n_failures;
	struct wire_update next; /* all 0 where n_in_force is; so is next_n_total */
	uint32_t n_in_force;
	uint32_t next_n_total;
};
_Static_assert(sizeof(struct body_session) == 128, "layout");

/* ---- Writing -------------------------------------------------------------------------------- */

static void add_session(const struct replay_session *session, struct image *bytes)
{
	struct body_session added = {
		.facts = session->facts,
		.settled_seqno = session->settled_seqno,
		.forgotten_seqno = session->forgotten_seqno,
		.n_failures = session->n_failures,
		.n_in_force = session->n_in_force,
	};

	assert(!session->is_closed);
	if (session->n_in_force) {
		added.next = session->next;
		added.next_n_total = session->next_n_total;
	}
	image_add(bytes, &added, sizeof(added));
	image_add(bytes, session->failures, session->n_failures * sizeof(*session->failures));
}

/* Sorted, and none touches another. */
static bool are_normalized(const struct page_ranges *ranges)
{
	for (size_t i = 1; i < ranges->n; i++)
		if (ranges->range[i].gfn <= ranges->range[i - 1].gfn + ranges->range[i - 1].n_pages)
			return false;
	return true;
}

void checkpoint_body_add(const struct replay *replay, struct image *bytes)
{
	struct body_facts facts = {
		.registered_us = replay->registered_us,
		.commit_us = replay->commit_us,
		.max_session = replay->max_session,
		.n_doubtful = replay->doubtful.n,
		.n_sessions = (uint32_t)replay->n_sessions,
		.is_ready = replay->is_ready,
		.is_released = replay->is_released,
	};

	assert(are_normalized(&replay->doubtful));
	if (replay->is_released) {
		facts.released_us = replay->released_us;
		facts.released = replay->released;
	}
	image_add(bytes, &facts, sizeof(facts));
	image_add(bytes, &replay->facts, sizeof(replay->facts));
	image_add(bytes, replay->views, replay->facts.n_views * sizeof(*replay->views));
	for (size_t i = 0; i < replay->n_sessions; i++)
		add_session(&replay->sessions[i], bytes);
	image_add(bytes, replay->doubtful.range,
		  replay->doubtful.n * sizeof(*replay->doubtful.range));
	policy_image_write(replay->policy, bytes);
}

/* ---- Reading -------------------------------------------------------------------------------- */

struct reading {
	const uint8_t *data; /* of the file */
	size_t size;
	size_t at; /* of what is read next */
	const char *file;
	struct journal_error *ret_error;
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct reading *reading,
							size_t offset, const char *format, ...)
{
	char text[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return journal_error_set(reading->ret_error, EBADMSG, reading->file, offset, "%s; " KEEP_IT,
				 text);
}

/* n things of that size that are next; NULL with an error if they are not all there. */
static const void *take(struct reading *reading, uint64_t n, size_t size)
{
	const uint8_t *taken = reading->data + reading->at;

	if (n > (reading->size - reading->at) / size) {
		(void)refuse(reading, reading->size, "the checkpoint ends too early");
		return NULL;
	}
	reading->at += (size_t)n * size;
	return taken;
}

static int read_facts(struct reading *reading, struct replay *replay, struct body_facts *ret)
{
	const size_t at = reading->at;
	const void *bytes = take(reading, 1, sizeof(*ret));
	static const struct vm_record_released none;

	if (!bytes)
		return -EBADMSG;
	memcpy(ret, bytes, sizeof(*ret));
	if (ret->is_ready > 1 || ret->is_released > 1 || ret->reserved)
		return refuse(reading, at + offsetof(struct body_facts, is_ready),
			      "what it says of the VM's state is not valid");
	if (ret->is_released ? vm_record_get_released(&ret->released, sizeof(ret->released),
						      &replay->released) != NULL
			     : memcmp(&ret->released, &none, sizeof(none)) || ret->released_us)
		return refuse(reading, at + offsetof(struct body_facts, released),
			      "what it says of the VM's release is not valid");
	replay->registered_us = ret->registered_us;
	replay->commit_us = ret->commit_us;
	replay->released_us = ret->released_us;
	replay->max_session = ret->max_session;
	replay->is_ready = ret->is_ready;
	replay->is_released = ret->is_released;
	return 0;
}

static int read_registration(struct reading *reading, struct replay *replay)
{
	const size_t at = reading->at;
	struct vm_record_registered facts;
	const void *bytes = take(reading, 1, sizeof(facts));
	const char *bad;
	size_t size;

	if (!bytes)
		return -EBADMSG;
	memcpy(&facts, bytes, sizeof(facts));
	if (!take(reading, facts.n_views, sizeof(struct wire_view)))
		return -EBADMSG;
	size = reading->at - at;
	bad = vm_record_get_registered(bytes, size, &replay->facts);
	for (uint32_t i = 0; !bad && i < facts.n_views; i++)
		bad = vm_record_at_view(bytes, i, &replay->views[i]);
	return bad ? refuse(reading, at, "the registration's field %s is not valid", bad) : 0;
}

/* The update of which some elements, but not all, are in force. */
static bool is_begun(const struct wire_update *update, uint32_t n_in_force, uint32_t n_total)
{
	return update->kind && update->kind < KVMATTR_N_UPDATE_KINDS &&
	       (update->form == WIRE_FORM_PAGES || update->form == WIRE_FORM_RANGES) &&
	       update->mbec <= 1 && !update->reserved && !update->reserved2 &&
	       !update->n_elements && n_in_force < n_total;
}

static int read_failures(struct reading *reading, struct replay_session *session, uint64_t n)
{
	struct vm_record_refused refused = { .session = session->facts.id };
	const size_t at = reading->at;
	const uint8_t *bytes = take(reading, n, sizeof(refused.failure));
	uint64_t last = 0;

	if (!bytes)
		return -EBADMSG;
	for (uint64_t i = 0; i < n; i++) {
		const size_t offset = (size_t)i * sizeof(refused.failure);
		const char *bad;

		memcpy(&refused.failure, bytes + offset, sizeof(refused.failure));
		bad = vm_record_get_refused(&refused, sizeof(refused), &refused);
		if (!bad && (refused.failure.seqno <= last ||
			     refused.failure.seqno > session->settled_seqno))
			bad = "failure.seqno";
		if (bad)
			return refuse(reading, at + offset,
				      "the field %s of a failure of session %" PRIu64
				      " is not valid",
				      bad, session->facts.id);
		last = refused.failure.seqno;
	}
	if (n) {
		session->failures = allocate((size_t)n * sizeof(*session->failures));
		memcpy(session->failures, bytes, (size_t)n * sizeof(*session->failures));
		session->n_failures = session->failures_capacity = (size_t)n;
	}
	return 0;
}

/* Fills in the session, which is the replay's already; before: the id of the one before it. */
static int read_session(struct reading *reading, const struct replay *replay, uint64_t before,
			struct replay_session *session)
{
	static const struct wire_update none;
	const size_t at = reading->at;
	const void *bytes = take(reading, 1, sizeof(struct body_session));
	struct body_session read;
	const char *bad;

	if (!bytes)
		return -EBADMSG;
	memcpy(&read, bytes, sizeof(read));
	bad = vm_record_get_session(&read.facts, sizeof(read.facts), &session->facts);
	if (!bad && (read.facts.id <= before || read.facts.id > replay->max_session))
		bad = "id";
	if (!bad && read.forgotten_seqno > read.settled_seqno)
		bad = "forgotten_seqno";
	if (!bad &&
	    (read.n_in_force ? !is_begun(&read.next, read.n_in_force, read.next_n_total)
			     : read.next_n_total || memcmp(&read.next, &none, sizeof(none))))
		bad = "next";
	if (bad)
		return refuse(reading, at,
			      "the field %s of session %" PRIu64 " is not valid, behind session "
			      "%" PRIu64,
			      bad, read.facts.id, before);
	session->settled_seqno = read.settled_seqno;
	session->forgotten_seqno = read.forgotten_seqno;
	session->n_in_force = read.n_in_force;
	session->next_n_total = read.next_n_total;
	session->next = read.next;
	return read_failures(reading, session, read.n_failures);
}

static int read_sessions(struct reading *reading, struct replay *replay, uint32_t n)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct replay_session *session;
		int r;

		allocate_room(replay->sessions, replay->n_sessions, replay->sessions_capacity);
		session = &replay->sessions[replay->n_sessions++];
		*session = (struct replay_session){ 0 };
		r = read_session(reading, replay, before, session);
		if (r < 0)
			return r;
		before = session->facts.id;
	}
	return 0;
}

static int read_doubtful(struct reading *reading, struct replay *replay, uint64_t n)
{
	const size_t at = reading->at;
	const uint8_t *bytes = take(reading, n, sizeof(struct kvmattr_range));
	uint64_t free_from = 0;

	if (!bytes)
		return -EBADMSG;
	for (uint64_t i = 0; i < n; i++) {
		const size_t offset = (size_t)i * sizeof(struct kvmattr_range);
		struct kvmattr_range range;

		memcpy(&range, bytes + offset, sizeof(range));
		if (range.gfn < free_from || range.gfn >= KVMATTR_GFN_LIMIT || !range.n_pages ||
		    range.n_pages > KVMATTR_GFN_LIMIT - range.gfn)
			return refuse(reading, at + offset,
				      "GFN 0x%" PRIx64 " and %" PRIu64
				      " pages from it are no range of doubtful pages",
				      range.gfn, range.n_pages);
		page_ranges_add(&replay->doubtful, range.gfn, range.n_pages);
		free_from = range.gfn + range.n_pages + 1;
	}
	return 0;
}

/* The image's views are those that were registered. */
static bool has_views(const struct policy *policy, const struct replay *replay)
{
	if (policy->n_views != replay->facts.n_views)
		return false;
	for (uint32_t i = 0; i < policy->n_views; i++)
		if (policy->views[i].vtl != replay->views[i].vtl ||
		    policy->views[i].dialect.abi != replay->views[i].abi ||
		    policy->views[i].dialect.supported != replay->views[i].supported)
			return false;
	return true;
}

static int read_policy(struct reading *reading, struct replay *replay)
{
	char text[128];
	size_t offset;
	int r = policy_image_read(reading->data + reading->at, reading->size - reading->at,
				  replay->max_map_bytes, &replay->policy, &offset, text,
				  sizeof(text));

	if (r < 0)
		return journal_error_set(
			reading->ret_error, -r, reading->file, reading->at + offset, "%s; %s", text,
			r == -EPROTO  ? "use the version that wrote it, or a later one"
			: r == -E2BIG ? "give the VM more (max-map-mib, max-memory-mib)"
				      : KEEP_IT);
	if (!has_views(replay->policy, replay))
		return refuse(reading, reading->at,
			      "the policy has other views than were registered");
	return 0;
}

int checkpoint_body_read(const uint8_t *file_bytes, size_t size, size_t offset, const char *file,
			 struct replay *replay, struct journal_error *ret_error)
{
	struct reading reading = {
		.data = file_bytes,
		.size = size,
		.at = offset,
		.file = file,
		.ret_error = ret_error,
	};
	struct body_facts facts;
	int r = read_facts(&reading, replay, &facts);

	if (r == 0)
		r = read_registration(&reading, replay);
	if (r == 0)
		r = read_sessions(&reading, replay, facts.n_sessions);
	if (r == 0)
		r = read_doubtful(&reading, replay, facts.n_doubtful);
	if (r == 0)
		r = read_policy(&reading, replay);
	return r;
}
