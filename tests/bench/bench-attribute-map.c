/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the attribute map takes, in time and memory, for a 64 GiB guest; beside it, in the same
 * run, a flat array of a byte a page, which no map of pages can beat and no daemon can afford.
 *
 * Each number is the median of several repetitions, map and array taking turns.  Both pay for
 * the same random numbers: the first row says how much.  Nothing is asserted about time.
 */
#include "daemon/policy/attribute-map.h"
#include "protocol/kvmattr-types.h"
#include "tests/bench/samples.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUEST_PAGES   (UINT64_C(64) << 30 >> KVMATTR_PAGE_SHIFT)
#define N_OPERATIONS  (UINT64_C(1) << 22)
#define N_REPETITIONS 9

/* Both hold the same policy: every page's protection is another than its neighbours'. */
static struct attribute_map dense_map;
static uint8_t *flat;

/* Pages below this one are picked at random: a power of two. */
static uint64_t n_random_pages;

/* Keeps the compiler from leaving out what nobody looks at. */
static volatile uint64_t sink;

static double now_ns(void)
{
	return samples_now_us() * 1e3;
}

static inline uint64_t random_next(uint64_t *state) /* xorshift64 */
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline uint64_t random_page(uint64_t random)
{
	return random & (n_random_pages - 1);
}

/* One of four protections, none of them the one that a fresh map holds. */
static inline uint8_t random_protection(uint64_t random)
{
	static const uint8_t protections[] = { KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW };

	return protections[random >> 62];
}

static inline uint8_t page_protection(uint64_t gfn)
{
	return random_protection(gfn << 62);
}

static double random_numbers(void)
{
	uint64_t state = 1;
	uint64_t sum = 0;
	const double start = now_ns();

	for (uint64_t i = 0; i < N_OPERATIONS; i++) {
		const uint64_t random = random_next(&state);

		sum += random_page(random) + random_protection(random);
	}
	sink = sum;
	return (now_ns() - start) / (double)N_OPERATIONS;
}

static double map_random_set(void)
{
	uint64_t state = 1;
	uint64_t sum = 0;
	const double start = now_ns();

	for (uint64_t i = 0; i < N_OPERATIONS; i++) {
		const uint64_t random = random_next(&state);

		sum += attribute_map_set(&dense_map, random_page(random),
					 random_protection(random));
	}
	sink = sum;
	return (now_ns() - start) / (double)N_OPERATIONS;
}

static double flat_random_set(void)
{
	uint64_t state = 1;
	uint64_t sum = 0;
	const double start = now_ns();

	for (uint64_t i = 0; i < N_OPERATIONS; i++) {
		const uint64_t random = random_next(&state);
		uint8_t *page = &flat[random_page(random)];

		sum += *page;
		*page = random_protection(random);
	}
	sink = sum;
	return (now_ns() - start) / (double)N_OPERATIONS;
}

/* With the allocation of all leaves and nodes. */
static double map_random_set_fresh(void)
{
	struct attribute_map map;
	uint64_t state = 1;
	double start;
	double end;

	attribute_map_init(&map, KVMATTR_RWX);
	start = now_ns();
	for (uint64_t i = 0; i < N_OPERATIONS; i++) {
		const uint64_t random = random_next(&state);

		attribute_map_set(&map, random_page(random), random_protection(random));
	}
	end = now_ns();
	attribute_map_destroy(&map);
	return (end - start) / (double)N_OPERATIONS;
}

static double flat_random_set_fresh(void)
{
	const double start = now_ns();
	uint8_t *fresh = malloc(GUEST_PAGES);
	uint64_t state = 1;
	double end;

	if (!fresh)
		abort(); /* as allocate() does for the map */
	memset(fresh, KVMATTR_RWX, GUEST_PAGES);
	for (uint64_t i = 0; i < N_OPERATIONS; i++) {
		const uint64_t random = random_next(&state);

		fresh[random_page(random)] = random_protection(random);
	}
	end = now_ns();
	sink = fresh[GUEST_PAGES / 2];
	free(fresh);
	return (end - start) / (double)N_OPERATIONS;
}

static double map_random_get(void)
{
	uint64_t state = 1;
	uint64_t sum = 0;
	const double start = now_ns();

	for (uint64_t i = 0; i < N_OPERATIONS; i++)
		sum += attribute_map_get(&dense_map, random_page(random_next(&state)));
	sink = sum;
	return (now_ns() - start) / (double)N_OPERATIONS;
}

