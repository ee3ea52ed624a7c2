/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log, for the operator: one line says what happened, to which VM, and what to do.
 *
 * Goes to the journal where journald listens to our stderr or we have none, to stderr otherwise.
 * In the journal a line has fields beside its text, and some lines have message ids (log-ids.h).  A
 * journald that does not keep up loses lines rather than hold the daemon up; how many, stands
 * before the next one that it takes.  Any thread.
 */
#ifndef KVMATTRD_LOG_H
#define KVMATTRD_LOG_H

#include "log-ids.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

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

/* ---- Lines with a message id ---------------------------------------------------------------- */

/* What a line is about, beside its text.  NULL and 0 are not told. */
struct log_about {
	const char *vm;
	uint64_t session; /* its number */
	bool has_peer;
	pid_t pid; /* of the peer, as it was when it connected; 0: not known */
	uid_t uid;
	const char *method;  /* or message, or whatever it asked for */
	const char *status;  /* that it was told */
	const char *setting; /* of kvmattrd.conf(5), which decided */
};

__attribute__((format(printf, 3, 4))) void log_with_id(enum log_id id, struct log_about about,
						       const char *format, ...);
/* A line about the daemon itself, or a VM and nothing else. */
#define LOG_ABOUT_NOTHING  ((struct log_about){ 0 })
#define LOG_ABOUT_VM(name) ((struct log_about){ .vm = (name) })

#endif
