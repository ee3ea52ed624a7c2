/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events and subscriptions: their numbers, what is kept, and what a subscription gets of it, held
 * against a plain list of all that ever happened.
 */
#include "daemon/serve/events.h"
#include "tests/unit/seeded-suite.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL       ((UINT64_C(1) << N_EVENTS) - 1)
#define ONE(kind) (UINT64_C(1) << EVENT_##kind)

static struct events *events;

static void start(void)
{
	events = events_new();
}

static void stop(void)
{
	events_free(events);
}

static void emit(enum event_kind kind, const char *vm)
{
	events_emit(events, kind, vm, json_object_new_object());
}

static void count_wake(void *context)
{
	++*(unsigned int *)context;
}

static struct subscription *subscribe(uint64_t kinds, const char *vm, uint64_t first,
				      unsigned int *n_wakes)
{
	struct event_filter filter = { .kinds = kinds };

	snprintf(filter.vm, sizeof(filter.vm), "%s", vm);
	return events_subscribe(events, &filter, first, count_wake, n_wakes);
}

/* The next line, parsed; NULL: there is none. */
static struct json_object *receive(struct subscription *subscription)
{
	struct json_object *object;
	size_t size = 0;
	const char *line = subscription_next(subscription, &size);
	char *text;

	if (!line)
		return NULL;
	EXPECT(size && line[size - 1] == '\n' && !memchr(line, '\n', size - 1), "this is no line");
	text = strndup(line, size);
	object = json_tokener_parse(text);
	EXPECT(object, "this is no JSON: %s", text);
	free(text);
	return object;
}

static int64_t number_in(struct json_object *line, const char *name)
{
	struct json_object *params = NULL, *number = NULL;

	EXPECT(json_object_object_get_ex(line, "params", &params), "there is no member");
	EXPECT(json_object_object_get_ex(params, name, &number), "there is no member");
	return json_object_get_int64(number);
}

static const char *text_in(struct json_object *line, const char *name)
{
	struct json_object *params = NULL, *text = NULL;

	EXPECT(json_object_object_get_ex(line, "params", &params), "there is no member");
	EXPECT(json_object_object_get_ex(params, name, &text), "there is no member");
	return json_object_get_string(text);
}

static bool is_missed(struct json_object *line)
{
	struct json_object *method = NULL;

	EXPECT(json_object_object_get_ex(line, "method", &method), "there is no member");
	return !strcmp(json_object_get_string(method), "event.missed");
}

/* The next line is the event of that number. */
static void expect_number(struct subscription *subscription, int64_t number)
{
	struct json_object *line = receive(subscription);

	EXPECT(line && !is_missed(line) && number_in(line, "number") == number, "no event %ld",
	       number);
	json_object_put(line);
}

static void expect_missed(struct subscription *subscription, int64_t missed, int64_t first,
			  int64_t last)
{
	struct json_object *line = receive(subscription);

	ck_assert_ptr_nonnull(line);
	ck_assert(is_missed(line));
	ck_assert_int_eq(number_in(line, "missed"), missed);
	ck_assert_int_eq(number_in(line, "first"), first);
	ck_assert_int_eq(number_in(line, "last"), last);
	json_object_put(line);
}

/* ---- One by one ------------------------------------------------------------------------------ */

START_TEST(an_event_is_a_notification_with_what_happened)
{
	unsigned int n_wakes = 0;
	struct subscription *subscription = subscribe(ALL, "", 1, &n_wakes);
	struct json_object *data = json_object_new_object(), *line, *params = NULL, *at = NULL;

	json_object_object_add(data, "text", json_object_new_string("two\nlines \"and\" more"));
	events_emit(events, EVENT_JOURNAL_TROUBLE, "guest", data);
	line = receive(subscription);
	ck_assert_int_eq(number_in(line, "number"), 1);
	ck_assert_int_gt(number_in(line, "time_us"), 0);
	ck_assert_str_eq(text_in(line, "event"), "journal.trouble");
	ck_assert_str_eq(text_in(line, "vm"), "guest");
	ck_assert(json_object_object_get_ex(line, "params", &params));
	ck_assert(json_object_object_get_ex(params, "data", &at));
	ck_assert(json_object_object_get_ex(at, "text", &at));
	ck_assert_str_eq(json_object_get_string(at), "two\nlines \"and\" more");
	json_object_put(line);
	ck_assert_ptr_null(receive(subscription));
	subscription_free(subscription);
}
END_TEST

