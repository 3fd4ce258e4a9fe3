# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM debian:trixie-slim AS base
# Debian's image deletes what apt has downloaded; here the mount is to keep it.
RUN rm -f /etc/apt/apt.conf.d/docker-clean
WORKDIR /src
@list@# apt locks its folders, so a second build waits; the ids keep releases apart.
RUN --mount=type=cache,id=apt-cache-trixie,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=apt-lists-trixie,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    @install@
COPY . .

FROM base AS lint
RUN @lint@

FROM base AS test
# Drone sets a working directory of its own.
CMD ["sh", "-ec", "cd /src; @test@"]

FROM base AS build
RUN @build@

FROM debian:trixie-slim
WORKDIR /app
COPY --from=build /src /app
USER 65534:65534
CMD @run@
