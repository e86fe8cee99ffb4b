# The front door. `make` alone says what there is.

CARGO ?= cargo
HW_TESTS = $(CARGO) run --quiet --package hw-tests --

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Boot a simulated node with a SmartNIC and show Open vSwitch's rules at work in hardware
	@hw-tests/setup.sh demo
	@$(CARGO) build --workspace
	@$(HW_TESTS) demo

test: ## Run every test, those in the simulated node on both kernels included
	@hw-tests/setup.sh test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) build --workspace
	$(CARGO) test --workspace
	$(HW_TESTS) differential --pairs 180000 # about five minutes, and the same rulesets everywhere
	$(HW_TESTS) sim test

bench: ## Measure against rivals in the same run
	@hw-tests/setup.sh test
	@$(CARGO) build --workspace --release
	@$(CARGO) run --quiet --release --package hw-tests -- bench
	@$(CARGO) bench --quiet --package flow-compiler --bench compile
	@$(CARGO) bench --quiet --package flow-compiler --bench scaling

lint: ## Check format, lints and the licences of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check
