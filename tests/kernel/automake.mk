# SPDX-License-Identifier: GPL-2.0-or-later
# Real guests: in QEMU on a kernel that has the attributes, and on this machine's own KVM.
check-kernel: all
	@bash $(top_srcdir)/tests/kernel/check-kernel.sh \
		$(if $(TEST_KERNEL),--kernel '$(TEST_KERNEL)') $(abs_builddir)
check-native: all
	@bash $(top_srcdir)/tests/kernel/check-native.sh $(abs_builddir)
.PHONY: check-kernel check-native
EXTRA_DIST += \
	tests/kernel/check-kernel.sh \
	tests/kernel/check-native.sh \
	tests/kernel/guest-init.sh \
	tests/kernel/kernel.config \
	tests/kernel/kvm-memory-attributes.patch \
	tests/kernel/machines.sh
