/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "configuration.h"

#include "allocate.h"
#include "serve/authority.h"
#include "serve/vm-journals.h"

#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* With less, not even one VM would get far. */
#define MIN_MEMORY_MIB 16

enum setting_type {
	SETTING_PATH,
	SETTING_BOOLEAN,
	SETTING_NUMBER,
	SETTING_MODE,
	SETTING_GROUP,
	SETTING_LEVEL,
	SETTING_DURABILITY,
	SETTING_LIST
};

static const struct setting {
	const char *section;
	const char *key;
	enum setting_type type;
	size_t offset;
	uint64_t min, max; /* of numbers */
	uint64_t otherwise;
} settings[] = {
#define AT(member) offsetof(struct configuration, member)
	{ "daemon", "runtime-dir", SETTING_PATH, AT(runtime_dir), 0, 0, 0 },
	{ "daemon", "state-dir", SETTING_PATH, AT(state_dir), 0, 0, 0 },
	{ "daemon", "allow-simulated", SETTING_BOOLEAN, AT(allow_simulated), 0, 1, 0 },
	{ "daemon", "log-level", SETTING_LEVEL, AT(log_level), 0, 0, LOG_LEVEL_INFO },
	{ "daemon", "sandbox", SETTING_BOOLEAN, AT(sandbox), 0, 1, 1 },
	{ "daemon", "socket-group", SETTING_GROUP, AT(socket_group), 0, 0, (gid_t)-1 },
	{ "daemon", "socket-mode", SETTING_MODE, AT(socket_mode), 0, 0777, 0660 },
	{ "authority", "register", SETTING_LIST, AT(may_register), 0, 0, 0 },
	{ "authority", "observe", SETTING_LIST, AT(may_observe), 0, 0, 0 },
	{ "authority", "operate", SETTING_LIST, AT(may_operate), 0, 0, 0 },
	{ "journal", "durability", SETTING_DURABILITY, AT(durability), 0, 0, DURABILITY_PROCESS },
	{ "journal", "segment-mib", SETTING_NUMBER, AT(journal_segment_mib), 1, 1024, 8 },
	{ "journal", "max-mib", SETTING_NUMBER, AT(journal_mib), 1, 1048576, 256 },
	{ "journal", "past-journals", SETTING_NUMBER, AT(past_journals), 0, 65536, 8 },
	{ "limits", "max-vms", SETTING_NUMBER, AT(max_vms), 1, 65536, 1024 },
	{ "limits", "max-sessions", SETTING_NUMBER, AT(max_sessions), 1, 1048576, 8192 },
	{ "limits", "max-vms-per-user", SETTING_NUMBER, AT(max_vms_per_user), 1, 65536, 512 },
	{ "limits", "max-sessions-per-user", SETTING_NUMBER, AT(max_sessions_per_user), 1, 1048576,
	  4096 },
	{ "limits", "max-clients-per-user", SETTING_NUMBER, AT(max_clients_per_user), 1, 64, 32 },
	{ "limits", "max-updates-in-flight", SETTING_NUMBER, AT(max_updates_in_flight), 1, 65536,
	  4096 },
	{ "limits", "max-elements-per-batch", SETTING_NUMBER, AT(max_elements_per_batch), 1,
	  1048576, 131072 },
	{ "limits", "max-pages-per-call", SETTING_NUMBER, AT(max_pages_per_call), 1, 1048576,
	  65536 },
	{ "limits", "executor-deadline-ms", SETTING_NUMBER, AT(executor_deadline_ms), 10, 600000,
	  10000 },
	{ "limits", "owner-grace-ms", SETTING_NUMBER, AT(owner_grace_ms), 0, 3600000, 30000 },
	{ "limits", "agent-grace-ms", SETTING_NUMBER, AT(agent_grace_ms), 0, 604800000, 0 },
	{ "limits", "max-map-mib", SETTING_NUMBER, AT(max_map_mib), 1, 1048576, 1024 },
	{ "limits", "max-memory-mib", SETTING_NUMBER, AT(max_memory_mib), 0, 16777216, 0 },
	{ "limits", "max-memory-mib-per-user", SETTING_NUMBER, AT(max_memory_mib_per_user), 0,
	  16777216, 0 },
#undef AT
};
#define N_SETTINGS (sizeof(settings) / sizeof(*settings))

/* A file on its way in. */
struct reading {
	struct configuration *configuration;
	const char *path;
	FILE *file;
	int line;
	int error; /* of reading it, or 0 */
	bool has_failed;
	bool has_list[N_SETTINGS]; /* a line of this file: the next one adds to it */
};

static void *place(struct configuration *configuration, const struct setting *setting)
{
	return (char *)configuration + setting->offset;
}

