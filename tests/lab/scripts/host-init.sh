#!/bin/sh
# The init of a host without systemd: what is enabled starts, as sysvinit would have it.
mkdir -p /run/lock /run/sshd
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
