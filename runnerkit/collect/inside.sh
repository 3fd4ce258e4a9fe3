# How the world looks from inside dind and from the runner's place. Changes nothing.
# Arguments: pid and id of dind, pid of the runner (each may be empty), the data-root, the start of
# dind, a DNS question in base64; then words: dns:SERVER, open:HOST:PORT, http:HOST:PORT.
# Answer: lines as those of facts.sh. Everything runs at the same time, each within its own limit.
dind=$1 id=$2 runner=$3 data=$4 since=$5 question=$6
shift 6
tab=$(printf '\t')
line_end='
'
export LC_ALL=C

# Forking is what takes long in such a script: a field is cleaned only where it must be.
say() {
    fact=$1
    shift
    for field in "$@"; do
        case $field in
            *"$tab"* | *"$line_end"*) field=$(printf '%s' "$field" | tr '\t\n' '  ') ;;
        esac
        if [ "${#field}" -gt 600 ]; then field=$(printf '%s' "$field" | cut -c 1-600); fi
        fact=$fact$tab$field
    done
    printf '%s\n' "$fact"
}

# bash, because POSIX sh has no sockets. Names are resolved as the container does: the host's own
# resolver may be on a loopback that is not there in the container's network.
inside() {
    seconds=$1
    shift
    # shellcheck disable=SC2016
    nsenter --net="/proc/$dind/ns/net" unshare --mount bash -c '
        for name in resolv.conf hosts; do mount --bind "/proc/$1/root/etc/$name" "/etc/$name"; done
        exec timeout "$2" bash -c "${@:3}"' bash "$dind" "$seconds" "$@" 2>&1
}

ask_name() {
    # A datagram may get lost; nobody waits for ever.
    for _ in 1 2; do
        # shellcheck disable=SC2016
        reply=$(inside 2 'exec 3<>"/dev/udp/$0/53" && base64 -d <<<"$1" >&3 &&
            dd bs=4096 count=1 <&3 2>/dev/null | base64 -w 0' "$1" "$question" 2>/dev/null)
        if [ -n "$reply" ]; then break; fi
    done
    say name_answer "$1" "$reply"
}

open() {
    # shellcheck disable=SC2016
    why=$(inside 5 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2")
    code=$?
    say way "$1" "$2" "$code" "$why"
}

get() {
    # shellcheck disable=SC2016
    line=$(inside 5 'exec 3<>"/dev/tcp/$0/$1" &&
        printf "GET /v2/ HTTP/1.0\r\nHost: %s:%s\r\n\r\n" "$0" "$1" >&3 && IFS= read -r line <&3 &&
        printf "%s" "$line"' "$1" "$2")
    code=$?
    say reply "$1" "$2" "$code" "$line"
}

oom_kills() {
    say uptime "$(cut -d ' ' -f 1 /proc/uptime)"
    if log=$(dmesg 2>/dev/null); then
        say kernel_log 1
        # The group of an inner container lies below that of dind, whose name holds dind's id.
        printf '%s\n' "$log" | grep -F "$id" | grep -E 'oom-kill:|killed as a result of limit' |
            tail -n 20 | while IFS= read -r line; do
            say oom_kill "$(printf '%s' "$line" | sed -n 's/^\[ *\([0-9.]*\)\].*/\1/p')" \
                "$(printf '%s' "$line" | sed -n 's/.*task=\([^,]*\),.*/\1/p')"
        done
    fi
}

complaints() {
    if log=$(timeout 5 docker logs --since "$since" --tail 3000 "$id" 2>&1); then
        say dind_log_read 1
        # One write for each line: others write at the same time.
        printf '%s\n' "$log" | grep -E 'level=(warning|error|fatal)|panic|iptables' | tail -n 60 |
            awk '{ gsub(/\t/, " "); print "dind_log\t" substr($0, 1, 600); fflush() }'
    fi
}

if [ -n "$runner" ] && [ -r "/proc/$runner/net/tcp" ]; then
    say runner_links_read 1
    cat "/proc/$runner/net/tcp" "/proc/$runner/net/tcp6" 2>/dev/null |
        awk -v OFS='\t' '$4 ~ /^[0-9A-F][0-9A-F]$/ && $4 != "0A" { print "runner_link", $3, $4 }'
fi
if [ -n "$dind" ] && [ -d "/proc/$dind/root" ]; then
    complaints &
    oom_kills &
    say data_seen "$(stat -c %d:%i "/proc/$dind/root/var/lib/docker" 2>/dev/null)"
    say data_there "$(stat -c %d:%i "$data" 2>/dev/null)"
    for device in "/proc/$dind/root/sys/class/net"/*; do
        say device "${device##*/}" "$(cat "$device/mtu" 2>/dev/null)"
    done
    for word in "$@"; do
        kind=${word%%:*} rest=${word#*:}
        case $kind in
        dns) ask_name "$rest" & ;;
        open) open "${rest%:*}" "${rest##*:}" & ;;
        http) get "${rest%:*}" "${rest##*:}" & ;;
        esac
    done
    wait
fi
echo end
