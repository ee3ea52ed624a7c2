/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What shells are told that a command line may go on with: by kvmattrctl itself, and by the files
 * for bash and zsh, which are run in these shells.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/program.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS   16
#define PATIENCE_MS 5000

static struct kvmattrd *d;
static struct simulated_vmm *guest, *other;

static void start(void)
{
	d = kvmattrd_start(NULL);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	other = simulated_vmm_start(d, &(struct simulated_vmm_options){ .name = "other-guest" });
	expect_ok(guest->owner, kvmattr_enable_layer(guest->owner, 1, KVMATTR_RWX, 0));
}

static void stop(void)
{
	simulated_vmm_stop(guest);
	simulated_vmm_stop(other);
	kvmattrd_stop(d);
}

/* The words that are offered, in their order, with a blank behind each; the caller's to free. */
static char *complete(const char *const *words)
{
	const char *argv[MAX_WORDS] = { KVMATTRCTL_PROGRAM, "complete", "--", "-r",
					d->runtime_dir };
	struct program_result result;
	char *all = calloc(1, 1), *state = NULL;
	int n = 5;

	while (*words && n < MAX_WORDS - 1)
		argv[n++] = *words++;
	result = program_run(argv);
	ck_assert_int_eq(result.status, 0);
	ck_assert_str_eq(result.err, "");
	for (char *line = strtok_r(result.out, "\n", &state); line;
	     line = strtok_r(NULL, "\n", &state)) {
		char *longer;

		ck_assert_int_ge(asprintf(&longer, "%s%.*s ", all, (int)strcspn(line, "\t"), line),
				 0);
		free(all);
		all = longer;
	}
	program_forget(&result);
	return all;
}

/*
 * Asks until that is among what is offered, for some seconds: kvmattrctl does without what a daemon
 * has not said after a quarter of a second.  Returns what was offered last; the caller's to free.
 */
static char *complete_until(const char *expected, const char *const *words)
{
	const uint64_t until_ms = harness_now_ms() + (uint64_t)PATIENCE_MS * harness_patience();
	char *offered = complete(words);

	while (!strstr(offered, expected) && harness_now_ms() < until_ms) {
		free(offered);
		offered = complete(words);
	}
	return offered;
}

static void expect_offers(const char *expected, const char *const *words)
{
	char *offered = complete_until(expected, words);

	ck_assert_str_eq(offered, expected);
	free(offered);
}

#define EXPECT_OFFERS(expected, ...) \
	expect_offers(expected, (const char *const[]){ __VA_ARGS__, NULL })

START_TEST(commands_and_their_second_words_are_offered)
{
	char *all = complete((const char *const[]){ "", NULL });

	ck_assert_ptr_nonnull(strstr(all, "status "));
	ck_assert_ptr_nonnull(strstr(all, "journal "));
	free(all);
	EXPECT_OFFERS("map ", "ma");
	EXPECT_OFFERS("show summary effective layers layer explain ", "map", "");
	EXPECT_OFFERS("effective explain ", "map", "e");
	EXPECT_OFFERS("", "frobnicate", "");
	EXPECT_OFFERS("watch ", "--json", "wa");
}
END_TEST

START_TEST(options_are_those_of_the_command)
{
	EXPECT_OFFERS("--interval= ", "watch", "--int");
	EXPECT_OFFERS("", "status", "--int");
	EXPECT_OFFERS("--json ", "--js");
	EXPECT_OFFERS("always ", "--color=al");
	EXPECT_OFFERS("auto always never ", "--color", "");
	EXPECT_OFFERS("r w x ", "explain", "guest", "0x1000", "--access", "");
	EXPECT_OFFERS(":files ", "map", "show", "guest", "--svg", "");
	EXPECT_OFFERS("", "vm", "get", "--", "--js");
}
END_TEST

START_TEST(vms_journals_layers_and_methods_are_those_of_now)
{
	EXPECT_OFFERS("other-guest guest ", "vm", "get", "");
	EXPECT_OFFERS("guest ", "map", "show", "--vtl", "1", "g");
	EXPECT_OFFERS("guest ", "watch", "g");
	EXPECT_OFFERS("1 ", "map", "layer", "guest", "");
	EXPECT_OFFERS("vm.list ", "rpc", "vm.li");
	EXPECT_OFFERS("journal.trouble journal.well ", "events", "--event", "journal.");
	EXPECT_OFFERS("error warning info debug ", "log-level", "");
	EXPECT_OFFERS("lock ", "vm", "update", "guest", "lo");
	EXPECT_OFFERS("none ", "vm", "update", "guest", "protect", "--protection", "n");
	EXPECT_OFFERS("private ", "vm", "update", "guest", "--visibility=p");
	EXPECT_OFFERS(":files ", "export", "guest", "");
	EXPECT_OFFERS(":files ", "journal", "verify", "a", "b", "");
	/* No more than it takes. */
	EXPECT_OFFERS("", "vm", "get", "guest", "");
	{
		char *journals = complete_until(
			"other-guest.", (const char *const[]){ "journal", "log", "other", NULL });

		ck_assert_ptr_nonnull(strstr(journals, "other-guest "));
		ck_assert_ptr_nonnull(strstr(journals, "other-guest."));
		free(journals);
	}
}
END_TEST

