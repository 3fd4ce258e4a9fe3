#!/bin/sh
# Keeps the data of one runner's Docker daemon (dind) from filling its disk.
#
# It removes what Drone left behind (containers, volumes and networks whose io.drone.expires has
# passed) and images built here that were neither built, tagged nor run for as long as
# images.keep_built says. When the disk has fewer bytes or inodes free than cache.min_free it frees
# some, in this order, and stops as soon as there are enough:
#   images built here, pulled images, layers of the build cache, cache mounts;
# each time what was not used for the longest time first.
#
# It never forces anything but what has expired: what a container uses stays, and so does whatever
# was used since the oldest running stage began.
#
# POSIX sh, for every image that has a docker CLI, df and awk (busybox, mawk, gawk).
# Settings, from compose.yml: JANITOR_KEEP_BUILT (seconds), JANITOR_MIN_FREE (bytes),
# JANITOR_KEEP_IMAGES (references that always stay, separated by spaces).
set -u
export LC_ALL=C

keep_built=${JANITOR_KEEP_BUILT:?seconds}
min_free=${JANITOR_MIN_FREE:?bytes}
keep_images=${JANITOR_KEEP_IMAGES:-}
data=${JANITOR_DATA:-/var/lib/docker}  # dind's data-root, read-only: only its df is looked at
state=${JANITOR_STATE:-/var/lib/janitor}
work=${JANITOR_WORK:-/tmp/janitor}
look_every=${JANITOR_LOOK_EVERY:-10}    # seconds between two looks at the disk
sweep_every=${JANITOR_SWEEP_EVERY:-300} # seconds between two looks at everything
engine_seconds=600                      # longest that one call to the engine may take

mkdir -p "$work"
used=$state/image-use # lines "image-id unix-time": when each image was last seen in use
touch "$used"

say() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }

engine() { timeout "$engine_seconds" docker "$@"; }

human() {
    awk -v n="$1" 'BEGIN {
        split("B KiB MiB GiB TiB PiB", unit, " ")
        for (i = 1; n >= 1024 && i < 6; i++) n /= 1024
        printf(i == 1 ? "%d %s" : "%.1f %s", n, unit[i])
    }'
}

# --- the disk ------------------------------------------------------------------------------------

# Sets disk_free and lack (bytes), inode_lack; lack counts what is missing below min_free.
# Inodes get the same share of the disk as bytes. A filesystem without a count of them has 0.
measure() {
    set -- $(df -Pk "$data" | awk 'END { print $(NF - 4), $(NF - 2) }') \
        $(df -Pi "$data" | awk 'END { print $(NF - 4), $(NF - 2) }')
    disk_total=$(($1 * 1024)) disk_free=$(($2 * 1024)) lack=0 inode_lack=0
    if [ "$disk_free" -lt "$min_free" ]; then lack=$((min_free - disk_free)); fi
    case $3$4 in *[!0-9]*) return ;; esac
    floor=$(awk -v all="$3" -v want="$min_free" -v disk="$disk_total" \
        'BEGIN { printf "%.0f", all * want / disk }')
    if [ "$4" -lt "$floor" ]; then inode_lack=$((floor - $4)); fi
}

pressed() {
    measure
    [ "$lack" -gt 0 ] || [ "$inode_lack" -gt 0 ]
}

lacking() {
    if [ "$lack" -gt 0 ]; then
        printf '%s free, %s wanted' "$(human "$disk_free")" "$(human "$min_free")"
    else
        printf '%s inodes too few' "$inode_lack"
    fi
}

# --- what Drone left behind ----------------------------------------------------------------------

# Prints the names in lines "expires|protected|name" whose time has passed.
expired() { awk -F'|' -v now="$now" '$1 ~ /^[0-9]+$/ && $1 < now && $2 != "true" { print $3 }'; }

labels='{{.Label "io.drone.expires"}}|{{.Label "io.drone.protected"}}|'

