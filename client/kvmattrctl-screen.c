/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-screen.h"

#include "client/kvmattrctl-terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* The alternate screen, no cursor, lines do not wrap; and back (xterm's control sequences). */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"

static struct {
	bool is_there;   /* a screen */
	bool is_entered; /* and it is ours now */
	bool has_keys;   /* stdin is a terminal */
	struct termios before;
	int signals;
	int events;
} screen = { .signals = -1, .events = -1 };

static void enter(void)
{
	struct termios raw;

	if (screen.has_keys) {
		raw = screen.before;
		/* keys one by one, unseen; ^C and ^Z stay what they are */
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 1;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	fputs(ENTER, stdout);
	fflush(stdout);
	screen.is_entered = true;
}

static void leave(void)
{
	if (!screen.is_entered)
		return;
	screen.is_entered = false;
	fputs(LEAVE, stdout);
	fflush(stdout);
	if (screen.has_keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
}

static void watch_fd(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(screen.events, EPOLL_CTL_ADD, fd, &event) < 0)
		terminal_there(NULL);
}

static void take_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGQUIT);
	if (screen.is_there) {
		sigaddset(&signals, SIGWINCH);
		sigaddset(&signals, SIGTSTP);
	}
	sigprocmask(SIG_BLOCK, &signals, NULL);
	screen.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	screen.events = epoll_create1(EPOLL_CLOEXEC);
	if (screen.signals < 0 || screen.events < 0)
		terminal_there(NULL);
	watch_fd(screen.signals);
}

void screen_open(bool is_wanted)
{
	const char *type = getenv("TERM");

	screen.is_there =
		is_wanted && isatty(STDOUT_FILENO) && type && *type && strcmp(type, "dumb") != 0;
	screen.has_keys = screen.is_there && tcgetattr(STDIN_FILENO, &screen.before) == 0;
	take_signals();
	if (screen.has_keys)
		watch_fd(STDIN_FILENO);
	if (!screen.is_there)
		return;
	/* also where memory runs out */
	atexit(leave);
	enter();
}

void screen_close(void)
{
	leave();
	close(screen.signals);
	close(screen.events);
	screen.signals = screen.events = -1;
}

bool screen_is_there(void)
{
	return screen.is_there;
}

int screen_fd(void)
{
	return screen.events;
}

uint64_t screen_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ^Z: the shell gets its terminal until we are called back. */
static enum screen_event take_signal(void)
{
	struct signalfd_siginfo signal;

	if (read(screen.signals, &signal, sizeof(signal)) != (ssize_t)sizeof(signal))
		return SCREEN_TIMEOUT;
	if (signal.ssi_signo == SIGTSTP) {
		leave();
		raise(SIGSTOP);
		enter();
		return SCREEN_CHANGED;
	}
	return signal.ssi_signo == SIGWINCH ? SCREEN_CHANGED : SCREEN_QUIT;
}

static enum screen_event take_keys(void)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return SCREEN_TIMEOUT;
	/* the terminal is gone, or somebody typed its end */
	if (n <= 0)
		return SCREEN_QUIT;
	for (ssize_t i = 0; i < n; i++)
		if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == '\004')
			return SCREEN_QUIT;
	return SCREEN_TIMEOUT;
}

enum screen_event screen_wait(uint64_t until_ms)
{
	for (;;) {
		struct epoll_event event;
		uint64_t now_ms = screen_now_ms();
		enum screen_event what;
		int n = epoll_wait(screen.events, &event, 1,
				   until_ms > now_ms ? (int)(until_ms - now_ms) : 0);

		if (n < 0 && errno != EINTR)
			return SCREEN_QUIT;
		if (n > 0) {
			what = event.data.fd == screen.signals ? take_signal() : take_keys();
			if (what != SCREEN_TIMEOUT)
				return what;
		} else if (screen_now_ms() >= until_ms) {
			return SCREEN_TIMEOUT;
		}
	}
}

void screen_size(unsigned int *ret_columns, unsigned int *ret_rows)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col || !size.ws_row) {
		size.ws_col = 80;
		size.ws_row = 24;
	}
	*ret_columns = size.ws_col;
	*ret_rows = size.ws_row;
}

/* The end of a line that has room for so many characters; what colours it needs no room. */
static const char *cut(const char *line, const char *end, unsigned int columns)
{
	unsigned int n = 0;

	while (line < end) {
		if (*line == '\033') {
			while (line < end && *line != 'm')
				line++;
			line += line < end;
			continue;
		}
		/* the bytes of a character that follow the first belong to it */
		if (((unsigned char)*line & 0xc0) != 0x80 && n++ == columns)
			return line;
		line++;
	}
	return end;
}

void screen_show(const char *lines)
{
	unsigned int columns, rows, row = 0;

	screen_size(&columns, &rows);
	fputs("\033[H", stdout);
	while (*lines && row++ < rows) {
		const char *end = strchrnul(lines, '\n'), *fits = cut(lines, end, columns);

		/* wiped first: behind a character in the last column, the cursor is still on it */
		fprintf(stdout, "%s\033[2K%.*s\033[0m", row == 1 ? "" : "\r\n", (int)(fits - lines),
			lines);
		lines = *end ? end + 1 : end;
	}
	if (row < rows)
		fputs("\r\n\033[J", stdout);
	fflush(stdout);
}
