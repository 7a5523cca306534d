// SPDX-License-Identifier: Apache-2.0
using Mono.Cecil;
using Mono.Cecil.Cil;
using Mono.Cecil.Rocks;

namespace Cosim.Fuzzing.Coverage;

/// <summary>Makes a copy of this program in which the parsers tell <see cref="BranchMap"/> which way each of their conditional branches went.</summary>
/// <remarks>
/// What the compiler adds on its own is left out: branches without a line of the source, of the cache of a lambda, of the states of an
/// async method or an iterator, and of disposing.
/// </remarks>
internal sealed class Instrumenter
{
    /// <summary>Beside the copied program: the branches.</summary>
    public const string TableFile = "branches.txt";

    private readonly List<Branch> _branches = [];
    private readonly Dictionary<string, string[]> _sources = [];

    /// <summary>Copies the program, if the copy is older than it.</summary>
    /// <param name="program">Folder of the program.</param>
    /// <param name="copy">Folder of the copy.</param>
    /// <param name="targets">Whose parsers are instrumented.</param>
    public static void Prepare(string program, string copy, IReadOnlyList<FuzzTarget> targets)
    {
        string table = Path.Combine(copy, TableFile);
        DateTime newest = Directory.EnumerateFiles(program, "*.dll").Max(File.GetLastWriteTimeUtc);
        if (File.Exists(table) && File.GetLastWriteTimeUtc(table) > newest)
        {
            return;
        }

        if (Directory.Exists(copy))
        {
            Directory.Delete(copy, recursive: true);
        }

        foreach (string file in Directory.EnumerateFiles(program, "*", SearchOption.AllDirectories))
        {
            string to = Path.Combine(copy, Path.GetRelativePath(program, file));
            _ = Directory.CreateDirectory(Path.GetDirectoryName(to)!);
            File.Copy(file, to);
        }

        Instrumenter instrumenter = new();
        foreach (string file in Directory.EnumerateFiles(program, "*osim*.dll").Order())
        {
            if (File.Exists(Path.ChangeExtension(file, ".pdb")))
            {
                instrumenter.Rewrite(file, Path.Combine(copy, Path.GetFileName(file)), targets);
            }
        }

        File.WriteAllLines(table, instrumenter._branches.Select(b => b.ToLine()));
    }

    private void Rewrite(string file, string to, IReadOnlyList<FuzzTarget> targets)
    {
        using DefaultAssemblyResolver resolver = new();
        resolver.AddSearchDirectory(Path.GetDirectoryName(file));
        resolver.AddSearchDirectory(Path.GetDirectoryName(typeof(object).Assembly.Location));
        using AssemblyDefinition assembly = AssemblyDefinition.ReadAssembly(file, new ReaderParameters { ReadSymbols = true, AssemblyResolver = resolver });
        MethodReference hit = assembly.MainModule.ImportReference(typeof(BranchMap).GetMethod(nameof(BranchMap.Hit)));
        int before = _branches.Count;
        foreach (TypeDefinition type in assembly.MainModule.GetTypes())
        {
            string outer = Outermost(type).FullName;
            FuzzTarget? target = targets.FirstOrDefault(t => t.Classes.Contains(outer));
            if (target is null)
            {
                continue;
            }

            foreach (MethodDefinition method in type.Methods.Where(m => m.HasBody))
            {
                Rewrite(method, target.Name, Outermost(type).Name, hit);
            }
        }

        if (_branches.Count != before)
        {
            assembly.Write(to);
        }
    }

    private static TypeDefinition Outermost(TypeDefinition type)
    {
        while (type.DeclaringType is { } outer)
        {
            type = outer;
        }

        return type;
    }

