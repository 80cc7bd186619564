# The commands of this repository. They need Go and make; the logic is in scripts/.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
FUZZTIME ?= 20s
SOAK     ?= 1
BENCH    ?=
IMAGE    ?= artifactstore
TAG      ?= $(VERSION)

# Version and commit are stamped here: the go command refuses to where it does
# not trust the owner of the checkout.
export GOFLAGS += -buildvcs=false

LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)
SERVER  := CGO_ENABLED=0 go run -ldflags "$(LDFLAGS)" ./cmd/artifactstore
CHECK   := go run ./scripts/check

.DEFAULT_GOAL := help
.PHONY: help dev build image test lint type migrate fuzz bench conformance soak vuln clean

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## Serve on 127.0.0.1:5000 and keep the data in ./data
	$(SERVER) serve

build: ## Build one static binary, bin/artifactstore
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/artifactstore ./cmd/artifactstore

image: ## Build the container image IMAGE:TAG (artifactstore:VERSION) with docker
	CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags "$(LDFLAGS)" -o bin/linux/artifactstore ./cmd/artifactstore
	@VERSION=$(VERSION) COMMIT=$(COMMIT) scripts/image bin/linux/artifactstore $(IMAGE):$(TAG)

test: ## Set up and run every test; REQUIRE=all makes a skip a failure
	@$(CHECK)

lint: ## Report what golangci-lint finds, and whether go.mod is tidy
	@$(CHECK) lint

type: ## Check the code without running it: go vet, staticcheck, architecture
	@$(CHECK) type

migrate: ## Bring the store in ./data to the schema of this version
	$(SERVER) migrate

fuzz: ## Fuzz every target for FUZZTIME (20s)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

bench: build ## Measure the server, beside the limits of this machine; flags in BENCH
	@ARTIFACTSTORE_BIN=bin/artifactstore go run ./conformance/bench $(BENCH)
	@ARTIFACTSTORE_BIN=$(CURDIR)/bin/artifactstore go test ./conformance/bench -run '^$$' -bench . -benchtime 1x
	@go test ./internal/metastore -run '^$$' -bench Blobs -benchtime 20000x
	@go test ./registry -run '^$$' -bench Sweep -benchtime 1x

conformance: ## Run the official suite and the real clients against the binary
	@$(CHECK) conformance

soak: build ## Run the crash, failover, backup, moving, model, event, cluster and life tests SOAK (1) times their long form
	@SOAK=$(SOAK) scripts/soak

vuln: ## Look for known vulnerabilities that the code can reach (needs the network)
	@$(CHECK) vuln

clean: ## Remove what was built and installed here; ./data stays
	rm -rf bin .tools
