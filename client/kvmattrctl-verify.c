/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl journal verify: are these files whole?  Without a daemon.
 */
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-file.h"
#include "client/kvmattrctl-terminal.h"
#include "daemon/journal/catalogue.h"
#include "daemon/journal/export.h"
#include "daemon/journal/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What a policy's maps may need; a hostile file could ask for any amount. */
#define MAX_MAP_BYTES (UINT64_C(8) << 30)

static const struct writer_column journal_columns[] = {
	{ "name", "NAME", WRITER_COLUMN_TEXT },
	{ "kind", NULL, WRITER_COLUMN_TEXT },
	{ "state", "STATE", WRITER_COLUMN_TEXT },
	{ "records", "RECORDS", WRITER_COLUMN_NUMBER },
	{ "commits", "COMMITS", WRITER_COLUMN_NUMBER },
	{ "first_commit", "FROM", WRITER_COLUMN_NUMBER },
	{ "last_commit", "TO", WRITER_COLUMN_NUMBER },
	{ "first_us", NULL, WRITER_COLUMN_NUMBER },
	{ NULL, "FIRST RECORD", WRITER_COLUMN_TEXT | WRITER_COLUMN_IF_ROOM },
	{ "last_us", NULL, WRITER_COLUMN_NUMBER },
	{ NULL, "LAST RECORD", WRITER_COLUMN_TEXT | WRITER_COLUMN_IF_ROOM },
	{ "segments", NULL, WRITER_COLUMN_NUMBER },
	{ "checkpoints", "CHECKPOINTS", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "compared", "COMPARED", WRITER_COLUMN_NUMBER | WRITER_COLUMN_IF_ROOM },
	{ "bytes", "SIZE", WRITER_COLUMN_NUMBER },
};

static const struct writer_column finding_columns[] = {
	{ "name", "NAME", WRITER_COLUMN_TEXT },
	{ "severity", NULL, WRITER_COLUMN_TEXT },
	{ "file", "FILE", WRITER_COLUMN_TEXT },
	{ "offset", "OFFSET", WRITER_COLUMN_NUMBER },
	{ "text", "WHAT AND WHAT TO DO", WRITER_COLUMN_WORDS },
};

/* Something to be said about one of them. */
struct finding {
	char *name;
	const char *severity; /* "damage", "torn", "unreadable", "note" */
	struct journal_error error;
};

struct findings {
	struct finding *finding;
	size_t n;
};

static void add_finding(struct findings *findings, const char *name, const char *severity,
			const struct journal_error *error)
{
	findings->finding = terminal_there(
		reallocarray(findings->finding, findings->n + 1, sizeof(*findings->finding)));
	findings->finding[findings->n++] = (struct finding){
		.name = terminal_there(strdup(name)),
		.severity = severity,
		.error = *error,
	};
}

/* What is under way. */
struct verify_run {
	struct writer *writer;
	struct findings findings;
	bool is_damaged;
	bool is_unreadable;
};

static enum writer_tone tone_of(const char *state)
{
	return !strcmp(state, "whole")  ? WRITER_GOOD
	       : !strcmp(state, "torn") ? WRITER_WARNING
					: WRITER_BAD;
}

static void begin_row(struct verify_run *run, const char *name, const char *kind, const char *state)
{
	writer_begin_row(run->writer);
	writer_text(run->writer, NULL, NULL, name);
	writer_text(run->writer, NULL, NULL, kind);
	writer_text_toned(run->writer, NULL, NULL, state, tone_of(state));
}

static void end_row_with_nothing(struct verify_run *run)
{
	for (size_t i = 3; i < COUNT(journal_columns); i++)
		writer_nothing(run->writer, NULL, NULL);
}

static void note_unreadable(struct verify_run *run, const char *name, const char *kind,
			    const struct journal_error *error)
{
	begin_row(run, name, kind, "unreadable");
	end_row_with_nothing(run);
	add_finding(&run->findings, name, "unreadable", error);
	run->is_unreadable = true;
}

__attribute__((format(printf, 5, 6))) static void refuse(struct verify_run *run, const char *name,
							 const char *kind, int error,
							 const char *format, ...)
{
	struct journal_error why = { .error = error };
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why.text, sizeof(why.text), format, arguments);
	va_end(arguments);
	note_unreadable(run, name, kind, &why);
}

/* ---- A journal ----------------------------------------------------------------------------- */

static void write_time(struct writer *writer, uint64_t us)
{
	char text[64];

	writer_number(writer, NULL, NULL, us);
	writer_text(writer, NULL, NULL, terminal_time(text, us));
}

