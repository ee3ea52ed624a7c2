/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/simvm-compare.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_RUNS    2048 /* more than one message can hold */
#define MOST_TOLD 5

static const char *effective_text(int effective, char *text, size_t text_size)
{
	const char *name =
		effective < 0
			? "no RAM"
			: kvmattr_protection_name((unsigned int)effective & KVMATTR_PROTECTION);

	snprintf(text, text_size, "%s%s", name ? name : "?",
		 effective >= 0 && (effective & (int)KVMATTR_PRIVATE) ? ", private" : "");
	return text;
}

/* Counts n_pages pages from gfn on whose account is other than it (effective attributes, or -1). */
static void compare_pages(const uint8_t *pages, unsigned int view, uint64_t gfn, uint64_t n_pages,
			  int effective, const char *account, uint64_t *n_differ)
{
	for (uint64_t end = gfn + n_pages; gfn < end; gfn++) {
		uint8_t enforced = simvm_kernel_effective(pages[gfn]);
		char here[32], there[32];

		if (enforced == effective)
			continue;
		if ((*n_differ)++ < MOST_TOLD)
			fprintf(stderr,
				"kvmattr-simvm: VTL %u, GPA 0x%" PRIx64
				": KVM enforces %s, %s says %s\n",
				view, gfn << KVMATTR_PAGE_SHIFT,
				effective_text(enforced, here, sizeof(here)), account,
				effective_text(effective, there, sizeof(there)));
	}
}

/* One answer's runs, which cover pages from gfn to next; what lies between them is no RAM. */
static int compare_runs(const uint8_t *pages, unsigned int view, uint64_t gfn, uint64_t next,
			const struct kvmattr_run *runs, size_t n_runs, struct simvm_comparison *c)
{
	for (size_t i = 0; i < n_runs; i++) {
		const struct kvmattr_range *range = &runs[i].range;

		if (range->gfn < gfn || range->gfn > next || range->n_pages > next - range->gfn)
			return -EPROTO;
		compare_pages(pages, view, gfn, range->gfn - gfn, -1, "the daemon",
			      &c->differ_from_daemon);
		if (runs[i].state == KVMATTR_IN_FORCE)
			compare_pages(pages, view, range->gfn, range->n_pages, runs[i].attributes,
				      "the daemon", &c->differ_from_daemon);
		else
			c->not_known_to_daemon += range->n_pages;
		gfn = range->gfn + range->n_pages;
	}
	compare_pages(pages, view, gfn, next - gfn, -1, "the daemon", &c->differ_from_daemon);
	return 0;
}

static int compare_with_daemon(struct kvmattr *owner, const uint8_t *pages, unsigned int view,
			       uint64_t n_pages, struct simvm_comparison *c)
{
	struct kvmattr_run *runs = calloc(N_RUNS, sizeof(*runs));
	uint64_t gfn = 0;
	int r = runs ? 0 : -ENOMEM;

	while (r == 0 && gfn < n_pages) {
		struct kvmattr_range range = { .gfn = gfn, .n_pages = n_pages - gfn };
		size_t n_runs;
		uint64_t next;

		r = kvmattr_query(owner, view, range, runs, N_RUNS, &n_runs, &next);
		if (r == 0 && (next <= gfn || next > n_pages))
			r = -EPROTO;
		if (r == 0)
			r = compare_runs(pages, view, gfn, next, runs, n_runs, c);
		gfn = next;
	}
	free(runs);
	return r;
}

static uint8_t *make_oracle(const struct simvm_trace *trace, const struct simvm_agents *agents)
{
	uint8_t *oracle = malloc(trace->ram_pages);

	if (!oracle)
		return NULL;
	memset(oracle, KVMATTR_RWX, trace->ram_pages);
	for (size_t i = 0; i < trace->n_lists; i++) {
		const struct simvm_outcome *outcome = simvm_agents_outcome(agents, i);

		if (outcome->status != SIMVM_UNANSWERED)
			simvm_trace_replay(trace, i, outcome->n_in_force, oracle);
	}
	return oracle;
}

/* Layer 1 imposes on VTL 0 alone; visibility is the same for all. */
static void compare_with_oracle(const uint8_t *pages, unsigned int view, uint64_t n_pages,
				const uint8_t *oracle, enum kvmattr_update_kind kind,
				struct simvm_comparison *c)
{
	bool is_restricted = view == 0 || kind == KVMATTR_SET_VISIBILITY;

	for (uint64_t gfn = 0; gfn < n_pages; gfn++)
		compare_pages(pages, view, gfn, 1, is_restricted ? oracle[gfn] : KVMATTR_RWX,
			      "the trace", &c->differ_from_oracle);
}

int simvm_compare(struct kvmattr *owner, const struct simvm_kernel *kernel, unsigned int n_views,
		  uint64_t n_pages, const struct simvm_trace *trace,
		  const struct simvm_agents *agents, struct simvm_comparison *ret)
{
	struct simvm_comparison c = { .compared = n_views * n_pages };
	uint8_t *oracle = NULL;
	int r = 0;

	if (trace && agents) {
		oracle = make_oracle(trace, agents);
		if (!oracle)
			return -ENOMEM;
		c.has_oracle = true;
		c.calls_fewest = simvm_trace_calls_fewest(oracle, n_pages);
	}
	for (unsigned int view = 0; r == 0 && view < n_views; view++) {
		const uint8_t *pages = simvm_kernel_pages(kernel, view);

		r = compare_with_daemon(owner, pages, view, n_pages, &c);
		if (r == 0 && oracle)
			compare_with_oracle(pages, view, n_pages, oracle, trace->kind, &c);
	}
	free(oracle);
	if (r == 0)
		*ret = c;
	return r;
}
