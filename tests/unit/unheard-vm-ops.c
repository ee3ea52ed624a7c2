/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unheard-vm-ops.h"

int unheard_record(void *context, const struct vm_batch *batch, const struct vm_in_force *in_force,
		   uint64_t *ret_durable)
{
	(void)context;
	(void)batch;
	(void)in_force;
	*ret_durable = 0;
	return 0;
}

void unheard_refused(void *context, const struct vm_update *update, enum kvmattr_status status,
		     const char *text)
{
	(void)context;
	(void)update;
	(void)status;
	(void)text;
}

void unheard_settled(void *context)
{
	(void)context;
}

void unheard_report(void *context, enum vm_report report, const char *text)
{
	(void)context;
	(void)report;
	(void)text;
}
