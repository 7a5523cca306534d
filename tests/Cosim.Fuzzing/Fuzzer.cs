// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Fuzzing.Coverage;

namespace Cosim.Fuzzing;

/// <summary>An input that did what nothing may do.</summary>
/// <param name="Target">Name of the target.</param>
/// <param name="What">What it did.</param>
/// <param name="Input">The input, as small as it could be made.</param>
public sealed record Finding(string Target, string What, byte[] Input);

/// <summary>Runs a target on inputs that it makes and changes, and keeps those that go new ways.</summary>
public sealed class Fuzzer
{
    private const int MostKept = 2048;
    private const int MostKeptBytes = 1 << 16;

    private readonly FuzzTarget _target;
    private readonly FuzzRandom _random;
    private readonly Mutator _mutator = new();
    private readonly FuzzInput _input = new();
    private readonly List<byte[]> _pool = [];
    private long _executions;
    private long _started;

    /// <summary>Makes a fuzzer.</summary>
    /// <param name="target">What is run.</param>
    /// <param name="seed">The same one gives the same inputs.</param>
    /// <param name="corpus">Inputs to begin with.</param>
    public Fuzzer(FuzzTarget target, ulong seed, IEnumerable<byte[]> corpus)
    {
        _target = target;
        _random = new FuzzRandom(seed);
        _pool.AddRange(corpus);
    }

    /// <summary>Executions so far; may be read by another thread.</summary>
    public long Executions => Volatile.Read(ref _executions);

    /// <summary>When the execution under way began; 0: none is under way.</summary>
    public long Started => Volatile.Read(ref _started);

    /// <summary>Inputs to begin with, and those that went new ways.</summary>
    public IReadOnlyList<byte[]> Pool => _pool;

    /// <summary>A copy of the input under way, for a watchdog.</summary>
    public byte[] Current => _input.Bytes.ToArray();

    /// <summary>Runs the target on the corpus.</summary>
    public Finding? Replay()
    {
        foreach (byte[] input in _pool.ToArray())
        {
            if (Try(input) is { } what)
            {
                return Minimised(input, what);
            }
        }

        return null;
    }

    /// <summary>Runs the target on so many new inputs, or until a finding.</summary>
    public Finding? Run(long executions, Func<bool>? stop = null)
    {
        for (long i = 0; i < executions; i++)
        {
            if ((i & 0xFF) == 0 && stop is not null && stop())
            {
                return null;
            }

            Make();
            string? what = Try(_input.Bytes);
            if (what is not null)
            {
                return Minimised(_input.Bytes.ToArray(), what);
            }

            if (BranchMap.HasNews)
            {
                BranchMap.HasNews = false;
                Keep();
            }
        }

        return null;
    }

    /// <summary>Runs the target on one input; null, or what it did wrong.</summary>
    public string? Try(ReadOnlySpan<byte> input)
    {
        // What is made once, at the first use, is no input's fault.
        string? what = Try(input, out bool isMemory);
        return isMemory ? Try(input, out _) : what;
    }

    private string? Try(ReadOnlySpan<byte> input, out bool isMemory)
    {
        isMemory = false;
        Volatile.Write(ref _started, Stopwatch.GetTimestamp());
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            _target.Execute(input);
        }
        catch (FindingException e)
        {
            return e.Message;
        }
        catch (Exception e)
        {
            return e.ToString();
        }
        finally
        {
            Volatile.Write(ref _started, 0);
            Volatile.Write(ref _executions, _executions + 1);
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        isMemory = allocated > _target.MostAllocated(input.Length);
        return isMemory
            ? $"{allocated} bytes were allocated for an input of {input.Length}; at most {_target.MostAllocated(input.Length)} may be"
            : null;
    }

    private void Make()
    {
        if (_pool.Count == 0 || _random.OneIn(3))
        {
            _input.Clear();
            _target.Generate(_input, _random);
            if (_random.OneIn(4))
            {
                return;
            }
        }
        else
        {
            _input.Set(_pool[_random.Below(_pool.Count)]);
        }

        _mutator.Mutate(_input, _target, _pool, _random);
    }

    private void Keep()
    {
        if (_pool.Count < MostKept && _input.Length <= MostKeptBytes)
        {
            _pool.Add(_input.Bytes.ToArray());
        }
    }

    private Finding Minimised(byte[] input, string what)
    {
        // What was wrong is told by its first line without its numbers: another fault may hide behind a smaller input.
        string kind = Kind(what);
        byte[] small = Minimiser.Minimise(input, candidate => Try(candidate) is { } other && Kind(other) == kind);
        return new Finding(_target.Name, Try(small) ?? what, small);
    }

    private static string Kind(string what) => string.Concat(what.Split('\n')[0].Where(c => !char.IsAsciiHexDigit(c)).Take(40));
}
