// SPDX-License-Identifier: Apache-2.0
using System.IO.Compression;
using System.Text;
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling.Tests.Stimuli;

/// <summary>The text of a recording: what is written is read, and what is wrong is named with its line.</summary>
public sealed class StimuliFormatTests
{
    private const string Head = "cosim-stimuli 1\nfpga ghdl\nports 3\ntop cosim_top\ngeneric FUNCTIONS_G 2\npause 5 1 2\nreset 0\n";
    private const string ConfigRead = "04000001 0000000f 01000000";
    private const string Command = "00000001 00000004 00000010 00000000 00000001 00000000 00000000 00000000";

    private static readonly byte[] s_configRead = [1, 0, 0, 4, 0xF, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

    // MWr of 2 DW with a header of 4 DW.
    private static readonly byte[] s_write = [2, 0, 0, 0x60, 0xFF, 0, 0, 1, 1, 0, 0, 0, 8, 0, 0, 0x10, 1, 2, 3, 4, 5, 6, 7, 8];

    private static readonly RecordingHead s_head = RecordingHead.From(new FpgaOptions { Kind = FpgaKind.Ghdl, Pauses = new LinkPauses(1, 2, ulong.MaxValue) });

    private static string Write(RecordingHead head, Action<StimuliWriter> log, StimuliWriterOptions? options = null)
    {
        using MemoryStream file = new();
        using (StimuliWriter writer = new(file, head, options))
        {
            log(writer);
        }

        return Encoding.ASCII.GetString(file.ToArray());
    }

    private static StimuliReader Open(string text) => new(new MemoryStream(Encoding.Latin1.GetBytes(text)), "x.stim");

    private static int ReadAll(StimuliReader reader)
    {
        int lines = 0;
        while (reader.Read())
        {
            lines++;
        }

        return lines;
    }

    [Test]
    public void Write_PacketsOfEachKind_LinesAreThoseOfTheFormat()
    {
        string text = Write(s_head, writer =>
        {
            writer.Input(0, 8, 0, [0, 0, 0], s_configRead);
            writer.Output(1, 20, s_write);
            writer.Reset(40);
            writer.End(48);
        });
        Assert.That(text, Is.EqualTo(
            "cosim-stimuli 1\nfpga ghdl\nports 3\ntop cosim_top\n"
            + "generic FUNCTIONS_G 2\ngeneric QUEUES_G 8\ngeneric VECTORS_G 9\ngeneric SCRATCH_BYTES_G 65536\npause 18446744073709551615 1 2\n"
            + $"reset 0\nin 0 8 0 0 0 : {ConfigRead}\nout 1 20 : 60000002 010000ff 00000001 10000008 : 04030201 08070605\nreset 40\nend 48 1 1\n"));
    }

    [Test]
    public void Write_WithComments_EachPacketIsDecoded()
    {
        string text = Write(s_head, writer => writer.Output(0, 20, s_configRead), new StimuliWriterOptions { Comments = true });
        Assert.That(text, Does.Match($"\nout 0 20 : {ConfigRead} +# CfgRd0 01:00.0 0x000 be f tag 0\n$"));
    }

    [Test]
    public void Write_InputsForLaterCycles_StandInTheOrderOfTheirCycles()
    {
        string text = Write(s_head, writer =>
        {
            writer.Output(0, 9, s_configRead);
            writer.Input(0, 12, 30, [1, 0, 0], s_configRead);   // 30
            writer.Input(0, 12, 0, [1, 0, 0], s_configRead);    // 12
            writer.Output(1, 12, s_configRead);                 // in the same cycle, so it stands first
            writer.Input(0, 13, 20, [1, 1, 0], s_configRead);   // 20, in front of one that has seen less
            writer.Output(0, 30, s_configRead);
            writer.Input(1, 31, 60, [2, 1, 0], s_configRead);   // the reset is before it
            writer.Reset(50);
            writer.Input(1, 58, 0, [2, 1, 0], s_configRead);
            writer.Input(1, 58, 99, [2, 1, 0], s_configRead);   // the end is before it
            writer.End(70);
            writer.Input(1, 70, 0, [2, 1, 0], s_configRead);    // nobody listens any more
        });
        string[] body = [.. text.Split('\n').SkipWhile(l => l != "reset 0").Skip(1).Select(l => l.Split(" :")[0])];
        Assert.That(body, Is.EqualTo(new[]
        {
            "out 0 9", "out 1 12", "in 0 12 1 0 0", "in 0 20 1 1 0", "out 0 30", "in 0 30 1 1 0", "reset 50", "in 1 58 2 1 0", "end 70 4 3", "",
        }));
        using StimuliReader reader = Open(text);
        Assert.That(ReadAll(reader), Is.EqualTo(10));
    }

    [Test]
    public void Write_OfARunningFpga_StartsThereAndCountsFromThere()
    {
        string text = Write(
            s_head,
            writer =>
            {
                writer.Output(2, 1001, [.. s_configRead, .. s_configRead]);
                writer.Input(0, 1002, 0, [70, 80, 91], s_configRead);
                writer.End(2000);
            },
            new StimuliWriterOptions { Start = 1000, OutputsBefore = [70, 80, 90] });
        Assert.That(text, Does.Contain("\nstart 1000\nout 2 1001").And.Contains("\nin 0 1002 0 0 1 :"));
    }

    [TestCase(".stim")]
    [TestCase(".stim.gz")]
    public void WriteAndRead_ManyPacketsOfAllSizes_AreTheSame(string extension)
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{TestContext.CurrentContext.Test.ID}{extension}");
        Random random = new(1);
        List<byte[]> packets = [];
        using (StimuliWriter writer = new(path, s_head, new StimuliWriterOptions { BufferBytes = 64 << 10 }))
        {
            for (int i = 0; i < 3000; i++)
            {
                byte[] packet = new byte[16 + (random.Next(8) == 0 ? 4 * random.Next(1025) : 4 * random.Next(9))];
                random.NextBytes(packet);
                packet[3] |= 0x20; // four DWs of header
                packets.Add(packet);
                if (i % 2 == 0)
                {
                    writer.Input(i % 4 / 2, (ulong)i, 0, [0, 0, 0], packet);
                }
                else
                {
                    writer.Output(i % 4 / 2, (ulong)i, packet);
                }
            }

            writer.End(3000);
        }

        using (StimuliReader reader = new(path))
        {
            Assert.That(reader.Head, Is.EqualTo(s_head with { Generics = reader.Head.Generics }));
            Assert.That(reader.Head.Generics, Is.EqualTo(s_head.Generics));
            Assert.That((reader.Read(), reader.Kind, reader.Cycle), Is.EqualTo((true, StimulusKind.Reset, 0UL)));
            for (int i = 0; i < packets.Count; i++)
            {
                Assert.That(reader.Read(), Is.True);
                Assert.That((reader.Kind, reader.Port, reader.Cycle), Is.EqualTo((i % 2 == 0 ? StimulusKind.Input : StimulusKind.Output, i % 4 / 2, (ulong)i)));
                Assert.That(reader.Packet.SequenceEqual(packets[i]), Is.True, $"packet {i}");
            }

            Assert.That((reader.Read(), reader.Kind, reader.Read(), reader.IsComplete), Is.EqualTo((true, StimulusKind.End, false, true)));
        }

        File.Delete(path);
    }

