-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Register map: the constants of registers.md (a test holds this file against it)  --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

package cosim_regs_pkg is

  -- block OP
  constant OP_REG_WRITE_C : natural := 16#01#;
  constant OP_REG_READ_C : natural := 16#02#;
  constant OP_MEM_WRITE_C : natural := 16#03#;
  constant OP_MEM_READ_C : natural := 16#04#;
  constant OP_DMA_C : natural := 16#05#;
  constant OP_INTERRUPT_C : natural := 16#06#;
  constant OP_REG_DATA_C : natural := 16#82#;
  constant OP_MEM_DATA_C : natural := 16#84#;
  constant OP_DMA_DONE_C : natural := 16#85#;
  constant OP_NOTIFY_C : natural := 16#90#;
  constant OP_STATUS_C : natural := 16#91#;
  constant OP_DOORBELL_C : natural := 16#92#;
  constant OP_MAILBOX_C : natural := 16#93#;
  constant OP_FLR_C : natural := 16#94#;
  constant OP_QUEUE_RESET_C : natural := 16#95#;
  constant OP_CONFIG_WRITE_C : natural := 16#96#;
  constant OP_BACKEND_C : natural := 16#97#;

  -- block MG
  constant MG_ID_C : natural := 16#0000#;
  constant MG_VERSION_C : natural := 16#0004#;
  constant MG_GEOMETRY_C : natural := 16#0008#;
  constant MG_VECTORS_C : natural := 16#000C#;
  constant MG_SCRATCH_SIZE_C : natural := 16#0010#;
  constant MG_DATA_WIDTH_C : natural := 16#0014#;
  constant MG_F2H_CONTROL_C : natural := 16#0020#;
  constant MG_H2F_CONTROL_C : natural := 16#0024#;
  constant MG_BE_STATUS_C : natural := 16#0028#;
  constant MG_BE_CONTROL_C : natural := 16#002C#;
  constant MG_F2H_DATA_C : natural := 16#4000#;
  constant MG_H2F_DATA_C : natural := 16#4400#;
  constant MG_FUNCTION_C : natural := 16#10000#;

  -- block FN
  constant FN_PCI_ID_C : natural := 16#0000#;
  constant FN_CLASS_REVISION_C : natural := 16#0004#;
  constant FN_SUBSYSTEM_C : natural := 16#0008#;
  constant FN_CONTROL_C : natural := 16#000C#;
  constant FN_DEVICE_FEATURES_LO_C : natural := 16#0010#;
  constant FN_DEVICE_FEATURES_HI_C : natural := 16#0014#;
  constant FN_DRIVER_FEATURES_LO_C : natural := 16#0018#;
  constant FN_DRIVER_FEATURES_HI_C : natural := 16#001C#;
  constant FN_STATUS_C : natural := 16#0020#;
  constant FN_NUM_QUEUES_C : natural := 16#0024#;
  constant FN_CONFIG_VECTOR_C : natural := 16#0028#;
  constant FN_CONFIG_GENERATION_C : natural := 16#002C#;
  constant FN_ISR_C : natural := 16#0030#;
  constant FN_DEVICE_CONFIG_C : natural := 16#0100#;
  constant FN_QUEUE_C : natural := 16#1000#;

  -- block QU
  constant QU_SIZE_LIMIT_C : natural := 16#00#;
  constant QU_SIZE_C : natural := 16#04#;
  constant QU_ENABLE_C : natural := 16#08#;
  constant QU_VECTOR_C : natural := 16#0C#;
  constant QU_DESC_LO_C : natural := 16#10#;
  constant QU_DESC_HI_C : natural := 16#14#;
  constant QU_DRIVER_LO_C : natural := 16#18#;
  constant QU_DRIVER_HI_C : natural := 16#1C#;
  constant QU_DEVICE_LO_C : natural := 16#20#;
  constant QU_DEVICE_HI_C : natural := 16#24#;
  constant QU_RESET_C : natural := 16#28#;

  -- block BE
  constant BE_ID_C : natural := 16#0000#;
  constant BE_VERSION_C : natural := 16#0004#;
  constant BE_GEOMETRY_C : natural := 16#0008#;
  constant BE_VECTORS_C : natural := 16#000C#;
  constant BE_CONTROL_C : natural := 16#0010#;
  constant BE_STATUS_C : natural := 16#0014#;
  constant BE_INTX_STATUS_C : natural := 16#0018#;
  constant BE_F2H_STATUS_C : natural := 16#0020#;
  constant BE_F2H_ACK_C : natural := 16#0024#;
  constant BE_H2F_STATUS_C : natural := 16#0028#;
  constant BE_H2F_POST_C : natural := 16#002C#;
  constant BE_F2H_DATA_C : natural := 16#1000#;
  constant BE_H2F_DATA_C : natural := 16#1400#;
  constant BE_DOORBELL_C : natural := 16#2000#;

  -- block BAR
  constant BAR_VIRTIO_COMMON_C : natural := 16#0000#;
  constant BAR_VIRTIO_ISR_C : natural := 16#1000#;
  constant BAR_VIRTIO_DEVICE_C : natural := 16#2000#;
  constant BAR_VIRTIO_NOTIFY_C : natural := 16#3000#;
  constant BAR_MSIX_TABLE_C : natural := 16#0000#;
  constant BAR_MSIX_PBA_C : natural := 16#2000#;

end package cosim_regs_pkg;
