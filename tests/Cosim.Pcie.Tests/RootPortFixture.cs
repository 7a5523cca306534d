// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

/// <summary>A root port between a <see cref="FakeFpga"/> of two functions and a <see cref="FakeHost"/> for each.</summary>
public abstract class RootPortFixture : IHostCompletion
{
    protected const ulong Bar0 = 0xFE00_0000;
    protected const ulong Bar1 = 0xFE10_0000;

    private ulong _nextToken;

    private protected FakeFpga Fpga { get; private set; } = null!;

    private protected FakeHost[] Hosts { get; private set; } = null!;

    private protected FakeHost Host => Hosts[0];

    private protected RootPort Port { get; private set; } = null!;

    private protected List<string> Reports { get; } = [];

    /// <summary>Results by token.</summary>
    private protected Dictionary<ulong, (HostStatus Status, byte[] Data)> Results { get; } = [];

    /// <summary>Tokens in the order of completion.</summary>
    private protected List<ulong> Order { get; } = [];

    [SetUp]
    public void SetUp()
    {
        Reports.Clear();
        Results.Clear();
        Order.Clear();
        _nextToken = 0;
        Make(new RootPortOptions { Name = "port 0", TimeoutCycles = 100, Tags = 4 });
    }

    public void Completed(ulong token, HostStatus status, ReadOnlySpan<byte> data)
    {
        Assert.That(Results.ContainsKey(token), Is.False, $"token {token} completed twice");
        Results.Add(token, (status, data.ToArray()));
        Order.Add(token);
    }

    private protected void Make(RootPortOptions options, int hosts = 2, int functions = 2)
    {
        Fpga = new FakeFpga(functions);
        Hosts = [.. Enumerable.Range(0, hosts).Select(_ => new FakeHost())];
        Port = new RootPort(options, Fpga, Hosts, this, Reports.Add);
        Fpga.Port = Port;
    }

    /// <summary>Gives function 0 (and 1) addresses, Memory Space and Bus Master, as a host does; forgets the traffic of it.</summary>
    private protected void Enumerate()
    {
        for (int function = 0; function < Math.Min(2, Hosts.Length); function++)
        {
            ulong shift = (ulong)function * 0x20_0000;
            WriteConfig(function, 0x10, BitConverter.GetBytes((uint)(Bar0 + shift)));
            WriteConfig(function, 0x14, BitConverter.GetBytes((uint)(Bar1 + shift)));
            WriteConfig(function, 0x04, [6, 0]);
        }

        Forget();
    }

    private protected void Forget()
    {
        Fpga.Drain();
        Fpga.Sent.Clear();
        Fpga.Log.Clear();
        Fpga.ForgetTaken();
        Reports.Clear();
    }

    protected ulong NewToken() => ++_nextToken;

    protected ulong StartRead(int function, int bar, ulong offset, int length)
    {
        ulong token = NewToken();
        Port.MemoryRead(function, bar, offset, length, token);
        return token;
    }

    protected ulong StartWrite(int function, int bar, ulong offset, params byte[] data)
    {
        ulong token = NewToken();
        Port.MemoryWrite(function, bar, offset, data, token);
        return token;
    }

    protected void WriteConfig(int function, int offset, params byte[] data)
    {
        ulong token = NewToken();
        Port.ConfigWrite(function, offset, data, token);
        Fpga.Drain();
        Assert.That(Results[token].Status, Is.EqualTo(HostStatus.Ok));
    }

    protected (HostStatus Status, byte[] Data) ReadConfig(int function, int offset, int length)
    {
        ulong token = NewToken();
        Port.ConfigRead(function, offset, length, token);
        Fpga.Drain();
        return Results[token];
    }

    /// <summary>A TLP from the FPGA.</summary>
    private protected void Give(Func<byte[], int> write, ulong cycle = 2000)
    {
        byte[] packet = new byte[Tlp.MaxBytes];
        int length = write(packet);
        Port.Receive(packet.AsSpan(0, length), cycle);
    }
}
