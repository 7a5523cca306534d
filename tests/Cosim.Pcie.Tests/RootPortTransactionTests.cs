// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

public class RootPortTransactionTests : RootPortFixture
{
    [Test]
    public void Discover_Endpoint_FindsBarsAndCapabilities()
    {
        Port.Discover(1, 77);
        Fpga.Drain();

        Assert.That(Results[77].Status, Is.EqualTo(HostStatus.Ok));
        FunctionLayout layout = Port.Layout(1)!;
        Assert.That(layout.VendorId, Is.EqualTo(0x0C05));
        Assert.That(layout.DeviceId, Is.EqualTo(0x5101));
        Assert.That(layout.Bars.Select(bar => bar.Size), Is.EqualTo(new ulong[] { 0x4000, 0x4000, 0, 0, 0, 0 }));
        Assert.That(layout.InterruptPin, Is.EqualTo(1));
        Assert.That(layout.PcieCapability, Is.EqualTo(FakeFpga.Pcie));
        Assert.That(layout.MaxPayloadSupported, Is.EqualTo(256));
        Assert.That(layout.HasFunctionLevelReset, Is.True);
        Assert.That(layout.MsixCapability, Is.EqualTo(FakeFpga.Msix));
        Assert.That(layout.MsixVectors, Is.EqualTo(FakeFpga.Vectors));
        Assert.That(layout.MsixTableBar, Is.EqualTo(1));
        Assert.That(Fpga.Functions[1].Register(0x10), Is.Zero, "sizing leaves no trace");
    }

    [Test]
    public void Discover_OtherKindsOfBars_AreSized()
    {
        FakeFpga.Function function = Fpga.Functions[0];
        function.Set(0x10, 0x0000_000C, 0xFFFF_0000); // 64-bit prefetchable, its upper half next: 64 KiB
        function.Set(0x14, 0, 0xFFFF_FFFF);
        function.Set(0x18, 0x0000_0001, 0x0000_FFE0); // I/O, 32 bytes, upper 16 bits hard-wired
        function.Set(0x1C, 0, 0xFFF0_0000); // 1 MiB

        Port.Discover(0, 1);
        Fpga.Drain();

        BarLayout[] expected =
        [
            new(0x1_0000, IsIo: false, Is64Bit: true, IsPrefetchable: true),
            default,
            new(0x20, IsIo: true, Is64Bit: false, IsPrefetchable: false),
            new(0x10_0000, IsIo: false, Is64Bit: false, IsPrefetchable: false),
            default,
            default,
        ];
        Assert.That(Port.Layout(0)!.Bars, Is.EqualTo(expected));
        Assert.That(Port.Layout(0)!.MsixVectors, Is.Zero, "BAR 1, where the table should lie, is gone");
    }

    [Test]
    public void Discover_CapabilityListWithLoop_Ends()
    {
        Fpga.Functions[0].Set(FakeFpga.Msix, 0x0003_0011 | (FakeFpga.Pcie << 8));

        Port.Discover(0, 1);
        Fpga.Drain();

        Assert.That(Port.Layout(0)!.MsixVectors, Is.EqualTo(4));
        Assert.That(Reports, Has.Some.Contains("does not end"));
    }

    [Test]
    public void Discover_NoSuchFunction_IsUnsupported()
    {
        Make(new RootPortOptions(), hosts: 3);

        Port.Discover(2, 5);
        Fpga.Drain();

        Assert.That(Results[5].Status, Is.EqualTo(HostStatus.UnsupportedRequest));
        Assert.That(Port.Layout(2)!.IsPresent, Is.False);
        (HostStatus status, byte[] data) = ReadConfig(2, 0, 4);
        Assert.That(status, Is.EqualTo(HostStatus.UnsupportedRequest));
        Assert.That(data, Is.EqualTo(new byte[] { 0xFF, 0xFF, 0xFF, 0xFF }));
    }

