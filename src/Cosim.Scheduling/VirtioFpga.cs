// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>The processor of the virtio FPGA: takes its events, opens the back end's sessions and drives the functions.</summary>
internal sealed class VirtioFpga
{
    private const int MostRecalls = 3;
    private const ulong Invalid = 22;
    private const uint Ready = 1;
    private const uint WaitsForMailbox = 2;

    private static readonly TimeSpan s_stable = TimeSpan.FromSeconds(10);

    private readonly ManagementPort _port;
    private readonly VirtioFunction[] _functions;
    private readonly BackEndLink _link;
    private readonly Action<string> _report;
    private readonly Action _linkUp;
    private readonly int _queues;
    private BackEnd? _backEnd;
    private readonly TimeProvider _time;
    private long _opened;
    private int _recalls;
    private int _session;
    private bool _inSession;
    private bool _abandoned;
    private bool _lost;

    public VirtioFpga(IFpga fpga, BridgeOptions options, TimeProvider time, Action<string> report, Action linkUp)
    {
        _time = time;
        _report = report;
        _linkUp = linkUp;
        _queues = options.Fpga.QueuesPerFunction;
        _port = new ManagementPort(fpga, options.CompletionLatencyCycles) { EventReceived = Received, Report = report };
        _port.Dma.SetScratchSize((uint)options.Fpga.ScratchBytes);
        _link = new BackEndLink(_port, options.MailboxTimeout, _time)
        {
            Lost = BackEndLost,
            Report = report,
            ConfigurationChanged = device =>
            {
                if (_backEnd is null || device >= (uint)_backEnd.Devices.Count)
                {
                    report($"the back end tells of a change of device {device}, which it does not serve");
                    return;
                }

                _functions![device].ConfigurationChanged();
            },
            StateReceived = (device, part) =>
            {
                if (_backEnd is null || device >= (uint)_backEnd.Devices.Count)
                {
                    report($"the back end gives a state of device {device}, which it does not serve");
                    return Invalid;
                }

                return _functions![device].StateReceived(part.Span);
            },
        };
        _functions = new VirtioFunction[options.Fpga.Functions];
        for (int i = 0; i < _functions.Length; i++)
        {
            _functions[i] = new VirtioFunction(_port, i, _queues, options.RingFeatures, report, BackEndLost, PoolFreed);
        }

        _port.WriteRegister(RegisterMap.Management.BeStatus, 1);
    }

    /// <summary>Timestamp at which <see cref="CheckDeadline"/> is to be called, or null.</summary>
    public long? Deadline => _link.Deadline;

    public void CheckDeadline() => _link.CheckDeadline();

    /// <summary>Has a back end look at CONTROL and STATUS, and so begin a new session if the front end has ended the last one.</summary>
    public void CallBackEnd() => _port.Interrupt(1, 0, 0);

    public void Receive(in FpgaPacket packet) => _port.Receive(packet.Bytes, packet.Cycle);

    /// <summary>The FPGA was reset or is lost: nothing that was begun goes on.</summary>
    public void Abandon()
    {
        _abandoned = true;
        _session++;
        _backEnd = null;
        foreach (VirtioFunction function in _functions)
        {
            function.Disconnect();
        }

        _port.Abandon();
        _link.Abandon("the FPGA was reset or is lost");
    }

    private void Received(ManagementEvent e)
    {
        switch (e.Opcode)
        {
            case RegisterMap.Opcode.Notify when Known(e):
                _functions[e.Function].Notified(e.Word3, e.Word4);
                break;
            case RegisterMap.Opcode.Status when Known(e):
                _functions[e.Function].StatusWritten((VirtioStatus)(byte)e.Word3);
                break;
            case RegisterMap.Opcode.ConfigWrite when Known(e):
                _functions[e.Function].ConfigurationWritten((int)(e.Word3 & 0xFFFF), (int)((e.Word3 >> 16) & 0xFF), e.Word4);
                break;
            case RegisterMap.Opcode.QueueReset when Known(e):
                _functions[e.Function].QueueReset(e.Word3);
                break;
            case RegisterMap.Opcode.Doorbell when Known(e):
                _functions[e.Function].Called(e.Word3);
                break;
            case RegisterMap.Opcode.Mailbox when e.Word3 == 0:
                _link.Acknowledged();
                break;
            case RegisterMap.Opcode.Mailbox:
                _ = _link.Posted(e.Word4);
                break;
            case RegisterMap.Opcode.Backend when _inSession && e.Word3 == (Ready | WaitsForMailbox):
                _link.CallWhenEmpty();
                break;
            case RegisterMap.Opcode.Backend:
                Session((e.Word3 & Ready) != 0);
                break;
            case RegisterMap.Opcode.Flr:
                if (e.Port == 1)
                {
                    Session(ready: false);
                }

                break;
            default:
                _report($"management event 0x{e.Opcode:X2} for port {e.Port}, function {e.Function} is not known");
                break;
        }
    }

    private bool Known(in ManagementEvent e) => e.Function < _functions.Length;

    private void Session(bool ready)
    {
        CloseSession(ready ? "the back end began a new session" : "the back end ended its session");
        if (ready)
        {
            _port.WriteRegister(RegisterMap.Management.BeStatus, 1);
            _inSession = true;
            _ = OpenSession(++_session);
        }
    }

    private async Task OpenSession(int session)
    {
        try
        {
            BackEnd backEnd = await BackEnd.Open(_link, _functions.Length, _queues);
            if (session != _session)
            {
                return;
            }

            _backEnd = backEnd;
            _opened = _time.GetTimestamp();
            for (int i = 0; i < _functions.Length; i++)
            {
                if (i < backEnd.Devices.Count || _functions[i].Described)
                {
                    _functions[i].Connect(backEnd);
                }
            }

            // The link may only come up when what was just written is in the FPGA: its registers are read in order.
            _ = await _port.ReadRegister(RegisterMap.Management.Id);
            if (session == _session)
            {
                _linkUp();
                if (_lost)
                {
                    _lost = false;
                    _report("back end is back");
                }
            }
        }
        catch (Exception e)
        {
            if (session == _session)
            {
                BackEndLost(e.Message);
            }
        }
    }

    private void BackEndLost(string reason)
    {
        if (_abandoned)
        {
            return;
        }

        _lost = true;
        _report($"back end lost: {reason}");
        bool wasOpen = _backEnd is not null;
        CloseSession(reason);

        // A back end that is alive after all is told, and may begin a new session; one that is lost again and again is left alone.
        _recalls = _time.GetElapsedTime(_opened) > s_stable ? 0 : _recalls + 1;
        if (wasOpen && _recalls <= MostRecalls)
        {
            _port.WriteRegister(RegisterMap.Management.BeStatus, 0);
            CallBackEnd();
        }
    }

    private void CloseSession(string reason)
    {
        _session++;
        _inSession = false;
        _backEnd = null;
        foreach (VirtioFunction function in _functions)
        {
            function.Disconnect();
        }

        // The mailboxes may hold what belongs to the session that is over.
        _port.WriteRegister(RegisterMap.Management.F2hControl, 0);
        _port.WriteRegister(RegisterMap.Management.H2fControl, 0);
        _link.Abandon(reason);
    }

    private void PoolFreed()
    {
        foreach (VirtioFunction function in _functions)
        {
            function.RetryPool();
        }
    }
}
