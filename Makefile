# dsv2 - `make demo` trains a small model on text, `make test` proves the numbers; both install what is missing.
CC    ?= gcc
MODE  ?= release
BUILD ?= $(if $(filter release,$(MODE)),build,build-$(MODE))
JOBS  ?= $(shell nproc)

# Debian's names; `make setup` installs what is missing.
PACKAGES = gcc libc6-dev pkg-config libopenmpi-dev openmpi-bin libhdf5-dev libdnnl-dev libyaml-dev libjansson-dev \
           libxxhash-dev libpcre2-dev libutf8proc-dev zlib1g-dev libzstd-dev hdf5-tools strace python3

WARN = -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes -Wstrict-prototypes
# A comparison may be computed where it is not needed, so that loops with a choice in them vectorise; NaN stays NaN.
MATH        = -fno-math-errno -fno-trapping-math
OPT_release = -O3 -g $(MATH)
# Vectorised as release is: sums in another order round otherwise, and what is tested is what is shipped.
OPT_asan    = -O2 -g $(MATH) -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

# Libraries may be missing while `make setup` has not run yet, so the targets that need them call make again.
MPI_CFLAGS := $(patsubst -I%,-isystem %,$(filter -I%,$(shell mpicc --showme:compile 2>/dev/null)))
MPI_LIBS   := $(shell mpicc --showme:link 2>/dev/null)
H5         := $(firstword $(foreach name,hdf5 hdf5-serial,$(shell pkg-config --exists $(name) 2>/dev/null && echo $(name))))
H5_CFLAGS  := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(H5) 2>/dev/null))
H5_LIBS    := $(or $(shell pkg-config --libs $(H5) 2>/dev/null),-lhdf5)

CFLAGS += -std=gnu11 -D_GNU_SOURCE $(WARN) $(OPT_$(MODE)) -fopenmp -I. $(MPI_CFLAGS) $(H5_CFLAGS)
LIBS    = $(MPI_LIBS) $(H5_LIBS) -ldnnl -lyaml -ljansson -lpcre2-8 -lutf8proc -lz -lzstd -lpthread -lm

