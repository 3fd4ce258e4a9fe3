#!/bin/sh
# Stands in for the entry point of docker:cli: options and docker's subcommands need no `docker`.
set -eu
if [ "${1#-}" != "${1:-}" ]; then
	set -- docker "$@"
elif ! command -v "$1" >/dev/null 2>&1 && docker help "$1" >/dev/null 2>&1; then
	set -- docker "$@"
fi
if [ -z "${DOCKER_HOST:-}" ] && [ ! -S /var/run/docker.sock ]; then
	if [ -n "${DOCKER_TLS_CERTDIR:-}" ] && [ -s "$DOCKER_TLS_CERTDIR/client/ca.pem" ]; then
		export DOCKER_HOST=tcp://docker:2376 DOCKER_TLS_VERIFY=1
		export DOCKER_CERT_PATH="$DOCKER_TLS_CERTDIR/client"
	else
		export DOCKER_HOST=tcp://docker:2375
	fi
fi
exec "$@"
