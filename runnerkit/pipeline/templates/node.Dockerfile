# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM @image@ AS base
@prepare@WORKDIR /src
# Dependencies before sources: this layer stays until they change.
COPY @lists@ ./
# Downloads stay in the mount; node_modules is in the layer.
RUN --mount=type=cache,id=@manager@,target=@cache@ \
    @install@
COPY . .

FROM base AS lint
RUN @lint@

FROM base AS test
# Everything is installed already: a running container has no cache mounts. Drone sets a working
# directory of its own.
CMD ["sh", "-c", "cd /src && exec @test@"]

FROM base AS build
RUN @build@

FROM @image@
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /src /app
USER 1000:1000
CMD @run@