    [Test]
    public void ConfigRead_AnyAlignment_AsksOnlyForTheBytes()
    {
        Enumerate();

        (HostStatus status, byte[] data) = ReadConfig(1, 0x03, 6);

        Assert.That(status, Is.EqualTo(HostStatus.Ok));
        Assert.That(data, Is.EqualTo(Fpga.Functions[1].Space[3..9]));
        Assert.That(Fpga.Log, Is.EqualTo(new[]
        {
            "CfgRd0 01:00.1 0x000 be 8 tag " + TagOf(0),
            "CfgRd0 01:00.1 0x004 be f tag " + TagOf(1),
            "CfgRd0 01:00.1 0x008 be 1 tag " + TagOf(2),
        }));
    }

    [TestCase(-1, 4)]
    [TestCase(4094, 4)]
    [TestCase(0, 5000)]
    public void ConfigRead_OutsideConfigurationSpace_IsRefused(int offset, int length)
    {
        Enumerate();
        ulong token = NewToken();

        Port.ConfigRead(0, offset, length, token);

        Assert.That(Results[token].Status, Is.EqualTo(HostStatus.UnsupportedRequest));
        Assert.That(Results[token].Data, Is.All.EqualTo(0xFF));
        Assert.That(Fpga.Sent, Is.Empty);
    }

    [Test]
    public void ConfigRead_RetryStatus_IsSentAgain()
    {
        Enumerate();
        Fpga.Retries = 3;

        (HostStatus status, byte[] data) = ReadConfig(0, 0, 2);

        Assert.That(status, Is.EqualTo(HostStatus.Ok));
        Assert.That(data, Is.EqualTo(new byte[] { 0x05, 0x0C }));
        Assert.That(Fpga.Sent, Has.Count.EqualTo(4));
    }

    [Test]
    public void ConfigWrite_ToMessageControl_IsNotPassedOn()
    {
        Enumerate();

        WriteConfig(0, FakeFpga.Msix, 0x11, 0x00, 0x00, 0xC0);
        Assert.That(Fpga.Log.Single(), Does.Contain("0x080 be 3"));
        WriteConfig(0, FakeFpga.Msix + 2, 0x00, 0x80);

        Assert.That(Fpga.Sent, Has.Count.EqualTo(1), "a write of Message Control alone sends nothing");
        Assert.That(Fpga.Functions[0].Register(FakeFpga.Msix) >> 30, Is.Zero);
    }

    [Test]
    public void MemoryRead_AnyRange_IsCutIntoAlignedAccesses()
    {
        Enumerate();
        new Random(1).NextBytes(Fpga.Functions[0].Bars[0]);

        ulong token = StartRead(0, 0, 0x13, 22);
        Fpga.Drain();

        Assert.That(Results[token].Status, Is.EqualTo(HostStatus.Ok));
        Assert.That(Results[token].Data, Is.EqualTo(Fpga.Functions[0].Bars[0][0x13..0x29]));
        string[] ranges = [.. Fpga.Log.Select(line => line[..line.IndexOf(" tag", StringComparison.Ordinal)])];
        Assert.That(ranges, Is.EqualTo(new[]
        {
            "MRd 0xfe000013 len 1", "MRd 0xfe000014 len 4", "MRd 0xfe000018 len 8", "MRd 0xfe000020 len 8", "MRd 0xfe000028 len 1",
        }));
    }

    [Test]
    public void MemoryWrite_AnyRange_IsCutIntoAlignedAccesses()
    {
        Enumerate();

        ulong token = StartWrite(1, 0, 0x1E, 1, 2, 3, 4, 5, 6, 7);

        Assert.That(Results[token].Status, Is.EqualTo(HostStatus.Ok), "posted");
        Assert.That(Fpga.Log, Is.EqualTo(new[]
        {
            "MWr 0xfe20001e len 2 from 00:00.0", "MWr 0xfe200020 len 4 from 00:00.0", "MWr 0xfe200024 len 1 from 00:00.0",
        }));
        Fpga.Drain();
        Assert.That(Fpga.Functions[1].Bars[0][0x1D..0x26], Is.EqualTo(new byte[] { 0, 1, 2, 3, 4, 5, 6, 7, 0 }));
    }

