/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rooms of a hosted VM share: hosted-vm.c, its beginning, its updates and its end;
 * hosted-vm-executor.c, who carries out its calls.
 */
#ifndef KVMATTRD_HOSTED_VM_PRIVATE_H
#define KVMATTRD_HOSTED_VM_PRIVATE_H

#include <event2/event.h>

/* 0: not at all. */
void hosted_vm_set_timer(struct event *timer, unsigned int timeout_ms);
/* The callback of hosted->patience: too long without an answer to a probe, or without an owner. */
void hosted_vm_lose_patience(evutil_socket_t unused, short events, void *argument);

#endif
