// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Cosim.Guests;

/// <summary>What a command in a guest came to.</summary>
/// <param name="ExitStatus">0 for success, as the shell has it.</param>
/// <param name="Output">Standard output and error, each byte one character.</param>
public readonly record struct CommandResult(int ExitStatus, string Output);

/// <summary>
/// Runs shell commands as root in a guest made by <see cref="GuestImage"/>, one after the other. It has a serial line
/// to itself, apart from the kernel's console, so kernel messages do not get into the output.
/// </summary>
public sealed class GuestConsole : IDisposable
{
    private readonly SerialLine _line;
    private readonly SemaphoreSlim _turn = new(1);

    /// <summary>Speaks over this line; the line stays the caller's.</summary>
    public GuestConsole(SerialLine line) => _line = line;

    /// <summary>Waits until the guest is up: its modules loaded, its shell ready.</summary>
    /// <returns>The guest's time since its kernel started.</returns>
    /// <exception cref="GuestException">It is not up at the deadline, or is gone.</exception>
    public async Task<TimeSpan> WaitUntilReadyAsync(TimeSpan deadline, CancellationToken cancellation = default)
    {
        await _line.WaitForAsync("cosim ready ", deadline, cancellation);
        string uptime = await _line.WaitForAsync("\n", deadline, cancellation);
        return TimeSpan.FromSeconds(double.Parse(uptime, CultureInfo.InvariantCulture));
    }

    /// <summary>
    /// Runs a command and waits for its end. A command that misses its deadline goes on in the guest; commands given
    /// later run when it has ended.
    /// </summary>
    /// <param name="command">Any shell text, several lines too. Its standard input is empty.</param>
    /// <param name="deadline">How long it may take.</param>
    /// <param name="cancellation">Ends the wait.</param>
    /// <exception cref="GuestException">The deadline has passed or the guest is gone.</exception>
    public async Task<CommandResult> RunAsync(string command, TimeSpan deadline, CancellationToken cancellation = default)
    {
        // Nothing that a guest prints by chance or with intent can be taken for the end of this command.
        string token = Convert.ToHexString(RandomNumberGenerator.GetBytes(8));
        string request = $"{token} {Convert.ToBase64String(Encoding.UTF8.GetBytes(command))}\n";
        await _turn.WaitAsync(cancellation);
        try
        {
            await _line.WriteAsync(Encoding.ASCII.GetBytes(request), cancellation);
            await _line.WaitForAsync($"begin {token}\n", deadline, cancellation);
            string output = await _line.WaitForAsync($"\nend {token} ", deadline, cancellation);
            string status = await _line.WaitForAsync("\n", deadline, cancellation);
            return new CommandResult(int.Parse(status, CultureInfo.InvariantCulture), output);
        }
        catch (GuestException e)
        {
            throw new GuestException($"The command \"{FirstLine(command)}\" did not end as expected. {e.Message}", e);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Runs a command that must succeed.</summary>
    /// <returns>Its output without the white space at its end.</returns>
    /// <exception cref="GuestException">It fails, or as for <see cref="RunAsync"/>.</exception>
    public async Task<string> RequireAsync(string command, TimeSpan deadline, CancellationToken cancellation = default)
    {
        CommandResult result = await RunAsync(command, deadline, cancellation);
        return result.ExitStatus == 0
            ? result.Output.TrimEnd()
            : throw new GuestException($"{_line.Name}: \"{FirstLine(command)}\" ended with status {result.ExitStatus}: {result.Output.Trim()}");
    }

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();

    private static string FirstLine(string command)
    {
        int end = command.IndexOf('\n', StringComparison.Ordinal);
        return end < 0 ? command : command[..end] + "…";
    }
}
