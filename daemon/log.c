/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "log.h"

#include "journald.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static enum log_level threshold = LOG_LEVEL_INFO;
static bool to_journal;
static atomic_uint n_lost; /* lines that journald has not taken, and was not told of */

static const struct {
	enum log_level level;
	const char *name;
} levels[] = {
	{ LOG_LEVEL_ERROR, "error" },
	{ LOG_LEVEL_WARNING, "warning" },
	{ LOG_LEVEL_INFO, "info" },
	{ LOG_LEVEL_DEBUG, "debug" },
};

static const struct {
	enum log_level level;
	const char *text;
} ids[] = {
#define X(name, level, id) { LOG_LEVEL_##level, id },
	LOG_IDS(X)
#undef X
};

void log_open(bool without_stderr)
{
	to_journal = without_stderr || journald_has_stderr();
	if (to_journal)
		journald_open();
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

/* ---- The journal ----------------------------------------------------------------------------- */

static void put_about(struct journald_entry *entry, const struct log_about *about)
{
	const struct {
		const char *name;
		const char *value;
	} texts[] = {
		{ "KVMATTR_VM", about->vm },
		{ "KVMATTR_METHOD", about->method },
		{ "KVMATTR_STATUS", about->status },
		{ "KVMATTR_SETTING", about->setting },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (texts[i].value)
			journald_put(entry, texts[i].name, "%s", texts[i].value);
	if (about->session)
		journald_put(entry, "KVMATTR_SESSION", "%" PRIu64, about->session);
	if (!about->has_peer)
		return;
	journald_put(entry, "KVMATTR_PEER_UID", "%u", about->uid);
	if (about->pid)
		journald_put(entry, "KVMATTR_PEER_PID", "%d", (int)about->pid);
}

static bool send_line(enum log_level level, const char *id, const struct log_about *about,
		      const char *text)
{
	struct journald_entry entry = { 0 };

	journald_put(&entry, "PRIORITY", "%d", (int)level);
	journald_put(&entry, "SYSLOG_IDENTIFIER", "kvmattrd");
	if (about->vm)
		journald_put(&entry, "MESSAGE", "VM '%s': %s", about->vm, text);
	else
		journald_put(&entry, "MESSAGE", "%s", text);
	if (id)
		journald_put(&entry, "MESSAGE_ID", "%s", id);
	put_about(&entry, about);
	return journald_send(&entry);
}

/* First of what is missing in front of the next line. */
static bool tell_lost(void)
{
	unsigned int n = atomic_exchange(&n_lost, 0);
	char text[80];

	if (!n)
		return true;
	snprintf(text, sizeof(text), "%u lines are missing here: journald did not take them", n);
	if (send_line(ids[LOG_ID_LINES_LOST].level, ids[LOG_ID_LINES_LOST].text, &LOG_ABOUT_NOTHING,
		      text))
		return true;
	atomic_fetch_add(&n_lost, n);
	return false;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 0))) static void write_line(enum log_level level, const char *id,
							     const struct log_about *about,
							     const char *format, va_list arguments)
{
	const char *vm = about->vm;
	char text[1024];

	if (level > threshold)
		return;
	vsnprintf(text, sizeof(text), format, arguments);
	if (!to_journal)
		fprintf(stderr, "kvmattrd: %s: %s%s%s%s\n", log_level_name(level), vm ? "VM '" : "",
			vm ? vm : "", vm ? "': " : "", text);
	else if (!tell_lost() || !send_line(level, id, about, text))
		atomic_fetch_add(&n_lost, 1);
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(level, NULL, &LOG_ABOUT_NOTHING, format, arguments);
	va_end(arguments);
}

void log_vm(enum log_level level, const char *vm, const char *format, ...)
{
	const struct log_about about = { .vm = vm };
	va_list arguments;

	va_start(arguments, format);
	write_line(level, NULL, &about, format, arguments);
	va_end(arguments);
}

void log_with_id(enum log_id id, struct log_about about, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(ids[id].level, ids[id].text, &about, format, arguments);
	va_end(arguments);
}
