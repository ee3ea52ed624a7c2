/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "past.h"

#include "daemon/allocate.h"
#include "daemon/policy/fold.h"
#include "directory.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- States -------------------------------------------------------------------------------- */

/* Two: what changed is asked of two. */
#define N_STATES 2

struct past_state {
	bool is_there;
	char name[PAST_NAME_SIZE];
	struct replay replay;
};

struct past_states {
	struct past_state state[N_STATES];
	unsigned int last; /* asked for */
};

struct past_states *past_states_new(void)
{
	return allocate_one(struct past_states);
}

static void forget(struct past_state *state)
{
	if (state->is_there)
		replay_destroy(&state->replay);
	state->is_there = false;
}

void past_states_clear(struct past_states *states)
{
	for (unsigned int i = 0; i < N_STATES; i++)
		forget(&states->state[i]);
}

void past_states_free(struct past_states *states)
{
	if (!states)
		return;
	past_states_clear(states);
	free(states);
}

static size_t memory_of(const struct replay *replay)
{
	size_t size = policy_memory(replay->policy) +
		      replay->doubtful.capacity * sizeof(*replay->doubtful.range);

	for (size_t i = 0; i < replay->n_sessions; i++)
		size += replay->sessions[i].failures_capacity *
			sizeof(*replay->sessions[i].failures);
	return size + replay->sessions_capacity * sizeof(*replay->sessions);
}

size_t past_states_memory(const struct past_states *states)
{
	size_t size = 0;

	for (unsigned int i = 0; i < N_STATES; i++)
		if (states->state[i].is_there)
			size += memory_of(&states->state[i].replay);
	return size;
}

static int load(struct past_state *state, const struct past_source *source, uint64_t commit,
		struct journal_error *ret_error)
{
	const struct replay_request request = {
		.limit = commit ? REPLAY_TO_COMMIT : REPLAY_ALL,
		.at = commit,
		.is_cancelled = source->is_cancelled,
		.context = source->context,
	};
	struct replay_report report;
	int r;

	forget(state);
	replay_init(&state->replay);
	state->replay.max_map_bytes = source->max_map_bytes;
	r = journal_replay(source->parent_fd, source->name, &request, &state->replay, &report,
			   ret_error);
	if (r < 0) {
		replay_destroy(&state->replay);
		return r;
	}
	snprintf(state->name, sizeof(state->name), "%s", source->name);
	state->is_there = true;
	return 0;
}

