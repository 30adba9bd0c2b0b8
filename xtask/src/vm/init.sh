#!/bin/busybox sh
# The first program of a guest: sets up what a distribution's would, runs /job, and ends the machine.
# The first serial port is the console, the kernel's too; the second one is for results alone.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec 3>/dev/ttyS1 0</dev/null
echo "@memtrace-vm release $(uname -r)" >&3
ip link set lo up
hostname guest
for module in /modules/*.ko; do
    insmod "$module" || echo "@memtrace-vm trouble $module does not load" >&3
done
sh /job
echo "@memtrace-vm end $?" >&3
poweroff -f
