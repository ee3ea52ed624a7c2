/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.metrics, judged by Prometheus' own promtool: it can be parsed, and it is what Prometheus'
 * authors advise of names, units and types.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/scrape.h"
#include "tests/integration/simulated-vmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct program_result promtool_check(const struct kvmattrd *d, const char *text)
{
	char path[64], command[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/metrics", d->runtime_dir);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	snprintf(command, sizeof(command), "promtool check metrics <%s", path);
	return program_run((const char *const[]){ "sh", "-c", command, NULL });
}

/* It says nothing of what it likes. */
static void expect_no_complaint(const struct kvmattrd *d, struct control_client *control,
				unsigned int n_pieces)
{
	struct scrape *scrape = scrape_metrics(control);
	struct program_result result = promtool_check(d, scrape->text);

	ck_assert_uint_ge(scrape->n_pieces, n_pieces);
	ck_assert_msg(result.status == 0 && !*result.out && !*result.err, "%d: %s%s", result.status,
		      result.out, result.err);
	program_forget(&result);
	scrape_free(scrape);
}

START_TEST(promtool_finds_nothing_to_complain_about_with_and_without_vms)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *control = control_connect(d);
	struct simulated_vmm *guest, *other;

	expect_no_complaint(d, control, 1);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	other = simulated_vmm_start(d, &(struct simulated_vmm_options){
					       .name = "_9.-zZ-", .n_views = 3, .n_pages = 64 });
	expect_ok(guest->owner, kvmattr_enable_layer(guest->owner, 1, KVMATTR_RWX, 0));
	expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_R, 5, 1));
	simulated_vmm_fail(guest, ENOMEM);
	expect_status(guest->owner, protect_range(guest->owner, 1, KVMATTR_RX, 5, 1),
		      KVMATTR_INSUFFICIENT_MEMORY);
	expect_no_complaint(d, control, 1);
	simulated_vmm_stop(guest);
	simulated_vmm_stop(other);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

#define N_VMS 40

START_TEST(promtool_finds_nothing_to_complain_about_in_many_pieces)
{
	struct kvmattrd *d = kvmattrd_start(NULL);
	struct control_client *control = control_connect(d);
	struct simulated_vmm *vms[N_VMS];

	for (int i = 0; i < N_VMS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "vm-%d-of-many-others", i);
		vms[i] = simulated_vmm_start(d, &(struct simulated_vmm_options){
							.name = name, .n_views = 1, .n_pages = 8 });
	}
	expect_no_complaint(d, control, 3);
	for (int i = 0; i < N_VMS; i++)
		simulated_vmm_stop(vms[i]);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

/* So that a silent promtool means something. */
START_TEST(promtool_does_complain_about_what_is_wrong)
{
	static const char *const wrong[] = {
		"# HELP a_total A.\n# TYPE a_total counter\na_total{vm=\"x} 1\n",
		"# HELP a A.\n# TYPE a gauge\na 1\n# TYPE a gauge\na{b=\"c\"} 1\n",
		"# HELP a_ms A.\n# TYPE a_ms counter\na_ms 1\n",
	};
	struct kvmattrd *d = kvmattrd_start(NULL);

	for (int i = 0; i < N(wrong); i++) {
		struct program_result result = promtool_check(d, wrong[i]);

		ck_assert_msg(result.status != 0 || *result.out || *result.err, "not a word of: %s",
			      wrong[i]);
		program_forget(&result);
	}
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *promtool = harness_make_case("promtool", 60);

	if (system("command -v promtool >/dev/null") != 0) {
		puts("1..0 # SKIP promtool is not there: scripts/install-packages.sh test gets it");
		return 0;
	}
	tcase_add_test(promtool, promtool_finds_nothing_to_complain_about_with_and_without_vms);
	tcase_add_test(promtool, promtool_finds_nothing_to_complain_about_in_many_pieces);
	tcase_add_test(promtool, promtool_does_complain_about_what_is_wrong);
	return harness_run("metrics-promtool", (TCase *const[]){ promtool, NULL });
}
