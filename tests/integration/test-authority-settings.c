/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words that say who may do what: each one as it is meant, and what is none.
 */
#include "protocol/seqpacket.h"
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/other-users.h"
#include "tests/integration/program.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <mntent.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER_ID 61002

static struct kvmattrd *d;

/* ---- Words that are meant ------------------------------------------------------------------- */

/* section: of [authority]; name, which may be "", is put behind it. */
static void start(const char *section, const char *name)
{
	char text[512];

	snprintf(text, sizeof(text), "[daemon]\nsocket-mode = 0666\n[authority]\n%s%s\n", section,
		 name);
	d = kvmattrd_prepare();
	ck_assert_int_eq(chmod(d->directory, 0755), 0);
	kvmattrd_launch(d, text);
}

/* A process of that user and group, with no other groups, may observe. */
static bool may_observe(uid_t uid, gid_t gid)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"method\":\"daemon.get\",\"id\":1}\n";
	struct control_client *client;
	struct json_object *answer;
	bool may;

	client = control_connect_as(d, uid, gid);
	(void)!send(client->socket, request, strlen(request), MSG_NOSIGNAL); /* it may be closed */
	answer = control_receive(client);
	ck_assert_ptr_nonnull(answer);
	may = json_has(answer, "result");
	if (!may)
		ck_assert_int_eq(json_number_at(answer, "error.code"), ACCESS_DENIED);
	json_object_put(answer);
	control_close(client);
	return may;
}

static const struct {
	const char *settings;
	bool other_may;   /* OTHER_ID in a group of that number */
	bool grouped_may; /* 61003 in that group */
	bool third_may;   /* 61003 in another one */
} lists[] = {
	{ "", true, true, true },
	{ "observe = all\n", true, true, true },
	{ "observe =\n", false, false, false },
	{ "observe = uid:61002\n", true, false, false },
	{ "observe = gid:61002\n", true, true, false },
	{ "observe = uid:61003\n", false, true, true },
	{ "observe = uid:61003 gid:61002\n", true, true, true },
	/* lines add up */
	{ "observe = uid:1\nobserve = uid:61002\n", true, false, false },
	{ "observe = uid:61002\nobserve =\n", true, false, false },
	{ "observe = uid:1\n\tuid:61002\n", true, false, false },
	/* who operates observes; who registers does not */
	{ "observe =\noperate = uid:61002\n", true, false, false },
	{ "observe =\nregister = all\n", false, false, false },
};

START_TEST(a_list_means_those_whom_it_names)
{
	start(lists[_i].settings, "");
	ck_assert(may_observe(OTHER_ID, OTHER_ID) == lists[_i].other_may);
	ck_assert(may_observe(61003, OTHER_ID) == lists[_i].grouped_may);
	ck_assert(may_observe(61003, 61003) == lists[_i].third_may);
	ck_assert(may_observe(0, 0));
	kvmattrd_stop(d);
}
END_TEST

START_TEST(users_and_groups_may_be_named)
{
	const struct passwd *user = getpwuid(65534);
	const struct group *group = getgrgid(65534);

	if (!user || !group) {
		puts("# skipped: users_and_groups_may_be_named: 65534 has no name here");
		return;
	}
	start("observe = user:", user->pw_name);
	ck_assert(may_observe(65534, OTHER_ID));
	ck_assert(!may_observe(OTHER_ID, 65534));
	kvmattrd_stop(d);
	start("observe = group:", group->gr_name);
	ck_assert(may_observe(OTHER_ID, 65534));
	ck_assert(!may_observe(65534, OTHER_ID));
	kill(d->pid, SIGHUP);
	EVENTUALLY(5000, kvmattrd_has_logged(d, "settings were read anew"));
	ck_assert(may_observe(OTHER_ID, 65534));
	ck_assert(!may_observe(65534, OTHER_ID));
	kvmattrd_stop(d);
}
END_TEST

