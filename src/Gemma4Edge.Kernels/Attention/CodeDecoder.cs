using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Codes of a head vector to floats.</summary>
/// <remarks>
/// Sixteen codes a step: 8-bit levels are widened to 32 bits, converted (exact) and multiplied by the scale (rounded once), so the
/// result is the scalar one on every CPU. Nibbles pick their level with one byte shuffle. Heads have a multiple of 32 coordinates: no tail.
/// </remarks>
internal static class CodeDecoder
{
    private const int Step = 16;

    /// <summary>y[i] = scale · codes[i].</summary>
    /// <param name="codes">(d), d a multiple of 16.</param>
    /// <param name="scale">Scale of the vector.</param>
    /// <param name="y">(d).</param>
    public static void Bytes(ReadOnlySpan<sbyte> codes, float scale, Span<float> y)
    {
        for (int i = 0; i < y.Length; i += Step)
        {
            Store(Vector128.Create(codes[i..]), scale, y.Slice(i, Step));
        }
    }

    /// <summary>y[i] = scale · levels[low nibble of codes[i]], y[i + d/2] = scale · levels[high nibble of codes[i]].</summary>
    /// <param name="codes">(d/2), d a multiple of 32.</param>
    /// <param name="levels">(16).</param>
    /// <param name="scale">Scale of the vector.</param>
    /// <param name="y">(d).</param>
    public static void Nibbles(ReadOnlySpan<byte> codes, ReadOnlySpan<sbyte> levels, float scale, Span<float> y)
    {
        Vector128<sbyte> table = Vector128.Create(levels);
        for (int i = 0; i < codes.Length; i += Step)
        {
            Vector128<byte> pair = Vector128.Create(codes[i..]);
            Store(Vector128.ShuffleNative(table, (pair & Vector128.Create((byte)15)).AsSByte()), scale, y.Slice(i, Step));
            Store(Vector128.ShuffleNative(table, (pair >> 4).AsSByte()), scale, y.Slice(codes.Length + i, Step));
        }
    }

    private static void Store(Vector128<sbyte> levels, float scale, Span<float> y)
    {
        if (Vector256.IsHardwareAccelerated)
        {
            (Vector256<int> low, Vector256<int> high) = Vector256.Widen(Vector256.WidenLower(levels.ToVector256Unsafe()));
            (Vector256.ConvertToSingle(low) * scale).CopyTo(y);
            (Vector256.ConvertToSingle(high) * scale).CopyTo(y[8..]);
        }
        else
        {
            (Vector128<short> low, Vector128<short> high) = Vector128.Widen(levels);
            (Vector128.ConvertToSingle(Vector128.WidenLower(low)) * scale).CopyTo(y);
            (Vector128.ConvertToSingle(Vector128.WidenUpper(low)) * scale).CopyTo(y[4..]);
            (Vector128.ConvertToSingle(Vector128.WidenLower(high)) * scale).CopyTo(y[8..]);
            (Vector128.ConvertToSingle(Vector128.WidenUpper(high)) * scale).CopyTo(y[12..]);
        }
    }
}