    [Test]
    public void MemoryRead_OneRequestFails_OnlyItsBytesAreOnes()
    {
        Enumerate();
        Fpga.HoldReads = true;
        Fpga.Functions[0].Bars[0].AsSpan().Fill(0x11);
        ulong token = StartRead(0, 0, 0, 24);
        Fpga.Drain();

        Fpga.AnswerRead(Fpga.HeldReads[2]);
        Give(packet => TlpWriter.Completion(packet, RoutingId.Fpga(0), CompletionStatus.CompleterAbort, default, Tag(Fpga.HeldReads[1]), 8, 8));
        Fpga.AnswerRead(Fpga.HeldReads[0]);

        Assert.That(Results[token].Status, Is.EqualTo(HostStatus.CompleterAbort));
        Assert.That(Convert.ToHexString(Results[token].Data), Is.EqualTo(string.Concat(Enumerable.Repeat("11", 8).Concat(Enumerable.Repeat("FF", 8)).Concat(Enumerable.Repeat("11", 8)))));
        Assert.That(Reports.Single(), Does.Contain("CA for MRd 0xfe000008 len 8"));
    }

    [Test]
    public void MemoryRead_MoreRequestsThanTags_WaitForThemByTurns()
    {
        Enumerate();
        Fpga.HoldReads = true;
        ulong first = StartRead(0, 0, 0, 64);
        ulong second = StartRead(1, 0, 0, 64);
        Fpga.Drain();
        Assert.That(Fpga.Sent, Has.Count.EqualTo(4), "as many as there are tags");

        int answered = 0;
        while (answered < Fpga.HeldReads.Count)
        {
            Fpga.AnswerRead(Fpga.HeldReads[answered++]);
            Fpga.Drain();
        }

        Assert.That(answered, Is.EqualTo(16));
        Assert.That(Order.TakeLast(2), Is.EquivalentTo(new[] { first, second }));
        int[] functions = [.. Fpga.Log.Select(line => line.Contains("0xfe2", StringComparison.Ordinal) ? 1 : 0)];
        Assert.That(functions.Skip(4).Take(8), Is.EqualTo(new[] { 0, 1, 0, 1, 0, 1, 0, 1 }), "functions take turns");
    }

    [Test]
    public void MemoryWrite_ReadsWaitForTags_PassesThem()
    {
        Enumerate();
        Fpga.HoldReads = true;
        StartRead(0, 0, 0, 64);

        ulong write = StartWrite(0, 0, 0x100, 1);

        Assert.That(Results.ContainsKey(write), Is.True);
        Assert.That(Fpga.Log[^1], Does.StartWith("MWr 0xfe000100"));
    }

    [Test]
    public void MemoryWrite_ConfigReadWaitsForTag_PassesIt()
    {
        Enumerate();
        Fpga.HoldReads = true;
        StartRead(0, 0, 0, 32);
        ulong config = NewToken();
        Port.ConfigRead(0, 0, 4, config);

        StartWrite(0, 0, 0x100, 1);

        Assert.That(Fpga.Log[^1], Does.StartWith("MWr 0xfe000100"));
        Fpga.Drain();
        Fpga.AnswerRead(Fpga.HeldReads[0]);
        Fpga.Drain();
        Assert.That(Results[config].Status, Is.EqualTo(HostStatus.Ok));
    }