/* ---- Units ---------------------------------------------------------------------------------- */

static char cgroups[128]; /* where the hierarchy of systemd is mounted */

static void find_cgroups(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *mount;

	ck_assert_ptr_nonnull(mounts);
	*cgroups = '\0';
	while ((mount = getmntent(mounts)))
		if (!strcmp(mount->mnt_type, "cgroup2"))
			snprintf(cgroups, sizeof(cgroups), "%s", mount->mnt_dir);
	endmntent(mounts);
}

/* Makes it, with all above it.  Returns 0 or an errno. */
static int make_cgroup(const char *path)
{
	char all[256];
	int n = (int)strlen(cgroups) + 1;

	snprintf(all, sizeof(all), "%s%s/", cgroups, path);
	for (char *slash = strchr(all + n, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(all, 0755) < 0 && errno != EEXIST)
			return errno;
		*slash = '/';
	}
	return 0;
}

static void remove_cgroup(const char *path)
{
	char all[256];
	char *slash;
	int n = snprintf(all, sizeof(all), "%s%s", cgroups, path);

	ck_assert_int_lt(n, (int)sizeof(all));
	while ((slash = strrchr(all, '/')) && (size_t)(slash - all) >= strlen(cgroups)) {
		(void)rmdir(all);
		*slash = '\0';
	}
}

/* Goes there, and is there for everyone who looks. */
static bool enter_cgroup(const char *path)
{
	char file[256], line[256], wanted[256];
	bool is_there = false;
	FILE *open;

	snprintf(file, sizeof(file), "%s%s/cgroup.procs", cgroups, path);
	open = fopen(file, "we");
	if (!open || fprintf(open, "%d", getpid()) < 0 || fclose(open))
		return false;
	snprintf(wanted, sizeof(wanted), "0::%s\n", path);
	open = fopen("/proc/self/cgroup", "re");
	while (open && fgets(line, sizeof(line), open))
		is_there |= !strcmp(line, wanted);
	if (open)
		fclose(open);
	return is_there;
}

