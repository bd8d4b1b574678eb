# make build    bin/steve and bin/stevie
# make run      builds steve and starts it in the foreground; options: make run ARGS="-j4"
# make check    the fast loop: formatting, vet, staticcheck, unit tests. No network, no root
# make test     sets up what tests need, then runs all of them; FUZZTIME=5s for each fuzz target
# make matrix   tries every client with every kind of jobserver, and writes the table in README; root, and a while
# make torture  kills a steve 10,000 times under load; root, and half an hour
# make bench    see bench/bench.mk
# make install  see install.mk
# make clean

GO       ?= go
ARGS     ?=
FUZZTIME ?=

# A checkout may be another user's, in which git refuses to say what is built.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# Static programs, stripped, the same from any directory. Packagers may set GO_LDFLAGS= and CGO_ENABLED=1.
GO_LDFLAGS  ?= -s -w
CGO_ENABLED ?= 0
build_flags  = -trimpath -ldflags="$(GO_LDFLAGS)"

.PHONY: build run check test matrix torture clean

build:
	CGO_ENABLED=$(CGO_ENABLED) $(GO) build $(build_flags) -o bin/ ./cmd/...

run: build
	exec bin/steve $(ARGS)

check:
	scripts/check

# What could not be set up is told, and told again by the tests that skip for it.
test:
	scripts/setup-tests || true
	$(GO) build -o bin/runtests ./internal/testkit/runtests
	@bin/runtests $(FUZZTIME:%=-fuzztime=%)

matrix:
	scripts/setup-tests --matrix
	$(GO) test -v -count=1 -timeout=60m -run='^TestIntegrationMatrix$$' ./internal/testkit/matrix -args -whole -readme

torture:
	scripts/setup-tests
	$(GO) test -v -count=1 -timeout=60m -run='^TestIntegrationTortureFUSE$$' ./internal/testkit/torture -args -kills=10000

clean:
	rm -rf bin

include install.mk
include bench/bench.mk
