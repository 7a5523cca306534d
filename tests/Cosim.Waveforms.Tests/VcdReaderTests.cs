// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Cosim.Waveforms.Tests;

/// <summary>The VCD reader: IEEE 1364-2005, 18.2, and files that are not as it says.</summary>
[TestFixture]
public sealed class VcdReaderTests
{
    private const string Declarations = """
        $date today $end $version any $end
        $timescale 10 ns $end
        $scope module TOP $end
          $var wire 1 ! clk $end
          $scope module Dut $end
            $var wire 8 " data [7:0] $end
            $var reg 8 " alias[7:0] $end
            $var real 64 # level $end
            $var string 1 $ state $end
            $scope module gen(1) $end $var reg 1 % u $end $upscope $end
          $upscope $end
        $upscope $end
        $enddefinitions $end

        """;

    private static readonly string[] Paths = ["top.clk", "top.dut.data", "top.dut.alias", "top.dut.level", "top.dut.state", "top.dut.gen_n2_u"];

    [Test]
    public void Declarations_OfEveryKind_HaveNormalisedPathsAndSharedCodes()
    {
        VcdReader reader = Open(Declarations);

        Assert.That(reader.TimescaleFemtoseconds, Is.EqualTo(10_000_000));
        Assert.That(reader.Variables.Select(v => v.Path), Is.EqualTo(Paths));
        Assert.That(reader.Variables.Select(v => (v.Width, v.Code)), Is.EqualTo(new[] { (1, 0), (8, 1), (8, 1), (64, 2), (1, 3), (1, 4) }));
        Assert.That(reader.Read(), Is.False);
    }

    [Test]
    public void Read_ChangesOfEveryKind_GivesBitsAtFullWidth()
    {
        const string Changes = "#0 $dumpvars 0! bx \" r1.5 # sIDLE $ $end\n$comment b1 ! $end\n#7\n1! b101 \" bUZ-01lhW \"\n#18446744073709551615 bz \"";

        Assert.That(Items(Declarations + Changes), Is.EqualTo(new[]
        {
            "#0", "0=0", "1=xxxxxxxx", "3=IDLE", "#7", "0=1", "1=00000101", "1=xzx0101x", "#18446744073709551615", "1=zzzzzzzz",
        }));
    }

    [Test]
    public void Read_FileInSmallPieces_IsTheSame()
    {
        string text = Declarations + string.Concat(Enumerable.Range(0, 20_000).Select(i => $"#{i}\nb{Convert.ToString(i & 255, 2)} \"\n{i & 1}!\n"));
        byte[] bytes = Encoding.Latin1.GetBytes(text);
        using MemoryStream whole = new(bytes);
        using Trickle pieces = new(bytes);

        Assert.That(Items(new VcdReader(pieces)), Is.EqualTo(Items(new VcdReader(whole))).And.Count.EqualTo(60_000));
    }

    [Test]
    public void Read_LongFile_AllocatesNothing()
    {
        string text = Declarations + string.Concat(Enumerable.Range(0, 50_000).Select(i => $"#{i}\nb{i & 1}0 \"\n{i & 1}!\n"));
        byte[] bytes = Encoding.Latin1.GetBytes(text);
        long least = long.MaxValue;
        for (int round = 0; round < 3; round++)
        {
            using MemoryStream stream = new(bytes);
            VcdReader reader = new(stream);
            _ = reader.Read() && reader.Read() && reader.Read();
            long before = GC.GetAllocatedBytesForCurrentThread();
            long items = 0;
            while (reader.Read())
            {
                items++;
            }

            // The run time itself may allocate in a round, while it compiles the code anew.
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
            Assert.That(items, Is.EqualTo(149_997));
        }

        Assert.That(least, Is.Zero);
    }

    [TestCase("#1\n1?", "line 15: identifier code '?' is not declared")]
    [TestCase("#1\n1 !", "line 15: a value without an identifier code")]
    [TestCase("#1\nb2 !", "line 15: 'b2'; expected binary digits")]
    [TestCase("#1\nb !", "line 15: 'b' without a digit")]
    [TestCase("b101010101 \"", "line 14: a value of 9 bits; expected at most 8")]
    [TestCase("#2 #1", "line 14: time 1 after 2")]
    [TestCase("#-1", "line 14: time '#-1'; expected a decimal number")]
    [TestCase("#18446744073709551616", "line 14: time '#18446744073709551616'")]
    [TestCase("b1", "line 14: the file ends; expected an identifier code")]
    [TestCase("$comment for ever", "line 14: the file ends; expected $end")]
    [TestCase("q", "line 14: 'q'; expected a time, a value change or a keyword")]
    [TestCase("1\u0080", "line 14: identifier code '\u0080'; expected 1 to 16 printable")]
    public void Read_WhatIsNotInTheStandard_NamesTheLine(string changes, string message)
    {
        VcdReader reader = Open(Declarations + changes);

        Assert.That(() => Items(reader), Throws.InstanceOf<WaveformException>().With.Message.StartsWith(message));
    }

