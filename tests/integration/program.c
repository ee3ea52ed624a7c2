/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct program program_start(const char *const *argv)
{
	struct program program = {
		.out = memfd_create("out", MFD_CLOEXEC),
		.err = memfd_create("err", MFD_CLOEXEC),
	};

	ck_assert_int_ge(program.out, 0);
	ck_assert_int_ge(program.err, 0);
	program.pid = fork();
	ck_assert_int_ge(program.pid, 0);
	if (program.pid)
		return program;

	harness_die_with_parent();
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	dup2(program.out, STDOUT_FILENO);
	dup2(program.err, STDERR_FILENO);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("JOURNAL_STREAM");
	execvp(argv[0], (char **)argv);
	fprintf(stderr, "cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static char *read_all(int fd)
{
	struct stat status;
	char *text;

	ck_assert_int_eq(fstat(fd, &status), 0);
	text = calloc(1, (size_t)status.st_size + 1);
	ck_assert_ptr_nonnull(text);
	ck_assert_int_ge(pread(fd, text, (size_t)status.st_size, 0), 0);
	return text;
}

bool program_has_said(const struct program *program, const char *part)
{
	char *out = read_all(program->out), *err = read_all(program->err);
	bool has = strstr(out, part) || strstr(err, part);

	free(out);
	free(err);
	return has;
}

bool program_has_ended(const struct program *program)
{
	siginfo_t ended = { 0 };

	return !waitid(P_PID, (id_t)program->pid, &ended, WEXITED | WNOHANG | WNOWAIT) &&
	       ended.si_pid;
}

struct program_result program_wait(struct program *program)
{
	struct program_result result = { 0 };
	int status = 0;

	ck_assert_int_eq(waitpid(program->pid, &status, 0), program->pid);
	result.status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
	result.out = read_all(program->out);
	result.err = read_all(program->err);
	close(program->out);
	close(program->err);
	return result;
}

struct program_result program_run(const char *const *argv)
{
	struct program program = program_start(argv);

	return program_wait(&program);
}

void program_forget(struct program_result *result)
{
	free(result->out);
	free(result->err);
}

void expect_result(const struct program_result *result, int status, const char *out_part,
		   const char *err_part)
{
	ck_assert_msg(result->status == status && strstr(result->out, out_part) &&
			      strstr(result->err, err_part),
		      "it ended with %d, not %d with \"%s\" and \"%s\":\n%s%s", result->status,
		      status, out_part, err_part, result->out, result->err);
}
