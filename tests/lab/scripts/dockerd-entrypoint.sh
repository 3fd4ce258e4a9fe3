#!/bin/sh
# Stands in for the entry point of the official docker:dind images and keeps its contract:
# a first argument of literally `dockerd` leaves the sockets to the caller; anything else that is
# an option gets the default socket and a TCP port, with TLS unless DOCKER_TLS_CERTDIR is empty.
set -eu

make_certificates() {
	dir=$1
	[ -s "$dir/server/cert.pem" ] && return
	mkdir -p "$dir/ca" "$dir/server" "$dir/client"
	openssl req -x509 -new -newkey rsa:2048 -nodes -days 825 -subj "/CN=docker:dind CA" \
		-keyout "$dir/ca/key.pem" -out "$dir/ca/cert.pem" 2>/dev/null
	names="DNS:$(hostname),DNS:docker,DNS:localhost,IP:127.0.0.1"
	for address in $(hostname -I); do
		names="$names,IP:$address"
	done
	names="$names${DOCKER_TLS_SAN:+,$DOCKER_TLS_SAN}"
	for side in server client; do
		openssl req -new -newkey rsa:2048 -nodes -subj "/CN=docker:dind $side" \
			-keyout "$dir/$side/key.pem" -out "$dir/$side/csr.pem" 2>/dev/null
		printf 'subjectAltName = %s\nextendedKeyUsage = %sAuth\n' "$names" "$side" \
			>"$dir/$side/extensions"
		openssl x509 -req -in "$dir/$side/csr.pem" -days 825 -CA "$dir/ca/cert.pem" \
			-CAkey "$dir/ca/key.pem" -CAcreateserial -extfile "$dir/$side/extensions" \
			-out "$dir/$side/cert.pem" 2>/dev/null
		cp "$dir/ca/cert.pem" "$dir/$side/ca.pem"
	done
}

case ${1:-} in
'' | -*)
	case ${DOCKER_HOST:-} in
	unix://*) socket=$DOCKER_HOST ;;
	*) socket=unix:///var/run/docker.sock ;;
	esac
	if [ -n "${DOCKER_TLS_CERTDIR:-}" ]; then
		make_certificates "$DOCKER_TLS_CERTDIR"
		server=$DOCKER_TLS_CERTDIR/server
		set -- --tlsverify --tlscacert "$server/ca.pem" --tlscert "$server/cert.pem" \
			--tlskey "$server/key.pem" "$@"
		port=2376
	else
		port=2375
	fi
	set -- dockerd "--host=$socket" "--host=tcp://0.0.0.0:$port" "$@"
	;;
esac

if [ "$1" = dockerd ]; then
	# What a killed daemon left behind; containerd's own file stays, as with the real image.
	find /run /var/run/ -iname 'docker*.pid' -delete 2>/dev/null || :

	if [ "${DOCKER_IPTABLES_LEGACY+set}" = set ]; then
		legacy=$DOCKER_IPTABLES_LEGACY
	elif iptables-legacy-save 2>/dev/null | grep -q '^-A'; then
		legacy=1
	elif iptables-nft -nL >/dev/null 2>&1; then
		legacy=
	else
		legacy=1
	fi
	if [ -n "$legacy" ]; then
		place=/usr/local/sbin/.iptables-legacy
		mkdir -p "$place"
		for name in iptables iptables-save iptables-restore \
			ip6tables ip6tables-save ip6tables-restore; do
			ln -sf "/usr/sbin/$(echo "$name" | sed 's/tables/tables-legacy/')" "$place/$name"
		done
		export PATH="$place:$PATH"
	fi
	iptables --version

	init=tini
	if command -v docker-init >/dev/null; then init=docker-init; fi
	set -- "$init" -- dind "$@"
fi
exec "$@"
