// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>What the client did to interrupts of the device.</summary>
public enum IrqChange
{
    /// <summary>They now signal eventfds; one that was armed before has a new one.</summary>
    Armed,

    /// <summary>They no longer signal anything.</summary>
    Disarmed,

    /// <summary>They are masked.</summary>
    Masked,

    /// <summary>They are unmasked: a level that is still asserted is to be raised again.</summary>
    Unmasked,
}
