/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/simulated-vmm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PAGES 4096
#define N_RUNS        512

/* ---- The executor, with a gate ------------------------------------------------------------- */

static void probe(void *context, uint32_t view, int *ret_v10_errno, uint64_t *ret_v10_supported,
		  int *ret_cap_errno, uint64_t *ret_cap)
{
	struct simulated_vmm *vmm = context;

	vmm->kernel_ops.probe(vmm->kernel_ops.context, view, ret_v10_errno, ret_v10_supported,
			      ret_cap_errno, ret_cap);
}

static bool is_to_fail(const struct simulated_vmm *vmm, uint64_t gpa, uint64_t size,
		       uint64_t attributes)
{
	uint64_t gfn = gpa >> KVMATTR_PAGE_SHIFT, end = gfn + (size >> KVMATTR_PAGE_SHIFT);
	const struct kvmattr_range *range = &vmm->error_range;

	if (!vmm->error || !range->n_pages)
		return vmm->error;
	return attributes && gfn < range->gfn + range->n_pages && end > range->gfn;
}

static int set_attributes(void *context, uint32_t view, enum kvmattr_abi abi, uint64_t *gpa,
			  uint64_t *size, uint64_t attributes)
{
	struct simulated_vmm *vmm = context;
	int error;

	pthread_mutex_lock(&vmm->lock);
	vmm->n_at_gate++;
	pthread_cond_broadcast(&vmm->changed);
	while (vmm->gate_is_closed)
		pthread_cond_wait(&vmm->changed, &vmm->lock);
	vmm->n_at_gate--;
	error = is_to_fail(vmm, *gpa, *size, attributes) ? vmm->error : 0;
	pthread_mutex_unlock(&vmm->lock);
	if (vmm->delay_ms)
		usleep(vmm->delay_ms * 1000);
	if (error)
		return error;
	return vmm->kernel_ops.set_attributes(vmm->kernel_ops.context, view, abi, gpa, size,
					      attributes);
}

static void set_gate(struct simulated_vmm *vmm, bool is_closed)
{
	pthread_mutex_lock(&vmm->lock);
	vmm->gate_is_closed = is_closed;
	pthread_cond_broadcast(&vmm->changed);
	pthread_mutex_unlock(&vmm->lock);
}

void simulated_vmm_close_gate(struct simulated_vmm *vmm)
{
	set_gate(vmm, true);
}

void simulated_vmm_await_call(struct simulated_vmm *vmm)
{
	pthread_mutex_lock(&vmm->lock);
	while (!vmm->n_at_gate) /* the test's timeout is this wait's */
		pthread_cond_wait(&vmm->changed, &vmm->lock);
	pthread_mutex_unlock(&vmm->lock);
}

void simulated_vmm_open_gate(struct simulated_vmm *vmm)
{
	set_gate(vmm, false);
}

void simulated_vmm_fail_at(struct simulated_vmm *vmm, int error, uint64_t gfn, uint64_t n_pages)
{
	pthread_mutex_lock(&vmm->lock);
	vmm->error = error;
	vmm->error_range = (struct kvmattr_range){ gfn, n_pages };
	pthread_mutex_unlock(&vmm->lock);
}

void simulated_vmm_fail(struct simulated_vmm *vmm, int error)
{
	simulated_vmm_fail_at(vmm, error, 0, 0);
}

/* ---- Life ---------------------------------------------------------------------------------- */

static void number_views(struct simulated_vmm *vmm, const struct simulated_vmm_options *options)
{
	bool is_chosen = false;

	vmm->n_views = options->n_views ? options->n_views : 2;
	for (unsigned int i = 0; i < vmm->n_views; i++)
		is_chosen |= options->vtls[i];
	for (unsigned int i = 0; i < vmm->n_views; i++)
		vmm->vtls[i] = is_chosen ? options->vtls[i] : (uint8_t)i;
}

struct simulated_vmm *simulated_vmm_connect(const struct kvmattrd *d,
					    const struct simulated_vmm_options *options)
{
	struct simulated_vmm *vmm = calloc(1, sizeof(*vmm));
	struct simvm_faults faults = { 0 };
	struct simvm_kernel_options kernel_options = { .faults = &faults };
	char text[256] = "";

	ck_assert_ptr_nonnull(vmm);
	number_views(vmm, options);
	vmm->n_pages = options->n_pages ? options->n_pages : DEFAULT_PAGES;
	if (options->faults)
		ck_assert_msg(!simvm_faults_parse(options->faults, &faults, text, sizeof(text)),
			      "%s", text);
	kernel_options.abi = options->abi ? options->abi : KVMATTR_ABI_DENY;
	kernel_options.n_views = vmm->n_views;
	kernel_options.n_pages = options->kernel_pages ? options->kernel_pages : vmm->n_pages;
	ck_assert_int_eq(simvm_kernel_new(&kernel_options, &vmm->kernel), 0);
	vmm->kernel_ops = simvm_kernel_executor_ops(vmm->kernel);
	pthread_mutex_init(&vmm->lock, NULL);
	pthread_cond_init(&vmm->changed, NULL);
	expect_ok(NULL, kvmattr_connect(d->agent_socket, "test-vmm", &vmm->owner));
	return vmm;
}

