// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>SET_IRQS and what raising an interrupt then does.</summary>
public sealed class InterruptTests
{
    private const IrqSetFlags TriggerEventFd = IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventFd;
    private const IrqSetFlags TriggerNone = IrqSetFlags.ActionTrigger | IrqSetFlags.DataNone;

    private readonly List<EventFd> _events = [];
    private ServerHost _host = null!;
    private VfioUserClient _client = null!;

    [SetUp]
    public void Connect()
    {
        _host = new ServerHost();
        _client = _host.Connect();
        for (int count = 0; count < TestDevice.Vectors; count++)
        {
            _events.Add(new EventFd());
        }
    }

    [TearDown]
    public void Leave()
    {
        _client.Dispose();
        _host.Dispose();
        _events.ForEach(one => one.Dispose());
        _events.Clear();
    }

    [Test]
    [Clause("vfio-user SET_IRQS-15")]
    public void RaiseMsix_Armed_SignalsThatVectorOnly()
    {
        _client.ArmMsix(0, [_events[0], _events[1]]);

        Assert.That(RaiseMsix(1), Is.True);
        Assert.That(RaiseMsix(1), Is.True);

        Assert.That(_events[1].TryTake(out ulong count), Is.True);
        Assert.That(count, Is.EqualTo(2));
        Assert.That(_events[0].TryTake(out ulong _), Is.False);
    }

    [Test]
    public void RaiseMsix_NotArmed_SaysSo() => Assert.That(RaiseMsix(3), Is.False);

    [Test]
    [Clause("vfio-user SET_IRQS-5")]
    [Clause("vfio-user SET_IRQS-10")]
    public void SetIrqs_MoreVectorsThanOneMessageTakes_ArmsAllOfThem()
    {
        _client.ArmMsix(0, _events.ToArray());

        for (int vector = 0; vector < TestDevice.Vectors; vector++)
        {
            Assert.That(RaiseMsix(vector), Is.True);
            Assert.That(_events[vector].TryTake(out ulong _), Is.True, $"vector {vector}");
        }

        Assert.That(_host.Device.Next(), Is.EqualTo("irq 2 [0,16) Armed"));
        Assert.That(_host.Device.Next(), Is.EqualTo("irq 2 [16,32) Armed"));
        Assert.That(_host.Device.Next(), Is.EqualTo("irq 2 [32,40) Armed"));
    }

    [Test]
    [Clause("vfio-user SET_IRQS-5")]
    [Clause("vfio-user SET_IRQS-14")]
    public void SetIrqs_PartOfTheRange_LeavesTheRestArmed()
    {
        _client.ArmMsix(0, [_events[0], _events[1], _events[2], _events[3]]);
        _client.DisarmMsix(1, 1);
        _client.ArmMsix(2, [_events[9]]);

        Assert.That(Enumerable.Range(0, 5).Select(RaiseMsix), Is.EqualTo(new[] { true, false, true, true, false }));
        Assert.That(_events[2].TryTake(out ulong _), Is.False, "replaced");
        Assert.That(_events[9].TryTake(out ulong _), Is.True);
        _host.Device.Next();
        Assert.That(_host.Device.Next(), Is.EqualTo("irq 2 [1,2) Disarmed"));
        Assert.That(_host.Device.Next(), Is.EqualTo("irq 2 [2,3) Armed"));
    }

    [Test]
    [Clause("vfio-user SET_IRQS-13")]
    public void SetIrqs_CountZero_DisarmsTheWholeIndex()
    {
        _client.ArmMsix(0, [_events[0], _events[1]]);
        _client.SetIrqs(VfioPci.IntxIrqIndex, TriggerEventFd, 0, 1, default, [_events[2].Fd]);
        _client.SetIrqs(VfioPci.MsixIrqIndex, TriggerNone, 0, 0);

        Assert.That(RaiseMsix(0) || RaiseMsix(1), Is.False);
        Assert.That(_host.OnLoop(() => _host.Server.RaiseIntx()), Is.True);
        _host.Device.Next();
        _host.Device.Next();
        Assert.That(_host.Device.Next(), Is.EqualTo("irq 2 [0,40) Disarmed"));
    }

    [Test]
    [Clause("vfio-user SET_IRQS-14")]
    public void SetIrqs_RearmedManyTimes_KeepsNoDescriptor()
    {
        _client.ArmMsix(0, [_events[0]]);
        int before = ConnectionTests.OpenDescriptors();
        for (int round = 0; round < 50; round++)
        {
            _client.ArmMsix(0, [_events[0], _events[1], _events[2]]);
            _client.DisarmMsix(1, 2);
        }

        Assert.That(ConnectionTests.OpenDescriptors(), Is.EqualTo(before));
    }

    [Test]
    [Clause("vfio-user SET_IRQS-3")]
    [Clause("vfio-user SET_IRQS-4")]
    [Clause("vfio-user SET_IRQS-10")]
    public void SetIrqs_TriggeredByTheClient_SignalsThoseAsked()
    {
        _client.ArmMsix(0, [_events[0], _events[1], _events[2]]);

        _client.SetIrqs(VfioPci.MsixIrqIndex, TriggerNone, 1, 2);
        _client.SetIrqs(VfioPci.MsixIrqIndex, IrqSetFlags.ActionTrigger | IrqSetFlags.DataBool, 0, 3, [1, 0, 1]);

        Assert.That(_events.Take(3).Select(one => one.TryTake(out ulong count) ? count : 0), Is.EqualTo(new ulong[] { 1, 1, 2 }));
    }

