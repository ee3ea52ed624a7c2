/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl watch on a terminal: one screenful, however many VMs there are.
 *
 * A narrow terminal has the same columns with shorter numbers; a wide one has them in full, and
 * more of them.  What troubles a VM stands below the table in words, whatever the width.
 */
#include "client/kvmattrctl-screen.h"
#include "client/kvmattrctl-terminal.h"
#include "client/kvmattrctl-watch.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* From so many columns on, numbers are shown in full. */
#define WIDE 150u
/* What the short ones need. */
#define NARROW 80u
/* Lines that are not the table's rows: two of heading, its titles, two at the foot. */
#define OTHER_ROWS 5u
/* VMs of which it is said what troubles or holds them, at most. */
#define MAX_TROUBLES 4u

enum column {
	COLUMN_VM,
	COLUMN_STATE,
	COLUMN_UPDATES,
	COLUMN_PAGES,
	COLUMN_CALLS,
	COLUMN_P50,
	COLUMN_P99,
	COLUMN_MAX,
	COLUMN_QUEUE,
	COLUMN_UNKNOWN,
	N_NARROW,
	COLUMN_BATCHES = N_NARROW,
	COLUMN_MEAN,
	COLUMN_SESSIONS,
	COLUMN_FAILED,
	COLUMN_JOURNAL,
	N_COLUMNS,
};

static const struct {
	const char *narrow;
	const char *wide;
	int flags;
} columns[N_COLUMNS] = {
	[COLUMN_VM] = { "VM", "VM", SCOLS_FL_TRUNC },
	[COLUMN_STATE] = { "STATE", "STATE", 0 },
	[COLUMN_UPDATES] = { "UPD/S", "UPDATES/S", SCOLS_FL_RIGHT },
	[COLUMN_PAGES] = { "PAGES/S", "PAGES/S", SCOLS_FL_RIGHT },
	[COLUMN_CALLS] = { "CALLS/S", "CALLS/S", SCOLS_FL_RIGHT },
	[COLUMN_P50] = { "P50", "P50", SCOLS_FL_RIGHT },
	[COLUMN_P99] = { "P99", "P99", SCOLS_FL_RIGHT },
	[COLUMN_MAX] = { "MAX", "LONGEST", SCOLS_FL_RIGHT },
	[COLUMN_QUEUE] = { "QUEUE", "QUEUE", SCOLS_FL_RIGHT },
	[COLUMN_UNKNOWN] = { "UNKNOWN", "UNKNOWN PAGES", SCOLS_FL_RIGHT },
	[COLUMN_BATCHES] = { NULL, "BATCHES/S", SCOLS_FL_RIGHT },
	[COLUMN_MEAN] = { NULL, "BATCH, MEAN", SCOLS_FL_RIGHT },
	[COLUMN_SESSIONS] = { NULL, "SESSIONS", SCOLS_FL_RIGHT },
	[COLUMN_FAILED] = { NULL, "FAILED", SCOLS_FL_RIGHT },
	[COLUMN_JOURNAL] = { NULL, "JOURNAL", 0 },
};

static const char *tone(const char *sequence)
{
	return terminal_has_color() ? sequence : "";
}

/* "17.1M", "980", "0.5": at most five characters, for numbers below 10^15 */
static const char *short_number(char buffer[32], double number)
{
	static const char units[] = " kMGT";
	unsigned int unit = 0;

	while (number >= 999.5 && units[unit + 1]) {
		number /= 1000;
		unit++;
	}
	snprintf(buffer, 32,
		 number < 99.95 && (unit || (number > 0 && number < 9.95)) ? "%.1f" : "%.0f",
		 number);
	if (unit)
		strncat(buffer, &units[unit], 1);
	return buffer;
}

/* "19ms", "1.2s", "171us" */
static const char *short_duration(char buffer[32], uint64_t us)
{
	if (us < 1000)
		snprintf(buffer, 32, "%" PRIu64 "us", us);
	else if (us < 1000000)
		snprintf(buffer, 32, us < 10000 ? "%.1fms" : "%.0fms", (double)us / 1000);
	else
		snprintf(buffer, 32, us < 10000000 ? "%.1fs" : "%.0fs", (double)us / 1000000);
	return buffer;
}

static const char *number_text(char buffer[32], uint64_t number, bool is_wide)
{
	return is_wide || number < 1000 ? terminal_number(buffer, number)
					: short_number(buffer, (double)number);
}

static const char *rate_text(char buffer[32], double rate, bool is_wide)
{
	if (is_wide && rate >= 10)
		return terminal_number(buffer, (uint64_t)(rate + 0.5));
	return short_number(buffer, rate);
}

/* Of so many; "-" if there were none. */
static const char *duration_text(char buffer[32], uint64_t n, uint64_t us, bool is_wide)
{
	if (!n)
		return "-";
	return is_wide ? terminal_duration(buffer, us) : short_duration(buffer, us);
}

