// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Stimuli;

/// <summary>Where a recording of a bridge stands.</summary>
public sealed record RecordingStatus
{
    /// <summary>The file, as it was named.</summary>
    public required string File { get; init; }

    /// <summary>It goes on.</summary>
    public required bool IsRunning { get; init; }

    /// <summary>Packets into the FPGA that stand in it.</summary>
    public required ulong Inputs { get; init; }

    /// <summary>Packets out of the FPGA that stand in it.</summary>
    public required ulong Outputs { get; init; }

    /// <summary>Bytes of text written, before compression.</summary>
    public required ulong Bytes { get; init; }

    /// <summary>Why it ended before its time; empty if it did not.</summary>
    public required string Failure { get; init; }
}

/// <summary>A recording of a bridge, into a file.</summary>
internal sealed class Recording(string file) : IDisposable
{
    private readonly Lock _lock = new();
    private Stream? _stream;
    private volatile StimuliWriter? _writer;
    private volatile bool _isOver;

    public string File { get; } = file;

    /// <summary>It goes on.</summary>
    public bool IsRunning => !_isOver && _writer is { Failure: null };

    /// <summary>It goes on or is about to begin, so that no other one may.</summary>
    public bool HasTheTurn => !_isOver && _writer?.Failure is null;

    public RecordingStatus Status => new()
    {
        File = File,
        IsRunning = IsRunning,
        Inputs = _writer?.Inputs ?? 0,
        Outputs = _writer?.Outputs ?? 0,
        Bytes = _writer?.BytesWritten ?? 0,
        Failure = _writer?.Failure ?? "",
    };

    /// <summary>Makes the file.</summary>
    public void Open() => _stream = StimuliWriter.Open(File);

    public StimuliWriter Begin(RecordingHead head, StimuliWriterOptions options) => _writer = new StimuliWriter(_stream!, head, options);

    /// <summary>Waits until all that was recorded is in the file. Nothing may be recorded any more.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isOver = true;
            _writer?.Dispose();
            _stream?.Dispose();
        }
    }
}
