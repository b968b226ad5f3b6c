# Everything is built and tested with Go, make, git and a shell; what else is needed is built from source, too.

GO      ?= go
ARGS    ?=
FUZZTIME ?= 10s

# What a user has set for other work must not change what is built here. Go's own stamp of the commit fails a build where
# git distrusts the folder's owner; make build sets the commit itself.
export GOFLAGS = -buildvcs=false
export GOWORK = off

BIN   := bin/argosy
COMMIT = $(shell git rev-parse --short=12 HEAD 2>/dev/null)
TOOLS := $(CURDIR)/.cache/bin
REPORT ?= .cache/bench.json

# The race detector needs cgo, and that a C compiler; Go itself turns cgo off where there is none.
RACE := $(shell [ "$$($(GO) env CGO_ENABLED)" = 1 ] && echo -race)
ifeq ($(RACE),)
note_race = @echo 'note: no C compiler, so the tests run without the race detector'
endif

# The end-to-end tests measure time; they run by themselves.
UNIT = $(filter-out argosy/e2e argosy/e2e/%,$(shell $(GO) list ./...))

.PHONY: help build demo demo-nomad servers test test-short race e2e bench bench-report conform security fuzz lint generate clean

help:
	@printf '%s\n' \
	  'make demo         a fleet on this machine, with traffic, steered and scaled; ARGS=-once tells the story unattended' \
	  'make demo-nomad   the same on real Nomad, Consul and Prometheus; ARGS=-once likewise' \
	  'make test         all tests, those on real servers included; the first time it builds the servers' \
	  'make test-short   the tests that need no servers' \
	  '' \
	  'make build        bin/argosy' \
	  'make servers      find or build Consul, Nomad and Prometheus, and print where they are' \
	  'make race         the tests that need no servers, with the race detector' \
	  'make e2e          the end-to-end tests alone; ARGS=-run=TestX for one' \
	  'make bench        naming, and the data plane beside other proxies, about half an hour; ARGS=-quick for a first look,' \
	  '                  ARGS="-only requests,bulk" for some of it, ARGS=-list for what there is' \
	  'make bench-report what make bench wrote to $(REPORT) about proxies, into docs/performance.md' \
	  'make conform      docs/conformance.md: how argosy, HAProxy, nginx and Consul'"'"'s proxy treat TCP, about ten minutes' \
	  'make security     the table in docs/security.md: how argosy and Consul'"'"'s proxy treat their peers, about three minutes' \
  'make fuzz         each fuzz test for FUZZTIME (10s)' \
	  'make lint         gofmt, go vet, staticcheck, govulncheck where its database can be reached' \
	  'make generate     what is generated from the sources, such as the configuration reference' \
	  'make clean        remove what was built here; built servers stay in the user'"'"'s cache folder'

# Static: the binary is to run on any Linux, and in an empty container. Without symbols for debuggers it is a third smaller;
# panics name functions and lines all the same.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.commit=$(COMMIT)' -o $(BIN) ./cmd/argosy

demo: build
	@$(BIN) demo $(ARGS)

# Not go run: Ctrl-C is to reach the demo only, which then takes everything down.
demo-nomad:
	@$(GO) build -o $(TOOLS)/demo-nomad ./demo/nomad
	@$(TOOLS)/demo-nomad $(ARGS)

servers:
	@$(GO) run ./e2e/stack/cmd/servers

# The program that the end-to-end tests run has the race detector in it, too.
test: lint servers
	$(note_race)
	$(GO) test $(RACE) -tags servers -count=1 -timeout 20m $(UNIT)
	$(if $(RACE),ARGOSY_RACE=1) $(GO) test $(RACE) -tags servers -count=1 -timeout 20m -p 1 ./e2e/...

test-short:
	$(GO) test ./...

race:
	$(note_race)
	$(GO) test $(RACE) ./...

e2e: servers
	$(GO) test -tags servers -count=1 -timeout 20m -v ./e2e $(ARGS)

# Not go run: Ctrl-C is to reach it, so that it takes its servers down.
bench: servers
	@$(GO) build -o $(TOOLS)/bench ./bench
	@$(TOOLS)/bench -json $(REPORT) $(ARGS)

bench-report:
	@$(GO) build -o $(TOOLS)/bench ./bench
	@$(TOOLS)/bench -report $(REPORT)

# Likewise. Peers that are not installed are left out.
conform: servers
	@$(GO) build -o $(TOOLS)/conform ./bench/conform
	@$(TOOLS)/conform -all -patience 500ms -doc docs/conformance.md $(ARGS)

# Likewise. As many sockets want 20,000 open files.
security: servers
	@$(GO) build -o $(TOOLS)/peers ./bench/peers
	@$(TOOLS)/peers -sockets 10000 -doc docs/security.md $(ARGS)

fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for name in $$($(GO) test -list '^Fuzz' $$pkg); do \
	    case $$name in Fuzz*) \
	      echo "$$pkg $$name"; \
	      $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg || exit 1;; \
	    esac; \
	  done; \
	done

lint:
	@echo gofmt; files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l $$(git ls-files '*.go')); \
	  if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags servers ./...
	@$(GO) -C tools/lint build -mod=readonly -o $(TOOLS)/ honnef.co/go/tools/cmd/staticcheck golang.org/x/vuln/cmd/govulncheck
	$(TOOLS)/staticcheck -tags servers ./...
	@echo govulncheck; $(TOOLS)/govulncheck ./...; case $$? in \
	  0) ;; \
	  3) exit 1;; \
	  *) echo 'note: govulncheck could not reach its database, so known vulnerabilities were not looked for';; \
	  esac

generate:
	$(GO) generate ./...

clean:
	rm -rf bin .cache
