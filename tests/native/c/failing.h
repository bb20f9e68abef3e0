/* Allocations that fail when they are told to, for tests built with OCTA_TEST_ALLOC. */
#ifndef OCTA_TEST_FAILING_H
#define OCTA_TEST_FAILING_H

#include "check.h"

/** Blocks allocated by the core and not freed. */
extern long failing_live_blocks;

/** The nth allocation from now on fails, 0 for the next one. */
void failing_at(long n);

/** No allocation fails any more; true when the code says that one did, false for success. */
int failing_check(octa_error code, const char *file, int line);

/** Write where in the core an allocation has failed so far, a file:line each. */
void failing_write_sites(const char *path);

/* One call with its nth allocation failing; true when it failed for that, false when it succeeded. */
#define FAILS_AT(n, call) (failing_at(n), failing_check((call), __FILE__, __LINE__))

#endif
