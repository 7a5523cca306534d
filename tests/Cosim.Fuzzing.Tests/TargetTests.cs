// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fuzzing.Tests;

/// <summary>Each parser, and the whole bridge, on the inputs that are kept and on a short burst of new ones.</summary>
[TestFixtureSource(nameof(Names))]
public sealed class TargetTests(string name)
{
    private const int ParserBurst = 15_000;
    private const int SlowParserBurst = 3_000;
    private const int BridgeBurst = 600;

    private FuzzTarget _target = null!;

    private static IEnumerable<string> Names
    {
        get
        {
            IReadOnlyList<FuzzTarget> targets = AllTargets.Make();
            foreach (FuzzTarget target in targets)
            {
                target.Dispose();
            }

            return targets.Select(target => target.Name);
        }
    }

    [OneTimeSetUp]
    public void MakeTarget()
    {
        foreach (FuzzTarget target in AllTargets.Make())
        {
            if (target.Name == name)
            {
                _target = target;
            }
            else
            {
                target.Dispose();
            }
        }
    }

    [OneTimeTearDown]
    public void DisposeTarget() => _target.Dispose();

    [Test]
    public void Execute_Corpus_HasNoFinding()
    {
        IReadOnlyList<(string Name, byte[] Bytes)> corpus = Corpus.Load(Path.Combine(Repository.Root, "tests", "Cosim.Fuzzing", "corpora", name));
        Assert.That(corpus, Is.Not.Empty);
        Fuzzer fuzzer = new(_target, 1, []);
        foreach ((string file, byte[] bytes) in corpus)
        {
            Assert.That(fuzzer.Try(bytes), Is.Null, file);
        }
    }

    [Test]
    public void Run_ShortBurst_HasNoFinding()
    {
        IReadOnlyList<(string Name, byte[] Bytes)> corpus = Corpus.Load(Path.Combine(Repository.Root, "tests", "Cosim.Fuzzing", "corpora", name));
        Fuzzer fuzzer = new(_target, 7, corpus.Select(c => c.Bytes));
        Finding? finding = fuzzer.Run(_target.IsBridge ? BridgeBurst : name is "vcd" or "scenario" or "mailbox" or "vfio-user" ? SlowParserBurst : ParserBurst);
        Assert.That(finding, Is.Null, () => $"{finding!.What}\n{Convert.ToHexString(finding.Input)}");
    }

    [Test]
    public void Run_SameSeed_MakesTheSameInputs()
    {
        Fuzzer first = new(_target, 3, []);
        Fuzzer second = new(_target, 3, []);
        for (int i = 0; i < 20; i++)
        {
            Assert.That(first.Run(1), Is.Null);
            Assert.That(second.Run(1), Is.Null);
            Assert.That(second.Current, Is.EqualTo(first.Current));
        }
    }
}
