/* model_tensors.h - every tensor of a whole model under its published name: what a folder or a checkpoint of it must
 * hold, no more and no less. */
#pragma once
#include "data/safetensors.h"
#include "model/params.h"

typedef struct {
    char name[192];
    int64_t rows, cols;
    bool is_vector; /* published with one dim: cols */
} ModelTensor;
typedef struct {
    ModelTensor *list; /* as the model goes from embedding to head */
    const ModelTensor **by_name;
    int64_t count;
} ModelTensors;

/* Of params in a layout of ep, experts of other ranks included. */
void model_tensors_open(ModelTensors *, const Params *, int ep);
/* Of a config (layout.ep 1), without taking the model's memory. */
bool model_tensors_plan(ModelTensors *, const Config *, Error *);
void model_tensors_close(ModelTensors *);
/* Missing, surplus and misshaped ones are named. inv_freq, a constant that some old files carry, may be there. */
bool model_tensors_match(const ModelTensors *, const Safetensors *, Error *);
