/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal: what recovery takes, and what writing it takes with either durability.
 *
 * What is written is the boot trace, a million page updates of four agents, as a daemon under load
 * writes it: batches of so many elements, and behind each that it came into force.  The peers, in
 * the same run and over the same bytes: read() of the same files; pwrite() of records that are not
 * made, only as long; and the same group commit with pwrite() and fdatasync() in the place of
 * journal_write() and journal_sync().
 *
 * Files are made in the directory that is given, or the current one: a sync costs what its disk
 * takes.
 */
#include "client/simvm-trace.h"
#include "daemon/allocate.h"
#include "daemon/journal/checkpoint.h"
#include "protocol/kvm-abi.h"
#include "tests/bench/samples.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPETITIONS    9
#define N_UPDATES      1000000u /* of one page each */
#define RAM_PAGES      (UINT64_C(64) << 18)
#define N_AGENTS       4u
#define OWNER          1u
#define FIRST_AGENT    2u
#define SEGMENT_SIZE   (UINT64_C(8) << 20)
#define BATCH_ELEMENTS 4096u
/* With durability "power", batches are shorter, and so many may wait for the disk. */
#define POWER_ELEMENTS 512u
#define POWER_WINDOW   64u

static int directory_fd; /* where everything is made */

static double now_ms(void)
{
	return samples_now_us() / 1e3;
}

/* How much of a peer's speed is reached, in percent: of each pair, so that what else the machine
 * does meanwhile weighs less. */
static double percent_of(const double *took, const double *peer)
{
	double percents[REPETITIONS];

	for (int i = 0; i < REPETITIONS; i++)
		percents[i] = 100 * peer[i] / took[i];
	return samples_median(percents, REPETITIONS);
}

/* ---- What is written --------------------------------------------------------------------------- */

struct record {
	uint16_t type;
	struct image payload;
};

/* Each is a write of its own, as the daemon's are. */
static struct records {
	struct record *record;
	size_t n, capacity;
	uint64_t n_bytes; /* in files, without the segments' headers */
	uint64_t commit;
} boot, short_batches;

static struct image *add_record(struct records *records, enum vm_record_type type)
{
	struct record *record;

	allocate_room(records->record, records->n, records->capacity);
	record = &records->record[records->n++];
	*record = (struct record){ .type = (uint16_t)type };
	return &record->payload;
}

static void add(struct records *records, enum vm_record_type type, const void *payload, size_t size)
{
	image_add(add_record(records, type), payload, size);
}

static void add_in_force(struct records *records)
{
	const struct vm_record_in_force in_force = { records->commit, VM_RECORD_ALL_KNOWN, 0 };

	add(records, VM_RECORD_IN_FORCE, &in_force, sizeof(in_force));
}

static void add_registration(struct records *records)
{
	const struct {
		struct vm_record_registered head;
		struct wire_view view;
	} registered = {
		{ .name = "bench", .n_views = 1, .executor = WIRE_EXECUTOR_VMM },
		{ .abi = KVMATTR_ABI_DENY, .supported = KVM_ABI_PRIVATE | KVM_ABI_DENY_ALL },
	};
	const struct {
		struct vm_record_batch head;
		struct vm_record_part ram;
		struct kvmattr_range range;
		struct vm_record_part enable;
	} batch = {
		{ .commit = ++records->commit, .n_parts = 2 },
		{ .n_total = 1,
		  .n = 1,
		  .update = { .kind = KVMATTR_ADD_RAM,
			      .form = WIRE_FORM_RANGES,
			      .n_elements = 1 } },
		{ 0, RAM_PAGES },
		{ .session = OWNER,
		  .seqno = 1,
		  .n_total = 1,
		  .n = 1,
		  .update = { .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX } },
	};

	add(records, VM_RECORD_REGISTERED, &registered, sizeof(registered));
	for (uint64_t id = OWNER; id < FIRST_AGENT + N_AGENTS; id++) {
		const struct vm_record_session session = {
			.id = id,
			.role = id == OWNER ? WIRE_ROLE_OWNER : WIRE_ROLE_AGENT,
			.vtl = id != OWNER,
		};

		add(records, VM_RECORD_SESSION, &session, sizeof(session));
	}
	add(records, VM_RECORD_BATCH, &batch, sizeof(batch));
	add_in_force(records);
	add(records, VM_RECORD_READY, NULL, 0);
}

