/* weights.h - the weights of any MODEL, a piece of a tensor at a time: from a Hugging Face folder, or from a checkpoint
 * of any layout. Memory does not grow with the model, beyond a few hundred bytes a tensor. */
#pragma once
#include "train/model_tensors.h"
#include "train/session.h"

typedef struct Weights Weights;

/* Tensors that are missing, surplus, misshaped or of another kind of number are named; the files of a checkpoint are
 * verified first. c: the model's config. NULL + message. */
Weights *weights_open(const ModelPath *, const Config *c, Error *);
void weights_close(Weights *);
const ModelTensors *weights_tensors(const Weights *);
Dtype weights_dtype(const Weights *, int64_t i); /* of tensor i as it is stored: F32, BF16 or F16 */
bool weights_trained(const Weights *);           /* a checkpoint with an optimizer's state */
bool weights_have_masters(const Weights *);      /* fp32 ones beside bf16 weights */
int64_t weights_left_out(const Weights *);       /* constants of old files, which are no weights */

/* Elements [first, first + count) of tensor i, at most WEIGHTS_PART of them: bit for bit where dtype is the stored one,
 * else as F32 (from the master where there is one) or BF16. NaN and infinity are named. */
enum { WEIGHTS_PART = 1 << 22 };
bool weights_read(Weights *, int64_t i, Dtype, int64_t first, int64_t count, void *to, Error *);
