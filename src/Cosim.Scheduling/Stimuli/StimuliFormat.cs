// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Stimuli;

/// <summary>The numbers of the recording format, <c>hdl/STIMULI.md</c>.</summary>
public static class StimuliFormat
{
    /// <summary>Version of the format that is written and read here.</summary>
    public const int Version = 1;

    /// <summary>Greatest length of a line, without its LF.</summary>
    public const int MaxLineBytes = 16384;

    /// <summary>Greatest number of generics in a head.</summary>
    public const int MaxGenerics = 64;

    /// <summary>Greatest number of ports.</summary>
    public const int MaxPorts = 3;

    /// <summary>Cycles for which <c>rst_i</c> is 1 at a reset.</summary>
    public const ulong ResetCycles = 8;

    /// <summary>The management port's number, where there is one.</summary>
    public const int ManagementPort = 2;

    /// <summary>Greatest payload of a packet in bytes.</summary>
    public const int MaxPayloadBytes = 4096;

    /// <summary>Greatest packet in bytes.</summary>
    public const int MaxPacketBytes = 32 + MaxPayloadBytes;

    /// <summary>Bytes of a packet's header in C#: <c>hdl/CONTRACT.md</c>, section 2.</summary>
    public static int HeaderBytes(int port) => port == ManagementPort ? 32 : 16;
}
