# Arguments: as for build. Answers with milliseconds.
began=$(milliseconds)
build "$@"
echo "$(($(milliseconds) - began))"
