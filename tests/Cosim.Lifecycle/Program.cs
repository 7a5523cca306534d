// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Lifecycle;

RootCommand root = new("Everything dies sometimes: faults under load on real QEMU hosts, with a check of every byte.");
Option<bool> isShort = new("--short") { Description = "Fewer repetitions, shorter pauses." };
Argument<string[]> faultParts = new("PART") { Description = "Only these.", Arity = ArgumentArity.ZeroOrMore };
faultParts.AcceptOnlyFromAmong([.. LifecycleRun.Parts]);
Command faults = new("faults", "Each fault of hdl/LIFECYCLE.md, and a table.") { faultParts, isShort };
faults.SetAction((result, _) => new LifecycleRun(Console.Out, result.GetValue(isShort), result.GetValue(faultParts) ?? []).RunAsync());

Option<double> minutes = new("--minutes") { Description = "How long.", DefaultValueFactory = _ => 30 };
Option<int?> seed = new("--seed") { Description = "The same seed is the same order of faults; a new one unless given." };
Command soak = new("soak", "Random faults for a time, and a summary.") { minutes, seed };
soak.SetAction((result, _) => new Soak(
    new SoakOptions { Time = TimeSpan.FromMinutes(result.GetValue(minutes)), Seed = result.GetValue(seed) ?? Random.Shared.Next(1_000_000) },
    Console.Out).RunAsync());

Argument<string[]> matrixParts = new("PART") { Description = "Only these.", Arity = ArgumentArity.ZeroOrMore };
matrixParts.AcceptOnlyFromAmong([.. Matrix.Parts]);
Command matrix = new("matrix", "Host 1 with each kernel, machine, place and number of processors, and a table.") { matrixParts };
matrix.SetAction((result, _) => Matrix.PrintAsync(Console.Out, result.GetValue(matrixParts) ?? []));

root.Add(faults);
root.Add(soak);
root.Add(matrix);
return await root.Parse(args).InvokeAsync();
