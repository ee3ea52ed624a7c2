/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon gave up before it serves: as the kernel tells it of each of its threads, and as a
 * process meets it that enters the same sandbox and tries what the daemon never does.
 *
 * Each attempt is made without the sandbox, too: so it is the sandbox that refuses it.
 */
#include "daemon/sandbox.h"
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static struct kvmattrd *d;

/* ---- The daemon ------------------------------------------------------------------------------- */

/* A thread's status; "" if it has ended meanwhile.  The caller's to free. */
static char *read_status(const char *thread)
{
	char path[80], *status = NULL;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", d->pid, thread);
	file = fopen(path, "re");
	if (!file || getdelim(&status, &size, '\0', file) < 0) {
		ck_assert_msg(errno == ENOENT || errno == ESRCH, "%s: %s", path, strerror(errno));
		free(status);
		status = strdup("");
	}
	if (file)
		fclose(file);
	return status;
}

/* Every thread has these lines in its status; returns how many there are. */
static unsigned int expect_threads(const char *const *lines)
{
	const struct dirent *thread;
	unsigned int n = 0;
	char path[40];
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", d->pid);
	threads = opendir(path);
	ck_assert_ptr_nonnull(threads);
	while ((thread = readdir(threads))) {
		char *status;

		if (*thread->d_name == '.')
			continue;
		status = read_status(thread->d_name);
		for (const char *const *line = lines; *line && *status; line++)
			ck_assert_msg(strstr(status, *line), "thread %s has no line %s",
				      thread->d_name, *line + 1);
		n += *status != '\0';
		free(status);
	}
	closedir(threads);
	return n;
}

static const char *const confined[] = {
	"\nNoNewPrivs:\t1\n",
	"\nSeccomp:\t2\n",
	"\nCapInh:\t0000000000000000\n",
	"\nCapPrm:\t0000000000000000\n",
	"\nCapEff:\t0000000000000000\n",
	"\nCapAmb:\t0000000000000000\n",
	NULL,
};
static const char *const free_to_go[] = { "\nNoNewPrivs:\t0\n", "\nSeccomp:\t0\n", NULL };

