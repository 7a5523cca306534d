// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Cosim.Guests;

/// <summary>An event of QEMU, such as <c>DEVICE_DELETED</c>.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Data">Its data; an empty object where it has none.</param>
public sealed record QmpEvent(string Name, JsonObject Data);

/// <summary>QEMU answered a command with an error.</summary>
public sealed class QmpException : Exception
{
    /// <summary>An error as QEMU sent it.</summary>
    public QmpException(string command, string errorClass, string description)
        : base($"QEMU refused \"{command}\": {description} ({errorClass})") => ErrorClass = errorClass;

    /// <summary>QEMU's class of error, such as <c>GenericError</c> or <c>DeviceNotFound</c>.</summary>
    public string ErrorClass { get; }
}

/// <summary>QEMU's machine protocol: one JSON object a line; commands are answered in order, events come at any time.</summary>
/// <remarks>QEMU, docs/interop/qmp-spec.rst.</remarks>
public sealed class QmpClient : IAsyncDisposable
{
    private readonly Socket _socket;
    private readonly StreamReader _input;
    private readonly ConcurrentDictionary<long, TaskCompletionSource<JsonObject>> _waiting = new();
    private readonly SemaphoreSlim _write = new(1);
    private readonly TaskCompletionSource _greeted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private readonly List<(Func<QmpEvent, bool> Match, TaskCompletionSource<QmpEvent> Arrived)> _awaited = [];
    private readonly Task _reader;
    private long _lastId;
    private bool _ended;

    /// <summary>Takes over a connected socket.</summary>
    public QmpClient(Socket socket)
    {
        _socket = socket;
        _input = new StreamReader(new NetworkStream(socket), Encoding.UTF8);
        _reader = Task.Run(ReadAsync);
    }

    /// <summary>Called with each event, in order, on the reading thread.</summary>
    public event Action<QmpEvent>? EventReceived;

    /// <summary>Waits for QEMU's greeting and ends the negotiation of capabilities; first of all calls.</summary>
    /// <exception cref="GuestException">QEMU is gone.</exception>
    public async Task NegotiateAsync(CancellationToken cancellation = default)
    {
        await _greeted.Task.WaitAsync(cancellation);
        await ExecuteAsync("qmp_capabilities", null, cancellation);
    }

    /// <summary>Sends a command and waits for its answer.</summary>
    /// <param name="command">Name of the command.</param>
    /// <param name="arguments">Its arguments, if any.</param>
    /// <param name="cancellation">Ends the wait; the command may be carried out all the same.</param>
    /// <returns>What it returns: most often an empty object, never null.</returns>
    /// <exception cref="QmpException">QEMU refuses it.</exception>
    /// <exception cref="GuestException">QEMU is gone.</exception>
    public async Task<JsonNode> ExecuteAsync(string command, JsonObject? arguments = null, CancellationToken cancellation = default)
    {
        long id = Interlocked.Increment(ref _lastId);
        var request = new JsonObject { ["execute"] = command, ["id"] = id };
        if (arguments is not null)
        {
            request["arguments"] = arguments.DeepClone();
        }

        var answered = new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously);
        _waiting[id] = answered;
        try
        {
            // The reader fails all that wait when it ends; who comes after that sees this flag.
            if (Volatile.Read(ref _ended))
            {
                throw Gone(null);
            }

            await SendAsync(request.ToJsonString() + "\n", cancellation);
            JsonObject answer = await answered.Task.WaitAsync(cancellation);
            if (answer["error"] is JsonObject error)
            {
                throw new QmpException(command, (string?)error["class"] ?? "", (string?)error["desc"] ?? "");
            }

            return answer["return"]?.DeepClone() ?? new JsonObject();
        }
        finally
        {
            _waiting.TryRemove(id, out _);
        }
    }

    /// <summary>
    /// Waits for the next event that matches. Events before this call are not seen: call it before the command that
    /// causes the event, and await it afterwards.
    /// </summary>
    /// <exception cref="GuestException">QEMU is gone.</exception>
    public async Task<QmpEvent> NextEventAsync(Func<QmpEvent, bool> match, CancellationToken cancellation = default)
    {
        var arrived = new TaskCompletionSource<QmpEvent>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            if (_ended)
            {
                throw Gone(null);
            }

            _awaited.Add((match, arrived));
        }

        try
        {
            return await arrived.Task.WaitAsync(cancellation);
        }
        finally
        {
            lock (_gate)
            {
                _awaited.RemoveAll(entry => entry.Arrived == arrived);
            }
        }
    }

    /// <summary>Closes the connection.</summary>
    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _reader;
        _input.Dispose();
        _write.Dispose();
    }

    private static GuestException Gone(Exception? cause) => cause is null
        ? new GuestException("QEMU has closed its monitor.")
        : new GuestException("QEMU has closed its monitor.", cause);

    private async Task SendAsync(string line, CancellationToken cancellation)
    {
        await _write.WaitAsync(cancellation);
        try
        {
            ReadOnlyMemory<byte> bytes = Encoding.UTF8.GetBytes(line);
            while (bytes.Length > 0)
            {
                // Not cancelled half-way: the rest of a line would spoil the next.
                bytes = bytes[await _socket.SendAsync(bytes, CancellationToken.None)..];
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw Gone(e);
        }
        finally
        {
            _write.Release();
        }
    }

    private async Task ReadAsync()
    {
        Exception? cause = null;
        try
        {
            while (await _input.ReadLineAsync() is { } line)
            {
                if (JsonNode.Parse(line) is JsonObject message)
                {
                    Take(message);
                }
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or SocketException or JsonException)
        {
            cause = e; // QEMU was killed in the middle of a line, or we are closing: both end the connection.
        }

        GuestException gone = Gone(cause);
        lock (_gate)
        {
            _ended = true;
            foreach ((_, TaskCompletionSource<QmpEvent> arrived) in _awaited)
            {
                arrived.TrySetException(gone);
            }
        }

        foreach (TaskCompletionSource<JsonObject> answered in _waiting.Values)
        {
            answered.TrySetException(gone);
        }

        _greeted.TrySetException(gone);
    }

    private void Take(JsonObject message)
    {
        if (message.ContainsKey("QMP"))
        {
            _greeted.TrySetResult();
        }
        else if (message["id"] is { } id && _waiting.TryGetValue((long)id, out TaskCompletionSource<JsonObject>? answered))
        {
            answered.TrySetResult(message);
        }
        else if ((string?)message["event"] is { } name)
        {
            var happened = new QmpEvent(name, message["data"]?.DeepClone() as JsonObject ?? []);
            EventReceived?.Invoke(happened);
            lock (_gate)
            {
                foreach ((Func<QmpEvent, bool> match, TaskCompletionSource<QmpEvent> arrived) in _awaited)
                {
                    if (match(happened))
                    {
                        arrived.TrySetResult(happened);
                    }
                }
            }
        }
    }
}
