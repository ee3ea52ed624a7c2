/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What KVM counts of a VM, as the daemon tells operators: one question on its control socket.
 */
#ifndef VSM_STATISTICS_H
#define VSM_STATISTICS_H

#include <stdint.h>

/*
 * The statistic of that name, of that VTL's view.  Returns NULL, or what went wrong: static, or
 * until the next call.
 */
__attribute__((warn_unused_result)) const char *statistics_read(const char *control_socket,
								const char *vm, unsigned int vtl,
								const char *name, uint64_t *ret);

#endif
