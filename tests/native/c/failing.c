#include "failing.h"

#define NEVER (-1)

#ifdef OCTA_TEST_ALLOC
static long countdown = NEVER; /* allocations that still succeed; one fails when it reaches 0 */
long failing_live_blocks;

void *octa_test_malloc(size_t size);
void *octa_test_realloc(void *block, size_t size);
void octa_test_free(void *block);

static int fails_now(void) { return countdown != NEVER && countdown-- == 0; }

void *octa_test_malloc(size_t size) {
    void *block = fails_now() ? NULL : malloc(size ? size : 1);
    failing_live_blocks += block != NULL;
    return block;
}

void *octa_test_realloc(void *block, size_t size) {
    void *moved = fails_now() ? NULL : realloc(block, size ? size : 1);
    failing_live_blocks += moved != NULL && block == NULL;
    return moved;
}

void octa_test_free(void *block) {
    failing_live_blocks -= block != NULL;
    free(block);
}

void failing_at(long n) { countdown = n; }

int failing_check(octa_error code, const char *file, int line) {
    countdown = NEVER;
    if (code != OCTA_OK && code != OCTA_E_MEMORY) {
        fprintf(stderr, "%s:%d: unexpected error: %s\n", file, line, octa_describe_error(code));
        exit(1);
    }
    return code == OCTA_E_MEMORY;
}
#endif
