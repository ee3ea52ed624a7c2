/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of methods is sound, and the OpenRPC document has all of it.
 */
#include "daemon/journal/history-text.h"
#include "daemon/serve/events.h"
#include "daemon/serve/method-words.h"
#include "daemon/serve/openrpc.h"
#include "tests/unit/seeded-suite.h"

#include <ctype.h>
#include <json-c/json.h>
#include <string.h>

/* Does something with each method; method.name is behind the last. */
typedef void (*visitor)(const struct method *method);

static void visit_all(visitor visit)
{
	for (const struct method *const *room = methods_rooms; *room; room++)
		for (const struct method *method = *room; method->name; method++)
			visit(method);
}

/* ---- Words --------------------------------------------------------------------------------- */

static size_t count_words(const char *const *words)
{
	size_t n = 0;

	while (words[n])
		n++;
	return n;
}

START_TEST(words_have_the_places_of_what_they_name)
{
	ck_assert_uint_eq(count_words(method_protections), KVMATTR_PROTECTION + 1);
	for (unsigned int i = 0; method_protections[i]; i++)
		ck_assert_str_eq(method_protections[i], kvmattr_protection_name(i));
	ck_assert_uint_eq(count_words(method_update_kinds),
			  KVMATTR_N_UPDATE_KINDS - KVMATTR_PROTECT);
	for (unsigned int i = 0; method_update_kinds[i]; i++)
		ck_assert_str_eq(method_update_kinds[i], history_kind_name(KVMATTR_PROTECT + i));
	ck_assert_str_eq(method_durabilities[DURABILITY_PROCESS], "process");
	ck_assert_str_eq(method_durabilities[DURABILITY_POWER], "power");
	ck_assert_str_eq(method_visibilities[0], "shared");
	ck_assert_str_eq(method_visibilities[1], "private");
}
END_TEST

/* ---- The table ----------------------------------------------------------------------------- */

/* Small letters, with dots or underlines between them. */
static void expect_name(const char *name, const char *between)
{
	ck_assert_msg(islower((unsigned char)*name), "%s", name);
	for (const char *c = name; *c; c++)
		ck_assert_msg(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
				      strchr(between, *c),
			      "%s", name);
}

static void expect_no_sentence(const char *name, const char *summary)
{
	ck_assert_msg(summary && *summary, "%s has no summary", name);
	ck_assert_msg(summary[strlen(summary) - 1] != '.' && !strchr(summary, '\n'), "%s: %s", name,
		      summary);
}

static unsigned int n_of_that_name;
static const char *that_name;

static void count_name(const struct method *method)
{
	n_of_that_name += !strcmp(method->name, that_name);
}

static void expect_unique(const struct method *method)
{
	n_of_that_name = 0;
	that_name = method->name;
	visit_all(count_name);
	ck_assert_msg(n_of_that_name == 1, "there are %u of %s", n_of_that_name, that_name);
	expect_name(method->name, "._");
	expect_no_sentence(method->name, method->summary);
	ck_assert_msg(strlen(method->summary) < 100, "%s", method->name);
	ck_assert_msg(method->run != NULL, "%s", method->name);
}

START_TEST(every_method_has_a_name_of_its_own_a_summary_and_a_function)
{
	visit_all(expect_unique);
}
END_TEST

static bool is_choice(enum method_type type)
{
	return type == METHOD_CHOICE || type == METHOD_CHOICES;
}

static void expect_sound_parameters(const struct method *method)
{
	bool is_optional = false;
	size_t n = 0;

	for (const struct method_parameter *p = method->parameters; p->name; p++, n++) {
		expect_name(p->name, "_");
		expect_no_sentence(p->name, p->summary);
		for (const struct method_parameter *q = method->parameters; q != p; q++)
			ck_assert_msg(strcmp(p->name, q->name) != 0, "%s has two of %s",
				      method->name, p->name);
		ck_assert_msg(!is_choice(p->type) == !p->choices, "%s: %s", method->name, p->name);
		if (p->choices)
			ck_assert_uint_le(count_words(p->choices), 64);
		if (p->type == METHOD_INTEGER)
			ck_assert_msg(p->minimum <= p->maximum && p->maximum, "%s: %s",
				      method->name, p->name);
		ck_assert_msg(!p->is_required || !is_optional,
			      "%s: %s is required behind one that is not", method->name, p->name);
		is_optional |= !p->is_required;
	}
	ck_assert_uint_le(n, METHOD_MAX_PARAMETERS);
}

START_TEST(every_parameter_is_described_and_those_that_are_required_come_first)
{
	visit_all(expect_sound_parameters);
}
END_TEST

static void expect_sound_members(const char *whose, const struct method_member *members,
				 unsigned int depth)
{
	ck_assert_msg(members != NULL && depth < 8, "%s", whose);
	for (const struct method_member *m = members; m->name; m++) {
		bool is_group = m->value == VALUE_OBJECT || m->value == VALUE_INCLUDED;

		ck_assert_msg((m->value == VALUE_INCLUDED) == !*m->name, "%s: %s", whose, m->name);
		if (*m->name)
			expect_name(m->name, "_-");
		if (m->summary)
			expect_no_sentence(m->name, m->summary);
		ck_assert_msg((m->value == VALUE_CHOICE) == !!m->choices, "%s: %s", whose, m->name);
		ck_assert_msg(is_group == !!m->members, "%s: %s", whose, m->name);
		for (const struct method_member *other = members; other != m; other++)
			ck_assert_msg(!*m->name || strcmp(m->name, other->name) != 0,
				      "%s has two of %s", whose, m->name);
		if (m->members)
			expect_sound_members(m->name, m->members, depth + 1);
	}
}

