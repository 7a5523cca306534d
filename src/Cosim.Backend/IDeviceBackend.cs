// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>
/// One virtio device, without its transport: what it is, and how it serves its queues. All calls come on the thread
/// of the event loop.
/// </summary>
public interface IDeviceBackend : IDisposable
{
    /// <summary>One line for people: what is served.</summary>
    string Description { get; }

    /// <summary>Virtio device type.</summary>
    VirtioDeviceId DeviceId { get; }

    /// <summary>PCI class code in 31:8, revision in 7:0.</summary>
    uint ClassRevision { get; }

    /// <summary>Number of queues.</summary>
    int QueueCount { get; }

    /// <summary>Greatest size of a queue; a power of two.</summary>
    int QueueSize { get; }

    /// <summary>Feature bits of the device type.</summary>
    ulong Features { get; }

    /// <summary>The device configuration space as it is now; at most 256 bytes, of constant length.</summary>
    ReadOnlySpan<byte> Configuration { get; }

    /// <summary>The driver writes to the device configuration space.</summary>
    /// <returns>False when it may not.</returns>
    bool WriteConfiguration(int offset, ReadOnlySpan<byte> data) => false;

    /// <summary>
    /// The driver had written to the device configuration space when another back end served it (VHOST_SET_CONFIG_TYPE_MIGRATION): the field is to
    /// hold that again, and whatever else the write caused is not to happen twice.
    /// </summary>
    /// <returns>False when it may not.</returns>
    bool RestoreConfiguration(int offset, ReadOnlySpan<byte> data) => WriteConfiguration(offset, data);

    /// <summary>Called once before everything else.</summary>
    /// <param name="loop">For descriptors of the device's own.</param>
    /// <param name="configurationChanged">To be called when <see cref="Configuration"/> has changed on its own.</param>
    void Attach(EventLoop loop, Action configurationChanged);

    /// <summary>The front end has read <see cref="Configuration"/>: the driver finds what it was told before it hears of a buffer used from now on.</summary>
    void ConfigurationRead()
    {
    }

    /// <summary>The driver has chosen features; before its queues are ready.</summary>
    void Negotiated(ulong features)
    {
    }

    /// <summary>
    /// A queue has become ready, or was kicked. The device takes what it can, gives back what is done, and rearms the
    /// queue if it wants to be called for the next buffer.
    /// </summary>
    void Serve(Virtqueue queue);

    /// <summary>Carries out a command of whoever runs the program.</summary>
    /// <param name="words">The command and what belongs to it.</param>
    /// <returns>What came of it, in one line.</returns>
    /// <exception cref="BackendException">The device has no such command, or it cannot be carried out.</exception>
    string Command(IReadOnlyList<string> words) => throw new BackendException("it takes no commands");

    /// <summary>A queue is no longer to be touched.</summary>
    void Stopped(Virtqueue queue)
    {
    }
}
