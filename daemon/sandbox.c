/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sandbox.h"

#include "log.h"
#include "protocol/kvm-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define N(array) (sizeof(array) / sizeof(*(array)))

#if defined(__SANITIZE_ADDRESS__)
const bool sandbox_is_built_in = false;
#elif defined(__has_feature)
const bool sandbox_is_built_in = !__has_feature(address_sanitizer);
#else
const bool sandbox_is_built_in = true;
#endif

/* ---- Privileges ------------------------------------------------------------------------------ */

/* Of this thread, which is the only one.  Who is root stays root, as any other user. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, held) < 0)
		return -errno;
	/* A service that has none may not be allowed to say so again. */
	if (!memcmp(held, none, sizeof(none)))
		return 0;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/*
 * Registers, threads and the names of libraries are left in a core dump: where the daemon was, and
 * nothing of its memory (core(5), coredump_filter).  RLIMIT_CORE would not do: a program that takes
 * core dumps from a pipe is free to overlook it.  A process that is not dumpable would be no
 * debugger's at all, and its /proc/PID would be root's (ptrace(2)).
 */
static int keep_memory_out_of_core_dumps(void)
{
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	int r = fd < 0 || write(fd, "0", 1) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	/* Where that cannot be had, there is to be no core dump at all. */
	return r < 0 && prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* What Landlock is to refuse where no rule allows it: struct landlock_ruleset_attr, as of 6.12. */
struct ruleset {
	uint64_t files;
	uint64_t net;
	uint64_t scoped;
};

/* Newer than bookworm's header: Linux' include/uapi/linux/landlock.h. */
enum {
	ALL_SINCE_1 = LANDLOCK_ACCESS_FS_REFER - 1,
	RIGHT_TRUNCATE = 1 << 14,
	RIGHT_IOCTL_DEV = 1 << 15,
	ALL_SINCE_3 = ALL_SINCE_1 | LANDLOCK_ACCESS_FS_REFER | RIGHT_TRUNCATE,
	ALL_SINCE_5 = ALL_SINCE_3 | RIGHT_IOCTL_DEV,
	TCP_BIND_AND_CONNECT = 1 << 0 | 1 << 1,
	SCOPE_ABSTRACT_SOCKETS = 1 << 0,
	SCOPE_SIGNALS = 1 << 1,
};

/* All that Landlock's first version can refuse, its second, and so on. */
static const struct ruleset versions[] = {
	{ ALL_SINCE_1, 0, 0 },
	{ ALL_SINCE_1 | LANDLOCK_ACCESS_FS_REFER, 0, 0 },
	{ ALL_SINCE_3, 0, 0 },
	{ ALL_SINCE_3, TCP_BIND_AND_CONNECT, 0 },
	{ ALL_SINCE_5, TCP_BIND_AND_CONNECT, 0 },
	{ ALL_SINCE_5, TCP_BIND_AND_CONNECT, SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS },
};

enum {
	READ = LANDLOCK_ACCESS_FS_READ_FILE,
	READ_DIR = LANDLOCK_ACCESS_FS_READ_DIR,
	WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE | RIGHT_TRUNCATE,
	REMOVE_FILE = LANDLOCK_ACCESS_FS_REMOVE_FILE,
	KEEP_JOURNALS = READ | READ_DIR | WRITE | LANDLOCK_ACCESS_FS_MAKE_REG |
			LANDLOCK_ACCESS_FS_MAKE_DIR | REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR,
};

/* A place that is not there, or out of reach, needs no rule. */
static int allow(int rules, const struct ruleset *handled, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr beneath = {
		.allowed_access = rights & handled->files,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};
	int r;

	if (beneath.parent_fd < 0)
		return errno == ENOENT || errno == EACCES ? 0 : -errno;
	r = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0
		    ? -errno
		    : 0;
	close(beneath.parent_fd);
	return r;
}

/*
 * A file that is edited is most often replaced by another one, and a rule for the file would not hold
 * for that: so it is for the directory.  Names of users and groups in it are looked up in /etc, or
 * by way of sockets (nss-systemd(8)).
 */
static int allow_reload(int rules, const struct ruleset *handled, const char *config)
{
	char *path = realpath(config, NULL);
	int r = path ? allow(rules, handled, dirname(path), READ) : 0;

	free(path);
	if (!r)
		r = allow(rules, handled, "/etc", READ);
	if (!r)
		r = allow(rules, handled, "/run/systemd/userdb", READ_DIR);
	return r;
}

static int allow_places(int rules, const struct ruleset *handled,
			const struct sandbox_places *places)
{
	int r = allow(rules, handled, places->state_dir, KEEP_JOURNALS);

	if (!r)
		r = allow(rules, handled, places->runtime_dir, REMOVE_FILE);
	/* Which boot this is; which unit a peer belongs to. */
	if (!r)
		r = allow(rules, handled, "/proc", READ);
	if (!r)
		r = allow(rules, handled, "/dev/null", READ | WRITE);
	if (!r && places->config)
		r = allow_reload(rules, handled, places->config);
	return r;
}

static int restrict_files(const struct sandbox_places *places)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	const char *manager = getenv("NOTIFY_SOCKET");
	struct ruleset handled;
	int r, rules;

	if (version < 1) {
		log_write(LOG_LEVEL_DEBUG, "there is no Landlock here: %s", strerror(errno));
		return 0;
	}
	log_write(LOG_LEVEL_DEBUG, "Landlock, version %ld, guards files", version);
	if (version > (long)N(versions))
		version = N(versions);
	handled = versions[version - 1];
	if (manager && *manager == '@')
		handled.scoped &= ~(uint64_t)SCOPE_ABSTRACT_SOCKETS;
	/* Bytes that an older kernel does not know are 0, and so no matter to it. */
	rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (rules < 0)
		return -errno;
	r = allow_places(rules, &handled, places);
	if (!r && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		r = -errno;
	close(rules);
	return r;
}

/* ---- System calls ---------------------------------------------------------------------------- */

/*
 * Found by reading the sources, and by all tests under strace.  Where the C library has the choice
 * between two names, both are here: it differs by its version and by the machine.
 */
static const int allowed_calls[] = {
	/* the event loop */
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(restart_syscall),
	/* peers */
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(socketpair),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(kcmp),
	/* journald, the service manager, name services: their sockets, see below */
	SCMP_SYS(connect),
	/* descriptors */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pwrite64),
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(pipe2),
	SCMP_SYS(lseek),
	/* files, as far as Landlock lets it */
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getdents64),
	SCMP_SYS(mkdirat),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* threads */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setscheduler),
	SCMP_SYS(getpriority),
	SCMP_SYS(setpriority),
	/* signals */
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	/* who and when it is */
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	SCMP_SYS(sysinfo),
};

