# syntax=docker/dockerfile:1
# The production image: web, worker, beat and every command. Build: docker build -t stripe-sync .
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/stripe-sync
# requirements-otel.txt holds the extra `otel`: traces are off until OTEL_EXPORTER_OTLP_ENDPOINT is set.
COPY requirements.txt requirements-otel.txt ./
RUN /opt/stripe-sync/bin/pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes --no-deps --only-binary :all: --requirement requirements.txt --requirement requirements-otel.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker ./worker
COPY schema ./schema
COPY migrations ./migrations
# The build backend is pinned by hash too, so pip resolves no versions here.
COPY requirements-build.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps --requirement requirements-build.txt \
    && pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/stripe-sync/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /dist/*.whl \
    && /opt/stripe-sync/bin/pip uninstall --yes --disable-pip-version-check pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="stripe-sync" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 stripe-sync \
    && useradd --system --uid 10001 --gid stripe-sync --no-create-home --home-dir /tmp stripe-sync
COPY --from=build /opt/stripe-sync /opt/stripe-sync
# Logs are JSON on stderr. Nothing is written outside /tmp, so the root filesystem can be read-only.
ENV PATH=/opt/stripe-sync/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PORT=8000
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
# For `web`. Override it for the others: `stripe-sync status` needs the database, so it is no health check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["stripe-sync"]
CMD ["web"]
