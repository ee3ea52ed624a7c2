/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvmattr has KVM's statistics of real VMs for the daemon: it gets them where KVM has them, and
 * they go with the registration and with every return to it.
 */
#include "protocol/kvm-abi.h"
#include "tests/unit/libkvmattr-checks.h"
#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define N_VIEWS 2

static const uint8_t vtls[N_VIEWS] = { 0, 1 };

static void must_be_named(int fd, const char *name)
{
	char link[32], found[64] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	MUST(readlink(link, found, sizeof(found) - 1) > 0);
	MUST(!strcmp(found, name));
}

/* The executor's socket was taken out of them. */
static void must_have_statistics(const struct scripted_daemon *d)
{
	MUST(d->fds.n == 1 + 2 * N_VIEWS);
	for (size_t i = 0; i < N_VIEWS; i++) {
		must_be_named(d->fds.fd[1 + i], "anon_inode:kvm-vm");
		must_be_named(d->fds.fd[1 + N_VIEWS + i], "anon_inode:kvm-vm-stats");
	}
}

static void take_real_vms_twice(struct scripted_daemon *d)
{
	struct wire_explained explained = { .gfn = 5, .allowed = 1 };

	daemon_welcome_nobody(d, DAEMON_WINDOW);
	daemon_receive_registration(d);
	must_have_statistics(d);
	daemon_send_registered(d, d->header.id, N_VIEWS, vtls, KVMATTR_ABI_DENY, WIRE_EXECUTOR_VMM);
	daemon_receive(d, WIRE_EXPLAIN);
	daemon_die(d);
	daemon_welcome_back(d, N_VIEWS);
	must_have_statistics(d);
	daemon_send_owner_resumed(d, 0, N_VIEWS, vtls, KVMATTR_ABI_DENY, WIRE_EXECUTOR_VMM);
	daemon_receive(d, WIRE_EXPLAIN);
	explained.header = wire_header_make(WIRE_EXPLAINED, sizeof(explained), d->header.id);
	daemon_send(d, &explained, sizeof(explained));
	daemon_receive_goodbye(d);
}

/* A VM, and whether KVM has statistics of it; -1 where it makes none. */
static int make_real(bool *ret_has_statistics)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, _IO(KVM_ABI_IO, 0x01), 0); /* KVM_CREATE_VM */
	int stats = vm < 0 ? -1 : ioctl(vm, KVM_ABI_GET_STATS_FD, 0);

	*ret_has_statistics = stats >= 0;
	if (stats >= 0)
		close(stats);
	if (kvm >= 0)
		close(kvm);
	return vm;
}

START_TEST(kvms_statistics_of_real_vms_go_with_the_registration_and_with_every_return)
{
	struct kvmattr_view views[N_VIEWS];
	const struct kvmattr_vm vm = { .name = "win", .views = views, .n_views = N_VIEWS };
	struct kvmattr_explanation explanation;
	struct scripted_daemon *d;
	bool has_statistics = true;
	struct kvmattr *c;

	for (unsigned int i = 0; i < N_VIEWS && has_statistics; i++)
		views[i] =
			(struct kvmattr_view){ .vtl = vtls[i], .fd = make_real(&has_statistics) };
	if (!has_statistics) {
		printf("# skipped: kvms_statistics_of_real_vms_go_with_the_registration_and_with_"
		       "every_return: KVM makes no VM here, or has no KVM_GET_STATS_FD\n");
		if (views[0].fd >= 0)
			close(views[0].fd);
		return;
	}
	d = daemon_start_resumable(take_real_vms_twice, 0, NULL);
	c = connect_to(d);
	ck_assert_int_eq(kvmattr_register(c, &vm, NULL), 0);
	for (unsigned int i = 0; i < N_VIEWS; i++)
		close(views[i].fd);
	ck_assert_int_eq(kvmattr_explain(c, 0, 5, KVMATTR_READ, &explanation), 0);
	kvmattr_close(c);
	daemon_end(d);
}
END_TEST

int main(void)
{
	TCase *statistics = checks_make_case("statistics");

	tcase_add_test(statistics,
		       kvms_statistics_of_real_vms_go_with_the_registration_and_with_every_return);
	return checks_run("libkvmattr-statistics", (TCase *[]){ statistics, NULL });
}
