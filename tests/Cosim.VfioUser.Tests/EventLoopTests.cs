// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>The loop on its own.</summary>
public sealed class EventLoopTests
{
    [Test]
    public void RunOnce_NothingReady_ReturnsAfterTheTime()
    {
        using EventLoop loop = new();

        Assert.That(loop.RunOnce(1), Is.Zero);
    }

    [Test]
    public void Wake_FromAnotherThread_EndsTheWait()
    {
        using EventLoop loop = new();
        Thread other = new(loop.Wake);
        other.Start();

        Assert.That(loop.RunOnce(ServerHost.Deadline), Is.EqualTo(1));

        other.Join();
        Assert.That(loop.RunOnce(0), Is.Zero, "one wake-up is one return");
    }

    [Test]
    public void RunOnce_SeveralReady_CallsEachOnce()
    {
        using EventLoop loop = new();
        using EventFd first = new();
        using EventFd second = new();
        List<string> calls = [];
        using EventRegistration one = loop.Register(first.Fd, PollEvents.In, events => Note("first", events, first));
        using EventRegistration two = loop.Register(second.Fd, PollEvents.In, events => Note("second", events, second));
        first.Signal();
        second.Signal();

        loop.RunOnce(0);

        Assert.That(calls, Is.EqualTo(new[] { "first In", "second In" }));

        void Note(string name, PollEvents events, EventFd fd)
        {
            calls.Add($"{name} {events}");
            fd.TryTake(out ulong _);
        }
    }

    [Test]
    public void Dispose_OfAnotherWhileDispatching_KeepsItsHandlerFromBeingCalled()
    {
        using EventLoop loop = new();
        using EventFd first = new();
        using EventFd second = new();
        int calls = 0;
        EventRegistration? two = null;
        using EventRegistration one = loop.Register(first.Fd, PollEvents.In, _ => two!.Dispose());
        two = loop.Register(second.Fd, PollEvents.In, _ => calls++);
        first.Signal();
        second.Signal();

        loop.RunOnce(0);

        Assert.That(calls, Is.Zero);
        Assert.That(loop.Count, Is.EqualTo(1));
    }

    [Test]
    public void Register_WhileDispatching_IsServedInTheNextRound()
    {
        using EventLoop loop = new();
        using EventFd first = new();
        EventFd[] others = [.. Enumerable.Range(0, 40).Select(_ => new EventFd())];
        List<EventRegistration> added = [];
        int calls = 0;
        using EventRegistration one = loop.Register(first.Fd, PollEvents.In, _ =>
        {
            first.TryTake(out ulong _);
            added.AddRange(others.Select(other => loop.Register(other.Fd, PollEvents.In, _ => calls++)));
        });
        foreach (EventFd other in others)
        {
            other.Signal();
        }

        first.Signal();

        loop.RunOnce(0);
        Assert.That(calls, Is.Zero);
        loop.RunOnce(0);

        Assert.That(calls, Is.EqualTo(40));
        added.ForEach(registration => registration.Dispose());
        Array.ForEach(others, other => other.Dispose());
    }

    [Test]
    public void Pend_NothingReady_CallsTheHandlerOnceWithoutWaiting()
    {
        using EventLoop loop = new();
        using EventFd idle = new();
        List<PollEvents> calls = [];
        using EventRegistration one = loop.Register(idle.Fd, PollEvents.In, calls.Add);

        one.Pend();
        one.Pend();
        loop.RunOnce(-1);
        loop.RunOnce(0);

        Assert.That(calls, Is.EqualTo(new[] { PollEvents.None }));
    }

    [Test]
    public void Events_Changed_AreThoseWaitedFor()
    {
        using EventLoop loop = new();
        using EventFd fd = new();
        int calls = 0;
        using EventRegistration one = loop.Register(fd.Fd, PollEvents.In, _ => calls++);
        fd.Signal();

        one.Events = PollEvents.None;
        loop.RunOnce(0);
        Assert.That(calls, Is.Zero);
        one.Events = PollEvents.In;
        loop.RunOnce(0);

        Assert.That(calls, Is.EqualTo(1));
    }
}
