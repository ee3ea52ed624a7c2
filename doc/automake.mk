# SPDX-License-Identifier: GPL-2.0-or-later
# Manual pages, from scdoc's sources.  They are built and not distributed: a tarball has the
# sources, and whoever builds it without scdoc does without the pages.
written_pages = \
	doc/kvmattr-journal.5 \
	doc/kvmattr-protocol.7 \
	doc/kvmattr-simvm.1 \
	doc/kvmattrctl.1 \
	doc/kvmattrd.8 \
	doc/kvmattrd.conf.5 \
	doc/libkvmattr.3
manual_pages = $(written_pages) doc/kvmattr-rpc.7

if HAVE_SCDOC
man_MANS += $(manual_pages)
CLEANFILES += $(manual_pages)
endif

# Without .nh, names of fields would be hyphenated in tables.
SUFFIXES = .scd
.scd:
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SCDOC) <$< >$@.new && \
		$(SED) -e '/^\.TH/a\' -e '.nh' $@.new >$@ && rm -f $@.new

# What the methods of the control socket take and answer is in the daemon's table, and nowhere else.
noinst_PROGRAMS += doc/print-methods
doc_print_methods_SOURCES = doc/print-methods.c
doc_print_methods_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(JSON_C_CFLAGS) $(SYSTEMD_CFLAGS)
doc_print_methods_LDADD = daemon/libserve.la $(JSON_C_LIBS)

check_DATA += doc/kvmattr-rpc.7.scd
CLEANFILES += doc/kvmattr-rpc.7.scd
doc/kvmattr-rpc.7.scd: $(srcdir)/doc/kvmattr-rpc.7.scd.in doc/print-methods$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
		doc/print-methods$(EXEEXT) methods >$@.methods && \
		doc/print-methods$(EXEEXT) events >$@.events && \
		$(SED) -e '/^@METHODS@$$/{r '$@.methods -e 'd;}' \
			-e '/^@EVENTS@$$/{r '$@.events -e 'd;}' \
			$(srcdir)/doc/kvmattr-rpc.7.scd.in >$@.new && \
		rm -f $@.methods $@.events && mv $@.new $@

# kvmattr-protocol(7) names the one, and that names the other.
dist_doc_DATA = doc/design-notes.md doc/kvm-abi.md

EXTRA_DIST += \
	$(written_pages:=.scd) \
	doc/kvmattr-rpc.7.scd.in