static void write_journal(struct verify_run *run, const char *name,
			  const struct verify_report *report)
{
	struct writer *writer = run->writer;

	begin_row(run, name, "journal",
		  report->n_problems ? "damaged"
		  : report->is_torn  ? "torn"
				     : "whole");
	writer_number(writer, NULL, NULL, report->n_records);
	writer_number(writer, NULL, NULL, report->n_commits);
	writer_number(writer, NULL, NULL, report->first_commit);
	writer_number(writer, NULL, NULL, report->last_commit);
	write_time(writer, report->first_us);
	write_time(writer, report->last_us);
	writer_number(writer, NULL, NULL, report->n_segments);
	writer_number(writer, NULL, NULL, report->n_checkpoints);
	writer_number(writer, NULL, NULL, report->n_compared);
	writer_bytes(writer, NULL, NULL, report->n_bytes);
}

static void find_problems(struct verify_run *run, const char *name,
			  const struct verify_report *report)
{
	uint64_t n =
		report->n_problems < VERIFY_MAX_PROBLEMS ? report->n_problems : VERIFY_MAX_PROBLEMS;
	struct journal_error note = { 0 };

	for (uint64_t i = 0; i < n; i++)
		add_finding(&run->findings, name, "damage", &report->problems[i]);
	if (report->n_problems > n) {
		snprintf(note.text, sizeof(note.text), "and %" PRIu64 " more like these",
			 report->n_problems - n);
		add_finding(&run->findings, name, "damage", &note);
	}
	if (report->resumed_at) {
		snprintf(note.text, sizeof(note.text),
			 "from record %" PRIu64 " on it is good: the daemon goes on with it, but "
			 "what was before cannot be asked any more",
			 report->resumed_at);
		add_finding(&run->findings, name, "note", &note);
	}
	if (report->is_torn)
		add_finding(&run->findings, name, "torn", &report->torn);
	run->is_damaged |= report->n_problems > 0;
}

static void tell_progress(void *context, uint64_t n_bytes, uint64_t n_total)
{
	terminal_progress(context, n_bytes, n_total);
}

static void verify_directory(struct verify_run *run, int parent_fd, const char *name)
{
	char *what = NULL;
	const struct verify_progress progress = { tell_progress, NULL };
	struct verify_progress named = progress;
	struct journal_error error = { 0 };
	struct verify_report report;
	int r;

	if (asprintf(&what, "verifying %s", name) < 0)
		terminal_there(NULL);
	named.context = what;
	r = verify_journal(parent_fd, name, MAX_MAP_BYTES, &named, &report, &error);
	terminal_end_progress();
	free(what);
	if (r < 0) {
		note_unreadable(run, name, "journal", &error);
		return;
	}
	write_journal(run, name, &report);
	find_problems(run, name, &report);
}

/* ---- An export ----------------------------------------------------------------------------- */

static void verify_export(struct verify_run *run, const char *path)
{
	struct journal_error error = { 0 };
	struct export_header header;
	struct policy *policy = NULL;
	uint8_t *data = NULL;
	size_t size, offset = 0;
	int r = file_read(path, &data, &size);

	if (r < 0) {
		refuse(run, path, "export", -r, "it cannot be read: %s", strerror(-r));
		return;
	}
	r = export_check(data, size, &header, &offset, error.text, sizeof(error.text));
	if (r == 0) {
		r = policy_image_read(data + sizeof(header), size - sizeof(header), MAX_MAP_BYTES,
				      &policy, &offset, error.text, sizeof(error.text));
		offset += sizeof(header);
	}
	policy_free(policy);
	free(data);
	if (r == -EPROTO) {
		note_unreadable(run, path, "export", &error);
		return;
	}
	begin_row(run, path, "export", r < 0 ? "damaged" : "whole");
	if (r < 0) {
		end_row_with_nothing(run);
		error.offset = offset;
		add_finding(&run->findings, path, "damage", &error);
		run->is_damaged = true;
		return;
	}
	writer_nothing(run->writer, NULL, NULL);
	writer_nothing(run->writer, NULL, NULL);
	writer_number(run->writer, NULL, NULL, header.commit);
	writer_number(run->writer, NULL, NULL, header.commit);
	write_time(run->writer, header.commit_us);
	write_time(run->writer, header.commit_us);
	for (int i = 0; i < 3; i++)
		writer_nothing(run->writer, NULL, NULL);
	writer_bytes(run->writer, NULL, NULL, size);
}

/* ---- What was named ------------------------------------------------------------------------ */

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), n_suffix = strlen(suffix);

	return n > n_suffix && !strcmp(name + n - n_suffix, suffix);
}