void configuration_init(struct configuration *configuration)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const struct setting *setting = &settings[i];

		if (setting->type == SETTING_PATH)
			*(char **)place(configuration, setting) = NULL;
		else if (setting->type == SETTING_LIST)
			*(struct authority_list **)place(configuration, setting) = NULL;
		else if (setting->type == SETTING_BOOLEAN)
			*(bool *)place(configuration, setting) = setting->otherwise;
		else
			*(uint64_t *)place(configuration, setting) = setting->otherwise;
	}
	configuration->runtime_dir = allocate_string("/run/kvmattrd");
	configuration->state_dir = allocate_string("/var/lib/kvmattrd");
	configuration->may_register = authority_list_all();
	configuration->may_observe = authority_list_all();
}

void configuration_destroy(struct configuration *configuration)
{
	free(configuration->runtime_dir);
	free(configuration->state_dir);
	authority_list_free(configuration->may_register);
	authority_list_free(configuration->may_observe);
	authority_list_free(configuration->may_operate);
}

static const struct setting *find_setting(const char *section, const char *key)
{
	for (size_t i = 0; i < N_SETTINGS; i++)
		if (!strcmp(settings[i].section, section) && !strcmp(settings[i].key, key))
			return &settings[i];
	return NULL;
}

static bool parse_number(const char *text, int base, uint64_t min, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long long value;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, base);
	if (errno || *end || value < min || value > max)
		return false;
	*ret = value;
	return true;
}

static bool parse_group(const char *text, uint64_t *ret)
{
	const struct group *group;

	/* the last number is none */
	if (parse_number(text, 10, 0, (gid_t)-2, ret))
		return true;
	group = getgrnam(text);
	if (group)
		*ret = group->gr_gid;
	return group;
}

/* Sets it and returns NULL, or writes what is allowed and returns that. */
static const char *set(void *where, const struct setting *setting, const char *text, char *allowed,
		       size_t size)
{
	char wrong[300];
	int level;

	switch (setting->type) {
	case SETTING_PATH:
		if (*text != '/')
			return "an absolute path";
		free(*(char **)where);
		*(char **)where = allocate_string(text);
		return NULL;
	case SETTING_BOOLEAN:
		if (strcmp(text, "yes") && strcmp(text, "no"))
			return "yes or no";
		*(bool *)where = !strcmp(text, "yes");
		return NULL;
	case SETTING_LEVEL:
		level = log_level_from_name(text);
		if (level < 0)
			return "error, warning, info or debug";
		*(uint64_t *)where = (uint64_t)level;
		return NULL;
	case SETTING_DURABILITY:
		if (strcmp(text, "process") && strcmp(text, "power"))
			return "process or power";
		*(uint64_t *)where = strcmp(text, "power") ? DURABILITY_PROCESS : DURABILITY_POWER;
		return NULL;
	case SETTING_MODE:
		return parse_number(text, 8, setting->min, setting->max, where)
			       ? NULL
			       : "an octal mode such as 0660";
	case SETTING_GROUP:
		return parse_group(text, where) ? NULL : "a group that there is, by name or number";
	case SETTING_LIST:
		if (authority_list_add(where, text, wrong, sizeof(wrong)))
			return NULL;
		snprintf(allowed, size, "a list of %s; %s", AUTHORITY_WORDS, wrong);
		return allowed;
	case SETTING_NUMBER:
		snprintf(allowed, size, "a number from %" PRIu64 " to %" PRIu64, setting->min,
			 setting->max);
		return parse_number(text, 10, setting->min, setting->max, where) ? NULL : allowed;
	}
	return "nothing";
}

/* inih as Debian builds it does not tell its handler the line. */
static char *read_line(char *line, int size, void *context)
{
	struct reading *reading = context;

	char *read;

	reading->line++;
	errno = 0;
	read = fgets(line, size, reading->file);
	if (!read && ferror(reading->file))
		reading->error = errno ? errno : EIO;
	/* inih would take the rest of it for another line */
	if (read && !strchr(line, '\n') && !feof(reading->file)) {
		log_with_id(
			LOG_ID_SETTING_WRONG, LOG_ABOUT_NOTHING,
			"%s:%d: this line is too long: it may have %d bytes, and a list several "
			"lines",
			reading->path, reading->line, size - 2);
		reading->has_failed = true;
	}
	return read;
}

/* The first line of a list takes the place of what was there before the file. */
static void begin_list(struct reading *reading, const struct setting *setting)
{
	struct authority_list **list = place(reading->configuration, setting);

	if (setting->type != SETTING_LIST || reading->has_list[setting - settings])
		return;
	reading->has_list[setting - settings] = true;
	authority_list_free(*list);
	*list = NULL;
}