/* A cell's text, in the buffer or for good. */
static const char *cell_text(char buffer[32], const struct sample_vm *vm, int column, bool is_wide)
{
	switch (column) {
	case COLUMN_STATE:
		return sample_vm_state(vm);
	case COLUMN_UPDATES:
	case COLUMN_PAGES:
	case COLUMN_CALLS:
	case COLUMN_BATCHES:
		if (!vm->has_rates)
			return "-";
		return rate_text(buffer,
				 vm->rates[column == COLUMN_UPDATES ? FIGURE_UPDATES
					   : column == COLUMN_PAGES ? FIGURE_PAGES
					   : column == COLUMN_CALLS ? FIGURE_CALLS
								    : FIGURE_BATCHES],
				 is_wide);
	case COLUMN_P50:
		return duration_text(buffer, vm->n_updates, vm->p50_us, is_wide);
	case COLUMN_P99:
		return duration_text(buffer, vm->n_updates, vm->p99_us, is_wide);
	case COLUMN_MAX:
		return duration_text(buffer, vm->latency.n, vm->latency.max_us, is_wide);
	case COLUMN_MEAN:
		return duration_text(buffer, vm->n_batches, vm->batch_us_mean, is_wide);
	case COLUMN_QUEUE:
		return number_text(buffer, vm->queue, is_wide);
	case COLUMN_UNKNOWN:
		return number_text(buffer, vm->n_unknown, is_wide);
	case COLUMN_SESSIONS:
		return number_text(buffer, vm->n_sessions, is_wide);
	case COLUMN_FAILED:
		return number_text(buffer, vm->n_failed, is_wide);
	case COLUMN_JOURNAL:
		return vm->journal_trouble ? "trouble" : "ok";
	default:
		return vm->name;
	}
}

static const char *cell_tone(const struct sample_vm *vm, int column)
{
	switch (column) {
	case COLUMN_STATE:
		return tone(vm->is_degraded || !strcmp(vm->state, "stuck") ? "\033[31m"
			    : vm->is_frozen                                ? "\033[33m"
									   : "\033[32m");
	case COLUMN_UNKNOWN:
		return tone(vm->n_unknown ? "\033[31m" : "");
	case COLUMN_JOURNAL:
		return tone(vm->journal_trouble ? "\033[31m" : "\033[32m");
	case COLUMN_MAX:
		return tone(vm->max_is_new ? "\033[33m" : "");
	default:
		return "";
	}
}

static void add_row(struct libscols_table *table, const struct sample_vm *vm, int n_columns,
		    bool is_wide)
{
	struct libscols_line *line = terminal_there(scols_table_new_line(table, NULL));

	for (int column = 0; column < n_columns; column++) {
		char buffer[32];
		char *safe = terminal_safe(cell_text(buffer, vm, column, is_wide));

		if (scols_line_refer_data(line, (size_t)column, safe) < 0 ||
		    scols_cell_set_color(terminal_there(scols_line_get_cell(line, (size_t)column)),
					 *cell_tone(vm, column) ? cell_tone(vm, column) : NULL) < 0)
			terminal_there(NULL);
	}
}

static void put_table(FILE *stream, const struct sample *sample, unsigned int width, size_t n)
{
	struct libscols_table *table = terminal_there(scols_new_table());
	bool is_wide = width >= WIDE;
	int n_columns = is_wide ? N_COLUMNS : N_NARROW;
	char *text = NULL;

	scols_table_enable_colors(table, terminal_has_color());
	scols_table_set_column_separator(table, is_wide ? "  " : " ");
	scols_table_set_termforce(table, SCOLS_TERMFORCE_ALWAYS);
	/* one that is narrower still loses what stands at the right */
	scols_table_set_termwidth(table, width < NARROW ? NARROW : width);
	for (int column = 0; column < n_columns; column++)
		terminal_there(scols_table_new_column(
			table, is_wide ? columns[column].wide : columns[column].narrow, 0,
			columns[column].flags));
	for (size_t i = 0; i < n; i++)
		add_row(table, &sample->vms[i], n_columns, is_wide);
	if (scols_print_table_to_string(table, &text) < 0)
		terminal_there(NULL);
	fputs(text, stream);
	if (*text && text[strlen(text) - 1] != '\n')
		fputc('\n', stream);
	free(text);
	scols_unref_table(table);
}

