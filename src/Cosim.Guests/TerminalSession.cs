// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Cosim.Guests;

/// <summary>Lends this process's terminal to a guest: each key goes to the guest, Ctrl-C included.</summary>
public static class TerminalSession
{
    /// <summary>The key that ends a session: Ctrl-].</summary>
    public const byte EndKey = 0x1D;

    /// <summary>
    /// Joins standard input and output to a line until the user presses Ctrl-], the input ends or the guest is gone.
    /// The terminal's mode is put back at the end. Where standard input is no terminal it is read as it comes.
    /// </summary>
    /// <exception cref="GuestException">The terminal's mode cannot be set.</exception>
    public static async Task RunAsync(SerialLine line, CancellationToken cancellation)
    {
        bool terminal = !System.Console.IsInputRedirected;
        string before = terminal ? Stty("-g").Trim() : "";
        try
        {
            if (terminal)
            {
                Stty("raw", "-echo");
            }

            using Stream input = System.Console.OpenStandardInput();
            using var keys = new KeysUntilEnd(input);
            using Stream screen = System.Console.OpenStandardOutput();
            await line.AttachAsync(keys, screen, cancellation);
        }
        finally
        {
            if (terminal)
            {
                Stty(before);
            }
        }
    }

    private static string Stty(params string[] arguments)
    {
        var start = new ProcessStartInfo("stty", arguments) { RedirectStandardOutput = true };
        using Process process = Process.Start(start) ?? throw new GuestException("stty, of the package coreutils, does not start.");
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new GuestException($"stty {string.Join(' ', arguments)} ended with status {process.ExitCode}: the terminal's mode cannot be set.");
    }

    /// <summary>A stream that ends at the end key.</summary>
    private sealed class KeysUntilEnd(Stream keys) : Stream
    {
        private bool _ended;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            int length = _ended ? 0 : keys.Read(buffer, offset, count);
            int end = buffer.AsSpan(offset, length).IndexOf(EndKey);
            _ended |= end >= 0;
            return end < 0 ? length : end;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
