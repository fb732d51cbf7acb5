# All checks are here: hosted CI, .ci/run and developers run the same targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_LINT_VERSION := v2.15.0
OASDIFF_VERSION := v1.35.0
ACTIONLINT_VERSION := v1.7.12
GOVULNCHECK_VERSION := v1.9.0
GREMLINS_VERSION := v0.6.0

BIN := $(CURDIR)/.bin
UPSTREAM ?= ../shared/upstream/chats.yaml
# The vendor's contract of the notifications, if it is in the same directory.
UPSTREAM_NOTIFICATIONS ?= $(wildcard $(dir $(UPSTREAM))notifications.yaml)
FUZZTIME ?= 1m
COVERAGE := 95
# Per package. The race detector is slow on a busy machine, and go test's default limit is 10 minutes.
TIMEOUT := 20m

# Separate modules, so that users of the library do not depend on their drivers and tools.
NESTED := $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path './.bin/*' | sort))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run the support desk, unattended, on the in-memory Market
	go run ./chats/examples/desk -demo

.PHONY: demo-outbox
demo-outbox: ## run the reply service, unattended, on the in-memory Market, and kill it several times
	cd chats/examples/outbox && YANDEX_MARKET_API_KEY= YANDEX_MARKET_BUSINESS_ID= go run -mod=readonly .

.PHONY: demo-fleet
demo-fleet: ## run three processes for 200 shops on a temporary PostgreSQL; kill one, add one, replace one
	cd chats/examples/fleet && ../../sqlstore/integration/postgres.sh go run -mod=readonly . -demo

.PHONY: sandbox
sandbox: ## serve the in-memory Market at http://127.0.0.1:8070, with a page where you play the customer
	@cd chats/sandbox && exec go run -mod=readonly . $(ARGS)

.PHONY: test
test: ## run the tests (about a minute with a cold build cache)
	go test ./...

.PHONY: race
race: ## run the tests with the race detector, in random order; some that are too slow with it are skipped
	go test -race -shuffle=on -timeout $(TIMEOUT) ./...

.PHONY: cover
cover: ## run test in random order, with coverage; fail if the coverage of chats, an internal package that it imports, inbox, outbox or notify is too low
	@go test -shuffle=on -timeout $(TIMEOUT) -cover ./... | tee cover.out
	@for pkg in $$(go list -deps ./chats | grep /chats; go list ./chats/inbox ./chats/outbox ./chats/notify); do \
		awk -v pkg="$$pkg" '$$2 == pkg {sub("%","",$$5); enough = $$5 + 0 >= $(COVERAGE)} \
			END {if (!enough) {print pkg ": less than $(COVERAGE)%, or not reported"; exit 1}}' cover.out; \
	done

CHAOS_MESSAGES ?= 1000000
CHAOS_SEEDS ?= 4

.PHONY: chaos
chaos: ## run random combinations of faults, and the simulations of inbox and outbox, on a larger scale than test does (an hour or two)
	go test ./chats -run '^TestChaos' -v -timeout 30m -chaos.calls 10000 -chaos.seeds 8
	go test ./chats/inbox -run '^TestChaos$$' -v -timeout 180m -chaos -chaos.messages $(CHAOS_MESSAGES) -chaos.seeds $(CHAOS_SEEDS)
	go test ./chats/outbox -run '^TestChaos$$' -v -timeout 90m -chaos -chaos.seeds $(CHAOS_SEEDS)

.PHONY: inbox-table
inbox-table: ## measure the figures in the tables of chats/docs/inbox.md (ten minutes)
	go test ./chats/inbox -run '^TestTable$$' -v -timeout 120m -table

.PHONY: kills
kills: ## kill and freeze outbox processes, 200 times on each database (a quarter of an hour)
	cd chats/sqlstore/integration && ./postgres.sh go test -mod=readonly -run '^TestOutbox_PostsOnce' -v -timeout 60m -kills

.PHONY: times
times: ## measure how long a push to an inbox and a takeover by another process take; needs an otherwise idle machine (two minutes)
	cd chats/sqlstore/integration && ./postgres.sh go test -mod=readonly -run '^Test(Lease|Inbox)_' -v -parallel 1 -times

