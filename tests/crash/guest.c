/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/crash/guest.h"

#include "client/simvm-kernel.h"

#include <kvmattr.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME             "guest"
#define N_AGENTS         3u
#define N_VIEWS          2u
#define UPDATES_IN_BURST 4u
#define OWNER_PAGES      64u
#define MAX_LIST         8184u
#define START_TIMEOUT_S  30
#define OUTSIDE          (UINT64_C(1) << 30) /* no RAM */

static const uint8_t protections[] = { KVMATTR_READ, KVMATTR_RX, KVMATTR_RW, 0 };

struct guest;

/* An update on its way, and what its answer has to be. */
struct expectation {
	struct agent *agent;
	uint64_t gfns[MAX_LIST];
	uint32_t n;
	uint8_t protection;
	int status;
	uint32_t n_in_force;
	bool is_answered;
};

/* Speaks for VTL vtl, and has pages of its own, the first of which the owner has locked. */
struct agent {
	struct guest *guest;
	unsigned int vtl;
	uint16_t restricted;
	uint64_t first; /* GFN */
	uint64_t n_pages;
	uint64_t next; /* page that was not protected yet */
	uint64_t random;
	struct kvmattr *connection;
	pthread_t thread;
	struct expectation burst[UPDATES_IN_BURST];
};

struct guest {
	const struct guest_options *options;
	struct simvm_kernel *kernel;
	uint64_t n_pages;
	uint8_t *imposed; /* the oracle: on each page, by the agent whose page it is */
	uint8_t *visibility;
	struct kvmattr *owner;
	struct agent agents[N_AGENTS];
};

__attribute__((format(printf, 1, 2))) static _Noreturn void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	_exit(EXIT_FAILURE);
}

static void expect(struct kvmattr *connection, int result, int expected, const char *what)
{
	if (result != expected)
		fail("%s: %d instead of %d: %s", what, result, expected,
		     kvmattr_message(connection));
}

/* xorshift64* */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

/* ---- The oracle ------------------------------------------------------------------------------ */

static const struct agent *agent_of(const struct guest *guest, uint64_t gfn)
{
	for (unsigned int i = 0; i < N_AGENTS; i++)
		if (gfn - guest->agents[i].first < guest->agents[i].n_pages)
			return &guest->agents[i];
	return NULL;
}

static uint8_t foretell(const struct guest *guest, unsigned int view, uint64_t gfn)
{
	const struct agent *agent = agent_of(guest, gfn);
	uint8_t imposed =
		agent && agent->restricted >> view & 1 ? guest->imposed[gfn] : KVMATTR_RWX;

	return imposed | guest->visibility[gfn];
}

static void expect_enforced(const struct guest *guest, uint64_t gfn)
{
	for (unsigned int view = 0; view < N_VIEWS; view++) {
		uint8_t is = simvm_kernel_effective(simvm_kernel_pages(guest->kernel, view)[gfn]);
		uint8_t has_to_be = foretell(guest, view, gfn);

		if (is != has_to_be)
			fail("VTL %u, GFN 0x%llx: the kernel enforces 0x%x instead of 0x%x", view,
			     (unsigned long long)gfn, is, has_to_be);
	}
}

/* ---- An agent -------------------------------------------------------------------------------- */

static void take_answer(void *context, const struct kvmattr_answer *answer)
{
	struct expectation *expected = context;
	const struct agent *agent = expected->agent;

	if (expected->is_answered)
		fail("VTL %u, seqno %llu: answered twice", agent->vtl,
		     (unsigned long long)answer->seqno);
	expected->is_answered = true;
	if (answer->status != expected->status || answer->n_in_force != expected->n_in_force)
		fail("VTL %u, seqno %llu: status %d and %u elements instead of %d and %u: %s",
		     agent->vtl, (unsigned long long)answer->seqno, answer->status,
		     answer->n_in_force, expected->status, expected->n_in_force, answer->text);
	for (uint32_t i = 0; i < answer->n_in_force; i++)
		agent->guest->imposed[expected->gfns[i]] = expected->protection;
	for (uint32_t i = 0; i < answer->n_in_force; i++)
		expect_enforced(agent->guest, expected->gfns[i]);
}

/* A list of pages that no other update of the burst has; some hold a page that cannot be done. */
static void plan_update(struct agent *agent, struct expectation *update, unsigned int burst,
			unsigned int place)
{
	uint64_t random = next_random(&agent->random);
	unsigned int most = agent->guest->options->pages_per_update;

	update->agent = agent;
	update->is_answered = false;
	update->n = (uint32_t)(most / 2 + random % (most / 2) + 1);
	update->protection = protections[(random >> 32) % sizeof(protections)];
	update->status = KVMATTR_OK;
	update->n_in_force = update->n;
	for (uint32_t i = 0; i < update->n; i++)
		update->gfns[i] = agent->next++;
	if (place == 1 && burst % 2) {
		update->n_in_force = update->n / 2;
		update->gfns[update->n_in_force] = burst % 4 == 1 ? agent->first : OUTSIDE;
		update->status =
			burst % 4 == 1 ? KVMATTR_OPERATION_DENIED : KVMATTR_INVALID_PARAMETER;
	}
}

