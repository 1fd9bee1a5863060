using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Activations for integer kernels: x → v⊙x → H → 8-bit integers with one scale for the row.</summary>
/// <remarks>
/// scale = max|x|/127, value = x·(127/max|x|) to the nearest integer, halves to the even one. After the rotation a row is close to Gaussian, which
/// is why one scale is enough. The same integers on every CPU: each step is one rounded operation, and a maximum has no order.
/// </remarks>
internal static unsafe class ActivationQuantizer
{
    /// <summary>Rows whose magnitude is below this (2⁻¹⁰⁰) count as zeros: 127 divided by it must not overflow.</summary>
    internal const float Smallest = 7.8886090522101181e-31f;

    /// <summary>1.5·2²³: adding it leaves the nearest integer in the low bits of the sum, two's complement.</summary>
    private const float Rounder = 12582912f;

    /// <summary>Multiplies by <paramref name="inputScale"/> and rotates: what both the kernels and a row format's decoder do to a row.</summary>
    /// <param name="x">(columns).</param>
    /// <param name="inputScale">(columns); empty = 1.</param>
    /// <param name="rotation">Columns per Hadamard block; 0 = none.</param>
    /// <param name="hadamard">The transform's kernel.</param>
    /// <param name="destination">(columns); may be x.</param>
    internal static void Rotate(ReadOnlySpan<float> x, ReadOnlySpan<float> inputScale, int rotation, IHadamardKernel hadamard, Span<float> destination)
    {
        if (inputScale.IsEmpty)
        {
            x.CopyTo(destination);
        }
        else
        {
            TensorPrimitives.Multiply(x, inputScale, destination);
        }

        if (rotation > 0)
        {
            fixed (float* start = destination)
            {
                hadamard.Transform(start, x.Length, rotation);
            }
        }
    }

    /// <summary>Quantizes one row.</summary>
    /// <param name="x">(columns), a multiple of 32.</param>
    /// <param name="group">Columns per sum.</param>
    /// <param name="values">(columns) integers in [−127, 127].</param>
    /// <param name="sums">(columns / group).</param>
    /// <returns>The row's scale.</returns>
    internal static float Quantize(ReadOnlySpan<float> x, int group, sbyte* values, int* sums)
    {
        float largest = MathF.Abs(TensorPrimitives.MaxMagnitude(x));
        if (!(largest >= Smallest))
        {
            new Span<sbyte>(values, x.Length).Clear();
            new Span<int>(sums, x.Length / group).Clear();
            return 0;
        }

        fixed (float* start = x)
        {
            for (int first = 0; first < x.Length; first += group)
            {
                sums[first / group] = QuantizeGroup(start + first, group, 127 / largest, values + first);
            }
        }

        return largest / 127;
    }

    /// <summary>values = x·scale, rounded; count is a multiple of 16.</summary>
    /// <returns>The sum of the values.</returns>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    internal static int QuantizeGroup(float* x, int count, float scale, sbyte* values)
    {
        int sum = 0;
        for (float* end = x + count; x < end; x += 16)
        {
            Vector128<sbyte> rounded = Vector128.Narrow(
                Vector128.Narrow(Round(x, scale), Round(x + 4, scale)),
                Vector128.Narrow(Round(x + 8, scale), Round(x + 12, scale)));
            rounded.Store(values);
            (Vector128<short> low, Vector128<short> high) = Vector128.Widen(rounded);
            sum += Vector128.Sum(low + high);
            values += 16;
        }

        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Round(float* x, float scale) => ((Vector128.Load(x) * Vector128.Create(scale)) + Vector128.Create(Rounder)).AsInt32();
}
