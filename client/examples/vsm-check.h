/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question at a time: VTL 1 asks for something, or a vCPU accesses a page, and what the
 * daemon and the guest answer is compared with the model.  Each comparison is one line of TAP.
 *
 * Which questions are asked, and in what order, is vsm-cases.c.
 */
#ifndef VSM_CHECK_H
#define VSM_CHECK_H

#include "vsm-model.h"
#include "vsm-vmm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct check {
	struct vmm *vmm;
	struct model model;
};

/* ---- TAP, on standard output --------------------------------------------------------------- */

/* One line: what was tried, and what came of it.  Never a '#': in TAP it starts a directive. */
__attribute__((format(printf, 3, 4))) void check_report(bool is_ok, const char *label,
							const char *format, ...);
/* The end: what was tried cannot be tried.  r: of the library; why: a message, or NULL. */
__attribute__((noreturn)) void check_bail_out(const char *what, int r, const char *why);
/* Prints the plan; returns how many failed. */
int check_finish(void);

#define CHECK_LABEL_SIZE 128
/* "deny vmm-thread rx": the dialect, the executor, and what was asked. */
__attribute__((format(printf, 3, 4))) void check_label(const struct check *check,
						       char ret_label[CHECK_LABEL_SIZE],
						       const char *format, ...);
/* A status by its name, or a negative errno's text.  Static. */
const char *check_status_name(int status);

/* ---- What VTL 1 asks ------------------------------------------------------------------------ */

/* Each returns the status; that it is the model's is what is reported. */
int check_ask_layer(struct check *check, const char *label, enum kvmattr_update_kind kind,
		    unsigned int protection);
int check_ask_range(struct check *check, const char *label, enum kvmattr_update_kind kind,
		    unsigned int value, uint64_t gfn, uint64_t n_pages);
/* Protects n pages (at most AGENT_MAX_PAGES), stride apart. */
int check_ask_pages(struct check *check, const char *label, unsigned int protection, uint64_t gfn,
		    unsigned int n, unsigned int stride);

/* ---- What a vCPU tries ----------------------------------------------------------------------- */

/* What the model says becomes of an access. */
struct guest_outcome check_expect(const struct check *check, unsigned int vtl, uint64_t gfn,
				  unsigned int access);
bool check_same_outcome(const struct guest_outcome *a, const struct guest_outcome *b);
#define CHECK_TEXT_SIZE 160
void check_describe(const struct guest_outcome *outcome, char text[CHECK_TEXT_SIZE]);

extern const unsigned int check_accesses[];
#define CHECK_N_ACCESSES 3u

/* One access of one VTL, and what the daemon explains of it. */
void check_access(struct check *check, const char *label, unsigned int vtl, uint64_t gfn,
		  unsigned int access);
/* Every access of every VTL. */
void check_page(struct check *check, const char *label, uint64_t gfn);
/* Every access of VTL 0 to each of these pages. */
void check_pages(struct check *check, const char *label, const uint64_t *gfns, size_t n);
#define CHECK_PAGES(check, label, ...)                               \
	check_pages(check, label, (const uint64_t[]){ __VA_ARGS__ }, \
		    sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* What the daemon says of every page of a view. */
void check_map(struct check *check, unsigned int vtl);

#endif
