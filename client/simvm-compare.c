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

/* One view, and what it is compared with. */
struct account {
	unsigned int vtl;
	const uint8_t *pages;  /* the kernel's */
	const uint8_t *oracle; /* effective attributes; NULL: all pages are as they were, open */
	bool has_oracle;
	struct simvm_comparison *c;
};

static void tell(const struct account *account, uint64_t gfn, const char *who, int effective)
{
	char here[32], there[32];

	fprintf(stderr, "kvmattr-simvm: VTL %u, GPA 0x%" PRIx64 ": KVM enforces %s, %s says %s\n",
		account->vtl, gfn << KVMATTR_PAGE_SHIFT,
		effective_text(simvm_kernel_effective(account->pages[gfn]), here, sizeof(here)),
		who, effective_text(effective, there, sizeof(there)));
}

/* Pages of which the daemon says that they are effective (attributes, or -1 for no RAM). */
static void compare_pages(const struct account *account, uint64_t gfn, uint64_t n_pages,
			  int effective)
{
	struct simvm_comparison *c = account->c;

	for (uint64_t end = gfn + n_pages; gfn < end; gfn++) {
		uint8_t enforced = simvm_kernel_effective(account->pages[gfn]);
		uint8_t expected = account->oracle ? account->oracle[gfn] : KVMATTR_RWX;

		if (enforced != effective && c->differ_from_daemon++ < MOST_TOLD)
			tell(account, gfn, "the daemon", effective);
		if (account->has_oracle && enforced != expected &&
		    c->differ_from_oracle++ < MOST_TOLD)
			tell(account, gfn, "the trace", expected);
	}
}

/* One answer's runs, which cover pages from gfn to next; what lies between them is no RAM. */
static int compare_runs(const struct account *account, uint64_t gfn, uint64_t next,
			const struct kvmattr_run *runs, size_t n_runs)
{
	for (size_t i = 0; i < n_runs; i++) {
		const struct kvmattr_range *range = &runs[i].range;

		if (range->gfn < gfn || range->gfn > next || range->n_pages > next - range->gfn)
			return -EPROTO;
		compare_pages(account, gfn, range->gfn - gfn, -1);
		if (runs[i].state == KVMATTR_IN_FORCE)
			compare_pages(account, range->gfn, range->n_pages, runs[i].attributes);
		else
			account->c->not_known_to_daemon += range->n_pages;
		gfn = range->gfn + range->n_pages;
	}
	compare_pages(account, gfn, next - gfn, -1);
	return 0;
}

static int compare_view(struct kvmattr *owner, const struct account *account, uint64_t n_pages)
{
	struct kvmattr_run *runs = calloc(N_RUNS, sizeof(*runs));
	uint64_t gfn = 0;
	int r = runs ? 0 : -ENOMEM;

	while (r == 0 && gfn < n_pages) {
		struct kvmattr_range range = { .gfn = gfn, .n_pages = n_pages - gfn };
		size_t n_runs;
		uint64_t next;

		r = kvmattr_query(owner, account->vtl, range, runs, N_RUNS, &n_runs, &next);
		if (r != 0)
			break;
		if (next <= gfn || next > n_pages)
			r = -EPROTO;
		else
			r = compare_runs(account, gfn, next, runs, n_runs);
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
		struct account account = {
			.vtl = view,
			.pages = simvm_kernel_pages(kernel, view),
			.has_oracle = c.has_oracle,
			.c = &c,
		};

		/* Layer 1 imposes on VTL 0 alone; visibility is the same for all. */
		if (oracle && (view == 0 || trace->kind == KVMATTR_SET_VISIBILITY))
			account.oracle = oracle;
		r = compare_view(owner, &account, n_pages);
	}
	free(oracle);
	if (r == 0)
		*ret = c;
	return r;
}