remove_leftovers() {
    left=0
    engine ps -a --no-trunc --filter label=io.drone=true --format "$labels{{.ID}}" |
        expired >"$work/containers"
    # The runner ends a stage at its timeout; what expired an hour later belongs to no build.
    remove_each container "rm --force --volumes" "$work/containers"
    engine volume ls --filter label=io.drone=true --format "$labels{{.Name}}" |
        expired >"$work/volumes"
    remove_each volume "volume rm" "$work/volumes"
    engine network ls --no-trunc --filter label=io.drone=true --format "$labels{{.ID}}" |
        expired >"$work/networks"
    remove_each network "network rm" "$work/networks"
    if [ "$left" -gt 0 ]; then did "$left leftovers"; fi
}

remove_each() {
    while read -r name; do
        # $2 is a docker command of ours: its words are meant to be split.
        if said=$(engine $2 "$name" 2>&1); then
            say "removed expired $1 $name"
            left=$((left + 1))
        else
            say "could not remove expired $1 $name: $said"
        fi
    done <"$3"
}

# --- images --------------------------------------------------------------------------------------

# Unix time of RFC 3339 text, as an awk function; 0 for Go's zero time.
unix_time='function unix(text,   p, y, m, d, days, t) {
    gsub(/"/, "", text)
    if (text !~ /^[0-9][0-9][0-9][0-9]-/ || text ~ /^0001/) return 0
    y = substr(text, 1, 4) + 0; m = substr(text, 6, 2) + 0; d = substr(text, 9, 2) + 0
    if (m <= 2) { y--; m += 12 }
    days = 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * (m - 3) + 2) / 5) + d - 719469
    t = days * 86400 + substr(text, 12, 2) * 3600 + substr(text, 15, 2) * 60 + substr(text, 18, 2)
    if (match(text, /[+-][0-9][0-9]:[0-9][0-9]$/)) {
        p = (substr(text, RSTART + 1, 2) * 60 + substr(text, RSTART + 4, 2)) * 60
        t += substr(text, RSTART, 1) == "+" ? -p : p
    }
    return t
}
function familiar(ref) {
    sub(/^(index\.)?docker\.io\//, "", ref); sub(/^library\//, "", ref)
    if (ref !~ /@/ && ref !~ /:[^\/]*$/) ref = ref ":latest"
    return ref
}'

# Notes which images containers were made from since the last look: the engine keeps no such time.
# Its buffer of 256 events is more than containers make in between two looks.
note_use() {
    until=$(date +%s)
    engine events --since "$seen" --until "$until" --filter type=container --filter event=create \
        --format '{{.Time}} {{.Actor.Attributes.image}}' >>"$work/events" 2>/dev/null &&
        seen=$until
}

# Writes $work/images: "class|last-used|id|size|tagged|references", oldest first. The class is
# built or pulled; what is in use, kept on purpose or younger than the oldest stage is left out.
list_images() {
    engine ps -aq --no-trunc | xargs -r docker inspect --format '{{.Image}}' >"$work/in-use"
    engine image ls -q --no-trunc | sort -u | xargs -r docker image inspect --format \
        '{{.Id}}|{{json .Created}}|{{json .Metadata.LastTagTime}}|{{.Size}}|{{range .RepoTags}}{{.}} {{end}}|{{range .RepoDigests}}{{.}} {{end}}' \
        >"$work/inspected"
    touch "$work/events"
    # What was pulled has a digest of its registry and was never tagged. The containerd image store
    # gives both to everything, so there nothing counts as built here.
    containerd=$(engine info --format '{{json .DriverStatus}}' | grep -c io.containerd.snapshotter)
    awk -F'|' -v now="$now" -v oldest="$stage_began" -v kept="$keep_images" -v containerd="$containerd" \
        -v in_use="$work/in-use" -v events="$work/events" -v table="$used" -v new_table="$work/use" \
        "$unix_time"'
        function later(key, time) { if (!(key in last) || last[key] < time) last[key] = time }
        BEGIN {
            while ((getline line < in_use) > 0) { busy[line] = 1; later(line, now) }
            while ((getline line < table) > 0) { split(line, f, " "); later(f[1], f[2] + 0) }
            while ((getline line < events) > 0) { split(line, f, " "); later(familiar(f[2]), f[1] + 0) }
            count = split(kept, f, " ")
            for (i = 1; i <= count; i++) keep[familiar(f[i])] = 1
        }
        {
            tagged = unix($3); built = !containerd && (tagged > 0 || $6 == "")
            stays = ($1 in busy)
            count = split($5 $6, refs, " ")
            for (i = 1; i <= count; i++) {
                ref = familiar(refs[i])
                if (ref in keep) stays = 1
                if (ref in last) later($1, last[ref])
            }
            # An image that nobody was seen to use counts from when it was first seen here.
            if (!($1 in last)) later($1, built ? (tagged ? tagged : unix($2)) : now)
            time = last[$1]
            printf "%s %.0f\n", $1, time > new_table
            if (tagged > time) time = tagged
            # A build without a name, or of engine 20.10, leaves no time: it may be a running stage'"'"'s.
            if (oldest && (time >= oldest || built && !tagged)) stays = 1
            if (stays) next
            printf "%s|%.0f|%s|%s|%s|%s\n", built ? "built" : "pulled", time, $1, $4, $3, \
                $5 != "" ? $5 : $6 != "" ? $6 : $1
        }' "$work/inspected" | sort -t'|' -k2n >"$work/images"
    if [ -f "$work/use" ]; then
        cp "$work/use" "$used.new" && mv "$used.new" "$used" && rm -f "$work/use" && : >"$work/events"
    fi
}

# Arguments: class, and how old at least (seconds), or "pressed" for as many as needed.
remove_images() {
    list_images
    gone=0
    while IFS='|' read -r class time id size tagged refs; do
        if [ "$class" != "$1" ]; then continue; fi
        if [ "$2" = pressed ]; then
            pressed || break
        elif [ "$time" -gt $((now - $2)) ]; then
            break
        fi
        # A stage that began a moment ago may have built it again.
        if [ "$(engine image inspect --format '{{json .Metadata.LastTagTime}}' "$id" 2>/dev/null)" != "$tagged" ]; then
            continue
        fi
        removed=
        for ref in $refs; do
            # Without force: the engine refuses what a container uses.
            if engine image rm "$ref" >/dev/null 2>&1; then removed=1; fi
        done
        if [ -n "$removed" ]; then
            say "removed image ${refs% }: $class, $(human "$size"), unused for $(((now - time) / 3600)) h"
            gone=$((gone + 1))
        fi
    done <"$work/images"
    if [ "$gone" -gt 0 ]; then did "$gone $1 images"; fi
}

# --- the build cache -----------------------------------------------------------------------------

# Bytes of the build cache, from "1.234GB" (decimal, four digits); a little more rather than less.
cache_bytes() {
    engine system df --format '{{.Type}}|{{.Size}}' | awk -F'|' '$1 == "Build Cache" {
        n = $2 + 0
        unit = substr($2, match($2, /[A-Za-z]/), 1)
        power = index("kMGTP", unit)
        printf "%.0f", n * 1000 ^ power * 1.001
    }'
}

