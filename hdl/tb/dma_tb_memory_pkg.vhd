-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Memories of the DMA benches: one set for the model and the bench                 --
-- ================================================================================ --

library work;
use work.dma_tb_pkg.all;

package dma_tb_memory_pkg is

  shared variable memory   : memories_t; -- as it is
  shared variable expected : memories_t; -- as it shall be
  shared variable reads    : counters_t; -- MRd seen
  shared variable writes   : counters_t; -- MWr seen

end package dma_tb_memory_pkg;
