# mod_agentchat
#
#   make run      a server on port 8080 with the sample configuration (PORT=, CONF=FILE)
#   make check    everything a change must pass
#
# Both install missing packages first. V=1 prints whole commands. `make help` lists the other targets.

SHELL := /bin/bash
.DEFAULT_GOAL := all

BUILD ?= build
# One spelling of a path below this folder, since dependency files name their targets.
override BUILD := $(patsubst $(CURDIR)/%,%,$(BUILD))
PORT  ?= 8080
CONF  ?=

APXS  ?= $(firstword $(wildcard /usr/bin/apxs /usr/bin/apxs2 /usr/sbin/apxs) apxs)
ifeq ($(origin CC),default)
CC     = gcc
endif
SAN   ?=
OPT   ?= -O2 -g
# The number of compilers that run in parallel; and of test programs and pytest processes, which mostly wait.
JOBS  ?= $(shell n=$$(nproc); echo $$((n < 8 ? n + 1 : 8)))
TEST_JOBS ?= $(shell echo $$((2 * $(JOBS) - 1)))

# A command is printed as one short line, with V=1 in full.
Q    = $(if $(V),,@)
SAY  = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),@:,@printf '  %-8s%s\n')

# Evaluated when the first compiler runs, not when this file is read: a fresh machine has neither yet. Once, since apxs is slow.
APXS_FLAGS = $(eval APXS_FLAGS := $(shell $(APXS) -q CFLAGS EXTRA_CPPFLAGS EXTRA_CFLAGS 2>/dev/null | sed 's/;;/ /g') \
             -I$(shell $(APXS) -q INCLUDEDIR 2>/dev/null) -I$(shell $(APXS) -q APR_INCLUDEDIR 2>/dev/null))$(APXS_FLAGS)
# A warning of a newer compiler does not stop a build; make check and the build servers treat it as an error.
WERROR  ?=
WARN     = -std=gnu11 -Wall -Wextra $(WERROR) -fvisibility=hidden
# Checks of bounds and of the stack, unless a sanitizer does more; relocations are read-only after linking.
HARDEN   = $(if $(SAN)$(filter -O0,$(OPT)),,-fstack-protector-strong $(if $(findstring _FORTIFY_SOURCE,$(APXS_FLAGS)),,-D_FORTIFY_SOURCE=2))
HARDEN_LINK = $(if $(SAN),,-Wl,-z,relro,-z,now)
CFLAGS_ALL = -Isrc $(APXS_FLAGS) $(OPT) $(WARN) $(HARDEN) -fPIC -pthread $(SAN) $(CFLAGS)
LIBS     = -lcurl -ljansson -lsqlite3 -lhiredis -lyaml -lz -lssl -lcrypto -lapr-1 -laprutil-1 -lm -lpthread

LOWER_SRC := $(sort $(shell find src/base src/wire src/io src/back src/agent -name '*.c'))
FRONT_SRC := mod_agentchat.c $(sort $(shell find src/front -name '*.c'))
LOWER_OBJ := $(LOWER_SRC:%.c=$(BUILD)/%.o)
FRONT_OBJ := $(FRONT_SRC:%.c=$(BUILD)/%.o)
UNIT_SRC  := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN  := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/unit/%)
UNIT_OBJ  := $(UNIT_SRC:%.c=$(BUILD)/%.o)
UNIT_HELP := $(patsubst %.c,$(BUILD)/%.o,$(sort $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c))))
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_NAME := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)

all: module tools
tools: $(BUILD)/agentchat-store $(BUILD)/agentchat-keys
module: $(BUILD)/mod_agentchat.so
lower: $(BUILD)/libagentchat.a

$(BUILD)/mod_agentchat.so: $(FRONT_OBJ) $(BUILD)/libagentchat.a
	$(SAY) LINK $@
	$(Q)$(CC) -shared $(SAN) $(HARDEN_LINK) $(LDFLAGS) -o $@ $(FRONT_OBJ) $(BUILD)/libagentchat.a -lcurl -ljansson -lsqlite3 -lhiredis -lyaml -lz -lssl -lcrypto -lm -lpthread

