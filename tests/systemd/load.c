/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMM, its guest and its agents, all busy while the daemon is killed under them, again and again.
 *
 * The guest is real: KVM is asked what it lets a vCPU do, all the time, also while there is no
 * daemon.  Agents, processes of their own, protect pages one by one and many at once, and write
 * down what they were told is in force; the owner locks and unlocks, which counts, so that nothing
 * can be done twice unnoticed.  A command disturbs them (systemctl kill …), so many times; another
 * one may look at the daemon before and behind that.  Afterwards the daemon and the guest are
 * compared with what was written down.
 *
 * How long updates stood still is measured from answer to answer, the longest time for each
 * disturbance.  Results are TAP without numbers, figures are comments.
 */
#include "client/examples/vsm-guest.h"
#include "protocol/kvm-abi.h"
#include "protocol/seqpacket.h"
#include "tests/systemd/load-agents.h"

#include <kvmattr.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Pages of the vCPU that nobody changes, and the one that is locked. */
#define CALM_GFN   UINT64_C(0x200)
#define LOCKED_GFN UINT64_C(0x300)

#define CALM_MS       1000  /* before the first disturbance */
#define N_GOES_ON     20    /* answers by which a busy one has shown that it goes on */
#define PATIENCE_MS   60000 /* until one has stopped for good */
#define PAUSE_NS      500000
#define VCPU_PAUSE_NS 10000000 /* an emulated processor is soon busy with it */
#define N_SAMPLES     128      /* pages of the agents that the guest is asked for */
#define LOST_SHARE    500      /* at most one of so many accesses is tried again */

static const char *label = "load";
static int n_not_ok;

__attribute__((format(printf, 2, 3))) static void report(bool is_ok, const char *format, ...)
{
	va_list arguments;

	n_not_ok += !is_ok;
	printf("%s - %s: ", is_ok ? "ok" : "not ok", label);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
}

/* ---- The guest ------------------------------------------------------------------------------- */

static const unsigned int accesses[] = { KVMATTR_READ, KVMATTR_WRITE, KVMATTR_EXECUTE };

/* Does KVM let VTL 0 do what it is to be let do, and nothing else?  If not, says what it did. */
static bool is_enforced(struct guest *guest, uint64_t gfn, unsigned int access)
{
	struct guest_outcome outcome =
		guest_try(guest, access, (gfn << KVMATTR_PAGE_SHIFT) + 0x800);
	bool is_let = load_shared->protections[gfn] & access;
	bool is_stopped = outcome.result == GUEST_STOPPED &&
			  outcome.gpa >> KVMATTR_PAGE_SHIFT == gfn && outcome.access == access;

	if (is_let ? outcome.result == GUEST_ALLOWED : is_stopped)
		return true;
	printf("# access 0x%x of GFN 0x%" PRIx64 ", which is %slet: %s at GPA 0x%" PRIx64
	       ", access 0x%x; %s\n",
	       access, gfn, is_let ? "" : "not ",
	       outcome.result == GUEST_ALLOWED ? "let" : "stopped", outcome.gpa, outcome.access,
	       outcome.result == GUEST_ASTRAY ? outcome.text : "");
	return false;
}

struct vcpu {
	struct guest *guest;
	pthread_t thread;
	uint64_t n_accesses;
	uint64_t n_wrong;
};

/* Pages that nobody changes any more, tried all the time. */
static void *run_vcpu(void *context)
{
	struct vcpu *vcpu = context;

	while (!load_shared->is_to_stop) {
		for (uint64_t gfn = CALM_GFN; gfn < CALM_GFN + 4; gfn++)
			for (unsigned int i = 0; i < 3; i++) {
				vcpu->n_wrong += !is_enforced(vcpu->guest, gfn, accesses[i]);
				vcpu->n_accesses++;
			}
		nanosleep(&(struct timespec){ .tv_nsec = VCPU_PAUSE_NS }, NULL);
	}
	return NULL;
}

/* ---- The VMM --------------------------------------------------------------------------------- */

