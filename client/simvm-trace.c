/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/simvm-trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the place of a lone page until all cursors' pages are known. */
#define LONE UINT64_MAX

/* ---- Chance -------------------------------------------------------------------------------- */

/* Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014): splitmix64. */
static uint64_t chance_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 to n - 1. */
static uint64_t chance_below(uint64_t *state, uint64_t n)
{
	return (uint64_t)((unsigned __int128)chance_next(state) * n >> 64);
}

/* (1 - 2^(-1/64)) * 2^64: an end so likely after each page that half the runs are below 64. */
#define RUN_ENDS UINT64_C(198708083776110219)

/* At least x with probability 17/(15 + 2x). */
static uint32_t chance_list_length(uint64_t *state)
{
	uint64_t u = (chance_next(state) >> 32) + 1; /* 1 to 2^32 */
	uint64_t length = ((UINT64_C(17) << 32) / u - 15) / 2;

	return length < SIMVM_TRACE_LIST_PAGES ? (uint32_t)length : SIMVM_TRACE_LIST_PAGES;
}

/* ---- Protections --------------------------------------------------------------------------- */

/*
 * What happens to a page in the whole trace, and to how many, in 180ths of the protections.  A
 * page that is protected twice counts twice, so that each table's sum is 150 where 30 are twice.
 */
struct fate {
	uint8_t first;
	uint8_t second; /* NO_SECOND: protected once */
	uint16_t share;
};

#define NO_SECOND 0xffu

/* none 18, R 45, RX 45, RW 72 protections of 180 */
static const struct fate fates_all[] = {
	{ KVMATTR_RW, KVMATTR_RX, 15 },  { KVMATTR_RW, KVMATTR_R, 15 },
	{ KVMATTR_NONE, NO_SECOND, 18 }, { KVMATTR_R, NO_SECOND, 30 },
	{ KVMATTR_RX, NO_SECOND, 30 },   { KVMATTR_RW, NO_SECOND, 42 },
};

/* R 50, RX 50, RW 80 */
static const struct fate fates_without_none[] = {
	{ KVMATTR_RW, KVMATTR_RX, 15 }, { KVMATTR_RW, KVMATTR_R, 15 }, { KVMATTR_R, NO_SECOND, 35 },
	{ KVMATTR_RX, NO_SECOND, 35 },  { KVMATTR_RW, NO_SECOND, 50 },
};

/* private 150, shared 30 */
static const struct fate fates_visibility[] = {
	{ 1, 0, 30 },
	{ 1, NO_SECOND, 120 },
};

#define MAX_FATES (sizeof(fates_all) / sizeof(fates_all[0]))

struct urn {
	const struct fate *fates;
	size_t n_fates;
	uint64_t left[MAX_FATES]; /* pages */
	uint64_t n_left;
};

static void urn_fill(struct urn *urn, enum kvmattr_abi abi, uint64_t n_protections)
{
	uint64_t rest = n_protections;

	urn->fates = fates_all;
	urn->n_fates = sizeof(fates_all) / sizeof(fates_all[0]);
	if (abi == KVMATTR_ABI_V10) {
		urn->fates = fates_without_none;
		urn->n_fates = sizeof(fates_without_none) / sizeof(fates_without_none[0]);
	} else if (abi == KVMATTR_ABI_MAINLINE) {
		urn->fates = fates_visibility;
		urn->n_fates = sizeof(fates_visibility) / sizeof(fates_visibility[0]);
	}
	urn->n_left = 0;
	for (size_t i = 0; i < urn->n_fates; i++) {
		uint64_t n = n_protections / 180 * urn->fates[i].share +
			     n_protections % 180 * urn->fates[i].share / 180;

		/* The last one takes what rounding left over; it is protected once in all tables. */
		urn->left[i] = i + 1 < urn->n_fates ? n : rest;
		rest -= urn->fates[i].second == NO_SECOND ? urn->left[i] : 2 * urn->left[i];
		urn->n_left += urn->left[i];
	}
}