# Arguments: a name for the log, then record types. Prunes a little at a time: the engine keeps the
# most recently used records up to a size, and that size is lowered until the pressure is gone.
prune_cache() {
    what=$1
    shift
    pressed || return
    for type in "$@"; do
        keep=$(cache_bytes)
        keep=${keep:-0}
        step=$((inode_lack > 0 ? keep / 8 + 1 : lack))
        while pressed; do
            keep=$((keep - step)) step=$((step * 2))
            if [ "$keep" -gt 0 ]; then
                set -- "$keep_flag" "$keep"
            else
                set --
            fi
            before=$disk_free
            # BuildKit itself never removes a record that a running build holds; the age also keeps
            # those that a running stage is about to come back to.
            said=$(engine builder prune --force --filter "type=$type" \
                --filter "unused-for=$((now - stage_or_now + 60))s" "$@" 2>&1) ||
                say "pruning $type failed: $said"
            measure
            if [ "$disk_free" -gt "$before" ]; then
                say "pruned $what: $(human $((disk_free - before))) of $type"
                did "$what"
            fi
            if [ "$keep" -le 0 ]; then break; fi
        done
    done
}

# --- a sweep -------------------------------------------------------------------------------------

did() {
    case ", $done," in *", $1,"*) ;; *) done=${done:+$done, }$1 ;; esac
}

