/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call of stats.kvm, and one number of its answer: see vsm-statistics.h. */
#include "vsm-statistics.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_ANSWER 65536

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* One line, and the line that answers it.  Returns 0 or a negative errno. */
static int ask(const char *path, const char *line, char *answer, size_t size)
{
	int fd = connect_to(path);
	ssize_t n = fd < 0 ? -1 : send(fd, line, strlen(line), MSG_NOSIGNAL);
	size_t length = 0;

	while (n > 0 && length < size - 1 && !memchr(answer, '\n', length)) {
		n = recv(fd, answer + length, size - 1 - length, 0);
		length += n > 0 ? (size_t)n : 0;
	}
	n = n < 0 ? -errno : n ? 0 : -EPIPE;
	if (fd >= 0)
		close(fd);
	answer[length] = '\0';
	return (int)n;
}

/* The member of an object, or NULL. */
static struct json_object *member(struct json_object *object, const char *name)
{
	struct json_object *found = NULL;

	if (json_object_is_type(object, json_type_object))
		json_object_object_get_ex(object, name, &found);
	return found;
}

/* Of that VTL's view, or NULL. */
static struct json_object *find(struct json_object *answer, unsigned int vtl, const char *name)
{
	struct json_object *views = member(member(answer, "result"), "views");
	size_t n =
		json_object_is_type(views, json_type_array) ? json_object_array_length(views) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *view = json_object_array_get_idx(views, i);

		if (json_object_get_uint64(member(view, "vtl")) == vtl)
			return member(member(view, "statistics"), name);
	}
	return NULL;
}

const char *statistics_read(const char *control_socket, const char *vm, unsigned int vtl,
			    const char *name, uint64_t *ret)
{
	static char text[MAX_ANSWER];
	struct json_object *answer, *number;
	char line[192];
	int r;

	snprintf(
		line, sizeof(line),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.kvm\",\"params\":{\"vm\":\"%s\"}}\n",
		vm);
	r = ask(control_socket, line, text, sizeof(text));
	if (r)
		return strerror(-r);
	answer = json_tokener_parse(text);
	number = find(answer, vtl, name);
	r = json_object_is_type(number, json_type_int) ? 0 : -ENOENT;
	if (!r)
		*ret = json_object_get_uint64(number);
	json_object_put(answer);
	return r ? text : NULL;
}