int past_state_at(struct past_states *states, const struct past_source *source, uint64_t commit,
		  const struct replay **ret, struct journal_error *ret_error)
{
	unsigned int i = 0;
	int r = 0;

	while (i < N_STATES &&
	       !(commit && states->state[i].is_there && states->state[i].replay.commit == commit &&
		 !strcmp(states->state[i].name, source->name)))
		i++;
	if (i == N_STATES) {
		i = (states->last + 1) % N_STATES;
		r = load(&states->state[i], source, commit, ret_error);
	}
	if (r < 0)
		return r;
	states->last = i;
	*ret = &states->state[i].replay;
	return 0;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

int past_check_view(const struct policy *policy, unsigned int vtl, struct journal_error *ret_error)
{
	char views[KVMATTR_N_VTLS * 4] = "";
	size_t length = 0;

	if (policy->view_of_vtl[vtl] >= 0)
		return 0;
	for (unsigned int i = 0; i < policy->n_views; i++)
		length += (size_t)snprintf(views + length, sizeof(views) - length, "%s%u",
					   i ? ", " : "", policy->views[i].vtl);
	return journal_error_set(ret_error, ENXIO, "", 0,
				 "the VM has no view of VTL %u; it has views of: %s", vtl, views);
}

/* A view's effective attributes from gfn on, PAST_NO_RAM where there is none. */
static void look(const struct policy *policy, unsigned int vtl, uint64_t gfn, uint64_t limit,
		 struct fold_span *ret_span)
{
	struct attribute_span pages = attribute_map_span(&policy->pages, gfn, limit);

	if (!pages.bytes && !(pages.value & PAGE_IS_RAM)) {
		ret_span->end = pages.end;
		ret_span->is_uniform = true;
		ret_span->value = PAST_NO_RAM;
		return;
	}
	fold_effective(policy, &policy->views[policy->view_of_vtl[vtl]], gfn, pages.end, ret_span);
	if (!pages.bytes)
		return;
	if (ret_span->is_uniform)
		memset(ret_span->bytes, ret_span->value, ret_span->end - gfn);
	ret_span->is_uniform = false;
	for (uint64_t i = 0; i < ret_span->end - gfn; i++)
		if (!(pages.bytes[i] & PAGE_IS_RAM))
			ret_span->bytes[i] = PAST_NO_RAM;
}

static uint8_t byte_of(const struct fold_span *span, uint64_t i)
{
	return span->is_uniform ? span->value : span->bytes[i];
}

/* What is gathered, and where the next page goes. */
struct gathering {
	struct past_run *runs;
	size_t n;
	size_t max;
};

/* False: there is no room for them. */
static bool gather(struct gathering *gathering, uint64_t gfn, uint64_t n_pages, uint8_t before,
		   uint8_t after)
{
	struct past_run *last = gathering->n ? &gathering->runs[gathering->n - 1] : NULL;

	if (last && last->gfn + last->n_pages == gfn && last->before == before &&
	    last->after == after) {
		last->n_pages += n_pages;
		return true;
	}
	if (gathering->n == gathering->max)
		return false;
	gathering->runs[gathering->n++] = (struct past_run){ gfn, n_pages, before, after };
	return true;
}

size_t past_runs(const struct policy *before, const struct policy *after, unsigned int vtl,
		 struct kvmattr_range range, struct past_run *ret_runs, size_t max,
		 uint64_t *ret_next)
{
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;
	struct gathering gathering = { .runs = ret_runs, .max = max };
	struct fold_span one, other;

	assert(limit <= KVMATTR_GFN_LIMIT && after->view_of_vtl[vtl] >= 0 &&
	       (!before || before->view_of_vtl[vtl] >= 0));
	while (gfn < limit) {
		uint64_t step = 1, start = gfn;

		look(after, vtl, gfn, limit, &one);
		if (before)
			look(before, vtl, gfn, one.end, &other);
		else
			other = one;
		if (one.is_uniform && other.is_uniform)
			step = other.end - gfn;
		for (; gfn < other.end; gfn += step) {
			uint8_t is = byte_of(&one, gfn - start), was = byte_of(&other, gfn - start);

			if (before ? is == was : is == PAST_NO_RAM)
				continue;
			if (!gather(&gathering, gfn, step, was, is)) {
				*ret_next = gfn;
				return gathering.n;
			}
		}
	}
	*ret_next = limit;
	return gathering.n;
}

/* Widens the extent to all RAM of the policy. */
static void extend(const struct policy *policy, uint64_t *start, uint64_t *end)
{
	struct attribute_span span;

	for (uint64_t gfn = 0; gfn < KVMATTR_GFN_LIMIT; gfn = span.end) {
		span = attribute_map_span(&policy->pages, gfn, KVMATTR_GFN_LIMIT);
		for (uint64_t i = 0; i < (span.bytes ? span.end - gfn : 1); i++) {
			uint64_t n = span.bytes ? 1 : span.end - gfn;

			if (!((span.bytes ? span.bytes[i] : span.value) & PAGE_IS_RAM))
				continue;
			*start = gfn + i < *start ? gfn + i : *start;
			*end = gfn + i + n > *end ? gfn + i + n : *end;
		}
	}
}

struct kvmattr_range past_extent(const struct policy *before, const struct policy *after)
{
	uint64_t start = KVMATTR_GFN_LIMIT, end = 0;

	if (before)
		extend(before, &start, &end);
	extend(after, &start, &end);
	return start < end ? (struct kvmattr_range){ start, end - start }
			   : (struct kvmattr_range){ 0, 0 };
}
