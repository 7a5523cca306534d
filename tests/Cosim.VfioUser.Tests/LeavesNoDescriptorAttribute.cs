// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;
using NUnit.Framework.Interfaces;

[assembly: Cosim.VfioUser.Tests.LeavesNoDescriptor]

namespace Cosim.VfioUser.Tests;

/// <summary>Fails a test after which more descriptors are open than before it, set-up and tear-down included.</summary>
[AttributeUsage(AttributeTargets.Assembly)]
internal sealed class LeavesNoDescriptorAttribute : Attribute, ITestAction
{
    private int _before;

    public ActionTargets Targets => ActionTargets.Test;

    public void BeforeTest(ITest test) => _before = ConnectionTests.OpenDescriptors();

    public void AfterTest(ITest test)
    {
        // A thread that is ending may close its own a moment later.
        bool same = SpinWait.SpinUntil(() => ConnectionTests.OpenDescriptors() <= _before, ServerHost.Deadline);
        Assert.That(same, Is.True, $"{ConnectionTests.OpenDescriptors()} descriptors are open, {_before} were before the test");
    }
}
