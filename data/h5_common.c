/* h5_common.c - how HDF5 is started, how it reports, and the types that we store. */
#include "data/h5_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* -- types ------------------------------------------------------------------------------------ */
static hid_t bf16_type(void) { /* sign bit 15, exponent 7..14 with bias 127, mantissa 0..6 */
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    check(type >= 0 && H5Tset_fields(type, 15, 7, 8, 0, 7) >= 0 && H5Tset_size(type, 2) >= 0 &&
              H5Tset_ebias(type, 127) >= 0,
          "HDF5 cannot make the bf16 type");
    return type;
}

static hid_t f16_type(void) { /* sign bit 15, exponent 10..14 with bias 15, mantissa 0..9 */
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    check(type >= 0 && H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type, 2) >= 0 &&
              H5Tset_ebias(type, 15) >= 0,
          "HDF5 cannot make the f16 type");
    return type;
}

hid_t h5_type_open(Dtype dtype) {
    switch (dtype) {
    case F64: return H5Tcopy(H5T_IEEE_F64LE);
    case F32: return H5Tcopy(H5T_IEEE_F32LE);
    case BF16: return bf16_type();
    case I32: return H5Tcopy(H5T_STD_I32LE);
    case I64: return H5Tcopy(H5T_STD_I64LE);
    case U8: return H5Tcopy(H5T_STD_U8LE);
    case U16: return H5Tcopy(H5T_STD_U16LE);
    case F16: return f16_type();
    }
    check(false, "dtype %d has no HDF5 type", (int)dtype);
}

bool h5_type_find(hid_t type, Dtype *dtype) {
    for (Dtype d = F64; d <= F16; d++) {
        hid_t ours = h5_type_open(d);
        bool same = H5Tequal(type, ours) > 0;
        H5Tclose(ours);
        if (same) return *dtype = d, true;
    }
    return false;
}

/* -- start and messages ----------------------------------------------------------------------- */
static void harden(void) {
    static const char *const leads_elsewhere[] = {"HDF5_VDS_PREFIX",     "HDF5_EXTFILE_PREFIX", "HDF5_PLUGIN_PATH",
                                                  "HDF5_PLUGIN_PRELOAD", "HDF5_DRIVER",         "HDF5_DRIVER_CONFIG"};
    for (size_t i = 0; i < sizeof leads_elsewhere / sizeof *leads_elsewhere; i++) unsetenv(leads_elsewhere[i]);
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1); /* HDF5 never writes to a disk here, and NFS may have no locks */
    check(H5open() >= 0 && H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0 && H5PLset_loading_state(0) >= 0,
          "HDF5 does not start");
}

void h5_start(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, harden);
}

static herr_t keep_reason(unsigned n, const H5E_error2_t *e, void *reason) {
    if (n == 0 && e->desc) snprintf(reason, 256, " (HDF5: %s)", e->desc); /* 0: where it happened */
    return 0;
}

bool h5_fail(Error *error, const char *format, ...) {
    char text[700], reason[256] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_reason, reason);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(error, "%s%s", text, reason);
}

const char *h5_version(void) {
    static char text[48];
    unsigned major, minor, release;
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "HDF5 %u.%u.%u", major, minor, release);
    return text;
}
