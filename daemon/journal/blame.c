/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "blame.h"

#include "daemon/allocate.h"
#include "daemon/policy/fold.h"

#include <assert.h>
#include <string.h>

/* What is remembered while the past goes by. */
struct search {
	const struct past_source *source;
	const struct blame_question *question;
	struct replay replay;
	uint64_t from_commit; /* the past that is seen begins behind it */
	uint64_t i;           /* of the entries of one commit */
	uint64_t commit;
	bool is_open; /* before() has found the step to be one */
	struct blame_entry entry;
	struct blame_entry *ring; /* the newest max of them */
	size_t max;
	uint64_t n; /* found, those that were dropped included */
};

static uint8_t attributes_now(const struct search *search)
{
	const struct policy *policy = search->replay.policy;
	int8_t view = policy->view_of_vtl[search->question->vtl];

	if (view < 0 || !(attribute_map_get(&policy->pages, search->question->gfn) & PAGE_IS_RAM))
		return PAST_NO_RAM;
	return fold_effective_at(policy, &policy->views[view], search->question->gfn);
}

static bool sets_page(const struct search *search, const struct policy_element *element)
{
	const struct blame_question *question = search->question;
	bool is_in_range = question->gfn >= element->range.gfn &&
			   question->gfn - element->range.gfn < element->range.n_pages;
	bool is_below = question->vtl < element->layer;

	switch (element->kind) {
	case KVMATTR_PROTECT:
		return is_in_range && is_below && element->restricted >> question->vtl & 1;
	case KVMATTR_SET_VISIBILITY:
	case KVMATTR_LOCK:
	case KVMATTR_UNLOCK:
	case KVMATTR_ADD_RAM:
	case KVMATTR_REMOVE_RAM:
		return is_in_range;
	case KVMATTR_ENABLE_LAYER:
	case KVMATTR_RESET_LAYER:
		return is_below && attributes_now(search) != PAST_NO_RAM;
	case KVMATTR_RESET_VM:
		return attributes_now(search) != PAST_NO_RAM;
	case KVMATTR_N_UPDATE_KINDS:
		break;
	}
	return false;
}

static bool is_older(struct blame_place place, struct blame_place than)
{
	return !than.commit || place.commit < than.commit ||
	       (place.commit == than.commit && place.i < than.i);
}

static void before_step(void *context, const struct replay_step *step)
{
	struct search *search = context;

	if (search->commit != step->commit) {
		search->commit = step->commit;
		search->i = 0;
	}
	search->is_open = sets_page(search, step->element);
	if (!search->is_open)
		return;
	search->entry = (struct blame_entry){
		.place = { step->commit, search->i++ },
		.time_us = step->time_us,
		.has_session = step->session,
		.is_operators = step->is_operators,
		.is_import = !step->session && !step->is_operators && search->replay.is_ready,
		.seqno = step->seqno,
		.element = *step->element,
		.before = attributes_now(search),
	};
	if (step->session)
		search->entry.session = *step->session;
}

static void after_step(void *context, const struct replay_step *step)
{
	struct search *search = context;

	(void)step;
	if (!search->is_open || !is_older(search->entry.place, search->question->older_than))
		return;
	search->entry.after = attributes_now(search);
	search->ring[search->n++ % search->max] = search->entry;
}

/* The past begins, maybe anew. */
static void begins(void *context)
{
	struct search *search = context;

	search->from_commit = search->replay.commit;
	search->commit = 0;
	search->n = 0;
}

static bool is_cancelled(void *context)
{
	const struct past_source *source = ((struct search *)context)->source;

	return source->is_cancelled && source->is_cancelled(source->context);
}

static void answer(const struct search *search, struct blame_entry *ret_entries,
		   struct blame_answer *ret)
{
	*ret = (struct blame_answer){
		.n = search->n < search->max ? search->n : search->max,
		.has_more = search->n > search->max,
		.from_commit = search->from_commit,
		.commit = search->replay.commit,
		.now = attributes_now(search),
	};
	for (size_t i = 0; i < ret->n; i++)
		ret_entries[i] = search->ring[(search->n - 1 - i) % search->max];
}

int blame_page(const struct past_source *source, const struct blame_question *question,
	       struct blame_entry *ret_entries, size_t max, struct blame_answer *ret,
	       struct journal_error *ret_error)
{
	struct search search = { .source = source, .question = question, .max = max };
	const struct replay_request request = {
		.limit = REPLAY_ALL,
		.is_from_start = true,
		.observer = { before_step, after_step, &search },
		.begins = begins,
		.is_cancelled = is_cancelled,
		.context = &search,
	};
	struct replay_report report;
	int r;

	assert(max && question->gfn < KVMATTR_GFN_LIMIT);
	search.ring = allocate_zeroed(max, sizeof(*search.ring));
	replay_init(&search.replay);
	search.replay.max_map_bytes = source->max_map_bytes;
	r = journal_replay(source->parent_fd, source->name, &request, &search.replay, &report,
			   ret_error);
	if (!r)
		r = past_check_view(search.replay.policy, question->vtl, ret_error);
	if (!r)
		answer(&search, ret_entries, ret);
	replay_destroy(&search.replay);
	free(search.ring);
	return r;
}