/* Calls that are allowed if an argument, of which 32 bits count, has this value under a mask. */
struct condition {
	int call;
	unsigned int argument;
	uint32_t mask;
	uint32_t value;
};

#define ALL UINT32_MAX

static int allow_if(scmp_filter_ctx filter, const struct condition *condition)
{
	const struct scmp_arg_cmp compared = {
		.arg = condition->argument,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = condition->mask,
		.datum_b = condition->value,
	};

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, condition->call, 1, &compared);
}

static int allow_calls(scmp_filter_ctx filter)
{
	const struct condition conditions[] = {
		/* KVM's, for executors that run here, and what libevent asks a socket */
		{ SCMP_SYS(ioctl), 1, ALL, KVM_ABI_CHECK_EXTENSION },
		{ SCMP_SYS(ioctl), 1, ALL, KVM_ABI_SET_MEMORY_ATTRIBUTES },
		{ SCMP_SYS(ioctl), 1, ALL, KVM_ABI_V10_GET_SUPPORTED_MEMORY_ATTRIBUTES },
		{ SCMP_SYS(ioctl), 1, ALL, KVM_ABI_V10_SET_MEMORY_ATTRIBUTES },
		{ SCMP_SYS(ioctl), 1, ALL, FIONREAD },
		{ SCMP_SYS(socket), 0, ALL, AF_UNIX },
		/* no new code */
		{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 },
		{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
		/* threads, but no processes; clone3() hides its flags, and libraries do without */
		{ SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD },
		/* abort(); and whether a peer is still there */
		{ SCMP_SYS(tgkill), 0, ALL, (uint32_t)getpid() },
		{ SCMP_SYS(pidfd_send_signal), 1, ALL, 0 },
	};
	int r = 0;

	for (size_t i = 0; !r && i < N(allowed_calls); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	for (size_t i = 0; !r && i < N(conditions); i++)
		r = allow_if(filter, &conditions[i]);
	return r;
}

/*
 * What is not allowed fails with ENOSYS, as in an older kernel: so a newer library that prefers a
 * newer call takes the older one instead.  To be killed for it would be worse for the guests than
 * a call that fails, which everybody here can bear.
 */
static int restrict_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!filter)
		return -ENOMEM;
	/* Those of another architecture, for which nothing here asks. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* Searched like a tree, not call by call. */
	if (!r)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!r)
		r = allow_calls(filter);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

/* ---------------------------------------------------------------------------------------------- */

static int give_up(const char *what, int error)
{
	log_write(LOG_LEVEL_ERROR,
		  "cannot confine itself: %s: %s; with --no-sandbox, or sandbox = no, the daemon "
		  "runs without",
		  what, strerror(-error));
	return error;
}

int sandbox_enter(const struct sandbox_places *places)
{
	int r = keep_memory_out_of_core_dumps();

	if (r < 0)
		return give_up("guests' data in core dumps", r);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return give_up("no new privileges", -errno);
	r = restrict_files(places);
	if (r < 0)
		return give_up("Landlock", r);
	r = drop_capabilities();
	if (r < 0)
		return give_up("capabilities", r);
	r = restrict_calls();
	return r < 0 ? give_up("the filter of system calls", r) : 0;
}