    [Test]
    public void Write_ManyPackets_TheLoggingThreadAllocatesNothingAndMemoryDoesNotGrow()
    {
        using StimuliWriter writer = new(Stream.Null, s_head);
        ulong[] seen = [0, 0, 0];
        writer.Input(0, 0, 0, seen, s_write);
        long all = GC.GetTotalAllocatedBytes(precise: true);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (ulong i = 1; i < 100_000; i++)
        {
            writer.Input(0, i, i + 16, seen, s_write);
            writer.Output(1, i, s_write);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        writer.End(200_000);
        writer.Dispose();
        Assert.That(GC.GetTotalAllocatedBytes(precise: true) - all, Is.LessThan((long)writer.BytesWritten / 10), "of the thread that writes, too");
        Assert.That((writer.Failure, writer.Inputs, writer.Outputs), Is.EqualTo(((string?)null, 100_000UL, 99_999UL)));
    }

    [Test]
    public void Write_TheDiskIsFull_EndsTheRecordingAndNotTheLoggingThread()
    {
        string? told = null;
        using StimuliWriter writer = new("/dev/full", s_head, new StimuliWriterOptions { BufferBytes = 64 << 10, Failed = reason => told = reason });
        for (ulong i = 0; i < 10_000; i++)
        {
            writer.Output(0, i, s_write);
        }

        writer.Dispose();
        Assert.That(writer.Failure, Does.StartWith("the recording ended after ").And.Contains("No space left").And.EqualTo(told));
    }

    [Test]
    public void Write_NotEnded_CountsAsCutOff()
    {
        using StimuliReader reader = Open(Write(s_head, writer => writer.Output(0, 20, s_configRead)));
        Assert.That((ReadAll(reader), reader.IsComplete), Is.EqualTo((2, false)));
    }

    [TestCase("")]
    [TestCase("out 0 9 : 0a000000 01000004 0000")]
    [TestCase("out 0 9 : 0a000000 01000004 00000000")]
    [TestCase("end 9 0 0")]
    public void Read_CutOffInALine_EndsThere(string rest)
    {
        using StimuliReader reader = Open(Head + $"in 0 8 0 0 0 : {ConfigRead}\n" + rest);
        Assert.That((ReadAll(reader), reader.IsComplete, reader.Inputs), Is.EqualTo((2, false, 1UL)));
    }

    [Test]
    public void Read_GzipCutOff_EndsThere()
    {
        using MemoryStream whole = new();
        using (GZipStream gzip = new(whole, CompressionLevel.Fastest, leaveOpen: true))
        {
            Random random = new(1);
            gzip.Write(Encoding.ASCII.GetBytes(Head));
            for (int i = 1; i < 1000; i++)
            {
                gzip.Write(Encoding.ASCII.GetBytes($"out 0 {i} : 0a000000 {random.Next():x8} {random.Next():x8}\n"));
            }
        }

        using StimuliReader reader = new(new MemoryStream(whole.ToArray()[..(int)(whole.Length / 2)]), "x.stim.gz");
        Assert.That(ReadAll(reader), Is.GreaterThan(100));
        Assert.That(reader.IsComplete, Is.False);
    }

    [Test]
    public void Read_SpacesCommentsAndBlankLines_SayNothing()
    {
        using StimuliReader reader = Open($"# a recording\n\n  {Head}   # nothing\nin   0 8 0 0   0 :   {ConfigRead}   # read\n   \nend 9 1 0 # done\n# that was it\n");
        Assert.That((ReadAll(reader), reader.IsComplete, reader.Packet.Length), Is.EqualTo((3, true, 0)));
    }

    private static TestCaseData[] Malformed()
    {
        return
        [
            Case("", 1, "empty"),
            Case("#!/bin/sh\n\nexit\n", 3, "no recording"),
            Case("cosim-stimuli 2\n", 1, "format is 2"),
            Case($"cosim-stimuli 1\nfpga {new string('x', 1000)}\n", 2, $"recorded on '{new string('x', 32)}…'"),
            Case("cosim-stimuli 1 2\n", 1, "found '2'; expected the end of the line"),
            Case("cosim-stimuli 1\nfpga ghdl\nports 3\n", 3, "cut off in its head"),
            Case("cosim-stimuli 1\nfpga quartus\n", 2, "'quartus'"),
            Case("cosim-stimuli 1\nports 4\n", 2, "at most 3"),
            Case("cosim-stimuli 1\nports 0\n", 2, "expected 1 to 3"),
            Case("cosim-stimuli 1\nports 1\nports 1\n", 3, "second 'ports'"),
            Case("cosim-stimuli 1\ntop 9x\n", 2, "'9x'"),
            Case("cosim-stimuli 1\ngeneric A 1\ngeneric a 2\n", 3, "second value"),
            Case("cosim-stimuli 1\ngeneric A -1\n", 2, "'-1'"),
            Case("cosim-stimuli 1\n" + string.Concat(Enumerable.Range(0, 65).Select(i => $"generic G{i} 1\n")), 66, "more than 64 generics"),
            Case("cosim-stimuli 1\npause 1 256 0\n", 2, "at most 255"),
            Case("cosim-stimuli 1\npause 18446744073709551616 0 0\n", 2, "'18446744073709551616'"),
            Case("cosim-stimuli 1\nreset 0\n", 2, "no 'fpga' line"),
            Case("cosim-stimuli 1\nfpga ghdl\nports 1\ntop x\nreset 3\n", 5, "expected 0"),
            Body("jump 3", "found 'jump 3'; expected in, out, reset or end"),
            Body("in 3 8 0 0 0 : " + ConfigRead, "at most 2"),
            Body("in 0 -8 0 0 0 : " + ConfigRead, "'-8'; expected a cycle"),
            Body("in 0 8 0 0 : " + ConfigRead, "found ':'; expected SEEN of port 2"),
            Body("in 0 8 0 0 0 0 : " + ConfigRead, "found '0'; expected ':'"),
            Body("in 0 8 0 1 0 : " + ConfigRead, "only 0 outputs of that port"),
            Body($"out 0 8 : {ConfigRead}\nin 1 9 1 0 0 : {ConfigRead}\nin 1 10 0 0 0 : {ConfigRead}", "never falls", 3),
            Body("in 0 8 0 0 0", "the end of the line; expected ':'"),
            Body("out 0 8 : 04000001 0000000f", "2 words in the header; expected 3, as Fmt says"),
            Body("out 0 8 : 24000001 0000000f 00000000", "expected 4"),
            Body("out 0 8 : 04000001 0000000f 00000000 00000000", "expected 3"),
            Body("out 0 8 : 04000001 0000000f 00000000 00000000 00000000", "more than 4 words"),
            Body("out 2 8 : 00000001 00000004", "expected 8, as on the management port"),
            Body("out 2 8 : " + Command + " :", "left out"),
            Body("out 2 8 : " + Command + " :" + string.Concat(Enumerable.Repeat(" 00000000", 1025)), "more than 1024 words"),
            Body("out 0 8 : 4000001 0000000f 00000000", "'4000001'; expected a word of exactly 8"),
            Body("out 0 8 : 0400000g 0000000f 00000000", "'0400000g'"),
            Body("out 0 8 : 040000001 0000000f 00000000", "'040000001'"),
            Body("out 0\t8 : " + ConfigRead, "'0\\x098'"),
            Body("out 0 8 : " + ConfigRead + "\r", "\\x0d"),
            Body("out 0 8 : " + ConfigRead + " # caf\u00e9", "not ASCII"),
            Body("out 0 8 : " + ConfigRead + " #" + new string('x', 16384), "more than 16384 characters"),
            Body(new string('x', 1 << 20), "more than 16384 characters"),
            Body($"out 0 8 : {ConfigRead}\nout 0 7 : {ConfigRead}", "cycle 7 after cycle 8", 2),
            Body($"out 0 8 : {ConfigRead}\nreset 8", "it stands first", 2),
            Body($"in 0 8 0 0 0 : {ConfigRead}\nout 0 8 : {ConfigRead}", "outputs stand first", 2),
            Body($"out 1 8 : {ConfigRead}\nout 0 8 : {ConfigRead}", "order of ports", 2),
            Body("end 9 1 0", "counts 1 inputs and 0 outputs, but 0 and 0"),
            Body("end 9 0 0\nend 9 0 0", "after the end line", 2),
        ];

        static TestCaseData Case(string text, int line, string expected) => new TestCaseData(text, line, expected).SetArgDisplayNames(expected);

        static TestCaseData Body(string body, string expected, int line = 1) => Case(Head + body + "\n", line + 7, expected);
    }

    [TestCaseSource(nameof(Malformed))]
    public void Read_Malformed_NamesLineAndReason(string text, int line, string expected) =>
        Assert.That(
            () =>
            {
                using StimuliReader reader = Open(text);
                _ = ReadAll(reader);
            },
            Throws.TypeOf<StimuliException>().With.Message.StartsWith($"x.stim:{line}: ").And.Message.Contains(expected));
}
