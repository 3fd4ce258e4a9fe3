# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM @image@ AS base
# No C compiler is asked for, and the final image needs no C library.
ENV CGO_ENABLED=0
WORKDIR /src
# Dependencies before sources: this layer stays until they change.
@lists@
# Modules stay in the mount; it is in no layer, so each command that needs them mounts it again.
RUN --mount=type=cache,id=go-mod,target=/go/pkg/mod \
    go mod download
COPY . .

FROM base AS lint
# Compiled packages stay in go-build, which lint, test and build share.
RUN --mount=type=cache,id=go-mod,target=/go/pkg/mod \
    --mount=type=cache,id=go-build,target=/root/.cache/go-build \
    test -z "$(gofmt -l . | tee /dev/stderr)" && go vet ./...

FROM base AS test
# Tests are compiled here: a running container has no cache mounts.
RUN --mount=type=cache,id=go-mod,target=/go/pkg/mod \
    --mount=type=cache,id=go-build,target=/root/.cache/go-build \
    dirs=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...) && \
    for dir in $dirs; do go test -c -o "$dir/ci.test" "$dir" || exit 1; done
# Each one runs in its package's folder, as with `go test`; Drone sets a working directory of its own.
CMD ["sh", "-ec", "for test in $(find /src -name ci.test); do cd \"${test%/*}\"; ./ci.test -test.v; done"]

FROM base AS build
# No -trimpath: with other flags than the tests' every package would be compiled a second time.
RUN --mount=type=cache,id=go-mod,target=/go/pkg/mod \
    --mount=type=cache,id=go-build,target=/root/.cache/go-build \
    @build@

# Nothing but the program and the certificates that TLS needs.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /app /app
USER 65534:65534
ENTRYPOINT ["/app"]