/* The fate of a slip drawn blindly; it is not taken out yet. */
static size_t urn_draw(const struct urn *urn, uint64_t *state)
{
	uint64_t slip = chance_below(state, urn->n_left);
	size_t i = 0;

	while (slip >= urn->left[i])
		slip -= urn->left[i++];
	return i;
}

static void urn_take(struct urn *urn, size_t fate)
{
	urn->left[fate]--;
	urn->n_left--;
}

/* ---- Cursors ------------------------------------------------------------------------------- */

struct cursor {
	uint64_t next; /* GFN */
	uint64_t end;  /* of its region */
	uint64_t n_turns;
	bool in_run;
	size_t fate;
	uint32_t run;
	size_t *sent; /* lists of the run, to be sent again if that is its fate */
	size_t n_sent;
	size_t n_sent_again;
	size_t sent_capacity;
};

struct generator {
	const struct simvm_trace_options *options;
	struct simvm_trace *trace;
	struct urn urn;
	uint64_t chance;
	size_t lists_capacity;
	struct cursor cursors[SIMVM_TRACE_N_REGIONS];
};

static int append_list(struct generator *generator, struct simvm_list list)
{
	struct simvm_trace *trace = generator->trace;

	if (trace->n_lists == generator->lists_capacity) {
		size_t capacity = trace->n_lists ? 2 * trace->n_lists : 1024;
		struct simvm_list *lists =
			reallocarray(trace->lists, capacity, sizeof(*trace->lists));

		if (!lists)
			return -ENOMEM;
		trace->lists = lists;
		generator->lists_capacity = capacity;
	}
	trace->lists[trace->n_lists++] = list;
	return 0;
}

static int remember_sent(struct cursor *cursor, size_t list)
{
	if (cursor->n_sent == cursor->sent_capacity) {
		size_t capacity = cursor->n_sent ? 2 * cursor->n_sent : 16;
		size_t *sent = reallocarray(cursor->sent, capacity, sizeof(*sent));

		if (!sent)
			return -ENOMEM;
		cursor->sent = sent;
		cursor->sent_capacity = capacity;
	}
	cursor->sent[cursor->n_sent++] = list;
	return 0;
}

static void run_begin(struct generator *generator, struct cursor *cursor)
{
	cursor->in_run = true;
	cursor->fate = urn_draw(&generator->urn, &generator->chance);
	cursor->run = (uint32_t)generator->trace->n_runs++;
}

static void run_end(const struct generator *generator, struct cursor *cursor)
{
	cursor->in_run = false;
	cursor->n_sent_again = 0;
	if (generator->urn.fates[cursor->fate].second == NO_SECOND)
		cursor->n_sent = 0;
}

/* The next list of the cursor's run; none if other cursors took the last slips of its fate. */
static int cut_list(struct generator *generator, struct cursor *cursor, size_t place)
{
	struct simvm_trace *trace = generator->trace;
	uint32_t length = chance_list_length(&generator->chance);
	struct simvm_list list = {
		.first = trace->n_gfns,
		.run = cursor->run,
		.agent = (uint16_t)((place + cursor->n_turns++) % trace->n_agents),
		.value = generator->urn.fates[cursor->fate].first,
	};
	int r;

	while (cursor->in_run && list.n < length && generator->urn.left[cursor->fate]) {
		urn_take(&generator->urn, cursor->fate);
		list.n++;
		if (chance_below(&generator->chance, 10) == 0) {
			trace->gfns[trace->n_gfns++] = LONE;
			trace->n_lone++;
			continue;
		}
		trace->gfns[trace->n_gfns++] = cursor->next++;
		if (chance_next(&generator->chance) < RUN_ENDS || cursor->next == cursor->end)
			cursor->in_run = false;
	}
	if (list.n) {
		r = remember_sent(cursor, trace->n_lists);
		if (r < 0)
			return r;
		r = append_list(generator, list);
		if (r < 0)
			return r;
	}
	if (!cursor->in_run || !generator->urn.left[cursor->fate])
		run_end(generator, cursor);
	return 0;
}