static void put_heading(FILE *stream, const struct watch *watch, unsigned int width)
{
	const struct sample *sample = watch->sample;
	char uptime[32], when[64], *line, *safe = terminal_safe(sample->version);
	int n = asprintf(&line,
			 "kvmattrd %s, process %" PRIu64 ", up for %s; VMs: %" PRIu64
			 ", sessions: %" PRIu64,
			 safe, sample->pid, terminal_duration(uptime, sample->uptime_us),
			 sample->n_daemon_vms, sample->n_daemon_sessions);

	if (n < 0)
		terminal_there(NULL);
	terminal_time(when, watch->is_there ? sample->clock_us : (uint64_t)time(NULL) * 1000000);
	/* the time of day, at the right, if there is room */
	if (strlen(when) > 11 && (unsigned int)n + 10 <= width)
		fprintf(stream, "%s%s%s%*s\n", tone("\033[1m"), line, tone("\033[0m"),
			(int)width - n, when + 11);
	else
		fprintf(stream, "%s%s%s\n", tone("\033[1m"), line, tone("\033[0m"));
	free(line);
	free(safe);
	if (watch->notice)
		fprintf(stream, "%s%s%s", tone(watch->is_there ? "\033[33m" : "\033[1;31m"),
			watch->notice, tone("\033[0m"));
	fputc('\n', stream);
}

/* Words, and a new line wherever the next one would not fit; returns how many new lines. */
static unsigned int put_words(FILE *stream, const char *text, size_t column, unsigned int width)
{
	unsigned int n_lines = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column > 2 && column + 1 + n > width) {
			fputs("\n  ", stream);
			column = 2;
			n_lines++;
		} else if (column > 2) {
			fputc(' ', stream);
			column++;
		}
		fwrite(text, 1, n, stream);
		column += n;
		text += n + (text[n] == ' ');
	}
	return n_lines;
}

/* Returns how many lines that takes. */
static unsigned int put_trouble(FILE *stream, const struct sample_vm *vm, unsigned int width)
{
	char number[32], *words, *safe, *name = terminal_safe(vm->name);
	unsigned int n_lines;
	int n;

	if (vm->journal_trouble)
		n = asprintf(&words, "%s", vm->journal_trouble);
	else if (!strcmp(vm->state, "stuck"))
		n = asprintf(&words,
			     "its executor does not answer; updates are refused until it does");
	else if (vm->n_unknown)
		n = asprintf(&words,
			     "it is not known what KVM enforces on %s %s, until it is told anew",
			     terminal_number(number, vm->n_unknown),
			     vm->n_unknown == 1 ? "page" : "pages");
	else if (vm->is_degraded)
		n = asprintf(&words, "degraded");
	else
		n = asprintf(&words, "frozen, updates wait; kvmattrctl vm thaw %s lets them go on",
			     vm->name);
	if (n < 0)
		terminal_there(NULL);
	safe = terminal_safe(words);
	fprintf(stream, "%s%s%s:", tone(sample_vm_is_in_trouble(vm) ? "\033[31m" : "\033[33m"),
		name, tone("\033[0m"));
	n_lines = 1 + put_words(stream, safe, strlen(name) + 1, width);
	fputc('\n', stream);
	free(words);
	free(safe);
	free(name);
	return n_lines;
}

/* In words, below the table; *ret_n_lines is how many lines they take. */
static char *write_troubles(const struct sample *sample, unsigned int width,
			    unsigned int *ret_n_lines)
{
	unsigned int n_lines = 0;
	char *text = NULL;
	size_t size;
	FILE *stream = terminal_there(open_memstream(&text, &size));

	/* they come first */
	for (size_t i = 0; i < sample->n_vms && i < MAX_TROUBLES; i++)
		if (sample_vm_is_in_trouble(&sample->vms[i]) || sample->vms[i].is_frozen)
			n_lines += put_trouble(stream, &sample->vms[i], width);
	fclose(stream);
	*ret_n_lines = n_lines;
	return terminal_there(text);
}

static void put_foot(FILE *stream, const struct watch *watch, size_t n_hidden, bool is_wide)
{
	if (n_hidden)
		fprintf(stream, "... and %zu more VM%s\n", n_hidden, n_hidden == 1 ? "" : "s");
	else
		fputc('\n', stream);
	fprintf(stream, "%sEvery %g s.  %s is the longest update of all%s.  q ends it.%s",
		tone("\033[90m"), watch->input->interval_ms / 1000.0, is_wide ? "LONGEST" : "MAX",
		terminal_has_color() ? ", coloured if new" : "", tone("\033[0m"));
}

void watch_draw(const struct watch *watch)
{
	const struct sample *sample = watch->sample;
	unsigned int width, height;
	unsigned int n_lines;
	size_t n_rows, size;
	char *lines = NULL, *troubles;
	FILE *stream = terminal_there(open_memstream(&lines, &size));

	screen_size(&width, &height);
	troubles = write_troubles(sample, width, &n_lines);
	n_rows = height > OTHER_ROWS + n_lines ? height - OTHER_ROWS - n_lines : 1;
	if (n_rows > sample->n_vms)
		n_rows = sample->n_vms;
	put_heading(stream, watch, width);
	if (n_rows)
		put_table(stream, sample, width, n_rows);
	else
		fprintf(stream, "%s\n", watch_nobody(watch));
	fputs(troubles, stream);
	put_foot(stream, watch, sample->n_vms - n_rows, width >= WIDE);
	fclose(stream);
	screen_show(terminal_there(lines));
	free(lines);
	free(troubles);
}
