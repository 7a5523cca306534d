// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

/// <summary>Random hosts over an FPGA that errs: whatever happens, each transaction ends once and the port works on.</summary>
public class RootPortStressTests : RootPortFixture
{
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    public void Transactions_RandomErrorsAndResets_EachEndsOnce(int seed)
    {
        Random random = new(seed);
        int started = 0;
        Fpga.HoldReads = true;
        for (int i = 0; i < 20_000; i++)
        {
            started += StartSomething(random);
            Disturb(random);
            if (random.Next(4) != 0)
            {
                Fpga.Step();
            }
        }

        Recover();

        Assert.That(Port.IsIdle, Is.True);
        Assert.That(Results, Has.Count.EqualTo(started));
        Assert.That(Results.Values.Select(result => result.Status).Distinct().Count(), Is.GreaterThanOrEqualTo(4), "errors did happen");
        Enumerate();
        ulong write = StartWrite(0, 0, 4, 1, 2, 3, 4);
        ulong read = StartRead(0, 0, 4, 4);
        Fpga.Drain();
        Assert.That(Results[write].Status, Is.EqualTo(HostStatus.Ok));
        Assert.That(Results[read].Data, Is.EqualTo(new byte[] { 1, 2, 3, 4 }));
    }

    [Test]
    public void Transactions_SameInputs_SameTlps()
    {
        string[] Run()
        {
            SetUp();
            Random random = new(5);
            Fpga.HoldReads = true;
            for (int i = 0; i < 3000; i++)
            {
                StartSomething(random);
                Disturb(random);
                Fpga.Step();
            }

            return [.. Fpga.Sent.Select(sent => Convert.ToHexString(sent.Bytes) + sent.NotBefore.ToString(CultureInfo.InvariantCulture))];
        }

        string[] first = Run();
        string[] second = Run();

        Assert.That(second, Is.EqualTo(first));
    }

    private int StartSomething(Random random)
    {
        int function = random.Next(2);
        int bar = random.Next(-1, 3);
        ulong offset = (ulong)random.Next(0x40);
        byte[] data = new byte[random.Next(0, 20)];
        random.NextBytes(data);
        switch (random.Next(30))
        {
            case < 6:
                StartRead(function, bar, offset, data.Length);
                return 1;
            case < 12:
                StartWrite(function, Math.Min(bar, 0), offset, data);
                return 1;
            case < 14:
                Port.ConfigRead(function, random.Next(0, 0x100), data.Length, NewToken());
                return 1;
            case 14:
                Port.ConfigWrite(function, random.Next(0, 0x50), data, NewToken());
                return 1;
            case 15:
                Port.ConfigWrite(function, 0x10, BitConverter.GetBytes((uint)Bar0 + (uint)(0x2000 * random.Next(3))), NewToken());
                return 1;
            case 16:
                Port.ConfigWrite(function, 0x04, [(byte)random.Next(8)], NewToken());
                return 1;
            case 17:
                Port.ArmVectors(function, random.Next(4), random.Next(3));
                return 0;
            case 18:
                Port.DisarmVectors(function, random.Next(4), random.Next(3));
                return 0;
            case 19:
                Port.UnmaskIntx(function);
                return 0;
            case 20 when random.Next(5) == 0:
                Port.ResetFunction(function, NewToken());
                return 1;
            case 21 when random.Next(5) == 0:
                Port.ReleaseFunction(function, NewToken());
                return 1;
            default:
                return 0;
        }
    }

    private void Disturb(Random random)
    {
        switch (random.Next(400))
        {
            case < 200 when Fpga.HeldReads.Count > 0:
                int which = random.Next(Fpga.HeldReads.Count);
                byte[] packet = Fpga.HeldReads[which];
                Fpga.HeldReads.RemoveAt(which);
                if (random.Next(10) == 0)
                {
                    CompletionStatus status = (CompletionStatus)random.Next(8);
                    Give(answer => TlpWriter.Completion(answer, RoutingId.Fpga(0), status, default, packet[5]));
                }
                else if (random.Next(10) != 0)
                {
                    Fpga.AnswerRead(packet);
                }

                break;
            case < 220:
                Give(message => TlpWriter.Message(message, RoutingId.Fpga(random.Next(3)), (MessageCode)(0x20 + random.Next(8))));
                break;
            case < 240:
                Give(write => TlpWriter.MemoryWrite(write, RoutingId.Fpga(0), 0, 0xFEE0_0000, [(byte)random.Next(6), 0, 0, 0]));
                break;
            case < 250:
                Fpga.Retries = random.Next(4);
                break;
            case < 260:
                Fpga.Cycle += 40;
                Port.Tick(Fpga.Cycle);
                break;
            case 260:
                Port.LinkLost();
                break;
            case 261 or 262:
                Recover();
                Fpga.HoldReads = true;
                break;
            default:
                Port.Tick(Fpga.Cycle);
                break;
        }
    }

    private void Recover()
    {
        Array.ForEach(Fpga.Functions, function => function.Reset());
        Fpga.ForgetTaken();
        Fpga.HeldReads.Clear();
        Fpga.Retries = 0;
        Fpga.HoldReads = false;
        Port.ResetPort();
        Fpga.Drain();
    }
}
