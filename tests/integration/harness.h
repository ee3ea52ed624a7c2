/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real daemon, for one test: started in a directory of its own, asked to stop, and looked at.
 *
 * Check runs every test in a process of its own, which ends at the first assertion that fails.
 * So a guardian process waits for that end: where the test was not through by then, it shows the
 * daemon's log; in any case it removes the directory.  The daemon dies with the test.
 *
 * $KVMATTRD, $KVMATTR_SIMVM and $KVMATTRCTL say which programs are tested; without them it is those
 * of the build directory that is the current one.  $KVMATTR_TEST_WRAPPER is put before the daemon's
 * command line ("valgrind ..."); everyone is more patient then.
 */
#ifndef INTEGRATION_HARNESS_H
#define INTEGRATION_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define N(array) ((int)(sizeof(array) / sizeof(*(array))))

struct fake_manager;

struct kvmattrd {
	char directory[40];
	char runtime_dir[48];
	char state_dir[48];
	char agent_socket[64];
	char control_socket[64];
	char log_path[48];
	pid_t pid;
	uid_t uid; /* whom it is launched as, and of the group of the same number; 0: as the test is */
	pid_t guardian_pid;
	int guardian; /* closed without a word: the test failed */
	/* NULL, or who keeps descriptors for the daemons that are launched here; the test's. */
	struct fake_manager *manager;
};

/* A case whose tests may take so long each, and longer with a wrapper. */
TCase *harness_make_case(const char *name, unsigned int timeout_s);
/* Runs them with TAP output; cases ends with NULL.  Returns main()'s result. */
int harness_run(const char *name, TCase *const *cases);

/* The program that a variable of the environment names, or the build tree's. */
const char *harness_program(const char *variable, const char *otherwise);
#define KVMATTRD_PROGRAM   harness_program("KVMATTRD", "daemon/kvmattrd")
#define SIMVM_PROGRAM      harness_program("KVMATTR_SIMVM", "client/kvmattr-simvm")
#define KVMATTRCTL_PROGRAM harness_program("KVMATTRCTL", "client/kvmattrctl")

/* How many times as long everything may take: 1, or more with a wrapper or sanitizers. */
unsigned int harness_patience(void);
uint64_t harness_now_ms(void);
void harness_pause(void);

/* Waits for something that another process brings about. */
#define EVENTUALLY(timeout_ms, condition)                                                          \
	do {                                                                                       \
		uint64_t eventually_until =                                                        \
			harness_now_ms() + (uint64_t)(timeout_ms)*harness_patience();              \
		while (!(condition)) {                                                             \
			ck_assert_msg(harness_now_ms() < eventually_until, "not within %d ms: %s", \
				      (int)(timeout_ms), #condition);                              \
			harness_pause();                                                           \
		}                                                                                  \
	} while (0)

/* A directory for a test, and for as long as it lasts; no daemon is started yet. */
struct kvmattrd *kvmattrd_prepare(void);
/*
 * Starts the daemon there and waits until it serves: what was there is recovered, and it has no
 * client.  configuration: a file's text, or NULL.
 */
void kvmattrd_launch(struct kvmattrd *daemon, const char *configuration);
/* The same without --allow-simulated. */
void kvmattrd_launch_strict(struct kvmattrd *daemon);
/* Prepares and launches. */
struct kvmattrd *kvmattrd_start(const char *configuration);
/* The configuration that it was launched with is this one now; it is asked to read it anew. */
void kvmattrd_reload(const struct kvmattrd *daemon, const char *configuration);
/* Kills it; kvmattrd_launch() starts the next one in the same place. */
void kvmattrd_kill(struct kvmattrd *daemon);
/* Asks it to stop, which it does with 0, and leaves no sockets behind, but to a manager. */
void kvmattrd_terminate(struct kvmattrd *daemon);
/* The same, and nothing is left behind.  Frees daemon. */
void kvmattrd_stop(struct kvmattrd *daemon);
/* Removes the directory of a daemon that does not run.  Frees daemon. */
void kvmattrd_discard(struct kvmattrd *daemon);

/* The test's own end takes the calling process, which is a child of it, along. */
void harness_die_with_parent(void);

unsigned int kvmattrd_count_fds(const struct kvmattrd *daemon);
/* What it has in memory, and the most that it had; of little meaning with a wrapper, sanitizers. */
long kvmattrd_resident_kib(const struct kvmattrd *daemon);
long kvmattrd_most_resident_kib(const struct kvmattrd *daemon);
/* The log so far; the caller's to free. */
char *kvmattrd_read_log(const struct kvmattrd *daemon);
bool kvmattrd_has_logged(const struct kvmattrd *daemon, const char *part);

#endif
