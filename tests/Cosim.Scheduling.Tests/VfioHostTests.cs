// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>Host 1 is a vfio-user client, a program: memory of every kind, and what such a client can do with it under the device.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class VfioHostTests(FpgaKind kind)
{
    private readonly ConcurrentQueue<string> _log = new();
    private string _folder = "";
    private Bridge _bridge = null!;
    private MockBackEnd _backEnd = null!;

    [SetUp]
    public async Task Start()
    {
        _log.Clear();
        _folder = Directory.CreateTempSubdirectory("vfh").FullName;
        string root = BridgeFixture.RepositoryRoot();
        _bridge = new Bridge(new BridgeOptions
        {
            Name = "test",
            Fpga = new FpgaOptions
            {
                Kind = kind,
                Functions = 2,
                QueuesPerFunction = 8,
                HdlDirectory = Path.Combine(root, "hdl"),
                BuildDirectory = Path.Combine(root, ".cosim", "build"),
                ToolsFile = Path.Combine(root, ".cosim", "tools.json"),
            },
            Hosts =
            [
                new SocketHostOptions { Functions = 2, Sockets = [Path.Combine(_folder, "f0"), Path.Combine(_folder, "f1")] },
                new ProgramHostOptions { Functions = 1, MemoryBytes = 8 << 20 },
            ],
            HostMemoryTimeout = TimeSpan.FromMilliseconds(200),
            Log = _log.Enqueue,
        });
        await _bridge.Started.WaitAsync(TimeSpan.FromSeconds(60));
        _backEnd = new MockBackEnd(_bridge);
        await _backEnd.Start();
    }

    [TearDown]
    public async Task End()
    {
        await _backEnd.DisposeAsync();
        _bridge.Dispose();
        Directory.Delete(_folder, recursive: true);
        if (TestContext.CurrentContext.Result.Outcome.Status == NUnit.Framework.Interfaces.TestStatus.Failed)
        {
            await TestContext.Out.WriteLineAsync(string.Join('\n', _log));
        }
    }

    [Test]
    [Clause("vfio-user DMA_READ-1")]
    [Clause("vfio-user DMA_WRITE-1")]
    [Clause("vfio-user DMA_WRITE-4")]
    public void Requests_WhateverMemoryIsLent_MoveExactlyTheirBytes([Values] LentMemory lent)
    {
        using VfioDriver driver = new(Socket(0), 0, lent);
        driver.Start();

        for (int round = 1; round <= 12; round++)
        {
            Exchange(driver, round);
        }

        Assert.That(driver.Asked > 0, Is.EqualTo(lent != LentMemory.All));
        Assert.That(_log, Is.Empty);
    }

    [Test]
    [Clause("vfio-user DMA_UNMAP-5")]
    public void Unmap_OfMemoryInUse_StopsThatDeviceOnly([Values(LentMemory.All, LentMemory.Nothing)] LentMemory lent)
    {
        using VfioDriver other = new(Socket(1), 1, LentMemory.All);
        using VfioDriver driver = new(Socket(0), 0, lent);
        other.Start();
        driver.Start();
        Exchange(driver, 1);

        driver.Client.Unmap(0, VfioDriver.RingBytes);
        driver.Notify();

        driver.ExpectNeedsReset();
        Exchange(other, 2);
        driver.Client.UnmapAll();
        driver.Lend(rings: true, buffers: true);
        driver.Start();
        Exchange(driver, 3);
        Exchange(other, 4);
    }

    [Test]
    [Clause("vfio-user DMA_MAP-13")]
    public void Client_ShrinksItsMemoryFile_StopsThatDeviceOnly()
    {
        using VfioDriver other = new(Socket(1), 1, LentMemory.All);
        using VfioDriver driver = new(Socket(0), 0, LentMemory.All);
        other.Start();
        driver.Start();
        Exchange(driver, 1);

        driver.Rings.Truncate(0);
        driver.Notify();

        driver.ExpectNeedsReset();
        Exchange(other, 2);
        driver.Rings.Truncate(VfioDriver.RingBytes);
        driver.Start();
        Exchange(driver, 3);
    }

    [Test]
    [Clause("vfio-user DMA_READ-7")]
    public void Client_DoesNotAnswerWhatItIsAskedFor_StopsThatDeviceOnly()
    {
        using VfioDriver other = new(Socket(1), 1, LentMemory.All);
        using VfioDriver driver = new(Socket(0), 0, LentMemory.Nothing);
        other.Start();
        driver.Start();
        Exchange(driver, 1);

        // It offers something and looks after nothing.
        driver.Notify();
        driver.Notify();
        for (int round = 2; round < 6; round++)
        {
            Exchange(other, round);
        }

        driver.ExpectNeedsReset();
        Assert.That(_log, Has.Some.Contain("does not answer"));
        driver.Start();
        Exchange(driver, 7);
    }

    [Test]
    public void Client_LeavesInTheMiddle_TheNextOneFindsTheDeviceAsNew([Values(LentMemory.All, LentMemory.Nothing)] LentMemory lent)
    {
        using VfioDriver other = new(Socket(1), 1, LentMemory.All);
        other.Start();
        for (int round = 1; round <= 3; round++)
        {
            using VfioDriver driver = new(Socket(0), 0, lent);
            driver.Start();
            Exchange(driver, round);
            driver.Offer(0, 512, 0x1000, 512);
        }

        Exchange(other, 9);
    }

    private string Socket(int function) => Path.Combine(_folder, $"f{function}");

    /// <summary>One request: what is readable comes back inverted, and nothing around it changes.</summary>
    private static void Exchange(VfioDriver driver, int seed)
    {
        Random random = new(seed);
        int length = random.Next(1, 9000);
        int readable = random.Next(0, 0x1000);
        int writable = 0x1_0000 + random.Next(0, 0x1000);
        random.NextBytes(driver.Data.Span(0, VfioDriver.BufferBytes));
        byte[] before = driver.Data.Span(0, VfioDriver.BufferBytes).ToArray();

        driver.Offer(readable, length, writable, length);

        Assert.That(driver.NextUsed(), Is.EqualTo(length));
        byte[] expected = before;
        for (int index = 0; index < length; index++)
        {
            expected[writable + index] = (byte)~before[readable + index];
        }

        Assert.That(driver.Data.Span(0, VfioDriver.BufferBytes).SequenceEqual(expected), Is.True, "the bytes of both buffers and around them");
    }
}
