// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Cosim;
using Cosim.Backend;
using Cosim.VfioUser;

// Opens what the command line names, serves it until a signal or the end of the bridge, and says why when it cannot.
try
{
    if (args is [] or ["--help"])
    {
        Console.WriteLine(BackendOptions.Usage);
        return 0;
    }

    BackendOptions options = BackendOptions.Parse(args);

    // What the FPGA or a peer can cause to be said shall not fill the console's file.
    Action<string> report = new ReportLimiter(Console.WriteLine, TimeProvider.System).Report;
    IReadOnlyList<IDeviceBackend> devices = options.OpenDevices(report);
    try
    {
        return Serve(options, devices, report);
    }
    finally
    {
        foreach (IDeviceBackend device in devices)
        {
            device.Dispose();
        }
    }
}
catch (Exception e) when (e is BackendException or VfioUserException)
{
    Console.Error.WriteLine($"cosim-backend: {e.Message}");
    return 1;
}

static int Serve(BackendOptions options, IReadOnlyList<IDeviceBackend> devices, Action<string> report)
{
    using EventLoop loop = new();
    using IEndpoint endpoint = options.OpenEndpoint();
    bool stop = false;
    bool lost = false;
    void Stop(PosixSignalContext context)
    {
        context.Cancel = true;
        Volatile.Write(ref stop, true);
        loop.Wake();
    }

    using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    using EventRegistration? lifeline = endpoint.Lifeline < 0
        ? null
        : loop.Register(endpoint.Lifeline, PollEvents.None, _ => lost = true);
    using IDisposable? commands = options.OpenCommands(loop, devices, Console.WriteLine);
    using BackendSession session = new(loop, endpoint, devices, report);
    session.Start();
    for (int device = 0; device < devices.Count; device++)
    {
        Console.WriteLine($"device {device}: {devices[device].Description}");
    }

    Console.WriteLine("serving");
    while (!Volatile.Read(ref stop) && !lost)
    {
        loop.RunOnce(-1);
    }

    return lost ? throw new BackendException("The bridge has closed the connection.") : 0;
}
