// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>Makes a plan of choices. Zeros make the smallest one: one chain of one byte.</summary>
internal sealed class PlanMaker(Choices choices, bool illegal)
{
    /// <summary>Functions of the FPGA.</summary>
    public const int Functions = 2;

    /// <summary>Queues of a function.</summary>
    public const int Queues = 8;

    /// <summary>Bytes of host 1's memory; each function has a part of its own.</summary>
    public const int HostOneBytes = 2 << 20;

    /// <summary>Bytes of host 2's memory.</summary>
    public const int HostTwoBytes = 5 << 18;

    /// <summary>Bytes of the pool in it.</summary>
    public const int PoolBytes = 1 << 20;

    /// <summary>Bytes of the device configuration space.</summary>
    public const int ConfigurationBytes = 60;

    private const uint Page = 4096;
    private const ulong FourGib = 1ul << 32;
    private const uint FunctionBytes = HostOneBytes / Functions;
    private const uint Reserve = 128 << 10;
    private const int LifeBytes = 48 << 10;
    private const int MostSegments = 40;
    private const ushort DefaultDeviceControl = 0x2810;

    private static readonly ulong[] s_negotiable =
    [
        VirtioFeatures.RingEventIdx, VirtioFeatures.RingIndirectDesc, VirtioFeatures.RingPacked, VirtioFeatures.RingReset, VirtioFeatures.InOrder, VirtioFeatures.NotificationData,
    ];

    private uint _cursor;
    private uint _end;
    private int _bytes;
    private bool _isSlow;
    private ulong _offered;
    private ulong _features;
    private bool _wrong;

    /// <summary>Makes the plan.</summary>
    public Plan Make()
    {
        int shared = choices.Below(4);
        _offered = choices.Pick(VirtioFeatures.UsualRing, VirtioFeatures.AllRing, VirtioFeatures.AllRing, VirtioFeatures.UsualRing & ~VirtioFeatures.RingPacked);
        Plan plan = new()
        {
            Pauses = choices.Chance(80)
                ? new LinkPauses((byte)choices.Pick(0, 20, 128, 200), (byte)choices.Pick(0, 20, 128, 200), (ulong)choices.Below(1 << 20))
                : default,
            Latency = (uint)choices.Pick(16, 1, 2, 3, 40, 100),
            MostDelay = choices.Pick(0, 0, 8, 60, 300),
            SplitShare = choices.Pick(0, 0, 64, 200, 256),
            Seed = (ulong)choices.Below(int.MaxValue),
            Bases = [choices.Pick(0ul, FourGib - (10 * Page), FourGib - FunctionBytes - (10 * Page), FourGib - (40 * Page), 0x12_3456_7000_0000ul), choices.Pick(0ul, FourGib - (HostTwoBytes / 2), 0x7FFF_0000_0000ul)],
            DeviceControls = [.. Enumerable.Range(0, Functions + 1).Select(_ => DeviceControl())],
            RingFeatures = _offered,
            BackEnd = new BackEndPlan
            {
                EventIdx = choices.Chance(128),
                Intx = choices.Chance(40),
                PoolOffset = choices.Pick(0x2_0000u, Page, 0x3_3000u, (uint)HostTwoBytes - PoolBytes - Page),
                MailboxDelay = (uint)choices.Pick(0, 0, 20, 150),
                SuppressesKicks = choices.Chance(128),
                AlwaysCalls = choices.Chance(64),
            },
            Epochs = Epochs(),
        };
        return shared == 0 ? plan : plan with { DeviceControls = [.. Enumerable.Repeat(plan.DeviceControls[0], Functions + 1)] };
    }

    private ushort DeviceControl() => choices.Chance(128)
        ? (ushort)(0x0810 | (choices.Below(3) << 5) | (choices.Below(6) << 12))
        : DefaultDeviceControl;

