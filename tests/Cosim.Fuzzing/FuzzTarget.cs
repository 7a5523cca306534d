// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;

namespace Cosim.Fuzzing;

/// <summary>Something the input did that nothing may do; the message says what.</summary>
public sealed class FindingException : Exception
{
    public FindingException(string message)
        : base(message)
    {
    }
}

/// <summary>A parser with the grammar of its inputs and with what has to hold for whatever it is given.</summary>
public abstract class FuzzTarget : IDisposable
{
    /// <summary>Its name on the command line and of its corpus.</summary>
    public abstract string Name { get; }

    /// <summary>What is parsed, for people.</summary>
    public abstract string What { get; }

    /// <summary>Full names of the types that make up the parser, nested ones included: branch coverage is theirs.</summary>
    public abstract IReadOnlyList<string> Classes { get; }

    /// <summary>Whether an execution is a whole run of a bridge rather than a parse.</summary>
    public virtual bool IsBridge => false;

    /// <summary>
    /// Whether the ways that an input takes depend on when the kernel delivers what, too: its corpus alone reaches now these, now those, so the
    /// coverage is judged where a number of executions was asked for.
    /// </summary>
    public virtual bool IsTimed => false;

    /// <summary>Words of the format, for where one is put in the place of another.</summary>
    public virtual IReadOnlyList<byte[]> Words => [];

    /// <summary>Greatest number of bytes that an execution may allocate for an input of <paramref name="length"/> bytes.</summary>
    public abstract long MostAllocated(int length);

    /// <summary>Makes an input as the grammar has it.</summary>
    public abstract void Generate(FuzzInput input, FuzzRandom random);

    /// <summary>Finds fields and sections in an input from elsewhere.</summary>
    public abstract void Mark(FuzzInput input);

    /// <summary>Parses the input and holds the outcome against what has to be. Any exception is a finding.</summary>
    public abstract void Execute(ReadOnlySpan<byte> input);

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
    }

    protected static void Require(bool holds, string what)
    {
        if (!holds)
        {
            throw new FindingException(what);
        }
    }

    /// <inheritdoc cref="Require(bool, string)"/>
    protected static void Require(bool holds, [InterpolatedStringHandlerArgument(nameof(holds))] ref Sentence what)
    {
        if (!holds)
        {
            throw new FindingException(what.ToString());
        }
    }

    /// <summary>A message that is made only where something does not hold: an execution shall cost nothing that the parser does not cost.</summary>
    [InterpolatedStringHandler]
    protected ref struct Sentence
    {
        private DefaultInterpolatedStringHandler _text;

        public Sentence(int literalLength, int formattedCount, bool holds, out bool isMade)
        {
            isMade = !holds;
            if (isMade)
            {
                _text = new DefaultInterpolatedStringHandler(literalLength, formattedCount);
            }
        }

        public void AppendLiteral(string value) => _text.AppendLiteral(value);

        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        public void AppendFormatted<T>(T value, string format) => _text.AppendFormatted(value, format);

        public override string ToString() => _text.ToStringAndClear();
    }
}
