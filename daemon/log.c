/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SD_JOURNAL_SUPPRESS_LOCATION: our lines are found by their fields, not by a source position. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

static enum log_level threshold = LOG_LEVEL_INFO;
static bool to_journal;

static const struct {
	enum log_level level;
	const char *name;
} levels[] = {
	{ LOG_LEVEL_ERROR, "error" },
	{ LOG_LEVEL_WARNING, "warning" },
	{ LOG_LEVEL_INFO, "info" },
	{ LOG_LEVEL_DEBUG, "debug" },
};

/* systemd says in $JOURNAL_STREAM which file is the journal's (systemd.exec(5)). */
static bool is_stderr_the_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat status;

	return stream && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
	       !fstat(2, &status) && status.st_dev == device && status.st_ino == inode;
}

void log_open(bool without_stderr)
{
	to_journal = without_stderr || is_stderr_the_journal();
}

void log_set_level(enum log_level level)
{
	threshold = level;
}

enum log_level log_get_level(void)
{
	return threshold;
}

int log_level_from_name(const char *name)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
		if (!strcmp(levels[i].name, name))
			return levels[i].level;
	return -1;
}

const char *log_level_name(enum log_level level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
		if (levels[i].level == level)
			return levels[i].name;
	return "unknown";
}

static void write_line(enum log_level level, const char *vm, const char *text)
{
	if (!to_journal)
		fprintf(stderr, "kvmattrd: %s: %s%s%s%s\n", log_level_name(level), vm ? "VM '" : "",
			vm ? vm : "", vm ? "': " : "", text);
	else if (vm)
		sd_journal_send("PRIORITY=%d", level, "KVMATTR_VM=%s", vm, "MESSAGE=VM '%s': %s",
				vm, text, NULL);
	else
		sd_journal_send("PRIORITY=%d", level, "MESSAGE=%s", text, NULL);
}

void log_write(enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	if (level > threshold)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	write_line(level, NULL, text);
}

void log_vm(enum log_level level, const char *vm, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	if (level > threshold)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	write_line(level, vm, text);
}