/* A process in that cgroup may observe. */
static bool may_observe_from(const char *path)
{
	pid_t child = fork();
	int status = 0;

	ck_assert_int_ge(child, 0);
	if (!child) {
		harness_die_with_parent();
		_exit(!enter_cgroup(path) ? 2 : !may_observe(OTHER_ID, OTHER_ID));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return !WEXITSTATUS(status);
}

#define SLICE   "/kvmattr.slice/kvmattr-test.slice"
#define SERVICE SLICE "/kvmattr-test-vmm.service"
#define OTHER   SLICE "/kvmattr-test-other.service"
#define BELOW   SERVICE "/vm-1"
#define USER_S  SLICE "/user@61002.service/app.slice/kvmattr-test-vmm.service"

static const char *const places[] = { SERVICE, OTHER, BELOW, USER_S };

static const struct {
	const char *name;
	bool may[N(places)];
} units[] = {
	{ "kvmattr-test-vmm.service", { true, false, true, false } },
	{ "kvmattr-test.slice", { true, true, true, true } },
	{ "kvmattr.slice", { true, true, true, true } },
	{ "user@61002.service", { false, false, false, true } },
	{ "app.slice", { false, false, false, false } },
	{ "kvm.slice", { false, false, false, false } },
	{ "vm-1.scope", { false, false, false, false } },
	{ "kvmattr-test-vmm.service uid:61003", { true, false, true, false } },
};

/* Why cgroups cannot be made here, or NULL. */
static const char *why_no_cgroups(void)
{
	pid_t child;
	int status = 0;

	find_cgroups();
	if (!*cgroups)
		return "no unified cgroup hierarchy is mounted";
	for (int i = 0; i < N(places); i++)
		if (make_cgroup(places[i]))
			return "cgroups cannot be made";
	child = fork();
	if (!child)
		_exit(!enter_cgroup(SERVICE));
	waitpid(child, &status, 0);
	return status ? "a process cannot be put into a cgroup" : NULL;
}

START_TEST(a_unit_is_where_systemd_has_put_a_process_and_nothing_below_that)
{
	const char *why = why_no_cgroups();

	if (why)
		printf("# skipped: a_unit_is_where_systemd_has_put_a_process...: %s\n", why);
	for (int i = 0; i < N(units) && !why; i++) {
		start("observe = unit:", units[i].name);
		for (int place = 0; place < N(places); place++)
			ck_assert_msg(may_observe_from(places[place]) == units[i].may[place],
				      "%s from %s", units[i].name, places[place]);
		kvmattrd_stop(d);
	}
	for (int i = 0; i < N(places); i++)
		remove_cgroup(places[i]);
}
END_TEST

/* A connection that a process in that cgroup has made; *ret_maker is that process. */
static struct control_client *connect_from(const char *path, pid_t *ret_maker)
{
	struct control_client *client;
	struct seqpacket_fds fds;
	int channel[2];
	char byte = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
	*ret_maker = fork();
	ck_assert_int_ge(*ret_maker, 0);
	if (!*ret_maker) {
		struct iovec part = { &byte, 1 };

		harness_die_with_parent();
		ck_assert(enter_cgroup(path));
		ck_assert_int_eq(seteuid(OTHER_ID), 0);
		client = control_connect(d);
		ck_assert_int_eq(seqpacket_send(channel[1], &part, 1, &client->socket, 1, 0), 0);
		for (;;)
			pause();
	}
	close(channel[1]);
	ck_assert_int_eq(seqpacket_receive(channel[0], &byte, 1, &fds, 0), 1);
	close(channel[0]);
	client = calloc(1, sizeof(*client));
	ck_assert_ptr_nonnull(client);
	client->socket = seqpacket_fds_take(&fds, 0);
	client->input = fdopen(client->socket, "r");
	ck_assert_ptr_nonnull(client->input);
	return client;
}

/* Whatever process has its PID by then. */
START_TEST(a_process_that_has_ended_is_in_no_unit_when_settings_are_read_anew)
{
	const char *why = why_no_cgroups();

	if (why) {
		printf("# skipped: a_process_that_has_ended_is_in_no_unit...: %s\n", why);
	} else {
		struct control_client *client;
		pid_t maker;

		start("operate = unit:", "kvmattr-test-vmm.service");
		client = connect_from(SERVICE, &maker);
		json_object_put(control_call(client, "stats.reset", "{}"));
		ck_assert_int_eq(kill(maker, SIGKILL), 0);
		ck_assert_int_eq(waitpid(maker, NULL, 0), maker);
		json_object_put(control_call(client, "stats.reset", "{}"));
		ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
		EVENTUALLY(5000, kvmattrd_has_logged(d, "settings were read anew"));
		control_expect_error(client, "stats.reset", "{}", ACCESS_DENIED, "for operators");
		ck_assert(kvmattrd_has_logged(d, "its unit is not known: it has ended"));
		control_close(client);
		kvmattrd_stop(d);
	}
	for (int i = 0; i < N(places); i++)
		remove_cgroup(places[i]);
}
END_TEST

/* ---- What is wrong -------------------------------------------------------------------------- */

#define TAKES "it takes a list of all, user:NAME, uid:N, group:NAME, gid:N and unit:NAME; "

static const struct {
	const char *text;
	const char *said;
} wrong[] = {
	{ "[authority]\nobserve = everyone\n",
	  ":2: observe = everyone is not valid: " TAKES "'everyone' is none of these" },
	{ "[authority]\n\nregister = all nobody\n", ":3: register = all nobody is not valid: " },
	{ "[authority]\noperate = user:no-such-user\n", TAKES "there is no user 'no-such-user'" },
	{ "[authority]\noperate = uid:1 group:no-such-group\n",
	  TAKES "there is no group 'no-such-group'" },
	{ "[authority]\noperate = user:\n", TAKES "there is no user ''" },
	{ "[authority]\noperate = uid:root\n", TAKES "'root' is no number from 0 to 4294967294" },
	{ "[authority]\noperate = uid:\n", TAKES "'' is no number" },
	{ "[authority]\noperate = uid:-1\n", TAKES "'-1' is no number" },
	{ "[authority]\noperate = uid:4294967295\n", TAKES "'4294967295' is no number" },
	{ "[authority]\noperate = gid:99999999999999999999\n", TAKES },
	{ "[authority]\noperate = gid:0x10\n", TAKES "'0x10' is no number" },
	{ "[authority]\noperate = unit:libvirtd\n",
	  TAKES "'libvirtd' is no name of a service, scope or slice" },
	{ "[authority]\noperate = unit:.service\n", TAKES "'.service' is no name" },
	{ "[authority]\noperate = unit:/a.slice/x.service\n", TAKES },
	{ "[authority]\noperate = uid:0,uid:1\n", TAKES "'0,uid:1' is no number" },
	{ "[authority]\noperate = ALL\n", TAKES "'ALL' is none of these" },
	{ "[authority]\noperate = uid:1\noperate = uid:2\n  uid:x\n",
	  ":4: operate = uid:x is not valid: " },
	{ "[authority]\nadmin = all\n", ":2: there is no setting 'admin' in section [authority]" },
	{ "observe = all\n", ":1: there is no setting 'observe' in section []" },
	{ "[limits]\nobserve = all\n", ":2: there is no setting 'observe' in section [limits]" },
	{ "[authority]\nobserve\n", ":2: neither [section] nor key = value" },
};

static void expect_not_to_start(const char *text, const char *said)
{
	char path[64];
	struct program_result result;
	FILE *file;

	d = kvmattrd_prepare();
	snprintf(path, sizeof(path), "%s/kvmattrd.conf", d->directory);
	file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
	result = program_run((const char *const[]){ KVMATTRD_PROGRAM, "--foreground", "--config",
						    path, "--runtime-dir", d->runtime_dir,
						    "--state-dir", d->state_dir, NULL });
	expect_result(&result, 1, "", said);
	ck_assert_ptr_nonnull(strstr(result.err, path));
	program_forget(&result);
	kvmattrd_discard(d);
}

START_TEST(what_is_no_list_is_said_with_line_key_and_what_is_allowed)
{
	expect_not_to_start(wrong[_i].text, wrong[_i].said);
}
END_TEST

START_TEST(a_line_that_is_too_long_is_said_and_not_taken_for_two)
{
	char text[512];

	snprintf(text, sizeof(text), "[authority]\nobserve = uid:1 %180s uid:2\n", "");
	expect_not_to_start(text, ":2: this line is too long");
}
END_TEST

int main(void)
{
	TCase *meant = harness_make_case("words", 60);
	TCase *not_meant = harness_make_case("wrong", 60);

	if (geteuid() == 0) {
		tcase_add_loop_test(meant, a_list_means_those_whom_it_names, 0, N(lists));
		tcase_add_test(meant, users_and_groups_may_be_named);
		tcase_add_test(meant,
			       a_unit_is_where_systemd_has_put_a_process_and_nothing_below_that);
		tcase_add_test(meant,
			       a_process_that_has_ended_is_in_no_unit_when_settings_are_read_anew);
	} else {
		puts("# skipped: the words that are meant: not root, so no other user can be had");
	}
	tcase_add_loop_test(not_meant, what_is_no_list_is_said_with_line_key_and_what_is_allowed, 0,
			    N(wrong));
	tcase_add_test(not_meant, a_line_that_is_too_long_is_said_and_not_taken_for_two);
	return harness_run("authority's settings", (TCase *const[]){ meant, not_meant, NULL });
}
