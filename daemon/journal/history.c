/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "history.h"

#include "daemon/allocate.h"
#include "directory.h"
#include "history-text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Records between two looks at whether anyone still wants to know. */
#define RECORDS_PER_LOOK 256u
/* A writer that retires segments faster than they are read would keep us for ever. */
#define MAX_ATTEMPTS 5

/* A batch that was read, and did not end so far. */
struct open_batch {
	bool is_there;
	uint64_t number;
	uint64_t time_us;
	struct vm_record_batch head;
	uint8_t *payload;
	size_t size;
	size_t capacity;
};

struct walk {
	uint64_t from_commit;      /* lines count from this one on; 0: they do */
	struct history_place base; /* n_lines: that were made since */
	uint64_t n_to_skip;        /* lines that were given before */
	struct history_line *lines;
	size_t n;
	size_t max;
	bool is_full;
	struct open_batch batch;
};

/* A line to fill in, or NULL where nobody wants it. */
static struct history_line *add_line(struct walk *walk, const struct journal_record *record,
				     uint64_t session)
{
	struct history_line *line;

	if (walk->from_commit || walk->is_full)
		return NULL;
	if (!walk->n_to_skip && walk->n == walk->max) {
		walk->is_full = true;
		return NULL;
	}
	walk->base.n_lines++;
	if (walk->n_to_skip) {
		walk->n_to_skip--;
		return NULL;
	}
	line = &walk->lines[walk->n++];
	*line = (struct history_line){
		.number = record->header.number,
		.time_us = record->header.time_us,
		.session = session,
		.type = record->header.type,
	};
	return line;
}

static void add_text(struct walk *walk, const struct journal_record *record, uint64_t session,
		     const char *text)
{
	struct history_line *line = add_line(walk, record, session);

	if (line)
		snprintf(line->text, sizeof(line->text), "%s", text);
}

/* ---- Batches ------------------------------------------------------------------------------- */

static struct history_line *add_batch_line(struct walk *walk, uint64_t session)
{
	const struct open_batch *batch = &walk->batch;
	const struct journal_record record = { .header = { .number = batch->number,
							   .time_us = batch->time_us,
							   .type = VM_RECORD_BATCH } };
	struct history_line *line = add_line(walk, &record, session);

	if (line)
		line->commit = batch->head.commit;
	return line;
}

static void take_back(struct walk *walk)
{
	struct history_line *line;

	if (!walk->batch.is_there)
		return;
	walk->batch.is_there = false;
	line = add_batch_line(walk, 0);
	if (!line)
		return;
	line->is_taken_back = true;
	snprintf(line->text, sizeof(line->text),
		 "a batch of %" PRIu32 " update%s was taken back; it has changed nothing",
		 walk->batch.head.n_parts, walk->batch.head.n_parts == 1 ? "" : "s");
}

/* Returns NULL, or the field that is wrong. */
static const char *begin_batch(struct walk *walk, const struct journal_record *record)
{
	struct open_batch *batch = &walk->batch;
	const char *bad;

	take_back(walk);
	if (walk->is_full)
		return NULL; /* to be read again, from the one that was taken back on */
	bad = vm_record_get_batch(record->payload, record->header.size, &batch->head);
	if (bad)
		return bad;
	walk->base = (struct history_place){ .number = record->header.number };
	if (batch->capacity < record->header.size) {
		batch->capacity = record->header.size;
		batch->payload = allocate_again(batch->payload, batch->capacity, 1);
	}
	memcpy(batch->payload, record->payload, record->header.size);
	batch->size = record->header.size;
	batch->number = record->header.number;
	batch->time_us = record->header.time_us;
	batch->is_there = true;
	if (batch->head.commit >= walk->from_commit)
		walk->from_commit = 0;
	return NULL;
}

static const char *end_batch(struct walk *walk, const struct journal_record *record)
{
	struct open_batch *batch = &walk->batch;
	struct vm_record_in_force in_force;
	size_t offset = sizeof(batch->head);
	const char *bad = vm_record_get_in_force(record->payload, record->header.size, &in_force);

	if (bad)
		return bad;
	/* of one that began before the place that we were given: it has its lines already */
	if (!batch->is_there)
		return NULL;
	if (in_force.commit != batch->head.commit)
		return "commit";
	batch->is_there = false;
	for (uint32_t i = 0; i < batch->head.n_parts && !walk->is_full; i++) {
		struct vm_record_part part;
		struct history_line *line;
		const uint8_t *elements;
		const char *text;

		bad = vm_record_next_part(batch->payload, batch->size, &offset, &part, &text,
					  &elements);
		if (bad)
			return bad;
		line = add_batch_line(walk, part.session);
		if (line)
			history_describe_part(&part, text, elements, line->text,
					      sizeof(line->text));
	}
	return NULL;
}

/* ---- Other records ------------------------------------------------------------------------- */

static const char *take_session(struct walk *walk, const struct journal_record *record)
{
	struct vm_record_session session;
	char text[HISTORY_TEXT_SIZE];
	const char *bad = vm_record_get_session(record->payload, record->header.size, &session);

	if (bad)
		return bad;
	history_describe_session(&session, text, sizeof(text));
	add_text(walk, record, session.id, text);
	return NULL;
}

