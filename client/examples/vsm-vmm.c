/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsm-vmm: a small VMM that has kvmattrd keep its guest's memory attributes.
 *
 * The guest has two Virtual Trust Levels, each with its own KVM VM over the same RAM, as VMMs do
 * VSM on KVM today.  The VMM registers both at the daemon, carries out the daemon's calls in a
 * thread or in its event loop, and gives VTL 1's agent, another process, a socket to speak on.
 * Then the agent protects pages, VTL 0 runs into them, and each access is compared with what the
 * policy says; the result is TAP on standard output.
 *
 * Start reading at vmm_register(), or copy from there.
 */
#include "vsm-vmm.h"

#include "protocol/kvm-abi.h"
#include "vsm-cases.h"
#include "vsm-check.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RAM_PAGES      UINT64_C(16384) /* 64 MiB */
#define AGENT_PATIENCE 60000           /* ms until the agent counts as lost */

struct options {
	const char *name;
	const char *agent_socket;
	const char *control_socket;
	int expected_abi;              /* enum kvmattr_abi, or -1 */
	const char *expected_executor; /* "vmm", "daemon", or NULL */
	bool runs_loop;
};

__attribute__((noreturn, format(printf, 1, 2))) static void bail_out(const char *format, ...)
{
	va_list arguments;

	printf("Bail out! ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	exit(EXIT_FAILURE);
}

/* ---- The VMM's side of libkvmattr ---------------------------------------------------------- */

static void vmm_register(struct vmm *vmm)
{
	struct kvmattr_ram ram = { .range = { .gfn = 0, .n_pages = vmm->ram.n_pages } };
	struct kvmattr_view views[VMM_N_VTLS] = {
		{ .vtl = 0, .fd = guest_fd(vmm->vtl[0]) },
		{ .vtl = 1, .fd = guest_fd(vmm->vtl[1]) },
	};
	struct kvmattr_vm vm = {
		.name = vmm->name,
		.views = views,
		.n_views = VMM_N_VTLS,
		.ram = &ram,
		.n_ram = 1,
	};
	int r;

	r = kvmattr_connect(vmm->agent_socket, "vsm-vmm", &vmm->owner);
	if (r)
		bail_out("no connection: %s", kvmattr_message(NULL));
	r = kvmattr_register(vmm->owner, &vm, &vmm->registration);
	if (r)
		bail_out("VM %s cannot be registered: %s", vmm->name, kvmattr_message(vmm->owner));
	if (vmm->registration.executor_in_daemon)
		vmm->runs_loop = false;
	else if (!vmm->runs_loop) {
		r = kvmattr_start_executor(vmm->owner);
		if (r)
			bail_out("no thread for the executor: %s", kvmattr_message(vmm->owner));
	}
}

static void vmm_delegate_vtl1(struct vmm *vmm)
{
	int fd, r;

	r = kvmattr_open_agent(vmm->owner, 1, KVMATTR_RIGHT_VISIBILITY, &fd);
	if (r)
		bail_out("no socket for VTL 1's agent: %s", kvmattr_message(vmm->owner));
	r = agent_hand_over(&vmm->agent, fd);
	if (r)
		bail_out("the agent does not take its socket: %s", strerror(-r));
	close(fd);
}

int vmm_serve_hypercall(struct vmm *vmm, const struct agent_request *request,
			struct agent_answer *ret_answer)
{
	struct pollfd fds[] = {
		{ .fd = vmm->agent.socket, .events = POLLIN },
		/* poll() leaves out a negative one */
		{ .fd = vmm->runs_loop ? kvmattr_executor_fd(vmm->owner) : -1, .events = POLLIN },
	};
	int r = agent_send(&vmm->agent, request);

	while (r == 0) {
		int n = poll(fds, 2, AGENT_PATIENCE);

		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && fds[1].revents)
			r = kvmattr_dispatch_executor(vmm->owner);
		if (n > 0 && fds[0].revents)
			return r ? r : agent_receive(&vmm->agent, ret_answer);
	}
	return r;
}

const char *vmm_executor_name(const struct vmm *vmm)
{
	if (vmm->registration.executor_in_daemon)
		return "daemon";
	return vmm->runs_loop ? "vmm-loop" : "vmm-thread";
}

/* ---- The rest is options and order --------------------------------------------------------- */

