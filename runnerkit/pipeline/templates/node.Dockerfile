# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM @image@ AS base
@prepare@WORKDIR /src
# Dependencies before sources: this layer stays until they change.
@lists@# Downloads stay in the mount; what is installed is in the layer.
RUN --mount=type=cache,id=@id@,target=@cache@ \
    @install@
COPY . .

FROM base AS lint
RUN @lint@

FROM base AS test
# Everything is installed already: a running container has no cache mounts. Drone sets a working
# directory of its own.
CMD ["sh", "-c", "cd /src && exec @test@"]

FROM base AS build
# What only lint and test need stays out of the final image.
RUN --mount=type=cache,id=@id@,target=@cache@ \
    @build@

FROM @image@
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /src /app
USER 1000:1000
CMD @run@
