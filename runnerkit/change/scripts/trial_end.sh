# Removes a throw-away engine with everything in it. Arguments: container name, its folder.
docker rm --force --volumes "$1" >/dev/null 2>&1 || :
rm -rf -- "$2"