/* What --help says, with that behind the program's name; the caller's to forget. */
static struct program_result help_of(const char *first, const char *second)
{
	const char *argv[] = { KVMATTRCTL_PROGRAM, first, second ? second : "--help",
			       second ? "--help" : NULL, NULL };

	return program_run(argv);
}

/* Every option that the command's --help has is offered where it could stand. */
static void expect_options(const char *first, const char *second)
{
	struct program_result help = help_of(first, second);
	char *state = NULL, *line = strtok_r(help.out, "\n", &state);
	unsigned int n = 0;

	for (; line; line = strtok_r(NULL, "\n", &state)) {
		char *option = strstr(line, "--"), *all;

		/* where one stands, not where one is spoken of */
		if (!option || option > line + 8 || option[2] == ' ')
			continue;
		option[2 + strspn(option + 2, "abcdefghijklmnopqrstuvwxyz-")] = '\0';
		all = complete((const char *const[]){ first, second ? second : option,
						      second ? option : NULL, NULL });
		ck_assert_msg(!strncmp(all, option, strlen(option)), "%s %s: %s is not offered",
			      first, second ? second : "", option);
		free(all);
		n++;
	}
	/* those of every command */
	ck_assert_uint_ge(n, 6);
	program_forget(&help);
}

START_TEST(every_command_and_option_that_help_has_is_offered)
{
	struct program_result help = help_of("--help", NULL);
	char *state = NULL, *line = strstr(help.out, "Commands:\n");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(line);
	/* argp loses what it makes of a command without options (glibc, argp-help.c, hol_free()) */
	ck_assert_int_eq(setenv("ASAN_OPTIONS", "detect_leaks=0", 1), 0);
	strtok_r(line, "\n", &state);
	while ((line = strtok_r(NULL, "\n", &state)) && !strncmp(line, "  ", 2)) {
		char first[16] = "", second[16] = "", *offered;
		int length;

		ck_assert_int_eq(sscanf(line, " %15s%n", first, &length), 1);
		/* a second word stands behind one blank, and is no argument's */
		sscanf(line + length + 1, "%15[a-z-]", second);
		offered = *second ? complete((const char *const[]){ first, second, NULL })
				  : complete((const char *const[]){ first, NULL });
		ck_assert_ptr_nonnull(strstr(offered, *second ? second : first));
		free(offered);
		expect_options(first, *second ? second : NULL);
		n++;
	}
	ck_assert_uint_gt(n, 30);
	program_forget(&help);
}
END_TEST

START_TEST(every_method_is_offered)
{
	struct program_result result = program_run((const char *const[]){
		KVMATTRCTL_PROGRAM, "--runtime-dir", d->runtime_dir, "rpc", "rpc.methods", NULL });
	struct json_object *answer = json_tokener_parse(result.out);
	struct json_object *methods = json_at(answer, "methods");

	ck_assert_uint_gt(json_object_array_length(methods), 20);
	for (size_t i = 0; i < json_object_array_length(methods); i++) {
		const char *name = json_text_at(json_object_array_get_idx(methods, i), "name");
		char *offered = complete_until(name, (const char *const[]){ "rpc", name, NULL });

		ck_assert_int_eq(strncmp(offered, name, strlen(name)), 0);
		free(offered);
	}
	json_object_put(answer);
	program_forget(&result);
}
END_TEST

START_TEST(without_a_daemon_there_is_silence_and_the_rest)
{
	const char *runtime_dir = "/nowhere";

	memcpy(d->runtime_dir, runtime_dir, strlen(runtime_dir) + 1);
	EXPECT_OFFERS("", "vm", "get", "");
	EXPECT_OFFERS("", "rpc", "");
	EXPECT_OFFERS("get ", "vm", "g");
}
END_TEST

START_TEST(a_daemon_that_does_not_answer_is_not_waited_for)
{
	uint64_t began_ms = harness_now_ms();

	ck_assert_int_eq(kill(d->pid, SIGSTOP), 0);
	EXPECT_OFFERS("", "vm", "get", "");
	ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
	/* the case's own limit is what fails if it hangs; kvmattrctl's usual one is 5 s */
	ck_assert_uint_lt(harness_now_ms() - began_ms, 5000u * harness_patience());
}
END_TEST

