# The image of all roles: one program on a small Debian, run by a user without rights. Nothing is written outside of volumes, and
# the program is the first process: it heeds signals and awaits its children itself.
#   docker build --tag rookery:0.1.0 .
FROM rust:1.95-bookworm AS build
# Of the distribution's packages the newest is wanted: nothing of them is in the image that is run.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# For 64-bit Arm machines with larger pages than the one that builds: 16, see docs/decisions/0019-allocator.md.
ARG JEMALLOC_SYS_WITH_LG_PAGE
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --locked --release --bin rookery \
    && strip --strip-debug -o /rookery /target/release/rookery

# Bash and awk are what the chart's jobs use beside the program; libstdc++ is what the program does.
FROM debian:bookworm-slim
COPY --from=build /rookery /usr/local/bin/rookery
USER 65532:65532
ENTRYPOINT ["rookery"]
