/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a test expects of a world: what became of an update, and, where nothing is under way, that the
 * VM, the kernel, the journal and the oracle agree about every page.  It looks and changes nothing.
 */
#include "tests/unit/vm-world.h"

#include "tests/unit/seeded-suite.h"

void world_expect(const struct world *world, unsigned int id, enum kvmattr_status status,
		  uint32_t n_in_force)
{
	const struct world_update *update = &world->updates[id];

	EXPECT(update->is_answered, "update %u is not answered", id);
	EXPECT(update->status == status && update->n_in_force == n_in_force,
	       "update %u: %s with %u in force instead of %s with %u: %s", id,
	       kvmattr_status_name(update->status), update->n_in_force, kvmattr_status_name(status),
	       n_in_force, update->text);
}

void world_expect_pending(const struct world *world, unsigned int id)
{
	EXPECT(!world->updates[id].is_answered, "update %u is answered: %s", id,
	       kvmattr_status_name(world->updates[id].status));
}

void world_expect_states(const struct world *world)
{
	struct vm_run run;

	for (unsigned int v = 0; v < world->oracle.n_views; v++)
		for (uint64_t gfn = 0;
		     vm_next_run(world->vm, world->oracle.views[v].vtl, gfn, ORACLE_PAGES, &run);
		     gfn = run.gfn + run.n_pages)
			for (uint64_t i = 0; i < run.n_pages && run.state == WIRE_IN_FORCE; i++)
				EXPECT(world->kernel[v][run.gfn + i] == run.attributes ||
					       world->is_spoilt[v][run.gfn + i],
				       "view %u, page 0x%x: the kernel holds 0x%x instead of 0x%x",
				       v, (unsigned int)(run.gfn + i),
				       world->kernel[v][run.gfn + i], run.attributes);
}

static void expect_runs(const struct world *world, unsigned int view)
{
	struct vm_run run;
	uint64_t n_ram = 0, previous_end = 0;
	uint64_t gfn = 0;

	for (; vm_next_run(world->vm, world->oracle.views[view].vtl, gfn, KVMATTR_GFN_LIMIT, &run);
	     gfn = run.gfn + run.n_pages) {
		EXPECT(run.n_pages && run.gfn >= previous_end, "a run at 0x%x",
		       (unsigned int)run.gfn);
		EXPECT(run.state == WIRE_IN_FORCE, "page 0x%x is not in force",
		       (unsigned int)run.gfn);
		for (uint64_t i = 0; i < run.n_pages; i++)
			EXPECT(world->oracle.pages[run.gfn + i].is_ram &&
				       run.attributes == world->kernel[view][run.gfn + i],
			       "page 0x%x is shown as 0x%x", (unsigned int)(run.gfn + i),
			       run.attributes);
		n_ram += run.n_pages;
		previous_end = run.gfn + run.n_pages;
	}
	ck_assert_uint_eq(n_ram, vm_policy(world->vm)->n_ram_pages);
}

void world_expect_all_in_force(struct world *world)
{
	ck_assert(vm_state(world->vm) == VM_IDLE && !world->is_executing);
	ck_assert_uint_eq(world->n_answered, world->n_updates);
	ck_assert_uint_eq(vm_queue_length(world->vm), 0);
	ck_assert(!vm_is_degraded(world->vm));
	ck_assert_uint_eq(vm_unknown_pages(world->vm), 0);
	oracle_expect_same(&world->oracle, vm_policy(world->vm));
	world_journal_expect_policy(world);
	for (unsigned int v = 0; v < world->oracle.n_views; v++) {
		for (uint64_t gfn = 0; gfn < ORACLE_PAGES; gfn++)
			EXPECT(world->kernel[v][gfn] == oracle_effective(&world->oracle, v, gfn),
			       "view %u, page 0x%x: the kernel holds 0x%x instead of 0x%x", v,
			       (unsigned int)gfn, world->kernel[v][gfn],
			       oracle_effective(&world->oracle, v, gfn));
		expect_runs(world, v);
	}
}
