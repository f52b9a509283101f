#!/bin/sh
# Stands in for rustc where `cargo xtask check` builds the portable twins of Linux-only code. Cargo calls it for the
# workspace's own crates only, so their dependencies are built once for both. Clippy never sees the twins: their warnings
# count here.
exec "$@" --cfg reqscope_portable -D warnings
