/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattr-simvm: a VMM without KVM.
 *
 * It registers a VM like any VMM does, through libkvmattr and nothing else, but what carries out
 * the daemon's calls is a simulated kernel (simvm-kernel.h), of any dialect and with any fault.
 * Agents in processes of their own then play a guest's boot (simvm-trace.h, simvm-agents.h), and
 * in the end every page is compared (simvm-compare.h).
 *
 * The daemon takes such a VM only where it was started with --allow-simulated.
 */
#include "client/simvm-agents.h"
#include "client/simvm-compare.h"
#include "client/simvm-kernel.h"
#include "client/simvm-options.h"
#include "client/simvm-report.h"
#include "client/simvm-trace.h"

#include <kvmattr.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* ---- A run --------------------------------------------------------------------------------- */

struct simvm {
	const struct simvm_options *options;
	uint64_t n_pages; /* of RAM */
	struct simvm_kernel *kernel;
	struct simvm_trace trace;
	struct simvm_agents *agents;
	struct kvmattr *owner;
	int signals;          /* SIGINT and SIGTERM come here */
	uint64_t base_commit; /* of the last update before the trace */
	struct simvm_report report;
};

/* What went wrong, with what the library has to say about it.  Returns false. */
static bool fail(const struct simvm *simvm, const char *what, const struct kvmattr *connection,
		 int r)
{
	const char *message = kvmattr_message(connection);

	fprintf(stderr, "kvmattr-simvm: VM %s: %s: %s\n", simvm->options->name, what,
		*message ? message : kvmattr_status_text(r));
	return false;
}

static bool fail_here(const struct simvm *simvm, const char *what, int error)
{
	fprintf(stderr, "kvmattr-simvm: VM %s: %s: %s\n", simvm->options->name, what,
		strerror(error));
	return false;
}

static bool make_trace(struct simvm *simvm)
{
	const struct simvm_options *options = simvm->options;
	struct simvm_trace_options trace_options = {
		.seed = options->seed,
		.ram_pages = simvm->n_pages,
		.n_protections = options->n_pages,
		.n_agents = (unsigned int)options->n_agents,
		.abi = options->abi,
	};
	char text[256];

	if (simvm_trace_generate(&trace_options, &simvm->trace, text, sizeof(text)) == 0)
		return true;
	fprintf(stderr, "kvmattr-simvm: VM %s: there is no such trace: %s\n", options->name, text);
	return false;
}

static bool make_kernel(struct simvm *simvm)
{
	const struct simvm_kernel_options kernel_options = {
		.abi = simvm->options->abi,
		.n_views = (unsigned int)simvm->options->n_views,
		.n_pages = simvm->n_pages,
		.faults = &simvm->options->faults,
	};
	int r = simvm_kernel_new(&kernel_options, &simvm->kernel);

	return r == 0 || fail_here(simvm, "there is no memory for its page tables", -r);
}

static bool connect_owner(struct simvm *simvm)
{
	const struct simvm_options *options = simvm->options;
	char *path = NULL;
	int r;

	if (options->runtime_dir && asprintf(&path, "%s/agent.sock", options->runtime_dir) < 0)
		return fail_here(simvm, "cannot name the daemon's socket", ENOMEM);
	r = kvmattr_connect(path ? path : options->socket, "kvmattr-simvm", &simvm->owner);
	free(path);
	return r == 0 || fail(simvm, "cannot be registered", NULL, r);
}

static bool register_vm(struct simvm *simvm)
{
	const struct simvm_options *options = simvm->options;
	struct kvmattr_executor_ops ops = simvm_kernel_executor_ops(simvm->kernel);
	struct kvmattr_ram ram = { .range = { .gfn = 0, .n_pages = simvm->n_pages } };
	struct kvmattr_view views[KVMATTR_N_VTLS];
	struct kvmattr_vm vm = {
		.name = options->name,
		.views = views,
		.n_views = options->n_views,
		.ram = &ram,
		.n_ram = 1,
		.simulated = &ops,
	};
	int r;

	for (unsigned int vtl = 0; vtl < options->n_views; vtl++)
		views[vtl] = (struct kvmattr_view){
			.vtl = (uint8_t)vtl,
			.fd = simvm_kernel_fd(simvm->kernel, vtl),
			.pin = options->pin,
		};
	r = kvmattr_register(simvm->owner, &vm, NULL);
	return r == 0 || fail(simvm, "kvmattrd does not register it", simvm->owner, r);
}

/* From here on they end what is going on, in order.  Until now they end the process: nothing is
 * registered yet, and a dead executor sits in the main thread. */
