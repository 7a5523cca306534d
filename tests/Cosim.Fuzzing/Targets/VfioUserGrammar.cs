// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Text;
using Cosim.VfioUser;
using Cosim.VfioUser.Internal;

namespace Cosim.Fuzzing.Targets;

/// <summary>The messages of the vfio-user protocol, each with its structure, and what else happens between a client and a server.</summary>
internal static class VfioUserGrammar
{
    private static readonly byte[][] s_versions =
    [
        [],
        VersionMessage(""),
        VersionMessage("{\"capabilities\":{\"max_data_xfer_size\":4096,\"write_multiple\":true}}\0"),
        VersionMessage("{\"capabilities\":{\"max_msg_fds\":8,\"twin_socket\":{\"supported\":true}}}\0"),
        VersionMessage("{\"capabilities\":{\"max_msg_fds\":0,\"max_data_xfer_size\":1}}\0"),
        VersionMessage("{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":0,\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}\0"),
    ];

    private static readonly string[] s_json =
    [
        "", "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}\0", "{\"capabilities\":{\"max_msg_fds\":0,\"twin_socket\":{\"supported\":true}}}\0", "{}\0", "{}", "[]\0", "{\0", "{\"capabilities\":{}}\0", "{\"capabilities\":[]}\0", "{\"capabilities\":{\"max_msg_fds\":300}}\0", "{\"capabilities\":{\"max_msg_fds\":\"1\"}}\0",
        "{\"capabilities\":{\"max_msg_fds\":-1}}\0", "{\"capabilities\":{\"max_data_xfer_size\":1.5}}\0", "{\"capabilities\":{\"max_data_xfer_size\":99999999999}}\0",
        "{\"capabilities\":{\"write_multiple\":1}}\0", "{\"capabilities\":{\"write_multiple\":false}}\0", "{\"capabilities\":{\"twin_socket\":true}}\0",
        "{\"capabilities\":{\"twin_socket\":{\"supported\":false}}}\0", "{\"capabilities\":{\"twin_socket\":{}}}\0", "{\"capabilities\":{\"twin_socket\":{\"supported\":1}}}\0",
        "{\"capabilities\":{\"twin_socket\":{\"fd_index\":\"x\"}}}\0", "{\"capabilities\":{\"max_dma_maps\":8,\"pgsizes\":4096,\"migration\":{}}}\0",
        "{\"capabilities\":{\"max_dma_maps\":-8}}\0", "{\"capabilities\":{\"pgsizes\":[]}}\0", "{\"capabilities\":{\"migration\":1}}\0",
    ];

    public static IReadOnlyList<byte[]> Words { get; } = [.. s_json.Select(Encoding.ASCII.GetBytes)];

    /// <summary>The VERSION that comes first; empty: none does.</summary>
    public static byte[] Version(byte which) => s_versions[which % s_versions.Length];

    public static void Generate(FuzzInput input, FuzzRandom random)
    {
        ulong server = (ulong)((random.OneIn(3) ? 1 : 0) | (random.OneIn(12) ? 2 : 0) | (random.OneIn(16) ? 4 : 0));
        bool negotiates = random.OneIn(8);
        _ = input.Number(server, 1).Number((ulong)(random.OneIn(2) ? 0 : random.Below(32)), 1).Number((ulong)(negotiates ? 0 : random.Between(1, s_versions.Length - 1)), 1);
        if (negotiates)
        {
            int start = Records.Begin(input, (byte)VfioUserTarget.Step.Send);
            _ = input.Number(VfioUserTarget.SizeIsRight, 1).Number(0, 1).Number(0, 1);
            Header(input, random, VfioUserCommand.Version, random.OneIn(6) ? Wire.NoReply : 0, 0);
            Body(input, random, VfioUserCommand.Version, 0);
            Records.End(input, start);
        }

        if (random.OneIn(4))
        {
            Story(input, random);
        }

        for (int steps = random.Between(1, 10); steps > 0; steps--)
        {
            VfioUserTarget.Step step = random.OneIn(3) ? (VfioUserTarget.Step)random.Below((int)VfioUserTarget.Step.Count) : VfioUserTarget.Step.Send;
            if (step is VfioUserTarget.Step.Time or VfioUserTarget.Step.Server && !random.OneIn(20))
            {
                step = VfioUserTarget.Step.Dma;
            }

            int start = Records.Begin(input, (byte)step);
            if (step == VfioUserTarget.Step.Send)
            {
                Message(input, random);
            }
            else
            {
                Arguments(input, step, random);
            }

            Records.End(input, start);
        }

        input.IsMarked = true;
    }