$(BUILD)/libagentchat.a: $(LOWER_OBJ)
	$(SAY) AR $@
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c Makefile
	$(SAY) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

-include $(LOWER_OBJ:.o=.d) $(FRONT_OBJ:.o=.d)

# The OpenAPI document is compiled into the module.
$(BUILD)/src/front/api/api_docs.o: docs/openapi.yaml docs/openapi.json

# The JSON form of docs/openapi.yaml. A guard compares the two.
openapi:
	python3 tests/guards/openapi_json.py docs/openapi.yaml >docs/openapi.json

# The pictures of the chat page in docs/.
pictures: module
	BUILD_DIR=$(BUILD) /usr/bin/python3 tests/httpd/page_pictures.py

# The dashboard for Grafana, and the files for Azure Monitor from the queries of docs/kusto.md. Guards compare them.
observability:
	python3 tests/guards/azure_queries.py conf/observability
	python3 tests/guards/grafana_dashboard.py >conf/observability/grafana-dashboard.json

# Programs beside httpd: agentchat-store copies conversations between stores, agentchat-keys makes and revokes API keys.
$(BUILD)/agentchat-store: tools/store_compare.c tools/store_usage.c tools/store_files.c tools/store_copy.h
$(BUILD)/agentchat-%: tools/agentchat_%.c $(BUILD)/libagentchat.a
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(HARDEN_LINK) $(LDFLAGS) -o $@ $(filter %.c,$^) $(BUILD)/libagentchat.a $(LIBS)

# ---- tests ----
# An archive: the linker takes only the helpers that a test uses, so that a test may have a loop of its own.
$(BUILD)/libunit.a: $(UNIT_HELP)
	$(SAY) AR $@
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# Asserts of cmocka take the compiler long, and nothing here has to be fast.
$(UNIT_OBJ): OPT = -O1 -g
$(UNIT_OBJ): WARN += -Wno-unused-result
$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libunit.a $(BUILD)/libagentchat.a
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
-include $(UNIT_OBJ:.o=.d) $(UNIT_HELP:.o=.d)
.SECONDARY: $(UNIT_OBJ)

RUN_TESTS = tests/unit/run.py $(TEST_JOBS) $(if $(V),-v)
unit-programs: $(UNIT_BIN) $(FUZZ_NAME:%=$(BUILD)/fuzz/replay_%)
unit: unit-programs
	@{ for t in $(UNIT_BIN); do echo "$(RUNNER) $$t"; done; $(REPLAYS); } | $(RUN_TESTS)

# A fuzz target is one function; the ordinary compiler replays its corpus, clang's libFuzzer grows it.
$(BUILD)/fuzz/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(BUILD)/libagentchat.a
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $< tests/fuzz/replay.c $(BUILD)/libagentchat.a $(LIBS)

REPLAYS = for n in $(FUZZ_NAME); do echo "$(RUNNER) $(BUILD)/fuzz/replay_$$n tests/fuzz/corpus/$$n"; done
fuzz-replay: $(FUZZ_NAME:%=$(BUILD)/fuzz/replay_%)
	@$(REPLAYS) | $(RUN_TESTS)

PYTEST := /usr/bin/python3 -m pytest -q

# GUARDS=-k ... runs some of them.
guards:
	$(PYTEST) -rs -n $(JOBS) $(GUARDS) tests/guards

# Writes the number of things that each guard looks at: a guard that looks at much less fails.
guard-counts:
	/usr/bin/python3 tests/guards/count.py

# Test files run in parallel; tests/httpd/second_run.py describes how failures are repeated.
httpd-test: module tools
	BUILD_DIR=$(BUILD) $(PYTEST) -n $(TEST_JOBS) --dist loadfile tests/httpd