static double flat_random_get(void)
{
	uint64_t state = 1;
	uint64_t sum = 0;
	const double start = now_ns();

	for (uint64_t i = 0; i < N_OPERATIONS; i++)
		sum += flat[random_page(random_next(&state))];
	sink = sum;
	return (now_ns() - start) / (double)N_OPERATIONS;
}

/* Each page follows from what the last one held, so that no two are looked up at a time. */
static double map_lone_get(void)
{
	uint64_t state = 1;
	uint64_t last = 0;
	const double start = now_ns();

	for (uint64_t i = 0; i < N_OPERATIONS; i++)
		last = attribute_map_get(&dense_map, random_page(random_next(&state) + last));
	sink = last;
	return (now_ns() - start) / (double)N_OPERATIONS;
}

static double flat_lone_get(void)
{
	uint64_t state = 1;
	uint64_t last = 0;
	const double start = now_ns();

	for (uint64_t i = 0; i < N_OPERATIONS; i++)
		last = flat[random_page(random_next(&state) + last)];
	sink = last;
	return (now_ns() - start) / (double)N_OPERATIONS;
}

static double map_sequential_set(void)
{
	struct attribute_map map;
	double start;
	double end;

	attribute_map_init(&map, KVMATTR_RWX);
	start = now_ns();
	for (uint64_t gfn = 0; gfn < N_OPERATIONS; gfn++)
		attribute_map_set(&map, gfn, page_protection(gfn));
	end = now_ns();
	attribute_map_destroy(&map);
	return (end - start) / (double)N_OPERATIONS;
}

static double flat_sequential_set(void)
{
	const double start = now_ns();

	for (uint64_t gfn = 0; gfn < N_OPERATIONS; gfn++) {
		flat[gfn] = page_protection(gfn);
		/* A call a page, as to the map: no loop of stores to be vectorized. */
		__asm__ volatile("" ::: "memory");
	}
	return (now_ns() - start) / (double)N_OPERATIONS;
}

/* Every page to one value, so that all leaves are made and folded again. */
static double map_sequential_fold(void)
{
	struct attribute_map map;
	double start;
	double end;

	attribute_map_init(&map, KVMATTR_RWX);
	start = now_ns();
	for (uint64_t gfn = 0; gfn < N_OPERATIONS; gfn++)
		attribute_map_set(&map, gfn, KVMATTR_R);
	end = now_ns();
	sink = map.n_leaves;
	attribute_map_destroy(&map);
	return (end - start) / (double)N_OPERATIONS;
}

static inline uint64_t run_length(uint64_t random)
{
	return 1 + (random >> 32) % 127;
}

static inline uint64_t run_start(uint64_t random)
{
	return random % (GUEST_PAGES - 128);
}

static double map_set_run(void)
{
	const uint64_t n = N_OPERATIONS / 8;
	uint64_t state = 1;
	const double start = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		const uint64_t random = random_next(&state);

		attribute_map_set_range(&dense_map, run_start(random), run_length(random),
					random_protection(random));
	}
	return (now_ns() - start) / (double)n;
}

static double flat_set_run(void)
{
	const uint64_t n = N_OPERATIONS / 8;
	uint64_t state = 1;
	const double start = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		const uint64_t random = random_next(&state);

		memset(flat + run_start(random), random_protection(random), run_length(random));
		__asm__ volatile("" ::: "memory");
	}
	return (now_ns() - start) / (double)n;
}

/* All but the first and the last page of the guest, back and forth. */
static double map_set_guest(void)
{
	const uint64_t n = 1000;
	struct attribute_map map;
	double start;
	double end;

	attribute_map_init(&map, KVMATTR_RWX);
	attribute_map_set_range(&map, 0, GUEST_PAGES, KVMATTR_NONE);
	start = now_ns();
	for (uint64_t i = 0; i < n; i++)
		attribute_map_set_range(&map, 1, GUEST_PAGES - 2, i % 2 ? KVMATTR_R : KVMATTR_RX);
	end = now_ns();
	attribute_map_destroy(&map);
	return (end - start) / (double)n;
}

