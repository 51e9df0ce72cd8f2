# One static binary on an empty root. Build: docker build -t kferry .
# Run: docker run -v ./kferry.yaml:/etc/kferry/kferry.yaml:ro -e PASSWORD=... -p 9464:9464 kferry
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=container
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /kferry ./cmd/kferry

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /kferry /kferry
# A user of no system; nothing is written to disk, so the root may be read-only.
USER 65532:65532
ENV KFERRY_HTTP_LISTEN=0.0.0.0:9464
EXPOSE 9464
ENTRYPOINT ["/kferry"]
CMD ["run", "-c", "/etc/kferry/kferry.yaml"]
