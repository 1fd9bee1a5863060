namespace Gemma4Edge.Kernels;

/// <summary>The scale of a group whose weights are integers times one number, as a quantization-aware training leaves them.</summary>
/// <remarks>
/// The training multiplied by float scales and the checkpoint rounded the products to bfloat16, so w/t is not an integer to many digits. What holds exactly is
/// bf16(t·q) = w. A guess t = (largest w)/n for each level n gives the integers q; every w then confines t to an interval, and any t in all of them reproduces
/// the group. A single-precision source has no such rounding: there |w − t·q| ≤ 2⁻²²·|w|.
/// </remarks>
internal static class Lattice
{
    /// <summary>How far a weight may be from t·q, relative to it, for q to be a candidate: half a bfloat16 step of w and of the largest weight.</summary>
    private const float GuessTolerance = 1 / 64f;

    private const double SingleTolerance = 1.0 / (1 << 22);

    /// <summary>Finds a scale for which the levels reproduce every weight.</summary>
    /// <param name="w">The group.</param>
    /// <param name="levels">Rising; level 0 need not be among them.</param>
    /// <param name="bfloat16">Whether the weights were rounded to bfloat16.</param>
    /// <param name="wide">Whether the scale may be any single; else it is a half.</param>
    /// <param name="scale">The scale; 0 where all weights are zero.</param>
    internal static bool TryScale(ReadOnlySpan<float> w, ReadOnlySpan<sbyte> levels, bool bfloat16, bool wide, out float scale)
    {
        float largest = 0;
        foreach (float weight in w)
        {
            if (MathF.Abs(weight) > MathF.Abs(largest))
            {
                largest = weight;
            }
        }

        scale = 0;
        if (largest == 0)
        {
            return true;
        }

        foreach (sbyte level in levels)
        {
            if (level != 0 && TryGuess(w, levels, largest / level, bfloat16, wide, out scale))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The code of the level nearest to w/t.</summary>
    internal static int Code(ReadOnlySpan<sbyte> levels, float weight, float scale) => LevelSearch.Code(levels, scale == 0 ? 0 : weight / scale);

    /// <summary>Rounds to bfloat16, halves to even.</summary>
    internal static float ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
    }

    private static bool TryGuess(ReadOnlySpan<float> w, ReadOnlySpan<sbyte> levels, float guess, bool bfloat16, bool wide, out float scale)
    {
        double low = double.NegativeInfinity, high = double.PositiveInfinity;
        scale = 0;
        foreach (float weight in w)
        {
            float ratio = weight / guess;
            int level = (int)MathF.Round(ratio);
            if (Math.Abs(ratio - level) > GuessTolerance * MathF.Abs(ratio) || !levels.Contains((sbyte)level))
            {
                return false;
            }

            if (level == 0)
            {
                continue;
            }

            (double least, double most) = bfloat16 ? RoundedTo(weight) : (weight * (1 - SingleTolerance), weight * (1 + SingleTolerance));
            low = Math.Max(low, Math.Min(least / level, most / level));
            high = Math.Min(high, Math.Max(least / level, most / level));
            if (low > high)
            {
                return false;
            }
        }

        double middle = (low + high) / 2;
        scale = (float)(Half)middle;
        if (Reproduces(w, levels, scale, bfloat16))
        {
            return true;
        }

        scale = (float)middle;
        return wide && Reproduces(w, levels, scale, bfloat16);
    }

    private static bool Reproduces(ReadOnlySpan<float> w, ReadOnlySpan<sbyte> levels, float scale, bool bfloat16)
    {
        if (scale == 0 || !float.IsFinite(scale))
        {
            return false;
        }

        foreach (float weight in w)
        {
            float product = scale * levels[Code(levels, weight, scale)];
            if (bfloat16 ? ToBFloat16(product) != weight : Math.Abs((double)weight - product) > Math.Abs(weight) * SingleTolerance)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The interval of numbers that round to a bfloat16, from the end nearer to zero; its lower neighbour is closer where it is a power of two.</summary>
    private static (double Least, double Most) RoundedTo(float weight)
    {
        const uint Step = 1 << 16;
        uint bits = BitConverter.SingleToUInt32Bits(weight);
        double below = BitConverter.UInt32BitsToSingle(bits - Step), above = BitConverter.UInt32BitsToSingle(bits + Step);
        return ((below + weight) / 2, (weight + above) / 2);
    }
}