static bool is_of_a_journal(const char *name)
{
	return ends_in(name, ".journal") || ends_in(name, ".checkpoint");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * The names in a directory that are journals' directories, sorted, or none if it is a journal
 * itself.  The caller's to free, each and all.  A negative errno if it cannot be listed.
 */
static int list_journals(const char *path, char ***ret, size_t *ret_n, bool *ret_is_journal)
{
	char vm[KVMATTR_NAME_SIZE], **names = NULL;
	bool is_journal = catalogue_is_name(strrchr(path, '/') + 1, vm);
	DIR *directory = opendir(path);
	struct dirent *entry;
	size_t n = 0;
	int error;

	if (!directory)
		return -errno;
	while ((errno = 0, entry = readdir(directory))) {
		is_journal |= is_of_a_journal(entry->d_name);
		if (!catalogue_is_name(entry->d_name, vm))
			continue;
		names = terminal_there(reallocarray(names, n + 1, sizeof(*names)));
		names[n++] = terminal_there(strdup(entry->d_name));
	}
	error = errno;
	closedir(directory);
	if (n && !is_journal && !error)
		qsort(names, n, sizeof(*names), by_name);
	while ((is_journal || error) && n)
		free(names[--n]);
	*ret = names;
	*ret_n = n;
	*ret_is_journal = is_journal;
	return -error;
}

/* A journal by its path, which is that of a directory and not "/". */
static void verify_path(struct verify_run *run, const char *path)
{
	char *of_parent = terminal_there(strdup(path)), *of_name = terminal_there(strdup(path));
	const char *name = basename(of_name);
	int parent_fd = open(dirname(of_parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent_fd < 0) {
		refuse(run, path, "journal", errno, "its directory cannot be opened: %s",
		       strerror(errno));
	} else {
		verify_directory(run, parent_fd, name);
		close(parent_fd);
	}
	free(of_parent);
	free(of_name);
}

static void verify_directories(struct verify_run *run, const char *path)
{
	char **names = NULL;
	bool is_journal = false;
	size_t n = 0;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : list_journals(path, &names, &n, &is_journal);

	if (r < 0)
		refuse(run, path, "journal", -r, "it cannot be listed: %s", strerror(-r));
	else if (is_journal)
		verify_path(run, path);
	else if (!n)
		/* what is said of a bad journal, to remove it for one, must not be said of this */
		refuse(run, path, "journal", ENOENT,
		       "this is no journal, and there are none in it: name a journal's directory, or "
		       "that of all journals, as /var/lib/kvmattrd/vms");
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			verify_directory(run, fd, names[i]);
		free(names[i]);
	}
	free(names);
	if (fd >= 0)
		close(fd);
}

static void verify(struct verify_run *run, const char *path)
{
	char *real = realpath(path, NULL);
	struct stat status;

	if (!real || stat(real, &status) < 0) {
		refuse(run, path, "journal", errno, "it cannot be found: %s", strerror(errno));
	} else if (S_ISDIR(status.st_mode)) {
		verify_directories(run, real);
	} else if (is_of_a_journal(real)) {
		/* a part of a journal says nothing by itself: all of it, then */
		*strrchr(real, '/') = '\0';
		verify_path(run, *real ? real : "/");
	} else {
		verify_export(run, path);
	}
	free(real);
}

enum ctl_exit command_journal_verify(const struct command_input *input)
{
	struct verify_run run = { .writer = input->writer };
	struct writer *writer = input->writer;

	writer_begin_object(writer, NULL, NULL);
	writer_begin_table(writer, "journals", NULL, journal_columns, COUNT(journal_columns));
	for (unsigned int i = 0; i < input->n_arguments; i++)
		verify(&run, input->arguments[i]);
	writer_end_table(writer);
	writer_begin_table(writer, "findings", run.findings.n ? "Findings" : NULL, finding_columns,
			   COUNT(finding_columns));
	for (size_t i = 0; i < run.findings.n; i++) {
		const struct finding *finding = &run.findings.finding[i];

		writer_begin_row(writer);
		writer_text(writer, NULL, NULL, finding->name);
		writer_text(writer, NULL, NULL, finding->severity);
		writer_text(writer, NULL, NULL, finding->error.file);
		writer_id(writer, NULL, NULL, finding->error.offset);
		writer_text(writer, NULL, NULL, finding->error.text);
		free(finding->name);
	}
	free(run.findings.finding);
	writer_end_table(writer);
	writer_end_object(writer);
	return run.is_damaged ? CTL_DAMAGED : run.is_unreadable ? CTL_UNREADABLE : CTL_OK;
}
