// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Guests;

namespace Cosim.Server.Scheduled;

/// <summary>A host that the service has started. Disposing it ends it, and completes when it is gone.</summary>
internal abstract class StartedHost(int port) : IAsyncDisposable
{
    /// <summary>Port number: 0 is host 1.</summary>
    public int Port { get; } = port;

    /// <summary>What it is called in messages.</summary>
    public string Name => $"host {Port + 1}";

    /// <summary>Process id.</summary>
    public abstract int ProcessId { get; }

    /// <summary>File that has what it prints.</summary>
    public abstract string Console { get; }

    /// <summary>One sentence with what its back end printed last.</summary>
    public abstract string Said { get; }

    /// <summary>Ends when the host has ended by itself, with one sentence about it.</summary>
    public abstract Task<string> Ended { get; }

    /// <summary>Ends when it serves no more, be it that its back end or all of it has ended by itself; with one sentence about it.</summary>
    public abstract Task<string> WaitUntilServiceEndsAsync(CancellationToken cancellation);

    /// <summary>Ends when it is up.</summary>
    /// <exception cref="GuestException">It is not up in time.</exception>
    public abstract Task WaitUntilReadyAsync(TimeSpan deadline, CancellationToken cancellation);

    public abstract ValueTask DisposeAsync();

    /// <summary>A host in QEMU, attached to the sockets.</summary>
    public static async Task<StartedHost> StartQemuAsync(int port, QemuOptions options, CancellationToken cancellation) =>
        new Qemu(port, await QemuProcess.StartAsync(options, cancellation));

    /// <summary>A process of this machine.</summary>
    /// <exception cref="BridgeException">The program cannot be started.</exception>
    public static StartedHost StartProcess(int port, IReadOnlyList<string> command, string log) => new LocalProcess(port, command, log);

    private static string Told(string last) => last.Length == 0 ? "It printed nothing." : $"Its last line: {last}";

    private sealed class Qemu(int port, QemuProcess process) : StartedHost(port)
    {
        public override string Console { get; } =
            process.Options.ConsoleLog ?? Path.Combine(process.Options.RunFolder, $"{process.Options.Name}-console.log");

        public override int ProcessId => process.Id;

        public override string Said => Told(process.BackEndOutput.Transcript.TrimEnd().Split('\n')[^1]);

        public override Task<string> Ended { get; } = WaitAsync(process);

        public override async Task<string> WaitUntilServiceEndsAsync(CancellationToken cancellation)
        {
            try
            {
                // Its status is the last line; what it said itself stands before.
                int status = await process.WaitUntilBackEndEndsAsync(cancellation);
                return $"{process.Options.Name}: its back end ended with status {status}. {Told(process.BackEndOutput.Transcript.TrimEnd().Split('\n')[..^1].LastOrDefault("").TrimEnd())}";
            }
            catch (GuestException)
            {
                // The guest is gone, and its QEMU will say why.
                return await Ended.WaitAsync(cancellation);
            }
        }

        public override Task WaitUntilReadyAsync(TimeSpan deadline, CancellationToken cancellation) => process.WaitUntilReadyAsync(deadline, cancellation);

        public override ValueTask DisposeAsync() => process.DisposeAsync();

        private static async Task<string> WaitAsync(QemuProcess process)
        {
            int status = await process.Exited;
            return $"{process.Options.Name}: QEMU ended with status {status}. {(process.Output.Length == 0 ? "It printed nothing." : "It printed: " + process.Output)}";
        }
    }

    private sealed class LocalProcess : StartedHost
    {
        private readonly Process _process;
        private readonly StreamWriter _log;
        private readonly SemaphoreSlim _turn = new(1);
        private string _last = "";

        internal LocalProcess(int port, IReadOnlyList<string> command, string log)
            : base(port)
        {
            Console = log;
            ProcessStartInfo start = new(command[0], command.Skip(1)) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
            _log = new StreamWriter(log) { AutoFlush = true };
            try
            {
                _process = Process.Start(start)!;
            }
            catch (System.ComponentModel.Win32Exception e)
            {
                _log.Dispose();
                throw new BridgeException($"{Name}: the program {command[0]} cannot be started: {e.Message}.", e);
            }

            Ended = RunAsync(command[0]);
        }

        public override int ProcessId => _process.Id;

        public override string Console { get; }

        public override string Said => Told(Volatile.Read(ref _last));

        public override Task<string> Ended { get; }

        public override Task<string> WaitUntilServiceEndsAsync(CancellationToken cancellation) => Ended.WaitAsync(cancellation);

        // What a program needs to be ready is its own affair; that it serves shows by the link.
        public override Task WaitUntilReadyAsync(TimeSpan deadline, CancellationToken cancellation) => Task.CompletedTask;

        public override async ValueTask DisposeAsync()
        {
            _process.Kill(entireProcessTree: true);
            await Ended;
            _process.Dispose();
            await _log.DisposeAsync();
            _turn.Dispose();
        }

        private async Task<string> RunAsync(string program)
        {
            async Task CopyAsync(StreamReader from)
            {
                while (await from.ReadLineAsync() is { } line)
                {
                    await _turn.WaitAsync();
                    await _log.WriteLineAsync(line);
                    Volatile.Write(ref _last, line);
                    _turn.Release();
                }
            }

            await Task.WhenAll(CopyAsync(_process.StandardOutput), CopyAsync(_process.StandardError));
            await _process.WaitForExitAsync();
            return $"{Name}: {program} ended with status {_process.ExitCode}. {Said}";
        }
    }
}