struct options {
	const char *socket;
	const char *vm;
	const char *executor; /* "vmm" or "daemon" */
	unsigned int n_rounds;
	bool daemon_stays;
	const char *look; /* for sh; NULL: nobody looks */
	char **command;
};

struct vmm {
	struct guest_ram ram;
	struct guest *vtl[2];
	struct kvmattr *owner;
	struct load_watch watch;
	bool is_locked;
	pid_t agents[LOAD_N_AGENTS];
	int channels[LOAD_N_AGENTS];
	struct vcpu vcpu;
};

static void must(int r, const struct kvmattr *connection, const char *what)
{
	if (!r)
		return;
	printf("Bail out! %s: %s: %s (%s)\n", label, what, kvmattr_status_text(r),
	       kvmattr_message(connection));
	exit(EXIT_FAILURE);
}

static void make_guest(struct vmm *vmm)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), r;

	must(kvm < 0 ? -errno : 0, NULL, "/dev/kvm");
	must(guest_ram_map(LOAD_RAM_PAGES, &vmm->ram), NULL, "the guest's memory");
	for (unsigned int vtl = 0; vtl < 2; vtl++) {
		r = guest_new(kvm, KVM_ABI_X86_SW_PROTECTED_VM, &vmm->ram, &vmm->vtl[vtl]);
		must(r, NULL, "a VM of type KVM_X86_SW_PROTECTED_VM");
	}
	close(kvm);
}

static void register_vm(struct vmm *vmm, const struct options *options)
{
	struct kvmattr_ram ram = { .range = { .n_pages = LOAD_RAM_PAGES } };
	struct kvmattr_view views[] = { { .vtl = 0, .fd = guest_fd(vmm->vtl[0]) },
					{ .vtl = 1, .fd = guest_fd(vmm->vtl[1]) } };
	struct kvmattr_vm vm = {
		.name = options->vm, .views = views, .n_views = 2, .ram = &ram, .n_ram = 1
	};
	struct kvmattr_registration registration;
	const char *executor;

	must(kvmattr_connect(options->socket, "load", &vmm->owner), NULL, "the daemon");
	must(kvmattr_register(vmm->owner, &vm, &registration), vmm->owner, "the registration");
	executor = registration.executor_in_daemon ? "daemon" : "vmm";
	report(!strcmp(executor, options->executor), "registered, calls are made in the %s",
	       executor);
	if (!registration.executor_in_daemon)
		must(kvmattr_start_executor(vmm->owner), vmm->owner, "the executor");
}

/* A layer, the calm pages, and an agent behind each channel. */
static void open_for_business(struct vmm *vmm)
{
	static const uint8_t calm[] = { KVMATTR_R, KVMATTR_RX, KVMATTR_RW, KVMATTR_RWX };
	struct iovec part = { (void *)"", 1 };

	memset(load_shared->protections, KVMATTR_RWX, LOAD_RAM_PAGES);
	must(kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0), vmm->owner, "layer 1");
	for (uint64_t i = 0; i < 4; i++) {
		const uint64_t gfn = CALM_GFN + i;

		must(kvmattr_protect(vmm->owner, 1, KVMATTR_ALL_LOWER, calm[i], &gfn, 1, NULL),
		     vmm->owner, "the calm pages");
		load_shared->protections[gfn] = calm[i];
	}
	for (unsigned int i = 0; i < LOAD_N_AGENTS; i++) {
		int fd;

		must(kvmattr_open_agent(vmm->owner, 1, 0, &fd), vmm->owner, "an agent's socket");
		must(seqpacket_send(vmm->channels[i], &part, 1, &fd, 1, 0), NULL, "an agent");
		close(fd);
	}
	vmm->vcpu.guest = vmm->vtl[0];
	must(-pthread_create(&vmm->vcpu.thread, NULL, run_vcpu, &vmm->vcpu), NULL, "the vCPU");
	vmm->watch = (struct load_watch){ .i = LOAD_OWNER, .last_us = load_now_us() };
}

