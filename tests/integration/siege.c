/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/siege.h"

struct siege siege_begin(const char *configuration)
{
	struct siege siege = { .daemon = kvmattrd_start(configuration) };

	siege.control = control_connect(siege.daemon);
	siege.bystander = bystander_start(siege.daemon);
	siege.before = daemon_state_now(siege.daemon, siege.control);
	return siege;
}

void siege_end(struct siege *siege)
{
	bystander_expect_progress(siege->bystander);
	expect_state(siege->daemon, siege->control, &siege->before);
	bystander_stop(siege->bystander);
	control_close(siege->control);
	kvmattrd_stop(siege->daemon);
}