# Sets stage_began: when the oldest stage that may still run began, empty when there is none.
# Each stage has a network from its beginning to its end.
find_stages() {
    stage_began=$({
        engine network ls --filter label=io.drone=true --format "$labels"'{{.Label "io.drone.created"}}'
        engine ps -a --filter label=io.drone=true --format "$labels"'{{.Label "io.drone.created"}}'
    } | awk -F'|' -v now="$now" \
        '$1 >= now && $3 ~ /^[0-9]+$/ && (!began || $3 < began) { began = $3 } END { print began }')
    stage_or_now=${stage_began:-$now}
}

free_some() {
    say "the disk is short: $(lacking)"
    remove_images built pressed
    if pressed; then remove_images pulled pressed; fi
    prune_cache layers source.local source.git.checkout regular
    prune_cache "cache mounts" exec.cachemount
    if pressed; then
        say "still short: $(lacking); what is left is in use or was used by a running stage"
    else
        say "enough is free again: $(human "$disk_free")"
    fi
}

sweep() {
    now=$(date +%s) done=
    measure
    free_before=$disk_free
    if ! engine version --format '{{.Server.Version}}' >/dev/null 2>&1; then
        say "the daemon does not answer"
        return
    fi
    find_stages
    remove_leftovers
    remove_images built "$keep_built"
    if [ "$min_free" -ge "$disk_total" ]; then
        say "cache.min_free is more than the whole disk; it is not enforced"
    elif pressed; then
        free_some
    fi
    report
}

# Writes what `runnerkit status` shows: lines "key value".
report() {
    measure
    freed=$((disk_free > free_before ? disk_free - free_before : 0))
    if [ -n "$done" ]; then
        last="freed_at $now
freed_bytes $freed
freed_what $done"
        say "done: $done; $(human "$freed") freed, $(human "$disk_free") free"
    fi
    {
        printf 'swept_at %s\nlack_bytes %s\nlack_inodes %s\n' "$now" "$lack" "$inode_lack"
        if [ -n "$last" ]; then printf '%s\n' "$last"; fi
    } >"$state/report.new" && mv "$state/report.new" "$state/report"
}

trap 'exit 0' TERM INT
if engine builder prune --help 2>&1 | grep -q -e --reserved-space; then
    keep_flag=--reserved-space
else
    keep_flag=--keep-storage
fi
last=$(grep ^freed_ "$state/report" 2>/dev/null)
seen=$(date +%s) next_sweep=0 next_help=0
say "keeping $(human "$min_free") free, images built here for $((keep_built / 3600)) h"
while :; do
    note_use
    now=$(date +%s)
    if [ "$now" -ge "$next_sweep" ] || { pressed && [ "$now" -ge "$next_help" ]; }; then
        sweep
        next_sweep=$(($(date +%s) + sweep_every)) next_help=0
        # Where nothing more could go, trying again at once would only keep the disk busy.
        if pressed; then next_help=$(($(date +%s) + 60)); fi
    fi
    touch "$work/alive"
    # In the background, so that a signal ends the wait.
    sleep "$look_every" &
    wait $!
done
