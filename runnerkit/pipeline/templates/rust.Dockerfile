# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM @image@ AS base
# The official image has neither of the two.
RUN rustup component add clippy rustfmt
WORKDIR /src
@fetch@COPY . .

FROM base AS lint
# Cargo's registry is shared by all repositories; the target folder has an id of its own.
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=@name@-target,target=/src/target \
    cargo fmt --check && cargo clippy@locked@ --all-targets -- -D warnings

FROM base AS test
# Cargo compares times: without `touch`, sources taken back would get the newer build.
# Tests are compiled here, as a running container has no cache mounts, and copied out of the mount.
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=@name@-target,target=/src/target \
    find . -path ./target -prune -o -name '*.rs' -exec touch {} + && \
    { cargo test@locked@ --no-run 2>/tmp/built || { cat /tmp/built; exit 1; }; } && \
    cat /tmp/built && mkdir /tests && \
    sed -n 's/.*Executable.*(\(.*\))$/\1/p' /tmp/built | xargs -r -I{} cp {} /tests/
# Drone sets a working directory of its own.
CMD ["sh", "-ec", "cd /src; for test in /tests/*; do $test; done"]

FROM base AS build
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=@name@-target,target=/src/target \
    find . -path ./target -prune -o -name '*.rs' -exec touch {} + && \
    cargo build@locked@ --release@take@

# The same Debian release as the toolchain's: the program is linked to its C library.
FROM debian:trixie-slim
COPY --from=build /app /usr/local/bin/@binary@
USER 65534:65534
ENTRYPOINT ["@binary@"]
