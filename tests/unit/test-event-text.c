/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events as sentences of kvmattrctl's: it has one for every kind that the daemon tells of.
 */
#include "client/kvmattrctl-event-text.h"
#include "daemon/serve/events.h"
#include "tests/unit/seeded-suite.h"

#include <check.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text_of(const char *json, enum writer_tone *ret_tone)
{
	struct json_object *params = json_tokener_parse(json);
	char *text = event_text(params, ret_tone);

	json_object_put(params);
	return text;
}

static void expect_text(const char *json, const char *expected)
{
	enum writer_tone tone;
	char *text = text_of(json, &tone);

	ck_assert_str_eq(text, expected);
	free(text);
}

START_TEST(every_kind_has_a_sentence)
{
	char json[128];
	enum writer_tone tone;
	char *text;

	snprintf(json, sizeof(json), "{\"event\":\"%s\",\"data\":{\"lack\":1}}", event_names[_i]);
	text = text_of(json, &tone);
	/* one without is shown as its name and data */
	ck_assert_ptr_null(strstr(text, "lack"));
	ck_assert_int_ne(*text, '\0');
	free(text);
}
END_TEST

START_TEST(a_kind_that_is_not_known_is_its_name_and_its_data)
{
	expect_text("{\"event\":\"vm.exploded\",\"data\":{\"parts\":3}}",
		    "vm.exploded {\"parts\":3}");
}
END_TEST

START_TEST(sentences_say_who_and_what)
{
	expect_text("{\"event\":\"session.opened\",\"data\":{\"id\":3,\"role\":\"agent\",\"vtl\":1,"
		    "\"pid\":7,\"uid\":0,\"resumed\":true}}",
		    "session 3 is back: agent for VTL 1, process 7, user 0");
	expect_text("{\"event\":\"batch.committed\",\"data\":{\"batches\":3,\"updates\":1200,"
		    "\"pages\":1,\"calls\":2,\"first_commit\":4,\"commit\":6}}",
		    "1,200 updates on 1 page in force by 2 calls, commits 4 to 6");
	expect_text("{\"event\":\"fault.explained\",\"data\":{\"vtl\":0,\"gpa\":\"0x1000\","
		    "\"access\":\"w\",\"allowed\":false,\"denying\":[1,2],\"suppressed\":0}}",
		    "VTL 0, write at 0x1000: denied by layers 1, 2");
	expect_text("{\"event\":\"vm.degraded\",\"data\":{\"text\":\"degraded: trying again\","
		    "\"unknown_pages\":1}}",
		    "DEGRADED: trying again (1 page of which it is not known what KVM enforces)");
}
END_TEST

int main(void)
{
	TCase *texts = tcase_create("sentences");

	tcase_add_loop_test(texts, every_kind_has_a_sentence, 0, N_EVENTS);
	tcase_add_test(texts, a_kind_that_is_not_known_is_its_name_and_its_data);
	tcase_add_test(texts, sentences_say_who_and_what);
	return seeded_suite_run("event text", (TCase *[]){ texts, NULL });
}