# Delivery on other httpds: releases that tests/older_httpd.sh builds from source, which says where from, or with HTTPD_HOMES those that
# are installed below these prefixes, with their apxs.
HTTPD_VERSIONS ?= 2.4.52 2.4.58 2.4.62
OLDER_TESTS := $(addprefix tests/httpd/test_,delivery.py half_closed.py slow_readers.py output_filters.py stream.py resume.py cancel.py \
               reload.py restarts.py http2.py)
older-httpd:
	@homes='$(HTTPD_HOMES)' failed=; \
	[ -n "$$homes" ] || homes=$$(OLDER_DIR=$(or $(OLDER_DIR),$(abspath $(BUILD))/older) JOBS=$(JOBS) tests/older_httpd.sh $(HTTPD_VERSIONS)) || exit 1; \
	for home in $$homes; do \
	    version=$$($$home/bin/httpd -v | sed -n "s,.*Apache/\([0-9.]*\).*,\1,p"); \
	    build=$(abspath $(BUILD))/httpd-$$version; \
	    echo "older-httpd: $$version"; \
	    $(MAKE) --no-print-directory -j$(JOBS) BUILD=$$build APXS=$$home/bin/apxs module && \
	    LONG_TESTS=1 HTTPD_HOME=$$home BUILD_DIR=$$build $(PYTEST) -n $(TEST_JOBS) --dist loadfile $(OLDER_TESTS) || failed+=" $$version"; \
	done; echo "older-httpd:$${failed:+ failed on}$${failed:- well}"; [ -z "$$failed" ]

# Many clients while children, model and store fail: SIGKILL, restarts, outages; with both stores. The short form is in
# httpd-test.
TORTURE_SECONDS ?= 120
torture: module
	BUILD_DIR=$(BUILD) TORTURE_SECONDS=$(TORTURE_SECONDS) $(PYTEST) -s tests/httpd/test_torture.py tests/httpd/test_torture_files.py tests/httpd/test_torture_machines.py

# System calls of a child fail, one kind after another; skipped where strace is missing or may not trace.
failing-calls: module
	FAILING_CALLS=1 BUILD_DIR=$(BUILD) $(PYTEST) -rs -n $(JOBS) tests/httpd/test_failing_calls.py

# Malformed requests, under sanitizers with both stores, and again without sanitizers. SEED=2 gives others; CASE=N sends
# one again. The short form is in httpd-test.
HTTP_FUZZ_REQUESTS ?= 100000
HTTP_FUZZ_SECONDS ?= 1800
HTTP_FUZZ = HTTP_FUZZ_REQUESTS=$(HTTP_FUZZ_REQUESTS) HTTP_FUZZ_SECONDS=$(HTTP_FUZZ_SECONDS) SEED=$(or $(SEED),1) CASE=$(CASE) \
            $(PYTEST) -s tests/httpd/test_http_fuzz.py
http-fuzz:
	@conf/packages.sh check
	@$(MAKE) --no-print-directory module tools
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD)/asan SAN='$(SANITIZE)' OPT='-O1 -g' module tools
	ASAN=1 BUILD_DIR=$(BUILD)/asan $(HTTP_FUZZ)
	BUILD_DIR=$(BUILD) $(HTTP_FUZZ)

# ---- sanitizers, valgrind, fuzzing ----
# gcc estimates the lengths of strings wrongly in code that a sanitizer has instrumented.
SANITIZE = -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined -Wno-format-truncation

asan:
	$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD)/asan SAN='$(SANITIZE)' OPT='-O1 -g' module tools unit-programs
	$(MAKE) --no-print-directory BUILD=$(BUILD)/asan SAN='$(SANITIZE)' OPT='-O1 -g' unit
	ASAN=1 $(MAKE) --no-print-directory BUILD=$(BUILD)/asan SAN='$(SANITIZE)' OPT='-O1 -g' httpd-test

tsan:
	$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD)/tsan SAN=-fsanitize=thread OPT='-O1 -g' unit-programs
	$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan SAN=-fsanitize=thread OPT='-O1 -g' unit

valgrind:
	$(MAKE) --no-print-directory unit RUNNER='valgrind -q --leak-check=full --error-exitcode=9 --errors-for-leak-kinds=definite'

