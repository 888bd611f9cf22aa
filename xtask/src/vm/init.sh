#!/bin/busybox sh
# Process 1 of the virtual machine: prepares it, runs the tests, says how they ended, switches off.
/bin/busybox --install -s /bin
export PATH=/bin

mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
if grep -q tare.cgroups=v1 /proc/cmdline; then
    mount -t tmpfs none /sys/fs/cgroup
    for controller in cpu cpuacct cpuset memory blkio pids devices freezer; do
        mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" none "/sys/fs/cgroup/$controller"
    done
else
    mount -t cgroup2 none /sys/fs/cgroup
    echo "+cpu +memory +io +pids" >/sys/fs/cgroup/cgroup.subtree_control
fi

for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || echo "cannot load $module"
done
hostname vm
ip link set lo up
mount -t ext4 /dev/vda /data

export TARE_BIN=/bin/tare TARE_LOAD_BIN=/bin/tare-load TARE_TEST_DIR=/data RUST_BACKTRACE=0
set --
while read -r argument; do
    set -- "$@" "$argument"
done </arguments
vm-tests --test-threads=1 "$@"
echo "vm verdict: exit code $?"
poweroff -f