static double flat_set_guest(void)
{
	const uint64_t n = 8;
	const double start = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		memset(flat + 1, i % 2 ? KVMATTR_R : KVMATTR_RX, GUEST_PAGES - 2);
		__asm__ volatile("" ::: "memory");
	}
	return (now_ns() - start) / (double)n;
}

/* A small part of the guest's pages stays in the processor's caches; of all, hardly any does. */
#define FEW_PAGES (GUEST_PAGES / 64)

static const struct comparison {
	const char *name;
	uint64_t n_random_pages;
	double (*map)(void);
	double (*flat)(void);
} comparisons[] = {
	{ "(the random numbers in both)", GUEST_PAGES, random_numbers, random_numbers },
	{ "set, random page", GUEST_PAGES, map_random_set, flat_random_set },
	{ "set, random page of 1 GiB", FEW_PAGES, map_random_set, flat_random_set },
	{ "set, random page, from empty", GUEST_PAGES, map_random_set_fresh,
	  flat_random_set_fresh },
	{ "get, random page", GUEST_PAGES, map_random_get, flat_random_get },
	{ "get, random page of 1 GiB", FEW_PAGES, map_random_get, flat_random_get },
	{ "get, each after the last", GUEST_PAGES, map_lone_get, flat_lone_get },
	{ "set, page by page, from empty", GUEST_PAGES, map_sequential_set, flat_sequential_set },
	{ "set, page by page, all equal", GUEST_PAGES, map_sequential_fold, flat_sequential_set },
	{ "set_range, 1 to 127 pages", GUEST_PAGES, map_set_run, flat_set_run },
	{ "set_range, all but 2 pages", GUEST_PAGES, map_set_guest, flat_set_guest },
};

static void fill_dense(void)
{
	for (uint64_t gfn = 0; gfn < GUEST_PAGES; gfn++) {
		attribute_map_set(&dense_map, gfn, page_protection(gfn));
		flat[gfn] = page_protection(gfn);
	}
}

static void run_comparison(const struct comparison *comparison)
{
	double of_map[N_REPETITIONS];
	double of_flat[N_REPETITIONS];
	double map_ns, flat_ns;

	fill_dense();
	n_random_pages = comparison->n_random_pages;
	for (size_t i = 0; i < N_REPETITIONS; i++) {
		of_map[i] = comparison->map();
		of_flat[i] = comparison->flat();
	}
	map_ns = samples_median(of_map, N_REPETITIONS);
	flat_ns = samples_median(of_flat, N_REPETITIONS);
	printf("%-30s %10.1f ns %12.1f ns %9.2f\n", comparison->name, map_ns, flat_ns,
	       map_ns / flat_ns);
	fflush(stdout);
}

/* Of the process, in bytes: what the map's memory comes to, with all that it takes beside. */
static size_t resident_memory(void)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	size_t size, resident = 0;

	if (!statm || fscanf(statm, "%zu %zu", &size, &resident) != 2)
		perror("bench-attribute-map: /proc/self/statm");
	if (statm)
		fclose(statm);
	return resident * KVMATTR_PAGE_SIZE;
}

int main(void)
{
	size_t before;
	size_t held;

	flat = malloc(GUEST_PAGES);
	if (!flat) {
		perror("bench-attribute-map: no memory for the flat array");
		return EXIT_FAILURE;
	}
	memset(flat, KVMATTR_RWX, GUEST_PAGES);
	before = resident_memory();
	attribute_map_init(&dense_map, KVMATTR_RWX);
	fill_dense();
	held = resident_memory() - before;
	printf("attribute map, 64 GiB guest, %" PRIu64 " pages, every page unlike its neighbours\n",
	       GUEST_PAGES);
	printf("median of %d             attribute map      flat array     ratio\n", N_REPETITIONS);
	for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++)
		run_comparison(&comparisons[i]);
	printf("%-30s %10.3f    %12.3f    %9.3f\n", "bytes a page",
	       (double)attribute_map_memory(&dense_map) / (double)GUEST_PAGES, 1.0,
	       (double)attribute_map_memory(&dense_map) / (double)GUEST_PAGES);
	printf("%-30s %10.3f    %12.3f    %9.3f\n", "bytes a page, resident",
	       (double)held / (double)GUEST_PAGES, 1.0, (double)held / (double)GUEST_PAGES);
	attribute_map_destroy(&dense_map);
	free(flat);
	return EXIT_SUCCESS;
}
