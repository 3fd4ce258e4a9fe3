# Arguments: repository URL, then the packages.
set -eu
export DEBIAN_FRONTEND=noninteractive
repository=$1
shift
dpkg --configure -a
apt-get update -q
apt-get install -q -y --no-install-recommends ca-certificates curl
install -d -m 0755 /etc/apt/keyrings
curl -fsSL "$repository/gpg" -o /etc/apt/keyrings/docker.asc
codename=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
printf 'deb [arch=%s signed-by=/etc/apt/keyrings/docker.asc] %s %s stable\n' \
    "$(dpkg --print-architecture)" "$repository" "$codename" >/etc/apt/sources.list.d/docker.list
# Without --error-on a repository that cannot be used is a warning, and its packages are missing.
apt-get update -q --error-on=any \
    -o Dir::Etc::sourcelist=sources.list.d/docker.list -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0
apt-get install -q -y --no-install-recommends -- "$@"
