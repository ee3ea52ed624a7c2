/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a call's parameters become, and by which path and words they are refused.
 */
#include "daemon/serve/method.h"
#include "tests/unit/seeded-suite.h"

#include <json-c/json.h>
#include <string.h>

static const char *const colours[] = { "red", "green", "blue", NULL };

static const struct method method = {
	.name = "paint",
	.parameters = {
		{ .name = "count",
		  .type = METHOD_INTEGER,
		  .is_required = true,
		  .minimum = 2,
		  .maximum = INT64_MAX,
		  .summary = "how many" },
		{ .name = "gpa", .type = METHOD_ADDRESS, .summary = "where" },
		{ .name = "colour", .type = METHOD_CHOICE, .choices = colours, .summary = "one" },
		{ .name = "colours", .type = METHOD_CHOICES, .choices = colours, .summary = "some" },
		{ .name = "vtls", .type = METHOD_VTLS, .summary = "who" },
		{ .name = "ranges", .type = METHOD_RANGES, .summary = "which" },
		{ .name = "wet", .type = METHOD_BOOLEAN, .summary = "whether" },
		{ .name = "vm", .type = METHOD_VM, .summary = "whose" },
	},
};

static struct daemon a_daemon;
static struct method_call call;
static struct jsonrpc_answer answer;

static void start(void)
{
	call = (struct method_call){ .daemon = &a_daemon, .method = &method };
	answer = (struct jsonrpc_answer){ 0 };
}

static void stop(void)
{
	method_drop_arguments(&call);
	json_object_put(answer.data);
}

static bool take(const char *text)
{
	struct json_object *params = json_tokener_parse(text);
	bool is_taken;

	ck_assert_msg(params != NULL, "%s", text);
	is_taken = method_take_arguments(&call, params, &answer);
	json_object_put(params);
	return is_taken;
}

static void expect_taken(const char *text)
{
	ck_assert_msg(take(text), "%s: %s", text, json_object_to_json_string(answer.data));
}

static const char *data_text(const char *name)
{
	return json_object_get_string(json_object_object_get(answer.data, name));
}

START_TEST(what_is_described_is_taken)
{
	const struct method_argument *ranges;

	expect_taken("{\"count\":2,\"gpa\":\"0x1f000\",\"colour\":\"blue\",\"colours\":[\"red\","
		     "\"blue\"],\"vtls\":[0,15],\"wet\":true,\"ranges\":[{\"gpa\":\"0x1000\","
		     "\"pages\":3},{\"pages\":1,\"gpa\":8192}]}");
	ck_assert_uint_eq(method_number(&call, "count", 0), 2);
	ck_assert_uint_eq(method_number(&call, "gpa", 0), 0x1f000);
	ck_assert_uint_eq(method_number(&call, "colour", 9), 2);
	ck_assert_uint_eq(method_number(&call, "colours", 0), 1u << 0 | 1u << 2);
	ck_assert_uint_eq(method_number(&call, "vtls", 0), 1u << 0 | 1u << 15);
	ck_assert_uint_eq(method_number(&call, "wet", 0), 1);
	ranges = method_argument(&call, "ranges");
	ck_assert_uint_eq(ranges->n_ranges, 2);
	ck_assert_uint_eq(ranges->ranges[0].gfn, 1);
	ck_assert_uint_eq(ranges->ranges[0].n_pages, 3);
	ck_assert_uint_eq(ranges->ranges[1].gfn, 2);
	ck_assert_uint_eq(ranges->ranges[1].n_pages, 1);
}
END_TEST

START_TEST(by_position_they_are_in_the_tables_order_and_null_leaves_one_out)
{
	expect_taken("[7,null,\"green\"]");
	ck_assert_uint_eq(method_number(&call, "count", 0), 7);
	ck_assert(!method_is_given(&call, "gpa"));
	ck_assert_uint_eq(method_number(&call, "colour", 0), 1);
	ck_assert(!method_is_given(&call, "wet"));
	ck_assert_uint_eq(method_number(&call, "vtls", 42), 42);
}
END_TEST

START_TEST(numbers_and_addresses_are_taken_up_to_their_ends)
{
	expect_taken("{\"count\":9223372036854775807,\"gpa\":\"0x10000000000000\"}");
	ck_assert_uint_eq(method_number(&call, "count", 0), INT64_MAX);
	ck_assert_uint_eq(method_number(&call, "gpa", 0), KVMATTR_GFN_LIMIT << KVMATTR_PAGE_SHIFT);
}
END_TEST

