#include "failing.h"

#define NEVER (-1)

#ifdef OCTA_TEST_ALLOC
#include <string.h>

#define MOST_SITES 256

static long countdown = NEVER; /* allocations that still succeed; one fails when it reaches 0 */
long failing_live_blocks;

/* Where in the core an allocation has failed. */
static struct {
    const char *file;
    int line;
} sites[MOST_SITES];
static int site_count;

void *octa_test_malloc(size_t size, const char *file, int line);
void *octa_test_realloc(void *block, size_t size, const char *file, int line);
void octa_test_free(void *block);

static void note_site(const char *file, int line) {
    for (int i = 0; i < site_count; i++)
        if (sites[i].line == line && strcmp(sites[i].file, file) == 0)
            return;
    CHECK(site_count < MOST_SITES);
    sites[site_count].file = file;
    sites[site_count++].line = line;
}

static int fails_now(const char *file, int line) {
    if (countdown == NEVER || countdown-- != 0)
        return 0;
    note_site(file, line);
    return 1;
}

void *octa_test_malloc(size_t size, const char *file, int line) {
    void *block = fails_now(file, line) ? NULL : malloc(size ? size : 1);
    failing_live_blocks += block != NULL;
    return block;
}

void *octa_test_realloc(void *block, size_t size, const char *file, int line) {
    void *moved = fails_now(file, line) ? NULL : realloc(block, size ? size : 1);
    failing_live_blocks += moved != NULL && block == NULL;
    return moved;
}

void octa_test_free(void *block) {
    failing_live_blocks -= block != NULL;
    free(block);
}

void failing_write_sites(const char *path) {
    FILE *file = fopen(path, "w");
    CHECK(file);
    for (int i = 0; i < site_count; i++)
        fprintf(file, "%s:%d\n", sites[i].file, sites[i].line);
    CHECK(fclose(file) == 0);
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
