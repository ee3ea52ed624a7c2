# SPDX-License-Identifier: GPL-2.0-or-later
# What crosses a socket, shared by both ends.
noinst_LTLIBRARIES += protocol/libprotocol.la
protocol_libprotocol_la_SOURCES = \
	protocol/executor.c protocol/executor.h \
	protocol/kvm-abi.h \
	protocol/kvmattr-types.c protocol/kvmattr-types.h \
	protocol/seqpacket.c protocol/seqpacket.h \
	protocol/wire.c protocol/wire.h
include_HEADERS += protocol/kvmattr-types.h
