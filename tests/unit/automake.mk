# SPDX-License-Identifier: GPL-2.0-or-later
# One program for each module; what several of them need is in libunit.
unit_tests += \
	tests/unit/test-archivist \
	tests/unit/test-attribute-map \
	tests/unit/test-attribute-map-bytes \
	tests/unit/test-attribute-map-shape \
	tests/unit/test-blame \
	tests/unit/test-catalogue \
	tests/unit/test-checkpoint \
	tests/unit/test-checkpoint-damage \
	tests/unit/test-dialect \
	tests/unit/test-elements \
	tests/unit/test-event-text \
	tests/unit/test-events \
	tests/unit/test-executor \
	tests/unit/test-export \
	tests/unit/test-exposition \
	tests/unit/test-fd-store \
	tests/unit/test-fd-store-wrong \
	tests/unit/test-history \
	tests/unit/test-image-updates \
	tests/unit/test-journal \
	tests/unit/test-journal-damage \
	tests/unit/test-journal-faults \
	tests/unit/test-journal-files \
	tests/unit/test-journal-fuzz \
	tests/unit/test-journal-replay \
	tests/unit/test-journal-replay-damage \
	tests/unit/test-journal-replay-meanwhile \
	tests/unit/test-jsonrpc \
	tests/unit/test-jsonrpc-later \
	tests/unit/test-jsonrpc-stream \
	tests/unit/test-kvm-stats \
	tests/unit/test-latency \
	tests/unit/test-leaf-chunks \
	tests/unit/test-libkvmattr \
	tests/unit/test-libkvmattr-broken \
	tests/unit/test-libkvmattr-owner \
	tests/unit/test-libkvmattr-resume \
	tests/unit/test-libkvmattr-resume-broken \
	tests/unit/test-libkvmattr-resume-executor \
	tests/unit/test-libkvmattr-resume-owner \
	tests/unit/test-libkvmattr-updates \
	tests/unit/test-memory \
	tests/unit/test-method-arguments \
	tests/unit/test-methods \
	tests/unit/test-libkvmattr-statistics \
	tests/unit/test-outbox \
	tests/unit/test-page-ranges \
	tests/unit/test-past \
	tests/unit/test-past-journals \
	tests/unit/test-plan \
	tests/unit/test-policy-image \
	tests/unit/test-policy-image-by-hand \
	tests/unit/test-policy-image-damage \
	tests/unit/test-policy-layers \
	tests/unit/test-policy-oracle \
	tests/unit/test-policy-pages \
	tests/unit/test-ram \
	tests/unit/test-replay \
	tests/unit/test-replay-damage \
	tests/unit/test-seqpacket \
	tests/unit/test-simvm-kernel \
	tests/unit/test-simvm-trace \
	tests/unit/test-turns \
	tests/unit/test-types \
	tests/unit/test-verify \
	tests/unit/test-verify-damage \
	tests/unit/test-vm \
	tests/unit/test-vm-freeze \
	tests/unit/test-vm-journal \
	tests/unit/test-vm-journal-checkpoints \
	tests/unit/test-vm-journal-power \
	tests/unit/test-vm-recording \
	tests/unit/test-vm-records \
	tests/unit/test-vm-refusals \
	tests/unit/test-vm-simulation \
	tests/unit/test-vm-snapshot \
	tests/unit/test-vm-trouble \
	tests/unit/test-vm-turns \
	tests/unit/test-vm-verify \
	tests/unit/test-wire \
	tests/unit/test-wire-fields

if HAVE_CHECK
check_LTLIBRARIES += tests/unit/libunit.la
endif
tests_unit_libunit_la_SOURCES = \
	tests/unit/attribute-map-oracle.c tests/unit/attribute-map-oracle.h \
	tests/unit/checkpoint-checks.c tests/unit/checkpoint-checks.h \
	tests/unit/deny-world.c tests/unit/deny-world.h \
	tests/unit/example-methods.c tests/unit/example-methods.h \
	tests/unit/faulty-io.c tests/unit/faulty-io.h \
	tests/unit/fd-store-lives.c tests/unit/fd-store-lives.h \
	tests/unit/image-checks.c tests/unit/image-checks.h \
	tests/unit/journal-checks.c tests/unit/journal-checks.h \
	tests/unit/journal-story-batches.c \
	tests/unit/journal-story-expect.c \
	tests/unit/journal-story-private.h \
	tests/unit/journal-story.c tests/unit/journal-story.h \
	tests/unit/journaled-vm-files.c \
	tests/unit/journaled-vm.c tests/unit/journaled-vm.h \
	tests/unit/jsonrpc-peer.c tests/unit/jsonrpc-peer.h \
	tests/unit/libkvmattr-checks.c tests/unit/libkvmattr-checks.h \
	tests/unit/mortal-daemon.c tests/unit/mortal-daemon.h \
	tests/unit/past-checks.c tests/unit/past-checks.h \
	tests/unit/policy-checks.c tests/unit/policy-checks.h \
	tests/unit/policy-oracle.c tests/unit/policy-oracle.h \
	tests/unit/pretended-vm.c tests/unit/pretended-vm.h \
	tests/unit/random-updates.c tests/unit/random-updates.h \
	tests/unit/replay-checks.c tests/unit/replay-checks.h \
	tests/unit/scripted-daemon.c tests/unit/scripted-daemon.h \
	tests/unit/seeded-suite.c tests/unit/seeded-suite.h \
	tests/unit/told-journal.c tests/unit/told-journal.h \
	tests/unit/unheard-vm-ops.c tests/unit/unheard-vm-ops.h \
	tests/unit/verify-checks.c tests/unit/verify-checks.h \
	tests/unit/vm-world.c tests/unit/vm-world-expect.c tests/unit/vm-world.h \
	tests/unit/wire-messages.c tests/unit/wire-messages.h \
	tests/unit/world-journal.c tests/unit/world-journal.h
tests_unit_libunit_la_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)

# Rooms of kvmattrctl, which is no library.
tests_unit_test_event_text_SOURCES = tests/unit/test-event-text.c client/kvmattrctl-event-text.c \
	client/kvmattrctl-rpc.c client/kvmattrctl-terminal.c
tests_unit_test_event_text_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS) $(JSON_C_CFLAGS)

# The library does not export what this is about.
tests_unit_test_outbox_SOURCES = tests/unit/test-outbox.c client/outbox.c
tests_unit_test_outbox_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)

# Scripts that print TAP.
script_tests = tests/unit/check-catalog.sh tests/unit/check-manual.sh
TESTS += $(script_tests)
EXTRA_DIST += $(script_tests) tests/unit/tap.sh
