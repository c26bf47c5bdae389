# The action's container: one static executable, and the certificates that it trusts.
#
# BuildKit builds it. Behind a proxy that has its own CA: `docker build --secret id=ca,src=ca.pem .`
ARG RUST=docker.io/library/rust:1.95-alpine@sha256:606fd313a0f49743ee2a7bd49a0914bab7deedb12791f3a846a34a4711db7ed2

FROM ${RUST} AS build
# C compiler and headers for ring and libdeflate.
RUN apk add --no-cache gcc musl-dev ca-certificates
WORKDIR /source
COPY . .
# Reproducible: the same path on every machine, and no build time in the layer.
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target,sharing=locked \
    --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca; fi; \
    cargo build --locked --release --bin publish-variants \
    && mkdir -p /image/etc/ssl/certs && mkdir -m 1777 /image/tmp \
    && cp target/release/publish-variants /image/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && find /image -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

FROM scratch
LABEL org.opencontainers.image.title="publish-variants" \
      org.opencontainers.image.description="Publish variants of a tool's scratch image on many bases, in one step" \
      org.opencontainers.image.source="https://github.com/astral-sh/publish-variants" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image/ /
ENTRYPOINT ["/publish-variants"]
