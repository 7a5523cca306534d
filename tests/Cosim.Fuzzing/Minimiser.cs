// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fuzzing;

/// <summary>Makes an input smaller for as long as it shows the same: parts are left out, halves first, then bytes are made simple.</summary>
internal static class Minimiser
{
    private const int MostTries = 20_000;

    public static byte[] Minimise(byte[] input, Func<byte[], bool> shows)
    {
        int tries = 0;
        for (int size = Math.Max(1, input.Length / 2); size >= 1; size /= 2)
        {
            for (int at = 0; at < input.Length && tries < MostTries;)
            {
                byte[] shorter = [.. input.AsSpan(0, at), .. input.AsSpan(Math.Min(input.Length, at + size))];
                tries++;
                if (shorter.Length < input.Length && shows(shorter))
                {
                    input = shorter;
                }
                else
                {
                    at += size;
                }
            }
        }

        for (int at = 0; at < input.Length && tries < MostTries; at++)
        {
            if (input[at] == 0)
            {
                continue;
            }

            byte[] simpler = [.. input];
            simpler[at] = 0;
            tries++;
            if (shows(simpler))
            {
                input = simpler;
            }
        }

        return input;
    }
}