# libFuzzer, FUZZ_SECONDS for each target; new corpus files stay under build/.
FUZZ_SECONDS ?= 60
FUZZ_CC      = clang -Isrc $(APXS_FLAGS) -O1 -g $(WARN) -pthread -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_OBJ    := $(LOWER_SRC:%.c=$(BUILD)/fuzz/%.o)
$(BUILD)/fuzz/src/%.o: src/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
-include $(FUZZ_OBJ:.o=.d)

$(BUILD)/fuzz/libagentchat.a: $(FUZZ_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/fuzz/libagentchat.a
	@mkdir -p $(BUILD)/fuzz/grown/$*
	$(FUZZ_CC) -fsanitize=fuzzer -o $@ $< $(BUILD)/fuzz/libagentchat.a $(LIBS)

fuzz: $(FUZZ_NAME:%=$(BUILD)/fuzz/fuzz_%)
	for n in $(FUZZ_NAME); do $(BUILD)/fuzz/fuzz_$$n -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=5 -artifact_prefix=$(BUILD)/fuzz/ \
	    $(BUILD)/fuzz/grown/$$n tests/fuzz/corpus/$$n || exit 1; done

tidy:
	clang-tidy --quiet --checks='-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling' --warnings-as-errors='*' $(LOWER_SRC) $(FRONT_SRC) -- -Isrc $(APXS_FLAGS) $(WARN)

# The form of all C: .clang-format.
CLANG_FORMAT = clang-format-15
format:
	$(CLANG_FORMAT) -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

format-check:
	$(PYTEST) -rs tests/guards/test_format.py

# ---- common commands ----
# A separate make builds: it finds the tools that were just installed.
run:
	@conf/packages.sh run
	@$(MAKE) --no-print-directory -j$(JOBS) module
	@BUILD='$(BUILD)' PORT='$(PORT)' CONF='$(CONF)' conf/run.sh

# Continues after a failure, so that one run shows all failures.
check check-fast: export WERROR = -Werror
check:
	@conf/packages.sh check
	@$(MAKE) --no-print-directory -j$(JOBS) module tools
	@$(MAKE) --no-print-directory -k -j$(JOBS) unit-programs || echo 'check: programs of tests are missing' >&2
	@$(MAKE) --no-print-directory -k guards unit httpd-test

# For use while programming: guards, unit tests, and each route once.
check-fast:
	@conf/packages.sh check
	@$(MAKE) --no-print-directory -j$(JOBS) module tools unit-programs
	@$(MAKE) --no-print-directory -k guards unit GUARDS="-k 'not planted and not second_run'"
	BUILD_DIR=$(BUILD) $(PYTEST) -n $(JOBS) tests/httpd/test_authorization.py -k 'right_key or every_route'

# Tests against httpd that take long: packages, each command of the manual.
long-tests: module tools
	LONG_TESTS=1 BUILD_DIR=$(BUILD) $(PYTEST) -rs -m long tests/httpd

# make run and make check on fresh machines, and the packages; FRESH=trixie selects one. As root; see tests/fresh.sh.
FRESH ?= bookworm trixie
check-fresh check-packages arm64: export FRESH_DIR := $(or $(FRESH_DIR),$(abspath $(BUILD))/fresh)
check-fresh:
	@failed=; for system in $(FRESH); do tests/fresh.sh $$system || failed+=" $$system"; done; \
	$(MAKE) --no-print-directory check-packages || failed+=" packages"; \
	echo "check-fresh:$${failed:+ failed on}$${failed:- well on $(FRESH)}"; [ -z "$$failed" ]

check-packages:
	@failed=; for system in $(FRESH); do \
	    { tests/fresh.sh $$system tests/packages.sh build && tests/fresh.sh $$system tests/packages.sh install; } || failed+=" $$system"; \
	done; echo "check-packages:$${failed:+ failed on}$${failed:- well on $(FRESH)}"; [ -z "$$failed" ]

# Another compiler, with warnings of its own.
clang:
	$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD)/clang CC=clang WERROR=-Werror module tools unit-programs
	$(MAKE) --no-print-directory BUILD=$(BUILD)/clang CC=clang WERROR=-Werror unit

