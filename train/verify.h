/* verify.h - `dsv2 verify`: against a reference file, or the hashes of a checkpoint or shard. */
#pragma once
#include "train/commands.h"

int verify_reference(const CommandLine *);
