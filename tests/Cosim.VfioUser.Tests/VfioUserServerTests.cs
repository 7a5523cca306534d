// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>Connections and region accesses.</summary>
public sealed class VfioUserServerTests
{
    [Test]
    public void Read_AfterWrite_ReturnsWhatWasWritten()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        client.Write(0, 3, [1, 2, 3, 4, 5]);
        byte[] read = new byte[5];
        client.Read(0, 3, read);

        Assert.That(read, Is.EqualTo(new byte[] { 1, 2, 3, 4, 5 }));
        Assert.That(host.Device.Next(), Is.EqualTo("write 0+3:5"));
    }
}
