/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads beside the event loop, for what may take long.  They get no signals: these are the
 * loop's.
 */
#ifndef KVMATTRD_THREAD_H
#define KVMATTRD_THREAD_H

#include <pthread.h>

/*
 * Starts one, with a small stack.  ret_thread NULL: nobody waits for its end.  Returns 0 or a
 * negative errno.
 */
__attribute__((warn_unused_result)) int thread_start(void *(*work)(void *argument), void *argument,
						     pthread_t *ret_thread);

#endif
