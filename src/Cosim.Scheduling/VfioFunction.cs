// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;
using Cosim.VfioUser;

namespace Cosim.Scheduling;

/// <summary>One function of a port whose host is a vfio-user client: joins the server and the root port.</summary>
internal sealed class VfioFunction : IVfioUserDevice, IPcieHost, IDisposable
{
    private const int ConfigurationSpaceBytes = 4096;
    private const int SlotBits = 20;
    private const ulong WriteTokens = 1UL << 52;
    private const ulong ResetTokens = 1UL << 53;
    private const ulong NoToken = 1UL << 54;

    private readonly int _function;
    private readonly ulong _owner;
    private RootPort _rootPort = null!;
    private FunctionLayout _layout = null!;
    private VfioUserServer _server = null!;

    public VfioFunction(int function, ulong owner)
    {
        _function = function;
        _owner = owner;
    }

    /// <summary>Whether VERSION is answered.</summary>
    public bool LinkUp
    {
        set => _server.LinkUp = value;
    }

    /// <summary>Whether a client is served.</summary>
    public bool Attached => _server.ClientConnected;

    /// <summary>Path of the socket.</summary>
    public string Socket => _server.SocketPath;

    /// <summary>Creates the socket, once it is known what the function has.</summary>
    public void Listen(RootPort rootPort, FunctionLayout layout, EventLoop loop, string socket, bool linkUp, VfioUserServerOptions options)
    {
        _rootPort = rootPort;
        _layout = layout;
        _server = new VfioUserServer(loop, socket, this, options) { LinkUp = linkUp };
    }

    public void Dispose() => _server?.Dispose();

    public RegionInfo GetRegion(int index) => index switch
    {
        < FunctionLayout.BarCount => RegionInfo.ReadWrite(_layout.Bars[index].IsMemory ? _layout.Bars[index].Size : 0),
        VfioPci.ConfigRegionIndex => RegionInfo.ReadWrite(ConfigurationSpaceBytes),
        _ => default,
    };

    public IrqInfo GetIrq(int index) => index switch
    {
        VfioPci.IntxIrqIndex when _layout.InterruptPin != 0 => IrqInfo.Intx,
        VfioPci.MsixIrqIndex => IrqInfo.Msix(_layout.MsixVectors),
        _ => default,
    };

    public void Read(in RegionAccess access)
    {
        ulong token = Token(access.Token);
        if (access.Region == VfioPci.ConfigRegionIndex)
        {
            _rootPort.ConfigRead(_function, (int)access.Offset, access.Count, token);
        }
        else
        {
            _rootPort.MemoryRead(_function, access.Region, access.Offset, access.Count, token);
        }
    }

    public void Write(in RegionAccess access, ReadOnlySpan<byte> data)
    {
        ulong token = Token(access.Token) | WriteTokens;
        if (access.Region == VfioPci.ConfigRegionIndex)
        {
            _rootPort.ConfigWrite(_function, (int)access.Offset, data, token);
        }
        else
        {
            _rootPort.MemoryWrite(_function, access.Region, access.Offset, data, token);
        }
    }

    public void Reset(RequestToken token) => _rootPort.ResetFunction(_function, Token(token) | ResetTokens);

    // The root port reads and writes memory as soon as a request reaches it, and what the client was asked for the server gives up by itself.
    public void DmaUnmapping(DmaRange range, RequestToken token) => _server.CompleteUnmap(token);

    public void InterruptsChanged(int index, int start, int count, IrqChange change)
    {
        switch (index, change)
        {
            case (VfioPci.MsixIrqIndex, IrqChange.Armed):
                _rootPort.ArmVectors(_function, start, count);
                break;
            case (VfioPci.MsixIrqIndex, IrqChange.Disarmed):
                _rootPort.DisarmVectors(_function, start, count);
                break;
            case (VfioPci.IntxIrqIndex, IrqChange.Masked or IrqChange.Disarmed):
                _rootPort.MaskIntx(_function);
                break;
            case (VfioPci.IntxIrqIndex, IrqChange.Unmasked or IrqChange.Armed):
                _rootPort.UnmaskIntx(_function);
                break;
            default:
                break;
        }
    }

    // What the client had begun must not go on in memory that is no longer its own.
    public void ClientDisconnected() => _rootPort.ReleaseFunction(_function, _owner | NoToken);

    /// <summary>A transaction of the client is done.</summary>
    public void Completed(ulong token, ReadOnlySpan<byte> data)
    {
        RequestToken request = new((int)(token & ((1 << SlotBits) - 1)), (uint)(token >> SlotBits));
        if ((token & NoToken) != 0)
        {
            return;
        }

        if ((token & ResetTokens) != 0)
        {
            _server.CompleteReset(request);
        }
        else if ((token & WriteTokens) != 0)
        {
            _server.CompleteWrite(request);
        }
        else
        {
            _server.CompleteRead(request, data);
        }
    }

    public void DmaReadDone(ulong token, DmaResult result, ReadOnlySpan<byte> data) => _rootPort.RemoteReadDone(token, Status(result), data);

    public void DmaWriteDone(ulong token, DmaResult result) => _rootPort.RemoteWriteDone(token, Status(result));

    bool IPcieHost.HoldsCompletions => _server.ServesDmaWhileWaiting;

    bool IPcieHost.IsRemote(ulong address, int length) =>
        _server.Memory.Check(address, (ulong)length, DmaAccess.None) == DmaResult.Remote;

    DmaStatus IPcieHost.BeginRead(ulong address, int length, ulong token) => Status(_server.BeginDmaRead(address, length, token));

    DmaStatus IPcieHost.BeginWrite(ulong address, ReadOnlySpan<byte> data, ulong token) => Status(_server.BeginDmaWrite(address, data, token));

    DmaStatus IPcieHost.Read(ulong address, Span<byte> data) => Status(_server.Memory.Read(address, data));

    DmaStatus IPcieHost.Write(ulong address, ReadOnlySpan<byte> data) => Status(_server.Memory.Write(address, data));

    void IPcieHost.Fence() => GuestMemory.Fence();

    void IPcieHost.MsixInterrupt(int vector) => _ = _server.RaiseMsix(vector);

    void IPcieHost.Intx(bool asserted)
    {
        if (asserted)
        {
            _ = _server.RaiseIntx();
        }
    }

    private ulong Token(RequestToken token) => _owner | (uint)token.Slot | ((ulong)token.Generation << SlotBits);

    // The root port reports what goes wrong.
    private static DmaStatus Status(DmaResult result) => result switch
    {
        DmaResult.Ok => DmaStatus.Ok,
        DmaResult.Faulted => DmaStatus.Faulted,
        DmaResult.Remote => DmaStatus.Remote,
        _ => DmaStatus.Unmapped,
    };
}
