using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace Gemma4Edge.Kernels;

/// <summary>Float rows → ggml's plain formats and its two simple block formats. The same bytes on every CPU.</summary>
/// <remarks>Q8_0: d = max|w|/127. Q4_0: d = m/−8, m the weight of largest magnitude, so that m itself is exact. Blocks stand in each format's folder.</remarks>
public static class GgmlEncoder
{
    private const int Block = 32;
    private const int ScaleBytes = 2;

    /// <summary>The formats it writes.</summary>
    public static IReadOnlyList<QuantFormat> Formats { get; } = [QuantFormats.F32, QuantFormats.F16, QuantFormats.BF16, QuantFormats.Q8_0, QuantFormats.Q4_0];

    /// <summary>Encodes a row.</summary>
    /// <param name="format">One of <see cref="Formats"/>.</param>
    /// <param name="row">A whole number of blocks of finite weights.</param>
    /// <param name="destination">The row's bytes; may be longer.</param>
    /// <exception cref="ArgumentException">Another format, or the row is no whole number of blocks, or the destination is too short.</exception>
    public static void Encode(QuantFormat format, ReadOnlySpan<float> row, Span<byte> destination)
    {
        ArgumentNullException.ThrowIfNull(format);
        format.CheckColumns(row.Length);
        destination = destination[..(int)format.RowBytes(row.Length)];
        if (format == QuantFormats.F32)
        {
            MemoryMarshal.AsBytes(row).CopyTo(destination);
        }
        else if (format == QuantFormats.F16)
        {
            TensorPrimitives.ConvertToHalf(row, MemoryMarshal.Cast<byte, Half>(destination));
        }
        else if (format == QuantFormats.BF16)
        {
            Span<ushort> halves = MemoryMarshal.Cast<byte, ushort>(destination);
            for (int i = 0; i < row.Length; i++)
            {
                uint bits = BitConverter.SingleToUInt32Bits(row[i]);
                halves[i] = (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16); // halves to even
            }
        }
        else if (format == QuantFormats.Q8_0 || format == QuantFormats.Q4_0)
        {
            for (int block = 0; block < row.Length / Block; block++)
            {
                ReadOnlySpan<float> weights = row.Slice(block * Block, Block);
                Span<byte> bytes = destination.Slice(block * format.BlockBytes, format.BlockBytes);
                if (format == QuantFormats.Q8_0)
                {
                    EncodeQ8(weights, bytes);
                }
                else
                {
                    EncodeQ4(weights, bytes);
                }
            }
        }
        else
        {
            throw new ArgumentException($"No encoder for {format}. Known: {string.Join(", ", Formats)}.", nameof(format));
        }
    }

    private static void EncodeQ8(ReadOnlySpan<float> weights, Span<byte> block)
    {
        float scale = MathF.Abs(TensorPrimitives.MaxMagnitude(weights)) / sbyte.MaxValue;
        float inverse = scale == 0 ? 0 : 1 / scale;
        MemoryMarshal.Write(block, (Half)scale);
        for (int i = 0; i < Block; i++)
        {
            block[ScaleBytes + i] = (byte)(sbyte)MathF.Round(weights[i] * inverse, MidpointRounding.AwayFromZero);
        }
    }

    private static void EncodeQ4(ReadOnlySpan<float> weights, Span<byte> block)
    {
        float largest = 0;
        foreach (float weight in weights)
        {
            largest = MathF.Abs(weight) > MathF.Abs(largest) ? weight : largest;
        }

        float scale = largest / -8;
        float inverse = scale == 0 ? 0 : 1 / scale;
        MemoryMarshal.Write(block, (Half)scale);
        for (int i = 0; i < Block / 2; i++)
        {
            block[ScaleBytes + i] = (byte)(Quant(weights[i]) | (Quant(weights[i + (Block / 2)]) << 4));
        }

        int Quant(float weight) => Math.Min(15, (int)((weight * inverse) + 8.5f));
    }
}