START_TEST(numbers_rise_by_one_whatever_happens_to_whom)
{
	struct subscription *subscription = subscribe(ALL, "", 1, &(unsigned int){ 0 });

	for (int i = 0; i < 100; i++)
		emit((enum event_kind)(i % N_EVENTS), i % 3 ? "one" : "other");
	for (int i = 1; i <= 100; i++)
		expect_number(subscription, i);
	ck_assert_uint_eq(events_status(events).next, 101);
	ck_assert_uint_eq(events_status(events).oldest, 1);
	subscription_free(subscription);
}
END_TEST

START_TEST(every_kind_has_its_name)
{
	ck_assert_str_eq(event_names[EVENT_VM_REGISTERED], "vm.registered");
	ck_assert_str_eq(event_names[EVENT_JOURNAL_WELL], "journal.well");
	ck_assert_ptr_null(event_names[N_EVENTS]);
}
END_TEST

START_TEST(what_is_wanted_is_what_somebody_has_asked_for)
{
	struct subscription *one, *other;

	ck_assert(!events_are_wanted(events, EVENT_BATCH_COMMITTED, "guest"));
	one = subscribe(ONE(BATCH_COMMITTED), "guest", 1, NULL);
	other = subscribe(ONE(FAULT_EXPLAINED), "", 1, NULL);
	ck_assert(events_are_wanted(events, EVENT_BATCH_COMMITTED, "guest"));
	ck_assert(!events_are_wanted(events, EVENT_BATCH_COMMITTED, "other"));
	ck_assert(events_are_wanted(events, EVENT_FAULT_EXPLAINED, "other"));
	ck_assert(!events_are_wanted(events, EVENT_VM_RELEASED, "guest"));
	ck_assert_uint_eq(events_status(events).n_subscriptions, 2);
	subscription_free(one);
	ck_assert(!events_are_wanted(events, EVENT_BATCH_COMMITTED, "guest"));
	ck_assert(events_are_wanted(events, EVENT_FAULT_EXPLAINED, "other"));
	subscription_free(other);
	ck_assert(!events_are_wanted(events, EVENT_FAULT_EXPLAINED, "other"));
	ck_assert_uint_eq(events_status(events).n_subscriptions, 0);
}
END_TEST

START_TEST(a_subscriber_is_woken_when_there_is_something_where_there_was_nothing)
{
	unsigned int n_wakes = 0, n_late_wakes = 0;
	struct subscription *subscription, *late;

	subscription = subscribe(ONE(VM_RELEASED), "", 1, &n_wakes);
	ck_assert_uint_eq(n_wakes, 0);
	emit(EVENT_VM_REGISTERED, "guest");
	ck_assert_uint_eq(n_wakes, 0);
	emit(EVENT_VM_RELEASED, "guest");
	emit(EVENT_VM_RELEASED, "guest");
	ck_assert_uint_eq(n_wakes, 1);
	late = subscribe(ONE(VM_RELEASED), "", 3, &n_late_wakes);
	ck_assert_uint_eq(n_late_wakes, 1);
	expect_number(subscription, 2);
	emit(EVENT_VM_RELEASED, "guest");
	ck_assert_uint_eq(n_wakes, 1);
	expect_number(subscription, 3);
	expect_number(subscription, 4);
	emit(EVENT_VM_RELEASED, "guest");
	ck_assert_uint_eq(n_wakes, 2);
	expect_number(late, 3);
	subscription_free(late);
	subscription_free(subscription);
}
END_TEST