static void add_list(struct image *payload, const struct simvm_trace *trace,
		     const struct simvm_list *list, uint64_t seqno)
{
	const struct vm_record_part part = {
		.session = FIRST_AGENT + list->agent,
		.seqno = seqno,
		.n_total = list->n,
		.n = list->n,
		.update = { .kind = (uint8_t)trace->kind,
			    .form = WIRE_FORM_PAGES,
			    .layer = 1,
			    .value = list->value,
			    .restricted = KVMATTR_ALL_LOWER,
			    .n_elements = list->n },
	};

	image_add(payload, &part, sizeof(part));
	image_add(payload, trace->gfns + list->first, list->n * sizeof(*trace->gfns));
}

/* Batches of at least so many elements, with the registration before them. */
static void make_records(struct records *records, const struct simvm_trace *trace,
			 uint32_t n_elements)
{
	uint64_t seqnos[N_AGENTS] = { 0 };

	add_registration(records);
	for (size_t i = 0; i < trace->n_lists;) {
		struct vm_record_batch head = { .commit = ++records->commit };
		struct image *payload = add_record(records, VM_RECORD_BATCH);
		uint32_t n = 0;

		image_add(payload, &head, sizeof(head));
		for (; i < trace->n_lists && n < n_elements; n += trace->lists[i++].n) {
			const struct simvm_list *list = &trace->lists[i];

			add_list(payload, trace, list, ++seqnos[list->agent]);
			head.n_parts++;
		}
		memcpy(payload->data, &head, sizeof(head));
		add_in_force(records);
	}
	for (size_t i = 0; i < records->n; i++)
		records->n_bytes += journal_record_size(records->record[i].payload.size);
}

static void free_records(struct records *records)
{
	for (size_t i = 0; i < records->n; i++)
		image_destroy(&records->record[i].payload);
	free(records->record);
}

/* ---- Files ------------------------------------------------------------------------------------- */

static const struct journal_identity identity = { .boot_id = { 1 }, .life_id = { 2 } };

