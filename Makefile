# Nothing but Go, Node and this file is needed to work on Atoll. `make help` lists the targets.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := go tool -modfile=$(CURDIR)/tools/go.mod
GTM     := examples/gtm
MODULE  := github.com/atollhq/atoll
TARGETS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

.PHONY: build
build: console ## bin/atoll, with the console
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/atoll ./cmd/atoll

WEB     := internal/console/web
SOURCES := $(shell find $(WEB) -path '*/node_modules' -prune -o -type f -print)

.PHONY: console
console: internal/console/dist/index.html.gz ## the pages of the web console, which are embedded

internal/console/dist/index.html.gz: $(SOURCES) $(WEB)/node_modules/.package-lock.json
	cd $(WEB) && npm run --silent build

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --silent

.PHONY: up
up: build ## build Atoll and run the reference application
	bin/atoll -C $(GTM) up

.PHONY: demo
demo: build ## send 1,438 leads and some orders through the running reference application
	cd $(GTM) && go run ./cmd/demo -atoll ../../bin/atoll

.PHONY: test
test: test-deps console ## every test, with the race detector
	go test -race -shuffle=on -timeout 20m $$(go list ./... | grep -v /test/browser$$)
	go test -count=1 -timeout 40m ./test/browser # by itself: a browser needs the machine
	cd $(GTM) && go test -race -shuffle=on -timeout 10m ./...
	cd $(GTM)/services/enrichment && node --test
	cd $(WEB) && npm run --silent test

.PHONY: test-deps
test-deps: ## install what the tests need and is not there
	@test/install

.PHONY: generate
generate: ## the generated parts of docs/reference
	go run ./internal/reference docs/reference

.PHONY: check
check: check-format check-lint check-generated check-cross check-dead ## all but the tests

.PHONY: check-format
check-format:
	@out=$$($(TOOL) gofumpt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted (make format):"; echo "$$out"; exit 1; }
	go mod tidy -diff
	cd $(GTM) && go mod tidy -diff
	go vet ./...
	cd $(GTM) && go vet ./...
	go test -count=1 ./internal/arch

.PHONY: format
format: ## format all Go files
	$(TOOL) gofumpt -w $$(git ls-files '*.go')

.PHONY: check-lint
check-lint:
	$(TOOL) golangci-lint run ./...
	cd $(GTM) && $(TOOL) golangci-lint run ./...
	@$(TOOL) govulncheck ./... > .vuln.out 2>&1; code=$$?; \
	if grep -qE 'dial tcp|no such host|connection refused|Service Unavailable|fetching vulnerabilities' .vuln.out; then \
		echo "govulncheck: its data cannot be had here, so nothing was checked"; rm -f .vuln.out; \
	else cat .vuln.out; rm -f .vuln.out; exit $$code; fi

.PHONY: check-generated
check-generated:
	@rm -rf .generated && mkdir .generated && go run ./internal/reference .generated
	@for f in $$(cd .generated && find . -type f); do cmp -s .generated/$$f docs/reference/$$f || \
		{ echo "docs/reference/$$f is not fresh: make generate"; stale=1; }; done; rm -rf .generated; [ -z "$$stale" ]

.PHONY: check-cross
check-cross:
	@for t in $(TARGETS); do echo "build for $$t"; \
		CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} go build -o /dev/null ./cmd/atoll || exit 1; done

.PHONY: check-dead
check-dead:
	@out=$$($(TOOL) deadcode -test -filter '$(MODULE)/(internal|cmd|test|bench)' ./...); [ -z "$$out" ] || { echo "dead code:"; echo "$$out"; exit 1; }

.PHONY: screenshots
screenshots: test-deps console ## the pictures of README and docs, in docs/images
	go run ./test/browser/shots docs/images

bench-%: ## bench-NAME: measure, see bench/README.md
	go run ./bench/$*

# Package and name of each fuzz target.
FUZZ := manifest/FuzzLoadNeverPanicsAndFaultsAlwaysHaveAPlace gateway/FuzzKeySet gateway/FuzzRoutePattern \
	relay/FuzzCleanPath relay/FuzzParseTraceparent replica/process/FuzzShellWords \
	bus/cloudevents/FuzzWhatIsDecodedSurvivesTheWay bus/schedule/FuzzNextLiesAhead bus/natsbus/FuzzAFrameThatIsReadIsWrittenAsItWas \
	saga/define/FuzzAValueSurvivesItsEvaluation saga/define/FuzzATextEndsWhereItsExpressionDoes saga/define/FuzzNoTextMakesTheCompilerPanic \
	webhook/FuzzVerify webhook/FuzzWhatIsSignedIsAccepted webhook/FuzzNoFormOfAPrivateAddressIsPublic \
	telemetry/FuzzParseQuery telemetry/otlp/FuzzDecodeTraces telemetry/otlp/FuzzDecodeLogs telemetry/otlp/FuzzDecodeMetrics \
	telemetry/otlp/FuzzDecodeJSONTraces telemetry/otlp/FuzzDecodeJSONLogs telemetry/otlp/FuzzDecodeJSONMetrics telemetry/metric/FuzzExposition \
	telemetry/block/FuzzPayload telemetry/block/FuzzSegment telemetry/block/FuzzBlock telemetry/block/parquet/FuzzFile \
	telemetry/block/parquet/FuzzPage alert/FuzzMatchersThatAreReadAreWrittenTheSame
FUZZTIME ?= 5m

.PHONY: soak
soak: test-deps ## the long proofs; FUZZTIME is for each fuzz target
	ATOLL_SOAK=1 go test -race -count=1 -timeout 120m ./test/chaos ./test/engines ./test/power ./internal/replica
	ATOLL_SOAK=1 go test -count=1 -timeout 60m ./internal/saga/... ./internal/telemetry/block # without the race detector, which the short form has
	@for f in $(FUZZ); do echo "fuzz $$f"; \
		go test ./internal/$$(dirname $$f) -run '^$$' -fuzz "^$$(basename $$f)$$" -fuzztime $(FUZZTIME) || exit 1; done