    [Test]
    public void MemoryWrite_WaitsBehindReadsInTheQueue_PassesThemOnceItMay()
    {
        Enumerate();
        Fpga.HoldReads = true;
        Port.ConfigWrite(0, 0x3C, [5], NewToken());
        StartRead(0, 0, 0, 64);
        StartRead(0, 0, 0, 8);
        ulong write = StartWrite(0, 0, 0x100, 1);

        Fpga.Drain();

        Assert.That(Results.ContainsKey(write), Is.True, "the reads still wait for tags");
        Assert.That(Fpga.Log.Select(line => line.Split(' ')[0]), Is.EqualTo(new[] { "CfgWr0", "MRd", "MRd", "MRd", "MRd", "MWr" }));
    }

    [Test]
    public void Receive_LinkDown_IsDropped()
    {
        Enumerate();
        Port.LinkLost();

        Give(packet => TlpWriter.MemoryWrite(packet, RoutingId.Fpga(0), 0, FakeHost.Base, [1]));

        Assert.That(Host.Log, Is.Empty);
    }

    [Test]
    public void MemoryRead_AfterWriteThatWaits_IsSentAfterIt()
    {
        Enumerate();
        ulong token = NewToken();
        Port.ConfigWrite(0, 0x3C, [5], token);
        StartWrite(0, 0, 0x100, 0xAB);
        StartWrite(0, 0, 0x101, 0xCD);
        ulong read = StartRead(0, 0, 0x100, 2);
        Assert.That(Fpga.Log, Has.Count.EqualTo(1), "a configuration write is completed before anything follows");

        Fpga.Drain();

        Assert.That(Results[read].Data, Is.EqualTo(new byte[] { 0xAB, 0xCD }));
        Assert.That(Fpga.Log.Select(line => line.Split(' ')[0]), Is.EqualTo(new[] { "CfgWr0", "MWr", "MWr", "MRd" }));
    }

    [Test]
    public void MemoryRead_OtherFunctionWaits_IsNotHeldUp()
    {
        Enumerate();
        Fpga.Mute = true;
        Port.ConfigWrite(0, 0x3C, [5], NewToken());

        ulong read = StartRead(1, 0, 0, 4);
        Fpga.Drain();

        Assert.That(Results[read].Status, Is.EqualTo(HostStatus.Ok));
    }

    [TestCase(false, false)]
    [TestCase(true, false)]
    [TestCase(false, true)]
    public void MemoryAccess_BarCannotBeReached_IsForcedAndPutBack(bool addressed, bool memorySpace)
    {
        if (addressed)
        {
            WriteConfig(0, 0x10, BitConverter.GetBytes((uint)Bar0));
        }
        else
        {
            WriteConfig(0, 0x10, 0xFF, 0xFF, 0xFF, 0xFF); // sizing is under way
        }

        WriteConfig(0, 0x04, (byte)(memorySpace ? 6 : 4));
        byte[] before = [.. Fpga.Functions[0].Space];
        Forget();

        ulong write = StartWrite(0, 0, 0x20, 1, 2, 3, 4);
        ulong read = StartRead(0, 0, 0x20, 4);
        ulong config = NewToken();
        Port.ConfigRead(0, 0x10, 4, config);
        Fpga.Drain();

        Assert.That(Results[write].Status, Is.EqualTo(HostStatus.Ok));
        Assert.That(Results[read].Data, Is.EqualTo(new byte[] { 1, 2, 3, 4 }));
        Assert.That(Results[config].Data, Is.EqualTo(before[0x10..0x14]), "the host sees only what it wrote");
        Assert.That(Fpga.Functions[0].Space, Is.EqualTo(before));
        Assert.That(Port.IsIdle, Is.True);
        Assert.That(Fpga.Log.Count(line => line.StartsWith("CfgWr0 01:00.0 0x004", StringComparison.Ordinal)), Is.EqualTo(2), "one window for both");
    }

