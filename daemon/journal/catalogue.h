/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which journals there are in a directory, and what each is of: a VM that lives, or history.
 *
 * Names that are no journal's are left out.  A journal that cannot be read is listed, with why.
 * Knows files, and no daemon: who knows which VMs live says so.
 */
#ifndef KVMATTRD_CATALOGUE_H
#define KVMATTRD_CATALOGUE_H

#include "past.h"

enum catalogue_state {
	CATALOGUE_LIVE,       /* of a VM that is hosted: nothing else was looked at but its size */
	CATALOGUE_OPEN,       /* of this boot, neither released nor hosted */
	CATALOGUE_UNFINISHED, /* the registration was never completed */
	CATALOGUE_RELEASED,   /* history: the VM was released */
	CATALOGUE_OTHER_BOOT, /* history: the host went down */
	CATALOGUE_DAMAGED,    /* it cannot be read as a whole */
};

struct catalogue_entry {
	char name[PAST_NAME_SIZE];
	char vm[KVMATTR_NAME_SIZE];
	const char *life; /* the sixteen digits behind the VM's name, in name */
	enum catalogue_state state;
	bool is_of_this_boot;   /* false if that cannot be read */
	uint64_t n_bytes;       /* of all its files */
	uint64_t registered_us; /* 0: not known */
	uint64_t commit;
	uint64_t commit_us;
	struct vm_record_released released; /* of one that was */
	struct journal_error error;         /* of one that is damaged */
};

/* Is it the name of a journal's directory?  Then *ret_vm is the VM's. */
__attribute__((warn_unused_result)) bool catalogue_is_name(const char *name,
							   char ret_vm[KVMATTR_NAME_SIZE]);

/* What the list is made with. */
struct catalogue_source {
	int parent_fd;
	const uint8_t *boot_id; /* of this boot: 16 bytes */
	uint64_t max_map_bytes;
	/* Is the journal of that name the one of a VM that is hosted?  May be NULL. */
	bool (*is_live)(void *context, const char *name);
	bool (*is_cancelled)(void *context);
	void *context;
};

/* All there are, by name; the caller frees *ret.  0 or a negative errno with *ret_error. */
__attribute__((warn_unused_result)) int catalogue_list(const struct catalogue_source *source,
						       struct catalogue_entry **ret, size_t *ret_n,
						       struct journal_error *ret_error);

/* "live", "other-boot" and the like; static. */
const char *catalogue_state_name(enum catalogue_state state);

#endif
