/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/harness.h"

#include "tests/integration/fake-manager.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WRAPPER            "KVMATTR_TEST_WRAPPER"
#define MAX_WORDS          32
#define START_TIMEOUT_MS   10000
#define STOP_TIMEOUT_MS    10000
#define WRAPPED_PATIENCE   15
#define SANITIZED_PATIENCE 3

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED true
#elif defined(__has_feature)
#define IS_SANITIZED __has_feature(address_sanitizer)
#else
#define IS_SANITIZED false
#endif

/* ---- Running ------------------------------------------------------------------------------- */

unsigned int harness_patience(void)
{
	const char *wrapper = getenv(WRAPPER);

	if (wrapper && *wrapper)
		return WRAPPED_PATIENCE;
	return IS_SANITIZED ? SANITIZED_PATIENCE : 1;
}

TCase *harness_make_case(const char *name, unsigned int timeout_s)
{
	TCase *tests = tcase_create(name);

	tcase_set_timeout(tests, timeout_s * harness_patience());
	return tests;
}

int harness_run(const char *name, TCase *const *cases)
{
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int n_failed;

	for (; *cases; cases++)
		suite_add_tcase(suite, *cases);
	srunner_set_fork_status(runner, CK_FORK); /* a test's end is its process's */
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

const char *harness_program(const char *variable, const char *otherwise)
{
	const char *path = getenv(variable);

	return path && *path ? path : otherwise;
}

uint64_t harness_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void harness_pause(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

void harness_die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* ---- The guardian -------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status;
	(void)where;
	if (type == FTW_DP)
		(void)rmdir(path);
	else
		(void)unlink(path);
	return 0;
}

static void show_log(const struct kvmattrd *daemon)
{
	FILE *log = fopen(daemon->log_path, "re");
	char line[1024];

	if (!log)
		return;
	fprintf(stderr, "The daemon's log, of a test that failed:\n");
	while (fgets(line, sizeof(line), log))
		fprintf(stderr, "| %s", line);
	fclose(log);
}

/* A daemon that went into the background is nobody's child. */
static void kill_daemon_of(const char *directory)
{
	char path[80], pid[16] = "", command[1024] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/run/kvmattrd.lock", directory);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, pid, sizeof(pid) - 1) < 1 || atoi(pid) < 2)
		return;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", atoi(pid));
	fd = open(path, O_RDONLY);
	if (fd >= 0 && read(fd, command, sizeof(command) - 1) > 0 &&
	    memmem(command, sizeof(command), directory, strlen(directory)))
		kill(atoi(pid), SIGKILL);
}

/* Out of the test's process group, which Check kills. */
static void guard(const struct kvmattrd *daemon, int end)
{
	char verdict;

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	dup2(end, STDOUT_FILENO); /* whoever reads the results is not to wait for us */
	close_range(STDERR_FILENO + 1, ~0u, 0);
	if (read(STDOUT_FILENO, &verdict, 1) != 1) {
		show_log(daemon);
		kill_daemon_of(daemon->directory);
	}
	nftw(daemon->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	_exit(EXIT_SUCCESS);
}

struct kvmattrd *kvmattrd_prepare(void)
{
	struct kvmattrd *d = calloc(1, sizeof(*d));
	int ends[2];

	ck_assert_ptr_nonnull(d);
	harness_die_with_parent(); /* should the runner be killed */
	snprintf(d->directory, sizeof(d->directory), "/tmp/kvmattr-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(d->directory));
	snprintf(d->runtime_dir, sizeof(d->runtime_dir), "%s/run", d->directory);
	snprintf(d->state_dir, sizeof(d->state_dir), "%s/state", d->directory);
	snprintf(d->agent_socket, sizeof(d->agent_socket), "%s/agent.sock", d->runtime_dir);
	snprintf(d->control_socket, sizeof(d->control_socket), "%s/control.sock", d->runtime_dir);
	snprintf(d->log_path, sizeof(d->log_path), "%s/log", d->directory);
	d->pid = -1;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	d->guardian_pid = fork();
	ck_assert_int_ge(d->guardian_pid, 0);
	if (!d->guardian_pid)
		guard(d, ends[0]);
	close(ends[0]);
	d->guardian = ends[1];
	return d;
}

void kvmattrd_discard(struct kvmattrd *d)
{
	ck_assert_int_lt(d->pid, 0);
	ck_assert_int_eq(write(d->guardian, "k", 1), 1);
	close(d->guardian);
	ck_assert_int_eq(waitpid(d->guardian_pid, NULL, 0), d->guardian_pid);
	ck_assert_int_eq(access(d->directory, F_OK), -1);
	free(d);
}

/* ---- The daemon ---------------------------------------------------------------------------- */

/* Returns its path; until the next call. */
static const char *write_configuration(const struct kvmattrd *d, const char *text)
{
	static char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/kvmattrd.conf", d->directory);
	file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	return path;
}

__attribute__((noreturn)) static void become_daemon(const struct kvmattrd *d, const char *config,
						    bool is_strict)
{
	const char *argv[MAX_WORDS + 16] = { NULL };
	char *wrapper = getenv(WRAPPER);
	bool is_wrapped;
	int n = 0, log = open(d->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int null = open("/dev/null", O_RDONLY);

	if (d->uid && (setgroups(0, NULL) < 0 || setgid(d->uid) < 0 || setuid(d->uid) < 0))
		_exit(127);
	harness_die_with_parent(); /* which another user would have to ask for again */
	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	/* The test's environment is the developer's; none of it is for this daemon. */
	unsetenv("NOTIFY_SOCKET");
	unsetenv("JOURNAL_STREAM");
	if (d->manager)
		fake_manager_pass(d->manager);
	for (char *word = wrapper ? strtok(wrapper, " ") : NULL; word && n < MAX_WORDS;
	     word = strtok(NULL, " "))
		argv[n++] = word;
	is_wrapped = n > 0;
	argv[n++] = KVMATTRD_PROGRAM;
	if (is_wrapped) /* it would be in the sandbox, too */
		argv[n++] = "--no-sandbox";
	argv[n++] = "--foreground";
	if (!is_strict)
		argv[n++] = "--allow-simulated";
	argv[n++] = "--log-level=debug";
	argv[n++] = "--runtime-dir";
	argv[n++] = d->runtime_dir;
	argv[n++] = "--state-dir";
	argv[n++] = d->state_dir;
	if (config) {
		argv[n++] = "--config";
		argv[n++] = config;
	}
	execvp(argv[0], (char **)argv);
	fprintf(stderr, "cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/*
 * A client that says nothing and goes is let go of, by a daemon that has recovered what there was.
 * So it is none of those that a test counts, and neither are its descriptors.
 */
static bool lets_clients_go(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[256]; /* that this client may not come in */
	bool lets_go;

	ck_assert_int_ge(fd, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	lets_go = !connect(fd, (struct sockaddr *)&address, sizeof(address)) &&
		  !shutdown(fd, SHUT_WR);
	while (lets_go && recv(fd, text, sizeof(text), 0) > 0)
		;
	close(fd);
	return lets_go;
}

static bool has_ended(pid_t pid)
{
	siginfo_t ended = { 0 };

	return !waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) && ended.si_pid;
}

/* A manager is told; without one, the agent socket is opened first. */
static bool serves(const struct kvmattrd *d, unsigned int n_ready_before)
{
	if (d->manager)
		return fake_manager_count_ready(d->manager) > n_ready_before;
	return lets_clients_go(d->control_socket);
}

static void launch(struct kvmattrd *d, const char *configuration, bool is_strict)
{
	unsigned int n_ready = d->manager ? fake_manager_count_ready(d->manager) : 0;
	const char *path = configuration ? write_configuration(d, configuration) : NULL;

	d->pid = fork();
	ck_assert_int_ge(d->pid, 0);
	if (!d->pid)
		become_daemon(d, path, is_strict);
	EVENTUALLY(START_TIMEOUT_MS, has_ended(d->pid) || serves(d, n_ready));
	ck_assert_msg(!has_ended(d->pid), "the daemon ended instead of serving");
}

void kvmattrd_launch(struct kvmattrd *d, const char *configuration)
{
	launch(d, configuration, false);
}

void kvmattrd_launch_strict(struct kvmattrd *d)
{
	launch(d, NULL, true);
}

struct kvmattrd *kvmattrd_start(const char *configuration)
{
	struct kvmattrd *d = kvmattrd_prepare();

	kvmattrd_launch(d, configuration);
	return d;
}

void kvmattrd_reload(const struct kvmattrd *d, const char *configuration)
{
	write_configuration(d, configuration);
	ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
}

void kvmattrd_kill(struct kvmattrd *d)
{
	ck_assert_msg(!has_ended(d->pid), "the daemon has ended by itself");
	ck_assert_int_eq(kill(d->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(d->pid, NULL, 0), d->pid);
	d->pid = -1;
}

void kvmattrd_terminate(struct kvmattrd *d)
{
	int status = 0;

	ck_assert_msg(!has_ended(d->pid), "the daemon has ended by itself");
	ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
	EVENTUALLY(STOP_TIMEOUT_MS, has_ended(d->pid));
	ck_assert_int_eq(waitpid(d->pid, &status, 0), d->pid);
	d->pid = -1;
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "the daemon ended with %s %d instead of 0",
		      WIFSIGNALED(status) ? "signal" : "status",
		      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	ck_assert_int_eq(access(d->agent_socket, F_OK), d->manager ? 0 : -1);
	ck_assert_int_eq(access(d->control_socket, F_OK), d->manager ? 0 : -1);
}

void kvmattrd_stop(struct kvmattrd *d)
{
	kvmattrd_terminate(d);
	kvmattrd_discard(d);
}

unsigned int kvmattrd_count_fds(const struct kvmattrd *d)
{
	char path[32];
	unsigned int n = 0;
	const struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", d->pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

/* A number of /proc/PID/status that the kernel tells in KiB. */
static long kib_of(const struct kvmattrd *d, const char *key)
{
	char path[32], line[128];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", d->pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			kib = strtol(line + strlen(key), NULL, 10);
	fclose(file);
	ck_assert_int_gt(kib, 0);
	return kib;
}

long kvmattrd_resident_kib(const struct kvmattrd *d)
{
	return kib_of(d, "VmRSS:");
}

long kvmattrd_most_resident_kib(const struct kvmattrd *d)
{
	return kib_of(d, "VmHWM:");
}

char *kvmattrd_read_log(const struct kvmattrd *d)
{
	FILE *log = fopen(d->log_path, "re");
	char *text = NULL;
	size_t size = 0;

	ck_assert_ptr_nonnull(log);
	if (getdelim(&text, &size, '\0', log) < 0) {
		free(text);
		text = strdup("");
	}
	fclose(log);
	ck_assert_ptr_nonnull(text);
	return text;
}

bool kvmattrd_has_logged(const struct kvmattrd *d, const char *part)
{
	char *text = kvmattrd_read_log(d);
	bool has = strstr(text, part);

	free(text);
	return has;
}