/* ---- In the shells ------------------------------------------------------------------------- */

static bool has_said(const struct program_result *result, const char *expected)
{
	return result->status == 0 && !strcmp(result->out, expected) && !*result->err;
}

/*
 * Runs a script with $1 the completion's file, $2 kvmattrctl, $3 the runtime directory; until it says
 * that, as complete_until().
 */
static void expect_script(const char *shell, const char *file, const char *script,
			  const char *expected)
{
	const char *directory = harness_program("KVMATTR_COMPLETION", "client/completion");
	const uint64_t until_ms = harness_now_ms() + (uint64_t)PATIENCE_MS * harness_patience();
	struct program_result result;
	char path[512];
	const char *const argv[] = { shell,          "-c", script, shell, path, KVMATTRCTL_PROGRAM,
				     d->runtime_dir, NULL };

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	result = program_run(argv);
	while (!has_said(&result, expected) && harness_now_ms() < until_ms) {
		program_forget(&result);
		result = program_run(argv);
	}
	ck_assert_msg(has_said(&result, expected), "%s ended with %d, not 0 with \"%s\": %s%s",
		      shell, result.status, expected, result.out, result.err);
	program_forget(&result);
}

START_TEST(bash_offers_the_words_as_its_user_goes_on)
{
	expect_script("bash", "kvmattrctl.bash",
		      "set -u; source \"$1\"; export KVMATTR_RUNTIME_DIR=$3\n"
		      "ask() { COMP_LINE=\"kvmattrctl $1\"; COMP_POINT=${#COMP_LINE}; COMPREPLY=();"
		      " _kvmattrctl \"$ctl\"; echo \"${COMPREPLY[*]}\"; }\n"
		      "ctl=$2\n"
		      "ask 'ma'; ask 'vm get '; ask 'map show g'; ask 'rpc stats.g'\n"
		      "ask '--color=al'; ask 'watch --cou'; ask 'export guest /et'\n"
		      "KVMATTR_RUNTIME_DIR=/nowhere; ask 'vm get '\n"
		      "complete -p kvmattrctl",
		      "map\nother-guest guest\nguest\nstats.get\nalways\n--count=\n/etc\n\n"
		      "complete -F _kvmattrctl kvmattrctl\n");
}
END_TEST

START_TEST(zsh_offers_the_words_with_what_they_are)
{
	/* zsh's own part is stood in for: _describe says what it is given. */
	static const char script[] =
		"_describe() { print -l -- \"${(@P)4}\"; }\n"
		"compset() { echo \"compset $*\"; }; _files() { echo files; }\n"
		"file=$1; export KVMATTR_RUNTIME_DIR=$3\n"
		"ask() { words=($ctl \"$@\"); CURRENT=$#words; source $file; }; ctl=$2\n"
		"ask ma; ask vm get o; ask --color=al; ask watch --cou; ask export guest ''\n"
		"KVMATTR_RUNTIME_DIR=/nowhere; ask vm get '' || echo nothing";

	expect_script("zsh", "_kvmattrctl", script,
		      "map:...\nother-guest:idle\ncompset -P *=\nalways\n"
		      "--count=:end after N intervals (when told to)\nfiles\nnothing\n");
}
END_TEST

int main(void)
{
	TCase *words = harness_make_case("words", 20);
	TCase *shells = harness_make_case("shells", 20);

	tcase_add_checked_fixture(words, start, stop);
	tcase_add_test(words, commands_and_their_second_words_are_offered);
	tcase_add_test(words, options_are_those_of_the_command);
	tcase_add_test(words, vms_journals_layers_and_methods_are_those_of_now);
	tcase_add_test(words, every_command_and_option_that_help_has_is_offered);
	tcase_add_test(words, every_method_is_offered);
	tcase_add_test(words, without_a_daemon_there_is_silence_and_the_rest);
	tcase_add_test(words, a_daemon_that_does_not_answer_is_not_waited_for);
	tcase_add_checked_fixture(shells, start, stop);
	tcase_add_test(shells, bash_offers_the_words_as_its_user_goes_on);
	if (system("zsh -c : 2>/dev/null") == 0)
		tcase_add_test(shells, zsh_offers_the_words_with_what_they_are);
	else
		printf("# skipped: zsh_offers_the_words_with_what_they_are: zsh is not installed\n");
	return harness_run("kvmattrctl complete", (TCase *const[]){ words, shells, NULL });
}
