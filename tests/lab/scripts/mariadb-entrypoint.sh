#!/bin/sh
# Stands in for the entry point of the official mariadb image: makes the databases on the first
# start, from MARIADB_ROOT_PASSWORD and MARIADB_DATABASE, and runs as the user mysql.
set -eu
if [ "$1" != mariadbd ]; then
	exec "$@"
fi
data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$data" /run/mysqld
	chown mysql:mysql "$data" /run/mysqld
	exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi
shift
if [ ! -d "$data/mysql" ]; then
	if [ -z "${MARIADB_ROOT_PASSWORD:-}" ]; then
		echo >&2 'error: MARIADB_ROOT_PASSWORD must be set to a non-empty value'
		exit 1
	fi
	mariadb-install-db --no-defaults --datadir="$data" --skip-test-db \
		--auth-root-authentication-method=normal >/dev/null
	# Read before the first connection is accepted.
	password=$(printf %s "$MARIADB_ROOT_PASSWORD" | sed "s/[\\\\']/\\\\&/g")
	umask 077
	{
		echo "ALTER USER root@localhost IDENTIFIED BY '$password';"
		echo "CREATE USER root@'%' IDENTIFIED BY '$password';"
		echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
		[ -z "${MARIADB_DATABASE:-}" ] || echo "CREATE DATABASE \`$MARIADB_DATABASE\`;"
	} >/run/mysqld/first.sql
	set -- --init-file=/run/mysqld/first.sql "$@"
fi
exec mariadbd --no-defaults --datadir="$data" --socket=/run/mysqld/mysqld.sock \
	--bind-address='*' "$@"
