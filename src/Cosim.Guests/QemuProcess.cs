// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.Json.Nodes;
using Cosim.Guests.Internal;

namespace Cosim.Guests;

/// <summary>
/// A running QEMU with its guest. It ends with this object, and in any case with this process; its sockets' files are
/// gone as soon as it has connected to them.
/// </summary>
public sealed class QemuProcess : IAsyncDisposable
{
    private static readonly TimeSpan QuitPatience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan EndPatience = TimeSpan.FromSeconds(30);

    private readonly ChildProcess _process;
    private readonly SerialLine[] _lines;

    private QemuProcess(QemuOptions options, ChildProcess process, SerialLine[] lines, QmpClient monitor)
    {
        Options = options;
        _process = process;
        _lines = lines;
        Monitor = monitor;
        Shell = new GuestConsole(lines[1]);
    }

    /// <summary>What it was started with.</summary>
    public QemuOptions Options { get; }

    /// <summary>QEMU's process id.</summary>
    public int Id => _process.Id;

    /// <summary>Ends with QEMU's exit status.</summary>
    public Task<int> Exited => _process.Exited;

    /// <summary>The last lines that QEMU itself printed.</summary>
    public string Output => _process.Output;

    /// <summary>The kernel's console, with a root shell for people.</summary>
    public SerialLine Console => _lines[0];

    /// <summary>Where programs run commands in the guest.</summary>
    public GuestConsole Shell { get; }

    /// <summary>What the back end in host 2 prints.</summary>
    public SerialLine BackEndOutput => _lines[2];

    /// <summary>QEMU's monitor.</summary>
    public QmpClient Monitor { get; }

    /// <summary>
    /// Starts a host. When this ends, QEMU has attached to its vfio-user sockets and the guest is beginning to run.
    /// </summary>
    /// <exception cref="GuestException">
    /// A file is missing, a disk is no multiple of 512 bytes, or QEMU ends (the message has what it printed) or is not
    /// ready in time. Nothing is left running.
    /// </exception>
    [SuppressMessage("Reliability", "CA2000", Justification = "The process belongs to what is returned, or is ended where the start fails.")]
    public static async Task<QemuProcess> StartAsync(QemuOptions options, CancellationToken cancellation = default)
    {
        Check(options);
        string runFolder = Path.GetFullPath(options.RunFolder);
        Directory.CreateDirectory(runFolder);
        string consoleLog = Path.GetFullPath(options.ConsoleLog ?? Path.Combine(runFolder, $"{options.Name}-console.log"));
        using var sockets = new Rendezvous(Path.Combine(runFolder, $"{options.Name}-monitor.sock"));
        var serial = new List<Rendezvous>();
        try
        {
            for (int i = 0; i < GuestImage.SerialLines; i++)
            {
                serial.Add(new Rendezvous(Path.Combine(runFolder, $"{options.Name}-serial{i}.sock")));
            }

            List<string> arguments = QemuCommandLine.Build(options, [.. serial.Select(s => s.Path)], sockets.Path, consoleLog, Acceleration.HasKvm);
            ChildProcess process = ChildProcess.Start(options.Tools.Qemu, arguments, runFolder);
            return await ConnectAsync(options, process, sockets, serial, cancellation);
        }
        finally
        {
            serial.ForEach(s => s.Dispose());
        }
    }

    /// <summary>Waits until the guest is up: its modules loaded, its shell ready.</summary>
    /// <returns>The guest's time since its kernel started.</returns>
    /// <exception cref="GuestException">It is not up at the deadline, or is gone; the message has what its console and QEMU said.</exception>
    public async Task<TimeSpan> WaitUntilReadyAsync(TimeSpan deadline, CancellationToken cancellation = default)
    {
        try
        {
            return await Shell.WaitUntilReadyAsync(deadline, cancellation);
        }
        catch (GuestException e)
        {
            string qemu = Output.Length == 0 ? "" : $" QEMU printed:\n{Output}";
            throw new GuestException($"{Options.Name} did not come up within {deadline.TotalSeconds:0.#} s. Its kernel's console: {Console.Ending()}{qemu}", e);
        }
    }

