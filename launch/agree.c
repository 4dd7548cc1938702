/* agree.c - see agree.h. */
#include "launch/agree.h"

#include <string.h>

bool agree(Comm *comm, bool mine, Error *error) {
    int64_t least[2] = {mine ? comm->size : comm->rank, -(int64_t)mine};
    comm_reduce_i64(comm, least, 2, REDUCE_MIN);
    int64_t first = least[0];
    bool all = least[1] == 0; /* failed: then it is nobody's own trouble */
    if (first == comm->size) return true;
    Error said = *error;
    comm->ops->host_broadcast(comm, &said, sizeof said, (int)first);
    if (all || !strncmp(said.text, "rank ", 5)) /* named already */
        *error = said;
    else
        fail(error, "rank %d: %.1000s", (int)first, said.text);
    error->code = said.code;
    return false;
}
