/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/journal-checks.h"

#include "daemon/allocate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct journal_identity some_identity = { .boot_id = "some boot", .life_id = "some life" };

int scratch_fd = -1;
static char scratch_path[4096];

void scratch_make(void)
{
	const char *folder = getenv("TMPDIR");

	snprintf(scratch_path, sizeof(scratch_path), "%s/kvmattr-journal.XXXXXX",
		 folder ? folder : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(scratch_path));
	scratch_fd = open(scratch_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(scratch_fd, 0);
}

static DIR *open_folder(const char *name)
{
	int fd = openat(scratch_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0)
		ck_assert_ptr_nonnull(directory);
	return directory;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

void scratch_clear(const char *name)
{
	DIR *directory = open_folder(name);
	struct dirent *entry;

	if (!directory) {
		unlinkat(scratch_fd, name, 0);
		return;
	}
	while ((entry = readdir(directory)))
		if (!is_dots(entry->d_name))
			ck_assert(unlinkat(dirfd(directory), entry->d_name, 0) == 0 ||
				  unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR) == 0);
	closedir(directory);
	ck_assert_int_eq(unlinkat(scratch_fd, name, AT_REMOVEDIR), 0);
}

void scratch_remove(void)
{
	DIR *directory = open_folder(".");
	struct dirent *entry;

	while ((entry = readdir(directory)))
		if (!is_dots(entry->d_name))
			scratch_clear(entry->d_name);
	closedir(directory);
	close(scratch_fd);
	ck_assert_int_eq(rmdir(scratch_path), 0);
}

uint32_t crc32c_by_hand(const void *data, size_t size, uint32_t crc)
{
	const uint8_t *bytes = data;

	crc = ~crc;
	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* ---- What was written ------------------------------------------------------------------------ */

void model_destroy(struct model *model)
{
	free(model->records);
	*model = (struct model){ 0 };
}

static void fill_payload(uint8_t *bytes, size_t size, uint64_t salt)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = random_below(&salt, UINT64_MAX);

		memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
	}
}

void model_append(struct model *model, struct journal *journal, size_t size, uint64_t *random)
{
	struct model_record record = {
		.time_us = random_below(random, UINT64_MAX),
		.salt = random_below(random, UINT64_MAX),
		.size = (uint32_t)size,
		.type = (uint16_t)random_below(random, 0x10000),
	};
	uint8_t *payload = allocate(size);
	size_t a = size ? random_below(random, size + 1) : 0;
	size_t b = a + (size - a ? random_below(random, size - a + 1) : 0);
	const struct iovec parts[] = { { payload, a },
				       { payload + a, b - a },
				       { payload + b, size - b } };

	allocate_room(model->records, model->n, model->capacity);
	model->records[model->n++] = record;
	fill_payload(payload, size, record.salt);
	ck_assert_uint_eq(journal_append(journal, record.type, record.time_us, parts, 3), model->n);
	free(payload);
}

int model_write(struct model *model, struct journal *journal)
{
	int r = journal_write(journal);

	if (r == 0) {
		if (model->n > model->n_written)
			model->records[model->n - 1].ends_write = true;
		model->n_written = model->n;
	}
	model->n = model->n_written;
	ck_assert_uint_eq(journal_status(journal).next_number, model->n + 1);
	return r;
}

int model_write_some(struct model *model, struct journal *journal, size_t n, size_t max_size,
		     uint64_t *random)
{
	while (n--)
		model_append(model, journal, random_below(random, max_size + 1), random);
	return model_write(model, journal);
}

void expect_record(const struct model *model, const struct journal_record *record)
{
	const struct model_record *expected;
	uint8_t *payload;

	ck_assert_uint_ge(record->header.number, 1);
	ck_assert_uint_le(record->header.number, model->n_written);
	expected = &model->records[record->header.number - 1];
	ck_assert_uint_eq(record->header.time_us, expected->time_us);
	ck_assert_uint_eq(record->header.type, expected->type);
	ck_assert_uint_eq(record->header.size, expected->size);
	ck_assert_uint_eq(record->header.flags, expected->ends_write ? 0 : JOURNAL_RECORD_MORE);
	ck_assert_uint_eq((uintptr_t)record->payload % 8, 0);
	payload = allocate(expected->size);
	fill_payload(payload, expected->size, expected->salt);
	ck_assert(memcmp(payload, record->payload, expected->size) == 0);
	free(payload);
}

