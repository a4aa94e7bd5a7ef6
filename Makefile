# make         the pages of the dashboard and bin/farreach
# make build   bin/farreach alone, with the pages as they were built last
# make web     the pages alone; needs Node.js and npm
# make demo    the simulated home, until Ctrl-C
# make man     share/man/man1, the manual pages of all commands
# make deb     bin/farreach_….deb, a Debian package
# make test    every check: format, vet, linter, layers, tests under the race detector, fuzzers, benchmarks
# make webtest the tests of the pages; those in a browser need Chromium
# make fuzz    the fuzzers alone, 5,000 inputs each; FUZZTIME=60s for longer
# make bench   the benchmarks alone; BENCHTIME=1x only shows that they run

GO        ?= go
FUZZTIME  ?= 5000x
BENCHTIME ?= 1s
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null)

# The race detector needs a C compiler; without one the tests run all the same.
CC        ?= cc
RACE      := $(shell command -v $(CC) >/dev/null 2>&1 && echo -race)

NPM       ?= npm
CHROMIUM  ?= /usr/bin/chromium

.PHONY: all web webtest build demo man deb test check fuzz bench

all: web build

# Without npm the program is built all the same, and says on its first page what is missing.
web:
	$(if $(shell command -v $(NPM)),cd web && $(NPM) ci && rm -rf dist/* && $(NPM) run build,@echo 'make web: no npm, so there is no dashboard' >&2)

webtest: all
	$(if $(shell command -v $(NPM)),cd web && $(NPM) run check && $(NPM) test,@echo 'make webtest: no npm' >&2)
	$(if $(and $(shell command -v $(NPM)),$(wildcard $(CHROMIUM))),cd web && CHROMIUM=$(CHROMIUM) $(NPM) run browser,@echo 'make webtest: no $(CHROMIUM)' >&2)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/farreach ./cmd/farreach

demo: all
	bin/farreach up --demo

man: build
	HOME='~' bin/farreach man share/man/man1

deb: build
	deploy/deb.sh '$(VERSION)'

test: check
	$(if $(RACE),,@echo 'make test: no C compiler, so the tests run without the race detector' >&2)
	$(GO) test $(RACE) ./...
	$(GO) test -count=1 -run Alloc ./coap # the race detector would make pools forget
	$(MAKE) --no-print-directory webtest
	$(MAKE) --no-print-directory bench BENCHTIME=1x
	$(MAKE) --no-print-directory fuzz

check:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted" >&2; exit 1; }
	$(GO) mod verify
	$(GO) vet ./...
	GOARCH=arm $(GO) vet ./coap ./oic
	$(GO) tool staticcheck ./...

bench:
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

# Each package is built once, two at a time, and its fuzzers run one after the other, each in one process.
fuzz:
	@bin=$$(mktemp -d); trap 'rm -rf "$$bin"' EXIT; \
	grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u | xargs -P 2 -I PKG sh -ec ' \
		test="$$0/$$(echo PKG | tr / _)"; kept="$$($(GO) env GOCACHE)/fuzz/$$($(GO) list PKG)"; \
		$(GO) test -c -fuzz . -o "$$test" PKG; cd PKG; \
		for target in $$("$$test" -test.list "^Fuzz"); do \
			"$$test" -test.run "^\$$" -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 1x -test.parallel 1 -test.fuzzcachedir "$$kept" >"$$test.out" 2>&1 || \
				{ cat "$$test.out"; echo "FAIL PKG $$target"; exit 255; }; \
			echo "ok   PKG $$target"; \
		done' "$$bin"
