#!/bin/busybox sh
# Process 1 until Debian's systemd takes over: loads drivers and puts the tests on the disk, as a
# service that systemd starts when the system is up.
/bin/busybox --install -s /bin
export PATH=/bin

mount -t proc none /proc
mount -t devtmpfs none /dev
for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || echo "cannot load $module"
done
mount -t ext4 /dev/vda /data
mkdir /data/package
cp /package/* /arguments /data/package/
echo debian >/data/etc/hostname
# Without udev it would wait for the device of the console.
ln -s /dev/null /data/etc/systemd/system/serial-getty@ttyS0.service

cat >/data/package/run <<'END'
#!/bin/sh
cd /package
set --
while read -r argument; do
    set -- "$@" "$argument"
done <arguments
export TARE_BIN=/usr/bin/tare TARE_LOAD_BIN=/package/tare-load TARE_TEST_DIR=/var/tmp
./tests --test-threads=1 "$@"
echo "vm verdict: exit code $?"
sync
systemctl poweroff --force --force
END
chmod +x /data/package/run

cat >/data/etc/systemd/system/package-tests.service <<'END'
[Unit]
After=multi-user.target docker.service

[Service]
ExecStart=/package/run
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
END
ln -s ../package-tests.service /data/etc/systemd/system/multi-user.target.wants/
# There is no network: the daemon starts without a bridge.
mkdir -p /data/etc/docker
echo '{"bridge": "none", "iptables": false, "ip6tables": false}' >/data/etc/docker/daemon.json
mount --move /dev /data/dev
exec switch_root /data /sbin/init
