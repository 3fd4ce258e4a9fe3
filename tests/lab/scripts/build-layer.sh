#!/bin/sh
# Installs packages on top of other layers and leaves the difference in UPPER.
# Runs in its own mount and pid namespace, so nothing of it survives the builder.
#
# Environment: LOWER (overlay syntax), UPPER, WORK, MERGED, PACKAGES, DOWNLOAD, BEFORE, AFTER, CA
set -eu

options="lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK,index=off,metacopy=off,redirect_dir=off"
# volatile: nothing is synced, the result is thrown away anyway if the machine goes down.
mount -t overlay overlay -o "$options,volatile" "$MERGED" 2>/dev/null ||
	mount -t overlay overlay -o "$options" "$MERGED"
mount -t proc proc "$MERGED/proc"
mount -t sysfs -o ro sysfs "$MERGED/sys"
mount -t tmpfs tmpfs "$MERGED/run"
mount --rbind /dev "$MERGED/dev"
if [ -e "$MERGED/etc/resolv.conf" ]; then
	mount --bind /etc/resolv.conf "$MERGED/etc/resolv.conf"
fi
mkdir -p "$MERGED/run/lock"
if [ -e "$CA" ]; then
	cp "$CA" "$MERGED/run/ca.crt"
	printf 'Acquire::https::CAInfo "/run/ca.crt";\n' >"$MERGED/run/apt.conf"
else
	: >"$MERGED/run/apt.conf"
fi
# Nothing that is installed may start here.
printf '#!/bin/sh\nexit 101\n' >"$MERGED/usr/sbin/policy-rc.d"
chmod 755 "$MERGED/usr/sbin/policy-rc.d"

inside() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb \
		DEBIAN_FRONTEND=noninteractive APT_CONFIG=/run/apt.conf chroot "$MERGED" "$@"
}

if [ -n "$BEFORE" ]; then inside sh -euc "$BEFORE"; fi
if [ -n "$DOWNLOAD" ]; then
	# With what is recommended: whoever installs them later may want that.
	# shellcheck disable=SC2086
	inside apt-get install --yes --quiet --download-only $DOWNLOAD
fi
if [ -n "$PACKAGES" ]; then
	# shellcheck disable=SC2086
	inside apt-get install --yes --quiet --no-install-recommends \
		-o Dpkg::Options::=--force-confold $PACKAGES
	if [ -z "$DOWNLOAD" ]; then inside apt-get clean; fi
fi
if [ -n "$AFTER" ]; then inside sh -euc "$AFTER"; fi
rm "$MERGED/usr/sbin/policy-rc.d"
