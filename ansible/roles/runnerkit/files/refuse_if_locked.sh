#!/bin/sh
# Generated from runnerkit/change/scripts; do not edit.
# Fails while somebody changes the host, and says who. Takes no lock.
# Argument: the folder of the lock.
if [ ! -e "$1/.lock" ] || flock -n "$1/.lock" true; then exit 0; fi
printf 'somebody else is changing this host: %s\n' "$(sed -n 3p "$1/.holder" 2>/dev/null)" >&2
exit 6
