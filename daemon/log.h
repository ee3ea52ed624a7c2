/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log, for the operator: one line says what happened, to which VM, and what to do.
 *
 * Goes to the journal with fields of its own (KVMATTR_VM) where journald listens to our stderr
 * or we have none, to stderr otherwise.  Any thread.
 */
#ifndef KVMATTRD_LOG_H
#define KVMATTRD_LOG_H

#include <stdbool.h>

/* As syslog(3) has them, and sd-daemon's prefixes. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* Picks the place to write to.  without_stderr: the daemon is in the background. */
void log_open(bool without_stderr);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "error", "warning", "info", "debug"; -1 for any other name. */
int log_level_from_name(const char *name);
const char *log_level_name(enum log_level level);

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);
/* About a VM. */
__attribute__((format(printf, 3, 4))) void log_vm(enum log_level level, const char *vm,
						  const char *format, ...);

#endif
