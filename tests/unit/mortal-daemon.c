/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/mortal-daemon.h"

#include "tests/unit/pretended-vm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How long nobody listens: some of the peer's attempts. */
#define AWAY_US 5000

/* ---- What both ends know ------------------------------------------------------------------- */

struct kvmattr_update mortal_update(uint64_t seqno, uint64_t *gfns)
{
	uint32_t n = seqno % 16 == 5 ? MORTAL_MAX_PAGES : 1 + (uint32_t)(seqno % 5);

	for (uint32_t i = 0; i < n; i++)
		gfns[i] = seqno * MORTAL_MAX_PAGES + i;
	return (struct kvmattr_update){ .kind = KVMATTR_PROTECT,
					.layer = 1,
					.value = KVMATTR_RX,
					.restricted = KVMATTR_ALL_LOWER,
					.gfns = gfns,
					.n = n };
}

enum kvmattr_status mortal_outcome(uint64_t seqno, uint32_t *ret_n_in_force)
{
	uint64_t gfns[MORTAL_MAX_PAGES];
	uint32_t n = mortal_update(seqno, gfns).n;

	*ret_n_in_force = seqno % 7 ? n : n - 1;
	return seqno % 7 ? KVMATTR_OK : KVMATTR_OPERATION_DENIED;
}

uint64_t mortal_commit(uint64_t seqno)
{
	return 1000 + seqno;
}

uint16_t mortal_denying(uint64_t gfn)
{
	return (uint16_t)(gfn % 1000 + 1);
}

/* ---- Moments ------------------------------------------------------------------------------- */

static bool is_last_moment(struct mortal_daemon *m)
{
	m->n_moments++;
	return m->dies_at && (m->n_moments == m->dies_at ||
			      (m->dies_again_at && m->n_moments == m->dies_at + m->dies_again_at));
}

static void send_answer(struct scripted_daemon *d, uint64_t first, uint64_t last)
{
	struct mortal_daemon *m = d->context;
	struct wire_failure failures[128];
	uint32_t n = 0;

	for (uint64_t seqno = first; seqno <= last; seqno++) {
		uint32_t n_in_force;
		enum kvmattr_status status = mortal_outcome(seqno, &n_in_force);

		if (status == KVMATTR_OK)
			continue;
		MUST(n < sizeof(failures) / sizeof(*failures));
		failures[n] = (struct wire_failure){ .seqno = seqno,
						     .status = status,
						     .n_in_force = n_in_force };
		snprintf(failures[n].text, sizeof(failures[n].text), "update %llu",
			 (unsigned long long)seqno);
		n++;
	}
	daemon_send_answer(d, last, mortal_commit(last), failures, n);
	m->told = last;
}

static struct wire_resume come_back(struct scripted_daemon *d)
{
	struct mortal_daemon *m = d->context;

	if (m->death == DEATH_RESTARTED)
		return daemon_restart(d);
	daemon_die(d);
	if (m->death == DEATH_AWAY) {
		daemon_stop_listening(d);
		usleep(AWAY_US);
		daemon_listen(d);
	}
	return daemon_welcome_back(d, m->n_views);
}

/* Its successor takes over; it may die soon, too. */
static void die(struct scripted_daemon *d)
{
	struct mortal_daemon *m = d->context;
	struct wire_probe_result results[KVMATTR_N_VTLS];
	struct wire_resume resume;
	bool is_dead = true;

	while (is_dead) {
		m->n_deaths++;
		resume = come_back(d);
		/* All that was said before the end was heard; or it was not looked at, by an executor. */
		MUST(resume.answered == m->told || (m->n_views && resume.answered < m->told));
		m->told = resume.answered;
		is_dead = is_last_moment(m);
		if (is_dead)
			continue;
		daemon_send_owner_resumed(d, m->settled, m->n_views, pretended_vtls,
					  KVMATTR_ABI_DENY,
					  m->n_views ? WIRE_EXECUTOR_VMM : (enum wire_executor)0);
		m->received = m->settled;
		if (m->n_views)
			daemon_probe(d, m->n_views, results);
		is_dead = is_last_moment(m);
		if (is_dead || m->settled == m->told)
			continue;
		send_answer(d, m->told + 1, m->settled);
		is_dead = is_last_moment(m);
	}
}

