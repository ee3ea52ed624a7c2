/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lives of a daemon that does nothing but keep and take file descriptors: each is a process, and
 * between two of them there is only the (fake) service manager.
 */
#ifndef FD_STORE_LIVES_H
#define FD_STORE_LIVES_H

#include "daemon/serve/fd-store.h"
#include "tests/integration/fake-manager.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct lives {
	char directory[40];
	char socket_path[64]; /* where a life may listen */
	struct fake_manager *manager;
	char *said; /* by the last life, in its log */
	int ours;   /* a connection's end that stays with the test */
	int theirs; /* the daemon's, for its first life */
};
extern struct lives lives;

/* A checked fixture. */
void lives_begin(void);
void lives_end(void);

/* A daemon from its start to its end. */
void live(void (*life)(struct fd_store *store));
/* In a life: otherwise it is its process' end, and the test's. */
#define MUST(condition)                                                                         \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			_exit(EXIT_FAILURE);                                                    \
		}                                                                               \
	} while (0)

void expect_said(const char *part);
/* The other end of that socket is there, and has said nothing. */
bool has_peer(int socket);
/* A socket of that type that listens at path; -1 if that cannot be had. */
int listen_at(const char *path, int type);

#endif