static bool take_signals(struct simvm *simvm)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	simvm->signals = signalfd(-1, &signals, SFD_CLOEXEC);
	return simvm->signals >= 0 || fail_here(simvm, "cannot receive signals", errno);
}

/* Its thread inherits that signals are not for it. */
static bool start_executor(struct simvm *simvm)
{
	int r = kvmattr_start_executor(simvm->owner);

	return r == 0 || fail(simvm, "cannot start the executor", simvm->owner, r);
}

/* VTL 1 switches its protections on before any of its agents asks for one. */
static bool enable_layer(struct simvm *simvm)
{
	struct kvmattr_update update = {
		.kind = KVMATTR_ENABLE_LAYER,
		.layer = 1,
		.value = KVMATTR_RWX,
	};
	struct kvmattr_answer answer;
	struct kvmattr *agent = NULL;
	int fd;
	int r = kvmattr_open_agent(simvm->owner, 1, 0, &fd);

	if (r != 0)
		return fail(simvm, "cannot open a socket for VTL 1", simvm->owner, r);
	r = kvmattr_adopt(fd, "simvm-vtl1", &agent);
	if (r != 0)
		return fail(simvm, "cannot become VTL 1's agent", NULL, r);
	r = kvmattr_do_update(agent, &update, &answer);
	if (r != 0)
		fail(simvm, "VTL 1 cannot enable its layer", agent, r);
	else
		simvm->base_commit = answer.commit;
	kvmattr_close(agent);
	return r == 0;
}

static bool start_agents(struct simvm *simvm)
{
	unsigned int n = simvm->trace.n_agents;
	unsigned int rights =
		simvm->trace.kind == KVMATTR_SET_VISIBILITY ? KVMATTR_RIGHT_VISIBILITY : 0;
	int *sockets = calloc(n, sizeof(*sockets));
	int r = sockets ? 0 : -ENOMEM;
	unsigned int i;

	for (i = 0; r == 0 && i < n; i++)
		r = kvmattr_open_agent(simvm->owner, 1, rights, &sockets[i]);
	if (r != 0) {
		fail(simvm, "cannot open the agents' sockets", simvm->owner, r);
		while (sockets && i-- > 1)
			close(sockets[i - 1]);
	} else {
		r = simvm_agents_start(&simvm->trace, sockets,
				       (unsigned int)simvm->options->pipeline, &simvm->agents);
		if (r != 0)
			fail_here(simvm, "cannot start its agents", -r);
	}
	free(sockets);
	return r == 0;
}

/* ---- While it runs ------------------------------------------------------------------------- */

static bool shows_progress(const struct simvm_options *options)
{
	if (options->progress == SIMVM_PROGRESS_AUTO)
		return !options->quiet && isatty(STDERR_FILENO);
	return options->progress == SIMVM_PROGRESS_ALWAYS;
}

static uint64_t batches_of(const struct simvm *simvm, const struct simvm_progress *done)
{
	return done->commit > simvm->base_commit ? done->commit - simvm->base_commit : 0;
}

/* On a terminal one line that changes, elsewhere a line each. */
static void show_progress(const struct simvm *simvm)
{
	struct simvm_progress done = simvm_agents_progress(simvm->agents);
	double elapsed_s = (double)simvm_agents_elapsed_ns(simvm->agents) / 1e9;
	bool is_terminal = isatty(STDERR_FILENO);

	fprintf(stderr, "%s%" PRIu64 " of %" PRIu64 " pages, %.0f a second, %" PRIu64 " batches%s",
		is_terminal ? "\r\033[K" : "", done.pages, simvm->trace.n_protections,
		elapsed_s > 0 ? (double)done.pages / elapsed_s : 0, batches_of(simvm, &done),
		is_terminal ? "" : "\n");
}