FOLDERS  = kernels kernels/ref kernels/cpu kernels/plan configs launch data model optim train
LIB_SRC  = $(filter-out train/main.c,$(wildcard $(addsuffix /*.c,$(FOLDERS))))
TEST_SRC = $(wildcard tests/*.c) $(filter-out tests/fuzz/libfuzzer.c,$(wildcard tests/fuzz/*.c))
LIB_OBJ  = $(LIB_SRC:%.c=$(BUILD)/%.o)
TEST_OBJ = $(TEST_SRC:%.c=$(BUILD)/%.o)
HEADERS  = $(wildcard $(addsuffix /*.h,$(FOLDERS)) tests/*.h tests/*/*.h)
SOURCES  = train/main.c $(LIB_SRC) $(wildcard tests/*.c tests/*/*.c)

all: $(BUILD)/dsv2 $(BUILD)/tests/run $(BUILD)/tests/impatient

$(BUILD)/dsv2: $(BUILD)/train/main.o $(LIB_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/run: $(TEST_OBJ) $(LIB_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/impatient: $(BUILD)/train/main.o $(BUILD)/tests/fault/impatient.o $(LIB_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

setup:
	@launch/setup.sh $(PACKAGES)

demo: setup
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/dsv2
	$(BUILD)/dsv2 prepare configs/tiny.yaml
	$(BUILD)/dsv2 -n 2 train configs/tiny.yaml
	$(BUILD)/dsv2 generate runs/tiny "In the beginning"
	@echo "a bigram model of the same text: loss $$(tests/tools/bigram.py runs/tiny/data/sample-*)"

# Unit tests, then every tests/*.sh; the last line is the total.
test: setup
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD=$(BUILD) tests/tools/all.sh $(TESTS)
# tests/hostile.py bounds memory: what was freed and is kept to find its use counts there, so less of it is kept.
test-asan: setup
	@$(MAKE) --no-print-directory -j$(JOBS) MODE=asan all
	@ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64 BUILD=build-asan python3 tests/hostile.py
	@ASAN_OPTIONS=detect_leaks=0 BUILD=build-asan python3 tests/import.py broken
	@ASAN_OPTIONS=fast_unwind_on_malloc=0 LSAN_OPTIONS=suppressions=tests/tools/lsan.supp:print_suppressions=0 \
	    build-asan/tests/run $(TESTS)

# Saving under kills, failing writes, a full disk, flipped bytes and power cuts; only what the driver needs is linked.
FAULT = $(BUILD)/tests/fault/driver $(BUILD)/tests/fault/nth
fault: setup
	@$(MAKE) --no-print-directory -j$(JOBS) $(FAULT)
	@tests/fault/faults.py $(BUILD)/tests/fault
$(BUILD)/tests/fault/driver: $(BUILD)/tests/fault/driver.o $(BUILD)/libdsv2.a
	$(CC) $(CFLAGS) -o $@ $^ -Wl,--as-needed $(LIBS)
$(BUILD)/tests/fault/nth: $(BUILD)/tests/fault/nth.o
	$(CC) $(CFLAGS) -o $@ $^
$(BUILD)/libdsv2.a: $(LIB_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

# Random bytes for every parser, FUZZ_SECONDS each (FUZZ=word picks some). The same bytes every time, so that what a
# change breaks is told from luck; FUZZ_SEED=0 takes others each time. Only parsers are built for it.
FUZZ_SECONDS  ?= 60
FUZZ_SEED     ?= 1
FUZZ_PACKAGES  = clang-14 libclang-rt-14-dev
FUZZ_CC        = $(firstword $(foreach cc,clang-14 clang,$(shell command -v $(cc))))
FUZZ_CFLAGS    = $(filter-out -fopenmp $(OPT_$(MODE)),$(CFLAGS)) -O1 -g -Wno-unknown-pragmas -fno-omit-frame-pointer \
                 -fno-sanitize-recover=all
FUZZ_SRC       = kernels/base.c kernels/tensor.c $(wildcard configs/*.c data/*.c tests/fuzz/*.c) train/manifest.c \
                 train/commands.c
FUZZ_OBJ       = $(FUZZ_SRC:%.c=build-fuzz/%.o)
fuzz: setup
	@launch/setup.sh $(FUZZ_PACKAGES)
	@command -v clang-14 clang >/dev/null || { echo "make fuzz needs clang with libFuzzer"; exit 1; }
	@$(MAKE) --no-print-directory -j$(JOBS) build-fuzz/fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) tests/fuzz/run.sh build-fuzz/fuzz $(FUZZ)
build-fuzz/fuzz: $(FUZZ_OBJ) $(BUILD)/libdsv2.a
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS) -lgomp
build-fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c -o $@ $<

bench: setup
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/dsv2
	$(BUILD)/dsv2 bench
	@for dtype in fp32 bf16; do for model in mini lite-layer; do \
	    $(BUILD)/dsv2 bench configs/bench-$$model.yaml dtype=$$dtype || exit 1; done; done

# Format, direction of includes, length of functions and files, every key read, README in step with the key table.
check: setup
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/dsv2
	@BUILD=$(BUILD) tests/tools/check.sh $(SOURCES) $(HEADERS)
# Both compilers' warnings are errors here.
warnings: setup
	@for cc in gcc clang; do command -v $$cc >/dev/null || continue; echo "$$cc"; \
	    for f in $(SOURCES); do $$cc $(CFLAGS) -Werror -O1 -fsyntax-only $$f || exit 1; done; done

clean:
	rm -rf build build-asan build-fuzz $(BUILD)
.PHONY: all setup demo test test-asan bench check warnings fault fuzz clean
-include $(LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(FUZZ_OBJ:.o=.d) $(BUILD)/train/main.d $(wildcard $(BUILD)/tests/fault/*.d)