# Another architecture, in a Debian of tests/fresh.sh's: built by a cross compiler, unit programs under qemu-user. As root.
arm64:
	tests/fresh.sh bookworm tests/cross.sh

# Tests that take too long for every change; a failure does not end the others.
LONG = long-tests image-test older-httpd clang arm64 asan tsan torture failing-calls http-fuzz fuzz soak soak-mirror bench-check
check-long:
	@conf/packages.sh long
	@failed=; for part in $(LONG); do echo "check-long: $$part"; $(MAKE) --no-print-directory $$part || failed+=" $$part"; done; \
	echo "check-long:$${failed:+ failed:}$${failed:- well: $(LONG)}"; [ -z "$$failed" ]

# A source and a binary package below build/rpm, from the last commit. RPM_FLAGS=--nodeps if build dependencies are not rpms. Times and the
# name of this machine are left out, so that two builds of one commit give the same bytes.
rpm: VERSION = $(shell python3 tests/guards/set_version.py)
rpm: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
rpm:
	@rm -rf $(BUILD)/rpm && mkdir -p $(BUILD)/rpm/SOURCES $(BUILD)/rpm/SPECS
	git archive --prefix=mod_agentchat-$(VERSION)/ -o $(BUILD)/rpm/SOURCES/mod_agentchat-$(VERSION).tar.gz HEAD
	git show HEAD:rpm/mod_agentchat.spec >$(BUILD)/rpm/SPECS/mod_agentchat.spec
	touch -d "@$$SOURCE_DATE_EPOCH" $(BUILD)/rpm/SOURCES/* $(BUILD)/rpm/SPECS/*
	rpmbuild $(if $(filter -bs -bb,$(RPM_FLAGS)),,-ba) --define '_topdir $(abspath $(BUILD))/rpm' --define '_buildhost localhost' \
	    --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' $(RPM_FLAGS) $(BUILD)/rpm/SPECS/mod_agentchat.spec

# Source and binary packages below build/deb, from the last commit, for the Debian or Ubuntu that this is: its name is in their version,
# so that one for a newer system replaces one for an older. DEB_FLAGS=-Pnocheck builds without the unit tests; DEB_MAINTAINER='Name
# <address>' is who distributes them.
deb: VERSION = $(shell python3 tests/guards/set_version.py)
deb: export DEB_MAINTAINER ?=
deb: DEB = $(BUILD)/deb/mod-agentchat-$(VERSION)
deb:
	@rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb
	git archive --prefix=$(DEB:$(BUILD)/deb/%=%)/ HEAD | tar -C $(BUILD)/deb -x
	. /etc/os-release && sed -i "1s/$(VERSION)/&~$${ID/#debian/deb}$$VERSION_ID/" $(DEB)/debian/changelog
	[ -z "$$DEB_MAINTAINER" ] || sed -E -i "s/^(Maintainer: | -- )[^>]*>/\1$$DEB_MAINTAINER/" $(DEB)/debian/control $(DEB)/debian/changelog
	cd $(DEB) && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u CC -u CFLAGS -u OPT -u BUILD dpkg-buildpackage -us -uc $(DEB_FLAGS)

# The container image, below build/image: docs/container.md.
image:
	conf/container/image.sh '$(BUILD)/image' "$$(python3 tests/guards/set_version.py)"

# The image built twice, and run with bubblewrap as a container platform does. As root.
image-test:
	@conf/packages.sh long
	IMAGE_TEST=1 BUILD_DIR=$(BUILD) $(PYTEST) -s -rs tests/httpd/test_image.py

# The files of a version that are published, below build/release, from its tag: tools/release.sh.
release:
	@rm -rf '$(BUILD)/release'
	tools/release.sh '$(TAG)' '$(BUILD)/release' $(PARTS)

# The version in all files that have it: make version VERSION=0.2.0.
version:
	@python3 tests/guards/set_version.py $(VERSION)

clean:
	@conf/install.sh clean '$(abspath $(BUILD))'
	rm -rf $(BUILD)

help:
	@echo 'make                the module: $(BUILD)/mod_agentchat.so, and $(BUILD)/agentchat-store, -keys'
	@echo 'make run            a server with the sample configuration; PORT=8080, CONF=FILE of further directives, and'
	@echo '                    LISTEN, OPENAI_API_KEY, AZURE_OPENAI_..., AGENTCHAT_MODEL_ENDPOINT, AGENTCHAT_STORE: conf/run.sh'
	@echo 'make check          everything a change must pass: the three below'
	@echo 'make check-fast     while you work: guards, unit tests, each route once; about a minute'
	@echo 'make check-fresh    make run, make check and the packages on a bare Debian 12 and 13, as root; FRESH=trixie'
	@echo 'make check-packages a part of it: the packages of Debian, built, installed to the first answer, upgraded, removed'
	@echo 'make check-long     what takes hours: $(LONG); LONG= some of them'
	@echo 'make guards         the rules of the source that a program can check'
	@echo 'make unit           tests without a server, and the fuzz corpora; RUNNER=valgrind, SAN=-fsanitize=address,undefined'
	@echo '                    JOBS=N compilers and TEST_JOBS=N tests beside each other; V=1 prints whole commands and what tests say'
	@echo 'make httpd-test     tests against a real httpd'
	@echo 'make asan           unit and httpd tests under AddressSanitizer and UBSan; also: make tsan, make valgrind'
	@echo 'make older-httpd    delivery on releases of httpd that are built from source: HTTPD_VERSIONS, HTTPD_SOURCES; HTTPD_HOMES: on what is installed'
	@echo 'make clang          all of it with clang; make arm64: with a cross compiler, as root; unit programs run under qemu'
	@echo 'make torture        clients, killed processes, a failing model and store, with both stores: TORTURE_SECONDS=120 of it, then accounts'
	@echo 'make failing-calls  19 kinds of system calls fail in a child, by strace; nothing that was acknowledged may be lost'
	@echo 'make http-fuzz      HTTP_FUZZ_REQUESTS=100000 malformed requests, under sanitizers and without; SEED=1, CASE='
	@echo 'make soak           SOAK_MINUTES=30 of 500 streams: memory and descriptors of the children, every ten seconds; they may not grow'
	@echo 'make soak-mirror    SOAK_MINUTES=24 of three machines whose Redis is killed, paused, filled and emptied'
	@echo 'make fuzz           grows the fuzz corpora with libFuzzer, FUZZ_SECONDS=60 each'
	@echo 'make tidy           clang-tidy'
	@echo 'make format         gives all C the form of .clang-format, with clang-format-15; make format-check compares'
	@echo 'make install        into the httpd that apxs belongs to; DESTDIR=, PREFIX=/usr/local, LAYOUT: conf/install.mk; make uninstall'
	@echo 'make version        prints the version; VERSION=0.2.0 sets it in all files that have it'
	@echo 'make deb            Debian packages below $(BUILD)/deb; DEB_FLAGS=-Pnocheck without the unit tests'
	@echo 'make rpm            packages below $(BUILD)/rpm; RPM_FLAGS=--nodeps on a machine without rpms'
	@echo 'make image          the container image below $(BUILD)/image: docs/container.md'
	@echo 'make release        TAG=v0.2.0: archive, packages, image, lists of contents and sums below $(BUILD)/release; PARTS=source some of them'
	@echo 'make clean          removes $(BUILD), and what make run keeps elsewhere'

.PHONY: openapi pictures observability version rpm deb release image image-test all module tools lower unit unit-programs fuzz-replay guards guard-counts httpd-test older-httpd failing-calls http-fuzz asan tsan valgrind \
        fuzz tidy format format-check run check check-fast long-tests check-fresh check-packages check-long clang arm64 clean help

# make bench, make bench-check, make soak, make soak-mirror
include tests/bench/bench.mk

# make install, make uninstall
include conf/install.mk