.PHONY: kills-fleet
kills-fleet: ## measure what happens when processes of a fleet are killed, added and stopped; kill processes 200 times, and wait for River's rescue (ten minutes)
	cd chats/fleet && ../sqlstore/integration/postgres.sh go test -mod=readonly -run '^TestFleet_ProcessesComeAndGo$$' -v -count 1 -kills
	cd chats/fleet && ../sqlstore/integration/postgres.sh go test -mod=readonly -run '^TestFleet_(PostsOnce|KilledProcess)' -v -timeout 60m -kills

.PHONY: bench-fleet
bench-fleet: ## measure the fleet's figures of chats/BENCHMARKS.md on a temporary PostgreSQL (a quarter of an hour)
	cd chats/fleet && ../sqlstore/integration/postgres.sh go run -mod=readonly ./internal/bench $(BENCHFLAGS)

BENCHTIME ?= 3s
BENCHCOUNT ?= 3

.PHONY: bench
bench: ## measure the figures of chats/BENCHMARKS.md (under five minutes)
	go test -run '^$$' -bench './(ours|baseline)$$' -benchtime 0.2s -count 3 ./chats/internal/bench
	go test -run '^$$' -bench './(ratio|heap)$$' -benchtime $(BENCHTIME) -count $(BENCHCOUNT) ./chats/internal/bench

$(BIN)/gremlins-$(GREMLINS_VERSION):
	GOBIN=$(BIN) go install github.com/go-gremlins/gremlins/cmd/gremlins@$(GREMLINS_VERSION)
	mv $(BIN)/gremlins $@

# $(call mutants,PERCENT,DIRECTORY,EXCLUDED) fails if the tests kill less than that share of the
# mutants. gremlins has an option for it, but then exits with 0 all the same. A mutant that hangs
# is killed by a timeout, which is a multiple of the time that the tests take without a mutation,
# so that run must not come from the cache (-count=1). Vet checks and debug information are off,
# because they take half of the time.
mutants = set -o pipefail; GOFLAGS='-short -count=1 -vet=off -ldflags=-w' $(BIN)/gremlins-$(GREMLINS_VERSION) unleash \
	--workers $(MUTANT_WORKERS) --timeout-coefficient 3 $(if $(3),--exclude-files '^$(3)/') $(2) | \
	awk '{ print } /^Test efficacy:/ && $$3 + 0 < $(1) { isLow = 1 } END { exit isLow }'
MUTANT_WORKERS ?= 2

.PHONY: mutants
mutants: $(BIN)/gremlins-$(GREMLINS_VERSION) ## mutate the code and count the mutants that the tests kill (an hour or more)
	$(call mutants,90,./chats/notify)
	$(call mutants,95,./chats/inbox,inboxtest)
	$(call mutants,90,./chats/outbox,outboxtest)
	$(call mutants,90,./chats/sqlstore,integration)
	$(call mutants,90,./chats,(chatstest|examples|inbox|internal|notify|outbox|sqlstore))
	for part in $$(cd chats/fleet && go list -mod=readonly -deps . | sed -n 's#.*/chats/internal/#./chats/internal/#p'); do \
		$(call mutants,75,"$$part") || exit; done

.PHONY: live
live: ## check the real Market against the contract; needs YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID
	go test -tags live -count 1 -v -run '^TestLive$$' ./chats

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME
	@for dir in . $(NESTED); do cd $(CURDIR)/$$dir; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done; done

.PHONY: generate
generate: ## generate gen/ from the contracts
	go generate ./...

.PHONY: generate-check
generate-check: ## fail if gen/ is out of date
	@before=$$(mktemp -d); trap 'rm -rf "$$before"' EXIT; cp -R gen "$$before/"; go generate ./...; \
	diff -r "$$before/gen" gen || { echo "gen/ was out of date: commit what make generate wrote"; exit 1; }

.PHONY: fmt
fmt: ## fail if gofmt would change a file
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt -w $$out"; exit 1; }

