#!/bin/sh
# Inside the host, before its init: what differs from host to host and from machine to machine.
# /run/lab holds the files. The host's own later changes to anything but these are kept.
set -eu
cd /run/lab

hostname >/etc/hostname
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\t%s\n' "$(hostname)" >/etc/hosts
cat resolv.conf >/etc/resolv.conf
[ -e /etc/lab-seeded ] && exit 0

cat machine-id >/etc/machine-id.new
mv -f /etc/machine-id.new /etc/machine-id
install -m 600 ssh_host_ed25519_key /etc/ssh/
install -m 644 ssh_host_ed25519_key.pub /etc/ssh/
for user in root ops guard plain; do
	home=$(getent passwd "$user" | cut -d: -f6)
	install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
	install -m 600 -o "$user" -g "$user" authorized_keys "$home/.ssh/authorized_keys"
done
mkdir -p /etc/docker
install -m 644 daemon.json /etc/docker/daemon.json
# Certificates that this machine trusts beyond Debian's.
if [ -e ca-certificates.crt ]; then
	install -m 644 ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
	cp -R local-ca/. /usr/local/share/ca-certificates/
fi
touch /etc/lab-seeded
