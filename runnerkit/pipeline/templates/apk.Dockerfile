# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM alpine:3.22 AS base
# With this link apk keeps the packages that it downloads.
RUN ln -s /var/cache/apk /etc/apk/cache
WORKDIR /src
@list@# apk locks its database, so a second build waits; the id keeps releases apart.
RUN --mount=type=cache,id=apk-3.22,target=/var/cache/apk,sharing=locked \
    @install@
COPY . .

FROM base AS lint
RUN @lint@

FROM base AS test
# Drone sets a working directory of its own.
CMD ["sh", "-ec", "cd /src; @test@"]

FROM base AS build
RUN @build@

FROM alpine:3.22
WORKDIR /app
COPY --from=build /src /app
USER 65534:65534
CMD @run@
