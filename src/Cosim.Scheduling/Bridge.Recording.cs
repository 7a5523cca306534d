// SPDX-License-Identifier: Apache-2.0
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling;

/// <content>Recordings of what crosses the FPGA's boundary (<c>hdl/STIMULI.md</c>): one at a time.</content>
public sealed partial class Bridge
{
    private readonly Lock _recordingLock = new();
    private Recording? _recording;

    /// <summary>Told when a recording has begun, has ended or has failed; on any thread.</summary>
    public event EventHandler? RecordingChanged;

    /// <summary>
    /// Begins a recording. It begins with the FPGA's cycle then, and can be replayed from the first reset in it on; what was given to the
    /// FPGA before is not in it.
    /// </summary>
    /// <param name="file">The file; one that is there is replaced. Gzip where its name ends in <c>.gz</c>.</param>
    /// <param name="reset">Reset the FPGA first, as <see cref="Reset"/> does, so that all of the recording can be replayed.</param>
    /// <exception cref="InvalidOperationException">The bridge is being recorded already, or the FPGA is lost at the reset; then nothing is recorded.</exception>
    /// <exception cref="IOException">The file cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">The file must not be made.</exception>
    /// <exception cref="ObjectDisposedException">The bridge has stopped.</exception>
    /// <remarks>An error of the file later on ends the recording and nothing else; <see cref="BridgeStatus.Recording"/> says what it was.</remarks>
    public async Task StartRecording(string file, bool reset = false)
    {
        // The turn is taken before the file is touched: it may be that of the recording that goes on.
        Recording recording = TakeTurn(file, out Recording? former);
        try
        {
            recording.Open();
            _ = await Invoke(() =>
            {
                BeginRecording(recording, _fpga.Cycle);
                return !reset || ResetRecorded();
            });
        }
        catch
        {
            recording.Dispose();
            lock (_recordingLock)
            {
                _recording = former;
            }

            throw;
        }

        RecordingChanged?.Invoke(this, EventArgs.Empty);
    }

    /// <summary>Ends the recording in the FPGA's cycle then, and waits until it is in its file.</summary>
    /// <returns>What has become of it; see <see cref="RecordingStatus.Failure"/>.</returns>
    /// <exception cref="InvalidOperationException">The bridge is not being recorded; the message says why not, where the last recording has failed.</exception>
    /// <exception cref="ObjectDisposedException">The bridge has stopped, and with it the recording.</exception>
    public async Task<RecordingStatus> StopRecording()
    {
        Recording recording = await Invoke(() =>
        {
            Recording? last = Volatile.Read(ref _recording);
            if (last is not { IsRunning: true })
            {
                string why = last?.Status.Failure is { Length: > 0 } failure ? $": {failure}" : "";
                throw new InvalidOperationException($"bridge {_options.Name} is not being recorded{why}");
            }

            _fpga.EndRecording();
            return last;
        });
        recording.Dispose();
        RecordingChanged?.Invoke(this, EventArgs.Empty);
        return recording.Status;
    }

    private Recording TakeTurn(string file, out Recording? former)
    {
        lock (_recordingLock)
        {
            former = _recording;
            return former is { HasTheTurn: true }
                ? throw new InvalidOperationException($"bridge {_options.Name} is being recorded already, into {former.File}: end that recording first")
                : _recording = new Recording(file);
        }
    }

    private void RecordFromTheStart(string file)
    {
        Recording recording = TakeTurn(file, out _);
        try
        {
            recording.Open();
            BeginRecording(recording, null);
        }
        catch
        {
            _fpga.Dispose();
            throw;
        }
    }

    // A cycle: the FPGA has run before; null: it begins now.
    private void BeginRecording(Recording recording, ulong? start) => _fpga.BeginRecording(recording.Begin(
        RecordingHead.From(_options.Fpga),
        new StimuliWriterOptions
        {
            Start = start,
            OutputsBefore = [.. _fpga.Outputs],
            Failed = reason =>
            {
                // At the bridge's end nobody takes it any more.
                if (!Post(() => RecordingFailed(recording, reason)))
                {
                    ReportFailure(recording, reason);
                }
            },
        }));

    private bool ResetRecorded()
    {
        try
        {
            return ResetFpga();
        }
        catch
        {
            _fpga.EndRecording();
            throw;
        }
    }

    private void RecordingFailed(Recording recording, string reason)
    {
        if (Volatile.Read(ref _recording) == recording)
        {
            _fpga.EndRecording();
        }

        recording.Dispose();
        ReportFailure(recording, reason);
        RecordingChanged?.Invoke(this, EventArgs.Empty);
    }

    private void ReportFailure(Recording recording, string reason) => _report($"bridge {_options.Name}: {recording.File}: {reason}");
}