    // Steps that seldom come together by themselves.
    private static void Story(FuzzInput input, FuzzRandom random)
    {
        ulong page = (ulong)random.Below(4) << 12;
        switch (random.Below(7))
        {
            case 0:
                // Pages are written while they are watched, and reported.
                Step(input, random, VfioUserCommand.DeviceFeature, 0, i => WatchedRanges(i, random));
                Step(input, random, VfioUserCommand.DmaMap, random.Below(2), i => Map(i, page, 0x4000));
                for (int writes = random.Between(1, 3); writes > 0; writes--)
                {
                    Dma(input, random.Pick(0, 1, 1, 3), page + (ulong)random.Below(0x3000), random.Below(6000));
                }

                Step(input, random, VfioUserCommand.DeviceFeature, 0, i => _ = i.Number(4096, 4, FieldKind.Length).Number(0x1_0008, 4).Number(page + (ulong)random.Pick(0, 0, 100), 8)
                    .Number((ulong)random.Pick(0x4000, 0x1000, 1 << 20), 8, FieldKind.Length).Number(1UL << random.Pick(12, 10, 13), 8));
                break;
            case 1:
                // The client takes nothing, neither answers nor commands.
                Step(input, random, VfioUserCommand.DmaMap, 0, i => Map(i, 0, 0x10_0000));
                Plain(input, VfioUserTarget.Step.Reads, 0);
                for (int commands = random.Between(4, 12); commands > 0; commands--)
                {
                    Dma(input, 3, (ulong)random.Below(4096), 65535);
                }

                Plain(input, VfioUserTarget.Step.Reads, (byte)random.Below(2));
                Plain(input, random.Pick(VfioUserTarget.Step.Twin, VfioUserTarget.Step.Answer, VfioUserTarget.Step.Reconnect), 0);
                break;
            case 2:
                // A message as long as any may be: what is sent again goes on with it.
                int message = Records.Begin(input, (byte)VfioUserTarget.Step.Send);
                _ = input.Number(0, 1).Number(0, 1).Number(0, 1);
                Header(input, random, VfioUserCommand.RegionWrite, 0, 65_568);
                for (int i = 0; i < 33_000; i += 8)
                {
                    _ = input.Add([0, 0, 0, 0, 0, 0, 0, 0]);
                }

                Records.End(input, message);
                Plain(input, VfioUserTarget.Step.Again, (byte)random.Between(1, 3));
                break;
            case 3:
                Interrupts(input, random);
                break;
            case 4:
                // Accesses over two ranges side by side, whose file may be taken away.
                if (random.OneIn(2))
                {
                    Step(input, random, VfioUserCommand.DeviceFeature, 0, i => WatchedRanges(i, random));
                }

                Step(input, random, VfioUserCommand.DmaMap, 1, i => Map(i, page, 0x1000));
                Step(input, random, VfioUserCommand.DmaMap, 1, i => Map(i, page + 0x1000, 0x1000));
                if (random.OneIn(2))
                {
                    Plain(input, VfioUserTarget.Step.Truncate, 0);
                }

                Dma(input, random.Below(4), page + 0xF80, random.Between(100, 400));
                Dma(input, random.Below(2), page + 0xF80, random.Between(100, 400));
                Step(input, random, VfioUserCommand.DmaUnmap, 0, i => _ = i.Number(24, 4, FieldKind.Length).Number(0, 4).Number(page, 8).Number((ulong)random.Pick(0x1000, 0x2000, 0x1800), 8, FieldKind.Length));
                break;
            case 5:
                // Memory that the client has to be asked for, and its answers.
                Step(input, random, VfioUserCommand.DmaMap, 0, i => Map(i, page, 0x4000));
                int accesses = random.Between(1, 3);
                for (int i = 0; i < accesses; i++)
                {
                    Dma(input, random.Between(2, 3), page, random.Pick(8, 100, 6000, 10_000));
                }

                for (int i = random.Below(6); i > 0; i--)
                {
                    int start = Records.Begin(input, (byte)VfioUserTarget.Step.Answer);
                    _ = input.Number((ulong)random.Below(3), 1).Number((ulong)(random.OneIn(2) ? 0 : random.Below(16)), 1);
                    Records.End(input, start);
                }

                break;
            default:
                // Many long answers.
                Plain(input, VfioUserTarget.Step.Reads, 0);
                Step(input, random, VfioUserCommand.RegionRead, 0, i => _ = i.Number(0, 8).Number(2, 4).Number(PlayedDevice.MostTransfer, 4, FieldKind.Length));
                Plain(input, VfioUserTarget.Step.Again, (byte)random.Between(10, 60));
                Step(input, random, VfioUserCommand.DeviceGetRegionIoFds, 0, i => _ = i.Number(4096, 4, FieldKind.Length).Number(0, 8).Number(0, 4));
                Plain(input, VfioUserTarget.Step.Again, (byte)random.Between(0, 3));
                Plain(input, VfioUserTarget.Step.Reads, (byte)random.Below(2));
                break;
        }
    }

