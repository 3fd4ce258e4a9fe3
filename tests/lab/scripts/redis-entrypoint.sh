#!/bin/sh
# Stands in for the entry point of the official redis image: listens everywhere, as the user redis.
set -eu
if [ "$1" != redis-server ]; then
	exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
	chown redis:redis .
	exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi
shift
exec redis-server --bind '* -::*' --protected-mode no "$@"
