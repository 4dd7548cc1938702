/* agree.c - see agree.h. */
#include "launch/agree.h"

#include <string.h>

bool agree(Comm *comm, bool mine, Error *error) {
    int64_t first = mine ? comm->size : comm->rank;
    comm_reduce_i64(comm, &first, 1, REDUCE_MIN);
    if (first == comm->size) return true;
    Error said = *error;
    comm->ops->host_broadcast(comm, &said, sizeof said, (int)first);
    if (comm->size == 1 || !strncmp(said.text, "rank ", 5)) /* named already */
        *error = said;
    else
        fail(error, "rank %d: %.1000s", (int)first, said.text);
    error->code = said.code;
    return false;
}