/* Locks count: one that is done twice, or not at all, shows at the end. */
static void lock_or_unlock(struct vmm *vmm)
{
	const struct kvmattr_range page = { LOCKED_GFN, 1 };
	int r;

	if (load_shared->busy[LOAD_OWNER].n_failures)
		return;
	r = vmm->is_locked ? kvmattr_unlock(vmm->owner, &page, 1, NULL)
			   : kvmattr_lock(vmm->owner, &page, 1, NULL);
	vmm->is_locked = !vmm->is_locked;
	load_note_answer(&vmm->watch);
	if (r)
		load_note_failure(&vmm->watch, r, kvmattr_message(vmm->owner));
	nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
}

/* ---- Disturbances ---------------------------------------------------------------------------- */

/* The daemon's lock file holds it. */
static long daemon_pid(const struct options *options)
{
	char path[256];
	long pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%.*s/kvmattrd.lock",
		 (int)(strrchr(options->socket, '/') - options->socket), options->socket);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%ld", &pid) != 1)
		pid = 0;
	fclose(file);
	return pid;
}

/* Runs it; the owner goes on meanwhile.  Returns whether it ended well. */
static bool run_command(struct vmm *vmm, char **command)
{
	int status = 0;
	pid_t pid;
	int r = posix_spawnp(&pid, command[0], NULL, NULL, command, environ);

	must(-r, NULL, command[0]);
	while (waitpid(pid, &status, WNOHANG) == 0)
		lock_or_unlock(vmm);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Until everyone has had so many more answers.  False: somebody has failed, or is silent. */
static bool wait_for_answers(struct vmm *vmm)
{
	uint64_t before[LOAD_N_BUSY], until_us = load_now_us() + (uint64_t)PATIENCE_MS * 1000;
	unsigned int n_waiting;

	for (unsigned int i = 0; i < LOAD_N_BUSY; i++)
		before[i] = load_shared->busy[i].n_answers;
	do {
		lock_or_unlock(vmm);
		n_waiting = 0;
		for (unsigned int i = 0; i < LOAD_N_BUSY; i++) {
			if (load_shared->busy[i].n_failures)
				return false;
			n_waiting += load_shared->busy[i].n_answers < before[i] + N_GOES_ON;
		}
	} while (n_waiting && load_now_us() < until_us);
	return !n_waiting;
}

/* While all are busy, and in no round of disturbance. */
static void look(struct vmm *vmm, const struct options *options)
{
	char *command[] = { (char *)"sh", (char *)"-c", (char *)options->look, NULL };

	load_shared->round = 0;
	if (options->look && !run_command(vmm, command))
		report(false, "it cannot be looked at: %s", options->look);
}

/* Is it another daemon now, or still the same, as it is to be? */
static bool is_as_wanted(long before, long after, const struct options *options)
{
	return before && after && (before == after) == options->daemon_stays;
}

static void disturb(struct vmm *vmm, const struct options *options)
{
	uint64_t calm_until_us = load_now_us() + CALM_MS * 1000;
	unsigned int n_well = 0;

	while (load_now_us() < calm_until_us)
		lock_or_unlock(vmm);
	look(vmm, options);
	for (unsigned int round = 1; round <= options->n_rounds; round++) {
		long before = daemon_pid(options);
		bool is_well;

		load_shared->round = round;
		is_well = run_command(vmm, options->command);
		is_well &= wait_for_answers(vmm);
		is_well &= is_as_wanted(before, daemon_pid(options), options);
		n_well += is_well;
		if (!is_well)
			break;
	}
	look(vmm, options);
	report(n_well == options->n_rounds,
	       "%u of %u times there was %s daemon, and everyone went on", n_well,
	       options->n_rounds, options->daemon_stays ? "the same" : "another");
}

/* ---- Afterwards ------------------------------------------------------------------------------ */

static void stop_everyone(struct vmm *vmm)
{
	while (vmm->is_locked && !load_shared->busy[LOAD_OWNER].n_failures)
		lock_or_unlock(vmm);
	load_shared->is_to_stop = true;
	for (unsigned int i = 0; i < LOAD_N_AGENTS; i++) {
		close(vmm->channels[i]);
		waitpid(vmm->agents[i], NULL, 0);
	}
	pthread_join(vmm->vcpu.thread, NULL);
}

static void check_failures(void)
{
	uint64_t n_answers = 0, n_failures = 0;
	const char *first = "none";

	for (unsigned int i = 0; i < LOAD_N_BUSY; i++) {
		n_answers += load_shared->busy[i].n_answers;
		n_failures += load_shared->busy[i].n_failures;
		if (*load_shared->busy[i].failure)
			first = load_shared->busy[i].failure;
	}
	report(!n_failures && n_answers, "%" PRIu64 " updates answered, failures: %s", n_answers,
	       first);
}

/* A page that is not locked can be protected, and an unlock too many is refused. */
static void check_locks(struct vmm *vmm)
{
	const struct kvmattr_range page = { LOCKED_GFN, 1 };
	const uint64_t gfn = LOCKED_GFN;
	int r = kvmattr_protect(vmm->owner, 1, KVMATTR_ALL_LOWER, KVMATTR_R, &gfn, 1, NULL);
	int unlocked = kvmattr_unlock(vmm->owner, &page, 1, NULL);

	if (!r)
		load_shared->protections[LOCKED_GFN] = KVMATTR_R;
	report(!r && unlocked > 0,
	       "what was locked was unlocked as often: protecting it gives %s, "
	       "another unlock %s",
	       kvmattr_status_text(r), kvmattr_status_text(unlocked));
}

static void check_map(struct vmm *vmm)
{
	uint64_t gfn = 0, n_same = 0;
	struct kvmattr_run runs[256];
	size_t n;

	while (gfn < LOAD_RAM_PAGES) {
		const struct kvmattr_range rest = { gfn, LOAD_RAM_PAGES - gfn };

		must(kvmattr_query(vmm->owner, 0, rest, runs, 256, &n, &gfn), vmm->owner,
		     "the query");
		for (size_t i = 0; i < n; i++)
			for (uint64_t p = 0; p < runs[i].range.n_pages; p++)
				n_same += runs[i].state == KVMATTR_IN_FORCE &&
					  runs[i].attributes ==
						  load_shared->protections[runs[i].range.gfn + p];
	}
	report(n_same == LOAD_RAM_PAGES,
	       "%" PRIu64 " of %" PRIu64 " pages are as they were last told", n_same,
	       LOAD_RAM_PAGES);
}

static void check_guest(struct vmm *vmm)
{
	uint64_t random = 4711, n = 0, n_right = 0;

	report(vmm->vcpu.n_accesses && !vmm->vcpu.n_wrong,
	       "%" PRIu64 " accesses of the guest meanwhile, %" PRIu64 " of them wrongly let or "
	       "stopped",
	       vmm->vcpu.n_accesses, vmm->vcpu.n_wrong);
	for (unsigned int i = 0; i < N_SAMPLES; i++) {
		uint64_t gfn =
			LOAD_FIRST_GFN + load_draw(&random, LOAD_N_AGENTS * LOAD_PAGES_PER_AGENT);

		for (unsigned int j = 0; j < 3; j++, n++)
			n_right += is_enforced(vmm->vtl[0], gfn, accesses[j]);
	}
	report(n_right == n,
	       "%" PRIu64 " of %" PRIu64 " accesses of the guest afterwards are let "
	       "or stopped as told",
	       n_right, n);
	n += vmm->vcpu.n_accesses;
	report(guest_n_lost(vmm->vtl[0]) <= n / LOST_SHARE,
	       "of these, %u were made again, because the emulated vCPU had lost its way",
	       guest_n_lost(vmm->vtl[0]));
}

static int compare(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

static void print_pauses(const struct options *options)
{
	uint32_t longest[LOAD_MAX_ROUNDS + 1] = { 0 }, calm;
	unsigned int n = options->n_rounds;

	for (unsigned int round = 0; round <= n; round++)
		for (unsigned int i = 0; i < LOAD_N_BUSY; i++)
			if (load_shared->busy[i].longest_us[round] > longest[round])
				longest[round] = load_shared->busy[i].longest_us[round];
	calm = longest[0];
	qsort(longest + 1, n, sizeof(*longest), compare);
	printf("# %s: longest time between two answers, of all agents and the owner, in ms: "
	       "undisturbed %.1f; of %u disturbances min %.1f, median %.1f, max %.1f\n",
	       label, calm / 1e3, n, longest[1] / 1e3, longest[(n + 1) / 2] / 1e3,
	       longest[n] / 1e3);
}

/* ---- Options and order ----------------------------------------------------------------------- */

__attribute__((noreturn)) static void refuse_options(void)
{
	fprintf(stderr,
		"Usage: load [OPTION]... COMMAND [ARGUMENT]...\n"
		"Keeps kvmattrd busy for a real guest while COMMAND disturbs it.\n\n"
		"  --label TEXT          what the results begin with\n"
		"  --socket PATH         the agent socket (default: %s)\n"
		"  --vm NAME             the VM (default: load)\n"
		"  --rounds N            run the command so often, 1 to %d (default: 1)\n"
		"  --daemon-stays        it is to be the same daemon afterwards, not another one\n"
		"  --look COMMAND        have sh run this before the first round and behind the last\n"
		"  --executor vmm|daemon where the calls are to be made (default: vmm)\n",
		KVMATTR_AGENT_SOCKET, LOAD_MAX_ROUNDS);
	exit(2);
}

static struct options parse_options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "label", required_argument, NULL, 'l' },
		{ "socket", required_argument, NULL, 's' },
		{ "vm", required_argument, NULL, 'v' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "daemon-stays", no_argument, NULL, 'd' },
		{ "look", required_argument, NULL, 'k' },
		{ "executor", required_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	struct options options = {
		.socket = KVMATTR_AGENT_SOCKET, .vm = "load", .executor = "vmm", .n_rounds = 1
	};
	int c;

	while ((c = getopt_long(argc, argv, "+", table, NULL)) != -1) {
		switch (c) {
		case 'l':
			label = optarg;
			break;
		case 's':
			options.socket = optarg;
			break;
		case 'v':
			options.vm = optarg;
			break;
		case 'd':
			options.daemon_stays = true;
			break;
		case 'k':
			options.look = optarg;
			break;
		case 'r':
			options.n_rounds = (unsigned int)atoi(optarg);
			break;
		case 'x':
			options.executor = optarg;
			break;
		default:
			refuse_options();
		}
	}
	options.command = argv + optind;
	if (optind == argc || !strchr(options.socket, '/') || options.n_rounds < 1 ||
	    options.n_rounds > LOAD_MAX_ROUNDS)
		refuse_options();
	return options;
}

int main(int argc, char **argv)
{
	struct options options = parse_options(argc, argv);
	struct vmm vmm = { 0 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	load_share();
	for (unsigned int i = 0; i < LOAD_N_AGENTS; i++)
		vmm.agents[i] = load_start_agent(i, &vmm.channels[i]);
	make_guest(&vmm);
	register_vm(&vmm, &options);
	open_for_business(&vmm);
	disturb(&vmm, &options);
	stop_everyone(&vmm);
	check_failures();
	if (!load_shared->busy[LOAD_OWNER].n_failures) {
		check_locks(&vmm);
		check_map(&vmm);
	}
	check_guest(&vmm);
	print_pauses(&options);
	kvmattr_close(vmm.owner);
	for (unsigned int vtl = 0; vtl < 2; vtl++)
		guest_free(vmm.vtl[vtl]);
	guest_ram_unmap(&vmm.ram);
	return n_not_ok ? EXIT_FAILURE : EXIT_SUCCESS;
}