static int send_again(struct generator *generator, struct cursor *cursor)
{
	struct simvm_list list = generator->trace->lists[cursor->sent[cursor->n_sent_again++]];

	list.value = generator->urn.fates[cursor->fate].second;
	list.again = true;
	if (cursor->n_sent_again == cursor->n_sent)
		cursor->n_sent = 0;
	return append_list(generator, list);
}

/* One turn at a cursor; *done stays true if there was nothing left to do. */
static int take_turn(struct generator *generator, size_t place, bool *done)
{
	struct cursor *cursor = &generator->cursors[place];

	if (!cursor->in_run && cursor->n_sent) {
		*done = false;
		return send_again(generator, cursor);
	}
	if (!cursor->in_run) {
		if (!generator->urn.n_left || cursor->next == cursor->end)
			return 0;
		run_begin(generator, cursor);
	}
	*done = false;
	return cut_list(generator, cursor, place);
}

static int cut_lists(struct generator *generator)
{
	uint64_t region_pages = generator->options->ram_pages / SIMVM_TRACE_N_REGIONS;
	bool done;
	int r;

	for (size_t i = 0; i < SIMVM_TRACE_N_REGIONS; i++) {
		generator->cursors[i].next = i * region_pages;
		generator->cursors[i].end = (i + 1) * region_pages;
	}
	do {
		done = true;
		for (size_t i = 0; i < SIMVM_TRACE_N_REGIONS; i++) {
			r = take_turn(generator, i, &done);
			if (r < 0)
				return r;
		}
	} while (!done);
	return 0;
}

/* ---- Lone pages ---------------------------------------------------------------------------- */

/* True if the page was free, which it is no more. */
static bool take_page(uint8_t *taken, uint64_t gfn)
{
	uint8_t bit = (uint8_t)(1u << gfn % 8);

	if (taken[gfn / 8] & bit)
		return false;
	taken[gfn / 8] |= bit;
	return true;
}

static int place_lone_pages(struct generator *generator)
{
	struct simvm_trace *trace = generator->trace;
	uint8_t *taken = calloc(trace->ram_pages / 8 + 1, 1);

	if (!taken)
		return -ENOMEM;
	for (size_t i = 0; i < trace->n_gfns; i++)
		if (trace->gfns[i] != LONE)
			(void)take_page(taken, trace->gfns[i]);
	/* At least half of RAM is free: a free page is soon found. */
	for (size_t i = 0; i < trace->n_gfns; i++)
		while (trace->gfns[i] == LONE) {
			uint64_t gfn = chance_below(&generator->chance, trace->ram_pages);

			if (take_page(taken, gfn))
				trace->gfns[i] = gfn;
		}
	free(taken);
	return 0;
}

/* ---- The trace ----------------------------------------------------------------------------- */

static int check_fit(const struct simvm_trace_options *options, char *text, size_t text_size)
{
	/* 5/6 of the protections are pages of their own, and half of RAM is to stay free. */
	uint64_t n_needed = options->n_protections / 3 * 5 + SIMVM_TRACE_N_REGIONS;

	if (options->n_protections > KVMATTR_GFN_LIMIT / 4 || options->ram_pages < n_needed) {
		snprintf(text, text_size,
			 "%" PRIu64 " protections need %" PRIu64
			 " pages of RAM, and there are %" PRIu64
			 ": give the VM more RAM, or the trace fewer pages",
			 options->n_protections, n_needed, options->ram_pages);
		return -EINVAL;
	}
	if (!options->n_agents || options->n_agents > UINT16_MAX) {
		snprintf(text, text_size, "a trace is sent by 1 to %u agents, not by %u",
			 (unsigned int)UINT16_MAX, options->n_agents);
		return -EINVAL;
	}
	return 0;
}