    [TestCase("", "line 1: the file ends among the declarations")]
    [TestCase("\n#0", "line 2: '#0' among the declarations")]
    [TestCase("$upscope $end", "line 1: $upscope outside of any scope")]
    [TestCase("$timescale 2 ns $end", "line 1: timescale '2ns'; expected 1, 10 or 100")]
    [TestCase("$var wire 0 ! a $end", "line 1: a variable of '0' bits; expected 1 to 64")]
    [TestCase("$var wire 65 ! a $end", "line 1: a variable of '65' bits")]
    [TestCase("$var wire 99999999999 ! a $end", "line 1: a variable of '99999999999' bits")]
    [TestCase("$var wire 1 ! $end", "line 1: a variable without a name")]
    [TestCase("$var wire 1 ! \\ $end", "line 1: a variable whose name is backslashes alone")]
    [TestCase("$var wire 1 ! a $end $var wire 2 ! b $end", "line 1: 'b' has 2 bits, but its identifier code is that of a variable of 1")]
    [TestCase("$var wire 1 ! a $end $var wire 1 ! b $end $var wire 1 ! c $end $var wire 1 ! d $end", "line 1: more than 3 variables")]
    [TestCase("$scope module a $end $scope module b $end $scope module c $end", "line 1: more than 3 nested scopes")]
    [TestCase("$scope module aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa $end $var wire 1 ! b $end", "line 1: names of more than 40 characters")]
    public void Declarations_BadOrBeyondALimit_NameTheLine(string text, string message)
    {
        VcdLimits limits = new() { Variables = 3, Depth = 3, Bits = 64, NameCharacters = 40 };

        Assert.That(() => Open(text, limits), Throws.InstanceOf<WaveformException>().With.Message.StartsWith(message));
    }

    [Test]
    public void Read_TokenWithoutEnd_IsRefusedInBoundedMemory()
    {
        VcdLimits limits = new() { Bits = 1 << 17 };
        using Endless stream = new(Encoding.Latin1.GetBytes(Declarations + "b"), (byte)'1');
        VcdReader reader = new(stream, limits);

        Assert.That(reader.Read, Throws.InstanceOf<WaveformException>().With.Message.Contains("characters without a space"));
        Assert.That(stream.Position, Is.LessThan(1 << 19));
    }

    [Test]
    public void Read_FileDamagedAnywhere_EndsOrNamesTheDamage()
    {
        Random random = new(1364);
        byte[] good = Encoding.Latin1.GetBytes(Declarations + "#0 $dumpvars 0! bx \" r1 # sIDLE $ 0% $end\n#7\n1! b101 \"\n#9 0!\n");
        int refused = 0;
        for (int round = 0; round < 3000; round++)
        {
            byte[] bad = [.. good];
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                bad[random.Next(bad.Length)] = (byte)random.Next(256);
            }

            try
            {
                using MemoryStream stream = new(bad, 0, random.Next(bad.Length + 1));
                _ = Items(new VcdReader(stream));
            }
            catch (WaveformException exception)
            {
                Assert.That(exception.Line, Is.InRange(1, 40));
                refused++;
            }
        }

        Assert.That(refused, Is.InRange(1000, 2999), "other exceptions would have ended the test");
    }

    private static VcdReader Open(string text, VcdLimits? limits = null) => new(new MemoryStream(Encoding.Latin1.GetBytes(text)), limits);

    private static List<string> Items(string text) => Items(Open(text));

    private static List<string> Items(VcdReader reader)
    {
        List<string> items = [];
        while (reader.Read())
        {
            items.Add(reader.Item == VcdItem.Time ? $"#{reader.Time}" : $"{reader.Code}={Encoding.ASCII.GetString(reader.Value)}");
        }

        return items;
    }

    /// <summary>Gives one to three bytes at a time.</summary>
    private sealed class Trickle(byte[] bytes) : MemoryStream(bytes)
    {
        public override int Read(byte[] buffer, int offset, int count) => base.Read(buffer, offset, Math.Min(count, 1 + ((int)Position % 3)));
    }

    /// <summary>Goes on with one byte for ever.</summary>
    private sealed class Endless(byte[] head, byte rest) : MemoryStream(head)
    {
        private long position;

        public override long Position
        {
            get => position;
            set => throw new NotSupportedException();
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            int read = base.Read(buffer, offset, count);
            if (read == 0)
            {
                buffer.AsSpan(offset, count).Fill(rest);
                read = count;
            }

            position += read;
            return read;
        }
    }
}