int simulated_vmm_register(struct simulated_vmm *vmm, const struct simulated_vmm_options *options)
{
	const struct kvmattr_executor_ops ops = {
		.probe = probe,
		.set_attributes = set_attributes,
		.context = vmm,
	};
	const struct kvmattr_ram ram = { .range = { .n_pages = vmm->n_pages },
					 .is_private = options->is_private };
	struct kvmattr_view views[KVMATTR_N_VTLS];
	const struct kvmattr_vm vm = {
		.name = options->name ? options->name : "guest",
		.views = views,
		.n_views = vmm->n_views,
		.ram = &ram,
		.n_ram = options->has_no_ram ? 0 : 1,
		.simulated = &ops,
	};

	for (unsigned int i = 0; i < vmm->n_views; i++)
		views[i] = (struct kvmattr_view){
			.vtl = vmm->vtls[i],
			.fd = simvm_kernel_fd(vmm->kernel, i),
			.pin = options->pin,
		};
	return kvmattr_register(vmm->owner, &vm, &vmm->registration);
}

struct simulated_vmm *simulated_vmm_start(const struct kvmattrd *d,
					  const struct simulated_vmm_options *options)
{
	struct simulated_vmm *vmm = simulated_vmm_connect(d, options);

	expect_ok(vmm->owner, simulated_vmm_register(vmm, options));
	if (!options->has_no_thread)
		expect_ok(vmm->owner, kvmattr_start_executor(vmm->owner));
	return vmm;
}

void simulated_vmm_stop(struct simulated_vmm *vmm)
{
	simulated_vmm_open_gate(vmm);
	simvm_kernel_release(vmm->kernel);
	kvmattr_close(vmm->owner);
	simvm_kernel_free(vmm->kernel);
	pthread_cond_destroy(&vmm->changed);
	pthread_mutex_destroy(&vmm->lock);
	free(vmm);
}

struct kvmattr *simulated_vmm_open_agent(struct simulated_vmm *vmm, unsigned int vtl,
					 unsigned int rights)
{
	struct kvmattr *agent = NULL;
	int fd = -1;

	expect_ok(vmm->owner, kvmattr_open_agent(vmm->owner, vtl, rights, &fd));
	expect_ok(NULL, kvmattr_adopt(fd, "test-agent", &agent));
	return agent;
}

/* ---- Looking ------------------------------------------------------------------------------- */

static const uint8_t *page_table(const struct simulated_vmm *vmm, unsigned int vtl)
{
	for (unsigned int i = 0; i < vmm->n_views; i++)
		if (vmm->vtls[i] == vtl)
			return simvm_kernel_pages(vmm->kernel, i);
	ck_abort_msg("the VM has no view of VTL %u", vtl);
	return NULL;
}

unsigned int simulated_vmm_page(const struct simulated_vmm *vmm, unsigned int vtl, uint64_t gfn)
{
	return simvm_kernel_effective(page_table(vmm, vtl)[gfn]);
}

void simulated_vmm_expect(const char *file, int line, const struct simulated_vmm *vmm,
			  unsigned int vtl, uint64_t gfn, uint64_t n_pages, unsigned int attributes)
{
	const uint8_t *pages = page_table(vmm, vtl);

	for (uint64_t at = gfn; at < gfn + n_pages; at++) {
		unsigned int enforced = simvm_kernel_effective(pages[at]);

		if (enforced != attributes)
			ck_abort_msg("%s:%d: VTL %u, GFN %lu: the kernel enforces 0x%x, not 0x%x",
				     file, line, vtl, at, enforced, attributes);
	}
}

void expect_agreement(const struct simulated_vmm *vmm, struct kvmattr *connection, unsigned int vtl)
{
	const uint8_t *pages = page_table(vmm, vtl);
	uint64_t gfn = 0, next = 0;

	while (gfn < vmm->n_pages) {
		struct kvmattr_range range = { gfn, vmm->n_pages - gfn };
		struct kvmattr_run runs[N_RUNS];
		size_t n_runs = 0;

		expect_ok(connection,
			  kvmattr_query(connection, vtl, range, runs, N_RUNS, &n_runs, &next));
		ck_assert_uint_gt(next, gfn);
		for (size_t i = 0; i < n_runs; i++) {
			ck_assert_int_eq(runs[i].state, KVMATTR_IN_FORCE);
			ck_assert_uint_ge(runs[i].range.gfn, gfn);
			gfn = runs[i].range.gfn;
			for (uint64_t j = 0; j < runs[i].range.n_pages; j++, gfn++)
				if (simvm_kernel_effective(pages[gfn]) != runs[i].attributes)
					ck_abort_msg("VTL %u, GFN %lu: the kernel enforces 0x%x, "
						     "the daemon says 0x%x",
						     vtl, gfn, simvm_kernel_effective(pages[gfn]),
						     runs[i].attributes);
		}
		ck_assert_uint_ge(next, gfn);
		gfn = next;
	}
}

void check_status(const char *file, int line, const struct kvmattr *connection, int result,
		  int status, const char *part)
{
	const char *message = kvmattr_message(connection);

	if (result != status)
		ck_abort_msg("%s:%d: %d (%s: %s), not %s", file, line, result,
			     kvmattr_status_text(result), message,
			     status < 0 ? strerror(-status) : kvmattr_status_name(status));
	if (!strstr(message, part))
		ck_abort_msg("%s:%d: \"%s\" does not say \"%s\"", file, line, message, part);
}

/* ---- Updates ------------------------------------------------------------------------------- */

int protect_range(struct kvmattr *connection, unsigned int layer, unsigned int protection,
		  uint64_t gfn, uint64_t n_pages)
{
	const struct kvmattr_range range = { gfn, n_pages };

	return kvmattr_protect_ranges(connection, layer, KVMATTR_ALL_LOWER, protection, &range, 1,
				      NULL);
}

int set_visibility_of(struct kvmattr *connection, int is_private, uint64_t gfn, uint64_t n_pages)
{
	const struct kvmattr_range range = { gfn, n_pages };

	return kvmattr_set_visibility(connection, is_private, &range, 1, NULL);
}

uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545F4914F6CDD1D);
}