START_TEST(as_many_ranges_are_taken_as_are_published)
{
	struct json_object *params = json_object_new_object(), *ranges = json_object_new_array();

	for (unsigned int i = 0; i < METHOD_MAX_RANGES; i++)
		json_object_array_add(ranges, json_tokener_parse("{\"gpa\":0,\"pages\":1}"));
	json_object_object_add(params, "count", json_object_new_int(2));
	json_object_object_add(params, "ranges", ranges);
	ck_assert(method_take_arguments(&call, params, &answer));
	ck_assert_uint_eq(method_argument(&call, "ranges")->n_ranges, METHOD_MAX_RANGES);
	method_drop_arguments(&call);
	call = (struct method_call){ .daemon = &a_daemon, .method = &method };
	json_object_array_add(ranges, json_tokener_parse("{\"gpa\":0,\"pages\":1}"));
	ck_assert(!method_take_arguments(&call, params, &answer));
	ck_assert_str_eq(data_text("path"), "params.ranges");
	json_object_put(params);
}
END_TEST

static const struct {
	const char *params, *path, *reason;
} refused[] = {
	/* what there is not, and what there has to be */
	{ "{}", "params.count", "is missing: how many" },
	{ "[]", "params.count", "is missing: how many" },
	{ "{\"count\":null}", "params.count", "has to be an integer" },
	{ "{\"count\":2,\"size\":1}", "params.size", "is no parameter of paint, which has: count" },
	{ "{\"Count\":2}", "params.Count", "is no parameter of paint" },
	{ "[2,0,\"red\",[],[],null,true,\"x\",9]", "params[8]", "at most 8 parameters, not 9" },
	{ "[\"2\"]", "params[0] (count)", "is a string" },
	/* integers */
	{ "{\"count\":1}", "params.count", "from 2 to 9223372036854775807, is 1" },
	{ "{\"count\":-1}", "params.count", "is -1" },
	{ "{\"count\":-9223372036854775808}", "params.count", "is -9223372036854775808" },
	{ "{\"count\":9223372036854775808}", "params.count", "is 9223372036854775808" },
	{ "{\"count\":18446744073709551615}", "params.count", "is 18446744073709551615" },
	{ "{\"count\":2.0}", "params.count", "is a fraction" },
	{ "{\"count\":2e0}", "params.count", "is a fraction" },
	{ "{\"count\":true}", "params.count", "is a boolean" },
	/* addresses */
	{ "{\"gpa\":\"0x10000000000001\"}", "params.gpa", "has to be an address from 0 to" },
	{ "{\"gpa\":\"0xffffffffffffffff\"}", "params.gpa", "has to be an address from 0 to" },
	{ "{\"gpa\":\"0x1ffffffffffffffff\"}", "params.gpa", "such as \"0x1f000\"" },
	{ "{\"gpa\":18446744073709551615}", "params.gpa", "has to be an address from 0 to" },
	{ "{\"gpa\":-1}", "params.gpa", "is -1" },
	{ "{\"gpa\":\"1000\"}", "params.gpa", "is \"1000\"" },
	{ "{\"gpa\":\"0x\"}", "params.gpa", "is \"0x\"" },
	{ "{\"gpa\":\"0x 1\"}", "params.gpa", "is \"0x 1\"" },
	{ "{\"gpa\":\"0x1\\u00002\"}", "params.gpa", "such as" },
	{ "{\"gpa\":[4096]}", "params.gpa", "is an array" },
	/* choices */
	{ "{\"colour\":\"pink\"}", "params.colour",
	  "has to be \"red\", \"green\" or \"blue\", is \"pink\"" },
	{ "{\"colour\":\"red\\u0000\"}", "params.colour", "has to be \"red\"" },
	{ "{\"colour\":0}", "params.colour", "is an integer" },
	{ "{\"colours\":\"red\"}", "params.colours", "has to be an array, is a string" },
	{ "{\"colours\":[\"red\",\"pink\"]}", "params.colours[1]", "is \"pink\"" },
	{ "{\"colours\":[null]}", "params.colours[0]", "is null" },
	/* VTLs */
	{ "{\"vtls\":1}", "params.vtls", "has to be an array of VTLs, is an integer" },
	{ "{\"vtls\":[0,1,16]}", "params.vtls[2]", "from 0 to 15, is 16" },
	{ "{\"vtls\":[-1]}", "params.vtls[0]", "is -1" },
	/* ranges */
	{ "{\"ranges\":{}}", "params.ranges", "has to be an array of ranges, is an object" },
	{ "{\"ranges\":[]}", "params.ranges", "has to have 1 to 4092 ranges, has 0" },
	{ "{\"ranges\":[{\"gpa\":0,\"pages\":1},7]}", "params.ranges[1]", "is an integer" },
	{ "{\"ranges\":[{\"pages\":1}]}", "params.ranges[0].gpa", "is missing" },
	{ "{\"ranges\":[{\"gpa\":0}]}", "params.ranges[0].pages", "is missing" },
	{ "{\"ranges\":[{\"gpa\":0,\"pages\":1,\"vtl\":0}]}", "params.ranges[0].vtl",
	  "no such member; it has: gpa, pages" },
	{ "{\"ranges\":[{\"gpa\":0,\"pages\":1},{\"gpa\":\"x\",\"pages\":1}]}",
	  "params.ranges[1].gpa", "is \"x\"" },
	{ "{\"ranges\":[{\"gpa\":1,\"pages\":1}]}", "params.ranges[0].gpa",
	  "has to be where a page begins, is 0x1" },
	{ "{\"ranges\":[{\"gpa\":0,\"pages\":0}]}", "params.ranges[0].pages", "is 0" },
	{ "{\"ranges\":[{\"gpa\":0,\"pages\":18446744073709551615}]}", "params.ranges[0].pages",
	  "is 18446744073709551615" },
	{ "{\"ranges\":[{\"gpa\":null,\"pages\":1}]}", "params.ranges[0].gpa", "is null" },
	{ "[2,0,\"red\",[],[],[{\"gpa\":3,\"pages\":1}]]", "params[5] (ranges)[0].gpa", "is 0x3" },
	/* booleans and VMs */
	{ "{\"wet\":1}", "params.wet", "has to be true or false, is an integer" },
	{ "{\"wet\":\"true\"}", "params.wet", "is a string" },
	{ "{\"vm\":7}", "params.vm", "has to be the name of a VM, is an integer" },
};

