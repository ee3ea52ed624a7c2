/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/world-journal.h"

#include "tests/unit/seeded-suite.h"
#include "tests/unit/vm-world.h"

#include <stdlib.h>
#include <string.h>

/* What vm-records.h makes of a part, and what a record may hold: half of the largest there is. */
#define PART_BYTES       56u
#define MAX_RECORD_BYTES (UINT64_C(32) << 20)

void world_journal_init(struct world_journal *journal, const struct policy *policy)
{
	memset(journal, 0, sizeof(*journal));
	oracle_init(&journal->oracle, policy);
	journal->updates = calloc(WORLD_MAX_UPDATES, sizeof(*journal->updates));
	ck_assert_ptr_nonnull(journal->updates);
}

void world_journal_destroy(struct world_journal *journal)
{
	free(journal->updates);
	free(journal->parts);
	free(journal->elements);
}

static uint32_t n_elements(const struct world_update *update)
{
	return update->n_elements ? update->n_elements : 1;
}

static struct policy_element element_at(const struct world_update *update, uint32_t place)
{
	struct policy_element element = update->element;

	if (update->n_elements)
		element.range = update->ranges[place];
	return element;
}

static bool is_last(const struct world *world, const struct world_journal_part *part)
{
	return part->status || part->first + part->n == n_elements(&world->updates[part->id]);
}

/* ---- A batch ------------------------------------------------------------------------------------ */

static void expect_batch(const struct world *world, const struct vm_batch *batch)
{
	const struct world_journal *journal = &world->journal;
	unsigned int id = journal->n_settled;
	uint64_t n_bytes = 0;

	EXPECT(!world->is_executing, "a batch while calls are made");
	EXPECT(batch->commit == journal->commit + 1, "commit %u after %u",
	       (unsigned int)batch->commit, (unsigned int)journal->commit);
	EXPECT(batch->n_parts, "a batch without parts");
	for (size_t i = 0; i < batch->n_parts; i++) {
		const struct vm_part *part = &batch->parts[i];
		const struct vm_update *update = part->update;
		uint32_t n_all = n_elements(&world->updates[id]);

		EXPECT(update->seqno == id, "update %u instead of %u", (unsigned int)update->seqno,
		       id);
		EXPECT(part->first == journal->updates[id].n_in_force,
		       "update %u from element %u on, where %u are in force", id, part->first,
		       (unsigned int)journal->updates[id].n_in_force);
		EXPECT(part->first + part->n <= n_all && (part->n || update->status),
		       "%u elements of update %u", part->n, id);
		EXPECT(!update->status == !update->text, "a status and no text, or the reverse");
		n_bytes += PART_BYTES + (update->text ? strlen(update->text) : 0) +
			   part->n * wire_element_size(update->form);
		if (update->status || part->first + part->n == n_all)
			id++;
		else
			EXPECT(i == batch->n_parts - 1, "update %u goes on behind others", id);
	}
	EXPECT(n_bytes <= MAX_RECORD_BYTES, "a record of %u bytes", (unsigned int)n_bytes);
}

/* Pages that KVM may be told of, if they are RAM before the batch, or with it. */
static void note_doubtful(struct world *world, const struct world_journal_part *part)
{
	const struct world_update *update = &world->updates[part->id];
	bool *is_doubtful = world->journal.is_doubtful;

	for (uint64_t gfn = 0; gfn < ORACLE_PAGES && !update->n_elements; gfn++)
		is_doubtful[gfn] |= world->journal.oracle.pages[gfn].is_ram ||
				    attribute_map_get(&vm_policy(world->vm)->pages, gfn);
	for (uint32_t i = 0; i < part->n && update->n_elements; i++) {
		const struct kvmattr_range *range = &update->ranges[part->first + i];

		memset(is_doubtful + range->gfn, 1, range->n_pages);
	}
}

static void take_batch(struct world *world, const struct vm_batch *batch)
{
	struct world_journal *journal = &world->journal;

	free(journal->parts);
	journal->parts = calloc(batch->n_parts, sizeof(*journal->parts));
	ck_assert_ptr_nonnull(journal->parts);
	journal->n_parts = batch->n_parts;
	for (size_t i = 0; i < batch->n_parts; i++) {
		const struct vm_part *from = &batch->parts[i];
		struct world_journal_part *part = &journal->parts[i];

		part->id = (unsigned int)from->update->seqno;
		part->first = from->first;
		part->n = from->n;
		part->status = from->update->status;
		if (from->update->text)
			strncpy(part->text, from->update->text, sizeof(part->text) - 1);
		note_doubtful(world, part);
	}
	journal->is_open = true;
}

/* ---- In force ----------------------------------------------------------------------------------- */

