/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is demanded of bytes that may be a policy's image: they are refused, with place and reason,
 * or they are the image of a policy that ordinary updates lead to.
 */
#ifndef IMAGE_CHECKS_H
#define IMAGE_CHECKS_H

#include "daemon/policy/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The owner does it, which has to succeed. */
void images_must(struct policy *of, struct policy_element element);
/* Returns whether the bytes are an image; then its policy is made by updates, and gives them. */
bool images_expect_refused_or_good(const uint8_t *data, size_t size);

#endif
