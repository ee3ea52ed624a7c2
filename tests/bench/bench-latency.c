/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long one update and one question take, alone, from the agent's call to its return.
 *
 * Three processes, as in life: an agent, the daemon, a VMM whose executor simulates KVM.  The peers,
 * in the same run and on the same CPUs: for an update, a message of the same size handed on
 * between three processes and back, which is two raw SEQPACKET ping-pongs; for a question, one
 * between two.  Everything once on one CPU, where a wake-up is a context switch, and once with a
 * CPU for each process, where it is whatever this machine makes of it.
 *
 * Usage: bench-latency KVMATTRD
 */
#include "tests/bench/bench-daemon.h"
#include "tests/bench/samples.h"

#include <kvmattr.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_ROUNDS     20000
#define UPDATE_BYTES 48 /* a message with one update of one page */

static struct bench_place place;
static double samples[N_ROUNDS];
static cpu_set_t all_cpus;

static void die(const char *what)
{
	fprintf(stderr, "bench-latency: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Puts the calling process on the i-th CPU it may use, or on the first if they share one. */
static void pin(int i, int is_shared)
{
	int cpu, n = (is_shared ? 0 : i) % CPU_COUNT(&all_cpus);
	cpu_set_t one;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all_cpus) && !n--)
			break;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		die("sched_setaffinity");
}

struct percentiles {
	double p50, p99;
};

static struct percentiles measure(void (*round)(void *context), void *context)
{
	for (int i = 0; i < N_ROUNDS / 10; i++)
		round(context);
	for (int i = 0; i < N_ROUNDS; i++) {
		double start = samples_now_us();

		round(context);
		samples[i] = samples_now_us() - start;
	}
	samples_sort(samples, N_ROUNDS);
	return (struct percentiles){ samples_quantile(samples, N_ROUNDS, 0.5),
				     samples_quantile(samples, N_ROUNDS, 0.99) };
}

/* ---- The peers: a message handed on through n processes and back --------------------------- */

static void hand_on(int from, int to)
{
	char message[UPDATE_BYTES];
	ssize_t n;

	while ((n = recv(from, message, sizeof(message), 0)) > 0) {
		if (to >= 0 && (send(to, message, (size_t)n, 0) < 0 ||
				recv(to, message, sizeof(message), 0) < 0))
			break;
		if (send(from, message, (size_t)n, 0) < 0)
			break;
	}
	_exit(0);
}

static void ping(void *context)
{
	char message[UPDATE_BYTES] = { 0 };

	if (send(*(int *)context, message, sizeof(message), 0) < 0 ||
	    recv(*(int *)context, message, sizeof(message), 0) < 0)
		die("ping");
}

static struct percentiles measure_peer(int n_hops, int is_shared)
{
	struct percentiles result;
	int near[2], far[2] = { -1, -1 };
	pid_t children[2] = { -1, -1 };

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, near) < 0 ||
	    (n_hops > 1 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, far) < 0))
		die("socketpair");
	for (int i = 0; i < n_hops; i++) {
		children[i] = bench_fork();
		if (children[i])
			continue;
		pin(i + 1, is_shared);
		close(near[0]);
		if (i == 0)
			hand_on(near[1], far[0]);
		hand_on(far[1], -1);
	}
	result = measure(ping, &near[0]);
	for (int i = 0; i < n_hops; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	close(near[0]);
	close(near[1]);
	if (n_hops > 1) {
		close(far[0]);
		close(far[1]);
	}
	return result;
}

/* ---- kvmattrd ------------------------------------------------------------------------------ */

static void simulated_probe(void *context, uint32_t view, int *ret_v10_errno,
			    uint64_t *ret_v10_supported, int *ret_cap_errno, uint64_t *ret_cap)
{
	(void)context;
	(void)view;
	*ret_v10_errno = ENOTTY;
	*ret_v10_supported = 0;
	*ret_cap_errno = 0;
	*ret_cap = 0xf;
}

