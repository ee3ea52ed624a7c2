/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/ctl-guest.h"

#include "tests/integration/restarts.h"

struct simulated_vmm *guest;

void ctl_guest_start(void)
{
	start(NULL);
	guest = simulated_vmm_start(d, &(struct simulated_vmm_options){ 0 });
	expect_ok(guest->owner, kvmattr_enable_layer(guest->owner, 1, KVMATTR_RWX, 0));
}

void ctl_guest_start_protected(void)
{
	ctl_guest_start();
	expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_RX, 16, 16));
	expect_ok(guest->owner, protect_range(guest->owner, 1, KVMATTR_NONE, 32, 8));
}

void ctl_guest_stop(void)
{
	simulated_vmm_stop(guest);
	stop();
}
