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
#include <errno.h>
#include <fcntl.h>
#include <kvmattr.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_ROUNDS     20000
#define UPDATE_BYTES 48 /* a message with one update of one page */

static char directory[] = "/tmp/kvmattr-bench.XXXXXX";
static double samples[N_ROUNDS];
static cpu_set_t all_cpus;

static void die(const char *what)
{
	fprintf(stderr, "bench-latency: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
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

/* A child that ends with us. */
static pid_t spawn(void)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

static int compare(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return (one > other) - (one < other);
}

struct percentiles {
	double p50, p99;
};

static struct percentiles measure(void (*round)(void *context), void *context)
{
	for (int i = 0; i < N_ROUNDS / 10; i++)
		round(context);
	for (int i = 0; i < N_ROUNDS; i++) {
		double start = now_us();

		round(context);
		samples[i] = now_us() - start;
	}
	qsort(samples, N_ROUNDS, sizeof(*samples), compare);
	return (struct percentiles){ samples[N_ROUNDS / 2], samples[N_ROUNDS / 100 * 99] };
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
		children[i] = spawn();
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

static pid_t start_daemon(const char *program, int is_shared)
{
	char run[64], state[64], socket_path[80];
	struct stat status;
	pid_t child = spawn();

	snprintf(run, sizeof(run), "%s/run", directory);
	snprintf(state, sizeof(state), "%s/state", directory);
	snprintf(socket_path, sizeof(socket_path), "%s/agent.sock", run);
	if (!child) {
		pin(1, is_shared);
		execl(program, program, "-f", "-r", run, "--state-dir", state, "--allow-simulated",
		      "--log-level", "warning", NULL);
		die(program);
	}
	for (int i = 0; i < 500 && stat(socket_path, &status) < 0; i++)
		usleep(10000);
	return child;
}

/* A VMM with 1 GiB that sends the socket of its VTL 1 agent through channel. */
static void run_vmm(const char *socket_path, int channel)
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

	if (kvmattr_connect(socket_path, "bench", &owner) || kvmattr_register(owner, &vm, NULL) ||
	    kvmattr_start_executor(owner) || kvmattr_open_agent(owner, 1, 0, &fd)) {
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
	pid_t daemon = start_daemon(program, is_shared), vmm;
	char socket_path[80];
	struct kvmattr *agent;
	int channel[2];

	snprintf(socket_path, sizeof(socket_path), "%s/run/agent.sock", directory);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
		die("socketpair");
	vmm = spawn();
	if (!vmm) {
		pin(2, is_shared);
		run_vmm(socket_path, channel[1]);
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
	kill(daemon, SIGTERM);
	waitpid(vmm, NULL, 0);
	waitpid(daemon, NULL, 0);
	close(channel[0]);

	printf("%s (us)               p50      p99   peer p50 peer p99    ratio\n",
	       is_shared ? "on one CPU  " : "on three CPUs");
	print("one update, answered", updates, two);
	print("explain", questions, one);
}

int main(int argc, char **argv)
{
	char command[80];

	if (argc != 2) {
		fprintf(stderr, "Usage: %s KVMATTRD\n", argv[0]);
		return 2;
	}
	if (!mkdtemp(directory) || sched_getaffinity(0, sizeof(all_cpus), &all_cpus) < 0)
		die(directory);
	printf("latency, alone, %d rounds; peer: raw SEQPACKET between as many processes\n",
	       N_ROUNDS);
	run(argv[1], 1);
	run(argv[1], 0);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command) ? 1 : 0;
}