    [Test]
    public void MemoryAccess_HostsGaveTheSameAddress_EachReachesItsOwnFunction()
    {
        Enumerate();
        WriteConfig(1, 0x10, BitConverter.GetBytes((uint)Bar0));
        Assert.That(Reports, Has.Count.EqualTo(2).And.All.Contains("overlaps"));

        StartWrite(0, 0, 0x10, 1);
        StartWrite(1, 0, 0x10, 2);
        Fpga.Drain();

        Assert.That(Fpga.Functions.Select(function => function.Bars[0][0x10]), Is.EqualTo(new byte[] { 1, 2 }));
        Assert.That(Fpga.Functions.Select(function => function.Register(0x10)), Is.All.EqualTo((uint)Bar0));

        WriteConfig(1, 0x10, BitConverter.GetBytes((uint)Bar0 + 0x4000));
        Forget();
        StartWrite(0, 0, 0x11, 3);
        StartWrite(1, 0, 0x11, 4);
        Assert.That(Fpga.Log, Is.EqualTo(new[] { "MWr 0xfe000011 len 1 from 00:00.0", "MWr 0xfe004011 len 1 from 00:00.0" }), "apart again");
    }

    [TestCase(0, 0x3FFDul, 4)]
    [TestCase(0, ulong.MaxValue, 1)]
    [TestCase(2, 0ul, 1)]
    [TestCase(6, 0ul, 1)]
    [TestCase(-1, 0ul, 1)]
    public void MemoryAccess_OutsideTheBar_IsRefused(int bar, ulong offset, int length)
    {
        Enumerate();

        ulong read = StartRead(0, bar, offset, length);
        ulong write = StartWrite(0, bar, offset, new byte[length]);

        Assert.That(Results[read].Status, Is.EqualTo(HostStatus.UnsupportedRequest));
        Assert.That(Results[read].Data, Has.Length.EqualTo(length).And.All.EqualTo(0xFF));
        Assert.That(Results[write].Status, Is.EqualTo(HostStatus.UnsupportedRequest));
        Assert.That(Reports, Has.Count.EqualTo(2).And.All.Contains("outside BAR"));
        Assert.That(Fpga.Sent, Is.Empty);
    }

    [Test]
    public void MemoryRead_LargerThanOwnBuffer_Works()
    {
        Enumerate();
        new Random(2).NextBytes(Fpga.Functions[0].Bars[0]);

        ulong token = StartRead(0, 0, 1, FakeFpga.BarBytes - 1);
        Fpga.Drain();

        Assert.That(Results[token].Data, Is.EqualTo(Fpga.Functions[0].Bars[0][1..]));
    }

    [Test]
    public void Tick_NoCompletion_EndsWithOnesAndReportsTheRequest()
    {
        Enumerate();
        Fpga.HoldReads = true;
        ulong start = Fpga.Cycle;
        ulong token = StartRead(0, 0, 0x10, 4);
        Fpga.Drain();
        Assert.That(Port.NextTimeout, Is.EqualTo(start + 100));

        Port.Tick(start + 99);
        Assert.That(Results.ContainsKey(token), Is.False);
        Port.Tick(start + 100);

        Assert.That(Results[token].Status, Is.EqualTo(HostStatus.Timeout));
        Assert.That(Results[token].Data, Is.All.EqualTo(0xFF));
        Assert.That(Reports.Single(), Does.Contain("port 0: no completion within 100 cycles: MRd 0xfe000010 len 4"));
        Assert.That(Port.NextTimeout, Is.EqualTo(ulong.MaxValue));
        Fpga.AnswerRead(Fpga.HeldReads[0]);
        Assert.That(Port.Counters.UnexpectedCompletions, Is.EqualTo(1), "it came too late");
        Assert.That(Reports[1], Does.Contain("unexpected completion"));
    }