    /// <summary>Waits until host 2's back end has ended, which it does not do by itself while all is well.</summary>
    /// <returns>Its exit status as the shell has it: 128 and the signal's number where a signal ended it.</returns>
    /// <exception cref="GuestException">The guest is gone.</exception>
    /// <remarks>It is a wait on <see cref="BackEndOutput"/>, which allows one at a time.</remarks>
    public async Task<int> WaitUntilBackEndEndsAsync(CancellationToken cancellation = default)
    {
        await BackEndOutput.WaitForAsync("cosim: the back end ended with status ", Timeout.InfiniteTimeSpan, cancellation);
        string status = await BackEndOutput.WaitForAsync("\n", Timeout.InfiniteTimeSpan, cancellation);
        return int.Parse(status, CultureInfo.InvariantCulture);
    }

    /// <summary>
    /// Takes a vfio-user function out of the running guest and waits until the guest has let go of it.
    /// </summary>
    /// <param name="index">Place of the function in <see cref="QemuOptions.VfioUserSockets"/>.</param>
    /// <param name="deadline">How long it may take.</param>
    /// <param name="cancellation">Ends the wait.</param>
    /// <exception cref="GuestException">The guest does not let go of it in time, or QEMU ends; then its message has what it printed.</exception>
    /// <remarks>QEMU 11.1.3 aborts here if the function has MSI-X, whoever serves it.</remarks>
    public async Task DetachFunctionAsync(int index, TimeSpan deadline, CancellationToken cancellation = default)
    {
        string id = QemuCommandLine.FunctionId(index);
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timer.CancelAfter(deadline);
        Task<QmpEvent> gone = Monitor.NextEventAsync(e => e.Name == "DEVICE_DELETED" && (string?)e.Data["device"] == id, timer.Token);
        try
        {
            await TellAsync("device_del", new JsonObject { ["id"] = id }, gone, timer.Token);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new GuestException($"{Options.Name}: its guest did not let go of function {index} within {deadline.TotalSeconds:0.#} s. Its kernel's console: {Console.Ending()}");
        }
    }

    /// <summary>Puts a vfio-user function back into the running guest.</summary>
    /// <param name="index">Place of the function in <see cref="QemuOptions.VfioUserSockets"/>.</param>
    /// <param name="cancellation">Ends the wait.</param>
    /// <exception cref="QmpException">QEMU cannot attach to the function's socket, or the function is there already.</exception>
    /// <exception cref="GuestException">QEMU ends; the message has what it printed.</exception>
    public Task AttachFunctionAsync(int index, CancellationToken cancellation = default) =>
        TellAsync("device_add", QemuCommandLine.Function(Options, index), Task.CompletedTask, cancellation);

    /// <summary>Resets the machine, as its reset button would; the guest boots anew.</summary>
    /// <exception cref="GuestException">QEMU ends; the message has what it printed.</exception>
    public Task ResetAsync(CancellationToken cancellation = default) => TellAsync("system_reset", null, Task.CompletedTask, cancellation);

    /// <summary>Ends QEMU: by its monitor, by SIGTERM when that does not help, and last by SIGKILL.</summary>
    public async Task StopAsync()
    {
        if (!Exited.IsCompleted)
        {
            using var timer = new CancellationTokenSource(QuitPatience);
            try
            {
                await Monitor.ExecuteAsync("quit", null, timer.Token);
                await Exited.WaitAsync(timer.Token);
            }
            catch (Exception e) when (e is GuestException or QmpException or OperationCanceledException)
            {
                // It has ended already, or its monitor does not answer: what follows ends it in any case.
            }
        }

        await _process.EndAsync(QuitPatience);
    }

    /// <summary>Stops QEMU and closes what led to it.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Shell.Dispose();
        await Monitor.DisposeAsync();
        foreach (SerialLine line in _lines)
        {
            await line.DisposeAsync();
        }

