/* Runs files through a target, without libFuzzer: the stored corpus, or the input that ended a run. */
#include "bytes.h"

static int run_file(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) {
        perror(name);
        return 1;
    }
    static uint8_t data[1 << 16];
    const size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    /* A block of exactly that size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = malloc(size ? size : 1);
    REQUIRE(copy);
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

int main(int count, char **names) {
    for (int i = 1; i < count; i++)
        if (run_file(names[i]))
            return 1;
    printf("%d inputs\n", count - 1);
    return 0;
}
