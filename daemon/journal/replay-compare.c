/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replay-compare.h"

#include <string.h>

static bool is_same_policy(const struct policy *one, const struct policy *other)
{
	struct image of_one = { 0 }, of_other = { 0 };
	bool is_same;

	if (!one || !other)
		return one == other;
	policy_image_write(one, &of_one);
	policy_image_write(other, &of_other);
	is_same = of_one.size == of_other.size && !memcmp(of_one.data, of_other.data, of_one.size);
	image_destroy(&of_one);
	image_destroy(&of_other);
	return is_same;
}

static bool is_same_session(const struct replay_session *one, const struct replay_session *other)
{
	return !memcmp(&one->facts, &other->facts, sizeof(one->facts)) &&
	       one->settled_seqno == other->settled_seqno && one->n_in_force == other->n_in_force &&
	       (!one->n_in_force || (one->next_n_total == other->next_n_total &&
				     !memcmp(&one->next, &other->next, sizeof(one->next)))) &&
	       one->forgotten_seqno == other->forgotten_seqno &&
	       one->n_failures == other->n_failures &&
	       (!one->n_failures ||
		!memcmp(one->failures, other->failures, one->n_failures * sizeof(*one->failures)));
}

static bool are_same_sessions(const struct replay *log, const struct replay *checkpoint)
{
	if (log->n_sessions != checkpoint->n_sessions ||
	    log->max_session != checkpoint->max_session)
		return false;
	for (size_t i = 0; i < log->n_sessions; i++)
		if (!is_same_session(&log->sessions[i], &checkpoint->sessions[i]))
			return false;
	return true;
}

/* Both are in the order of their ids. */
static bool are_later_sessions(const struct replay *log, const struct replay *checkpoint)
{
	size_t j = 0;

	for (size_t i = 0; i < checkpoint->n_sessions; i++) {
		const struct replay_session *later = &checkpoint->sessions[i];

		while (j < log->n_sessions && log->sessions[j].facts.id < later->facts.id)
			j++;
		if (j == log->n_sessions || log->sessions[j].facts.id != later->facts.id ||
		    log->sessions[j].facts.role != later->facts.role ||
		    log->sessions[j].facts.vtl != later->facts.vtl ||
		    log->sessions[j].settled_seqno > later->settled_seqno)
			return false;
	}
	return true;
}

static bool is_same_registration(const struct replay *one, const struct replay *other)
{
	return !memcmp(&one->facts, &other->facts, sizeof(one->facts)) &&
	       !memcmp(one->views, other->views, one->facts.n_views * sizeof(one->views[0])) &&
	       one->registered_us == other->registered_us && one->is_ready == other->is_ready &&
	       one->is_released == other->is_released;
}

static bool are_same_pages(const struct page_ranges *one, const struct page_ranges *other)
{
	return one->n == other->n &&
	       (!one->n || !memcmp(one->range, other->range, one->n * sizeof(*one->range)));
}

const char *replay_compare(const struct replay *log, const struct replay *checkpoint,
			   bool may_be_from_memory)
{
	if (!is_same_registration(log, checkpoint))
		return "the registration";
	if (log->commit != checkpoint->commit || log->commit_us != checkpoint->commit_us)
		return "the last commit";
	if (!is_same_policy(log->policy, checkpoint->policy))
		return "the policy";
	if (may_be_from_memory)
		return are_later_sessions(log, checkpoint) ? NULL : "the sessions";
	if (!are_same_sessions(log, checkpoint))
		return "the sessions";
	if (!are_same_pages(&log->doubtful, &checkpoint->doubtful))
		return "the pages of which it is not known what KVM holds";
	return NULL;
}