    // Interrupts are armed, raised, masked and unmasked, by messages and by an event.
    private static void Interrupts(FuzzInput input, FuzzRandom random)
    {
        int index = random.Pick(VfioPci.IntxIrqIndex, VfioPci.IntxIrqIndex, VfioPci.MsixIrqIndex);
        byte vector = (byte)(index == VfioPci.IntxIrqIndex ? PlayedDevice.Vectors : 0);
        void Set(IrqSetFlags flags, int descriptors, int count) => Step(input, random, VfioUserCommand.DeviceSetIrqs, descriptors, i => _ = i
            .Number(20, 4, FieldKind.Length).Number((ulong)flags, 4).Number((ulong)index, 4).Number(0, 4).Number((ulong)count, 4, FieldKind.Length), random.Pick(0, 0x12));
        Set(IrqSetFlags.DataEventFd | IrqSetFlags.ActionTrigger, 1, 1);
        Plain(input, VfioUserTarget.Step.Raise, vector);
        for (int changes = random.Between(1, 4); changes > 0; changes--)
        {
            Set(random.Pick(IrqSetFlags.DataNone, IrqSetFlags.DataEventFd) | random.Pick(IrqSetFlags.ActionMask, IrqSetFlags.ActionUnmask, IrqSetFlags.ActionTrigger), random.Below(2), 1);
            Plain(input, VfioUserTarget.Step.Raise, vector);
            Plain(input, VfioUserTarget.Step.Signal, 0x80);
        }

        Set(IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger, 0, random.Below(2));
    }

    private static void Step(FuzzInput input, FuzzRandom random, VfioUserCommand command, int descriptors, Action<FuzzInput> body, int kinds = 0x1B)
    {
        int start = Records.Begin(input, (byte)VfioUserTarget.Step.Send);
        _ = input.Number(VfioUserTarget.SizeIsRight, 1).Number((ulong)descriptors, 1, FieldKind.Length).Number((ulong)kinds, 1);
        Header(input, random, command, 0, 0);
        body(input);
        Records.End(input, start);
    }

