# SPDX-License-Identifier: Apache-2.0
# The short way to everything; meson and ninja do the building. `make help` lists the targets.
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
ARGS    ?=

.DEFAULT_GOAL := all
.PHONY: all run test check format docs bench interop fuzz dist container install uninstall clean help bootstrap

all: bootstrap         ## build build/relais (installs what is missing first)
	@tools/build -d $(BUILD) relais

run: all               ## build, then serve (ARGS="--config FILE" to pass arguments)
	@exec $(BUILD)/relais $(ARGS)

test: all              ## all unit and whole-program tests; ends in "N passed, N failed"
	@RELAIS_BUILD=$(BUILD) tools/test $(ARGS)

check:                 ## format, floors, sizes, static analysis, sanitizers, short fuzz (ARGS=stage to pick)
	@tools/bootstrap check
	@tools/check $(ARGS)

format:                ## lay out all C sources (clang-format 16)
	@tools/bootstrap check
	@find src tests bench -name '*.[ch]' | xargs clang-format-16 -i

docs: all              ## write the generated pages anew (docs/configuration.md, docs/metrics.md)
	@$(BUILD)/relais config reference > docs/configuration.md.new && mv docs/configuration.md.new docs/configuration.md
	@$(BUILD)/relais config metrics > docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md

bench: all             ## nginx, HAProxy and relais side by side
	@tools/bootstrap bench
	@RELAIS_BUILD=$(BUILD) bench/run $(ARGS)

interop: all           ## the official clients and a real model server against relais
	@tools/bootstrap interop
	@RELAIS_BUILD=$(BUILD) tests/interop/run $(ARGS)

fuzz:                  ## every fuzz target for SECONDS_EACH=60
	@tools/bootstrap check
	@tools/fuzz $(or $(SECONDS_EACH),60) $(ARGS)

dist: bootstrap        ## dist/relais-VERSION-linux-ARCH.tar.gz: the program with its libraries
	@tools/dist

container: bootstrap   ## dist/relais-VERSION-linux-ARCH.image.tar, for podman and docker (needs buildah)
	@tools/container

install: all           ## program, man page, systemd unit, shell completion (PREFIX, DESTDIR)
	@BUILD=$(BUILD) PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) tools/install

uninstall:             ## remove what install put there
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) tools/install --remove

bootstrap:             ## install the Debian or Ubuntu packages that are missing
	@tools/bootstrap

clean:                 ## remove the build folders
	rm -rf $(BUILD) build-*

help:                  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
