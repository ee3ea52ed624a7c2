# SPDX-License-Identifier: GPL-2.0-or-later
# One program for each module; a test's name is the sentence that it proves.
unit_tests += \
	tests/unit/test-attribute-map \
	tests/unit/test-page-ranges

tests_unit_test_attribute_map_SOURCES = tests/unit/test-attribute-map.c
tests_unit_test_attribute_map_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_unit_test_attribute_map_LDADD = daemon/libpolicy.la $(CHECK_LIBS)

tests_unit_test_page_ranges_SOURCES = tests/unit/test-page-ranges.c
tests_unit_test_page_ranges_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_unit_test_page_ranges_LDADD = daemon/libpolicy.la $(CHECK_LIBS)