    private static void Plain(FuzzInput input, VfioUserTarget.Step step, byte argument)
    {
        int start = Records.Begin(input, (byte)step);
        _ = input.Number(argument, 1);
        Records.End(input, start);
    }

    private static void Dma(FuzzInput input, int how, ulong address, int length)
    {
        int start = Records.Begin(input, (byte)VfioUserTarget.Step.Dma);
        _ = input.Number((ulong)how, 1).Number(address, 8).Number((ulong)length, 2, FieldKind.Length);
        Records.End(input, start);
    }

    private static void Map(FuzzInput input, ulong address, ulong size) =>
        _ = input.Number(32, 4, FieldKind.Length).Number(3, 4).Number(0, 8).Number(address, 8).Number(size, 8, FieldKind.Length);

    private static void WatchedRanges(FuzzInput input, FuzzRandom random)
    {
        int ranges = random.Below(3);
        _ = input.Number(1024, 4, FieldKind.Length).Number(0x2_0006, 4).Number(4096, 8).Number((ulong)ranges, 4, FieldKind.Length).Number(0, 4);
        for (int i = 0; i < ranges; i++)
        {
            _ = input.Number((ulong)random.Below(4) << 12, 8).Number((ulong)random.Between(1, 4) << 12, 8, FieldKind.Length);
        }
    }

    private static void Arguments(FuzzInput input, VfioUserTarget.Step step, FuzzRandom random)
    {
        switch (step)
        {
            case VfioUserTarget.Step.Dma:
                _ = input.Number((ulong)random.Below(4), 1).Number(Address(random) + (ulong)random.Below(64), 8).Number((ulong)(random.OneIn(4) ? random.Below(65536) : random.Below(300)), 2, FieldKind.Length);
                break;
            case VfioUserTarget.Step.Twin:
                _ = input.Number((ulong)random.Below(4), 1);
                Header(input, random, random.Pick(VfioUserCommand.DmaRead, VfioUserCommand.DmaWrite, VfioUserCommand.RegionRead), random.Pick(1u, 1u, 0u), (uint)random.Pick(16, 32, 40, 8, 20_000, 1 << 20));
                _ = input.Number(Address(random), 8).Number((ulong)random.Below(64), 8);
                break;
            case VfioUserTarget.Step.MapMany:
                _ = input.Number((ulong)random.Below(140), 1).Number((ulong)random.Below(4) << 32, 8);
                break;
            default:
                _ = input.Number((ulong)random.Below(256), 1).Number((ulong)random.Below(16), 1);
                break;
        }
    }

    private static ulong Address(FuzzRandom random) => random.Below(8) switch
    {
        0 => ulong.MaxValue - 4095,
        1 => 0,
        _ => (ulong)random.Below(8) << 12,
    };

    private static void Header(FuzzInput input, FuzzRandom random, VfioUserCommand command, uint flags, uint size) =>
        _ = input.Number((ulong)random.Below(5), 2).Number((ulong)command, 2).Number(size, 4, FieldKind.Length).Number(flags, 4).Number(0, 4);

