// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;

namespace Cosim.Fpga.Tests;

/// <summary>Runs the tests of a derived class over the three FPGAs; each test starts from a reset.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public abstract class FpgaFixture(FpgaKind kind)
{
    private IFpga? fpga;

    private protected IFpga Fpga => fpga!;

    private protected PortDriver Ports { get; private set; } = null!;

    /// <summary>Options that every FPGA of the tests is made with.</summary>
    internal static FpgaOptions Options(FpgaKind kind)
    {
        string root = Repository.Root;
        return new FpgaOptions
        {
            Kind = kind,
            HdlDirectory = Path.Combine(root, "hdl"),
            BuildDirectory = Path.Combine(root, ".cosim", "build"),
            ToolsFile = Path.Combine(root, ".cosim", "tools.json"),
        };
    }

    [OneTimeSetUp]
    public void MakeFpga() => fpga = RecordedFpga.Create(Options(kind), GetType().Name);

    [OneTimeTearDown]
    public void DisposeFpga() => fpga?.Dispose();

    [SetUp]
    public void ResetFpga()
    {
        Fpga.Reset();
        Ports = new PortDriver(Fpga);
    }
}
