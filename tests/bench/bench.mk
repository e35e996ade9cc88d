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

bench-rig: $(BENCH_BIN)/llmsim $(BENCH_BIN)/ssebench

# What it measures beside the module is in tests/bench/README.md; ARGS='-r 3' gives medians of three runs.
bench: module bench-rig
	BUILD='$(BUILD)' tests/bench/run.sh $(ARGS)

# The rig's own test, under sanitizers.
bench-check:
	@$(MAKE) --no-print-directory BENCH_BIN='$(BUILD)/bench-asan' \
	    SAN='-O1 -fsanitize=address,undefined -fno-omit-frame-pointer' bench-rig
	tests/bench/check.sh $(BUILD)/bench-asan

.PHONY: bench bench-check bench-rig