static int simulated_set(void *context, uint32_t view, enum kvmattr_abi abi, uint64_t *gpa,
			 uint64_t *size, uint64_t attributes)
{
	(void)context;
	(void)view;
	(void)abi;
	(void)attributes;
	*gpa += *size;
	*size = 0;
	return 0;
}

static void pin_daemon(void *is_shared)
{
	pin(1, *(int *)is_shared);
}

/* A VMM with 1 GiB that sends the socket of its VTL 1 agent through channel. */
static void run_vmm(int channel)
{
	const struct kvmattr_executor_ops simulated = { simulated_probe, simulated_set, NULL };
	const struct kvmattr_view view = { .fd = memfd_create("kvmattr-simvm", MFD_CLOEXEC) };
	const struct kvmattr_ram ram = { { 0, 1 << 18 }, 0 };
	const struct kvmattr_vm vm = { "bench", &view, 1, &ram, 1, &simulated };
	char byte = 0;
	struct iovec part = { &byte, 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	struct kvmattr *owner;
	int fd;

	if (kvmattr_connect(place.agent_socket, "bench", &owner) ||
	    kvmattr_register(owner, &vm, NULL) || kvmattr_start_executor(owner) ||
	    kvmattr_open_agent(owner, 1, 0, &fd)) {
		fprintf(stderr, "bench-latency: %s\n", kvmattr_message(owner));
		_exit(1);
	}
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (sendmsg(channel, &message, 0) < 0)
		die("sendmsg");
	close(fd);
	for (;;)
		pause();
}

static int receive_fd(int channel)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	int fd;

	if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		die("the VMM did not start");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static void update(void *context)
{
	static unsigned int turn;
	uint64_t gfn = 4711;

	if (kvmattr_protect(context, 1, KVMATTR_ALL_LOWER, turn++ & 1 ? KVMATTR_R : KVMATTR_RX,
			    &gfn, 1, NULL))
		die("kvmattr_protect");
}

static void explain(void *context)
{
	struct kvmattr_explanation explanation;

	if (kvmattr_explain(context, 0, 4711, KVMATTR_WRITE, &explanation))
		die("kvmattr_explain");
}

static void print(const char *what, struct percentiles ours, struct percentiles peer)
{
	printf("  %-24s %8.1f %8.1f   %8.1f %8.1f   %6.2f\n", what, ours.p50, ours.p99, peer.p50,
	       peer.p99, ours.p50 / peer.p50);
}

static void run(const char *program, int is_shared)
{
	struct percentiles updates, questions, two, one;
	pid_t daemon = bench_daemon_start(&place, program, pin_daemon, &is_shared), vmm;
	struct kvmattr *agent;
	int channel[2];

	bench_daemon_await(&place);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
		die("socketpair");
	vmm = bench_fork();
	if (!vmm) {
		pin(2, is_shared);
		run_vmm(channel[1]);
	}
	close(channel[1]);
	pin(0, is_shared);
	if (kvmattr_adopt(receive_fd(channel[0]), "bench", &agent) ||
	    kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0))
		die("no agent");
	updates = measure(update, agent);
	questions = measure(explain, agent);
	two = measure_peer(2, is_shared);
	one = measure_peer(1, is_shared);
	kvmattr_close(agent);
	kill(vmm, SIGKILL);
	waitpid(vmm, NULL, 0);
	bench_daemon_end(daemon, SIGTERM);
	close(channel[0]);

	printf("%s (us)               p50      p99   peer p50 peer p99    ratio\n",
	       is_shared ? "on one CPU  " : "on three CPUs");
	print("one update, answered", updates, two);
	print("explain", questions, one);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "Usage: %s KVMATTRD\n", argv[0]);
		return 2;
	}
	if (sched_getaffinity(0, sizeof(all_cpus), &all_cpus) < 0)
		die("sched_getaffinity");
	bench_place_make(&place);
	printf("latency, alone, %d rounds; peer: raw SEQPACKET between as many processes\n",
	       N_ROUNDS);
	run(argv[1], 1);
	run(argv[1], 0);
	bench_place_remove(&place);
	return 0;
}