    private void Rewrite(MethodDefinition method, string target, string @class, MethodReference hit)
    {
        List<(Instruction Branch, SequencePoint Point)> branches = [];
        SequencePoint? point = null;
        foreach (Instruction instruction in method.Body.Instructions)
        {
            point = method.DebugInformation.GetSequencePoint(instruction) ?? point;
            if (instruction.OpCode.FlowControl == FlowControl.Cond_Branch && point is { IsHidden: false } && !IsCompilers(instruction, method))
            {
                branches.Add((instruction, point));
            }
        }

        if (branches.Count == 0)
        {
            return;
        }

        method.Body.SimplifyMacros();
        ILProcessor processor = method.Body.GetILProcessor();
        Dictionary<int, int> ofLine = [];
        foreach ((Instruction branch, SequencePoint at) in branches)
        {
            int number = ofLine[at.StartLine] = ofLine.GetValueOrDefault(at.StartLine) + 1;
            string Way(string which) => $"{method.Name} {number} {which}";

            // branch L1; hit(not taken); br after; L1: hit(taken); br to; after:
            Instruction last = branch;
            void Put(Instruction instruction)
            {
                processor.InsertAfter(last, instruction);
                last = instruction;
            }

            Instruction Count(string which) => processor.Create(OpCodes.Ldc_I4, Add(target, @class, at, Way(which)));
            Instruction after = branch.Next;
            Put(Count("not taken"));
            Put(processor.Create(OpCodes.Call, hit));
            Put(processor.Create(OpCodes.Br, after));
            if (branch.Operand is Instruction[] cases)
            {
                for (int i = 0; i < cases.Length; i++)
                {
                    // Cases without a label of their own go where the default goes.
                    if (cases[i] == after || (after.OpCode.Code == Code.Br && cases[i] == after.Operand))
                    {
                        continue;
                    }

                    Instruction count = Count($"case {i}");
                    Put(count);
                    Put(processor.Create(OpCodes.Call, hit));
                    Put(processor.Create(OpCodes.Br, cases[i]));
                    cases[i] = count;
                }
            }
            else
            {
                Instruction to = (Instruction)branch.Operand;
                Instruction count = Count("taken");
                Put(count);
                Put(processor.Create(OpCodes.Call, hit));
                Put(processor.Create(OpCodes.Br, to));
                branch.Operand = count;
            }
        }

        method.Body.OptimizeMacros();
    }

    private int Add(string target, string @class, SequencePoint at, string way)
    {
        string file = at.Document.Url;
        if (!_sources.TryGetValue(file, out string[]? lines))
        {
            lines = _sources[file] = File.Exists(file) ? File.ReadAllLines(file) : [];
        }

        string text = at.StartLine <= lines.Length ? lines[at.StartLine - 1].Trim() : "";
        _branches.Add(new Branch(_branches.Count, target, @class, Path.GetFileName(file), at.StartLine, way, text));
        return _branches.Count - 1;
    }

    private static bool IsCompilers(Instruction branch, MethodDefinition method)
    {
        Instruction? before = branch.Previous;
        Instruction? second = before?.Previous;
        bool Calls(string name) => before?.Operand is MethodReference called && called.Name == name;
        if (before is null || Calls("get_IsCompleted"))
        {
            return true;
        }

        // ldsfld <>9__0_0; dup; brtrue
        if (before.OpCode.Code == Code.Dup && second?.Operand is FieldReference cache && cache.Name.StartsWith("<>9", StringComparison.Ordinal))
        {
            return true;
        }

        // The state of an async method or an iterator, in a local or the field.
        bool isState = method.Name == "MoveNext" && method.DeclaringType.Name.StartsWith('<');
        if (isState && before.Operand is FieldReference field && field.Name == "<>1__state")
        {
            return true;
        }

        if (isState && IsLocalZero(before, method) && branch.OpCode.Code is Code.Switch or Code.Brfalse or Code.Brfalse_S or Code.Brtrue or Code.Brtrue_S or Code.Bge or Code.Bge_S)
        {
            return true;
        }

        // Dispose in a finally block: ldloc; brfalse; ldloc; callvirt Dispose.
        return branch.Next?.Next?.Operand is MethodReference disposes && disposes.Name == "Dispose"
            && method.Body.ExceptionHandlers.Any(h => h.HandlerType == ExceptionHandlerType.Finally && h.HandlerStart.Offset <= branch.Offset && (h.HandlerEnd is null || branch.Offset < h.HandlerEnd.Offset));
    }

    private static bool IsLocalZero(Instruction instruction, MethodDefinition method) => instruction.OpCode.Code switch
    {
        Code.Ldloc_0 => true,
        Code.Ldloc or Code.Ldloc_S => instruction.Operand == method.Body.Variables[0],
        _ => false,
    };
}
