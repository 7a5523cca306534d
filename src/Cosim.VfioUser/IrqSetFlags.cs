// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>VFIO_IRQ_SET_*: one kind of data and one action.</summary>
[Flags]
public enum IrqSetFlags
{
    /// <summary>Neither; not valid in a message.</summary>
    None = 0,

    /// <summary>VFIO_IRQ_SET_DATA_NONE: for all of the range.</summary>
    DataNone = 1,

    /// <summary>VFIO_IRQ_SET_DATA_BOOL: for those whose byte is not 0.</summary>
    DataBool = 2,

    /// <summary>VFIO_IRQ_SET_DATA_EVENTFD: one descriptor each, or none at all to take them away.</summary>
    DataEventFd = 4,

    /// <summary>VFIO_IRQ_SET_ACTION_MASK.</summary>
    ActionMask = 8,

    /// <summary>VFIO_IRQ_SET_ACTION_UNMASK.</summary>
    ActionUnmask = 0x10,

    /// <summary>VFIO_IRQ_SET_ACTION_TRIGGER.</summary>
    ActionTrigger = 0x20,

    /// <summary>VFIO_IRQ_SET_DATA_TYPE_MASK.</summary>
    DataTypeMask = DataNone | DataBool | DataEventFd,

    /// <summary>VFIO_IRQ_SET_ACTION_TYPE_MASK.</summary>
    ActionTypeMask = ActionMask | ActionUnmask | ActionTrigger,
}