    [Test]
    [Clause("vfio-user SET_IRQS-6")]
    public void SetIrqs_NoEventFd_IsRefusedAndNothingChanges()
    {
        using SharedMemory memory = new(4096);
        _client.ArmMsix(0, [_events[0], _events[1]]);
        int before = ConnectionTests.OpenDescriptors();

        Assert.That(
            () => _client.SetIrqs(VfioPci.MsixIrqIndex, TriggerEventFd, 0, 2, default, [_events[5].Fd, memory.Fd]),
            Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(Errno.EINVAL));

        Assert.That(RaiseMsix(0), Is.True);
        Assert.That(_events[0].TryTake(out ulong _), Is.True);
        Assert.That(ConnectionTests.OpenDescriptors(), Is.EqualTo(before));
    }

    [TestCase(2, 1)]
    [TestCase(1, 2)]
    [TestCase(16, 40)]
    [Clause("vfio-user SET_IRQS-5")]
    public void SetIrqs_DescriptorsNotMatchingTheCount_IsRefused(int count, int descriptors)
    {
        int before = ConnectionTests.OpenDescriptors();

        Assert.That(
            () => _client.SetIrqs(VfioPci.MsixIrqIndex, TriggerEventFd, 0, count, default, _events.Take(descriptors).Select(one => one.Fd).ToArray()),
            Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(Errno.EINVAL));

        Assert.That(RaiseMsix(0), Is.False);
        Assert.That(ConnectionTests.OpenDescriptors(), Is.EqualTo(before));
    }

    [Test]
    [Clause("vfio-user SET_IRQS-5")]
    public void SetIrqs_DescriptorsOfAPipelinedMessage_StayWithIt()
    {
        // Two messages in flight, each with its own descriptor: neither takes the other's.
        byte[] first = Bytes.SetIrqs(TriggerEventFd, 2, 0, 1);
        byte[] second = Bytes.SetIrqs(TriggerEventFd, 2, 1, 1);
        _host.OnLoop(() =>
        {
            _client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 4));
            _client.Send(VfioUserCommand.DeviceSetIrqs, first, [_events[0].Fd]);
            _client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 4));
            _client.Send(VfioUserCommand.DeviceSetIrqs, second, [_events[1].Fd]);
            _client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 4));
        });
        for (int count = 0; count < 5; count++)
        {
            Assert.That(_client.Receive().IsError, Is.False);
        }

        Assert.That(RaiseMsix(1), Is.True);
        Assert.That(_events[1].TryTake(out ulong _), Is.True);
        Assert.That(_events[0].TryTake(out ulong _), Is.False);
    }

    [Test]
    [Clause("vfio-user SET_IRQS-7")]
    [Clause("vfio-user SET_IRQS-16")]
    public void RaiseIntx_AfterATrigger_IsMaskedUntilUnmasked()
    {
        _client.SetIrqs(VfioPci.IntxIrqIndex, TriggerEventFd, 0, 1, default, [_events[0].Fd]);
        Assert.That(_host.Device.Next(), Is.EqualTo("irq 0 [0,1) Armed"));

        Assert.That(RaiseIntx(), Is.True);
        Assert.That(RaiseIntx(), Is.False);
        _client.SetIrqs(VfioPci.IntxIrqIndex, IrqSetFlags.ActionUnmask | IrqSetFlags.DataNone, 0, 1);
        Assert.That(_host.Device.Next(), Is.EqualTo("irq 0 [0,1) Unmasked"));
        Assert.That(RaiseIntx(), Is.True);

        _client.SetIrqs(VfioPci.IntxIrqIndex, IrqSetFlags.ActionUnmask | IrqSetFlags.DataBool, 0, 1, [1]);
        _client.SetIrqs(VfioPci.IntxIrqIndex, IrqSetFlags.ActionMask | IrqSetFlags.DataNone, 0, 1);
        Assert.That(RaiseIntx(), Is.False);
        Assert.That(_events[0].TryTake(out ulong count) ? count : 0, Is.EqualTo(2));
    }

    [Test]
    [Clause("vfio-user SET_IRQS-8")]
    public void RaiseIntx_UnmaskedByEventFd_TellsTheDevice()
    {
        _client.SetIrqs(VfioPci.IntxIrqIndex, TriggerEventFd, 0, 1, default, [_events[0].Fd]);
        _client.SetIrqs(VfioPci.IntxIrqIndex, IrqSetFlags.ActionUnmask | IrqSetFlags.DataEventFd, 0, 1, default, [_events[1].Fd]);
        _host.Device.Next();
        Assert.That(RaiseIntx(), Is.True);

        _events[1].Signal();

        Assert.That(_host.Device.Next(), Is.EqualTo("irq 0 [0,1) Unmasked"));
        Assert.That(RaiseIntx(), Is.True);
    }

    [Test]
    [Clause("vfio-user SET_IRQS-15")]
    public void Raise_CounterAtItsLimit_DoesNotBlockTheLoop()
    {
        _client.ArmMsix(0, [_events[0]]);
        byte[] almostFull = Bytes.U64(ulong.MaxValue - 1);
        using (Microsoft.Win32.SafeHandles.SafeFileHandle handle = new(_events[0].Fd, ownsHandle: false))
        using (FileStream stream = new(handle, FileAccess.Write, 0))
        {
            stream.Write(almostFull);
        }

        Assert.That(RaiseMsix(0), Is.True);
        Assert.That(_events[0].TryTake(out ulong count) ? count : 0, Is.EqualTo(ulong.MaxValue - 1));
    }

    private bool RaiseMsix(int vector) => _host.OnLoop(() => _host.Server.RaiseMsix(vector));

    private bool RaiseIntx() => _host.OnLoop(() => _host.Server.RaiseIntx());
}