/* ---- What is kept ---------------------------------------------------------------------------- */

START_TEST(so_many_events_are_kept_and_the_oldest_is_missed_first)
{
	unsigned int n_wakes = 0;
	struct subscription *behind = subscribe(ALL, "", 1, &n_wakes), *later;

	for (unsigned int i = 0; i < EVENTS_MAX_KEPT; i++)
		emit(EVENT_VM_REGISTERED, "guest");
	ck_assert_uint_eq(events_status(events).oldest, 1);
	ck_assert(!subscription_has_missed(behind));
	ck_assert_uint_eq(n_wakes, 1);
	for (int i = 0; i < 5; i++)
		emit(EVENT_VM_REGISTERED, "guest");
	ck_assert_uint_eq(events_status(events).oldest, 6);
	ck_assert_uint_eq(events_status(events).n_missed, 5);
	ck_assert(subscription_has_missed(behind));
	ck_assert_uint_eq(n_wakes, 2);
	expect_missed(behind, 5, 1, 5);
	ck_assert(subscription_is_over(behind));
	ck_assert(!subscription_has_missed(behind));
	ck_assert_ptr_null(receive(behind));
	emit(EVENT_VM_REGISTERED, "guest");
	ck_assert_ptr_null(receive(behind));
	later = subscribe(ALL, "", 6, &n_wakes);
	for (int64_t number = 7; number <= EVENTS_MAX_KEPT + 6; number++)
		expect_number(later, number);
	ck_assert_ptr_null(receive(later));
	subscription_free(later);
	subscription_free(behind);
}
END_TEST

START_TEST(so_many_bytes_are_kept)
{
	static char text[EVENTS_MAX_KEPT_BYTES / 10];

	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 30; i++) {
		struct json_object *data = json_object_new_object();

		json_object_object_add(data, "text", json_object_new_string(text));
		events_emit(events, EVENT_JOURNAL_TROUBLE, "guest", data);
	}
	/* with all that is around the text, nine of them fit */
	ck_assert_uint_eq(events_status(events).oldest, 22);
}
END_TEST

START_TEST(what_was_not_asked_for_is_not_missed)
{
	struct subscription *rare = subscribe(ONE(VM_RELEASED), "", 1, &(unsigned int){ 0 });
	struct subscription *of_other = subscribe(ALL, "other", 1, &(unsigned int){ 0 });

	for (unsigned int i = 0; i < 2 * EVENTS_MAX_KEPT; i++)
		emit(EVENT_VM_REGISTERED, "guest");
	emit(EVENT_VM_RELEASED, "other");
	expect_number(rare, 2 * EVENTS_MAX_KEPT + 1);
	expect_number(of_other, 2 * EVENTS_MAX_KEPT + 1);
	subscription_free(rare);
	subscription_free(of_other);
}
END_TEST

/* ---- All of it, at random -------------------------------------------------------------------- */

/* A subscription, and what it is to be told. */
struct follower {
	struct subscription *subscription;
	uint64_t kinds;
	const char *vm;
	int64_t next;
	bool is_over;
	unsigned int n_wakes;
};

static const char *const vms[] = { "one", "other", "" };

/* All that ever happened; event i is at i. */
static struct {
	enum event_kind kind;
	const char *vm;
} history[16000];
static int64_t n_history;

static bool is_for(const struct follower *follower, int64_t number)
{
	return follower->kinds >> history[number].kind & 1 &&
	       (!*follower->vm || !strcmp(follower->vm, history[number].vm));
}

