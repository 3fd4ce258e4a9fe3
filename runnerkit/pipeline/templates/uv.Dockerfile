# How @name@ is linted, tested and built: `docker build --target=lint|test|build .`

FROM @image@ AS base
# From PyPI: so every image here is one of Docker Hub, which a registry mirror holds.
RUN --mount=type=cache,id=pip,target=/root/.cache/pip \
    pip install uv
# A mount is another file system, where uv cannot make hard links from; one folder for everything.
ENV UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/venv PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /src
# Dependencies before sources: this layer stays until they change.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,id=uv,target=/root/.cache/uv \
    uv sync --locked --no-install-project --no-dev

FROM base AS dev
RUN --mount=type=cache,id=uv,target=/root/.cache/uv \
    uv sync --locked --no-install-project
COPY . .
RUN --mount=type=cache,id=uv,target=/root/.cache/uv \
    uv sync --locked

FROM dev AS lint
RUN @lint@

FROM dev AS test
# Everything is installed already: a running container has no cache mounts. Drone sets a working
# directory of its own.
CMD ["sh", "-c", "cd /src && exec @test@"]

FROM base AS build
COPY . .
RUN --mount=type=cache,id=uv,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable

FROM @image@
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /src
COPY --from=build /venv /venv
COPY --from=build /src /src
USER 65534:65534
CMD @run@
