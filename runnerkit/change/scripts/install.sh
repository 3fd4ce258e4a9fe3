# Arguments: packages.
set -eu
export DEBIAN_FRONTEND=noninteractive
# What a power cut left half unpacked is finished first; with nothing to finish this does nothing.
dpkg --configure -a
apt-get update -q
apt-get install -q -y --no-install-recommends -- "$@"
