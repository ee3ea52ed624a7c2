/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.metrics, read as strictly as a monitoring system may: all pieces of it together, line by
 * line, by the grammar of Prometheus' text format 0.0.4.
 *
 * Every family has its help and its type, in that order, and all of its samples behind them; no
 * family and no series is there twice; buckets of a histogram rise, and the last one is its count.
 * The test fails where it is not so.
 */
#ifndef INTEGRATION_SCRAPE_H
#define INTEGRATION_SCRAPE_H

#include "tests/integration/control-client.h"

#include <stdbool.h>
#include <stddef.h>

struct scraped_sample {
	char *series; /* as it stands there: name{label="value"} */
	double value;
	bool is_counted; /* of a counter or a histogram: it does not fall */
};

struct scrape {
	char *text;
	unsigned int n_pieces;
	size_t longest; /* piece, in bytes */
	struct scraped_sample *samples;
	size_t n_samples;
};

/* between (NULL: nothing) is called after each piece that is not the last, with its number. */
struct scrape *scrape_metrics_between(struct control_client *client,
				      void (*between)(unsigned int piece));
struct scrape *scrape_metrics(struct control_client *client);
void scrape_free(struct scrape *scrape);

bool scrape_has(const struct scrape *scrape, const char *series);
/* The test fails where there is no such series. */
double scrape_value(const struct scrape *scrape, const char *series);
/* Of what both have, nothing that is counted is less in after. */
void scrape_expect_nothing_fell(const struct scrape *before, const struct scrape *after);

#endif