static void print_usage(FILE *stream)
{
	fprintf(stream,
		"Usage: vsm-vmm [OPTION]...\n"
		"Has kvmattrd protect a two-VTL guest, and compares what the guest may do with the "
		"policy.\n\n"
		"  --socket PATH           the daemon's agent socket\n"
		"  --control PATH          the daemon's control socket: KVM's statistics are read there\n"
		"  --name NAME             the VM's name (default: vsm-vmm)\n"
		"  --executor thread|loop  the library's thread, or this program's event loop\n"
		"  --expect-abi NAME       fail unless the kernel speaks mainline, deny, v10, v10na\n"
		"  --expect-executor vmm|daemon\n"
		"                          fail unless the calls are made there\n"
		"  --help\n");
}

static struct options parse_options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "control", required_argument, NULL, 'c' },
		{ "name", required_argument, NULL, 'n' },
		{ "executor", required_argument, NULL, 'x' },
		{ "expect-abi", required_argument, NULL, 'A' },
		{ "expect-executor", required_argument, NULL, 'X' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options options = { .name = "vsm-vmm", .expected_abi = -1 };
	bool is_valid = true;
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 's':
			options.agent_socket = optarg;
			break;
		case 'c':
			options.control_socket = optarg;
			break;
		case 'n':
			options.name = optarg;
			break;
		case 'x':
			options.runs_loop = !strcmp(optarg, "loop");
			is_valid &= options.runs_loop || !strcmp(optarg, "thread");
			break;
		case 'A':
			options.expected_abi = kvmattr_abi_from_name(optarg);
			is_valid &= options.expected_abi > KVMATTR_ABI_PROBE;
			break;
		case 'X':
			options.expected_executor = optarg;
			is_valid &= !strcmp(optarg, "vmm") || !strcmp(optarg, "daemon");
			break;
		case 'h':
			print_usage(stdout);
			exit(EXIT_SUCCESS);
		default:
			is_valid = false;
		}
	}
	if (!is_valid || optind != argc) {
		print_usage(stderr);
		exit(2);
	}
	return options;
}

/* Without KVM there is nothing to show, which is no failure unless a dialect was promised. */
__attribute__((noreturn)) static void give_up(const struct options *options, const char *why,
					      int error)
{
	if (options->expected_abi >= 0)
		bail_out("%s: %s", why, strerror(error));
	printf("1..0 # SKIP %s: %s\n", why, strerror(error));
	exit(EXIT_SUCCESS);
}

/*
 * Makes the guest of two VTLs.  False: this kernel has no VM type with memory attributes, and
 * the refusal of an ordinary VM is all that can be shown.
 */
static bool vmm_make_guest(struct vmm *vmm, int kvm, const struct options *options)
{
	int r = 0;

	for (unsigned int vtl = 0; vtl < VMM_N_VTLS && !r; vtl++)
		r = guest_new(kvm, KVM_ABI_X86_SW_PROTECTED_VM, &vmm->ram, &vmm->vtl[vtl]);
	if (r && options->expected_abi >= 0)
		bail_out("KVM makes no VM of type KVM_X86_SW_PROTECTED_VM: %s", strerror(-r));
	return r == 0;
}

int main(int argc, char **argv)
{
	struct options options = parse_options(argc, argv);
	struct vmm vmm = { .name = options.name,
			   .agent_socket = options.agent_socket,
			   .control_socket = options.control_socket,
			   .runs_loop = options.runs_loop };
	struct guest *ordinary;
	int kvm, r, n_failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	r = agent_start(&vmm.agent);
	if (r)
		bail_out("no process for VTL 1's agent: %s", strerror(-r));
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		give_up(&options, "/dev/kvm cannot be opened", errno);
	r = guest_ram_map(RAM_PAGES, &vmm.ram);
	if (r)
		bail_out("no memory for the guest: %s", strerror(-r));
	r = guest_new(kvm, 0, &vmm.ram, &ordinary);
	if (r)
		give_up(&options, "/dev/kvm is there, but makes no VM", -r);

	cases_refuse_ordinary_vm(vmm.agent_socket, options.name, ordinary);
	if (vmm_make_guest(&vmm, kvm, &options)) {
		cases_refuse_wrong_pin(vmm.agent_socket, options.name, vmm.vtl[0],
				       options.expected_abi);
		vmm_register(&vmm);
		vmm_delegate_vtl1(&vmm);
		cases_run(&vmm, options.expected_abi, options.expected_executor);
	} else {
		printf("# this kernel makes no VM of type KVM_X86_SW_PROTECTED_VM; "
		       "the refusal of an ordinary one is all there is to see\n");
	}
	n_failed = check_finish();

	agent_stop(&vmm.agent);
	kvmattr_close(vmm.owner);
	for (unsigned int vtl = 0; vtl < VMM_N_VTLS; vtl++)
		guest_free(vmm.vtl[vtl]);
	guest_free(ordinary);
	guest_ram_unmap(&vmm.ram);
	close(kvm);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
