# SPDX-License-Identifier: GPL-2.0-or-later
# Measurements, each against a named peer in the same run.  "make bench" builds and runs them.
bench_programs = \
	tests/bench/bench-attribute-map \
	tests/bench/bench-boot-trace \
	tests/bench/bench-fold-plan \
	tests/bench/bench-latency
EXTRA_PROGRAMS = $(bench_programs)

tests_bench_bench_attribute_map_SOURCES = tests/bench/bench-attribute-map.c
tests_bench_bench_attribute_map_LDADD = daemon/libpolicy.la
tests_bench_bench_boot_trace_SOURCES = tests/bench/bench-boot-trace.c
tests_bench_bench_boot_trace_LDADD = client/libsimvm.la daemon/libpolicy.la
tests_bench_bench_fold_plan_SOURCES = tests/bench/bench-fold-plan.c
tests_bench_bench_fold_plan_LDADD = daemon/libpolicy.la
tests_bench_bench_latency_SOURCES = tests/bench/bench-latency.c
tests_bench_bench_latency_LDADD = client/libkvmattr.la

bench: all $(bench_programs)
	@tests/bench/bench-attribute-map
	@echo; tests/bench/bench-boot-trace
	@echo; tests/bench/bench-fold-plan
	@echo; $(top_srcdir)/tests/bench/bench-end-to-end.sh daemon/kvmattrd client/kvmattr-simvm
	@echo; tests/bench/bench-latency daemon/kvmattrd
EXTRA_DIST += tests/bench/bench-end-to-end.sh
CLEANFILES += $(bench_programs)
.PHONY: bench
