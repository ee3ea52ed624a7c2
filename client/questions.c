/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions: what holds for these pages, and who denies this access. */
#include "client/connection.h"

_Static_assert((int)KVMATTR_IN_FORCE == (int)WIRE_IN_FORCE &&
		       (int)KVMATTR_PENDING == (int)WIRE_PENDING &&
		       (int)KVMATTR_UNKNOWN == (int)WIRE_UNKNOWN,
	       "states cross the wire as they are");

static int check_vtl(struct kvmattr *c, unsigned int vtl)
{
	if (vtl < KVMATTR_N_VTLS)
		return 0;
	return connection_refuse(c, KVMATTR_INVALID_PARAMETER, "VTL %u: there are VTLs 0 to %d",
				 vtl, KVMATTR_N_VTLS - 1);
}

/* Runs in order, inside the range that was asked, up to next_gfn, which is further on. */
static const char *take_runs(const void *data, const struct wire_runs *runs,
			     struct kvmattr_range asked, struct kvmattr_run *ret)
{
	uint64_t at = asked.gfn;

	if (runs->next_gfn <= at || runs->next_gfn > at + asked.n_pages)
		return "next_gfn";
	for (uint32_t i = 0; i < runs->n_runs; i++) {
		struct wire_run run;
		const char *wrong = wire_at_run(data, i, &run);

		if (wrong)
			return wrong;
		if (run.gfn < at || run.gfn >= runs->next_gfn)
			return "run.gfn";
		if (!run.n_pages || run.n_pages > runs->next_gfn - run.gfn)
			return "run.n_pages";
		at = run.gfn + run.n_pages;
		ret[i] = (struct kvmattr_run){ .range = { run.gfn, run.n_pages },
					       .attributes = (uint8_t)run.attributes,
					       .state = (enum kvmattr_page_state)run.state };
	}
	return NULL;
}

static int query_view(struct kvmattr *c, unsigned int vtl, struct kvmattr_range range,
		      struct kvmattr_run *runs, size_t n_runs, size_t *ret_n_runs,
		      uint64_t *ret_next_gfn)
{
	struct wire_query query = { .gfn = range.gfn,
				    .n_pages = range.n_pages,
				    .vtl = vtl,
				    .max_runs = n_runs < WIRE_MAX_MESSAGE ? (uint32_t)n_runs
									  : WIRE_MAX_MESSAGE };
	struct iovec part = { &query, sizeof(query) };
	struct wire_runs reply;
	const char *wrong;
	int r;

	r = check_vtl(c, vtl);
	if (r)
		return r;
	if (range.gfn >= KVMATTR_GFN_LIMIT || !range.n_pages ||
	    range.n_pages > KVMATTR_GFN_LIMIT - range.gfn)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "GFN 0x%llx and %llu pages are no range of guest memory",
					 (unsigned long long)range.gfn,
					 (unsigned long long)range.n_pages);
	if (!n_runs)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "a query needs room for one run at least");

	r = connection_request(c, WIRE_QUERY, &part, 1, NULL, 0, WIRE_RUNS, NULL);
	if (r)
		return r;
	wrong = wire_get_runs(c->received, c->request.reply_size, &reply);
	if (!wrong && reply.n_runs > n_runs)
		wrong = "n_runs";
	if (!wrong)
		wrong = take_runs(c->received, &reply, range, runs);
	if (wrong)
		return connection_break_protocol(c, WIRE_RUNS, wrong);
	*ret_n_runs = reply.n_runs;
	*ret_next_gfn = reply.next_gfn;
	return 0;
}

int kvmattr_query(struct kvmattr *c, unsigned int vtl, struct kvmattr_range range,
		  struct kvmattr_run *runs, size_t n_runs, size_t *ret_n_runs,
		  uint64_t *ret_next_gfn)
{
	int r = connection_enter(c);

	return r ? r
		 : connection_leave(
			   c, query_view(c, vtl, range, runs, n_runs, ret_n_runs, ret_next_gfn));
}

static int explain_access(struct kvmattr *c, unsigned int vtl, uint64_t gfn, unsigned int access,
			  struct kvmattr_explanation *ret)
{
	struct wire_explain explain = { .gfn = gfn,
					.vtl = (uint8_t)vtl,
					.access = (uint8_t)access };
	struct iovec part = { &explain, sizeof(explain) };
	struct wire_explained reply;
	const char *wrong;
	int r;

	r = check_vtl(c, vtl);
	if (r)
		return r;
	if (!access || access & ~KVMATTR_PROTECTION)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "access 0x%x: one or more of the bits 0x%x", access,
					 KVMATTR_PROTECTION);

	r = connection_request(c, WIRE_EXPLAIN, &part, 1, NULL, 0, WIRE_EXPLAINED, NULL);
	if (r)
		return r;
	wrong = wire_get_explained(c->received, c->request.reply_size, &reply);
	if (!wrong && reply.gfn != gfn)
		wrong = "gfn";
	if (wrong)
		return connection_break_protocol(c, WIRE_EXPLAINED, wrong);
	*ret = (struct kvmattr_explanation){ .allowed = reply.allowed,
					     .layer = reply.layer,
					     .denying = reply.denying,
					     .attributes = reply.attributes,
					     .state = (enum kvmattr_page_state)reply.state };
	return 0;
}

int kvmattr_explain(struct kvmattr *c, unsigned int vtl, uint64_t gfn, unsigned int access,
		    struct kvmattr_explanation *ret)
{
	int r = connection_enter(c);

	return r ? r : connection_leave(c, explain_access(c, vtl, gfn, access, ret));
}
