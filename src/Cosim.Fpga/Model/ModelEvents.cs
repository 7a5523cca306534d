// SPDX-License-Identifier: Apache-2.0
using System.Numerics;

namespace Cosim.Fpga.Model;

/// <summary>Events that wait to leave at the management port, merged as CONTRACT.md, 3 to 5 say.</summary>
internal sealed class ModelEvents
{
    private const ulong GatherCycles = 2;
    private const int HostPort = 0;
    private const uint BackEndTarget = 1;

    private readonly ModelClock clock;
    private readonly Device[] devices;
    private readonly int queues;
    private int turn;
    private bool backEndFlr;
    private bool backEndWritten;
    private uint backEndValue;
    private bool mailboxAcknowledged;
    private bool mailboxPosted;
    private uint mailboxLength;

    public ModelEvents(ModelClock clock, int functions, int queues)
    {
        this.clock = clock;
        this.queues = queues;
        devices = new Device[functions];
        for (int i = 0; i < functions; i++)
        {
            devices[i] = new Device(queues);
        }
    }

    /// <summary>Events inside.</summary>
    public int Count { get; private set; }

    /// <summary>First cycle in which an event may be handed on.</summary>
    public ulong ReadyAt { get; private set; }

    /// <summary>A driver's write to NOTIFY.</summary>
    public void Notify(int function, int queue, uint value)
    {
        devices[function].NotifyValues[queue] = value;
        Mark(ref devices[function].Notifies, queue);
    }

    /// <summary>A driver's write to device_status that was no reset.</summary>
    public void Status(int function, uint status)
    {
        devices[function].StatusValue = status;
        Mark(ref devices[function].Status);
    }

    /// <summary>A reset of a function: what its driver did before is of no interest any more.</summary>
    public void Reset(int function)
    {
        Device device = devices[function];
        Drop(ref device.Status);
        Drop(ref device.Notifies);
        Drop(ref device.QueueResets);
        Count -= device.ConfigWrites.Count;
        device.ConfigWrites.Clear();
        Mark(ref device.Reset);
    }

    /// <summary>A function level reset.</summary>
    public void Flr(int port, int function)
    {
        if (port == HostPort)
        {
            Mark(ref devices[function].Flr);
        }
        else
        {
            Mark(ref backEndFlr);
        }
    }

    /// <summary>A driver's write of 1 to queue_reset.</summary>
    public void QueueReset(int function, int queue) => Mark(ref devices[function].QueueResets, queue);

    /// <summary>A driver's write to the device configuration space; lost while 16 wait.</summary>
    public void ConfigWrite(int function, uint offset, uint size, uint value)
    {
        Queue<(uint Where, uint Value)> writes = devices[function].ConfigWrites;
        if (writes.Count < Device.ConfigWriteDepth)
        {
            writes.Enqueue((offset | (size << 16), value));
            Added();
        }
    }

    /// <summary>Host 2's write to a doorbell.</summary>
    public void Doorbell(int device, int queue) => Mark(ref devices[device].Doorbells, queue);

    /// <summary>Host 2 has emptied its mailbox.</summary>
    public void MailboxAcknowledged() => Mark(ref mailboxAcknowledged);

    /// <summary>Host 2 has filled the FPGA's mailbox.</summary>
    public void MailboxPosted(uint length)
    {
        mailboxLength = length;
        Mark(ref mailboxPosted);
    }

    /// <summary>Host 2's write to CONTROL.</summary>
    public void BackEnd(uint value)
    {
        backEndValue = value;
        Mark(ref backEndWritten);
    }

    /// <summary>Drops what the back-end endpoint has told.</summary>
    public void ClearBackEnd()
    {
        Drop(ref backEndWritten);
        Drop(ref mailboxAcknowledged);
        Drop(ref mailboxPosted);
        foreach (Device device in devices)
        {
            Drop(ref device.Doorbells);
        }
    }

    /// <summary>Drops everything.</summary>
    public void Clear()
    {
        ClearBackEnd();
        Drop(ref backEndFlr);
        for (int f = 0; f < devices.Length; f++)
        {
            Reset(f);
            Drop(ref devices[f].Reset);
            Drop(ref devices[f].Flr);
        }

        turn = 0;
    }