/* Of what was to become RAM and did not, the VM may know nothing: nobody asks. */
static void expect_page_in_force(const struct world *world, uint64_t gfn)
{
	const struct policy *policy = vm_policy(world->vm);
	bool is_ram = attribute_map_get(&policy->pages, gfn) & PAGE_IS_RAM;

	for (unsigned int v = 0; v < policy->n_views; v++) {
		const struct view *view = &policy->views[v];
		uint8_t wanted = fold_effective_at(policy, view, gfn);
		uint8_t belief = attribute_map_get(&view->applied, gfn);

		EXPECT((world->kernel[v][gfn] == wanted || world->is_spoilt[v][gfn]) &&
			       (belief == wanted || (belief == APPLIED_UNKNOWN && !is_ram)),
		       "view %u, page 0x%x: the kernel holds 0x%x, was told 0x%x, is to hold 0x%x",
		       v, (unsigned int)gfn, world->kernel[v][gfn], belief, wanted);
	}
}

/* Every page of an update that is done is enforced, whichever batch brought it about. */
static void expect_in_force(const struct world *world, const struct vm_in_force *in_force)
{
	const struct world_journal *journal = &world->journal;

	EXPECT(journal->is_open && !world->is_executing, "no batch can come into force");
	EXPECT(in_force->commit == journal->commit + 1, "commit %u comes into force after %u",
	       (unsigned int)in_force->commit, (unsigned int)journal->commit);
	if (in_force->is_all_known && journal->number % 4 == 0) /* it takes its time */
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
			expect_page_in_force(world, gfn);
	for (size_t i = 0; i < journal->n_parts; i++) {
		const struct world_journal_part *part = &journal->parts[i];
		const struct world_update *update = &world->updates[part->id];

		if (part->status || !is_last(world, part) || update->element.kind == KVMATTR_LOCK ||
		    update->element.kind == KVMATTR_UNLOCK)
			continue;
		for (uint32_t e = 0; e < update->n_elements; e++)
			for (uint64_t n = 0; n < update->ranges[e].n_pages; n++)
				expect_page_in_force(world, update->ranges[e].gfn + n);
	}
}

static void apply(struct world *world, unsigned int id, uint32_t place)
{
	struct world_journal *journal = &world->journal;
	struct policy_element element = element_at(&world->updates[id], place);

	EXPECT(!oracle_judge(&journal->oracle, &world->updates[id].actor, &element),
	       "element %u of update %u cannot be replayed", place, id);
	oracle_apply(&journal->oracle, &element);
	if (journal->n_elements == journal->capacity) {
		journal->capacity = journal->capacity ? 2 * journal->capacity : 1024;
		journal->elements =
			realloc(journal->elements, journal->capacity * sizeof(*journal->elements));
		ck_assert_ptr_nonnull(journal->elements);
	}
	journal->elements[journal->n_elements++] = (struct world_journal_element){ id, place };
}

static void take_in_force(struct world *world, bool is_all_known)
{
	struct world_journal *journal = &world->journal;

	for (size_t i = 0; i < journal->n_parts; i++) {
		const struct world_journal_part *part = &journal->parts[i];
		struct world_record *record = &journal->updates[part->id];

		for (uint32_t e = 0; e < part->n; e++)
			apply(world, part->id, part->first + e);
		record->n_in_force += part->n;
		record->number = journal->number;
		if (!is_last(world, part))
			continue;
		record->is_settled = record->is_written = true;
		record->status = part->status;
		memcpy(record->text, part->text, sizeof(record->text));
		journal->n_settled++;
	}
	journal->commit++;
	journal->is_open = false;
	if (is_all_known)
		memset(journal->is_doubtful, 0, sizeof(journal->is_doubtful));
}

int world_journal_record(struct world *world, const struct vm_batch *batch,
			 const struct vm_in_force *in_force, uint64_t *ret_durable)
{
	struct world_journal *journal = &world->journal;

	ck_assert(batch || in_force);
	if (batch)
		expect_batch(world, batch);
	if (journal->n_until_failure) {
		journal->n_until_failure--;
	} else if (journal->n_failures) {
		journal->n_failures--;
		journal->n_failed++;
		return -journal->error;
	}
	journal->number++;
	for (unsigned int id = 0; id < journal->n_settled; id++)
		journal->updates[id].is_written = true;
	if (batch)
		take_batch(world, batch);
	if (in_force) {
		expect_in_force(world, in_force);
		take_in_force(world, in_force->is_all_known);
	}
	*ret_durable = journal->is_power ? journal->number : 0;
	return 0;
}

void world_journal_refused(struct world *world, const struct vm_update *update,
			   enum kvmattr_status status, const char *text)
{
	struct world_journal *journal = &world->journal;
	struct world_record *record = &journal->updates[journal->n_settled];