static void send_burst(struct agent *agent, unsigned int burst)
{
	/* Every fourth time the same pages once more. */
	if (burst % 4 == 3)
		agent->next = agent->first + 1;
	for (unsigned int i = 0; i < UPDATES_IN_BURST; i++) {
		struct expectation *expected = &agent->burst[i];
		struct kvmattr_update update = { .kind = KVMATTR_PROTECT,
						 .layer = (uint8_t)agent->vtl,
						 .restricted = agent->restricted,
						 .gfns = expected->gfns };

		plan_update(agent, expected, burst, i);
		update.value = expected->protection;
		update.n = expected->n;
		expect(agent->connection,
		       kvmattr_submit(agent->connection, &update, take_answer, expected, NULL), 0,
		       "kvmattr_submit()");
	}
	expect(agent->connection, kvmattr_wait(agent->connection), 0, "kvmattr_wait()");
	for (unsigned int i = 0; i < UPDATES_IN_BURST; i++)
		if (!agent->burst[i].is_answered)
			fail("VTL %u: an update was not answered", agent->vtl);
}

static void explain_first(struct agent *agent)
{
	uint64_t gfn = agent->first + 1;
	uint8_t expected = foretell(agent->guest, 0, gfn);
	struct kvmattr_explanation explanation;

	expect(agent->connection,
	       kvmattr_explain(agent->connection, 0, gfn, KVMATTR_WRITE, &explanation), 0,
	       "kvmattr_explain()");
	if (explanation.attributes != expected ||
	    !explanation.allowed != !(expected & KVMATTR_WRITE))
		fail("GFN 0x%llx explained as 0x%x instead of 0x%x", (unsigned long long)gfn,
		     explanation.attributes, expected);
}

static void *run_agent(void *context)
{
	struct agent *agent = context;

	expect(agent->connection,
	       kvmattr_enable_layer(agent->connection, agent->vtl, KVMATTR_RWX, 0), 0,
	       "kvmattr_enable_layer()");
	for (unsigned int burst = 0; burst < agent->guest->options->n_bursts; burst++) {
		send_burst(agent, burst);
		explain_first(agent);
	}
	return NULL;
}

static void open_agent(struct guest *guest, unsigned int i)
{
	struct agent *agent = &guest->agents[i];
	char name[16];
	int fd = -1, r;

	snprintf(name, sizeof(name), "agent-%u", agent->vtl);
	do {
		expect(guest->owner, kvmattr_open_agent(guest->owner, agent->vtl, 0, &fd), 0,
		       "kvmattr_open_agent()");
		/* A socket that was not greeted is all its agent has: if it ends, another is due. */
		r = kvmattr_adopt(fd, name, &agent->connection);
	} while (r == -EPIPE && guest->options->sockets_end);
	expect(NULL, r, 0, "kvmattr_adopt()");
	if (pthread_create(&agent->thread, NULL, run_agent, agent))
		fail("cannot start an agent's thread");
}

/* ---- The owner ------------------------------------------------------------------------------- */

