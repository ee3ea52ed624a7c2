#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The first process of the virtual machine that check-systemd.sh boots: makes way for systemd.
#
# The sandbox of a unit needs a root that can be mounted elsewhere, which an initramfs is not.
/bin/busybox mount -t tmpfs -o size=75% tmpfs /new
/bin/busybox cp -a /image/. /new/
exec /bin/busybox switch_root /new /lib/systemd/systemd
