/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rooms of a hosted VM share: hosted-vm.c, its beginning, its updates and its end;
 * hosted-vm-executor.c, who carries out its calls.
 */
#ifndef KVMATTRD_HOSTED_VM_PRIVATE_H
#define KVMATTRD_HOSTED_VM_PRIVATE_H

#include "daemon.h"

#include <event2/event.h>

/* 0: not at all. */
void hosted_vm_set_timer(struct event *timer, unsigned int timeout_ms);
/*
 * A time that the executor had is over.  Does what it said within it wait to be heard, because the
 * daemon was kept from its work?  Then the timer comes again, and nothing was late so far.
 */
bool hosted_vm_has_to_hear_first(const struct hosted_vm *hosted, struct event *timer);
/* The callback of hosted->patience: too long without an answer to a probe, or without an owner. */
void hosted_vm_lose_patience(evutil_socket_t unused, short events, void *argument);
/* Of hosted->agents_patience: too long without those of before a restart. */
void hosted_vm_lose_patience_with_agents(evutil_socket_t unused, short events, void *argument);

#endif