/* One line, or none: what the list says. */
static void follow(struct follower *follower)
{
	int64_t oldest = (int64_t)events_status(events).oldest, n_missed = 0, first = 0, last = 0;
	int64_t number;

	for (number = follower->next; number < oldest; number++) {
		if (!is_for(follower, number))
			continue;
		first = n_missed++ ? first : number;
		last = number;
	}
	EXPECT(subscription_has_missed(follower->subscription) == (n_missed && !follower->is_over),
	       "%ld events were missed", n_missed);
	while (number <= n_history && !is_for(follower, number))
		number++;
	if (follower->is_over) {
		EXPECT(!receive(follower->subscription), "it is over");
	} else if (n_missed) {
		expect_missed(follower->subscription, n_missed, first, last);
		follower->is_over = true;
	} else if (number <= n_history) {
		expect_number(follower->subscription, number);
		follower->next = number + 1;
	} else {
		EXPECT(!receive(follower->subscription), "there is nothing to be told");
	}
}

static void follow_anew(struct follower *follower, uint64_t *random)
{
	uint64_t next = events_status(events).next;
	uint64_t behind = random_below(random, 3) ? 0 : random_below(random, EVENTS_MAX_KEPT);
	uint64_t oldest = events_status(events).oldest;

	subscription_free(follower->subscription);
	follower->kinds = random_one_in(random, 3) ? ALL : *random & ALL;
	follower->vm = vms[random_below(random, N(vms))];
	follower->next = (int64_t)(behind < next ? next - behind : 1);
	follower->is_over = false;
	follower->subscription = subscribe(follower->kinds, follower->vm, (uint64_t)follower->next,
					   &follower->n_wakes);
	/* what was not kept any more it was told of then */
	if ((uint64_t)follower->next < oldest)
		follower->next = (int64_t)oldest;
}

START_TEST(a_subscription_is_told_what_a_list_of_everything_says)
{
	static struct follower followers[8];
	uint64_t random = seeded_suite_random(_i);

	for (size_t i = 0; i < N(followers); i++)
		follow_anew(&followers[i], &random);
	while (n_history + 1 < (int64_t)N(history)) {
		struct follower *follower = &followers[random_below(&random, N(followers))];

		switch (random_below(&random, 8)) {
		case 0:
			if (random_one_in(&random, 500))
				follow_anew(follower, &random);
			break;
		case 1:
			/* the first ones read hardly ever */
			if (follower > &followers[2] || random_one_in(&random, 50))
				for (int n = 0; n < 30; n++)
					follow(follower);
			break;
		default:
			n_history++;
			history[n_history].kind = (enum event_kind)random_below(&random, N_EVENTS);
			history[n_history].vm = vms[random_below(&random, 2)];
			emit(history[n_history].kind, history[n_history].vm);
		}
	}
	ck_assert_uint_eq(events_status(events).next, (uint64_t)n_history + 1);
	ck_assert_uint_gt(events_status(events).n_missed, 0);
	for (size_t i = 0; i < N(followers); i++)
		subscription_free(followers[i].subscription);
}
END_TEST

int main(void)
{
	TCase *single = tcase_create("one by one"), *kept = tcase_create("kept"),
	      *model = tcase_create("all of it");

	tcase_add_checked_fixture(single, start, stop);
	tcase_add_checked_fixture(kept, start, stop);
	tcase_add_checked_fixture(model, start, stop);
	tcase_set_timeout(model, 60);
	tcase_add_test(single, an_event_is_a_notification_with_what_happened);
	tcase_add_test(single, numbers_rise_by_one_whatever_happens_to_whom);
	tcase_add_test(single, every_kind_has_its_name);
	tcase_add_test(single, what_is_wanted_is_what_somebody_has_asked_for);
	tcase_add_test(single,
		       a_subscriber_is_woken_when_there_is_something_where_there_was_nothing);
	tcase_add_test(kept, so_many_events_are_kept_and_the_oldest_is_missed_first);
	tcase_add_test(kept, so_many_bytes_are_kept);
	tcase_add_test(kept, what_was_not_asked_for_is_not_missed);
	tcase_add_loop_test(model, a_subscription_is_told_what_a_list_of_everything_says, 0, 3);
	return seeded_suite_run("events", (TCase *const[]){ single, kept, model, NULL });
}
