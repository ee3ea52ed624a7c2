/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scripted daemon with a journal, which dies once at any moment of a conversation, or twice.
 *
 * It takes the updates of mortal_update() and settles them bit by bit; each message that it receives
 * or sends, and each settlement, is a moment at which it can die.  Its successor knows what was
 * settled and nothing else, and checks that the peer sends exactly the rest, each update as it was.
 * Questions are about the page whose number is that of the updates submitted before them.
 */
#ifndef MORTAL_DAEMON_H
#define MORTAL_DAEMON_H

#include "tests/unit/scripted-daemon.h"

#include <kvmattr.h>

#include <stdbool.h>
#include <stdint.h>

enum death {
	DEATH_NEW_SOCKET, /* the peer's socket ends; the listening one stays */
	DEATH_AWAY,       /* for a while nobody listens, either */
	DEATH_RESTARTED,  /* the sockets stay, and RESTARTED is said */
	N_DEATHS,
};

struct mortal_daemon {
	/* The case. */
	enum death death;
	unsigned int dies_at;       /* moment; 0: never */
	unsigned int dies_again_at; /* moments after that; 0: not again */
	uint32_t n_views;           /* of a VM's owner; an agent has none */
	uint32_t window;
	uint64_t last_question; /* the page that the conversation's last question is about */
	/* The journal, and what was told to the peer. */
	uint64_t settled;
	uint64_t told;
	/* What came to pass. */
	unsigned int n_moments;
	unsigned int n_deaths;
	uint64_t received; /* of this life */
};

/* The script; the daemon's context is a struct mortal_daemon. */
void mortal_daemon_script(struct scripted_daemon *daemon);

/* The update with that seqno; gfns: room for its pages, which it then points to. */
#define MORTAL_MAX_PAGES 4000
struct kvmattr_update mortal_update(uint64_t seqno, uint64_t *gfns);
/* Its outcome: a status, and how many of its pages are in force. */
enum kvmattr_status mortal_outcome(uint64_t seqno, uint32_t *ret_n_in_force);
/* The commit at which every update up to seqno is in force. */
uint64_t mortal_commit(uint64_t seqno);

/* What a question about that page is answered. */
uint16_t mortal_denying(uint64_t gfn);

#endif
