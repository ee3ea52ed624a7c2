/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of struct vm_ops for a VM to which nobody listens: its journal takes everything and forgets
 * it, what it says is not heard.
 */
#ifndef UNHEARD_VM_OPS_H
#define UNHEARD_VM_OPS_H

#include "daemon/vm.h"

int unheard_record(void *context, const struct vm_batch *batch, const struct vm_in_force *in_force,
		   uint64_t *ret_durable);
void unheard_refused(void *context, const struct vm_update *update, enum kvmattr_status status,
		     const char *text);
void unheard_settled(void *context);
void unheard_report(void *context, enum vm_report report, const char *text);

#endif