static void expect_sound_result(const struct method *method)
{
	expect_sound_members(method->name, method->members, 0);
}

START_TEST(every_member_of_every_answer_and_event_is_described)
{
	visit_all(expect_sound_result);
	for (unsigned int i = 0; i < N_EVENTS; i++)
		expect_sound_members(event_names[i], event_members[i], 0);
}
END_TEST

/* ---- The document -------------------------------------------------------------------------- */

static struct json_object *document;

static struct json_object *at(struct json_object *object, const char *name)
{
	struct json_object *member = NULL;

	ck_assert_msg(json_object_object_get_ex(object, name, &member), "no %s in %s", name,
		      json_object_to_json_string(object));
	return member;
}

static struct json_object *find(struct json_object *array, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *element = json_object_array_get_idx(array, i);

		if (!strcmp(json_object_get_string(at(element, "name")), name))
			return element;
	}
	ck_abort_msg("there is no %s", name);
}

/* What a "$ref" means. */
static struct json_object *resolve(const char *path)
{
	struct json_object *there = document;
	char copy[128], *state, *word;

	ck_assert_int_lt(snprintf(copy, sizeof(copy), "%s", path), (int)sizeof(copy));
	word = strtok_r(copy, "/", &state);
	ck_assert_str_eq(word, "#");
	while ((word = strtok_r(NULL, "/", &state)))
		there = at(there, word);
	return there;
}

static void expect_references(struct json_object *value)
{
	struct json_object *path;

	if (json_object_is_type(value, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(value); i++)
			expect_references(json_object_array_get_idx(value, i));
		return;
	}
	if (!json_object_is_type(value, json_type_object))
		return;
	if (json_object_object_get_ex(value, "$ref", &path))
		ck_assert_ptr_nonnull(resolve(json_object_get_string(path)));
	json_object_object_foreach(value, name, member)
	{
		(void)name;
		expect_references(member);
	}
}

static void expect_described(const struct method *method)
{
	struct json_object *described = find(at(document, "methods"), method->name);
	struct json_object *params = at(described, "params"), *schema;
	size_t n = 0;

	ck_assert_str_eq(json_object_get_string(at(described, "summary")), method->summary);
	ck_assert_str_eq(json_object_get_string(at(described, "x-role")),
			 method_role_name(method->role));
	for (const struct method_parameter *p = method->parameters; p->name; p++, n++) {
		struct json_object *param = json_object_array_get_idx(params, n);

		ck_assert_str_eq(json_object_get_string(at(param, "name")), p->name);
		ck_assert_int_eq(json_object_get_boolean(at(param, "required")), p->is_required);
		ck_assert_int_gt(json_object_object_length(at(param, "schema")), 0);
	}
	ck_assert_uint_eq(json_object_array_length(params), n);
	schema = at(at(described, "result"), "schema");
	ck_assert(!json_object_get_boolean(at(schema, "additionalProperties")));
	for (const struct method_member *m = method->members; m->name; m++)
		if (*m->name)
			at(at(schema, "properties"), m->name);
}

static size_t n_methods;

static void count_method(const struct method *method)
{
	(void)method;
	n_methods++;
}

START_TEST(the_document_has_every_method_with_every_parameter_and_member)
{
	document = openrpc_document();
	visit_all(expect_described);
	n_methods = 0;
	visit_all(count_method);
	ck_assert_uint_eq(json_object_array_length(at(document, "methods")), n_methods);
	json_object_put(document);
}
END_TEST

START_TEST(whatever_the_document_refers_to_is_there)
{
	document = openrpc_document();
	expect_references(document);
	json_object_put(document);
}
END_TEST

START_TEST(the_document_has_every_status_by_its_code_and_every_event)
{
	document = openrpc_document();
	for (int status = KVMATTR_OK + 1; status < KVMATTR_N_STATUSES; status++) {
		struct json_object *error =
			at(at(at(document, "components"), "errors"), kvmattr_status_name(status));

		ck_assert_int_eq(json_object_get_int(at(error, "code")), -32000 - status);
	}
	for (unsigned int i = 0; i < N_EVENTS; i++)
		find(at(document, "x-events"), event_names[i]);
	json_object_put(document);
}
END_TEST

int main(void)
{
	TCase *table = tcase_create("table");
	TCase *described = tcase_create("document");

	tcase_add_test(table, words_have_the_places_of_what_they_name);
	tcase_add_test(table, every_method_has_a_name_of_its_own_a_summary_and_a_function);
	tcase_add_test(table, every_parameter_is_described_and_those_that_are_required_come_first);
	tcase_add_test(table, every_member_of_every_answer_and_event_is_described);
	tcase_add_test(described, the_document_has_every_method_with_every_parameter_and_member);
	tcase_add_test(described, whatever_the_document_refers_to_is_there);
	tcase_add_test(described, the_document_has_every_status_by_its_code_and_every_event);
	return seeded_suite_run("methods", (TCase *const[]){ table, described, NULL });
}
