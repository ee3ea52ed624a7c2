/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/checkpoint-checks.h"

#include "daemon/allocate.h"
#include "daemon/journal/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct story checkpoint_story;
struct replay checkpoint_told;
int checkpoint_folder_fd = -1;
struct files checkpoint_files;
char checkpoint_file[CHECKPOINT_NAME_LEN + 1];
static struct journal_io real_io;

/* Thousands of files are written here, whose disk is not what is tested. */
static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static void begin(void)
{
	journal_io.fsync = no_fsync;
	real_io = journal_io;
	scratch_make();
	ck_assert_int_eq(mkdirat(scratch_fd, "vm", 0700), 0);
	checkpoint_folder_fd = openat(scratch_fd, "vm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(checkpoint_folder_fd, 0);
	replay_init(&checkpoint_told);
}

static void end(void)
{
	journal_io = real_io;
	replay_destroy(&checkpoint_told);
	story_end(&checkpoint_story);
	close(checkpoint_folder_fd);
	scratch_remove();
}

void checkpoint_tell(uint64_t random, unsigned int n_writes)
{
	story_begin(&checkpoint_story, random);
	while (n_writes--)
		story_go_on(&checkpoint_story);
	story_settle(&checkpoint_story);
	story_replay(&checkpoint_story, &checkpoint_told);
	replay_end(&checkpoint_told);
}

uint64_t checkpoint_write_told(void)
{
	uint64_t size = 0;

	ck_assert_int_eq(
		checkpoint_write(checkpoint_folder_fd, &some_identity, &checkpoint_told, &size), 0);
	return size;
}

void checkpoint_make_name(uint64_t number, char name[CHECKPOINT_NAME_LEN + 1])
{
	snprintf(name, CHECKPOINT_NAME_LEN + 1, "%016llx.checkpoint", (unsigned long long)number);
}

struct replay *checkpoint_read_it(uint64_t number, struct journal_error *ret_error)
{
	struct replay *replay = allocate_one(struct replay);
	int r;

	replay_init(replay);
	*ret_error = (struct journal_error){ 0 };
	r = checkpoint_read(checkpoint_folder_fd, &some_identity, number, replay, ret_error);
	if (r == 0)
		return replay;
	EXPECT(r == -ret_error->error && strlen(ret_error->text) > 10, "%d, error %d: %s", r,
	       ret_error->error, ret_error->text);
	replay_destroy(replay);
	free(replay);
	return NULL;
}

void checkpoint_free_replay(struct replay *replay)
{
	replay_destroy(replay);
	free(replay);
}

void checkpoint_make_small(uint64_t random)
{
	checkpoint_tell(random, 12);
	checkpoint_write_told();
	checkpoint_files = files_take("vm");
	ck_assert_uint_eq(checkpoint_files.n, 1);
	checkpoint_make_name(checkpoint_told.number, checkpoint_file);
	ck_assert_str_eq(checkpoint_files.file[0].name, checkpoint_file);
}

TCase *checkpoint_make_case(const char *name)
{
	TCase *tests = tcase_create(name);

	tcase_add_checked_fixture(tests, begin, end);
	return tests;
}
