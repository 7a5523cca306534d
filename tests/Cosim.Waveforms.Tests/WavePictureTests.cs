// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;

namespace Cosim.Waveforms.Tests;

/// <summary>Pictures of slices, and the first difference of each group.</summary>
[TestFixture]
public sealed class WavePictureTests
{
    private const string Canonical = """
        cosim waveform 2
        stream a_rx d k l v r
        stream b_rx d k l v r
        signal busy 1
        signal unit.state S_IDLE S_RUN S_DEAD
        signal unit.late 8
        signal unit.sum 64 when busy
        2 a_rx idle
         b_rx closed
         busy 0
         unit.state S_IDLE
         late xx
        4 a_rx wait 11223344 55667788 last
         busy 1
         unit.state S_RUN
         sum 1_00000000
        5 a_rx 11223344 55667788 last # CfgRd0 01:00.0 0x000 be f tag 0 <&"> and a good deal more than fits into one line of a card
        6 a_rx 11223344 55667788 99aabbcc
        7 a_rx 11223344 55667788 99aabbcc
        8 a_rx 11223344 55667788 99aabbcc last # Cpl UR tag 0
        9 a_rx idle
        40 busy 0
         unit.state S_IDLE
         late 07
        60 busy x
        end 70

        """;

    private static readonly string[] TwoGroups =
    [
        "cycle 7, a_rx: expected 11223344 55667788 99aabbcc, actual 11223344 55667788 99aabbcd (last packet: a_rx CfgRd0 01:00.0 0x000 be f tag 0 <&\"> and a good deal more than fits into one line of a card in cycle 5)",
        "cycle 40, unit.state: expected S_IDLE, actual S_DEAD (last packet: a_rx Cpl UR tag 0 in cycle 8)",
    ];

    private static readonly (string Before, string After)[] TwoChanges =
    [
        ("7 a_rx 11223344 55667788 99aabbcc", "7 a_rx 11223344 55667788 99aabbcd"),
        ("unit.state S_IDLE\n late 07", "unit.state S_DEAD\n late 08"),
    ];

    private static string Folder => Path.Combine(Repository.Root, "tests", "Cosim.Waveforms.Tests", "Pictures");

    [Test]
    public void Show_Slice_IsAsKept()
    {
        using StringWriter text = new();
        WavePicture.WriteText(Slice(), "sample", text, width: 100);
        text.Write('\n');
        WavePicture.WriteText(Slice(3, 50, "a_rx", "unit.*", "!*late"), "sample", text, width: 60, ascii: true);

        new GoldenFile(Folder, "WavePictureTests.Text").Check(text.ToString());
    }

    [Test]
    public void Show_AsSvg_IsAsKeptAndWellFormedXml()
    {
        string svg = Svg(output => WavePicture.WriteSvg(Slice(), "sample", output));

        Assert.That(() => XDocument.Parse(svg), Throws.Nothing);
        Assert.That(svg, Does.Not.Match("href|<script|@import|url\\("), "nothing from elsewhere");
        new GoldenFile(Folder, "WavePictureTests.Svg").Check(svg);
    }

    [Test]
    public void Diff_AsSvg_IsAsKeptAndWellFormedXml()
    {
        string svg = Svg(output => Diff(TwoChanges).WriteSvg("sample", output));

        Assert.That(() => XDocument.Parse(svg), Throws.Nothing);
        new GoldenFile(Folder, "WavePictureTests.DiffSvg").Check(svg);
    }

    [Test]
    public void Read_Slice_HoldsTheValuesBeforeItAndHidesWhatMeansNothing()
    {
        WaveSlice slice = Slice(6, 42, "b_rx", "unit.*");

        Assert.That((slice.From, slice.To, slice.Cycles), Is.EqualTo((6, 42, 70)));
        Assert.That(slice.Tracks.Select(t => (t.Path, t.Group, t.At(6), t.At(40))), Is.EqualTo(new[]
        {
            ("b_rx", "b_rx", "closed", "closed"),
            ("unit.state", "unit", "S_RUN", "S_IDLE"),
            ("unit.late", "unit", "xx", "07"),
            ("unit.sum", "unit", "1_00000000", null),
        }));
        Assert.That(slice.Packets, Is.Empty, "they are those of a_rx");
    }