    /// <summary>Takes the next event: the back end and the functions in turn, the events of each in the contract's order.</summary>
    public void Take(out uint opcode, out uint dw2, out uint dw3, out uint dw4)
    {
        Count--;
        while (true)
        {
            int source = turn;
            turn = turn == devices.Length ? 0 : turn + 1;
            if (source == devices.Length ? TakeBackEnd(out opcode, out dw2, out dw3, out dw4) : TakeFunction(source, out opcode, out dw2, out dw3, out dw4))
            {
                return;
            }
        }
    }

    private bool TakeBackEnd(out uint opcode, out uint dw2, out uint dw3, out uint dw4)
    {
        dw2 = BackEndTarget;
        dw3 = 0;
        dw4 = 0;
        opcode = RegisterMap.Opcode.Flr;
        if (Clear(ref backEndFlr))
        {
            return true;
        }

        opcode = RegisterMap.Opcode.Backend;
        if (Clear(ref backEndWritten))
        {
            dw3 = backEndValue;
            return true;
        }

        opcode = RegisterMap.Opcode.Mailbox;
        if (Clear(ref mailboxAcknowledged))
        {
            return true;
        }

        if (Clear(ref mailboxPosted))
        {
            dw3 = 1;
            dw4 = mailboxLength;
            return true;
        }

        opcode = RegisterMap.Opcode.Doorbell;
        for (int d = 0; d < devices.Length; d++)
        {
            if (devices[d].Doorbells != 0)
            {
                dw2 = BackEndTarget | ((uint)d << 8);
                dw3 = (uint)NextQueue(ref devices[d].Doorbells, ref devices[d].DoorbellTurn);
                return true;
            }
        }

        return false;
    }

    private bool TakeFunction(int function, out uint opcode, out uint dw2, out uint dw3, out uint dw4)
    {
        Device device = devices[function];
        dw2 = (uint)function << 8;
        dw3 = 0;
        dw4 = 0;
        opcode = RegisterMap.Opcode.Flr;
        if (Clear(ref device.Flr))
        {
            return true;
        }

        opcode = RegisterMap.Opcode.Status;
        if (Clear(ref device.Reset))
        {
            return true;
        }

        if (Clear(ref device.Status))
        {
            dw3 = device.StatusValue;
            return true;
        }

        opcode = RegisterMap.Opcode.ConfigWrite;
        if (device.ConfigWrites.TryDequeue(out (uint Where, uint Value) write))
        {
            (dw3, dw4) = write;
            return true;
        }

        opcode = RegisterMap.Opcode.QueueReset;
        if (device.QueueResets != 0)
        {
            int none = 0;
            dw3 = (uint)NextQueue(ref device.QueueResets, ref none);
            return true;
        }

        opcode = RegisterMap.Opcode.Notify;
        if (device.Notifies != 0)
        {
            int queue = NextQueue(ref device.Notifies, ref device.NotifyTurn);
            dw3 = (uint)queue;
            dw4 = device.NotifyValues[queue];
            return true;
        }

        return false;
    }

    /// <summary>Takes a marked queue, each in its turn.</summary>
    private int NextQueue(ref ulong marks, ref int next)
    {
        ulong ahead = marks & (ulong.MaxValue << next);
        int queue = BitOperations.TrailingZeroCount(ahead != 0 ? ahead : marks);
        marks &= ~(1ul << queue);
        next = queue + 1 < queues ? queue + 1 : 0;
        return queue;
    }

    private void Added()
    {
        if (Count++ == 0)
        {
            ReadyAt = clock.Now + GatherCycles;
        }
    }

    private void Mark(ref bool mark)
    {
        if (!mark)
        {
            mark = true;
            Added();
        }
    }

    private void Mark(ref ulong marks, int queue)
    {
        if ((marks & (1ul << queue)) == 0)
        {
            marks |= 1ul << queue;
            Added();
        }
    }

    private static bool Clear(ref bool mark)
    {
        bool was = mark;
        mark = false;
        return was;
    }

    private void Drop(ref bool mark) => Count -= Clear(ref mark) ? 1 : 0;

    private void Drop(ref ulong marks)
    {
        Count -= BitOperations.PopCount(marks);
        marks = 0;
    }

    private sealed class Device(int queues)
    {
        public const int ConfigWriteDepth = 16;

        public readonly Queue<(uint Where, uint Value)> ConfigWrites = new(ConfigWriteDepth);
        public readonly uint[] NotifyValues = new uint[queues];
        public bool Flr;
        public bool Reset;
        public bool Status;
        public uint StatusValue;
        public ulong QueueResets;
        public ulong Notifies;
        public int NotifyTurn;
        public ulong Doorbells;
        public int DoorbellTurn;
    }
}
