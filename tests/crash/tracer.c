/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tracer.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSCALL_STOP (SIGTRAP | 0x80) /* with PTRACE_O_TRACESYSGOOD */

/* The calls by which a program leaves something behind, or takes something in. */
static const struct {
	int64_t number;
	const char *name;
} calls[] = {
#define CALL(name)                \
	{                         \
		SYS_##name, #name \
	}
	/* files */
	CALL(openat),
	CALL(close),
	CALL(read),
	CALL(write),
	CALL(pread64),
	CALL(pwrite64),
	CALL(ftruncate),
	CALL(fallocate),
	CALL(fdatasync),
	CALL(fsync),
	CALL(renameat),
	CALL(renameat2),
	CALL(linkat),
	CALL(unlinkat),
	CALL(mkdirat),
	CALL(getdents64),
	CALL(newfstatat),
	CALL(lseek),
	CALL(flock),
	CALL(fcntl),
	CALL(dup),
	CALL(dup3),
	CALL(fchmodat),
#ifdef SYS_open /* what newer machines do without */
	CALL(open),
	CALL(rename),
	CALL(unlink),
	CALL(mkdir),
	CALL(rmdir),
	CALL(chmod),
	CALL(fstat),
	CALL(dup2),
#endif
	/* sockets */
	CALL(socket),
	CALL(socketpair),
	CALL(bind),
	CALL(listen),
	CALL(connect),
	CALL(accept),
	CALL(accept4),
	CALL(sendmsg),
	CALL(sendto),
	CALL(recvmsg),
	CALL(recvfrom),
	CALL(setsockopt),
	CALL(getsockopt),
	CALL(getsockname),
	CALL(getpeername),
	CALL(shutdown),
	/* other descriptors */
	CALL(epoll_create1),
	CALL(epoll_ctl),
	CALL(eventfd2),
	CALL(timerfd_create),
	CALL(pipe2),
	CALL(pidfd_open),
	CALL(ioctl),
#undef CALL
};

const char *tracer_call_name(int64_t call)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i].number == call)
			return calls[i].name;
	return NULL;
}

/* ---- The tracer's process: no Check in here --------------------------------------------------- */

/* What is to be started, and how. */
struct program {
	char *const *arguments;
	const char *log;
	void (*prepare)(void *context);
	void *context;
};

static _Noreturn void run_program(const struct program *program)
{
	int fd = open(program->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(126);
	program->prepare(program->context);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(126);
	raise(SIGSTOP);
	execv(program->arguments[0], program->arguments);
	_exit(127);
}

struct tracing {
	pid_t program;
	uint64_t kill_at;
	bool is_counting;
	struct tracer_report report;
};

/* A thread is about to make a call. */
static void count_call(struct tracing *tracing, int64_t call)
{
	if (call == SYS_flock)
		tracing->is_counting = true;
	if (!tracing->is_counting || tracing->report.call >= 0 || !tracer_call_name(call))
		return;
	if (++tracing->report.n_calls != tracing->kill_at)
		return;
	tracing->report.call = (int32_t)call;
	kill(tracing->program, SIGKILL);
}

static void look(struct tracing *tracing, pid_t thread)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof(info), &info) > 0 &&
	    info.op == PTRACE_SYSCALL_INFO_ENTRY)
		count_call(tracing, (int64_t)info.entry.nr);
}

/* Lets a stopped thread go on to its next call; returns the signal that it stopped for. */
static int signal_of_stop(struct tracing *tracing, pid_t thread, int status)
{
	int number = WSTOPSIG(status);

	if (number == SYSCALL_STOP) {
		look(tracing, thread);
		return 0;
	}
	/* Of its own making: a new thread's first stop, and the stop at exec or clone. */
	return number == SIGSTOP || number == SIGTRAP ? 0 : number;
}

static void trace(struct tracing *tracing)
{
	int status;
	pid_t thread;

	if (waitpid(tracing->program, &tracing->report.status, 0) < 0 ||
	    !WIFSTOPPED(tracing->report.status))
		return;
	ptrace(PTRACE_SETOPTIONS, tracing->program, NULL,
	       (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL |
				   PTRACE_O_TRACECLONE));
	ptrace(PTRACE_SYSCALL, tracing->program, NULL, NULL);
	while ((thread = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (thread < 0)
			continue;
		if (WIFSTOPPED(status))
			ptrace(PTRACE_SYSCALL, thread, NULL,
			       (void *)(uintptr_t)signal_of_stop(tracing, thread, status));
		else if (thread == tracing->program)
			tracing->report.status = status;
	}
}

static _Noreturn void run_tracer(const struct program *program, uint64_t kill_at, int report)
{
	struct tracing tracing = { .kill_at = kill_at, .report.call = -1 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tracing.program = fork();
	if (!tracing.program)
		run_program(program);
	if (write(report, &tracing.program, sizeof(pid_t)) != sizeof(pid_t))
		_exit(1);
	trace(&tracing);
	_exit(write(report, &tracing.report, sizeof(tracing.report)) != sizeof(tracing.report));
}

/* ---- Its starter's -------------------------------------------------------------------------- */

void tracer_start(struct tracer *tracer, char *const *arguments, const char *log,
		  void (*prepare)(void *context), void *context, uint64_t kill_at)
{
	const struct program program = { arguments, log, prepare, context };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		err(EXIT_FAILURE, "pipe2");
	tracer->pid = fork();
	if (tracer->pid < 0)
		err(EXIT_FAILURE, "fork");
	if (!tracer->pid) {
		close(ends[0]);
		run_tracer(&program, kill_at, ends[1]);
	}
	close(ends[1]);
	tracer->report = ends[0];
	if (read(ends[0], &tracer->program, sizeof(tracer->program)) != sizeof(tracer->program))
		errx(EXIT_FAILURE, "the tracer did not start");
}

bool tracer_ends_before(const struct tracer *tracer, pid_t other)
{
	struct pollfd ends[] = {
		{ .fd = tracer->report, .events = POLLIN },
		{ .fd = pidfd_open(other, 0), .events = POLLIN },
	};

	if (ends[1].fd < 0)
		err(EXIT_FAILURE, "pidfd_open");
	while (poll(ends, 2, -1) < 0)
		if (errno != EINTR)
			err(EXIT_FAILURE, "poll");
	close(ends[1].fd);
	return ends[0].revents && !ends[1].revents;
}

struct tracer_report tracer_wait(struct tracer *tracer)
{
	struct tracer_report report;

	if (read(tracer->report, &report, sizeof(report)) != sizeof(report))
		errx(EXIT_FAILURE, "the tracer ended without a report");
	close(tracer->report);
	waitpid(tracer->pid, NULL, 0);
	return report;
}
