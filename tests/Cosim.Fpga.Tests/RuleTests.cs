// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;
using Cosim.Fpga.Native;

namespace Cosim.Fpga.Tests;

/// <summary>The rules that the VHDL asserts (hdl/CONTRACT.md, 6): each of them ends a simulation that breaks it, legal traffic none.</summary>
public sealed partial class RuleTests
{
    private const string Bench = "rules_tb";

    // What hdl/tb/rules_tb.vhd does, and the instance and label of the rule that it breaks.
    private static readonly (string Case, string Rule)[] Cases =
    [
        ("valid falls", "stream_rules/valid_until_ready"),
        ("beat changes", "stream_rules/beat_until_ready"),
        ("header keep", "stream_rules/whole_packets"),
        ("payload missing", "stream_rules/whole_packets"),
        ("payload short", "stream_rules/whole_packets"),
        ("management keep", "mgmt_rules/whole_packets"),
        ("write too long", "request_rules/max_payload_and_read_size"),
        ("read too long", "request_rules/max_payload_and_read_size"),
        ("across 4 KiB", "request_rules/page_of_4_kib"),
        ("across 4 KiB above 4 GiB", "request_rules/page_of_4_kib"),
        ("byte enables", "request_rules/byte_enables"),
        ("4 DWs below 4 GiB", "request_rules/address_format"),
        ("tag 32", "request_rules/tag_below_32"),
        ("function 2", "request_rules/own_requester"),
        ("word falls", "handshake_rules/valid_until_ready"),
        ("word changes", "handshake_rules/data_until_ready"),
        ("two completions", "completion_rules/one_completion"),
        ("completion of a write", "completion_rules/one_completion"),
        ("completion of nothing", "completion_rules/one_completion"),
        ("no completion", "completion_rules/completion_of_read"),
        ("foreign tag", "completion_rules/completion_tag"),
        ("waits while idle", "busy_rules/busy_while_waiting"),
        ("wakes by itself", "busy_rules/idle_until_offered"),
        ("full FIFO", "fifo/words_within_depth"),
        ("tag in flight", "reorder/tag_not_in_flight"),
        ("no free slot", "reorder/slots_within_buffer"),
        ("end without room", "drain/room_for_end"),
        ("align outside", "align/write_inside_scratch"),
        ("mgmt outside", "mgmt/write_inside_scratch"),
    ];

    // Bugs that no input brings about: a change in the VHDL, and the rule that legal traffic then breaks.
    private static readonly (string File, string From, string To, string Rule)[] Bugs =
    [
        ("dma_fifo.vhd", "write_q <= (write_q + 1) mod DEPTH_G;", "write_q <= (write_q + 2) mod DEPTH_G;", "fifo/places_fit_count"),
        ("dma_reorder.vhd", "            slot_q <= slot_v;", "            slot_q <= (slot_v + 5) mod 32;", "reorder/write_to_outstanding_slot"),
        ("dma_drain.vhd", "        released_q <= 0;", "        released_q <= 40;", "drain/ends_released"),
    ];

    private static readonly string Ghdl = SimulationTools.Read(Path.Combine(Repository.Root, ".cosim", "tools.json")).Ghdl;

    [Test]
    public void Bench_OfEachRule_EndsAtItsAssertion()
    {
        string folder = Analyse(_ => null);
        Assert.That(Run(folder, null), Does.Contain($"{Bench}: passed"));
        Assert.Multiple(() =>
        {
            foreach ((string name, string rule) in Cases)
            {
                Assert.That(Run(folder, name), Does.Contain("assertion failure").And.Contain($"instance: /{Bench}/{rule}\n"), name);
            }
        });
    }

    [Test]
    public void Bench_OfChangedSources_EndsAtTheAssertion()
    {
        Assert.Multiple(() =>
        {
            foreach ((string file, string from, string to, string rule) in Bugs)
            {
                string folder = Analyse(source =>
                {
                    string text = Repository.Text($"hdl/{source}");
                    return source != file ? null : text.Contains(from, StringComparison.Ordinal) ? text.Replace(from, to, StringComparison.Ordinal) : "";
                });
                Assert.That(Run(folder, null), Does.Contain("assertion failure").And.Contain($"instance: /{Bench}/{rule}\n"), file);
            }
        });
    }

    [Test]
    public void Rules_InTheVhdl_AreAllTried()
    {
        IEnumerable<string> labels = Repository.Text("hdl/sources.txt").Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .SelectMany(source => Label().Matches(Repository.Text($"hdl/{source}")).Select(m => m.Groups[1].Value)).Distinct();
        IEnumerable<string> tried = Cases.Select(c => c.Rule).Concat(Bugs.Select(b => b.Rule)).Select(rule => rule[(rule.IndexOf('/', StringComparison.Ordinal) + 1)..]).Distinct();
        Assert.That(tried, Is.EquivalentTo(labels));
    }

    private static string Analyse(Func<string, string?> changed)
    {
        string folder = NativeDesigns.Scratch("rules");
        string hdl = Path.Combine(Repository.Root, "hdl");
        List<string> files = [];
        foreach (string source in File.ReadLines(Path.Combine(hdl, "sources.txt")).Append($"tb/{Bench}.vhd"))
        {
            string file = Path.Combine(hdl, source);
            if (changed(source) is { } text)
            {
                file = Path.Combine(folder, source);
                File.WriteAllText(file, text);
            }

            files.Add(file);
        }

        _ = BuildStep.Run("analysing", folder, Ghdl, ["-a", "--std=08", .. files]);
        return folder;
    }

    // What the simulation prints.
    private static string Run(string folder, string? name)
    {
        string[] arguments = ["--elab-run", "--std=08", Bench, .. name is null ? (string[])[] : [$"-gCASE_G={name}"], "--assert-level=error", "--ieee-asserts=disable-at-0"];
        try
        {
            return BuildStep.Run("simulating", folder, Ghdl, arguments);
        }
        catch (FpgaBuildException exception)
        {
            return exception.Reason;
        }
    }

    [GeneratedRegex(@"^  (\w+): assert \w+ = '0'", RegexOptions.Multiline)]
    private static partial Regex Label();
}
