# One static binary on an empty root.
#   docker build -t kferry --build-arg VERSION="$(git describe --tags --always)" --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run --read-only -v ./kferry.yaml:/etc/kferry/kferry.yaml:ro -e PASSWORD=... -p 9464:9464 kferry
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=container
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o bin/kferry ./cmd/kferry

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/kferry /kferry
ARG VERSION=container
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kferry" \
      org.opencontainers.image.description="Carries topics from one Kafka cluster to another, whole batches, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A user of no system; nothing is written to disk, so the root may be read-only.
USER 65532:65532
# The configuration's http.listen is for one machine; a container is asked from outside.
ENV KFERRY_HTTP_LISTEN=0.0.0.0:9464
EXPOSE 9464
# Whether it is ready. A supervisor that starts unhealthy containers anew should ask --live: a cluster that is away is waited for.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["/kferry", "health", "--url", "http://127.0.0.1:9464"]
ENTRYPOINT ["/kferry"]
CMD ["run", "-c", "/etc/kferry/kferry.yaml"]
