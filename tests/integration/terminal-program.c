/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/terminal-program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void resize(int terminal, unsigned int columns, unsigned int rows)
{
	struct winsize size = { .ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows };

	ck_assert_int_eq(ioctl(terminal, TIOCSWINSZ, &size), 0);
}

struct terminal_program terminal_program_start(const char *const *argv, unsigned int columns,
					       unsigned int rows)
{
	struct terminal_program program = { .terminal =
						    posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) };
	const char *path;
	int fd;

	ck_assert_int_ge(program.terminal, 0);
	ck_assert_int_eq(grantpt(program.terminal), 0);
	ck_assert_int_eq(unlockpt(program.terminal), 0);
	path = ptsname(program.terminal);
	ck_assert_ptr_nonnull(path);
	resize(program.terminal, columns, rows);
	ck_assert_int_eq(fcntl(program.terminal, F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(tcgetattr(program.terminal, &program.before), 0);
	program.said = calloc(1, 1);
	program.pid = fork();
	ck_assert_int_ge(program.pid, 0);
	if (program.pid)
		return program;

	harness_die_with_parent();
	setsid();
	/* the first terminal that a session opens is its own */
	fd = open(path, O_RDWR);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	setenv("TERM", "xterm-256color", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	unsetenv("COLUMNS");
	execvp(argv[0], (char **)argv);
	fprintf(stderr, "cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void read_more(struct terminal_program *program)
{
	for (;;) {
		char bytes[4096];
		ssize_t n = read(program->terminal, bytes, sizeof(bytes));

		if (n <= 0)
			return;
		program->said = realloc(program->said, program->n + (size_t)n + 1);
		ck_assert_ptr_nonnull(program->said);
		memcpy(program->said + program->n, bytes, (size_t)n);
		program->n += (size_t)n;
		program->said[program->n] = '\0';
	}
}

bool terminal_program_has_said(struct terminal_program *program, size_t from, const char *part)
{
	read_more(program);
	return strstr(program->said + from, part);
}

void terminal_program_type(const struct terminal_program *program, const char *keys)
{
	ck_assert_int_eq(write(program->terminal, keys, strlen(keys)), (ssize_t)strlen(keys));
}

void terminal_program_resize(const struct terminal_program *program, unsigned int columns,
			     unsigned int rows)
{
	resize(program->terminal, columns, rows);
}

static bool has_ended(struct terminal_program *program)
{
	siginfo_t ended = { 0 };

	read_more(program);
	return !waitid(P_PID, (id_t)program->pid, &ended, WEXITED | WNOHANG | WNOWAIT) &&
	       ended.si_pid;
}

int terminal_program_wait(struct terminal_program *program)
{
	struct termios after;
	int status = 0;

	EVENTUALLY(10000, has_ended(program));
	ck_assert_int_eq(waitpid(program->pid, &status, 0), program->pid);
	read_more(program);
	ck_assert_int_eq(tcgetattr(program->terminal, &after), 0);
	ck_assert_msg(after.c_lflag == program->before.c_lflag &&
			      after.c_iflag == program->before.c_iflag &&
			      after.c_oflag == program->before.c_oflag,
		      "it left the terminal in another mode than it found it");
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void terminal_program_forget(struct terminal_program *program)
{
	close(program->terminal);
	free(program->said);
}