    private List<Epoch> Epochs()
    {
        int count = choices.Pick(1, 1, 2, 2, 3);
        List<Epoch> epochs = [];
        for (int i = 0; i < count; i++)
        {
            Interruption interruption = choices.Chance(90) ? choices.Pick(Interruption.NewSession, Interruption.FpgaReset) : Interruption.Nothing;
            uint after = interruption == Interruption.Nothing ? 0 : (uint)choices.Below(6000);
            bool both = choices.Chance(140);
            int first = both ? 0 : choices.Below(Functions);
            Life?[] lives = new Life?[Functions];
            for (int f = 0; f < Functions; f++)
            {
                lives[f] = both || f == first ? Life(f, interruption) : null;
            }

            epochs.Add(new Epoch(lives, interruption, after));
        }

        return epochs;
    }

    private Life Life(int function, Interruption interruption)
    {
        _cursor = (uint)function * FunctionBytes;
        _end = _cursor + FunctionBytes;
        _bytes = LifeBytes;
        _isSlow = interruption == Interruption.NewSession;
        _features = Features();
        Notice notice = choices.Chance(128) ? choices.Pick(Notice.SharedVector, Notice.NoVector, Notice.Intx) : Notice.VectorPerQueue;
        bool wrong = _wrong = illegal && interruption == Interruption.Nothing && choices.Chance(160);
        Ending ending = choices.Pick(Ending.Nothing, Ending.StatusReset, Ending.FunctionLevelReset);
        ending = wrong && ending == Ending.Nothing ? Ending.StatusReset : ending;
        bool inFlight = !wrong && ending != Ending.Nothing && choices.Chance(128);
        List<QueuePlan> queues = QueuePlans();
        List<QueuePlan> first = [.. queues];
        int[] free = [.. queues.Select(queue => (int)queue.Size)];
        List<Operation> operations = [];
        int count = choices.Pick(1, 2, 3, 5, 8, 12);
        for (int i = 0; i < count && _bytes > 0 && _end - _cursor > Reserve; i++)
        {
            Add(operations, queues, free, notice, interruption);
        }

        for (int q = 0; q < queues.Count; q++)
        {
            if (!inFlight && free[q] != queues[q].Size)
            {
                operations.Add(new DrainOperation(q));
            }
        }

        if (inFlight)
        {
            int queue = choices.Below(queues.Count);
            BatchOperation last = Batch(queues, free, queue, kept: choices.Chance(128));
            if (last.Chains.Count != 0)
            {
                operations.Add(last);
            }

            operations.Add(new IdleOperation((uint)choices.Pick(0, choices.Below(64), choices.Below(1500))));
        }

        return new Life
        {
            Features = _features,
            Notice = notice,
            Queues = first,
            Operations = operations,
            Ending = ending,
            LeavesInFlight = inFlight,
            Illegal = wrong ? IllegalKind() : Illegal.Nothing,
        };
    }

    // What host 2 has used ahead of its turn is not offered to a new session, if the bridge has seen it: nobody can tell from outside whether it has.
    private bool InOrderIsSure => Has(VirtioFeatures.InOrder) && _isSlow;

    private bool Has(ulong feature) => (_features & feature) != 0;

    private ulong Features()
    {
        ulong features = 0;
        foreach (ulong feature in s_negotiable)
        {
            features |= choices.Chance(128) ? feature & _offered : 0;
        }

        return features;
    }

    private Illegal IllegalKind()
    {
        bool indirect = Has(VirtioFeatures.RingIndirectDesc);
        Illegal kind = (Illegal)choices.Between(1, (int)Illegal.UsedIndexJumps);
        return kind switch
        {
            Illegal.HeadOutOfRange when Has(VirtioFeatures.RingPacked) => Illegal.HeadInUse,
            Illegal.NextOutOfRange when Has(VirtioFeatures.RingPacked) => Illegal.Loop,
            Illegal.IndirectBadSize or Illegal.IndirectInIndirect or Illegal.IndirectWithNext when !indirect => Illegal.IndirectNotNegotiated,
            Illegal.IndirectNotNegotiated when indirect => Illegal.IndirectBadSize,
            _ => kind,
        };
    }

    private List<QueuePlan> QueuePlans()
    {
        int count = choices.Pick(1, 1, 2, 3, 5);
        List<ushort> indices = [.. Enumerable.Range(0, Queues).Select(i => (ushort)i)];
        List<QueuePlan> queues = [];
        for (int i = 0; i < count; i++)
        {
            int chosen = choices.Below(indices.Count);
            ushort index = indices[chosen];
            indices.RemoveAt(chosen);
            queues.Add(QueuePlan(index));
        }

        return queues;
    }