    [Test]
    public void Tick_OneOfSeveral_KeepsTheOthers()
    {
        Enumerate();
        Fpga.HoldReads = true;
        ulong first = StartRead(0, 0, 0, 4);
        Fpga.Cycle += 50;
        ulong second = StartRead(0, 0, 8, 4);
        Fpga.Drain();

        Port.Tick(Fpga.Cycle + 60);
        Fpga.AnswerRead(Fpga.HeldReads[1]);

        Assert.That(Results[first].Status, Is.EqualTo(HostStatus.Timeout));
        Assert.That(Results[second].Status, Is.EqualTo(HostStatus.Ok));
    }

    [Test]
    public void Receive_CompletionThatDoesNotFit_IsReportedAndEndsWithOnes()
    {
        Enumerate();
        Fpga.HoldReads = true;
        (string Wrong, Func<byte[], byte, int> Write)[] cases =
        [
            ("no data", (packet, tag) => TlpWriter.Completion(packet, RoutingId.Fpga(0), CompletionStatus.SuccessfulCompletion, default, tag)),
            ("Byte Count", (packet, tag) => TlpWriter.CompletionData(packet, RoutingId.Fpga(0), default, tag, 8, 4, new byte[4])),
            ("Lower Address", (packet, tag) => TlpWriter.CompletionData(packet, RoutingId.Fpga(0), default, tag, 4, 8, new byte[4])),
            ("does not have 1 DW", (packet, tag) => TlpWriter.CompletionData(packet, RoutingId.Fpga(0), default, tag, 8, 4, new byte[8])),
            ("another function", (packet, tag) => TlpWriter.CompletionData(packet, RoutingId.Fpga(1), default, tag, 4, 4, new byte[4])),
            ("poisoned", (packet, tag) =>
            {
                int length = TlpWriter.CompletionData(packet, RoutingId.Fpga(0), default, tag, 4, 4, new byte[4]);
                packet[1] |= 0x40;
                return length;
            }),
        ];
        foreach ((string wrong, Func<byte[], byte, int> write) in cases)
        {
            ulong token = StartRead(0, 0, 4, 4);
            Fpga.Drain();

            Give(packet => write(packet, Tag(Fpga.HeldReads[^1])));

            Assert.That(Results[token].Status, Is.EqualTo(HostStatus.BadCompletion), wrong);
            Assert.That(Results[token].Data, Is.All.EqualTo(0xFF));
            Assert.That(Reports[^1], Does.Contain(wrong).And.Contain("MRd 0xfe000004 len 4"));
        }
    }

    [Test]
    public void Completed_StartsTransactions_TheyAreDone()
    {
        Enumerate();
        Chain chain = new(5);
        RootPort port = new(new RootPortOptions(), Fpga, Hosts, chain, Reports.Add);
        chain.Port = port;
        Fpga.Port = port;

        port.ConfigRead(0, 0, 4, 0);
        Fpga.Drain();

        Assert.That(chain.Done, Is.EqualTo(6));
        Assert.That(port.IsIdle, Is.True);
    }

    [Test]
    public void LinkLost_TransactionsUnderWay_EndAtOnceAndSoDoNewOnes()
    {
        Enumerate();
        Fpga.HoldReads = true;
        ulong[] tokens = [StartRead(0, 0, 0, 64), StartRead(0, 1, 0, 4), StartRead(1, 0, 0, 8)];
        ulong config = NewToken();
        Port.ConfigWrite(0, 0x3C, [9], config);

        Port.LinkLost();

        Assert.That(tokens.Append(config).Select(token => Results[token].Status), Is.All.EqualTo(HostStatus.LinkDown));
        Assert.That(tokens.SelectMany(token => Results[token].Data), Is.All.EqualTo(0xFF));
        Assert.That(Port.IsIdle, Is.True);
        Assert.That(Port.NextTimeout, Is.EqualTo(ulong.MaxValue));
        ulong late = StartRead(0, 0, 0, 4);
        Assert.That(Results[late].Status, Is.EqualTo(HostStatus.LinkDown));
        Assert.That(Results[late].Data, Is.All.EqualTo(0xFF));
    }

