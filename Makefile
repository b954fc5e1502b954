# Nothing but Go, Node and this file is needed to work on Atoll; `make help` lists the targets.
SHELL := /bin/bash -o pipefail
export CGO_ENABLED ?= 1

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := go tool -modfile=tools/go.mod

bin/atoll: $(shell find cmd internal sdk -name '*.go' -o -name '*.md' -o -name '*.json' 2>/dev/null) go.mod go.sum ## the binary
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/atoll ./cmd/atoll