START_TEST(every_thread_is_confined_whenever_it_was_made)
{
	struct simulated_vmm *vmm;
	struct control_client *control;
	struct json_object *status;

	d = kvmattrd_start("[journal]\ndurability = power\npast-journals = 1\n");
	control = control_connect(d);
	/* What is past is looked through in the background... */
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	simulated_vmm_stop(vmm);
	/* ...a journal is synced in a thread of its own... */
	vmm = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	expect_ok(vmm->owner, kvmattr_enable_layer(vmm->owner, 1, KVMATTR_RWX, 0));
	expect_ok(vmm->owner, protect_range(vmm->owner, 1, KVMATTR_R, 16, 16));
	expect_pages(vmm, 0, 16, 16, KVMATTR_R);
	/* ...and who asks for history is answered by another. */
	status = control_call(control, "journal.status", "{\"vm\":\"guest\"}");
	json_object_put(control_call(control, "journal.log", "{\"journal\":\"%s\"}",
				     json_text_at(status, "journal")));
	json_object_put(status);
	EVENTUALLY(PATIENCE_MS, expect_threads(confined) >= 4);
	simulated_vmm_stop(vmm);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(its_core_dumps_hold_no_memory)
{
	char path[48], filter[16] = "";
	FILE *file;

	d = kvmattrd_start(NULL);
	snprintf(path, sizeof(path), "/proc/%d/coredump_filter", d->pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(filter, sizeof(filter), file));
	fclose(file);
	ck_assert_str_eq(filter, "00000000\n");
	kvmattrd_stop(d);
}
END_TEST

static int64_t max_vms(struct control_client *control)
{
	struct json_object *answer = control_call(control, "daemon.get", "{}");
	int64_t value = json_number_at(answer, "limits.max_vms");

	json_object_put(answer);
	return value;
}

START_TEST(a_file_in_place_of_the_configuration_is_read_with_the_names_in_it)
{
	struct control_client *control;
	char path[64], new_path[68];
	FILE *file;

	d = kvmattrd_start("[limits]\nmax-vms = 1\n");
	control = control_connect(d);
	snprintf(path, sizeof(path), "%s/kvmattrd.conf", d->directory);
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	file = fopen(new_path, "we");
	ck_assert_ptr_nonnull(file);
	fputs("[limits]\nmax-vms = 2\n[authority]\nobserve = user:root group:root\n", file);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(rename(new_path, path), 0);
	kill(d->pid, SIGHUP);
	EVENTUALLY(PATIENCE_MS, kvmattrd_has_logged(d, "settings were read anew"));
	ck_assert_int_eq(max_vms(control), 2);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

START_TEST(without_a_sandbox_it_keeps_its_rights_and_says_so)
{
	d = kvmattrd_start("[daemon]\nsandbox = no\n");
	ck_assert_uint_ge(expect_threads(free_to_go), 1);
	ck_assert(kvmattrd_has_logged(d, "the daemon keeps every right"));
	kvmattrd_stop(d);
}
END_TEST

/* ---- The same sandbox ------------------------------------------------------------------------- */

/* Directories like the daemon's, of which no daemon has one. */
static void make_directories(void)
{
	d = kvmattrd_prepare();
	ck_assert_int_eq(mkdir(d->runtime_dir, 0700), 0);
	ck_assert_int_eq(mkdir(d->state_dir, 0700), 0);
}

static void remove_directories(void)
{
	kvmattrd_discard(d);
}

static void enter(const char *config)
{
	const struct sandbox_places places = { d->state_dir, d->runtime_dir, config };

	if (sandbox_enter(&places) < 0)
		_exit(255);
}

/* How a process ended that fork() made. */
static int end_of(pid_t child)
{
	int status;

	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

/* The errno that a process ended with, or 0. */
static int verdict_of(pid_t child)
{
	int status = end_of(child);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) != 255,
		      "it could not enter the sandbox, or did not survive: status 0x%x", status);
	return WEXITSTATUS(status);
}

/* ---- System calls ----------------------------------------------------------------------------- */

/*
 * What the arguments are does not matter but where the sandbox looks at them: without it, these
 * calls fail for them, or do no harm.
 */
static const struct call {
	const char *name;
	long number;
	long arguments[4];
} forbidden[] = {
	/* other programs, other processes */
	{ "execve()", SYS_execve, { 0 } },
	{ "execveat()", SYS_execveat, { 0 } },
	{ "clone() of a process", SYS_clone, { SIGCHLD } },
	{ "clone3()", SYS_clone3, { 0 } },
	{ "ptrace()", SYS_ptrace, { 0 } },
	{ "process_vm_readv()", SYS_process_vm_readv, { 0 } },
	{ "process_vm_writev()", SYS_process_vm_writev, { 0 } },
	{ "pidfd_getfd()", SYS_pidfd_getfd, { -1 } },
	{ "kill()", SYS_kill, { 1, 0 } },
	{ "tgkill() of another process", SYS_tgkill, { 1, 1, 0 } },
	{ "pidfd_send_signal() of a signal", SYS_pidfd_send_signal, { -1, SIGKILL } },
	{ "prlimit64() of another process", SYS_prlimit64, { 1 } },
	/* new code */
	{ "mmap() of code", SYS_mmap, { 0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS } },
	{ "mprotect() to code", SYS_mprotect, { 0, 0, PROT_EXEC } },
	{ "memfd_create()", SYS_memfd_create, { 0 } },
	/* networks and devices */
	{ "socket() of IPv4", SYS_socket, { AF_INET, SOCK_STREAM } },
	{ "socket() of IPv6", SYS_socket, { AF_INET6, SOCK_STREAM } },
	{ "socket() of netlink", SYS_socket, { AF_NETLINK, SOCK_RAW } },
	{ "socket() of packets", SYS_socket, { AF_PACKET, SOCK_RAW } },
	{ "bind()", SYS_bind, { -1 } },
	{ "listen()", SYS_listen, { -1 } },
	{ "ioctl() that types into a terminal", SYS_ioctl, { -1, TIOCSTI } },
	{ "ioctl() that runs a vCPU", SYS_ioctl, { -1, 0xae80 } },
	{ "mknodat()", SYS_mknodat, { -1 } },
	/* other rights */
	{ "setuid()", SYS_setuid, { 0 } },
	{ "setgid()", SYS_setgid, { 0 } },
	{ "setresuid()", SYS_setresuid, { -1, -1, -1 } },
	{ "setgroups()", SYS_setgroups, { -1 } },
	{ "capset()", SYS_capset, { 0 } },
	{ "prctl()", SYS_prctl, { -1 } },
	{ "seccomp()", SYS_seccomp, { -1 } },
	{ "fchmodat()", SYS_fchmodat, { -1 } },
	{ "fchownat()", SYS_fchownat, { -1 } },
	/* another world */
	{ "mount()", SYS_mount, { 0 } },
	{ "umount2()", SYS_umount2, { 0 } },
	{ "open_tree()", SYS_open_tree, { -1 } },
	{ "chroot()", SYS_chroot, { 0 } },
	{ "pivot_root()", SYS_pivot_root, { 0 } },
	{ "unshare()", SYS_unshare, { 0 } },
	{ "setns()", SYS_setns, { -1 } },
	/* the kernel's own */
	{ "bpf()", SYS_bpf, { -1 } },
	{ "io_uring_setup()", SYS_io_uring_setup, { 0 } },
	{ "perf_event_open()", SYS_perf_event_open, { 0 } },
	{ "userfaultfd()", SYS_userfaultfd, { -1 } },
	{ "keyctl()", SYS_keyctl, { -1 } },
	{ "init_module()", SYS_init_module, { 0 } },
	{ "finit_module()", SYS_finit_module, { -1 } },
	{ "reboot()", SYS_reboot, { 0 } },
	{ "swapon()", SYS_swapon, { 0 } },
	{ "open_by_handle_at()", SYS_open_by_handle_at, { -1 } },
};

static int attempt(const struct call *call, bool in_the_sandbox)
{
	const long *with = call->arguments;
	pid_t child = fork();

	if (child)
		return verdict_of(child);
	if (in_the_sandbox)
		enter(NULL);
	_exit(syscall(call->number, with[0], with[1], with[2], with[3], -1, 0) < 0 ? errno : 0);
}

START_TEST(a_call_that_the_daemon_never_makes_is_none_that_it_has)
{
	const struct call *call = &forbidden[_i];

	if (attempt(call, false) == ENOSYS)
		return; /* this kernel has none for anybody */
	ck_assert_msg(attempt(call, true) == ENOSYS, "%s is allowed", call->name);
}
END_TEST

START_TEST(an_abort_is_still_one)
{
	pid_t child = fork();
	int status;

	if (!child) {
		enter(NULL);
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		abort();
	}
	status = end_of(child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

/* ---- Files ------------------------------------------------------------------------------------ */

static const struct file {
	const char *path; /* of one that begins with a dot, beneath the test's directory */
	int flags;
	int error;
} files[] = {
	{ "./state/journal", O_RDWR | O_CREAT, 0 },
	{ "./state", O_RDONLY | O_DIRECTORY, 0 },
	{ "./kvmattrd.conf", O_RDONLY, 0 },
	{ "/dev/null", O_RDWR, 0 },
	{ "/proc/sys/kernel/random/boot_id", O_RDONLY, 0 },
	{ "/proc/self/cgroup", O_RDONLY, 0 },
	{ "/etc/passwd", O_RDONLY, 0 }, /* with a configuration, which names users */
	{ "./state/../other", O_RDWR | O_CREAT, EACCES },
	{ "./kvmattrd.conf", O_RDWR, EACCES },
	{ ".", O_RDONLY | O_DIRECTORY, EACCES },
	{ "./run/kvmattrd.lock", O_WRONLY | O_CREAT, EACCES },
	{ "./run", O_RDONLY | O_DIRECTORY, EACCES },
	{ "/proc", O_RDONLY | O_DIRECTORY, EACCES },
	{ "/proc/self/coredump_filter", O_RDWR, EACCES },
	{ "/dev/zero", O_RDONLY, EACCES },
	{ "/", O_RDONLY | O_DIRECTORY, EACCES },
};

static int attempt_open(const struct file *file, bool in_the_sandbox)
{
	char path[80], config[64];
	pid_t child = fork();

	if (child)
		return verdict_of(child);
	snprintf(path, sizeof(path), "%s%s", *file->path == '.' ? d->directory : "",
		 file->path + (*file->path == '.'));
	snprintf(config, sizeof(config), "%s/kvmattrd.conf", d->directory);
	if (in_the_sandbox)
		enter(config);
	_exit(open(path, file->flags | O_CLOEXEC, 0600) < 0 ? errno : 0);
}

START_TEST(only_files_that_the_daemon_needs_can_be_opened)
{
	const struct file *file = &files[_i];
	const struct file config = { "./kvmattrd.conf", O_RDWR | O_CREAT, 0 };
	int error;

	ck_assert_int_eq(attempt_open(&config, false), 0);
	error = attempt_open(file, false);
	ck_assert_msg(!error, "%s: %s without a sandbox", file->path, strerror(error));
	error = attempt_open(file, true);
	ck_assert_msg(error == file->error, "%s: %s", file->path, strerror(error));
}
END_TEST

START_TEST(without_a_configuration_there_is_no_reading_in_etc)
{
	pid_t child = fork();

	if (!child) {
		enter(NULL);
		_exit(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0);
	}
	ck_assert_int_eq(verdict_of(child), EACCES);
}
END_TEST

/* ---- Core dumps ------------------------------------------------------------------------------- */

#define SECRET_SIZE 32

/* A process that knows a secret dies, in the state directory; whether its core dump has it. */
static bool is_in_core_dump(const char *secret, bool in_the_sandbox)
{
	struct rlimit limit;
	char path[64], *core = NULL;
	size_t room = 0;
	ssize_t size;
	int status;
	FILE *file;
	bool is_there;
	pid_t child = fork();

	if (!child) {
		ck_assert_int_eq(chdir(d->state_dir), 0);
		getrlimit(RLIMIT_CORE, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_CORE, &limit);
		if (in_the_sandbox)
			enter(NULL);
		abort();
	}
	status = end_of(child);
	ck_assert(WIFSIGNALED(status) && WCOREDUMP(status));
	snprintf(path, sizeof(path), "%s/core", d->state_dir);
	if (access(path, F_OK) < 0) /* core_uses_pid */
		snprintf(path, sizeof(path), "%s/core.%d", d->state_dir, child);
	file = fopen(path, "re");
	ck_assert_msg(file, "there is no %s", path);
	for (size = 0; !feof(file); size += (ssize_t)fread(core + size, 1, 65536, file)) {
		room = (size_t)size + 65536;
		core = realloc(core, room);
		ck_assert_ptr_nonnull(core);
	}
	fclose(file);
	unlink(path);
	is_there = memmem(core, (size_t)size, secret, SECRET_SIZE);
	free(core);
	return is_there;
}

START_TEST(a_core_dump_holds_nothing_that_the_process_knew)
{
	char *secret = malloc(SECRET_SIZE);

	ck_assert_int_eq(getrandom(secret, SECRET_SIZE, 0), SECRET_SIZE);
	ck_assert(is_in_core_dump(secret, false));
	ck_assert(!is_in_core_dump(secret, true));
	free(secret);
}
END_TEST

/* Core dumps are files of that name in the current directory. */
static bool makes_core_files(void)
{
	char pattern[8] = "";
	struct rlimit limit;
	FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");

	if (!file)
		return false;
	(void)!fgets(pattern, sizeof(pattern), file);
	fclose(file);
	return !strcmp(pattern, "core\n") && !getrlimit(RLIMIT_CORE, &limit) && limit.rlim_max;
}

/* ---------------------------------------------------------------------------------------------- */

static void add_daemon_tests(TCase *daemon)
{
	const char *wrapper = getenv("KVMATTR_TEST_WRAPPER");

	tcase_add_test(daemon, without_a_sandbox_it_keeps_its_rights_and_says_so);
	if (wrapper && *wrapper) {
		puts("# skipped: the daemon's threads: under a wrapper it has no sandbox");
		return;
	}
	tcase_add_test(daemon, every_thread_is_confined_whenever_it_was_made);
	tcase_add_test(daemon, its_core_dumps_hold_no_memory);
	tcase_add_test(daemon, a_file_in_place_of_the_configuration_is_read_with_the_names_in_it);
}

static void add_file_tests(TCase *same)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
		puts("# skipped: files: the kernel has no Landlock");
		return;
	}
	tcase_add_loop_test(same, only_files_that_the_daemon_needs_can_be_opened, 0, N(files));
	tcase_add_test(same, without_a_configuration_there_is_no_reading_in_etc);
}

static int run(void)
{
	TCase *daemon = harness_make_case("daemon", 60);
	TCase *same = harness_make_case("the same sandbox", 60);
	TCase *const cases[] = { daemon, same, NULL };

	add_daemon_tests(daemon);
	tcase_add_checked_fixture(same, make_directories, remove_directories);
	tcase_add_loop_test(same, a_call_that_the_daemon_never_makes_is_none_that_it_has, 0,
			    N(forbidden));
	tcase_add_test(same, an_abort_is_still_one);
	add_file_tests(same);
	if (makes_core_files())
		tcase_add_test(same, a_core_dump_holds_nothing_that_the_process_knew);
	else
		puts("# skipped: core dumps: they are no files named core here");
	return harness_run("sandbox", cases);
}

int main(void)
{
	if (sandbox_is_built_in)
		return run();
	puts("1..0 # SKIP a build with sanitizers has no sandbox");
	return EXIT_SUCCESS;
}
