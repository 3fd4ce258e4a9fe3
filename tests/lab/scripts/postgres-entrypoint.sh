#!/bin/sh
# Stands in for the entry point of the official postgres image: makes the cluster on the first
# start, from POSTGRES_PASSWORD, POSTGRES_USER and POSTGRES_DB, and runs as the user postgres.
set -eu
if [ "$1" != postgres ]; then
	exec "$@"
fi
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /run/postgresql
	chown postgres:postgres "$PGDATA" /run/postgresql
	chmod 700 "$PGDATA"
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	method=scram-sha-256
	if [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ]; then
		method=trust
	elif [ -z "${POSTGRES_PASSWORD:-}" ]; then
		echo >&2 'error: POSTGRES_PASSWORD must be set to a non-empty value'
		exit 1
	fi
	umask 077
	password=$(mktemp)
	printf '%s\n' "${POSTGRES_PASSWORD:-trust}" >"$password"
	initdb --username="$POSTGRES_USER" --pwfile="$password" --auth-host="$method" \
		--auth-local=trust --no-sync -D "$PGDATA" >/dev/null
	rm "$password"
	echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
	if [ "$POSTGRES_DB" != postgres ]; then
		echo "CREATE DATABASE \"$POSTGRES_DB\";" | postgres --single -D "$PGDATA" postgres >/dev/null
	fi
fi
exec "$@" -c listen_addresses='*'
