# The commands of the project. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
FUZZTIME  ?= 60s
BENCHARGS ?=
# What a build says it is: the nearest tag, or the commit; a source archive has neither.
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)

# Pinned: another version brings other opinions. The name carries the version, so that a new pin installs anew.
LINT_VERSION := v2.6.2
LINT         := .bin/golangci-lint-$(LINT_VERSION)

# One package whose tests hang must not eat the whole run.
TEST_TIMEOUT := 25m

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

.PHONY: demo
demo: build ## two embedded clusters and a ferry between them, live in this terminal
	@./kferry demo

.PHONY: build
build: ## a static binary, ./kferry
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o kferry ./cmd/kferry

.PHONY: test
test: ## every test; those on real brokers need a JDK and mvn
	@if ! command -v javac >/dev/null || ! command -v mvn >/dev/null; then \
		echo "make test: javac or mvn not found, so some or all tests on real Kafka brokers are left out"; fi
	$(GO) test -timeout $(TEST_TIMEOUT) ./...

.PHONY: check
check: fmt lint race ## everything a change must pass besides the tests

.PHONY: fmt
fmt:
	@files=$$(gofmt -l .); \
	if [ -n "$$files" ]; then echo "gofmt -w is due on:"; echo "$$files"; exit 1; fi

# Its govet has all that go vet has, and more.
.PHONY: lint
lint: $(LINT)
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/.bin GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv .bin/golangci-lint $@

# -short leaves out the tests on real brokers: the broker is the slow part there, not our code,
# and `make test` runs them once without the detector's cost. Vet was in lint.
.PHONY: race
race:
	$(GO) test -race -short -vet=off -timeout $(TEST_TIMEOUT) ./...

# The go tool fuzzes one target at a time. The loop reads its list from the sources, so a new target is picked up by itself.
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (60s) each
	@grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . >/dev/null || { echo "no fuzz targets"; exit 1; }; \
	grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file func; do \
		pkg=$$(dirname "$$file"); name=$${func#func }; \
		echo "== $$pkg $$name"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x "$$pkg" </dev/null; \
	done

.PHONY: bench
bench: ## the speed harness on real brokers; BENCHARGS are its flags
	$(GO) run ./bench $(BENCHARGS)

# The same tests as in `make test`, at the full sizes: hours of brokers, millions of records.
.PHONY: accept
accept: ## the acceptance tests at full size, on real brokers
	KFERRY_FULL=1 KFERRY_REQUIRE_KAFKA=1 $(GO) test -count=1 -timeout 3h -v ./internal/acceptance

# The short form is part of `make test`. docs/reliability.md has what the rows mean and what came of them.
.PHONY: chaos
chaos: ## the whole matrix of faults, on real brokers; KFERRY_TEST_SEED repeats a run
	KFERRY_CHAOS=full KFERRY_REQUIRE_KAFKA=1 $(GO) test -count=1 -timeout 9h -v ./internal/chaos

.PHONY: clean
clean: ## remove what make built
	rm -rf kferry .bin
