/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "authority.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "protocol/kvmattr-types.h"
#include "refusals.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5; bookworm's libc does not know it */
#endif

/* As systemd has it (UNIT_NAME_MAX), with a NUL. */
#define UNIT_NAME_SIZE 256

enum word_kind { WORD_ALL, WORD_USER, WORD_GROUP, WORD_UNIT };

struct word {
	enum word_kind kind;
	uint32_t id;               /* of a user or group */
	char unit[UNIT_NAME_SIZE]; /* of a unit */
};

struct authority_list {
	size_t n;
	size_t capacity;
	struct word *words;
};

struct authority {
	const struct authority_list *lists[AUTHORITY_N_RIGHTS];
	uint64_t number; /* of these settings, from 1 on */
	struct refusals *refusals;
};

static const struct {
	const char *setting;
	const char *role;
} rights[AUTHORITY_N_RIGHTS] = {
	[AUTHORITY_REGISTER] = { "register", "VMMs" },
	[AUTHORITY_OBSERVE] = { "observe", "observers" },
	[AUTHORITY_OPERATE] = { "operate", "operators" },
};

/* ---- Settings -------------------------------------------------------------------------------- */

static bool take_id(const char *text, struct word *word, char *why, size_t size)
{
	char *end;
	unsigned long long id;

	errno = 0;
	id = strtoull(text, &end, 10);
	/* the last one is the kernel's "none" */
	if (*text < '0' || *text > '9' || *end || errno || id >= UINT32_MAX) {
		snprintf(why, size, "'%s' is no number from 0 to %" PRIu32, text, UINT32_MAX - 1);
		return false;
	}
	word->id = (uint32_t)id;
	return true;
}

static bool say_not_found(const char *what, const char *name, int error, char *why, size_t size)
{
	if (!error || error == ENOENT || error == ESRCH) /* NSS has several ways to say it */
		snprintf(why, size, "there is no %s '%s'", what, name);
	else
		snprintf(why, size, "%s '%s' cannot be looked up: %s", what, name, strerror(error));
	return false;
}

static bool take_user(const char *name, struct word *word, char *why, size_t size)
{
	const struct passwd *user;

	errno = 0;
	user = getpwnam(name);
	if (!user)
		return say_not_found("user", name, errno, why, size);
	word->id = user->pw_uid;
	return true;
}

static bool take_group(const char *name, struct word *word, char *why, size_t size)
{
	const struct group *group;

	errno = 0;
	group = getgrnam(name);
	if (!group)
		return say_not_found("group", name, errno, why, size);
	word->id = group->gr_gid;
	return true;
}

/* Whether it is there cannot be asked: it may be started later. */
static bool take_unit(const char *name, struct word *word, char *why, size_t size)
{
	static const char *const suffixes[] = { ".service", ".scope", ".slice" };
	size_t n = strlen(name);
	bool has_suffix = false;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		has_suffix |= n > strlen(suffixes[i]) &&
			      !strcmp(name + n - strlen(suffixes[i]), suffixes[i]);
	if (!has_suffix || n >= sizeof(word->unit) || strchr(name, '/')) {
		snprintf(why, size, "'%s' is no name of a service, scope or slice, as x.service is",
			 name);
		return false;
	}
	memcpy(word->unit, name, n + 1);
	return true;
}

static const struct {
	const char *prefix;
	enum word_kind kind;
	bool (*take)(const char *text, struct word *word, char *why, size_t size);
} kinds[] = {
	{ "user:", WORD_USER, take_user },    { "uid:", WORD_USER, take_id },
	{ "group:", WORD_GROUP, take_group }, { "gid:", WORD_GROUP, take_id },
	{ "unit:", WORD_UNIT, take_unit },
};

static bool take_word(const char *text, struct word *word, char *why, size_t size)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		size_t n = strlen(kinds[i].prefix);

		word->kind = kinds[i].kind;
		if (!strncmp(text, kinds[i].prefix, n))
			return kinds[i].take(text + n, word, why, size);
	}
	word->kind = WORD_ALL;
	if (!strcmp(text, "all"))
		return true;
	snprintf(why, size, "'%s' is none of these", text);
	return false;
}

bool authority_list_add(struct authority_list **list, const char *text, char *wrong, size_t size)
{
	struct authority_list *longer = authority_list_copy(*list);
	char *copy = allocate_string(text), *rest = NULL;
	bool is_valid = true;

	for (const char *word = strtok_r(copy, " \t", &rest); word && is_valid;
	     word = strtok_r(NULL, " \t", &rest)) {
		allocate_room(longer->words, longer->n, longer->capacity);
		is_valid = take_word(word, &longer->words[longer->n++], wrong, size);
	}
	free(copy);
	if (!is_valid) {
		authority_list_free(longer);
		return false;
	}
	authority_list_free(*list);
	*list = longer;
	return true;
}

