# SPDX-License-Identifier: GPL-2.0-or-later
# Manual pages, from scdoc's sources.  They are built and not distributed: a tarball has the
# sources, and whoever builds it without scdoc does without the pages.
manual_pages = \
	doc/kvmattr-journal.5 \
	doc/kvmattr-protocol.7 \
	doc/kvmattr-simvm.1 \
	doc/kvmattrctl.1 \
	doc/kvmattrd.8 \
	doc/kvmattrd.conf.5 \
	doc/libkvmattr.3

if HAVE_SCDOC
man_MANS += $(manual_pages)
CLEANFILES += $(manual_pages)
endif

# Without .nh, names of fields would be hyphenated in tables.
SUFFIXES = .scd
.scd:
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SCDOC) <$< >$@.new && \
		$(SED) -e '/^\.TH/a\' -e '.nh' $@.new >$@ && rm -f $@.new

EXTRA_DIST += \
	$(manual_pages:=.scd) \
	doc/design-notes.md \
	doc/kvm-abi.md
