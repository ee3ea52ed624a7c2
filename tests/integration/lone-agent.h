/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM with one agent, both raw peers, over restarts of the daemon (restarts.h).
 */
#ifndef INTEGRATION_LONE_AGENT_H
#define INTEGRATION_LONE_AGENT_H

#include "tests/integration/restarts.h"

/* Of RESUME, as raw_make_resume() makes it. */
#define RESUME_ID 0x2E5

/* "guest", with layer 1 enabled: its owner has had one update answered. */
extern struct raw_vm vm;
/* The connection of its agent of VTL 1, and what it was welcomed with. */
extern int agent;
extern struct wire_welcome agent_welcome;

void start_guest(const char *configuration);
void stop_guest(void);

/* The agent's connection to the new daemon; the old one is of no use any more. */
void resume_agent(uint64_t answered, uint64_t settled);

/* The agent's update of two pages. */
void send_update(uint64_t seqno, uint64_t gfn);
/* An update is carried out by one call for exactly these pages, and answered unless seqno is 0. */
void expect_done(uint64_t seqno, uint64_t gfn, uint64_t n_pages);
/* Both. */
void do_update(uint64_t seqno, uint64_t gfn);

/* What an owner sends as its executor's socket, of which nobody has the other end. */
int socket_for_executor(void);
/* No message has come on a socket. */
bool is_silent(int socket);
/* The session's state as vm.get has it, "gone" if it is not there. */
bool is_session(uint64_t id, const char *state);

#endif
