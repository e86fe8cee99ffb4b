#!/bin/sh
# Installs the system packages for `make demo` (setup.sh demo) or `make test` (setup.sh test), and says what it installs.
# All but the linker that Rust itself needs is the business of `hw-tests setup`.
set -eu

if ! command -v cargo >/dev/null; then
	echo "setup: cargo is not on the PATH; install a Rust toolchain, see https://rustup.rs" >&2
	exit 1
fi
if ! command -v cc >/dev/null && command -v apt-get >/dev/null; then
	echo "setup: installing gcc and libc6-dev, which Rust links with" >&2
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	$sudo apt-get update -qq
	$sudo apt-get install -y -qq --no-install-recommends gcc libc6-dev >&2
fi
cargo build --package hw-tests # it tells how far it is: the first time takes minutes
exec cargo run --quiet --package hw-tests -- setup "$@"