    [Test]
    public void Read_NothingChosen_SaysWhatThereIs()
    {
        Assert.That(() => Slice(0, 9, "nonsense"), Throws.InstanceOf<WaveformException>().With.Message.Contains("none of the 6 streams and signals").And.Message.Contains("busy"));
        Assert.That(() => Slice(70, 90), Throws.InstanceOf<WaveformException>().With.Message.Contains("lists cycles 2 to 69"));
    }

    [Test]
    public void Diff_TwoGroups_NamesTheFirstDifferenceOfEach()
    {
        WaveDiff diff = Diff(TwoChanges);

        Assert.That(diff.Differences.Select(d => d.ToString()), Is.EqualTo(TwoGroups));
        Assert.That(Diff().Differences, Is.Empty);
    }

    [Test]
    public void Diff_OneEndsEarly_ShowsWhatTheOtherStillHas()
    {
        WaveDiff diff = Diff(("60 busy x\nend 70", "end 50"));

        Assert.That(diff.Differences.Select(d => (d.Cycle, d.Signal, d.Expected, d.Actual)), Is.EqualTo(new[] { ((ulong?)50, "end", "70 cycles", "50 cycles") }));
        Assert.That(Diff(("40 busy 0", "end 30\n")).HasPicture, Is.True);
    }

    [Test]
    public void Diff_OtherSignals_NamesThemAndDrawsNothing()
    {
        WaveDiff diff = Diff(("signal unit.late 8\n", ""), (" late xx\n", ""), (" late 07\n", ""));

        Assert.That(diff.Differences.Select(d => d.ToString()), Is.EqualTo(new[] { "unit.late: expected signal unit.late 8, actual none" }));
        Assert.That(diff.HasPicture, Is.False);
    }

    [Test]
    public void Draw_FileDamagedAnywhere_DrawsOrNamesTheDamage()
    {
        const string Alphabet = "0123456789 \n#xabdegilnrs_.\u0001\u20ac";
        Random random = new(1364);
        int refused = 0;
        for (int round = 0; round < 1500; round++)
        {
            char[] bad = Canonical.ToCharArray();
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                bad[random.Next(bad.Length)] = Alphabet[random.Next(Alphabet.Length)];
            }

            string text = new(bad, 0, random.Next(bad.Length / 2, bad.Length + 1));
            try
            {
                using StringReader reader = new(text);
                WaveSlice slice = WaveSlice.Read(reader);
                WavePicture.WriteText(slice, "damaged", TextWriter.Null);
                Assert.That(() => XDocument.Parse(Svg(output => WavePicture.WriteSvg(slice, "damaged", output))), Throws.Nothing);
                WaveDiff diff = WaveDiff.Of(() => new StringReader(Canonical), () => new StringReader(text));
                diff.WriteText(TextWriter.Null);
                if (diff.HasPicture)
                {
                    Assert.That(() => XDocument.Parse(Svg(output => diff.WriteSvg("damaged", output))), Throws.Nothing);
                }
            }
            catch (WaveformException)
            {
                refused++;
            }
        }

        Assert.That(refused, Is.InRange(500, 1499), "other exceptions would have ended the test");
    }

    private static WaveSlice Slice(ulong from = 0, ulong to = ulong.MaxValue, params string[] signals)
    {
        using StringReader text = new(Canonical);
        return WaveSlice.Read(text, from, to, new SignalFilter(signals));
    }

    private static WaveDiff Diff(params (string Before, string After)[] changes)
    {
        string actual = changes.Aggregate(Canonical, (text, change) => text.Replace(change.Before, change.After, StringComparison.Ordinal));
        return WaveDiff.Of(() => new StringReader(Canonical), () => new StringReader(actual), context: 3);
    }

    private static string Svg(Action<TextWriter> write)
    {
        using StringWriter output = new();
        write(output);
        return output.ToString();
    }
}