static int take_line(void *context, const char *section, const char *key, const char *value)
{
	struct reading *reading = context;
	const struct setting *setting = find_setting(section, key);
	const char *wanted;
	char allowed[400];

	if (!setting) {
		log_with_id(LOG_ID_SETTING_WRONG, LOG_ABOUT_NOTHING,
			    "%s:%d: there is no setting '%s' in section [%s]; see "
			    "kvmattrd.conf(5)",
			    reading->path, reading->line, key, section);
		reading->has_failed = true;
		return 1;
	}
	begin_list(reading, setting);
	wanted = set(place(reading->configuration, setting), setting, value, allowed,
		     sizeof(allowed));
	if (wanted) {
		log_with_id(LOG_ID_SETTING_WRONG, (struct log_about){ .setting = key },
			    "%s:%d: %s = %s is not valid: it takes %s", reading->path,
			    reading->line, key, value, wanted);
		reading->has_failed = true;
	}
	return 1;
}

static void copy(struct configuration *to, const struct configuration *from)
{
	*to = *from;
	to->runtime_dir = allocate_string(from->runtime_dir);
	to->state_dir = allocate_string(from->state_dir);
	to->may_register = authority_list_copy(from->may_register);
	to->may_observe = authority_list_copy(from->may_observe);
	to->may_operate = authority_list_copy(from->may_operate);
}

int configuration_read(struct configuration *configuration, const char *path)
{
	struct configuration changed;
	struct reading reading = { .configuration = &changed, .path = path };
	int line, r;

	reading.file = fopen(path, "re");
	if (!reading.file) {
		r = -errno;
		log_write(LOG_LEVEL_ERROR, "cannot read the configuration %s: %s", path,
			  strerror(-r));
		return r;
	}
	copy(&changed, configuration);
	line = ini_parse_stream(read_line, &reading, take_line, &reading);
	fclose(reading.file);
	if (reading.error)
		log_write(LOG_LEVEL_ERROR, "cannot read the configuration %s: %s", path,
			  strerror(reading.error));
	else if (line)
		log_with_id(LOG_ID_SETTING_WRONG, LOG_ABOUT_NOTHING,
			    "%s:%d: neither [section] nor key = value", path, line);
	if (reading.error || line || reading.has_failed) {
		configuration_destroy(&changed);
		return -EINVAL;
	}
	configuration_destroy(configuration);
	*configuration = changed;
	return 0;
}

uint64_t configuration_memory_mib(const struct configuration *configuration)
{
	const long n_pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
	uint64_t mib = configuration->max_memory_mib;

	if (!mib && n_pages > 0 && page_size > 0)
		mib = (uint64_t)n_pages * (uint64_t)page_size >> 21;
	return mib > MIN_MEMORY_MIB ? mib : MIN_MEMORY_MIB;
}

uint64_t configuration_memory_mib_per_user(const struct configuration *configuration)
{
	uint64_t mib = configuration->max_memory_mib_per_user;

	if (!mib)
		mib = configuration_memory_mib(configuration) / 2;
	return mib > MIN_MEMORY_MIB ? mib : MIN_MEMORY_MIB;
}

static bool is_same(const struct setting *setting, const void *one, const void *other)
{
	switch (setting->type) {
	case SETTING_PATH:
		return !strcmp(*(char *const *)one, *(char *const *)other);
	case SETTING_BOOLEAN:
		return *(const bool *)one == *(const bool *)other;
	case SETTING_LIST:
		return false; /* names may have come to mean others */
	default:
		return *(const uint64_t *)one == *(const uint64_t *)other;
	}
}

/* Where things are, and what was promised about them: for as long as the daemon runs. */
static bool is_lasting(const struct setting *setting)
{
	return setting->type == SETTING_PATH || setting->type == SETTING_MODE ||
	       setting->type == SETTING_GROUP || setting->type == SETTING_DURABILITY ||
	       setting->offset == offsetof(struct configuration, sandbox);
}

void configuration_take_over(struct configuration *configuration, struct configuration *from)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const struct setting *setting = &settings[i];
		void *now = place(configuration, setting), *then = place(from, setting);

		if (is_same(setting, now, then))
			continue;
		if (setting->type == SETTING_LIST) {
			authority_list_free(*(struct authority_list **)now);
			*(struct authority_list **)now =
				authority_list_copy(*(struct authority_list **)then);
			continue;
		}
		if (is_lasting(setting))
			log_write(LOG_LEVEL_WARNING,
				  "[%s] %s is another one now: that takes a restart",
				  setting->section, setting->key);
		else if (setting->type == SETTING_BOOLEAN)
			*(bool *)now = *(bool *)then;
		else
			*(uint64_t *)now = *(uint64_t *)then;
	}
}