    private QueuePlan QueuePlan(ushort index)
    {
        // What is wrong with a ring takes two descriptors.
        bool packed = Has(VirtioFeatures.RingPacked);
        ushort size = !packed ? choices.Pick<ushort>(16, 2, 4, 8, 32, 64, 128, 256)
            : _wrong ? choices.Pick<ushort>(16, 2, 3, 5, 8, 13, 100, 256)
            : choices.Pick<ushort>(16, 1, 2, 3, 4, 5, 7, 8, 13, 33, 100, 255, 256);
        int[] bytes = DriverRing.AreaBytes(packed, size);
        return new QueuePlan
        {
            Index = index,
            Packed = packed,
            Size = size,
            Descriptors = Place((uint)bytes[0], 16),
            Driver = Place((uint)bytes[1], packed ? 4u : 2u),
            Device = Place((uint)bytes[2], 4),
            SuppressesInterrupts = choices.Chance(50),
            IdStride = packed ? choices.Pick(0, choices.Below(1 << 15)) : 0,
        };
    }

    private void Add(List<Operation> operations, List<QueuePlan> queues, int[] free, Notice notice, Interruption interruption)
    {
        int queue = choices.Below(queues.Count);
        int kind = choices.Below(20);
        bool calm = interruption == Interruption.Nothing;
        switch (kind)
        {
            case 9:
                operations.Add(new DrainOperation(queue));
                free[queue] = queues[queue].Size;
                break;
            case 10:
                operations.Add(new IdleOperation((uint)choices.Below(400)));
                break;
            case 11 or 12 when calm && notice is Notice.VectorPerQueue && !queues[queue].SuppressesInterrupts:
                operations.Add(new DrainOperation(queue));
                free[queue] = queues[queue].Size;
                BatchOperation batch = Batch(queues, free, queue, kept: false);
                free[queue] = queues[queue].Size;
                operations.Add(new MaskedOperation(batch, choices.Chance(100)));
                break;
            case 13 when calm:
                int size = choices.Pick(1, 2, 4);
                operations.Add(new ConfigWriteOperation(size * choices.Below(ConfigurationBytes / size), size, (uint)choices.Below(int.MaxValue)));
                break;
            case 14 when calm:
                operations.Add(new ConfigChangeOperation(choices.Below(ConfigurationBytes), (byte)choices.Below(256)));
                break;
            case 15:
                int offset = choices.Below(ConfigurationBytes);
                operations.Add(new ConfigReadOperation(offset, choices.Between(1, ConfigurationBytes - offset)));
                break;
            case 16:
                operations.Add(new StormOperation(queue, choices.Between(2, 12)));
                break;
            case 17 when illegal:
                operations.Add(new StrayOperation(choices.Below(2), (Stray)choices.Below((int)Stray.LengthMismatch + 1)));
                break;
            case 18 or 19 when Has(VirtioFeatures.RingReset):
                if (choices.Chance(180) && free[queue] > 0 && Batch(queues, free, queue, kept: choices.Chance(128)) is { Chains.Count: > 0 } last)
                {
                    operations.Add(last);
                    operations.Add(new IdleOperation((uint)choices.Pick(0, choices.Below(64), choices.Below(1500))));
                }

                queues[queue] = QueuePlan(queues[queue].Index);
                free[queue] = queues[queue].Size;
                operations.Add(new QueueResetOperation(queue, (uint)choices.Pick(0, 0, choices.Below(1500)), queues[queue]));
                break;
            default:
                if (free[queue] < 2)
                {
                    operations.Add(new DrainOperation(queue));
                    free[queue] = queues[queue].Size;
                }

                BatchOperation chains = Batch(queues, free, queue, kept: false);
                if (chains.Chains.Count != 0)
                {
                    operations.Add(chains);
                }

                break;
        }
    }

