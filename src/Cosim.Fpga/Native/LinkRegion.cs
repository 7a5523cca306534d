// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Cosim.Fpga.Native;

/// <summary>The memory between this side and a simulator; <c>Link/region.h</c> is the other half of this file.</summary>
internal sealed unsafe class LinkRegion : IDisposable
{
    public const uint CommandRun = 1;
    public const uint CommandReset = 2;
    public const uint CommandQuit = 3;

    private const uint Magic = 0x4E4C4B31;
    private const int InputOffset = 1024;
    private const int InputBytesMax = 512 * 1024;
    private const int OutputOffset = InputOffset + InputBytesMax;
    private const int Size = OutputOffset + 256 * 1024;
    private const int RecordBytes = 16;
    private const int FailureBytes = 768;

    private readonly int file;
    private byte* memory;

    /// <summary>Makes the memory: anonymous, visible to a child through <see cref="PathForChild"/>.</summary>
    public LinkRegion(DesignSources design, LinkPauses pauses, ulong firstCycle)
    {
        file = Libc.CreateMemory("cosim-link", Size);
        memory = (byte*)Libc.Map(file, Size);
        Field(0) = Magic;
        Field(4) = Size;
        Field(8) = (uint)design.Ports;
        Field(12) = design.IdleCycles ?? 0;
        Field(16) = InputOffset;
        Field(20) = OutputOffset;
        Field(24) = pauses.Into;
        Field(28) = pauses.OutOf;
        *(ulong*)(memory + 32) = pauses.Seed;
        *(ulong*)(memory + 40) = firstCycle;
    }

    /// <summary>Address of the memory.</summary>
    public nint Address => (nint)memory;

    /// <summary>A path under which a child of this process can open the memory while this process holds it.</summary>
    public string PathForChild => $"/proc/{Environment.ProcessId}/fd/{file}";

    /// <summary>Number of the last request; a futex.</summary>
    public ref uint Request => ref Field(64);

    /// <summary>1 while the simulator sleeps on <see cref="Request"/>.</summary>
    public ref uint RequestSleeper => ref Field(68);

    /// <summary>Number of the last request that is answered; a futex.</summary>
    public ref uint Answer => ref Field(128);

    /// <summary>1 while this side sleeps on <see cref="Answer"/>.</summary>
    public ref uint AnswerSleeper => ref Field(132);

    /// <summary>Result of the last request, as <see cref="RunResult"/>.</summary>
    public RunResult Result => (RunResult)Field(136);

    /// <summary>Cycles run when the last request was answered.</summary>
    public ulong Cycle => *(ulong*)(memory + 144);

    /// <summary>Cycles run up to now.</summary>
    public ulong Progress => Volatile.Read(ref *(ulong*)(memory + 192));

    /// <summary>Why the simulator gave up.</summary>
    public string Failure
    {
        get
        {
            ReadOnlySpan<byte> text = new(memory + 256, FailureBytes);
            int end = text.IndexOf((byte)0);
            return Encoding.UTF8.GetString(end < 0 ? text : text[..end]);
        }
    }

    /// <summary>Bytes of input that have not been taken yet.</summary>
    public uint InputBytes
    {
        get => Field(76);
        private set => Field(76) = value;
    }

    /// <summary>Bytes of output of the last request.</summary>
    public uint OutputBytes => Field(140);

    /// <summary>Writes a request; the caller rings.</summary>
    public void WriteRequest(uint command, ulong maxCycles, uint lookahead)
    {
        Field(72) = command;
        *(ulong*)(memory + 80) = maxCycles;
        Field(88) = lookahead;
    }

    /// <summary>Adds an input; false where there is no room before the simulator has taken the earlier ones.</summary>
    public bool TryWrite(int port, ReadOnlySpan<byte> packet, ulong notBefore)
    {
        int total = (RecordBytes + packet.Length + 7) & ~7;
        uint at = InputBytes;
        if (at + total > InputBytesMax)
        {
            return false;
        }

        byte* record = memory + InputOffset + at;
        *(uint*)record = (uint)packet.Length;
        *(uint*)(record + 4) = (uint)port;
        *(ulong*)(record + 8) = notBefore;
        packet.CopyTo(new Span<byte>(record + RecordBytes, packet.Length));
        InputBytes = at + (uint)total;
        return true;
    }

    /// <summary>Forgets the inputs that the simulator has not taken.</summary>
    public void ClearInputs() => InputBytes = 0;

    /// <summary>Reads the output at <paramref name="at"/> and moves on.</summary>
    public FpgaPacket Read(ref uint at)
    {
        byte* record = memory + OutputOffset + at;
        int size = (int)*(uint*)record;
        at += (uint)((RecordBytes + size + 7) & ~7);
        return new FpgaPacket((int)*(uint*)(record + 4), *(ulong*)(record + 8), new ReadOnlySpan<byte>(record + RecordBytes, size));
    }

    public void Dispose()
    {
        if (memory != null)
        {
            Libc.Unmap((nint)memory, Size);
            memory = null;
            Libc.Close(file);
        }
    }

    private ref uint Field(int offset) => ref *(uint*)(memory + offset);
}
