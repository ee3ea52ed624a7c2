/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a journal's records say, each in a line of words for people.
 *
 * Texts of peers are in it as they are: whoever shows a line sees to what its place cannot bear.
 */
#ifndef KVMATTRD_HISTORY_TEXT_H
#define KVMATTRD_HISTORY_TEXT_H

#include "daemon/policy/policy.h"
#include "vm-records.h"

#include <stddef.h>

/* "protect: layer 1 allows VTL 0 rx on 12 pages from 0x1f000" */
void history_describe_part(const struct vm_record_part *part, const char *refusal,
			   const uint8_t *elements, char *ret_text, size_t size);
void history_describe_session(const struct vm_record_session *session, char *ret_text, size_t size);
void history_describe_failure(const struct wire_failure *failure, char *ret_text, size_t size);
void history_describe_registration(const struct vm_record_registered *facts, char *ret_text,
				   size_t size);
void history_describe_release(const struct vm_record_released *released, char *ret_text,
			      size_t size);

/* "protect", "enable-layer" and the like; "unknown" for a number that is no kind.  Static. */
const char *history_kind_name(unsigned int kind);

#endif