/* The daemon may not serve yet, or be on its way back. */
static void connect_owner(struct guest *guest)
{
	time_t until = time(NULL) + START_TIMEOUT_S;
	int r;

	while ((r = kvmattr_connect(guest->options->agent_socket, "vmm", &guest->owner))) {
		if (time(NULL) > until)
			fail("kvmattr_connect(): %d: %s", r, kvmattr_message(NULL));
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
}

static void register_vm(struct guest *guest)
{
	const struct kvmattr_executor_ops executor = simvm_kernel_executor_ops(guest->kernel);
	const struct kvmattr_view views[N_VIEWS] = {
		{ .vtl = 0, .fd = simvm_kernel_fd(guest->kernel, 0) },
		{ .vtl = 1, .fd = simvm_kernel_fd(guest->kernel, 1) },
	};
	const struct kvmattr_ram ram = { .range = { 0, guest->n_pages } };
	const struct kvmattr_vm vm = { .name = NAME,
				       .views = views,
				       .n_views = N_VIEWS,
				       .ram = &ram,
				       .n_ram = 1,
				       .simulated = &executor };

	expect(guest->owner, kvmattr_register(guest->owner, &vm, NULL), 0, "kvmattr_register()");
	expect(guest->owner, kvmattr_start_executor(guest->owner), 0, "kvmattr_start_executor()");
}

static struct kvmattr_range locked_page(const struct agent *agent)
{
	return (struct kvmattr_range){ agent->first, 1 };
}

/* Pages of its own, private and shared in turn. */
static void convert_pages(struct guest *guest)
{
	uint64_t first = guest->n_pages - OWNER_PAGES;

	for (uint64_t i = 0; i < OWNER_PAGES; i += 4) {
		struct kvmattr_range range = { first + i, 3 };

		expect(guest->owner, kvmattr_set_visibility(guest->owner, 1, &range, 1, NULL), 0,
		       "private");
		memset(guest->visibility + range.gfn, KVMATTR_PRIVATE, range.n_pages);
		expect_enforced(guest, range.gfn);
		range.n_pages = 1;
		expect(guest->owner, kvmattr_set_visibility(guest->owner, 0, &range, 1, NULL), 0,
		       "shared");
		guest->visibility[range.gfn] = 0;
		expect_enforced(guest, range.gfn);
	}
}

static void compare_view(const struct guest *guest, unsigned int view)
{
	uint64_t gfn = 0;

	while (gfn < guest->n_pages) {
		struct kvmattr_run runs[64];
		uint64_t end;
		size_t n;

		expect(guest->owner,
		       kvmattr_query(guest->owner, view,
				     (struct kvmattr_range){ gfn, guest->n_pages - gfn }, runs, 64,
				     &n, &end),
		       0, "kvmattr_query()");
		for (size_t i = 0; i < n; i++) {
			const struct kvmattr_run *run = &runs[i];

			if (run->range.gfn != gfn || run->state != KVMATTR_IN_FORCE)
				fail("VTL %u: the daemon has GFN 0x%llx in state %d", view,
				     (unsigned long long)gfn, run->state);
			for (; gfn < run->range.gfn + run->range.n_pages; gfn++)
				if (run->attributes != foretell(guest, view, gfn))
					fail("VTL %u, GFN 0x%llx: the daemon has 0x%x instead of "
					     "0x%x",
					     view, (unsigned long long)gfn, run->attributes,
					     foretell(guest, view, gfn));
		}
		if (gfn != end)
			fail("VTL %u: the daemon knows no RAM at GFN 0x%llx", view,
			     (unsigned long long)gfn);
	}
}

static void compare(const struct guest *guest)
{
	for (unsigned int view = 0; view < N_VIEWS; view++)
		compare_view(guest, view);
	for (uint64_t gfn = 0; gfn < guest->n_pages; gfn++)
		expect_enforced(guest, gfn);
}

/* Locked once and unlocked once, a page can be changed; had it been locked twice, it could not. */
static void unlock_and_protect(struct guest *guest, struct agent *agent)
{
	struct kvmattr_range page = locked_page(agent);

	expect(guest->owner, kvmattr_unlock(guest->owner, &page, 1, NULL), 0, "kvmattr_unlock()");
	expect(agent->connection,
	       kvmattr_protect(agent->connection, agent->vtl, agent->restricted, KVMATTR_READ,
			       &page.gfn, 1, NULL),
	       0, "a page that was locked once and unlocked once");
	guest->imposed[page.gfn] = KVMATTR_READ;
}

/* ---- Its life -------------------------------------------------------------------------------- */

static void prepare(struct guest *guest, const struct guest_options *options)
{
	uint64_t per_agent =
		(uint64_t)options->n_bursts * UPDATES_IN_BURST * (options->pages_per_update + 1) +
		2;
	struct simvm_kernel_options kernel = { .abi = KVMATTR_ABI_DENY, .n_views = N_VIEWS };

	guest->options = options;
	guest->n_pages = N_AGENTS * per_agent + OWNER_PAGES;
	guest->imposed = malloc(guest->n_pages);
	guest->visibility = calloc(guest->n_pages, 1);
	kernel.n_pages = guest->n_pages;
	if (!guest->imposed || !guest->visibility || simvm_kernel_new(&kernel, &guest->kernel))
		fail("cannot make the simulated kernel");
	memset(guest->imposed, KVMATTR_RWX, guest->n_pages);
	for (unsigned int i = 0; i < N_AGENTS; i++)
		guest->agents[i] = (struct agent){
			.guest = guest,
			.vtl = i + 1,
			.restricted = i == 2 ? 0x3 : 0x1,
			.first = i * per_agent,
			.n_pages = per_agent,
			.next = i * per_agent + 1,
			.random = i + 1,
		};
}

int guest_live(const struct guest_options *options)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	if (!guest)
		fail("no memory");
	prepare(guest, options);
	connect_owner(guest);
	register_vm(guest);
	for (unsigned int i = 0; i < N_AGENTS; i++) {
		struct kvmattr_range page = locked_page(&guest->agents[i]);

		expect(guest->owner, kvmattr_lock(guest->owner, &page, 1, NULL), 0,
		       "kvmattr_lock()");
	}
	for (unsigned int i = 0; i < N_AGENTS; i++)
		open_agent(guest, i);
	convert_pages(guest);
	for (unsigned int i = 0; i < N_AGENTS; i++)
		pthread_join(guest->agents[i].thread, NULL);
	compare(guest);
	for (unsigned int i = 0; i < N_AGENTS; i++)
		unlock_and_protect(guest, &guest->agents[i]);
	compare(guest);

	for (unsigned int i = 0; i < N_AGENTS; i++)
		kvmattr_close(guest->agents[i].connection);
	kvmattr_close(guest->owner);
	simvm_kernel_free(guest->kernel);
	free(guest->imposed);
	free(guest->visibility);
	free(guest);
	return 0;
}
