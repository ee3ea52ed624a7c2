/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/scrape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FAMILIES 256
#define LETTERS      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define DIGITS       "0123456789"

struct reading {
	struct scrape *scrape;
	const char *line; /* that is read */
	char *families[MAX_FAMILIES];
	size_t n_families;
	char type[16]; /* of the last family; "": not told so far */
	/* Of the histogram that is read: its labels but for le, and its last bucket. */
	char *labels;
	double limit;
	double n;
	bool has_sum;
};

#define EXPECT_LINE(reading, condition) \
	ck_assert_msg(condition, "not \"%s\": %s", #condition, (reading)->line)

/* ---- A sample -------------------------------------------------------------------------------- */

struct label {
	const char *name;
	size_t n_name;
	const char *value; /* still escaped */
	size_t n_value;
};

#define MAX_LABELS 8

struct sample {
	size_t n_name; /* from the line's start */
	struct label labels[MAX_LABELS];
	size_t n_labels;
	const char *end; /* of the series */
	double value;
};

static bool is_same(const struct label *label, const char *name, size_t n)
{
	return label->n_name == n && !memcmp(label->name, name, n);
}

/* name="value"; returns what is behind it. */
static const char *read_label(const struct reading *reading, const char *at, struct sample *sample)
{
	struct label label = { .name = at, .n_name = strspn(at, LETTERS DIGITS) };

	EXPECT_LINE(reading, label.n_name > 0 && strchr(LETTERS, *at));
	at += label.n_name;
	EXPECT_LINE(reading, at[0] == '=' && at[1] == '"');
	at += 2;
	for (label.value = at; *at != '"'; at++) {
		EXPECT_LINE(reading, *at);
		if (*at == '\\') {
			at++;
			EXPECT_LINE(reading, *at && strchr("\\\"n", *at));
		}
	}
	label.n_value = (size_t)(at - label.value);
	for (size_t i = 0; i < sample->n_labels; i++)
		EXPECT_LINE(reading, !is_same(&sample->labels[i], label.name, label.n_name));
	EXPECT_LINE(reading, sample->n_labels < MAX_LABELS);
	sample->labels[sample->n_labels++] = label;
	return at + 1;
}

static struct sample read_sample(const struct reading *reading)
{
	const char *at = reading->line;
	struct sample sample = { .n_name = strspn(at, LETTERS DIGITS ":") };
	char *end;

	EXPECT_LINE(reading, sample.n_name > 0 && !strchr(DIGITS, *at));
	at += sample.n_name;
	if (*at == '{') {
		do
			at = read_label(reading, at + 1, &sample);
		while (*at == ',');
		EXPECT_LINE(reading, *at++ == '}');
	}
	sample.end = at;
	EXPECT_LINE(reading, at[0] == ' ' && at[1] && strchr("0123456789", at[1]));
	sample.value = strtod(at + 1, &end);
	EXPECT_LINE(reading, !*end && isfinite(sample.value) && sample.value >= 0);
	return sample;
}

/* ---- A family -------------------------------------------------------------------------------- */

static const char *family(const struct reading *reading)
{
	return reading->n_families ? reading->families[reading->n_families - 1] : "";
}

/* "# HELP name text" */
static void read_help(struct reading *reading, const char *at)
{
	size_t n = strspn(at, LETTERS DIGITS ":");

	EXPECT_LINE(reading, n > 0 && at[n] == ' ' && at[n + 1]);
	EXPECT_LINE(reading, reading->n_families == 0 || *reading->type);
	EXPECT_LINE(reading, !reading->labels);
	for (size_t i = 0; i < reading->n_families; i++)
		EXPECT_LINE(reading, strlen(reading->families[i]) != n ||
					     strncmp(reading->families[i], at, n) != 0);
	EXPECT_LINE(reading, reading->n_families < MAX_FAMILIES);
	reading->families[reading->n_families++] = strndup(at, n);
	*reading->type = '\0';
}

/* "# TYPE name type", right behind the help */
static void read_type(struct reading *reading, const char *at)
{
	size_t n = strlen(family(reading));

	EXPECT_LINE(reading,
		    !*reading->type && n > 0 && !strncmp(at, family(reading), n) && at[n] == ' ');
	at += n + 1;
	EXPECT_LINE(reading,
		    !strcmp(at, "counter") || !strcmp(at, "gauge") || !strcmp(at, "histogram"));
	EXPECT_LINE(reading, !strcmp(at, "counter") ==
				     (n > 6 && !strcmp(family(reading) + n - 6, "_total")));
	snprintf(reading->type, sizeof(reading->type), "%s", at);
}

/* The labels but for the last, which is le. */
static char *copy_outer_labels(const struct sample *sample, size_t n)
{
	const char *begin = sample->labels[0].name;
	const struct label *last = n ? &sample->labels[n - 1] : NULL;

	return last ? strndup(begin, (size_t)(last->value + last->n_value - begin)) : strdup("");
}

static void read_bucket(struct reading *reading, const struct sample *sample)
{
	const struct label *le;
	char *labels, *end;
	double limit;

	EXPECT_LINE(reading, sample->n_labels > 0);
	le = &sample->labels[sample->n_labels - 1];
	EXPECT_LINE(reading, is_same(le, "le", 2));
	labels = copy_outer_labels(sample, sample->n_labels - 1);
	limit = strtod(le->value, &end);
	EXPECT_LINE(reading, end == le->value + le->n_value && le->n_value > 0);
	if (reading->labels) {
		EXPECT_LINE(reading, !strcmp(reading->labels, labels));
		EXPECT_LINE(reading, limit > reading->limit && sample->value >= reading->n);
		free(reading->labels);
	}
	reading->labels = labels;
	reading->limit = limit;
	reading->n = sample->value;
	reading->has_sum = false;
}

/* Buckets, sum, count; then the next one's buckets. */
static void read_histogram(struct reading *reading, const struct sample *sample)
{
	const char *suffix = reading->line + strlen(family(reading));
	char *labels;

	if (!strncmp(suffix, "_bucket{", 8)) {
		read_bucket(reading, sample);
		return;
	}
	EXPECT_LINE(reading, reading->labels && isinf(reading->limit));
	labels = copy_outer_labels(sample, sample->n_labels);
	EXPECT_LINE(reading, !strcmp(reading->labels, labels));
	free(labels);
	if (!reading->has_sum) {
		EXPECT_LINE(reading, !strncmp(suffix, "_sum", 4) && strchr("{ ", suffix[4]));
		reading->has_sum = true;
		return;
	}
	EXPECT_LINE(reading, !strncmp(suffix, "_count", 6) && strchr("{ ", suffix[6]));
	EXPECT_LINE(reading, sample->value == reading->n);
	free(reading->labels);
	reading->labels = NULL;
}

static void keep_sample(struct scrape *scrape, const char *series, size_t n, double value,
			bool is_counted)
{
	scrape->samples =
		reallocarray(scrape->samples, scrape->n_samples + 1, sizeof(*scrape->samples));
	ck_assert_ptr_nonnull(scrape->samples);
	scrape->samples[scrape->n_samples++] =
		(struct scraped_sample){ strndup(series, n), value, is_counted };
}

static void read_line(struct reading *reading)
{
	struct sample sample;

	if (!strncmp(reading->line, "# HELP ", 7)) {
		read_help(reading, reading->line + 7);
		return;
	}
	if (!strncmp(reading->line, "# TYPE ", 7)) {
		read_type(reading, reading->line + 7);
		return;
	}
	EXPECT_LINE(reading, *reading->type);
	sample = read_sample(reading);
	EXPECT_LINE(reading, !strncmp(reading->line, family(reading), strlen(family(reading))));
	if (!strcmp(reading->type, "histogram"))
		read_histogram(reading, &sample);
	else
		EXPECT_LINE(reading, sample.n_name == strlen(family(reading)));
	keep_sample(reading->scrape, reading->line, (size_t)(sample.end - reading->line),
		    sample.value, strcmp(reading->type, "gauge") != 0);
}

static int compare_series(const void *a, const void *b)
{
	const struct scraped_sample *x = a, *y = b;

	return strcmp(x->series, y->series);
}

static void read_text(struct scrape *scrape)
{
	struct reading reading = { .scrape = scrape };
	char *copy = strdup(scrape->text), *line = copy, *end;

	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		reading.line = line;
		read_line(&reading);
	}
	ck_assert_msg(!*line, "the last line does not end: %s", line);
	ck_assert(*reading.type && !reading.labels);
	for (size_t i = 0; i < reading.n_families; i++)
		free(reading.families[i]);
	free(copy);
	qsort(scrape->samples, scrape->n_samples, sizeof(*scrape->samples), compare_series);
	for (size_t i = 1; i < scrape->n_samples; i++)
		ck_assert_msg(strcmp(scrape->samples[i - 1].series, scrape->samples[i].series) != 0,
			      "%s is there twice", scrape->samples[i].series);
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* Returns the cursor, or NULL behind the last piece. */
static char *read_piece(struct control_client *client, struct scrape *scrape, size_t *n,
			const char *cursor)
{
	struct json_object *result =
		cursor ? control_call(client, "daemon.metrics", "{\"cursor\":\"%s\"}", cursor)
		       : control_call(client, "daemon.metrics", "{}");
	const char *text = json_text_at(result, "text");
	size_t n_text = strlen(text);
	char *next = json_has(result, "cursor") ? strdup(json_text_at(result, "cursor")) : NULL;

	ck_assert_str_eq(json_text_at(result, "content_type"),
			 "text/plain; version=0.0.4; charset=utf-8");
	scrape->text = realloc(scrape->text, *n + n_text + 1);
	ck_assert_ptr_nonnull(scrape->text);
	memcpy(scrape->text + *n, text, n_text + 1);
	*n += n_text;
	scrape->n_pieces++;
	if (n_text > scrape->longest)
		scrape->longest = n_text;
	json_object_put(result);
	return next;
}

struct scrape *scrape_metrics_between(struct control_client *client,
				      void (*between)(unsigned int piece))
{
	struct scrape *scrape = calloc(1, sizeof(*scrape));
	char *cursor, *last = NULL;
	size_t n = 0;

	ck_assert_ptr_nonnull(scrape);
	while ((cursor = read_piece(client, scrape, &n, last))) {
		free(last);
		last = cursor;
		if (between)
			between(scrape->n_pieces);
	}
	free(last);
	read_text(scrape);
	return scrape;
}

struct scrape *scrape_metrics(struct control_client *client)
{
	return scrape_metrics_between(client, NULL);
}

void scrape_free(struct scrape *scrape)
{
	for (size_t i = 0; i < scrape->n_samples; i++)
		free(scrape->samples[i].series);
	free(scrape->samples);
	free(scrape->text);
	free(scrape);
}

static const struct scraped_sample *find(const struct scrape *scrape, const char *series)
{
	const struct scraped_sample key = { .series = (char *)series };

	return bsearch(&key, scrape->samples, scrape->n_samples, sizeof(key), compare_series);
}

bool scrape_has(const struct scrape *scrape, const char *series)
{
	return find(scrape, series) != NULL;
}

double scrape_value(const struct scrape *scrape, const char *series)
{
	const struct scraped_sample *sample = find(scrape, series);

	ck_assert_msg(sample, "no %s in:\n%s", series, scrape->text);
	return sample->value;
}

void scrape_expect_nothing_fell(const struct scrape *before, const struct scrape *after)
{
	size_t n_compared = 0;

	for (size_t i = 0; i < before->n_samples; i++) {
		const struct scraped_sample *was = &before->samples[i];
		const struct scraped_sample *is = find(after, was->series);

		if (!is || !was->is_counted)
			continue;
		n_compared++;
		ck_assert_msg(is->value >= was->value, "%s was %f, is %f", was->series, was->value,
			      is->value);
	}
	ck_assert_uint_gt(n_compared, 0);
}
