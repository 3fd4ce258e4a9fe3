#!/bin/sh
# The init of a host without systemd: what is enabled starts, as sysvinit would have it.
mkdir -p /run/lock /run/sshd
# Packages start their services if they belong to the present runlevel. Debian's `runlevel` comes
# with systemd and knows none here.
printf '#!/bin/sh\necho N 2\n' >/run/lab/runlevel
chmod 755 /run/lab/runlevel
ln -sf /run/lab/runlevel /usr/sbin/runlevel
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
	# Version 2: a group that hands controllers down may have no process itself.
	mkdir -p /sys/fs/cgroup/init
	while read -r pid; do
		echo "$pid" >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null
	done </sys/fs/cgroup/cgroup.procs
	for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
		echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
	done
fi
for script in /etc/rc2.d/S*; do
	[ -x "$script" ] && "$script" start &
done
wait
exec sleep infinity
