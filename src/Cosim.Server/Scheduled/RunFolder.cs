// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Cosim.Server.Scheduled;

/// <summary>
/// The run-time folder of one bridge. It says whose it is and which processes and sockets belong to it, so that what a service that was killed
/// leaves behind can be told from what is in use.
/// </summary>
internal sealed class RunFolder : IDisposable
{
    // A line each: "owner PID START" first, then "process PID START" and "socket PATH". START is the process' start time, by which
    // it is told from a later one with its number.
    private const string OwnerFile = "owner";

    private readonly Lock _lock = new();

    private RunFolder(string path) => Path = path;

    public string Path { get; }

    /// <summary>Makes the folder anew; what a service that is gone has left in its place is cleared away first.</summary>
    /// <exception cref="BridgeException">A service that runs has it.</exception>
    public static RunFolder Create(string path, Action<string> log)
    {
        if (Directory.Exists(path))
        {
            if (Owner(path) is { } owner && owner != Environment.ProcessId)
            {
                throw new BridgeException($"The run-time folder {path} belongs to a service that runs, process {owner}: choose another name, or end that one.");
            }

            Clear(path, log);
        }

        Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        RunFolder folder = new(path);
        folder.Note($"owner {Environment.ProcessId} {StartTime(Environment.ProcessId)}");
        return folder;
    }

    /// <summary>Clears away what services that are gone have left: folders, sockets, hosts and simulators.</summary>
    /// <param name="folders">Where to look.</param>
    /// <param name="log">Takes a line for each thing found.</param>
    public static void ClearLeftovers(BridgeFolders folders, Action<string> log)
    {
        if (Directory.Exists(folders.Run))
        {
            foreach (string path in Directory.GetDirectories(folders.Run))
            {
                if (File.Exists(System.IO.Path.Combine(path, OwnerFile)) && Owner(path) is null)
                {
                    log($"bridge {System.IO.Path.GetFileName(path)} was left by a service that is gone");
                    Clear(path, log);
                }
            }
        }

        foreach (int simulator in OrphanedSimulators(folders.Build))
        {
            End(simulator, "simulator", log);
        }
    }

    /// <summary>Notes a process that belongs to the bridge.</summary>
    public void AddProcess(int id) => Note($"process {id} {StartTime(id)}");

    /// <summary>Notes a socket outside the folder.</summary>
    public void AddSocket(string path) => Note($"socket {path}");

    /// <summary>Removes the folder; the processes have been ended before.</summary>
    public void Dispose()
    {
        if (Directory.Exists(Path))
        {
            Directory.Delete(Path, recursive: true);
        }
    }

    private static void Clear(string path, Action<string> log)
    {
        string file = System.IO.Path.Combine(path, OwnerFile);
        foreach (string[] words in File.Exists(file) ? File.ReadLines(file).Select(line => line.Split(' ', 2)) : [])
        {
            if (words is ["process", { } process] && IsAlive(process) is { } id)
            {
                End(id, "process", log);
            }
            else if (words is ["socket", { } socket])
            {
                File.Delete(socket);
            }
        }

        Directory.Delete(path, recursive: true);
    }

    private static void End(int id, string what, Action<string> log)
    {
        try
        {
            using Process process = Process.GetProcessById(id);
            log($"{what} {id} ({process.ProcessName}) was left by a service that is gone, and is ended");
            process.Kill();
            process.WaitForExit();
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended in this moment, or is somebody else's.
        }
    }

    // The service that has the folder, if it runs.
    private static int? Owner(string path)
    {
        string file = System.IO.Path.Combine(path, OwnerFile);
        return File.Exists(file) && File.ReadLines(file).FirstOrDefault()?.Split(' ', 2) is ["owner", { } owner] ? IsAlive(owner) : null;
    }

    // "PID START" of a process that runs.
    private static int? IsAlive(string process) =>
        process.Split(' ') is [{ } id, { } start] && int.TryParse(id, CultureInfo.InvariantCulture, out int number) && StartTime(number) == start ? number : null;

    // A simulator reads its region from the service's descriptors; it ends with the service, unless it hangs.
    private static IEnumerable<int> OrphanedSimulators(string build)
    {
        const string variable = "COSIM_REGION=/proc/";
        foreach (string folder in Directory.GetDirectories("/proc"))
        {
            if (!int.TryParse(System.IO.Path.GetFileName(folder), CultureInfo.InvariantCulture, out int id))
            {
                continue;
            }

            string? service = null;
            try
            {
                if (new FileInfo(System.IO.Path.Combine(folder, "exe")).LinkTarget?.StartsWith(build, StringComparison.Ordinal) == true)
                {
                    service = File.ReadAllText(System.IO.Path.Combine(folder, "environ")).Split('\0').FirstOrDefault(v => v.StartsWith(variable, StringComparison.Ordinal));
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended meanwhile, or is another user's.
            }

            if (service is not null && !Directory.Exists("/proc/" + service[variable.Length..].Split('/')[0]))
            {
                yield return id;
            }
        }
    }

    // Field 22 of proc_pid_stat(5); the name before it may hold blanks and brackets.
    private static string StartTime(int id)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/{id}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19];
        }
        catch (IOException)
        {
            return "gone";
        }
    }

    private void Note(string line)
    {
        lock (_lock)
        {
            File.AppendAllText(System.IO.Path.Combine(Path, OwnerFile), line + "\n");
        }
    }
}