int simvm_trace_generate(const struct simvm_trace_options *options, struct simvm_trace *ret,
			 char *text, size_t text_size)
{
	struct simvm_trace trace = {
		.kind = options->abi == KVMATTR_ABI_MAINLINE ? KVMATTR_SET_VISIBILITY
							     : KVMATTR_PROTECT,
		.n_protections = options->n_protections,
		.ram_pages = options->ram_pages,
		.n_agents = options->n_agents,
	};
	struct generator generator = { .options = options,
				       .trace = &trace,
				       .chance = options->seed };
	int r;

	r = check_fit(options, text, text_size);
	if (r < 0)
		return r;
	urn_fill(&generator.urn, options->abi, options->n_protections);
	trace.gfns = calloc(generator.urn.n_left + 1, sizeof(*trace.gfns));
	r = trace.gfns ? cut_lists(&generator) : -ENOMEM;
	for (size_t i = 0; i < SIMVM_TRACE_N_REGIONS; i++)
		free(generator.cursors[i].sent);
	if (r == 0)
		r = place_lone_pages(&generator);
	if (r < 0) {
		snprintf(text, text_size,
			 "there is no memory for a trace of %" PRIu64 " protections",
			 options->n_protections);
		simvm_trace_destroy(&trace);
		return r;
	}
	*ret = trace;
	return 0;
}

void simvm_trace_destroy(struct simvm_trace *trace)
{
	free(trace->lists);
	free(trace->gfns);
	memset(trace, 0, sizeof(*trace));
}

/* FNV-1a over the eight bytes of a number, lowest first. */
static uint64_t hash_number(uint64_t hash, uint64_t number)
{
	for (int i = 0; i < 8; i++, number >>= 8)
		hash = (hash ^ (number & 0xff)) * UINT64_C(0x100000001b3);
	return hash;
}

uint64_t simvm_trace_hash(const struct simvm_trace *trace)
{
	uint64_t hash = hash_number(UINT64_C(0xcbf29ce484222325), trace->kind);

	for (size_t i = 0; i < trace->n_lists; i++) {
		const struct simvm_list *list = &trace->lists[i];

		hash = hash_number(hash, list->agent);
		hash = hash_number(hash, list->value);
		for (uint32_t j = 0; j < list->n; j++)
			hash = hash_number(hash, trace->gfns[list->first + j]);
	}
	return hash;
}

uint8_t simvm_trace_effective(const struct simvm_trace *trace, uint8_t value)
{
	if (trace->kind == KVMATTR_PROTECT)
		return value;
	return value ? KVMATTR_RWX | KVMATTR_PRIVATE : KVMATTR_RWX;
}

void simvm_trace_replay(const struct simvm_trace *trace, size_t list, uint32_t n_in_force,
			uint8_t *oracle)
{
	const struct simvm_list *l = &trace->lists[list];
	uint8_t effective = simvm_trace_effective(trace, l->value);

	for (uint32_t i = 0; i < n_in_force && i < l->n; i++)
		oracle[trace->gfns[l->first + i]] = effective;
}

uint64_t simvm_trace_calls_unmerged(const struct simvm_trace *trace)
{
	uint64_t n_calls = 0;

	for (size_t i = 0; i < trace->n_lists; i++) {
		const uint64_t *gfns = trace->gfns + trace->lists[i].first;

		for (uint32_t j = 0; j < trace->lists[i].n; j++)
			n_calls += j == 0 || gfns[j] != gfns[j - 1] + 1;
	}
	return n_calls;
}

uint64_t simvm_trace_calls_fewest(const uint8_t *oracle, uint64_t n_pages)
{
	uint64_t n_calls = 0;

	for (uint64_t gfn = 0; gfn < n_pages; gfn++)
		n_calls +=
			oracle[gfn] != KVMATTR_RWX && (gfn == 0 || oracle[gfn] != oracle[gfn - 1]);
	return n_calls;
}