    private static void Message(FuzzInput input, FuzzRandom random)
    {
        VfioUserCommand command = random.OneIn(24) ? (VfioUserCommand)random.Below(24) : random.Pick(
            VfioUserCommand.Version, VfioUserCommand.DmaMap, VfioUserCommand.DmaMap, VfioUserCommand.DmaUnmap, VfioUserCommand.DeviceGetInfo, VfioUserCommand.DeviceGetRegionInfo,
            VfioUserCommand.DeviceGetRegionIoFds, VfioUserCommand.DeviceGetIrqInfo, VfioUserCommand.DeviceSetIrqs, VfioUserCommand.DeviceSetIrqs, VfioUserCommand.RegionRead,
            VfioUserCommand.RegionWrite, VfioUserCommand.DeviceReset, VfioUserCommand.RegionWriteMulti, VfioUserCommand.DeviceFeature, VfioUserCommand.DeviceFeature,
            VfioUserCommand.DmaRead, VfioUserCommand.DmaWrite, VfioUserCommand.DirtyPages);
        int how = (random.OneIn(16) ? 0 : VfioUserTarget.SizeIsRight) | (random.Below(6) switch { 0 => 1, 1 => random.Between(2, 60), _ => 0 });
        bool carries = command is VfioUserCommand.DmaMap or VfioUserCommand.DeviceSetIrqs;
        int descriptors = carries && random.OneIn(2) ? random.Pick(1, 1, 2, 3) : random.OneIn(16) ? random.Below(20) : 0;
        int kinds = command == VfioUserCommand.DmaMap ? 0x1B : random.OneIn(4) ? random.Below(64) : random.Pick(0, 0, 0x12);
        _ = input.Number((ulong)how, 1).Number((ulong)descriptors, 1, FieldKind.Length).Number((ulong)kinds, 1);
        bool isReply = command is VfioUserCommand.DmaRead or VfioUserCommand.DmaWrite;
        Header(input, random, command, isReply ? 1u : random.OneIn(8) ? 0x10u : random.OneIn(24) ? (uint)random.Below(64) : 0, (uint)random.Pick(16, 32, 48, 15, 1 << 20));
        Body(input, random, command, descriptors);
    }

    private static void Body(FuzzInput input, FuzzRandom random, VfioUserCommand command, int descriptors)
    {
        switch (command)
        {
            case VfioUserCommand.Version:
                _ = input.Number(random.OneIn(8) ? 1u : 0, 2).Number(1, 2);
                input.Fields.Add(new Field(input.Length, 0, FieldKind.Text));
                _ = input.Add(random.Pick(s_json));
                break;
            case VfioUserCommand.DmaMap:
                _ = input.Number(32, 4, FieldKind.Length).Number((ulong)random.Pick(3, 3, 1, 2, 0, 8 + 3), 4).Number((ulong)random.Below(6) << 12, 8).Number(Address(random), 8).Number(Size(random), 8, FieldKind.Length);
                break;
            case VfioUserCommand.DmaUnmap:
                bool all = random.OneIn(6);
                _ = input.Number(24, 4, FieldKind.Length).Number(all ? 2u : random.OneIn(12) ? 1u : 0, 4).Number(all ? 0 : Address(random), 8).Number(all ? 0 : Size(random), 8, FieldKind.Length);
                break;
            case VfioUserCommand.DeviceSetIrqs:
                SetIrqs(input, random, descriptors);
                break;
            case VfioUserCommand.RegionRead or VfioUserCommand.RegionWrite:
                Access(input, random, command);
                break;
            case VfioUserCommand.RegionWriteMulti:
                int writes = random.OneIn(16) ? 0 : random.Between(1, 4);
                _ = input.Number((ulong)writes, 8, FieldKind.Length);
                for (int i = 0; i < writes; i++)
                {
                    _ = input.Number((ulong)random.Below(5000), 8).Number((ulong)random.Pick(0, 0, 1, 3, 9), 4).Number((ulong)random.Pick(1, 4, 8, 8, 9, 0), 4, FieldKind.Length).Number(random.Next(), 8);
                }

                break;
            case VfioUserCommand.DeviceFeature:
                Feature(input, random);
                break;
            case VfioUserCommand.DeviceGetInfo or VfioUserCommand.DeviceGetRegionInfo or VfioUserCommand.DeviceGetIrqInfo or VfioUserCommand.DeviceGetRegionIoFds:
                int size = command switch { VfioUserCommand.DeviceGetRegionInfo => 32, _ => 16 };
                _ = input.Number((ulong)random.Pick(size, 1024, 1024, 8), 4, FieldKind.Length).Number(0, 4).Number((ulong)random.Pick(0, 2, 3, 4, random.Below(10)), 4).Number(0, 4);
                for (int i = 16; i < size; i += 8)
                {
                    _ = input.Number(0, 8);
                }

                break;
            case VfioUserCommand.DmaRead or VfioUserCommand.DmaWrite:
                _ = input.Number(Address(random), 8).Number((ulong)random.Below(64), 8);
                break;
            default:
                break;
        }
    }