    private BatchOperation Batch(List<QueuePlan> queues, int[] free, int queue, bool kept)
    {
        int count = choices.Pick(1, 1, 2, 4, 9, 20, 40);
        List<ChainPlan> chains = [];
        while (chains.Count < count && free[queue] > 0 && (_bytes > 0 || chains.Count == 0) && _end - _cursor > Reserve / 2)
        {
            ChainPlan chain = Chain(queues[queue].Size, free[queue], kept && !InOrderIsSure);
            free[queue] -= chain.Direct + (chain.Direct < chain.Segments.Count ? 1 : 0);
            chains.Add(chain);
        }

        List<int> order = [.. Enumerable.Range(0, chains.Count)];
        if (choices.Chance(100) && !InOrderIsSure)
        {
            for (int i = 0; i < order.Count; i++)
            {
                int other = i + choices.Below(order.Count - i);
                (order[i], order[other]) = (order[other], order[i]);
            }
        }

        return new BatchOperation(queue, chains, order, choices.Chance(40), (uint)choices.Pick(0, 0, 0, choices.Below(800)));
    }

    private ChainPlan Chain(int size, int free, bool kept)
    {
        int most = Math.Min(size, MostSegments);
        int count = Math.Min(most, choices.Pick(1, 2, 2, 3, 5, 7, 17, MostSegments));
        bool inTable = Has(VirtioFeatures.RingIndirectDesc) && choices.Chance(150);
        int direct = count;
        if (inTable)
        {
            direct = !Has(VirtioFeatures.RingPacked) && choices.Chance(60) ? Math.Min(choices.Below(3), Math.Min(count - 1, free - 1)) : 0;
        }
        else if (count > free)
        {
            direct = count = free;
        }

        int readable = choices.Below(count + 1);
        bool small = count > 8;
        List<Segment> segments = [];
        for (int i = 0; i < count; i++)
        {
            uint length = small ? (uint)choices.Between(0, 70) : Length();
            length = i == 0 ? Math.Max(length, 1) : length;
            uint offset = small && i != 0 ? Beside(length) : Place(length, 1);
            segments.Add(new Segment(offset, length, i >= readable));
            _bytes -= (int)length;
        }

        long writable = segments.Where(s => s.Writable).Sum(s => s.Length);
        return new ChainPlan
        {
            Segments = segments,
            Direct = direct,
            Table = inTable ? Place((uint)((count - direct) * Descriptor.Size), 1) : 0,
            UsedLength = (uint)(choices.Pick(0, 1, 2) switch
            {
                0 => writable,
                1 => choices.Below((int)writable + 1),
                _ => 0,
            }),
            Data = (ulong)choices.Below(int.MaxValue),
            Delay = (uint)choices.Pick(0, 0, 0, choices.Below(100), choices.Below(_isSlow ? 3000 : 600)),
            Calls = choices.Chance(100),
            Kept = kept && choices.Chance(160),
        };
    }

    private uint Length() => (uint)(choices.Below(10) switch
    {
        0 or 1 => choices.Between(1, 16),
        2 or 3 => choices.Between(1, 300),
        4 => choices.Pick(64, 128, 256, 512, 1024) + choices.Pick(0, -1, 1, -3, 3, 4),
        5 => choices.Between(4093, 4099),
        6 => choices.Between(1000, 5000),
        7 => 0,
        8 => 1,
        _ => choices.Below(4) == 0 ? choices.Between(8000, 20000) : choices.Between(1, 700),
    });

    // Behind a page that nobody may touch; where in its page it begins is a choice.
    private uint Place(uint length, uint alignment)
    {
        _cursor = ((_cursor + Page - 1) & ~(Page - 1)) + Page;
        uint into = (uint)(choices.Below(6) switch
        {
            0 => 0,
            1 => choices.Below(64),
            2 => (int)Page - 1,
            3 => (int)(Page - (length % Page)),
            4 => choices.Below((int)Page),
            _ => (int)Page - choices.Between(1, 130),
        });
        uint start = (_cursor + into) & ~(alignment - 1);
        _cursor = start + length;
        return start;
    }

    private uint Beside(uint length)
    {
        uint start = _cursor + (uint)choices.Between(32, 96);
        _cursor = start + length;
        return start;
    }
}
