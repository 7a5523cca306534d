// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;
using Cosim.VfioUser;

namespace Cosim.Backend.Internal;

/// <summary>A named pipe that takes commands for the devices, one a line: the device's number, the command and what belongs to it.</summary>
internal sealed unsafe class CommandPipe : IDisposable
{
    private const int LongestLine = 1024;

    private readonly string _path;
    private readonly int _fd;
    private readonly IReadOnlyList<IDeviceBackend> _devices;
    private readonly Action<string> _report;
    private readonly EventRegistration _registration;
    private readonly List<byte> _line = [];
    private bool _tooLong;

    internal CommandPipe(string path, EventLoop loop, IReadOnlyList<IDeviceBackend> devices, Action<string> report)
    {
        _path = path;
        _devices = devices;
        _report = report;
        _fd = OpenPipe(path);
        _registration = loop.Register(_fd, PollEvents.In, _ => Read());
    }

    public void Dispose()
    {
        _registration.Dispose();
        _ = Linux.Close(_fd);
        File.Delete(_path);
    }

    /// <summary>Makes a named pipe, for this user alone, and opens it for both ends, so that it neither ends nor lacks a reader.</summary>
    internal static int OpenPipe(string path)
    {
        File.Delete(path);
        int fd = Linux.MakeFifo(path, 0x180) == 0 // 0600
            ? Linux.Open(path, Linux.O_RDWR | Linux.O_NONBLOCK | Linux.O_CLOEXEC)
            : -1;
        return fd >= 0 ? fd : throw new BackendException($"The pipe {path} cannot be made: {Linux.LastError}.");
    }

    private void Read()
    {
        byte* buffer = stackalloc byte[512];
        nint length;
        while ((length = Linux.Read(_fd, buffer, 512)) > 0)
        {
            foreach (byte value in new ReadOnlySpan<byte>(buffer, (int)length))
            {
                if (value == (byte)'\n')
                {
                    Carry();
                }
                else if (_line.Count < LongestLine)
                {
                    _line.Add(value);
                }
                else
                {
                    _tooLong = true;
                }
            }
        }
    }

    private void Carry()
    {
        string line = Encoding.UTF8.GetString([.. _line]);
        bool tooLong = _tooLong;
        _line.Clear();
        _tooLong = false;
        string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (tooLong || words.Length < 2 || !int.TryParse(words[0], NumberStyles.None, CultureInfo.InvariantCulture, out int device) || device >= _devices.Count)
        {
            _report($"{_path}: \"{line}\" is no command; expected the number of a device, 0 to {_devices.Count - 1}, and what it is to do.");
            return;
        }

        try
        {
            _report($"device {device}: {_devices[device].Command(words[1..])}");
        }
        catch (BackendException e)
        {
            _report($"device {device}: \"{line}\" was not done: {e.Message}.");
        }
    }
}