START_TEST(what_is_not_is_refused_by_its_path_and_with_what_it_has_to_be)
{
	const char *params = refused[_i].params;

	ck_assert_msg(!take(params), "%s is taken", params);
	ck_assert_int_eq(answer.code, JSONRPC_INVALID_PARAMS);
	ck_assert_msg(!strcmp(data_text("path"), refused[_i].path), "%s: %s", params,
		      json_object_to_json_string(answer.data));
	ck_assert_msg(strstr(data_text("reason"), refused[_i].reason), "%s: %s", params,
		      json_object_to_json_string(answer.data));
}
END_TEST

START_TEST(a_vm_that_is_not_there_has_a_status_of_its_own)
{
	ck_assert(!take("{\"count\":2,\"vm\":\"nobody\"}"));
	ck_assert_int_eq(answer.code, JSONRPC_SERVER_ERROR - KVMATTR_NO_VM);
	ck_assert_str_eq(data_text("status"), "NO_VM");
}
END_TEST

int main(void)
{
	TCase *taken = tcase_create("taken");
	TCase *wrong = tcase_create("wrong");

	tcase_add_checked_fixture(taken, start, stop);
	tcase_add_test(taken, what_is_described_is_taken);
	tcase_add_test(taken, by_position_they_are_in_the_tables_order_and_null_leaves_one_out);
	tcase_add_test(taken, numbers_and_addresses_are_taken_up_to_their_ends);
	tcase_add_test(taken, as_many_ranges_are_taken_as_are_published);
	tcase_add_checked_fixture(wrong, start, stop);
	tcase_add_loop_test(wrong, what_is_not_is_refused_by_its_path_and_with_what_it_has_to_be, 0,
			    N(refused));
	tcase_add_test(wrong, a_vm_that_is_not_there_has_a_status_of_its_own);
	return seeded_suite_run("method arguments", (TCase *const[]){ taken, wrong, NULL });
}
