// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using System.Text;
using Cosim.VfioUser;

namespace Cosim.Backend.Internal;

/// <summary>Host 2's end of a console port: a socket, pseudo-terminal, pair of pipes or file. Never blocks.</summary>
internal sealed unsafe class PortEnd : IDisposable
{
    private const int PathSize = 108;
    private const int TermiosSize = 256;

    private readonly ConsolePortOptions _options;
    private int _listener = -1;
    private int _input = -1;
    private int _output = -1;
    private int _terminal = -1;
    private EventLoop? _loop;
    private EventRegistration? _accepting;
    private EventRegistration? _reading;
    private EventRegistration? _writing;
    private Action? _readable;
    private Action? _writable;
    private EventFd? _never;
    private EventRegistration? _changed;

    /// <summary>Makes or opens what the options name.</summary>
    /// <exception cref="BackendException">Linux refuses.</exception>
    internal PortEnd(ConsolePortOptions options)
    {
        _options = options;
        try
        {
            switch (options.Kind)
            {
                case ConsolePortKind.Socket:
                    Listen();
                    break;
                case ConsolePortKind.Pty:
                    OpenTerminal();
                    break;
                case ConsolePortKind.Pipe:
                    _input = CommandPipe.OpenPipe(options.Path + ".in");
                    _output = CommandPipe.OpenPipe(options.Path + ".out");
                    break;
                default:
                    _output = Linux.Open(options.Path, Linux.O_WRONLY | Linux.O_CREAT | Linux.O_APPEND | Linux.O_CLOEXEC, 0x180); // 0600
                    Require(_output >= 0);
                    break;
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Somebody is there.</summary>
    internal bool IsOpen => _output >= 0;

    /// <summary>Asks to be told when there is something to read.</summary>
    internal bool WantsInput
    {
        set => Want(ref _reading, _input, value ? PollEvents.In : PollEvents.None, OnInput);
    }

    /// <summary>Asks to be told when more can be written.</summary>
    internal bool WantsRoom
    {
        set => Want(ref _writing, value ? _output : -1, PollEvents.Out, _ => _writable!());
    }

    /// <summary>Where what happens is told, never from within a call; before everything else.</summary>
    internal void Attach(EventLoop loop, Action readable, Action writable, Action openChanged)
    {
        _loop = loop;
        _readable = readable;
        _writable = writable;
        if (_listener >= 0)
        {
            _never = new EventFd();
            _changed = loop.Register(_never.Fd, PollEvents.In, _ => openChanged());
            _accepting = loop.Register(_listener, PollEvents.In, _ => Accept());
        }
    }

    /// <summary>Reads what is there.</summary>
    /// <returns>Bytes; 0 when there are none for now, or nobody is there any more.</returns>
    internal nint Read(void* buffer, nuint length)
    {
        nint read = -1;
        int error = Linux.EAGAIN;
        if (_input >= 0)
        {
            do
            {
                read = Linux.Read(_input, buffer, length);
                error = Marshal.GetLastPInvokeError();
            }
            while (read < 0 && error == Linux.EINTR);
        }

        if (_listener >= 0 && _input >= 0 && (read == 0 || (read < 0 && error != Linux.EAGAIN)))
        {
            HangUp();
        }

        return Math.Max(read, 0);
    }

    /// <summary>Writes what there is room for.</summary>
    /// <returns>Bytes; 0 when there is no room for now; -1 when nobody takes them.</returns>
    internal nint Write(void* buffer, nuint length)
    {
        if (_output < 0)
        {
            return -1;
        }

        nint written;
        int error;
        do
        {
            written = Linux.Write(_output, buffer, length);
            error = Marshal.GetLastPInvokeError();
        }
        while (written < 0 && error == Linux.EINTR);
        if (written >= 0 || error == Linux.EAGAIN)
        {
            return Math.Max(written, 0);
        }

        if (_listener >= 0)
        {
            HangUp();
        }

        return -1;
    }

    public void Dispose()
    {
        _changed?.Dispose();
        _never?.Dispose();
        _accepting?.Dispose();
        _reading?.Dispose();
        _writing?.Dispose();
        foreach (int fd in new HashSet<int> { _listener, _input, _output, _terminal })
        {
            if (fd >= 0)
            {
                _ = Linux.Close(fd);
            }
        }

        if (_listener >= 0 || _terminal >= 0)
        {
            File.Delete(_options.Path);
        }
        else if (_options.Kind == ConsolePortKind.Pipe)
        {
            File.Delete(_options.Path + ".in");
            File.Delete(_options.Path + ".out");
        }

        _listener = _input = _output = _terminal = -1;
    }

    private void Want(ref EventRegistration? registration, int fd, PollEvents events, Action<PollEvents> handler)
    {
        if (registration is not null && registration.Fd == fd)
        {
            registration.Events = events;
            return;
        }

        registration?.Dispose();
        registration = fd < 0 ? null : _loop!.Register(fd, events, handler);
    }

    private void OnInput(PollEvents events)
    {
        if ((events & PollEvents.In) != 0)
        {
            _readable!();
        }
        else if ((events & (PollEvents.HangUp | PollEvents.Error)) != 0 && _listener >= 0)
        {
            // The client is gone. What it sent before is still to be read; poll(2) would tell of its end over and over.
            byte next;
            if (Linux.Receive(_input, &next, 1, Linux.MSG_PEEK) <= 0)
            {
                HangUp();
            }
            else
            {
                _reading!.Dispose();
                _reading = null;
            }
        }
    }

    private void Accept()
    {
        int client = Linux.Accept(_listener, null, null, Linux.SOCK_CLOEXEC | Linux.SOCK_NONBLOCK);
        if (client >= 0)
        {
            // Others wait until this one has gone.
            _accepting!.Events = PollEvents.None;
            _input = _output = client;
            WantsInput = false;
            _changed!.Pend();
        }
    }

    private void HangUp()
    {
        _reading?.Dispose();
        _reading = null;
        _writing?.Dispose();
        _writing = null;
        _ = Linux.Close(_input);
        _input = _output = -1;
        _accepting!.Events = PollEvents.In;
        _changed!.Pend();
    }

    private void Listen()
    {
        byte[] path = Encoding.UTF8.GetBytes(_options.Path);
        if (path.Length is 0 or >= PathSize)
        {
            throw new BackendException($"The path of the socket {_options.Path} has {path.Length} bytes; expected 1 to {PathSize - 1}.");
        }

        File.Delete(_options.Path);
        byte* address = stackalloc byte[2 + PathSize];
        new Span<byte>(address, 2 + PathSize).Clear();
        *(ushort*)address = Linux.AF_UNIX;
        path.CopyTo(new Span<byte>(address + 2, PathSize));
        int socket = Linux.Socket(Linux.AF_UNIX, Linux.SOCK_STREAM | Linux.SOCK_CLOEXEC | Linux.SOCK_NONBLOCK, 0);
        Require(socket >= 0);
        _listener = socket;
        Require(Linux.Bind(socket, address, 2 + PathSize) == 0 && Linux.Listen(socket, 1) == 0);
    }

    private void OpenTerminal()
    {
        const int nameSize = 64;
        byte* name = stackalloc byte[nameSize];
        int flags = Linux.O_RDWR | Linux.O_NOCTTY | Linux.O_NONBLOCK | Linux.O_CLOEXEC;
        _input = _output = Linux.OpenTerminal(flags);
        Require(_input >= 0 && Linux.GrantTerminal(_input) == 0 && Linux.UnlockTerminal(_input) == 0 && Linux.TerminalName(_input, name, nameSize) == 0);

        // Bytes as they are; and its other side stays open, or each program that leaves would hang it up.
        string terminal = Marshal.PtrToStringUTF8((nint)name)!;
        _terminal = Linux.Open(terminal, flags);
        byte* attributes = stackalloc byte[TermiosSize];
        Require(_terminal >= 0 && Linux.GetTerminalAttributes(_terminal, attributes) == 0);
        Linux.MakeRaw(attributes);
        Require(Linux.SetTerminalAttributes(_terminal, 0, attributes) == 0);
        File.Delete(_options.Path);
        File.CreateSymbolicLink(_options.Path, terminal);
    }

    private void Require(bool done)
    {
        if (!done)
        {
            throw new BackendException($"The {_options.Kind} of console port \"{_options.Name}\", {_options.Path}, cannot be opened: {Linux.LastError}.");
        }
    }
}