.PHONY: vet
vet:
	go vet ./...
	go vet -tags live ./chats

.PHONY: files
files: ## fail if too many files of a package depend on each other
	go run ./chats/internal/filegraph chats=2 chats/notify=1 chats/chatstest=1 chats/inbox=3 chats/sqlstore=3 chats/outbox=2

.PHONY: cross
cross: ## vet for a 32-bit platform and for WebAssembly
	GOOS=linux GOARCH=386 go vet ./...
	GOOS=js GOARCH=wasm go vet ./...
	cd chats/sandbox && GOOS=linux GOARCH=386 go vet -mod=readonly ./...

$(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/golangci-lint $@

.PHONY: lint
lint: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## run golangci-lint (the first run builds it, which takes minutes)
	$< run --build-tags browser,live ./...
	@for dir in $(NESTED); do echo "== $$dir"; (cd $$dir && $< run --build-tags browser,live ./...); done

.PHONY: drift
drift: ## compare the contracts with the vendor's: UPSTREAM=path UPSTREAM_NOTIFICATIONS=path
	@api/drift.sh openapi.yaml "$(UPSTREAM)" $(OASDIFF_VERSION)
	@[ -z "$(UPSTREAM_NOTIFICATIONS)" ] || api/drift-notifications.sh api/notifications.openapi.yaml "$(UPSTREAM_NOTIFICATIONS)" $(OASDIFF_VERSION)
	@[ -n "$(UPSTREAM_NOTIFICATIONS)" ] || echo "the notifications were not compared: pass the vendor's file as UPSTREAM_NOTIFICATIONS=path"

.PHONY: deps
deps: ## list the modules that importing chats adds to a program
	@api/deps.sh

.PHONY: nested
nested: ## vet and test the nested modules
	@for dir in $(NESTED); do echo "== $$dir"; (cd $$dir && go vet -mod=readonly ./... && \
		go test -mod=readonly $$([ $$dir != chats/sqlstore/integration ] || echo $(INTEGRATION_FLAGS)) ./...); done

.PHONY: browser
browser: ## test the sandbox's page in a browser; install Chromium if possible
	@cd chats/sandbox && go vet -mod=readonly -tags browser . && ./browser.sh go test -mod=readonly -tags browser -run '^TestBrowser' -timeout $(TIMEOUT) .

.PHONY: screenshots
screenshots: ## retake the screenshots of the documentation
	@cd chats/sandbox && SCREENSHOTS=$(CURDIR)/chats/docs ./browser.sh go test -mod=readonly -tags browser -run '^TestBrowser_Screenshots$$' -count 1 .

.PHONY: databases
databases: ## run nested with a temporary PostgreSQL, installed if possible; fail if the coverage of sqlstore is too low
	@chats/sqlstore/integration/postgres.sh $(MAKE) --no-print-directory nested \
		INTEGRATION_FLAGS='-coverpkg=github.com/ymchats/ymchats-go/chats/sqlstore -coverprofile=$(CURDIR)/databases.out'
	@go test -coverprofile=sqlstore.out ./chats/sqlstore
	@awk '/^mode/ {next} {n[$$1] = $$2; if ($$3 > 0) hit[$$1] = 1} END {for (b in n) {all += n[b]; if (hit[b]) covered += n[b]}; \
		printf "sqlstore: %.1f%% of statements\n", 100 * covered / all; exit 100 * covered / all < $(COVERAGE)}' databases.out sqlstore.out

.PHONY: api
api: ## write the exported API of every public package to api/exported
	api/exported.sh write

.PHONY: api-check
api-check: ## fail if the exported API differs from api/exported
	api/exported.sh check

.PHONY: workflows
workflows: ## check the hosted workflows
	go run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

.PHONY: vulns
vulns: ## report known vulnerabilities; queries the Go vulnerability database
	@for dir in . $(NESTED); do echo "== $$dir"; (cd $$dir && go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...); done

.PHONY: static
static: fmt vet cross files generate-check deps api-check workflows lint ## run the static checks that every change must pass

.PHONY: check
check: static cover race nested browser demo ## run the checks that every change must pass