    [Test]
    public void ResetPort_AfterLinkLost_PutsBackWhatTheHostBelieves()
    {
        Enumerate();
        Port.ArmVectors(0, 1, 1);
        WriteConfig(0, 0x3C, 11);
        WriteConfig(0, FakeFpga.Pcie + 8, 0x30, 0x28);
        byte[] before = [.. Fpga.Functions[0].Space];
        Port.LinkLost();
        ulong token = NewToken();
        Port.ConfigWrite(1, 0x3C, [12], token);
        Array.ForEach(Fpga.Functions, function => function.Reset());
        Fpga.ForgetTaken();

        Port.ResetPort();
        Fpga.Drain();

        Assert.That(Fpga.Functions[0].Space, Is.EqualTo(before));
        Assert.That(Fpga.Functions[0].TableEntry(1, 0), Is.EqualTo(0xFEE0_0000u));
        Assert.That(Fpga.Functions[0].TableEntry(1, 3), Is.Zero, "unmasked");
        Assert.That(Fpga.Functions[1].Space[0x3C], Is.EqualTo(12), "written while the link was down");
        ulong read = StartRead(1, 0, 0, 4);
        Fpga.Drain();
        Assert.That(Results[read].Status, Is.EqualTo(HostStatus.Ok));
    }

    [Test]
    public void RandomTransactions_CompletionsInAnyOrder_ReadWhatWasWritten()
    {
        Random random = new(7);
        Enumerate();
        byte[][] expected = [new byte[FakeFpga.BarBytes], new byte[FakeFpga.BarBytes]];
        Dictionary<ulong, byte[]> reads = [];
        Fpga.HoldReads = true;
        for (int i = 0; i < 5000; i++)
        {
            int function = random.Next(2);
            int offset = random.Next(0x100);
            int length = random.Next(1, 30);
            switch (random.Next(5))
            {
                case 0:
                    byte[] data = new byte[length];
                    random.NextBytes(data);
                    // Reads that wait may be passed by writes, so a byte is written only while no read of it waits.
                    if (Port.IsIdle)
                    {
                        data.CopyTo(expected[function], offset);
                        StartWrite(function, 0, (ulong)offset, data);
                    }

                    break;
                case 1:
                    reads.Add(StartRead(function, 0, (ulong)offset, length), expected[function][offset..(offset + length)]);
                    break;
                case 2:
                    Port.ConfigWrite(function, 0x3C, [(byte)i], NewToken());
                    break;
                default:
                    Fpga.Step();
                    if (Fpga.HeldReads.Count > 0)
                    {
                        int which = random.Next(Fpga.HeldReads.Count);
                        byte[] packet = Fpga.HeldReads[which];
                        Fpga.HeldReads.RemoveAt(which);
                        Fpga.AnswerRead(packet);
                    }

                    break;
            }
        }

        Fpga.HoldReads = false;
        Fpga.HeldReads.ForEach(Fpga.AnswerRead);
        Fpga.Drain();

        Assert.That(Port.IsIdle, Is.True);
        Assert.That(reads, Has.Count.GreaterThan(500));
        foreach ((ulong token, byte[] data) in reads)
        {
            Assert.That(Results[token].Status, Is.EqualTo(HostStatus.Ok));
            Assert.That(Results[token].Data, Is.EqualTo(data));
        }

        Assert.That(Reports, Is.Empty);
    }

    private static byte Tag(byte[] packet) => packet[5];

    private byte TagOf(int sent) => Tag(Fpga.Sent[sent].Bytes);

    private sealed class Chain(int length) : IHostCompletion
    {
        public RootPort Port { get; set; } = null!;

        public int Done { get; private set; }

        public void Completed(ulong token, HostStatus status, ReadOnlySpan<byte> data)
        {
            Done++;
            if (token < (ulong)length)
            {
                Port.ConfigRead((int)(token & 1), 4 * (int)token, 8, token + 1);
            }
        }
    }
}