	EXPECT(update->seqno == journal->n_settled, "update %u is refused before %u",
	       (unsigned int)update->seqno, journal->n_settled);
	EXPECT(update->n_in_force == record->n_in_force, "%u of its elements in force, not %u",
	       update->n_in_force, (unsigned int)record->n_in_force);
	ck_assert(status != KVMATTR_OK && *text);
	journal->n_settled++;
	journal->is_open = false;
	record->is_settled = true;
	record->status = status;
	strncpy(record->text, text, sizeof(record->text) - 1);
}

/* ---- What the journal is good for --------------------------------------------------------------- */

void world_journal_expect_answer(const struct world *world, unsigned int id,
				 enum kvmattr_status status, uint32_t n_in_force, const char *text)
{
	const struct world_record *record = &world->journal.updates[id];

	EXPECT(n_in_force == record->n_in_force, "update %u: %u in force; in the journal %u", id,
	       n_in_force, (unsigned int)record->n_in_force);
	if (status == KVMATTR_NO_VM)
		return; /* the end of the VM is not its business */
	EXPECT(record->is_settled && record->status == status && !strcmp(record->text, text),
	       "update %u: %s \"%s\"; in the journal %s \"%s\"", id, kvmattr_status_name(status),
	       text, record->is_settled ? kvmattr_status_name(record->status) : "nothing",
	       record->text);
	EXPECT(!world->journal.is_power || record->number <= world->journal.told,
	       "update %u is answered before it is durable", id);
}

void world_journal_expect_policy(const struct world *world)
{
	if (vm_state(world->vm) == VM_EXECUTING)
		return;
	ck_assert_uint_eq(vm_commit(world->vm), world->journal.commit);
	oracle_expect_same(&world->journal.oracle, vm_policy(world->vm));
}

void world_sync(struct world *world)
{
	world->journal.told = world->journal.number;
	vm_durable(world->vm, world->journal.told);
}

void world_sync_some(struct world *world)
{
	struct world_journal *journal = &world->journal;

	journal->told += random_below(&world->random, journal->number - journal->told + 1);
	vm_durable(world->vm, journal->told);
}

/* ---- A daemon that dies -------------------------------------------------------------------------- */

static struct policy *replay(const struct world *world, const struct page_ranges *doubtful)
{
	const struct world_journal *journal = &world->journal;
	const struct policy *old = vm_policy(world->vm);
	struct policy *policy = policy_new(old->views, old->n_views);
	struct policy_undo_log *undo = policy_undo_log_new();
	struct page_ranges touched = { 0 };
	char text[WIRE_TEXT_SIZE];

	for (size_t i = 0; i < journal->n_elements; i++) {
		const struct world_update *update = &world->updates[journal->elements[i].id];
		struct policy_element element = element_at(update, journal->elements[i].place);

		ck_assert_int_eq(policy_apply(policy, &update->actor, &element, undo, &touched,
					      text, sizeof(text)),
				 KVMATTR_OK);
		policy_undo_log_clear(undo);
		page_ranges_clear(&touched);
	}
	policy_assume_applied(policy);
	policy_forget_applied(policy, doubtful);
	policy_undo_log_free(undo);
	page_ranges_destroy(&touched);
	return policy;
}

/* An answer that was not sent, or may have been lost, is in the journal, or it is asked again. */
static void go_on(struct world *world)
{
	struct world_journal *journal = &world->journal;

	for (unsigned int id = world->n_answered; id < world->n_updates; id++) {
		struct world_record *record = &journal->updates[id];

		if (!record->is_written) {
			*record = (struct world_record){ .n_in_force = record->n_in_force };
			continue;
		}
		EXPECT(id == world->n_answered, "update %u is settled, and %u is not", id,
		       world->n_answered);
		world_answer(world, id, record->status, (uint32_t)record->n_in_force, record->text);
	}
	journal->n_settled = world->n_answered;
	for (unsigned int id = world->n_answered; id < world->n_updates; id++)
		world_resubmit(world, id, (uint32_t)journal->updates[id].n_in_force);
}

void world_die(struct world *world)
{
	struct world_journal *journal = &world->journal;
	struct page_ranges doubtful = { 0 };
	struct policy *policy;

	if (world->is_executing) {
		world->n_calls = random_below(&world->random, world->n_calls + 1);
		world_execute_silently(world);
	}
	for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
		page_ranges_add(&doubtful, gfn, journal->is_doubtful[gfn]);
	policy = replay(world, &doubtful);
	world_end_life(world);
	world_begin_life(world, policy);
	journal->is_open = false;
	/* who resumes is answered from the journal, when the disk has it: at once, here */
	journal->told = journal->number;
	vm_restore(world->vm, journal->commit, &doubtful, 0);
	page_ranges_destroy(&doubtful);
	world_journal_expect_policy(world);
	go_on(world);
}