/* Returns false when a signal came first. */
static bool wait_for_agents(const struct simvm *simvm)
{
	struct pollfd fds[] = {
		{ .fd = simvm->signals, .events = POLLIN },
		{ .fd = simvm_agents_fd(simvm->agents), .events = POLLIN },
	};
	const int interval_ms = isatty(STDERR_FILENO) ? 100 : 1000;
	bool shows = shows_progress(simvm->options);
	bool has_ended = false;

	while (!has_ended) {
		int n = poll(fds, 2, shows ? interval_ms : -1);

		if (n > 0 && fds[0].revents)
			break;
		has_ended = n > 0 && fds[1].revents;
		if (shows)
			show_progress(simvm);
	}
	if (shows && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (!has_ended)
		fprintf(stderr, "kvmattr-simvm: VM %s: interrupted\n", simvm->options->name);
	return has_ended;
}

static bool play_trace(struct simvm *simvm)
{
	struct simvm_kernel_statistics before, after;
	struct simvm_report *report = &simvm->report;

	if (!enable_layer(simvm) || !start_agents(simvm))
		return false;
	before = simvm_kernel_statistics(simvm->kernel);
	simvm_agents_go(simvm->agents);
	if (!wait_for_agents(simvm))
		return false;
	after = simvm_kernel_statistics(simvm->kernel);
	report->trace = &simvm->trace;
	report->agents = simvm->agents;
	report->agents_lost = simvm_agents_wait(simvm->agents);
	report->done = simvm_agents_progress(simvm->agents);
	report->elapsed_s = (double)simvm_agents_elapsed_ns(simvm->agents) / 1e9;
	report->batches = batches_of(simvm, &report->done);
	report->seed = simvm->options->seed;
	snprintf(report->trace_hash, sizeof(report->trace_hash), "0x%016" PRIx64,
		 simvm_trace_hash(&simvm->trace));
	report->calls_before_trace = before.calls;
	report->kernel.calls = after.calls - before.calls;
	report->kernel.refused = after.refused - before.refused;
	report->kernel.without_effect = after.without_effect - before.without_effect;
	report->kernel.pages = after.pages - before.pages;
	return true;
}

static bool compare(struct simvm *simvm)
{
	struct simvm_report *report = &simvm->report;
	int r = simvm_compare(simvm->owner, simvm->kernel, (unsigned int)simvm->options->n_views,
			      simvm->n_pages, report->trace,
			      report->agents_lost ? NULL : report->agents, &report->comparison);

	report->kernel.pages_outside = simvm_kernel_statistics(simvm->kernel).pages_outside;
	return r == 0 || fail(simvm, "cannot ask kvmattrd what its pages are", simvm->owner, r);
}

static void print_report(struct simvm *simvm)
{
	struct simvm_report *report = &simvm->report;

	report->vm = simvm->options->name;
	report->abi = kvmattr_abi_name(simvm->options->abi);
	report->ram_bytes = simvm->options->ram_bytes;
	report->n_views = (unsigned int)simvm->options->n_views;
	if (simvm->options->json)
		simvm_report_print_json(report, stdout);
	else if (simvm->options->quiet)
		simvm_report_print_verdict(report, stdout);
	else
		simvm_report_print(report, stdout);
	fflush(stdout);
}

/* Until a signal comes, which is well, or the daemon goes, which is not. */
static bool stay(const struct simvm *simvm)
{
	struct pollfd fds[] = {
		{ .fd = simvm->signals, .events = POLLIN },
		{ .fd = kvmattr_fd(simvm->owner), .events = POLLIN },
	};

	if (!simvm->options->quiet)
		fprintf(stderr,
			"kvmattr-simvm: VM %s stays registered; look with kvmattrctl, end with ^C\n",
			simvm->options->name);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			return true;
		if (fds[1].revents) {
			int r = kvmattr_dispatch(simvm->owner);

			if (r != 0)
				return fail(simvm, "kvmattrd let go of it", simvm->owner, r);
		}
	}
}

static bool run(struct simvm *simvm)
{
	bool is_well;

	if (simvm->options->has_trace && !make_trace(simvm))
		return false;
	if (!make_kernel(simvm) || !connect_owner(simvm))
		return false;
	if (!register_vm(simvm) || !take_signals(simvm) || !start_executor(simvm))
		return false;
	if (simvm->options->has_trace && !play_trace(simvm))
		return false;
	if (!compare(simvm))
		return false;
	print_report(simvm);
	is_well = simvm_report_is_well(&simvm->report);
	return (!simvm->options->stay || stay(simvm)) && is_well;
}

int main(int argc, char **argv)
{
	struct simvm_options options;
	struct simvm simvm = { .options = &options, .signals = -1 };
	bool is_well;

	simvm_options_parse(argc, argv, &options);
	simvm.n_pages = options.ram_bytes >> KVMATTR_PAGE_SHIFT;
	is_well = run(&simvm);
	/* A dead executor could not be joined, and agents would be told that their VM is gone. */
	simvm_agents_free(simvm.agents);
	if (simvm.kernel)
		simvm_kernel_release(simvm.kernel);
	kvmattr_close(simvm.owner);
	simvm_kernel_free(simvm.kernel);
	simvm_trace_destroy(&simvm.trace);
	if (simvm.signals >= 0)
		close(simvm.signals);
	return is_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
