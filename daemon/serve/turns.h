/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fair turns at the event loop: whatever one peer makes the daemon do, the others are not kept from
 * it for longer than a turn.
 *
 * What an event brings is somebody's work, and the loop's time is divided as a tree: among the
 * users; of a user's part, among each of its VMs, its clients of the control socket together, and
 * its new sessions together; of a VM's part, among its sessions, its executor and its own work.
 * Parts that ask for turns at the same time have equal shares of it, by the clock, however often
 * they ask: who has used least is next.  So one that asks for little waits for the turn that is
 * under way, and for no other.  (Fair queueing by virtual time, as Linux's CFS does it with
 * processes.)
 *
 * An event's callback asks for a turn, and its work is done at once where nobody else waits.
 * Otherwise it is done by turns_run(), which the main loop calls each time it has looked for
 * events. Work is cut by those who do it: a turn is not ended from outside.
 *
 * Some are patient: while others want turns, their first ones are put off, for up to
 * TURNS_PATIENCE_US; who has begun goes on with its share.  It costs the others nothing if they come
 * to wait for something themselves by then, as a batch does for its executor; and what was put off
 * together costs less than one by one, when each would find the CPU's caches full of something
 * else.  Where the others have not stopped wanting turns for TURNS_BUSY_US, they will hardly do so
 * soon, and nobody is put off.
 */
#ifndef KVMATTRD_TURNS_H
#define KVMATTRD_TURNS_H

#include "daemon/latency.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define TURNS_PATIENCE_US 3000
#define TURNS_BUSY_US     20000

typedef void (*turn_work)(void *context);

/* A part of the loop's time: work, or what is divided among other parts. */
struct turn {
	struct turn *parent;    /* NULL: the whole */
	TAILQ_ENTRY(turn) list; /* its parent's waiting, or those put off */
	/* The parts of this one that have something to do, by what they have used. */
	TAILQ_HEAD(turn_list, turn) waiting;
	unsigned int n_parts;
	bool is_waiting;
	bool is_patient;
	bool is_put_off;   /* it is to wait, */
	uint64_t due_us;   /* but not before then where others want turns */
	uint64_t used_us;  /* its own virtual time: what it used, or did not ask for */
	uint64_t parts_us; /* of the part that worked last, when it began */
	turn_work work;    /* NULL: only its parts' */
	void *context;
};

struct turns {
	struct turn whole;
	uint64_t (*now_us)(void);
	uint64_t used_us;         /* since the loop last looked for events */
	bool is_at_work;          /* a turn is being taken */
	struct turn *worker;      /* whose time that is; NULL: nobody's any more */
	struct turn_list put_off; /* the one that is due first is the first */
	size_t n_busy;            /* that are not patient and wait or work */
	uint64_t busy_us;         /* since when there are some */
	struct latency lengths;   /* of all turns */
};

/* now_us: a monotonic clock. */
void turns_init(struct turns *turns, uint64_t (*now_us)(void));
/* Has somebody to wait for turns_run()? */
bool turns_are_waiting(const struct turns *turns);
/* Work of those who wait, for some milliseconds; then it is time to look for events again. */
void turns_run(struct turns *turns);

/* A part of parent.  With work, it can ask for turns; without, it is for parts of its own. */
void turn_init(struct turns *turns, struct turn *turn, struct turn *parent, turn_work work,
	       void *context);
/* turn_ask() is patient for it from now on.  Nothing was asked for so far. */
void turn_be_patient(struct turn *turn);
/* It has used that time, too: of a turn that was somebody else's. */
void turn_bill(struct turn *turn, uint64_t used_us);
/*
 * Asks for nothing any more.  Its parts were ended before (asserted).  From within its own work,
 * too.
 */
void turn_end(struct turns *turns, struct turn *turn);
/* It, with all its parts, is a part of another one from now on. */
void turn_move(struct turn *turn, struct turn *parent);

/* Does the work once: before this returns, if nobody waits and this is not called from a turn. */
void turn_ask(struct turns *turns, struct turn *turn);
/* The same, but never before this returns, nor patiently.  Nothing, if it has ended. */
void turn_ask_later(struct turn *turn);
/* What was asked for is not done. */
void turn_forget(struct turn *turn);

#endif
