/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of a world (vm-world.h): what a VM has recorded, in memory, as plain as it can be.
 *
 * It fails when it is told to, and says late what is durable.  Whatever a test is about, it checks
 * what a journal may ask of a VM: a batch has the next commit number and takes up its updates where
 * they are, in their order; it is in force when that is recorded; and whatever is answered stands in
 * the journal, word for word, or was noted.  What came into force is applied to an oracle, element
 * by element: the policy that another daemon finds, should this one die now.
 */
#ifndef WORLD_JOURNAL_H
#define WORLD_JOURNAL_H

#include "daemon/vm.h"
#include "tests/unit/policy-oracle.h"

#include <stdbool.h>
#include <stdint.h>

struct world;

/* What the journal says of an update. */
struct world_record {
	bool is_settled; /* by a batch in force, or refused */
	bool is_written; /* or only noted */
	uint64_t n_in_force;
	uint64_t number; /* of the record that says so */
	enum kvmattr_status status;
	char text[WIRE_TEXT_SIZE];
};

struct world_journal {
	/* Faults: so many records go well, then so many fail with that errno. */
	unsigned int n_until_failure;
	unsigned int n_failures;
	int error;
	unsigned int n_failed; /* so often it did */

	bool is_power; /* what waits for a record is told by world_sync() */
	uint64_t number;
	uint64_t told;

	struct oracle oracle;
	uint64_t commit;
	unsigned int n_settled; /* the first so many updates are */
	struct world_record *updates;
	struct world_journal_part {
		unsigned int id;
		uint32_t first, n;
		enum kvmattr_status status;
		char text[WIRE_TEXT_SIZE];
	} * parts; /* of the last batch */
	size_t n_parts;
	bool is_open; /* it may come into force */
	struct world_journal_element {
		unsigned int id;
		uint32_t place;
	} * elements; /* that came into force, in order */
	size_t n_elements;
	size_t capacity;
	bool is_doubtful[ORACLE_PAGES]; /* touched since all was known */
};

void world_journal_init(struct world_journal *journal, const struct policy *policy);
void world_journal_destroy(struct world_journal *journal);

/* vm_ops' record and refused. */
int world_journal_record(struct world *world, const struct vm_batch *batch,
			 const struct vm_in_force *in_force, uint64_t *ret_durable);
void world_journal_refused(struct world *world, const struct vm_update *update,
			   enum kvmattr_status status, const char *text);

/* Checks: the update may be answered so. */
void world_journal_expect_answer(const struct world *world, unsigned int id,
				 enum kvmattr_status status, uint32_t n_in_force, const char *text);
/* Checks: the journal says what the VM's policy is; not while a batch is under way. */
void world_journal_expect_policy(const struct world *world);

/* All that is recorded, or some of it, is durable, and the VM is told so. */
void world_sync(struct world *world);
void world_sync_some(struct world *world);

/*
 * The daemon dies, while its executor has done some of what it was told; another one finds the
 * journal.  Who was not answered is answered from it, or asks again.  The VM waits for vm_start().
 */
void world_die(struct world *world);

#endif
