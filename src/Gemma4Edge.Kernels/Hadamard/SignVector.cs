using System.Collections.Concurrent;

namespace Gemma4Edge.Kernels;

/// <summary>The random signs σ that go before a Hadamard transform: without them a row's mean would all land in one coefficient.</summary>
internal static class SignVector
{
    private static readonly ConcurrentDictionary<(ulong Seed, int Columns), float[]> s_shared = new();

    /// <summary>The signs of a seed, made once: the matrices that share an input share them. Not to be written to.</summary>
    internal static float[] Shared(ulong seed, int columns) => s_shared.GetOrAdd((seed, columns), static key =>
    {
        var signs = new float[key.Columns];
        Fill(key.Seed, signs);
        return signs;
    });

    /// <summary>σ[j] = −1 where bit 63 of the (j+1)-th output of SplitMix64 started at <paramref name="seed"/> is set, else 1.</summary>
    /// <remarks>σ[j] does not depend on the length: a shorter vector is the start of a longer one. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".</remarks>
    internal static void Fill(ulong seed, Span<float> signs)
    {
        for (int j = 0; j < signs.Length; j++)
        {
            seed += 0x9E3779B97F4A7C15;
            ulong z = seed;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            signs[j] = (z ^ (z >> 31)) >> 63 == 0 ? 1 : -1;
        }
    }
}
