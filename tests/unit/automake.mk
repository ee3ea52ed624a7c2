# SPDX-License-Identifier: GPL-2.0-or-later
# One program for each module; what several of them need is in libunit.
unit_tests += \
	tests/unit/test-attribute-map \
	tests/unit/test-attribute-map-bytes \
	tests/unit/test-dialect \
	tests/unit/test-executor \
	tests/unit/test-journal \
	tests/unit/test-journal-damage \
	tests/unit/test-journal-faults \
	tests/unit/test-journal-files \
	tests/unit/test-journal-fuzz \
	tests/unit/test-jsonrpc \
	tests/unit/test-jsonrpc-stream \
	tests/unit/test-libkvmattr \
	tests/unit/test-libkvmattr-broken \
	tests/unit/test-libkvmattr-owner \
	tests/unit/test-page-ranges \
	tests/unit/test-plan \
	tests/unit/test-policy-layers \
	tests/unit/test-policy-oracle \
	tests/unit/test-policy-pages \
	tests/unit/test-seqpacket \
	tests/unit/test-simvm-kernel \
	tests/unit/test-simvm-trace \
	tests/unit/test-types \
	tests/unit/test-vm \
	tests/unit/test-vm-refusals \
	tests/unit/test-vm-simulation \
	tests/unit/test-vm-trouble \
	tests/unit/test-wire \
	tests/unit/test-wire-fields

if HAVE_CHECK
check_LTLIBRARIES += tests/unit/libunit.la
endif
tests_unit_libunit_la_SOURCES = \
	tests/unit/journal-checks.c tests/unit/journal-checks.h \
	tests/unit/jsonrpc-peer.c tests/unit/jsonrpc-peer.h \
	tests/unit/libkvmattr-checks.c tests/unit/libkvmattr-checks.h \
	tests/unit/policy-checks.c tests/unit/policy-checks.h \
	tests/unit/policy-oracle.c tests/unit/policy-oracle.h \
	tests/unit/random-updates.c tests/unit/random-updates.h \
	tests/unit/scripted-daemon.c tests/unit/scripted-daemon.h \
	tests/unit/seeded-suite.c tests/unit/seeded-suite.h \
	tests/unit/vm-world.c tests/unit/vm-world.h \
	tests/unit/wire-messages.c tests/unit/wire-messages.h
tests_unit_libunit_la_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)

# Scripts that print TAP.
TESTS += tests/unit/check-manual.sh
EXTRA_DIST += tests/unit/check-manual.sh
