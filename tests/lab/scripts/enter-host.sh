#!/bin/sh
# Becomes a host's PID 1. Runs in new mount, pid, uts, ipc, cgroup and network namespaces.
#
# Prints its pid as the machine sees it, then waits for a line on stdin, by which time the network
# device is there; when the lab dies before that, so does this.
#
# Environment: HOST_DIR, HOST_NAME, LOWER, ADDRESS, GATEWAY, SYSTEMD, CGROUPS (options:name pairs,
# version 2 as 2:name), DISK
set -eu

read -r pid _ </proc/self/stat
echo "$pid"
read -r go
[ "$go" = go ]
exec </dev/null >>"$HOST_DIR/boot.log" 2>&1

hostname "$HOST_NAME"
ip link set lo up
ip address add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"

root=$HOST_DIR/root
mount -t overlay overlay "$root" -o \
	"lowerdir=$LOWER,upperdir=$HOST_DIR/upper,workdir=$HOST_DIR/work,index=off,metacopy=off"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$root/run"
mkdir -p "$root/run/lock"

# Own devices: what is done to /dev in the host does not reach the machine.
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 kmsg:1:11 fuse:10:229; do
	number=${device#*:}
	mknod -m 666 "$root/dev/${device%%:*}" c "${number%:*}" "${number#*:}"
done
# What systemd says to the console goes nowhere; the journal has it.
mknod -m 600 "$root/dev/console" c 1 3
mkdir -p "$root/dev/net" "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mknod -m 666 "$root/dev/net/tun" c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o nosuid,nodev tmpfs "$root/dev/shm"
mount -t mqueue mqueue "$root/dev/mqueue"
for link in fd: stdin:/0 stdout:/1 stderr:/2; do
	ln -s "/proc/self/fd${link#*:}" "$root/dev/${link%%:*}"
done

case $CGROUPS in
2:.)
	mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
	;;
*)
	mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs "$root/sys/fs/cgroup"
	for item in $CGROUPS; do
		options=${item%%:*}
		place=$root/sys/fs/cgroup/${item#*:}
		if [ "$options" != 2 ]; then
			mkdir "$place"
			case $options in
			name=*) options="none,$options" ;;
			esac
			mount -t cgroup -o "nosuid,nodev,noexec,$options" cgroup "$place"
		elif [ -n "$SYSTEMD" ]; then
			mkdir "$place"
			mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$place"
		fi
	done
	;;
esac

# Data of daemons lies on the real file system: overlay on overlay does not work.
for name in docker containerd runnerkit; do
	mkdir -p "$root/var/lib/$name" "$HOST_DIR/data/$name"
	mount --bind "$HOST_DIR/data/$name" "$root/var/lib/$name"
done
chmod 710 "$HOST_DIR/data/docker" "$HOST_DIR/data/containerd"
if [ -n "$DISK" ]; then
	mkdir -p "$root/data"
	# The loop device goes when its last mount does.
	mount -o loop "$DISK" "$root/data"
fi

mkdir "$root/run/lab"
cp -R "$HOST_DIR/seed/." "$root/run/lab/"
cp "$LAB_SCRIPTS/seed-host.sh" "$LAB_SCRIPTS/host-init.sh" "$root/run/lab/"

cd "$root"
pivot_root . mnt
exec env -i "PATH=/usr/sbin:/usr/bin:/sbin:/bin" "SYSTEMD=$SYSTEMD" "CGROUPS=$CGROUPS" \
	chroot . /bin/sh -euc '
	umount -l /mnt
	sh /run/lab/seed-host.sh
	if [ -z "$SYSTEMD" ]; then
		export HOME=/root TERM=linux
		exec tini -- sh /run/lab/host-init.sh
	elif [ "$CGROUPS" = 2:. ]; then
		exec env -i container=lab /sbin/init
	else
		exec env -i container=lab SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 /sbin/init \
			systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1
	fi'
