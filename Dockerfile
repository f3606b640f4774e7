# charmer with Python. Run an app of yours:
#
#   docker build -t charmer .
#   docker run --init --rm -p 127.0.0.1:8080:8080 -v "$PWD:/app:ro" charmer serve /app/app.py
#
# With requirements of its own: deploy/user-app/Dockerfile.

FROM golang:1.26 AS build
ARG GOPROXY
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o /out/charmer .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="charmer" \
      org.opencontainers.image.description="Warm Python processes behind HTTP and JSON" \
      org.opencontainers.image.licenses="MIT"

# Apps run in an environment of their own, so that `pip install` in an image built on this one cannot break the
# system's Python. It belongs to root: what an app does at run time cannot change what it imports tomorrow.
RUN groupadd --gid 10001 charmer \
 && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin charmer \
 && python3 -m venv /opt/venv \
 && install -d -o 10001 -g 10001 /app
ENV VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    CHARMER_LISTEN=0.0.0.0:8080

COPY --from=build /out/charmer /usr/local/bin/charmer

USER 10001:10001
WORKDIR /app
EXPOSE 8080
STOPSIGNAL SIGTERM

# Asks on the port of CHARMER_LISTEN. -I keeps modules of the app, /app/http.py for one, out of the probe; http.client
# asks no proxy.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python3", "-I", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['CHARMER_LISTEN'].rpartition(':')[2]), timeout=2); c.request('GET', '/health/ready'); r = c.getresponse(); print(r.status, r.read(2000).decode()); sys.exit(r.status != 200)"]

# charmer reaps its workers. What an app leaves behind, grandchildren of charmer, falls to process 1: run with --init
# (compose: init: true), so that it is reaped too.
ENTRYPOINT ["charmer"]
CMD ["serve"]