    private static ulong Size(FuzzRandom random) => random.Below(10) switch { 0 => 0, 1 => ulong.MaxValue, 2 => 100, _ => (ulong)random.Between(1, 3) << 12 };

    private static void Access(FuzzInput input, FuzzRandom random, VfioUserCommand command)
    {
        int count = random.OneIn(6) ? random.Pick(PlayedDevice.MostTransfer, 4096, 0, 20_000) : random.Between(1, 16);
        _ = input.Number((ulong)random.Below(random.OneIn(3) ? 70_000 : 4000), 8).Number((ulong)random.Pick(0, 0, 1, 2, 2, 3, 7, 9), 4).Number((ulong)count, 4, FieldKind.Length);
        for (int i = 0; command == VfioUserCommand.RegionWrite && i < count; i++)
        {
            _ = input.Add((byte)i);
        }
    }

    private static void SetIrqs(FuzzInput input, FuzzRandom random, int descriptors)
    {
        int index = random.Pick(VfioPci.IntxIrqIndex, VfioPci.MsixIrqIndex, VfioPci.MsixIrqIndex, VfioPci.ErrIrqIndex, VfioPci.ReqIrqIndex, VfioPci.MsiIrqIndex);
        uint data = random.Pick(1u, 2u, 4u);
        uint action = random.Pick(8u, 16u, 32u, 32u, 32u);
        int start = index == VfioPci.MsixIrqIndex ? random.Below(4) : 0;
        int count = descriptors > 0 ? descriptors : index == VfioPci.MsixIrqIndex ? random.Below(4) : random.Below(2);
        data = descriptors > 0 ? 4 : data;
        _ = input.Number(20, 4, FieldKind.Length).Number(data | action, 4).Number((ulong)index, 4).Number((ulong)(count == 0 ? 0 : start), 4).Number((ulong)count, 4, FieldKind.Length);
        for (int i = 0; data == 2 && i < count; i++)
        {
            _ = input.Add((byte)random.Below(2));
        }
    }

    private static void Feature(FuzzInput input, FuzzRandom random)
    {
        uint feature = random.OneIn(8) ? (uint)random.Below(12) : random.Pick(6u, 6u, 7u, 8u, 8u);
        uint method = random.OneIn(6) ? (uint)random.Below(16) << 16 : feature == 8 ? 0x1_0000u : 0x2_0000u;
        _ = input.Number((ulong)random.Pick(1024, 1024, 8, 32), 4, FieldKind.Length).Number(feature | method, 4);
        if (feature == 6)
        {
            int ranges = random.Below(3);
            _ = input.Number(4096, 8).Number((ulong)ranges, 4, FieldKind.Length).Number(0, 4);
            for (int i = 0; i < ranges; i++)
            {
                _ = input.Number(Address(random), 8).Number(Size(random), 8, FieldKind.Length);
            }
        }
        else if (feature == 8)
        {
            _ = input.Number(Address(random), 8).Number(random.OneIn(4) ? 1UL << random.Between(12, 40) : Size(random), 8, FieldKind.Length).Number(1UL << random.Pick(12, 12, 10, 13, 21), 8);
        }
    }

    private static byte[] VersionMessage(string json)
    {
        byte[] message = new byte[Wire.HeaderSize + Wire.VersionSize + json.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(2), (ushort)VfioUserCommand.Version);
        BinaryPrimitives.WriteInt32LittleEndian(message.AsSpan(4), message.Length);
        _ = Encoding.ASCII.GetBytes(json, message.AsSpan(Wire.HeaderSize + Wire.VersionSize));
        return message;
    }
}