struct authority_list *authority_list_all(void)
{
	struct authority_list *list = allocate_one(struct authority_list);

	allocate_room(list->words, list->n, list->capacity);
	list->words[list->n++] = (struct word){ .kind = WORD_ALL };
	return list;
}

struct authority_list *authority_list_copy(const struct authority_list *list)
{
	struct authority_list *copy = allocate_one(struct authority_list);

	for (size_t i = 0; list && i < list->n; i++) {
		allocate_room(copy->words, copy->n, copy->capacity);
		copy->words[copy->n++] = list->words[i];
	}
	return copy;
}

void authority_list_free(struct authority_list *list)
{
	if (!list)
		return;
	free(list->words);
	free(list);
}

/* ---- Peers ----------------------------------------------------------------------------------- */

/* What takes more than SO_PEERCRED to know. */
struct facts {
	gid_t *groups;
	size_t n_groups;
	char *unit;  /* NULL: it is in none */
	char *slice; /* the innermost one */
};

struct authority_peer authority_identify(int socket)
{
	struct authority_peer peer = { .socket = socket, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (!getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size)) {
		peer.pid = credentials.pid;
		peer.uid = credentials.uid;
		peer.gid = credentials.gid;
	}
	return peer;
}

struct log_about authority_about(const struct authority_peer *peer, const char *what)
{
	return (struct log_about){
		.has_peer = true,
		.pid = peer->pid,
		.uid = peer->uid,
		.method = what,
	};
}

int authority_open_pidfd(int socket)
{
	int pidfd;
	socklen_t size = sizeof(pidfd);

	if (!getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size))
		return pidfd;
	return errno == EINVAL ? -ESRCH : -errno; /* as Linux 6.5 says that it has ended */
}

static void find_groups(int socket, struct facts *facts)
{
	socklen_t size = 0;

	/* It says how long they are: 256 KiB at most (NGROUPS_MAX). */
	if (!getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) || errno != ERANGE)
		return;
	facts->groups = allocate(size);
	if (!getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, facts->groups, &size))
		facts->n_groups = size / sizeof(*facts->groups);
}

/*
 * Where systemd itself has put the process; what a user's own manager makes below that does not
 * count.  The PID could be another process's by now, but not while the one that connected is there,
 * as it is if it can still be signalled after the look.  Returns 0 or a negative errno: -EACCES if
 * the process is there and /proc does not show it.
 */
static int find_unit(const struct authority_peer *peer, struct facts *facts)
{
	int pidfd = peer->pid > 0 ? authority_open_pidfd(peer->socket) : -ESRCH;
	int r;

	if (pidfd < 0)
		return pidfd;
	r = sd_pid_get_unit(peer->pid, &facts->unit);
	if (r >= 0 || r == -ENODATA)
		r = sd_pid_get_slice(peer->pid, &facts->slice);
	if (pidfd_send_signal(pidfd, 0, NULL, 0) < 0 && errno != EPERM)
		r = -errno;
	else if (r == -ESRCH)
		r = -EACCES;
	close(pidfd);
	if (r >= 0 || r == -ENODATA)
		return 0;
	free(facts->unit);
	free(facts->slice);
	facts->unit = facts->slice = NULL;
	return r;
}

static const char *why_unit_is_unknown(int error)
{
	switch (error) {
	case EACCES:
		return "/proc hides it (ProtectProc=, see kvmattrd(8))";
	case ENOPROTOOPT:
		return "that takes Linux 6.5";
	case ESRCH:
		return "it has ended";
	default:
		return strerror(error);
	}
}

/* A slice is named after those that it is in: a-b.slice is in a.slice, and all are in -.slice. */
static bool is_in_slice(const char *slice, const char *name)
{
	size_t n = strlen(name) - strlen(".slice");

	return !strcmp(name, "-.slice") || !strcmp(name, slice) ||
	       (!strncmp(name, slice, n) && slice[n] == '-');
}

static bool is_in_unit(const struct facts *facts, const char *name)
{
	if (facts->unit && !strcmp(facts->unit, name))
		return true;
	return facts->slice && strlen(name) > strlen(".slice") &&
	       !strcmp(name + strlen(name) - strlen(".slice"), ".slice") &&
	       is_in_slice(facts->slice, name);
}

static bool is_in_group(const struct authority_peer *peer, const struct facts *facts, gid_t gid)
{
	for (size_t i = 0; i < facts->n_groups; i++)
		if (facts->groups[i] == gid)
			return true;
	return peer->gid == gid;
}

