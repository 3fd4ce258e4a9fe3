# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM @image@ AS base
# A virtual environment is one folder, which the final image takes over.
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /src
# Dependencies before sources: this layer stays until they change.
@lists@
# Downloads and built wheels stay in the mount, so no --no-cache-dir.
RUN --mount=type=cache,id=pip,target=/root/.cache/pip \
    @install@

FROM base AS dev
@dev@COPY . .

FROM dev AS lint
RUN @lint@

FROM dev AS test
# Everything is installed already: a running container has no cache mounts. Drone sets a working
# directory of its own.
CMD ["sh", "-c", "cd /src && exec @test@"]

FROM base AS build
COPY . .
RUN python -m compileall -q .

FROM @image@
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /src
COPY --from=build /venv /venv
COPY --from=build /src /src
USER 65534:65534
CMD @run@
