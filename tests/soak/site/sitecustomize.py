"""What an interpreter does first that finds this folder on its path: fill numpy's cache of small blocks.

numpy keeps up to seven freed blocks of each size below 1 KiB for its arrays (NCACHE and NBUCKETS in its
multiarray/alloc.c), 3.5 MiB in all. A process that meets rare sizes now and then fills it over hours, which
reads like a leak of half a MiB an hour. Filled from the start, it is no growth.
"""

import numpy as np

BLOCKS, BYTES = 7, 1024

blocks = [np.empty(size, np.uint8) for size in range(1, BYTES) for _ in range(BLOCKS)]
del blocks