enum journal_read read_journal(const struct model *model, const char *name, uint64_t first,
			       uint64_t *ret_n, struct journal_error *ret_error)
{
	struct journal_position position = { first };
	struct journal_reader *reader;
	struct journal_record record;
	enum journal_read found;
	uint64_t number = 0;

	*ret_n = 0;
	if (journal_reader_open(scratch_fd, name, position, &reader, ret_error) < 0)
		return JOURNAL_DAMAGED;
	while ((found = journal_read(reader, &record, ret_error)) == JOURNAL_RECORD) {
		if (number || first)
			ck_assert_uint_eq(record.header.number, number ? number + 1 : first);
		number = *ret_n = record.header.number;
		expect_record(model, &record);
	}
	if (found == JOURNAL_DAMAGED) { /* it stays */
		struct journal_error again = { 0 };

		ck_assert_int_eq(journal_read(reader, &record, &again), JOURNAL_DAMAGED);
		ck_assert(memcmp(&again, ret_error, sizeof(again)) == 0);
	}
	journal_reader_free(reader);
	return found;
}

void expect_journal(const struct model *model, const char *name)
{
	struct journal_error error = { 0 };
	enum journal_read found;
	uint64_t n;

	found = read_journal(model, name, 0, &n, &error);
	ck_assert_msg(found == JOURNAL_END, "%s at %ju: %s", error.file, (uintmax_t)error.offset,
		      error.text);
	ck_assert_uint_eq(n, model->n_written);
}

/* ---- Files ------------------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void take_file(int directory_fd, struct file *file)
{
	int fd = openat(directory_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat status;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &status), 0);
	file->size = (size_t)status.st_size;
	file->bytes = allocate(file->size);
	ck_assert_int_eq(pread(fd, file->bytes, file->size, 0), (ssize_t)file->size);
	close(fd);
}

struct files files_take(const char *name)
{
	DIR *directory = open_folder(name);
	struct files files = { 0 };
	struct dirent *entry;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		struct file *file = &files.file[files.n];

		if (is_dots(entry->d_name))
			continue;
		ck_assert_uint_lt(files.n++, MAX_FILES);
		snprintf(file->name, sizeof(file->name), "%.63s", entry->d_name);
		take_file(dirfd(directory), file);
	}
	closedir(directory);
	qsort(files.file, files.n, sizeof(*files.file), compare_names);
	return files;
}

void file_put(const char *name, const char *file, const void *bytes, size_t size)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", name, file);
	fd = openat(scratch_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	close(fd);
}

void files_put(const struct files *files, const char *name)
{
	scratch_clear(name);
	ck_assert_int_eq(mkdirat(scratch_fd, name, 0700), 0);
	for (size_t i = 0; i < files->n; i++)
		file_put(name, files->file[i].name, files->file[i].bytes, files->file[i].size);
}

void files_destroy(struct files *files)
{
	for (size_t i = 0; i < files->n; i++)
		free(files->file[i].bytes);
	*files = (struct files){ 0 };
}

bool files_are_equal(const struct files *a, const struct files *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->file[i].name, b->file[i].name) != 0 ||
		    a->file[i].size != b->file[i].size ||
		    memcmp(a->file[i].bytes, b->file[i].bytes, a->file[i].size) != 0)
			return false;
	return true;
}

void expect_refused(const struct model *model, const char *name, int error_number, const char *file,
		    uint64_t offset, uint64_t n_before)
{
	struct journal_error error = { 0 };
	enum journal_read found;
	uint64_t n;

	found = read_journal(model, name, 0, &n, &error);
	ck_assert_int_eq(found, JOURNAL_DAMAGED);
	ck_assert_msg(error.error == error_number && strcmp(error.file, file) == 0 &&
			      error.offset == offset && *error.text,
		      "%d, %s at %ju: %s, not %d, %s at %ju", error.error, error.file,
		      (uintmax_t)error.offset, error.text, error_number, file, (uintmax_t)offset);
	ck_assert_uint_eq(n, n_before);
}

void expect_left_alone(const char *name, int error_number)
{
	const struct journal_options options = { .segment_size = 200 };
	struct files before = files_take(name), after;
	struct journal_error error = { 0 };
	struct journal *journal;
	uint64_t n_cut;

	ck_assert_int_eq(journal_reopen(scratch_fd, name, options, &journal, &n_cut, &error),
			 -error_number);
	ck_assert_int_eq(error.error, error_number);
	ck_assert_uint_gt(strlen(error.text), 0);
	after = files_take(name);
	ck_assert(files_are_equal(&before, &after));
	files_destroy(&before);
	files_destroy(&after);
}

void make_small_journal(const char *name, struct model *model, uint64_t *random)
{
	static const size_t n_records[] = { 1, 3, 2, 1, 2, 1, 3 };
	struct journal *journal;

	scratch_clear(name);
	ck_assert_int_eq(journal_create(scratch_fd, name, &some_identity,
					(struct journal_options){ .segment_size = 200 }, &journal),
			 0);
	for (size_t i = 0; i < N(n_records); i++) {
		for (size_t k = 0; k < n_records[i]; k++) /* all kinds of padding, and no payload */
			model_append(model, journal, (i * 3 + k * 5) % 14, random);
		ck_assert_int_eq(model_write(model, journal), 0);
	}
	ck_assert_uint_ge(journal_status(journal).n_segments, 3);
	journal_free(journal);
}
