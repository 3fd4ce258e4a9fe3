# Everything runnerkit wants to know of a host, in one answer. Changes nothing.
# Arguments: the stack's directory, its data-root, its socket directory.
# Answer: lines of tab-separated fields, the first one naming the fact; the last line is "end".
stack=$1 data=$2 sockets=$3
tab=$(printf '\t')
line_end='
'

# Forking is what takes long in such a script: a field is cleaned only where it must be.
say() {
    fact=$1
    shift
    for field in "$@"; do
        case $field in
            *"$tab"* | *"$line_end"*) field=$(printf '%s' "$field" | tr '\t\n' '  ') ;;
        esac
        fact=$fact$tab$field
    done
    printf '%s\n' "$fact"
}

nearest() {
    place=$1
    while [ ! -e "$place" ]; do place=$(dirname -- "$place"); done
    printf '%s' "$place"
}

disk() {
    place=$(nearest "$2")
    # -P keeps one line per filesystem; -T is not in every df, so the type comes from /proc.
    { df -kP -- "$place" && df -iP -- "$place" && cat /proc/mounts; } 2>/dev/null |
        awk -v name="$1" -v OFS='\t' '
            NR == 2 { mount = $6; for (i = 7; i <= NF; i++) mount = mount " " $i; size = $2; free = $4 }
            NR == 4 { inodes = $2; inodes_free = $4 }
            NR > 4 && $2 == mount { kind = $3 }
            END { print "disk", name, mount, kind, size, free, inodes, inodes_free }'
}

(
    if [ -r /etc/os-release ]; then . /etc/os-release; fi
    say os_id "${ID:-}"
    say os_version "${VERSION_ID:-}"
    say os_name "${PRETTY_NAME:-}"
)
say kernel "$(uname -r)"
say arch "$(uname -m)"
say uid "$(id -u)"
if [ -d /run/systemd/system ]; then say systemd 1; fi
if command -v apt-get >/dev/null; then say apt 1; fi
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
awk '$1 == "MemTotal:" { print "memory_kib\t" $2 }
    $1 == "MemAvailable:" { print "memory_available_kib\t" $2 }
    $1 == "SwapTotal:" { print "swap_kib\t" $2 }
    $1 == "SwapFree:" { print "swap_free_kib\t" $2 }' /proc/meminfo
say clock "$(date +%s)"

device=$(awk '$2 == "00000000" && $8 == "00000000" { print $1; exit }' /proc/net/route)
if [ -n "$device" ] && read -r mtu <"/sys/class/net/$device/mtu"; then say mtu "$mtu"; fi
awk -v OFS='\t' 'NR > 1 { print "route", $2, $8 }' /proc/net/route
# systemd-resolved's stub is on loopback; the servers behind it stand in its own file.
for list in /run/systemd/resolve/resolv.conf /etc/resolv.conf; do
    [ -r "$list" ] || continue
    awk -v OFS='\t' '$1 == "nameserver" { print "nameserver", $2 }' "$list"
done

# docker starts a plugin twice, once to be told its name; in the order in which it looks for one.
compose() {
    for folder in "$HOME/.docker" /usr/local/lib/docker /usr/local/libexec/docker /usr/lib/docker \
        /usr/libexec/docker; do
        plugin=$folder/cli-plugins/docker-compose
        if [ -x "$plugin" ]; then "$plugin" "$@" && return; fi
    done
    docker compose "$@"
}
if command -v docker >/dev/null; then
    say docker_cli 1
    say compose_version "$(compose version --short 2>/dev/null)"
fi
disk root /
disk data "$data"

# What lies in the data-root, in that of the files in force, and in the one that a move left.
if [ "$(cat "$stack/data-moving" 2>/dev/null)" != "$data" ] && [ -n "$(ls -A "$data" 2>/dev/null)" ]; then
    say data_filled 1
fi
before=$(sed -n "s/^DIND_DATA=//p" "$stack/.env" 2>/dev/null | tr -d "'\"")
if [ -n "$before" ] && [ -n "$(ls -A "$before" 2>/dev/null)" ]; then say data_before "$before"; fi
kept=$(cat "$stack/data-kept" 2>/dev/null)
if [ -n "$kept" ] && [ -d "$kept" ]; then say data_kept "$kept"; fi
for place in "$data.mirror" "$data.incoming" "$data.before-import"; do
    if [ -e "$place" ]; then say data_beside "$place"; fi
done

if [ -d "$stack" ]; then
    say directory_mode "$(stat -c %a -- "$stack")"
    for name in compose.yml .env daemon.json runner.env steps.env janitor.sh manifest.json; do
        file=$stack/$name
        [ -f "$file" ] || continue
        content=-
        # Secrets are compared by digest, here and there.
        case $name in
        runner.env | steps.env) ;;
        *) content=$(base64 -w 0 <"$file") ;;
        esac
        sum=$(sha256sum <"$file")
        printf '%s\t' file "$name" "$(stat -c "%a$tab%U:%G" -- "$file")" "${sum%% *}"
        printf '%s\n' "$content"
    done
    if [ -f "$stack/janitor/report" ]; then
        while read -r key value; do say janitor "$key" "$value"; done <"$stack/janitor/report"
    fi
fi
if [ -f "$stack/journal.json" ]; then say journal "$(cat "$stack/journal.json")"; fi
lock=$(dirname -- "$sockets")
process=$(sed -n 2p "$lock/.holder" 2>/dev/null)
# Who holds the lock has it open; the record alone may be that of somebody long gone.
if [ -n "$process" ] && [ "$(readlink "/proc/$process/fd/9" 2>/dev/null)" = "$lock/.lock" ]; then
    say lock_owner "$(sed -n 3p "$lock/.holder")"
fi
if [ -f "$sockets/draining" ]; then say draining "$(cat "$sockets/draining")"; fi
echo end