static bool is_meant(const struct authority_peer *peer, const struct facts *facts,
		     const struct word *word)
{
	switch (word->kind) {
	case WORD_ALL:
		return true;
	case WORD_USER:
		return peer->uid == word->id;
	case WORD_GROUP:
		return is_in_group(peer, facts, word->id);
	case WORD_UNIT:
		return is_in_unit(facts, word->unit);
	}
	return false;
}

static bool is_listed(const struct authority_peer *peer, const struct facts *facts,
		      const struct authority_list *list)
{
	for (size_t i = 0; list && i < list->n; i++)
		if (is_meant(peer, facts, &list->words[i]))
			return true;
	return false;
}

static bool has_word(const struct authority_list *list, enum word_kind kind)
{
	for (size_t i = 0; list && i < list->n; i++)
		if (list->words[i].kind == kind)
			return true;
	return false;
}

static bool is_asked_for(const struct authority *authority, enum word_kind kind)
{
	for (size_t i = 0; i < AUTHORITY_N_RIGHTS; i++)
		if (has_word(authority->lists[i], kind))
			return true;
	return false;
}

/* What takes longer is only found out where a setting asks for it. */
static unsigned int judge(const struct authority *authority, struct authority_peer *peer)
{
	struct facts facts = { 0 };
	unsigned int verdict = 0;

	if (is_asked_for(authority, WORD_GROUP))
		find_groups(peer->socket, &facts);
	if (is_asked_for(authority, WORD_UNIT))
		peer->unit_error = -find_unit(peer, &facts);
	for (unsigned int i = 0; i < AUTHORITY_N_RIGHTS; i++)
		if (is_listed(peer, &facts, authority->lists[i]))
			verdict |= 1u << i;
	free(facts.groups);
	free(facts.unit);
	free(facts.slice);
	return verdict;
}

bool authority_allows(const struct authority *authority, enum authority_right right,
		      struct authority_peer *peer)
{
	if (peer->verdict_of != authority->number) {
		peer->verdict_of = authority->number;
		peer->unit_error = 0;
		if (peer->uid == 0 || peer->uid == geteuid())
			peer->rights = (1u << AUTHORITY_N_RIGHTS) - 1;
		else
			peer->rights = judge(authority, peer);
		if (peer->rights & 1u << AUTHORITY_OPERATE)
			peer->rights |= 1u << AUTHORITY_OBSERVE;
	}
	return peer->rights & 1u << right;
}

/* ---- The daemon's ---------------------------------------------------------------------------- */

struct authority *authority_new(struct refusals *refusals)
{
	struct authority *authority = allocate_one(struct authority);

	/* Names that nobody has go through all of NSS, which loads what it needs: later, in the
	 * sandbox, it could not. */
	(void)getpwnam(" ");
	(void)getgrnam(" ");
	authority->number = 1;
	authority->refusals = refusals;
	return authority;
}

void authority_free(struct authority *authority)
{
	free(authority);
}

/* PID 1 is another user's, as most peers are: where /proc hides that, it hides them as well. */
static void warn_of_hidden_units(enum authority_right right)
{
	char *unit = NULL;

	if (sd_pid_get_unit(1, &unit) == -ESRCH)
		log_write(LOG_LEVEL_WARNING,
			  "'%s' in section [authority] names units, but /proc shows the daemon no "
			  "process of other users: nobody else is in a unit. Set "
			  "ProtectProc=default for the daemon's unit, see kvmattrd(8)",
			  rights[right].setting);
	free(unit);
}

void authority_set(struct authority *authority, enum authority_right right,
		   const struct authority_list *list)
{
	if (has_word(list, WORD_UNIT))
		warn_of_hidden_units(right);
	authority->lists[right] = list;
	authority->number++;
}

void authority_deny(struct authority *authority, enum authority_right right,
		    const struct authority_peer *peer, const char *what, char *text, size_t size)
{
	struct log_about about = authority_about(peer, what);
	char unit[128] = "";

	if (peer->unit_error)
		snprintf(unit, sizeof(unit), "; its unit is not known: %s",
			 why_unit_is_unknown(peer->unit_error));
	snprintf(text, size,
		 "%s is for %s, and UID %u is none; '%s' in kvmattrd.conf(5) lists them%s", what,
		 rights[right].role, peer->uid, rights[right].setting, unit);
	about.status = kvmattr_status_name(KVMATTR_ACCESS_DENIED);
	about.setting = rights[right].setting;
	refusals_log(
		authority->refusals, REFUSAL_ACCESS_DENIED, about,
		"denied: %s, to PID %d, UID %u, GID %u: '%s' in section [authority] does not list "
		"it%s",
		what, (int)peer->pid, peer->uid, peer->gid, rights[right].setting, unit);
}