#define MOMENT()                       \
	do {                           \
		if (is_last_moment(m)) \
			return die(d); \
	} while (0)

/* ---- The conversation ---------------------------------------------------------------------- */

static void check_update(uint64_t seqno, const struct wire_update *update, const uint8_t *elements)
{
	uint64_t gfns[MORTAL_MAX_PAGES];
	struct kvmattr_update expected = mortal_update(seqno, gfns);

	MUST(update->kind == KVMATTR_PROTECT && update->layer == 1 && update->value == KVMATTR_RX &&
	     update->restricted == KVMATTR_ALL_LOWER);
	MUST(update->n_elements == expected.n);
	MUST(!memcmp(elements, gfns, expected.n * sizeof(*gfns)));
}

/* Settles the updates that came in two steps, the first of which ends anywhere. */
static void settle(struct scripted_daemon *d)
{
	struct mortal_daemon *m = d->context;
	uint64_t received = m->received;

	for (uint64_t rest = (received - m->settled) / 3; m->settled < received; rest = 0) {
		m->settled = received - rest;
		MOMENT();
		send_answer(d, m->told + 1, m->settled);
		MOMENT();
	}
}

static void take_updates(struct scripted_daemon *d)
{
	struct mortal_daemon *m = d->context;
	struct wire_update_list list;
	size_t offset = sizeof(list);

	MUST(!wire_get_update_list(d->message, d->header.size, &list));
	MUST(list.header.id == m->received + 1);
	for (uint32_t i = 0; i < list.n_updates; i++) {
		struct wire_update update;
		const uint8_t *elements;

		MUST(!wire_next_update(d->message, d->header.size, &offset, &update, &elements));
		check_update(++m->received, &update, elements);
	}
	MUST(offset == d->header.size);
	MOMENT();
	settle(d);
}

static void take_explain(struct scripted_daemon *d)
{
	struct mortal_daemon *m = d->context;
	struct wire_explained explained = { 0 };
	struct wire_explain explain;

	MUST(!wire_get_explain(d->message, d->header.size, &explain));
	/* Its page says how many updates were submitted before it. */
	MUST(m->received == explain.gfn && m->settled == m->received);
	MOMENT();
	explained.header = wire_header_make(WIRE_EXPLAINED, sizeof(explained), d->header.id);
	explained.gfn = explain.gfn;
	explained.denying = mortal_denying(explain.gfn);
	daemon_send(d, &explained, sizeof(explained));
	if (explain.gfn < m->last_question) /* behind it the peer may go */
		MOMENT();
}

static void greet(struct scripted_daemon *d)
{
	struct wire_probe_result results[KVMATTR_N_VTLS];
	struct mortal_daemon *m = d->context;
	uint64_t id;

	if (!m->n_views) {
		daemon_welcome(d, m->window);
		return;
	}
	daemon_welcome_nobody(d, m->window);
	daemon_receive_registration(d);
	id = d->header.id;
	daemon_probe(d, m->n_views, results);
	daemon_send_registered(d, id, m->n_views, pretended_vtls, KVMATTR_ABI_DENY,
			       WIRE_EXECUTOR_VMM);
}

void mortal_daemon_script(struct scripted_daemon *d)
{
	unsigned int type;

	greet(d);
	for (;;) {
		type = daemon_receive_any(d, d->peer);
		MUST(type == WIRE_UPDATE || type == WIRE_EXPLAIN || type == WIRE_BYE);
		if (type == WIRE_BYE)
			break;
		if (type == WIRE_UPDATE)
			take_updates(d);
		else
			take_explain(d);
	}
	daemon_receive_end(d, d->peer);
}
