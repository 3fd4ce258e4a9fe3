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

span() { # seconds in their largest unit
    if [ "$1" -ge 172800 ]; then echo "$(($1 / 86400)) days"
    elif [ "$1" -ge 7200 ]; then echo "$(($1 / 3600)) hours"
    else echo "$(($1 / 60)) minutes"; fi
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

# --- how many stages run -------------------------------------------------------------------------

# Counts them now; $state/stages keeps, of seven days, lines "day how-many how-often-seen", so that
# `runnerkit tune` knows what the capacity is used for.
count_stages() {
    engine network ls -q --filter label=io.drone=true 2>/dev/null | wc -l >>"$work/stages"
}

keep_stage_counts() {
    touch "$state/stages"
    {
        awk -v first="$((now / 86400 - 6))" '$1 >= first' "$state/stages"
        awk -v day="$((now / 86400))" '{ print day, $1, 1 }' "$work/stages"
    } | awk '{ n[$1 " " $2] += $3 } END { for (key in n) print key, n[key] }' >"$state/stages.new" &&
        mv "$state/stages.new" "$state/stages" && : >"$work/stages"
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
# Writes to $work/held what has to wait until no stage runs.
list_images() {
    engine ps -aq --no-trunc | xargs -r docker inspect --format '{{.Image}}' >"$work/in-use" \
        2>"$work/vanished" # between the list and the look
    engine image ls -q --no-trunc | sort -u | xargs -r docker image inspect --format \
        '{{.Id}}|{{json .Created}}|{{json .Metadata.LastTagTime}}|{{.Size}}|{{range .RepoTags}}{{.}} {{end}}|{{range .RepoDigests}}{{.}} {{end}}|{{.Parent}}' \
        >"$work/inspected" 2>"$work/vanished"
    list_records
    touch "$work/events"
    : >"$work/held"
    awk -F'|' -v now="$now" -v oldest="$stage_began" -v kept="$keep_images" \
        -v containerd="$containerd" -v in_use="$work/in-use" -v events="$work/events" \
        -v records="$work/records" -v table="$used" -v new_table="$work/use" -v held="$work/held" \
        "$unix_time"'
        function later(key, time) { if (!(key in last) || last[key] < time) last[key] = time }
        BEGIN {
            while ((getline line < in_use) > 0) { busy[line] = 1; later(line, now) }
            while ((getline line < table) > 0) { split(line, f, " "); later(f[1], f[2] + 0) }
            while ((getline line < events) > 0) { split(line, f, " "); later(familiar(f[2]), f[1] + 0) }
            while ((getline line < records) > 0) {
                split(line, f, " ")
                if (unix(f[2]) > built_at[f[1]]) built_at[f[1]] = unix(f[2])
            }
            count = split(kept, f, " ")
            for (i = 1; i <= count; i++) keep[familiar(f[i])] = 1
        }
        {
            # What was pulled has a digest of its registry and was never tagged. The containerd image
            # store gives both to everything, so there nothing counts as built here.
            tagged = unix($3)
            built = !containerd && (tagged > 0 || $6 == "")
            # Engine 20.10 notes no time of tagging, and a build without a name has none. But an image
            # is created when its last layer was, to the nanosecond, and that record of the cache
            # knows when a build last used it. Images of the classic builder have a parent, no record.
            created = $2; gsub(/"/, "", created)
            if (!tagged) tagged = (created in built_at) ? built_at[created] : unix($2)
            unsure = built && unix($3) == 0 && $7 != ""

            stays = ($1 in busy)
            count = split($5 $6, refs, " ")
            for (i = 1; i <= count; i++) {
                ref = familiar(refs[i])
                if (ref in keep) stays = 1
                if (ref in last) later($1, last[ref])
            }
            # A pulled image that nobody was seen to use counts from when it was first seen here.
            if (!($1 in last)) later($1, built ? tagged : now)
            printf "%s %.0f\n", $1, last[$1] > new_table
            time = built && tagged > last[$1] ? tagged : last[$1]
            if (oldest && time >= oldest) stays = 1
            if (stays) next
            if (oldest && unsure) { print $1 > held; next }
            printf "%s|%.0f|%s|%s|%s|%s\n", built ? "built" : "pulled", time, $1, $4, $3, \
                $5 != "" ? $5 : $6 != "" ? $6 : $1
        }' "$work/inspected" | sort -t'|' -k2n >"$work/images"
    if [ -f "$work/use" ]; then
        cp "$work/use" "$used.new" && mv "$used.new" "$used" && rm -f "$work/use" && : >"$work/events"
    fi
}

# Arguments: class, and how old at least (seconds), or "pressed" for as many as needed.
remove_images() {
    gone=0
    echo none >"$work/refused"
    while [ "$2" != pressed ] || pressed; do
        # Anew for each: a stage that began a moment ago may have built one again.
        now=$(date +%s)
        find_stages
        list_images
        oldest_image=$(grep "^$1|" "$work/images" | grep -v -F -f "$work/refused" | head -n 1)
        IFS='|' read -r class time id size tagged refs <<END
$oldest_image
END
        if [ -z "$oldest_image" ]; then break; fi
        if [ "$2" != pressed ] && [ "$time" -gt $((now - $2)) ]; then break; fi
        echo "$id" >>"$work/refused"
        if [ "$(engine image inspect --format '{{json .Metadata.LastTagTime}}' "$id" 2>&1)" != "$tagged" ]; then
            continue
        fi
        removed=
        for ref in $refs; do
            # Without force: the engine refuses what a container uses.
            if engine image rm "$ref" >/dev/null 2>&1; then removed=1; fi
        done
        if [ -z "$removed" ]; then continue; fi
        say "removed image ${refs% }: $class, $(human "$size"), unused for $(span $((now - time)))"
        gone=$((gone + 1))
        # The layers of what was built here are in the build cache too; with the image goes as much
        # of what only the cache still holds, or removing it would free nothing.
        if [ "$class-$2" = built-pressed ] && pressed; then
            keep=$(($(cache_bytes) - (lack > 0 && lack < size ? lack : size)))
            prune regular $((keep > 0 ? keep : 1))
        fi
    done
    if [ "$gone" -gt 0 ]; then did "$gone $1 images"; fi
}

# --- the build cache -----------------------------------------------------------------------------

# Writes $work/records: "created last-used shared size type id in-use" of each record of the build
# cache. The CLI rounds all of this, so the API is asked, through the CLI's own way to it.
list_records() {
    if [ -f "$work/records" ]; then mv "$work/records" "$work/records.before"; fi
    # Open for reading too, the pipe has no end: the daemon would take that for our going away.
    exec 3<>"$work/request"
    printf 'GET %s HTTP/1.0\r\nHost: docker\r\n\r\n' "$usage_path" >&3
    engine system dial-stdio <&3 | awk '{ gsub(/\{"ID":/, "\n&"); print }' | awk '
        function value(name) {
            if (!match($0, "\"" name "\":\"?[^\",}]*")) return "-"
            text = substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
            sub(/^"/, "", text)
            return text == "" || text == "null" ? "-" : text
        }
        /^\{"ID":/ && /"UsageCount":/ {
            print value("CreatedAt"), value("LastUsedAt"), value("Shared"), value("Size"), value("Type"), \
                value("ID"), value("InUse")
        }' >"$work/records"
    exec 3>&-
    note_evictions
}

# Compares the list of records with the one before: what is gone was taken by GC, or by this janitor
# where it pruned in between. What was in use then cannot have been: a running step has a record that
# becomes another one when it ends. $state/evictions keeps, of seven days, lines "day by-whom type how-many
# bytes seconds", the last being the shortest time for which one of them was unused, so that
# `runnerkit tune` knows whether the cache is too small.
note_evictions() {
    listed=$(date +%s) before=$listed_before by=${pruning:-gc}
    listed_before=$listed pruning=
    # Nothing at all may as well be a daemon that did not answer.
    if [ -z "$before" ] || [ ! -s "$work/records" ]; then return; fi
    awk -v now="$listed" "$unix_time"'
        NR == FNR { here[$6] = 1; next }
        !($6 in here) && $3 == "false" && $7 != "true" {
            used = unix($2)
            if (!used) used = unix($1)
            unused = now > used ? now - used : 0
            n[$5]++
            bytes[$5] += $4
            if (!($5 in least) || unused < least[$5]) least[$5] = unused
        }
        END { for (type in n) printf "%s %d %.0f %d\n", type, n[type], bytes[type], least[type] }
    ' "$work/records" "$work/records.before" >"$work/gone"
    if [ ! -s "$work/gone" ]; then return; fi
    # Who prunes through the API leaves an event; GC leaves none.
    if [ "$by" = gc ] && [ -n "$(engine events --since "$before" --until "$((listed + 1))" \
        --filter type=builder --filter event=prune --format '{{.Action}}')" ]; then
        return
    fi
    {
        awk -v first="$((listed / 86400 - 6))" '$1 >= first' "$state/evictions"
        awk -v day="$((listed / 86400))" -v by="$by" '{ print day, by, $0 }' "$work/gone"
    } | awk '{
        key = $1 " " $2 " " $3
        n[key] += $4
        bytes[key] += $5
        if (!(key in least) || $6 < least[key]) least[key] = $6
    } END { for (key in n) printf "%s %d %.0f %d\n", key, n[key], bytes[key], least[key] }' \
        >"$state/evictions.new" && mv "$state/evictions.new" "$state/evictions"
}

# Bytes of the build cache as its GC counts them: without what images hold.
cache_bytes() {
    list_records
    awk '$3 == "false" { sum += $4 } END { printf "%.0f", sum }' "$work/records"
}

# Arguments: record type, bytes to keep of the whole cache (0: none). Least recently used go first.
# BuildKit itself never removes a record that a running build holds; the age also keeps those that a
# running stage may come back to.
prune() {
    measure
    before=$disk_free
    type=$1 age=$((now - stage_or_now + 2))
    if [ "$2" -gt 0 ]; then set -- "$keep_flag" "$2"; else set --; fi
    pruning=janitor
    said=$(engine builder prune --force --filter "type=$type" --filter "unused-for=${age}s" "$@" 2>&1) ||
        say "pruning $type failed: $said"
    measure
    pruned=$((disk_free - before))
    # Less than this is the noise of a disk in use.
    if [ "$pruned" -gt 65536 ]; then
        say "pruned $(human "$pruned") of the build cache: $type"
        case $type in exec.cachemount) did "cache mounts" ;; *) did layers ;; esac
    fi
}

# Arguments: record types. A little at a time: the engine keeps the most recently used records up to
# a size, and that size is lowered until the pressure is gone.
prune_cache() {
    for type in "$@"; do
        pressed || return
        keep=$(cache_bytes)
        step=$((lack > 0 ? lack : keep / 8 + 1))
        while pressed && [ "$keep" -gt 0 ]; do
            keep=$((keep > step ? keep - step : 0)) step=$((step * 2))
            prune "$type" "$keep"
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
    if [ -z "$still_short" ]; then say "the disk is short: $(lacking)"; fi
    remove_images built pressed
    if pressed; then remove_images pulled pressed; fi
    prune_cache source.local source.git.checkout regular
    if pressed && [ -s "$work/held" ]; then
        why="$(wc -l <"$work/held") images go next, before cache mounts, once no stage runs"
    else
        prune_cache exec.cachemount
        why="what is left is in use or was used by a running stage"
    fi
    if ! pressed; then
        say "enough is free again: $(human "$disk_free")"
        still_short=
    elif [ "$still_short" != "$why" ]; then
        say "still short: $(lacking); $why"
        still_short=$why
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
    keep_stage_counts
    remove_leftovers
    remove_images built "$keep_built"
    if [ "$min_free" -ge "$disk_total" ]; then
        say "cache.min_free is more than the whole disk; it is not enforced"
    elif pressed; then
        free_some
    else
        still_short=
    fi
    report
}

# Writes what `runnerkit status` shows, lines "key value", and for `runnerkit tune` the bytes of the
# build cache, lines "type bytes".
report() {
    if [ -n "$pruning" ]; then list_records; fi
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
    awk 'BEGIN { n["regular"] = 0 } $3 == "false" { n[$5] += $4 } END {
        for (type in n) printf "%s %.0f\n", type, n[type]
    }' "$work/records" >"$state/cache.new" && mv "$state/cache.new" "$state/cache"
}

trap 'exit 0' TERM INT
if engine builder prune --help 2>&1 | grep -q -e --reserved-space; then
    keep_flag=--reserved-space
else
    keep_flag=--keep-storage
fi
# API 1.42 and later can tell of the build cache alone. Engines 25 and 26 do so in no older API than
# their own (they drop the connection), and from 1.52 on the answer has another shape.
api=$(engine version --format '{{.Server.APIVersion}}' 2>/dev/null)
case $api in
    1.[0-9] | 1.[123]? | 1.4[01]) usage_path=/v1.41/system/df ;;
    1.4? | 1.5[01]) usage_path=/v$api/system/df?type=build-cache ;;
    *) usage_path=/v1.51/system/df?type=build-cache ;;
esac
containerd=$(engine info --format '{{json .DriverStatus}}' 2>/dev/null | grep -c io.containerd.snapshotter)
if [ ! -p "$work/request" ]; then mkfifo "$work/request"; fi
last=$(grep ^freed_ "$state/report" 2>/dev/null)
seen=$(date +%s) next_sweep=0 next_help=0 still_short= pruning= listed_before=
touch "$state/evictions"
say "keeping $(human "$min_free") free, images built here for $((keep_built / 3600)) h"
while :; do
    note_use
    count_stages
    now=$(date +%s)
    if [ "$now" -ge "$next_sweep" ] || { pressed && [ "$now" -ge "$next_help" ]; }; then
        sweep
        next_sweep=$(($(date +%s) + sweep_every)) next_help=0
        # Where nothing can go, trying again at once would only keep the disk busy.
        if [ -z "$done" ] && pressed; then next_help=$(($(date +%s) + 30)); fi
    fi
    touch "$work/alive"
    # In the background, so that a signal ends the wait.
    sleep "$look_every" &
    wait $!
done