static void remove_folder(const char *name)
{
	int fd = openat(directory_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			unlinkat(fd, entry->d_name, 0);
	if (folder)
		closedir(folder);
	unlinkat(directory_fd, name, AT_REMOVEDIR);
}

static struct journal *create_journal(const char *name, bool is_synced)
{
	const struct journal_options options = { SEGMENT_SIZE, is_synced };
	struct journal *journal;
	int r = journal_create(directory_fd, name, &identity, options, &journal);

	if (r < 0)
		errx(1, "cannot make a journal: %s", strerror(-r));
	return journal;
}

static void write_record(struct journal *journal, const struct record *record)
{
	const struct iovec part = { record->payload.data, record->payload.size };

	journal_append(journal, record->type, 1, &part, 1);
	if (journal_write(journal) < 0)
		errx(1, "cannot write the journal");
}

/* Reads all files whose names end so, as fast as can be; returns their bytes. */
static uint64_t read_files(const char *name, const char *ending)
{
	static uint8_t buffer[1 << 20];
	int fd = openat(directory_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), file;
	DIR *folder = fdopendir(fd);
	struct dirent *entry;
	uint64_t n_bytes = 0;
	ssize_t n;

	while (folder && (entry = readdir(folder))) {
		if (!strstr(entry->d_name, ending))
			continue;
		file = openat(fd, entry->d_name, O_RDONLY | O_CLOEXEC);
		while ((n = read(file, buffer, sizeof(buffer))) > 0)
			n_bytes += (uint64_t)n;
		close(file);
	}
	closedir(folder);
	return n_bytes;
}

/* ---- Recovery ---------------------------------------------------------------------------------- */

static double replay_once(struct replay *replay, uint64_t *ret_checkpoint)
{
	const struct replay_request request = { .limit = REPLAY_ALL };
	struct replay_report report = { 0 };
	struct journal_error error;
	double start = now_ms(), took;

	replay_init(replay);
	if (journal_replay(directory_fd, "recovery", &request, replay, &report, &error) < 0)
		errx(1, "%s at %llu: %s", error.file, (unsigned long long)error.offset, error.text);
	took = now_ms() - start;
	if (replay->commit != boot.commit || replay->policy->n_ram_pages != RAM_PAGES)
		errx(1, "what was recovered is not what was written");
	*ret_checkpoint = report.checkpoint;
	return took;
}

static void print_recovery(const char *from, double bar_ms, double *recovery, double *reading,
			   uint64_t n_bytes)
{
	double took = samples_median(recovery, REPETITIONS),
	       peer = samples_median(reading, REPETITIONS);

	printf("  %8.1f ms  from %s, at most %.0f: %.1f MB, %.0f MB/s\n", took, from, bar_ms,
	       (double)n_bytes / 1e6, (double)n_bytes / took / 1e3);
	printf("  %8.1f ms  the same bytes read (peer), %.0f MB/s: recovery takes %.1f times as long\n",
	       peer, (double)n_bytes / peer / 1e3, took / peer);
}

/* With or without a checkpoint: whatever there is. */
static void measure_recovery(const char *from, const char *ending, double bar_ms)
{
	double recovery[REPETITIONS], reading[REPETITIONS];
	uint64_t n_bytes = 0, checkpoint;
	struct replay replay;

	for (int i = 0; i < REPETITIONS; i++) {
		double start = now_ms();

		n_bytes = read_files("recovery", ending);
		reading[i] = now_ms() - start;
		recovery[i] = replay_once(&replay, &checkpoint);
		replay_destroy(&replay);
	}
	print_recovery(from, bar_ms, recovery, reading, n_bytes);
}

static void write_checkpoint(void)
{
	struct replay replay;
	uint64_t checkpoint, size;
	int fd = openat(directory_fd, "recovery", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	double start;

	replay_once(&replay, &checkpoint);
	start = now_ms();
	if (checkpoint || checkpoint_write(fd, &identity, &replay, &size) < 0)
		errx(1, "cannot write a checkpoint");
	printf("  %8.1f ms  a checkpoint written and synced, %.1f MB\n", now_ms() - start,
	       (double)size / 1e6);
	close(fd);
	replay_destroy(&replay);
	replay_once(&replay, &checkpoint);
	if (!checkpoint)
		errx(1, "the checkpoint is not used");
	replay_destroy(&replay);
}

static void bench_recovery(void)
{
	struct journal *journal = create_journal("recovery", false);

	for (size_t i = 0; i < boot.n; i++)
		write_record(journal, &boot.record[i]);
	journal_free(journal);
	printf("recovery of %u page updates, %zu records, median of %d\n", N_UPDATES, boot.n,
	       REPETITIONS);
	measure_recovery("the log", ".journal", 150);
	write_checkpoint();
	measure_recovery("a checkpoint", ".checkpoint", 50);
	remove_folder("recovery");
}

/* ---- Durability "process" ---------------------------------------------------------------------- */

/* What is written in the place of a journal: as many bytes in as many writes. */
struct raw {
	int fd;
	off_t offset;
};

static struct raw create_raw(void)
{
	struct raw raw = {
		openat(directory_fd, "raw", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), 0
	};

	if (raw.fd < 0)
		err(1, "cannot make a file");
	return raw;
}

static void write_raw(struct raw *raw, const struct record *record)
{
	static const uint8_t zeros[64];
	size_t size = record->payload.size;
	size_t rest = journal_record_size(size) - size;
	const struct iovec parts[] = { { (void *)zeros, rest }, { record->payload.data, size } };

	if (pwritev(raw->fd, parts, 2, raw->offset) != (ssize_t)(rest + size))
		err(1, "cannot write a file");
	raw->offset += (off_t)(rest + size);
}

static double process_journal(void)
{
	struct journal *journal = create_journal("process", false);
	double start = now_ms(), took;

	for (size_t i = 0; i < boot.n; i++)
		write_record(journal, &boot.record[i]);
	took = now_ms() - start;
	journal_free(journal);
	remove_folder("process");
	return took;
}

static double process_raw(void)
{
	struct raw raw = create_raw();
	double start = now_ms(), took;

	for (size_t i = 0; i < boot.n; i++)
		write_raw(&raw, &boot.record[i]);
	took = now_ms() - start;
	close(raw.fd);
	unlinkat(directory_fd, "raw", 0);
	return took;
}

static void bench_process(void)
{
	double journal[REPETITIONS], raw[REPETITIONS], took, peer, percent;

	for (int i = 0; i < REPETITIONS; i++) {
		journal[i] = process_journal();
		raw[i] = process_raw();
	}
	percent = percent_of(journal, raw);
	took = samples_median(journal, REPETITIONS);
	peer = samples_median(raw, REPETITIONS);
	printf("durability \"process\": the same records written one by one, %.1f MB, median of %d\n",
	       (double)boot.n_bytes / 1e6, REPETITIONS);
	printf("  %8.1f ms  journal, %.0f MB/s, %.1f ns a page update\n", took,
	       (double)boot.n_bytes / took / 1e3, took * 1e6 / N_UPDATES);
	printf("  %8.1f ms  raw pwrite (peer), %.0f MB/s: the journal has %.0f %% of it\n", peer,
	       (double)boot.n_bytes / peer / 1e3, percent);
}

/* ---- Durability "power" ------------------------------------------------------------------------ */

/*
 * A group commit: one thread writes, and waits where too much is not on the disk yet; another
 * syncs whatever is written, again and again.
 */
struct group_commit {
	void (*write)(struct group_commit *commit, const struct record *record);
	int (*sync)(struct group_commit *commit);
	struct journal *journal;
	struct raw raw;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	size_t n_written, n_durable, n_syncs; /* records, records, syncs */
	size_t n;                             /* records in all */
};

static void write_to_journal(struct group_commit *commit, const struct record *record)
{
	write_record(commit->journal, record);
}

static int sync_journal(struct group_commit *commit)
{
	return journal_sync(commit->journal);
}

static void write_to_raw(struct group_commit *commit, const struct record *record)
{
	write_raw(&commit->raw, record);
}

static int sync_raw(struct group_commit *commit)
{
	return fdatasync(commit->raw.fd);
}

static void *sync_all(void *argument)
{
	struct group_commit *commit = argument;

	pthread_mutex_lock(&commit->mutex);
	while (commit->n_durable < commit->n) {
		size_t n = commit->n_written;

		if (n == commit->n_durable) {
			pthread_cond_wait(&commit->changed, &commit->mutex);
			continue;
		}
		pthread_mutex_unlock(&commit->mutex);
		if (commit->sync(commit) != 0)
			errx(1, "cannot sync");
		pthread_mutex_lock(&commit->mutex);
		commit->n_durable = n;
		commit->n_syncs++;
		pthread_cond_broadcast(&commit->changed);
	}
	pthread_mutex_unlock(&commit->mutex);
	return NULL;
}

static double run_group_commit(struct group_commit *commit)
{
	double start = now_ms();
	pthread_t syncer;

	commit->n = short_batches.n;
	pthread_mutex_init(&commit->mutex, NULL);
	pthread_cond_init(&commit->changed, NULL);
	if (pthread_create(&syncer, NULL, sync_all, commit))
		errx(1, "cannot make a thread");
	for (size_t i = 0; i < commit->n; i++) {
		pthread_mutex_lock(&commit->mutex);
		while (commit->n_written - commit->n_durable >= 2 * POWER_WINDOW)
			pthread_cond_wait(&commit->changed, &commit->mutex);
		pthread_mutex_unlock(&commit->mutex);
		commit->write(commit, &short_batches.record[i]);
		pthread_mutex_lock(&commit->mutex);
		commit->n_written++;
		pthread_cond_broadcast(&commit->changed);
		pthread_mutex_unlock(&commit->mutex);
	}
	pthread_join(syncer, NULL);
	pthread_mutex_destroy(&commit->mutex);
	pthread_cond_destroy(&commit->changed);
	return now_ms() - start;
}

static double power_journal(size_t *ret_n_syncs)
{
	struct group_commit commit = { .write = write_to_journal,
				       .sync = sync_journal,
				       .journal = create_journal("power", true) };
	double took = run_group_commit(&commit);

	*ret_n_syncs = commit.n_syncs;
	journal_free(commit.journal);
	remove_folder("power");
	return took;
}

static double power_raw(size_t *ret_n_syncs)
{
	struct group_commit commit = { .write = write_to_raw,
				       .sync = sync_raw,
				       .raw = create_raw() };
	double took = run_group_commit(&commit);

	*ret_n_syncs = commit.n_syncs;
	close(commit.raw.fd);
	unlinkat(directory_fd, "raw", 0);
	return took;
}

static void bench_power(void)
{
	double journal[REPETITIONS], raw[REPETITIONS], took, peer, percent;
	size_t n_syncs, n_raw_syncs;

	for (int i = 0; i < REPETITIONS; i++) {
		journal[i] = power_journal(&n_syncs);
		raw[i] = power_raw(&n_raw_syncs);
	}
	percent = percent_of(journal, raw);
	took = samples_median(journal, REPETITIONS);
	peer = samples_median(raw, REPETITIONS);
	printf("durability \"power\": %llu batches of %u elements, at most %u not on the disk yet, "
	       "median of %d\n",
	       (unsigned long long)short_batches.commit, POWER_ELEMENTS, POWER_WINDOW, REPETITIONS);
	printf("  %8.1f ms  journal, %zu syncs, %.0f batches/s\n", took, n_syncs,
	       (double)short_batches.commit * 1e3 / took);
	printf("  %8.1f ms  raw group commit (peer), %zu syncs: the journal has %.0f %% of it, "
	       "at least 80\n",
	       peer, n_raw_syncs, percent);
}

/* ---- All --------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	const struct simvm_trace_options options = {
		.seed = 1,
		.ram_pages = RAM_PAGES,
		.n_protections = N_UPDATES,
		.n_agents = N_AGENTS,
		.abi = KVMATTR_ABI_DENY,
	};
	char name[] = "bench-journal.XXXXXX", text[256];
	struct simvm_trace trace;

	if (simvm_trace_generate(&options, &trace, text, sizeof(text)) < 0)
		errx(1, "no trace: %s", text);
	make_records(&boot, &trace, BATCH_ELEMENTS);
	make_records(&short_batches, &trace, POWER_ELEMENTS);
	simvm_trace_destroy(&trace);
	if (argc > 1 && chdir(argv[1]) < 0)
		err(1, "%s", argv[1]);
	if (!mkdtemp(name))
		err(1, "cannot make a directory");
	directory_fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory_fd < 0)
		err(1, "%s", name);
	bench_recovery();
	bench_process();
	bench_power();
	close(directory_fd);
	rmdir(name);
	free_records(&boot);
	free_records(&short_batches);
	return 0;
}
