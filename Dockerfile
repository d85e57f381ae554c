# The images of a pod: `gatepost` (daemon, drainer and central services are one command) and
# `egress-lock` (nft and nothing else).
#
#     buildah build --target gatepost --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) .
#
# What is installed is what was tested: every package by version and hash, wheels only. Bytecode is made
# here, because the running user can write nowhere; it is bound to hashes, not to times. Pin the base by
# digest where you build. No probe runs a command, so none needs the shell that the base brings.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/gatepost
WORKDIR /source
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN /build/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: -r requirements/build.lock
RUN /build/bin/pip --python /opt/gatepost/bin/python install --no-cache-dir --no-compile \
        --require-hashes --only-binary=:all: -r requirements/runtime.lock
COPY . .
ARG SOURCE_DATE_EPOCH=0
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} /build/bin/python -m hatchling build -t wheel -d /wheel \
    && /build/bin/pip --python /opt/gatepost/bin/python install --no-cache-dir --no-compile \
        --no-index --no-deps /wheel/*.whl \
    && /opt/gatepost/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/gatepost/lib \
    && find /opt/gatepost -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +

FROM ${BASE} AS egress-lock
RUN apt-get update && apt-get install --yes --no-install-recommends nftables \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
ENTRYPOINT ["/usr/sbin/nft"]

FROM ${BASE} AS gatepost
RUN apt-get update && apt-get install --yes --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY --from=build /opt/gatepost /opt/gatepost
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Numeric, so that the kubelet can see that it is not root.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/opt/gatepost/bin/gatepost"]
