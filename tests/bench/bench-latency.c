/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long one update and one question take, alone, from the agent's call to its return.
 *
 * Three processes, as in life: an agent, the daemon, a VMM whose executor simulates KVM.  The
 * peers, in the same run and on the same CPUs: for an update, a message of the same size handed on
 * between three processes and back, which is two raw SEQPACKET ping-pongs; for a question, one
 * between two.  And for both, the same daemon without its sandbox (seccomp, Landlock): what that
 * costs.  They take turns, so that noise is everyone's.  Everything once on one CPU, where a
 * wake-up is a context switch, and once with a CPU for each process, where it is whatever this
 * machine makes of it.
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

#define N_TURNS      40
#define N_IN_TURN    500
#define N_WARM_UP    50
#define N_ROUNDS     (N_TURNS * N_IN_TURN)
#define UPDATE_BYTES 48 /* a message with one update of one page */

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

/* Something that is done again and again, and how long that took. */
struct series {
	void (*once)(void *context);
	void *context;
	double us[N_ROUNDS];
	size_t n;
};

static void take_turn(struct series *series)
{
	for (int i = 0; i < N_WARM_UP; i++)
		series->once(series->context);
	for (int i = 0; i < N_IN_TURN; i++) {
		double start = samples_now_us();

		series->once(series->context);
		series->us[series->n++] = samples_now_us() - start;
	}
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

struct peer {
	pid_t children[2];
	int n_children;
	int socket;
};

static void start_peer(struct peer *peer, int n_hops, int is_shared)
{
	int near[2], far[2] = { -1, -1 };

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, near) < 0 ||
	    (n_hops > 1 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, far) < 0))
		die("socketpair");
	for (int i = 0; i < n_hops; i++) {
		peer->children[i] = bench_fork();
		if (peer->children[i])
			continue;
		pin(i + 1, is_shared);
		close(near[0]);
		if (i == 0)
			hand_on(near[1], far[0]);
		hand_on(far[1], -1);
	}
	close(near[1]);
	if (n_hops > 1) {
		close(far[0]);
		close(far[1]);
	}
	peer->n_children = n_hops;
	peer->socket = near[0];
}

static void end_peer(const struct peer *peer)
{
	for (int i = 0; i < peer->n_children; i++) {
		kill(peer->children[i], SIGKILL);
		waitpid(peer->children[i], NULL, 0);
	}
	close(peer->socket);
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
static void run_vmm(const struct bench_place *place, int channel)
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

	if (kvmattr_connect(place->agent_socket, "bench", &owner) ||
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

/* A daemon, a VMM and an agent. */
struct trio {
	struct bench_place place;
	pid_t daemon, vmm;
	int channel;
	struct kvmattr *agent;
};

static void start_trio(struct trio *trio, const char *program, const char *settings, int is_shared)
{
	int channel[2];

	bench_place_make(&trio->place);
	bench_place_configure(&trio->place, settings);
	trio->daemon = bench_daemon_start(&trio->place, program, pin_daemon, &is_shared);
	bench_daemon_await(&trio->place);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
		die("socketpair");
	trio->vmm = bench_fork();
	if (!trio->vmm) {
		pin(2, is_shared);
		run_vmm(&trio->place, channel[1]);
	}
	close(channel[1]);
	trio->channel = channel[0];
	if (kvmattr_adopt(receive_fd(channel[0]), "bench", &trio->agent) ||
	    kvmattr_enable_layer(trio->agent, 1, KVMATTR_RWX, 0))
		die("no agent");
}

static void end_trio(struct trio *trio)
{
	kvmattr_close(trio->agent);
	kill(trio->vmm, SIGKILL);
	waitpid(trio->vmm, NULL, 0);
	bench_daemon_end(trio->daemon, SIGTERM);
	close(trio->channel);
	bench_place_remove(&trio->place);
}

/* ---- All of it ------------------------------------------------------------------------------- */

enum { UPDATE, UPDATE_PEER, UPDATE_FREE, EXPLAIN, EXPLAIN_PEER, EXPLAIN_FREE, N_SERIES };

static struct series all[N_SERIES];

static void set_series(int i, void (*once)(void *context), void *context)
{
	all[i].once = once;
	all[i].context = context;
	all[i].n = 0;
}

static double quantile(int i, double part)
{
	return samples_quantile(all[i].us, all[i].n, part);
}

static void print(const char *what, int i, int peer)
{
	printf("  %-26s %8.1f %8.1f   %8.1f %8.1f   %6.2f\n", what, quantile(i, 0.5),
	       quantile(i, 0.99), quantile(peer, 0.5), quantile(peer, 0.99),
	       quantile(i, 0.5) / quantile(peer, 0.5));
}

static void measure(void)
{
	for (int turn = 0; turn < N_TURNS; turn++)
		for (int i = 0; i < N_SERIES; i++)
			take_turn(&all[i]);
	for (int i = 0; i < N_SERIES; i++)
		samples_sort(all[i].us, all[i].n);
}

static void run(const char *program, int is_shared)
{
	static const char with_sandbox[] = "[daemon]\nlog-level = error\nsandbox = yes\n";
	static const char without_sandbox[] = "[daemon]\nlog-level = error\nsandbox = no\n";
	struct trio confined, unconfined;
	struct peer two, one;

	pin(0, is_shared);
	start_trio(&confined, program, with_sandbox, is_shared);
	start_trio(&unconfined, program, without_sandbox, is_shared);
	start_peer(&two, 2, is_shared);
	start_peer(&one, 1, is_shared);
	set_series(UPDATE, update, confined.agent);
	set_series(UPDATE_PEER, ping, &two.socket);
	set_series(UPDATE_FREE, update, unconfined.agent);
	set_series(EXPLAIN, explain, confined.agent);
	set_series(EXPLAIN_PEER, ping, &one.socket);
	set_series(EXPLAIN_FREE, explain, unconfined.agent);
	measure();
	end_peer(&one);
	end_peer(&two);
	end_trio(&unconfined);
	end_trio(&confined);

	printf("%s (us)                 p50      p99   peer p50 peer p99    ratio\n",
	       is_shared ? "on one CPU  " : "on three CPUs");
	print("one update, answered", UPDATE, UPDATE_PEER);
	print("explain", EXPLAIN, EXPLAIN_PEER);
	print("one update: sandbox, none", UPDATE, UPDATE_FREE);
	print("explain: sandbox, none", EXPLAIN, EXPLAIN_FREE);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "Usage: %s KVMATTRD\n", argv[0]);
		return 2;
	}
	if (sched_getaffinity(0, sizeof(all_cpus), &all_cpus) < 0)
		die("sched_getaffinity");
	printf("latency, alone, %d rounds; peers: raw SEQPACKET between as many processes, "
	       "and the daemon without its sandbox\n",
	       N_ROUNDS);
	run(argv[1], 1);
	run(argv[1], 0);
	return 0;
}
