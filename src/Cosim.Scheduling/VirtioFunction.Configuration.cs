// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>The device configuration space between driver and back end (<c>hdl/BACKEND.md</c>, "Configuration writes").</summary>
internal sealed partial class VirtioFunction
{
    private readonly DeviceConfiguration _configuration = new();
    private bool _tellingWrites;
    private int _untoldWrites;
    private bool _readingConfiguration;

    /// <summary>The driver wrote a field of the device configuration space.</summary>
    /// <param name="offset">Offset in bytes.</param>
    /// <param name="size">1, 2 or 4 bytes.</param>
    /// <param name="value">Value.</param>
    public void ConfigurationWritten(int offset, int size, uint value)
    {
        if (_device is null || size is not (1 or 2 or 4) || offset + size > _device.Configuration.Length)
        {
            return;
        }

        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        _configuration.Write(offset, bytes[..size]);
        WriteConfiguration(offset, size);

        // However fast the driver writes, one turn at a time tells the back end of all that has changed.
        if (!_tellingWrites)
        {
            _tellingWrites = true;
            _untoldWrites++;
            InOrder(TellConfigurationWritten);
        }
    }

    /// <summary>The back end says that the device configuration space has changed.</summary>
    public void ConfigurationChanged()
    {
        if (!_readingConfiguration)
        {
            _readingConfiguration = true;
            InOrder(ReadConfiguration);
        }
    }

    // A request that the driver made available after it wrote is to meet a device that has heard of the write.
    private async Task TellConfigurationWritten(int generation)
    {
        _tellingWrites = false;
        try
        {
            bool refused = false;
            foreach (ConfigurationBytes written in _configuration.TakeUntold())
            {
                refused |= _backEnd is { } backEnd && !await TrySetConfiguration(backEnd, written, BackEnd.ByTheDriver);
            }

            if (refused && _backEnd is { } refusing && await UpdateConfiguration(refusing))
            {
                WriteRegister(RegisterMap.Function.Control, ConfigChanged);
            }
        }
        finally
        {
            _untoldWrites--;
        }

        if (_untoldWrites == 0)
        {
            foreach (ShadowQueue queue in _queues)
            {
                queue.OfferHeld();
            }
        }
    }

    private async Task<bool> TrySetConfiguration(BackEnd backEnd, ConfigurationBytes written, uint flags)
    {
        byte[] payload = BackEnd.ConfigurationPayload((uint)written.Offset, written.Bytes, flags);
        byte[] reply = await backEnd.Link.Request(_index, MailboxRequest.SetConfig, payload, 8);
        ulong error = BinaryPrimitives.ReadUInt64LittleEndian(reply);
        if (error == 0)
        {
            return true;
        }

        _configuration.Refused(written);
        _report($"function {_index}: the back end refused a write of its configuration space with error {error}");
        return false;
    }

    private async Task ReadConfiguration(int generation)
    {
        _readingConfiguration = false;
        if (_backEnd is { } backEnd)
        {
            _ = await UpdateConfiguration(backEnd);
            WriteRegister(RegisterMap.Function.Control, ConfigChanged);
        }
    }

    // Shows host 1 what the device says; whether that is a change.
    private async Task<bool> UpdateConfiguration(BackEnd backEnd)
    {
        bool changed = _configuration.Update(await BackEnd.ReadConfiguration(backEnd.Link, _index, _configuration.Length));
        WriteConfiguration(0, _configuration.Length);
        return changed;
    }

    // A new back end hears of what the driver has written, and host 1 of what is different now.
    private async Task TellAgain(BackEnd backEnd)
    {
        foreach (ConfigurationBytes written in _configuration.Written())
        {
            if (!await TrySetConfiguration(backEnd, written, BackEnd.ByTheFrontEnd) && _driverOk)
            {
                Fail("the new back end does not take what the driver has written to the configuration space");
            }
        }

        if (await UpdateConfiguration(backEnd))
        {
            WriteRegister(RegisterMap.Function.Control, ConfigChanged);
        }
    }

    private void WriteConfiguration(int offset, int length)
    {
        for (int word = offset & ~3; word < offset + length; word += 4)
        {
            WriteRegister(RegisterMap.Function.DeviceConfig + (uint)word, BinaryPrimitives.ReadUInt32LittleEndian(_configuration.Bytes[word..]));
        }
    }
}