static const char *take_closed(struct walk *walk, const struct journal_record *record)
{
	struct vm_record_session_closed closed;
	const char *bad =
		vm_record_get_session_closed(record->payload, record->header.size, &closed);

	if (!bad)
		add_text(walk, record, closed.id, "the session was closed");
	return bad;
}

static const char *take_refused(struct walk *walk, const struct journal_record *record)
{
	struct vm_record_refused refused;
	char text[HISTORY_TEXT_SIZE];
	const char *bad = vm_record_get_refused(record->payload, record->header.size, &refused);

	if (bad)
		return bad;
	history_describe_failure(&refused.failure, text, sizeof(text));
	add_text(walk, record, refused.session, text);
	return NULL;
}

static const char *take_registered(struct walk *walk, const struct journal_record *record)
{
	struct vm_record_registered facts;
	char text[HISTORY_TEXT_SIZE];
	const char *bad = vm_record_get_registered(record->payload, record->header.size, &facts);

	if (bad)
		return bad;
	history_describe_registration(&facts, text, sizeof(text));
	add_text(walk, record, 0, text);
	return NULL;
}

static const char *take_released(struct walk *walk, const struct journal_record *record)
{
	struct vm_record_released released;
	char text[HISTORY_TEXT_SIZE];
	const char *bad = vm_record_get_released(record->payload, record->header.size, &released);

	if (bad)
		return bad;
	take_back(walk);
	history_describe_release(&released, text, sizeof(text));
	add_text(walk, record, 0, text);
	return NULL;
}

static const char *take(struct walk *walk, const struct journal_record *record)
{
	/* behind a batch that has not ended, a place is the batch and the lines since */
	if (!walk->batch.is_there)
		walk->base = (struct history_place){ .number = record->header.number };
	switch (record->header.type) {
	case VM_RECORD_REGISTERED:
		return take_registered(walk, record);
	case VM_RECORD_SESSION:
		return take_session(walk, record);
	case VM_RECORD_SESSION_CLOSED:
		return take_closed(walk, record);
	case VM_RECORD_READY:
		add_text(walk, record, 0, "the registration is complete");
		return NULL;
	case VM_RECORD_BATCH:
		return begin_batch(walk, record);
	case VM_RECORD_IN_FORCE:
		return end_batch(walk, record);
	case VM_RECORD_REFUSED:
		return take_refused(walk, record);
	case VM_RECORD_RELEASED:
		return take_released(walk, record);
	default:
		return "type";
	}
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* 0 if all was read, or there is no room for more. */
static int read_records(struct walk *walk, const struct past_source *source,
			struct journal_reader *reader, struct journal_error *ret_error)
{
	struct journal_record record;

	for (unsigned int i = 1; !walk->is_full; i++) {
		enum journal_read found = journal_read(reader, &record, ret_error);
		const char *bad;

		if (found == JOURNAL_END || found == JOURNAL_TORN)
			return 0;
		if (found == JOURNAL_DAMAGED)
			return -ret_error->error;
		bad = take(walk, &record);
		if (bad)
			return journal_error_set(ret_error, EBADMSG, record.file, record.offset,
						 "record %" PRIu64 ": its field %s is not valid; "
						 "keep the files, and register the VM anew",
						 record.header.number, bad);
		if (i % RECORDS_PER_LOOK == 0 && source->is_cancelled &&
		    source->is_cancelled(source->context))
			return journal_error_set(ret_error, ECANCELED, "", 0,
						 "nobody waits for it any more");
	}
	return 0;
}

static int read_from(struct walk *walk, const struct past_source *source,
		     struct history_place place, struct journal_error *ret_error)
{
	struct journal_reader *reader;
	int r = journal_reader_open(source->parent_fd, source->name,
				    (struct journal_position){ place.number }, &reader, ret_error);

	if (r < 0)
		return r;
	walk->base = place;
	walk->base.n_lines = 0;
	walk->n_to_skip = place.n_lines;
	walk->n = 0;
	walk->is_full = false;
	walk->batch.is_there = false;
	r = read_records(walk, source, reader, ret_error);
	journal_reader_free(reader);
	return r;
}

int history_read(const struct past_source *source, uint64_t from_commit, struct history_place place,
		 struct history_line *ret_lines, size_t max, size_t *ret_n,
		 struct history_place *ret_next, bool *ret_has_more,
		 struct journal_error *ret_error)
{
	struct walk walk = { .lines = ret_lines, .max = max };
	int r, n_attempts = 0;

	assert(max);
	do {
		walk.from_commit = place.number ? 0 : from_commit;
		r = read_from(&walk, source, place, ret_error);
	} while (r == -ESTALE && !place.number && ++n_attempts < MAX_ATTEMPTS);
	free(walk.batch.payload);
	/* what is before damage is good; who goes on is told of it */
	if (r == -EBADMSG && walk.n)
		walk.is_full = true;
	else if (r < 0)
		return r;
	*ret_n = walk.n;
	*ret_next = walk.base;
	*ret_has_more = walk.is_full;
	return 0;
}