        _process.Dispose();
    }

    /// <summary>Executes a command and waits for what is to come of it.</summary>
    /// <exception cref="GuestException">QEMU ends; the message has what it printed.</exception>
    private async Task TellAsync(string command, JsonObject? arguments, Task effect, CancellationToken cancellation)
    {
        try
        {
            await Monitor.ExecuteAsync(command, arguments, cancellation);
            await effect;
        }
        catch (GuestException e)
        {
            // Its monitor is closed before it has ended and all that it printed is there.
            if (await Task.WhenAny(Exited, Task.Delay(EndPatience, cancellation)) != Exited)
            {
                throw;
            }

            throw new GuestException($"{Options.Name}: QEMU ended with status {await Exited} at {command}. It printed:\n{Output}", e);
        }
    }

    private static void Check(QemuOptions options)
    {
        foreach ((string what, string path) in new[] { ("kernel", options.Image.Kernel), ("initial RAM file system", options.Image.Initramfs) })
        {
            if (!File.Exists(path))
            {
                throw new GuestException($"{options.Name}: its {what} {path} does not exist.");
            }
        }

        foreach (QemuDisk disk in options.Disks)
        {
            var file = new FileInfo(disk.Path);
            if (!file.Exists)
            {
                throw new GuestException($"{options.Name}: the disk image {disk.Path} does not exist.");
            }

            if (file.Length == 0 || file.Length % 512 != 0)
            {
                throw new GuestException($"{options.Name}: the disk image {disk.Path} has {file.Length} bytes; a disk is a positive multiple of 512.");
            }
        }
    }

    [SuppressMessage("Reliability", "CA2000", Justification = "The lines and the monitor belong to what is returned, or are closed where the start fails.")]
    private static async Task<QemuProcess> ConnectAsync(
        QemuOptions options, ChildProcess process, Rendezvous monitorSocket, List<Rendezvous> serial, CancellationToken cancellation)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timer.CancelAfter(options.StartTimeout);
        _ = process.Exited.ContinueWith(_ => TryCancel(timer), TaskScheduler.Default);
        long started = Stopwatch.GetTimestamp();
        var lines = new List<SerialLine>();
        QmpClient? monitor = null;
        try
        {
            string[] names = ["console", "command line", "back end's output"];
            for (int i = 0; i < serial.Count; i++)
            {
                lines.Add(new SerialLine($"{options.Name}'s {names[i]}", await serial[i].AcceptAsync(timer.Token)));
            }

            monitor = new QmpClient(await monitorSocket.AcceptAsync(timer.Token));
            await monitor.NegotiateAsync(timer.Token);
            return new QemuProcess(options, process, [.. lines], monitor);
        }
        catch (Exception e)
        {
            bool ended = await Task.WhenAny(process.Exited, Task.Delay(e is GuestException ? QuitPatience : TimeSpan.Zero, CancellationToken.None)) == process.Exited;
            await process.EndAsync(TimeSpan.FromSeconds(1));
            string output = process.Output;
            process.Dispose();
            if (monitor is not null)
            {
                await monitor.DisposeAsync();
            }

            foreach (SerialLine line in lines)
            {
                await line.DisposeAsync();
            }

            if (e is OperationCanceledException && cancellation.IsCancellationRequested)
            {
                throw;
            }

            string waited = $"{Stopwatch.GetElapsedTime(started).TotalSeconds:0.0} s";
            string said = output.Length == 0 ? "It printed nothing." : "It printed:\n" + output;
            throw new GuestException(
                ended
                    ? $"{options.Name}: QEMU {options.Tools.QemuVersion} ended with status {await process.Exited} while starting, after {waited}. {said}"
                    : $"{options.Name}: QEMU {options.Tools.QemuVersion} was not ready after {waited}{Attached(options)}. {said}",
                e);
        }
    }

    private static string Attached(QemuOptions options) => options.VfioUserSockets.Count == 0
        ? ""
        : $"; it waits for the vfio-user servers at {string.Join(", ", options.VfioUserSockets)}";

    private static void TryCancel(CancellationTokenSource source)
    {
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The start had ended before.
        }
    }
}
