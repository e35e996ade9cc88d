# SPDX-License-Identifier: Apache-2.0
# The measuring rig; part of the Makefile above.
BENCH_BIN   ?= $(BUILD)/bench
BENCH_FLAGS  = -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Werror -O2 -g -pthread
BENCH_LLMSIM   := $(sort $(wildcard tests/bench/llmsim*.c)) tests/bench/rig.c
BENCH_SSEBENCH := $(sort $(wildcard tests/bench/ssebench*.c)) tests/bench/proctree.c tests/bench/rig.c
BENCH_HEADERS  := $(wildcard tests/bench/*.h)

$(BENCH_BIN)/llmsim: $(BENCH_LLMSIM) $(BENCH_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(BENCH_FLAGS) $(SAN) -o $@ $(BENCH_LLMSIM) -ljansson

$(BENCH_BIN)/ssebench: $(BENCH_SSEBENCH) $(BENCH_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(BENCH_FLAGS) $(SAN) -o $@ $(BENCH_SSEBENCH)

$(BENCH_BIN)/heap_sampler.so: tests/bench/heap_sampler.c
	@mkdir -p $(@D)
	$(CC) $(BENCH_FLAGS) -shared -fPIC -o $@ $<

bench-rig: $(BENCH_BIN)/llmsim $(BENCH_BIN)/ssebench

# What it measures beside the module is in tests/bench/README.md; ARGS='-r 3' gives medians of three runs.
bench: module bench-rig
	BUILD='$(BUILD)' tests/bench/run.sh $(ARGS)
	@$(MAKE) --no-print-directory bench-crud

# What a turn costs with AgentChatCache and without.
bench-cache: module bench-rig
	python3 tests/bench/crud.py $(BUILD) $(BUILD)/bench/results cache

# What telemetry costs: everything to a collector that answers, and a tenth of the traces to one that hangs, beside none, in turns.
TELEMETRY_RUNS ?= 7
bench-telemetry: module bench-rig
	BUILD='$(BUILD)' tests/bench/run.sh -q -r $(TELEMETRY_RUNS) -o '$(BUILD)/bench/telemetry' -s "c100 c1000" module module-traced module-hung

# Latency and CPU of each call of the API with each store.
bench-crud: module bench-rig
	python3 tests/bench/crud.py $(BUILD) $(BUILD)/bench/results

# Searches, lists and pages of 10, 1,000 and 10,000 threads of one owner, and what the index costs; tests/bench/search.py.
bench-search: module bench-rig
	/usr/bin/python3 tests/bench/search.py $(BUILD) $(BUILD)/bench/results

# The chat page beside that of the commit BEFORE; tests/bench/page.py.
bench-page: module
	@test -n '$(BEFORE)' || { echo 'bench-page: BEFORE=COMMIT names the page to compare with' >&2; exit 1; }
	BUILD_DIR=$(BUILD) /usr/bin/python3 tests/bench/page.py '$(BEFORE)' $(BUILD)/bench/results

# The delay and the cost of tokens for followers on another machine, by Redis.
bench-mirror: module $(BENCH_BIN)/llmsim
	BUILD_DIR=$(BUILD) /usr/bin/python3 tests/bench/mirror.py $(BENCH_BIN)/llmsim $(BUILD)/bench/results

# How many parked streams one machine holds, and what they cost: PARKED_STREAMS and what else there is: tests/bench/parked.py.
bench-parked: module bench-rig
	/usr/bin/python3 tests/bench/parked.py $(BUILD) $(BUILD)/bench/results

# Half an hour of 500 streams, and nothing may grow; SOAK_MINUTES and what else there is: tests/bench/soak.py.
soak: module $(BENCH_BIN)/llmsim $(BENCH_BIN)/heap_sampler.so
	BUILD_DIR=$(BUILD) /usr/bin/python3 tests/bench/soak.py $(BENCH_BIN)/llmsim $(BUILD)/soak

# Three machines whose Redis fails in turns; tests/bench/soak_mirror.py.
soak-mirror: module $(BENCH_BIN)/llmsim $(BENCH_BIN)/heap_sampler.so
	BUILD_DIR=$(BUILD) /usr/bin/python3 tests/bench/soak_mirror.py $(BENCH_BIN)/llmsim $(BUILD)/soak

# The rig's own test, under sanitizers.
bench-check:
	@$(MAKE) --no-print-directory BENCH_BIN='$(BUILD)/bench-asan' \
	    SAN='-O1 -fsanitize=address,undefined -fno-omit-frame-pointer' bench-rig
	tests/bench/check.sh $(BUILD)/bench-asan

.PHONY: bench bench-cache bench-check bench-crud bench-mirror bench-page bench-parked bench-rig bench-search bench-telemetry soak soak-mirror
