# SPDX-License-Identifier: GPL-2.0-or-later
# Measurements, each against a named peer in the same run.  "make bench" builds and runs them.
bench_programs = \
	tests/bench/bench-attribute-map \
	tests/bench/bench-boot-trace \
	tests/bench/bench-fold-plan \
	tests/bench/bench-journal \
	tests/bench/bench-latency \
	tests/bench/bench-observe \
	tests/bench/bench-restart \
	tests/bench/bench-siege \
	tests/bench/bench-slices
EXTRA_PROGRAMS = $(bench_programs)

tests_bench_bench_attribute_map_SOURCES = tests/bench/bench-attribute-map.c \
	tests/bench/samples.c tests/bench/samples.h
tests_bench_bench_attribute_map_LDADD = daemon/libpolicy.la
tests_bench_bench_boot_trace_SOURCES = tests/bench/bench-boot-trace.c \
	tests/bench/samples.c tests/bench/samples.h \
	tests/unit/unheard-vm-ops.c tests/unit/unheard-vm-ops.h
tests_bench_bench_boot_trace_LDADD = client/libsimvm.la daemon/libpolicy.la
tests_bench_bench_fold_plan_SOURCES = tests/bench/bench-fold-plan.c \
	tests/bench/samples.c tests/bench/samples.h
tests_bench_bench_fold_plan_LDADD = daemon/libpolicy.la
tests_bench_bench_journal_SOURCES = tests/bench/bench-journal.c \
	tests/bench/samples.c tests/bench/samples.h
tests_bench_bench_journal_LDADD = client/libsimvm.la daemon/libjournal.la daemon/libpolicy.la \
	-lpthread
tests_bench_bench_latency_SOURCES = tests/bench/bench-latency.c \
	tests/bench/bench-daemon.c tests/bench/bench-daemon.h \
	tests/bench/samples.c tests/bench/samples.h
tests_bench_bench_latency_LDADD = client/libkvmattr.la
tests_bench_bench_observe_SOURCES = tests/bench/bench-observe.c \
	tests/bench/bench-daemon.c tests/bench/bench-daemon.h \
	tests/bench/bench-guest.c tests/bench/bench-guest.h \
	tests/bench/observer.c tests/bench/observer.h \
	tests/bench/samples.c tests/bench/samples.h
tests_bench_bench_observe_LDADD = client/libsimvm.la client/libkvmattr.la -lpthread -lm
tests_bench_bench_restart_SOURCES = tests/bench/bench-restart.c \
	tests/bench/bench-daemon.c tests/bench/bench-daemon.h \
	tests/bench/bench-guest.c tests/bench/bench-guest.h \
	tests/bench/samples.c tests/bench/samples.h \
	tests/integration/fake-manager.c tests/integration/fake-manager.h
tests_bench_bench_restart_LDADD = client/libsimvm.la client/libkvmattr.la \
	protocol/libprotocol.la -lpthread
tests_bench_bench_siege_SOURCES = tests/bench/bench-siege.c \
	tests/bench/bench-daemon.c tests/bench/bench-daemon.h \
	tests/bench/bench-guest.c tests/bench/bench-guest.h \
	tests/bench/besiege-control.c tests/bench/besiege-questions.c \
	tests/bench/besiege-sockets.c tests/bench/besiege-vms.c \
	tests/bench/besieger.h tests/bench/besiegers.c tests/bench/besiegers.h \
	tests/bench/daemon-size.c tests/bench/daemon-size.h \
	tests/bench/hostile-vm.c tests/bench/hostile-vm.h \
	tests/bench/other-user.c tests/bench/other-user.h \
	tests/bench/peaceful.c tests/bench/peaceful.h \
	tests/bench/samples.c tests/bench/samples.h
tests_bench_bench_siege_LDADD = client/libsimvm.la client/libkvmattr.la \
	protocol/libprotocol.la -lpthread
tests_bench_bench_slices_SOURCES = tests/bench/bench-slices.c \
	tests/unit/unheard-vm-ops.c tests/unit/unheard-vm-ops.h
tests_bench_bench_slices_LDADD = daemon/libpolicy.la

bench: all $(bench_programs)
	@tests/bench/bench-attribute-map
	@echo; tests/bench/bench-boot-trace
	@echo; tests/bench/bench-fold-plan
	@echo; tests/bench/bench-journal
	@echo; $(top_srcdir)/tests/bench/bench-end-to-end.sh daemon/kvmattrd client/kvmattr-simvm
	@echo; tests/bench/bench-latency daemon/kvmattrd
	@echo; tests/bench/bench-observe daemon/kvmattrd client/kvmattr-simvm
	@echo; tests/bench/bench-restart daemon/kvmattrd
	@echo; tests/bench/bench-slices
	@echo; tests/bench/bench-siege --seconds=24 daemon/kvmattrd client/kvmattr-simvm
EXTRA_DIST += tests/bench/bench-end-to-end.sh
CLEANFILES += $(bench_programs)
.PHONY: bench
