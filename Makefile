# make help lists the targets.
GO ?= go
TOOLS := bin
FUZZTIME ?= 60s

.PHONY: help build test race clients fuzz bench generate check clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

build: ## build the charmer binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o charmer .

test: ## run all tests
	$(GO) test ./...

race: ## run all tests under the race detector, as CI does
	$(GO) test -race -timeout 30m ./...

clients: ## generate, build and run the clients in examples/clients; needs Node.js, Python 3.11, a JDK and Maven
	$(GO) test -v -count=1 -timeout 30m ./examples/clients

fuzz: ## fuzz each parser for FUZZTIME
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
	  done; \
	done

bench: ## measure charmer beside its alternatives; see bench/README.md
	$(GO) run ./bench

generate: ## write the code that comes from openapi.yaml
	cd tools && $(GO) run ./apigen

check: ## format, vet, static checks, dead code, generated code, Python types
	@test -z "$$(gofmt -l .)" || { gofmt -l . ; echo 'not gofmt-ed'; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./workerproc
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	$(GO) tool -modfile=tools/go.mod deadcode -test ./...
	cd tools && $(GO) vet ./... && $(GO) run ./apigen -check
	cd bench/plot && $(GO) vet ./...
	tools/pycheck

clean: ## remove what the targets leave
	rm -rf bin charmer .venv
